"""The hooks on a real boto3 client: what they time, what they record, and what they leave as it was."""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import threading
import warnings
from typing import Any

import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError, ParamValidationError

import bedrock_nb as nb
from bedrock_nb import tap
from bedrock_nb.body import TappedBody
from bedrock_nb.connection import Serving
from bedrock_nb.errors import PayloadError, RequestError, ThrottlingFault, service_fault
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, StreamFault, TextDelta
from bedrock_nb.eventstream import Frame, encode
from bedrock_nb.server import BedrockServer, Latency, loopback_client
from tests.wire_server import FRAMINGS, GOOD, GOOD_TEXT, LIMIT, WireServer, answer, ask, frames_of, refusal


def loop(client) -> list[dict]:
    """Every dict that boto3 yields."""
    with contextlib.closing(client.converse_stream(**ask())["stream"]) as stream:
        return list(stream)


# -- what the course code sees ---------------------------------------------------------------------


def test_the_loop_of_the_tutorials_runs_unchanged(capsys):
    """On a client from connect(), the loop that every tutorial has prints the answer."""
    with BedrockServer(latency=Latency.none()) as server:
        client = nb.connect(server.endpoint_url, verbose=False)
        response = client.converse_stream(
            modelId="us.amazon.nova-lite-v1:0",
            messages=[{"role": "user", "content": [{"text": "Count from 1 to 5"}]}],
        )
        for event in response["stream"]:
            if "contentBlockDelta" in event:
                print(event["contentBlockDelta"]["delta"]["text"], end="")
        client.close()
    assert capsys.readouterr().out == "1, 2, 3, 4, 5."


@pytest.mark.parametrize("framing", FRAMINGS)
def test_watching_changes_nothing_and_records_everything(wire, plain, client, watched, recordings, framing):
    """The dicts are those of plain boto3; the recording holds what `stream` gives for the same bytes."""
    wire.lay(*[answer(GOOD, framing)] * 3)
    assert loop(watched) == loop(plain)
    reply = nb.stream(client, "hi", model="m").drain()
    seen, streamed = recordings
    assert streamed is reply.recording
    assert list(seen) == list(streamed)
    assert (seen.status, seen.clock, seen.text) == ("complete", "wire", GOOD_TEXT)
    assert (seen.request, seen.envelope) == (streamed.request, streamed.envelope)
    assert seen.sizes == streamed.sizes
    assert list(seen.marks) == ["sent", "connecting", "resolved", "connected", "headers", "closed"]
    assert list(streamed.marks) == list(seen.marks)


def test_a_recording_grows_while_the_loop_runs(wire, watched, recordings):
    """What the loop has been given is in the recording already."""
    gate = threading.Event()
    wire.lay(answer(GOOD, gates={8: gate}))
    for number, event in enumerate(watched.converse_stream(**ask())["stream"], 1):
        (recording,) = recordings
        assert len(recording) >= number
        if number == 8:
            assert event["contentBlockDelta"]["delta"] == {"text": "Hello"}
            assert (len(recording), recording.status) == (8, "streaming")
            gate.set()
    assert recording.status == "complete"


@pytest.mark.parametrize("how", ["close", "drop"])
def test_a_loop_that_breaks_off_leaves_a_cancelled_recording(wire, watched, recordings, how):
    """Closed or forgotten: what came is kept, the connection is gone."""
    wire.lay(answer(GOOD[:12], ending="silence"))
    stream = watched.converse_stream(**ask())["stream"]
    for event in stream:
        if "contentBlockDelta" in event:
            break
    assert recordings[-1].status == "streaming"  # boto3 would go on where it stopped
    if how == "close":
        stream.close()
    else:
        del stream, event
        with warnings.catch_warnings():  # botocore's stream is in a cycle: Python finds a socket not closed
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
    assert recordings[-1].status == "cancelled"
    assert "closed" in recordings[-1].marks
    assert wire.wait_until_open(0)


