"""What may come in: requests to this machine by name, from no web page, of JSON, of bearable size, in time.

Strategy: one function for each thing that can be wrong, in the order in which it can be known. A web page
cannot reach this server: the Host must be a loopback name with our port (against DNS rebinding), any Origin
is refused, and only JSON is read, which no page may send elsewhere without asking first.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
from aiohttp import web

from bedrock_nb.server.loopback import NAMES
from bedrock_nb.server.refusal import Refusal

__all__ = ["BODY_TIME", "MAX_BODY", "MAX_HEAD", "check_head", "json_of", "read_body", "too_large"]

#: Largest request body, bytes.
MAX_BODY = 25 * 2**20
#: Largest head, bytes.
MAX_HEAD = 64 * 2**10
#: Where a request keeps how long its body may take to come, seconds.
BODY_TIME = web.RequestKey("BODY_TIME", float)


def check_head(request: web.Request, *, own_page: bool = False) -> None:
    """Refuse whatever a web page could have sent, and heads that are too large.

    Parameters
    ----------
    request : Request
    own_page : bool
        Whether this server's own page may send it; it names its Origin where it changes something.

    Raises
    ------
    Refusal
        403 AccessDeniedException, or 413.
    """
    host = request.headers.get("Host", "")  # not request.host, which makes up for a missing one
    name, colon, port = host.rpartition(":")
    if not colon or "]" in port:  # no port, or an IPv6 name without one
        name, port = host, ""
    ours = request.transport.get_extra_info("sockname")[1] if request.transport else None
    if name.lower() not in NAMES or (port and port != str(ours)):
        raise Refusal(
            403, "AccessDeniedException", "The Host header does not name this server on this machine."
        )
    link = request.method == "GET" and request.headers.get("Sec-Fetch-Dest") == "document"  # somebody clicked
    elsewhere = request.headers.get("Sec-Fetch-Site", "none") == "cross-site" and not link
    origin = request.headers.get("Origin")
    if (origin is not None and not (own_page and origin == f"http://{host}")) or elsewhere:
        raise Refusal(403, "AccessDeniedException", "Requests from web pages are not answered.")
    if sum(len(name) + len(value) for name, value in request.raw_headers) > MAX_HEAD:
        raise Refusal(
            413, "RequestEntityTooLargeException", f"The head may have up to {MAX_HEAD // 2**10} KiB."
        )


async def read_body(request: web.Request, *, untyped: bool = False) -> bytes:
    """The body of a request.

    Parameters
    ----------
    request : Request
    untyped : bool
        Whether it may come without a Content-Type, as botocore sends InvokeModel's.

    Raises
    ------
    Refusal
        415 it is no JSON, 413 it is too large, 408 it does not come, 400 it is cut.
    """
    typed = "Content-Type" in request.headers
    if request.content_type != "application/json" and (typed or not untyped):
        raise Refusal(415, "UnsupportedMediaTypeException", "The Content-Type must be application/json.")
    if (request.content_length or 0) > MAX_BODY:
        raise too_large()
    try:
        async with asyncio.timeout(request.get(BODY_TIME)):
            return await request.read()
    except TimeoutError:
        text = f"The body did not come within {request.get(BODY_TIME):g} s."
        raise Refusal(408, "RequestTimeoutException", text) from None
    except web.HTTPRequestEntityTooLarge:
        raise too_large() from None
    except web.RequestPayloadError as err:
        raise Refusal(400, "SerializationException", "The body is not what its headers say.") from err


def json_of(body: bytes) -> Any:
    """The JSON of a body.

    Raises
    ------
    Refusal
        400 SerializationException.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as quick:
        # orjson refuses lone surrogates, which are legal in JSON and do come out of models.
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise Refusal(400, "SerializationException", f"The body is not JSON: {quick}") from quick


def too_large() -> Refusal:
    """The refusal of a body that is."""
    return Refusal(413, "RequestEntityTooLargeException", f"The body may have up to {MAX_BODY // 2**20} MiB.")


def _no_constant(name: str) -> None:
    raise ValueError(name)
