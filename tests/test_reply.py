"""A reply over a real socket: its views, its ends, its threads, and what it leaves behind."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import botocore.eventstream
import jedi
import pytest
import urllib3.exceptions
from botocore.exceptions import EventStreamError
from botocore.stub import Stubber

import bedrock_nb as nb
from bedrock_nb.errors import (
    FAULTS,
    BedrockNbError,
    ConnectionLost,
    FrameError,
    IncompleteStreamError,
    PayloadError,
    RecordingError,
    RequestError,
    StreamError,
    StreamStalled,
    service_fault,
)
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseStart,
)
from bedrock_nb.eventstream import encode
from bedrock_nb.message import Message, TextBlock
from bedrock_nb.server import BedrockServer, Latency, loopback_client
from tests.wire_server import FRAMINGS, GOOD, GOOD_TEXT, LIMIT, Answer, answer, ask, frames_of

TEXTS = ["Hello", " wörld", " —", " naïve", " 日本", "語 ", "😀", " the answer", " is", " forty", "-two"]
TEXTS += [", surely", "."]


@pytest.fixture
def ready(wire, client) -> Callable[..., nb.Reply]:
    """Lay an answer ready and stream it."""

    def stream(laid: Answer | None = None, **settings: Any) -> nb.Reply:
        wire.lay(laid or answer(GOOD))
        return nb.stream(client, "hi", model="m", **settings)

    return stream


def in_thread(function: Callable[[], Any]) -> tuple[threading.Thread, list]:
    """Run it in a thread; its result or its error, once the thread is joined."""
    out: list = []

    def run() -> None:
        try:
            out.append(function())
        except BaseException as err:
            out.append(err)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, out


# -- views -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("framing", FRAMINGS)
def test_every_framing_gives_the_same_events(ready, wire, framing):
    """However HTTP wraps the body, the events, the message and the sums are the same."""
    reply = ready(answer(GOOD, framing))
    events = list(reply)
    assert events == list(ready())
    assert [event.text for event in events if isinstance(event, TextDelta)] == TEXTS
    assert reply.text == GOOD_TEXT
    assert reply.recording.clock == "wire"
    assert sum(reply.recording.sizes) == sum(map(len, GOOD))


def test_a_reply_can_be_iterated_again(ready):
    """A later loop has the same events from memory."""
    reply = ready()
    assert list(reply) == list(reply) == list(iter(reply))
    assert len(list(reply)) == 32


def test_iterators_keep_places_of_their_own(ready):
    """However the views take turns, each sees every event once and in order."""
    reply = ready()
    expected = list(ready())
    views: list = [iter(reply), iter(reply), iter(reply.next_event, None)]
    seen: list[list] = [[], [], []]
    for turn in range(200):
        which = (turn * turn) % 3 if turn % 5 else turn % 2
        seen[which].extend([event for event in [next(views[which], None)] if event is not None])
    for view, events in zip(views, seen, strict=True):
        events.extend(view)
    assert seen == [expected] * 3


def test_next_event_is_none_at_the_end(ready):
    """And stays it."""
    reply = ready()
    count = 0
    while reply.next_event() is not None:
        count += 1
    assert (count, reply.next_event(), reply.status) == (32, None, "complete")


def test_text_stream_gives_visible_text_only(ready):
    """Reasoning and tool input are passed over, whichever comes first."""
    assert list(ready().text_stream) == TEXTS


@pytest.mark.parametrize("framing", ["event", "length"])
def test_raw_events_are_botocores(ready, wire, plain, framing):
    """The very dicts that boto3 yields for the same bytes."""
    reply = ready(answer(GOOD, framing))
    wire.lay(answer(GOOD, framing))
    assert list(reply.raw_events()) == list(plain.converse_stream(**ask())["stream"])


def test_frames_are_those_that_were_sent(ready):
    """Headers, payloads and order are the wire's; encoded again they are the same bytes."""
    reply = ready()
    assert [encode(frame) for frame in reply.frames()] == GOOD
    assert reply.frames().__next__().headers[":event-type"] == "messageStart"


def test_frames_of_a_failed_reply_are_given_before_its_error(ready):
    """What came of it can be looked at on the wire too."""
    frames: list[bytes] = []
    reply = ready(answer([*GOOD[:5], GOOD[5][:-1] + b"\0", *GOOD[6:]]))
    with pytest.raises(FrameError):
        frames.extend(map(encode, reply.frames()))
    assert frames == GOOD[:5]


