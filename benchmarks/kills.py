"""A sweep killed 20 times (SIGKILL, at random moments) and started again: is anything lost, or doubled?

    python benchmarks/kills.py [--quick] [--kills 20] [--seed 0]

A process runs nb.sweep over numbered questions into a folder. When it asks its first one, a clock starts; at
a seeded moment the process is killed, the folder is looked at, and another is started. Of each fourth kill
the clock starts when nb.sweep is called: it may come while that looks at what is there. The embedded server
has a process of its own and writes down every question that it is asked. At the end every question must have
been answered into the folder exactly once, each file must be whole (its digest is checked), and no question
may have been asked again that was answered in full before a kill.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from embedded_server import embedded_server
from machine import machine

import bedrock_nb as nb
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import Latency, canned

LAW = Latency(ttft=0.05, per_token=0.004, ttft_jitter=0.5, jitter=0.3)
AT_ONCE = 8
LONGEST = 0.8  # seconds from the first question to a kill
EARLIEST = 0.5  # seconds from the call of nb.sweep to each fourth kill, at most
PATIENCE = 60.0


def sweep(url: str, folder: Path, questions: int) -> nb.Sweep:
    """What the process does that is killed."""
    prompts = [f"Count to 5. This is question {i}." for i in range(questions)]
    client = nb.connect(url, verbose=False)
    return nb.sweep(client, prompts, folder=folder, concurrency=AT_ONCE, model="m", progress=False)


class Asked:
    """The server's own list of what it was asked: a line a question."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def respond(self, request: Request) -> Recording:
        """A responder that writes the question down first."""
        content = request.to_kwargs()["messages"][-1]["content"]
        with self.path.open("ab", buffering=0) as file:
            file.write(content[0]["text"].encode() + b"\n")
        return canned(request)

    def lines(self) -> list[str]:
        """What it was asked so far."""
        return self.path.read_text().splitlines()


def question(recording_head: str) -> str:
    """The question that a recording's first line holds."""
    return str(json.loads(recording_head)["request"]["messages"][-1]["content"][0]["text"])


def finished(folder: Path) -> Counter[str]:
    """Questions whose recording has its end, also where the file has not got its last name yet."""
    found: Counter[str] = Counter()
    for path in (folder / "replies").glob("**/*"):
        rows = path.read_bytes().splitlines() if path.is_file() else []
        if len(rows) > 1 and rows[-1].startswith(b'{"end"'):
            found[question(rows[0].decode())] += 1
    return found


def kill_one(url: str, folder: Path, questions: int, asked: Asked, after: float, *, early: bool) -> bool:
    """Start the process and kill it so long after its first question, or its call; whether it still ran."""
    before = len(asked.lines())
    command = [sys.executable, __file__, "--child", url, str(folder), str(questions)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    limit = time.monotonic() + PATIENCE
    while not early and len(asked.lines()) == before and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.005)
    time.sleep(after)
    ran = process.poll() is None
    if ran:
        process.send_signal(signal.SIGKILL)
    process.communicate()
    return ran


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 kills")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        url, folder, questions = options.child
        print("It begins.", flush=True)
        sweep(url, Path(folder), int(questions))
        return
    kills = 3 if options.quick else options.kills
    questions, chance = 40 * kills, Random(options.seed)
    with tempfile.TemporaryDirectory() as made:
        asked, folder = Asked(Path(made) / "asked"), Path(made) / "sweep"
        again, lost, hits = Counter[str](), Counter[str](), 0
        known: Counter[str] = Counter()
        with embedded_server(LAW, asked.respond) as url:
            print("| kill | after, s | asked | finished | unfinished |\n|---|---|---|---|---|")
            for number in range(kills):
                seen, early = len(asked.lines()), number % 4 == 3
                after = chance.uniform(0.0, EARLIEST if early else LONGEST)
                hits += kill_one(url, folder, questions, asked, after, early=early)
                again += Counter(line for line in asked.lines()[seen:] if line in known)
                before, known = known, finished(folder)
                lost += before - known
                total = len(asked.lines())
                clock = "call" if early else "first question"
                cells = [number + 1, f"{after:.2f} ({clock})", total, known.total(), total - known.total()]
                print(f"| {' | '.join(map(str, cells))} |", flush=True)
            seen = len(asked.lines())
            done = sweep(url, folder, questions)
            again += Counter(line for line in asked.lines()[seen:] if line in known)
            total = len(asked.lines())
        files = sorted((folder / "replies").glob("*.jsonl"))
        whole = Counter(
            recording.request["messages"][-1]["content"][0]["text"]
            for recording in map(Recording.load, files)
            if recording.status == "complete"
        )
    print(f"\n{machine()}")
    print(f"\n| {questions} questions, {hits} kills of a running sweep | found | wanted |\n|---|---|---|")
    rows = {
        "questions answered exactly once": (sum(count == 1 for count in whole.values()), questions),
        "files in the folder": (len(files), questions),
        "replies in the Sweep": (len(done), questions),
        "finished replies that a restart lost": (lost.total(), 0),
        "finished questions that were asked again": (again.total(), 0),
    }
    for name, (found, wanted) in rows.items():
        print(f"| {name} | {found} | {wanted} |")
    print(
        f"| asked in all, at most {AT_ONCE} in vain a kill | {total} | up to {questions + AT_ONCE * hits} |"
    )
    if any(found != wanted for found, wanted in rows.values()) or total > questions + AT_ONCE * hits:
        sys.exit("something was lost or doubled")


if __name__ == "__main__":
    main()
