"""Does a recording keep to Bedrock's protocol? What in it is out of order, or is not what it must be?

Strategy: one pass over the recording's columns. The order of events is `order.py`'s to judge, one call for an
event; a delta like the one before it needs no more than two comparisons. What lies inside the rarer events is
botocore's to judge: its own validator, on the service model of the installed version, so a member that AWS
adds is known here the day it is known to the client. Types of plain deltas are enforced when they are parsed
and not looked at again.

A reply that was cut lacks its end, and its status says so: that alone is no problem here. Nothing is changed,
and nothing raises, whatever the recording holds.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
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
from bedrock_nb.order import ANY, DELTAS, STARTS, Found, Problem, Progress, quoted
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

_PLAIN = frozenset({TextDelta, ReasoningDelta, ToolInputDelta})
_WIRE_NAMES = frozenset(shape.wire for shape in SHAPES)


def check(recording: Any) -> list[Problem]:
    """Look for everything in a recording that Bedrock's protocol does not allow.

    Parameters
    ----------
    recording : Recording or Reply
        Any: from a reply, from a file, one that failed, one that is still growing.

    Returns
    -------
    list of Problem
        In the order of the events, those of the whole reply last; empty for a reply that is sound as far as
        it came (its status says whether that is all), and for one whose events were not kept. Of one rule at
        most 20 are listed, and one that counts the rest.

    Raises
    ------
    RequestError
        Something else than a recording was given.
    """
    recording = getattr(recording, "recording", recording)
    if not isinstance(recording, Recording):
        raise RequestError(
            f"A {type(recording).__name__} is no Recording.",
            remedy="A Reply has one in .recording; Recording.load reads one from a file.",
        )
    if not recording.keeps:  # a reply without its events is neither sound nor not
        return []
    found = Found()
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
            block = walk.reply.delta(seq, index, DELTAS[kind])
            last, at = (None, None) if block is None else (kind, index)
        if kind is ToolInputDelta and block is not None:
            block.input.append(text)
    walk.end(recording.status == "complete")
    return found.problems()


class _Walk:
    """All events but the plain deltas, one after another."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._unknown: dict[str, list[int]] = {}  # type -> first event, how many
        self.reply = Progress(found)

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
                reply.block_start(seq, index, STARTS[type(event)])
            case TextDelta() | ReasoningDelta() | ToolInputDelta() | ReasoningSignature():
                reply.delta(seq, index, DELTAS[type(event)])
            case RedactedReasoning() | ToolResultDelta() | CitationDelta() | ImageDelta():
                reply.delta(seq, index, DELTAS[type(event)])
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
                    self.reply = Progress(self._found)
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
            self.reply.block_start(seq, index, ANY)
        elif name == "contentBlockDelta":
            self.reply.delta(seq, index, ANY)

    def end(self, complete: bool) -> None:
        """Say what can be said only at the end."""
        self.reply.end(complete)
        for name, (first, count) in self._unknown.items():
            events, they = ("event", "it is") if count == 1 else ("events", "they are")
            known = name.removesuffix("+")
            what = f"{events} of a type that this version does not know: {quoted(name)}"
            if known in _WIRE_NAMES:
                what = f"{events} of type {known} with members that this version does not know"
            self._found.add("unknown", first, f"{count} {what}; {they} kept.")


# -- what is in an event ---------------------------------------------------------------------------


def _check_times(times: array[float], found: Found) -> None:
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


def _check_tokens(seq: int, usage: Any, found: Found) -> None:
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


def _check_schema(seq: int, event: Event, found: Found) -> None:
    try:
        parsed = to_botocore(event)
        report = ParamValidator().validate(parsed, _stream())
        if report.has_errors():
            said = "; ".join(report.generate_report().splitlines())
            found.event("schema", seq, f"it does not fit botocore's model: {said:.300}.")
        for path, value, listed in _unlisted("", parsed, _stream()):
            text = f"{path} is {quoted(value)}; botocore's model lists {', '.join(listed)}."
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
