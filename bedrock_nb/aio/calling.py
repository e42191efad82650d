"""Where the events of an `AsyncReply` come from: a call that this event loop makes.

Strategy: the twin of `bedrock_nb.calling.Calling`, in two steps for each network read. `fetch` waits for it
and keeps what it brought, or what went wrong; `arrivals` makes events of that, as for every other reply, and
waits for nothing. Time limits are watched by one timer for the whole call: it looks where the call stands,
and comes back when the next limit could be reached. So an event costs no timer of its own.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from math import inf
from typing import Any

import aiohttp

from bedrock_nb.aio.attempts import answer, of_the_body
from bedrock_nb.aio.pulse import Pulse, in_loop, pulse
from bedrock_nb.aio.session import Stamped, socket_of, way_of
from bedrock_nb.aio.signing import check_sends
from bedrock_nb.body import Call
from bedrock_nb.calling import RETRIED, backoff, check_members, given_up, gone, until_shown
from bedrock_nb.errors import ServiceFault
from bedrock_nb.intake import Arrival, as_our_error, whole_arrivals, wire_arrivals
from bedrock_nb.recording import Recording
from bedrock_nb.tap import check_client, clock_of, timeouts_of
from bedrock_nb.timeouts import Deadline, Timeouts
from bedrock_nb.whole import Whole, plain_params

__all__ = ["AsyncBody", "AsyncCalling"]

#: Bytes that waited for longer than this, seconds, came late.
_LATE = 0.01


class AsyncBody:
    """The body of a response, read by the event loop: an `intake.Body`.

    ``read`` gives what `fetch` kept, and raises what went wrong. Bytes carry the time at which they left
    their socket, where that is known; otherwise that at which the loop got round to them.
    """

    tls = False  # one read may bring several records

    def __init__(self, http: aiohttp.ClientResponse, call: Call) -> None:
        assert call.headers is not None
        self.t, self.number = call.headers - call.t0, 0  # at first, with the response's head
        self.late = self.waited = self.doubt = 0.0
        self.held = 0.0  # longest time that bytes may have waited because the loop was busy, seconds
        self.away: float | None = 0.0
        self.enough = False  # the rest is not wanted
        self.failed: Exception | None = None
        self._http, self._call, self._content = http, call, http.content
        self._all_there = http.content.is_eof()
        # Another clock than the socket's is somebody's own: then only that counts.
        self._socket: Stamped | None = socket_of(http) if call.clock is time.perf_counter else None
        self._seen = 0
        if self._socket is not None:
            self._seen, self._socket.first = self._socket.number, None
        self._data: bytes | None = None

    async def fetch(self) -> None:
        """Wait for the next network read, unless something is kept; at the end that brings nothing."""
        if self._data is not None or self.failed is not None or self.enough:
            return
        assert self.away is not None
        self.away += max(0.0, self._call.since() - self.t)
        broken: Exception | None = None
        try:
            self._data = await self._content.readany()
        except (aiohttp.ClientError, OSError) as err:
            broken = err
        if not self._data and self._socket is not None:  # for aiohttp a body without a length has a good end
            broken = self._socket.broken or broken
        if broken is not None:
            self._data, self.failed = None, of_the_body(broken, self._http.headers)
            return
        if self._socket is not None:
            self._notice(self._socket)
        elif not self._all_there:
            self.t = self._call.since()
            self.number += 1

    def _notice(self, sock: Stamped) -> None:
        """When it came; of several reads of the socket it is not known which bytes are whose."""
        if sock.number == self._seen:
            return
        first, sock.first = sock.first, None
        self._seen, self.t = sock.number, sock.t - self._call.t0
        self.number += 1
        self.doubt = sock.late if first is None else max(sock.late, sock.t - first)
        self.waited = self.doubt if self.doubt > _LATE else 0.0
        self.held = max(self.held, self.waited)

    def read(self) -> bytes:
        """What was fetched."""
        data, self._data = self._data, None
        if data is None:
            assert self.failed is not None
            raise self.failed
        return data

    def close(self) -> None:
        """Close the connection, unless the body was read to its end and the connection is free again."""
        self._http.close()


class AsyncCalling:
    """A call of a model, from before its connection to the end of its body; in an event loop.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    params : mapping
        The keyword arguments of its ``converse_stream``.
    timeouts : Timeouts, optional
        By default those of the client.
    retries : int
        How often to ask again when the stream begins with throttling or lack of room.
    pause : function
        From the number of a retry to the seconds to wait before it.
    streaming : bool
        False makes the plain call.
    sleep : function
        Waits for a number of seconds.

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
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        check_client(client, operations=("converse_stream" if streaming else "converse",))
        check_sends(client)
        check_members(client, params)
        self.client, self.opened, self.streaming = client, False, streaming
        self.operation = "ConverseStream" if streaming else "Converse"
        self._params = params if streaming else plain_params(params)
        self._timeouts = timeouts or timeouts_of(client)
        self._retries, self._pause, self._sleep = retries, pause, sleep
        self._retried: list[dict[str, Any]] = []  # attempts that began with a fault
        self.call = Call(self._params, clock_of(client))
        self.since = self.call.since
        self.over = False  # a limit ended it …
        self.give_up: Callable[[], object] = lambda: None  # … and then this is called
        self.waits = True  # for the service, and not for whoever takes its events
        self._deadline = Deadline(self._timeouts, self.since)
        self._due = 0.0  # before the next attempt to get a stream, this pause
        self._answered: aiohttp.ClientResponse | None = None
        self._body: AsyncBody | None = None
        self._failed: BaseException | None = None
        self._held = False  # there is more to hand out before anything is waited for
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pulse: Pulse | None = None

    def begin(self) -> None:
        """The call begins now, and with it its limits."""
        self.call.t0, self.call.started = self.call.clock(), time.time()
        self._deadline = Deadline(self._timeouts, self.since)
        self._loop, self._pulse = asyncio.get_running_loop(), pulse()
        self._pulse.begin()
        self._silent = way_of(self.client).read_s or inf
        self._watch()

    def _watch(self) -> None:
        """Look whether a limit is reached, and come back when the next one could be."""
        assert self._loop is not None
        limits = self._timeouts
        left = self._deadline.left() if self.waits else self._deadline.total_left()
        if left <= 0:
            opened = self._body is not None
            self._end(self._deadline.error() if opened else given_up(self._deadline, self.call.refused))
            return
        # The next event begins the idle limit anew, which may be the shorter one.
        quiet = self._silent
        if self._body is not None and self.waits:
            quiet -= self.since() - max(self._body.t, self._deadline.back)
            if quiet <= 0:
                self._end(as_our_error(TimeoutError()))
                return
        soon = min(left, limits.idle, quiet)
        if soon < inf:
            self._timer = self._loop.call_later(soon, self._watch)

    def _end(self, error: Exception) -> None:
        """Let this be what went wrong, and wake whoever waits."""
        self.over = True
        if self._body is not None:
            self._body.failed = error
        else:
            self._failed = error
        self.give_up()

    def fetch(self) -> Awaitable[None]:
        """Wait for the head, or for the next network read; what goes wrong is kept, to be raised in turn."""
        # No coroutine of its own: one is made for every read as it is.
        return self._call() if self._body is None or self._held else self._body.fetch()

    async def _call(self) -> None:
        if self._answered is None and self._failed is None:
            try:
                if self._due:
                    await self._sleep(self._due)
                self._answered = await answer(
                    self.client, self.operation, self._params, self.call, sleep=self._sleep
                )
            except Exception as err:
                self._failed = gone(self.client, err)

    def arrivals(self, recording: Recording) -> Iterator[Arrival]:
        """The head, which brings no event; then what came, one network read at a time. After each `fetch`."""
        if not self.streaming:
            recording.envelope["operation"] = "Converse"
        for attempt in range(1, self._retries + 2):
            body = self._open(recording)
            yield self.since(), 0, []
            if isinstance(body, Whole):
                yield from whole_arrivals(body)
                return
            arrivals = wire_arrivals(body, recording, self._deadline)
            if attempt <= self._retries:
                held, failed = yield from until_shown(arrivals)
                fault = failed and as_our_error(failed)
                if isinstance(fault, RETRIED):
                    self._again(recording, fault, attempt)
                    yield self.since(), 0, []
                    continue
                for number, arrival in enumerate(held, 1):
                    self._held = number < len(held) or failed is not None
                    yield arrival
                if failed is not None:
                    raise failed
            yield from arrivals
            if body.held:
                recording.problems.append(
                    f"The event loop was late: bytes may have waited {body.held * 1000:.0f} ms while other "
                    "work held it. What computes or waits for long belongs into a thread: asyncio.to_thread."
                )
            return

    def _open(self, recording: Recording) -> AsyncBody | Whole:
        """What `fetch` found."""
        call, found = self.call, self._answered
        call.describe(recording)  # also of one that is given up: how far it got
        if self._failed is not None:
            raise self._failed
        assert found is not None
        if self._retried:
            recording.envelope["retries"] += len(self._retried)
            recording.envelope["retried"] = list(self._retried)
        self.opened = True
        if not self.streaming:
            assert call.whole is not None
            t, body = call.whole
            return Whole(json.loads(body), t - call.t0, "wire")
        self._body = AsyncBody(found, call)
        return self._body

    def _again(self, recording: Recording, fault: ServiceFault, attempt: int) -> None:
        """Let a failed attempt go, and note it: the next `fetch` pauses and asks again."""
        if self._answered is not None:
            self._answered.close()
        recording.mark(f"{fault.code} {attempt}", self.since())
        recording.forget()
        self._retried.append({"code": fault.code, "request_id": recording.envelope.get("request_id", "")})
        self._answered = self._body = None
        self._deadline.heard = None  # what is waited for is a first event again
        self._due = self._pause(attempt)

    def resumed(self) -> None:
        """Somebody takes what comes again: the service was not silent meanwhile."""
        self.waits, self._deadline.back = True, self.since()

    def left(self) -> float:
        """Seconds until the limit of the whole reply."""
        return self._deadline.total_left()

    def shutdown(self) -> None:
        """Let the connection go; whoever waits for it is woken by those who own the task."""
        self.close()

    def close(self) -> None:
        """Let the connection go, from any thread."""
        loop = self._loop
        if loop is not None:
            in_loop(loop, self._let_go)

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._pulse is not None:
            self._pulse.end()
        self._timer = self._pulse = None
        if self._answered is not None:
            self._answered.close()
