"""The page of the panel on its own, in a bare Chromium: what it shows, what it asks, what it never does.

The kernel's half is the real `Document`; only anywidget's ``model`` is played here, as its contract says:
``on``, ``off``, ``send``, ``get``. The real one is in test_panel.py, in a real JupyterLab.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

import bedrock_nb.panel
from bedrock_nb import render
from bedrock_nb.panel.document import Document

HERE = Path(bedrock_nb.panel.__file__).parent
#: A bare page: the widget in an element, and the other end of its model in ``kernel`` and ``sent``.
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>panel</title>
<link rel="stylesheet" href="/panel.css"></head><body><main id="main"></main><script type="module">
import widget from "/panel.js";
const heard = (window.heard = new Set());
const lives = (window.lives = new Set());
const model = {
  get: name => ({ height: "36rem" })[name],
  on: (name, act) => (name === "msg:custom" ? heard : lives).add(act),
  off: (name, act) => (name === "msg:custom" ? heard : lives).delete(act),
  send(content, callbacks, buffers) {
    if (window.dead) throw new Error("Cannot send");
    sent.push({ ...content, bytes: (buffers ?? []).map(one => new TextDecoder().decode(one)) });
  },
};
const frame = () => new Promise(requestAnimationFrame);
window.tell = (content, texts = []) => {
  const bytes = texts.map(text => new DataView(new TextEncoder().encode(text).buffer));
  for (const act of heard) act(content, bytes);
};
window.kernel = async (content, texts) => {
  tell(content, texts);
  await frame();
  await frame();
};
window.mount = () => {
  window.done?.();
  for (const name of ["dead", "ran"]) delete window[name];
  window.sent = [];
  document.getElementById("main").replaceChildren();
  window.done = widget.render({ model, el: document.getElementById("main") });
};
</script></body></html>"""
STATE = {
    "busy": False,
    "waiting": "",
    "model": "nova_lite",
    "models": ["nova_lite", "nova_micro"],
    "settings": {"system": "Be brief.", "temperature": "", "top_p": "", "max_tokens": ""},
    "tools": ["weather"],
    "branches": ["main"],
    "branch": 0,
    "where": "embedded Bedrock",
}
STRIP = {"words": "TTFT 210 ms · 38 chunks · 42 tokens", "arrivals": [0, 3, 1], "slice_s": 0.1}
HOSTILE = "<img src=x onerror='window.ran = 1'><script>window.ran = 2</script>"
COLOURED = """```python
# a comment
def angle(n: float) -> float:
    return 4 * "text"
```

| a | b |
|---|---|
| 1 | `code` |

$$x^2$$ [link](https://example.org) > quote
"""


