"""Each operation as another form of ConverseStream: what is read, and what the same answer looks like."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from typing import Any

import pytest

from bedrock_nb.assembly import fold
from bedrock_nb.errors import service_fault
from bedrock_nb.events import MessageStart, StreamFault, TextDelta
from bedrock_nb.eventstream import FrameDecoder
from bedrock_nb.request import Request
from bedrock_nb.server import canned, recorded
from bedrock_nb.server.guardrail import DEFAULT, Guardrail
from bedrock_nb.server.operations import OPERATIONS, Incoming, apply_guardrail, count_tokens
from bedrock_nb.server.perform import rows
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.tokens import count
from bedrock_nb.wire import from_frame

TURN = [{"role": "user", "content": [{"text": "Tell me about rainbows"}]}]
CONVERSE = {"messages": TURN, "inferenceConfig": {"maxTokens": 50}}
CLAUDE = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "Tell me about rainbows"}],
}


def incoming(body: Any, model: str = "m", **headers: str) -> Incoming:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Incoming(model, names, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_there_are_four_ways_to_ask_a_model():
    """By the last part of their path: two that stream, two that answer at once."""
    assert {path: (how.name, how.streams, how.exact) for path, how in OPERATIONS.items()} == {
        "converse": ("Converse", False, False),
        "converse-stream": ("ConverseStream", True, True),
        "invoke": ("InvokeModel", False, False),
        "invoke-with-response-stream": ("InvokeModelWithResponseStream", True, False),
    }


@pytest.mark.parametrize("path", OPERATIONS)
def test_the_same_question_is_read_the_same_from_each(path):
    """A responder cannot tell which operation it answers."""
    body = CLAUDE if path.startswith("invoke") else CONVERSE
    assert OPERATIONS[path].read(incoming(body)) == {"modelId": "m", **CONVERSE}


def test_the_same_answer_is_said_in_each():
    """Frames and bodies of all four hold the same text and the same count."""
    kwargs = {"modelId": "m", **CONVERSE}
    answer = canned(Request.from_kwargs(kwargs))
    converse = OPERATIONS["converse"].whole(answer, "m").body
    invoke = OPERATIONS["invoke"].whole(answer, "m").body
    encode = OPERATIONS["converse-stream"].frames(kwargs, None)
    wire = b"".join(frame for _, event in rows(answer) for frame in encode(event))
    events = [event for frame in FrameDecoder().receive_data(wire) for event in from_frame(frame)]
    encode = OPERATIONS["invoke-with-response-stream"].frames(kwargs, answer)
    wire = b"".join(frame for _, event in rows(answer) for frame in encode(event))
    chunks = [
        json.loads(b64decode(json.loads(frame.payload)["bytes"]))
        for frame in FrameDecoder().receive_data(wire)
    ]
    said = "".join(chunk["delta"].get("text", "") for chunk in chunks if "delta" in chunk)
    assert converse["output"]["message"]["content"] == [{"text": answer.text}]
    assert invoke["content"] == [{"type": "text", "text": answer.text}]
    assert fold(events).text == said == answer.text
    assert converse["usage"]["outputTokens"] == invoke["usage"]["output_tokens"] == 50


@pytest.mark.parametrize("path", ["converse-stream", "invoke-with-response-stream"])
def test_a_fault_is_the_same_exception_frame_in_both_streams(path):
    """In neither is it an event of the model's own format."""
    encode = OPERATIONS[path].frames({"modelId": "m", **CONVERSE}, None)
    list(encode(MessageStart("assistant")))
    (frame,) = FrameDecoder().receive_data(
        b"".join(encode(StreamFault(service_fault("throttlingException", "No."))))
    )
    assert frame.headers[":exception-type"] == "throttlingException"
    assert json.loads(frame.payload)["message"] == "No."


def test_an_answer_that_is_not_known_yet_begins_with_the_tokens_of_its_question():
    """The first chunk of the model's own format has the input count, before there is any usage."""
    kwargs = {"modelId": "m", **CONVERSE}
    frames = b"".join(
        OPERATIONS["invoke-with-response-stream"].frames(kwargs, None)(MessageStart("assistant"))
    )
    (frame,) = FrameDecoder().receive_data(frames)
    first = json.loads(b64decode(json.loads(frame.payload)["bytes"]))
    assert first["message"]["usage"]["input_tokens"] == count("Tell me about rainbows")


def test_headers_of_invoke_model_are_converse_s_members():
    """Each has its place among the arguments of ConverseStream."""
    read = OPERATIONS["invoke"].read(
        incoming(
            CLAUDE,
            **{
                "x-amzn-bedrock-guardrailidentifier": "embeddedwords",
                "x-amzn-bedrock-guardrailversion": "1",
                "x-amzn-bedrock-trace": "ENABLED_FULL",
                "x-amzn-bedrock-performanceconfig-latency": "optimized",
                "x-amzn-bedrock-service-tier": "flex",
                "x-amzn-bedrock-request-metadata": '{"course": "streams 1"}',
                "accept": "*/*",
                "content-type": "application/json",
            },
        )
    )
    assert read == {
        "modelId": "m",
        **CONVERSE,
        "guardrailConfig": {
            "guardrailIdentifier": "embeddedwords",
            "guardrailVersion": "1",
            "trace": "enabled_full",
        },
        "performanceConfig": {"latency": "optimized"},
        "serviceTier": {"type": "flex"},
        "requestMetadata": {"course": "streams 1"},
    }


