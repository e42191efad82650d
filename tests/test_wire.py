"""wire.py: frames and JSON to events and back; botocore as a second opinion; the unknown and the broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import EventStreamError
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.errors import PayloadError, RequestError, StreamError, UnmodelledFault, service_fault
from bedrock_nb.events import (
    BlockStop,
    ImageDelta,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    RedactedReasoning,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolUse,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.eventstream import Frame, FrameDecoder, Long, encode
from bedrock_nb.message import Message
from bedrock_nb.wire import from_frame, from_wire, to_botocore, to_frame, to_wire
from tests.converse_model import (
    BLOB,
    EVENTS,
    EXCEPTIONS,
    SAMPLE_IDS,
    SAMPLES,
    STREAM,
    by_botocore,
    members,
    samples,
)


def frame(payload, wire="contentBlockDelta", **headers):
    """A frame as Bedrock sends it; the payload is JSON text, bytes, or something to make JSON of."""
    if not isinstance(payload, bytes):
        payload = json.dumps(payload).encode("ascii")
    named = {":event-type": wire, ":content-type": "application/json", ":message-type": "event"}
    named |= {f":{name.replace('_', '-')}": value for name, value in headers.items()}
    return Frame({name: value for name, value in named.items() if value is not None}, payload)


def delta(members, **more):
    """The payload of a delta for block 1."""
    return {"contentBlockIndex": 1, "delta": members, **more}


def text(value):
    """The payload of a text delta for block 1."""
    return delta({"text": value})


def error_of(given) -> Any:
    """The error that a frame brings."""
    (fault,) = from_frame(given)
    assert isinstance(fault, StreamFault)
    return fault.error


# -- botocore as a second opinion ------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["", "abcdefgh"])
@pytest.mark.parametrize(("wire", "payload"), SAMPLES, ids=SAMPLE_IDS)
def test_botocore_reads_what_we_write_as_we_read_it(wire, payload, padding):
    """For every member of the model, boto3's dict for our bytes is `to_botocore` of our event."""
    (event,) = from_wire(wire, payload)
    data = encode(to_frame(event, padding))
    assert by_botocore(data) == [to_botocore(event)]
    (again,) = FrameDecoder().receive_data(data)
    assert from_frame(again) == (event,)


@pytest.mark.parametrize("event", [RedactedReasoning(0, BLOB), ImageDelta(0, {"bytes": BLOB})])
def test_blobs_are_bytes(event):
    """Base64 is of the wire only: events and boto3's dicts hold bytes, JSON holds text."""
    wire, payload = to_wire(event)
    assert from_wire(wire, json.loads(json.dumps(payload))) == (event,)
    assert repr(BLOB) in repr(to_botocore(event))


@pytest.mark.parametrize("wire", EXCEPTIONS)
def test_botocore_raises_for_our_exception_frames(wire):
    """Code and message are botocore's; the fields that it drops are still there."""
    (payload,) = samples(STREAM.members[wire])
    (fault,) = from_wire(wire, payload)
    data = encode(to_frame(fault, "abc"))
    with pytest.raises(EventStreamError) as caught:
        by_botocore(data)
    (received,) = FrameDecoder().receive_data(data)
    assert from_frame(received) == (fault,)
    error = error_of(received)
    assert error.response["Error"] == caught.value.response["Error"]
    assert {"message": error.message, **error.fields} == payload
    with pytest.raises(EventStreamError):
        raise error


# -- frames that are no events ---------------------------------------------------------------------


def exception(payload, name="newException"):
    """An exception frame."""
    return frame(payload, None, message_type="exception", exception_type=name)


@pytest.mark.parametrize(
    ("given", "code", "message", "fields"),
    [
        (exception({"message": "m", "p": "ab"}), "newException", "m", {}),
        (exception({"Message": "m", "code": 5}), "newException", "m", {"code": 5}),
        (exception({"message": None}), "newException", "", {}),
        (exception(b"<html>\xff"), "newException", "<html>\ufffd", {}),
        (exception([1]), "newException", "[1]", {}),
        (exception({"message": "m"}, None), "", "m", {}),
        (frame(b"", None, message_type="error", error_code="Failure", error_message="m"), "Failure", "m", {}),
        (frame(b"", None, message_type="error"), "", "", {}),
    ],
)
def test_exceptions_that_no_model_names(given, code, message, fields):
    """An exception or error frame ends the reply with its name, its words and its fields, whatever it is."""
    error = error_of(given)
    assert type(error) is UnmodelledFault
    assert (error.code, error.message, error.fields) == (code, message, fields)
    fault = StreamFault(error)
    assert from_wire(*to_wire(fault)) == (fault,)
    assert error_of(to_frame(fault)).fields == fields
    assert error_of(to_frame(fault)).code == code


def test_an_error_of_ours_is_sent_as_the_services_own():
    """A server that cannot go on says so in a frame that boto3 understands."""
    fault = StreamFault(StreamError("It broke."))
    with pytest.raises(EventStreamError, match=r"\(internalServerException\).*It broke\."):
        by_botocore(encode(to_frame(fault)))
    assert from_wire(*to_wire(fault)) == (fault,)


