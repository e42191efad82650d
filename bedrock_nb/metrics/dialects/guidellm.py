"""What GuideLLM 0.8 would say.

Strategy: follows `GenerativeRequestStats` in ``src/guidellm/schemas/base/request_stats.py`` and, for a run,
``src/guidellm/benchmark/schemas/metrics.py`` and `DistributionSummary` in
``src/guidellm/schemas/base/statistics.py`` (github.com/vllm-project/guidellm, 0.8). An iteration that
brought a token there is a content delta here. For a run, the times per token are weighted by tokens, so
that a long answer counts more, and a percentile is the smallest value that so large a share does not
exceed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bedrock_nb.metrics.dialects.dialect import Column, Dialect, Run, ms, per, ratio
from bedrock_nb.metrics.moments import Facts, all_input
from bedrock_nb.metrics.quantiles import enough

__all__ = ["GUIDELLM"]


def _out(f: Facts) -> int | None:
    return (f.K or None) if f.N is None else f.N


def _tpot(f: Facts) -> float | None:
    end, n = (f.last if f.whole or f.cN is None else f.cN), _out(f)
    return ratio(ms(end), n) if not f.resumed else None


def _itl(f: Facts) -> float | None:
    n = _out(f)
    return ms(per(f.c1, f.cN, None if n is None else n - 1, f))


def _total(f: Facts) -> int | None:
    given, made = all_input(f), _out(f)
    return None if given is None and made is None else (given or 0) + (made or 0)


def _iterations(f: Facts) -> float | None:
    n, k = _out(f), f.K or 0
    return (n - 1) / (k - 1) if n is not None and n > 1 and k > 1 else None


_COLUMNS = (
    Column(
        "request_latency",
        "s",
        "last event - t0",
        lambda f: f.last,
        "Until the response is read to its end, also that of a reply that failed.",
        "e2e_s",
    ),
    Column("prompt_tokens", "token", "total_input", all_input, "Cached tokens count.", "total_input_tokens"),
    Column(
        "cached_tokens",
        "token",
        "usage.cacheReadInputTokens",
        lambda f: f.usage.get("cacheReadInputTokens"),
        "None where the service does not tell of a cache.",
        "cache_read_tokens",
    ),
    Column("output_tokens", "token", "N", _out, "Without usage it takes K for N.", "output_tokens"),
    Column("total_tokens", "token", "total_input + N", _total, "Its own sum, not usage.totalTokens."),
    Column(
        "time_to_first_token_ms",
        "ms",
        "c1 - t0",
        lambda f: None if f.whole else ms(f.c1),
        "",
        "ttft_s",
        short="TTFT",
    ),
    Column(
        "time_per_output_token_ms",
        "ms/token",
        "(cN - t0)/N",
        _tpot,
        "The wait for the first token is in it: other tools call something else TPOT. "
        "An answer that came whole has one, to its end.",
        short="TPOT",
    ),
    Column(
        "inter_token_latency_ms",
        "ms/token",
        "(cN - c1)/(N - 1)",
        _itl,
        "What LLMeter and vLLM call TPOT.",
        "tpot_s",
        short="ITL",
    ),
    Column(
        "tokens_per_second",
        "token/s",
        "(total_input + N)/request_latency",
        lambda f: None if f.resumed else ratio(_total(f), f.last),
    ),
    Column(
        "output_tokens_per_second",
        "token/s",
        "N/request_latency",
        lambda f: None if f.resumed else ratio(_out(f), f.last),
        "",
        "e2e_tps",
    ),
    Column(
        "time_to_first_output_token_ms",
        "ms",
        "v1 - t0",
        lambda f: None if f.whole else ms(f.v1),
        "Neither reasoning nor tool input counts.",
        "ttfvt_s",
        short="TTFOT",
    ),
    Column(
        "iter_tokens_per_iteration",
        "token",
        "(N - 1)/(K - 1)",
        _iterations,
        "Tokens for each delta after the first.",
    ),
    Column(
        "output_tokens_per_iteration", "token", "N/K", lambda f: ratio(_out(f), f.K), "Tokens for each delta."
    ),
)

_SHARES = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def _totals(run: Run) -> dict[str, Any]:
    """Its ``metrics``, in flat names: those of the requests that succeeded."""
    unfinished = sum(status in ("cancelled", "interrupted", "streaming") for status in run.statuses)
    found: dict[str, Any] = {
        "request_totals.successful": len(run.rows),
        "request_totals.incomplete": unfinished,
        "request_totals.errored": run.failed - unfinished,
        "request_totals.total": len(run.statuses),
        "duration": run.duration,
        "requests_per_second.mean": ratio(len(run.rows), run.duration),
        "output_tokens_per_second.mean": ratio(run.total("output_tokens"), run.duration),
        "tokens_per_second.mean": ratio(run.total("total_tokens"), run.duration),
    }
    plain = ("request_latency", "prompt_tokens", "output_tokens", "time_to_first_token_ms")
    for name in plain:
        found |= _summary(name, [(row[name], 1) for row in run.rows if row[name] is not None])
    for name, less in (("time_per_output_token_ms", 0), ("inter_token_latency_ms", 1)):
        found |= _summary(
            name, [(row[name], row["output_tokens"] - less) for row in run.rows if row[name] is not None]
        )
    return found


def _summary(name: str, weighted: Sequence[tuple[float, int]]) -> dict[str, float | None]:
    """Mean and percentiles of values with weights."""
    ordered = sorted(weighted)
    whole = sum(weight for _, weight in ordered)
    found = {f"{name}.mean": ratio(sum(value * weight for value, weight in ordered), whole)}
    for word, p in _SHARES.items():
        found[f"{name}.{word}"] = None
        below = 0.0
        for value, weight in ordered if enough(len(ordered), p) else ():
            below += weight
            if below >= p * whole:
                found[f"{name}.{word}"] = value
                break
    return found


GUIDELLM = Dialect(
    "guidellm",
    "GuideLLM",
    "vllm-project/guidellm 0.8, src/guidellm/schemas/base/request_stats.py",
    _COLUMNS,
    _totals,
)
