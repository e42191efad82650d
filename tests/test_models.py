"""models.py and what it stands on: identifiers, facts, what a request needs, and what is refused."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_nb import models
from bedrock_nb.errors import AccessDeniedError, CapabilityError, RequestError
from bedrock_nb.models import catalogue
from bedrock_nb.models.needs import NEEDS
from bedrock_nb.server import BedrockServer, Latency
from bedrock_nb.server.own_models import OWN
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.rules import check_conversation
from tests.converse_model import SERVICE

LITE = "amazon.nova-lite-v1:0"
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"
APPLICATION = "arn:aws:bedrock:us-east-1:444455556666:application-inference-profile/a1b2c3d4e5f6"
BYTES = {"source": {"bytes": b"x"}}
IMAGE = {"image": {"format": "png", **BYTES}}
TEXT = {"text": "hi"}
POINT = {"cachePoint": {"type": "default"}}
SCHEMA = {"jsonSchema": {"schema": '{"type": "object"}'}}
TOOL = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}
RESULT = {"toolResult": {"toolUseId": "t", "content": [IMAGE]}}


def user(*blocks: object) -> dict:
    return {"messages": [{"role": "user", "content": [TEXT, *blocks]}]}


#: Ability -> arguments that need it and, beside an answer in text, nothing else.
ASKS = [
    ("text", user()),
    ("tools", {**user(), "toolConfig": {"tools": [TOOL], "toolChoice": {"any": {}}}}),
    ("vision", user(IMAGE)),
    ("documents", user({"document": {"name": "d", "format": "txt", **BYTES}})),
    ("video", user({"video": {"format": "mp4", **BYTES}})),
    ("system", {**user(), "system": [TEXT]}),
    ("prefill", {"messages": [*user()["messages"], {"role": "assistant", "content": [TEXT]}]}),
    ("caching", user(POINT)),
    (
        "structured_output",
        {**user(), "outputConfig": {"textFormat": {"type": "json_schema", "structure": SCHEMA}}},
    ),
    ("effort", {**user(), "outputConfig": {"effort": "low"}}),
    ("latency_optimized", {**user(), "performanceConfig": {"latency": "optimized"}}),
    ("reasoning", {**user(), "additionalModelRequestFields": {"thinking": {"type": "enabled"}}}),
]
BY_ABILITY = [ability for ability, _ in ASKS]


@pytest.fixture
def learning() -> Iterator[None]:
    """What a test teaches is forgotten after it."""
    yield
    models.forget()


@pytest.fixture(scope="module")
def server() -> Iterator[BedrockServer]:
    with BedrockServer(latency=Latency.none()) as running:
        yield running


# -- identifiers -----------------------------------------------------------------------------------


def arn(resource: str, account: str = "444455556666") -> str:
    return f"arn:aws:bedrock:eu-west-1:{account}:{resource}"


@pytest.mark.parametrize(
    ("text", "kind", "model_id", "prefix"),
    [
        (LITE, "model", LITE, None),
        ("deepseek.v3.2", "model", "deepseek.v3.2", None),
        ("amazon.nova-pro-v1:0:300k", "model", "amazon.nova-pro-v1:0:300k", None),
        (f"{LITE}@cut:after=10|stall", "model", LITE, None),
        (f"us.{LITE}", "inference-profile", LITE, "us"),
        ("global.deepseek.v3.2", "inference-profile", "deepseek.v3.2", "global"),
        (f"us-gov.{SONNET}@cut", "inference-profile", SONNET, "us-gov"),
        (arn(f"foundation-model/{LITE}", ""), "model", LITE, None),
        (arn(f"inference-profile/apac.{LITE}"), "inference-profile", LITE, "apac"),
        (arn(f"inference-profile/eu.{LITE}", ""), "inference-profile", LITE, "eu"),
        (APPLICATION, "application-inference-profile", None, None),
        (arn("provisioned-model/a1b2c3d4e5f6"), "provisioned-model", None, None),
        (arn(f"custom-model/{LITE}/a1b2c3d4e5f6"), "custom-model", LITE, None),
        (arn("custom-model-deployment/a1b2c3d4e5f6"), "custom-model-deployment", None, None),
        (arn("imported-model/a1b2c3d4e5f6"), "imported-model", None, None),
        (arn("prompt/A1B2C3D4E5:1"), "prompt", None, None),
        (arn("default-prompt-router/anthropic.claude:1"), "prompt-router", None, None),
        ("arn:aws-cn:sagemaker:eu-west-1:444455556666:endpoint/mine", "sagemaker-endpoint", None, None),
    ],
)
def test_an_identifier_is_taken_apart(text, kind, model_id, prefix):
    """Kind, model and prefix of every form; of an ARN the region, and an account that is not shown."""
    named = models.parse(text)
    assert (named.kind, named.model_id, named.prefix) == (kind, model_id, prefix)
    region = text.split(":")[3] if text.startswith("arn:") else None
    assert named.region == region
    assert "444455556666" not in repr(named)
    assert named.account == ("444455556666" if "444455556666" in text else None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        f"{LITE}\n",
        "nova lite",
        "arn:aws:s3:::bucket",
        arn(f"foundation-model/{LITE}"),
        arn("x/y"),
        None,
    ],
)
def test_what_is_no_identifier_is_refused_without_account_numbers(text):
    """An ARN of something else, blanks, nothing at all."""
    with pytest.raises(RequestError, match="no model id") as caught:
        models.parse(text)
    assert "444455556666" not in str(caught.value)


@given(
    st.text() | st.from_regex(r"(arn:aws:bedrock:[a-z-]*:[0-9]{0,12}:)?[a-z-]*/?[a-z.:/@-]*", fullmatch=True)
)
def test_no_text_breaks_anything(text):
    """An identifier, or a RequestError; whatever it is, one may ask what it can do."""
    try:
        assert models.parse(text).kind
    except RequestError:
        assert models.find(text) is None
    assert set(models.capabilities(text)) == {*models.ABILITIES, *models.LIMITS}
    models.check({"modelId": text, **user()})


# -- facts -----------------------------------------------------------------------------------------


def test_every_line_of_abilities_is_about_something_and_has_a_source():
    """It names abilities that there are, a source that is there, and ids that some model may have."""
    file = catalogue._file()
    providers = {model.id.partition(".")[0] for model in models.all_models()}
    for line in file["abilities"]:
        named = [name for word in ("can", "cannot", "unknown") for name in line.get(word, "").split()]
        assert set(named) <= set(models.ABILITIES)
        assert len(named) == len(set(named)), line
        assert set(line["from"].split()) <= set(file["sources"])
        assert {start.partition(".")[0] for start in line["models"]} <= providers


@pytest.mark.parametrize(
    ("model", "ability", "known"),
    [
        (LITE, "structured_output", False),
        (f"us.{LITE}", "vision", True),
        (arn(f"inference-profile/us.{LITE}"), "prefill", True),
        (arn(f"custom-model/{LITE}:300k/a1b2c3d4e5f6"), "tools", True),
        ("nova_micro", "documents", False),
        ("amazon.nova-pro-v1:0", "latency_optimized", True),
        ("us.meta.llama3-3-70b-instruct-v1:0", "streaming_tools", False),
        ("meta.llama3-3-70b-instruct-v1:0", "tools", True),
        ("anthropic.claude-opus-4-5-20251101-v1:0", "prefill", True),
        ("anthropic.claude-opus-4-6-v1", "prefill", False),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "effort", False),
        ("anthropic.claude-opus-4-10", "effort", None),
        ("anthropic.claude-sonnet-5", "structured_output", False),
        ("anthropic.claude-sonnet-5-5", "structured_output", True),
        ("anthropic.claude-opus-5-5", "structured_output", None),
        ("deepseek.r1-v1:0", "tools", False),
        ("mistral.mistral-7b-instruct-v0:2", "system", False),
        ("amazon.nova-canvas-v1:0", "streaming", False),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "vision", False),
        (APPLICATION, "tools", None),
        ("nobody.knows-v1:0", "tools", None),
    ],
)
def test_what_a_model_can_do_is_known_by_any_of_its_names(model, ability, known):
    """True, False, or None where nothing is known; general lines count less than those that follow."""
    assert models.supports(model, ability) is known


def test_several_abilities_are_all_needed():
    """One that is missing decides; else one that is not known."""
    assert models.supports(SONNET, "tools", "vision") is True
    assert models.supports(SONNET, "tools", "video", "structured_output") is False
    assert models.supports("anthropic.claude-opus-5-5", "tools", "structured_output") is None


@pytest.mark.parametrize("call", [models.supports, models.require])
def test_a_misspelt_ability_is_refused(call):
    """It would otherwise count as not known, and pass."""
    with pytest.raises(RequestError, match="Did you mean streaming_tools"):
        call(LITE, "streming_tools")


def test_which_models_take_a_prefill_agrees_with_the_embedded_server():
    """Where the catalogue says that a Claude takes none, the server refuses it, and nowhere else."""
    turns = {"messages": [*user()["messages"], {"role": "assistant", "content": [TEXT]}]}
    claudes, takes = [], set()
    for model in models.all_models():
        if model.provider == "Anthropic":
            with suppress(Refusal):
                check_conversation(model.id, turns)
                takes.add(model.id)
            claudes.append(model)
    assert {claude.id for claude in claudes if claude.capabilities["prefill"]} == takes
    assert {claude.capabilities["prefill"] for claude in claudes} == {True, False}


@pytest.mark.parametrize(
    "own", [OWN[name] for name in ("canned", "drawing", "echo")]
)  # ngram is slow to load
@pytest.mark.parametrize(("ability", "asked"), ASKS, ids=BY_ABILITY)
def test_the_embedded_models_can_what_the_catalogue_says(server, runtime, own, ability, asked):
    """The server answers a request that needs an ability if the model has it, and refuses it if not."""
    if models.supports(own, ability):
        assert runtime.converse(modelId=own, **asked)["output"]
    else:
        with pytest.raises(runtime.exceptions.ValidationException):
            runtime.converse(modelId=own, **asked)


@pytest.fixture(scope="module")
def runtime(server):
    client = server.client(config=Config(retries={"total_max_attempts": 1}))
    yield client
    client.close()


# -- what a request needs --------------------------------------------------------------------------


@pytest.mark.parametrize(("ability", "asked"), ASKS, ids=BY_ABILITY)
def test_a_request_needs_what_is_in_it(ability, asked):
    """Each ability is found where it is asked for, and no other is."""
    assert models.needs(asked) == tuple(dict.fromkeys(("text", ability)))


def test_every_need_is_an_ability_and_is_tried_above():
    """The table of needs and the catalogue speak of the same abilities."""
    assert [ability for ability, _ in NEEDS] == BY_ABILITY
    assert set(BY_ABILITY) == set(models.ABILITIES) - {"streaming", "streaming_tools"}


@pytest.mark.parametrize(
    ("asked", "needed"),
    [
        (user(), ()),
        (user(RESULT), ("vision",)),
        (user({"guardContent": IMAGE}), ("vision",)),
        ({**user(), "system": [POINT], "toolConfig": {"tools": []}}, ("system", "caching")),
        ({**user(), "toolConfig": {"tools": [TOOL, POINT]}}, ("tools", "caching")),
        ({**user(), "performanceConfig": {"latency": "standard"}}, ()),
        ({**user(), "additionalModelRequestFields": {"thinking": {"type": "disabled"}}}, ()),
        (
            {**user(), "additionalModelRequestFields": {"reasoningConfig": {"type": "enabled"}}},
            ("reasoning",),
        ),
        ({"messages": None, "system": "", "outputConfig": []}, ()),
    ],
)
def test_needs_are_found_at_any_depth_and_only_where_something_is_asked(asked, needed):
    """In tool results and guarded content too; switched off is not asked for."""
    assert models.needs(asked) == ("text", *needed)


MEMBERS = list(SERVICE.operation_model("ConverseStream").input_shape.members)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "toolResult", "tools", "thinking", "textFormat", "image"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(MEMBERS, ANY)))
def test_arguments_of_any_shape_are_left_to_boto3(asked):
    """What is no request has needs or has none, but breaks nothing."""
    assert set(models.needs(asked)) <= set(models.ABILITIES)
    models.check({**asked, "modelId": "nobody.knows-v1:0"})


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(("ability", "asked"), ASKS, ids=BY_ABILITY)
@pytest.mark.usefixtures("learning")
def test_only_what_is_known_to_fail_is_refused(ability, asked):
    """False refuses; True and not known pass."""
    for known in (True, None):
        models.learn("acme.oracle-v1:0", **{ability: known})
        models.check({"modelId": "us.acme.oracle-v1:0", **asked})
    models.learn("acme.oracle-v1:0", **{ability: False})
    with pytest.raises(CapabilityError) as caught:
        models.check({"modelId": "us.acme.oracle-v1:0", **asked})
    assert (caught.value.model, caught.value.capability) == ("us.acme.oracle-v1:0", ability)


def test_a_refusal_says_what_who_can_and_how_to_overrule():
    """All that is missing, models of the same provider that can, and the call that corrects the catalogue."""
    with pytest.raises(CapabilityError) as caught:
        models.require("claude_opus_4_8", "tools", "prefill", "structured_output")
    assert caught.value.capability == "prefill"
    said = str(caught.value)
    assert said.startswith("claude_opus_4_8 cannot go on with an answer that is begun for it")
    assert "these can: claude_opus_4_5, claude_haiku_4_5, claude_sonnet_4_5." in said
    assert "learn('claude_opus_4_8', prefill=True, structured_output=True)" in said


@pytest.mark.parametrize(
    "model",
    [
        "amazon.nova-canvas-v1:0",
        "amazon.titan-embed-text-v2:0",
        "us.cohere.embed-v4:0",
        "nova_canvas",
        "titan_embed_text",
    ],
)
def test_a_model_that_does_not_answer_in_text_is_refused(model):
    """Models that draw or embed hold no conversation, by whatever name; those that can are named."""
    with pytest.raises(CapabilityError, match=r"cannot answer in text\..*these can: \w+") as caught:
        models.check({"modelId": model, **user()})
    assert caught.value.capability == "text"


@pytest.mark.usefixtures("learning")
def test_a_model_that_is_learned_to_answer_in_text_gets_its_short_name():
    """And loses it when that is forgotten."""
    models.learn("amazon.nova-canvas-v1:0", text=True)
    assert models.resolve("nova_canvas") == models.nova_canvas == "amazon.nova-canvas-v1:0"
    models.forget()
    assert not hasattr(models, "nova_canvas")


def test_where_no_model_of_the_provider_can_others_are_named():
    """One of each provider, and never one of the embedded server."""
    with pytest.raises(CapabilityError, match=r"Of other providers, these can: \w+, claude_\w+") as caught:
        models.require("us.meta.llama4-scout-17b-instruct-v1:0", "streaming_tools", "caching")
    assert "canned" not in str(caught.value)


@pytest.mark.usefixtures("learning")
def test_a_refusal_shows_no_account():
    """Neither its text nor its attribute does."""
    models.learn(APPLICATION, tools=False)
    with pytest.raises(CapabilityError) as caught:
        models.require(APPLICATION, "tools")
    assert "444455556666" not in str(caught.value) + caught.value.model
    models.learn(APPLICATION, **models.capabilities("nova_lite"))
    assert models.supports(APPLICATION, "tools", "vision") is True


def test_more_tokens_than_a_model_writes_are_refused():
    """At its limit it still answers."""
    most = models.capabilities(SONNET)["max_output_tokens"]
    models.check({"modelId": SONNET, "inferenceConfig": {"maxTokens": most}})
    with pytest.raises(CapabilityError, match=f"at most {most} tokens, and maxTokens is {most + 1}"):
        models.check({"modelId": SONNET, "inferenceConfig": {"maxTokens": most + 1}})


def test_a_model_that_is_not_in_the_catalogue_gets_one_note(caplog):
    """At level INFO, without account numbers, and only if something is not known that is asked."""
    unknown = arn("imported-model/z9y8x7w6v5u4", "777788889999")
    with caplog.at_level(logging.INFO, "bedrock_nb.models"):
        models.require(unknown)
        models.require(SONNET, "tools")
        models.require("anthropic.claude-opus-5-5", "structured_output")
        assert caplog.messages == []
        for _ in range(2):
            models.check({"modelId": unknown, **user(IMAGE)})
    (said,) = caplog.messages
    assert "imported-model/z9y8x7w6v5u4 is not in the catalogue of" in said
    assert "777788889999" not in said


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"tols": True}, "Did you mean tools"),
        ({"tools": 1}, "True, False, or None"),
        ({"max_output_tokens": 0}, "number of tokens"),
        ({"context_tokens": True}, "number of tokens"),
    ],
)
def test_nothing_wrong_is_learned(known, words):
    """Names and kinds of values are checked, and nothing of the call is taken."""
    with pytest.raises(RequestError, match=words):
        models.learn("acme.oracle-v1:0", vision=False, **known)
    assert models.supports("acme.oracle-v1:0", "vision") is None


@pytest.mark.usefixtures("learning")
def test_what_is_learned_of_a_profile_is_learned_of_its_model():
    """By whatever name it was taught and is asked; and `forget` brings the file's facts back."""
    models.learn(f"us.{LITE}", structured_output=True)
    assert models.find("nova_lite") is None  # a short name is no identifier
    assert models.find(LITE).capabilities["structured_output"] is True
    assert models.supports("nova_lite", "structured_output") is True
    models.forget()
    assert models.supports("nova_lite", "structured_output") is False


