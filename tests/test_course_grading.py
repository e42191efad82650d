"""Exercises are graded kindly and truly: what is right, what a wrong answer is told, what is remembered."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.course.grading import grade
from bedrock_nb.errors import RequestError

_NAMES = (f"t.{number}" for number in itertools.count())


@pytest.fixture
def name():
    """A name that no exercise had before: attempts are counted as long as the process lives."""
    return next(_NAMES)


class Odd:
    """An answer that raises whenever it is looked at."""

    def __eq__(self, other):
        raise RuntimeError("not with me")

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self):
        raise RuntimeError("nor that")

    def __iter__(self):
        raise RuntimeError("nor this")


class OddMapping(Mapping):
    """A mapping whose keys cannot be had."""

    def __getitem__(self, key):
        raise LookupError

    def __iter__(self):
        raise OSError("no keys")

    def __len__(self):
        return 3


def empty(x): ...


def described(x):
    """To be written."""


async def waiting(x): ...


async def later():
    return 3


def loop():
    """A list that holds itself."""
    made = [1]
    made.append(made)
    return made


TABLE = pd.DataFrame({"ttft_s": [0.3, 0.4], "status": ["complete", "failed"]})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (3, 3),
        (3.0, 3),
        (np.float64(0.3), 0.1 + 0.2),
        (np.int64(3), 3),
        (Decimal("0.25"), 0.25),
        (Fraction(1, 4), 0.25),
        (1e-13, 0.0),
        (float("nan"), float("nan")),
        (1 + 2j, 1 + 2j),
        (True, True),
        (np.True_, True),
        (None, None),
        ("end_turn", "end_turn"),
        ((1, 2), [1, 2]),
        (np.array([0.1 + 0.2, 1]), [0.3, 1]),
        (range(3), [0, 1, 2]),
        (deque([1, 2]), (1, 2)),
        (pd.Series([1, 2], index=[7, 8]), [1, 2]),
        ({2: "b", 1: "a"}.keys(), {1, 2}),
        ([2, 1, 2], {1, 2}),
        ([[1], [2]], [[1], [2]]),
        ({"a": 1.0}, {"a": 1}),
        (TABLE[["status", "ttft_s"]].set_index(pd.Index([5, 6])), TABLE),
        (pd.Series([1, None]), [1, float("nan")]),
        (b"\x00", b"\x00"),
        (int, int),
    ],
)
def test_equal_values_are_right(name, answer, expected):
    """Whatever library a value is from, as long as it says the same."""
    assert grade(name, answer, expected).status == "right"


@pytest.mark.parametrize(
    ("answer", "expected", "said"),
    [
        (350, 0.35, "seconds or milliseconds?"),
        (3.5e5, 0.35, "seconds or microseconds?"),
        (21.0, 0.35, "seconds or minutes?"),
        (35, 0.35, "per cent"),
        (-0.35, 0.35, "the sign is not"),
        (0.5, 2.0, "reciprocal"),
        (0.93, 0.93412, "rounded too much"),
        (0.9, 0.93412, "rounded too much"),
        (0.95, 0.93412, "within 10 %"),
        (5, 2, "too large"),
        (1.1, 2, "too small"),
        (float("nan"), 2, "NaN"),
        (float("inf"), 2, "divided by 0"),
        ("0.35", 0.35, "Leave out the quotes"),
        (True, 1, "a number is asked for"),
        (1, True, "True or False is asked for"),
        (None, 1, "Did you assign it"),
        (len, 3, "Call it"),
        ((x for x in [1]), [1], "generator"),
        ([3, 2, 1], [1, 2, 3], "their order is not"),
        ([1, 2], [1, 2, 3], "too few"),
        ([1, 5, 3], [1, 2, 3], "2 of 3 values are right; look at number 1"),
        ({1, 2}, [1, 2], "a list is asked for"),
        ("End_Turn", "end_turn", "upper and lower case"),
        (" end_turn\n", "end_turn", "spaces"),
        ({"a": 1}, {"b": 1}, "Names that are missing: 1"),
        (TABLE.ttft_s, TABLE, "a dict or a table is asked for"),
    ],
)
def test_a_slip_is_called_by_its_name(name, answer, expected, said):
    """A wrong answer is told in which way it is off, and in one line what became of it."""
    made = grade(name, answer, expected, unit="s")
    assert made.status == "wrong"
    assert said in made.message
    assert repr(made) == f"Exercise {name}: not right yet."


@pytest.mark.parametrize(
    ("answer", "expected", "within", "status"),
    [
        (0.36, 0.35, 0.01, "right"),
        (0.37, 0.35, 0.01, "wrong"),
        (0.38, 0.35, "10%", "right"),
        (0.39, 0.35, "10 %", "wrong"),
        (11, 10, 1, "right"),
        (12, 10, 1, "wrong"),
        (10**400, 10**400 + 1, 2, "right"),
        (10**400, 3.0, "10%", "wrong"),
        (float("inf"), 3.0, 1e300, "wrong"),
        ([1.04, 2.04], [1, 2], 0.05, "right"),
        ({"a": 1.04}, {"a": 1}, 0.05, "right"),
        (1 + 2.01j, 1 + 2j, 0.02, "right"),
        ({1.01, 2}, {1, 2}, 0.05, "right"),
    ],
)
def test_numbers_may_differ_by_what_is_allowed(name, answer, expected, within, status):
    """In the unit of the answer, or a share of what is expected; in lists and tables, too."""
    assert grade(name, answer, expected, within=within).status == status


@pytest.mark.parametrize(
    "answer",
    [..., [1, ...], {"a": ...}, (1, [2, ...]), empty, described, waiting, lambda x: ..., lambda x: None],
)
def test_what_was_not_answered_is_open(name, answer):
    """Dots anywhere in the answer, or a function without a body, are no attempt."""
    made = grade(name, answer, 3, hints=["no hint before an attempt"])
    assert (made.status, made.attempts, made.hints) == ("open", 0, ())
    assert repr(made) == f"Exercise {name}: not answered yet."


def test_each_wrong_attempt_brings_one_more_hint(name):
    """The last stays; a right answer ends it, with a sentence to take home."""
    hints = ["Look at the marks.", "Look at `ttft_s`."]
    seen = [grade(name, wrong, 3, hints=hints).hints for wrong in (1, 2, 4)]
    assert seen == [("Look at the marks.",), tuple(hints), tuple(hints)]
    made = grade(name, 3, 3, hints=hints, right="Three it is.")
    assert (made.status, made.attempts, made.hints, made.message) == ("right", 4, (), "Three it is.")


def test_one_hint_may_be_a_text(name):
    """Not one hint for each of its letters."""
    assert grade(name, 1, 3, hints="Count again.").hints == ("Count again.",)


def test_typical_mistakes_come_before_general_remarks(name):
    """Values and predicates, in their order; one that raises does not fit."""
    mistakes = [(lambda a: a["x"], "never"), (350, "That is in ms."), (lambda a: a > 100, "Too much.")]
    assert grade(name, 350, 0.35, mistakes=mistakes).remarks == ("That is in ms.",)
    assert grade(name, 360, 0.35, mistakes=mistakes).remarks == ("Too much.",)


def test_a_predicate_judges(name):
    """It gets the answer, functions as well, and may say so with numpy's truth."""
    assert grade(name, lambda x: 2 * x, lambda f: f(4) == 8).status == "right"
    assert grade(name, [1, 2], lambda a: np.array(a) > 0).status == "right"
    assert grade(name, [1, -2], lambda a: np.array(a) > 0).status == "wrong"
    assert "return" in grade(name, None, lambda a: a == 3).message


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda x: {}["key"], "Your function raised `KeyError`: `'key'`."),
        (lambda x: sys.exit(3), "Your function raised `SystemExit`: `3`."),
        (lambda: 3, "Your function raised `TypeError`"),
        (Odd(), "An Odd is given, and looking at it raised"),
        (5, "A whole number is given; a function, `def …` and its lines, is asked for."),
    ],
)
def test_what_an_answer_raises_is_told(name, answer, said):
    """No traceback: a sentence with the exception in it, or with what is asked for."""
    assert said in grade(name, answer, lambda f: f(3) == 8).message


