"""Does memory stay flat over 100,000 replies of nb.load_test?

    python benchmarks/flat.py [--quick] [--replies 100000] [--users 100]

A bare server in a process of its own answers at once, with ten deltas a reply, and counts. A thread looks ten
times a second at that count and at the memory which the system has given this process. A row of a reply
stays, about half a kilobyte; its recording goes.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import threading
import time
from pathlib import Path
from typing import Any

from machine import Others, child, machine
from raw_server import http_response, own_process, text_reply

GOAL_BYTES = 1024  # a reply
MARKS = [0.1, 0.25, 0.5, 0.75, 1.0]  # of all replies
PAGE = os.sysconf("SC_PAGE_SIZE")


def serve(response: bytes, counted: Any, out: Any) -> None:
    """Answer on one event loop: a thread for each of many connections costs more than the answers."""
    import asyncio

    class Answers(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.data = transport, b""

        def data_received(self, data: bytes) -> None:
            self.data += data
            head, end, body = self.data.partition(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            if end and length and len(body) >= int(length):
                self.data = b""
                counted.value += 1
                self.transport.write(response)

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=4096)
        out.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


class Memory:
    """What the process holds, while replies are counted."""

    def __init__(self, counted: Any) -> None:
        self.seen: list[tuple[int, int]] = []
        self._counted, self._over = counted, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(0.1):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            self.seen.append((self._counted.value, pages * PAGE))

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def at(self, replies: int) -> int:
        """Bytes when so many replies had come."""
        return next((held for count, held in self.seen if count >= replies), self.seen[-1][1])


def main() -> None:
    import bedrock_nb as nb

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5,000 replies")
    parser.add_argument("--replies", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=100)
    options = parser.parse_args()
    replies = 5_000 if options.quick else options.replies
    counted = multiprocessing.Value("q", 0, lock=False)
    with own_process(serve, http_response(text_reply(10)), counted) as url:
        client = nb.connect(url, verbose=False)
        nb.load_test(client, "hi", users=10, requests=100, model="m", progress=False).table  # noqa: B018
        gc.collect()
        counted.value = 0
        begin = time.monotonic()
        with Memory(counted) as memory, Others(os.getpid(), child()) as others:
            result = nb.load_test(
                client, "hi", users=options.users, requests=replies, model="m", progress=False
            )
        seconds = time.monotonic() - begin
    complete = (result.table["status"] == "complete").sum()
    print(f"{machine()}; other processes took {others.cores:.1f} cores; ", end="")
    print(f"{options.users} users, {replies:,} replies, {complete:,} complete, {seconds:.0f} s, ", end="")
    print(
        f"{replies / seconds:,.0f} replies a second, {others.used[0] / replies * 1e3:.2f} ms CPU each, ",
        end="",
    )
    print(f"{others.used[1] / replies * 1e3:.2f} ms in the server\n")
    print("| replies | memory, MiB | since 10 %, bytes a reply |")
    print("|---|---|---|")
    first = int(MARKS[0] * replies)
    for mark in MARKS:
        count = int(mark * replies)
        held = memory.at(count)
        each = f"{(held - memory.at(first)) / (count - first):,.0f}" if count > first else ""
        print(f"| {count:,} | {held / 2**20:.1f} | {each} |")
    print(f"\nGoal: at most {GOAL_BYTES:,} bytes a reply, which is its row.")


if __name__ == "__main__":
    main()
