"""What stays of a load test: the recordings of its replies as a dataset, and the result as two files.

Strategy: recordings are gathered and written in parts of some hundreds, by one thread beside the loop, so
that no start waits for a disk. If that fails, the run goes on without: its rows are what it is for.

Of the result the table is written first, in Parquet, and what was planned last, in JSON, each all or nothing;
the JSON has the checksum of the table, so files of different runs are never taken for one. Of prompts only
what stands for them is kept, as in the table. Nothing in the files is ever run.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedrock_nb import __version__, files, lines
from bedrock_nb.errors import BedrockNbError, RecordingError
from bedrock_nb.experiment.dataset import label_kinds, write_part
from bedrock_nb.experiment.load.arrivals import Stage
from bedrock_nb.experiment.load.lengths import Lengths
from bedrock_nb.experiment.load.plan import Plan, Think
from bedrock_nb.experiment.load.prompts import Asked, Prompts
from bedrock_nb.experiment.load.rows import LOAD_COLUMNS, PLACES
from bedrock_nb.experiment.noting import plain, settings_in_words
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    from bedrock_nb.experiment.load.result import LoadResult

__all__ = ["FORMAT", "JSON", "PARQUET", "Gatherer", "Place", "load", "place_in", "save"]

FORMAT, VERSION = "bedrock-nb-load", 1
JSON, PARQUET = "load.json", "load.parquet"
_REMEDY = "LoadResult.save writes one into a folder."

#: Recordings of one part.
_PART = 500
#: Values of the types that those labels have which say where a request stood.
_TYPES = {"Int64": 1, "float64": 1.0, "str": "", "bool": True}

# -- recordings --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """Where recordings go: folder or URL, name of the run, types of the label columns."""

    folder: str
    run: str
    kinds: Mapping[str, str] = field(default_factory=dict)


def place_in(folder: str | os.PathLike[str], plan: Plan) -> Place:
    """A new run in a folder, named by the moment at which it begins."""
    run = f"load-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    places = {name: _TYPES[LOAD_COLUMNS[name]] for name in PLACES}
    return Place(os.fspath(folder), run, label_kinds([{**plan.labels, **places}]))


class Gatherer:
    """Takes the recordings of one worker; `close` waits until all are written.

    Attributes
    ----------
    problem : str or None
        Why recordings are not kept any more.
    """

    def __init__(self, place: Place, worker: int) -> None:
        self._place, self._worker = place, worker
        # A share that is lost may run again elsewhere: what both have asked is kept.
        self._name = f"w{worker}-{secrets.token_hex(2)}"
        self._waiting: list[Recording] = []
        self._parts = 0
        self._writer = ThreadPoolExecutor(1, "bedrock_nb.gathering")
        self.problem: str | None = None

    def add(self, recording: Recording) -> None:
        """Take one more."""
        self._waiting.append(recording)
        if len(self._waiting) >= _PART:
            self._flush()

    def close(self) -> None:
        """Write what is left, and wait."""
        self._flush()
        self._writer.shutdown()

    def _flush(self) -> None:
        part, self._waiting = self._waiting, []
        if part:
            self._writer.submit(self._write, part, self._parts)
            self._parts += 1

    def _write(self, part: list[Recording], number: int) -> None:
        if self.problem is not None:
            return
        place, name = self._place, f"{self._name}-{number:06}"
        try:
            write_part(place.folder, part, run=place.run, name=name, kinds=place.kinds)
        except Exception as err:  # stores of objects raise what they like
            self.problem = f"Worker {self._worker} keeps no recordings from its part {number} on: {err}"


# -- the result --------------------------------------------------------------------------------------


def save(result: LoadResult, folder: str | os.PathLike[str]) -> Path:
    """Write a result into a folder, which is made if it is not there; see `LoadResult.save`."""
    from bedrock_nb.formats.parquet import table_bytes

    place = lines.as_path(folder)
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise RecordingError(
            f"The folder {place.name!r} cannot be made: {lines.why(err)}.", remedy="Give another one."
        ) from None
    table = table_bytes(result.table)
    files.write_chunks(place / PARQUET, [table], "load test")
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "bedrock_nb": __version__,
        "sha256": hashlib.sha256(table).hexdigest(),
        "status": result.status,
        "settle": result.settle,
        "why": result.why,
        "problems": result.problems,
        "plan": _told(result.plan),
    }
    files.write_text(place / JSON, json.dumps(facts, indent=1) + "\n", "load test")
    return place


def _told(plan: Plan) -> dict[str, Any]:
    """A plan in plain values; endless times are null."""
    source = plan.prompts.source
    told = {
        name: getattr(plan, name) for name in plan.__dataclass_fields__ if name not in ("prompts", "stages")
    }
    return {
        **told,
        "settings": settings_in_words(plan.settings),
        "think": asdict(plan.think),
        "labels": plain(plan.labels),
        **{name: dict(getattr(plan, name)) for name in ("limits", "targets", "versions")},
        "stages": [
            {name: None if math.isinf(value) else value for name, value in asdict(stage).items()}
            for stage in plan.stages
        ],
        "prompts": {"lengths": asdict(source)}
        if isinstance(source, Lengths)
        else {"names": [asked.name for asked in source]},
    }


def load(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """What `save` wrote, as arguments of `LoadResult`; see `LoadResult.load`."""
    import pandas as pd

    place = lines.as_path(folder)
    try:
        facts = json.loads((place / JSON).read_bytes())
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise RecordingError(f"{JSON} in {place.name!r} is not that of a load test.", remedy=_REMEDY)
        if facts.get("version") != VERSION:
            raise RecordingError(
                f"The load test in {place.name!r} has version {facts.get('version')!r:.20}.",
                remedy=f"This bedrock_nb {__version__} reads version {VERSION}: take a newer one.",
            )
        table = (place / PARQUET).read_bytes()
        if hashlib.sha256(table).hexdigest() != facts["sha256"]:
            raise RecordingError(
                f"{PARQUET} and {JSON} in {place.name!r} are not of one run.", remedy="One was replaced."
            )
        return {
            "rows": pd.read_parquet(io.BytesIO(table)),
            "plan": _plan(facts["plan"]),
            "status": str(facts["status"]),
            "settle": float(facts["settle"]),
            "why": str(facts["why"]),
            "problems": [str(problem) for problem in facts["problems"]],
        }
    except BedrockNbError:
        raise
    except FileNotFoundError:
        raise RecordingError(f"There is no load test in {place.name!r}.", remedy=_REMEDY) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as err:
        raise RecordingError(
            f"The load test in {place.name!r} cannot be read: {type(err).__name__}.", remedy=_REMEDY
        ) from err


def _plan(told: Mapping[str, Any]) -> Plan:
    given = dict(told)
    lengths = given["prompts"].get("lengths")
    names = given["prompts"].get("names", ())
    source: Any = Lengths(**lengths) if lengths else tuple(Asked(None, {}, str(name)) for name in names)
    stages = tuple(
        Stage(int(stage.pop("number")), **{k: math.inf if v is None else float(v) for k, v in stage.items()})
        for stage in map(dict, given["stages"])
    )
    given |= {"prompts": Prompts(source), "stages": stages, "think": Think(**given["think"])}
    return Plan(**given)
