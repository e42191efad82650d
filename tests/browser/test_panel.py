"""The chat panel in a real JupyterLab: a person at a page, a kernel, and a server that says what a test lays.

Strategy: one JupyterLab, one notebook for each theme, one server in this process. The first word of a prompt
says what is answered (`SCRIPTS`), and where a test must be between two events the server waits at a gate.
Everything is done as a person does it, by the keyboard and by the names of buttons; what really happened is
asked of the server and of the kernel. Times decide nothing here: `benchmarks/panel.py` measures.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from urllib.request import urlopen

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from bedrock_nb import models
from bedrock_nb.errors import AccessDeniedError
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, Metadata, TextDelta
from bedrock_nb.message import ReasoningBlock
from bedrock_nb.server import BedrockServer, Latency, faults
from tests.chatting import events_of, use, wait_for
from tests.long_markdown import deltas, events, text
from tests.wire_server import LIMIT

USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}


class Stage:
    """The service: what was asked, and gates at which answers wait."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = defaultdict(threading.Event)
        self.requests: list = []
        self.asked: Counter[str] = Counter()
        self.server = BedrockServer(self._respond, latency=Latency.none()).start()

    def _respond(self, request):
        self.requests.append(request)
        said = request.conversation[-1]["content"]
        if "toolResult" in said[0]:
            results = json.dumps([block["toolResult"]["content"] for block in said])
            return events_of(f"The tool said {results}.")
        word, *rest = said[0]["text"].split()
        self.asked[word] += 1
        return SCRIPTS[word](self, request, *rest)

    def outcomes(self) -> list[str]:
        """How the server's answers ended, newest first."""
        with urlopen(f"{self.server.endpoint_url}/status.json") as response:
            return [request["outcome"] for request in json.load(response)["requests"]]

    def close(self) -> None:
        for gate in self.gates.values():
            gate.set()
        self.server.close()


def gated(stage, _request, gate, before=""):
    """Words before a gate, if any, and words after it."""
    if not before:
        stage.gates[gate].wait(LIMIT)
    yield MessageStart("assistant")
    if before:
        yield TextDelta(0, before + " ")
        stage.gates[gate].wait(LIMIT)
    yield TextDelta(0, "after the gate")
    yield BlockStop(0)
    yield MessageStop("end_turn")
    yield Metadata(USAGE, 0)


def failing(stage, _request, *_):
    """A refusal, of a kind that boto3 does not try again by itself; at the second time an answer."""
    if stage.asked["fail"] % 2:
        raise AccessDeniedError("AccessDeniedException", "This model is not for you.", 403)
    return events_of("It worked.")


def paced(_stage, _request, number, per_second="0"):
    """A long answer, at so many deltas a second; 0: at once."""
    begin = time.monotonic()
    for i, event in enumerate(events(deltas(int(number)))):
        if rate := float(per_second):
            time.sleep(max(0.0, begin + i / rate - time.monotonic()))
        yield event


def settings(_stage, request, *_):
    """What came with the request."""
    kwargs = request.to_kwargs()
    system = [block["text"] for block in kwargs.get("system", [])]
    return events_of(json.dumps([request.model, system, kwargs.get("inferenceConfig", {})]))


SCRIPTS = {
    "hello": lambda *_: events_of("**Hello** there, reader."),
    "think": lambda *_: events_of(ReasoningBlock("Let me think."), "Thought."),
    "again": lambda stage, *_: events_of(f"Answer {stage.asked['again']}."),
    "gate": gated,
    "fail": failing,
    "Go": lambda *_: events_of("And on it went."),
    "long": paced,
    "settings": settings,
    "look": lambda *_: events_of(use("look_up", {"city": "Paris"}, id=f"look-{time.monotonic_ns()}")),
    "send": lambda *_: events_of(use("send_mail", {"to": "Ada"}, id=f"send-{time.monotonic_ns()}")),
    "rich": lambda *_: events_of(ReasoningBlock("Hm, $x^2$."), text(1000)),
}

