"""Requests that are passed on to a server with OpenAI's chat completions, and what comes back from it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb import errors
from bedrock_nb.assembly import fold
from bedrock_nb.check import check
from bedrock_nb.errors import RequestError
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.message import ReasoningBlock, TextBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency
from bedrock_nb.server.openai_chat import openai
from bedrock_nb.server.openai_chat.answering import Writer
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.validation import operation
from tests.server.openai_stub import CUT, DONE, Stub, chunk, said, stop, usage

WAIT = 20  # seconds; only what hangs takes so long
PNG = b"\x89PNG\r\n\x1a\n..."
SPEC = {"name": "weather", "description": "Sky.", "inputSchema": {"json": {"type": "object"}}}
TOOLS = {"tools": [{"toolSpec": SPEC}]}
ANSWER = (said("Hel"), said("lo"), stop(), usage(7, 2), DONE)


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    server = Stub()
    yield server
    server.close()


@pytest.fixture
def stub(running) -> Stub:
    running.plays(*ANSWER)
    return running


@pytest.fixture(scope="module")
def responder(running):
    """It remembers nothing, and to make it takes longer than most tests."""
    return openai(running.url)


@pytest.fixture
def respond(stub, responder):
    return responder


def ask(**kwargs) -> Request:
    """A request from arguments of converse_stream."""
    turn = {"role": "user", "content": [{"text": "Hi"}]}
    return Request.from_kwargs({"modelId": "tiny", "messages": [turn], **kwargs})


def turn(*blocks, role="user") -> dict:
    return {"role": role, "content": list(blocks)}


def call(index, name=None, arguments=None, id=None) -> dict:
    """A part of a tool call, with only what is given."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    part = {k: v for k, v in (("index", index), ("id", id)) if v is not None}
    return {**part, "function": function}


def calls(*parts) -> dict:
    return chunk({"tool_calls": list(parts)})


def sound(events, request=None) -> None:
    """Fail if a recording of these events breaks the protocol."""
    recording = Recording((request or ask()).to_kwargs(), clock="schedule")
    for event in events:
        recording.append(event, 0.0)
    recording.status = "complete"
    assert not check(recording)


# -- in --------------------------------------------------------------------------------------------


def sent(stub, respond, **kwargs) -> dict:
    """What the server gets for a request."""
    list(respond(ask(**kwargs)))
    (request,) = stub.requests
    return request


def test_a_plain_request_says_what_it_must_and_no_more(stub, respond):
    """Model, messages, and the wish for a stream that ends with usage."""
    assert sent(stub, respond) == {
        "model": "tiny",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


@pytest.mark.parametrize(
    ("member", "fields"),
    [
        ({"inferenceConfig": {"maxTokens": 5}}, {"max_tokens": 5}),
        ({"inferenceConfig": {"temperature": 0.5, "topP": 0.25}}, {"temperature": 0.5, "top_p": 0.25}),
        ({"inferenceConfig": {"stopSequences": ["a", "b"]}}, {"stop": ["a", "b"]}),
        ({"additionalModelRequestFields": {"seed": 7, "top_k": 3}}, {"seed": 7, "top_k": 3}),
        ({"additionalModelRequestFields": {"max_tokens": 9}}, {"max_tokens": 9}),
        (
            {"toolConfig": TOOLS},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "weather",
                            "description": "Sky.",
                            "parameters": {"type": "object"},
                        },
                    }
                ]
            },
        ),
        ({"outputConfig": {"effort": "low"}}, {"reasoning_effort": "low"}),
        (
            {
                "outputConfig": {
                    "textFormat": {
                        "type": "json_schema",
                        "structure": {"jsonSchema": {"schema": '{"type": "object"}'}},
                    }
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        (
            {
                "outputConfig": {
                    "textFormat": {
                        "type": "json_schema",
                        "structure": {"jsonSchema": {"schema": "{}", "name": "n", "description": "d"}},
                    }
                }
            },
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "n", "schema": {}, "strict": True, "description": "d"},
                }
            },
        ),
        ({"additionalModelResponseFieldPaths": ["/stop_sequence"]}, {}),
        ({"requestMetadata": {"a": "b"}}, {}),
        ({"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"}}, {}),
        ({"performanceConfig": {"latency": "optimized"}, "serviceTier": {"type": "flex"}}, {}),
    ],
)
def test_each_member_is_said_in_the_servers_terms(stub, respond, member, fields):
    """And nothing else is changed by it."""
    plain = sent(stub, respond)
    stub.plays(*ANSWER)
    assert sent(stub, respond, **member) == plain | fields


