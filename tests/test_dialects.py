"""metrics/dialects: each column of each tool, by that tool's own formula."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bedrock_nb.errors import IncompleteStreamError, RequestError
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.metrics import METRICS, explain, measure
from bedrock_nb.metrics.dialects import DIALECTS, columns, totals
from bedrock_nb.recording import Recording
from tests.recordings import ROWS, USAGE, recorded, reply

NAMES = list(DIALECTS)
#: Numbers of a run that need its length.
BY_TIME = (
    "total_test_time",
    "requests_per_minute",
    "average_output_tokens_per_minute",
    "Benchmark duration (s)",
    "Request throughput (req/s)",
    "Output token throughput (tok/s)",
    "Peak concurrent requests",
    "duration",
    "requests_per_second.mean",
    "benchmark_duration",
    "request_throughput",
    "output_token_throughput",
)
CACHED = {
    "inputTokens": 10,
    "cacheReadInputTokens": 200,
    "cacheWriteInputTokens": 40,
    "outputTokens": 11,
    "totalTokens": 261,
}


def rich() -> Recording:
    """Reasoning, text and a tool's input: everything that tools count in different ways."""
    recording = recorded(
        (MessageStart("assistant"), 0.25),
        (ReasoningDelta(0, "let me "), 0.5),
        (ReasoningDelta(0, "think"), 1.0),
        (BlockStop(0), 1.0),
        (TextDelta(1, "a"), 2.0),
        (TextDelta(1, "b"), 2.5),
        (BlockStop(1), 2.6),
        (ToolUseStart(2, "1", "f"), 2.7),
        (ToolInputDelta(2, "{}"), 3.0),
        (BlockStop(2), 3.1),
        (MessageStop("tool_use"), 3.2),
        (Metadata(CACHED, 3300), 4.0),
        started=1_767_225_600.0,
    )
    recording.mark("headers", 0.2)
    recording.envelope = {"retries": 2}
    return recording


def whole() -> Recording:
    """An answer of a plain call: everything came at once, after 2 s."""
    recording = recorded(*((event, 2.0) for event in reply()), started=1_767_225_600.0)
    recording.envelope = {"operation": "Converse"}
    return recording


def resumed() -> Recording:
    """Broken off after its first delta, taken up again by a second call."""
    return recorded(
        (TextDelta(0, "a"), 1.0),
        (Seam("continue"), 1.5),
        (TextDelta(0, "b"), 2.0),
        (TextDelta(0, "c"), 2.25),
        (BlockStop(0), 2.5),
        (Metadata(USAGE), 3.0),
    )


def failed() -> Recording:
    """Broken off for good after 9 s."""
    recording = recorded(
        (TextDelta(0, "a"), 1.0),
        (TextDelta(0, "b"), 1.5),
        (TextDelta(0, ""), 1.75),  # empty: no token
        (StreamFault(IncompleteStreamError("Cut.")), 9.0),
        started=1_767_225_600.0,
    )
    recording.status = "incomplete"
    return recording


def cancelled() -> Recording:
    """Given up before anything came but its start."""
    recording = recorded((MessageStart("assistant"), 0.5), started=1_767_225_600.0)
    recording.status = "cancelled"
    return recording


def calling() -> Recording:
    """Nothing but the input of a tool."""
    return recorded(
        (ToolInputDelta(0, '{"x": '), 0.5), (ToolInputDelta(0, "1}"), 1.0), (Metadata(USAGE), 2.0)
    )


def short() -> Recording:
    """One token, one delta."""
    usage = {"inputTokens": 9, "outputTokens": 1, "totalTokens": 10}
    return recorded((TextDelta(0, "x"), 0.5), (BlockStop(0), 0.6), (Metadata(usage), 1.0))


def approx(values: Any) -> dict[str, Any]:
    """Numbers to within rounding, None as it is."""
    return {name: value if value is None else pytest.approx(value) for name, value in values.items()}


