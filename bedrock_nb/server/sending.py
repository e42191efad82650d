"""How an answer leaves: each write when it is due, and a note of when it really was.

Strategy: due times count from the moment that the answer's turn came, so that lateness never adds up. A whole
recording is encoded on the event loop, a write ahead; an answer that is still being made is pulled in a
thread, event by event, and sent as it comes. Every write is noted in the request's `Truth`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from bedrock_nb.recording import Recording
from bedrock_nb.server.guarding import settled
from bedrock_nb.server.guardrail import Guardrail
from bedrock_nb.server.operations import Operation
from bedrock_nb.server.perform import (
    Change,
    Ending,
    Step,
    Write,
    dumps,
    exact_steps,
    rows,
    steps,
    writes,
)
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.responders import Coming
from bedrock_nb.server.truths import Truth

__all__ = ["Pace", "Sending", "plain"]

_FEW = 32  # answers on their way
_TOGETHER = 0.001  # seconds


class Pace:
    """Waits until writes are due, for all answers of a server.

    Strategy: to wake costs more than to write. So where many answers are on their way, all that is due within
    a millisecond leaves together, at the end of it; where few are, each write is waited for by itself.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.open = clock, 0

    async def until(self, due: float) -> None:
        """Wait until then; also if it is past, for a moment: whoever is late lets others have their turn."""
        if self.open > _FEW:
            due = math.ceil(due / _TOGETHER) * _TOGETHER
        await asyncio.sleep(max(0.0, due - self.clock()))


@dataclass(frozen=True)
class Sending:
    """One answer on its way.

    Parameters
    ----------
    http : aiohttp.web.Request
        To whom.
    operation : Operation
        In which form.
    kwargs : mapping
        What was asked, as the arguments of ``converse_stream``.
    fault : function, optional
        What goes wrong.
    truth : Truth
        What is noted.
    threads : Executor
        Where answers that are still being made are waited for.
    pace : Pace
        The server's.
    guardrails : sequence of Guardrail
        Those whose words may be all of a plain answer.
    """

    http: web.Request
    operation: Operation
    kwargs: Mapping[str, Any]
    fault: Change | None
    truth: Truth
    threads: Executor
    pace: Pace
    guardrails: Sequence[Guardrail] = ()

    async def send(self, answer: Recording | Coming) -> web.StreamResponse:
        """Send any answer; returns when it is over, however it ends.

        Raises
        ------
        Refusal
            The answer is an error in place of a stream.
        """
        if isinstance(answer, Coming):
            try:
                return await self._coming(answer)
            finally:
                self.threads.submit(answer.close)
        return await (self._stream(answer) if self.operation.streams else self._whole(answer))

    async def _coming(self, answer: Coming) -> web.StreamResponse:
        loop = asyncio.get_running_loop()
        if not self.operation.streams:
            return await self._whole(await loop.run_in_executor(self.threads, answer.collect, self.kwargs))
        made = steps(answer.rows(), self.operation.frames(self.kwargs, None))
        pending = writes(made if self.fault is None else self.fault(made), joined=False)
        return await self._perform(pending, threaded=True)

    async def _stream(self, recording: Recording) -> web.StreamResponse:
        made = exact_steps(recording) if self.operation.exact else None
        if made is None:
            made = steps(rows(recording), self.operation.frames(self.kwargs, recording))
        pending = writes(made if self.fault is None else self.fault(made))
        # In a task of its own: its many wake-ups need not go through all who wait for it.
        self.pace.open += 1
        try:
            return await asyncio.create_task(self._perform(pending))
        finally:
            self.pace.open -= 1

    async def _perform(self, pending: Iterator[Write], *, threaded: bool = False) -> web.StreamResponse:
        headers = {
            "Content-Type": "application/vnd.amazon.eventstream",
            **self.operation.headers(self.kwargs),
        }
        response = web.StreamResponse(headers=headers)
        truth, clock, loop = self.truth, time.monotonic, asyncio.get_running_loop()
        arrived, begin = truth.arrived, truth.arrived + truth.queued_s
        try:
            while True:
                if threaded:
                    write = await loop.run_in_executor(self.threads, next, pending, None)
                else:
                    write = next(pending, None)
                if write is None:
                    break
                due = begin + write.due
                await self.pace.until(due)
                if not isinstance(write.data, bytes):
                    await self._break_off(write.data)
                    return response
                begun = clock()
                if truth.http_status is None:
                    await response.prepare(self.http)  # it is the head
                    truth.http_status = 200
                if write.data:
                    await response.write(write.data)
                    truth.wrote(
                        due - arrived, begun - arrived, clock() - arrived, len(write.data), write.events
                    )
            truth.end("complete")  # before the client can know, and ask for it
            await response.write_eof()
        except ConnectionError:
            truth.end("gone")  # there is nobody to tell
        return response

    async def _whole(self, recording: Recording) -> web.StreamResponse:
        head = iter([Step(max(recording.times, default=0.0), b"", whole=False)])
        step = next(head if self.fault is None else self.fault(head))  # there are no events to count
        due = self.truth.queued_s + step.due
        await self.pace.until(self.truth.arrived + due)
        if not isinstance(step.data, bytes):
            await self._break_off(step.data)
            return web.Response()
        whole = self.operation.whole(settled(recording, self.guardrails), self.kwargs["modelId"])
        body = dumps(whole.body)
        now = time.monotonic() - self.truth.arrived
        self.truth.wrote(due, now, now, len(body), 0)
        return plain(body, self.truth, whole.headers)

    async def _break_off(self, how: Refusal | Ending) -> None:
        """End it otherwise than a sound one; on what is left of its connection, aiohttp sends nothing."""
        if isinstance(how, Refusal):
            raise how
        self.truth.end("broken")
        if self.http.transport is not None:  # else the client was quicker
            await how(self.http.transport)


def plain(body: bytes, truth: Truth, headers: Mapping[str, str] | None = None) -> web.Response:
    """A whole answer of JSON."""
    truth.http_status = 200
    return web.Response(body=body, content_type="application/json", headers=headers)
