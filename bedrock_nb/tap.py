"""The tap on a boto3 client: hooks that note a call's times and put our body in the place of its response's.

boto3 signs, retries and sends. Hooks of botocore's own event system note when a call began, when it
was sent and when the response's head came, and put `TappedBody` in the place of the HTTP body before
botocore's parser gets it. Of the plain call, Converse, the same times are noted and nothing is replaced:
botocore has read its body before any hook is asked. Nothing is patched, and other operations are not touched.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from urllib3.response import BaseHTTPResponse

from bedrock_nb.body import Call, TappedBody
from bedrock_nb.connection import Abandoned, Serving, notice
from bedrock_nb.content.attachments import what_is
from bedrock_nb.errors import RequestError, without_accounts
from bedrock_nb.models import find
from bedrock_nb.timeouts import Timeouts

__all__ = [
    "calling",
    "check_client",
    "clock_of",
    "envelope",
    "forget",
    "install",
    "tapped",
    "timeouts_of",
    "unwired",
    "watch",
]

_OPERATIONS = ("ConverseStream", "Converse")
#: Calls that take a client and only settings by name; the prompt comes later.
_WITHOUT_PROMPT = ("Conversation", "ChatPanel")
#: Response headers that a recording keeps. An allow-list: anything else could hold a secret.
_KEPT_HEADERS = ("date", "content-type", "transfer-encoding", "content-length")
_KEPT_PREFIX = "x-amzn-bedrock-"


# -- hooks -----------------------------------------------------------------------------------------


class _Hooks(NamedTuple):
    """What is kept for a client that has the hooks."""

    clock: Callable[[], float]
    timeouts: Timeouts


_local = threading.local()
_bodies: weakref.WeakKeyDictionary[Any, TappedBody] = weakref.WeakKeyDictionary()  # by botocore's stream
_hooked: weakref.WeakKeyDictionary[Any, _Hooks] = weakref.WeakKeyDictionary()  # by the client's emitter
_watched: weakref.WeakSet[Any] = weakref.WeakSet()
_hooking = threading.Lock()


def install(
    client: Any,
    *,
    clock: Callable[[], float] = time.perf_counter,
    timeouts: Timeouts | None = None,
    streaming: bool = True,
) -> None:
    """Put the hooks on a boto3 bedrock-runtime client; once is enough, more does no harm.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    clock : function
        Monotonic seconds; that of the first call stays.
    timeouts : Timeouts, optional
        What holds for replies of this client from now on.
    streaming : bool
        Which call it must have: False is the plain one.

    Raises
    ------
    RequestError
        The object is no such client.
    """
    check_client(client, operations=("converse_stream" if streaming else "converse",))
    emitter = _emitter(client)
    if emitter is None:
        return  # somebody's own object: its stream is read as it comes
    with _hooking:
        known = _hooked.get(emitter)
        if known is None:
            _hook(emitter, clock)
            notice(client)
            known = _Hooks(clock, Timeouts())
        _hooked[emitter] = known if timeouts is None else known._replace(timeouts=timeouts)


def check_client(
    client: Any, call: str = "", *, operations: Sequence[str] = ("converse_stream", "converse")
) -> None:
    """Refuse what is no client: forgotten in a hurry, it is the prompt that stands in its place.

    Parameters
    ----------
    client : object
        What was given as the first argument.
    call : str
        The function that it was given to, such as ``"stream"``; the message shows how to call it.
    operations : sequence of str
        Methods, one of which it must have.

    Raises
    ------
    RequestError
        It has none of them.
    """
    if any(hasattr(client, operation) for operation in operations):
        return
    service = getattr(getattr(getattr(client, "meta", None), "service_model", None), "service_name", None)
    what = what_is(client)
    if isinstance(service, str):
        what = f"a boto3 client of {service}"
    remedy = "Give the client of bedrock_nb.connect(), or boto3.client('bedrock-runtime')."
    if call:
        remedy = f"For example {_example(client, call)}."
    raise RequestError(
        f"The first argument is {what}, which has no {operations[0]}; the client comes first.", remedy=remedy
    )


def _example(given: Any, call: str) -> str:
    """The call with a client in front: of what was given, if that can stand behind it."""
    if not isinstance(given, str):
        return f"nb.{call}(nb.connect(), …)"
    if call in _WITHOUT_PROMPT:
        name = "system" if " " in given else "model"
        return f"nb.{call}(nb.connect(), {name}={without_accounts(given)!r:.80})"
    if call != "resume" and (find(given) is not None or given.startswith("arn:")):
        return f"nb.{call}(nb.connect(), 'Hello', model={without_accounts(given)!r:.80})"
    return f"nb.{call}(nb.connect(), {given if len(given) <= 40 else given[:39] + '…'!r})"


def _emitter(client: Any) -> Any:
    return getattr(getattr(client, "meta", None), "events", None)


def _hooks(client: Any) -> _Hooks:
    emitter = _emitter(client)
    known = None if emitter is None else _hooked.get(emitter)
    return known or _Hooks(time.perf_counter, Timeouts())


def clock_of(client: Any) -> Callable[[], float]:
    """The clock that the hooks of a client look at."""
    return _hooks(client).clock


def timeouts_of(client: Any) -> Timeouts:
    """The time limits that hold for replies of a client unless a call has its own."""
    return _hooks(client).timeouts


def calling(call: Call) -> None:
    """Let the next ``converse_stream`` or ``converse`` of this thread be this call."""
    _local.expected = call
    call.serving.here()


def forget() -> None:
    """No call is this thread's any more: what boto3 made ready here is sent by somebody else."""
    _local.expected = _local.call = _local.body = None
    Serving.nowhere()


