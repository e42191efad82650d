"""A request in Anthropic's format -> the arguments of ``converse_stream``.

Strategy: tables say which members there are and of what type; what stands in no table is refused, nothing is
passed over.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bedrock_nb.server.anthropic.blocks import CACHED, TOOL_NAME, blocks_of, cache_point
from bedrock_nb.server.anthropic.members import (
    SCHEMA_NAMES,
    is_a,
    malformed_request,
    matching_text,
    members_of,
    one_of,
    typed_block,
    wrong_request,
)
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.rules import check_conversation

__all__ = ["to_converse"]

#: What Bedrock documents, and what Anthropic's own client for Bedrock sends since its version 2.
VERSIONS = ("bedrock-2023-05-31", "2026-10-21")
_LEAST_BUDGET = 1024  # tokens of thinking


class _Member(NamedTuple):
    """A member of the body: its types, and the limits of a number."""

    kinds: tuple[type, ...]
    least: float | None = None
    most: float | None = None


_NUMBER = (int, float)
_BODY: dict[str, _Member] = {
    "anthropic_version": _Member((str,)),
    "max_tokens": _Member((int,), 1),
    "messages": _Member((list,)),
    "system": _Member((str, list)),
    "temperature": _Member(_NUMBER, 0, 1),
    "top_p": _Member(_NUMBER, 0, 1),
    "top_k": _Member((int,), 0),
    "stop_sequences": _Member((list,)),
    "tools": _Member((list,)),
    "tool_choice": _Member((dict,)),
    "thinking": _Member((dict,)),
    "metadata": _Member((dict,)),
    "anthropic_beta": _Member((list,)),
    "output_config": _Member((dict,)),
    "output_format": _Member((dict,)),
}
_REQUIRED = ("anthropic_version", "max_tokens", "messages")
#: Members of inferenceConfig.
_INFERENCE = {"max_tokens": "maxTokens", "temperature": "temperature", "top_p": "topP"}
#: Members that Converse hands on to the model under their own names.
_HANDED_ON = ("top_k", "thinking", "metadata", "anthropic_beta")


def to_converse(model_id: str, body: Any) -> dict[str, Any]:
    """What a body of InvokeModel asks for, as ``client.converse_stream`` would be asked.

    Turns of one role that follow each other become one turn. ``cache_control`` becomes a cachePoint after its
    block; inside of a tool's result there is no room for one, so it comes after that. ``top_k``,
    ``thinking``, ``metadata`` and ``anthropic_beta`` stand in ``additionalModelRequestFields``, and so do
    ``output_config.effort`` and a ``tool_choice`` that forbids parallel calls. Converse cannot say that no
    tool may be used: with the tool choice ``none`` the tools are left out.

    Parameters
    ----------
    model_id : str
        From the path.
    body : JSON value
        The parsed body.

    Returns
    -------
    dict
        Keyword arguments, blobs as bytes. ``additionalModelResponseFieldPaths`` asks for the stop sequence
        if there can be one.

    Raises
    ------
    Refusal
        400 ValidationException, in Bedrock's and Claude's words where they are known.
    """
    _check_body(body)
    kwargs: dict[str, Any] = {"modelId": model_id, "messages": _turns(body["messages"])}
    system = body.get("system")
    if system:
        kwargs["system"] = blocks_of("system", system, "system")
        _no_blanks("system", kwargs["system"])
    inference = {ours: body[theirs] for theirs, ours in _INFERENCE.items() if theirs in body}
    sequences = body.get("stop_sequences")
    if sequences:
        inference["stopSequences"] = sequences
        kwargs["additionalModelResponseFieldPaths"] = ["/stop_sequence"]
    kwargs["inferenceConfig"] = inference
    config, choice = _tool_config(body)
    if config:
        kwargs["toolConfig"] = config
    handed = {**{name: body[name] for name in _HANDED_ON if name in body}, **choice}
    effort, format = _output_config(body)
    if format:
        kwargs["outputConfig"] = {"textFormat": format}
    if handed or effort:
        kwargs["additionalModelRequestFields"] = {**handed, **effort}
    _check_tools(kwargs)
    try:
        check_conversation(model_id, kwargs, named=False)
    except Refusal as err:  # what Claude says comes as it is here
        text = err.message.removeprefix("The model returned the following errors: ")
        raise Refusal(err.status, err.code, text) from err
    if body.get("tool_choice", {}).get("type") == "none":
        kwargs.pop("toolConfig", None)
    return kwargs


def _check_body(body: Any) -> None:
    """Check the members of a body; all that is wrong with them is said at once."""
    if not isinstance(body, dict):
        raise malformed_request([f"#: expected type: JSONObject, found: {SCHEMA_NAMES[type(body)]}"])
    broken = [f"#: required key [{name}] not found" for name in _REQUIRED if name not in body]
    broken += [f"#: extraneous key [{name}] is not permitted" for name in body if name not in _BODY]
    for name, (kinds, least, most) in _BODY.items():
        if name not in body:
            continue
        value = body[name]
        if not any(is_a(value, kind) for kind in kinds):
            wanted = "Number" if kinds == _NUMBER else SCHEMA_NAMES[kinds[0]]
            broken.append(f"#/{name}: expected type: {wanted}, found: {SCHEMA_NAMES[type(value)]}")
        elif least is not None and not value >= least:
            broken.append(f"#/{name}: {value} is not greater or equal to {least}")
        elif most is not None and not value <= most:
            broken.append(f"#/{name}: {value} is not less or equal to {most}")
    for name in ("stop_sequences", "anthropic_beta"):
        for i, item in enumerate(body[name] if is_a(body.get(name), list) else ()):
            if not isinstance(item, str):
                broken.append(f"#/{name}/{i}: expected type: String, found: {SCHEMA_NAMES[type(item)]}")
    if broken:
        raise malformed_request(broken)
    if body["anthropic_version"] not in VERSIONS:
        raise malformed_request(
            [f"#/anthropic_version: {body['anthropic_version']} is not a valid enum value"]
        )
    if not all(item.strip() for item in body.get("stop_sequences", ())):
        raise wrong_request("stop_sequences: each stop sequence must contain non-whitespace")
    if "metadata" in body:
        members_of("metadata", body["metadata"], {}, {"user_id": str})
    if "thinking" in body:
        _check_thinking(body["thinking"], body["max_tokens"])


def _check_thinking(thinking: dict[str, Any], most: int) -> None:
    kind, rest = typed_block("thinking", thinking, ("adaptive", "between_tools", "disabled", "enabled"))
    path = f"thinking.{kind}"
    required = {"budget_tokens": int} if kind == "enabled" else {}
    optional = {"display": str} if kind in ("adaptive", "enabled") else {}
    given = members_of(path, rest, required, optional)
    if "display" in given:
        one_of(f"{path}.display", given["display"], ("summarized", "omitted"))
    if kind != "enabled":
        return
    if given["budget_tokens"] < _LEAST_BUDGET:
        raise wrong_request(f"{path}.budget_tokens: Input should be greater than or equal to {_LEAST_BUDGET}")
    if given["budget_tokens"] >= most:
        raise wrong_request("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _turns(messages: list[Any]) -> list[dict[str, Any]]:
    """The conversation, with one turn for all that one side says in a row."""
    if not messages:
        raise wrong_request("messages: at least one message is required")
    turns: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        path = f"messages.{i}"
        given = members_of(path, message, {"role": str, "content": (str, list)})
        role = given["role"]
        if role == "system":
            raise wrong_request(
                'messages: Unexpected role "system". The Messages API accepts a top-level `system` '
                'parameter, not "system" as an input message role.'
            )
        one_of(f"{path}.role", role, ("user", "assistant"))
        if not given["content"]:
            if role == "assistant" and turns and i == len(messages) - 1:
                continue  # a beginning of nothing
            raise wrong_request(
                f"{path}: all messages must have non-empty content except for the optional final "
                "assistant message"
            )
        content = blocks_of(f"{path}.content", given["content"], role)
        _no_blanks("messages", content)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += content
        else:
            turns.append({"role": role, "content": content})
    if turns[0]["role"] != "user":
        raise wrong_request('messages: first message must use the "user" role')
    return turns


def _no_blanks(place: str, content: Sequence[Mapping[str, Any]]) -> None:
    for block in content:
        text = block.get("text")
        if text is not None and not text.strip():
            what = "contain non-whitespace text" if text else "be non-empty"
            raise wrong_request(f"{place}: text content blocks must {what}")


def _tool_config(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The tools with the choice among them; and of the choice what Converse does not know."""
    tools: list[dict[str, Any]] = []
    for i, tool in enumerate(body.get("tools", ())):
        tools += _tool(f"tools.{i}", tool)
    names = [tool["toolSpec"]["name"] for tool in tools if "toolSpec" in tool]
    if len(set(names)) < len(names):
        raise wrong_request("tools: Tool names must be unique.")
    config: dict[str, Any] = {"tools": tools} if tools else {}
    choice = body.get("tool_choice")
    if choice is None:
        return config, {}
    kind, rest = typed_block("tool_choice", choice, ("auto", "any", "tool", "none"))
    if not tools:
        raise wrong_request("tool_choice: tool_choice may only be specified while providing tools")
    optional = {} if kind == "none" else {"disable_parallel_tool_use": bool}
    given = members_of(f"tool_choice.{kind}", rest, {"name": str} if kind == "tool" else {}, optional)
    single = given.pop("disable_parallel_tool_use", False)
    if kind == "tool" and given["name"] not in names:
        raise wrong_request(f"tool_choice: Tool '{given['name']}' not found in provided tools")
    if kind != "none":
        config["toolChoice"] = {kind: given}
    return config, {"tool_choice": choice} if single else {}


