"""A new lesson: a notebook that keeps the convention, but for what only its author can say.

Strategy: the skeleton is a whole small lesson that runs: a guess, a stream, two exercises with solutions.
Where the author has to write there is the sign of `PLACEHOLDER`, and `check` finds each.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import Any

from bedrock_nb.errors import LessonError
from bedrock_nb.lessons.lesson import LESSONS, OURS, SET_UP, Lesson, format_of_notebooks, heading_of, writing
from bedrock_nb.lessons.rules import CHECK, GOALS, LEARNED, PLACEHOLDER

__all__ = ["new"]

_NAME = re.compile(r"(?:(\d\d?)-)?([a-z0-9]+(?:-[a-z0-9]+)*)(?:\.ipynb)?")

_OPENING = f"""\
# {{number}} · {{title}}

{PLACEHOLDER} One paragraph: what is this lesson about, and why should anybody care?

{GOALS}

* {PLACEHOLDER} predict …;
* {PLACEHOLDER} measure ….

It takes about 20 minutes. No AWS account is needed."""

_PREDICT = f"""\
## Predict first

{PLACEHOLDER} Say what is about to happen, and what to look for.

How long until the first word is there, and how fast does the rest come? Drag your guess before you go on."""

_RUN = "Now let it run. Read the stream to its end, and do nothing else meanwhile."
_LOOK = f"Your guess and what happened, in one picture. {PLACEHOLDER} Say what to look for in it."

_EXERCISES = f"""\
## Exercises

{PLACEHOLDER} These two show how exercises are made; put yours in their place. They need the two lines on top,
and this section."""

_GIVEN = """\
reply = nb.stream(client, "Write a haiku about rivers").drain()"""

#: Title, task, the student's cell, its solution, its check.
_TASKS = (
    (
        "Count the pieces",
        "How many pieces of text did `reply` bring?",
        "pieces = ...",
        "pieces = len(list(reply.text_stream))",
        """\
nb.grade(
    "{name}",
    pieces,
    sum(type(event).__name__ == "TextDelta" for event in reply),
    mistakes=[(len(reply.text), "Those are letters; a piece may have several.")],
    hints=["`reply.text_stream` gives the pieces one by one.", "`len(list(…))` counts them."],
    right="A stream is the text, cut into pieces.",
)""",
    ),
    (
        "The longest piece",
        "How many characters has its longest piece?",
        "longest = ...",
        "longest = max(len(piece) for piece in reply.text_stream)",
        """\
nb.grade(
    "{name}",
    longest,
    max(map(len, reply.text_stream)),
    hints=["`len(piece)` is the length of one piece.", "`max(len(piece) for piece in …)`"],
    right="Pieces are of different length: a chunk is not a token.",
)""",
    ),
)

_ENDING = f"""\
{LEARNED}

* You {PLACEHOLDER} predicted ….
* You {PLACEHOLDER} measured ….

{{links}}**Reference:** [ConverseStream](https://docs.aws.amazon.com/bedrock/latest/APIReference/\
API_runtime_ConverseStream.html) in the AWS documentation."""


def new(title: str, folder: str | os.PathLike[str] = ".", *, number: int | None = None) -> Path:
    """Begin a lesson.

    Parameters
    ----------
    title : str
        A title, ``"Streams at sea"``, or the name of a file, ``"13-streams-at-sea"``.
    folder : path
        Any; the number and the links at the end follow from the lessons that are there.
    number : int, optional
        0 to 99; by default that of the title, or else the next one that is free.

    Returns
    -------
    path
        The notebook. It runs, and keeps every rule but one: what only you can write is marked, and `check`
        lists it.

    Raises
    ------
    LessonError
        Nothing can be made of the title, or there is a lesson with that number.
    """
    folder = Path(folder)
    named = _NAME.fullmatch(title.strip())
    if named and ("-" in title or title.endswith(".ipynb")):
        slug, title = named[2], named[2].replace("-", " ").capitalize()
        number = int(named[1]) if number is None and named[1] else number
    else:
        title = " ".join(title.split())
        plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
        slug = "-".join(re.findall(r"[a-z0-9]+", plain))[:60].strip("-")
    if not slug:
        raise LessonError(f"{title!r} makes no name of a file.", remedy="Give a title with letters in it.")
    taken = {int(path.name[:2]): path for path in sorted(folder.glob(LESSONS))}
    if number is None:
        number = max(taken, default=-1) + 1
    if not 0 <= number <= 99:
        raise LessonError(f"{number} is no number of a lesson.", remedy="Numbers are 0 to 99.")
    if number in taken:
        raise LessonError(
            f"There is a lesson {number} already: {taken[number].name}.", remedy="Give another number."
        )
    path = folder / f"{number:02}-{slug}.ipynb"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        format_of_notebooks().write(_skeleton(path, number, title), path)
    return path


def _skeleton(path: Path, number: int, title: str) -> Any:
    v4 = format_of_notebooks().v4
    cells = [
        v4.new_markdown_cell(_OPENING.format(number=number, title=title)),
        v4.new_code_cell(SET_UP),
        v4.new_markdown_cell(_PREDICT),
        v4.new_code_cell("guess = nb.Guess(ttft_s=1.0, output_tps=20)\nguess"),
        v4.new_markdown_cell(_RUN),
        v4.new_code_cell('reply = nb.stream(client, "Tell me about rainbows").drain()'),
        v4.new_markdown_cell(_LOOK),
        v4.new_code_cell("ax = guess.check(reply)"),
        v4.new_markdown_cell(_EXERCISES),
        v4.new_code_cell(_GIVEN),
    ]
    for k, (heading, task, given, solution, check) in enumerate(_TASKS, 1):
        name = f"{number}.{k}"
        cells += [
            v4.new_markdown_cell(f"### Exercise {name} · {heading}\n\n{task}"),
            v4.new_code_cell(given, metadata={"tags": ["exercise"], OURS: {"solution": solution}}),
            v4.new_code_cell(
                f"{CHECK}\n{check.replace('{name}', name)}",
                metadata={"tags": ["check"], "jupyter": {"source_hidden": True}},
            ),
        ]
    lesson = Lesson(path, None, "")
    links = [
        f"**{word}:** [{heading_of(one)}]({one.name})"
        for word, one in zip(("Before", "Next"), lesson.neighbours(), strict=True)
        if one is not None
    ]
    ending = _ENDING.format(links=" · ".join(links) + "\n" if links else "")
    for place, cell in enumerate([*cells, last := v4.new_markdown_cell(ending)]):
        cell.id = f"{number:02}-{place:02}"
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    return v4.new_notebook(
        cells=[*cells, last], metadata={"kernelspec": kernel, "language_info": {"name": "python"}}
    )
