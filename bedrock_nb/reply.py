"""One call, as timed events: what `stream` returns.

Strategy: a reply owns one `Intake` and hands out views of it. Whoever needs an event that has not come yet
pulls the intake one network read further, under a lock; everything that came is in the recording, which
needs no lock, so each view has its own place and none starves or waits for another. A loop that comes
later replays from memory. Nothing here refers back to the reply: one that nobody holds is closed at once.

A reply that fails raises at the place where its events end, in every view, after all that came was handed
out: a cut answer never looks like a whole one. `Reply.snapshot` never raises and never waits.
"""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from bedrock_nb import metrics
from bedrock_nb.errors import FrameError, RecordingError, RequestError, StreamError
from bedrock_nb.events import Event, MessageComplete, StreamFault, TextDelta, ToolUse
from bedrock_nb.eventstream import Frame, FrameDecoder
from bedrock_nb.intake import Intake, parsed_arrivals, wire_arrivals
from bedrock_nb.message import Message
from bedrock_nb.observers import METHODS, Audience, Observer
from bedrock_nb.recording import recordings
from bedrock_nb.request import Request, as_request
from bedrock_nb.tap import Call, ask, envelope, shut, tapped, unwired
from bedrock_nb.wire import to_botocore

__all__ = ["Observer", "Reply", "stream"]

T = TypeVar("T")


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

    def __init__(self, response: Mapping[str, Any], *, labels: Mapping[str, Any] | None = None) -> None:
        if not isinstance(response, Mapping) or "stream" not in response:
            raise RequestError(
                f"A Reply is made from the response of converse_stream; this is a {type(response).__name__}"
                " without a 'stream'.",
                remedy="Pass what client.converse_stream(...) returned, or use bedrock_nb.stream.",
            )
        source = response["stream"]
        if isinstance(source, str | bytes) or not isinstance(source, Iterable):
            raise RequestError(
                f"The stream of this response is a {type(source).__name__}.",
                remedy="Events are wanted: botocore's EventStream, or a list of its dicts.",
            )
        _check_labels(labels)
        body = tapped(source)
        if body is not None:
            call = body.claim()
            self.recording = call.recording(labels)
            arrivals = wire_arrivals(body, self.recording)
            close, self._shutdown = body.close, body.shutdown
        else:
            call = unwired(source) or Call({}, time.perf_counter)
            self.recording = call.recording(labels, clock="parsed")
            # botocore's Stubber lets a stream be one dict, in which each kind of event comes once.
            dicts = [source] if isinstance(source, Mapping) else source
            arrivals = parsed_arrivals(dicts, call.since)
            close = getattr(source, "close", lambda: None)
            self._shutdown = partial(_shut_or_close, getattr(source, "_raw_stream", None), close)
        self.recording.envelope = envelope(response)
        self._intake = Intake(self.recording, arrivals, close, call.since)
        self._intake.origin = weakref.ref(self)
        self._lock = threading.RLock()
        self._audience = Audience()
        # Of next_event, which is no generator: that would hold this reply, and this reply it.
        self._pulled: deque[Event] = deque()
        self._place = 0
        self._pulling = threading.RLock()
        recordings.append(self.recording)

    # -- views of the events -----------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        """Every event as it arrives, those made by the fold included; from memory what came before."""
        seq, end = 0, False
        while not end:
            fresh, seq, end = self._after(seq)
            yield from fresh
        self._intake.check()

    def _after(self, seq: int) -> tuple[list[Event], int, bool]:
        """Events from number ``seq`` on, the number that follows them, and whether nothing will.

        What came is given at once; if there is nothing new, this waits for one network read.
        """
        times, intake = self.recording.times, self._intake
        if seq == len(times):
            try:
                with self._lock:
                    if seq == len(times):  # nobody else has read in the meantime
                        fresh, end = self._advance()
                        return fresh, end, intake.done and not fresh
            finally:
                if intake.cancelled:
                    self._settle()
        end = len(times)
        return self._remembered(seq, end), end, False

    def _remembered(self, seq: int, end: int) -> list[Event]:
        derived, out = self._intake.derived, []
        for i in range(seq, end):
            out.append(self.recording.event(i))
            out.extend(derived.get(i, ()))
        return out

    def _advance(self) -> tuple[list[Event], int]:
        fresh = self._intake.advance()
        end = len(self.recording)  # now, for an observer may read on
        if self._audience:
            for observer in self._audience:
                self._tell(observer, fresh)
        return fresh, end

    def next_event(self) -> Event | None:
        """Pull: the next event, or None at the end. Keeps a place of its own."""
        with self._pulling:
            while not self._pulled:
                fresh, self._place, end = self._after(self._place)
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
            if not isinstance(event, ToolUse | MessageComplete | StreamFault):
                yield to_botocore(event)

    def frames(self) -> Iterator[Frame]:
        """The frames of the wire, with headers and payloads as they came.

        Raises
        ------
        RecordingError
            There are none to show: the reply is longer than 4 MiB, or was never on a wire we could read.
        """
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
                remedy="They are kept up to 4 MiB, for clients of connect() or watch().",
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
            with self._lock:
                self._audience.add(observer)
                if self._audience.call(observer, "on_start", self):
                    self._tell(observer, self._remembered(0, len(self.recording)))
        finally:
            self._settle()
        return self

    def _tell(self, observer: Any, events: Iterable[Event]) -> None:
        audience, intake = self._audience, self._intake
        if not audience.tell(observer, events) or not intake.done:
            return
        audience.drop(observer)
        if intake.error is not None:
            audience.call(observer, "on_error", intake.error)
        elif self.status == "complete":
            numbers = metrics.measure(self.recording)
            audience.call(observer, "on_complete", self.snapshot, intake.fold.usage, numbers)

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
        self.drain()
        return self.snapshot

    @property
    def text(self) -> str:
        """All visible text of the whole message."""
        return self.message.text

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
        """Every number of `metrics.METRICS` for this reply; None where it has none."""
        self.drain()
        return metrics.measure(self.recording)

    def drain(self) -> Reply:
        """Read to the end; raise what ended the reply if it failed."""
        while not self._intake.done:
            self._after(len(self.recording))
        self._intake.check()
        return self

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
        if self._intake.done:
            return
        self._intake.cancelled = True
        self._shutdown()
        self._settle()

    def _settle(self) -> None:
        """End the reply if it was cancelled; if somebody is in there, they do it when they come out."""
        if self._intake.cancelled and not self._intake.done and self._lock.acquire(blocking=False):
            try:
                self._intake.finish("cancelled")
            finally:
                self._lock.release()

    def close(self) -> None:
        """Let the connection go; a reply that was not read to its end counts as cancelled."""
        self.cancel()

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


