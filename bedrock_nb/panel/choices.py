"""What a page may choose from, what is chosen, and how that is changed: models and settings.

Strategy: a setting is a row of a table, with what its text stands for; a page shows texts and sends texts.
Changes are checked as the conversation itself checks them, before any of them is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from bedrock_nb import models, render
from bedrock_nb.client import is_embedded, of_aws
from bedrock_nb.conversation import Conversation
from bedrock_nb.errors import RequestError
from bedrock_nb.server.own_models import OWN

__all__ = ["called", "change", "chosen", "offered", "where"]

#: Models in the list of a page; any other can be named in code.
_MOST_MODELS = 80


def where(client: Any) -> str:
    """Which service answers, in words; no account, no profile."""
    if is_embedded(client):
        return "embedded Bedrock"
    address = client.meta.endpoint_url
    if of_aws(address):
        return f"Amazon Bedrock, {client.meta.region_name}"
    return urlsplit(address).hostname or ""


def offered(client: Any) -> dict[str, str]:
    """The models that stream, short names to ids, by provider; the embedded server's own only where it is."""
    rows = sorted(
        models.table(), key=lambda row: (row["alias"] not in OWN, _provider(row), row["alias"] or "")
    )
    can = [row for row in rows if row["alias"] and False not in (row["streaming"], row["text"])]
    local = is_embedded(client)
    shown = [row for row in can if (local if row["alias"] in OWN else row["status"] == "ACTIVE")]
    return {row["alias"]: row["call_as"] for row in shown[:_MOST_MODELS]}


def _provider(row: Mapping[str, Any]) -> str:
    return str(row["provider"]).lower()


def called(model: str, names: Mapping[str, str]) -> str:
    """The short name, of these, that stands for a model's id; else the id as it is."""
    return next((name for name, id in names.items() if id == model), model)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


#: A setting that a page may change -> what its text stands for, and that in words.
_SETTINGS: dict[str, tuple[Callable[[str], Any], str]] = {
    "system": (str, "a text"),
    "temperature": (_number, "a number"),
    "top_p": (_number, "a number"),
    "max_tokens": (int, "a whole number"),
}


def chosen(conversation: Conversation) -> dict[str, str]:
    """The settings that a page may change, as texts; empty where a setting is not made."""
    return {name: _shown(conversation.settings.get(name)) for name in _SETTINGS}


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):  # a system prompt of blocks
        texts = (block.get("text") for block in value if isinstance(block, Mapping))
        value = "\n\n".join(text for text in texts if isinstance(text, str))
    return "" if value is None else render.printable(str(value))


def change(conversation: Conversation, texts: Mapping[str, str], model: str | None = None) -> None:
    """Change settings of a conversation, all or none.

    Parameters
    ----------
    conversation : Conversation
    texts : mapping of str to str
        By their names; an empty text takes a setting away.
    model : str, optional
        Its id or short name; empty for the one that is asked where none is named.

    Raises
    ------
    RequestError
        A text that does not stand for such a setting, a value that the service would refuse, or a model
        that cannot stream.
    """
    settings = dict(conversation.settings)
    for name, text in texts.items():
        if name not in _SETTINGS:
            raise RequestError(f"A page cannot change the setting {name!r:.40}.")
        read, wanted = _SETTINGS[name]
        if text.strip() == "":
            settings.pop(name, None)
            continue
        try:
            settings[name] = read(text)
        except ValueError:
            raise RequestError(
                f"{name} is {text!r:.40}; {wanted} is wanted.", remedy="An empty box takes the setting away."
            ) from None
    if model is not None:
        settings.pop("modelId", None)
        settings.pop("model", None)
        if model.strip():
            models.require(model.strip(), "text", "streaming")
            settings["model"] = model.strip()
    # One that is not kept checks them as the one that is asked would.
    Conversation(conversation.client, tools=conversation.tools.values(), **settings)
    conversation.settings.clear()
    conversation.settings.update(settings)
