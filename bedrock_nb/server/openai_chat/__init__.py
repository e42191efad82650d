"""A responder that asks a server with OpenAI's chat completions: Ollama, vLLM, llama.cpp, LM Studio.

Strategy: two translations and a stream between them. `asking` writes a request in OpenAI's terms, `answering`
says which events follow from each chunk of the answer, and `_Stream` hands them on as they come. The call is
made before there is an answer: what goes wrong until the server begins to answer is an HTTP error, and what
goes wrong later is the stream's last event.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from socket import SHUT_RDWR
from typing import Any
from urllib.parse import urlsplit

from bedrock_nb.errors import RequestError, service_fault
from bedrock_nb.events import Event, MessageStart, StreamFault
from bedrock_nb.request import Request
from bedrock_nb.server.loopback import NAMES
from bedrock_nb.server.openai_chat.answering import Writer
from bedrock_nb.server.openai_chat.asking import body
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.responders import Responder

__all__ = ["openai"]


def openai(
    base_url: str,
    *,
    model: str | Mapping[str, str] | None = None,
    api_key: str = "none",
    timeout: float = 600,
    clock: Callable[[], float] = time.monotonic,
) -> Responder:
    """A responder that passes requests on to an OpenAI-compatible server, and its answers back.

    Answers are streamed as they come, token by token. Fields of ``additionalModelRequestFields`` (``seed``,
    ``top_k``, ``logit_bias`` …) are sent as they are. Cache points, and the reasoning of earlier turns, are
    left out; whatever else has no counterpart (files in S3, PDF, video …) is refused with a
    ValidationException.

    Parameters
    ----------
    base_url : str
        Up to and with the version, such as ``"http://localhost:11434/v1"`` for Ollama.
    model : str or mapping of str to str, optional
        The server's name for the model; or its name for each model id. By default the model id itself.
    api_key : str
        Most local servers want none.
    timeout : float
        Seconds that the server may say nothing.
    clock : function
        Seconds; for the latency that the answer reports.

    Returns
    -------
    Responder

    Raises
    ------
    RequestError
        The package ``openai`` is not installed, or the URL is none.

    Examples
    --------
    >>> ollama = openai("http://localhost:11434/v1", model={"us.amazon.nova-lite-v1:0": "llama3.2"})
    >>> with BedrockServer(ollama, latency=Latency.none()) as server:  # doctest: +SKIP
    ...     nb.stream(server.client(), "Why is the sky blue?").text
    """
    shown = _shown(base_url)
    client = _client(base_url, api_key, timeout)

    def respond(request: Request) -> Iterable[Event]:
        kwargs = request.to_kwargs()
        asked = {"model": _name_of(request.model, model), **body(kwargs)}
        begin = clock()
        try:
            stream = client.chat.completions.create(
                **asked, stream=True, stream_options={"include_usage": True}
            )
        except Exception as err:
            raise _refusal(err, shown, api_key) from None  # its request has the key in it
        writer = Writer(kwargs, lambda: round((clock() - begin) * 1000))
        return _Stream(stream, writer, lambda err: _said(err, shown, api_key)[1])

    respond.__name__ = respond.__qualname__ = "openai"
    return respond


def _client(base_url: str, api_key: str, timeout: float) -> Any:
    try:
        import openai as package
    except ImportError as err:
        raise RequestError(
            "The package openai is not installed; it speaks to servers with OpenAI's API.",
            remedy='Install it: pip install "bedrock-nb[openai]".',
        ) from err
    here = (urlsplit(base_url).hostname or "") in {name.strip("[]") for name in NAMES}
    client = package.OpenAI(
        base_url=base_url,
        api_key=api_key,
        max_retries=0,  # whoever asks us tries again: twice would be too often
        default_headers={"Connection": "close"},  # of its own for each answer, so that each can be broken off
        timeout=package.Timeout(timeout, connect=min(timeout, 10.0)),
        # A proxy of the environment does not know this machine's own addresses.
        http_client=package.DefaultHttpxClient(trust_env=False) if here else None,
    )
    client.organization = client.project = None  # of the environment, and meant for OpenAI itself
    return client


def _shown(base_url: object) -> str:
    """The URL as errors may show it: without a user, a password, or a query."""
    with suppress(ValueError):  # a port that is no number, brackets that are not closed
        parts = urlsplit(base_url if isinstance(base_url, str) else "")
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    raise RequestError("base_url is no URL of a server.", remedy='For example "http://localhost:11434/v1".')


def _name_of(model_id: str, model: str | Mapping[str, str] | None) -> str:
    if not isinstance(model, Mapping):
        return model_id if model is None else model
    if model_id not in model:
        what = f"No model of the OpenAI-compatible server is named for {model_id}; model= has names for "
        raise Refusal(404, "ResourceNotFoundException", f"{what}{', '.join(model) or 'none'}.")
    return model[model_id]


# -- the stream ------------------------------------------------------------------------------------


class _Stream:
    """The events of an answer that is coming; an iterator that any thread may close, also while it waits."""

    def __init__(self, stream: Any, writer: Writer, said: Callable[[Exception], str]) -> None:
        self._stream = stream
        self._events = _events(stream, writer, said)
        self._busy = threading.Lock()
        self._closed = False

    def __iter__(self) -> _Stream:
        return self

    def __next__(self) -> Event:
        with self._busy:
            event = None if self._closed else next(self._events, None)
        if event is None or self._closed:  # closed meanwhile: what was read is no part of the answer
            self._release()
            raise StopIteration
        return event

    def close(self) -> None:
        """Break the connection off: the server stops, and a thread that waits for it goes on."""
        self._closed = True
        with suppress(Exception):  # it may be at its end already, or never have been a socket
            network = self._stream.response.extensions["network_stream"]
            network.get_extra_info("socket").shutdown(SHUT_RDWR)
        self._release()

    def _release(self) -> None:
        """Close the response, if no thread reads from it: else that one will."""
        if self._busy.acquire(blocking=False):
            try:
                self._stream.close()
            finally:
                self._busy.release()


def _events(stream: Iterable[Any], writer: Writer, said: Callable[[Exception], str]) -> Iterator[Event]:
    yield MessageStart("assistant")
    chunk = None
    try:
        for chunk in stream:
            yield from writer.take(chunk.to_dict(warnings=False))
        if chunk is None:
            raise ValueError("it streamed nothing; does it know stream=true?")
        yield from writer.end()
    except Exception as err:  # whatever the server sent: the answer has begun, so it is said in the stream
        yield StreamFault(service_fault("modelStreamErrorException", said(err)))


# -- what went wrong -------------------------------------------------------------------------------

#: HTTP status of the server -> ours, and the name of the error.
_STATUS = {
    400: (400, "ValidationException"),
    413: (400, "ValidationException"),
    422: (400, "ValidationException"),
    401: (403, "AccessDeniedException"),
    403: (403, "AccessDeniedException"),
    404: (404, "ResourceNotFoundException"),
    408: (408, "ModelTimeoutException"),
    429: (429, "ThrottlingException"),
    503: (503, "ServiceUnavailableException"),
}


def _refusal(err: Exception, shown: str, api_key: str) -> Refusal:
    status, what = _said(err, shown, api_key)
    return Refusal(*_STATUS.get(status, (424, "ModelErrorException")), what)


def _said(err: Exception, shown: str, api_key: str) -> tuple[int, str]:
    """The status that an error comes to, and what is said about it: never the key, if the server says it."""
    status, what = _told(err, shown)
    return status, what if api_key in ("", "none") else what.replace(api_key, "…")


def _told(err: Exception, shown: str) -> tuple[int, str]:
    import openai as package

    # By name: while a stream is read, older versions let the HTTP library's own errors through.
    kinds = {kind.__name__ for kind in type(err).__mro__}
    if kinds & {"APITimeoutError", "TimeoutException"}:
        return 408, f"The server at {shown} took too long to answer."
    if kinds & {"APIConnectionError", "TransportError"}:
        return 503, f"No OpenAI-compatible server answers at {shown}, or it broke the connection off."
    if not isinstance(err, package.APIError):
        return 424, f"What the server at {shown} sent is no chat completion. {type(err).__name__}: {err}"
    code = getattr(err, "status_code", None) or err.code
    status = int(str(code)) if str(code).isdecimal() else 424
    message = err.body.get("message") if isinstance(err.body, Mapping) else err.body
    what = f"The server at {shown} answered with an error ({status}): {message or err.message}"
    hint = " Is the model there, and does base_url end as it should, mostly in /v1?" if status == 404 else ""
    return status, what + hint
