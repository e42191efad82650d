"""background.py: replies that a thread reads, their buffers, and replies of which nothing is kept."""

from __future__ import annotations

import gc
import os
import signal
import threading
import tracemalloc

import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.background import Window, joined
from bedrock_nb.errors import (
    FirstEventTimeout,
    IncompleteStreamError,
    RequestError,
    TotalTimeout,
    ValidationError,
)
from bedrock_nb.events import (
    BlockStop,
    Event,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    TextDelta,
    ToolInputDelta,
    ToolUse,
)
from bedrock_nb.recording import Unrecorded
from bedrock_nb.server import loopback_client
from tests.wire_server import GOOD, GOOD_TEXT, LIMIT, Answer, WireServer, answer, frames_of, refusal


def long(count, size=1):
    """The frames of a reply of so many text deltas."""
    deltas: list[Event] = [TextDelta(0, f"{i % 10}" * size) for i in range(count)]
    end: list[Event] = [BlockStop(0), MessageStop("end_turn"), Metadata({"outputTokens": count}, 1)]
    return frames_of([MessageStart("assistant"), *deltas, *end])


def wait_for(condition):
    """Wait until something that another thread does has happened."""
    pause, left = threading.Event(), LIMIT
    while not condition():
        pause.wait(0.005)
        left -= 0.005
        assert left > 0
    return True


# -- in the background -----------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["event", "trickle", "close"])
def test_a_reply_in_the_background_reads_itself(wire, client, framing):
    """Nobody iterates it, and it is whole; every view then has everything."""
    wire.lay(answer(GOOD, framing), answer(GOOD, framing))
    reply = nb.stream(client, "hi", background=True)
    assert wait_for(lambda: reply.status == "complete")
    assert reply.text == GOOD_TEXT
    assert list(reply) == list(reply) == list(nb.stream(client, "hi"))


def test_it_is_there_before_the_service_has_answered(wire, client):
    """`stream` returns at once; whoever asks for events waits for them."""
    gate = threading.Event()
    wire.lay(Answer([gate, *answer(GOOD).steps]))
    reply = nb.stream(client, "hi", background=True)
    assert (reply.status, len(reply.recording), reply.snapshot.content) == ("streaming", 0, ())
    gate.set()
    assert reply.text == GOOD_TEXT


def test_each_event_is_seen_once_by_each_of_many_threads(wire, client):
    """While it comes."""
    gates = {i: threading.Event() for i in (3, 9, 20)}
    wire.lay(answer(GOOD, gates=gates))
    reply = nb.stream(client, "hi", background=True)
    seen: list[list] = [[] for _ in range(5)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(reply)) for mine in seen]
    for thread in threads:
        thread.start()
    for gate in gates.values():
        gate.set()
    for thread in threads:
        thread.join(LIMIT)
    assert all(mine == list(reply) for mine in seen)


@pytest.mark.parametrize(
    ("laid", "kind"),
    [
        (answer(GOOD[:9]), IncompleteStreamError),
        (refusal(400, "ValidationException", "no"), ValidationError),
        (Answer([], "silence"), FirstEventTimeout),
    ],
)
def test_what_fails_is_raised_where_it_is_read(wire, client, laid, kind):
    """In each view, each time, after all that came."""
    wire.lay(laid)
    reply = nb.stream(client, "hi", background=True, first_event_timeout=0.2)
    for view in (lambda: reply.text, lambda: list(reply), reply.drain):
        with pytest.raises(kind) as caught:
            view()
        assert caught.value.reply is reply
    assert reply.status in ("incomplete", "error")


def test_observers_are_told_in_the_background(wire, client):
    """By the thread that reads, each event once, and then the end."""

    class Notes:
        def __init__(self) -> None:
            self.events: list = []
            self.end = threading.Event()

        def on_event(self, event) -> None:
            self.events.append(event)

        def on_complete(self, message, usage, metrics) -> None:
            self.end.set()

    gate, notes = threading.Event(), Notes()
    wire.lay(answer(GOOD, gates={5: gate}))
    reply = nb.stream(client, "hi", background=True).on(notes)
    gate.set()
    assert notes.end.wait(LIMIT)
    assert notes.events == list(reply)


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("when", ["on_start", "on_event"])
def test_an_observer_may_read_the_whole_reply(wire, client, background, when):
    """In its own callback, in whichever thread: everybody is told everything, in order."""
    wire.lay(answer(GOOD, gates={}))
    seen: list = []

    class Reader:
        reply = None

        def on_start(self, reply) -> None:
            self.reply = reply
            if when == "on_start":
                reply.drain()

        def on_event(self, event) -> None:
            seen.append(event)
            if when == "on_event":
                self.reply.drain()

    reply = nb.stream(client, "hi", background=background).on(Reader())
    assert reply.text == GOOD_TEXT
    assert wait_for(lambda: len(seen) == len(list(reply)))
    assert seen == list(reply)


