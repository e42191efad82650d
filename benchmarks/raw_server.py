"""A bare socket server in a process of its own that answers every request with the same ready bytes.

It does nothing but write, so that what a client costs and how late it is can be told apart from what a
server does. Framings: ``event`` (an HTTP chunk per event, as Bedrock sends), ``batch`` (several events per
chunk), ``length`` (Content-Length) and ``close`` (neither: the end of the connection ends the body).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

from bedrock_nb.assembly import to_events
from bedrock_nb.eventstream import encode
from bedrock_nb.message import Message, TextBlock
from bedrock_nb.wire import to_frame

PADDING = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def text_reply(deltas: int) -> list[bytes]:
    """A sound reply with so many text deltas of a word each, as encoded frames with Bedrock's padding."""
    words = iter([f"word{i % 97} " for i in range(deltas)])
    message = Message("assistant", (TextBlock("x"),))
    usage = {"inputTokens": 10, "outputTokens": deltas, "totalTokens": deltas + 10}
    events = to_events(message, usage=usage, latency_ms=1, split=lambda _: words)
    return [encode(to_frame(event, PADDING[: 1 + i * 7 % 62])) for i, event in enumerate(events)]


def http_response(frames: list[bytes], framing: str = "event") -> bytes:
    """The whole HTTP response around these frames."""
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
        b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n"
    )
    if framing == "length":
        body = b"".join(frames)
        return head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    if framing == "close":
        return head + b"Connection: close\r\n\r\n" + b"".join(frames)
    size = 8 if framing == "batch" else 1
    chunks = [b"".join(frames[i : i + size]) for i in range(0, len(frames), size)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def _serve(response: bytes, out: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        out.send(listener.getsockname()[1])
        while True:
            threading.Thread(target=_answer, args=(listener.accept()[0], response), daemon=True).start()


def _answer(connection: socket.socket, response: bytes) -> None:
    with connection, contextlib.suppress(OSError):
        while read_request(connection):
            connection.sendall(response)
            if b"Connection: close" in response[:400]:
                break


def read_request(connection: socket.socket) -> bytes:
    """Take one request off a connection; its head, or nothing at the end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return b""
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"expect":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if name.lower() == b"content-length":
            left = int(value) - len(body)
            while left > 0:
                left -= len(connection.recv(left))
    return head


@contextlib.contextmanager
def serving(response: bytes) -> Iterator[str]:
    """Run the server while the block runs; gives its URL."""
    with own_process(_serve, response) as url:
        yield url


@contextlib.contextmanager
def own_process(serve: Callable[..., None], *arguments: object) -> Iterator[str]:
    """Run a server in a process of its own, which sends its port first; gives its URL."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=serve, args=(*arguments, there), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.kill()
        process.join()