# -- every column ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            "llmeter",
            {
                "time_to_first_token": 2.0,  # visible text
                "time_to_last_token": 3.1,  # the stop of the last block
                "time_per_output_token": 0.11,  # (3.1 - 2.0) / 10
                "num_tokens_input": 10,
                "num_tokens_output": 11,
                "num_tokens_input_cached": 200,
                "retries": 2,
            },
        ),
        (
            "vllm",
            {
                "ttft_ms": 500,
                "tpot_ms": 350,  # (4.0 - 0.5) / 10
                "itl_ms": 625,  # mean of 0.5, 1.0, 0.5, 0.5
                "e2el_ms": 4000,
                "prompt_len": 250,
                "output_tokens": 11,
            },
        ),
        (
            "guidellm",
            {
                "request_latency": 4.0,
                "prompt_tokens": 250,
                "cached_tokens": 200,
                "output_tokens": 11,
                "total_tokens": 261,
                "time_to_first_token_ms": 500,
                "time_per_output_token_ms": 3000 / 11,
                "inter_token_latency_ms": 250,  # (3.0 - 0.5) / 10
                "tokens_per_second": 261 / 4,
                "output_tokens_per_second": 11 / 4,
                "time_to_first_output_token_ms": 2000,
                "iter_tokens_per_iteration": 2.5,  # 10 / 4
                "output_tokens_per_iteration": 2.2,  # 11 / 5
            },
        ),
        (
            "aiperf",
            {
                "time_to_first_token": 500,
                "time_to_second_token": 500,
                "time_to_first_output_token": 2000,
                "request_latency": 3000,
                "decode_duration": 2500,
                "inter_token_latency": 250,
                "inter_chunk_latency": 625,
                "output_token_throughput_per_user": 4,
                "prefill_throughput_per_user": 500,  # 250 / 0.5
                "e2e_output_token_throughput": 11 / 3,
                "output_sequence_length": 11,
                "input_sequence_length": 250,
                "usage_prompt_cache_read_tokens": 200,
                "usage_prompt_cache_write_tokens": 40,
                "stream_setup_latency": 200,
                "stream_prefill_latency": 300,
            },
        ),
        (
            "otel",
            {
                "gen_ai.client.inference.duration": 4.0,
                "gen_ai.client.inference.time_to_first_chunk": 0.5,
                "gen_ai.client.inference.time_per_output_chunk": 0.625,
                "gen_ai.usage.input_tokens": 250,
                "gen_ai.usage.output_tokens": 11,
                "gen_ai.usage.cache_read.input_tokens": 200,
                "gen_ai.usage.cache_write.input_tokens": 40,
            },
        ),
        (
            "aws",
            {
                "TimeToFirstToken": 500,
                "InvocationLatency": 3000,
                "OTPS": 4.4,  # 11 / 2.5
                "InputTokenCount": 10,
                "OutputTokenCount": 11,
                "latencyMs": 3300,
                "cacheReadInputTokens": 200,
                "cacheWriteInputTokens": 40,
                "totalTokens": 261,
            },
        ),
    ],
)
def test_every_column_of_every_tool(dialect, expected):
    """One reply, six descriptions, each in the tool's own order."""
    found = columns(rich(), dialect)
    assert list(found) == list(expected)
    assert found == approx(expected)