def test_an_exception_frame_is_botocores_error_to_the_loop_and_a_fault_in_the_recording(
    wire, plain, watched, recordings
):
    """The user's except clauses see what they always saw."""
    fault = StreamFault(service_fault("throttlingException", "Slow down."))
    wire.lay(*[answer([*GOOD[:9], *frames_of([fault])])] * 2)
    said = []
    for client in (plain, watched):
        with pytest.raises(EventStreamError) as caught:
            loop(client)
        said.append((type(caught.value), str(caught.value), caught.value.response))
    assert said[0] == said[1]
    (recording,) = recordings
    assert recording.status == "error"
    assert isinstance(recording.error, ThrottlingFault)
    assert len(recording) == 10


@pytest.mark.parametrize("framing", ["event", "length", "close"])
@pytest.mark.parametrize("ending", ["clean", "fin", "reset", "silence"])
@pytest.mark.parametrize("cut", [0, 9])
def test_a_loop_that_fails_fails_as_without_watching(wire, wire_clients, recordings, framing, ending, cut):
    """The same events, then the same class of error or none; the recording says that it is not whole."""
    short = {name: wire_clients(name, read_timeout=0.2) for name in ("short", "short and watched")}
    nb.watch(short["short and watched"])
    seen = []
    for client in short.values():
        wire.lay(answer(GOOD[:9], framing, ending, cut=cut))
        dicts, error = [], None
        with contextlib.closing(client.converse_stream(**ask())["stream"]) as stream:
            try:
                for event in stream:
                    dicts.append(event)
            except Exception as err:
                error = err
        seen.append((dicts, type(error)))
        client.close()
    # Without chunks, botocore holds back what came and drops it on an error; watched, it does not.
    assert seen[0][1] == seen[1][1]
    assert seen[0][0] == seen[1][0][: len(seen[0][0])]
    (recording,) = recordings
    assert recording.status == "incomplete"


def test_the_loop_goes_on_where_only_our_decoder_gives_up(wire, plain, watched, recordings):
    """What boto3 makes of an odd payload is its own affair: the loop gets all that it gets without us."""
    odd = encode(Frame({":message-type": "event", ":event-type": "messageStart"}, b'{"role": 3}'))
    wire.lay(*[answer([odd, *GOOD[1:]])] * 2)
    dicts = loop(plain)
    assert len(dicts) == 30
    assert loop(watched) == dicts
    (recording,) = recordings
    assert recording.status == "error"
    assert isinstance(recording.error, PayloadError)


def test_other_operations_are_not_touched(recordings):
    """The plain call of a watched client gives the same as ever and leaves no recording."""
    with BedrockServer(latency=Latency.none()) as server:
        client, seen = server.client(), nb.watch(server.client())
        answers = [one.converse(**ask("Count from 1 to 3"))["output"] for one in (client, seen)]
        client.close()
        seen.close()
    assert answers[0] == answers[1]
    assert len(recordings) == 0


# -- calls -----------------------------------------------------------------------------------------


def test_the_clock_starts_with_the_call_and_sits_at_the_socket():
    """Begin, send, head, each network read, close: in this order, what came in one read at one time."""
    ticks = itertools.count(100.0)
    frames = frames_of([MessageStart("assistant"), TextDelta(0, "a"), BlockStop(0), MessageStop("end_turn")])
    server = WireServer()
    gates = {i: threading.Event() for i in (1, 3, 4)}
    server.lay(answer(frames, gates=gates))
    client = loopback_client(server.url)
    tap.install(client, clock=lambda: next(ticks))
    reply = nb.Reply(client.converse_stream(**ask()))
    setup = {"connecting": 2.0, "resolved": 3.0, "connected": 4.0}
    assert reply.recording.marks == {"sent": 1.0, **setup, "headers": 6.0}  # 5: the connection saw its head
    for expected, gate in zip([1, 3, 4], gates.values(), strict=True):
        while len(reply.recording) < expected:
            reply.next_event()
        gate.set()
    reply.drain()
    client.close()
    server.close()
    first, second, third, last = reply.recording.times
    assert 6.0 <= first < second == third < last
    assert [n - reply.recording.reads[0] for n in reply.recording.reads] == [0, 1, 1, 2]
    assert reply.recording.marks["closed"] > reply.recording.times[-1]


def test_the_hooks_are_put_on_once(wire, client):
    """Installing again is harmless: there is one recording, and one tap on the bytes."""
    for _ in range(3):
        tap.install(client)
    wire.lay(answer(GOOD))
    response = client.converse_stream(**ask())
    assert not isinstance(tap.tapped(response["stream"]).raw, TappedBody)
    assert nb.Reply(response).text == GOOD_TEXT