# -- short names -----------------------------------------------------------------------------------


def test_a_short_name_is_the_id_that_can_be_called():
    """With the prefix us where there is such a profile; else on demand, global, or the first."""
    assert models.nova_lite == f"us.{LITE}"
    assert models.claude_sonnet_4_5 == f"us.{SONNET}"
    assert models.claude_haiku_5_5 == "global.anthropic.claude-haiku-5-5"
    assert models.gpt_oss_20b == "openai.gpt-oss-20b-1:0"
    assert models.deepseek_r1 == "us.deepseek.r1-v1:0"  # r1 alone would tell nobody whose it is
    assert models.deepseek_v3_2 == "deepseek.v3.2"
    assert {models.resolve(name) for name in dir(models) if name in OWN} == set(OWN.values())


def test_short_names_are_completed_and_name_what_is_found():
    """`dir` has them and functions, nothing else; each leads to a model that answers in text, none twice."""
    names = [name for name in dir(models) if name not in models.__all__]
    assert all(name.isidentifier() for name in names)
    found = [models.find(getattr(models, name)) for name in names]
    assert None not in found
    assert len(set(found)) == len(names)
    assert {model.capabilities["text"] for model in found} == {True}
    assert all(name in names or callable(getattr(models, name)) for name in dir(models))
    assert not [name for name in dir(models) if isinstance(getattr(models, name), type)]
    assert {"check", "learn", "supports"} <= set(dir(models))


