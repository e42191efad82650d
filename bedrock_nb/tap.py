"""The tap on a boto3 client: the bytes of a ConverseStream body, read and stamped by us.

boto3 signs, retries and sends. Hooks of botocore's own event system note when a call began, when it
was sent and when the response's head came, and put `TappedBody` in the place of the HTTP body before
botocore's parser gets it. Nothing is patched, and other operations are not touched.

The body also keeps the time limits of its call (`timeouts`): each network read waits as long as they leave.

The clock sits where the bytes leave the socket. `urllib3.HTTPResponse.read1` returns one HTTP chunk at a
time, and several chunks may have come in one network read; so the body's `SocketIO` counts its own reads,
and all that one read brought carries one time and one number. Where that object cannot be reached, each
``read1`` counts as a read.

A `Reply` pulls the bytes; for a watched client they are recorded beside botocore's own iteration, which
sees every byte unchanged.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any, NamedTuple

from urllib3.exceptions import HTTPError
from urllib3.response import BaseHTTPResponse

from bedrock_nb import settings
from bedrock_nb.connection import Abandoned, Serving, notice
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.intake import Intake, wire_arrivals
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording, recordings
from bedrock_nb.request import own
from bedrock_nb.timeouts import Deadline, Timeouts

__all__ = [
    "Call",
    "TappedBody",
    "calling",
    "clock_of",
    "envelope",
    "install",
    "tapped",
    "timeouts_of",
    "unwired",
    "watch",
]

#: Most bytes of one read; what is there comes at once, however little.
_READ = 65536
#: A reader that was away for longer than this, seconds, and then finds bytes within that, came late.
_AWAY, _AT_ONCE = 0.01, 0.0005
#: A socket's timeout is set anew when it is wrong by more than this, seconds: setting it is a system call.
_NEAR = 0.01
_OPERATION = "bedrock-runtime.ConverseStream"
#: Response headers that a recording keeps. An allow-list: anything else could hold a secret.
_KEPT_HEADERS = ("date", "content-type", "transfer-encoding", "content-length")
_KEPT_PREFIX = "x-amzn-bedrock-"


class Call:
    """One call of ``converse_stream``: when it began, was sent, and was answered (monotonic seconds)."""

    def __init__(self, params: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self.request: dict[str, Any] = own(params)  # callers change their list of messages afterwards
        self.clock = clock
        self.t0 = clock()
        self.started = time.time()
        self.sent: list[float] = []  # one for each attempt
        self.headers: float | None = None
        self.refused = 0  # HTTP status of the latest attempt, if that was an error
        self.envelope: dict[str, Any] = {}
        self.serving = Serving()

    def since(self) -> float:
        """Seconds since the call began."""
        return self.clock() - self.t0

    def recording(self, labels: Mapping[str, Any] | None = None, *, clock: str = "wire") -> Recording:
        """A recording of this call with what is known so far."""
        recording = Recording(self.request, labels=labels, clock=clock, started=self.started)
        self.describe(recording)
        return recording

    def describe(self, recording: Recording) -> None:
        """Note in a recording what is known of the call: its envelope, and when each attempt was sent."""
        recording.envelope |= self.envelope
        for number, t in enumerate(self.sent, 1):
            recording.mark("sent" if number == len(self.sent) else f"sent {number}", t - self.t0)
        if self.headers is not None:
            recording.mark("headers", self.headers - self.t0)


class TappedBody:
    """An HTTP body that knows when its bytes came; to botocore it looks like the urllib3 response."""

    def __init__(self, raw: Any, call: Call, *, watched: bool = False) -> None:
        self.raw, self.call, self.watched = raw, call, watched
        self.last = b""  # what the latest read gave
        self.t = (call.headers or call.t0) - call.t0  # when it came: at first, with the response's head
        self.number = 0  # of the network read that brought it
        self.late = 0.0  # longest time that bytes may have waited because the reader was busy, seconds
        self.deadline: Deadline | None = None
        self._armed: float = inf  # timeout that the socket has now, seconds
        self._own: float = inf  # the client's read timeout, which it came with
        self._left = time.perf_counter()  # when the reader went away with the latest bytes
        self._reader = ""  # who reads it
        self._watching: weakref.ref[Intake] | None = None
        self._counted = self._count_reads()
        # Of a chunked body every chunk is a read of its own, and urllib3 costs more than all the rest of the
        # way: ask http.client's response below it. None: ask urllib3.
        direct = self._counted and raw.chunked
        self._direct: Callable[[int], bytes] | None = raw._fp.read1 if direct else None

    def claim(self, deadline: Deadline | None = None) -> Call:
        """Become the reader, in botocore's place: bytes can be had only once.

        Raises
        ------
        RequestError
            Somebody else has read it, or does.
        """
        self._claim("a Reply")
        # botocore has urllib3 take a body that is shorter than announced for a whole one.
        self.raw.enforce_content_length = True
        self.deadline = deadline
        return self.call

    def _claim(self, reader: str) -> None:
        if self._reader:
            raise RequestError(
                f"The stream of this response is read already, by {self._reader}; it can be read only once.",
                remedy="Keep a Reply and iterate it as often as you like; raw_events() gives boto3's dicts.",
            )
        self._reader = reader

    def _count_reads(self) -> bool:
        """Let the response's own SocketIO stamp each network read, and keep the time limits."""
        try:
            socket_io = self.raw._fp.fp.raw
            socket = socket_io._sock
            read = type(socket_io).readinto
            me, socket_ref = weakref.ref(self), weakref.ref(socket_io)

            def readinto(buffer: Any) -> Any:
                begin = time.perf_counter()
                body = me()
                if body is None:
                    return read(socket_ref(), buffer)
                if body.deadline is not None:
                    body._arm(socket, begin)
                try:
                    count = read(socket_ref(), buffer)
                except TimeoutError:
                    if body.deadline is not None and body.deadline.left() <= _NEAR:
                        raise body.deadline.error() from None
                    raise
                body.t = body.call.since()
                body.number += 1
                body._notice(begin, time.perf_counter())
                return count

            self._armed = self._own = _seconds(socket.gettimeout())
            socket_io.readinto = readinto
        except AttributeError:
            return False
        return True

    def _arm(self, socket: Any, begin: float) -> None:
        """Let the next read wait as long as the limits leave, and no longer than the client's own does."""
        assert self.deadline is not None
        if begin - self._left > _AWAY:
            self.deadline.away(begin - self._left)
        left = self.deadline.left()
        if left <= 0:
            raise self.deadline.error()
        wanted = min(left, self._own)
        if abs(wanted - self._armed) > _NEAR:  # of two that are inf the difference is nan: nothing to do
            socket.settimeout(None if wanted == inf else wanted)
            self._armed = wanted

    def _notice(self, begin: float, end: float) -> None:
        """Bytes that are there at once, after the reader was away: they came some time in between."""
        away = begin - self._left
        if away > _AWAY and end - begin < _AT_ONCE:
            self.late = max(self.late, away)
        self._left = end

    def read(self) -> bytes:
        """The next bytes as soon as there are any; nothing at the end."""
        data: bytes = self._direct(_READ) if self._direct is not None else b""
        if not data:
            self._direct = None  # at the end of the body urllib3 has to see it, to take the connection back
            data = self.raw.read1(_READ, decode_content=False) or b""
        if not self._counted:
            self.t = self.call.since()
            self.number += 1
        self.last = data
        return data

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        """What botocore iterates: every byte, unchanged; recorded besides if the client is watched."""
        self._claim("a loop over response['stream']")
        if not self.watched:
            yield from self.raw.stream(*args, **kwargs)
            return
        self._direct = None  # the loop gets urllib3's own errors, as without us
        recording = self.call.recording()
        recordings.append(recording)
        # Where our decoder gives up, botocore's need not: the end of the recording closes nothing.
        arrivals, journal = wire_arrivals(self, recording), _journal(recording)
        intake = Intake(recording, arrivals, lambda: None, self.call.since, journal=journal)
        self._watching = weakref.ref(intake)
        try:
            while not intake.done:
                self.last = b""
                intake.advance()
                if self.last:
                    yield self.last
            cause = intake.error.__cause__ if intake.error else None
            if isinstance(cause, HTTPError | OSError):
                raise cause
            while data := self.read():
                yield data
        finally:
            intake.finish("cancelled")
            self.close()

    def shutdown(self) -> None:
        """End a read that blocks in another thread."""
        if not shut(self.raw):
            self.close()

    def close(self) -> None:
        """Close the connection, unless the body was read to its end and the connection is free again."""
        intake = self._watching() if self._watching is not None else None
        if intake is not None:
            intake.finish("cancelled")
        self.raw.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def shut(raw: Any) -> bool:
    """Shut down the socket under a urllib3 response, so that a blocked read ends; False if there is none."""
    try:
        raw.shutdown()
    except (ValueError, RuntimeError, OSError, AttributeError):
        return False
    return True


