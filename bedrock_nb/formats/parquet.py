"""Recordings -> Parquet files and Arrow batches, in bounded memory.

Strategy: the rows are those of ``bedrock_nb.events`` and ``bedrock_nb.summary``, and one walk over the source
makes both: while the summary takes recording after recording, their events pass by and are written. A dataset
is a folder that is written beside its place and put there when it is whole. Types of the events' columns are
fixed, so that all files agree; those of labels are found from all their values, and labels of several types
become text. pyarrow is imported in this module only.

    runs/events/part-00000.parquet      a row per event; recording is the key
    runs/replies/part-00000.parquet     a row per reply; recording besides the columns of nb.summary

Read them with ``pandas.read_parquet("runs/events")`` or, in SQL, with DuckDB:
``duckdb.sql("select model, median(ttft_s) from 'runs/replies/*.parquet' group by 1")``.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_nb import __version__, lines
from bedrock_nb.errors import RequestError
from bedrock_nb.folder import Folder, load_folder
from bedrock_nb.folder.site import warn
from bedrock_nb.formats.parts import MARK, Key, Parts, placed
from bedrock_nb.recording import Recording
from bedrock_nb.table import EVENT_COLUMNS, SUMMARY_COLUMNS, events, summary
from bedrock_nb.table.frame import each, sound_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VERSION", "as_text", "event_table", "record_batches", "reply_table", "table_bytes", "to_parquet"]

#: Version of the dataset's form, in each file's metadata under ``bedrock_nb.version``.
VERSION = 1

_ARROW = {"int64": pa.int64(), "Int64": pa.int64(), "float64": pa.float64(), "str": pa.string()}
# Rows that are written at once, and a row group in a file.
_GROUP = 100_000
# What file systems take for a name, bytes; a letter that is not in ASCII takes six or more of them.
_LONGEST_FOLDER = 255
# Columns of the summary that are no label and may divide a dataset.
_DIVIDING: dict[str, Callable[[Recording], Any]] = {
    "model": lambda recording: recording.model or None,
    "status": lambda recording: recording.status,
    "stop_reason": lambda recording: recording.stop_reason,
}


def to_parquet(
    source: Any,
    folder: str | os.PathLike[str],
    *,
    by: str | Sequence[str] | None = None,
    rows_per_file: int = 5_000_000,
    overwrite: bool = False,
) -> Path:
    """Write recordings as a dataset of Parquet files, all or nothing.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, Folder, or a collection of these
    folder : path
        Where to; a new folder, its owner's alone.
    by : str or list of str, optional
        Labels, or ``model``, ``status``, ``stop_reason``: each of their values gets folders of its own,
        ``events/model=…/``, which readers of Hive's layout take for a column of that name. There a missing
        value is an empty text, and many readers take texts of digits for numbers. Choose what has few values:
        each has files of its own.
    rows_per_file : int
        About so many rows are in a file; then the next begins.
    overwrite : bool
        Take the place of a dataset that is there. Nothing else is ever replaced.

    Returns
    -------
    Path
        The folder. Of no recordings the dataset has no rows, and a warning says so.

    Raises
    ------
    RequestError
        An argument is not what it must be, no recording has the label ``by``, or it has a value that is too
        long for the name of a folder.
    RecordingError
        A recording cannot be read, or the dataset cannot be written. Nothing was.

    Notes
    -----
    Memory: 100,000 rows of events, or those of the longest recording if they are more, and the summary, about
    half a kilobyte for each reply. Files are compressed with zstd. ``recording`` counts the replies, and is
    the same in both tables; of a `Folder`, replies have their file's ``path`` besides.
    """
    place = lines.as_path(folder)
    names = _names(by)
    if type(rows_per_file) is not int or rows_per_file < 1:
        raise RequestError(f"rows_per_file is {rows_per_file!r:.40}; a whole number from 1 on is wanted.")
    with placed(place, overwrite) as made:
        _fill(source, made, names, rows_per_file)
    return place


def record_batches(source: Any, *, rows: int = _GROUP) -> pa.RecordBatchReader:
    """The rows of ``bedrock_nb.events`` as a stream of Arrow batches that is read once.

    Parameters
    ----------
    source : as for `to_parquet`
    rows : int
        Most rows of a batch.

    Returns
    -------
    pyarrow.RecordBatchReader
        Recordings are loaded while it is read. DuckDB takes it as a table, without any file:
        ``reader = nb.formats.record_batches(folder)``, then
        ``duckdb.sql("select type, count(*) from reader group by 1")``.

    Raises
    ------
    RequestError
        ``rows`` is no number of rows; or, while it is read, the source holds something else than recordings.
    """
    if type(rows) is not int or rows < 1:
        raise RequestError(f"rows is {rows!r:.40}; a whole number from 1 on is wanted.")

    def tables() -> Iterator[tuple[Key, pa.Table]]:
        waiting = _Waiting(rows)
        for _, recording in _walk(source):
            yield from waiting.add((), recording)
        yield from waiting.rest()

    batches = (batch for _, table in tables() for batch in table.to_batches(max_chunksize=rows))
    return pa.RecordBatchReader.from_batches(_schema(), batches)


# -- rows ------------------------------------------------------------------------------------------


def _walk(source: Any) -> Iterator[tuple[str | None, Recording]]:
    """Each recording, and the name of its file if it is one of a folder's."""
    if isinstance(source, str | os.PathLike) and Path(source).is_dir():
        source = load_folder(source)
    if isinstance(source, Folder):
        yield from ((head.name, recording) for head, recording in source.items())
    else:
        yield from ((None, recording) for recording in each(source))


