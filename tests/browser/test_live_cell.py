"""`nb.live` in a real JupyterLab: one reply, several side by side, one that fails, one that is stopped."""

from __future__ import annotations

import threading
from collections import defaultdict

import pytest
from playwright.sync_api import expect

from bedrock_nb.errors import ThrottlingError
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, Metadata, ReasoningDelta, TextDelta
from bedrock_nb.server import BedrockServer, Latency
from tests.wire_server import LIMIT

SET_UP = """
import bedrock_nb as nb
client = nb.connect({url!r}, verbose=False)
"""
ONE = "reply = nb.live(nb.stream(client, 'one'))"
TWO = "replies = nb.live(nb.stream(client, 'left', model='small'), nb.stream(client, 'right', model='large'))"
FAILED = "nb.live(nb.stream(client, 'sound'), nb.stream(client, 'broken'))"
STOPPED = "kept = nb.live(nb.stream(client, 'stopped'))"
STILL_THERE = "print(nb.recordings[-1].status)"


class Stage:
    """A service whose answers wait at a gate of their name after their first words."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = defaultdict(threading.Event)
        self.server = BedrockServer(self._respond, latency=Latency.none()).start()

    def _respond(self, request):
        name = request.conversation[-1]["content"][0]["text"]
        yield MessageStart("assistant")
        yield ReasoningDelta(0, f"Thinking of {name}.")
        yield BlockStop(0)
        yield TextDelta(1, f"## Head of {name}\n\nBefore the gate")
        self.gates[name].wait(LIMIT)
        if name == "broken":
            raise ThrottlingError("ThrottlingException", "Too many tokens.", 429)
        yield TextDelta(1, ", after the gate.")
        yield BlockStop(1)
        yield MessageStop("end_turn")
        yield Metadata({"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}, 0)


@pytest.fixture(scope="module")
def stage():
    stage = Stage()
    yield stage
    for gate in stage.gates.values():
        gate.set()
    stage.server.close()


@pytest.fixture(scope="module")
def notebook(lab, stage, open_for_all):
    """A notebook of cells that show replies."""
    code = SET_UP.format(url=stage.server.endpoint_url)
    opened = open_for_all(lab.write("live.ipynb", code, ONE, TWO, FAILED, STOPPED, STILL_THERE))
    opened.run(0)
    return opened


def test_a_reply_grows_and_its_timing_stands_below_it(notebook, stage):
    """Text is on the page before the reply is whole; then it is there once, with a line of its timing."""
    notebook.begin(1)
    output = notebook.output(1)
    expect(output.get_by_role("heading", name="Head of one")).to_be_visible()
    expect(output).not_to_contain_text("TTFT")
    stage.gates["one"].set()
    expect(output).to_contain_text("after the gate")
    expect(output).to_contain_text("TTFT")
    notebook.ready()
    assert output.get_by_role("heading", name="Head of one").count() == 1
    saved = [
        out for out in notebook.save()["cells"][1]["outputs"] if out.get("metadata", {}).get("bedrock_nb")
    ]
    assert [out["metadata"]["bedrock_nb"]["status"] for out in saved] == ["complete"]
    assert notebook.errors == []


def test_two_replies_stand_side_by_side_and_below_each_other_where_it_is_narrow(notebook, stage):
    """Both grow at once, each under its own head; columns wrap when the page has no room for them."""
    notebook.begin(2)
    output = notebook.output(2)
    heads = [output.get_by_role("heading", name=f"Head of {name}") for name in ("left", "right")]
    for head in heads:
        expect(head).to_be_visible()
    stage.gates["right"].set()
    expect(output).to_contain_text("after the gate")
    stage.gates["left"].set()
    notebook.ready()
    for head in heads:
        expect(head).to_have_count(1)
    expect(output).to_contain_text("small")
    expect(output).to_contain_text("large")
    places = [head.bounding_box() for head in heads]
    assert places[0]["y"] == pytest.approx(places[1]["y"], abs=2)
    assert places[0]["x"] + 100 < places[1]["x"]
    notebook.tab.shot("live-columns")
    notebook.page.set_viewport_size({"width": 600, "height": 900})
    notebook.page.wait_for_function("() => true")
    places = [head.bounding_box() for head in heads]
    notebook.page.set_viewport_size({"width": 1280, "height": 900})
    assert places[0]["y"] + 20 < places[1]["y"]
    assert notebook.errors == []


def test_one_that_fails_is_a_card_and_the_other_goes_on(notebook, stage):
    """What went wrong stands in its column in words; the other reply is whole; the cell raises."""
    stage.gates["broken"].set()
    notebook.begin(3)
    output = notebook.output(3)
    expect(output).to_contain_text("Too many tokens.")
    stage.gates["sound"].set()
    expect(output).to_contain_text("after the gate")
    notebook.ready()
    assert [out["ename"] for out in notebook.outputs()[3] if out["output_type"] == "error"] == [
        "ThrottlingFault"
    ]
    notebook.tab.shot("live-failed")


def test_an_interrupt_keeps_what_came(notebook, stage):
    """An interrupt ends the reply at once; its text stays on the page, its recording in the kernel."""
    notebook.begin(4)
    output = notebook.output(4)
    expect(output).to_contain_text("Before the gate")
    notebook.command("notebook:interrupt-kernel")
    notebook.ready()
    expect(output).to_contain_text("KeyboardInterrupt")
    expect(output.get_by_role("heading", name="Head of stopped")).to_have_count(1)
    notebook.run(5)
    assert notebook.outputs()[5][0]["text"] == "cancelled\n"
