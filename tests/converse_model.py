"""What the installed botocore knows of ConverseStream, for tests of drift: every member, a sample of each."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from botocore.eventstream import EventStream
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.parsers import EventStreamJSONParser

SERVICE: Any = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
#: The structure whose members are the stream's events and exceptions.
STREAM = SERVICE.operation_model("ConverseStream").get_event_stream_output()
EXCEPTIONS = sorted(name for name, shape in STREAM.members.items() if shape.metadata.get("exception"))
#: Errors that come in place of a stream.
HTTP_ERRORS = sorted(shape.name for shape in SERVICE.operation_model("ConverseStream").error_shapes)
EVENTS = sorted(set(STREAM.members) - set(EXCEPTIONS))

BLOB = bytes(range(256))
_SCALARS = {
    "blob": b64encode(BLOB).decode("ascii"),
    "boolean": False,  # 0, "" and False, where one may be wanted, are easily taken for nothing
    "double": 0.5,
    "integer": 0,
    "long": 2**40,
}


def members(shape: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every member below a shape: its path, and its type in the model."""
    if shape.type_name == "structure":
        below = [(f".{name}", member) for name, member in shape.members.items()]
    elif shape.type_name == "list":
        below = [("[]", shape.member)]
    else:
        below = [("{}", shape.value)] if shape.type_name == "map" else []
    for step, member in below:
        document = getattr(member, "is_document_type", False)
        yield (path + step).lstrip("."), "document" if document else member.type_name
        yield from members(member, path + step)


def samples(shape: Any, **scalars: Any) -> list[Any]:
    """JSON of the wire for a shape: every member filled, each member of a union in a sample of its own.

    ``blob=b"..."`` and the like put another value in the place of base64 text.
    """
    if getattr(shape, "is_document_type", False):
        return [{"null": None, "list": [None, {"deep": None}], "empty": {}}]
    if shape.type_name == "structure":
        filled = {name: samples(member, **scalars) for name, member in shape.members.items()}
        if shape.is_tagged_union:
            return [{name: sample} for name, each in filled.items() for sample in each]
        most = max(map(len, filled.values()), default=1)
        return [{name: each[i % len(each)] for name, each in filled.items()} for i in range(most)]
    if shape.type_name == "list":
        return [samples(shape.member, **scalars)]
    if shape.type_name == "map":
        return [{"key": sample} for sample in samples(shape.value, **scalars)]
    if shape.type_name == "string":
        return list(getattr(shape, "enum", ())) or [f"some {shape.name}"]
    return [{**_SCALARS, **scalars}[shape.type_name]]


#: Every event of the model with every sample of it.
SAMPLES = [(wire, sample) for wire in EVENTS for sample in samples(STREAM.members[wire])]
SAMPLE_IDS = [f"{wire}-{json.dumps(sample)[:40]}" for wire, sample in SAMPLES]


class _Body:
    """What botocore's EventStream wants of a response body."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self) -> Iterator[bytes]:
        yield self._data

    def close(self) -> None:
        pass


def by_botocore(data: bytes) -> list[dict[str, Any]]:
    """The dicts that boto3 would yield for these bytes."""
    return list(EventStream(_Body(data), STREAM, EventStreamJSONParser(), "ConverseStream"))
