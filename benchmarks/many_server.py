"""A bare server in a process of its own that paces a thousand streams, and knows when each event left.

Strategy: one thread, one poll, and a heap of what is due next; a write is one ``send`` on a socket. Streams
are opened first, and events begin when as many are open as the model id asks for (``300-200``: 300 streams
of 200 text deltas), their phases spread by chance, so that what is measured is many streams at once and not
their opening. What is due within a tick leaves at its end: servers look around so often, and so do networks.
Without ticks each event wakes its client up by itself, and waking up is most of what that costs. The parent
hears on a pipe when the events begin and when they have ended; then it gets the monotonic time before each
write, a clock that all processes of a Linux machine share.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import multiprocessing
import resource
import select
import socket
import time
from array import array
from collections.abc import Iterator
from multiprocessing.connection import Connection
from random import Random
from typing import NamedTuple

from raw_server import text_reply

__all__ = ["EXTRA", "TICK", "Many", "Writes", "many_server"]

TICK = 0.0005  # seconds: events that are due together leave together
EXTRA = 4  # events of a reply besides its deltas: the start, the block's stop, the stop, the metadata
_SETTLE = 0.5  # seconds from the last opening to the first event
_SPIN = 0.002  # seconds: what is due sooner is slept for, as poll counts in milliseconds
_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"x-amzn-RequestId: 00000000-0000-4000-8000-%012d\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Writes(NamedTuple):
    """When the events of a group of streams were due, and when they left; seconds, streams x events."""

    due: list[float]
    left: list[array[float]]

    def late(self, rate: float) -> list[float]:
        """How late each event left, seconds."""
        return [
            t - (first + i / rate)
            for first, row in zip(self.due, self.left, strict=True)
            for i, t in enumerate(row)
        ]


class _Group:
    """Streams that are opened together: events begin when the last is there."""

    def __init__(self, asked: str) -> None:
        streams, _, deltas = asked.partition("-")
        self.streams = int(streams)
        frames = text_reply(int(deltas))
        chunks = [b"%x\r\n%b\r\n" % (len(frame), frame) for frame in frames]
        self.chunks = [*chunks[:-1], chunks[-1] + b"0\r\n\r\n"]
        self.open: list[socket.socket] = []
        self.left: list[array[float]] = []

    def join(self, connection: socket.socket) -> None:
        connection.sendall(_HEAD % len(self.open))
        self.open.append(connection)
        self.left.append(array("d"))

    def dues(self, begin: float, rate: float) -> list[float]:
        """When the first event of each stream is due."""
        chance = Random(self.streams)
        return [begin + chance.random() / rate for _ in range(self.streams)]


class _Server:
    def __init__(self, rate: float, tick: float, out: Connection) -> None:
        self.rate, self.tick, self.out = rate, tick, out
        self.poll = select.epoll()
        self.known: dict[int, socket.socket] = {}
        self.asked: dict[int, bytes] = {}
        self.group: _Group | None = None
        self.heap: list[tuple[float, int, int]] = []  # due, stream, event
        self.dues: list[float] = []

    def run(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.poll.register(listener, select.EPOLLIN)
        self.out.send(listener.getsockname()[1])
        while True:
            left = self.send() if self.heap else 0.05
            if left > _SPIN:
                for number, _ in self.poll.poll(left - _SPIN / 2):
                    if number == listener.fileno():
                        self.accept(listener)
                    else:
                        self.read(number)
            elif left > 0:
                time.sleep(left)

    def send(self) -> float:
        """Write all that is due; seconds until more is."""
        group, heap, step, clock = self.group, self.heap, 1 / self.rate, time.monotonic
        assert group is not None
        chunks, last = group.chunks, len(group.chunks) - 1
        while heap:
            now = clock()
            due, stream, i = heap[0]
            if due > now:
                return (math.ceil(due / self.tick) * self.tick if self.tick else due) - now
            group.left[stream].append(now)
            with contextlib.suppress(OSError):  # a client that has gone shows in its own figures
                group.open[stream].send(chunks[i])
            if i < last:
                heapq.heapreplace(heap, (due + step, stream, i + 1))
            else:
                heapq.heappop(heap)
        self.out.send(("ended", clock()))
        self.out.send(Writes(self.dues, group.left))
        self.group = None
        return 0.0

    def accept(self, listener: socket.socket) -> None:
        connection = listener.accept()[0]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.known[connection.fileno()] = connection
        self.asked[connection.fileno()] = b""
        self.poll.register(connection, select.EPOLLIN)

    def read(self, number: int) -> None:
        connection = self.known[number]
        try:
            data = connection.recv(65536)
        except OSError:
            data = b""
        if not data:
            self.poll.unregister(number)
            self.known.pop(number).close()
            return
        self.asked[number] += data
        head, _, body = self.asked[number].partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if length and len(body) >= int(length):
            self.asked[number] = b""
            self.open(head.split(b"/")[2].decode(), connection)

    def open(self, asked: str, connection: socket.socket) -> None:
        if self.group is None:
            self.group = _Group(asked)
        group = self.group
        group.join(connection)
        if len(group.open) == group.streams:
            begin = time.monotonic() + _SETTLE
            self.dues = group.dues(begin, self.rate)
            self.heap = [(due, i, 0) for i, due in enumerate(self.dues)]
            self.out.send(("begin", begin))


def _serve(rate: float, tick: float, out: Connection) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    _Server(rate, tick, out).run()


class Many:
    """The running server, seen from outside."""

    def __init__(self, url: str, pid: int, pipe: Connection) -> None:
        self.url, self.pid, self._pipe = url, pid, pipe

    def wait(self, what: str, seconds: float) -> float:
        """Wait for the ``begin`` or the ``ended`` of events; when it is, on the monotonic clock."""
        if not self._pipe.poll(seconds):
            raise TimeoutError(f"no {what} of events within {seconds:g} s")
        said, when = self._pipe.recv()
        assert said == what, (said, what)
        return float(when)

    def writes(self) -> Writes:
        """What the server did, after the end."""
        written: Writes = self._pipe.recv()
        return written


@contextlib.contextmanager
def many_server(rate: float, tick: float = TICK) -> Iterator[Many]:
    """Run the server while the block runs; each stream gets so many events a second.

    Parameters
    ----------
    rate : float
    tick : float
        Seconds; 0 sends each event at its own moment.
    """
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(
        target=_serve, args=(rate, tick, there), daemon=True
    )
    process.start()
    try:
        assert process.pid is not None
        yield Many(f"http://127.0.0.1:{here.recv()}", process.pid, here)
    finally:
        process.kill()
        process.join()
