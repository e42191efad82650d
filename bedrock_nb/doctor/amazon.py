"""What leads to Amazon Bedrock from here: variables, credentials, region; and, if wanted, what it says.

Strategy: boto3 is asked where it would find credentials, never what they are. Without being told to, nothing
is sent to AWS. `models` sends what costs nothing; only `answer` asks a model, for one token.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoRegionError,
    ProfileNotFound,
    ProxyConnectionError,
)

import bedrock_nb as nb
from bedrock_nb import client
from bedrock_nb.doctor.finding import Finding, note, ok, problem
from bedrock_nb.errors import BedrockNbError, RequestError, refused, without_accounts
from bedrock_nb.models import identifiers
from bedrock_nb.request import DEFAULT_MODEL

__all__ = ["Account", "answer", "credentials", "models", "proxies", "region", "target"]

_SKEW = 60  # seconds; from 300 on AWS refuses what was signed
_REDIRECT = ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL_BEDROCK", "AWS_ENDPOINT_URL")
_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_EMBEDDED = "The embedded lessons need none. For AWS: `aws configure sso`, or set AWS_PROFILE."

#: boto3's name for where credentials come from -> in words.
_SOURCES = {
    "env": "variables of the environment",
    "shared-credentials-file": "the shared credentials file",
    "config-file": "the AWS configuration file",
    "sso": "a sign-in (SSO)",
    "login": "a sign-in (`aws login`)",
    "assume-role": "a role that the profile names",
    "assume-role-with-web-identity": "a role, by a web identity",
    "custom-process": "a program that the profile names",
    "iam-role": "the role of this machine",
    "container-role": "the role of this container",
}

#: What AWS may refuse with -> what to do about it; for all else the error has a remedy itself.
_REMEDIES = {
    "UnrecognizedClientException": "AWS does not know this key: sign in anew, or look at AWS_PROFILE.",
    "ExpiredTokenException": "The sign-in has run out: `aws sso login`, or new credentials.",
    "InvalidSignatureException": "The secret key or this machine's clock is wrong.",
    "AccessDeniedException": "Allow bedrock:ListFoundationModels to this identity.",
}


@dataclass(frozen=True)
class Account:
    """Which way to AWS is looked at.

    Attributes
    ----------
    region, profile : str or None
        As for `connect`; by default what boto3 finds.
    model : str
        Whom `answer` asks, and whom `models` looks for.
    """

    region: str | None = None
    profile: str | None = None
    model: str = DEFAULT_MODEL

    def session(self) -> boto3.Session:
        """A session of boto3's."""
        return boto3.Session(profile_name=self.profile, region_name=self.region)


# -- without sending anything ----------------------------------------------------------------------


def target() -> Finding:
    """Where `connect` leads, and what in the environment leads elsewhere."""
    place = os.environ.get(client.TARGET_VARIABLE, "")
    if place.startswith(("http://", "https://")):
        try:
            client.connect(verbose=False).close()
        except BedrockNbError as err:
            return problem(f"{client.TARGET_VARIABLE}: {err.what}", err.remedy)
        return ok(f"{client.TARGET_VARIABLE} leads to {_where(place)}, and a server answers there")
    if place == "aws":
        return note(
            f"{client.TARGET_VARIABLE}=aws: every nb.connect() asks Amazon Bedrock, which costs money",
            f"unset {client.TARGET_VARIABLE} to learn without an account.",
        )
    if place not in ("", "auto", "local"):
        return problem(
            f"{client.TARGET_VARIABLE} is {place!r}",
            "It may be aws, local or http://127.0.0.1:PORT, or unset.",
        )
    led = {name: os.environ[name] for name in _REDIRECT if os.environ.get(name)}
    if led:
        told = ", ".join(f"{name}={_where(url)}" for name, url in led.items())
        return note(f"{told}: what is meant for AWS goes there", "Unset them to reach AWS itself.")
    return ok("nb.connect() leads to the embedded Bedrock")


def proxies() -> Finding:
    """Proxies that the environment names; the embedded server is never asked through one."""
    named = {name: os.environ[name] for name in _PROXIES if os.environ.get(name)}
    if not named:
        return ok("none")
    told = ", ".join(f"{name}={_where(url)}" for name, url in named.items())
    return ok(f"{told}, for AWS only: the embedded server is asked directly")


def credentials(account: Account) -> Finding:
    """Where boto3 finds credentials; what they are, nobody looks at."""
    named = account.profile or os.environ.get("AWS_PROFILE")
    try:
        found = account.session().get_credentials()
    except ProfileNotFound:
        return note(f"there is no AWS profile {named!r}", "`aws configure list-profiles` lists them.")
    except (
        ProxyConnectionError
    ):  # it found none, and asked in the end for the role that a machine of AWS's has
        return note(
            "boto3 finds none, and a proxy keeps it from asking for a role of this machine", _EMBEDDED
        )
    except BotoCoreError as err:  # its words stay its own: some hold paths, or what a program printed
        return note(f"boto3 cannot load them ({type(err).__name__})", "`aws configure` makes new settings.")
    if os.environ.get("AWS_BEARER_TOKEN_BEDROCK"):
        return ok("a Bedrock API key, in AWS_BEARER_TOKEN_BEDROCK")
    if found is None:
        return note("boto3 finds none", _EMBEDDED)
    source = _SOURCES.get(found.method, str(found.method))
    return ok(f"from {source}" + (f", profile {named}" if named else ""))


