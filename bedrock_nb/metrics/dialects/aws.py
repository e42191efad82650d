"""What Amazon's own numbers would be, as far as a client can know them.

Strategy: follows the user guide of Amazon Bedrock, "Monitor bedrock-runtime inference using CloudWatch
metrics" (https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-runtime-metrics.html) and
"Diagnose InvocationLatency increases using output tokens per second"
(https://docs.aws.amazon.com/bedrock/latest/userguide/monitoring-runtime-otps.html), and Converse's
`TokenUsage`. CloudWatch measures at the server and knows a run, not a reply; these are the same formulas
with the client's clock, so that connection, retries and network are in them.
"""

from __future__ import annotations

from typing import Any

from bedrock_nb.metrics.dialects.dialect import Column, Dialect, Run, mean, ms, per, ratio, spread
from bedrock_nb.metrics.moments import Facts

__all__ = ["AWS"]


def _usage(name: str, ours: str, note: str = "") -> Column:
    return Column(name, "token", f"usage.{name}", lambda f: f.usage.get(name), note, ours)


def _otps(f: Facts) -> float | None:
    return ratio(f.N, per(f.c1, f.cN, 1, f))


_COLUMNS = (
    Column(
        "TimeToFirstToken",
        "ms",
        "c1 - t0",
        lambda f: None if f.whole else ms(f.c1),
        "CloudWatch has it for streaming calls only, from the arrival of the request at the server.",
        "ttft_s",
    ),
    Column(
        "InvocationLatency",
        "ms",
        "cN - t0",
        lambda f: ms(f.cN),
        "Its end is the last token, not the metadata.",
        "ttlt_s",
    ),
    Column(
        "OTPS",
        "token/s",
        "N/(InvocationLatency - TimeToFirstToken)",
        _otps,
        "N and not N - 1: larger than output_tps.",
    ),
    Column(
        "InputTokenCount",
        "token",
        "usage.inputTokens",
        lambda f: f.usage.get("inputTokens"),
        "Tokens read from or written to a cache are not among them.",
        "input_tokens",
    ),
    Column("OutputTokenCount", "token", "usage.outputTokens", lambda f: f.N, "", "output_tokens"),
    Column(
        "latencyMs",
        "ms",
        "metrics.latencyMs",
        lambda f: f.server_ms,
        "The service's own figure for this reply, from its metadata.",
        "server_latency_ms",
    ),
    _usage("cacheReadInputTokens", "cache_read_tokens"),
    _usage("cacheWriteInputTokens", "cache_write_tokens"),
    _usage("totalTokens", "total_tokens", "As it came; Bedrock has cached tokens in it."),
)

_NAMES = {"Average": None, "p50": 0.5, "p90": 0.9, "p99": 0.99}


def _totals(run: Run) -> dict[str, Any]:
    """CloudWatch statistics of a period that is the run; OTPS of their averages."""
    found: dict[str, Any] = {"Invocations": len(run.rows)}
    for name in ("TimeToFirstToken", "InvocationLatency"):
        found |= {f"{name}.{word}": value for word, value in spread(run.values(name), _NAMES).items()}
    whole = [row for row in run.rows if row["OTPS"] is not None]
    took = sum(row["InvocationLatency"] - row["TimeToFirstToken"] for row in whole) / 1000
    found["OTPS"] = ratio(sum(row["OutputTokenCount"] for row in whole), took)
    for name in ("InputTokenCount", "OutputTokenCount"):
        found |= {f"{name}.Sum": run.total(name), f"{name}.Average": mean(run.values(name))}
    return found


AWS = Dialect("aws", "Amazon Bedrock", "the user guide of Amazon Bedrock (2026)", _COLUMNS, _totals)
