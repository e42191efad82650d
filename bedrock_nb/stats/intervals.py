"""What a sample says about the statistic of all that it was taken from: an interval, by the bootstrap.

Strategy: scipy's BCa (bias-corrected and accelerated) bootstrap; where it has no answer, because too many
values are equal, the percentile method takes its place, and the result says so. A bootstrap cannot look
beyond the values that it has, so intervals from few values come out too narrow. Two things are done about
that: the interval of a mean is made wider by what Hesterberg (2015, "What Teachers Should Know About the
Bootstrap", section 4.2) gives, and an interval of a percentile that cannot reach its confidence says so.

In simulations (normal and log-normal samples) the 95 % interval of the median held the truth in 93 to 95 of
100 samples of 10 to 50 values, that of the mean in 93 to 96, that of the 90th percentile in 62 of 100 from 10
values, 86 from 20 and 93 from 30: near to the most that any interval between values seen can reach.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from bedrock_nb.errors import RequestError
from bedrock_nb.stats.values import (
    Array,
    Measure,
    Statistic,
    constant,
    level_of,
    measure_of,
    numbers,
    percentile,
)

__all__ = ["RESAMPLES", "Interval", "bounds", "confident", "finite", "interval", "refusal", "work"]

#: Resamples of a bootstrap: from seed to seed, bounds then mostly move by less than 2 % of the width.
RESAMPLES = 4999
_FEWEST, _AT_ONCE, _IN_ALL = 999, 2_000_000, 50_000_000
#: BCa leaves out each value in turn, which takes minutes of 100,000 values and then changes nothing.
_BCA_UP_TO = 2000
_METHODS = {"BCa": "BCa", "bca": "BCa", "percentile": "percentile"}


class Interval(NamedTuple):
    """A statistic with an interval for what it is a sample of; the bounds are None where there can be none.

    Attributes
    ----------
    estimate, low, high : float or None
        In the unit of the values.
    n, missing : int
        How many numbers it is made of, and how many were None or NaN.
    method : str
        ``"BCa"``, ``"percentile"``, or empty where there are no bounds.
    note : str
        What a reader has to know besides; empty if nothing.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    note: str
    missing: int


def confident(confidence: float) -> float:
    """The confidence as it was given, if it is one."""
    if not (isinstance(confidence, int | float) and 0 < confidence < 1):
        raise RequestError(
            f"confidence is {confidence!r}; a number between 0 and 1 is wanted.",
            remedy="0.95 is a 95 % interval.",
        )
    return confidence


def finite(value: Any) -> float | None:
    """A number, or None in place of NaN and infinity."""
    number = float(value)
    return number if math.isfinite(number) else None


def refusal(statistic: Statistic, n: int) -> str:
    """Why a percentile is not given from so many values; empty if it is. The median always is."""
    level = level_of(statistic)
    if level is None or statistic == "median" or percentile([0.0] * n, level).trust != "no":
        return ""
    return f"{statistic} wants at least {math.ceil(1 / min(level, 1 - level) - 1e-9)} values"


def work(n: int, asked: int) -> tuple[int, int]:
    """How many resamples of n values to make, and how many at once: large samples need fewer."""
    if not (isinstance(asked, int) and asked > 0):
        raise RequestError(
            f"resamples is {asked!r}; a whole number above 0 is wanted.", remedy=f"{RESAMPLES} is usual."
        )
    return min(asked, max(_FEWEST, _IN_ALL // max(n, 1))), max(1, _AT_ONCE // max(n, 1))


def bounds(
    samples: tuple[Array, ...],
    measure: Measure,
    *,
    confidence: float,
    method: str,
    resamples: int,
    seed: int,
    widen: bool = False,
) -> tuple[float | None, float | None, str]:
    """The bootstrap interval of a measure of one or more independent samples, and by which method.

    Parameters
    ----------
    samples : tuple of arrays
        Of two values or more each; not all of them constant.
    measure : callable
        ``measure(*samples, axis=-1)``.
    widen : bool
        Give the resampled means of a small sample the spread that a sample's own mean has.
    """
    from scipy import special, stats

    if method not in _METHODS:
        raise RequestError(f"There is no method {method!r}.", remedy='Give "BCa" or "percentile".')
    fewest = min(map(len, samples))
    if widen:
        reach = special.stdtrit(fewest - 1, (1 - confidence) / 2) * math.sqrt(fewest / (fewest - 1))
        confidence = 1 - 2 * float(special.ndtr(reach))
    several, at_once = work(sum(map(len, samples)), resamples)
    common: dict[str, Any] = {"vectorized": True, "confidence_level": confidence, "batch": at_once}
    made = _METHODS[method] if max(map(len, samples)) <= _BCA_UP_TO else "percentile"
    chance = np.random.default_rng(seed)
    # Where BCa has no answer scipy warns, and numpy of the division behind it; both are dealt with here.
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        done = stats.bootstrap(samples, measure, n_resamples=several, method=made, rng=chance, **common)
        # An estimate outside of its own interval is BCa led astray by many equal values, too.
        low, high = done.confidence_interval
        if not low <= float(measure(*samples)) <= high and made == "BCa":
            made = "percentile"
            done = stats.bootstrap(
                samples, measure, n_resamples=0, method=made, bootstrap_result=done, **common
            )
            low, high = done.confidence_interval
    ends = finite(low), finite(high)
    return (*ends, made) if None not in ends else (None, None, "")


def _reach(statistic: Statistic, n: int, confidence: float) -> str:
    """Whether even the whole range of n values is too short an interval for a percentile."""
    level = level_of(statistic)
    if level is None:
        return ""
    most = 1 - level**n - (1 - level) ** n
    if most >= confidence:
        return ""
    return (
        f"of {n} values even the lowest and the highest hold the {statistic} in only {100 * most:.0f} % of "
        f"samples: this interval is too narrow"
    )


@np.errstate(all="ignore")
def interval(
    values: Any,
    statistic: Statistic = "median",
    *,
    confidence: float = 0.95,
    method: str = "BCa",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """A statistic of a sample, with a bootstrap interval for that of everything it was taken from.

    Parameters
    ----------
    values : sequence of numbers
        None and NaN are left out and counted.
    statistic : str or callable
        ``"median"``, ``"mean"``, a percentile such as ``"p90"`` (refused where `percentile` refuses it), or
        a function of an array.
    confidence : float
        Between 0 and 1. Of many such intervals, that share holds the truth, if the values are independent.
    method : {"BCa", "percentile"}
        Of more than 2,000 values the percentile method is taken in any case; both agree there.
    resamples : int
        Fewer are made of very many values, where it makes no difference.
    seed : int
        The same seed gives the same bounds.

    Returns
    -------
    Interval
        Without bounds where there are fewer than two values, or all are equal.

    Raises
    ------
    RequestError
        An argument cannot work.
    """
    kept, missing = numbers(values)
    measure, n = measure_of(statistic), len(kept)
    confident(confidence)
    why = refusal(statistic, n) if n else "no values"
    if why:
        return Interval(None, None, None, n, "", why, missing)
    estimate = finite(measure(kept))
    if n < 2 or constant(kept):
        why = "one value has no interval" if n < 2 else f"all {n} values are equal: no spread, no interval"
        return Interval(estimate, None, None, n, "", why, missing)
    low, high, made = bounds(
        (kept,),
        measure,
        confidence=confidence,
        method=method,
        resamples=resamples,
        seed=seed,
        widen=statistic == "mean",
    )
    note = _reach(statistic, n, confidence) if made else "the bootstrap has no interval of these values"
    return Interval(estimate, low, high, n, made, note, missing)
