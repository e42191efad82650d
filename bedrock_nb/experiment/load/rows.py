"""A row per reply of a load test, in columns: some 0.8 kB for each.

Strategy: a reply is measured when it is at its end, and dropped. A column of numbers is a typed array with
NaN for what is missing; all others are lists, whose short texts are shared where they come again. Rows travel
from worker processes as they are. pandas sees the columns once, at the end.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bedrock_nb.errors import ServiceError
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import FAILED, frame, sound_text
from bedrock_nb.table.replies import SUMMARY_COLUMNS, SUMMARY_KINDS, row

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LOAD_COLUMNS", "PLACES", "Rows", "RunStatus", "failure_of", "measured"]

#: How a run ended.
RunStatus: TypeAlias = Literal["complete", "interrupted", "broken off"]

#: Columns of a load test's table and their types, after those of `summary` and the labels.
LOAD_COLUMNS: dict[str, str] = {
    "worker": "Int64",
    "stage": "Int64",
    "level": "float64",
    "user": "Int64",
    "prompt": "str",
    "warmup": "bool",
    "intended_s": "float64",
    "started_s": "float64",
    "start_lag_s": "float64",
    "ended_s": "float64",
    "ttft_intended_s": "float64",
    "e2e_intended_s": "float64",
    "failure": "str",
}

#: Those that say where a request stood in its run: labels of recordings that are kept.
PLACES = (
    "worker",
    "stage",
    "level",
    "user",
    "prompt",
    "warmup",
    "intended_s",
    "started_s",
    "start_lag_s",
    "ended_s",
)

_KINDS = SUMMARY_KINDS | LOAD_COLUMNS
_NUMBERS = frozenset(name for name, kind in _KINDS.items() if kind in ("float64", "Int64"))
#: Texts that many replies have in common are this short; a request's id is longer than most of them.
_SHARED = 32

_Column: TypeAlias = "array[float] | list[Any]"


def failure_of(recording: Recording, error: BaseException | None = None) -> str | None:
    """The kind of a failure: the service's name for it, or that of our error; None if nothing failed.

    Parameters
    ----------
    recording : Recording
        One that was cancelled did not fail.
    error : exception, optional
        What was raised, if the recording does not say it: nothing of the request ever left.
    """
    if recording.status not in FAILED:
        return None
    error = recording.error or error
    if isinstance(error, ServiceError) and error.code:
        # In the stream the wire spells it "throttlingException", in a refusal "ThrottlingException".
        return error.code[:1].upper() + error.code[1:]
    return type(error).__name__ if error is not None else recording.status


def measured(
    recording: Recording,
    *,
    intended: float,
    started: float,
    ended: float,
    error: BaseException | None = None,
) -> dict[str, Any]:
    """The row of a reply.

    Parameters
    ----------
    recording : Recording
        The reply, at its end.
    intended, started, ended : float
        When its request was meant to begin, when it did, and when the reply was at its end: seconds since
        the run began.
    error : exception, optional
        What its reader was raised.

    Returns
    -------
    dict
        The columns of `bedrock_nb.summary`; the labels, after ``label_`` where it has such a column; and
        ``intended_s``, ``started_s``, ``ended_s``; ``start_lag_s``, how late the request began;
        ``ttft_intended_s`` and ``e2e_intended_s``, latency from the moment at which it was meant to begin:
        what a user waits who came then (Tene, "How NOT to Measure Latency", 2013: to leave that wait out is
        coordinated omission); and ``failure``.
    """
    found, lag = row(recording), started - intended
    labels = {f"label_{name}" if name in found else name: value for name, value in recording.labels.items()}
    late = {
        f"{name}_intended_s": None if (value := found[f"{name}_s"]) is None else value + lag
        for name in ("ttft", "e2e")
    }
    return {
        **found,
        **labels,
        "intended_s": intended,
        "started_s": started,
        "start_lag_s": lag,
        "ended_s": ended,
        **late,
        "failure": failure_of(recording, error),
    }


class Rows:
    """Rows of one table, kept in columns.

    Attributes
    ----------
    status : {"complete", "interrupted", "broken off"}
        How the run ended that they are of; the last: nobody was there to ask any more.
    problems : list of str
        What went wrong beside the requests.
    lasted : float
        Seconds from the begin of the run until all that it keeps was written.
    """

    def __init__(self) -> None:
        self.status: RunStatus = "complete"
        self.problems: list[str] = []
        self.lasted = 0.0
        self._columns: dict[str, _Column] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __repr__(self) -> str:
        return f"<Rows: {self._count}>"

    def add(self, row: Mapping[str, Any]) -> None:
        """Add one row. A new column has nothing in the rows before, one that is not given nothing in this."""
        for name in row:
            if name not in self._columns:
                self._new(name)
        for name, column in self._columns.items():
            value: Any = row.get(name)
            if name in _NUMBERS:
                value = math.nan if value is None else float(value)
            elif type(value) is str and len(value) <= _SHARED:
                value = sys.intern(value)
            column.append(value)
        self._count += 1

    def extend(self, other: Rows) -> None:
        """Add all rows of another table behind these."""
        for name in other._columns:
            if name not in self._columns:
                self._new(name)
        for name, column in self._columns.items():
            column.extend(other._columns.get(name) or _gaps(name, other._count))
        self._count += other._count
        self.problems += other.problems
        self.lasted = max(self.lasted, other.lasted)
        if other.status != "complete":
            self.status = other.status

    def _new(self, name: str) -> None:
        self._columns[name] = _gaps(name, self._count)

    def table(self) -> pd.DataFrame:
        """All rows as a DataFrame: the columns of `summary`, labels, then those of `LOAD_COLUMNS`."""
        import numpy as np

        labels = {sound_text(name): values for name, values in self._columns.items() if name not in _KINDS}
        columns: dict[str, Any] = {}
        for name in (*SUMMARY_COLUMNS, *labels, *LOAD_COLUMNS):
            values = labels[name] if name in labels else self._columns.get(name) or _gaps(name, self._count)
            columns[name] = np.array(values, dtype=float) if isinstance(values, array) else values
        return frame(columns, _KINDS)


def _gaps(name: str, count: int) -> _Column:
    """A column of so many rows that have nothing in it."""
    if name in _NUMBERS:
        return array("d", (math.nan,)) * count
    return [None] * count
