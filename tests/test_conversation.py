"""conversation.py, past.py, window.py: what is said is kept, sent, changed, saved and taken up again."""

from __future__ import annotations

import json
import stat
import tempfile
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb import tap
from bedrock_nb.conversation.saved import dump
from bedrock_nb.errors import (
    BedrockNbError,
    ContextWindowError,
    RecordingError,
    RequestError,
    StreamError,
    StructuredOutputError,
)
from bedrock_nb.events import MessageStop, TextDelta
from bedrock_nb.message import TextBlock
from bedrock_nb.server import faults
from bedrock_nb.server.loopback import ACCESS_KEY, SECRET_KEY
from bedrock_nb.toolruns import ToolFinished, ToolRun
from tests.chatting import events_of, held, legal, said, use, wait_for
from tests.wire_server import LIMIT

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@nb.tool
def look(what: str) -> str:
    """Look something up."""
    return f"seen {what}"


@nb.tool
def picture() -> dict[str, Any]:
    """Take a picture."""
    return {"image": {"format": "png", "source": {"bytes": PNG}}}


@nb.tool(side_effects=True)
def remove(path: str) -> str:
    """Remove a file."""
    return f"removed {path}"


TOOLS = [look, picture, remove]
PLAIN = {"toolSpec": {"name": "yours", "inputSchema": {"json": {"type": "object"}}}}


def texts(chat) -> list[str]:
    return [message.text for message in chat.messages]


# -- saved, loaded, forked -------------------------------------------------------------------------


def test_twenty_turns_with_parallel_tools_survive(service, tmp_path):
    """Saved, loaded and forked: the same past, to the byte; each goes on by itself, and it is accepted."""
    turns = [
        say
        for n in range(20)
        for say in (
            said(f"Turn {n}.", use("look", {"what": "x"}, f"a{n}"), use("picture", id=f"b{n}")),
            "So.",
        )
    ]
    chat = service.chat(*turns, "Fine.", tools=TOOLS, system="Be brief.", max_tokens=500)
    for n in range(20):
        assert chat.send(f"Question {n}").text == "So."
    loaded = nb.Conversation.load(chat.save(tmp_path / "chat.json"), service.client, tools=TOOLS)
    twin, part = chat.fork(), chat.fork(5)
    assert loaded.exchanges == twin.exchanges == chat.exchanges
    assert part.exchanges == chat.exchanges[:5]
    assert loaded.messages == chat.messages
    assert loaded.settings == twin.settings == {"system": "Be brief.", "max_tokens": 500}
    assert loaded.usage == twin.usage == chat.usage
    assert loaded.messages[2].content[1].content[0]["image"]["source"]["bytes"] == PNG
    assert len({each.id for each in (chat, twin, part)}) == 3
    for number, each in enumerate([loaded, twin, part, chat]):
        before = [dump({}, other.exchanges) for other in (loaded, twin, part, chat) if other is not each]
        assert each.send(f"More {number}").text == "Fine."
        after = [dump({}, other.exchanges) for other in (loaded, twin, part, chat) if other is not each]
        assert after == before
        legal(service.asked[-1])
    assert service.asked[-1][:-1] == service.asked[-4][:-1]


@pytest.mark.parametrize("cut", [faults.cut(after=3), faults.reset(after=4), faults.end(after=6)])
def test_what_broke_off_survives(service, tmp_path, cut):
    """A partial answer stays partial in the file, and is gone on from."""
    chat = service.chat(said("One moment.", use("look", {"what": "x"})), "Fine.", tools=TOOLS)
    with service.server.fault([cut]), suppress(StreamError):
        chat.send("Go.")
    loaded = nb.Conversation.load(chat.save(tmp_path / "chat.json"), service.client, tools=TOOLS)
    assert loaded.exchanges == chat.exchanges
    assert [message.partial for message in loaded.messages] == [message.partial for message in chat.messages]
    assert loaded.send("And?").text == "Fine."
    legal(service.asked[-1])


