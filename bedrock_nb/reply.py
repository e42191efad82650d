"""One call, as timed events: what `stream` returns.

Strategy: a reply owns one `Intake` and hands out views of it. Whoever needs an event that has not come yet
pulls the intake one network read further, under a lock; or a thread does (``background=True``), and they
wait for it. What came is in a store, mostly the recording, in which each view has its own place, so none
starves or waits for another. A loop that comes later replays from memory. Until a reply has failed nothing
refers back to it: one that nobody holds is closed at once.

A reply that fails raises at the place where its events end, in every view, after all that came was handed
out: a cut answer never looks like a whole one. `Reply.snapshot` never raises and never waits.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, TypeVar

from bedrock_nb import structured
from bedrock_nb.answer import Answer
from bedrock_nb.asked import Keeping
from bedrock_nb.background import Kept, Pump, Window
from bedrock_nb.calling import Given, Source
from bedrock_nb.errors import RequestError
from bedrock_nb.events import Event, MessageComplete, Seam, StreamFault, TextDelta, ToolUse
from bedrock_nb.intake import Intake
from bedrock_nb.journal import configured
from bedrock_nb.observers import Audience, Observer
from bedrock_nb.recording import Recording, Unrecorded, recordings
from bedrock_nb.timeouts import Timeouts
from bedrock_nb.wire import to_botocore

__all__ = ["Observer", "Reply"]

T = TypeVar("T")


class Reply(Answer):
    """A streamed answer: iterate it, iterate it again, look at it while it grows.

    Parameters
    ----------
    response : dict
        What ``client.converse_stream`` returned, its stream not yet read. If the client came from
        `connect`, or was given to `stream` or `watch` before, its bytes are timed as they leave the socket
        (``recording.clock == "wire"``); otherwise botocore's parsed events are (``"parsed"``).
    labels : mapping, optional
        Columns for the summary table.
    timeouts : Timeouts, optional
        Limits from now on; they can be kept for clients of the first kind.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> with nb.stream(client, "Count to 5") as reply:
    ...     for event in reply:
    ...         pass
    >>> reply.status, reply.stop_reason
    ('complete', 'end_turn')
    """

    def __init__(
        self,
        response: Mapping[str, Any],
        *,
        labels: Mapping[str, Any] | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        keeping = Keeping(labels)
        keeping.check()
        self._begin(Given(response, timeouts or Timeouts()), keeping)

    @classmethod
    def from_source(
        cls, source: Source, keeping: Keeping, made: Callable[[Reply], None] | None = None
    ) -> Reply:
        """The reply of a source: one that is read by a thread already, or whose head is there.

        ``made`` is told of it before the head is waited for.

        Raises
        ------
        StreamError
            The call failed before there was a head; not in the background, where it is raised on reading.
        """
        reply = cls.__new__(cls)
        reply._begin(source, keeping)
        if made is not None:
            made(reply)
        if not keeping.background:
            while not (source.opened or reply._intake.done):
                with reply._lock:
                    reply._pull()
            if not source.opened:
                reply._intake.check()
        return reply

    def _begin(self, source: Source, keeping: Keeping) -> None:
        kind = Recording if keeping.record else Unrecorded
        call = source.call
        self.recording = kind(call.request, labels=keeping.labels, started=call.started)
        # A response that is there must not be lost because it cannot be journalled.
        journal = configured(self.recording) if source.opened else keeping.journal_of(self.recording)
        self._source, self._lock = source, threading.RLock()
        self._let_go = threading.Condition()  # notified when somebody has let go of the lock
        self._waiting = 0  # views that wait for that
        self._schema = keeping.schema
        self._intake = Intake(
            self.recording,
            source.arrivals(self.recording),
            source.close,
            source.since,
            journal=journal,
            masked=None if keeping.errors is None else keeping.errors == "plain",
        )
        self._intake.origin = weakref.ref(self)
        size = keeping.buffer, keeping.when_full
        self._store: Kept | Window
        if keeping.record:
            self._store = kept = Kept(self._intake, *size)
            self._audience = Audience(self._intake, kept.since)
        else:
            self._store = Window(*size)
            self._audience = Audience(self._intake)
        # Of next_event, which is no generator: that would hold this reply, and this reply it.
        self._pulled: deque[Event] = deque()
        self._place = 0
        self._pulling = threading.RLock()
        recordings.append(self.recording)
        self._pump: Pump | None = None
        if keeping.background:
            self._pump = Pump(self._intake, self._store, self._lock, self._audience.tell, source.left)
            # The thread must not hold the reply: when nobody else does, it is closed like any other.
            finalizer = weakref.finalize(self, _stop_own, os.getpid(), self._intake, source, self._pump)
            finalizer.atexit = False
            self._pump.start()

    # -- views of the events -----------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        """Every event as it arrives, those made by the fold included; from memory what came before."""
        seq, end = 0, False
        while not end:
            fresh, seq, end = self.after(seq)
            yield from fresh
        self._intake.check()

    def after(self, seq: int) -> tuple[list[Event], int, bool]:
        """What views are made of: events from number ``seq`` on, the number that follows, whether none will.

        What came is given at once; if there is nothing new, this waits for one network read. What ended the
        reply is not raised here: it is ``error``, once everything was handed out.
        """
        if self._pump is not None:
            try:
                return self._pump.take(seq)
            except BaseException as err:
                if not isinstance(err, Exception):  # KeyboardInterrupt: as if this thread had been reading
                    self.cancel()
                raise
        store, intake = self._store, self._intake
        if seq == store.count:
            try:
                if self._lock.acquire(blocking=False) or self._may_read(seq):
                    try:
                        if seq == store.count:  # nobody else has read in the meantime
                            fresh, end = self._pull()
                            store.release(end)
                            return fresh, end, intake.done and not fresh
                    finally:
                        self._lock.release()
                        if self._waiting:
                            self._wake()
            finally:
                if intake.cancelled:
                    self.settle()
        fresh, end = store.after(seq)
        return fresh, end, False

    def _may_read(self, seq: int) -> bool:
        """Wait for the lock (True), or until another thread has read something (False).

        Whoever reads in a loop takes the lock again at once: to wait for it alone could be to wait for ever.
        """
        taken = False

        def may() -> bool:
            nonlocal taken
            taken = self._lock.acquire(blocking=False)
            return taken or self._store.count > seq

        try:
            with self._let_go:
                self._waiting += 1  # before the lock is tried: whoever lets go of it looks afterwards
                try:
                    self._let_go.wait_for(may)
                finally:
                    self._waiting -= 1
        except BaseException:  # interrupted: others must be able to read
            if taken:
                self._lock.release()
                self._wake()
            raise
        return taken

    def _wake(self) -> None:
        with self._let_go:
            self._let_go.notify_all()

    def _pull(self) -> tuple[list[Event], int]:
        """Read once more, in this thread, which holds the lock: what came, the number that follows it."""
        fresh = self._intake.advance()
        end = self._store.add(fresh)  # before others are told: they may read on
        if self._audience.seats or self._intake.done:
            self._audience.tell(fresh)
        return fresh, end

    def next_event(self) -> Event | None:
        """Pull: the next event, or None at the end. Keeps a place of its own."""
        with self._pulling:
            while not self._pulled:
                fresh, self._place, end = self.after(self._place)
                self._pulled.extend(fresh)
                if end:
                    self._intake.check()
                    return None
            return self._pulled.popleft()

    @property
    def text_stream(self) -> Iterator[str]:
        """The visible text, piece by piece; every other kind of delta is passed over."""
        return (event.text for event in self if isinstance(event, TextDelta))

    def replay(self, speed: float = 1.0, *, sleep: Callable[[float], None] = time.sleep) -> Iterator[Event]:
        """Every event again at the pace at which it came.

        Parameters
        ----------
        speed : float
            2 is twice as fast; ``float("inf")`` is at once.
        sleep : function
            Waits for a number of seconds.

        Yields
        ------
        Event
        """
        if not isinstance(speed, int | float) or not speed > 0:
            raise RequestError(
                f"speed is {speed!r}; a number above 0 is wanted.", remedy="1.0 is the recorded pace."
            )
        return self._replay(speed, sleep)

    def _replay(self, speed: float, sleep: Callable[[float], None]) -> Iterator[Event]:
        before = 0.0
        seq = -1
        for event in self:
            if not isinstance(event, ToolUse | MessageComplete):
                seq += 1
                t = self.recording.times[seq]
                if t > before:
                    sleep((t - before) / speed)
                before = t
            yield event

    def raw_events(self) -> Iterator[dict[str, Any]]:
        """The dicts that boto3 would have yielded, unknown members included."""
        for event in self:
            if not isinstance(event, ToolUse | MessageComplete | Seam | StreamFault):
                yield to_botocore(event)

    def map(self, function: Callable[[Event], T]) -> list[T]:
        """Call a function with every event as it arrives; return what it returned, as a list."""
        return [function(event) for event in self]

    # -- what it adds up to ------------------------------------------------------------------------

    @property
    def partials(self) -> Iterator[Any]:
        """The value of an answer in JSON each time that it has changed, as it streams.

        Of a long answer neighbouring changes may be joined, so that the work grows as its length does. The
        last value always comes.
        """
        return structured.growing(self.text_stream)

    def _finish(self) -> None:
        self.drain()

    def drain(self) -> Reply:
        """Read to the end; raise what ended the reply if it failed."""
        while not self._intake.done:
            self.after(self._store.count)
        self._intake.check()
        return self

    # -- ending ------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop: close the connection, keep what came. From any thread; once is enough."""
        _stop(self._intake, self._source, self._pump)
        self.settle()

    def settle(self, *, wait: bool = False) -> None:
        """End the reply if it was cancelled. If somebody is in there, they do it when they come out.

        Parameters
        ----------
        wait : bool
            Until they have.
        """
        intake = self._intake
        if intake.cancelled and not intake.done and self._lock.acquire(blocking=wait):
            try:
                if not intake.busy:  # else it is this very thread, in a signal handler: it goes on to the end
                    intake.finish("cancelled")
            finally:
                self._lock.release()
                self._wake()
            if self._pump is not None:
                self._pump.wake()

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def _stop_own(pid: int, intake: Intake, source: Source, pump: Pump) -> None:
    """The same, unless this is a forked child: the connection is its parent's."""
    if os.getpid() == pid:
        _stop(intake, source, pump)


def _stop(intake: Intake, source: Source, pump: Pump | None) -> None:
    """End a reply, from any thread."""
    if intake.done:
        return
    intake.cancelled = True
    source.shutdown()
    if pump is not None:
        pump.wake()
