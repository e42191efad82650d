"""Where a reply's events come from: a call that we make, or a response that somebody else has.

Strategy: both are a `Source`: arrivals to fill a recording with, a way to end it from any thread, and a way
to let go. `Calling` makes its call in a thread of its own and waits for that thread no longer than the time
limits leave: so name servers, handshakes, boto3's pauses between attempts and a model that thinks for minutes
can all be given up at once, by a limit, a Stop button or an interrupt. The thread then ends by itself: its
connection is shut down. A plain call (Converse) goes the same way; all of its answer comes with its head.
"""

from __future__ import annotations

import contextvars
import errno
import json
import random
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from math import inf
from typing import Any, Protocol
from urllib.parse import urlsplit

from botocore.exceptions import EndpointConnectionError

from bedrock_nb.body import Call, TappedBody, shut
from bedrock_nb.connection import Abandoned, Serving
from bedrock_nb.errors import (
    ConnectionLost,
    RequestError,
    ServerError,
    ServiceFault,
    ServiceUnavailableFault,
    StreamTimeout,
    ThrottlingFault,
)
from bedrock_nb.events import MessageStart, StreamFault
from bedrock_nb.intake import Arrival, as_our_error, parsed_arrivals, whole_arrivals, wire_arrivals
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.tap import calling, clock_of, envelope, install, tapped, timeouts_of, unwired
from bedrock_nb.timeouts import Deadline, Timeouts
from bedrock_nb.whole import Whole, jsonable, plain_params

__all__ = [
    "RETRIED",
    "Calling",
    "Given",
    "Source",
    "backoff",
    "check_members",
    "given_up",
    "gone",
    "until_shown",
]


class Source(Protocol):
    """Where events come from."""

    @property
    def opened(self) -> bool:
        """Whether the response's head is there."""

    @property
    def call(self) -> Call:
        """When it began, and what was asked."""

    def since(self) -> float:
        """Seconds since it began."""

    def left(self) -> float:
        """Seconds until the limit of the whole reply."""

    def arrivals(self, recording: Recording) -> Iterator[Arrival]:
        """What came, one network read at a time."""

    def shutdown(self) -> None:
        """End it, from any thread: whoever waits for it is woken."""

    def close(self) -> None:
        """Let the connection go."""


class _Parsed:
    """A stream without bytes to be had: botocore's dicts, or somebody's list of such."""

    def __init__(self, stream: Any) -> None:
        # botocore's Stubber lets a stream be one dict, in which each kind of event comes once.
        self.dicts: Iterable[Any] = [stream] if isinstance(stream, Mapping) else stream
        self.close: Callable[[], None] = getattr(stream, "close", lambda: None)
        self._raw = getattr(stream, "_raw_stream", None)

    def shutdown(self) -> None:
        if not shut(self._raw):  # botocore's `close` alone would wait for a read that blocks
            self.close()


def _stream_of(response: Any) -> Any:
    if not isinstance(response, Mapping) or "stream" not in response:
        raise RequestError(
            f"A Reply is made from the response of converse_stream; this is a {type(response).__name__}"
            " without a 'stream'.",
            remedy="Pass what client.converse_stream(...) returned, or use bedrock_nb.stream.",
        )
    stream = response["stream"]
    if isinstance(stream, str | bytes) or not isinstance(stream, Iterable):
        raise RequestError(
            f"The stream of this response is a {type(stream).__name__}.",
            remedy="Events are wanted: botocore's EventStream, or a list of its dicts.",
        )
    return stream


def _read(
    body: TappedBody | _Parsed | Whole, call: Call, recording: Recording, deadline: Deadline
) -> Iterator[Arrival]:
    if isinstance(body, TappedBody):
        return wire_arrivals(body, recording, deadline)
    if isinstance(body, Whole):  # in time, however late it is looked at
        recording.clock = body.clock
        return whole_arrivals(body)
    recording.clock = "parsed"
    return _limited(parsed_arrivals(body.dicts, call.since), deadline)


def _limited(arrivals: Iterator[Arrival], deadline: Deadline) -> Iterator[Arrival]:
    """Keep the limits as well as it can be done without a socket: whenever something comes."""
    for arrival in arrivals:
        if deadline.total_left() <= 0:
            raise deadline.error()
        yield arrival