def test_saved_while_it_streams(service, tmp_path):
    """A copy and a file have what was whole by then; the turn goes on."""
    goes = threading.Event()
    chat = service.chat("First.", held({2: goes}, "One moment."), "Fine.")
    chat.send("Go.")
    turn = chat.stream("And?")
    twin = chat.fork()
    loaded = nb.Conversation.load(chat.save(tmp_path / "chat.json"), service.client)
    assert [exchange.status for exchange in twin.exchanges] == ["complete", "incomplete"]
    assert loaded.exchanges == twin.exchanges
    goes.set()
    assert turn.text == "One moment."
    assert twin.exchanges[1].messages == []


def test_a_file_is_for_its_owner_and_has_no_secrets(service, tmp_path):
    """Mode 0600; neither credentials nor where it is journalled; no temporary file is left."""
    chat = service.chat("Fine.", tools=TOOLS, journal=tmp_path / "journals", temperature=0.5)
    chat.send("Go.")
    path = chat.save(tmp_path / "chat.json")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    saved = path.read_text()
    assert json.loads(saved)["tools"] == ["look", "picture", "remove"]
    for shown in (saved, repr(chat), chat._repr_html_(), chat.to_html(), chat.to_markdown()):
        assert ACCESS_KEY not in shown
        assert SECRET_KEY not in shown
    assert "journals" not in saved
    assert sorted(each.name for each in tmp_path.iterdir()) == ["chat.json", "journals"]
    with pytest.raises(RecordingError):
        chat.save(tmp_path / "nowhere" / "chat.json")


def tampered(chat, path: Path, **changes: Any) -> Path:
    whole = json.loads(chat.save(path).read_text())
    path.write_text(json.dumps({**whole, **changes}))
    return path


def test_a_file_cannot_make_tools_run(service, tmp_path):
    """Who may run what is said by who loads it, and not by the file."""
    chat = service.chat(said(use("remove", {"path": "/"})), "Fine.", tools=TOOLS)
    hostile = {"approve": "always", "ask": "x", "tools": [], "journal": "/tmp/x", "limits": 1, "eager": True}
    path = tampered(chat, tmp_path / "chat.json", settings={**hostile, "max_tokens": 50})
    loaded = nb.Conversation.load(path, service.client, tools=TOOLS, ask=lambda _: False)
    assert loaded.settings == {"max_tokens": 50}
    loaded.send("Go.")
    assert [run.outcome for run in loaded.tool_runs] == ["denied"]


@pytest.mark.parametrize(
    "saved",
    [
        {"max_tokens": "many"},
        {"no_such_setting": 1},
        {"record": False},
        {"toolConfig": {}},
        {"model": 7},
        {"idle_timeout": "x"},
        ["max_tokens"],
        "max_tokens",
        7,
    ],
    ids=repr,
)
def test_a_file_with_settings_that_cannot_be_is_refused(service, tmp_path, saved):
    """With an error of ours."""
    path = tampered(service.chat(), tmp_path / "chat.json", settings=saved)
    with pytest.raises(RequestError):
        nb.Conversation.load(path, service.client)


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"", b"[]", b'{"format": "bedrock-nb-conversation"}'])
def test_what_is_no_conversation_is_refused(service, tmp_path, content):
    """Whatever there is in its place."""
    path = tmp_path / "chat.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match=r"chat\.json"):
        nb.Conversation.load(path, service.client)


# -- undo, rerun, edit -----------------------------------------------------------------------------


@pytest.fixture
def three(service):
    """A conversation of three turns, the second with a tool."""
    chat = service.chat("One.", said(use("look", {"what": "x"})), "Two.", "Three.", "Fine.", tools=TOOLS)
    for number in "123":
        chat.send(f"Question {number}")
    return chat


