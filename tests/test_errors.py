"""errors.py: the tree that its docstring draws, the sentences, copies, and what a recording keeps."""

from __future__ import annotations

import builtins
import copy
import pickle
import re

import botocore.eventstream
import botocore.exceptions
import pytest
import urllib3.exceptions

from bedrock_nb import errors
from bedrock_nb.errors import (
    FAULTS,
    BedrockNbError,
    FrameError,
    ServiceFault,
    StreamError,
    UnmodelledFault,
    fault_from_wire,
    fault_to_wire,
    service_fault,
)
from bedrock_nb.eventstream import Frame
from tests.converse_model import EXCEPTIONS

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BedrockNbError)
}
#: The tree of the docstring: (indentation, class, whose, the class in parentheses or "").
TREE = [
    (len(indent), name, whose, foreign)
    for indent, name, whose, foreign in re.findall(
        r"^ {4}([│├└─ ]*)([A-Z]\w+)(?: +\((botocore|urllib3)? ?(\w+)\))?", str(errors.__doc__), re.M
    )
]
BOTOCORE = vars(botocore.eventstream) | vars(botocore.exceptions)
FOREIGN = {"botocore": BOTOCORE, "urllib3": vars(urllib3.exceptions), "": vars(builtins) | BOTOCORE}


def made(kind):
    """One error of a class, with something in everything that it can hold."""
    if kind is FrameError:
        return FrameError("truncated", "It ended", offset=7, frames=[Frame({"a": True}, b"x")])
    if issubclass(kind, ServiceFault):
        code = next((name for name, fault in FAULTS.items() if fault is kind), "someException")
        error = kind(code, "no room", {"originalStatusCode": 529, "code": "x", "Error": 1})
        error.kept = "All is kept."
        return error
    return kind("It broke.", kept="All is kept.", remedy="Try again.")


def told(error):
    """All that an error says, in comparable form."""
    return type(error), str(error), error.args, {k: v for k, v in vars(error).items() if k != "reply"}


EACH = [made(kind) for kind in CLASSES.values()]
IDS = list(CLASSES)


def test_the_tree_in_the_docstring_has_every_class():
    """The docstring draws each class once, under the class that it derives from."""
    assert sorted(name for _, name, _, _ in TREE) == sorted(CLASSES)
    above: list[tuple[int, str]] = []
    for indent, name, _, _ in TREE:
        above = [entry for entry in above if entry[0] < indent]
        if above:
            assert CLASSES[above[-1][1]] in CLASSES[name].__bases__, name
        above.append((indent, name))


@pytest.mark.parametrize(("name", "whose", "foreign"), [entry[1:] for entry in TREE if entry[3]])
def test_caught_as_the_class_that_users_catch_today(name, whose, foreign):
    """Who catches botocore's, urllib3's or Python's own class for a case catches ours."""
    with pytest.raises(FOREIGN[whose][foreign]) as caught:
        raise made(CLASSES[name])
    assert isinstance(caught.value, BedrockNbError)


@pytest.mark.parametrize("error", EACH, ids=IDS)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_copies_say_the_same(error, again):
    """copy.copy and pickle keep class, sentences, code, offset, frames and fields."""
    assert told(again(error)) == told(error)


def test_a_reply_is_copied_but_does_not_travel():
    """copy.copy keeps ``.reply``; pickle leaves it behind, as it holds a connection."""
    error = made(StreamError)
    error.reply = reply = object()
    assert copy.copy(error).reply is reply
    assert pickle.loads(pickle.dumps(error)).reply is None


ADVICE = "The same request may work in a moment."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BedrockNbError("It broke."), "It broke."),
        (BedrockNbError("It broke.", remedy="Try again."), "It broke. Try again."),
        (BedrockNbError("It broke.", kept="All is kept.", remedy="Try."), "It broke. All is kept. Try."),
        (FrameError("truncated", "It ended", offset=7), "It ended (frame at byte 7; rule: truncated)."),
        (service_fault("a", "No room"), f"Bedrock ended the reply with a: No room. {ADVICE}"),
        (service_fault("a", ""), f"Bedrock ended the reply with a. {ADVICE}"),
        (
            service_fault("", "Why?"),
            f"Bedrock ended the reply with an exception that has no name: Why? {ADVICE}",
        ),
    ],
)
def test_sentences(error, said):
    """str() gives what happened, what is kept and what to try, each a sentence."""
    assert str(error) == said


def test_the_faults_are_those_of_the_service_model():
    """Each in-stream exception that the installed botocore knows has a class of its own."""
    unknown = set(EXCEPTIONS) - set(FAULTS)
    assert not unknown, f"in-stream exceptions that botocore knows and errors.FAULTS does not: {unknown}"
    assert len(set(FAULTS.values())) == len(FAULTS)


def test_a_service_fault_answers_as_botocores_error_does():
    """``err.response["Error"]["Code"]``, as in code written for boto3; extra fields do not disturb it."""
    fields = {"originalStatusCode": 529, "originalMessage": "overloaded", "Error": "odd"}
    error = service_fault("modelStreamErrorException", "The model failed.", fields)
    assert isinstance(error, errors.ModelStreamFault)
    assert error.response["Error"] == {"Code": "modelStreamErrorException", "Message": "The model failed."}
    assert error.operation_name == "ConverseStream"
    assert (error.original_status_code, error.original_message) == (529, "overloaded")
    assert isinstance(service_fault("newException", ""), UnmodelledFault)


@pytest.mark.parametrize(
    "error",
    [error for error in EACH if isinstance(error, StreamError)],
    ids=lambda error: type(error).__name__,
)
def test_a_recording_keeps_an_error(error):
    """What is written of a stream error reads back as the same class with the same words."""
    again = fault_from_wire(*fault_to_wire(error))
    kind = UnmodelledFault if type(error) is ServiceFault else type(error)
    assert type(again) is kind
    for name in ("what", "remedy", "code", "offset", "message", "fields"):
        assert getattr(again, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"error": "StreamError"},
        {"error": "re"},
        {"error": "ServiceFault"},
        {"error": "FrameError", "kept": 5, "remedy": [], "message": None, "offset": "x"},
        {"code": None, "fields": 3},
    ],
)
def test_any_payload_of_a_fault_gives_an_error_that_can_be_shown(payload):
    """A file that somebody edited gives some stream error, and never another exception."""
    error = fault_from_wire("fault", payload)
    assert isinstance(error, StreamError)
    again = fault_from_wire(*fault_to_wire(error))
    assert str(again) == str(error)


def test_what_is_no_fault_is_none():
    """Other wire names, and payloads that are no object, are not errors."""
    assert fault_from_wire("contentBlockSparkle", {}) is None
    assert fault_from_wire("throttlingException", "text") is None
