"""A value that fits a JSON schema: what the embedded model gives a tool as its input.

Strategy: one function over the schema's own keywords, taking what it can from the prompt so that the input
looks chosen: an enum's value that the prompt names, the prompt's numbers in their order, its last proper
name. No randomness. Not a general generator: combinations such as ``not`` or ``pattern`` are not solved.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["sample"]

_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?")
# Capitalised words that do not begin a sentence, and are not "I"; "New York" is one name.
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b(?!I\b)[A-Z][\w’'-]*(?: [A-Z][\w’'-]*)*")
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "email": "a@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_DEEPEST = 8  # a schema may refer to itself
_MOST_ITEMS, _MOST_LETTERS = 100, 10_000  # however many a schema asks for


def sample(schema: Mapping[str, Any], prompt: str) -> Any:
    """A value for a schema, the same for the same prompt.

    Parameters
    ----------
    schema : mapping
        A JSON schema; ``$ref`` is followed inside of it.
    prompt : str
        The user's words.

    Examples
    --------
    >>> schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    >>> sample(schema, "What is the weather in Paris?")
    {'city': 'Paris'}
    """
    numbers = (float(found) for found in _NUMBER.findall(prompt))
    return _value(schema, prompt, numbers, schema, 0)


def _value(schema: Any, prompt: str, numbers: Iterator[float], root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return {}
    if isinstance(reference := schema.get("$ref"), str):
        return _value(_resolve(reference, root), prompt, numbers, root, depth + 1)
    if isinstance(parts := schema.get("allOf"), list) and parts:
        merged = {name: value for name, value in schema.items() if name != "allOf"}
        for part in parts:
            merged = _both(merged, _followed(part, root))
        return _value(merged, prompt, numbers, root, depth + 1)
    for keyword in ("anyOf", "oneOf"):
        if isinstance(options := schema.get(keyword), list) and options:
            merged = {**schema, **options[0]} if isinstance(options[0], Mapping) else {}
            return _value({k: v for k, v in merged.items() if k != keyword}, prompt, numbers, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if isinstance(choices := schema.get("enum"), list) and choices:
        named = (choice for choice in choices if str(choice).lower() in prompt.lower())
        return next(named, choices[0])
    return _of_type(schema, prompt, numbers, root, depth)


def _of_type(
    schema: Mapping[str, Any], prompt: str, numbers: Iterator[float], root: Mapping[str, Any], depth: int
) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    match kind:
        case "object":
            properties = schema.get("properties")
            members = dict(properties) if isinstance(properties, Mapping) else {}
            required = schema.get("required")
            members |= {name: {} for name in required or () if name not in members}
            if depth >= _DEEPEST - 1:  # it refers to itself: only what must be there
                members = {name: member for name, member in members.items() if name in (required or ())}
            return {
                name: _value(member, prompt, numbers, root, depth + 1) for name, member in members.items()
            }
        case "array":
            if schema.get("maxItems") == 0:
                return []
            items = schema.get("items", {"type": "string"})
            least = min(max(1, _whole(schema.get("minItems"), 1)), _MOST_ITEMS)
            return [_value(items, prompt, numbers, root, depth + 1) for _ in range(least)]
        case "integer" | "number":
            number = next(numbers, None)
            number = schema.get("default", schema.get("minimum", 1)) if number is None else number
            number = number if isinstance(number, int | float) else 1
            number = _within(schema, number, whole=kind == "integer")
            return int(number) if kind == "integer" or number == int(number) else number
        case "boolean":
            return default if isinstance(default := schema.get("default"), bool) else True
        case "null":
            return None
        case _:
            names = _NAME.findall(prompt)
            text = _FORMATS.get(str(schema.get("format"))) or (names[-1] if names else "example")
            least, most = _whole(schema.get("minLength"), 0), _whole(schema.get("maxLength"), len(text))
            return text.ljust(min(least, _MOST_LETTERS), "x")[: max(most, least)]


def _within(schema: Mapping[str, Any], number: float, *, whole: bool) -> float:
    """The number, or the nearest that the schema's limits allow."""
    step = _number(schema.get("multipleOf"), 1 if whole else 0) or 0
    low, high = _number(schema.get("minimum"), -math.inf), _number(schema.get("maximum"), math.inf)
    above, below = (
        _number(schema.get("exclusiveMinimum"), -math.inf),
        _number(schema.get("exclusiveMaximum"), math.inf),
    )
    grain = step or 0.5
    low, high = max(low, above + grain), min(high, below - grain)
    number = min(max(number, low), high)
    if step and number % step:
        number = math.ceil(number / step) * step
        number = number if number <= high else number - step
    return number


def _number(value: Any, otherwise: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise


def _whole(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and value >= 0 else otherwise


def _followed(schema: Any, root: Mapping[str, Any]) -> Any:
    """The schema that a reference means."""
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    return _resolve(reference, root) if isinstance(reference, str) else schema


def _both(one: Mapping[str, Any], other: Any) -> dict[str, Any]:
    """A schema of what two ask for."""
    if not isinstance(other, Mapping):
        return dict(one)
    both = {**one, **other}
    for name in ("properties", "required"):
        if name in one and name in other:
            both[name] = {**one[name], **other[name]} if name == "properties" else [*one[name], *other[name]]
    return both


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    node: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        node = node.get(step) if isinstance(node, Mapping) and step else node
    return node