# -- the unknown -----------------------------------------------------------------------------------

NEW: dict = {"hologram": {"x": 1, "none": None, "empty": {}}}
START, MORE, STOP, END = "contentBlockStart", "contentBlockDelta+", "contentBlockStop", "messageStop"


def left(wire="contentBlockDelta", **members):
    """What is handed on of an event of block 1."""
    return Unknown(wire, {"contentBlockIndex": 1, **members})


def dream(payload):
    """What is handed on of a frame whose message type nobody knows."""
    headers = {":event-type": "contentBlockDelta", ":content-type": "application/json"}
    return Unknown("dream", {"headers": headers | {":message-type": "dream", ":x": 5}, "payload": payload})


@pytest.mark.parametrize(
    ("given", "events"),
    [
        # event types
        (frame({"glitter": True}, "sparkle"), [Unknown("sparkle", {"glitter": True})]),
        (frame([1, None], "sparkle"), [Unknown("sparkle", [1, None])]),
        (frame(b"", "ping"), [Unknown("ping", "")]),
        (frame(b"\xffnot JSON", "blob"), [Unknown("blob", "\ufffdnot JSON")]),
        # members beside known ones, and in their place
        (frame(delta({"text": "a"}, new=5)), [TextDelta(1, "a"), left(MORE, new=5)]),
        (frame(delta({"text": "a", **NEW})), [TextDelta(1, "a"), left(MORE, delta=NEW)]),
        (frame(delta(NEW)), [left(delta=NEW)]),
        (frame(delta({"hologram": {}})), [left(delta={"hologram": {}})]),
        (
            frame(delta({"toolUse": {"input": "{", "new": 0}})),
            [ToolInputDelta(1, "{"), left(MORE, delta={"toolUse": {"new": 0}})],
        ),
        (frame(delta({"image": {"new": 0}})), [left(delta={"image": {"new": 0}})]),
        (frame(delta({"image": {}})), [ImageDelta(1)]),
        (frame({"contentBlockIndex": 1, "start": NEW}, START), [left(START, start=NEW)]),
        (frame({"contentBlockIndex": 1, "why": "x"}, STOP), [BlockStop(1), left(STOP + "+", why="x")]),
        (
            frame({"usage": {"new": 1}, "metrics": {"ttftMs": 2}}, "metadata"),
            [Metadata({"new": 1}), Unknown("metadata+", {"metrics": {"ttftMs": 2}})],
        ),
        # values
        (frame({"stopReason": "cosmic_ray"}, END), [MessageStop("cosmic_ray")]),
        (frame({"role": "oracle"}, "messageStart"), [MessageStart("oracle")]),
        (frame(text("\ud83d")), [TextDelta(1, "\ud83d")]),
        (
            frame({"stopReason": "end_turn", "additionalModelResponseFields": {"a": None}}, END),
            [MessageStop("end_turn", {"a": None})],
        ),
        # message types and headers
        (frame(text("a"), message_type="dream", x=Long(5)), [dream(text("a"))]),
        (frame(b"\xff", message_type="dream", x=Long(5)), [dream("\ufffd")]),
        (frame(text("a"), content_type=None, extra=True), [TextDelta(1, "a")]),
    ],
)
def test_what_is_unknown_is_kept(given, events):
    """Nothing that Bedrock may add tomorrow is lost or an error, and a file gives it back."""
    assert list(from_frame(given)) == events
    for event in events:
        wire, payload = to_wire(event)
        assert from_wire(wire, json.loads(json.dumps(payload))) == (event,)
        to_frame(event, "padding")


