"""CPU time of ``import bedrock_nb`` in a fresh process, beyond that of a bare interpreter.

    python benchmarks/imports.py [--rounds 20]

User and system time of whole processes, as the operating system counts it; rounds alternate; medians. The
rows below the first say what it costs to use a public name for the first time, and what that is made of.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

GOAL = 60
ROOT = Path(__file__).parent.parent
CODE = {
    "import bedrock_nb": "import bedrock_nb",
    "first use of Request": "import bedrock_nb; bedrock_nb.Request",
    "first use of stream": "import bedrock_nb; bedrock_nb.stream",
    "first use of summary": "import bedrock_nb; bedrock_nb.summary",
    "import boto3": "import boto3",
    "import pandas": "import pandas",
}


def cpu(code: str) -> float:
    """User and system milliseconds of a Python process that runs this."""
    child = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, code
    return (used.ru_utime + used.ru_stime) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    taken: dict[str, list[float]] = {name: [] for name in ("", *CODE)}
    for code in CODE.values():
        cpu(code)  # compiles to .pyc what nobody has imported before
    for _ in range(options.rounds):
        for name, values in taken.items():
            values.append(cpu(CODE.get(name, "pass")))
    bare, *rest = (statistics.median(values) for values in taken.values())
    print(f"median of {options.rounds} rounds; the bare interpreter takes {bare:.1f} ms of CPU")
    for name, ms in zip(CODE, rest, strict=True):
        print(f"  {name:22} {ms - bare:6.1f} ms more")
    print(f"  goal for import bedrock_nb: at most {GOAL} ms more")


if __name__ == "__main__":
    main()
