"""Is an answer what was expected? Values of Python, numpy and pandas, compared as a teacher would.

Strategy: whatever numpy and pandas hold becomes plain Python first (`plain`), so one comparison serves all:
numbers up to rounding, lists in order, sets in any order, tables column by column. An answer is a student's:
it may be anything, hold itself, or raise when it is looked at. What cannot be compared is not equal.
"""

from __future__ import annotations

import dis
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set, ValuesView
from fractions import Fraction
from numbers import Number
from types import FunctionType
from typing import Any

__all__ = ["Within", "is_number", "is_open", "is_predicate", "met", "plain", "same", "same_in_any_order"]

#: An allowed difference: in the answer's unit, or ``"10%"`` of what is expected; None: up to rounding.
Within = float | str | None

#: How far floats may be apart that are "equal": what arithmetic in another order gives.
_ROUNDING = 1e-9
#: Numbers this small are 0.
_NOTHING = 1e-12
#: How many levels of lists and tables are looked into.
_DEEPEST = 20
#: Longer lists and columns are not looked through, only compared as they are.
_LONGEST = 1_000_000
#: Elements of a set beyond which they are not compared pair by pair.
_MOST_PAIRS = 1000
#: What is left of a function whose body is ``...`` or a docstring; then what ``async def`` adds to it.
_EMPTY_BODY = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "CACHE"}
_EMPTY_BODY |= {"RETURN_GENERATOR", "POP_TOP", "CALL_INTRINSIC_1", "RERAISE"}


def is_open(answer: Any, deep: int = 3) -> bool:
    """Whether nothing was answered yet: ``...`` itself, in a list or a dict, or all that a function holds."""
    if answer is ...:
        return True
    if isinstance(answer, FunctionType):
        steps = list(dis.get_instructions(answer))
        returned = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
        return {step.opname for step in steps} <= _EMPTY_BODY and returned in ([None], [...])
    if deep and type(answer) in (list, tuple, set, frozenset, dict):
        inside = answer.values() if type(answer) is dict else answer
        return any(is_open(one, deep - 1) for one in inside if not isinstance(one, FunctionType))
    return False


def is_predicate(expected: Any) -> bool:
    """Whether it judges answers, in place of being one; a class may well be an answer."""
    return callable(expected) and not isinstance(expected, type)


def met(expected: Any, answer: Any, within: Within = None) -> bool:
    """Whether an answer is right: by the predicate, or equal to the value.

    Raises
    ------
    Exception
        Whatever a predicate, or a function that it calls, raises; never because of a value.
    """
    if is_predicate(expected):
        judge: Callable[[Any], Any] = expected
        return _truth(judge(answer))
    try:
        return same(answer, expected, within)
    except Exception:  # an answer may raise whatever it likes in its own ``__eq__``, ``__iter__`` …
        return False


def same(answer: Any, expected: Any, within: Within = None, deep: int = _DEEPEST) -> bool:
    """Whether two values are equal in the sense of this module.

    Parameters
    ----------
    answer, expected : object
        Any values.
    within : float or str, optional
        Allowed difference of numbers, also of those in lists and tables.
    """
    if not deep:
        return False
    a, b = plain(answer), plain(expected)
    if is_number(a) and is_number(b):
        return _equal_numbers(a, b, within)
    if isinstance(b, dict) and isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], within, deep - 1) for key in b)
    if isinstance(b, set) and isinstance(a, set | list):
        return same_in_any_order(list(a), list(b), within, deep)
    if isinstance(b, list) and isinstance(a, list):
        return len(a) == len(b) and all(
            same(one, other, within, deep - 1) for one, other in zip(a, b, strict=True)
        )
    if isinstance(a, bool) or isinstance(b, bool):  # 1 == True for Python, not for a teacher
        return a is b
    return _truth(a == b)


def plain(value: Any) -> Any:
    """The same as a number, a text, a list, a set or a dict of Python, if it is like one of these.

    Generators are left alone: they may have no end, and looking at them uses them up.
    """
    if type(value).__module__.partition(".")[0] in ("numpy", "pandas"):  # np.float64 is a float as well
        return _plain_column(value)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set):  # the keys of a dict, too
        return set(value)
    if isinstance(value, Sequence | ValuesView | deque) and len(value) <= _LONGEST:
        return list(value)
    return value


def _plain_column(value: Any) -> Any:
    """Of numpy's and pandas' values: a scalar, a list, or a dict of a table's columns."""
    if getattr(value, "size", 0) > _LONGEST:
        return value
    if hasattr(value, "columns") and hasattr(value, "to_dict"):
        return {name: value[name].tolist() for name in value.columns}
    if hasattr(value, "tolist"):  # arrays and Series; scalars of numpy as well
        return value.tolist()
    if type(value).__name__ in ("NAType", "NaTType"):
        return math.nan
    return value


def is_number(value: Any) -> bool:
    """Whether it counts or measures something: True and False do not."""
    return isinstance(value, Number) and not isinstance(value, bool)


def _equal_numbers(a: Any, b: Any, within: Within) -> bool:
    if a == b:
        return True
    if a != a or b != b:  # not numbers
        return bool(a != a and b != b)
    if isinstance(a, complex) or isinstance(b, complex):
        return bool(abs(complex(a) - complex(b)) <= _allowed(abs(complex(b)), within))
    if within is None and isinstance(b, int):
        return False
    try:  # fractions: a whole number may have more digits than a float can hold
        return abs(Fraction(a) - Fraction(b)) <= _allowed(b, within)
    except OverflowError:  # one is infinite
        return False


def _allowed(expected: Any, within: Within) -> Fraction:
    """The difference that is let pass, in the unit of ``expected``, and what floats round away."""
    size = abs(Fraction(expected))
    slack = Fraction(_ROUNDING) * size + Fraction(_NOTHING)
    if isinstance(within, str):
        return Fraction(within.removesuffix("%").strip()) / 100 * size + slack
    return slack if within is None else Fraction(within) + slack


def same_in_any_order(a: list[Any], b: list[Any], within: Within, deep: int = _DEEPEST) -> bool:
    """Whether the values of two lists are the same as sets: in any order, some maybe more than once."""
    try:
        if set(a) == set(b):
            return True
    except TypeError:  # a list of lists
        pass
    if len(a) > _MOST_PAIRS or len(b) > _MOST_PAIRS:
        return False
    return all(any(same(one, other, within, deep - 1) for other in b) for one in a) and all(
        any(same(one, other, within, deep - 1) for one in a) for other in b
    )


def _truth(value: Any) -> bool:
    """Of an array, whether all of it is true."""
    try:
        return bool(value)
    except ValueError:
        return bool(value.all())
