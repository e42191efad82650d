"""The loop of a byte, on bytes from memory: what becomes of whole, cut, damaged and odd bodies."""

from __future__ import annotations

import http.client
import zlib
from base64 import b64decode
from itertools import pairwise

import botocore.eventstream
import botocore.exceptions
import pytest
import urllib3.exceptions

from bedrock_nb import errors
from bedrock_nb.errors import (
    ConnectionLost,
    FrameError,
    IncompleteStreamError,
    PayloadError,
    StreamError,
    StreamStalled,
    ThrottlingFault,
    UnmodelledFault,
    service_fault,
)
from bedrock_nb.events import (
    BlockStop,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    RedactedReasoning,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.eventstream import Frame, encode
from bedrock_nb.intake import Intake, as_our_error, parsed_arrivals, wire_arrivals
from bedrock_nb.message import ToolUseBlock
from bedrock_nb.recording import Recording
from tests.bodies import Pieces
from tests.wire_server import CASES, GOOD, GOOD_TEXT, frames_of

TOOL = ToolUse(2, "tooluse_9aF0x", "get_weather", {"city": "Paris", "unit": "c"})


def intake_of(body: Pieces) -> Intake:
    recording = Recording()
    return Intake(recording, wire_arrivals(body, recording), body.close, lambda: body.t)


def taken_in(body: Pieces) -> tuple[Intake, list]:
    """Everything that a body gives."""
    intake, events = intake_of(body), []
    while not intake.done:
        events += intake.advance()
    return intake, events


def bytes_of(case: dict) -> bytes:
    body = case["body"]
    return zlib.decompress(b64decode(body["zb64"])) if "zb64" in body else b64decode(body["b64"])


# -- whole bodies ----------------------------------------------------------------------------------


def test_a_sound_reply_is_complete():
    """Every event comes, those of the fold behind what they follow from; the connection is let go once."""
    body = Pieces(b"".join(GOOD))
    intake, events = taken_in(body)
    assert (intake.recording.status, intake.error, body.closed) == ("complete", None, 1)
    assert len(intake.recording) == 30
    assert [type(event) for event in events[-5:]] == [
        BlockStop,
        ToolUse,
        MessageStop,
        MessageComplete,
        Metadata,
    ]
    assert events[-4] == TOOL
    assert events[-2] == MessageComplete(intake.fold.snapshot)
    assert intake.fold.snapshot.text == GOOD_TEXT
    assert intake.derived == {27: (TOOL,), 28: (events[-2],)}


@pytest.mark.parametrize("size", [1, 7, 100, 3000])
def test_the_size_of_reads_changes_nothing(size):
    """However the bytes are cut into reads, the events, the frame sizes and the kept bytes are the same."""
    data = b"".join(GOOD)
    intake, events = taken_in(Pieces(*(data[i : i + size] for i in range(0, len(data), size))))
    whole, expected = taken_in(Pieces(data))
    assert events == expected
    assert intake.recording.sizes == whole.recording.sizes
    assert intake.recording.body == data


def test_an_event_has_the_time_and_the_number_of_the_read_that_completed_it():
    """Events of one read share its time and number; times never go back; sizes add up to the body."""
    data = GOOD[0] + GOOD[1] + GOOD[2][:10], GOOD[2][10:], b"".join(GOOD[3:])
    recording = taken_in(Pieces(*data))[0].recording
    assert list(recording.reads) == [1, 1, 2, *[3] * 27]
    assert list(recording.times) == [1.0, 1.0, 2.0, *[3.0] * 27]
    assert list(recording.sizes) == [len(frame) for frame in GOOD]
    assert recording.marks == {"closed": 4.0}


def test_sizes_are_right_however_many_kinds_of_headers_there_are():
    """Frames whose headers all differ have their own sizes."""
    head = {":message-type": "event", ":event-type": "contentBlockStop"}
    frames = [
        encode(Frame({**head, "x": "y" * (i % 150)}, b'{"contentBlockIndex": %d}' % i)) for i in range(400)
    ]
    recording = taken_in(Pieces(*frames))[0].recording
    assert list(recording.sizes)[:400] == [len(frame) for frame in frames]


def test_the_size_of_a_frame_is_counted_once():
    """Of a frame that gives an event and an unknown member, the event has the size."""
    payload = b'{"contentBlockIndex": 0, "delta": {"text": "a", "novelty": 1}}'
    frame = encode(Frame({":message-type": "event", ":event-type": "contentBlockDelta"}, payload))
    recording = taken_in(Pieces(frame))[0].recording
    assert [type(event) for event in recording][:2] == [TextDelta, Unknown]
    assert list(recording.sizes)[:2] == [len(frame), 0]


# -- bodies that are cut ---------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(29))
def test_a_reply_that_ends_between_two_events_is_never_complete(count):
    """A body that ends in good order before messageStop is incomplete, and what came is kept."""
    intake, events = taken_in(Pieces(b"".join(GOOD[:count])))
    assert intake.recording.status == "incomplete"
    assert type(intake.error) is IncompleteStreamError
    assert events[-1] == StreamFault(intake.error)
    assert len(intake.recording) == count + 1
    assert not any(isinstance(event, MessageComplete) for event in events)
    assert f"{count} event{'' if count == 1 else 's'}," in str(intake.error)


def test_a_reply_without_its_metadata_is_whole_and_without_usage():
    """The message is what counts: it was whole at messageStop."""
    intake, events = taken_in(Pieces(b"".join(GOOD[:29])))
    assert intake.recording.status == "complete"
    assert isinstance(events[-1], MessageComplete)
    assert intake.fold.usage == {}


@pytest.mark.parametrize("left", [1, 4, 11, 12, 40])
def test_a_reply_that_ends_inside_a_frame_is_incomplete(left):
    """It says that it ended in the middle of an event, and by which rule of the framing."""
    data = b"".join(GOOD[:12]) + GOOD[12][:left]
    intake, _ = taken_in(Pieces(data))
    assert type(intake.error) is IncompleteStreamError
    assert isinstance(intake.error.__cause__, FrameError)
    assert (intake.recording.status, len(intake.recording)) == ("incomplete", 13)


def test_a_body_without_any_byte_asks_whether_it_was_read_before():
    """One of botocore's that was consumed already looks just like this; bytes cannot be read twice."""
    for clock, said in (("parsed", "read before?"), ("wire", "Ask again.")):
        intake = intake_of(Pieces())
        intake.recording.clock = clock
        assert [type(event) for event in intake.advance()] == [StreamFault]
        assert said in str(intake.error)


# -- odd and damaged bodies ------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES["cases"], ids=lambda case: case["name"])
def test_each_case_is_taken_as_an_honest_client_must(case):
    """Sound bodies give all; others raise, keep what had come, and let no tool run on doubtful input."""
    expect = case["expect"]
    hangs = AssertionError("it waits for bytes that never come")
    intake, events = taken_in(Pieces(bytes_of(case), then=hangs if case["ends"] == "hangs" else None))
    assert intake.error is None or intake.error.__cause__ is not hangs
    if expect["need"] == "ok":
        assert (intake.recording.status, intake.error) == ("complete", None)
    if expect["need"] == "error":
        assert isinstance(intake.error, StreamError)
        assert events[-1] == StreamFault(intake.error)
        assert expect["code"] in str(intake.error)
    assert (intake.recording.status == "complete") == (intake.error is None)
    message = intake.fold.snapshot
    if expect["need"] != "either":
        assert message.text == expect["text"]
        assert message.reasoning == expect["reasoning"]
        assert intake.fold.stop_reason == expect["stop"]
        assert bool(intake.fold.usage) == expect["usage"]
    runs = [event.input for event in events if isinstance(event, ToolUse)]
    if expect["tool"] is not None:
        assert runs == [expect["tool"]]
    elif expect["need"] == "error":
        assert runs == []


@pytest.mark.parametrize("broken", ["checksum", "payload"])
def test_events_before_damage_in_the_same_read_are_kept(broken):
    """Damage takes with it nothing that came whole before it."""
    bad = bytearray(GOOD[8])
    bad[-1] ^= 0xFF
    payload = encode(Frame({":message-type": "event", ":event-type": "messageStop"}, b"[]"))
    damage = bytes(bad) if broken == "checksum" else payload
    intake, events = taken_in(Pieces(b"".join(GOOD[:8]) + damage + b"".join(GOOD[9:])))
    assert type(intake.error) is (FrameError if broken == "checksum" else PayloadError)
    assert intake.recording.status == "error"
    assert len(events) == 9
    assert intake.fold.snapshot.text == "Hello"


def test_an_exception_frame_is_the_last_event():
    """The service's own word ends the reply; it is recorded once, with the size of its frame."""
    fault = service_fault("throttlingException", "Slow down.")
    frames = frames_of([MessageStart("assistant"), TextDelta(0, "a"), StreamFault(fault), TextDelta(0, "b")])
    intake, events = taken_in(Pieces(b"".join(frames)))
    assert events == [MessageStart("assistant"), TextDelta(0, "a"), StreamFault(intake.error)]
    assert list(intake.recording.sizes) == [len(frame) for frame in frames[:3]]
    assert type(intake.error) is ThrottlingFault
    assert (intake.error.code, intake.error.message) == (fault.code, fault.message)
    assert "1 character " in intake.error.kept


def test_tool_input_that_was_cut_is_an_error_and_never_a_tool_use():
    """A model that asks for a tool with half a JSON object must not be obeyed."""
    frames = frames_of(
        [
            MessageStart("assistant"),
            ToolUseStart(0, "id", "pay"),
            ToolInputDelta(0, '{"amount": 1'),
            BlockStop(0),
            MessageStop("tool_use"),
            Metadata({"outputTokens": 3}),
        ]
    )
    intake, events = taken_in(Pieces(*frames))
    assert type(intake.error) is PayloadError
    assert "pay" in str(intake.error)
    assert not any(isinstance(event, ToolUse | MessageComplete) for event in events)
    assert intake.fold.snapshot.content == (ToolUseBlock("id", "pay", None, '{"amount": 1'),)


# -- errors on the way -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raised", "ours", "theirs", "status"),
    [
        (ConnectionResetError(104, "reset"), ConnectionLost, urllib3.exceptions.ProtocolError, "incomplete"),
        (http.client.IncompleteRead(b""), ConnectionLost, urllib3.exceptions.ProtocolError, "incomplete"),
        (
            urllib3.exceptions.ProtocolError("broken"),
            ConnectionLost,
            urllib3.exceptions.ProtocolError,
            "incomplete",
        ),
        (TimeoutError("timed out"), StreamStalled, urllib3.exceptions.ReadTimeoutError, "incomplete"),
        (
            urllib3.exceptions.ReadTimeoutError(None, "/", "late"),  # type: ignore[arg-type]
            StreamStalled,
            urllib3.exceptions.ReadTimeoutError,
            "incomplete",
        ),
        (
            botocore.exceptions.ReadTimeoutError(endpoint_url="http://x"),
            StreamStalled,
            urllib3.exceptions.ReadTimeoutError,
            "incomplete",
        ),
        (
            botocore.exceptions.ConnectionClosedError(endpoint_url="http://x"),
            ConnectionLost,
            urllib3.exceptions.ProtocolError,
            "incomplete",
        ),
        (
            botocore.eventstream.ChecksumMismatch(1, 2),
            FrameError,
            botocore.eventstream.ParserError,
            "error",
        ),
        (
            botocore.exceptions.EventStreamError(
                {"Error": {"Code": "validationException", "Message": "no"}}, "ConverseStream"
            ),
            errors.ValidationFault,
            botocore.exceptions.EventStreamError,
            "error",
        ),
        (
            botocore.exceptions.EventStreamError({}, "ConverseStream"),
            UnmodelledFault,
            botocore.exceptions.EventStreamError,
            "error",
        ),
        (ZeroDivisionError("odd"), StreamError, errors.BedrockNbError, "error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_what_breaks_the_way_becomes_an_error_of_ours(raised, ours, theirs, status):
    """It has the class that was caught for it so far, the cause, and a sentence on what is kept."""
    body = Pieces(*GOOD[:9], then=raised)
    intake, events = taken_in(body)
    assert type(intake.error) is ours
    assert isinstance(intake.error, theirs)
    assert intake.error.original is raised
    # boto3's text of what the service said holds account numbers: it is not shown.
    hidden = isinstance(raised, botocore.exceptions.ClientError)
    assert intake.error.__cause__ is (None if hidden else raised)
    assert "9 events" in intake.error.kept
    assert (intake.recording.status, body.closed) == (status, 1)
    assert events[-1] == StreamFault(intake.error)
    assert all(a <= b for a, b in pairwise(intake.recording.times))


def test_an_error_of_ours_stays_itself():
    """Nothing wraps what is of the tree already."""
    error = PayloadError("so")
    assert as_our_error(error) is error


def test_an_interrupt_goes_on_up_and_keeps_what_came():
    """KeyboardInterrupt is nobody's to swallow: the reply is cancelled, its connection closed."""
    body = Pieces(*GOOD[:9], then=KeyboardInterrupt())
    intake = intake_of(body)
    for _ in range(9):
        intake.advance()
    with pytest.raises(KeyboardInterrupt):
        intake.advance()
    assert (intake.done, intake.recording.status, body.closed) == (True, "cancelled", 1)
    assert (intake.error, len(intake.recording)) == (None, 9)


@pytest.mark.parametrize("then", [None, ConnectionResetError(104, "reset")], ids=["end", "error"])
def test_a_reply_that_was_cancelled_has_no_error(then):
    """However the read ends that a cancellation ended, it is a cancellation."""
    body = Pieces(*GOOD[:5], then=then)
    intake = intake_of(body)
    intake.advance()
    intake.cancelled = True
    while not intake.done:
        intake.advance()
    assert (intake.recording.status, intake.error, body.closed) == ("cancelled", None, 1)
    assert not any(isinstance(event, StreamFault) for event in intake.recording)


def test_an_end_is_final():
    """What comes after the end changes neither status nor error, and closes nothing twice."""
    body = Pieces()
    intake, _ = taken_in(body)
    error = intake.error
    intake.finish("complete")
    assert intake.advance() == []
    assert (intake.recording.status, intake.error, body.closed) == ("incomplete", error, 1)


def test_an_intake_that_nobody_holds_is_closed_at_once():
    """No collector is needed: it is in no cycle; its recording says that it was broken off."""
    body = Pieces(*GOOD)
    intake = intake_of(body)
    intake.advance()
    recording = intake.recording
    del intake
    assert (body.closed, recording.status, recording.marks) == (1, "cancelled", {"closed": 1.0})


def test_an_error_is_raised_each_time_as_if_for_the_first():
    """Its traceback does not grow from view to view."""
    intake, _ = taken_in(Pieces())
    lengths = []
    for _ in range(3):
        with pytest.raises(IncompleteStreamError) as caught:
            intake.check()
        assert caught.value is intake.error
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


# -- botocore's dicts ------------------------------------------------------------------------------


def test_parsed_dicts_become_the_same_events():
    """Where no bytes are to be had, botocore's dicts do: each a read of its own, blobs as bytes."""
    dicts = [
        {"messageStart": {"role": "assistant"}},
        {
            "contentBlockDelta": {
                "contentBlockIndex": 0,
                "delta": {"reasoningContent": {"redactedContent": b"\0\xff"}},
            }
        },
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"SDK_UNKNOWN_MEMBER": {"name": "novelty"}},
    ]
    recording = Recording(clock="parsed")
    ticks = iter(range(100))
    intake = Intake(recording, parsed_arrivals(dicts, lambda: float(next(ticks))), lambda: None, lambda: 99.0)
    while not intake.done:
        intake.advance()
    assert list(recording) == [
        MessageStart("assistant"),
        RedactedReasoning(0, b"\0\xff"),
        BlockStop(0),
        MessageStop("end_turn"),
        Unknown("SDK_UNKNOWN_MEMBER", {"name": "novelty"}),
    ]
    assert list(recording.reads) == [1, 2, 3, 4, 5]
    assert list(recording.times) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert recording.status == "complete"
