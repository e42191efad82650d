"""The rules of a conversation that no service model holds, in Bedrock's own words.

Strategy: a list of small functions, each a rule that returns what is wrong or None, tried in order; the first
that is broken is reported, as the service does it. They see a request whose shape is right. Here paths count
from 0, unlike those of the shape's constraints; so do the service's.

Bedrock leaves a few of these rules to the model (roles that must alternate, for one); the embedded server
keeps to the stricter reading, so that what works here works with every model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from bedrock_nb.server.refusal import Refusal

__all__ = ["check_conversation"]


def check_conversation(model_id: str, request: Mapping[str, Any], *, named: bool = True) -> None:
    """Check what the service checks beyond the shape of a request.

    Parameters
    ----------
    model_id : str
    request : mapping
        The checked body; blobs are bytes.
    named : bool
        Whether documents are told by their names, as in Converse; in Anthropic's API a name is only a title.

    Raises
    ------
    Refusal
        400 ValidationException for the first rule that is broken.
    """
    for rule in _RULES:
        wrong = rule(request) if named or rule is not _distinct_documents else None
        if wrong is not None:
            raise Refusal(400, "ValidationException", wrong)
    wrong = _prefill(model_id, request)
    if wrong is not None:
        raise Refusal(400, "ValidationException", f"The model returned the following errors: {wrong}")


#: Models that refuse a conversation whose last turn is the assistant's, as reported for Claude 4.6 and later.
_NO_PREFILL = re.compile(r"claude-[a-z]+-(4-([6-9]|1\d)(?!\d)|[5-9])")


def _prefill(model_id: str, request: Mapping[str, Any]) -> str | None:
    """A last turn of the assistant is the beginning of the answer: not every model takes one."""
    last = _turns(request)[-1]
    if last["role"] != "assistant":
        return None
    if _NO_PREFILL.search(model_id):
        return (
            "This model does not support assistant message prefill. "
            "The conversation must end with a user message."
        )
    if "claude" in model_id and last["content"][-1].get("text", "x")[-1:].isspace():
        return "messages: final assistant content cannot end with trailing whitespace"
    return None


def _turns(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(request.get("messages") or ())


def _starts_with_user(request: Mapping[str, Any]) -> str | None:
    roles = [turn["role"] for turn in _turns(request) if turn["role"] != "system"]
    if roles[:1] == ["user"]:
        return None
    return (
        "A conversation must start with a user message. "
        "Try again with a conversation that starts with a user message."
    )


def _no_empty_turn(request: Mapping[str, Any]) -> str | None:
    for i, turn in enumerate(_turns(request)):
        if not turn["content"]:
            return (
                f"The content field in the Message object at messages.{i} is empty. "
                "Add a ContentBlock object to the content field and try again."
            )
    return None


def _alternates(request: Mapping[str, Any]) -> str | None:
    roles = [turn["role"] for turn in _turns(request) if turn["role"] != "system"]
    if all(one != other for one, other in pairwise(roles)):
        return None
    return (
        "A conversation must alternate between user and assistant roles. "
        "Make sure the conversation alternates between user and assistant roles and try again."
    )


def _no_blank_text(request: Mapping[str, Any]) -> str | None:
    for i, turn in enumerate(_turns(request)):
        for j, block in enumerate(turn["content"]):
            if "text" in block and not block["text"].strip():
                return (
                    f"The text field in the ContentBlock object at messages.{i}.content.{j} is blank. "
                    "Add text to the text field, and try again."
                )
    for i, block in enumerate(request.get("system") or ()):
        if "text" in block and not block["text"].strip():
            return (
                f"The text field in the SystemContentBlock object at system.{i} is blank. "
                "Add text to the text field, and try again."
            )
    return None


def _distinct_documents(request: Mapping[str, Any]) -> str | None:
    """A document is told by its name, in the whole conversation and in the results of tools."""
    blocks = [block for turn in _turns(request) for block in turn["content"]]
    blocks += [item for block in blocks for item in (block.get("toolResult") or {}).get("content") or ()]
    names = [block["document"]["name"] for block in blocks if "document" in block]
    if len(names) == len(set(names)):
        return None
    return "Messages can't contain duplicate document names. Rename the document and retry your request."


def _json_values(request: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every place for free JSON with what stands there."""
    for i, turn in enumerate(_turns(request)):
        for j, block in enumerate(turn["content"]):
            place = f"messages.{i}.content.{j}"
            if "toolUse" in block:
                yield f"{place}.toolUse.input", block["toolUse"]["input"]
            for k, item in enumerate((block.get("toolResult") or {}).get("content") or ()):
                if "json" in item:
                    yield f"{place}.toolResult.content.{k}.json", item["json"]
    for i, tool in enumerate(_tools(request)):
        if "toolSpec" in tool:
            yield f"toolConfig.tools.{i}.toolSpec.inputSchema.json", tool["toolSpec"]["inputSchema"]["json"]


