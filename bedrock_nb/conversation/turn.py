"""One turn of a conversation as the user sees it: a prompt, and everything until the model has answered.

Strategy: a `Turn` is to several rounds what a `Reply` is to one call. A view walks from round to round: it
reads the round's reply as any view of a reply does, with what happens to tools set between, and at its end
drives `loop.Loop` one step further, under a lock. So nothing is kept twice, and each view has its own
place. With ``background=True`` a thread is the first view. The loop does not refer to the turn: a turn that
nobody holds is ended at once, and what came of it is in the conversation.
"""

from __future__ import annotations

import contextlib
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

from bedrock_nb import structured
from bedrock_nb.conversation.history import Exchange, total
from bedrock_nb.conversation.loop import Loop, Round, TurnEvent
from bedrock_nb.conversation.running import serving
from bedrock_nb.errors import BedrockNbError, RequestError
from bedrock_nb.events import MessageStart, TextDelta
from bedrock_nb.message import Message
from bedrock_nb.recording import Recording
from bedrock_nb.reply import Reply
from bedrock_nb.toolruns import ToolRun

__all__ = ["Turn"]


class Turn:
    """A prompt and its answer, over as many calls of the model as the tools need; from `Conversation.stream`.

    It is used like a `Reply`: iterate it, iterate it again, show it with `live`, look at ``snapshot`` while
    it grows. Its events are those of all its replies, with `ToolStarted` and `ToolFinished` between them.

    Attributes
    ----------
    exchange : Exchange
        What of it is in the conversation's history.
    """

    def __init__(self, loop: Loop, *, background: bool = False) -> None:
        self.exchange: Exchange = loop.exchange
        self._loop, self._steps = loop, loop.steps()
        self._over = False
        self._error: Exception | None = None
        self._driving = threading.RLock()
        self._moved = threading.Condition()  # notified when somebody has driven, or has let go of the lock
        self._readers: set[int] = set()  # threads that read just now, by their number
        self._thread: threading.Thread | None = None
        self._advance()  # the head of the first answer: what is wrong with the request is raised here
        self._check()
        if background:
            self._thread = threading.Thread(target=self._drive, name="bedrock_nb.turn", daemon=True)
            self._thread.start()

    def _advance(self, there: Callable[[], bool] = lambda: False) -> None:
        """Drive the loop one step further, in this thread, unless another's step brought what is wanted."""
        if not self._may_drive(there):
            return
        try:
            if not (self._over or there()):
                next(self._steps)
        except StopIteration:
            self._over = True
        except Exception as err:
            self._error, self._over = err, True
        except BaseException:  # an interrupt is for who was interrupted, once
            self._over = True
            raise
        finally:
            self._let_go()

    def _may_drive(self, there: Callable[[], bool]) -> bool:
        """Wait for the lock (True), or until another thread's step has brought what is wanted (False).

        Whoever drives in a loop takes the lock again at once: to wait for it alone could be to wait for ever.
        """
        if self._loop.serves(serving()):
            raise RequestError(
                "A tool cannot wait for the turn whose call it serves.",
                remedy="What came is in turn.snapshot.",
            )
        taken = False

        def may() -> bool:
            nonlocal taken
            taken = self._driving.acquire(blocking=False)
            return taken or there()

        try:
            with self._moved:
                self._moved.wait_for(may)
        except BaseException:  # interrupted: others must be able to drive
            if taken:
                self._let_go()
            raise
        return taken

    def _let_go(self) -> None:
        self._driving.release()
        with self._moved:
            self._moved.notify_all()

    def _drive(self) -> None:
        """In a thread: everything that comes; what fails is told by the views."""
        with contextlib.suppress(Exception):
            self.drain()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    # -- views -------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[TurnEvent]:
        """Every event as it comes, from memory what came before."""
        for events in self._batches():
            yield from events

    def _batches(self) -> Iterator[Sequence[TurnEvent]]:
        """The same, as it comes together."""
        number, rounds = 0, self._loop.rounds
        try:
            while not self._over or number < len(rounds):
                if number < len(rounds):
                    yield from self._of_round(rounds[number])
                    number += 1
                else:
                    self._advance(lambda: number < len(rounds))  # noqa: B023  (called at once)
        except KeyboardInterrupt:
            self.cancel()
            raise
        self._check()

    def _of_round(self, this: Round) -> Iterator[Sequence[TurnEvent]]:
        reply, told = this.reply, this.told
        after, see = reply.after, self._loop.see
        seq, place, over = 0, 0, False
        reader, readers = threading.get_ident(), self._readers
        while not over:
            begin = seq
            readers.add(reader)
            try:
                fresh, seq, over = after(seq)
                if not this.over:
                    see(this, fresh)
            finally:
                readers.discard(reader)
            if place == len(told):
                yield fresh
                continue
            while place < len(told) and told[place][0] <= seq:  # set what was told where it happened
                at, event = told[place]
                yield reply.between(begin, at)
                yield (event,)
                begin, place = max(begin, at), place + 1
            yield reply.between(begin, seq)
        while not this.over or place < len(told):
            if place < len(told):
                yield (told[place][1],)
                place += 1
            else:
                self._advance(lambda: this.over or place < len(told))  # noqa: B023  (called at once)

    @property
    def text_stream(self) -> Iterator[str]:
        """The visible text of all answers, piece by piece."""
        return (event.text for event in self if isinstance(event, TextDelta))

    def drain(self) -> Turn:
        """Go on to the end; raise what ended the turn if it failed."""
        for _ in self._batches():
            pass
        return self

    @property
    def snapshot(self) -> Message:
        """Everything so far as one message: answers, results of tools, the open block. Never waits."""
        blocks = [block for message in tuple(self.exchange.messages) for block in message.content]
        partial = self._loop.partial
        if partial is not None:
            blocks += [*partial.content, *self._loop.results]
        return Message("assistant", tuple(blocks), partial=self.status != "complete")

    @property
    def message(self) -> Message:
        """The last answer: goes on to the end, and raises if the turn failed."""
        self.drain()
        return self.exchange.answer or Message("assistant", partial=True)

    @property
    def text(self) -> str:
        """The visible text of the last answer."""
        return self.message.text

    @property
    def parsed(self) -> Any:
        """The last answer as an object, where a schema was asked for; see `Reply.parsed`."""
        self.drain()
        return self.replies[-1].parsed

    @property
    def partial_json(self) -> Any:
        """The value so far, where a schema was asked for; see `Reply.partial_json`."""
        return self.replies[-1].partial_json

    @property
    def partials(self) -> Iterator[Any]:
        """The value of an answer in JSON each time that it has changed; of each answer anew."""
        return structured.growing(
            None if isinstance(event, MessageStart) else event.text
            for event in self
            if isinstance(event, MessageStart | TextDelta)
        )

    @property
    def stop_reason(self) -> str | None:
        """Why the last answer stopped."""
        self.drain()
        return self.exchange.stop_reason

    @property
    def usage(self) -> dict[str, int]:
        """Token counts of all calls, added up, in Bedrock's own names."""
        self.drain()
        return total([self.exchange])

    @property
    def status(self) -> str:
        """``streaming``, then ``complete``, ``cancelled``, ``incomplete``, ``error`` or ``limited``."""
        return self.exchange.status

    @property
    def error(self) -> BedrockNbError | None:
        """What ended the turn badly, so far; nothing is waited for or raised."""
        return self._error if isinstance(self._error, BedrockNbError) else None

    @property
    def replies(self) -> list[Reply]:
        """The reply of each round so far."""
        return [each.reply for each in self._loop.rounds]

    @property
    def recordings(self) -> list[Recording]:
        """The recording of each round so far: tables and plots take the turn itself, too."""
        return [each.reply.recording for each in self._loop.rounds]

    @property
    def tools(self) -> list[ToolRun]:
        """What became of each call of a tool so far."""
        return list(self.exchange.tools)

    @property
    def seconds(self) -> float | None:
        """From the prompt to the end, tools included; None while it goes on."""
        return self._loop.seconds

    @property
    def busy(self) -> bool:
        """Whether somebody is going on with it just now: another thread, or who is called by it."""
        if self._over or self._thread is not None or self._readers:
            return not self._over
        return inspect.getgeneratorstate(self._steps) == "GEN_RUNNING"

    def settle(self, seconds: float) -> None:
        """Wait so long for whoever goes on with it to see that it was stopped."""
        end = time.monotonic() + seconds
        while self.busy and threading.get_ident() not in self._readers and time.monotonic() < end:
            with self._moved:
                self._moved.wait(0.01)

    # -- ending ------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop: close the connection, give tools up, keep what came. From any thread; once is enough."""
        if self._over:
            return
        self._loop.stop()
        if self._thread is None and self._driving.acquire(blocking=False):
            try:
                while not (self._over or inspect.getgeneratorstate(self._steps) == "GEN_RUNNING"):
                    self._advance()
            finally:
                self._let_go()

    def cancel_tool(self, id: str) -> bool:
        """Give up one call of a tool that is running, from any thread; the model is told, and goes on.

        Parameters
        ----------
        id : str
            Of the call, as its `ToolStarted` has it.

        Returns
        -------
        bool
            Whether there was such a call without a result.
        """
        running = next((each.running[id] for each in reversed(self._loop.rounds) if id in each.running), None)
        return running is not None and running.give_up(
            said="The user cancelled this tool call: it has no result."
        )

    def close(self) -> None:
        """Let everything go; a turn that was not at its end counts as cancelled."""
        self.cancel()

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()
        if self._thread is not None:
            self._thread.join(1.0)

    def __repr__(self) -> str:
        rounds, tools = len(self._loop.rounds), len(self.exchange.tools)
        counts = f"{rounds} round{'s' * (rounds != 1)}, {tools} tool call{'s' * (tools != 1)}"
        return f"<Turn: {self.status}, {counts}, {len(self.snapshot.text)} characters>"

    def _repr_html_(self) -> str:
        from bedrock_nb import render  # late: only notebooks need Markdown and the sanitiser

        status = ", ".join(filter(None, (self.status, self.exchange.stop_reason)))
        if self.status == "streaming":
            status = "streaming: nb.live(turn) shows it, turn.drain() reads it"
        facts = {
            "status": status,
            "rounds": str(len(self._loop.rounds)),
            "tool calls": ", ".join(f"{run.name}: {run.outcome}" for run in self.exchange.tools),
            "output tokens": str(total([self.exchange]).get("outputTokens", "")),
        }
        return render.card("Turn", {name: value for name, value in facts.items() if value})
