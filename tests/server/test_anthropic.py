"""Anthropic's messages format: what a body asks for, how an answer is said, and the frames that carry it."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import EventStreamJSONParser
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.assembly import to_events
from bedrock_nb.errors import service_fault
from bedrock_nb.events import (
    STOP_REASONS,
    BlockStop,
    CitationDelta,
    ImageDelta,
    ImageStart,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.eventstream import encode
from bedrock_nb.message import (
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import canned
from bedrock_nb.server.anthropic import (
    Translator,
    message_id,
    output,
    response_headers,
    to_chunk,
    to_converse,
)
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.validation import operation
from tests.converse_model import SERVICE
from tests.messages import JSON_OBJECT, MESSAGES, NAME, SPLITS
from tests.recordings import EVENTS

MODEL = "us.anthropic.claude-3-7-sonnet-20250219-v1:0"
PNG = base64.b64encode(b"\x89PNG").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
USAGE = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}
TOOL = {"name": "get_weather", "description": "Weather.", "input_schema": {"type": "object"}}
CACHED = {"cache_control": {"type": "ephemeral"}}
POINT = {"cachePoint": {"type": "default"}}
EMPTY = {"type": "text", "text": ""}
USE = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "Sunny"}


def body(*content: Any, **members: Any) -> dict[str, Any]:
    """A sound body, the user's turn made of these blocks; a member that is None is left out."""
    said = [{"role": "user", "content": list(content) or "Hello"}]
    whole = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 2000, "messages": said, **members}
    return {name: value for name, value in whole.items() if value is not None}


def conversation(*contents: Any, **members: Any) -> dict[str, Any]:
    """A body with these turns, the user's first."""
    roles = itertools.cycle(["user", "assistant"])
    turns = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=False)]
    return body(messages=turns, **members)


def accepted(kwargs: dict[str, Any]) -> str:
    """What botocore has against these arguments of converse_stream."""
    return ParamValidator().validate(kwargs, operation("ConverseStream").input_shape).generate_report()


def turns(*contents: Any, **members: Any) -> list[dict[str, Any]]:
    return to_converse(MODEL, conversation(*contents, **members))["messages"]


# -- what a body asks for --------------------------------------------------------------------------


def test_every_member_of_a_body_has_a_place_in_converse():
    """A body with all there is becomes arguments that botocore itself takes."""
    kwargs = to_converse(
        MODEL,
        conversation(
            "What is the weather?",
            [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, USE],
            [RESULT, {"type": "text", "text": "And now?"}],
            system=[{"type": "text", "text": "Be brief.", **CACHED}],
            temperature=0.5,
            top_p=1,
            top_k=5,
            stop_sequences=["END"],
            tools=[{**TOOL, "type": "custom", **CACHED}],
            tool_choice={"type": "any"},
            thinking={"type": "enabled", "budget_tokens": 1024},
            metadata={"user_id": "u"},
            anthropic_beta=["x-2025-01-01"],
        ),
    )
    spec = {"name": "get_weather", "description": "Weather.", "inputSchema": {"json": {"type": "object"}}}
    assert kwargs == {
        "modelId": MODEL,
        "messages": [
            {"role": "user", "content": [{"text": "What is the weather?"}]},
            {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
                    {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Paris"}}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "t1", "content": [{"text": "Sunny"}]}},
                    {"text": "And now?"},
                ],
            },
        ],
        "system": [{"text": "Be brief."}, POINT],
        "inferenceConfig": {"maxTokens": 2000, "temperature": 0.5, "topP": 1, "stopSequences": ["END"]},
        "toolConfig": {"tools": [{"toolSpec": spec}, POINT], "toolChoice": {"any": {}}},
        "additionalModelRequestFields": {
            "top_k": 5,
            "thinking": {"type": "enabled", "budget_tokens": 1024},
            "metadata": {"user_id": "u"},
            "anthropic_beta": ["x-2025-01-01"],
        },
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
    }
    assert accepted(kwargs) == ""


def test_a_small_body_asks_for_nothing_else():
    """What was not said is in no argument."""
    assert to_converse(MODEL, body(system="", stop_sequences=[], tools=[])) == {
        "modelId": MODEL,
        "messages": [{"role": "user", "content": [{"text": "Hello"}]}],
        "inferenceConfig": {"maxTokens": 2000},
    }


@pytest.mark.parametrize(
    ("block", "made"),
    [
        ({"type": "text", "text": "Hi", "citations": None}, [{"text": "Hi"}]),
        ({"type": "text", "text": "Hi", **CACHED}, [{"text": "Hi"}, POINT]),
        (
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
            [{"text": "Hi"}, {"cachePoint": {"type": "default", "ttl": "1h"}}],
        ),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            [{"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}],
        ),
        (
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PDF},
                "title": "Müller  & Co.pdf",
                "context": "A letter.",
                "citations": {"enabled": True},
            },
            [
                {
                    "document": {
                        "name": "M-ller - Co-pdf",
                        "format": "pdf",
                        "source": {"bytes": b"%PDF-1.7"},
                        "context": "A letter.",
                        "citations": {"enabled": True},
                    }
                }
            ],
        ),
        (
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Plain."}},
            [
                {
                    "document": {
                        "name": "messages-0-content-0-document",
                        "format": "txt",
                        "source": {"text": "Plain."},
                    }
                }
            ],
        ),
        (
            {
                "type": "document",
                "title": "T",
                "source": {"type": "content", "content": [{"type": "text", "text": "One."}]},
            },
            [{"document": {"name": "T", "source": {"content": [{"text": "One."}]}}}],
        ),
        (
            {"type": "document", "title": "T", "source": {"type": "content", "content": "One."}},
            [{"document": {"name": "T", "source": {"content": [{"text": "One."}]}}}],
        ),
        (
            {
                "type": "search_result",
                "source": "https://example.org",
                "title": "T",
                "content": [{"type": "text", "text": "Found."}],
                "citations": {"enabled": True},
            },
            [
                {
                    "searchResult": {
                        "source": "https://example.org",
                        "title": "T",
                        "content": [{"text": "Found."}],
                        "citations": {"enabled": True},
                    }
                }
            ],
        ),
    ],
)
def test_a_block_of_the_user_becomes_one_of_converse(block, made):
    """Blobs are bytes then, and a cache point follows the block that asks for it."""
    kwargs = to_converse(MODEL, body(block))
    assert kwargs["messages"] == [{"role": "user", "content": made}]
    assert accepted(kwargs) == ""


