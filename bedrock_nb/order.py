"""The order of events in a reply: what may come now, and what is found where something else comes.

Strategy: one small state, `Progress`, with a method for each thing that a stream can bring. It knows what has
begun and what has stopped, and gathers each tool's input until its block does. What breaks the order is noted
in `Found`, and the state goes on with the next event: it never raises. Values and types inside an event are
not looked at here; `check.py` does that, and calls these methods.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from bedrock_nb.events import (
    CitationDelta,
    ImageDelta,
    ImageStart,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUseStart,
)
from bedrock_nb.message import parse_input

__all__ = ["ANY", "DELTAS", "STARTS", "Found", "Problem", "Progress", "quoted"]

#: So many problems of one rule are listed; the others are counted.
_MOST = 20

DELTAS: dict[type, str] = {
    TextDelta: "text",
    CitationDelta: "text",  # the sources of a text come in its own block
    ReasoningDelta: "reasoning",
    ReasoningSignature: "reasoning",
    RedactedReasoning: "redacted reasoning",
    ToolInputDelta: "tool use",
    ToolResultDelta: "tool result",
    ImageDelta: "image",
}
STARTS: dict[type, str] = {ToolUseStart: "tool use", ToolResultStart: "tool result", ImageStart: "image"}
#: A kind that this version does not know: it goes with any other.
ANY = "an unknown kind"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as the protocol demands.

    Attributes
    ----------
    rule : str
        The rule that it breaks, a key of `check.RULES`.
    seq : int or None
        The event, counted from 0 as in ``recording.event(seq)``; None if it is of the whole reply.
    text : str
        What happened, in a plain sentence.
    """

    rule: str
    seq: int | None
    text: str

    def __str__(self) -> str:
        return self.text


def quoted(text: object) -> str:
    """What the peer wrote, short and on one line; by hand it may be something else than text."""
    return f"{text[:70]!r:.70}" if isinstance(text, str) else f"a {type(text).__name__}"


class Found:
    """The problems found so far, of each rule the first few and a count."""

    def __init__(self) -> None:
        self._listed: list[Problem] = []
        self._counts: Counter[str] = Counter()

    def add(self, rule: str, seq: int | None, text: str) -> None:
        """Note a problem."""
        self._counts[rule] += 1
        if self._counts[rule] <= _MOST:
            # What the peer sent is in it, halves of surrogate pairs too: it must be printable all the same.
            said = text.encode("utf-8", "backslashreplace").decode()
            self._listed.append(Problem(rule, seq, said))

    def event(self, rule: str, seq: int, text: str) -> None:
        """Note a problem of one event."""
        self.add(rule, seq, f"Event {seq}: {text}")

    def problems(self) -> list[Problem]:
        """All of them in order, and for each rule how many were not listed."""
        listed = sorted(self._listed, key=lambda problem: (problem.seq is None, problem.seq or 0))
        more = {rule: count - _MOST for rule, count in self._counts.items() if count > _MOST}
        return listed + [
            Problem(rule, None, f"Not listed: {count:,} more of the rule {rule}.")
            for rule, count in more.items()
        ]


class _Block:
    """What came at one index. ``input`` gathers a tool's input; ``excused``: its fault has been told."""

    __slots__ = ("excused", "input", "kind", "open", "tool")

    def __init__(self, kind: str, tool: str | None = None, *, excused: bool = False) -> None:
        self.kind, self.tool, self.excused = kind, tool, excused
        self.open = True
        self.input: list[str] = []


