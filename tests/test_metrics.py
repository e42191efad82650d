"""metrics/: every formula on recordings whose answers are known, and None where there is none."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pandas as pd
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
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.metrics import METRICS, explain, facts, measure, percentile
from bedrock_nb.metrics.goodput import good, limits
from bedrock_nb.metrics.names import NAMES, TOOLS
from bedrock_nb.metrics.quantiles import of_ordered
from bedrock_nb.metrics.tokens import audit
from bedrock_nb.recording import Recording
from tests.recordings import JSON, OBJECTS, ROWS, USAGE, recorded, reply

NOTHING = dict.fromkeys(METRICS) | {"tool_calls": 0, "content_chunks": 0}
CACHED = {
    "inputTokens": 10,
    "cacheReadInputTokens": 200,
    "cacheWriteInputTokens": 3000,
    "outputTokens": 5,
    "totalTokens": 3215,
}
DETAILS = [{"ttl": "1h", "inputTokens": 2900}, {"ttl": "5m", "inputTokens": 100}]


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
        "ttst_s": 0.25,
        "ttlt_s": 1.50,
        "e2e_s": 2.00,
        "tpot_s": pytest.approx(1 / 3),  # (1.50 - 0.50) / (4 - 1)
        "gap_p50_s": 0.50,
        "gap_p99_s": None,  # needs 100 gaps
        "content_chunks": 3,
        "output_tps": pytest.approx(3),  # (4 - 1) / (1.50 - 0.50)
        "e2e_tps": 2.0,  # 4 / 2.00
        "prefill_tps": 18.0,  # 9 / 0.50
        "server_latency_ms": 1600,
        "retries": 1,
        "retry_s": 0.0,
        "input_tokens": 9,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "total_input_tokens": 9,
        "output_tokens": 4,
        "total_tokens": 13,
        "cached_share": 0.0,
        "usage_gap_tokens": 0,
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
    """There is no gap, without usage no pace, and no last token before the message has stopped."""
    assert known(recorded((TextDelta(0, "x"), 0.5))) == {
        "t_first_event_s": 0.5,
        "ttft_s": 0.5,
        "ttfvt_s": 0.5,
        "content_chunks": 1,
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


def test_without_fresh_input_the_whole_is_not_known():
    """Cached tokens alone are no sum, nor is the answer's count one of an empty input."""
    usage = {"outputTokens": 3, "cacheReadInputTokens": 5, "totalTokens": 9}
    found = known(recorded((TextDelta(0, "x"), 0.5), (Metadata(usage), 2.0)))
    assert found["cache_read_tokens"] == 5
    assert {"total_input_tokens", "prefill_tps", "cached_share", "usage_gap_tokens"}.isdisjoint(found)


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
    """Its last delta is not its last token; a failure is no first event, and has no end to end."""
    failed = recorded((MessageStart("assistant"), 0.25), (TextDelta(0, "x"), 0.5), (StreamFault(error), 9.0))
    times = {"t_first_event_s": 0.25, "ttft_s": 0.5, "ttfvt_s": 0.5}
    assert known(failed) == times | {"content_chunks": 1}
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
    ("p", "fewest"),
    [(0.5, 2), (0.1, 10), (0.25, 4), (0.75, 4), (0.9, 10), (0.95, 20), (0.99, 100), (0.999, 1000)],
)
def test_a_percentile_needs_values_beyond_it(p, fewest):
    """From fewer than 1/(1-p) values there is none, or 1/p below the median; from that many on there is."""
    assert percentile([1.0] * (fewest - 1), p) is None
    assert percentile([1.0] * fewest, p) == 1.0


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_are_never_known(p):
    """The shortest and the longest wait of all are not in any sample."""
    assert percentile([1.0] * 10_000, p) is None


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    st.floats(0, 1) | st.sampled_from([0.5, 0.9, 0.975]),
)
@settings(deadline=None)
def test_percentiles_are_numpys(values, p):
    """Linear interpolation, as numpy.quantile does by default; the values' order does not matter."""
    found = percentile(values, p)
    if found is None:
        assert len(values) * min(p, 1 - p) < 1
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
    assert metric.label
    assert metric.unit not in metric.label.split()
    assert metric.uses
    assert metric.unit in {"s", "ms", "s/token", "token", "token/s", "count", "share"}
    suffix = {"s": "_s", "ms": "_ms", "s/token": "_s", "token": "_tokens", "token/s": "_tps"}
    assert name.endswith(suffix.get(metric.unit, ""))
    shown = repr(explain(name))
    for part in (
        name,
        metric.unit,
        metric.formula,
        metric.meaning,
        metric.label,
        *metric.uses,
        *TOOLS,  # those without such a number are told too
        *metric.known_as.values(),
    ):
        assert part in shown
    assert "0x" not in shown


