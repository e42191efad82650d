"""One answer from the service, after as many attempts as boto3 would make.

Strategy: sending is aiohttp's; what follows is botocore's. Errors of aiohttp become those that botocore
raises in their place, by one table. Whether and when to try again is asked of the client's own retry handler,
by the event that botocore asks it with: so mode, number of attempts, quota and pauses are the client's. What
an error says is read by botocore's parser. Each attempt is signed anew.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http.client import IncompleteRead
from typing import Any

import aiohttp
from botocore.awsrequest import AWSResponse, HeadersDict
from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)
from botocore.hooks import first_non_none_response
from botocore.parsers import create_parser
from urllib3.exceptions import ProtocolError
from yarl import URL

from bedrock_nb.aio.session import Way, opening, session_for, socket_of, way_of
from bedrock_nb.aio.signing import SERVICE, Prepared, prepared
from bedrock_nb.body import Call
from bedrock_nb.tap import envelope

__all__ = ["answer", "of_the_body"]

#: Headers that aiohttp would add where the request has none; boto3's requests have what they need.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


async def answer(
    client: Any,
    operation: str,
    params: Mapping[str, Any],
    call: Call,
    *,
    sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
) -> aiohttp.ClientResponse:
    """Send a request, again where the client would, until there is an answer.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    operation : {"ConverseStream", "Converse"}
    params : mapping
        Its arguments.
    call : Call
        Times of the attempts are noted there.
    sleep : function
        Waits for a number of seconds.

    Returns
    -------
    aiohttp.ClientResponse
        Of 2xx. Its body was not read, but for a plain call's, which is ``call.whole``.

    Raises
    ------
    botocore.exceptions.ClientError
        The service refused it, the last time too.
    botocore.exceptions.BotoCoreError
        It could not be made, signed or sent.
    """
    way, model = way_of(client), client.meta.service_model.operation_model(operation)
    before: Prepared | None = None
    attempt = 0
    while True:
        attempt += 1
        before = await prepared(client, operation, params, attempt=attempt, before=before)
        response, failed = None, None
        try:
            response = await _send(way, before.request, call, whole=operation == "Converse", model=model)
        except BotoCoreError as err:
            failed = err
        pause = _pause(client, model, before, attempt, response, failed)
        if pause is None:
            break
        if response is not None:
            response[0].close()
        await sleep(pause)
    if response is None:
        assert failed is not None
        raise failed
    http, ours, parsed = response
    parsed["ResponseMetadata"]["RetryAttempts"] = attempt - 1
    call.envelope = envelope(parsed)
    client.meta.events.emit(
        f"after-call.{SERVICE}.{operation}",
        http_response=ours,
        parsed=parsed,
        model=model,
        context=before.context,
    )
    if http.status >= 300:
        error = parsed.get("Error", {})
        raise client.exceptions.from_code(error.get("Code"))(parsed, operation)
    return http


#: aiohttp's response, botocore's form of it, and what it says.
_Response = tuple[aiohttp.ClientResponse, AWSResponse, dict[str, Any]]


async def _send(way: Way, request: Any, call: Call, *, whole: bool, model: Any) -> _Response:
    """Send a request once, and read the head of its response; all of it, if it is an error or no stream."""
    session = await session_for(way, request.url)
    call.serving.attempts()
    call.headers = None
    call.sent.append(call.clock())
    token = opening.set(call)
    try:
        async with asyncio.timeout(way.read_s):
            http = await session.request(
                request.method,
                URL(request.url, encoded=True),
                headers=[(name, _text(value)) for name, value in request.headers.items()],
                data=request.body,
                allow_redirects=False,
                skip_auto_headers=_NOT_ADDED,
                proxy=way.proxy(request.url),
                trace_request_ctx=call,
            )
            try:
                _head_came(http, call)
                body = await http.read() if whole or http.status >= 300 else b""
            except BaseException:
                http.close()
                raise
    except (aiohttp.ClientError, OSError, TimeoutError) as err:
        # The cause of a head that is no HTTP shows the request's headers, a bearer token among them.
        raise _of_botocore(err, request) from (None if isinstance(err, aiohttp.ClientResponseError) else err)
    finally:
        opening.reset(token)
    if whole:
        call.whole = call.clock(), body
    call.refused = http.status if http.status >= 300 else 0
    headers = {name.lower(): value for name, value in http.headers.items()}
    parsed = _parsed(http.status, headers, body, model)
    theirs: Any = HeadersDict(headers)
    return http, AWSResponse(request.url, http.status, theirs, _Body(body)), parsed


def _head_came(http: aiohttp.ClientResponse, call: Call) -> None:
    """Note when: as the socket says, if it still is there and looks at the same clock."""
    sock = socket_of(http)
    now = call.clock()
    call.headers = sock.t if sock is not None and call.sent[-1] <= sock.t <= now else now


class _Body:
    """The body of a response as botocore's hooks may want to read it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> list[bytes]:
        return [self._body]


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _parsed(status: int, headers: Mapping[str, str], body: bytes, model: Any) -> dict[str, Any]:
    """What botocore reads from a response, but for the events or the answer of a good one."""
    if status < 300:
        known = {
            "HTTPStatusCode": status,
            "HTTPHeaders": headers,
            "RequestId": headers.get("x-amzn-requestid", ""),
        }
        return {"ResponseMetadata": known}
    parser = create_parser(model.service_model.resolved_protocol)
    response = {
        "status_code": status,
        "headers": headers,
        "body": body,
        "context": {"operation_name": model.name},
    }
    parsed: dict[str, Any] = parser.parse(response, model.output_shape)
    shape = model.service_model.shape_for_error_code(parsed.get("Error", {}).get("Code"))
    if shape is not None:  # members that this error has besides
        parsed.update(parser.parse(response, shape))
    return parsed


