"""Replies by their load: what can be said of each level, and where the medians bend. Nothing here draws.

Strategy: rows with the same x are one level. A load that was measured and not set has as many values as
replies; then neighbours are put together in groups of equal size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bedrock_nb.plot.canvas import Style, short, style
from bedrock_nb.plot.conditions import MOST_DRAWN, Condition
from bedrock_nb.plot.data.knee import FEWEST, Knee, knee
from bedrock_nb.plot.naming import lacking
from bedrock_nb.stats import interval, percentile

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_DOTS", "TAIL", "Curve", "Level", "curve_of", "heights", "level_notes", "told"]

#: Percentiles of the tail.
TAIL = (0.9, 0.99)
#: Replies that are drawn as dots; beyond it they are a blot.
MOST_DOTS = 4000
#: Levels that are looked at as they are; of more, neighbours are put together into so many groups.
_MOST_LEVELS, _GROUPS = 30, 12


class Level(NamedTuple):
    """The replies at one x: how many have the number, their median with its interval, and the tail."""

    x: float
    n: int
    median: float
    low: float | None
    high: float | None
    tail: tuple[tuple[float, float | None, str], ...]


class Curve(NamedTuple):
    """One condition: its dots, its levels, and its knee if it has one."""

    name: str
    style: Style
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    levels: list[Level]
    knee: Knee | None


def curve_of(number: int, part: Condition, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> Curve:
    """The replies of one condition that have both numbers, by level."""
    both = ~(np.isnan(xs) | np.isnan(ys))
    mine = part.rows[both[part.rows]]
    x, y = xs[mine], ys[mine]
    at = np.unique(x)
    if len(at) > _MOST_LEVELS:  # a load that was measured and not set: groups of equally many replies
        x = _grouped(x)
        at = np.unique(x)
    levels = [_level(float(level), y[x == level]) for level in at]
    found = knee([level.x for level in levels], [level.median for level in levels])
    return Curve(part.name, style(number), xs[mine], y, levels, found)


def _grouped(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value replaced by the median of its group of neighbours."""
    cuts = np.unique(np.quantile(x, np.linspace(0, 1, _GROUPS + 1)))
    group = np.clip(np.searchsorted(cuts, x, side="right") - 1, 0, len(cuts) - 2)
    middle = {g: float(np.median(x[group == g])) for g in np.unique(group)}
    return np.array([middle[g] for g in group])


def _level(x: float, values: NDArray[np.float64]) -> Level:
    around = interval(values, "median")
    tail = []
    for p in TAIL:
        found = percentile(values, p)
        tail.append((p, found.value, found.trust))
    return Level(x, len(values), float(np.median(values)), around.low, around.high, tuple(tail))


def heights(curve: Curve) -> Iterator[float]:
    """Every y there is."""
    yield from curve.y
    yield from told(curve)


def told(curve: Curve) -> Iterator[float]:
    """What is said of the levels: medians, their intervals, and the tail."""
    for level in curve.levels:
        said = (level.median, level.low, level.high, *(value for _, value, _ in level.tail))
        yield from (value for value in said if value is not None)


def level_notes(
    table: pd.DataFrame,
    parts: Sequence[Condition],
    curves: Sequence[Curve],
    xs: NDArray[np.float64],
    ys: NDArray[np.float64],
    x: str,
    y: str,
) -> Iterator[str]:
    """What there is at each level, what is missing, and why there is no knee."""
    sizes = sorted({level.n for curve in curves for level in curve.levels})
    each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    stages = sizes == [1] and "status" not in table.columns  # a row is a level, with numbers of its own
    said = [f"{each} {'reply' if sizes == [1] else 'replies'} at each level"]
    if stages:
        said = ["A number for each level"]
    if len(curves) == 1:
        levels = curves[0].levels
        if len(levels) < FEWEST:
            said.append(f"no knee is looked for: it takes {FEWEST} levels, here {_are(len(levels))}")
        elif curves[0].knee is None:
            said.append("no clear knee in this range")
        said += [] if stages else _refused(levels)
    elif not any(curve.knee for curve in curves):
        said.append("no clear knee of any curve")
    yield "; ".join(said) + "."
    if lost := lacking(table, ys, y):
        yield f"{lost}."
    if lost := lacking(table, xs, x):
        yield f"{lost}."
    if len(parts) > MOST_DRAWN:
        yield f"The first {MOST_DRAWN} of {len(parts)} conditions are drawn."
    if any(len(np.unique(curve.x)) > _MOST_LEVELS for curve in curves):
        yield f"Levels are groups of neighbours: there are too many different values of {short(x)}."
    if sum(len(curve.y) for curve in curves) > MOST_DOTS:
        yield f"Dots: {MOST_DOTS:,} replies, drawn by lot."


def _are(n: int) -> str:
    return "is 1" if n == 1 else f"are {n}"


def _refused(levels: Sequence[Level]) -> Iterator[str]:
    """Which percentiles cannot be had, and which are rough."""
    for k, p in enumerate(TAIL):
        no = sum(level.tail[k][2] == "no" for level in levels)
        if no:
            where = "at any level" if no == len(levels) else f"at {no} of {len(levels)} levels"
            yield f"no p{p * 100:g} {where}: it takes {round(1 / (1 - p))} replies"
            break
    if any(trust == "weak" for level in levels for _, _, trust in level.tail):
        yield "hollow: a percentile of fewer than 5/(1-p) replies"