def test_the_table_has_the_metrics_in_the_order_of_an_answer():
    """Times, then paces, then what the service says of itself, then tokens, then tools."""
    assert list(METRICS) == [
        "t_headers_s",
        "t_first_event_s",
        "ttft_s",
        "ttfvt_s",
        "ttst_s",
        "ttlt_s",
        "e2e_s",
        "tpot_s",
        "gap_p50_s",
        "gap_p99_s",
        "content_chunks",
        "output_tps",
        "e2e_tps",
        "prefill_tps",
        "server_latency_ms",
        "retries",
        "retry_s",
        "input_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
        "total_input_tokens",
        "output_tokens",
        "total_tokens",
        "cached_share",
        "usage_gap_tokens",
        "tool_calls",
        "tool_s",
        "tool_overlap_s",
    ]


def test_names_of_others_are_of_metrics_and_tools_that_there_are():
    """In one order, so that entries can be compared at a glance."""
    assert NAMES.keys() <= METRICS.keys()
    for called in NAMES.values():
        assert list(called) == [tool for tool in TOOLS if tool in called]


def test_what_is_better_is_known_of_times_and_paces():
    """Less of every time but for what tools gained, more of every pace; of tokens nobody can say."""
    for name, metric in METRICS.items():
        if metric.unit in ("s", "ms", "s/token"):
            assert metric.better == ("" if name == "tool_overlap_s" else "less")
        elif metric.unit in ("token", "token/s", "share"):
            assert metric.better == ("more" if metric.unit == "token/s" else "")


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
        ("TTFT", "ttft_s"),
        ("TimeToFirstToken", "ttft_s"),
        ("ICL", "gap_p50_s"),
        ("p99 itl", "gap_p99_s"),
        ("TTFO", "ttfvt_s"),
        ("OSL", "output_tokens"),
        ("gen_ai.usage.input_tokens", "total_input_tokens"),
    ],
)
def test_a_metric_is_explained_with_and_without_its_unit(asked, name):
    """`explain` takes the column's name, also without its unit of time, and what others call it."""
    assert explain(asked) is METRICS[name]
    assert nb.metrics.explain(asked) is METRICS[name]


@pytest.mark.parametrize("name", ["latency", "", "_s", 5, ["ttft"]], ids=repr)
def test_a_metric_that_is_none_gets_the_list(name):
    """The error says what was asked, and what there is."""
    with pytest.raises(RequestError) as caught:
        explain(name)
    assert repr(name) in str(caught.value)
    assert all(known in str(caught.value) for known in METRICS)


@pytest.mark.parametrize(
    ("ask", "hint"),
    [
        (lambda: explain("Ttft_z"), "Did you mean ttft_s? There are: t_headers_s"),
        (lambda: explain("E2ELL", dialect="vllm"), "Did you mean "),
        (lambda: explain(dialect="vlm"), "Did you mean vllm? There are: "),
    ],
)
def test_a_slip_of_the_finger_is_understood(ask, hint):
    """The nearest name is offered before the list of all."""
    with pytest.raises(RequestError) as caught:
        ask()
    assert hint in caught.value.remedy


@pytest.mark.parametrize("package", ["formats", "metrics", "otel", "plot", "stats"])
def test_completion_offers_what_is_public(package):
    """`dir` of a package is its `__all__`: modules and imports are no offers."""
    module = getattr(nb, package)
    assert [name for name in dir(module) if not name.startswith("__")] == sorted(module.__all__)