SET_UP = """
import threading, bedrock_nb as nb
{client}
mails = []
def look_up(city: str) -> str:
    "The weather."
    return "Sunny in " + city
@nb.tool(side_effects=True)
def send_mail(to: str) -> str:
    "Send a mail."
    mails.append(to)
    return "sent"
chat = nb.Conversation(client, tools=[look_up, send_mail])
panel = nb.ChatPanel(chat)
panel
"""


@pytest.fixture(scope="module")
def stage():
    stage = Stage()
    yield stage
    stage.close()


class View:
    """One view of a panel, as a person sees it."""

    def __init__(self, notebook, cell: int) -> None:
        self.notebook, self.page = notebook, notebook.page
        self.root = notebook.output(cell).locator(".bedrock-nb-panel")
        self.box = self.root.get_by_role("textbox", name="Message")
        self.turns = self.root.get_by_role("article")
        self.said = self.turns.locator(".blocks")  # by the model

    def button(self, name: str):
        return self.root.get_by_role("button", name=name, exact=True)

    def write(self, prompt: str) -> None:
        """Write it, and press Enter."""
        self.box.fill(prompt)
        self.box.press("Enter")

    def say(self, prompt: str) -> None:
        """The same, and wait until it is answered."""
        self.write(prompt)
        self.done()

    def done(self) -> None:
        """Wait until nothing is on its way."""
        expect(self.button("Send")).to_be_visible(timeout=LIMIT * 1000)
        wait_for(lambda: self.notebook.ask("print(panel.busy)") == "False")


CONNECT = "client = nb.connect({url!r}, verbose=False)"
#: With keys that can be searched for; the server takes any.
MARKED = """
import boto3
client = boto3.client("bedrock-runtime", endpoint_url={url!r}, region_name="us-east-1",
                      aws_access_key_id="AKIAMARKEDMARKED", aws_secret_access_key="marked-secret",
                      aws_session_token="marked-token")
"""


@pytest.fixture(scope="module")
def opening(lab, stage, open_for_all):
    """Open a new notebook with a panel in its first cell, and these cells after it."""

    def open_one(name: str, *cells: str, connect: str = CONNECT) -> View:
        code = SET_UP.format(client=connect.format(url=stage.server.endpoint_url))
        notebook = open_for_all(lab.write(f"{name}.ipynb", code, *cells))
        notebook.run(0)
        view = View(notebook, 0)
        expect(view.box).to_be_visible()
        return view

    return open_one


TABLE = "panel.table.tail(2)"
FROM_A_CELL = "turn = chat.stream('hello from a cell')"
AGAIN = "display(panel)"
SECOND = "other = nb.ChatPanel(chat)\nother"


@pytest.fixture(scope="module")
def talk(opening):
    """A notebook in which most is tried, one thing after the other."""
    return opening("talk", TABLE, FROM_A_CELL, AGAIN, SECOND)


@pytest.fixture
def view(talk, stage):
    """Its panel, with nothing said and nothing set."""
    stage.asked.clear()
    stage.gates.clear()
    talk.notebook.errors.clear()
    talk.notebook.ask("panel.stop(); panel.wait(10); panel.conversation = chat; panel.clear(); mails.clear()")
    expect(talk.turns).to_have_count(0)
    yield talk
    for gate in stage.gates.values():
        gate.set()
    assert talk.notebook.errors == []


# -- a talk ----------------------------------------------------------------------------------------


def test_a_prompt_is_sent_and_its_answer_streams(view, stage):
    """Enter sends; the answer is there before it is whole; the box keeps the focus and what is written."""
    view.write("gate open Before")
    expect(view.said.get_by_text("Before")).to_be_visible()
    expect(view.button("Stop")).to_be_visible()
    expect(view.box).to_be_focused()
    view.box.type("next")
    stage.gates["open"].set()
    expect(view.said.get_by_text("after the gate")).to_be_visible()
    view.done()
    expect(view.box).to_have_value("next")
    expect(view.root.get_by_role("status")).to_contain_text("finished")
    expect(view.turns).to_have_count(1)