@pytest.mark.parametrize(
    ("choice", "there"),
    [
        ({"auto": {}}, "auto"),
        ({"any": {}}, "required"),
        ({"tool": {"name": "weather"}}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_the_choice_of_tools_is_passed_on(stub, respond, choice, there):
    """Free, forced, or forced to one; a cache point among the tools is left out, strictness is not."""
    tools = [{"toolSpec": {**SPEC, "strict": True}}, {"cachePoint": {"type": "default"}}]
    body = sent(stub, respond, toolConfig={"tools": tools, "toolChoice": choice})
    assert body["tool_choice"] == there
    assert [tool["function"]["strict"] for tool in body["tools"]] == [True]


@pytest.mark.parametrize(
    ("blocks", "content"),
    [
        ([{"text": "a"}, {"cachePoint": {"type": "default"}}, {"text": "b"}], "a\nb"),
        ([{"guardContent": {"text": {"text": "g", "qualifiers": ["query"]}}}], "g"),
        (
            [{"document": {"format": "md", "name": "Notes", "source": {"bytes": "# Ü".encode()}}}],
            "Document Notes (md):\n# Ü",
        ),
        (
            [{"document": {"name": "T", "context": "Read this.", "source": {"text": "one"}}}],
            "Read this.\nDocument T (txt):\none",
        ),
        (
            [{"document": {"name": "T", "source": {"content": [{"text": "1"}, {"text": "2"}]}}}],
            "Document T (txt):\n1\n2",
        ),
        (
            [{"document": {"format": "csv", "name": "T", "source": {"bytes": b"\xef\xbb\xbfa,b"}}}],
            "Document T (csv):\na,b",
        ),
    ],
)
def test_text_of_any_kind_is_sent_as_text(stub, respond, blocks, content):
    """As one string, which every server takes."""
    body = sent(stub, respond, messages=[turn(*blocks)])
    assert body["messages"] == [{"role": "user", "content": content}]


@pytest.mark.parametrize("format", ["png", "jpeg", "gif", "webp"])
@pytest.mark.parametrize("kind", ["image", "guardContent"])
def test_images_are_sent_as_data_urls(stub, respond, format, kind):
    """In their place between the texts."""
    image = {"format": format, "source": {"bytes": PNG}}
    block = {"image": image} if kind == "image" else {"guardContent": {"image": image}}
    body = sent(stub, respond, messages=[turn({"text": "What is this?"}, block)])
    text, picture = body["messages"][0]["content"]
    head, _, data = picture["image_url"]["url"].partition(",")
    assert (text, head) == ({"type": "text", "text": "What is this?"}, f"data:image/{format};base64")
    assert b64decode(data) == PNG


def test_a_system_prompt_is_the_first_message(stub, respond):
    """Its parts are joined, and its cache points left out."""
    system = [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}, {"text": "Be kind."}]
    body = sent(stub, respond, system=system, messages=[turn({"text": "Hi"})])
    assert body["messages"][0] == {"role": "system", "content": "Be brief.\nBe kind."}


def test_a_conversation_with_tools_is_told_in_order(stub, respond):
    """Calls stand in the assistant's turn, each result is a message of its own, before the user's words."""
    messages = [
        turn({"text": "Weather?"}),
        turn(
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            {"text": "I look."},
            {"toolUse": {"toolUseId": "a", "name": "weather", "input": {"city": "Köln"}}},
            {"toolUse": {"toolUseId": "b", "name": "weather", "input": {}}},
            role="assistant",
        ),
        turn(
            {"toolResult": {"toolUseId": "a", "content": [{"json": {"sky": "ü"}}, {"text": "ok"}]}},
            {"text": "And?"},
            {"toolResult": {"toolUseId": "b", "content": [{"text": "no route"}], "status": "error"}},
        ),
        turn({"toolUse": {"toolUseId": "c", "name": "weather", "input": {}}}, role="assistant"),
        turn({"toolResult": {"toolUseId": "c", "content": [], "status": "error"}}),
        turn({"citationsContent": {"content": [{"text": "So "}, {"text": "said."}]}}, role="assistant"),
    ]
    body = sent(stub, respond, messages=messages, toolConfig=TOOLS)
    assert body["messages"] == [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "a",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Köln"}'},
                },
                {"id": "b", "type": "function", "function": {"name": "weather", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": '{"sky": "ü"}\nok'},
        {"role": "tool", "tool_call_id": "b", "content": "The tool failed: no route"},
        {"role": "user", "content": "And?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "The tool failed."},
        {"role": "assistant", "content": "So said."},
    ]


S3 = {"s3Location": {"uri": "s3://b/k"}}


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"promptVariables": {"a": {"text": "b"}}}, "promptVariables"),
        ({"somethingNew": 1}, "somethingNew"),
        ({"inferenceConfig": {"topQ": 1}}, "inferenceConfig.topQ"),
        ({"additionalModelRequestFields": [1]}, "must be an object"),
        ({"additionalModelRequestFields": {"stream": False}}, "additionalModelRequestFields.stream"),
        ({"additionalModelRequestFields": {"n": 2}}, "additionalModelRequestFields.n "),
        ({"additionalModelResponseFieldPaths": ["/stop_sequence", "/x"]}, "The path /x"),
        ({"outputConfig": {"somethingNew": 1}}, "outputConfig.somethingNew"),
        ({"toolConfig": {"tools": [{"systemTool": {"name": "x"}}]}}, "systemTool"),
        ({"toolConfig": {**TOOLS, "toolChoice": {"none": {}}}}, "toolChoice.none"),
        (
            {
                "outputConfig": {
                    "textFormat": {
                        "type": "json_schema",
                        "structure": {"jsonSchema": {"schema": "{"}},
                    }
                }
            },
            "not JSON",
        ),
        (
            {"messages": [turn({"image": {"format": "png", "source": S3}})]},
            "image that is not given",
        ),
        ({"messages": [turn({"document": {"format": "md", "name": "D", "source": S3}})]}, "document D"),
        (
            {"messages": [turn({"document": {"format": "pdf", "name": "D", "source": {"bytes": b"%"}}})]},
            "D is a pdf file",
        ),
        (
            {"messages": [turn({"document": {"format": "txt", "name": "D", "source": {"bytes": b"\xff"}}})]},
            "D is not text in UTF-8",
        ),
        (
            {
                "messages": [
                    turn({"document": {"name": "D", "source": {"text": "x"}, "citations": {"enabled": True}}})
                ]
            },
            "citations of the document D",
        ),
        ({"messages": [turn({"video": {}})]}, "video block in the user turn"),
        ({"messages": [turn({"audio": {}})]}, "audio block in the user turn"),
        ({"messages": [turn({"searchResult": {}})]}, "searchResult block in the user turn"),
        (
            {
                "messages": [
                    turn({"text": "x"}),
                    turn({"image": {"format": "png", "source": {"bytes": PNG}}}, role="assistant"),
                ]
            },
            "image block in the assistant turn",
        ),
        (
            {"system": [{"guardContent": {"image": {"format": "png", "source": {"bytes": PNG}}}}]},
            "image in the system turn",
        ),
        (
            {
                "messages": [
                    turn({"toolResult": {"toolUseId": "a", "content": [{"image": {}}]}}),
                ]
            },
            "image in a toolResult",
        ),
        (
            {
                "messages": [
                    turn({"text": "x"}),
                    turn(
                        {"toolUse": {"toolUseId": "a", "name": "t", "input": {}, "type": "server_tool_use"}},
                        role="assistant",
                    ),
                ]
            },
            "a tool that the service runs",
        ),
    ],
)
def test_what_has_no_counterpart_is_refused_and_named(stub, respond, member, words):
    """Before the server hears of it."""
    with pytest.raises(Refusal, match=words) as caught:
        respond(ask(**member))
    assert (caught.value.status, caught.value.code) == (400, "ValidationException")
    assert not stub.requests


