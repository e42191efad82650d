"""The control plane: which models and inference profiles the embedded server says there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.models import catalogue
from bedrock_nb.models.catalogue import all_models, find, profile, profiles
from bedrock_nb.server.control import OPERATIONS, route
from bedrock_nb.server.own_models import OWN
from bedrock_nb.server.refusal import Refusal
from tests.server.conformance import missing_members, parsed, service, unknown_members

MODELS = [model.id for model in all_models()]
PROFILES = [each.id for each in profiles()]
FAILED = "failed to satisfy constraint: "


def ask(path: str, **query: str) -> dict:
    """Route a GET as the endpoint does and answer it; the answer must fit botocore's shape of it."""
    found = route("GET", path, query)
    assert found is not None
    name, params = found
    output = OPERATIONS[name](params)
    shape = service("bedrock").operation_model(name).output_shape
    assert unknown_members(shape, output) == []
    assert missing_members(shape, output) == []
    seen = parsed(shape, output)
    assert seen.keys() == output.keys()
    return seen


def refused(path: str, **query: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        ask(path, **query)
    return caught.value


def attempt(path: str, **query: str) -> Refusal | None:
    """How a request is refused; None if it is answered."""
    try:
        ask(path, **query)
    except Refusal as refusal:
        return refusal
    return None


def listed(**query: str) -> list[str]:
    return [summary["modelId"] for summary in ask("/foundation-models", **query)["modelSummaries"]]


# -- the check itself ------------------------------------------------------------------------------


def test_what_does_not_fit_a_shape_is_named():
    """Unknown and missing members at any depth, and values of another type; a null is not there."""
    shape = service("bedrock").operation_model("ListInferenceProfiles").output_shape
    model = {"modelArn": 7, "colour": "red"}
    summary = {"inferenceProfileId": "x", "models": [model], "status": None, "createdAt": 1.5}
    data = {"inferenceProfileSummaries": [summary], "next": "y", "nextToken": None}
    first = "inferenceProfileSummaries[0]"
    assert unknown_members(shape, data) == [
        "next",
        f"{first}.models[0].colour",
        f"{first}.models[0].modelArn is no string",
        f"{first}.createdAt is no timestamp",
    ]
    missing = ["inferenceProfileArn", "inferenceProfileName", "status", "type"]
    assert missing_members(shape, data) == [f"{first}.{name}" for name in missing]
    assert unknown_members(shape, []) == ["the whole is no structure"]


def test_a_union_sets_one_member_and_a_document_may_hold_anything():
    """Blocks of a message are unions; a tool's input is free JSON."""
    shape = service("bedrock-runtime").shape_for("ContentBlock")
    use = {"toolUse": {"toolUseId": "a", "name": "b", "input": {"free": [None, True]}}}
    assert unknown_members(shape, use) == missing_members(shape, use) == []
    assert unknown_members(shape, {**use, "text": "x"}) == ["the whole sets 2 members of a union"]
    assert missing_members(shape, {"toolUse": {"name": "b"}}) == ["toolUse.input", "toolUse.toolUseId"]


# -- the catalogue ---------------------------------------------------------------------------------


def test_the_embedded_servers_own_models_are_listed():
    """Each has a name of its own, and they come first."""
    assert set(MODELS[: len(OWN)]) == set(OWN.values())
    assert {find(own).provider for own in OWN.values()} == {"bedrock_nb"}


def test_ids_are_listed_once():
    """No model and no profile stands in the catalogue twice, and no profile has a model's id."""
    assert len(set(MODELS)) == len(MODELS)
    assert len(set(PROFILES)) == len(PROFILES)
    assert not set(MODELS) & set(PROFILES)


def test_the_file_says_where_its_facts_come_from():
    """Sources and a day, so that a reader can tell how old the facts are."""
    about = catalogue._file()
    assert datetime.fromisoformat(about["_date"]).year >= 2026
    assert len(about["_source"]) > 1


@pytest.mark.parametrize("model", all_models(), ids=MODELS)
def test_an_entry_fits_the_service_model(model):
    """The id has the form that the service asks for, and every lifecycle time is read as a moment in UTC."""
    assert re.fullmatch(service("bedrock").shape_for("BedrockModelId").metadata["pattern"], model.id)
    assert model.lifecycle["status"] in ("ACTIVE", "LEGACY")
    times = [datetime.fromisoformat(time) for name, time in model.lifecycle.items() if name != "status"]
    assert all(time.tzinfo == UTC for time in times)
    assert model.entry["modelId"] == model.id


@pytest.mark.parametrize("model", all_models(), ids=MODELS)
def test_a_model_is_found_by_every_name_it_has(model):
    """Its id, its ARN in any region, and its profiles by id and ARN, with an account or without."""
    names = [model.id, f"arn:aws:bedrock:eu-west-1::foundation-model/{model.id}"]
    for prefix in model.prefixes:
        own = f"{prefix}.{model.id}"
        names += [own, f"arn:aws:bedrock:us-west-2:444455556666:inference-profile/{own}"]
    assert {find(name) for name in names} == {model}


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "amazon.nova-lite",
        "AMAZON.nova-lite-v1:0",
        "moon.amazon.nova-lite-v1:0",
        "us.us.amazon.nova-lite-v1:0",
        "us.embedded.echo-v1:0",
        "arn:aws:bedrock:us-east-1:444455556666:foundation-model/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/us.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1::inference-profile/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:444455556666:application-inference-profile/a1b2c3d4e5f6",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0\n",
    ],
)
def test_what_is_not_in_the_catalogue_is_not_found(identifier):
    """Nothing is guessed: no beginnings, no other capitals, no profile where a model is named."""
    assert find(identifier) is None


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_paths_and_methods_are_those_of_the_service_model(name):
    """What boto3 sends for an operation is routed to it."""
    http = service("bedrock").operation_model(name).http
    path = re.sub(r"\{\w+\}", "amazon.nova-lite-v1:0", http["requestUri"])
    found = route(http["method"], path, {})
    assert found is not None
    assert found[0] == name


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/foundation-models"),
        ("HEAD", "/inference-profiles"),
        ("GET", "/model/amazon.nova-lite-v1:0/converse"),
        ("GET", "/foundation-modelsx"),
        ("GET", "/x/foundation-models"),
        ("GET", "/"),
        ("GET", ""),
    ],
)
def test_other_requests_are_left_to_others(method, path):
    """None, so that the endpoint goes on looking."""
    assert route(method, path, {"byProvider": "\n"}) is None


