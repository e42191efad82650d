"""A reply that is read by a task of its own, whatever its consumers do meanwhile.

Strategy: as `background.Pump`, without a thread. The task takes what the network brings and makes events of
it; a consumer waits until there is something that it has not seen, and nobody waits for another. Whoever
wants no more than the end is woken once, so draining costs nothing for an event. The task does not hold the
reply: one that nobody holds is closed.
"""

from __future__ import annotations

import asyncio

from bedrock_nb.aio.calling import AsyncCalling
from bedrock_nb.aio.pulse import in_loop
from bedrock_nb.background import Kept, Window
from bedrock_nb.errors import RequestError
from bedrock_nb.events import Event
from bedrock_nb.intake import Intake
from bedrock_nb.observers import Audience

__all__ = ["Reading"]


class Reading:
    """The task that reads a reply, and those who wait for it.

    Parameters
    ----------
    intake : Intake
    source : AsyncCalling
    store : Kept or Window
    audience : Audience

    Attributes
    ----------
    over : bool
        Everything that came is in the store, and nothing more will.
    """

    def __init__(
        self, intake: Intake, source: AsyncCalling, store: Kept | Window, audience: Audience
    ) -> None:
        self._intake, self._source, self._store, self._audience = intake, source, store, audience
        self.over = False
        self._loop = asyncio.get_running_loop()
        self._news: list[asyncio.Future[None]] = []  # of those who wait for anything
        self._end: list[asyncio.Future[None]] = []  # of those who wait for the end
        self._room: asyncio.Future[None] | None = None  # of the task itself
        source.begin()
        self._task = self._loop.create_task(self._run(), name="bedrock_nb.reply")
        self._task.add_done_callback(self._ended)
        source.give_up = self._task.cancel

    async def _run(self) -> None:
        intake, source, store, audience = self._intake, self._source, self._store, self._audience
        try:
            while not intake.done:
                try:
                    if store.full:
                        await self._until_room()
                    await source.fetch()
                except asyncio.CancelledError:
                    if not source.over:
                        raise
                    if (task := asyncio.current_task()) is not None:
                        task.uncancel()
                fresh = intake.advance()
                store.add(fresh)
                if audience.seats or intake.done:
                    audience.tell(fresh)
                if self._news:
                    _wake(self._news)
        except BaseException as err:  # it must not end in silence
            if not isinstance(err, asyncio.CancelledError):
                intake.abort(RuntimeError(f"the task that read it ended: {type(err).__name__}"))
                audience.tell([])
            if not isinstance(err, Exception):
                raise

    def _ended(self, task: asyncio.Task[None]) -> None:
        """The task is over; one that is cancelled at once has never begun."""
        if not task.cancelled():
            task.exception()  # asked for, so that asyncio does not complain that nobody did
        self._intake.cancelled = self._intake.cancelled or not self._intake.done
        self._cancelled()
        self._source.close()
        self.over = True
        _wake(self._news)
        _wake(self._end)

    async def _until_room(self) -> None:
        """Wait until somebody has taken something: the service feels it through TCP."""
        self._source.waits = False
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None
            self._source.resumed()

    async def take(self, seq: int) -> tuple[list[Event], int, bool]:
        """Events from number ``seq`` on, when there are any; the number that follows; whether none will."""
        store = self._store
        if not self.over:
            self._check_loop()
        store.release(seq)
        self._make_room()
        while store.count <= seq and not self.over:
            await self._wait(self._news)
        fresh, end = store.after(seq)
        self._make_room()
        return fresh, end, self.over and not fresh

    async def head(self) -> None:
        """Wait for the head of the response, or for the end."""
        while not (self._source.opened or self.over):
            await self._wait(self._news)

    async def end(self) -> None:
        """Wait for the end."""
        while not self.over:
            await self._wait(self._end)

    def _check_loop(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            raise RequestError(
                "This reply is read by another event loop.",
                remedy="Await it in the loop in which its call began.",
            )

    async def _wait(self, among: list[asyncio.Future[None]]) -> None:
        self._check_loop()
        future = self._loop.create_future()
        among.append(future)
        await future

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done() and not self._store.full:
            self._room.set_result(None)

    def stop(self) -> None:
        """End the reply as cancelled, from any thread; in its own loop that is done when this returns."""
        intake = self._intake
        if intake.done:
            return
        intake.cancelled = True
        if not in_loop(self._loop, self._stop):
            self._cancelled()

    def _stop(self) -> None:
        if not self._intake.busy:  # else it is in there just now, and this is a signal's handler
            self._cancelled()
        self._task.cancel()

    def _cancelled(self) -> None:
        """End it as that, if it has not ended yet."""
        if not self._intake.done:
            self._intake.finish("cancelled")
            self._audience.tell([])


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    woken, waiting[:] = waiting[:], []
    for future in woken:
        if not future.done():  # nobody waits any more
            future.set_result(None)
