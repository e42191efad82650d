"""Honest statistics of plain numbers: what a sample says about what it was taken from, and what it cannot.

Strategy: functions of sequences of numbers; None and NaN are left out and counted. `values` has percentiles
that are refused where there are too few values, and outliers that are shown and never removed; `intervals`
has bootstrap intervals; `differences` compares two samples. All chance is seeded, so that the same numbers
give the same table. Which replies are compared, and in what words, is not here (`compare`).
"""

from __future__ import annotations

from bedrock_nb.stats.differences import TESTS, Difference, difference, holm, smallest_p
from bedrock_nb.stats.intervals import Interval, interval
from bedrock_nb.stats.values import Quantile, Trust, numbers, outliers, percentile

__all__ = [
    "TESTS",
    "Difference",
    "Interval",
    "Quantile",
    "Trust",
    "difference",
    "holm",
    "interval",
    "numbers",
    "outliers",
    "percentile",
    "smallest_p",
]


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
