"""What vLLM's benchmark (``vllm bench serve``) would say.

Strategy: follows ``vllm/benchmarks/lib/endpoint_request_func.py`` (what is timed) and `calculate_metrics`
in ``vllm/benchmarks/serve.py`` (what is made of it) at github.com/vllm-project/vllm, in the names and the
unit that it prints, milliseconds. Its own files have seconds. A chunk of its server is a content delta of
Bedrock here.

The end of a request: until September 2026 (pull request 55508) a chat request ended with the trailing chunk
of usage, which is Bedrock's metadata, and so it does here; since then it ends with the last chunk that has
a choice, and E2EL less TTFT is the sum of all gaps. What it prints as ITL is the pool of all gaps of all
requests.
"""

from __future__ import annotations

from typing import Any

from bedrock_nb.metrics.dialects.dialect import Column, Dialect, Run, mean, ms, per, ratio, spread
from bedrock_nb.metrics.moments import Facts, all_input

__all__ = ["VLLM"]


def _ttft(f: Facts) -> float | None:
    return None if f.whole else f.c1


_COLUMNS = (
    Column("ttft_ms", "ms", "c1 - t0", lambda f: ms(_ttft(f)), "", "ttft_s", short="TTFT"),
    Column(
        "tpot_ms",
        "ms/token",
        "(e2el - ttft)/(N - 1)",
        lambda f: ms(per(_ttft(f), f.m, None if f.N is None else f.N - 1, f)),
        "Larger than tpot_s: the time from the last token to the metadata is in it.",
        short="TPOT",
    ),
    Column(
        "itl_ms",
        "ms",
        "mean of all c(i+1) - c(i)",
        lambda f: ms(mean(f.gaps)),
        "Of this reply alone; for a run it pools the gaps of all replies. Of chunks, not of tokens.",
        short="ITL",
    ),
    Column("e2el_ms", "ms", "m - t0", lambda f: ms(f.m), "", "e2e_s", short="E2EL"),
    Column("prompt_len", "token", "total_input", all_input, "Cached tokens count.", "total_input_tokens"),
    Column("output_tokens", "token", "N", lambda f: f.N, "", "output_tokens"),
)


def _totals(run: Run) -> dict[str, Any]:
    """What it prints at the end of a run; peaks of tokens left out, since it counts chunks there."""
    given, made = run.total("prompt_len"), run.total("output_tokens")
    found: dict[str, Any] = {
        "Successful requests": len(run.rows),
        "Failed requests": run.failed,
        "Benchmark duration (s)": run.duration,
        "Total input tokens": given,
        "Total generated tokens": made,
        "Request throughput (req/s)": ratio(len(run.rows), run.duration),
        "Output token throughput (tok/s)": ratio(made, run.duration),
        "Peak concurrent requests": _peak(run.spans) if len(run.spans) == len(run.rows) else None,
        "Total token throughput (tok/s)": ratio(given + made, run.duration),
    }
    samples = {
        "TTFT": run.values("ttft_ms"),
        "TPOT": run.values("tpot_ms"),
        "ITL": [1000 * gap for gap in run.gaps],
        "E2EL": run.values("e2el_ms"),
    }
    for what, values in samples.items():
        found |= spread(
            values, {f"Mean {what} (ms)": None, f"Median {what} (ms)": 0.5, f"P99 {what} (ms)": 0.99}
        )
    return found


def _peak(spans: list[tuple[float, float]]) -> int:
    """The most requests in flight at one time; who leaves makes room for who comes at the same moment."""
    moves = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, move in moves:
        now += move
        most = max(most, now)
    return most


VLLM = Dialect(
    "vllm",
    "vLLM",
    "vllm-project/vllm, vllm/benchmarks/serve.py (2026)",
    _COLUMNS,
    _totals,
    # "Never received a valid chunk to calculate TTFT" makes a request one that failed.
    success=lambda f, status: status == "complete" and f.c1 is not None,
)
