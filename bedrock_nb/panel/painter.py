"""The threads of a panel: one reads each turn, one paints while something grows.

Strategy: no thread is there that has nothing to do. A turn has a daemon thread that begins it and reads it to
its end, so kernel and cell stay free; a turn that code began gets one, too, and arrives whether or not its
cell goes on with it: both are views of the same turn. The painter takes a step every 50 ms while a step says
that something grows, less often where much comes or steps take long, and once more whenever it is touched.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeAlias

from bedrock_nb.conversation import Conversation
from bedrock_nb.conversation.turn import Turn
from bedrock_nb.errors import LoopLimitError, RequestError, StreamError

__all__ = ["BURST_S", "INTERVAL_S", "LONGEST_S", "PACE", "SHARE", "Ended", "Painter", "Readers"]

_LOG = logging.getLogger("bedrock_nb.panel")

#: Least seconds between two steps: 20 messages a second, of the 1,000 that a Jupyter server lets pass.
INTERVAL_S = 0.05
#: Most of a core's time that steps may take: they share the interpreter with the readers' clocks.
SHARE = 0.2
#: Characters a second from which on painting is rarer, for nobody reads as fast: a burst is few messages.
PACE = 5_000
#: Most seconds between two steps, however much came, and however long they take.
BURST_S, LONGEST_S = 0.5, 2.0

#: Told of a turn that is over: the turn (None: it never began), and what ended it badly.
Ended: TypeAlias = Callable[[Turn | None, Exception | None], None]


class Painter:
    """A thread that takes steps while something grows.

    Parameters
    ----------
    step : function
        Paint what is new; returns how many characters that were, or None if nothing grows any more.
    rest : function
        Called before the painter stops, when nothing grows any more.
    clock : function
        Seconds that this thread has worked; what it waits for other threads does not count.
    sleep : function, optional
        Wait so many seconds; by default until then, or until the painter is closed.

    Attributes
    ----------
    painting : RLock
        Held while a step is taken: whoever else paints takes it, too.
    """

    def __init__(
        self,
        step: Callable[[], int | None],
        rest: Callable[[], None] = lambda: None,
        *,
        clock: Callable[[], float] = time.thread_time,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._step, self._rest, self._clock = step, rest, clock
        self.painting = threading.RLock()
        self._closed = threading.Event()
        self._sleep = sleep or self._closed.wait
        self._changed = threading.Condition(threading.RLock())
        self._thread: threading.Thread | None = None
        self._touched = False

    def touch(self) -> None:
        """Something is new; from any thread, and at any point of it: a garbage collection may say so."""
        with self._changed:
            self._touched = True
            if self._thread is None and not self._closed.is_set():
                thread = threading.Thread(target=self._paint, name="bedrock_nb.panel", daemon=True)
                thread.start()  # it cannot end before it is known: that needs the lock
                self._thread = thread

    def _paint(self) -> None:
        try:
            while self._go_on():
                pass
        except Exception:  # a panel that is not painted must not end anything else, and may be touched again
            _LOG.exception("The panel could not be painted")
        finally:
            self._end()

    def _end(self) -> None:
        """From now on, who touches needs another thread."""
        with self._changed:
            if self._thread is threading.current_thread():
                self._thread = None
            self._changed.notify_all()

    def _go_on(self) -> bool:
        """Take a step, and wait; False when there is nothing more to do."""
        self._touched = False
        with self.painting:
            begin = self._clock()
            size = self._step()
            took = self._clock() - begin
        if size is None and not self._touched:
            self._rest()
        with self._changed:
            if self._closed.is_set() or (size is None and not self._touched):
                self._end()  # under the same lock as the question: no touch is lost
                return False
        self._sleep(max(INTERVAL_S, min((size or 0) / PACE, BURST_S), min(took / SHARE, LONGEST_S)))
        return True

    def wait(self, seconds: float | None) -> bool:
        """Wait until there is nothing to paint; whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._thread is None, seconds)

    def close(self) -> None:
        """Take no further step."""
        self._closed.set()


