"""What the embedded server refuses, and in which words: Bedrock's own where it has any."""

from __future__ import annotations

import base64
import copy
import json

import pytest
from botocore.exceptions import ClientError

from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.validation import operation, validate

USER = {"role": "user", "content": [{"text": "What is the weather?"}]}
ASSISTANT = {"role": "assistant", "content": [{"text": "Sunny."}]}
SPEC = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}
USE = {"toolUse": {"toolUseId": "a1", "name": "weather", "input": {}}}
RESULT = {"toolResult": {"toolUseId": "a1", "content": [{"text": "rain"}]}}
DOCUMENT = {"document": {"name": "report", "format": "txt", "source": {"bytes": b"rain"}}}
FAILED = "failed to satisfy constraint: "


def asks(role: str, *blocks: dict) -> dict:
    return {"role": role, "content": list(blocks)}


CONSTRAINTS = [
    (
        {"messages": [USER, asks("bot", {"text": "x"})]},
        f"Value 'bot' at 'messages.2.member.role' {FAILED}Member must satisfy enum value set: [user, a",
    ),
    (
        {"inferenceConfig": {"maxTokens": 0}},
        f"Value '0' at 'inferenceConfig.maxTokens' {FAILED}Member must have value greater than or equal to 1",
    ),
    (
        {"inferenceConfig": {"temperature": 2}},
        f"Value '2.0' at 'inferenceConfig.temperature' {FAILED}Member must have value less than or equal",
    ),
    (
        {"inferenceConfig": {"topP": -0.5}},
        f"Value '-0.5' at 'inferenceConfig.topP' {FAILED}Member must have value greater than or equal to 0",
    ),
    (
        {"inferenceConfig": {"stopSequences": ["a", ""]}},
        (
            f"Value '' at 'inferenceConfig.stopSequences.2.member' {FAILED}"
            "Member must have length greater than or equal to 1"
        ),
    ),
    (
        {"inferenceConfig": {"stopSequences": ["x"] * 2501}},
        f"at 'inferenceConfig.stopSequences' {FAILED}Member must have length less than or equal to 2500",
    ),
    (
        {"toolConfig": {"tools": []}},
        f"Value '[]' at 'toolConfig.tools' {FAILED}Member must have length greater than or equal to 1",
    ),
    (
        {"toolConfig": {}},
        f"Value null at 'toolConfig.tools' {FAILED}Member must not be null",
    ),
    (
        {"messages": [{"role": "user"}]},
        f"Value null at 'messages.1.member.content' {FAILED}Member must not be null",
    ),
    (
        {"messages": [asks("user", {"text": "x", "cachePoint": {"type": "default"}})]},
        f"Value at 'messages.1.member.content.1.member' {FAILED}Member must set exactly one of [text, image",
    ),
    (
        {"messages": [asks("user", {})]},
        f"at 'messages.1.member.content.1.member' {FAILED}Member must set exactly one of",
    ),
    (
        {"toolConfig": {"tools": [{"toolSpec": {**SPEC["toolSpec"], "name": "get weather"}}]}},
        (
            f"Value 'get weather' at 'toolConfig.tools.1.member.toolSpec.name' {FAILED}"
            "Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+"
        ),
    ),
    (
        {"messages": [asks("user", {"image": {"format": "png", "source": {"bytes": b""}}})]},
        (
            f"Value at 'messages.1.member.content.1.member.image.source.bytes' {FAILED}"
            "Member must have length greater than or equal to 1"
        ),
    ),
    (
        {"requestMetadata": {"a!": "x"}},
        (
            f"Value at 'requestMetadata' {FAILED}Map keys must satisfy constraint: "
            "[Member must satisfy regular expression pattern:"
        ),
    ),
    (
        {"requestMetadata": {"a": "naïve"}},
        f"Value 'naïve' at 'requestMetadata.a' {FAILED}Member must satisfy regular expression pattern:",
    ),
    (
        {"guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "0"}},
        f"Value '0' at 'guardrailConfig.guardrailVersion' {FAILED}Member must satisfy regular expression",
    ),
    (
        {"serviceTier": {"type": "golden"}},
        f"Value 'golden' at 'serviceTier.type' {FAILED}Member must satisfy enum value set: [",
    ),
]

#: What boto3's own serializer cannot send; other clients can.
FOREIGN = [
    (
        {"inferenceConfig": {"max_tokens": 5}},
        (
            f"Value at 'inferenceConfig.max_tokens' {FAILED}Member must be one of "
            "[maxTokens, stopSequences, temperature, topP]"
        ),
    ),
    ({"sytem": []}, f"Value at 'sytem' {FAILED}Member must be one of [additionalModel"),
    (
        {"messages": [USER, None]},
        f"Value null at 'messages.2.member' {FAILED}Member must not be null",
    ),
    (
        {"toolConfig": {"tools": [SPEC], "toolChoice": {"none": {}}}},
        f"Value at 'toolConfig.toolChoice.none' {FAILED}Member must be one of [any, auto, tool]",
    ),
]

RULES = [
    ({"messages": []}, "A conversation must start with a user message. Try again with"),
    ({"messages": [ASSISTANT]}, "A conversation must start with a user message."),
    (
        {"messages": [USER, USER]},
        (
            "A conversation must alternate between user and assistant roles. "
            "Make sure the conversation alternates between user and assistant roles and try again."
        ),
    ),
    (
        {"messages": [asks("user", {"text": " \n"})]},
        (
            "The text field in the ContentBlock object at messages.0.content.0 is blank. "
            "Add text to the text field, and try again."
        ),
    ),
    (
        {
            "messages": [
                asks("user", {"text": "x"}, DOCUMENT),
                ASSISTANT,
                asks("user", {"text": "x"}, DOCUMENT),
            ]
        },
        "Messages can't contain duplicate document names. Rename the document and retry your request.",
    ),
    (
        {
            "messages": [
                asks("user", {"text": "x"}, DOCUMENT),
                asks("assistant", USE),
                asks("user", {"toolResult": {"toolUseId": "a1", "content": [DOCUMENT]}}),
            ],
            "toolConfig": {"tools": [SPEC]},
        },
        "Messages can't contain duplicate document names.",
    ),
    ({"system": [{"text": " "}]}, "The text field in the SystemContentBlock object at system.0 is blank."),
    (
        {"messages": [USER, asks("assistant"), USER]},
        (
            "The content field in the Message object at messages.1 is empty. "
            "Add a ContentBlock object to the content field and try again."
        ),
    ),
    (
        {"messages": [USER, asks("assistant", USE), asks("user", RESULT)]},
        "The toolConfig field must be defined when using toolUse and toolResult content blocks.",
    ),
    (
        {"messages": [USER, asks("assistant", USE), USER], "toolConfig": {"tools": [SPEC]}},
        "Expected toolResult blocks at messages.2.content for the following Ids: a1",
    ),
    (
        {"messages": [USER, ASSISTANT, asks("user", RESULT)], "toolConfig": {"tools": [SPEC]}},
        (
            "The number of toolResult blocks at messages.2.content exceeds the number of toolUse blocks "
            "of previous turn."
        ),
    ),
    (
        {"toolConfig": {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": "{}"}}}]}},
        (
            "The format of the value at toolConfig.tools.0.toolSpec.inputSchema.json is invalid. "
            "Provide a json object for the field and try again."
        ),
    ),
    (
        {"additionalModelRequestFields": [1]},
        "The format of the additionalModelRequestFields field is invalid.",
    ),
    (
        {"toolConfig": {"tools": [SPEC], "toolChoice": {"tool": {"name": "clock"}}}},
        "The tool clock in toolConfig.toolChoice is not in toolConfig.tools.",
    ),
    ({"toolConfig": {"tools": [SPEC, SPEC]}}, "contains the tool weather more than once"),
]


@pytest.mark.parametrize("operation_name", ["converse", "converse_stream"])
@pytest.mark.parametrize(("change", "words"), CONSTRAINTS)
def test_a_broken_constraint_is_reported_in_bedrocks_form(client, change, words, operation_name):
    """Real boto3 gets a ValidationException whose message names the value, its place and the constraint."""
    with pytest.raises(client.exceptions.ValidationException) as caught:
        getattr(client, operation_name)(**{"modelId": "m", "messages": [USER], **change})
    message = caught.value.response["Error"]["Message"]
    assert message.startswith("1 validation error detected: Value")
    assert words in message


@pytest.mark.parametrize(("change", "words"), FOREIGN)
def test_members_that_do_not_exist_are_refused_too(post, change, words):
    """A misspelt member that another client lets through is named, with those that there are."""
    status, headers, body = post("/model/m/converse", {"messages": [USER], **change})
    assert (status, headers["x-amzn-ErrorType"].partition(":")[0]) == (400, "ValidationException")
    assert words in json.loads(body)["message"]


@pytest.mark.parametrize(("change", "words"), RULES)
def test_a_broken_rule_of_conversation_is_reported_in_bedrocks_words(client, change, words):
    """What no service model holds is refused with the service's own sentence."""
    with pytest.raises(client.exceptions.ValidationException) as caught:
        client.converse_stream(**{"modelId": "m", "messages": [USER], **change})
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert words in caught.value.response["Error"]["Message"]


def test_all_broken_constraints_are_reported_together(client):
    """The message counts them and lists each."""
    with pytest.raises(client.exceptions.ValidationException) as caught:
        client.converse(
            modelId="m", messages=[asks("bot", {"text": "x"})], inferenceConfig={"maxTokens": 0, "topP": 7}
        )
    message = caught.value.response["Error"]["Message"]
    assert message.startswith("3 validation errors detected: ")
    assert message.count("; ") == 2


SERIALIZATION = [
    ({"inferenceConfig": {"temperature": "hot"}}, "STRING_VALUE cannot be converted to Float"),
    ({"inferenceConfig": {"maxTokens": "5"}}, "STRING_VALUE cannot be converted to Integer"),
    ({"inferenceConfig": {"maxTokens": 1.5}}, "DECIMAL_VALUE cannot be converted to Integer"),
    ({"inferenceConfig": {"maxTokens": True}}, "TRUE_VALUE cannot be converted to Integer"),
    ({"inferenceConfig": {"maxTokens": 10**400}}, "NUMBER_VALUE cannot be converted to Integer"),
    ({"inferenceConfig": {"maxTokens": 1e300}}, "DECIMAL_VALUE cannot be converted to Integer"),
    ({"inferenceConfig": {"maxTokens": []}}, "Start of list found where not expected"),
    ({"inferenceConfig": {"maxTokens": {}}}, "Start of structure or map found where not expected"),
    ({"inferenceConfig": 5}, "Unexpected value type in payload"),
    ({"messages": "hello"}, "Unexpected field type"),
    ({"messages": {}}, "Start of structure or map found where not expected"),
    ({"messages": ["hello"]}, "Unexpected value type in payload"),
    ({"messages": [asks("user", {"text": 5})]}, "NUMBER_VALUE cannot be converted to String"),
    ({"messages": [asks("user", {"text": ["a"]})]}, "Start of list found where not expected"),
    ({"requestMetadata": []}, "Start of list found where not expected"),
    ({"messages": [asks("user", {"image": {"format": "png", "source": {"bytes": "?"}}})]}, "is not base64"),
    ({"messages": [asks("user", {"image": {"format": "png", "source": {"bytes": 5}}})]}, "only base-64"),
    (
        {
            "messages": [
                asks(
                    "user", {"document": {"name": "d", "source": {"text": "t"}, "citations": {"enabled": 1}}}
                )
            ]
        },
        "NUMBER_VALUE cannot be converted to Boolean",
    ),
]


@pytest.mark.parametrize(("change", "words"), SERIALIZATION)
def test_a_value_of_the_wrong_json_type_is_a_serialization_error(change, words):
    """Types are checked before anything else, in the words of AWS's own deserializer."""
    with pytest.raises(Refusal) as caught:
        validate("ConverseStream", "m", {"messages": [USER], **change})
    assert (caught.value.status, caught.value.code) == (400, "SerializationException")
    assert words in caught.value.message


def test_a_wrong_type_reaches_boto3_as_a_serialization_exception(client):
    """What boto3 does not catch itself comes back under AWS's own name."""
    with pytest.raises(ClientError) as caught:
        client.converse(modelId="m", messages=[USER], inferenceConfig={"maxTokens": "five"})
    assert caught.value.response["Error"]["Code"] == "SerializationException"


SOUND = {
    "messages": [
        asks(
            "user",
            {"text": "Look"},
            {"image": {"format": "png", "source": {"bytes": base64.b64encode(b"\x89PNG").decode()}}},
            {"document": {"format": "txt", "name": "notes", "source": {"bytes": "aGk="}}},
            {"guardContent": {"text": {"text": "x", "qualifiers": ["query"]}}},
            {"cachePoint": {"type": "default"}},
        ),
        asks(
            "assistant",
            {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
            {"reasoningContent": {"redactedContent": "AAE="}},
            USE,
            {"toolUse": {"toolUseId": "b2", "name": "weather", "input": {"city": "Rome", "deep": [[{}]]}}},
        ),
        asks(
            "user",
            RESULT,
            {"toolResult": {"toolUseId": "b2", "content": [{"json": {"t": 20}}], "status": "success"}},
            {"text": "And tomorrow?"},
        ),
    ],
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
    "inferenceConfig": {"maxTokens": 10, "temperature": 0, "topP": 1, "stopSequences": []},
    "toolConfig": {"tools": [SPEC], "toolChoice": {"auto": {}}},
    "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
    "requestMetadata": {"course": "streams 1"},
    "performanceConfig": {"latency": "standard"},
}


def test_a_sound_request_comes_back_as_a_boto3_caller_wrote_it():
    """Blobs are bytes, numbers have their type, nulls are left out, and the input is not changed."""
    body = {**copy.deepcopy(SOUND), "guardrailConfig": None}
    before = copy.deepcopy(body)
    checked = validate("ConverseStream", "m", body)
    blocks = checked["messages"][0]["content"]
    assert body == before
    assert checked["modelId"] == "m"
    assert blocks[1]["image"]["source"]["bytes"] == b"\x89PNG"
    assert blocks[2]["document"]["source"]["bytes"] == b"hi"
    assert checked["messages"][1]["content"][1]["reasoningContent"]["redactedContent"] == b"\x00\x01"
    assert type(checked["inferenceConfig"]["temperature"]) is float
    assert "guardrailConfig" not in checked
    assert checked["toolConfig"] == SOUND["toolConfig"]


def test_a_tool_that_bedrock_runs_itself_needs_no_result_from_the_user():
    """A toolUse of type server_tool_use is answered in its own turn."""
    own = {"toolUse": {"toolUseId": "s1", "name": "search", "input": {}, "type": "server_tool_use"}}
    body = {
        "messages": [USER, asks("assistant", own, {"text": "Found."}), USER],
        "toolConfig": {"tools": [SPEC]},
    }
    assert validate("ConverseStream", "m", body)["messages"]


def test_a_model_id_may_be_anything_up_to_its_length():
    """The length is the service model's; the pattern is not asked for."""
    assert validate("Converse", "no such model!", {"messages": [USER]})["modelId"] == "no such model!"
    with pytest.raises(Refusal, match="The provided model identifier is invalid"):
        validate("Converse", " ", {"messages": [USER]})
    with pytest.raises(Refusal, match=r"'modelId' failed .* less than or equal to 2048"):
        validate("Converse", "m" * 2049, {"messages": [USER]})


@pytest.mark.parametrize("name", ["Converse", "ConverseStream"])
def test_every_shape_of_the_service_model_has_a_check(name):
    """A kind of shape that botocore's model has and the walk does not know would fail here, by its name."""
    from bedrock_nb.server.validation import _KINDS

    seen: dict[str, str] = {}

    def collect(shape) -> None:
        if shape.name in seen:
            return
        seen[shape.name] = shape.type_name
        for member in getattr(shape, "members", {}).values():
            collect(member)
        for part in ("member", "key", "value"):
            if hasattr(shape, part):
                collect(getattr(shape, part))

    collect(operation(name).input_shape)
    assert set(seen.values()) <= set(_KINDS)


def test_documents_without_a_title_are_no_matter_in_anthropics_api(post):
    """There a document is told by its number, and its title may come twice or be missing."""
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "rain"}}
    status, _, answer = post(
        "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/invoke",
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": [text, text, {"type": "text", "text": "Compare."}]}],
        },
    )
    assert (status, json.loads(answer)["role"]) == (200, "assistant")