def test_undo(service, three):
    """Whole turns go, with the calls of their tools; their prompts are given back."""
    assert [message.text for message in three.undo(2)] == ["Question 2", "Question 3"]
    assert texts(three) == ["Question 1", "One."]
    three.send("Again")
    assert [turn["role"] for turn in service.asked[-1]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("turns", [0, -1, 4, True, "1", None])
def test_what_cannot_be_taken_back(three, turns):
    """Nothing is changed."""
    with pytest.raises(RequestError, match="cannot be taken back"):
        three.undo(turns)
    assert len(three) == 3


@pytest.mark.parametrize(("turn", "kept"), [(0, 0), (1, 1), (2, 2), (-1, 2), (-3, 0)])
@pytest.mark.parametrize("act", ["rerun", "edit"])
def test_an_earlier_prompt_is_asked_again(service, three, turn, kept, act):
    """What came after goes; what stood before is sent as it was."""
    before = three.exchanges[:kept]
    again = three.rerun(turn=turn) if act == "rerun" else three.edit("Other", turn=turn)
    assert again.text == "Fine."
    assert three.exchanges[:-1] == before
    assert len(three) == kept + 1
    assert three.exchanges[-1].prompt.text == (f"Question {kept + 1}" if act == "rerun" else "Other")
    assert three.recordings[-1].labels["turn"] == kept + 1
    legal(service.asked[-1])


@pytest.mark.parametrize("turn", [3, -4, "1", None, 0.5])
@pytest.mark.parametrize("act", ["rerun", "edit"])
def test_there_is_no_such_turn(three, turn, act):
    """Nothing is changed."""
    with pytest.raises(RequestError, match="There is no turn"):
        three.rerun(turn=turn) if act == "rerun" else three.edit("Other", turn=turn)
    assert len(three) == 3


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        ({"max_tokens": "x"}, None),
        ({"no_such": 1}, None),
        ({"journal": Path("/dev/null/x")}, None),
        ({"labels": 7}, None),
        ({}, faults.refuse(429)),
        ({}, faults.hang_up()),
    ],
    ids=str,
)
@pytest.mark.parametrize("act", ["rerun", "edit"])
def test_what_is_not_answered_replaces_nothing(service, three, broken, fault, act):
    """A prompt that cannot be sent, or is refused, leaves what stood in its place."""
    before = dump({}, three.exchanges)
    with service.server.fault(fault), pytest.raises(BedrockNbError):
        (three.rerun if act == "rerun" else partial(three.edit, "Other"))(turn=0, **broken)
    assert dump({}, three.exchanges) == before
    assert three.send("And?").text == "Fine."


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"max_token": 5},
        {"temprature": 1},
        {"max_tokens": "x"},
        {"temperature": 7},
        {"record": False},
        {"toolConfig": {}},
        {"prompt": "Hi"},
        {"background": True},
        {"when_long": "summarize"},
        {"context_tokens": 0},
        {"context_tokens": "many"},
        {"approve": "never"},
        {"parallel": 0},
        {"limits": 5},
        {"labels": 7},
        {"idle_timeout": -1},
        {"tools": [look, look]},
        {"tools": [5]},
        {"messages": [{"role": "assistant", "content": [{"text": "Hi"}]}]},
        {"messages": [7]},
    ],
    ids=str,
)
def test_settings_that_cannot_work_are_refused_at_once(service, settings):
    """Before anything is asked."""
    with pytest.raises(RequestError):
        nb.Conversation(service.client, **settings)


def test_settings_of_a_turn_are_for_it_alone(service):
    """They come in place of the conversation's."""
    chat = service.chat("Fine.", max_tokens=100, system="Be brief.", temperature=0.5)
    chat.send("Go.", max_tokens=7, system="Be kind.", model="embedded.canned-v1:0")
    chat.send("And?")
    first, second = service.requests
    assert (first.max_tokens, first.system, first.model) == (
        7,
        ({"text": "Be kind."},),
        "embedded.canned-v1:0",
    )
    assert (second.max_tokens, second.system) == (100, ({"text": "Be brief."},))
    assert second.model != first.model


def test_a_tool_must_be_called_once(service):
    """A choice of tool is for the first call of the model: else it would call it for ever."""
    chat = service.chat(said(use("look", {"what": "x"})), "Fine.", tools=TOOLS, tool_choice="any")
    chat.send("Go.")
    choices = [request.to_kwargs()["toolConfig"].get("toolChoice") for request in service.requests]
    assert choices == [{"any": {}}, None]


