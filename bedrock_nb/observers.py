"""Who wants to be told what happens to a reply.

Strategy: an observer is any object with some of four methods. `Audience` calls them, one after another, in
the thread that reads the reply. An observer that fails is dropped with a warning: the reply goes on.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bedrock_nb import metrics
from bedrock_nb.errors import StreamError
from bedrock_nb.events import Event
from bedrock_nb.intake import Intake
from bedrock_nb.message import Message

if TYPE_CHECKING:
    from bedrock_nb.answer import Answer

__all__ = ["METHODS", "Audience", "Observer"]

METHODS = ("on_start", "on_event", "on_complete", "on_error")


class Observer:
    """Something that is told what happens to a reply; override what you need.

    A reply that is cancelled ends in neither ``on_complete`` nor ``on_error``: whoever cancels it knows.
    """

    def on_start(self, reply: Answer) -> None:
        """The response's head is there, no event yet."""

    def on_event(self, event: Event) -> None:
        """An event came."""

    def on_complete(self, message: Message, usage: dict[str, Any], metrics: dict[str, Any]) -> None:
        """The reply is whole."""

    def on_error(self, error: StreamError) -> None:
        """The reply failed; ``error.reply`` holds what came."""


class Seat:
    """An observer, what it is to be told next, and whether somebody tells it just now."""

    def __init__(self, observer: Any) -> None:
        self.observer = observer
        self.place = 0
        self.waiting: deque[Event] = deque()  # where nothing is kept
        self.busy = True  # with its start
        self.again = False


class Audience:
    """The observers of one reply.

    No lock is held while one is told, for it may ask the reply for more, or stop it. Who finds that somebody
    else is telling it leaves the rest to them: so it is told in order, one thing at a time.

    Parameters
    ----------
    intake : Intake
    since : function, optional
        From a number to the events from there on and the number that follows them; without it, nothing is
        kept and an observer hears of what comes from now on.
    """

    def __init__(self, intake: Intake, since: Callable[[int], tuple[list[Event], int]] | None = None) -> None:
        self._intake, self._since = intake, since
        self._guard = threading.Lock()
        self._over = False  # the end was told
        self.seats: list[Seat] = []

    def add(self, observer: Any, reply: Answer) -> None:
        """Tell an observer that it starts, of what was, and from now on of what comes."""
        seat = Seat(observer)
        with self._guard:
            self.seats.append(seat)
        if self._call(seat, "on_start", reply):
            self._go_on(seat)

    def tell(self, fresh: Sequence[Event]) -> None:
        """Tell everybody of what came, and of the end if this is it."""
        self._over = self._intake.done
        for seat in tuple(self.seats):
            with self._guard:
                if self._since is None:
                    seat.waiting.extend(fresh)
                seat.again, idle = True, not seat.busy
                seat.busy = True
            if idle:
                self._go_on(seat)

    def _go_on(self, seat: Seat) -> None:
        """Tell one observer until there is nothing left to tell."""
        over = False
        while not over and seat in self.seats:
            with self._guard:
                seat.again = False
            over = self._intake.done if self._since is not None else self._over
            for event in self._news(seat):
                if not self._call(seat, "on_event", event):
                    return
            with self._guard:
                if not (over or seat.again):
                    seat.busy = False
                    return
        self._end(seat)

    def _news(self, seat: Seat) -> list[Event]:
        if self._since is not None:
            fresh, seat.place = self._since(seat.place)
            return fresh
        with self._guard:
            fresh = list(seat.waiting)
            seat.waiting.clear()
        return fresh

    def _end(self, seat: Seat) -> None:
        intake = self._intake
        if seat not in self.seats:
            return
        if intake.error is not None:
            self._call(seat, "on_error", intake.error)
        elif intake.recording.status == "complete":
            numbers = metrics.measure(intake.recording)
            self._call(seat, "on_complete", intake.fold.snapshot, intake.fold.usage, numbers)
        self._drop(seat)

    def _drop(self, seat: Seat) -> None:
        with self._guard:
            self.seats[:] = [other for other in self.seats if other is not seat]

    def _call(self, seat: Seat, method: str, *args: Any) -> bool:
        """Call one method, if the observer has it, and say whether it lived."""
        function = getattr(seat.observer, method, None)
        try:
            if function is not None:
                function(*args)
        except (Exception, SystemExit) as err:
            self._drop(seat)
            with contextlib.suppress(Warning):  # where warnings are errors, this one must not end the reply
                warnings.warn(f"An observer failed in {method} and was dropped: {err!r}", stacklevel=2)
            return False
        return True
