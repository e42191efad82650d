"""An answer that broke off and a second call that takes it up again, as one source of events.

Strategy: first everything that the first call brought, at its own times; then a `Seam`; then what the second
call brings, on the same clock: the pause between the two, in which nobody waited, does not count. To
continue, the partial text goes back as the beginning of the assistant's turn (a prefill), and the text that
follows is put into the block that was open. Whether a model takes a prefill is best known to the service:
where it refuses one, the answer is asked for again from the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, Literal, TypeAlias

from bedrock_nb.assembly import fold
from bedrock_nb.calling import Calling
from bedrock_nb.errors import RequestError, ValidationError
from bedrock_nb.events import (
    BlockStop,
    Event,
    MessageStart,
    MessageStop,
    Metadata,
    Seam,
    StreamFault,
    TextDelta,
)
from bedrock_nb.intake import Arrival, as_our_error
from bedrock_nb.mend import resendable
from bedrock_nb.message import Message, TextBlock
from bedrock_nb.recording import Recording
from bedrock_nb.timeouts import Timeouts

__all__ = ["How", "Resumed"]

How: TypeAlias = Literal["auto", "continue", "restart"]

_HOW = ("auto", "continue", "restart")


class Resumed:
    """Both calls as one source.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    before : Recording
        Of the call that broke off.
    how : {"auto", "continue", "restart"}
    timeouts : Timeouts
        For the second call.

    Raises
    ------
    RequestError
        There is nothing to take up again.
    """

    def __init__(self, client: Any, before: Recording, how: How, timeouts: Timeouts) -> None:
        if how not in _HOW:
            raise RequestError(f"how is {how!r}.", remedy=f"It may be {', '.join(_HOW)}.")
        _check(before, how)
        self.client, self._before, self._how = client, before, how
        self._part = fold(before)
        prefill = _prefill(self._part) if how != "restart" else None
        if how == "continue" and prefill is None:
            raise RequestError(
                "This answer cannot be continued: it did not break off in its text.",
                remedy='Ask again from the start: how="restart".',
            )
        self._mode: Literal["continue", "restart"] = "restart" if prefill is None else "continue"
        request = before.request
        if prefill is not None:
            request = {**request, "messages": [*request["messages"], prefill]}
        self._second = Calling(client, request, timeouts, streaming=not before.whole)
        self.call = self._second.call
        self.call.request = before.request  # what was asked is what was asked at first
        if before.started is not None:
            self.call.started = before.started
        self._shift = before.marks.get("closed", before.times[-1] if len(before) else 0.0)

    @property
    def opened(self) -> bool:
        """Whether the second response's head is there."""
        return self._second.opened

    def since(self) -> float:
        """Seconds since the first call began."""
        return self._second.since() + self._shift

    def arrivals(self, recording: Recording) -> Iterator[Arrival]:
        """What came of the first call; the seam; what comes of the second."""
        before = self._before
        for name, t in before.marks.items():
            if name != "closed":
                recording.mark(name, t)
        recording.late |= before.late
        recording.spent |= before.spent
        for t, read, nbytes, event in before.rows():
            if not isinstance(event, MessageStop | Metadata | StreamFault):  # they ended the first part
                yield t, read, [((event,), nbytes)]
        second, told = self._open()
        recording.envelope |= {**told.envelope, "resumed": before.envelope.get("request_id", "")}
        recording.problems.append(
            "Token counts are those of the call that resumed this reply; the first never told its own."
        )
        yield self._shift, 0, [((Seam(self._mode, _reason(before)),), 0)]
        join = _Join(before, self._part) if self._mode == "continue" else None
        last = max(before.reads, default=0)
        for t, read, arrived in second:
            if arrived:  # the head brings nothing, and nothing is known by then
                _add_up(recording, before, told, last)
            if join is not None:
                arrived = [(join.events(events), nbytes) for events, nbytes in arrived]
            yield t + self._shift, read + last, arrived

    def _open(self) -> tuple[Iterator[Arrival], Recording]:
        """The second call's arrivals, its head being there, and what else is told of it."""
        scratch = Recording()
        arrivals = self._second.arrivals(scratch)
        try:
            head = next(arrivals)
        except Exception as err:
            may_restart = self._how == "auto" and self._mode == "continue"
            if not (may_restart and isinstance(as_our_error(err), ValidationError)):
                raise
            self._mode = "restart"
            self._second.instead(self._before.request)
            return self._open()
        return chain([head], arrivals), scratch

    def left(self) -> float:
        """Seconds until the limit of the whole reply."""
        return self._second.left()

    def shutdown(self) -> None:
        """Give it up, from any thread."""
        self._second.shutdown()

    def close(self) -> None:
        """Let the connection go."""
        self._second.close()