def test_a_misspelt_short_name_is_told_the_right_one():
    """As Python does for its own modules; and nothing private is made up."""
    with pytest.raises(AttributeError, match="Did you mean claude_sonnet_4_5"):
        _ = models.claude_sonet_4_5
    assert not hasattr(models, "_ipython_display_")


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("nova_lite", f"us.{LITE}"),
        ("echo@cut:after=10", f"{OWN['echo']}@cut:after=10"),
        (LITE, LITE),
        ("m", "m"),
        ("", ""),
    ],
)
def test_resolve_changes_short_names_alone(name, id):
    """A fault behind a short name stays; everything else is returned as it came."""
    assert models.resolve(name) == id


def test_the_table_has_a_row_for_each_model():
    """With names, how to call it, and every ability; it is plain data."""
    rows = {row["id"]: row for row in models.table()}
    assert list(rows) == [model.id for model in models.all_models()]
    assert rows[SONNET]["alias"] == "claude_sonnet_4_5"
    assert rows[SONNET]["call_as"] == f"us.{SONNET}"
    assert rows[SONNET]["prefill"] is True
    assert rows["amazon.nova-pro-v1:0:300k"]["call_as"] is None
    assert json.loads(json.dumps(list(rows.values()))) == list(rows.values())


# -- what the service lists ------------------------------------------------------------------------


