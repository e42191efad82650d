"""The embedded server over HTTP: what real boto3 gets, and what everybody else is told."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError, HTTPClientError

from bedrock_nb.assembly import fold
from bedrock_nb.errors import RequestError, ServerError, service_fault
from bedrock_nb.events import MessageStart, MessageStop, Metadata, StreamFault, TextDelta, Unknown
from bedrock_nb.eventstream import FrameDecoder
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import INSTANT, BedrockServer, Latency, canned, recorded
from bedrock_nb.server.guard import MAX_BODY
from bedrock_nb.server.perform import rows, steps, writes
from bedrock_nb.wire import from_wire

TOOLS = {
    "tools": [
        {
            "toolSpec": {
                "name": "get_weather",
                "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
            }
        }
    ]
}
HELLO = [{"role": "user", "content": [{"text": "hello"}]}]
ONCE = Config(retries={"total_max_attempts": 1})


def ask(text: str) -> list[dict]:
    return [{"role": "user", "content": [{"text": text}]}]


def events_of(response) -> list:
    wire = [next(iter(event.items())) for event in response["stream"]]
    return [event for name, payload in wire for event in from_wire(name, payload)]


def test_the_loop_of_the_tutorials_runs_unchanged(server):
    """A plain boto3 loop over converse_stream prints the whole answer."""
    client = server.client()
    response = client.converse_stream(modelId="us.amazon.nova-lite-v1:0", messages=ask("Count from 1 to 5"))
    text = ""
    for event in response["stream"]:
        if "contentBlockDelta" in event:
            text += event["contentBlockDelta"]["delta"]["text"]
    client.close()
    assert text == "1, 2, 3, 4, 5."


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"inferenceConfig": {"maxTokens": 7}},
        {"inferenceConfig": {"stopSequences": ["rain"]}},
        {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}},
        {"toolConfig": {**TOOLS, "toolChoice": {"any": {}}}},
        {"performanceConfig": {"latency": "optimized"}, "serviceTier": {"type": "flex"}},
    ],
    ids=["text", "cut", "stopped", "reasoning", "tool", "tier"],
)
def test_converse_gives_what_the_stream_adds_up_to(client, extra):
    """The plain call and the streamed one have the same message, stop reason, usage and settings."""
    request = {"modelId": "any.model", "messages": ask("Tell me about rainbows"), **extra}
    plain = client.converse(**request)
    events = events_of(client.converse_stream(**request))
    (stop,) = (event for event in events if isinstance(event, MessageStop))
    (closing,) = (event for event in events if isinstance(event, Metadata))
    assert plain["output"]["message"] == fold(events).to_dict()
    assert plain["stopReason"] == stop.reason
    assert plain["usage"] == closing.usage
    assert plain.get("performanceConfig") == closing.performance_config
    assert plain.get("serviceTier") == closing.service_tier
    assert plain["metrics"] == {"latencyMs": closing.latency_ms}


def test_the_token_limit_is_kept(client):
    """With maxTokens 12 the answer has twelve tokens and says why it stopped."""
    answer = client.converse(
        modelId="m", messages=ask("Tell me about rainbows"), inferenceConfig={"maxTokens": 12}
    )
    assert answer["stopReason"] == "max_tokens"
    usage = answer["usage"]
    assert usage["outputTokens"] == 12
    assert usage["totalTokens"] == usage["inputTokens"] + 12


def test_a_stop_sequence_ends_the_answer_before_itself(client):
    """The answer ends where the sequence would have begun, and the sequence can be asked for."""
    answer = client.converse(
        modelId="m",
        messages=ask("Count from 1 to 20"),
        inferenceConfig={"stopSequences": ["7", "nowhere"]},
        additionalModelResponseFieldPaths=["/stop_sequence"],
    )
    assert answer["stopReason"] == "stop_sequence"
    assert answer["output"]["message"]["content"][0]["text"] == "1, 2, 3, 4, 5, 6, "
    assert answer["additionalModelResponseFields"] == {"stop_sequence": "7"}


@pytest.mark.parametrize(
    "model",
    [
        "us.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
        "anything at all/../..",
    ],
)
def test_any_model_id_reaches_the_responder_as_it_was_given(model):
    """Colons, slashes and blanks in a model id survive the way through the URL."""
    seen = []

    def note(request):
        seen.append(request.model)
        return recorded(request, "Noted.")

    with BedrockServer(note, latency=Latency.none()) as server:
        client = server.client()
        client.converse(modelId=model, messages=ask("hello"))
        for _ in client.converse_stream(modelId=model, messages=ask("hello"))["stream"]:
            pass
        client.close()
    assert seen == [model, model]


@pytest.mark.parametrize(
    "prompt", ["Tell me about rainbows", "List the planets", "What is the weather in Rome?"]
)
def test_botocore_knows_every_member_of_every_event(client, prompt):
    """Nothing that the server sends parses to SDK_UNKNOWN_MEMBER, and no event is missing."""
    response = client.converse_stream(
        modelId="m",
        messages=ask(prompt),
        toolConfig=TOOLS,
        additionalModelRequestFields={"reasoning_config": {"type": "enabled"}},
    )
    events = list(response["stream"])
    assert "SDK_UNKNOWN_MEMBER" not in json.dumps(events)
    assert list(events[0]) == ["messageStart"]
    assert [next(iter(event)) for event in events[-2:]] == ["messageStop", "metadata"]


def test_the_response_looks_like_the_services(client, post):
    """Headers and frames are Bedrock's: request id, event-stream type, chunks, padding of many lengths."""
    status, headers, body = post("/model/m/converse-stream", {"messages": ask("Tell me about rainbows")})
    decoder = FrameDecoder()
    frames = decoder.receive_data(body)
    decoder.receive_eof()
    lengths = {len(json.loads(frame.payload)["p"]) for frame in frames}
    assert status == 200
    assert headers["Content-Type"] == "application/vnd.amazon.eventstream"
    assert headers["Transfer-Encoding"] == "chunked"
    assert headers["Date"]
    assert len(headers["x-amzn-RequestId"]) == 36
    assert "Server" not in headers
    assert len(lengths) > 20
    assert frames[0].headers == {
        ":event-type": "messageStart",
        ":content-type": "application/json",
        ":message-type": "event",
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("POST", "/"),
        ("GET", "/model/m/converse"),
        ("PUT", "/model/m/converse-stream"),
        ("POST", "/model/m/invoke-everything"),
        ("POST", "/model/converse"),
        ("POST", "/model/m/converse/"),
        ("PUT", "/foundation-models"),
        ("POST", "/../../etc/passwd"),
    ],
)
def test_other_paths_are_unknown_operations(post, method, path):
    """Whatever is no operation of ours is answered as AWS answers unknown operations."""
    status, headers, body = post(path, {}, method)
    assert status == 404
    assert headers["x-amzn-ErrorType"].startswith("UnknownOperationException")
    assert json.loads(body)["__type"] == "com.amazon.coral.service#UnknownOperationException"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:{port}", True),
        ("localhost:{port}", True),
        ("LOCALHOST:{port}", True),
        ("[::1]:{port}", True),
        ("localhost", True),
        ("[::1]", True),
        ("127.0.0.1:1", False),
        ("attacker.example:{port}", False),
        ("attacker.example", False),
        ("127.0.0.1.attacker.example", False),
        ("localhost:x", False),
        ("", False),
    ],
)
def test_only_requests_for_this_machine_are_answered(server, post, host, allowed):
    """A Host that is not a loopback name with our port is refused: that is how DNS rebinding would come."""
    name = host.format(port=urlsplit(server.endpoint_url).port)
    status, headers, _ = post("/model/m/converse", {"messages": ask("hello")}, Host=name)
    assert status == (200 if allowed else 403)
    assert ("x-amzn-ErrorType" in headers) is not allowed


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
@pytest.mark.parametrize("origin", ["https://attacker.example", "http://localhost:8888", "null"])
def test_web_pages_are_refused(post, origin, method):
    """Any Origin is refused, a preflight request too, and nothing allows a page to read the answer."""
    status, headers, _ = post("/model/m/converse", {"messages": ask("hello")}, method, Origin=origin)
    assert status == 403
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"{}", "text/plain", 415, "UnsupportedMediaTypeException"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "UnsupportedMediaTypeException"),
        (b"", "application/json", 400, "SerializationException"),
        (b"{", "application/json", 400, "SerializationException"),
        (b"\xff\xfe", "application/json", 400, "SerializationException"),
        (b'{"messages": NaN}', "application/json", 400, "SerializationException"),
        (b"[" * 100_000, "application/json", 400, "SerializationException"),
        (b"[]", "application/json", 400, "SerializationException"),
        (b"null", "application/json", 400, "SerializationException"),
        (b"{}", "application/json", 400, "ValidationException"),
    ],
    ids=["text", "form", "empty", "cut", "not UTF-8", "NaN", "deep", "list", "null", "no messages"],
)
def test_bad_bodies_get_an_answer_with_an_error_name(post, body, kind, status, code):
    """No body, however broken, ends in a dropped connection or in a page of HTML."""
    found, headers, answer = post("/model/m/converse-stream", body, Content_Type=kind)
    assert found == status
    assert headers["x-amzn-ErrorType"] == f"{code}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(answer)["message"]


