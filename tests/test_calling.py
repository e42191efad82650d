"""calling.py: a call from before its head, refused, retried, cut; and what a reply keeps of it."""

from __future__ import annotations

import threading
from typing import Any

import botocore.exceptions
import pytest
import urllib3.exceptions
from botocore.config import Config

import bedrock_nb as nb
from bedrock_nb import errors
from bedrock_nb.asked import Keeping
from bedrock_nb.calling import Calling, backoff
from bedrock_nb.errors import (
    ConnectionFailed,
    ConnectionLost,
    RequestError,
    ServerError,
    StreamError,
    ThrottlingFault,
    TotalTimeout,
)
from bedrock_nb.events import MessageStart, StreamFault, TextDelta
from bedrock_nb.reply import Reply
from bedrock_nb.server import loopback_client
from tests.chatting import wait_for
from tests.wire_server import GOOD, GOOD_TEXT, LIMIT, Answer, answer, ask, frames_of, refusal

THROTTLED = StreamFault(errors.service_fault("throttlingException", "Too many tokens."))
UNAVAILABLE = StreamFault(errors.service_fault("serviceUnavailableException", "No room."))
FAILED = StreamFault(errors.service_fault("modelStreamErrorException", "It broke."))
START = MessageStart("assistant")


def at_once(client, retries):
    """A reply whose retries are not paused for."""
    calling = Calling(client, ask(), retries=retries, pause=lambda attempt: 0.0)
    return Reply.from_source(calling, Keeping())


# -- refused ---------------------------------------------------------------------------------------

REFUSED = [
    (400, "ValidationException", errors.ValidationError, False),
    (400, "ServiceQuotaExceededException", errors.ServiceQuotaExceededError, False),
    (403, "AccessDeniedException", errors.AccessDeniedError, False),
    (404, "ResourceNotFoundException", errors.ResourceNotFoundError, False),
    (408, "ModelTimeoutException", errors.ModelTimeoutError, True),
    (424, "ModelErrorException", errors.ModelError, True),
    (429, "ThrottlingException", errors.ThrottlingError, True),
    (429, "ModelNotReadyException", errors.ModelNotReadyError, True),
    (500, "InternalServerException", errors.InternalServerError, True),
    (503, "ServiceUnavailableException", errors.ServiceUnavailableError, True),
    (418, "TeapotException", errors.RefusedError, False),
]


@pytest.mark.parametrize(("status", "code", "kind", "retryable"), REFUSED)
@pytest.mark.parametrize("background", [False, True])
def test_a_refused_request(wire, client, recordings, status, code, kind, retryable, background):
    """A class of its own, caught as boto3's, with a reply that says so and the recording of it."""
    wire.lay(refusal(status, code, "Because."))
    with pytest.raises(kind) as caught:
        nb.stream(client, "hi", background=background).drain()
    error: Any = caught.value
    for theirs in (botocore.exceptions.ClientError, getattr(client.exceptions, code, Exception)):
        assert isinstance(error, theirs)
    assert (error.response["Error"]["Code"], error.message) == (code, "Because.")
    assert (error.status_code, error.retryable, error.operation_name) == (status, retryable, "ConverseStream")
    assert isinstance(error.original, botocore.exceptions.ClientError)
    assert error.reply is None or error.reply.status == "error"
    (recording,) = recordings
    assert recording.status == "error"
    assert [type(event) for event in recording] == [StreamFault]
    assert recording.envelope["http_status"] == status
    assert {"sent", "headers", "closed"} <= recording.marks.keys()


@pytest.mark.parametrize("how", [{"errors": "plain"}, {}])
def test_masked_errors_hold_nothing_of_the_provider(wire, client, configured, how):
    """By argument or for the whole process: not in the text, not in the cause; the attributes keep all."""
    configured(errors="full" if how else "plain")
    wire.lay(refusal(403, "AccessDeniedException", "arn:aws:sts::123456789012:role/x lacks it"))
    wire.lay(answer([*GOOD[:5], *frames_of([FAILED])]))
    caught: list[Any] = []
    for _ in range(2):
        with pytest.raises(StreamError) as each:
            nb.stream(client, "hi", **how).drain()
        caught.append(each.value)
    refused, failed = caught
    for error, word in ((refused, "lacks it"), (failed, "It broke.")):
        assert word not in str(error)
        assert error.__cause__ is None
        assert word in error.message
    assert "What came is kept" in str(failed)
    assert failed.reply.recording.error is failed


# -- before there is a connection ------------------------------------------------------------------


