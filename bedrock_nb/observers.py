"""Who wants to be told what happens to a reply.

Strategy: an observer is any object with some of four methods. `Audience` calls them, one after another, in
the thread that reads the reply. An observer that fails is dropped with a warning: the reply goes on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import StreamError
from bedrock_nb.events import Event
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


class Audience:
    """The observers of one reply."""

    def __init__(self) -> None:
        self._observers: list[Any] = []

    def __len__(self) -> int:
        return len(self._observers)

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._observers))

    def add(self, observer: Any) -> None:
        """Let it be told from now on."""
        self._observers.append(observer)

    def drop(self, observer: Any) -> None:
        """Tell it nothing more."""
        self._observers[:] = [other for other in self._observers if other is not observer]

    def call(self, observer: Any, method: str, *args: Any) -> bool:
        """Call one method, if it has that, and say whether the observer lived."""
        function = getattr(observer, method, None)
        try:
            if function is not None:
                function(*args)
        except Exception as err:
            self.drop(observer)
            warnings.warn(f"An observer failed in {method} and was dropped: {err!r}", stacklevel=2)
            return False
        return True

    def tell(self, observer: Any, events: Iterable[Event]) -> bool:
        """Tell one observer of events, and say whether it lived."""
        return all(self.call(observer, "on_event", event) for event in events)
