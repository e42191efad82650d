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

import contextlib
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar, get_args

from bedrock_nb import metrics, settings, structured
from bedrock_nb.background import Kept, Pump, WhenFull, Window
from bedrock_nb.calling import Given, Source
from bedrock_nb.check import check
from bedrock_nb.errors import (
    BedrockNbError,
    FrameError,
    RecordingError,
    RequestError,
    StreamError,
    StructuredOutputError,
)
from bedrock_nb.events import Event, MessageComplete, Seam, StreamFault, TextDelta, ToolUse
from bedrock_nb.eventstream import Frame, FrameDecoder
from bedrock_nb.intake import Intake
from bedrock_nb.journal import Journal, configured
from bedrock_nb.message import Message
from bedrock_nb.observers import METHODS, Audience, Observer
from bedrock_nb.recording import Recording, Unrecorded, recordings
from bedrock_nb.timeouts import Timeouts
from bedrock_nb.wire import to_botocore

__all__ = ["Keeping", "Observer", "Reply"]

T = TypeVar("T")


class Keeping(NamedTuple):
    """What is kept of a reply, and how it is handed on; as `stream` documents it."""

    labels: Mapping[str, Any] | None = None
    journal: Any = None
    durability: str | None = None
    errors: str | None = None
    record: bool = True
    background: bool = False
    buffer: int | None = None
    when_full: WhenFull = "block"
    schema: Any = None  # what `Reply.parsed` makes of the answer: as in `Request`

    def check(self) -> None:
        """Refuse what cannot work.

        Raises
        ------
        RequestError
            One of them cannot.
        """
        if self.labels is not None and not isinstance(self.labels, Mapping):
            raise RequestError(
                f"labels are of type {type(self.labels).__name__}; a dict is wanted.",
                remedy="For example labels={'run': 3}.",
            )
        for name in ("errors", "durability"):  # None is what is configured
            if getattr(self, name) is not None:
                settings.check_choice(name, getattr(self, name))
        settings.check_choice("when_full", self.when_full, get_args(WhenFull))
        if not self.background and (self.buffer is not None or self.when_full != "block"):
            raise RequestError(
                "buffer and when_full are for replies in the background.",
                remedy="Give background=True besides.",
            )
        whole = isinstance(self.buffer, int) and not isinstance(self.buffer, bool)
        if self.buffer is not None and not (whole and self.buffer > 0):
            raise RequestError(f"buffer is {self.buffer!r}; a whole number of events from 1 is wanted.")


