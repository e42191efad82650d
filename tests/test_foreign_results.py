"""formats/llmeter.py, formats/aiperf.py: what other tools measured, in our columns, and nothing invented.

The files under data/ are real: LLMeter 0.2.0 asked the embedded server, AIPerf 0.13.0 a small server of
OpenAI's form; both servers failed on some requests on purpose. Only folders, hosts and command lines were
taken out.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import RecordingError
from bedrock_nb.formats.aiperf import read_aiperf
from bedrock_nb.formats.llmeter import read_llmeter
from bedrock_nb.metrics import percentile

DATA = Path(__file__).parent / "data"
VISIBLE, ANY_TOKEN = DATA / "llmeter" / "visible", DATA / "llmeter" / "any_token"
TWO_CLIENTS = DATA / "aiperf" / "two_clients"
BEDROCK = "llmeter.endpoints.bedrock.BedrockConverseStream"
READERS = [
    pytest.param(read_llmeter, VISIBLE / "responses.jsonl", id="llmeter"),
    pytest.param(read_aiperf, TWO_CLIENTS / "profile_export.jsonl", id="aiperf"),
]


def raw(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def known(table: pd.DataFrame, row: int) -> dict[str, Any]:
    """What a row has: its columns that are not missing."""
    return {str(name): value for name, value in table.iloc[row].items() if not pd.isna(value)}


def written(folder: Path, records: list[Any], name: str) -> Path:
    file = folder / name
    file.write_text("".join(f"{json.dumps(record)}\n" for record in records), "utf-8")
    return file


@pytest.fixture
def llmeter_run(tmp_path):
    """Results of LLMeter with these responses, and settings as they are."""

    def make(
        *records: Any, endpoint: str = "llmeter.endpoints.bedrock.BedrockConverseStream", **state: Any
    ) -> Path:
        config = json.loads((ANY_TOKEN / "run_config.json").read_text("utf-8"))
        config["endpoint"]["__llmeter_class__"] = endpoint
        (tmp_path / "run_config.json").write_text(json.dumps(config), "utf-8")
        return written(tmp_path, list(records), "responses.jsonl")

    return make


# -- both ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("read", "path"), READERS)
def test_the_table_goes_where_a_summary_goes(read, path):
    """It has the columns of the summary first, in its order and of its types; a row per request."""
    table, ours = read(path), nb.summary([])
    assert list(table.columns[: len(ours.columns)]) == list(ours.columns)
    assert dict(table.dtypes[: len(ours.columns)]) == dict(ours.dtypes)
    assert str(table["started"].dtype).startswith("datetime64[")
    assert str(table["started"].dtype).endswith(", UTC]")
    assert len(table) == len(raw(path))
    assert not table.columns.duplicated().any()


@pytest.mark.parametrize(("read", "path"), READERS)
def test_a_folder_of_runs_is_one_table(read, path, tmp_path):
    """Each run is told by its name; a file and its folder are the same."""
    pd.testing.assert_frame_equal(read(path), read(path.parent))
    for name in ("b", "a"):
        shutil.copytree(path.parent, tmp_path / "runs" / name)
    both = read(tmp_path / "runs")
    assert len(both) == 2 * len(read(path))
    assert both["run"].nunique() == (2 if read is read_aiperf else 1)  # LLMeter's runs bring their names


@pytest.mark.parametrize(("read", "path"), READERS)
def test_a_torn_last_line_is_dropped_and_said(read, path, tmp_path):
    """A run that was killed leaves one."""
    data = path.read_bytes()
    torn = tmp_path / path.name
    torn.write_bytes(data[:-100])
    table = read(torn)
    assert len(table) == len(raw(path)) - 1
    assert f"Line {len(raw(path))} of {path.name} is torn and was dropped." in table.attrs["notes"]


@pytest.mark.parametrize(
    "line", [b"{", b"[1]", b"null", b"\xff", b"[" * 100_000, b'{"a": 1' + b"0" * 5000 + b"}"]
)
@pytest.mark.parametrize(("read", "path"), READERS)
def test_a_broken_line_is_named(read, path, line, tmp_path):
    """And no path of this machine with it."""
    first, *others = path.read_bytes().splitlines()
    broken = tmp_path / path.name
    broken.write_bytes(b"\n".join([first, b"", line, *others, b""]))
    with pytest.raises(RecordingError, match=f"Line 3 of '{path.name}' is not a JSON object") as caught:
        read(broken)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(("read", "path"), READERS)
def test_what_is_not_there_is_refused(read, path, tmp_path):
    """A folder without results, no folder at all, no path."""
    for given_path in (tmp_path, tmp_path / "none", None, "a\0b"):
        with pytest.raises(RecordingError):
            read(given_path)


@pytest.mark.parametrize(("read", "path"), READERS)
def test_a_file_that_cannot_be_read_is_an_error_of_ours(read, path):
    """Linux has one that no one can read from its beginning, whatever their rights."""
    with pytest.raises(RecordingError, match="'mem' cannot be read"):
        read("/proc/self/mem")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud83d"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
@settings(max_examples=12)
def test_any_object_becomes_a_row(data, tmp_path_factory):
    """Whatever the members are, there is a row of the summary's types, and no time below 0."""
    folder, ours = tmp_path_factory.mktemp("any"), nb.summary([])
    llmeter = st.fixed_dictionaries(
        {}, optional=dict.fromkeys((*raw(VISIBLE / "responses.jsonl")[0], "�"), JSON)
    )
    metric = st.fixed_dictionaries(
        {}, optional={"value": JSON, "unit": st.sampled_from(["ms", "s", "tokens"]) | JSON}
    )
    record = raw(TWO_CLIENTS / "profile_export.jsonl")[0]
    aiperf = st.fixed_dictionaries(
        {},
        optional={
            "metadata": JSON | st.fixed_dictionaries({}, optional=dict.fromkeys(record["metadata"], JSON)),
            "metrics": JSON
            | st.fixed_dictionaries({}, optional=dict.fromkeys(list(record["metrics"])[:12], metric | JSON)),
            "error": JSON,
        },
    )
    for read, one, name in [
        (read_llmeter, llmeter, "responses.jsonl"),
        (read_aiperf, aiperf, "profile_export.jsonl"),
    ]:
        records = data.draw(st.lists(one, max_size=3))
        table = read(written(folder, records, name))
        assert len(table) == len(records)
        assert dict(table.dtypes[: len(ours.columns)]) == dict(ours.dtypes)
        times = table[[column for column in ours.columns if column.endswith("_s")]]
        assert not (times < 0).any(axis=None)


