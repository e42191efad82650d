"""The embedded Bedrock: a server on this machine that real boto3 cannot tell from the service's streaming.

Three ways to run it: `local` in a process of its own, shared by all who ask (what ``connect("local")``
does); `BedrockServer` in a thread of this process, with a responder and a latency law of your own; and
``bedrock-nb serve`` by hand. Inside, a request meets ``endpoint`` (HTTP) > ``validation`` > a responder >
the law of ``latency``, and the recording that results is performed on the socket, with one of the `faults`
if that is wanted. What it did is known afterwards: `Truth`.

Strategy here: a thread with its own event loop. aiohttp and the service model are imported when a server
starts and not before, so that a client of one does not wait for them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import RequestError, ServerError
from bedrock_nb.server import faults as faults
from bedrock_nb.server.cassette import Cassette
from bedrock_nb.server.classroom import Classroom
from bedrock_nb.server.fault import Faults, plan
from bedrock_nb.server.guardrail import DEFAULT, Guardrail
from bedrock_nb.server.latency import INSTANT, Latency
from bedrock_nb.server.loopback import TARGET_VARIABLE, Keys, check_url, keys_of, loopback_client
from bedrock_nb.server.ngrams import ngram
from bedrock_nb.server.openai_chat import openai
from bedrock_nb.server.own_models import drawing, embedded
from bedrock_nb.server.prepared import canned
from bedrock_nb.server.process import Settings, local, serve, serving
from bedrock_nb.server.responders import Responder, by_model, call_tool, echo, in_turn, scripted
from bedrock_nb.server.truths import Log, Truth, fetch
from bedrock_nb.server.upstream import bedrock
from bedrock_nb.server.writing import recorded

if TYPE_CHECKING:
    from bedrock_nb.server.listening import Listener

__all__ = [
    "INSTANT",
    "BedrockServer",
    "Cassette",
    "Classroom",
    "Guardrail",
    "Latency",
    "Responder",
    "Truth",
    "bedrock",
    "by_model",
    "call_tool",
    "canned",
    "drawing",
    "echo",
    "embedded",
    "faults",
    "in_turn",
    "local",
    "loopback_client",
    "ngram",
    "openai",
    "recorded",
    "scripted",
    "serve",
    "truth",
]

_START_LIMIT = 20.0  # seconds


def __dir__() -> list[str]:
    """What tab completion offers: what users need."""
    return sorted(__all__)


class BedrockServer:
    """The embedded Bedrock in a thread of this process.

    Your own code and the server share Python's interpreter lock, so a busy notebook makes its times less
    exact; `local` has a process of its own.

    Parameters
    ----------
    responder : function, optional
        From a `Request` to the `Recording` of its answer, or to events that are performed as they come;
        called in a thread. By default `embedded`: prepared answers, and models of this server's own.
    latency : Latency, optional
        When events are sent, for recordings that have no times of their own.
    faults : Fault, sequence, or function, optional
        What goes wrong, made by the functions of `faults`. One fault is for every reply. A sequence has one
        for each request in turn, None for a sound reply; after its last, replies are sound. A function goes
        from a `Request` to a fault or None. Requests that are refused as invalid do not count.
    guardrails : sequence of Guardrail
        Those that requests may name in ``guardrailConfig``; by default one, ``embeddedwords``.
    classroom : Classroom, optional
        Who may ask, each with limits of their own; `client` then has the teacher's seat, which has none.
    host : str
        A loopback address.
    port : int
        0 takes any free port.

    Raises
    ------
    RequestError
        An argument that cannot work.
    ServerError
        From `start`: the port is in use, or the server did not start.

    Examples
    --------
    >>> with BedrockServer(latency=Latency.none()) as server:
    ...     client = server.client()
    ...     turn = {"role": "user", "content": [{"text": "Count to 3"}]}
    ...     answer = client.converse(modelId="any", messages=[turn])
    >>> answer["output"]["message"]["content"][0]["text"]
    '1, 2, 3.'
    """

    def __init__(
        self,
        responder: Responder = embedded,
        *,
        latency: Latency | None = None,
        faults: Faults = None,
        guardrails: Sequence[Guardrail] = (DEFAULT,),
        classroom: Classroom | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        if not callable(responder):
            raise RequestError(
                f"The responder is of type {type(responder).__name__}.",
                remedy="Give a function from a Request to a Recording, such as server.canned.",
            )
        if latency is not None and not isinstance(latency, Latency):
            raise RequestError(
                f"latency is {latency!r}.",
                remedy="Give a Latency, such as Latency(ttft=0.5, per_token=0.01).",
            )
        self.responder, self.latency = responder, latency if latency is not None else Latency()
        self._plan = plan(faults)
        if classroom is not None and not isinstance(classroom, Classroom):
            raise RequestError(
                f"classroom is {classroom!r}.", remedy="Give a Classroom, such as Classroom(30)."
            )
        self.classroom, self._guardrails, self._log = classroom, tuple(guardrails), Log()
        self._keys = Keys() if classroom is None else classroom.teacher.keys
        self._address = (host, port)
        self._running: tuple[asyncio.AbstractEventLoop, threading.Thread, asyncio.Event] | None = None
        self._listener: Listener | None = None

    @property
    def endpoint_url(self) -> str:
        """Where it listens: ``http://127.0.0.1:…``."""
        if self._listener is None:
            raise ServerError(
                "The server is not running.", remedy="Use it in a with statement, or call start() first."
            )
        return self._listener.url

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    def client(self, service: str = "bedrock-runtime", **kwargs: Any) -> Any:
        """A real boto3 client for this server, ``bedrock-runtime`` or another; see `loopback_client`."""
        keys = {
            "aws_access_key_id": self._keys.access_key,
            "aws_secret_access_key": self._keys.secret_key,
        }
        return loopback_client(self.endpoint_url, service, **keys | kwargs)

    def truth(self, request_id: str) -> Truth:
        """What the server did about a request, and when.

        Parameters
        ----------
        request_id : str
            Of the answer: ``reply.envelope["request_id"]``, or the column of the summary table.

        Raises
        ------
        RequestError
            It knows no such request, or not any more: it keeps the latest 2,000.

        Examples
        --------
        >>> import bedrock_nb as nb
        >>> with BedrockServer() as server:
        ...     reply = nb.stream(server.client(), "Count to 3").drain()
        ...     late = server.truth(reply.envelope["request_id"]).to_frame()["late_s"].max()
        """
        known = self._log.get(request_id)
        if known is None:
            raise RequestError(
                f"This server knows no request {request_id!r:.60}.",
                remedy="Take the id from reply.envelope['request_id'] of a reply that came from it.",
            )
        return known

    @contextmanager
    def fault(self, faults: Faults) -> Iterator[BedrockServer]:
        """Set what goes wrong for the time of a ``with`` block, in place of what was set before.

        Parameters
        ----------
        faults : Fault, sequence, or function
            As for the server itself. A reply keeps the fault with which it began, also after the block.

        Examples
        --------
        >>> import bedrock_nb as nb
        >>> with BedrockServer() as server, server.fault(nb.server.faults.reset(after=5)):
        ...     nb.stream(server.client(), "Tell me about rainbows").text
        Traceback (most recent call last):
        bedrock_nb.errors.ConnectionLost: The connection broke (ConnectionResetError). What came is kept: ...
        """
        before, self._plan = self._plan, plan(faults)
        try:
            yield self
        finally:
            self._plan = before

    def start(self) -> BedrockServer:
        """Listen. Nothing happens if it does already."""
        if self._running is not None:
            return self
        started: Future[Listener] = Future()
        thread = threading.Thread(target=self._run, args=(started,), name="bedrock-server", daemon=True)
        thread.start()
        try:
            self._listener = started.result(_START_LIMIT)
        except TimeoutError:
            raise ServerError(
                f"The server did not start within {_START_LIMIT:.0f} s.",
                remedy="Try again when the machine is less busy.",
            ) from None
        return self

    def _run(self, started: Future[Listener]) -> None:
        try:
            self._serve(started)
        except BaseException as err:
            if started.done():
                raise
            started.set_exception(err)

    def _serve(self, started: Future[Listener]) -> None:
        from bedrock_nb.server.selector import new_loop

        settings = Settings(
            self.responder,
            self.latency,
            lambda: self._plan,
            self._guardrails,
            self._keys,
            self._log,
            self.classroom,
        )

        async def serve() -> None:
            stop = asyncio.Event()
            async with serving(*self._address, settings) as listener:
                if self.classroom is None:  # else whoever connects says who they are
                    keys_of[listener.url] = self._keys
                self._running = (asyncio.get_running_loop(), threading.current_thread(), stop)
                started.set_result(listener)
                await stop.wait()

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(serve())

    def close(self) -> None:
        """Stop, ending open streams. Idempotent."""
        if self._running is None:
            return
        loop, thread, stop = self._running
        keys_of.pop(self.endpoint_url, None)
        self._running = self._listener = None
        loop.call_soon_threadsafe(stop.set)
        thread.join()

    def __enter__(self) -> BedrockServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        name = getattr(self.responder, "__name__", type(self.responder).__name__)
        state = "" if self.running else ", not running"
        return f"<BedrockServer: {name}, {self.latency!r}{state}>"


def truth(request_id: str, url: str | None = None) -> Truth:
    """What a server in another process did about a request, and when.

    Parameters
    ----------
    request_id : str
        Of the answer: ``reply.envelope["request_id"]``, or the column of the summary table.
    url : str, optional
        Where the server is; by default the one that ``connect()`` uses: where BEDROCK_NB_TARGET says, else
        the one that `local` started.

    Raises
    ------
    RequestError
        It knows no such request, or not any more; or the URL is not one of this machine.
    ServerError
        No embedded server answers there.
    """
    if url is None:
        target = os.environ.get(TARGET_VARIABLE, "")
        url = target if target.startswith("http://") else local()
    check_url(url)
    return fetch(url, request_id)
