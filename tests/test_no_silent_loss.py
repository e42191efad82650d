"""A reply loses nothing in silence: cut or damaged at every byte, too long, too slow, too large.

A real boto3 client reads a real socket. One sound reply of 19 events is ended at each place in each way that
a connection can end, and each time the same is asked: does the reply say that it failed, with an error of
ours? Is everything there that had arrived, and nothing else? What came of all these calls is counted and
printed. The events that are expected come from the JSON beside the vectors and not from the frames.
"""

from __future__ import annotations

import gc
import logging
import resource
import struct
import tracemalloc
import zlib
from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import urllib3.exceptions

import bedrock_nb as nb
from bedrock_nb.check import check
from bedrock_nb.errors import FrameError, IdleTimeout, StreamError, StreamTimeout
from bedrock_nb.events import (
    BlockStop,
    Event,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    StreamFault,
    TextDelta,
    ToolUse,
    Unknown,
)
from bedrock_nb.message import Message
from bedrock_nb.recording import Recording
from bedrock_nb.wire import from_wire, to_botocore
from tests import wire_server
from tests.wire_server import CASES, LIMIT, Answer, Ending, Framing, answer, ask, dripped, frames_of

# -- the reply, as it is known without any frame ---------------------------------------------------

#: Which events of the vectors' reply are sent: of thirteen deltas of text four, of four of reasoning two.
#: Each byte is a call, and those of the others would show nothing new.
SENT = [0, 1, 2, 5, 6, 7, 8, 13, *range(19, 30)]
GOOD = [wire_server.GOOD[i] for i in SENT]
GOOD_TEXT = "Hello wörld😀."

#: Wire name and payload of each event, without the padding that means nothing.
WIRE: list[tuple[str, dict[str, Any]]] = [
    (event["type"], {name: part for name, part in event["payload"].items() if name != "p"})
    for event in (CASES["good"][i] for i in SENT)
]
EVENTS: list[Event] = [event for wire, payload in WIRE for event in from_wire(wire, payload)]
TOOL = ToolUse(2, "tooluse_9aF0x", "get_weather", {"city": "Paris", "unit": "c"})
#: After how many events the tool's block is whole, and the message.
TOOL_STOPS, MESSAGE_STOPS = 17, 18

#: The HTTP response, a chunk to each event, and after how many of its bytes each frame is there.
RAW = b"".join(step for step in answer(GOOD).steps if isinstance(step, bytes))
HEAD = RAW.index(b"\r\n\r\n") + 4
BODY = b"".join(GOOD)


def _ends_in_raw() -> Iterator[int]:
    at = HEAD
    for frame in GOOD:
        at += len(b"%x\r\n" % len(frame)) + len(frame)
        yield at
        at += len(b"\r\n")


ENDS_IN_RAW = list(_ends_in_raw())
ENDS_IN_BODY = list(accumulate(map(len, GOOD)))


def there(ends: list[int], count: int) -> int:
    """How many frames are whole in so many bytes."""
    return sum(end <= count for end in ends)


class Spoken(NamedTuple):
    """What a message says: text, reasoning, and the raw input of its tools."""

    text: str
    reasoning: str
    inputs: list[str]

    @classmethod
    def by(cls, message: Message) -> Spoken:
        return cls(message.text, message.reasoning, [tool.raw for tool in message.tool_uses])


def _spoken(count: int) -> Spoken:
    deltas = [payload["delta"] for wire, payload in WIRE[:count] if wire == "contentBlockDelta"]
    started = any("toolUse" in payload.get("start", ()) for _, payload in WIRE[:count])
    inputs = "".join(delta.get("toolUse", {}).get("input", "") for delta in deltas)
    return Spoken(
        "".join(delta.get("text", "") for delta in deltas),
        "".join(delta.get("reasoningContent", {}).get("text", "") for delta in deltas),
        [inputs] if started else [],
    )


SPOKEN = [_spoken(count) for count in range(len(WIRE) + 1)]


def test_what_is_expected_is_what_was_written_down():
    """The events by which every call is judged are those of the vectors' JSON, and so is the text."""
    assert [to_botocore(event) for event in EVENTS] == [{wire: payload} for wire, payload in WIRE]
    assert len(EVENTS) == len(GOOD) == 19
    assert SPOKEN[-1].text == GOOD_TEXT
    assert (ENDS_IN_RAW[-1], ENDS_IN_BODY[-1]) == (len(RAW) - len(b"\r\n0\r\n\r\n"), len(BODY))