@pytest.mark.parametrize(
    ("made", "dialect", "expected"),
    [
        # An answer that came whole has no first token that anybody could wait for.
        (
            whole,
            "llmeter",
            {"time_to_first_token": None, "time_to_last_token": 2.0, "time_per_output_token": None},
        ),
        (whole, "vllm", {"ttft_ms": None, "tpot_ms": None, "itl_ms": None, "e2el_ms": 2000}),
        (whole, "guidellm", {"time_to_first_token_ms": None, "time_per_output_token_ms": 500}),
        (whole, "guidellm", {"inter_token_latency_ms": None, "iter_tokens_per_iteration": None}),
        (whole, "aiperf", {"time_to_first_token": None, "decode_duration": None, "request_latency": 2000}),
        (whole, "aiperf", {"prefill_throughput_per_user": None, "e2e_output_token_throughput": 2.0}),
        (whole, "otel", {"gen_ai.client.inference.time_to_first_chunk": None}),
        (whole, "aws", {"TimeToFirstToken": None, "OTPS": None, "InvocationLatency": 2000}),
        # Over a seam nothing is measured, and usage is of the second call.
        (resumed, "llmeter", {"time_to_last_token": 2.5, "time_per_output_token": None}),
        (resumed, "vllm", {"tpot_ms": None, "itl_ms": 250}),
        (resumed, "guidellm", {"time_per_output_token_ms": None, "output_tokens_per_second": None}),
        (resumed, "aiperf", {"time_to_second_token": None, "inter_token_latency": None}),
        (resumed, "aws", {"OTPS": None}),
        # A reply that failed has what it came to.
        (
            failed,
            "llmeter",
            {"time_to_first_token": 1.0, "time_to_last_token": 1.5, "num_tokens_output": None},
        ),
        (failed, "vllm", {"ttft_ms": 1000, "e2el_ms": None, "tpot_ms": None, "itl_ms": 500}),
        (failed, "guidellm", {"request_latency": 9.0, "output_tokens": 2, "inter_token_latency_ms": 500}),
        (
            failed,
            "aiperf",
            {"request_latency": 1500, "inter_token_latency": None, "inter_chunk_latency": 500},
        ),
        (failed, "otel", {"gen_ai.client.inference.duration": 9.0, "gen_ai.usage.input_tokens": None}),
        (cancelled, "llmeter", {"time_to_last_token": None}),
        (cancelled, "aiperf", {"request_latency": 500, "time_to_first_token": None}),
        (cancelled, "guidellm", {"output_tokens": None, "output_tokens_per_iteration": None}),
        # A tool's input is content, and for some it is output too, but nobody sees it.
        (calling, "llmeter", {"time_to_first_token": None, "time_to_last_token": None}),
        (calling, "vllm", {"ttft_ms": 500, "e2el_ms": 2000}),
        (calling, "guidellm", {"time_to_first_token_ms": 500, "time_to_first_output_token_ms": None}),
        (calling, "aiperf", {"time_to_first_token": 500, "time_to_first_output_token": 500}),
        # One token has no time between tokens.
        (short, "llmeter", {"time_per_output_token": None, "time_to_last_token": 0.6}),
        (short, "vllm", {"tpot_ms": None, "itl_ms": None}),
        (short, "guidellm", {"inter_token_latency_ms": None, "time_per_output_token_ms": 500}),
        (short, "aiperf", {"inter_token_latency": None, "decode_duration": 0}),
        (short, "aws", {"OTPS": None}),
    ],
)
def test_kinds_of_replies_in_other_words(made, dialect, expected):
    """Each tool has its own idea of what is missing."""
    found = columns(made(), dialect)
    assert {name: found[name] for name in expected} == approx(expected)


@pytest.mark.parametrize("dialect", NAMES)
def test_an_empty_recording_has_no_numbers(dialect):
    """In no dialect."""
    assert set(columns(Recording(), dialect).values()) == {None}


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_any_recording_can_be_described(rows):
    """With whatever usage: numbers, or None."""
    recording = recorded(*rows)
    for dialect in NAMES:
        for value in columns(recording, dialect).values():
            assert value is None or (isinstance(value, int | float) and value == value)
        assert totals([recording, recording], dialect)


# -- the tools' own loops --------------------------------------------------------------------------


@st.composite
def streams(draw: st.DrawFn) -> Recording:
    """A sound reply of reasoning, text and tools, with a count of tokens."""
    t = 0.0
    rows: list[tuple[Any, float]] = [(MessageStart("assistant"), 0.0)]
    for index in range(draw(st.integers(1, 3))):
        make = draw(st.sampled_from([TextDelta, ReasoningDelta, ToolInputDelta]))
        for text in draw(st.lists(st.sampled_from(["", "x", "yz"]), min_size=1, max_size=4)):
            t += draw(st.integers(1, 1000)) / 1000
            rows.append((make(index, text), t))
        t += draw(st.integers(0, 1000)) / 1000
        rows.append((BlockStop(index), t))
    tokens = draw(st.integers(0, 40))
    usage = {"inputTokens": 5, "outputTokens": tokens, "totalTokens": 5 + tokens}
    rows += [(MessageStop("end_turn"), t + 0.25), (Metadata(usage, 9), t + draw(st.integers(1, 9)))]
    return recorded(*rows)