def _journal(recording: Recording) -> Journal | None:
    """The journal that `configure` asks for; where there can be none, a watched loop goes on all the same."""
    asked = settings.current()
    if asked.journal is None:
        return None
    try:
        return Journal(asked.journal, recording, durability=asked.durability)
    except RecordingError as err:
        recording.problems.append(str(err))
        return None


def _seconds(timeout: float | None) -> float:
    return inf if timeout is None else timeout


# -- hooks -----------------------------------------------------------------------------------------


class _Hooks(NamedTuple):
    """What is kept for a client that has the hooks."""

    clock: Callable[[], float]
    timeouts: Timeouts


_local = threading.local()
_bodies: weakref.WeakKeyDictionary[Any, TappedBody] = weakref.WeakKeyDictionary()  # by botocore's stream
_hooked: weakref.WeakKeyDictionary[Any, _Hooks] = weakref.WeakKeyDictionary()  # by the client's emitter
_watched: weakref.WeakSet[Any] = weakref.WeakSet()
_hooking = threading.Lock()


def install(
    client: Any, *, clock: Callable[[], float] = time.perf_counter, timeouts: Timeouts | None = None
) -> None:
    """Put the hooks on a boto3 bedrock-runtime client; once is enough, more does no harm.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    clock : function
        Monotonic seconds; that of the first call stays.
    timeouts : Timeouts, optional
        What holds for replies of this client from now on.

    Raises
    ------
    RequestError
        The object is no such client.
    """
    if not hasattr(client, "converse_stream"):
        raise RequestError(
            f"A {type(client).__name__} has no converse_stream.",
            remedy="Give the client of bedrock_nb.connect(), or boto3.client('bedrock-runtime').",
        )
    emitter = _emitter(client)
    if emitter is None:
        return  # somebody's own object: its stream is read as it comes
    with _hooking:
        known = _hooked.get(emitter)
        if known is None:
            _hook(emitter, clock)
            notice(client)
            known = _Hooks(clock, Timeouts())
        _hooked[emitter] = known if timeouts is None else known._replace(timeouts=timeouts)


