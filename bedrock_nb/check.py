"""Does a recording keep to Bedrock's protocol? What in it is out of order, or is not what it must be?

Strategy: one pass over the recording's columns. The order of events is kept in one small state, `_Reply`,
which knows what has begun and what has stopped; a delta like the one before it needs no more than two
comparisons. What lies inside the rarer events is botocore's to judge: its own validator, on the service model
of the installed version, so a member that AWS adds is known here the day it is known to the client. Types of
plain deltas are enforced when they are parsed and not looked at again.

A reply that was cut lacks its end, and its status says so: that alone is no problem here. Nothing is changed,
and nothing raises, whatever the recording holds.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice, pairwise
from operator import gt
from typing import Any, assert_never

import botocore.loaders
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from bedrock_nb.errors import RequestError
from bedrock_nb.events import (
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
from bedrock_nb.message import parse_input
from bedrock_nb.recording import Recording
from bedrock_nb.shapes import INDEX, SHAPES
from bedrock_nb.wire import to_botocore

__all__ = ["RULES", "Problem", "check"]

_REFERENCE = "AWS API reference, ConverseStreamOutput"
_MODEL = "botocore's service model"

#: Every rule by its name: what the protocol demands, and who says so.
RULES: dict[str, str] = {
    "before-start": f"Nothing comes before messageStart ({_REFERENCE}).",
    "start-missing": f"A reply begins with messageStart ({_REFERENCE}).",
    "start-twice": f"There is one messageStart ({_REFERENCE}).",
    "block-again": "A block starts once, and its index is not used for another (observed).",
    "no-block-start": f"Tool use, tool results and images begin with contentBlockStart ({_REFERENCE}).",
    "delta-after-stop": f"No delta comes for a block that has stopped ({_REFERENCE}).",
    "stop-of-nothing": f"contentBlockStop ends a block that is open ({_REFERENCE}).",
    "block-left-open": f"Every block stops before the message does ({_REFERENCE}).",
    "index-order": "A new block has a higher index than all blocks before it (observed).",
    "mixed-block": "All deltas of a block are of one kind (AWS API reference, ContentBlock is a union).",
    "stop-missing": f"A complete reply has a messageStop ({_REFERENCE}).",
    "stop-twice": f"There is one messageStop ({_REFERENCE}).",
    "after-stop": f"Only metadata follows messageStop ({_REFERENCE}).",
    "metadata-early": "metadata comes after messageStop (observed).",
    "metadata-missing": f"A complete reply ends with metadata ({_REFERENCE}).",
    "metadata-twice": f"There is one metadata event ({_REFERENCE}).",
    "after-metadata": "Nothing follows metadata (observed).",
    "after-fault": f"An exception ends the stream ({_REFERENCE}).",
    "times": "Events are recorded in the order in which they came, after their request (monotonic clock).",
    "tool-stop": "The stop reason is tool_use if, and only if, a tool is asked for (AWS API reference, "
    "stopReason).",
    "tool-input": "A tool's input is one whole JSON object (AWS API reference, ToolUseBlock).",
    "value": f"Roles, stop reasons, formats and states are among those listed ({_MODEL}).",
    "schema": f"Members have the types and limits of their shapes ({_MODEL}).",
    "unknown": f"Events and their members are among those listed ({_MODEL}).",
    "half-character": "Text is Unicode, and no delta holds half of a surrogate pair (RFC 8259, section 8.2).",
    "tokens": "totalTokens is the sum of its parts (AWS API reference, TokenUsage).",
}

#: So many problems of one rule are listed; the others are counted.
_MOST = 20

_DELTAS: dict[type, str] = {
    TextDelta: "text",
    CitationDelta: "text",  # the sources of a text come in its own block
    ReasoningDelta: "reasoning",
    ReasoningSignature: "reasoning",
    RedactedReasoning: "redacted reasoning",
    ToolInputDelta: "tool use",
    ToolResultDelta: "tool result",
    ImageDelta: "image",
}
_STARTS: dict[type, str] = {ToolUseStart: "tool use", ToolResultStart: "tool result", ImageStart: "image"}
_PLAIN = frozenset({TextDelta, ReasoningDelta, ToolInputDelta})
#: A kind that this version does not know: it goes with any other.
_ANY = "an unknown kind"
_WIRE_NAMES = frozenset(shape.wire for shape in SHAPES)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as the protocol demands.

    Attributes
    ----------
    rule : str
        The rule that it breaks, a key of `RULES`.
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


def check(recording: Recording) -> list[Problem]:
    """Look for everything in a recording that Bedrock's protocol does not allow.

    Parameters
    ----------
    recording : Recording
        Any: from a reply, from a file, one that failed, one that is still growing.

    Returns
    -------
    list of Problem
        In the order of the events, those of the whole reply last; empty for a sound reply, and for one whose
        events were not kept. Of one rule at most 20 are listed, and one that counts the rest.

    Raises
    ------
    RequestError
        Something else than a recording was given.
    """
    if not isinstance(recording, Recording):
        raise RequestError(
            f"A {type(recording).__name__} is no Recording.",
            remedy="A Reply has one in .recording; Recording.load reads one from a file.",
        )
    if not recording.keeps:  # a reply without its events is neither sound nor not
        return []
    found = _Found()
    count = len(recording)
    _check_times(recording.times[:count], found)
    walk = _Walk(found)
    kind_of, block_of, text_of = recording.kind, recording.block_of, recording.text_of
    last, at, block = None, None, None  # the delta before, if it was a sound one
    for seq in range(count):
        kind = kind_of(seq)
        if kind not in _PLAIN:
            last = None
            walk.take(seq, recording.event(seq))
            continue
        index, text = block_of(seq), text_of(seq)
        if not text.isascii() and _is_broken(text):
            found.event("half-character", seq, f"half of a surrogate pair came for block {index}.")
        if kind is not last or index != at:
            block = walk.reply.delta(seq, index, _DELTAS[kind])
            last, at = (None, None) if block is None else (kind, index)
        if kind is ToolInputDelta and block is not None:
            block.input.append(text)
    walk.end(recording.status == "complete")
    return found.problems()


def _quoted(text: object) -> str:
    """What the peer wrote, short and on one line; by hand it may be something else than text."""
    return f"{text[:70]!r:.70}" if isinstance(text, str) else f"a {type(text).__name__}"


class _Found:
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


# -- the order of events ---------------------------------------------------------------------------


class _Block:
    """What came at one index. ``input`` gathers a tool's input; ``excused``: its fault has been told."""

    __slots__ = ("excused", "input", "kind", "open", "tool")

    def __init__(self, kind: str, tool: str | None = None, *, excused: bool = False) -> None:
        self.kind, self.tool, self.excused = kind, tool, excused
        self.open = True
        self.input: list[str] = []