def test_frames_that_are_not_known_are_an_error():
    """A reply that never was on a wire has none to show."""
    reply = nb.Reply({"stream": [{"messageStop": {"stopReason": "end_turn"}}]})
    with pytest.raises(RecordingError, match="connect"):
        next(reply.frames())


def test_map_calls_and_collects(ready):
    """A function is called with every event; its results come back in order."""
    assert ready().map(lambda event: type(event).__name__) == [type(e).__name__ for e in ready()]


@pytest.mark.parametrize("speed", [1, 2.0, 0.5, float("inf")])
def test_replay_waits_as_the_events_did(ready, speed):
    """It sleeps for the recorded gaps, divided by the speed, and gives what a plain loop gives."""
    reply = ready()
    reply.drain()
    for i in range(len(reply.recording.times)):
        reply.recording.times[i] = 1.0 + i // 3
    slept: list[float] = []
    assert list(reply.replay(speed, sleep=slept.append)) == list(reply)
    assert slept == [1.0 / speed] * 10


@pytest.mark.parametrize("speed", [0, -1, float("nan"), "fast", None])
def test_a_wrong_speed_is_refused_at_once(ready, speed):
    """Before anything is read or waited for."""
    with pytest.raises(RequestError, match=r"speed is .*above 0"):
        ready().replay(speed)


def test_a_snapshot_shows_the_message_so_far(ready):
    """While the server pauses in the middle of a block, the open block is in it."""
    gate = threading.Event()
    reply = ready(answer(GOOD, gates={10: gate}))
    while len(reply.recording) < 10:
        reply.next_event()
    assert reply.snapshot.text == "Hello wörld —"
    assert reply.snapshot.reasoning == "Let me think about it."
    assert (reply.status, reply.recording.text) == ("streaming", "Hello wörld —")
    gate.set()
    assert reply.message.text == GOOD_TEXT


def test_what_it_adds_up_to(ready):
    """Message, text, usage, stop reason, metrics: each reads what is left by itself."""
    assert isinstance(ready().message, Message)
    assert ready().text == GOOD_TEXT
    assert ready().usage == {"inputTokens": 11, "outputTokens": 30, "totalTokens": 41}
    assert ready().stop_reason == "tool_use"
    assert ready().metrics["output_tokens"] == 30
    reply = ready()
    assert (reply.status, reply.drain().status) == ("streaming", "complete")
    assert reply.envelope["http_status"] == 200
    assert list(reply.recording.marks) == ["sent", "headers", "closed"]


def test_reprs_are_short_and_say_how_it_stands(ready):
    """Neither an address nor a time, so that a saved notebook compares equal."""
    reply = ready()
    assert repr(reply) == "<Reply m: streaming, 0 events, 0 characters>"
    reply.drain()
    assert repr(reply) == f"<Reply m: complete, tool_use, 30 events, {len(GOOD_TEXT)} characters>"
    html = reply._repr_html_()
    assert "complete, tool_use" in html
    assert html == ready().drain()._repr_html_()


def test_html_of_a_reply_is_escaped(ready):
    """What a model writes is text, in the card too."""
    events = [MessageStart("assistant"), TextDelta(0, "<script>x</script>"), MessageStop("<b>")]
    html = ready(answer(frames_of(events))).drain()._repr_html_()
    assert "<script" not in html
    assert "<b>" not in html


def test_labels_are_columns_of_the_recording(ready, client):
    """They are copied; another kind of thing is refused before anything is sent."""
    labels = {"run": 3}
    reply = ready(labels=labels)
    labels["run"] = 4
    assert reply.recording.labels == {"run": 3}
    with pytest.raises(RequestError, match="labels are of type list"):
        nb.stream(client, "hi", labels=["run"])  # type: ignore[arg-type]


# -- what may be asked -----------------------------------------------------------------------------

TURN = {"role": "user", "content": [{"text": "hi"}]}


