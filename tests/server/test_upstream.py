"""The service as a responder: a scripted upstream on a real socket, asked by a real boto3 client."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.config import Config

import bedrock_nb as nb
from bedrock_nb.errors import REFUSALS, ThrottlingFault
from bedrock_nb.events import (
    BlockStop,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    ToolUseStart,
)
from bedrock_nb.eventstream import encode
from bedrock_nb.request import Request
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.upstream import Forwarded, bedrock
from bedrock_nb.wire import to_frame
from tests.wire_server import GOOD, GOOD_TEXT, LIMIT, Answer, answer, frames_of, refusal

REQUEST = Request(prompt="hi", model="m")


@pytest.fixture
def upstream(wire, wire_clients) -> Iterator[Any]:
    """A boto3 client for the scripted upstream, no attempt repeated."""
    made = wire_clients("upstream")
    yield made
    made.close()


@pytest.fixture
def ask(upstream):
    """Send a request to the scripted upstream through a responder."""

    def send(request: Request = REQUEST, **options: Any) -> Forwarded:
        got = bedrock(upstream, **options)(request)
        assert isinstance(got, Forwarded)
        return got

    return send


# -- what is passed on -----------------------------------------------------------------------------


def test_a_whole_answer_is_passed_on_as_the_wire_had_it(wire, ask):
    """Every event of the wire comes in its order, and none that was made on this side of it."""
    wire.lay(answer(GOOD))
    got = ask()
    events = list(got)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == GOOD_TEXT
    assert len(events) == len(GOOD)
    assert not [event for event in events if isinstance(event, ToolUse | MessageComplete)]


def test_the_recording_is_that_of_the_wire(wire, ask):
    """It has the times, the envelope and the exact frames."""
    wire.lay(answer(GOOD))
    got = ask()
    list(got)
    recording = got.recording
    assert (recording.status, recording.clock) == ("complete", "wire")
    assert recording.body == b"".join(GOOD)
    assert recording.envelope["http_status"] == 200
    assert all(t > 0 for t in recording.times)


def test_the_request_arrives_as_it_was_asked(wire, ask):
    """What the upstream reads is the body of the request, and always for converse_stream."""
    wire.lay(answer(GOOD))
    asked = Request(prompt="hi", model="a.b", max_tokens=7, extra={"serviceTier": {"type": "flex"}})
    list(ask(asked))
    (sent,) = wire.requests
    assert sent.startswith(b"POST /model/a.b/converse-stream ")
    assert b'"maxTokens": 7' in sent
    assert b'"serviceTier": {"type": "flex"}' in sent


def test_options_of_stream_are_passed_on(wire, ask):
    """Another model can be asked than the one that was named, and the recording may have labels."""
    wire.lay(answer(GOOD))
    got = ask(model="another", labels={"run": 3})
    list(got)
    assert b"/model/another/" in wire.requests[0]
    assert got.recording.labels == {"run": 3}


def test_each_request_is_a_call_of_its_own(wire, upstream):
    """One responder serves several requests."""
    wire.lay(answer(GOOD), answer(GOOD))
    responder = bedrock(upstream)
    assert [len(list(responder(REQUEST))) for _ in range(2)] == [len(GOOD)] * 2


# -- before the first event ------------------------------------------------------------------------


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_comes_back_in_the_services_words(wire, ask, code):
    """Status, name and text of an HTTP error are the upstream's."""
    status = {"ServiceQuotaExceededException": 400, "ModelNotReadyException": 429}.get(code, 418)
    wire.lay(refusal(status, code, "Words of the service, account 123456789012."))
    with pytest.raises(Refusal) as caught:
        ask()
    assert (caught.value.status, caught.value.code) == (status, code)
    assert caught.value.message == "Words of the service, account 123456789012."


@pytest.mark.parametrize("code", ["UnrecognizedClientException", "NewInTheYear2031Exception"])
def test_names_that_we_do_not_know_are_passed_on(wire, ask, code):
    """A refusal needs no class of ours."""
    wire.lay(refusal(403, code, "no"))
    with pytest.raises(Refusal) as caught:
        ask()
    assert (caught.value.status, caught.value.code) == (403, code)


def test_a_gateways_error_gets_the_name_that_fits_its_status(wire, ask):
    """What has no name, or one that is only a number, is named by the status."""
    page = b"<html>Service unavailable</html>"
    head = b"HTTP/1.1 503 No\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(page)
    wire.lay(Answer([head + page]))
    with pytest.raises(Refusal) as caught:
        ask()
    assert (caught.value.status, caught.value.code) == (503, "ServiceUnavailableException")


@pytest.mark.parametrize("background", [False, True])
def test_a_refusal_is_one_in_the_background_too(wire, ask, background):
    """A reply that a thread reads tells of its refusal only when it is read."""
    wire.lay(refusal(403, "AccessDeniedException", "no"))
    with pytest.raises(Refusal) as caught:
        ask(background=background)
    assert (caught.value.status, caught.value.message) == (403, "no")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"], ids=["where a server was", "elsewhere"])
def test_no_connection_is_503(host):
    """Nobody listens: the service is not available."""
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5)
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"http://{host}:9",
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
        config=config,
    )
    with pytest.raises(Refusal) as caught:
        bedrock(client)(REQUEST)
    client.close()
    assert (caught.value.status, caught.value.code) == (503, "ServiceUnavailableException")


@pytest.mark.parametrize("ending", ["reset", "fin"])
def test_a_connection_that_breaks_before_the_first_event_is_503(wire, ask, ending):
    """A head alone is no answer."""
    wire.lay(answer([], ending=ending))
    with pytest.raises(Refusal) as caught:
        ask()
    assert (caught.value.status, caught.value.code) == (503, "ServiceUnavailableException")


