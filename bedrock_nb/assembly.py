"""Events -> message, and its inverse, message -> events.

Strategy: `Fold` takes one event after another. A block is what came at one index, and a delta that does not
fit the open block begins a new one, so nothing is lost to an unusual order. Text gathers in a `StringIO`,
joined only when somebody asks. `to_events` is the way back: what a server streams, what a test expects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import StringIO
from typing import Any, assert_never

from bedrock_nb.errors import RequestError
from bedrock_nb.events import (
    CONTENT,
    BlockStop,
    CitationDelta,
    Event,
    ImageDelta,
    ImageStart,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUse,
    ToolUseStart,
    Unknown,
)
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
    parse_input,
)

__all__ = ["Fold", "Passing", "fold", "to_events"]


class _Part:
    """A block under construction. ``kind`` names it; ``text`` gathers what comes as text."""

    __slots__ = ("content", "head", "kind", "signature", "source", "text", "whole")

    def __init__(self, kind: str, head: Event | None = None) -> None:
        self.kind, self.head = kind, head
        self.text = StringIO()
        self.whole = False
        self.signature: str | None = None
        self.content: list[dict[str, Any]] = []  # citations, tool results
        self.source: dict[str, Any] = {}  # image source, redacted bytes, image error

    def build(self) -> Block:
        text = self.text.getvalue()
        match self.kind, self.head:
            case "reasoning", _:
                return ReasoningBlock(text, self.signature)
            case "redacted", _:
                return RedactedBlock(self.source.get("bytes", b""))
            case "tool", ToolUseStart(_, id, name, type):
                return ToolUseBlock(id, name, parse_input(text) if self.whole else None, text, type)
            case "tool", _:  # a fragment for a tool that never began: kept, but nothing to run
                return ToolUseBlock("", "", None, text)
            case "result", ToolResultStart(_, id, status, type):
                return ToolResultBlock(id, tuple(self.content), status, type)
            case "result", _:
                return ToolResultBlock("", tuple(self.content))
            case "image", head:
                source = self.source.copy()  # at once: another thread may be adding to it
                format = head.format if isinstance(head, ImageStart) else ""
                return ImageBlock(format, source, source.pop("error", None))
            case _:
                return TextBlock(text, tuple(self.content))

    def add_result(self, items: Iterable[dict[str, Any]]) -> None:
        """Text that follows text is the same text going on; JSON stands alone."""
        for item in items:
            last = self.content[-1] if self.content else {}
            texts = (last.get("text"), item.get("text"))
            if len(last) == len(item) == 1 and isinstance(texts[0], str) and isinstance(texts[1], str):
                self.content[-1] = {"text": texts[0] + texts[1]}
            else:
                self.content.append(dict(item))

    def add_image(self, source: dict[str, Any] | None, error: dict[str, Any] | None) -> None:
        for name, value in (source or {}).items():
            known = self.source.get(name)
            self.source[name] = known + value if isinstance(known, bytes) else value
        if error is not None:
            self.source["error"] = error


class Fold:
    """Add events up to a message.

    ``feed`` returns the events that follow from the one given: a `ToolUse` when the block of a tool stops
    with sound input, a `MessageComplete` after the stop of a message without broken tool input.
    `snapshot` may be read from another thread at any time.
    """

    def __init__(self) -> None:
        self.role = "assistant"
        self.stop_reason: str | None = None
        self.usage: dict[str, Any] = {}
        self.metadata: Metadata | None = None
        self._parts: list[_Part] = []
        self._open: dict[int, _Part] = {}

    @property
    def snapshot(self) -> Message:
        """The message so far, open blocks included."""
        built = tuple(part.build() for part in self._parts)
        return Message(self.role, built, partial=self.stop_reason is None)

    @property
    def open_blocks(self) -> tuple[int, ...]:
        """Indices of the blocks that have begun and not stopped."""
        return tuple(self._open)

    @property
    def broken_tools(self) -> tuple[ToolUseBlock, ...]:
        """Tool requests that must not be run: never closed, or with input that is not one JSON object."""
        built = (part.build() for part in self._parts if part.kind == "tool")
        return tuple(block for block in built if isinstance(block, ToolUseBlock) and block.input is None)

    def feed(self, event: Event) -> tuple[Event, ...]:
        """Take one event; return the events made from it (mostly none)."""
        if type(event) is TextDelta:  # nearly all of a reply: past the tests below
            part = self._open.get(event.index)
            if part is not None and part.kind == "text":
                part.text.write(event.text)
                return ()
        match event:
            case TextDelta(index, text):
                self._part(index, "text").text.write(text)
            case ReasoningDelta(index, text):
                self._part(index, "reasoning").text.write(text)
            case ToolInputDelta(index, fragment):
                self._part(index, "tool").text.write(fragment)
            case ReasoningSignature(index, signature):
                part = self._part(index, "reasoning")
                part.signature = (part.signature or "") + signature
            case RedactedReasoning(index, data):
                part = self._part(index, "redacted")
                part.source["bytes"] = part.source.get("bytes", b"") + data
            case ToolUseStart(index):
                self._begin(index, "tool", event)
            case ToolResultStart(index):
                self._begin(index, "result", event)
            case ImageStart(index):
                self._begin(index, "image", event)
            case ToolResultDelta(index, content):
                self._part(index, "result").add_result(content)
            case CitationDelta(index, citation):
                self._part(index, "text").content.append(citation)
            case ImageDelta(index, source, error):
                self._part(index, "image").add_image(source, error)
            case BlockStop(index):
                return self._stop(index)
            case MessageStart(role):
                self.role = role
            case MessageStop(reason):
                self.stop_reason = reason
                return () if self.broken_tools else (MessageComplete(self.snapshot),)
            case Metadata(usage):
                self.usage, self.metadata = usage, event
            case Seam(mode):
                if mode == "restart":
                    self._parts, self._open = [], {}
            case ToolUse() | MessageComplete() | StreamFault() | Unknown():
                pass  # made here, or nothing that a message holds
            case _:
                assert_never(event)
        return ()

    def _part(self, index: int, kind: str) -> _Part:
        part = self._open.get(index)
        if part is None or part.kind != kind:
            part = self._begin(index, kind, None)
        return part

    def _begin(self, index: int, kind: str, head: Event | None) -> _Part:
        part = self._open[index] = _Part(kind, head)
        self._parts.append(part)
        return part

    def _stop(self, index: int) -> tuple[Event, ...]:
        part = self._open.pop(index, None)
        if part is None:
            return ()
        part.whole = True
        if not isinstance(part.head, ToolUseStart):
            return ()
        head, parsed = part.head, parse_input(part.text.getvalue())
        return () if parsed is None else (ToolUse(index, head.id, head.name, parsed, head.type),)


#: Broken tool calls that are remembered by a fold that forgets: one is enough to know.
_MOST_BROKEN = 10


class Passing(Fold):
    """A fold that keeps nothing but tool calls, each until it has stopped, so that any length will do."""

    def feed(self, event: Event) -> tuple[Event, ...]:
        """Take one event; return the `ToolUse` made from it, if there is one."""
        if isinstance(event, CONTENT) and not isinstance(event, ToolInputDelta):
            return ()
        made = tuple(e for e in super().feed(event) if not isinstance(e, MessageComplete))
        if isinstance(event, BlockStop | ImageStart | ToolResultStart):
            held = [part for part in self._open.values() if part.kind == "tool"]
            broken = [part for part in self._parts if part not in held and _broken(part)]
            self._parts = [*broken[:_MOST_BROKEN], *held]
        return made


def _broken(part: _Part) -> bool:
    block = part.build()
    return isinstance(block, ToolUseBlock) and block.input is None


def fold(events: Iterable[Event]) -> Message:
    """The message that these events add up to."""
    state = Fold()
    for event in events:
        state.feed(event)
    return state.snapshot


# -- message -> events -----------------------------------------------------------------------------


def _whole(text: str) -> Iterable[str]:
    return (text,)


def to_events(
    message: Message,
    *,
    stop_reason: str = "end_turn",
    usage: Mapping[str, Any] | None = None,
    latency_ms: int | None = None,
    split: Callable[[str], Iterable[str]] | None = None,
) -> Iterator[Event]:
    """The events that would stream this message; the inverse of `fold`.

    Parameters
    ----------
    message : Message
    stop_reason : str
        One of `events.STOP_REASONS`.
    usage : mapping, optional
        Token counts in Bedrock's names; a `Metadata` event ends the stream if given.
    latency_ms : int, optional
        The service's own latency, milliseconds.
    split : function, optional
        Cuts a text, a reasoning or a tool input into deltas; by default each block is one delta.

    Yields
    ------
    Event

    Raises
    ------
    RequestError
        The message holds a block that only requests can hold.
    """
    cut = split or _whole
    yield MessageStart(message.role)
    for index, block in enumerate(message.content):
        yield from _block_events(index, block, cut)
        yield BlockStop(index)
    yield MessageStop(stop_reason)
    if usage is not None:
        yield Metadata(dict(usage), latency_ms)


def _block_events(index: int, block: Block, cut: Callable[[str], Iterable[str]]) -> Iterator[Event]:
    match block:
        case TextBlock(text, citations):
            yield from (TextDelta(index, piece) for piece in (cut(text) if text else ("",)))
            yield from (CitationDelta(index, citation) for citation in citations)
        case ReasoningBlock(text, signature):
            yield from (ReasoningDelta(index, piece) for piece in (cut(text) if text else ("",)))
            if signature is not None:
                yield ReasoningSignature(index, signature)
        case RedactedBlock(data):
            yield RedactedReasoning(index, data)
        case ToolUseBlock(id, name, input, raw, type):
            yield ToolUseStart(index, id, name, type)
            if input and not raw:
                raw = json.dumps(input, ensure_ascii=False)
            yield from (ToolInputDelta(index, piece) for piece in cut(raw))
        case ToolResultBlock(id, content, status, type):
            yield ToolResultStart(index, id, status, type)
            yield from (ToolResultDelta(index, (item,)) for item in content)
        case ImageBlock(format, source, error):
            yield ImageStart(index, format)
            if source or error is not None:
                yield ImageDelta(index, source or None, error)
        case UnknownBlock(payload):
            raise RequestError(
                f"A block with {', '.join(payload) or 'nothing in it'} cannot be streamed.",
                remedy="Models answer in text, reasoning, tool use, tool result and image blocks.",
            )
        case _:
            assert_never(block)
