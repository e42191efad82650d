"""Each field of a request has an effect, or is refused by its name: none is passed over.

The table `TREATED` says what becomes of each; these tests ask for each with boto3 and look.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import bedrock_nb as nb
from bedrock_nb.assembly import fold
from bedrock_nb.request import Request
from bedrock_nb.server import INSTANT, BedrockServer, Latency, drawing, echo, ngram
from bedrock_nb.server.fields import RAW_RESPONSE, TREATED, check_fields
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.wire import from_wire
from tests.server.conformance import service

RUNTIME = service("bedrock-runtime")
ASK = [{"role": "user", "content": [{"text": "Count from 1 to 5"}]}]
SPEC = {"name": "clock", "inputSchema": {"json": {"type": "object", "properties": {}}}}
GUARD = {"guardrailIdentifier": "embeddedwords", "guardrailVersion": "1"}


def schema_of(text: str) -> dict[str, Any]:
    structure = {"jsonSchema": {"schema": text}}
    return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}}


@pytest.mark.parametrize("operation", ["ConverseStream", "Converse"])
def test_every_member_of_the_installed_botocore_is_treated(operation):
    """A member that AWS adds is noticed here, and so is one that the table has and the API has not."""
    assert set(TREATED) == set(RUNTIME.operation_model(operation).input_shape.members)


# -- fields that have an effect --------------------------------------------------------------------


@pytest.fixture(scope="module")
def timed():
    """A server whose answers take time by its law, but only little."""
    with BedrockServer(latency=Latency(ttft=0.02, per_token=0.002)) as server:
        client = server.client(config=Config(retries={"total_max_attempts": 1}))
        yield server, client
        client.close()


def asked(client: Any, **fields: Any) -> dict[str, Any]:
    """The parts of a plain answer that a field may change."""
    answer = client.converse(**{"modelId": "m", "messages": ASK, **fields})
    answer.pop("ResponseMetadata")
    answer["metrics"] = None
    return answer


#: Field -> a value, and what in the answer shows that it was heard.
HEARD: list[tuple[str, Any, Any]] = [
    ("modelId", "embedded.echo-v1:0", "Count from 1 to 5"),
    ("messages", [{"role": "user", "content": [{"text": "Count from 1 to 2"}]}], "1, 2."),
    ("inferenceConfig", {"maxTokens": 3}, "max_tokens"),
    ("inferenceConfig", {"stopSequences": ["3"]}, "stop_sequence"),
    ("toolConfig", {"tools": [{"toolSpec": SPEC}], "toolChoice": {"tool": {"name": "clock"}}}, "tool_use"),
    ("toolConfig", {"tools": [{"toolSpec": SPEC}], "toolChoice": {"any": {}}}, "tool_use"),
    ("guardrailConfig", {**GUARD, "trace": "enabled"}, "inputAssessment"),
    ("additionalModelRequestFields", {"thinking": {"type": "enabled"}}, "reasoningContent"),
    ("additionalModelResponseFieldPaths", ["/stop_reason"], "additionalModelResponseFields"),
    ("performanceConfig", {"latency": "optimized"}, "'latency': 'optimized'"),
    ("serviceTier", {"type": "flex"}, "'type': 'flex'"),
    ("outputConfig", schema_of('{"type": "array", "items": {"type": "integer"}}')["outputConfig"], "[1]"),
]


@pytest.mark.parametrize(
    ("field", "value", "seen"), HEARD, ids=[f"{name}-{i}" for i, (name, *_) in enumerate(HEARD)]
)
def test_a_field_changes_the_answer(client, field, value, seen):
    """With the field the answer has what it asks for, and without it has not."""
    assert seen in str(asked(client, **{field: value}))
    assert seen not in str(asked(client))


def test_the_system_prompt_is_counted(client):
    """It is read: its tokens are input."""
    plain, system = asked(client), asked(client, system=[{"text": "one two three"}])
    assert system["usage"]["inputTokens"] == plain["usage"]["inputTokens"] + 3


@pytest.mark.parametrize("setting", ["temperature", "topP"])
def test_sampling_has_an_effect_on_the_model_that_samples(client, setting):
    """With nothing to choose from the answer is always the same; at full chance prompts lead elsewhere."""
    model = "embedded.ngram-v1:0"

    def said(value: float, words: str) -> str:
        turns = [{"role": "user", "content": [{"text": words}]}]
        config = {setting: value, "maxTokens": 60}
        answer = client.converse(modelId=model, messages=turns, inferenceConfig=config)
        return answer["output"]["message"]["content"][0]["text"]

    assert said(0.0, "The rain") == said(0.0, "The rain")
    assert said(0.0, "The rain") != said(1.0, "The rain")


def test_sampling_leaves_prepared_answers_as_they_are(client):
    """A prepared text is all that this model knows to say."""
    config = {"temperature": 1.0, "topP": 0.1}
    assert asked(client, inferenceConfig=config)["output"] == asked(client)["output"]


def test_request_metadata_is_in_the_log(server, client):
    """The labels of a request stand beside what the server did about it."""
    answer = client.converse(modelId="m", messages=ASK, requestMetadata={"course": "streams 1"})
    truth = server.truth(answer["ResponseMetadata"]["RequestId"])
    assert truth.metadata == {"course": "streams 1"}
    assert truth.summary()["metadata"] == {"course": "streams 1"}


@pytest.mark.parametrize(
    ("fields", "factor"),
    [
        ({}, 1.0),
        ({"performanceConfig": {"latency": "standard"}}, 1.0),
        ({"performanceConfig": {"latency": "optimized"}}, 0.5),
        ({"serviceTier": {"type": "priority"}}, 0.8),
        ({"serviceTier": {"type": "flex"}}, 2.0),
        ({"serviceTier": {"type": "default"}}, 1.0),
        ({"performanceConfig": {"latency": "optimized"}, "serviceTier": {"type": "flex"}}, 1.0),
    ],
)
def test_settings_of_pace_change_when_events_are_due(timed, fields, factor):
    """All times are those of the law, times what was asked for, and the setting comes back in the stream."""
    server, client = timed
    response = client.converse_stream(modelId="m", messages=ASK, **fields)
    events = [pair for event in response["stream"] for pair in event.items()]
    truth = server.truth(response["ResponseMetadata"]["RequestId"])
    wanted = Latency(ttft=0.02, per_token=0.002)
    message = fold([each for name, payload in events for each in from_wire(name, payload)])
    tokens = nb.server.recorded(nb.Request(prompt="?"), message.text).usage["outputTokens"]
    last = truth.due[-1] - truth.due[0]
    first = wanted.ttft - max(0.0, wanted.ttft - 0.05)
    assert last == pytest.approx(factor * (first + (tokens - 1) * wanted.per_token + 0.005), abs=0.0005)
    closing = dict(events)["metadata"]
    for name, value in fields.items():
        assert closing[name] == value


@pytest.mark.parametrize("path", RAW_RESPONSE)
def test_each_part_of_the_raw_response_can_be_asked_for(client, path):
    """In the plain answer and in the stream's messageStop, and only what was asked for."""
    paths = {"additionalModelResponseFieldPaths": [f"/{path}"]}
    plain = client.converse(modelId="m", messages=ASK, **paths)["additionalModelResponseFields"]
    stream = client.converse_stream(modelId="m", messages=ASK, **paths)["stream"]
    (stop,) = [event["messageStop"] for event in stream if "messageStop" in event]
    assert list(plain) == [path]
    assert stop["additionalModelResponseFields"] == plain


