"""The replay slider in a real JupyterLab: dragged, played, stepped, dark, and without its kernel."""

from __future__ import annotations

import pytest

HOSTILE = "<img src=x onerror='window.ran = 1'><script>window.ran = 2</script>"

MAKE = f"""
import bedrock_nb as nb
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, ReasoningDelta, TextDelta
from bedrock_nb.recording import Recording

recording = Recording({{"modelId": "local.slider"}})
rows = [(0.2, MessageStart("assistant")), (0.3, ReasoningDelta(0, "hmm")), (0.4, BlockStop(0))]
words = [(0.5 + i / 20, TextDelta(1, f"word{{i}} ")) for i in range(40)]
for t, event in [*rows, *words, (2.6, TextDelta(1, {HOSTILE!r})), (2.7, MessageStop("end_turn"))]:
    recording.append(event, t)
recording.status = "complete"
slider = nb.ReplaySlider(recording)
slider
"""
ASK = "print(round(slider.t, 3), len(slider.message.content), slider.message.text[-6:])"
SET = "slider.t = 0.56"


@pytest.fixture(scope="module")
def notebook(lab, open_for_all):
    """A notebook whose first cell shows a slider."""
    opened = open_for_all(lab.write("slider.ipynb", MAKE, ASK, SET))
    opened.run(0)
    opened.page.wait_for_selector(".bedrock-nb-slider .now")
    return opened


def drag(notebook, t):
    """Put the slider somewhere, as a drag does."""
    notebook.page.eval_on_selector(
        ".bedrock-nb-slider input[type=range]",
        "(range, t) => { range.value = t; range.dispatchEvent(new Event('input')); }",
        t,
    )


def shown(notebook):
    """The text on the page, block by block, and the line above it."""
    page = notebook.page
    blocks = page.eval_on_selector_all(
        ".bedrock-nb-slider .block:not([hidden]) .body", "all => all.map(one => one.textContent)"
    )
    return blocks, page.text_content(".bedrock-nb-slider .now")


def cursor(notebook):
    """Where the cursor stands, as a share of the picture's width."""
    return float(
        notebook.page.eval_on_selector(".bedrock-nb-slider .cursor", "one => parseFloat(one.style.left)")
    )


def test_it_opens_at_the_end_with_all_the_text(notebook):
    """What a model wrote is shown as text, and nothing of it became an element or ran."""
    blocks, now = shown(notebook)
    assert blocks[0] == "hmm"
    assert blocks[1].endswith(HOSTILE)
    assert "event 45 of 45" in now
    assert notebook.page.query_selector_all(".bedrock-nb-slider .text :is(img, script)") == []
    assert notebook.page.evaluate("() => window.ran") is None
    assert notebook.errors == []


def test_a_drag_shows_the_text_of_that_moment_and_the_kernel_knows(notebook):
    """Text, words and cursor follow; Python sees where it stands."""
    at_end = cursor(notebook)
    drag(notebook, 0.62)
    blocks, now = shown(notebook)
    assert blocks == ["hmm", "word0 word1 word2 "]
    assert now.startswith("620 ms · TextDelta · event 6 of 45 · 21 characters")
    assert 0 < cursor(notebook) < at_end
    notebook.page.wait_for_timeout(600)  # it tells the kernel a few times a second
    notebook.run(1)
    assert notebook.outputs()[1][0]["text"] == "0.62 2 word2 \n"


def test_python_moves_it(notebook):
    """``slider.t = …`` in another cell."""
    notebook.run(2)
    notebook.page.wait_for_function(
        "() => document.querySelector('.bedrock-nb-slider .now').textContent.startsWith('560 ms')"
    )
    assert shown(notebook)[0] == ["hmm", "word0 word1 "]


def test_arrows_go_from_event_to_event(notebook):
    """One on, one back; at the first event nothing is before it but the request."""
    drag(notebook, 0.56)
    notebook.page.click(".bedrock-nb-slider [aria-label='one event on']")
    assert shown(notebook)[0][1] == "word0 word1 word2 "
    notebook.page.click(".bedrock-nb-slider [aria-label='one event back']")
    notebook.page.click(".bedrock-nb-slider [aria-label='one event back']")
    assert shown(notebook)[0][1] == "word0 "
    drag(notebook, 0.2)
    notebook.page.click(".bedrock-nb-slider [aria-label='one event back']")
    assert shown(notebook)[1].startswith("0 ms · request · event 0 of 45")


def test_it_plays_to_the_end_and_pauses_on_request(notebook):
    """At ×10 two and a half seconds take a quarter of one; the same button pauses."""
    page = notebook.page
    drag(notebook, 0)
    page.select_option(".bedrock-nb-slider select", "0.1")
    page.click(".bedrock-nb-slider [aria-label=play]")
    page.wait_for_function(
        "() => parseFloat(document.querySelector('.bedrock-nb-slider input').value) > 0.01"
    )
    page.click(".bedrock-nb-slider [aria-label=pause]")
    assert float(page.input_value(".bedrock-nb-slider input")) < 2.0
    page.select_option(".bedrock-nb-slider select", "10")
    page.click(".bedrock-nb-slider [aria-label=play]")
    page.wait_for_selector(".bedrock-nb-slider [aria-label=play]")
    page.wait_for_function(
        "() => document.querySelector('.bedrock-nb-slider .now').textContent.includes('45 of 45')"
    )
    assert shown(notebook)[0][1].endswith(HOSTILE)


def test_keys_move_it_and_do_not_reach_the_notebook(notebook):
    """The range takes the arrow keys; Shift+Enter on a button runs no cell."""
    page = notebook.page
    drag(notebook, 1.0)
    page.focus(".bedrock-nb-slider input[type=range]")
    page.keyboard.press("Home")
    assert shown(notebook)[1].startswith("0 ms")
    counts = "() => window.jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.executionCount)"
    before = page.evaluate(counts)
    page.focus(".bedrock-nb-slider [aria-label='one event on']")
    page.keyboard.press("Shift+Enter")
    assert page.evaluate(counts) == before


def test_it_is_at_home_in_the_dark(notebook):
    """The picture changes with the theme."""
    page = notebook.page
    light = page.get_attribute(".bedrock-nb-slider img", "src")
    change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })"
    page.evaluate(change, "JupyterLab Dark")
    page.wait_for_function("src => document.querySelector('.bedrock-nb-slider img').src !== src", arg=light)
    page.evaluate(change, "JupyterLab Light")
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'true'")
    assert notebook.errors == []


def test_it_works_without_its_kernel(notebook):
    """Once it is there, it needs nobody."""
    notebook.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.shutdown()")
    drag(notebook, 0.62)
    assert shown(notebook)[0] == ["hmm", "word0 word1 word2 "]
    notebook.page.wait_for_timeout(400)
    drag(notebook, 0.9)
    assert shown(notebook)[0][1].endswith("word8 ")
