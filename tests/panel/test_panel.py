"""The chat panel without a browser: what pages ask, what they are told, what code sees of it."""

from __future__ import annotations

import gc
import io
import json
import threading
import weakref
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import RequestError
from bedrock_nb.events import MessageStart, MessageStop, TextDelta
from bedrock_nb.message import Message
from bedrock_nb.server import faults
from bedrock_nb.server.own_models import drawing
from tests.chatting import held, said, use, wait_for
from tests.panel.pages import Page
from tests.wire_server import LIMIT

PNG = drawing(nb.Request(prompt="a rainbow")).message.content[1].source["bytes"]


class Watched(nb.ChatPanel):
    """A panel whose messages go to pages of ours, too; as JSON, with all of them kept."""

    def __init__(self, *args, **settings):
        self.pages, self.messages = [], []
        super().__init__(*args, **settings)

    def send(self, content, buffers=None):
        self.messages.append(json.dumps(content))
        for page in self.pages:
            page.receive(content, buffers)
        super().send(content, buffers)

    def page(self, view="view"):
        """A view that has said hello."""
        page = Page(view)
        self.pages.append(page)
        self._handle_custom_msg({"do": "hello", "view": view}, [])
        return page

    def do(self, do, buffers=(), view="view", **message):
        """What a page asks, as ipywidgets hands it on."""
        self._handle_custom_msg({"do": do, "view": view, **message}, list(buffers))


def ours():
    """The threads of panels and turns that are alive."""
    names = ("bedrock_nb.panel", "bedrock_nb.turn", "bedrock_nb.tool")
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(names)]


@pytest.fixture
def show(service):
    """A panel of a conversation in which these things are said, with a page; closed afterwards."""
    panels = []

    def make(*things, conversation=None, transcript=True, **options):
        chat = service.chat(*things, **options) if conversation is None else conversation
        panels.append(Watched(chat, transcript=transcript))
        return panels[-1], panels[-1].page()

    yield make
    for panel in panels:
        panel.close()
    wait_for(lambda: not ours())


def whole(panel, page):
    """All was painted, and the page that followed the ops shows what a new one is given."""
    assert panel.wait(LIMIT)
    assert page.missed == 0
    assert panel.page("another").shown == page.shown
    return page


# -- a conversation --------------------------------------------------------------------------------


def test_a_page_asks_and_sees_the_answer(show):
    """What is typed is asked, shown, and answered in the conversation; the end is said."""
    panel, page = show("**Fine**, thanks.")
    panel.do("ask", text="How are you?", files=[])
    whole(panel, page)
    assert page.prompts == ["How are you?"]
    assert "<strong>Fine</strong>" in page.html()
    assert (page.turns[0]["status"], page.state["busy"], page.said) == (
        "complete",
        False,
        ["Reply finished."],
    )
    assert page.turns[0]["strip"]["words"].startswith("TTFT")
    assert panel.conversation.messages[-1].text == "**Fine**, thanks."


def test_code_asks_the_same_way(show):
    """`ask` shows the turn as well; who waits has it at its end, who does not goes on."""
    panel, page = show("One.", "Two.")
    assert panel.ask("first", wait=True).text == "One."
    assert panel.ask(["second"]) is None
    whole(panel, page)
    assert page.prompts == ["first", "second"]
    assert [len(panel.recordings), list(panel.table["status"])] == [2, ["complete"] * 2]


def test_a_table_has_its_columns_before_anything_happened(show):
    """Nothing was asked: no rows, all columns."""
    panel, _ = show()
    assert panel.table.empty
    assert "ttft_s" in panel.table


def test_a_turn_that_code_begins_arrives_in_the_panel(show):
    """A cell begins a turn and never looks at it again: the panel reads it to its end."""
    panel, page = show("All of it.")
    turn = panel.conversation.stream("Tell me")
    whole(panel, page)
    assert turn.status == "complete"
    assert "All of it." in page.html()


def test_the_cell_and_the_panel_are_views_of_one_turn(show):
    """A cell that iterates the turn sees every event, while the panel reads it, too."""
    panel, page = show("a b c d")
    assert "".join(panel.conversation.stream("Tell me").text_stream) == "a b c d"
    whole(panel, page)
    assert panel.conversation.send("more").text == "a b c d"


