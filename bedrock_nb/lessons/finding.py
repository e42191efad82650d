"""Where the lessons are, and a copy of them to write into.

Strategy: a reader writes into lessons, so those inside an installed package are never opened: they are copied
first, and a copy never takes the place of a file that somebody has changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bedrock_nb.errors import LessonError, RequestError
from bedrock_nb.lessons.bare import bare, course_files
from bedrock_nb.lessons.lesson import LESSONS, writing

__all__ = ["COPIES", "Copied", "copy", "find", "readable", "source"]

#: Folder of the copies, where `find` makes them.
COPIES = "bedrock-nb-lessons"

_PACKAGE = Path(__file__).parents[1]
_CHECKOUT = _PACKAGE.parent / "notebooks"
_INSTALLED = _PACKAGE / "_lessons"
_HERE = (Path("notebooks"), Path(COPIES))


class Copied(NamedTuple):
    """What a copy did: the folder; files written, the same already, kept because somebody changed them."""

    folder: Path
    written: list[Path]
    same: list[Path]
    kept: list[Path]


def source() -> Path:
    """The folder of the lessons that came with this package: of the checkout, or inside the package.

    Raises
    ------
    LessonError
        There are none.
    """
    found = _first(_INSTALLED, _CHECKOUT)
    if found is not None:
        return found
    raise LessonError(
        "This installation of bedrock-nb has no lessons.",
        remedy="Install it from a wheel, or work in a checkout.",
    )


def readable() -> Path:
    """The folder of the lessons for who writes nothing: no copy is made.

    Raises
    ------
    LessonError
        There are no lessons at all.
    """
    return _first(*_HERE) or source()


def _first(*folders: Path) -> Path | None:
    """The first that has lessons."""
    return next((folder for folder in folders if any(folder.glob(LESSONS))), None)


def find(
    folder: str | os.PathLike[str] | None = None, *, announce: Callable[[str], None] = lambda _: None
) -> Path:
    """The folder of the lessons, to be opened and written into.

    Parameters
    ----------
    folder : path, optional
        By default ``notebooks`` here, copies that were made here before, those of the checkout that this
        package is in, or else copies that are made now.
    announce : function
        Told if copies are made.

    Returns
    -------
    path

    Raises
    ------
    RequestError
        There is no notebook in that folder.
    LessonError
        There are no lessons at all.
    """
    if folder is not None:
        if any(Path(folder).glob("*.ipynb")):
            return Path(folder)
        raise RequestError(
            f"There are no lessons in {str(folder)!r}.",
            remedy="Name a folder of notebooks; `bedrock-nb lessons copy FOLDER` makes one, "
            "and a checkout of bedrock-nb has one.",
        )
    found = _first(*_HERE, _CHECKOUT)
    if found is not None:
        return found
    made = copy(COPIES)
    announce(f"The lessons are copied into {COPIES}/: write into them as you like.")
    return made.folder


def copy(into: str | os.PathLike[str], *, replace: bool = False) -> Copied:
    """Copy the lessons and their recordings, without outputs.

    Parameters
    ----------
    into : path
        A folder; it is made if need be.
    replace : bool
        Put our file in the place of one that differs. Without it what a student wrote is kept.

    Returns
    -------
    Copied
        Which files were written, were there already, and were kept as they are.

    Raises
    ------
    LessonError
        There are no lessons, or the folder cannot be written to.
    """
    origin, into = source(), Path(into)
    if into.resolve() == origin.resolve():
        raise LessonError("The lessons would be copied onto themselves.", remedy="Name another folder.")
    made = Copied(into, [], [], [])
    with writing(into):
        for inner in course_files(origin):
            data = (origin / inner).read_bytes()
            if inner.suffix == ".ipynb":
                data = bare(data.decode()).encode()
            target = into / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists() and target.read_bytes() == data:
                made.same.append(inner)
            elif target.exists() and not replace:
                made.kept.append(inner)
            else:
                target.write_bytes(data)
                made.written.append(inner)
    return made
