"""live() in real kernels and in terminals: what is painted, what is kept, what an interrupt leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import nbformat
import pytest
from nbclient import NotebookClient

import bedrock_nb as nb
from bedrock_nb.errors import IncompleteStreamError, RequestError
from bedrock_nb.events import MessageStart, MessageStop, ReasoningDelta, TextDelta
from bedrock_nb.live.lane import heads
from bedrock_nb.recording import Recording
from bedrock_nb.server import INSTANT, BedrockServer, faults
from tests.chatting import said, use

#: The line of a reply's times, its words and its bars.
TIMES = re.compile(r"TTFT [\d,.]+ m?s · [^<\n]* m?s [▁▂▃▄▅▆▇█]+")
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


@pytest.fixture(scope="module")
def client(endpoint):
    """A client of it in this process."""
    return nb.connect(endpoint, verbose=False)


def thinks(request):
    """A responder that thinks before it answers, and once more in between."""
    recording = Recording(clock="schedule")
    for event in (
        MessageStart("assistant"),
        ReasoningDelta(0, "Let me "),
        ReasoningDelta(0, "think."),
        TextDelta(1, "Rome"),
        ReasoningDelta(2, "Sure?"),
        TextDelta(3, ", yes."),
        MessageStop("end_turn"),
    ):
        recording.append(event, 0.0)
    return recording


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


def pieces_from(terminal: int):
    """What was written to the other end of a terminal, which is closed."""
    with contextlib.suppress(OSError), os.fdopen(terminal, "rb", buffering=0) as end:  # EIO is its end
        while piece := end.read(4096):
            yield piece


def set_up(url: str) -> str:
    return f"import bedrock_nb as nb\nclient = nb.connect({url!r}, verbose=False)"


def of(kind: str, messages: list[dict]) -> list[dict]:
    return [message["content"] for message in messages if message["msg_type"] == kind]


def printed(messages: list[dict]) -> str:
    """What was printed: a kernel may send one line in several messages."""
    return "".join(content["text"] for content in of("stream", messages))


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
    assert printed(run(client, "print(reply.recording.spent['display_s'] > 0)")) == "True\n"


def test_what_was_painted_last_is_what_is_saved(endpoint):
    """A saved notebook holds an empty output and the final rendering; on a rerun only its times differ."""
    show = "_ = nb.live(nb.stream(client, 'Tell me about rainbows'))"
    cells = [nbformat.v4.new_code_cell(code) for code in (set_up(endpoint), show, show)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=60).execute()
    nbformat.validate(notebook)
    saved = []
    for cell in notebook.cells[1:]:
        blank, final = cell.outputs
        told = final.metadata["bedrock_nb"]
        assert TIMES.search(final.data["text/plain"])[0].startswith(told["words"])
        saved.append([blank.data, {kind: TIMES.sub("times", text) for kind, text in final.data.items()}])
    assert saved[0] == saved[1]
    assert saved[0][0] == {"text/html": "", "text/plain": ""}
    assert "<strong>" in saved[0][1]["text/html"]
    assert saved[0][1]["text/html"].endswith(">times</p>")
    assert saved[0][1]["text/plain"].endswith("\ntimes")
    assert (told["model"], told["status"]) == ("us.amazon.nova-lite-v1:0", "complete")
    assert told["chunks"] == sum(told["arrivals"])


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
        assert printed(after) == "cancelled word0 \n"


def test_hostile_text_is_shown_and_never_run(kernel):
    """HTML and images in an answer reach the page as text and as a link; times only where they are wanted."""
    _, client = kernel

    def hostile(request):
        recording = Recording(clock="schedule")
        for event in (MessageStart("assistant"), TextDelta(0, HOSTILE)):
            recording.append(event, 0.0)
        return recording

    with BedrockServer(hostile, latency=INSTANT) as server:
        run(client, set_up(server.endpoint_url))
        messages = run(client, "nb.live(nb.stream(client, 'x'), timing=False)")
    html = "".join(
        content["data"].get("text/html", "")
        for kind in ("display_data", "update_display_data")
        for content in of(kind, messages)
    )
    assert "<script" not in html
    assert "<img" not in html
    assert "<strong>bold</strong>" in html
    assert "The answer broke off" in html
    assert not TIMES.search(html)
    told = of("display_data", messages)[-1]["metadata"]["bedrock_nb"]
    assert told == {"model": "us.amazon.nova-lite-v1:0", "status": "incomplete"}


def test_a_failed_reply_is_shown_and_then_raised():
    """Outside a notebook too, the text stays on the screen, with what to do; the error is the caller's."""
    with BedrockServer(words(3), latency=INSTANT) as server:
        out = io.StringIO()
        with contextlib.redirect_stdout(out), pytest.raises(IncompleteStreamError) as caught:
            nb.live(nb.stream(server.client(), "x"))
    text, told, times = out.getvalue().partition("\n\n")[0], *out.getvalue().rstrip().rsplit("\n", 1)
    assert text == "word0 word1 word2 "
    assert "\n[error] The answer broke off\n" in told
    kept = caught.value.kept.removeprefix("What came is kept: ")  # so much says the name of the line
    assert all(part in told for part in (caught.value.what, f"\nKept: {kept}\n", caught.value.remedy))
    assert TIMES.fullmatch(times)


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
    *_, times, last = out.splitlines()
    assert TIMES.fullmatch(times)
    assert last == "complete"


