"""The way of a byte, in one loop: bytes -> frames -> events -> (recording, fold).

Strategy: a source is an iterator of arrivals, what one network read brought. `wire_arrivals` makes them
from bytes; `parsed_arrivals` from botocore's dicts where no bytes are to be had. `Intake` takes them in, one
at a time, and decides once how the reply ended: a body that ends in good order without ``messageStop`` is
incomplete, whatever the network says. Errors of urllib3, botocore and the socket become ours in one table.
An event is in the journal, if there is one, before anybody is handed it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, Protocol, TypeAlias

from botocore.eventstream import ParserError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EventStreamError,
    HTTPClientError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
)
from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import ReadTimeoutError as BotocoreReadTimeout
from urllib3.exceptions import HTTPError, ReadTimeoutError

from bedrock_nb import audit, settings
from bedrock_nb.assembly import Fold, Passing
from bedrock_nb.errors import (
    BedrockNbError,
    ConnectionFailed,
    ConnectionLost,
    CredentialsError,
    FrameError,
    IncompleteStreamError,
    PayloadError,
    RequestError,
    StreamError,
    StreamStalled,
    StreamTimeout,
    also,
    refused,
    service_fault,
)
from bedrock_nb.events import Event, StreamFault
from bedrock_nb.eventstream import Frame, FrameDecoder, encode
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording, Status, recordings
from bedrock_nb.timeouts import Deadline
from bedrock_nb.whole import Whole, events_of, jsonable
from bedrock_nb.wire import from_frame, from_wire

__all__ = [
    "Arrival",
    "Body",
    "Intake",
    "as_our_error",
    "parsed_arrivals",
    "whole_arrivals",
    "wire_arrivals",
]


class Body(Protocol):
    """Bytes with their times: what `wire_arrivals` reads."""

    t: float
    number: int
    late: float
    waited: float
    doubt: float
    tls: bool
    away: float | None
    enough: bool  # set from outside: what was read is damaged, and no more is wanted

    def read(self) -> bytes:
        """The next bytes; nothing at the end. Sets ``t`` (seconds), ``number``, and what is late.

        ``waited`` is for how long these bytes may have been there, 0 if that is hardly worth a word, ``late``
        the longest of that, ``doubt`` the same to the point where only who makes bursts is in doubt, and
        ``away`` how long nobody was reading until now, all in seconds; it is None where nothing is known.
        With ``tls`` the bytes of one read were sent in one piece.
        """


#: For how long the events may have been there that came in one read is kept from that on, seconds.
_DOUBT = 0.001


#: What one step of a source gives: seconds, number of the network read, and for each frame its events and
#: its size in bytes. A plain tuple: one is made for every read.
Arrival: TypeAlias = tuple[float, int, list[tuple[tuple[Event, ...], int]]]


def wire_arrivals(body: Body, recording: Recording, deadline: Deadline | None = None) -> Iterator[Arrival]:
    """Bytes -> frames -> events. Tells the deadline of whole ones; raises what `as_our_error` understands."""
    decoder = FrameDecoder()
    read, keep, receive = body.read, recording.keep, decoder.receive_data
    # Frame sizes: the decoder shares header mappings, so the bytes around a payload are measured once for
    # each; the mapping is kept so that its id stays its own.
    around: dict[int, tuple[Any, int]] = {}
    keeps, late, spent = recording.keeps, recording.late, recording.spent
    noted, doubt, brought = -1, 0.0, 0
    if body.tls:
        recording.envelope["tls"] = True
    while data := read():
        keep(data)
        number = body.number
        if number != noted and body.away is not None:  # one network read may bring many chunks
            noted, spent["client_s"], doubt = number, body.away, 0.0
            if body.waited and keeps:
                late[number] = body.waited
            elif body.doubt > _DOUBT and keeps and not body.tls:
                doubt, brought = body.doubt, 0
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
        if doubt:
            brought += len(arrived)
            if brought > 1:
                late[number], doubt = doubt, 0.0
        if deadline is not None and arrived:
            deadline.heard = body.t
        body.enough = broken is not None
        yield body.t, number, arrived
        if broken is not None:
            raise broken
    if body.away is not None:
        spent["client_s"] = body.away  # with the end of the body, which a reader that was away finds late
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
        yield t, number, [(from_wire(wire, jsonable(payload)), 0) for wire, payload in member.items()]


def whole_arrivals(whole: Whole) -> Iterator[Arrival]:
    """A plain answer -> events, all of them at the time at which it was there."""
    yield whole.t, 1, [((event,), 0) for event in events_of(whole.answer)]


def as_our_error(err: Exception) -> BedrockNbError:
    """The exception of our tree for what botocore, urllib3 or the socket raised."""
    if isinstance(err.__cause__, StreamTimeout):  # urllib3 takes ours for a timeout of the socket
        return err.__cause__
    match err:
        case BedrockNbError():
            return err
        case EventStreamError():
            said = err.response.get("Error", {})
            return service_fault(str(said.get("Code", "")), str(said.get("Message", "")))
        case ClientError():
            return refused(err)
        case ParamValidationError():
            return also(RequestError, type(err))(
                f"boto3 refuses this request: {err}", remedy="Nothing was sent: correct it and ask again."
            )
        case NoCredentialsError() | PartialCredentialsError():
            return also(CredentialsError, type(err))(
                f"boto3 cannot sign the request: {err}.", remedy="`aws configure` makes credentials."
            )
        case ReadTimeoutError() | BotocoreReadTimeout() | TimeoutError():
            return StreamStalled(
                "Nothing came from the service for the client's whole read timeout.",
                remedy="Make the client with a longer read_timeout, as bedrock_nb.connect() does.",
            )
        case NoConnection() | SSLError():
            return also(ConnectionFailed, type(err))(
                f"No connection to the service came about ({type(err).__name__}).",
                remedy="Look at the network, the proxy and the region; then ask again.",
            )
        case HTTPError() | HTTPClientError() | HTTPException() | OSError():
            return ConnectionLost(
                f"The connection broke ({type(err).__name__}).",
                remedy=f"{_GO_ON} If it happens often, look at the network or the proxy between.",
            )
        case ParserError():
            return FrameError(
                "botocore", f"The bytes of the reply are damaged ({type(err).__name__})", offset=0
            )
        case BotoCoreError():
            # Its words stay its own: some hold what a program for credentials printed.
            return also(StreamError, type(err))(f"boto3 could not make the call ({type(err).__name__}).")
        case _:
            return StreamError(f"The reply could not be read ({type(err).__name__}).")


_GO_ON = "Ask again, or go on from here: err.reply.resume()."

#: How a reply stands after each kind of error; any other is "error".
_INCOMPLETE = (IncompleteStreamError, ConnectionLost, StreamTimeout)


class Intake:
    """Events from a source into a recording and a fold, one network read at a time.

    Attributes
    ----------
    done : bool
        Nothing more will come.
    error : BedrockNbError or None
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
        *,
        journal: Journal | None = None,
        masked: bool | None = None,
        begun: bool = True,
    ) -> None:
        self.recording, self.journal = recording, journal
        self.fold = Fold() if recording.keeps else Passing()
        self.derived: dict[int, tuple[Event, ...]] = {}
        self.done = self._ending = False
        self.cancelled = False
        self.busy = False  # inside of `advance`: the connection is not to be closed by who comes between
        self.error: BedrockNbError | None = None
        self.origin: weakref.ref[Any] | None = None  # the Reply that errors point to; weak, so that
        # a reply that nobody holds is closed at once and not at the next collection of cycles
        self._source, self._close, self._since = source, close, since
        self._noted = -1  # the read of which the journal knows how late it was
        self._faults: list[Event] = []  # that ended the reply and came from no frame
        self.masked = settings.current().errors == "plain" if masked is None else masked
        self._begun = False
        if begun:
            self.begin()

    def begin(self) -> None:
        """The call begins: from now on others are told of it. One that never does is nobody's business."""
        self._begun = True
        audit.tell("began", self.recording)

    def advance(self) -> list[Event]:
        """Take what the next network read brings; may be nothing yet. Sets ``done`` at the end."""
        fresh: list[Event] = []
        if self.done:
            return fresh
        feed, record, keeps, journal = (
            self.fold.feed,
            self.recording.append,
            self.recording.keeps,
            self.journal,
        )
        self.busy = True
        try:
            t, read, arrived = next(self._source)
            late = None
            if journal is not None:
                journal.follow(self.recording)
                # One read may come in several steps, and be known late by a later one.
                if read != self._noted:
                    late = self.recording.late.get(read)
                    if late is not None and arrived:
                        self._noted = read
            for events, nbytes in arrived:
                for event in events:
                    made = feed(event)
                    if journal is not None:
                        journal.write(event, t, read, nbytes, late)
                        late = None
                    if made and keeps:  # before the event itself, which other threads see from then on
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
        finally:
            self.busy = False
        if self.error is not None:
            fresh.extend(self._faults)
        return fresh

    def _end(self) -> None:
        """The source is at its end: was the reply?"""
        if self.cancelled:
            self.finish("cancelled")
        elif self.fold.stop_reason is None:
            what = "The reply ended before the model had finished: no messageStop came."
            remedy = _GO_ON if len(self.recording) else "Ask again."
            if self.recording.clock == "parsed" and not len(self.recording):
                remedy = "A stream can be read once: was this one read before?"
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

    def abort(self, err: Exception) -> None:
        """End the reply for a reason that is not in its bytes."""
        if not self._ending:
            self._fail(err)

    def _fail(self, err: Exception) -> None:
        if self.cancelled:  # the read was ended by us
            self.finish("cancelled")
            return
        error = as_our_error(err)
        if isinstance(error, FrameError) and error.code == "truncated":
            what = "The reply ended in the middle of an event."
            error, err = IncompleteStreamError(what, remedy=_GO_ON), error
        if error is not err:
            # boto3's text of a service's error has account numbers; a cause of itself would be a circle.
            error.__cause__ = None if isinstance(err, ClientError) or err.__cause__ is error else err
            error.__suppress_context__ = True
        if not isinstance(error, StreamError):  # nothing ever left: there is no reply
            recordings.discard(self.recording)
            self.finish("error", error)
            return
        error.original = err if error is not err else err.__cause__
        self._say_what_is_kept(error)
        if self.fold.stop_reason is not None and isinstance(error, _INCOMPLETE):
            error.remedy = (
                f"The message is whole ({self.fold.stop_reason}); only what follows it, the token counts, "
                "is missing."
            )
        self._record_fault(error)
        if self.masked:
            error.mask()
        self.finish("incomplete" if isinstance(error, _INCOMPLETE) else "error", error)

    def _say_what_is_kept(self, error: StreamError) -> None:
        events = len(self.recording) - (self.recording.error is not None)  # an exception frame is no answer
        if error.kept or not self.recording.keeps or not (events or isinstance(error, IncompleteStreamError)):
            return
        chars = len(self.fold.snapshot.text)
        error.kept = (
            f"What came is kept: {events} event{'s' * (events != 1)}, {chars} character{'s' * (chars != 1)} "
            "of text (err.reply.snapshot, err.reply.recording)."
        )

    def _record_fault(self, error: StreamError) -> None:
        """Write the fault as the last event, unless the service's own frame was that event."""
        if isinstance(self.recording.error, StreamError):
            return
        fault, t = StreamFault(error), self._since()
        if self.journal is not None:
            self.journal.follow(self.recording)
            self.journal.write(fault, t, 0, 0)
        self.recording.append(fault, t)
        self._faults.append(fault)

    def finish(self, status: Status, error: BedrockNbError | None = None) -> None:
        """End the reply, once: note how, and let the connection go."""
        if self._ending:
            return
        self._ending, self.error = True, error
        if isinstance(error, StreamError):
            error.reply = self.origin() if self.origin else None
        self.recording.status = status
        self.recording.mark("closed", self._since())
        try:
            self._close()
        finally:
            try:
                if self.journal is not None:
                    self.journal.end(self.recording)
                if self._begun:
                    audit.log(self.recording, error=self.error)
            finally:
                self.done = True  # last: who waits in another thread may look at the journal

    def check(self) -> None:
        """Raise what ended the reply, if it did not end well; each time as if for the first time."""
        if self.error is not None:
            raise self.error.with_traceback(None)

    def __del__(self) -> None:
        self.finish("cancelled")  # nobody holds the reply any more: let the connection go now
