"""A real TCP server that answers any POST with the bytes, the framing and the ending that a test wants.

Strategy: an answer is a list of steps, bytes to send or an event to wait for, so the test decides when the
next piece leaves. Only a drip, which is made of time, sleeps: a number is a pause in seconds. The server
counts connections and notices when a client closes one: whoever leaks a socket keeps `open` above zero.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from fcntl import ioctl
from pathlib import Path
from termios import TIOCOUTQ
from typing import Any, Literal, NamedTuple, TypeAlias

from bedrock_nb.events import Event
from bedrock_nb.eventstream import encode
from bedrock_nb.wire import to_frame

CASES = json.loads((Path(__file__).parent / "vectors" / "converse_stream_cases.json").read_text("utf-8"))
#: The frames of one sound reply: reasoning, text, a tool, metadata.
GOOD: list[bytes] = [b64decode(event["frame"]["b64"]) for event in CASES["good"]]
GOOD_TEXT: str = CASES["full_text"]

Framing: TypeAlias = Literal["event", "batch", "split", "trickle", "length", "close"]
FRAMINGS: tuple[Framing, ...] = ("event", "batch", "split", "trickle", "length", "close")

#: ``fin`` and ``reset`` end the connection without a word of HTTP; ``silence`` never ends it.
Ending: TypeAlias = Literal["clean", "fin", "reset", "silence"]

Step: TypeAlias = bytes | threading.Event | float

LIMIT = 30.0  # seconds after which a test that waits for something has failed

#: How Linux tells the length of a queue: an int of C.
_QUEUED = struct.Struct("i")

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\n"
    b"x-amzn-RequestId: 7d0f5a90-0000-4000-8000-000000000000\r\nx-amzn-bedrock-kept: yes\r\n"
    b"x-other: dropped\r\nDate: Sat, 01 Nov 2025 10:00:00 GMT\r\n"
)


class Answer(NamedTuple):
    """What to send and when, and how to end."""

    steps: Sequence[Step]
    ending: Ending = "clean"


def frames_of(events: Iterable[Event]) -> list[bytes]:
    """Each event as an encoded frame."""
    return [encode(to_frame(event, "abc")) for event in events]


def answer(
    frames: Sequence[bytes],
    framing: Framing = "event",
    ending: Ending = "clean",
    *,
    gates: Mapping[int, threading.Event] | None = None,
    cut: int = 0,
) -> Answer:
    """An answer of these frames.

    Parameters
    ----------
    frames : sequence of bytes
    framing : str
        ``event``: an HTTP chunk per frame, as Bedrock sends; ``batch``: four frames per chunk; ``split``: a
        frame over three chunks; ``trickle``: one chunk for all, sent seven bytes at a time; ``length``:
        Content-Length; ``close``: the end of the connection ends the body.
    ending : str
        Other than ``clean``, the body is not ended as HTTP demands.
    gates : mapping of int to event
        Wait for the event before the frame of that number (their count: before the ending).
    cut : int
        Leave out so many bytes at the end of the last frame; HTTP still announces them.

    Notes
    -----
    What stands between two gates leaves in one send, except with ``trickle``.
    """
    pieces = _pieces(list(frames), framing)
    if cut:
        full = max(i for i, piece in enumerate(pieces) if piece)
        pieces[full] = pieces[full][: -cut - (2 if framing in ("event", "batch", "split") else 0)]
    last = b""
    if ending == "clean" and framing not in ("length", "close"):
        last = b"\r\n0\r\n\r\n" if framing == "trickle" else b"0\r\n\r\n"
    steps: list[Step] = [_head(frames, framing)]
    for number, piece in enumerate([*pieces, last]):
        if gates and number in gates:
            steps.append(gates[number])
        before = steps[-1]
        if framing == "trickle":
            steps.extend(piece[i : i + 7] for i in range(0, len(piece), 7))
        elif isinstance(before, bytes):
            steps[-1] = before + piece
        else:
            steps.append(piece)
    if framing == "close" and ending == "clean":
        ending = "fin"
    return Answer(steps, ending)


def dripped(data: bytes, interval: float, *, size: int = 1) -> list[Step]:
    """These bytes, a few at a time, with pauses between."""
    return [step for i in range(0, len(data), size) for step in (interval, data[i : i + size])]


def refusal(status: int, code: str, message: str) -> Answer:
    """An HTTP error in Bedrock's form."""
    body = json.dumps({"message": message}).encode()
    head = f"HTTP/1.1 {status} No\r\nx-amzn-ErrorType: {code}\r\nContent-Length: {len(body)}\r\n\r\n"
    return Answer([head.encode() + body])


