"""metrics.py: every formula on recordings whose answers are known, and None where there is none."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import IncompleteStreamError, RequestError, service_fault
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.metrics import METRICS, explain, facts, measure, percentile
from bedrock_nb.recording import Recording
from tests.recordings import ROWS, USAGE, recorded, reply

NOTHING = dict.fromkeys(METRICS) | {"tool_calls": 0}
CACHED = {
    "inputTokens": 10,
    "cacheReadInputTokens": 200,
    "cacheWriteInputTokens": 3000,
    "outputTokens": 5,
    "totalTokens": 3215,
}


def known(recording: Recording) -> dict[str, float]:
    """The metrics that this recording has, but for its calls of tools if there are none."""
    return {name: value for name, value in measure(recording).items() if value != NOTHING[name]}


# -- the formulas ----------------------------------------------------------------------------------


def test_every_formula_on_a_reply_by_hand():
    """c1, v1 = 0.50; cN = 1.50; m = 2.00; N = 4; gaps of 0.25 and 0.75 s."""
    assert measure(reply()) == {
        "t_headers_s": 0.125,
        "t_first_event_s": 0.25,
        "ttft_s": 0.50,
        "ttfvt_s": 0.50,
        "ttlt_s": 1.50,
        "e2e_s": 2.00,
        "tpot_s": pytest.approx(1 / 3),  # (1.50 - 0.50) / (4 - 1)
        "gap_p50_s": 0.50,
        "gap_p99_s": None,  # needs 100 gaps
        "output_tps": pytest.approx(3),  # (4 - 1) / (1.50 - 0.50)
        "e2e_tps": 2.0,  # 4 / 2.00
        "server_latency_ms": 1600,
        "retries": 1,
        "retry_s": 0.0,
        "input_tokens": 9,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "total_input_tokens": 9,
        "output_tokens": 4,
        "tool_calls": 0,
        "tool_s": None,
        "tool_overlap_s": None,
    }


def test_what_is_asked_first_is_not_what_is_seen_first():
    """Reasoning is the first token, and the first visible text comes later."""
    recording = recorded(
        (MessageStart("assistant"), 0.1),
        (ReasoningDelta(0, "let me "), 0.5),
        (ReasoningDelta(0, "think"), 1.0),
        (BlockStop(0), 1.0),
        (TextDelta(1, ""), 1.5),  # empty: nothing to see
        (TextDelta(1, "42"), 2.0),
        (BlockStop(1), 2.1),
        (MessageStop("end_turn"), 2.2),
        (Metadata({"inputTokens": 1, "outputTokens": 7, "totalTokens": 8}), 2.5),
    )
    found = known(recording)
    assert (found["ttft_s"], found["ttfvt_s"], found["ttlt_s"], found["e2e_s"]) == (0.5, 2.0, 2.0, 2.5)
    assert found["tpot_s"] == pytest.approx((2.0 - 0.5) / 6)
    assert found["output_tps"] == pytest.approx(6 / (2.0 - 0.5))
    assert found["e2e_tps"] == pytest.approx(7 / 2.5)
    assert facts(recording).gaps == [0.5, 1.0]


def test_a_reply_of_tools_only_has_no_visible_text():
    """Fragments of tool input are content: they start and end the clock, and nobody sees them."""
    recording = recorded(
        (MessageStart("assistant"), 0.1),
        (ToolUseStart(0, "1", "f"), 0.2),
        (ToolInputDelta(0, ""), 0.3),
        (ToolInputDelta(0, '{"x": '), 0.4),
        (ToolInputDelta(0, "1}"), 0.7),
        (BlockStop(0), 0.8),
        (MessageStop("tool_use"), 0.9),
        (Metadata(USAGE), 1.0),
    )
    found = known(recording)
    assert "ttfvt_s" not in found
    assert (found["ttft_s"], found["ttlt_s"]) == (0.4, 0.7)
    assert found["tpot_s"] == pytest.approx(0.1)


def test_cached_tokens_are_counted_apart():
    """Bedrock's inputTokens excludes them; total_input_tokens is the sum of the three."""
    found = known(recorded((Metadata(CACHED), 1.0)))
    names = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "total_input_tokens")
    assert [found[name] for name in names] == [10, 200, 3000, 3210]