ODD = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(ODD)
def test_no_identifier_in_a_path_breaks_anything(identifier):
    """Whatever is asked for, percent-encoded, there is an answer or a refusal that quotes it as it was."""
    for kind in ("foundation-models", "inference-profiles"):
        refusal = attempt(f"/{kind}/{quote(identifier, safe='')}")
        if refusal is None:
            assert find(identifier) is not None
        else:
            assert refusal.status == 404 or f"Value '{identifier}' at '" in refusal.message


@given(st.dictionaries(st.sampled_from(["byProvider", "maxResults", "nextToken", "type", "x"]), ODD))
def test_no_query_breaks_anything(query):
    """Whatever stands in a query, there is an answer or a refusal of the client's error."""
    for path in ("/foundation-models", "/inference-profiles"):
        refusal = attempt(path, **query)
        assert refusal is None or refusal.status == 400


@pytest.mark.parametrize("safe", ["", ":", ":/"])
def test_an_arn_may_come_encoded_or_plain(safe):
    """Clients differ in which signs of a path they encode."""
    arn = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0"
    assert ask(f"/foundation-models/{quote(arn, safe=safe)}")["modelDetails"]["modelArn"] == arn


@pytest.mark.parametrize(
    ("path", "query", "words"),
    [
        (
            "/foundation-models",
            {"byOutputModality": "SMELL"},
            f"Value 'SMELL' at 'byOutputModality' {FAILED}Member must satisfy enum value set: [TEXT, IMAGE",
        ),
        (
            "/foundation-models",
            {"byInferenceType": "on_demand"},
            f"Value 'on_demand' at 'byInferenceType' {FAILED}Member must satisfy enum value set: [ON_DEMAND",
        ),
        (
            "/foundation-models",
            {"byProvider": "<script>"},
            f"Value '<script>' at 'byProvider' {FAILED}Member must satisfy regular expression pattern: [A-Z",
        ),
        (
            "/foundation-models/",
            {},
            f"Value '' at 'modelIdentifier' {FAILED}Member must have length greater than or equal to 1",
        ),
        (
            "/foundation-models/nova",
            {},
            f"Value 'nova' at 'modelIdentifier' {FAILED}Member must satisfy regular expression pattern: (arn",
        ),
        (
            "/inference-profiles",
            {"maxResults": "0"},
            f"Value '0' at 'maxResults' {FAILED}Member must have value greater than or equal to 1",
        ),
        (
            "/inference-profiles",
            {"maxResults": "1001"},
            f"Value '1001' at 'maxResults' {FAILED}Member must have value less than or equal to 1000",
        ),
        (
            "/inference-profiles",
            {"type": "MINE"},
            f"Value 'MINE' at 'typeEquals' {FAILED}Member must satisfy enum value set: [SYSTEM_DEFINED, APPL",
        ),
        ("/inference-profiles", {"nextToken": "abc"}, "The provided nextToken is invalid."),
    ],
)
def test_bad_parameters_are_refused_in_the_services_words(path, query, words):
    """400 ValidationException, with the value, the parameter's name in the API and the rule."""
    refusal = refused(path, **query)
    assert (refusal.status, refusal.code) == (400, "ValidationException")
    assert words in refusal.message