def test_what_was_said_before(service):
    """Dicts and messages, with calls and results, are sent as they are."""
    before = [
        nb.user("Weather?"),
        {
            "role": "assistant",
            "content": [{"toolUse": {"toolUseId": "1", "name": "look", "input": {"what": "x"}}}],
        },
        {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": [{"text": "sun"}]}}]},
        nb.Message("assistant", (TextBlock("Sun."),)),
    ]
    chat = service.chat("Fine.", messages=before, tools=TOOLS)
    assert (len(chat), chat.send("And?").text) == (1, "Fine.")
    assert service.asked[-1][:3] == before[:3]
    legal(service.asked[-1])


def test_reprs(service):
    """What it is, in one line."""
    chat = service.chat("Fine.", tools=[look], model="embedded.canned-v1:0")
    assert repr(chat) == "<Conversation with embedded.canned-v1:0: 0 turns, 1 tool>"
    turn = chat.stream("Go.").drain()
    assert repr(chat) == "<Conversation with embedded.canned-v1:0: 1 turn, 1 tool>"
    assert repr(turn) == "<Turn: complete, 1 round, 0 tool calls, 5 characters>"


# -- numbers ---------------------------------------------------------------------------------------


def test_recordings_say_where_they_belong(service):
    """Conversation, turn, round and when, beside labels of one's own; the summary has columns of them."""
    chat = service.chat(said(use("look", {"what": "x"})), "So.", "Fine.", tools=TOOLS, labels={"run": 3})
    turn = chat.stream("Go.", labels={"mood": "good"}).drain()
    chat.send("And?")
    labels = [recording.labels for recording in chat.recordings]
    assert [(each["turn"], each["round"], each["run"], each.get("mood")) for each in labels] == [
        (1, 1, 3, "good"),
        (1, 2, 3, "good"),
        (2, 1, 3, None),
    ]
    assert {each["conversation"] for each in labels} == {chat.id}
    assert labels[0]["at_s"] < labels[1]["at_s"]
    assert nb.summary(turn)["round"].tolist() == [1, 2]
    assert nb.summary(chat)["turn"].tolist() == [1, 1, 2]


def test_tokens_and_their_cost(service):
    """All calls are added up, at prices for a million tokens."""
    chat = service.chat(said(use("look", {"what": "x"})), said("So."), tools=TOOLS)
    turn = chat.stream("Go.")
    assert turn.usage == chat.usage == {"inputTokens": 20, "outputTokens": 10, "totalTokens": 30}
    assert chat.cost(input=3, output=15) == pytest.approx((20 * 3 + 10 * 15) / 1e6)
    with pytest.raises(RequestError, match="inputTokens"):
        chat.cost(input=-1, output=1)


# -- what fits -------------------------------------------------------------------------------------

LONG = "word " * 300  # 1,500 characters: about 500 tokens by the first guess


def sent(service) -> list[str]:
    """The texts of the user in the latest request."""
    turns = [turn for turn in service.asked[-1] if turn["role"] == "user"]
    return [block["text"][:10] for turn in turns for block in turn["content"] if "text" in block]


def test_a_conversation_that_is_too_long_is_refused(service):
    """Before it is sent, with the numbers; what was said stays."""
    chat = service.chat("Fine.", context_tokens=1000, max_tokens=100)
    chat.send("Hi")
    with pytest.raises(ContextWindowError, match="1,000") as caught:
        chat.send(LONG * 4)
    assert caught.value.window == 1000
    assert caught.value.tokens > 1000
    assert (len(service.asked), len(chat)) == (1, 1)
    assert chat.send("Hi again").text == "Fine."


def test_the_oldest_is_left_out(service):
    """Of what is sent, not of what is kept."""
    chat = service.chat("Fine.", context_tokens=1200, max_tokens=100, when_long="drop")
    for number in range(8):
        chat.send(f"{number} {LONG}")
    assert len(chat) == 8
    assert "7 word wor" in sent(service)
    assert "0 word wor" not in sent(service)
    legal(service.asked[-1])
    with pytest.raises(ContextWindowError):
        chat.send(LONG * 20)


def test_leaving_out_does_not_let_it_grow_too_long(service):
    """What was left out is no measure of how many characters a token has: the window is kept to."""
    chat = service.chat("Fine.", context_tokens=1200, max_tokens=100, when_long="drop")
    for number in range(25):
        chat.send(f"{number} {LONG}")
    read = [recording.usage["inputTokens"] for recording in chat.recordings]
    assert max(read) <= 1200


@pytest.mark.parametrize("window", [250, 700, 1200, 2000])
def test_results_are_not_parted_from_their_calls(service, window):
    """Where a prompt has nothing but results, the exchange that asked for them is not left out alone."""
    says = [said(LONG, use("yours", id="y")), "So.", "Fine."]
    chat = service.chat(*says, tools=[PLAIN], max_tokens=10, when_long="drop")
    chat.stream("Go.").drain()
    chat.send([{"toolResult": {"toolUseId": "y", "content": [{"text": "42"}]}}])
    chat.context_tokens = window
    assert chat.send("And?").text == "Fine."
    legal(service.asked[-1])


# -- observers -------------------------------------------------------------------------------------


class Notes:
    """Everything that it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, reply: Any) -> None:
        self.seen.append("start")

    def on_complete(self, message: Any, usage: Any, metrics: Any) -> None:
        self.seen.append(f"complete {message.text}")

    def on_tool_start(self, call: Any) -> None:
        self.seen.append(f"tool {call.id}")

    def on_tool_end(self, run: ToolRun) -> None:
        self.seen.append(f"{run.outcome} {run.id}")


class ToolNotes:
    """Told of tools alone."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_tool_end(self, run: ToolRun) -> None:
        self.seen.append(run.id)


class Failing:
    """It raises whatever it is told."""

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("on_"):
            raise AttributeError(name)

        def fail(*_: Any) -> None:
            raise SystemExit(name) if "tool" in name else ValueError(name)

        return fail


def test_observers_are_told_of_replies_and_tools(service):
    """Each of what it has a method for; one that fails disturbs neither the turn nor the others."""
    notes, tools = Notes(), ToolNotes()
    chat = service.chat(said(use("look", {"what": "x"})), "Fine.", tools=TOOLS, eager=False)
    assert chat.on(Failing()).on(notes).on(tools) is chat
    assert chat.send("Go.").text == "Fine."
    assert notes.seen == ["start", "complete ", "tool a", "success a", "start", "complete Fine."]
    assert tools.seen == ["a"]


def test_what_observes_nothing_is_refused(service):
    """At once."""
    with pytest.raises(RequestError, match="observes nothing"):
        service.chat().on(object())


# -- at the keyboard, on the screen ----------------------------------------------------------------


@pytest.mark.parametrize("end", ["quit", " QUIT ", "bye", EOFError()])
def test_talking_at_the_keyboard(service, capsys, end):
    """Until the word that ends it, or the end of input; empty lines are passed over."""
    lines = iter(["Hello", "", "  ", "And?", end])

    def read(question: str) -> str:
        assert question == "You: "
        line = next(lines)
        if isinstance(line, EOFError):
            raise line
        return line

    chat = service.chat("One.", "\x1b[2JTwo.")
    chat.loop(read=read, quit="bye" if end == "bye" else "quit")
    assert texts(chat) == ["Hello", "One.", "And?", "\x1b[2JTwo."]
    shown = capsys.readouterr().out
    assert shown.startswith("One.\n")
    assert "Two." in shown
    assert "\x1b" not in shown


def test_the_talk_goes_on_after_a_failure(service, capsys):
    """What ended a turn is told in its words; tools are shown, and answers apart from each other."""
    lines = iter(["Look!", "Again!", "And?", "quit"])
    asks = said("Let me see.", use("look", {"what": "x"}))
    chat = service.chat(
        asks, lambda _: iter(events_of("Half")[:-2]), "So.", tools=TOOLS, limits=nb.Limits(rounds=1)
    )
    chat.loop(read=lambda _: next(lines))
    shown = capsys.readouterr().out
    parts = ["Let me see.\n", "[Result of look", "has reached its limit", "Half\n", "ended before", "So.\n"]
    assert [shown.index(part) for part in parts] == sorted(shown.index(part) for part in parts)
    assert [exchange.status for exchange in chat.exchanges] == ["limited", "incomplete", "complete"]


def test_a_turn_in_a_terminal(service, capsys):
    """The answers, and between them what was called and what came of it."""
    chat = service.chat(said("Let me see.", use("look", {"what": "x"})), "So.", tools=TOOLS)
    turn = chat.stream("Go.")
    assert nb.live(turn) is turn
    shown = capsys.readouterr().out
    parts = ["Let me see.", "look", "seen x", "So."]
    assert [shown.index(part) for part in parts] == sorted(shown.index(part) for part in parts)


# -- other ways to answer --------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def test_an_answer_as_an_object(service):
    """After the tools; while it comes as far as it came."""
    chat = service.chat(
        said(use("look", {"what": "x"})),
        '{"city": "Paris"}',
        "no JSON",
        tools=TOOLS,
        model="embedded.canned-v1:0",
        schema=SCHEMA,
    )
    turn = chat.stream("Go.")
    assert turn.parsed == {"city": "Paris"}
    assert turn.partial_json == {"city": "Paris"}
    with pytest.raises(StructuredOutputError):
        _ = chat.stream("Again.").parsed
    assert len(chat) == 2


def test_plain_calls(service):
    """``streaming=False``: the same turn, whose answers come whole."""
    chat = service.chat(said("Hm.", use("look", {"what": "x"})), "Fine.", tools=TOOLS, streaming=False)
    turn = chat.stream("Go.")
    events = list(turn)
    assert (turn.text, [run.outcome for run in turn.tools]) == ("Fine.", ["success"])
    assert [event.run.id for event in events if isinstance(event, ToolFinished)] == ["a"]
    assert all(recording.whole for recording in turn.recordings)
    assert chat.send("And?").text == "Fine."
    legal(service.asked[-1])


def test_journals(service, tmp_path):
    """Each reply has a file of its own."""
    chat = service.chat(
        said(use("look", {"what": "x"})), "Fine.", tools=TOOLS, journal=tmp_path, durability="crash"
    )
    chat.send("Go.")
    kept = sorted(
        (nb.Recording.load(path) for path in tmp_path.iterdir()), key=lambda one: one.labels["round"]
    )
    assert [recording.message.text for recording in kept] == ["", "Fine."]


# -- any order of things ---------------------------------------------------------------------------

_ANSWERS = {
    "text": [said("So.")],
    "tools": [said("Hm.", use("look", {"what": "x"}, "1"), use("nope", id="2")), said("So.")],
    "denied": [said(use("remove", {"path": "/"}, "3")), said("So.")],
    "broken": [said(use("look", '{"wh', "4")), said("So.")],
    "nothing": [said()],
    "max_tokens": [said("Hm.", use("look", '{"wh', "5"), stop="max_tokens")],
    "yours": [said(use("yours", id="6"), use("look", {"what": "x"}, "7"))],
}
_FAULTS = [None, faults.refuse(429), *(faults.cut(after=n) for n in range(9))]
_asks = st.tuples(
    st.just("ask"), st.sampled_from(list(_ANSWERS)), st.lists(st.sampled_from(_FAULTS), max_size=2)
)
_steps = _asks | st.tuples(
    st.sampled_from(["undo", "fork", "edit", "rerun", "save", "results", "cancel"]),
    st.sampled_from(list(_ANSWERS)),
    st.lists(st.sampled_from(_FAULTS), max_size=1),
)


def step(service, chat, what: str, faulty: list[Any]) -> Any:
    """Do one thing; whatever is raised must be an error of ours."""
    with service.server.fault(faulty), suppress(BedrockNbError):
        match what:
            case "ask":
                chat.send("Go.")
            case "undo":
                chat.undo()
            case "fork":
                return chat.fork()
            case "edit":
                chat.edit("Other", turn=0).drain()
            case "rerun":
                chat.rerun().drain()
            case "results":
                chat.send([{"toolResult": {"toolUseId": "6", "content": [{"text": "42"}]}}])
            case "cancel":
                next(iter(turn := chat.stream("Stop.")))
                turn.cancel()
            case "save":
                with tempfile.TemporaryDirectory() as folder:
                    path = chat.save(Path(folder) / "chat.json")
                    loaded = nb.Conversation.load(
                        path, service.client, tools=[*TOOLS, PLAIN], ask=lambda _: False
                    )
                assert loaded.exchanges == chat.exchanges
                return loaded
    return chat


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_steps, max_size=6))
def test_whatever_is_done_the_next_prompt_is_taken(service, steps):
    """Asked, broken, undone, forked, edited, saved in any order: the server takes what is sent."""
    chat = service.chat(tools=[*TOOLS, PLAIN], ask=lambda _: False)
    for what, answer, faulty in steps:
        service.lay(*_ANSWERS[answer])
        chat = step(service, chat, what, faulty)
    service.lay("Fine.")
    assert chat.send("And now?").text == "Fine."
    legal(service.asked[-1])


