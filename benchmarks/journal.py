"""What a journal costs for each text delta, beside a recording that is kept in memory alone.

    python benchmarks/journal.py [--deltas 20000] [--rounds 7] [--folder .]

Each way takes the same deltas as a reply does: journal first, recording then. Rounds alternate; the medians
of wall-clock time are compared. Where the disk is waited for at each event, a twentieth of the deltas is
taken. The files are made in a folder of their own on the file system of ``--folder``, and removed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from memory import rows

from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording

GOAL = 25
#: Each way: its durability (None: no journal), and by how much fewer deltas it takes.
WAYS = {"in memory": (None, 1), "crash": ("crash", 1), "interval": ("interval", 1), "each": ("each", 20)}


def take(folder: Path, durability: str | None, deltas: int) -> float:
    """Microseconds per event of one way."""
    arrivals = list(rows(deltas, "So "))
    recording = Recording({"modelId": "m", "messages": []})
    journal = None if durability is None else Journal(folder, recording, durability=durability)
    append = recording.append
    begin = time.perf_counter()
    for t, read, nbytes, event in arrivals:
        if journal is not None:
            journal.follow(recording)
            journal.write(event, t, read, nbytes)
        append(event, t, read, nbytes)
    seconds = time.perf_counter() - begin
    recording.status = "complete"
    if journal is not None:
        journal.end(recording)
        assert journal.stopped is None, journal.stopped
        assert list(Recording.load(journal.path)) == list(recording), "all must be in the file"
        journal.path.unlink()
    return seconds / len(arrivals) * 1e6


def file_system(folder: Path) -> str:
    """The type of the file system that a folder is on, as Linux tells it."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown"
    place = folder.resolve()
    known = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    on = [(mount, kind) for mount, kind in known if place.is_relative_to(mount)]
    return max(on, key=lambda found: len(found[0]))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deltas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path, default=Path())
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=".journal.") as made:
        for _ in range(options.rounds):
            for name, (durability, fewer) in WAYS.items():
                taken[name].append(take(Path(made), durability, options.deltas // fewer))
        kind = file_system(Path(made))
    processors = f"{os.cpu_count()} processors"
    print(f"{options.deltas:,} text deltas, median of {options.rounds} rounds, {kind}, {processors}")
    print(f"  {'':12} {'us/event':>9} {'beyond':>9}")
    base = statistics.median(taken["in memory"])
    for name, values in taken.items():
        us = statistics.median(values)
        print(f"  {name:12} {us:9.2f} {us - base:9.2f}")
    print(f"  goal for crash: at most {GOAL} us beyond")


if __name__ == "__main__":
    main()
