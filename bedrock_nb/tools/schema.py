"""What a tool takes, as a JSON schema tells it; and what to say of an input that does not fit.

Strategy: `Parameters` is a schema with the function that reads inputs by it. Where there is a schema and no
function to learn more from (a tool of an MCP server), only names are checked: whoever runs the tool knows the
rest. What is wrong is told in short sentences that a model can act on. A schema and an input may come from
anywhere: no shape is taken for granted.
"""

from __future__ import annotations

import functools
import json
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bedrock_nb.errors import RequestError, ToolInputError

__all__ = ["Parameters", "from_schema", "is_any", "misfit", "signature_of", "told", "unknown"]

_MOST_PROBLEMS = 10  # that one message tells


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """What a tool takes.

    Attributes
    ----------
    schema : dict
        JSON schema of the input, an object.
    read : function
        From an input to keyword arguments; raises ToolInputError.
    context : str or None
        The parameter that takes the call's context and is not in the schema.
    method : bool
        Whether the function still lacks the object that it is a method of.
    """

    schema: dict[str, Any]
    read: Callable[[Mapping[str, Any]], dict[str, Any]]
    context: str | None = None
    method: bool = False


# -- a schema that is given ------------------------------------------------------------------------


def from_schema(schema: Any, name: str, context: str | None = None, open: bool = False) -> Parameters:
    """The parameters of a tool whose schema is given; ``context`` is the function's own parameter for that.

    Names that the schema does not have are let through where it says so, or, if it says nothing, where the
    function is ``open`` to any: others may be parameters that the model is not to know.

    Raises
    ------
    RequestError
        It is no JSON schema of an object, or it has a parameter that the function wants for the context.
    """
    try:
        own = json.loads(json.dumps(dict(schema), allow_nan=False)) if isinstance(schema, Mapping) else None
    except (TypeError, ValueError, RecursionError):
        own = None
    if own is None or own.setdefault("type", "object") != "object":
        raise RequestError(
            f"The schema of {name} is {reprlib.repr(schema)}.",
            remedy='A JSON schema of an object is wanted: {"type": "object", "properties": {…}}.',
        )
    if context and context in _properties(own):
        raise RequestError(
            f"{context} is in the schema of {name}, and the function wants the call's context there.",
            remedy="Give that parameter of the function another name.",
        )
    return Parameters(own, functools.partial(_read_names, own, name, context, open), context)


def _read_names(
    schema: Mapping[str, Any], name: str, context: str | None, open: bool, input: Any
) -> dict[str, Any]:
    """The input as it is, if it has the members that it must have and no others."""
    known, required = _properties(schema), schema.get("required")
    wrong = [
        f"{_named(member)}: it is required"
        for member in (required if isinstance(required, list) else ())
        if isinstance(member, str) and member not in input
    ]
    closed = schema.get("additionalProperties", open) is False and "patternProperties" not in schema
    strange = [member for member in input if member not in known and (closed or member == context)]
    wrong += [unknown((member,), known) for member in strange]
    if wrong:
        raise misfit(name, wrong)
    return dict(input)


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    properties = schema.get("properties")
    return properties if isinstance(properties, Mapping) else {}


# -- what is wrong ---------------------------------------------------------------------------------


def misfit(name: str, problems: list[str]) -> ToolInputError:
    """The error for an input with these problems, of which its text tells the first ten."""
    first = problems[:_MOST_PROBLEMS]
    more = f"; and {len(problems) - len(first)} more" if len(problems) > len(first) else ""
    error = ToolInputError(
        f"The arguments do not fit {name}: {'; '.join(first)}{more}.",
        remedy="Call it again with arguments that fit its schema.",
    )
    error.problems = tuple(problems)
    return error


def told(error: Mapping[str, Any], known: Iterable[str], names: Mapping[str, str] | None = None) -> str:
    """One of pydantic's findings in a short sentence; ``names`` are what fields of its model are called."""
    place = error["loc"]
    if names:
        place = (names.get(place[0], place[0]), *place[1:])
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return unknown(place, known)
    where = ".".join(map(_named, place))
    if error["type"] == "missing":
        return f"{where}: it is required"
    said = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return f"{where}: {said} (got {_shown(error['input'])})"


def unknown(place: tuple[Any, ...], known: Iterable[str]) -> str:
    """That nobody knows a name, and which names there are."""
    where = ".".join(map(_named, place))
    if len(place) > 1:
        return f"{where}: there is no such member"
    return f"{where}: there is no such argument (known: {', '.join(map(_named, known)) or 'none'})"


def _named(part: Any) -> str:
    """A name or a number of a place in the input, which may be any text."""
    return str(part) if re.fullmatch(r"[\w$.-]{1,64}", str(part)) else _shown(part)


def _shown(value: Any) -> str:
    return reprlib.repr(value)


# -- for people ------------------------------------------------------------------------------------

_PYTHON = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "array": "list",
    "object": "dict",
    "null": "None",
}


def signature_of(schema: Mapping[str, Any]) -> str:
    """A schema as a signature: ``city: str, unit: 'C' | 'F' = 'C'``; for people, and not exact."""
    required, definitions = schema.get("required"), schema.get("$defs")
    parts = []
    for member, inner in _properties(schema).items():
        kind = _kind(inner, definitions if isinstance(definitions, Mapping) else {})
        default = ""
        if isinstance(inner, Mapping) and "default" in inner:
            default = f" = {_shown(inner['default'])}"
        elif not isinstance(required, list) or member not in required:
            default = " = …"
        parts.append(f"{_named(member)}: {kind}{default}")
    return ", ".join(parts)


def is_any(schema: Any) -> bool:
    """Whether a parameter takes anything at all: its author gave it no annotation."""
    return _kind(schema, {}) == "Any"


def _kind(schema: Any, definitions: Mapping[str, Any], depth: int = 0) -> str:
    """A schema as an annotation."""
    match schema:
        case _ if depth > 3:
            return "…"
        case {"enum": [*values]}:
            return " | ".join(map(_shown, values))
        case {"const": value}:
            return _shown(value)
        case {"$ref": str(path)}:
            last = path.rpartition("/")[2]
            to = definitions.get(last)
            return (
                _kind(to, definitions, depth + 1)
                if isinstance(to, Mapping) and "enum" in to
                else _named(last)
            )
        case {"anyOf": [*ways]} | {"oneOf": [*ways]}:
            return " | ".join(dict.fromkeys(_kind(way, definitions, depth + 1) for way in ways))
        case {"type": "array", "items": Mapping() as items}:
            return f"list[{_kind(items, definitions, depth + 1)}]"
        case {"type": [*kinds]}:
            return " | ".join(_PYTHON.get(str(kind), "Any") for kind in kinds)
        case {"type": str(kind)}:
            return _PYTHON.get(kind, "Any")
    return "Any"
