"""A guess as far as Python goes, and its picture; ``tests/browser/test_guess.py`` drives the widget."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.course.guess import Guess
from bedrock_nb.course.scales import scale
from bedrock_nb.errors import RequestError
from bedrock_nb.events import MessageStart, TextDelta
from bedrock_nb.plot.data.guesses import Guessed, extents, number, round_up, stairs, words
from bedrock_nb.recording import Recording
from tests.recordings import any_recording, recorded

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
RAINBOWS = Recording.load(NOTEBOOKS / "recordings" / "rainbows.jsonl")
FAILED = Recording.load(NOTEBOOKS / "recordings" / "failed.jsonl")
FACTS = nb.metrics.measure(RAINBOWS)


@pytest.fixture(autouse=True)
def close_figures():
    """Every picture that a test made is closed."""
    yield
    plt.close("all")


def gids(ax):
    """The artists of a picture by their gid."""
    return {artist.get_gid(): artist for artist in ax.get_children() if artist.get_gid()}


def words_in(ax):
    """The title, and all else that is written."""
    return "\n".join([ax.get_title(loc="left"), *(text.get_text() for text in ax.texts)])


# -- scales ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "given_", "low", "high", "step", "start"),
    [
        ("ttft_s", 1, 0, 2.5, 0.02, 1),
        ("ttft_s", 0.4, 0, 1, 0.01, 0.4),
        ("output_tps", 60, 0, 150, 1, 60),
        ("output_tokens", 100, 0, 250, 2, 100),
        ("retries", 1, 0, 2.5, 1, 1),
        ("cached_share", 0.7, 0, 1, 0.01, 0.7),
        ("ttft_s", 0, 0, 1, 0.01, 0),
        ("ttft_s", (0.5, 2), 0.5, 2, 0.01, 1.25),
        ("answers_per_s", (0, 40), 0, 40, 0.2, 20),
        ("answers_per_s", [0, 40, 10], 0, 40, 0.2, 10),
        ("delta_ms", (-5, 5, 0), -5, 5, 0.1, 0),
        ("network_reads", (1, 100, 53), 1, 100, 1, 53),
        ("network_reads", (1, 100.0, 53), 1, 100, 0.5, 53),
        ("ttft_s", (0, 4, 0.05), 0, 4, 0.01, 0.05),
        ("ttft_s", 0.25, 0, 0.8, 0.005, 0.25),
        ("output_tps", (0, 100, 1 / 3), 0, 100, 1, 1 / 3),
        ("output_tokens", (0, 1000, 25), 0, 1000, 5, 25),
        ("characters", (0, 2000, 900), 0, 2000, 20, 900),
    ],
)
def test_a_scale_is_round_and_has_room(name, given_, low, high, step, start):
    """About a start there is room for what a student may think; a range is taken as it is."""
    made = scale(name, given_)
    assert (made["low"], made["high"], made["step"], made["start"]) == (low, high, step, start)


@given(st.floats(1e-6, 1e9))
def test_any_start_has_a_scale(start):
    """Round, at least twice and a half as far, in a hundred steps or more, finer if only so one hits it."""
    made = scale("ttft_s", start)
    assert 2.5 * start * (1 - 1e-6) <= made["high"] <= 5.1 * start
    steps = (made["high"] - made["low"]) / made["step"]
    assert 99 <= steps <= 251 or (
        steps <= 25_001 and start / made["step"] == pytest.approx(round(start / made["step"]))
    )
    assert made["step"] == pytest.approx(round(made["step"], made["decimals"]))


@pytest.mark.parametrize(
    ("quantities", "said"),
    [
        ({"answers_per_s": 13}, r"answers_per_s=\(0, 40\)"),
        ({"ttft": 1}, "Did you mean ttft_s"),
        ({"ttft_s": (2, 1)}, "no room"),
        ({"ttft_s": (0, 1, 3)}, "outside of its scale"),
        ({"ttft_s": "fast"}, "a number, or a range"),
        ({"ttft_s": True}, "a number, or a range"),
        ({"ttft_s": float("nan")}, "a number, or a range"),
        ({"ttft_s": (0, 1, 2, 3)}, "a number, or a range"),
        ({"values": (0, 1)}, "cannot be the name"),
        ({"ax": (0, 1)}, "cannot be the name"),
        ({"_now": (0, 1)}, "cannot be the name"),
        ({"<b>": (0, 1)}, "cannot be the name"),
    ],
)
def test_a_guess_that_cannot_be_asked_is_refused(quantities, said):
    """The message says what would do."""
    with pytest.raises(RequestError, match=said):
        nb.Guess(**quantities)


# -- the guess ---------------------------------------------------------------------------------------


def test_a_guess_begins_where_it_is_told():
    """Without a browser it stays there; its line is the same each time."""
    assert repr(nb.Guess()) == "<Guess: ttft_s 1 s, output_tps 20 tokens/s>"
    guess = nb.Guess(ttft_s=0.4, answers_per_s=(0, 40, 13))
    assert (guess.ttft_s, guess.answers_per_s) == (0.4, 13)
    assert guess.values == {"ttft_s": 0.4, "answers_per_s": 13}
    assert (guess.facts, guess.recording) == ({}, None)
    assert {"ttft_s", "answers_per_s", "check"} <= {*dir(guess)}
    data, _ = guess._repr_mimebundle_() or ({}, {})
    assert data["text/plain"] == "<Guess: ttft_s 0.4 s, answers_per_s 13 per s>"


def test_python_may_move_a_handle():
    """Inside of its scale; a name that is none says which there are."""
    guess = nb.Guess()
    guess.ttft_s = 2
    assert guess.values == {"ttft_s": 2.0, "output_tps": 20.0}
    with pytest.raises(RequestError, match=r"from 0 to 2\.5"):
        guess.ttft_s = 99
    with pytest.raises(AttributeError, match="Did you mean ttft_s"):
        _ = guess.ttft


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"ttft_s": 1.5}, 1.5),
        ({"ttft_s": 1e9}, 2.5),
        ({"ttft_s": -3}, 0.0),
        ({"ttft_s": float("nan")}, 1.0),
        ({"ttft_s": "<img src=x>"}, 1.0),
        ({"ttft_s": None, "other": 3}, 1.0),
        ({"ttft_s": True}, 1.0),
        ({}, 1.0),
    ],
)
def test_what_a_page_says_is_checked(said, kept):
    """Numbers of our own quantities, inside of their scales; nothing else gets in."""
    guess = nb.Guess()
    for content in ({"now": said}, {"now": [said]}, [said], None):
        guess._handle_custom_msg(content, [])  # where a message from the page arrives
    assert guess.values == {"ttft_s": kept, "output_tps": 20.0}


@pytest.mark.parametrize("of", ["recording", "reply", "path"])
def test_check_measures_the_reply(client_reply, of, tmp_path):
    """A reply, its recording or a file of it: the facts are those of `metrics.measure`."""
    path = tmp_path / "reply.jsonl"
    client_reply.recording.save(path)
    guess = nb.Guess(ttft_s=0.4, output_tps=60)
    ax = guess.check({"recording": client_reply.recording, "reply": client_reply, "path": path}[of])
    measured = nb.metrics.measure(client_reply.recording)
    assert guess.facts == pytest.approx({name: measured[name] for name in guess.values}, rel=1e-5)
    assert ax.get_title(loc="left").startswith("TTFT: guessed 0.40 s, was ")


@pytest.fixture(scope="module")
def client_reply():
    """A reply of the embedded server."""
    return nb.stream(nb.connect("local", verbose=False), "Count from 1 to 20").drain()


def test_a_guess_after_the_fact_is_no_guess():
    """What was said when the first fact came is kept, until a new prediction is asked for."""
    guess = nb.Guess(ttft_s=0.4, output_tps=60)
    guess.check(RAINBOWS)
    guess._handle_custom_msg({"now": {"ttft_s": 0.3}}, [])
    assert guess.ttft_s == 0.4
    guess.check(FAILED)
    assert guess.ttft_s == 0.4
    guess.reset()
    assert (guess.ttft_s, guess.facts, guess.recording) == (0.3, {}, None)


def test_facts_may_come_one_after_the_other():
    """Those of a reply are measured, others are given; a given one wins."""
    guess = nb.Guess(ttft_s=0.4, answers_per_s=(0, 40))
    guess.check(RAINBOWS)
    assert guess.facts == {"ttft_s": FACTS["ttft_s"]}
    guess.check(answers_per_s=np.int64(13))
    assert guess.facts == {"ttft_s": FACTS["ttft_s"], "answers_per_s": 13.0}
    guess.check(RAINBOWS, ttft_s=0.5)
    assert guess.facts["ttft_s"] == 0.5


def test_a_table_has_a_row_for_each_quantity():
    """Guess, fact, unit and ratio; no fact is not a number."""
    guess = nb.Guess(ttft_s=0.4, output_tps=60, answers_per_s=(0, 40))
    guess.check(RAINBOWS)
    table = guess.table
    assert list(table) == ["quantity", "guess", "fact", "unit", "ratio"]
    assert table.unit.tolist() == ["s", "tokens/s", "per s"]
    assert table.ratio[0] == pytest.approx(0.4 / FACTS["ttft_s"])
    assert table.fact.isna().tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (lambda guess: guess.check(), r"guess\.check\(reply\)"),
        (lambda guess: guess.check(ttft=0.3), "Did you mean ttft_s"),
        (lambda guess: guess.check(ttft_s="0.3"), "a fact is a number"),
        (lambda guess: guess.check(ttft_s=float("nan")), "a fact is a number"),
        (lambda guess: guess.check([RAINBOWS, FAILED]), "2 were given"),
        (lambda guess: guess.check(RAINBOWS, ax=3), "Axes are wanted"),
    ],
)
def test_a_check_that_cannot_be_is_refused(check, said):
    """With what would do; the guess stays what it is."""
    guess = nb.Guess()
    with pytest.raises(RequestError, match=said):
        check(guess)
    assert guess.values == {"ttft_s": 1.0, "output_tps": 20.0}


def test_a_reply_that_failed_is_drawn_as_far_as_it_came():
    """Steps that came, and in words what is missing."""
    guess = nb.Guess()
    ax = guess.check(FAILED)
    assert guess.facts["output_tps"] is None
    assert "line:fact" in gids(ax)
    said = words_in(ax)
    assert "Rate: guessed 20 tokens/s, no fact." in said
    assert "throttlingException" in said
    assert "4 characters a token" in said
    assert guess._said["output_tps"] == "You said 20 tokens/s; the answer has no such number."


def test_the_page_gets_numbers_and_our_own_words_only():
    """Nothing that a model wrote is in the widget's state."""
    guess = nb.Guess()
    guess.check(recorded((MessageStart("assistant"), 0.2), (TextDelta(0, "s3cret"), 0.3)))
    assert "s3cret" not in str(guess.get_state())


