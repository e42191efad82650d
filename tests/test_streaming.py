"""streaming.py: what a call keeps of its reply besides events: a journal, an audit line, its problems."""

from __future__ import annotations

import json
import logging
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import bedrock_nb as nb
from bedrock_nb.errors import IncompleteStreamError, RecordingError, RequestError, ThrottlingError
from bedrock_nb.events import BlockStop, MessageStart, StreamFault, Unknown
from bedrock_nb.server import BedrockServer, Latency
from tests.wire_server import GOOD, GOOD_TEXT, answer, ask, frames_of, refusal

# -- the journal -----------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("durability", [None, "interval", "each"])
def test_a_journal_holds_what_the_recording_holds(wire, client, tmp_path, background, durability):
    """Request, envelope, marks, events, status: the same as a saved recording."""
    wire.lay(answer(GOOD))
    reply = nb.stream(
        client,
        "hi",
        journal=tmp_path / "reply.jsonl",
        durability=durability,
        background=background,
        labels={"run": 3},
    ).drain()
    loaded = nb.Recording.load(reply.journal)
    assert list(loaded) == list(reply.recording)
    assert loaded.status == reply.status == "complete"
    for name in ("request", "labels", "envelope", "clock", "problems"):
        assert getattr(loaded, name) == getattr(reply.recording, name)
    assert loaded.marks == pytest.approx(reply.recording.marks, abs=1e-6)
    assert stat.S_IMODE(reply.journal.stat().st_mode) == 0o600


def test_an_event_is_in_the_file_before_it_is_shown(wire, client, tmp_path):
    """Whoever is handed an event finds it in the file at once."""
    wire.lay(answer(GOOD))
    reply = nb.stream(client, "hi", journal=tmp_path)
    for number, _ in enumerate(e for e in reply if e in list(reply.recording)):
        lines = reply.journal.read_text("utf-8").splitlines()
        assert sum('"type"' in line for line in lines) >= number + 1


@pytest.mark.parametrize("laid", [answer(GOOD[:9]), refusal(429, "ThrottlingException", "Slow down.")])
def test_a_failure_is_in_the_journal(wire, client, tmp_path, laid):
    """The fault is its last event, and its end says the status."""
    wire.lay(laid)
    with pytest.raises((IncompleteStreamError, ThrottlingError)):
        nb.stream(client, "hi", journal=tmp_path).drain()
    (path,) = tmp_path.iterdir()
    loaded = nb.Recording.load(path)
    assert loaded.status == nb.recordings[-1].status
    assert isinstance(loaded.event(-1), StreamFault)
    assert type(loaded.error).__name__ in ("IncompleteStreamError", "ThrottlingError")


def test_a_stopped_reply_is_ended_in_its_journal(wire, client, tmp_path):
    """By cancel, and by nobody holding it."""
    for leave in (lambda reply: reply.cancel(), lambda reply: None):
        wire.lay(answer(GOOD[:9], ending="silence"))
        reply = nb.stream(client, "hi", journal=tmp_path)
        reply.next_event()
        leave(reply)
        del reply
    assert [nb.Recording.load(path).status for path in tmp_path.iterdir()] == ["cancelled"] * 2


def test_a_journal_that_cannot_be_opened_costs_nothing(wire, client, tmp_path):
    """Refused before anything is sent; a journal never overwrites one."""
    there = tmp_path / "there.jsonl"
    there.write_text("precious")
    for target in (there, there / "below" / "x.jsonl"):
        with pytest.raises(RecordingError):
            nb.stream(client, "hi", journal=target)
    assert not wire.requests
    assert there.read_text() == "precious"


def test_every_reply_of_the_process_may_have_a_journal(wire, client, watched, tmp_path, configured):
    """`configure` names the folder: for `stream`, for `Reply`, and for a watched loop of plain boto3."""
    configured(journal=tmp_path / "journals")
    wire.lay(*[answer(GOOD)] * 3)
    nb.stream(client, "hi").drain()
    nb.Reply(client.converse_stream(**ask())).drain()
    list(watched.converse_stream(**ask())["stream"])
    loaded = [nb.Recording.load(path) for path in (tmp_path / "journals").iterdir()]
    assert [recording.text for recording in loaded] == [GOOD_TEXT] * 3


