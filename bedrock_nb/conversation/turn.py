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
from typing import Any, TypeAlias

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

__all__ = ["Place", "Turn"]

#: How far somebody has looked at a turn: rounds, events of the next one, and what was told of its tools.
Place: TypeAlias = tuple[int, int, int]


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
        self._over = self._untold = False  # over; and nobody was told of it yet
        self._error: Exception | None = None
        self._driving = threading.RLock()
        self._moved = threading.Condition()  # notified when somebody has driven, or has let go of the lock
        self._readers: set[int] = set()  # threads that read just now, by their number
        self._drains = 0  # who goes on to the end, also in the moments in which they do not read
        self._waiting: set[int] = set()  # threads that wait until they may drive
        self._errands: dict[int, Callable[[], object]] = {}  # what such a thread is to do meanwhile
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
                self._step()
        finally:
            self._let_go()

    def _step(self) -> None:
        """Drive the loop one step further, in this thread, which holds the lock."""
        over = True
        try:
            next(self._steps)
            over = False
        except StopIteration:
            pass
        except Exception as err:
            self._error = err  # what is no Exception, an interrupt, is for who was interrupted, once
        finally:
            self._over = self._untold = over

    def _may_drive(self, there: Callable[[], bool]) -> bool:
        """Wait for the lock (True), or until another thread's step has brought what is wanted (False).

        Whoever drives in a loop takes the lock again at once: to wait for it alone could be to wait for ever.
        """
        self._refuse_its_tools()
        taken, me = False, threading.get_ident()

        def may() -> bool:
            nonlocal taken
            if me not in self._errands:
                taken = self._driving.acquire(blocking=False)
            return taken or me in self._errands or there()

        try:
            while True:
                with self._moved:
                    self._waiting.add(me)
                    self._moved.wait_for(may)
                    self._waiting.discard(me)
                    errand = self._errands.pop(me, None)
                if errand is None:
                    return taken
                errand()
        except BaseException:  # interrupted: others must be able to drive
            self._waiting.discard(me)
            self._errands.pop(me, None)
            if taken:
                self._let_go()
            raise

    def have(self, thread: int | None, errand: Callable[[], object]) -> bool:
        """Let a thread that waits for another to go on with the turn do something meanwhile.

        Parameters
        ----------
        thread : int
            Its number.
        errand : function
            What it raises is raised to who waits there.

        Returns
        -------
        bool
            False if that thread does not wait.
        """
        with self._moved:
            if thread is None or thread not in self._waiting:
                return False
            self._errands[thread] = errand
            self._moved.notify_all()
            return True

    def _refuse_its_tools(self) -> None:
        if self._loop.serves(serving()):
            raise RequestError(
                "A tool cannot wait for the turn whose call it serves.",
                remedy="What came is in turn.snapshot.",
            )

    def _let_go(self) -> None:
        untold, self._untold = self._untold, False  # while the lock is held
        self._driving.release()
        with self._moved:
            self._moved.notify_all()
        if untold:
            self._loop.changed()

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

    def since(self, place: Place = (0, 0, 0)) -> tuple[list[TurnEvent], Place]:
        """The events that are there after a place, and the place after them; waits for nothing.

        For who only looks, as often as they like: to go through a turn in any number of steps costs as much
        as to go through it once. Another thread may go on with the turn meanwhile.

        Parameters
        ----------
        place : optional
            What the call before returned; by default the beginning.
        """
        number, seq, told = place
        events: list[TurnEvent] = []
        last = len(self._loop.rounds) - 1  # first: all before it are over, and have all of theirs
        for number in range(number, last + 1):  # noqa: B020  (goes on from there)
            if number > place[0]:
                seq = told = 0
            this = self._loop.rounds[number]
            news = this.told[told:]  # before the events are counted: each was told at one of those
            end = len(this.reply.recording)
            for at, event in news:
                events += this.reply.between(seq, at)
                events.append(event)
                seq, told = max(seq, at), told + 1
            events += this.reply.between(seq, end)
            seq = max(seq, end)
        return events, (max(number, 0), seq, told)

    @property
    def text_stream(self) -> Iterator[str]:
        """The visible text of all answers, piece by piece."""
        return (event.text for event in self if isinstance(event, TextDelta))

    def drain(self) -> Turn:
        """Go on to the end; raise what ended the turn if it failed."""
        with self._moved:
            self._drains += 1
        try:
            for _ in self._batches():
                pass
        finally:
            with self._moved:
                self._drains -= 1
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
        if self._over or self._thread is not None or self._readers or self._drains:
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
                    self._refuse_its_tools()
                    self._step()  # not `_advance`, which tells of the end: the lock is still held here
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
