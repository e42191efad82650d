"""How answers leave: events as they are made, very frames, and faults that a request itself asks for."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

import bedrock_nb as nb
from bedrock_nb import errors
from bedrock_nb.errors import IncompleteStreamError, ServiceFault, service_fault
from bedrock_nb.events import (
    BlockStop,
    Event,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    StreamFault,
    TextDelta,
    ToolUse,
)
from bedrock_nb.eventstream import FrameDecoder
from bedrock_nb.message import Message, TextBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import INSTANT, BedrockServer, Guardrail, Latency, Responder, bedrock, echo, recorded
from bedrock_nb.server.responders import Coming
from bedrock_nb.wire import from_frame
from tests.wire_server import GOOD

HELLO = [{"role": "user", "content": [{"text": "hello"}]}]
CLAUDE = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}
#: Operation -> a body for it.
BODIES = {
    "converse": {"messages": HELLO},
    "converse-stream": {"messages": HELLO},
    "invoke": CLAUDE,
    "invoke-with-response-stream": CLAUDE,
}
STREAMS = ("converse-stream", "invoke-with-response-stream")
USAGE = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
LIMIT = 30.0  # seconds after which a test that waits for something has failed


def running(responder: Responder, **options: Any) -> BedrockServer:
    """A server with this responder, to be started."""
    return BedrockServer(responder, **{"latency": INSTANT, **options})


@contextmanager
def serving(responder: Responder, **options: Any) -> Iterator[tuple[BedrockServer, Any]]:
    """Such a server, and a client that asks once."""
    with running(responder, **options) as server:
        client = server.client(config=Config(retries={"total_max_attempts": 1}))
        try:
            yield server, client
        finally:
            client.close()


def send(
    server: BedrockServer, operation: str, model: str = "m", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Ask and read what comes, to wherever it ends."""
    connection = http.client.HTTPConnection(urlsplit(server.endpoint_url).netloc, timeout=LIMIT)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"/model/{quote(model, safe='@')}/{operation}"
    try:
        connection.request(
            "POST", path, json.dumps(BODIES[operation]), {"Content-Type": "application/json", **names}
        )
        response = connection.getresponse()
        try:
            body = response.read()
        except http.client.IncompleteRead as err:
            body = err.partial
        return response.status, dict(response.headers), body
    finally:
        connection.close()


def kinds(body: bytes) -> list[str]:
    """The name of each whole frame."""
    return [
        str(frame.headers.get(":event-type") or frame.headers.get(":exception-type"))
        for frame in FrameDecoder().receive_data(body)
    ]


def spoken(*texts: str) -> list[Event]:
    """A whole answer of these deltas."""
    deltas = [TextDelta(0, text) for text in texts]
    return [MessageStart("assistant"), *deltas, BlockStop(0), MessageStop("end_turn"), Metadata(USAGE, 5)]


# -- answers that are still being made -------------------------------------------------------------


@pytest.mark.parametrize("model", ["m", "m@slow_head:0", "m@duplicate:0", "m@cut:after=50"])
def test_each_event_leaves_before_the_next_is_made(model):
    """The client has the first delta before the generator may go on, with a fault as without."""
    go_on = threading.Event()

    def waiting(request: Request) -> Iterator[Event]:
        yield MessageStart("assistant")
        yield TextDelta(0, "first")
        assert go_on.wait(LIMIT)
        yield from spoken("second")[1:]

    with serving(waiting) as (_, client):
        stream = client.converse_stream(modelId=model, messages=HELLO)["stream"]
        events = iter(stream)
        while "contentBlockDelta" not in (event := next(events)):
            pass
        assert event["contentBlockDelta"]["delta"] == {"text": "first"}
        assert not go_on.is_set()
        go_on.set()
        rest = [event for event in events if "contentBlockDelta" in event]
    assert [event["contentBlockDelta"]["delta"]["text"] for event in rest] == ["second"]


@pytest.mark.parametrize("make", [list, tuple, iter, lambda events: (event for event in events)])
@pytest.mark.parametrize("operation", BODIES)
def test_whatever_yields_events_is_an_answer_to_each_operation(make, operation):
    """A list, a tuple, an iterator, a generator: streamed, or put together for the plain calls."""
    with running(lambda _request: make(spoken("two ", "parts"))) as server:
        status, _, body = send(server, operation)
    assert status == 200
    if operation in STREAMS:
        assert len(kinds(body)) >= 6
    else:
        assert b"two parts" in body


