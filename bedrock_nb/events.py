"""Typed events: ConverseStream's vocabulary, one flat frozen class per thing that happens.

Strategy: `Event` is a union and no base class, so that a type checker can list every place that must think
about a new event: consumers use ``match`` and end in ``assert_never``. What nobody has typed yet arrives as
`Unknown`, itself in the union, so nothing is lost and nothing breaks. How events look on the wire is told
in `wire`, what they add up to in `assembly`.

Names: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, dataclass_transform

from bedrock_nb.errors import StreamError

if TYPE_CHECKING:
    from bedrock_nb.message import Message

__all__ = [
    "CONTENT",
    "KIND_OF",
    "STOP_REASONS",
    "BlockStop",
    "CitationDelta",
    "Event",
    "ImageDelta",
    "ImageStart",
    "MessageComplete",
    "MessageStart",
    "MessageStop",
    "Metadata",
    "ReasoningDelta",
    "ReasoningSignature",
    "RedactedReasoning",
    "Seam",
    "StreamFault",
    "TextDelta",
    "ToolInputDelta",
    "ToolResultDelta",
    "ToolResultStart",
    "ToolUse",
    "ToolUseStart",
    "Unknown",
]


T = TypeVar("T")


def _said(event: Any) -> str:
    """An event as the call that makes it, without the fields that nothing came for."""
    given = [f.name for f in fields(event) if f.default is MISSING or getattr(event, f.name) != f.default]
    return f"{type(event).__name__}({', '.join(f'{name}={getattr(event, name)!r}' for name in given)})"


@dataclass_transform(frozen_default=True)
def _event(cls: type[T]) -> type[T]:
    """Make a class an event: frozen, slotted, and brief when printed."""
    cls.__repr__ = _said  # type: ignore[method-assign]
    return dataclass(frozen=True, slots=True, repr=False)(cls)


@_event
class MessageStart:
    """The reply begins. ``role`` is ``"assistant"``."""

    role: str


@_event
class TextDelta:
    """A piece of visible text for block ``index``."""

    index: int
    text: str


@_event
class ReasoningDelta:
    """A piece of the model's reasoning for block ``index``."""

    index: int
    text: str


@_event
class ReasoningSignature:
    """Proof that the reasoning of block ``index`` is the model's own: opaque, sent back unchanged."""

    index: int
    signature: str


@_event
class RedactedReasoning:
    """Reasoning that the provider encrypted: ``data`` is opaque bytes, sent back unchanged."""

    index: int
    data: bytes


@_event
class ToolUseStart:
    """The model begins to ask for tool ``name``. ``type`` is ``"server_tool_use"`` if Bedrock runs it."""

    index: int
    id: str
    name: str
    type: str | None = None


@_event
class ToolInputDelta:
    """A fragment of the JSON text of a tool's input; not JSON by itself."""

    index: int
    fragment: str


@_event
class ToolUse:
    """A whole tool request with its parsed input, made when its block has stopped; not on the wire."""

    index: int
    id: str
    name: str
    input: dict[str, Any]
    type: str | None = None


@_event
class ToolResultStart:
    """The result of a tool that the service ran begins."""

    index: int
    id: str
    status: str | None = None
    type: str | None = None


@_event
class ToolResultDelta:
    """A piece of such a result: a tuple of ``{"text": …}`` or ``{"json": …}``."""

    index: int
    content: tuple[dict[str, Any], ...]


@_event
class CitationDelta:
    """A source for the text of block ``index``: ``title``, ``source``, ``sourceContent``, ``location``."""

    index: int
    citation: dict[str, Any]


@_event
class ImageStart:
    """An image begins. ``format`` is ``png``, ``jpeg``, ``gif`` or ``webp``."""

    index: int
    format: str


@_event
class ImageDelta:
    """A part of an image: ``source`` holds ``bytes`` or ``s3Location``; ``error`` says why there is none."""

    index: int
    source: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@_event
class BlockStop:
    """Content block ``index`` is whole."""

    index: int


@_event
class MessageStop:
    """The message is whole; ``reason`` says why it stopped. `Metadata` still follows."""

    reason: str
    fields: dict[str, Any] | None = None


@_event
class MessageComplete:
    """The assembled message, made when it has stopped; not on the wire."""

    message: Message


@_event
class Metadata:
    """Token usage and the service's own latency in milliseconds; the last event of a sound reply.

    ``usage`` keeps Bedrock's names and numbers as they came: ``inputTokens`` excludes cached tokens.
    """

    usage: dict[str, Any]
    latency_ms: int | None = None
    trace: dict[str, Any] | None = None
    performance_config: dict[str, Any] | None = None
    service_tier: dict[str, Any] | None = None


@_event
class Seam:
    """Here a reply that had broken off was taken up again by a second call; not on the wire.

    ``mode`` says how: ``continue``, the events go on where they stopped, or ``restart``, the answer begins
    anew and what came before is no part of it. ``reason`` is how the first part ended.
    """

    mode: str
    reason: str = ""


@_event
class StreamFault:
    """The reply failed: always the last event of its recording."""

    error: StreamError

    def __eq__(self, other: object) -> bool:
        # Exceptions compare by identity; two faults are the same if the same happened.
        if not isinstance(other, StreamFault):
            return NotImplemented
        return type(self.error) is type(other.error) and self.error.what == other.error.what

    def __hash__(self) -> int:
        return hash(self.error.what)


@_event
class Unknown:
    """Something that this version has no class for: kept whole under the wire's name.

    Members that came beside those of a known event follow it under its name with a plus:
    ``"contentBlockDelta+"``.
    """

    type: str
    payload: Any


Event: TypeAlias = (
    MessageStart
    | TextDelta
    | ReasoningDelta
    | ReasoningSignature
    | RedactedReasoning
    | ToolUseStart
    | ToolInputDelta
    | ToolUse
    | ToolResultStart
    | ToolResultDelta
    | CitationDelta
    | ImageStart
    | ImageDelta
    | BlockStop
    | MessageStop
    | MessageComplete
    | Metadata
    | Seam
    | StreamFault
    | Unknown
)

#: Why a message stopped, as botocore's model lists it. Another value is passed on as it is.
STOP_REASONS = (
    "end_turn",
    "tool_use",
    "max_tokens",
    "stop_sequence",
    "guardrail_intervened",
    "content_filtered",
    "malformed_model_output",
    "malformed_tool_use",
    "model_context_window_exceeded",
)

#: The events that carry something of the answer. Timing metrics start and end on these.
CONTENT = (
    TextDelta,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    ToolInputDelta,
    ToolResultDelta,
    CitationDelta,
    ImageDelta,
)

#: What kind of content an event is of.
KIND_OF: dict[type, str] = {
    TextDelta: "text",
    CitationDelta: "text",
    ReasoningDelta: "reasoning",
    ReasoningSignature: "reasoning",
    RedactedReasoning: "reasoning",
    ToolUseStart: "tool input",
    ToolInputDelta: "tool input",
    ToolResultStart: "tool result",
    ToolResultDelta: "tool result",
    ImageStart: "image",
    ImageDelta: "image",
}
