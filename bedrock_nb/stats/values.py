"""Plain numbers, their percentiles with a mark of trust, and which of them lie far outside.

Strategy: `numbers` is the one door: whatever comes in becomes an array of finite floats and a count of what
was left out. A statistic is a function of an array and an axis, looked up by name in `measure_of`.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bedrock_nb.errors import RequestError
from bedrock_nb.metrics.quantiles import percentile as _percentile

__all__ = [
    "Array",
    "Measure",
    "Quantile",
    "Statistic",
    "Trust",
    "constant",
    "floats",
    "level_of",
    "measure_of",
    "named",
    "numbers",
    "outliers",
    "percentile",
]

Array: TypeAlias = NDArray[np.float64]
#: ``"median"``, ``"mean"``, ``"p90"`` and its like, or a function of a one-dimensional array.
Statistic: TypeAlias = "str | Callable[[Array], float]"
#: A statistic over an axis of an array, the last one if not told.
Measure: TypeAlias = Callable[..., Any]
#: How far a percentile can be trusted.
Trust: TypeAlias = Literal["no", "weak", "good"]

_LEVEL = re.compile(r"p(\d{1,2}(?:\.\d+)?)")
#: So many values must, on average, lie beyond a percentile for it to be given, and to be trusted.
_GIVEN, _GOOD = 1, 5
#: Fewer values have no quartiles worth the name.
_QUARTILES_FROM = 5


class Quantile(NamedTuple):
    """A percentile and how far it can be trusted: ``value`` is None where ``trust`` is ``"no"``."""

    p: float
    value: float | None
    n: int
    trust: Trust


def _number(value: Any) -> float:
    pandas = sys.modules.get("pandas")
    if value is None or (pandas is not None and value is pandas.NA):
        return math.nan
    if isinstance(value, str | bytes):
        raise TypeError("text")  # float("1e3") would take it
    return float(value)


def floats(values: Any) -> Array:
    """All values as floats, NaN for what is missing, in their order."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub" and values.ndim == 1:
        return values.astype(np.float64)
    if isinstance(values, Iterable) and not isinstance(values, str | bytes | dict):
        try:
            return np.array([_number(value) for value in values], dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            pass  # told below, for all that is no number in one way
    raise RequestError(
        "These are not plain numbers.",
        remedy="Give a sequence of numbers or one column of a table; None and NaN stand for a missing one.",
    )


def constant(values: Array) -> bool:
    """Whether all values are one, but for the last digits of a subtraction."""
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def numbers(values: Any) -> tuple[Array, int]:
    """The finite numbers among these as an array, and how many others there were.

    Parameters
    ----------
    values : sequence of numbers, array or column of a table
        None, NaN, ``pandas.NA`` and infinities are left out; True is 1.

    Raises
    ------
    RequestError
        There is something else in it than numbers, or it is no single row of them.
    """
    given = floats(values)
    kept = given[np.isfinite(given)]
    return kept, len(given) - len(kept)


# -- statistics by name ----------------------------------------------------------------------------


def level_of(statistic: Statistic) -> float | None:
    """Which quantile a statistic is: 0.5 for ``"median"``, 0.9 for ``"p90"``; None for any other."""
    found = _LEVEL.fullmatch(statistic) if isinstance(statistic, str) else None
    if found is not None and float(found[1]) > 0:
        return round(float(found[1]) / 100, 12)
    return 0.5 if statistic == "median" else None


def measure_of(statistic: Statistic) -> Measure:
    """The function of a statistic, over any axis.

    Raises
    ------
    RequestError
        There is none of this name.
    """
    level = level_of(statistic)
    if statistic == "median":
        return np.median
    if statistic == "mean":
        return np.mean
    if level is not None:
        return lambda x, axis=-1: np.quantile(x, level, axis=axis)
    if callable(statistic):
        return lambda x, axis=-1: np.apply_along_axis(statistic, axis, x)
    raise RequestError(
        f"There is no statistic {statistic!r}.",
        remedy='Give "median", "mean", a percentile such as "p90", or a function of an array.',
    )


def named(statistic: Statistic) -> str:
    """A statistic in words: ``90th percentile``."""
    if isinstance(statistic, str):
        level = statistic.removeprefix("p")
        ending = "th" if level[-2:-1] == "1" else {"1": "st", "2": "nd", "3": "rd"}.get(level[-1:], "th")
        return statistic if level == statistic else f"{level}{ending} percentile"
    return str(getattr(statistic, "__name__", "statistic")).strip("<>")


def percentile(values: Any, p: float) -> Quantile:
    """The p-quantile by linear interpolation, with a mark of how far it can be trusted.

    It is refused where, on average, not one value lies beyond it, that is from fewer than 1/(1-p) values
    (1/p for one below the median), and marked ``"weak"`` below 5/(1-p): the 90th percentile is given from 10
    values and good from 50, the 99th from 100 and from 500. The rule is that of LLMeter's guide.

    Parameters
    ----------
    values : sequence of numbers
        None and NaN are left out.
    p : float
        From 0 to 1: 0.99 is the 99th percentile. 0 and 1 have nothing beyond them and are always refused.

    Raises
    ------
    RequestError
        ``p`` is not from 0 to 1, or the values are no numbers.
    """
    kept, _ = numbers(values)
    value = _percentile(kept.tolist(), p)
    beyond = len(kept) * min(p, 1 - p) + 1e-9
    trust: Trust = "no" if beyond < _GIVEN else "weak" if beyond < _GOOD else "good"
    return Quantile(p, None if trust == "no" else value, len(kept), trust)


def outliers(values: Any, *, fence: float = 3.0, scale: str = "auto") -> NDArray[np.bool_]:
    """Which values lie far outside the others. They are for showing: nothing here removes any.

    Strategy: Tukey's fences, ``fence`` times the distance between the quartiles beyond each quartile
    ("far out" at 3, "outside" at 1.5; Tukey, Exploratory Data Analysis, 1977). Waiting times have a long
    tail to the right that belongs to them, and are near to symmetrical on a scale of logarithms: so positive
    values are judged there.

    Parameters
    ----------
    values : sequence of numbers
    fence : float
        Above 0.
    scale : {"auto", "log", "linear"}
        ``"auto"`` is ``"log"`` where all values are above 0.

    Returns
    -------
    numpy.ndarray of bool
        As long as ``values``. None and NaN are no outliers, and of fewer than 5 values none is; nor is any
        where both quartiles are equal, for then there is no distance to measure with.

    Raises
    ------
    RequestError
        An argument cannot work, or the logarithm of a value that is not above 0 was asked for.
    """
    if not (isinstance(fence, int | float) and fence > 0):
        raise RequestError(f"fence is {fence!r}; a number above 0 is wanted.", remedy="Tukey took 1.5 and 3.")
    given = floats(values)
    known = np.isfinite(given)
    kept = given[known]
    positive = bool((kept > 0).all())
    if scale not in ("auto", "log", "linear") or (scale == "log" and not positive):
        raise RequestError(
            f"Outliers cannot be found on the scale {scale!r} among these values.",
            remedy='Give scale="auto" or "linear"; "log" is for values that are all above 0.',
        )
    far = np.zeros(len(given), dtype=np.bool_)
    if len(kept) < _QUARTILES_FROM:
        return far
    seen = np.log(kept) if positive and scale != "linear" else kept
    low, high = np.quantile(seen, (0.25, 0.75))
    reach = fence * (high - low)
    if reach > 0:
        far[known] = (seen < low - reach) | (seen > high + reach)
    return far