@settings(deadline=None, max_examples=80)
@given(streams())
def test_llmeter_would_have_measured_the_same(recording):
    """Its definitions as a loop over the events, as it reads a stream."""
    first, last, tokens = None, 0.0, 0
    for t, _, _, event in recording.rows():
        if isinstance(event, TextDelta) and event.text:
            first = t if first is None else first
            last = t
        elif isinstance(event, BlockStop):
            last = t
        elif isinstance(event, Metadata):
            tokens = event.usage["outputTokens"]
    found = columns(recording, "llmeter")
    assert (found["time_to_first_token"], found["time_to_last_token"]) == (first, last)
    if first is None or tokens < 2:
        assert found["time_per_output_token"] is None
    else:
        assert found["time_per_output_token"] == pytest.approx((last - first) / (tokens - 1))


@settings(deadline=None, max_examples=80)
@given(streams())
def test_vllm_would_have_measured_the_same(recording):
    """Its definitions as a loop over the chunks, usage being the last of them."""
    ttft = latest = None
    gaps, tokens = [], 0
    for t, _, _, event in recording.rows():
        if isinstance(event, Metadata):
            latency, tokens = t, event.usage["outputTokens"]
        elif getattr(event, "text", "") or getattr(event, "fragment", ""):
            if ttft is None:
                ttft = t
            else:
                gaps.append(t - latest)
            latest = t
    found = columns(recording, "vllm")
    expected = {
        "ttft_ms": None if ttft is None else 1000 * ttft,
        "tpot_ms": 1000 * (latency - ttft) / (tokens - 1) if ttft is not None and tokens > 1 else None,
        "itl_ms": 1000 * sum(gaps) / len(gaps) if gaps else None,
        "e2el_ms": 1000 * latency,
    }
    assert {name: found[name] for name in expected} == approx(expected)


@settings(deadline=None, max_examples=60)
@given(streams())
def test_a_column_that_says_it_is_a_metric_of_ours_is(recording):
    """But for the unit, and for None where we say 0 of a cache that is not told of."""
    assume(recording.content())
    ours = measure(recording)
    for dialect in DIALECTS.values():
        for column in dialect.columns:
            value = columns(recording, dialect.name)[column.name]
            if not column.ours or (value is None and column.ours.startswith("cache_")):
                continue
            scale = 1000 if column.unit.startswith("ms") and METRICS[column.ours].unit != "ms" else 1
            expected = ours[column.ours]
            assert value == (None if expected is None else pytest.approx(scale * expected)), column


# -- a run -----------------------------------------------------------------------------------------


def run(n: int = 120) -> list[Recording]:
    """Replies that begin a second apart: the first token after 0.01, 0.02 ... s, 5 to 9 tokens, 2 s each."""
    made = []
    for i in range(n):
        tokens = 5 + i % 5
        usage = {"inputTokens": 10, "outputTokens": tokens, "totalTokens": 10 + tokens}
        first = (i + 1) / 100
        rows = [(TextDelta(0, "x"), first), (TextDelta(0, "y"), first + 0.5), (BlockStop(0), first + 0.5)]
        made.append(
            recorded(*rows, (MessageStop("end_turn"), 1.9), (Metadata(usage), 2.0), started=1000.0 + i)
        )
    return made


