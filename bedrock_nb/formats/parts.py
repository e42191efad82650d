"""Arrow tables -> a folder of Parquet files, all or nothing.

Strategy: the folder is filled beside its place and put there when it is whole. Each condition has a folder of
its own in it, and files that are ended when they are long enough; few are open at a time.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from bedrock_nb import lines
from bedrock_nb.errors import RecordingError

__all__ = ["MARK", "Key", "Parts", "placed"]

#: A condition: the names of the folders, one inside the other, that its files are in.
Key: TypeAlias = tuple[str, ...]

#: Member of each file's metadata that says of which table it is.
MARK = b"bedrock_nb.format"
#: The tables of a dataset, each a folder.
TABLES = ("events", "replies")
# Files that are open at once; with more conditions than that, one is closed and its next part begun.
_OPEN = 32


class Parts:
    """The files of one table: ``part-00000.parquet`` and so on, in the folder of each condition."""

    def __init__(self, folder: Path, rows: int, group: int, repeated: list[str]) -> None:
        self.folder, self.rows, self.group, self.repeated = folder, rows, group, repeated
        self._open: dict[Key, _Part] = {}
        self._begun: dict[Key, int] = {}

    def take(self, tables: Iterable[tuple[Key, pa.Table]]) -> None:
        """Write tables, each to the end of its condition's files."""
        for key, table in tables:
            for begin in range(0, max(1, len(table)), self.rows):
                self._write(key, table.slice(begin, self.rows))

    def _write(self, key: Key, table: pa.Table) -> None:
        part = self._open.pop(key, None)
        if part is not None and part.rows + len(table) > self.rows:
            part.close()
            part = None
        if part is None:
            if len(self._open) >= _OPEN:
                self._open.pop(next(iter(self._open))).close()
            number = self._begun[key] = self._begun.get(key, -1) + 1
            place = self.folder.joinpath(*key)
            place.mkdir(parents=True, exist_ok=True)
            names = [name for name in self.repeated if name in table.schema.names]
            part = _Part(place / f"part-{number:05}.parquet", table.schema, names)
        self._open[key] = part  # at the end: the first is the one that was not used for longest
        part.write(table, self.group)

    def __enter__(self) -> Parts:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as all_of_them:
            for part in self._open.values():
                all_of_them.callback(part.close)


class _Part:
    """One file that grows by groups of rows."""

    def __init__(self, path: Path, schema: pa.Schema, repeated: list[str]) -> None:
        self.rows = 0
        self._file = path.open("xb")
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd", use_dictionary=repeated)

    def write(self, table: pa.Table, group: int) -> None:
        self._writer.write_table(table, row_group_size=group)
        self.rows += len(table)

    def close(self) -> None:
        try:
            self._writer.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


# -- the place -------------------------------------------------------------------------------------


@contextmanager
def placed(place: Path, overwrite: bool) -> Iterator[Path]:
    """A new folder, its owner's alone, that is put in its place unless filling it fails.

    Raises
    ------
    RecordingError
        The place is taken by anything but a dataset that may be replaced, or it cannot be written to.
    """
    try:
        _check(place, overwrite)
        made = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name[:40]}."))
        try:
            yield made
            _put(made, place)
        finally:
            shutil.rmtree(made, ignore_errors=True)
    except OSError as err:
        raise RecordingError(
            f"The dataset {place.name!r} cannot be written: {lines.why(err)}.",
            remedy="Check that the folder around it exists and may be written to.",
        ) from None  # the cause would show the absolute path


def _check(place: Path, overwrite: bool) -> None:
    if not (place.exists() or place.is_symlink()) or (place.is_dir() and not any(place.iterdir())):
        return
    ours = not place.is_symlink() and place.is_dir() and _is_dataset(place)
    if ours and overwrite:
        return
    raise RecordingError(
        f"{place.name!r} is there already{'' if ours else ', and is no dataset of recordings'}.",
        remedy="Give overwrite=True to replace it." if ours else "Give the name of a new folder.",
    )


def _is_dataset(place: Path) -> bool:
    """Whether a folder holds the two tables that `Parts` wrote, and nothing else at all."""
    held = [path for path in place.rglob("*") if not path.is_dir()]
    return bool(held) and all(path.relative_to(place).parts[0] in TABLES and _is_ours(path) for path in held)


def _is_ours(path: Path) -> bool:
    try:
        said = pq.read_schema(path).metadata or {}
    except (OSError, ValueError):  # pyarrow's own errors are of these
        return False
    return bool(said.get(MARK, b"").startswith(b"bedrock-nb-"))


def _put(made: Path, place: Path) -> None:
    """Put a whole dataset in its place; what was there goes only then."""
    if not (place.is_dir() and any(place.iterdir())):
        made.rename(place)
        return
    aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name[:40]}."))
    try:
        place.rename(aside / "old")
        made.rename(place)
    except BaseException:  # an interrupt may come at any moment
        if not place.exists() and (aside / "old").exists():
            (aside / "old").rename(place)
        raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)