@pytest.mark.parametrize(
    ("result", "made"),
    [
        ({}, {"content": []}),
        ({"content": "Sunny", "is_error": False}, {"content": [{"text": "Sunny"}], "status": "success"}),
        ({"content": [EMPTY], "is_error": True}, {"content": [{"text": ""}], "status": "error"}),
        (
            {
                "content": [
                    {"type": "image", "source": {"type": "base64", "media_type": "image/gif", "data": PNG}}
                ]
            },
            {"content": [{"image": {"format": "gif", "source": {"bytes": b"\x89PNG"}}}]},
        ),
    ],
)
def test_a_tool_result_becomes_one_of_converse(result, made):
    """Its content may be missing, a text or blocks, and an error is a status."""
    kwargs = to_converse(
        MODEL,
        conversation("Hi", [USE], [{"type": "tool_result", "tool_use_id": "t1", **result}], tools=[TOOL]),
    )
    assert kwargs["messages"][2]["content"] == [{"toolResult": {"toolUseId": "t1", **made}}]
    assert accepted(kwargs) == ""


@pytest.mark.parametrize("outer", [{}, CACHED])
def test_a_cache_point_inside_of_a_tool_result_comes_after_it(outer):
    """Converse has no place for it inside, and one is enough."""
    result = {**RESULT, "content": [{"type": "text", "text": "Sunny", **CACHED}], **outer}
    *_, last = turns("Hi", [USE], [result], tools=[TOOL])
    assert last["content"] == [{"toolResult": {"toolUseId": "t1", "content": [{"text": "Sunny"}]}}, POINT]


def test_turns_of_one_role_in_a_row_are_one_turn():
    """The Messages API takes them, and Converse wants roles that alternate."""
    said = [
        {"role": "user", "content": "One"},
        {"role": "user", "content": [{"type": "text", "text": "Two"}]},
    ]
    (turn,) = to_converse(MODEL, body(messages=said))["messages"]
    assert turn == {"role": "user", "content": [{"text": "One"}, {"text": "Two"}]}


def test_an_empty_last_turn_of_the_assistant_is_no_turn():
    """It is the beginning of nothing."""
    assert turns("Hi", "") == turns("Hi")


def test_an_empty_description_is_none():
    """Anthropic's format takes it, and Converse's does not."""
    kwargs = to_converse(MODEL, body(tools=[{**TOOL, "description": ""}]))
    spec = {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}
    assert kwargs["toolConfig"] == {"tools": [{"toolSpec": spec}]}
    assert accepted(kwargs) == ""


@pytest.mark.parametrize(
    ("choice", "config", "handed"),
    [
        ({"type": "auto"}, {"toolChoice": {"auto": {}}}, None),
        ({"type": "tool", "name": "get_weather"}, {"toolChoice": {"tool": {"name": "get_weather"}}}, None),
        (
            {"type": "any", "disable_parallel_tool_use": True},
            {"toolChoice": {"any": {}}},
            {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
        ),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"toolChoice": {"auto": {}}}, None),
    ],
)
def test_a_tool_choice_becomes_converse_s(choice, config, handed):
    """What Converse does not know of it is handed on to the model."""
    kwargs = to_converse(MODEL, body(tools=[{**TOOL, "strict": True}], tool_choice=choice))
    assert kwargs["toolConfig"].pop("tools")[0]["toolSpec"]["strict"] is True
    assert kwargs["toolConfig"] == config
    assert kwargs.get("additionalModelRequestFields") == handed


def test_the_tool_choice_none_leaves_the_tools_out():
    """Nothing calls a tool then, though the conversation goes on from one and names it."""
    said = conversation("Hi", [USE], [RESULT, {"type": "text", "text": "get_weather!"}], tools=[TOOL])
    assert "toolConfig" not in to_converse(MODEL, {**said, "tool_choice": {"type": "none"}})


@pytest.mark.parametrize(
    "members",
    [
        {"output_format": {"type": "json_schema", "schema": {"type": "object"}}},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ],
)
def test_a_wanted_form_of_output_becomes_converse_s(members):
    """By its name of today and by that of the beta."""
    kwargs = to_converse(MODEL, body(**members))
    schema = {"jsonSchema": {"schema": '{"type": "object"}'}}
    assert kwargs["outputConfig"] == {"textFormat": {"type": "json_schema", "structure": schema}}


def test_the_effort_is_handed_on_to_the_model():
    """It is not a member of Converse in every botocore."""
    kwargs = to_converse(MODEL, body(output_config={"effort": "high"}))
    assert kwargs["additionalModelRequestFields"] == {"output_config": {"effort": "high"}}