def test_vllm_sums_up_a_run():
    """In the words that it prints: rates by the length of the run, percentiles as numpy's, gaps pooled."""
    found = totals(run(), "vllm")
    ttft = [10 * (i + 1) for i in range(120)]
    e2e = 119 + 2.0
    assert found["Successful requests"] == 120
    assert found["Failed requests"] == 0
    assert found["Benchmark duration (s)"] == pytest.approx(e2e)
    assert found["Total input tokens"] == 1200
    assert found["Total generated tokens"] == 840
    assert found["Request throughput (req/s)"] == pytest.approx(120 / e2e)
    assert found["Output token throughput (tok/s)"] == pytest.approx(840 / e2e)
    assert found["Total token throughput (tok/s)"] == pytest.approx(2040 / e2e)
    assert found["Peak concurrent requests"] == 2  # each is over when the next but one begins
    assert found["Mean TTFT (ms)"] == pytest.approx(np.mean(ttft))
    assert found["Median TTFT (ms)"] == pytest.approx(np.median(ttft))
    assert found["P99 TTFT (ms)"] == pytest.approx(np.percentile(ttft, 99))
    tpot = [(2000 - t) / (4 + i % 5) for i, t in enumerate(ttft)]
    assert found["Mean TPOT (ms)"] == pytest.approx(np.mean(tpot))
    assert found["P99 TPOT (ms)"] == pytest.approx(np.percentile(tpot, 99))
    assert found["Mean ITL (ms)"] == pytest.approx(500)
    assert found["Median E2EL (ms)"] == pytest.approx(2000)


def test_llmeter_sums_up_a_run():
    """Rates by the minute and of all requests, failed ones too; percentiles as Python's statistics."""
    found = totals([*run(), failed()], "llmeter")
    ttft = [(i + 1) / 100 for i in range(120)]
    assert (found["total_requests"], found["failed_requests"]) == (121, 1)
    assert found["failed_requests_rate"] == pytest.approx(1 / 121)
    assert found["time_to_first_token-average"] == pytest.approx(statistics.mean(ttft))
    assert found["time_to_first_token-p50"] == pytest.approx(statistics.median(ttft))
    assert found["time_to_first_token-p90"] == pytest.approx(statistics.quantiles(ttft, n=10)[-1])
    assert found["time_to_first_token-p99"] == pytest.approx(statistics.quantiles(ttft, n=100)[-1])
    assert found["total_output_tokens"] == 840
    assert found["requests_per_minute"] == pytest.approx(60 * 121 / found["total_test_time"])
    assert found["average_output_tokens_per_minute"] == pytest.approx(60 * 840 / found["total_test_time"])
    assert found["num_tokens_input_cached-p50"] is None
    assert found["total_cached_input_tokens"] == 0


def test_guidellm_sums_up_a_run():
    """Times per token weigh by tokens, and a percentile is one of the values."""
    found = totals([*run(), failed(), cancelled()], "guidellm")
    counts = ("successful", "incomplete", "errored", "total")
    assert [found[f"request_totals.{word}"] for word in counts] == [120, 1, 1, 122]
    tokens = np.array([5 + i % 5 for i in range(120)])
    itl = 500 / (tokens - 1)
    assert found["inter_token_latency_ms.mean"] == pytest.approx(np.average(itl, weights=tokens - 1))
    spread_out = np.sort(np.repeat(itl, tokens - 1))  # every token a value of its own
    assert found["inter_token_latency_ms.p95"] == pytest.approx(
        np.percentile(spread_out, 95, method="inverted_cdf")
    )
    ttft = [10 * (i + 1) for i in range(120)]
    for word, p in (("median", 50), ("p90", 90), ("p99", 99)):
        expected = np.percentile(ttft, p, method="inverted_cdf")
        assert found[f"time_to_first_token_ms.{word}"] == pytest.approx(expected)
    assert found["requests_per_second.mean"] == pytest.approx(120 / found["duration"])


def test_aiperf_sums_up_a_run():
    """The run ends with the last content, not with the last metadata; successes only."""
    found = totals(iter(run()), "aiperf")
    length = 119 + 1.2 + 0.5
    assert found["benchmark_duration"] == pytest.approx(length)
    assert found["request_throughput"] == pytest.approx(120 / length)
    assert found["output_token_throughput"] == pytest.approx(840 / length)
    assert found["total_token_throughput"] == pytest.approx(2040 / length)
    assert found["time_to_first_token.p99"] == pytest.approx(np.percentile(range(10, 1210, 10), 99))
    assert found["inter_chunk_latency.avg"] == pytest.approx(500)
    assert (found["request_count"], found["error_request_count"]) == (120, 0)