def test_what_a_fold_made_is_not_sent():
    """A reply yields tool requests and its message besides; on the wire there are none of them."""
    made: list[Event] = [
        ToolUse(0, "id", "name", {}),
        MessageComplete(Message("assistant", (TextBlock("x"),))),
    ]
    with running(lambda _request: [*spoken("x"), *made]) as server:
        assert kinds(send(server, "converse-stream")[2]) == [
            "messageStart",
            "contentBlockDelta",
            "contentBlockStop",
            "messageStop",
            "metadata",
        ]
        assert send(server, "converse")[0] == 200


def failing(error: BaseException, *events: Event) -> Responder:
    def respond(request: Request) -> Iterator[Event]:
        yield from events
        raise error

    return respond


@pytest.mark.parametrize("operation", BODIES)
def test_a_generator_that_fails_before_its_first_event_is_an_http_error(operation):
    """Nothing was sent yet, so it is 500 with the error in words."""
    with running(failing(LookupError("too early"))) as server:
        status, headers, body = send(server, operation)
    assert status == 500
    assert headers["x-amzn-ErrorType"].startswith("InternalServerException")
    assert "LookupError: too early" in json.loads(body)["message"]


#: What a responder raises -> what comes of it in a stream that has begun, and the status of a plain call.
RAISED: list[tuple[Exception, str, int]] = [
    (LookupError("too late"), "internalServerException", 500),
    (service_fault("throttlingException", "too late"), "throttlingException", 429),
    (service_fault("modelStreamErrorException", "too late"), "modelStreamErrorException", 424),
    (
        errors.ThrottlingError("ThrottlingException", "too late", 429),
        "throttlingException",
        429,
    ),
    (errors.ModelError("ModelErrorException", "too late", 424), "modelStreamErrorException", 424),
    (errors.AccessDeniedError("AccessDeniedException", "too late", 403), "validationException", 400),
    (errors.RefusedError("NovelException", "too late", 418), "internalServerException", 500),
]


@pytest.mark.parametrize(
    ("error", "name", "status"), RAISED, ids=[f"{type(error).__name__}" for error, *_ in RAISED]
)
def test_a_generator_that_fails_in_the_middle_ends_in_an_exception_frame(error, name, status):
    """The last event says what went wrong, by a name of the service; the client's error keeps what came."""
    with serving(failing(error, MessageStart("assistant"), TextDelta(0, "so far"))) as (server, client):
        body = send(server, "converse-stream")[2]
        reply = nb.stream(client, "hello")
        with pytest.raises(ServiceFault, match="too late") as caught:
            reply.drain().text  # noqa: B018
        plain = send(server, "converse")
    assert kinds(body) == ["messageStart", "contentBlockDelta", name]
    assert caught.value.code == name
    assert caught.value.reply.snapshot.text == "so far"
    assert plain[0] == status
    assert "too late" in json.loads(plain[2])["message"]


def test_a_fault_before_the_first_event_is_a_stream_of_one_exception():
    """A fault is in the stream, whenever it comes; a plain call has its status."""
    with running(failing(service_fault("throttlingException", "slow down"))) as server:
        assert kinds(send(server, "converse-stream")[2]) == ["throttlingException"]
        assert send(server, "converse")[0] == 429


def test_an_answer_that_never_ends_its_message_is_incomplete():
    """The body ends in good order and the message does not: the client says so and keeps what came."""
    with serving(lambda _request: spoken("so far")[:2]) as (server, client):
        with pytest.raises(IncompleteStreamError) as caught:
            nb.stream(client, "hello").drain().text  # noqa: B018
        plain = send(server, "converse")
    assert caught.value.reply.snapshot.text == "so far"
    assert plain[0] == 500
    assert "no messageStop" in json.loads(plain[2])["message"]


def test_an_answer_without_events_is_an_empty_stream():
    """200 and no frames; for a plain call there is nothing that could be an answer."""
    with running(lambda _request: iter(())) as server:
        assert send(server, "converse-stream")[::2] == (200, b"")
        assert send(server, "converse")[0] == 500


