"""Content blocks of Anthropic's format -> those of Converse: one function for each kind, and a table."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from bedrock_nb.server.anthropic.members import (
    decoded_bytes,
    matching_text,
    members_of,
    one_of,
    typed_block,
    wrong_request,
)

__all__ = ["CACHED", "PLACES", "TOOL_NAME", "WEB", "blocks_of", "cache_point"]

_ID = r"[a-zA-Z0-9_.:-]{1,64}"
TOOL_NAME = r"[a-zA-Z0-9_-]{1,64}"
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
#: Signs that the name of a document may not have in Converse.
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z\s\-()\[\]]")
#: Converse's places of a citation: Anthropic's type, and its names for index, start and end.
PLACES = {
    "documentChar": ("char_location", "document_index", "start_char_index", "end_char_index"),
    "documentPage": ("page_location", "document_index", "start_page_number", "end_page_number"),
    "documentChunk": ("content_block_location", "document_index", "start_block_index", "end_block_index"),
    "searchResultLocation": (
        "search_result_location",
        "search_result_index",
        "start_block_index",
        "end_block_index",
    ),
}
WEB = "web_search_result_location"


def cache_point(path: str, control: Any) -> dict[str, Any]:
    """The cachePoint that a block's ``cache_control`` asks for."""
    _, rest = typed_block(f"{path}.cache_control", control, ("ephemeral",))
    ttl = members_of(f"{path}.cache_control.ephemeral", rest, {}, {"ttl": str})
    if ttl:
        one_of(f"{path}.cache_control.ephemeral.ttl", ttl["ttl"], ("5m", "1h"))
    return {"cachePoint": {"type": "default", **ttl}}


def _citation(path: str, value: Any) -> dict[str, Any]:
    by_type = {names[0]: (place, *names[1:]) for place, names in PLACES.items()}
    kind, rest = typed_block(path, value, (*by_type, WEB))
    path = f"{path}.{kind}"
    if kind == WEB:
        given = members_of(
            path, rest, {"cited_text": str, "encrypted_index": str, "url": str}, {"title": str}
        )
        if given["encrypted_index"]:  # ours are empty
            raise wrong_request(
                f"{path}.encrypted_index: results of web search are not available on Amazon Bedrock"
            )
        location: dict[str, Any] = {"web": {"url": given["url"]}}
        title = "title"
    else:
        place, index, start, end = by_type[kind]
        searched = place == "searchResultLocation"
        title = "title" if searched else "document_title"
        numbers = dict.fromkeys((index, start, end), int)
        source = {"source": str} if searched else {}
        given = members_of(path, rest, {"cited_text": str, **numbers, **source}, {title: str})
        for name in numbers:
            if given[name] < 0:
                raise wrong_request(f"{path}.{name}: Input should be greater than or equal to 0")
        ours = "searchResultIndex" if searched else "documentIndex"
        location = {place: {ours: given[index], "start": given[start], "end": given[end]}}
    citation = {"location": location, "sourceContent": [{"text": given["cited_text"]}]}
    names = {"title": title, "source": "source"}
    return {**{ours: given[theirs] for ours, theirs in names.items() if theirs in given}, **citation}


