"""A row of statistics for each condition and metric, and the table of such rows.

Strategy: every condition is measured on its own and against the baseline; the p-values of all comparisons of
one table are corrected together, for they are one question asked many times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from bedrock_nb import stats
from bedrock_nb.compare.samples import Pairs, Sample, pairs
from bedrock_nb.metrics import METRICS
from bedrock_nb.stats import Difference, Interval, Quantile
from bedrock_nb.stats.values import Statistic, floats
from bedrock_nb.table.frame import FAILED, frame

__all__ = ["COLUMNS", "Row", "measured", "table_of", "unit_of"]

#: Columns of the table after those of the condition, and their types.
COLUMNS: dict[str, str] = {
    "metric": "str",
    "unit": "str",
    "statistic": "str",
    "n": "int64",
    "missing": "int64",
    "failed": "int64",
    "dropped": "int64",
    "outliers": "int64",
    "estimate": "float64",
    "low": "float64",
    "high": "float64",
    "p90": "float64",
    "p90_trust": "str",
    "p99": "float64",
    "p99_trust": "str",
    "baseline": "bool",
    "diff": "float64",
    "diff_low": "float64",
    "diff_high": "float64",
    "ratio": "float64",
    "p_value": "float64",
    "p_raw": "float64",
    "test": "str",
    "effect": "float64",
    "pairs": "Int64",
    "left_out": "Int64",
    "note": "str",
}

_TAILS = (0.9, 0.99)
#: A hint is only a hint: it takes Tukey's nearer fence.
_HINT_FENCE = 1.5
_WAITS = ("s", "ms", "s/token")
#: The end of a column's name -> its unit, for columns that are no metric of ours.
_UNITS = {
    "_per_s": "1/s",  # before "_s"
    "_s": "s",
    "_ms": "ms",
    "_tps": "token/s",
    "_tokens": "token",
    "_rps": "1/s",
    "_share": "share",
}


@dataclass(frozen=True)
class Row:
    """One condition and one metric, measured.

    ``without`` counts the replies that have no such number, by how they ended; ``failed`` those that failed,
    ``failed_in`` those of them that have it. ``first`` is the number of the first reply and ``fresh`` are
    those of replies that opened a connection, where they lie above the rest.
    """

    sample: Sample
    metric: str
    interval: Interval
    tails: Sequence[Quantile]
    outliers: int
    without: Mapping[str, int]
    failed: int
    failed_in: int
    baseline: bool
    difference: Difference | None
    p_value: float | None
    pairs: Pairs | None
    first: float | None
    fresh: Sequence[float]


def unit_of(metric: str) -> str:
    """The unit of a column; empty if its name does not tell."""
    known = METRICS.get(metric)
    return known.unit if known else next((unit for end, unit in _UNITS.items() if metric.endswith(end)), "")


def _suspects(sample: Sample, metric: str) -> tuple[float | None, list[float]]:
    """Numbers of the first reply, and of those that opened a connection, if far above the rest."""
    if sample.dropped or unit_of(metric) not in _WAITS:
        return None, []
    values = floats(sample.rows[metric])
    outside = stats.outliers(values, fence=_HINT_FENCE)
    if outside.any():
        outside &= values > np.nanmedian(values)  # a warm-up makes slow, never quick
    fresh = outside & sample.opened if sample.opened is not None else np.zeros(len(values), dtype=np.bool_)
    first = float(values[0]) if len(values) and outside[0] and not fresh[0] else None
    return first, values[fresh].tolist()


def measured(
    samples: Sequence[Sample],
    metrics: Sequence[str],
    *,
    paired_by: Sequence[str],
    statistic: Statistic,
    test: str,
    options: Mapping[str, Any],
) -> list[Row]:
    """The rows of all metrics, condition by condition, their p-values corrected by Holm's method.

    Parameters
    ----------
    samples : list of Sample
        The first is the baseline.
    options : mapping
        ``confidence``, ``method``, ``resamples``, ``seed`` of `stats.interval`.
    """
    rows = []
    for metric in metrics:
        for place, sample in enumerate(samples):
            row = _measured(sample, metric, statistic, options, baseline=not place)
            if place:
                row = _against(row, samples[0], paired_by, statistic, test, options)
            rows.append(row)
    corrected = stats.holm([row.difference.p_value if row.difference else None for row in rows])
    return [replace(row, p_value=p) for row, p in zip(rows, corrected, strict=True)]


def _measured(
    sample: Sample, metric: str, statistic: Statistic, options: Mapping[str, Any], *, baseline: bool
) -> Row:
    values = sample.rows[metric]
    first, fresh = _suspects(sample, metric)
    lacks = ~np.isfinite(floats(values))
    ended = sample.rows["status"].astype(str) if "status" in sample.rows else pd.Series(dtype="str")
    return Row(
        sample=sample,
        metric=metric,
        interval=stats.interval(values, statistic, **options),
        tails=[stats.percentile(values, p) for p in _TAILS],
        outliers=int(stats.outliers(values).sum()),
        without=dict(ended[lacks[: len(ended)]].value_counts()),
        failed=int(ended.isin(FAILED).sum()),
        failed_in=int(ended[~lacks[: len(ended)]].isin(FAILED).sum()),
        baseline=baseline,
        difference=None,
        p_value=None,
        pairs=None,
        first=first,
        fresh=fresh,
    )


def _against(
    row: Row,
    base: Sample,
    paired_by: Sequence[str],
    statistic: Statistic,
    test: str,
    options: Mapping[str, Any],
) -> Row:
    common = {"statistic": statistic, "test": test, **options}
    if not paired_by:
        return replace(
            row, difference=stats.difference(base.rows[row.metric], row.sample.rows[row.metric], **common)
        )
    found = pairs(base, row.sample, row.metric, paired_by, statistic)
    return replace(row, pairs=found, difference=stats.difference(found.a, found.b, paired=True, **common))


def _cells(row: Row, statistic: str) -> dict[str, Any]:
    interval, diff, found = row.interval, row.difference, row.pairs
    tails = {
        f"p{100 * q.p:.0f}{end}": value
        for q in row.tails
        for end, value in (("", q.value), ("_trust", q.trust))
    }
    against = (
        {
            "diff": diff.estimate,
            "diff_low": diff.low,
            "diff_high": diff.high,
            "ratio": diff.ratio,
            "p_raw": diff.p_value,
            "test": diff.test or None,
            "effect": diff.effect,
        }
        if diff
        else {}
    )
    return {
        "metric": row.metric,
        "unit": unit_of(row.metric),
        "statistic": statistic,
        "n": interval.n,
        "missing": interval.missing,
        "failed": row.failed,
        "dropped": row.sample.dropped,
        "outliers": row.outliers,
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        **tails,
        "baseline": row.baseline,
        **against,
        "p_value": row.p_value,
        "pairs": len(found.a) if found else None,
        "left_out": found.left_out if found else None,
        "note": "; ".join(note for note in (interval.note, diff.note if diff else "") if note),
    }


def table_of(rows: Sequence[Row], by: Sequence[str], statistic: str) -> pd.DataFrame:
    """The rows as a tidy DataFrame: the condition's columns, after ``by_`` if taken, then `COLUMNS`."""
    cells = [_cells(row, statistic) for row in rows]
    columns = {
        f"by_{name}" if name in COLUMNS else name: [row.sample.values[name] for row in rows] for name in by
    }
    return frame(columns | {name: [cell.get(name) for cell in cells] for name in COLUMNS}, COLUMNS)