# -- what would have no effect, or too much -----------------------------------------------------------


@pytest.mark.parametrize("ask", [True, False, "me", 0])
def test_who_is_asked_must_be_a_function(service, ask):
    """Anything else would be nobody, and tools with side effects would run."""
    with pytest.raises(RequestError, match="Give a function"):
        service.chat("Fine.", ask=ask)


@pytest.mark.parametrize(("name", "value"), [("system", "Other."), ("temperature", 0.5), ("model", "m")])
def test_a_setting_is_no_attribute(service, name, value):
    """Setting it there would have no effect; what to do in its place is said, and works."""
    chat = service.chat("Fine.")
    with pytest.raises(RequestError, match=rf"chat.settings\['{name}'\]"):
        setattr(chat, name, value)
    chat.settings[name] = value
    chat.send("Hi")
    assert str(value) in str(service.requests[-1].to_kwargs())


def test_what_was_said_and_the_tools_are_not_to_be_changed_there(service):
    """Neither would reach the conversation."""
    chat = service.chat("Fine.", tools=[look])
    assert isinstance(chat.messages, tuple)
    with pytest.raises(TypeError):
        chat.tools["other"] = look


PARTS = ('{"colours": ["red"', ', "green"', ', "blue"]}')
COLOURS = {
    "type": "object",
    "properties": {"colours": {"type": "array", "items": {"type": "string"}}},
    "required": ["colours"],
    "additionalProperties": False,
}


