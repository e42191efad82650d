"""running.py: whatever a tool does, its call has one result and one outcome."""

from __future__ import annotations

import asyncio
import contextvars
import io
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import pytest

import bedrock_nb as nb
from bedrock_nb.conversation.running import Runner, Running, ask_user
from bedrock_nb.errors import RequestError, ToolError
from bedrock_nb.mend import BROKEN
from bedrock_nb.tools import as_tools
from tests.chatting import use, wait_for
from tests.wire_server import LIMIT


def run(tools: Any, *calls: Any, **settings: Any) -> list[Running]:
    """Run these calls and wait for them."""
    made, tell = Runner(as_tools(tools), **settings), SimpleQueue[Any]()
    running = [made.begin(call, 0.5, lambda: 1.0, tell=tell.put) for call in calls]
    assert all(each.wait(LIMIT) for each in running)
    assert {tell.get(timeout=LIMIT) for _ in running} == set(running)
    assert tell.empty()
    return running


@nb.tool
def double(n: int) -> int:
    """Twice as much."""
    return n * 2


@nb.tool
async def later(n: int) -> int:
    """Twice as much, later."""
    await asyncio.sleep(0)
    return n * 2


@nb.tool(side_effects=True)
def remove(path: str) -> str:
    """Remove a file."""
    return f"removed {path}"


