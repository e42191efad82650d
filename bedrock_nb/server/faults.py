"""Faults on demand: what can go wrong with a reply on its way, each by a name.

>>> spoilt = reset(after=5) | slow_head(seconds=1)
>>> spoilt
reset(after=5) | slow_head(seconds=1)

Give one to `BedrockServer` (``faults=``, or ``with server.fault(…)`` for a while) or, as text, to
``bedrock-nb serve --fault reset:after=5``. Faults that are joined by ``|`` are applied from left to right,
each to what the one before it left.

Strategy: a reply is an iterator of steps (`perform.Step`), and a fault is a function from such an iterator to
another. Nearly all leave the steps alone up to a place and then do something to the rest (`strike`). To add a
fault, write here a function that makes such a change, under ``@fault``; the table `FAULTS` has it then.

A place is a number of whole events that come before it (``after``, counted as they are streamed) or of bytes
of the body (``byte``). A place beyond the end of a reply is never reached, and the reply is sound. The plain
Converse call has no events: only what happens before a head (`refuse`, `slow_head`, `no_head`, `hang_up`)
happens to it.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import socket
import struct
from collections.abc import Iterator
from itertools import chain
from typing import Any
from zlib import crc32

from bedrock_nb.errors import RequestError, service_fault
from bedrock_nb.events import StreamFault
from bedrock_nb.eventstream import Frame, encode
from bedrock_nb.server.fault import FAULTS, Fault, fault, parse
from bedrock_nb.server.perform import Change, Step
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.strike import alter, encoded, grouped, later, payload_of, pieces, rewrite, strike
from bedrock_nb.wire import to_frame

__all__ = [
    "FAULTS",
    "Fault",
    "bad_crc",
    "bad_json",
    "bad_tool_input",
    "bad_utf8",
    "cut",
    "drip",
    "duplicate",
    "end",
    "error",
    "exception",
    "flip",
    "hang_up",
    "huge_prelude",
    "missing",
    "no_head",
    "parse",
    "refuse",
    "reset",
    "slow_head",
    "split",
    "stall",
    "unknown_delta",
    "unknown_event",
    "unknown_header",
]


# -- the service says no ---------------------------------------------------------------------------

_UNEXPECTED = "The system encountered an unexpected error during processing. Try your request again."
#: The service's errors in place of a stream: name -> HTTP status and words. The first of a status is usual.
_REFUSALS = {
    "ValidationException": (400, "The provided model identifier is invalid."),
    "ServiceQuotaExceededException": (400, "Your request exceeds the service quota for your account."),
    "AccessDeniedException": (403, "You don't have access to the model with the specified model ID."),
    "ResourceNotFoundException": (
        404,
        "This model version has reached the end of its life. See the AWS documentation for more details.",
    ),
    "ModelTimeoutException": (408, "Model has timed out in processing the request. Try your request again."),
    "ModelErrorException": (424, _UNEXPECTED),
    "ThrottlingException": (429, "Too many requests, please wait before trying again."),
    "ModelNotReadyException": (429, "Model is not ready for inference. Wait and try your request again."),
    "InternalServerException": (500, "An internal server error occurred. Retry your request."),
    "ServiceUnavailableException": (503, "Bedrock is unable to process your request."),
}
#: The service's exceptions in a stream: name -> payload.
_EXCEPTIONS: dict[str, dict[str, Any]] = {
    "throttlingException": {"message": "Too many tokens, please wait before trying again."},
    "modelStreamErrorException": {
        "message": _UNEXPECTED,
        "originalStatusCode": 500,
        "originalMessage": "The model's host closed the stream.",
    },
    "internalServerException": {"message": _UNEXPECTED},
    "validationException": {
        "message": "The model returned the following errors: Output blocked by content filtering policy"
    },
    "serviceUnavailableException": {"message": "Bedrock is unable to process your request."},
}


@fault
def refuse(status: int, code: str | None = None, message: str | None = None) -> Change:
    """Answer with an HTTP error in place of a reply.

    Parameters
    ----------
    status : int
        400, 403, 404, 408, 424, 429, 500 or 503; with a ``code``, any error.
    code : str, optional
        The service's name for it. By default the usual one: 429 is ``ThrottlingException``.
    message : str, optional
        By default words such as the service's.
    """
    usual = next((name for name, (known, _) in _REFUSALS.items() if known == status), None)
    name = code if code is not None else usual
    if name is None or not re.fullmatch(r"\w+", name, re.ASCII):
        known = ", ".join(dict.fromkeys(str(known) for known, _ in _REFUSALS.values()))
        raise RequestError(
            f"Status {status} with the code {code!r} is not an error of the service.",
            remedy=f"Give one of {known}; with another, a code such as 'ThrottlingException'.",
        )
    words = message if message is not None else _REFUSALS.get(name, (status, "The request failed."))[1]

    def change(steps: Iterator[Step]) -> Iterator[Step]:
        yield Step(next(steps).due, Refusal(status, name, words), whole=False)

    return change


@fault
def exception(name: str, after: int = 0, message: str | None = None, **fields: Any) -> Change:
    """End the reply with an exception frame.

    Parameters
    ----------
    name : str
        ``throttlingException``, ``modelStreamErrorException``, ``internalServerException``,
        ``validationException``, ``serviceUnavailableException``; any other is sent as it is.
    after : int
        Whole events before it.
    message : str, optional
        By default words such as the service's.
    **fields
        More members of the payload: ``originalStatusCode`` and ``originalMessage`` of a
        ``modelStreamErrorException``.
    """
    members = {**_EXCEPTIONS.get(name, {"message": _UNEXPECTED}), **fields}
    words = message if message is not None else members["message"]
    frame = encode(to_frame(StreamFault(service_fault(name, words, members))))
    return strike(after, None, lambda due, _rest: [Step(due, frame)])


@fault
def error(code: str, after: int = 0, message: str = _UNEXPECTED) -> Change:
    """End the reply with a frame of ``:message-type`` ``error``, which no service model describes.

    Parameters
    ----------
    code : str
        Its ``:error-code``.
    after : int
        Whole events before it.
    message : str
        Its ``:error-message``.
    """
    headers = {":message-type": "error", ":error-code": code, ":error-message": message}
    frame = encode(Frame(headers))
    return strike(after, None, lambda due, _rest: [Step(due, frame)])


# -- the connection --------------------------------------------------------------------------------

_SIOCOUTQNSD = 0x894B  # Linux: how much of a socket's send queue was not sent yet


async def _finish(transport: asyncio.Transport) -> None:
    """Close the connection, once all was sent (FIN)."""
    transport.close()


async def _abort(transport: asyncio.Transport) -> None:
    """Reset the connection, once all was sent (RST)."""
    sock = transport.get_extra_info("socket")
    while transport.get_write_buffer_size() or _unsent(sock):
        await asyncio.sleep(0.001)
    if not transport.is_closing():
        # On, and for no time: a close then drops the connection. Two ints, on Windows two shorts.
        linger = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        transport.abort()


def _unsent(sock: Any) -> int:
    """Bytes that the system has not sent yet; 0 where it does not say."""
    try:
        import fcntl  # not on Windows

        (size,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), _SIOCOUTQNSD, bytes(4)))
    except (ImportError, OSError, ValueError):
        return 0
    return int(size)


@fault
def reset(after: int | None = None, byte: int | None = None) -> Change:
    """Reset the connection (RST).

    Parameters
    ----------
    after : int, optional
        Whole events before it; 0 if neither is given.
    byte : int, optional
        Bytes of the body before it.
    """
    return strike(after, byte, lambda due, _rest: [Step(due, _abort)])


@fault
def cut(after: int | None = None, byte: int | None = None) -> Change:
    """Close the connection (FIN) without an end of the body.

    Parameters
    ----------
    after : int, optional
        Whole events before it; 0 if neither is given.
    byte : int, optional
        Bytes of the body before it.
    """
    return strike(after, byte, lambda due, _rest: [Step(due, _finish)])


@fault
def end(after: int | None = None, byte: int | None = None) -> Change:
    """End the body early, and in good order for HTTP.

    Parameters
    ----------
    after : int, optional
        Whole events before it; 0 if neither is given.
    byte : int, optional
        Bytes of the body before it.
    """
    return strike(after, byte, lambda _due, _rest: ())


@fault
def hang_up() -> Change:
    """Close the connection without an answer."""
    return lambda steps: iter([Step(next(steps).due, _finish)])


# -- time ------------------------------------------------------------------------------------------


@fault
def stall(after: int | None = None, byte: int | None = None, seconds: float = math.inf) -> Change:
    """Say nothing for a while, and then go on.

    Parameters
    ----------
    after : int, optional
        Whole events before the silence; 0 if neither is given.
    byte : int, optional
        Bytes of the body before it.
    seconds : float
        By default, silence for good. The silence comes on top of the reply's own pauses.
    """

    def then(due: float, rest: Iterator[Step]) -> Iterator[Step]:
        yield Step(due + seconds, b"", whole=False)  # also where there is no rest
        yield from later(rest, seconds)

    return strike(after, byte, then)


@fault
def drip(interval: float = 0.2, size: int = 1, after: int = 0) -> Change:
    """Send a few bytes at a time.

    Parameters
    ----------
    interval : float
        Seconds from one piece to the next, at least.
    size : int
        Bytes of a piece.
    after : int
        Whole events that come as ever.
    """

    def then(due: float, rest: Iterator[Step]) -> Iterator[Step]:
        for piece in pieces(rest, size):
            due = max(piece.due, due + interval)
            yield Step(due, piece.data, piece.whole)

    return strike(after, None, then)


@fault
def split(size: int) -> Change:
    """Send every frame in pieces, each a chunk of HTTP; that is lawful, and nothing is lost by it.

    Parameters
    ----------
    size : int
        Bytes of a piece.
    """

    def change(steps: Iterator[Step]) -> Iterator[Step]:
        yield next(steps)
        due = 0.0
        for piece in pieces(steps, size):
            # The smallest time there is after the one before: what is due at one moment leaves in one chunk.
            due = max(piece.due, math.nextafter(due, math.inf))
            yield Step(due, piece.data, piece.whole)

    return change


@fault
def slow_head(seconds: float) -> Change:
    """Let the answer begin later, and so all of it.

    Parameters
    ----------
    seconds : float
        On top of the time it takes anyway.
    """
    return lambda steps: later(steps, seconds)


@fault
def no_head() -> Change:
    """Take the request, and never answer."""
    return lambda steps: later(steps, math.inf)


# -- bytes -----------------------------------------------------------------------------------------


@fault
def flip(byte: int, bit: int = 0) -> Change:
    """Turn over one bit of the body.

    Parameters
    ----------
    byte : int
        Bytes of the body before it.
    bit : int
        0 is the lowest, 7 the highest.
    """

    def then(_due: float, rest: Iterator[Step]) -> Iterator[Step]:
        for due, data, whole in rest:
            if isinstance(data, bytes) and data:
                yield Step(due, bytes([data[0] ^ 1 << bit]) + data[1:], whole)
                break
            yield Step(due, data, whole)
        yield from rest

    return strike(None, byte, then)


@fault
def bad_crc(after: int = 0) -> Change:
    """Make the checksum of an event wrong.

    Parameters
    ----------
    after : int
        Whole events before it.
    """
    return alter(after, lambda frame: [frame[:-1] + bytes([frame[-1] ^ 1])])


@fault
def huge_prelude(after: int = 0, declared: int = 24 * 2**20 + 1) -> Change:
    """Let an event declare another length, with a checksum of the prelude that is right.

    Parameters
    ----------
    after : int
        Whole events before it.
    declared : int
        Bytes of the whole frame, as its prelude says. No frame of the service has more than 24 MiB.
    """

    def declare(frame: bytes) -> list[bytes]:
        lengths = struct.pack(">I", declared) + frame[4:8]
        return [lengths + struct.pack(">I", crc32(lengths)) + frame[12:]]

    return alter(after, declare)


# -- events ----------------------------------------------------------------------------------------


@fault
def unknown_event(after: int = 0) -> Change:
    """Send an event of a type that nobody knows yet, among the others.

    Parameters
    ----------
    after : int
        Whole events before it.
    """
    frame = encoded("futureEvent", {"future": {"of": "this service"}})

    def then(due: float, rest: Iterator[Step]) -> Iterator[Step]:
        yield Step(due, frame)
        yield from rest

    return strike(after, None, then)


@fault
def unknown_delta(after: int = 0) -> Change:
    """Send a delta of a kind that nobody knows yet, before the next delta and for the same block.

    Parameters
    ----------
    after : int
        Whole events before it, at least.
    """

    def then(_due: float, rest: Iterator[Step]) -> Iterator[Step]:
        for event in grouped(rest):
            payload = payload_of(event, "contentBlockDelta")
            if payload is not None:
                unknown = {**payload, "delta": {"futureContent": {"future": "of this service"}}}
                yield Step(event[0].due, encoded("contentBlockDelta", unknown))
                yield from event
                break
            yield from event
        yield from rest

    return strike(after, None, then)


@fault
def unknown_header(after: int = 0) -> Change:
    """Give an event a header that nobody knows yet.

    Parameters
    ----------
    after : int
        Whole events before it.
    """
    return rewrite(after, lambda frame: Frame({**frame.headers, ":future-header": "yes"}, frame.payload))


@fault
def bad_json(after: int = 0) -> Change:
    """Take the last byte of an event's payload away, so that it is not JSON; the frame is sound.

    Parameters
    ----------
    after : int
        Whole events before it.
    """
    return rewrite(after, lambda frame: Frame(frame.headers, frame.payload[:-1]))


@fault
def bad_utf8(after: int = 0) -> Change:
    """Put a byte that is not UTF-8 into a member of an event's payload; the frame is sound.

    Parameters
    ----------
    after : int
        Whole events before it.
    """
    return rewrite(after, lambda frame: Frame(frame.headers, frame.payload[:-1] + b',"note":"\xff"}'))


@fault
def bad_tool_input() -> Change:
    """Cut the last character off a tool's input, so that it is not JSON; everything else is sound.

    It happens to the last tool of a reply. A reply that asks for no tool is left alone.
    """

    def change(steps: Iterator[Step]) -> Iterator[Step]:
        events = list(grouped(steps))
        for event in reversed(events):
            payload = payload_of(event, "contentBlockDelta") or {}
            match payload:
                case {"delta": {"toolUse": {"input": str(text)} as tool}} if text.strip():
                    tool["input"] = text.rstrip()[:-1]
                    event[:] = [Step(event[-1].due, encoded("contentBlockDelta", payload))]
                    break
        return chain.from_iterable(events)

    return change


@fault
def duplicate(after: int = 0) -> Change:
    """Send an event twice.

    Parameters
    ----------
    after : int
        Whole events before it.
    """
    return alter(after, lambda frame: [frame, frame])


@fault
def missing(after: int = 0) -> Change:
    """Leave an event out.

    Parameters
    ----------
    after : int
        Whole events before it.
    """
    return alter(after, lambda frame: [])
