"""Does nb.load_test find the truth? Twenty seeded runs against a server whose queue is known exactly.

    python benchmarks/load_truth.py [--quick] [--runs 20] [--seconds 10]

The embedded server, in a process of its own, gives four answers at once, each of which takes an exponential
time; requests come as a Poisson process: M/M/4. What the run prints, with its 95 % intervals, is laid beside
two truths:

- the server's log of these very requests: when each came, waited, got its first token, and was over;
- the replay: the recursion of Kiefer and Wolfowitz (1955) on the arrivals of the log and the service times
  that the law drew: what must happen to these requests in a queue of four servers, first come first served.

Throughput and median TTFT have the intervals of ``LoadResult.stages``. The mean time of a reply and the mean
number in flight are what a queue is about; they have intervals of batch means (`nb.stats.interval` of ten),
as replies of a queue are not independent.

The law in the long run, that of Erlang, is laid beside all runs together, each of which is one value. Single
runs are laid beside it for information: a quarter of a minute of a queue says little of its long run, and
intervals from it are too narrow for that, in any tool.
"""

from __future__ import annotations

import argparse
import heapq
import math
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from embedded_server import embedded_server
from machine import Others, machine

import bedrock_nb as nb
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, TextDelta
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import Latency

GOAL = 0.95  # of the runs
SLOTS, LOAD, SERVICE = 4, 0.7, 0.1
#: A gamma distribution whose spread is its mean is the exponential one.
LAW = Latency(ttft=SERVICE, per_token=0.0, ttft_jitter=1.0, distribution="gamma", slots=SLOTS)
RATE = LOAD * SLOTS / SERVICE
WARMUP, BATCHES = 1.0, 10
AT_ONCE = 2  # runs, each with a server of its own
SIDES = ("log", "replay", "long run")


def answer(request: Request) -> Recording:
    """One word. No metadata, which would keep the place for 5 ms more: service is exponential and no more."""
    said = Recording(request.to_kwargs(), clock="schedule")
    for event in (MessageStart("assistant"), TextDelta(0, "Yes."), BlockStop(0), MessageStop("end_turn")):
        said.append(event, 0.0)
    said.status = "complete"
    return said


# -- theory -------------------------------------------------------------------------------------------


def replayed(arrivals: np.ndarray, services: np.ndarray) -> np.ndarray:
    """Seconds that each of these waits for one of `SLOTS` places, first come first served."""
    free, waits = [0.0] * SLOTS, []
    for t, service in zip(arrivals, services, strict=True):
        begin = max(t, free[0])
        heapq.heapreplace(free, begin + service)
        waits.append(begin - t)
    return np.array(waits)


def long_run() -> list[float]:
    """Of M/M/c: throughput, median time to the first token (the whole answer), mean time, mean number.

    Erlang's formula C is the share that has to wait (1917); the time in the system is that of Gross and
    Harris, Fundamentals of Queueing Theory, section 2.4.
    """
    offered = RATE * SERVICE
    full = offered**SLOTS / math.factorial(SLOTS) / (1 - LOAD)
    waits = full / (sum(offered**k / math.factorial(k) for k in range(SLOTS)) + full)
    mean = SERVICE + waits / (SLOTS / SERVICE - RATE)
    spare = SLOTS - 1 - offered

    def longer(t: float) -> float:
        return math.exp(-t / SERVICE) * (1 + waits / spare * -math.expm1(-spare * t / SERVICE))

    low, high = 0.0, 100 * SERVICE
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if longer(middle) > 0.5 else (low, middle)
    return [RATE, low, mean, RATE * mean]


# -- a run --------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """A quantity: what the client says, between which bounds, and the truths by their names."""

    name: str
    estimate: float
    low: float
    high: float
    truths: dict[str, float]


def batched(name: str, batches: list[float], truths: dict[str, float]) -> Found:
    """A mean with an interval by batches."""
    met = nb.stats.interval(batches, "mean")
    assert met.estimate is not None
    assert met.low is not None
    assert met.high is not None
    return Found(name, met.estimate, met.low, met.high, truths)


def present(began: np.ndarray, ended: np.ndarray, begin: float, end: float) -> float:
    """The mean number that was there from one moment to another."""
    there = np.minimum(ended, end) - np.maximum(began, begin)
    return float(there[there > 0].sum() / (end - begin))


