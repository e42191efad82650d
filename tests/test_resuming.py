"""resuming.py: an answer that broke off and is taken up again, on the wire and on the embedded server."""

from __future__ import annotations

import json

import pytest

import bedrock_nb as nb
from bedrock_nb.errors import IncompleteStreamError, RequestError, StreamError, ValidationError
from bedrock_nb.events import (
    BlockStop,
    Event,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    Seam,
    TextDelta,
    ToolUseStart,
)
from bedrock_nb.server import BedrockServer, Latency, canned, faults
from tests.wire_server import answer, frames_of, refusal

START = MessageStart("assistant")
USAGE = {"inputTokens": 1, "outputTokens": 3, "totalTokens": 4}
END: list[Event] = [MessageStop("end_turn"), Metadata(USAGE, 1)]
PROMPT = "Tell me about rainbows"


def broken(client, wire, events, **settings):
    """A reply of which these events came."""
    wire.lay(answer(frames_of([START, *events])))
    reply = nb.stream(client, "hi", **settings)
    with pytest.raises(IncompleteStreamError):
        reply.drain()
    return reply


def asked(wire, number):
    """The body of a request that reached the server."""
    return json.loads(wire.requests[number].partition(b"\r\n\r\n")[2])


# -- what is sent and how it is joined -------------------------------------------------------------

OPEN = [TextDelta(0, "Hello wor")]
WHITE = [TextDelta(0, "Hello "), TextDelta(0, " ")]
STOPPED = [TextDelta(0, "Hello"), BlockStop(0)]
THOUGHT = [ReasoningDelta(0, "Hm."), BlockStop(0), TextDelta(1, "Hel")]


@pytest.mark.parametrize(
    ("before", "sent", "then", "text"),
    [
        (OPEN, "Hello wor", [TextDelta(0, "ld"), BlockStop(0)], ["Hello world"]),
        (WHITE, "Hello", [TextDelta(0, "  you"), BlockStop(0)], ["Hello  you"]),
        (WHITE, "Hello", [TextDelta(0, "you"), BlockStop(0)], ["Hello  you"]),
        (STOPPED, "Hello", [TextDelta(0, " you"), BlockStop(0)], ["Hello", " you"]),
        (THOUGHT, "Hel", [TextDelta(0, "lo"), BlockStop(0)], ["Hello"]),
        (OPEN, "Hello wor", [ToolUseStart(0, "t", "f"), BlockStop(0)], ["Hello wor"]),
        (OPEN, "Hello wor", [], ["Hello wor"]),
    ],
)
def test_the_partial_text_goes_back_and_goes_on(wire, client, before, sent, then, text):
    """As the beginning of the assistant's turn, without white space at its end and what is not signed."""
    first = broken(client, wire, before)
    asks = any(isinstance(event, ToolUseStart) for event in then)
    end = [MessageStop("tool_use"), END[1]] if asks else END
    wire.lay(answer(frames_of([START, *then, *end])))
    reply = first.resume()
    assert reply.drain().status == "complete"
    assert asked(wire, 1)["messages"] == [
        {"role": "user", "content": [{"text": "hi"}]},
        {"role": "assistant", "content": [{"text": sent}]},
    ]
    assert [block.text for block in reply.message.content if hasattr(block, "citations")] == text
    assert reply.recording.request == first.recording.request
    assert [event for event in reply if isinstance(event, Seam)] == [
        Seam("continue", "IncompleteStreamError")
    ]
    assert nb.check(reply.recording) == []
    assert any("Token counts are those of the call that resumed" in each for each in reply.problems)


@pytest.mark.parametrize(
    "before",
    [[], [TextDelta(0, "  ")], [ReasoningDelta(0, "Hm")], [TextDelta(0, "a"), ToolUseStart(1, "t", "f")]],
    ids=["nothing", "blank", "reasoning", "tool"],
)
def test_what_is_not_all_text_begins_anew(wire, client, before):
    """The same request again; the first part stays in the recording and is no part of the message."""
    first = broken(client, wire, before)
    wire.lay(answer(frames_of([START, TextDelta(0, "Anew."), BlockStop(0), *END])))
    reply = first.resume()
    assert reply.text == "Anew."
    assert asked(wire, 1) == asked(wire, 0)
    assert list(reply)[: len(before) + 1] == [START, *before]
    assert [event.mode for event in reply if isinstance(event, Seam)] == ["restart"]
    wire.lay(answer(frames_of([START, *before])))
    with pytest.raises(RequestError, match="cannot be continued"):
        first.resume(how="continue")


