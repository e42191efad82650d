"""Every operation, as its bytes leave: does the answer fit the service model of the installed botocore?

The answers are read from the socket with nothing of ours between, and judged by botocore's own shapes and its
own parser: no member that is not known, none missing that is required, errors that the operation has.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from itertools import chain
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import create_parser

from tests.server.conformance import missing_members, service, unknown_members
from tests.server.conftest import PROMPT

RUNTIME = service("bedrock-runtime")
#: What any operation of AWS may answer, whatever its own errors are.
COMMON = {
    "AccessDeniedException": 403,
    "InternalServerException": 500,
    "RequestEntityTooLargeException": 413,
    "SerializationException": 400,
    "UnknownOperationException": 404,
    "UnsupportedMediaTypeException": 415,
    "ValidationException": 400,
}
#: Asks for reasoning that comes encrypted: https://docs.claude.com/en/docs/build-with-claude/extended-thinking
MAGIC = (
    "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_"
    "46C9A13E193C177646C7398A98432ECCCE4C1253D5E2D82641AC0E52CC2876CB"
)
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
CITING = {"citations": {"enabled": True}}
GUARD = {"guardrailIdentifier": "embeddedwords", "guardrailVersion": "1"}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}


def said(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def document(source: dict[str, Any]) -> dict[str, Any]:
    return {"document": {"name": "rain", "format": "txt", "source": source, **CITING}}


USED = {"toolUse": {"toolUseId": "t1", "name": "get_weather", "input": {"city": "Rome"}}}
RESULT = {"toolResult": {"toolUseId": "t1", "content": [{"json": {"sky": "clear"}}]}}
WEATHER = {"text": "What is the weather in Rome?"}
TEXT = "The sun shines. It rains."
#: The echo of what is not marked has a word of the list; what is marked has none.
OUTPUT_HIT = said({"guardContent": {"text": {"text": "fine"}}}, {"text": "say swordfish now " * 20})
LONG = {"text": "one two three " * 500}

#: Name of a case -> model id, and a body of Converse and ConverseStream.
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "text": ("m", {"messages": PROMPT}),
    "greeting": ("us.amazon.nova-lite-v1:0", {"messages": said({"text": "hello"})}),
    "system": ("m", {"messages": PROMPT, "system": [{"text": "Be brief."}]}),
    "cut": ("m", {"messages": PROMPT, "inferenceConfig": {"maxTokens": 5}}),
    "stopped": ("m", {"messages": PROMPT, "inferenceConfig": {"stopSequences": ["sun"]}}),
    "tool": ("m", {"messages": said(WEATHER), "toolConfig": TOOLS}),
    "forced tool": (
        "m",
        {"messages": PROMPT, "toolConfig": {**TOOLS, "toolChoice": {"tool": {"name": "get_weather"}}}},
    ),
    "cut tool": (
        "m",
        {
            "messages": PROMPT,
            "toolConfig": {**TOOLS, "toolChoice": {"any": {}}},
            "inferenceConfig": {"maxTokens": 2},
        },
    ),
    "tool result": (
        "m",
        {
            "messages": [*said(WEATHER), {"role": "assistant", "content": [USED]}, *said(RESULT)],
            "toolConfig": TOOLS,
        },
    ),
    "reasoning": ("m", {"messages": PROMPT, "additionalModelRequestFields": THINKING}),
    "cut reasoning": (
        "m",
        {
            "messages": PROMPT,
            "additionalModelRequestFields": THINKING,
            "inferenceConfig": {"maxTokens": 4},
        },
    ),
    "redacted": ("m", {"messages": said({"text": MAGIC}), "additionalModelRequestFields": THINKING}),
    "citation of bytes": (
        "m",
        {"messages": said(document({"bytes": b64encode(TEXT.encode()).decode()}), {"text": "?"})},
    ),
    "citation of text": ("m", {"messages": said(document({"text": TEXT}), {"text": "?"})}),
    "citation of chunks": (
        "m",
        {"messages": said(document({"content": [{"text": TEXT}, {"text": "More."}]}), {"text": "?"})},
    ),
    "image": ("embedded.drawing-v1:0", {"messages": PROMPT}),
    "sampled": ("embedded.ngram-v1:0", {"messages": PROMPT, "inferenceConfig": {"maxTokens": 30}}),
    "echo": ("embedded.echo-v1:0", {"messages": PROMPT}),
    "schema": (
        "m",
        {
            "messages": PROMPT,
            "outputConfig": {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA), "name": "city"}},
                }
            },
        },
    ),
    **{
        f"guarded {where}, {trace}": (
            model,
            {"messages": messages, "guardrailConfig": {**GUARD, "trace": trace}},
        )
        for trace in ("disabled", "enabled", "enabled_full")
        for where, model, messages in (
            ("clean", "m", PROMPT),
            ("in", "m", said({"text": "Open sesame!"})),
            ("out", "embedded.echo-v1:0", OUTPUT_HIT),
        )
    },
    "cached": (
        "m",
        {"messages": said(LONG, {"cachePoint": {"type": "default"}}, {"text": "Count from 1 to 3"})},
    ),
    "optimized": ("m", {"messages": PROMPT, "performanceConfig": {"latency": "optimized"}}),
    **{
        f"tier {tier}": ("m", {"messages": PROMPT, "serviceTier": {"type": tier}})
        for tier in ("priority", "default", "flex", "reserved")
    },
    "raw fields": (
        "m",
        {"messages": PROMPT, "additionalModelResponseFieldPaths": ["/stop_sequence", "/model"]},
    ),
    "labelled": ("m", {"messages": PROMPT, "requestMetadata": {"course": "streams 1"}}),
}

CLAUDE = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 2000}
CLAUDE_ASKS = [{"role": "user", "content": "Tell me about rainbows"}]
CLAUDE_TOOLS = [{"name": "get_weather", "input_schema": SCHEMA}]
GUARD_HEADERS = {
    "X_Amzn_Bedrock_GuardrailIdentifier": "embeddedwords",
    "X_Amzn_Bedrock_GuardrailVersion": "1",
    "X_Amzn_Bedrock_Trace": "ENABLED",
}
#: Name of a case -> a body of InvokeModel, and headers.
INVOKED: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "text": ({"messages": CLAUDE_ASKS}, {}),
    "cut": ({"messages": CLAUDE_ASKS, "max_tokens": 3}, {}),
    "stopped": ({"messages": CLAUDE_ASKS, "stop_sequences": ["sun"]}, {}),
    "thinking": ({"messages": CLAUDE_ASKS, "thinking": {"type": "enabled", "budget_tokens": 1024}}, {}),
    "tool": ({"messages": CLAUDE_ASKS, "tools": CLAUDE_TOOLS, "tool_choice": {"type": "any"}}, {}),
    "guarded": ({"messages": CLAUDE_ASKS}, GUARD_HEADERS),
    "blocked": ({"messages": [{"role": "user", "content": "Open sesame"}]}, GUARD_HEADERS),
    "settings": (
        {"messages": CLAUDE_ASKS},
        {"X_Amzn_Bedrock_PerformanceConfig_Latency": "optimized", "X_Amzn_Bedrock_Service_Tier": "flex"},
    ),
}


# -- what is checked -------------------------------------------------------------------------------


def check_head(headers: Any) -> None:
    """The id is a UUID in its usual form."""
    found = headers["x-amzn-RequestId"]
    assert str(UUID(found)) == found


def check_whole(operation: Any, status: int, headers: Any, body: bytes) -> dict[str, Any]:
    """A whole answer of JSON: known, complete, and read by botocore's parser."""
    shape = operation.output_shape
    check_head(headers)
    assert (status, headers["Content-Type"]) == (200, "application/json"), body
    if not shape.serialization.get("payload"):
        data = json.loads(body)
        assert unknown_members(shape, data) == []
        assert missing_members(shape, data) == []
    read: dict[str, Any] = create_parser("rest-json").parse(
        {"status_code": status, "headers": headers, "body": body}, shape
    )
    assert read["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert set(shape.required_members) <= set(read)
    return read


def check_stream(operation: Any, status: int, headers: Any, body: bytes) -> list[tuple[str, dict[str, Any]]]:
    """A stream: each frame has the service's headers, and a payload that fits the event that it names."""
    shape = operation.output_shape
    stream = shape.members[shape.event_stream_name]
    check_head(headers)
    assert (status, headers["Content-Type"]) == (200, "application/vnd.amazon.eventstream"), body
    buffer = EventStreamBuffer()
    buffer.add_data(body)
    events = []
    whole: Any = create_parser("rest-json")
    parser = whole._event_stream_parser
    for message in buffer:
        response = message.to_response_dict()
        kind = response["headers"][":message-type"]
        name = response["headers"][f":{kind}-type"]
        assert response["headers"] == {
            f":{kind}-type": name,
            ":content-type": "application/json",
            ":message-type": kind,
        }
        data = json.loads(response["body"])
        assert re.fullmatch(r"[a-zA-Z0-9]*", data.pop("p", ""))  # it pads the frame and means nothing
        member = stream.members[name]
        assert bool(member.metadata.get("exception")) is (kind == "exception")
        assert unknown_members(member, data) == []
        assert missing_members(member, data) == []
        if kind == "event":
            assert "SDK_UNKNOWN_MEMBER" not in json.dumps(parser.parse(response, stream), default=repr)
        events.append((name, data))
    return events


def check_error(operation: Any, status: int, headers: Any, body: bytes) -> str:
    """An error that this operation may have, with the status that the service model gives it."""
    check_head(headers)
    assert headers["Content-Type"] == "application/json"
    code = headers["x-amzn-ErrorType"].partition(":")[0]
    listed = {shape.name: shape for shape in operation.error_shapes}
    if code in listed:
        assert status == listed[code].metadata["error"]["httpStatusCode"]
        assert unknown_members(listed[code], json.loads(body)) == []
    else:
        assert COMMON[code] == status
    read = create_parser("rest-json").parse(
        {"status_code": status, "headers": headers, "body": body}, operation.output_shape
    )
    assert read["Error"]["Code"] == code
    assert read["Error"]["Message"]
    return code


# -- the operations on a model ---------------------------------------------------------------------


@pytest.mark.parametrize("case", ASKED)
def test_converse_answers_as_the_service_model_says(post, case):
    """Whatever is asked, the plain answer has known members only, and all that are required."""
    model, body = ASKED[case]
    answer = post(f"/model/{quote(model, safe='')}/converse", body)
    check_whole(RUNTIME.operation_model("Converse"), *answer)


@pytest.mark.parametrize("case", [*ASKED, *(f"{case}, async" for case in ASKED if "guarded" in case)])
def test_converse_stream_answers_as_the_service_model_says(post, case):
    """Whatever is asked, each event is known and whole; the message begins it, its usage ends it."""
    name, later, _ = case.partition(", async")
    model, body = ASKED[name]
    if later:
        body = {**body, "guardrailConfig": {**body["guardrailConfig"], "streamProcessingMode": "async"}}
    answer = post(f"/model/{quote(model, safe='')}/converse-stream", body)
    events = check_stream(RUNTIME.operation_model("ConverseStream"), *answer)
    names = [name for name, _ in events]
    assert (names[0], names[-2:]) == ("messageStart", ["messageStop", "metadata"])


@pytest.mark.parametrize("case", ASKED)
def test_the_cases_are_what_they_are_called(post, case):
    """The table asks for what its names say: no case passes because it fell back to plain text."""
    model, body = ASKED[case]
    answer = json.loads(post(f"/model/{quote(model, safe='')}/converse", body)[2])
    text = json.dumps(answer)
    wanted = {
        "cut": '"max_tokens"',
        "stopped": '"stop_sequence"',
        "tool": '"toolUse"',
        "forced tool": '"toolUse"',
        "cut tool": '"toolUse"',
        "tool result": "The tool returned",
        "reasoning": '"reasoningText"',
        "redacted": '"redactedContent"',
        "citation of bytes": '"documentChar"',
        "citation of text": '"documentChar"',
        "citation of chunks": '"documentChunk"',
        "image": '"image"',
        "cached": "InputTokens",
        "optimized": '"optimized"',
        "tier flex": '"flex"',
        "raw fields": '"additionalModelResponseFields"',
        "guarded in, enabled": '"inputAssessment"',
        "guarded out, enabled": '"outputAssessments"',
    }
    assert wanted.get(case, '"text"') in text
    assert ("guardrail_intervened" in text) is case.startswith(("guarded in", "guarded out"))


@pytest.mark.parametrize("case", INVOKED)
def test_invoke_model_answers_as_the_service_model_says(post, case):
    """The body is bytes of JSON, and what the operation has in headers is of the right values."""
    body, headers = INVOKED[case]
    answer = post("/model/m/invoke", {**CLAUDE, **body}, **headers)
    read = check_whole(RUNTIME.operation_model("InvokeModel"), *answer)
    inner = json.loads(read["body"])
    assert inner["type"] == "message"
    assert read["contentType"] == "application/json"


@pytest.mark.parametrize("case", INVOKED)
def test_invoke_model_with_response_stream_answers_as_the_service_model_says(post, case):
    """Each frame is a chunk of bytes that hold one event of the model's own format."""
    body, headers = INVOKED[case]
    answer = post("/model/m/invoke-with-response-stream", {**CLAUDE, **body}, **headers)
    events = check_stream(RUNTIME.operation_model("InvokeModelWithResponseStream"), *answer)
    assert {name for name, _ in events} == {"chunk"}
    assert answer[1]["X-Amzn-Bedrock-Content-Type"] == "application/json"


# -- those that ask no model -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {"converse": {"messages": PROMPT}},
        {"converse": {"messages": said(WEATHER), "system": [{"text": "Brief."}], "toolConfig": TOOLS}},
        {
            "invokeModel": {
                "body": b64encode(json.dumps({**CLAUDE, "messages": CLAUDE_ASKS}).encode()).decode()
            }
        },
    ],
    ids=["converse", "with tools", "invokeModel"],
)
def test_count_tokens_answers_as_the_service_model_says(post, asked):
    """A whole number of tokens, and nothing else."""
    answer = post("/model/m/count-tokens", {"input": asked})
    read = check_whole(RUNTIME.operation_model("CountTokens"), *answer)
    assert read["inputTokens"] > 0