class _Reply:
    """How far one reply has come. A reply that begins anew begins with a new one of these."""

    def __init__(self, found: _Found) -> None:
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
        if not self._fits(seq, f"a start for block {index}"):
            return None
        known = self._blocks.get(index)
        if known is not None:
            state = "is still open" if known.open else "had stopped"
            self._found.event("block-again", seq, f"a start for block {index}, which {state}.")
        return self._begin(seq, index, _Block(kind, tool))

    def _begin(self, seq: int, index: int, block: _Block) -> _Block:
        if index not in self._blocks and not block.excused and block.kind != _ANY:
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
            unstarted = kind in _STARTS.values()
            if unstarted:
                self._found.event("no-block-start", seq, f"{what}, which never started.")
            return self._begin(seq, index, _Block(kind, excused=unstarted))
        if not block.open:
            self._found.event("delta-after-stop", seq, f"{what}, which had stopped.")
            return None
        if _ANY not in (kind, block.kind) and kind != block.kind:
            self._found.event("mixed-block", seq, f"{what}, which is one of {block.kind}.")
            return None
        return block

    def block_stop(self, seq: int, index: int) -> None:
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
                    f"the input of {block.tool} (block {index}) is not one whole JSON object: {_quoted(raw)}"
                )
                self._found.event("tool-input", seq, f"{text}.")
            block.input.clear()

    def tool_use(self, seq: int, event: ToolUseStart) -> None:
        if self.block_start(seq, event.index, "tool use", _quoted(event.name)) is not None:
            self._called += 1
            self._asked += event.type is None  # those with a type are run by the service

    def message_stop(self, seq: int, reason: str) -> None:
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


