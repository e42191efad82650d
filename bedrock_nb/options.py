"""The short names of a request: where each goes in the arguments of ConverseStream, and what it may be.

Strategy: two tables. `PLACES` says which short name fills which member of the API; a test compares it with
botocore's service model, so a member that AWS adds is noticed. `OPTIONS` says for each name how its value is
checked and shaped. Two names for one place are refused, never merged in silence.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral, Real
from typing import Any, NamedTuple

from bedrock_nb import models
from bedrock_nb.content import own
from bedrock_nb.content.attachments import shown
from bedrock_nb.errors import RequestError, without_accounts
from bedrock_nb.structured import schema_of

__all__ = ["INFERENCE", "OPTIONS", "PLACES", "arguments", "brief", "items", "number", "split", "without"]

#: Member of ConverseStream -> the short name of `request.Request` that fills it.
PLACES = {
    "modelId": "model",
    "messages": "messages",
    "system": "system",
    "inferenceConfig.maxTokens": "max_tokens",
    "inferenceConfig.temperature": "temperature",
    "inferenceConfig.topP": "top_p",
    "inferenceConfig.stopSequences": "stop",
    "toolConfig.tools": "tools",
    "toolConfig.toolChoice": "tool_choice",
    "guardrailConfig.guardrailIdentifier": "guardrail",
    "guardrailConfig.guardrailVersion": "guardrail",
    "guardrailConfig.streamProcessingMode": "guardrail_mode",
    "guardrailConfig.trace": "guardrail_trace",
    "outputConfig.textFormat": "schema",
    "outputConfig.effort": "effort",
    "serviceTier.type": "service_tier",
    "performanceConfig.latency": "latency",
    "promptVariables": "prompt_variables",
    "requestMetadata": "metadata",
    "additionalModelRequestFields": "additional",
    "additionalModelResponseFieldPaths": "response_fields",
}

#: Short name -> member of inferenceConfig.
INFERENCE = {
    name: place.partition(".")[2] for place, name in PLACES.items() if place.startswith("inferenceConfig.")
}


class Option(NamedTuple):
    """How a value is shaped, from it and the model's id; ``spread`` if its members have their own places."""

    shape: Callable[[Any, str], Any]
    place: str
    spread: bool = False


# -- shapes ----------------------------------------------------------------------------------------


def _wrong(name: str, value: Any, wanted: str) -> RequestError:
    return RequestError(f"{name} is {shown(without_accounts(value))}.", remedy=wanted)  # before it is cut


def _one_of(name: str, *choices: str) -> Callable[[Any, str], str]:
    def shape(value: Any, model: str) -> str:
        if value not in choices:
            raise _wrong(name, value, f"It may be {', '.join(map(repr, choices))}.")
        return str(value)

    return shape


def _tool_choice(value: Any, model: str) -> dict[str, Any]:
    match value:
        case "auto" | "any":
            return {value: {}}
        case str() if value:
            return {"tool": {"name": value}}
        case Mapping() if value:
            return dict(own(value))
    raise _wrong("tool_choice", value, 'Give "auto", "any", or the name of the tool that must be called.')


_GUARDRAIL = re.compile(
    r"(?P<id>[a-z0-9]+|arn:[^/\s]+:guardrail/[a-z0-9]+)(:(?P<version>[1-9]\d{0,7}|DRAFT))?"
)
_GUARDRAIL_MEMBERS = {
    "id": "guardrailIdentifier",
    "version": "guardrailVersion",
    "mode": "streamProcessingMode",
    "trace": "trace",
}