def test_stop_before_the_first_event(view, stage):
    """Stop works while the model still thinks: the panel is free at once, and the connection is closed."""
    view.write("gate never")
    wait_for(lambda: stage.asked["gate"])
    view.button("Stop").click()
    view.done()
    wait_for(lambda: stage.outcomes()[0] == "gone")
    expect(view.turns).to_have_count(1)
    assert view.notebook.ask("print(chat.exchanges[-1].status)") == "cancelled"


def test_stop_during_the_answer(view, stage):
    """Stop, by Escape, keeps what came, says so, and closes the connection."""
    view.write("gate stop Kept")
    expect(view.said.get_by_text("Kept", exact=True)).to_be_visible()
    view.box.press("Escape")
    view.done()
    wait_for(lambda: stage.outcomes()[0] == "gone")
    expect(view.said.get_by_text("Kept", exact=True)).to_be_visible()
    expect(view.said).to_contain_text("Stopped")
    assert view.notebook.ask("print(chat.messages[-1].text)") == "Kept"


def test_an_error_is_a_card_and_retry_asks_again(view, stage):
    """A refusal is told in words in its turn; Retry asks the same once more, in its place."""
    view.say("fail please")
    expect(view.said).to_contain_text("not for you")
    view.button("Retry").click()
    expect(view.said.get_by_text("It worked.")).to_be_visible()
    view.done()
    expect(view.turns).to_have_count(1)
    assert stage.asked["fail"] == 2


def test_an_answer_that_is_cut_can_go_on(view, stage):
    """When the connection is lost, what came stays, and Continue asks for the rest."""
    with stage.server.fault(faults.cut(after=2)):
        view.say("hello you")
    assert view.notebook.ask("print(chat.exchanges[-1].status)") == "incomplete"
    expect(view.button("Retry")).to_be_visible()
    before = len(stage.requests)
    view.button("Continue").click()
    wait_for(lambda: len(stage.requests) > before)
    view.done()
    assert view.notebook.ask("print(chat.exchanges[-1].status)") == "complete"


def test_a_tool_is_shown_with_its_result(view):
    """A call of a tool is a card: its name, its arguments, its result, and that it is done."""
    view.say("look outside")
    card = view.turns.locator("[data-kind=tool]")
    expect(card).to_have_count(1)
    expect(card).to_have_attribute("data-state", "success")
    expect(card).to_contain_text("look_up")
    card.locator("summary").click()
    expect(card).to_contain_text("Paris")
    expect(card).to_contain_text("Sunny in Paris")
    expect(view.said).to_contain_text("The tool said")


@pytest.mark.parametrize(("name", "state", "mails"), [("Approve", "success", 1), ("Deny", "denied", 0)])
def test_a_tool_waits_for_approval(view, name, state, mails):
    """What changes something runs when it is approved, and not before; denied, the model is told why."""
    view.write("send it")
    expect(view.button(name)).to_be_visible()
    assert view.notebook.ask("print(len(mails))") == "0"
    expect(view.box).to_be_focused()
    if name == "Deny":
        view.root.get_by_role("textbox", name="Reason").fill("not today")
    view.button(name).click()
    expect(view.turns.locator("[data-kind=tool]")).to_have_attribute("data-state", state)
    view.done()
    assert view.notebook.ask("print(len(mails))") == str(mails)
    if name == "Deny":
        expect(view.said).to_contain_text("not today")


def test_stop_while_a_tool_waits_for_approval(view):
    """Stop ends the question, too: the tool does not run, and nothing waits for ever."""
    view.write("send it")
    expect(view.button("Approve")).to_be_visible()
    view.button("Stop").click()
    view.done()
    expect(view.button("Approve")).to_have_count(0)
    assert view.notebook.ask("print(mails, chat.exchanges[-1].status)") == "[] cancelled"


