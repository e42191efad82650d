"""What a lesson must be, as a table: one row for each rule of the convention.

Strategy: a rule is a function from a `Lesson` to what breaks it, cell by cell; the row has its name, what it
asks for, and how to mend it. `checking` applies them, the tests of the course's own lessons do, and the
documentation lists them. Nothing of a notebook is run here.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from bedrock_nb.lessons.lesson import OURS, SET_UP, Exercise, Lesson, heading_of, solution_of, tags_of
from bedrock_nb.lessons.names import ALWAYS, names, parsed
from bedrock_nb.lessons.saved import shown

__all__ = ["PLACEHOLDER", "RULES", "SECRETS", "Rule"]

#: What `new` writes where only the teacher knows what to say.
PLACEHOLDER = "✎"

#: What must not be in a saved lesson, by what it would give away.
SECRETS = {
    "an access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "an account id in an ARN": r"arn:aws[^\"\s]*:\d{12}:",
    "a bearer token": r"(?i)bearer\s+[a-z0-9._-]{20,}",
    "a home directory": r"(/home/|/root/|/Users/|C:\\\\Users)",
    "an address in memory": r"at 0x[0-9a-f]{6,}",
}

GOALS = "**In this lesson you will**"
LEARNED = "## What you have learned"
CHECK = "# Run this cell to check your answer."
_LONGEST = 30  # lines of a code cell
_BULLET = re.compile(r"^\* +(.*)$", re.M)
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s]+)\)")
_LOADED = re.compile(r"""load\(["']([^"']+)["']\)""")

#: The number of a cell, from 1, or None for the whole lesson; and what is wrong.
Broken = tuple[int | None, str]


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes
    ----------
    name : str
        A short name.
    what : str
        What it asks for.
    mend : str
        What to do about it.
    broken : function
        From a lesson to the cells that break it, and how.
    of : {"lessons", "pages"}
        Whether it is asked of lessons only, or of every notebook beside them, too.
    """

    name: str
    what: str
    mend: str
    broken: Callable[[Lesson], Iterator[Broken]]
    of: Literal["lessons", "pages"] = "lessons"


# -- the beginning ---------------------------------------------------------------------------------


def _first(lesson: Lesson) -> str:
    return lesson.cells[0].source if lesson.cells and lesson.cells[0].cell_type == "markdown" else ""


def _last(lesson: Lesson) -> str:
    return lesson.cells[-1].source if lesson.cells and lesson.cells[-1].cell_type == "markdown" else ""


def _title(lesson: Lesson) -> Iterator[Broken]:
    if not _first(lesson).startswith(f"# {lesson.number} · "):
        yield 1, f"the lesson does not open with `# {lesson.number} · Title`"


def _goals(lesson: Lesson) -> Iterator[Broken]:
    _, found, after = _first(lesson).partition(GOALS)
    if not found:
        yield 1, f"there is no `{GOALS}`"
    elif len(_BULLET.findall(after)) < 2:
        yield 1, "fewer than two goals"


def _practical(lesson: Lesson) -> Iterator[Broken]:
    if not re.search(r"\babout \d+ minutes\b", _first(lesson)):
        yield 1, "it does not say how long the lesson takes"
    if "AWS account" not in _first(lesson):
        yield 1, "it does not say that no AWS account is needed"


def _set_up(lesson: Lesson) -> Iterator[Broken]:
    code = lesson.numbered("code")
    if not code or code[0][1].source != SET_UP:
        yield (code[0][0] if code else None), "the first code cell is not the set-up that all lessons share"


# -- the way ---------------------------------------------------------------------------------------


def _python(lesson: Lesson) -> Iterator[Broken]:
    for n, cell in lesson.numbered("code"):
        if parsed(cell.source) is None:
            yield n, "this is no Python"


def _short(lesson: Lesson) -> Iterator[Broken]:
    for n, cell in lesson.numbered("code"):
        lines = len(cell.source.splitlines())
        if lines > _LONGEST and "check" not in tags_of(cell):  # checks are hidden
            yield n, f"{lines} lines of code; {_LONGEST} are a lot to read"


def _guesses(lesson: Lesson) -> dict[str, int]:
    """Name of a guess -> the cell that makes it."""
    made = {}
    for n, cell in lesson.numbered("code"):
        for name in re.findall(r"^(\w+) = nb\.Guess\(", cell.source, re.M):
            made[name] = n
    return made


