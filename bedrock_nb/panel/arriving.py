"""A turn that is on its way, as blocks of a document, step by step.

Strategy: the events of the turn are folded as `assembly.Fold` does it: a block is what came at one index, and
what does not fit the open block begins a new one. Prose goes through `Growing`, whose finished pieces are
told once and never looked at again; everything else is small, is a `Fold` of its own, and is made anew when
something of it came. A part of the answer has no block, one, or two (a text and its sources), and may get
them late; so it notes where they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bedrock_nb.assembly import Fold
from bedrock_nb.conversation.loop import TurnEvent
from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    ImageDelta,
    ImageStart,
    MessageStart,
    MessageStop,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Seam,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUseStart,
)
from bedrock_nb.message import Block, ToolResultBlock, ToolUseBlock
from bedrock_nb.panel import parts
from bedrock_nb.panel.document import Document
from bedrock_nb.panel.parts import MATH, Call, View
from bedrock_nb.render.growing import Growing
from bedrock_nb.toolruns import ToolFinished, ToolRun, ToolStarted

__all__ = ["Arriving"]

#: What an event is a part of.
_KINDS: dict[type, str] = {
    TextDelta: "text",
    CitationDelta: "text",
    ReasoningDelta: "reasoning",
    ReasoningSignature: "reasoning",
    RedactedReasoning: "redacted",
    ToolUseStart: "tool",
    ToolInputDelta: "tool",
    ToolResultStart: "result",
    ToolResultDelta: "result",
    ImageStart: "image",
    ImageDelta: "image",
}
_HEADS = (ToolUseStart, ToolResultStart, ImageStart)
_PROSE = ("text", "reasoning")


class _Part:
    """A content block on its way, and its blocks in the document."""

    def __init__(self, kind: str, number: int, images: frozenset[str]) -> None:
        self.kind, self.number = kind, number
        self.at, self.shown = 0, list[str]()  # where its blocks begin, and of what kind they are
        self.whole = False
        self.fold = Fold()  # of what is not prose
        self.prose = Growing(math=MATH, images=images) if kind in _PROSE else None
        self.done = 0  # pieces that are finished
        self.spoken = False  # there is something to see in its prose
        self.citations: list[dict[str, Any]] = []
        self.id = ""  # of a call, or of what is the result of one
        self.server = False  # a call that the service runs
        self.call = Call("writing")
        self.target: _Part | None = None  # the call whose result it is

    def feed(self, event: Any) -> None:
        match event:
            case TextDelta(_, text) | ReasoningDelta(_, text):
                assert self.prose is not None
                self.prose.feed(text)
                self.spoken = self.spoken or bool(text.strip())
            case CitationDelta(_, citation):
                self.citations.append(citation)
            case ReasoningSignature():
                pass  # for the model, not for who reads
            case _:
                if isinstance(event, ToolUseStart | ToolResultStart):
                    self.id, self.server = event.id, event.type is not None
                self.fold.feed(event)

    def stop(self, event: BlockStop) -> None:
        self.whole = True
        self.fold.feed(event)

    @property
    def block(self) -> Block:
        return self.fold.snapshot.content[-1]

    @property
    def wanted(self) -> list[str]:
        """The kinds of its blocks in the document; those that were there stay."""
        if self.kind in _PROSE:
            return [self.kind] * self.spoken + ["sources"] * bool(self.citations)
        return [] if self.target is not None else [self.kind]


class Arriving:
    """The blocks of one turn on its way; what stands in the document's turn already stays before them.

    Parameters
    ----------
    document : Document
    turn : int
        The document's id of it.
    images : frozenset of str
        Hosts that images may be fetched from.
    """

    def __init__(self, document: Document, turn: int, images: frozenset[str]) -> None:
        self._document, self._turn, self._images = document, turn, images
        self._length = len(document.turns[turn]["blocks"])
        self._parts: list[_Part] = []
        self._first = 0  # part of this round
        self._open: dict[int, _Part] = {}
        self._stopped = False  # the message of this round
        self._calls: list[_Part] = []  # of this round, without a result
        self._fresh: dict[_Part, None] = {}  # of which something came, in order

    def take(self, events: Iterable[TurnEvent], asking: Mapping[str, ToolUseBlock]) -> None:
        """Take in what came since the last time, and who waits for approval; tell the document."""
        for event in events:
            self._see(event)
        keys = self._keys(asking)
        for part in self._calls:
            self._stand(part, keys.get(part))
        for part in self._fresh:
            self._paint(part)
        self._fresh.clear()

    # -- events ------------------------------------------------------------------------------------

    def _see(self, event: Any) -> None:
        kind = _KINDS.get(type(event))
        if kind is not None:
            part = self._open.get(event.index)
            if part is None or part.kind != kind or isinstance(event, _HEADS):
                part = self._begin(event.index, kind)
            part.feed(event)
            self._fresh[part] = None
            if isinstance(event, ToolResultStart):
                part.target = self._call(event.id)
            return
        match event:
            case BlockStop(index):
                if (stopped := self._open.pop(index, None)) is not None:
                    stopped.stop(event)
                    self._fresh[stopped] = None
            case MessageStop():
                self._stopped = True
            case MessageStart() if self._stopped:
                self._first, self._open, self._stopped = len(self._parts), {}, False
                self._calls.clear()
            case Seam("restart"):
                self._drop()
            case ToolStarted(call):
                self._note(call.id, "running")
            case ToolFinished(call, run, result):
                self._note(call.id, None, run, result)
            case _:
                pass  # nothing that a message holds

    def _begin(self, index: int, kind: str) -> _Part:
        part = self._open[index] = _Part(kind, len(self._parts), self._images)
        self._parts.append(part)
        if kind == "tool":
            self._calls.append(part)
        return part

    def _drop(self) -> None:
        """The answer begins anew: what came of this round is no part of it."""
        gone = self._parts[self._first :]
        del self._parts[self._first :]
        self._open, self._stopped = {}, False
        self._calls.clear()
        for part in gone:
            self._fresh.pop(part, None)
        shown = [part.at for part in gone if part.shown]
        if shown:
            self._length = min(shown)
            self._document.cut_blocks(self._turn, self._length)

    def _call(self, id: str) -> _Part | None:
        """The first call of this id that has no result."""
        return next((part for part in self._calls if part.id == id), None)

    def _note(
        self, id: str, state: str | None, run: ToolRun | None = None, result: ToolResultBlock | None = None
    ) -> None:
        """What has become of a call."""
        part = self._call(id)
        if part is not None:
            part.call = Call(state, run, result)
            self._fresh[part] = None
            if result is not None:
                self._calls.remove(part)

    def _keys(self, asking: Mapping[str, ToolUseBlock]) -> dict[_Part, str]:
        """The calls that wait for approval, and their keys.

        A model may use an id twice, and only one of both is asked about: what is shown above the question is
        what will run, to the last argument.
        """
        found: dict[_Part, str] = {}
        for key, call in asking.items():
            for part in self._calls:
                if part.id == call.id and part.whole and part not in found and part.block == call:
                    found[part] = key
                    break
        return found

    def _stand(self, part: _Part, key: str | None) -> None:
        """Where a call without a result stands; ``key`` is that of a question about it."""
        state = part.call.state
        if key is not None:
            state = "asking"
        elif state == "asking" or (state == "writing" and part.whole):  # answered, or about to be asked
            state = "running" if part.server else "waiting"
        if (state, key) != (part.call.state, part.call.ask):
            part.call = Call(state, ask=key)
            self._fresh[part] = None

    # -- the document ------------------------------------------------------------------------------

    def _paint(self, part: _Part) -> None:
        self._make_room(part)
        if part.prose is not None:
            if part.spoken:
                self._paint_prose(part, part.prose)
            for view in parts.sources(part.citations):
                parts.put(self._document, self._turn, part.at + part.spoken, view)
        elif part.target is not None:
            result = part.block
            if isinstance(result, ToolResultBlock):
                part.target.call = Call(result=result)
                self._paint(part.target)
                if part.whole and part.target in self._calls:
                    self._calls.remove(part.target)
        else:
            (view,) = parts.views(part.block, part.call, images=self._images)
            if part.kind == "image" and not part.whole:  # all at once: half a picture is none
                view = View("image", state="growing")
            parts.put(self._document, self._turn, part.at, view)

    def _paint_prose(self, part: _Part, prose: Growing) -> None:
        if part.whole:
            finished, tail = prose.end(), ""
        else:
            finished, tail = prose.take()
        made = [*finished, tail] if tail else finished
        self._document.set_block(self._turn, part.at, state="" if part.whole else "growing")
        self._document.set_pieces(self._turn, part.at, made, part.done)
        part.done += len(finished)

    def _make_room(self, part: _Part) -> None:
        """Let the document have the blocks that a part wants, where they belong."""
        for n, kind in enumerate(part.wanted):
            if part.shown[n : n + 1] == [kind]:
                continue
            later = [other for other in self._parts[part.number + 1 :] if other.shown]
            if not part.shown:
                part.at = later[0].at if later else self._length
            title = {"reasoning": "Reasoning", "sources": "Sources"}.get(kind, "")
            shown = {"redacted": "note", "result": "note"}.get(kind, kind)
            self._document.insert_block(self._turn, part.at + n, kind=shown, title=title)
            part.shown.insert(n, kind)
            self._length += 1
            for other in later:
                other.at += 1
