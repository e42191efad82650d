"""A conversation as a file: JSON and nothing that runs; what is read is believed in nothing.

Strategy: what Converse's own dicts hold is written as they are; what they would lose (the text of broken or
oddly written input, bytes, which answers are partial) stands beside them. Reading checks each member, so that
a damaged file is refused when it is loaded and not when it is sent.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from bedrock_nb.conversation.history import Exchange
from bedrock_nb.errors import RequestError
from bedrock_nb.message import (
    Block,
    ImageBlock,
    Message,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from bedrock_nb.toolruns import from_json

__all__ = ["dump", "load"]

FORMAT = "bedrock-nb-conversation"
VERSION = 1
#: How an exchange may stand; ``limited`` is one that a limit of the tool loop ended.
_STATUSES = ("complete", "cancelled", "incomplete", "error", "limited")
# A key that stands for bytes in a file, or would be taken for it: each "$" before the first marks it once.
_MARK = re.compile(r"\$+bytes")
# What may stand in a block of a file; None is for nothing at all.
_KINDS: dict[type[Block], dict[str, tuple[type | None, ...]]] = {
    TextBlock: {"text": (str,)},
    ReasoningBlock: {"text": (str,), "signature": (str, None)},
    ToolUseBlock: {"id": (str,), "name": (str,), "input": (dict, None), "raw": (str,), "type": (str, None)},
    ToolResultBlock: {"id": (str,), "status": (str, None), "type": (str, None)},
    ImageBlock: {"format": (str,), "source": (dict,), "error": (dict, None)},
}


def dump(head: Mapping[str, Any], exchanges: Sequence[Exchange]) -> str:
    """A conversation as JSON text.

    Parameters
    ----------
    head : mapping
        What else is to be kept: id, settings.
    exchanges : sequence of Exchange

    Raises
    ------
    RequestError
        There is something in it that JSON has no form for.
    """
    whole = {"format": FORMAT, "version": VERSION, **head, "exchanges": [_to_json(e) for e in exchanges]}
    try:
        return json.dumps(_plain(whole), indent=1) + "\n"
    except (TypeError, ValueError, RecursionError) as err:
        raise RequestError(f"The conversation cannot be saved: {err}.") from err


def _to_json(exchange: Exchange) -> dict[str, Any]:
    return {
        "prompt": _message_to_json(exchange.prompt),
        "messages": [_message_to_json(message) for message in exchange.messages],
        # One that is saved while it streams has ended there, as far as the file goes.
        "status": "incomplete" if exchange.status == "streaming" else exchange.status,
        "stop_reason": exchange.stop_reason,
        "usages": exchange.usages,
        "tools": [asdict(run) for run in exchange.tools],
        "left_out": exchange.left_out,
    }


def _message_to_json(message: Message) -> dict[str, Any]:
    saved: dict[str, Any] = {**message.to_dict(), **({"partial": True} if message.partial else {})}
    if Message.from_dict(saved) != message:  # Converse's form of a call has no room for what the model wrote
        saved["calls"] = [{"input": call.input, "raw": call.raw} for call in message.tool_uses]
    return saved


def _plain(value: Any) -> Any:
    """Bytes as ``{"$bytes": base64}``; a dict that looks so already (a model may write one) is marked."""
    if isinstance(value, bytes | bytearray):
        return {"$bytes": b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {f"${key}" if _MARK.fullmatch(str(key)) else key: _plain(value[key]) for key in value}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def load(text: str, name: str) -> tuple[dict[str, Any], list[Exchange]]:
    """Read what `dump` wrote: the head, and the exchanges.

    Parameters
    ----------
    text : str
    name : str
        Of the file, for error messages.

    Raises
    ------
    RequestError
        It is no saved conversation, is damaged, or is of a newer version.
    """
    try:
        whole = json.loads(text, object_hook=_bytes_back)
        version = whole.pop("version") if whole.pop("format") == FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        version = None
    if type(version) is not int:
        raise RequestError(
            f"{name!r} is not a saved conversation.", remedy="Conversation.save writes such files."
        )
    if version > VERSION:
        raise RequestError(
            f"{name!r} is of version {version}; this bedrock_nb reads up to {VERSION}.",
            remedy="Install a newer bedrock-nb.",
        )
    try:
        return whole, list(_from_json(whole.pop("exchanges")))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as err:  # RequestError is a ValueError
        raise RequestError(f"The conversation in {name!r} is damaged: {err}.") from err


def _from_json(exchanges: Any) -> Iterator[Exchange]:
    for saved in _list(exchanges):
        if saved["status"] not in _STATUSES:
            raise ValueError(f"its status is {saved['status']!r:.60}")
        prompt = _message_from_json(saved["prompt"])
        if prompt.role != "user" or not prompt.content:
            raise ValueError("a prompt is not the user's, or empty")
        yield Exchange(
            prompt=prompt,
            messages=[_message_from_json(message) for message in _list(saved["messages"])],
            status=saved["status"],
            stop_reason=_either(saved["stop_reason"], str, None),
            usages=[_counts(usage) for usage in _list(saved["usages"])],
            tools=[from_json(run, float(run["ended_s"])) for run in _list(saved["tools"])],
            left_out=max(0, _either(saved.get("left_out", 0), int)),
        )


def _message_from_json(saved: dict[str, Any]) -> Message:
    message = Message.from_dict(saved)
    if message.role not in ("user", "assistant"):
        raise ValueError(f"a turn is of the {message.role!r:.60}")
    calls = iter(_list(saved["calls"])) if "calls" in saved else None
    content = []
    for block in message.content:
        if isinstance(block, ToolUseBlock) and calls is not None:
            call: dict[str, Any] = next(calls, {})
            block = replace(block, input=call["input"], raw=call["raw"])
        if isinstance(block, ToolUseBlock):
            json.dumps(block.input)  # no bytes: no model writes them, and nobody could send them
        for member, kinds in _KINDS.get(type(block), {}).items():
            _either(getattr(block, member), *kinds)
        for item in _inside(block):
            _either(item, dict)
        content.append(block)
    return replace(message, content=tuple(content), partial=bool(saved.get("partial")))


def _inside(block: Block) -> tuple[dict[str, Any], ...]:
    if isinstance(block, TextBlock):
        return block.citations
    return block.content if isinstance(block, ToolResultBlock) else ()


def _counts(usage: Any) -> dict[str, Any]:
    """Token counts; what is none of them was never added up, and may stay."""
    for name, number in _either(usage, dict).items():
        if isinstance(number, int | float) and not (type(number) is int and 0 <= number < 2**53):
            raise ValueError(f"{name!r:.60} is {number!r:.60}, which is no number of tokens")
    counts: dict[str, Any] = usage
    return counts


def _list(value: Any) -> list[Any]:
    kept: list[Any] = _either(value, list)
    return kept


def _either(value: Any, *kinds: type | None) -> Any:
    if type(value) not in (type(None) if kind is None else kind for kind in kinds):
        raise TypeError(f"a {type(value).__name__} stands where none can: {value!r:.60}")
    return value


def _bytes_back(node: dict[str, Any]) -> Any:
    if node.keys() == {"$bytes"}:
        return b64decode(node["$bytes"])
    return {key[1:] if _MARK.fullmatch(key[1:]) else key: value for key, value in node.items()}
