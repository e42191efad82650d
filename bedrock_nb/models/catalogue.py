"""The facts about models: which there are, and what each can do.

Strategy: the facts stand in ``models.json`` beside this module, which says where they come from and of what
day they are; here they become values, when first asked for. Abilities are written there as lines, each for
all ids that begin so, general ones first. What this process learned lies over the file: `learn` corrects
abilities, `learn_models` adds what the service lists. Both are for this process alone and are gone with it.

The catalogue tells and does not judge; `models` does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from bedrock_nb.errors import RequestError
from bedrock_nb.models.identifiers import parse, without_fault

__all__ = [
    "ABILITIES",
    "LIMITS",
    "Model",
    "Profile",
    "all_models",
    "capabilities",
    "check_names",
    "date",
    "find",
    "forget",
    "key_of",
    "learn",
    "learn_models",
    "profile",
    "profiles",
]

#: What a model may be able to do -> in words that follow "cannot".
ABILITIES = {
    "text": "answer in text",
    "streaming": "stream its answer",
    "tools": "call tools",
    "streaming_tools": "call tools in an answer that is streamed",
    "reasoning": "reason before it answers",
    "vision": "look at images",
    "documents": "read documents",
    "video": "watch videos",
    "system": "take a system prompt",
    "prefill": "go on with an answer that is begun for it (the last turn is the assistant's)",
    "caching": "cache a prompt (a cachePoint)",
    "structured_output": "answer by a JSON schema (outputConfig.textFormat)",
    "effort": "be told how much effort to make (outputConfig.effort)",
    "latency_optimized": "answer with optimized latency (performanceConfig)",
}
#: Numbers that may be known of a model, in tokens.
LIMITS = {"context_tokens": "context window", "max_output_tokens": "most tokens of an answer"}

_LOCK = threading.Lock()
#: What this process learned: model id, or another identifier as it stands -> capabilities.
_learned: dict[str, dict[str, Any]] = {}
#: Model id -> entry, as in the file; new models, and newer facts about those of the file.
_entries: dict[str, dict[str, Any]] = {}
#: Prefix of profiles -> its name and regions, as in the file.
_prefixes: dict[str, dict[str, Any]] = {}


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
        Everything that ``models.json`` or the service says about it.
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

    @property
    def capabilities(self) -> Mapping[str, Any]:
        """What it can do, as far as is known: see `capabilities`."""
        return capabilities(self.id)


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


# -- which models there are ------------------------------------------------------------------------


def date() -> str:
    """The day of which the file's facts are, in ISO 8601."""
    return str(_file()["_date"])


@cache
def all_models() -> tuple[Model, ...]:
    """All models that are known, the embedded server's own first; the file is read once, about 1 ms."""
    known = {entry["modelId"]: entry for entry in _file()["models"]} | _entries
    return tuple(map(_model, known.values()))