@pytest.mark.parametrize(
    ("prompt", "settings", "messages"),
    [
        ("hi", {}, [TURN]),
        ([{"text": "hi"}], {}, [TURN]),
        ([TURN], {}, [TURN]),
        ([Message("user", (TextBlock("hi"),))], {}, [TURN]),
        (nb.Request("other", "hi"), {}, [TURN]),
        (None, {"messages": [TURN]}, [TURN]),
        ("hi", {"messages": [TURN, {"role": "assistant", "content": [{"text": "ho"}]}]}, None),
    ],
    ids=["text", "blocks", "dicts", "messages", "request", "keyword", "turns and prompt"],
)
def test_whatever_can_be_asked_reaches_the_service(wire, client, prompt, settings, messages):
    """Text, blocks, messages, dicts and requests are all the same to it."""
    wire.lay(answer(GOOD))
    reply = nb.stream(client, prompt, model="m", max_tokens=5, stop="END", system="Be brief.", **settings)
    sent = reply.drain().recording.request
    assert sent["messages"] == (messages or [*settings["messages"], TURN])
    assert (sent["modelId"], sent["system"]) == ("m", [{"text": "Be brief."}])
    assert sent["inferenceConfig"] == {"maxTokens": 5, "stopSequences": ["END"]}
    assert b"/model/m/converse-stream" in wire.requests[0]


def test_other_arguments_of_converse_stream_are_passed_on(wire, client):
    """Under their own names, `modelId` too; members of a `Request` are kept and can be overruled."""
    wire.lay(answer(GOOD), answer(GOOD))
    tier = {"type": "flex"}
    sent = nb.stream(client, "hi", modelId="mine", serviceTier=tier).drain().recording.request
    assert (sent["modelId"], sent["serviceTier"]) == ("mine", tier)
    request = nb.Request("a", "hi", temperature=0.5, top_p=0.5, extra={"serviceTier": tier})
    tool = {"toolSpec": {"name": "t", "inputSchema": {"json": {}}}}
    asked = request.stream(client, temperature=0.1, tools=[tool]).drain().recording.request
    assert asked["inferenceConfig"] == {"temperature": 0.1, "topP": 0.5}
    assert (asked["modelId"], asked["serviceTier"]) == ("a", tier)
    assert asked["toolConfig"]["tools"][0] == tool


@pytest.mark.parametrize("prompt", ["", "  ", None, 3, b"bytes", {"role": "user"}, [3]])
def test_a_prompt_that_cannot_work_is_refused_before_it_is_sent(wire, client, prompt):
    """One clear error, and nothing went over the wire."""
    with pytest.raises(BedrockNbError):
        nb.stream(client, prompt, model="m")
    assert wire.requests == []


@pytest.mark.parametrize("client", [None, "client", 3])
def test_what_is_no_client_is_refused(client):
    """The error says what to give."""
    with pytest.raises(RequestError, match="has no converse_stream"):
        nb.stream(client, "hi")


# -- responses that somebody else made -------------------------------------------------------------


def test_a_response_of_a_tapped_client_is_timed_on_the_wire(wire, client):
    """A client that was given to `stream` before is tapped for good."""
    wire.lay(answer(GOOD), answer(GOOD))
    nb.stream(client, "hi", model="m").drain()
    reply = nb.Reply(client.converse_stream(**ask("you")), labels={"by": "hand"})
    assert (reply.text, reply.recording.clock) == (GOOD_TEXT, "wire")
    assert reply.recording.request == ask("you")
    assert reply.recording.labels == {"by": "hand"}


def test_a_response_of_an_untapped_client_is_timed_as_botocore_gives_it(wire, plain, ready):
    """The events are the same; the recording says whose clock it was."""
    wire.lay(answer(GOOD))
    reply = nb.Reply(plain.converse_stream(**ask()))
    assert list(reply) == list(ready())
    assert (reply.recording.clock, reply.status) == ("parsed", "complete")
    assert reply.envelope["request_id"] == "7d0f5a90-0000-4000-8000-000000000000"
    assert list(reply.recording.reads) == list(range(1, 31))


def test_a_response_of_botocores_stubber_works(client):
    """The stub's request is known; its one dict is its stream."""
    stream = {
        "messageStart": {"role": "assistant"},
        "contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "stubbed"}},
        "messageStop": {"stopReason": "end_turn"},
    }
    with Stubber(client) as stub:
        for _ in range(2):
            stub.add_response("converse_stream", {"stream": stream})
        replies = nb.stream(client, "hi", model="m"), nb.Reply(client.converse_stream(**ask()))
    for reply in replies:
        assert (reply.text, reply.status, reply.recording.clock) == ("stubbed", "complete", "parsed")
        assert reply.recording.request == ask()