def test_an_observer_that_ends_its_thread_does_not_end_the_reply(wire, client):
    """It is dropped with a warning like any other."""

    class Leaves:
        def on_event(self, event) -> None:
            raise SystemExit

    wire.lay(answer(GOOD))
    with pytest.warns(UserWarning, match="SystemExit"):
        reply = nb.stream(client, "hi").on(Leaves()).drain()
    assert reply.status == "complete"


def test_the_total_limit_holds_while_nobody_takes_events(wire, client):
    """A full buffer does not stop the clock of the whole reply."""
    wire.lay(answer(long(5000), "event", gates={5000: threading.Event()}))
    reply = nb.stream(client, "hi", background=True, buffer=5, total_timeout=0.3)
    assert wait_for(lambda: reply.status == "incomplete")
    assert type(reply.recording.error) is TotalTimeout


# -- stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("laid", [Answer([], "silence"), answer(GOOD[:7], ending="silence")])
def test_cancel_stops_it_wherever_it_is(wire, client, laid):
    """Before the first byte and in the middle: the server sees the connection close; what came is kept."""
    wire.lay(laid)
    reply = nb.stream(client, "hi", background=True)
    assert wire.wait_until_open(1)
    if laid.steps:
        wait_for(lambda: len(reply.recording) == 7)
    reply.cancel()
    assert wire.wait_until_open(0)
    assert wait_for(lambda: reply.status == "cancelled")
    assert len(list(reply)) == len(reply.recording) == (7 if laid.steps else 0)


def test_cancel_wakes_who_waits_for_the_head_in_another_thread(wire, client):
    """A reply that is not in the background has no handle yet; an interrupt of its thread does the same."""
    wire.lay(Answer([], "silence"))
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        nb.stream(client, "hi")
    assert nb.recordings[-1].status == "cancelled"
    assert wire.wait_until_open(0)


