"""Running the tools that a model asks for: checks, approval, time limit, one result for each call.

Strategy: a call passes gates in order (is there such a tool, is its input sound, may it run?) and then runs
in a thread of its own, so tools of one turn run beside each other and beside the stream. Whatever ends a
call first decides its outcome: the function, the time limit, a Stop. A thread cannot be killed in Python: of
a tool that is given up, the result is dropped, its `ToolContext` tells it to stop, and what is async is
cancelled. Nothing that a tool does is raised here: the model is told, and so is the `ToolRun`.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias

from bedrock_nb import render
from bedrock_nb.errors import RequestError, ToolError, ToolInputError, without_accounts
from bedrock_nb.mend import BROKEN, CANCELLED
from bedrock_nb.message import Message, ToolResultBlock, ToolUseBlock
from bedrock_nb.toolruns import Outcome, ToolRun
from bedrock_nb.tools import Approve, Tool, ToolContext, content_of

__all__ = ["Ask", "Runner", "Running", "ask_user", "serving"]

#: Who is asked whether a call may run: True runs it; False or a text, the reason, does not.
Ask: TypeAlias = Callable[[ToolUseBlock], bool | str]

_LOG = logging.getLogger("bedrock_nb.tools")
_LONGEST_ERROR = 2000  # characters of it that the model is told


def ask_user(call: ToolUseBlock) -> bool | str:
    """Ask at the keyboard, showing the tool's name and arguments as text; anything but yes is no."""
    print(render.text(Message("assistant", (call,))))
    try:
        said = input("Run this tool? [y/N] ")
    except (EOFError, NotImplementedError):  # no keyboard: a script, a kernel that runs by itself
        reason = "Nobody could be asked whether it may run."
        print(f"\n{reason}")  # the line of the question may not have ended
        return reason
    return said.strip().lower() in ("y", "yes")


#: The call that the code at hand serves, in a tool's thread and in what it starts with its context.
_serving: contextvars.ContextVar[Running | None] = contextvars.ContextVar("bedrock_nb.serving", default=None)


def serving() -> Running | None:
    """The call of a tool in which this is asked; None outside of tools."""
    return _serving.get()