class Reply:
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
    >>> with nb.stream(client, "Count from 1 to 20") as reply:
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
        journal = configured(self.recording) if source.opened else self._journal_of_its_own(keeping)
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

    def _journal_of_its_own(self, keeping: Keeping) -> Journal | None:
        asked = settings.current()
        target = asked.journal if keeping.journal is None else keeping.journal
        durability = keeping.durability or asked.durability
        return None if target is None else Journal(target, self.recording, durability=durability)

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

    def between(self, seq: int, end: int) -> list[Event]:
        """Events from number ``seq`` on and before number ``end``, from memory."""
        self._check_kept("event")
        store = self._store
        return store.since(seq, end)[0] if isinstance(store, Kept) else []

    @property
    def error(self) -> BedrockNbError | None:
        """What ended the reply badly, so far; nothing is waited for or raised."""
        return self._intake.error

    def since(self) -> float:
        """Seconds since the request was made, on the clock of the recording's times."""
        return self._source.since()

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

    def frames(self) -> Iterator[Frame]:
        """The frames of the wire, with headers and payloads as they came.

        Raises
        ------
        RecordingError
            There are none to show: the reply is longer than 4 MiB, or was never on a wire we could read.
        """
        self._check_kept("frame")
        with contextlib.suppress(StreamError):  # raised below, after what came
            self.drain()
        body = self.recording.body
        if body is not None:
            try:
                yield from FrameDecoder().receive_data(body)
            except FrameError as err:
                yield from err.frames
        elif len(self.recording):
            raise RecordingError(
                "The frames of this reply are not known.",
                remedy="A plain call has none."
                if self.recording.whole
                else "They are kept up to 4 MiB, for clients of connect() or watch().",
            )
        self._intake.check()

    def map(self, function: Callable[[Event], T]) -> list[T]:
        """Call a function with every event as it arrives; return what it returned, as a list."""
        return [function(event) for event in self]

    # -- observers ---------------------------------------------------------------------------------

    def on(self, observer: Any) -> Reply:
        """Tell an observer what happens, whoever reads the reply; events that came before are told first.

        Parameters
        ----------
        observer : Observer
            Or any object with some of its methods. One that raises is dropped with a warning: the reply
            goes on.

        Returns
        -------
        Reply
            This one.
        """
        if not any(callable(getattr(observer, name, None)) for name in METHODS):
            raise RequestError(
                f"A {type(observer).__name__} observes nothing.",
                remedy=f"Give an object with one of the methods {', '.join(METHODS)}; see Observer.",
            )
        try:
            self._audience.add(observer, self)
        finally:
            self.settle()
        return self

    # -- what it adds up to ------------------------------------------------------------------------

    @property
    def snapshot(self) -> Message:
        """The message so far, open blocks included. Never waits, never raises."""
        return self._intake.fold.snapshot

    @property
    def message(self) -> Message:
        """The whole message: reads what is left, and raises if the reply failed.

        Of a reply that you cancelled it is what came until then; ``status`` says so.
        """
        self._check_kept("message")
        self.drain()
        return self.snapshot

    def _check_kept(self, what: str) -> None:
        if not self.recording.keeps:
            raise RequestError(
                f"There is no {what}: this reply is not kept (record=False).",
                remedy="Take what you need from its events as they come, or leave record=False out.",
            )

    @property
    def text(self) -> str:
        """All visible text of the whole message."""
        return self.message.text

    @property
    def schema(self) -> Any:
        """What was asked for as ``schema=``; None if nothing was."""
        return self._schema

    @property
    def partial_json(self) -> Any:
        """The value of an answer in JSON as far as it has come, or None. Never waits, never raises."""
        return structured.partial(self.snapshot.text, whole=self.status == "complete")

    @property
    def partials(self) -> Iterator[Any]:
        """The value of an answer in JSON each time that it has changed, as it streams.

        Of a long answer neighbouring changes may be joined, so that the work grows as its length does. The
        last value always comes.
        """
        return structured.growing(self.text_stream)

    @property
    def parsed(self) -> Any:
        """The value of the whole answer in JSON: reads what is left.

        Returns
        -------
        object
            Of the class that was given as ``schema``; a plain value if none was.

        Raises
        ------
        StructuredOutputError
            The answer is not whole JSON, or does not fit the class.
        """
        text = self.text
        stopped = "cancelled" if self.status == "cancelled" else self.stop_reason
        try:
            return structured.parsed(text, structured.validator_of(self._schema), stopped=stopped)
        except StructuredOutputError as err:
            err.reply = self
            raise

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts in Bedrock's own names."""
        self.drain()
        return self._intake.fold.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the message stopped: ``end_turn``, ``tool_use``, ``max_tokens`` …"""
        self.drain()
        return self._intake.fold.stop_reason

    @property
    def metrics(self) -> dict[str, Any]:
        """Every number of `metrics.METRICS` for this reply; None where it has none.

        Like every view it raises if the reply failed: ``bedrock_nb.summary(reply)`` shows what is known then.
        """
        self.drain()
        return metrics.measure(self.recording)

    def drain(self) -> Reply:
        """Read to the end; raise what ended the reply if it failed."""
        while not self._intake.done:
            self.after(self._store.count)
        self._intake.check()
        return self

    @property
    def problems(self) -> list[str]:
        """What is not as it should be: of the protocol (see `check`), the measurement, the journal."""
        return [*self.recording.problems, *map(str, check(self.recording))]

    @property
    def journal(self) -> Path | None:
        """The file that this reply is journalled in, if there is one."""
        journal = self._intake.journal
        return None if journal is None else journal.path

    @property
    def envelope(self) -> dict[str, Any]:
        """What the response said before any event: request id, status, retries, date, content type."""
        return self.recording.envelope

    @property
    def status(self) -> str:  # not Status: jedi, which completes names in notebooks, fails on Literal
        """``streaming``, then one of ``complete``, ``cancelled``, ``incomplete``, ``error``."""
        return self.recording.status

    # -- ending ------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop: close the connection, keep what came. From any thread; once is enough."""
        _stop(self._intake, self._source, self._pump)
        self.settle()

    @property
    def masked(self) -> bool:
        """Whether its errors hold nothing of the provider's words."""
        return self._intake.masked

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

    def close(self) -> None:
        """Let the connection go; a reply that was not read to its end counts as cancelled."""
        self.cancel()

    def resume(self, client: Any = None, **options: Any) -> Reply:
        """Take an answer up again that broke off; see `bedrock_nb.resume`.

        Parameters
        ----------
        client : boto3 bedrock-runtime client, optional
            By default the one that was asked first.
        **options
            As `bedrock_nb.resume` takes them.
        """
        import bedrock_nb

        client = client if client is not None else getattr(self._source, "client", None)
        if client is None:
            raise RequestError(
                "This reply was made from a response, so its client is not known.",
                remedy="Name it: reply.resume(client).",
            )
        return bedrock_nb.resume(client, self, **options)

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        stop = self._intake.fold.stop_reason
        return (
            f"<Reply {self.recording.model}: {self.status}{f', {stop}' if stop else ''}, "
            f"{len(self.recording)} events, {len(self.snapshot.text)} characters>"
        )

    def _repr_html_(self) -> str:
        from bedrock_nb import render  # late: only notebooks need Markdown and the sanitiser

        # No times: a saved notebook compares equal when it is run again. No text: `live` shows that.
        return render.card(
            "Reply",
            {
                "model": self.recording.model,
                "status": ", ".join(filter(None, (self.status, self._intake.fold.stop_reason))),
                "events": str(len(self.recording)),
                "output tokens": str(self._intake.fold.usage.get("outputTokens", "")),
            },
        )


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
