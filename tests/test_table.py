"""table.py: the columns and types of the two tables, their order, and how they agree with the metrics."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

import bedrock_nb as nb
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.metrics import METRICS, facts, measure
from bedrock_nb.recording import Recent, Recording
from bedrock_nb.table import EVENT_COLUMNS, SUMMARY_COLUMNS, as_recordings, events, summary
from tests.recordings import USAGE, any_recording, recorded, reply

TEXTS = ("model", "status", "stop_reason", "request_id")
WHOLE = [name for name, metric in METRICS.items() if metric.unit in ("token", "count", "ms")]


def dtypes(kinds: dict[str, str]) -> dict[str, object]:
    """What the installed pandas makes of these names of types."""
    return {name: pd.Series(dtype=kind).dtype for name, kind in kinds.items()}


def summary_kinds() -> dict[str, str]:
    """The type of each column of the summary."""
    kinds = dict.fromkeys(SUMMARY_COLUMNS, "float64")
    return {**kinds, **dict.fromkeys(TEXTS, "str"), **dict.fromkeys(WHOLE, "Int64")}


SOURCES = {
    "nothing": [],
    "an empty recording": Recording(),
    "one reply": reply(),
    "several": [reply(), Recording(), reply()],
}


# -- columns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_event_table_has_its_columns(source):
    """In their order and types, whatever is in them."""
    frame = events(source)
    assert frame.dtypes.to_dict() == dtypes(EVENT_COLUMNS)
    assert list(frame.columns) == list(EVENT_COLUMNS)
    assert list(frame.index) == list(range(len(frame)))


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_summary_has_its_columns(source):
    """In their order and types, whatever is in them."""
    frame = summary(source)
    assert frame.dtypes.to_dict() == dtypes(summary_kinds())
    assert list(frame.columns) == list(SUMMARY_COLUMNS)
    assert len(frame) == len(as_recordings(source))


def test_the_columns_are_those_of_the_design():
    """Lessons and users name them."""
    assert " ".join(EVENT_COLUMNS) == "recording seq t_s gap_s type block text chars bytes tokens_est read"
    assert " ".join(SUMMARY_COLUMNS) == (
        "model status stop_reason t_headers_s t_first_event_s ttft_s ttfvt_s ttlt_s e2e_s tpot_s gap_p50_s "
        "gap_p99_s output_tps e2e_tps server_latency_ms retries retry_s input_tokens cache_read_tokens "
        "cache_write_tokens total_input_tokens output_tokens tool_calls tool_s tool_overlap_s request_id"
    )


@settings(deadline=None, max_examples=40)
@given(st.lists(any_recording(), max_size=3))
def test_any_recordings_fit_the_tables(recordings):
    """Any events, marks, times and labels: one row each, types as ever, and no warning."""
    frame = events(recordings)
    assert frame.dtypes.to_dict() == dtypes(EVENT_COLUMNS)
    assert len(frame) == sum(len(r) + len({"request", *r.marks}) for r in recordings)
    for number, recording in enumerate(recordings):
        rows = frame[frame["recording"] == number]
        assert list(rows["seq"].dropna().sort_values()) == list(range(len(recording)))
        assert list(rows["gap_s"].dropna().sort_values()) == sorted(facts(recording).gaps)
    assert len(summary(recordings)) == len(recordings)


# -- the event table -------------------------------------------------------------------------------


def test_a_reply_by_hand():
    """Every cell of a small table."""
    frame = events(reply())
    assert list(frame["type"]) == [
        "request",
        "sent",
        "headers",
        "MessageStart",
        *["TextDelta"] * 3,
        "BlockStop",
        "MessageStop",
        "Metadata",
        "closed",
    ]
    assert list(frame["t_s"]) == [0.0, 0.0625, 0.125, 0.25, 0.5, 0.75, 1.5, 1.5, 1.75, 2.0, 2.0]
    assert list(frame["seq"].dropna()) == list(range(7))
    assert list(frame["text"]) == [""] * 4 + ["Hello", " wor", "ld!"] + [""] * 4
    assert list(frame["chars"]) == [0] * 4 + [5, 4, 3] + [0] * 4
    assert list(frame["bytes"]) == [0] * 3 + [100, 140, 130, 120, 90, 110, 200, 0]
    assert list(frame["read"].fillna(0)) == [0] * 3 + [1, 2, 3, 4, 4, 5, 5, 0]
    assert list(frame["block"].fillna(-1)) == [-1] * 4 + [0] * 4 + [-1] * 3
    deltas = frame[frame["type"] == "TextDelta"]
    np.testing.assert_array_equal(deltas["gap_s"], [np.nan, 0.25, 0.75])
    np.testing.assert_allclose(deltas["tokens_est"], [4 * 5 / 12, 4 * 4 / 12, 4 * 3 / 12])
    rest = frame[frame["type"] != "TextDelta"]
    assert rest["gap_s"].isna().all()
    assert rest["tokens_est"].isna().all()


def test_marks_stand_in_time():
    """A mark stands before the event of the same moment; the end of the stream is always the last row."""
    recording = recorded((MessageStart("assistant"), 1.0), (TextDelta(0, "x"), 1.0), (TextDelta(0, "y"), 3.0))
    for name, t in (("closed", 1.0), ("late", 2.0), ("headers", 1.0), ("sent", 0.5)):
        recording.mark(name, t)
    assert list(events(recording)["type"]) == [
        "request",
        "sent",
        "headers",
        "MessageStart",
        "TextDelta",
        "late",
        "TextDelta",
        "closed",
    ]


def test_events_of_one_moment_keep_their_order():
    """A burst brings many events with one time."""
    recording = recorded(*((TextDelta(0, str(i)), 1.0) for i in range(200)))
    frame = events([recording, recording])
    assert list(frame["seq"].dropna()) == [*range(200)] * 2
    assert list(frame.loc[frame["gap_s"].notna(), "gap_s"]) == [0.0] * 199 * 2


def test_only_content_deltas_after_the_first_have_a_gap():
    """Starts, stops, empty deltas and metadata have none; reasoning and tool input do."""
    recording = recorded(
        (MessageStart("assistant"), 0.0),
        (ReasoningDelta(0, "hm"), 1.0),
        (BlockStop(0), 1.5),
        (TextDelta(1, ""), 1.75),
        (TextDelta(1, "so"), 2.0),
        (ToolUseStart(2, "1", "f"), 2.5),
        (ToolInputDelta(2, "{}"), 4.0),
        (RedactedReasoning(3, b"x"), 8.0),
        (MessageStop("end_turn"), 9.0),
        (Metadata(USAGE), 10.0),
    )
    frame = events(recording).dropna(subset=["gap_s"])
    assert list(frame["type"]) == ["TextDelta", "ToolInputDelta", "RedactedReasoning"]
    assert list(frame["gap_s"]) == [1.0, 2.0, 4.0]


def test_the_gaps_of_the_table_are_those_of_the_metrics():
    """The column pooled over recordings is vLLM's ITL: the same numbers that the percentiles are of."""
    recordings = [reply(), recorded(*((TextDelta(0, "x"), i * i / 8) for i in range(9))), Recording()]
    pooled = [gap for recording in recordings for gap in facts(recording).gaps]
    assert list(events(recordings)["gap_s"].dropna()) == pooled
    assert summary(reply())["gap_p50_s"].item() == events(reply())["gap_s"].median()


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.text(max_size=9), min_size=1, max_size=30).filter(any), tokens=st.integers(0, 10_000)
)
def test_estimated_tokens_sum_to_the_exact_number(texts, tokens):
    """The service counted the whole; only how it is shared out is an estimate."""
    recording = recorded(
        *((TextDelta(0, text), 0.0) for text in texts), (Metadata({**USAGE, "outputTokens": tokens}), 1.0)
    )
    frame = events(recording)
    assert frame["tokens_est"].sum() == pytest.approx(tokens)
    assert frame["tokens_est"].count() == sum(map(bool, texts))