def test_two_panels_show_one_conversation(show):
    """What one asks, both show."""
    panel, page = show("Fine.")
    other, another = show(conversation=panel.conversation)
    panel.do("ask", text="Well?", files=[])
    whole(panel, page)
    whole(other, another)
    assert page.turns[0]["blocks"] == another.turns[0]["blocks"]


def test_a_conversation_with_a_past_is_shown(show, service):
    """Turns that were there before are there at once."""
    chat = service.chat("Fine.")
    chat.send("Well?")
    panel, page = show(conversation=chat)
    whole(panel, page)
    assert (page.prompts, "Fine." in page.html()) == (["Well?"], True)


def test_a_page_that_comes_late_sees_all(show):
    """While an answer grows, it is given what there is, and then what is new."""
    gate = threading.Event()
    panel, page = show(held({2: gate}, "The beginning"))
    panel.do("ask", text="Tell me", files=[])
    wait_for(lambda: page.turns and "The beginning" in page.html())
    late = panel.page("late")
    assert "The beginning" in late.html()
    gate.set()
    whole(panel, page)
    assert (late.missed, late.shown) == (0, page.shown)


def test_a_burst_is_a_few_messages(show):
    """5,000 deltas that are there at once are painted at once."""
    panel, page = show(lambda _: iter([*burst(5000)]))
    with panel._painter.painting:  # the painter comes when all is there
        panel.do("ask", text="Go", files=[])
        assert panel._readers.wait(LIMIT)
    whole(panel, page)
    assert page.html().count("word") == 5000
    assert len(panel.messages) <= 15


def burst(count):
    """An answer of so many deltas."""
    yield MessageStart("assistant")
    yield from (TextDelta(0, f"word{n} ") for n in range(count))
    yield MessageStop("end_turn")


# -- stopping --------------------------------------------------------------------------------------


def test_stop_before_the_head(show, service):
    """A call that gets no answer is given up at once, and asked again by Retry."""
    panel, page = show("Fine.")
    with service.server.fault([faults.no_head(), None]):
        panel.do("ask", text="Anybody?", files=[])
        wait_for(lambda: page.turns and page.state["waiting"] and service.requests)
        assert page.state["waiting"] == "Waiting for the model"
        panel.do("stop")
        whole(panel, page)
        assert (page.turns[0]["status"], page.turns[0]["can"]) == ("cancelled", ["retry"])
        assert page.said == ["Reply stopped."]
        panel.do("retry")
        whole(panel, page)
    assert (page.prompts, page.turns[0]["status"]) == (["Anybody?"], "complete")


def test_stop_at_once(show, service):
    """A stop that comes before the call has begun is one, too."""
    panel, page = show("Fine.")
    with service.server.fault(faults.no_head()):
        panel.do("ask", text="Anybody?", files=[])
        panel.do("stop")
        whole(panel, page)
    assert page.turns[0]["status"] == "cancelled"


def test_stop_between_deltas(show):
    """What came stays, and is gone on from."""
    gate = threading.Event()
    panel, page = show(held({2: gate}, "The beginning"), "The end.")
    panel.do("ask", text="Tell me", files=[])
    wait_for(lambda: page.turns and "The beginning" in page.html())
    panel.do("stop")
    whole(panel, page)
    gate.set()
    assert (page.turns[0]["status"], page.turns[0]["can"]) == ("cancelled", ["retry", "continue"])
    panel.do("continue")
    whole(panel, page)
    assert page.html() == "<p>The end.</p>\n"


def test_closing_stops_what_is_on_its_way(show):
    """A closed panel asks nothing more, and leaves no thread."""
    gate = threading.Event()
    panel, page = show(held({2: gate}, "The beginning"))
    panel.do("ask", text="Tell me", files=[])
    wait_for(lambda: page.turns and "The beginning" in page.html())
    panel.close()
    gate.set()
    wait_for(lambda: not ours())
    assert panel.conversation.exchanges[0].status == "cancelled"
    with pytest.raises(RequestError, match="closed"):
        panel.ask("More")


def test_closing_ends_a_call_that_gets_no_answer(show, service):
    """Also one that has only just been asked for."""
    panel, _ = show("Fine.")
    with service.server.fault(faults.no_head()):
        panel.do("ask", text="Anybody?", files=[])
        panel.close()
    wait_for(lambda: not ours())
    assert panel.conversation.exchanges[0].status == "cancelled"


