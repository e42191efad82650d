"""What all tables share: where recordings come from, how columns become a DataFrame, what a condition is.

Strategy: columns in, columns out: all recordings fill the same lists, and pandas sees them once. Recordings
are walked, never gathered, so that the table of ten thousand files holds one of them at a time. Units are
in the names; times are seconds since the request. What is not known is missing (NaN or <NA>), never 0.

Texts in a table come from models, services and files: any of them may hold half of a surrogate pair, which
Arrow's strings refuse, and a label may be any value at all. Neither is a reason to have no table.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bedrock_nb.errors import RequestError, close, kind_of
from bedrock_nb.folder import load_folder
from bedrock_nb.folder.site import is_dataset
from bedrock_nb.recording import Recording

__all__ = [
    "FAILED",
    "as_recordings",
    "check_table",
    "columns",
    "conditions",
    "each",
    "frame",
    "free",
    "rate",
    "rows",
    "run_of",
    "sound",
    "sound_text",
    "stacked",
    "whole_name",
]

#: How a reply ends that its user did not end.
FAILED = ("error", "incomplete")

_SOURCES = "Give a Recording, a Reply, a turn, a conversation, a folder, a path, or a list of these."
# So many columns are told in an error: labels may be many, and long.
_TOLD = 60


# -- recordings ------------------------------------------------------------------------------------


def each(source: Any) -> Iterator[Recording]:
    """The recordings in anything that holds some, one after the other; files are read when it is their turn.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or an iterable of these
        A path is that of a saved recording, of a folder of them, see `bedrock_nb.load_folder`, or of a
        dataset, which may be a URL, see `bedrock_nb.open_dataset`.

    Raises
    ------
    RequestError
        There is something else in it.
    RecordingError
        A path that is not a readable recording.
    """
    if isinstance(source, Recording):
        yield source
        return
    several = getattr(source, "recordings", None)  # of a turn or a conversation: a recording per round
    if isinstance(several, list) and all(isinstance(one, Recording) for one in several):
        yield from several
    elif isinstance(getattr(source, "recording", None), Recording):
        yield source.recording
    elif isinstance(source, str | os.PathLike):
        yield from _from_path(source)
    elif isinstance(source, Iterable) and not isinstance(source, Mapping | bytes | pd.DataFrame):
        for item in source:
            yield from each(item)
    else:
        what, remedy = f"{kind_of(source)} is no recording", _SOURCES
        if isinstance(source, pd.DataFrame):
            what, remedy = f"{what}: this is a table already", f"To make another one: {_SOURCES}"
        elif isinstance(getattr(source, "table", None), pd.DataFrame):  # of a load test
            what, remedy = f"{what}, and keeps none", "Its table is .table, which plots and nb.compare take."
        raise RequestError(f"{what}.", remedy=remedy)


def _from_path(path: str | os.PathLike[str]) -> Iterator[Recording]:
    if "://" in str(path) or (Path(path).is_dir() and is_dataset(Path(path))):
        import bedrock_nb

        yield from bedrock_nb.open_dataset(path)
    elif Path(path).is_dir():
        yield from load_folder(path)
    else:
        yield Recording.load(path)


def as_recordings(source: Any) -> list[Recording]:
    """The recordings in anything that holds some, all at once; see `each`."""
    return list(each(source))


# -- columns ---------------------------------------------------------------------------------------


def sound_text(text: str) -> str:
    """A text that Arrow takes: half of a surrogate pair, which models do send, is shown as U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def sound(texts: Sequence[Any]) -> list[Any]:
    """Values whose texts are all `sound_text`; None and all that is no text stays as it is."""
    return [sound_text(value) if isinstance(value, str) else value for value in texts]


def frame(columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, str]) -> pd.DataFrame:
    """Columns as a DataFrame of these types; what is said of one without a type see `free`."""
    series = {
        name: _typed(values, kinds[name]) if name in kinds else free(values)
        for name, values in columns.items()
    }
    return pd.DataFrame(series)


def _typed(values: Sequence[Any], kind: str) -> pd.Series[Any]:
    if kind == "str":  # what a service or a file has in a text's place is shown as text
        values = sound([v if v is None or isinstance(v, str) else str(v) for v in values])
    return pd.Series(values, dtype=kind)


def free(values: Sequence[Any]) -> pd.Series[Any]:
    """Values of any kind as a column of the type that fits all of them; of the type object if none does."""
    values = sound(values)
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int} and None in values and all(-(2**63) <= v < 2**63 for v in values if v is not None):
        return pd.Series(values, dtype="Int64")
    try:
        return pd.Series(values) if kinds else pd.Series(values, dtype="float64")
    except (ArithmeticError, TypeError, ValueError):
        return pd.Series(values, dtype="object")


# -- conditions ------------------------------------------------------------------------------------