@pytest.mark.parametrize("scope", ["INTERVENTIONS", "FULL"])
@pytest.mark.parametrize("source", ["INPUT", "OUTPUT"])
@pytest.mark.parametrize("text", ["Nothing to see.", "The swordfish sleeps."])
def test_apply_guardrail_answers_as_the_service_model_says(post, scope, source, text):
    """With a word of the list and without, short and in full."""
    body = {"source": source, "content": [{"text": {"text": text}}], "outputScope": scope}
    answer = post("/guardrail/embeddedwords/version/DRAFT/apply", body)
    read = check_whole(RUNTIME.operation_model("ApplyGuardrail"), *answer)
    assert read["action"] == ("GUARDRAIL_INTERVENED" if "swordfish" in text else "NONE")


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("ListFoundationModels", "/foundation-models"),
        ("ListFoundationModels", "/foundation-models?byProvider=amazon"),
        ("GetFoundationModel", "/foundation-models/amazon.nova-lite-v1%3A0"),
        ("GetFoundationModel", "/foundation-models/embedded.echo-v1%3A0"),
        ("ListInferenceProfiles", "/inference-profiles"),
        ("ListInferenceProfiles", "/inference-profiles?maxResults=2"),
        ("GetInferenceProfile", "/inference-profiles/us.amazon.nova-lite-v1%3A0"),
    ],
)
def test_the_control_plane_answers_as_its_service_model_says(post, operation, path):
    """Lists and single entries, of the service's models and of this server's own."""
    answer = post(path, None, "GET")
    assert len(check_whole(service("bedrock").operation_model(operation), *answer)) > 1