# -- LLMeter ---------------------------------------------------------------------------------------


def test_llmeters_first_token_is_the_first_visible_one_by_default():
    """So it has a column of its own, and no pace is made of it that would be another thing than ours."""
    table, rows = read_llmeter(VISIBLE), raw(VISIBLE / "responses.jsonl")
    assert known(table, 0) == {
        "model": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "status": "complete",
        "ttfvt_s": rows[0]["time_to_first_token"],
        "ttlt_s": rows[0]["time_to_last_token"],
        "retries": 0,
        "input_tokens": 3,
        "output_tokens": 6,
        "request_id": rows[0]["id"],
        "started": pd.Timestamp(rows[0]["request_time"]),
        "run": "visible",
        "clients": 2,
        "llmeter_time_per_output_token": rows[0]["time_per_output_token"],
    }
    assert table.attrs == {"tool": "LLMeter", "notes": []}


def test_llmeters_first_token_of_any_kind_is_ours():
    """Where its settings say so, its pace is ours, too."""
    table = read_llmeter(ANY_TOKEN)
    rows = pd.DataFrame(raw(ANY_TOKEN / "responses.jsonl"))
    assert table["ttft_s"].tolist() == rows["time_to_first_token"].tolist()
    assert table["ttfvt_s"].isna().all()
    assert table["tpot_s"].tolist() == pytest.approx(rows["time_per_output_token"].tolist())
    assert (table["output_tps"] * table["tpot_s"]).tolist() == pytest.approx([1.0] * len(table))


def test_llmeters_failures_are_errors():
    """An id that LLMeter made up for a call that never had an answer is no request id."""
    table = read_llmeter(VISIBLE)
    assert table["status"].value_counts().to_dict() == {"complete": 9, "error": 3}
    failed = table[table["status"] == "error"]
    assert failed["error"].str.extract(r"\((\w+)\)")[0].tolist() == [
        "throttlingException",
        "modelStreamErrorException",
        "ValidationException",
    ]
    assert failed["request_id"].notna().tolist() == [True, True, False]
    assert failed["output_tokens"].isna().all()
    assert failed["ttfvt_s"].notna().tolist() == [False, True, False]


def test_prompts_and_answers_are_read_if_they_are_asked_for():
    """By default a table can be shown around."""
    assert "rainbow" not in read_llmeter(VISIBLE).to_csv().lower()
    table = read_llmeter(VISIBLE, content=True)
    assert (table["prompt"].iloc[0], table["text"].iloc[0]) == ("Count to 3", "1, 2, 3.")