class Stage:
    """A page of the panel, and the document that it is a copy of."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.document = Document(STATE)

    def open(self) -> Stage:
        """Show the widget; the kernel has not answered yet."""
        self.page.evaluate("() => mount()")
        return self

    def answer(self) -> Stage:
        """Answer a hello with the whole document."""
        self.document.take()
        self.send(self.document.snapshot(self.view))
        return self

    @property
    def view(self) -> str:
        return self.page.evaluate("() => sent[0].view")

    def send(self, message: Any, *texts: str) -> None:
        """A message to the page; returns when what it changes has been drawn."""
        self.page.evaluate("([message, texts]) => kernel(message, texts)", [message, texts])

    def flush(self) -> None:
        """Send what has changed in the document."""
        self.send(self.document.take())

    def asked(self) -> list[dict[str, Any]]:
        """What the page asked since the last time, without its name and bytes where there are none."""
        asked = self.page.evaluate("() => sent.splice(1)")
        return [{name: is_ for name, is_ in one.items() if name != "view" and is_ != []} for one in asked]

    def turn(self, prompt: str = "Hello?", text: str = "", **members: Any) -> int:
        """Add a turn with a block of text."""
        turn = self.document.add()
        html = render.markdown(prompt)
        self.document.set_turn(turn, prompt={"html": html, "text": prompt}, **members)
        if text:
            self.document.set_block(turn, 0, kind="text")
            self.document.set_pieces(turn, 0, [render.markdown(text)])
        return turn

    def get(self, selector: str) -> Any:
        return self.page.locator(f".bedrock-nb-panel {selector}")

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).last.click()

    @property
    def said(self) -> str:
        return self.get("[role=status]").text_content()

    @property
    def box(self) -> Any:
        return self.page.get_by_role("textbox", name="Message")


def load(context: Any) -> Any:
    """A tab that knows the widget; ``mount()`` shows a new view of it."""

    def answer(route: Any) -> None:
        name = route.request.url.rpartition("/")[2]
        kind = {"panel.js": "text/javascript", "panel.css": "text/css"}.get(name, "text/html")
        body = PAGE if kind == "text/html" else (HERE / name).read_text()
        route.fulfill(body=body, content_type=f"{kind}; charset=utf-8")

    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.route("http://127.0.0.1/**", answer)
    return page


def go(page: Any) -> None:
    """Load the page that `load` serves."""
    page.goto("http://127.0.0.1/")
    page.wait_for_function("() => window.mount")


@pytest.fixture(scope="module")
def tab(browser):
    """One tab for all tests: what takes long is to load it."""
    page = load(browser)
    go(page)
    yield page
    page.close()


@pytest.fixture
def stage(tab):
    """A page that has not been opened yet."""
    tab.set_viewport_size({"width": 900, "height": 900})
    yield Stage(tab)
    assert tab.errors == []


@pytest.fixture
def panel(stage):
    """A page with an empty conversation."""
    return stage.open().answer()


# -- the document ----------------------------------------------------------------------------------


def test_a_new_page_says_hello_and_shows_the_snapshot(stage):
    """It asks once, with a name of its own, and shows turns, blocks, state and strip."""
    stage.open()
    assert stage.page.evaluate("() => sent.map(({ do: what }) => what)") == ["hello"]
    assert len(stage.view) > 10
    turn = stage.turn("What is it?", "It is **this**.", status="complete", strip=STRIP)
    stage.document.set_block(turn, 1, kind="note", title="")
    stage.document.set_pieces(turn, 1, ["<p>Stopped.</p>"])
    stage.answer()
    article = stage.page.get_by_role("article", name="Turn 1: What is it?")
    assert article.locator(".said").inner_text().strip() == "What is it?"
    assert article.locator(".blocks strong").inner_text() == "this"
    assert article.locator("[data-kind=note]").inner_text().strip() == "Stopped."
    assert article.get_by_role("button", name=STRIP["words"]).is_visible()
    assert stage.get(".strip path").get_attribute("d").count("M") == 2
    assert stage.get(".models select").input_value() == "nova_lite"
    assert stage.get(".where").inner_text() == "embedded Bedrock"


def test_ops_change_what_they_name_and_nothing_else(panel):
    """Turns come, move and go; blocks and pieces are set, grown and cut; the state follows."""
    document = panel.document
    one, two = panel.turn("one", "first"), panel.turn("two", "second")
    document.set_pieces(two, 0, ["<p>a</p>", "<p>b</p>", "<p>c</p>"])
    document.set_block(two, 1, kind="tool", title="weather", state="writing")
    panel.flush()
    articles = panel.page.get_by_role("article")
    assert articles.count() == 2
    panel.page.evaluate("() => { window.kept = document.querySelectorAll('article'); }")

    document.set_pieces(two, 0, ["<p>a</p>", "<p>bb</p>"])
    document.set_block(two, 1, state="success")
    document.keep([two, one])
    document.set_state(branches=["main", "second"], branch=1, busy=True, waiting="for the model")
    panel.flush()
    assert panel.page.evaluate("() => document.querySelector('article') === kept[1]")
    assert articles.first.get_attribute("aria-label") == "Turn 1: two"
    assert articles.first.locator(".piece p").all_inner_texts() == ["two", "a", "bb"]
    assert articles.first.locator("[data-kind=tool] .title").inner_text().split() == ["✓", "weather", "done"]
    assert panel.page.get_by_label("Branch").input_value() == "1"
    assert panel.get(".line").inner_text() == "for the model"

    document.cut_blocks(two, 1)
    document.keep([two])
    document.say("Reply finished")
    panel.flush()
    assert articles.count() == 1
    assert panel.get("[data-kind=tool]").count() == 0
    assert panel.said == "Reply finished"


@pytest.mark.parametrize(
    "bad",
    [
        {"n": 9, "ops": [["say", "hm"]]},
        {"n": 1, "ops": [["dance", 1]]},
        {"n": 1, "ops": [["turn", 77, {"status": "complete"}]]},
        {"n": 1, "ops": [["piece", 1, 0, 5, "<p>x</p>"]]},
        {"n": 1, "ops": [["grow", 1, 0, 0, 9999, "<p>x</p>"]]},
        {"n": 1, "ops": [["toString"]]},
    ],
    ids=["gap", "unknown op", "unknown turn", "missing piece", "shorter piece", "no op of ours"],
)
def test_a_copy_that_is_not_right_asks_once_for_everything(stage, bad):
    """A gap or an op that it cannot apply: one hello until it is answered; then all is there again."""
    stage.open()
    stage.turn("one", "first")
    stage.answer()
    stage.send({**bad, "n": stage.document.number + bad["n"]})
    stage.send({"n": stage.document.number + 5, "ops": [["say", "no"]]})
    assert stage.asked() == [{"do": "hello"}]
    stage.turn("two", "second")
    stage.answer()
    stage.turn("three")
    stage.flush()
    assert stage.get("article .said").all_inner_texts() == ["one", "two", "three"]
    assert stage.asked() == []


def test_what_is_for_another_page_is_left_alone(panel):
    """Two views of one panel have one model; what one asked is not the other's."""
    panel.send({"for": "another", "n": 5, "snap": {"turns": [], "state": {"where": "elsewhere"}}})
    panel.send({"for": "another", "told": "no"})
    assert panel.get(".where").inner_text() == "embedded Bedrock"
    assert panel.get(".told").is_hidden()


def test_a_growing_piece_keeps_its_nodes_and_the_selection(panel):
    """What has come is never built anew: elements stay the same, and text in them stays selected."""
    turn = panel.turn("go", "seed")
    panel.flush()
    text = "Some *words* come\n\n- one\n- two\n\nand then **more words"
    panel.document.set_pieces(turn, 0, [render.markdown(text)])
    panel.flush()
    panel.page.evaluate("""() => {
      window.kept = [...document.querySelectorAll('.blocks .piece *')];
      getSelection().selectAllChildren(document.querySelector('.blocks em'));
    }""")
    for i in range(1, 30):
        panel.document.set_pieces(turn, 0, [render.markdown(text + " and on" * i)])
        message = panel.document.take()
        assert message["ops"][0][0] == "grow"
        panel.send(message)
    panel.document.set_pieces(turn, 0, [render.markdown(text + "** 😀 é ok")])
    panel.flush()
    assert panel.get(".blocks").inner_text().endswith("and then more words 😀 é ok")
    kept = "() => kept.map(one => [one.isConnected, one.tagName])"
    assert panel.page.evaluate(kept) == [[True, tag] for tag in ("P", "EM", "UL", "LI", "LI", "P")]
    assert panel.page.evaluate("() => String(getSelection())") == "words"