@pytest.mark.parametrize("kind", ["conversation", "message"])
def test_a_conversation_is_shown_turn_by_turn(service, kind):
    """Who gives the whole conversation, or an answer, is told what to give."""
    chat = service.chat()
    with pytest.raises(RequestError, match=r"Write nb\.live\(chat\.stream\('…'\)\)"):
        nb.live(chat if kind == "conversation" else chat.send("Hello"))


@pytest.mark.parametrize("wrong", ["text", None, [], {"stream": []}], ids=json.dumps)
def test_something_else_than_a_reply_is_refused(wrong):
    """The error says what to write instead."""
    with pytest.raises(RequestError, match=r"nb\.live\(nb\.stream"):
        nb.live(wrong)


def test_a_cancelled_reply_is_not_shown_as_a_whole_one():
    """In a terminal a word says so, as the card in a notebook."""
    with BedrockServer(faults=[faults.stall(after=5)], latency=INSTANT) as server:
        reply = nb.stream(server.client(), "Count from 1 to 20")
        next(reply.text_stream)
        reply.cancel()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert nb.live(reply, timing=False) is reply
    assert out.getvalue().endswith("\nThis reply is not whole: cancelled.\n")


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
    assert second.splitlines()[0] == whole.text


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
    assert out.getvalue().startswith("a\nb\N{GRINNING FACE}c\n\n")


def test_thinking_is_told_apart_in_a_file():
    """Each stretch of reasoning stands under its title, what is visible beside it, and nothing is dimmed."""
    out = io.StringIO()
    with BedrockServer(thinks, latency=INSTANT) as server, contextlib.redirect_stdout(out):
        nb.live(nb.stream(server.client(), "x"), timing=False)
    assert out.getvalue() == "[Reasoning]\nLet me think.\n\nRome\n\n[Reasoning]\nSure?\n\n, yes.\n"


def test_thinking_and_times_are_dimmed_in_a_terminal():
    """In plain IPython there is no kernel either; text itself is never dimmed."""
    ours, theirs = pty.openpty()
    with BedrockServer(thinks, latency=INSTANT) as server:
        code = f"{set_up(server.endpoint_url)}\n_ = nb.live(nb.stream(client, 'x'))"
        environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        subprocess.run(
            [sys.executable, "-m", "IPython", "--no-banner", "--quick", "-c", code],
            stdout=theirs,
            check=True,
            env={**environment, "TERM": "xterm"},
        )
    os.close(theirs)
    told = b"".join(pieces_from(ours)).decode().replace("\r\n", "\n")
    dim = re.findall("\x1b\\[2m(.*?)\x1b\\[22m", told, re.DOTALL)
    assert dim[:2] == ["[Reasoning]\nLet me think.", "[Reasoning]\nSure?"]
    assert TIMES.fullmatch(dim[2])
    assert re.sub("\x1b\\[2m.*?\x1b\\[22m", "", told, flags=re.DOTALL).split() == ["Rome", ",", "yes."]