def test_a_body_that_is_not_what_its_headers_say_is_refused(post):
    """A broken compression is the client's fault, and answered as such."""
    status, headers, _ = post("/model/m/converse", b"abcde", Content_Encoding="gzip")
    assert status == 400
    assert headers["x-amzn-ErrorType"].startswith("SerializationException")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_a_body_over_the_limit_is_refused(post, packed):
    """One byte more than 25 MiB gets 413 and an explanation, also if it comes as a small gzip."""
    body = b" " * (MAX_BODY + 1)
    encoding = {"Content_Encoding": "gzip"} if packed else {}
    status, headers, answer = post("/model/m/converse", gzip.compress(body) if packed else body, **encoding)
    assert status == 413
    assert headers["x-amzn-ErrorType"].startswith("RequestEntityTooLargeException")
    assert "25 MiB" in json.loads(answer)["message"]


@pytest.mark.parametrize(
    "raw", [b"nonsense\r\n\r\n", b"POST / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"]
)
def test_what_is_not_http_is_answered_too(server, raw):
    """Bytes that are no request get a 400 (or 403, 404) and not a dropped connection."""
    parts = urlsplit(server.endpoint_url)
    with socket.create_connection((parts.hostname, parts.port), 10) as connection:
        connection.sendall(raw)
        assert connection.recv(65536).split()[1] in (b"400", b"403", b"404")