def test_long_code_grows_in_parts_and_is_copied_whole(panel):
    """A line more changes one text node of its own part; no character is lost or doubled."""
    turn = panel.turn("code", "seed")
    lines = [f"line {i}" if i % 7 else "" for i in range(1001)]
    for length in (250, 899, 1000, 1001):
        code = "\n".join(lines[:length])
        panel.document.set_pieces(turn, 0, [f"<pre><code>{code}\n</code></pre>"])
        panel.flush()
        assert panel.get(".blocks code").text_content() == f"{code}\n"
    panel.page.evaluate("""() => {
      window.kept = [...document.querySelectorAll('.blocks .lines')];
      getSelection().selectAllChildren(document.querySelector('.blocks code'));
    }""")
    assert panel.page.evaluate("() => String(getSelection()).trimEnd()") == code.rstrip()
    panel.document.set_pieces(turn, 0, [f"<pre><code>{code}\nmore</code></pre>"])
    panel.flush()
    assert panel.page.evaluate("() => kept.length > 9 && kept.every(one => one.isConnected)")


def test_what_is_finished_is_not_touched_while_the_rest_grows(panel):
    """No mutation reaches an older piece, another block or another turn."""
    panel.turn("one", "first", status="complete")
    turn = panel.turn("two", "second")
    pieces = [f"<p>piece {i}</p>" for i in range(120)]
    panel.document.set_pieces(turn, 0, pieces)
    panel.flush()
    panel.page.evaluate("""() => {
      window.changes = 0;
      const seen = new MutationObserver(all => (changes += all.length));
      for (const one of document.querySelectorAll('.piece:not(.shelf:last-child > .piece:last-child)'))
        seen.observe(one, { subtree: true, childList: true, characterData: true, attributes: true });
    }""")
    for i in range(20):
        panel.document.set_pieces(turn, 0, [*pieces, *(f"<p>more {k}</p>" for k in range(i)), f"<p>tail {i}"])
        panel.document.live(turn, 0.5 + i / 10, i, i)
        panel.flush()
    assert panel.get(".blocks .piece").count() == 1 + 120 + 20
    assert panel.page.evaluate("() => changes") == 0


def test_pieces_stand_equally_far_apart_where_a_shelf_ends(panel):
    """Nobody sees which pieces are skipped together: the margins between shelves are those within one."""
    turn = panel.turn("many", "first")
    panel.document.set_pieces(turn, 0, [f"<p>piece {i}</p>" for i in range(30)])
    panel.flush()
    tops = panel.page.evaluate("""() => {
      for (const shelf of document.querySelectorAll('.shelf')) shelf.style.contentVisibility = 'visible';
      return [...document.querySelectorAll('.shelf .piece > p')].map(one => one.getBoundingClientRect().top);
    }""")
    steps = [below - above for above, below in pairwise(tops)]
    assert len(steps) == 29
    assert steps == pytest.approx([steps[0]] * 29, abs=0.5)


# -- hostile ---------------------------------------------------------------------------------------


def test_titles_prompts_and_words_are_text(panel):
    """Whatever is not HTML of the kernel's renderer is a text node or a value."""
    document = panel.document
    turn = document.add()
    document.set_turn(turn, prompt={"html": "", "text": HOSTILE}, can=["retry", HOSTILE], status="error")
    document.set_turn(turn, strip={**STRIP, "words": HOSTILE})
    document.set_block(turn, 0, kind="tool", title=HOSTILE, state=HOSTILE, ask=HOSTILE)
    document.set_block(turn, 1, kind=HOSTILE, title=HOSTILE)
    state = dict.fromkeys(("model", "where", "waiting"), HOSTILE)
    document.set_state(models=[HOSTILE] * 2, tools=[HOSTILE], branches=[HOSTILE] * 2, busy=True, **state)
    document.set_state(settings=dict.fromkeys(("system", "temperature", "top_p"), HOSTILE))
    document.say(HOSTILE)
    panel.flush()
    panel.send({"for": panel.view, "told": HOSTILE})
    document.set_state(models=[HOSTILE] * 40)
    panel.flush()
    assert panel.get(":is(img, script, [onerror])").count() == 0
    assert panel.get(".said").inner_text() == HOSTILE
    assert panel.page.evaluate("() => window.ran") is None


#: What no piece may have, each in its own.
UNSAFE = [
    HOSTILE,
    "<p onclick='ran = 1'>x</p><svg><script>window.ran = 1</script></svg>",
    "<a href=' java\tscript:window.ran = 1'>x</a><a href='data:text/html,x'>y</a>",
    "<iframe srcdoc='<script>parent.ran = 1</script>'></iframe><object data=x></object><embed src=x>",
    "<form action=/x><button formaction='javascript:1'>x</button></form><style>*{color:red}</style>",
    "<link rel=stylesheet href=/x><meta http-equiv=refresh content='0;url=/x'><base href=//x>",
    "<math><mtext><a xlink:href='javascript:ran = 1'>x</a><img src=x onerror='ran = 1'></mtext></math>",
    "<template><img src=x onerror='window.ran = 1'></template>",
]