def test_a_panel_that_nobody_holds_can_go(service):
    """The conversation does not keep it."""
    chat = service.chat("Fine.")
    panel = nb.ChatPanel(chat)
    panel.ask("Well?", wait=True)
    panel.close()
    gone = weakref.ref(panel)
    del panel
    wait_for(lambda: gc.collect() is not None and gone() is None)
    assert chat.send("Still there?").text == "Fine."


# -- tools -----------------------------------------------------------------------------------------


@nb.tool(side_effects=True, approve="ask")
def erase(what: str) -> str:
    """Erase something."""
    return f"{what} is gone"


def erasing(show, **options):
    """A panel in which a call of `erase` waits for approval."""
    panel, page = show(said(use("erase", {"what": "disk"})), "Done.", tools=[erase], **options)
    panel.do("ask", text="Erase the disk", files=[])
    wait_for(lambda: page.turns and page.asks())
    assert page.state["waiting"] == "Waiting for your approval"
    return panel, page


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        ({"yes": True}, "success", "disk is gone"),
        ({"yes": False}, "denied", "did not approve"),
        ({"yes": False, "reason": "It is mine."}, "denied", "The reason: It is mine."),
    ],
)
def test_a_page_approves(show, answer, outcome, words):
    """A call runs if the page says so; a reason is told to the model."""
    panel, page = erasing(show)
    panel.do("approve", call=page.asks()[0], **answer)
    whole(panel, page)
    (run,) = panel.conversation.tool_runs
    assert (run.outcome, page.asks()) == (outcome, [])
    assert words in str(panel.conversation.messages[2])
    assert panel.conversation.messages[-1].text == "Done."


@pytest.mark.parametrize("stop", [lambda panel: panel.do("stop"), lambda panel: panel.conversation.cancel()])
def test_a_stop_ends_the_question(show, stop):
    """The page's, and one by code that does not know of the question."""
    panel, page = erasing(show)
    stop(panel)
    whole(panel, page)
    assert ([run.outcome for run in panel.conversation.tool_runs], page.asks()) == (["cancelled"], [])


def test_any_panel_of_the_conversation_answers(show):
    """A question stands in all of them, and is gone from all when one has answered."""
    panel, page = erasing(show)
    other, another = show(conversation=panel.conversation)
    wait_for(another.asks)
    other.do("approve", call=another.asks()[0], yes=True)
    whole(other, another)
    whole(panel, page)
    assert (page.asks(), panel.conversation.tool_runs[0].outcome) == ([], "success")


def test_a_branch_that_is_not_shown_says_that_it_waits(show):
    """Nobody would look there; back in it, it is answered."""
    panel, page = erasing(show)
    first = panel.conversation
    panel.fork()
    wait_for(lambda: page.state["branch"] == 1)
    assert page.state["branches"][0] == "Branch 1, waits for your approval"
    panel.conversation = first
    wait_for(page.asks)
    panel.do("approve", call=page.asks()[0], yes=False)
    whole(panel, page)
    assert page.state["branches"][0] == "Branch 1"


def test_an_answer_counts_once(show):
    """A second answer, or one to a question that never was, is refused in words."""
    panel, page = erasing(show)
    key = page.asks()[0]
    panel.do("approve", call=key, yes=False)
    whole(panel, page)
    panel.do("approve", call=key, yes=True)
    assert len(page.told) == 1
    assert panel.conversation.tool_runs[0].outcome == "denied"


def test_a_cell_that_drives_the_turn_asks_whom_it_asked_before(show):
    """While a cell runs no page is heard: the question goes to who was asked before there was a panel."""
    asked = []
    panel, page = show(
        said(use("erase", {"what": "disk"})),
        "Done.",
        tools=[erase],
        ask=lambda call: asked.append(call.name) or True,
    )
    assert panel.ask("Erase the disk", wait=True).text == "Done."
    assert asked == ["erase"]
    whole(panel, page)


def test_a_cell_that_waits_for_the_turn_is_asked(show):
    """No page is heard while the panel's thread drives the turn: the cell's thread asks, and that counts."""
    asked = []
    panel, page = show(
        said(use("erase", {"what": "disk"})),
        said(use("erase", {"what": "tape"}, "b")),
        "Done.",
        tools=[erase],
        ask=lambda call: asked.append((call.input["what"], threading.current_thread())) or len(asked) < 2,
    )
    turn = panel.conversation.stream("Erase the disk")
    wait_for(page.asks)
    assert turn.text == "Done."
    assert asked == [(what, threading.main_thread()) for what in ("disk", "tape")]
    assert [run.outcome for run in turn.tools] == ["success", "denied"]
    whole(panel, page)