def test_the_value_of_a_turn_grows(service):
    """Also of the answer after a tool round; whoever reads only the value ends the turn like any reader."""

    def answer(_request):
        events = events_of("".join(PARTS))
        place = next(i for i, event in enumerate(events) if isinstance(event, TextDelta))
        yield from events[:place]
        yield from (TextDelta(0, part) for part in PARTS)
        yield from events[place + 1 :]

    chat = service.chat(said(use("look", {"what": "x"})), answer, tools=[look])
    values = list(chat.stream("Go.", schema=COLOURS, model="embedded.canned-v1:0").partials)
    assert values[-1] == {"colours": ["red", "green", "blue"]}
    assert all(set(value["colours"]) <= {"red", "green", "blue"} for value in values)
    assert (chat.exchanges[0].status, len(chat.messages)) == ("complete", 4)


def test_nobody_talks_into_a_turn_that_is_read(service):
    """Not another thread, and not a function that the turn itself calls."""
    gate, refused = threading.Event(), []

    def approve(_call) -> bool:
        with pytest.raises(RequestError, match="still being answered") as caught:
            chat.send("May it?")
        refused.append(caught.value)
        return True

    chat = service.chat(
        held({MessageStop: gate}, "Well.", use("remove", {"path": "/"})),
        "Fine.",
        tools=[remove],
        approve=approve,
    )
    turn = chat.stream("Go.")
    reader = threading.Thread(target=turn.drain)
    reader.start()
    wait_for(lambda: turn.busy)
    for act in (lambda: chat.send("other"), chat.undo):
        with pytest.raises(RequestError, match="still being answered"):
            act()
    gate.set()
    reader.join(LIMIT)
    assert (turn.status, len(refused), len(chat)) == ("complete", 1, 1)