def test_requests_are_answered_side_by_side():
    """Two requests are in the responder at once: a slow one does not hold up the other."""
    together = threading.Barrier(2, timeout=30)

    def wait_for_the_other(request):
        together.wait()
        return recorded(request, f"You said: {request.conversation[-1]['content'][0]['text']}")

    with BedrockServer(wait_for_the_other, latency=Latency.none()) as server, ThreadPoolExecutor(2) as pool:
        client = server.client()

        def send(text: str) -> str:
            return fold(events_of(client.converse_stream(modelId="m", messages=ask(text)))).text

        answers = list(pool.map(send, ["one", "two"]))
        client.close()
    assert answers == ["You said: one", "You said: two"]


def test_what_a_responder_gets_is_what_the_caller_wrote():
    """Bytes are bytes again, settings have their places, and nothing is lost on the way."""
    seen = []

    def note(request):
        seen.append(request.to_kwargs())
        return recorded(request, "Noted.")

    asked = {
        "modelId": "m",
        "messages": [
            {
                "role": "user",
                "content": [{"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}, {"text": "?"}],
            }
        ],
        "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
        "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "topP": 1.0, "stopSequences": ["x"]},
        "toolConfig": TOOLS,
        "requestMetadata": {"course": "streams 1"},
    }
    with BedrockServer(note, latency=Latency.none()) as server:
        client = server.client()
        client.converse(**asked)
        client.close()
    assert seen == [asked]


def failing(request):
    raise LookupError("no such thing")


def wrong(request):
    return "text"


@pytest.mark.parametrize(
    ("responder", "words"), [(failing, "failing raised LookupError"), (wrong, "returned a str")]
)
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_a_responder_that_fails_is_an_internal_error(responder, words, operation):
    """The caller gets 500 InternalServerException, and the message names the responder and its error."""
    with BedrockServer(responder, latency=Latency.none()) as server:
        client = server.client(config=ONCE)
        with pytest.raises(ClientError, match=words) as caught:
            getattr(client, operation)(modelId="m", messages=ask("hello"))
        client.close()
    assert caught.value.response["Error"]["Code"] == "InternalServerException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def throttled(request):
    recording = Recording(request.to_kwargs())
    recording.append(MessageStart("assistant"), 0.0)
    recording.append(TextDelta(0, "So far"), 0.0)
    recording.append(StreamFault(service_fault("throttlingException", "Too many tokens")), 0.0)
    return recording


def test_a_fault_in_a_recording_is_performed():
    """A stream ends in an exception frame after its text; the plain call gets the fault's HTTP status."""
    with BedrockServer(throttled, latency=Latency.none()) as server:
        client = server.client(config=ONCE)
        stream = client.converse_stream(modelId="m", messages=ask("hello"))["stream"]
        with pytest.raises(EventStreamError, match=r"throttlingException.*Too many tokens"):
            list(stream)
        stream.close()
        with pytest.raises(client.exceptions.ThrottlingException) as caught:
            client.converse(modelId="m", messages=ask("hello"))
        client.close()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429


def unwritable(request):
    recording = Recording(request.to_kwargs())
    recording.append(MessageStart("assistant"), 0.0)
    recording.append(Unknown("odd", {"what": object()}), 0.0)
    recording.append(TextDelta(0, "never sent"), 0.0)
    return recording


def test_an_event_that_cannot_be_written_becomes_an_exception_frame():
    """The stream says what went wrong where it went wrong, and ends in good order."""
    with BedrockServer(unwritable, latency=Latency.none()) as server:
        client = server.client()
        stream = client.converse_stream(modelId="m", messages=ask("hello"))["stream"]
        with pytest.raises(EventStreamError, match="An event cannot be sent"):
            list(stream)
        stream.close()
        client.close()


def test_a_recording_with_times_of_its_own_is_performed_as_it_is():
    """The latency law does not touch a recording that has times, not even its latencyMs."""

    def timed(request):
        recording = Recording(request.to_kwargs())
        recording.append(MessageStart("assistant"), 0.001)
        recording.append(TextDelta(0, "Now."), 0.002)
        recording.append(MessageStop("end_turn"), 0.003)
        usage = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}
        recording.append(Metadata(usage, 1234), 0.004)
        return recording

    with BedrockServer(timed, latency=Latency(ttft=5, per_token=5)) as server:
        client = server.client()
        answer = client.converse(modelId="m", messages=ask("hello"))
        client.close()
    assert answer["metrics"] == {"latencyMs": 1234}


def test_only_events_that_are_due_together_share_a_write():
    """Writes follow the times of the recording: one for each moment, in whole frames."""
    recording = Recording()
    for i, t in enumerate([0.0, 0.0, 0.1, 0.2, 0.2, 0.2]):
        recording.append(TextDelta(0, str(i)), t)
    made = list(writes(steps(rows(recording))))
    frames = [FrameDecoder().receive_data(write.data) for write in made]
    assert [write.due for write in made] == [0.0, 0.1, 0.2]
    assert [len(batch) for batch in frames] == [write.events for write in made] == [2, 1, 3]


def test_writes_stay_small_however_much_is_due():
    """Many events at one moment are several writes, so that other streams get their turn."""
    recording = Recording()
    for _ in range(2000):
        recording.append(TextDelta(0, "word"), 0.0)
    sizes = [len(write.data) for write in writes(steps(rows(recording)))]
    assert len(sizes) > 5
    assert max(sizes) < 64 * 2**10


def test_a_client_that_goes_away_leaves_the_server_well(server, client):
    """After a connection was dropped in the middle of a stream, the next request is answered."""
    parts = urlsplit(server.endpoint_url)
    body = json.dumps({"messages": ask("Write a short story about a lighthouse")}).encode()
    head = "POST /model/m/converse-stream HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with BedrockServer(latency=Latency(ttft=0.01, per_token=0.01)) as slow:
        with socket.create_connection((parts.hostname, urlsplit(slow.endpoint_url).port), 10) as connection:
            connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            connection.recv(300)
        other = slow.client()
        assert other.converse(modelId="m", messages=ask("Count from 1 to 2"))["stopReason"] == "end_turn"
        other.close()


def test_a_server_closes_while_a_stream_is_open():
    """close() does not wait for an answer that would take minutes."""
    with BedrockServer(latency=Latency(ttft=0.01, per_token=60)) as server:
        client = server.client(config=ONCE)
        stream = client.converse_stream(modelId="m", messages=ask("Tell me about rainbows"))["stream"]
        assert next(iter(stream)) == {"messageStart": {"role": "assistant"}}
    stream.close()
    client.close()


def test_a_server_says_what_it_is_without_saying_where():
    """The repr has no port and no address, so saved notebooks stay comparable."""
    server = BedrockServer(port=0, latency=Latency(ttft=1.0))
    assert repr(server) == "<BedrockServer: embedded, Latency(ttft=1.0, per_token=0.02), not running>"
    with server:
        assert repr(server) == "<BedrockServer: embedded, Latency(ttft=1.0, per_token=0.02)>"
        server.start()  # again: nothing happens
    server.close()  # again: nothing happens
    with pytest.raises(ServerError, match="not running"):
        _ = server.endpoint_url


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"responder": "canned"}, "responder is of type str"),
        ({"latency": 0.3}, "latency is 0.3"),
    ],
)
def test_wrong_arguments_are_refused_at_once(arguments, words):
    """A server that could not work is not made."""
    with pytest.raises(RequestError, match=words):
        BedrockServer(**arguments)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.com", ""])
