"""Percentiles that are refused where there are too few values to have them.

Strategy: two ways to interpolate, since tools differ in it: numpy's default, which is ours, and that of
Python's `statistics.quantiles`, which is LLMeter's. The refusal is the same for both.
"""

from __future__ import annotations

from collections.abc import Sequence

from bedrock_nb.errors import RequestError

__all__ = ["enough", "of_ordered", "percentile"]


def percentile(values: Sequence[float], p: float) -> float | None:
    """The p-quantile by linear interpolation, or None from fewer than 1/(1-p) values (1/p below the median).

    With fewer there is, on average, not one value beyond it; LLMeter's guide states the same rule. How far
    one that is given can be trusted is told by `bedrock_nb.stats.percentile`.

    Parameters
    ----------
    values : sequence of float
        In any order and unit.
    p : float
        From 0 to 1: 0.99 is the 99th percentile. 0 and 1 have nothing beyond them, and no value.

    Raises
    ------
    RequestError
        ``p`` is not from 0 to 1.
    """
    return of_ordered(sorted(values), p) if enough(len(values), p) else None


def enough(n: int, p: float) -> bool:
    """Whether so many values have a p-quantile.

    Raises
    ------
    RequestError
        ``p`` is not from 0 to 1.
    """
    if not 0 <= p <= 1:
        raise RequestError(
            f"p is {p!r}; a number from 0 to 1 is wanted.", remedy="0.99 is the 99th percentile."
        )
    return n * min(p, 1 - p) >= 1 - 1e-9


def of_ordered(ordered: Sequence[float], p: float, *, exclusive: bool = False) -> float | None:
    """The p-quantile of values in ascending order, or None if they are too few.

    Parameters
    ----------
    ordered : sequence of float
        In ascending order; that is not checked.
    p : float
        From 0 to 1.
    exclusive : bool
        Interpolate as ``statistics.quantiles`` does by default: at p(n + 1) in place of p(n - 1) + 1, which
        takes the values for a sample and puts high percentiles further out.

    Raises
    ------
    RequestError
        ``p`` is not from 0 to 1.
    """
    n = len(ordered)
    if not enough(n, p):
        return None
    place = min(max(p * (n + 1) - 1, 0.0), n - 1.0) if exclusive else p * (n - 1)
    low = int(place)
    high = min(low + 1, n - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
