"""Who wants to be told what happens to a reply.

Strategy: an observer is any object with some of four methods. `Audience` calls them, one after another, in
the thread that reads the reply. An observer that fails is dropped with a warning: the reply goes on.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bedrock_nb import metrics
from bedrock_nb.errors import StreamError
from bedrock_nb.events import Event
from bedrock_nb.intake import Intake
from bedrock_nb.message import Message

if TYPE_CHECKING:
    from bedrock_nb.reply import Reply

__all__ = ["METHODS", "Audience", "Observer"]

METHODS = ("on_start", "on_event", "on_complete", "on_error")


class Observer:
    """Something that is told what happens to a reply; override what you need.

    A reply that is cancelled ends in neither ``on_complete`` nor ``on_error``: whoever cancels it knows.
    """

    def on_start(self, reply: Reply) -> None:
        """The response's head is there, no event yet."""

    def on_event(self, event: Event) -> None:
        """An event came."""

    def on_complete(self, message: Message, usage: dict[str, Any], metrics: dict[str, Any]) -> None:
        """The reply is whole."""

    def on_error(self, error: StreamError) -> None:
        """The reply failed; ``error.reply`` holds what came."""


class Seat(NamedTuple):
    """An observer, and a list of one number: of the event that it is to be told next."""

    observer: Any
    place: list[int]


class Audience:
    """The observers of one reply, told one after another.

    Parameters
    ----------
    intake : Intake
    since : function, optional
        From a number to the events from there on and the number that follows them; without it, nothing is
        kept and an observer hears of what comes from now on.
    """

    def __init__(self, intake: Intake, since: Callable[[int], tuple[list[Event], int]] | None = None) -> None:
        self._intake, self._since = intake, since
        self.seats: list[Seat] = []
        self._telling = threading.RLock()

    def add(self, observer: Any, reply: Reply) -> None:
        """Tell an observer that it starts, of what was, and from now on of what comes."""
        with self._telling:
            seat = Seat(observer, [0])
            self.seats.append(seat)
            if self._call(seat, "on_start", reply) and self._since is not None:
                self._tell(seat, ())

    def tell(self, fresh: Sequence[Event]) -> None:
        """Tell everybody of what came, and of the end if this is it."""
        with self._telling:
            for seat in tuple(self.seats):
                self._tell(seat, fresh)

    def _tell(self, seat: Seat, fresh: Sequence[Event]) -> None:
        intake = self._intake
        if self._since is not None:
            fresh, seat.place[0] = self._since(seat.place[0])
        if not all(self._call(seat, "on_event", event) for event in fresh):
            return
        if not intake.done or seat not in self.seats:
            return
        self._drop(seat)
        if intake.error is not None:
            self._call(seat, "on_error", intake.error)
        elif intake.recording.status == "complete":
            numbers = metrics.measure(intake.recording)
            self._call(seat, "on_complete", intake.fold.snapshot, intake.fold.usage, numbers)

    def _drop(self, seat: Seat) -> None:
        self.seats[:] = [other for other in self.seats if other is not seat]

    def _call(self, seat: Seat, method: str, *args: Any) -> bool:
        """Call one method, if the observer has it, and say whether it lived."""
        function = getattr(seat.observer, method, None)
        try:
            if function is not None:
                function(*args)
        except Exception as err:
            self._drop(seat)
            warnings.warn(f"An observer failed in {method} and was dropped: {err!r}", stacklevel=2)
            return False
        return True
