"""The embedded Bedrock on HTTP: the operations, the guards, and the socket they listen on.

Strategy: aiohttp parses HTTP, one handler takes every path, and a table says which operations there are.
A request goes through guard, validation, responder and latency law, and what comes out, a recording, is
performed, with a fault if one is wanted: each write is made before it is due, and due times count from the
arrival of the request, so that lateness never adds up. The responder runs in a thread, so that a slow one
does not hold up the streams of others.

Bad input is answered as the service answers it, in JSON with an error name; nothing but a broken connection
ends without an answer. A web page cannot reach this server: the Host must be a loopback name with our port
(against DNS rebinding), any Origin is refused, and only JSON is read.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from errno import EADDRINUSE
from itertools import count
from typing import Any
from urllib.parse import unquote

import orjson
from aiohttp import web

from bedrock_nb.errors import BedrockNbError, ServerError
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.fault import Plan, sound
from bedrock_nb.server.latency import Latency, is_timed
from bedrock_nb.server.loopback import BINDABLE, NAMES, check_address
from bedrock_nb.server.perform import Change, Ending, Step, chunks, dumps, output
from bedrock_nb.server.refusal import Refusal, internal
from bedrock_nb.server.responders import Responder
from bedrock_nb.server.validation import operation, validate

__all__ = ["MAX_BODY", "Endpoint", "Listener", "listen"]

#: Silent unless somebody configures logging: aiohttp would otherwise write tracebacks into a notebook.
LOG = logging.getLogger("bedrock_nb.server")
LOG.addHandler(logging.NullHandler())

#: Largest request body, bytes.
MAX_BODY = 25 * 2**20
_THREADS = 64  # responders at once
_PATH = re.compile(r"/model/(?P<model>.+)/(?P<action>[^/]+)")
_UNKNOWN = "UnknownOperationException"
_ERROR_SPACE = "http://internal.amazon.com/coral/com.amazon.bedrock/"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Endpoint:
    """The operations, with what they need.

    Parameters
    ----------
    responder : Responder
    latency : Latency
        For recordings that bring no times.
    faults : function
        From each request to the fault of its reply, or None.
    on_write : function, optional
        Called after each write with the time it was due and the time it was done, on the loop's clock.
    """

    responder: Responder
    latency: Latency
    faults: Plan = sound
    on_write: Callable[[float, float], None] | None = None
    _answers: Iterator[int] = field(default_factory=count, repr=False)
    # Of its own, as large as clients' pools: a responder that waits for a model must not make others wait.
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS), repr=False)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request."""
        arrived = asyncio.get_running_loop().time()
        _guard(request)
        found = _PATH.fullmatch(request.rel_url.raw_path)
        name = _OPERATIONS.get(found["action"]) if found and request.method == "POST" else None
        if found is None or name is None:
            raise _unknown_operation()
        kwargs = validate(name, unquote(found["model"]), await _json(request))
        answer = asyncio.get_running_loop().run_in_executor(self._threads, self._answer, kwargs)
        recording, fault = await answer
        perform = self._converse if name == "Converse" else self._converse_stream
        return await perform(request, recording, fault, arrived)

    def close(self) -> None:
        """Take no more questions; a responder that still thinks is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _answer(self, kwargs: dict[str, Any]) -> tuple[Recording, Change | None]:
        name = getattr(self.responder, "__name__", type(self.responder).__name__)
        try:
            request = Request.from_kwargs(kwargs)
        except BedrockNbError as err:  # stricter than the service somewhere: still the caller's to mend
            raise Refusal(400, "ValidationException", str(err)) from err
        fault = self.faults(request)
        try:
            recording = self.responder(request)
        except Exception as err:
            raise internal(f"The responder {name} raised {type(err).__name__}: {err}") from err
        if not isinstance(recording, Recording):
            found = type(recording).__name__
            raise internal(f"The responder {name} returned a {found}; a Recording is wanted.")
        nth = next(self._answers)
        if self.latency.paced and not is_timed(recording):
            recording = self.latency.retime(recording, nth=nth)
        return recording, fault

    async def _converse_stream(
        self, request: web.Request, recording: Recording, fault: Change | None, arrived: float
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.amazon.eventstream"})
        clock = asyncio.get_running_loop().time
        try:
            for t, data in chunks(recording, fault):
                due = arrived + t
                # Sleep also when late: a stream at full speed lets the others have their turn.
                await asyncio.sleep(max(0.0, due - clock()))
                if not isinstance(data, bytes):
                    await _break_off(request, data)
                    return response
                await response.prepare(request)  # the first time only: it is the head
                await response.write(data)
                if data and self.on_write is not None:
                    self.on_write(due, clock())
            await response.write_eof()
        except ConnectionError:
            pass  # the client has gone; there is nobody to tell
        return response

    async def _converse(
        self, request: web.Request, recording: Recording, fault: Change | None, arrived: float
    ) -> web.StreamResponse:
        head = iter([Step(max(recording.times, default=0.0), b"", whole=False)])
        due, data, _ = next(head if fault is None else fault(head))  # there are no events to count
        await asyncio.sleep(max(0.0, arrived + due - asyncio.get_running_loop().time()))
        if not isinstance(data, bytes):
            await _break_off(request, data)
            return web.Response()
        return web.Response(body=dumps(output(recording)), content_type="application/json")


#: The last part of the path -> the operation.
_OPERATIONS = {
    operation(name).http["requestUri"].rpartition("/")[2]: name for name in ("Converse", "ConverseStream")
}


# -- in --------------------------------------------------------------------------------------------


def _guard(request: web.Request) -> None:
    """Refuse whatever a web page could have sent."""
    name, colon, port = request.host.rpartition(":")
    if not colon or "]" in port:  # no port, or an IPv6 name without one
        name, port = request.host, ""
    ours = request.transport.get_extra_info("sockname")[1] if request.transport else None
    if name.lower() not in NAMES or (port and port != str(ours)):
        raise Refusal(
            403, "AccessDeniedException", "The Host header does not name this server on this machine."
        )
    if "Origin" in request.headers:
        raise Refusal(403, "AccessDeniedException", "Requests from web pages are not answered.")


async def _json(request: web.Request) -> Any:
    if request.content_type != "application/json":
        raise Refusal(415, "UnsupportedMediaTypeException", "The Content-Type must be application/json.")
    if (request.content_length or 0) > MAX_BODY:
        raise _too_large()
    try:
        body = await request.read()
    except web.RequestPayloadError as err:
        raise Refusal(400, "SerializationException", "The body is not what its headers say.") from err
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as quick:
        # orjson refuses lone surrogates, which are legal in JSON and do come out of models.
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refusal(400, "SerializationException", f"The body is not JSON: {quick}") from quick


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _unknown_operation() -> Refusal:
    text = "The requested operation is not recognized by the service."
    return Refusal(404, _UNKNOWN, text)


def _too_large() -> Refusal:
    return Refusal(413, "RequestEntityTooLargeException", f"The body may have up to {MAX_BODY // 2**20} MiB.")


# -- out -------------------------------------------------------------------------------------------


async def _break_off(request: web.Request, how: Refusal | Ending) -> None:
    """End a response otherwise than a sound one; on what is left of its connection, aiohttp sends nothing."""
    if isinstance(how, Refusal):
        raise how
    if request.transport is not None:  # else the client was quicker
        await how(request.transport)


def _refused(refusal: Refusal) -> web.Response:
    body = {"message": refusal.message}
    if refusal.code == _UNKNOWN:  # not an error of the operation: there is none
        body = {"__type": f"com.amazon.coral.service#{refusal.code}", **body}
    return web.Response(
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
    except Refusal as refusal:
        return _refused(refusal)
    except web.HTTPRequestEntityTooLarge:
        return _refused(_too_large())
    except web.HTTPException as err:  # aiohttp's own verdict: no path at all, as in "OPTIONS *"
        known = _unknown_operation() if err.status == 404 else None
        return _refused(known or Refusal(err.status, "ValidationException", err.reason))
    except ConnectionError:
        raise
    except Exception as err:
        LOG.exception("a request could not be answered")
        return _refused(internal(f"{type(err).__name__}: {err}"))


async def _sign(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["x-amzn-RequestId"] = str(uuid.uuid4())
    response.headers.pop("Server", None)


# -- the socket ------------------------------------------------------------------------------------


@dataclass
class Listener:
    """A server that listens."""

    url: str
    port: int
    runner: web.AppRunner

    async def close(self) -> None:
        """Stop listening and end the streams that are open."""
        await self.runner.cleanup()


async def listen(endpoint: Endpoint, host: str, port: int) -> Listener:
    """Listen on a loopback address with the running event loop.

    Raises
    ------
    RequestError
        An address that is not of this machine.
    ServerError
        The port is in use, or may not be used.
    """
    check_address(host, port)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[_answer_errors])
    app.router.add_route("*", "/{path:.*}", endpoint.handle)
    app.on_response_prepare.append(_sign)
    runner = web.AppRunner(app, access_log=None, logger=LOG, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, BINDABLE[host], port).start()
    except OSError as err:
        await runner.cleanup()
        raise _cannot_listen(host, port, err) from err
    port = runner.addresses[0][1]
    return Listener(f"http://{f'[{host}]' if ':' in host else host}:{port}", port, runner)


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
