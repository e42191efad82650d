"""Seconds and peak memory of tables: a million events in one recording and in many, ten thousand replies.

    python benchmarks/tables.py [--events 1000000] [--replies 10000] [--files 1000]

Each way runs in a process of its own. Recordings are made first; ``table`` is the time that the table takes
after that, the first of its kind in the process, and ``grown`` is by how much the peak (``ru_maxrss``) grew
for recordings and table together. Files are written first too, by a process of its own. "A list of dicts" is
what one writes without this package: a dict for each event, and a DataFrame of them; the ratio is of the time
per event.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_nb.recording import Recording

LENGTH = 500
WORDS = ("the ", "sun ", "a ", "rain ", "drop ", "light ", "colours ", "violet ", "red ", "from ", "behind ")


def reply(events: int, number: int = 0) -> Recording:
    """A complete reply of so many events, some in bursts of two."""
    from bedrock_nb.events import BlockStop, MessageStart, MessageStop, Metadata, TextDelta
    from bedrock_nb.recording import Recording

    request = {"modelId": f"model-{number % 3}", "messages": []}
    recording = Recording(request, labels={"repeat": number}, started=1.7e9 + number)
    recording.append(MessageStart("assistant"), 0.2, 1, 100)
    for i in range(events - 4):
        recording.append(TextDelta(0, WORDS[i % len(WORDS)]), 0.3 + i * 0.01, 2 + i // 2, 160)
    end = 0.3 + events * 0.01
    usage = {"inputTokens": 12, "outputTokens": events - 4, "totalTokens": events + 8}
    for event in (BlockStop(0), MessageStop("end_turn"), Metadata(usage, round(end * 900))):
        recording.append(event, end, events, 120)
    for name, t in (("sent", 0.01), ("headers", 0.15), ("closed", end)):
        recording.mark(name, t)
    recording.status = "complete"
    return recording


# -- the ways --------------------------------------------------------------------------------------


def one(options: argparse.Namespace) -> tuple[Any, Callable[[Any], Any], int]:
    return reply(options.events), lambda recording: recording.to_frame(), options.events


def many(options: argparse.Namespace) -> tuple[Any, Callable[[Any], Any], int]:
    import bedrock_nb as nb

    count = options.events // LENGTH
    return [reply(LENGTH, i) for i in range(count)], nb.events, count * LENGTH


def naive(options: argparse.Namespace) -> tuple[Any, Callable[[Any], Any], int]:
    def table(recording: Recording) -> Any:
        import pandas as pd

        rows, before = [], None
        for seq, (t, read, nbytes, event) in enumerate(recording.rows()):
            text = getattr(event, "text", "")
            row = {"seq": seq, "t_s": t, "gap_s": None, "type": type(event).__name__, "text": text}
            row |= {"block": getattr(event, "index", None), "chars": len(text), "bytes": nbytes, "read": read}
            if text:
                row["gap_s"], before = None if before is None else t - before, t
            rows.append(row)
        return pd.DataFrame(rows)

    return reply(options.events // 5), table, options.events // 5


def replies(options: argparse.Namespace) -> tuple[Any, Callable[[Any], Any], int]:
    import bedrock_nb as nb

    return [reply(LENGTH, i) for i in range(options.replies)], nb.summary, options.replies


def files(options: argparse.Namespace) -> tuple[Any, Callable[[Any], Any], int]:
    import bedrock_nb as nb

    return sorted(Path(options.folder).glob("*.jsonl")), nb.summary, options.files


WAYS = {
    "one": (one, "to_frame of one recording", "events"),
    "many": (many, f"nb.events of recordings of {LENGTH}", "events"),
    "naive": (naive, "a list of dicts", "events"),
    "replies": (replies, f"nb.summary of replies of {LENGTH}", "replies"),
    "files": (files, "nb.summary of their files", "replies"),
}


def measure(way: str, options: argparse.Namespace) -> None:
    """Run one way; print its count, the seconds of its table, and the bytes that the peak grew by."""
    import pandas as pd

    import bedrock_nb as nb

    nb.summary([])  # its modules are imported before the clock starts
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    source, table, count = WAYS[way][0](options)
    began = time.perf_counter()
    frame = table(source)
    seconds = time.perf_counter() - began
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) >= count
    print(count, seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def _child(options: argparse.Namespace, *arguments: str) -> str:
    given = [f"--{name}={getattr(options, name)}" for name in ("events", "replies", "files")]
    command = [sys.executable, __file__, *given, *arguments]
    return subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parent
    ).stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--replies", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=1_000)
    for hidden in ("--way", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way == "write":
        for i in range(options.files):
            reply(LENGTH, i).save(Path(options.folder) / f"{i:06}.jsonl")
        return
    if options.way:
        measure(options.way, options)
        return
    print(f"  {'':34} {'count':>9} {'table, s':>9} {'each, us':>9} {'grown, MiB':>11}")
    each = {}
    with tempfile.TemporaryDirectory() as folder:
        _child(options, "--way=write", f"--folder={folder}")
        for way, (_, name, what) in WAYS.items():
            count, seconds, grown = map(float, _child(options, f"--way={way}", f"--folder={folder}").split())
            each[way], peak = seconds / count, grown / 2**20
            print(f"  {name:34} {count:>9,.0f} {seconds:9.2f} {each[way] * 1e6:9.2f} {peak:11.0f}  {what}")
    for way in ("one", "many"):
        print(f"  {WAYS[way][1]}: {each[way] / each['naive']:.3f} of a list of dicts, by event")
    print("  goals: 1,000,000 events in 1 s, in 2,000 recordings 2 s; 10,000 replies in 10 s and 500 MiB")


if __name__ == "__main__":
    main()