def run(seed: int, seconds: float) -> list[Found]:
    """One run and what the server knows of it."""
    with embedded_server(LAW, answer) as url:
        client = nb.connect(url, verbose=False)
        nb.chat(client, "Yes?", model="m")  # whatever is made at the first call
        settings: dict[str, Any] = {"model": "m", "progress": False}
        result = nb.load_test(
            client, "Yes?", rate=RATE, seconds=seconds, warmup=WARMUP, seed=seed, **settings
        )
        table = result.table.sort_values("intended_s").reset_index(drop=True)
        assert (table["status"] == "complete").all(), table["status"].value_counts()
        known = [nb.server.truth(request_id, url) for request_id in table["request_id"]]
    stage, counted = result.stages.iloc[0], ~table["warmup"].to_numpy(dtype=bool)
    began, over = table["started_s"].to_numpy(), table["ended_s"].to_numpy()

    # All on the run's axis: its zero on the server's clock is where both differ least.
    arrived = np.array([truth.arrived for truth in known])
    arrived -= (arrived - began).min()
    first = np.array([truth.event_times()[1] for truth in known])  # the start of the message is before it
    lasted = np.array([truth.ended_s for truth in known], dtype=float)
    service = np.array([truth.due[-1] - truth.queued_s for truth in known])  # as the law drew it
    order = np.argsort(arrived)
    in_system = np.empty_like(arrived)
    in_system[order] = replayed(arrived[order], service[order]) + service[order]
    ended = arrived + lasted

    edges = np.linspace(WARMUP, seconds, BATCHES + 1)
    whole = (WARMUP, seconds)
    return [
        Found(
            "throughput, 1/s",
            stage["requests_per_s"],
            stage["requests_per_s_low"],
            stage["requests_per_s_high"],
            {"log": ((ended >= WARMUP) & (ended < seconds)).sum() / (seconds - WARMUP)},
        ),
        Found(
            "median TTFT, s",
            stage["ttft_p50_s"],
            stage["ttft_p50_low_s"],
            stage["ttft_p50_high_s"],
            {"log": np.median(first[counted]), "replay": np.median(in_system[counted])},
        ),
        batched(
            "mean time, s",
            [part.mean() for part in np.array_split((over - began)[counted], BATCHES)],
            {"log": lasted[counted].mean(), "replay": in_system[counted].mean()},
        ),
        batched(
            "mean in flight",
            [present(began, over, *stretch) for stretch in pairwise(edges)],
            {
                "log": present(arrived, ended, *whole),
                "replay": present(arrived, arrived + in_system, *whole),
            },
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="4 runs of 5 s")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=12.0)
    options = parser.parse_args()
    runs, seconds = (4, 5.0) if options.quick else (options.runs, options.seconds)
    with Others() as others:
        time.sleep(1.0)
    print(f"{machine()}; other processes took {others.cores:.1f} cores before it.\n")
    print(
        f"{RATE:.1f} requests a second (Poisson), {SLOTS} places, {SERVICE * 1e3:.0f} ms each on average, ",
        end="",
    )
    print(f"utilization {LOAD:.0%}, {runs} runs of {seconds:g} s\n")
    print("| seed | what | found | 95 % interval | log | replay | long run |\n|---|---|---|---|---|---|---|")
    held, all_runs = Counter[tuple[str, str]](), list[list[Found]]()
    with ProcessPoolExecutor(AT_ONCE) as pool:
        for seed, rows in enumerate(pool.map(run, range(runs), [seconds] * runs)):
            all_runs.append(rows)
            for row, law in zip(rows, long_run(), strict=True):
                truths = {**row.truths, "long run": law}
                holds = {side: row.low <= truth <= row.high for side, truth in truths.items()}
                held.update((row.name, side) for side in holds if holds[side])
                cells = [
                    f"{truths[side]:.4g}{'' if holds[side] else ' (outside)'}" if side in truths else ""
                    for side in SIDES
                ]
                interval = f"{row.estimate:.4g} | {row.low:.4g} to {row.high:.4g}"
                print(f"| {seed} | {row.name} | {interval} | {' | '.join(cells)} |", flush=True)
    print("\n| runs whose interval holds | the log | the replay | the long run |\n|---|---|---|---|")
    for row in all_runs[0]:
        known = [f"{held[row.name, side]} of {runs}" for side in SIDES]
        known[1] = known[1] if "replay" in row.truths else ""
        print(f"| {row.name} | {' | '.join(known)} |")
    print(f"\nGoal: log and replay in {GOAL:.0%} of the runs.\n")
    print("| all runs together | found | 95 % interval | law in the long run |\n|---|---|---|---|")
    for several, law in zip(zip(*all_runs, strict=True), long_run(), strict=True):
        row = batched(several[0].name, [each.estimate for each in several], {})
        print(f"| {row.name} | {row.estimate:.4g} | {row.low:.4g} to {row.high:.4g} | {law:.4g} |")


if __name__ == "__main__":
    main()
