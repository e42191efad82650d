"""events.py: frozen, slotted values, all of them in the union, and the stop reasons of the service model."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from typing import get_args

import pytest

from bedrock_nb.errors import IncompleteStreamError, StreamError, service_fault
from bedrock_nb.events import CONTENT, STOP_REASONS, Event, MessageComplete, StreamFault
from bedrock_nb.message import Message, TextBlock
from tests.converse_model import SERVICE

events = sys.modules[MessageComplete.__module__]  # bedrock_nb.events is also the name of a public function
CLASSES: list = [kind for kind in vars(events).values() if dataclasses.is_dataclass(kind)]
VALUES = {"index": 1, "data": b"\x00", "content": ({"text": "a"},), "payload": [None], "latency_ms": 5}


def made(kind):
    """One event of a class, all fields filled."""
    values = {
        field.name: VALUES.get(field.name, {"a": 1} if "dict" in str(field.type) else "text")
        for field in dataclasses.fields(kind)
    }
    if kind is MessageComplete:
        values = {"message": Message("assistant", (TextBlock("a"),))}
    if kind is StreamFault:
        values = {"error": service_fault("throttlingException", "slow down")}
    return kind(**values)


def test_the_union_has_every_event():
    """``match`` ending in ``assert_never`` makes a type checker list every class of the module."""
    assert set(get_args(Event)) == set(CLASSES)
    assert {kind.__name__ for kind in CLASSES} < set(events.__all__)
    assert set(CONTENT) < set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_events_are_values(kind):
    """Frozen, without a ``__dict__``, equal by value, the same after copy and pickle, readable as text."""
    event = made(kind)
    assert not hasattr(event, "__dict__")
    name = dataclasses.fields(kind)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, name, None)
    assert event == made(kind) == copy.copy(event) == pickle.loads(pickle.dumps(event))
    assert repr(event).startswith(f"{kind.__name__}({name}=")


def test_two_faults_are_equal_if_they_say_the_same():
    """Exceptions compare by identity; recordings that hold them compare by what they say."""
    fault = StreamFault(StreamError("It broke."))
    assert fault == StreamFault(StreamError("It broke."))
    assert hash(fault) == hash(StreamFault(StreamError("It broke.")))
    assert fault == StreamFault(StreamError("It broke.", kept="3 events."))
    assert fault != StreamFault(IncompleteStreamError("It broke."))
    assert fault != "It broke."


def test_the_stop_reasons_are_those_of_the_service_model():
    """Each reason that the installed botocore knows is listed, in its order."""
    known = tuple(SERVICE.shape_for("StopReason").enum)
    unknown = set(known) - set(STOP_REASONS)
    assert not unknown, f"stop reasons that botocore knows and events.STOP_REASONS does not: {unknown}"
    assert tuple(reason for reason in STOP_REASONS if reason in known) == known