# -- what is refused -------------------------------------------------------------------------------


def malformed(*violations: str) -> str:
    return f"Malformed input request: {''.join(violations)}, please reformat your input and try again."


def tags(path: str, found: str, *known: str) -> str:
    expected = ", ".join(f"'{tag}'" for tag in known)
    return (
        f"{path}: Input tag '{found}' found using 'type' does not match any of the expected tags: {expected}"
    )


NO_SYSTEM = (
    'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, '
    'not "system" as an input message role.'
)
EMPTY_TURN = "all messages must have non-empty content except for the optional final assistant message"
UNANSWERED = (
    "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1. Each "
    "`tool_use` block must have a corresponding `tool_result` block in the next message."
)
UNASKED = (
    "messages.0: unexpected `tool_use_id` found in `tool_result` blocks: t1. Each `tool_result` block "
    "must have a corresponding `tool_use` block in the previous message."
)
AT_LEAST = "Input should be greater than or equal to"
CITATION = "messages.1.content.0.text.citations.0"
MEDIA = "messages.0.content.0.image.source.base64.media_type"
NO_SEARCH = "results of web search are not available on Amazon Bedrock"
EXTRA = "Extra inputs are not permitted"
_IMAGE = {"type": "base64", "media_type": "image/png", "data": PNG}
_CITED = {
    "type": "char_location",
    "cited_text": "x",
    "document_index": 0,
    "start_char_index": 0,
    "end_char_index": 1,
}
_WEB = {"type": "web_search_result_location", "cited_text": "x", "url": "u", "encrypted_index": "E"}
REFUSED: list[tuple[Any, str]] = [
    # members of the body, in the words of its schema
    ([], malformed("#: expected type: JSONObject, found: JSONArray")),
    (None, malformed("#: expected type: JSONObject, found: Null")),
    (body(max_tokens=None), malformed("#: required key [max_tokens] not found")),
    (body(anthropic_version=None), malformed("#: required key [anthropic_version] not found")),
    (body(foo=1), malformed("#: extraneous key [foo] is not permitted")),
    (
        body(stream=True, model=MODEL),
        malformed(*(f"#: extraneous key [{name}] is not permitted" for name in ("stream", "model"))),
    ),
    (
        body(anthropic_version="2023-06-01"),
        malformed("#/anthropic_version: 2023-06-01 is not a valid enum value"),
    ),
    (body(max_tokens=0), malformed("#/max_tokens: 0 is not greater or equal to 1")),
    (body(max_tokens="9"), malformed("#/max_tokens: expected type: Integer, found: String")),
    (body(max_tokens=True), malformed("#/max_tokens: expected type: Integer, found: Boolean")),
    (body(max_tokens=1.5), malformed("#/max_tokens: expected type: Integer, found: BigDecimal")),
    (body(temperature=1.5), malformed("#/temperature: 1.5 is not less or equal to 1")),
    (body(temperature=float("nan")), malformed("#/temperature: nan is not greater or equal to 0")),
    (body(top_p="1"), malformed("#/top_p: expected type: Number, found: String")),
    (body(top_k=-1), malformed("#/top_k: -1 is not greater or equal to 0")),
    (body(messages="Hi"), malformed("#/messages: expected type: JSONArray, found: String")),
    ({**body(), "system": None}, malformed("#/system: expected type: String, found: Null")),
    (body(stop_sequences=[1]), malformed("#/stop_sequences/0: expected type: String, found: Integer")),
    (body(anthropic_beta=[{}]), malformed("#/anthropic_beta/0: expected type: String, found: JSONObject")),
    (body(stop_sequences=[" "]), "stop_sequences: each stop sequence must contain non-whitespace"),
    # turns
    (body(messages=[]), "messages: at least one message is required"),
    (body(messages=["Hi"]), "messages.0: Input should be a valid dictionary"),
    (body(messages=[{"role": "user"}]), "messages.0.content: Field required"),
    (
        body(messages=[{"role": "user", "content": 1}]),
        "messages.0.content: Input should be a valid string or list",
    ),
    (body(messages=[{"role": "user", "content": "Hi", "name": "Bo"}]), f"messages.0.name: {EXTRA}"),
    (
        body(messages=[{"role": "bot", "content": "Hi"}]),
        "messages.0.role: Input should be 'user' or 'assistant'",
    ),
    (
        body(messages=[{"role": "system", "content": "Hi"}]),
        NO_SYSTEM,
    ),
    (
        body(messages=[{"role": "assistant", "content": "Hi"}]),
        'messages: first message must use the "user" role',
    ),
    (
        conversation("Hi", "", "So?"),
        f"messages.1: {EMPTY_TURN}",
    ),
    (
        conversation(""),
        f"messages.0: {EMPTY_TURN}",
    ),
    (conversation([EMPTY]), "messages: text content blocks must be non-empty"),
    (conversation(" \n"), "messages: text content blocks must contain non-whitespace text"),
    (conversation("Hi", "So "), "messages: final assistant content cannot end with trailing whitespace"),
    (body(system=[EMPTY]), "system: text content blocks must be non-empty"),
    # blocks
    (body("Hi"), "messages.0.content.0: Input should be a valid dictionary"),
    (body({"text": "Hi"}), "messages.0.content.0.type: Field required"),
    (
        body({"type": "video"}),
        tags(
            "messages.0.content.0",
            "video",
            "text",
            "image",
            "document",
            "search_result",
            "tool_use",
            "server_tool_use",
            "tool_result",
            "thinking",
            "redacted_thinking",
        ),
    ),
    (
        body(system=[{"type": "image", "source": _IMAGE}]),
        tags("system.0", "image", "text"),
    ),
    (body({"type": "text"}), "messages.0.content.0.text.text: Field required"),
    (body({"type": "text", "text": None}), "messages.0.content.0.text.text: Field required"),
    (body({"type": "text", "text": 1}), "messages.0.content.0.text.text: Input should be a valid string"),
    (body({"type": "text", "text": "Hi", "foo": 1}), f"messages.0.content.0.text.foo: {EXTRA}"),
    (
        body({"type": "text", "text": "Hi", "cache_control": {"type": "forever"}}),
        tags("messages.0.content.0.text.cache_control", "forever", "ephemeral"),
    ),
    (
        body({"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral", "ttl": "1d"}}),
        "messages.0.content.0.text.cache_control.ephemeral.ttl: Input should be '5m' or '1h'",
    ),
    (
        body({"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}}),
        tags("messages.0.content.0.image.source", "url", "base64"),
    ),
    (
        body({"type": "image", "source": {**_IMAGE, "media_type": "image/tiff"}}),
        f"{MEDIA}: Input should be 'image/jpeg' or 'image/png' or 'image/gif' or 'image/webp'",
    ),
    (
        body({"type": "image", "source": {**_IMAGE, "data": "a*b="}}),
        "messages.0.content.0.image.source.base64.data: Invalid base64 data",
    ),
    (
        body({"type": "image", "source": {**_IMAGE, "data": "é"}}),
        "messages.0.content.0.image.source.base64.data: Invalid base64 data",
    ),
    (
        body({"type": "image", "source": {**_IMAGE, "data": ""}}),
        "messages.0.content.0.image.source.base64.data: String should have at least 1 character",
    ),
    (
        body({"type": "document", "source": {**_IMAGE}}),
        "messages.0.content.0.document.source.base64.media_type: Input should be 'application/pdf'",
    ),
    (
        body({"type": "document", "source": {"type": "content", "content": [{"type": "image"}]}}),
        tags("messages.0.content.0.document.source.content.content.0", "image", "text"),
    ),
    (body(USE), "messages.0: `tool_use` blocks can only be in `assistant` messages"),
    (conversation("Hi", [RESULT], "So?"), "messages.1: `tool_result` blocks can only be in `user` messages"),
    (
        conversation("Hi", [{"type": "redacted_thinking", "data": "*"}], "So?"),
        "messages.1.content.0.redacted_thinking.data: Invalid base64 data",
    ),
    (
        conversation("Hi", [{"type": "thinking", "thinking": "Hm."}], "So?"),
        "messages.1.content.0.thinking.signature: Field required",
    ),
    (
        conversation("Hi", [{"type": "thinking", "thinking": "Hm.", "signature": "s", **CACHED}], "So?"),
        f"messages.1.content.0.thinking.cache_control: {EXTRA}",
    ),
    (
        conversation(
            "Hi", [{"type": "text", "text": "x", "citations": [{**_CITED, "start_char_index": -1}]}]
        ),
        f"{CITATION}.char_location.start_char_index: {AT_LEAST} 0",
    ),
    (
        conversation("Hi", [{"type": "text", "text": "x", "citations": [{**_CITED, "file_id": "f"}]}]),
        f"messages.1.content.0.text.citations.0.char_location.file_id: {EXTRA}",
    ),
    (
        conversation("Hi", [{"type": "text", "text": "x", "citations": [_WEB]}]),
        f"{CITATION}.web_search_result_location.encrypted_index: {NO_SEARCH}",
    ),
    # tools
    (
        conversation("Hi", [USE], [RESULT]),
        "Requests which include `tool_use` or `tool_result` blocks must define tools",
    ),
    (
        conversation("Hi", [{**USE, "id": "a b"}], [RESULT], tools=[TOOL]),
        "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_.:-]{1,64}$'",
    ),
    (
        conversation("Hi", [USE], "So?", tools=[TOOL]),
        UNANSWERED,
    ),
    (
        conversation("Hi", [USE], tools=[TOOL]),
        UNANSWERED,
    ),
    (
        conversation([RESULT], tools=[TOOL]),
        UNASKED,
    ),
    (
        body(tools=[{"type": "bash_20250124", "name": "bash"}]),
        tags("tools.0", "bash_20250124", "custom"),
    ),
    (body(tools=["get_weather"]), "tools.0: Input should be a valid dictionary"),
    (body(tools=[{"name": "f"}]), "tools.0.custom.input_schema: Field required"),
    (
        body(tools=[{"name": "f", "input_schema": {}}]),
        "tools.0.custom.input_schema.type: Field required",
    ),
    (
        body(tools=[{"name": "f", "input_schema": {"type": "array"}}]),
        "tools.0.custom.input_schema.type: Input should be 'object'",
    ),
    (
        body(tools=[{**TOOL, "name": "get weather"}]),
        "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
    ),
    (body(tools=[{**TOOL, "defer_loading": True}]), f"tools.0.custom.defer_loading: {EXTRA}"),
    (body(tools=[TOOL, TOOL]), "tools: Tool names must be unique."),
    (
        body(tool_choice={"type": "auto"}),
        "tool_choice: tool_choice may only be specified while providing tools",
    ),
    (
        body(tools=[TOOL], tool_choice={"type": "some"}),
        tags("tool_choice", "some", "auto", "any", "tool", "none"),
    ),
    (body(tools=[TOOL], tool_choice={"type": "tool"}), "tool_choice.tool.name: Field required"),
    (
        body(tools=[TOOL], tool_choice={"type": "tool", "name": "f"}),
        "tool_choice: Tool 'f' not found in provided tools",
    ),
    (body(tools=[TOOL], tool_choice={"type": "any", "name": "f"}), f"tool_choice.any.name: {EXTRA}"),
    # what is handed on
    (
        body(thinking={"type": "enabled", "budget_tokens": 1000}),
        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
    ),
    (
        body(thinking={"type": "enabled", "budget_tokens": 2000}),
        "`max_tokens` must be greater than `thinking.budget_tokens`.",
    ),
    (body(thinking={"type": "enabled"}), "thinking.enabled.budget_tokens: Field required"),
    (
        body(thinking={"type": "adaptive", "display": "all"}),
        "thinking.adaptive.display: Input should be 'summarized' or 'omitted'",
    ),
    (body(thinking={"type": "disabled", "display": "omitted"}), f"thinking.disabled.display: {EXTRA}"),
    (
        body(thinking={"type": "hard"}),
        tags("thinking", "hard", "adaptive", "between_tools", "disabled", "enabled"),
    ),
    (body(metadata={"team": "x"}), f"metadata.team: {EXTRA}"),
    (
        body(output_config={"effort": "some"}),
        "output_config.effort: Input should be 'low' or 'medium' or 'high' or 'xhigh' or 'max'",
    ),
    (body(output_config={"foo": 1}), f"output_config.foo: {EXTRA}"),
    (
        body(output_format={"type": "xml"}),
        tags("output_format", "xml", "json_schema"),
    ),
    (
        body(output_format={"type": "json_schema"}),
        "output_format.json_schema.schema: Field required",
    ),
    (
        body(output_format={"type": "json_schema", "schema": {}}, output_config={"format": {}}),
        "output_format: output_config.format says the same; give one of them",
    ),
]


@pytest.mark.parametrize(("sent", "words"), REFUSED, ids=[f"{words[:60]}" for _, words in REFUSED])
def test_what_has_no_place_is_refused(sent, words):
    """In Bedrock's and Claude's words, and nothing is passed over in silence."""
    with pytest.raises(Refusal) as caught:
        to_converse(MODEL, sent)
    assert (caught.value.status, caught.value.code) == (400, "ValidationException")
    assert caught.value.message == words


def test_a_model_without_prefill_says_so_in_its_own_words():
    """The words that Converse puts before what a model says are not InvokeModel's."""
    with pytest.raises(Refusal, match=r"^This model does not support assistant message prefill"):
        to_converse("anthropic.claude-opus-4-6-v1", conversation("Hi", "So"))


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "text", "auto", "enabled"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["type", "text", "source", "content", "role", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(name=st.sampled_from([*body(), "system", "tools", "tool_choice", "thinking", "x"]), value=ANY_JSON)
def test_any_member_is_taken_or_refused(name, value):
    """Whatever comes, the answer is arguments that boto3 takes, or words about what is wrong."""
    status, wrong = 200, ""
    try:
        wrong = accepted(to_converse(MODEL, {**body(tools=[TOOL]), name: value}))
    except Refusal as err:
        status = err.status
    assert status in (200, 400)
    assert wrong == ""


# -- an answer, whole ------------------------------------------------------------------------------


def performed(message: Message, usage: dict | None = USAGE, reason: str = "end_turn", **options) -> Recording:
    recording = Recording({"modelId": MODEL})
    for event in to_events(message, stop_reason=reason, usage=usage, latency_ms=12, **options):
        recording.append(event, 0.0)
    return recording


def test_an_answer_is_anthropic_s_message():
    """Each kind of block in Anthropic's shape, and what it has no place for left out."""
    cited = {
        "title": "T",
        "source": "S",
        "sourceContent": [{"text": "a"}, {"text": "b"}],
        "location": {"documentPage": {"documentIndex": 1, "start": 2, "end": 3}},
    }
    message = Message(
        "assistant",
        (
            ReasoningBlock("Hm.", "sig"),
            ReasoningBlock("Unsigned."),
            RedactedBlock(b"\0\1"),
            TextBlock("Plain."),
            ImageBlock("png", {"bytes": b"x"}),
            TextBlock("Cited.", (cited,)),
            ToolResultBlock("t0", ({"text": "x"},)),
            ToolUseBlock("t1", "f", {}, ""),
            ToolUseBlock("t2", "f", None, '{"a'),
            ToolUseBlock("t3", "f", {"a": 1}, '{"a": 1}', "server_tool_use"),
        ),
    )
    usage = {**USAGE, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 50}
    whole = output(performed(message, usage, "tool_use"), MODEL)
    assert whole.pop("id").startswith("msg_bdrk_")
    assert whole == {
        "type": "message",
        "role": "assistant",
        "model": "claude-3-7-sonnet-20250219",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "sig"},
            {"type": "thinking", "thinking": "Unsigned.", "signature": ""},
            {"type": "redacted_thinking", "data": "AAE="},
            {"type": "text", "text": "Plain."},
            {
                "type": "text",
                "text": "Cited.",
                "citations": [
                    {
                        "type": "page_location",
                        "cited_text": "ab",
                        "document_index": 1,
                        "document_title": "T",
                        "start_page_number": 2,
                        "end_page_number": 3,
                    }
                ],
            },
            {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
            {"type": "tool_use", "id": "t2", "name": "f", "input": {"invalid_json": '{"a'}},
            {"type": "server_tool_use", "id": "t3", "name": "f", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 9,
            "cache_creation_input_tokens": 50,
            "cache_read_input_tokens": 100,
            "output_tokens": 4,
        },
    }


ANTHROPIC_REASONS = {
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "refusal",
    "model_context_window_exceeded",
}


@pytest.mark.parametrize("reason", STOP_REASONS)
def test_every_stop_reason_is_one_of_anthropic_s(reason):
    """Those that both know keep their name, and what a guardrail or a filter stopped is a refusal."""
    said = output(performed(Message("assistant"), reason=reason), MODEL)["stop_reason"]
    assert said in ANTHROPIC_REASONS
    assert said == reason or reason not in ANTHROPIC_REASONS
    assert (said == "refusal") == (reason in ("guardrail_intervened", "content_filtered"))


def test_the_stop_sequence_that_was_met_is_in_the_answer():
    """A body asks for it by its stop sequences alone."""
    recording = canned(
        Request.from_kwargs(
            to_converse(
                MODEL, body({"type": "text", "text": "Count from 1 to 20"}, stop_sequences=["9", "7"])
            )
        )
    )
    whole = output(recording, MODEL)
    assert (whole["stop_reason"], whole["stop_sequence"]) == ("stop_sequence", "7")
    assert whole["content"][0]["text"].endswith(" 6, ")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307"),
        ("anthropic.claude-3-haiku-20240307-v1:0:48k", "claude-3-haiku-20240307"),
        ("eu.anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
        ("anthropic.claude-sonnet-5", "claude-sonnet-5"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "claude-haiku-4-5-20251001",
        ),
        ("my-model", "my-model"),
    ],
)
def test_the_model_has_anthropic_s_name(model, name):
    """A model that is not Claude keeps the id by which it was asked."""
    recording = performed(Message("assistant"))
    assert output(recording, model)["model"] == name


def test_an_id_follows_from_the_recording():
    """The same recording has the same id, and another answer has another."""
    ids = [output(performed(Message("assistant", (TextBlock(text),))), MODEL)["id"] for text in "aab"]
    assert ids[0] == ids[1] != ids[2]
    assert all(len(id) == len("msg_bdrk_") + 24 and id[9:].isalnum() for id in ids)
    assert message_id(b"\0") != message_id("\0")


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([StreamFault(service_fault("throttlingException", "Slow down."))], 429),
        ([StreamFault(service_fault("modelStreamErrorException", "Broken."))], 424),
        ([TextDelta(0, "x")], 500),
    ],
)
def test_an_answer_that_failed_is_a_refusal(events, status):
    """As for Converse: what would be an exception in a stream is an HTTP error."""
    recording = Recording()
    for event in events:
        recording.append(event, 0.0)
    with pytest.raises(Refusal) as caught:
        output(recording, MODEL)
    assert caught.value.status == status