class _Walk:
    """All events but the plain deltas, one after another."""

    def __init__(self, found: _Found) -> None:
        self._found = found
        self._unknown: dict[str, list[int]] = {}  # type -> first event, how many
        self.reply = _Reply(found)

    def take(self, seq: int, event: Event) -> None:
        """Take one event: first what it holds, then its place."""
        index = getattr(event, "index", 0)
        if type(event) not in (BlockStop, Seam, StreamFault, Unknown):
            _check_schema(seq, event, self._found)
            if type(index) is not int:  # said just now; it has no place
                return
        reply = self.reply
        match event:
            case MessageStart():
                reply.message_start(seq)
            case ToolUseStart():
                reply.tool_use(seq, event)
            case ToolResultStart() | ImageStart():
                reply.block_start(seq, index, _STARTS[type(event)])
            case TextDelta() | ReasoningDelta() | ToolInputDelta() | ReasoningSignature():
                reply.delta(seq, index, _DELTAS[type(event)])
            case RedactedReasoning() | ToolResultDelta() | CitationDelta() | ImageDelta():
                reply.delta(seq, index, _DELTAS[type(event)])
            case BlockStop():
                reply.block_stop(seq, index)
            case MessageStop(reason):
                reply.message_stop(seq, reason)
            case Metadata(usage):
                _check_tokens(seq, usage, self._found)
                reply.metadata(seq)
            case StreamFault():
                reply.fault(seq)
            case Unknown(type=name, payload=payload):
                self._unknown_event(seq, name, payload)
            case Seam(mode):
                if mode == "restart":  # the answer begins anew; else it goes on, with no second messageStart
                    reply.end(complete=False)
                    self.reply = _Reply(self._found)
            case ToolUse() | MessageComplete():
                pass  # made by the fold; no recording holds one
            case _:
                assert_never(event)

    def _unknown_event(self, seq: int, name: str, payload: Any) -> None:
        """Count it. It has no place that it could miss, but it may begin a block or go on with one."""
        self._unknown.setdefault(name if isinstance(name, str) else "", [seq, 0])[1] += 1
        index = payload.get(INDEX) if isinstance(payload, dict) else None
        if type(index) is not int:
            return
        if name == "contentBlockStart":
            self.reply.block_start(seq, index, _ANY)
        elif name == "contentBlockDelta":
            self.reply.delta(seq, index, _ANY)

    def end(self, complete: bool) -> None:
        """Say what can be said only at the end."""
        self.reply.end(complete)
        for name, (first, count) in self._unknown.items():
            events, they = ("event", "it is") if count == 1 else ("events", "they are")
            known = name.removesuffix("+")
            what = f"{events} of a type that this version does not know: {_quoted(name)}"
            if known in _WIRE_NAMES:
                what = f"{events} of type {known} with members that this version does not know"
            self._found.add("unknown", first, f"{count} {what}; {they} kept.")


# -- what is in an event ---------------------------------------------------------------------------


def _check_times(times: array[float], found: _Found) -> None:
    if times and times[0] < 0:
        found.event("times", 0, f"it came {-times[0]:.6f} s before its request.")
    if any(map(gt, times, islice(times, 1, None))):  # mostly not, and this is the quick way to know
        for seq, (before, t) in enumerate(pairwise(times), 1):
            if t < before:
                found.event("times", seq, f"its time is {before - t:.6f} s before that of the event ahead.")


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _check_tokens(seq: int, usage: Any, found: _Found) -> None:
    """Whether cached tokens are in the total is not said by AWS, and models differ: either is right."""
    names = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "totalTokens")
    counts = [usage.get(name, 0) for name in names] if isinstance(usage, dict) else []
    if not counts or "totalTokens" not in usage or any(type(count) is not int for count in counts):
        return  # nothing to add up, or a wrong type, of which the schema speaks
    *parts, total = counts
    if total not in (sum(parts[:2]), sum(parts)):
        text = f"totalTokens is {total}, but its parts add up to {sum(parts)}."
        found.event("tokens", seq, text)


@cache
def _stream() -> Any:
    """The shape of the stream: a structure with a member for each event. Read once, about 20 ms."""
    loader = botocore.loaders.Loader()
    model = ServiceModel(loader.load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")
    return model.operation_model("ConverseStream").get_event_stream_output()


def _check_schema(seq: int, event: Event, found: _Found) -> None:
    try:
        parsed = to_botocore(event)
        report = ParamValidator().validate(parsed, _stream())
        if report.has_errors():
            said = "; ".join(report.generate_report().splitlines())
            found.event("schema", seq, f"it does not fit botocore's model: {said:.300}.")
        for path, value, listed in _unlisted("", parsed, _stream()):
            text = f"{path} is {_quoted(value)}; botocore's model lists {', '.join(listed)}."
            found.event("value", seq, text)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as err:
        # By hand anything can be put into an event, and JSON can be nested deeper than Python's stack.
        found.event("schema", seq, f"it cannot be written as JSON of the wire ({type(err).__name__}).")


def _unlisted(path: str, value: Any, shape: Any) -> Iterator[tuple[str, str, list[str]]]:
    """Every text that is not one of those which the model lists for its place: path, text, list."""
    match shape.type_name, value:
        case "string", str() if shape.enum and value not in shape.enum:
            yield path.lstrip("."), value, shape.enum
        case "structure", dict():
            for name in value.keys() & shape.members.keys():
                yield from _unlisted(f"{path}.{name}", value[name], shape.members[name])
        case "list", list():
            for i, item in enumerate(value):
                yield from _unlisted(f"{path}[{i}]", item, shape.member)
        case "map", dict():
            for name, item in value.items():
                yield from _unlisted(f"{path}.{name}", item, shape.value)
