"""The body of a ConverseStream response, read and stamped by us.

The clock sits where the bytes leave the socket. `urllib3.HTTPResponse.read1` returns one HTTP chunk at a
time, and several chunks may have come in one network read; so the body's `SocketIO` counts its own reads,
and all that one read brought carries one time and one number. Where that object cannot be reached, each
``read1`` counts as a read. The body also keeps the time limits of its call (`timeouts`): each network read
waits as long as they leave.

A `Reply` pulls the bytes; for a watched client they are recorded beside botocore's own iteration, which
sees every byte unchanged.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Any

from urllib3.exceptions import HTTPError

from bedrock_nb.connection import SETUP, Serving
from bedrock_nb.content import own
from bedrock_nb.errors import RequestError
from bedrock_nb.intake import Intake, wire_arrivals
from bedrock_nb.journal import configured
from bedrock_nb.recording import Recording, recordings
from bedrock_nb.timeouts import Deadline

__all__ = ["Call", "TappedBody", "shut"]

#: Most bytes of one read; what is there comes at once, however little.
_READ = 65536
#: A reader that was away for longer than this, seconds, and then finds bytes within that, came late.
_AWAY, _AT_ONCE = 0.01, 0.0005
#: Where this process computed for longer than that during a read, seconds, other threads may have kept the
#: reader from what had come: a read returns only when the interpreter is free.
_BUSY = 0.001
#: A socket's timeout is set anew when it is wrong by more than this, seconds: setting it is a system call.
_NEAR = 0.01


class Call:
    """One call of a model: when it began, was sent, and was answered (monotonic seconds)."""

    def __init__(self, params: Mapping[str, Any], clock: Callable[[], float]) -> None:
        self.request: dict[str, Any] = own(params)  # callers change their list of messages afterwards
        self.clock, self.computed = clock, time.process_time
        self.t0 = clock()
        self.started = time.time()
        self.sent: list[float] = []  # one for each attempt
        self.headers: float | None = None
        # Of an answer that is no stream: when all of it had left its socket, and its bytes.
        self.whole: tuple[float, bytes] | None = None
        self.refused = 0  # HTTP status of the latest attempt, if that was an error
        self.envelope: dict[str, Any] = {}
        self.serving = Serving(clock)

    def since(self) -> float:
        """Seconds since the call began."""
        return self.clock() - self.t0

    def recording(self, labels: Mapping[str, Any] | None = None, *, clock: str = "wire") -> Recording:
        """A recording of this call with what is known so far."""
        recording = Recording(self.request, labels=labels, clock=clock, started=self.started)
        self.describe(recording)
        return recording

    def describe(self, recording: Recording) -> None:
        """Note in a recording what is known of the call: its envelope, and when each attempt was sent.

        Of the latest attempt also when its connection was set up, if it opened one.
        """
        recording.envelope |= self.envelope
        sent, setup = list(self.sent), dict(self.serving.setup)  # of a call that was given up they may change
        for number, t in enumerate(sent, 1):
            recording.mark("sent" if number == len(sent) else f"sent {number}", t - self.t0)
        for name in (*SETUP, "headers"):
            recording.marks.pop(name, None)  # those of an attempt before
        for name in SETUP:
            if name in setup:
                recording.mark(name, setup[name] - self.t0)
        headers = self.headers
        if headers is not None:
            recording.mark("headers", headers - self.t0)


class TappedBody:
    """An HTTP body that knows when its bytes came; to botocore it looks like the urllib3 response."""

    def __init__(self, raw: Any, call: Call, *, watched: bool = False) -> None:
        self.raw, self.call, self.watched = raw, call, watched
        self.last = b""  # what the latest read gave
        self.t = (call.headers or call.t0) - call.t0  # when it came: at first, with the response's head
        self.number = 0  # of the network read that brought it
        self.late = 0.0  # longest time that bytes may have waited because the reader was busy, seconds
        self.waited = 0.0  # the same of the latest read
        self.doubt = 0.0  # the same without a least time, and with what other threads may have taken
        self.tls = False  # then a read brings one record at most, which was sent in one piece
        self.enough = False
        self.away: float | None = None  # how long nobody was reading, all in all; None: that is not known
        self.deadline: Deadline | None = None
        self._armed: float = inf  # timeout that the socket has now, seconds
        self._own: float = inf  # the client's read timeout, which it came with
        self._left = call.clock()  # when the reader went away with the latest bytes
        self._claimed = -inf  # when somebody began to wait for them
        self._behind: float | None = None  # bytes from then on may not have been read yet
        self._kept = 0.0  # how long other threads may have kept the reader from them besides
        self._reader = ""  # who reads it
        self._watching: weakref.ref[Intake] | None = None
        self._counted = self._count_reads()
        # Of a chunked body every chunk is a read of its own, and urllib3 costs more than all the rest of the
        # way: ask http.client's response below it. None: ask urllib3.
        direct = self._counted and raw.chunked
        self._direct: Callable[[int], bytes] | None = raw._fp.read1 if direct else None

    def claim(self, deadline: Deadline | None = None, *, awaited: bool = False) -> Call:
        """Become the reader, in botocore's place: bytes can be had only once.

        ``awaited``: somebody was waiting for the response until now. Otherwise bytes may have been there
        since its head came.

        Raises
        ------
        RequestError
            Somebody else has read it, or does.
        """
        self._claim("a Reply")
        # botocore has urllib3 take a body that is shorter than announced for a whole one.
        self.raw.enforce_content_length = True
        self.deadline = deadline
        self._claimed = self.call.clock()  # until now nobody was to wait for anything
        if awaited:
            self._left = self._claimed
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
            clock, computed, t0 = self.call.clock, self.call.computed, self.call.t0
            self.tls = tls = hasattr(socket, "pending")

            def readinto(buffer: Any) -> Any:
                busy, begin = computed(), clock()
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
                end = clock()
                body.t = end - t0
                body.number += 1
                body._notice(begin, end, computed() - busy, more=tls or count == len(buffer))
                return count

            self._armed = self._own = _seconds(socket.gettimeout())
            socket_io.readinto = readinto
            self.away = 0.0
        except AttributeError:
            return False
        return True

    def _arm(self, socket: Any, begin: float) -> None:
        """Let the next read wait as long as the limits leave, and no longer than the client's own does."""
        assert self.deadline is not None
        away = begin - max(self._left, self._claimed)
        if away > _AWAY:
            self.deadline.away(away)
        left = self.deadline.left()
        if left <= 0:
            raise self.deadline.error()
        wanted = min(left, self._own)
        if abs(wanted - self._armed) > _NEAR:  # of two that are inf the difference is nan: nothing to do
            socket.settimeout(None if wanted == inf else wanted)
            self._armed = wanted

    def _notice(self, begin: float, end: float, busy: float, *, more: bool) -> None:
        """Bytes that are there at once came some time since the reader had taken all that there was.

        It had when it went away, unless it did not have to wait for the read before either and that may have
        left ``more`` behind (it filled its room, or was a record of TLS): so all reads in which a late reader
        catches up are late. A read that took its time while the process was ``busy`` may have waited for
        other threads and not for bytes; so may the bytes of the next. That is ``doubt`` only: computing
        that was spread over a long wait keeps nobody from reading.
        """
        left, behind, self._behind = self._left, self._behind, None
        kept, self._kept = self._kept, 0.0
        self._left, self.waited, self.doubt = end, 0.0, 0.0
        assert self.away is not None
        self.away += begin - left
        if end - begin >= _AT_ONCE:
            if busy > _BUSY:
                self._kept = min(busy, end - begin)
                self.doubt = begin - left + self._kept + kept
        else:
            since = left if behind is None else behind
            if more:
                self._behind, self._kept = since, kept
            self.doubt = begin - since + kept
            if begin - since > _AWAY:
                self.waited = begin - since
                if begin - left > _AWAY and self.waited > self.late:
                    self.late = self.waited

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
        arrivals, journal = wire_arrivals(self, recording), configured(recording)
        intake = Intake(recording, arrivals, lambda: None, self.call.since, journal=journal)
        self._watching = weakref.ref(intake)
        try:
            while not intake.done:
                self.last = b""
                intake.advance()
                if self.last:
                    yield self.last
            cause = getattr(intake.error, "original", None)
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


def _seconds(timeout: float | None) -> float:
    return inf if timeout is None else timeout
