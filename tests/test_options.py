"""options.py: every short name goes where the API wants it, and nothing is filled twice."""

from __future__ import annotations

import re
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from bedrock_nb.errors import RequestError
from bedrock_nb.options import OPTIONS, PLACES, split
from bedrock_nb.request import Request

MODEL = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
SHAPE: Any = MODEL.operation_model("ConverseStream").input_shape

CLAUDE, NEWER, NOVA = (
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "us.anthropic.claude-opus-4-7",
    "nova-2-lite",
)
TOOL = {"toolSpec": {"name": "look_up", "inputSchema": {"json": {"type": "object"}}}}
ARN = "arn:aws:bedrock:us-east-1:123456789012:guardrail/abc"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "structure": {"jsonSchema": {"schema": "{}"}}}
WHOLE = {"id": "abc", "version": 2, "mode": "async", "trace": "enabled"}


def sent(model: str = "m", **settings: Any) -> dict[str, Any]:
    """What is sent for some settings, besides the question."""
    kwargs = Request(model, "hi", **settings).to_kwargs()
    assert ParamValidator().validate(kwargs, SHAPE).generate_report() == ""
    return {name: value for name, value in kwargs.items() if name not in ("modelId", "messages")}


def fields(**members: Any) -> dict[str, Any]:
    return {"additionalModelRequestFields": members}


