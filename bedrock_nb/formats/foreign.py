"""What the readers of other tools' results share: lines of JSON that nobody vouches for -> a summary table.

Strategy: a file is read line by line, each of bounded length, and only as JSON: nothing in it names a class
or a place to fetch from. A torn last line, which a killed run leaves, is dropped and said; a line that is
broken anywhere else is an error that names it. A value that cannot be what it is called is missing and
counted, never mended. The table has the columns and types of ``bedrock_nb.summary``, so that whatever takes
that takes this; what the other tool has besides stands behind them, under the tool's own names.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedrock_nb import lines
from bedrock_nb.errors import RecordingError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Reading", "runs"]

#: Longest line, and longest file of settings, that is read: bytes. A line holds a prompt and its answer.
LONGEST = 64 * 2**20
#: So many columns of the other tool's own are kept: a file may make up names without end.
MOST_COLUMNS = 200
_LONGEST_TEXT, _LONGEST_NAME = 1_000, 100
_YEAR_10000 = 253_402_300_800


def runs(path: str | os.PathLike[str], name: str, tool: str) -> list[Path]:
    """The files of results at a path: the file itself, or all of that name in and under a folder.

    Raises
    ------
    RecordingError
        There is none.
    """
    given = lines.as_path(path)
    found = [given] if given.is_file() else sorted(file for file in given.rglob(name) if file.is_file())
    if not found:
        there = "has no" if given.is_dir() else "is no"
        raise RecordingError(
            f"{given.name!r} {there} results of {tool}.",
            remedy=f"Give the folder that {tool} wrote its results to, or the {name} in it.",
        )
    return found


class Reading:
    """One table that is being read: its rows, and what there is to say about them.

    Parameters
    ----------
    tool : str
        Whose results they are.

    Attributes
    ----------
    notes : list of str
        What a reader of the table should know; in its ``attrs``.
    """

    def __init__(self, tool: str) -> None:
        self.tool = tool
        self.notes: list[str] = []
        self._rows: list[dict[str, Any]] = []
        self._odd = self._dropped = 0
        self._own: dict[str, None] = {}

    # -- files -------------------------------------------------------------------------------------

    def records(self, path: Path) -> Iterator[dict[str, Any]]:
        """The JSON object of each line.

        Raises
        ------
        RecordingError
            The file cannot be read, or a line of it is no JSON object.
        """
        try:
            with path.open("rb") as file:
                number = 0
                while line := file.readline(LONGEST + 1):
                    number += 1
                    if not line.strip():
                        continue
                    record = self._parsed(line)
                    if record is not None:
                        yield record
                    elif not line.endswith(b"\n") and len(line) <= LONGEST:
                        self.notes.append(f"Line {number} of {path.name} is torn and was dropped.")
                    else:
                        raise RecordingError(
                            f"Line {number} of {path.name!r} is not a JSON object of at most "
                            f"{LONGEST // 2**20} MiB.",
                            remedy=f"{self.tool} writes one for each request: was the file changed?",
                        )
        except OSError as err:
            raise RecordingError(
                f"{path.name!r} cannot be read: {lines.why(err)}.", remedy="Check the name and its rights."
            ) from None  # the cause would show the absolute path

    def settings(self, path: Path) -> dict[str, Any]:
        """The JSON object of a file beside the results; empty, and noted, if there is none to be had."""
        try:
            with path.open("rb") as file:
                found = self._parsed(file.read(LONGEST + 1))
        except OSError:
            found = None
        if found is None:
            self.notes.append(f"There is no readable {path.name}.")
        return found or {}

    @staticmethod
    def _parsed(text: bytes) -> dict[str, Any] | None:
        try:
            if len(text) <= LONGEST:
                found = json.loads(text, parse_constant=lambda _: None)  # NaN is what is not known
                return found if isinstance(found, dict) else None
        except (ValueError, RecursionError):
            pass
        return None

    # -- values ------------------------------------------------------------------------------------

    def seconds(self, value: Any, per_second: float = 1.0) -> float | None:
        """A time, in seconds; None for what cannot be one."""
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e300:
            return value / per_second  # a comparison with NaN is False
        self._odd += 1
        return None

    def moment(self, seconds: float | None) -> float | None:
        """A wall-clock time, seconds since the epoch; None for one that no calendar has."""
        if seconds is None or seconds < _YEAR_10000:
            return seconds
        self._odd += 1
        return None

    def count(self, value: Any) -> int | None:
        """A whole number; None for what cannot be one."""
        if value is None:
            return None
        whole = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53
        if whole and value == int(value):
            return int(value)
        self._odd += 1
        return None

    @staticmethod
    def text(value: Any, longest: int = _LONGEST_TEXT) -> str | None:
        """A text, cut to a bearable length; None for what is none, or empty."""
        return (value[:longest] or None) if isinstance(value, str) else None

    def own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the tool's own values that are one plain value each, names as columns."""
        kept = {}
        for name, value in values.items():
            column = f"{self.tool.lower()}_{name}"[:_LONGEST_NAME].encode("utf-8", "replace").decode()
            known = column in self._own or len(self._own) < MOST_COLUMNS
            if isinstance(value, float) and not math.isfinite(value):
                continue
            if isinstance(value, str | int | float) and known:
                self._own[column] = None
                kept[column] = value if not isinstance(value, str) else value[:_LONGEST_TEXT]
            else:
                self._dropped += isinstance(value, str | int | float)
        return kept

    # -- the table ---------------------------------------------------------------------------------

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a request: columns of the summary by name; others become columns behind them."""
        self._rows.append(dict(row))

    def table(self, kinds: Mapping[str, str], **attrs: Any) -> pd.DataFrame:
        """All rows, in the order of the file.

        Parameters
        ----------
        kinds : mapping of str to str
            Types of columns that the summary does not have.
        **attrs
            For the table's ``attrs``, beside ``tool`` and ``notes``.
        """
        import pandas as pd

        from bedrock_nb.table import summary
        from bedrock_nb.table.frame import frame, sound

        types = {str(name): str(kind) for name, kind in summary([]).dtypes.items()}
        types = {**types, "started": types.get("started", "datetime64[ns, UTC]"), **kinds}
        names = dict.fromkeys([*types, *(name for row in self._rows for name in row)])
        columns: dict[str, Any] = {name: [row.get(name) for row in self._rows] for name in names}
        for name, values in columns.items():
            if types.get(name, "").startswith("datetime64"):
                columns[name] = pd.to_datetime(pd.Series(values, dtype="float64"), unit="s", utc=True)
            elif any(isinstance(value, str) for value in values):
                texts = iter(sound([value for value in values if isinstance(value, str)]))
                columns[name] = [next(texts) if isinstance(value, str) else value for value in values]
        made = frame(columns, types)
        if self._odd:
            self.notes.append(f"{self._odd} values cannot be what they are called; they are missing.")
        if self._dropped:
            self.notes.append(f"Only the first {MOST_COLUMNS} columns of {self.tool}'s own were kept.")
        made.attrs.update(attrs, tool=self.tool, notes=list(dict.fromkeys(self.notes)))
        return made
