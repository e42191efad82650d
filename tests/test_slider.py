"""A slider through a recording, as far as Python goes; ``tests/browser/test_slider.py`` drives it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given

import bedrock_nb as nb
from bedrock_nb.assembly import fold
from bedrock_nb.errors import RequestError
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, ReasoningDelta, TextDelta, ToolUseStart
from bedrock_nb.recording import Recording
from bedrock_nb.slider.film import film
from tests.recordings import any_recording, recorded

TALK = recorded(
    (MessageStart("assistant"), 0.2),
    (ReasoningDelta(0, "hmm"), 0.3),
    (BlockStop(0), 0.35),
    (TextDelta(1, "Hel"), 0.4),
    (TextDelta(1, "lo \ud83d"), 0.5),
    (TextDelta(1, "\ude00!"), 0.6),
    (BlockStop(1), 0.6),
    (MessageStop("end_turn"), 0.7),
)


def text_at(shown, block, t):
    """What a browser would show of a block at a moment."""
    there = [
        n
        for at, b, n in zip(shown["t"], shown["block"], shown["length"], strict=True)
        if at <= t and b == block
    ]
    units = shown["blocks"][block]["text"].encode("utf-16-le")
    return units[: 2 * (there[-1] if there else 0)].decode("utf-16-le", "replace")


@pytest.mark.parametrize(
    ("t", "reasoning", "text"),
    [
        (0.1, "", ""),
        (0.3, "hmm", ""),
        (0.4, "hmm", "Hel"),
        (0.5, "hmm", "Hello �"),
        (0.9, "hmm", "Hello 😀!"),
    ],
)
def test_a_film_knows_the_text_of_every_moment(t, reasoning, text):
    """Each block's text as far as it had come; half a letter is a mark, and both halves are one letter."""
    shown = film(TALK)
    assert [block["kind"] for block in shown["blocks"]] == ["reasoning", "text"]
    assert (text_at(shown, 0, t), text_at(shown, 1, t)) == (reasoning, text)


@given(any_recording())
def test_a_film_is_in_order_and_whole(recording):
    """Of any recording: moments in order of time, all events, lengths that only grow."""
    shown = film(recording)
    names = [shown["names"][name] for name in shown["name"]]
    assert len(names) == len(recording) + len({"request": 0.0, **recording.marks})
    assert {len(shown[column]) for column in ("t", "name", "block", "length")} == {len(names)}
    assert shown["t"] == sorted(shown["t"])
    assert "closed" not in names[:-1]
    for number, block in enumerate(shown["blocks"]):
        lengths = [n for b, n in zip(shown["block"], shown["length"], strict=True) if b == number]
        assert all(a <= b for a, b in pairwise(lengths))
        assert lengths[-1] == len(block["text"].encode("utf-16-le")) // 2


def test_times_that_go_back_do_not_turn_the_text_round():
    """What is there stays there: events are shown in the order in which they are recorded."""
    odd = recorded((TextDelta(0, "a"), 0.5), (TextDelta(0, "b"), 0.2), (TextDelta(0, "c"), 0.7))
    odd.mark("closed", 0.1)
    shown = film(odd)
    assert shown["t"] == [0.0, 0.5, 0.5, 0.7, 0.7]
    assert shown["length"] == [0, 1, 2, 3, 0]
    slider = nb.ReplaySlider(odd, t=0.3)
    assert slider.message.text == ""
    slider.t = 0.5
    assert slider.message.text == "ab"


def test_a_tool_has_its_name_for_a_title():
    """The block of a tool's input says which tool."""
    assert (
        film(recorded((ToolUseStart(0, "id", "weather"), 0.1)))["blocks"][0]["title"]
        == "tool weather, block 0"
    )


@pytest.mark.parametrize("t", [0.0, 0.3, 0.45, 0.5, 9.0])
def test_python_sees_the_message_of_the_moment(t):
    """``slider.message`` is the fold of what had come by then; beyond the end is the end."""
    slider = nb.ReplaySlider(TALK, t=t)
    assert slider.t == min(t, 0.7)
    assert slider.message == fold(event for at, _, _, event in TALK.rows() if at <= t)


def test_it_begins_at_the_end():
    """At first all is there to be read."""
    assert nb.ReplaySlider(TALK).message == TALK.message


def test_a_copy_without_widgets_shows_the_picture():
    """nbconvert and GitHub have no widgets: they get the PNG."""
    data, _ = nb.ReplaySlider(TALK)._repr_mimebundle_()
    assert data["image/png"].startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == f"<ReplaySlider of {TALK!r}>"


@pytest.mark.parametrize("source", [[TALK, TALK], []])
def test_it_shows_one_recording(source):
    """Neither none nor two."""
    with pytest.raises(RequestError, match="one recording"):
        nb.ReplaySlider(source)


def test_a_time_is_a_number():
    """Not NaN."""
    with pytest.raises(RequestError, match="not a number"):
        nb.ReplaySlider(TALK, t=float("nan"))


@pytest.mark.parametrize("recording", [Recording(), recorded((MessageStart("assistant"), 0.2))])
def test_a_recording_without_an_answer_has_a_slider_too(recording):
    """Nothing came: the slider stands there, and shows that."""
    assert nb.ReplaySlider(recording).message.content == ()
