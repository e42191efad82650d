"""Replies -> a part of a dataset, all or nothing.

Strategy: a part is made in memory and is two files, events first and replies last: the second is what counts.
Before each, the worker looks whether the run is still its attempt's and the part still missing.
"""

from __future__ import annotations

import io
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_nb import files
from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.dataset.place import Place, check
from bedrock_nb.experiment.dataset.reading import Dataset
from bedrock_nb.formats.parquet import as_text, event_table, reply_table
from bedrock_nb.recording import Recording

__all__ = ["begin", "label_kinds", "read_part", "write_part"]

#: Names of `label_kinds` -> types of columns.
_ARROW = {"bool": pa.bool_(), "float": pa.float64(), "int": pa.int64(), "str": pa.string()}
_INT64 = range(-(2**63), 2**63)
# What labels may not be called besides the columns of nb.summary; theirs is label_…, then, as there.
_TAKEN = ("recording", "run")
# Few values, many times: written as numbers of a dictionary.
_REPEATED = ("key", "model", "status", "stop_reason", "type")
# Says which attempt a run belongs to; readers of Hive's layout pass over what begins with "_".
_ATTEMPT = "_attempt"


def begin(folder: str | os.PathLike[str], run: str) -> tuple[str, Dataset]:
    """Take a run over, and say what it has.

    Returns
    -------
    attempt : str
        For `write_part`: from now on, parts of earlier attempts are not taken.
    there : Dataset
        The replies that are there, maybe none.

    Raises
    ------
    RequestError
        ``run`` is no name, or the folder is a URL of something that is not known here.
    RecordingError
        The folder cannot be written to or read.
    """
    check(run=run)
    place, attempt = Place(folder), secrets.token_hex(8)
    place.write(f"replies/run={run}/{_ATTEMPT}", attempt.encode())
    return attempt, Dataset(place, run)  # after it: what came before is in it, what comes later is refused


def write_part(
    folder: str | os.PathLike[str],
    recordings: Sequence[Recording],
    *,
    run: str,
    name: str,
    keys: Sequence[str] | None = None,
    kinds: Mapping[str, str] | None = None,
    attempt: str | None = None,
) -> bool:
    """Write replies as one part of a run, all or nothing.

    Parameters
    ----------
    folder : path or URL
    recordings : list of Recording
        They are held together; some hundreds are a good size.
    run : str
        A name of letters, digits, dots, dashes and underscores.
    name : str
        Of the part, such a name, too. Who does the same work again gives the same name.
    keys : list of str, optional
        A name for each reply that no other reply of the run has. By default ``<name>-0``, ``<name>-1`` …
    kinds : mapping, optional
        Types of the label columns, see `label_kinds`: they should be those of all parts. By default they are
        found from the labels here.
    attempt : str, optional
        What `begin` gave. By default the run is nobody's.

    Returns
    -------
    bool
        Whether it was written: not if the part is there, or another attempt has taken the run over.

    Raises
    ------
    RequestError
        A name is none, keys and recordings are not as many, or a label is not of its kind.
    RecordingError
        A recording or the folder cannot be written.
    """
    place = Place(folder)
    check(run=run, name=name)
    keys = [f"{name}-{number}" for number in range(len(recordings))] if keys is None else list(keys)
    if len(keys) != len(recordings):
        raise RequestError(f"There are {len(keys)} keys for {len(recordings)} recordings.")
    kinds = label_kinds(one.labels for one in recordings) if kinds is None else kinds
    events, replies = _event_rows(recordings, keys), _reply_rows(recordings, keys, kinds)
    part = f"run={run}/part-{name}.parquet"
    for table, rows in (("events", events), ("replies", replies)):
        # Looked at each time: a worker may have been held up for long, just here.
        said = None if attempt is None else place.read(f"replies/run={run}/{_ATTEMPT}")
        if said not in (None, str(attempt).encode()) or place.has_part(f"replies/{part}"):
            return False
        place.write(f"{table}/{part}", rows)
    return True


def read_part(
    folder: str | os.PathLike[str], *, run: str, name: str, columns: Sequence[str]
) -> list[dict[str, Any]] | None:
    """The rows of a part, some of their columns; None if it is not there, or not whole."""
    data = Place(folder).read(f"replies/run={run}/part-{name}.parquet")
    if data is None:
        return None
    try:
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(data), columns=list(columns)).to_pylist()
    except (OSError, ValueError):  # pyarrow's own errors are of these
        return None
    return rows


def label_kinds(labels: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Label -> the type of its column, such that all these values fit: "bool", "int", "float" or "str".

    What is of several types, or no scalar, is text there; the recordings have it as it was.
    """
    found: dict[str, set[str]] = {}
    for each in labels:
        for label, value in each.items():
            found.setdefault(str(label), set()).update([] if value is None else [_kind(value)])
    return {label: _one_kind(kinds) for label, kinds in found.items()}


def _kind(value: Any) -> str:
    kind = type(value).__name__
    return kind if kind in ("bool", "float") or (kind == "int" and value in _INT64) else "str"


def _one_kind(kinds: set[str]) -> str:
    if kinds == {"int", "float"}:
        return "float"
    return next(iter(kinds)) if len(kinds) == 1 else "str"


def _event_rows(recordings: Sequence[Recording], keys: Sequence[str]) -> bytes:
    table = event_table(recordings, range(len(recordings)))
    number = table.schema.get_field_index("recording")
    named = pa.array(keys, pa.string()).take(table.column(number).combine_chunks())
    return _parquet(table.set_column(number, "key", named))


def _reply_rows(recordings: Sequence[Recording], keys: Sequence[str], kinds: Mapping[str, str]) -> bytes:
    table = reply_table(recordings).add_column(0, "key", pa.array(keys, pa.string()))
    for label, kind in kinds.items():
        values = [one.labels.get(label) for one in recordings]
        if kind == "str":
            values = [None if value is None else as_text(value) for value in values]
        try:
            column = pa.array(values, _ARROW[kind])
        except (ValueError, TypeError, OverflowError):  # pyarrow's own errors are of these
            raise RequestError(
                f"A label {label!r:.60} is no {kind}, as all of its column should be.",
                remedy="label_kinds finds what fits the labels of all recordings.",
            ) from None
        table = table.append_column(_column(label, table.schema.names), column)
    whole = pa.array([files.dumped(one) for one in recordings], pa.large_binary())
    return _parquet(table.append_column("recording", whole))


def _column(label: str, taken: Sequence[str]) -> str:
    name = as_text(label)
    while name in (*_TAKEN, *taken):
        name = f"label_{name}"
    return name


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    names = table.schema.names
    pq.write_table(
        table,
        buffer,
        compression="zstd",
        use_dictionary=[name for name in _REPEATED if name in names],
        write_statistics=[name for name in names if name != "recording"],
    )
    return buffer.getvalue()