def test_what_is_on_its_way_is_saved_forked_and_exported(service, tmp_path):
    """As far as it has come."""
    gate = threading.Event()
    chat = service.chat(held({MessageStop: gate}, "So far."))
    turn = chat.stream("Go.")
    for event in turn:
        if isinstance(event, TextDelta):
            break
    twin = chat.fork()
    loaded = nb.Conversation.load(chat.save(tmp_path / "c.json"), service.client)
    assert [texts(each)[-1] for each in (chat, twin, loaded)] == ["So far."] * 3
    assert "So far." in chat.to_markdown()
    gate.set()
    assert turn.drain().status == "complete"


def test_a_fork_has_slots_of_its_own(service):
    """So that a tool may ask the model, and wait for the tools of that answer, with one slot."""

    @nb.tool
    def ask_it() -> str:
        """Ask the model."""
        return chat.fork(0).send("And?").text

    inner = said(use("look", {"what": "x"}, "inner"))
    chat = service.chat(
        said(use("ask_it", {}, "outer")), inner, "Inner.", "Fine.", tools=[ask_it, look], parallel=1
    )
    turn = chat.stream("Go.").drain()
    assert [(run.name, run.outcome) for run in turn.tools] == [("ask_it", "success")]


def test_no_limit_of_time_is_a_setting_like_any(service):
    """None is stream's own default; a client's own limit holds beside that of the turn."""
    assert service.chat("Fine.", total_timeout=None).send("Hi").text == "Fine."
    tap.install(service.client, timeouts=nb.Timeouts(total=0.2))
    try:
        chat = service.chat("Fine.", limits=nb.Limits(seconds=30))
        with service.server.fault(faults.no_head()), pytest.raises(nb.errors.TotalTimeout):
            chat.send("Hi")
    finally:
        tap.install(service.client, timeouts=nb.Timeouts())


