"""The parts of a dataset as one table of Arrow, and such a table as pandas has it.

Strategy: a part has the columns of its replies, and what others have besides is missing there. Types are
those of `bedrock_nb.summary` and `bedrock_nb.events`, in whatever part and by whatever reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from bedrock_nb.experiment.dataset.place import Place
from bedrock_nb.formats.parquet import event_table, reply_table

__all__ = ["frame", "joined", "part_frame", "run_of"]


def joined(place: Place, name: str, paths: Sequence[str], schema: pa.Schema | None = None) -> Any:
    """Parts as one table; by default of all their columns."""
    run = pa.schema([("run", pa.string())])
    if not paths:
        empty = event_table([], []) if name == "events" else reply_table([])
        more = {"key": pa.string(), "run": pa.string()}
        if name == "replies":
            more["recording"] = pa.large_binary()
        for column, kind in more.items():
            empty = empty.append_column(column, pa.array([], kind))
        return pads.dataset(empty)
    options = pads.FileSystemFactoryOptions(
        partitioning=pads.partitioning(run, flavor="hive"), partition_base_dir=f"{place.root}/{name}"
    )
    factory = pads.FileSystemDatasetFactory(place.files, paths, pads.ParquetFileFormat(), options)
    if schema is None:
        try:
            schema = factory.inspect(promote_options="permissive", fragments=None)
        except pa.ArrowTypeError:  # two runs may call different things by one label
            schema = _of_all([pq.read_schema(path, filesystem=place.files) for path in paths]).append(
                run.field(0)
            )
    return factory.finish(schema)


def _of_all(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The columns of all; what is of several types is text, or a float if they are numbers."""
    kinds: dict[str, list[pa.DataType]] = {}
    for schema in schemas:
        for column in schema:
            known = kinds.setdefault(column.name, [])
            known += [column.type] if column.type not in known else []
    numbers = [pa.int64(), pa.float64()]
    return pa.schema(
        (
            name,
            each[0] if len(each) == 1 else pa.float64() if all(k in numbers for k in each) else pa.string(),
        )
        for name, each in kinds.items()
    )


def part_frame(path: str, url: str, name: str, schema: pa.Schema, columns: Sequence[str]) -> pd.DataFrame:
    """One part as a table; a worker of Dask calls it."""
    return frame(joined(Place(url), name, [path], schema).to_table(columns=list(columns)))


def run_of(path: str) -> str:
    """The run that a file is a part of."""
    return path.rpartition("/run=")[2].partition("/")[0]


@cache
def _kinds() -> dict[str, Any]:
    """Column -> its type in the tables of bedrock_nb."""
    import bedrock_nb

    tables = (bedrock_nb.summary([]), bedrock_nb.events([]))
    return {str(name): kind for table in tables for name, kind in table.dtypes.items()}


def frame(table: pa.Table) -> pd.DataFrame:
    """A table with the types that `bedrock_nb.summary` gives; whole numbers of labels may be missing."""
    plain = table.replace_schema_metadata(None)
    made: pd.DataFrame = plain.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return made.astype({name: kind for name, kind in _kinds().items() if name in made.columns})
