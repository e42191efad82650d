"""The grades that a saved notebook shows.

Strategy: the plain text of what `nb.grade` leaves is one line with the exercise and what became of it, the
same in every front end. It is read from the file and nothing is run, so it is as honest as whoever saved it.
"""

from __future__ import annotations

import html
import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bedrock_nb.errors import LessonError
from bedrock_nb.lessons.lesson import listed, read
from bedrock_nb.render import printable, visible

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Shown", "grades", "shown"]

#: What a grade's line ends with -> its status.
_STATUSES = {"right": "right", "not right yet": "wrong", "not answered yet": "open"}
_LINE = re.compile(rf"Exercise ((?:0|[1-9][0-9]?)\.[1-9][0-9]?): ({'|'.join(_STATUSES)})\.")
_MOST = 4000  # characters of a card that are looked at: a student may have written any number
#: A table that opens a file of ours takes a cell that begins so for a formula.
_FORMULA = ("=", "+", "-", "@")


class Shown(NamedTuple):
    """A grade as a saved notebook shows it; cells are counted from 1."""

    cell: int
    name: str
    status: str
    words: str


def shown(notebook: Any) -> list[Shown]:
    """The grades that the outputs of a notebook hold, in the order of its cells."""
    found = []
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            line = _LINE.fullmatch(str(data.get("text/plain", "")).strip())
            if line:
                words = _words(data.get("text/html", ""))
                found.append(Shown(number, line[1], _STATUSES[line[2]], words))
    return found


def _words(card: Any) -> str:
    """What a card says, without its markup."""
    text = re.sub(r"<[^>]*>", " ", card[:_MOST]) if isinstance(card, str) else ""
    return " ".join(printable(html.unescape(text)).split())


def grades(paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str]) -> pd.DataFrame:
    """What became of the exercises in notebooks that students saved. Nothing in them is run.

    Parameters
    ----------
    paths : path, or iterable of paths
        Notebooks, and folders, which are searched to any depth.

    Returns
    -------
    DataFrame
        A row for each notebook: ``notebook``, its path, and a column for each exercise: right, wrong, open,
        and nothing where its check was not run. A file that is no notebook has a row with only a path and
        the reason in ``problem``, a column that is there if needed. Of an exercise that was checked several
        times the last counts. A student who edits the file can write anything there.

    Raises
    ------
    LessonError
        A path is not there, or there is no notebook at all.

    Examples
    --------
    >>> from bedrock_nb import lessons
    >>> lessons.grades("handed-in")                       # doctest: +SKIP
                     notebook    2.1    2.2
    0  ada/02-timing.ipynb  right  wrong
    """
    import pandas as pd

    rows: list[dict[str, str]] = []
    for path in listed(paths, deep=True):
        row = {"notebook": _safe(path)}
        try:
            lesson = read(path)
        except LessonError as err:
            row["problem"] = printable(err.what)
        else:
            row |= {grade.name: grade.status for grade in shown(lesson.notebook)}
        rows.append(row)
    names = {name for row in rows for name in row if name[0].isdigit()}
    in_order = sorted(names, key=lambda name: [int(part) for part in name.split(".")])
    problem = ["problem"] if any("problem" in row for row in rows) else []
    return pd.DataFrame(rows, columns=["notebook", *in_order, *problem]).fillna("")


def _safe(path: Path) -> str:
    """A path as it may be printed and written to a table: students choose the names of their files."""
    name = visible(str(path)).replace("\n", "\ufffd").replace("\t", " ")
    # In some languages a table takes their wide forms for formulas, too.
    return f"'{name}" if unicodedata.normalize("NFKC", name).lstrip().startswith(_FORMULA) else name
