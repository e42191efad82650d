"""The socket that the embedded server listens on, and what is told to those who misuse it.

Strategy: aiohttp parses HTTP. Every answer that is an error is written here, in the service's form, whatever
went wrong: nothing but a broken connection ends without one. A connection on which nothing is asked for too
long is closed, and so is one that says its request a byte at a time; there are only so many at once.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from errno import EADDRINUSE
from typing import TYPE_CHECKING, Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from bedrock_nb.errors import ServerError
from bedrock_nb.server.guard import BODY_TIME, MAX_BODY, MAX_HEAD, too_large
from bedrock_nb.server.loopback import BINDABLE, check_address
from bedrock_nb.server.perform import dumps
from bedrock_nb.server.refusal import Refusal, internal

if TYPE_CHECKING:
    from bedrock_nb.server.http2 import Bridge, Crossing

__all__ = ["LOG", "REQUEST_ID", "Handler", "Limits", "Listener", "listen", "unknown_operation"]

#: Silent unless somebody configures logging: aiohttp would otherwise write tracebacks into a notebook.
LOG = logging.getLogger("bedrock_nb.server")
LOG.addHandler(logging.NullHandler())

#: Where a request keeps the id that its answer goes out with.
REQUEST_ID = web.RequestKey("REQUEST_ID", str)

#: How a connection begins that speaks HTTP/2 without having asked.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_NO_HTTP2 = (
    "This server speaks HTTP/1.1 here. For HTTP/2, which the AWS SDK for JavaScript takes for granted, "
    "install the library h2 for it (pip install h2); or let the client speak HTTP/1.1: "
    "requestHandler: new NodeHttpHandler() of @smithy/node-http-handler."
)

#: Turns of the loop after which asyncio has made a connection of what it accepted.
_TURNS = 4
_UNKNOWN = "UnknownOperationException"
_ERROR_SPACE = "http://internal.amazon.com/coral/com.amazon.bedrock/"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Limits:
    """How patient the server is.

    Parameters
    ----------
    head : float
        Seconds for the first request of a connection to come, head and all.
    body : float
        Seconds for the body of a request to come.
    idle : float
        Seconds that a connection may be silent between two requests; botocore keeps them for later.
    reader : float
        Seconds that a client may leave all that was sent to it untaken.
    connections : int
        At once.
    """

    head: float = 10.0
    body: float = 30.0
    idle: float = 120.0
    reader: float = 300.0
    connections: int = 4_000


# -- out -------------------------------------------------------------------------------------------


def unknown_operation() -> Refusal:
    """The refusal of a path that is no operation's."""
    return Refusal(404, _UNKNOWN, "The requested operation is not recognized by the service.")


class _Bare(web.Response):
    """A response that takes aiohttp's name off itself, for there is no application that would."""

    async def _prepare_headers(self) -> None:
        await super()._prepare_headers()
        self.headers.pop("Server", None)


def _refused(refusal: Refusal, kind: type[web.Response] = web.Response) -> web.Response:
    body = {"message": refusal.message}
    if refusal.code == _UNKNOWN:  # not an error of the operation: there is none
        body = {"__type": f"com.amazon.coral.service#{refusal.code}", **body}
    return kind(
        status=refusal.status,
        body=dumps(body),
        content_type="application/json",
        headers={"x-amzn-ErrorType": f"{refusal.code}:{_ERROR_SPACE}"},
    )


@web.middleware
async def _answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is answered in the service's form."""
    try:
        return await handler(request)
    except ConnectionError:
        raise
    except Exception as err:
        if request.writer.output_size > 0:  # an answer has begun, and cannot become another
            LOG.exception("an answer broke off")
            raise ConnectionResetError("An answer broke off.") from err
        return _refused(_as_refusal(err))