def test_opentelemetry_sums_up_a_run():
    """Histograms: how many samples, and their sum; a gap is a sample, and a failed call has a duration."""
    found = totals([*run(3), failed()], "otel")
    assert found["gen_ai.client.inference.duration.count"] == 4
    assert found["gen_ai.client.inference.duration.sum"] == pytest.approx(15)
    assert found["gen_ai.client.inference.time_per_output_chunk.count"] == 4
    assert found["gen_ai.client.inference.operation.output_tokens.sum"] == 5 + 6 + 7


def test_cloudwatch_sums_up_a_run():
    """OTPS of the averages: all tokens by all time after first tokens."""
    found = totals([*run(), whole()], "aws")
    assert found["Invocations"] == 121
    assert found["OTPS"] == pytest.approx(840 / (120 * 0.5))
    assert found["OutputTokenCount.Sum"] == 844
    assert found["TimeToFirstToken.p90"] == pytest.approx(np.percentile(range(10, 1210, 10), 90))


@pytest.mark.parametrize("dialect", NAMES)
def test_what_a_run_does_not_tell_is_missing(dialect):
    """Percentiles of few replies, and rates of a run whose length nobody knows."""
    few = totals([rich(), resumed()], dialect)  # the second has no wall-clock time
    for name, value in few.items():
        if name.casefold().endswith(("p90", "p95", "p99")) or name.startswith("P99") or name in BY_TIME:
            assert value is None, name
    nothing = totals([], dialect)
    assert list(nothing) == list(few)
    assert all(value in (None, 0) for value in nothing.values())


# -- words -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=NAMES)
def test_a_dialect_says_whom_it_follows(dialect):
    """Its source, and of each column unit, formula and what it is here."""
    assert dialect.source in repr(dialect)
    assert "0x" not in repr(dialect)
    names = [column.name for column in dialect.columns]
    assert len(set(names)) == len(names)
    for column in dialect.columns:
        assert column.ours in ("", *METRICS)
        shown = repr(explain(column.name, dialect=dialect.name))
        for part in (column.name, column.unit, column.formula, column.note, column.short, column.ours):
            assert part in shown
        assert "0x" not in shown
    assert len(repr(explain(dialect=dialect.name)).split("\n\n")[0].splitlines()) == len(names)


@pytest.mark.parametrize(
    ("name", "dialect", "column"),
    [
        ("ITL", "vllm", "itl_ms"),
        ("ITL", "guidellm", "inter_token_latency_ms"),
        ("itl", "aiperf", "inter_token_latency"),
        ("TPOT", "guidellm", "time_per_output_token_ms"),
        ("ttft", "vllm", "ttft_ms"),
        ("TTFT", "llmeter", "time_to_first_token"),
    ],
)
def test_a_name_is_explained_in_the_tool_that_has_it(name, dialect, column):
    """Where the name alone would mean different numbers, or not be one of ours."""
    assert explain(name, dialect=dialect).name == column


@pytest.mark.parametrize(
    "asked",
    [
        lambda: columns(rich(), "llmperf"),
        lambda: totals([], ["vllm"]),
        lambda: explain("TTFT", dialect="x" * 10**6),
    ],
)
def test_a_dialect_that_is_none_gets_the_list(asked):
    """The error says which there are."""
    with pytest.raises(RequestError, match=", ".join(NAMES)) as caught:
        asked()
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("name", ["", "speed", 5])
def test_a_number_that_a_tool_does_not_have_gets_the_list(name):
    """Of that tool's columns."""
    with pytest.raises(RequestError, match=r"OpenTelemetry has no number .* gen_ai.usage.output_tokens"):
        explain(name, dialect="otel")


def test_only_recordings_are_described():
    """Anything else is an error that says what to give."""
    with pytest.raises(RequestError, match="A dict is no Recording"):
        columns({}, "vllm")  # type: ignore[arg-type]