def test_an_interrupt_of_the_question_ends_the_turn(show):
    """A cell that is asked and interrupted leaves no thread that waits for an answer."""

    def interrupted(call):
        raise KeyboardInterrupt

    panel, page = show(said(use("erase", {"what": "disk"})), "Done.", "More.", tools=[erase], ask=interrupted)
    turn = panel.conversation.stream("Erase the disk")
    wait_for(page.asks)
    with pytest.raises(KeyboardInterrupt):
        turn.drain()
    whole(panel, page)
    assert (turn.status, page.asks()) == ("cancelled", [])


def test_a_fork_without_a_panel_asks_whom_its_origin_asked(show, service):
    """Nobody would see its questions in the panel of the conversation that it comes from."""
    asked = []
    panel, _ = show(
        said(use("erase", {"what": "disk"})),
        "Done.",
        tools=[erase],
        ask=lambda call: asked.append(call.name) or True,
    )
    fork = panel.conversation.fork()
    turn = fork.stream("Erase the disk", background=True)
    assert turn.text == "Done."
    assert asked == ["erase"]


# -- changing what was said ------------------------------------------------------------------------


def test_a_page_changes_what_was_said(show):
    """Edit and rerun ask again in place; undo and clear take back."""
    panel, page = show("One.", "Two.", "Three.", "Four.", "Five.")
    for text in ("a", "b", "c"):
        panel.ask(text, wait=True)
    whole(panel, page)
    first, second, _ = (turn["id"] for turn in page.turns)
    panel.do("edit", turn=second, text="B")
    whole(panel, page)
    assert (page.prompts, "Four." in page.html()) == (["a", "B"], True)
    panel.do("rerun", turn=first)
    whole(panel, page)
    assert (page.prompts, "Five." in page.html()) == (["a"], True)
    panel.do("ask", text="d", files=[])
    whole(panel, page)
    panel.do("undo")
    whole(panel, page)
    assert page.prompts == ["a"]
    panel.do("clear")
    whole(panel, page)
    assert (page.prompts, len(panel.recordings)) == ([], 6)


def test_branches(show):
    """A fork is shown and goes its own way; the page goes back to the old one."""
    panel, page = show("One.", "Two.", "Three.")
    panel.ask("a", wait=True)
    panel.ask("b", wait=True)
    whole(panel, page)
    panel.do("fork", turn=page.turns[0]["id"])
    whole(panel, page)
    assert (page.prompts, page.state["branch"]) == (["a"], 1)
    assert page.state["branches"] == ["Branch 1", "Branch 2, from turn 1"]
    panel.do("ask", text="c", files=[])
    whole(panel, page)
    assert page.prompts == ["a", "c"]
    panel.do("branch", branch=0)
    whole(panel, page)
    assert page.prompts == ["a", "b"]
    assert [len(chat) for chat in panel.conversations] == [2, 2]
    assert [recording.labels["turn"] for recording in panel.recordings] == [1, 2, 2]


def test_a_branch_streams_on_while_another_is_shown(show):
    """What was begun in one arrives there, seen or not."""
    gate = threading.Event()
    panel, page = show(said("One."), held({2: gate}, "Slow."), "Quick.")
    panel.ask("a", wait=True)
    first = panel.conversation
    panel.ask("slow")
    wait_for(lambda: first.partial)
    panel.fork(0)
    assert panel.ask("quick", wait=True).text == "Quick."
    gate.set()
    whole(panel, page)
    panel.conversation = first
    whole(panel, page)
    assert (page.prompts, "Slow." in page.html()) == (["a", "slow"], True)


# -- settings --------------------------------------------------------------------------------------


