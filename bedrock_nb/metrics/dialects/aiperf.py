"""What AIPerf 0.13 would say.

Strategy: follows the classes in ``src/aiperf/metrics/types/`` and ``docs/metrics-reference.md``
(github.com/ai-dynamo/aiperf, 0.13), in the tags of its exports and the units that it shows, milliseconds. A
content response there is a content delta here. It counts input and output with a tokenizer of its own; here
Bedrock's counts stand for these. Times that need a stream are missing for an answer that came whole.
"""

from __future__ import annotations

from typing import Any

from bedrock_nb.metrics.dialects.dialect import Column, Dialect, Run, mean, ms, per, ratio, spread
from bedrock_nb.metrics.moments import Facts, all_input

__all__ = ["AIPERF"]


def _streamed(f: Facts, value: float | None) -> float | None:
    return None if f.whole else value


def _latency(f: Facts) -> float | None:
    return f.last if f.cN is None else f.cN


def _itl(f: Facts) -> float | None:
    return per(f.c1, _latency(f), None if f.N is None else f.N - 1, f)


def _prefill(f: Facts) -> float | None:
    return f.c1 - f.h if f.c1 is not None and f.h is not None else None


_COLUMNS = (
    Column(
        "time_to_first_token", "ms", "c1 - t0", lambda f: _streamed(f, ms(f.c1)), "", "ttft_s", short="TTFT"
    ),
    Column(
        "time_to_second_token",
        "ms",
        "c2 - c1",
        lambda f: ms(f.c2 - f.c1) if f.c1 is not None and f.c2 is not None else None,
        "",
        "ttst_s",
        short="TTST",
    ),
    Column(
        "time_to_first_output_token",
        "ms",
        "(first delta that is not reasoning) - t0",
        lambda f: _streamed(f, ms(f.o1)),
        "Text or tool input: for a reply of text it is ttfvt_s.",
        short="TTFO",
    ),
    Column(
        "request_latency",
        "ms",
        "cN - t0",
        lambda f: ms(_latency(f)),
        "Of a reply without content the last event counts.",
        "ttlt_s",
    ),
    Column(
        "decode_duration",
        "ms",
        "cN - c1",
        lambda f: ms(per(f.c1, f.cN, 1, f)),
        "Not divided by tokens.",
    ),
    Column(
        "inter_token_latency",
        "ms/token",
        "(request_latency - time_to_first_token)/(N - 1)",
        lambda f: ms(_itl(f)),
        "Where a server tells how many tokens its first chunk has, these are taken off in place of 1; "
        "Bedrock does not tell.",
        "tpot_s",
        short="ITL",
    ),
    Column(
        "inter_chunk_latency",
        "ms",
        "mean of all c(i+1) - c(i)",
        lambda f: ms(mean(f.gaps)),
        "AIPerf keeps the list; its percentiles are of the gaps of all replies, pooled.",
        short="ICL",
    ),
    Column(
        "output_token_throughput_per_user",
        "token/s",
        "1/inter_token_latency",
        lambda f: ratio(1, _itl(f)),
        "",
        "output_tps",
    ),
    Column(
        "prefill_throughput_per_user",
        "token/s",
        "total_input/time_to_first_token",
        lambda f: None if f.resumed else _streamed(f, ratio(all_input(f), f.c1)),
        "",
        "prefill_tps",
    ),
    Column(
        "e2e_output_token_throughput",
        "token/s",
        "N/request_latency",
        lambda f: None if f.resumed else ratio(f.N, _latency(f)),
        "Larger than e2e_tps, whose end is the metadata.",
    ),
    Column("output_sequence_length", "token", "N", lambda f: f.N, "", "output_tokens", short="OSL"),
    Column("input_sequence_length", "token", "total_input", all_input, "", "total_input_tokens", short="ISL"),
    Column(
        "usage_prompt_cache_read_tokens",
        "token",
        "usage.cacheReadInputTokens",
        lambda f: f.usage.get("cacheReadInputTokens"),
        "None where the service does not tell of a cache.",
        "cache_read_tokens",
    ),
    Column(
        "usage_prompt_cache_write_tokens",
        "token",
        "usage.cacheWriteInputTokens",
        lambda f: f.usage.get("cacheWriteInputTokens"),
        "None where the service does not tell of a cache.",
        "cache_write_tokens",
    ),
    Column("stream_setup_latency", "ms", "h - t0", lambda f: _streamed(f, ms(f.h)), "", "t_headers_s"),
    Column(
        "stream_prefill_latency",
        "ms",
        "c1 - h",
        lambda f: _streamed(f, ms(_prefill(f))),
        "The first token after the response's head.",
    ),
)

_NAMES = {"avg": None, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_SPREAD = (
    "time_to_first_token",
    "time_to_second_token",
    "time_to_first_output_token",
    "request_latency",
    "inter_token_latency",
    "output_token_throughput_per_user",
    "output_sequence_length",
    "input_sequence_length",
)


def _totals(run: Run) -> dict[str, Any]:
    """Its aggregate and derived metrics, and the spread of those of each request; successes only."""
    given, made = run.total("input_sequence_length"), run.total("output_sequence_length")
    found: dict[str, Any] = {
        "request_count": len(run.rows),
        "error_request_count": run.failed,
        "benchmark_duration": run.duration,
        "request_throughput": ratio(len(run.rows), run.duration),
        "total_isl": given,
        "total_osl": made,
        "output_token_throughput": ratio(made, run.duration),
        "total_token_throughput": ratio(given + made, run.duration),
    }
    samples = {name: run.values(name) for name in _SPREAD}
    samples["inter_chunk_latency"] = [1000 * gap for gap in run.gaps]
    for name, values in samples.items():
        found |= {f"{name}.{word}": value for word, value in spread(values, _NAMES).items()}
    return found


AIPERF = Dialect(
    "aiperf",
    "AIPerf",
    "ai-dynamo/aiperf 0.13, src/aiperf/metrics/types/",
    _COLUMNS,
    _totals,
    end=_latency,  # max_response_timestamp is the last request's begin and its request latency
)
