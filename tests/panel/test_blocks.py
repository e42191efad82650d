"""panel/blocks.py and what it is made of: a conversation as blocks, while it streams and when it is over."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.assembly import fold, to_events
from bedrock_nb.conversation.history import Exchange, results_for
from bedrock_nb.conversation.loop import TurnEvent
from bedrock_nb.errors import LoopLimitError, RequestError, StreamError
from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    ImageDelta,
    ImageStart,
    MessageStart,
    ReasoningDelta,
    ReasoningSignature,
    Seam,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUseStart,
)
from bedrock_nb.message import (
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from bedrock_nb.panel import parts
from bedrock_nb.panel.arriving import Arriving
from bedrock_nb.panel.blocks import Follower, settled
from bedrock_nb.panel.document import Document
from bedrock_nb.server import faults
from bedrock_nb.toolruns import ToolFinished, ToolRun, ToolStarted
from tests.chatting import held, in_thread, said, use, wait_for
from tests.messages import SOUND_MESSAGES, SPLITS
from tests.panel.pages import Page, applied
from tests.wire_server import LIMIT

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)
NASTY = "<img src=x onerror=alert(1)>\u202e"


@nb.tool
def look(what: str) -> str:
    """Look something up."""
    return f"seen {what}"


@nb.tool
def picture() -> list[dict[str, Any]]:
    """Take a picture."""
    return [{"text": "Here:"}, {"image": {"format": "png", "source": {"bytes": PNG}}}, {"json": {"a": 1}}]


@nb.tool(side_effects=True, approve="ask")
def remove(path: str) -> str:
    """Remove a file."""
    return f"removed {path}"


class Watched:
    """A document, who keeps it in line, a page, and the ops that it was told."""

    def __init__(self, **settings: Any) -> None:
        self.document = Document({})
        self.follower = Follower(self.document, **settings)
        self.page = Page()
        self.page.receive(self.document.snapshot(self.page.view))
        self.told: list[list[Any]] = []

    def look(self, chat: nb.Conversation, **asking: ToolUseBlock) -> bool:
        growing = self.follower.look(chat, asking)
        self.told = []
        if (message := self.document.take()) is not None:
            self.page.receive(message)
            self.told = message["ops"]
        return growing

    def blocks(self, turn: int = -1) -> list[tuple[str, str, str]]:
        """Kind, title and state of the blocks of a turn."""
        return [(b["kind"], b["title"], b["state"]) for b in self.page.turns[turn]["blocks"]]

    def turn(self, turn: int = -1) -> dict[str, Any]:
        return self.page.turns[turn]


def shown(chat: nb.Conversation) -> list[list[dict[str, Any]]]:
    """The blocks of a conversation that nobody has watched."""
    watched = Watched()
    watched.look(chat)
    return [turn["blocks"] for turn in watched.page.turns]


# -- streaming and history -------------------------------------------------------------------------


def told_by(rounds: Sequence[Message], split: Any) -> tuple[list[TurnEvent], Exchange]:
    """The events of a turn in which each call of a tool was answered, and what is in the history then."""
    events: list[TurnEvent] = []
    exchange = Exchange(Message("user", (TextBlock("Go."),)))
    for message in rounds:
        streamed = list(to_events(message, stop_reason="tool_use", split=split))
        events += streamed
        answer = fold(streamed)
        exchange.messages.append(answer)
        known: dict[str, ToolResultBlock] = {}
        for call in answer.tool_uses:
            if call.type is None and call.id not in known:
                run = ToolRun(call.id, call.name, "success", 0.1, 0.2, 0.5)
                known[call.id] = ToolResultBlock(call.id, ({"text": call.raw},))
                exchange.tools.append(run)
                events += [ToolStarted(call, False), ToolFinished(call, run, known[call.id])]
        results = results_for(answer, known)
        if results is not None:
            exchange.messages.append(results)
    exchange.status = "complete"
    return events, exchange


def _distinct(message: Message) -> bool:
    """Whether each result and each call is one of a kind; what a service does not do is told in no order."""
    ids = [block.id for block in message.content if isinstance(block, ToolUseBlock | ToolResultBlock)]
    return len(ids) == len(set(ids))


@settings(max_examples=60)
@given(st.lists(SOUND_MESSAGES.filter(_distinct), min_size=1, max_size=3), SPLITS, st.integers(1, 9))
def test_what_streams_is_what_is_in_the_history(rounds, split, every):
    """The same blocks, whatever comes and however it is cut: at the end next to nothing is told again."""
    events, exchange = told_by(rounds, split)
    document = Document({})
    turn = document.add()
    arriving = Arriving(document, turn, frozenset())
    for i in range(0, len(events), every):
        arriving.take(events[i : i + every], {})
    document.take()
    for at, view in enumerate(settled(exchange)):
        parts.put(document, turn, at, view)
    ops = (document.take() or {"ops": []})["ops"]
    # A call that nobody answers here is `waiting` or `running` until it is clear that it stays so.
    assert all(op[0] == "block" and op[3].keys() == {"state"} for op in ops)
    assert len(document.turns[turn]["blocks"]) == len(list(settled(exchange)))


def test_whoever_looks_while_others_read_has_it_all(service):
    """A thread that does nothing but look, beside one that reads and those of tools."""
    calls = [use("look", {"what": name}, name) for name in "abc"]
    chat = service.chat(
        said("Hm.", *calls), said("*So*", use("picture", id="d")), "Last.", tools=[look, picture]
    )
    watched, turn = Watched(), chat.stream("Go.")
    reading = in_thread(turn.drain)
    while watched.look(chat):
        pass
    reading.join(LIMIT)
    assert [block["pieces"] for block in watched.turn()["blocks"]] == [
        block["pieces"] for block in shown(chat)[0]
    ]
    assert watched.page.shown == watched.document.snapshot("any")["snap"]


CITED = {"title": "A book", "source": "https://example.org/book"}
ODD: dict[str, list[Any]] = {
    "sources before their text": [
        CitationDelta(0, CITED),
        TextDelta(0, "One."),
        CitationDelta(0, CITED),
        BlockStop(0),
    ],
    "sources when the next block has begun": [
        TextDelta(0, "One."),
        ReasoningDelta(1, "Two."),
        CitationDelta(0, CITED),
        ReasoningDelta(1, "Three."),
        BlockStop(0),
        BlockStop(1),
    ],
    "text that begins with nothing to see": [
        TextDelta(0, " "),
        ReasoningDelta(1, "One."),
        ToolUseStart(2, "a", "look"),
        TextDelta(0, "Two."),
        BlockStop(0),
    ],
    "a delta of another kind in an open block": [
        TextDelta(0, "One."),
        ReasoningDelta(0, "Two."),
        BlockStop(0),
    ],
    "a call that never stopped": [ToolUseStart(0, "a", "look"), ToolInputDelta(0, '{"what": ')],
    "input of no call": [ToolInputDelta(0, '{"what": ')],
    "reasoning that is only signed": [ReasoningSignature(0, "abc"), BlockStop(0), TextDelta(1, "One.")],
    "a picture in parts": [
        ImageStart(0, "png"),
        ImageDelta(0, {"bytes": PNG[:5]}),
        ImageDelta(0, {"bytes": PNG[5:]}),
        BlockStop(0),
    ],
    "a picture that failed": [ImageStart(0, "png"), ImageDelta(0, error={"message": "no"}), BlockStop(0)],
    "a tool of the service": [
        ToolUseStart(0, "a", "search", "server_tool_use"),
        ToolInputDelta(0, "{}"),
        BlockStop(0),
        ToolResultStart(1, "a", "success"),
        ToolResultDelta(1, ({"text": "found "},)),
        ToolResultDelta(1, ({"text": "it"},)),
        BlockStop(1),
        TextDelta(2, "One."),
    ],
    "half a character": [TextDelta(0, "\ud83d"), TextDelta(0, "\ude00"), BlockStop(0)],
}


@pytest.mark.parametrize("what", ODD)
def test_what_comes_in_an_odd_order_stands_where_it_belongs(what):
    """A page that followed event by event has the same blocks as one that sees the history."""
    events = [MessageStart("assistant"), *ODD[what]]
    document = Document({})
    turn = document.add()
    arriving, page = Arriving(document, turn, frozenset()), document.snapshot("page")["snap"]
    document.take()
    for event in events:
        arriving.take([event], {})
        applied(page, (document.take() or {"ops": []})["ops"])
    whole = list(settled(Exchange(Message("user"), [fold(events)], status="complete")))
    assert [block["kind"] for block in page["turns"][0]["blocks"]] == [view.kind for view in whole]
    for at, view in enumerate(whole):
        if page["turns"][0]["blocks"][at]["state"] != "growing" and view.state not in ("broken", ""):
            assert page["turns"][0]["blocks"][at]["state"] == view.state
        parts.put(document, turn, at, view)
    applied(page, (document.take() or {"ops": []})["ops"])
    assert page == document.snapshot("page")["snap"]
    assert [block["pieces"] for block in page["turns"][0]["blocks"]] == [list(view.pieces) for view in whole]


def test_an_answer_that_begins_anew_takes_back_what_was_shown():
    """Of this round; what came of the rounds before, and of their tools, stays."""
    events, _ = told_by([Message("assistant", (TextBlock("First."), use("look")))], None)
    document = Document({})
    turn = document.add()
    arriving = Arriving(document, turn, frozenset())
    arriving.take([*events, MessageStart("assistant"), TextDelta(0, "Wrong."), ToolUseStart(1, "b", "x")], {})
    assert [block["kind"] for block in document.turns[turn]["blocks"]] == ["text", "tool", "text", "tool"]
    arriving.take([Seam("restart"), MessageStart("assistant"), TextDelta(0, "Right.")], {})
    assert [block["pieces"][0] for block in document.turns[turn]["blocks"]] == [
        "<p>First.</p>\n",
        "<pre><code>{}</code></pre>",
        "<p>Right.</p>\n",
    ]
    arriving.take([Seam("continue"), TextDelta(0, " And on.")], {})
    assert document.turns[turn]["blocks"][-1]["pieces"] == ["<p>Right. And on.</p>\n"]


@pytest.mark.parametrize("every", [1, 30, 2000])
def test_what_is_finished_is_not_touched_again(every):
    """A long answer, however often it is looked at; what is told in all stays near what came."""
    ends = {0: ".\n\n"}
    words = [f"Word {n} of **many**{ends.get(n % 20, '.')} " for n in range(1, 1001)]
    document = Document({})
    turn = document.add()
    arriving, told, newest = Arriving(document, turn, frozenset()), 0, -1
    events = [MessageStart("assistant"), *(TextDelta(0, word) for word in words), BlockStop(0)]
    for i in range(0, len(events), every):
        arriving.take(events[i : i + every], {})
        for op in (document.take() or {"ops": []})["ops"]:
            if op[0] in ("piece", "grow"):
                assert op[3] >= newest
                newest = max(newest, op[3])
                told += len(op[-1])
    assert newest == 49
    assert told < 4 * sum(map(len, words))


# -- tools -----------------------------------------------------------------------------------------


def test_a_call_of_a_tool_goes_through_its_states(service):
    """Written, whole, waiting for approval under its key, running, and at its end with what it gave."""
    writes, ends, asked, answers, runs, done = (threading.Event() for _ in range(6))

    @nb.tool(side_effects=True, approve="ask")
    def act(path: str) -> str:
        """Act."""
        runs.set()
        done.wait(LIMIT)
        return f"done {path}"

    def ask(_call: ToolUseBlock) -> bool:
        asked.set()
        return answers.wait(LIMIT)

    call = use("act", {"path": "x"})
    chat = service.chat(held({2: writes, 4: ends}, call), "So.", tools=[act], ask=ask)
    watched, turn = Watched(), chat.stream("Go.")
    assert watched.look(chat)
    reading = in_thread(turn.drain)

    def stands(state: str, **asking: ToolUseBlock) -> bool:
        watched.look(chat, **asking)
        return watched.blocks()[:1] == [("tool", "act", state)]

    wait_for(partial(stands, "writing"))
    writes.set()
    wait_for(partial(stands, "waiting"))
    ends.set()
    assert asked.wait(LIMIT)
    assert stands("asking", key=call)
    assert watched.page.asks() == ["key"]
    assert stands("waiting")
    answers.set()
    wait_for(partial(stands, "running"))
    assert watched.page.asks() == []
    done.set()
    reading.join(LIMIT)
    assert not watched.look(chat)
    kind, title, state = watched.blocks()[0]
    assert (kind, title.split(" · ")[0], state) == ("tool", "act", "success")
    assert title.endswith((" ms", " s"))
    assert watched.turn()["blocks"][0]["pieces"] == [
        "<pre><code>{&quot;path&quot;: &quot;x&quot;}</code></pre>",
        "<pre><code>done x</code></pre>",
    ]
    assert watched.turn()["blocks"] == shown(chat)[0]


def test_a_question_stands_at_the_call_that_will_run():
    """Of calls with one id only the one that is asked about has buttons, and is shown to its end."""
    first, second = use("remove", {"path": "x" * 60_000 + " the end"}), use("remove", {"path": "harmless"})
    document = Document({})
    id = document.add()
    arriving = Arriving(document, id, frozenset())
    arriving.take(to_events(Message("assistant", (second, first, first)), stop_reason="tool_use"), {})
    arriving.take([], {"key": first})
    blocks = document.snapshot("view")["snap"]["turns"][0]["blocks"]
    assert [(block["state"], block["ask"]) for block in blocks] == [
        ("waiting", None),
        ("asking", "key"),
        ("waiting", None),
    ]
    assert "the end" in blocks[1]["pieces"][0]
    assert "the end" not in blocks[2]["pieces"][0]


OUTCOMES = {
    "denied": (use("remove", {"path": "x"}), "denied"),
    "invalid": (use("look", {"why": "x"}), "invalid"),
    "unknown": (use("drop"), "unknown"),
    "broken": (use("look", '{"what": '), "broken"),
}


@pytest.mark.parametrize("how", OUTCOMES)
def test_how_a_call_ended_is_its_state(service, how):
    """Also of one that never ran, which has no time; watched or not."""
    call, state = OUTCOMES[how]
    chat = service.chat(said(call), "So.", tools=[look, remove], ask=lambda _call: False)
    watched, turn = Watched(), chat.stream("Go.")
    for _ in turn:
        watched.look(chat)
    watched.look(chat)
    assert watched.blocks()[0] == ("tool", call.name, state)
    assert len(watched.turn()["blocks"][0]["pieces"]) == 2
    assert [turn["blocks"] for turn in watched.page.turns] == shown(chat)


def test_what_a_tool_gave_stands_as_it_came(service):
    """Text and JSON together, pictures between; and a call of a tool that is yours to answer has no state."""
    yours = {"toolSpec": {"name": "yours", "inputSchema": {"json": {"type": "object"}}}}
    chat = service.chat(said(use("picture")), said(use("yours")), tools=[picture, yours])
    chat.send("Go.")
    first, second = shown(chat)[0]
    text, image, rest = first["pieces"][1].partition('<div class="bedrock-nb"><p><img')
    assert text == "<pre><code>Here:</code></pre>"
    assert "data:image/png;base64," in image + rest
    assert rest.endswith("<pre><code>{&quot;a&quot;: 1}</code></pre>")
    assert (second["title"], second["state"], len(second["pieces"])) == ("yours", "", 1)


def test_long_arguments_and_results_are_cut():
    """While they are written, and at the end; it says by how much."""
    block = ToolUseBlock("a", "look", None, "x" * 30_000)
    (view,) = parts.views(block, parts.Call("writing"))
    assert view.pieces[0].endswith("x\n… 10,000 characters more</code></pre>")
    result = ToolResultBlock("a", ({"text": "y" * 60_000},))
    (view,) = parts.views(block, parts.Call(result=result))
    assert len(view.pieces[0]) > 30_000
    assert "… 10,000 characters more" in view.pieces[1]


@pytest.mark.parametrize(
    "block",
    [
        ToolUseBlock("a", NASTY, {NASTY: NASTY}, "{}"),
        ToolUseBlock("a", NASTY * 99, None, NASTY),
        ToolResultBlock("a", ({"text": NASTY}, {"json": NASTY}), status=NASTY),
        TextBlock(NASTY, ({"title": NASTY, "source": "javascript:alert(1)"},)),
        ReasoningBlock(NASTY),
        RedactedBlock(NASTY.encode()),
        ImageBlock(NASTY, {"bytes": NASTY.encode()}),
        ImageBlock("png", {}, {"message": NASTY}),
        UnknownBlock({NASTY: NASTY}),
    ],
    ids=lambda block: type(block).__name__,
)
def test_what_strangers_wrote_is_text(block):
    """In a piece it is escaped; in a title, which is text, nothing is invisible, and it is one short line."""
    result = ToolResultBlock("a", ({"text": NASTY}, {"image": {"format": "png", "source": {"bytes": b"x"}}}))
    for view in parts.views(block, parts.Call(result=result)):
        assert "<img" not in "".join(view.pieces)
        assert "javascript:" not in "".join(view.pieces).replace("javascript:alert(1)</", "")
        assert not {"\u202e", "\n"} & set(view.title)
        assert len(view.title) < 120


# -- how a turn ends -------------------------------------------------------------------------------


@nb.tool
def again() -> str:
    """Again."""
    return "again"


def _stop(turn: nb.Turn) -> None:
    for event in turn:
        if isinstance(event, TextDelta):
            turn.cancel()


#: What is said, settings, the fault, what is done: the last block, what it says, and what can be done.
ENDS: dict[str, tuple[Any, ...]] = {
    "complete": (["Fine."], {}, None, nb.Turn.drain, "text", "Fine.", []),
    "cut": (
        [said("One two", stop="max_tokens")],
        {},
        None,
        nb.Turn.drain,
        "note",
        "limit of tokens",
        ["continue"],
    ),
    "filtered": ([said("Hm", stop="content_filtered")], {}, None, nb.Turn.drain, "note", "filtered", []),
    "stopped": (["Fine."], {}, None, _stop, "note", "Stopped. What came is kept.", ["retry", "continue"]),
    "at once": (["Fine."], {}, None, nb.Turn.cancel, "note", "Stopped before anything came.", ["retry"]),
    "broken off": (
        ["One two three."],
        {},
        faults.end(after=2),
        nb.Turn.drain,
        "error",
        "Not whole",
        ["retry", "continue"],
    ),
    "limited": (
        [said(use("again"))],
        {"tools": [again], "limits": nb.Limits(rounds=1)},
        None,
        nb.Turn.drain,
        "note",
        "limit of 1 round",
        ["continue"],
    ),
    "refused": (["Fine."], {}, faults.refuse(429), None, "error", "ThrottlingError", ["retry"]),
}


@pytest.mark.parametrize("how", ENDS)
def test_how_a_turn_ended_is_told(service, how):
    """In plain words, with what is kept and what can be done; in a fork, too."""
    says, options, fault, act, kind, words, can = ENDS[how]
    chat, watched = service.chat(*says, **options), Watched()
    with service.server.fault([fault] if fault else []), suppress(StreamError, LoopLimitError):
        act(chat.stream("Go."))
    assert not watched.look(chat)
    (turn,) = watched.page.turns
    assert turn["status"] == chat.exchanges[0].status
    last = turn["blocks"][-1]
    assert (last["kind"], last["title"], turn["can"]) == (kind, "", can)  # a card has a heading of its own
    assert words in watched.page.html()
    assert (turn["strip"] is None) == (not chat.exchanges[0].messages)
    assert shown(chat.fork()) == [turn["blocks"]]


def test_an_error_says_what_to_try_and_names_no_account(service):
    """Its words are for who has the panel, not the exception; of a loaded turn the status gives them."""
    chat, watched = service.chat("One two three."), Watched()
    with service.server.fault([faults.end(after=2)]), pytest.raises(StreamError):
        chat.send("Go.")
    watched.look(chat)
    assert "err.reply" not in watched.page.html()
    assert "Retry asks again; Continue goes on from what came." in watched.page.html()
    assert chat.exchanges[0].error is not None
    assert chat.exchanges[0].error.reply is None
    chat.exchanges[0].error = None
    assert "broke off before it was whole" in shown(chat)[0][-1]["pieces"][0]
    exchange = Exchange(
        Message("user"), status="error", error=RequestError("No arn:aws:iam::123456789012:user/x")
    )
    assert "123456789012" not in "".join(piece for view in settled(exchange) for piece in view.pieces)


def test_what_was_left_out_is_told():
    """Before the answer."""
    exchange = Exchange(
        Message("user"), [Message("assistant", (TextBlock("Hm."),))], status="complete", left_out=2
    )
    assert [view.kind for view in settled(exchange)] == ["note", "text"]
    assert "2 oldest turns were left out" in next(settled(exchange)).pieces[0]


# -- the conversation ------------------------------------------------------------------------------


def test_turns_are_matched_by_what_they_are(service):
    """What is taken back goes; what is asked again is another; the rest stays and is not told again."""
    chat, watched = service.chat("Fine."), Watched()
    for prompt in ("One <b>", "Two", "Three"):
        chat.send(prompt)
    watched.look(chat)
    one, two, _ = (turn["id"] for turn in watched.page.turns)
    assert watched.page.prompts == ["One <b>", "Two", "Three"]
    assert "&lt;b&gt;" in watched.turn(0)["prompt"]["html"]
    assert [watched.follower.number(turn["id"], chat) for turn in watched.page.turns] == [0, 1, 2]
    chat.undo()
    assert not watched.look(chat)
    assert [op[0] for op in watched.told] == ["turns"]
    chat.rerun().drain()
    watched.look(chat)
    assert watched.turn(0)["id"] == one
    assert {op[1] for op in watched.told if op[0] != "turns"} == {watched.turn()["id"]}
    for wrong in (two, 0, "1", None, True):
        with pytest.raises(RequestError, match="no turn"):
            watched.follower.number(wrong, chat)
    other = chat.fork()
    other.send("Four")
    watched.look(other)
    assert watched.page.prompts == ["One <b>", "Two", "Four"]
    watched.look(chat.fork(0))
    assert watched.page.turns == []


def test_what_is_refused_is_put_back(service):
    """The turn that was to be replaced is shown again."""
    chat, watched = service.chat("Fine."), Watched()
    chat.send("One")
    seen: list[list[str]] = []

    class Looking:
        def on_change(self, conversation: nb.Conversation) -> None:
            watched.look(conversation)
            seen.append(watched.page.prompts)

    chat.on(Looking())
    with service.server.fault([faults.refuse(429)]), pytest.raises(StreamError):
        chat.edit("Two")
    assert seen == [["Two"], ["Two"], ["One"]]
    assert watched.blocks() == [("text", "", "")]


def test_only_the_last_turn_can_be_gone_on_with(service):
    """What can be done about a turn goes when another follows, and comes back with it."""
    chat, watched = service.chat(said("One two", stop="max_tokens"), "Fine."), Watched()
    chat.send("Go.")
    watched.look(chat)
    assert watched.turn()["can"] == ["continue"]
    chat.send("Go on.")
    watched.look(chat)
    assert [turn["can"] for turn in watched.page.turns] == [[], []]
    chat.undo()
    watched.look(chat)
    assert watched.turn()["can"] == ["continue"]


def test_a_saved_conversation_shows_what_it_showed(service, tmp_path):
    """With its tools and their times, but without strips, for it has no recordings."""
    chat, watched = (
        service.chat(said("Hm.", use("look", {"what": "x"})), said("So."), tools=[look]),
        Watched(),
    )
    chat.send("Go.")
    watched.look(chat)
    assert watched.turn()["strip"]["chunks"] == 3
    assert watched.turn()["strip"]["words"].startswith("TTFT")
    loaded = nb.Conversation.load(chat.save(tmp_path / "chat.json"), service.client, tools=[look])
    assert shown(loaded) == [turn["blocks"] for turn in watched.page.turns]
    watched.look(loaded)
    assert watched.turn()["strip"] is None


def test_who_looks_keeps_no_turn_alive(service):
    """A turn that nobody else holds is over, and shown so."""
    chat, watched = service.chat("One two three."), Watched()
    turn = chat.stream("Go.")
    next(iter(turn))
    assert watched.look(chat)
    del turn
    assert not watched.look(chat)
    assert watched.turn()["status"] == "cancelled"


def test_a_strip_grows_only_with_what_comes(service):
    """Once a look; what the looks took is noted in the recording that grows."""
    goes, ticks = threading.Event(), count()
    chat = service.chat(held({3: goes}, "One moment.", "And more."))
    watched = Watched(clock=lambda: float(next(ticks)))
    turn = chat.stream("Go.")
    reading = in_thread(turn.drain)
    wait_for(lambda: watched.look(chat) and watched.page.kinds() == ["text"])
    watched.look(chat)
    assert [op for op in watched.told if op[0] == "live"] == []
    goes.set()
    reading.join(LIMIT)
    looks = turn.recordings[0].spent["display_s"]
    assert looks >= 1.0
    watched.look(chat)
    assert turn.recordings[0].spent["display_s"] == looks
    assert watched.turn()["strip"]["chunks"] == 2


def test_a_strip_is_of_the_newest_answer(service):
    """To a prompt that was asked again, each time with other words."""
    chat, watched = service.chat("One two three.", said("Fine.")), Watched()
    chat.send("Go.")
    watched.look(chat)
    many = watched.turn()["strip"]["chunks"]
    chat.rerun().drain()
    watched.look(chat)
    assert (many > 1, watched.turn()["strip"]["chunks"]) == (True, 1)


def test_images_are_fetched_from_hosts_that_are_allowed(service):
    """In answers and in prompts; others are links."""
    text = "![a](https://good.example/a.png) ![b](https://bad.example/b.png)"
    chat = service.chat(said(text))
    chat.send(text)
    for images, n in (((), 0), (["good.example"], 1)):
        watched = Watched(images=images)
        watched.look(chat)
        assert watched.page.html().count("<img") == n
        assert watched.turn()["prompt"]["html"].count("<img") == n
        assert 'src="https://bad' not in watched.page.html()
