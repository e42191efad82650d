"""An event loop that wakes when it was asked to.

asyncio on Linux waits with epoll, whose timeout is whole milliseconds, rounded up: a write due in 0.2 ms
leaves 0.8 ms late, and every timer of the loop is late by half a millisecond on average. Strategy: an epoll
descriptor can itself be waited for, so `PreciseSelector` waits for it with ``select``, whose timeout is in
microseconds, and then asks epoll what happened without waiting. Where there is no epoll (macOS, Windows) the
platform's own selector is used as it is.
"""

from __future__ import annotations

import asyncio
import select
import selectors
from typing import TYPE_CHECKING

__all__ = ["new_loop"]

#: ``select`` cannot watch descriptors from here on; FD_SETSIZE of the C library.
_SELECT_LIMIT = 1024

if TYPE_CHECKING or hasattr(selectors, "EpollSelector"):

    class PreciseSelector(selectors.EpollSelector):
        """`selectors.EpollSelector` with timeouts that are good to microseconds."""

        def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
            """Wait up to ``timeout`` seconds for file objects that became ready."""
            if timeout is not None and timeout > 0 and self.fileno() < _SELECT_LIMIT:
                select.select([self.fileno()], [], [], timeout)
                timeout = 0
            return super().select(timeout)


def new_loop() -> asyncio.AbstractEventLoop:
    """A selector event loop with precise timers."""
    if hasattr(selectors, "EpollSelector"):
        return asyncio.SelectorEventLoop(PreciseSelector())
    return asyncio.SelectorEventLoop()