class Progress:
    """How far one reply has come. A reply that begins anew begins with a new one of these."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._early: int | None = None  # the first event before messageStart
        self._start: int | None = None
        self._stop: int | None = None
        self._metadata: int | None = None
        self._fault: int | None = None
        self._blocks: dict[int, _Block] = {}
        self._highest = -1
        self._called = self._asked = 0  # tools; those of them that the caller has to run

    def _fits(self, seq: int, what: str) -> bool:
        """Whether anything of a block may come now; one thing is said about an event that may not."""
        if self._dead(seq, what):
            return False
        if self._stop is None:
            self._note_early(seq)
            return True
        if self._metadata is None:
            self._found.event("after-stop", seq, f"{what} came after messageStop.")
        else:
            self._found.event("after-metadata", seq, f"{what} came after metadata.")
        return False

    def _dead(self, seq: int, what: str) -> bool:
        if self._fault is None:
            return False
        text = f"{what} came after event {self._fault}, which ended the reply."
        self._found.event("after-fault", seq, text)
        return True

    def _note_early(self, seq: int) -> None:
        if self._start is None and self._early is None:
            self._early = seq

    def message_start(self, seq: int) -> None:
        """Take messageStart."""
        if self._dead(seq, "messageStart"):
            return
        if self._start is not None:
            text = f"a second messageStart; the first was event {self._start}."
            self._found.event("start-twice", seq, text)
            return
        if self._early is not None:
            text = f"it came before messageStart, which is event {seq}."
            self._found.event("before-start", self._early, text)
        self._start = seq

    def block_start(self, seq: int, index: int, kind: str, tool: str | None = None) -> _Block | None:
        """Take a block's start; give its block, or None if nothing of a block may come now."""
        if not self._fits(seq, f"a start for block {index}"):
            return None
        known = self._blocks.get(index)
        if known is not None:
            state = "is still open" if known.open else "had stopped"
            self._found.event("block-again", seq, f"a start for block {index}, which {state}.")
        return self._begin(seq, index, _Block(kind, tool))

    def _begin(self, seq: int, index: int, block: _Block) -> _Block:
        if index not in self._blocks and not block.excused and block.kind != ANY:
            if index < self._highest:
                text = f"block {index} begins after block {self._highest}."
                self._found.event("index-order", seq, text)
            self._highest = max(self._highest, index)
        self._blocks[index] = block
        return block

    def delta(self, seq: int, index: Any, kind: str) -> _Block | None:
        """Take a delta; give its block, or None if there is something to say about the next one too."""
        what = f"a delta of {kind} for block {index}"
        if not self._fits(seq, what):
            return None
        block = self._blocks.get(index)
        if block is None:
            unstarted = kind in STARTS.values()
            if unstarted:
                self._found.event("no-block-start", seq, f"{what}, which never started.")
            return self._begin(seq, index, _Block(kind, excused=unstarted))
        if not block.open:
            self._found.event("delta-after-stop", seq, f"{what}, which had stopped.")
            return None
        if ANY not in (kind, block.kind) and kind != block.kind:
            self._found.event("mixed-block", seq, f"{what}, which is one of {block.kind}.")
            return None
        return block

    def block_stop(self, seq: int, index: int) -> None:
        """Take a block's stop; a tool's input must be whole by then."""
        if not self._fits(seq, f"the stop of block {index}"):
            return
        block = self._blocks.get(index)
        if block is None or not block.open:
            state = "never began" if block is None else "had stopped"
            self._found.event("stop-of-nothing", seq, f"a stop for block {index}, which {state}.")
            return
        block.open = False
        if block.tool is not None:
            raw = "".join(block.input)
            if parse_input(raw) is None:
                text = (
                    f"the input of {block.tool} (block {index}) is not one whole JSON object: {quoted(raw)}"
                )
                self._found.event("tool-input", seq, f"{text}.")
            block.input.clear()

    def tool_use(self, seq: int, event: ToolUseStart) -> None:
        """Take the start of a tool call, and count it."""
        if self.block_start(seq, event.index, "tool use", quoted(event.name)) is not None:
            self._called += 1
            self._asked += event.type is None  # those with a type are run by the service

    def message_stop(self, seq: int, reason: str) -> None:
        """Take messageStop: no block may be open, and the reason must fit the tools asked for."""
        if self._dead(seq, "messageStop"):
            return
        if self._stop is not None:
            self._found.event("stop-twice", seq, f"a second messageStop; the first was event {self._stop}.")
            return
        self._note_early(seq)
        self._stop = seq
        for index, block in self._blocks.items():
            if block.open and not block.excused:
                text = f"the message stopped while block {index} was open."
                self._found.event("block-left-open", seq, text)
        if reason == "tool_use" and not self._called:
            self._found.event("tool-stop", seq, "the message stopped with tool_use and asks for no tool.")
        # A limit or a filter may end a message after a tool call; the model's own end may not.
        if reason == "end_turn" and self._asked:
            self._found.event("tool-stop", seq, "the message stopped with end_turn and asks for a tool.")

    def metadata(self, seq: int) -> None:
        """Take metadata."""
        if self._dead(seq, "metadata"):
            return
        if self._metadata is not None:
            text = f"a second metadata event; the first was event {self._metadata}."
            self._found.event("metadata-twice", seq, text)
            return
        self._note_early(seq)
        self._metadata = seq
        if self._stop is None:
            self._found.event("metadata-early", seq, "metadata came before messageStop.")

    def fault(self, seq: int) -> None:
        """Take what ended the stream."""
        if not self._dead(seq, "a second fault"):
            self._fault = seq

    def end(self, complete: bool) -> None:
        """No more events; only of a complete reply is it wrong that something is missing at its end."""
        if self._start is None and self._early is not None:
            text = f"No messageStart came: the reply begins with event {self._early}."
            self._found.add("start-missing", self._early, text)
        if not complete:
            return
        if self._start is None and self._early is None:
            self._missing("start", "messageStart")
        if self._stop is None:
            self._missing("stop", "messageStop")
        elif self._metadata is None:
            self._missing("metadata", "metadata")

    def _missing(self, end: str, wire: str) -> None:
        self._found.add(f"{end}-missing", None, f"The reply counts as complete, but its {wire} never came.")