# -- how each call is judged -----------------------------------------------------------------------


class Outcome(NamedTuple):
    """What came of one call; ``seen`` is what a loop was handed, ``reply`` None where there is none."""

    reply: Any
    error: StreamError | None
    seen: list[Event]


def read(client: Any, **options: Any) -> Outcome:
    """Make a call, loop over its reply, and ask its error for the reply; nothing may hang."""
    limits = {"first_event_timeout": LIMIT, "idle_timeout": LIMIT}
    seen: list[Event] = []
    reply: Any = None
    error: StreamError | None = None
    try:
        reply = nb.stream(client, "hi", **limits, **options)
        seen.extend(reply)  # keeps what came before the error
    except StreamError as err:
        error = err
    if error is not None:
        assert error.reply is not None
        assert reply is None or error.reply is reply
        reply = error.reply
    return Outcome(reply, error, seen)


def wire_part(events: Iterable[Event]) -> list[Event]:
    """Without the events that follow from others, and without the fault at the end."""
    return [event for event in events if not isinstance(event, ToolUse | MessageComplete | StreamFault)]


def judge(outcome: Outcome, came: int, *, ended: bool = False, damaged: bool = False) -> str:
    """Hold a call against what had come: so many events, and, or not, the end that HTTP demands.

    A reply is complete if, and only if, its messageStop came and HTTP ended as it must.
    """
    reply, error, seen = outcome
    recorded = list(reply.recording)
    assert wire_part(recorded) == EVENTS[:came]
    assert Spoken.by(reply.snapshot) == SPOKEN[came]
    if seen or came == 0:  # else it failed before there was anybody to see
        assert wire_part(seen) == EVENTS[:came]
        assert [event for event in seen if isinstance(event, ToolUse)] == [TOOL][: came >= TOOL_STOPS]
        assert sum(isinstance(event, MessageComplete) for event in seen) == (came >= MESSAGE_STOPS)
    if ended and came >= MESSAGE_STOPS:
        assert (reply.status, error, len(recorded)) == ("complete", None, came)
        missing = [problem for problem in reply.problems if "metadata" in problem]
        assert reply.problems == missing
        assert len(missing) == (came < len(GOOD))
        return "complete, and says that its metadata is missing" if missing else "complete"
    assert reply.status == ("error" if damaged else "incomplete")
    assert error is not None
    assert not isinstance(error, StreamTimeout)
    assert recorded[came:] == [StreamFault(error)]
    assert reply.recording.error is error
    if isinstance(error, FrameError):
        return f"error, FrameError: {error.code}"
    return f"{reply.status}, {type(error).__name__}"


class Tally:
    """Judges calls one after another, and counts what came of them."""

    def __init__(self, wire: Any, client: Any) -> None:
        self.wire, self.client = wire, client
        self.counts: Counter[str] = Counter()

    def take(self, place: str, laid: Answer, came: int, **how: bool) -> None:
        """One call; ``place`` is what a failure names."""
        self.wire.lay(laid)
        try:
            self.counts[judge(read(self.client), came, **how)] += 1
        except BaseException as err:
            err.add_note(place)
            raise


@pytest.fixture
def tally(wire, client, recordings, capsys, caplog, request):
    """Counts the outcomes of a test and prints them; at the end no connection may be open.

    urllib3 closes an idle connection when nobody refers to its pool any more, and each recording of a reply
    that failed refers to it.
    """
    caplog.set_level(logging.CRITICAL, "bedrock_nb")  # else pytest keeps a line for every call
    counting = Tally(wire, client)
    yield counting
    client.close()
    recordings.clear()
    gc.collect()
    assert wire.wait_until_open(0)
    with capsys.disabled():
        print(f"\n{request.node.name}: {counting.counts.total():,} calls")
        for outcome, count in counting.counts.most_common():
            print(f"  {count:>7,}  {outcome}")