def test_no_connection(monkeypatch):
    """Caught as boto3's own class; the embedded server that has gone away is an error of its own."""
    client = loopback_client("http://127.0.0.1:9", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ServerError, match="gone away"):
        nb.stream(client, "hi")
    monkeypatch.setattr("bedrock_nb.calling._is_loopback", lambda client: False)
    with pytest.raises(botocore.exceptions.EndpointConnectionError) as caught:
        nb.stream(client, "hi")
    assert isinstance(caught.value, ConnectionFailed)
    assert caught.value.reply.status == "error"


@pytest.mark.parametrize("ending", ["fin", "reset"])
def test_a_connection_that_breaks_before_the_head(wire, client, ending):
    """Caught as botocore's class for it; a cut in the middle of a reply is urllib3's, and ours are both."""
    wire.lay(Answer([b"HTTP/1.1 2"], ending))
    with pytest.raises(botocore.exceptions.ConnectionClosedError) as caught:
        nb.stream(client, "hi")
    assert isinstance(caught.value, ConnectionLost)
    assert isinstance(caught.value, urllib3.exceptions.ProtocolError)
    assert caught.value.reply.status == "incomplete"


def test_a_request_that_boto3_refuses_was_never_sent(wire, client, recordings):
    """It is no reply: nothing is recorded."""
    with pytest.raises(botocore.exceptions.ParamValidationError) as caught:
        nb.stream(client, [{"role": "user", "content": [{"text": 3}]}])
    assert isinstance(caught.value, RequestError)
    assert (list(recordings), wire.requests) == ([], [])


# -- retries ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [[THROTTLED], [UNAVAILABLE], [START, THROTTLED]],
    ids=["throttled", "unavailable", "after the start"],
)
@pytest.mark.parametrize("framing", ["event", "close"])
def test_what_showed_nothing_is_asked_again(wire, client, first, framing):
    """Only the whole reply is seen; that there were attempts, when, and why, is in the recording."""
    wire.lay(answer(frames_of(first), framing), answer(frames_of(first), framing), answer(GOOD, framing))
    reply = at_once(client, retries=2).drain()
    assert reply.text == GOOD_TEXT
    assert len(reply.recording) == len(list(reply.frames())) == len(GOOD)
    code = first[-1].error.code
    assert [each["code"] for each in reply.envelope["retried"]] == [code, code]
    assert reply.metrics["retries"] == 2
    assert reply.metrics["retry_s"] > 0
    marks = reply.recording.marks
    assert marks["sent 1"] < marks[f"{code} 1"] < marks["sent 2"] < marks[f"{code} 2"] < marks["sent"]
    assert {"sent 1", f"{code} 1"} <= set(nb.events(reply).type)


def test_retries_are_opt_in_and_counted(wire, client):
    """Without them the fault is raised at once; with one too few, after the last."""
    wire.lay(answer(frames_of([THROTTLED])))
    with pytest.raises(ThrottlingFault):
        nb.stream(client, "hi").drain()
    wire.lay(*[answer(frames_of([THROTTLED]))] * 2)
    with pytest.raises(ThrottlingFault) as caught:
        at_once(client, retries=1).drain()
    assert len(wire.requests) == 3
    assert caught.value.reply.status == "error"


@pytest.mark.parametrize(
    "sent",
    [
        [START, TextDelta(0, "a"), THROTTLED],
        [START, TextDelta(0, ""), THROTTLED],
        [START, FAILED],
        [START],
    ],
    ids=["after text", "after a block began", "another fault", "cut"],
)
def test_nothing_is_asked_twice_that_showed_something_or_failed_otherwise(wire, client, sent):
    """What came is handed out, then the error."""
    wire.lay(answer(frames_of(sent)))
    reply = at_once(client, retries=5)
    seen = []
    with pytest.raises(StreamError):
        reply.map(seen.append)
    assert seen[: len(sent)] == sent
    assert len(wire.requests) == 1


def test_a_reply_can_be_stopped_between_attempts(wire, client):
    """Stop and limits reach the pause too."""
    wire.lay(answer(frames_of([THROTTLED])))
    waiting = threading.Event()

    def pause(attempt: int) -> float:
        waiting.set()
        return LIMIT

    calling = Calling(client, ask(), retries=1, pause=pause)
    reply = Reply.from_source(calling, Keeping(background=True))
    assert waiting.wait(LIMIT)
    reply.cancel()
    assert list(reply) == []
    assert reply.status == "cancelled"
    wire.lay(answer(frames_of([THROTTLED])))
    limits = nb.Timeouts(total=0.2)
    with pytest.raises(TotalTimeout):
        Reply.from_source(Calling(client, ask(), limits, retries=1, pause=pause), Keeping()).drain()