def _predict(lesson: Lesson) -> Iterator[Broken]:
    made = _guesses(lesson)
    if not made:
        yield None, "nobody predicts anything: there is no `guess = nb.Guess(…)`"
    for name, n in made.items():
        later = [m for m, cell in lesson.numbered("code") if m > n and f"{name}.check(" in cell.source]
        if not later:
            yield n, f"no later cell says `{name}.check(…)`: a guess that nobody checks"


def _assigned(lesson: Lesson) -> Iterator[Broken]:
    checks = tuple(f"{name}.check" for name in _guesses(lesson))
    for n, cell in lesson.numbered("code"):
        tree = parsed(cell.source)
        last = tree.body[-1] if tree is not None and tree.body else None
        if cell.source.rstrip().endswith(";"):
            yield n, "`;` hides nothing from the comparison of outputs"
        if isinstance(last, ast.Expr) and isinstance(last.value, ast.Call):
            called = ast.unparse(last.value.func)
            if called.startswith("nb.plot.") or called in checks:
                yield n, f"`{called}(…)` shows the text of its Axes as well, and measured times in it"


def _ignored(lesson: Lesson) -> Iterator[Broken]:
    ignored = [n for n, cell in lesson.numbered("code") if "nbval-ignore-output" in tags_of(cell)]
    for n in ignored[1:]:
        yield n, "a second cell whose output is not compared"


def _links(lesson: Lesson) -> Iterator[Broken]:
    folder = lesson.path.parent
    for n, cell in enumerate(lesson.cells, 1):
        linked = [target for _, target in _LINK.findall(cell.source)] if cell.cell_type == "markdown" else []
        files = [re.sub("#.*", "", target) for target in linked if not re.match(r"[a-z]+:|#", target)]
        for name in files + (_LOADED.findall(cell.source) if cell.cell_type == "code" else []):
            there = os.path.exists(folder / unquote(name))  # noqa: PTH110 (False of names that no system takes)
            if "{" not in name and not there and not _is_made(lesson, name):
                yield n, f"there is no {name!r}"


def _is_made(lesson: Lesson, name: str) -> bool:
    """Whether a cell of the lesson writes that file itself."""
    return any(re.search(rf"""save\(["']{re.escape(name)}["']""", cell.source) for cell in lesson.cells)


# -- the exercises ---------------------------------------------------------------------------------


def _exercises(lesson: Lesson) -> Iterator[Broken]:
    found = [exercise.name for exercise in lesson.exercises]
    if not lesson.section:
        yield None, "there is no section `## Exercises`"
    elif len(found) < 2:
        yield lesson.section[0], f"{len(found) or 'no'} exercise; two or three are wanted"
    wanted = [f"{lesson.number}.{k}" for k in range(1, len(found) + 1)]
    for exercise, name in zip(lesson.exercises, wanted, strict=True):
        if exercise.name != name:
            yield exercise.heading, f"exercise {exercise.name} stands where {name} is due"
    of_exercises = {n for exercise in lesson.exercises for n in (*exercise.answers, *exercise.checks)}
    for n, cell in lesson.numbered("code"):
        for tag in {"exercise", "check"} & set(tags_of(cell)):
            if n not in of_exercises:
                yield n, f"tagged `{tag}`, and belongs to no `### Exercise`"


def _one(exercise: Exercise, tag: str, cells: tuple[int, ...]) -> Iterator[Broken]:
    """Of each kind an exercise has one cell."""
    if len(cells) != 1:
        yield exercise.heading, f"exercise {exercise.name} has {len(cells)} cells tagged `{tag}`"


def _answers(lesson: Lesson) -> Iterator[Broken]:
    for exercise in lesson.exercises:
        yield from _one(exercise, "exercise", exercise.answers)
        for n in exercise.answers:
            cell = lesson.cells[n - 1]
            solution = solution_of(cell)
            if not _has_dots(cell.source):
                yield n, f"exercise {exercise.name} leaves no `...` to be filled in"
            if solution is None:
                yield n, f"exercise {exercise.name} has no solution in its metadata"
            elif parsed(solution) is None:
                yield n, f"the solution of exercise {exercise.name} is no Python"
            elif solution.strip() == cell.source.strip():
                yield n, f"the solution of exercise {exercise.name} is the exercise"


def _has_dots(source: str) -> bool:
    tree = parsed(source)
    nodes = ast.walk(tree) if tree is not None else ()
    return any(isinstance(node, ast.Constant) and node.value is ... for node in nodes)


