"""How long a reply may take: three limits, and the clock that watches them.

Strategy: `Timeouts` is what somebody wants, `Deadline` is where one call stands. Whoever waits asks it how
long to wait at most, tells it of each whole event, and tells it of the time in which nobody was waiting: a
reader who thinks between two events does not make the service late.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from bedrock_nb.errors import FirstEventTimeout, IdleTimeout, RequestError, StreamTimeout, TotalTimeout

__all__ = ["Deadline", "Timeouts"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of a reply in seconds; ``inf`` is no limit.

    Parameters
    ----------
    first_event : float
        From the call to the first event, connection and retries included. The default leaves room for long
        prompts and models that think before they speak, which botocore's own 60 s do not.
    idle : float
        From one whole event to the next. The default leaves room for models that hold a long tool input
        back until it is whole.
    total : float
        From the call to the end of the reply.

    Raises
    ------
    RequestError
        A limit is no number above 0.
    """

    first_event: float = 600.0
    idle: float = 300.0
    total: float = math.inf

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise RequestError(
                    f"{limit.name}_timeout is {value!r}; a number of seconds above 0 is wanted.",
                    remedy='float("inf") is no limit; None is the default of the client.',
                )

    def but(self, first_event: float | None, idle: float | None, total: float | None) -> Timeouts:
        """The same with some limits changed; None changes nothing."""
        given = {"first_event": first_event, "idle": idle, "total": total}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


# Which limit it was -> its error, what happened, which argument to change.
_REACHED: dict[str, tuple[type[StreamTimeout], str, str]] = {
    "first_event": (FirstEventTimeout, "No event came within {} s of the call.", "first_event_timeout"),
    "idle": (IdleTimeout, "No whole event came for {} s.", "idle_timeout"),
    "total": (TotalTimeout, "The reply was not at its end after {} s.", "total_timeout"),
}


class Deadline:
    """Where one call stands with its limits. Times are seconds since the call began.

    Parameters
    ----------
    timeouts : Timeouts
    since : function
        The time now.

    Attributes
    ----------
    heard : float or None
        When the latest whole event came. An attribute and no method: it is set for every event.
    back : float
        When waiting was taken up again, by who reads events later than they come: silence counts from then.
    """

    __slots__ = ("_away", "_away_after", "_begin", "_end", "_since", "back", "heard", "timeouts")

    def __init__(self, timeouts: Timeouts, since: Callable[[], float]) -> None:
        self.timeouts, self._since, self._begin = timeouts, since, since()
        self._end = self._begin + timeouts.total
        self.heard: float | None = None
        self.back = -math.inf
        self._away = 0.0  # time in which nobody waited …
        self._away_after: float | None = None  # … after this event

    def away(self, seconds: float) -> None:
        """For so long nobody was waiting; the limit of the whole reply runs on."""
        if self._away_after != self.heard:
            self._away, self._away_after = 0.0, self.heard
        self._away += seconds

    def left(self) -> float:
        """Seconds until the first of the limits, 0 or less if it is past; may be ``inf``."""
        return min(self._next()[0], self._end) - self._since()

    def total_left(self) -> float:
        """Seconds until the limit of the whole reply."""
        return self._end - self._since()

    def _next(self) -> tuple[float, str]:
        """When the limit of what is waited for is reached, and which that is."""
        away = self._away if self._away_after == self.heard else 0.0
        if self.heard is None:
            return self._begin + self.timeouts.first_event + away, "first_event"
        return max(self.heard, self.back) + self.timeouts.idle + away, "idle"

    def error(self) -> StreamTimeout:
        """What to raise now that a limit is reached."""
        time, which = self._next()
        if self._end <= time:
            which = "total"
        kind, what, argument = _REACHED[which]
        limit = getattr(self.timeouts, which)
        error = kind(
            what.format(f"{limit:g}"), remedy=f"Give a larger {argument}, or look at what is so slow."
        )
        error.limit_s = limit
        return error