def test_a_metric_is_a_value():
    """Rows of the table cannot be changed by accident."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        METRICS["ttft_s"].unit = "ms"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ITL", ["vLLM", "nearest here: gap_p50_s", "GuideLLM", "AIPerf", "here tpot_s", "llmperf"]),
        ("TPOT", ["LLMeter", "vLLM", "its end is E2EL", "GuideLLM means (cN - t0)/N"]),
        ("time_to_first_token", ["by default", "here ttfvt_s", "AIPerf means c1 - t0", "here ttft_s"]),
        ("request_latency", ["AIPerf means cN - t0", "GuideLLM means m - t0"]),
    ],
)
def test_a_name_of_many_meanings_is_not_guessed(name, told):
    """Who publishes ITL has to say whose: the error lists who means what, and what it is here."""
    with pytest.raises(RequestError, match="different numbers in different tools") as caught:
        explain(name)
    for part in told:
        assert part in str(caught.value)


def test_all_metrics_can_be_listed():
    """A line for each, with its unit, its name in words and its formula; then what the symbols mean."""
    listed = explain()
    assert list(listed) == list(METRICS.values())
    lines, symbols = (part.splitlines() for part in repr(listed).split("\n\n"))
    assert len(lines) == len(METRICS)
    assert lines[2].split() == ["ttft_s", "s", *["time", "to", "first", "token"], "c1", "-", "t0"]
    assert "c1 first content delta" in symbols[0]


def test_the_package_shows_what_it_has():
    """`explain` is fetched at its first use, and offered before."""
    assert set(nb.metrics.__all__) <= set(dir(nb.metrics))
    with pytest.raises(AttributeError, match="no attribute 'explian'"):
        nb.metrics.explian  # noqa: B018


# -- kinds of replies --------------------------------------------------------------------------------


def cached() -> Recording:
    """10 tokens fresh, 200 read, 3000 written; 5 made from 1.0 to 3.0 s."""
    return recorded((TextDelta(0, "x"), 1.0), (TextDelta(0, "y"), 3.0), (Metadata(CACHED, 3100), 4.0))


def resumed() -> Recording:
    """Broken off after its first delta, taken up again by a second call."""
    return recorded(
        (TextDelta(0, "a"), 1.0),
        (Seam("continue"), 1.5),
        (TextDelta(0, "b"), 2.0),
        (TextDelta(0, "c"), 2.25),
        (Metadata(USAGE), 3.0),
    )


def whole() -> Recording:
    """An answer of a plain call: everything came at once."""
    recording = recorded(*((event, 2.0) for event in reply()))
    recording.envelope = {"operation": "Converse"}
    return recording


def cancelled() -> Recording:
    """Given up after two deltas."""
    recording = recorded((MessageStart("assistant"), 0.5), (TextDelta(0, "a"), 1.0), (TextDelta(0, "b"), 1.5))
    recording.status = "cancelled"
    return recording


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (
            cached,
            {
                "prefill_tps": 3210.0,
                "tpot_s": 0.5,
                "cached_share": 200 / 3210,
                "total_tokens": 3215,
                "usage_gap_tokens": 0,
                "server_latency_ms": 3100,
                "ttst_s": 2.0,
            },
        ),
        (
            resumed,
            {
                "ttft_s": 1.0,
                "ttst_s": None,  # over the seam
                "ttlt_s": 2.25,
                "e2e_s": 3.0,
                "content_chunks": 3,
                "tpot_s": None,
                "output_tps": None,
                "e2e_tps": None,
                "prefill_tps": None,  # usage is of the second call
            },
        ),
        (
            whole,
            {
                "ttft_s": 2.0,
                "e2e_s": 2.0,
                "ttst_s": None,
                "content_chunks": None,
                "tpot_s": None,
                "gap_p50_s": None,
                "prefill_tps": None,
                "e2e_tps": 2.0,
                "output_tokens": 4,
            },
        ),
        (
            cancelled,
            {"ttst_s": 0.5, "ttlt_s": None, "e2e_s": None, "total_tokens": None, "cached_share": None},
        ),
    ],
)
def test_kinds_of_replies(made, expected):
    """What a reply was lets some numbers be, and others not."""
    found = measure(made())
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("usage", "gap"),
    [
        (CACHED | {"totalTokens": 15}, -3200),  # without the cached ones
        (CACHED | {"totalTokens": 3220}, 5),
        (USAGE | {"totalTokens": -1}, None),
        ({"totalTokens": 13, "outputTokens": 4}, None),
    ],
)
def test_a_total_that_does_not_add_up_shows(usage, gap):
    """By how many tokens, and None where a part is missing."""
    assert measure(recorded((Metadata(usage), 1.0)))["usage_gap_tokens"] == gap


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(0.001, 10), min_size=2, max_size=8),
    st.integers(2, 500),
    st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_moments_come_in_their_order(waits, tokens, visible):
    """ttft <= ttfvt <= ttlt <= e2e where they are, and a pace is one over a time."""
    times = np.cumsum(waits)
    rows = [
        ((TextDelta if seen else ReasoningDelta)(0, "x"), float(t))
        for t, seen in zip(times, visible, strict=False)
    ]
    found = known(recorded(*rows, (Metadata({**USAGE, "outputTokens": tokens}), float(times[-1]) + 1)))
    order = [found[name] for name in ("ttft_s", "ttfvt_s", "ttlt_s", "e2e_s") if name in found]
    assert order == sorted(order)
    assert found["tpot_s"] * found["output_tps"] == pytest.approx(1)
    assert found["gap_p50_s"] <= max(waits[1:]) + 1e-9 if "gap_p50_s" in found else len(rows) < 3
    assert found["content_chunks"] == len(rows)


@given(st.lists(st.floats(-1e3, 1e3), min_size=100, max_size=130), st.sampled_from([0.5, 0.9, 0.99]))
@settings(deadline=None, max_examples=30)
def test_percentiles_of_a_sample_are_those_of_python(values, p):
    """The other way to interpolate is that of `statistics.quantiles`, wherever a percentile is given."""
    expected = statistics.quantiles(values, n=100)[round(p * 100) - 1]
    assert of_ordered(sorted(values), p, exclusive=True) == pytest.approx(expected, rel=1e-9, abs=1e-6)


# -- good enough -------------------------------------------------------------------------------------


def test_limits_are_in_our_units_and_by_full_names():
    """Names with and without their unit of time."""
    assert limits(ttft=0.5, tpot_s=0.05, output_tps=20) == {"ttft_s": 0.5, "tpot_s": 0.05, "output_tps": 20.0}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "No limit was given"),
        ({"e2el": 1}, "vLLM's e2el is e2e_s here"),
        ({"speed": 1}, "speed is no metric"),
        ({"ttfts": 1}, "Did you mean ttft_s? There are"),
        ({"output_tokens": 5}, "output_tokens has no better and worse"),
        ({"ttft": 1, "ttft_s": 2}, "ttft_s has two limits"),
        ({"ttft": 500}, "ttft_s=0.5"),
        ({"ttft_s": "fast"}, "from 0 on is wanted, in s"),
        ({"ttft_s": -1}, "-1"),
        ({"ttft_s": math.nan}, "nan"),
        ({"ttft_s": True}, "True"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_refused(given, told):
    """Above all milliseconds, which vLLM's limits are in."""
    with pytest.raises(RequestError) as caught:
        limits(**given)
    assert told in str(caught.value)


