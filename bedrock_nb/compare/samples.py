"""Replies sorted into conditions; warm-up left out by rule; pairs found.

Strategy: everything is a table of replies, as `bedrock_nb.summary` makes it, and whether each reply had to
open a connection, which only recordings know. Whatever is left out is counted, and by which rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bedrock_nb import stats
from bedrock_nb.errors import RequestError, close
from bedrock_nb.recording import Recording
from bedrock_nb.render import visible
from bedrock_nb.stats.values import Array, Statistic, floats
from bedrock_nb.table.frame import columns, conditions, each, whole_name
from bedrock_nb.table.replies import SUMMARY_COLUMNS, summary

__all__ = [
    "Pairs",
    "Sample",
    "Warmup",
    "column",
    "columns",
    "labels",
    "name_of",
    "pairs",
    "replies",
    "samples",
    "short",
]

#: How many of the first replies of each condition are left out; or all that opened a connection.
Warmup = int | str

_LONGEST = 40


class Sample(NamedTuple):
    """The replies of one condition, in the order in which they were asked for, without its warm-up.

    Attributes
    ----------
    values : dict
        The condition: its value of each column.
    name : str
        The same in words.
    rows : pandas.DataFrame
    opened : numpy.ndarray of bool or None
        Which of them had to open a connection; None if that is not known.
    dropped : int
        How many were left out as warm-up.
    """

    values: dict[str, Any]
    name: str
    rows: pd.DataFrame
    opened: np.ndarray[Any, np.dtype[np.bool_]] | None
    dropped: int


class Pairs(NamedTuple):
    """Numbers of two conditions that belong together, how many have no partner, how many are of several."""

    a: list[float]
    b: list[float]
    left_out: int
    repeated: int


def replies(source: Any) -> tuple[pd.DataFrame, list[bool] | None]:
    """A row per reply, and whether each opened a connection: None for a table, which does not know it."""
    if isinstance(source, pd.DataFrame):
        return source.reset_index(drop=True), None
    opened: list[bool] = []

    def noted() -> Iterator[Recording]:
        for recording in each(source):
            opened.append("connecting" in recording.marks)
            yield recording

    return summary(noted()), opened


def column(table: pd.DataFrame, metric: str) -> str:
    """The column of a metric, whose unit of time may be left out of its name.

    Raises
    ------
    RequestError
        There is none, or it holds something else than numbers.
    """
    found: str = whole_name(table, metric)
    numeric = ", ".join(str(name) for name in table.select_dtypes("number").columns)
    if found not in table.columns:
        near = close(metric, table.select_dtypes("number").columns)
        raise RequestError(
            f"There is no metric {metric!r:.80}.", remedy=f"{near}Columns of numbers are: {numeric}."
        )
    try:
        floats(table[found])
    except RequestError as err:
        raise RequestError(
            f"The column {found!r:.80} holds something else than numbers.",
            remedy=f"Columns of numbers are: {numeric}.",
        ) from err
    return found


def _first(table: pd.DataFrame, name: Any) -> pd.Series[Any]:
    """The column of this name; the first of them, for a table of others may have several."""
    return table.iloc[:, table.columns.tolist().index(name)]


def labels(table: pd.DataFrame) -> list[str]:
    """Columns with several values that are no numbers of ours: labels, and the model."""
    free = [name for name in table.columns.unique() if name == "model" or name not in SUMMARY_COLUMNS]
    return [str(name) for name in free if len(conditions(pd.DataFrame({"k": _first(table, name)}), "k")) > 1]


def short(value: Any) -> str:
    """A value of a label, or its name, in a line: model ids and labels may say anything at any length."""
    text = " ".join(visible(str(value)).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def name_of(values: dict[str, Any]) -> str:
    """A condition in words: a text speaks for itself, anything else has its column's name before it."""

    def word(column: str, value: Any) -> str:
        if pd.api.types.is_scalar(value) and pd.isna(value):
            return f"no {short(column)}"
        return short(value) if isinstance(value, str) and value else f"{short(column)} {short(value)}"

    return ", ".join(word(column, value) for column, value in values.items())


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    """By the wall-clock time of the request, if it is known of all; otherwise as they were given."""
    started = rows.get("started")
    kinds = pd.api.types
    known = started is not None and (
        kinds.is_numeric_dtype(started) or kinds.is_datetime64_any_dtype(started)
    )
    if started is None or not known or started.isna().any():
        return rows
    return rows.loc[started.sort_values(kind="stable").index]


def samples(
    table: pd.DataFrame, opened: list[bool] | None, by: Sequence[str], warmup: Warmup
) -> list[Sample]:
    """The replies of each condition, in the order of `bedrock_nb.table.frame.conditions`.

    Raises
    ------
    RequestError
        There is no such column, no such rule, or the rule needs recordings and a table was given.
    """
    counted = type(warmup) is int and warmup >= 0
    if not counted and warmup != "connection":
        raise RequestError(
            f"warmup is {warmup!r:.80}; that is no rule.",
            remedy='Give the number of first replies to leave out of each condition, or "connection".',
        )
    if warmup == "connection" and opened is None:
        raise RequestError(
            "A table of replies does not say which of them opened a connection.",
            remedy="Give the recordings it was made of, or leave out the first few with warmup=1.",
        )
    return [_sample(values, rows, opened, warmup) for values, rows in conditions(table, by)]


def _sample(values: dict[str, Any], rows: pd.DataFrame, opened: list[bool] | None, warmup: Warmup) -> Sample:
    rows = _in_order(rows)
    fresh = None if opened is None else np.array([opened[i] for i in rows.index], dtype=np.bool_)
    if isinstance(warmup, int):
        kept = np.arange(len(rows)) >= warmup
    else:
        kept = np.ones(len(rows), dtype=np.bool_) if fresh is None else ~fresh
    still = None if fresh is None else fresh[kept]
    return Sample(values, name_of(values), rows[kept], still, int((~kept).sum()))


def _centre(values: Array, statistic: Statistic) -> float:
    return float(np.mean(values) if statistic == "mean" else np.median(values))


def pairs(a: Sample, b: Sample, metric: str, keys: Sequence[str], statistic: Statistic) -> Pairs:
    """The numbers of two conditions whose replies agree in some columns.

    Several replies of a condition to one prompt make one number: their median, or their mean where means are
    compared. Otherwise a prompt that was asked more often would count more, and chance would look smaller.

    Raises
    ------
    RequestError
        There is no such column.
    """
    found = Pairs([], [], 0, 0)
    left_out = repeated = 0
    for values, rows in conditions(pd.concat([a.rows, b.rows]), keys):
        if any(pd.api.types.is_scalar(value) and pd.isna(value) for value in values.values()):
            left_out += len(rows)
            continue
        x, y = (
            stats.numbers(rows.loc[rows.index.intersection(each.rows.index), metric])[0] for each in (a, b)
        )
        if len(x) and len(y):
            found.a.append(_centre(x, statistic))
            found.b.append(_centre(y, statistic))
            repeated += len(x) > 1 or len(y) > 1
        else:
            left_out += 1
    return found._replace(left_out=left_out, repeated=repeated)