def test_a_terminal_without_unicode_gets_words(client):
    """What its encoding lacks is left out of the line of times, and is a question mark in an answer."""
    written = io.BytesIO()
    with (
        io.TextIOWrapper(written, encoding="ascii", write_through=True) as out,
        contextlib.redirect_stdout(out),
    ):
        nb.live(nb.stream(client, "Tell me about rainbows"))
        text = written.getvalue().decode("ascii")
    assert re.search(r"\nTTFT \d+ ms, \d+ chunks, \d+ tokens,[^\n]* m?s\n$", text)


def test_a_program_without_a_console_reads_in_silence(client):
    """It has no stream to print to; the reply is read all the same."""
    with contextlib.redirect_stdout(None):
        reply = nb.live(nb.stream(client, "hello"))
    assert reply.status == "complete"


def test_columns_go_on_when_one_fails(kernel, endpoint):
    """Each reply has its head, its card and its times; the first error is raised when all have ended."""
    _, client = kernel
    run(client, set_up(endpoint))
    messages = run(
        client,
        "model = 'us.amazon.nova-lite-v1:0'\n"
        "racers = {'<b>first</b>': '@end:after=2', 'second': '', 'third': '@end:after=3'}\n"
        "nb.live(*(nb.stream(client, 'hello', model=model + fault, labels={'racer': name}, background=True)"
        " for name, fault in racers.items()))",
    )
    (error,) = of("error", messages)
    final = of("display_data", messages)[-1]
    told = final["metadata"]["bedrock_nb"]["replies"]
    assert [(one["head"], one["status"]) for one in told] == [
        ("<b>first</b>", "incomplete"),
        ("second", "complete"),
        ("third", "incomplete"),
    ]
    html, text = final["data"]["text/html"], final["data"]["text/plain"]
    assert "&lt;b&gt;first&lt;/b&gt;" in html
    assert html.count("The answer broke off") == text.count("[error] The answer broke off") == 2
    assert len(TIMES.findall(html)) == len(TIMES.findall(text)) == 3
    assert text.index("--- second ---\nHello!") < text.index("--- third ---")
    assert "third failed, too: " in "\n".join(error["traceback"])
    assert of("update_display_data", messages)[-1]["data"] == {"text/html": "", "text/plain": ""}


def test_an_interrupt_cancels_all_columns(kernel):
    """What came of each stays on the screen, and nothing goes on."""
    manager, client = kernel
    with BedrockServer(words(1_000, every=0.05), latency=INSTANT) as server:
        run(client, set_up(server.endpoint_url))

        def interrupt(message):
            html = message["content"].get("data", {}).get("text/html", "")
            if html.count("word0 ") == 2 and not interrupted:
                interrupted.append(True)
                manager.interrupt_kernel()

        interrupted: list[bool] = []
        code = "replies = [nb.stream(client, 'x') for _ in range(2)]\nnb.live(*replies)"
        messages = run(client, code, on_message=interrupt)
        (error,) = of("error", messages)
        assert error["ename"] == "KeyboardInterrupt"
        assert "All were cancelled" in "\n".join(error["traceback"])
        assert of("display_data", messages)[-1]["data"]["text/plain"].count("not whole: cancelled") == 2
        after = run(client, "print([reply.status for reply in replies])")
        assert printed(after) == "['cancelled', 'cancelled']\n"


#: Interrupts its own kernel at that message of the cell: it is blank, then it is shown, then it is blanked.
HOOKED = """
import signal, threading
from IPython import get_ipython
published = get_ipython().display_pub
count, at = 0, {at}
def hook(message):
    global count
    count += 1
    if count in at:
        signal.raise_signal(signal.SIGINT)
    return message
replies = [nb.stream(client, 'x', background=True) for _ in range({several})]
published.register_hook(hook)
try:
    nb.live(*replies)
finally:
    published.unregister_hook(hook)
"""