def stream(
    client: Any,
    prompt: str | Sequence[Any] | Request | None = None,
    *,
    model: str | None = None,
    system: str | Sequence[Mapping[str, Any]] | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    stop: Sequence[str] | None = None,
    tools: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
    labels: Mapping[str, Any] | None = None,
    **converse_kwargs: Any,
) -> Reply:
    """Ask a model and stream its answer.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
        From `connect`, or your own.
    prompt : str, list or Request
        What to ask: text, a list of content blocks, a list of messages, or a `Request`; with the last, the
        other settings change it for this call.
    model, system, max_tokens, temperature, top_p, stop, tools
        As in `Request`; only what is given is sent.
    labels : mapping, optional
        Columns by which the summary table tells this reply from others.
    **converse_kwargs
        Any other argument of ``client.converse_stream``, under its own name.

    Returns
    -------
    Reply
        As soon as the response's head is there; no event has been read.

    Raises
    ------
    RequestError
        An argument that cannot work.
    botocore.exceptions.ClientError
        The service refused the request.
    """
    given = {
        "model": model,
        "system": system,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stop": stop,
        "tools": tools,
    }
    request = as_request(prompt, {k: v for k, v in given.items() if v is not None}, converse_kwargs)
    _check_labels(labels)
    return Reply(ask(client, request.to_kwargs()), labels=labels)


def _check_labels(labels: object) -> None:
    if labels is not None and not isinstance(labels, Mapping):
        raise RequestError(
            f"labels are of type {type(labels).__name__}; a dict is wanted.",
            remedy="For example labels={'run': 3}.",
        )


def _shut_or_close(raw: Any, close: Callable[[], None]) -> None:
    """Of a stream that botocore reads: its ``close`` alone would wait for a read that blocks."""
    if not shut(raw):
        close()