def test_edit_rerun_undo_and_fork(view, stage):
    """A prompt can be changed, asked again, taken back; a fork is a branch, and one can go back."""
    view.say("again one")
    view.button("Rerun").click()
    expect(view.said.get_by_text("Answer 2.")).to_be_visible()
    view.done()
    view.button("Edit").click()
    editor = view.root.get_by_role("textbox", name="Edit the prompt")
    expect(editor).to_have_value("again one")
    editor.fill("again two")
    editor.press("Enter")
    expect(view.said.get_by_text("Answer 3.")).to_be_visible()
    view.done()
    expect(view.turns).to_have_count(1)
    view.button("Fork").click()
    branch = view.root.get_by_role("combobox", name="Branch")
    expect(branch).to_be_visible()
    view.say("again three")
    expect(view.turns).to_have_count(2)
    branch.select_option(index=0)
    expect(view.turns).to_have_count(1)
    branch.select_option(index=1)
    expect(view.turns).to_have_count(2)
    view.root.get_by_label("More").click()
    view.button("Undo the last turn").click()
    expect(view.turns).to_have_count(1)
    assert [request.conversation[-1]["content"][0]["text"] for request in stage.requests[-4:]] == [
        "again one",
        "again one",
        "again two",
        "again three",
    ]


def test_settings_change_the_next_request(view):
    """What is set in the panel is what the service gets; what cannot be is refused in words."""
    view.button("Settings").click()
    view.root.get_by_label("System prompt").fill("Be brief.")
    view.root.get_by_label("Max tokens").fill("17")
    temperature = view.root.get_by_label("Temperature")
    temperature.fill("0.25")
    temperature.blur()
    wait_for(lambda: "0.25" in view.notebook.ask("print(chat.settings)"))
    view.say("settings please")
    told = view.turns.locator("[data-kind=text]")
    for part in ("Be brief.", '"maxTokens": 17', '"temperature": 0.25'):
        expect(told).to_contain_text(part)
    temperature.fill("hot")
    temperature.blur()
    expect(view.root.locator(".told")).to_be_visible()
    expect(temperature).to_have_value("0.25")
    view.notebook.ask("for name in ('system', 'max_tokens', 'temperature'): chat.settings.pop(name, None)")
    view.button("Settings").click()


def test_only_models_that_stream_are_offered(view):
    """Every model in the picker can stream, and the one that is chosen is the one that is asked."""
    picker = view.root.get_by_label("Model", exact=True)
    offered = picker.evaluate("one => [...(one.list ?? one).options].map(option => option.value)")
    streams = {
        name: row["streaming"] for row in models.table() for name in (row["id"], row["alias"], row["call_as"])
    }
    assert len(offered) > 20
    assert [name for name in offered if not streams[name]] == []


def test_the_table_is_in_the_next_cell(view):
    """``panel.table`` has a row for each request."""
    view.say("hello one")
    view.say("hello two")
    view.notebook.run(1)
    output = view.notebook.output(1)
    expect(output.locator("tbody tr")).to_have_count(2)


def test_a_turn_that_a_cell_begins_is_shown(view):
    """``chat.stream(…)`` in a cell shows in the panel and arrives, though the cell reads nothing."""
    view.notebook.run(2)
    expect(view.said.get_by_text("there, reader.")).to_be_visible()
    view.done()
    assert view.notebook.ask("print(turn.status)") == "complete"


def test_two_views_and_two_panels_are_in_step(view, stage):
    """A second view of the panel, and a second panel on the conversation, show the same; each can stop it."""
    view.say("hello first")
    view.notebook.run(3)
    view.notebook.run(4)
    others = [View(view.notebook, 3), View(view.notebook, 4)]
    for other in others:
        expect(other.turns).to_have_count(1)
    others[0].write("gate both Together")
    for each in (view, *others):
        expect(each.said.get_by_text("Together")).to_be_visible()
        expect(each.button("Stop")).to_be_visible()
    others[1].button("Stop").click()
    for each in (view, *others):
        expect(each.button("Send")).to_be_visible()
        expect(each.turns).to_have_count(2)
    texts = [each.said.all_text_contents() for each in (view, *others)]
    assert texts[0] == texts[1] == texts[2]
    view.notebook.ask("other.close(); del other")


