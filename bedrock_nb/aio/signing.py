"""A request as boto3 would send it: made ready and signed by the client itself, and not sent.

Strategy: the client is called as usual. A hook of botocore's own event system, behind all others that see a
request when it is made, takes it when it is signed, and ends the call. So endpoint rules, credentials of any
kind, bearer tokens, retry headers and hooks of the user's hold here as they do in a plain call, and nothing
of it is written twice. It costs about half a millisecond of computing.

Signing waits for nothing unless credentials have to be fetched anew; then it is done in a thread.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple

from botocore import xform_name
from botocore.awsrequest import AWSPreparedRequest
from botocore.credentials import RefreshableCredentials
from botocore.hooks import first_non_none_response
from botocore.tokens import FrozenAuthToken

from bedrock_nb.content.attachments import what_is
from bedrock_nb.errors import RequestError
from bedrock_nb.tap import forget

__all__ = ["SERVICE", "Prepared", "check_sends", "prepared"]

#: How botocore's events name the service.
SERVICE = "bedrock-runtime"
_REMEDY = "Use nb.stream(client, …, background=True), which calls the client itself."


class Prepared(NamedTuple):
    """A request, signed.

    Attributes
    ----------
    request : AWSPreparedRequest
        Method, URL, headers and body.
    context : dict
        What botocore knows of the call besides: the same in all attempts.
    """

    request: AWSPreparedRequest
    context: dict[str, Any]


class _Signed(BaseException):
    """The request is there. No Exception: botocore would take it for one to retry on."""

    def __init__(self, request: Any) -> None:
        self.request = request


#: While a request is made: what is known of the attempts before it.
_making: ContextVar[Mapping[str, Any] | None] = ContextVar("bedrock_nb.making", default=None)
_hooked: weakref.WeakSet[Any] = weakref.WeakSet()  # emitters


def check_sends(client: Any) -> None:
    """Refuse a client whose requests cannot be sent by somebody else.

    Raises
    ------
    RequestError
        It is no boto3 client.
    """
    if not hasattr(getattr(client, "meta", None), "events"):
        raise RequestError(
            f"astream sends the requests of a boto3 client by itself; this is {what_is(client)}.",
            remedy=_REMEDY,
        )


async def prepared(
    client: Any, operation: str, params: Mapping[str, Any], *, attempt: int, before: Prepared | None
) -> Prepared:
    """Make and sign the request of one attempt.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    operation : {"ConverseStream", "Converse"}
    params : mapping
        Its arguments.
    attempt : int
        From 1.
    before : Prepared, optional
        That of the attempt before.

    Raises
    ------
    RequestError
        Somebody answers in the place of the network: a Stubber, for example.
    botocore.exceptions.BotoCoreError
        It cannot be made or signed.
    """
    if _may_wait(client):
        return await asyncio.to_thread(_make, client, operation, params, attempt, before)
    return _make(client, operation, params, attempt, before)


def _make(
    client: Any, operation: str, params: Mapping[str, Any], attempt: int, before: Prepared | None
) -> Prepared:
    events = client.meta.events
    if events not in _hooked:
        events.register_first(f"request-created.{SERVICE}", _begin, unique_id="bedrock_nb.aio.begin")
        events.register_last("request-created", _end, unique_id="bedrock_nb.aio.end")
        _hooked.add(events)
    known = before.context["retries"] if before is not None and "retries" in before.context else {}
    token = _making.set({**known, "attempt": attempt} if known else {})
    try:
        getattr(client, xform_name(operation))(**params)
    except _Signed as signed:
        request = signed.request
    else:
        raise _answered(client)
    finally:
        _making.reset(token)
        forget()
    made = Prepared(request.prepare(), request.context)
    if before is not None:
        made = Prepared(made.request, before.context)
    sent = events.emit(f"before-send.{SERVICE}.{operation}", request=made.request)
    if first_non_none_response(sent) is not None:
        raise _answered(client)
    return made


def _answered(client: Any) -> RequestError:
    return RequestError(
        "Something answers this client's requests in the place of the network: a Stubber, or a hook.",
        remedy=_REMEDY,
    )


def _begin(request: Any, **_: Any) -> None:
    """Before it is signed: its headers say which attempt this is."""
    known = _making.get()
    if known and "retries" in request.context:
        request.context["retries"].update(known)


def _end(request: Any, **_: Any) -> None:
    """After all others: it is signed."""
    if _making.get() is not None:
        raise _Signed(request)


def _may_wait(client: Any) -> bool:
    """Whether signing may wait for a network or a program, or for the pace of the adaptive retry mode.

    Where a client keeps its credentials is not part of botocore's public surface: where they are not found,
    it may.
    """
    try:
        if client.meta.config.retries.get("mode") == "adaptive":
            return True
        token, credentials = client._request_signer._auth_token, client._request_signer._credentials
        if token is not None:
            return not isinstance(token, FrozenAuthToken)
        return isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed()
    except AttributeError:
        return True
