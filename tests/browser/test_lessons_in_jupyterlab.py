"""Every lesson in a real JupyterLab: it runs to its end, and the page logs no error."""

from __future__ import annotations

from pathlib import Path

import pytest

LESSONS = sorted(path.name for path in (Path(__file__).parent.parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_in_jupyterlab(open_notebook, lesson):
    """No cell raises, no console error, and each code cell that had an output has one again."""
    notebook = open_notebook(lesson)
    before = [bool(outputs) for outputs in notebook.outputs()]
    notebook.run_all()
    after = notebook.outputs()
    assert [output for outputs in after for output in outputs if output["output_type"] == "error"] == []
    assert [bool(outputs) for outputs in after] == before
    assert notebook.errors == []


def test_a_live_cell_grows_and_ends_with_one_rendering(open_notebook):
    """The reader sees text before the reply is whole; at the end the text stands there once."""
    notebook = open_notebook("01-first-stream.ipynb")
    cell = notebook.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.findIndex("
        "c => c.model.sharedModel.getSource().includes('nb.live('))"
    )
    select = "i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i; }"
    for index in (2, cell):  # the set-up cell, and then the live one
        notebook.page.evaluate(select, index)
        notebook.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell'); }")
    output = notebook.page.locator(".jp-Cell").nth(cell).locator(".jp-Cell-outputArea")
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
