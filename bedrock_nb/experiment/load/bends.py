"""The knee of a load test with an interval: how surely the measurement says where it bends.

Strategy: `plot.data.knee` finds the knee of the numbers of the stages. What they would have been in another
run of the same kind is drawn from this one: of a throughput the batches of each window are resampled, of a
latency the replies of each stage in blocks of neighbours, see `levels`. The interval is that of the best
bends of these draws, clear or not: that there is a knee is decided once, by what was measured.

By default the throughput is looked at. It bends at the capacity in both loops: with N users it is at most
min(N/(R + Z), 1/D), with a rate λ at most min(λ, 1/D) (R: time of a reply when nobody else asks, Z: time to
think, D: time for which a reply holds the busiest part, by how many of it there are). So the knee is at the
users N* = (R + Z)/D, or at the rate 1/D. A service with c places, each held for a whole reply, has D = R/c
and its knee at N* = c (R + Z)/R. Latency in the open loop has no knee: beyond the capacity it grows for as
long as one asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.load.levels import WIDE, Window, batches, resampled
from bedrock_nb.experiment.load.seconds import floats
from bedrock_nb.metrics.formulas import named

if TYPE_CHECKING:
    import pandas as pd

    from bedrock_nb.plot.data.knee import Knee

__all__ = ["THROUGHPUT", "Bend", "bend"]

#: The name of the throughput among the columns of the stages.
THROUGHPUT = "requests_per_s"
#: Draws; a knee takes some ms to find.
_DRAWS = 199
#: Share of the draws that must have a knee for an interval to be given.
_ENOUGH = 0.5


class Bend(NamedTuple):
    """A knee and how sure it is.

    Attributes
    ----------
    knee : Knee or None
        None where the curve shows no clear one.
    low, high : float or None
        95 % interval of its level.
    share : float
        Of the resampled runs, so many bend in the same way; below a half there is no interval.
    of : str
        What bends: ``"requests_per_s"``, or a metric.
    """

    knee: Knee | None
    low: float | None
    high: float | None
    share: float
    of: str

    def __str__(self) -> str:
        if self.knee is None:
            return f"no clear knee of {self.of}"
        if self.low is None or self.high is None:
            return f"knee at about {self.knee.x:.3g}"
        return f"knee at {self.knee.x:.3g} (95 % interval {self.low:.3g} to {self.high:.3g})"


def bend(table: pd.DataFrame, kept: Sequence[Window], of: str = THROUGHPUT, *, seed: int = 0) -> Bend:
    """Where a number bends over the levels of the stages.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per reply.
    kept : sequence of Window
        Of `levels.windows`. Of stages with one level the last counts.
    of : str
        ``"requests_per_s"``, or a metric, whose medians are looked at.
    seed : int
        Of the resampling.

    Raises
    ------
    RequestError
        There is no such metric.
    """
    from bedrock_nb.plot.data.knee import knee  # late: matplotlib

    stages = list({window.level: window for window in kept}.values())
    samples = [_sample(table, window, of) for window in stages]
    x = [window.level for window in stages]
    pick = np.mean if of == THROUGHPUT else np.median
    found = knee(x, [float(pick(values)) if len(values) else math.nan for values in samples])
    if found is None:
        return Bend(None, None, None, 0.0, of)
    chance = np.random.default_rng(seed)
    drawn = [
        resampled(values, pick, chance, _DRAWS) if len(values) else np.full(_DRAWS, np.nan)
        for values in samples
    ]
    bends = [knee(x, y, clear=False) for y in np.array(drawn).T]
    knees = [other.x for other in bends if other is not None and other.level == found.level]
    share = len(knees) / _DRAWS
    if share < _ENOUGH:
        return Bend(found, None, None, share, of)
    low, high = np.quantile(knees, WIDE)
    return Bend(found, float(low), float(high), share, of)


def _sample(table: pd.DataFrame, window: Window, of: str) -> NDArray[np.float64]:
    """What a stage's number is made of, in order of time."""
    complete = (table["status"] == "complete").to_numpy(dtype=bool)
    if of == THROUGHPUT:
        return batches(floats(table, "ended_s")[complete], window)
    metric = named(of)
    if metric is None:
        raise RequestError(
            f"There is no metric {of!r:.60}.", remedy=f"Give {THROUGHPUT!r}, or a metric such as 'ttft_s'."
        )
    late = f"{metric.name.removesuffix('_s')}_intended_s"
    values = floats(table, late if late in table.columns else metric.name)
    intended = floats(table, "intended_s")
    mine = complete & (intended >= window.begin) & (intended < window.end) & np.isfinite(values)
    order = np.argsort(intended[mine], kind="stable")
    return values[mine][order]