@pytest.mark.parametrize("growing", [False, True], ids=["whole", "growing"])
def test_what_the_renderer_should_never_have_sent_is_dropped(panel, growing):
    """Were there a hole in the kernel's sanitising, the page would still not run, fetch or style it."""
    turn = panel.turn("x", "seed")
    panel.flush()
    for step in range(1 if growing else 5, 6):
        pieces = [f"<p>seed</p>{html[: len(html) * step // 5]}" for html in UNSAFE]
        panel.document.set_pieces(turn, 0, pieces)
        panel.flush()
    panel.page.evaluate("() => document.querySelectorAll('.piece *').forEach(one => one.click?.())")
    found = panel.page.evaluate("""() => [...document.querySelectorAll('.piece *')].filter(one =>
      /^(script|iframe|object|embed|form|style|link|meta|base|template|svg)$/.test(one.localName) ||
      [...one.attributes].some(({ name, value }) => /^on/.test(name) || /script:|data:text/.test(value)))
      .map(one => one.outerHTML)""")
    assert found == []
    assert panel.page.evaluate("() => window.ran") is None


# -- the composer ----------------------------------------------------------------------------------


def test_enter_sends_and_stop_is_there_at_once(panel):
    """The kernel has said nothing yet, and the button is Stop, in the place where Send was."""
    panel.box.fill("one")
    place = panel.page.get_by_role("button", name="Send").bounding_box()
    panel.box.press("Shift+Enter")
    panel.box.press_sequentially("two")
    assert panel.asked() == []
    panel.box.press("Enter")
    assert panel.page.get_by_role("button", name="Send").count() == 0
    stop = panel.page.get_by_role("button", name="Stop").bounding_box()
    assert (stop["x"], stop["width"]) == (place["x"], place["width"])
    assert panel.asked() == [{"do": "ask", "text": "one\ntwo"}]
    assert panel.box.input_value() == ""
    assert panel.page.evaluate("() => document.activeElement.tagName") == "TEXTAREA"
    panel.press("Stop")
    panel.box.press("Escape")
    assert panel.asked() == [{"do": "stop"}, {"do": "stop"}]


def test_text_typed_while_a_reply_streams_stays(panel):
    """Enter does not send it, and says why; when the reply is over, it does."""
    panel.document.set_state(busy=True)
    panel.flush()
    panel.box.fill("next")
    panel.box.press("Enter")
    assert panel.asked() == []
    assert "still coming" in panel.said
    panel.document.set_state(busy=False)
    panel.flush()
    assert panel.get(".told").is_hidden()
    assert panel.box.input_value() == "next"
    panel.box.press("Enter")
    assert panel.asked() == [{"do": "ask", "text": "next"}]


@pytest.mark.parametrize("told", [{"isComposing": True}, {"keyCode": 229}], ids=str)
def test_the_enter_of_an_input_method_sends_nothing(panel, told):
    """It ends a word in Chinese, Japanese or Korean."""
    panel.box.fill("日本")
    event = {"key": "Enter", "bubbles": True, **told}
    panel.box.evaluate("(box, event) => box.dispatchEvent(new KeyboardEvent('keydown', event))", event)
    assert panel.asked() == []
    assert panel.box.input_value() == "日本"


def test_a_double_click_on_send_does_not_stop(panel):
    """Its second half falls on Stop."""
    panel.box.fill("one")
    panel.page.get_by_role("button", name="Send").dblclick()
    assert [one["do"] for one in panel.asked()] == ["ask"]


def test_what_was_wrong_is_forgotten_with_the_next_try(panel):
    """A setting that was refused, put right, is no more complained about."""
    panel.press("Settings")
    field = panel.page.get_by_label("Temperature")
    field.fill("hot")
    field.press("Tab")
    panel.send({"told": "A number is wanted."})
    assert panel.get(".told").is_visible()
    field.fill("0.3")
    field.press("Tab")
    assert panel.get(".told").is_hidden()


def test_the_box_stays_in_the_window_while_the_panel_grows(panel):
    """Whoever writes in it goes on writing; whoever has scrolled away is not brought back."""
    panel.page.set_viewport_size({"width": 900, "height": 400})
    panel.box.focus()
    panel.turn("Hello?", "Some text.\n\n" * 12)
    panel.flush()
    expect(panel.box).to_be_in_viewport(ratio=1)
    panel.page.evaluate("() => { document.body.style.paddingBottom = '900px'; scrollTo(0, 9999); }")
    expect(panel.box).not_to_be_in_viewport()
    panel.turn("Again?", "More text.\n\n" * 40)
    panel.flush()
    expect(panel.box).not_to_be_in_viewport()
    panel.page.evaluate("() => { document.body.style.paddingBottom = ''; }")


def test_the_box_grows_and_remembers(panel):
    """Up to eight lines; the arrow up in an empty box brings the last prompt back."""
    panel.turn("the last prompt", "x", status="complete")
    panel.flush()
    low = panel.box.bounding_box()["height"]
    panel.box.press("ArrowUp")
    assert panel.box.input_value() == "the last prompt"
    panel.box.fill("\n" * 5)
    more = panel.box.bounding_box()["height"]
    panel.box.fill("\n" * 50)
    assert low < more < panel.box.bounding_box()["height"] < 13 * low


def test_no_key_leaves_the_panel(panel):
    """JupyterLab would run the cell at Shift+Enter, and cut it at x."""
    panel.page.evaluate("() => { window.keys = 0; addEventListener('keydown', () => (keys += 1)); }")
    for key in ("Shift+Enter", "x", "Escape"):
        panel.box.press(key)
    assert panel.page.evaluate("() => keys") == 0
    assert panel.page.get_attribute(".bedrock-nb-panel", "data-lm-suppress-shortcuts") == "true"