@pytest.mark.parametrize("wrong", ["text", 42, None, {"contentBlockDelta": {}}, b"bytes"], ids=repr)
@pytest.mark.parametrize("before", [0, 2])
def test_what_is_no_event_is_an_exception_in_its_place(wrong, before):
    """Whatever a generator yields by mistake is named by its type, and nothing comes after it."""

    def confused(request: Request) -> Iterator[Any]:
        yield from spoken("so far")[:before]
        yield wrong
        yield TextDelta(0, "never sent")

    with serving(confused) as (server, client):
        body = send(server, "converse-stream")[2]
        stream = client.converse_stream(modelId="m", messages=HELLO)["stream"]
        with pytest.raises(EventStreamError, match=f"gave a {type(wrong).__name__} where an event"):
            list(stream)
        stream.close()
        for operation in ("converse", "invoke"):
            status, _, answer = send(server, operation)
            assert status == 500
            assert "where an event is wanted" in json.loads(answer)["message"]
        chunks = kinds(send(server, "invoke-with-response-stream")[2])
    assert kinds(body) == [*["messageStart", "contentBlockDelta"][:before], "internalServerException"]
    assert chunks[-1] == "internalServerException"


@pytest.mark.parametrize("wrong", ["text", 42, None, {"text": "x"}, b"bytes"], ids=repr)
def test_what_is_no_answer_is_an_internal_error(wrong):
    """A responder that returns something else is told what is wanted."""
    with running(lambda _request: wrong) as server:
        status, _, body = send(server, "converse-stream")
    assert status == 500
    assert f"returned a {type(wrong).__name__}" in json.loads(body)["message"]


def endless(closed: threading.Event, begun: threading.Event, go_on: threading.Event | None = None) -> Any:
    """A responder that would never stop, and notes that it was closed."""

    def respond(request: Request) -> Iterator[Event]:
        try:
            begun.set()
            if go_on is not None:
                go_on.wait(LIMIT)
            yield MessageStart("assistant")
            while True:
                yield TextDelta(0, "word " * 100)
        except GeneratorExit:
            closed.set()
            raise

    return respond


def connect(server: BedrockServer, operation: str) -> socket.socket:
    parts = urlsplit(server.endpoint_url)
    connection = socket.create_connection((parts.hostname, parts.port), LIMIT)
    body = json.dumps(BODIES[operation]).encode()
    head = f"POST /model/m/{operation} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return connection


@pytest.mark.parametrize("operation", STREAMS)
def test_a_generator_is_closed_when_its_client_goes_away(operation):
    """It sees GeneratorExit, so that it can let go of what it holds."""
    closed, begun = threading.Event(), threading.Event()
    with running(endless(closed, begun)) as server:
        with connect(server, operation) as connection:
            assert connection.recv(300).startswith(b"HTTP/1.1 200")
        assert closed.wait(LIMIT)


@pytest.mark.parametrize("operation", BODIES)
def test_a_generator_whose_client_left_before_its_first_event_is_closed(operation):
    """Nobody waits for it any more, and nobody forgets it."""
    closed, begun, go_on = threading.Event(), threading.Event(), threading.Event()
    with running(endless(closed, begun, go_on)) as server:
        with connect(server, operation):
            assert begun.wait(LIMIT)
        go_on.set()
        assert closed.wait(LIMIT)


def test_a_generator_is_closed_with_its_server():
    """A server that stops does not leave responders behind."""
    closed, begun = threading.Event(), threading.Event()
    with running(endless(closed, begun)) as server:
        connection = connect(server, "converse-stream")
        assert connection.recv(300).startswith(b"HTTP/1.1 200")
    connection.close()
    assert closed.wait(LIMIT)


