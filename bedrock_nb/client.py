"""connect(): a real boto3 client, on AWS or on the embedded server, its response bytes tapped.

Strategy: boto3 does what boto3 does best (credentials, endpoints, signing, retries); this module only
chooses where to, sets the connection pool to the concurrency in use, and says in one line where it went.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ProfileNotFound

from bedrock_nb import server
from bedrock_nb.errors import CredentialsError, RequestError
from bedrock_nb.server.loopback import ACCESS_KEY, KEY_BEGINS, TARGET_VARIABLE
from bedrock_nb.server.seating import seated
from bedrock_nb.tap import install
from bedrock_nb.timeouts import Timeouts

__all__ = ["EMBEDDED", "TARGET_VARIABLE", "connect", "credentials_of", "is_embedded", "of_aws"]

#: Seconds. Our limits come first; where boto3's came, it would send a request again that still is answered.
#: What AWS recommends for models that think long:
#: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-37.html
_READ_TIMEOUT = 3600

_OF_AWS = re.compile(r"\.(amazonaws\.(com(\.cn)?|eu)|api\.aws|api\.amazonwebservices\.(com\.cn|eu))$")

#: Where an embedded server is, in words. No port: a saved lesson says the same on every machine.
EMBEDDED = "the embedded Bedrock on this machine (no AWS account needed)"
CLASSROOM = "the classroom server on this machine"


def connect(
    target: str = "auto",
    *,
    region: str | None = None,
    profile: str | None = None,
    concurrency: int = 50,
    first_event_timeout: float | None = None,
    idle_timeout: float | None = None,
    total_timeout: float | None = None,
    verbose: bool = True,
) -> Any:
    """Make a boto3 ``bedrock-runtime`` client.

    Parameters
    ----------
    target : str
        ``"auto"`` (the embedded server, unless the variable BEDROCK_NB_TARGET says otherwise), ``"aws"``,
        ``"local"``, or the URL of an embedded server that already runs, ``"http://127.0.0.1:8080"``. In a
        classroom the variable BEDROCK_NB_SEAT says whose requests they are.
    region, profile : str, optional
        For AWS, as boto3 takes them; by default what boto3 finds. The embedded server has none.
    concurrency : int
        Streams that may run at once: the size of the connection pool.
    first_event_timeout, idle_timeout, total_timeout : float, optional
        Limits, seconds, for every reply that `stream` gets with this client, unless a call has its own: from
        the call to the first event (default 600), from one whole event to the next (default 300), and from
        the call to the end (default none). ``float("inf")`` is no limit. boto3's own read timeout, 60 s by
        default, which healthy long prompts exceed, is set to an hour.
    verbose : bool
        Say in one line where it went.

    Returns
    -------
    botocore client
        A real one: any boto3 code runs on it.

    Raises
    ------
    RequestError
        An argument that cannot work.
    CredentialsError
        boto3 finds no AWS credentials; or the server is a classroom's, and the environment has no seat in it.
    ServerError
        The embedded server did not start, or none answers at the URL.
    """
    if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency < 1:
        raise RequestError(f"concurrency is {concurrency!r}; a whole number of at least 1 is wanted.")
    place = os.environ.get(TARGET_VARIABLE, "") if target == "auto" else target
    if target == "auto" and place in ("", "auto"):
        place = "local"
    timeouts = Timeouts().but(first_event_timeout, idle_timeout, total_timeout)
    config = Config(
        max_pool_connections=concurrency,
        read_timeout=_READ_TIMEOUT,
        tcp_keepalive=True,  # gateways forget connections that are silent for minutes
    )
    if place == "aws":
        client, where = _aws(region, profile, config)
    elif place == "local":
        client = server.loopback_client(server.local(), config=config)
        where = EMBEDDED
    elif isinstance(place, str) and place.startswith(("http://", "https://")):
        client = server.loopback_client(place, config=config)
        student = seated(place, credentials_of(client))
        where = EMBEDDED if student is None else f"{CLASSROOM}, as {student}"
    else:
        raise RequestError(
            f"There is no target {place!r}.",
            remedy=f'Targets are "auto", "aws", "local" and a URL; {TARGET_VARIABLE} may hold the last 3.',
        )
    install(client, timeouts=timeouts)
    if verbose:
        print(f"Connected to {where}.")
    return client


_OR_LOCAL = 'To go on without an AWS account: connect("local").'


def _aws(region: str | None, profile: str | None, config: Config) -> tuple[Any, str]:
    try:
        session = boto3.Session(profile_name=profile, region_name=region)
        region = session.region_name
        credentials = session.get_credentials()
    except ProfileNotFound as err:
        raise CredentialsError(
            f"There is no AWS profile {err.kwargs['profile']!r} in your AWS configuration.",
            remedy=f"`aws configure list-profiles` lists them. {_OR_LOCAL}",
        ) from err
    except BotoCoreError as err:  # its words stay its own: some hold paths, or what a program printed
        raise CredentialsError(
            f"boto3 cannot load AWS credentials ({type(err).__name__}).",
            remedy=f"Look at the settings that it names; `aws configure` makes new ones. {_OR_LOCAL}",
        ) from err
    if credentials is None and not os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        raise CredentialsError(
            "boto3 found no AWS credentials.",
            remedy=(
                "Run `aws configure sso` or `aws configure`, or set AWS_PROFILE or "
                f"AWS_BEARER_TOKEN_BEDROCK. {_OR_LOCAL}"
            ),
        )
    if region is None:
        raise RequestError(
            "No AWS region is known.",
            remedy='Give one, connect("aws", region="us-east-2"), or set AWS_DEFAULT_REGION.',
        )
    try:
        client = session.client("bedrock-runtime", config=config)
    except (BotoCoreError, TypeError) as err:
        raise RequestError(
            f"boto3 makes no client for the region {region!r}: {err}",
            remedy='A region looks like "us-east-2".',
        ) from err
    where = f"Amazon Bedrock in {region}" + (f", profile {profile}" if profile else "")
    endpoint = client.meta.endpoint_url
    if not of_aws(endpoint):  # or its numbers would be taken for AWS's
        where = f"{endpoint}, which is not AWS: the environment or the AWS configuration names it"
    return client, where


def of_aws(endpoint: str) -> bool:
    """Whether this is the URL of an endpoint of AWS."""
    return _OF_AWS.search(urlsplit(endpoint).hostname or "") is not None


def is_embedded(client: Any) -> bool:
    """Whether an embedded server answers a client: it signs with a key that was made up for one.

    The address would not tell it: behind one of this machine there may be a tunnel to AWS.
    """
    credentials = credentials_of(client)
    if isinstance(credentials, RefreshableCredentials):  # never ours, and to look at the key may renew it
        return False
    return str(getattr(credentials, "access_key", "")).startswith((ACCESS_KEY, KEY_BEGINS))


def credentials_of(client: Any) -> Any:
    """What a client signs its requests with, or None; no part of botocore's API tells it."""
    return getattr(getattr(client, "_request_signer", None), "_credentials", None)