# -- an answer, streamed ---------------------------------------------------------------------------


def folded(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client makes of a stream, by the rules of the format and nothing of ours."""
    message: dict[str, Any] = {}
    raw: dict[int, str] = {}
    open_block, over = -1, False
    for event in events:
        kind, index = event["type"], event.get("index", -1)
        assert not over
        assert message or kind == "message_start"
        if kind == "message_start":
            assert not message
            message = json.loads(json.dumps(event["message"]))
        elif kind == "content_block_start":
            assert open_block == -1
            assert index == len(message["content"])
            open_block = index
            message["content"].append(json.loads(json.dumps(event["content_block"])))
        elif kind == "content_block_delta":
            assert index == open_block >= 0
            block, delta = message["content"][index], event["delta"]
            match delta["type"]:
                case "text_delta":
                    block["text"] += delta["text"]
                case "thinking_delta":
                    block["thinking"] += delta["thinking"]
                case "signature_delta":
                    block["signature"] = delta["signature"]
                case "citations_delta":
                    block.setdefault("citations", []).append(delta["citation"])
                case "input_json_delta":
                    assert block["type"] in ("tool_use", "server_tool_use")
                    raw[index] = raw.get(index, "") + delta["partial_json"]
        elif kind == "content_block_stop":
            assert index == open_block >= 0
            open_block = -1
        elif kind == "message_delta":
            assert open_block == -1
            message.update(event["delta"])
            message["usage"].update(event["usage"])
        else:
            assert kind == "message_stop"
            over = True
    for index, text in raw.items():
        message["content"][index]["raw"] = text
    return message


def streamed(recording: Any, **options: Any) -> list[dict[str, Any]]:
    translator = Translator(MODEL, **options)
    return [made for event in recording for made in translator.feed(event)]


def with_raw(message: Message, content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content of a whole answer as a stream says it: a tool's input is text there."""
    uses = iter(message.tool_uses)
    out = []
    for block in content:
        if block["type"] in ("tool_use", "server_tool_use"):
            said = next(uses).raw
            out.append({**block, "input": {}, **({"raw": said} if said else {})})
        else:
            out.append(block)
    return out


@given(message=MESSAGES, split=SPLITS)
def test_a_stream_adds_up_to_the_whole_answer(message, split):
    """Whatever the message and however it is cut, a client that folds gets what InvokeModel says at once."""
    recording = performed(message, split=split)
    whole = output(recording, MODEL)
    got = folded(streamed(recording, usage=USAGE, id=whole["id"]))
    whole["content"] = with_raw(message, whole["content"])
    for block in got["content"]:
        if block.get("raw") == "":  # an empty delta says nothing
            del block["raw"]
    assert got == whole


@given(events=st.lists(EVENTS, max_size=12))
def test_any_order_of_events_makes_a_sound_stream(events):
    """Blocks are numbered in order, one is open at a time, and nothing follows the end."""
    made = streamed([*events, MessageStop("end_turn"), Metadata(USAGE)])
    folded(made)
    assert [out["type"] for out in made[-2:]] == ["message_delta", "message_stop"]


def test_a_stream_begins_and_ends_as_bedrock_s():
    """The head knows the input, the end counts the output, and Bedrock's metrics close it."""
    usage = {**USAGE, "cacheReadInputTokens": 7, "cacheWriteInputTokens": 0}
    events = streamed(
        [
            MessageStart("assistant"),
            TextDelta(0, "Hi"),
            BlockStop(0),
            MessageStop("end_turn"),
            Metadata(usage, 1500),
        ],
        usage={"inputTokens": 9, "outputTokens": 4},
        id="msg_bdrk_x",
        first_byte_ms=250,
    )
    counts = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}
    assert events == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_bdrk_x",
                "type": "message",
                "role": "assistant",
                "model": "claude-3-7-sonnet-20250219",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 9, **counts},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"input_tokens": 9, **counts, "cache_read_input_tokens": 7, "output_tokens": 4},
        },
        {
            "type": "message_stop",
            "amazon-bedrock-invocationMetrics": {
                "inputTokenCount": 9,
                "outputTokenCount": 4,
                "invocationLatency": 1500,
                "firstByteLatency": 250,
                "cacheReadInputTokenCount": 7,
                "cacheWriteInputTokenCount": 0,
            },
        },
    ]


