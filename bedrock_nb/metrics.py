"""Recording -> numbers: one table of formulas.

Strategy: `facts` takes the few moments and counts that every metric is made of out of a recording, once;
each metric is a row of `METRICS` with its unit, formula, function, and the name that other tools have for
it. A metric whose parts are missing is None, never a guess; a percentile from too few values is not given.

Symbols: t0 the request (always 0); h response headers; e1 first event; c1 first content delta of any kind;
v1 first visible text; cN last content delta; m the metadata event; N output tokens. A delta that is empty
carries no content. A reply that was resumed has a seam, over which no gap and no pace is measured; an answer
that came whole, from a plain call, has no gaps and no pace at all, and all its moments are one. Names and
formulas of other tools: LLMeter 0.2, vLLM's benchmark, GuideLLM 0.8,
AIPerf 0.13, CloudWatch metrics of Amazon Bedrock, OpenTelemetry's conventions for generative AI (2026).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from bedrock_nb.errors import RequestError
from bedrock_nb.events import MessageStop, StreamFault, TextDelta
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun, busy, spent

__all__ = [
    "METRICS",
    "Facts",
    "Metric",
    "explain",
    "facts",
    "gap_pairs",
    "measure",
    "message_end",
    "percentile",
]


class Facts(NamedTuple):
    """What the formulas are made of. Times in seconds since the request; None where it did not happen."""

    h: float | None
    e1: float | None
    c1: float | None
    v1: float | None
    cN: float | None
    m: float | None
    gaps: list[float]
    N: int | None
    usage: Mapping[str, Any]
    server_ms: int | None
    retries: int | None
    retry_s: float | None
    resumed: bool
    whole: bool
    end: float | None
    tools: Sequence[ToolRun]


def facts(recording: Recording) -> Facts:
    """The moments and counts of one recording."""
    times, content, meta = recording.times, recording.content(), recording.metadata
    visible = (i for i in content if recording.kind(i) is TextDelta)
    first_visible = next(visible, None)
    at = [times[i] for i in content]
    sent = [t for name, t in recording.marks.items() if name == "sent" or name.startswith("sent ")]
    usage = {name: n for name, n in meta.usage.items() if _count(n) is not None} if meta else {}
    return Facts(
        h=recording.marks.get("headers"),
        e1=times[0] if times and recording.kind(0) is not StreamFault else None,
        c1=at[0] if at else None,
        v1=None if first_visible is None else times[first_visible],
        cN=at[-1] if at else None,
        m=recording.time_of(meta) if meta else None,
        gaps=[times[b] - times[a] for a, b in gap_pairs(recording, content)],
        N=usage.get("outputTokens"),
        usage=usage,
        server_ms=_count(meta.latency_ms) if meta else None,
        retries=_count(recording.envelope.get("retries")),
        retry_s=max(sent) - min(sent) if sent else None,
        resumed=bool(recording.seams),
        whole=recording.whole,
        end=message_end(recording),
        tools=tuple(recording.tools),
    )


def message_end(recording: Recording) -> float | None:
    """When the message stopped, or the last event of one that did not; None if nothing came."""
    times = recording.times
    stops = (times[i] for i in reversed(range(len(times))) if recording.kind(i) is MessageStop)
    return next(stops, times[-1] if times else None)


def gap_pairs(recording: Recording, content: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbours among content deltas, by position, between which there is a gap.

    There is none over a seam, and none in an answer that came whole.
    """
    seams = recording.seams
    for a, b in pairwise(content if not recording.whole else ()):
        if not any(a < seam < b for seam in seams):
            yield a, b


def _count(value: Any) -> int | None:
    """A whole number, or nothing: a service or a file may say anything in its place."""
    return value if type(value) is int and 0 <= value < 2**53 else None


def percentile(values: list[float], p: float) -> float | None:
    """The p-quantile by linear interpolation, or None from fewer than 1/(1-p) values.

    With fewer there is, on average, not one value beyond it; LLMeter's guide states the same rule.

    Raises
    ------
    RequestError
        ``p`` is not from 0 to 1.
    """
    if not 0 <= p <= 1:
        raise RequestError(
            f"p is {p!r}; a number from 0 to 1 is wanted.", remedy="0.99 is the 99th percentile."
        )
    if not values or len(values) * (1 - p) < 1 - 1e-9:
        return None
    ordered = sorted(values)
    place = p * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True)