def test_no_member_of_the_service_model_is_passed_over(stub, respond):
    """What the installed botocore knows is either refused, or among the members that are tested above."""
    tested = {"modelId", "messages", "system", "inferenceConfig", "toolConfig", "outputConfig"} | {
        "additionalModelRequestFields",
        "additionalModelResponseFieldPaths",
        "requestMetadata",
        "guardrailConfig",
        "performanceConfig",
        "serviceTier",
    }
    for name in operation("ConverseStream").input_shape.members.keys() - tested:
        with pytest.raises(Refusal, match=name):
            respond(ask(**{name: {}}))


def test_no_content_block_of_the_service_model_is_passed_over(respond):
    """What the installed botocore knows is either refused, or among the blocks that are tested above."""
    shape = operation("ConverseStream").input_shape.members["messages"].member.members["content"].member
    told = {"text", "image", "document", "toolUse", "toolResult", "guardContent", "cachePoint"}
    told |= {"reasoningContent", "citationsContent"}
    for kind in shape.members.keys() - told:
        for role in ("user", "assistant"):
            with pytest.raises(Refusal, match=f"A {kind} block in the {role} turn"):
                respond(ask(messages=[turn({kind: {}}, role=role)]))


@pytest.mark.parametrize(
    ("model", "name"), [(None, "tiny"), ("llama", "llama"), ({"tiny": "qwen", "other": "x"}, "qwen")]
)
def test_models_have_the_servers_names(stub, model, name):
    """The id itself, one name for all, or one for each."""
    assert sent(stub, openai(stub.url, model=model))["model"] == name