def test_every_member_of_the_api_has_a_short_name():
    """What AWS adds to ConverseStream is missing here until it has one."""
    members = {
        f"{name}.{inner}" if inner else name
        for name, shape in SHAPE.members.items()
        for inner in (
            shape.members if shape.type_name == "structure" and not shape.is_document_type else [""]
        )
    }
    assert members <= PLACES.keys()
    assert {*PLACES.values(), *OPTIONS} <= {*Request.__dataclass_fields__}


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"tool_choice": "auto"}, {"toolChoice": {"auto": {}}}),
        ({"tool_choice": "any"}, {"toolChoice": {"any": {}}}),
        ({"tool_choice": "look_up"}, {"toolChoice": {"tool": {"name": "look_up"}}}),
        ({"tool_choice": {"any": {}}}, {"toolChoice": {"any": {}}}),
    ],
    ids=repr,
)
def test_a_tool_is_chosen(settings, arguments):
    """By a word, by its name, or as the API has it."""
    assert sent(tools=[TOOL], **settings) == {"toolConfig": {"tools": [TOOL], **arguments}}


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (
            {"guardrail": "abc"},
            {"guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "DRAFT"}},
        ),
        (
            {"guardrail": "abc:12"},
            {"guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "12"}},
        ),
        ({"guardrail": ARN}, {"guardrailConfig": {"guardrailIdentifier": ARN, "guardrailVersion": "DRAFT"}}),
        (
            {"guardrail": f"{ARN}:1", "guardrail_mode": "sync", "guardrail_trace": "enabled_full"},
            {
                "guardrailConfig": {
                    "guardrailIdentifier": ARN,
                    "guardrailVersion": "1",
                    "streamProcessingMode": "sync",
                    "trace": "enabled_full",
                }
            },
        ),
        (
            {"guardrail": WHOLE},
            {
                "guardrailConfig": {
                    "guardrailIdentifier": "abc",
                    "guardrailVersion": "2",
                    "streamProcessingMode": "async",
                    "trace": "enabled",
                }
            },
        ),
        (
            {"guardrail": {"id": "abc", "version": None, "guardrailVersion": "3", "mode": None}},
            {"guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "3"}},
        ),
        (
            {"guardrail": {"guardrailIdentifier": "abc"}},
            {"guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "DRAFT"}},
        ),
        ({"effort": "low"}, {"outputConfig": {"effort": "low"}}),
        ({"service_tier": "flex"}, {"serviceTier": {"type": "flex"}}),
        ({"latency": "optimized"}, {"performanceConfig": {"latency": "optimized"}}),
        ({"prompt_variables": {"city": "Paris"}}, {"promptVariables": {"city": {"text": "Paris"}}}),
        ({"prompt_variables": {"city": {"text": "Paris"}}}, {"promptVariables": {"city": {"text": "Paris"}}}),
        ({"metadata": {"course": "1", "team": ""}}, {"requestMetadata": {"course": "1", "team": ""}}),
        ({"additional": {"top_k": 20}}, fields(top_k=20)),
        ({"response_fields": "/a"}, {"additionalModelResponseFieldPaths": ["/a"]}),
        ({"response_fields": ("/a", "/b")}, {"additionalModelResponseFieldPaths": ["/a", "/b"]}),
        (
            {"additional": {"top_k": 20}, "extra": fields(seed=1)},
            fields(seed=1, top_k=20),
        ),
        (
            {
                "effort": "low",
                "extra": {"outputConfig": {"textFormat": FORMAT}},
            },
            {"outputConfig": {"effort": "low", "textFormat": FORMAT}},
        ),
    ],
    ids=repr,
)
def test_a_short_name_goes_to_its_place(settings, arguments):
    """Only what is set is sent; botocore accepts each."""
    assert sent(**settings) == arguments


@pytest.mark.parametrize(
    ("model", "thinking", "member"),
    [
        (CLAUDE, 2000, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (CLAUDE, {"type": "disabled"}, {"thinking": {"type": "disabled"}}),
        (CLAUDE, {"thinking": {"type": "disabled"}}, {"thinking": {"type": "disabled"}}),
        ("embedded.canned-v1:0", 1024, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (NEWER, "adaptive", {"thinking": {"type": "adaptive"}}),
        (NOVA, "high", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        (NOVA, {"type": "disabled"}, {"reasoningConfig": {"type": "disabled"}}),
        ("m", {"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
    ],
)
def test_thinking_has_the_form_of_the_models_family(model, thinking, member):
    """A dict of a model that nobody knows goes as it is."""
    assert sent(model, thinking=thinking) == fields(**member)
    assert sent(model, thinking=thinking, additional={"k": 1}) == fields(**member, k=1)


@pytest.mark.parametrize(
    ("model", "thinking", "said"),
    [
        (CLAUDE, 1000, "from 1024"),
        (CLAUDE, True, "from 1024"),
        (CLAUDE, {}, "from 1024"),
        (NEWER, 2000, "sets its budget itself"),
        (NOVA, 2000, "has no budget of tokens"),
        ("us.amazon.nova-lite-v1:0", 2000, "nova-lite.* cannot"),
        (
            "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/x",
            2000,
            r"\*{12}.* not known",
        ),
    ],
)
def test_thinking_that_a_model_does_not_know_is_refused(model, thinking, said):
    """The error says what its family takes."""
    with pytest.raises(RequestError, match=said):
        Request(model, "hi", thinking=thinking)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tool_choice": "any"}, "there are no tools"),
        ({"tool_choice": "lookup", "tools": [TOOL]}, "Did you mean 'look_up'?"),
        ({"tool_choice": "x", "tools": [TOOL]}, "There are 'look_up'"),
        ({"tool_choice": 5, "tools": [TOOL]}, 'Give "auto"'),
        ({"guardrail": "Abc"}, "guardrail is 'Abc'"),
        ({"guardrail": {"name": "abc"}}, '"id:version"'),
        ({"guardrail": {"id": None}}, "Give its id"),
        ({"guardrail": {"id": "abc", "guardrailIdentifier": "abd"}}, "under two names"),
        ({"guardrail": ARN.replace("guardrail/", "guard/")}, "us-east-1:************:guard"),
        ({"guardrail": 5}, "guardrail is 5"),
        ({"guardrail_mode": "slow"}, "'sync', 'async'"),
        ({"guardrail_trace": True}, "'disabled'"),
        ({"effort": ""}, "effort is ''"),
        ({"effort": 3}, "effort is 3"),
        ({"service_tier": "fast"}, "'reserved'"),
        ({"latency": "low"}, "'standard', 'optimized'"),
        ({"latency": ["optimized"]}, "'standard', 'optimized'"),
        ({"prompt_variables": {"city": 5}}, "names and texts"),
        ({"prompt_variables": "city"}, "names and texts"),
        ({"metadata": {"run": 3}}, "up to 16"),
        ({"metadata": {"run": "a|b"}}, "up to 16"),
        ({"metadata": {f"{i}": "" for i in range(17)}}, "up to 16"),
        ({"metadata": "run"}, "up to 16"),
        ({"additional": [1]}, "additional is [1]"),
        ({"response_fields": "stop"}, "JSON pointers"),
        ({"response_fields": [f"/{i}" for i in range(11)]}, "up to 10"),
        ({"response_fields": 5}, "a list is wanted"),
        ({"schema": 5}, "schema is 5"),
    ],
    ids=repr,
)
def test_a_value_that_cannot_work_is_refused(settings, said):
    """Before anything is sent, with what would work."""
    with pytest.raises(RequestError, match=re.escape(said)):
        Request("m", "hi", **settings)


@pytest.mark.parametrize(
    "settings", [{"metadata": {"key|": "secret"}}, {"prompt_variables": {"a": ["secret"]}}]
)
def test_what_is_sensitive_is_not_in_an_error(settings):
    """botocore's model marks these two; an error is shown to others."""
    with pytest.raises(RequestError) as caught:
        Request("m", "hi", **settings)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (
            {"latency": "optimized", "extra": {"performanceConfig": {"latency": "standard"}}},
            "performanceConfig",
        ),
        ({"latency": "optimized", "extra": {"performanceConfig": 5}}, "performanceConfig"),
        ({"guardrail": WHOLE, "guardrail_mode": "sync"}, "guardrail="),
        ({"guardrail": "abc", "extra": {"guardrailConfig": {"guardrailVersion": "1"}}}, "guardrailConfig"),
        ({"additional": {"k": 1}, "extra": fields(k=2)}, "additionalModelRequestFields"),
        ({"thinking": {"k": 1}, "additional": {"k": 1}}, "thinking="),
        ({"tools": {"tools": [TOOL], "toolChoice": {"any": {}}}, "tool_choice": "auto"}, "toolConfig"),
        ({"metadata": {"a": "1"}, "extra": {"requestMetadata": {"a": "2"}}}, "requestMetadata"),
    ],
    ids=repr,
)
def test_one_place_is_filled_once(settings, names):
    """Neither of two values is dropped in silence; the error names both ways."""
    short = [name for name in settings if name in OPTIONS]
    with pytest.raises(RequestError, match="given twice") as caught:
        Request("m", "hi", **settings)
    assert names in str(caught.value)
    assert f"{short[-1]}=" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "changed"),
    [
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tool_choice": "any"}),
        ({"tools": [TOOL], "tool_choice": "auto"}, {"tool_choice": None}),
        ({"guardrail": "abc:1", "guardrail_trace": "enabled"}, {"guardrail": "abd"}),
        ({"guardrail": WHOLE}, {"guardrail": None}),
        (
            {"guardrail": WHOLE},
            {"guardrail": {"id": "abd", "version": "1", "mode": "sync", "trace": "disabled"}},
        ),
        ({"guardrail": "abc", "guardrail_mode": "sync"}, {"guardrail_mode": None}),
        ({"schema": SCHEMA, "effort": "low"}, {"schema": {"type": "string"}}),
        ({"schema": SCHEMA, "effort": "low"}, {"schema": None, "effort": "high"}),
        ({"service_tier": "flex", "latency": "standard"}, {"service_tier": None, "latency": "optimized"}),
        (
            {"prompt_variables": {"a": "b"}, "metadata": {"c": "d"}},
            {"prompt_variables": None, "metadata": {}},
        ),
        ({"thinking": 2000, "additional": {"k": 1}}, {"thinking": 3000}),
        ({"thinking": 2000, "additional": {"k": 1}}, {"additional": {"j": 2}}),
        ({"thinking": 2000, "additional": {"k": 1}}, {"thinking": None, "additional": None}),
        (
            {"response_fields": ["/a"], "max_tokens": 5, "stop": ["x"]},
            {"response_fields": ["/b"], "stop": ()},
        ),
        ({"system": "a"}, {"system": "b"}),
    ],
    ids=repr,
)
def test_a_setting_under_the_apis_name_is_changed_by_its_short_name(settings, changed):
    """A request that was made from arguments of boto3 is changed as one that was made from short names."""
    short = Request(CLAUDE, "hi", **settings)
    assert Request.from_kwargs(short.to_kwargs()).replace(**changed).to_kwargs() == (
        short.replace(**changed).to_kwargs()
    )


def test_new_tools_leave_no_choice_among_the_old_ones():
    """A toolConfig that came whole goes whole."""
    whole = Request("m", "hi", extra={"toolConfig": {"tools": [TOOL], "toolChoice": {"any": {}}}})
    other = {"toolSpec": {**TOOL["toolSpec"], "name": "other"}}
    assert whole.replace(tools=[other]).to_kwargs()["toolConfig"] == {"tools": [other]}


def test_what_was_given_may_change_afterwards():
    """Dicts are copied on the way in and on the way out, and a copy keeps all settings."""
    given: dict[str, Any] = {"additional": {"a": [1]}, "schema": {**SCHEMA}, "metadata": {"a": "b"}}
    request = Request("m", "hi", **given)
    before = request.to_kwargs()
    given["additional"]["a"].append(2)
    given["schema"]["type"] = "array"
    given["metadata"]["c"] = "d"
    request.to_kwargs()["additionalModelRequestFields"]["a"].append(3)
    assert request.to_kwargs() == before == request.replace(model="m").to_kwargs()
    assert request.after({"role": "assistant", "content": "ok"}, "go on").schema == SCHEMA


def test_settings_are_told_from_arguments_of_the_api():
    """Messages stay with those: they go with the prompt."""
    given, extra = split(
        {"latency": "optimized", "serviceTier": 1, "messages": [], "model": "m", "colour": 2}
    )
    assert (given, extra) == (
        {"latency": "optimized", "model": "m"},
        {"serviceTier": 1, "messages": [], "colour": 2},
    )
