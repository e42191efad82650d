"""A server with the streaming form of OpenAI's chat completions, every line of which a test chooses.

Strategy: real HTTP by aiohttp in a thread. A test says what each request gets: data lines, raw bytes, holds,
an end of the connection, or an error. Holds wait for the test and not for time, and the stub notes when a
client goes away.
"""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import Future
from typing import Any

from aiohttp import web

__all__ = ["CUT", "DONE", "Hold", "Stub", "chunk", "said", "stop", "usage"]

#: The last line of a stream.
DONE = b"data: [DONE]\n\n"
#: The connection is cut.
CUT = object()


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk with one choice; other members of the choice by name."""
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish, **more}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def said(text: str) -> dict[str, Any]:
    """A chunk of text."""
    return chunk({"content": text})


def stop(reason: str = "stop", **more: Any) -> dict[str, Any]:
    """The chunk that says why the answer ends."""
    return chunk({}, reason, **more)


def usage(asked: int, used: int, **details: int) -> dict[str, Any]:
    """The chunk with the counts of tokens."""
    counts = {"prompt_tokens": asked, "completion_tokens": used, "total_tokens": asked + used}
    return {**chunk(), "choices": [], "usage": {**counts, "prompt_tokens_details": details or None}}


class Hold:
    """A place where the stub waits for the test. Put before the first line, it holds back the head too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.reached = threading.Event()
        self._loop, self._go = loop, asyncio.Event()

    def release(self) -> None:
        """Let the stub go on."""
        self._loop.call_soon_threadsafe(self._go.set)

    async def wait(self) -> None:
        """Wait for `release`, in the stub's loop."""
        self.reached.set()
        await self._go.wait()


class Stub:
    """The server. ``requests`` has the JSON of each request, ``headers`` their headers.

    ``gone`` is set when a client has gone away before its answer's end.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gone = threading.Event()
        self._lines: tuple[Any, ...] = ()
        self._error: tuple[int, Any] | None = None
        self._loop = asyncio.new_event_loop()
        self._runner: web.AppRunner | None = None
        started: Future[int] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{started.result(20)}/v1"

    def plays(self, *lines: Any) -> None:
        """From now on answer with these: dicts as data lines, bytes as they are, a `Hold`, `CUT`."""
        self._lines, self._error = lines, None
        self.requests.clear()
        self.headers.clear()
        self.gone.clear()

    def refuses(self, status: int, body: Any) -> None:
        """From now on answer with an error: a status and JSON."""
        self.plays()
        self._error = (status, body)

    def hold(self) -> Hold:
        """A place to wait at, for `plays`."""
        return Hold(self._loop)

    def close(self) -> None:
        """Stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, started: Future[int]) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        self._loop.run_until_complete(self._runner.setup())
        self._loop.run_until_complete(web.TCPSite(self._runner, "127.0.0.1", 0).start())
        started.set_result(self._runner.addresses[0][1])
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())
        self._loop.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(await request.json())
        self.headers.append(dict(request.headers))
        if self._error is not None:
            status, body = self._error
            return web.json_response(body, status=status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            for line in self._lines:
                await self._play(request, response, line)
            await response.prepare(request)
            await response.write_eof()
        except (asyncio.CancelledError, ConnectionError):
            self.gone.set()
            raise
        return response

    async def _play(self, request: web.Request, response: web.StreamResponse, line: Any) -> None:
        if isinstance(line, Hold):
            return await line.wait()
        await response.prepare(request)
        if line is CUT:
            assert request.transport is not None
            request.transport.abort()
            await asyncio.Event().wait()  # until aiohttp sees it
        data = line if isinstance(line, bytes) else f"data: {json.dumps(line)}\n\n".encode()
        await response.write(data)
        return None
