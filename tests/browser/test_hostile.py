"""Hostile text in real pages: whatever a model, a tool or a service says, nothing runs and nobody is asked.

Strategy: the payloads of `tests.xss` go, each as a block of its own, through a real server and a real kernel
into everything that shows model text; then all that is on the page is hovered over, focused and clicked;
then the notebook is saved and read again, trusted and not. `test_the_sensors_see` puts the same texts into
pages without any care, and there they run and ask: so the other tests are not blind.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from playwright.sync_api import Error, expect

import bedrock_nb as nb
from bedrock_nb.errors import ThrottlingError
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, TextDelta
from bedrock_nb.message import ReasoningBlock, TextBlock
from bedrock_nb.panel.blocks import Follower
from bedrock_nb.panel.document import Document
from bedrock_nb.server import BedrockServer, Latency
from tests.chatting import events_of, use
from tests.xss import CASES

PANEL = Path(nb.__file__).parent / "panel" / "panel.js"
PAYLOADS = [payload for _, payload in CASES]
CITED = [{"title": payload, "sourceContent": [{"text": payload}]} for payload in PAYLOADS]
#: First word of a prompt -> what is said: each payload as text, reasoning, a tool's argument, its name.
SAID: dict[str, list] = {
    "say": events_of(*map(TextBlock, PAYLOADS), *map(ReasoningBlock, PAYLOADS)),
    "cite": events_of(*(TextBlock("Cited.", (cited,)) for cited in CITED)),
    "call": events_of(*(use("echo", {"text": p}, id=f"t{i}") for i, p in enumerate(PAYLOADS))),
    "name": events_of(*(use(p, {p: p}, id=f"n{i}") for i, p in enumerate(PAYLOADS))),
    "done": events_of("Done."),
}

SET_UP = """
import bedrock_nb as nb
client = nb.connect({url!r}, verbose=False)
def echo(text: str) -> str:
    "Say it again."
    return text
def tell(prompt):
    try:
        nb.live(chat.stream(prompt))
    except nb.BedrockNbError as err:
        print(type(err).__name__)
chat = nb.Conversation(client, tools=[echo])
panel = nb.ChatPanel(chat)
panel
"""
TELL = """
for word in ("say", "cite", "call", "name", "refuse", "fail"):
    tell(word + prompt)
"""
SHOW = """
from IPython.display import display
reply = nb.stream(client, "say").drain()
columns = nb.live(reply, nb.stream(client, "say"))
display(chat, chat.turn, reply.message, reply.recording, *columns)
_ = panel.export("hostile.html")
_ = open("chat.html", "w").write(chat.to_html())
"""
CONTROL = "from IPython.display import HTML\nHTML('<img src=x onerror=xss()><img src=https://attacker.invalid/control.png>')"


def respond(request):
    """What the last prompt asks for; after results of tools, a last word."""
    said = request.conversation[-1]["content"]
    word = said[0].get("text", "done").split(" ")[0]
    if word == "refuse":
        raise ThrottlingError("ThrottlingException", " ".join(PAYLOADS), 429)
    if word == "fail":
        return failing()
    return letters() if word == "letters" else iter(SAID[word])


def failing():
    """Some words, and then an error that says it all."""
    yield from events_of("Some words.")[:2]
    raise ThrottlingError("ThrottlingException", " ".join(PAYLOADS), 429)


@pytest.fixture(scope="module")
def server():
    """A service that says hostile things."""
    with BedrockServer(respond, latency=Latency.none()) as server:
        yield server


@pytest.fixture(scope="module")
def notebook(lab, server, open_for_all):
    """A notebook with a panel in which all of it was said, and a cell that shows everything else."""
    prompt = f"prompt = {' ' + ' '.join(PAYLOADS)!r}"
    name = lab.write("hostile.ipynb", SET_UP.format(url=server.endpoint_url), prompt, TELL, SHOW, CONTROL)
    return open_for_all(name)


#: Each payload as markup in a frame of its own, so that one that leads elsewhere leads only its frame there.
FRAMES = """payloads => Promise.all(payloads.map(payload => new Promise(done => {
  const frame = document.body.appendChild(document.createElement("iframe"));
  frame.contentDocument.body.innerHTML = payload;
  setTimeout(done);
})))"""


def test_the_sensors_see(tab):
    """The same texts as plain markup do run, and do ask other hosts: the sensors miss neither."""
    tab.page.goto("about:blank")
    tab.page.evaluate(FRAMES, [payload for payload in PAYLOADS if payload.startswith("<")])
    for frame in tab.page.frames[1:]:
        with contextlib.suppress(Error):  # one that has gone elsewhere
            tab.poke("body", frame)
    tab.page.wait_for_timeout(200)
    assert len(tab.ran) > 40
    assert len(set(tab.outside)) > 5


def calm(tab, selector: str, least: int, own: tuple[str, ...] = ()) -> None:
    """Poke at all that is there; nothing has run, and nothing was asked for but the page's own address."""
    assert tab.poke(selector) > least
    tab.page.wait_for_timeout(200)
    assert (tab.ran, tab.outside) == ([], [*own])


