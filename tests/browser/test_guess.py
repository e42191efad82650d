"""A guess in a real JupyterLab: by keys and by pointer, checked, dark, and accessible."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

MAKE = """
import bedrock_nb as nb

guess = nb.Guess(ttft_s=1.0, output_tps=20, answers_per_s=(0, 40, 10))
guess
"""
ASK = "print(guess)"
SET = "guess.ttft_s = 2"
CHECK = """
ax = guess.check("recordings/rainbows.jsonl", answers_per_s=13)
print(guess.table.fact.notna().all())
"""
RESET = "guess.reset()"
ROOT = ".bedrock-nb-guess"
START = f"{ROOT} .handle >> nth=1"
END = f"{ROOT} .handle >> nth=0"


@pytest.fixture(scope="module")
def notebook(lab, open_for_all):
    """A notebook whose first cell shows a guess."""
    opened = open_for_all(lab.write("guess.ipynb", MAKE, ASK, SET, CHECK, RESET))
    opened.run(0)
    opened.page.wait_for_selector(f"{ROOT} svg")
    return opened


def values(notebook):
    """What the kernel takes for the guess, as a cell that is run next sees it."""
    return eval(notebook.ask("print(list(guess.values.values()))"), {})


def drag(notebook, handle, dx, dy):
    """Take a handle of the picture by the pointer, and pull it so many pixels."""
    page = notebook.page
    page.locator(handle).scroll_into_view_if_needed()
    box = page.locator(handle).locator(".knob").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx, y + dy, steps=4)
    page.mouse.up()


def test_it_opens_where_it_was_told_to(notebook):
    """A native slider for each quantity, with its words, value and unit; nothing is known yet."""
    sliders = notebook.page.get_by_role("slider")
    assert [one.get_attribute("aria-label") for one in sliders.all()] == [
        "time to first token, s",
        "output pace, tokens/s",
        "answers, per s",
    ]
    assert notebook.page.locator(f"{ROOT} output").all_text_contents() == [
        "1.00 s",
        "20.0 tokens/s",
        "10.0 per s",
    ]
    assert notebook.page.locator(f"{ROOT} .said li").count() == 0
    assert notebook.errors == []
    notebook.tab.shot("guess-fresh")


def test_keys_move_a_slider_and_the_kernel_knows(notebook):
    """Arrows go by one step; the next cell sees the number; the line follows."""
    page = notebook.page
    line = page.get_attribute(f"{ROOT} path.guess >> nth=1", "d")
    page.get_by_role("slider", name="time to first token").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    expect(page.locator(f"{ROOT} output").first).to_have_text("1.10 s")
    assert page.get_attribute(f"{ROOT} path.guess >> nth=1", "d") != line
    notebook.run(1)
    assert notebook.outputs()[1][0]["text"].startswith("<Guess: ttft_s 1.1 s, output_tps 20 tokens/s,")


def test_the_line_is_dragged_by_its_two_ends(notebook):
    """Its start goes sideways and is the time to first token; its end goes up and is the pace."""
    ttft, pace, other = values(notebook)
    drag(notebook, START, -60, -30)
    earlier, same, _ = values(notebook)
    assert earlier < ttft - 0.2
    assert same == pace
    drag(notebook, END, 0, -40)
    kept, steeper, untouched = values(notebook)
    assert (kept, untouched) == (earlier, other)
    assert steeper > pace + 2


def test_python_moves_it(notebook):
    """``guess.ttft_s = …`` in another cell."""
    notebook.run(2)
    expect(notebook.page.locator(f"{ROOT} output").first).to_have_text("2.00 s")


@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])
def test_the_facts_come_beside_the_guess(notebook, theme):
    """The steps, a sentence for each quantity; the guess is kept although the handles move on."""
    page = notebook.page
    notebook.tab.theme(theme)
    notebook.run(2)
    notebook.run(3)
    said = page.locator(f"{ROOT} .said li")
    expect(said).to_have_count(3)
    assert said.first.text_content().startswith("Time to first token: You said 2.00 s; it was 0.30 s")
    assert page.get_attribute(f"{ROOT} path.fact", "d").count("H") > 100
    assert notebook.outputs()[3][0]["text"] == "True\n"
    notebook.tab.shot(f"guess-checked-{theme.split()[-1].lower()}")
    page.get_by_role("slider", name="time to first token").focus()
    page.keyboard.press("Home")
    expect(page.locator(f"{ROOT} output").first).to_have_text("0.00 s")
    expect(page.locator(f"{ROOT} path.now")).to_have_count(1)
    assert values(notebook)[0] == 2.0
    results = Axe().run(page, ROOT).response
    assert [(one["id"], one["nodes"][0]["html"]) for one in results["violations"]] == []
    notebook.run(4)
    expect(said).to_have_count(0)
    assert values(notebook)[0] == 0.0
    assert notebook.errors == []


def test_keys_do_not_reach_the_notebook(notebook):
    """Shift+Enter on a slider runs no cell."""
    page = notebook.page
    counts = "() => window.jupyterapp.shell.currentWidget.content.widgets.map(c => c.model.executionCount)"
    before = page.evaluate(counts)
    page.get_by_role("slider", name="answers").focus()
    page.keyboard.press("Shift+Enter")
    assert page.evaluate(counts) == before
