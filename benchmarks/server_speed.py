"""How fast the embedded server sends, and how well it keeps time.

Two figures, over loopback, the server in a process of its own: events a second of one unpaced reply, read by
a bare ``http.client``; and how late the writes of paced replies are, against their schedule, as the server
and as the client see them (one monotonic clock serves both processes, on Linux). A third line says how soon
a fresh server process answers and how much memory it takes when idle.

    python benchmarks/server_speed.py [--events 200000] [--rate 200] [--seconds 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bedrock_nb.events import MessageStart, MessageStop, Metadata, TextDelta
from bedrock_nb.eventstream import FrameDecoder
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import Latency

GOAL_RATE, GOAL_LATE_MS, GOAL_MANY_MS = 40_000, 1.0, 20.0


# -- the server's side -----------------------------------------------------------------------------


def reply(events: int, first: float, step: float) -> Recording:
    """A reply of so many deltas; ``step`` 0 for all at once."""
    recording = Recording({"modelId": "benchmark"}, clock="schedule")
    recording.append(MessageStart("assistant"), first)
    for i in range(events):
        recording.append(TextDelta(0, " word"), first + i * step)
    end = first + events * step
    recording.append(MessageStop("end_turn"), end)
    recording.append(Metadata({"inputTokens": 1, "outputTokens": events, "totalTokens": events + 1}, 0), end)
    return recording


def serve() -> None:
    """Perform what the model id asks for, ``events/first/step``; at the end of stdin print the log."""
    from bedrock_nb.server.process import Settings, serving, settle_down
    from bedrock_nb.server.selector import new_loop
    from bedrock_nb.server.truths import Log

    known: dict[str, Recording] = {}
    making = threading.Lock()
    log = Log(most_writes=10**7)

    def responder(request: Request) -> Recording:
        with making:
            if request.model not in known:
                events, first, step = request.model.split("/")
                known[request.model] = reply(int(events), float(first), float(step))
        return known[request.model]

    async def main() -> None:
        async with serving("127.0.0.1", 0, Settings(responder, Latency.none(), log=log)) as listener:
            settle_down()
            print(listener.url, flush=True)
            loop = asyncio.get_running_loop()
            stop = asyncio.Event()
            threading.Thread(
                target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(stop.set)), daemon=True
            ).start()
            await stop.wait()
        used = resource.getrusage(resource.RUSAGE_SELF)
        writes = [
            (truth.arrived + due, truth.arrived + done)
            for truth in reversed(log.latest(10**6))
            for due, done in zip(truth.due, truth.done, strict=True)
        ]
        print(json.dumps({"writes": writes, "cpu": used.ru_utime + used.ru_stime}))

    sys.setswitchinterval(0.001)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


# -- the client's side -----------------------------------------------------------------------------


class Server:
    """The server process."""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve"], stdin=pipe, stdout=pipe, text=True
        )
        assert self.process.stdout is not None
        self.netloc = urlsplit(self.process.stdout.readline().strip()).netloc

    def ask(
        self, events: int, first: float, step: float
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Ask for a reply, and read no more than its headers."""
        connection = http.client.HTTPConnection(self.netloc, timeout=120)
        body = json.dumps({"messages": [{"role": "user", "content": [{"text": "go"}]}]})
        path = f"/model/{events}%2F{first}%2F{step}/converse-stream"
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        return connection, connection.getresponse()

    def end(self) -> dict[str, Any]:
        """End the process; what it noted."""
        out, _ = self.process.communicate()
        log: dict[str, Any] = json.loads(out)
        return log


def unpaced(events: int) -> tuple[float, float]:
    """Events a second of one reply, and the server's CPU microseconds per event."""
    server = Server()
    connection, response = server.ask(events, 0.0, 0.0)  # makes the reply and counts it; not measured
    decoder, frames, expected = FrameDecoder(), 0, 0
    while data := response.read1(65536):
        frames += len(decoder.receive_data(data))
        expected += len(data)
    decoder.receive_eof()
    connection.close()
    assert frames == events + 3, f"{frames} frames came"  # and the start, the stop, the metadata
    before = time.perf_counter()
    connection, response = server.ask(events, 0.0, 0.0)
    received = 0
    while data := response.read1(65536):
        received += len(data)
    seconds = time.perf_counter() - before
    connection.close()
    assert received == expected, f"{received} bytes came, {expected} before"
    log = server.end()
    return events / seconds, log["cpu"] / (2 * events) * 1e6


