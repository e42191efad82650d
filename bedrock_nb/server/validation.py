"""Is this request one that Bedrock would take? If not, in which words would it refuse?

Strategy: two passes in the service's own order. First the shape: one walk over botocore's service model of
the installed botocore, so a member that AWS adds is known here the day it is known to the client. A value
of the wrong JSON type ends the walk at once with a SerializationException; broken constraints are gathered
and reported together. Then the rules that no service model holds (`rules`), of which the first broken one is
reported. What comes out is the request as boto3's caller wrote it: blobs are bytes again.

The texts follow the service's. Where it says nothing useful (it passes over members that it does not know),
the text is ours, in the same form: a misspelt parameter is what a student most needs to hear about.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import botocore.loaders
from botocore.model import OperationModel, ServiceModel

from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.rules import check_conversation

__all__ = ["Walk", "operation", "validate", "validate_params"]

_TOO_LARGE = 2**63  # JSON knows no limit; nothing in the API is meant to be larger
_SHOWN = 256  # characters of a value that a message repeats; longer values are not


@cache
def _service() -> ServiceModel:
    loader = botocore.loaders.Loader()
    return ServiceModel(loader.load_service_model("bedrock-runtime", "service-2"), "bedrock-runtime")


@cache
def operation(name: str) -> OperationModel:
    """The service model of an operation, such as ``"ConverseStream"``; read once, about 20 ms."""
    return _service().operation_model(name)


def validate(name: str, model_id: str, body: Any) -> dict[str, Any]:
    """Check a request of Converse or ConverseStream, its shape and its conversation.

    Parameters
    ----------
    name : str
        ``"Converse"`` or ``"ConverseStream"``.
    model_id : str
        From the path. Any will do, up to the length that the service allows.
    body : JSON value
        The parsed body.

    Returns
    -------
    dict
        The keyword arguments that a boto3 caller would have given, blobs as bytes, nulls left out.

    Raises
    ------
    Refusal
        With the service's status, error name and words.
    """
    checked = validate_params(name, {"modelId": model_id}, body)
    check_conversation(model_id, checked)
    return checked


def validate_params(
    name: str, outside: Mapping[str, str], body: Any = None, *, payload: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Check the shape of a request of any operation.

    Parameters
    ----------
    name : str
        The operation.
    outside : mapping
        Members that came in the path or in headers.
    body : JSON value, optional
        The parsed body; None if the operation's members are all outside of it.
    payload : tuple of str
        Members that are the body itself, and not looked at here.

    Returns
    -------
    dict
        All members, as a boto3 caller would have given them.

    Raises
    ------
    Refusal
        400 SerializationException or ValidationException.
    """
    body = {} if body is None and payload else body
    if not isinstance(body, dict):
        raise _misfit("Unexpected value type in payload")
    walk = Walk()
    shape: Any = operation(name).input_shape
    for member, value in outside.items():
        check = walk.length if member == "modelId" else walk.value  # any model will do
        check(member, value, shape.members[member])
    checked = walk.structure("", body, shape, in_uri=(*outside, *payload))
    walk.refuse()
    if not outside.get("modelId", "-").strip():
        raise Refusal(400, "ValidationException", "The provided model identifier is invalid.")
    return {**outside, **checked}


def _misfit(text: str) -> Refusal:
    return Refusal(400, "SerializationException", text)


