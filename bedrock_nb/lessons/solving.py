"""Solutions: notebooks with the exercises of a lesson, answered and graded.

Strategy: an exercise's solution lives in the metadata of its cell, so it moves with the exercise. A solution
notebook has the set-up cell and the section ``## Exercises``, which stands alone by convention, and is run: a
solution that is not graded right is no solution.
"""

from __future__ import annotations

import ast
import copy
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bedrock_nb.errors import LessonError
from bedrock_nb.lessons.lesson import (
    OURS,
    SET_UP,
    Lesson,
    format_of_notebooks,
    listed,
    read,
    solution_of,
    writing,
)
from bedrock_nb.lessons.names import parsed
from bedrock_nb.lessons.running import SECONDS, run
from bedrock_nb.lessons.saved import shown

__all__ = ["build", "solutions", "solve"]

_ABOUT = (
    "# Solutions to {heading}\n\nOne solution for each exercise of the lesson; yours may be another, and as "
    "good. Every one was run, and its check says *right*."
)


def build(path: str | os.PathLike[str] | Lesson) -> Any:
    """Make the notebook with the solutions of a lesson, without running it.

    Returns
    -------
    NotebookNode
        The set-up cell and the exercises, each with its solution in place of the student's ``...``.

    Raises
    ------
    LessonError
        The lesson has no exercise, or one without a solution.
    """
    lesson = path if isinstance(path, Lesson) else read(path)
    if not lesson.exercises:
        raise LessonError(
            f"{lesson.path.name!r} has no exercises.",
            remedy="They stand under `## Exercises`, each with a heading `### Exercise N.1 · Title`.",
        )
    v4 = format_of_notebooks().v4
    cells = [
        v4.new_markdown_cell(_ABOUT.format(heading=lesson.heading or lesson.path.stem), id="about"),
        v4.new_code_cell(SET_UP, id="set-up"),
    ]
    answers = {n for exercise in lesson.exercises for n in exercise.answers}
    for n in lesson.section:
        cell = copy.deepcopy(lesson.cells[n - 1])
        if n in answers:
            solution = solution_of(cell)
            if solution is None:
                name = next(e.name for e in lesson.exercises if n in e.answers)
                raise LessonError(
                    f"{lesson.path.name}, cell {n}: exercise {name} has no solution.",
                    remedy=f'Put the solved cell into its metadata: {{"{OURS}": {{"solution": "…"}}}}.',
                )
            cell.source = solution
            cell.metadata.pop(OURS)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        cells.append(cell)
    metadata = {
        name: lesson.notebook.metadata[name] for name in ("kernelspec",) if name in lesson.notebook.metadata
    }
    return v4.new_notebook(cells=cells, metadata=metadata)


def solve(
    path: str | os.PathLike[str], into: str | os.PathLike[str] = "solutions", *, seconds: float = SECONDS
) -> Path:
    """Write the solutions of one lesson, run, with every grade right.

    Parameters
    ----------
    path : path
        The lesson.
    into : path
        Another folder than the lesson's; recordings that the exercises load are copied there.
    seconds : float
        A run is given up after three times as many.

    Returns
    -------
    path
        The notebook, of the same name as the lesson.

    Raises
    ------
    LessonError
        An exercise has no solution, it does not run, or is not graded right.
    """
    lesson, into = read(path), Path(into)
    if into.resolve() == lesson.path.parent.resolve():
        raise LessonError(
            f"{into.name!r} is where the lesson is, and would be overwritten.", remedy="Name another folder."
        )
    notebook = build(lesson)
    with writing(into):
        into.mkdir(parents=True, exist_ok=True)
        _bring(notebook, lesson.path.parent, into)
    done = run(notebook, into, seconds=seconds)
    target = into / lesson.path.name
    format_of_notebooks().write(notebook, target)  # one that failed, too: it shows where
    at = f"{lesson.path.name}, solutions, cell {done.cell}"
    if done.failed:
        raise LessonError(f"{at}: {done.failed}", remedy=f"Look at {target}.")
    given = {grade.name: grade for grade in shown(notebook)}
    for exercise in lesson.exercises:
        grade = given.get(exercise.name)
        if grade is None or grade.status != "right":
            said = "its check gave no grade." if grade is None else f"it is {grade.status}: {grade.words}"
            raise LessonError(
                f"{lesson.path.name}, solution of exercise {exercise.name}: {said}",
                remedy=f"Look at {target}.",
            )
    return target


def solutions(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    into: str | os.PathLike[str] = "solutions",
    *,
    seconds: float = SECONDS,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> list[Path]:
    """Write a notebook with the solutions of each lesson, run, with every grade right.

    Parameters
    ----------
    paths : path, or iterable of paths
        Lessons, and folders of them.
    into : path
        Where the notebooks go.
    seconds : float
        A run is given up after three times as many.
    progress : function
        Passes the lessons on one by one, such as tqdm.

    Returns
    -------
    list of path

    Raises
    ------
    LessonError
        All lessons were tried, and some have no solution that runs and is graded right: which, and why.
    """
    made, wrong = [], []
    for path in progress(listed(paths, numbered=True)):
        try:
            made.append(solve(path, into, seconds=seconds))
        except LessonError as err:
            wrong.append(str(err))
    if wrong:
        raise LessonError("\n".join(wrong))
    return made


def _bring(notebook: Any, lessons: Path, into: Path) -> None:
    """Copy files that the code names, as in ``load("recordings/rainbows.jsonl")``, to the solutions."""
    for cell in notebook.cells:
        tree = parsed(cell.source) if cell.cell_type == "code" else None
        for node in ast.walk(tree) if tree is not None else ():
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                _bring_one(node.value, lessons, into)


def _bring_one(name: str, lessons: Path, into: Path) -> None:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", name) or ".." in name.split("/") or name.startswith("."):
        return
    source = lessons / name
    if source.is_dir():
        shutil.copytree(source, into / name, dirs_exist_ok=True)
    elif source.is_file() and source.suffix != ".ipynb":
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, into / name)
