"""One connection to an MCP server: a background thread with an event loop that holds the official client.

Strategy: the thread enters the client, lists the tools, and then waits to be told the end; everything else
hands it coroutines and waits for their futures, so a notebook whose main thread runs a loop already is no
obstacle. Whoever gives up cancels its future, and the client tells the server. What a process writes to
stderr goes through a pipe, and its end is kept.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bedrock_nb.errors import BedrockNbError, RequestError, ServerError, ToolError
from bedrock_nb.mcp_tools.content import blocks_of

if TYPE_CHECKING:
    import mcp

    from bedrock_nb.tools import ToolContext

__all__ = ["Link", "Place"]

_LAST_LINES = 10  # of what the server wrote to stderr, in an error message
_KEPT = 16_384  # bytes of it that are kept at all
_LOOKS = 0.05  # seconds between two looks at whether a call was given up
_CLOSING = 10.0  # seconds for a good end; a process gets less, and is killed then
_LONGEST = 10_000  # characters of what a tool says of its failure
_PAGES = 100  # of a tool list: a server that never comes to its end cannot hold us
_SECRET = 6  # characters from which on a value of ``env`` or ``headers`` is masked in what a server says


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server is: a command to start, or a url. What can hold credentials is in no repr."""

    command: tuple[str, ...] = ()
    url: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: str | None = None
    start_timeout: float = 30.0

    @property
    def label(self) -> str:
        """The command, or the address without user, password and query."""
        if self.url is None:
            return Path(self.command[0]).name
        address = urlsplit(self.url)
        port = f":{address.port}" if address.port else ""
        return f"{address.hostname}{port}{address.path}"


