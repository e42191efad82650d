"""What a reply shows of itself, whoever reads it: the part that `reply.Reply` and `aio.AsyncReply` share.

Strategy: all of it is looked up in the recording and the fold; nothing here waits. What needs the end of the
reply asks for it by one method, ``_finish``, which each kind of reply has in its own way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from bedrock_nb import metrics, structured
from bedrock_nb.background import Kept, Window
from bedrock_nb.calling import Source
from bedrock_nb.check import check
from bedrock_nb.errors import (
    BedrockNbError,
    FrameError,
    RecordingError,
    RequestError,
    StreamError,
    StructuredOutputError,
)
from bedrock_nb.events import Event
from bedrock_nb.eventstream import Frame, FrameDecoder
from bedrock_nb.intake import Intake
from bedrock_nb.message import Message
from bedrock_nb.observers import METHODS, Audience
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    from bedrock_nb.reply import Reply

__all__ = ["Answer"]


class Answer:
    """What a reply shows of itself, whoever reads it: base of `Reply` and of the `AsyncReply`.

    What it adds up to can be had at its end. A `Reply` reads what is left then; an `AsyncReply` cannot
    without an ``await``, and says so.
    """

    recording: Recording
    _intake: Intake
    _source: Source
    _store: Kept | Window
    _audience: Audience
    _schema: Any

    def cancel(self) -> None:
        """Stop: close the connection, keep what came. From any thread; once is enough."""
        raise NotImplementedError

    def settle(self, *, wait: bool = False) -> None:
        """End the reply if it was cancelled. If somebody is in there, they do it when they come out."""
        raise NotImplementedError

    def since(self) -> float:
        """Seconds since the request was made, on the clock of the recording's times."""
        return self._source.since()

    def between(self, seq: int, end: int) -> list[Event]:
        """Events from number ``seq`` on and before number ``end``, from memory."""
        self._check_kept("event")
        store = self._store
        return store.since(seq, end)[0] if isinstance(store, Kept) else []

    def frames(self) -> Iterator[Frame]:
        """The frames of the wire, with headers and payloads as they came.

        Raises
        ------
        RecordingError
            There are none to show: the reply is longer than 4 MiB, or was never on a wire we could read.
        """
        self._check_kept("frame")
        with contextlib.suppress(StreamError):  # raised below, after what came
            self._finish()
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

    def on(self, observer: Any) -> Self:
        """Tell an observer what happens, whoever reads the reply; events that came before are told first.

        Parameters
        ----------
        observer : Observer
            Or any object with some of its methods. One that raises is dropped with a warning: the reply
            goes on.

        Returns
        -------
        Reply or AsyncReply
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

    @property
    def snapshot(self) -> Message:
        """The message so far, open blocks included. Never waits, never raises."""
        return self._intake.fold.snapshot

    @property
    def partial_json(self) -> Any:
        """The value of an answer in JSON as far as it has come, or None. Never waits, never raises."""
        return structured.partial(self.snapshot.text, whole=self.status == "complete")

    def _finish(self) -> None:
        """Be at the end: read what is left, or refuse where that cannot be; raise what ended the reply."""
        raise NotImplementedError

    @property
    def message(self) -> Message:
        """The whole message; raises if the reply failed.

        Of a reply that you cancelled it is what came until then; ``status`` says so.
        """
        self._check_kept("message")
        self._finish()
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
    def parsed(self) -> Any:
        """The value of the whole answer in JSON.

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
        self._finish()
        return self._intake.fold.usage

    @property
    def stop_reason(self) -> str | None:
        """Why the message stopped: ``end_turn``, ``tool_use``, ``max_tokens`` …"""
        self._finish()
        return self._intake.fold.stop_reason

    @property
    def metrics(self) -> dict[str, Any]:
        """Every number of `metrics.METRICS` for this reply; None where it has none.

        Like every view it raises if the reply failed: ``bedrock_nb.summary(reply)`` shows what is known then.
        """
        self._finish()
        return metrics.measure(self.recording)

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

    @property
    def error(self) -> BedrockNbError | None:
        """What ended the reply badly, so far; nothing is waited for or raised."""
        return self._intake.error

    @property
    def masked(self) -> bool:
        """Whether its errors hold nothing of the provider's words."""
        return self._intake.masked

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

    def __repr__(self) -> str:
        stop = self._intake.fold.stop_reason
        return (
            f"<{type(self).__name__} {self.recording.model}: {self.status}{f', {stop}' if stop else ''}, "
            f"{len(self.recording)} events, {len(self.snapshot.text)} characters>"
        )

    def _repr_html_(self) -> str:
        from bedrock_nb import render  # late: only notebooks need Markdown and the sanitiser

        # No times: a saved notebook compares equal when it is run again. No text: `live` shows that.
        return render.card(
            type(self).__name__,
            {
                "model": self.recording.model,
                "status": ", ".join(filter(None, (self.status, self._intake.fold.stop_reason))),
                "events": str(len(self.recording)),
                "output tokens": str(self._intake.fold.usage.get("outputTokens", "")),
            },
        )