def _check(before: Recording, how: str) -> None:
    if not before.keeps:
        raise RequestError(
            "Nothing of this reply is kept (record=False).",
            remedy="If it has a journal, give that: bedrock_nb.resume(client, reply.journal).",
        )
    if not before.request.get("modelId") or not before.request.get("messages"):
        raise RequestError(
            "What this reply was an answer to is not known.",
            remedy="A recording holds its request if it was made by bedrock_nb.stream or a watched client.",
        )
    if before.status in ("complete", "streaming"):
        raise RequestError(
            "This reply is whole." if before.status == "complete" else "This reply still streams.",
            remedy="Only one that broke off can be taken up again.",
        )
    if before.stop_reason is not None and how != "restart":
        raise RequestError(
            "The model had finished before this reply broke off: its message is whole.",
            remedy='reply.snapshot has it; how="restart" asks again from the start.',
        )


def _add_up(recording: Recording, before: Recording, told: Recording, last: int) -> None:
    """Own time of both calls, and late reads of the second; nothing where it is not known of both."""
    if told.envelope.get("tls") is before.envelope.get("tls") is True:
        recording.envelope["tls"] = True
    if "client_s" in told.spent and "client_s" in before.spent:
        recording.spent["client_s"] = before.spent["client_s"] + told.spent["client_s"]
        while told.late:
            read, seconds = told.late.popitem()
            recording.late[read + last] = seconds
    else:
        recording.spent.pop("client_s", None)
        recording.late.clear()


def _reason(before: Recording) -> str:
    return type(before.error).__name__ if before.error is not None else before.status


def _prefill(part: Message) -> dict[str, Any] | None:
    """The partial answer as the beginning of the assistant's turn; None where it is not all text."""
    if part.tool_uses or not part.content or not isinstance(part.content[-1], TextBlock):
        return None
    turns = resendable(part)
    last = turns[0]["content"][-1] if turns else {}
    text = last.get("text", "").rstrip()  # models refuse a turn that ends in white space
    return {**turns[0], "content": [*turns[0]["content"][:-1], {"text": text}]} if text else None


class _Join:
    """The events of the second call, fitted to those of the first."""

    def __init__(self, before: Recording, part: Message) -> None:
        self._block, self._open = 0, False  # the text block that was written last
        for i in range(len(before)):
            kind, block = before.kind(i), before.block_of(i)
            if kind is TextDelta and block is not None:
                self._block, self._open = block, True
            elif kind is BlockStop and block == self._block:
                self._open = False
        text = part.content[-1].text if isinstance(part.content[-1], TextBlock) else ""
        self._white = text[len(text.rstrip()) :]  # not sent back, so the model may write it again
        self._shift: int | None = None  # between the block indices of the two calls

    def events(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """The same events, numbered on; the second start of the message is none."""
        out: list[Event] = []
        for event in events:
            if isinstance(event, MessageStart):
                continue
            index = getattr(event, "index", None)
            if index is None:
                if isinstance(event, MessageStop) and self._shift is None and self._open:
                    out.append(BlockStop(self._block))
                out.append(event)
                continue
            if self._shift is None:
                goes_on = self._open and isinstance(event, TextDelta | BlockStop)
                if self._open and not goes_on:
                    out.append(BlockStop(self._block))
                self._shift = self._block + (not goes_on) - index
            if isinstance(event, TextDelta):
                event = TextDelta(index, self._without_white(event.text))
            out.append(replace(event, index=index + self._shift))
        return tuple(out)

    def _without_white(self, text: str) -> str:
        """The text without the white space that the first part ended in, if the model writes that again."""
        same = 0
        while same < min(len(self._white), len(text)) and self._white[same] == text[same]:
            same += 1
        self._white = self._white[same:] if same == len(text) else ""
        return text[same:]