def test_what_is_no_generator_is_closed_while_it_waits():
    """An answer with a close of its own, such as a reply, is told at once and not at its next event."""
    closed, waiting = threading.Event(), threading.Event()

    class Slow:
        def __iter__(self) -> Iterator[Event]:
            return self

        def __next__(self) -> Event:
            if waiting.is_set():
                assert closed.wait(LIMIT)
                raise StopIteration
            waiting.set()
            return MessageStart("assistant")

        def close(self) -> None:
            closed.set()

    with running(lambda _request: Slow()) as server:
        with connect(server, "converse-stream") as connection:
            assert connection.recv(300).startswith(b"HTTP/1.1 200")
        assert closed.wait(LIMIT)


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("cut:after=2", ["messageStart", "contentBlockDelta"]),
        ("end:after=3", ["messageStart", "contentBlockDelta", "contentBlockDelta"]),
        ("exception:throttlingException,1", ["messageStart", "throttlingException"]),
        ("unknown_event:after=0", ["newEvent", "messageStart"]),
        ("missing:after=1", ["messageStart", "contentBlockDelta", "contentBlockStop"]),
    ],
)
def test_faults_spoil_answers_that_are_still_being_made(fault, names):
    """They count events as they come, as they do with a whole answer."""
    with running(lambda _request: iter(spoken("one ", "two"))) as server:
        status, headers, body = send(server, "converse-stream", f"m@{fault}")
        found = kinds(body)
        truth = server.truth(headers["x-amzn-RequestId"])
    assert status == 200
    if fault.startswith("unknown"):
        assert found[1] == names[1]
        assert found[0] not in ("messageStart", "contentBlockDelta")
    else:
        assert found[: len(names)] == names
    assert truth.fault.partition("(")[0] == fault.partition(":")[0]


def test_a_coming_answer_knows_its_times():
    """Each event has the seconds since the answer began, by the clock that it was given."""
    ticks = iter([1.0, 1.5, 2.5, 3.0, 4.0])
    coming = Coming(spoken("x"), 0.5, clock=lambda: next(ticks))
    assert [t for t, _ in coming.rows()] == [0.5, 1.0, 2.0, 2.5, 3.5]


def test_a_coming_answer_becomes_a_recording():
    """With its times, and with what ended it as the last event."""
    ticks = iter([1.0, 2.0, 3.0])
    events = [*spoken("so far")[:2], "no event", TextDelta(0, "never")]
    recording = Coming(events, 0.0, clock=lambda: next(ticks)).collect({"modelId": "m"})  # type: ignore[arg-type]
    assert list(recording.times) == [1.0, 2.0, 3.0]
    assert isinstance(recording.event(2), StreamFault)
    assert len(recording) == 3


@pytest.mark.parametrize("kind", errors.REFUSALS.values(), ids=errors.REFUSALS)
@pytest.mark.parametrize("late", [False, True], ids=["function", "generator"])
def test_a_responder_refuses_as_the_service_does(kind, late):
    """What it raises before the first event arrives at boto3 with the same code, status and words."""
    code = next(code for code, known in errors.REFUSALS.items() if known is kind)
    status = int(str(kind.__doc__).split()[0])
    error = kind(code, "Not now.", status)

    def at_once(request: Request) -> Recording:
        raise error

    responder: Callable[[Request], Any] = failing(error) if late else at_once
    with serving(responder) as (_, client):
        for operation in (client.converse, client.converse_stream):
            with pytest.raises(ClientError) as caught:
                operation(modelId="m", messages=HELLO)
            assert caught.value.response["Error"] == {"Code": code, "Message": "Not now."}
            assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


# -- the very frames -------------------------------------------------------------------------------


def of_frames(frames: list[bytes], gap: float = 1 / 1024) -> Recording:
    """What a client would have recorded of these frames."""
    recording = Recording()
    for i, frame in enumerate(FrameDecoder().receive_data(b"".join(frames))):
        recording.keep(frames[i])
        for place, event in enumerate(from_frame(frame)):
            recording.append(event, (i + 1) * gap, i, 0 if place else len(frames[i]))
    recording.status = "complete"
    return recording


def test_a_recording_with_its_frames_is_performed_byte_for_byte(tmp_path):
    """Saved with frames and loaded, it leaves as it came, again and again, padding and all."""
    loaded = Recording.load(of_frames(GOOD).save(tmp_path / "good.jsonl", frames=True))
    with running(lambda _request: loaded) as server:
        bodies = [send(server, "converse-stream") for _ in range(2)]
        truth = server.truth(bodies[0][1]["x-amzn-RequestId"])
        status, _, plain = send(server, "converse")
    assert [body for _, _, body in bodies] == [b"".join(GOOD)] * 2
    assert status == 200
    assert json.loads(plain)["output"]["message"]["role"] == "assistant"
    assert truth.law is None