@cache
def _schema() -> pa.Schema:
    """Of all tables of events, with what tells pandas the types of its columns."""
    schema = pa.schema([(name, _ARROW[kind]) for name, kind in EVENT_COLUMNS.items()])
    made = pa.Table.from_pandas(events([]), schema=schema, preserve_index=False)
    return schema.with_metadata(_signed(made.schema.metadata, "events"))


def _signed(metadata: Mapping[bytes, bytes] | None, table: str) -> dict[bytes, bytes]:
    return {
        **(metadata or {}),
        MARK: f"bedrock-nb-{table}".encode(),
        b"bedrock_nb.version": str(VERSION).encode(),
        b"bedrock_nb.made_by": f"bedrock_nb {__version__}".encode(),
    }


class _Waiting:
    """Recordings that wait until their events are about so many rows together."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._held: dict[Key, list[tuple[int, Recording]]] = {}
        self._taken = self._count = 0

    def add(self, key: Key, recording: Recording) -> Iterator[tuple[Key, pa.Table]]:
        """Take the next one; when there are enough rows, a table for each condition."""
        self._held.setdefault(key, []).append((self._taken, recording))
        self._taken += 1
        self._count += len(recording) + len(recording.marks) + 1
        if self._count >= self.rows:
            yield from self.rest()

    def rest(self) -> Iterator[tuple[Key, pa.Table]]:
        """Tables of all that wait."""
        held, self._held, self._count = self._held, {}, 0
        for key, waiting in held.items():
            numbers, recordings = zip(*waiting, strict=True)
            yield key, event_table(recordings, numbers)


def event_table(recordings: Sequence[Recording], numbers: Sequence[int]) -> pa.Table:
    """The rows of ``bedrock_nb.events`` as Arrow has them, their recordings counted by these numbers."""
    frame = events(list(recordings))
    frame["recording"] = np.array(numbers, dtype="int64")[frame["recording"].to_numpy()]
    table = pa.Table.from_pandas(frame, schema=_schema(), preserve_index=False)
    return table.replace_schema_metadata(_schema().metadata)


def reply_table(recordings: Sequence[Recording]) -> pa.Table:
    """The rows of ``bedrock_nb.summary`` without labels: the same columns and types for any recordings."""
    frame = summary(recordings)[list(SUMMARY_COLUMNS)]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    return table.replace_schema_metadata(_signed(table.schema.metadata, "replies"))


def _replies(frame: pd.DataFrame, files: Sequence[str | None]) -> pa.Table:
    """The summary as Arrow has it, after the key of its rows and the names of their files."""
    taken = ("recording", "path")
    columns = {f"label_{name}" if name in taken else str(name): frame[name] for name in frame.columns}
    first: dict[str, Any] = {"recording": range(len(frame))}
    if any(name is not None for name in files):
        first["path"] = [name and as_text(name) for name in files]
    table = _arrow(type(frame)({**first, **columns}))
    return table.replace_schema_metadata(_signed(table.schema.metadata, "replies"))


def table_bytes(frame: pd.DataFrame) -> bytes:
    """Any table as the bytes of one Parquet file; what Arrow has no type for is text, as in a dataset."""
    buffer = io.BytesIO()
    pq.write_table(_arrow(frame), buffer, compression="zstd")
    return buffer.getvalue()


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """Labels of several types, and those that are no scalars, become text."""
    frame = type(frame)({name: _fitting(frame[name]) for name in frame.columns})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for i, kind in enumerate(table.schema.types):
        if pa.types.is_null(kind):  # nothing is known, not even of what type it would be
            table = table.set_column(i, table.schema.names[i], table.column(i).cast(pa.string()))
    return table


def _fitting(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column if Arrow has a type for it, else its values as text."""
    missing = column.isna()
    # Of what is nested there are types, too, but a list may even hold itself, which crashes pyarrow 26.
    if column.dtype != object or not any(map(_is_nested, column[~missing])):
        try:
            pa.array(column, from_pandas=True)
            return column
        except (ValueError, TypeError, OverflowError):  # pyarrow's own errors are of these
            pass
    texts = [None if none else as_text(value) for value, none in zip(column, missing, strict=True)]
    made: pd.Series[Any] = type(column)(texts, index=column.index, dtype="str")
    return made