class Given:
    """A response of ``converse_stream`` that somebody has, its stream not yet read.

    Parameters
    ----------
    response : mapping
    timeouts : Timeouts
        They count from now on, and can be kept only where the bytes are ours to read.

    Raises
    ------
    RequestError
        It is no such response, or is read already.
    """

    opened = True

    def __init__(self, response: Mapping[str, Any], timeouts: Timeouts) -> None:
        stream = _stream_of(response)
        found = tapped(stream)
        self._body: TappedBody | _Parsed = found or _Parsed(stream)
        call = found.call if found is not None else unwired(stream) or Call({}, time.perf_counter)
        self._deadline = Deadline(timeouts, call.since)
        if found is not None:
            found.claim(self._deadline)
        call.envelope = envelope(response)
        self.call = call
        self.since = call.since
        self.close, self.shutdown = self._body.close, self._body.shutdown

    def left(self) -> float:
        """Seconds until the limit of the whole reply."""
        return self._deadline.total_left()

    def arrivals(self, recording: Recording) -> Iterator[Arrival]:
        """What came, one network read at a time."""
        self.call.describe(recording)
        return _read(self._body, self.call, recording, self._deadline)


def backoff(attempt: int) -> float:
    """Seconds to wait before retry number ``attempt``, from 1: random below 1, 2, 4 … 20.

    As botocore's standard mode does it; random, so that those who were throttled together do not come back
    together (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
    """
    return random.random() * min(20.0, 2.0 ** (attempt - 1))


#: What a stream may begin with and be asked again for.
RETRIED = (ThrottlingFault, ServiceUnavailableFault)


