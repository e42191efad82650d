"""How a recording is performed: the bytes of each write of a stream, or the body of a plain answer.

Strategy: a reply is an iterator of steps, one for the head and one for each event, each with the time at
which it is due. Whoever wants to change a reply on its way, as a fault does, changes that iterator. Only then
are steps joined: events that are due at one moment into writes of up to 32 KiB, which is what a server needs
to be fast; events due at different moments never, which is what it needs to be true. All of it is lazy, and
stays one write ahead.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle
from random import Random
from typing import Any, NamedTuple, TypeAlias

from bedrock_nb.assembly import Fold
from bedrock_nb.errors import BedrockNbError, ServiceFault, service_fault
from bedrock_nb.events import Event, MessageStop, Seam, StreamFault
from bedrock_nb.eventstream import encode
from bedrock_nb.recording import Recording
from bedrock_nb.server.refusal import Refusal, internal
from bedrock_nb.wire import to_frame

__all__ = ["Change", "Ending", "Step", "chunks", "dumps", "output", "steps"]

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


def steps(recording: Recording) -> Iterator[Step]:
    """The head, and a step for each event of a recording.

    Parameters
    ----------
    recording : Recording

    Yields
    ------
    Step
    """
    yield Step(0.0, b"", whole=False)
    padding = cycle(_PADDING)
    for t, event in _performed(recording):
        frame, sound = _frame(event, next(padding))
        yield Step(t, frame)
        if not sound:
            break


def _performed(recording: Recording) -> Iterator[tuple[float, Event]]:
    """What of a recording goes on a wire; of one that was resumed, the answer in one piece."""
    begin = 0
    for i in recording.seams:
        seam = recording.event(i)
        if isinstance(seam, Seam) and seam.mode == "restart":
            begin = i + 1
    for i in range(begin, len(recording)):
        if recording.kind(i) is not Seam:
            yield recording.times[i], recording.event(i)


def chunks(
    recording: Recording, change: Change | None = None
) -> Iterator[tuple[float, bytes | Refusal | Ending]]:
    """Each write of a stream, with the time at which it is due.

    Parameters
    ----------
    recording : Recording
    change : function, optional
        From the steps of the recording to those that are performed.

    Yields
    ------
    tuple of float and bytes
        Seconds after the request arrived, and what is written then; nothing at all for a head by itself.
        In place of bytes, what a `Step` may have instead: it is the last.
    """
    parts: list[bytes] = []
    size, due = 0, 0.0
    for t, data, _ in steps(recording) if change is None else change(steps(recording)):
        if parts and (t != due or size >= JOINED or not isinstance(data, bytes)):
            yield due, b"".join(parts)
            parts, size = [], 0
        if not isinstance(data, bytes):
            yield t, data
            return
        parts.append(data)
        size += len(data)
        due = t
    if parts:
        yield due, b"".join(parts)


def _frame(event: Event, padding: str) -> tuple[bytes, bool]:
    """The bytes of an event, and whether they are its own: else those of an exception that says why not."""
    try:
        return encode(to_frame(event, padding)), True
    except Exception as err:  # whatever a responder put in: the stream has begun, so it is said in the stream
        fault = service_fault(
            "internalServerException", f"An event cannot be sent. {type(err).__name__}: {err}"
        )
        return encode(to_frame(StreamFault(fault))), False


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
