"""A message in plain words: each block as a title and a body, and a message as plain text.

Strategy: one ``match`` over the kinds of block gives title and body as they came, and whoever shows them
escapes them in its own way: HTML, a terminal, Markdown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from typing import Any, assert_never

from bedrock_nb.message import (
    Block,
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from bedrock_nb.render.characters import printable, visible

__all__ = ["cited", "described", "result", "text", "with_tools"]


def _json(value: object) -> str:
    """A JSON-like value as text, in one line if it is short; bytes by their number."""
    try:
        line = json.dumps(value, ensure_ascii=False, default=_opaque)
        return line if len(line) <= 80 else json.dumps(value, indent=2, ensure_ascii=False, default=_opaque)
    except (RecursionError, TypeError, ValueError):  # absurdly deep, keys of odd types, a circle
        return f"({type(value).__name__} that JSON cannot express)"


def _opaque(value: object) -> str:
    return f"({len(value)} bytes)" if isinstance(value, bytes) else f"({type(value).__name__})"


def with_tools(message: Message, before: Iterable[Message] = ()) -> Iterator[tuple[Block, str]]:
    """Each block of a message, and for a tool's result the name of that tool ("" where it is not known).

    Parameters
    ----------
    message : Message
    before : iterable of Message
        What was said before it: a result names its call by the id alone, and the call may stand there.
    """
    names = {call.id: call.name for each in before for call in each.tool_uses}
    for block in message.content:
        if isinstance(block, ToolUseBlock):
            names[block.id] = block.name  # an id that comes twice means the call that came last
        yield block, names.get(block.id, "") if isinstance(block, ToolResultBlock) else ""


def described(block: Block, tool: str = "") -> tuple[str, str]:
    """A block's title (empty for text) and its body: both as they came, to be escaped by who shows them.

    ``tool`` is the name of the tool whose result the block is, from `with_tools`.
    """
    match block:
        case TextBlock(text):
            return "", text
        case ReasoningBlock(text):
            return "Reasoning", text
        case RedactedBlock(data):
            return f"Reasoning: redacted, {len(data)} bytes", ""
        case ToolUseBlock(_, name, None, raw):
            return f"Tool use: {name}, arguments not one whole JSON object", raw
        case ToolUseBlock(_, name, input):
            return f"Tool use: {name}", _json(input)
        case ToolResultBlock(_, content, status):
            # Next to a name that nothing went wrong needs no words.
            told = "" if not status or (tool and status == "success") else f": {status}"
            return f"{f'Result of {tool}' if tool else 'Tool result'}{told}", "\n".join(map(result, content))
        case ImageBlock(format, {"bytes": bytes(data)}, None):
            return f"Image: {format}, {len(data)} bytes", ""
        case ImageBlock(format, _, {"message": str(message)}):
            return f"Image: {format}, failed: {message}", ""
        case ImageBlock(format, source, error):
            return f"Image: {format}", _json(source if error is None else error)
        case UnknownBlock({"document": {"name": str(name), "format": str(format)}} as payload):
            return f"Document: {name} ({format})", _json(payload)
        case UnknownBlock(payload):
            return f"Block: {', '.join(map(str, payload))}", _json(payload)
        case _:
            assert_never(block)


def result(item: Mapping[str, Any]) -> str:
    """One item of what a tool gave, in words."""
    match item:
        case {"text": str(given)}:
            return given
        case {"image": {"format": str(format), "source": {"bytes": bytes(data)}}}:
            return f"(image: {format}, {len(data)} bytes)"
        case _:
            return _json(item.get("json", item))


# Members of Bedrock's CitationLocation other than ``web``: what they point into, its index, and the unit.
_PLACES = {
    "documentChar": ("document", "documentIndex", "characters"),
    "documentPage": ("document", "documentIndex", "pages"),
    "documentChunk": ("document", "documentIndex", "chunks"),
    "searchResultLocation": ("search result", "searchResultIndex", "blocks"),
}


def cited(citation: Mapping[str, Any]) -> tuple[str, str, str]:
    """A citation's title, its address and its place within the source; each may be empty."""
    title, url, location = citation.get("title"), citation.get("source"), citation.get("location")
    places = []
    for name, found in location.items() if isinstance(location, Mapping) else ():
        if name == "web" and isinstance(found, Mapping):
            url = found.get("url") or url
        elif name in _PLACES and isinstance(found, Mapping):
            kind, index, unit = _PLACES[name]
            places.append(f"{kind} {found.get(index)}, {unit} {found.get('start')} to {found.get('end')}")
    return str(title or ""), str(url or ""), ", ".join(places)


def text(message: Message, *, before: Iterable[Message] = ()) -> str:
    """A whole message as plain text, safe to print: for ``text/plain`` and for terminals.

    ``before`` is what was said before it, where the names of tools are looked up (see `with_tools`).
    """
    parts, numbers = [], count(1)
    for block, tool in with_tools(message, before):
        title, body = described(block, tool)
        parts.append(f"[{visible(title)}]\n{visible(body)}".strip() if title else body)
        for citation in block.citations if isinstance(block, TextBlock) else ():
            parts[-1] += f"\n[{next(numbers)}] {', '.join(filter(None, map(visible, cited(citation))))}"
    return printable("\n\n".join(parts))