def test_a_model_without_a_name_is_not_found(stub):
    """The message lists the ids that have one."""
    with pytest.raises(Refusal, match="named for tiny; model= has names for other") as caught:
        openai(stub.url, model={"other": "x"})(ask())
    assert (caught.value.status, caught.value.code) == (404, "ResourceNotFoundException")


def test_the_key_goes_in_the_header_and_the_environments_settings_do_not(stub, monkeypatch):
    """An organisation of the environment is meant for OpenAI itself, a proxy for machines far away."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-mine")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    list(openai(stub.url, api_key="sk-1")(ask()))
    (headers,) = stub.headers
    assert headers["Authorization"] == "Bearer sk-1"
    assert "org-mine" not in str(headers)


@pytest.mark.parametrize("url", ["", "localhost:1", "ftp://x", "http://", "http://x:port", "http://[::1", 1])
def test_what_is_no_url_is_refused(url):
    """At once, and not with the first request."""
    with pytest.raises(RequestError, match="base_url is no URL"):
        openai(url)


def test_without_the_package_the_remedy_is_named():
    """In a Python that finds no package of that name."""
    script = """
import sys
sys.modules["openai"] = None
from bedrock_nb.server.openai_chat import openai
try:
    openai("http://localhost:1/v1")
except Exception as err:
    print(type(err).__name__, err)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.startswith("RequestError")
    assert 'pip install "bedrock-nb[openai]"' in out


# -- out -------------------------------------------------------------------------------------------


