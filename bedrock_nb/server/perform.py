"""How an answer is performed: the bytes of each write of a stream, or the body of a plain answer.

Strategy: a reply is an iterator of steps, one for the head and one for each event, each with the time at
which it is due. Whoever wants to change a reply on its way, as a fault does, changes that iterator. Only then
are steps joined: events that are due at one moment into writes of up to 32 KiB, which is what a server needs
to be fast; events due at different moments never, which is what it needs to be true. All of it is lazy, and
stays one write ahead; of an answer that is still being made, none.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import accumulate, chain, cycle
from random import Random
from typing import Any, NamedTuple, TypeAlias

from bedrock_nb.assembly import Fold
from bedrock_nb.errors import BedrockNbError, ServiceFault, service_fault
from bedrock_nb.events import Event, MessageStop, Seam, StreamFault
from bedrock_nb.eventstream import encode
from bedrock_nb.recording import Recording
from bedrock_nb.server.refusal import Refusal, internal
from bedrock_nb.wire import to_frame

__all__ = [
    "Change",
    "Encode",
    "Ending",
    "Row",
    "Step",
    "Write",
    "converse_frames",
    "dumps",
    "exact_steps",
    "output",
    "padding",
    "rows",
    "steps",
    "writes",
]

#: Events due at one moment are joined into writes of about this many bytes.
JOINED = 32 * 2**10
_ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#: Bedrock pads each frame with a prefix of an alphabet, so that lengths tell nothing; so do we.
_PADDING = [_ALPHABET[: Random(f"padding/{i}").randint(1, len(_ALPHABET))] for i in range(251)]
#: HTTP status of a fault that comes before anything was sent (the service model's, by the name in a stream).
_FAULT_STATUS = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "validationException": 400,
    "throttlingException": 429,
    "serviceUnavailableException": 503,
}


#: What breaks a connection off, given its transport; nothing follows it.
Ending: TypeAlias = Callable[[asyncio.Transport], Awaitable[None]]


class Step(NamedTuple):
    """What happens next to a response. The first step is its head, with no bytes of the body.

    Attributes
    ----------
    due : float
        Seconds after the request arrived.
    data : bytes, Refusal or Ending
        Bytes of the body; or, as the first step, an answer that is an error; or the end of the connection.
        When there are no more steps, the body is ended as HTTP demands.
    whole : bool
        Whether an event ends here; false for the head, and for a piece that more is to come of.
    """

    due: float
    data: bytes | Refusal | Ending
    whole: bool = True


#: What a fault is, to those who perform: steps in, steps out.
Change: TypeAlias = Callable[[Iterator[Step]], Iterator[Step]]


class Write(NamedTuple):
    """What is written next.

    Attributes
    ----------
    due : float
        Seconds after the answer began.
    data : bytes, Refusal or Ending
        As in a `Step`. No bytes at all for a head by itself.
    events : int
        Events that end in it.
    """

    due: float
    data: bytes | Refusal | Ending
    events: int


#: An event with its time, seconds after the answer began.
Row: TypeAlias = tuple[float, Event]
#: From an event to the frames that carry it in some operation's stream.
Encode: TypeAlias = Callable[[Event], Iterable[bytes]]


def rows(recording: Recording) -> Iterator[Row]:
    """What of a recording goes on a wire; of one that was resumed, the answer in one piece."""
    begin = 0
    for i in recording.seams:
        seam = recording.event(i)
        if isinstance(seam, Seam) and seam.mode == "restart":
            begin = i + 1
    for i in range(begin, len(recording)):
        if recording.kind(i) is not Seam:
            yield recording.times[i], recording.event(i)


def padding() -> Iterator[str]:
    """Texts of varying length, without end: frames carry one each."""
    return cycle(_PADDING)


def converse_frames() -> Encode:
    """The frames of ConverseStream, padded as the service pads them."""
    pad = padding()
    return lambda event: (encode(to_frame(event, next(pad))),)


def exact_steps(recording: Recording) -> Iterator[Step] | None:
    """The steps of a recording with the very frames that it was made from; None if they are not known."""
    body, sizes = recording.body, recording.sizes
    if body is None or not sizes or not all(sizes) or sum(sizes) != len(body):
        return None
    ends = list(accumulate(sizes))
    frames = (bytes(body[end - size : end]) for end, size in zip(ends, sizes, strict=True))
    head = Step(0.0, b"", whole=False)
    return chain([head], (Step(t, frame) for t, frame in zip(recording.times, frames, strict=True)))


def steps(events: Iterable[Row], frames: Encode | None = None) -> Iterator[Step]:
    """The head, and a step for each frame.

    Parameters
    ----------
    events : iterable of tuple of float and Event
        What `rows` gives of a recording. If getting the next one fails, the stream ends in an exception.
    frames : function, optional
        From an event to its frames; by default those of ConverseStream.

    Yields
    ------
    Step
    """
    yield Step(0.0, b"", whole=False)
    frames = frames or converse_frames()
    now = 0.0
    try:
        for now, event in events:
            for frame in frames(event):
                yield Step(now, frame)
    except Exception as err:  # whatever a responder put in: the stream has begun, so it is said in the stream
        what = f"An event cannot be sent. {type(err).__name__}: {err}"
        fault = service_fault("internalServerException", what)
        yield Step(now, encode(to_frame(StreamFault(fault))))


def writes(steps: Iterable[Step], *, joined: bool = True) -> Iterator[Write]:
    """Each write of a stream, with the time at which it is due.

    Parameters
    ----------
    steps : iterable of Step
    joined : bool
        Join what is due at one moment, which takes a look at the step that follows.

    Yields
    ------
    Write
        The first that has no bytes is the last.
    """
    parts: list[bytes] = []
    size, due, events = 0, 0.0, 0
    for t, data, whole in steps:
        if parts and (t != due or size >= JOINED or not isinstance(data, bytes)):
            yield Write(due, b"".join(parts), events)
            parts, size, events = [], 0, 0
        if not isinstance(data, bytes):
            yield Write(t, data, 0)
            return
        if not joined:
            yield Write(t, data, int(whole))
            continue
        parts.append(data)
        size += len(data)
        due = t
        events += whole
    if parts:
        yield Write(due, b"".join(parts), events)


def output(recording: Recording) -> dict[str, Any]:
    """The body of Converse's response.

    Raises
    ------
    Refusal
        The recording ends in a fault, or before the message does.
    """
    state = Fold()
    fields = None
    for event in recording:
        if isinstance(event, StreamFault):
            raise _as_refusal(event.error)
        if isinstance(event, MessageStop):
            fields = event.fields
        state.feed(event)
    if state.stop_reason is None:
        raise internal("The responder's answer has no messageStop.")
    closing = state.metadata
    end = max(recording.times, default=0.0)
    output: dict[str, Any] = {
        "output": {"message": state.snapshot.to_dict()},
        "stopReason": state.stop_reason,
        "usage": state.usage or {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
        "metrics": {
            "latencyMs": closing.latency_ms
            if closing and closing.latency_ms is not None
            else round(end * 1000)
        },
        "additionalModelResponseFields": fields,
    }
    if closing is not None:
        output |= {
            "trace": closing.trace,
            "performanceConfig": closing.performance_config,
            "serviceTier": closing.service_tier,
        }
    return {name: value for name, value in output.items() if value is not None}


def _as_refusal(error: BedrockNbError) -> Refusal:
    if isinstance(error, ServiceFault):
        status = _FAULT_STATUS.get(error.code, 500)
        code = "ModelErrorException" if status == 424 else error.code[:1].upper() + error.code[1:]
        return Refusal(status, code, error.message)
    return internal(error.what)


def dumps(value: Any) -> bytes:
    """JSON as bytes; bytes in it as base64."""
    return json.dumps(value, separators=(",", ":"), default=_base64).encode("ascii")


def _base64(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode("ascii")
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