class Link:
    """One connection: its thread, its event loop, and what is known about the server."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.state, self.name = "starting", place.label
        self.listed: list[mcp.types.Tool] = []
        self.all_listed = True  # False if the list had no end
        self._errors = b""
        self._lock = threading.Lock()  # a call is handed over before the loop ends, or not at all
        self._ready = concurrent.futures.Future[None]()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: mcp.Client | None = None
        self._end: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._run, name="bedrock_nb.mcp", daemon=True)

    def start(self) -> None:
        """Connect, and return when the tools are listed."""
        self._thread.start()
        self._ready.result()

    def close(self) -> None:
        """End the client and the thread, and return when they have."""
        with self._lock:
            self.state = "closed"
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._end)
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        error: BedrockNbError = ServerError(f"The MCP server {self.name!r} could not be started.")
        try:
            asyncio.run(self._serve())
            error = self._silent()
        except BaseException as err:  # this thread must not end in silence
            with suppress(Exception):  # threading would print it, and what is secret with it
                error = self._failed(err)
        finally:  # whatever happened above: who waits in `start` must not wait for ever
            with self._lock:
                self._loop = None
                if self.state != "closed":
                    self.state = "ended"
            if not self._ready.done():
                self._ready.set_exception(error)

    async def _serve(self) -> None:
        import anyio
        from mcp import Client

        with anyio.CancelScope(deadline=anyio.current_time() + self.place.start_timeout) as scope:
            stop = asyncio.Event()
            self._end = scope.cancel
            with self._lock:
                self._loop = asyncio.get_running_loop()
                if self.state == "closed":
                    return
            transport = self._http() if self.place.url is not None else self._stdio()
            try:
                async with Client(transport, cache=None) as client:
                    self._client = client
                    self.listed, self.all_listed = await _listed(client)
                    info = client.server_info
                    self.name = (info.name if info is not None else "")[:100] or self.name
                    scope.deadline = math.inf
                    with self._lock:
                        if self.state == "starting":
                            self.state, self._end = "running", stop.set
                    self._ready.set_result(None)
                    await stop.wait()
                    scope.deadline = anyio.current_time() + _CLOSING
            finally:
                with self._lock:
                    self._loop = None

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[Any]:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        assert self.place.url is not None
        # The official client's own limits; ours are on the whole call.
        limits = httpx2.Timeout(30.0, read=300.0)
        async with (
            httpx2.AsyncClient(headers=self.place.headers, timeout=limits) as client,
            streamable_http_client(self.place.url, http_client=client) as streams,
        ):
            yield streams

    @asynccontextmanager
    async def _stdio(self) -> AsyncIterator[Any]:
        from mcp import StdioServerParameters, stdio_client

        command, *args = self.place.command
        what = StdioServerParameters(command=command, args=args, env=dict(self.place.env), cwd=self.place.cwd)
        loop = asyncio.get_running_loop()
        inlet, outlet = os.pipe()
        os.set_blocking(inlet, False)
        loop.add_reader(inlet, self._hear, inlet)
        try:
            async with AsyncExitStack() as stack:
                with os.fdopen(outlet, "w") as errors:  # the process has its own copy from here on
                    try:
                        process = stdio_client(what, errlog=errors)
                        read, write = await stack.enter_async_context(process)
                    except (OSError, ValueError) as err:
                        raise _no_command(command, err) from None
                yield _Watched(read, self._died), write
        finally:
            loop.remove_reader(inlet)
            self._hear(inlet)
            os.close(inlet)

    def _hear(self, inlet: int) -> None:
        try:
            heard = os.read(inlet, 1 << 16)
        except BlockingIOError:
            return
        if not heard and self._loop is not None:
            self._loop.remove_reader(inlet)
        self._errors = (self._errors + heard)[-_KEPT:]

    def _died(self) -> None:
        if self.state == "running":
            self.state = "ended"

    def last_lines(self) -> list[str]:
        """What the process wrote to stderr last: no control characters, no values of ``env``."""
        whole = self._errors if len(self._errors) < _KEPT else self._errors.partition(b"\n")[2]
        lines = self._masked(whole.decode(errors="replace")).splitlines()
        return ["".join(c for c in line if c.isprintable() or c == "\t") for line in lines][-_LAST_LINES:]

    def _masked(self, text: str) -> str:
        secrets = [*self.place.env.values(), *self.place.headers.values()]
        secrets += [part for value in secrets for part in value.split()]  # "Bearer …"
        address = urlsplit(self.place.url or "")
        secrets += [address.password or "", address.query]
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _SECRET:
                text = text.replace(secret, "…")
        return text

    def _told(self) -> str:
        if self.place.url is not None:
            return ""
        lines = self.last_lines()
        return "\n".join(["Its last words:", *lines]) if lines else "It said nothing on stderr."

    def _silent(self) -> ServerError:
        limit = self.place.start_timeout
        return ServerError(
            f"The MCP server {self.name!r} did not answer within {limit:g} s.",
            remedy=f"Give it longer with start_timeout=, or run it in a terminal to see why. {self._told()}",
        )

    def _failed(self, err: BaseException) -> BedrockNbError:
        """What kept the connection from coming about, for the user."""
        err = _first(err)
        if isinstance(err, BedrockNbError):
            return err
        if self.place.url is None:
            return ServerError(
                f"The MCP server {self.name!r} ended, or spoke no MCP, before it had listed its tools "
                f"({_words(err, self._masked)}).",
                remedy=f"Run it in a terminal to see why. {self._told()}",
            )
        return ServerError(
            f"No MCP server answered at {self.name} ({_words(err, self._masked)}).",
            remedy="See that it runs and that url= has its whole path, often /mcp; some want headers=.",
        )

    def call(
        self, name: str, arguments: dict[str, Any], limit: float | None, context: ToolContext | None
    ) -> list[dict[str, Any]] | None:
        """Call a tool and wait; a call that is given up is cancelled at the server, too.

        What is raised goes to the model: nothing of stderr is in it.
        """
        with self._lock:
            if self.state != "running" or self._loop is None or self._client is None:
                gone = {"closed": "was closed", "ended": "has ended"}.get(self.state, "is not ready")
                raise ToolError(f"The MCP server {self.name!r} {gone}; its tools cannot be used.")
            # Where the context has a limit, who made it keeps that, and says so through it.
            if context is not None and math.isfinite(context.left_s):
                limit = None
            asked = self._client.call_tool(name, arguments, read_timeout_seconds=limit)
            answer = asyncio.run_coroutine_threadsafe(asked, self._loop)
        try:
            while not concurrent.futures.wait([answer], _LOOKS).done:
                if (context is not None and context.cancelled) or not self._thread.is_alive():
                    raise ToolError(f"The call of {name!r} was given up.")
        except BaseException:
            answer.cancel()
            raise
        return self._result(name, answer)

    def _result(
        self, name: str, answer: concurrent.futures.Future[mcp.types.CallToolResult]
    ) -> list[dict[str, Any]] | None:
        try:
            result = answer.result()
        except concurrent.futures.CancelledError:
            raise ToolError(f"The MCP server {self.name!r} was closed while {name!r} ran.") from None
        except Exception as err:  # of the protocol, the connection or the server: the model may try again
            raise ToolError(f"The tool {name!r} gave no result: {_words(err, self._masked)}.") from None
        blocks = blocks_of(result.content, result.structured_content)
        if not result.is_error:
            return blocks or None
        words = self._masked("\n".join(block["text"] for block in blocks if "text" in block))
        raise ToolError(words[:_LONGEST] or f"The tool {name!r} failed and did not say why.")


class _Watched:
    """A stream that tells when nothing more will come, which the client keeps to itself."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream, self._ended = stream, ended

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def receive(self) -> Any:
        import anyio

        try:
            return await self._stream.receive()
        except anyio.EndOfStream:
            self._ended()
            raise

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._ended()
            raise

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        left: bool | None = await self._stream.__aexit__(*error)
        return left


async def _listed(client: mcp.Client) -> tuple[list[mcp.types.Tool], bool]:
    """The tools, and whether these are all."""
    found: list[mcp.types.Tool] = []
    asked: set[str | None] = set()
    cursor = None
    while len(asked) < _PAGES:
        asked.add(cursor)
        page = await client.list_tools(cursor=cursor)
        found += page.tools
        cursor = page.next_cursor
        if cursor is None or cursor in asked:  # a page that comes again would come for ever
            return found, True
    return found, False


def _no_command(command: str, err: OSError | ValueError) -> RequestError:
    why = err.strerror if isinstance(err, OSError) else str(err)
    apart = " Give the command and its arguments one by one." if " " in command else ""
    return RequestError(
        f"The command {command!r} of the MCP server cannot be run: {why}.",
        remedy=f"See that it is installed and on the PATH.{apart}",
    )


def _first(err: BaseException) -> BaseException:
    while isinstance(err, BaseExceptionGroup):
        err = err.exceptions[0]
    return err


def _words(err: BaseException, masked: Callable[[str], str]) -> str:
    err = _first(err)
    said = masked(" ".join(str(err).split())).rstrip(".")[:500]
    return said or type(err).__name__
