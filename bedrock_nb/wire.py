"""Frames <-> typed events.

Strategy: reading and writing both follow one table, `shapes.SHAPES`, so they cannot disagree. Reading takes
members out of a copy of the payload: what no row of the table asked for is handed on as `Unknown`, so a
member that AWS adds tomorrow is kept and visible and never an error. A known member of the wrong type is
another matter: that is a broken payload, and raises `PayloadError`. The three deltas that make up nearly
all of a reply take a short cut past the table.

Not here: bytes (`eventstream`), the order of events and their sum (`assembly`), times (`recording`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import MISSING, fields
from typing import Any

import orjson

from bedrock_nb.errors import (
    PayloadError,
    RequestError,
    ServiceFault,
    fault_from_wire,
    fault_to_wire,
    service_fault,
)
from bedrock_nb.events import (
    Event,
    ReasoningDelta,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    Unknown,
)
from bedrock_nb.eventstream import Frame
from bedrock_nb.shapes import INDEX, ITEMS, PADDING, SHAPES, Codec, Shape

__all__ = [
    "delta",
    "from_frame",
    "from_wire",
    "to_botocore",
    "to_frame",
    "to_wire",
]


_BY_EVENT = {shape.event: shape for shape in SHAPES}
_BY_WIRE: dict[str, list[Shape]] = {}
for _shape in SHAPES:
    _BY_WIRE.setdefault(_shape.wire, []).append(_shape)
#: The containers that members are taken out of, as a tree for each wire name; all else is only passed on.
_DUG: dict[str, dict[str, Any]] = {}
for _shape in SHAPES:
    for _member in _shape.members or ("",):
        _node = _DUG.setdefault(_shape.wire, {})
        for _step in (*_shape.path, *_member.split(".")[:-1]):
            _node = _node.setdefault(_step, {})
_REQUIRED = {
    shape.event: tuple(f.name for f in fields(shape.event) if f.default is MISSING) for shape in SHAPES
}
#: The short cut: delta member -> (its only inner member or None, event).
_QUICK: dict[str, tuple[str | None, Any]] = {
    "text": (None, TextDelta),
    "reasoningContent": ("text", ReasoningDelta),
    "toolUse": ("input", ToolInputDelta),
}


#: Names that only recordings use. On a wire they would be somebody else's, and must not read back as ours.
_OURS = ("fault", "seam")


# -- wire -> event ---------------------------------------------------------------------------------


def from_frame(frame: Frame) -> tuple[Event, ...]:
    """Read one frame.

    Parameters
    ----------
    frame : Frame
        A frame with Bedrock's headers ``:message-type`` and ``:event-type``.

    Returns
    -------
    tuple of Event
        Mostly one. A payload with members this version does not know gives an `Unknown` besides.
        An exception or error frame gives a `StreamFault`.

    Raises
    ------
    PayloadError
        The frame does not say what it is, its payload is not a JSON object, or a known member has the
        wrong type.
    """
    headers = frame.headers
    wire = headers.get(":event-type")
    if wire not in _BY_WIRE or headers.get(":message-type") != "event":
        return (_special(frame),)
    payload = _loads(frame.payload, wire)
    if wire == "contentBlockDelta":
        event = delta(payload)
        if event is not None:
            return (event,)
    return from_wire(str(wire), payload)


def delta(payload: Any) -> Event | None:
    """One delta in its usual form, without the table; None if anything about it is unusual."""
    try:
        index = payload[INDEX]
        ((key, value),) = payload["delta"].items()
        if len(payload) != (3 if PADDING in payload else 2) or type(index) is not int or index >> 31:
            return None
        inner, make = _QUICK[key]
        if inner is not None:
            ((key, value),) = value.items()
            if key != inner:
                return None
        if type(value) is not str:
            return None
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    event: Event = make(index, value)
    return event


def _special(frame: Frame) -> Event:
    """Read a frame that is no event: an exception, an error, or a kind nobody has named yet."""
    headers = frame.headers
    kind, name = headers.get(":message-type"), headers.get(":event-type")
    if kind is None or (kind == "event" and name is None):
        header = ":message-type" if kind is None else ":event-type"
        raise PayloadError(f"A frame came without the header {header}, so nobody can tell what it is.")
    if kind == "error":
        code, message = (str(headers.get(header, "")) for header in (":error-code", ":error-message"))
        return StreamFault(service_fault(code, message))
    try:
        payload = _loads(frame.payload, name)
    except PayloadError:  # the name is what matters; keep the words however they are spelled
        payload = frame.payload.decode("utf-8", "replace")
    if kind == "exception":
        fields = payload if isinstance(payload, dict) else {"message": payload}
        fields.pop(PADDING, None)
        message = str(fields.pop("message", None) or fields.pop("Message", None) or "")
        return StreamFault(service_fault(str(headers.get(":exception-type", "")), message, fields))
    if kind == "event":
        return Unknown(f"{name}+" if name in _OURS else str(name), payload)
    return Unknown(str(kind), {"headers": _plain(headers), "payload": payload})


def _plain(headers: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v if isinstance(v, str | int | bool) else str(v) for k, v in headers.items()}


def _loads(payload: bytes, wire: object) -> Any:
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as quick:
        # orjson refuses lone surrogates, which are legal in JSON and do come out of models.
        try:
            return json.loads(payload.decode(), parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise PayloadError(f"The payload of a {wire} frame is not JSON: {quick}.") from quick


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def from_wire(wire: str, payload: Any) -> tuple[Event, ...]:
    """Read one event from its wire name and parsed JSON payload.

    Parameters
    ----------
    wire : str
        ``messageStart``, ``contentBlockDelta`` … or a name this version does not know.
    payload : dict
        The JSON object; it is not changed. Blobs are base64 text, as on the wire.

    Returns
    -------
    tuple of Event

    Raises
    ------
    PayloadError
        A known member is missing or has the wrong type.
    """
    shapes = _BY_WIRE.get(wire)
    if shapes is None:
        return (_of_recordings(wire, payload) or Unknown(wire, payload),)
    if type(payload) is not dict:
        raise PayloadError(
            f"The payload of a {wire} frame is a JSON {type(payload).__name__}; an object is wanted."
        )
    dug = _DUG[wire]
    rest = _copy(payload, dug)
    rest.pop(PADDING, None)
    index: dict[str, int] = {}
    if "index" in _REQUIRED[shapes[0].event]:
        if type(rest.get(INDEX)) is not int or rest[INDEX] >> 31:
            raise PayloadError(f"A {wire} frame came without a whole number {INDEX} from 0 to 2**31 - 1.")
        index = {"index": rest.pop(INDEX)}
    found = [event for shape in shapes if (event := _take(shape, rest, index)) is not None]
    left = _pruned(rest, dug)
    if left:
        # Beside a known event it goes by a name of its own: under the wire's, it would be read as a second
        # such event from a file, and be a delta without its delta for those who read boto3's dicts.
        name = f"{wire}+" if found else wire
        found.append(Unknown(name, {**({INDEX: index["index"]} if index else {}), **left}))
    if not found:
        raise PayloadError(f"A {wire} frame came with nothing in it.")
    return tuple(found)


def _of_recordings(wire: str, payload: Any) -> Event | None:
    if wire == "seam":
        match payload:
            case {"mode": str(mode), "reason": str(reason)}:
                return Seam(mode, reason)
    error = fault_from_wire(wire, payload)
    return None if error is None else StreamFault(error)


def _copy(node: dict[str, Any], dug: dict[str, Any]) -> dict[str, Any]:
    """Copy the containers that `_take` digs in, without their nulls; the rest is only passed on."""
    return {
        k: _copy(v, dug[k]) if k in dug and type(v) is dict else v for k, v in node.items() if v is not None
    }


def _take(shape: Shape, rest: dict[str, Any], index: dict[str, int]) -> Event | None:
    """Take the members of one shape out of ``rest``; None where there are none of them."""
    node: Any = rest
    for step in shape.path:
        node = _inner(shape, node, step)
        if node is None:
            return None
    empty = not node
    values: dict[str, Any] = dict(index)
    for member, (field, codec) in shape.members.items():
        *outer, name = member.split(".")
        holder = _inner(shape, node, outer[0]) if outer else node
        if holder is None or name not in holder:
            continue
        try:
            values[field] = codec.read(holder.pop(name))
        except (TypeError, ValueError) as err:
            raise PayloadError(f"In a {shape.wire} frame the member {member!r} is wrong: {err}.") from err
    required = _REQUIRED[shape.event]
    if shape.members and len(values) == len(index) and (len(required) > len(index) or not empty):
        return None
    missing = [
        name for name, (field, _) in shape.members.items() if field in required and field not in values
    ]
    if missing:
        raise PayloadError(f"A {shape.wire} frame came without its {' and '.join(missing)}.")
    event: Event = shape.event(**values)
    return event


def _inner(shape: Shape, node: dict[str, Any], step: str) -> dict[str, Any] | None:
    inner = node.get(step)
    if inner is not None and type(inner) is not dict:
        raise PayloadError(
            f"In a {shape.wire} frame the member {step!r} is wrong: dict expected, "
            f"{type(inner).__name__} found."
        )
    return inner


def _pruned(node: dict[str, Any], dug: dict[str, Any]) -> dict[str, Any]:
    """What `_take` left, without the containers that it emptied."""
    out = {k: _pruned(v, dug[k]) if k in dug else v for k, v in node.items()}
    return {k: v for k, v in out.items() if k not in dug or v}


# -- event -> wire ---------------------------------------------------------------------------------


def to_wire(event: Event) -> tuple[str, dict[str, Any]]:
    """Write one event: its wire name and JSON payload, blobs as base64. The inverse of `from_wire`.

    Raises
    ------
    RequestError
        `ToolUse` and `MessageComplete` are made by the fold and never travel.
    """
    if isinstance(event, Unknown):
        return event.type, event.payload
    if isinstance(event, StreamFault):
        return fault_to_wire(event.error)
    if isinstance(event, Seam):
        return "seam", {"mode": event.mode, "reason": event.reason}
    shape = _BY_EVENT.get(type(event))
    if shape is None:
        raise RequestError(
            f"{type(event).__name__} has no form on the wire.",
            remedy="It is made by the fold from the events before it: write those instead.",
        )
    return shape.wire, _fill(shape, event, lambda codec, value: codec.write(value))


def _fill(shape: Shape, event: Event, write: Callable[[Codec, Any], Any]) -> dict[str, Any]:
    payload: dict[str, Any] = {}
    if hasattr(event, "index"):
        payload[INDEX] = event.index
    node = payload
    for step in shape.path:
        node = node.setdefault(step, {})
    for member, (field, codec) in shape.members.items():
        value = getattr(event, field)
        if value is None:
            continue
        holder, name = node, member
        if "." in member:
            outer, name = member.split(".")
            holder = node.setdefault(outer, {})
        holder[name] = write(codec, value)
    return payload


def to_botocore(event: Event) -> dict[str, Any]:
    """The dict that boto3 yields for this event: ``{"contentBlockDelta": {…}}``, blobs as bytes."""
    shape = _BY_EVENT.get(type(event))
    if shape is None:
        wire, payload = to_wire(event)
        return {wire: payload}

    def copied(codec: Codec, value: Any) -> Any:  # whoever gets the dict may change it
        return deepcopy(list(value) if codec is ITEMS else value)

    return {shape.wire: _fill(shape, event, copied)}


def to_frame(event: Event, padding: str = "") -> Frame:
    """Write one event as a frame with Bedrock's headers; a service fault becomes an exception frame.

    Parameters
    ----------
    event : Event
    padding : str
        Value of the meaningless member ``p`` by which Bedrock varies the length of its frames.
    """
    wire, payload = to_wire(event)
    kind, named = "event", ":event-type"
    if isinstance(event, StreamFault):
        kind, named = "exception", ":exception-type"
        if isinstance(event.error, ServiceFault):
            wire, payload = event.error.code, {**event.error.fields, "message": event.error.message}
        else:
            wire = "internalServerException"
    if padding and type(payload) is dict:  # an `Unknown` may hold anything
        payload = {**payload, PADDING: padding}
    headers = {named: wire, ":content-type": "application/json", ":message-type": kind}
    return Frame(headers, _dumps(payload))


def _dumps(payload: Any) -> bytes:
    try:
        return orjson.dumps(payload)
    except TypeError:  # lone surrogates again, or a whole number beyond 64 bits
        return json.dumps(payload, separators=(",", ":")).encode("ascii")
