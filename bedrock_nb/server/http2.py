"""HTTP/2 for clients that speak it without asking first, as the AWS SDK for JavaScript does.

Strategy: a bridge. The library h2 knows frames, headers and windows; here its events become requests. Each
stream is one HTTP/1.1 request to the very listener that the connection came to, so that whatever is checked,
answered, noted or broken there is so for HTTP/2 as well. Bytes are handed on as they come, in both
directions and never faster than the reader takes them. An answer that breaks off over there resets its stream
here, and a stream that the client resets closes its request. Each request has a connection to itself: a fault
may do to it what it likes.
"""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamReset, WindowUpdated
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from multidict import CIMultiDict
from yarl import URL

from bedrock_nb.server.guard import MAX_HEAD
from bedrock_nb.server.perform import dumps
from bedrock_nb.server.refusal import Refusal

__all__ = ["Bridge", "Crossing"]

_LOG = logging.getLogger("bedrock_nb.server")
logging.getLogger("hpack").setLevel(logging.INFO)  # below that it would write out credentials

_STREAMS = 1_000  # of one connection, at once
_WINDOW = 2**20  # bytes of a request's body that may wait to be handed on
_SETTINGS = {
    SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
    SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
    SettingCodes.ENABLE_PUSH: 0,
}
#: What is said between two neighbours, and not handed on.
_HOP = frozenset({"connection", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"})
#: What aiohttp would add to a request that lacks it.
_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
#: A path as it may stand in the first line of a request.
_PATH = re.compile(r"""/[!"$-~]*""")

#: Bytes by which a client is known: its preface, and length and type of its first frame.
_FIRST = 24 + 3 + 1

#: What h2 is told when a client that has asked for something leaves.
_LEAVES = ConnectionState.SERVER_OPEN, ConnectionInputs.RECV_GOAWAY

_Headers = list[tuple[bytes, bytes]]


@dataclass(eq=False)
class _Stream:
    """One request of a connection.

    Attributes
    ----------
    id : int
    bare : bool
        Whether there is no body.
    ended : bool
        Whether the client has sent all of it.
    begun : bool
        Whether the answer has a head already.
    body : Queue
        Pieces, each with what it counts for in the window; None is the end.
    room : Event
        Set when there may be more room in the windows.
    """

    id: int
    bare: bool
    ended: bool = False
    begun: bool = False
    body: asyncio.Queue[tuple[bytes, int] | None] = field(default_factory=asyncio.Queue)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Bridge(asyncio.Protocol):
    """One connection that speaks HTTP/2.

    It has what the listener looks at to see who has been silent for too long.

    Parameters
    ----------
    transport : asyncio.Transport
        A connection that was accepted, and on which nothing was answered.
    session : aiohttp.ClientSession
    reader : float
        Seconds that a client may leave a window closed.
    clock : function
    silent_since : float
        By that clock.
    gone : function
        Told when the connection is lost.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        session: aiohttp.ClientSession,
        *,
        reader: float,
        clock: Callable[[], float],
        silent_since: float,
        gone: Callable[[Bridge], None],
    ) -> None:
        self.transport: asyncio.Transport | None = transport
        self.silent_since, self.asked = silent_since, 0
        self.untaken, self.untaken_since = 0, 0.0
        self._session, self._reader, self._clock, self._gone = session, reader, clock, gone
        host, port = transport.get_extra_info("sockname")[:2]
        self._origin = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._streams: dict[int, _Stream] = {}
        self._writable, self._leaving, self._first = True, False, b""
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        # For h2 all would be over when the client says that it leaves. By RFC 9113, 6.8, what is open goes on
        # to its end; and frames that came together with the GOAWAY are no fault.
        machine = self._h2.state_machine
        machine._transitions = {**machine._transitions, _LEAVES: (None, ConnectionState.SERVER_OPEN)}
        # Before anything is sent: h2 would otherwise keep its own settings until the client has agreed.
        self._h2.local_settings = Settings(client=False, initial_values=_SETTINGS)
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(16 * _WINDOW)

    # -- what asyncio and the listener say ---------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take what came, the preface too."""
        try:
            self._check_first(data)
            for event in self._h2.receive_data(data):
                if (handle := _HANDLERS.get(type(event).__name__)) is not None:
                    handle(self, event)
        except ProtocolError as err:
            _LOG.info("a client broke the rules of HTTP/2: %s", err)
            self._leave()  # h2 has written the GOAWAY
        else:
            self._flush()

    def _check_first(self, data: bytes) -> None:
        """Is the first frame the settings? h2 would wait for all of it, whatever it is, to say so."""
        if len(self._first) < _FIRST:
            self._first += data[: _FIRST - len(self._first)]
            length, kind = self._first[24:27], self._first[27:28]
            if (length and length[0]) or (kind and kind != b"\4"):
                self._h2.close_connection(ErrorCodes.PROTOCOL_ERROR)
                raise ProtocolError("the preface is not followed by SETTINGS")

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give up whatever is still being answered."""
        self.transport = None
        self._cancel()
        self._gone(self)

    def pause_writing(self) -> None:
        """Read no more either: a client that asks and asks, and takes no answer, is not listened to."""
        self._writable = False
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._writable = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()
        for stream in self._streams.values():
            stream.room.set()

    def abort(self) -> None:
        """Close without another word."""
        if self.transport is not None:
            self.transport.abort()

    def turn_away(self, refusal: Refusal) -> None:
        """Close, and say why."""
        with suppress(ProtocolError):
            words = f"{refusal.code}: {refusal.message}".encode()
            self._h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM, words)
        self._leave()

    async def close(self) -> None:
        """End what is open, and the connection."""
        tasks = [stream.task for stream in self._streams.values() if stream.task is not None]
        for stream in list(self._streams.values()):
            self._reset(stream, ErrorCodes.INTERNAL_ERROR)
        with suppress(ProtocolError):
            self._h2.close_connection()
        self._leave()
        if self.transport is not None and self.transport.get_write_buffer_size():
            self.transport.abort()  # nobody takes it
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- what the client says ----------------------------------------------------------------------

    def _requested(self, event: RequestReceived) -> None:
        bare = event.stream_ended is not None
        stream = _Stream(event.stream_id, bare, ended=bare)
        self._streams[stream.id] = stream
        self.silent_since, self.asked = float("inf"), self.asked + 1
        stream.task = asyncio.get_running_loop().create_task(self._answer(stream, event.headers))
        stream.task.add_done_callback(lambda task: self._over(stream, task))

    def _came(self, event: DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:  # answered before it was all said
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        else:
            stream.body.put_nowait((event.data, event.flow_controlled_length))

    def _ended(self, event: Any) -> None:
        if (stream := self._streams.get(event.stream_id)) is not None:
            stream.ended = True
            stream.body.put_nowait(None)

    def _was_reset(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None and stream.task is not None:
            stream.task.cancel()

    def _opened(self, event: WindowUpdated) -> None:
        """A window has grown: that of a stream, or of all."""
        stream = self._streams.get(event.stream_id)
        for each in [stream] if stream else [] if event.stream_id else self._streams.values():
            each.room.set()

    def _resized(self, _event: Any) -> None:
        for stream in self._streams.values():  # the settings may have made all windows larger
            stream.room.set()

    def _leaves(self, _event: Any) -> None:
        """The client asks for nothing more, but may still wait for its answers."""
        self._leaving = True
        if not self._streams:
            self._leave()

    # -- what is answered --------------------------------------------------------------------------

    async def _answer(self, stream: _Stream, headers: _Headers) -> None:
        try:
            method, path, fields = _read(headers)
            if fields.get("Expect", "").lower() == "100-continue":
                del fields["Expect"]
                self._h2.send_headers(stream.id, [(":status", "100")])
                self._flush()
            await self._hand_on(stream, method, URL(self._origin + path, encoded=True), fields)
        except (Refusal, ValueError) as err:  # a ValueError is aiohttp's, of what cannot be sent
            refusal = err if isinstance(err, Refusal) else _unfit(str(err))
            if stream.begun:
                self._reset(stream, ErrorCodes.INTERNAL_ERROR)
            else:
                await self._refuse(stream, refusal)
        except (aiohttp.ClientError, OSError) as err:
            _LOG.debug("an answer over HTTP/2 broke off: %r", err)
            self._reset(stream, ErrorCodes.INTERNAL_ERROR)
        except Exception:
            _LOG.exception("an answer over HTTP/2 broke off")
            self._reset(stream, ErrorCodes.INTERNAL_ERROR)

    async def _hand_on(self, stream: _Stream, method: str, url: URL, fields: CIMultiDict[str]) -> None:
        body = None if stream.bare else self._body(stream)
        response = await self._session.request(method, url, headers=fields, data=body, allow_redirects=False)
        try:
            head = [(b":status", b"%d" % response.status)]
            head += [(name.lower(), value) for name, value in response.raw_headers]
            self._begin(stream, [field for field in head if field[0].decode() not in _HOP])
            while data := await response.content.readany():
                await self._send(stream, data)
        finally:
            response.close()
        self._end(stream)

    async def _body(self, stream: _Stream) -> AsyncIterator[bytes]:
        """The body of a request; what was taken makes room for more."""
        while (piece := await stream.body.get()) is not None:
            data, size = piece
            self._h2.acknowledge_received_data(size, stream.id)
            self._flush()
            yield data

    async def _refuse(self, stream: _Stream, refusal: Refusal) -> None:
        body = dumps({"message": refusal.message})
        self._begin(
            stream,
            [
                (b":status", b"%d" % refusal.status),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"x-amzn-requestid", str(uuid.uuid4()).encode()),
                (b"x-amzn-errortype", refusal.code.encode()),
            ],
        )
        await self._send(stream, body)
        self._end(stream)

    def _begin(self, stream: _Stream, head: _Headers) -> None:
        self._h2.send_headers(stream.id, head)
        stream.begun = True
        self._flush()

    async def _send(self, stream: _Stream, data: bytes) -> None:
        """Send bytes of a body, as many at a time as the client has room for."""
        while data:
            room = min(self._h2.local_flow_control_window(stream.id), self._h2.max_outbound_frame_size)
            if room <= 0 or not self._writable:
                stream.room.clear()
                async with asyncio.timeout(self._reader):
                    await stream.room.wait()
                continue
            self._h2.send_data(stream.id, data[:room])
            self._flush()
            data = data[room:]

    def _end(self, stream: _Stream) -> None:
        self._h2.end_stream(stream.id)
        if not stream.ended:  # there is no need for the rest of the request: RFC 9113, 8.1
            self._h2.reset_stream(stream.id, ErrorCodes.NO_ERROR)
        self._flush()

    def _reset(self, stream: _Stream, code: ErrorCodes) -> None:
        with suppress(ProtocolError):  # the client was quicker
            self._h2.reset_stream(stream.id, code)
        self._flush()

    def _over(self, stream: _Stream, task: asyncio.Task[None]) -> None:
        self._streams.pop(stream.id, None)
        if not task.cancelled() and (err := task.exception()) is not None:
            _LOG.error("a stream of HTTP/2 could not be ended", exc_info=err)
        if self.transport is None or self.transport.is_closing():
            return
        size = 0
        while not stream.body.empty():  # what nobody took has still to be counted as taken
            piece = stream.body.get_nowait()
            size += piece[1] if piece is not None else 0
        if size:
            self._h2.acknowledge_received_data(size, stream.id)
            self._flush()
        if not self._streams:
            self.silent_since = self._clock()
            if self._leaving:
                self._leave()

    # -- the connection ----------------------------------------------------------------------------

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def _leave(self) -> None:
        """Say what h2 has still to say, and close."""
        self._flush()
        if self.transport is not None:
            self.transport.close()
        self._cancel()

    def _cancel(self) -> None:
        for stream in self._streams.values():
            if stream.task is not None:
                stream.task.cancel()


#: What is done about each of h2's events, by its name; the others need no answer, or h2 gives it.
_HANDLERS: dict[str, Callable[[Bridge, Any], None]] = {
    "RequestReceived": Bridge._requested,
    "DataReceived": Bridge._came,
    "StreamEnded": Bridge._ended,
    "StreamReset": Bridge._was_reset,
    "WindowUpdated": Bridge._opened,
    "RemoteSettingsChanged": Bridge._resized,
    "ConnectionTerminated": Bridge._leaves,
}


class Crossing:
    """The bridges of one listener, and what they share.

    Parameters
    ----------
    reader : float
        Seconds that a client may leave a window closed.
    clock : function
    """

    def __init__(self, reader: float, clock: Callable[[], float]) -> None:
        self._reader, self._clock = reader, clock
        self._bridges: set[Bridge] = set()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_ADDED,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
        )

    def bridge(
        self, transport: asyncio.Transport, silent_since: float, gone: Callable[[Bridge], None]
    ) -> Bridge:
        """Take a connection over; what came on it is still to be given to the bridge.

        Parameters
        ----------
        transport : asyncio.Transport
        silent_since : float
            By the clock.
        gone : function
            Told when the connection is lost.
        """

        def lost(bridge: Bridge) -> None:
            self._bridges.discard(bridge)
            gone(bridge)

        bridge = Bridge(
            transport,
            self._session,
            reader=self._reader,
            clock=self._clock,
            silent_since=silent_since,
            gone=lost,
        )
        self._bridges.add(bridge)
        transport.set_protocol(bridge)
        return bridge

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(bridge.close() for bridge in list(self._bridges)))
        await self._session.close()
        await asyncio.sleep(0)  # the transports that were closed say so in the next turn of the loop


def _read(headers: Iterable[tuple[bytes, bytes]]) -> tuple[str, str, CIMultiDict[str]]:
    """Method, path and header fields of a request, as HTTP/1.1 has them.

    Raises
    ------
    Refusal
        400: they have no form there.
    """
    said: dict[str, str] = {}
    fields: CIMultiDict[str] = CIMultiDict()
    try:
        for name, value in ((name.decode(), value.decode()) for name, value in headers):
            if name.startswith(":"):
                said[name] = value
            elif name not in _HOP and name != "host":  # h2 has seen that it says what :authority says
                fields.add(name, value)
            elif name == "host":
                said.setdefault(":authority", value)
    except UnicodeDecodeError:
        raise _unfit("a header is no text in UTF-8") from None
    path = said.get(":path", "")
    if _PATH.fullmatch(path) is None:
        raise _unfit(f"the path {path[:60]!r} is none")
    return said[":method"], path, CIMultiDict([("Host", said.get(":authority", "")), *fields.items()])


def _unfit(what: str) -> Refusal:
    return Refusal(400, "ValidationException", f"The request is not HTTP: {what[:200]}.")