class _Reading:
    """One turn that a thread begins and reads."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.stopped = False
        self.over = False  # its turn is; the thread has still to say so


class Readers:
    """Who reads the turns of a panel's conversations: at most one thread for each conversation.

    Parameters
    ----------
    changed : function
        Called when a turn begins to be read.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._told, self._closed = changed, False
        self._changed = threading.Condition(threading.RLock())
        self._readings: list[_Reading] = []

    def busy(self, conversation: Conversation) -> bool:
        """Whether a turn of it is on its way: it is read, or its head is waited for."""
        last = conversation.exchanges[-1:]
        return self._of(conversation) is not None or (bool(last) and last[0].status == "streaming")

    def check_idle(self, conversation: Conversation) -> None:
        """Refuse what cannot be done while a turn of it is on its way.

        Raises
        ------
        RequestError
            One is.
        """
        if self.busy(conversation):
            raise RequestError(
                "The last turn is still being answered.", remedy="Wait for it, or stop it first."
            )

    def _of(self, conversation: Conversation) -> _Reading | None:
        of = (each for each in tuple(self._readings) if each.conversation is conversation)
        return next((each for each in of if not each.over), None)

    def begin(
        self, conversation: Conversation, start: Callable[[], Turn], ended: Ended, *, wait: bool
    ) -> Turn | None:
        """Begin a turn and read it: in a thread of its own, or ``wait`` for it in this one.

        Returns
        -------
        Turn or None
            None if nobody waits, or if it did not begin.

        Raises
        ------
        RequestError
            A turn of this conversation is on its way; or, where this waits, nothing could be sent.
        """
        with self._changed:
            self.check_idle(conversation)
            self._readings.append(reading := _Reading(conversation))
        if not wait:
            self._in_thread(reading, start, ended)
            return None
        # Not in a thread: an interrupt of the cell then ends the turn, and tools ask at the keyboard, for
        # no page is heard while a cell runs.
        turn, error = self._read(reading, start, ended)
        if turn is None and isinstance(error, RequestError):
            raise error.with_traceback(None)
        return turn

    def follow(self, conversation: Conversation, ended: Ended) -> None:
        """Something has changed: read the turn that code has begun, if it has; see that a stop is one."""
        with self._changed:
            reading = self._of(conversation)
            if reading is None:
                turn = conversation.turn
                if turn is None or turn.status != "streaming" or self._closed:
                    return
                self._readings.append(reading := _Reading(conversation))
                self._in_thread(reading, lambda: turn, ended)
        if reading.stopped:  # before there was anything that could be stopped
            conversation.cancel()

    def _in_thread(self, reading: _Reading, start: Callable[[], Turn], ended: Ended) -> None:
        what = reading, start, ended
        try:
            threading.Thread(target=self._read, args=what, name="bedrock_nb.panel turn", daemon=True).start()
        except RuntimeError:  # there cannot be one more
            self._remove(reading)
            raise

    def _remove(self, reading: _Reading) -> None:
        with self._changed:
            self._readings.remove(reading)
            self._changed.notify_all()

    def _read(
        self, reading: _Reading, start: Callable[[], Turn], ended: Ended
    ) -> tuple[Turn | None, Exception | None]:
        turn: Turn | None = None
        error: Exception | None = None
        try:
            self._told()
            turn = start()
            if reading.stopped:
                turn.cancel()
            turn.drain()
        except (StreamError, LoopLimitError, RequestError) as err:
            error = err
        except Exception as err:
            error = err
            _LOG.exception("A turn of a panel failed")
        finally:
            reading.over = True
            try:
                ended(turn, error)
            finally:
                self._remove(reading)
        return turn, error

    def stop(self, conversation: Conversation) -> None:
        """Stop the turn on its way, also one whose head has not come, also one that is about to be asked."""
        with self._changed:
            if (reading := self._of(conversation)) is not None:
                reading.stopped = True
        conversation.cancel()

    def close(self) -> None:
        """Follow nothing more that code begins."""
        self._closed = True

    def wait(self, seconds: float | None) -> bool:
        """Wait until no turn is read; whether that came in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._readings, seconds)
