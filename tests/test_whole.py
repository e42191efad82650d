"""whole.py and the plain call: the same reply as a stream's, whose answer comes at one time."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb import errors, models, tap
from bedrock_nb.asked import Keeping
from bedrock_nb.assembly import fold
from bedrock_nb.calling import Calling
from bedrock_nb.connection import SETUP
from bedrock_nb.events import (
    BlockStop,
    ImageDelta,
    ImageStart,
    MessageStart,
    MessageStop,
    Metadata,
    RedactedReasoning,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.message import ToolUseBlock
from bedrock_nb.plot.data.parts import dissect
from bedrock_nb.reply import Reply
from bedrock_nb.server import BedrockServer, Latency
from bedrock_nb.whole import events_of, jsonable, streams
from bedrock_nb.wire import from_wire, to_wire
from tests.messages import JSON_OBJECT, MESSAGES
from tests.wire_server import Answer, answer, ask, frames_of, refusal

TOOL: dict[str, Any] = {
    "name": "get_weather",
    "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
USAGE = {"inputTokens": 3, "outputTokens": 5, "totalTokens": 8}


def answer_of(*blocks: Any, stop: str | None = "end_turn", **members: Any) -> dict[str, Any]:
    """The JSON of Converse's response."""
    body = {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": stop}
    return {**body, "usage": USAGE, "metrics": {"latencyMs": 7}, **members}


def body_of(whole: Any) -> bytes:
    """It as a head and a body of HTTP."""
    body = json.dumps(whole).encode()
    head = b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: r-1\r\nContent-Length: %d\r\n\r\n"
    return head % len(body) + body


HELLO = body_of(answer_of({"text": "Hello"}))


@pytest.fixture(scope="module")
def embedded() -> Iterator[Any]:
    """A client of the embedded server, which answers at once."""
    with BedrockServer(latency=Latency.none()) as server:
        client = server.client()
        yield client
        client.close()


# -- both ways -------------------------------------------------------------------------------------

ASKS: dict[str, dict[str, Any]] = {
    "text": {"prompt": "Tell me about rainbows"},
    "cut": {"prompt": "Tell me about rainbows", "max_tokens": 5},
    "stop": {"prompt": "Count from 1 to 20", "stop": ["7"]},
    "tool": {"prompt": "What is the weather in Paris?", "tools": [{"toolSpec": TOOL}]},
    "reasoning": {
        "prompt": "Count from 1 to 5",
        "model": "us.anthropic.claude-sonnet-4-20250514-v1:0",
        "max_tokens": 4096,
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    },
    "schema": {
        "prompt": "Describe a cat",
        "model": "acme.other-v1:0",
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {
                    "jsonSchema": {"schema": json.dumps(TOOL["inputSchema"]["json"]), "name": "cat"}
                },
            }
        },
    },
    "guardrail": {
        "prompt": "Tell me about rainbows",
        "guardrailConfig": {
            "guardrailIdentifier": "embeddedwords",
            "guardrailVersion": "1",
            "trace": "enabled",
            "streamProcessingMode": "sync",
        },
    },
    "fast": {"prompt": "Hello", "model": "acme.other-v1:0", "performanceConfig": {"latency": "optimized"}},
}


@pytest.mark.parametrize("asked", ASKS.values(), ids=ASKS.keys())
def test_the_same_answer_both_ways(embedded, asked):
    """Text, reasoning, tools, numbers and settings are those of the stream, and no rule is broken."""
    plain, streamed = (nb.stream(embedded, **asked, streaming=way).drain() for way in (False, True))
    assert (plain.text, plain.usage, plain.stop_reason) == (
        streamed.text,
        streamed.usage,
        streamed.stop_reason,
    )
    assert plain.message.reasoning == streamed.message.reasoning
    tools = [[(tool.name, tool.input) for tool in reply.message.tool_uses] for reply in (plain, streamed)]
    assert tools[0] == tools[1]
    closing, expected = plain.recording.metadata, streamed.recording.metadata
    for member in ("performance_config", "service_tier"):
        assert getattr(closing, member) == getattr(expected, member)
    assert (closing.trace is None) == (expected.trace is None)
    assert closing.latency_ms is not None
    assert plain.problems == streamed.problems == []
    assert (plain.status, plain.recording.operation) == ("complete", "Converse")
    assert streamed.recording.operation == "ConverseStream"


