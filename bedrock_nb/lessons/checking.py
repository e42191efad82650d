"""Whether lessons keep the convention: a finding for each place where one does not.

Strategy: the rules are a table in `rules`, asked of each notebook in turn; running one is a question beside
them, and only asked if wanted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bedrock_nb.errors import LessonError
from bedrock_nb.lessons.lesson import Lesson, listed, read
from bedrock_nb.lessons.rules import RULES
from bedrock_nb.lessons.running import SECONDS, run
from bedrock_nb.lessons.saved import shown
from bedrock_nb.render import printable

__all__ = ["Finding", "broken", "check", "try_out"]


@dataclass(frozen=True)
class Finding:
    """One place that breaks a rule: printed, a line for people.

    Attributes
    ----------
    path : path
        The notebook.
    cell : int or None
        Its number, from 1, all kinds of cells together; None for the whole notebook.
    rule : str
        The name of the rule.
    what : str
        What is wrong.
    mend : str
        What to do about it.
    """

    path: Path
    cell: int | None
    rule: str
    what: str
    mend: str

    def __str__(self) -> str:
        place = self.path.name if self.cell is None else f"{self.path.name}, cell {self.cell}"
        return printable(f"{place}: {self.what}. {self.mend}".rstrip())


def broken(lesson: Lesson, *, outputs: bool = False) -> Iterator[Finding]:
    """What of a notebook breaks the rules; those of lessons are asked of ``NN-name.ipynb`` only."""
    for rule in RULES:
        if rule.of == "pages" or lesson.is_numbered:
            for cell, what in rule.broken(lesson):
                yield Finding(lesson.path, cell, rule.name, what, rule.mend)
    if outputs and not any(cell.execution_count for _, cell in lesson.numbered("code")):
        yield Finding(lesson.path, None, "outputs", "it was never run", "Run all, save.")


def check(
    paths: Iterable[str | os.PathLike[str]] | str | os.PathLike[str],
    *,
    outputs: bool = False,
    run: bool = False,
    seconds: float = SECONDS,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
    announce: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """Check notebooks against the convention of lessons.

    Parameters
    ----------
    paths : path, or iterable of paths
        Notebooks, and folders of them. A notebook that is not called ``NN-name.ipynb`` is asked less.
    outputs : bool
        Refuse those that were never run; without it they pass.
    run : bool
        Run each as well, top to bottom. Outputs are not compared; what counts is that nothing fails, how long
        it takes, and that the exercises say that they are open. The file is not changed.
    seconds : float
        How long a run may take.
    progress : function
        Passes the notebooks on one by one, such as tqdm.
    announce : function
        Told of each run, in a line.

    Returns
    -------
    list of Finding
        Nothing is wrong where it is empty.

    Raises
    ------
    LessonError
        A path is not there. A file that is no notebook is a finding.

    Examples
    --------
    >>> from bedrock_nb import lessons
    >>> for finding in lessons.check("notebooks"):        # doctest: +SKIP
    ...     print(finding)
    02-timing.ipynb, cell 7: there is no 'rainbow.jsonl'. Correct the link, or add the file.
    """
    found: list[Finding] = []
    for path in progress(listed(paths)):
        try:
            lesson = read(path)
        except LessonError as err:
            found.append(Finding(path, None, "notebook", err.what.rstrip("."), err.remedy))
            continue
        found += broken(lesson, outputs=outputs)
        if run:
            took, more = try_out(lesson, seconds=seconds)
            announce(f"{path.name}: {took:.1f} s")
            found += more
    return found


def try_out(lesson: Lesson, *, seconds: float = SECONDS) -> tuple[float, list[Finding]]:
    """Run a lesson: seconds, and what is wrong with it then."""
    done = run(lesson.notebook, lesson.path.parent, seconds=seconds)
    found = []

    def find(cell: int | None, what: str, mend: str) -> None:
        found.append(Finding(lesson.path, cell, "run", what, mend))

    if done.failed:
        find(done.cell, done.why, "Run the lesson in Jupyter, and look.")
    elif done.seconds > seconds:
        find(None, f"it ran for {done.seconds:.0f} s, and {seconds:.0f} s are allowed", "Wait for less.")
    if not done.failed and lesson.is_numbered:
        said = {grade.name: grade for grade in shown(lesson.notebook)}
        for exercise in lesson.exercises:
            status = said[exercise.name].status if exercise.name in said else "not graded"
            if status != "open":
                find(exercise.heading, f"unsolved, exercise {exercise.name} is {status}", "It must be open.")
    return done.seconds, found