def test_each_delta_is_sent_as_it_comes():
    """Nothing of a text waits for what follows it."""
    translator = Translator(MODEL)
    kinds = [
        [made["type"] for made in translator.feed(event)]
        for event in [MessageStart("assistant"), TextDelta(0, "a"), TextDelta(0, "b"), BlockStop(0)]
    ]
    assert kinds == [
        ["message_start"],
        ["content_block_start", "content_block_delta"],
        ["content_block_delta"],
        ["content_block_stop"],
    ]


def test_pieces_of_a_signature_come_as_one():
    """Clients keep the last signature that they get, and do not join two."""
    pieces = [
        ReasoningDelta(0, "Hm."),
        ReasoningSignature(0, "ab"),
        ReasoningSignature(0, "cd"),
        BlockStop(0),
    ]
    (block,) = folded(streamed(pieces))["content"]
    assert block == {"type": "thinking", "thinking": "Hm.", "signature": "abcd"}


def test_pieces_of_encrypted_reasoning_come_as_one():
    """Their block begins with all of the data, and has no deltas."""
    events = streamed([RedactedReasoning(0, b"\0"), RedactedReasoning(0, b"\1"), BlockStop(0)])
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_stop",
    ]
    assert folded(events)["content"] == [{"type": "redacted_thinking", "data": "AAE="}]


