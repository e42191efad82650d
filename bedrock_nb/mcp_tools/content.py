"""What an MCP tool gave, as content blocks of Converse.

Strategy: a table from the kind of MCP content to a function, and one place that finds the best form for bytes
of some media type. Formats are told by their first bytes, for what a server says about them is often wrong,
and a block that Bedrock refuses would spoil the conversation. Whatever has no form in Converse is told about
in a text.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from bedrock_nb.message import image_format

if TYPE_CHECKING:
    import mcp

__all__ = ["blocks_of"]

# Binary documents by media type. Text goes as text: every model reads that, and a request may hold five
# documents in all, so a conversation that reads its sixth file would be refused.
# Limits: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
_DOCUMENTS = {
    "application/pdf": "pdf",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_LARGEST = {"image": 3_750_000, "document": 4_500_000}  # bytes
_numbers = itertools.count(1)  # a request may not hold two documents of one name


def blocks_of(content: Iterable[mcp.types.ContentBlock], structured: Any = None) -> list[dict[str, Any]]:
    """The content of an MCP tool's result as content blocks of Converse.

    Parameters
    ----------
    content : iterable
        MCP content: text, images, audio, resources and links to them.
    structured : object
        The result's structured content; texts that only repeat it are left out.

    Returns
    -------
    list of dict
        Blocks with one key each: ``text``, ``json``, ``image`` or ``document``. What Converse takes in no
        form is told about in a text.
    """
    out: list[dict[str, Any]] = []
    if structured is not None:
        out.append({"json": structured if isinstance(structured, dict) else {"result": structured}})
    for part in content:
        if part.type != "text" or structured is None or not _repeats(part.text, structured):
            out += _BLOCKS[part.type](part)
    return out


def _text(text: str) -> list[dict[str, Any]]:
    return [{"text": text}] if text.strip() else []


def _repeats(text: str, structured: Any) -> bool:
    """Whether a text says what the structured content says; servers send both, for older clients."""
    said = [structured]
    if isinstance(structured, dict) and set(structured) == {"result"}:
        result = structured["result"]
        said += [result, *(result if isinstance(result, list) else ())]
    try:
        return text in [one for one in said if isinstance(one, str)] or json.loads(text) in said
    except (ValueError, RecursionError):
        return False


def _resource(uri: str, kind: str, data: bytes) -> list[dict[str, Any]]:
    """Bytes of some media type, in the best form that Converse has for them."""
    image = image_format(data)  # by its first bytes: what a server says of it is often wrong
    document = "pdf" if data.startswith(b"%PDF-") else _DOCUMENTS.get(kind)
    if image is not None and len(data) <= _LARGEST["image"]:
        return [{"image": {"format": image, "source": {"bytes": data}}}]
    if document is not None and 0 < len(data) <= _LARGEST["document"]:
        stem = re.sub(r"[^a-zA-Z0-9()\[\]-]+", " ", PurePosixPath(unquote(urlsplit(uri).path)).stem).strip()
        name = f"{stem[:150] or 'document'} {next(_numbers)}"
        source = {"format": document, "name": name, "source": {"bytes": data}}
        return [{"text": f"The document {name!r} is {uri or 'what the tool made'}."}, {"document": source}]
    if kind.startswith("text/") or kind in ("application/json", "application/xml", "image/svg+xml"):
        return _text(f"{uri}\n{data.decode(errors='replace')}" if uri else data.decode(errors="replace"))
    what = f"{kind or 'data'}{f' from {uri}' if uri else ''}, {len(data)} bytes"
    return [{"text": f"({what}: of a kind or size that cannot be shown here)"}]


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _embedded(resource: Any) -> list[dict[str, Any]]:
    uri, kind = str(resource.uri)[:500], (resource.mime_type or "").partition(";")[0].strip().lower()
    if hasattr(resource, "text"):
        return _text(f"{uri}\n{resource.text}") if resource.text.strip() else []
    return _resource(uri, kind, _bytes(resource.blob))


def _link(part: Any) -> list[dict[str, Any]]:
    words = [part.title or part.name, str(part.uri), part.mime_type or "", part.description or ""]
    return _text(", ".join(word for word in words if word))


_BLOCKS: dict[str, Callable[[Any], list[dict[str, Any]]]] = {
    "text": lambda part: _text(part.text),
    "image": lambda part: _resource("", part.mime_type.lower(), _bytes(part.data)),
    "audio": lambda part: _resource("", part.mime_type.lower(), _bytes(part.data)),
    "resource": lambda part: _embedded(part.resource),
    "resource_link": _link,
}
