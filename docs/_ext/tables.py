"""Tables that the code has already, as Markdown: metrics and their symbols, faults, the latency law.

Strategy: a function for each, which reads the code's own table, signatures and docstrings; `table` lays rows
out. Nothing is said here that the code does not say.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields

from bedrock_nb.metrics import METRICS
from bedrock_nb.metrics.metric import SYMBOLS
from bedrock_nb.server import Latency
from bedrock_nb.server.faults import FAULTS


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; what would end a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.replace('|', chr(92) + '|').split()) for cell in line)} |"
        for line in lines
    )


def metrics(_: str = "") -> str:
    """Every number that `metrics.measure` gives of a reply."""
    rows = ((f"`{m.name}`", m.unit, f"`{m.formula}`", m.meaning, m.better or "–") for m in METRICS.values())
    return table(("name", "unit", "formula", "meaning", "better is"), rows)


def symbols(_: str = "") -> str:
    """What the letters in the formulas stand for."""
    return table(("symbol", "stands for"), ((f"`{name}`", meaning) for name, meaning in SYMBOLS.items()))


def faults(_: str = "") -> str:
    """Every fault of the embedded server: how it is called, in code and on the command line."""
    rows = []
    for name, make in sorted(FAULTS.items()):
        taken = ", ".join(
            str(p.replace(annotation=inspect.Parameter.empty))
            for p in inspect.signature(make).parameters.values()
        )
        rows.append((f"`faults.{name}({taken})`", (inspect.getdoc(make) or "").partition("\n")[0]))
    return table(("fault", "what it does"), rows)


def latency(_: str = "") -> str:
    """Every number of the latency law, as the docstring has it, with its default."""
    section = (
        (inspect.getdoc(Latency) or "").partition("Parameters\n----------\n")[2].partition("\n\nRaises")[0]
    )
    told: dict[str, str] = {}
    for found in re.finditer(r"^(\w[\w, ]*) : .*\n((?: {4}.*\n?)+)", section, re.MULTILINE):
        for name in found[1].split(", "):
            told[name] = found[2]
    defaults = {field.name: field.default for field in fields(Latency)}
    rows = ((f"`{name}`", f"`{default!r}`", told[name]) for name, default in defaults.items())
    return table(("number", "default", "meaning"), rows)