def test_several_bad_parameters_are_reported_together():
    """The service counts them."""
    message = refused("/inference-profiles", maxResults="0", type="MINE").message
    assert message.startswith("2 validation errors detected: Value '0' at 'maxResults'")


@pytest.mark.parametrize("number", ["ten", "1.0", "", " 1", "+1", "1e2", "9" * 30, "٣"])
def test_a_number_that_is_none_is_refused(number):
    """Only plain digits are a whole number."""
    refusal = refused("/inference-profiles", maxResults=number)
    assert (refusal.status, refusal.code) == (400, "SerializationException")


def test_unknown_query_parameters_are_passed_over():
    """They belong to HTTP and not to the operation; the service does the same."""
    assert listed(byProvider="Meta", colour="red") == listed(byProvider="Meta")
    assert listed(modelIdentifier="x") == MODELS


# -- models ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", all_models(), ids=MODELS)
def test_a_models_details_are_its_line_in_the_list(model):
    """Both operations say the same of a model, and times come out as datetimes."""
    details = ask(f"/foundation-models/{quote(model.id, safe='')}")["modelDetails"]
    summaries = ask("/foundation-models")["modelSummaries"]
    assert details == next(each for each in summaries if each["modelId"] == model.id)
    assert details["modelArn"] == f"arn:aws:bedrock:us-east-1::foundation-model/{model.id}"
    times = {name: value for name, value in details["modelLifecycle"].items() if name != "status"}
    assert all(isinstance(value, datetime) for value in times.values())