def test_a_watched_loop_goes_on_without_its_journal(wire, watched, tmp_path, configured, recordings):
    """It never asked for one: the recording says that there is none."""
    (tmp_path / "file").write_text("")
    configured(journal=tmp_path / "file" / "below")
    wire.lay(answer(GOOD))
    assert len(list(watched.converse_stream(**ask())["stream"])) == len(GOOD)
    assert any("below" in problem or "journal" in problem for problem in recordings[-1].problems)


CHILD = """
import sys
import bedrock_nb as nb
client = nb.server.loopback_client(sys.argv[1])
reply = nb.stream(client, "Tell me about rainbows", journal=sys.argv[2])
seq = 0
for event in reply:
    print(type(event).__name__, getattr(event, "text", ""), sep="|", end="\\0", flush=True)
"""


@pytest.mark.parametrize("shown", [1, 40, 90])
def test_what_a_killed_process_had_shown_is_in_its_journal(tmp_path, shown):
    """kill -9 in mid-stream: not an event is lost, and the file is never taken for complete."""
    with BedrockServer(latency=Latency(ttft=0.01, per_token=0.001)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, server.endpoint_url, str(tmp_path)], stdout=subprocess.PIPE
        )
        out = b""
        while out.count(b"\0") < shown:
            piece = os.read(process.stdout.fileno(), 100)
            assert piece, "the reply ended too early"
            out += piece
        process.send_signal(signal.SIGKILL)
        out += process.communicate()[0]
    (path,) = tmp_path.iterdir()
    loaded = nb.Recording.load(path)
    assert loaded.status == "interrupted"
    seen = [line.split("|") for line in out.decode().split("\0")[:-1]]
    kept = [[type(event).__name__, getattr(event, "text", "")] for event in loaded]
    assert kept[: len(seen)] == seen


def test_no_credential_in_a_journal(wire, client, tmp_path):
    """Nothing of the request's signature, nothing of the response's other headers."""
    wire.lay(answer(GOOD))
    reply = nb.stream(client, "hi", journal=tmp_path).drain()
    assert b"Credential=" in wire.requests[0]
    text = reply.journal.read_text("utf-8")
    for secret in ("embedded-bedrock", "not-a-secret", "Credential", "Signature", "x-other", "dropped"):
        assert secret not in text


# -- the audit log ---------------------------------------------------------------------------------


def test_one_line_of_audit_for_each_call(wire, client, watched, caplog):
    """Streamed, watched, refused, never sent: time, model, outcome, tokens; no word of what was said."""
    caplog.set_level(logging.INFO, logger="bedrock_nb.audit")
    wire.lay(answer(GOOD), answer(GOOD), answer(GOOD[:9]), refusal(403, "AccessDeniedException", "No."))
    nb.stream(client, "my secret plan").drain()
    list(watched.converse_stream(**ask("my secret plan"))["stream"])
    for prompt in ("my secret plan", "my secret plan"):
        with pytest.raises(nb.BedrockNbError):
            nb.stream(client, prompt).drain()
    with pytest.raises(RequestError):
        nb.stream(client, [{"role": "user", "content": [{"text": 3}]}])
    lines = [json.loads(record.message) for record in caplog.records if record.name == "bedrock_nb.audit"]
    assert [line["status"] for line in lines] == ["complete", "complete", "incomplete", "error", "error"]
    assert [line["error"] for line in lines][2:] == [
        "IncompleteStreamError",
        "AccessDeniedError",
        "RequestError",
    ]
    assert lines[0]["output_tokens"] > 0
    assert "secret" not in caplog.text
    assert GOOD_TEXT[:20] not in caplog.text


# -- problems --------------------------------------------------------------------------------------


