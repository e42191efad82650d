"""CPU time to drain one long reply through bedrock_nb, as a ratio to plain boto3 in the same run.

    python benchmarks/drain.py [--deltas 20000] [--rounds 15]

Both read the same bytes from the same server; rounds alternate; the medians of CPU time are compared.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

from raw_server import http_response, serving, text_reply

import bedrock_nb as nb
from bedrock_nb.server import loopback_client

ASKED = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "hi"}]}]}
GOAL = 0.45


def plain_boto3(client: Any) -> int:
    return sum(1 for _ in client.converse_stream(**ASKED)["stream"])


def bedrock_nb(client: Any) -> int:
    return sum(1 for _ in nb.stream(client, "hi", model="m")) - 1  # one event is made by the fold


def watched(client: Any) -> int:
    return plain_boto3(client)


def measure(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each way, rounds alternating."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            taken[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deltas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--framing", choices=["event", "batch", "length", "close"], default="event")
    options = parser.parse_args()
    frames = text_reply(options.deltas)
    with serving(http_response(frames, options.framing)) as url:
        client, observed = loopback_client(url), nb.watch(loopback_client(url))
        ways = {
            "plain boto3": lambda: plain_boto3(client),
            "nb.stream": lambda: bedrock_nb(client),
            "nb.watch": lambda: watched(observed),
        }
        assert {way() for way in ways.values()} == {len(frames)}, "all must see every event"
        assert len(frames) > options.deltas
        cpu = measure(ways, options.rounds)
    base = cpu["plain boto3"]
    print(f"{len(frames):,} events, framing {options.framing}, median of {options.rounds} rounds")
    for name, seconds in cpu.items():
        print(
            f"  {name:12} {seconds * 1e6 / len(frames):7.2f} us/event   {seconds / base:5.2f} of plain boto3"
        )
    print(f"  goal for nb.stream: at most {GOAL}")


if __name__ == "__main__":
    main()
