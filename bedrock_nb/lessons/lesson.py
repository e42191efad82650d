"""One lesson, read from its file: its cells, its parts, its exercises.

Strategy: a notebook is JSON that somebody else may have written, so it is read and never run here. The parts
of a lesson are found by what a reader sees, headings and the tags of cells; the one thing that is not seen is
an exercise's solution, in the metadata of its cell.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bedrock_nb.errors import LessonError
from bedrock_nb.lines import why

__all__ = [
    "LESSONS",
    "OURS",
    "SET_UP",
    "Exercise",
    "Lesson",
    "format_of_notebooks",
    "heading_of",
    "listed",
    "read",
    "solution_of",
    "tags_of",
    "writing",
]

#: The cell that opens every lesson.
SET_UP = "import bedrock_nb as nb\n\nclient = nb.connect()"

#: Key of our metadata, of a cell.
OURS = "bedrock_nb"

#: The files of lessons in a folder, as a pattern.
LESSONS = "[0-9][0-9]-*.ipynb"

_NUMBERED = re.compile(r"(\d\d)-.+\.ipynb")
_TITLE = re.compile(r"# (\d+) · (.+)")
_EXERCISE = re.compile(r"^### Exercise (\S+) · (.+)$", re.M)
_MOST_BYTES = 64 * 2**20  # a notebook with pictures has a few MB


@dataclass(frozen=True)
class Exercise:
    """An exercise: where it is set, answered and checked. Cells are counted from 1, all kinds together."""

    name: str
    title: str
    heading: int
    answers: tuple[int, ...]
    checks: tuple[int, ...]


@dataclass(frozen=True)
class Lesson:
    """A notebook and the parts that the convention of lessons gives it."""

    path: Path
    notebook: Any
    text: str

    @property
    def cells(self) -> list[Any]:
        """All cells in their order."""
        cells: list[Any] = self.notebook.cells
        return cells

    def numbered(self, kind: str) -> list[tuple[int, Any]]:
        """The cells of a kind with their numbers, from 1 over all kinds."""
        return [(n, cell) for n, cell in enumerate(self.cells, 1) if cell.cell_type == kind]

    @property
    def is_numbered(self) -> bool:
        """Whether it is a lesson by its name, ``NN-name.ipynb``, and not another page beside them."""
        return _NUMBERED.fullmatch(self.path.name) is not None

    @property
    def number(self) -> int:
        """Its number, by its name."""
        found = _NUMBERED.fullmatch(self.path.name)
        return int(found[1]) if found else -1

    @cached_property
    def heading(self) -> str:
        """``N · Title``, or nothing."""
        first = self.cells[0].source.partition("\n")[0] if self.cells else ""
        return first.removeprefix("# ") if _TITLE.fullmatch(first) else ""

    @cached_property
    def section(self) -> range:
        """The numbers of the cells of ``## Exercises``."""
        begin = None
        for n, cell in self.numbered("markdown"):
            titles = re.findall(r"^## (.+)$", cell.source, re.M)
            if begin is None and "Exercises" in titles:
                begin = n
            elif begin is not None and titles:
                return range(begin, n)
        return range(0) if begin is None else range(begin, len(self.cells) + 1)

    @cached_property
    def exercises(self) -> list[Exercise]:
        """The exercises of that section."""
        found: list[Exercise] = []
        for n in self.section:
            cell = self.cells[n - 1]
            if cell.cell_type == "markdown":
                found += [
                    Exercise(name, title.strip(), n, (), ()) for name, title in _EXERCISE.findall(cell.source)
                ]
            elif found:
                last, tags = found[-1], tags_of(cell)
                answers = last.answers + ((n,) if "exercise" in tags else ())
                checks = last.checks + ((n,) if "check" in tags else ())
                found[-1] = Exercise(last.name, last.title, last.heading, answers, checks)
        return found

    def neighbours(self) -> tuple[Path | None, Path | None]:
        """The lessons before and after it in its folder."""
        lessons = sorted(self.path.parent.glob(LESSONS))
        before = [path for path in lessons if path.name < self.path.name]
        after = [path for path in lessons if path.name > self.path.name]
        return (before[-1] if before else None), (after[0] if after else None)


