"""Asks Bedrock's control plane which models there are now, and tells the catalogue.

Strategy: two lists, ListFoundationModels and ListInferenceProfiles, are brought into the form of
``models.json``; what is new in them or differs is learned for this process. What a model can do beyond
modalities and streaming the service does not say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)

from bedrock_nb.errors import (
    AccessDeniedError,
    BedrockNbError,
    CredentialsError,
    RequestError,
    refused,
    without_accounts,
)
from bedrock_nb.models.catalogue import all_models, learn_models, profiles

__all__ = ["Refreshed", "refresh"]

#: Member of FoundationModelSummary that may be missing -> what stands for it then.
_OPTIONAL: dict[str, Any] = {
    "modelName": "",
    "providerName": "",
    "inputModalities": [],
    "outputModalities": [],
    "responseStreamingSupported": False,
    "customizationsSupported": [],
    "inferenceTypesSupported": [],
    "modelLifecycle": {"status": "ACTIVE"},
}


@dataclass(frozen=True, slots=True, repr=False)
class Refreshed:
    """What a refresh brought.

    Attributes
    ----------
    new, changed : tuple of str
        Ids of models that were not in the catalogue, and of those in it about which something differs.
    models, profiles : int
        How many the service listed.
    """

    new: tuple[str, ...]
    changed: tuple[str, ...]
    models: int
    profiles: int

    def __repr__(self) -> str:
        return (
            f"<Refreshed: {len(self.new)} new and {len(self.changed)} changed of {self.models} models; "
            f"{self.profiles} inference profiles>"
        )


def refresh(client: Any = None, region: str | None = None) -> Refreshed:
    """Bring the catalogue up to what Bedrock lists, for this process.

    Learned are models that are new, their inference profiles, and of all listed models modalities, streaming
    and lifecycle. Models that are not listed stay: each region has its own list.

    Parameters
    ----------
    client : boto3 bedrock client, optional
        Of the control plane: ``boto3.client("bedrock")``, or ``server.client("bedrock")`` of an embedded
        server. By default boto3 makes one.
    region : str, optional
        For the client that is made; by default the one that boto3 finds.

    Returns
    -------
    Refreshed

    Raises
    ------
    RequestError
        The client is another one, or there is no region.
    CredentialsError
        boto3 finds no AWS credentials.
    RefusedError
        The service answers with an HTTP error.
    BedrockNbError
        The service could not be asked: no connection, say.
    """
    try:
        listed, routed = _asked(_client(client, region))
    except ClientError as err:
        error = refused(err)
        error.original = err
        if isinstance(error, AccessDeniedError):
            error.remedy = (
                "Allow bedrock:ListFoundationModels and bedrock:ListInferenceProfiles to this identity."
            )
        raise error from None
    except NoRegionError:
        raise RequestError("There is no AWS region.", remedy="Give one: region='us-east-1'.") from None
    except (NoCredentialsError, PartialCredentialsError, CredentialRetrievalError) as err:
        raise CredentialsError(
            "boto3 found no AWS credentials that it can use.",
            remedy="Sign in, for example with `aws sso login`, or ask an embedded server.",
        ) from err
    except BotoCoreError as err:
        raise BedrockNbError(
            f"The list of models could not be fetched: {without_accounts(str(err))}",
            remedy="The catalogue is as it was. Check network and region, and try again.",
        ) from err
    return _learned(listed, routed)


def _client(client: Any, region: str | None) -> Any:
    if client is None:
        import boto3

        return boto3.client("bedrock", region_name=region)
    if not hasattr(client, "list_foundation_models"):
        raise RequestError(
            f"A {type(client).__name__} cannot list models.",
            remedy="Give a client of the control plane: boto3.client('bedrock').",
        )
    return client


def _asked(client: Any) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    listed = client.list_foundation_models().get("modelSummaries", [])
    pages = client.get_paginator("list_inference_profiles").paginate()
    return listed, [each for page in pages for each in page.get("inferenceProfileSummaries", [])]


def _learned(listed: Iterable[Mapping[str, Any]], routed: Iterable[Mapping[str, Any]]) -> Refreshed:
    before = {model.id: dict(model.entry) for model in all_models()}
    named = {profile.id.partition(".")[0] for profile in profiles()}
    after = {summary["modelId"]: _entry(summary, before.get(summary["modelId"], {})) for summary in listed}
    routed = list(routed)
    regions: dict[str, set[str]] = {}
    for profile in routed:
        prefix, _, model_id = profile["inferenceProfileId"].partition(".")
        entry = after.get(model_id)
        if entry is None:
            continue  # a profile of a model that this region does not list
        if prefix not in entry["inferenceProfiles"]:
            entry["inferenceProfiles"].append(prefix)
        if prefix not in named:
            regions.setdefault(prefix, set()).update(_regions(profile))
    changed = {model_id: entry for model_id, entry in after.items() if entry != before.get(model_id)}
    learn_models(
        changed,
        {prefix: {"name": prefix.upper(), "regions": sorted(each)} for prefix, each in regions.items()},
    )
    return Refreshed(
        new=tuple(model_id for model_id in changed if model_id not in before),
        changed=tuple(model_id for model_id in changed if model_id in before),
        models=len(after),
        profiles=len(routed),
    )


def _entry(summary: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """A model's entry, in the form of ``models.json``; what only the old one has stays."""
    given = {name: summary.get(name, default) for name, default in _OPTIONAL.items()}
    given["modelLifecycle"] = {name: _time(value) for name, value in given["modelLifecycle"].items()}
    prefixes = list(old.get("inferenceProfiles", ()))
    return {**old, "modelId": summary["modelId"], **given, "inferenceProfiles": prefixes}


def _time(value: Any) -> Any:
    """A moment as the file writes it; anything else as it is."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if isinstance(value, datetime) else value


def _regions(profile: Mapping[str, Any]) -> set[str]:
    arns = (model.get("modelArn", "") for model in profile.get("models", ()))
    return {arn.split(":")[3] for arn in arns if arn.count(":") > 3} - {""}
