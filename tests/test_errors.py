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
    REFUSALS,
    BedrockNbError,
    FrameError,
    RefusedError,
    ServiceError,
    ServiceFault,
    StreamError,
    StreamTimeout,
    UnmodelledFault,
    also,
    fault_from_wire,
    fault_to_wire,
    refused,
    service_fault,
)
from bedrock_nb.eventstream import Frame
from tests.converse_model import EXCEPTIONS, HTTP_ERRORS

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, BedrockNbError)
}
#: The tree of the docstring: (indentation, class, the classes in parentheses).
TREE = [
    (len(indent), name, [other.rpartition(" ")[::2] for other in others.split(", ") if other])
    for indent, name, others in re.findall(
        r"^ {4}([│├└─ ]*)([A-Z]\w+)(?: +\(([^)]+)\))?", str(errors.__doc__), re.M
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
        error = kind(code, "all lanes closed", {"originalStatusCode": 529, "code": "x", "Error": 1})
        error.kept = "All is kept."
        return error
    if issubclass(kind, RefusedError):
        return kind("SomeException", "not you", 403, {"ResponseMetadata": {"RequestId": "r-1"}})
    if kind is ServiceError:
        return kind("Bedrock said", "SomeException", "not you")
    return kind("It broke.", kept="All is kept.", remedy="Try again.")


def told(error):
    """All that an error says, in comparable form."""
    return type(error), str(error), error.args, {k: v for k, v in vars(error).items() if k != "reply"}


EACH = [made(kind) for kind in CLASSES.values()]
IDS = list(CLASSES)


def test_the_tree_in_the_docstring_has_every_class():
    """The docstring draws each class once, under the class that it derives from."""
    assert sorted(name for _, name, _ in TREE) == sorted(CLASSES)
    above: list[tuple[int, str]] = []
    for indent, name, _ in TREE:
        above = [entry for entry in above if entry[0] < indent]
        if above:
            assert CLASSES[above[-1][1]] in CLASSES[name].__bases__, name
        above.append((indent, name))


@pytest.mark.parametrize(
    ("name", "whose", "foreign"), [(name, *other) for _, name, others in TREE for other in others]
)
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


FAULT = "internalServerException"
ADVICE = "The same request may work in a moment."


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BedrockNbError("It broke."), "It broke."),
        (BedrockNbError("It broke.", remedy="Try again."), "It broke. Try again."),
        (BedrockNbError("It broke.", kept="All is kept.", remedy="Try."), "It broke. All is kept. Try."),
        (
            FrameError("truncated", "It ended", offset=7),
            (
                "It ended (frame at byte 7; rule: truncated). Ask again; if it happens often, something "
                "between here and the service changes bytes."
            ),
        ),
        (service_fault(FAULT, "No room"), f"Bedrock ended the reply with {FAULT}: No room. {ADVICE}"),
        (service_fault(FAULT, ""), f"Bedrock ended the reply with {FAULT}. {ADVICE}"),
        (
            service_fault("", "Why?"),
            (
                "Bedrock ended the reply with an exception that has no name: Why? "
                "Its name is new to this version: AWS's documentation of ConverseStream may know it."
            ),
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
    kind = {ServiceFault: UnmodelledFault, ServiceError: StreamError}.get(type(error), type(error))
    assert type(again) is kind
    if type(error) in (ServiceFault, ServiceError):  # what stands above those that there are
        return
    for name in ("what", "remedy", "code", "offset", "message", "fields", "status_code", "limit_s"):
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


# -- HTTP errors -----------------------------------------------------------------------------------


class ThrottlingException(botocore.exceptions.ClientError):
    """As a client makes them of its service model."""


def http_error(code, status, message="Too many tokens.", kind=ThrottlingException):
    """What botocore raises for an HTTP error."""
    response = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "r-7"},
    }
    return kind(response, "ConverseStream")


