"""loop.py and turn.py: a turn, its tools, its views; and whatever breaks it, the history goes on."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections import deque
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest

import bedrock_nb as nb
from bedrock_nb.errors import (
    IncompleteStreamError,
    LoopLimitError,
    PayloadError,
    RequestError,
    StreamError,
    ThrottlingError,
)
from bedrock_nb.events import BlockStop, MessageStop, TextDelta
from bedrock_nb.mend import BROKEN, CANCELLED
from bedrock_nb.message import ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.server import faults
from bedrock_nb.toolruns import ToolFinished, ToolStarted
from tests.chatting import (
    events_of,
    held,
    in_thread,
    legal,
    outcomes,
    results_in,
    said,
    told,
    use,
    wait_for,
)
from tests.wire_server import LIMIT

RAN: list[str] = []


@nb.tool
def look(what: str) -> str:
    """Look something up."""
    RAN.append(what)
    return f"seen {what}"


@nb.tool(side_effects=True, approve="always")
def put(what: str) -> str:
    """Put something somewhere."""
    RAN.append(what)
    return f"put {what}"


@nb.tool
async def later(what: str) -> str:
    """Look something up, later."""
    await asyncio.sleep(0)
    return f"later {what}"


@nb.tool
def boom() -> None:
    """Fail."""
    raise SystemExit("boom")


@nb.tool(timeout=None)
def hang(context: nb.ToolContext) -> bool:
    """Wait until nobody waits."""
    return context.wait(LIMIT)


TOOLS = [look, put, later, boom]
PLAIN = {"toolSpec": {"name": "yours", "inputSchema": {"json": {"type": "object"}}}}


@pytest.fixture(autouse=True)
def nothing_ran():
    """What the tools note, from nothing on."""
    RAN.clear()


def goes_on(service, chat) -> None:
    """The next prompt is taken, and what was sent with it is a sound history."""
    exchanges = len(chat)
    assert chat.send("And now?").text == "Fine."
    assert len(chat) == exchanges + 1
    legal(service.asked[-1])


# -- what breaks in the middle ---------------------------------------------------------------------

ROUND = (
    ReasoningBlock("I need two things.", "c2lnbmVk"),
    TextBlock("Let me look, and put."),
    use("look", {"what": "x"}, "a"),
    use("put", {"what": "y"}, "b"),
)
EVENTS = len(events_of(*ROUND))
CUTS = {
    "cut": faults.cut,
    "reset": faults.reset,
    "end": faults.end,
    "exception": partial(faults.exception, "modelStreamErrorException"),
    "error": partial(faults.error, "whatever"),
    "damaged": faults.bad_crc,
    "no JSON": faults.bad_json,
}


def reasonings(turns) -> list[Any]:
    """The reasoning that was sent back."""
    blocks = [block.get("reasoningContent") for turn in turns for block in turn["content"]]
    return [each["reasoningText"] for each in blocks if each]


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_a_round_may_break_anywhere(service, cut):
    """At every event of a round with tools: what came is kept, nothing runs twice, and it can be gone on."""
    for after in range(EVENTS + 1):
        RAN.clear()
        chat = service.chat(said(*ROUND), "Fine.", tools=TOOLS)
        with service.server.fault([cut(after=after)]):
            turn = chat.stream("Go.")
            with suppress(StreamError):
                turn.drain()
        first = turn.replies[0].snapshot
        assert list(chat.messages[1:2]) == ([first] if first.content else [])
        if turn.error is None:
            assert turn.text == "Fine."
            assert sorted(RAN) == ["x", "y"]
        else:
            assert chat.exchanges[0].status == turn.status == turn.replies[0].status
            whole = chat.exchanges[0].stop_reason is not None
            assert [message.partial for message in chat.messages[1:2]] == [not whole] * bool(first.content)
            assert "y" not in RAN
        goes_on(service, chat)
        wait_for(lambda: not any(thread.name == "bedrock_nb.tool" for thread in threading.enumerate()))
        assert len(RAN) == len(set(RAN))
        assert all("signature" in each for each in reasonings(service.asked[-1]))


SECOND = (ReasoningBlock("So.", "c2lnbmVk"), TextBlock("It is so."), use("look", {"what": "z"}, "c"))
IN_PLACE = {
    "throttled": (faults.refuse(429), {}),
    "refused": (faults.refuse(400), {}),
    "no room": (faults.refuse(503), {}),
    "no answer": (faults.hang_up(), {}),
    "silence": (faults.no_head(), {"first_event_timeout": 0.05}),
    "it stalls": (faults.stall(after=3), {"idle_timeout": 0.05}),
    "too long": (faults.stall(after=3), {"total_timeout": 0.2}),
    "exception": (faults.exception("throttlingException"), {}),
    **{f"cut after {n}": (faults.cut(after=n), {}) for n in range(len(events_of(*SECOND)))},
}


@pytest.mark.parametrize(("fault", "limits"), IN_PLACE.values(), ids=IN_PLACE)
def test_a_later_round_may_break(service, fault, limits):
    """What the first round gave stays: tools that ran are not run again, their results are sent."""
    chat = service.chat(said(*ROUND), said(*SECOND), tools=TOOLS)
    with service.server.fault([None, fault]):
        turn = chat.stream("Go.", **limits)
        with pytest.raises(StreamError):
            turn.drain()
    assert turn.status == chat.exchanges[0].status
    assert turn.status in ("incomplete", "error")
    assert (outcomes(turn)["a"], outcomes(turn)["b"]) == ("success", "success")
    service.lay("Fine.")
    goes_on(service, chat)
    assert sorted(RAN)[:2] == ["x", "y"]
    assert len(RAN) == len(set(RAN))
    first = [block["toolResult"]["content"][0]["text"] for block in service.asked[-1][2]["content"][:2]]
    assert first == ["seen x", "put y"]


def test_the_result_of_a_tool_that_was_early_survives_a_break(service):
    """It ran while the message came; its result is in the history, and it is not run again."""

    def slow(_request):
        for number, event in enumerate(events_of(*ROUND)):
            if number == 10:  # the input of the second call, and the last event before the cut
                wait_for(lambda: RAN and not any(t.name == "bedrock_nb.tool" for t in threading.enumerate()))
            yield event

    chat = service.chat(slow, "Fine.", tools=TOOLS)
    with service.server.fault([faults.cut(after=11)]), pytest.raises(StreamError):
        chat.send("Go.")
    ran, never = [(run.name, run.outcome, run.eager) for run in chat.tool_runs]
    assert (ran, never) == (("look", "success", True), ("put", "broken", False))
    goes_on(service, chat)
    assert RAN == ["x"]
    results = [block["toolResult"]["content"][0]["text"] for block in service.asked[-1][2]["content"][:2]]
    assert results == ["seen x", BROKEN]


# -- outcomes --------------------------------------------------------------------------------------

GOOD = use("later", {"what": "z"}, "good")
ASKED = {
    "wrong arguments": ([use("look", {"where": "x"})], {"a": "invalid"}, "what: it is required"),
    "unknown": ([use("nope")], {"a": "unknown"}, "There is no tool 'nope'"),
    "broken": ([use("look", '{"what": ')], {"a": "broken"}, BROKEN),
    "broken beside good": ([use("look", '{"wh'), GOOD], {"a": "broken", "good": "success"}, BROKEN),
    "raises": ([use("boom"), GOOD], {"a": "error", "good": "success"}, "SystemExit: boom"),
    "one id twice": ([use("look", {"what": "x"}), use("look", {"what": "y"})], {"a": "success"}, "seen x"),
    "a server's tool of the same id": (
        [ToolUseBlock("a", "look", {"what": "s"}, "", "server_tool_use"), use("look", {"what": "x"})],
        {"a": "success"},
        "seen x",
    ),
    "a name that cannot be, with the same id": (
        [use("no name!", {"what": "s"}), use("look", {"what": "x"})],
        {"a": "success"},
        "seen x",
    ),
    "a server's tool": (
        [ToolUseBlock("s", "look", {"what": "s"}, "", "server_tool_use"), use("look", {"what": "x"})],
        {"a": "success"},
        "seen x",
    ),
}


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize(("calls", "ended", "words"), ASKED.values(), ids=ASKED)
def test_whatever_the_model_asks_for_it_is_told(service, calls, ended, words, eager):
    """Each call has one result, and the model goes on with it."""
    chat = service.chat(said("Let me see.", *calls), "Fine.", tools=TOOLS, eager=eager)
    turn = chat.stream("Go.")
    assert turn.text == "Fine."
    assert (outcomes(turn), turn.status, len(turn.replies)) == (ended, "complete", 2)
    assert words in told(chat)["a"]
    goes_on(service, chat)


NOTHING = {
    "cut at max_tokens": (["Well.", use("put", '{"what": ')], "max_tokens"),
    "whole, and cut later": ([use("put", {"what": "x"})], "max_tokens"),
    "no call": (["Well."], "tool_use"),
    "a server's tool alone": (["Well.", ToolUseBlock("s", "web", {}, "", "server_tool_use")], "tool_use"),
    "nothing at all": ([], "end_turn"),
}


@pytest.mark.parametrize(("blocks", "stop"), NOTHING.values(), ids=NOTHING)
def test_without_a_call_to_answer_the_turn_ends(service, blocks, stop):
    """Nothing is run, one round is made, and the history goes on."""
    chat = service.chat(said(*blocks, stop=stop), "Fine.", tools=TOOLS)
    turn = chat.stream("Go.").drain()
    assert (turn.stop_reason, turn.status, len(turn.replies), RAN) == (stop, "complete", 1, [])
    goes_on(service, chat)


@pytest.mark.parametrize("call", [use("put", {"what": "x"}, "no id!"), use("no name!", {"what": "x"})])
def test_a_call_that_cannot_be_answered_is_no_whole_turn(service, call):
    """Converse takes neither such an id nor such a name back: the turn says so, and nothing is run."""
    chat = service.chat(said("Well.", call), "Fine.", tools=TOOLS)
    turn = chat.stream("Go.")
    with pytest.raises(PayloadError, match="does not take"):
        turn.drain()
    assert (turn.status, len(turn.replies), RAN) == ("error", 1, [])
    goes_on(service, chat)


def test_tools_without_a_function_are_the_users_to_answer(service):
    """The turn ends with their calls; the next prompt has the results, and is sent as one turn."""
    call = use("yours", {"q": 1}, "y")
    chat = service.chat(said("One moment.", call), "Fine.", tools=[PLAIN])
    turn = chat.stream("Go.")
    assert [event for event in turn if isinstance(event, ToolStarted | ToolFinished)] == []
    assert (turn.stop_reason, turn.message.tool_uses, turn.tools) == ("tool_use", (call,), [])
    result = {"toolResult": {"toolUseId": "y", "content": [{"text": "42"}]}}
    assert chat.send([result, "There."]).text == "Fine."
    legal(service.asked[-1])
    assert service.asked[-1][2]["content"] == [result, {"text": "There."}]


@pytest.mark.parametrize("names", ["yours look", "look yours", "put yours look"])
@pytest.mark.parametrize("eager", [True, False])
def test_both_kinds_of_tools_in_one_answer(service, names, eager):
    """Functions are run, the others are left; what the user gives joins what is there, in order of calls."""
    calls = [use(name, {} if name == "yours" else {"what": name}, name) for name in names.split()]
    chat = service.chat(said(*calls), "Fine.", tools=[*TOOLS, PLAIN], eager=eager)
    turn = chat.stream("Go.").drain()
    ours = [name for name in names.split() if name != "yours"]
    assert outcomes(turn) == dict.fromkeys(ours, "success")
    assert [block.id for block in chat.messages[-1].content] == ours
    chat.send([{"toolResult": {"toolUseId": "yours", "content": [{"text": "42"}]}}])
    legal(service.asked[-1])
    assert results_in(service.asked[-1][2]) == names.split()
    assert CANCELLED not in str(service.asked[-1])


def test_denied(service):
    """The model reads the reason, and answers."""
    chat = service.chat(said(use("put", {"what": "x"})), "Fine.", tools=TOOLS, approve=lambda _: "Not today.")
    assert chat.send("Go.").text == "Fine."
    assert ([run.outcome for run in chat.tool_runs], RAN) == (["denied"], [])
    assert "The reason: Not today." in told(chat)["a"]


# -- limits ----------------------------------------------------------------------------------------

AGAIN = (use("look", {"what": "x"}, "a"), use("put", {"what": "y"}, "b"))


@pytest.mark.parametrize(
    ("limits", "rounds"), [({"rounds": 1}, 1), ({"rounds": 3}, 3), ({"tokens": 15}, 1), ({"tokens": 31}, 3)]
)
def test_an_endless_loop_is_ended(service, limits, rounds):
    """At its limit: no tool of the last round changes anything, and the history goes on."""
    chat = service.chat(*[said(*AGAIN)] * rounds, "Fine.", tools=TOOLS, limits=nb.Limits(**limits))
    turn = chat.stream("Go.")
    for _ in range(2):  # each view is told
        with pytest.raises(LoopLimitError, match=str(*limits.values())) as caught:
            turn.drain()
        assert [caught.value.limit] == list(limits)
    assert (turn.status, len(turn.replies), turn.error) == ("limited", rounds, caught.value)
    assert RAN.count("y") == rounds - 1
    ended = [run.outcome for run in turn.tools if run.name == "put"]
    assert ended == [*["success"] * (rounds - 1), "cancelled"]
    goes_on(service, chat)


def test_no_tool_begins_early_in_the_last_round(service):
    """Nobody would read its result."""
    chat = service.chat(said(*AGAIN), "Fine.", tools=TOOLS, limits=nb.Limits(rounds=1))
    with pytest.raises(LoopLimitError):
        chat.send("Go.")
    assert (RAN, [run.began_s for run in chat.tool_runs]) == ([], [None, None])
    assert {"limit of 1 round:" in said for said in told(chat).values()} == {True}


SLOW = {
    "a tool": ([said(use("hang"))], None),
    "the head": (["Hm."], faults.no_head()),
    "the answer": ([said("One.", "Two.")], faults.stall(after=2)),
    "the next head": ([said(use("look", {"what": "x"}))], [None, faults.no_head()]),
    "the next answer": ([said(use("look", {"what": "x"})), said("A", "B")], [None, faults.stall(after=2)]),
}


@pytest.mark.parametrize(("says", "fault"), SLOW.values(), ids=SLOW)
def test_a_limit_of_seconds_ends_whatever_takes_long(service, says, fault):
    """It is one and the same error, whether a tool, a head or an answer is waited for."""
    chat = service.chat(*says, tools=[*TOOLS, hang], limits=nb.Limits(seconds=0.15))
    with service.server.fault(fault), pytest.raises(LoopLimitError) as caught:
        chat.stream("Go.").drain()
    assert (caught.value.limit, chat.exchanges[0].status) == ("seconds", "limited")
    assert chat.messages[0].text == "Go."
    service.lay("Fine.")
    chat.limits = nb.Limits()
    goes_on(service, chat)


@pytest.mark.parametrize(
    "limits", [{"rounds": 0}, {"rounds": 1.5}, {"seconds": -1}, {"tokens": True}, {"seconds": float("nan")}]
)
def test_limits_that_cannot_be_are_refused(limits):
    """The error names the limit."""
    with pytest.raises(RequestError, match=next(iter(limits))):
        nb.Limits(**limits)


# -- early, and beside each other ------------------------------------------------------------------


def places(turn) -> list[str]:
    """Where tools begin and end among the stops of blocks and messages."""
    kinds = (ToolStarted, ToolFinished, BlockStop, MessageStop)
    return [type(event).__name__ for event in turn if isinstance(event, kinds)]


def test_a_tool_that_changes_nothing_runs_while_the_message_goes_on(service):
    """The rest of the message does not come before it runs; the time saved is in the table."""
    runs = threading.Event()

    @nb.tool
    def early() -> str:
        runs.set()
        return "seen"

    chat = service.chat(held({MessageStop: runs}, use("early"), "And more."), "Fine.", tools=[early])
    turn = chat.stream("Go.")
    assert turn.text == "Fine."
    assert places(turn).index("ToolStarted") < places(turn).index("MessageStop")
    table = nb.tool_calls(turn)
    assert table["eager"].tolist() == [True]
    assert table["overlap_s"][0] > 0
    assert nb.tool_calls(chat)["id"].tolist() == ["a"]


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ({}, {"eager": False}),
        ({"side_effects": True, "approve": "always"}, {}),
        ({"approve": lambda _: True}, {}),
        ({"approve": "ask"}, {"ask": lambda _: True}),
        ({}, {"approve": lambda _: True}),
    ],
    ids=["not wanted", "side effects", "a function decides", "asks", "the conversation asks"],
)
def test_others_wait_for_the_whole_message(service, options, settings):
    """Nothing of them happens before the message has stopped."""
    ran, goes = [], threading.Event()

    def act() -> None:
        ran.append(1)

    says = held({MessageStop: goes}, use("act"), "And more.")
    chat = service.chat(says, "Fine.", tools=[nb.tool(act, **options)], **settings)
    turn = chat.stream("Go.")
    view, seen = iter(turn), list[Any]()
    while not (seen and isinstance(seen[-1], BlockStop) and seen[-1].index == 1):
        seen.append(next(view))
    assert ran == []
    goes.set()
    seen += view
    kinds = [type(event).__name__ for event in seen]
    assert kinds.index("MessageStop") < kinds.index("ToolStarted")
    assert [run.eager for run in turn.tools] == [False]
    assert (ran, turn.text) == ([1], "Fine.")


@pytest.mark.parametrize("eager", [True, False])
def test_results_stand_in_the_order_of_calls(service, eager):
    """Whichever tool ends first."""
    ended = {name: threading.Event() for name in "123"}
    after = {"1": "2", "2": "3"}

    @nb.tool
    def chain(name: str) -> str:
        if name in after:
            ended[after[name]].wait(LIMIT)
        ended[name].set()
        return name

    calls = [use("chain", {"name": name}, name) for name in "123"]
    chat = service.chat(said(*calls), "Fine.", tools=[chain], eager=eager, parallel=3)
    turn = chat.stream("Go.").drain()
    assert results_in(service.asked[-1][2]) == ["1", "2", "3"]
    assert [block.content for block in chat.messages[2].content] == [({"text": name},) for name in "123"]
    assert sorted(outcomes(turn)) == ["1", "2", "3"]


# -- views -----------------------------------------------------------------------------------------


def interleaved(turn):
    """Two views, an event each in turn."""
    views, left = [iter(turn), iter(turn)], {0, 1}
    seen: list[list[Any]] = [[], []]
    while left:
        for number in sorted(left):
            try:
                seen[number].append(next(views[number]))
            except StopIteration:
                left.discard(number)
    assert seen[0] == seen[1]
    return seen[0]


def threaded(turn):
    """Several views, each in a thread."""
    seen: list[list[Any]] = [[] for _ in range(4)]
    threads = [in_thread(partial(lambda mine: mine.extend(turn), mine)) for mine in seen]
    for thread in threads:
        thread.join(LIMIT)
    assert all(mine == seen[0] for mine in seen)
    return seen[0]


def begun_late(turn):
    """A view that begins when another is half through."""
    first = iter(turn)
    before = [next(first) for _ in range(8)]
    late = list(turn)
    assert before + list(first) == late
    return late


def pulled(turn):
    """Through the replies, before the turn is looked at."""
    for reply in turn.replies:
        reply.drain()
    return list(turn)


THREE = [said("First.", *AGAIN), said(use("later", {"what": "z"}, "c"), "Then."), "At last."]


@pytest.mark.parametrize("look_at", [list, interleaved, threaded, begun_late, pulled])
@pytest.mark.parametrize("background", [False, True])
def test_every_view_has_all_events_at_their_places(service, look_at, background):
    """In whichever way and thread it is looked at; also when it is looked at again."""
    turn = service.chat(*THREE, tools=TOOLS).stream("Go.", background=background)
    seen = look_at(turn)
    assert list(turn) == seen
    begins = [event.call.id for event in seen if isinstance(event, ToolStarted)]
    ends = [event.run.id for event in seen if isinstance(event, ToolFinished)]
    assert (begins, sorted(ends)) == (["a", "b", "c"], ["a", "b", "c"])
    for id in "abc":
        started = [isinstance(event, ToolStarted) and event.call.id == id for event in seen].index(True)
        ended = [isinstance(event, ToolFinished) and event.call.id == id for event in seen].index(True)
        assert started < ended
    rest = [event for event in seen if not isinstance(event, ToolStarted | ToolFinished)]
    assert rest == [event for reply in turn.replies for event in reply]
    assert "".join(turn.text_stream) == "First.Then.At last."
    assert (turn.text, turn.stop_reason, turn.status) == ("At last.", "end_turn", "complete")
    assert repr(turn) == "<Turn: complete, 3 rounds, 3 tool calls, 19 characters>"


def test_what_there_is_can_be_seen_while_it_comes(service):
    """The open block is in the snapshot and in the conversation, which says that it is not whole."""
    goes = threading.Event()
    chat = service.chat(held({2: goes}, "One moment.", "And more."), tools=TOOLS)
    turn = chat.stream("Go.")
    view = iter(turn)
    while not isinstance(next(view), TextDelta):
        pass
    assert (turn.snapshot.text, turn.snapshot.partial) == ("One moment.", True)
    assert [(m.text, m.partial) for m in chat.messages] == [("Go.", False), ("One moment.", True)]
    goes.set()
    turn.drain()
    assert (turn.snapshot.text, turn.snapshot.partial) == ("One moment.And more.", False)
    assert [message.partial for message in chat.messages] == [False, False]


@pytest.mark.parametrize("background", [False, True])
def test_no_view_waits_for_what_another_waits_for(service, background):
    """What came is given to each view at once, also while one of them waits for the next event."""
    seen: list[list[Any]] = [[], [], []]

    def respond(_request):
        for number, event in enumerate(events_of(*"abcdefgh")):
            wait_for(lambda: all(len(mine) >= number for mine in seen))  # noqa: B023  (called at once)
            yield event

    turn = service.chat(respond).stream("Go.", background=background)
    threads = [in_thread(partial(lambda mine: mine.extend(turn), mine)) for mine in seen]
    for thread in threads:
        thread.join(LIMIT)
    assert turn.text == "abcdefgh"
    assert seen[0] == seen[1] == seen[2] == list(turn)


@pytest.mark.parametrize("background", [False, True])
def test_each_view_is_told_of_each_tool_at_once(service, background):
    """Also while one of them waits for the next tool, which here begins when all were told of the last."""
    seen: list[list[Any]] = [[], [], []]

    def ended(mine: list[Any]) -> int:
        return sum(isinstance(event, ToolFinished) for event in mine)

    @nb.tool
    def after(number: int) -> None:
        wait_for(lambda: all(ended(mine) >= number for mine in seen))

    calls = [use("after", {"number": number}, str(number)) for number in range(8)]
    chat = service.chat(said(*calls), "Fine.", tools=[after], eager=False)
    turn = chat.stream("Go.", background=background)
    threads = [in_thread(partial(lambda mine: mine.extend(turn), mine)) for mine in seen]
    for thread in threads:
        thread.join(LIMIT)
    assert list(outcomes(turn).values()) == ["success"] * 8
    assert seen[0] == seen[1] == seen[2] == list(turn)


def test_the_snapshot_of_a_turn_has_all_of_it(service):
    """Every answer and every result, in order; its tokens are those of all calls."""
    turn = service.chat(*THREE, tools=TOOLS).stream("Go.").drain()
    kinds = [type(block).__name__.removesuffix("Block") for block in turn.snapshot.content]
    assert kinds == [
        *("Text", "ToolUse", "ToolUse", "ToolResult", "ToolResult"),
        *("ToolUse", "Text", "ToolResult", "Text"),
    ]
    usages = [recording.usage for recording in turn.recordings]
    assert turn.usage == {name: sum(usage[name] for usage in usages) for name in usages[0]}


# -- ending it -------------------------------------------------------------------------------------


def ours() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("bedrock_nb")}


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("how", ["turn", "chat", "twice", "with", "another thread"])
def test_an_answer_is_cancelled(service, how, background):
    """What came stays, the connection is closed, and the next prompt is taken."""
    goes, before = threading.Event(), ours()
    chat = service.chat(held({3: goes}, "One moment.", "And more."), "Fine.", tools=TOOLS)
    with chat.stream("Go.", background=background) as turn:
        assert next(iter(turn.text_stream)) == "One moment."
        if how == "another thread":
            reader = in_thread(lambda: list(turn))
            in_thread(turn.cancel).join(LIMIT)
            reader.join(LIMIT)
            assert not reader.is_alive()
        elif how != "with":
            for _ in range(1 + (how == "twice")):
                (chat if how == "chat" else turn).cancel()
    wait_for(lambda: turn.status == "cancelled")
    assert turn.drain() is turn
    assert [(message.text, message.partial) for message in chat.messages[1:]] == [("One moment.", True)]
    wait_for(lambda: ours() <= before)
    goes.set()
    request_id = turn.replies[0].envelope["request_id"]
    wait_for(lambda: service.server.truth(request_id).outcome == "gone")
    goes_on(service, chat)


@pytest.mark.parametrize("background", [False, True])
def test_cancelled_while_a_tool_runs(service, background):
    """The tool is told, its result is that it was cancelled, and nothing more is asked."""
    runs, told_of = threading.Event(), SimpleQueue[bool]()

    @nb.tool(side_effects=True, approve="always")
    def act(context: nb.ToolContext) -> str:
        runs.set()
        told_of.put(context.wait(LIMIT))
        return "late"

    chat = service.chat(said(use("act")), "Fine.", tools=[act])
    turn = chat.stream("Go.", background=background)
    reader = in_thread(lambda: list(turn))
    assert runs.wait(LIMIT)
    turn.cancel()
    reader.join(LIMIT)
    assert not reader.is_alive()
    assert told_of.get(timeout=LIMIT)
    assert (turn.status, outcomes(turn), len(turn.replies)) == ("cancelled", {"a": "cancelled"}, 1)
    goes_on(service, chat)


def test_cancelled_while_somebody_is_asked(service):
    """Whatever they say then, nothing is run."""
    asked, answer = threading.Event(), threading.Event()

    def ask(_call) -> bool:
        asked.set()
        return answer.wait(LIMIT)

    calls = [use("put", {"what": id}, id) for id in "ab"]
    chat = service.chat(said(*calls), "Fine.", tools=[put], approve="ask", ask=ask)
    turn = chat.stream("Go.", background=True)
    assert asked.wait(LIMIT)
    turn.cancel()
    answer.set()
    wait_for(lambda: turn.status == "cancelled")
    assert (RAN, len(turn.replies), outcomes(turn)) == (
        [],
        1,
        {"a": "cancelled", "b": "cancelled"},
    )
    wait_for(lambda: not turn.busy)
    goes_on(service, chat)
    assert CANCELLED in told(chat)["b"]


@pytest.mark.parametrize("rounds", [1, 2])
def test_cancelled_before_a_head_has_come(service, rounds):
    """At once: nobody waits for a model that says nothing."""
    chat = service.chat(*[said(use("look", {"what": "x"}))] * 2, tools=TOOLS)
    silent = [None] * (rounds - 1) + [faults.no_head()]
    with service.server.fault(silent):
        asking = threading.Thread(target=lambda: ended.append(chat.stream("Go.").drain()))
        ended: list[nb.Turn] = []
        asking.start()
        wait_for(lambda: len(service.asked) == rounds)
        wait_for(lambda: chat._loop is not None and chat._loop() and chat._loop()._asking is not None)
        chat.cancel()
        asking.join(LIMIT)
    assert (ended[0].status, chat.exchanges[0].status) == ("cancelled", "cancelled")
    assert (ended[0].seconds or LIMIT) < LIMIT
    service.lay("Fine.")
    goes_on(service, chat)


def test_a_tool_cannot_talk_in_its_own_conversation(service):
    """It would talk into the turn that waits for it; a fork of it is free."""

    @nb.tool
    def talk(fork: bool) -> str:
        """Ask the model."""
        return (chat.fork() if fork else chat).send("And?").text

    chat = service.chat(said(use("talk", {"fork": False}, "a")), "Fine.", tools=[talk])
    turn = chat.stream("Go.").drain()
    assert (outcomes(turn), "chat.fork()" in told(chat)["a"]) == ({"a": "error"}, True)
    service.lay(said(use("talk", {"fork": True}, "b")), "Inner.", "Fine.")
    assert outcomes(chat.stream("Once more.").drain()) == {"b": "success"}
    assert "Inner." in told(chat)["b"]


def test_cancelled_while_the_next_answer_is_waited_for(service):
    """Of it nothing is read."""
    asked, goes = threading.Event(), threading.Event()

    def slow(_request):
        asked.set()
        goes.wait(LIMIT)
        yield from events_of("Too late.")

    chat = service.chat(said(use("look", {"what": "x"})), slow, "Fine.", tools=TOOLS)
    turn = chat.stream("Go.", background=True)
    assert asked.wait(LIMIT)
    turn.cancel()
    goes.set()
    wait_for(lambda: turn.status == "cancelled")
    assert outcomes(turn) == {"a": "success"}
    assert "Too late." not in str(chat.messages)
    wait_for(lambda: not turn.busy)
    goes_on(service, chat)


def test_cancelled_before_there_is_an_answer(service):
    """By another thread, while the first head is waited for: nothing of the answer is read."""
    goes, made = threading.Event(), list[nb.Turn]()
    chat = service.chat(held({0: goes}, "Too late."), "Fine.")
    asks = in_thread(lambda: made.append(chat.stream("Go.")))
    wait_for(lambda: service.asked)
    chat.cancel()
    goes.set()
    asks.join(LIMIT)
    assert made[0].drain().status == "cancelled"
    assert chat.messages[0].text == "Go."
    assert "Too late." not in str(chat.messages)
    goes_on(service, chat)


@pytest.mark.parametrize("when", ["at once", "in the middle", "while a tool runs"])
def test_a_turn_that_nobody_holds_is_over(service, when):
    """What came of it is in the conversation, and nothing is left behind."""
    before, goes, runs = ours(), threading.Event(), threading.Event()

    @nb.tool
    def act(context: nb.ToolContext) -> None:
        runs.set()
        context.wait(LIMIT)

    chat = service.chat(held({6: goes}, "Hm.", use("act"), "And more."), "Fine.", tools=[act])
    turn = chat.stream("Go.")
    if when != "at once":
        view = iter(turn)
        kind = TextDelta if when == "in the middle" else ToolStarted
        while not isinstance(next(view), kind):
            pass
        assert kind is TextDelta or runs.wait(LIMIT)
        del view
    del turn
    gc.collect()
    assert chat.exchanges[0].status == "cancelled"
    assert [message.partial for message in chat.messages[1:2]] == [True] * (when != "at once")
    wait_for(lambda: ours() <= before)
    goes.set()
    goes_on(service, chat)


def test_an_interrupted_loop_leaves_a_turn_that_the_next_prompt_ends(service):
    """Whoever is interrupted between two events may go on, or say something else."""
    goes = threading.Event()
    chat = service.chat(held({3: goes}, "One moment.", "And more."), "Fine.", tools=TOOLS)
    turn = chat.stream("Go.")

    def interrupted() -> None:
        for event in turn:
            if isinstance(event, TextDelta):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert chat.exchanges[0].status == "streaming"
    goes_on(service, chat)
    goes.set()
    assert (turn.status, chat.exchanges[0].status) == ("cancelled", "cancelled")
    assert chat.messages[1].text == "One moment."


@pytest.mark.parametrize("when", ["an answer comes", "a tool runs", "somebody is asked"])
def test_an_interrupt_while_it_waits_cancels(service, when):
    """Ctrl+C in the middle of an answer, of a tool or of a question: what came stays, nothing more is run."""
    goes, before = threading.Event(), ours()

    def ask(_call) -> bool:
        raise KeyboardInterrupt

    says = {
        "an answer comes": held({3: goes}, "One moment.", "And more."),
        "a tool runs": said("One moment.", use("hang")),
        "somebody is asked": said("One moment.", use("put", {"what": "x"})),
    }[when]
    chat = service.chat(says, "Fine.", tools=[hang, put], approve="ask" if "asked" in when else None, ask=ask)
    turn = chat.stream("Go.")

    def interrupt() -> None:
        wait_for(lambda: "One moment." in chat.messages[-1].text)
        if "tool" in when:
            wait_for(lambda: any(thread.name == "bedrock_nb.tool" for thread in ours()))
        os.kill(os.getpid(), signal.SIGINT)

    if "asked" not in when:
        in_thread(interrupt)
    with pytest.raises(KeyboardInterrupt):
        turn.drain()
    assert (turn.status, chat.messages[1].text, RAN) == ("cancelled", "One moment.", [])
    assert set(outcomes(turn).values()) <= {"cancelled"}
    wait_for(lambda: ours() <= before)
    goes.set()
    goes_on(service, chat)


def test_a_turn_in_the_background_is_not_talked_into(service):
    """It is let finish, or cancelled."""
    goes = threading.Event()
    chat = service.chat(held({1: goes}, "Hm."), "Fine.")
    turn = chat.stream("Go.", background=True)
    for act in (partial(chat.stream, "And?"), chat.undo, chat.rerun):
        with pytest.raises(RequestError, match="still being answered"):
            act()
    assert len(chat) == 1
    goes.set()
    assert turn.text == "Hm."
    goes_on(service, chat)


@pytest.mark.parametrize("background", [False, True])
def test_a_failed_turn_raises_in_each_view(service, background):
    """After all that came; looking at what there is raises nothing."""
    chat = service.chat("One two three.", "Fine.")
    with service.server.fault([faults.end(after=2)]):
        turn = chat.stream("Go.", background=background)
        for view in (lambda: list(turn), turn.drain, lambda: turn.text, lambda: turn.usage):
            with pytest.raises(IncompleteStreamError):
                view()
    assert (turn.status, turn.snapshot.partial, len(turn.recordings)) == ("incomplete", True, 1)
    goes_on(service, chat)


def test_a_refused_request_is_raised_at_once(service):
    """There is no turn; the prompt is in the history, and is not sent with the next."""
    chat = service.chat("Fine.")
    with service.server.fault([faults.refuse(429)]), pytest.raises(ThrottlingError):
        chat.stream("Go.")
    assert [(exchange.status, exchange.messages) for exchange in chat.exchanges] == [("error", [])]
    goes_on(service, chat)
    assert [block["text"] for block in service.asked[-1][0]["content"]] == ["And now?"]


def test_a_result_that_another_view_is_taking_in_is_not_waited_for(service):
    """The driver, woken by it, goes on, however long that view takes."""
    gate, popped, goes = threading.Event(), threading.Event(), threading.Event()

    @nb.tool
    def gated() -> str:
        """Wait."""
        gate.wait(LIMIT)
        return "done"

    class Slow(deque):
        """When a result comes, another view takes it out, and stops there."""

        def append(self, running) -> None:
            super().append(running)
            threading.Thread(target=lambda: turn._loop.see(this, ())).start()
            assert popped.wait(LIMIT)

        def popleft(self):
            running = super().popleft()
            popped.set()
            goes.wait(LIMIT)
            return running

    chat = service.chat(said(use("gated")), "Fine.", tools=[gated], eager=False)
    turn = chat.stream("Go.")
    reader = threading.Thread(target=turn.drain, daemon=True)
    reader.start()
    wait_for(lambda: turn._loop.rounds[-1].running)
    this = turn._loop.rounds[-1]
    this.ended = Slow()
    gate.set()
    reader.join(5)
    over = not reader.is_alive()
    goes.set()
    assert over
    assert outcomes(turn) == {"a": "success"}
