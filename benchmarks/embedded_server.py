"""The embedded Bedrock in a process of its own, with a latency law and a responder of the benchmark's."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection

from raw_server import own_process

from bedrock_nb.server import Latency, Responder, embedded, serve

__all__ = ["embedded_server"]


def _serve(law: Latency, responder: Responder, out: Connection) -> None:
    def told(line: str) -> None:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            if not announced:
                out.send(int(found[1]))
            announced.append(line)

    announced: list[str] = []
    sys.setswitchinterval(0.001)  # a responder's thread gives way to a write that is due
    serve(latency=law, responder=responder, announce=told)


@contextlib.contextmanager
def embedded_server(law: Latency, responder: Responder = embedded) -> Iterator[str]:
    """Run it while the block runs; gives its URL."""
    with own_process(_serve, law, responder) as url:
        yield url
