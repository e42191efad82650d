"""How many streams does one process hold? nb.astream beside boto3, aiobotocore and LLMeter in one run.

    python benchmarks/many_streams.py [--quick] [--tick MS] [--others PYTHON] [--only "nb.astream" ...]

A server in a process of its own (`many_server`) sends 50 events a second on each stream and knows when each
left; the streams of a trial are all open before their first event. Each client has a process of its own, new
for each trial, and writes down when each event came. A gap error is the difference between a gap that the
client saw and the gap that the server made. A level is held when the p99 of the gap errors is under 20 ms;
one that is missed by little gets a second try, and one that the server could not pace itself is marked. CPU
is that of the client's process from the first event until it has read the last.

LLMeter's runner knows the first and the last token only: its error is that of their distance.

aiobotocore and LLMeter come from an environment of their own, for their boto3 is another: ``make foreign``
makes one. Or ``python -m venv V && V/bin/pip install aiobotocore llmeter``, then ``--others V/bin/python``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from array import array
from pathlib import Path
from typing import NamedTuple

from machine import Others, cpu, machine
from many_clients import BOTO3, CONTENDERS, OURS, Seen

ROOT = Path(__file__).parent.parent
OTHERS = ROOT / ".venv-foreign" / "bin" / "python"
RATE = 50  # events a second of each stream
LEVELS = [50, 100, 150, 200, 250, 300, 350, 400, 500, 600, 700, 800, 1000, 1200]
AT = 300  # streams where the cost per event is compared
HELD_MS, GOAL_STREAMS, GOAL_COST, GOAL_TWO = 20.0, 2.0, 0.55, 1000
SERVER_LATE_MS, OTHERS_CORES = 5.0, 0.2

# -- one trial ---------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """What was measured of one level."""

    streams: int
    gap_p99_ms: float
    cpu_us: float  # of the client, an event
    core: float  # of the client, as a share of one
    server_core: float
    server_late_ms: float  # p99
    others: float  # cores that all other processes of the machine took
    lost: int  # streams that did not come whole

    @property
    def held(self) -> bool:
        """Whether the times were true to the limit, and nothing was lost."""
        return self.gap_p99_ms < HELD_MS and not self.lost

    @property
    def near(self) -> bool:
        """Whether it is not held, but a second try may be: something else may have come between."""
        return not self.held and (
            self.gap_p99_ms < 3 * HELD_MS or self.limit in ("the server", "other processes")
        )

    @property
    def limit(self) -> str:
        """What would limit a next level."""
        if self.others > OTHERS_CORES:
            return "other processes"
        if self.server_late_ms > SERVER_LATE_MS:
            return "the server"
        return "the client's core" if self.core > 0.85 else ""


def start(name: str, python: Path, url: str, model: str, streams: int) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
    environment.pop("AWS_BEARER_TOKEN_BEDROCK", None)
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "true"
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    code = "import sys, many_clients; many_clients.be(*sys.argv[1:4], int(sys.argv[4]))"
    command = [str(python), "-c", code, name, url, model, str(streams)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)


def trial(name: str, python: Path, streams: int, seconds: float, tick: float, processes: int = 1) -> Trial:
    """So many streams of one client, shared out to so many processes."""
    from many_server import EXTRA, many_server

    deltas = int(RATE * seconds)
    with many_server(RATE, tick) as server:
        shares = [streams // processes] * processes
        made = [start(name, python, server.url, f"{streams}-{deltas}", share) for share in shares]
        try:
            begin = server.wait("begin", 120)
            time.sleep(max(0.0, begin - time.monotonic()))
            pids = [process.pid for process in made]
            used = -sum(map(cpu, pids))
            with Others(server.pid, *pids) as others:
                server_end = server.wait("ended", seconds * 4 + 30)
            written = server.writes()
            seen, end = Seen(), server_end
            for process in made:
                said, _ = process.communicate(timeout=120)
                head, _, times = said.partition(b"\n")
                done, its, streams_seen = json.loads(head)
                end, used, floats = max(end, done), used + its, array("d", times)
                for request_id, count in streams_seen:
                    seen.append((request_id, floats[:count]))
                    floats = floats[count:]
        finally:
            for process in made:
                process.kill()
                process.wait()
    error, whole = gap_errors(seen, written.left)
    late = sorted(written.late(RATE))
    return Trial(
        streams,
        error * 1e3,
        used / (streams * (deltas + EXTRA)) * 1e6,
        used / (end - begin),
        others.used[0] / (server_end - begin),
        late[int(0.99 * len(late))] * 1e3,
        others.cores,
        streams - whole,
    )


def gap_errors(seen: Seen, left: list[array[float]]) -> tuple[float, int]:
    """The p99 of the gap errors, seconds, and how many streams came whole."""
    import numpy as np

    errors, whole = [np.array([float("inf")])], 0
    for request_id, times in seen:
        number = request_id.rpartition("-")[2]
        sent = np.array(left[int(number)]) if number.isdigit() else np.array([])
        if len(times) == 2:  # of LLMeter: the first delta, and the stop of its block
            sent = sent[[1, -3]] if len(sent) else sent
        if len(times) == len(sent):
            whole += 1
            errors.append(np.abs(np.diff(np.array(times)) - np.diff(sent)))
    found = np.concatenate(errors[1:] or errors)
    return float(np.quantile(found, 0.99)), whole


# -- the search ---------------------------------------------------------------------------------------


def climb(name: str, python: Path, seconds: float, tick: float, levels: list[int]) -> list[Trial]:
    """Trials at `AT` streams, and up from there as far as it holds, or down until it does."""
    made: list[Trial] = []

    def holds(streams: int) -> bool:
        tries: list[Trial] = []
        while len(tries) < 2 and (streams == AT or not tries or tries[0].near):
            try:
                tries.append(trial(name, python, streams, seconds, tick))
            except TimeoutError as err:  # it could not even open them
                print(f"| {name} | {streams:,} | |" + " |" * 6 + f" no | {err} |", flush=True)
                break
            show(name, tries[-1])
        made.extend(tries)
        return any(met.held for met in tries)

    if holds(AT):
        for streams in (level for level in levels if level > AT):
            if not holds(streams):
                break
    else:
        for streams in (level for level in reversed(levels) if level < AT):
            if holds(streams):
                break
    return made


def show(name: str, met: Trial) -> None:
    print(
        f"| {name} | {met.streams:,} | {met.gap_p99_ms:.2f} | {met.cpu_us:.0f} | {met.core:.0%} "
        f"| {met.server_core:.0%} | {met.server_late_ms:.2f} | {met.others:.1f} "
        f"| {'yes' if met.held else 'no'} "
        f"| {f'{met.lost} lost' if met.lost else met.limit} |",
        flush=True,
    )


def here(python: Path, module: str) -> bool:
    """Whether an environment has a module."""
    if not python.exists():
        return False
    asked = [str(python), "-c", f"import {module}"]
    return subprocess.run(asked, stderr=subprocess.DEVNULL, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 s a trial, 100 to 300 streams only")
    parser.add_argument("--seconds", type=float, default=3.5, help="of events in a trial")
    parser.add_argument("--tick", type=float, default=0.5, help="ms; 0: each event at its own moment")
    parser.add_argument(
        "--others", type=Path, default=OTHERS, help="the Python that has aiobotocore, llmeter"
    )
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    options = parser.parse_args()
    seconds = 3.0 if options.quick else options.seconds
    levels = [100, AT] if options.quick else LEVELS
    print(f"{machine()}; ", end="")
    print(f"{RATE} events a second on each stream for {seconds:g} s, sent in ticks of {options.tick:g} ms.\n")
    print(
        "| client, one process | streams | gap error p99, ms | CPU, us/event | of a core | server |", end=""
    )
    print(" server late p99, ms | others, cores | held | limit |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    found: dict[str, list[Trial]] = {}
    notes = []
    for name in options.only:
        contender = CONTENDERS[name]
        python = options.others if contender.other else Path(sys.executable)
        if not here(python, contender.imports):
            notes.append(
                f"{name} is left out: {python} has no {contender.imports}. `make foreign` installs it."
            )
            continue
        found[name] = climb(name, python, seconds, options.tick / 1e3, levels)
    for _ in range(2 if OURS in found and not options.quick else 0):
        two = trial(OURS, Path(sys.executable), GOAL_TWO, seconds, options.tick / 1e3, 2)
        show(f"{OURS}, 2 processes", two)
        if two.held:
            break
    summarize(found)
    print(*notes, sep="\n")


def summarize(found: dict[str, list[Trial]]) -> None:
    most = {name: max((t.streams for t in made if t.held), default=0) for name, made in found.items()}
    costs = {name: [t.cpu_us for t in made if t.streams == AT] for name, made in found.items()}
    cost = {name: statistics.mean(each) if each else math.nan for name, each in costs.items()}
    print(f"\n| client | streams held | of boto3's | CPU per event at {AT} streams, of boto3's |")
    print("|---|---|---|---|")
    for name in found:
        streams = f"{most[name] / most[BOTO3]:.1f}" if most.get(BOTO3) else ""
        share = f"{cost[name] / cost[BOTO3]:.2f}" if BOTO3 in cost else ""
        print(f"| {name} | {most[name]:,} | {streams} | {share} |")
    print(
        f"\nGoals for {OURS}: at least {GOAL_STREAMS:g} times plain boto3's streams, at most {GOAL_COST} of "
        f"its CPU per event at {AT} streams, {GOAL_TWO:,} streams with 2 processes."
    )


if __name__ == "__main__":
    main()