def _is_nested(value: Any) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def as_text(value: Any) -> str:
    """A value as text, as JSON writes it; texts as they are, without halves of surrogate pairs."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, ensure_ascii=False, default=repr)
        except (TypeError, ValueError, RecursionError):  # keys that are no text, a list in itself
            value = f"<{type(value).__name__}>"
    return sound_text(value)


# -- conditions ------------------------------------------------------------------------------------


def _names(by: str | Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(by) if isinstance(by, list | tuple) else () if by is None else (by,)
    for name in names:
        known = isinstance(name, str) and name in (*SUMMARY_COLUMNS, *EVENT_COLUMNS, "path")
        if not isinstance(name, str) or (known and name not in _DIVIDING):
            raise RequestError(
                f"A dataset cannot be divided by {name!r:.60}"
                f"{': its files have a column of that name' if known else ''}.",
                remedy=f"Take another label, or one of {', '.join(_DIVIDING)}.",
            )
    return tuple(dict.fromkeys(names))


def _value(recording: Recording, name: str) -> Any:
    if name in _DIVIDING:
        return _DIVIDING[name](recording)
    bare = name.removeprefix("label_")  # as the summary calls a label whose name is taken
    return recording.labels.get(bare if bare in SUMMARY_COLUMNS else name)


def _folder(name: str, value: Any) -> str:
    """The name of a folder that says the value of a column, as Hive writes it; but for a missing value.

    Of Hive's own name for that, pyarrow 26 makes a column that pandas cannot take.
    """
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    folder = f"{quote(as_text(name), safe='')}={quote('' if missing else as_text(value), safe='')}"
    if len(folder) > _LONGEST_FOLDER:
        raise RequestError(
            f"A value of {name!r:.60} is too long for the name of a folder: {folder:.60}…",
            remedy="Leave by out: it is a column of the replies, which every query can group by.",
        )
    return folder


def _fill(source: Any, folder: Path, by: tuple[str, ...], rows_per_file: int) -> None:
    """Write the events while the summary walks over the recordings, and the summary then."""
    keys: list[Key] = []
    files: list[str | None] = []
    found: set[str] = set()
    group = min(_GROUP, rows_per_file)
    waiting = _Waiting(group)
    with Parts(folder / "events", rows_per_file, group, ["type"]) as parts:

        def walk() -> Iterator[Recording]:
            for name, recording in _walk(source):
                values = {column: _value(recording, column) for column in by}
                found.update(column for column, value in values.items() if value is not None)
                key = tuple(_folder(*item) for item in values.items())
                keys.append(key)
                files.append(name)
                parts.take(waiting.add(key, recording))
                yield recording

        table = _replies(summary(walk()), files)
        parts.take(waiting.rest())
        if not keys:
            warn("There are no recordings in this source: the dataset has columns, and no rows.")
            parts.take([((), _schema().empty_table())])
    if keys and not found.issuperset(by):
        lacking = next(column for column in by if column not in found)
        raise RequestError(
            f"No recording has a label {lacking!r:.60} to divide the dataset by.",
            remedy=f"Columns of the summary: {', '.join(table.schema.names):.600}.",
        )
    table = table.drop_columns([name for name in by if name in table.schema.names])  # the folder says it
    with Parts(folder / "replies", rows_per_file, group, ["model", "status", "stop_reason"]) as parts:
        rows: dict[Key, list[int]] = {} if keys else {(): []}
        for number, key in enumerate(keys):
            rows.setdefault(key, []).append(number)
        parts.take((key, table.take(pa.array(numbers, pa.int64()))) for key, numbers in rows.items())