def test_a_page_changes_settings(show):
    """They are texts to the page, and what they stand for to the conversation; empty takes one away."""
    panel, page = show(temperature=0.5, system="Be brief.")
    assert page.state["settings"] == {
        "system": "Be brief.",
        "temperature": "0.5",
        "top_p": "",
        "max_tokens": "",
    }
    panel.do("set", settings={"temperature": "", "max_tokens": "12", "system": "Be kind."}, model="echo")
    whole(panel, page)
    chat = panel.conversation
    assert chat.settings == {"max_tokens": 12, "system": "Be kind.", "model": "echo"}
    assert (page.state["model"], page.state["settings"]["max_tokens"]) == ("echo", "12")
    assert {"canned", "nova_lite"} <= set(page.state["models"])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"settings": {"temperature": "warm"}}, "a number is wanted"),
        ({"settings": {"max_tokens": "1.5"}}, "a whole number is wanted"),
        ({"settings": {"max_tokens": "-1"}}, "max_tokens"),
        ({"settings": {"top_p": "nan"}}, "a number is wanted"),
        ({"settings": {"journal": "/tmp"}}, "cannot change"),
        ({"settings": {"system": 1}}, "no text"),
        ({"model": "nova_light"}, "nova_lite"),
        ({"model": "amazon.titan-embed-text-v2:0"}, "cannot"),
        ({"settings": {"max_tokens": "9", "top_p": "x"}}, "a number is wanted"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_words(show, asked, words):
    """Nothing of them is kept."""
    panel, page = show(temperature=0.5)
    before = dict(panel.conversation.settings)
    panel.do("set", **asked)
    assert len(page.told) == 1
    assert words in page.told[0]
    assert panel.conversation.settings == before


@pytest.mark.parametrize(
    "arguments", [({"height": None},), ({"height": True},), ({"conversation": "chat"},), ({"no_such": 1},)]
)
def test_arguments_that_cannot_work_are_refused(service, arguments):
    """Before there is a widget."""
    (given,) = arguments
    with pytest.raises(RequestError):
        nb.ChatPanel(given.pop("conversation", service.client), **given)


def test_a_panel_makes_its_conversation(service):
    """Of a client and settings; a conversation has its own."""
    panel = nb.ChatPanel(service.client, system="Be brief.", height=300)
    assert (panel.conversation.settings["system"], panel.height) == ("Be brief.", "300px")
    assert repr(panel) == f"<ChatPanel of {panel.conversation!r}>"
    with pytest.raises(RequestError, match="settings"):
        nb.ChatPanel(panel.conversation, system="Be kind.")
    panel.close()


# -- what pages may not ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        {"do": "format the disk"},
        {"do": ["ask"]},
        {"do": "hello"},
        {"do": "ask"},
        {"do": "ask", "text": 7, "files": []},
        {"do": "ask", "text": "  ", "files": []},
        {"do": "ask", "text": "a", "files": [{"name": "a.png", "type": "image/png"}]},
        {"do": "ask", "text": "a", "files": "x"},
        {"do": "edit", "turn": 99, "text": "a"},
        {"do": "edit", "turn": "1", "text": "a"},
        {"do": "rerun", "turn": True},
        {"do": "fork", "turn": {}},
        {"do": "branch", "branch": 5},
        {"do": "branch", "branch": -1},
        {"do": "undo"},
        {"do": "retry"},
        {"do": "continue"},
        {"do": "approve", "call": "call-1", "yes": "yes"},
        {"do": "approve", "call": "none", "yes": True},
        {"do": "copy", "turn": 0},
        {"do": "export", "as": "../../etc"},
        {"do": "export", "as": {}},
        {"do": "picture", "turn": 3, "dark": True},
        {"do": "set", "settings": []},
        {"do": "set", "model": 4},
    ],
    ids=str,
)
def test_what_a_page_may_not_ask_is_told_in_words(show, message):
    """Never an exception in the kernel's loop, never anything done."""
    panel, page = show()
    panel._handle_custom_msg(message, None)
    assert panel.wait(LIMIT)
    assert len(page.told) == 1
    assert len(panel.conversation) == 0


@pytest.mark.parametrize(
    "message",
    [{"do": "ask", "text": "b", "files": []}, {"do": "undo"}, {"do": "clear"}, {"do": "retry"}],
    ids=str,
)
def test_while_an_answer_is_on_its_way_nothing_is_changed(show, message):
    """It is told in words, and the answer goes on."""
    gate = threading.Event()
    panel, page = show(held({2: gate}, "Slow."))
    panel.do("ask", text="a", files=[])
    wait_for(lambda: page.turns)
    panel._handle_custom_msg({"view": "view", **message}, [])
    assert "still being answered" in page.told[0]
    gate.set()
    whole(panel, page)
    assert (page.prompts, page.turns[0]["status"]) == (["a"], "complete")


# -- files -----------------------------------------------------------------------------------------


