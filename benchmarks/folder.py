"""What a folder of recordings costs: listing, filtering, walking, its tables, and Parquet.

    python benchmarks/folder.py [--files 1000] [--events 500] [--folder .]

The files are made in a folder of their own on the file system of ``--folder``, and removed. Each way runs in
a process of its own, which reports its seconds and by how much its peak of memory (``ru_maxrss``) grew after
all libraries were loaded. The files were just written, so they come from the system's cache.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from memory import rows

from bedrock_nb.recording import Recording

#: Seconds for ten thousand recordings of 500 events.
GOAL = 60


def _exhaust(parts: Iterable[Any]) -> None:
    for _ in parts:
        pass


def _parquet(folder: Any) -> None:
    from bedrock_nb.formats import to_parquet

    with tempfile.TemporaryDirectory(dir=folder.paths[0].parent.parent, prefix=".set.") as made:
        to_parquet(folder, Path(made) / "set")


WAYS: dict[str, tuple[str, Callable[[Any], object]]] = {
    "list": ("list the folder", len),
    "model": ("filter by model", lambda folder: len(folder.where(model="m1"))),
    "status": ("filter by status", lambda folder: len(folder.where(status="complete"))),
    "walk": ("load one after the other", _exhaust),
    "summary": ("summary()", lambda folder: folder.summary()),
    "batches": ("batches()", lambda folder: _exhaust(folder.batches())),
    "reader": ("reader()", lambda folder: _exhaust(folder.reader())),
    "parquet": ("to_parquet", _parquet),
    "all": ("a list of all", list),
}


def make(folder: Path, count: int, events: int) -> int:
    """Save so many recordings; return the bytes of one."""
    size = 0
    for i in range(count):
        asked = {"modelId": f"m{i % 3}", "messages": [{"role": "user", "content": [{"text": "Rainbows?"}]}]}
        one = Recording(asked, labels={"temperature": i % 5 / 4}, started=1_767_225_600.0 + i)
        for t, read, nbytes, event in rows(events - 4, "So "):
            one.append(event, t, read, nbytes)
        one.marks |= {"sent": 0.001, "headers": 0.1, "closed": one.times[-1]}
        one.status = "complete"
        place = folder / f"{i // 1000:03}"
        place.mkdir(exist_ok=True)
        size = one.save(place / f"{i:06}.jsonl").stat().st_size
    return size


def run(way: str, place: Path) -> None:
    """Run one way; print its seconds and the bytes that its peak grew by."""
    import bedrock_nb.formats  # noqa: F401  all libraries, before anything is measured
    from bedrock_nb.folder import load_folder

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    folder = load_folder(place, progress=False)
    begin = time.perf_counter()
    WAYS[way][1](folder)
    seconds = time.perf_counter() - begin
    print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        run(options.way, options.folder)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix=".folder.") as made:
        place = Path(made) / "runs"
        place.mkdir()
        size = make(place, options.files, options.events)
        print(f"{options.files:,} recordings of {options.events:,} events, {size / 1024:.0f} KiB each")
        print(f"  {'':26} {'s':>8} {'ms/file':>8} {'peak, MiB':>10}")
        for way, (name, _) in WAYS.items():
            command = [sys.executable, __file__, "--way", way, "--folder", str(place)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            seconds, peak = map(float, done.stdout.split())
            each = seconds / options.files * 1000
            print(f"  {name:26} {seconds:8.2f} {each:8.3f} {peak / 2**20:10.1f}")
    print(f"  goal for summary() of 10,000 recordings of 500 events: at most {GOAL} s")


if __name__ == "__main__":
    main()
