"""What LLMeter 0.2 would say.

Strategy: follows `BedrockConverseStream` in ``llmeter/endpoints/bedrock.py``, `InvocationResponse` in
``llmeter/endpoints/base.py`` and ``Result.stats`` as ``docs/user_guide/metrics.md`` and
``llmeter/utils.py`` tell of it (github.com/awslabs/llmeter, 0.2). There, the first token is by default the
first visible text (the argument ``ttft_visible_tokens_only``; later versions drop it, and
``time_to_first_token`` is the first delta of any kind), and the last token is the last visible text or the
last stop of a block, whichever is later.
"""

from __future__ import annotations

from typing import Any

from bedrock_nb.metrics.dialects.dialect import Column, Dialect, Run, per, ratio, spread
from bedrock_nb.metrics.moments import Facts

__all__ = ["LLMETER"]


def _ttft(f: Facts) -> float | None:
    return None if f.whole else f.v1


def _tpot(f: Facts) -> float | None:
    return per(_ttft(f), f.b, None if f.N is None else f.N - 1, f)


_COLUMNS = (
    Column(
        "time_to_first_token",
        "s",
        "v1 - t0",
        _ttft,
        "Visible text, as with ttft_visible_tokens_only=True, the default: a reply of tool calls has none.",
        "ttfvt_s",
        short="TTFT",
    ),
    Column(
        "time_to_last_token",
        "s",
        "(last of visible text and block stop) - t0",
        lambda f: f.b,
        "Not messageStop and not metadata; but the stop of a block that held reasoning or tool input counts.",
        short="TTLT",
    ),
    Column(
        "time_per_output_token",
        "s/token",
        "(time_to_last_token - time_to_first_token)/(N - 1)",
        _tpot,
        "N has reasoning in it, which came before time_to_first_token.",
        short="TPOT",
    ),
    Column(
        "num_tokens_input",
        "token",
        "usage.inputTokens",
        lambda f: f.usage.get("inputTokens"),
        "",
        "input_tokens",
    ),
    Column("num_tokens_output", "token", "usage.outputTokens", lambda f: f.N, "", "output_tokens"),
    Column(
        "num_tokens_input_cached",
        "token",
        "usage.cacheReadInputTokens",
        lambda f: f.usage.get("cacheReadInputTokens"),
        "None, not 0, where the service does not tell of a cache.",
        "cache_read_tokens",
    ),
    Column("retries", "count", "ResponseMetadata.RetryAttempts", lambda f: f.retries, "", "retries"),
)

_STATS = ("time_to_last_token", "time_to_first_token", "time_per_output_token")
_TOKENS = ("num_tokens_output", "num_tokens_input", "num_tokens_input_cached")
_NAMES = {"average": None, "p50": 0.5, "p90": 0.9, "p99": 0.99}


def _totals(run: Run) -> dict[str, Any]:
    """``Result.stats``: rates by the minute, of all requests; percentiles as ``statistics.quantiles``.

    Later versions than 0.2 have time_per_output_token in it too, and so has this.
    """
    n, minutes = len(run.statuses), None if run.duration is None else run.duration / 60
    found: dict[str, Any] = {
        "total_requests": n,
        "total_test_time": run.duration,
        "failed_requests": run.failed,
        "failed_requests_rate": ratio(run.failed, n),
        "requests_per_minute": ratio(n, minutes),
        "total_input_tokens": run.total("num_tokens_input"),
        "total_output_tokens": run.total("num_tokens_output"),
        "total_cached_input_tokens": run.total("num_tokens_input_cached"),
        "average_input_tokens_per_minute": ratio(run.total("num_tokens_input"), minutes),
        "average_output_tokens_per_minute": ratio(run.total("num_tokens_output"), minutes),
    }
    for name in (*_STATS, *_TOKENS):
        for word, value in spread(run.values(name), _NAMES, exclusive=True).items():
            found[f"{name}-{word}"] = value
    return found


LLMETER = Dialect(
    "llmeter", "LLMeter", "awslabs/llmeter 0.2, llmeter/endpoints/bedrock.py", _COLUMNS, _totals
)
