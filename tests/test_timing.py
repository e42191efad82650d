"""timing: the strip of a reply or a turn, on recordings whose answers are known, and while they grow."""

from __future__ import annotations

import json
import re
import threading
from html import escape
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_nb import render
from bedrock_nb.errors import IncompleteStreamError, RequestError
from bedrock_nb.events import (
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
)
from bedrock_nb.metrics import measure
from bedrock_nb.recording import Recording
from bedrock_nb.timing import SLICES, Meter, timing
from tests.recordings import ROWS, any_recording, recorded, reply

BARS = "▁▂▃▄▅▆▇█"


def call(*, at_s: float, tokens: int | None = None, begin: float = 0.5, labels=None) -> Recording:
    """A call of a turn: 8 letters in two deltas, half a second apart."""
    rows = [
        (MessageStart("assistant"), 0.25),
        (TextDelta(0, "abcd"), begin),
        (TextDelta(0, "efgh"), begin + 0.5),
    ]
    if tokens is not None:
        rows += [
            (MessageStop("end_turn"), begin + 0.5),
            (Metadata({"outputTokens": tokens}, None), begin + 0.75),
        ]
    return recorded(*rows, labels={"at_s": at_s} if labels is None else labels)


def whole() -> Recording:
    """A plain call: all of the answer at one time."""
    recording = recorded((TextDelta(0, "Hello"), 2.0), (Metadata({"outputTokens": 9}, None), 2.0))
    recording.envelope["operation"] = "Converse"
    return recording


def test_the_strip_of_a_reply_by_hand():
    """TTFT at 0.50, the last delta at 1.50, metadata at 2.00 s; 4 tokens: three after the first in 1 s."""
    found = timing(reply())
    assert found.words == "TTFT 500 ms · 3 chunks · 4 tokens · 3.0 tokens/s · 2.00 s"
    assert found.rate == measure(reply())["output_tps"]
    assert found.slice_s == 1.5 / SLICES
    assert [i for i, n in enumerate(found.arrivals) if n] == [10, 16, 31]  # of 32 slices, at 1/3, 1/2 and 1
    assert found.line == f"{found.words} ▁▁▁▁▁█▁▁█▁▁▁▁▁▁█"
    assert str(found) == found.line


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        (whole(), "TTFT 2.00 s · 9 tokens · 2.00 s"),
        (call(at_s=0), "TTFT 500 ms · 2 chunks · ≈ 2 tokens · 1.00 s"),
        (recorded((TextDelta(0, "x"), 0.004)), "TTFT 4 ms · 1 chunk · ≈ 1 token · 4 ms"),
        (recorded((MessageStart("assistant"), 12.34)), "no content · 12.3 s"),
        (recorded((StreamFault(IncompleteStreamError("It ended.")), 0.5)), "no content · 500 ms"),
        (Recording(), "no content"),
        (
            recorded((TextDelta(0, "x"), 1.0), (Metadata({"outputTokens": 3}, None), 1.0)),
            "TTFT 1.00 s · 1 chunk · 3 tokens · 1.00 s",
        ),
        (
            recorded((ReasoningDelta(0, "a" * 40), 0.0), (ToolInputDelta(1, "字" * 4), 0.0)),
            "TTFT 0 ms · 2 chunks · ≈ 13 tokens",
        ),
    ],
    ids=["whole", "cut", "one delta", "only a start", "failed", "nothing", "one delta, counted", "at once"],
)
def test_what_is_not_known_is_left_out(recording, words):
    """A pace is told only where it can be measured, a count of tokens is an estimate until it is counted."""
    assert timing(recording).words == words


def test_a_turn_stands_on_one_clock():
    """Its second call began 3 s after the first: all times are from the first request, rates over both."""
    calls = [call(at_s=1.0, tokens=11), call(at_s=4.0, tokens=31, begin=1.0)]
    found = timing(calls)
    assert (found.ttft_s, found.seconds, found.chunks, found.tokens) == (0.5, 4.75, 4, 42)
    assert found.rate == (10 + 30) / (0.5 + 0.5)
    assert sum(found.arrivals) == 4
    assert found.slice_s == 4.5 / SLICES


@pytest.mark.parametrize(
    ("labels", "started", "seconds"),
    [
        ({"at_s": 3}, (None, None), 4.0),
        ({}, (100.0, 102.0), 3.0),
        ({"at_s": "soon"}, (None, None), 1.0),
        ({"at_s": float("nan")}, (None, None), 1.0),
        ({"at_s": 10**400}, (None, None), 1.0),
        ({"at_s": -5}, (None, None), 1.0),
    ],
)
def test_where_a_call_stands_on_the_clock(labels, started, seconds):
    """By its label, or else by the wall clock; a label may hold anything at all."""
    first, second = call(at_s=0), call(at_s=0, labels=labels)
    first.started, second.started = started
    assert timing([first, second]).seconds == seconds


@pytest.mark.parametrize(("mode", "tokens", "estimated"), [("continue", 12, True), ("restart", 10, False)])
def test_a_reply_taken_up_again_counts_what_stands(mode, tokens, estimated):
    """The service counts the second call alone; what of the first stands is estimated."""
    found = timing(
        recorded(
            (TextDelta(0, "abcdefgh"), 1.0),
            (Seam(mode), 1.0),
            (TextDelta(0, "ijkl"), 2.0),
            (Metadata({"outputTokens": 10}, None), 2.0),
        )
    )
    assert (found.tokens, found.estimated, found.rate) == (tokens, estimated, None)