def _hook(emitter: Any, clock: Callable[[], float]) -> None:
    emitter_ref = weakref.ref(emitter)

    def over(call: Call) -> None:
        call.serving.over()
        Serving.nowhere()

    def begin(params: Any, **_: Any) -> None:
        expected, _local.expected = getattr(_local, "expected", None), None
        _local.call, _local.body = expected or Call(params, clock), None

    def sent(**_: Any) -> None:
        if call := getattr(_local, "call", None):
            if call.serving.abandoned:
                raise Abandoned
            call.sent.append(call.clock())
            call.headers = None
            call.serving.attempts()
            call.serving.here()  # somebody else's call, too: its connection tells when it was set up

    def answered(response_dict: dict[str, Any], **_: Any) -> None:
        call, body = getattr(_local, "call", None), response_dict["body"]
        if call is None:
            return
        call.headers = now = call.clock()
        call.refused = response_dict["status_code"] if response_dict["status_code"] >= 300 else 0
        if call.serving.head is not None and isinstance(body, bytes):  # all was read before we are asked
            call.headers, call.whole = call.serving.head, (now, body)
        elif response_dict["status_code"] < 300 and isinstance(body, BaseHTTPResponse):
            # else it is refused, or comes from somebody's hook and not from a socket
            tap = TappedBody(body, call, watched=emitter_ref() in _watched)
            _local.body = response_dict["body"] = tap

    def parsed(parsed: dict[str, Any], **_: Any) -> None:
        # From here on the call lives as long as its stream; nothing of it waits for the next one.
        call, body = getattr(_local, "call", None), getattr(_local, "body", None)
        _local.call = _local.body = None
        stream = parsed.get("stream")
        if call is None:
            return
        over(call)
        call.envelope = envelope(parsed)
        if stream is None:  # refused, or no stream was asked for
            return
        if body is not None:
            _bodies[stream] = body
        else:
            _local.unwired = stream, call

    def failed(**_: Any) -> None:
        if call := getattr(_local, "call", None):
            over(call)
        _local.call = _local.body = None

    for name, handler in (
        ("provide-client-params", begin),
        ("before-send", sent),
        ("before-parse", answered),
        ("after-call", parsed),
        ("after-call-error", failed),
    ):
        for operation in _OPERATIONS:
            hook = f"{name}.bedrock-runtime.{operation}"
            emitter.register(hook, handler, unique_id=f"bedrock_nb.{hook}")


def watch(client: Any) -> Any:
    """Record what any boto3 code streams through this client, unchanged.

    Each reply that is iterated leaves a `Recording` in `recordings`; it grows while the loop runs.

    Parameters
    ----------
    client : boto3 bedrock-runtime client

    Returns
    -------
    The same client.
    """
    install(client)
    if _emitter(client) is None:
        raise RequestError(
            f"A {type(client).__name__} is no boto3 client, so there is nothing to hook into.",
            remedy="Wrap its response instead: bedrock_nb.Reply(response).",
        )
    _watched.add(_emitter(client))
    return client


def tapped(stream: Any) -> TappedBody | None:
    """The body under a botocore EventStream, if its client is tapped."""
    try:
        return _bodies.get(stream)
    except TypeError:  # a list or another thing that cannot be referred to weakly
        return None


def unwired(stream: Any) -> Call | None:
    """The call of this thread that gave this stream, if it never was on a wire: a stub's, a stand-in's."""
    known, call = getattr(_local, "unwired", (None, None))
    return call if known is stream else None


def envelope(response: Mapping[str, Any]) -> dict[str, Any]:
    """What a response says about itself before any event: ids, status, kept headers, retries."""
    meta = response.get("ResponseMetadata") or {}
    headers = {
        name: value
        for name, value in (meta.get("HTTPHeaders") or {}).items()
        if name in _KEPT_HEADERS or name.startswith(_KEPT_PREFIX)
    }
    return {
        "request_id": meta.get("RequestId", ""),
        "http_status": meta.get("HTTPStatusCode"),
        "retries": meta.get("RetryAttempts", 0),
        "headers": headers,
    }
