"""Does JSON fit a shape of botocore's service model? For tests of what the embedded server answers.

Strategy: botocore's parser passes over members that it does not know and does not miss those that are
required, so an answer can be wrong and still be read. Here the shape is walked beside the JSON as it is sent,
and what does not fit is named by its path, so that a failed test says at once where to look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import botocore.loaders
from botocore.model import ServiceModel
from botocore.parsers import create_parser

__all__ = ["missing_members", "parsed", "service", "unknown_members"]

_NOT_IN_BODY = {"header", "headers", "statusCode"}


@cache
def service(name: str) -> ServiceModel:
    """The whole service model of botocore, such as ``"bedrock"``."""
    return ServiceModel(botocore.loaders.Loader().load_service_model(name, "service-2"), name)


def unknown_members(shape: Any, data: Any) -> list[str]:
    """Paths of what the shape does not know: members, several of a union, values of another JSON type.

    Parameters
    ----------
    shape : botocore.model.Shape
    data : JSON value
        As it stands in the body.

    Returns
    -------
    list of str
        Such as ``["models[0].colour"]``; empty if all is well.
    """
    return list(_unknown(shape, data, ""))


def missing_members(shape: Any, data: Any) -> list[str]:
    """Paths of required members that are not there, or null, at any depth."""
    return list(_missing(shape, data, ""))


def parsed(shape: Any, data: Any, status: int = 200) -> dict[str, Any]:
    """The JSON as botocore's own rest-json parser hands it to boto3's caller, without ResponseMetadata."""
    response = {"status_code": status, "headers": {}, "body": json.dumps(data).encode()}
    result: dict[str, Any] = create_parser("rest-json").parse(response, shape)
    assert result.pop("ResponseMetadata")["HTTPStatusCode"] == status
    return result


def _members(shape: Any) -> dict[str, tuple[str, Any]]:
    """Name on the wire -> name in the model, shape; only what stands in the body."""
    return {
        member.serialization.get("name", name): (name, member)
        for name, member in shape.members.items()
        if member.serialization.get("location") not in _NOT_IN_BODY
    }


def _children(shape: Any, data: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """Each value inside of a value with its shape and path."""
    if shape.type_name == "structure" and isinstance(data, dict) and not shape.is_document_type:
        members = _members(shape)
        for name, value in data.items():
            if name in members and value is not None:  # null is the same as not there
                yield members[name][1], value, f"{path}.{name}".lstrip(".")
    elif shape.type_name == "list" and isinstance(data, list):
        for place, item in enumerate(data):
            yield shape.member, item, f"{path}[{place}]"
    elif shape.type_name == "map" and isinstance(data, dict):
        for key, item in data.items():
            yield shape.value, item, f"{path}[{key!r}]"


def _unknown(shape: Any, data: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure" and shape.is_document_type:
        return
    if not _is_of_type(shape, data):
        yield f"{path or 'the whole'} is no {shape.type_name}"
        return
    if shape.type_name == "structure":
        known = _members(shape)
        yield from (f"{path}.{name}".lstrip(".") for name in data if name not in known)
        if shape.is_tagged_union and len(data) != 1:
            yield f"{path or 'the whole'} sets {len(data)} members of a union"
    for child, value, place in _children(shape, data, path):
        yield from _unknown(child, value, place)


def _missing(shape: Any, data: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure" and isinstance(data, dict) and not shape.is_document_type:
        required = {wire for wire, (name, _) in _members(shape).items() if name in shape.required_members}
        given = {name for name, value in data.items() if value is not None}
        yield from (f"{path}.{name}".lstrip(".") for name in sorted(required - given))
    for child, value, place in _children(shape, data, path):
        yield from _missing(child, value, place)


#: Type of a shape -> what json.loads makes of its values; a timestamp's depends on its format.
_JSON: dict[str, tuple[type, ...]] = {
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


def _is_of_type(shape: Any, data: Any) -> bool:
    if shape.type_name == "timestamp":
        as_text = shape.serialization.get("timestampFormat", "unixTimestamp") != "unixTimestamp"
        return isinstance(data, str if as_text else int | float)
    if isinstance(data, bool):
        return shape.type_name == "boolean"
    return isinstance(data, _JSON[shape.type_name])