def test_what_has_no_place_in_the_format_is_left_out():
    """Images, seams, faults and the unknown make no event, and blocks are numbered without them."""
    fault = StreamFault(service_fault("throttlingException", "Slow down."))
    silent = [ImageStart(0, "png"), ImageDelta(0, {"bytes": b"x"}), BlockStop(0), Seam("continue"), fault]
    assert streamed([*silent, Unknown("holo", {})]) == []
    (start, *_) = streamed([MessageStart("assistant"), *silent, TextDelta(1, "Hi")])[1:]
    assert start["index"] == 0


@pytest.mark.parametrize("citation", [{}, {"title": "T"}, {"location": {"holo": {}}}, {"location": 3}])
def test_a_citation_without_a_place_is_left_out(citation):
    """Anthropic has no type for one, and clients choose by the type."""
    events = streamed([TextDelta(0, "Hi"), CitationDelta(0, citation), BlockStop(0)])
    assert [event["type"] for event in events][-2:] == ["content_block_delta", "content_block_stop"]
    assert folded(events)["content"] == [{"type": "text", "text": "Hi"}]


def test_a_delta_of_another_kind_begins_another_block():
    """Also where the service forgot to say that the first one ends."""
    events = [TextDelta(0, "Hi"), ToolUseStart(1, "t1", "f"), ToolInputDelta(1, "{}"), TextDelta(0, "So")]
    kinds = [block["type"] for block in folded(streamed(events))["content"]]
    assert kinds == ["text", "tool_use", "text"]