def test_files_go_with_a_prompt(show, service):
    """Pictures and documents, by their types; what the model gets has them."""
    panel, page = show("I see.")
    panel.do(
        "ask",
        [PNG, b"a,b\n1,2\n"],
        text="Look",
        files=[{"name": "photo.jpg", "type": "image/png"}, {"name": "my data.csv", "type": "text/csv"}],
    )
    whole(panel, page)
    _, picture, table = service.asked[0][0]["content"]
    assert picture["image"]["format"] == "png"
    assert (table["document"]["format"], table["document"]["name"]) == ("csv", "my data")
    assert "data:image/png" in page.turns[0]["prompt"]["html"]


@pytest.mark.parametrize(
    ("files", "words"),
    [([b"x"] * 9, "At most 8"), ([b"x" * (11 * 2**20)] * 2, "22.0 MB"), ([b""], "empty"), ([b"x"], "image")],
)
def test_files_that_cannot_go_are_refused(show, files, words):
    """Too many, too large, empty, none."""
    panel, page = show()
    panel.do("ask", files, text="Look", files=[{"name": "a.png", "type": "image/png"}] * len(files))
    assert words in page.told[0]
    assert len(panel.conversation) == 0


def test_exports(show, tmp_path):
    """A page downloads what code writes."""
    panel, page = show("**Fine**, thanks.")
    panel.ask("Well?", wait=True)
    whole(panel, page)
    for form in ("markdown", "html", "recordings"):
        panel.do("export", **{"as": form})
    (_, _, text), (_, _, html), (name, kind, archive) = page.files
    assert b"**Fine**" in text
    assert b"<strong>Fine</strong>" in html
    assert (name, kind) == (f"chat-{panel.conversation.id}.zip", "application/zip")
    with zipfile.ZipFile(io.BytesIO(archive)) as zipped:
        (one,) = zipped.namelist()
        (tmp_path / one).write_bytes(zipped.read(one))
    assert nb.Recording.load(tmp_path / one).text == "**Fine**, thanks."
    assert panel.export(tmp_path / "chat.md").read_bytes() == text
    again = nb.Conversation.load(panel.export(tmp_path / "chat.json"), panel.conversation.client)
    assert again.messages == panel.conversation.messages
    with pytest.raises(RequestError, match="form"):
        panel.export(tmp_path / "chat.docx")


def test_copy_gives_what_the_model_wrote(show):
    """Markdown, not HTML."""
    panel, page = show("**Fine**, thanks.")
    panel.ask("Well?", wait=True)
    whole(panel, page)
    panel.do("copy", turn=page.turns[0]["id"])
    assert page.copied == ["**Fine**, thanks."]


@pytest.mark.parametrize(
    ("things", "words"),
    [(["Fine."], "Anatomy of turn 1: TTFT"), ([said(use("erase")), "Done."], "The 2 rounds of turn 1")],
)
def test_a_picture_of_a_turn(show, things, words):
    """A PNG, and in words what it shows; one round is an anatomy, more are a time line."""
    panel, page = show(*things, tools=[erase], ask=lambda call: True)
    panel.ask("Well?", wait=True)
    whole(panel, page)
    panel.do("picture", turn=page.turns[0]["id"], dark=True)
    ((turn, alt, png),) = page.pictures
    assert (turn, png[:4]) == (page.turns[0]["id"], b"\x89PNG")
    assert alt.startswith(words)


def test_a_turn_without_recordings_has_no_picture(show, service):
    """It is said, not drawn empty."""
    past = [Message.from_dict(nb.user("a")), Message.from_dict(nb.assistant("b"))]
    panel, page = show(conversation=nb.Conversation(service.client, messages=past))
    panel.do("picture", turn=page.turns[0]["id"], dark=False)
    assert "no recording" in page.told[0]


def test_a_turn_that_never_had_an_answer_has_no_times(show, service):
    """Not those of a turn that stood in its place and was taken back, either."""
    panel, page = show("One.", "Two.")
    panel.ask("a", wait=True)
    panel.undo()
    with service.server.fault([faults.refuse(429)]):
        panel.ask("b", wait=True)
    whole(panel, page)
    panel.do("picture", turn=page.turns[0]["id"], dark=False)
    assert "no recording" in page.told[0]
    assert "TTFT" not in panel._transcript.bundle(panel.conversation.exchanges)["text/plain"]


# -- what goes wrong -------------------------------------------------------------------------------