def test_the_last_metadata_counts():
    """Usage and time are of one event."""
    other = Metadata({**USAGE, "outputTokens": 99}, 5)
    recording = recorded((Metadata(USAGE, 1), 1.0), (TextDelta(0, "x"), 1.5), (other, 2.0))
    found = known(recording)
    assert (found["e2e_s"], found["output_tokens"], found["server_latency_ms"]) == (2.0, 99, 5)


# -- what is missing -------------------------------------------------------------------------------


def test_an_empty_recording_has_no_numbers():
    """Every metric is there, and None; that no tool was called is known."""
    assert measure(Recording()) == NOTHING


def test_one_event_has_a_time():
    """One delta is the first and the last; there is no gap, and without usage no pace."""
    assert known(recorded((TextDelta(0, "x"), 0.5))) == {
        "t_first_event_s": 0.5,
        "ttft_s": 0.5,
        "ttfvt_s": 0.5,
        "ttlt_s": 0.5,
    }


def test_one_delta_has_no_rate():
    """Seven tokens in one delta took no time that anybody could measure: a rate would be infinite."""
    found = known(recorded((TextDelta(0, "x"), 0.5), (Metadata({**USAGE, "outputTokens": 7}), 1.0)))
    assert "output_tps" not in found
    assert found["e2e_tps"] == 7.0


@pytest.mark.parametrize("tokens", [0, 1])
def test_a_pace_needs_two_tokens(tokens):
    """(N - 1) in a formula is not divided by when N is 1."""
    recording = recorded(
        (TextDelta(0, "x"), 0.5), (TextDelta(0, "y"), 1.0), (Metadata({**USAGE, "outputTokens": tokens}), 2.0)
    )
    found = known(recording)
    assert "tpot_s" not in found
    assert "output_tps" not in found
    assert found["e2e_tps"] == tokens / 2


def test_without_usage_no_token_is_counted():
    """Nobody can count tokens from deltas, and a cache that is not mentioned is not 0."""
    names = {name for name, metric in METRICS.items() if "token" in metric.unit}
    recording = recorded((TextDelta(0, "x"), 0.5), (TextDelta(0, "y"), 1.0), (Metadata({}), 2.0))
    assert names.isdisjoint(known(recording))
    assert known(recording)["e2e_s"] == 2.0


@pytest.mark.parametrize("value", ["12", 1.5, None, True, -1, 10**30, []], ids=repr)
def test_a_count_that_is_none_is_missing(value):
    """Whatever a service or a file says in the place of a number: no metric, and no exception."""
    usage = {"inputTokens": value, "outputTokens": value, "cacheReadInputTokens": value}
    recording = recorded((TextDelta(0, "x"), 0.5), (TextDelta(0, "y"), 1.0), (Metadata(usage), 2.0))
    recording.envelope = {"retries": value}
    assert {"output_tokens", "input_tokens", "tpot_s", "e2e_tps", "retries"}.isdisjoint(known(recording))


@pytest.mark.parametrize(
    "error", [IncompleteStreamError("Cut."), service_fault("throttlingException", "Slow down")], ids=repr
)
def test_a_reply_that_failed_has_the_times_it_came_to(error):
    """Up to its last content delta; a failure is no first event, and has no end to end."""
    failed = recorded((MessageStart("assistant"), 0.25), (TextDelta(0, "x"), 0.5), (StreamFault(error), 9.0))
    assert known(failed) == {"t_first_event_s": 0.25, "ttft_s": 0.5, "ttfvt_s": 0.5, "ttlt_s": 0.5}
    assert measure(recorded((StreamFault(error), 9.0))) == NOTHING


@settings(deadline=None, max_examples=60)
@given(ROWS)
def test_any_recording_can_be_measured(rows):
    """Each value is a number that is one, or None."""
    found = measure(recorded(*rows))
    assert found.keys() == METRICS.keys()
    assert all(value is None or math.isfinite(value) for value in found.values())


def test_only_recordings_are_measured():
    """Anything else is an error that says what to give."""
    with pytest.raises(RequestError, match="A str is no Recording"):
        measure("reply.jsonl")  # type: ignore[arg-type]


