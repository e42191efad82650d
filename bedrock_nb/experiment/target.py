"""Who is asked: clients, servers, responders, or several by name; and how another process asks the same.

Strategy: in this process everything is a boto3 client; round a responder an embedded server runs for as long
as it is asked, and so does one that was given and does not run yet. A client cannot travel, and keys must
not: what travels is a `Recipe`, which says how to make such a client where the keys are found again as they
were here, in a profile or in the environment. Where that cannot be, a function that makes the client stands
in its place.
"""

from __future__ import annotations

import inspect
import os
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError

from bedrock_nb.client import credentials_of, is_embedded
from bedrock_nb.content.attachments import what_is
from bedrock_nb.errors import CredentialsError, RequestError, kind_of
from bedrock_nb.server import BedrockServer, loopback_client
from bedrock_nb.tap import install, timeouts_of
from bedrock_nb.timeouts import Timeouts

__all__ = ["Recipe", "opened"]

#: What of a client's configuration another process is to have, too. Proxies are its own affair.
_CONFIG = ("retries", "connect_timeout", "read_timeout", "max_pool_connections", "tcp_keepalive")
_BEARER = "AWS_BEARER_TOKEN_BEDROCK"

#: Client -> the function that made it, where one was given.
_makers: weakref.WeakKeyDictionary[Any, Callable[[], Any]] = weakref.WeakKeyDictionary()


@contextmanager
def opened(target: Any) -> Iterator[dict[str, Any]]:
    """The clients of a target by name, for as long as the ``with`` block lasts.

    Parameters
    ----------
    target : client, BedrockServer, function, or mapping
        A boto3 bedrock-runtime client; an embedded server, which is started and closed here if it does not
        run; a responder, which is a function from a `Request` to an answer; a function without arguments
        that makes a client; or a mapping of names to such. The name of a single one is ``""``.

    Raises
    ------
    RequestError
        It is something else.
    """
    several = target if isinstance(target, Mapping) else {"": target}
    if not several or not all(isinstance(name, str) for name in several):
        raise RequestError(
            "The mapping of targets has no names." if several else "There are no targets.",
            remedy='Give a client, a responder, or names for several: {"before": client, "after": other}.',
        )
    with ExitStack() as stack:
        yield {name: _client(each, stack) for name, each in several.items()}


def _client(target: Any, stack: ExitStack) -> Any:
    if hasattr(target, "converse_stream") or hasattr(target, "converse"):
        return target
    if isinstance(target, BedrockServer):
        return _of(target, stack)
    if not callable(target):
        raise RequestError(
            f"The first argument is {what_is(target)}, which cannot be asked.",
            remedy="Give a client of bedrock_nb.connect(), or a server or a responder of bedrock_nb.server.",
        )
    if _needs_nothing(target):
        client = target()
        if not hasattr(client, "converse_stream"):
            raise RequestError(
                f"The function without arguments returned {what_is(client)}.",
                remedy="It is to make a boto3 bedrock-runtime client. A responder takes one argument.",
            )
        _makers[client] = target
        return client
    return _of(BedrockServer(target), stack)


def _of(server: BedrockServer, stack: ExitStack) -> Any:
    """A client of an embedded server, which is closed afterwards if it did not run before."""
    if not server.running:
        stack.enter_context(server)
    client = server.client()
    stack.callback(client.close)
    return client


def _needs_nothing(function: Callable[..., Any]) -> bool:
    """Whether a function can be called without arguments."""
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Recipe:
    """How to make a client like another one, in another process or on another machine. It holds no keys.

    Attributes
    ----------
    endpoint_url, region : str
    profile : str or None
        Of the AWS configuration; None: whatever boto3 finds there.
    embedded : bool
        Whether it is an embedded server on this machine, which takes any keys.
    config : dict
        Retries, botocore's time limits, connections.
    timeouts : Timeouts
        Limits of its replies.
    maker : function or None
        Makes the client, in place of all that.
    """

    endpoint_url: str
    region: str
    profile: str | None = None
    embedded: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    maker: Callable[[], Any] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, client: Any) -> Recipe:
        """The recipe of a client.

        Raises
        ------
        RequestError
            Its keys are in nothing that another process could look into.
        CredentialsError
            It has none.
        """
        meta: Any = getattr(client, "meta", None)
        endpoint, config = getattr(meta, "endpoint_url", None), getattr(meta, "config", None)
        if endpoint is None or config is None:
            raise RequestError(
                f"{kind_of(client)} cannot be made again in another process.",
                remedy="Give a boto3 client, or a function that makes one.",
            )
        maker, embedded = _makers.get(client), is_embedded(client)
        return cls(
            endpoint,
            meta.region_name,
            None if maker or embedded else _profile(client),
            embedded,
            {name: value for name in _CONFIG if (value := getattr(config, name, None)) is not None},
            timeouts_of(client),
            maker,
        )

    def connect(self) -> Any:
        """Make the client; its keys are looked up here and now.

        Returns
        -------
        boto3 client
        """
        if self.maker is not None:
            return self.maker()
        config = Config(**self.config)
        if self.embedded:
            client = loopback_client(self.endpoint_url, config=config)
        else:
            session = boto3.Session(profile_name=self.profile, region_name=self.region)
            client = session.client("bedrock-runtime", endpoint_url=self.endpoint_url, config=config)
        install(client, timeouts=self.timeouts)
        return client


def _profile(client: Any) -> str | None:
    """The profile in which another process finds the keys of a client; None: it finds them without one."""
    if os.environ.get(_BEARER):
        return None
    mine = credentials_of(client)
    core = botocore.session.Session()
    try:
        if mine is not None and _same(mine, core.get_credentials()):
            return core.profile
        profiles = core.full_config.get("profiles", {})
    except BotoCoreError:
        profiles = {}
    if mine is None:
        raise CredentialsError(
            "There are no AWS credentials, here or for other processes.",
            remedy="`aws configure` makes them; or give a function that makes the client where they are.",
        )
    if not isinstance(mine, RefreshableCredentials):
        for name, said in profiles.items():
            if said.get("aws_access_key_id") == mine.access_key:
                return str(name)
    raise RequestError(
        "Other processes cannot find the keys of this client: they are in no profile, and keys are not sent.",
        remedy="Give a function that makes the client in its place: "
        'functools.partial(nb.connect, "aws", profile="study", verbose=False).',
    )


def _same(mine: Any, found: Any) -> bool:
    """Whether boto3 finds by itself what a client has; of keys that are renewed, from the same source."""
    if found is None or found.method != mine.method:
        return False
    return isinstance(mine, RefreshableCredentials) or found.access_key == mine.access_key