def test_the_pauses_grow_and_differ():
    """Random below 1, 2, 4 … seconds, 20 at most."""
    for attempt in range(1, 9):
        most = min(20.0, 2.0 ** (attempt - 1))
        pauses = [backoff(attempt) for _ in range(200)]
        assert most / 2 < max(pauses) <= most
        assert len(set(pauses)) > 100


def test_boto3s_own_attempts_are_in_the_recording(wire, wire_clients):
    """When each was sent, and what the ones before the last cost."""
    client = wire_clients("standard", retries={"total_max_attempts": 3, "mode": "standard"})
    wire.lay(*[refusal(503, "ServiceUnavailableException", "no")] * 2, answer(GOOD))
    reply = nb.stream(client, "hi").drain()
    client.close()
    marks = reply.recording.marks
    assert marks["sent 1"] < marks["sent 2"] < marks["sent"]
    assert reply.metrics["retries"] == 2
    assert reply.metrics["retry_s"] == pytest.approx(marks["sent"] - marks["sent 1"])


@pytest.mark.parametrize(
    ("first", "sent"),
    [(None, 0), (Answer([], "silence"), 1)],
    ids=["before the connection", "before the head"],
)
@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_boto3_does_not_send_again_what_was_given_up(wire, wire_clients, mode, first, sent):
    """To boto3 its connection broke, which it would try again; the next answer is for the next call."""
    client = wire_clients(mode, retries={"total_max_attempts": 3, "mode": mode})
    wire.lay(*filter(None, [first]))
    before = set(threading.enumerate())
    made = None if sent else Reply.cancel
    reply = Reply.from_source(Calling(client, ask()), Keeping(background=True), made)
    wait_for(lambda: len(wire.requests) == sent)
    reply.cancel()
    assert reply.drain().status == "cancelled"
    for thread in set(threading.enumerate()) - before:
        if thread.name == "bedrock_nb.call":  # it ends when boto3 tries no more
            thread.join(LIMIT)
    wire.lay(answer(GOOD))
    assert nb.stream(client, "hi").text == GOOD_TEXT
    assert len(wire.requests) == sent + 1
    client.close()


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "2"])
def test_a_wrong_number_of_retries_is_refused(client, wrong):
    """Before anything is sent."""
    with pytest.raises(RequestError, match="retries is"):
        nb.stream(client, "hi", retries=wrong)


def test_a_call_that_is_given_up_leaves_the_connections_of_others_alone(wire, client):
    """Between two attempts of boto3 its connection is in the pool, and may serve another call by then."""
    calling = Calling(client, ask())
    wire.lay(answer(GOOD), answer(GOOD[:5], ending="silence"))
    Reply.from_source(calling, Keeping()).drain()
    other = nb.stream(client, "hi")
    assert other.next_event() == START
    connection = other._source.call.serving
    calling.call.serving._connection = calling.call.serving._connection or connection._connection
    calling.call.serving.abandon()
    for _ in range(4):
        assert other.next_event() is not None
    assert (other.status, wire.accepted) == ("streaming", 1)
    other.cancel()


def test_a_retry_begins_its_limits_anew(wire, client):
    """The fault of an attempt that was given up is no event that others must follow."""
    wire.lay(answer(frames_of([THROTTLED])), answer(GOOD))
    limits = nb.Timeouts(first_event=LIMIT, idle=0.1)
    calling = Calling(client, ask(), limits, retries=1, pause=lambda attempt: 0.3)
    assert Reply.from_source(calling, Keeping()).drain().status == "complete"
    wire.lay(*[answer(frames_of([THROTTLED]))] * 9)
    limits = nb.Timeouts(first_event=0.4)
    calling = Calling(client, ask(), limits, retries=9, pause=lambda attempt: 0.15)
    with pytest.raises(errors.FirstEventTimeout):
        Reply.from_source(calling, Keeping()).drain()


def test_a_limit_says_what_boto3_was_told(wire, wire_clients):
    """Where its own attempts used the time up."""
    client = wire_clients("stubborn", retries={"total_max_attempts": 50, "mode": "standard"})
    wire.lay(*[refusal(429, "ThrottlingException", "Slow down.")] * 50)
    with pytest.raises(errors.FirstEventTimeout, match="had answered 429, and boto3 tried again"):
        nb.stream(client, "hi", first_event_timeout=0.5)
    client.close()


def test_a_watched_loop_breaks_as_ever_when_errors_are_masked(wire, watched, configured):
    """What boto3 raises is the loop's own business."""
    configured(errors="plain")
    wire.lay(answer(GOOD[:5], ending="reset"))
    with pytest.raises(urllib3.exceptions.ProtocolError):
        list(watched.converse_stream(**ask())["stream"])
