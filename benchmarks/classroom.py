"""Thirty students and their teacher on one classroom server: how late do its writes leave?

Each student is a seat of a real ``bedrock-nb serve --classroom`` in a process of its own, and a thread with a
real boto3 client in one of a few client processes: it thinks for some seconds, asks, reads the answer at
about 50 events a second, and thinks again; now and then it asks three things at once. The teacher's page is
open: its figures are fetched twice a second, as the page does. Afterwards the server's own log of every
answer says when each write was due and when it left. The lateness of clients is not part of it: they share
the processors with the server, and a classroom's do not always. A process that only sleeps says how
late this machine wakes anybody: no server is more punctual than that.

Run it with ``python benchmarks/classroom.py [--seconds S] [--students N]``; goal: p99 below 20 ms.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from machine import Others, machine

ROOT = Path(__file__).parents[1]
GOAL_MS = 20.0
THINK = 3.0  # seconds, on average, from the end of an answer to the next question
BURST = 0.2  # share of the questions that are three at once
PROCESSES = 2  # of clients
BUSY = 0.3  # cores that others take
PER_TOKEN = 0.0103  # seconds: with a prepared answer's 1.9 tokens an event, 50 events a second
PROMPTS = [
    "Tell me about rainbows",
    "Write a story about a lighthouse",
    "Count from 1 to 40",
    "Explain tides",
]


class Seat(NamedTuple):
    """What a student needs."""

    target: str
    access_key: str
    secret_key: str


# -- the students ----------------------------------------------------------------------------------


def study(seat: Seat, seed: int, end: float, ids: list[str], refused: list[str]) -> None:
    """One student's lesson."""
    import bedrock_nb as nb

    chance = Random(seed)
    client = nb.server.loopback_client(
        seat.target, aws_access_key_id=seat.access_key, aws_secret_access_key=seat.secret_key
    )
    while True:
        time.sleep(min(chance.expovariate(1 / THINK), max(0.0, end - time.time())))
        if time.time() >= end:
            break
        several = 3 if chance.random() < BURST else 1
        replies = [nb.stream(client, chance.choice(PROMPTS), background=True) for _ in range(several)]
        for reply in replies:
            try:
                reply.drain()
                ids.append(reply.envelope["request_id"])
            except nb.errors.BedrockNbError as err:
                refused.append(type(err).__name__)
    client.close()


def students(seats: list[Seat], first: int, end: float, out: Connection) -> None:
    """A process with some of the students."""
    ids: list[str] = []
    refused: list[str] = []
    threads = [
        threading.Thread(target=study, args=(seat, first + i, end, ids, refused))
        for i, seat in enumerate(seats)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.send((ids, refused))


def sleeper(end: float, out: Connection) -> None:
    """How late a process is woken that only sleeps, ms."""
    late = []
    while time.time() < end:
        due = time.monotonic() + 0.02
        time.sleep(0.02)
        late.append(1000 * (time.monotonic() - due))
    out.send(sorted(late))


# -- the server, and the teacher -------------------------------------------------------------------


@contextmanager
def classroom(number: int, folder: Path) -> Iterator[tuple[int, str, list[Seat]]]:
    """The running server: its process, the address of the teacher's page, the seats."""
    options = ["--classroom", str(number), "--port", "0", "--per-token", str(PER_TOKEN)]
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "bedrock_nb", "serve", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        page = [process.stdout.readline() for _ in range(4)][1].split()[-1]
        with (folder / "seats.csv").open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))[1:]
        target = page.partition("/?")[0]
        yield process.pid, page, [Seat(target, row["access_key"], row["secret_key"]) for row in rows]
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def watch(page: str, done: threading.Event, took: list[float]) -> None:
    """Keep the teacher's page open."""
    while not done.wait(0.5):
        begin = time.perf_counter()
        get(page.replace("/?", "/status.json?"))
        took.append(time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--students", type=int, default=30)
    options = parser.parse_args()
    print(f"{machine()}; {options.students} students for {options.seconds:g} s.\n")
    with (
        tempfile.TemporaryDirectory() as folder,
        classroom(options.students, Path(folder)) as (pid, page, seats),
    ):
        end = time.time() + options.seconds + 2.0  # two seconds to import
        context, pipes, processes = multiprocessing.get_context("spawn"), [], []
        shares = [(students, seats[i::PROCESSES], 100 * i) for i in range(PROCESSES)]
        for target, *share in [*shares, (sleeper,)]:
            here, there = context.Pipe()
            process = context.Process(target=target, args=(*share, end, there))
            process.start()
            pipes.append(here)
            processes.append(process)
        done, took = threading.Event(), list[float]()
        teacher = threading.Thread(target=watch, args=(page, done, took))
        teacher.start()
        begin = time.monotonic()
        with Others(pid, os.getpid(), *(process.pid or 0 for process in processes)) as others:
            *told, woken = [pipe.recv() for pipe in pipes]
            seconds = time.monotonic() - begin
        done.set()
        teacher.join()
        for process in processes:
            process.join()
        ids = [request_id for found, _ in told for request_id in found]
        refused = [name for _, names in told for name in names]
        truths = [get(f"{seats[0].target}/truth/{request_id}") for request_id in ids]
        seen = get(page.replace("/?", "/status.json?"))["classroom"]["students"]
    report(truths, refused, seen, took, others, seconds)
    print(f"\nA process that only sleeps was woken {woken[int(0.99 * len(woken))]:.2f} ms late (p99).")


def report(
    truths: list[Any],
    refused: list[str],
    seen: list[Any],
    took: list[float],
    others: Others,
    seconds: float,
) -> None:
    late = sorted(
        1000 * (b - d) for truth in truths for b, d in zip(truth["begun"], truth["due"], strict=True)
    )
    rates = [
        (sum(truth["events"]) - 1) / (truth["begun"][-1] - truth["begun"][1])
        for truth in truths
        if len(truth["begun"]) > 20
    ]
    each = [student["requests"] for student in seen if not student["teacher"]]
    p99 = late[int(0.99 * len(late))]
    print("| | |")
    print("|---|---|")
    print(f"| answers read to their end | {len(truths):,} ({min(each)} to {max(each)} a student) |")
    print(f"| events a second of one answer, median | {statistics.median(rates):.0f} |")
    print(f"| writes | {len(late):,} ({len(late) / seconds:.0f} a second) |")
    print(f"| write lateness, ms: p50 | {statistics.median(late):.2f} |")
    print(f"| p99 | {p99:.2f} |")
    print(f"| max | {late[-1]:.2f} |")
    print(f"| throttled, other refusals | {sum(s['throttled'] for s in seen)}, {len(refused)} |")
    page = [1000 * each for each in took]
    print(f"| the teacher's page, ms: median, max | {statistics.median(page):.0f}, {max(page):.0f} |")
    print(f"| server's CPU | {others.used[0] / seconds:.0%} of a core |")
    print(f"| clients' CPU | {sum(others.used[2:]) / seconds:.0%} of a core |")
    print(f"| cores that other processes took | {others.cores:.1f} |")
    print(f"\nGoal: p99 below {GOAL_MS:g} ms: {'met' if p99 < GOAL_MS else 'missed'}", end="")
    print(", on a busy machine: figures of it are no figures." if others.cores > BUSY else ".")


if __name__ == "__main__":
    main()
