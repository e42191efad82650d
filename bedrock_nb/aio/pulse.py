"""How late an event loop is, known at any moment.

Strategy: a timer that comes every few milliseconds while replies are read. When it is overdue, other code has
held the loop since it was due, and what a socket has by then may have come at any time since. So a loop that
somebody blocks is noticed, and one that has too much to do: neither can be seen from the bytes.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable
from math import inf

__all__ = ["Pulse", "in_loop", "pulse"]

#: The timer's period, seconds: so much of a delay it may miss.
_EVERY = 0.005
#: Timers of an idle loop come late by less than this, seconds (its selector counts in milliseconds).
_TOLERATED = 0.002


class Pulse:
    """The timer of one loop.

    Attributes
    ----------
    due : float
        When it is to come next, by ``time.perf_counter``.
    """

    def __init__(self) -> None:
        self.due = inf
        self._users = 0
        self._timer: asyncio.TimerHandle | None = None

    def late(self, t: float) -> float:
        """For how long what is found at a time may have waited, seconds; 0 if the loop was in time."""
        over = t - self.due
        return over + _EVERY if over > _TOLERATED else 0.0

    def begin(self) -> None:
        """One more reads, in the running loop."""
        self._users += 1
        if self._users == 1:
            self._beat()

    def end(self) -> None:
        """One less does."""
        self._users -= 1
        if self._users == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer, self.due = None, inf  # the timer would keep the loop

    def _beat(self) -> None:
        self.due = time.perf_counter() + _EVERY
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._beat)


_pulses: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Pulse] = weakref.WeakKeyDictionary()


def pulse() -> Pulse:
    """That of the running loop."""
    return _pulses.setdefault(asyncio.get_running_loop(), Pulse())


def in_loop(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> bool:
    """Call a function in a loop: at once if this is its thread, else soon. False if the loop is closed."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        function()
        return True
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return False
    return True
