"""Which connection serves which call, known from before the first byte is sent, and how it was set up.

A response can be shut down once it is there. Before, only the connection knows the socket, and a model may
think for minutes before the head of its answer leaves: Stop and time limits need that socket. Strategy:
the client's pools make connections of a subclass that tells the call of its thread "I serve you". urllib3
lets a pool manager's classes be chosen; how to get at botocore's manager is not part of its public surface,
so where that changed one day, a call that is given up ends at its read timeout.

The same subclass notes when a new connection was begun, its host's name looked up, TCP and TLS there. Nothing
is looked up or opened a second time for that: urllib3 asks for a socket's options after the lookup and
before it connects, so the options note when they are asked for. What cannot be noticed is not noted.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["SETUP", "Abandoned", "Serving", "notice"]

#: The moments of a connection's set-up, in their order: it was begun, the name of its host was looked up, TCP
#: was there, TLS was. With a proxy they are those of the way to the proxy, and its CONNECT counts as TLS.
SETUP = ("connecting", "resolved", "connected", "secured")


class Abandoned(BaseException):
    """Nobody waits for this call any more. No Exception: botocore would take it for one to retry on."""


class Serving:
    """The connection of one call, from when it is taken until it is given up; from any thread.

    Attributes
    ----------
    abandoned : bool
        It was given up.
    head : float or None
        When the head of the latest response came, by ``clock``; botocore tells of a response that is no
        stream only when all of it is there.
    setup : dict of str to float
        When the connection of the latest attempt was set up, by ``clock``: some of `SETUP`, and nothing if
        the attempt was given a connection that was open.
    """

    _of_thread = threading.local()

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.abandoned = False
        self.head: float | None = None
        self.setup: dict[str, float] = {}
        self._clock = clock
        self._connection: Any = None
        self._socket: Any = None  # of a response that has begun

    def here(self) -> None:
        """From now on this thread's requests are those of this call."""
        Serving._of_thread.current = self

    @staticmethod
    def current() -> Serving | None:
        """The call of this thread, if there is one."""
        found: Serving | None = getattr(Serving._of_thread, "current", None)
        return found

    @staticmethod
    def nowhere() -> None:
        """No call is this thread's any more."""
        Serving._of_thread.current = None

    def by(self, connection: Any) -> None:
        """A connection serves this call now.

        Raises
        ------
        Abandoned
            Too late.
        """
        self._connection, connection.serving = connection, self
        if self.abandoned:
            raise Abandoned

    def attempts(self) -> None:
        """Another attempt begins: what is known of the connection was of the one before."""
        self.setup.clear()

    def passes(self, moment: str) -> None:
        """Note one of `SETUP`, the first time that it is reached: a host may have several addresses."""
        self.setup.setdefault(moment, self._clock())

    def answered(self, sock: Any) -> None:
        """The head of a response came; where it is the last of its connection, only it has the socket now."""
        self.head, self._socket = self._clock(), sock

    def abandon(self) -> None:
        """Shut the connection down: whoever waits for it is woken, and the server hears of it."""
        self.abandoned = True
        connection = self._connection
        found = getattr(connection, "sock", None) or self._socket
        # Between two attempts it is in the pool, or serves another call by now: that is not to be disturbed.
        if found is not None and connection.serving is self:
            with contextlib.suppress(OSError):  # closed meanwhile
                # The plain socket's method, under TLS too: an SSLSocket's own would let go of the TLS state
                # that another thread is reading with.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    def over(self) -> None:
        """The connection may go back to its pool: it is not ours to shut any more."""
        self._connection = self._socket = None


class _Noting(list[Any]):
    """Options of a socket, which tell when they are asked for."""

    def __init__(self, options: Any, tell: Callable[[], None]) -> None:
        super().__init__(options or ())
        self._tell = tell

    def __iter__(self) -> Iterator[Any]:
        self._tell()
        return super().__iter__()


class _Telling:
    """Mixed into botocore's connection classes."""

    sock: Any
    timeout: Any
    socket_options: Any
    serving: Serving | None = None  # the call that it serves, or served last

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if self.sock is not None:  # from the pool: the limits of its last call are none of this one's
            self.sock.settimeout(self.timeout)
        serving = self.serving = Serving.current()
        if serving is not None:
            serving.by(self)
        return super().request(*args, **kwargs)  # type: ignore[misc]

    def connect(self) -> Any:
        serving = Serving.current()
        if serving is None:
            return super().connect()  # type: ignore[misc]
        serving.attempts()
        serving.passes("connecting")
        connected = super().connect()  # type: ignore[misc]
        if hasattr(self.sock, "cipher"):  # of TLS sockets, also of one inside another
            serving.passes("secured")
        serving.by(self)
        return connected

    def _new_conn(self) -> Any:
        serving = Serving.current()
        if serving is None or not hasattr(self, "socket_options"):
            return super()._new_conn()  # type: ignore[misc]
        options = self.socket_options
        self.socket_options = _Noting(options, lambda: serving.passes("resolved"))
        try:
            sock = super()._new_conn()  # type: ignore[misc]
        finally:
            self.socket_options = options
        serving.passes("connected")
        return sock

    def getresponse(self) -> Any:
        sock = self.sock
        response = super().getresponse()  # type: ignore[misc]
        if self.serving is not None:
            self.serving.answered(sock)
        return response


def notice(client: Any) -> None:
    """Let a boto3 client's connections tell which call they serve, where they can be reached."""
    with contextlib.suppress(AttributeError):
        session = client._endpoint.http_session
        classes, manager = session._pool_classes_by_scheme, session._manager
        for scheme, pool in list(classes.items()):
            if not issubclass(pool.ConnectionCls, _Telling):
                connection = type(pool.ConnectionCls.__name__, (_Telling, pool.ConnectionCls), {})
                classes[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})
        manager.clear()  # pools of the old classes; what is in use goes on
