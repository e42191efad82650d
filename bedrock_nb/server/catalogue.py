"""Which models there are: those of Amazon Bedrock that tools ask for by name, and the embedded server's own.

Strategy: the facts stand in ``models.json`` beside this module, which says where they come from and of what
day they are. Here they become values, once and when first asked for. An entry keeps all its members, also
those that this module has no use for, so a fact that somebody else needs is added to the file alone.

The catalogue tells and does not judge: the embedded server answers for any model id, listed or not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["OWN", "Model", "Profile", "find", "models", "profile", "profiles"]

#: The embedded server's own models: what answers -> model id.
OWN = {
    "canned": "embedded.canned-v1:0",
    "drawing": "embedded.drawing-v1:0",
    "echo": "embedded.echo-v1:0",
    "ngram": "embedded.ngram-v1:0",
}

# Only these two kinds are in the catalogue; nobody has created an application inference profile here.
_MODEL_ARN = re.compile(r"arn:aws(?:-[a-z-]+)?:bedrock:[a-z0-9-]*::foundation-model/(.+)")
_PROFILE_ARN = re.compile(r"arn:aws(?:-[a-z-]+)?:bedrock:[a-z0-9-]*:(?:\d{12})?:inference-profile/(.+)")


@dataclass(frozen=True, slots=True)
class Model:
    """One foundation model.

    Attributes
    ----------
    id : str
        What a request names, such as ``"amazon.nova-lite-v1:0"``.
    name, provider : str
        As people call them.
    inputs, outputs : tuple of str
        Modalities: ``"TEXT"``, ``"IMAGE"``, ``"VIDEO"``, ``"EMBEDDING"``.
    streaming : bool
        Whether it answers as a stream.
    customizations, inference : tuple of str
        How it can be trained further and called, in the service's words.
    lifecycle : mapping
        ``status``, ``"ACTIVE"`` or ``"LEGACY"``, and those times that are known, in ISO 8601.
    prefixes : tuple of str
        Of its system-defined inference profiles: ``"us"``, ``"eu"`` …
    entry : mapping
        Everything that ``models.json`` says about it.
    """

    id: str
    name: str
    provider: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    streaming: bool
    customizations: tuple[str, ...]
    inference: tuple[str, ...]
    lifecycle: Mapping[str, str] = field(hash=False)
    prefixes: tuple[str, ...]
    entry: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """One system-defined inference profile: a model, and the regions that its requests are routed to.

    Attributes
    ----------
    id : str
        Prefix and model id, such as ``"us.amazon.nova-lite-v1:0"``.
    name : str
    model : Model
    regions : tuple of str
        None at all: everywhere.
    """

    id: str
    name: str
    model: Model
    regions: tuple[str, ...]


@cache
def models() -> tuple[Model, ...]:
    """All models, the embedded server's own first; the file is read once, about 1 ms."""
    return tuple(_model(entry) for entry in _file()["models"])


@cache
def profiles() -> tuple[Profile, ...]:
    """All system-defined inference profiles, in the order of their models."""
    kinds = _file()["prefixes"]
    return tuple(
        Profile(
            id=f"{prefix}.{model.id}",
            name=f"{kinds[prefix]['name']} {model.provider} {model.name}",
            model=model,
            regions=tuple(kinds[prefix]["regions"]),
        )
        for model in models()
        for prefix in model.prefixes
    )


def find(identifier: str) -> Model | None:
    """The model that an identifier means.

    Parameters
    ----------
    identifier : str
        A model id, the ARN of a foundation model, or the id or ARN of a system-defined inference profile;
        region and account of an ARN do not matter.

    Returns
    -------
    Model or None
        None for whatever is not in the catalogue.
    """
    found = _models_by_id().get(_within(_MODEL_ARN, identifier))
    if found is None and (by_profile := profile(identifier)) is not None:
        return by_profile.model
    return found


def profile(identifier: str) -> Profile | None:
    """The inference profile with this id or ARN, or None."""
    return _profiles_by_id().get(_within(_PROFILE_ARN, identifier))


def _within(arn: re.Pattern[str], identifier: str) -> str:
    """The id in an ARN of this kind; what is no such ARN is taken as an id."""
    match = arn.fullmatch(identifier)
    return match[1] if match else identifier


@cache
def _models_by_id() -> dict[str, Model]:
    return {model.id: model for model in models()}


@cache
def _profiles_by_id() -> dict[str, Profile]:
    return {each.id: each for each in profiles()}


@cache
def _file() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(files(__package__).joinpath("models.json").read_bytes())
    return parsed


def _model(entry: dict[str, Any]) -> Model:
    return Model(
        id=entry["modelId"],
        name=entry["modelName"],
        provider=entry["providerName"],
        inputs=tuple(entry["inputModalities"]),
        outputs=tuple(entry["outputModalities"]),
        streaming=entry["responseStreamingSupported"],
        customizations=tuple(entry["customizationsSupported"]),
        inference=tuple(entry["inferenceTypesSupported"]),
        lifecycle=entry["modelLifecycle"],
        prefixes=tuple(entry["inferenceProfiles"]),
        entry=entry,
    )