# -- percentiles -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "fewest"), [(0.0, 1), (0.5, 2), (0.75, 4), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1000)]
)
def test_a_percentile_needs_values_beyond_it(p, fewest):
    """From fewer than 1/(1-p) values there is none; from that many on there is."""
    assert percentile([1.0] * (fewest - 1), p) is None
    assert percentile([1.0] * fewest, p) == 1.0


def test_the_hundredth_percentile_is_never_known():
    """The longest wait of all is not in any sample."""
    assert percentile([1.0] * 10_000, 1.0) is None


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    st.floats(0, 1) | st.sampled_from([0.5, 0.9, 0.975]),
)
@settings(deadline=None)
def test_percentiles_are_numpys(values, p):
    """Linear interpolation, as numpy.quantile does by default; the values' order does not matter."""
    found = percentile(values, p)
    if found is None:
        assert len(values) * (1 - p) < 1
    else:
        assert found == pytest.approx(np.quantile(values, p), rel=1e-9, abs=1e-6)
        assert found == percentile(values[::-1], p)


@pytest.mark.parametrize("p", [-0.1, 1.1, 99, float("nan")])
def test_a_percentile_is_a_share(p):
    """99 is a usual slip for 0.99."""
    with pytest.raises(RequestError, match="from 0 to 1") as caught:
        percentile([1.0], p)
    assert repr(p) in str(caught.value)


def test_gaps_of_a_long_reply_have_a_99th_percentile():
    """101 deltas have 100 gaps: of 0.01 to 1.00 s here."""
    times = np.cumsum([0.0, *(i / 100 for i in range(1, 101))])
    recording = recorded(*((TextDelta(0, "x"), t) for t in times))
    found = known(recording)
    assert found["gap_p50_s"] == pytest.approx(0.505)
    assert found["gap_p99_s"] == pytest.approx(0.9901)
    short = recorded(*((TextDelta(0, "x"), t) for t in times[:-1]))
    assert "gap_p99_s" not in known(short)


# -- what each one is ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_explains_itself(name):
    """A row of the table has unit, formula and meaning; its unit is in its name if it is one of time."""
    metric = METRICS[name]
    assert metric.name == name
    assert metric.formula
    assert metric.meaning.endswith(".")
    assert metric.unit in {"s", "ms", "s/token", "token", "token/s", "count"}
    suffix = {"s": "_s", "ms": "_ms", "s/token": "_s", "token": "_tokens", "token/s": "_tps"}
    assert name.endswith(suffix.get(metric.unit, ""))
    shown = repr(explain(name))
    for part in (
        name,
        metric.unit,
        metric.formula,
        metric.meaning,
        *metric.known_as,
        *metric.known_as.values(),
    ):
        assert part in shown
    assert "0x" not in shown


def test_the_table_has_the_metrics_of_the_design():
    """In the order of the summary table."""
    assert list(METRICS) == [
        "t_headers_s",
        "t_first_event_s",
        "ttft_s",
        "ttfvt_s",
        "ttlt_s",
        "e2e_s",
        "tpot_s",
        "gap_p50_s",
        "gap_p99_s",
        "output_tps",
        "e2e_tps",
        "server_latency_ms",
        "retries",
        "retry_s",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "total_input_tokens",
        "output_tokens",
        "tool_calls",
        "tool_s",
        "tool_overlap_s",
    ]


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("ttft", "ttft_s"),
        ("ttft_s", "ttft_s"),
        ("tpot", "tpot_s"),
        ("t_headers", "t_headers_s"),
        ("gap_p50", "gap_p50_s"),
        ("server_latency", "server_latency_ms"),
        ("output_tps", "output_tps"),
        ("retries", "retries"),
    ],
)
def test_a_metric_is_explained_with_and_without_its_unit(asked, name):
    """`explain` takes the column's name, or that name without its unit of time."""
    assert explain(asked) is METRICS[name]
    assert nb.metrics.explain(asked) is METRICS[name]


@pytest.mark.parametrize("name", ["TTFT", "latency", "", "_s", None, 5, ["ttft"]], ids=repr)
def test_a_metric_that_is_none_gets_the_list(name):
    """The error says what was asked, and what there is."""
    with pytest.raises(RequestError) as caught:
        explain(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in METRICS)


def test_a_metric_is_a_value():
    """Rows of the table cannot be changed by accident."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS["ttft_s"].unit = "ms"  # type: ignore[misc]