# -- errors ----------------------------------------------------------------------------------------

WAYS = {
    "Converse": ("converse", {"messages": PROMPT}),
    "ConverseStream": ("converse-stream", {"messages": PROMPT}),
    "InvokeModel": ("invoke", {**CLAUDE, "messages": CLAUDE_ASKS}),
    "InvokeModelWithResponseStream": ("invoke-with-response-stream", {**CLAUDE, "messages": CLAUDE_ASKS}),
}


@pytest.mark.parametrize("name", WAYS)
def test_every_error_of_an_operation_can_be_had(post, name):
    """Asked for by its code, each comes with its own status and in its own shape."""
    way, body = WAYS[name]
    operation = RUNTIME.operation_model(name)
    codes = {shape.name: shape.metadata["error"]["httpStatusCode"] for shape in operation.error_shapes}
    found = {}
    for code, status in codes.items():
        answer = post(f"/model/m/{way}", body, x_bedrock_nb_fault=f"refuse:{status},{code}")
        found[check_error(operation, *answer)] = answer[0]
    assert found == codes


@pytest.mark.parametrize("status", [400, 403, 404, 408, 424, 429, 500, 503])
def test_a_status_alone_has_the_services_name(post, status):
    """Whoever asks for a status gets the error that the service has for it."""
    for name, (way, body) in WAYS.items():
        answer = post(f"/model/m/{way}", body, x_bedrock_nb_fault=f"refuse:{status}")
        check_error(RUNTIME.operation_model(name), *answer)
        assert answer[0] == status


