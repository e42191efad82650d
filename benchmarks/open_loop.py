"""How exactly does nb.load_test start its requests? Open loop, Poisson, 200 starts a second, many in flight.

    python benchmarks/open_loop.py [--quick] [--rate 200] [--seconds 30]

The embedded server has a process of its own. The error is the actual start less the intended one, as the
table of the run says; the server's log is asked besides when requests arrived, which has signing, sending and
reading in it. Only differences can be taken there, so that one is given beyond its own median.
"""

from __future__ import annotations

import argparse
import os

import numpy as np
from embedded_server import embedded_server
from machine import Others, child, machine

import bedrock_nb as nb
from bedrock_nb.server import Latency

GOAL_MS = 5.0
LAW = Latency(ttft=0.3, per_token=0.02)
ASKED = 500  # replies whose arrival the server is asked for


def arrivals(url: str, ids: list[str], intended: np.ndarray) -> np.ndarray:
    """How late each request was at the server, seconds beyond the median."""
    arrived = np.array([nb.server.truth(request_id, url).arrived for request_id in ids])
    late: np.ndarray = arrived - intended
    late -= np.median(late)
    np.absolute(late, out=late)
    return late


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="for 5 s only")
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    seconds = 5.0 if options.quick else options.seconds
    with embedded_server(LAW) as url:
        client = nb.connect(url, verbose=False)
        nb.load_test(client, "Count to 5", rate=20, seconds=1, model="m", progress=False)  # warm-up
        with Others(os.getpid(), child()) as others:
            result = nb.load_test(
                client, "Count to 5", rate=options.rate, seconds=seconds, seed=1, model="m", progress=False
            )
        table = result.table
        latest = table.sort_values("started_s").tail(ASKED)
        at_server = arrivals(url, list(latest["request_id"]), latest["intended_s"].to_numpy())
    lag = table["start_lag_s"].to_numpy()
    in_flight = (table["ended_s"] - table["started_s"]).sum() / seconds
    print(f"{machine()}; other processes took {others.cores:.1f} cores.\n")
    print(f"{options.rate:g} starts a second for {seconds:g} s: {len(table):,} requests, ", end="")
    print(
        f"{(table['status'] == 'complete').sum():,} complete, {in_flight:.0f} in flight on average; ", end=""
    )
    mine, its = (used / len(table) * 1e3 for used in others.used)
    print(f"CPU of a request: {mine:.2f} ms here, {its:.2f} ms in the server.\n")
    print("| late by, ms | p50 | p99 | max | goal p99 |")
    print("|---|---|---|---|---|")
    for name, late in {"start": lag, f"arrival, latest {len(at_server)}": at_server}.items():
        figures = [np.quantile(late, 0.5), np.quantile(late, 0.99), late.max()]
        goal = f"{GOAL_MS:g}" if late is lag else ""
        print(f"| {name} | {' | '.join(f'{figure * 1e3:.2f}' for figure in figures)} | {goal} |")
    gaps = np.diff(np.sort(table["intended_s"].to_numpy()))
    print(
        f"\nIntended gaps: mean {gaps.mean() * 1e3:.2f} ms, "
        f"coefficient of variation {gaps.std() / gaps.mean():.2f}"
    )
    for warning in result.warnings:
        print(f"Warning of the run: {warning}")


if __name__ == "__main__":
    main()
