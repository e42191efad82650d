"""Cells -> replies: the way in which every experiment asks.

Strategy: a reply that fails is a result like any other. Its recording says how it ended, so nothing is
raised for it; what is raised is the caller's own affair: an argument that cannot work, a disk that is full,
keys that are missing, an embedded server that is gone. Several cells are asked at once by as many tasks,
which take turns at one list: so cells begin in its order.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from bedrock_nb.aio import AsyncReply, astream
from bedrock_nb.errors import StreamError
from bedrock_nb.experiment.grid import Cell
from bedrock_nb.recording import Recording

__all__ = ["Pace", "ask", "ask_all", "reply_to"]


def reply_to(client: Any, cell: Cell, **options: Any) -> AsyncReply:
    """The reply of one cell; nothing is sent before somebody awaits it.

    Raises
    ------
    RequestError
        An argument that cannot work.
    CapabilityError
        The model is known not to be able to do it.
    """
    return astream(client, cell.request, labels=dict(cell.labels), **{**cell.options, **options})


async def ask(client: Any, cell: Cell, **options: Any) -> Recording:
    """Ask one cell, to the end of its reply.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    cell : Cell
    **options
        Arguments of `astream` besides the cell's own, such as ``journal``.

    Returns
    -------
    Recording
        Also of a reply that failed: see its ``status`` and ``error``.

    Raises
    ------
    RequestError
        An argument that cannot work.
    RecordingError
        The journal cannot be opened.
    CredentialsError, ServerError
        There is nobody to ask, or no key: what no other cell will change.
    asyncio.CancelledError
        The task was cancelled; the reply is closed.
    """
    reply = reply_to(client, cell, **options)
    with contextlib.suppress(StreamError):
        await reply.drain()
    recording: Recording = reply.recording
    return recording


async def ask_all(
    cells: Sequence[Cell],
    one: Callable[[Cell], Awaitable[object]],
    *,
    concurrency: int = 1,
    pace: Pace | None = None,
    over: Callable[[], object] = lambda: None,
) -> None:
    """Ask cells in their order, several at once.

    Parameters
    ----------
    cells : list of Cell
    one : coroutine function
        Asks one.
    concurrency : int
        So many at once.
    pace : Pace, optional
        How fast one may begin after the other.
    over : function
        Looked at before each: once it says anything but None, nothing more begins.

    Raises
    ------
    Exception
        What ``one`` raised first; the others were cancelled, and have ended.
    """
    queue = iter(cells)

    async def work() -> None:
        for cell in queue:
            if over() is None and pace is not None:
                await pace.wait()
            if over() is not None:
                return
            await one(cell)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(concurrency, len(cells))):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


class Pace:
    """At most so many starts a second, evenly spread; who comes late does not catch up.

    Parameters
    ----------
    rate : float
        Starts a second.
    clock : function
        Monotonic seconds.
    sleep : coroutine function
    """

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._gap, self._clock, self._sleep = 1.0 / rate, clock, sleep
        self._next = clock()

    async def wait(self) -> None:
        """Wait for the next start."""
        now = self._clock()
        at = max(now, self._next)
        self._next = at + self._gap
        if at > now:
            await self._sleep(at - now)
