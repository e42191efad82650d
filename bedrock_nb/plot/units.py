"""Numbers of a column in words: with the unit in which a reader takes them in best.

Strategy: data stay in the unit of their column; only ticks and words are scaled: short times are written in
ms. A column that is no metric is shown by its name, and the end of the name is its unit, as in `compare`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axis import Axis
from matplotlib.ticker import Formatter, FuncFormatter
from numpy.typing import NDArray

from bedrock_nb.compare.measuring import unit_of
from bedrock_nb.metrics import METRICS
from bedrock_nb.plot.canvas import duration, short, tick

__all__ = ["Quantity", "quantity"]

#: Columns of the tables of events and of load tests that are no metric of a reply: words and unit.
_OTHERS = {
    "gap_s": ("gap between content deltas", "s"),
    "ttft_intended_s": ("TTFT from the intended start", "s"),
    "e2e_intended_s": ("whole time from the intended start", "s"),
}
#: Metrics whose short words, in a table clear from the columns beside them, say too little on an axis.
_LONGER = {"total_input_tokens": "input tokens, cached ones included"}
#: Units of time, in seconds.
_SECONDS = {"s": 1.0, "ms": 0.001, "s/token": 1.0}
#: Ends of names that are units. An axis has its unit in brackets, maybe another one: the words go without.
_ENDS = ("_s", "_ms", "_tps")


class Quantity(NamedTuple):
    """What a column holds: its words, the unit of its ticks, and the factor from the column's own unit."""

    words: str
    unit: str
    factor: float = 1.0
    seconds: float = 0.0  # in one of the column's own unit; 0 if it is no time

    @property
    def label(self) -> str:
        """What stands on an axis: ``time to first token [ms]``."""
        return f"{self.words} [{self.unit}]" if self.unit and self.unit != "token" else self.words

    @property
    def title(self) -> str:
        """The words at the head of a line."""
        return self.words[:1].upper() + self.words[1:]

    def say(self, value: float, *, signed: bool = False) -> str:
        """A value with its unit: ``350 ms``, ``12 tokens``; with its sign if it is a difference."""
        sign, size = ("-" if value < 0 else "+" if signed else ""), abs(value)
        unit, per, of = self.unit.partition("/")
        if self.seconds:
            return f"{sign}{duration(size * self.seconds)}{per}{of}"
        rounded = tick(float(f"{size:.4g}" if self.unit in ("token", "count") else f"{size:.3g}"))
        noun = {"token": "token" if rounded == "1" else "tokens", "count": ""}.get(unit, unit)
        return f"{sign}{rounded} {noun}{per}{of}".rstrip()

    def formatter(self) -> Formatter:
        """For an axis that shows the column: numbers without unit."""
        return FuncFormatter(lambda value, _: tick(value * self.factor))

    def on(self, axis: Axis) -> None:
        """Label an axis and its ticks."""
        axis.set_label_text(self.label, parse_math=False)
        axis.set_major_formatter(self.formatter())


def _short(seconds: NDArray[np.float64]) -> bool:
    """Whether times read better in ms: all of them below 1 s, or most below 0.1 s and none above 10."""
    longest = float(seconds.max())
    return longest < 1 or (longest < 10 and float(np.median(seconds)) < 0.1)


def _by_its_name(name: str) -> tuple[str, str]:
    """Words and unit of a column that is no metric."""
    unit = unit_of(name)
    if name.endswith(_ENDS) and unit in (*_SECONDS, "token/s"):
        return short(name.rpartition("_")[0] or name), unit
    return short(name), unit if unit == "token" else ""


def quantity(name: str, values: NDArray[Any] | None = None) -> Quantity:
    """How to write a column: with ms in place of s if its values are short.

    Parameters
    ----------
    name : str
        Of the column.
    values : array of float, optional
        What will be shown; NaN and infinite ones do not count.
    """
    metric = METRICS.get(name)
    words, unit = (metric.label, metric.unit) if metric else _OTHERS.get(name) or _by_its_name(name)
    words = _LONGER.get(name, words)
    if unit == "token" and "tokens" not in words:
        words = f"{words} tokens"
    seconds = _SECONDS.get(unit, 0.0)
    finite = np.asarray(values if values is not None else [], dtype=np.float64)
    finite = np.abs(finite[np.isfinite(finite)])
    if seconds == 1 and len(finite) and _short(finite):
        return Quantity(words, f"m{unit}", 1000.0, seconds)
    return Quantity(words, unit, 1.0, seconds)