@settings(max_examples=25, deadline=None)  # each draws a picture
@given(any_recording())
def test_any_recording_can_be_checked_against(recording):
    """Whatever it holds: a picture, a table, and steps that only rise."""
    guess = Guess(ttft_s=0.5, output_tps=40)
    guess.check(recording)
    steps = stairs(recording, 50)
    assert len(steps.t) <= 51
    assert all(a <= b for a, b in pairwise(steps.tokens))
    assert len(guess.table) == 2
    guess.close()
    plt.close("all")


# -- words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("guess", "fact", "verdict"),
    [
        (0.4, 0.42, "close, within 10 %"),
        (0.4, 0.93, "2.3 times too low"),
        (0.6, 0.5, "20 % too high"),
        (0.3, 0.5, "40 % too low"),
        (2.0, 0.3, "6.7 times too high"),
        (0.0, 0.3, "100 % too low"),
        (3.0, 0.0, ""),
        (0.0, 0.0, "exactly right"),
        (0.4, None, ""),
        (900.0, 0.3, "3,000 times too high"),
    ],
)
def test_how_far_off_is_said_in_words(guess, fact, verdict):
    """As a share where it is near, as a factor where it is far."""
    assert Guessed("ttft_s", "time", "s", guess, fact).verdict == verdict


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.4, "s", "0.40 s"),
        (0.043, "s", "0.043 s"),
        (123.4, "s", "123 s"),
        (41.23, "tokens/s", "41.2 tokens/s"),
        (60.0, "tokens/s", "60 tokens/s"),
        (12345.0, "", "12,345"),
        (0.0, "s", "0 s"),
        (0.00001, "s", "1e-05 s"),
    ],
)
def test_numbers_are_written_as_they_are_spoken(value, unit, said):
    """With their unit, and no more digits than anyone reads."""
    assert number(value, unit) == said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ttft_s", ("time to first token", "s")),
        ("output_tps", ("output pace", "tokens/s")),
        ("answers_per_s", ("answers", "per s")),
        ("first_word_ms", ("first word", "ms")),
        ("workers", ("workers", "")),
        ("_s", ("s", "")),
    ],
)
def test_a_name_tells_words_and_unit(name, said):
    """Of a metric from its table, of any other name from its end."""
    assert words(name) == said


