"""How far a guess may go, and in what steps: the scale of one quantity, from what a teacher gave.

Strategy: a number is where a handle starts, and the scale is a round one about it; a pair is the scale
itself. Steps are round, a hundred or more to a scale, so that the same keys and the same drag work for every
quantity.
"""

from __future__ import annotations

import math
from typing import Any, TypedDict

from bedrock_nb.errors import RequestError, close
from bedrock_nb.metrics import METRICS
from bedrock_nb.plot.data.guesses import round_up, words

__all__ = ["Scale", "scale"]

_STEPS = 100
#: A scale that is not given ends at a round number so many times its start.
_ROOM = 2.5
_WHOLE = ("count", "token")


class Scale(TypedDict):
    """One quantity as a slider shows it: its words, where it goes from and to, where it starts."""

    name: str
    label: str
    unit: str
    low: float
    high: float
    step: float
    decimals: int
    start: float


def scale(name: str, given: Any) -> Scale:
    """The scale of a quantity.

    Parameters
    ----------
    name : str
        A metric, or any other name if its range is given.
    given : float or tuple
        Where to start, ``(low, high)``, or ``(low, high, start)``. A long range of whole numbers has whole
        steps.

    Raises
    ------
    RequestError
        It is neither; or a number, but ``name`` is no metric, so that nobody knows how far to go.
    """
    metric = METRICS.get(name)
    is_pair = isinstance(given, tuple | list) and len(given) in (2, 3)
    numbers = [_number(name, one) for one in (given if is_pair else [given])]
    if is_pair:
        low, high = numbers[:2]
        if not low < high:
            raise RequestError(f"{name}: a scale from {low:g} to {high:g} has no room for a guess.")
        counts = all(isinstance(one, int) for one in given) and high - low >= _STEPS / 2
        whole = counts or (metric is not None and metric.unit in _WHOLE)
        step = _step(high - low, whole=whole, hits=numbers[2] - low if len(numbers) == 3 else 0.0)
        start = numbers[2] if len(numbers) == 3 else _snapped((low + high) / 2, low, step)
        if not low <= start <= high:
            raise RequestError(
                f"{name} starts at {start:g}, outside of its scale from {low:g} to {high:g}.",
                remedy="Give (low, high, start) with the start between the two.",
            )
    elif metric is None:
        raise RequestError(
            f"{name} is no metric, so nobody knows how far a guess of it may go.",
            remedy=f"{close(name, METRICS)}Or give its range: {name}=(0, 40), or with a start (0, 40, 10).",
        )
    else:
        start = numbers[0]
        low = -round_up(-_ROOM * start) if start < 0 else 0.0
        high = round_up(_ROOM * start) if start > 0 else 1.0
        if metric.unit == "share":
            high = max(1.0, start)
        step = _step(high - low, whole=metric.unit in _WHOLE, hits=start - low)
    label, unit = words(name)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return {
        "name": name,
        "label": label,
        "unit": unit,
        "low": low,
        "high": high,
        "step": step,
        "decimals": decimals,
        "start": start,
    }


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RequestError(
            f"{name} is {value!r:.40}; a number, or a range of two, is wanted.",
            remedy=f"For example {name}=0.4, or {name}=(0, 40).",
        )
    return float(value)


def _step(room: float, *, whole: bool, hits: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that gives at least so many steps, and hits the start.

    A handle stands on steps only. A start that no step hits, such as a third, is left between two.
    """
    power = 10.0 ** math.floor(math.log10(room / _STEPS) + 1e-9)
    steps = [m * power / ten for ten in (1, 10, 100) for m in (5, 2, 1)]
    steps = [one for one in steps if one <= room / _STEPS * (1 + 1e-9)]
    if whole:
        steps = [one for one in steps if one >= 1] or [1.0]
    step = next((one for one in steps if abs(hits / one - round(hits / one)) < 1e-6), steps[0])
    return float(f"{step:.6g}")


def _snapped(value: float, low: float, step: float) -> float:
    return float(f"{low + round((value - low) / step) * step:.9g}")