def _text(path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    citations = [
        _citation(f"{path}.citations.{i}", item) for i, item in enumerate(given.get("citations", ()))
    ]
    if citations:
        return [{"citationsContent": {"content": [{"text": given["text"]}], "citations": citations}}]
    return [{"text": given["text"]}]


def _texts(path: str, items: Sequence[Any]) -> list[dict[str, Any]]:
    """Text blocks inside of another block."""
    out = []
    for i, item in enumerate(items):
        _, rest = typed_block(f"{path}.{i}", item, ("text",))
        out.append(members_of(f"{path}.{i}.text", rest, {"text": str}))
    return out


def _image(path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    _, rest = typed_block(f"{path}.source", given["source"], ("base64",))
    path = f"{path}.source.base64"
    source = members_of(path, rest, {"media_type": str, "data": str})
    format = one_of(f"{path}.media_type", source["media_type"], _IMAGES).removeprefix("image/")
    return [{"image": {"format": format, "source": {"bytes": decoded_bytes(f"{path}.data", source["data"])}}}]


def _document(path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    kind, rest = typed_block(f"{path}.source", given["source"], ("base64", "text", "content"))
    place = f"{path}.source.{kind}"
    if kind == "content":
        content = members_of(place, rest, {"content": (str, list)})["content"]
        texts = [{"text": content}] if isinstance(content, str) else _texts(f"{place}.content", content)
        document: dict[str, Any] = {"source": {"content": texts}}
    else:
        source = members_of(place, rest, {"media_type": str, "data": str})
        wanted = "application/pdf" if kind == "base64" else "text/plain"
        one_of(f"{place}.media_type", source["media_type"], (wanted,))
        if kind == "base64":
            document = {"format": "pdf", "source": {"bytes": decoded_bytes(f"{place}.data", source["data"])}}
        else:
            document = {"format": "txt", "source": {"text": source["data"]}}
    # Converse wants a name, and only of some signs; where there is no title, the place is one that is unique.
    name = " ".join(_NOT_IN_NAMES.sub("-", given.get("title") or path).split())[:200]
    context = {"context": given["context"]} if "context" in given else {}
    return [{"document": {"name": name or "-", **document, **context, **_citing(path, given)}}]


def _citing(path: str, given: dict[str, Any]) -> dict[str, Any]:
    if "citations" not in given:
        return {}
    config = members_of(f"{path}.citations", given["citations"], {}, {"enabled": bool})
    return {"citations": {"enabled": config.get("enabled", False)}}


def _search_result(path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    content = _texts(f"{path}.content", given["content"])
    found = {"source": given["source"], "title": given["title"], "content": content}
    return [{"searchResult": {**found, **_citing(path, given)}}]


def _tool_use(path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    id = matching_text(f"{path}.id", given["id"], _ID)
    name = matching_text(f"{path}.name", given["name"], TOOL_NAME)
    served = {"type": "server_tool_use"} if path.endswith("server_tool_use") else {}
    return [{"toolUse": {"toolUseId": id, "name": name, "input": given["input"], **served}}]


def _tool_result(path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    content = given.get("content") or []
    inner = blocks_of(f"{path}.content", content, "tool_result")
    points = [block for block in inner if "cachePoint" in block]  # Converse has no place for them inside
    result = {
        "toolUseId": matching_text(f"{path}.tool_use_id", given["tool_use_id"], _ID),
        "content": [block for block in inner if "cachePoint" not in block],
    }
    if "is_error" in given:
        result["status"] = "error" if given["is_error"] else "success"
    return [{"toolResult": result}, *([] if "cache_control" in given else points[-1:])]


def _thinking(_path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    signature = {"signature": given["signature"]} if given["signature"] else {}
    return [{"reasoningContent": {"reasoningText": {"text": given["thinking"], **signature}}}]


def _redacted(path: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"reasoningContent": {"redactedContent": decoded_bytes(f"{path}.data", given["data"], least=0)}}]


class _Kind(NamedTuple):
    """A content block of a request: where it may stand, its members, and what makes it Converse's."""

    places: tuple[str, ...]
    required: Mapping[str, Any]
    optional: Mapping[str, Any]
    make: Callable[[str, dict[str, Any]], list[dict[str, Any]]]


CACHED = {"cache_control": dict}
_USE = {"id": str, "name": str, "input": dict}
_FOUND = {"source": str, "title": str, "content": list}
_KINDS: dict[str, _Kind] = {
    "text": _Kind(
        ("user", "assistant", "system", "tool_result"), {"text": str}, {"citations": list, **CACHED}, _text
    ),
    "image": _Kind(("user", "tool_result"), {"source": dict}, CACHED, _image),
    "document": _Kind(
        ("user", "tool_result"),
        {"source": dict},
        {"title": str, "context": str, "citations": dict, **CACHED},
        _document,
    ),
    "search_result": _Kind(("user", "tool_result"), _FOUND, {"citations": dict, **CACHED}, _search_result),
    "tool_use": _Kind(("assistant",), _USE, CACHED, _tool_use),
    "server_tool_use": _Kind(("assistant",), _USE, CACHED, _tool_use),
    "tool_result": _Kind(
        ("user",), {"tool_use_id": str}, {"content": (str, list), "is_error": bool, **CACHED}, _tool_result
    ),
    "thinking": _Kind(("assistant",), {"thinking": str, "signature": str}, {}, _thinking),
    "redacted_thinking": _Kind(("assistant",), {"data": str}, {}, _redacted),
}


def blocks_of(path: str, content: str | list[Any], place: str) -> list[dict[str, Any]]:
    """Content in Converse's blocks. ``place`` is whose turn it is, ``system`` or ``tool_result``."""
    if isinstance(content, str):
        return [{"text": content}]
    turn = place in ("user", "assistant")
    known = [kind for kind, spec in _KINDS.items() if turn or place in spec.places]
    out = []
    for i, block in enumerate(content):
        kind, rest = typed_block(f"{path}.{i}", block, known)
        spec = _KINDS[kind]
        if place not in spec.places:
            message = path.removesuffix(".content")
            raise wrong_request(f"{message}: `{kind}` blocks can only be in `{spec.places[0]}` messages")
        where = f"{path}.{i}.{kind}"
        given = members_of(where, rest, spec.required, spec.optional)
        out += spec.make(where, given)
        if "cache_control" in given:
            out.append(cache_point(where, given["cache_control"]))
    return out