def _guardrail(value: Any, model: str) -> dict[str, Any]:
    if isinstance(value, str) and (found := _GUARDRAIL.fullmatch(value)):
        value = {"id": found["id"], "version": found["version"] or "DRAFT"}
    known = {*_GUARDRAIL_MEMBERS, *_GUARDRAIL_MEMBERS.values()}
    if not isinstance(value, Mapping) or not value or not known.issuperset(value):
        raise _wrong("guardrail", value, 'Give its id or ARN, "id:version", or {"id": …, "version": …}.')
    shaped: dict[str, Any] = {}
    for name, said in value.items():
        member = str(_GUARDRAIL_MEMBERS.get(name, name))
        if said is None:
            continue
        if member in shaped:
            raise RequestError(
                f"The guardrail's {member} is given under two names.", remedy="Give one of them."
            )
        shaped[member] = str(said) if member == "guardrailVersion" else said
    if not shaped:
        raise _wrong("guardrail", value, "Give its id; guardrail=None is none.")
    if "guardrailIdentifier" in shaped:
        shaped.setdefault("guardrailVersion", "DRAFT")
    return shaped


def _text_format(schema: Any, model: str) -> dict[str, Any]:
    """The ``textFormat`` that asks for answers of a schema; see `structured.schema_of`."""
    fitted, name, _ = schema_of(schema)
    return {
        "type": "json_schema",
        "structure": {"jsonSchema": {"schema": json.dumps(fitted), "name": name}},
    }