def test_a_stale_click_means_what_was_clicked(show):
    """A page that has not heard of a change yet gets the turn that it meant, or is told that it is gone."""
    panel, page = show("One.", "Two.", "Three.")
    for prompt in "abc":
        panel.ask(prompt, wait=True)
    whole(panel, page)
    _, gone, moved = (turn["id"] for turn in page.turns)
    with panel._painter.painting:  # so nobody looks meanwhile
        del panel.conversation.exchanges[1]
        panel.do("copy", turn=moved)
        panel.do("copy", turn=gone)
    assert page.copied == ["Three."]
    assert "no turn" in page.told[0]


def test_a_stop_puts_back_what_was_to_be_replaced(show, service):
    """A turn is asked again by mistake, and stopped: nothing is lost, and what is said is what happened."""
    panel, page = show("One.", "Two.", "Three.")
    for prompt in "ab":
        panel.ask(prompt, wait=True)
    whole(panel, page)
    with service.server.fault([faults.no_head()]):
        panel.do("rerun", turn=page.turns[0]["id"])
        wait_for(lambda: len(service.requests) > 2)
        panel.do("stop")
        whole(panel, page)
    assert (page.prompts, page.said[-1]) == (["a", "b"], "Reply stopped.")
    assert all(turn["strip"] for turn in page.turns)


def test_what_has_no_utf8_stops_no_page(show):
    """Half a character in a setting is shown as what stands for it: all messages can be encoded."""
    panel, page = show(system="Be \ud800 brief.")
    whole(panel, page)
    assert page.state["settings"]["system"] == "Be \ufffd brief."
    for message in panel.messages:
        json.dumps(json.loads(message), ensure_ascii=False).encode()


def test_a_refused_prompt_stays_with_its_error(show, service):
    """The service's words stand under the prompt, and Retry asks again."""
    panel, page = show("Fine.")
    with service.server.fault([faults.refuse(429), None]):
        panel.do("ask", text="Well?", files=[])
        whole(panel, page)
        assert (page.kinds(), page.turns[0]["can"], page.told) == (["error"], ["retry"], [])
        assert page.said[0].startswith("The reply failed.")
        panel.do("retry")
        whole(panel, page)
    assert page.turns[0]["status"] == "complete"
    assert list(panel.table["status"]) == ["error", "complete"]
    assert [len(exchange.recordings) for exchange in panel.conversation.exchanges] == [1]


def test_what_could_not_be_sent_is_told(show):
    """Nothing was asked, so nothing is shown; who waits in code has it raised."""
    panel, page = show(context_tokens=10)
    panel.do("ask", text="word " * 1000, files=[])
    whole(panel, page)
    assert (page.turns, len(page.told), page.back, page.said) == ([], 1, True, [])
    with pytest.raises(RequestError):
        panel.ask("word " * 1000, wait=True)


def test_no_credentials_anywhere(show):
    """Neither in the widget's state, nor in a message, a transcript, a repr, a file."""
    panel, page = show("Fine.")
    state = panel.get_state()
    panel.ask("Well?", wait=True)
    whole(panel, page)
    panel.do("export", **{"as": "html"})
    keys = panel.conversation.client._request_signer._credentials
    everything = [
        *panel.messages,
        str(panel.get_state()),
        repr(panel),
        str(panel._transcript.bundle(panel.conversation.exchanges)),
        str(page.files),
    ]
    assert len(keys.secret_key) > 20
    for text in everything:
        assert keys.access_key not in text
        assert keys.secret_key not in text
    assert panel.get_state() == state  # nothing of what was said


# -- all together ----------------------------------------------------------------------------------

_STEPS = st.lists(
    st.sampled_from(
        ["ask", "code", "stop", "edit", "rerun", "undo", "clear", "fork", "branch", "set", "copy"]
    ),
    max_size=12,
)


@given(_STEPS, st.booleans())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_page_that_follows_shows_what_a_new_one_is_given(service, steps, wait):
    """Whatever is done, in whatever haste."""
    panel = Watched(service.chat("Some *words*."))
    page = panel.page()
    for step in steps:
        first = page.turns[0]["id"] if page.turns else 1
        match step:
            case "code":
                if not panel.busy:
                    panel.conversation.stream("code")
            case _:
                panel.do(step, text="t", files=[], turn=first, branch=0, settings={"top_p": "0.5"})
        if wait:
            panel.wait(LIMIT)
    whole(panel, page)
    assert page.prompts == [exchange.prompt.text for exchange in panel.conversation.exchanges]
    panel.close()
    wait_for(lambda: not ours())