@pytest.mark.parametrize("how", [{}, {"background": True}, {"record": False}], ids=str)
def test_every_way_to_read_it(wire, client, how):
    """In the background and without a recording it is a reply like any other."""
    wire.lay(Answer([HELLO]))
    reply = nb.stream(client, "hi", streaming=False, **how)
    assert "".join(reply.text_stream) == "Hello"
    assert (reply.usage, reply.stop_reason, reply.status) == (USAGE, "end_turn", "complete")
    assert wire.requests[0].startswith(b"POST /model/us.amazon.nova-lite-v1%3A0/converse HTTP")


def test_what_is_recorded_of_it(wire, client, tmp_path, recordings):
    """Moments of the wire, one time for all events, no pace; the journal and a saved file say the same."""
    wire.lay(Answer([HELLO]))
    reply = nb.stream(client, "hi", streaming=False, journal=tmp_path / "journal.jsonl").drain()
    recording = reply.recording
    assert list(recordings) == [recording]
    marks, (t, *others) = recording.marks, sorted(set(recording.times))
    assert (recording.clock, others, set(recording.reads)) == ("wire", [], {1})
    assert 0 < marks["sent"] < marks["headers"] <= t <= marks["closed"]
    assert reply.envelope["operation"] == "Converse"
    assert (reply.envelope["request_id"], reply.envelope["http_status"]) == ("r-1", 200)
    numbers = reply.metrics
    assert {numbers[name] for name in ("t_first_event_s", "ttft_s", "ttfvt_s", "ttlt_s", "e2e_s")} == {t}
    assert numbers["e2e_tps"] == pytest.approx(5 / t)
    for name in ("tpot_s", "gap_p50_s", "gap_p99_s", "output_tps"):
        assert numbers[name] is None
    assert nb.events(reply).gap_s.isna().all()
    for path in (reply.journal, recording.save(tmp_path / "saved.jsonl")):
        loaded = nb.Recording.load(path)
        assert (list(loaded), loaded.envelope, loaded.clock) == (list(recording), reply.envelope, "wire")
        assert nb.metrics.measure(loaded)["tpot_s"] is None


def test_a_picture_of_it_claims_no_pace(wire, client):
    """One moment for the whole answer, one length, no gap; all of it said in words."""
    wire.lay(Answer([body_of(answer_of({"text": "Hello"}, {"text": "again"}))]))
    parts = dissect(nb.stream(client, "hi", streaming=False).drain().recording)
    assert [mark.name for mark in parts.marks] == ["request", "sent", "headers", "whole answer"]
    assert [(span.name, span.end) for span in parts.spans] == [("ttlt", parts.end)]
    assert "plain call" in parts.title
    assert parts.summary.startswith("2 blocks, 10 characters, 5 output tokens")
    assert "nothing in the answer has a time of its own" in parts.notes[0]


def test_the_audit_names_the_operation(wire, client, caplog):
    """Its line is that of a plain call, with times and tokens."""
    wire.lay(Answer([HELLO]), refusal(429, "ThrottlingException", "Slow down."))
    with caplog.at_level(logging.INFO, "bedrock_nb.audit"):
        nb.stream(client, "hi", streaming=False).drain()
        with pytest.raises(errors.ThrottlingError):
            nb.stream(client, "hi", streaming=False)
    lines = [json.loads(record.message) for record in caplog.records]
    assert [line["operation"] for line in lines] == ["Converse", "Converse"]
    assert [line["status"] for line in lines] == ["complete", "error"]
    assert (lines[0]["output_tokens"], lines[0]["request_id"]) == (5, "r-1")


