"""Peak memory that a recording of one million events takes beyond its text, beside a list of dicts.

    python benchmarks/memory.py [--events 1000000]

Each way runs in a process of its own and reports by how much its peak (``ru_maxrss``) grew; events are made
one at a time and dropped, so that only what is kept counts. The recording is made as a reply makes it: an
intake that folds, records and ends in a complete message. "The text itself" is the answer as one Python
string, which takes four bytes a character as soon as there is one emoji in it.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bedrock_nb.events import Event
    from bedrock_nb.intake import Arrival

GOAL = 40
WORDS = ("the ", "sun ", "a ", "rain ", "drop ", "light ", "colours ", "violet ", "red ", "from ", "behind ")
WAYS = {
    "list": "a list of dicts",
    "record": "Recording.append",
    "fold": "Fold.feed",
    "reply": "both, as in a reply",
    "emoji": "the same, one emoji",
}


def rows(events: int, first: str) -> Iterator[tuple[float, int, int, Event]]:
    """Time, read number, frame size and event, made as they are asked for."""
    from bedrock_nb.events import BlockStop, MessageStart, MessageStop, Metadata, TextDelta

    yield 0.2, 1, 100, MessageStart("assistant")
    yield 0.3, 2, 160, TextDelta(0, first)
    for i, word in zip(range(events - 1), cycle(WORDS), strict=False):
        text = word[:-1] + " "  # an object of its own, as each is that comes from the wire
        yield 0.3 + i * 1e-4, i + 3, 160, TextDelta(0, text)
    ends: tuple[Event, ...] = (BlockStop(0), MessageStop("end_turn"), Metadata({"outputTokens": events}))
    for event in ends:
        yield 0.3 + events * 1e-4, events + 2, 120, event


def _arrival(row: tuple[float, int, int, Event]) -> Arrival:
    t, read, nbytes, event = row
    return t, read, [((event,), nbytes)]


def keep(way: str, events: int) -> None:
    """Run one way; print the bytes that its peak grew by, and those of the text as one string."""
    from bedrock_nb.assembly import Fold
    from bedrock_nb.intake import Intake
    from bedrock_nb.recording import Recording

    first = "🌈" if way == "emoji" else "So "
    source = rows(events, first)
    recording, fold, kept = Recording(), Fold(), []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way == "list":
        for t, read, nbytes, event in source:
            text = getattr(event, "text", "")
            row = {"t": t, "read": read, "bytes": nbytes, "type": type(event).__name__, "text": text}
            kept.append(row)
    elif way == "record":
        for t, read, nbytes, event in source:
            recording.append(event, t, read, nbytes)
    elif way == "fold":
        for *_, event in source:
            fold.feed(event)
    else:
        arrivals = map(_arrival, source)
        intake = Intake(recording, arrivals, lambda: None, lambda: 0.0)
        while not intake.done:
            intake.advance()
        assert recording.status == "complete", recording.status
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    text = "".join(getattr(event, "text", "") for *_, event in rows(events, first))
    print(grown * 1024, sys.getsizeof(text))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        keep(options.way, options.events)
        return
    print(f"{options.events:,} text deltas: peak memory, MiB")
    print(f"  {'':20} {'grown':>7} {'text':>7} {'beyond':>7} {'bytes/event':>12}")
    for way, name in WAYS.items():
        command = [sys.executable, __file__, "--way", way, "--events", str(options.events)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent
        )
        grown, text = map(int, done.stdout.split())
        beyond = (grown - text) / 2**20
        each = (grown - text) / options.events
        print(f"  {name:20} {grown / 2**20:7.1f} {text / 2**20:7.1f} {beyond:7.1f} {each:12.1f}")
    print(f"  goal for a reply of 1,000,000: at most {GOAL} MiB beyond the text")


if __name__ == "__main__":
    main()