# -- the end at every byte -------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_a_reset_at_every_byte_of_the_response(tally):
    """The connection is lost: incomplete, with all whole events that had arrived.

    The server resets when the client's kernel has everything that was sent, and on Linux what is in a
    socket's queue can still be read after a reset; so nothing that was sent may be missing.
    """
    for cut in range(len(RAW) + 1):
        laid = Answer([RAW[:cut]], "reset")
        tally.take(f"reset after byte {cut}", laid, there(ENDS_IN_RAW, cut), ended=cut == len(RAW))
    assert tally.counts["complete"] == 1


@pytest.mark.timeout(600)
def test_a_close_at_every_byte_of_the_response(tally):
    """Half a head is no empty reply, and a body that HTTP did not end is not whole.

    Python's http.client takes the digit 0 of the last chunk for the end, of which four bytes more belong to
    it: nothing can follow, and every event is there.
    """
    last = len(RAW) - len(b"\r\n\r\n")
    for cut in range(len(RAW) + 1):
        laid = Answer([RAW[:cut]], "fin")
        tally.take(f"closed after byte {cut}", laid, there(ENDS_IN_RAW, cut), ended=cut >= last)
    assert tally.counts["complete"] == len(RAW) - last + 1


@pytest.mark.timeout(600)
def test_a_body_that_ends_in_good_order_at_every_byte(tally):
    """No word of HTTP says that anything is missing; only messageStop, on an event's end, makes it whole.

    HTTP has two good orders. Both are tried after each event, and inside of one they take turns.
    """
    orders: list[Framing] = ["event", "close"]
    for cut in range(len(BODY) + 1):
        whole = there(ENDS_IN_BODY, cut)
        rest = BODY[ENDS_IN_BODY[whole - 1] if whole else 0 : cut]
        frames = [*GOOD[:whole], *([rest] if rest else [])]
        for framing in [orders[cut % 2]] if rest else orders:
            laid = answer(frames, framing)
            tally.take(f"{framing}: ended after byte {cut} of the body", laid, whole, ended=not rest)
    assert tally.counts["complete"] == 2
    assert tally.counts["complete, and says that its metadata is missing"] == 2


# -- damage at every byte --------------------------------------------------------------------------


@pytest.mark.timeout(600)
def test_a_bit_that_flips_in_every_byte_of_the_body(tally):
    """Every one is found; what came before the frame that it is in is exact."""
    for place in range(len(BODY)):
        damaged = bytearray(BODY)
        damaged[place] ^= 1 << place % 8
        edges = [0, *ENDS_IN_BODY]
        frames = [bytes(damaged[begin:end]) for begin, end in zip(edges, ENDS_IN_BODY, strict=False)]
        whole = there(ENDS_IN_BODY, place)
        tally.take(f"bit {place % 8} of byte {place}", answer(frames), whole, damaged=True)


# -- odd replies -----------------------------------------------------------------------------------


#: The cases with something that this version does not know, and a word of it.
UNKNOWN = {
    "unknown_event": "glitter",
    "unknown_delta_member": "hologram",
    "unknown_block_start": "hologram",
    "extra_field": "newField",
    "unknown_message_type": "contentBlockDelta",
}


@pytest.mark.parametrize("framing", ["event", "trickle", "close"])
@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_each_odd_reply_over_a_real_connection(wire, client, case, framing):
    """What must fail fails and keeps what came, what is lawful is taken, no tool runs on guessed input.

    What this version does not know is kept whole, and `Reply.problems` counts it.
    """
    stored, expect = case["body"], case["expect"]
    body = zlib.decompress(b64decode(stored["zb64"])) if "zb64" in stored else b64decode(stored["b64"])
    if framing == "trickle" and len(body) > 20_000:
        framing = "event"  # seven bytes at a time would take its time and show nothing new
    wire.lay(answer([body], framing, "silence" if case["ends"] == "hangs" else "clean"))
    reply, error, seen = read(client)
    assert not isinstance(error, StreamTimeout)
    assert (reply.status == "complete") == (error is None)
    message, runs = reply.snapshot, [event for event in seen if isinstance(event, ToolUse)]
    if expect["need"] == "ok":
        assert (reply.status, error) == ("complete", None)
    if expect["need"] == "error":
        assert reply.status in ("incomplete", "error")
        assert expect["code"] in str(error)
        assert wire_part(seen) == wire_part(reply.recording)
        assert runs == []
    if expect["need"] != "either":
        assert (message.text, message.reasoning) == (expect["text"], expect["reasoning"])
        assert (reply.recording.stop_reason, bool(reply.recording.usage)) == (expect["stop"], expect["usage"])
    assert all(run.input == expect["tool_expected"] for run in runs)
    if expect["need"] == "ok":
        assert [run.input for run in runs] == [expect["tool"]]
    unknown = [event for event in reply.recording if isinstance(event, Unknown)]
    told = [problem for problem in reply.problems if "does not know" in problem]
    if case["name"] in UNKNOWN:
        assert len(unknown) == 1
        assert UNKNOWN[case["name"]] in str(unknown[0].payload)
        assert [problem.split()[:2] for problem in told] == [["1", "event"]]
    else:
        assert unknown == told == []


