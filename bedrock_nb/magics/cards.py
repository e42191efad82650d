"""What ``%bedrock`` answers: where we are connected, which models stream, what was recorded last.

Strategy: `Card` and `Listing` are plain values that show themselves, as text and as HTML of `render`. A card
of a connection says of which kind the credentials are, and nothing else of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3

import bedrock_nb
from bedrock_nb import models, render
from bedrock_nb.client import EMBEDDED, credentials_of, is_embedded, of_aws
from bedrock_nb.errors import RequestError, close, without_accounts
from bedrock_nb.recording import recordings
from bedrock_nb.request import DEFAULT_MODEL
from bedrock_nb.timing import timing

__all__ = ["Card", "Listing", "callable_models", "connection", "last", "streaming"]

#: botocore's word for where credentials came from -> ours; https://boto3.amazonaws.com/v1/documentation/api/
#: latest/guide/credentials.html has their order.
_KINDS = {
    "explicit": "keys given in code",
    "env": "environment variables",
    "shared-credentials-file": "the credentials file",
    "config-file": "the AWS configuration file",
    "sso": "IAM Identity Center (SSO)",
    "login": "aws login",
    "assume-role": "an assumed role",
    "assume-role-with-web-identity": "a role assumed with a web identity",
    "custom-process": "a program of the AWS configuration",
    "container-role": "the container's role",
    "iam-role": "the machine's role",
}


@dataclass(frozen=True, repr=False)
class Card:
    """A title over names and values."""

    title: str
    facts: Mapping[str, str]

    def __repr__(self) -> str:
        wide = max(map(len, self.facts), default=0)
        lines = (f"  {name:<{wide}}  {render.printable(value)}" for name, value in self.facts.items())
        return "\n".join([self.title, *lines])

    def _repr_html_(self) -> str:
        return render.card(self.title, self.facts)


@dataclass(frozen=True, repr=False)
class Listing:
    """A table of texts under their heads."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        shown = [[render.printable(cell) for cell in row] for row in (self.head, *self.rows)]
        wide = [max(len(row[column]) for row in shown) for column in range(len(self.head))]
        return "\n".join(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(row, wide, strict=True)).rstrip()
            for row in shown
        )

    def _repr_html_(self) -> str:
        return render.together(render.table(self.head, self.rows))


def connection(client: Any) -> Card:
    """Where a client goes to, without a word of its keys or account; of None, how to get one."""
    facts = {"connected to": "nothing yet: %bedrock local, or %bedrock aws --region …"}
    if client is not None:
        facts = _facts(client)
    return Card(
        "Amazon Bedrock in this notebook",
        {
            **facts,
            "default model": DEFAULT_MODEL,
            "versions": f"bedrock_nb {bedrock_nb.__version__}, boto3 {boto3.__version__}",
            "recordings": str(len(recordings)),
        },
    )


def _facts(client: Any) -> dict[str, str]:
    meta = getattr(client, "meta", None)
    address = str(getattr(meta, "endpoint_url", ""))
    parts = urlsplit(address)
    host = parts.hostname or ""
    endpoint = without_accounts(
        f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"
    )
    if is_embedded(client):
        return {"connected to": EMBEDDED, "endpoint": endpoint, "credentials": "made up: none are needed"}
    return {
        "connected to": "Amazon Bedrock" if of_aws(address) else "an endpoint that is not AWS",
        "endpoint": endpoint if host else "not known",
        "region": str(getattr(meta, "region_name", "")) or "not known",
        "credentials": _kind(client),
    }


def _kind(client: Any) -> str:
    """Where a client's credentials came from, if what signs its requests tells: no part of botocore's API."""
    if getattr(getattr(client, "_request_signer", None), "_auth_token", None) is not None:
        return "a Bedrock API key"
    return _KINDS.get(str(getattr(credentials_of(client), "method", None)), "not known")


def callable_models() -> list[dict[str, Any]]:
    """The rows of the models that stream and can be called."""
    return [row for row in models.table() if row["streaming"] and row["call_as"]]


def streaming(part: str = "") -> Listing:
    """The models that stream, by short name; of those that have a part in their names.

    Raises
    ------
    RequestError
        There is none.
    """
    rows = callable_models()
    texts = [[row["alias"] or "", row["call_as"], row["provider"], row["name"]] for row in rows]
    found = [
        (row, names)
        for row, names in zip(rows, texts, strict=True)
        if part.casefold() in " ".join(names).casefold()
    ]
    if not found:
        known = {word for names in texts for name in names for word in [name, *name.split("_")]}
        raise RequestError(
            f"No model that streams has {part!r:.60} in its names.",
            remedy=f"{close(part, known)}%bedrock models shows all.",
        )
    able = {"tools": "streaming_tools", "images": "vision", "reasoning": "reasoning"}
    return Listing(
        ("short name", "called as", "provider", "context", "can"),
        [
            (
                names[0],
                names[1],
                names[2],
                f"{row['context_tokens']:,}" if row["context_tokens"] else "",
                ", ".join(word for word, ability in able.items() if row[ability]),
            )
            for row, names in found
        ],
    )


def last() -> Card:
    """The latest recording in numbers."""
    if not recordings:
        return Card("The last recording", {"recordings": "none yet"})
    latest = recordings[-1]
    facts = {
        "model": without_accounts(latest.model),
        "status": ", ".join(filter(None, (latest.status, latest.stop_reason))),
        "events": str(len(latest)),
        "characters": str(len(latest.message.text)),
        "timing": timing(latest).line,
    }
    return Card("The last recording", facts)