# -- fields that are refused -----------------------------------------------------------------------

S3 = {"s3Location": {"uri": "s3://bucket/key"}}


def with_block(**block: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [block, {"text": "?"}]}]}


def with_result(**block: Any) -> dict[str, Any]:
    use = {"toolUse": {"toolUseId": "t", "name": "clock", "input": {}}}
    result = {"toolResult": {"toolUseId": "t", "content": [block]}}
    turns = [*ASK, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]
    return {"messages": turns, "toolConfig": {"tools": [{"toolSpec": SPEC}]}}


#: Fields that cannot be honoured, and what of them the refusal names.
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"promptVariables": {"city": {"text": "Rome"}}}, "promptVariables"),
    ({"additionalModelRequestFields": {"colour": 1}}, r"extraneous key \[colour\]"),
    ({"additionalModelRequestFields": {"top_k": 5, "colour": 1}}, r"extraneous key \[colour\]"),
    ({"additionalModelResponseFieldPaths": ["/nowhere"]}, "/nowhere in additionalModelResponseFieldPaths"),
    (
        {"additionalModelResponseFieldPaths": ["stop_reason"]},
        "stop_reason in additionalModelResponseFieldPaths",
    ),
    ({"outputConfig": {"effort": "low"}}, "effort field of outputConfig"),
    (schema_of("{"), "jsonSchema.schema"),
    (schema_of("[]"), "jsonSchema.schema"),
    (schema_of('"text"'), "jsonSchema.schema"),
    (schema_of("[" * 100_000), "jsonSchema.schema"),
    (schema_of('{"a":' * 100_000), "jsonSchema.schema"),
    ({"toolConfig": {"tools": [{"systemTool": {"name": "nova_grounding"}}]}}, "system tool nova_grounding"),
    ({"guardrailConfig": {"guardrailIdentifier": "nosuch", "guardrailVersion": "1"}}, "guardrail"),
    ({"guardrailConfig": {**GUARD, "guardrailVersion": "7"}}, "guardrail"),
    (with_block(image={"format": "png", "source": S3}), "image is in Amazon S3"),
    (with_block(document={"format": "pdf", "name": "a", "source": S3}), "document is in Amazon S3"),
    (with_block(video={"format": "mp4", "source": S3}), "video is in Amazon S3"),
    (with_result(image={"format": "png", "source": S3}), "image is in Amazon S3"),
    (with_result(document={"format": "pdf", "name": "a", "source": S3}), "document is in Amazon S3"),
]