@pytest.mark.parametrize(
    "changes",
    [
        {"usages": [{"inputTokens": 10**400}]},
        {"usages": [{"inputTokens": float("nan")}]},
        {"prompt": {"role": "assistant", "content": [{"text": "Hi"}]}},
        {"prompt": {"role": "user", "content": []}},
        {"tools": [{"id": "a"}]},
        {"left_out": "1"},
    ],
)
def test_a_damaged_exchange_is_refused_when_it_is_loaded(service, tmp_path, changes):
    """And not when it is sent or counted."""
    chat = service.chat("Fine.")
    chat.send("Hi")
    path = chat.save(tmp_path / "c.json")
    whole = json.loads(path.read_text())
    whole["exchanges"][0] |= changes
    path.write_text(json.dumps(whole))
    with pytest.raises(RequestError, match="is damaged"):
        nb.Conversation.load(path, service.client)


@pytest.mark.parametrize("begin", ["Conversation", "ChatPanel"])
@pytest.mark.parametrize(("given", "meant"), [("nova_lite", "model"), ("Be brief.", "system")])
def test_the_client_comes_first(begin, given, meant):
    """What is given in its place is named, and the example is a call that works."""
    with pytest.raises(RequestError, match="the client comes first") as caught:
        getattr(nb, begin)(given)
    assert f"nb.{begin}(nb.connect(), {meant}={given!r})" in str(caught.value)


def test_a_prompt_that_was_refused_does_not_stand_in_the_way(service):
    """However often it was tried, the next request is without it."""
    chat = service.chat("Fine.")
    with service.server.fault([faults.refuse(400)] * 2):
        for _ in range(2):
            with pytest.raises(StreamError):
                chat.send("Bad.")
    chat.send("Good.")
    assert service.asked[-1] == [{"role": "user", "content": [{"text": "Good."}]}]
    assert [exchange.status for exchange in chat.exchanges] == ["error", "error", "complete"]