def test_a_stub_has_no_wire(embedded):
    """What botocore's Stubber gives is read as well; the recording says whose times these are."""
    image = {"image": {"format": "png", "source": {"bytes": b"\x89P"}}}
    with Stubber(embedded) as stub:
        stub.add_response("converse", answer_of(image))
        reply = nb.stream(embedded, "hi", streaming=False).drain()
    assert (reply.recording.clock, "headers" in reply.recording.marks) == ("parsed", False)
    assert list(reply.recording)[:4] == [
        MessageStart("assistant"),
        ImageStart(0, "png"),
        ImageDelta(0, {"bytes": b"\x89P"}),
        BlockStop(0),
    ]


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code"), [(400, "ValidationException"), (429, "ThrottlingException"), (418, "TeapotException")]
)
def test_a_refusal_is_that_of_a_stream(wire, client, recordings, status, code):
    """The same class, caught as boto3's, and the same recording; `retries` repeat no refusal."""
    caught = []
    for way in (True, False):
        wire.lay(refusal(status, code, "Because."))
        with pytest.raises(errors.RefusedError) as each:
            nb.stream(client, "hi", streaming=way, retries=3)
        caught.append(each.value)
    assert type(caught[0]) is type(caught[1])
    assert [error.operation_name for error in caught] == ["ConverseStream", "Converse"]
    assert [error.message for error in caught] == ["Because."] * 2
    assert len(wire.requests) == 2
    streamed, plain = recordings
    assert list(plain) == list(streamed)
    assert isinstance(plain.event(-1), StreamFault)
    assert (plain.status, plain.operation) == ("error", "Converse")
    open_by_then = [name for name in streamed.marks if name not in SETUP]
    assert list(plain.marks) == open_by_then


@pytest.mark.parametrize(
    ("laid", "kind"),
    [
        (Answer([b"HTTP/1.1 2"], "fin"), errors.ConnectionLost),
        (Answer([HELLO[:-9]], "reset"), errors.StreamError),
        (Answer([body_of({"usage": USAGE})]), errors.PayloadError),
        (Answer([body_of(answer_of({"text": "Hello"}, stop=None))]), errors.IncompleteStreamError),
        (
            Answer(
                [
                    body_of(
                        answer_of({"toolUse": {"toolUseId": "t", "name": "f", "input": [1]}}, stop="tool_use")
                    )
                ]
            ),
            errors.PayloadError,
        ),
    ],
    ids=["cut head", "cut body", "no message", "no stop reason", "no object as input"],
)
def test_an_answer_that_is_not_sound(wire, client, laid, kind):
    """It never looks like a whole one."""
    wire.lay(laid)
    with pytest.raises(kind) as caught:
        nb.stream(client, "hi", streaming=False).drain()
    assert caught.value.reply.status in ("incomplete", "error")


