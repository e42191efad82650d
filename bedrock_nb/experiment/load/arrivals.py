"""When requests start: the schedule of a load test, drawn before anything is sent. Pure arithmetic.

Strategy: a load over time is a row of stages, each level or a straight ramp. In the open loop the level is a
rate, and its integral over time says how many starts are expected by then. Starts are drawn on that scale,
where the rate is 1, and carried back to time by the inverse: unit steps for fixed arrivals, exponential ones
for a Poisson process, which so follows ramps exactly (Çinlar, "Introduction to Stochastic Processes", 1975,
chapter 4.7). In the closed loop the level is a number of users, and each user has the shifts in which the
level has room for it.

Several workers share a schedule without a word between them: each draws all of it and keeps its part. Who
gets a start of a Poisson process is drawn as well, for then each part is a Poisson process of its own, and
independent of the others (Kingman, "Poisson Processes", 1993, the colouring theorem).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from random import Random
from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Arrivals", "Stage", "Start", "shifts", "stage_at", "starts"]

#: How starts follow each other in the open loop.
Arrivals: TypeAlias = Literal["poisson", "fixed"]


@dataclass(frozen=True)
class Stage:
    """A part of a load test with one level, or a straight ramp from one level to another.

    Parameters
    ----------
    number : int
        From 1.
    begin, end : float
        Seconds since the run began; the end of the last may be ``inf``, if its level is constant.
    first, last : float
        Level at its begin and at its end: users, or starts a second.
    """

    number: int
    begin: float
    end: float
    first: float
    last: float

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return self.end - self.begin

    @property
    def level(self) -> float:
        """Its level; of a ramp the mean."""
        return (self.first + self.last) / 2

    def at(self, t: float) -> float:
        """The level at a time, seconds since the run began."""
        if self.first == self.last:
            return self.first
        share = min(1.0, max(0.0, (t - self.begin) / self.seconds))
        return self.first + (self.last - self.first) * share

    @property
    def area(self) -> float:
        """Level by seconds: of rates, how many starts are expected."""
        return self.level * self.seconds if self.level else 0.0

    def when(self, area: float) -> float:
        """The time by which the stage has this area: the inverse of its integral.

        Of ``a t + (b - a) t² / 2d`` the root that is wanted is ``2 area / (a + √(a² + 2 (b - a) area / d))``,
        in a form that does not subtract what is nearly equal.
        """
        if area <= 0:
            return self.begin
        if self.first == self.last:
            return self.begin + area / self.first
        slope = (self.last - self.first) / self.seconds
        root = math.sqrt(max(0.0, self.first**2 + 2 * slope * area))
        return min(self.end, self.begin + 2 * area / (self.first + root))


class Start(NamedTuple):
    """One start of the open loop: its number from 0, its intended time in seconds, its stage, the level."""

    number: int
    t: float
    stage: int
    level: float


def starts(
    stages: Sequence[Stage],
    arrivals: Arrivals = "poisson",
    seed: int = 0,
    *,
    most: int | None = None,
    part: int = 0,
    of: int = 1,
) -> Iterator[Start]:
    """The starts of an open loop, in order, made as they are asked for.

    Parameters
    ----------
    stages : sequence of Stage
        Their levels are starts a second.
    arrivals : {"poisson", "fixed"}
        Whether starts come by chance, as those of many users who know nothing of each other, or evenly.
    seed : int
        The same seed gives the same starts, however many share them.
    most : int, optional
        No more than so many, of all parts together.
    part, of : int
        Which part of the starts is wanted, of how many: each start is in exactly one.

    Yields
    ------
    Start
    """
    chance = Random(f"starts {seed}")
    deal = Random(f"deal {seed}")
    steps = count() if arrivals == "fixed" else _summed(chance)
    for start in islice(_placed(stages, steps), most):
        owner = start.number % of if arrivals == "fixed" or of == 1 else deal.randrange(of)
        if owner == part:
            yield start


def _summed(chance: Random) -> Iterator[float]:
    """The points of a Poisson process of rate 1."""
    at = 0.0
    while True:
        at += chance.expovariate(1.0)
        yield at


def _placed(stages: Sequence[Stage], points: Iterator[float]) -> Iterator[Start]:
    """Points on the scale of expected starts, carried to the times of the stages."""
    before, left = 0.0, iter(stages)
    stage = next(left, None)
    for number, point in enumerate(points):
        while stage is not None and point - before >= stage.area:
            before += stage.area
            stage = next(left, None)
        if stage is None:
            return
        t = stage.when(point - before)
        yield Start(number, t, stage.number, stage.at(t))


def shifts(stages: Sequence[Stage], user: int) -> list[tuple[float, float]]:
    """When one user of a closed loop is at work.

    Parameters
    ----------
    stages : sequence of Stage
        Their levels are numbers of users.
    user : int
        From 0. The user is at work while the level is at least ``user + 1``.

    Returns
    -------
    list of (float, float)
        Begin and end, seconds since the run began, in order; neighbours are joined.
    """
    found: list[tuple[float, float]] = []
    for stage in stages:
        begin, end = _within(stage, user + 1)
        if begin > end or (begin == end and stage.seconds):
            continue
        if found and found[-1][1] == begin:
            begin = found.pop()[0]
        found.append((begin, end))
    return found


def _within(stage: Stage, level: float) -> tuple[float, float]:
    """The part of a stage in which its level is at least this; where there is none its end comes first."""
    low, high = sorted((stage.first, stage.last))
    if low >= level:
        return stage.begin, stage.end
    if high < level:
        return math.inf, -math.inf
    crossed = stage.begin + stage.seconds * (level - stage.first) / (stage.last - stage.first)
    return (crossed, stage.end) if stage.last > stage.first else (stage.begin, crossed)


def stage_at(stages: Sequence[Stage], t: float) -> Stage:
    """The stage in which a time is; the last one for all that is later."""
    return next((stage for stage in stages if t < stage.end), stages[-1])