class Walk:
    """One walk over a request; ``broken`` gathers the constraints that do not hold.

    Paths are the service's: lists count from 1 and their items are ``member``.
    """

    def __init__(self) -> None:
        self.broken: list[str] = []

    def refuse(self) -> None:
        """Refuse the request if anything is broken.

        Raises
        ------
        Refusal
            400 ValidationException that names all of it.
        """
        if self.broken:
            number = len(self.broken)
            plural = "" if number == 1 else "s"
            text = f"{number} validation error{plural} detected: {'; '.join(self.broken)}"
            raise Refusal(400, "ValidationException", text)

    def value(self, path: str, value: Any, shape: Any) -> Any:
        """Check one value of any shape; return it as boto3's caller would have written it."""
        if shape.type_name == "structure" and shape.is_document_type:
            return value  # any JSON; whether it must be an object is a rule of its place
        return _KINDS[shape.type_name](self, path, value, shape)

    def structure(self, path: str, value: Any, shape: Any, in_uri: tuple[str, ...] = ()) -> dict[str, Any]:
        """Members: known, all that are required, and for a union exactly one."""
        if not isinstance(value, dict):
            raise _misfit(_found(value, shape, "Unexpected value type in payload"))
        given = {name: item for name, item in value.items() if item is not None}
        known = {name: member for name, member in shape.members.items() if name not in in_uri}
        for name in (name for name in given if name not in known):
            self.fail(_join(path, name), f"Member must be one of [{', '.join(sorted(known))}]")
        for name in shape.required_members:
            if name not in given and name not in in_uri:
                self.fail(_join(path, name), "Member must not be null", " null")
        if shape.is_tagged_union and len(given) != 1:
            sets = f"sets {', '.join(sorted(given))}" if given else "sets none"
            self.fail(path, f"Member must set exactly one of [{', '.join(known)}], and {sets}")
        return {
            name: self.value(_join(path, name), item, known[name])
            for name, item in given.items()
            if name in known
        }

    def items(self, path: str, value: Any, shape: Any) -> list[Any]:
        """A list: its length, then each item."""
        if not isinstance(value, list):
            raise _misfit(_found(value, shape, "Unexpected field type"))
        self.length(path, value, shape)
        checked = []
        for number, item in enumerate(value, 1):
            place = f"{path}.{number}.member"
            if item is None:
                self.fail(place, "Member must not be null", " null")
            else:
                checked.append(self.value(place, item, shape.member))
        return checked

    def mapping(self, path: str, value: Any, shape: Any) -> dict[str, Any]:
        """A map with free keys: its size, its keys, its values."""
        if not isinstance(value, dict):
            raise _misfit(_found(value, shape, "Unexpected field type"))
        self.length(path, value, shape)
        keys = Walk()
        for key in value:
            keys.string(path, key, shape.key)
        if keys.broken:
            rules = dict.fromkeys(text.partition("constraint: ")[2] for text in keys.broken)
            self.fail(path, f"Map keys must satisfy constraint: [{', '.join(rules)}]")
        return {
            key: self.value(f"{path}.{key}", item, shape.value)
            for key, item in value.items()
            if item is not None
        }

    def string(self, path: str, value: Any, shape: Any) -> str:
        """Text: enum, length, pattern."""
        if not isinstance(value, str):
            raise _misfit(_found(value, shape, f"{_json_name(value)} cannot be converted to String"))
        enum = shape.metadata.get("enum")
        if enum and value not in enum:
            self.fail(path, f"Member must satisfy enum value set: [{', '.join(enum)}]", _quoted(value, shape))
        elif self.length(path, value, shape):  # a pattern never sees more than the longest allowed text
            pattern = shape.metadata.get("pattern")
            if pattern and not re.fullmatch(pattern, value):
                rule = f"Member must satisfy regular expression pattern: {pattern}"
                self.fail(path, rule, _quoted(value, shape))
        return value

    def number(self, path: str, value: Any, shape: Any) -> int | float:
        """A whole or a decimal number within its limits."""
        whole = shape.type_name in ("integer", "long")
        fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _TOO_LARGE
        if not fits or (whole and value != int(value)):
            kind = shape.type_name.capitalize()
            raise _misfit(_found(value, shape, f"{_json_name(value)} cannot be converted to {kind}"))
        value = number = int(value) if whole else float(value)
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and value < low:
            self.fail(path, f"Member must have value greater than or equal to {low}", _quoted(value, shape))
        elif high is not None and value > high:
            self.fail(path, f"Member must have value less than or equal to {high}", _quoted(value, shape))
        return number

    def boolean(self, _path: str, value: Any, shape: Any) -> bool:
        """True or false."""
        if not isinstance(value, bool):
            raise _misfit(_found(value, shape, f"{_json_name(value)} cannot be converted to Boolean"))
        return value

    def blob(self, path: str, value: Any, shape: Any) -> bytes:
        """Bytes, in base64."""
        if not isinstance(value, str):
            raise _misfit(_found(value, shape, "only base-64-encoded strings are convertible to bytes"))
        try:
            data = b64decode(value, validate=True)
        except (binascii.Error, ValueError) as err:
            raise _misfit(f"The value at {path} is not base64: {err}") from err
        self.length(path, data, shape)
        return data

    def length(self, path: str, value: Any, shape: Any) -> bool:
        """Length of a string, list, map or blob; whether it is right."""
        low, high = shape.metadata.get("min"), shape.metadata.get("max")
        if low is not None and len(value) < low:
            self.fail(path, f"Member must have length greater than or equal to {low}", _quoted(value, shape))
        elif high is not None and len(value) > high:
            self.fail(path, f"Member must have length less than or equal to {high}", _quoted(value, shape))
        else:
            return True
        return False

    def fail(self, path: str, constraint: str, value: str = "") -> None:
        """Note a constraint that does not hold."""
        self.broken.append(f"Value{value} at '{path}' failed to satisfy constraint: {constraint}")


_KINDS: Mapping[str, Callable[[Walk, str, Any, Any], Any]] = {
    "structure": Walk.structure,
    "list": Walk.items,
    "map": Walk.mapping,
    "string": Walk.string,
    "blob": Walk.blob,
    "boolean": Walk.boolean,
    "integer": Walk.number,
    "long": Walk.number,
    "float": Walk.number,
    "double": Walk.number,
}
#: How the service names what it found, and what it wanted.
_JSON_NAMES = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "DECIMAL_VALUE"}
_SCALARS = frozenset({"string", "blob", "boolean", "integer", "long", "float", "double"})


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _quoted(value: Any, shape: Any) -> str:
    """The value as messages show it; sensitive and long ones are not shown."""
    if shape.metadata.get("sensitive") or isinstance(value, bytes):
        return ""
    text = str(value)
    return f" '{text}'" if len(text) <= _SHOWN else ""


def _json_name(value: Any) -> str:
    if isinstance(value, bool):
        return "TRUE_VALUE" if value else "FALSE_VALUE"
    return _JSON_NAMES.get(type(value), "Value")


def _found(value: Any, shape: Any, otherwise: str) -> str:
    """The service's words for an object or a list where neither is wanted, else ``otherwise``."""
    if isinstance(value, dict) and shape.type_name in _SCALARS | {"list"}:
        return "Start of structure or map found where not expected"
    if isinstance(value, list):
        return "Start of list found where not expected"
    return otherwise
