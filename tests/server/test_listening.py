"""The socket and its guard: what is no request of this machine, in time and of bearable size, is told so."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from botocore.config import Config

from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency, canned, faults, recorded
from bedrock_nb.server.endpoint import Endpoint
from bedrock_nb.server.fault import Faults, plan
from bedrock_nb.server.guard import MAX_BODY, MAX_HEAD, read_body
from bedrock_nb.server.listening import Limits, listen
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.responders import Responder

HELLO = [{"role": "user", "content": [{"text": "Count to 3"}]}]
BODY = json.dumps({"messages": HELLO}).encode()
PATIENT = 30.0  # seconds after which a test gives up; nothing waits so long
SHORT = 0.3  # seconds
LARGE = 20_000_000  # bytes, more than any system keeps for one connection
POST = "POST /model/m/converse HTTP/1.1\r\n"
JSON = "Content-Type: application/json\r\n"


class Running:
    """A listener with its endpoint in a loop of its own, in a thread."""

    def __init__(self, limits: Limits, responder: Responder = canned, fault: Faults = None) -> None:
        self.endpoint = Endpoint(responder, Latency.none(), lambda: plan(fault))
        self.large: list[asyncio.Transport] = []
        self._limits = limits
        self._up = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        self._thread.start()
        assert self._up.wait(PATIENT)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """The endpoint, and a few ways to go wrong that it has not."""
        match request.path:
            case "/fail":
                raise LookupError("no such thing")
            case "/begin-and-fail":
                response = web.StreamResponse()
                await response.prepare(request)
                await response.write(b"so far")
                raise LookupError("no such thing")
            case "/large":
                assert isinstance(request.transport, asyncio.Transport)
                self.large.append(request.transport)
                return web.Response(body=b"x" * LARGE)
            case "/refuse":
                raise Refusal(418, "TeapotException", "I am one.")
            case _:
                return await self.endpoint.handle(request)

    async def _serve(self) -> None:
        listener = await listen(self._handle, "127.0.0.1", 0, self._limits)
        self.port = listener.port
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._up.set()
        await self._stop.wait()
        await listener.close()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


@contextmanager
def serving(*args: Any, connections: int = 100, **short: float) -> Iterator[Running]:
    """A server that has patience but for what is named."""
    limits = {"head": 60.0, "body": 60.0, "idle": 60.0, "reader": 60.0, **short}
    running = Running(Limits(**limits, connections=connections), *args)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def calm() -> Iterator[Running]:
    with serving() as running:
        yield running


class Seen(NamedTuple):
    """One response, as bytes and in parts."""

    status: int
    headers: dict[str, str]
    body: bytes
    closed: bool = False

    @property
    def code(self) -> str:
        """The service's name for the error."""
        return self.headers["x-amzn-errortype"].partition(":")[0]


def read(connection: socket.socket, *, to_the_end: bool = False) -> Seen:
    """One response; to the end of the connection if asked."""
    connection.settimeout(PATIENT)
    data = b""
    closed = False
    while not closed:
        head, found, body = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        if found and not to_the_end and len(body) >= int(headers.get("content-length", "-1")) >= 0:
            break
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            piece = b""
        data, closed = data + piece, not piece
    assert found, f"the connection ended without an answer after {data!r}"
    return Seen(int(lines[0].split()[1]), headers, body, closed)


def dial(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), PATIENT)


def tell(running: Running, *data: bytes | str) -> Seen:
    """Send and read to the end of the connection; a server that has closed already may still have spoken."""
    with dial(running) as connection:
        with suppress(ConnectionError):
            for piece in data:
                connection.sendall(piece.encode("latin-1") if isinstance(piece, str) else piece)
        return read(connection)


def in_the_services_form(seen: Seen, status: int, code: str) -> None:
    """Whether an error is as Bedrock's errors are."""
    assert (seen.status, seen.code) == (status, code)
    assert seen.headers["content-type"].startswith("application/json")
    assert len(seen.headers["x-amzn-requestid"]) == 36
    assert "server" not in seen.headers
    assert json.loads(seen.body)["message"]


def request(fields: str = "", *, stream: bool = False) -> bytes:
    """A request that is all right."""
    line = POST.replace("converse", "converse-stream") if stream else POST
    return f"{line}Host: localhost\r\n{fields}{JSON}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY


# -- patience --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", ["", "P", "POST /model/m/converse HT", f"{POST}Host: localhost\r\nX-Slow: y"]
)
def test_a_head_that_does_not_come_is_answered_408(said):
    """Whoever connects and says nothing, or half a head, is told why, and the connection is closed."""
    with serving(head=SHORT) as running, dial(running) as connection:
        connection.sendall(said.encode())
        seen = read(connection, to_the_end=True)
    in_the_services_form(seen, 408, "RequestTimeoutException")
    assert seen.closed
    assert seen.headers["connection"] == "close"


def test_a_head_that_dribbles_is_answered_408():
    """A byte now and then does not keep a connection open."""
    with serving(head=SHORT) as running, dial(running) as connection:
        connection.sendall(f"{POST}X-Slow: ".encode())
        connection.settimeout(0.02)
        end = time.monotonic() + PATIENT
        heard = b""
        while not heard and time.monotonic() < end:
            with suppress(TimeoutError, ConnectionError):
                connection.sendall(b"y")
                heard = connection.recv(65536)
    assert heard.startswith(b"HTTP/1.1 408 ")


def test_an_idle_connection_is_closed():
    """After an answer a connection may be silent for a while, and then is closed without a word."""
    with serving(idle=SHORT) as running, dial(running) as connection:
        connection.sendall(request())
        assert read(connection).status == 200
        assert connection.recv(100) == b""


def test_a_connection_is_used_again(calm):
    """Between two requests nothing is closed, as botocore's pool expects."""
    with dial(calm) as connection:
        for _ in range(3):
            connection.sendall(request())
            assert read(connection).status == 200
        connection.sendall(request() + request("Connection: close\r\n"))  # pipelined
        both = read(connection, to_the_end=True)
    assert both.status == 200
    assert both.body.count(b"HTTP/1.1 200 OK") == 1


def test_a_body_that_does_not_come_is_answered_408():
    """A head that announces a body which never arrives whole does not hold its place for ever."""
    with serving(body=SHORT) as running, dial(running) as connection:
        connection.sendall(request()[:-5])
        seen = read(connection)
    in_the_services_form(seen, 408, "RequestTimeoutException")
    assert "body" in json.loads(seen.body)["message"]


def test_a_body_that_dribbles_is_answered_408():
    """So is one of which a byte comes now and then."""
    with serving(body=SHORT) as running, dial(running) as connection:
        connection.sendall(f"{POST}Host: localhost\r\n{JSON}Content-Length: 100000\r\n\r\n".encode())
        connection.settimeout(0.02)
        end = time.monotonic() + PATIENT
        heard = b""
        while not heard and time.monotonic() < end:
            with suppress(TimeoutError, ConnectionError):
                connection.sendall(b" ")
                heard = connection.recv(65536)
    assert heard.startswith(b"HTTP/1.1 408 ")


def test_an_answer_may_take_longer_than_patience_lasts():
    """Being served is not being idle: a reply with a long stall comes to its end."""
    stall = faults.stall(after=2, seconds=4 * SHORT)
    with serving(canned, stall, idle=SHORT, reader=SHORT) as running, dial(running) as connection:
        connection.sendall(request("Connection: close\r\n", stream=True))
        seen = read(connection, to_the_end=True)
    assert seen.status == 200
    assert seen.body.endswith(b"0\r\n\r\n")


def test_too_many_connections_are_turned_away():
    """The third of two gets 503; once one has gone there is room again."""
    models = "GET /foundation-models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(connections=2) as running, dial(running) as first, dial(running):
        # Connections are accepted in the order in which they were made.
        in_the_services_form(tell(running, models), 503, "ServiceUnavailableException")
        first.close()
        end = time.monotonic() + PATIENT
        while (seen := tell(running, models)).status == 503:
            assert time.monotonic() < end
    assert seen.status == 200