class Calling:
    """A call of a model, from before its connection to the end of its body.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
        Or any object with its ``converse_stream``, and with its ``converse`` for a plain call.
    params : mapping
        Its keyword arguments.
    timeouts : Timeouts, optional
        By default those of the client.
    retries : int
        How often to ask again when the stream begins with throttling or lack of room and nothing has been
        shown. Attempts before the head are boto3's own affair.
    pause : function
        From the number of a retry to the seconds to wait before it.
    streaming : bool
        False makes the plain call: the arguments are those of ``converse_stream`` all the same. It is
        refused and never begun with a fault, so ``retries`` has nothing to do.

    Raises
    ------
    RequestError
        The object is no such client, or an argument has no such name.
    """

    def __init__(
        self,
        client: Any,
        params: Mapping[str, Any],
        timeouts: Timeouts | None = None,
        *,
        retries: int = 0,
        pause: Callable[[int], float] = backoff,
        streaming: bool = True,
    ) -> None:
        install(client, streaming=streaming)
        check_members(client, params)
        params = params if streaming else plain_params(params)
        self.client, self.opened, self.streaming = client, False, streaming
        self._params, self._retries, self._pause = params, retries, pause
        self.call = Call(params, clock_of(client))
        self.since = self.call.since
        self._deadline = Deadline(timeouts or timeouts_of(client), self.call.since)
        self._retried: list[dict[str, Any]] = []  # attempts that began with a fault
        self._changed = threading.Condition()
        self._stopped = False
        self._response: Mapping[str, Any] | BaseException | None = None
        self._body: TappedBody | _Parsed | Whole | None = None

    def arrivals(self, recording: Recording) -> Iterator[Arrival]:
        """The head, which brings no event; then what came, one network read at a time."""
        if not self.streaming:
            recording.envelope["operation"] = "Converse"
        for attempt in range(1, self._retries + 2):
            body = self._open(recording)
            yield self.call.since(), 0, []
            arrivals = _read(body, self.call, recording, self._deadline)
            if attempt <= self._retries:
                held, failed = yield from until_shown(arrivals)
                fault = failed and as_our_error(failed)
                if isinstance(fault, RETRIED):
                    self._give_up(recording, fault, attempt)
                    continue
                yield from held
                if failed is not None:
                    raise failed
            yield from arrivals
            return

    def _open(self, recording: Recording) -> TappedBody | _Parsed | Whole:
        """Call, and wait for the response's head."""
        threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="bedrock_nb.call", daemon=True
        ).start()
        with self._changed:
            self._wait(inf, until=lambda: self._response is not None)
            response = self._response
            self.call.describe(recording)  # also of one that is given up: how far it got
            if response is None:
                self.call.serving.abandon()
                raise self._why()
        if isinstance(response, BaseException):
            raise self._ours(response)
        self._body = body = self._body or _Parsed(_stream_of(response))
        if self._stopped:
            raise self._why()
        if isinstance(body, TappedBody):
            body.claim(self._deadline, awaited=True)
        recording.envelope |= envelope(response)
        if self._retried:
            recording.envelope["retries"] += len(self._retried)
            recording.envelope["retried"] = list(self._retried)
        self.opened = True
        return body

    def _wait(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Wait for a condition, a time, a limit or a stop, whichever comes first."""
        end = self.call.clock() + seconds
        while not (until() or self._stopped):
            left = min(end - self.call.clock(), self._deadline.left())
            if left <= 0:
                return
            self._changed.wait(None if left == inf else min(left, threading.TIMEOUT_MAX))

    def _why(self) -> Exception:
        if self._stopped:
            return ConnectionLost("The call was given up.")
        return given_up(self._deadline, self.call.refused)

    def _run(self) -> None:
        """In a thread: what may block for long, and what nobody can interrupt."""
        calling(self.call)
        found: TappedBody | Whole | None
        try:
            if self.streaming:
                response: Any = self.client.converse_stream(**self._params)
                found = tapped(response["stream"]) if isinstance(response, Mapping) else None
            else:
                response = self.client.converse(**self._params)
                found = self._whole(response)
        except BaseException as err:
            response, found = err, None
        finally:
            Serving.nowhere()
        with self._changed:
            if not self.call.serving.abandoned:
                self.call.serving.over()
                self._response, self._body = response, found
                self._changed.notify_all()
                return
        if found is not None:  # too late: nobody wants it any more
            found.close()

    def _whole(self, response: Any) -> Whole:
        """The answer of a plain call: its own JSON, which has all that botocore's model does not know yet."""
        if self.call.whole is None:  # it was never on a wire: a stub's, a stand-in's
            return Whole(jsonable(response), self.call.since(), "parsed")
        t, body = self.call.whole
        return Whole(json.loads(body), t - self.call.t0, "wire")

    def _ours(self, err: BaseException) -> BaseException:
        return self._why() if isinstance(err, Abandoned) else gone(self.client, err)

    def _give_up(self, recording: Recording, fault: ServiceFault, attempt: int) -> None:
        """Let a failed attempt go, note it, and wait before the next."""
        self.close()
        recording.mark(f"{fault.code} {attempt}", self.call.since())
        recording.forget()
        self._retried.append({"code": fault.code, "request_id": recording.envelope.get("request_id", "")})
        with self._changed:
            self._response = self._body = None
            self._deadline.heard = None  # what is waited for is a first event again
            self._wait(self._pause(attempt))
            if self._stopped or self._deadline.left() <= 0:
                raise self._why()

    def instead(self, params: Mapping[str, Any]) -> None:
        """Ask for something else, on the same clock and within the same limits."""
        with self._changed:
            self._params = params if self.streaming else plain_params(params)
            self._response = self._body = None

    def left(self) -> float:
        """Seconds until the limit of the whole reply."""
        return self._deadline.total_left()

    def shutdown(self) -> None:
        """Give it up, from any thread: whoever waits for it is woken, the server hears of it."""
        with self._changed:
            self._stopped = True
            if self._response is None:
                self.call.serving.abandon()
            body = self._body
            self._changed.notify_all()
        if body is not None:
            body.shutdown()

    def close(self) -> None:
        """Let the connection go."""
        if self._response is None:
            self.shutdown()
        if self._body is not None:
            self._body.close()


def until_shown(
    arrivals: Iterator[Arrival],
) -> Generator[Arrival, None, tuple[list[Arrival], Exception | None]]:
    """Hold arrivals back up to the first that shows anything of an answer: for each one without an event.

    Returns those that are held, and what failed before, if anything did.
    """
    held: list[Arrival] = []
    try:
        for arrival in arrivals:
            events = [event for parts, _ in arrival[2] for event in parts]
            faults = [event.error for event in events if isinstance(event, StreamFault)]
            held.append(arrival)
            if faults and all(isinstance(event, MessageStart | StreamFault) for event in events):
                return held, faults[0] if isinstance(faults[0], RETRIED) else None
            if any(not isinstance(event, MessageStart) for event in events):
                break
            yield arrival[0], arrival[1], []
    except Exception as err:
        return held, err
    return held, None


def gone(client: Any, err: BaseException) -> BaseException:
    """What a call failed with, or, if that was a connection to the embedded server, that there is none."""
    if not isinstance(err, EndpointConnectionError) or not _is_loopback(client):
        return err
    if getattr(err.kwargs.get("error"), "errno", None) in (errno.EMFILE, errno.ENFILE):
        return err  # this process has too many open files
    away = ServerError(
        "The embedded server does not answer: it has gone away.",
        remedy="Run `client = bedrock_nb.connect()` again, which starts one.",
    )
    away.__cause__ = err
    return away


def _is_loopback(client: Any) -> bool:
    return urlsplit(client.meta.endpoint_url).hostname in ("127.0.0.1", "localhost", "::1")


def given_up(deadline: Deadline, refused: int) -> StreamTimeout:
    """What a call that waited for its head until a limit is to raise."""
    error = deadline.error()
    if refused:
        error.what += f" Until then the service had answered {refused}, and boto3 tried again."
    return error


def check_members(client: Any, params: Mapping[str, Any]) -> None:
    """Name a misspelt argument: botocore's own list knows nothing of the short names."""
    try:
        known = set(client.meta.service_model.operation_model("ConverseStream").input_shape.members)
    except AttributeError:  # no boto3 client
        return
    for name in params.keys() - known:
        close = get_close_matches(name, [*known, *(f.name for f in fields(Request))], n=1)
        raise RequestError(
            f"There is no setting {name!r}.",
            remedy=f"Is it {close[0]!r}?" if close else "`bedrock_nb.stream?` lists the settings.",
        )