ODD = ({}, [], None, {"messages": []}, {"messages": 1}, {"messages": PROMPT, "colour": 1}, b"{", b"")


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        *((name, f"/model/m/{way}") for name, (way, _) in WAYS.items()),
        ("CountTokens", "/model/m/count-tokens"),
        ("ApplyGuardrail", "/guardrail/embeddedwords/version/1/apply"),
        ("ApplyGuardrail", "/guardrail/nosuch/version/1/apply"),
    ],
)
@pytest.mark.parametrize("body", ODD, ids=map(repr, ODD))
def test_what_is_no_request_is_refused_in_the_operations_own_words(post, operation, path, body):
    """No body, however wrong, gets an error that the operation does not have."""
    status, headers, answer = post(path, body)
    assert status < 500
    check_error(RUNTIME.operation_model(operation), status, headers, answer)


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("GetFoundationModel", "/foundation-models/no.such-model"),
        ("GetFoundationModel", "/foundation-models/%20"),
        ("ListFoundationModels", "/foundation-models?byInferenceType=NEVER"),
        ("ListInferenceProfiles", "/inference-profiles?maxResults=x"),
        ("ListInferenceProfiles", "/inference-profiles?nextToken=wrong"),
        ("GetInferenceProfile", "/inference-profiles/no.such-profile"),
    ],
)
def test_the_control_plane_refuses_as_its_service_model_says(post, operation, path):
    """What does not exist and what cannot be are errors that these operations have."""
    status, headers, body = post(path, None, "GET")
    assert status in (400, 404)
    check_error(service("bedrock").operation_model(operation), status, headers, body)


