"""The tool loop: ask the model, run the tools that it asks for, send their results, until it has answered.

Strategy: one generator, driven by whoever wants to go on. A round is one call of the model; its reply is read
by who looks at it, and they show here what comes (`Loop.see`). A tool that changes nothing and asks nobody
is started as soon as its content block has stopped, while the message goes on; all others wait until the
message is whole and says ``tool_use``. However a round ends, its exchange is left so that the conversation
can go on: what came is kept, and each call of a tool has a result.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Sequence
from copy import copy
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from bedrock_nb import audit
from bedrock_nb.conversation.history import Exchange, results_for
from bedrock_nb.conversation.limits import Budget, Limits
from bedrock_nb.conversation.running import Runner, Running
from bedrock_nb.errors import BedrockNbError, LoopLimitError, PayloadError, StreamError, TotalTimeout
from bedrock_nb.events import BlockStop, Event, ToolUse
from bedrock_nb.mend import BROKEN, CANCELLED, resendable, takes_back
from bedrock_nb.message import Message, ToolResultBlock, ToolUseBlock
from bedrock_nb.observers import METHODS
from bedrock_nb.reply import Reply
from bedrock_nb.toolruns import ToolFinished, ToolStarted, in_order

__all__ = ["Loop", "Round", "TurnEvent", "tell_all"]

#: What a turn consists of: the events of its replies, and what happens to its tools.
TurnEvent: TypeAlias = Event | ToolStarted | ToolFinished


class Round:
    """One call of the model, and the tools that it asked for.

    Attributes
    ----------
    reply : Reply
    told : list of (int, ToolStarted or ToolFinished)
        What happened to its tools, and how many of the reply's events had come by then.
    over : bool
        Nothing more will happen in it.
    """

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.told: list[tuple[int, ToolStarted | ToolFinished]] = []
        self.over = False
        self.closing = False  # no tool begins any more
        self.running: dict[str, Running] = {}  # by the id of the call
        self.ended: deque[Running] = deque()  # that have their result, and nobody has told of
        self.asked: dict[str, float] = {}  # when each call was whole

    def tell(self, event: ToolStarted | ToolFinished) -> None:
        """Note what has happened just now."""
        self.told.append((len(self.reply.recording), event))


class Loop:
    """One turn on its way.

    Parameters
    ----------
    exchange : Exchange
        With the prompt; filled as things come.
    ask : function
        From labels, the seconds that are left, and a function that is told of the reply before its head is
        there, to the `Reply` to all that was said so far.
    runner : Runner
    limits : Limits
    eager : bool
        Whether tools may start before their message has ended.
    observers : sequence
        Told of each reply as `Reply.on` says, and, if they have the methods, ``on_tool_start(call)`` and
        ``on_tool_end(run)``.
    changed : function, optional
        Called when the turn is over: by `turn.Turn`, outside of its lock; here, where no turn is left to.
    clock : function
        Seconds.
    """

    def __init__(
        self,
        exchange: Exchange,
        ask: Callable[[dict[str, Any], float, Callable[[Reply], None]], Reply],
        runner: Runner,
        limits: Limits,
        *,
        eager: bool = True,
        observers: Sequence[Any] = (),
        changed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.exchange, self.rounds = exchange, list[Round]()
        self.stopped = False
        self.seconds: float | None = None  # from the prompt to the end
        self._asking: Reply | None = None  # the newest, also one whose head has not come
        self._current: Reply | None = None  # whose round it is, until that is in the history
        self._never_ran = CANCELLED  # what the model is told of calls that did not begin
        self._ask, self._runner, self._budget, self._eager = ask, runner, Budget(limits, clock), eager
        self._observers, self.changed = observers, changed
        self._finished: SimpleQueue[Running | None] = SimpleQueue()
        self._deciding = threading.RLock()

    # -- from outside ------------------------------------------------------------------------------

    def stop(self) -> None:
        """End it, from any thread: close the connection, give running tools up."""
        self.stopped = True
        if self._asking is not None:
            self._asking.cancel()
        for last in self.rounds[-1:]:
            last.reply.cancel()
            for running in list(last.running.values()):
                running.give_up()
        self._finished.put(None)

    @property
    def partial(self) -> Message | None:
        """What came of the answer that is on its way, or whose tools are running; None if there is none."""
        reply = self._current
        message = None if reply is None else reply.snapshot
        return message if message is not None and message.content else None

    @property
    def results(self) -> list[ToolResultBlock]:
        """The results that are there of the calls of that answer."""
        running = list(self.rounds[-1].running.values()) if self.rounds and self._current is not None else []
        return [each.result for each in running if each.result is not None]

    def see(self, this: Round, events: Sequence[Event]) -> None:
        """Whoever reads a reply shows what came, before anybody else is: tools that may are started."""
        for event in events:
            if type(event) is ToolUse:
                self._whole(this, event)
        if this.running:
            self._take_in(this)

    # -- the loop ----------------------------------------------------------------------------------

    def steps(self) -> Generator[None, None, None]:
        """Go on; yields when the head of an answer is there, which is to be read then, and at news of tools.

        Whoever resumes it after a head has read the answer; what is left of it is read here.
        """
        status, dropped = "error", False
        try:
            while (yield from self._round()):
                pass
            status = "cancelled" if self.stopped else "complete"
        except LoopLimitError as err:
            status, self.exchange.error = "limited", _as_words(err)
            raise
        except BedrockNbError as err:
            self.exchange.error = _as_words(err)
            if isinstance(err, StreamError):
                status = "error" if err.reply is None or err.reply.status == "complete" else err.reply.status
                err.add_note(
                    "The conversation has what came: rerun() asks again, stream('…') goes on from there."
                )
            raise
        except (KeyboardInterrupt, GeneratorExit) as err:  # interrupted; or nobody wants the rest
            status, dropped = "cancelled", isinstance(err, GeneratorExit)
            raise
        finally:
            self.seconds = self._budget.seconds()
            self.exchange.status = status
            if dropped:  # the turn itself is gone, and cannot tell
                self.changed()

    def _round(self) -> Generator[None, None, bool]:
        """One call of the model, and the tools that it asks for; returns whether there is to be another."""
        if self.stopped:
            return False
        at = self._budget.seconds()
        try:
            labels = {"round": len(self.rounds) + 1, "at_s": round(at, 6)}
            reply = self._ask(labels, self._budget.left(), self._made)
        except TotalTimeout as err:
            if self._budget.left() <= 0:
                raise self._reached(self._budget.reached("seconds")) from err
            raise
        this = Round(reply)
        self.rounds.append(this)
        self._current = reply
        calls: list[ToolUseBlock] = []
        try:
            if self.stopped:  # while the head was waited for: whoever stopped it did not find this reply
                reply.cancel()
            for observer in tuple(self._observers):  # another thread may take one away
                if any(hasattr(observer, method) for method in METHODS):
                    reply.on(observer)
            yield
            self._read(this)
            calls = self._calls(reply)
            if calls and not self.stopped:
                self._check_limits()
                yield from self._run(this, calls)
        finally:
            reply.close()
            self._commit(this)
            this.over = True
        return bool(calls) and not self.stopped and all(map(self._runner.can_run, calls))

    def _made(self, reply: Reply) -> None:
        """There is a reply, its head is still to come: from now on it can be cancelled."""
        self._asking = reply
        if self.stopped:
            reply.cancel()

    def _read(self, this: Round) -> None:
        """Read what nobody has read, and raise what ended the reply badly."""
        reply = this.reply
        seq, over = len(reply.recording), False
        while not over:
            fresh, seq, over = reply.after(seq)
            self.see(this, fresh)
        error = reply.error
        if error is None or (isinstance(error, PayloadError) and reply.recording.stop_reason == "tool_use"):
            return  # of the second kind, only the input of a tool is broken: the model is told, and mends it
        if isinstance(error, TotalTimeout) and self._budget.left() <= 0:
            raise self._reached(self._budget.reached("seconds")) from error
        raise error.with_traceback(None)

    def _calls(self, reply: Reply) -> list[ToolUseBlock]:
        """The calls that are to be answered: none, unless the whole message says so."""
        message = reply.snapshot
        if reply.recording.stop_reason != "tool_use" or reply.status == "cancelled":
            return []
        # What Converse would not take back (a repeated id, a name that is none) cannot be answered.
        mended = resendable(message, reasoning="keep", interrupted=False)
        takes = [call.id for call in Message.from_dict(mended[0]).tool_uses] if mended else []
        if not takes and (asked := [call for call in message.tool_uses if call.type is None]):
            raise PayloadError(
                f"The model asked for {asked[0].name!r:.70} by a name or an id that Converse does not take.",
                remedy="No result can be sent for it: ask again with rerun().",
            )
        return [_call(message, id) for id in takes]

    # -- tools -------------------------------------------------------------------------------------

    def _whole(self, this: Round, event: ToolUse) -> None:
        """A call is whole: start it, if it may start before its message has ended."""
        with self._deciding:  # several views may show the same event, also one that is late
            if event.type is not None or event.id in this.asked or this.closing:
                return
            this.asked[event.id] = _stopped_at(this.reply, event.index)
            # After the last round nobody would read the result; a message that has ended says what to run.
            ended = self._budget.last(len(self.rounds)) or this.reply.recording.stop_reason is not None
            if self._eager and not self.stopped and not ended and takes_back(event.id, event.name):
                call = ToolUseBlock(event.id, event.name, event.input, json.dumps(event.input))
                if self._runner.may_start_early(call):
                    self._begin(this, call, eager=True)

    def _begin(self, this: Round, call: ToolUseBlock, *, eager: bool = False) -> None:
        reply = this.reply
        asked_s = this.asked.get(call.id, reply.recording.times[-1])

        def made(running: Running) -> None:
            this.running[call.id] = running
            if self.stopped:  # by another thread, which did not find it
                running.give_up()

        def tell(running: Running) -> None:
            this.ended.append(running)
            self._finished.put(running)

        running = self._runner.begin(call, asked_s, reply.since, eager=eager, tell=tell, made=made)
        if running.admitted:
            this.tell(ToolStarted(call, eager))
            tell_all(self._observers, "on_tool_start", call)
        running.announced = True
        self._note(this, running)  # another view may have seen it end, and left it

    def _run(self, this: Round, calls: list[ToolUseBlock]) -> Generator[None, None, None]:
        """Start what is not running yet, first what asks nobody; wait for all."""
        waiting = [call for call in calls if call.id not in this.running and self._runner.can_run(call)]
        for call in sorted(waiting, key=self._runner.asks):
            if not self.stopped:
                self._begin(this, call)
                yield
        while any(not running.noted for running in this.running.values()):
            if self._budget.left() <= 0:
                raise self._reached(self._budget.reached("seconds"))
            self._news(this)
            yield

    def _news(self, this: Round) -> None:
        """Wait until a call has got its result, or for the limit; take in all that have one."""
        left = self._budget.left()
        with contextlib.suppress(Empty):
            running = self._finished.get(
                timeout=None if left == math.inf else min(max(0.0, left), threading.TIMEOUT_MAX)
            )
            if running is not None:  # another view may have taken it out, and not have come to note it
                self._note(this, running)
        self._take_in(this)

    def _take_in(self, this: Round) -> None:
        """Note the results that are there. Any view may; the queue is left to the one that waits."""
        while this.ended:
            with contextlib.suppress(IndexError):  # another view was quicker
                self._note(this, this.ended.popleft())

    def _note(self, this: Round, running: Running) -> None:
        """Put what became of a call where it is kept."""
        with self._deciding:
            if running.noted or not running.announced or running.run is None or running.result is None:
                return
            running.noted = True
            this.reply.recording.tools.append(running.run)
            self.exchange.tools.append(running.run)
            this.tell(ToolFinished(running.call, running.run, running.result))
        audit.tell("ran", this.reply.recording, running.run)
        tell_all(self._observers, "on_tool_end", running.run)

    def _commit(self, this: Round) -> None:
        """Take what came of a round into the history, with a result for each call of a tool."""
        with self._deciding:
            this.closing = True
        exchange, message, recording = self.exchange, this.reply.snapshot, this.reply.recording
        for call in message.tool_uses:
            unasked = call.type is None and call.id not in this.running and takes_back(call.id, call.name)
            if unasked and self._runner.can_run(call):
                asked_s = this.asked.get(call.id, recording.times[-1])
                this.running[call.id] = Running(call, this.reply.since, asked_s, False, _nothing)
        for running in this.running.values():
            broken = running.call.input is None
            running.give_up("broken" if broken else "cancelled", BROKEN if broken else self._never_ran)
            running.announced = True  # interrupted in between: it has a result all the same
            self._note(this, running)
        before = len(exchange.tools) - len(this.running)
        exchange.tools[before:] = in_order(exchange.tools[before:])
        exchange.stop_reason = recording.stop_reason
        if recording.usage:
            exchange.usages.append(recording.usage)
        known = {running.call.id: running.result for running in this.running.values() if running.result}
        results = results_for(message, known)
        if results is not None and not all(map(self._runner.can_run, message.tool_uses)):
            ours = [known[call.id] for call in message.tool_uses if call.id in known]
            results = Message("user", tuple(ours))  # the others are the user's to give
        for said in (message, results):
            if said is not None and said.content:
                exchange.messages.append(said)
        self._current = None

    def serves(self, running: Running | None) -> bool:
        """Whether this is one of its calls."""
        return running is not None and any(
            running is this.running.get(running.call.id) for this in self.rounds
        )

    def _reached(self, error: LoopLimitError) -> LoopLimitError:
        """Give up what runs: the turn has reached a limit, and the model is told which."""
        self._never_ran = error.told
        for running in self.rounds[-1].running.values() if self.rounds else ():
            running.give_up(said=self._never_ran)
        return error

    def _check_limits(self) -> None:
        """Refuse to go on where a limit is reached; tools are not run whose results nobody would read."""
        used = sum(usage.get("totalTokens", 0) for usage in self.exchange.usages)
        used += self.rounds[-1].reply.recording.usage.get("totalTokens", 0)
        error = self._budget.spent(len(self.rounds), used)
        if error is not None:
            raise self._reached(error)


def tell_all(observers: Sequence[Any], method: str, what: Any) -> None:
    """Call a method of all observers that have it; one that fails is warned about, and nothing else ends."""
    for observer in tuple(observers):
        try:
            getattr(observer, method, _nothing)(what)
        except (Exception, SystemExit) as err:
            with contextlib.suppress(Warning):  # where warnings are errors, the turn goes on all the same
                warnings.warn(f"An observer failed in {method}: {err!r}", stacklevel=2)


def _nothing(_: Any) -> None:
    """What an observer without the method does."""


def _as_words(error: BedrockNbError) -> BedrockNbError:
    """A copy for who keeps it to read: without the reply, the traceback, and what the service raised."""
    words = copy(error)
    if isinstance(words, StreamError):
        words.reply = words.original = None
    return words


def _call(message: Message, id: str) -> ToolUseBlock:
    """The first call of this id that is ours to answer: one of the service's own may have the same."""
    return next(
        call
        for call in message.tool_uses
        if call.id == id and call.type is None and takes_back(call.id, call.name)
    )


def _stopped_at(reply: Reply, index: int) -> float:
    """When the newest block of this index stopped."""
    recording = reply.recording
    for i in range(len(recording) - 1, -1, -1):
        if recording.kind(i) is BlockStop and recording.block_of(i) == index:
            return recording.times[i]
    return reply.since()