def _checks(lesson: Lesson) -> Iterator[Broken]:
    for exercise in lesson.exercises:
        yield from _one(exercise, "check", exercise.checks)
        for n in exercise.checks:
            cell = lesson.cells[n - 1]
            if exercise.answers and n < exercise.answers[0]:
                yield n, f"the check of exercise {exercise.name} comes before it"
            if _graded(cell.source) != exercise.name:
                yield n, f'the last line is not `nb.grade("{exercise.name}", …)`'
            jupyter = cell.metadata.get("jupyter")
            if not isinstance(jupyter, dict) or jupyter.get("source_hidden") is not True:
                yield n, "the check is open, and gives the answer away"
            if not cell.source.startswith(f"{CHECK}\n"):  # JupyterLab shows the first line of a folded cell
                yield n, f"the check does not begin with `{CHECK}`, and its first line is seen"


def _graded(source: str) -> object:
    """The exercise that a cell grades in its last expression."""
    tree = parsed(source)
    last = tree.body[-1] if tree is not None and tree.body else None
    call = last.value if isinstance(last, ast.Expr) else None
    if isinstance(call, ast.Call) and ast.unparse(call.func) == "nb.grade" and call.args:
        return call.args[0].value if isinstance(call.args[0], ast.Constant) else None
    return None


def _stand_alone(lesson: Lesson) -> Iterator[Broken]:
    told = set()
    for solved in (False, True):
        known = {*ALWAYS, "nb", "client"}
        for n in lesson.section:
            cell = lesson.cells[n - 1]
            if cell.cell_type != "code":
                continue
            wanted, given = names((solved and solution_of(cell)) or cell.source)
            for name in sorted(wanted - known):
                if (n, name) not in told:
                    told.add((n, name))
                    of = "the solution uses" if solved and solution_of(cell) else "this uses"
                    yield n, f"{of} `{name}`, which neither the set-up cell nor this section defines"
            known |= given


# -- the end ---------------------------------------------------------------------------------------


def _learned(lesson: Lesson) -> Iterator[Broken]:
    last, n = _last(lesson), len(lesson.cells)
    _, found, after = last.partition(LEARNED)
    if not found:
        yield n, f"the last cell has no `{LEARNED}`"
        return
    goals = _BULLET.findall(_first(lesson).partition(GOALS)[2])
    learned = _BULLET.findall(after)
    if len(goals) != len(learned):
        yield n, f"{len(goals)} goals on top, and {len(learned)} here"
    for line in learned:
        if not line.startswith("You "):
            yield n, f"a goal in the past tense begins with `You …`, not with {line[:30]!r}"


def _neighbours(lesson: Lesson) -> Iterator[Broken]:
    last, n = _last(lesson), len(lesson.cells)
    for word, path in zip(("Before", "Next"), lesson.neighbours(), strict=True):
        after = re.search(rf"\*\*{word}:\*\* *\[([^\]]*)\]\(([^)\s]+)\)", last)
        if path is None:
            if after:
                yield n, f"`**{word}:**`, and there is no such lesson"
        elif after is None or after[2] != path.name:
            yield n, f"no `**{word}:** [{heading_of(path)}]({path.name})`"
        elif after[1] != heading_of(path):
            yield n, f"{path.name} is called {after[1]!r} here, and {heading_of(path)!r} there"


def _reference(lesson: Lesson) -> Iterator[Broken]:
    _, _, after = _last(lesson).partition("**Reference:**")
    if not any(target.startswith("https://docs.aws.amazon.com/") for _, target in _LINK.findall(after)):
        yield len(lesson.cells), "no `**Reference:**` with a link to docs.aws.amazon.com"


def _unwritten(lesson: Lesson) -> Iterator[Broken]:
    for n, cell in enumerate(lesson.cells, 1):
        count = (cell.source + (solution_of(cell) or "")).count(PLACEHOLDER)
        if count:
            yield n, f"{count} × {PLACEHOLDER}: something is still to be written"


# -- the saved file --------------------------------------------------------------------------------


def _kernel(lesson: Lesson) -> Iterator[Broken]:
    name = lesson.notebook.metadata.get("kernelspec", {}).get("name")
    if name != "python3":
        yield None, f"its kernel is {name!r}, which not everybody has"


