"""Whether a server answers at a URL, and as whom it knows us: asked once, when a client is made.

Strategy: one small signed question, ``GET /seat``. A server of one's own answers that there are no seats, a
classroom's with a name or a refusal, which is put into words here. Whatever else listens there is let be: the
first real call will tell.
"""

from __future__ import annotations

import os
from typing import Any

from bedrock_nb.errors import CredentialsError, ServerError
from bedrock_nb.server.loopback import LONGEST_NAME, REGION, SEAT_VARIABLE

__all__ = ["seated"]

_PATIENCE = 5.0  # seconds
_LONGEST = 2**16  # bytes of an answer
#: Names of errors with which a classroom's server turns away who has no seat.
_NOBODY = ("UnrecognizedClient", "MissingAuthentication", "InvalidSignature", "IncompleteSignature")


def seated(url: str, credentials: Any) -> str | None:
    """The name under which a classroom's server knows whoever has these keys.

    Parameters
    ----------
    url : str
        Of this machine.
    credentials : botocore Credentials
        What requests will be signed with.

    Returns
    -------
    str or None
        None if the server is no classroom's.

    Raises
    ------
    ServerError
        Nobody answers there.
    CredentialsError
        It is a classroom's, and these are not the keys of a seat in it.
    """
    import json

    import urllib3
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    place = f"{url.rstrip('/')}/seat"
    request = AWSRequest("GET", place)
    SigV4Auth(credentials, "bedrock", REGION).add_auth(request)
    try:
        with urllib3.PoolManager() as pool:
            answer = pool.request(
                "GET",
                place,
                headers=dict(request.headers.items()),
                retries=False,
                redirect=False,
                timeout=_PATIENCE,
                preload_content=False,
            )
            status, kind = answer.status, answer.headers.get("x-amzn-ErrorType", "")
            body = answer.read(_LONGEST)
            answer.release_conn()
    except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as err:
        raise ServerError(
            f"No embedded Bedrock answers at {url}.",
            remedy='Start one with `bedrock-nb serve --port …`, or take connect("local"), which does it.',
        ) from err
    except urllib3.exceptions.HTTPError:
        return None
    if status == 403 and kind.startswith(_NOBODY):
        raise _no_seat(url)
    try:
        said = json.loads(body)["student"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # It is printed; whoever listens there may be anybody.
    return said if isinstance(said, str) and said.isprintable() and len(said) <= LONGEST_NAME else None


def _no_seat(url: str) -> CredentialsError:
    if os.environ.get(SEAT_VARIABLE, "").strip():
        return CredentialsError(
            f"The classroom server at {url} knows no such seat as the variable {SEAT_VARIABLE} names.",
            remedy="Paste your line from the teacher once more, whole; it may be a new one since last time.",
        )
    return CredentialsError(
        f"The server at {url} is a classroom's, and the variable {SEAT_VARIABLE} is not set.",
        remedy="Paste the line that your teacher gave you into the terminal, and start Jupyter from there.",
    )
