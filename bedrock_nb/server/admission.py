"""Who may be answered now: a server's places, its queue, and its rates.

Strategy: an `Admission` keeps what a latency law says about load. Rates are token buckets in the sense of
network engineering: a bucket holds one minute's worth, refills steadily, and refuses who asks for more than
is in it. Places are handed from who leaves to who waits longest; where several share a server, to who has
fewest places, and each has a queue of its own, so that the queue of one holds up no other. Everything happens
on one event loop; time is an argument.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from itertools import count

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
        self._inside: Counter[str] = Counter()  # places that each has
        self._waiting: dict[str, deque[tuple[int, asyncio.Future[None]]]] = {}
        self._tickets = count()

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a rate of tokens."""
        return self._tokens is not None

    def check_rates(self, tokens: int) -> None:
        """Refuse a request for which there is too little in the buckets; nothing is taken yet.

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

    def take(self, tokens: int) -> None:
        """Take a request and its tokens out of the buckets."""
        if self._tokens is not None:
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
        return self._slots is not None and (self._inside.total() >= self._slots or bool(self._waiting))

    async def enter(self, who: str = "") -> None:
        """Wait for a place.

        Parameters
        ----------
        who : str
            Of those who share the places.

        Raises
        ------
        Refusal
            503 ServiceUnavailableException: too many of theirs wait already.
        """
        if self._slots is None:
            return
        if not self.busy:
            self._inside[who] += 1
            return
        if self._queue is not None and len(self._waiting.get(who, ())) >= self._queue:
            raise Refusal(
                503,
                "ServiceUnavailableException",
                "Bedrock is unable to process your request. Too many requests wait already.",
            )
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ticket = (next(self._tickets), turn)
        self._waiting.setdefault(who, deque()).append(ticket)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came at the same moment: hand it on
                self.leave(who)
            elif ticket in (queue := self._waiting.get(who, deque())):  # else who left now has passed it over
                queue.remove(ticket)
                self._tidy(who)
            raise

    def leave(self, who: str = "") -> None:
        """Give the place to who waits longest, of those who have fewest."""
        if self._slots is None:
            return
        self._inside[who] -= 1
        while self._waiting:
            following = min(self._waiting, key=lambda each: (self._inside[each], self._waiting[each][0][0]))
            _, turn = self._waiting[following].popleft()
            self._tidy(following)
            if not turn.done():
                self._inside[following] += 1
                turn.set_result(None)
                return

    def _tidy(self, who: str) -> None:
        """Forget an empty queue: whoever is named waits."""
        if not self._waiting[who]:
            del self._waiting[who]


def _throttled(what: str) -> Refusal:
    return Refusal(429, "ThrottlingException", f"Too many {what}, please wait before trying again.")