@pytest.mark.parametrize(
    ("between", "texts"),
    [(BlockStop(7), ["ab"]), (BlockStop(0), ["a", "b"]), (ImageStart(0, "png"), ["a", "b"])],
)
def test_a_block_lasts_until_it_ends(between, texts):
    """The stop of another block is none of its own, and an image that begins ends it."""
    content = folded(streamed([TextDelta(0, "a"), between, TextDelta(0, "b")]))["content"]
    assert [block["text"] for block in content] == texts


def test_a_tool_of_a_type_that_nobody_knows_is_a_tool():
    """Clients choose by the type of a block, so it is one that they know."""
    recording = performed(Message("assistant", (ToolUseBlock("t1", "f", {}, "", "holo"),)))
    (whole,), (part,) = output(recording, MODEL)["content"], folded(streamed(recording))["content"]
    assert whole["type"] == part["type"] == "tool_use"


def test_nothing_counts_after_the_end():
    """What a responder says after its message has stopped goes nowhere."""
    ending = [MessageStop("end_turn"), TextDelta(0, "x"), MessageStop("max_tokens"), Metadata(USAGE)]
    events = streamed([MessageStart("assistant"), *ending, TextDelta(0, "x"), Metadata(USAGE)])
    assert [event["type"] for event in events] == ["message_start", "message_delta", "message_stop"]
    assert folded(events)["stop_reason"] == "end_turn"