def test_exact_frames_keep_the_times_of_the_recording():
    """Each write is due when the recording says, however the server is set."""
    recording = of_frames(GOOD)
    with running(lambda _request: recording, latency=Latency(ttft=5, per_token=5)) as server:
        _, headers, body = send(server, "converse-stream")
        truth = server.truth(headers["x-amzn-RequestId"])
    assert body == b"".join(GOOD)
    assert list(truth.due)[-len(GOOD) :] == pytest.approx(list(recording.times))


def test_a_recording_with_a_part_of_its_bytes_unknown_is_encoded_anew():
    """The same events in frames of this server's own: nothing is missing, and no frame is mixed of both."""
    whole = of_frames(GOOD)
    partly = Recording()
    for frame in GOOD:
        partly.keep(frame)
    for i, row in enumerate(whole.rows()):
        partly.append(row.event, row.t, i, 0 if i == 3 else len(GOOD[i]))
    partly.status = "complete"
    with running(lambda _request: partly) as server:
        body = send(server, "converse-stream")[2]
    assert body != b"".join(GOOD)
    assert kinds(body) == kinds(b"".join(GOOD))


def test_only_converse_stream_has_exact_frames():
    """The frames of a recording are ConverseStream's: another operation says the same in its own."""
    recording = of_frames(GOOD)
    with running(lambda _request: recording) as server:
        body = send(server, "invoke-with-response-stream")[2]
    assert set(kinds(body)) == {"chunk"}


def test_exact_frames_can_be_spoiled():
    """A fault changes the steps, whatever made them."""
    with running(lambda _request: of_frames(GOOD)) as server:
        assert send(server, "converse-stream", "m@end:after=3")[2] == b"".join(GOOD[:3])


# -- faults that a request asks for ----------------------------------------------------------------


def noting(seen: list[str]) -> Responder:
    def note(request: Request) -> Recording:
        seen.append(request.model)
        return recorded(request, "one two three four five")

    return note


@pytest.mark.parametrize(
    ("model", "headers", "status", "events"),
    [
        ("m", {}, 200, None),
        ("m@end:after=3", {}, 200, 3),
        ("m@end:3", {}, 200, 3),
        ("m@cut:after=1", {}, 200, 1),
        ("m@end:after=4@slow_head:0", {}, 200, 4),
        ("m@end:after=4@end:after=2", {}, 200, 2),
        ("m@refuse:status=503,message=Full.", {}, 503, None),
        ("m", {"x_bedrock_nb_fault": "end:after=2"}, 200, 2),
        ("m", {"x_bedrock_nb_fault": "end:after=4@end:after=1"}, 200, 1),
        ("m", {"x_bedrock_nb_fault": ""}, 200, None),
        ("m@end:after=5", {"x_bedrock_nb_fault": "end:after=2"}, 200, 2),
        ("m@slow_head:0", {"X-Bedrock-NB-Fault": "end:after=2"}, 200, 2),
        ("arn:aws:bedrock:us-east-1::foundation-model/m:0@end:after=1", {}, 200, 1),
    ],
)
@pytest.mark.parametrize("operation", STREAMS)
def test_a_request_asks_for_its_own_fault(operation, model, headers, status, events):
    """Behind the model id or in a header, one or several joined; the responder sees the bare model id."""
    seen: list[str] = []
    with running(noting(seen)) as server:
        found, head, body = send(server, operation, model, **headers)
        truth = server.truth(head["x-amzn-RequestId"])
    assert found == status
    assert events is None or len(kinds(body)) == events
    assert set(seen) == {truth.model} == {model.partition("@")[0]}
    assert (truth.fault is None) is ("@" not in model and not any(headers.values()))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("nonsense", "'nonsense'"),
        ("", "''"),
        ("cut:after=-1", "after of the fault cut is -1"),
        ("cut:after=x", "'x'"),
        ("cut:colour=red", "colour"),
        ("refuse:200", "status of the fault refuse is 200"),
        ("refuse", "refuse"),
        ("end:after=2@nonsense", "'nonsense'"),
    ],
)
@pytest.mark.parametrize("model", ["m@{}", "m@slow_head:0@{}", "m"])
def test_a_fault_that_does_not_exist_is_refused_by_its_name(text, named, model):
    """400 with the lesson that the function would have given; the responder is not asked."""
    seen: list[str] = []
    header = {} if "@" in model else {"x_bedrock_nb_fault": text or "''"}
    with running(noting(seen)) as server:
        status, headers, body = send(server, "converse", model.format(text), **header)
    assert status == 400
    assert headers["x-amzn-ErrorType"].startswith("ValidationException")
    assert named in json.loads(body)["message"]
    assert seen == []


