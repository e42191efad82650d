"""Time limits and Stop under TLS, as on AWS: the socket is another, the promises are the same."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore.config import Config

import bedrock_nb as nb
from bedrock_nb.errors import ConnectionFailed, FirstEventTimeout, IdleTimeout
from bedrock_nb.server.loopback import ACCESS_KEY, REGION, SECRET_KEY
from tests.wire_server import GOOD, GOOD_TEXT, LIMIT, Answer, answer

SHORT = 0.2


class TLSServer:
    """Answers each connection with one answer, and notices when the client closes it."""

    def __init__(self, authority: trustme.CA) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self.context)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{self.listener.getsockname()[1]}"
        self.answers: list[Answer] = []
        self.asked, self.closed = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain = self.listener.accept()[0]
                threading.Thread(target=self.talk, args=(plain,), daemon=True).start()

    def talk(self, plain: socket.socket) -> None:
        with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as connection:
            connection.recv(65536)
            for step in self.answers.pop(0).steps:
                connection.sendall(step)  # type: ignore[arg-type]
            self.asked.set()
            with contextlib.suppress(OSError):
                while connection.recv(65536):
                    pass
        self.closed.set()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(LIMIT)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority) -> Iterator[TLSServer]:
    server = TLSServer(authority)
    yield server
    server.stop()


def _other(authority: trustme.CA, folder: Path) -> tuple[str, str]:
    """Files of a certificate of the same authority for another name, and of its key."""
    certificate = authority.issue_cert("elsewhere.example")
    certificate.cert_chain_pems[0].write_to_path(str(folder / "other.pem"))
    certificate.private_key_pem.write_to_path(str(folder / "other.key"))
    return str(folder / "other.pem"), str(folder / "other.key")


def _client(server: TLSServer, authority: trustme.CA, tmp_path: Path) -> Any:
    import boto3

    trusted = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(str(trusted))
    settings: dict = {"auth_scheme_preference": "sigv4", "retries": {"total_max_attempts": 1}, "proxies": {}}
    config = Config(**settings)
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    return session.client("bedrock-runtime", endpoint_url=server.url, verify=str(trusted), config=config)


@pytest.fixture
def client(server, authority, tmp_path):
    """A boto3 client that trusts the server's certificate and no other."""
    client = _client(server, authority, tmp_path)
    yield client
    client.close()


def test_the_certificate_is_checked_by_name(server, authority, tmp_path):
    """The connection that tells when it was set up asks as ever whose the certificate is; no TLS, no mark."""
    server.context.load_cert_chain(*_other(authority, tmp_path))
    server.answers.append(Answer([]))
    client = _client(server, authority, tmp_path)
    with pytest.raises(ConnectionFailed, match="SSLError"):
        nb.stream(client, "hi").drain()
    client.close()
    assert list(nb.recordings[-1].marks) == ["sent", "connecting", "resolved", "connected", "closed"]


def test_a_reply_under_tls(server, client):
    """Its times are those of the socket, as without."""
    server.answers.append(answer(GOOD))
    reply = nb.stream(client, "hi").drain()
    assert (reply.text, reply.recording.clock) == (GOOD_TEXT, "wire")
    assert reply.recording.envelope["tls"] is True
    setup = ["sent", "connecting", "resolved", "connected", "secured", "headers"]
    assert list(reply.recording.marks) == [*setup, "closed"]
    assert sorted(setup, key=reply.recording.marks.__getitem__) == setup


@pytest.mark.parametrize(
    ("laid", "kind"), [(Answer([]), FirstEventTimeout), (answer(GOOD[:5], ending="silence"), IdleTimeout)]
)
def test_limits_under_tls(server, client, laid, kind):
    """Met, and the server sees the connection close."""
    server.answers.append(laid)
    with pytest.raises(kind):
        nb.stream(client, "hi", first_event_timeout=SHORT, idle_timeout=SHORT).drain()
    assert server.closed.wait(LIMIT)


@pytest.mark.parametrize("laid", [Answer([]), answer(GOOD[:5], ending="silence")])
def test_stop_under_tls(server, client, laid):
    """Before the first byte and in the middle."""
    server.answers.append(laid)
    reply = nb.stream(client, "hi", background=True)
    assert server.asked.wait(LIMIT)
    reply.cancel()
    assert server.closed.wait(LIMIT)
    assert len(list(reply)) <= 5
    assert reply.status == "cancelled"
