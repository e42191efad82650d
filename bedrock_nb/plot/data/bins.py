"""Values -> a few bins with round edges, or the values themselves where they are few. Nothing here draws.

Strategy: edges are numbers that a reader would choose: 1, 2, 5 and their tens over several decades (1, 10,
100 over many), even steps of 1, 2, 2.5 or 5 otherwise. Each bin has its lower edge and not its upper one; the
last has both. Text, and few numbers that are well apart, need no bins: each stands for itself. Numbers in
narrow groups far from each other, such as lengths of a few prompts, have a bin for each group: round edges
would cut through groups, and leave empty rows between them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bedrock_nb.plot.canvas import tick
from bedrock_nb.plot.conditions import Condition, conditions, distinct, is_missing, is_number

__all__ = ["Bins", "binned", "edges_for"]

#: Largest by smallest value beyond which bins grow.
_WIDE = 30.0
#: A positive value below it, and one above its inverse, is near the end of what floats hold.
_LEAST = 1e-100
#: Neighbours are well apart if they differ by more than this share of the larger one, and a group of numbers
#: is narrow if its ends do not differ by more than that.
_APART, _NARROW = 0.2, 0.3


class Bins(NamedTuple):
    """Names of bins in their order, the bin of each value (-1: it has none), the edges if they have any."""

    names: list[str]
    of: NDArray[np.intp]
    edges: NDArray[np.float64] | None
    numeric: bool

    def reversed(self) -> Bins:
        """The same bins, the last one first."""
        of = np.where(self.of < 0, -1, len(self.names) - 1 - self.of)
        return self._replace(names=self.names[::-1], of=of)


def binned(values: Sequence[Any], most: int, edges: Sequence[float] | None = None) -> Bins:
    """Bins for a column.

    Parameters
    ----------
    values : sequence
        Numbers, or anything else; None and NaN have no bin.
    most : int
        Bins at most. Text may have more: the rest of it shares the last bin.
    edges : sequence of float, optional
        Rising; values outside have no bin.
    """
    parts = conditions(pd.DataFrame({"value": pd.Series(list(values), dtype="object")}), "value")
    keys = [part.values[0] for part in parts if not is_missing(part.values[0])]
    numeric = all(is_number(key) for key in keys)
    if edges is None:
        if not numeric or (len(keys) <= most and _well_apart(keys)):
            return _themselves(parts, keys, numeric, most)
        if grouped := _groups(parts, keys, most):
            return grouped
    there = np.array([float(v) if is_number(v) and math.isfinite(v) else math.nan for v in values])
    cuts = edges_for(there, most) if edges is None else np.asarray(edges, dtype=np.float64)
    of = np.searchsorted(cuts, there, side="right") - 1
    of[there == cuts[-1]] = len(cuts) - 2
    of[~((there >= cuts[0]) & (there <= cuts[-1]))] = -1  # NaN is neither
    return Bins(_ranges(pairwise(cuts)), of, cuts, True)


def edges_for(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Round edges round all finite values: at most so many bins, in steps that grow if values span widely."""
    finite = values[np.isfinite(values)]
    low, high = float(finite.min()), float(finite.max())
    if low > _LEAST and high < 1 / _LEAST and high / low > _WIDE:
        for steps in ((1, 2, 5), (1, 3), (1,)):
            cuts = _decades(low, high, steps)
            if len(cuts) - 1 <= most:
                return cuts
        between = np.geomspace(cuts[0], cuts[-1], most + 1)[1:-1]
        return np.array([cuts[0], *between, cuts[-1]])
    for fewer in range(most, 0, -1):
        cuts = np.asarray(MaxNLocator(fewer, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
        cuts = _around(cuts, low, high)
        if 2 <= len(cuts) <= most + 1 and cuts[0] <= low and high <= cuts[-1]:
            return cuts
    return np.array([low, high])  # so close together, or so far apart, that no round numbers are about them


def _decades(low: float, high: float, steps: Sequence[int]) -> NDArray[np.float64]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    cuts = np.array([step * 10.0**power for power in range(first - 1, last + 2) for step in steps])
    return _around(cuts, low, high)


def _around(cuts: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Those of the cuts that are needed for what lies between two values."""
    begin = max(0, int(np.searchsorted(cuts, low, side="right")) - 1)
    return cuts[begin : int(np.searchsorted(cuts, high)) + 1]


def _ranges(ends: Iterable[tuple[float, float]]) -> list[str]:
    """``6–7``, or ``426`` where both ends are one."""
    ends = list(ends)
    least = 1e3 if max(abs(end) for pair in ends for end in pair) >= 1e4 else 1e4  # 1k–10k, not 1,000–10k
    said = [(tick(low, least), tick(high, least)) for low, high in ends]
    return [low if low == high else f"{low}–{high}" for low, high in said]


def _far(a: float, b: float, share: float) -> bool:
    """Whether two numbers differ by more than a share of the larger one."""
    return b - a > share * max(abs(a), abs(b))


def _well_apart(keys: Sequence[Any]) -> bool:
    """Whether rising numbers are levels that somebody chose: far from each other, or in even steps."""
    values = [float(key) for key in keys]
    if not all(map(math.isfinite, values)):
        return True  # they have no distance
    steps = [b - a for a, b in pairwise(values)]
    return all(_far(a, b, _APART) for a, b in pairwise(values)) or bool(np.allclose(steps, steps[0], atol=0))


def _groups(parts: Sequence[Condition], keys: Sequence[Any], most: int) -> Bins | None:
    """A bin for each narrow group of rising numbers; None if they do not make a few of such groups."""
    values = [float(key) for key in keys]
    if not all(map(math.isfinite, values)):
        return None
    places = [0, *np.cumsum([_far(a, b, _APART) for a, b in pairwise(values)])]
    first = [places.index(group) for group in range(places[-1] + 1)]
    ends = [(values[i], values[j - 1]) for i, j in pairwise([*first, len(values)])]
    if not 2 <= len(ends) <= most or any(_far(low, high, _NARROW) for low, high in ends):
        return None
    of = np.full(sum(len(part.rows) for part in parts), -1, dtype=np.intp)
    for place, part in zip(places, (part for part in parts if not is_missing(part.values[0])), strict=True):
        of[part.rows] = place
    return Bins(_ranges(ends), of, None, True)


def _themselves(parts: Sequence[Condition], keys: list[Any], numeric: bool, most: int) -> Bins:
    """A bin for each different value; of too many, the last ones share one."""
    of = np.full(sum(len(part.rows) for part in parts), -1, dtype=np.intp)
    for place, part in enumerate(part for part in parts if not is_missing(part.values[0])):
        of[part.rows] = place
    names = [tick(float(key)) for key in keys] if numeric else distinct(keys, 20)
    if len(set(names)) < len(names):
        names = distinct(keys, 20)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
        of = np.minimum(of, most - 1)
    return Bins(names, of, None, numeric)