def _emitter(client: Any) -> Any:
    return getattr(getattr(client, "meta", None), "events", None)


def _hooks(client: Any) -> _Hooks:
    emitter = _emitter(client)
    known = None if emitter is None else _hooked.get(emitter)
    return known or _Hooks(time.perf_counter, Timeouts())


def clock_of(client: Any) -> Callable[[], float]:
    """The clock that the hooks of a client look at."""
    return _hooks(client).clock


def timeouts_of(client: Any) -> Timeouts:
    """The time limits that hold for replies of a client unless a call has its own."""
    return _hooks(client).timeouts


def calling(call: Call) -> None:
    """Let the next ``converse_stream`` of this thread be this call."""
    _local.expected = call
    call.serving.here()


def _hook(emitter: Any, clock: Callable[[], float]) -> None:
    emitter_ref = weakref.ref(emitter)

    def begin(params: Any, **_: Any) -> None:
        expected, _local.expected = getattr(_local, "expected", None), None
        _local.call, _local.body = expected or Call(params, clock), None

    def sent(**_: Any) -> None:
        if call := getattr(_local, "call", None):
            if call.serving.abandoned:
                raise Abandoned
            call.sent.append(call.clock())

    def answered(response_dict: dict[str, Any], **_: Any) -> None:
        call, body = getattr(_local, "call", None), response_dict["body"]
        if call is None:
            return
        call.headers = call.clock()
        call.refused = response_dict["status_code"] if response_dict["status_code"] >= 300 else 0
        if response_dict["status_code"] < 300 and isinstance(body, BaseHTTPResponse):
            # else it is refused, or comes from somebody's hook and not from a socket
            tap = TappedBody(body, call, watched=emitter_ref() in _watched)
            _local.body = response_dict["body"] = tap

    def parsed(parsed: dict[str, Any], **_: Any) -> None:
        # From here on the call lives as long as its stream; nothing of it waits for the next one.
        call, body = getattr(_local, "call", None), getattr(_local, "body", None)
        _local.call = _local.body = None
        stream = parsed.get("stream")
        if call is None:
            return
        call.envelope = envelope(parsed)
        if stream is None:  # refused
            return
        if body is not None:
            _bodies[stream] = body
        else:
            _local.unwired = stream, call

    def failed(**_: Any) -> None:
        _local.call = _local.body = None

    for name, handler in (
        ("provide-client-params", begin),
        ("before-send", sent),
        ("before-parse", answered),
        ("after-call", parsed),
        ("after-call-error", failed),
    ):
        emitter.register(f"{name}.{_OPERATION}", handler, unique_id=f"bedrock_nb.{name}")


def watch(client: Any) -> Any:
    """Record what any boto3 code streams through this client, unchanged.

    Each reply that is iterated leaves a `Recording` in `recordings`; it grows while the loop runs.

    Parameters
    ----------
    client : boto3 bedrock-runtime client

    Returns
    -------
    The same client.
    """
    install(client)
    if _emitter(client) is None:
        raise RequestError(
            f"A {type(client).__name__} is no boto3 client, so there is nothing to hook into.",
            remedy="Wrap its response instead: bedrock_nb.Reply(response).",
        )
    _watched.add(_emitter(client))
    return client


def tapped(stream: Any) -> TappedBody | None:
    """The body under a botocore EventStream, if its client is tapped."""
    try:
        return _bodies.get(stream)
    except TypeError:  # a list or another thing that cannot be referred to weakly
        return None


def unwired(stream: Any) -> Call | None:
    """The call of this thread that gave this stream, if it never was on a wire: a stub's, a stand-in's."""
    known, call = getattr(_local, "unwired", (None, None))
    return call if known is stream else None


def envelope(response: Mapping[str, Any]) -> dict[str, Any]:
    """What a response says about itself before any event: ids, status, kept headers, retries."""
    meta = response.get("ResponseMetadata") or {}
    headers = {
        name: value
        for name, value in (meta.get("HTTPHeaders") or {}).items()
        if name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIX)
    }
    return {
        "request_id": meta.get("RequestId", ""),
        "http_status": meta.get("HTTPStatusCode"),
        "retries": meta.get("RetryAttempts", 0),
        "headers": headers,
    }