def test_many_threads_may_install_at_once(wire):
    """The hooks are there once even if threads race for a new client."""
    client = loopback_client(wire.url)
    barrier = threading.Barrier(8)

    def install() -> None:
        barrier.wait(LIMIT)
        tap.install(client)

    threads = [threading.Thread(target=install) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wire.lay(answer(GOOD))
    reply = nb.Reply(client.converse_stream(**ask()))
    assert reply.text == GOOD_TEXT
    client.close()


def test_attempts_that_were_repeated_are_in_the_envelope(wire):
    """boto3 tries again by itself: the time of that is in every time, and the count in the envelope."""
    client = loopback_client(wire.url, config=Config(retries={"mode": "standard", "total_max_attempts": 2}))
    wire.lay(refusal(503, "ServiceUnavailableException", "Later."), answer(GOOD))
    reply = nb.stream(client, "hi", model="m").drain()
    client.close()
    assert (reply.envelope["retries"], reply.envelope["http_status"]) == (1, 200)
    assert list(reply.recording.marks) == ["sent 1", "sent", "headers", "closed"]  # the last one's was open
    assert reply.recording.marks["sent"] <= reply.recording.marks["headers"] <= reply.recording.times[0]
    assert len(wire.requests) == 2


def test_the_envelope_keeps_only_headers_from_a_list(wire, client):
    """Ids, date and Bedrock's own; another header might hold a secret."""
    wire.lay(answer(GOOD))
    envelope = nb.stream(client, "hi", model="m").drain().envelope
    assert envelope["request_id"] == "7d0f5a90-0000-4000-8000-000000000000"
    assert envelope["headers"] == {
        "content-type": "application/vnd.amazon.eventstream",
        "date": "Sat, 01 Nov 2025 10:00:00 GMT",
        "transfer-encoding": "chunked",
        "x-amzn-bedrock-kept": "yes",
    }


def test_a_recording_holds_the_request_as_it_was_sent(wire, watched, recordings):
    """Tutorials append the answer to the very list that they sent."""
    wire.lay(answer(GOOD))
    request = ask("first")
    response = watched.converse_stream(**request)
    request["messages"].append({"role": "assistant", "content": []})
    list(response["stream"])
    assert recordings[-1].request == ask("first")


@pytest.mark.parametrize("how", ["refused", "invalid", "done"])
def test_a_call_leaves_nothing_behind_for_the_next_reply(wire, client, how):
    """A Reply of somebody else's response never takes the request of an earlier call for its own."""
    tap.install(client)
    wire.lay(answer(GOOD) if how == "done" else refusal(400, "ValidationException", "No."))
    if how == "refused":
        with pytest.raises(ClientError):
            client.converse_stream(**ask())
    elif how == "invalid":
        with pytest.raises(ParamValidationError):
            client.converse_stream(modelId="m", messages=3)
    else:
        nb.Reply(client.converse_stream(**ask())).drain()
    reply = nb.Reply({"stream": [{"messageStart": {"role": "assistant"}}]})
    assert reply.recording.request == {}
    assert reply.envelope["request_id"] == ""


def test_two_calls_at_once_keep_to_their_own(wire, client):
    """Threads share a client; each reply has its own request and its own bytes."""
    tap.install(client)
    gate, barrier = threading.Event(), threading.Barrier(2)
    wire.lay(*[answer(GOOD, gates={4: gate})] * 2)
    replies: dict[str, Any] = {}

    def call(name: str) -> None:
        barrier.wait(LIMIT)
        response = client.converse_stream(**ask(name))
        barrier.wait(LIMIT)
        replies[name] = nb.Reply(response, labels={"name": name})

    threads = [threading.Thread(target=call, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.set()
    for name, reply in replies.items():
        assert reply.text == GOOD_TEXT
        assert reply.recording.request == ask(name)
    assert wire.accepted == 2


# -- bodies ----------------------------------------------------------------------------------------


def test_a_stream_can_be_read_by_one_only(wire, client):
    """Two readers would each get half of the bytes; the second is told, the first is not disturbed."""
    tap.install(client)
    wire.lay(answer(GOOD))
    response = client.converse_stream(**ask())
    reply = nb.Reply(response)
    with pytest.raises(RequestError, match="by a Reply; it can be read only once"):
        next(iter(response["stream"]))
    with pytest.raises(RequestError, match="by a Reply; it can be read only once"):
        nb.Reply(response)
    assert reply.text == GOOD_TEXT


def test_a_stream_that_a_loop_has_begun_makes_no_reply(wire, client):
    """The bytes that the loop had are gone."""
    tap.install(client)
    wire.lay(answer(GOOD))
    response = client.converse_stream(**ask())
    for _ in response["stream"]:
        break
    with pytest.raises(RequestError, match="by a loop over"):
        nb.Reply(response)
    response["stream"].close()


def test_a_burst_shares_a_read_and_a_pause_begins_a_new_one(wire, client):
    """`read` tells what came together on the network from what did not, whatever the HTTP chunks."""
    gates = {i: threading.Event() for i in (2, 5, 6)}
    wire.lay(answer(GOOD[:6] + GOOD[28:], gates=gates))
    reply = nb.stream(client, "hi", model="m")
    for i, gate in gates.items():
        while len(reply.recording) < i:
            reply.next_event()
        gate.set()
    reply.drain()
    reads = list(reply.recording.reads)
    assert reads[0] == reads[1] < reads[2] == reads[3] == reads[4] < reads[5] < reads[6] == reads[7]
    times = list(reply.recording.times)
    assert [a == b for a, b in itertools.pairwise(times)] == [a == b for a, b in itertools.pairwise(reads)]
    assert times == sorted(times)
    assert reply.recording.marks["headers"] <= times[0]


@pytest.mark.parametrize("framing", ["trickle", "length", "close"])
def test_an_event_is_given_before_the_rest_of_its_chunk_came(wire, client, framing):
    """botocore waits for whole chunks, and without chunks for a buffer to fill; the tap does not."""
    gate = threading.Event()
    wire.lay(answer(GOOD, framing, gates={3: gate}))
    reply = nb.stream(client, "hi", model="m")
    events = iter(reply)
    assert len([next(events) for _ in range(3)]) == 3  # and the server has sent no more
    gate.set()
    assert reply.text == GOOD_TEXT


def test_a_response_out_of_somebodys_hook_is_read_as_it_comes(wire, client):
    """Tools that answer in the client's place have no socket: botocore's events are timed instead."""

    class Raw(io.BytesIO):
        def stream(self, *_: Any, **__: Any):
            yield from iter(lambda: self.read(100), b"")

    def instead(request: Any, **_: Any) -> AWSResponse:
        return AWSResponse(request.url, 200, {}, Raw(b"".join(GOOD)))

    client.meta.events.register("before-send.bedrock-runtime.ConverseStream", instead)
    try:
        reply = nb.stream(client, "hi", model="m")
    finally:
        client.meta.events.unregister("before-send.bedrock-runtime.ConverseStream", instead)
    assert reply.text == GOOD_TEXT
    assert (reply.recording.clock, reply.recording.model) == ("parsed", "m")


@pytest.mark.parametrize("wrong", [None, "client", {"converse": 1}, object()], ids=lambda w: type(w).__name__)
def test_what_is_no_client_is_refused(wrong):
    """The error says what was given and what is wanted."""
    for use in (tap.install, nb.watch):
        with pytest.raises(RequestError, match=r"has no converse_stream; the client comes first\. .*connect"):
            use(wrong)


def test_a_stand_in_for_a_client_cannot_be_watched():
    """There is nothing to hook into; the error says what to do instead."""

    class StandIn:
        def converse_stream(self, **_: Any) -> dict:
            return {"stream": []}

    with pytest.raises(RequestError, match="Reply"):
        nb.watch(StandIn())


def test_a_call_that_never_leaves_holds_no_connection():
    """What boto3 refuses is no call of this thread any more, and other operations are not its own."""
    with BedrockServer(latency=Latency.none()) as server:
        client = nb.watch(server.client())
        with pytest.raises(ParamValidationError):
            client.converse_stream(modelId="m", messages="none")
        assert Serving.current() is None
        client.close()