def test_higher_is_more_and_lowest_is_nothing():
    """Bars are linear in what came in each slice of time, and anything at all stands above the ground."""
    times = [1.0] * 100 + [2.0] * 50 + [3.0]
    line = timing(recorded(*((TextDelta(0, "x"), t) for t in times))).line
    assert [bar for bar in line[-16:] if bar != "▁"] == ["█", "▅", "▂"]


@settings(max_examples=60, deadline=None)
@given(any_recording())
def test_any_recording_has_a_strip(recording):
    """It is strict JSON, its arrivals are its chunks, and its words agree with the meter's numbers."""
    found, meter = timing(recording), Meter(lambda: [recording])
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["words"] == found.words
    assert sum(found.arrivals) == found.chunks
    assert len(found.arrivals) in (0, 1, SLICES)
    assert meter.read() == (found.seconds, found.chunks, found.tokens)
    assert meter.estimated == found.estimated
    measured = measure(recording)
    assert (found.ttft_s, found.rate) == (measured["ttft_s"], pytest.approx(measured["output_tps"]))
    assert set(found.line) - set(found.words) <= {*BARS, " "}


@settings(max_examples=40, deadline=None)
@given(ROWS, st.data())
def test_a_meter_does_not_care_when_it_is_read(rows, data):
    """Looked at after any of the events, it ends where one look at the end does, and never goes back."""
    growing, looks = Recording(), []
    meter = Meter(lambda: [growing])
    for number, row in enumerate(rows):
        growing.append(*row)
        if data.draw(st.booleans(), label=f"look after {number}"):
            looks.append(meter.read()[1])
    assert meter.read() == Meter(lambda: [growing]).read()
    assert all(before <= after for before, after in pairwise(looks))


def test_a_meter_reads_each_event_once():
    """However often it is read; its work does not grow with what it has seen."""
    looked = []

    class Counted(Recording):
        def text_of(self, seq):
            looked.append(seq)
            return super().text_of(seq)

    growing = Counted()
    meter = Meter(lambda: [growing])
    for i in range(200):
        growing.append(TextDelta(0, "word"), i / 10)
        meter.read()
    assert looked == list(range(200))
    assert meter.words == "200 chunks · ≈ 200 tokens · 19.9 s"


def test_a_meter_follows_a_turn_as_it_gets_more_calls():
    """A call that is new is read from its beginning; tokens are estimated until the service has counted."""
    calls = [call(at_s=0)]
    meter = Meter(lambda: calls)
    assert (meter.read(), meter.estimated) == ((1.0, 2, 2), True)
    calls[0].append(Metadata({"outputTokens": 7}, None), 1.25)
    calls.append(call(at_s=2.0, tokens=5))
    assert (meter.read(), meter.estimated) == ((3.25, 4, 12), False)
    assert Meter(list).read() == (0.0, 0, 0)
    assert Meter(list).words == ""


def test_a_meter_may_be_read_while_a_thread_records():
    """What it tells only grows, and in the end nothing is missing."""
    growing, deltas = Recording(), 20_000
    meter, over = Meter(lambda: [growing]), threading.Event()

    def record() -> None:
        for i in range(deltas):
            growing.append(TextDelta(0, "wörd"), i / 1000)
        over.set()

    thread = threading.Thread(target=record)
    thread.start()
    looks = [meter.read()]
    while not over.is_set():
        looks.append(meter.read())
    thread.join()
    looks.append(meter.read())
    assert looks == sorted(looks)
    assert looks[-1] == (19.999, deltas, deltas * 5 // 4)


@pytest.mark.parametrize("wrong", ["text", None, [], {}, [1], b"x"], ids=repr)
def test_what_has_no_timing_is_refused(wrong):
    """The error says what has one."""
    with pytest.raises(RequestError, match="Give a Recording, a Reply, a Turn"):
        timing(wrong)


def test_a_turn_of_a_conversation_has_a_strip(service):
    """A Turn, a Reply, its recording, and the list of recordings are all taken."""
    turn = service.chat("Fine.").stream("Well?").drain()
    assert timing(turn) == timing(turn.recordings) == timing(turn.replies) == timing(turn.replies[0])
    assert timing(turn).tokens > 0


@given(any_recording())
@settings(max_examples=40, deadline=None)
def test_lessons_are_compared_without_times(recording):
    """What nbval is told to replace is times, rates and bars, in text and in HTML; counts are compared."""
    config = (Path(__file__).parent / "nbval.cfg").read_text(encoding="ascii")
    regex, replace = re.findall("^regex: (.*)$\n^replace: (.*)$", config, re.MULTILINE)[0]
    found = timing(recording)
    counts = [part for part in found.words.split(" · ") if re.search("(chunk|token)s?$", part)]
    fixed = " · ".join(["(times)", *counts]) if " · " in found.line else found.line
    assert re.sub(regex, replace, f"Hello.\n{found.line}\nBye.") == f"Hello.\n{fixed}\nBye."
    html = render.remark("{}").format
    assert (
        re.sub(regex, replace, render.remark(found.line) + "<p>Hello</p>")
        == html(escape(fixed)) + "<p>Hello</p>"
    )


@pytest.mark.parametrize("text", ["TTFT 0.1 s", "TTFT 0.3 s, first visible text 0.8 s", "It has no content."])
def test_what_a_lesson_says_of_times_is_compared(text):
    """Only the strip of a reply is replaced."""
    config = (Path(__file__).parent / "nbval.cfg").read_text(encoding="ascii")
    for regex, replace in re.findall("^regex: (.*)$\n^replace: (.*)$", config, re.MULTILINE):
        assert re.sub(regex, replace, text) == text
