"""Amazon Bedrock itself as a responder: each request goes to the service, and its answer comes back.

Strategy: `bedrock_nb.stream` makes the call, and `Forwarded` passes its events on. The first event is waited
for, so that what goes wrong before there is an answer becomes an HTTP error, in the service's own words. Then
nothing is invented: a fault of the service is passed on as it came, and an answer that breaks off ends
here where it ended there. When the client goes away, so do we.

Nothing is repeated here: the attempts of the boto3 client are its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import (
    BedrockNbError,
    ConnectionFailed,
    ConnectionLost,
    CredentialsError,
    IncompleteStreamError,
    RefusedError,
    RequestError,
    ServerError,
    ServiceFault,
    StreamError,
    StreamTimeout,
)
from bedrock_nb.events import Event, MessageComplete, Seam, StreamFault, ToolUse
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.refusal import Refusal, internal, refused_as

if TYPE_CHECKING:
    from bedrock_nb.reply import Reply

__all__ = ["Forwarded", "bedrock"]

#: What failed before the first event -> HTTP status and name of the error.
_FAILED: tuple[tuple[type[BedrockNbError], int, str], ...] = (
    (StreamTimeout, 408, "ModelTimeoutException"),
    (ConnectionFailed, 503, "ServiceUnavailableException"),
    (ConnectionLost, 503, "ServiceUnavailableException"),
    (ServerError, 503, "ServiceUnavailableException"),  # it was an embedded server
    (CredentialsError, 403, "AccessDeniedException"),
    (RequestError, 400, "ValidationException"),
)


def bedrock(client: Any = None, **stream_options: Any) -> Callable[[Request], Forwarded]:
    """A responder that asks Amazon Bedrock.

    Parameters
    ----------
    client : boto3 bedrock-runtime client, optional
        By default ``bedrock_nb.connect("aws")``, made at the first request.
    **stream_options
        Arguments of `bedrock_nb.stream` for every call: time limits, a journal, another ``model`` …

    Returns
    -------
    Responder
        From a request to its `Forwarded` answer. It raises a `Refusal` where the service refuses, where there
        is no connection (503) or no credential (403), and where the first event takes too long (408).
    """
    get = _connector(client)

    def forward(request: Request) -> Forwarded:
        import bedrock_nb  # late: what makes calls stands above the server

        try:
            return Forwarded(bedrock_nb.stream(get(), request, **stream_options))
        except BedrockNbError as err:
            raise _refusal(err) from err

    forward.asks_elsewhere = True  # type: ignore[attr-defined]
    return forward


def _connector(client: Any) -> Callable[[], Any]:
    """A function that gives the client: this one, or one for AWS that is made when it is first needed."""
    lock = threading.Lock()

    def get() -> Any:
        nonlocal client
        with lock:  # several first requests at once: one client
            if client is None:
                import bedrock_nb

                client = bedrock_nb.connect("aws", verbose=False)
            return client

    return get


class Forwarded(Iterator[Event]):
    """An answer of the service on its way: its events as they come, and nothing that did not come.

    Parameters
    ----------
    reply : Reply
        Its first event is waited for.

    Attributes
    ----------
    recording : Recording
        The reply's own: times of the wire, envelope, exact frames up to 4 MiB. It says how the reply ended.

    Raises
    ------
    StreamError
        There was no first event. (A body that is empty in good order is an answer without events.)
    """

    def __init__(self, reply: Reply) -> None:
        self._reply, self._events = reply, iter(reply)
        self._first: list[Event] = []
        try:
            event = self._next()
        except StopIteration:
            error = reply.recording.error
            if error is not None and not isinstance(error, IncompleteStreamError):
                raise error from None
        else:
            self._first.append(event)

    @property
    def recording(self) -> Recording:
        """What the reply has recorded so far."""
        return self._reply.recording

    def __next__(self) -> Event:
        return self._first.pop() if self._first else self._next()

    def _next(self) -> Event:
        while True:
            try:
                event = next(self._events)
            except StreamError:  # said by an event before, or of our own side: an end without messageStop
                raise StopIteration from None
            if isinstance(event, StreamFault) and not isinstance(event.error, ServiceFault):
                continue
            if not isinstance(event, ToolUse | MessageComplete | Seam):
                return event

    def close(self) -> None:
        """Break the call off, if it is not at its end. From any thread; once is enough."""
        self._reply.close()


def _refusal(err: BedrockNbError) -> Refusal:
    """What the client is told: the service's own words if it spoke, else ours."""
    if isinstance(err, RefusedError):
        return refused_as(err)
    text = " ".join(filter(None, (err.what, err.remedy)))
    for kind, status, code in _FAILED:
        if isinstance(err, kind):
            return Refusal(status, code, text)
    return internal(text)
