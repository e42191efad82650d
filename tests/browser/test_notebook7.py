"""Notebook 7, the other front end of the same server: live cells, columns, panel and magics work there."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from bedrock_nb.server import BedrockServer, Latency
from tests.chatting import said

SET_UP = """
import bedrock_nb as nb
client = nb.connect({url!r}, verbose=False)
%load_ext bedrock_nb
"""
LIVE = "reply = nb.live(nb.stream(client, 'Hello'))"
COLUMNS = "replies = nb.live(nb.stream(client, 'Hello'), nb.stream(client, 'Hello'))"
PANEL = "panel = nb.ChatPanel(nb.Conversation(client))\npanel"
MAGIC = "%%converse --client client\nHello"
ABOUT = "%bedrock"


@pytest.fixture(scope="module")
def notebook(lab, open_in_notebook7):
    """A notebook of all of these."""
    with BedrockServer(said("**Hello** there."), latency=Latency.none()) as server:
        code = SET_UP.format(url=server.endpoint_url)
        notebook = open_in_notebook7(lab.write("seven.ipynb", code, LIVE, COLUMNS, PANEL, MAGIC, ABOUT))
        notebook.run(0)
        yield notebook


@pytest.mark.parametrize(("cell", "times"), [(1, 1), (2, 2), (4, 1)], ids=["live", "columns", "magic"])
def test_replies_are_shown(notebook, cell, times):
    """A live cell, columns and ``%%converse`` show each reply once, with its timing."""
    notebook.run(cell)
    output = notebook.output(cell)
    expect(output.get_by_text("there.")).to_have_count(times)
    expect(output).to_contain_text("TTFT")


def test_the_panel_sends_and_streams(notebook):
    """What is written into the panel is answered in it."""
    notebook.run(3)
    panel = notebook.output(3).locator(".bedrock-nb-panel")
    panel.get_by_role("textbox", name="Message").fill("Hello")
    panel.get_by_role("button", name="Send").click()
    expect(panel.get_by_role("article").get_by_text("there.")).to_be_visible()
    expect(panel.get_by_role("button", name="Send")).to_be_visible()
    notebook.tab.shot("notebook7")


def test_the_connection_is_told_and_the_page_is_well(notebook):
    """``%bedrock`` says where the notebook is connected; nothing of all this has logged an error."""
    notebook.run(5)
    expect(notebook.output(5)).to_contain_text("127.0.0.1")
    assert [out for cell in notebook.outputs() for out in cell if out["output_type"] == "error"] == []
    assert notebook.errors == []
    assert notebook.tab.outside == []