def test_files_are_chosen_pasted_dropped_and_removed(panel):
    """They go with the prompt, as bytes; too many are refused in words; a table is pasted as its text."""
    with panel.page.expect_file_chooser() as choosing:
        panel.press("Attach files")
    files = [{"name": f"{name}.txt", "mimeType": "text/plain", "buffer": name.encode()} for name in "ab"]
    choosing.value.set_files(files)
    give = """([type, name]) => {
      const data = new DataTransfer();
      const file = new File([name], name, { type: 'image/png' });
      for (let i = 0; i < (name === 'many' ? 9 : 1); i++) data.items.add(file);
      const event = type === 'paste' ? new ClipboardEvent(type, { clipboardData: data, bubbles: true })
        : new DragEvent(type, { dataTransfer: data, bubbles: true, cancelable: true });
      document.querySelector('.composer textarea').dispatchEvent(event);
    }"""
    for args in (["paste", "c.png"], ["drop", "d.png"], ["drop", "many"]):
        panel.page.evaluate(give, args)
    assert "At most 8 files" in panel.said
    table = """() => { const data = new DataTransfer();
      data.items.add(new File(["x"], "x.png", { type: "image/png" }));
      data.setData("text/plain", "a\\tb");
      document.querySelector(".composer textarea").dispatchEvent(new ClipboardEvent("paste",
        { clipboardData: data, bubbles: true, cancelable: true })); }"""
    panel.page.evaluate(table)
    panel.press("Remove b.txt")
    assert panel.get(".chip").all_text_contents() == ["a.txt×", "c.png×", "d.png×"]
    panel.press("Send")
    panel.page.wait_for_function("() => sent.length > 1")
    [asked] = panel.asked()
    assert [(file["name"], file["type"]) for file in asked["files"]] == [
        ("a.txt", "text/plain"),
        ("c.png", "image/png"),
        ("d.png", "image/png"),
    ]
    assert asked["bytes"] == ["a", "c.png", "d.png"]
    assert panel.get(".chip").count() == 0


def test_what_the_kernel_refuses_is_told_and_the_prompt_comes_back(panel):
    """It is in the box again, and the button is Send."""
    panel.box.fill("something")
    panel.box.press("Enter")
    panel.send({"for": panel.view, "told": "This model cannot stream."})
    assert panel.get(".told").inner_text() == panel.said == "This model cannot stream."
    assert panel.box.input_value() == "something"
    assert panel.page.get_by_role("button", name="Send").is_visible()


@pytest.mark.parametrize("edited", [False, True], ids=["asked", "edited"])
def test_a_prompt_that_could_not_be_sent_comes_back(panel, edited):
    """Also when the page has seen that the kernel tried; one that was answered does not."""
    panel.turn("before", "x", status="complete")
    panel.flush()
    if edited:
        panel.press("Edit")
    box = panel.page.get_by_role("textbox", name="Edit the prompt") if edited else panel.box
    box.fill("something")
    box.press("Enter")
    tried = panel.turn("something")
    panel.document.set_state(busy=True)
    panel.flush()
    panel.send({"for": panel.view, "told": "A number is wanted.", "back": False})
    assert panel.box.input_value() == ""
    panel.document.keep([one for one in panel.document.turns if one != tried])
    panel.document.set_state(busy=False)
    panel.flush()
    panel.send({"for": panel.view, "told": "The service cannot be reached.", "back": True})
    assert panel.box.input_value() == "something"
    panel.box.press("Enter")
    panel.turn("something", "x", status="complete")
    panel.flush()
    panel.send({"for": panel.view, "told": "The service cannot be reached.", "back": True})
    assert panel.box.input_value() == ""


# -- a kernel that does not answer -------------------------------------------------------------------


def test_a_kernel_that_is_gone_is_said_and_one_that_comes_back_is_welcome(browser):
    """After four seconds without an answer; whatever it says later takes the words away."""
    page = load(browser)
    page.clock.install()
    go(page)
    stage = Stage(page).open()
    stage.page.clock.run_for(3900)
    assert stage.get(".lost").is_hidden()
    stage.page.clock.run_for(200)
    assert "run its cell again" in stage.get(".lost").inner_text()
    stage.page.evaluate("snap => tell(snap)", stage.document.snapshot(stage.view))
    stage.page.clock.run_for(100)
    assert stage.get(".lost").is_hidden()
    stage.box.fill("hm")
    stage.box.press("Enter")
    stage.page.clock.run_for(4100)
    assert "may be running a cell" in stage.get(".told").inner_text()
    stage.document.set_state(busy=True)
    stage.page.evaluate("message => tell(message)", stage.document.take())
    assert stage.get(".told").is_hidden()
    page.close()


def test_a_kernel_that_cannot_be_sent_to_is_gone(panel):
    """``model.send`` throws when its comm is closed: the prompt is not lost, and no reply is waited for."""
    panel.page.evaluate("() => { window.dead = true; }")
    panel.box.fill("something")
    panel.box.press("Enter")
    assert panel.get(".lost").is_visible()
    assert panel.box.input_value() == "something"
    assert panel.page.get_by_role("button", name="Send").is_visible()
    panel.document.set_state(busy=True)
    panel.flush()
    panel.press("Stop")
    assert panel.get(".lost").is_visible()
    assert panel.page.get_by_role("button", name="Send").is_visible()


def test_a_kernel_that_restarts_while_it_answers_is_asked_for(panel):
    """Nothing else would end the waiting: no message comes any more."""
    panel.document.set_state(busy=True)
    panel.flush()
    panel.page.evaluate("() => { window.dead = true; for (const act of lives) act(); }")
    assert panel.get(".lost").is_visible()
    assert panel.page.get_by_role("button", name="Send").is_visible()