def test_every_answer_has_an_id_of_its_own(post):
    """Whole answers, streams and errors: no id comes twice."""
    paths = ["/model/m/converse", "/model/m/converse-stream", "/model/m/invoke", "/nowhere"]
    answers = (post(path, {"messages": PROMPT}) for path in chain(*[paths] * 5))
    ids = [headers["x-amzn-RequestId"] for _, headers, _ in answers]
    assert len({UUID(found) for found in ids}) == len(ids) == 20


@pytest.mark.parametrize("name", ["ConverseStream", "InvokeModelWithResponseStream"])
def test_every_exception_of_a_stream_fits_its_shape(post, name):
    """Each in-stream exception of the service model can be had as the last frame of a stream."""
    way, body = WAYS[name]
    operation: Any = RUNTIME.operation_model(name)
    stream = operation.output_shape.members[operation.output_shape.event_stream_name]
    faults = [each for each, shape in stream.members.items() if shape.metadata.get("exception")]
    for fault in faults:
        asked = f"exception:name={fault},after=3,message=No more."
        answer = post(f"/model/m/{way}", body, x_bedrock_nb_fault=asked)
        events = check_stream(operation, *answer)
        assert len(events) == 4
        name, said_of_it = events[-1]
        assert (name, said_of_it["message"]) == (fault, "No more.")
    assert len(faults) >= 5
