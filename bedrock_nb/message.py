"""Messages: content blocks in Converse's own vocabulary, and the dicts that boto3 takes for them.

Strategy: frozen values, and one ``match`` in each direction between a block and its dict. How events add up
to a message is told in `assembly`. A tool's input is parsed strictly: what is not one JSON object stays
visible as ``raw`` text with ``input=None``. It is never guessed.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, assert_never

from bedrock_nb.errors import RequestError

__all__ = [
    "IMAGE_FORMATS",
    "Block",
    "ImageBlock",
    "Message",
    "ReasoningBlock",
    "RedactedBlock",
    "TextBlock",
    "ToolResultBlock",
    "ToolUseBlock",
    "UnknownBlock",
    "image_format",
    "parse_input",
]


@dataclass(frozen=True, slots=True)
class TextBlock:
    """Visible text, with the sources that it cites."""

    text: str
    citations: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ReasoningBlock:
    """The model's reasoning and the signature that must go back with it unchanged."""

    text: str
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class RedactedBlock:
    """Encrypted reasoning; opaque bytes that must go back unchanged."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ToolUseBlock:
    """A request to run a tool. ``input`` is None until its block has ended as one whole JSON object.

    ``raw`` is the text of the input as it came.
    """

    id: str
    name: str
    input: dict[str, Any] | None
    raw: str
    type: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResultBlock:
    """What a tool gave: a tuple of ``{"text": …}``, ``{"json": …}`` and the like."""

    id: str
    content: tuple[dict[str, Any], ...]
    status: str | None = None
    type: str | None = None


@dataclass(frozen=True, slots=True)
class ImageBlock:
    """An image: ``source`` holds ``bytes`` or ``s3Location``, or ``error`` says why there is none."""

    format: str
    source: dict[str, Any]
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class UnknownBlock:
    """A block that only a request can hold (document, video, cachePoint …), kept as the dict it is."""

    payload: dict[str, Any]


# How the image formats that Bedrock names begin.
_IMAGES = {
    "png": rb"\x89PNG\r\n",
    "jpeg": rb"\xff\xd8\xff",
    "gif": b"GIF8[79]a",
    "webp": b"RIFF(?s:....)WEBP",
}
#: Their names.
IMAGE_FORMATS = tuple(_IMAGES)


def image_format(data: bytes) -> str | None:
    """The format that an image's first bytes show; None if they are those of none that Bedrock takes."""
    return next((name for name, start in _IMAGES.items() if re.match(start, data)), None)


_DEEPEST = 100  # levels of objects and lists in a tool's input

Block: TypeAlias = (
    TextBlock | ReasoningBlock | RedactedBlock | ToolUseBlock | ToolResultBlock | ImageBlock | UnknownBlock
)


@dataclass(frozen=True, slots=True, repr=False)
class Message:
    """One turn: a role and its content blocks.

    ``partial`` marks an answer that has not stopped, or never did: what came of it until then.
    """

    role: str
    content: tuple[Block, ...] = ()
    partial: bool = field(default=False, compare=False)

    def __repr__(self) -> str:
        unfinished = ", partial=True" if self.partial else ""
        return f"Message(role={self.role!r}, content={self.content!r}{unfinished})"

    @property
    def text(self) -> str:
        """All visible text, blocks joined without a separator."""
        return "".join(block.text for block in self.content if isinstance(block, TextBlock))

    @property
    def reasoning(self) -> str:
        """All readable reasoning."""
        return "".join(block.text for block in self.content if isinstance(block, ReasoningBlock))

    @property
    def tool_uses(self) -> tuple[ToolUseBlock, ...]:
        """The tools that the model asks for, in order."""
        return tuple(block for block in self.content if isinstance(block, ToolUseBlock))

    def to_dict(self) -> dict[str, Any]:
        """The message as boto3 takes it: ``{"role": …, "content": [{"text": …}, …]}``."""
        return {"role": self.role, "content": [_block_to_dict(block) for block in self.content]}

    @classmethod
    def from_dict(cls, message: Mapping[str, Any]) -> Message:
        """Read a message dict of Converse, as in a request or in a plain response.

        Raises
        ------
        RequestError
            It is no such dict.
        """
        try:
            match message:
                case {"role": str(role), "content": list() | tuple() as content}:
                    return cls(role, tuple(_block_from_dict(block) for block in content))
        except (AttributeError, TypeError, ValueError, RecursionError):
            pass
        raise RequestError(
            f"This is not a message of Converse: {reprlib.repr(message)}.",
            remedy='A message is a dict such as {"role": "user", "content": [{"text": "…"}]}.',
        )