def test_a_view_that_goes_lets_go(panel):
    """No listener stays on the model, and the picture's memory is given back."""
    turn = panel.turn("x", "y", status="complete", strip=STRIP)
    panel.flush()
    panel.send({"for": panel.view, "picture": turn, "alt": "a picture"}, "PNG")
    address = panel.get("img.picture").get_attribute("src")
    panel.page.evaluate("() => done()")
    assert panel.page.evaluate("() => heard.size + lives.size") == 0
    gone = "address => fetch(address).then(() => false, () => true)"
    assert panel.page.evaluate(gone, address)


# -- a turn ------------------------------------------------------------------------------------------


def test_reasoning_is_open_while_it_grows_unless_the_reader_said_otherwise(panel):
    """It folds when the answer begins; what a reader opened or closed stays so."""
    turn = panel.turn("why")
    for at in (0, 1):
        panel.document.set_block(turn, at, kind="reasoning", title="Reasoning", state="growing")
        panel.document.set_pieces(turn, at, ["<p>hmm</p>"])
        panel.flush()
        assert panel.get("details.block").nth(at).get_attribute("open") == ""
    assert panel.get("details.block").nth(0).get_attribute("open") is None
    panel.get("summary.title").nth(0).click()
    panel.document.set_block(turn, 0, state="")
    panel.document.set_block(turn, 1, state="")
    panel.document.set_block(turn, 2, kind="text")
    panel.flush()
    assert panel.get("details.block").evaluate_all("all => all.map(one => one.open)") == [True, False]


def test_a_call_of_a_tool_is_approved_or_denied(panel):
    """It is announced, takes no focus away, and says what was decided, once."""
    turn = panel.turn("book it")
    panel.box.focus()
    for at, key in enumerate("ab"):
        panel.document.set_block(turn, at, kind="tool", title=f"book {key}", state="asking", ask=key)
        panel.document.set_pieces(turn, at, [f"<pre>{{{'a long argument ' * 20}}}</pre>"])
        panel.flush()
        assert panel.said == f"book {key} waits for your approval"
    assert panel.page.evaluate("() => document.activeElement.ariaLabel") == "Message"
    # What is approved can be read without scrolling to the side.
    assert panel.get(".block pre").first.evaluate("pre => pre.scrollWidth <= pre.clientWidth")
    panel.page.get_by_role("group", name="Approval of book a").get_by_role("button", name="Approve").click()
    second = panel.page.get_by_role("group", name="Approval of book b")
    second.get_by_label("Reason").fill("not now")
    second.get_by_role("button", name="Deny").click()
    assert panel.asked() == [
        {"do": "approve", "call": "a", "yes": True, "reason": ""},
        {"do": "approve", "call": "b", "yes": False, "reason": "not now"},
    ]
    assert panel.get(".approval button:enabled").count() == 0
    panel.document.set_block(turn, 0, state="running", ask=None)
    panel.flush()
    assert panel.get(".approval").count() == 1
    assert panel.get("[data-state=running] .word").inner_text() == "running"


def test_a_prompt_is_edited_in_its_place(panel):
    """Enter sends, Escape and Cancel leave it as it was; the focus comes back."""
    turn = panel.turn("a *prompt*", "x", status="complete")
    panel.flush()
    edited = panel.page.get_by_role("textbox", name="Edit the prompt")
    for leave in (lambda: edited.press("Escape"), lambda: panel.press("Cancel")):
        panel.press("Edit")
        assert edited.input_value() == "a *prompt*"
        leave()
        assert edited.count() == 0
        assert panel.page.evaluate("() => document.activeElement.textContent") == "Edit"
    panel.press("Edit")
    edited.fill("another")
    edited.press("Enter")
    assert panel.asked() == [{"do": "edit", "turn": turn, "text": "another"}]
    assert panel.page.get_by_role("button", name="Stop").is_visible()


def test_rerun_fork_retry_and_continue_ask_for_it(panel):
    """What an answer needs at its end stands under the last turn only; all wait for a reply that comes."""
    old = panel.turn("one", "x", status="error", can=["retry"])
    turn = panel.turn("two", "y", status="error", can=["retry", "continue"])
    panel.flush()
    for name, asked in [
        ("Rerun", {"do": "rerun", "turn": turn}),
        ("Fork", {"do": "fork", "turn": turn}),
        ("Retry", {"do": "retry"}),
        ("Continue", {"do": "continue"}),
    ]:
        panel.page.get_by_role("article").last.hover()
        panel.press(name)
        assert panel.asked() == [asked]
        panel.document.set_state(busy=True)
        panel.document.set_state(busy=False)
        panel.flush()
    assert panel.page.get_by_role("button", name="Retry").count() == 1
    panel.document.set_state(busy=True)
    panel.flush()
    panel.page.get_by_role("article").first.get_by_role("button", name="Rerun").click()
    assert panel.asked() == []
    assert "still coming" in panel.said
    assert old != turn


def test_what_takes_later_turns_away_says_so(panel):
    """To ask an earlier prompt again takes two clicks with nothing between them; an edit warns."""
    old = panel.turn("one", "x", status="complete")
    panel.turn("two", "y", status="complete")
    panel.flush()
    first = panel.page.get_by_role("article").first
    again = first.get_by_role("button", name="Later turns go. Rerun?")
    first.get_by_role("button", name="Rerun").click()
    assert again.is_visible()
    assert panel.said == "Later turns go. Rerun?"
    panel.box.focus()
    assert again.count() == 0
    first.get_by_role("button", name="Edit").click()
    assert first.get_by_text("Later turns go.", exact=True).is_visible()
    first.get_by_role("button", name="Cancel").click()
    first.get_by_role("button", name="Rerun").click()
    assert panel.asked() == []
    again.click()
    assert panel.asked() == [{"do": "rerun", "turn": old}]


