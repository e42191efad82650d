"""A Converse request in OpenAI's terms: the body of a chat completion.

Strategy: tables from Converse's members, and from its content blocks, to functions that write them. A member
without a row is refused, so nothing is passed over in silence.

Some of a request changes no answer of such a server and is left out: cache points, and the reasoning of
earlier turns with its signatures, which are of use to the model that made them alone. Guardrails, service
tiers and metadata are the business of the server around the responder.

Names there: https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from bedrock_nb.server.refusal import Refusal

__all__ = ["body"]

_Json: TypeAlias = dict[str, Any]


def _invalid(what: str) -> Refusal:
    return Refusal(400, "ValidationException", what)


def _cannot(place: str) -> Refusal:
    return _invalid(f"{place} cannot be passed on to an OpenAI-compatible server. Leave it out.")


def body(kwargs: Mapping[str, Any]) -> _Json:
    """The arguments of ``chat.completions.create`` for a request, all but the model.

    Parameters
    ----------
    kwargs : mapping
        Arguments of ``converse_stream``.

    Raises
    ------
    Refusal
        400 ValidationException for what cannot be said in OpenAI's terms.
    """
    written: _Json = {"messages": [*_system(kwargs.get("system") or ())]}
    for turn in kwargs["messages"]:
        written["messages"] += _turn(turn)
    for name, value in kwargs.items():
        if name not in _LEFT_ALONE and name not in _MEMBERS:
            raise _cannot(name)
        if name in _MEMBERS:
            written |= _MEMBERS[name](value)
    return written


def _inference(config: Mapping[str, Any]) -> _Json:
    unknown = next((name for name in config if name not in _INFERENCE), None)
    if unknown is not None:
        raise _cannot(f"inferenceConfig.{unknown}")
    return {_INFERENCE[name]: value for name, value in config.items()}


def _extra(fields: Any) -> _Json:
    if not isinstance(fields, Mapping):
        raise _invalid("additionalModelRequestFields must be an object.")
    taken = next((name for name in fields if name in _RESERVED), None)
    if taken is not None:
        raise _invalid(f"additionalModelRequestFields.{taken} is set by the request itself. Leave it out.")
    return {"extra_body": dict(fields)}


def _paths(paths: Iterable[str]) -> _Json:
    unknown = next((path for path in paths if path != "/stop_sequence"), None)
    if unknown is not None:
        raise _cannot(f"The path {unknown} in additionalModelResponseFieldPaths")
    return {}


def _tools(config: Mapping[str, Any]) -> _Json:
    tools = []
    for tool in config.get("tools") or ():
        if "toolSpec" in tool:
            spec = tool["toolSpec"]
            function = {"name": spec["name"], "parameters": spec["inputSchema"]["json"]}
            function |= {name: spec[name] for name in ("description", "strict") if name in spec}
            tools.append({"type": "function", "function": function})
        elif "cachePoint" not in tool:
            raise _cannot(f"A {_kind(tool)} in toolConfig.tools")
    choice = config.get("toolChoice") or {}
    match _kind(choice) if choice else "":
        case "":
            return {"tools": tools}
        case "auto":
            return {"tools": tools, "tool_choice": "auto"}
        case "any":
            return {"tools": tools, "tool_choice": "required"}
        case "tool":
            named = {"type": "function", "function": {"name": choice["tool"]["name"]}}
            return {"tools": tools, "tool_choice": named}
        case kind:
            raise _cannot(f"toolConfig.toolChoice.{kind}")


def _output(config: Mapping[str, Any]) -> _Json:
    written: _Json = {}
    for name, value in config.items():
        if name == "effort":
            written["reasoning_effort"] = value
        elif name == "textFormat" and value.get("type") == "json_schema":
            wanted = value["structure"]["jsonSchema"]
            try:
                schema = json.loads(wanted["schema"])
            except ValueError as err:
                raise _invalid(f"The schema in outputConfig is not JSON: {err}") from err
            described = {"description": wanted["description"]} if "description" in wanted else {}
            named = {"name": wanted.get("name") or "answer", "schema": schema, "strict": True}
            written["response_format"] = {"type": "json_schema", "json_schema": named | described}
        else:
            raise _cannot(f"outputConfig.{name}")
    return written


#: What of Converse's inferenceConfig has which name there.
_INFERENCE = {
    "maxTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "stopSequences": "stop",
}
#: Members of the request that are the business of others, or have been seen to.
_LEFT_ALONE = frozenset({"modelId", "messages", "system", "guardrailConfig", "requestMetadata"}) | frozenset(
    {"performanceConfig", "serviceTier"}
)
_MEMBERS: Mapping[str, Callable[[Any], _Json]] = {
    "inferenceConfig": _inference,
    "toolConfig": _tools,
    "additionalModelRequestFields": _extra,
    "additionalModelResponseFieldPaths": _paths,
    "outputConfig": _output,
}
#: Fields that decide what comes back, and in which form.
_RESERVED = frozenset({"model", "messages", "stream", "stream_options", "n"})


# -- in: the conversation --------------------------------------------------------------------------


def _kind(block: Mapping[str, Any]) -> str:
    return next(iter(block), "block without content")


def _system(blocks: Iterable[Mapping[str, Any]]) -> Iterator[_Json]:
    parts = _parts("system", blocks)
    if parts:
        yield {"role": "system", "content": _content("system", parts)}


def _turn(turn: Mapping[str, Any]) -> Iterator[_Json]:
    """The messages of a turn: the results of tools are messages of their own, and come first."""
    role, blocks = turn["role"], turn["content"]
    for block in blocks:
        if role == "user" and "toolResult" in block:
            yield _tool_message(block["toolResult"])
    calls = [_tool_call(block["toolUse"]) for block in blocks if role == "assistant" and "toolUse" in block]
    parts = _parts(role, blocks)
    if calls:
        yield {"role": role, "content": _content(role, parts) if parts else None, "tool_calls": calls}
    elif parts:
        yield {"role": role, "content": _content(role, parts)}


def _parts(role: str, blocks: Iterable[Mapping[str, Any]]) -> list[_Json]:
    """What of a turn is content, in OpenAI's form."""
    found = []
    for block in blocks:
        kind = _kind(block)
        row = _BLOCKS.get((role, kind))
        if row is None:
            raise _cannot(f"A {kind} block in the {role} turn" if role != "system" else f"A system {kind}")
        part = row(block[kind])
        if part is not None:
            found.append(part)
    return found