def test_text_comes_as_it_is_streamed(stub):
    """One delta a chunk, and the usage and the measured latency at the end."""
    ticks = count(10)
    events = list(openai(stub.url, clock=lambda: next(ticks))(ask()))
    assert events == [
        MessageStart("assistant"),
        TextDelta(0, "Hel"),
        TextDelta(0, "lo"),
        BlockStop(0),
        MessageStop("end_turn"),
        Metadata({"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}, 1000),
    ]
    sound(events)


def test_each_delta_is_there_before_the_next_is_made(stub, respond):
    """Nothing waits for what follows: the first word is handed on while the server still holds the second."""
    hold = stub.hold()
    stub.plays(said("Hel"), hold, *ANSWER[1:])
    events = iter(respond(ask()))
    assert [next(events), next(events)] == [MessageStart("assistant"), TextDelta(0, "Hel")]
    hold.release()
    assert next(events) == TextDelta(0, "lo")
    list(events)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_block_of_its_own(stub, respond, name):
    """Under either of its names, without a signature, before the text."""
    stub.plays(
        chunk({"role": "assistant", "content": None}),
        chunk({name: "Hm", "content": ""}),
        chunk({name: "m."}),
        said("Yes."),
        stop(),
        DONE,
    )
    events = list(respond(ask()))
    assert events[1:6] == [
        ReasoningDelta(0, "Hm"),
        ReasoningDelta(0, "m."),
        BlockStop(0),
        TextDelta(1, "Yes."),
        BlockStop(1),
    ]
    assert fold(events).content == (ReasoningBlock("Hm" + "m."), TextBlock("Yes."))
    sound(events)


TOOL_CASES: dict[str, tuple[list, list]] = {
    "in fragments": (
        [
            calls(call(0, "weather", "", "a")),
            calls(call(0, arguments='{"ci')),
            calls(call(0, arguments='ty": 1}')),
        ],
        [("a", {"city": 1})],
    ),
    "whole in one delta": ([calls(call(0, "weather", '{"city": 1}', "a"))], [("a", {"city": 1})]),
    "input as an object": ([calls(call(0, "weather", {"city": 1}, "a"))], [("a", {"city": 1})]),
    "no input": ([calls(call(0, "weather", "", "a"))], [("a", {})]),
    "no input at all": ([calls(call(0, "weather", None, "a"))], [("a", {})]),
    "the name last": (
        [calls(call(0, None, '{"a": ', "a")), calls(call(0, "weather", "1}"))],
        [("a", {"a": 1})],
    ),
    "two in turn": (
        [calls(call(0, "weather", "{}", "a")), calls(call(1, "weather", '{"x": 2}', "b"))],
        [("a", {}), ("b", {"x": 2})],
    ),
    "two in one delta": (
        [calls(call(0, "weather", '{"x": 1}', "a"), call(1, "weather", '{"x": 2}', "b"))],
        [("a", {"x": 1}), ("b", {"x": 2})],
    ),
    "interleaved": (
        [
            calls(call(0, "weather", '{"x"', "a"), call(1, "weather", "", "b")),
            calls(call(1, arguments='{"y"')),
            calls(call(0, arguments=": 1}")),
            calls(call(1, arguments=": 2}")),
        ],
        [("a", {"x": 1}), ("b", {"y": 2})],
    ),
    "all numbered 0, with ids": (
        [calls(call(0, "weather", '{"x": 1}', "a")), calls(call(0, "weather", '{"x": 2}', "b"))],
        [("a", {"x": 1}), ("b", {"x": 2})],
    ),
    "all numbered 0, without ids": (
        [calls(call(0, "weather", '{"x": 1}')), calls(call(0, "weather", '{"x": 2}'))],
        [(None, {"x": 1}), (None, {"x": 2})],
    ),
    "the name in every delta": (
        [calls(call(0, "weather", '{"x"', "a")), calls(call(0, "weather", ": 1}", "a"))],
        [("a", {"x": 1})],
    ),
    "name and id in every delta": (
        [calls(call(0, "weather", "{}", "a")), calls(call(0, "weather", "", "a"))],
        [("a", {})],
    ),
    "the id late": (
        [calls(call(0, "weather", '{"x"')), calls(call(0, None, ": 1}", "a"))],
        [(None, {"x": 1})],
    ),
    "without numbers": (
        [
            calls(call(None, "weather", '{"x"', "a")),
            calls(call(None, arguments=": 1}")),
            calls(call(None, "weather", "{}", "b")),
        ],
        [("a", {"x": 1}), ("b", {})],
    ),
    "white space after the end": (
        [
            calls(call(0, "weather", "{}", "a")),
            calls(call(1, "weather", "{}", "b")),
            calls(call(0, None, "\n")),
        ],
        [("a", {}), ("b", {})],
    ),
    "an id that Bedrock does not take": ([calls(call(0, "weather", "{}", "a b" * 40))], [(None, {})]),
    "as a function call": (
        [
            chunk({"function_call": {"name": "weather", "arguments": '{"x"'}}),
            chunk({"function_call": {"arguments": ": 1}"}}),
        ],
        [(None, {"x": 1})],
    ),
}


@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call"])
@pytest.mark.parametrize("case", TOOL_CASES)
def test_tool_calls_come_in_every_servers_manner(stub, respond, case, finish):
    """Each is a block with an id, a name and its input; the reply stops with tool_use, whatever it was."""
    chunks, expected = TOOL_CASES[case]
    stub.plays(said("I look."), *chunks, stop(finish), DONE)
    request = ask(toolConfig=TOOLS)
    events = list(respond(request))
    uses = fold(events).tool_uses
    assert [(use.name, use.input) for use in uses] == [("weather", input) for _, input in expected]
    kept = [None if id is None else use.id for use, (id, _) in zip(uses, expected, strict=True)]
    assert kept == [id for id, _ in expected]
    assert len({use.id for use in uses}) == len(uses)
    assert MessageStop("tool_use") in events
    sound(events, request)


def test_a_tool_call_that_is_whole_stops_before_the_next_begins(stub, respond):
    """So that a client may run it at once."""
    stub.plays(*TOOL_CASES["two in turn"][0], said("Done."), stop("tool_calls"), DONE)
    events = list(respond(ask(toolConfig=TOOLS)))
    assert events[1:9] == [
        ToolUseStart(0, "a", "weather"),
        ToolInputDelta(0, "{}"),
        BlockStop(0),
        ToolUseStart(1, "b", "weather"),
        ToolInputDelta(1, '{"x": 2}'),
        BlockStop(1),
        TextDelta(2, "Done."),
        BlockStop(2),
    ]


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (stop("stop"), "end_turn"),
        (stop("stop", stop_reason=None), "end_turn"),
        (stop("stop", stop_reason=128009), "end_turn"),
        (stop("stop", stop_reason="###"), "stop_sequence"),
        (stop("length"), "max_tokens"),
        (stop("content_filter"), "content_filtered"),
        (stop("out_of_resources"), "out_of_resources"),
    ],
)
@pytest.mark.parametrize("wanted", [True, False])
def test_why_an_answer_stopped_is_said_in_bedrocks_words(stub, respond, last, reason, wanted):
    """A reason that is not known is passed on, and the sequence told where it was asked for."""
    stub.plays(said("x"), last, DONE)
    paths = {"additionalModelResponseFieldPaths": ["/stop_sequence"]} if wanted else {}
    (end,) = [event for event in respond(ask(**paths)) if isinstance(event, MessageStop)]
    sequence = "###" if reason == "stop_sequence" else None
    assert end == MessageStop(reason, {"stop_sequence": sequence} if wanted else None)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([usage(7, 2)], {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}),
        (
            [usage(7, 2, cached_tokens=5)],
            {"inputTokens": 2, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokens": 5},
        ),
        ([usage(7, 2, cached_tokens=0)], {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}),
        ([usage(7, 1), usage(7, 2)], {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}),
        (
            [{**stop(), "usage": usage(7, 2)["usage"]}],
            {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9},
        ),
        ([], {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}),
        ([{**stop(), "usage": {"x": 1}}], {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}),
    ],
)
def test_tokens_are_the_servers_or_are_counted(stub, respond, lines, expected):
    """What came from its cache is counted apart, as Bedrock does."""
    stub.plays(said("two"), said(" words"), stop(), *lines, DONE)
    events = list(respond(ask()))
    assert events[-1].usage == expected
    sound(events)


