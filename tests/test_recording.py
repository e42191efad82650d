"""recording.py: what was appended comes back, whatever the columns make of it."""

from __future__ import annotations

import gc
import re
import weakref
from array import array
from dataclasses import astuple
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.assembly import fold
from bedrock_nb.errors import RequestError, StreamError
from bedrock_nb.events import (
    CONTENT,
    BlockStop,
    Event,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolUse,
    ToolUseStart,
)
from bedrock_nb.message import Message
from bedrock_nb.recording import KEEP_BODY, Recent, Recording, Row
from tests.recordings import BY_KIND, EVENTS, ROWS, USAGE, recorded, reply

TEXTS: dict[type, str] = {TextDelta: "text", ReasoningDelta: "text", ToolInputDelta: "fragment"}


def carries_something(event: Event) -> bool:
    """What `Recording.content` promises: a delta, and not an empty one."""
    empty = (None, "", b"", (), {})
    values = [value for name, value in zip(event.__slots__, astuple(event), strict=True) if name != "index"]
    return isinstance(event, CONTENT) and any(value not in empty for value in values)


def columns(recording: Recording) -> list[int]:
    """The length of every column."""
    return [len(value) for value in vars(recording).values() if isinstance(value, array)]


# -- events come back ------------------------------------------------------------------------------


def test_every_kind_of_event_is_tried():
    """The strategies below know every event of the union but the two that the fold makes."""
    assert set(BY_KIND) == set(get_args(Event)) - {ToolUse, MessageComplete}


@pytest.mark.parametrize("kind", BY_KIND, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_an_event_comes_back_equal(kind, data):
    """Between others of any kind, an event comes back as it was, of its own class."""
    events = [data.draw(EVENTS), data.draw(BY_KIND[kind]), data.draw(EVENTS)]
    recording = recorded(*((event, 0.0) for event in events))
    assert list(recording) == events
    assert [type(event) for event in recording] == [type(event) for event in events]
    assert recording.kind(1) is kind


@settings(deadline=None, max_examples=50)
@given(ROWS, st.randoms(use_true_random=False))
def test_every_row_comes_back(rows, random):
    """Events, times, reads and sizes: one after another, and at random."""
    recording = recorded(*rows)
    assert len(recording) == len(rows)
    assert list(recording.rows()) == [Row(t, read, nbytes, event) for event, t, read, nbytes in rows]
    assert list(recording.times) == [t for _, t, _, _ in rows]
    assert list(recording.reads) == [read for _, _, read, _ in rows]
    assert list(recording.sizes) == [nbytes for _, _, _, nbytes in rows]
    places = list(range(-len(rows), len(rows)))
    random.shuffle(places)
    for i in places:
        assert recording.event(i) == rows[i][0]
    for i in (len(rows), -len(rows) - 1):
        with pytest.raises(IndexError):
            recording.event(i)


@settings(deadline=None, max_examples=50)
@given(ROWS)
def test_a_look_without_making_the_event(rows):
    """`kind`, `block_of`, `text_of` and `content` say what the event itself would."""
    recording = recorded(*rows)
    events = [row[0] for row in rows]
    assert [recording.kind(i) for i in range(len(rows))] == [type(event) for event in events]
    assert [recording.block_of(i) for i in range(len(rows))] == [getattr(e, "index", None) for e in events]
    texts = [getattr(event, TEXTS.get(type(event), ""), "") for event in events]
    assert [recording.text_of(i) for i in range(len(rows))] == texts
    assert recording.content() == [i for i, event in enumerate(events) if carries_something(event)]


@settings(deadline=None, max_examples=50)
@given(ROWS)
def test_the_message_is_the_fold_of_the_events(rows):
    """`message` and `text` are what the events add up to."""
    recording = recorded(*rows)
    message = fold(row[0] for row in rows)
    assert recording.message == message
    assert recording.text == message.text


def test_events_that_belong_to_one_text_stay_apart():
    """Halves of a surrogate pair in two deltas stay halves: nothing is joined or lost."""
    halves = [TextDelta(0, "\ud83d"), TextDelta(0, "\ude00")]
    assert list(recorded(*((event, 0.0) for event in halves))) == halves


def test_content_is_what_carries_something_of_the_answer():
    """Empty deltas, starts, stops and metadata are no content; signatures and redacted bytes are."""
    recording = recorded(
        (MessageStart("assistant"), 0.0),
        (TextDelta(0, ""), 0.0),
        (ReasoningDelta(0, "hm"), 0.0),
        (ReasoningSignature(0, "s"), 0.0),
        (RedactedReasoning(1, b"x"), 0.0),
        (ToolUseStart(2, "id", "f"), 0.0),
        (ToolInputDelta(2, ""), 0.0),
        (ToolInputDelta(2, "{}"), 0.0),
        (BlockStop(2), 0.0),
        (MessageStop("tool_use"), 0.0),
        (Metadata(USAGE), 0.0),
    )
    assert recording.content() == [2, 3, 4, 7]


def test_an_empty_recording_answers_everything():
    """With nothing recorded each question has an answer, and none is an error."""
    recording = Recording()
    assert (len(recording), list(recording), list(recording.rows()), recording.content()) == (0, [], [], [])
    assert recording.message == Message("assistant")
    assert (recording.text, recording.model, recording.usage) == ("", "", {})
    assert recording.stop_reason is recording.metadata is recording.error is recording.body is None
    assert recording.status == "streaming"


# -- what it knows ---------------------------------------------------------------------------------


def test_the_facts_of_a_reply_are_properties():
    """Model, text, stop reason, usage and metadata are read off the events."""
    recording = reply()
    assert recording.model == "amazon.nova-lite-v1:0"
    assert recording.text == "Hello world!"
    assert recording.stop_reason == "end_turn"
    assert recording.usage == USAGE
    assert recording.metadata == Metadata(USAGE, 1600)
    assert recording.error is None
    assert recording.time_of(recording.metadata) == 2.0
    assert recording.time_of(Metadata(USAGE, 1600)) is None  # equal, but another


def test_the_error_is_that_of_the_last_fault():
    """A recording that failed has the exception itself."""
    error = StreamError("It broke.")
    recording = recorded((TextDelta(0, "x"), 0.0), (StreamFault(error), 1.0))
    assert recording.error is error


def test_what_was_asked_does_not_change_afterwards():
    """The caller goes on with its list of messages; the recording keeps what was sent."""
    messages: list[Any] = [{"role": "user", "content": [{"text": "hi"}]}]
    recording = Recording({"modelId": "m", "messages": messages})
    messages[0]["content"].append({"text": "more"})
    messages.append({"role": "assistant", "content": []})
    assert recording.request == {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "hi"}]}]}