# -- the other ways to read ------------------------------------------------------------------------


class Read(NamedTuple):
    """What a way of reading gave: boto3's dicts of all it was handed, and what it left behind."""

    dicts: list[dict[str, Any]]
    recording: Recording
    error: BaseException | None


def _dicts(events: Iterable[Event]) -> list[dict[str, Any]]:
    return [to_botocore(event) for event in wire_part(events)]


def _by_loop(client: Any) -> Read:
    """Plain boto3 on a watched client: its own errors and its own silence are left to it."""
    dicts: list[dict[str, Any]] = []
    error: BaseException | None = None
    try:
        dicts.extend(client.converse_stream(**ask())["stream"])
    except urllib3.exceptions.ProtocolError as err:
        error = err
    return Read(dicts, nb.recordings[-1], error)


def _by_reply(client: Any, **options: Any) -> Read:
    outcome = read(client, **options)
    return Read(_dicts(outcome.seen), outcome.reply.recording, outcome.error)


def _by_response(client: Any) -> Read:
    reply, seen = nb.Reply(client.converse_stream(**ask())), list[Event]()
    error: StreamError | None = None
    try:
        seen.extend(reply)
    except StreamError as err:
        error = err
    assert error is None or error.reply is reply
    return Read(_dicts(seen), reply.recording, error)


#: Each way to read by its name: the fixture that is its client, and how it reads.
WAYS: dict[str, tuple[str, Callable[[Any], Read]]] = {
    "a watched loop": ("watched", _by_loop),
    "in the background": ("client", lambda client: _by_reply(client, background=True)),
    "not recorded": ("client", lambda client: _by_reply(client, record=False)),
    "neither": ("client", lambda client: _by_reply(client, record=False, background=True)),
    "a response": ("watched", _by_response),
    "a response of a client that nobody tapped": ("plain", _by_response),
}
ENDINGS: list[tuple[Framing, Ending]] = [
    ("event", "reset"),
    ("event", "fin"),
    ("event", "clean"),
    ("close", "clean"),
]


@pytest.mark.parametrize(("framing", "ending"), ENDINGS)
@pytest.mark.parametrize("way", WAYS)
def test_an_end_between_two_events_is_seen_however_the_reply_is_read(
    wire, request, recordings, way, framing, ending
):
    """At each place the recording says incomplete; whole only when messageStop was there and HTTP ended."""
    fixture, read_it = WAYS[way]
    client = request.getfixturevalue(fixture)
    for count in range(len(GOOD)):
        wire.lay(answer(GOOD[:count], framing, ending))
        dicts, recording, error = read_it(client)
        whole = ending == "clean" and count >= MESSAGE_STOPS
        assert dicts == [{name: payload} for name, payload in WIRE[:count]]
        assert recording.status == ("complete" if whole else "incomplete")
        assert isinstance(recording.error, StreamError) != whole
        assert recording is recordings[-1]
        if way != "a watched loop":  # that has botocore's own idea of what is an error
            assert error is recording.error
        if recording.keeps:
            assert wire_part(recording) == EVENTS[:count]
            assert len(recording) == count + (not whole)
            assert Spoken.by(recording.message) == SPOKEN[count]
            assert whole == any("metadata never came" in str(problem) for problem in check(recording))


# -- large and slow --------------------------------------------------------------------------------

MIB = 2**20