class Odd:
    """Something that cannot even be told as text."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


@nb.tool
def odd() -> Any:
    """Give something odd."""
    return Odd()


TOOLS = [double, later, remove, odd]

# -- outcomes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "outcome", "said"),
    [
        (use("double", {"n": 2}), "success", {"json": {"result": 4}}),
        (use("later", {"n": 2}), "success", {"json": {"result": 4}}),
        (use("double", {"n": "two"}), "invalid", "n: "),
        (use("double", {}), "invalid", "n: it is required"),
        (use("double", {"n": 1, "m": 1}), "invalid", "m: there is no such argument"),
        (use("nope"), "unknown", "There is no tool 'nope'. The tools are: double, later, remove, odd."),
        (use("double", '{"n": '), "broken", BROKEN),
        (use("odd"), "success", "Odd"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_call_has_a_clear_outcome(call, outcome, said):
    """The model is told what came, or what is wrong; the outcome says which."""
    (running,) = run(TOOLS, call)
    assert (running.run.outcome, running.run.id, running.result.id) == (outcome, "a", "a")
    (item,) = running.result.content
    assert item == said if isinstance(said, dict) else said in str(item)
    failed = outcome != "success"
    assert running.result.status == ("error" if failed else None)
    assert running.run.error == (item["text"] if failed else "")
    assert (running.run.began_s is not None) == (outcome == "success")
    assert repr(running) == f"<Running {call.name}: {outcome}>"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no such city"), "ValueError: no such city"),
        (ToolError("Ask for a city."), "Ask for a city."),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (ValueError("arn:aws:iam::123456789012:role"), "ValueError: arn:aws:iam::************:role"),
        (ValueError("\x1b[2J\x00"), "ValueError: "),
        (ValueError("x" * 100_000), "ValueError: " + "x" * 1988),
        (ValueError(Odd()), "ValueError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_a_tool_raises_ends_nothing_but_itself(error, said, kind):
    """The model is told what it was, without account numbers and control characters; nobody else sees it."""

    def raises() -> None:
        raise error

    async def raises_later() -> None:
        raise error

    (running,) = run([nb.tool(raises if kind == "plain" else raises_later, name="f")], use("f"))
    assert running.run.outcome == "error"
    assert running.exception is error
    text = running.result.content[0]["text"]
    assert text.startswith(said)
    assert len(text) <= 2000
    assert "\x1b" not in text
    assert "\x00" not in text


# -- may it run? -----------------------------------------------------------------------------------

NOT_RUN = "The user did not approve this tool call, so it was not run."


def raises(_call: Any) -> bool:
    raise OSError("no terminal")


@pytest.mark.parametrize(
    ("settings", "outcome", "said"),
    [
        ({"ask": lambda _: True}, "success", "removed /"),
        ({"ask": lambda _: False}, "denied", NOT_RUN),
        ({"ask": lambda _: None}, "denied", f"{NOT_RUN} (The answer was None, and not True.)"),
        ({"ask": lambda _: 1}, "denied", f"{NOT_RUN} (The answer was 1, and not True.)"),
        ({"ask": lambda _: "too late"}, "denied", f"{NOT_RUN} The reason: too late"),
        ({"ask": raises}, "denied", f"{NOT_RUN} The reason: Asking whether it may run failed: OSError."),
        ({"approve": "always"}, "success", "removed /"),
        ({"approve": lambda call: call.input["path"] != "/"}, "denied", NOT_RUN),
        ({"approve": lambda call: call.input["path"] == "/", "ask": raises}, "success", "removed /"),
    ],
)
def test_what_has_side_effects_runs_only_if_somebody_lets_it(settings, outcome, said):
    """Anything but True is no; a text is the reason that the model reads."""
    (running,) = run(TOOLS, use("remove", {"path": "/"}), **settings)
    assert (running.run.outcome, running.result.content[0]["text"]) == (outcome, said)


@pytest.mark.parametrize(
    ("typed", "let"), [("y\n", True), (" YES \n", True), ("n\n", False), ("\n", False), ("yep\n", False)]
)
def test_the_user_is_asked_at_the_keyboard(monkeypatch, capsys, typed, let):
    """They see what is to be run, with nothing in it that a terminal obeys."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert ask_user(use("remove", {"path": "\x1b[2J/etc"})) is let
    shown = capsys.readouterr().out
    assert "remove" in shown
    assert "/etc" in shown
    assert "\x1b" not in shown


def test_without_a_keyboard_nothing_is_approved(monkeypatch, capsys):
    """A script that nobody looks at runs no tool that must be asked for; model and reader are told."""
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    (running,) = run(TOOLS, use("remove", {"path": "/"}))
    assert running.run.outcome == "denied"
    assert "Nobody could be asked" in running.result.content[0]["text"]
    assert capsys.readouterr().out.endswith("\nNobody could be asked whether it may run.\n")


def test_the_time_of_asking_is_known():
    """It counts as waiting, not as running."""
    now = [1.0]

    def ask(_call: Any) -> bool:
        now[0] += 4.0
        return True

    runner = Runner(as_tools(TOOLS), ask=ask)
    running = runner.begin(use("remove", {"path": "/"}), 0.5, lambda: now[0], tell=lambda _: None)
    assert running.wait(LIMIT)
    run = running.run
    assert (run.asked_s, run.waited_s, run.began_s, run.ended_s) == (0.5, 4.0, 5.0, 5.0)


def test_what_is_stopped_while_somebody_is_asked_does_not_run():
    """Their yes comes too late."""
    ran, made = [], list[Running]()

    @nb.tool(side_effects=True)
    def act() -> None:
        ran.append(1)

    def ask(_call: Any) -> bool:
        made[0].give_up()
        return True

    runner = Runner(as_tools([act]), ask=ask)
    running = runner.begin(use("act"), 0, lambda: 1.0, tell=lambda _: None, made=made.append)
    assert running.done
    assert (running.run.outcome, running.admitted, ran) == ("cancelled", False, [])


@pytest.mark.parametrize(
    "settings", [{"approve": "never"}, {"approve": 1}, {"parallel": 0}, {"parallel": True}, {"parallel": 1.5}]
)
def test_settings_that_cannot_work_are_refused(settings):
    """Before anything runs."""
    with pytest.raises(RequestError, match=next(iter(settings))):
        Runner({}, **settings)


# -- time limits, giving up ------------------------------------------------------------------------


def test_a_tool_that_takes_too_long_is_told_to_stop():
    """Its result is that it was given up; what it returns later is dropped."""
    seen = SimpleQueue[Any]()

    @nb.tool(timeout=0.05)
    def waits(context: nb.ToolContext) -> str:
        seen.put((context.wait(LIMIT), context.id, 0 <= context.left_s <= 0.05))
        return "late"

    (running,) = run([waits], use("waits"))
    assert running.run.outcome == "timeout"
    assert running.result.content[0]["text"].endswith("no result after its time limit of 0.05 s.")
    assert seen.get(timeout=LIMIT) == (True, "a", True)
    assert running.run.outcome == "timeout"


def test_an_async_tool_that_takes_too_long_is_cancelled():
    """Where it waits, `CancelledError` is raised."""
    ended = SimpleQueue[str]()

    @nb.tool(timeout=0.05)
    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.put("cancelled")
            raise

    (running,) = run([waits], use("waits"))
    assert (running.run.outcome, ended.get(timeout=LIMIT)) == ("timeout", "cancelled")


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_one_that_is_given_up_lets_the_next_run(kind):
    """Also where it goes on in its thread; and one that waited for its turn then never runs."""
    go, ran, begun = threading.Event(), [], threading.Event()

    def hangs() -> None:
        begun.set()
        go.wait(LIMIT)

    async def hangs_later() -> None:
        begun.set()
        await asyncio.Event().wait()

    def quick(n: int) -> None:
        ran.append(n)

    tools = as_tools([nb.tool(hangs if kind == "plain" else hangs_later, name="hangs"), quick])
    runner = Runner(tools, parallel=1)
    first = runner.begin(use("hangs"), 0, lambda: 1.0, tell=lambda _: None)
    assert begun.wait(LIMIT)
    second, third = (
        runner.begin(use("quick", {"n": n}, str(n)), 0, lambda: 1.0, tell=lambda _: None) for n in (2, 3)
    )
    assert [second.done, third.done] == [False, False]
    second.give_up()
    first.give_up()
    first.give_up("timeout", "twice")
    assert third.wait(LIMIT)
    go.set()
    assert [each.run.outcome for each in (first, second, third)] == ["cancelled", "cancelled", "success"]
    assert second.run.began_s is None
    assert ran == [3]


def test_nothing_is_left_of_tools_that_are_done():
    """Neither their threads nor those of their time limits."""
    before = set(threading.enumerate())
    run([double, later], *(use(name, {"n": 1}, name) for name in ("double", "later")))
    wait_for(lambda: not {t for t in threading.enumerate() if t not in before and "bedrock_nb" in t.name})


# -- beside each other -----------------------------------------------------------------------------


def test_calls_run_beside_each_other():
    """Two that wait for each other come to an end."""
    both = threading.Barrier(2)

    @nb.tool
    def meet() -> int:
        return min(1, both.wait(LIMIT))

    first, second = run([meet], use("meet", id="1"), use("meet", id="2"), parallel=2)
    assert (first.run.outcome, second.run.outcome) == ("success", "success")


def test_one_at_a_time_if_so_wanted():
    """With ``parallel=1`` nothing begins while another runs."""
    inside, most, lock = 0, [], threading.Lock()

    @nb.tool
    def count() -> None:
        nonlocal inside
        with lock:
            inside += 1
            most.append(inside)
        threading.Event().wait(0.002)
        with lock:
            inside -= 1

    run([count], *(use("count", id=str(n)) for n in range(8)), parallel=1)
    assert most == [1] * 8


def test_a_tool_sees_the_context_of_its_caller():
    """What `contextvars` hold: the cell, a trace."""
    who: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="nobody")

    @nb.tool
    def ask_who() -> str:
        return who.get()

    call: Callable[[], Any] = lambda: (who.set("me"), run([ask_who], use("ask_who")))[1]  # noqa: E731
    (running,) = contextvars.copy_context().run(call)
    assert running.result.content == ({"text": "me"},)