def _tool(path: str, tool: Any) -> list[dict[str, Any]]:
    """A tool in Converse's shape, with its cachePoint."""
    kind, rest = typed_block(
        path, {"type": "custom", **_given(tool)} if isinstance(tool, dict) else tool, ("custom",)
    )
    path = f"{path}.{kind}"
    optional = {"description": str, "strict": bool, **CACHED}
    given = members_of(path, rest, {"name": str, "input_schema": dict}, optional)
    schema = given["input_schema"]
    if "type" not in schema:
        raise wrong_request(f"{path}.input_schema.type: Field required")
    one_of(f"{path}.input_schema.type", schema["type"], ("object",))
    name = matching_text(f"{path}.name", given["name"], TOOL_NAME)
    spec: dict[str, Any] = {"name": name, "inputSchema": {"json": schema}}
    spec |= {member: given[member] for member in ("description", "strict") if given.get(member, "") != ""}
    point = [cache_point(path, given["cache_control"])] if "cache_control" in given else []
    return [{"toolSpec": spec}, *point]


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in value.items() if item is not None}


def _output_config(body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """How hard to try, for the model; and the JSON that is wanted, in Converse's shape."""
    given = members_of("output_config", body.get("output_config", {}), {}, {"effort": str, "format": dict})
    path, wanted = "output_config.format", given.get("format")
    if "output_format" in body:
        if wanted is not None:
            raise wrong_request("output_format: output_config.format says the same; give one of them")
        path, wanted = "output_format", body["output_format"]
    effort = {"output_config": {"effort": given["effort"]}} if "effort" in given else {}
    if effort:
        one_of("output_config.effort", given["effort"], ("low", "medium", "high", "xhigh", "max"))
    if wanted is None:
        return effort, {}
    kind, rest = typed_block(path, wanted, ("json_schema",))
    schema = members_of(f"{path}.{kind}", rest, {"schema": dict})["schema"]
    return effort, {"type": kind, "structure": {"jsonSchema": {"schema": json.dumps(schema)}}}


def _check_tools(kwargs: Mapping[str, Any]) -> None:
    """Each use of a tool is answered in the next turn, and nothing else is."""
    asked: list[str] = []
    turns = kwargs["messages"]
    blocks = [block for turn in turns for block in turn["content"]]
    if "toolConfig" not in kwargs and any("toolUse" in block or "toolResult" in block for block in blocks):
        raise wrong_request("Requests which include `tool_use` or `tool_result` blocks must define tools")
    for i, turn in enumerate((*turns, {"content": []})):
        results = [block["toolResult"]["toolUseId"] for block in turn["content"] if "toolResult" in block]
        missing = [id for id in asked if id not in results]
        if missing:
            raise wrong_request(
                f"messages.{i - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
                f"after: {', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` "
                "block in the next message."
            )
        strange = [id for id in results if id not in asked]
        if strange:
            raise wrong_request(
                f"messages.{i}: unexpected `tool_use_id` found in `tool_result` blocks: "
                f"{', '.join(strange)}. Each `tool_result` block must have a corresponding `tool_use` block "
                "in the previous message."
            )
        uses = [block["toolUse"] for block in turn["content"] if "toolUse" in block]
        asked = [use["toolUseId"] for use in uses if "type" not in use]