def _objects(request: Mapping[str, Any]) -> str | None:
    for place, value in _json_values(request):
        if not isinstance(value, dict):
            return (
                f"The format of the value at {place} is invalid. "
                "Provide a json object for the field and try again."
            )
    if not isinstance(request.get("additionalModelRequestFields", {}), dict):
        return (
            "The format of the additionalModelRequestFields field is invalid. "
            "Provide a json object for the field and try again."
        )
    return None


def _tools(request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((request.get("toolConfig") or {}).get("tools") or ())


def _tools_are_offered(request: Mapping[str, Any]) -> str | None:
    used = any(
        "toolUse" in block or "toolResult" in block for turn in _turns(request) for block in turn["content"]
    )
    if used and "toolConfig" not in request:
        return "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    return None


def _tool_choice_exists(request: Mapping[str, Any]) -> str | None:
    chosen = ((request.get("toolConfig") or {}).get("toolChoice") or {}).get("tool")
    names = [spec["name"] for tool in _tools(request) for spec in tool.values() if "name" in spec]
    if chosen is not None and chosen["name"] not in names:
        return (
            f"The tool {chosen['name']} in toolConfig.toolChoice is not in toolConfig.tools. "
            "Choose a tool that is provided and try again."
        )
    repeated = next((name for name, number in Counter(names).items() if number > 1), None)
    if repeated is not None:
        return (
            f"The toolConfig.tools field contains the tool {repeated} more than once. "
            "Remove the duplicate and try again."
        )
    return None


def _results_answer_uses(request: Mapping[str, Any]) -> str | None:
    """Each toolUse is answered in the next turn, and each toolResult answers a toolUse of the turn before."""
    asked: list[str] = []
    for i, turn in enumerate(_turns(request)):
        # In the assistant's turn stand results of tools that Bedrock ran itself.
        given = turn["content"] if turn["role"] == "user" else ()
        results = [block["toolResult"]["toolUseId"] for block in given if "toolResult" in block]
        missing = [use for use in asked if use not in results]
        if missing:
            ids = ", ".join(missing)
            return f"Expected toolResult blocks at messages.{i}.content for the following Ids: {ids}"
        if len(results) > len(asked):
            return (
                f"The number of toolResult blocks at messages.{i}.content exceeds "
                "the number of toolUse blocks of previous turn."
            )
        uses = (block["toolUse"] for block in turn["content"] if "toolUse" in block)
        asked = [
            use["toolUseId"] for use in uses if use.get("type") is None
        ]  # not those that Bedrock runs itself
    return None


_RULES: tuple[Callable[[Mapping[str, Any]], str | None], ...] = (
    _starts_with_user,
    _no_empty_turn,
    _alternates,
    _no_blank_text,
    _distinct_documents,
    _objects,
    _tools_are_offered,
    _tool_choice_exists,
    _results_answer_uses,
)
