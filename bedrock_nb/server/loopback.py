"""What counts as this machine: to listen on, to be asked by, and to reach with a boto3 client.

Strategy: names are compared, never resolved, so no name server has a say in what is local. The client is a
real one, with made-up credentials and nothing taken from the user's AWS set-up that could send it elsewhere
or make it fail: no profile, no proxy, no bearer token.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bedrock_nb.errors import RequestError

__all__ = [
    "ACCESS_KEY",
    "BINDABLE",
    "KEY_BEGINS",
    "LONGEST_NAME",
    "NAMES",
    "REGION",
    "SEAT_VARIABLE",
    "SECRET_KEY",
    "TARGET_VARIABLE",
    "Keys",
    "check_address",
    "check_url",
    "keys_of",
    "loopback_client",
    "seat",
]

#: Host names of this machine, as they stand in a URL or a Host header.
NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})

#: What may be bound -> what is bound. A name could be two addresses with two ports.
BINDABLE = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}

REGION = "us-east-1"
#: The embedded server takes any credentials; these say what they are.
ACCESS_KEY = "embedded-bedrock"
SECRET_KEY = "not-a-secret"
#: How the access key of each server that has its own begins, and of each seat; none of AWS's does.
KEY_BEGINS = "EMBEDDED"
#: Characters of the name of a seat.
LONGEST_NAME = 60

#: Environment variable that sends ``connect()`` elsewhere: ``aws``, ``local`` or a loopback URL.
TARGET_VARIABLE = "BEDROCK_NB_TARGET"
#: Environment variable with a student's seat in a classroom: access key and secret, a colon between them.
SEAT_VARIABLE = "BEDROCK_NB_SEAT"


@dataclass(frozen=True)
class Keys:
    """The key pair of one server, made up anew for each; what is signed with it comes from its clients."""

    access_key: str = field(default_factory=lambda: f"{KEY_BEGINS}{secrets.token_hex(6).upper()}")
    secret_key: str = field(default_factory=lambda: secrets.token_urlsafe(30), repr=False)


#: Where a server listens -> its keys; of those that this process runs or started.
keys_of: dict[str, Keys] = {}


def seat() -> Keys | None:
    """The seat in a classroom that the environment names, or None.

    Raises
    ------
    RequestError
        What it names is none; it is not repeated, for it may be half of a secret.
    """
    said = os.environ.get(SEAT_VARIABLE, "").strip()
    if not said:
        return None
    access_key, _, secret_key = said.partition(":")
    if not (access_key.startswith(KEY_BEGINS) and access_key.isalnum() and secret_key):
        raise RequestError(
            f"The variable {SEAT_VARIABLE} holds no seat.",
            remedy=f"Paste the line that your teacher gave you: {SEAT_VARIABLE}={KEY_BEGINS}…:…",
        )
    return Keys(access_key, secret_key)


def loopback_client(url: str, service: str = "bedrock-runtime", **kwargs: Any) -> Any:
    """A boto3 client for a server on this machine.

    Parameters
    ----------
    url : str
        ``http://127.0.0.1:8080`` or the like. Requests to a server that this process runs, or started, are
        signed with that server's own key; to any other with the `seat` that the environment names, else with
        made-up credentials.
    service : str
        ``"bedrock-runtime"``, or ``"bedrock"`` for the control plane.
    **kwargs
        Anything else that ``Session.client`` takes; a ``config`` is merged over the one made here.

    Returns
    -------
    boto3 client

    Raises
    ------
    RequestError
        The URL is not one of this machine, or the environment names a seat that is none.
    """
    # Late, and not at the top: whoever only runs a server does not wait for boto3.
    import boto3
    import botocore.session
    from botocore.config import Config

    check_url(url)
    defaults: dict[str, Any] = {
        "auth_scheme_preference": "sigv4",  # AWS_BEARER_TOKEN_BEDROCK demands https otherwise
        "max_pool_connections": 50,
        "proxies": {},
    }
    config = Config(**defaults)
    if (theirs := kwargs.pop("config", None)) is not None:
        config = config.merge(theirs)
    # An AWS_PROFILE that does not exist would be an error even with credentials given. So that the name is
    # not even looked up, the session's own variable for it has no sources.
    core = botocore.session.Session(session_vars={"profile": (None, None, None, None)})
    session = boto3.Session(botocore_session=core)
    keys = keys_of.get(url.rstrip("/")) or seat() or Keys(ACCESS_KEY, SECRET_KEY)
    settings: dict[str, Any] = {
        "region_name": REGION,
        "aws_access_key_id": keys.access_key,
        "aws_secret_access_key": keys.secret_key,
        **kwargs,
    }
    client: Any = session.client  # its types are of every service that there is
    return client(service, endpoint_url=url, config=config, **settings)


def check_address(host: str, port: int) -> None:
    """Refuse to listen where others could connect.

    Raises
    ------
    RequestError
        The host is not a loopback name, or the port is not one.
    """
    if host not in BINDABLE:
        raise RequestError(
            f"The embedded server listens on this machine only, and {host!r} may not be that.",
            remedy="Use 127.0.0.1; to reach it from another machine, forward the port with ssh -L.",
        )
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise RequestError(f"The port is {port!r}; a whole number from 0 (any free port) to 65535 is wanted.")


def check_url(url: str) -> None:
    """Refuse a URL that is not of this machine.

    Raises
    ------
    RequestError
    """
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition(":")[0] if parts.port is not None else parts.netloc
        good = parts.scheme == "http" and host in NAMES
    except (ValueError, TypeError, AttributeError):
        good = False
    if not good:
        raise RequestError(
            f"{url!r} is not the URL of a server on this machine.",
            remedy="Give something like 'http://127.0.0.1:8080'; for Amazon Bedrock use connect('aws').",
        )