def test_the_fault_of_a_server_and_that_of_a_request_are_joined():
    """First the server's own, then what the request asks for."""
    with running(noting([]), faults=nb.server.faults.end(after=4)) as server:
        _, headers, body = send(server, "converse-stream", "m@end:after=2")
        assert len(kinds(body)) == 2
        assert server.truth(headers["x-amzn-RequestId"]).fault == "end(after=4) | end(after=2)"
        assert len(kinds(send(server, "converse-stream")[2])) == 4


def test_boto3_can_ask_for_a_fault_by_its_model_id():
    """No header and no setting is needed: the id goes through boto3 as any other."""
    with serving(noting([])) as (_, client):
        with pytest.raises(client.exceptions.ThrottlingException, match="Too many requests"):
            client.converse(modelId="amazon.nova-lite-v1:0@refuse:429", messages=HELLO)
        stream = client.invoke_model_with_response_stream(
            modelId="m@exception:modelStreamErrorException,after=2", body=json.dumps(CLAUDE)
        )["body"]
        with pytest.raises(EventStreamError, match="modelStreamErrorException"):
            list(stream)
        stream.close()


def test_an_answer_whose_client_left_before_it_began_is_closed():
    """The responder is still at its first event when the client goes: its events are closed all the same."""
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        def __iter__(self):
            return self

        def __next__(self):
            begun.set()
            assert go_on.wait(30)
            return MessageStart("assistant")

        def close(self):
            closed.set()

    with BedrockServer(lambda _: Slow(), latency=Latency.none()) as server:
        parts = urlsplit(server.endpoint_url)
        body = json.dumps({"messages": [{"role": "user", "content": [{"text": "hello"}]}]})
        with socket.create_connection((parts.hostname, parts.port), 10) as connection:
            head = f"Host: {parts.netloc}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
            connection.sendall(f"POST /model/m/converse-stream HTTP/1.1\r\n{head}\r\n\r\n{body}".encode())
            assert begun.wait(30)
        (known,) = server._log.latest(1)
        deadline = time.monotonic() + 30
        while known.outcome == "open" and time.monotonic() < deadline:
            time.sleep(0.002)
        assert known.outcome == "gone"
        go_on.set()
        assert closed.wait(30)


@pytest.mark.parametrize("depth", [500, 950, 3000])
def test_json_that_is_nested_too_deeply_is_the_callers_mistake(depth):
    """400, which nobody tries again, and not 500."""
    seed = "[" * depth + "]" * depth
    body = (
        '{"messages":[{"role":"user","content":[{"text":"hi"}]}],'
        f'"additionalModelRequestFields":{{"seed":{seed}}}}}'
    )
    with BedrockServer(latency=Latency.none()) as server:
        connection = http.client.HTTPConnection(urlsplit(server.endpoint_url).netloc, timeout=30)
        connection.request("POST", "/model/m/converse", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        connection.close()
    # How deep is too deep depends on the Python: from 3.12 on it is deeper.
    assert response.status == 400 or (response.status == 200 and depth < 1000)


def test_guardrails_of_the_service_that_is_asked_are_its_own():
    """Between a client and another service, the request's guardrail is not looked for here."""
    fruit = Guardrail("fruit", ["kiwi"], blocked_input="No fruit.")
    with BedrockServer(echo, latency=Latency.none(), guardrails=[fruit]) as upstream:
        theirs = upstream.client()
        with BedrockServer(bedrock(theirs), latency=Latency.none()) as server:
            client = server.client()
            config = {"guardrailIdentifier": "fruit", "guardrailVersion": "1"}
            turns = [{"role": "user", "content": [{"text": "a kiwi"}]}]
            answer = client.converse(modelId="m", messages=turns, guardrailConfig=config)
            client.close()
        theirs.close()
    assert answer["stopReason"] == "guardrail_intervened"
    assert answer["output"]["message"]["content"] == [{"text": "No fruit."}]