class Metric:
    """One number about a reply: what it is, how it is made, what others call it."""

    name: str
    unit: str
    formula: str
    meaning: str
    compute: Callable[[Facts], float | int | None] = field(repr=False)
    known_as: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        head = f"{self.name} [{self.unit}] = {self.formula}\n    {self.meaning}"
        return head + "".join(f"\n    {tool}: {name}" for tool, name in self.known_as.items())


def _plus(*names: str) -> Callable[[Facts], int | None]:
    """Sum of token counts; a count that is absent is 0, but without any usage there is no sum."""
    return lambda f: sum(f.usage.get(name) or 0 for name in names) if f.usage else None


def _tpot(f: Facts) -> float | None:
    if f.c1 is None or f.cN is None or f.N is None or f.N < 2 or f.resumed or f.whole:
        return None
    return (f.cN - f.c1) / (f.N - 1)


def _tool_s(f: Facts) -> float | None:
    return spent(busy(f.tools)) if f.tools else None


def _tool_overlap_s(f: Facts) -> float | None:
    return spent(busy(f.tools), f.end) if f.tools and f.end is not None else None


def _output_tps(f: Facts) -> float | None:
    tpot = _tpot(f)
    return 1 / tpot if tpot else None


_METRICS = (
    Metric(
        "t_headers_s",
        "s",
        "h - t0",
        "Until the response's head: connection, retries, and the service's decision to answer.",
        lambda f: f.h,
        {"AIPerf": "stream setup latency"},
    ),
    Metric(
        "t_first_event_s",
        "s",
        "e1 - t0",
        "Until the first event, mostly messageStart; not yet a token.",
        lambda f: f.e1,
    ),
    Metric(
        "ttft_s",
        "s",
        "c1 - t0",
        "Time to first token: the first content delta of any kind, reasoning included.",
        lambda f: f.c1,
        {
            "LLMeter": "time_to_first_token with ttft_visible_tokens_only=False",
            "vLLM": "TTFT",
            "GuideLLM": "time_to_first_token_ms",
            "AIPerf": "TTFT",
            "AWS": "TimeToFirstToken (ms, measured at the server)",
            "OpenTelemetry": "gen_ai.client.operation.time_to_first_chunk",
        },
    ),
    Metric(
        "ttfvt_s",
        "s",
        "v1 - t0",
        "Time to first visible text: what a reader waits for; reasoning and tool input do not count.",
        lambda f: f.v1,
        {
            "LLMeter": "time_to_first_token",
            "GuideLLM": "time_to_first_output_token_ms",
            "AIPerf": "TTFO (for text)",
        },
    ),
    Metric(
        "ttlt_s",
        "s",
        "cN - t0",
        "Time to last token: the last content delta.",
        lambda f: f.cN,
        {"LLMeter": "time_to_last_token (it also counts the block stop)", "AIPerf": "request latency"},
    ),
    Metric(
        "e2e_s",
        "s",
        "m - t0",
        "End to end: the metadata event, which comes after messageStop.",
        lambda f: f.m,
        {
            "vLLM": "E2EL",
            "GuideLLM": "request_latency",
            "AWS": "InvocationLatency (ms, measured at the server)",
            "OpenTelemetry": "gen_ai.client.operation.duration",
        },
    ),
    Metric(
        "tpot_s",
        "s/token",
        "(ttlt - ttft)/(N - 1)",
        "Time per output token after the first.",
        _tpot,
        {
            "LLMeter": "time_per_output_token",
            "vLLM": "TPOT (its end is E2EL)",
            "GuideLLM": "ITL, inter_token_latency_ms (it calls another number TPOT)",
            "AIPerf": "ITL",
            "OpenTelemetry": "gen_ai.server.time_per_output_token (at the server)",
        },
    ),
    Metric(
        "gap_p50_s",
        "s",
        "median of all c(i+1) - c(i)",
        "Half of the waits between content deltas are shorter. A delta is not a token.",
        lambda f: percentile(f.gaps, 0.5),
        {
            "vLLM": "ITL (pooled)",
            "AIPerf": "ICL",
            "OpenTelemetry": "gen_ai.client.operation.time_per_output_chunk",
        },
    ),
    Metric(
        "gap_p99_s",
        "s",
        "99th percentile of all c(i+1) - c(i)",
        "One wait in a hundred is longer: the stalls that a reader notices. Needs 100 gaps.",
        lambda f: percentile(f.gaps, 0.99),
        {"vLLM": "P99 ITL", "AIPerf": "p99 ICL"},
    ),
    Metric(
        "output_tps",
        "token/s",
        "(N - 1)/(ttlt - ttft)",
        "Pace of the answer once it has begun.",
        _output_tps,
        {"AIPerf": "TPS per user, 1/ITL", "AWS": "OTPS (with N in place of N - 1, at the server)"},
    ),
    Metric(
        "e2e_tps",
        "token/s",
        "N/e2e",
        "Output tokens by the whole wait.",
        lambda f: f.N / f.m if f.N is not None and f.m and not f.resumed else None,
        {"GuideLLM": "output_tokens_per_second", "AIPerf": "E2E TPS"},
    ),
    Metric(
        "server_latency_ms",
        "ms",
        "metrics.latencyMs",
        "The service's own figure, from the metadata event.",
        lambda f: f.server_ms,
        {"AWS": "metrics.latencyMs"},
    ),
    Metric(
        "retries",
        "count",
        "ResponseMetadata.RetryAttempts",
        "Attempts by boto3 after the first, and ours; their time is inside every time here.",
        lambda f: f.retries,
        {"LLMeter": "retries"},
    ),
    Metric(
        "retry_s",
        "s",
        "last sent - first sent",
        "What the attempts before the last one cost, pauses included.",
        lambda f: f.retry_s,
    ),
    Metric(
        "input_tokens",
        "token",
        "usage.inputTokens",
        "Input tokens as Bedrock counts them: those read from or written to a cache are not among them.",
        lambda f: f.usage.get("inputTokens"),
        {"LLMeter": "num_tokens_input", "AWS": "inputTokens"},
    ),
    Metric(
        "cache_read_tokens",
        "token",
        "usage.cacheReadInputTokens",
        "Input tokens read from a prompt cache.",
        _plus("cacheReadInputTokens"),
        {"OpenTelemetry": "gen_ai.usage.cache_read.input_tokens"},
    ),
    Metric(
        "cache_write_tokens",
        "token",
        "usage.cacheWriteInputTokens",
        "Input tokens written to a prompt cache.",
        _plus("cacheWriteInputTokens"),
        {"OpenTelemetry": "gen_ai.usage.cache_creation.input_tokens"},
    ),
    Metric(
        "total_input_tokens",
        "token",
        "inputTokens + cacheReadInputTokens + cacheWriteInputTokens",
        "All input tokens, cached ones included.",
        _plus("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"),
        {"OpenTelemetry": "gen_ai.usage.input_tokens", "vLLM": "prompt tokens"},
    ),
    Metric(
        "output_tokens",
        "token",
        "usage.outputTokens",
        "N: output tokens, reasoning included; Bedrock counts it, nobody can from the deltas.",
        lambda f: f.N,
        {"LLMeter": "num_tokens_output", "AIPerf": "OSL", "OpenTelemetry": "gen_ai.usage.output_tokens"},
    ),
    Metric(
        "tool_calls",
        "count",
        "number of tool runs",
        "Calls of tools that the message asked for and a conversation answered, whatever came of them.",
        lambda f: len(f.tools),
    ),
    Metric(
        "tool_s",
        "s",
        "length of the union of all runs",
        "How long at least one tool ran: tools that run side by side count once.",
        _tool_s,
    ),
    Metric(
        "tool_overlap_s",
        "s",
        "the part of tool_s before messageStop",
        "What it gained to let tools run while their message still streamed.",
        _tool_overlap_s,
    ),
)

#: Every metric by its name, in the order of the summary table.
METRICS: dict[str, Metric] = {metric.name: metric for metric in _METRICS}


def measure(recording: Recording) -> dict[str, Any]:
    """Every metric of one recording, by name; None where the recording has no such number.

    Raises
    ------
    RequestError
        Something else than a recording was given.
    """
    if not isinstance(recording, Recording):
        raise RequestError(
            f"A {type(recording).__name__} is no Recording.",
            remedy="A Reply has one in .recording; bedrock_nb.summary takes either, or many.",
        )
    known = facts(recording)
    return {name: metric.compute(known) for name, metric in METRICS.items()}


def explain(name: str) -> Metric:
    """What a metric is: unit, formula, meaning, and its name in other tools.

    Parameters
    ----------
    name : str
        With or without its unit of time: ``"tpot"`` and ``"tpot_s"`` are the same.

    Raises
    ------
    RequestError
        There is no such metric; the message lists them all.
    """
    for known, metric in METRICS.items():
        if name in (known, known.removesuffix("_s").removesuffix("_ms")):
            return metric
    raise RequestError(f"There is no metric {name!r}.", remedy=f"There are: {', '.join(METRICS)}.")
