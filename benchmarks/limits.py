"""How late time limits and Stop take effect: milliseconds after the limit, or after the call of cancel.

    python benchmarks/limits.py [--rounds 30]

A server of this process answers with silence or with a byte every 20 ms, before the head, before the first
event, and in mid-stream. Measured is when the caller has its error (or its thread back), and when the server
sees the connection close. An interrupt is a real SIGINT to a thread that waits.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import bedrock_nb as nb
from bedrock_nb.server import loopback_client
from tests.wire_server import GOOD, Answer, WireServer, answer, dripped

GOAL = 50
LIMIT = 0.2  # seconds
HEAD = b"".join(step for step in answer([], "close").steps if isinstance(step, bytes))
BEGUN = HEAD + b"".join(GOOD[:5])

FIRST = "first_event_timeout"
#: name -> what the server sends, and the limit that is to be met
LIMITS: dict[str, tuple[Answer, str]] = {
    "first_event_timeout, no head": (Answer([], "silence"), FIRST),
    "first_event_timeout, a drip": (
        Answer([HEAD, *dripped(GOOD[0], 0.02)], "silence"),
        FIRST,
    ),
    "idle_timeout, silence": (Answer([BEGUN], "silence"), "idle_timeout"),
    "idle_timeout, a drip": (Answer([BEGUN, *dripped(GOOD[5], 0.02)], "silence"), "idle_timeout"),
    "total_timeout, a drip": (Answer([BEGUN, *dripped(GOOD[5], 0.02)], "silence"), "total_timeout"),
}


class Watched(WireServer):
    """Knows when its last connection was closed by the client."""

    def gone(self) -> float:
        """Wait for it; when it was, on `time.perf_counter`."""
        assert self.wait_until_open(0)
        return time.perf_counter()


def limit(client: object, server: Watched, laid: Answer, name: str) -> tuple[float, float]:
    """Seconds after the limit at which the caller has its error, and the server sees the end."""
    server.lay(laid)
    begin = time.perf_counter()
    closed: list[float] = []
    watcher = threading.Thread(target=lambda: closed.append(_after_opening(server)))
    watcher.start()
    try:
        nb.stream(client, "hi", **{name: LIMIT}).drain()
    except nb.errors.StreamTimeout as err:
        raised, recording = time.perf_counter(), err.reply.recording
    watcher.join()
    # The idle limit runs from the last event; the others from the call.
    start = begin + (recording.times[-2] if name == "idle_timeout" else 0.0)
    return raised - start - LIMIT, closed[0] - start - LIMIT


def _after_opening(server: Watched) -> float:
    server.wait_until_open(1)
    return server.gone()


def stop(client: object, server: Watched, laid: Answer, events: int) -> tuple[float, float]:
    """Seconds after cancel() at which a thread that waits is free, and the server sees the end."""
    server.lay(laid)
    reply = nb.stream(client, "hi", background=True)
    free: list[float] = []

    def wait() -> None:
        reply.drain()
        free.append(time.perf_counter())

    waiter = threading.Thread(target=wait)
    waiter.start()
    server.wait_until_open(1)
    while len(reply.recording) < events:
        time.sleep(0.001)
    time.sleep(0.05)
    begin = time.perf_counter()
    reply.cancel()
    closed = server.gone()
    waiter.join()
    return free[0] - begin, closed - begin


def interrupt(client: object, server: Watched, laid: Answer) -> tuple[float, float]:
    """Seconds after a SIGINT at which the cell is over, and the server sees the end."""
    server.lay(laid)
    sent: list[float] = []

    def press() -> None:
        server.wait_until_open(1)
        time.sleep(0.05)
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    try:
        nb.stream(client, "hi").drain()
    except KeyboardInterrupt:
        raised = time.perf_counter()
    return raised - sent[0], server.gone() - sent[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    rounds = parser.parse_args().rounds
    server = Watched()
    client = loopback_client(server.url)
    ways: dict[str, Callable[[], tuple[float, float]]] = {
        name: lambda laid=laid, which=which: limit(client, server, laid, which)  # type: ignore[misc]
        for name, (laid, which) in LIMITS.items()
    }
    ways["cancel, before the first byte"] = lambda: stop(client, server, Answer([], "silence"), 0)
    ways["cancel, in mid-stream"] = lambda: stop(client, server, Answer([BEGUN], "silence"), 5)
    ways["interrupt, before the first byte"] = lambda: interrupt(client, server, Answer([], "silence"))
    ways["interrupt, in mid-stream"] = lambda: interrupt(client, server, Answer([BEGUN], "silence"))
    print(f"ms after the moment, {rounds} rounds  caller: p50    max   server: p50    max")
    for name, way in ways.items():
        way()  # the very first call reads botocore's model, and so on
        found = [[1000 * seconds for seconds in way()] for _ in range(rounds)]
        caller, there = zip(*found, strict=True)
        print(
            f"  {name:34}{statistics.median(caller):13.1f}{max(caller):7.1f}"
            f"{statistics.median(there):14.1f}{max(there):7.1f}"
        )
    print(f"  goal: at most {GOAL} ms; {os.cpu_count()} processors")
    client.close()
    server.close()


if __name__ == "__main__":
    main()