def test_it_listens_on_this_machine_only(host):
    """An address that others could reach is refused."""
    with pytest.raises(RequestError, match="this machine only"):
        BedrockServer(host=host).start()


@pytest.mark.parametrize("port", [-1, 65536, "8080", True])
def test_a_port_must_be_one(port):
    """A port that cannot exist is refused with the range that can."""
    with pytest.raises(RequestError, match=r"0 .* to 65535"):
        BedrockServer(port=port).start()


def test_a_port_in_use_is_explained(server):
    """The error names the port and offers another way."""
    port = urlsplit(server.endpoint_url).port
    with pytest.raises(ServerError, match=rf"Port {port} is in use.*--port 0"):
        BedrockServer(port=port).start()


def test_an_sdk_finds_it_through_the_environment(server, monkeypatch):
    """A client made without any argument of ours reaches the server through the SDK's own variables."""
    for name, value in {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.Session().client("bedrock-runtime")
    assert client.converse(modelId="m", messages=ask("Count to 2"))["stopReason"] == "end_turn"
    client.close()


def test_a_percent_encoded_path_is_decoded_once(post):
    """A model id may hold what looks like an escape."""
    status, _, _ = post(f"/model/{quote('50%25 off', safe='')}/converse", {"messages": ask("hello")})
    assert status == 200


def test_responders_that_wait_do_not_make_others_wait():
    """More of them at once than a small machine's usual threads: all are asked before one has answered."""
    together = threading.Barrier(12)

    def waiting(request: Request) -> Recording:
        together.wait(timeout=30)  # broken, and so an error, if fewer than twelve run at once
        return canned(request)

    with BedrockServer(waiting, latency=INSTANT) as server, ThreadPoolExecutor(12) as pool:
        client = server.client()
        calls = [pool.submit(client.converse, modelId="m", messages=HELLO) for _ in range(12)]
        assert {call.result()["stopReason"] for call in calls} == {"end_turn"}


def test_closing_does_not_wait_for_a_responder():
    """A responder that hangs does not hang the notebook that closes its server."""
    asked, go_on = threading.Event(), threading.Event()

    def hanging(request: Request) -> Recording:
        asked.set()
        go_on.wait(timeout=60)
        return canned(request)

    server = BedrockServer(hanging, latency=INSTANT).start()
    client = server.client(config=ONCE)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.converse, modelId="m", messages=HELLO)
        assert asked.wait(timeout=30)
        server.close()
        assert not go_on.is_set()
        go_on.set()
        with pytest.raises((HTTPClientError, ClientError)):
            call.result(timeout=30)
