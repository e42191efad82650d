"""Recordings for tests: made by hand with known times, and any at all, drawn by Hypothesis."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from bedrock_nb import errors
from bedrock_nb.errors import (
    FAULTS,
    FrameError,
    RefusedError,
    ServiceError,
    ServiceFault,
    StreamError,
    service_fault,
)
from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    Event,
    ImageDelta,
    ImageStart,
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
    ToolUseStart,
    Unknown,
)
from bedrock_nb.eventstream import encode
from bedrock_nb.recording import Recording
from bedrock_nb.wire import to_frame

USAGE = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}


def recorded(*rows: tuple[Event, float] | tuple[Event, float, int, int], **options: Any) -> Recording:
    """A complete recording of these events, each with its time and, if told, its read and size."""
    recording = Recording(options.pop("request", None), labels=options.pop("labels", None), **options)
    for row in rows:
        recording.append(*row)
    recording.status = "complete"
    return recording


def reply(*, labels: Any = None) -> Recording:
    """A small sound reply: "Hello world!" in three deltas at 0.50, 0.75 and 1.50 s; 4 output tokens."""
    recording = recorded(
        (MessageStart("assistant"), 0.25, 1, 100),
        (TextDelta(0, "Hello"), 0.50, 2, 140),
        (TextDelta(0, " wor"), 0.75, 3, 130),
        (TextDelta(0, "ld!"), 1.50, 4, 120),
        (BlockStop(0), 1.50, 4, 90),
        (MessageStop("end_turn"), 1.75, 5, 110),
        (Metadata(USAGE, 1600), 2.00, 5, 200),
        request={"modelId": "amazon.nova-lite-v1:0", "messages": []},
        labels=labels,
        started=1_767_225_600.125,
    )
    for name, t in (("sent", 0.0625), ("headers", 0.125), ("closed", 2.00)):
        recording.mark(name, t)
    recording.envelope = {"request_id": "abc-1", "http_status": 200, "retries": 1}
    return recording


def with_body(events: Sequence[Event], padding: str = "abc") -> Recording:
    """A recording of these events that has kept the bytes of their frames, as one from the wire has."""
    recording = Recording()
    for i, event in enumerate(events):
        frame = encode(to_frame(event, padding))
        recording.keep(frame)
        recording.append(event, i / 8, i, len(frame))
    recording.status = "complete"
    return recording


# -- any at all ------------------------------------------------------------------------------------

#: Text as models send it: any Unicode, halves of surrogate pairs included, line ends of every kind.
TEXT = st.text(max_size=8) | st.sampled_from(["\ud83d", "\ude00 x", "a\r\nb\r", "\u2028\x85", "\0", "{"])
_NAMES = st.text(max_size=6)
_SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
#: JSON without null: in the payload of a known event, null and a missing member are one.
JSON = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3)
)
OBJECTS = st.dictionaries(_NAMES, JSON, max_size=3)
INDEX = st.integers(0, 2**31 - 1)
BLOBS = st.binary(max_size=12)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The strategy, or None."""
    return st.none() | strategy


def _other_error(kind: type[StreamError]) -> st.SearchStrategy[StreamError]:
    if kind is FrameError:
        return st.builds(
            FrameError, TEXT, TEXT, offset=st.integers(0, 2**32)
        )  # more digits would look like an account
    if issubclass(kind, RefusedError):
        return st.builds(kind, TEXT, TEXT, st.integers(400, 599))
    return st.builds(kind, TEXT, kept=TEXT, remedy=TEXT)


#: Every class of a reply that did not end well, but for the service's own, which come by their wire names.
STREAM_ERRORS = [
    kind
    for kind in vars(errors).values()
    if inspect.isclass(kind) and issubclass(kind, StreamError) and kind not in (ServiceError, ServiceFault)
    if not issubclass(kind, ServiceFault)
]
FAULT_NAMES = [*FAULTS, "teapotException"]
STREAM_FAULTS = st.builds(
    StreamFault,
    st.builds(service_fault, st.sampled_from(FAULT_NAMES), TEXT)
    | st.sampled_from(STREAM_ERRORS).flatmap(_other_error),
)