@cache
def profiles() -> tuple[Profile, ...]:
    """All system-defined inference profiles, in the order of their models."""
    kinds = _file()["prefixes"] | _prefixes
    return tuple(
        Profile(
            id=f"{prefix}.{model.id}",
            name=f"{kinds[prefix]['name']} {model.provider} {model.name}",
            model=model,
            regions=tuple(kinds[prefix]["regions"]),
        )
        for model in all_models()
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
    try:
        named = parse(identifier)
    except RequestError:
        return None
    if named.kind == "model" and (found := _models_by_id().get(named.model_id or "")) is not None:
        return found
    by_profile = profile(identifier)
    return None if by_profile is None else by_profile.model


def profile(identifier: str) -> Profile | None:
    """The inference profile with this id or ARN, or None."""
    try:
        named = parse(identifier)
    except RequestError:
        return None
    name = f"{named.prefix}.{named.model_id}" if named.prefix else without_fault(identifier)
    return _profiles_by_id().get(name)


@cache
def _models_by_id() -> dict[str, Model]:
    return {model.id: model for model in all_models()}


@cache
def _profiles_by_id() -> dict[str, Profile]:
    return {each.id: each for each in profiles()}


@cache
def _file() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(files(__package__).joinpath("models.json").read_bytes())
    return parsed


def _model(entry: Mapping[str, Any]) -> Model:
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


# -- what they can do ------------------------------------------------------------------------------


def capabilities(identifier: str) -> Mapping[str, Any]:
    """What a model can do, as far as is known.

    Parameters
    ----------
    identifier : str
        Any identifier of a model.

    Returns
    -------
    mapping
        Each of `ABILITIES` to True or False, each of `LIMITS` to a number; None where nothing is known.
    """
    return _capabilities(key_of(identifier))


def key_of(identifier: str) -> str:
    """What the catalogue files an identifier under: the model id in it, or else itself."""
    if (found := find(identifier)) is not None:
        return found.id
    try:
        return parse(identifier).model_id or without_fault(identifier)
    except RequestError:
        return str(identifier)


@lru_cache(maxsize=1024)
def _capabilities(key: str) -> Mapping[str, Any]:
    known: dict[str, Any] = dict.fromkeys([*ABILITIES, *LIMITS])
    if (model := _models_by_id().get(key)) is not None:
        known |= {
            "text": "TEXT" in model.outputs,
            "streaming": model.streaming,
            "vision": "IMAGE" in model.inputs,
            "video": "VIDEO" in model.inputs,
        }
    for line in _file()["abilities"]:
        if any(_begins(key, start) for start in line["models"]):
            for word, value in (("can", True), ("cannot", False), ("unknown", None)):
                known |= dict.fromkeys(line.get(word, "").split(), value)
            known |= {name: line[name] for name in LIMITS if name in line}
    return MappingProxyType(known | _learned.get(key, {}))


def _begins(key: str, start: str) -> bool:
    """Whether an id begins so, at a boundary: claude-opus-4-1 is no beginning of claude-opus-4-10."""
    return key.startswith(start) and not (start[-1].isalnum() and key[len(start) : len(start) + 1].isalnum())


# -- what is learned -------------------------------------------------------------------------------


def learn(identifier: str, **known: Any) -> None:
    """Correct or add to what is known of a model, for this process: see `models.learn`."""
    parse(identifier)
    check_names(known, (*ABILITIES, *LIMITS))
    for name, value in known.items():
        wanted = bool if name in ABILITIES else int
        if value is not None and (type(value) is not wanted or (wanted is int and value < 1)):
            raise RequestError(
                f"{name} is {value!r}.",
                remedy="Give True, False, or None for not known."
                if wanted is bool
                else "Give a number of tokens, or None for not known.",
            )
    with _LOCK:
        key = key_of(identifier)
        _learned[key] = _learned.get(key, {}) | known
        _capabilities.cache_clear()


def learn_models(entries: Mapping[str, Mapping[str, Any]], prefixes: Mapping[str, Mapping[str, Any]]) -> None:
    """Take in what the service lists.

    Parameters
    ----------
    entries : mapping
        Model id to entry, of the form of ``models.json``; each stands for all that was known of this model.
    prefixes : mapping
        Prefixes of inference profiles that the file does not have, to their name and regions.
    """
    with _LOCK:
        _entries.update({name: dict(entry) for name, entry in entries.items()})
        _prefixes.update({name: dict(prefix) for name, prefix in prefixes.items()})
        _clear()


def forget() -> None:
    """Forget all that this process learned: the catalogue is again that of the file."""
    with _LOCK:
        for learned in (_learned, _entries, _prefixes):
            learned.clear()
        _clear()


def _clear() -> None:
    for cached in (all_models, profiles, _models_by_id, _profiles_by_id, _capabilities):
        cached.cache_clear()


def check_names(given: Any, known: Any) -> None:
    """Refuse a name that is none of those known, and say which it may have been meant to be."""
    for name in given:
        if name not in known:
            near = get_close_matches(str(name), known, n=3)
            raise RequestError(
                f"There is no ability {name!r}.",
                remedy=f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known)}.",
            )
