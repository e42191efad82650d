"""The second output of a panel: what is in it, and when a real kernel publishes it."""

from __future__ import annotations

import bedrock_nb as nb
from bedrock_nb.message import ReasoningBlock
from bedrock_nb.panel.transcript import BEGINNING, DRESSED, LONGEST, Transcript
from bedrock_nb.server import INSTANT, BedrockServer, faults
from tests.chatting import said, use
from tests.test_live import of, run, set_up


def test_it_says_everything(service):
    """Text, reasoning folded, tool calls and their results, how turns ended, a line for each."""

    @nb.tool
    def look(what: str) -> str:
        """Look at something."""
        return f"a {what} <script>alert(1)</script>"

    chat = service.chat(
        said(ReasoningBlock("Hm.", "s"), use("look", {"what": "cat"})), "**Cute**", tools=[look]
    )
    chat.send("What is there?")
    shown = Transcript(lambda _: "TTFT 1 ms <b>").bundle(chat.exchanges)
    html = shown["text/html"]
    assert html.startswith('<details class="mathjax_ignore"><summary>Transcript, 1 turn</summary>')
    assert "<script" not in html
    assert "<summary>Reasoning</summary>" in html
    for part in ("What is there?", "look", "a cat", "<strong>Cute</strong>", "TTFT 1 ms &lt;b&gt;"):
        assert part in html
    for part in ("Transcript, 1 turn", "What is there?", "Reasoning", "look: success", "TTFT 1 ms"):
        assert part in shown["text/plain"]


def test_a_turn_that_was_written_is_kept_as_long_as_it_is_the_same(service):
    """Another turn leaves those before it as they are; a rerun is written anew."""
    chat, transcript = service.chat("One.", "Two.", "Three."), Transcript()
    chat.send("First")
    first = transcript.bundle(chat.exchanges)["text/html"]
    chat.send("Second")
    both = transcript.bundle(chat.exchanges)
    assert both == Transcript().bundle(chat.exchanges)
    assert "One." in first
    assert "One." in both["text/html"]
    chat.rerun(turn=0).drain()
    again = transcript.bundle(chat.exchanges)["text/html"]
    assert "Three." in again
    assert "One." not in again
    noted = Transcript(lambda _: "a note").bundle(chat.exchanges)
    assert noted["text/html"].count("a note") == 1


def test_a_turn_that_is_over_is_noted_once(service):
    """A note costs a look at all recordings; again only if some are gone, or while the turn is on its way."""
    noted = []

    def note(exchange):
        noted.append(exchange.prompt.text)
        return f"{exchange.status}, {len(exchange.recordings)} calls"

    chat, transcript = service.chat("One.", "Two."), Transcript(note)
    chat.send("First")
    turn = chat.stream("Second")
    for _ in range(2):
        assert "streaming, 1 calls" in transcript.bundle(chat.exchanges)["text/html"]
    assert noted == ["First", "Second", "Second"]
    turn.drain()
    for _ in range(2):
        assert transcript.bundle(chat.exchanges)["text/html"].count("complete, 1 calls") == 2
    assert noted == ["First", "Second", "Second", "Second"]
    chat.exchanges[0].recordings.clear()
    assert "complete, 0 calls" in transcript.bundle(chat.exchanges)["text/html"]
    assert noted[4:] == ["First"]


def test_a_long_turn_stands_there_as_plain_text(service):
    """All of it; JupyterLab would take long to read so many headings and formulas at each update."""
    text = "# Title\n\nSome *words* and $x$.\n\n" * (DRESSED // 30)
    chat = service.chat(text)
    chat.send("Talk")
    shown = Transcript(lambda _: "a note").bundle(chat.exchanges)
    assert shown["text/html"].count("# Title") == shown["text/plain"].count("# Title") == text.count("#")
    assert shown["text/html"].count("<") < 30
    assert "a note" in shown["text/html"]


def test_of_a_very_long_turn_the_beginning_stays(service):
    """The page would be held up by more; where the whole is, is said."""
    chat = service.chat("word " * (LONGEST // 5 + 1))
    chat.send("Talk")
    for form in Transcript(lambda _: "a note").bundle(chat.exchanges).values():
        assert BEGINNING < len(form) < 2 * BEGINNING
        assert "panel.export" in form
        assert "a note" in form


def transcripts(messages):
    """The summaries of the transcripts among the outputs and their updates."""
    shown = [*of("display_data", messages), *of("update_display_data", messages)]
    htmls = [content["data"].get("text/html", "") for content in shown]
    return [html.split("</summary>")[0].rpartition(">")[2] for html in htmls if html]


def test_a_kernel_shows_the_panel_and_below_it_the_transcript(kernel):
    """First the widget, then the transcript, which is updated once for each turn, and at an undo."""
    _, client = kernel
    with BedrockServer(latency=INSTANT) as server:
        run(client, set_up(server.endpoint_url))
        messages = run(client, "panel = nb.ChatPanel(client)\npanel")
        widget, transcript = of("display_data", messages)
        assert widget["data"].keys() == {"text/plain", "application/vnd.jupyter.widget-view+json"}
        assert widget["data"]["text/plain"] == "A chat panel, to be used while its kernel runs."
        assert transcript["transient"]["display_id"]
        assert transcripts(messages) == ["Transcript, 0 turns"]
        for code, shown in {
            "panel.ask('Count to 3')": "Transcript, 1 turn",
            "panel.conversation.stream('Count to 4')": "Transcript, 2 turns",
            "panel.undo()": "Transcript, 1 turn",
        }.items():
            messages = run(client, f"_ = {code}; panel.wait()")
            assert transcripts(messages) == [shown]
            (update,) = of("update_display_data", messages)
            assert update["transient"] == transcript["transient"]
        (result,) = of("execute_result", messages)
        assert result["data"]["text/plain"] == "True"


def test_an_interrupt_stops_what_a_cell_waits_for(kernel):
    """The turn is over, what came is kept, and no thread is left."""
    manager, client = kernel
    with BedrockServer(latency=INSTANT) as server, server.fault(faults.no_head()):
        run(client, set_up(server.endpoint_url) + "\npanel = nb.ChatPanel(client)")
        told = []

        def interrupt(message):
            if message["msg_type"] == "comm_msg" and "Anybody?" in str(message["content"]) and not told:
                told.append(message)
                manager.interrupt_kernel()

        messages = run(client, "panel.ask('Anybody?', wait=True)", on_message=interrupt)
        assert [error["ename"] for error in of("error", messages)] == ["KeyboardInterrupt"]
        messages = run(
            client,
            "import threading\npanel.wait(5)\n"
            "panel.conversation.exchanges[0].status, panel.busy, "
            "[t.name for t in threading.enumerate() if t.name.startswith('bedrock_nb.panel')]",
        )
        (result,) = of("execute_result", messages)
        assert result["data"]["text/plain"] == "('cancelled', False, [])"