def paced(rate: float, seconds: float) -> tuple[list[float], list[float]]:
    """Lateness of each write in milliseconds: when the server had written it, when the client had read it."""
    server = Server()
    for events in (1, int(rate * seconds)):  # the first reply warms up
        connection, response = server.ask(events, 0.1, 1 / rate)
        decoder, seen = FrameDecoder(), []
        while data := response.read1(65536):
            now = time.monotonic()
            seen += [now] * len(decoder.receive_data(data))
        connection.close()
    writes = server.end()["writes"][-int(rate * seconds) - 1 :]
    frames_due = [
        writes[0][0],
        *(due for due, _ in writes),
        writes[-1][0],
    ]  # the first and the last write hold two
    return (
        [(done - due) * 1e3 for due, done in writes],
        [(read - due) * 1e3 for read, due in zip(seen, frames_due, strict=True)],
    )


def many(streams: int, rate: float, seconds: float) -> tuple[list[float], float, float]:
    """Lateness in ms of each write of so many paced replies at once; CPU seconds of the server and of us.

    The client reads and throws away: it is to see that bytes come, not to be measured.
    """
    server = Server()
    events = int(rate * seconds)
    server.ask(events, 1.0, 1 / rate)[0].close()  # makes the reply
    host, _, port = server.netloc.partition(":")
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": "go"}]}]})
    # They begin one after another, a hundred and more a second, and then all run at once.
    begin, mine = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    open_, poll, ended = {}, select.epoll(), 0
    for i in range(streams):
        path = f"/model/{events}%2F1.0%2F{1 / rate}/converse-stream"
        head = f"POST {path} HTTP/1.1\r\nHost: {server.netloc}\r\nContent-Type: application/json\r\n"
        time.sleep(max(0.0, begin + i * 4 / streams - time.perf_counter()))
        sock = socket.create_connection((host, int(port)))
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        open_[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    while ended < streams:
        for number, _ in poll.poll(30):
            data = open_[number].recv(65536)
            if not data or data.endswith(b"\r\n0\r\n\r\n") or data == b"0\r\n\r\n":
                poll.unregister(number)
                open_[number].close()
                ended += 1
    used = resource.getrusage(resource.RUSAGE_SELF)
    log = server.end()
    late = [(done - due) * 1e3 for due, done in log["writes"]]
    assert len(late) >= streams * events, f"{len(late)} writes"
    return late, log["cpu"], used.ru_utime + used.ru_stime - mine.ru_utime - mine.ru_stime


def start_up() -> tuple[float, float]:
    """Seconds from nothing to the head of the first reply, and megabytes that the idle server holds."""
    from bedrock_nb.server import process

    before = time.perf_counter()
    parts = urlsplit(process.local())
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": "hello"}]}]})
    connection.request("POST", "/model/m/converse-stream", body, {"Content-Type": "application/json"})
    response = connection.getresponse()  # the answer is ready; its events wait for the latency law
    seconds = time.perf_counter() - before
    assert response.status == 200, response.status
    response.read()
    connection.close()
    child = process._shared
    assert child is not None
    status = Path(f"/proc/{child.process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    process._close()
    return seconds, resident / 1024


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def main() -> None:
    """Run and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--events", type=int, default=200_000, help="events of the unpaced reply (at most 10^6)"
    )
    parser.add_argument("--rate", type=float, default=200, help="events a second of the paced reply")
    parser.add_argument("--seconds", type=float, default=5, help="length of the paced reply")
    parser.add_argument(
        "--streams", type=int, default=500, help="paced replies at once, 50 events a second each"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve()
        return
    print("| unpaced | events/s | server CPU us/event | goal |")
    print("|---|---|---|---|")
    for i in range(chosen.rounds):
        rate, cpu = unpaced(min(chosen.events, 10**6))
        print(f"| round {i + 1} | {rate:,.0f} | {cpu:.1f} | {GOAL_RATE:,} |")
    print(f"\n| {chosen.rate:g} events/s for {chosen.seconds:g} s, late by ms | p50 | p99 | max | goal p99 |")
    print("|---|---|---|---|---|")
    for i in range(chosen.rounds):
        for side, late in zip(("written", "read"), paced(chosen.rate, chosen.seconds), strict=True):
            figures = (_quantile(late, 0.5), _quantile(late, 0.99), max(late))
            print(
                f"| round {i + 1}, {side} | {' | '.join(f'{ms:.3f}' for ms in figures)} | {GOAL_LATE_MS:g} |"
            )
    print(
        f"\n| {chosen.streams} replies, 50 events/s for 12 s, late by ms | p50 | p99 | max | goal p99 | CPU |"
    )
    print("|---|---|---|---|---|---|")
    late, server_cpu, client_cpu = many(chosen.streams, 50, 12)
    figures = (_quantile(late, 0.5), _quantile(late, 0.99), max(late))
    cpu = f"server {server_cpu:.1f} s, client {client_cpu:.1f} s"
    print(f"| written | {' | '.join(f'{ms:.1f}' for ms in figures)} | {GOAL_MANY_MS:g} | {cpu} |")
    seconds, megabytes = start_up()
    print(
        f"\nFirst reply of a fresh process begins after {seconds:.2f} s (head); {megabytes:.0f} MB when idle."
    )


if __name__ == "__main__":
    main()
