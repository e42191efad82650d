"""What OpenTelemetry's conventions for generative AI would have a client report.

Strategy: follows ``docs/gen-ai/client-inference.md`` and ``gen-ai-token-metrics.md`` of
github.com/open-telemetry/semantic-conventions-genai (October 2026, in development; until then its names
began with ``gen_ai.client.operation``), seconds throughout. A chunk of the conventions is a content delta
here: messageStart brings nothing of the answer. A metric there is a histogram over calls; its column is the
value of one call, and where a call gives many, their mean.
"""

from __future__ import annotations

from typing import Any

from bedrock_nb.metrics.dialects.dialect import Column, Dialect, Run, mean
from bedrock_nb.metrics.moments import Facts, all_input

__all__ = ["OTEL"]

_INFERENCE = "gen_ai.client.inference"
_USAGE = "gen_ai.usage"


def _first(f: Facts) -> float | None:
    return None if f.whole else f.c1


_COLUMNS = (
    Column(
        f"{_INFERENCE}.duration",
        "s",
        "last event - t0",
        lambda f: f.last,
        "A call that failed has one too: e2e_s has not.",
        "e2e_s",
    ),
    Column(
        f"{_INFERENCE}.time_to_first_chunk",
        "s",
        "c1 - t0",
        _first,
        "Of streaming calls only. On spans: gen_ai.response.time_to_first_chunk.",
        "ttft_s",
    ),
    Column(
        f"{_INFERENCE}.time_per_output_chunk",
        "s",
        "mean of all c(i+1) - c(i)",
        lambda f: mean(f.gaps),
        "The histogram has every gap; this is the mean of this call's.",
    ),
    Column(
        f"{_USAGE}.input_tokens",
        "token",
        "total_input",
        all_input,
        "Cached tokens should be in it, which Bedrock's inputTokens leaves out.",
        "total_input_tokens",
    ),
    Column(f"{_USAGE}.output_tokens", "token", "N", lambda f: f.N, "", "output_tokens"),
    Column(
        f"{_USAGE}.cache_read.input_tokens",
        "token",
        "usage.cacheReadInputTokens",
        lambda f: f.usage.get("cacheReadInputTokens"),
        "A part of input_tokens. None where the service does not tell of a cache.",
        "cache_read_tokens",
    ),
    Column(
        f"{_USAGE}.cache_write.input_tokens",
        "token",
        "usage.cacheWriteInputTokens",
        lambda f: f.usage.get("cacheWriteInputTokens"),
        "A part of input_tokens. None where the service does not tell of a cache.",
        "cache_write_tokens",
    ),
)


def _totals(run: Run) -> dict[str, Any]:
    """Count, sum and mean of each histogram. Failed calls are in them: an attribute tells them apart."""
    samples: dict[str, Any] = {
        f"{_INFERENCE}.duration": run.values(f"{_INFERENCE}.duration"),
        f"{_INFERENCE}.time_to_first_chunk": run.values(f"{_INFERENCE}.time_to_first_chunk"),
        f"{_INFERENCE}.time_per_output_chunk": run.gaps,
        f"{_INFERENCE}.operation.input_tokens": run.values(f"{_USAGE}.input_tokens"),
        f"{_INFERENCE}.operation.output_tokens": run.values(f"{_USAGE}.output_tokens"),
    }
    found: dict[str, Any] = {}
    for name, values in samples.items():
        found |= {f"{name}.count": len(values), f"{name}.sum": sum(values), f"{name}.mean": mean(values)}
    return found


OTEL = Dialect(
    "otel",
    "OpenTelemetry",
    "open-telemetry/semantic-conventions-genai (October 2026), docs/gen-ai/client-inference.md",
    _COLUMNS,
    _totals,
    success=lambda f, status: f.last is not None,  # failed calls are told apart by error.type, not left out
)