# -- broken payloads -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (frame(b""), "not JSON"),
        (frame(b'{"contentBlockIndex":1,"delta":{"text":"oops'), "not JSON"),
        (frame(b'{"contentBlockIndex":1,"delta":{"text":NaN}}'), "not JSON"),
        (frame(b'{"contentBlockIndex":1,"delta":{"text":"\xc3("}}'), "not JSON"),
        (frame(b'{"contentBlockIndex":1,"delta":{"text":"\xed\xa0\x80"}}'), "not JSON"),
        (frame(json.dumps(text("a")).encode("utf-16")), "not JSON"),
        (frame(b'{"contentBlockIndex":1,"delta":' + b"[" * 20_000), "not JSON"),
        (frame([1, 2, 3]), "a JSON list; an object is wanted"),
        (frame(None), "a JSON NoneType; an object is wanted"),
        (frame(text(42)), "'text' is wrong: str expected, int found"),
        (frame(text(None)), "nothing in it"),
        (frame(delta(None)), "nothing in it"),
        (frame(delta({})), "nothing in it"),
        (frame(delta("a")), "'delta' is wrong: dict expected, str found"),
        (frame(delta({"toolUse": "{}"})), "'toolUse' is wrong"),
        (frame(delta({"reasoningContent": {"redactedContent": "%"}})), "'redactedContent' is wrong"),
        (frame(delta({"image": {"source": {"bytes": "a"}}})), "'source' is wrong"),
        (frame(delta({"toolResult": ["a"]})), "'toolResult' is wrong"),
        (
            frame({"contentBlockIndex": 1, "start": {"toolUse": {"name": "n"}}}, START),
            "without its toolUseId",
        ),
        (frame({"contentBlockIndex": 1, "start": {}}, START), "nothing in it"),
        (frame({"delta": {"text": "a"}}), "whole number contentBlockIndex"),
        *(
            (frame({**text("a"), "contentBlockIndex": index}), "whole number contentBlockIndex")
            for index in (-1, 2**31, 2**63, 1.0, "1", True, None)
        ),
        (frame({}, END), "nothing in it"),
        (frame({"usage": {}, "metrics": []}, "metadata"), "'metrics' is wrong"),
        (frame({"metrics": {"latencyMs": 1}}, "metadata"), "without its usage"),
        (frame({"usage": {}, "metrics": {"latencyMs": 1.5}}, "metadata"), "'metrics.latencyMs' is wrong"),
        (Frame({}, json.dumps(text("X")).encode()), "without the header :message-type"),
        (frame(text("X"), None), "without the header :event-type"),
    ],
)
def test_what_is_broken_is_a_payload_error(given, said):
    """A payload that is not what its event type demands is never read as something else."""
    with pytest.raises(PayloadError, match=f"(?s).*{said}"):
        from_frame(given)


@pytest.mark.parametrize("event", [ToolUse(0, "1", "n", {}), MessageComplete(Message("assistant"))])
@pytest.mark.parametrize("write", [to_wire, to_frame, to_botocore])
def test_what_the_fold_makes_never_travels(event, write):
    """Derived events have no form on the wire, and the error says what to write instead."""
    with pytest.raises(RequestError, match=r"no form on the wire\. It is made by the fold"):
        write(event)


# -- anything at all -------------------------------------------------------------------------------

_NAMES = sorted(
    {
        step
        for path, _ in members(STREAM)
        for step in path.split(".")
        if path.count(".") < 4 and step.isalpha()
    }
    | {"p", "hologram"}
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 5) | st.sampled_from(["", "a", "QQ==", "\ud83d"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=3),
    max_leaves=8,
)
_OBJECT = st.builds(
    lambda members, index: {**members, **index},
    st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=3),
    st.sampled_from([{"contentBlockIndex": 0}, {"contentBlockIndex": 3}, {}]),
)
_WIRES = [*EVENTS, *EXCEPTIONS, "fault", "sparkle"]


@given(st.sampled_from(_WIRES), _OBJECT | _JSON)
def test_any_payload_is_read_or_refused(wire, payload):
    """Whatever comes is a PayloadError, or events that a file gives back and that make frames."""
    try:
        events = from_wire(wire, payload)
    except PayloadError:
        return
    assert events
    for event in events:
        assert from_wire(*to_wire(event)) == (event,)
        assert isinstance(to_botocore(event), dict)
        encode(to_frame(event, "p"))


@given(_OBJECT)
def test_the_short_cut_agrees_with_the_table(payload):
    """A delta frame gives what its parsed payload gives, whichever way it is read."""
    outcomes: list = []
    for read in (lambda: from_frame(frame(payload)), lambda: from_wire("contentBlockDelta", payload)):
        try:
            outcomes.append(read())
        except PayloadError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("padding", ["", "abc"])
@pytest.mark.parametrize(
    "event", [TextDelta(0, "a"), ReasoningDelta(2**31 - 1, ""), ToolInputDelta(3, '{"a": "\U0001f600')]
)
def test_usual_deltas(event, padding):
    """The three deltas that make up nearly all of a reply, with and without padding."""
    assert from_frame(to_frame(event, padding)) == (event,)


def test_a_frame_has_bedrocks_headers():
    """Event frames and exception frames carry the headers that boto3 looks at."""
    assert dict(to_frame(ToolUseStart(0, "1", "n")).headers) == {
        ":event-type": "contentBlockStart",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    fault = StreamFault(service_fault("throttlingException", "slow down"))
    assert dict(to_frame(fault).headers) == {
        ":exception-type": "throttlingException",
        ":content-type": "application/json",
        ":message-type": "exception",
    }


def test_padding_is_a_member_of_the_payload():
    """The member ``p`` varies the length of a frame; numbers beyond 64 bits do not disturb it."""
    event = ToolResultDelta(0, ({"json": {"big": 2**70}},))
    payload = json.loads(to_frame(event, "xyz").payload)
    assert payload.pop("p") == "xyz"
    assert ("contentBlockDelta", payload) == to_wire(event)


def test_botocores_dicts_are_the_readers_own():
    """Whoever changes the dict does not change what was recorded."""
    event = Metadata({"outputTokens": 1})
    to_botocore(event)["metadata"]["usage"]["outputTokens"] = 99
    assert event == Metadata({"outputTokens": 1})
