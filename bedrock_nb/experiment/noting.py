"""What an experiment notes of itself: who was asked, with what settings, by what versions.

Strategy: plain JSON in words, the same for all experiments, for whoever reads the numbers later. Keys of
accounts and what the service calls sensitive stay out of it.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import botocore

from bedrock_nb.client import is_embedded
from bedrock_nb.errors import without_accounts
from bedrock_nb.request import Request

__all__ = ["plain", "settings_in_words", "versions", "where"]

#: Settings that the service model marks as sensitive: reports show the plan to others.
_UNTOLD = ("metadata", "prompt_variables", "requestMetadata", "promptVariables")


def where(client: Any) -> str:
    """Who answers a client, in words."""
    if is_embedded(client):
        return "embedded server"
    return f"Amazon Bedrock in {getattr(getattr(client, 'meta', None), 'region_name', None) or 'no region'}"


def plain(value: Any) -> Any:
    """A setting as it is told: JSON, and names of what has no form there."""
    if isinstance(value, Request):
        value = value.to_kwargs()
    if isinstance(value, Mapping):
        return {str(name): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "item"):
        value = value.item()  # numpy's
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, str | int | float | bool | None):
        return without_accounts(value)
    return getattr(value, "name", None) or getattr(value, "__name__", None) or type(value).__name__


def settings_in_words(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that all replies share, without what the service calls sensitive."""
    return {str(name): "…" if name in _UNTOLD else plain(value) for name, value in settings.items()}


def versions() -> dict[str, str]:
    """What asks: Python, this package, the two that make and send requests, and the operating system."""
    import bedrock_nb

    return {
        "python": platform.python_version(),
        "bedrock_nb": bedrock_nb.__version__,
        "botocore": botocore.__version__,
        "aiohttp": metadata.version("aiohttp"),
        "platform": f"{platform.system()} {platform.machine()}",
    }
