"""HTTP sessions of aiohttp for boto3 clients: one for each event loop and each way to the service.

Strategy: what the client says of TLS, proxies and time to connect is looked up once for each client; clients
that say the same share a session, and so connections that are kept open. Its sockets stamp what they receive
(`Stamped`), as those of `body` do: when the bytes came is known however late the loop gets round to them.

A loop ends its asynchronous generators when it shuts down in good order, as ``asyncio.run`` lets it. One of
them holds the session, and closes it then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import time
import weakref
from collections.abc import AsyncGenerator
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from botocore.httpsession import create_urllib3_context
from botocore.httpsession import where as certifi
from botocore.utils import get_environ_proxies

from bedrock_nb.aio.pulse import Pulse, pulse
from bedrock_nb.body import Call

__all__ = ["Stamped", "Way", "opening", "session_for", "socket_of", "way_of"]

#: An open connection that nobody uses is kept for so long, seconds.
_KEPT_S = 60.0
#: The call for which a connection is opened in this task.
opening: ContextVar[Call | None] = ContextVar("bedrock_nb.opening", default=None)


class Stamped(socket.socket):
    """A socket that notes when it received something.

    Event loops of Python's own receive by these methods; others, such as uvloop's, do not, and then
    ``number`` stays 0.

    Attributes
    ----------
    number : int
        How often it received something.
    t : float
        When it did last, by ``time.perf_counter``.
    first : float or None
        When it did for the first time since somebody set this to None.
    late : float
        For how long what came last may have waited because the loop was busy, seconds.
    broken : ConnectionError or None
        How the connection broke: aiohttp says only that the response is not whole.
    """

    number = 0
    t = 0.0
    first: float | None = None
    late = 0.0
    broken: ConnectionError | None = None
    pulse: Pulse | None = None  # of its loop
    opens_for: Call | None = None  # whose connection it is to be, until it sends something

    def recv(self, *args: Any) -> bytes:
        """As every socket; and note when."""
        try:
            data = super().recv(*args)
        except ConnectionError as err:
            self.broken = err
            raise
        self._note()
        return data

    def recv_into(self, *args: Any) -> int:
        """As every socket; and note when."""
        try:
            count = super().recv_into(*args)
        except ConnectionError as err:
            self.broken = err
            raise
        self._note()
        return count

    def send(self, *args: Any) -> int:
        """As every socket; the first time, it is connected."""
        if self.opens_for is not None:  # TLS, or a proxy, begins to talk
            self.opens_for.serving.passes("connected")
            self.opens_for = None
        return super().send(*args)

    def _note(self) -> None:
        t = self.t = time.perf_counter()
        self.number += 1
        if self.pulse is not None:
            self.late = self.pulse.late(t)
        if self.first is None:
            self.first = t


_sockets: weakref.WeakValueDictionary[int, Stamped] = weakref.WeakValueDictionary()  # by descriptor


def _socket(where: Any) -> socket.socket:
    """Make a socket for a connection: the name of its host is looked up by now."""
    family, kind, protocol, _, _ = where
    made = Stamped(family, kind, protocol)
    made.pulse = pulse()
    if (call := opening.get()) is not None:
        call.serving.passes("resolved")
        made.opens_for = call
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # gateways forget what is silent for minutes
    _sockets[made.fileno()] = made
    return made


def socket_of(response: aiohttp.ClientResponse) -> Stamped | None:
    """The socket under a response, while its body still comes and if the event loop uses it."""
    transport = None if response.connection is None else response.connection.transport
    plain = None if transport is None else transport.get_extra_info("socket")
    found = None if plain is None else _sockets.get(plain.fileno())
    return found if found is not None and found.number else None


# -- the way ---------------------------------------------------------------------------------------


class Way(NamedTuple):
    """How a client reaches its service.

    Attributes
    ----------
    verify : bool or str
        Whether the server's certificate is checked; the path of the certificates to check it with.
    certificate : str, tuple of str, or None
        The client's own: a file, or files of it and of its key.
    connect_s, read_s : float or None
        How long a connection may take, and silence on it.
    proxies : tuple of (str, str)
        Scheme -> URL.
    """

    verify: bool | str
    certificate: str | tuple[str, str] | None
    connect_s: float | None
    read_s: float | None
    proxies: tuple[tuple[str, str], ...]

    def proxy(self, url: str) -> str | None:
        """The proxy on the way to a URL."""
        found = dict(self.proxies).get(urlsplit(url).scheme)
        return found if found is None or "://" in found else f"http://{found}"


_ways: weakref.WeakKeyDictionary[Any, Way] = weakref.WeakKeyDictionary()  # by the client's emitter


def way_of(client: Any) -> Way:
    """How a boto3 client reaches its service.

    All of it is public but for the ``verify`` that a client was made with, or that its configuration says:
    where that cannot be had, certificates are checked with those that botocore takes by default.
    """
    known = _ways.get(client.meta.events)
    if known is None:
        config = client.meta.config
        verify: Any = os.environ.get("REQUESTS_CA_BUNDLE", True)
        with contextlib.suppress(AttributeError):
            verify = client._endpoint.http_session._verify
        proxies = config.proxies
        if proxies is None:
            proxies = get_environ_proxies(client.meta.endpoint_url)
        certificate = config.client_cert
        known = _ways[client.meta.events] = Way(
            verify,
            tuple(certificate) if isinstance(certificate, list | tuple) else certificate,
            config.connect_timeout,
            config.read_timeout,
            tuple(sorted(proxies.items())),
        )
    return known


def _tls(way: Way) -> ssl.SSLContext:
    """As botocore makes it."""
    context: ssl.SSLContext = create_urllib3_context()
    if way.verify:
        found = Path(certifi() if way.verify is True else way.verify)
        context.load_verify_locations(**{"capath" if found.is_dir() else "cafile": str(found)})
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if isinstance(way.certificate, str):
        context.load_cert_chain(way.certificate)
    elif way.certificate is not None:
        context.load_cert_chain(*way.certificate)
    return context


# -- sessions --------------------------------------------------------------------------------------

_Holder = AsyncGenerator[aiohttp.ClientSession, None]
_holders: dict[tuple[asyncio.AbstractEventLoop, Any], tuple[aiohttp.ClientSession, _Holder]] = {}


async def session_for(way: Way, url: str) -> aiohttp.ClientSession:
    """The session of the running loop for a way, to a URL."""
    secure = urlsplit(url).scheme == "https"
    key = asyncio.get_running_loop(), (way[:3] if secure else (None, None, way.connect_s))
    if key not in _holders:
        for other in [known for known in list(_holders) if known[0].is_closed()]:  # copied: threads
            left = _holders.pop(other, None)
            with contextlib.suppress(StopIteration, RuntimeError):
                if left is not None:  # its loop did not end in good order: nothing is waited for
                    left[0].close().send(None)
        # Files of certificates: a few milliseconds, once.
        holder = _hold(key, _tls(way) if secure else None, way.connect_s)
        _holders[key] = await anext(holder), holder
    return _holders[key][0]


async def _hold(key: Any, tls: ssl.SSLContext | None, connect_s: float | None) -> _Holder:
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=_KEPT_S,
            socket_factory=_socket,
            ssl=True if tls is None else tls,
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},  # as urllib3 adds it to boto3's requests
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
        auto_decompress=False,
        trace_configs=[_tracing(secure=tls is not None)],
    )
    try:
        yield session
    finally:
        _holders.pop(key, None)
        await session.close()


def _tracing(*, secure: bool) -> aiohttp.TraceConfig:
    """Notes when a connection is begun and when it is there, for the call that is the request's context."""
    trace = aiohttp.TraceConfig()

    async def begun(_session: Any, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.serving.passes("connecting")

    async def there(_session: Any, context: SimpleNamespace, _params: Any) -> None:
        context.trace_request_ctx.serving.passes("connected")
        if secure:
            context.trace_request_ctx.serving.passes("secured")

    trace.on_connection_create_start.append(begun)
    trace.on_connection_create_end.append(there)
    return trace