@pytest.mark.parametrize(
    ("answer", "expected", "more", "said"),
    [
        ("soon", lambda a: 0 < a < 2, {"unit": "s"}, "This is text; a number is asked for."),
        ([1, 2], lambda a: 0 < a < 2, {"within": 1}, "A list is given; a number is asked for."),
        ("soon", lambda a: 0 < a < 2, {}, "A text is given; something else is asked for."),
        (len, lambda a: 0 < a < 2, {}, "TypeError"),
        (lambda x: x, lambda a: 0 < a < 2, {}, "This is a function; something else is asked for."),
        (lambda x: x, lambda a: 0 < a < 2, {"kind": "number"}, "Call it"),
        (5, lambda a: True, {"kind": "function"}, "A whole number is given; a function"),
        (5, lambda a: True, {"kind": "text"}, "A whole number is given; a text is asked for."),
        ("x", lambda a: True, {"kind": "bytes"}, "A text is given; bytes are asked for."),
        (np.array([5]), lambda a: True, {"kind": "dict"}, "A list is given; a dict is asked for."),
        ("3", 3, {"kind": "position"}, "This is text; a number is asked for."),
        (2.5, 3, {"kind": "position"}, "A position is a whole number."),
    ],
)
def test_what_is_asked_for_is_said(name, answer, expected, more, said):
    """An answer of another kind hears so in plain words, and what is asked for, where that is known."""
    made = grade(name, answer, expected, **more)
    assert made.status == "wrong"
    assert said in made.message
    assert made.message.startswith("Your function raised") == (answer is len)


