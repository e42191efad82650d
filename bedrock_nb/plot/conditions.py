"""A table of replies -> its numbers, and its rows by condition: what all plots of tables begin with.

Strategy: what a *condition* is, and in which order they stand, `bedrock_nb.table.frame` decides for all
tables; here they get names. Labels may come from a file or a service: a name is one short line, and no two
names are alike. Nothing here draws.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bedrock_nb.compare.samples import columns
from bedrock_nb.errors import RequestError, close
from bedrock_nb.plot.canvas import short
from bedrock_nb.plot.naming import compact
from bedrock_nb.table.frame import conditions as apart

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "MOST_DRAWN",
    "MOST_LETTERS",
    "Condition",
    "column",
    "conditions",
    "distinct",
    "is_missing",
    "is_number",
    "numbers",
]

#: Letters of a condition's name.
MOST_LETTERS = 28
#: Conditions that are drawn as lines; more of them are a carpet.
MOST_DRAWN = 20
#: Columns that an error message lists.
_MOST_LISTED = 40


class Condition(NamedTuple):
    """Rows that belong together: their name, their values of ``by``, their positions in the table."""

    name: str
    values: tuple[Any, ...]
    rows: NDArray[np.intp]


def column(table: pd.DataFrame, name: Any) -> pd.Series[Any]:
    """The one column of that name.

    Raises
    ------
    RequestError
        There is none, or there are two; the message lists the columns.
    """
    if not isinstance(name, str) or name not in table.columns:
        listed = [short(known) for known in table.columns[:_MOST_LISTED]]
        more = len(table.columns) - len(listed)
        raise RequestError(
            f"There is no column {name!r:.80} in this table of replies.",
            remedy=f"{close(name, table.columns)}There are: {', '.join(listed)}"
            f"{f' and {more} more' if more else ''}. "
            "A label of a recording is a column by its name.",
        )
    found: Any = table[name]
    if found.ndim != 1:
        raise RequestError(
            f"There are several columns {name!r:.80} in this table.", remedy="Rename all but one of them."
        )
    series: pd.Series[Any] = found
    return series


def numbers(table: pd.DataFrame, name: Any) -> NDArray[np.float64]:
    """A column as numbers, NaN where a row has none (or one that is not finite).

    Raises
    ------
    RequestError
        There is no such column, or something in it is no number.
    """
    values = column(table, name).tolist()
    for value in values:
        if not is_number(value) and not is_missing(value):
            raise RequestError(
                f"Column {name!r:.80} holds {short(repr(value))}, which is no number.",
                remedy="Name a column of numbers, such as 'ttft_s'; text can be a condition: by='model'.",
            )
    found = np.array([float(value) if is_number(value) else math.nan for value in values], dtype=np.float64)
    return np.where(np.isfinite(found), found, math.nan)


def conditions(table: pd.DataFrame, by: str | Sequence[str] | None) -> list[Condition]:
    """The rows of a table by the values of one column, or of several.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per reply.
    by : str, sequence of str or None
        Names of columns; None makes one condition without a name of all rows.

    Returns
    -------
    list of Condition
        In the order of `bedrock_nb.table.frame.conditions`. Their names are all different.

    Raises
    ------
    RequestError
        A name that is no column's, or something that is no name.
    """
    parts = apart(table.reset_index(drop=True), None if by is None else columns(by, "by"))
    told = {name: [_said(name, values[name]) for values, _ in parts] for name in parts[0][0]} if parts else {}
    told |= {name: compact(words) for name, words in told.items() if name == "model"}
    said = [", ".join(words) for words in zip(*told.values(), strict=True)] or [""] * len(parts)
    names = distinct(said) if by is not None else said
    return [
        Condition(name, tuple(values.values()), rows.index.to_numpy())
        for name, (values, rows) in zip(names, parts, strict=True)
    ]


def distinct(texts: Iterable[Any], most: int = MOST_LETTERS) -> list[str]:
    """Each text in one short line, no two alike: cut at the end, or in the middle where ends tell apart.

    Of an ARN only the last part is shown, for it names an account.
    """
    lines = [short(_bare(text), 10_000) or "(empty)" for text in texts]
    heads = [short(line, most) for line in lines]
    ends = [line if len(line) <= most else _middle(line, most) for line in lines]
    names = ends if len(set(ends)) > len(set(heads)) else heads
    alike, seen = Counter(names), Counter[str]()
    taken = {name for name in names if alike[name] == 1}
    for i, name in enumerate(names):
        while alike[name] > 1:
            seen[name] += 1
            numbered = f"{name} ({seen[name]})"
            if numbered not in taken:
                taken.add(numbered)
                names[i] = numbered
                break
    return names


def is_number(value: Any) -> TypeGuard[float]:
    """A number that is one: no truth value, and not NaN."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_) and not is_missing(value)


def is_missing(value: Any) -> bool:
    """None, NaN, NaT or pandas' NA: all but None do not equal themselves, or do not say."""
    if value is None:
        return True
    try:
        return bool(value != value)
    except (TypeError, ValueError):  # NA has no truth value; neither has an array, which is no NA
        return not isinstance(value, np.ndarray)


def _said(name: str, value: Any) -> str:
    """A value of a condition in words; a missing one says of what."""
    if is_missing(value):
        return f"no {name}"
    if is_number(value):
        return f"{float(value):,.6g}" if abs(value) >= 10_000 else f"{float(value):.6g}"
    return _bare(value)


def _bare(text: Any) -> str:
    """An ARN's last part; any other text as it is."""
    line = str(text)
    return line.rpartition("/")[2] or line if line.startswith("arn:") else line


def _middle(line: str, most: int) -> str:
    """The beginning and the end of a text."""
    head = (most - 1) // 2
    return f"{line[:head]}…{line[len(line) - (most - 1 - head) :]}"
