"""What a wrong answer looks like: the slips that everybody makes once, by name.

Strategy: two tables, of factors between numbers and of kinds of answers, tried in their order; the first that
fits is told. A remark says in which way an answer is off, never what would be right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from inspect import isawaitable, isgenerator
from types import FunctionType
from typing import Any

from bedrock_nb.course.answers import Within, is_number, is_predicate, met, plain, same_in_any_order
from bedrock_nb.errors import kind_of
from bedrock_nb.render import visible

__all__ = ["KINDS", "is_foreign", "raised", "remark"]

_TIMES = ("s", "ms", "µs", "us", "min", "s/token", "ms/token")
#: How near a number must come, multiplied by a factor, to be off by that factor.
_NEAR = "1%"
_CLOSE = "10%"

#: Factors between numbers, what to ask of times, and of other numbers; empty: nothing.
_FACTORS = (
    (1000, "seconds or milliseconds?", "look at the units."),
    (1_000_000, "seconds or microseconds?", "look at the units."),
    (100, "per cent or a share of 1?", "per cent or a share of 1?"),
    (60, "seconds or minutes?", ""),
)
#: Kinds of answers that a teacher may ask for by name: the words for it, and whether a plain value is one.
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "number": ("a number", is_number),
    "position": ("a position, a whole number,", is_number),
    "text": ("a text", lambda value: isinstance(value, str)),
    "bytes": ("bytes", lambda value: isinstance(value, bytes | bytearray)),
    "list": ("a list", lambda value: isinstance(value, list)),
    "set": ("a set", lambda value: isinstance(value, set | list)),
    "dict": ("a dict", lambda value: isinstance(value, dict)),
    "function": ("a function, `def …` and its lines,", is_predicate),
}
#: What an answer is, to begin a sentence with; any other by the name of its class.
_GIVEN = {
    bool: "True or False",
    int: "A whole number",
    float: "A number",
    str: "A text",
    dict: "A dict or a table",
    list: "A list",
    set: "A set",
}
#: What an answer raises if it is taken for something that it is not.
_MISTAKEN = (TypeError, AttributeError, LookupError)
#: Letters of an error that are repeated.
_MOST_LETTERS = 80
#: Words for the kinds of values that may be asked for.
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "True or False"),
    (str, "a text"),
    (bytes, "bytes"),
    (dict, "a dict or a table"),
    (set, "a set"),
    (list, "a list"),
)


def is_foreign(answer: Any, kind: str) -> bool:
    """Whether an answer is not of the kind that a teacher asked for; of no kind it never is."""
    return bool(kind) and not KINDS[kind][1](plain(answer))


def remark(answer: Any, expected: Any, within: Within = None, unit: str = "", kind: str = "") -> str:
    """A sentence on the way in which an answer is wrong; empty if nothing is to be said.

    Parameters
    ----------
    answer : object
        That is not right.
    expected : object
        A value or a predicate; of a predicate only the kind of answer can be spoken of.
    within : float or str, optional
        Allowed difference.
    unit : str
        Of the answer.
    kind : str
        One of `KINDS` that is asked for, if a teacher said so.
    """
    try:
        return next(_remarks(answer, expected, within, unit, kind), "")
    except Exception:  # answers may raise when they are looked at; then there is nothing to tell of them
        return ""


def raised(answer: Any, err: BaseException, within: Within = None, unit: str = "") -> str:
    """A sentence on an answer that raised when a function judged it, and nobody said what kind is asked for.

    Who gave a text where a number is wanted should read that, and no ``TypeError`` of our own code.
    """
    words = visible(" ".join(str(err).split()))
    told = f"`{type(err).__name__}`" + (f": `{words[:_MOST_LETTERS].replace('`', chr(39))}`" if words else "")
    a = plain(answer)
    if a is None:
        return _NONE
    if isinstance(answer, FunctionType) and isinstance(err, _MISTAKEN) and "'function'" in words:
        return "This is a function; something else is asked for. Call it: is the answer what it returns?"
    if is_predicate(answer):
        return f"Your function raised {told}."
    if type(a).__module__ != "builtins" or not isinstance(err, _MISTAKEN):
        return f"{kind_of(answer)} is given, and looking at it raised {told}."
    if "not callable" in words:
        return _other_kind(answer, "function")
    if (unit or within is not None) and not is_number(a):
        return _other_kind(answer, "number")
    return f"{_given(answer)} is given; something else is asked for. Read the task again."


_NONE = "The answer is None. Did you assign it, and does your function `return` what it found?"


def _other_kind(answer: Any, kind: str) -> str:
    if kind in ("number", "position") and isinstance(answer, str):
        return "This is text; a number is asked for. Leave out the quotes and the unit."
    return f"{_given(answer)} is given; {KINDS[kind][0]} is asked for.".replace("bytes is", "bytes are")


def _given(answer: Any) -> str:
    return _GIVEN.get(type(plain(answer))) or kind_of(answer)


def _remarks(answer: Any, expected: Any, within: Within, unit: str, kind: str) -> Iterator[str]:
    a = plain(answer)
    if isawaitable(a):
        yield "This is an answer that is still to come: put `await` before the call."
    if isgenerator(a):
        yield "This is a generator, a recipe for values: `list(…)` makes a list of it."
    if a is None:
        yield _NONE
    if callable(a) and (is_foreign(a, kind) or not (callable(expected) or kind)):
        yield "This is a function. Call it: the answer is what it returns."
    if is_foreign(a, kind):
        yield _other_kind(answer, kind)
    if is_predicate(expected):
        return
    b = plain(expected)
    if is_number(b):
        yield from _of_numbers(a, b, within, unit, kind)
    elif isinstance(b, str) and isinstance(a, str):
        yield from _of_texts(a, b)
    elif isinstance(b, list) and isinstance(a, list):
        yield from _of_lists(a, b, within)
    elif isinstance(b, dict) and isinstance(a, dict):
        yield from _of_dicts(a, b)
    else:
        wanted = next((words for one, words in _KINDS if isinstance(b, one)), "")
        if wanted and not isinstance(a, type(b)):
            yield f"{_given(answer)} is given; {wanted} is asked for."


def _of_numbers(a: Any, b: Any, within: Within, unit: str, kind: str) -> Iterator[str]:
    if isinstance(a, str):
        yield "This is text; a number is asked for. Leave out the quotes and the unit."
    if not is_number(a):
        yield f"{_given(a)} is given; a number is asked for."
        return
    a, b = float(a), float(b)
    if math.isnan(a):
        yield "This is NaN, not a number: something that it is made of was missing."
    if math.isinf(a):
        yield "This is infinite: was something divided by 0?"
    if kind == "position":  # one more or less says nothing, and neither does twice as much
        if a != int(a):
            yield "A position is a whole number."
        return
    for factor, of_time, of_others in _FACTORS:
        words = of_time if unit in _TIMES else of_others
        if words and b and (met(b, a * factor, _NEAR) or met(b, a / factor, _NEAR)):
            yield f"It is off by a factor of {factor:,}: {words}"
    if b and met(b, -a, _NEAR):
        yield "The size is right, the sign is not: what is taken from what?"
    if a and b and met(b, 1 / a, _NEAR):
        yield "This is the reciprocal, 1 divided by it: seconds per token, or tokens per second?"
    if b and any(a == round(b, digits) for digits in range(5)):
        yield "It was rounded too much: give it as it is, with all its digits."
    elif b and met(b, a, _CLOSE):
        yield "Close, within 10 %, but not close enough."
    else:
        yield "It is too large." if a > b else "It is too small."


def _of_texts(a: str, b: str) -> Iterator[str]:
    if a.split() == b.split():
        yield "Nearly: look at the spaces and ends of lines."
    elif a.casefold().split() == b.casefold().split():
        yield "Nearly: look at upper and lower case."


def _of_lists(a: list[Any], b: list[Any], within: Within) -> Iterator[str]:
    if len(a) != len(b):
        noun, much = "value" if len(a) == 1 else "values", "few" if len(a) < len(b) else "many"
        yield f"{len(a):,} {noun}: that is too {much}."
        return
    wrong = [i for i, (one, other) in enumerate(zip(a, b, strict=True)) if not met(other, one, within)]
    if wrong and same_in_any_order(a, b, within):
        yield "The values are right, their order is not."
    if wrong:
        right = len(b) - len(wrong)
        yield f"{right:,} of {len(b):,} values are right; look at number {wrong[0]} (counted from 0)."


def _of_dicts(a: dict[Any, Any], b: dict[Any, Any]) -> Iterator[str]:
    if a.keys() != b.keys():
        few, many = len(b.keys() - a.keys()), len(a.keys() - b.keys())
        yield f"Names that are missing: {few}; names that do not belong there: {many}."
