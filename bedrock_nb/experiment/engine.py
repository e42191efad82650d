"""Many calls from one thread: an event loop beside the notebook's own.

Strategy: whoever runs an experiment waits for it, and a notebook's cell runs inside of a loop already. So
the calls run in a loop in a thread of their own, and the caller's thread waits, paints what there is to see
(widgets and bars belong to it), and hears the interrupt: that cancels the calls, which end in good order
before anything is raised.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["Halt", "run"]

T = TypeVar("T")

#: Looks in vain until it is told that somebody waits, and what is told then.
_PATIENCE = 5
_WAITING = "Interrupted. What the workers are at is waited for; interrupt again not to wait."


def run(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    tick: Callable[[], object] | None = None,
    every: float = 0.1,
) -> T:
    """Run a coroutine to its end in a new event loop, in a thread of its own.

    Parameters
    ----------
    main : function
        Makes the coroutine, in that thread.
    tick : function, optional
        Called in this thread while it runs, and once at the end.
    every : float
        Seconds between two ticks.

    Raises
    ------
    KeyboardInterrupt
        After the coroutine has been cancelled and has ended, unless it caught the cancellation and returned:
        then what it returned is returned. What ``tick`` raises is raised in any case.
    """
    done: concurrent.futures.Future[T] = concurrent.futures.Future()
    begun: concurrent.futures.Future[Callable[[], object]] = concurrent.futures.Future()

    async def watched() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        begun.set_result(lambda: loop.call_soon_threadsafe(task.cancel))
        return await main()

    def work() -> None:
        try:
            done.set_result(asyncio.run(watched()))
        except BaseException as err:
            begun.cancel()  # unless it had; so that nobody waits for it
            done.set_exception(err)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(work,), name="bedrock_nb.experiment", daemon=True)
    thread.start()
    interrupted: BaseException | None = None
    while True:
        try:
            over = bool(concurrent.futures.wait([done], timeout=every).done)
            if tick is not None and interrupted is None:
                tick()
            if over:  # so the last tick saw the end
                break
        except BaseException as err:  # KeyboardInterrupt, or the tick failed
            if interrupted is not None:
                raise  # a second one: the user does not want to wait
            interrupted = err
            with contextlib.suppress(
                RuntimeError, concurrent.futures.CancelledError
            ):  # it has ended just now
                begun.result()()
    thread.join()
    if interrupted is not None and not isinstance(interrupted, KeyboardInterrupt):
        raise interrupted
    try:
        return done.result()
    except (asyncio.CancelledError, concurrent.futures.CancelledError):
        if interrupted is None:
            raise
        raise interrupted from None


class Halt:
    """How an interrupt ends a loop in a coroutine of `run` that hands out work: what has begun may end.

    Attributes
    ----------
    asked : bool
        There was an interrupt: nothing more is to begin.
    leave : bool
        To be set after another one.
    """

    def __init__(self) -> None:
        self.asked = self.leave = False
        self._waits = 0

    async def look(self, *, waiting: bool) -> bool:
        """Look for an interrupt; whether to leave at once. ``waiting``: nothing ended since the last look."""
        self._waits += self.asked and waiting
        if self._waits == _PATIENCE:
            print(_WAITING)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:  # that is how the engine tells it
            self.asked = True
        return self.leave