def _pause(
    client: Any,
    model: Any,
    made: Prepared,
    attempt: int,
    response: _Response | None,
    failed: Exception | None,
) -> float | None:
    """Seconds until the next attempt, None if there is to be none: as the client's retry handler says."""
    said = client.meta.events.emit(
        f"needs-retry.{SERVICE}.{model.name}",
        response=None if response is None else (response[1], response[2]),
        endpoint=None,
        operation=model,
        attempts=attempt,
        caught_exception=failed,
        request_dict={"context": made.context},
    )
    pause = first_non_none_response(said)
    return None if pause is None or pause is False else float(pause)


# -- errors ----------------------------------------------------------------------------------------


def _of_botocore(err: Exception, request: Any) -> BotoCoreError:
    """What botocore raises where aiohttp raised this; the order matters: classes of aiohttp are nested."""
    url = request.url
    match err:
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return ProxyConnectionError(proxy_url="of the client", error=str(err))
        case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError() | ssl.SSLError():
            return SSLError(endpoint_url=url, error=err)
        case aiohttp.ConnectionTimeoutError():
            return ConnectTimeoutError(endpoint_url=url, error=err)
        case aiohttp.ClientConnectorError():
            return EndpointConnectionError(endpoint_url=url, error=err)
        case TimeoutError():
            return ReadTimeoutError(endpoint_url=url, error=err)
        case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | OSError():
            return ConnectionClosedError(endpoint_url=url, request=request, error=err)
        case aiohttp.ClientResponseError():  # the head is no HTTP
            return ConnectionClosedError(endpoint_url=url, request=request, error=err.message)
    return HTTPClientError(error=err)


def of_the_body(err: Exception, headers: Mapping[str, str]) -> Exception:
    """What boto3's way of reading a body raises where this was raised: http.client's, or urllib3's own."""
    if "Transfer-Encoding" not in headers:
        return ProtocolError(f"the connection broke ({type(err).__name__})")
    if isinstance(err, aiohttp.ClientPayloadError):
        return IncompleteRead(b"")
    return err if isinstance(err, ConnectionError) else ConnectionResetError(str(err))