_SOURCES = st.fixed_dictionaries({"bytes": BLOBS}) | st.just({"s3Location": {"uri": "s3://b/k"}})
_ITEMS = st.lists(
    st.fixed_dictionaries({"text": TEXT}) | st.fixed_dictionaries({"json": OBJECTS}), max_size=3
)

#: One strategy for every event that travels.
BY_KIND: dict[type, st.SearchStrategy[Any]] = {
    MessageStart: st.builds(MessageStart, TEXT),
    TextDelta: st.builds(TextDelta, INDEX, TEXT),
    ReasoningDelta: st.builds(ReasoningDelta, INDEX, TEXT),
    ReasoningSignature: st.builds(ReasoningSignature, INDEX, TEXT),
    RedactedReasoning: st.builds(RedactedReasoning, INDEX, BLOBS),
    ToolUseStart: st.builds(ToolUseStart, INDEX, TEXT, TEXT, maybe(TEXT)),
    ToolInputDelta: st.builds(ToolInputDelta, INDEX, TEXT),
    ToolResultStart: st.builds(ToolResultStart, INDEX, TEXT, maybe(TEXT), maybe(TEXT)),
    ToolResultDelta: st.builds(ToolResultDelta, INDEX, _ITEMS.map(tuple)),
    CitationDelta: st.builds(CitationDelta, INDEX, OBJECTS),
    ImageStart: st.builds(ImageStart, INDEX, TEXT),
    ImageDelta: st.builds(ImageDelta, INDEX, _SOURCES, maybe(OBJECTS)),
    BlockStop: st.builds(BlockStop, INDEX),
    MessageStop: st.builds(MessageStop, TEXT, maybe(OBJECTS)),
    Metadata: st.builds(Metadata, OBJECTS, maybe(st.integers(0)), *[maybe(OBJECTS)] * 3),
    Seam: st.builds(Seam, st.sampled_from(["continue", "restart"]), TEXT),
    StreamFault: STREAM_FAULTS,
    Unknown: st.builds(Unknown, st.sampled_from(["holoStart", "x"]), JSON)
    | st.just(Unknown("contentBlockDelta", {"contentBlockIndex": 3, "delta": {"holo": {"x": [1]}}})),
}
EVENTS = st.one_of(*BY_KIND.values())

COUNTS = st.integers(0, 2**32 - 1)
TIMES = st.floats(0, 1e6)
ROWS = st.lists(st.tuples(EVENTS, TIMES, COUNTS, COUNTS), max_size=12)
# Requests and labels may hold bytes besides.
_VALUES = st.recursive(
    _SCALARS | BLOBS | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
)
_OPEN_OBJECTS = st.dictionaries(_NAMES, _VALUES, max_size=3)


@st.composite
def any_recording(draw: st.DrawFn) -> Recording:
    """Any recording whatever; its times are in whole microseconds, as a file keeps them."""
    recording = Recording(
        draw(_OPEN_OBJECTS),
        labels=draw(_OPEN_OBJECTS),
        clock=draw(st.sampled_from(["wire", "parsed", "schedule"])),
        started=draw(maybe(st.integers(0, 4 * 10**12).map(lambda ms: ms / 1000))),
    )
    for event, t, read, nbytes in draw(ROWS):
        recording.append(event, round(t, 6), read, nbytes)
    names = st.sampled_from(["sent", "headers", "closed", "again"])
    for name, t in draw(st.dictionaries(names, TIMES, max_size=4)).items():
        recording.mark(name, round(t, 6))
    recording.envelope = draw(OBJECTS)
    if recording.reads:
        seconds = TIMES.map(lambda t: round(t, 6))
        recording.late = draw(st.dictionaries(st.sampled_from(recording.reads), seconds, max_size=3))
        recording.spent = draw(st.dictionaries(st.sampled_from(["client_s", "display_s"]), seconds))
    recording.status = draw(st.sampled_from(["complete", "cancelled", "incomplete", "error", "interrupted"]))
    return recording