def test_a_model_that_takes_no_prefill_is_asked_again(wire, client):
    """The service says so, and nothing was shown: no error."""
    first = broken(client, wire, OPEN)
    wire.lay(refusal(400, "ValidationException", "This model does not support assistant message prefill."))
    wire.lay(answer(frames_of([START, TextDelta(0, "Anew."), BlockStop(0), *END])))
    assert first.resume().text == "Anew."
    assert asked(wire, 2) == asked(wire, 0)


@pytest.mark.parametrize("background", [False, True])
def test_a_resumed_reply_may_break_off_again(wire, client, background):
    """It holds both parts and can be resumed itself; a refusal that is no question of prefill is raised."""
    first = broken(client, wire, OPEN)
    wire.lay(answer(frames_of([START, TextDelta(0, "ld, and")])))
    second = first.resume(background=background)
    with pytest.raises(IncompleteStreamError):
        second.drain()
    assert second.snapshot.text == "Hello world, and"
    wire.lay(refusal(429, "ThrottlingException", "Slow down."))
    with pytest.raises(StreamError) as caught:
        second.resume(background=background).drain()
    assert caught.value.reply is None or caught.value.reply.snapshot.text == "Hello world, and"
    assert nb.recordings[-1].text == "Hello world, and"
    wire.lay(answer(frames_of([START, TextDelta(0, " all."), BlockStop(0), *END])))
    third = second.resume()
    assert third.text == "Hello world, and all."
    assert [event.mode for event in third if isinstance(event, Seam)] == ["continue", "continue"]


def test_forced_to_continue_a_refusal_is_an_error(wire, client):
    """Who says how gets that or nothing."""
    first = broken(client, wire, OPEN)
    wire.lay(refusal(400, "ValidationException", "no prefill"))
    with pytest.raises(ValidationError):
        first.resume(how="continue")


def test_what_cannot_be_resumed_is_refused(wire, client):
    """A whole reply, one that streams, one whose request or client is not known, another way."""
    wire.lay(answer(frames_of([START, TextDelta(0, "a"), *END])))
    whole = nb.stream(client, "hi")
    with pytest.raises(RequestError, match="still streams"):
        whole.resume()
    whole.drain()
    with pytest.raises(RequestError, match="is whole"):
        whole.resume()
    odd = nb.Reply({"stream": [{"messageStart": {"role": "assistant"}}]})
    with pytest.raises(StreamError):
        odd.drain()
    with pytest.raises(RequestError, match="client is not known"):
        odd.resume()
    with pytest.raises(RequestError, match="an answer to is not known"):
        odd.resume(client)
    with pytest.raises(RequestError, match="how is 'again'"):
        broken(client, wire, OPEN).resume(how="again")


def test_what_had_finished_is_not_gone_on_with(wire, client):
    """A cut after messageStop costs token counts alone; asked again, only the new answer can be complete."""
    wire.lay(answer(frames_of([START, TextDelta(0, "Hi."), BlockStop(0), END[0]]), ending="reset"))
    first = nb.stream(client, "hi")
    with pytest.raises(StreamError, match="The message is whole"):
        first.drain()
    with pytest.raises(RequestError, match="had finished"):
        first.resume()
    wire.lay(answer(frames_of([START, TextDelta(0, "Hel")])))
    with pytest.raises(IncompleteStreamError):
        first.resume(how="restart").drain()


@pytest.mark.parametrize(
    "then",
    [
        [TextDelta(0, "\n"), TextDelta(0, "\n"), TextDelta(0, "World")],
        [TextDelta(0, ""), TextDelta(0, "\n\nWorld")],
        [TextDelta(0, "World")],
    ],
)
def test_white_space_at_the_seam_is_there_once(wire, client, then):
    """It was not sent back, and the model may write it again, in pieces."""
    first = broken(client, wire, [TextDelta(0, "Hello\n\n")])
    wire.lay(answer(frames_of([START, *then, BlockStop(0), *END])))
    assert first.resume().text == "Hello\n\nWorld"


def test_a_continuation_may_be_empty(wire, client):
    """Nothing but the stop of the block that was open."""
    first = broken(client, wire, OPEN)
    wire.lay(answer(frames_of([START, BlockStop(0), *END])))
    reply = first.resume().drain()
    assert (reply.text, nb.check(reply)) == ("Hello wor", [])


def test_a_reply_that_was_just_cancelled_can_be_resumed(wire, client):
    """At once, though another thread reads it."""
    for _ in range(20):
        wire.lay(answer(frames_of([START, *OPEN]), ending="silence"))
        reply = nb.stream(client, "hi", background=True)
        next(iter(reply.text_stream))
        reply.cancel()
        wire.lay(answer(frames_of([START, TextDelta(0, "ld"), BlockStop(0), *END])))
        assert reply.resume().text == "Hello world"