@pytest.mark.parametrize("several", [1, 2])
@pytest.mark.parametrize(
    ("at", "status"), [([1], "cancelled"), ([1, 2], "cancelled"), ([2], "complete"), ([3], "complete")]
)
def test_an_interrupt_leaves_no_thread_whenever_it_comes(kernel, at, status, several):
    """While the cell opens, while it closes, or twice: nothing paints, reads or waits any longer."""
    _, client = kernel
    fault = [faults.stall(after=3)] * several if status == "cancelled" else []
    with BedrockServer(latency=INSTANT, faults=fault) as server:
        run(client, set_up(server.endpoint_url))
        messages = run(client, HOOKED.format(at=at, several=several))
        assert of("error", messages)[0]["ename"] == "KeyboardInterrupt"
        after = run(
            client,
            "mine = [t for t in threading.enumerate() if t.name.startswith('bedrock_nb')]\n"
            "for thread in mine:\n    thread.join(10)\n"
            "print({reply.status for reply in replies}, [t.name for t in mine if t.is_alive()])",
        )
    assert printed(after) == f"{ {status} } []\n"


def test_several_are_printed_one_after_the_other(client):
    """All are read meanwhile; whatever fails is told where it stands, and raised at the end."""
    model, out = "us.amazon.nova-lite-v1:0", io.StringIO()
    names = ["@end:after=2", "", "@end:after=3"]
    replies = [nb.stream(client, "hello", model=model + name) for name in names]
    with contextlib.redirect_stdout(out), pytest.raises(IncompleteStreamError) as caught:
        nb.live(*replies)
    assert caught.value.reply is replies[0]
    assert [note.partition(" failed")[0] for note in caught.value.__notes__] == [f"{model}@end:after=3"]
    parts = re.split("^--- (.*) ---\n", out.getvalue(), flags=re.MULTILINE)
    assert parts[1::2] == [model + name for name in names]
    assert [bool(re.search(r"^\[error\]", part, re.MULTILINE)) for part in parts[2::2]] == [True, False, True]
    assert parts[4].startswith(replies[1].text)
    assert all(TIMES.fullmatch(part.rstrip().splitlines()[-1]) for part in parts[2::2])


def test_several_that_are_whole_are_returned(client):
    """They come back as a tuple, also those that were read before."""
    replies = [nb.stream(client, "hello").drain() for _ in range(6)]
    with contextlib.redirect_stdout(io.StringIO()):
        assert nb.live(*replies) == tuple(replies)
    with pytest.raises(RequestError, match="up to 6 replies"):
        nb.live(*replies, replies[0])
    with pytest.raises(RequestError, match=r"nb\.live\(\*replies\)"):
        nb.live(replies)


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ([{}, {}], ["m (1)", "m (2)"]),
        ([{"temperature": 0}, {"temperature": 1}], ["m, temperature 0", "m, temperature 1"]),
        ([{"racer": "a", "x": 1}, {"round": 1, "at_s": 0.1}], ["a", "m"]),
    ],
)
def test_heads_tell_replies_apart(client, labels, names):
    """By who runs in a race, by labels of the user's own, and by numbers where nothing else does."""
    account = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
    replies = [nb.stream(client, "hello", model=account, labels=each).drain() for each in labels]
    shown = account.replace("123456789012", "*" * 12)
    assert [head.replace(shown, "m") for head in heads(replies)] == names


def test_what_is_told_to_programs_can_be_sent(client):
    """Half of a surrogate pair in a label, which no message could hold, is replaced."""
    reply = nb.stream(client, "hello", labels={"name": "\ud800"}).drain()
    assert heads([reply])[0].endswith("name \ufffd")


def test_a_bar_is_text_below_its_cell_and_then_gone(kernel):
    """A notebook's bar is no widget, which a saved notebook could not show; at its end it leaves nothing."""
    _, client = kernel
    said = "from bedrock_nb.folder.progress import opened\nwith opened(total=2) as bar:\n    bar.update(2)"
    messages = run(client, f"{said}\n    bar.refresh()")
    shown = [one["data"] for kind in ("display_data", "update_display_data") for one in of(kind, messages)]
    assert any("2/2" in data["text/plain"] for data in shown)
    assert all(set(data) == {"text/plain"} for data in shown)
    assert shown[-1] == {"text/plain": ""}
    assert not printed(messages)