def test_a_list_of_dicts_is_a_stream(ready):
    """What a test or a log holds can be looked at with the same tools, as often as one likes."""
    dicts = list(ready().raw_events())
    for _ in range(2):
        reply = nb.Reply({"stream": dicts})
        assert list(reply) == list(ready())
        assert (reply.recording.clock, reply.envelope["request_id"]) == ("parsed", "")


def test_an_object_of_ones_own_is_a_client_if_it_streams():
    """Its request and the time of its call are known although it has no hooks."""

    class StandIn:
        def converse_stream(self, **asked: Any) -> dict:
            return {"stream": iter([{"messageStop": {"stopReason": "end_turn"}}])}

    reply = nb.stream(StandIn(), "hi", model="mine").drain()
    assert (reply.recording.model, reply.stop_reason) == ("mine", "end_turn")


def test_a_consumed_stream_of_an_untapped_client_is_incomplete(wire, plain):
    """botocore gives nothing the second time and says nothing; the reply does."""
    wire.lay(answer(GOOD))
    response = plain.converse_stream(**ask())
    list(response["stream"])
    with pytest.raises(IncompleteStreamError, match="read before"):
        nb.Reply(response).drain()


@pytest.mark.parametrize("wrong", [None, "text", {}, {"output": {}}, {"stream": None}, {"stream": "text"}, 3])
def test_what_is_no_response_is_refused(wrong):
    """The error says what is wanted."""
    with pytest.raises(RequestError, match=r"converse_stream|EventStream"):
        nb.Reply(wrong)


def test_a_stream_of_nonsense_is_an_error_of_ours():
    """Not an AttributeError from the depths."""
    with pytest.raises(StreamError, match="AttributeError"):
        nb.Reply({"stream": [3]}).drain()


# -- observers -------------------------------------------------------------------------------------


class Told(nb.Observer):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.calls: list = []

    def on_start(self, reply):
        self.calls.append(("start", reply.status))

    def on_event(self, event):
        self.calls.append(event)

    def on_complete(self, message, usage, metrics):
        self.calls.append(("complete", message, usage, metrics["output_tokens"]))

    def on_error(self, error):
        self.calls.append(("error", error))


def test_an_observer_is_told_everything_in_order(ready):
    """Start, each event once whoever reads and however often, and the end."""
    reply, told = ready(), Told()
    assert reply.on(told) is reply
    assert told.calls == [("start", "streaming")]
    events = list(reply)
    list(reply)
    reply.next_event()
    assert told.calls[1:-1] == events
    assert told.calls[-1] == ("complete", reply.message, reply.usage, 30)


def test_an_observer_that_comes_late_is_told_what_was(ready):
    """In the middle or after the end, it gets the same."""
    reply, early, middle, late = ready(), Told(), Told(), Told()
    reply.on(early)
    for _ in range(9):
        reply.next_event()
    reply.on(middle)
    reply.drain()
    reply.on(late)
    assert middle.calls == early.calls
    assert late.calls == [("start", "complete"), *early.calls[1:]]


def test_observers_are_told_of_a_failure(ready):
    """The error comes after all events, and has the reply with it."""
    reply, told = ready(answer(GOOD[:9])), Told()
    reply.on(told)
    with pytest.raises(IncompleteStreamError) as caught:
        reply.drain()
    assert told.calls[-1] == ("error", caught.value)
    assert told.calls[-2] == StreamFault(caught.value)
    assert caught.value.reply is reply


@pytest.mark.parametrize("method", ["on_start", "on_event", "on_complete"])
def test_an_observer_that_raises_is_dropped_with_one_warning(ready, method):
    """The reply and the other observers go on."""
    bad, good, reply = Told(), Told(), ready()

    def fail(*_: Any) -> None:
        raise ZeroDivisionError("mine")

    setattr(bad, method, fail)
    with pytest.warns(UserWarning, match=f"failed in {method} .*mine") as caught:
        reply.on(bad).on(good).drain()
    assert len(caught) == 1
    assert reply.text == GOOD_TEXT
    assert len(good.calls) == 34


def test_an_observer_need_not_have_every_method(ready):
    """Any object will do."""

    class OnlyEvents:
        seen = 0

        def on_event(self, _event):
            self.seen += 1

    observer = OnlyEvents()
    ready().on(observer).drain()
    assert observer.seen == 32