def _effort(value: Any, model: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 16:
        raise _wrong("effort", value, 'Give a word that the model knows, for example "low".')
    return value


def _prompt_variables(value: Any, model: str) -> dict[str, Any]:
    texts = {}
    for name, said in value.items() if isinstance(value, Mapping) else [(None, None)]:
        text = said.get("text") if isinstance(said, Mapping) else said
        if not isinstance(name, str) or not isinstance(text, str):  # the values are nobody's business
            raise RequestError(
                "prompt_variables is no dict of names and texts.", remedy='{"city": "Paris"} is one.'
            )
        texts[name] = {"text": text}
    return texts


# botocore's model of RequestMetadata
_METADATA = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")


def _metadata(value: Any, model: str) -> dict[str, str]:
    pairs = value.items() if isinstance(value, Mapping) else [(None, None)]
    texts = [text for pair in pairs for text in pair]
    if len(pairs) > 16 or not all(isinstance(text, str) and _METADATA.fullmatch(text) for text in texts):
        raise RequestError(
            "metadata is not what the service takes.",
            remedy="Give up to 16 names with texts, each of at most 256 characters: letters, digits, spaces "
            "and :_@$#=/+,.-",
        )
    return dict(value)


def _additional(value: Any, model: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong("additional", value, 'Give a dict of the model\'s own fields, such as {"top_k": 20}.')
    return dict(own(value))


def _response_fields(value: Any, model: str) -> list[str]:
    paths = [value] if isinstance(value, str) else list(items("response_fields", value))
    if len(paths) > 10 or not all(isinstance(path, str) and path.startswith("/") for path in paths):
        raise _wrong("response_fields", value, 'Give up to 10 JSON pointers, such as ["/stop_sequence"].')
    return paths


# -- thinking --------------------------------------------------------------------------------------

# Fields of each family: Amazon Bedrock user guide, "Extended thinking", "Adaptive thinking" (Claude); Amazon
# Nova 2 user guide, "Extended thinking". The embedded models take Claude's field.
_CLAUDE, _NOVA = re.compile(r"claude|^embedded\."), re.compile(r"nova-2")
# Models that set their budget themselves, and answer 400 to one that is given.
_ADAPTIVE = re.compile(r"claude-[a-z]+-(4-([7-9]|1\d)(?!\d)|[5-9](?!\d)|preview)")
_LEAST = 1024
_THINKING_FIELDS = ("thinking", "reasoningConfig", "reasoning_config")
_EFFORTS = ("low", "medium", "high")


def _thinking(value: Any, model: str) -> dict[str, Any]:
    field = "thinking" if _CLAUDE.search(model) else "reasoningConfig" if _NOVA.search(model) else None
    if isinstance(value, Mapping) and value:
        given: dict[str, Any] = own(value)
        return given if field is None or set(given) & set(_THINKING_FIELDS) else {field: given}
    if field == "reasoningConfig":
        if value in _EFFORTS:
            return {field: {"type": "enabled", "maxReasoningEffort": value}}
        wanted = 'Nova 2 has no budget of tokens; give "low", "medium" or "high".'
    elif field is None:
        models.require(model, "reasoning")  # says which models can, if this one is known not to
        wanted = f"How {without_accounts(model)} is asked for it is not known; give its fields as a dict."
    elif _ADAPTIVE.search(model):
        if value == "adaptive":
            return {field: {"type": "adaptive"}}
        wanted = 'This model sets its budget itself; give thinking="adaptive", and effort= for how much.'
    elif isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= _LEAST:
        return {field: {"type": "enabled", "budget_tokens": int(value)}}
    elif value == "adaptive":
        return {field: {"type": "adaptive"}}
    else:
        wanted = f"Give a budget of tokens, from {_LEAST}, or the model's own form as a dict."
    raise _wrong("thinking", value, wanted)


# -- the table -------------------------------------------------------------------------------------

#: Short name -> how it is shaped. Those with checks of their own in `request.Request` are not here.
OPTIONS: dict[str, Option] = {
    "tool_choice": Option(_tool_choice, "toolConfig.toolChoice"),
    "guardrail": Option(_guardrail, "guardrailConfig", spread=True),
    "guardrail_mode": Option(
        _one_of("guardrail_mode", "sync", "async"), "guardrailConfig.streamProcessingMode"
    ),
    "guardrail_trace": Option(
        _one_of("guardrail_trace", "enabled", "disabled", "enabled_full"), "guardrailConfig.trace"
    ),
    "schema": Option(_text_format, "outputConfig.textFormat"),
    "effort": Option(_effort, "outputConfig.effort"),
    "service_tier": Option(
        _one_of("service_tier", "priority", "default", "flex", "reserved"), "serviceTier.type"
    ),
    "latency": Option(_one_of("latency", "standard", "optimized"), "performanceConfig.latency"),
    "prompt_variables": Option(_prompt_variables, "promptVariables", spread=True),
    "metadata": Option(_metadata, "requestMetadata", spread=True),
    "thinking": Option(_thinking, "additionalModelRequestFields", spread=True),
    "additional": Option(_additional, "additionalModelRequestFields", spread=True),
    "response_fields": Option(_response_fields, "additionalModelResponseFieldPaths"),
}


def arguments(chosen: Mapping[str, Any], model: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ConverseStream with short names filled in.

    Parameters
    ----------
    chosen : mapping
        Short name of `OPTIONS` -> value.
    model : str
        Its id: families of models are asked to think in different ways.
    given : mapping
        The other arguments, under the API's own names.

    Returns
    -------
    dict
        A copy of ``given`` with what was chosen.

    Raises
    ------
    RequestError
        A value cannot work, or a place is filled twice.
    """
    result: dict[str, Any] = own(given)
    by: dict[tuple[str, ...], str] = {}
    for name, value in chosen.items():
        option = OPTIONS[name]
        shaped, place = option.shape(value, model), tuple(option.place.split("."))
        leaves = {(*place, key): inner for key, inner in shaped.items()} if option.spread else {place: shaped}
        for leaf, inner in leaves.items():
            node: Any = result
            for step in leaf[:-1]:
                node = node.setdefault(step, {}) if isinstance(node, dict) else None
            if not isinstance(node, dict) or leaf[-1] in node:
                other = f"{by[leaf]}=" if leaf in by else f"{leaf[0]} of the API"
                raise RequestError(
                    f"{'.'.join(leaf)} is given twice, as {name}= and as {other}.", remedy="Give one of them."
                )
            node[leaf[-1]] = inner
            by[leaf] = name
    if "tool_choice" in chosen:
        _check_choice(result["toolConfig"])
    return result


def without(given: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of the API without what short names will fill anew.

    Parameters
    ----------
    given : mapping
        Arguments under the API's own names.
    changes : mapping
        Short name -> new value, None included.

    Returns
    -------
    dict
        A copy. ``thinking`` and ``additional`` each drop their own of the additionalModelRequestFields.
    """
    result: dict[str, Any] = own(given)
    for place, name in PLACES.items():
        if name in changes and name != "additional":
            _drop(result, place.split("."))
    if "tools" in changes:  # what is left would choose among tools that are gone
        result.pop("toolConfig", None)
    if "guardrail" in changes:
        value = changes["guardrail"]
        said = value if isinstance(value, Mapping) else ()
        for member in _GUARDRAIL_MEMBERS.values() if value is None else said:
            _drop(result, ["guardrailConfig", _GUARDRAIL_MEMBERS.get(member, member)])
    fields = result.get("additionalModelRequestFields")
    for field in list(fields) if isinstance(fields, dict) else ():
        new = [changes[name] for name in ("thinking", "additional") if name in changes]
        named = any(isinstance(value, Mapping) and field in value for value in new)
        if named or ("thinking" if field in _THINKING_FIELDS else "additional") in changes:
            _drop(result, ["additionalModelRequestFields", field])
    return result


def _drop(node: Any, path: list[str]) -> None:
    """Take a member out of nested dicts, and a dict that is empty then."""
    first, rest = path[0], path[1:]
    if isinstance(node, dict) and first in node:
        if rest:
            _drop(node[first], rest)
        if not rest or node[first] == {}:
            del node[first]


def _check_choice(config: Mapping[str, Any]) -> None:
    """A tool that must be called has to be there: of tools that all are ours, the names are known."""
    tools = config.get("tools")
    if not tools:
        raise RequestError("There is a tool_choice and there are no tools.", remedy="Give tools=[…] besides.")
    wanted = (config["toolChoice"].get("tool") or {}).get("name")
    names = [spec["name"] for tool in tools for spec in tool.values() if "name" in spec]
    if wanted is not None and wanted not in names:
        near = difflib.get_close_matches(wanted, names, 1)
        said = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(map(repr, names))}."
        raise RequestError(f"tool_choice is {shown(wanted)}, which is none of the tools.", remedy=said)


# -- what else a request asks of its settings -------------------------------------------------------


def number(name: str, value: Any, low: float, high: float | None) -> float | int | None:
    """Check a setting; numpy's numbers are numbers too, but boto3 does not know them."""
    if value is None:
        return None
    kind: Any = Integral if high is None else Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= (high or value):
        wanted = f"a whole number from {low}" if high is None else f"a number from {low} to {high}"
        raise RequestError(f"{name} is {shown(value)}; {wanted} is wanted.")
    return value if type(value) is int else int(value) if high is None else float(value)


def items(name: str, value: Any) -> tuple[Any, ...]:
    """A list of anything, as a tuple."""
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise RequestError(f"{name} is {shown(value)}; a list is wanted.")
    return tuple(value)


# What botocore's model marks as sensitive: not shown, under either name.
_SENSITIVE = ("metadata", "prompt_variables", "requestMetadata", "promptVariables")


def brief(name: str, value: Any) -> str:
    """A setting for the repr: bytes are counted, long texts cut, sensitive ones left out."""
    if name in _SENSITIVE:
        return "…"
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, Mapping):
        members = list(value.items())[:9]
        more = ", …" if len(value) > 9 else ""
        return "{" + ", ".join(f"{key!r}: {brief(str(key), inner)}" for key, inner in members) + more + "}"
    if isinstance(value, list | tuple):
        items = [brief("", inner) for inner in value[:4]]
        return "[" + ", ".join(items) + (f", … {len(value)} in all]" if len(value) > 4 else "]")
    if isinstance(value, type):
        return value.__name__
    value = without_accounts(value)  # before it is cut: half a number is too much
    return repr(value) if name in ("model", "modelId") else shown(value)


def split(settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings under short names, and arguments of the API under its own, told from each other."""
    known = {*PLACES.values(), *OPTIONS} - {"messages"}  # those go with the prompt: see `request.as_request`
    given = {name: value for name, value in settings.items() if name in known}
    return given, {name: value for name, value in settings.items() if name not in known}
