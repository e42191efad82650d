"""Exercises: an answer is compared with what is known to be true, and a wrong one gets a remark and a hint.

Strategy: `grade` never raises because of an answer, and never says what would be right; each wrong attempt
brings one more of the teacher's hints. Attempts are counted by exercise as long as the kernel lives. Hints
are Markdown, made harmless by `render`; what a student gave is escaped.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Literal

from bedrock_nb.course.answers import Within, is_number, is_open, met, plain
from bedrock_nb.course.remarks import KINDS, is_foreign, raised, remark
from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.render import markdown, visible

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Grade", "grade", "progress"]

_WORDS = {"open": "not answered yet", "wrong": "not right yet", "right": "right"}
_SIGNS = {"open": "○", "wrong": "✗", "right": "✓"}
#: The line at a card's left, in the colours of JupyterLab's theme.
_EDGES = {
    "open": "var(--jp-border-color1,#8888)",
    "wrong": "var(--jp-warn-color1,#b26a00)",
    "right": "var(--jp-success-color1,#2e7d32)",
}
_OPEN = "Put your answer in place of `...`, run that cell, then this one."
_RIGHT = "That is right."
_WRONG = "That is not it yet."
#: Letters of an answer that a card repeats.
_MOST_LETTERS = 80


@dataclass(frozen=True)
class Grade:
    """What became of one attempt at an exercise.

    In a notebook it is a card; printed, all its words; its repr is one line.

    Attributes
    ----------
    name : str
        Of the exercise: ``"2.1"``.
    status : {"open", "wrong", "right"}
        Not answered yet, not right yet, right.
    attempts : int
        Answers so far in this kernel, up to the first right one.
    remarks, hints : tuple of str
        What was noticed, and what the teacher tells by now; Markdown.
    given : str
        The answer, shortened.
    """

    name: str
    status: Literal["open", "wrong", "right"]
    attempts: int = 0
    remarks: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    given: str = ""

    @property
    def message(self) -> str:
        """All that is to be said, as plain text."""
        return " ".join([*self.remarks, *(f"Hint: {hint}" for hint in self.hints)])

    def __repr__(self) -> str:
        return f"Exercise {self.name}: {_WORDS[self.status]}."

    def __str__(self) -> str:
        return f"{self!r} {self.message}".strip()

    def _repr_html_(self) -> str:
        count = f" <small>attempt {self.attempts}</small>" if self.status == "wrong" else ""
        head = f"{_SIGNS[self.status]} Exercise {escape(self.name)}: {_WORDS[self.status]}{count}"
        given = f"<p>You gave <code>{escape(visible(self.given))}</code></p>" if self.given else ""
        said = "".join(markdown(one) for one in self.remarks)
        hints = "".join(
            f"<div><strong>Hint {number}.</strong> {markdown(hint)}</div>"
            for number, hint in enumerate(self.hints, 1)
        )
        return (
            f'<div class="bedrock-nb" style="margin:.5em 0;padding:.3em .8em;border-left:4px solid '
            f'{_EDGES[self.status]}"><p><strong>{head}</strong></p>{given}{said}{hints}</div>'
        )


#: The last grade of each exercise in this kernel, in order of their first attempts.
_GRADES: dict[str, Grade] = {}


def grade(
    name: str,
    answer: Any,
    expected: Any,
    *,
    within: Within = None,
    unit: str = "",
    kind: str = "",
    hints: str | Sequence[str] = (),
    mistakes: Iterable[tuple[Any, str]] = (),
    right: str = "",
) -> Grade:
    """Compare an answer to an exercise with what is true, and say kindly what came of it.

    Parameters
    ----------
    name : str
        Of the exercise: ``"2.1"``.
    answer : object
        The student's. ``...``, alone, in a list, or as the body of a function, is "not answered yet".
    expected : object or function
        What is right: a number, text, list (in order), set (in any order), dict, array, Series or DataFrame
        (columns by name, rows in order, whatever the index). A function judges: it is called with the answer
        and returns whether that is right. A class is a value.
    within : float or str, optional
        Allowed difference of numbers: in the answer's unit, or ``"10%"`` of what is expected. Without it
        whole numbers must be the same, others up to rounding.
    unit : str
        Of a number, for the words of a card: ``"s"``.
    kind : str, optional
        What is asked for: ``"number"``, ``"position"``, ``"text"``, ``"bytes"``, ``"list"``, ``"set"``,
        ``"dict"`` or ``"function"``. An answer of another kind is wrong and told so; a function that judges
        is not called with it. A position is a number that is never called too large or too small.
    hints : sequence of str
        In Markdown, from a nudge to nearly the answer. Each wrong attempt shows one more.
    mistakes : iterable of (value or function, str)
        Wrong answers that are often given, and what is to be said of each: the first that fits is said, and
        nothing of our own. What ``expected`` takes for right is right, whatever fits here.
    right : str
        A sentence to take home, said when it is right; Markdown.

    Returns
    -------
    Grade
        Shown as a card at the end of a cell.

    Raises
    ------
    RequestError
        The exercise itself is wrong: ``name``, ``within``, ``kind``, ``hints`` or ``mistakes``. Never because
        of the answer.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> nb.grade("2.1", ..., 0.35)
    Exercise 2.1: not answered yet.
    >>> print(nb.grade("2.1", 350, 0.35, unit="s", hints=["Read the unit."]))
    Exercise 2.1: not right yet. It is off by a factor of 1,000: seconds or milliseconds? Hint: Read the unit.
    >>> nb.grade("2.1", 0.351, 0.35, within="5%")
    Exercise 2.1: right.
    """
    pairs = _checked(name, within, kind, hints, mistakes)
    told = (hints,) if isinstance(hints, str) else tuple(hints)
    before = _GRADES.get(name, Grade(name, "open"))
    if is_open(answer):
        made = Grade(name, "open", before.attempts, (_OPEN,))
    else:
        # Whoever tries on after it was right is not counted any more.
        attempts = before.attempts + (before.status != "right")
        given = _shortened(answer, unit)
        is_right, said = _judge(answer, expected, pairs, within, unit, kind)
        if is_right:
            made = Grade(name, "right", attempts, (right or _RIGHT,), (), given)
        else:
            made = Grade(name, "wrong", attempts, (said or _WRONG,), told[:attempts], given)
    # What was right once stays so in `progress`, whatever is tried out afterwards.
    _GRADES[name] = replace(made, status="right") if before.status == "right" else made
    return made


def progress() -> pd.DataFrame:
    """All exercises that were graded in this kernel, a row each.

    Returns
    -------
    DataFrame
        ``exercise``; ``status`` (open, wrong, right; what was right once stays so); ``attempts``, up to the
        first right one.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> grade = nb.grade("9.1", 42, 42)
    >>> nb.progress().query("exercise == '9.1'").status.item()
    'right'
    """
    import pandas as pd

    rows = [(one.name, one.status, one.attempts) for one in _GRADES.values()]
    table = pd.DataFrame(rows, columns=["exercise", "status", "attempts"])
    return table.astype({"exercise": "str", "status": "str", "attempts": "int64"})


def _checked(
    name: str, within: Within, kind: str, hints: str | Sequence[str], mistakes: Iterable[tuple[Any, str]]
) -> list[tuple[Any, str]]:
    """The mistakes as a list; whatever the teacher got wrong is said."""
    if not isinstance(name, str) or not name.strip():
        raise RequestError(f"{name!r:.40} is no name of an exercise.", remedy='Give a text such as "2.1".')
    if within is not None and not _is_difference(within):
        raise RequestError(
            f"within is {within!r:.40}; an allowed difference is wanted.",
            remedy='Give a number in the unit of the answer, or a share such as "10%".',
        )
    if kind and kind not in KINDS:
        raise RequestError(
            f"{kind!r:.40} is no kind of an answer.", remedy=f"Give one of {', '.join(KINDS)}."
        )
    if not isinstance(hints, str) and not all(isinstance(hint, str) for hint in hints):
        raise RequestError("Hints are texts, in a list.", remedy='For example ["Look at the unit."].')
    pairs = list(mistakes)
    if not all(isinstance(pair, tuple) and len(pair) == 2 and isinstance(pair[1], str) for pair in pairs):
        raise RequestError(
            "mistakes are pairs of a wrong answer and a text.", remedy='For example [(0.35, "That is …")].'
        )
    return pairs


def _is_difference(within: Any) -> bool:
    """Whether it is a number from 0 on, or a share."""
    if isinstance(within, bool) or (isinstance(within, str) and not within.endswith("%")):
        return False
    try:
        return 0 <= float(within.removesuffix("%") if isinstance(within, str) else within) < math.inf
    except (TypeError, ValueError):
        return False


def _judge(
    answer: Any, expected: Any, mistakes: list[tuple[Any, str]], within: Within, unit: str, kind: str
) -> tuple[bool, str]:
    """Whether it is right, and what is to be said of it if not."""
    judged = False if is_foreign(answer, kind) else _tried(lambda: met(expected, answer, within))
    if judged is True:
        return True, ""
    for mistake, text in mistakes:
        if _tried(lambda mistake=mistake: met(mistake, answer, within)) is True:  # type: ignore[misc]
            return False, text
    if isinstance(judged, BaseException):
        return False, raised(answer, judged, within, unit)
    return False, remark(answer, expected, within, unit, kind)


def _tried(judge: Callable[[], bool]) -> bool | BaseException:
    """What a judge says, or what it raises."""
    try:
        return judge()
    except (Exception, SystemExit) as err:  # a student's function may do anything, call exit() as well
        return err


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def _shortened(answer: Any, unit: str) -> str:
    """An answer as a card repeats it; one whose repr is an address, or raises, by its kind."""
    value = answer
    try:
        if type(answer).__module__.partition(".")[0] in ("numpy", "pandas"):
            value = plain(answer)
        if isinstance(value, float):
            value = float(f"{value:.6g}")  # an answer is to be recognised; 16 digits are not read
        said = " ".join(_SHORT.repr(value).split())
    except Exception:
        said = ""
    if not said or " at 0x" in said or said.startswith("<"):
        said = kind_of(answer)
    said = said if len(said) <= _MOST_LETTERS else said[: _MOST_LETTERS - 1] + "…"
    return f"{said} {unit}" if unit and is_number(value) else said