def test_an_answer_of_the_right_kind_is_judged(name):
    """A kind lets pass what numpy and pandas give for it."""
    assert grade(name, np.int64(3), lambda a: a == 3, kind="number").status == "right"
    assert grade(name, pd.Series([3]), lambda a: list(a) == [3], kind="list").status == "right"
    assert grade(name, lambda: 3, lambda f: f() == 3, kind="function").status == "right"


def test_a_position_is_not_too_large(name):
    """One that is near is as wrong as any other: nothing is said of its size."""
    for answer in (2, 4, 300, -3):
        assert grade(name, answer, 3, kind="position").remarks == ("That is not it yet.",)
    assert grade(name, 3, 3, kind="position").status == "right"


@pytest.mark.parametrize("expected", [3, "x", [1], {1}, {"a": 1}, None, TABLE, lambda a: a == 3])
@pytest.mark.parametrize(
    "make", [Odd, OddMapping, loop, later, lambda: iter([1]), lambda: range(10**15), object]
)
def test_no_answer_is_too_odd(name, make, expected):
    """Answers that raise, hold themselves, have no end: wrong, and no more than that."""
    answer = make()
    made = grade(name, answer, expected)
    assert made.status == "wrong"
    assert "0x" not in made._repr_html_()
    getattr(answer, "close", int)()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.integers()) | st.tuples(inner)
    ),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_any_answer_gets_a_grade(answer, expected):
    """Of any two values: a grade, a card, one line; and a value is equal to itself."""
    made = grade("any", answer, expected, hints=["hint"])
    assert made.status in ("right", "wrong")
    assert made._repr_html_().startswith('<div class="bedrock-nb"')
    assert "\n" not in repr(made)
    assert grade("any", expected, expected).status == "right"


@given(st.integers(), st.integers())
def test_whole_numbers_are_right_if_and_only_if_equal(answer, expected):
    """Nothing is let pass that was not allowed."""
    assert (grade("whole", answer, expected).status == "right") == (answer == expected)


@given(VALUES)
def test_what_is_expected_is_not_given_away(answer):
    """A wrong answer's line, words and card do not hold the right one."""
    made = grade("secret", answer, "the-s3cret-answer", hints=["Think."])
    assert made.status == "wrong"
    assert "s3cret" not in f"{made!r} {made} {made._repr_html_()}"


def test_a_card_shows_text_as_text(name):
    """An answer is escaped, and hints are Markdown without HTML."""
    card = grade(
        name, "<img src=x onerror=alert(1)>", 3, hints=["`a` <script>x</script> **b**"]
    )._repr_html_()
    assert "&lt;img" in card
    assert "<img" not in card
    assert "<script" not in card
    assert "<code>a</code>" in card
    assert "<strong>b</strong>" in card


@pytest.mark.parametrize(
    ("answer", "given_"),
    [
        (0.25, "0.25 s"),
        (np.float64(0.25), "0.25 s"),
        (10.202631151062354, "10.2026 s"),
        (True, "True"),
        ("0.25", "'0.25'"),
        (pd.Series([1.0, 2.0]), "[1.0, 2.0]"),
        (len, "A builtin_function_or_method"),
        (object(), "An object"),
    ],
)
def test_a_card_repeats_the_answer(name, answer, given_):
    """Shortened, with its unit if it is a number, and without an address in memory."""
    assert grade(name, answer, "no", unit="s").given == given_


def test_progress_has_a_row_for_each_exercise():
    """What was right once stays so, and is not counted any more."""
    a, b = next(_NAMES), next(_NAMES)
    for answer in (..., 1, 2, 3, 4):
        made = grade(a, answer, 3)
    assert (made.status, made.attempts) == ("wrong", 3)
    grade(b, ..., 3)
    table = nb.progress()
    assert list(table) == ["exercise", "status", "attempts"]
    rows = table.set_index("exercise").loc[[a, b]]
    assert rows.values.tolist() == [["right", 3], ["open", 0]]


def test_progress_of_nothing_is_an_empty_table():
    """Before the first exercise: the columns, and no row; `grade` needs neither widgets nor plots."""
    code = (
        "import sys, bedrock_nb as nb; table = nb.progress(); print(len(table), list(table));"
        "nb.grade('1.1', 1, 1); print({'anywidget', 'matplotlib.pyplot'} & {*sys.modules})"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["0 ['exercise', 'status', 'attempts']", "set()"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": 2.1},
        {"within": "10"},
        {"within": "x%"},
        {"within": -1},
        {"within": True},
        {"within": [1]},
        {"kind": "answer"},
        {"hints": [1]},
        {"mistakes": [3]},
        {"mistakes": [(3, 4)]},
    ],
)
def test_an_exercise_that_is_wrong_itself_is_told_to_the_teacher(wrong):
    """Before any student meets it, with a remedy."""
    arguments = {"name": "t", "answer": ..., "expected": 3, **wrong}
    with pytest.raises(RequestError) as info:
        grade(arguments.pop("name"), arguments.pop("answer"), arguments.pop("expected"), **arguments)
    assert info.value.remedy