@pytest.mark.parametrize(
    ("query", "some", "none"),
    [
        ({"byProvider": "Anthropic"}, "anthropic.claude-sonnet-4-6", "amazon.nova-lite-v1:0"),
        ({"byProvider": "ai21 labs"}, "ai21.jamba-1-5-mini-v1:0", "amazon.nova-lite-v1:0"),
        ({"byProvider": "bedrock-nb"}, OWN["echo"], "amazon.nova-lite-v1:0"),
        ({"byOutputModality": "TEXT"}, "amazon.nova-lite-v1:0", "amazon.nova-canvas-v1:0"),
        ({"byOutputModality": "IMAGE"}, "amazon.nova-canvas-v1:0", "amazon.nova-lite-v1:0"),
        ({"byOutputModality": "EMBEDDING"}, "amazon.titan-embed-text-v2:0", "amazon.nova-canvas-v1:0"),
        ({"byInferenceType": "ON_DEMAND"}, "amazon.nova-lite-v1:0", "anthropic.claude-sonnet-4-6"),
        ({"byInferenceType": "PROVISIONED"}, "amazon.nova-canvas-v1:0", "amazon.nova-lite-v1:0"),
        ({"byCustomizationType": "FINE_TUNING"}, "amazon.nova-canvas-v1:0", "amazon.nova-lite-v1:0"),
        (
            {"byProvider": "AMAZON", "byOutputModality": "TEXT", "byInferenceType": "PROVISIONED"},
            "amazon.nova-pro-v1:0:300k",
            "amazon.nova-canvas-v1:0",
        ),
    ],
)
def test_a_filter_keeps_what_fits_and_nothing_else(query, some, none):
    """Several filters must all fit; the order of the list stays."""
    found = listed(**query)
    assert some in found
    assert none not in found
    assert found == [each for each in MODELS if each in found]


@pytest.mark.parametrize(
    ("query", "member"),
    [
        ("byOutputModality", "outputModalities"),
        ("byInferenceType", "inferenceTypesSupported"),
        ("byCustomizationType", "customizationsSupported"),
    ],
)
def test_a_filter_finds_all_that_the_list_says(query, member):
    """For each value that the service knows: the models that have it, one by one."""
    values = service("bedrock").operation_model("ListFoundationModels").input_shape.members[query].enum
    everything = ask("/foundation-models")["modelSummaries"]
    for value in values:
        assert listed(**{query: value}) == [each["modelId"] for each in everything if value in each[member]]


def test_a_provider_that_nobody_is_has_no_models():
    """An empty list and no error."""
    assert listed(byProvider="Nobody") == []


@pytest.mark.parametrize("identifier", ["no.such-model", PROFILES[0], "amazon.nova-lite-v9:0"])
def test_an_unknown_model_is_not_found(identifier):
    """404 with the service's words; an inference profile is no foundation model."""
    refusal = refused(f"/foundation-models/{identifier}")
    assert (refusal.status, refusal.code) == (404, "ResourceNotFoundException")
    assert refusal.message.startswith("Could not resolve the foundation model from the provided model")


# -- inference profiles ----------------------------------------------------------------------------


@given(st.integers(1, len(PROFILES) + 1))
def test_paging_gives_every_profile_once(size):
    """Whatever the size of a page: in order, full pages but the last, and a token as long as more follows."""
    query = {"maxResults": str(size)}
    seen: list[str] = []
    while True:
        page = ask("/inference-profiles", **query)
        got = [each["inferenceProfileId"] for each in page["inferenceProfileSummaries"]]
        assert len(got) == min(size, len(PROFILES) - len(seen))
        seen += got
        if "nextToken" not in page:
            break
        query["nextToken"] = page["nextToken"]
    assert seen == PROFILES


def test_the_size_of_pages_may_change_on_the_way():
    """A token says where to go on, and nothing else."""
    first = ask("/inference-profiles", maxResults="1")
    rest = ask("/inference-profiles", maxResults="1000", nextToken=first["nextToken"])
    assert [each["inferenceProfileId"] for each in rest["inferenceProfileSummaries"]] == PROFILES[1:]


@given(st.data())
def test_a_token_that_was_changed_is_refused(data):
    """A page cannot be had by guessing: any other sign in a token makes it invalid."""
    token = ask("/inference-profiles", maxResults="1")["nextToken"]
    place = data.draw(st.integers(0, len(token) - 1))
    sign = data.draw(st.sampled_from("ABCabc019-_=").filter(lambda sign: sign != token[place]))
    refusal = refused("/inference-profiles", nextToken=token[:place] + sign + token[place + 1 :])
    assert refusal.code == "ValidationException"


def test_a_token_of_one_type_is_none_of_another():
    """Nobody has created a profile, so there is no second page of such."""
    token = ask("/inference-profiles", maxResults="1")["nextToken"]
    assert refused("/inference-profiles", type="APPLICATION", nextToken=token).status == 400