OF_BEDROCK = {"input_tokens": 10, "cache_read_tokens": 4}


@pytest.mark.parametrize(
    ("endpoint", "tokens"),
    [
        (BEDROCK, OF_BEDROCK),
        ("llmeter.endpoints.anthropic_messages.AnthropicMessagesStream", OF_BEDROCK),
        (
            "llmeter.endpoints.openai.OpenAICompletionStreamEndpoint",
            {"input_tokens": 6, "cache_read_tokens": 4, "total_input_tokens": 10},
        ),
        ("my.own.Endpoint", {"llmeter_num_tokens_input": 10, "llmeter_num_tokens_input_cached": 4}),
    ],
)
def test_what_input_tokens_means_depends_on_the_endpoint(llmeter_run, endpoint, tokens):
    """With an endpoint that we do not know, no column of ours is claimed."""
    table = read_llmeter(
        llmeter_run({"num_tokens_input": 10, "num_tokens_input_cached": 4}, endpoint=endpoint)
    )
    assert {name: value for name, value in known(table, 0).items() if "token" in name} == tokens


def test_what_llmeter_has_besides_is_kept(llmeter_run):
    """Annotations of its callbacks, and members of a version to come."""
    path = llmeter_run(
        {
            "annotations": {"cost_total": 0.5, "deep": {"x": 1}},
            "time_to_third_token": 3,
            "response_text": "no",
        }
    )
    row = known(read_llmeter(path), 0)
    assert (row["llmeter_cost_total"], row["llmeter_time_to_third_token"]) == (0.5, 3)
    assert not [name for name in row if "deep" in name or "text" in name]


def test_values_that_cannot_be_are_missing_and_counted(llmeter_run):
    """Never mended, never 0."""
    table = read_llmeter(
        llmeter_run(
            {
                "time_to_first_token": -1,
                "time_to_last_token": "soon",
                "num_tokens_output": 1.5,
                "retries": True,
            }
        )
    )
    assert table[["ttft_s", "ttlt_s", "output_tokens", "retries"]].isna().all(axis=None)
    assert "4 values cannot be what they are called; they are missing." in table.attrs["notes"]


def test_names_without_end_are_not_all_kept(llmeter_run):
    """A file may make up a column in every line."""
    table = read_llmeter(llmeter_run(*[{f"x{row}_{n}": n for n in range(100)} for row in range(5)]))
    assert len([name for name in table.columns if name.startswith("llmeter_")]) == 200
    assert "Only the first 200 columns of LLMeter's own were kept." in table.attrs["notes"]


def test_without_its_settings_a_run_is_read_and_that_is_said(tmp_path):
    """From responses alone: the model is that of the request."""
    shutil.copy(ANY_TOKEN / "responses.jsonl", tmp_path)
    table = read_llmeter(tmp_path)
    assert table["model"].unique().tolist() == ["amazon.nova-lite-v1:0"]
    assert table["ttft_s"].isna().all()
    assert len(table.attrs["notes"]) == 3


def test_a_class_that_settings_name_is_not_imported(llmeter_run):
    """They are JSON and nothing else."""
    path = llmeter_run({"retries": 1}, endpoint="antigravity.Endpoint")
    assert known(read_llmeter(path), 0)["retries"] == 1
    assert "antigravity" not in sys.modules


# -- AIPerf ----------------------------------------------------------------------------------------


def test_aiperfs_milliseconds_are_seconds():
    """Each value by the unit that stands beside it, in the column that means the same."""
    table = read_aiperf(TWO_CLIENTS)
    row, record = known(table, 1), raw(TWO_CLIENTS / "profile_export.jsonl")[1]
    values = {name: metric["value"] for name, metric in record["metrics"].items()}
    gaps = [gap / 1000 for gap in values["inter_chunk_latency"]]
    meta = record["metadata"]
    assert {name: value for name, value in row.items() if not name.startswith("aiperf_")} == {
        "model": "test-model",
        "status": "complete",
        "t_headers_s": pytest.approx((meta["request_ack_ns"] - meta["request_start_ns"]) / 1e9, abs=1e-6),
        "ttft_s": pytest.approx(values["time_to_first_token"] / 1000),
        "ttfvt_s": pytest.approx(values["time_to_first_output_token"] / 1000),
        "ttst_s": pytest.approx(values["time_to_second_token"] / 1000),
        "ttlt_s": pytest.approx(values["request_latency"] / 1000),
        "tpot_s": pytest.approx(values["inter_token_latency"] / 1000),
        "output_tps": pytest.approx(values["output_token_throughput_per_user"]),
        "gap_p50_s": pytest.approx(percentile(gaps, 0.5)),
        "content_chunks": len(gaps) + 1,
        "input_tokens": 8,
        "cache_read_tokens": 4,
        "total_input_tokens": 12,
        "output_tokens": 13,
        "total_tokens": 25,
        "started": row["started"],
        "run": "two_clients",
        "phase": "profiling",
        "conversation": meta["conversation_id"],
        "turn": 0,
        "concurrency": 2,
    }
    assert row["started"].timestamp() == pytest.approx(meta["request_start_ns"] / 1e9, abs=1e-5)
    assert row["ttfvt_s"] > row["ttft_s"]  # it reasoned first
    assert row["tpot_s"] == pytest.approx((row["ttlt_s"] - row["ttft_s"]) / (13 - 1))


