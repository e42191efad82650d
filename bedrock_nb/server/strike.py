"""Where a fault strikes, and what it does to the steps there: the parts that faults are made of.

Strategy: `strike` leaves the steps of a reply alone up to a place, in whole events or in bytes of the body,
and hands the rest of them to a function. All else is such functions: put frames in the place of one, make all
steps later, cut them to pieces. They are lazy, and take damaged frames as they find them: another fault may
have been there before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, TypeAlias

from bedrock_nb.errors import FrameError, RequestError
from bedrock_nb.events import Unknown
from bedrock_nb.eventstream import Frame, FrameDecoder, encode
from bedrock_nb.server.perform import Change, Step
from bedrock_nb.wire import to_frame

__all__ = ["alter", "encoded", "grouped", "later", "payload_of", "pieces", "rewrite", "strike"]

#: What becomes of the rest of a reply, from the time when the fault strikes on.
Then: TypeAlias = Callable[[float, Iterator[Step]], Iterable[Step]]


def strike(after: int | None, byte: int | None, then: Then) -> Change:
    """Leave the steps alone up to a place, and hand the rest to ``then``; never, if there is no such place.

    Raises
    ------
    RequestError
        Two places are given.
    """
    if after is not None and byte is not None:
        raise RequestError(f"after is {after} and byte is {byte}: a fault strikes at one place. Give one.")

    def change(steps: Iterator[Step]) -> Iterator[Step]:
        if byte is None:
            due = yield from _until(steps, after or 0, _events)
        else:
            steps = _parted(steps, byte)
            due = yield from _until(steps, byte, _bytes)
        if due is not None:
            yield from then(due, steps)

    return change


def _events(step: Step) -> int:
    return 1 if step.whole and isinstance(step.data, bytes) else 0


def _bytes(step: Step) -> int:
    return len(step.data) if isinstance(step.data, bytes) else 0


def _until(
    steps: Iterator[Step], count: int, measure: Callable[[Step], int]
) -> Generator[Step, None, float | None]:
    """Hand on the head and what follows until the count is full; when that was, or None if it never was."""
    for step in steps:
        yield step
        count -= measure(step)
        if count <= 0:
            return step.due
    return None


def _parted(steps: Iterator[Step], byte: int) -> Iterator[Step]:
    """The same steps, with one of them in two if need be, so that a step begins at this byte."""
    for step in steps:
        due, data, whole = step
        if isinstance(data, bytes) and 0 < byte < len(data):
            yield Step(due, data[:byte], whole=False)
            yield Step(due, data[byte:], whole)
        else:
            yield step
        byte -= _bytes(step)


def later(steps: Iterable[Step], seconds: float) -> Iterator[Step]:
    """The same steps, all of them later."""
    for due, data, whole in steps:
        yield Step(due + seconds, data, whole)


def pieces(steps: Iterable[Step], size: int) -> Iterator[Step]:
    """The same bytes at the same times, in steps of at most this size."""
    for step in steps:
        due, data, whole = step
        if not isinstance(data, bytes):
            yield step
            continue
        for at in range(0, len(data), size):
            yield Step(due, data[at : at + size], whole and at + size >= len(data))


def grouped(steps: Iterable[Step]) -> Iterator[list[Step]]:
    """The steps of one event after the other; what comes last may be less than one."""
    event: list[Step] = []
    for step in steps:
        event.append(step)
        if step.whole:
            yield event
            event = []
    if event:
        yield event


def _data(event: list[Step]) -> bytes | None:
    """The bytes of an event; None if it does not come whole."""
    if not event or not _events(event[-1]):
        return None
    return b"".join(step.data for step in event if isinstance(step.data, bytes))


def alter(after: int, change: Callable[[bytes], list[bytes]]) -> Change:
    """Put frames in the place of one event; nothing happens if it does not come whole."""

    def then(_due: float, rest: Iterator[Step]) -> Iterator[Step]:
        event = next(grouped(rest), [])
        data = _data(event)
        if data is None:
            yield from event
        else:
            yield from (Step(event[-1].due, changed) for changed in change(data))
        yield from rest

    return strike(after, None, then)


def rewrite(after: int, change: Callable[[Frame], Frame]) -> Change:
    """Put another frame, with checksums that are right, in the place of one event."""

    def resealed(data: bytes) -> list[bytes]:
        frame = _decoded(data)
        return [data if frame is None else encode(change(frame))]

    return alter(after, resealed)


def encoded(name: str, payload: dict[str, Any]) -> bytes:
    """The frame of an event of any name, with any payload."""
    return encode(to_frame(Unknown(name, payload)))


def payload_of(event: list[Step], wire: str) -> dict[str, Any] | None:
    """The payload of the steps of an event, if it is whole and of this name; else None."""
    data = _data(event)
    frame = _decoded(data) if data is not None else None
    if frame is None or frame.headers.get(":event-type") != wire:
        return None
    try:
        payload = json.loads(frame.payload)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


def _decoded(data: bytes) -> Frame | None:
    """The frame in these bytes; None if another fault has damaged it."""
    try:
        frames = FrameDecoder().receive_data(data)
    except FrameError:
        return None
    return frames[0] if len(frames) == 1 else None
