"""What one student has asked of a classroom's server, in numbers that do not grow.

Strategy: counters, a histogram of how late writes were, and a ring of the latest minutes. A request is
counted when it comes, and its writes when it is over, so that to look at a tally costs the same after an hour
as at the beginning. Changed on the server's event loop only.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

from bedrock_nb.server.truths import Truth

__all__ = ["Lateness", "Tally"]

_BARS = 20
_BAR = 15  # seconds

#: Upper bounds of the histogram's bins, seconds: 0.05 ms and up to a minute, each 10 % above the one before.
_BOUNDS = tuple(5e-5 * 1.1**i for i in range(148))


class Lateness:
    """How late writes were: a histogram, precise to 10 %."""

    def __init__(self) -> None:
        self._bins = [0] * (len(_BOUNDS) + 1)
        self.writes = 0

    def add(self, late_s: list[float]) -> None:
        """Count some writes; seconds."""
        for late in late_s:
            self._bins[bisect_left(_BOUNDS, late)] += 1
        self.writes += len(late_s)

    def quantile(self, share: float) -> float | None:
        """What this share of the writes did not exceed, seconds; None if there are none."""
        if not self.writes:
            return None
        counted = 0
        for bound, number in zip(_BOUNDS, self._bins, strict=False):
            counted += number
            if counted >= share * self.writes:
                return bound
        return _BOUNDS[-1]


class Tally:
    """The numbers of one student.

    Attributes
    ----------
    requests : int
        All, the refused ones too.
    running, waiting : int
        Requests that are being answered, and those that wait for a place.
    throttled, errors : int
        Refused with 429; refused otherwise, or broken off.
    tokens : int
        Input and output, by the answers' own counts.
    last_seen : float or None
        When the latest request came; wall clock, seconds.
    late : Lateness
        Of all writes of answers that are over.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.requests = self.running = self.waiting = self.throttled = self.errors = self.tokens = 0
        self.last_seen: float | None = None
        self.late = Lateness()
        self._bars: dict[int, int] = {}  # number of a quarter of a minute -> requests in it

    def begin(self) -> None:
        """Count a request that comes."""
        self.requests += 1
        self.last_seen = now = self._clock()
        bar = int(now // _BAR)
        self._bars[bar] = self._bars.get(bar, 0) + 1
        for old in [each for each in self._bars if each <= bar - _BARS]:
            del self._bars[old]

    def end(self, truth: Truth) -> None:
        """Count what became of it."""
        self.tokens += truth.tokens
        if truth.http_status == 429:
            self.throttled += 1
        elif truth.outcome in ("refused", "broken"):
            self.errors += 1
        self.late.add(truth.late_s)

    @contextmanager
    def counted(self, what: Literal["running", "waiting"]) -> Iterator[None]:
        """Count one more as running, or as waiting, for the time of a ``with`` block."""
        setattr(self, what, getattr(self, what) + 1)
        try:
            yield
        finally:
            setattr(self, what, getattr(self, what) - 1)

    def shown(self) -> dict[str, Any]:
        """What the dashboard shows of it, as JSON."""
        late, bar = self.late.quantile(0.99), int(self._clock() // _BAR)
        return {
            "requests": self.requests,
            "running": self.running,
            "waiting": self.waiting,
            "throttled": self.throttled,
            "errors": self.errors,
            "tokens": self.tokens,
            "last_seen": self.last_seen,
            "late_p99_ms": None if late is None else round(late * 1000, 3),
            "activity": [self._bars.get(each, 0) for each in range(bar - _BARS + 1, bar + 1)],
        }
