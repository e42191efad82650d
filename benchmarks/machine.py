"""What a benchmark ran on, and who else was at work there: figures of a busy machine are no figures."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from pathlib import Path

__all__ = ["Others", "busy", "child", "cpu", "machine"]

_TICK = os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """The machine in a few words."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} processors ({model}), Python {platform.python_version()}"


def cpu(pid: int) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def child() -> int:
    """The only process that this one has started with multiprocessing: the benchmark's server."""
    (process,) = multiprocessing.active_children()
    assert process.pid is not None
    return process.pid


def busy() -> float:
    """CPU seconds that all processes of the machine have used, and what its host took from it."""
    user, nice, system, _, _, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICK


class Others:
    """How many cores all others take while a block runs: those that are not named.

    Parameters
    ----------
    *pids : int
        Processes of the benchmark. Each must live until the block is left.
    """

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self.cores = 0.0
        self.used: list[float] = []

    def __enter__(self) -> Others:
        self._begin, self._busy = time.monotonic(), busy()
        self._before = [cpu(pid) for pid in self._pids]
        return self

    def __exit__(self, *_: object) -> None:
        seconds = time.monotonic() - self._begin
        self.used = [cpu(pid) - before for pid, before in zip(self._pids, self._before, strict=True)]
        self.cores = max(0.0, (busy() - self._busy - sum(self.used)) / seconds)