class Running:
    """One call on its way to its result.

    Attributes
    ----------
    call : ToolUseBlock
    run : ToolRun or None
        What became of it, and when; None until it is over.
    result : ToolResultBlock or None
        What the model is told.
    exception : BaseException or None
        What the tool raised.
    """

    def __init__(
        self,
        call: ToolUseBlock,
        since: Callable[[], float],
        asked_s: float,
        eager: bool,
        tell: Callable[[Running], None],
    ) -> None:
        self.call, self.eager = call, eager
        self.announced = False  # that it began was told; before that, its end is not to be
        self.noted = False  # somebody has taken the result
        self.admitted = False  # it passed all gates
        self._tell = tell
        self.run: ToolRun | None = None
        self.result: ToolResultBlock | None = None
        self.exception: BaseException | None = None
        self._since, self._asked_s = since, asked_s
        self._began_s: float | None = None
        self._waited_s = 0.0
        self._over, self._deciding = threading.Event(), threading.Lock()
        self.context = ToolContext(call.id, call.name)
        self._slot: threading.Semaphore | None = None  # that it holds while it runs
        self._task: tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]] | None = None

    @property
    def done(self) -> bool:
        """Whether there is a result."""
        return self._over.is_set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the result; whether it is there."""
        return self._over.wait(seconds)

    def give_up(self, outcome: Outcome = "cancelled", said: str = CANCELLED) -> bool:
        """End it without a result of the tool's own; False, and nothing happens, if it has one."""
        if not self._finish(outcome, said):
            return False
        self.context.cancel()
        if self._task is not None:
            loop, task = self._task
            with contextlib.suppress(RuntimeError):  # it has just ended by itself
                loop.call_soon_threadsafe(task.cancel)
        return True

    def ask(self, ask: Ask) -> bool:
        """Ask whether it may run; a refusal is its result."""
        begin = self._since()
        try:
            said = ask(self.call)
        except Exception as err:
            _LOG.info("Who was asked about the tool %s failed", self.call.name, exc_info=True)
            said = f"Asking whether it may run failed: {type(err).__name__}."
        finally:
            self._waited_s = self._since() - begin
        if said is not True:
            if isinstance(said, str):
                reason = f" The reason: {said}" if said else ""
            else:
                reason = "" if said is False else f" (The answer was {said!r:.60}, and not True.)"
            self._finish("denied", f"The user did not approve this tool call, so it was not run.{reason}")
        return said is True

    def start(self, tool: Tool, arguments: Mapping[str, Any], slots: threading.Semaphore) -> None:
        """Run the tool in a thread, as soon as there is a slot."""
        self.admitted = True
        threading.Thread(
            target=contextvars.copy_context().run,
            args=(self._work, tool, dict(arguments), slots),
            name="bedrock_nb.tool",
            daemon=True,
        ).start()

    def _work(self, tool: Tool, arguments: dict[str, Any], slots: threading.Semaphore) -> None:
        _serving.set(self)
        slots.acquire()
        with self._deciding:
            if self.done:  # given up while it waited
                slots.release()
                return
            self._began_s, self._slot = self._since(), slots
            if tool.timeout is not None:
                self.context.deadline_s = time.monotonic() + tool.timeout
        limit = self._limit(tool)
        try:
            content = content_of(self._value(tool(**arguments)))
        except BaseException as err:  # SystemExit too: a tool ends nothing but itself
            self.exception = err
            _LOG.info("The tool %s raised", self.call.name, exc_info=True)
            self._finish("error", _said(err))
        else:
            self._finish("success", content=content)
        finally:
            if limit is not None:
                limit.cancel()

    def _limit(self, tool: Tool) -> threading.Timer | None:
        seconds = tool.timeout
        if seconds is None or seconds > threading.TIMEOUT_MAX:
            return None
        said = f"The tool was given up: it had no result after its time limit of {seconds:g} s."
        timer = threading.Timer(seconds, self.give_up, ("timeout", said))
        timer.daemon, timer.name = True, "bedrock_nb.tool limit"
        timer.start()
        return timer

    def _value(self, value: Any) -> Any:
        """What a function gave; of an async one, what comes when it was awaited."""
        return asyncio.run(self._awaited(value)) if inspect.iscoroutine(value) else value

    async def _awaited(self, value: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(value)
        self._task = asyncio.get_running_loop(), task
        if self.done:  # given up before there was a task to cancel
            task.cancel()
        return await task

    def _finish(self, outcome: Outcome, said: str = "", content: tuple[dict[str, Any], ...] = ()) -> bool:
        """Give the call its result, unless it has one; whether this was it."""
        with self._deciding:
            if self.done:
                return False
            self.run = ToolRun(
                self.call.id,
                self.call.name,
                outcome,
                self._asked_s,
                self._began_s,
                self._since(),
                waited_s=self._waited_s,
                eager=self.eager and self.admitted,
                error=said,
            )
            failed = outcome != "success"
            self.result = ToolResultBlock(
                self.call.id, ({"text": said},) if failed else content, status="error" if failed else None
            )
            if self._slot is not None:
                self._slot.release()  # also for one that goes on in its thread: others must not wait for it
            self._over.set()
        self._tell(self)
        return True

    def __repr__(self) -> str:
        return f"<Running {self.call.name}: {self.run.outcome if self.run else 'on its way'}>"


def _said(err: BaseException) -> str:
    """What the model is told of an exception: no traceback, no account."""
    kind = "" if isinstance(err, ToolError) else type(err).__name__
    try:
        said = str(err)
    except BaseException:  # whatever it does: its call must have a result
        said = ""
    text = without_accounts(": ".join(filter(None, (kind, said)))) or type(err).__name__
    return render.printable(str(text))[:_LONGEST_ERROR]


def _refuse_async(name: str, given: object) -> None:
    if inspect.iscoroutinefunction(given):
        raise RequestError(f"{name} is an async function.", remedy="Give one that answers when called.")


class Runner:
    """The tools of a conversation, and how their calls are run.

    Parameters
    ----------
    tools : mapping of str to Tool
        By name.
    approve : {"always", "ask"} or function, optional
        In place of what each tool says.
    ask : function, optional
        Who is asked about a call whose tool says ``"ask"``; by default the user, at the keyboard.
    parallel : int
        Calls that may run at once.
    """

    def __init__(
        self,
        tools: Mapping[str, Tool],
        *,
        approve: Approve | None = None,
        ask: Ask | None = None,
        parallel: int = 8,
    ) -> None:
        if approve not in (None, "always", "ask") and not callable(approve):
            raise RequestError(
                f"approve is {approve!r:.60}.",
                remedy='Give "always", "ask", or a function from a tool call to True, False or a reason.',
            )
        if not isinstance(parallel, int) or isinstance(parallel, bool) or parallel < 1:
            raise RequestError(f"parallel is {parallel!r:.60}; a whole number of calls from 1 is wanted.")
        _refuse_async("approve", approve)
        self.tools, self._parallel, self._approve = tools, parallel, approve
        self.ask = ask
        self._slots = threading.Semaphore(parallel)

    @property
    def ask(self) -> Ask:
        """Who is asked; None gives the keyboard back. May change at any time, for the next question."""
        return self._ask

    @ask.setter
    def ask(self, ask: Ask | None) -> None:
        if ask is not None and not callable(ask):
            raise RequestError(
                f"ask is {ask!r:.60}.",
                remedy="Give a function from a tool call to True, False or a reason; None is the keyboard.",
            )
        _refuse_async("ask", ask)
        self._ask: Ask = ask if ask is not None else ask_user

    def again(self) -> Runner:
        """One like it, with slots of its own."""
        return Runner(self.tools, approve=self._approve, ask=self._ask, parallel=self._parallel)

    def may_start_early(self, call: ToolUseBlock) -> bool:
        """Whether a call may run before its message has ended: its tool changes nothing and asks nobody."""
        tool = self.tools.get(call.name)
        return (
            tool is not None
            and tool.function is not None
            and not tool.side_effects
            and self._rule(tool) == "always"
        )

    def asks(self, call: ToolUseBlock) -> bool:
        """Whether somebody decides about this call."""
        tool = self.tools.get(call.name)
        return tool is not None and self._rule(tool) != "always"

    def _rule(self, tool: Tool) -> Approve:
        return tool.approve if self._approve is None else self._approve

    def can_run(self, call: ToolUseBlock) -> bool:
        """Whether its result is ours to give: the tool is a function, or there is no such tool."""
        tool = self.tools.get(call.name)
        return tool is None or tool.function is not None

    def begin(
        self,
        call: ToolUseBlock,
        asked_s: float,
        since: Callable[[], float],
        *,
        eager: bool = False,
        tell: Callable[[Running], None],
        made: Callable[[Running], None] | None = None,
    ) -> Running:
        """Check a call, have it approved if it must be, and start it.

        Parameters
        ----------
        call : ToolUseBlock
        asked_s : float
            When it was whole, on the clock of ``since``.
        since : function
            Seconds since the request of the recording that has the call.
        eager : bool
            Whether its message is still on its way.
        tell : function
            Told when it has its result, in whatever thread that happens.
        made : function, optional
            Given it at once, before anybody is asked: who gives it up then, keeps it from running.

        Returns
        -------
        Running
            Done already if it may not run.
        """
        tool = self.tools.get(call.name)
        running = Running(call, since, asked_s, eager, tell)
        if made is not None:
            made(running)
        if tool is None:
            known = ", ".join(name for name, each in self.tools.items() if "toolSpec" in each.spec) or "none"
            running.give_up("unknown", f"There is no tool {call.name!r:.70}. The tools are: {known}.")
        elif call.input is None:
            running.give_up("broken", BROKEN)
        else:
            try:
                arguments = tool.arguments(call.input, running.context)
            except ToolInputError as err:
                running.give_up("invalid", _said(err))
                return running
            rule = self._rule(tool)
            approved = rule == "always" or running.ask(rule if callable(rule) else self._ask)
            if approved and not running.done:
                running.start(tool, arguments, self._slots)
        return running