@pytest.mark.parametrize(
    "rows",
    [
        [(TextDelta(0, "x"), 0.0)],
        [(TextDelta(0, "x"), 0.0), (Metadata({}), 1.0)],
        [(TextDelta(0, "x"), 0.0), (Metadata({"outputTokens": "many"}), 1.0)],
        [(RedactedReasoning(0, b"x"), 0.0), (Metadata(USAGE), 1.0)],
    ],
    ids=["no metadata", "no usage", "no number", "no text to share them by"],
)
def test_tokens_that_nobody_counted_are_missing(rows):
    """Not 0, and not one for each delta."""
    assert events(recorded(*rows))["tokens_est"].isna().all()


def test_several_recordings_are_numbered_as_they_were_given():
    """The column ``recording`` is the position in the source."""
    one, other = reply(), recorded((Unknown("x", None), 0.0))
    frame = events([one, other])
    assert frame.groupby("recording").size().to_dict() == {0: len(events(one)), 1: len(events(other))}
    first = frame[frame["recording"] == 0].reset_index(drop=True)
    assert_frame_equal(first, events(one))


def test_half_of_a_surrogate_pair_is_shown_as_a_replacement():
    """Arrow's strings, where pandas has them, refuse it; the recording keeps it, and the count is right."""
    recording = recorded(
        (TextDelta(0, "a\ud83d"), 0.0), (TextDelta(0, "\ude00"), 0.0), (TextDelta(0, "😀"), 0.0)
    )
    frame = events(recording)
    assert list(frame["text"])[1:] == ["a\ufffd", "\ufffd", "😀"]
    assert list(frame["chars"])[1:] == [2, 1, 1]