@pytest.mark.parametrize("allowed", [True, False], ids=["clipboard", "no clipboard"])
def test_copy_puts_what_the_kernel_sends_into_the_clipboard(panel, allowed):
    """By the browser's clipboard, or in the old way where that is not allowed."""
    turn = panel.turn("x", "the **answer**", status="complete")
    panel.flush()
    origin = "http://127.0.0.1"
    panel.page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=origin)
    if not allowed:
        panel.page.evaluate(
            "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }"
        )
    panel.get("article").hover()
    panel.press("Copy")
    assert panel.asked() == [{"do": "copy", "turn": turn}]
    panel.send({"for": panel.view, "copy": "the **answer**"})
    assert panel.said == "Copied"
    assert panel.page.get_by_role("button", name="Copied").count() == 1
    assert panel.page.evaluate("() => navigator.clipboard.readText()") == "the **answer**"


def test_the_strip_grows_and_shows_its_picture_on_request(panel):
    """It counts from the first chunk on; then it has the kernel's words, and opens and closes the anatomy."""
    turn, strip = panel.turn("x", "y"), panel.get(".strip")
    for t, chunks, words in [
        (0.1, 0, "0.1 s"),
        (0.2, 1, "TTFT ≈ 200 ms · 1 chunk · ≈ 1 token · 0.2 s"),
        (0.4, 9, "TTFT ≈ 200 ms · 9 chunks · ≈ 9 tokens · 0.4 s"),
        (1.2, 40, "TTFT ≈ 200 ms · 40 chunks · ≈ 40 tokens · ≈ 39 tokens/s · 1.2 s"),
    ]:
        panel.document.live(turn, t, chunks, chunks)
        panel.flush()
        expect(strip.locator(".words")).to_have_text(words)
    assert strip.locator("path").get_attribute("d").count("v-16h") == 1
    assert strip.is_disabled()
    panel.document.set_turn(turn, status="complete", strip=STRIP)
    panel.flush()
    strip.click()
    assert panel.asked() == [{"do": "picture", "turn": turn, "dark": False}]
    panel.send({"for": panel.view, "picture": turn, "alt": "TTFT 210 ms"}, "PNG")
    assert panel.page.get_by_role("img", name="TTFT 210 ms").count() == 1
    assert strip.get_attribute("aria-expanded") == "true"
    strip.click()
    assert panel.get("img").count() == 0
    assert panel.asked() == []


# -- the head ----------------------------------------------------------------------------------------


def test_settings_and_model_are_saved_when_they_change(panel):
    """Each by itself; what the kernel refuses shows its old value again, what is being typed stays."""
    panel.press("Settings")
    assert panel.page.evaluate("() => document.activeElement.value") == "Be brief."
    panel.page.get_by_label("Temperature").fill("7")
    panel.page.get_by_label("Temperature").press("Enter")
    panel.page.get_by_label("Model", exact=True).select_option("nova_micro")
    assert panel.asked() == [
        {"do": "set", "settings": {"temperature": "7"}},
        {"do": "set", "model": "nova_micro"},
    ]
    panel.page.get_by_label("System prompt").press_sequentially(" And kind.")
    panel.send({"for": panel.view, "told": "temperature is 7; at most 1 is possible."})
    assert panel.page.get_by_label("System prompt").input_value() == "Be brief. And kind."
    assert panel.page.get_by_label("Temperature").input_value() == ""
    assert panel.page.get_by_label("Model", exact=True).input_value() == "nova_lite"
    panel.press("Settings")
    assert panel.page.get_by_label("Temperature").is_hidden()


def test_many_models_are_searched(panel):
    """More than thirty are a box with suggestions; left empty it shows the one that answers."""
    panel.document.set_state(models=[f"model_{i}" for i in range(60)], model="model_3")
    panel.flush()
    picker = panel.page.get_by_label("Model", exact=True)
    assert panel.get("datalist option").count() == 60
    picker.focus()
    assert picker.input_value() == ""
    panel.box.focus()
    assert picker.input_value() == "model_3"
    picker.fill("model_44")
    panel.box.focus()
    assert panel.asked() == [{"do": "set", "model": "model_44"}]


def test_the_menu_exports_undoes_and_clears_at_the_second_click(panel):
    """Downloads arrive as files; the prompt that is undone is in the box again; clearing is confirmed."""
    panel.turn("taken back", "x", status="complete")
    panel.flush()
    opener = panel.get("summary[aria-label=More]")
    for label, asked in [
        ("Export as HTML", {"do": "export", "as": "html"}),
        ("Undo the last turn", {"do": "undo"}),
    ]:
        opener.click()
        panel.press(label)
        assert panel.asked() == [asked]
    assert panel.box.input_value() == "taken back"
    opener.click()
    panel.press("Clear all…")
    assert panel.asked() == []
    panel.press("Really clear? Click again")
    assert panel.asked() == [{"do": "clear"}]
    opener.click()
    panel.press("Clear all…")
    panel.page.keyboard.press("Escape")
    assert panel.get(".menu").get_attribute("open") is None
    assert panel.page.get_by_role("button", name="Really clear? Click again").count() == 0
    with panel.page.expect_download() as downloading:
        panel.send({"for": panel.view, "file": "talk.html", "type": "text/html"}, "<p>talk</p>")
    assert downloading.value.suggested_filename == "talk.html"
    assert Path(downloading.value.path()).read_text() == "<p>talk</p>"