def _head(frames: Sequence[bytes], framing: Framing) -> bytes:
    if framing == "length":
        return _HEAD + b"Content-Length: %d\r\n\r\n" % sum(map(len, frames))
    if framing == "close":
        return _HEAD + b"Connection: close\r\n\r\n"
    head = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n" % sum(map(len, frames)) if framing == "trickle" else head


def _pieces(frames: list[bytes], framing: Framing) -> list[bytes]:
    """What stands for each frame on the wire."""
    match framing:
        case "event":
            return [_chunk(frame) for frame in frames]
        case "batch":
            return [_chunk(b"".join(frames[i : i + 4])) if i % 4 == 0 else b"" for i in range(len(frames))]
        case "split":
            return [b"".join(_chunk(part) for part in (f[:5], f[5:20], f[20:])) for f in frames]
        case _:
            return frames


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class WireServer:
    """Listens on a free port of this machine; every request takes the next answer that was laid ready.

    Attributes
    ----------
    accepted, open : int
        Connections since the last `reset`: made in all; not closed by the client.
    requests : list of bytes
        Heads and bodies as they came.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._state = threading.Condition()
        self._answers: list[Answer] = []
        self._sockets: set[socket.socket] = set()
        self.accepted = self.open = 0
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._accept, name="wire-server", daemon=True)
        self._thread.start()

    def lay(self, *answers: Answer) -> None:
        """Lay answers ready, one for each request to come."""
        with self._state:
            self._answers.extend(answers)

    def reset(self) -> None:
        """Drop every connection and forget what was."""
        with self._state:
            for connection in self._sockets:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._sockets = set()
            self._answers, self.requests = [], []
            self.accepted = self.open = 0

    def wait_until_open(self, count: int) -> bool:
        """Wait until so many connections are open; False if that does not happen."""
        with self._state:
            return self._state.wait_for(lambda: self.open == count, LIMIT)

    def close(self) -> None:
        """Stop listening."""
        self.reset()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(LIMIT)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._state:
                    self.accepted += 1
                    self.open += 1
                    self._sockets.add(connection)
                    self._state.notify_all()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            with contextlib.suppress(OSError):
                while (request := _request(connection)) is not None:
                    with self._state:
                        self.requests.append(request)
                        steps, ending = (
                            self._answers.pop(0) if self._answers else refusal(500, "None", "left")
                        )
                    if not _send(connection, steps):
                        break
                    if ending == "reset":
                        _delivered(connection)
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        break
                    if ending == "fin":  # half of the connection: the client's half is still watched
                        connection.shutdown(socket.SHUT_WR)
            with self._state:
                if connection in self._sockets:
                    self._sockets.discard(connection)
                    self.open -= 1
                    self._state.notify_all()


def _send(connection: socket.socket, steps: Sequence[Step]) -> bool:
    for step in steps:
        if isinstance(step, bytes):
            connection.sendall(step)
        elif isinstance(step, float):
            time.sleep(step)
        elif not step.wait(LIMIT):
            return False
    return True


def _delivered(connection: socket.socket) -> None:
    """Wait until the client's kernel has all that was sent: what is there stays readable after a reset.

    Linux tells how many bytes are not acknowledged; elsewhere the order of loopback has to do.
    """
    with contextlib.suppress(OSError):
        for _ in range(5000):  # not for ever: who does not read, or has gone, acknowledges nothing
            queued = ioctl(connection, TIOCOUTQ, bytes(_QUEUED.size)) if sys.platform == "linux" else b""
            if not any(queued):
                return
            time.sleep(0.0002)


def _request(connection: socket.socket) -> bytes | None:
    """The next request, head and body; None when the client has closed."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return None
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    length = int(found[1]) if found else 0
    while len(body) < length:
        if not (piece := connection.recv(65536)):
            return None
        body += piece
    return head + b"\r\n\r\n" + body


def ask(text: str = "hi", **settings: Any) -> dict[str, Any]:
    """The arguments of ``converse_stream`` for one user turn."""
    return {"modelId": "m", "messages": [{"role": "user", "content": [{"text": text}]}], **settings}
