"""A bare socket server that sends events at a rate, framed as asked, and keeps a log of when each one left.

What to send is in the model id: ``r200-trickle`` is 200 events a second in that framing. Strategy: a thread
for each connection sleeps until the next piece is due, reads the clock, and writes. The log of a reply has,
for each event, the monotonic time just before the write that completed it, a clock that all processes of a
Linux machine share; ``GET /truth`` gives that of the latest reply.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection

from raw_server import own_process, read_request, text_reply

__all__ = ["FRAMINGS", "events_of", "paced_server"]

SECONDS = 2.0  # of a reply
_GAP = 0.002  # between the halves of an event that comes in pieces

#: Name -> what it means. All are lawful HTTP.
FRAMINGS = {
    "event": "an HTTP chunk for each event",
    "batch2": "two events in a chunk, sent together",
    "batch8": "eight events in a chunk, sent together",
    "split": "each event in two chunks, 2 ms apart",
    "segments": "each event in one chunk and two TCP segments, 2 ms apart",
    "trickle": "four events in a chunk, each sent when it is due",
    "close": "no chunks: the end of the connection ends the body",
    "length": "no chunks: Content-Length",
}


def events_of(rate: int) -> int:
    """Events of a reply: two seconds of them, but no more than a thousand."""
    return min(1000, int(rate * SECONDS))


#: When a piece is due, its bytes, and how many events end in it.
_Piece = tuple[float, bytes, int]


def _pieces(frames: list[bytes], rate: int, framing: str) -> Iterator[_Piece]:
    due = [0.05 + i / rate for i in range(len(frames))]
    if framing in ("close", "length"):
        yield from zip(due, frames, [1] * len(frames), strict=True)
        return
    together = {"batch2": 2, "batch8": 8, "trickle": 4}.get(framing, 1)
    for i in range(0, len(frames), together):
        group, times = frames[i : i + together], due[i : i + together]
        body = b"".join(group)
        head, tail = b"%x\r\n" % len(body), b"\r\n"
        if framing == "trickle":
            for n, (frame, at) in enumerate(zip(group, times, strict=True)):
                yield at, head * (n == 0) + frame + tail * (n == len(group) - 1), 1
        elif framing == "segments":
            yield times[0], head + body[:20], 0
            yield times[0] + _GAP, body[20:] + tail, 1
        elif framing == "split":
            first, second = body[:20], body[20:]
            yield times[0], b"%x\r\n%b\r\n" % (len(first), first), 0
            yield times[0] + _GAP, b"%x\r\n%b\r\n" % (len(second), second), 1
        else:
            yield times[-1], head + body + tail, len(group)


def _head(frames: list[bytes], framing: str) -> bytes:
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
        b"x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\r\n"
    )
    if framing == "close":
        return head + b"Connection: close\r\n\r\n"
    if framing == "length":
        return head + b"Content-Length: %d\r\n\r\n" % sum(map(len, frames))
    return head + b"Transfer-Encoding: chunked\r\n\r\n"


class _Server:
    def __init__(self) -> None:
        self.latest: list[float] = []

    def answer(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            while asked := read_request(connection):
                path = asked.split(b" ", 2)[1].decode()
                if path == "/truth":
                    body = json.dumps(self.latest).encode()
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                    continue
                rate, _, framing = path.split("/")[2].removeprefix("r").partition("-")
                self.stream(connection, int(rate), framing)
                if framing == "close":
                    return

    def stream(self, connection: socket.socket, rate: int, framing: str) -> None:
        frames = text_reply(events_of(rate))
        left: list[float] = []
        begin = time.monotonic()
        connection.sendall(_head(frames, framing))
        for due, data, events in _pieces(frames, rate, framing):
            time.sleep(max(0.0, begin + due - time.monotonic()))
            left += [time.monotonic()] * events
            connection.sendall(data)
        self.latest = left
        if framing not in ("close", "length"):
            connection.sendall(b"0\r\n\r\n")


def _serve(out: Connection) -> None:
    server = _Server()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        out.send(listener.getsockname()[1])
        while True:
            threading.Thread(target=server.answer, args=(listener.accept()[0],), daemon=True).start()


@contextlib.contextmanager
def paced_server() -> Iterator[str]:
    """Run the server in a process of its own while the block runs; gives its URL."""
    with own_process(_serve) as url:
        yield url