@pytest.mark.parametrize(("code", "kind"), REFUSALS.items())
def test_an_http_error_gets_the_class_of_its_code(code, kind):
    """Bedrock's own name decides, whatever the status."""
    error = refused(http_error(code, 418))
    assert isinstance(error, kind)
    assert (error.code, error.status_code, error.request_id) == (code, 418, "r-7")


@pytest.mark.parametrize("status", [400, 403, 404, 408, 424, 429, 500, 503])
def test_an_http_error_without_a_known_code_goes_by_its_status(status):
    """A gateway between answers with a status alone."""
    error = refused(http_error("Weird", status))
    assert type(error).__name__ in {kind.__name__ for kind in REFUSALS.values()}
    assert type(refused(http_error("Weird", 418))).__mro__[1] is RefusedError


def test_an_http_error_is_caught_as_the_clients_own_class():
    """``except client.exceptions.ThrottlingException`` goes on working; copies travel as ours."""
    error = refused(http_error("ThrottlingException", 429))
    assert isinstance(error, ThrottlingException)
    assert isinstance(error, errors.ThrottlingError)
    assert error.retryable
    assert type(pickle.loads(pickle.dumps(error))) is errors.ThrottlingError
    assert also(type(error), ThrottlingException) is type(error)


def test_the_refusals_are_those_of_the_service_model():
    """Each HTTP error that the installed botocore's ConverseStream declares has a class of its own."""
    assert set(HTTP_ERRORS) - set(REFUSALS) == set()


ARN = "User: arn:aws:sts::123456789012:assumed-role/Teacher/ann is not authorized"


@pytest.mark.parametrize(
    "error",
    [refused(http_error("AccessDeniedException", 403, ARN)), service_fault("validationException", ARN)],
)
def test_no_account_number_in_a_text(error):
    """A traceback in a notebook, and a recording, show no account; the attributes have every word."""
    assert "123456789012" not in str(error) + repr(error.args) + repr(fault_to_wire(error))
    assert "assumed-role/Teacher" in str(error)
    assert error.message == error.response["Error"]["Message"] == ARN


@pytest.mark.parametrize(
    "error", [error for error in EACH if isinstance(error, ServiceError)], ids=lambda e: type(e).__name__
)
def test_masked_errors_say_nothing_of_the_provider(error):
    """After mask() the sentences are ours alone, and no cause is shown; attributes keep all."""
    masked = copy.copy(error)
    masked.__cause__ = ValueError("inner")
    masked.mask()
    assert masked.__cause__ is None
    assert masked.__suppress_context__
    for word in (error.message, error.code):
        assert word not in str(masked)
    assert masked.message == error.message


def test_a_time_limit_reads_back():
    """The limit that was reached is kept in a recording."""
    error = errors.IdleTimeout("No whole event came for 2 s.", remedy="Wait longer.")
    error.limit_s = 2.0
    again = fault_from_wire(*fault_to_wire(error))
    assert isinstance(again, StreamTimeout)
    assert (type(again), again.limit_s, str(again)) == (type(error), 2.0, str(error))


@pytest.mark.parametrize(
    ("name", "names", "asked"),
    [
        ("ttft", ["model", "ttft_s"], "Did you mean ttft_s? "),
        ("LAW", ["law", 5, None], "Did you mean law? "),
        ("speed", ["model", "ttft_s"], ""),
        (5, ["5"], ""),
        ("x" * 10**6, ["x" * 90], ""),
        ("law", [], ""),
    ],
)
def test_a_slip_of_the_finger_has_a_nearest_name(name, names, asked):
    """Whatever the case; nothing where no name is like it, or what was given is none."""
    assert errors.close(name, names) == asked


@pytest.mark.parametrize(
    ("thing", "kind"), [(5, "An int"), ("", "A str"), ({}, "A dict"), (None, "A NoneType")]
)
def test_what_was_given_is_named_in_grammar(thing, kind):
    """As the beginning of a sentence."""
    assert errors.kind_of(thing) == kind