@given(st.floats(1e-12, 1e12))
def test_a_round_number_is_not_far(value):
    """At least the value, at most half as much again."""
    assert value * (1 - 1e-5) <= round_up(value) <= 1.51 * value


# -- the picture -------------------------------------------------------------------------------------


def test_the_guessed_line_lies_over_the_steps_that_came():
    """It begins at the guessed time and rises at the guessed pace; the steps end at the exact count."""
    ax = nb.plot.guess({"ttft_s": 0.4, "output_tps": 60}, RAINBOWS)
    drawn = gids(ax)
    x, y = drawn["line:guess"].get_data()
    assert (x[0], y[0]) == (0.4, 1)
    assert (y[1] - y[0]) / (x[1] - x[0]) == pytest.approx(60)
    t, tokens = drawn["line:fact"].get_data()
    assert t[0] == pytest.approx(FACTS["ttft_s"])
    assert tokens[-1] == pytest.approx(FACTS["output_tokens"])
    assert (
        ax.get_title(loc="left") == "TTFT: guessed 0.40 s, was 0.30 s. Rate: guessed 60, was 49.8 tokens/s."
    )
    assert "TTFT: 32 % too high. Rate: 20 % too high." in words_in(ax)


def test_a_good_guess_is_praised():
    """Both within 10 per cent."""
    ax = nb.plot.guess({"ttft_s": 0.3, "output_tps": 50}, RAINBOWS)
    assert "Well guessed: both are within 10 %." in words_in(ax)