@pytest.mark.parametrize(
    "before",
    [b"", HELLO[:-9], HELLO[:-9].replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")],
    ids=["the head", "the end of the body", "the end of a last body"],
)
def test_cancel_does_not_wait_for_the_answer(wire, client, before):
    """Whatever has come of it: the reply has ended at once, and its connection is closed."""
    wire.lay(Answer([before], "silence"))
    calling = Calling(client, ask(), streaming=False)
    reply = Reply.from_source(calling, Keeping(background=True))
    while not (wire.requests and (calling.call.serving.head or not before)):
        time.sleep(0.001)  # until the client waits for what never comes
    reply.cancel()
    assert (reply.drain().status, len(reply.recording)) == ("cancelled", 0)
    assert reply.recording.operation == "Converse"
    assert wire.wait_until_open(0)


@pytest.mark.parametrize(
    ("limit", "kind"),
    [("first_event_timeout", errors.FirstEventTimeout), ("total_timeout", errors.TotalTimeout)],
)
def test_limits_are_those_of_the_whole_answer(wire, client, limit, kind):
    """The first event of a plain call is all of it: half of an answer in time is none."""
    wire.lay(Answer([HELLO[:-9]], "silence"))
    with pytest.raises(kind) as caught:
        nb.stream(client, "hi", streaming=False, **{limit: 0.05})
    assert caught.value.limit_s == 0.05
    assert caught.value.reply.status == "incomplete"
    assert wire.wait_until_open(0)


def test_an_answer_that_is_there_is_never_late(wire):
    """However long nobody looks at it."""
    now = [0.0]
    client = nb.server.loopback_client(wire.url, config=Config(retries={"total_max_attempts": 1}))
    tap.install(client, clock=lambda: now[0])
    wire.lay(Answer([HELLO]))
    reply = nb.stream(client, "hi", streaming=False, total_timeout=5, idle_timeout=5)
    now[0] = 1e6
    assert reply.text == "Hello"
    assert set(reply.recording.times) == {0.0}
    client.close()


def test_a_plain_call_is_taken_up_by_a_plain_call(wire, client):
    """A model that does not stream does not stream when it is asked again."""
    wire.lay(Answer([HELLO[:-9]], "fin"), Answer([HELLO]))
    with pytest.raises(errors.StreamError) as caught:
        nb.stream(client, "hi", streaming=False)
    again = caught.value.reply.resume(client).drain()
    assert (again.text, again.recording.operation) == ("Hello", "Converse")
    assert all(b"/converse HTTP" in request for request in wire.requests)


def test_other_plain_calls_are_left_as_they_are(wire, watched, recordings):
    """A watched client records what it streams and nothing of `converse`."""
    wire.lay(Answer([HELLO]))
    assert watched.converse(**ask())["stopReason"] == "end_turn"
    wire.lay(answer(frames_of([MessageStart("assistant"), MessageStop("end_turn")])))
    list(watched.converse_stream(**ask())["stream"])
    assert [recording.operation for recording in recordings] == ["ConverseStream"]


# -- which way -------------------------------------------------------------------------------------


@pytest.fixture
def learned() -> Iterator[None]:
    """Two models that are known not to stream, and what was known before afterwards."""
    models.learn("acme.whole-v1:0", streaming=False)
    models.learn("acme.words-v1:0", streaming=True, streaming_tools=False)
    yield
    models.forget()


@pytest.mark.parametrize(
    ("model", "tools", "streaming", "way"),
    [
        ("acme.whole-v1:0", False, None, False),
        ("acme.words-v1:0", False, None, True),
        ("acme.words-v1:0", True, None, False),
        ("acme.words-v1:0", False, True, True),
        ("acme.other-v1:0", True, None, True),
        ("acme.other-v1:0", True, True, True),
        ("acme.other-v1:0", False, False, False),
    ],
)
def test_the_way_that_is_taken(embedded, learned, model, tools, streaming, way):
    """What is asked for; else what the model can, and a model that nobody knows can stream."""
    offered = {"tools": [{"toolSpec": TOOL}]} if tools else {}
    reply = nb.stream(embedded, "Count from 1 to 3", model=model, streaming=streaming, **offered)
    assert (reply.text, reply.recording.whole) == ("1, 2, 3.", not way)


@pytest.mark.parametrize(
    ("model", "tools"), [("acme.whole-v1:0", []), ("acme.words-v1:0", [{"toolSpec": TOOL}])]
)
def test_a_stream_that_cannot_be_is_refused_before_it_is_sent(
    wire, client, learned, recordings, model, tools
):
    """With the error of the capabilities; nothing is recorded."""
    with pytest.raises(errors.CapabilityError, match="acme"):
        nb.stream(client, "hi", model=model, tools=tools, streaming=True)
    assert (wire.requests, len(recordings)) == ([], 0)


def test_streaming_is_yes_no_or_nothing():
    """Anything else is an error that says what may be given."""
    with pytest.raises(errors.RequestError, match="None does what the model can"):
        streams({"modelId": "m"}, "no")


# -- a whole answer as events ----------------------------------------------------------------------


@given(MESSAGES)
def test_an_answer_says_what_its_message_says(message):
    """The events add up to the message; what they cannot say is kept beside."""
    content = message.to_dict()["content"]
    events = events_of(jsonable(answer_of(*content)))
    unknown = [event.payload["contentBlockIndex"] for event in events if isinstance(event, Unknown)]
    assert fold(events).to_dict()["content"] == [
        block for index, block in enumerate(content) if index not in unknown
    ]
    assert not unknown


_NAMES = (
    *("text", "reasoningContent", "reasoningText", "redactedContent", "signature", "toolUse", "toolUseId"),
    *("name", "input", "toolResult", "content", "image", "format", "source", "citationsContent", "citations"),
    *("video", "role"),
)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(_NAMES),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(
    st.lists(JUNK, max_size=3), st.dictionaries(st.sampled_from(["trace", "usage", "new"]), JUNK, max_size=2)
)
def test_junk_is_kept_or_refused(blocks, members):
    """Whatever JSON a service sends: events that a file can hold, or our error; no block goes unseen."""
    try:
        events = events_of(answer_of(*blocks, **members))
    except errors.PayloadError:
        return
    seen = {getattr(event, "index", None) for event in events}
    seen |= {event.payload.get("contentBlockIndex") for event in events if isinstance(event, Unknown)}
    assert set(range(len(blocks))) <= seen
    for event in events:
        wire, payload = to_wire(event)
        assert from_wire(wire, json.loads(json.dumps(payload)))[0] == event


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (
            {"video": {"format": "mp4"}},
            [Unknown("contentBlock", {"contentBlockIndex": 0, "video": {"format": "mp4"}})],
        ),
        ("odd", [Unknown("contentBlock", {"contentBlockIndex": 0, "block": "odd"})]),
        (
            {"text": "a", "new": 1},
            [
                TextDelta(0, "a"),
                Unknown("contentBlockDelta+", {"contentBlockIndex": 0, "delta": {"new": 1}}),
                BlockStop(0),
            ],
        ),
        (
            {"toolUse": {"toolUseId": "t", "name": "f", "input": {"invalid_json": "{"}, "new": 1}},
            [
                ToolUseStart(0, "t", "f"),
                Unknown("contentBlockStart+", {"contentBlockIndex": 0, "start": {"toolUse": {"new": 1}}}),
                ToolInputDelta(0, '{"invalid_json": "{"}'),
                BlockStop(0),
            ],
        ),
        ({"reasoningContent": {"redactedContent": "AAE="}}, [RedactedReasoning(0, b"\0\1"), BlockStop(0)]),
    ],
    ids=["video", "no object", "new member", "tool", "redacted"],
)
def test_nothing_of_a_block_is_lost(block, expected):
    """What no stream can bring, or nobody knows yet, stands beside what is known."""
    assert events_of(answer_of(block))[1:-2] == expected


def test_nothing_of_the_end_is_lost():
    """Members of the answer are where a stream has them; new ones are kept beside."""
    *_, stop, closing, new = events_of(
        answer_of(
            additionalModelResponseFields={"a": 1},
            trace={"guardrail": {}},
            serviceTier={"type": "flex"},
            new=2,
        )
    )
    assert stop == MessageStop("end_turn", {"a": 1})
    assert closing == Metadata(USAGE, 7, {"guardrail": {}}, None, {"type": "flex"})
    assert new == Unknown("metadata+", {"new": 2})


@given(JSON_OBJECT)
def test_the_input_of_a_tool_is_what_came(value):
    """Also one that looks like the sign for broken input."""
    for input in (value, {"invalid_json": "{"}):
        (tool,) = fold(
            events_of(answer_of({"toolUse": {"toolUseId": "t", "name": "f", "input": input}}))
        ).content
        assert isinstance(tool, ToolUseBlock)
        assert tool.input == input
