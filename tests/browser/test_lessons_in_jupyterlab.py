"""Every lesson in a real JupyterLab: it runs to its end, and the page logs no error.

Strategy: a lesson mostly waits, for answers that come as slowly as a model's. So there are two tabs: while
one lesson is waited for, the next one has begun in the other.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.conftest import Notebook, Page

LESSONS = sorted(path.name for path in (Path(__file__).parent.parent.parent / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def begun(browser, lab, lab_page):
    """A lesson that has begun to run, and which of its cells had outputs before; the next one begins, too."""
    tabs = [lab_page, Page(browser, lab, "lab/workspaces/next")]
    shown: dict[int, tuple[Notebook, list[bool]]] = {}

    def begin(number: int) -> tuple[Notebook, list[bool]]:
        at, name = number % len(tabs), LESSONS[number]
        if at in shown and shown[at][0].name != name:
            shown.pop(at)[0].close()
        if at not in shown:
            notebook = Notebook(tabs[at], name)
            before = [bool(outputs) for outputs in notebook.outputs()]
            notebook.command("notebook:run-all-cells")
            shown[at] = notebook, before
        return shown[at]

    def begin_two(lesson: str) -> tuple[Notebook, list[bool]]:
        number = LESSONS.index(lesson)
        wanted = begin(number)
        if number + 1 < len(LESSONS):
            begin(number + 1)
        return wanted

    yield begin_two
    for notebook, _ in shown.values():
        notebook.close()
    tabs[1].page.close()


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_in_jupyterlab(begun, lesson):
    """No cell raises, no console error, and each code cell that had an output has one again."""
    notebook, before = begun(lesson)
    notebook.finished()
    after = notebook.outputs()
    assert [output for outputs in after for output in outputs if output["output_type"] == "error"] == []
    assert [bool(outputs) for outputs in after] == before
    assert notebook.errors == []


def test_a_live_cell_grows_and_ends_with_one_rendering(open_notebook):
    """The reader sees text before the reply is whole; at the end the text stands there once."""
    notebook = open_notebook("00-start-here.ipynb")
    find = """words => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(
        c => c.model.type === 'code' && c.model.sharedModel.getSource().includes(words))"""
    set_up, cell = (notebook.page.evaluate(find, words) for words in ("nb.connect(", "nb.live("))
    select = "i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i; }"
    for index in (set_up, cell):
        notebook.page.evaluate(select, index)
        notebook.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell'); }")
    output = notebook.output(cell)
    running = "i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.executionState"
    output.get_by_text("sunlight sorted").first.wait_for()
    assert notebook.page.evaluate(running, cell) == "running"
    output.get_by_text("different drops").first.wait_for()
    notebook.page.wait_for_function(
        "i => window.jupyterapp.shell.currentWidget.content.widgets[i].model.executionState !== 'running'",
        arg=cell,
    )
    assert output.get_by_role("heading", name="Rainbows").count() == 1
    assert notebook.errors == []