@pytest.mark.parametrize(
    "settings", [{}, {"serviceTier": {"type": "flex"}}, {"performanceConfig": {"latency": "optimized"}}]
)
def test_settings_are_in_the_headers_of_a_whole_invoke_answer(settings):
    """Only those that were asked for."""
    headers = OPERATIONS["invoke"].whole(recorded(Request(prompt="?", extra=settings), "Yes."), "m").headers
    assert headers.get("X-Amzn-Bedrock-Service-Tier") == settings.get("serviceTier", {}).get("type")
    latency = settings.get("performanceConfig", {}).get("latency")
    assert headers.get("X-Amzn-Bedrock-PerformanceConfig-Latency") == latency


@pytest.mark.parametrize("path", OPERATIONS)
def test_an_answer_that_is_broken_off_is_no_whole_answer(path):
    """It ends before its message does: an internal error, in each plain operation."""
    recording = recorded(Request(prompt="?"), "Yes.")
    broken = type(recording)(recording.request)
    broken.append(MessageStart("assistant"), 0.0)
    broken.append(TextDelta(0, "Ye"), 0.0)
    with pytest.raises(Refusal) as caught:
        OPERATIONS[path].whole(broken, "m")
    assert caught.value.status == 500


# -- CountTokens -----------------------------------------------------------------------------------


def as_body(body: Any) -> str:
    return b64encode(json.dumps(body).encode()).decode()


def test_tokens_are_counted_as_they_will_be():
    """The same number that the answer's usage has, by both formats."""
    used = canned(Request.from_kwargs({"modelId": "m", **CONVERSE})).usage["inputTokens"]
    assert count_tokens(incoming({"input": {"converse": {"messages": TURN}}})) == {"inputTokens": used}
    assert count_tokens(incoming({"input": {"invokeModel": {"body": as_body(CLAUDE)}}})) == {
        "inputTokens": used
    }


def test_system_prompt_and_tools_are_counted_too():
    """All that the model reads."""
    spec = {"name": "clock", "inputSchema": {"json": {"type": "object"}}}
    system, tools = [{"text": "Be brief."}], {"tools": [{"toolSpec": spec}]}
    sizes = [
        count_tokens(incoming({"input": {"converse": {"messages": TURN, **more}}}))["inputTokens"]
        for more in ({}, {"system": system}, {"toolConfig": tools})
    ]
    assert sizes[1] == sizes[0] + count("Be brief.")
    assert sizes[2] > sizes[0]


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"converse": {}},
        {"converse": {"messages": []}},
        {"converse": {"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}},
        {"converse": {"messages": TURN}, "invokeModel": {"body": as_body(CLAUDE)}},
        {"invokeModel": {"body": "no base64!"}},
        {"invokeModel": {"body": b64encode(b"no JSON").decode()}},
        {"invokeModel": {"body": as_body([])}},
        {"invokeModel": {"body": as_body({"messages": []})}},
    ],
)
def test_what_could_not_be_asked_is_not_counted(asked):
    """Refused as the operation itself would refuse it."""
    with pytest.raises(Refusal) as caught:
        count_tokens(incoming({"input": asked}))
    assert caught.value.status == 400


# -- ApplyGuardrail --------------------------------------------------------------------------------


def test_a_guardrail_is_asked_by_itself():
    """By its id and version, of those that the server has."""
    fruit = Guardrail("fruit", ["kiwi"])
    body = {"source": "INPUT", "content": [{"text": {"text": "A kiwi."}}]}
    found = [apply_guardrail(id, "1", incoming(body), (DEFAULT, fruit)) for id in ("fruit", "embeddedwords")]
    assert [each["action"] for each in found] == ["GUARDRAIL_INTERVENED", "NONE"]


@pytest.mark.parametrize(
    ("id", "body"),
    [
        ("nosuch", {"source": "INPUT", "content": [{"text": {"text": "x"}}]}),
        ("embeddedwords", {"source": "SIDEWAYS", "content": [{"text": {"text": "x"}}]}),
        ("embeddedwords", {"source": "INPUT"}),
        ("EMBEDDED WORDS", {"source": "INPUT", "content": []}),
        ("embeddedwords", []),
        ("embeddedwords", b"{"),
    ],
)
def test_a_guardrail_that_cannot_be_asked_is_refused(id, body):
    """400: there is no such guardrail, or no such question."""
    with pytest.raises(Refusal) as caught:
        apply_guardrail(id, "1", incoming(body), (DEFAULT,))
    assert caught.value.status == 400