def test_an_interrupt_of_who_waits_cancels_it(wire, client):
    """As if they had been reading themselves."""
    wire.lay(answer(GOOD[:7], ending="silence"))
    reply = nb.stream(client, "hi", background=True)
    threading.Timer(0.2, os.kill, [os.getpid(), signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        reply.drain()
    assert wire.wait_until_open(0)
    assert wait_for(lambda: reply.status == "cancelled")


def test_a_reply_that_nobody_holds_is_closed(wire, client, recordings):
    """Its thread does not keep it alive."""
    wire.lay(answer(GOOD[:7], ending="silence"))
    nb.stream(client, "hi", background=True)
    gc.collect()
    assert wire.wait_until_open(0)
    assert wait_for(lambda: recordings[-1].status == "cancelled")


@pytest.mark.parametrize("background", [False, True])
def test_hundreds_of_abandoned_streams_leave_nothing(background):
    """No connection, and no thread that still waits."""
    # A server of its own: a request that was given up may reach it late, and take another test's answer.
    wire = WireServer()
    client = loopback_client(wire.url, config=Config(retries={"total_max_attempts": 1}))
    for _ in range(15):
        wire.lay(*[answer(GOOD[:7], ending="silence")] * 20)
        replies = [nb.stream(client, "hi", background=background) for _ in range(20)]
        if not background:
            assert [reply.next_event() for reply in replies] == [MessageStart("assistant")] * 20
        replies.clear()
        del replies
    assert wire.wait_until_open(0)
    wait_for(lambda: not any(t.name.startswith("bedrock_nb") for t in threading.enumerate()))
    client.close()
    wire.close()


# -- buffers ---------------------------------------------------------------------------------------


def test_a_full_buffer_makes_the_network_wait(wire, client):
    """Nobody takes events: no more than the buffer and one read come in."""
    wire.lay(answer(long(5000), "event"))
    reply = nb.stream(client, "hi", background=True, buffer=10)
    wait_for(lambda: len(reply.recording) > 10)
    for _ in range(20):
        threading.Event().wait(0.01)
        assert len(reply.recording) < 1000
    assert len(reply.text) == 5000


def test_a_slow_consumer_gets_joined_deltas(wire, client):
    """All of the text in fewer events; the recording, and who comes after the end, has each as it came."""
    gate = threading.Event()
    wire.lay(answer(long(500), "event", gates={501: gate}))
    reply = nb.stream(client, "hi", background=True, buffer=10, when_full="coalesce")
    wait_for(lambda: len(reply.recording) == 501)
    view = iter(reply)
    events = [next(view)]
    gate.set()
    events += view
    assert len(events) < 20
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == reply.text
    assert len(list(reply)) == 505


@given(st.lists(st.sampled_from("abcT|"), max_size=60), st.integers(1, 5), st.booleans(), st.data())
def test_a_window_hands_on_everything_once(pieces, buffer, coalesces, data):
    """Whatever comes and however it is taken, the text is the same and in order."""
    made: dict[str, Event] = {"T": ToolInputDelta(1, "T"), "|": BlockStop(0)}
    events: list[Event] = [made.get(piece, TextDelta(0, piece)) for piece in pieces]
    window = Window(buffer, "coalesce" if coalesces else "block")
    out, seq = [], 0
    for event in events:
        window.add([event])
        if data.draw(st.booleans()):
            fresh, seq = window.after(seq)
            out += fresh
    fresh, seq = window.after(seq)
    out += fresh
    assert seq == window.count

    def said(event):
        return "|" if isinstance(event, BlockStop) else getattr(event, "text", None) or event.fragment

    assert "".join(map(said, out)) == "".join(pieces)
    if not coalesces:
        assert out == events


def test_only_neighbours_of_one_kind_and_block_are_joined():
    """And not beyond a length: the bound of a buffer is one of memory."""
    assert joined(TextDelta(0, "a"), TextDelta(0, "b")) == TextDelta(0, "ab")
    assert joined(ToolInputDelta(0, "a"), ToolInputDelta(0, "b")) == ToolInputDelta(0, "ab")
    for other in (TextDelta(1, "b"), ToolInputDelta(0, "b"), BlockStop(0), TextDelta(0, "b" * 20_000)):
        assert joined(TextDelta(0, "a"), other) is None


@pytest.mark.parametrize(
    "wrong", [{"buffer": 0}, {"buffer": True}, {"buffer": 1.5}, {"when_full": "drop"}, {"errors": "none"}]
)
def test_a_wrong_argument_is_named_before_anything_is_sent(wire, client, wrong):
    """What was given, and what may be."""
    with pytest.raises(RequestError, match=next(iter(wrong))):
        nb.stream(client, "hi", background=True, **wrong)
    assert not wire.requests


# -- nothing kept ----------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True])
def test_a_reply_that_is_not_recorded_can_be_read_once(wire, client, background):
    """Every event comes, tools too; how it ended is known; a second loop is refused."""
    wire.lay(answer(GOOD), answer(GOOD))
    reply = nb.stream(client, "hi", record=False, background=background)
    events = list(reply)
    whole = list(nb.stream(client, "hi"))
    assert events == [event for event in whole if not isinstance(event, MessageComplete)]
    assert any(isinstance(event, ToolUse) for event in events)
    assert (reply.status, reply.stop_reason) == ("complete", "tool_use")
    assert reply.usage["outputTokens"]
    assert isinstance(reply.recording, Unrecorded)
    assert (len(reply.recording), reply.recording.passed) == (0, len(GOOD))
    for view in (
        lambda: list(reply),
        lambda: reply.text,
        lambda: reply.message,
        lambda: list(reply.frames()),
    ):
        with pytest.raises(RequestError, match="record=False"):
            view()


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("when_full", ["block", "coalesce"])
def test_memory_does_not_grow_with_a_reply_that_is_not_recorded(wire, client, background, when_full):
    """Twelve times the events, the same memory; to keep them would take twice what is allowed."""
    peaks = []
    for count in (1_000, 12_000):
        frames = long(count, 100)
        laid = answer(frames, "batch")
        wire.lay(laid)
        settings: dict = {"when_full": when_full, "buffer": 50} if background else {}
        reply = nb.stream(client, "hi", record=False, background=background, **settings)
        events = iter(reply)
        next(events)
        tracemalloc.start()
        chars = sum(len(event.text) for event in events if isinstance(event, TextDelta))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert chars == count * 100
    assert peaks[1] < peaks[0] + 2**20
