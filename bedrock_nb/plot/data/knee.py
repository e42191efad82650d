"""Where a curve over load bends: pure arithmetic on a few points.

Strategy: a service with a fixed capacity answers as fast for few users as for one, until its places are
taken; from there on each further user makes all wait longer. By the laws of operational analysis the
throughput of N users is at most min(N/(R + Z), 1/D), so that both lines cross at the knee N* = (R + Z)/D
(Denning and Buzen, "The operational analysis of queueing network models", ACM Computing Surveys 10, 1978; R:
response time of one user alone, Z: time to think, D: time at the busiest part). So a level line and a sloping
one that meet are fitted to the points: level first for latency, level last for throughput. Of a pace that
falls, 1/y is fitted: the time that it stands for.

The fit is exact: for each way to part the points, the best join is where the lines of both parts cross, or at
an end of the gap between them (Hudson, "Fitting segmented curves whose join points have to be estimated",
Journal of the American Statistical Association 61, 1966). Errors are relative to the values where all are
positive, because noise of latency grows with it.

A knee is reported only if it is clear, see `knee`: of two bent lines one always fits a little better than a
straight line, and a smooth curve has no knee.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST", "Knee", "knee"]

#: Levels below which no knee is looked for: two on each side.
FEWEST = 4
#: Chance that a straight line with noise shows a bend as clear as this. Found by simulation, see the tests.
_CLEAR = 0.01
#: Root mean square of the relative errors of the bent line: beyond it the points follow no such line.
_MOST_ERROR = 0.15
#: Of y along the sloping line, as a fraction: a bend that changes less is of no use to anybody.
_LEAST_CHANGE = 0.1

_Array = NDArray[np.float64]


class Knee(NamedTuple):
    """Where a curve bends.

    Attributes
    ----------
    x, y : float
        The join of the two lines.
    slope : float
        Of the line that is not level, units of y for one of x; of 1/y if ``inverse``.
    level : {"before", "after"}
        On which side of the knee the level line is.
    inverse : bool
        The lines are those of 1/y: a pace that falls with load, as the time that it stands for grows.
    note : str
        What that means, in a few words without units.
    """

    x: float
    y: float
    slope: float
    level: str
    inverse: bool
    note: str

    def at(self, x: Any) -> _Array:
        """The bent line at these x; NaN where it has no value."""
        beyond = np.asarray(x, dtype=np.float64) - self.x
        beyond = np.maximum(beyond, 0) if self.level == "before" else np.minimum(beyond, 0)
        if not self.inverse:
            return np.asarray(self.y + self.slope * beyond)
        height = 1 / self.y + self.slope * beyond
        return np.where(height > 0, 1 / np.where(height > 0, height, 1), np.nan)

    @property
    def proportional(self) -> bool:
        """Whether the sloping line goes through 0, within a fifth: twice the load, twice the y (or half)."""
        height = 1 / self.y if self.inverse else self.y
        return bool(height and abs(self.slope * self.x / height - 1) < 0.2)


@np.errstate(all="ignore")
def knee(x: Sequence[float] | _Array, y: Sequence[float] | _Array, *, clear: bool = True) -> Knee | None:
    """The knee of a curve: one level and one sloping line, if they clearly fit better than a straight one.

    Parameters
    ----------
    x : sequence of float
        Levels of load, each once, in any order.
    y : sequence of float
        What was seen at each: a median latency, or a throughput. Points with NaN are left out.
    clear : bool
        Whether the bent line must fit clearly better than a straight one, and well. Without that the best
        bend is given: of data drawn anew from some that have a clear knee.

    Returns
    -------
    Knee or None
        None for fewer than 4 levels, and for points that show no clear knee. The lines of a clear one fit
        within 15 % (root mean square of relative errors), and better than a straight line by an F-test at
        1 %, so strict because the join is searched for, which the test does not know; on the sloping one y
        changes by a tenth at least. On both sides there are at least two levels, the join itself included.

    Examples
    --------
    >>> found = knee([1, 2, 4, 8, 16, 32], [0.3, 0.3, 0.3, 0.3, 0.6, 1.2])
    >>> round(found.x, 3), round(found.y, 3)
    (8.0, 0.3)
    """
    px, py = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    there = np.isfinite(px) & np.isfinite(py)
    order = np.argsort(px[there], kind="stable")
    px, py = px[there][order], py[there][order]
    if len(px) < FEWEST or len(np.unique(px)) < len(px):
        return None
    positive = bool((py > 0).all())
    inverse = positive and bool(py[-1] < py[0])
    if inverse:
        py = 1 / py
    weight = 1 / py if positive else np.full(len(py), 1 / (np.abs(py).max() or 1.0))
    straight = _residual(px, py, weight)
    if straight <= len(px) * 1e-12:  # a straight line to the sixth figure: nothing is left to explain
        return None
    bent, join, height, slope = min(_bends(px, py, weight))
    level = "before"
    mirrored = min(_bends(-px[::-1], py[::-1], weight[::-1]))
    if mirrored[0] < bent:
        bent, join, height, slope = mirrored
        join, slope, level = -join, -slope, "after"
    if clear and ((bent / len(px)) ** 0.5 > _MOST_ERROR or not _clear(straight, bent, len(px))):
        return None
    far = px[-1] if level == "before" else px[0]
    if abs(slope * (far - join)) < _LEAST_CHANGE * abs(height):
        return None
    if level == "after" and slope <= 0:  # it fell, and falls no more: what bends so is no capacity
        return None
    way = "rises" if (slope > 0) != inverse else "falls"
    note = f"beyond it the curve {way}" if level == "before" else f"beyond it the curve {way} no more"
    return Knee(join, 1 / height if inverse else height, slope, level, inverse, note)


def _clear(straight: float, bent: float, n: int) -> bool:
    """Whether the third number of the bent line is worth it, by an F-test with 1 and n - 3 degrees."""
    from scipy import stats  # late: it is slow to import

    free = n - 3
    excess = (straight - bent) * free / max(bent, n * 1e-12)
    return bool(stats.f.sf(excess, 1, free) < _CLEAR)


def _bends(x: _Array, y: _Array, weight: _Array) -> Iterator[tuple[float, float, float, float]]:
    """Candidates for a level line followed by a sloping one: sum of squares, join, height, slope."""
    for first in range(
        2, len(x) - 1
    ):  # so many points are level; the join is between x[first-1] and x[first]
        low, high = float(x[first - 1]), float(x[first])
        joins = {low, high} if first < len(x) - 2 else {low}
        flat = float(np.average(y[:first], weights=weight[:first] ** 2))
        slope, start = _line(x[first:], y[first:], weight[first:])
        if slope and low < (cross := (flat - start) / slope) < high:
            joins.add(cross)
        for join in joins:
            ramp = np.maximum(0, x - join)
            slope, height = _line(ramp, y, weight)
            errors = weight * (y - height - slope * ramp)
            yield float(errors @ errors), join, height, slope


def _residual(x: _Array, y: _Array, weight: _Array) -> float:
    slope, start = _line(x, y, weight)
    errors = weight * (y - start - slope * x)
    return float(errors @ errors)


def _line(x: _Array, y: _Array, weight: _Array) -> tuple[float, float]:
    """Slope and start of the straight line with the least squares, each error times its weight."""
    w = weight**2
    middle_x, middle_y = np.average(x, weights=w), np.average(y, weights=w)
    spread = float(w @ (x - middle_x) ** 2)
    slope = float(w @ ((x - middle_x) * (y - middle_y))) / spread if spread else 0.0
    return slope, float(middle_y - slope * middle_x)
