"""The part of Bedrock's control plane that tools ask: which models and inference profiles there are.

boto3's client "bedrock" comes here, with ListFoundationModels, GetFoundationModel, ListInferenceProfiles and
GetInferenceProfile.

Strategy: `route` tells what an HTTP request means and checks its parameters with the walk of `validation`
over the service model of "bedrock"; `OPERATIONS` gives the answers, from the package's catalogue. The service
model is big, so it is read when a request first has parameters to check, and only what describes the
parameters of these four operations is kept. Query parameters that the service does not know are passed over,
as the service does it: they belong to HTTP, and a proxy or a signer may have added them.

Where this server differs from AWS: it stands for every region at once, so profiles of all prefixes are
listed, and ARNs say us-east-1. A profile's times are its model's. AWS puts the account that asks into a
profile's ARN; here nobody has an account, and 111122223333 stands there, the number that AWS's own
documentation uses for examples and that belongs to nobody.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import botocore.loaders
from botocore.model import ServiceModel

from bedrock_nb.models.catalogue import Model, Profile, all_models, find, profile, profiles
from bedrock_nb.server.loopback import REGION
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.validation import Walk

__all__ = ["OPERATIONS", "route"]

_ACCOUNT = "111122223333"
_PAGE = 100  # profiles, if maxResults is not given; AWS does not document its own number

#: Method and path of a request -> operation, and the parameter in the path. Ids may hold ':' and '/'.
_ROUTES = (
    ("ListFoundationModels", re.compile(r"/foundation-models"), None),
    ("GetFoundationModel", re.compile(r"/foundation-models/(.*)"), "modelIdentifier"),
    ("ListInferenceProfiles", re.compile(r"/inference-profiles"), None),
    ("GetInferenceProfile", re.compile(r"/inference-profiles/(.*)"), "inferenceProfileIdentifier"),
)


# -- in --------------------------------------------------------------------------------------------


def route(method: str, path: str, query: Mapping[str, str]) -> tuple[str, dict[str, Any]] | None:
    """Tell what an HTTP request asks of the control plane.

    Parameters
    ----------
    method : str
        ``"GET"``; any other means nothing here.
    path : str
        As it came, percent-encoded.
    query : mapping
        Decoded.

    Returns
    -------
    tuple of str and dict, or None
        A name in `OPERATIONS` and the parameters that it takes; None for a request of another kind.

    Raises
    ------
    Refusal
        400 with the service's words for parameters that it would not take.
    """
    if method != "GET":
        return None
    for name, pattern, in_path in _ROUTES:
        if (match := pattern.fullmatch(path)) is not None:
            given = {in_path: unquote(match[1])} if in_path else {}
            return name, _checked(name, given, query)
    return None


def _checked(name: str, given: dict[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    if not given and not query:
        return {}  # no parameter of a list is required; the service model need not be read
    shape: Any = _parameters().operation_model(name).input_shape
    for member, its in shape.members.items():
        where = its.serialization
        if where.get("location") == "querystring" and where["name"] in query:
            given[member] = _typed(query[where["name"]], its)
    walk = Walk()
    checked = walk.structure("", given, shape)
    walk.refuse()
    return checked


def _typed(text: str, shape: Any) -> str | int:
    """A whole number where one is wanted; what is none stays text, and the walk says so."""
    if shape.type_name == "integer" and re.fullmatch(r"-?[0-9]{1,18}", text):
        return int(text)
    return text


@cache
def _parameters() -> ServiceModel:
    """The service model of "bedrock", cut down to the parameters of these operations.

    Reading takes about 35 ms and for that moment 4 MB; what stays is a few kB.
    """
    whole = botocore.loaders.Loader().load_service_model("bedrock", "service-2")
    operations = {name: whole["operations"][name] for name, _, _ in _ROUTES}
    shapes: dict[str, Any] = {}
    for operation in operations.values():
        wanted = operation["input"]["shape"]
        shapes[wanted] = whole["shapes"][wanted]
        for member in shapes[wanted].get("members", {}).values():  # all flat: parameters of a URL
            shapes[member["shape"]] = whole["shapes"][member["shape"]]
    cut = {
        name: {"name": name, "http": operation["http"], "input": operation["input"]}
        for name, operation in operations.items()
    }
    return ServiceModel({"metadata": whole["metadata"], "operations": cut, "shapes": shapes}, "bedrock")


def _invalid(text: str) -> Refusal:
    return Refusal(400, "ValidationException", text)


# -- out -------------------------------------------------------------------------------------------


def _list_models(params: Mapping[str, Any]) -> dict[str, Any]:
    filters = [(keep, params[by]) for by, keep in _FILTERS.items() if by in params]
    found = (model for model in all_models() if all(keep(model, value) for keep, value in filters))
    return {"modelSummaries": [_described(model) for model in found]}


def _get_model(params: Mapping[str, Any]) -> dict[str, Any]:
    identifier = params["modelIdentifier"]
    model = find(identifier)
    if model is None or profile(identifier) is not None:  # a profile is no foundation model
        # The words are the service's, as reported for InvokeModel; that this operation has the error is
        # documented, with which words it comes is not.
        text = "Could not resolve the foundation model from the provided model identifier."
        raise _missing(text)
    return {"modelDetails": _described(model)}


def _list_profiles(params: Mapping[str, Any]) -> dict[str, Any]:
    # Without a type, AWS lists the system-defined ones only. Nobody has created others here.
    kind = params.get("typeEquals", "SYSTEM_DEFINED")
    listed = profiles() if kind == "SYSTEM_DEFINED" else ()
    start = _position(listed, params["nextToken"]) if "nextToken" in params else 0
    end = start + params.get("maxResults", _PAGE)
    output: dict[str, Any] = {"inferenceProfileSummaries": [_routed(each) for each in listed[start:end]]}
    if end < len(listed):
        output["nextToken"] = _token(listed[end])
    return output


def _get_profile(params: Mapping[str, Any]) -> dict[str, Any]:
    found = profile(params["inferenceProfileIdentifier"])
    if found is None:  # our words: that there is this error is documented, its text is not
        text = "Could not resolve the inference profile from the provided inference profile identifier."
        raise _missing(text)
    return _routed(found)


#: Operation -> function from its checked parameters to its output, ready for JSON; may raise Refusal.
OPERATIONS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "ListFoundationModels": _list_models,
    "GetFoundationModel": _get_model,
    "ListInferenceProfiles": _list_profiles,
    "GetInferenceProfile": _get_profile,
}


def _missing(text: str) -> Refusal:
    return Refusal(404, "ResourceNotFoundException", text)


#: Parameter of ListFoundationModels -> whether a model passes.
_FILTERS: Mapping[str, Callable[[Model, str], bool]] = {
    "byProvider": lambda model, value: _provider(model.provider) == _provider(value),
    "byCustomizationType": lambda model, value: value in model.customizations,
    "byOutputModality": lambda model, value: value in model.outputs,
    "byInferenceType": lambda model, value: value in model.inference,
}


def _provider(name: str) -> str:
    """Case does not matter: public scripts rely on it. A query may not hold '_', so '-' will do for it."""
    return name.casefold().replace("_", "-")


def _model_arn(model: Model, region: str = REGION) -> str:
    return f"arn:aws:bedrock:{region}::foundation-model/{model.id}"


def _described(model: Model) -> dict[str, Any]:
    """FoundationModelSummary and FoundationModelDetails, which have the same members."""
    return {
        "modelArn": _model_arn(model),
        "modelId": model.id,
        "modelName": model.name,
        "providerName": model.provider,
        "inputModalities": list(model.inputs),
        "outputModalities": list(model.outputs),
        "responseStreamingSupported": model.streaming,
        "customizationsSupported": list(model.customizations),
        "inferenceTypesSupported": list(model.inference),
        "modelLifecycle": dict(model.lifecycle),
    }


def _routed(found: Profile) -> dict[str, Any]:
    """InferenceProfileSummary and the output of GetInferenceProfile, which have the same members."""
    model = found.model
    # For a profile that routes everywhere, AWS gives the ARN without a region and the one where it is asked.
    regions = found.regions or ("", REGION)
    began = model.lifecycle.get("startOfLifeTime")
    return {
        "inferenceProfileName": found.name,
        "description": f"Routes requests to {model.provider} {model.name} {_where(found.regions)}.",
        **({"createdAt": began, "updatedAt": began} if began else {}),
        "inferenceProfileArn": f"arn:aws:bedrock:{REGION}:{_ACCOUNT}:inference-profile/{found.id}",
        "models": [{"modelArn": _model_arn(model, region)} for region in regions],
        "inferenceProfileId": found.id,
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def _where(regions: tuple[str, ...]) -> str:
    if not regions:
        return "globally across all supported AWS Regions"
    return f"in {', '.join(regions[:-1])} and {regions[-1]}"


# -- pages -----------------------------------------------------------------------------------------


def _token(first: Profile) -> str:
    """The token of the page that begins with a profile: a digest, so there is nothing in it to read."""
    return urlsafe_b64encode(sha256(f"ListInferenceProfiles {first.id}".encode()).digest()).decode()


def _position(listed: tuple[Profile, ...], token: str) -> int:
    """Where a token's page begins. A token is compared with those we give and never taken apart."""
    for place, first in enumerate(listed):
        if _token(first) == token:
            return place
    text = "The provided nextToken is invalid. Start again without it."  # our words
    raise _invalid(text)
