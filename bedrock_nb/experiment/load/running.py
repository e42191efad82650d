"""The engine of a load test: one process, one event loop, a task for each request.

Strategy: the open loop has one task that sleeps until the next start of the schedule and begins it, whatever
became of those before; a loop that was busy begins what is overdue at once, and each row says how late it
was. The closed loop has a task for each user. A reply is read to its end, measured and dropped. Whatever
happens to a request makes a row, so that nothing that failed is missing from the count; only what is wrong
with all of them, such as an argument that boto3 refuses, ends the run.

Times of the run are seconds since it began, on the monotonic clock of this process. Several workers share a
plan and no clock: each has its own begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import count, takewhile
from random import Random
from typing import Any, NamedTuple

from bedrock_nb.aio import AsyncReply, astream
from bedrock_nb.errors import BedrockNbError, CredentialsError, ServerError, StreamError
from bedrock_nb.experiment.load.arrivals import shifts, stage_at, starts
from bedrock_nb.experiment.load.plan import Plan
from bedrock_nb.experiment.load.prompts import Asked
from bedrock_nb.experiment.load.rows import PLACES, Rows, measured
from bedrock_nb.recording import Recording

__all__ = ["Pulse", "perform"]

#: A user whose request failed waits so long at least: calls that fail at once would be asked without end.
_BREATH_S = 0.1
#: What no other request of a run will change: there are no keys, or nobody answers.
_NOBODY = (CredentialsError, ServerError)
#: The system's timers wake us by so much too late, seconds: the rest of a pause is spent on other tasks.
_FINE_S = 0.001
#: So many starts that are overdue begin at once.
_TOGETHER = 64
#: TTFTs that the median of the progress bar is taken of.
_LATEST = 200
#: New objects beyond those that are gone, from which on garbage is collected during a run.
_GARBAGE = 500_000
#: Seconds after which a thread that computes lets another have its turn.
_TURN_S = 0.0005
#: Open files that a process may have, if the system lets it: each request has a socket.
_SOCKETS = 65_536


@dataclass
class Pulse:
    """What is known of a run while it goes on; read by another thread."""

    began: float | None = None
    in_flight: int = 0
    done: int = 0
    failed: int = 0
    ttft_s: deque[float] = field(default_factory=lambda: deque(maxlen=_LATEST))

    def note(self, row: dict[str, Any]) -> None:
        """Count a reply that is at its end."""
        self.done += 1
        self.failed += row["failure"] is not None
        if row["status"] == "complete" and row["ttft_s"] is not None:
            self.ttft_s.append(row["ttft_s"])


class _Place(NamedTuple):
    """Where a request stands in the plan; intended None: when it begins."""

    number: int
    intended: float | None
    stage: int
    level: float
    user: int | None = None


class _Made(NamedTuple):
    """A request that can begin; or why it cannot."""

    labels: dict[str, Any]
    reply: AsyncReply | BedrockNbError


async def perform(
    client: Any,
    plan: Plan,
    *,
    part: int = 0,
    of: int = 1,
    pulse: Pulse | None = None,
    keep: Callable[[Recording], None] | None = None,
) -> Rows:
    """Run one part of a plan, in the loop of this coroutine.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    plan : Plan
    part, of : int
        Which part, of how many.
    pulse : Pulse, optional
        Told of what happens.
    keep : function, optional
        Given the recording of each reply at its end, before it is dropped.

    Returns
    -------
    Rows
        A row per request that began. If this task is cancelled: of those that had, the running ones
        cancelled; their ``status`` is "interrupted" then.

    Raises
    ------
    BedrockNbError
        What is wrong with every request, found at the first of them; also keys that are missing, and an
        embedded server that is gone, as long as there is no complete reply. Later they end the run, which is
        "broken off" then.
    """
    return await _Run(client, plan, part, of, Pulse() if pulse is None else pulse, keep).run()


class _Run:
    """One part of a plan while it runs."""

    def __init__(
        self,
        client: Any,
        plan: Plan,
        part: int,
        of: int,
        pulse: Pulse,
        keep: Callable[[Recording], None] | None,
    ) -> None:
        self._client, self._plan, self._part, self._of = client, plan, part, of
        self._pulse, self._keep = pulse, keep
        self._rows = Rows()
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._main: asyncio.Task[Any] | None = None
        self._all_asked = asyncio.Event()
        self._numbers: Iterator[int] = iter(())  # of the requests of the closed loop …
        self._coming: int | None = None  # … and the next one
        most = plan.max_in_flight
        self._room = None if most is None else asyncio.Semaphore(most)
        self._begin = time.perf_counter()

    def _now(self) -> float:
        return time.perf_counter() - self._begin

    async def run(self) -> Rows:
        """Do all of it; see `perform`."""
        _make_room_for_sockets()
        self._main = asyncio.current_task()
        with _undisturbed():
            self._begin = time.perf_counter()
            self._pulse.began = self._begin
            try:
                await (self._open() if self._plan.loop == "open" else self._closed())
                if self._tasks:
                    await asyncio.wait(self._tasks, timeout=self._plan.grace)
            except asyncio.CancelledError:
                self._rows.status = "interrupted"
            self._main = None  # from here on no broken task cancels it; an interrupt may
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                try:
                    await asyncio.wait(self._tasks)
                except asyncio.CancelledError:
                    self._rows.status = "interrupted"
        if self._broken is not None:
            if not (isinstance(self._broken, _NOBODY) and self._pulse.ttft_s):
                raise self._broken
            self._rows.status = "broken off"  # what came until then is a result, that it ended is another
            self._rows.problems.append(f"The run broke off. {self._broken.what}")
        return self._rows

    # -- when requests begin -----------------------------------------------------------------------

    async def _open(self) -> None:
        """Begin each request when it is its time, and never wait for a reply."""
        plan = self._plan
        schedule = starts(
            plan.stages, plan.arrivals, plan.seed, most=plan.requests, part=self._part, of=self._of
        )
        for start in schedule:
            place = _Place(start.number, start.t, start.stage, start.level)
            made = self._made(place)  # before it is due
            await self._until(start.t)
            if not start.number % _TOGETHER:
                await asyncio.sleep(0)  # who is far behind lets others do something, too
            if await self._enter():
                self._spawn(self._ask(place, made))
            else:
                self._leave_out(place, made)
        if math.isfinite(plan.seconds) and plan.requests is None:
            await self._until(plan.seconds)

    async def _enter(self) -> bool:
        """Wait for a place; False if the run is over, with its grace, before there is one."""
        if self._room is None:
            return True
        left = self._plan.seconds + self._plan.grace - self._now()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left if math.isfinite(left) else None):
                return await self._room.acquire()
        return False

    def _leave_out(self, place: _Place, made: _Made) -> None:
        """Make the row of a request that was meant to begin and never did."""
        never = Recording(labels=made.labels)
        never.status = "cancelled"
        self._rows.add(self._row(place, never, math.nan, math.nan, None))

    async def _closed(self) -> None:
        """Let the users ask, until their time is over or all is asked."""
        plan, users = self._plan, self._plan.most_users
        # Each worker has the share of the requests that it has of the users.
        numbers: Iterator[int] = (n for n in count() if n % users % self._of == self._part)
        if plan.requests is not None:
            most = plan.requests
            numbers = takewhile(lambda number: number < most, numbers)
        self._numbers = numbers
        self._take()
        for user in range(self._part, users, self._of):
            self._spawn(self._user(user))
        if self._tasks:
            await self._rest(plan.seconds)

    def _take(self) -> int | None:
        """The number of the next request; None if all is asked, which is known with the last one."""
        number, self._coming = self._coming, next(self._numbers, None)
        if self._coming is None:
            self._all_asked.set()
        return number

    async def _user(self, user: int) -> None:
        """One user: ask, wait for the answer, think, ask again."""
        plan, chance = self._plan, Random(f"think {self._plan.seed} {user}")
        for begin, end in shifts(plan.stages, user):
            await self._rest(begin)
            while self._now() < end and (number := self._take()) is not None:
                stage = stage_at(plan.stages, self._now())
                place = _Place(number, None, stage.number, stage.at(self._now()), user)
                failed = await self._ask(place)
                pause = max(plan.think.draw(chance), _BREATH_S if failed else 0.0)
                await self._rest(min(self._now() + pause, end))

    async def _rest(self, t: float) -> None:
        """Wait until a time, or until all is asked: then there is nothing to wait for."""
        if (left := t - self._now()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left if math.isfinite(left) else None):
                    await self._all_asked.wait()

    async def _until(self, t: float) -> None:
        if (left := t - self._now()) > _FINE_S:
            await asyncio.sleep(left - _FINE_S)
        while self._now() < t:
            await asyncio.sleep(0)

    # -- one request -------------------------------------------------------------------------------

    def _made(self, place: _Place) -> _Made:
        """A reply that is made and not begun: nothing is sent until somebody waits for it."""
        plan, asked = self._plan, self._plan.prompts.at(place.number)
        labels = self._labels(place, asked)
        settings = {**plan.settings, **asked.settings}
        try:
            return _Made(labels, astream(self._client, asked.prompt, labels=labels, **settings))
        except BedrockNbError as err:
            return _Made(labels, err)

    async def _ask(self, place: _Place, made: _Made | None = None) -> bool:
        """Ask, read the reply to its end, and note its row; True if it failed."""
        labels, reply = made or self._made(place)
        recording = Recording(labels=labels) if isinstance(reply, BedrockNbError) else reply.recording
        error: BedrockNbError | None = None
        started = self._now()
        self._pulse.in_flight += 1
        try:
            if isinstance(reply, BedrockNbError):
                raise reply
            await reply.drain()
        except BedrockNbError as err:
            if isinstance(err, _NOBODY) or (not isinstance(err, StreamError) and not self._rows):
                raise  # nothing left this machine, and nothing will
            error, recording.status = err, recording.status if recording.request else "error"
        finally:
            self._pulse.in_flight -= 1
            if self._room is not None:
                self._room.release()
            self._note(place, recording, started, error)
        if gc.get_count()[0] > _GARBAGE:
            gc.collect()
        return error is not None

    def _labels(self, place: _Place, asked: Asked) -> dict[str, Any]:
        labels = {**self._plan.labels, "stage": place.stage, "level": place.level, "prompt": asked.name}
        return labels if place.user is None else {**labels, "user": place.user}

    def _row(
        self,
        place: _Place,
        recording: Recording,
        started: float,
        ended: float,
        error: BedrockNbError | None,
    ) -> dict[str, Any]:
        intended = started if place.intended is None else place.intended
        row = measured(recording, intended=intended, started=started, ended=ended, error=error)
        return row | {"worker": self._part, "warmup": intended < self._plan.warmup}

    def _note(
        self, place: _Place, recording: Recording, started: float, error: BedrockNbError | None
    ) -> None:
        """Make the row of a reply that is at its end."""
        row = self._row(place, recording, started, self._now(), error)
        self._rows.add(row)
        self._pulse.note(row)
        if self._keep is not None:
            recording.labels |= {name: row[name] for name in PLACES if row.get(name) is not None}
            self._keep(recording)

    # -- tasks -------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)  # held here: the loop itself would let it go
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and self._broken is None:
            self._broken = error
            if self._main is not None:
                self._main.cancel()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Spare a run the pauses of the collector of garbage, and long turns of other threads.

    In a notebook full of libraries one pause takes a third of a second, in which no request starts and no
    event is stamped. A reply leaves no cycles behind, so hardly anything is missed; after many failures,
    whose tracebacks are cycles, `_ask` collects. What was there before the run is not looked at then.

    A thread that computes, such as one that writes recordings, lets others wait for 5 ms by default, which
    is all that a start may be late.
    """
    enabled, frozen, turn = gc.isenabled(), gc.get_freeze_count(), sys.getswitchinterval()
    gc.disable()
    if not frozen:  # else somebody does the same, and undoes it
        gc.freeze()
        sys.setswitchinterval(min(turn, _TURN_S))
    try:
        yield
    finally:
        if not frozen:
            gc.unfreeze()
            sys.setswitchinterval(turn)
        if enabled:
            gc.enable()


def _make_room_for_sockets() -> None:
    """Let this process have as many open files as it may: by default it is often 1,024."""
    with contextlib.suppress(ImportError, OSError, ValueError):  # Windows has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = _SOCKETS if hard == resource.RLIM_INFINITY else min(hard, _SOCKETS)
        if soft != resource.RLIM_INFINITY and soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