def _in_order(lesson: Lesson) -> Iterator[Broken]:
    code = lesson.numbered("code")
    counts = [cell.execution_count for _, cell in code]
    if any(counts) or any(cell.outputs for _, cell in code):
        for (n, _), count, due in zip(code, counts, range(1, len(counts) + 1), strict=True):
            if count != due:
                yield n, f"run as number {count}, where {due} is due"
                return


def _failed(lesson: Lesson) -> Iterator[Broken]:
    for n, cell in lesson.numbered("code"):
        if any(output.output_type == "error" for output in cell.outputs):
            yield n, "it shows a traceback"


def _given_away(lesson: Lesson) -> Iterator[Broken]:
    for what, pattern in SECRETS.items():
        if re.search(pattern, _without_png(lesson.text)):
            written = (_without_png(json.dumps(cell, ensure_ascii=False)) for cell in lesson.cells)
            at = (n for n, text in enumerate(written, 1) if re.search(pattern, text))
            yield next(at, None), f"it holds {what}"


def _without_png(text: str) -> str:
    return re.sub(r'"image/png": "[^"]*"', "", text)


def _unsolved(lesson: Lesson) -> Iterator[Broken]:
    for grade in shown(lesson.notebook):
        if grade.status != "open":
            yield grade.cell, f"exercise {grade.name} was saved answered ({grade.status})"


#: All rules, in the order of a lesson.
RULES = (
    Rule("title", "`# N · Title` opens it, N as in its file name.", "Write it in the first cell.", _title),
    Rule("goals", "Goals on top, as bullets.", f"Write `{GOALS}` and a line `* …` for each goal.", _goals),
    Rule(
        "practical",
        "How long it takes, and that no AWS account is needed.",
        "Write: It takes about 20 minutes. No AWS account is needed.",
        _practical,
    ),
    Rule("set-up", "The same two lines open each lesson.", f"Make the first code cell: {SET_UP!r}.", _set_up),
    Rule("python", "Every code cell is Python.", "Mend the syntax.", _python, "pages"),
    Rule("short", "Code cells are short.", "Show one idea, and cut the cell in two.", _short, "pages"),
    Rule(
        "predict",
        "Somebody predicts before it runs.",
        "Let a cell say `guess = nb.Guess(…)`, the next stream, a later one `ax = guess.check(reply)`.",
        _predict,
    ),
    Rule("axes", "Pictures are assigned.", "Write `ax = …` in front, and no `;` behind.", _assigned, "pages"),
    Rule(
        "compared",
        "One cell at most is tagged nbval-ignore-output.",
        "Show recordings that are shipped, or round what is measured.",
        _ignored,
        "pages",
    ),
    Rule("links", "Files that it names are there.", "Correct the link, or add the file.", _links, "pages"),
    Rule(
        "exercises",
        "Two or three exercises, in order.",
        "Under `## Exercises`, each has `### Exercise N.k · Title`, a cell `exercise` and a cell `check`.",
        _exercises,
    ),
    Rule(
        "answers",
        "A cell to be filled in, and its solution.",
        f'Leave `...` in it, and put the cell, solved, into its metadata: {{"{OURS}": {{"solution": "…"}}}}.',
        _answers,
    ),
    Rule(
        "checks",
        "A hidden check that grades it.",
        f'Begin it with `{CHECK}`, end it with `nb.grade("N.k", answer, …)`; '
        'metadata: {"jupyter": {"source_hidden": true}}.',
        _checks,
    ),
    Rule(
        "stand alone",
        "Exercises need the set-up cell and their own section only.",
        "Define it in a cell of the section, so that a student can come back tomorrow.",
        _stand_alone,
    ),
    Rule("learned", "The goals come back in past tense.", f"End with `{LEARNED}` and `* You …`.", _learned),
    Rule("neighbours", "The way to the lessons beside it.", "Link them by their titles.", _neighbours),
    Rule("reference", "AWS's documentation of the operation.", "Link its page.", _reference),
    Rule("written", "Nothing is left to be written.", f"Replace each {PLACEHOLDER}.", _unwritten, "pages"),
    Rule("kernel", "It opens everywhere.", "Choose the kernel python3, and save.", _kernel, "pages"),
    Rule("in order", "Every cell was run, in order.", "Restart, run all, save.", _in_order, "pages"),
    Rule("sound", "No cell failed.", "Catch what is meant to fail, and show its words.", _failed, "pages"),
    Rule("discreet", "Nothing of the machine or the account.", "Take it out.", _given_away, "pages"),
    Rule("unsolved", "It is saved unsolved.", "Put the `...` back, run all, save.", _unsolved),
)