def _as_refusal(err: Exception) -> Refusal:
    match err:
        case Refusal():
            return err
        case web.HTTPRequestEntityTooLarge():
            return too_large()
        case web.HTTPNotFound():  # aiohttp's own verdict: no path at all, as in "OPTIONS *"
            return unknown_operation()
        case web.HTTPException():
            return Refusal(err.status, "ValidationException", err.reason)
        case _:
            LOG.error("a request could not be answered", exc_info=err)
            return internal(f"{type(err).__name__}: {err}")


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Say that a body may come, or refuse any other wish, before the request is handled."""
    wish = request.headers["Expect"]
    if wish.lower() != "100-continue":
        return _refused(Refusal(417, "ValidationException", f"The header Expect: {wish[:60]} cannot be met."))
    if request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the answer has not begun
    return None


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-amzn-RequestId"] = request.get(REQUEST_ID) or str(uuid.uuid4())
    response.headers.pop("Server", None)


# -- connections -----------------------------------------------------------------------------------


class _Connection(RequestHandler):
    """One connection: aiohttp's, with the service's form for what is no HTTP, and an end to its patience."""

    def __init__(self, watch: _Watch, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watch = watch
        self.silent_since = watch.clock()
        self.asked = 0
        self.untaken, self.untaken_since = 0, 0.0
        self.first: bytes | None = b""  # while it may be the beginning of HTTP/2's preface

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away if there are too many."""
        super().connection_made(transport)
        if len(self.watch.connections) >= self.watch.limits.connections:
            self.turn_away(Refusal(503, "ServiceUnavailableException", "There are too many connections."))
        else:
            self.watch.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget it."""
        self.watch.connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came; by its first bytes it is known whether it is HTTP/2, which a bridge takes over."""
        if self.first is not None and data:
            data = self.first = self.first + data
            if len(data) < len(_PREFACE) and _PREFACE.startswith(data):
                return
            self.first = None
            if data.startswith(_PREFACE):
                self.hand_over(data)
                return
        super().data_received(data)

    def hand_over(self, data: bytes) -> None:
        """Give the connection, with what came on it, to a bridge."""
        transport = self.transport
        if not isinstance(transport, asyncio.Transport):
            return
        try:
            crossing = self.watch.cross()
        except ImportError:
            self.turn_away(Refusal(400, "ValidationException", _NO_HTTP2))
            return
        self.transport = None  # so that aiohttp does not close it
        self.connection_lost(None)
        bridge = crossing.bridge(transport, self.silent_since, self.watch.connections.discard)
        self.watch.connections.add(bridge)
        bridge.data_received(data)

    def handle_error(
        self,
        request: Any,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.Response:
        """Answer what is no HTTP, or is too long for it."""
        if request.writer.output_size > 0:  # an answer has begun, and cannot become another
            raise ConnectionError("An answer broke off.")
        words = ((message or "").strip() or "The request is not HTTP.").splitlines()[0][:200]
        code = "ValidationException" if status < 500 else "InternalServerException"
        response = _refused(Refusal(status, code, words), _Bare)
        response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
        response.force_close()
        return response

    def abort(self) -> None:
        """Close without another word."""
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()

    def turn_away(self, refusal: Refusal) -> None:
        """Answer without having been asked, and close."""
        if self.transport is not None:
            body = dumps({"message": refusal.message})
            head = (
                f"HTTP/1.1 {refusal.status} {refusal.code}\r\nContent-Type: application/json\r\n"
                f"x-amzn-RequestId: {uuid.uuid4()}\r\nx-amzn-ErrorType: {refusal.code}:{_ERROR_SPACE}\r\n"
                f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            )
            self.transport.write(head.encode("ascii") + body)
            self.transport.close()


class _Watch:
    """All connections, and who has been silent for too long."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.limits, self.clock = limits, clock
        self.connections: set[_Connection | Bridge] = set()
        self.crossing: Crossing | None = None

    def serving(self, handler: Handler) -> Handler:
        """The handler, telling its connection that it is being served."""

        async def serve(request: web.Request) -> web.StreamResponse:
            connection: Any = request.protocol
            connection.silent_since, connection.asked = float("inf"), connection.asked + 1
            request[BODY_TIME] = self.limits.body
            try:
                return await handler(request)
            finally:
                connection.silent_since = self.clock()

        return serve

    def cross(self) -> Crossing:
        """Where connections become bridges; ImportError, if there is no library for HTTP/2."""
        from bedrock_nb.server.http2 import Crossing

        self.crossing = self.crossing or Crossing(self.limits.reader, self.clock)
        return self.crossing

    async def end_bridges(self, _app: web.Application) -> None:
        """End what speaks HTTP/2; aiohttp ends the other connections."""
        if self.crossing is not None:
            await self.crossing.close()

    def sweep(self) -> None:
        """Close whoever has been silent for too long; say why to those who never asked."""
        now = self.clock()
        for connection in list(self.connections):
            untaken = self._untaken(connection, now)
            if connection.untaken:  # an answer on its way is no silence
                connection.silent_since = max(connection.silent_since, now)
            silent = now - connection.silent_since
            if not connection.asked and silent > self.limits.head:
                text = f"No whole request came within {self.limits.head:g} s."
                connection.turn_away(Refusal(408, "RequestTimeoutException", text))
            elif untaken > self.limits.reader:
                connection.abort()
            elif silent > self.limits.idle and connection.transport is not None:
                connection.transport.close()

    def _untaken(self, connection: _Connection | Bridge, now: float) -> float:
        """Seconds since a client last took a byte of what waits for it."""
        transport: Any = connection.transport
        size = 0 if transport is None else transport.get_write_buffer_size()
        if size == 0 or size != connection.untaken:
            connection.untaken, connection.untaken_since = size, now
        return now - connection.untaken_since

    async def cut_off(self) -> None:
        """Abort whoever is left, and see each socket closed: the loop that would do it is about to end."""
        for _ in range(200):
            if not self.connections:
                break
            for connection in list(self.connections):
                connection.abort()
            await asyncio.sleep(0.005)

    async def run(self) -> None:
        """Sweep now and then."""
        pause = min(self.limits.head, self.limits.idle, self.limits.reader, 4.0) / 4
        while True:
            await asyncio.sleep(pause)
            self.sweep()


# -- the socket ------------------------------------------------------------------------------------


@dataclass
class Listener:
    """A server that listens."""

    url: str
    port: int
    _runner: web.AppRunner
    _sockets: asyncio.Server
    _watch: _Watch
    _watching: asyncio.Task[None]

    async def close(self) -> None:
        """Stop listening and end the streams that are open."""
        self._watching.cancel()
        # Who was let in just now becomes a connection first: asyncio forgets such a socket, and leaves it
        # open, when it stops listening in between.
        for socket in self._sockets.sockets:
            asyncio.get_running_loop().remove_reader(socket.fileno())
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self._sockets.close()
        await self._runner.cleanup()
        await self._watch.cut_off()


async def listen(handler: Handler, host: str, port: int, limits: Limits | None = None) -> Listener:
    """Listen on a loopback address with the running event loop.

    Parameters
    ----------
    handler : function
        Answers any request; a `Refusal` that it raises is answered in the service's form.
    host : str
    port : int
        0 takes any free port.
    limits : Limits, optional

    Raises
    ------
    RequestError
        An address that is not of this machine.
    ServerError
        The port is in use, or may not be used.
    """
    check_address(host, port)
    loop = asyncio.get_running_loop()
    watch = _Watch(limits or Limits(), loop.time)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_answer_errors])
    app.router.add_route("*", "/{path:.*}", watch.serving(handler), expect_handler=_expect)
    app.on_response_prepare.append(_sign)
    app.on_cleanup.append(watch.end_bridges)
    settings: dict[str, Any] = {"access_log": None, "logger": LOG}
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.2, **settings)
    await runner.setup()
    manager: Any = runner.server

    def connection() -> _Connection:
        sizes = {"max_line_size": MAX_HEAD // 4, "max_field_size": MAX_HEAD // 4}
        return _Connection(watch, manager, loop=loop, keepalive_timeout=3600, **sizes, **settings)

    try:
        sockets = await loop.create_server(connection, BINDABLE[host], port, backlog=1024)
    except OSError as err:
        await runner.cleanup()
        raise _cannot_listen(host, port, err) from err
    port = sockets.sockets[0].getsockname()[1]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return Listener(url, port, runner, sockets, watch, loop.create_task(watch.run()))


def _cannot_listen(host: str, port: int, err: OSError) -> ServerError:
    if err.errno == EADDRINUSE:
        return ServerError(
            f"Port {port} is in use: something else listens there.",
            remedy="Take another port, or port 0 (--port 0) for any that is free.",
        )
    return ServerError(
        f"The server cannot listen on {host} port {port}: {err.strerror or err}.",
        remedy="Ports below 1024 often need more rights; take another port, or port 0 (--port 0).",
    )