def region(account: Account) -> Finding:
    """Which region boto3 would ask."""
    try:
        session = account.session()
    except BotoCoreError as err:
        return note(f"not known ({type(err).__name__})", "Look at the profile.")
    found = session.region_name
    if found is None:
        return note(
            "none; only AWS has regions", 'nb.connect("aws", region="us-east-2"), or AWS_DEFAULT_REGION.'
        )
    try:
        session.get_partition_for_region(found)
    except BotoCoreError:
        return note(f"{found}, which is no region of AWS's that boto3 knows", "Look how it is spelled.")
    return ok(found)


def _where(url: str) -> str:
    """Host and port of a URL: without a name and password, and without a path that may hold a key."""
    try:
        place = urlsplit(url if "//" in url else f"//{url}").netloc
    except ValueError:
        return "no URL"
    return place.rpartition("@")[2] or "…"


# -- with the network ------------------------------------------------------------------------------


def models(account: Account) -> Finding:
    """Which models AWS lists, whether the model is among them, and whether this account may use it."""
    return _asking(lambda: _listed(account))


def _listed(account: Account) -> Finding:
    config = Config(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 1})
    control = account.session().client("bedrock", config=config)
    with closing(control):
        answer = control.list_foundation_models()
        listed = {summary["modelId"] for summary in answer["modelSummaries"]}
        place = (
            control.meta.region_name if client.of_aws(control.meta.endpoint_url) else "a server not of AWS"
        )
        told = f"{len(listed)} models in {place}"
        late = _skew(answer)
        if abs(late) > _SKEW:
            return note(
                f"{told}; this machine's clock is {late:+.0f} s from AWS's",
                "Set the clock: from 300 s on AWS refuses what is signed here.",
            )
        wanted = identifiers.parse(account.model).model_id or account.model
        if wanted not in listed:
            return problem(
                f"{told}, but no {wanted}",
                'Choose another region, or a model of this one: model="…"; nb.models.refresh() learns them.',
            )
        hindered = _hindered(control, wanted)
    if hindered:
        return problem(
            f"{told}; {wanted}: {hindered}",
            "Open the Bedrock console's page of this model and ask for access.",
        )
    return ok(f"{told}, {account.model} among them")


#: Member of GetFoundationModelAvailability -> what it must be.
_AVAILABLE = {
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "AVAILABLE",
    "regionAvailability": "AVAILABLE",
}


def _hindered(control: Any, model: str) -> str:
    """Why this account may not use a model, in the service's words; empty if that is not told."""
    try:
        told = control.get_foundation_model_availability(modelId=model)
    except (ClientError, BotoCoreError, AttributeError):  # not allowed to ask, or nothing that knows it
        return ""
    wrong = {name: told.get(name) for name, good in _AVAILABLE.items() if told.get(name, good) != good}
    return ", ".join(f"{name} {value}" for name, value in wrong.items())


def _skew(answer: dict[str, Any]) -> float:
    """How far this machine's clock is ahead of the service's, seconds; 0 if it does not say."""
    try:
        theirs = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    except (KeyError, ValueError, TypeError):
        return 0.0
    return (datetime.now(UTC) - theirs).total_seconds()


def answer(account: Account) -> Finding:
    """Have the model stream one token: the proof, for a fraction of a cent."""

    def ask() -> Finding:
        made = client.connect("aws", region=account.region, profile=account.profile, verbose=False)
        with closing(made):
            reply = nb.stream(made, "Say yes.", model=account.model, max_tokens=1, total_timeout=20).drain()
        return ok(f"{account.model} answered, for {reply.usage.get('totalTokens', '?')} tokens")

    return _asking(ask)


def _asking(ask: Callable[[], Finding]) -> Finding:
    """What was found, or what went wrong on the way to AWS in a sentence."""
    try:
        return ask()
    except BedrockNbError as err:
        error: BedrockNbError = err
    except ClientError as err:
        error = refused(err)
    except NoRegionError:
        error = RequestError("boto3 knows no AWS region.", remedy="Give one: --region us-east-2.")
    except BotoCoreError as err:
        error = RequestError(
            f"AWS could not be asked ({type(err).__name__}: {without_accounts(str(err))})",
            remedy="Look at credentials, network and proxy.",
        )
    remedy = _REMEDIES.get(getattr(error, "code", ""), error.remedy)
    return problem(without_accounts(error.what), remedy or "Try again a little later.")
