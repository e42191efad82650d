"""The wire's JSON as one table: where each typed event's members sit, and how they are read and written.

Strategy: data, no behaviour beyond one pair of functions a member type. A new event of Bedrock's is a class
in `events` and a row here; `wire` does the rest. Members that hold structures which nobody needs to see
typed (guardrail traces, citations, usage) are opaque: handed on whole, so nothing inside is lost.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    ImageDelta,
    ImageStart,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUseStart,
)

__all__ = ["INDEX", "ITEMS", "PADDING", "SHAPES", "Codec", "Shape"]


class Codec(NamedTuple):
    """How one member is read from JSON and written to it."""

    read: Callable[[Any], Any]
    write: Callable[[Any], Any]


class Shape(NamedTuple):
    """Where an event's members sit: event type, path inside the payload, member -> (field, codec)."""

    event: type
    wire: str
    path: tuple[str, ...]
    members: dict[str, tuple[str, Codec]]


def _exactly(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"{kind.__name__} expected, {type(value).__name__} found")
        return value

    return read


def _same(value: Any) -> Any:
    return value


def _read_blob(value: Any) -> bytes:
    return b64decode(_exactly(str)(value), validate=True)


def _write_blob(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _read_source(value: Any) -> dict[str, Any]:
    source = {name: part for name, part in _exactly(dict)(value).items() if part is not None}
    if "bytes" in source:
        source["bytes"] = _read_blob(source["bytes"])
    return source


def _write_source(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "bytes": _write_blob(value["bytes"])} if "bytes" in value else value


def _read_items(value: Any) -> tuple[dict[str, Any], ...]:
    return tuple(_exactly(dict)(item) for item in _exactly(list)(value))


TEXT = Codec(_exactly(str), _same)
COUNT = Codec(_exactly(int), _same)
OPAQUE = Codec(_exactly(dict), _same)  # handed on whole: nothing inside is lost, nothing inside is typed
ANY = Codec(_same, _same)
ITEMS = Codec(_read_items, list)
BLOB = Codec(_read_blob, _write_blob)
SOURCE = Codec(_read_source, _write_source)

INDEX = "contentBlockIndex"
PADDING = "p"  # Bedrock pads frames to varying lengths with this member; it means nothing

#: Every typed event, in the order in which they may come. A dotted member lies one level deeper.
SHAPES: tuple[Shape, ...] = (
    Shape(MessageStart, "messageStart", (), {"role": ("role", TEXT)}),
    Shape(
        ToolUseStart,
        "contentBlockStart",
        ("start", "toolUse"),
        {"toolUseId": ("id", TEXT), "name": ("name", TEXT), "type": ("type", TEXT)},
    ),
    Shape(
        ToolResultStart,
        "contentBlockStart",
        ("start", "toolResult"),
        {"toolUseId": ("id", TEXT), "status": ("status", TEXT), "type": ("type", TEXT)},
    ),
    Shape(ImageStart, "contentBlockStart", ("start", "image"), {"format": ("format", TEXT)}),
    Shape(TextDelta, "contentBlockDelta", ("delta",), {"text": ("text", TEXT)}),
    Shape(ReasoningDelta, "contentBlockDelta", ("delta", "reasoningContent"), {"text": ("text", TEXT)}),
    Shape(
        ReasoningSignature,
        "contentBlockDelta",
        ("delta", "reasoningContent"),
        {"signature": ("signature", TEXT)},
    ),
    Shape(
        RedactedReasoning,
        "contentBlockDelta",
        ("delta", "reasoningContent"),
        {"redactedContent": ("data", BLOB)},
    ),
    Shape(ToolInputDelta, "contentBlockDelta", ("delta", "toolUse"), {"input": ("fragment", TEXT)}),
    Shape(ToolResultDelta, "contentBlockDelta", ("delta",), {"toolResult": ("content", ITEMS)}),
    Shape(CitationDelta, "contentBlockDelta", ("delta",), {"citation": ("citation", OPAQUE)}),
    Shape(
        ImageDelta,
        "contentBlockDelta",
        ("delta", "image"),
        {"source": ("source", SOURCE), "error": ("error", OPAQUE)},
    ),
    Shape(BlockStop, "contentBlockStop", (), {}),
    Shape(
        MessageStop,
        "messageStop",
        (),
        {"stopReason": ("reason", TEXT), "additionalModelResponseFields": ("fields", ANY)},
    ),
    Shape(
        Metadata,
        "metadata",
        (),
        {
            "usage": ("usage", OPAQUE),
            "metrics.latencyMs": ("latency_ms", COUNT),
            "trace": ("trace", OPAQUE),
            "performanceConfig": ("performance_config", OPAQUE),
            "serviceTier": ("service_tier", OPAQUE),
        },
    ),
)