# -- at home in JupyterLab -------------------------------------------------------------------------


def test_shift_enter_breaks_the_line_and_runs_no_cell(view):
    """The panel's keys stay in the panel: JupyterLab does not run the cell again."""
    count = "() => window.jupyterapp.shell.currentWidget.content.widgets[0].model.executionCount"
    before = view.page.evaluate(count)
    view.box.fill("one")
    view.box.press("Shift+Enter")
    view.box.type("two")
    expect(view.box).to_have_value("one\ntwo")
    view.box.fill("")
    assert view.page.evaluate(count) == before
    expect(view.turns).to_have_count(0)


def test_everything_can_be_reached_by_keyboard(view):
    """Tab leads through all controls of the panel and out of it again, none is passed over."""
    view.say("hello keys")
    view.root.locator("select, input").first.focus()
    reached = set()
    for _ in range(14):
        inside, name = view.page.evaluate(
            "() => { const one = document.activeElement;"
            " return [Boolean(one.closest('.bedrock-nb-panel')),"
            "  one.getAttribute('aria-label') || one.textContent.trim().slice(0, 30)]; }"
        )
        if not inside:
            break
        reached.add(name)
        view.page.keyboard.press("Tab")
    assert not inside
    assert {"Settings", "More", "Copy", "Rerun", "Edit", "Fork", "Message", "Attach files"} <= reached


