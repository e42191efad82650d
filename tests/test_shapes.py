"""shapes.py: the table against the events, and against the installed botocore's service model (drift)."""

from __future__ import annotations

import copy
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import botocore
import pytest

from bedrock_nb.events import Event, MessageComplete, Seam, StreamFault, ToolUse, Unknown
from bedrock_nb.shapes import INDEX, SHAPES
from bedrock_nb.wire import from_wire, to_wire
from tests.converse_model import EXCEPTIONS, SAMPLE_IDS, SAMPLES, STREAM, members, samples

#: Every member of the stream that somebody has looked at, opaque parts included: "path type" a line.
SEEN = Path(__file__).parent / "data" / "converse_stream_members.txt"
NO_ROW = {ToolUse, MessageComplete, Seam, StreamFault, Unknown}
WHAT_TO_DO = (
    "Type them (a class in events.py, a row in shapes.py) or leave them opaque, "
    f"then add their lines to tests/data/{SEEN.name}."
)


def paths(node, path):
    """The paths of the leaves below a node."""
    if not isinstance(node, dict) or not node:
        return [path]
    return [leaf for name, value in node.items() for leaf in paths(value, f"{path}.{name}")]


def untyped(wire, payload):
    """The members of a payload that no row of the table reads."""
    rest = [event for event in from_wire(wire, payload) if isinstance(event, Unknown)]
    return [
        leaf
        for event in rest
        for leaf in paths({k: v for k, v in event.payload.items() if k != INDEX}, event.type.rstrip("+"))
    ]


# -- the table and the events ----------------------------------------------------------------------


def test_each_event_of_the_wire_has_one_row():
    """Every class of the union but those that never travel as JSON of their own has its row."""
    assert sorted(shape.event.__name__ for shape in SHAPES) == sorted(
        kind.__name__ for kind in set(get_args(Event)) - NO_ROW
    )


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.event.__name__)
def test_a_row_fills_every_field(shape):
    """A row names each field of its class once, and paths that the service model has."""
    named = [field for field, _ in shape.members.values()]
    assert named == [field.name for field in fields(shape.event) if field.name != "index"]
    known = {path for path, _ in members(STREAM)}
    for member in shape.members:
        assert ".".join((shape.wire, *shape.path, member)) in known


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.event.__name__)
def test_what_the_model_requires_has_no_default(shape):
    """A field without a default is a required member of the service model, or the only one of a union."""
    node = STREAM.members[shape.wire]
    for step in shape.path:
        node = node.members[step]
    needed = {field.name for field in fields(shape.event) if field.default is MISSING} - {"index"}
    every = {field: member for member, (field, _) in shape.members.items()}
    assert needed == {
        field for field in every if node.is_tagged_union or every[field] in node.required_members
    }


@pytest.mark.parametrize("value", [5, 5.0, True, "not base64!", [], [5], {}, {"bytes": 5}, {"bytes": "%"}])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.event.__name__)
def test_a_codec_reads_what_it_writes_or_refuses(shape, value):
    """A codec either refuses a value, with TypeError or ValueError, or gives it back the same."""
    for _, codec in shape.members.values():
        try:
            read = codec.read(copy.deepcopy(value))
        except (TypeError, ValueError):
            continue
        assert codec.write(read) == value


# -- drift -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("wire", "payload"), SAMPLES, ids=SAMPLE_IDS)
def test_every_member_that_botocore_knows_is_read_and_written(wire, payload):
    """A payload with every member of the model filled gives one typed event, and that gives it back."""
    before = copy.deepcopy(payload)
    new = untyped(wire, payload)
    assert not new, f"botocore {botocore.__version__} knows members that no row reads: {new}. {WHAT_TO_DO}"
    (event,) = from_wire(wire, payload)
    assert to_wire(event) == (wire, before)
    assert payload == before, "from_wire changed what it read"


@pytest.mark.parametrize("wire", EXCEPTIONS)
def test_every_exception_that_botocore_knows_is_read_and_written(wire):
    """In-stream exceptions come back with every field of the model."""
    (payload,) = samples(STREAM.members[wire])
    (event,) = from_wire(wire, payload)
    assert isinstance(event, StreamFault)
    assert to_wire(event) == (wire, payload)


def test_every_member_that_botocore_knows_was_looked_at():
    """A member that AWS has added anywhere, opaque parts included, is named; one it lacks is no matter."""
    seen = set(SEEN.read_text(encoding="utf-8").splitlines())
    new = [line for line in (f"{path} {kind}" for path, kind in members(STREAM)) if line not in seen]
    assert not new, f"botocore {botocore.__version__} has new members: {new}. {WHAT_TO_DO}"


@pytest.mark.parametrize(
    ("wire", "payload", "named"),
    [
        ("sparkle", {"glitter": True}, ["sparkle.glitter"]),
        ("contentBlockDelta", {"delta": {"hologram": {"x": 1}}}, ["contentBlockDelta.delta.hologram.x"]),
        ("contentBlockDelta", {"delta": {"hologram": {}}}, ["contentBlockDelta.delta.hologram"]),
        (
            "contentBlockStart",
            {"start": {"toolUse": {"toolUseId": "1", "name": "n", "colour": "red"}}},
            ["contentBlockStart.start.toolUse.colour"],
        ),
        ("messageStop", {"stopReason": "end_turn", "mood": "good"}, ["messageStop.mood"]),
        ("metadata", {"usage": {}, "metrics": {"latencyMs": 1, "ttftMs": 2}}, ["metadata.metrics.ttftMs"]),
    ],
)
def test_the_drift_test_would_name_the_member(wire, payload, named):
    """The walk above is not blind: what has no row comes out with its path."""
    assert untyped(wire, {INDEX: 0, **payload} if "Block" in wire else payload) == named