def test_settings_come_back_with_the_metadata(stub, respond):
    """As the service sends them back."""
    request = ask(performanceConfig={"latency": "optimized"}, serviceTier={"type": "flex"})
    *_, closing = respond(request)
    assert closing.performance_config == {"latency": "optimized"}
    assert closing.service_tier == {"type": "flex"}


@pytest.mark.parametrize("ending", [[DONE], []])
def test_an_answer_without_a_reason_to_stop_is_not_whole(stub, respond, ending):
    """It ends without messageStop, and no reason is made up."""
    stub.plays(said("Hel"), *ending)
    assert list(respond(ask())) == [MessageStart("assistant"), TextDelta(0, "Hel")]


@given(st.data())
def test_however_text_and_calls_are_cut_the_message_is_the_same(data):
    """Chunks fold to what was said, and break no rule of the protocol."""
    text = data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    thought = data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
    inputs = data.draw(
        st.lists(st.dictionaries(st.sampled_from("abc"), st.text('xyz"\\{}'), max_size=2), max_size=3)
    )

    def cut(whole: str) -> list[str]:
        places = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=3)))
        return [whole[a:b] for a, b in zip([0, *places], [*places, len(whole)], strict=True)]

    parts = [
        [call(i, "t", "", f"id{i}"), *(call(i, None, piece) for piece in cut(json.dumps(input)))]
        for i, input in enumerate(inputs)
    ]
    mixed = []
    while any(parts):
        mixed.append(data.draw(st.sampled_from([part for part in parts if part])).pop(0))
    chunks = [chunk({"reasoning": piece}) for piece in cut(thought)]
    chunks += [said(piece) for piece in cut(text)]
    chunks += [calls(part) for part in mixed] + [stop("tool_calls" if inputs else "stop")]
    writer = Writer(ask().to_kwargs(), lambda: 0)
    events = [MessageStart("assistant"), *(event for item in chunks for event in writer.take(item))]
    events += writer.end()
    message = fold(events)
    assert (message.reasoning, message.text) == (thought, text)
    assert {use.id: use.input for use in message.tool_uses} == {
        f"id{i}": input for i, input in enumerate(inputs)
    }
    sound(events)