def test_problems_name_the_protocol_and_the_measurement(wire, client):
    """What is new is kept, and named; a sound reply has none."""
    odd = [MessageStart("assistant"), MessageStart("assistant"), Unknown("novelty", {"a": 1}), BlockStop(4)]
    wire.lay(answer(GOOD), answer([*frames_of(odd), *GOOD[1:]]))
    assert nb.stream(client, "hi").drain().problems == []
    reply = nb.stream(client, "hi").drain()
    assert reply.text == GOOD_TEXT
    rules = {problem.rule for problem in nb.check(reply.recording)}
    assert rules == {"start-twice", "unknown", "stop-of-nothing"}
    assert len(reply.problems) == 3


def test_a_broken_off_answer_goes_back_in_a_legal_form(wire, client):
    """`Request.after` takes a failed reply: the history says what came, and that the tool was not run."""
    wire.lay(answer(GOOD[:-4]))
    request = nb.Request(prompt="hi", tools=[TOOL])
    reply = request.stream(client)
    with pytest.raises(IncompleteStreamError):
        reply.drain()
    assert reply.snapshot.partial
    following = request.after(reply, "And now?")
    *_, answered, last = following.conversation
    (call,) = [block["toolUse"] for block in answered["content"] if "toolUse" in block]
    result = last["content"][0]["toolResult"]
    assert (result["toolUseId"], result["status"]) == (call["toolUseId"], "error")
    assert last["content"][-1] == {"text": "And now?"}
    with BedrockServer(latency=Latency.none()) as server:
        assert following.stream(server.client()).drain().status == "complete"


TOOL = {
    "toolSpec": {
        "name": "get_weather",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}


def test_the_child_of_the_test_is_the_lesson(tmp_path):
    """The script that is killed above runs to its end when nobody kills it."""
    with BedrockServer(latency=Latency.none()) as server:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, server.endpoint_url, str(tmp_path)], capture_output=True, check=True
        )
    assert done.stdout.count(b"\0") > 100
    (path,) = Path(tmp_path).iterdir()
    assert nb.Recording.load(path).status == "complete"


# -- a forgotten client ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "shown"),
    [
        (lambda: nb.stream("Hello"), "a str, .* nb.stream(nb.connect(), 'Hello')."),
        (lambda: nb.stream("Hello", temperature=9), "a str, .* nb.stream(nb.connect(), 'Hello')."),
        (lambda: nb.chat("Hello"), "a str, .* nb.chat(nb.connect(), 'Hello')."),
        (lambda: nb.resume("a.jsonl"), "a str, .* nb.resume(nb.connect(), 'a.jsonl')."),
        (
            lambda: nb.stream("arn:aws:bedrock:us-east-1:444455556666:imported-model/a", "Hello"),
            "a str, .* nb.stream(nb.connect(), 'Hello', model='arn:aws:bedrock:us-east-1:************:",
        ),
        (lambda: nb.chat(nb.models.nova_lite, "Hello"), "a str, .* model='us.amazon.nova-lite-v1:0')."),
        (lambda: nb.stream(None, "Hello"), "None, .* nb.stream(nb.connect(), …)."),
    ],
)
def test_a_forgotten_client_is_told_before_anything_else(call, shown):
    """What stands in its place, and how the same call is written with a client."""
    with pytest.raises(RequestError) as caught:
        call()
    what, example = shown.split(" .* ")
    assert str(caught.value).startswith(f"The first argument is {what}")
    assert "the client comes first" in str(caught.value)
    assert example in str(caught.value)
    assert "444455556666" not in str(caught.value)


def test_a_client_of_another_service_is_named():
    """A control-plane client looks much like the one that is wanted."""
    with BedrockServer(latency=Latency.none()) as server:
        other = server.client("bedrock")
        with pytest.raises(RequestError, match="a boto3 client of bedrock, which has no converse_stream"):
            nb.stream(other, "Hello")
        other.close()


@pytest.mark.parametrize(
    ("call", "said"), [(nb.chat, "There is no prompt"), (nb.resume, "There is nothing to resume")]
)
def test_a_call_with_a_client_alone_is_an_error_of_ours(wire, client, call, said):
    """The second argument is missing: said in words, and nothing is sent."""
    with pytest.raises(RequestError, match=said):
        call(client)
    assert wire.requests == []