def test_wire_bytes_are_kept_up_to_four_mebibytes():
    """`body` is what was kept while it fits, and None, not a part, once it does not."""
    recording = Recording()
    recording.keep(b"ab")
    recording.keep(b"c")
    assert recording.body == b"abc"
    recording.keep(bytes(KEEP_BODY - 3))
    body = recording.body
    assert body is not None
    assert len(body) == KEEP_BODY == 4 * 2**20
    recording.keep(b"d")
    assert recording.body is None
    recording.keep(b"e")
    assert recording.body is None


def test_a_table_of_one_recording_is_a_method_away():
    """`to_frame` is the events table."""
    recording = reply()
    assert recording.to_frame().equals(nb.events(recording))


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((ToolUse(0, "i", "f", {}), 0.0), "ToolUse"),
        ((MessageComplete(Message("assistant")), 0.0), "MessageComplete"),
        (("hello", 0.0), "str"),
        ((None, 0.0), "None"),
        ((TextDelta(0, None), 0.0), "None"),  # type: ignore[arg-type]
        ((TextDelta(-1, "x"), 0.0), "-1"),
        ((TextDelta("0", "x"), 0.0), "'0'"),  # type: ignore[arg-type]
        ((BlockStop(2**32), 0.0), str(2**32)),
        ((ReasoningDelta(0, b"x"), 0.0), "b'x'"),  # type: ignore[arg-type]
        ((TextDelta(0, "x"), "now"), "'now'"),
        ((TextDelta(0, "x"), 0.0, -1), "-1"),
        ((TextDelta(0, "x"), 0.0, 0, 1.5), "1.5"),
        ((MessageStart("assistant"), None), "None"),
    ],
    ids=repr,
)
def test_what_cannot_be_recorded_is_refused_whole(row, said):
    """One error says what was given; the columns stay of one length and the next event fits."""
    recording = recorded((TextDelta(0, "first "), 0.0), (MessageStart("a"), 0.0))
    with pytest.raises(RequestError, match=re.escape(said)) as caught:
        recording.append(*row)
    assert "wire" in str(caught.value)
    assert len(set(columns(recording))) == 1
    recording.append(TextDelta(0, "next"), 1.0)
    assert list(recording) == [TextDelta(0, "first "), MessageStart("a"), TextDelta(0, "next")]