def test_an_answer_without_metadata_can_be_ended():
    """Whoever knows that nothing more comes asks for the ending, and gets it once."""
    translator = Translator(MODEL, {"inputTokens": 3})
    for event in (MessageStart("assistant"), MessageStop("max_tokens")):
        translator.feed(event)
    delta, stop = translator.finish()
    assert delta["delta"]["stop_reason"] == "max_tokens"
    assert delta["usage"]["input_tokens"] == 3
    assert stop == {"type": "message_stop"}
    assert translator.finish() == []


def test_metadata_without_a_stop_ends_nothing():
    """A message that did not stop has no ending to send."""
    assert streamed([MessageStart("assistant"), Metadata(USAGE)])[1:] == []


def test_ids_of_streams_differ():
    """Clients tell messages by them."""
    assert Translator(MODEL).id != Translator(MODEL).id


# -- there and back --------------------------------------------------------------------------------

_WORDS = st.text(max_size=20).map(lambda text: f"x{text}y")
_LOCATIONS = st.sampled_from(
    [
        {name: {"documentIndex": 1, "start": 2, "end": 3}}
        for name in ("documentChar", "documentPage", "documentChunk")
    ]
    + [{"searchResultLocation": {"searchResultIndex": 1, "start": 2, "end": 3}}, {"web": {"url": "u"}}]
)
_SOURCES = st.builds(
    lambda location, text: {"title": "T", "location": location, "sourceContent": [{"text": text}]},
    _LOCATIONS,
    _WORDS,
)
_SOUND = (
    st.builds(TextBlock, _WORDS, st.lists(_SOURCES, max_size=2).map(tuple))
    | st.builds(ReasoningBlock, _WORDS, st.none() | _WORDS)
    | st.builds(RedactedBlock, st.binary(max_size=9))
    | st.builds(
        lambda id, name, value: ToolUseBlock(id, name, value, json.dumps(value)), NAME, NAME, JSON_OBJECT
    )
)


@given(
    blocks=st.lists(
        _SOUND, min_size=1, max_size=5, unique_by=lambda block: getattr(block, "id", None) or object()
    )
)
def test_an_answer_goes_back_as_the_turn_that_it_was(blocks):
    """A client may send what it got, and the model reads its own words again."""
    message = Message("assistant", tuple(blocks))
    content = output(performed(message), MODEL)["content"]
    results = [{"type": "tool_result", "tool_use_id": use.id} for use in message.tool_uses]
    sent = conversation("Hi", content, [*results, {"type": "text", "text": "So?"}], tools=[TOOL])
    kwargs = to_converse(MODEL, sent)
    back = Message.from_dict(kwargs["messages"][1])
    for was, now in zip(message.content, back.content, strict=True):
        if isinstance(was, TextBlock) and was.citations:
            assert now.text == was.text
            assert [c["location"] for c in now.citations] == [c["location"] for c in was.citations]
            assert [c["sourceContent"] for c in now.citations] == [c["sourceContent"] for c in was.citations]
        else:
            assert now == was
    assert accepted(kwargs) == ""


def test_a_tool_that_the_service_ran_goes_back_too():
    """Its use needs no result from the client."""
    kwargs = to_converse(MODEL, conversation("Hi", [{**USE, "type": "server_tool_use"}], "So?", tools=[TOOL]))
    assert kwargs["messages"][1]["content"][0]["toolUse"]["type"] == "server_tool_use"
    assert accepted(kwargs) == ""


# -- frames and headers ----------------------------------------------------------------------------


@pytest.mark.parametrize("padding", ["", "abc"])
@pytest.mark.parametrize("text", ["Hi", "日本語 \U0001f600", "\ud83d"])
def test_botocore_reads_a_chunk(text, padding):
    """Its bytes are the JSON of the event, with the padding beside them."""
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
    frame = to_chunk(event, padding)
    assert list(frame.headers.items()) == [
        (":event-type", "chunk"),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ]
    assert json.loads(frame.payload).get("p", "") == padding
    assert ("p" in json.loads(frame.payload)) == bool(padding)
    buffer = EventStreamBuffer()
    buffer.add_data(encode(frame))
    (message,) = buffer
    shape = SERVICE.operation_model("InvokeModelWithResponseStream").get_event_stream_output()
    parsed = EventStreamJSONParser().parse(message.to_response_dict(), shape)
    assert json.loads(parsed["chunk"]["bytes"]) == event


def test_the_head_of_a_response_has_the_counts():
    """Tokens and milliseconds, as text; a count that is not known is 0."""
    assert response_headers({**USAGE, "cacheReadInputTokens": 7}, 1500) == {
        "X-Amzn-Bedrock-Invocation-Latency": "1500",
        "X-Amzn-Bedrock-Input-Token-Count": "9",
        "X-Amzn-Bedrock-Output-Token-Count": "4",
        "X-Amzn-Bedrock-Cache-Read-Input-Token-Count": "7",
        "X-Amzn-Bedrock-Cache-Write-Input-Token-Count": "0",
    }