# -- the summary -----------------------------------------------------------------------------------


def test_a_summary_by_hand():
    """How it ended, the metrics, the request id."""
    row = summary(reply()).iloc[0].to_dict()
    assert (row["model"], row["status"]) == ("amazon.nova-lite-v1:0", "complete")
    assert (row["stop_reason"], row["request_id"]) == ("end_turn", "abc-1")
    for name, value in measure(reply()).items():
        assert row[name] == value if value is not None else pd.isna(row[name])


def test_what_is_not_known_is_missing():
    """Never 0, never an empty text."""
    row = summary(Recording()).iloc[0]
    assert row["status"] == "streaming"
    assert row["tool_calls"] == 0  # this is known: its list of runs is empty
    assert row.drop(["status", "tool_calls"]).isna().all()


def test_labels_are_columns():
    """After all others, in order of their first use, of a type that fits; where there is none, missing."""
    frame = summary(
        [
            reply(labels={"n": 1, "kind": "a"}),
            reply(labels={"n": 2, "kind": "b"}),
            reply(labels={"n": 3, "extra": [1, 2], "kind": "c"}),
        ]
    )
    assert list(frame.columns) == [*SUMMARY_COLUMNS, "n", "kind", "extra"]
    assert frame["n"].dtype == "int64"
    assert list(frame["kind"]) == ["a", "b", "c"]
    assert frame["extra"].isna().tolist() == [True, True, False]
    assert frame["extra"][2] == [1, 2]
    assert frame.groupby("kind")["ttft_s"].mean().to_dict() == {"a": 0.5, "b": 0.5, "c": 0.5}


def test_a_label_never_hides_a_column():
    """One whose name is taken goes under another."""
    frame = summary([reply(labels={"label_model": 1, "model": 2, "ttft_s": 3})])
    assert list(frame.columns) == [*SUMMARY_COLUMNS, "label_model", "label_label_model", "label_ttft_s"]
    assert frame.iloc[0, -3:].tolist() == [1, 2, 3]
    assert frame["model"].item() == "amazon.nova-lite-v1:0"
    assert frame["ttft_s"].item() == 0.5


def test_many_labels_are_no_burden():
    """A hundred and more columns, without pandas' warning of a fragmented frame."""
    labels = {f"label {i}": i for i in range(150)}
    assert len(summary([Recording(labels=labels)] * 2).columns) == len(SUMMARY_COLUMNS) + 150


# -- where recordings come from --------------------------------------------------------------------


def test_recordings_come_out_of_anything_that_has_some(tmp_path):
    """A recording, something with one, a path as text or Path, and collections of these at any depth."""
    one, path = reply(), reply().save(tmp_path / "r.jsonl")
    recent = Recent()
    recent.append(one)
    holder = SimpleNamespace(recording=one)
    for source in (one, holder, [one], (one,), recent, {one}, iter([one]), [[[holder]]]):
        assert as_recordings(source) == [one]
    for paths in (path, str(path), [path], (p for p in [str(path)])):
        (loaded,) = as_recordings(paths)
        assert list(loaded) == list(one)
    assert as_recordings([one, [holder, path], []])[:2] == [one, one]
    assert as_recordings([]) == []


@pytest.mark.parametrize("table", [events, summary, nb.events, nb.summary])
@pytest.mark.parametrize("source", [None, 5, b"r.jsonl", {"a": 1}, object, [reply(), 5]], ids=repr)
def test_what_is_no_recording_is_named(table, source):
    """The error says what was given, and what may be."""
    culprit = source[1] if isinstance(source, list) else source
    with pytest.raises(RequestError, match=f"A {type(culprit).__name__} is no recording") as caught:
        table(source)
    assert "path" in str(caught.value)


@pytest.mark.parametrize("table", [events, summary])
def test_a_path_that_is_no_recording_is_named(table, tmp_path):
    """By its name, without the folder that it was looked for in."""
    with pytest.raises(RecordingError, match=re.escape("'no.jsonl' cannot be read")) as caught:
        table([reply(), tmp_path / "no.jsonl"])
    assert str(tmp_path) not in str(caught.value)
