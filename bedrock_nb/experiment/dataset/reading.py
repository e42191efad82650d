"""A dataset, read back without loading all of it.

Strategy: pyarrow shows all parts as one table of which nothing is read yet; DuckDB, Dask and pandas take what
they need of it. The recordings are a column that nobody reads who does not ask for it.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import accumulate, islice
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from bedrock_nb import files
from bedrock_nb.errors import BedrockNbError, RecordingError, RequestError, also, close
from bedrock_nb.experiment.dataset.joined import frame, joined, part_frame, run_of
from bedrock_nb.experiment.dataset.place import Place, check, extra
from bedrock_nb.folder.site import warn
from bedrock_nb.recording import Recording

__all__ = ["Dataset", "open_dataset"]

# Recordings that are read at once.
_READ = 16
# Parts whose recordings are held for who asks for them by their keys.
_HELD = 4
# What `Dataset.sql` calls a table -> which it is, and its columns; None: all but the recording.
_VIEWS: dict[str, tuple[str, list[str] | None]] = {
    "replies": ("replies", None),
    "events": ("events", None),
    "recordings": ("replies", ["run", "key", "recording"]),
}


def open_dataset(folder: str | os.PathLike[str], *, run: str | Sequence[str] | None = None) -> Dataset:
    """Open the replies that a run of many processes has written; they stay where they are.

    Parameters
    ----------
    folder : path or URL
        What was ``folder`` there: a path, or anything that fsspec knows, such as ``"s3://bucket/runs"``.
    run : str or list of str, optional
        Only these runs.

    Returns
    -------
    Dataset

    Raises
    ------
    RecordingError
        There is no dataset, or no such run in it.
    RequestError
        A URL of something that is not known here.

    Examples
    --------
    >>> runs = nb.open_dataset("s3://bucket/runs")                       # doctest: +SKIP
    >>> runs.sql("select model, median(ttft_s) from replies group by 1")  # doctest: +SKIP
    >>> nb.compare(runs.summary(["model", "ttft_s", "status"]), by="model")  # doctest: +SKIP
    """
    found = Dataset(Place(folder), run)
    if len(found.runs):
        return found
    there = Dataset(Place(folder), None).runs
    what = f"no run {run!r:.60}" if there else "no run with a reply"
    raise RecordingError(
        f"In {found.name!r} there is {what}.",
        remedy=f"There are: {', '.join(there):.300}."
        if there
        else "Give the folder= of a sweep or load test with executor=. nb.load_folder opens folders of "
        "recordings, and nb.to_parquet makes tables of them.",
    )


class Dataset:
    """Replies in Parquet files: as tables, in SQL, with Dask, or one recording after the other.

    Made by `open_dataset`. Iteration gives recordings and holds few at a time, so `bedrock_nb.summary` and
    all plots take it; they measure each anew. `summary` reads what was measured.

    Attributes
    ----------
    name : str
        Where it is.
    runs : list of str
    problems : dict of str to str
        Parts that cannot be read, and why; known once something was read.

    Notes
    -----
    It is what was there when it was opened. Times of replies are durations, by the clock of who asked. Only
    ``started`` is a time of day, and clocks of two machines do not agree on it.
    """

    def __init__(self, place: Place, run: str | Sequence[str] | None) -> None:
        wanted = [run] if isinstance(run, str) else run
        if wanted is not None:
            for name in wanted:
                check(run=name)
        self._place, self.name = place, place.name
        self._replies = place.parts("replies", wanted)
        self.runs = sorted({run_of(path) for path in self._replies})
        self.problems: dict[str, str] = {}

    def __len__(self) -> int:
        return int(self._table("replies").count_rows()) if self._replies else 0

    def __iter__(self) -> Iterator[Recording]:
        return self.recordings()

    def __repr__(self) -> str:
        runs = f"{len(self.runs)} run{'s' * (len(self.runs) != 1)}"
        parts = f"{len(self._replies):,} part{'s' * (len(self._replies) != 1)}"
        return f"<Dataset {self.name!r}: {len(self):,} replies of {runs} in {parts}>"

    def keys(self, **where: Any) -> list[str]:
        """The key of each reply."""
        found: list[str] = self._read(["key"], where)["key"].to_pylist()
        return found

    def summary(self, columns: str | Sequence[str] | None = None, **where: Any) -> pd.DataFrame:
        """A row per reply, as ``bedrock_nb.summary`` measured it where the reply was asked for.

        Parameters
        ----------
        columns : list of str, optional
            Only these are read. By default ``run``, ``key``, all of ``nb.summary`` and labels.
        **where
            A value, or a list of values, of a column: ``model="…", status=["error", "incomplete"]``.

        Raises
        ------
        RequestError
            There is no such column.
        RecordingError
            The files cannot be read.
        """
        wanted = [columns] if isinstance(columns, str) else columns
        return frame(self._read(wanted, where))

    def recordings(self, **where: Any) -> Iterator[Recording]:
        """The recordings that are so, one after the other, each as it was; ``where`` as for `summary`.

        Raises
        ------
        RecordingError
            One of them is damaged.
        """
        if not self._replies:
            return
        batches = self._table("replies").to_batches(
            columns=["key", "recording"],
            filter=self._filter(where),
            batch_size=_READ,
            batch_readahead=1,
            fragment_readahead=1,
        )
        with self._reading():
            for batch in batches:
                for key, data in zip(batch["key"].to_pylist(), batch["recording"], strict=True):
                    yield files.loaded(data.as_py(), key, Recording)

    def recording(self, key: str) -> Recording:
        """One recording; those whose keys lie near each other in `keys` come quickly.

        Raises
        ------
        RequestError
            No reply has this key.
        RecordingError
            It is damaged.
        """
        row = pc.index(self._keys, key).as_py() if self._replies else -1
        if row < 0:
            raise also(RequestError, KeyError)(f"There is no reply {key!r:.60} in {self.name!r}.")
        part = bisect_right(self._begins, row) - 1
        return files.loaded(self._held(part)[row - self._begins[part]].as_py(), key, Recording)

    def sql(self, query: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Ask DuckDB; it reads the columns and rows that the question needs.

        Parameters
        ----------
        query : str
            Tables: ``replies`` (the columns of `summary`), ``events`` (``run``, ``key``, and the columns of
            ``nb.events``) and ``recordings`` (``run``, ``key``, ``recording``).
        parameters : list or dict, optional
            Values for ``?`` or ``$name`` in it.

        Raises
        ------
        RequestError
            DuckDB is not installed, or refuses the question.
        """
        duckdb = extra("duckdb", "Questions in SQL", "duckdb")
        connection = duckdb.connect(config={"python_enable_replacements": False})
        try:
            for view, (name, columns) in _VIEWS.items():
                table = self._table(name)
                fields = [table.schema.field(column) for column in columns or self._columns(name, None)]
                connection.register(view, table.replace_schema(pa.schema(fields)))
            made: pd.DataFrame = connection.execute(query, parameters).df()
            return made
        except duckdb.Error as err:
            raise RequestError(
                f"DuckDB says: {err}", remedy="Tables are replies, events, recordings."
            ) from None
        finally:
            connection.close()

    def dask(self, table: str = "replies", columns: Sequence[str] | None = None) -> Any:
        """The rows of `summary`, or of events, as a Dask DataFrame: a partition for each part.

        Parameters
        ----------
        table : {"replies", "events"}
        columns : list of str, optional
            Only these are read.

        Raises
        ------
        RequestError
            Dask is not installed, or there is no such table or column.
        """
        frames = extra("dask.dataframe", "Tables of Dask")
        if table not in ("replies", "events"):
            raise RequestError(f"There is no table {table!r:.40}.", remedy='Take "replies" or "events".')
        names, schema = self._columns(table, columns), self._table(table).schema
        meta = frame(schema.empty_table().select(names))
        paths = getattr(self._table(table), "files", None)
        if not paths:
            return frames.from_pandas(meta, npartitions=1)
        read = partial(part_frame, url=self._place.url, name=table, schema=schema, columns=names)
        return frames.from_map(read, paths, meta=meta)

    # -- tables of Arrow ---------------------------------------------------------------------------

    @cached_property
    def _events(self) -> list[str]:
        """Of the parts that count: those of a worker that died have no replies."""
        there = {path.replace("/replies/run=", "/events/run=") for path in self._replies}
        return [path for path in self._place.parts("events", self.runs) if path in there]

    @cached_property
    def _keys(self) -> pa.ChunkedArray:
        return self._read(["key"], {})["key"]

    @cached_property
    def _begins(self) -> list[int]:
        """The row with which each part begins."""
        counts = (fragment.count_rows() for fragment in self._table("replies").get_fragments())
        return list(accumulate(counts, initial=0))[:-1]

    def _held(self, part: int) -> pa.ChunkedArray:
        """The recordings of a part; of the last few they are kept."""
        held = self._last.pop(part, None)
        if held is None:
            fragment = next(islice(self._table("replies").get_fragments(), part, None))
            with self._reading():
                held = fragment.to_table(columns=["recording"])["recording"]
        self._last[part] = held
        while len(self._last) > _HELD:
            del self._last[next(iter(self._last))]
        return held

    @cached_property
    def _last(self) -> dict[int, pa.ChunkedArray]:
        return {}

    @cached_property
    def _tables(self) -> dict[str, Any]:
        return {}

    def _table(self, name: str) -> Any:
        """All parts as one table, of which nothing is read yet."""
        if name not in self._tables:
            with self._reading():
                paths = self._replies if name == "replies" else self._events
                self._tables[name] = self._opened(name, paths)
        return self._tables[name]

    def _opened(self, name: str, paths: list[str]) -> Any:
        try:
            return joined(self._place, name, paths)
        except (OSError, ValueError):  # pyarrow's own errors are of these
            damaged = {path: why for path in paths if (why := self._place.damage(path))}
            if not damaged:
                raise
        self.problems |= {path.removeprefix(f"{self._place.root}/"): why for path, why in damaged.items()}
        what = "1 part" if len(damaged) == 1 else f"{len(damaged):,} parts"
        warn(f"{what} of {self.name!r} cannot be read and stays out: see its problems.")
        return joined(self._place, name, [path for path in paths if path not in damaged])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except BedrockNbError:
            raise
        except (OSError, ValueError) as err:
            raise RecordingError(f"The dataset {self.name!r} cannot be read: {err}.") from None

    def _columns(self, name: str, wanted: Sequence[str] | None) -> list[str]:
        """The columns that are asked for; all but the recording if none are named."""
        known = self._table(name).schema.names
        shown = ["run", *(column for column in known if column not in ("run", "recording"))]
        for column in wanted or ():
            if column not in known:
                raise RequestError(
                    f"There is no column {column!r:.60}.",
                    remedy=f"{close(column, known)}There are: {', '.join(shown):.600}.",
                )
        return shown if wanted is None else list(wanted)

    def _read(self, columns: Sequence[str] | None, where: Mapping[str, Any]) -> pa.Table:
        names, filter = self._columns("replies", columns), self._filter(where)
        with self._reading():
            return self._table("replies").to_table(columns=names, filter=filter)

    def _filter(self, where: Mapping[str, Any]) -> Any:
        """What Arrow asks of each row, or None."""
        self._columns("replies", list(where))
        asked = None
        for name, value in where.items():
            values = list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
            kind = self._table("replies").schema.field(name).type
            try:
                one = pc.field(name).isin(pa.array([v for v in values if v is not None], kind))
            except (ValueError, TypeError):  # pyarrow's own errors are of these
                raise RequestError(f"{name} is compared with {value!r:.60}; it is of type {kind}.") from None
            one = one | pc.field(name).is_null() if None in values else one
            asked = one if asked is None else asked & one
        return asked