def test_an_interrupt_in_the_middle_leaves_the_columns_whole():
    """Ctrl-C between two columns of one event takes the event back, and goes on up."""

    class Interrupting:
        def __index__(self) -> int:
            raise KeyboardInterrupt

    recording = recorded((TextDelta(0, "first "), 0.0))
    with pytest.raises(KeyboardInterrupt):
        recording.append(TextDelta(Interrupting(), "lost"), 1.0)  # type: ignore[arg-type]
    recording.append(TextDelta(0, "next"), 2.0)
    assert list(recording) == [TextDelta(0, "first "), TextDelta(0, "next")]


@pytest.mark.parametrize("given", [5, "text", [("modelId", "m")], object()], ids=repr)
@pytest.mark.parametrize("name", ["request", "labels"])
def test_request_and_labels_are_dicts(name, given):
    """Anything else is refused, and its type named."""
    kwargs = {name: given}
    with pytest.raises(RequestError, match=f"{name} is of type {type(given).__name__}; a dict is wanted"):
        Recording(kwargs.get("request"), labels=kwargs.get("labels"))


# -- how it looks ----------------------------------------------------------------------------------


def test_a_recording_shows_no_time_and_no_address():
    """The same reply looks the same tomorrow: saved notebooks compare equal."""
    assert repr(reply()) == "<Recording amazon.nova-lite-v1:0: 7 events, complete, end_turn>"
    assert repr(Recording()) == "<Recording: 0 events, streaming>"


def test_a_recording_in_a_console_obeys_nothing():
    """What a file says of the model reaches no terminal as a control character."""
    assert (
        repr(Recording({"modelId": "\x1b]0;x\x07\u202e\ud800"}))
        == "<Recording \ufffd]0;x\ufffd\ufffd\ufffd: 0 events, streaming>"
    )


# -- the recordings of this process ----------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 3, 500])
def test_recent_recordings_are_bounded_and_newest_last(most):
    """Older recordings make room, and are really let go."""
    recent, made = Recent(most), [Recording(labels={"n": n}) for n in range(2 * most)]
    first = weakref.ref(made[0])
    for recording in made:
        recent.append(recording)
    assert len(recent) == most
    assert list(recent) == made[most:]
    assert recent[-1] is made[-1]
    assert recent[0] is made[most]
    del made, recording
    gc.collect()
    assert first() is None


def test_recent_recordings_are_a_sequence():
    """Slices, membership, and a list of one line each."""
    recent, made = Recent(3), [reply(), Recording(), Recording({"modelId": "m"})]
    for recording in made:
        recent.append(recording)
    assert recent[1:] == made[1:]
    assert recent[::-1] == made[::-1]
    assert made[1] in recent
    assert repr(recent).splitlines() == ["<3 recordings>", *(f"{i:>4} {r!r}" for i, r in enumerate(made))]
    recent.clear()
    assert list(recent) == []
    assert repr(recent) == "<0 recordings>"


def test_the_process_keeps_its_own():
    """`bedrock_nb.recordings` is such a sequence, and bounded."""
    assert isinstance(nb.recordings, Recent)
    assert nb.recordings.most == 500


def test_only_the_latest_recordings_keep_their_bytes():
    """A long session does not fill the memory with frames that nobody asks for."""
    recent = Recent(most=100)
    for _ in range(60):
        recording = Recording()
        recording.keep(b"bytes of the wire")
        recent.append(recording)
    assert [recording.body is not None for recording in recent] == [False] * 10 + [True] * 50


@pytest.mark.parametrize(
    "event", [ReasoningSignature(0, ""), RedactedReasoning(0, b""), ToolResultDelta(0, ()), TextDelta(0, "")]
)
def test_an_empty_delta_is_no_content(event):
    """Time to first token does not begin with a frame that carries nothing."""
    recording = Recording()
    recording.append(event, 0.5)
    assert recording.content() == []