def conditions(
    table: pd.DataFrame, by: str | Sequence[str] | None
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The rows of a table apart, by the values of some of its columns.

    Parameters
    ----------
    table : pandas.DataFrame
        As `summary` makes it.
    by : str, list of str or None
        Names of columns; None: all rows are one condition.

    Returns
    -------
    list of (dict, pandas.DataFrame)
        The condition's value of each column of ``by``, and its rows. In order of their first rows, or of
        size where ``by`` is a single column of numbers. A missing value is a condition too; lists and dicts
        are told apart by how they look.

    Raises
    ------
    RequestError
        The table has no such column; the message says which there are.
    """
    names = _names(by)
    for name in names:
        if name not in table.columns:
            raise _no_column(table, name)
    if not names:
        return [({}, table)]
    found: dict[tuple[Hashable, ...], tuple[dict[str, Any], list[int]]] = {}
    for place, row in enumerate(zip(*(table[name].tolist() for name in names), strict=True)):
        values = dict(zip(names, row, strict=True))
        found.setdefault(tuple(map(_key, row)), (values, []))[1].append(place)
    keys = list(found)
    if len(names) == 1 and all(isinstance(key, int | float | None) for (key,) in keys):
        keys.sort(key=lambda key: (key[0] is None, key[0]))
    return [(values, table.iloc[places]) for values, places in map(found.__getitem__, keys)]


def _no_column(table: pd.DataFrame, name: str) -> RequestError:
    known = list(table.columns)
    labels = known.index("started") + 1 if "started" in known else 0  # they stand behind it, but matter most
    known = known[labels:] + known[:labels]
    told = ", ".join(f"{column!s:.40}" for column in known[:_TOLD])
    return RequestError(
        f"There is no column {name!r:.80} in this table of replies.",
        remedy=f"{close(name, known)}Labels are columns too. There are: {told or 'none'}"
        f"{', …' * (len(known) > _TOLD)}.",
    )


def columns(given: Any, what: str) -> list[str]:
    """Names of columns, from one or a list of them; ``what`` is the argument that they were given as.

    Raises
    ------
    RequestError
        They are none.
    """
    names = [given] if isinstance(given, str) else given if isinstance(given, Sequence) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise RequestError(
            f"{what} is {given!r:.80}; the name of a column is wanted, or a list of names.",
            remedy='For example "model", or the name of a label.',
        )
    return list(dict.fromkeys(names))


def _names(by: Any) -> list[str]:
    return [] if by is None or by == [] else columns(by, "by")


def _key(value: Any) -> Hashable:
    """What two equal values have in common."""
    if pd.api.types.is_scalar(value):
        return None if pd.isna(value) else (str(value),) if isinstance(value, bool) else value
    return type(value).__name__, repr(value)


def rows(
    source: Any, kinds: Mapping[str, str], rows_of: Callable[[Recording], Iterable[Sequence[Any]]]
) -> pd.DataFrame:
    """A table whose first column is the recording's position in ``source``: ``rows_of`` gives the others.

    Parameters
    ----------
    kinds : mapping
        Every column and its type, in order.
    rows_of : function
        The rows of one recording, each as long as ``kinds`` but for the first column.
    """
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    for number, recording in enumerate(each(source)):
        for row in rows_of(recording):
            for values, value in zip(columns.values(), (number, *row), strict=True):
                values.append(value)
    return frame(columns, kinds)


def whole_name(table: pd.DataFrame, name: Any) -> Any:
    """The column that is meant: a name may lack its unit of time.

    Anything else is given back as it is, for others to refuse.
    """
    if not isinstance(name, str):
        return name
    return next((one for one in (name, f"{name}_s", f"{name}_ms") if one in table.columns), name)


def check_table(table: pd.DataFrame, wanted: Iterable[str]) -> None:
    """Refuse a table that has not the columns of the summary that are needed.

    Raises
    ------
    RequestError
        One is missing.
    """
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise RequestError(
            f"This table has no column {missing[0]!r}.",
            remedy="Give recordings, or the table that bedrock_nb.summary makes of them, without a dialect.",
        )


def stacked(
    parts: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
    by: str | Sequence[str] | None,
    kinds: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """A row per condition: its values, after ``by_`` where a number has their name, and its numbers."""
    numbers = [*(kinds or {}), *(name for _, row in parts for name in row)]
    columns: dict[str, list[Any]] = {}
    for name in _names(by):
        columns[f"by_{name}" if name in numbers else name] = [values[name] for values, _ in parts]
    for name in dict.fromkeys(numbers):
        columns[name] = [row.get(name) for _, row in parts]
    return frame(columns, kinds or {})


def run_of(rows: pd.DataFrame) -> dict[str, Any]:
    """What replies come to that were one run: how many, for how long, how many a second.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of the table that `summary` makes.

    Returns
    -------
    dict
        ``replies``, ``complete``, ``duration_s``: from the first request to the end of the last reply, which
        AIPerf calls the benchmark duration; None if a request's wall-clock time is not known.
        ``requests_per_s``: those that are complete, by the duration; None where it is none, or 0.
    """
    complete, duration = int((rows["status"] == "complete").sum()), None
    if len(rows) and not rows["started"].isna().any():
        begin = (rows["started"] - rows["started"].min()).dt.total_seconds()
        duration = float((begin + rows["lasted_s"].fillna(0.0)).max())
    return {
        "replies": len(rows),
        "complete": complete,
        "duration_s": duration,
        "requests_per_s": rate(complete, duration),
    }


def rate(count: float | None, duration: float | None) -> float | None:
    """So many a second; None if the one or the other is not known, or it took no time."""
    return count / duration if count is not None and duration else None