def test_in_a_trusted_notebook_nothing_runs(notebook):
    """Panel, live cells, columns, reprs: all texts stand there, and none of them is more than text."""
    for cell in range(4):
        notebook.run(cell)
    assert [out for cell in notebook.outputs() for out in cell if out["output_type"] == "error"] == []
    calm(notebook.tab, ".jp-Cell-outputArea", 2_000)
    notebook.tab.shot("hostile")


def test_saved_and_read_again_nothing_runs(notebook, lab):
    """The saved notebook is as harmless, where its outputs are trusted and where they are not."""
    saved = notebook.save()
    saved["cells"][1]["source"] += "  # changed by somebody else: not trusted any more"
    (lab.folder / "untrusted.ipynb").write_text(json.dumps(saved))
    for name in ("hostile.ipynb", "untrusted.ipynb"):
        notebook.close()
        notebook.name = name
        notebook.open()
        notebook.page.wait_for_selector(".jp-Cell-outputArea details")
        calm(notebook.tab, ".jp-Cell-outputArea", 1_000)


@pytest.mark.parametrize("name", ["chat.html", "hostile.html"])
def test_an_exported_page_runs_nothing(notebook, lab, tab, name):
    """Opened as a page of its own, what was exported is harmless and asks nobody."""
    own = (lab.folder / name).as_uri()
    tab.page.goto(own)
    calm(tab, "body", 200, (own,))


def test_the_sensors_see_in_the_notebook(notebook):
    """The same page notices a script that does run, and an image that is asked for."""
    notebook.run(4)
    notebook.page.wait_for_function("() => document.querySelector('[src*=control]')")
    notebook.page.wait_for_timeout(200)
    assert len(notebook.tab.ran) == 1
    assert set(notebook.tab.outside) == {"https://attacker.invalid/control.png"}


#: The panel's own script, with a model that says "hello" back; `feed` gives it messages of the kernel.
STAGE = """async ([script, hello]) => {
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const { default: { render } } = await import(url);
  const heard = [];
  const on = (name, act) => name === "msg:custom" && heard.push(act);
  const model = { get: () => null, on, off: () => {}, send: message => {
    if (message.do === "hello") queueMicrotask(() => feed([{ ...hello, for: message.view }])); } };
  window.feed = messages => { for (const one of messages) for (const act of heard) act(one, []); };
  render({ model, el: document.body });
}"""


def letters():
    """An answer in which each payload is a block that comes letter by letter."""
    yield MessageStart("assistant")
    for i, payload in enumerate(PAYLOADS):
        for letter in payload[:80]:
            yield TextDelta(i, letter)
        yield BlockStop(i)
    yield MessageStop("end_turn")


def test_every_beginning_of_every_text_is_harmless(server, tab):
    """Streamed letter by letter into the panel's page, no text does anything at any moment of its growth."""
    client = server.client()
    chat, document = nb.Conversation(client), Document({"busy": False, "models": []})
    follower = Follower(document)
    hello = document.snapshot("")
    told = []
    for _ in chat.stream("letters"):
        follower.look(chat, {})
        told.append(document.take())
    client.close()
    told = [message for message in told if message]
    assert len(told) > 5_000
    tab.page.goto("about:blank")
    tab.page.evaluate(STAGE, [PANEL.read_text(encoding="utf-8"), hello])
    for at in range(0, len(told), 500):
        tab.page.evaluate("messages => feed(messages)", told[at : at + 500])
        if at % 2_500 == 0:
            tab.poke(".bedrock-nb-panel")
    blocks = tab.page.locator(".blocks > *")
    expect(blocks).to_have_count(len(document.turns[1]["blocks"]))
    calm(tab, ".bedrock-nb-panel", 200)
