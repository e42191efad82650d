"""Whatever holds replies -> what a report needs to know of them.

Strategy: recordings are walked over once, see `walking`; of a table, a dataset or a load test the rows are
there, and what only recordings tell stays empty. Experiments are known by what they offer, not by their
class: they are neighbours in the layers.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from bedrock_nb import models
from bedrock_nb.compare.samples import labels, samples
from bedrock_nb.errors import BedrockNbError, without_accounts
from bedrock_nb.folder.site import is_dataset
from bedrock_nb.recording import Recording
from bedrock_nb.report.walking import Lot, Seen, fields_of, in_words, watched
from bedrock_nb.table import each, summary
from bedrock_nb.table.frame import check_table, conditions

__all__ = ["Material", "chosen_by", "collected"]

#: So many recordings of a dataset are read: its table alone has a million replies.
_READ = 500
#: More conditions than this say nothing in one picture.
_MOST_CONDITIONS = 12
#: Labels that number replies and are no condition.
_NUMBERS = ("repeat", "user", "key", "run", "request_id", "failure")


@dataclass
class Material:
    """All that a report is made of.

    Attributes
    ----------
    kind : {"replies", "race", "sweep", "load test", "dataset", "table"}
    name : str
        Of the file or folder; empty if there is none.
    folder : Path or None
        Where the report goes by default.
    table : pandas.DataFrame
        As of `bedrock_nb.summary`, without warm-up and account numbers.
    sample : list of Recording
        A few, drawn by lot, in their order.
    plan : dict
        What the experiment itself says of its settings; plain JSON.
    result : object or None
        The experiment, if it has more than replies.
    said : list of str
        What the experiment itself has to say.
    """

    kind: str
    name: str
    folder: Path | None
    table: pd.DataFrame
    sample: list[Recording] = field(default_factory=list)
    seen: Seen = field(default_factory=Seen)
    plan: dict[str, Any] = field(default_factory=dict)
    result: Any = None
    said: list[str] = field(default_factory=list)

    def order(self) -> None:
        """Put the table in the order of the sweep's grid: conditions are asked by lot, and told by plan."""
        grid = self.plan.get("grid")
        for name, values in reversed(grid.items()) if isinstance(grid, dict) else ():
            if name in self.table.columns and isinstance(values, list):
                places = {_known(name, value): place for place, value in enumerate(values)}
                at = [places.get(_known(name, value), len(places)) for value in self.table[name]]
                self.table = self.table.iloc[sorted(range(len(at)), key=at.__getitem__)]

    def leave_out(self, warmup: int, by: Sequence[str]) -> None:
        """Take the first replies of each condition out of the table, as `bedrock_nb.compare` does."""
        parts = samples(self.table, None, by, warmup)
        self.table = pd.concat([part.rows for part in parts]).sort_index()
        dropped = sum(part.dropped for part in parts)
        self.said.append(
            f"Left out of all tables as warm-up: {dropped:,} replies, the first {warmup} of each condition."
        )


def collected(source: Any) -> Material:
    """One `Material` of any source that `bedrock_nb.report` takes.

    Raises
    ------
    RequestError
        It holds no replies, or is something else.
    RecordingError
        A path that is not readable.
    """
    if isinstance(source, str | os.PathLike):
        return _from_path(source)
    if isinstance(source, pd.DataFrame):
        return _of_table(source, "table")
    if hasattr(source, "stages") and hasattr(source, "table"):
        return _of_load(source)
    if hasattr(source, "runs") and hasattr(source, "summary"):
        return _of_dataset(source)
    if hasattr(source, "left") and hasattr(source, "cells"):
        return _of_sweep(source)
    found = _of_recordings(source, "race" if hasattr(source, "winner") else "replies")
    _note_damaged(found, getattr(source, "problems", ()))
    return found


def chosen_by(material: Material, by: str | Sequence[str] | None) -> list[str]:
    """The columns that make the conditions: those asked for, or those that differ without being too many."""
    if by is not None:
        names = [by] if isinstance(by, str) else list(by)
        conditions(material.table.head(0), names)  # so that a column that there is not is told
        return names
    found: list[str] = []
    for name in _candidates(material):
        if len(conditions(material.table, [*found, name])) <= _MOST_CONDITIONS:
            found.append(name)
    return found or ["model"]


def _candidates(material: Material) -> list[str]:
    if material.kind == "race" and "racer" in material.table.columns:
        return ["racer"]
    if material.kind == "load test":
        return [name for name in ("level", "stage") if material.table[name].nunique() > 1][:1]
    own = material.plan.get("grid")
    differing = [name for name in labels(material.table) if name not in _NUMBERS]
    if isinstance(own, Mapping) and own:  # what was varied on purpose comes first
        if "model" in own and "label_model" in differing:  # names of models, which say more than their ids
            differing = ["label_model", *(name for name in differing if name not in ("model", "label_model"))]
        differing.sort(key=lambda name: name.removeprefix("label_") not in own)
    return differing


