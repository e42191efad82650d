"""What a model identifier says: every form that a request's ``modelId`` may have, taken apart.

Strategy: one table of ARN resources, and for all else the rule that an id may begin with the prefix of a
cross-region inference profile. Nothing is looked up here: an identifier is read as it stands, whether there
is such a model or not.

The forms are those of the pattern of ``ConversationalModelId`` in botocore's service model. The embedded
server takes a fault behind an id (``MODEL@cut:after=10``); it is no part of the identifier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from bedrock_nb.errors import RequestError, without_accounts

__all__ = ["PREFIXES", "Identifier", "parse", "without_fault"]

#: Of system-defined inference profiles:
#: https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
PREFIXES = ("us", "us-gov", "eu", "apac", "au", "ca", "jp", "global")

_ARN = re.compile(r"arn:aws(?:-[a-z]+)*:([a-z]+):([a-z0-9-]*):([0-9]{12})?:([a-z-]+)/([A-Za-z0-9._:/-]+)")
_PLAIN = re.compile(r"[A-Za-z0-9_.:-]{1,2048}")
_PREFIXED = re.compile(rf"({'|'.join(PREFIXES)})\.([^.]+\..+)")

#: Service and resource of an ARN -> kind, and whether there is an account in it (None: it may be).
_RESOURCES: dict[tuple[str, str], tuple[str, bool | None]] = {
    ("bedrock", "foundation-model"): ("model", False),
    ("bedrock", "inference-profile"): ("inference-profile", None),
    ("bedrock", "application-inference-profile"): ("application-inference-profile", True),
    ("bedrock", "provisioned-model"): ("provisioned-model", True),
    ("bedrock", "custom-model"): ("custom-model", True),
    ("bedrock", "custom-model-deployment"): ("custom-model-deployment", True),
    ("bedrock", "imported-model"): ("imported-model", True),
    ("bedrock", "prompt"): ("prompt", True),
    ("bedrock", "prompt-router"): ("prompt-router", True),
    ("bedrock", "default-prompt-router"): ("prompt-router", True),
    ("sagemaker", "endpoint"): ("sagemaker-endpoint", True),
}


@dataclass(frozen=True, slots=True)
class Identifier:
    """A model identifier, taken apart.

    Attributes
    ----------
    kind : str
        ``"model"`` (an id, or the ARN of a foundation model), ``"inference-profile"``,
        ``"application-inference-profile"``, ``"provisioned-model"``, ``"custom-model"``,
        ``"custom-model-deployment"``, ``"imported-model"``, ``"prompt"``, ``"prompt-router"`` or
        ``"sagemaker-endpoint"``.
    model_id : str or None
        The foundation model, as far as the identifier says; of a custom model, the one that it was made from.
    prefix : str or None
        Of an inference profile: ``"us"``, ``"eu"``, ``"global"`` …
    region : str or None
        Of an ARN.
    account : str or None
        Of an ARN; not shown.
    """

    kind: str
    model_id: str | None = None
    prefix: str | None = None
    region: str | None = None
    account: str | None = field(default=None, repr=False)


def parse(identifier: str) -> Identifier:
    """Take a model identifier apart.

    Parameters
    ----------
    identifier : str
        What a request names as its model: an id, the id of an inference profile, or one of Bedrock's ARNs.

    Returns
    -------
    Identifier

    Raises
    ------
    RequestError
        It has none of these forms.

    Examples
    --------
    >>> parse("us.amazon.nova-lite-v1:0")
    Identifier(kind='inference-profile', model_id='amazon.nova-lite-v1:0', prefix='us', region=None)
    """
    if not isinstance(identifier, str):
        raise _wrong(identifier)
    text = without_fault(identifier)
    if text.startswith("arn:"):
        return _arn(text)
    if _PLAIN.fullmatch(text) is None:
        raise _wrong(identifier)
    prefix, model_id = _split(text)
    return Identifier("inference-profile" if prefix else "model", model_id, prefix)


def without_fault(identifier: str) -> str:
    """The identifier without the embedded server's faults behind it."""
    return identifier.partition("@")[0]


def _arn(text: str) -> Identifier:
    match = _ARN.fullmatch(text)
    if match is None:
        raise _wrong(text)
    service, region, account, resource, name = match.groups()
    kind, has_account = _RESOURCES.get((service, resource), ("", None))
    if not kind or (has_account is not None and has_account != (account is not None)):
        raise _wrong(text)
    prefix = model_id = None
    if kind == "model":
        model_id = name
    elif kind == "inference-profile":
        prefix, model_id = _split(name)
    elif kind == "custom-model" and "." in name:  # custom-model/BASE/ID
        model_id = name.partition("/")[0]
    return Identifier(kind, model_id, prefix, region or None, account)


def _split(text: str) -> tuple[str | None, str]:
    """Prefix and model id; a dot in a version (``deepseek.v3.2``) is no prefix's."""
    match = _PREFIXED.fullmatch(text)
    return (match[1], match[2]) if match else (None, text)


def _wrong(identifier: object) -> RequestError:
    shown = without_accounts(repr(identifier))
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return RequestError(
        f"The model is {shown}, which is no model id.",
        remedy="Give an id such as 'amazon.nova-lite-v1:0', an inference profile such as "
        "'us.amazon.nova-lite-v1:0', or an ARN of Bedrock.",
    )