def test_another_branch_is_one_choice_away(panel):
    """The picker is there only if there is something to pick."""
    assert panel.page.get_by_label("Branch").is_hidden()
    panel.document.set_state(branches=["first", "second"], branch=1)
    panel.flush()
    panel.page.get_by_label("Branch").select_option("first")
    assert panel.asked() == [{"do": "branch", "branch": 0}]


# -- the log -----------------------------------------------------------------------------------------


def test_the_log_follows_only_a_reader_who_is_at_its_end(panel):
    """Who scrolls up stays there, and jumps back by a button; who sends goes to the end."""
    low = "() => { const log = document.querySelector('.log');"
    low += " return log.scrollHeight - log.scrollTop - log.clientHeight < 2; }"
    pieces = [f"<p>line {i}</p>" for i in range(60)]
    turn = panel.turn("x", "y")
    panel.document.set_pieces(turn, 0, pieces)
    panel.flush()
    panel.page.wait_for_function(low)
    jump = panel.page.get_by_role("button", name="Jump to latest")
    assert jump.count() == 0
    panel.get(".log").hover()
    panel.page.mouse.wheel(0, -400)
    jump.wait_for()
    there = panel.get(".log").evaluate("log => log.scrollTop")
    panel.document.set_pieces(turn, 0, [*pieces, "<p>more</p>", "<p>and more</p>"])
    panel.flush()
    assert panel.get(".log").evaluate("log => log.scrollTop") == there
    jump.click()
    panel.page.wait_for_function(low)
    assert jump.count() == 0
    assert panel.page.evaluate("() => document.activeElement.role") == "log"
    panel.document.set_pieces(turn, 0, [*pieces, *pieces])
    panel.flush()
    panel.page.wait_for_function(low)


def test_a_large_document_comes_in_slices_and_then_costs_little(stage):
    """50,000 deltas in 20,000 pieces: every frame does a part; then a delta changes one node."""
    document = stage.document
    turn = stage.turn("x", "y")
    pieces = [f"<p>Piece {i} has <em>some</em> text, {'and more ' * (i % 5)}</p>" for i in range(20_000)]
    document.set_pieces(turn, 0, pieces)
    document.take()
    stage.open()
    stage.page.evaluate("""() => {
      window.tasks = [];
      new PerformanceObserver(list => tasks.push(...list.getEntries().map(one => one.duration)))
        .observe({ entryTypes: ["longtask"] });
      window.frames = 0;
      new MutationObserver(() => (frames += 1))
        .observe(document.querySelector(".turns"), { subtree: true, childList: true });
    }""")
    snap = json.dumps(document.snapshot(stage.view))
    stage.page.evaluate("text => { window.snap = JSON.parse(text); setTimeout(() => tell(snap)); }", snap)
    stage.page.wait_for_function(
        "() => document.querySelectorAll('.blocks .piece').length === 20000", polling=50
    )
    assert stage.page.evaluate("() => frames") > 5
    stage.page.evaluate("""() => {
      window.changes = 0;
      new MutationObserver(all => (changes += all.length)).observe(document.querySelector(".log"),
        { subtree: true, childList: true, characterData: true, attributes: true });
    }""")
    last, messages = pieces[-1].removesuffix("</p>"), []
    for i in range(50):
        document.set_pieces(turn, 0, [last + " word" * (i + 1) + "</p>"], begin=19_999)
        messages.append(document.take())
    text = "async messages => { for (const one of messages) await kernel(one); }"
    stage.page.evaluate(text, messages)
    assert stage.get(".piece").last.inner_text().endswith(" word" * 50)
    assert stage.page.evaluate("() => changes") == 50
    tasks = stage.page.evaluate("() => tasks")
    print(f"\n20,000 pieces: longest task {max(tasks, default=0):.0f} ms, {len(tasks)} above 50 ms")
    assert stage.asked() == []


# -- for everybody -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [900, 320])
def test_it_is_accessible_and_fits(panel, scheme, width):
    """axe-core finds nothing in light, dark and narrow; only code and tables scroll sideways."""
    page, document = panel.page, panel.document
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    turn = panel.turn("**What** is it?", COLOURED, status="error", strip=STRIP, can=["retry"])
    document.set_block(turn, 1, kind="error")
    document.set_pieces(turn, 1, [render.error("Throttled", "Too many requests.", {"code": "x" * 80})])
    turn = panel.turn("and now?")
    document.set_block(turn, 0, kind="reasoning", title="Reasoning", state="growing")
    document.set_pieces(turn, 0, ["<p>hmm</p>"])
    document.set_block(turn, 1, kind="tool", title="weather", state="asking", ask="k")
    document.set_pieces(turn, 1, ["<pre>" + "x" * 300 + "</pre>", "<pre>{}</pre>"])
    document.set_block(turn, 2, kind="tool", title="broken", state="error")
    document.live(turn, 0.3, 3, 4)
    document.set_state(busy=True, waiting="approval", branches=["one", "two"])
    panel.flush()
    panel.send({"for": panel.view, "told": "Something was wrong."})
    panel.press("Settings")
    panel.page.evaluate("() => { for (const one of document.querySelectorAll('details')) one.open = true; }")
    panel.get("article").first.hover()
    results = Axe().run(page, "main").response
    assert [(one["id"], one["nodes"][0]["html"]) for one in results["violations"]] == []
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    assert panel.get(".log").evaluate("log => log.scrollWidth - log.clientWidth") == 0