# -- blocks <-> Converse's dicts -------------------------------------------------------------------


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _block_to_dict(block: Block) -> dict[str, Any]:
    match block:
        case TextBlock(text, ()):
            return {"text": text}
        case TextBlock(text, citations):
            return {"citationsContent": {"content": [{"text": text}], "citations": list(citations)}}
        case ReasoningBlock(text, signature):
            return {"reasoningContent": {"reasoningText": _given(text=text, signature=signature)}}
        case RedactedBlock(data):
            return {"reasoningContent": {"redactedContent": data}}
        case ToolUseBlock(id, name, input, raw, type):
            if input is None:  # Converse demands an object: say what came, rather than guess
                input = {"invalid_json": raw}
            return {"toolUse": _given(toolUseId=id, name=name, input=input, type=type)}
        case ToolResultBlock(id, content, status, type):
            return {
                "toolResult": _given(toolUseId=id, content=list(content), status=status, type=type),
            }
        case ImageBlock(format, source, error):
            return {"image": _given(format=format, source=source, error=error)}
        case UnknownBlock(payload):
            return payload
        case _:
            assert_never(block)


def _may(rest: Mapping[Any, Any], name: str) -> Any:
    return rest.get(name)


def _block_from_dict(block: Mapping[str, Any]) -> Block:
    match dict(block):
        case {"text": str(text)}:
            return TextBlock(text)
        case {"citationsContent": dict(cited)}:
            text = "".join(part.get("text", "") for part in cited.get("content") or ())
            return TextBlock(text, tuple(cited.get("citations") or ()))
        case {"reasoningContent": {"reasoningText": {"text": str(text), **rest}}}:
            return ReasoningBlock(text, _may(rest, "signature"))
        case {"reasoningContent": {"redactedContent": bytes(data)}}:
            return RedactedBlock(data)
        case {"toolUse": {"toolUseId": id, "name": name, "input": dict(input), **rest}}:
            match input:
                case {"invalid_json": str(raw)} if len(input) == 1:  # what `to_dict` makes of broken input
                    return ToolUseBlock(id, name, None, raw, _may(rest, "type"))
            return ToolUseBlock(id, name, input, json.dumps(input), _may(rest, "type"))
        case {"toolResult": {"toolUseId": id, "content": content, **rest}}:
            return ToolResultBlock(id, tuple(content), _may(rest, "status"), _may(rest, "type"))
        case {"image": {"format": format, "source": source, **rest}}:
            return ImageBlock(format, source, _may(rest, "error"))
        case _:
            return UnknownBlock(dict(block))


def parse_input(raw: str) -> dict[str, Any] | None:
    """Parse a tool's input strictly; None where it is not one whole JSON object.

    Nothing or white space stands for no arguments, ``{}``: that is how Bedrock streams a call of a tool
    without parameters. ``NaN``, repeated keys and more than 100 levels of nesting are refused.
    """
    if not raw.strip():
        return {}
    try:
        value = json.loads(raw, parse_constant=_refuse, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not _too_deep(value, raw) else None


def _too_deep(value: Any, raw: str) -> bool:
    """Nested so deep that code which descends into it, boto3's too, would run out of stack."""
    if raw.count("{") + raw.count("[") <= _DEEPEST:
        return False
    level = [value]
    for _ in range(_DEEPEST):
        inner = (node.values() if isinstance(node, dict) else node for node in level)
        level = [child for children in inner for child in children if isinstance(child, dict | list)]
    return bool(level)


def _refuse(name: str) -> None:
    raise ValueError(name)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("repeated key")
    return members