# -- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        (400, (400, "ValidationException")),
        (413, (400, "ValidationException")),
        (422, (400, "ValidationException")),
        (401, (403, "AccessDeniedException")),
        (403, (403, "AccessDeniedException")),
        (404, (404, "ResourceNotFoundException")),
        (408, (408, "ModelTimeoutException")),
        (429, (429, "ThrottlingException")),
        (418, (424, "ModelErrorException")),
        (500, (424, "ModelErrorException")),
        (503, (503, "ServiceUnavailableException")),
    ],
)
@pytest.mark.parametrize("body", [{"error": {"message": "no sk-1 way"}}, {"message": "no sk-1 way"}])
def test_an_error_of_the_server_is_bedrocks_with_its_words(stub, status, answered, body):
    """It is asked once, and a key that it repeats is not told."""
    stub.refuses(status, body)
    with pytest.raises(Refusal, match="no … way") as caught:
        openai(stub.url, api_key="sk-1")(ask())
    assert (caught.value.status, caught.value.code) == answered
    assert len(stub.requests) == 1


def test_a_server_that_is_not_there_is_not_available():
    """The message names the place, without the credentials that stand in the URL."""
    with socket.socket() as taken:  # bound, so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        respond = openai(f"http://me:secret@127.0.0.1:{port}/v1", api_key="sk-1")
        with pytest.raises(Refusal, match=f"answers at http://127.0.0.1:{port}/v1") as caught:
            respond(ask())
    assert (caught.value.status, caught.value.code) == (503, "ServiceUnavailableException")
    assert "secret" not in caught.value.message + repr(respond)
    assert "sk-1" not in caught.value.message + repr(respond)


def test_a_server_that_does_not_begin_to_answer_is_too_slow(stub):
    """The limit ends the wait, and the server sees that nobody waits."""
    hold = stub.hold()
    stub.plays(hold, *ANSWER)
    with pytest.raises(Refusal, match="too long") as caught:
        openai(stub.url, timeout=0.05)(ask())
    assert (caught.value.status, caught.value.code) == (408, "ModelTimeoutException")
    assert stub.gone.wait(WAIT)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (CUT, "broke the connection off"),
        (
            b'data: {"error": {"message": "out of memory, sk-1", "code": 500}}\n\n',
            r"\(500\): out of memory, …",
        ),
        (b'data: {"error": "no room"}\n\n', r"\(424\): no room"),
        (b"data: {broken\n\n", "no chat completion. JSONDecodeError"),
        (b"data: [1, 2]\n\n", "no chat completion"),
        (b'data: {"choices": [{"delta": {"content": 5}}]}\n\n', "int came where text is wanted"),
        (b'data: {"choices": 7}\n\n', "no chat completion"),
        (b'data: {"choices": [{"delta": "x"}]}\n\n', "no chat completion"),
        (b"data: \xff\xfe\n\n", "no chat completion. UnicodeDecodeError"),
    ],
)
def test_what_goes_wrong_later_is_the_last_event(stub, line, words):
    """After all that came before it, as an error of the model's stream."""
    stub.plays(said("Hel"), line, *ANSWER[1:])
    *events, last = openai(stub.url, api_key="sk-1")(ask())
    assert events == [MessageStart("assistant"), TextDelta(0, "Hel")]
    assert isinstance(last, StreamFault)
    assert isinstance(last.error, errors.ModelStreamFault)
    with pytest.raises(errors.ModelStreamFault, match=words):
        raise last.error
    assert "sk-1" not in str(last.error)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([calls(call(0, None, "{}", "a")), stop()], "has no name"),
        (
            [
                calls(call(0, "weather", "{}", "a")),
                calls(call(1, "weather", "{}", "b")),
                calls(call(0, None, "{}")),
                stop(),
            ],
            "more input came for the tool call a",
        ),
        ([b""], "streamed nothing"),
        ([b'{"choices": [{"message": {"content": "Hi"}}]}'], "streamed nothing"),
    ],
)
def test_an_answer_that_makes_no_sense_is_an_error(stub, respond, chunks, words):
    """And not a message with something missing."""
    stub.plays(*chunks)
    *_, last = respond(ask())
    assert isinstance(last, StreamFault)
    with pytest.raises(errors.ModelStreamFault, match=words):
        raise last.error


