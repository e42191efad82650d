"""One call in an event loop, as timed events: what `astream` returns.

Strategy: all that a reply shows of itself is `answer.Answer`, as for every other; here is how it is waited
for. A task reads it (`reading.Reading`), from the first ``await`` on. Views have places of their own in what
came.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any

from bedrock_nb.aio.calling import AsyncCalling
from bedrock_nb.aio.reading import Reading
from bedrock_nb.answer import Answer
from bedrock_nb.asked import Keeping
from bedrock_nb.background import Kept, Window
from bedrock_nb.errors import RequestError
from bedrock_nb.events import Event, TextDelta
from bedrock_nb.intake import Intake
from bedrock_nb.observers import Audience
from bedrock_nb.recording import Recording, Unrecorded, recordings

__all__ = ["AsyncReply"]


class AsyncReply(Answer):
    """A streamed answer in an event loop: iterate it, iterate it again, look at it while it grows.

    The call begins with the first ``await``, ``async for`` or ``async with``; from then on it is read as fast
    as it comes, whatever you do meanwhile. ``snapshot``, ``status``, ``recording``, ``envelope``, ``error``,
    ``problems`` and ``journal`` can be looked at at any time; ``message``, ``text``, ``parsed``, ``usage``,
    ``stop_reason`` and ``metrics`` once it is over: ``await reply.drain()`` first.

    When a task that waits for it is cancelled, and no other reads it, the reply is cancelled.

    Examples
    --------
    >>> import asyncio
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> async def main():
    ...     async with nb.astream(client, "Count from 1 to 20") as reply:
    ...         async for event in reply:
    ...             pass
    ...     return reply.status, reply.stop_reason
    >>> asyncio.run(main())
    ('complete', 'end_turn')
    """

    _source: AsyncCalling
    _reading: Reading | None = None
    _views = 0  # that are read just now

    def __init__(self, source: AsyncCalling, keeping: Keeping) -> None:
        self._source, self._keeping, self._schema = source, keeping, keeping.schema
        kind = Recording if keeping.record else Unrecorded
        self.recording = kind(source.call.request, labels=keeping.labels, started=source.call.started)
        self._intake = Intake(
            self.recording,
            source.arrivals(self.recording),
            source.close,
            source.since,
            masked=None if keeping.errors is None else keeping.errors == "plain",
            begun=False,
        )
        self._intake.origin = weakref.ref(self)
        self._store: Kept | Window
        if keeping.record:
            self._store = kept = Kept(self._intake, None, "block")
            self._audience = Audience(self._intake, kept.since)
        else:
            self._store = Window(None, "block")
            self._audience = Audience(self._intake)
        self._pulled: deque[Event] = deque()  # for next_event
        self._place = 0
        self._pulling = asyncio.Lock()

    def _begun(self) -> Reading:
        """Let the call begin, if it has not yet.

        Raises
        ------
        RecordingError
            The journal cannot be opened; nothing was sent.
        """
        reading = self._reading
        if reading is None:
            intake = self._intake
            begins = not intake.done  # else it was cancelled before
            if begins:
                intake.journal = self._keeping.journal_of(self.recording)
            self._reading = reading = Reading(intake, self._source, self._store, self._audience)
            self.recording.started = self._source.call.started
            if begins:
                recordings.append(self.recording)
                intake.begin()
            # The task must not hold the reply: when nobody else does, it is closed like any other.
            weakref.finalize(self, _stop_own, os.getpid(), reading).atexit = False
        return reading

    # -- views of the events -----------------------------------------------------------------------

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Every event as it arrives, those made by the fold included; from memory what came before."""
        seq, end = 0, False
        with self._view():
            while not end:
                fresh, seq, end = await self._begun().take(seq)
                for event in fresh:
                    yield event
        self._intake.check()

    async def next_event(self) -> Event | None:
        """Pull: the next event, or None at the end. Keeps a place of its own, that all who pull share."""
        with self._view():
            async with self._pulling:
                return await self._next()

    async def _next(self) -> Event | None:
        while not self._pulled:
            fresh, self._place, end = await self._begun().take(self._place)
            self._pulled.extend(fresh)
            if end:
                self._intake.check()
                return None
        return self._pulled.popleft()

    @property
    async def text_stream(self) -> AsyncIterator[str]:
        """The visible text, piece by piece; every other kind of delta is passed over."""
        async with contextlib.aclosing(aiter(self)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, TextDelta):
                    yield event.text

    async def drain(self) -> AsyncReply:
        """Read to the end; raise what ended the reply if it failed."""
        with self._view():
            reading = self._begun()
            if self._keeping.record:
                await reading.end()
            else:
                end = False
                while not end:
                    _, _, end = await reading.take(self._store.count)
        self._intake.check()
        return self

    def __await__(self) -> Generator[Any, None, AsyncReply]:
        """Wait for the head of the response, as `stream` does."""
        return self._head().__await__()

    async def _head(self) -> AsyncReply:
        with self._view():
            await self._begun().head()
        if not self._source.opened:
            self._intake.check()
        return self

    @contextlib.contextmanager
    def _view(self) -> Iterator[None]:
        """While somebody reads: a cancelled task ends the reply, unless others read it."""
        self._views += 1
        try:
            yield
        except asyncio.CancelledError:
            if self._views == 1:
                self.cancel()
            raise
        finally:
            self._views -= 1

    def _finish(self) -> None:
        if not self._intake.done:
            raise RequestError(
                "This is known at the end of the reply, which has not come yet."
                if self._reading is not None
                else "This is known at the end of the reply, whose call has not begun.",
                remedy="`await reply.drain()` first; `reply.snapshot` is the message so far.",
            )
        self._intake.check()

    def __repr__(self) -> str:
        if self._reading is None and not self._intake.done:
            return f"<{type(self).__name__} {self.recording.model}: not begun>"
        return super().__repr__()

    # -- ending ------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop: close the connection, keep what came. From any task or thread; once is enough."""
        if self._reading is not None:
            self._reading.stop()
        elif not self._intake.done:  # it never begins
            self._intake.finish("cancelled")

    def settle(self, *, wait: bool = False) -> None:
        """End the reply if it was cancelled: the task that reads it does so by itself."""

    async def __aenter__(self) -> AsyncReply:
        return await self

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def _stop_own(pid: int, reading: Reading) -> None:
    """End a reply that nobody holds, unless this is a forked child: the connection is its parent's."""
    if os.getpid() == pid:
        reading.stop()