def test_an_observer_may_cancel(ready, wire):
    """From inside a callback, in the thread that reads."""
    reply = ready(answer(GOOD[:12], ending="silence"))

    class Enough(nb.Observer):
        def on_event(self, event):
            if isinstance(event, TextDelta):
                reply.cancel()

    events = list(reply.on(Enough()))
    assert reply.status == "cancelled"
    assert any(isinstance(event, TextDelta) for event in events)
    assert wire.wait_until_open(0)


# -- bad endings -----------------------------------------------------------------------------------

BAD_CRC = [*GOOD[:9], GOOD[9][:-4] + b"\0\0\0\0", *GOOD[10:]]
CUT_TOOL = frames_of(
    [
        MessageStart("assistant"),
        TextDelta(0, "Hello"),
        BlockStop(0),
        ToolUseStart(1, "id", "pay"),
        ToolInputDelta(1, '{"amount": 1'),
        BlockStop(1),
        MessageStop("tool_use"),
        Metadata({"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}, 1),
    ]
)
LOST, OURS = urllib3.exceptions.ProtocolError, BedrockNbError
ENDINGS = {
    "clean": (answer(GOOD[:9]), IncompleteStreamError, OURS, "incomplete"),
    "length": (answer(GOOD[:9], "length"), IncompleteStreamError, OURS, "incomplete"),
    "close": (answer(GOOD[:9], "close"), IncompleteStreamError, OURS, "incomplete"),
    "torn": (answer(GOOD[:10], "close", cut=5), IncompleteStreamError, OURS, "incomplete"),
    "fin": (answer(GOOD[:9], ending="fin"), ConnectionLost, LOST, "incomplete"),
    "fin in a chunk": (answer(GOOD[:10], ending="fin", cut=5), ConnectionLost, LOST, "incomplete"),
    "fin too early": (answer(GOOD[:10], "length", "fin", cut=5), ConnectionLost, LOST, "incomplete"),
    "reset": (answer(GOOD[:9], ending="reset"), ConnectionLost, LOST, "incomplete"),
    "checksum": (answer(BAD_CRC), FrameError, botocore.eventstream.ParserError, "error"),
    "tool": (answer(CUT_TOOL), PayloadError, OURS, "error"),
}
for name, kind in FAULTS.items():
    frame = frames_of([StreamFault(service_fault(name, "No."))])
    ENDINGS[name] = (answer([*GOOD[:9], *frame, *GOOD[9:]]), kind, EventStreamError, "error")


@pytest.mark.parametrize(("laid", "ours", "theirs", "status"), list(ENDINGS.values()), ids=list(ENDINGS))
def test_a_bad_ending_is_an_error_in_every_view(ready, wire, laid, ours, theirs, status):
    """It comes after every event that came, in each view, each time; what came is kept."""
    reply = ready(laid)
    views: list[Callable[[], Any]] = [
        lambda: seen.extend(reply),
        lambda: seen.extend(reply),
        lambda: texts.extend(reply.text_stream),
        lambda: list(reply.raw_events()),
        lambda: reply.map(str),
        lambda: list(reply.replay(float("inf"))),
        lambda: list(iter(reply.next_event, None)),
        reply.next_event,
        lambda: list(reply.frames()),
        reply.drain,
        lambda: (reply.message, reply.text),
        lambda: reply.usage,
        lambda: reply.stop_reason,
        lambda: reply.metrics,
    ]
    for view in views:
        seen: list = []
        texts: list = []
        with pytest.raises(theirs) as caught:
            view()
        assert type(caught.value) is ours
        if seen:
            assert [event for event in seen if not isinstance(event, ToolUse)] == list(reply.recording)
        if texts:
            assert "".join(texts) == reply.snapshot.text
    assert reply.status == status
    assert caught.value.reply is reply
    assert reply.snapshot.text.startswith("Hello")
    assert list(reply.recording)[-1] == StreamFault(caught.value)
    assert "is kept" in str(caught.value)
    assert laid.ending == "clean" or wire.wait_until_open(0)


@pytest.mark.parametrize("framing", ["event", "length"])
def test_silence_is_an_error_after_the_clients_read_timeout(wire, wire_clients, framing):
    """Caught as urllib3's own; everything that came before it was given."""
    client = wire_clients("short", read_timeout=0.2)
    wire.lay(answer(GOOD[:9], framing, "silence", cut=1 if framing == "length" else 0))
    reply = nb.stream(client, "hi", model="m")
    events: list = []
    with pytest.raises(urllib3.exceptions.ReadTimeoutError, match="read_timeout") as caught:
        events.extend(reply)
    assert type(caught.value) is StreamStalled
    assert (reply.status, len(events)) == ("incomplete", 10 if framing == "event" else 9)
    assert wire.wait_until_open(0)


@pytest.mark.parametrize("count", range(29))
def test_a_reply_cut_between_events_is_never_complete(ready, count):
    """Wherever the body ends before messageStop, in good HTTP order, the reply says so."""
    reply = ready(answer(GOOD[:count], "length"))
    with pytest.raises(IncompleteStreamError):
        list(reply)
    assert (reply.status, len(reply.recording)) == ("incomplete", count + 1)
    assert not isinstance(reply.recording.event(count - 1), MessageStop)


def test_a_failed_recording_says_so_in_its_file(ready, tmp_path):
    """Saved and loaded, it is still not whole."""
    reply = ready(answer(GOOD[:9], ending="fin"))
    with pytest.raises(ConnectionLost):
        reply.drain()
    loaded = nb.Recording.load(reply.recording.save(tmp_path / "cut.jsonl"))
    assert (loaded.status, loaded.text) == ("incomplete", "Hello wörld")
    assert list(loaded) == list(reply.recording)


# -- stopping --------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["close", "cancel", "with"])
def test_a_reply_that_is_stopped_is_cancelled_and_its_connection_gone(ready, wire, how):
    """No error: it was on purpose. What came stays; more comes from nowhere."""
    reply = ready(answer(GOOD[:12], ending="silence"))
    with reply:
        for event in reply:
            if isinstance(event, TextDelta):
                break
        if how != "with":
            getattr(reply, how)()
    assert wire.wait_until_open(0)
    assert reply.status == "cancelled"
    assert reply.text == reply.snapshot.text != ""
    assert len(list(reply)) == len(reply.recording)
    reply.close()
    reply.cancel()
    assert reply.recording.status == "cancelled"


def test_closing_a_complete_reply_changes_nothing(ready, wire):
    """Its connection serves the next call."""
    with ready() as reply:
        reply.drain()
    reply.cancel()
    assert reply.status == "complete"
    assert ready().text == GOOD_TEXT
    assert wire.accepted == 1


@pytest.mark.parametrize("framing", ["event", "trickle", "length", "close"])
@pytest.mark.parametrize("tapped", [True, False], ids=["tapped", "untapped"])
def test_cancel_frees_a_thread_that_waits_for_a_silent_server(wire, client, plain, framing, tapped):
    """The read ends at once, long before the client's read timeout of a minute."""
    wire.lay(answer(GOOD[:9], framing, "silence", cut=1))
    if tapped:
        reply = nb.stream(client, "hi", model="m")
    else:
        reply = nb.Reply(plain.converse_stream(**ask()))
    arrived = threading.Event()

    def read() -> list:
        events = []
        for event in reply:
            events.append(event)
            arrived.set()
        return events

    thread, out = in_thread(read)
    # Without chunks botocore gives nothing before the end.
    assert not tapped or arrived.wait(LIMIT)
    reply.cancel()
    thread.join(LIMIT)
    assert not thread.is_alive()
    assert reply.status == "cancelled"
    assert out[0] == list(reply.recording)
    assert wire.wait_until_open(0)


def test_cancel_closes_even_if_the_reader_never_comes_back(ready, wire):
    """A thread that was reading just then, and then reads no more, lets the connection go on its way out."""
    gate = threading.Event()
    reply = ready(answer(GOOD[:12], gates={1: gate}, ending="silence"))
    inside, go_on = threading.Event(), threading.Event()

    class Slow(nb.Observer):
        def on_event(self, event):
            inside.set()
            go_on.wait(LIMIT)

    reply.on(Slow())
    thread, _ = in_thread(reply.next_event)
    assert inside.wait(LIMIT)  # the reader is in the middle of a read's events
    gate.set()
    reply.cancel()
    assert reply.status == "streaming"
    go_on.set()
    thread.join(LIMIT)
    assert reply.status == "cancelled"
    assert wire.wait_until_open(0)


# -- threads ---------------------------------------------------------------------------------------


def test_threads_that_share_a_reply_each_see_every_event_once(ready):
    """Whoever reads, nobody misses an event and nobody has one twice."""
    gates = {i: threading.Event() for i in range(2, 30, 3)}
    reply = ready(answer(GOOD, gates=gates))
    threads = [in_thread(lambda: list(reply)) for _ in range(4)]
    threads += [in_thread(lambda: list(iter(reply.next_event, None)))]
    for gate in gates.values():
        gate.set()
    for thread, _ in threads:
        thread.join(LIMIT)
    expected = list(ready())
    assert [out for _, (out,) in threads] == [expected] * 5


def test_threads_may_pull_from_one_reply(ready):
    """With next_event they share the events between them."""
    reply = ready()
    threads = [in_thread(lambda: list(iter(reply.next_event, None))) for _ in range(4)]
    for thread, _ in threads:
        thread.join(LIMIT)
    pulled = [event for _, (events,) in threads for event in events]
    assert sorted(map(str, pulled)) == sorted(map(str, reply))


def test_what_came_can_be_read_while_another_thread_waits_for_more(ready):
    """A view from memory does not queue up behind a read that blocks."""
    gate, arrived = threading.Event(), threading.Event()
    reply = ready(answer(GOOD, gates={9: gate}))

    def read() -> None:
        for _ in reply:
            arrived.set()

    thread, _ = in_thread(read)
    assert arrived.wait(LIMIT)
    view = iter(reply)
    assert len([next(view) for _ in range(9)]) == 9
    assert reply.snapshot.text == "Hello wörld"
    assert repr(reply).startswith("<Reply m: streaming")
    gate.set()
    thread.join(LIMIT)


def test_two_replies_at_once_on_one_client(wire, client):
    """Each has its own connection; neither waits for the other."""
    gate = threading.Event()
    wire.lay(answer(GOOD, gates={3: gate}))
    slow = nb.stream(client, "hi", model="slow")
    wire.lay(answer(GOOD))
    thread, out = in_thread(lambda: nb.stream(client, "hi", model="fast").text)
    thread.join(LIMIT)
    assert out == [GOOD_TEXT]
    assert slow.status == "streaming"
    gate.set()
    assert (slow.text, slow.recording.model, wire.accepted) == (GOOD_TEXT, "slow", 2)


# -- what is left behind ---------------------------------------------------------------------------


@pytest.mark.parametrize("framing", ["event", "batch", "split", "trickle", "length"])
def test_connections_are_used_again(ready, wire, framing):
    """Twenty complete replies in a row need one connection."""
    for _ in range(20):
        assert ready(answer(GOOD, framing)).text == GOOD_TEXT
    assert (wire.accepted, wire.open) == (1, 1)


def abandon(reply: nb.Reply) -> None:
    """Read a little and forget it."""
    for event in reply:
        if isinstance(event, TextDelta):
            break


def pull(reply: nb.Reply) -> None:
    """The same by pulling."""
    while not isinstance(reply.next_event(), TextDelta):
        pass


def fail(reply: nb.Reply) -> None:
    """Read it to its bad end."""
    with pytest.raises(StreamError):
        reply.drain()


def cancel(reply: nb.Reply) -> None:
    """Stop it."""
    abandon(reply)
    reply.cancel()


@pytest.mark.parametrize(
    ("leave", "laid"),
    [
        (lambda reply: None, answer(GOOD[:12], ending="silence")),
        (abandon, answer(GOOD[:12], ending="silence")),
        (pull, answer(GOOD[:12], ending="silence")),
        (cancel, answer(GOOD[:12], ending="silence")),
        (fail, answer(BAD_CRC, ending="silence")),
        (fail, answer(GOOD[:12], ending="fin")),
        (fail, answer(GOOD[:12], "length", "fin", cut=3)),
        (abandon, answer(GOOD[:12], "close", "silence")),
    ],
    ids=["untouched", "abandoned", "pulled", "cancelled", "failed", "fin", "fin length", "close"],
)
@pytest.mark.parametrize("kind", ["stream", "watched"])
def test_no_socket_is_left_open(wire, client, watched, recordings, leave, laid, kind):
    """Twenty replies that nobody holds any more: their connections are gone without a collector's help."""
    gc.disable()
    try:
        for _ in range(20):
            wire.lay(laid)
            reply = nb.stream(client if kind == "stream" else watched, "hi", model="m")
            leave(reply)
            del reply
        assert wire.wait_until_open(0)
        assert wire.accepted == 20
    finally:
        gc.enable()
    expected = {"incomplete", "error"} if leave is fail else {"cancelled"}
    assert {recording.status for recording in recordings} <= expected


def test_no_socket_of_an_untapped_client_is_left_open(wire, plain, recordings):
    """A reply of a response that somebody else made closes it too."""
    gc.disable()
    try:
        for leave in (abandon, pull, cancel, lambda reply: None):
            wire.lay(answer(GOOD[:12], ending="silence"))
            reply = nb.Reply(plain.converse_stream(**ask()))
            leave(reply)
            del reply
        assert wire.wait_until_open(0)
    finally:
        gc.enable()
    assert {recording.status for recording in recordings} == {"cancelled"}


def test_secrets_show_nowhere(wire, monkeypatch, tmp_path, recordings):
    """Neither keys nor tokens are in what is shown, raised or saved."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "MARKED-TOKEN")
    client = loopback_client(
        wire.url,
        aws_access_key_id="MARKED-ID",
        aws_secret_access_key="MARKED-KEY",
        aws_session_token="MARKED-SESSION",
    )
    wire.lay(answer(GOOD), answer(GOOD[:9], ending="fin"))
    good, bad = (nb.stream(client, "hi", model="m") for _ in range(2))
    good.drain()
    with pytest.raises(ConnectionLost) as caught:
        bad.drain()
    saved = [reply.recording.save(tmp_path / f"{i}.jsonl").read_text() for i, reply in enumerate((good, bad))]
    shown = [f(thing) for f in (repr, str) for thing in (client, good, bad, good.recording, recordings)]
    raised = [repr(caught.value), str(caught.value), repr(vars(caught.value)), repr(caught.value.__cause__)]
    html = [good._repr_html_(), bad._repr_html_()]
    kept = [repr(vars(good.recording)), repr(vars(bad.recording)), repr(good.envelope)]
    client.close()
    assert "MARKED" in wire.requests[0].decode("latin-1")  # boto3 did use them
    for text in (*saved, *shown, *raised, *html, *kept):
        assert "MARKED" not in text


def test_the_loop_of_the_readme(capsys):
    """The embedded server, a reply, its pieces."""
    with BedrockServer(latency=Latency.none()) as server:
        client = server.client()
        with nb.stream(client, "Count from 1 to 5") as reply:
            for text in reply.text_stream:
                print(text, end="")
        client.close()
    assert capsys.readouterr().out == reply.text == "1, 2, 3, 4, 5."


def test_an_observer_that_reads_on_takes_nothing_from_others(ready):
    """What an observer pulls while a loop waits reaches the loop as well."""
    reply = ready()

    class Impatient(nb.Observer):
        def on_event(self, event):
            reply.drain()

    reply.on(Impatient())
    assert list(reply) == list(reply)


def test_names_complete_in_a_notebook(ready):
    """TAB after a reply offers its views; IPython asks jedi for them."""
    reply = ready().drain()
    names = {found.name for found in jedi.Interpreter("reply.", [{"reply": reply}]).complete()}
    assert {"text_stream", "snapshot", "replay", "status", "recording", "cancel"} <= names


def test_a_reader_that_comes_late_is_told():
    """Times are when bytes were read: whoever works between two events is told that they may be late."""
    with BedrockServer(latency=Latency(ttft=0.0, per_token=0.005)) as server:
        reply = nb.stream(server.client(), "hello")
        for _ in reply:
            time.sleep(0.05)
    assert "reply.drain()" in reply.recording.problems[0]


@pytest.mark.parametrize("observer", [None, 5, print, object()], ids=repr)
def test_what_observes_nothing_is_refused(ready, observer):
    """A function is no observer, and would never be called."""
    with pytest.raises(RequestError, match="on_event"):
        ready().on(observer)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temprature": 1}, "temperature"),
        ({"max_token": 5}, "max_tokens"),
        ({"zzz": 1}, "lists the settings"),
    ],
)
def test_a_misspelt_setting_is_named(client, settings, said):
    """botocore's own list knows nothing of the short names."""
    with pytest.raises(RequestError, match=said):
        nb.stream(client, "x", **settings)