def narrow(running: Running) -> socket.socket:
    """A connection of a client that takes little at a time."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(PATIENT)
    connection.connect(("127.0.0.1", running.port))
    return connection


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENT
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def long_winded(request_: Request) -> Recording:
    return recorded(request_, "word " * 300_000)


def test_a_reader_that_takes_nothing_is_cut_off():
    """A stream that nobody reads ends, and its truth says that the client is gone."""
    with serving(long_winded, reader=SHORT) as running, narrow(running) as connection:
        connection.sendall(request(stream=True))
        log = running.endpoint.log
        until(lambda: bool(log.latest(1)) and log.latest(1)[0].outcome != "open")
        (known,) = log.latest(2)
    assert known.outcome == "gone"


def test_a_plain_answer_that_nobody_takes_is_cut_off():
    """Also when its handler is done and the connection would be idle, nothing is kept for ever."""
    with serving(reader=4 * SHORT, idle=SHORT) as running, narrow(running) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: bool(running.large) and running.large[0].is_closing())
        until(lambda: running.large[0].get_write_buffer_size() == 0)
        size = sum(len(piece) for piece in iter(lambda: connection.recv(65536), b""))
    assert size < LARGE


def test_a_slow_reader_gets_all_of_its_answer():
    """Whoever has not taken all of an answer yet is not idle, and may ask again afterwards."""
    with serving(idle=1.0) as running, narrow(running) as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: bool(running.large) and running.large[0].get_write_buffer_size() > 0)
        time.sleep(1.5)  # the server has every occasion to do the wrong thing
        _, _, body = connection.recv(2_000).partition(b"\r\n\r\n")
        missing = LARGE - len(body)
        while missing:
            missing -= len(connection.recv(min(missing, 65536)))
        connection.sendall(request())
        assert read(connection).status == 200


# -- what is no request ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [
        "nonsense\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n",
        "GET  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
        f"{POST}Host: localhost\r\n{JSON}Content-Length: abc\r\n\r\n",
        f"{POST}Host: localhost\r\n{JSON}Content-Length: -1\r\n\r\n",
        f"{POST}Host: localhost\r\n{JSON}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
        f"{POST}Host: localhost\r\n{JSON}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{{}}",
    ],
    ids=[
        "words",
        "TLS",
        "no colon",
        "two hosts",
        "no path",
        "version",
        "length abc",
        "length -1",
        "two lengths",
        "length and chunks",
    ],
)
def test_what_is_no_http_gets_400_in_the_services_form(calm, garbage):
    """Bytes that are no request are answered as the service answers, and the connection is closed."""
    with dial(calm) as connection:
        connection.sendall(garbage.encode("latin-1"))
        seen = read(connection, to_the_end=True)
    in_the_services_form(seen, 400, "ValidationException")
    assert seen.closed


@pytest.mark.parametrize("kibibytes", [17, 65, 300, 2_000])
def test_a_field_that_is_too_large_is_answered(calm, kibibytes):
    """One header over the limit gets 400 or 413, however much of it comes, and is not just dropped."""
    seen = tell(calm, f"{POST}Host: localhost\r\nX-Large: {'x' * kibibytes * 1024}\r\n\r\n")
    assert seen.status in (400, 413)
    in_the_services_form(seen, seen.status, seen.code)


@pytest.mark.parametrize("fields", [8, 60, 500])
def test_many_fields_that_are_too_large_are_answered(calm, fields):
    """The same for many of bearable size that are too much together."""
    each = 70 * 1024 // fields
    head = "".join(f"X-{i}: {'x' * each}\r\n" for i in range(fields))
    seen = tell(calm, f"{POST}Host: localhost\r\n{head}\r\n")
    assert seen.status in (400, 413)
    in_the_services_form(seen, seen.status, seen.code)


def test_a_path_that_is_too_long_is_answered(calm):
    """So is a request line that never ends."""
    seen = tell(calm, f"POST /model/{'x' * 100_000}/converse HTTP/1.1\r\nHost: localhost\r\n\r\n")
    in_the_services_form(seen, 400, "ValidationException")


def test_a_head_just_under_the_limit_passes(calm):
    """Four fields of nearly 16 KiB are no reason to refuse."""
    head = "".join(f"X-{i}: {'x' * (MAX_HEAD // 4 - 200)}\r\n" for i in range(4))
    seen = tell(calm, f"{POST}Host: localhost\r\n{JSON}{head}Content-Length: {len(BODY)}\r\n\r\n", BODY)
    assert seen.status == 200


@pytest.mark.parametrize(
    ("wish", "status"), [("100-continue", 100), ("100-CONTINUE", 100), ("a miracle", 417)]
)
def test_expectations_are_met_or_refused_in_the_services_form(calm, wish, status):
    """A client that asks first is told to go on; any other wish cannot be met."""
    with dial(calm) as connection:
        connection.sendall(
            f"{POST}Host: localhost\r\n{JSON}Expect: {wish}\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
        )
        if status == 100:
            connection.settimeout(PATIENT)
            assert connection.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            connection.sendall(BODY)
            assert read(connection).status == 200
        else:
            in_the_services_form(read(connection), 417, "ValidationException")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/fail", 500, "InternalServerException"), ("/refuse", 418, "TeapotException")],
)
def test_what_a_handler_raises_is_answered_in_the_services_form(calm, path, status, code):
    """A refusal as it says, anything else as an internal error that names it."""
    in_the_services_form(tell(calm, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"), status, code)


def test_an_answer_that_breaks_off_is_not_followed_by_another(calm):
    """Once a body has begun there is no place for an error: the connection ends in the middle of it."""
    with dial(calm) as connection:
        connection.sendall(b"GET /begin-and-fail HTTP/1.1\r\nHost: localhost\r\n\r\n")
        seen = read(connection, to_the_end=True)
    assert seen.status == 200
    assert seen.closed
    assert seen.body == b"6\r\nso far\r\n"


# -- bodies ----------------------------------------------------------------------------------------


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_chunked_body_is_read(calm, size):
    """Whatever its chunks, the body is what they hold."""
    head = f"{POST}Host: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    assert tell(calm, head, chunked(BODY, size)).status == 200


def test_a_body_declared_too_large_is_refused_before_it_comes(calm):
    """Nobody has to send 25 MiB to learn that they are too many."""
    seen = tell(calm, f"{POST}Host: localhost\r\n{JSON}Content-Length: {MAX_BODY + 1}\r\n\r\n")
    in_the_services_form(seen, 413, "RequestEntityTooLargeException")


def test_a_chunked_body_that_grows_too_large_is_refused(calm):
    """Without a declared length it is refused once it has."""
    head = f"{POST}Host: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\n"
    seen = tell(calm, head, chunked(b" " * (MAX_BODY + 1), 2**20))
    in_the_services_form(seen, 413, "RequestEntityTooLargeException")


def test_a_broken_chunk_is_answered(calm):
    """A chunk whose size is no number is an error of the request."""
    seen = tell(calm, f"{POST}Host: localhost\r\n{JSON}Transfer-Encoding: chunked\r\n\r\nxyz\r\n")
    assert seen.status == 400
    in_the_services_form(seen, 400, seen.code)


def test_a_body_shorter_than_declared_is_no_request(calm):
    """Who hangs up in the middle of a body is gone; the next is answered."""
    with dial(calm) as connection:
        connection.sendall(request()[:-5])
    assert tell(calm, request()).status == 200


def test_what_follows_a_body_is_the_next_request(calm):
    """A body longer than declared is cut where it was declared to end, and the rest is no HTTP."""
    with dial(calm) as connection:
        connection.sendall(request())
        assert read(connection).status == 200
        connection.sendall(b"rest\r\n\r\n")
        in_the_services_form(read(connection, to_the_end=True), 400, "ValidationException")


# -- who may ask -----------------------------------------------------------------------------------

PAGES = ["/", "/status.json", "/foundation-models"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1:{port}", True),
        ("localhost:{port}", True),
        ("LocalHost:{port}", True),
        ("[::1]:{port}", True),
        ("127.0.0.1", True),
        ("[::1]", True),
        ("localhost:", True),
        (None, False),
        ("", False),
        (":{port}", False),
        ("localhost.:{port}", False),
        ("127.0.0.1.:{port}", False),
        ("127.0.0.1:{other}", False),
        ("127.0.0.1:0{port}", False),
        ("127.0.0.1:{port}:{port}", False),
        ("127.0.0.1.evil.example:{port}", False),
        ("evil.example", False),
        ("localhost.evil.example:{port}", False),
        ("evil.example@127.0.0.1:{port}", False),
        ("127.0.0.1@evil.example:{port}", False),
        ("127.0.0.1:{port}@evil.example", False),
        ("127.0.0.1#evil.example:{port}", False),
        ("127.1:{port}", False),
        ("2130706433:{port}", False),
        ("0.0.0.0:{port}", False),
        ("[::]:{port}", False),
        ("::1", False),
        ("[::ffff:127.0.0.1]:{port}", False),
        ("[::1].evil.example:{port}", False),
        ("127.0.0.1:{port}, evil.example", False),
    ],
)
def test_only_the_names_of_this_machine_are_hosts(calm, path, host, allowed):
    """Against DNS rebinding: a name by which a page could have come here is refused, and so is none."""
    line = "" if host is None else f"Host: {host.format(port=calm.port, other=calm.port ^ 1)}\r\n"
    seen = tell(calm, f"GET {path} HTTP/1.1\r\n{line}\r\n")
    if allowed:
        assert seen.status == 200
    else:
        assert seen.status in (400, 403)
        in_the_services_form(seen, seen.status, seen.code)


@pytest.mark.parametrize("path", PAGES)
def test_an_old_client_names_its_host_too(calm, path):
    """HTTP/1.0 needs no Host, but this server does: an address is not made up for it."""
    in_the_services_form(tell(calm, f"GET {path} HTTP/1.0\r\n\r\n"), 403, "AccessDeniedException")
    assert tell(calm, f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").status == 200


@pytest.mark.parametrize("method", ["GET / ", "GET /status.json ", "POST /model/m/converse ", "OPTIONS / "])
@pytest.mark.parametrize(
    "field",
    [
        "Origin: null",
        "Origin:",
        "Origin: http://localhost",
        "Origin: http://127.0.0.1:{port}",
        "Origin: https://evil.example",
        "origin: file://",
        "Sec-Fetch-Site: cross-site",
    ],
)
def test_web_pages_are_not_answered(calm, method, field):
    """Any Origin is refused, for no page has business here, and so is what says that it crosses sites."""
    field = field.format(port=calm.port)
    seen = tell(calm, f"{method}HTTP/1.1\r\nHost: 127.0.0.1:{calm.port}\r\n{field}\r\n\r\n")
    in_the_services_form(seen, 403, "AccessDeniedException")
    assert not [name for name in seen.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_the_status_page_and_its_own_requests_are_answered(calm, site):
    """Typed into the address bar, or asked by the page itself."""
    for path in PAGES:
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{calm.port}\r\nSec-Fetch-Site: {site}\r\n\r\n"
        assert tell(calm, head).status == 200


@pytest.mark.parametrize(
    "line", ["OPTIONS * HTTP/1.1", "CONNECT evil.example:80 HTTP/1.1", "TRACE / HTTP/1.1"]
)
def test_other_methods_are_refused_in_the_services_form(calm, line):
    """No proxy, no options, no echo."""
    seen = tell(calm, f"{line}\r\nHost: 127.0.0.1:{calm.port}\r\n\r\n")
    assert seen.status in (400, 404)
    in_the_services_form(seen, seen.status, seen.code)


# -- the end ---------------------------------------------------------------------------------------


def test_a_server_with_many_open_streams_closes_cleanly():
    """Fifty streams in mid-air: its thread ends, nothing is left open, and the port is free again."""
    before = set(threading.enumerate())
    server = BedrockServer(latency=Latency(ttft=0.0, per_token=60.0)).start()
    port = urlsplit(server.endpoint_url).port
    client = server.client(config=Config(retries={"total_max_attempts": 1}))
    responses = [client.converse_stream(modelId="m", messages=HELLO) for _ in range(50)]
    streams = [response["stream"] for response in responses]
    assert all("messageStart" in next(iter(stream)) for stream in streams)
    truths = [server.truth(response["ResponseMetadata"]["RequestId"]) for response in responses]
    assert {known.outcome for known in truths} == {"open"}
    server.close()
    fresh = set(threading.enumerate()) - before
    assert not [thread for thread in fresh if thread.name == "bedrock-server"]
    for stream in streams:
        stream.close()
    client.close()
    gc.collect()  # a socket left open would warn here, and warnings are errors
    assert [known.outcome for known in truths] == ["gone"] * 50
    with BedrockServer(latency=Latency.none(), port=port) as again:
        assert urlsplit(again.endpoint_url).port == port


@pytest.mark.parametrize("turns", range(6))
def test_who_is_let_in_while_a_server_closes_is_closed_too(turns):
    """However many turns of the loop ago they were accepted: the client hears of it, no socket stays open."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response()

    async def close() -> list[socket.socket]:
        listener = await listen(answer, "127.0.0.1", 0)
        clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.close()
        return clients

    for client in asyncio.run(close()):
        with client, suppress(ConnectionResetError):
            client.settimeout(PATIENT)
            assert client.recv(1) == b""
    gc.collect()  # a socket left open would warn here, and warnings are errors


def test_a_request_without_a_limit_is_waited_for():
    """A body read outside of a listener has all the time that it needs."""

    async def ask() -> bytes:
        read_: list[bytes] = []

        async def handle(request: web.Request) -> web.StreamResponse:
            read_.append(await read_body(request))
            return web.Response()

        app = web.Application()
        app.router.add_post("/", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        _, writer = await asyncio.open_connection(*runner.addresses[0])
        writer.write(f"POST / HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: 2\r\n\r\n{{}}".encode())
        while not read_:
            await asyncio.sleep(0.001)
        writer.close()
        await runner.cleanup()
        return read_[0]

    assert asyncio.run(ask()) == b"{}"