def test_a_pause_that_is_too_long_is_an_error(stub):
    """The limit holds for each silence."""
    stub.plays(said("Hel"), stub.hold())
    *_, last = openai(stub.url, timeout=0.5)(ask())
    assert isinstance(last, StreamFault)
    with pytest.raises(errors.ModelStreamFault, match="too long"):
        raise last.error


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_closing_the_answer_hangs_up(stub, respond, taken):
    """However much of it was read, the server sees its client go."""
    stub.plays(said("Hel"), stub.hold())
    answer = respond(ask())
    for _ in range(taken):
        next(answer)
    answer.close()
    assert stub.gone.wait(WAIT)
    assert list(answer) == []


def test_an_answer_may_be_closed_while_another_thread_waits_for_it(stub, respond):
    """That thread goes on at once, and the answer is at its end."""
    stub.plays(said("Hel"), stub.hold())
    answer = respond(ask())
    next(answer), next(answer)
    waiting, rest = threading.Event(), []

    def read() -> None:
        waiting.set()
        rest.extend(answer)

    reader = threading.Thread(target=read)
    reader.start()
    waiting.wait(WAIT)
    answer.close()
    reader.join(WAIT)
    assert not reader.is_alive()
    assert rest == []
    assert stub.gone.wait(WAIT)


def test_closing_an_answer_leaves_the_others_alone(stub, respond):
    """Each has a connection of its own."""
    first, hold = list(respond(ask())), stub.hold()
    stub.plays(said("Hel"), hold, *ANSWER[1:])
    one, other = respond(ask()), respond(ask())
    assert next(other) == first[0]
    one.close()
    hold.release()
    assert list(other)[:-1] == first[1:-1]


# -- from end to end -------------------------------------------------------------------------------


@pytest.fixture
def bedrock(stub):
    with BedrockServer(openai(stub.url), latency=Latency.none()) as server:
        yield server


def test_boto3_streams_from_the_server(stub, bedrock):
    """Through the embedded Bedrock, with reasoning, text, a tool call and usage."""
    stub.plays(
        chunk({"reasoning_content": "Hm."}),
        said("I look."),
        *TOOL_CASES["in fragments"][0],
        stop("tool_calls"),
        usage(9, 5, cached_tokens=4),
        DONE,
    )
    reply = nb.stream(bedrock.client(), ask(toolConfig=TOOLS))
    (use,) = reply.message.tool_uses
    assert (reply.message.reasoning, reply.text, use.input) == ("Hm.", "I look.", {"city": 1})
    assert reply.usage["cacheReadInputTokens"] == 4
    assert not check(reply)


def test_boto3_sees_each_word_as_it_comes(stub, bedrock):
    """The first is there while the server holds the second."""
    hold = stub.hold()
    stub.plays(said("Hel"), hold, *ANSWER[1:])
    stream = bedrock.client().converse_stream(modelId="m", messages=[turn({"text": "Hi"})])["stream"]
    events = iter(stream)
    assert "messageStart" in next(events)
    assert next(events)["contentBlockDelta"]["delta"] == {"text": "Hel"}
    hold.release()
    assert next(events)["contentBlockDelta"]["delta"] == {"text": "lo"}
    assert [next(iter(event)) for event in events] == ["contentBlockStop", "messageStop", "metadata"]


def test_the_plain_call_gets_the_whole_answer(bedrock):
    """Converse is answered too."""
    answer = bedrock.client().converse(modelId="m", messages=[turn({"text": "Hi"})])
    assert answer["output"]["message"]["content"] == [{"text": "Hello"}]
    assert answer["usage"] == {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}


def test_a_refusal_of_the_server_is_an_http_error(stub, bedrock):
    """boto3 raises the exception that it raises for Bedrock's own."""
    stub.refuses(404, {"error": {"message": "model 'm' not found"}})
    client = bedrock.client()
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="model 'm' not found"):
        client.converse_stream(modelId="m", messages=[turn({"text": "Hi"})])


def test_a_client_that_goes_away_is_noticed_by_the_server(stub, bedrock):
    """It need not go on for nobody."""
    stub.plays(said("Hel"), stub.hold())
    reply = nb.stream(bedrock.client(), ask())
    events = iter(reply)
    assert [next(events), next(events)] == [MessageStart("assistant"), TextDelta(0, "Hel")]
    reply.close()
    assert stub.gone.wait(WAIT)
