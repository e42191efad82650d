"""One table of formulas: what each metric is, how it is made, what others call it.

Strategy: each metric is a row of `METRICS` with its unit, formula, function and what it is made of; what
other tools call it stands in `names`. A metric whose parts are missing is None, never a guess; a percentile
from too few values is not given. The symbols of the formulas are those of `metric.SYMBOLS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bedrock_nb.metrics.metric import Metric
from bedrock_nb.metrics.moments import Facts, all_input, facts
from bedrock_nb.metrics.names import NAMES
from bedrock_nb.metrics.quantiles import of_ordered
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import busy, spent

__all__ = ["METRICS", "Metric", "measure", "named"]

_INPUT = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def _cached(name: str) -> Callable[[Facts], int | None]:
    """A count of cached tokens: 0 where usage came without it, for Bedrock then tells none."""
    return lambda f: f.usage.get(name, 0) if f.usage else None


def _ttlt(f: Facts) -> float | None:
    return f.cN if f.stopped else None  # of a message that was cut, the last delta is not its last token


def _tpot(f: Facts) -> float | None:
    if f.c1 is None or f.cN is None or f.N is None or f.N < 2 or f.resumed or f.whole:
        return None
    return (f.cN - f.c1) / (f.N - 1)


def _prefill_tps(f: Facts) -> float | None:
    given = all_input(f)
    return given / f.c1 if given is not None and f.c1 and not f.resumed and not f.whole else None


def _cached_share(f: Facts) -> float | None:
    given = all_input(f)
    return f.usage.get("cacheReadInputTokens", 0) / given if given else None


def _usage_gap(f: Facts) -> int | None:
    total, given = f.usage.get("totalTokens"), all_input(f)
    return None if total is None or given is None or f.N is None else int(total - given - f.N)


_METRICS = (
    Metric(
        "t_headers_s",
        "time to headers",
        "s",
        "h - t0",
        "Until the response's head: connection, retries, and the service's decision to answer.",
        lambda f: f.h,
        ("request", "headers"),
        "less",
    ),
    Metric(
        "t_first_event_s",
        "time to first event",
        "s",
        "e1 - t0",
        "Until the first event, mostly messageStart; not yet a token.",
        lambda f: f.e1,
        ("request", "first event"),
        "less",
    ),
    Metric(
        "ttft_s",
        "time to first token",
        "s",
        "c1 - t0",
        "Time to first token: the first content delta of any kind, reasoning included.",
        lambda f: f.c1,
        ("request", "first content delta"),
        "less",
    ),
    Metric(
        "ttfvt_s",
        "time to first visible text",
        "s",
        "v1 - t0",
        "Time to first visible text: what a reader waits for; reasoning and tool input do not count.",
        lambda f: f.v1,
        ("request", "first delta of visible text"),
        "less",
    ),
    Metric(
        "ttst_s",
        "time to second token",
        "s",
        "c2 - c1",
        "From the first content delta to the second: a start that stutters shows here.",
        lambda f: f.c2 - f.c1 if f.c1 is not None and f.c2 is not None else None,
        ("first content delta", "second content delta"),
        "less",
    ),
    Metric(
        "ttlt_s",
        "time to last token",
        "s",
        "cN - t0",
        "Time to last token: the last content delta.",
        _ttlt,
        ("request", "last content delta", "message stop"),
        "less",
    ),
    Metric(
        "e2e_s",
        "end-to-end time",
        "s",
        "m - t0",
        "End to end: the metadata event, which comes after messageStop.",
        lambda f: f.m,
        ("request", "metadata"),
        "less",
    ),
    Metric(
        "tpot_s",
        "time per output token",
        "s/token",
        "(ttlt - ttft)/(N - 1)",
        "Time per output token after the first. It supposes that one token was there at TTFT: where several "
        "came first, in a burst, it is too small, most of all for short answers.",
        _tpot,
        ("first content delta", "last content delta", "outputTokens"),
        "less",
    ),
    Metric(
        "gap_p50_s",
        "median gap",
        "s",
        "median of all c(i+1) - c(i)",
        "Half of the waits between content deltas are shorter. A delta is not a token.",
        lambda f: of_ordered(f.ordered, 0.5),
        ("content deltas",),
        "less",
    ),
    Metric(
        "gap_p99_s",
        "99th percentile gap",
        "s",
        "99th percentile of all c(i+1) - c(i)",
        "One wait in a hundred is longer: the stalls that a reader notices. Needs 100 gaps.",
        lambda f: of_ordered(f.ordered, 0.99),
        ("content deltas",),
        "less",
    ),
    Metric(
        "content_chunks",
        "content deltas",
        "count",
        "K",
        "How many deltas brought something of the answer. Bedrock puts one token or many into one.",
        lambda f: f.K,
        ("content deltas",),
    ),
    Metric(
        "output_tps",
        "output pace",
        "token/s",
        "(N - 1)/(ttlt - ttft)",
        "Pace of the answer once it has begun.",
        lambda f: 1 / tpot if (tpot := _tpot(f)) else None,
        ("first content delta", "last content delta", "outputTokens"),
        "more",
    ),
    Metric(
        "e2e_tps",
        "output by the whole wait",
        "token/s",
        "N/e2e",
        "Output tokens by the whole wait.",
        lambda f: f.N / f.m if f.N is not None and f.m and not f.resumed else None,
        ("request", "metadata", "outputTokens"),
        "more",
    ),
    Metric(
        "prefill_tps",
        "input pace",
        "token/s",
        "total_input/ttft",
        "All input tokens by the time to the first token, in which queues and network are too.",
        _prefill_tps,
        ("request", "first content delta", "input tokens of all kinds"),
        "more",
    ),
    Metric(
        "server_latency_ms",
        "server latency",
        "ms",
        "metrics.latencyMs",
        "The service's own figure, from the metadata event.",
        lambda f: f.server_ms,
        ("metadata",),
        "less",
    ),
    Metric(
        "retries",
        "retries",
        "count",
        "ResponseMetadata.RetryAttempts",
        "Attempts by boto3 after the first, and ours; their time is inside every time here.",
        lambda f: f.retries,
        ("envelope",),
        "less",
    ),
    Metric(
        "retry_s",
        "time of retries",
        "s",
        "last sent - first sent",
        "What the attempts before the last one cost, pauses included.",
        lambda f: f.retry_s,
        ("sent, one of each attempt",),
        "less",
    ),
    Metric(
        "input_tokens",
        "fresh input",
        "token",
        "usage.inputTokens",
        "Input tokens as Bedrock counts them: those read from or written to a cache are not among them.",
        lambda f: f.usage.get("inputTokens"),
        ("inputTokens",),
    ),
    Metric(
        "cache_read_tokens",
        "input read from cache",
        "token",
        "usage.cacheReadInputTokens",
        "Input tokens read from a prompt cache.",
        _cached("cacheReadInputTokens"),
        ("cacheReadInputTokens",),
    ),
    Metric(
        "cache_write_tokens",
        "input written to cache",
        "token",
        "usage.cacheWriteInputTokens",
        "Input tokens written to a prompt cache.",
        _cached("cacheWriteInputTokens"),
        ("cacheWriteInputTokens",),
    ),
    Metric(
        "total_input_tokens",
        "whole input",
        "token",
        "inputTokens + cacheReadInputTokens + cacheWriteInputTokens",
        "All input tokens, cached ones included.",
        all_input,
        _INPUT,
    ),
    Metric(
        "output_tokens",
        "output",
        "token",
        "usage.outputTokens",
        "N: output tokens, reasoning included; Bedrock counts it, nobody can from the deltas.",
        lambda f: f.N,
        ("outputTokens",),
    ),
    Metric(
        "total_tokens",
        "all tokens as told",
        "token",
        "usage.totalTokens",
        "Bedrock's own sum, just as it came; usage_gap_tokens says whether it adds up.",
        lambda f: f.usage.get("totalTokens"),
        ("totalTokens",),
    ),
    Metric(
        "cached_share",
        "cached part of the input",
        "share",
        "cacheReadInputTokens/total_input",
        "How much of the whole input was read from a prompt cache: from 0 to 1.",
        _cached_share,
        _INPUT,
    ),
    Metric(
        "usage_gap_tokens",
        "tokens that do not add up",
        "token",
        "totalTokens - total_input - outputTokens",
        "0 where Bedrock's total is the sum of its parts; below 0 where it leaves cached tokens out.",
        _usage_gap,
        ("totalTokens", *_INPUT, "outputTokens"),
    ),
    Metric(
        "tool_calls",
        "tool calls",
        "count",
        "number of tool runs",
        "Calls of tools that the message asked for and a conversation answered, whatever came of them.",
        lambda f: len(f.tools),
        ("tool runs",),
    ),
    Metric(
        "tool_s",
        "time of tools",
        "s",
        "length of the union of all runs",
        "How long at least one tool ran: tools that run side by side count once.",
        lambda f: spent(busy(f.tools)) if f.tools else None,
        ("tool runs",),
        "less",
    ),
    Metric(
        "tool_overlap_s",
        "time of tools beside the message",
        "s",
        "the part of tool_s before messageStop",
        "What it gained to let tools run while their message still streamed.",
        lambda f: spent(busy(f.tools), f.end) if f.tools and f.end is not None else None,
        ("tool runs", "message stop"),
    ),
)

#: Every metric by its name, in the order of the summary table.
METRICS: dict[str, Metric] = {
    metric.name: replace(metric, known_as=NAMES.get(metric.name, {})) for metric in _METRICS
}


def measure(recording: Recording) -> dict[str, Any]:
    """Every metric of one recording, by name; None where the recording has no such number.

    Raises
    ------
    RequestError
        Something else than a recording was given.
    """
    known = facts(recording)
    return {name: metric.compute(known) for name, metric in METRICS.items()}


def named(name: Any) -> Metric | None:
    """The metric of this name, with or without its unit of time: ``"tpot"`` and ``"tpot_s"`` are the same."""
    known = (m for m in METRICS.values() if name in (m.name, m.name.removesuffix("_s").removesuffix("_ms")))
    return next(known, None)