@pytest.mark.parametrize(
    ("fields", "words"), REFUSED, ids=[f"{'+'.join(fields)}-{i}" for i, (fields, _) in enumerate(REFUSED)]
)
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_a_field_that_cannot_be_honoured_is_refused_by_its_name(client, fields, words, operation):
    """400 ValidationException before any event, in words that say which field it was."""
    with pytest.raises(client.exceptions.ValidationException, match=words):
        getattr(client, operation)(**{"modelId": "m", "messages": ASK, **fields})


@pytest.mark.parametrize("model", ["embedded.echo-v1:0", "embedded.ngram-v1:0", "embedded.drawing-v1:0"])
def test_each_of_the_embedded_models_refuses_them(client, model):
    """Not only the one that answers by default."""
    with pytest.raises(client.exceptions.ValidationException, match="promptVariables"):
        client.converse(modelId=model, messages=ASK, promptVariables={"a": {"text": "b"}})


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("thinking", {"type": "adaptive"}, "yes"),
        ("reasoning_config", {"type": "enabled"}, 1),
        ("reasoningConfig", {"type": "disabled"}, []),
        ("top_k", 5, "nonsense"),
        ("topK", 5, True),
        ("inferenceConfig", {"topK": 5}, {"bogus": 3}),
        ("anthropic_beta", ["x"], "x"),
        ("metadata", {"user_id": "u"}, "u"),
    ],
)
def test_fields_of_models_that_are_known_are_taken(name, value, wrong):
    """What the embedded models understand is no error, if it is of its type."""
    check_fields({"messages": ASK, "additionalModelRequestFields": {name: value, "seed": "any"}})
    with pytest.raises(Refusal, match=name):
        check_fields({"messages": ASK, "additionalModelRequestFields": {name: wrong}})


@pytest.mark.parametrize("model", [echo, drawing, ngram()], ids=["echo", "drawing", "ngram"])
@pytest.mark.parametrize(
    "extra",
    [
        {
            "outputConfig": {
                "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}
            }
        },
        {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}},
        {"toolConfig": {"tools": [{"toolSpec": {"name": "t"}}], "toolChoice": {"any": {}}}},
    ],
    ids=["schema", "reasoning", "tool"],
)
def test_a_model_refuses_what_it_cannot_do(model, extra):
    """Models that only speak refuse a schema, reasoning, and a tool that must be called."""
    request = Request.from_kwargs({"modelId": "m", "messages": ASK, **extra})
    with pytest.raises(Refusal, match="doesn't support"):
        model(request)


@pytest.mark.parametrize("empty", [{}, None])
def test_fields_that_say_nothing_are_no_error(empty):
    """An empty field is as good as none."""
    names = ("promptVariables", "additionalModelRequestFields", "outputConfig", "toolConfig")
    check_fields({"messages": ASK, **dict.fromkeys(names, empty)})


def test_the_first_wrong_field_is_the_one_that_is_named():
    """One refusal at a time, in a fixed order."""
    both = {"promptVariables": {"a": {"text": "b"}}, "outputConfig": {"effort": "low"}, "messages": ASK}
    with pytest.raises(Refusal, match="promptVariables"):
        check_fields(both)


def test_other_responders_decide_for_themselves():
    """A responder that asks another model is given every field, also what these models refuse."""
    seen = []

    def other(request: nb.Request) -> list[Any]:
        seen.append(request.to_kwargs())
        return []

    with BedrockServer(other, latency=INSTANT) as server:
        client = server.client()
        stream = client.converse_stream(modelId="m", messages=ASK, outputConfig={"effort": "low"})["stream"]
        assert list(stream) == []
        client.close()
    assert seen[0]["outputConfig"] == {"effort": "low"}


# -- what InvokeModel has in headers ---------------------------------------------------------------