def tags_of(cell: Any) -> list[str]:
    """The tags of a cell."""
    tags = cell.metadata.get("tags", [])
    return [str(tag) for tag in tags] if isinstance(tags, list) else []


def solution_of(cell: Any) -> str | None:
    """The solution in the metadata of an exercise's cell."""
    ours = cell.metadata.get(OURS)
    solution = ours.get("solution") if isinstance(ours, dict) else None
    return solution if isinstance(solution, str) and solution.strip() else None


def format_of_notebooks() -> Any:
    """The library nbformat, which comes with Jupyter and not with us.

    Raises
    ------
    LessonError
        It is not installed.
    """
    try:
        import nbformat
    except ImportError:
        raise LessonError(
            "What reads notebooks is not installed here.", remedy='pip install "bedrock-nb[lab]" installs it.'
        ) from None
    return nbformat


def read(path: str | os.PathLike[str]) -> Lesson:
    """Read a notebook.

    Raises
    ------
    LessonError
        There is no such file, or it is no notebook.
    """
    path, nbformat = Path(path), format_of_notebooks()
    try:
        if not path.is_file():  # nor a pipe, which would never end
            raise LessonError(f"There is no notebook {path.name!r}.", remedy="Look at the path.")
        if path.stat().st_size > _MOST_BYTES:
            raise LessonError(
                f"{path.name!r} has more than {_MOST_BYTES >> 20} MiB.",
                remedy="Clear its outputs, and save it again.",
            )
        text = path.read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about cells without ids, in notebooks of older programs
            notebook = nbformat.reads(text, as_version=4)
            nbformat.validate(notebook)
    except LessonError:
        raise
    except Exception as err:  # nbformat lets pass whatever its input makes it run into
        raise LessonError(
            f"{path.name!r} is no notebook: {type(err).__name__}.", remedy="Open it in Jupyter, and save it."
        ) from None  # the cause may hold pages of what somebody wrote
    return Lesson(path, notebook, text)


def heading_of(path: Path) -> str:
    """The heading of another lesson; nothing if it has none, or is no notebook."""
    try:
        return read(path).heading
    except LessonError:
        return ""


def listed(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    numbered: bool = False,
    deep: bool = False,
) -> list[Path]:
    """Notebooks as files: those named, and all in the folders named.

    Parameters
    ----------
    paths : path, or iterable of paths
        Files and folders.
    numbered : bool
        Of folders, lessons only: ``NN-name.ipynb``.
    deep : bool
        Of folders, what is in the folders below, too.

    Raises
    ------
    LessonError
        A path that is not there, or no notebook at all.
    """
    named = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    found: list[Path] = []
    for path in map(Path, named):
        if not path.exists():
            raise LessonError(f"There is no {path.name!r}.", remedy="Look at the path.")
        found += _inside(path, numbered, deep) if path.is_dir() else [path]
    if not found:
        raise LessonError(
            f"There is no notebook in {', '.join(str(path) for path in named) or 'nothing'}.",
            remedy="Name notebooks, or a folder of them.",
        )
    return found


def _inside(folder: Path, numbered: bool, deep: bool) -> Iterator[Path]:
    for path in sorted(folder.glob("**/*.ipynb" if deep else "*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts and (not numbered or _NUMBERED.fullmatch(path.name)):
            yield path


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Write to a folder; if that is not possible, the error is a sentence.

    Raises
    ------
    LessonError
        The system does not let it be made or written to.
    """
    try:
        yield
    except OSError as err:
        raise LessonError(
            f"Nothing can be written to {str(folder)!r}: {why(err)}.",
            remedy="Name a folder that may be written to.",
        ) from None