def test_what_aiperf_has_besides_is_kept_in_seconds():
    """Under its own name, with our unit of time."""
    row, record = known(read_aiperf(TWO_CLIENTS), 0), raw(TWO_CLIENTS / "profile_export.jsonl")[0]
    assert row["aiperf_http_req_waiting_s"] == pytest.approx(
        record["metrics"]["http_req_waiting"]["value"] / 1000
    )
    assert row["aiperf_http_req_chunks_received"] == 11
    assert row["aiperf_x_request_id"] == record["metadata"]["x_request_id"]


def test_aiperfs_failures_are_told_apart():
    """A refusal is an error, a connection that broke is incomplete; no words of either are taken over."""
    table = read_aiperf(TWO_CLIENTS)
    assert table["status"].value_counts().to_dict() == {"complete": 9, "error": 2, "incomplete": 1}
    assert set(table["error"].dropna()) == {"429 Too Many Requests", "ClientPayloadError"}
    assert table[table["status"] != "complete"][["ttft_s", "output_tokens"]].isna().all(axis=None)


def test_a_request_that_aiperf_cancelled_is_cancelled(tmp_path):
    """It has an error as well."""
    record = {"metadata": {"was_cancelled": True}, "error": {"type": "RequestCancellationError", "code": 499}}
    table = read_aiperf(written(tmp_path, [record], "profile_export.jsonl"))
    assert table["status"].tolist() == ["cancelled"]


def test_aiperfs_own_aggregates_agree_with_the_rows():
    """They are in the attrs; made of the same nine replies."""
    table = read_aiperf(TWO_CLIENTS)
    totals = table.attrs["totals"]["two_clients"]
    assert totals["time_to_first_token"]["avg"] == pytest.approx(table["ttft_s"].mean() * 1000)
    assert totals["request_latency"]["p50"] == pytest.approx(table["ttlt_s"].median() * 1000)
    assert table.attrs["notes"] == []


@pytest.mark.parametrize(
    ("change", "note"),
    [
        ({"aiperf_version": "1.2.0"}, "These are results of AIPerf 1.2; this reads 0.13."),
        ({"input_config": {}}, "Tokens were counted by AIPerf's tokenizer, not by the service."),
    ],
)
def test_what_a_reader_should_know_is_noted(tmp_path, change, note):
    """A newer version, tokens that nobody bills."""
    shutil.copytree(TWO_CLIENTS, tmp_path, dirs_exist_ok=True)
    beside = tmp_path / "profile_export_aiperf.json"
    beside.write_text(json.dumps(json.loads(beside.read_text("utf-8")) | change), "utf-8")
    table = read_aiperf(tmp_path)
    assert note in table.attrs["notes"]
    assert table["ttft_s"].notna().sum() == 9


def test_a_unit_that_is_not_known_is_no_time(tmp_path):
    """Rather nothing than a number that is wrong by a thousand."""
    record = {"metrics": {"time_to_first_token": {"value": 3, "unit": "fortnights"}}}
    table = read_aiperf(written(tmp_path, [record], "profile_export.jsonl"))
    assert table["ttft_s"].isna().all()


@pytest.mark.parametrize("start", [1e299, 10**30])
def test_a_time_that_no_calendar_has_is_missing(tmp_path, start):
    """The row is there, and the value is counted."""
    record = {"metadata": {"request_start_ns": start}, "metrics": {}}
    (tmp_path / "profile_export.jsonl").write_text(json.dumps(record) + "\n")
    table = read_aiperf(tmp_path)
    assert table["started"].isna().all()
    assert "1 values cannot be what they are called; they are missing." in table.attrs["notes"]