def violations(view):
    """What axe-core finds wrong inside of the panel."""
    found = Axe().run(view.page, context=".jp-NotebookPanel:not(.lm-mod-hidden) .bedrock-nb-panel")
    return [
        (each["id"], node["target"], node.get("failureSummary"))
        for each in found.response["violations"]
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_it_is_accessible_in_every_theme(view, theme):
    """axe-core finds nothing with everything on the page that a panel can show; its ground is the theme's."""
    view.notebook.tab.theme(theme)
    view.say("rich text")
    view.say("look outside")
    view.say("fail please")
    view.write("send it")
    expect(view.button("Approve")).to_be_visible()
    view.button("Settings").click()
    assert violations(view) == []
    ground = view.root.evaluate("one => getComputedStyle(one).getPropertyValue('--jp-layout-color1').trim()")
    body = view.page.evaluate(
        "() => getComputedStyle(document.body).getPropertyValue('--jp-layout-color1').trim()"
    )
    assert ground == body
    view.notebook.tab.shot(f"panel-{theme.split()[1].lower()}")
    view.button("Settings").click()


@pytest.mark.parametrize(("width", "zoom"), [(360, 1), (720, 2)])
def test_it_fits_into_a_narrow_page(view, width, zoom):
    """360 px wide, or at 200 %, nothing of the panel sticks out to the side but what scrolls by itself."""
    view.say("rich text")
    view.say("look outside")
    view.root.evaluate(
        "(one, [width, zoom]) => { one.style.width = `${width / zoom}px`; one.style.zoom = zoom; }",
        [width, zoom],
    )
    try:
        wide = view.root.evaluate(
            "one => [one, ...one.querySelectorAll('.log, .head, .composer, .turn, .foot')]"
            ".filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.className)"
        )
        view.notebook.tab.shot(f"panel-{width}-{zoom}")
        assert wide == []
    finally:
        view.root.evaluate("one => { one.style.width = one.style.zoom = ''; }")


# -- traffic ---------------------------------------------------------------------------------------

#: Counts, in the page, what happens to pieces of HTML that were finished when it happened.
TOUCHED = """root => {
  const finished = new WeakSet();
  let touched = 0;
  window.touched = () => touched;
  new MutationObserver(records => {
    for (const { target } of records) {
      const piece = (target.closest ? target : target.parentElement)?.closest(".blocks .piece");
      if (piece && finished.has(piece)) touched += 1;
    }
    for (const body of root.querySelectorAll(".blocks .body"))
      for (const piece of [...body.querySelectorAll(".piece")].slice(0, -1)) finished.add(piece);
  }).observe(root.querySelector(".log"), {
    subtree: true, childList: true, characterData: true, attributes: true,
  });
}"""


@pytest.fixture(scope="module")
def traffic(opening):
    """A notebook for long answers."""
    return opening("traffic")


@pytest.fixture
def busy(traffic):
    """Its panel, empty, with the counters at nothing."""
    traffic.notebook.ask("panel.wait(30); panel.clear()")
    expect(traffic.turns).to_have_count(0)
    traffic.root.evaluate(TOUCHED)
    tab = traffic.notebook.tab
    tab.received(), tab.long_tasks()
    return traffic


def arrived(view, number: int) -> None:
    """Wait for the end; all of the text is on the page, and in the kernel."""
    expect(view.said).to_contain_text("The very end.", timeout=60_000)
    expect(view.button("Send")).to_be_visible(timeout=60_000)
    pieces = deltas(number)
    assert view.notebook.ask("print(len(chat.messages[-1].text))") == str(sum(map(len, pieces)))
    chapters = "".join(pieces).count("## ") - "".join(pieces).count("### ")
    assert view.said.locator("h2").count() == chapters
    assert view.said.locator("table").count() == chapters
    assert view.said.locator("math").count() == 2 * chapters
    assert view.said.locator("p").last.text_content() == "The very end."


def told(name: str, messages: int, size: int, tasks: list[float], most: float = 1000) -> None:
    """Print what was measured, for whoever looks; blocked for a second is wrong anywhere."""
    longest = max(tasks, default=0)
    print(
        f"{name}: {messages} messages, {size / 1e6:.2f} MB, {len(tasks)} long tasks, longest {longest:.0f} ms"
    )
    assert longest < most


def test_a_fast_long_answer_is_light(busy):
    """5,000 deltas at 500 a second: few messages, few bytes, and what is finished is never touched again."""
    tab = busy.notebook.tab
    busy.write("long 5000 500")
    begin = time.monotonic()
    expect(busy.said).to_contain_text("The very end.", timeout=60_000)
    busy.done()
    seconds = time.monotonic() - begin
    messages, size = tab.received()
    told("5,000 at 500/s", messages, size, tab.long_tasks())
    assert busy.page.evaluate("() => touched()") == 0
    assert size < 800_000
    assert messages < 25 * seconds
    arrived(busy, 5000)


def test_all_at_once_is_few_messages(busy):
    """5,000 deltas in an instant are at most 15 messages, and the text is whole."""
    tab = busy.notebook.tab
    busy.write("long 5000")
    expect(busy.said).to_contain_text("The very end.", timeout=60_000)
    expect(busy.button("Send")).to_be_visible(timeout=60_000)
    messages, size = tab.received()
    told("5,000 at once", messages, size, tab.long_tasks())
    assert messages <= 15
    arrived(busy, 5000)


def test_a_very_long_answer_leaves_the_page_usable(busy):
    """50,000 deltas in an instant: the text is whole, and one can go on."""
    tab = busy.notebook.tab
    busy.write("long 50000")
    arrived(busy, 50_000)
    messages, size = tab.received()
    told("50,000 at once", messages, size, tab.long_tasks(), 10_000)  # its transcript is a megabyte
    busy.say("hello again")
    expect(busy.said.last).to_contain_text("reader.")
    messages, size = tab.received()
    told("and a turn after it", messages, size, tab.long_tasks(), 10_000)


# -- a life ----------------------------------------------------------------------------------------

WAITS = "panel.ask('gate int Begun', wait=True)"
THREADS = "print([one.name for one in threading.enumerate() if one.name.startswith('bedrock_nb')])"


@pytest.fixture(scope="module")
def life(opening):
    """A notebook that is saved, interrupted, started anew; its client has marked keys."""
    return opening("life", WAITS, connect=MARKED)


def transcript(notebook, cell: int = 0):
    """The static second output of the panel."""
    return notebook.output(cell).locator("details", has_text="Transcript")


def test_an_interrupt_ends_the_turn_of_a_cell(life):
    """The kernel's interrupt ends a turn that a cell waits for; the panel says so and goes on."""
    life.notebook.begin(1)
    expect(life.said.last).to_contain_text("Begun")
    life.notebook.command("notebook:interrupt-kernel")
    expect(life.said.last).to_contain_text("Stopped")
    life.notebook.ready()
    life.say("hello again")
    expect(life.said.last).to_contain_text("there, reader.")


def test_no_thread_is_left(life):
    """When nothing is on its way, the panel has no thread; run again, its cell makes a new one that works."""
    wait_for(lambda: life.notebook.ask(THREADS) == "[]")
    life.notebook.run(0)
    expect(life.turns).to_have_count(0)
    life.say("hello new")
    expect(life.said.last).to_contain_text("there, reader.")
    wait_for(lambda: life.notebook.ask(THREADS) == "[]")


def test_a_page_that_is_loaded_again_has_it_all(life):
    """While the kernel lives, the panel comes back with what was said, and goes on."""
    life.say("hello before")
    before = life.said.all_text_contents()
    life.notebook.save()
    life.notebook.reload()
    expect(life.turns).to_have_count(len(before))
    assert life.said.all_text_contents() == before
    life.say("hello after")
    expect(life.turns).to_have_count(len(before) + 1)


def test_what_is_saved_has_the_transcript_and_no_secret(life, lab, tab):
    """The file holds the text, also for who has no kernel; with widget states saved, too, no key is in it."""
    toggle = "() => window.jupyterapp.commands.execute('@jupyter-widgets/jupyterlab-manager:saveWidgetState')"
    life.page.evaluate(toggle)
    saved = life.notebook.save()
    life.page.evaluate(toggle)
    text = json.dumps(saved)
    assert "widgets" in saved["metadata"]
    assert "there, reader." not in json.dumps(saved["metadata"])
    assert "there, reader." in text
    for secret in ("AKIAMARKED", "marked-secret", "marked-token"):
        assert secret not in text.replace(json.dumps(saved["cells"][0]["source"])[1:-1], "")


def test_a_converted_page_has_the_transcript(life, lab, tab):
    """``nbconvert --to html`` shows what was said, without a kernel and without a network."""
    command = [sys.executable, "-m", "nbconvert", "--to", "html", str(lab.folder / "life.ipynb")]
    subprocess.run(command, check=True, capture_output=True)
    tab.page.goto((lab.folder / "life.html").as_uri(), wait_until="domcontentloaded")
    found = tab.page.locator("details", has_text="Transcript")
    found.evaluate("one => { one.open = true; }")
    expect(found).to_contain_text("there, reader.")


def test_without_its_kernel_it_says_so(life):
    """After a restart the panel tells what to do instead of being silent, and the transcript can be read."""
    life.notebook.restart()
    life.write("hello nobody")
    expect(life.root.get_by_text("lost its kernel")).to_be_visible(timeout=10_000)
    found = transcript(life.notebook)
    found.locator("summary").first.click()
    expect(found).to_contain_text("there, reader.")


def test_read_again_by_somebody_else_the_transcript_is_there(life, lab):
    """A copy that is not trusted, without the kernel, shows what was said, also after it was saved again."""
    saved = life.notebook.save()
    saved["cells"][0]["source"] += "# changed elsewhere"
    (lab.folder / "copy.ipynb").write_text(json.dumps(saved))
    for _ in range(2):
        life.notebook.close()
        life.notebook.name = "copy.ipynb"
        life.notebook.open()
        found = transcript(life.notebook)
        found.locator("summary").first.click()
        expect(found).to_contain_text("there, reader.")
        assert "there, reader." in json.dumps(life.notebook.save())
