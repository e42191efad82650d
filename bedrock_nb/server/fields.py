"""What the embedded models do with each field of a request: honoured or refused, never passed over.

Strategy: a table of all members of ConverseStream, which a test compares with the service model, and a list
of small rules for what these models cannot do. Responders that ask another model (a cassette, an
OpenAI-compatible server, Bedrock) do not come here: there the other model decides.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from bedrock_nb.models.needs import THINKING, thinks
from bedrock_nb.server.refusal import Refusal

__all__ = [
    "ABILITIES",
    "RAW_RESPONSE",
    "THINKING",
    "TREATED",
    "check_abilities",
    "check_fields",
    "schema_text",
    "thinks",
]

#: Member of a request -> what becomes of it here.
TREATED = {
    "modelId": "chooses the responder; the catalogue has the embedded models' own",
    "messages": "read; the answer follows from the last user turn, and from a name that was said before",
    "system": "read, and counted",
    "inferenceConfig": "maxTokens and stopSequences cut; temperature and topP shape what is sampled by a "
    "model that samples, and a prepared text is the same at each",
    "toolConfig": "tools are asked for, toolChoice is kept; tools that Bedrock runs itself are refused",
    "guardrailConfig": "checked by the guardrails that the server has; others are refused",
    "additionalModelRequestFields": "those in the table of known fields; others are refused",
    "promptVariables": "refused: there are no stored prompts here",
    "additionalModelResponseFieldPaths": "those of the raw response; others are refused",
    "requestMetadata": "shown on the status page and in the log of truths",
    "performanceConfig": "optimized halves all times; comes back",
    "serviceTier": "priority is quicker, flex slower; comes back",
    "outputConfig": "an answer of the JSON schema; effort is refused",
}

#: What a model may be able to do beyond words -> what asks for it, in a request.
ABILITIES = ("tools", "schema", "reasoning")
#: Fields of a model's own that these models know, and their types.
_ADDITIONAL: dict[str, type] = {
    **dict.fromkeys(THINKING, dict),
    "top_k": int,
    "topK": int,
    "seed": object,
    "inferenceConfig": dict,
    "anthropic_beta": list,
    "anthropic_version": str,
    "metadata": dict,
    "tool_choice": dict,
}
#: What ``additionalModelResponseFieldPaths`` may ask for.
RAW_RESPONSE = ("stop_sequence", "stop_reason", "model", "role", "type")


def check_fields(kwargs: Mapping[str, Any]) -> None:
    """Refuse what the embedded models cannot do.

    Parameters
    ----------
    kwargs : mapping
        Arguments of ``converse_stream``.

    Raises
    ------
    Refusal
        400 ValidationException for the first field that cannot be honoured.
    """
    for rule in _RULES:
        wrong = rule(kwargs)
        if wrong is not None:
            raise Refusal(400, "ValidationException", wrong)


def check_abilities(kwargs: Mapping[str, Any], can: Collection[str] = ()) -> None:
    """Refuse what asks for something that a model cannot do.

    Parameters
    ----------
    kwargs : mapping
        Arguments of ``converse_stream``.
    can : collection of str
        Of `ABILITIES`, those that it has.

    Raises
    ------
    Refusal
        400 ValidationException.
    """
    choice = (kwargs.get("toolConfig") or {}).get("toolChoice") or {}
    additional = kwargs.get("additionalModelRequestFields") or {}
    asked = {
        "tools": next((f"toolConfig.toolChoice.{name}" for name in choice if name != "auto"), None),
        "schema": "outputConfig.textFormat" if (kwargs.get("outputConfig") or {}).get("textFormat") else None,
        "reasoning": next((name for name in THINKING if thinks(additional.get(name))), None),
    }
    wrong = next((field for ability, field in asked.items() if field and ability not in can), None)
    if wrong is not None:
        text = f"This model doesn't support the {wrong} field. Remove it and try again."
        raise Refusal(400, "ValidationException", text)


def schema_text(kwargs: Mapping[str, Any]) -> str | None:
    """The JSON schema that the answer must fit, as it came; None if there is none."""
    text_format = (kwargs.get("outputConfig") or {}).get("textFormat") or {}
    schema: str | None = ((text_format.get("structure") or {}).get("jsonSchema") or {}).get("schema")
    return schema


def _stored_prompts(kwargs: Mapping[str, Any]) -> str | None:
    if not kwargs.get("promptVariables"):
        return None
    return "promptVariables are for prompts of Prompt management, and the embedded server has none."


_MALFORMED = "The model returned the following errors: Malformed input request:"
_AGAIN = "please reformat your input and try again."


def _additional(kwargs: Mapping[str, Any]) -> str | None:
    given = kwargs.get("additionalModelRequestFields") or {}
    inner = given.get("inferenceConfig") if isinstance(given, Mapping) else None
    unknown = [name for name in given if name not in _ADDITIONAL]
    unknown += (
        [f"inferenceConfig/{name}" for name in inner if name != "topK"] if isinstance(inner, dict) else []
    )
    if unknown:
        return f"{_MALFORMED} #: extraneous key [{unknown[0]}] is not permitted, {_AGAIN}"
    for name, value in given.items():
        wanted = _ADDITIONAL[name]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            return f"{_MALFORMED} #/{name}: a {wanted.__name__} is wanted, {_AGAIN}"
    return None


def _response_paths(kwargs: Mapping[str, Any]) -> str | None:
    for path in kwargs.get("additionalModelResponseFieldPaths") or ():
        if path.removeprefix("/") not in RAW_RESPONSE or not path.startswith("/"):
            known = ", ".join(f"/{name}" for name in RAW_RESPONSE)
            return (
                f"The path {path} in additionalModelResponseFieldPaths is not in this model's response, "
                f"which has {known}."
            )
    return None


def _effort(kwargs: Mapping[str, Any]) -> str | None:
    if (kwargs.get("outputConfig") or {}).get("effort") is None:
        return None
    return "This model doesn't support the effort field of outputConfig. Remove it and try again."


def _schema(kwargs: Mapping[str, Any]) -> str | None:
    schema = schema_text(kwargs)
    if schema is None:
        return None
    try:
        good = isinstance(json.loads(schema), dict)
    except (ValueError, RecursionError):  # no JSON; JSON that is nested too deeply
        good = False
    return None if good else "outputConfig.textFormat.structure.jsonSchema.schema is not a JSON schema."


def _system_tools(kwargs: Mapping[str, Any]) -> str | None:
    tools = (kwargs.get("toolConfig") or {}).get("tools") or ()
    named = next((tool["systemTool"]["name"] for tool in tools if "systemTool" in tool), None)
    return None if named is None else f"This model doesn't support the system tool {named}."


def _stored_elsewhere(kwargs: Mapping[str, Any]) -> str | None:
    for block in _blocks(kwargs):
        for kind in ("image", "document", "video", "audio"):
            if "s3Location" in ((block.get(kind) or {}).get("source") or {}):
                return f"The {kind} is in Amazon S3, which the embedded server cannot reach. Send its bytes."
    return None


def _blocks(kwargs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for turn in kwargs.get("messages") or ():
        for block in turn["content"]:
            yield block
            yield from (block.get("toolResult") or {}).get("content") or ()


_RULES: tuple[Callable[[Mapping[str, Any]], str | None], ...] = (
    _stored_prompts,
    _additional,
    _response_paths,
    _effort,
    _schema,
    _system_tools,
    _stored_elsewhere,
)