def test_only_system_defined_profiles_exist():
    """They are what comes without a type, too; those that users create are none."""
    everything = ask("/inference-profiles", maxResults="1000")
    assert ask("/inference-profiles", maxResults="1000", type="SYSTEM_DEFINED") == everything
    assert ask("/inference-profiles", type="APPLICATION") == {"inferenceProfileSummaries": []}


@pytest.mark.parametrize("each", profiles(), ids=PROFILES)
def test_a_profile_is_found_by_id_and_arn(each):
    """It is its line in the list; its account is AWS's example; its models are one model in some regions."""
    details = ask(f"/inference-profiles/{quote(each.id, safe='')}")
    arn = details["inferenceProfileArn"]
    assert arn == f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/{each.id}"
    assert ask(f"/inference-profiles/{quote(arn, safe='')}") == details
    assert details in ask("/inference-profiles", maxResults="1000")["inferenceProfileSummaries"]
    arns = [model["modelArn"] for model in details["models"]]
    assert {arn.partition("/")[2] for arn in arns} == {each.model.id}
    assert len(set(arns)) == len(arns) > 1
    assert all(region in details["description"] for region in each.regions)


def test_a_profile_that_routes_everywhere_has_an_arn_without_a_region():
    """So does AWS, beside the region where it is asked."""
    details = ask("/inference-profiles/global.amazon.nova-2-lite-v1:0")
    assert [model["modelArn"].split(":")[3] for model in details["models"]] == ["", "us-east-1"]


@pytest.mark.parametrize(
    "identifier",
    [
        "amazon.nova-lite-v1:0",
        "xx.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/a1b2c3",
    ],
)
def test_an_unknown_profile_is_not_found(identifier):
    """404; a foundation model is no inference profile, and nobody has created one."""
    refusal = refused(f"/inference-profiles/{quote(identifier, safe='')}")
    assert (refusal.status, refusal.code) == (404, "ResourceNotFoundException")
    assert profile(identifier) is None


# -- boto3 -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bedrock(server) -> Iterator:
    made = boto3.client(
        "bedrock",
        endpoint_url=server.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="y",
        config=Config(retries={"total_max_attempts": 1}, proxies={}),
    )
    yield made
    made.close()


def test_boto3_lists_models(bedrock):
    """The real client's own call, with a filter, through HTTP."""
    answer = bedrock.list_foundation_models(byProvider="amazon", byOutputModality="EMBEDDING")
    assert [each["modelId"] for each in answer["modelSummaries"]] == ["amazon.titan-embed-text-v2:0"]


def test_boto3_gets_a_model_by_its_arn(bedrock):
    """An ARN survives the way through a URL."""
    arn = "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0"
    details = bedrock.get_foundation_model(modelIdentifier=arn)["modelDetails"]
    assert details["modelArn"] == arn
    assert details["modelLifecycle"]["startOfLifeTime"] == datetime(2025, 10, 15, 17, tzinfo=UTC)


def test_boto3s_paginator_lists_every_profile(bedrock):
    """Tokens go there and back."""
    pages = bedrock.get_paginator("list_inference_profiles").paginate(PaginationConfig={"PageSize": 7})
    assert [each["inferenceProfileId"] for each in pages.search("inferenceProfileSummaries")] == PROFILES


def test_boto3_gets_a_profile(bedrock):
    """The operation whose output is the profile itself."""
    answer = bedrock.get_inference_profile(inferenceProfileIdentifier=PROFILES[0])
    assert answer["inferenceProfileId"] == PROFILES[0]


def test_boto3_raises_the_services_exceptions(bedrock):
    """An unknown model and a bad parameter, each as its own class."""
    with pytest.raises(bedrock.exceptions.ResourceNotFoundException):
        bedrock.get_foundation_model(modelIdentifier="no.such-model")
    with pytest.raises(bedrock.exceptions.ValidationException) as caught:
        bedrock.list_foundation_models(byOutputModality="SMELL")
    assert isinstance(caught.value, ClientError)
    assert "Member must satisfy enum value set" in caught.value.response["Error"]["Message"]