def chunked(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_a_delta_of_ten_megabytes(wire, client):
    """One event may be as long as the framing lets it be."""
    text = "0123456789" * 10**6
    ends: list[Event] = [BlockStop(0), MessageStop("end_turn"), Metadata({}, 1)]
    wire.lay(answer(frames_of([MessageStart("assistant"), TextDelta(0, text), *ends])))
    reply, error, seen = read(client)
    assert (reply.status, error, len(seen)) == ("complete", None, 6)
    assert reply.text == text


def test_a_reply_without_any_delta(wire, client):
    """A model may have nothing to say: the reply is complete, and its text is empty."""
    usage = {"inputTokens": 5, "outputTokens": 0, "totalTokens": 5}
    bare: list[Event] = [MessageStart("assistant"), MessageStop("end_turn"), Metadata(usage, 1)]
    wire.lay(answer(frames_of(bare)))
    reply, error, seen = read(client)
    assert (reply.status, error, reply.text, reply.problems) == ("complete", None, "", [])
    assert wire_part(seen) == bare


def resident() -> int:
    """Memory of this process, bytes, as Linux tells it."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
@pytest.mark.parametrize("background", [False, True], ids=["here", "background"])
@pytest.mark.parametrize(("record", "bound"), [(False, 16 * MIB), (True, 32 * MIB)], ids=["passing", "kept"])
def test_hundreds_of_thousands_of_events(wire, client, record, bound, background):
    """All come. Memory grows by less than 16 MiB if they are not kept, and by less than 32 if they are.

    The columns of 400,000 events take 10 MB, the text 0.4 MB here and four times that in the fold; an array
    that grows is copied to where there is room, so that twice the largest column may be needed for a moment.
    One object of Python for each event would take 19 MB and more.
    """
    count, of_chunk = 400_000, 1000
    start, (delta,) = frames_of([MessageStart("assistant")]), frames_of([TextDelta(0, "x")])
    end = frames_of([BlockStop(0), MessageStop("end_turn"), Metadata({"outputTokens": count}, 1)])
    head = b"".join(step for step in answer(start).steps if isinstance(step, bytes))
    many = [chunked(delta * of_chunk)] * (count // of_chunk)
    rest = b"".join(map(chunked, end)) + b"0\r\n\r\n"
    wire.lay(Answer([head.removesuffix(b"0\r\n\r\n"), *many, rest]))
    before = most = resident()
    characters = 0
    reply = nb.stream(client, "hi", record=record, background=background)
    for number, event in enumerate(reply):
        if isinstance(event, TextDelta):
            characters += len(event.text)
        if number % 20_000 == 0:
            most = max(most, resident())
    assert (reply.status, characters) == ("complete", count)
    assert len(reply.recording) == (count + 4 if record else 0)
    assert max(most, resident()) - before < bound


@pytest.mark.parametrize("length", [24 * MIB + 1, 2**31, 2**32 - 1])
def test_a_frame_that_is_announced_as_too_long(wire, client, length):
    """It is refused when its prelude is there: nothing is waited for, and no room is made for it."""
    lengths = struct.pack(">II", length, 0)
    prelude = lengths + struct.pack(">I", zlib.crc32(lengths))
    wire.lay(answer([*GOOD[:8], prelude], ending="silence"))
    reply = nb.stream(client, "hi", first_event_timeout=LIMIT, idle_timeout=LIMIT)
    tracemalloc.start()
    try:
        with pytest.raises(FrameError) as caught:
            reply.drain()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (caught.value.code, reply.status) == ("payload_too_long", "error")
    assert wire_part(reply.recording) == EVENTS[:8]
    assert most < MIB
    assert wire.wait_until_open(0)


def test_a_byte_now_and_then_is_no_event(wire, client):
    """However long somebody drips, the limit between whole events ends it, and what came is kept."""
    sent, *_ = answer(GOOD[:8]).steps
    assert isinstance(sent, bytes)
    sent = sent.removesuffix(b"0\r\n\r\n") + b"%x\r\n" % len(GOOD[8])
    wire.lay(Answer([sent, *dripped(GOOD[8], 0.25)], "silence"))
    with pytest.raises(IdleTimeout) as caught:
        nb.stream(client, "hi", idle_timeout=0.8).drain()
    reply = caught.value.reply
    assert reply.status == "incomplete"
    assert list(reply.recording) == [*EVENTS[:8], StreamFault(caught.value)]
    assert Spoken.by(reply.snapshot) == SPOKEN[8]
    assert wire.wait_until_open(0)