# -- sources -----------------------------------------------------------------------------------------


def _from_path(source: str | os.PathLike[str]) -> Material:
    import bedrock_nb

    if "://" in str(source):
        return _of_dataset(bedrock_nb.open_dataset(str(source)))
    path = Path(source)
    if not path.is_dir():
        return _placed(_of_recordings(path, "replies"), path.parent, path)
    if (path / "load.json").is_file():
        return _placed(_of_load(bedrock_nb.LoadResult.load(path)), path)
    plan = _plan(path)
    if is_dataset(path):
        found = _of_dataset(bedrock_nb.open_dataset(path))
    else:
        folder = bedrock_nb.load_folder(path / "replies" if plan else path)
        found = _of_recordings(folder, "replies")
        _note_damaged(found, folder.problems)
    if plan:
        found.kind, found.plan = "sweep", plan
        found.order()
        _note_sweep(found, plan.get("status"), plan.get("left"), plan.get("warmup"))
    return _placed(found, path)


def _of_sweep(source: Any) -> Material:
    folder = None if source.folder is None or "://" in source.folder else Path(source.folder)
    if source.folder is not None and (folder is None or is_dataset(folder)):
        found = _of_many(source.table, source, "sweep")
    else:
        found = _of_recordings(source, "sweep")
    _note_sweep(found, source.status, len(source.left), source.warmup)
    if folder is not None:
        found.plan = _plan(folder)
        found.order()
        _placed(found, folder)
    return found


def _placed(found: Material, folder: Path, named: Path | None = None) -> Material:
    found.folder, found.name = folder, (named or folder).resolve().name
    return found


def _plan(folder: Path) -> dict[str, Any]:
    """What a sweep wrote of itself; nothing if there is none, or it cannot be read."""
    try:
        found = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _known(name: str, value: Any) -> str:
    """A value as it is compared: a model by its id, for a grid may have its short name."""
    if name == "model":
        with contextlib.suppress(BedrockNbError):  # whatever stands in a file
            return models.resolve(str(value))
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def _note_damaged(found: Material, problems: Any) -> None:
    if isinstance(problems, Mapping) and problems:
        found.said.append(
            f"Files that were left out, for they are damaged or no recordings: {len(problems):,}."
        )


def _note_sweep(found: Material, status: Any, left: Any, warmup: Any) -> None:
    """What a sweep says of its end."""
    if status and status != "complete":
        found.said.append(f"The sweep had not come to its end when this page was made: {in_words(status)}.")
    if left:
        found.said.append(f"Of its cells, these were not asked: {in_words(left)}.")
    if warmup:
        found.said.append(f"Replies that were asked for first, to warm up, and not kept: {in_words(warmup)}.")


def _of_recordings(source: Any, kind: str) -> Material:
    seen, kept = Seen(), Lot()
    table = summary(watched(each(source), seen, kept))
    return Material(kind, "", None, _sound(table), kept.taken, seen)


def _of_table(table: pd.DataFrame, kind: str) -> Material:
    check_table(table, ("model", "status"))
    return Material(kind, "", None, _sound(table.reset_index(drop=True)))


def _of_load(result: Any) -> Material:
    table = result.table
    known = table["warmup"].fillna(False).astype(bool) if "warmup" in table.columns else None
    found = _of_table(table if known is None else table[~known], "load test")
    found.result = result
    found.said = [str(one) for one in result.warnings]
    if known is not None and known.any():
        found.said.append(f"Left out as warm-up: {int(known.sum()):,} of {len(table):,} replies.")
    found.seen.endings = Counter({f"failed: {kind}": n for kind, n in result.failures.items()})
    found.plan = fields_of(result.plan)
    return found


def _of_dataset(source: Any) -> Material:
    found = _of_many(source.summary(), source, "dataset")
    _note_damaged(found, source.problems)
    return found


def _of_many(table: pd.DataFrame, source: Iterable[Any], kind: str) -> Material:
    """Of so many replies that their table is there, and only the first of them are read."""
    found = _of_table(table, kind)
    kept = Lot()
    for _ in watched(islice(each(source), _READ), found.seen, kept):
        pass
    found.sample = kept.taken
    if len(table) > found.seen.recordings:
        found.said.append(
            f"Settings, clocks and pictures of single replies are those of the first "
            f"{found.seen.recordings:,} of {len(table):,} replies; all tables are of all."
        )
    return found


def _sound(table: pd.DataFrame) -> pd.DataFrame:
    """The same without numbers of accounts, which stand in the ARNs of models and may stand in labels."""
    table = table.loc[:, ~table.columns.duplicated()]
    masked = {}
    for name in table.columns:
        kind = table[name].dtype
        if not pd.api.types.is_string_dtype(kind) and not pd.api.types.is_object_dtype(kind):
            continue
        values = table[name].map(without_accounts, na_action="ignore")
        masked[name] = values.astype(kind)
    return table.assign(**masked)
