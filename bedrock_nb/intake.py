"""The way of a byte, in one loop: bytes -> frames -> events -> (recording, fold).

Strategy: a source is an iterator of arrivals, what one network read brought. `wire_arrivals` makes them
from bytes; `parsed_arrivals` from botocore's dicts where no bytes are to be had. `Intake` takes them in, one
at a time, and decides once how the reply ended: a body that ends in good order without ``messageStop`` is
incomplete, whatever the network says. Errors of urllib3, botocore and the socket become ours in one table.
"""

from __future__ import annotations

import weakref
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, Protocol, TypeAlias

from botocore.eventstream import ParserError
from botocore.exceptions import EventStreamError, HTTPClientError
from botocore.exceptions import ReadTimeoutError as BotocoreReadTimeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from bedrock_nb.assembly import Fold
from bedrock_nb.errors import (
    ConnectionLost,
    FrameError,
    IncompleteStreamError,
    PayloadError,
    StreamError,
    StreamStalled,
    service_fault,
)
from bedrock_nb.events import Event, StreamFault
from bedrock_nb.eventstream import Frame, FrameDecoder, encode
from bedrock_nb.recording import Recording, Status
from bedrock_nb.wire import from_frame, from_wire

__all__ = ["Arrival", "Body", "Intake", "as_stream_error", "parsed_arrivals", "wire_arrivals"]


class Body(Protocol):
    """Bytes with their times: what `wire_arrivals` reads."""

    t: float
    number: int
    late: float

    def read(self) -> bytes:
        """The next bytes; nothing at the end. Sets ``t`` (seconds), ``number``, ``late``."""


#: What one step of a source gives: seconds, number of the network read, and for each frame its events and
#: its size in bytes. A plain tuple: one is made for every read.
Arrival: TypeAlias = tuple[float, int, list[tuple[tuple[Event, ...], int]]]


def wire_arrivals(body: Body, recording: Recording) -> Iterator[Arrival]:
    """Bytes -> frames -> events. Raises what `as_stream_error` understands."""
    decoder = FrameDecoder()
    read, keep, receive = body.read, recording.keep, decoder.receive_data
    # Frame sizes: the decoder shares header mappings, so the bytes around a payload are measured once for
    # each; the mapping is kept so that its id stays its own.
    around: dict[int, tuple[Any, int]] = {}
    while data := read():
        keep(data)
        broken: StreamError | None = None
        try:
            frames = receive(data)
        except FrameError as err:
            frames, broken = err.frames, err
        arrived = []
        for frame in frames:
            headers, payload = frame
            known = around.get(id(headers))
            if known is None:
                if len(around) > 64:  # headers come from the peer
                    around.clear()
                known = around[id(headers)] = headers, len(encode(Frame(headers)))
            try:
                arrived.append((from_frame(frame), known[1] + len(payload)))
            except PayloadError as err:
                broken = err
                break
        yield body.t, body.number, arrived
        if broken is not None:
            raise broken
    if body.late:
        recording.problems.append(
            f"The reader was late: bytes may have waited {body.late * 1000:.0f} ms while other code ran "
            "between two events. To measure, read the reply to its end first: reply.drain()."
        )
    decoder.receive_eof()


def parsed_arrivals(stream: Iterable[Mapping[str, Any]], since: Callable[[], float]) -> Iterator[Arrival]:
    """botocore's dicts -> events: for a response whose bytes we cannot have."""
    for number, member in enumerate(stream, 1):
        t = since()
        yield t, number, [(from_wire(wire, _jsonable(payload)), 0) for wire, payload in member.items()]


def _jsonable(node: Any) -> Any:
    """botocore's dicts hold blobs as bytes; the wire's JSON, which `from_wire` reads, as base64."""
    if isinstance(node, bytes):
        return b64encode(node).decode("ascii")
    if isinstance(node, dict):
        return {k: _jsonable(v) for k, v in node.items()}
    return [_jsonable(v) for v in node] if isinstance(node, list) else node


def as_stream_error(err: Exception) -> StreamError:
    """The exception of our tree for what urllib3, botocore or the socket raised in mid-stream."""
    match err:
        case StreamError():
            return err
        case EventStreamError():
            said = err.response.get("Error", {})
            return service_fault(str(said.get("Code", "")), str(said.get("Message", "")))
        case ReadTimeoutError() | BotocoreReadTimeout() | TimeoutError():
            return StreamStalled(
                "Nothing came from the service for the client's whole read timeout.",
                remedy="Make the client with a longer read_timeout, or ask for a shorter answer.",
            )
        case HTTPError() | HTTPClientError() | HTTPException() | OSError():
            return ConnectionLost(
                f"The connection broke in the middle of the reply ({type(err).__name__}).",
                remedy="Ask again; if it happens often, look at the network or the proxy between.",
            )
        case ParserError():
            return FrameError("botocore", f"The bytes of the reply are damaged: {err}", offset=0)
        case _:
            return StreamError(f"The reply could not be read: {type(err).__name__}: {err}.")