def test_a_long_limit_can_be_said_on_purpose():
    """With the full name."""
    assert limits(ttft_s=500) == {"ttft_s": 500.0}


@pytest.mark.parametrize(
    ("limit", "met"),
    [
        ({"ttft_s": 0.5}, True),  # the limit itself is good
        ({"ttft_s": 0.49}, False),
        ({"output_tps": 2.5}, True),  # more is better
        ({"e2e_tps": 2.0}, True),
        ({"output_tps": 3.5}, False),
        ({"gap_p99_s": 99.0}, False),  # a number that is missing meets none
    ],
)
def test_a_reply_meets_a_limit_or_not(limit, met):
    """Upper limits for times, lower ones for paces."""
    assert good(measure(reply()), limit) == dict.fromkeys(limit, met)


@pytest.mark.parametrize("missing", [None, math.nan, "", pd.NA])
def test_what_a_table_lacks_meets_no_limit(missing):
    """A row of the summary table has gaps of other kinds."""
    assert good({"ttft_s": missing}, {"ttft_s": 1.0, "e2e_s": 1.0}) == {"ttft_s": False, "e2e_s": False}


# -- usage, audited ----------------------------------------------------------------------------------


def test_input_and_total_in_either_sense():
    """Bedrock's input leaves cached tokens out, OpenTelemetry's has them; Bedrock's total has them too."""
    found = audit(recorded((Metadata({**CACHED, "cacheDetails": DETAILS}), 1.0)))
    assert (found.fresh, found.cache_read, found.cache_write, found.output) == (10, 200, 3000, 5)
    assert (found.input_bedrock, found.input_otel) == (10, 3210)
    assert (found.total_said, found.total_plain, found.total_bedrock, found.total_otel) == (
        3215,
        15,
        3215,
        3215,
    )
    assert found.cache_details == (("1h", 2900), ("5m", 100))
    assert found.mismatches == ()
    assert found.raw["cacheDetails"] is DETAILS


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        (USAGE, []),
        (CACHED | {"totalTokens": 15}, []),  # the other convention
        (USAGE | {"cacheDetails": []}, []),
        ({}, ["no usage came"]),
        (USAGE | {"totalTokens": 12}, ["totalTokens is 12, but input and output are 13 together."]),
        (CACHED | {"totalTokens": 12}, ["15 together, and 3215 with"]),
        ({"inputTokens": 9, "outputTokens": 4}, ["totalTokens is missing"]),
        (USAGE | {"outputTokens": "4"}, ["outputTokens is '4', not a whole number"]),
        (USAGE | {"inputTokens": -9}, ["inputTokens is -9"]),
        (USAGE | {"cacheReadInputTokens": math.nan}, ["cacheReadInputTokens is nan"]),
        (USAGE | {"totalTokens": 10**5000}, ["totalTokens is a very large number"]),
        (USAGE | {"inputTokens": "x" * 10**6}, ["inputTokens is 'xxxx"]),
        (USAGE | {"outputTokens": 0, "totalTokens": 9}, ["outputTokens is 0, but content came"]),
        (CACHED | {"cacheDetails": [{"ttl": "5m", "inputTokens": 7}]}, ["add up to 7", "is 3000"]),
        (USAGE | {"cacheDetails": [{"ttl": "5m", "inputTokens": 7}]}, ["cacheWriteInputTokens is missing"]),
        (CACHED | {"cacheDetails": [{"ttl": 5}]}, ["not a list of ttl and inputTokens"]),
        (CACHED | {"cacheDetails": "none"}, ["cacheDetails is 'none'"]),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(usage, told):
    """One for each thing, whatever a service says, and none about usage that fits."""
    found = audit(recorded((TextDelta(0, "x"), 0.5), (Metadata(usage), 1.0))).mismatches
    assert len(found) == min(1, len(told))
    assert all(part in found[0] for part in told)
    assert all(sentence.endswith(".") and len(sentence) < 200 for sentence in found)


def test_a_reply_that_was_cut_has_no_usage_and_that_is_no_mismatch():
    """Usage comes last. Of a reply that was taken up again there is that of the last call."""
    assert audit(cancelled()).mismatches == ()
    assert audit(cancelled()).input_otel is None
    assert audit(resumed()).mismatches == (
        "The reply was taken up again: this is the usage of its last call alone.",
    )


@settings(deadline=None, max_examples=60)
@given(OBJECTS | st.fixed_dictionaries({"cacheDetails": JSON}, optional=dict.fromkeys(USAGE, JSON)))
def test_any_usage_can_be_audited(usage):
    """It is kept as it came, and what it is read as are counts."""
    found = audit(recorded((Metadata(usage), 1.0)))
    assert found.raw is usage
    assert all(n is None or (type(n) is int and n >= 0) for n in found[1:11])