def _content(role: str, parts: list[_Json]) -> str | list[_Json]:
    """Text alone as a string: not every server, and not every model's template, takes a list."""
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    if role != "user":
        raise _cannot(f"An image in the {role} turn")
    return parts


def _text_part(text: str) -> _Json:
    return {"type": "text", "text": text}


def _image(image: Mapping[str, Any]) -> _Json:
    data = image.get("source", {}).get("bytes")
    if data is None or "error" in image:
        raise _cannot("An image that is not given as bytes")
    url = f"data:image/{image['format']};base64,{b64encode(data).decode('ascii')}"
    return {"type": "image_url", "image_url": {"url": url}}


def _document(document: Mapping[str, Any]) -> _Json:
    format, name, source = document.get("format", "txt"), document["name"], document["source"]
    if format not in _TEXTS and "bytes" in source:
        raise _invalid(
            f"The document {name} is a {format} file; to an OpenAI-compatible server only text can be "
            f"passed on: {', '.join(_TEXTS)}. Send its text."
        )
    if (document.get("citations") or {}).get("enabled"):
        raise _cannot(f"The wish for citations of the document {name}")
    if "bytes" in source:
        try:
            text = source["bytes"].decode("utf-8-sig")
        except UnicodeDecodeError as err:
            raise _invalid(f"The document {name} is not text in UTF-8: {err}") from err
    elif "text" in source:
        text = source["text"]
    elif "content" in source:
        text = "\n".join(item["text"] for item in source["content"])
    else:
        raise _cannot(f"The document {name}, which is not given as bytes or text,")
    context = f"{document['context']}\n" if document.get("context") else ""
    return _text_part(f"{context}Document {name} ({format}):\n{text}")


def _guarded(content: Mapping[str, Any]) -> _Json:
    return _text_part(content["text"]["text"]) if "text" in content else _image(content["image"])


def _cited(content: Mapping[str, Any]) -> _Json | None:
    """What the model said; where it had it from, no other server can use."""
    text = "".join(item.get("text", "") for item in content.get("content") or ())
    return _text_part(text) if text else None


def _nothing(_content: object) -> None:
    """No part: it changes no answer, or stands elsewhere."""
    return


def _tool_call(use: Mapping[str, Any]) -> _Json:
    if use.get("type") is not None:
        raise _cannot(f"The tool use {use['toolUseId']} of a tool that the service runs")
    function = {"name": use["name"], "arguments": json.dumps(use["input"], ensure_ascii=False)}
    return {"id": use["toolUseId"], "type": "function", "function": function}


def _tool_message(result: Mapping[str, Any]) -> _Json:
    said = []
    for item in result["content"]:
        kind = _kind(item)
        if kind not in _RESULTS:
            raise _cannot(f"A {kind} in a toolResult")
        said.append(_RESULTS[kind](item[kind]))
    text = "\n".join(said)
    if result.get("status") == "error":
        text = f"The tool failed: {text}" if text else "The tool failed."
    return {"role": "tool", "tool_call_id": result["toolUseId"], "content": text}


_TEXTS = ("txt", "md", "csv", "html")
#: Whose turn, and which block in it -> what it is in OpenAI's form.
_BLOCKS: Mapping[tuple[str, str], Callable[[Any], _Json | None]] = {
    **{(role, "text"): _text_part for role in ("system", "user", "assistant")},
    **{(role, "cachePoint"): _nothing for role in ("system", "user", "assistant")},
    **{(role, "guardContent"): _guarded for role in ("system", "user")},
    ("user", "image"): _image,
    ("user", "document"): _document,
    ("user", "toolResult"): _nothing,
    ("assistant", "toolUse"): _nothing,
    ("assistant", "reasoningContent"): _nothing,
    ("assistant", "citationsContent"): _cited,
}
_RESULTS: Mapping[str, Callable[[Any], str]] = {
    "text": str,
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "document": lambda document: str(_document(document)["text"]),
}