#: How a reply stands after each kind of error; any other is "error".
_INCOMPLETE = (IncompleteStreamError, ConnectionLost, StreamStalled)


class Intake:
    """Events from a source into a recording and a fold, one network read at a time.

    Attributes
    ----------
    done : bool
        Nothing more will come.
    error : StreamError or None
        Why, if it did not end well.
    derived : dict of int to tuple of Event
        Events made by the fold, by the number of the event that they follow.
    """

    def __init__(
        self,
        recording: Recording,
        source: Iterator[Arrival],
        close: Callable[[], None],
        since: Callable[[], float],
    ) -> None:
        self.recording, self.fold = recording, Fold()
        self.derived: dict[int, tuple[Event, ...]] = {}
        self.done = False
        self.cancelled = False
        self.error: StreamError | None = None
        self.origin: weakref.ref[Any] | None = None  # the Reply that errors point to; weak, so that
        # a reply that nobody holds is closed at once and not at the next collection of cycles
        self._source, self._close, self._since = source, close, since

    def advance(self) -> list[Event]:
        """Take what the next network read brings; may be nothing yet. Sets ``done`` at the end."""
        fresh: list[Event] = []
        if self.done:
            return fresh
        feed, record = self.fold.feed, self.recording.append
        try:
            t, read, arrived = next(self._source)
            for events, nbytes in arrived:
                for event in events:
                    made = feed(event)
                    if made:  # before the event itself, which other threads see from then on
                        self.derived[len(self.recording)] = made
                    record(event, t, read, nbytes)
                    fresh.append(event)
                    fresh.extend(made)
                    nbytes = 0  # of a frame that gave several events, the first has the size
                    if type(event) is StreamFault:
                        raise event.error
        except StopIteration:
            self._end()
        except Exception as err:
            self._fail(err)
        except BaseException:  # KeyboardInterrupt: keep what came, leave no socket open
            self.finish("cancelled")
            raise
        if self.error is not None:
            fresh.extend(self._fault(self.error))
        return fresh

    def _end(self) -> None:
        """The source is at its end: was the reply?"""
        if self.cancelled:
            self.finish("cancelled")
        elif self.fold.stop_reason is None:
            what = "The reply ended before the model had finished: no messageStop came."
            remedy = "" if len(self.recording) else "A stream can be read once: was this one read before?"
            self._fail(IncompleteStreamError(what, remedy=remedy))
        elif self.fold.stop_reason == "tool_use" and (broken := self.fold.broken_tools):
            names = ", ".join(f"{tool.name!r:.70}" for tool in broken)  # repr: the model wrote them
            self._fail(
                PayloadError(
                    f"The model asked for {names} with input that is not one whole JSON object.",
                    remedy="Run nothing on it: ask again, or send the tool's error back.",
                )
            )
        else:
            self.finish("complete")

    def _fail(self, err: Exception) -> None:
        if self.cancelled:  # the read was ended by us
            self.finish("cancelled")
            return
        error = as_stream_error(err)
        if isinstance(error, FrameError) and error.code == "truncated":
            error, err = IncompleteStreamError("The reply ended in the middle of an event."), error
        if error is not err:
            error.__cause__ = err
        chars = len(self.fold.snapshot.text)
        if not error.kept:
            error.kept = (
                f"What came is kept: {len(self.recording)} events, {chars} characters of text "
                "(reply.snapshot, reply.recording)."
            )
        self.finish("incomplete" if isinstance(error, _INCOMPLETE) else "error", error)

    def _fault(self, error: StreamError) -> list[Event]:
        """Write the fault as the last event, unless the service's own frame was that event."""
        last = self.recording.event(len(self.recording) - 1) if len(self.recording) else None
        if isinstance(last, StreamFault):
            return []
        fault = StreamFault(error)
        self.recording.append(fault, self.recording.marks.get("closed", 0.0))
        return [fault]

    def finish(self, status: Status, error: StreamError | None = None) -> None:
        """End the reply, once: note how, and let the connection go."""
        if self.done:
            return
        self.done, self.error = True, error
        if error is not None:
            error.reply = self.origin() if self.origin else None
        self.recording.status = status
        self.recording.mark("closed", self._since())
        self._close()

    def check(self) -> None:
        """Raise what ended the reply, if it did not end well; each time as if for the first time."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    def __del__(self) -> None:
        self.finish("cancelled")  # nobody holds the reply any more: let the connection go now
