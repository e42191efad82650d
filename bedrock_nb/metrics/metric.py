"""What a metric is: a number about a reply, and all that there is to say of it.

Strategy: a frozen row of facts. The rows themselves are in `formulas`, their names elsewhere in `names`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from bedrock_nb.metrics.moments import Facts
from bedrock_nb.metrics.names import TOOLS

__all__ = ["SYMBOLS", "Metric"]

#: What the letters in formulas stand for: moments in seconds since the request, then counts.
SYMBOLS: Mapping[str, str] = {
    "t0": "the request, always 0",
    "h": "response headers",
    "e1": "first event",
    "c1": "first content delta of any kind",
    "c2": "the second",
    "v1": "first visible text",
    "cN": "last content delta",
    "m": "metadata event",
    "K": "content deltas",
    "N": "output tokens",
}


@dataclass(frozen=True)
class Metric:
    """One number about a reply: what it is, how it is made, what others call it.

    Attributes
    ----------
    name, label, unit : str
        The column; words for an axis, without the unit; the unit.
    formula, meaning : str
        In `SYMBOLS`; in words.
    uses : tuple of str
        The marks, events and counts that it is made of.
    better : {"less", "more", ""}
        What a reader would rather have; empty where that cannot be said.
    known_as : mapping of str to str
        Tool -> its names for it, then in parentheses what differs. Tools without such a number are left out.
    """

    name: str
    label: str
    unit: str
    formula: str
    meaning: str
    compute: Callable[[Facts], float | int | None] = field(repr=False)
    uses: tuple[str, ...]
    better: Literal["less", "more", ""] = ""
    known_as: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"{self.name} [{self.unit}] = {self.formula}", self.meaning]
        lines += [f"on axes: {self.label}", f"made of: {', '.join(self.uses)}"]
        lines += [f"{tool}: {name}" for tool, name in self.known_as.items()]
        none = [tool for tool in TOOLS if tool not in self.known_as]
        if none:
            lines.append(f"no such number: {', '.join(none)}")
        return "\n    ".join(lines)