def test_masked_errors_stay_masked(wire, client):
    """A resumed reply says no more than the one before."""
    first = broken(client, wire, OPEN, errors="plain")
    wire.lay(refusal(429, "ThrottlingException", "Details."))
    with pytest.raises(StreamError) as caught:
        first.resume()
    assert "Details" not in str(caught.value)


def test_nothing_kept_is_nothing_to_resume(wire, client):
    """Its journal would do."""
    wire.lay(answer(frames_of([START, *OPEN])))
    reply = nb.stream(client, "hi", record=False)
    with pytest.raises(IncompleteStreamError):
        reply.drain()
    with pytest.raises(RequestError, match="record=False"):
        reply.resume()


# -- its numbers -----------------------------------------------------------------------------------


def test_times_go_on_and_no_gap_spans_the_seam(wire, client):
    """One clock, on which the pause between the calls does not count; no pace is measured over it."""
    first = broken(client, wire, [TextDelta(0, "a"), TextDelta(0, "b")], labels={"run": 1})
    wire.lay(answer(frames_of([START, TextDelta(0, "c"), TextDelta(0, "d"), BlockStop(0), *END])))
    reply = first.resume(labels={"try": 2}).drain()
    times = list(reply.recording.times)
    assert times == sorted(times)
    assert times[:3] == list(first.recording.times)[:3]
    seam = reply.recording.seams[0]
    assert times[seam] == first.recording.marks["closed"]
    table = nb.events(reply)
    assert table[table.type == "TextDelta"].gap_s.notna().tolist() == [False, True, False, True]
    numbers = reply.metrics
    assert (numbers["tpot_s"], numbers["output_tps"], numbers["output_tokens"]) == (None, None, 3)
    assert reply.recording.labels == {"run": 1, "try": 2}
    assert reply.envelope["resumed"] == first.envelope["request_id"]
    assert reply.recording.started == first.recording.started


@pytest.mark.parametrize("known", [True, False])
def test_own_time_and_late_reads_are_those_of_both_calls(wire, client, known):
    """Where they are known of both; else nothing is claimed of either."""
    first = broken(client, wire, OPEN)
    first.recording.late[first.recording.reads[0]] = 0.5
    first.recording.spent["client_s"] = 2.0
    if not known:
        del first.recording.spent["client_s"]
    wire.lay(answer(frames_of([START, TextDelta(0, "ld"), BlockStop(0), *END])))
    joined = first.resume().drain().recording
    assert joined.late.get(first.recording.reads[0]) == (0.5 if known else None)
    assert joined.spent.get("client_s", 0.0) >= (2.0 if known else 0.0)
    assert ("client_s" in joined.spent) == known


def test_a_resumed_recording_is_kept_and_performed_again(wire, client, tmp_path):
    """In a file with its seam; by the embedded server as the one answer that came of it."""
    first = broken(client, wire, OPEN)
    wire.lay(answer(frames_of([START, TextDelta(0, "ld"), BlockStop(0), *END])))
    reply = first.resume(journal=tmp_path / "joined.jsonl").drain()
    loaded = nb.Recording.load(reply.journal)
    assert list(loaded) == list(reply.recording)
    assert loaded.text == "Hello world"
    with BedrockServer(lambda request: loaded) as server:
        again = nb.stream(server.client(), "hi")
        assert again.text == "Hello world"
        assert again.problems == []


# -- on the embedded server ------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 2, 5, 40])
@pytest.mark.parametrize(
    ("model", "mode"),
    [("us.amazon.nova-lite-v1:0", "continue"), ("us.anthropic.claude-opus-4-6-v1:0", "restart")],
)
def test_the_answer_is_whole_in_the_end(after, model, mode):
    """However early it broke off and whatever the model takes, as if it never had."""
    with BedrockServer(latency=Latency.none(), faults=[faults.cut(after=after)]) as server:
        client = server.client()
        first = nb.stream(client, PROMPT, model=model)
        with pytest.raises(StreamError):
            first.drain()
        reply = first.resume()
        assert reply.text == canned(nb.Request(prompt=PROMPT)).text
        seam = next(event for event in reply if isinstance(event, Seam))
        assert seam.mode == (mode if after > 1 else "restart")


def test_after_a_crash_the_journal_is_enough(tmp_path):
    """The path of an interrupted file is all that another process needs."""
    with BedrockServer(latency=Latency.none()) as server:
        client = server.client()
        whole = nb.stream(client, PROMPT, journal=tmp_path / "whole.jsonl").drain()
        lines = whole.journal.read_bytes().splitlines(keepends=True)
        (tmp_path / "cut.jsonl").write_bytes(b"".join(lines[: len(lines) // 2]))
        reply = nb.resume(client, tmp_path / "cut.jsonl")
        assert reply.text == whole.text
        assert [event.reason for event in reply if isinstance(event, Seam)] == ["interrupted"]