CLAUDE = json.dumps(
    {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 60,
        "messages": [{"role": "user", "content": "Count from 1 to 5"}],
    }
)
SWORDFISH = CLAUDE.replace("Count from 1 to 5", "swordfish")
#: Members of InvokeModel that come in headers or are the path or the body.
INVOKE_MEMBERS = {
    "body", "modelId", "accept", "contentType", "trace", "guardrailIdentifier", "guardrailVersion"
} | {"performanceConfigLatency", "serviceTier", "requestMetadata"}  # fmt: skip


@pytest.mark.parametrize("operation", ["InvokeModel", "InvokeModelWithResponseStream"])
def test_every_header_of_invoke_model_is_looked_at_here(operation):
    """A member that AWS adds is noticed."""
    assert set(RUNTIME.operation_model(operation).input_shape.members) == INVOKE_MEMBERS


def invoked(client: Any, body: str = CLAUDE, **members: Any) -> dict[str, Any]:
    answer = client.invoke_model(modelId="m", body=body, **members)
    return {**answer, "body": json.loads(answer["body"].read())}


def test_the_guardrail_of_a_header_is_asked(client):
    """With it a word of its list stops the call, without it nothing does."""
    assert "sorry" not in str(invoked(client, SWORDFISH)["body"]).lower()
    assert "sorry" in str(invoked(client, SWORDFISH, **GUARD)["body"]).lower()
    for trace in ("ENABLED", "DISABLED", "ENABLED_FULL"):
        assert "sorry" in str(invoked(client, SWORDFISH, trace=trace, **GUARD)["body"]).lower()


@pytest.mark.parametrize(
    ("member", "header", "value"),
    [
        ("performanceConfigLatency", "performanceConfigLatency", "optimized"),
        ("serviceTier", "serviceTier", "flex"),
    ],
)
def test_settings_of_headers_come_back_in_headers(client, member, header, value):
    """The answer says which setting it was given by; without one it says nothing."""
    assert invoked(client, **{member: value})[header] == value
    assert header not in invoked(client)


@pytest.mark.parametrize(
    ("member", "factor"), [({"performanceConfigLatency": "optimized"}, 0.5), ({"serviceTier": "flex"}, 2.0)]
)
def test_settings_of_headers_change_the_pace(timed, member, factor):
    """The plain answer is due when the law says, times what was asked for."""
    server, client = timed
    usual, asked_for = invoked(client), invoked(client, **member)
    due = [server.truth(each["ResponseMetadata"]["RequestId"]).due[0] for each in (usual, asked_for)]
    assert due[1] == pytest.approx(due[0] * factor, abs=0.0005)


def test_metadata_of_a_header_is_in_the_log(server, client):
    """As that of Converse."""
    answer = invoked(client, requestMetadata=json.dumps({"course": "streams 1"}))
    assert server.truth(answer["ResponseMetadata"]["RequestId"]).metadata == {"course": "streams 1"}


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"accept": "text/plain"}, "Accept type .* text/plain"),
        ({"trace": "LOUD"}, "'trace'"),
        ({"guardrailIdentifier": "nosuch", "guardrailVersion": "1"}, "guardrail"),
        ({"guardrailIdentifier": "embeddedwords"}, "guardrail"),
        ({"guardrailVersion": "1"}, "guardrail"),
        ({"guardrailIdentifier": "NO SUCH", "guardrailVersion": "1"}, "guardrailIdentifier"),
        ({"performanceConfigLatency": "warp"}, "performanceConfigLatency"),
        ({"serviceTier": "gold"}, "serviceTier"),
        ({"requestMetadata": "no JSON"}, "requestMetadata"),
        ({"requestMetadata": "[]"}, "requestMetadata"),
        ({"requestMetadata": '[["a", "b"]]'}, "requestMetadata"),
        ({"requestMetadata": '{"a": 1}'}, "requestMetadata"),
    ],
)
@pytest.mark.parametrize("operation", ["invoke_model", "invoke_model_with_response_stream"])
def test_a_header_that_cannot_be_honoured_is_refused_by_its_name(client, members, words, operation):
    """400 ValidationException, in words that say which one it was."""
    with pytest.raises(client.exceptions.ValidationException, match=words):
        getattr(client, operation)(modelId="m", body=CLAUDE, **members)


@pytest.mark.parametrize("accept", ["application/json", "*/*"])
def test_json_may_be_asked_for(client, accept):
    """What the answer is anyway."""
    assert invoked(client, accept=accept)["contentType"] == "application/json"


def test_a_body_of_another_kind_is_refused(client):
    """contentType says what the body is, and only JSON is read."""
    with pytest.raises(ClientError, match="application/json") as caught:
        client.invoke_model(modelId="m", body=CLAUDE, contentType="text/plain")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 415