@pytest.mark.usefixtures("learning")
def test_the_embedded_server_lists_what_the_catalogue_has(server):
    """Asked with real boto3 over pages: nothing is new, nothing differs."""
    client = server.client("bedrock")
    brought = models.refresh(client)
    client.close()
    assert (brought.new, brought.changed) == ((), ())
    assert (brought.models, brought.profiles) == (len(models.all_models()), len(models.profiles()))
    assert repr(brought).startswith("<Refreshed: 0 new and 0 changed of ")


SUMMARY = {
    "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/acme.oracle-7-20270101-v1:0",
    "modelId": "acme.oracle-7-20270101-v1:0",
    "inputModalities": ["TEXT", "IMAGE"],
    "outputModalities": ["TEXT"],
    "responseStreamingSupported": False,
    "inferenceTypesSupported": ["INFERENCE_PROFILE"],
    "modelLifecycle": {"status": "ACTIVE", "startOfLifeTime": datetime(2027, 1, 1, tzinfo=UTC)},
}
ROUTED = {
    "inferenceProfileName": "IN Oracle",
    "inferenceProfileArn": arn("inference-profile/in.acme.oracle-7-20270101-v1:0"),
    "inferenceProfileId": "in.acme.oracle-7-20270101-v1:0",
    "models": [{"modelArn": "arn:aws:bedrock:ap-south-1::foundation-model/acme.oracle-7-20270101-v1:0"}],
    "status": "ACTIVE",
    "type": "SYSTEM_DEFINED",
}


