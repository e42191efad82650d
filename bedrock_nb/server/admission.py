"""Who may be answered now: a server's places, its queue, and its rates.

Strategy: an `Admission` keeps what a latency law says about load. Rates are token buckets in the sense of
network engineering: a bucket holds one minute's worth, refills steadily, and refuses who asks for more than
is in it. Places are handed from who leaves to who waits longest. Everything happens on one event loop; time
is an argument.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from bedrock_nb.server.latency import Latency
from bedrock_nb.server.refusal import Refusal

__all__ = ["Admission", "Bucket"]


class Bucket:
    """A rate per minute, with a minute's worth in reserve.

    Parameters
    ----------
    per_minute : float
        How fast it refills, and how much it holds.
    clock : function
        Seconds.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._level, self._at = per_minute, clock()

    @property
    def level(self) -> float:
        """What is in it now; less than nothing if more was used than was asked for."""
        now = self._clock()
        self._level = min(self.per_minute, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        return self._level

    def take(self, amount: float) -> None:
        """Take some out; a negative amount is put back."""
        self._level = min(self.per_minute, self.level - amount)


class Admission:
    """Lets requests in, one after another.

    Parameters
    ----------
    law : Latency
        Its ``slots``, ``queue``, ``requests_per_minute`` and ``tokens_per_minute``.
    clock : function
        Seconds.
    """

    def __init__(self, law: Latency, clock: Callable[[], float]) -> None:
        self._slots, self._queue = law.slots, law.queue
        self._requests = Bucket(law.requests_per_minute, clock) if law.requests_per_minute else None
        self._tokens = Bucket(law.tokens_per_minute, clock) if law.tokens_per_minute else None
        self._inside = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    def check_rates(self, tokens: int) -> None:
        """Take a request and its tokens out of the buckets, or refuse it and take nothing.

        Raises
        ------
        Refusal
            429 ThrottlingException.
        """
        if self._requests is not None and self._requests.level < 1:
            raise _throttled("requests")
        if self._tokens is not None:
            wanted = min(tokens, self._tokens.per_minute)  # what never fits waits for a full bucket
            if self._tokens.level < wanted:
                raise _throttled("tokens")
            self._tokens.take(tokens)
        if self._requests is not None:
            self._requests.take(1)

    def settle(self, reserved: int, used: int) -> None:
        """Put back the tokens that were reserved and not used, or take the rest."""
        if self._tokens is not None:
            self._tokens.take(used - reserved)

    @property
    def busy(self) -> bool:
        """Whether the next who enters has to wait."""
        return self._slots is not None and (self._inside >= self._slots or bool(self._waiting))

    async def enter(self) -> None:
        """Wait for a place.

        Raises
        ------
        Refusal
            503 ServiceUnavailableException: too many wait already.
        """
        if self._slots is None:
            return
        if not self.busy:
            self._inside += 1
            return
        if self._queue is not None and len(self._waiting) >= self._queue:
            raise Refusal(
                503,
                "ServiceUnavailableException",
                "Bedrock is unable to process your request. Too many requests wait already.",
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came at the same moment: hand it on
                self.leave()
            elif turn in self._waiting:  # else who left at the same moment has passed it over
                self._waiting.remove(turn)
            raise

    def leave(self) -> None:
        """Give the place to who waits longest."""
        if self._slots is None:
            return
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._inside -= 1


def _throttled(what: str) -> Refusal:
    return Refusal(429, "ThrottlingException", f"Too many {what}, please wait before trying again.")