def test_a_first_event_that_takes_too_long_is_408(wire, ask):
    """The time limits of stream hold here."""
    wire.lay(answer([], ending="silence"))
    with pytest.raises(Refusal) as caught:
        ask(first_event_timeout=0.05)
    assert (caught.value.status, caught.value.code) == (408, "ModelTimeoutException")
    assert wire.wait_until_open(0)


def test_what_boto3_itself_refuses_is_400(wire, ask):
    """A member that the installed boto3 does not know never leaves; the caller hears which."""
    with pytest.raises(Refusal, match="noSuchMember") as caught:
        ask(Request(prompt="hi", extra={"noSuchMember": 1}))
    assert (caught.value.status, caught.value.code) == (400, "ValidationException")
    assert wire.requests == []


def test_no_client_without_credentials(monkeypatch, tmp_path):
    """The client for AWS is made at the first request; where boto3 finds no credentials, that is 403."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_BEARER_TOKEN_BEDROCK", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    responder = bedrock()
    with pytest.raises(Refusal, match="no AWS credentials") as caught:
        responder(REQUEST)
    assert caught.value.status == 403


def test_the_client_for_aws_is_made_once(wire, monkeypatch, capsys):
    """Without a client the one of connect("aws") is asked, and nothing is printed."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", wire.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMADEUP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    wire.lay(answer(GOOD), answer(GOOD))
    responder = bedrock()
    for _ in range(2):
        got = responder(REQUEST)
        assert len(list(got)) == len(GOOD)
        got.close()
    assert wire.accepted == 1  # one pool of connections: one client
    assert capsys.readouterr().out == ""


# -- in the stream ---------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1, 7])
def test_a_fault_of_the_service_is_passed_on_as_the_last_event(wire, ask, before):
    """Also as the very first event: the head was there, so it is no HTTP error."""
    fault = StreamFault(ThrottlingFault("throttlingException", "Slow down"))
    wire.lay(answer([*GOOD[:before], encode(to_frame(fault))]))
    events = list(ask())
    assert len(events) == before + 1
    assert events[-1] == fault


@pytest.mark.parametrize("ending", ["clean", "fin", "reset"])
@pytest.mark.parametrize("events", [1, 9])
def test_an_answer_that_breaks_off_ends_where_it_broke_off(wire, ask, ending, events):
    """No fault and no messageStop is invented; the recording says that the answer is not whole."""
    wire.lay(answer(GOOD[:events], ending=ending))
    forwarded = ask()
    got = list(forwarded)
    assert len(got) == events
    assert not [event for event in got if isinstance(event, StreamFault | MessageStop)]
    assert forwarded.recording.status == "incomplete"
    assert list(forwarded) == []


def test_an_empty_body_is_an_answer_without_events(wire, ask):
    """A body that ends in good order before its first event ends here in the same way."""
    wire.lay(answer([]))
    assert list(ask()) == []


def test_a_torn_frame_ends_the_answer(wire, ask):
    """Half a frame is none."""
    wire.lay(answer(GOOD[:3], "length", "fin", cut=5))
    assert len(list(ask())) == 2


def test_broken_tool_input_is_passed_on_whole(wire, ask):
    """What a model wrote badly is an answer all the same: whoever reads it judges it."""
    tool = [
        MessageStart("assistant"),
        ToolUseStart(0, "id", "clock"),
        ToolInputDelta(0, '{"zone": '),
        BlockStop(0),
        MessageStop("tool_use"),
        Metadata({"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}),
    ]
    wire.lay(answer(frames_of(tool)))
    assert list(ask()) == tool


def test_a_silence_in_the_stream_ends_it(wire, ask):
    """A time limit that is reached in the stream ends it, without a word that the service did not say."""
    wire.lay(answer(GOOD[:4], ending="silence"))
    assert len(list(ask(idle_timeout=0.05))) == 4
    assert wire.wait_until_open(0)


# -- who goes away ---------------------------------------------------------------------------------


def test_the_first_event_is_waited_for_and_no_other(wire, upstream):
    """The responder returns with the first event, while the rest has not been sent."""
    first, more = threading.Event(), threading.Event()
    wire.lay(answer(GOOD, gates={0: first, 1: more}))
    with ThreadPoolExecutor(1) as thread:
        answered = thread.submit(bedrock(upstream), REQUEST)
        assert wire.wait_until_open(1)
        assert not answered.done()
        first.set()
        got = answered.result(LIMIT)
    assert len(got.recording) == 1
    more.set()
    assert len(list(got)) == len(GOOD)


def test_closing_breaks_the_upstream_off(wire, ask):
    """Who goes away between two events leaves no call behind."""
    never = threading.Event()
    wire.lay(answer(GOOD, gates={2: never}))
    got = ask()
    next(got)
    got.close()
    never.set()
    assert wire.wait_until_open(0)
    assert got.recording.status == "cancelled"
    got.close()


def test_closing_wakes_who_waits_for_an_event(wire, ask):
    """It works from another thread while an event is waited for: the iteration ends there."""
    never = threading.Event()
    wire.lay(answer(GOOD, gates={1: never}))
    got = ask()
    next(got)
    with ThreadPoolExecutor(1) as thread:
        rest = thread.submit(list, got)
        got.close()
        assert rest.result(LIMIT) == []
    never.set()
    assert wire.wait_until_open(0)


def test_an_answer_that_nobody_holds_is_broken_off(wire, ask):
    """Without close, too, the connection goes with the last reference."""
    never = threading.Event()
    wire.lay(answer(GOOD, gates={2: never}))
    got = ask()
    next(got)
    nb.recordings.clear()
    del got
    never.set()
    assert wire.wait_until_open(0)