@pytest.fixture
def control():
    """A real boto3 client whose answers are botocore's to give."""
    client = boto3.client(
        "bedrock", region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b"
    )
    with Stubber(client) as stub:
        yield client, stub
    client.close()


@pytest.mark.usefixtures("learning")
def test_a_model_that_the_service_lists_is_learned(control):
    """With modalities, streaming, short name, and profiles of a new prefix; models not listed stay."""
    client, stub = control
    stub.add_response("list_foundation_models", {"modelSummaries": [SUMMARY]})
    stub.add_response("list_inference_profiles", {"inferenceProfileSummaries": [ROUTED]})
    before = models.all_models()
    brought = models.refresh(client)
    assert (brought.new, brought.changed) == ((SUMMARY["modelId"],), ())
    assert models.all_models()[:-1] == before
    assert models.oracle_7 == ROUTED["inferenceProfileId"]
    assert models.find(models.oracle_7).lifecycle["startOfLifeTime"] == "2027-01-01T00:00:00Z"
    assert models.supports(models.oracle_7, "vision") is True
    assert models.supports(models.oracle_7, "streaming") is False
    assert models.supports(models.oracle_7, "tools") is None
    assert models.profile(models.oracle_7).regions == ("ap-south-1",)
    models.forget()
    assert models.all_models() == before


@pytest.mark.usefixtures("learning")
def test_a_known_model_is_brought_up_to_date(control):
    """What the service says of it counts; what only the file says stays."""
    client, stub = control
    old = {**SUMMARY, "modelId": LITE, "modelLifecycle": {"status": "LEGACY"}}
    stub.add_response("list_foundation_models", {"modelSummaries": [old]})
    stub.add_response("list_inference_profiles", {"inferenceProfileSummaries": []})
    assert models.refresh(client).changed == (LITE,)
    assert models.find(LITE).lifecycle == {"status": "LEGACY"}
    assert models.find(LITE).prefixes == ("us", "eu", "apac")


def test_a_service_that_will_not_list_is_a_readable_error(control):
    """The class that botocore has for it and ours, with the permissions that are wanted."""
    client, stub = control
    stub.add_client_error("list_foundation_models", "AccessDeniedException", "no", 403)
    with pytest.raises(AccessDeniedError, match="bedrock:ListFoundationModels") as caught:
        models.refresh(client)
    assert isinstance(caught.value, ClientError)


def test_another_client_is_refused(runtime):
    """The runtime's client lists no models; the message names the one that does."""
    with pytest.raises(RequestError, match="control plane"):
        models.refresh(runtime)
