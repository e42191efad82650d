"""A reply that is read by a thread of its own, whatever its consumers do meanwhile.

Strategy: one producer, one condition. The thread takes what the network brings, so that arrival times are
true however slow the consumer is, and wakes whoever waits. A consumer that falls behind by more than a
buffer of events is waited for (``block``: the service feels it through TCP), or gets neighbouring deltas
joined into one (``coalesce``). What views read from is a store: the recording, or, where nothing is
recorded, a window on the events that nobody has taken yet, so that memory does not grow with the reply.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeAlias

from bedrock_nb.errors import RequestError
from bedrock_nb.events import Event, ReasoningDelta, TextDelta, ToolInputDelta
from bedrock_nb.intake import Intake

__all__ = ["BUFFER", "Kept", "Pump", "WhenFull", "Window", "joined"]

WhenFull: TypeAlias = Literal["block", "coalesce"]

#: Events that may wait for the consumer of a reply that is not recorded.
BUFFER = 1000
#: So often a consumer that waits looks whether it was interrupted: a wait without an end hears of none on
#: Windows, and may miss one that comes just when it begins elsewhere.
_LOOK_S = 0.5
#: A joined delta grows no longer than this, characters: the bound of a window is one of memory.
_LONGEST = 2**14


def joined(first: Event, second: Event) -> Event | None:
    """One delta that says what two neighbours say; None where they are no such pair, or too long."""
    match first, second:
        case TextDelta(index, a), TextDelta(other, b):
            kind: Any = TextDelta
        case ReasoningDelta(index, a), ReasoningDelta(other, b):
            kind = ReasoningDelta
        case ToolInputDelta(index, a), ToolInputDelta(other, b):
            kind = ToolInputDelta
        case _:
            return None
    fits = index == other and len(a) + len(b) <= _LONGEST
    both: Event | None = kind(index, a + b) if fits else None
    return both


def _coalesced(events: Iterable[Event]) -> list[Event]:
    out: list[Event] = []
    for event in events:
        both = joined(out[-1], event) if out else None
        if both is None:
            out.append(event)
        else:
            out[-1] = both
    return out


class Kept:
    """The recording as the store: every view has a place of its own, and may begin again."""

    def __init__(self, intake: Intake, buffer: int | None, when_full: WhenFull) -> None:
        self._intake, self._recording = intake, intake.recording
        self.buffer, self._coalesces = buffer, when_full == "coalesce"
        self.taken = 0

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(self._recording.times)

    def add(self, events: list[Event]) -> int:
        """They are in the recording already; how many there are now."""
        return len(self._recording.times)

    @property
    def full(self) -> bool:
        """Whether the foremost view is so far behind that the network must wait."""
        return self.buffer is not None and not self._coalesces and self.count - self.taken > self.buffer

    def since(self, seq: int, end: int | None = None) -> tuple[list[Event], int]:
        """Events from number ``seq`` on, those of the fold included, and the number that follows them."""
        end, derived, out = self.count if end is None else end, self._intake.derived, list[Event]()
        for i in range(seq, end):
            out.append(self._recording.event(i))
            out.extend(derived.get(i, ()))
        return out, end

    def release(self, seq: int) -> None:
        """A view has dealt with everything before this number."""
        if seq > self.taken:
            self.taken = seq

    def after(self, seq: int) -> tuple[list[Event], int]:
        """The same for a view, which has taken them by this."""
        out, end = self.since(seq)
        self.release(end)
        # Of a reply that is over every event is handed out as it was.
        behind = self.buffer is not None and end - seq > self.buffer and not self._intake.done
        return (_coalesced(out) if behind and self._coalesces else out), end


class Window:
    """The events that nobody has taken yet, and no others: they can be had once."""

    def __init__(self, buffer: int | None, when_full: WhenFull) -> None:
        self.buffer = BUFFER if buffer is None else buffer
        self._coalesces = when_full == "coalesce"
        self._waiting: deque[Event] = deque()
        self._gone = 0  # events that were taken

    @property
    def count(self) -> int:
        """How many events there were."""
        return self._gone + len(self._waiting)

    def add(self, events: list[Event]) -> int:
        """Let them wait to be taken; how many there were."""
        for event in events:
            joins = self._coalesces and len(self._waiting) >= self.buffer
            both = joined(self._waiting[-1], event) if joins else None
            if both is None:
                self._waiting.append(event)
            else:
                self._waiting[-1] = both
        return self.count

    @property
    def full(self) -> bool:
        """Whether the network must wait; for a window that joins, when something did not fit."""
        return len(self._waiting) >= self.buffer + self._coalesces

    def release(self, seq: int) -> None:
        """Forget everything before this number."""
        while self._gone < seq and self._waiting:
            self._waiting.popleft()
            self._gone += 1

    def after(self, seq: int) -> tuple[list[Event], int]:
        """Events from number ``seq`` on; they are forgotten here."""
        self.release(seq)
        if seq < self._gone:
            raise RequestError(
                "The events of this reply are not kept (record=False): they can be read once.",
                remedy="Leave record=False out to read them again.",
            )
        out = list(self._waiting)
        self._gone += len(self._waiting)
        self._waiting.clear()
        return out, self._gone


class Pump:
    """The thread that reads, and the condition on which its consumers wait.

    Parameters
    ----------
    intake : Intake
    store : Kept or Window
    lock : lock
        Held while the intake is at work.
    tell : function
        Told of new events, in the thread.
    left : function
        Seconds until the limit of the whole reply.
    """

    def __init__(
        self,
        intake: Intake,
        store: Kept | Window,
        lock: AbstractContextManager[Any],
        tell: Callable[[list[Event]], None],
        left: Callable[[], float],
    ) -> None:
        self._intake, self._store, self._lock, self._tell, self._left = intake, store, lock, tell, left
        self._over = False  # everything that came is in the store, and nothing more will
        self.changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="bedrock_nb.reply", daemon=True)

    def start(self) -> None:
        """Read from now on."""
        self._thread.start()

    def _run(self) -> None:
        intake, store = self._intake, self._store
        try:
            while not intake.done:
                self._read()
                if store.full:
                    with self.changed:
                        left = min(self._left(), threading.TIMEOUT_MAX)
                        self.changed.wait_for(lambda: not store.full or intake.cancelled, max(0.0, left))
                if intake.cancelled:
                    with self._lock:
                        intake.finish("cancelled")
        except BaseException as err:  # this thread must not end in silence
            with self._lock:
                intake.abort(RuntimeError(f"the thread that read it ended: {type(err).__name__}"))
        finally:  # whatever happened: nobody is left waiting
            with self.changed:
                self._over = True
                self.changed.notify_all()

    def _read(self) -> None:
        with self._lock:
            fresh = self._intake.advance()
        with self.changed:
            self._store.add(fresh)
            self._over = self._intake.done
            self.changed.notify_all()
        self._tell(fresh)  # outside of the condition: whoever is told may ask for more

    def take(self, seq: int) -> tuple[list[Event], int, bool]:
        """Events from number ``seq`` on, when there are any; the number that follows; whether none will."""
        store = self._store
        while threading.current_thread() is self._thread and store.count <= seq and not self._over:
            self._read()  # an observer that asks for more: nobody else would read it
        with self.changed:
            store.release(seq)
            self.changed.notify_all()
            while not self.changed.wait_for(lambda: store.count > seq or self._over, _LOOK_S):
                pass
            fresh, end = store.after(seq)
            self.changed.notify_all()
            return fresh, end, self._over and not fresh

    def wake(self) -> None:
        """Something was decided elsewhere: let everybody look."""
        with self.changed:
            self.changed.notify_all()
