"""HTTP/2 without asking first, as raw clients speak it: what they get is what HTTP/1.1 gets."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from urllib.parse import unquote, urlsplit

import h2.connection
import h2.events
import h2.settings
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from h2.errors import ErrorCodes

from bedrock_nb.events import TextDelta
from bedrock_nb.eventstream import FrameDecoder
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency, canned, faults, recorded
from bedrock_nb.server.guard import MAX_BODY
from bedrock_nb.server.loopback import REGION, keys_of

HELLO = json.dumps({"messages": [{"role": "user", "content": [{"text": "Tell me about rainbows"}]}]}).encode()
STREAM = "/model/any.model/converse-stream"
WHOLE = "/model/any.model/converse"
PATIENCE = 20.0  # seconds: a guard, not a measurement


class Got:
    """What came on one stream."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body = b""
        self.pieces = 0
        self.ended = False
        self.reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None


class Client:
    """A client of HTTP/2 over a socket; closed at the end of a ``with``."""

    def __init__(self, url: str, **settings: int) -> None:
        self.host = urlsplit(url).netloc
        self.sock = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=PATIENCE)
        self.h2 = h2.connection.H2Connection()
        if settings:
            codes = {getattr(h2.settings.SettingCodes, name): value for name, value in settings.items()}
            self.h2.local_settings = h2.settings.Settings(client=True, initial_values=codes)
        self.h2.initiate_connection()
        self.got: dict[int, Got] = defaultdict(Got)
        self.gone_away: int | None = None
        self.acknowledges = True

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def flush(self) -> None:
        self.sock.sendall(self.h2.data_to_send())

    def begin(self, path: str, method: str = "POST", end: bool = False, **headers: str) -> int:
        """Send a head; an underscore in a name is a hyphen."""
        said = {
            ":method": method,
            ":scheme": "http",
            ":authority": headers.pop("authority", self.host),
            ":path": path,
            **({} if end else {"content-type": "application/json"}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, list(said.items()), end_stream=end)
        self.flush()
        return stream

    def ask(self, path: str, body: bytes = HELLO, **headers: str) -> int:
        stream = self.begin(path, **headers)
        self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def read(self) -> bool:
        """Take what comes next; whether there was anything."""
        data = self.sock.recv(65536)
        for event in self.h2.receive_data(data) if data else ():
            got = self.got[getattr(event, "stream_id", None) or 0]
            match event:
                case h2.events.ResponseReceived():
                    got.headers = {name.decode(): value.decode() for name, value in event.headers}
                case h2.events.DataReceived():
                    got.body += event.data
                    got.pieces += bool(event.data)
                    if self.acknowledges and event.flow_controlled_length:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    got.ended = True
                case h2.events.StreamReset():
                    got.reset = event.error_code
                case h2.events.ConnectionTerminated():
                    self.gone_away = event.error_code
        if self.gone_away is None:
            self.flush()
        return bool(data)

    def until(self, done: Callable[[], bool]) -> None:
        while not done() and self.read():
            pass
        assert done(), f"the connection ended first: {self.got}"

    def answer(self, stream: int) -> Got:
        self.until(lambda: self.got[stream].over)
        return self.got[stream]


@pytest.fixture
def speaker(server):
    with Client(server.endpoint_url) as client:
        yield client


def texts(body: bytes) -> str:
    frames = FrameDecoder().receive_data(body)
    payloads = [json.loads(frame.payload) for frame in frames]
    return "".join(payload["delta"]["text"] for payload in payloads if "text" in payload.get("delta", {}))


def outcome_of(server: BedrockServer, got: Got) -> str:
    """How the server says that it ended; it may know that a little later than the client."""
    truth = server.truth(got.headers["x-amzn-requestid"])
    while truth.outcome == "open":
        time.sleep(0.005)
    return truth.outcome


# -- whole requests --------------------------------------------------------------------------------


def test_a_whole_answer_is_that_of_http1(speaker, post):
    """Status, body and headers are the same, but for the id and what belongs to a connection."""
    got = speaker.answer(speaker.ask(WHOLE))
    status, headers, body = post(WHOLE, HELLO)
    assert (got.headers[":status"], got.body) == (str(status), body)
    own = {"date", "x-amzn-requestid", "connection"}
    assert got.headers.keys() - {":status"} - own == {name.lower() for name in headers} - own


def test_streams_of_one_connection_are_answered_side_by_side(speaker):
    """Three requests that are sent at once get three whole streams."""
    streams = [speaker.ask(STREAM) for _ in range(3)]
    expected = canned(Request("any.model", "Tell me about rainbows")).text
    assert [texts(speaker.answer(stream).body) for stream in streams] == [expected] * 3


def _more(got: Got, before: int) -> bool:
    return got.over or got.pieces > before


def test_an_event_arrives_before_the_next_is_made():
    """Nothing is kept back: the responder goes on only when the client has what came before."""
    seen = threading.Semaphore(0)

    def slow(request):
        for event in recorded(request, "one two three"):
            yield event
            assert seen.acquire(timeout=PATIENCE)

    with BedrockServer(slow, latency=Latency.none()) as server, Client(server.endpoint_url) as client:
        stream = client.ask(STREAM)
        got = client.got[stream]
        while not got.over:
            client.until(partial(_more, got, got.pieces))
            seen.release()
    assert got.ended
    assert texts(got.body) == "one two three"


def test_the_preface_may_come_a_byte_at_a_time(server):
    """How the bytes are cut does not matter."""
    with Client(server.endpoint_url) as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in client.h2.data_to_send():
            client.sock.sendall(bytes([byte]))
        assert client.answer(client.ask(WHOLE)).headers[":status"] == "200"


@pytest.mark.parametrize("first", [b"P", b"PR", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"])
def test_what_only_begins_like_the_preface_is_http1(server, first):
    """A method may begin with a P; what is neither is told so in HTTP/1.1."""
    place = urlsplit(server.endpoint_url)
    with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as sock:
        sock.sendall(first)
        sock.sendall(b"UT / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert answer.split()[1] == (b"404" if first == b"P" else b"400")
    assert b"ValidationException" in answer or first == b"P"


def test_a_head_has_no_body(speaker):
    """HEAD, an answer without a body, ends at once."""
    got = speaker.answer(speaker.begin("/foundation-models", "HEAD", end=True))
    assert got.ended
    assert got.body == b""


@pytest.mark.parametrize("model", ["a%2Fb", "a%20b%3A0", "%C3%A9..%2F.."])
def test_a_path_arrives_as_it_was_encoded(model):
    """Percent-encoding is nobody's to change on the way."""
    seen: list[str] = []

    def note(request) -> Recording:
        seen.append(request.model)
        return recorded(request, "Noted.")

    with BedrockServer(note, latency=Latency.none()) as server, Client(server.endpoint_url) as client:
        client.answer(client.ask(f"/model/{model}/converse"))
    assert seen == [unquote(model)]


# -- what is checked -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authority": "evil.example"}, "403"),
        ({"authority": "127.0.0.1:1"}, "403"),
        ({"origin": "http://evil.example"}, "403"),
        ({"sec_fetch_site": "cross-site"}, "403"),
        ({"content_type": "text/plain"}, "415"),
        ({"expect": "200-maybe"}, "417"),
    ],
)
def test_what_http1_is_refused_is_refused(speaker, headers, status):
    """Host, Origin and type are looked at behind the bridge."""
    headers = dict(headers)
    kind = headers.pop("content_type", None)
    if kind is not None:
        headers["content-type"] = kind
    got = speaker.answer(speaker.ask(WHOLE, **headers))
    assert got.headers[":status"] == status
    assert "x-amzn-errortype" in got.headers


@pytest.mark.parametrize("path", ["nowhere", "/a#b", "*"])
def test_a_path_that_is_none_is_refused(speaker, path):
    """What cannot stand in the first line of a request gets no further."""
    got = speaker.answer(speaker.ask(path))
    assert got.headers[":status"] == "400"
    assert b"the path" in got.body


@pytest.mark.parametrize(("secret", "status"), [("", "200"), ("wrong", "403")])
def test_a_signature_is_checked(server, secret, status):
    """A request under the server's own key has to be signed with it, Host and body too."""
    keys = keys_of[server.endpoint_url]
    request = AWSRequest("POST", server.endpoint_url + WHOLE, data=HELLO)
    SigV4Auth(Credentials(keys.access_key, secret or keys.secret_key), "bedrock", REGION).add_auth(request)
    headers = {name.lower(): value for name, value in request.headers.items()}
    with Client(server.endpoint_url) as client:
        assert client.answer(client.ask(WHOLE, **headers)).headers[":status"] == status


# -- bodies and windows ----------------------------------------------------------------------------


def send_all(client: Client, stream: int, size: int) -> None:
    """Send a body of blanks, as much at a time as the server has room for, until it has answered."""
    left, got = size, client.got[stream]
    while left and not got.headers and not got.over:
        room = client.h2.local_flow_control_window(stream)
        piece = min(left, room, client.h2.max_outbound_frame_size)
        if piece:
            client.h2.send_data(stream, b" " * piece, end_stream=piece == left)
            client.flush()
            left -= piece
        else:
            client.read()


def test_a_large_body_arrives(speaker):
    """Eight megabytes are more than any window; all of it is read."""
    stream = speaker.begin(WHOLE)
    padding = 8 * 2**20
    left = padding
    while left:
        room = min(left, speaker.h2.local_flow_control_window(stream), speaker.h2.max_outbound_frame_size)
        if room:
            speaker.h2.send_data(stream, b" " * room)
            speaker.flush()
            left -= room
        else:
            speaker.read()
    speaker.until(lambda: speaker.h2.local_flow_control_window(stream) > len(HELLO))
    speaker.h2.send_data(stream, HELLO, end_stream=True)
    speaker.flush()
    assert speaker.answer(stream).headers[":status"] == "200"


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_refused(speaker, declared):
    """413, whether its size is said before or found out; and the connection is still good."""
    said = {"content-length": str(MAX_BODY + 1)} if declared else {}
    stream = speaker.begin(WHOLE, **said)
    send_all(speaker, stream, MAX_BODY + 1)
    assert speaker.answer(stream).headers[":status"] == "413"
    assert speaker.answer(speaker.ask(WHOLE)).headers[":status"] == "200"


def test_an_answer_waits_for_the_window(server):
    """With room for 100 bytes, 100 bytes come; the rest comes when there is room for it."""
    with Client(server.endpoint_url, INITIAL_WINDOW_SIZE=100) as client:
        client.acknowledges = False
        stream = client.ask(STREAM)
        got = client.got[stream]
        client.until(lambda: len(got.body) == 100)
        client.h2.ping(b"12345678")  # whatever the server had to send stands before its answer
        client.flush()
        client.read()
        assert (len(got.body), got.over) == (100, False)
        client.h2.increment_flow_control_window(2**20, stream)
        client.flush()
        assert client.answer(stream).ended
        assert outcome_of(server, got) == "complete"
    assert texts(got.body).startswith("# Rainbows")


# -- what breaks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [faults.reset(after=5), faults.cut(after=5)], ids=["reset", "cut"])
def test_an_answer_that_breaks_off_resets_its_stream(fault):
    """The stream ends in RST_STREAM, after what was sent; its neighbours and the connection live on."""
    with BedrockServer(canned, latency=Latency.none()) as server, Client(server.endpoint_url) as client:
        with server.fault(fault):
            got = client.answer(client.ask(STREAM))
        assert (got.reset, got.ended) == (ErrorCodes.INTERNAL_ERROR, False)
        assert len(FrameDecoder().receive_data(got.body)) == 5
        assert outcome_of(server, got) == "broken"
        assert client.answer(client.ask(WHOLE)).headers[":status"] == "200"


@pytest.mark.parametrize("how", ["reset", "close"])
def test_a_client_that_leaves_is_noticed(how):
    """A stream that the client resets, or takes with it, is closed: the responder, and the truth, know."""
    closed = threading.Event()

    def endless(request):
        try:
            yield from list(recorded(request, "one"))[:2]
            while True:
                yield TextDelta(0, "more ")
        finally:
            closed.set()

    with BedrockServer(endless, latency=Latency.none()) as server, Client(server.endpoint_url) as client:
        stream = client.ask(STREAM)
        got = client.got[stream]
        client.until(lambda: len(got.body) > 1000)
        if how == "reset":
            client.h2.reset_stream(stream, ErrorCodes.CANCEL)
            client.flush()
        else:
            client.sock.close()
        assert closed.wait(PATIENCE)
        assert outcome_of(server, got) == "gone"
        if how == "reset":
            assert client.answer(client.begin("/foundation-models", "GET", end=True)).ended


@pytest.mark.parametrize(
    "garbage",
    [bytes(64), b"\0\0\0\1" + bytes(60), b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n"],
    ids=["data", "headers", "ones", "http1"],
)
def test_garbage_after_the_preface_ends_the_connection(server, garbage):
    """Who breaks the rules of HTTP/2 gets a GOAWAY that says so, and nothing more."""
    with Client(server.endpoint_url) as client:
        client.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + garbage)
        data = b"".join(iter(lambda: client.sock.recv(65536), b""))  # nothing is sent while it comes
        last = client.h2.receive_data(data)[-1]
        assert isinstance(last, h2.events.ConnectionTerminated)
        assert last.error_code != ErrorCodes.NO_ERROR


@pytest.mark.parametrize("last", [b"", b"\0\0\x08\x06\0\0\0\0\0" + bytes(8)], ids=["", "and a ping"])
def test_a_client_may_say_goodbye_and_wait_for_its_answer(last):
    """After a GOAWAY what is open goes on to its end, whatever came with it; then all is closed."""
    go = threading.Event()

    def slow(request):
        assert go.wait(PATIENCE)
        return recorded(request, "At last.")

    with BedrockServer(slow, latency=Latency.none()) as server, Client(server.endpoint_url) as client:
        stream = client.ask(WHOLE)
        client.acknowledges = False  # the server may have closed when that would be sent
        goaway = b"\0\0\x08\x07\0\0\0\0\0" + bytes(8)
        client.sock.sendall(goaway + last)
        go.set()
        assert b"At last." in client.answer(stream).body
        assert client.got[stream].ended
        while client.read():
            pass  # until the server closes


def test_a_server_that_stops_resets_what_is_open():
    """Nothing is left of a bridge: the client is told, and the server's thread ends."""
    with BedrockServer(canned, latency=Latency(ttft=0.0, per_token=3600.0)) as server:
        client = Client(server.endpoint_url)
        stream = client.ask(STREAM)
        client.until(lambda: bool(client.got[stream].body))
    with client:
        client.until(lambda: client.gone_away is not None)
        assert client.got[stream].reset == ErrorCodes.INTERNAL_ERROR
        assert not client.read()


# -- without the library ---------------------------------------------------------------------------


def test_without_the_library_the_client_is_told_what_to_do():
    """A server that has no h2 answers the preface in HTTP/1.1, and everything else as ever."""
    code = """
import socket, sys
sys.modules["h2"] = None
from urllib.request import urlopen
from bedrock_nb.server import BedrockServer
with BedrockServer() as server:
    port = int(server.endpoint_url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
        print(b"".join(iter(lambda: sock.recv(4096), b"")).decode())
    print(urlopen(server.endpoint_url + "/status.json").status)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("HTTP/1.1 400 ValidationException"), done.stderr
    assert "pip install h2" in done.stdout
    assert done.stdout.rstrip().endswith("200")
