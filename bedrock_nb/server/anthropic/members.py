"""What may stand in a body of Anthropic's format, and the words in which the wrong is refused.

Strategy: small checks that a table of members drives. Bedrock checks a body's members in the words of a JSON
schema (``Malformed input request: #/…``), Claude what is inside of them in its own
(``messages.0.content: …``).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from bedrock_nb.server.refusal import Refusal

__all__ = [
    "SCHEMA_NAMES",
    "decoded_bytes",
    "is_a",
    "malformed_request",
    "matching_text",
    "members_of",
    "one_of",
    "typed_block",
    "wrong_request",
]

#: Types of JSON, as the schema of the body names them, and as Claude does.
SCHEMA_NAMES = {
    str: "String",
    int: "Integer",
    float: "BigDecimal",
    bool: "Boolean",
    list: "JSONArray",
    dict: "JSONObject",
    type(None): "Null",
}
_NAMES = {str: "string", int: "integer", bool: "boolean", list: "list", dict: "dictionary"}


def wrong_request(text: str) -> Refusal:
    """What Claude says of a body that it cannot read."""
    return Refusal(400, "ValidationException", text)


def malformed_request(violations: Sequence[str]) -> Refusal:
    """What Bedrock says of a body whose members are not right."""
    return wrong_request(
        f"Malformed input request: {''.join(violations)}, please reformat your input and try again."
    )


def _tag(path: str, found: object, known: Sequence[str]) -> Refusal:
    tags = ", ".join(f"'{tag}'" for tag in known)
    return wrong_request(
        f"{path}: Input tag '{found}' found using 'type' does not match any of the expected tags: {tags}"
    )


def is_a(value: object, kind: type) -> bool:
    """Whether a value is of a type of JSON; a boolean is no number."""
    return type(value) is kind  # true is no whole number


def members_of(
    path: str, value: Any, required: Mapping[str, Any], optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The members of an object by their types, several in a tuple; null is as good as nothing."""
    if not isinstance(value, dict):
        raise wrong_request(f"{path}: Input should be a valid dictionary")
    given = {name: item for name, item in value.items() if item is not None}
    known = {**required, **(optional or {})}
    for name, item in given.items():
        if name not in known:
            raise wrong_request(f"{path}.{name}: Extra inputs are not permitted")
        kinds = known[name] if isinstance(known[name], tuple) else (known[name],)
        if not any(is_a(item, kind) for kind in kinds):
            raise wrong_request(
                f"{path}.{name}: Input should be a valid {' or '.join(_NAMES[k] for k in kinds)}"
            )
    for name in required:
        if name not in given:
            raise wrong_request(f"{path}.{name}: Field required")
    return given


def one_of(path: str, value: object, allowed: Sequence[str]) -> Any:
    """The value, if it is allowed."""
    if value not in allowed:
        quoted = " or ".join(f"'{name}'" for name in allowed)
        raise wrong_request(f"{path}: Input should be {quoted}")
    return value


def typed_block(path: str, value: Any, known: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """What an object says it is, and its other members."""
    if not isinstance(value, dict):
        raise wrong_request(f"{path}: Input should be a valid dictionary")
    if value.get("type") is None:
        raise wrong_request(f"{path}.type: Field required")
    if value["type"] not in known:
        raise _tag(path, value["type"], known)
    return value["type"], {name: item for name, item in value.items() if name != "type"}


def matching_text(path: str, value: str, pattern: str) -> str:
    """The value, if the pattern fits all of it."""
    if not re.fullmatch(pattern, value):
        raise wrong_request(f"{path}: String should match pattern '^{pattern}$'")
    return value


def decoded_bytes(path: str, data: str, least: int = 1) -> bytes:
    """Bytes from base64."""
    try:
        raw = b64decode(data, validate=True)
    except (binascii.Error, ValueError) as err:
        raise wrong_request(f"{path}: Invalid base64 data") from err
    if len(raw) < least:
        raise wrong_request(f"{path}: String should have at least 1 character")
    return raw