def test_other_quantities_are_dumbbells():
    """Hollow is the guess, filled the fact; both are in words beside a scale of their own."""
    ax = nb.plot.guess({"answers_per_s": 20, "delta_ms": -3, "workers": 4}, answers_per_s=10, delta_ms=1)
    drawn = gids(ax)
    guess, fact, line = (drawn[f"{what}:answers_per_s"].get_xdata() for what in ("guess", "fact", "scale"))
    assert (fact[0] - line[0]) / (guess[0] - line[0]) == pytest.approx(0.5)
    assert (
        line[0] <= drawn["guess:delta_ms"].get_xdata()[0] < drawn["fact:delta_ms"].get_xdata()[0] <= line[1]
    )
    assert "fact:workers" not in drawn
    assert "guessed 20, was 10 per s" in words_in(ax)
    assert "guessed 4, no fact" in words_in(ax)


def test_quantities_of_one_unit_share_a_scale():
    """So that an eye may compare them; not those that are ten times as small, and not bare numbers."""
    rows = [
        Guessed("plain_s", "plain", "s", 2.0, 5.1),
        Guessed("streamed_s", "streamed", "s", 2.0, 0.3),
        Guessed("workers", "workers", "", 2.0, None),
        Guessed("asked", "asked", "", -3.0, 20.0),
        Guessed("a_ms", "a", "ms", 1.0, 1.0),
        Guessed("b_ms", "b", "ms", 0.0, 30.0),
    ]
    assert extents(rows) == {
        "plain_s": (0, 6),
        "streamed_s": (0, 6),
        "workers": (0, 2),
        "asked": (-3, 20),
        "a_ms": (0, 1),
        "b_ms": (0, 30),
    }


def test_curve_and_dumbbells_share_a_picture():
    """The rows stand above the data."""
    ax = nb.plot.guess({"ttft_s": 0.4, "output_tps": 60, "answers_per_s": 20}, RAINBOWS, answers_per_s=10)
    drawn = gids(ax)
    data = ax.transAxes.inverted().transform(ax.transData.transform((0, FACTS["output_tokens"])))
    assert drawn["scale:answers_per_s"].get_ydata()[0] > data[1]


def test_a_guess_alone_is_drawn_too():
    """Before anything came; a checked guess brings its own facts."""
    ax = nb.plot.guess(nb.Guess())
    assert "line:fact" not in gids(ax)
    assert ax.get_title(loc="left") == "A guess: TTFT 1.00 s; Rate 20 tokens/s"
    guess = nb.Guess()
    guess.check(RAINBOWS)
    assert "line:fact" in gids(nb.plot.guess(guess))


@pytest.mark.parametrize(
    "values", [{"ttft_s": 0.0, "output_tps": 0.0}, {"ttft_s": 1e4, "output_tps": 1e9}, {"x": 0}]
)
@pytest.mark.parametrize("style", ["default", "dark_background"])
@pytest.mark.parametrize("size", [(10, 4), (3, 2)])
def test_words_do_not_leave_the_picture(values, style, size):
    """Whatever the numbers, the style and the size: inside of the figure, and no warning."""
    with plt.style.context(style):
        figure, ax = plt.subplots(figsize=size, layout="constrained")
        assert nb.plot.guess(values, RAINBOWS, ax=ax) is ax
        figure.canvas.draw()
        right = figure.bbox.width
        assert all(text.get_window_extent().x1 <= right + 1 for text in ax.texts if text.get_text())


@pytest.mark.parametrize(
    ("guess", "said"),
    [
        ({}, "Nothing was guessed"),
        (3, "no guess"),
        ({"ttft_s": "x"}, "a number is wanted"),
        ([1], "no guess"),
    ],
)
def test_what_is_no_guess_is_refused(guess, said):
    """With what would be one."""
    with pytest.raises(RequestError, match=re.escape(said)):
        nb.plot.guess(guess, RAINBOWS)
