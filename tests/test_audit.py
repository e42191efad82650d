"""audit.py: one line a call, for those who listen; nothing secret in it, and no call fails for it."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from datetime import UTC, datetime
from timeit import repeat
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings

import bedrock_nb as nb
from bedrock_nb.audit import log
from bedrock_nb.errors import (
    ConnectionLost,
    CredentialsError,
    FrameError,
    IncompleteStreamError,
    ServerError,
    ServiceFault,
    StreamError,
    ThrottlingError,
    ValidationError,
    refused,
    service_fault,
)
from bedrock_nb.events import StreamFault, TextDelta, ToolInputDelta, ToolUseStart
from bedrock_nb.message import Message
from bedrock_nb.recording import Recording, Unrecorded
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency
from bedrock_nb.settings import configure
from tests.recordings import any_recording, recorded, reply

MEMBERS = [
    *("time", "operation", "model", "request_id", "status", "stop_reason", "http_status"),
    *("error", "error_code", "retries"),
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"),
    *("t_headers_s", "ttft_s", "ttlt_s", "e2e_s", "duration_s", "events", "labels"),
]
CONTENT = ["request", "answer", "error_message"]

ARN = "arn:aws:sts::123456789012:assumed-role/lab/me is not authorized"
SECRETS = {
    "aws_access_key_id": "AKIAMARKEDACCESSKEY1",
    "aws_secret_access_key": "MARKED-secret-access-key",
    "aws_session_token": "MARKED-session-token",
}
BEARER = "MARKED-bearer-token"


class Log:
    """Lines as a handler wrote them."""

    def __init__(self) -> None:
        self.written = io.StringIO()

    @property
    def lines(self):
        """Each line, read as JSON: its level, its members in order."""
        rows = (row.partition(" ") for row in self.written.getvalue().splitlines())
        return [(level, json.loads(line, parse_constant=pytest.fail)) for level, _, line in rows]

    @property
    def line(self):
        """The only line."""
        ((_, line),) = self.lines
        return line


@pytest.fixture
def audit():
    """A handler on the audit log, that takes everything from INFO on."""
    kept = Log()
    logger = logging.getLogger("bedrock_nb.audit")
    handler = logging.StreamHandler(kept.written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield kept
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def unset():
    """Every test ends with nothing set."""
    yield
    configure(errors="full", audit="calls", redact=None)


@pytest.fixture(scope="module")
def server():
    with BedrockServer(latency=Latency.none()) as running:
        yield running


@pytest.fixture
def client(server, monkeypatch):
    """A client with marked credentials, in an environment with more of them."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", BEARER)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name.upper(), value)
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False)
    made = server.client(config=config, **SECRETS)
    yield made
    made.close()


def failed(error: StreamError) -> Recording:
    """A recording that this ended, after two events."""
    recording = recorded((TextDelta(0, "Hel"), 0.5), (StreamFault(error), 1.0), started=0.0)
    recording.status = "error"
    recording.mark("closed", 1.25)
    return recording


def http_error(code: str, message: str, status: int = 400) -> ClientError:
    """What boto3 raises for an answer with this error."""
    meta: Any = {
        "RequestId": "abc-2",
        "HTTPStatusCode": status,
        "RetryAttempts": 3,
        "HTTPHeaders": {"x": "y"},
    }
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta}, "Converse")


# -- the line --------------------------------------------------------------------------------------


def test_a_line_has_every_member_in_order(audit):
    """What a log reader is told of a sound reply, to the microsecond."""
    log(reply(labels={"course": "nlp", "seat": 7, "score": 0.5, "paid": True, "where": {"x": 1}}))
    ((level, line),) = audit.lines
    assert level == "INFO"
    assert list(line) == MEMBERS
    assert line == {
        "time": "2026-01-01T00:00:00.125+00:00",
        "operation": "ConverseStream",
        "model": "amazon.nova-lite-v1:0",
        "request_id": "abc-1",
        "status": "complete",
        "stop_reason": "end_turn",
        "http_status": 200,
        "error": None,
        "error_code": None,
        "retries": 1,
        "input_tokens": 9,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "output_tokens": 4,
        "t_headers_s": 0.125,
        "ttft_s": 0.5,
        "ttlt_s": 1.5,
        "e2e_s": 2.0,
        "duration_s": 2.0,
        "events": 7,
        "labels": {"course": "nlp", "seat": 7, "score": 0.5, "paid": True},
    }


@pytest.mark.parametrize("content", [False, True])
def test_what_is_not_known_is_null(audit, content):
    """A recording of nothing has every member all the same."""
    configure(audit="content" if content else "calls")
    log(Recording())
    line = audit.line
    assert list(line) == MEMBERS + CONTENT * content
    known = {"operation": "ConverseStream", "status": "streaming", "events": 0, "labels": {}}
    known |= {"request": {"system": None, "messages": None}} if content else {}
    assert {name: value for name, value in line.items() if value is not None} == known


@pytest.mark.parametrize(
    ("status", "level"),
    [("complete", "INFO"), ("cancelled", "INFO"), ("incomplete", "WARNING"), ("error", "WARNING")],
)
def test_the_level_says_whether_it_went_well(audit, status, level):
    """To cancel is no failure."""
    recording = reply()
    recording.status = status
    log(recording)
    ((found, line),) = audit.lines
    assert (found, line["status"]) == (level, status)


@given(any_recording())
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("content", ["calls", "content"])
def test_any_recording_gives_one_line_of_json(audit, content, recording):
    """Whatever models, users and files put into one, a line is strict JSON and ASCII, and is one line."""
    audit.written.seek(0)
    audit.written.truncate()
    configure(audit=content)
    log(recording)
    assert list(audit.line) == MEMBERS + CONTENT * (content == "content")
    assert audit.written.getvalue().isascii()


def test_a_reply_that_kept_no_events_is_logged(audit):
    """Its events are counted, its end and its tokens known; it has no answer to show."""
    configure(audit="content")
    recording = Unrecorded({"modelId": "m"}, started=0.0)
    for event in reply():
        recording.append(event, 1.0)
    recording.status = "complete"
    log(recording)
    line = audit.line
    assert (line["events"], line["output_tokens"], line["stop_reason"]) == (7, 4, "end_turn")
    assert (line["answer"], line["ttft_s"]) == (None, None)


@pytest.mark.parametrize(
    ("error", "name", "code", "http"),
    [
        (service_fault("throttlingException", "Slow down."), "ThrottlingFault", "throttlingException", None),
        (ValidationError("ValidationException", "No.", 400), "ValidationError", "ValidationException", 400),
        (refused(http_error("ThrottlingException", "x", 429)), "ThrottlingError", "ThrottlingException", 429),
        (IncompleteStreamError("It ended."), "IncompleteStreamError", None, None),
        (FrameError("truncated", "Too short", offset=5), "FrameError", None, None),
    ],
)
def test_an_error_is_named(audit, error, name, code, http):
    """Its class and the service's own name for it are there; its words are not."""
    log(failed(error))
    line = audit.line
    assert (line["error"], line["error_code"], line["http_status"]) == (name, code, http)
    assert "error_message" not in line
    assert (line["events"], line["duration_s"]) == (2, 1.25)


def test_a_refusal_brings_its_own_envelope(audit):
    """Where no head of a stream came, id, status and attempts are those of the error's answer."""
    log(failed(refused(http_error("AccessDeniedException", "x", 403))))
    line = audit.line
    assert (line["request_id"], line["http_status"], line["retries"]) == ("abc-2", 403, 3)


def test_what_came_of_an_answer_is_its_content(audit):
    """As far as it got; null where nothing came."""
    configure(audit="content")
    log(failed(IncompleteStreamError("It ended.")))
    log(recorded((StreamFault(IncompleteStreamError("It ended.")), 1.0)))
    said = [line["answer"] for _, line in audit.lines]
    assert said == [{"role": "assistant", "content": [{"text": "Hel"}]}, None]


def test_an_error_that_no_recording_holds_can_be_told(audit):
    """A call that was never sent has no events, and its error is known to the caller only."""
    recording = Recording({"modelId": "m"})
    recording.status = "error"
    log(recording, error=CredentialsError("There are none."))
    assert audit.line["error"] == "CredentialsError"


# -- content ---------------------------------------------------------------------------------------


def asked(*blocks: object, **others: object) -> Recording:
    """A reply to a request with these content blocks."""
    request = {"modelId": "m", "messages": [{"role": "user", "content": list(blocks)}], **others}
    return recorded((TextDelta(0, "Mr. Hello"), 0.5), request=request)


def test_content_is_logged_only_if_asked_for(audit):
    """Prompts and answers are no part of a line by default."""
    log(asked({"text": "private"}, system=[{"text": "hidden"}]))
    assert list(audit.line) == MEMBERS
    assert not re.search("private|hidden|Hello", audit.written.getvalue())


def test_content_is_prompt_system_and_answer(audit):
    """In Converse's own shape, bytes as their number; of the rest of the request there is nothing."""
    configure(audit="content")
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    log(
        asked(
            {"text": "hi"},
            image,
            system=[{"text": "Be brief."}],
            additionalModelRequestFields={"secret": "field"},
            requestMetadata={"secret": "meta"},
        )
    )
    line = audit.line
    assert list(line) == MEMBERS + CONTENT
    assert line["request"] == {
        "system": [{"text": "Be brief."}],
        "messages": [
            {
                "role": "user",
                "content": [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": {"bytes": 4}}}}],
            }
        ],
    }
    assert line["answer"] == {"role": "assistant", "content": [{"text": "Mr. Hello"}]}
    assert "secret" not in audit.written.getvalue()


def test_every_text_is_redacted(audit):
    """Whoever hides names hides them in prompts, answers, tools' input and results, and the errors' words."""
    configure(audit="content", redact=lambda text: text.replace("Ada", "***"))
    result = {"toolUseId": "t", "content": [{"json": {"Ada": ["Ada", {"of Ada": "Ada"}]}}, {"text": "Ada"}]}
    document = {"format": "txt", "name": "Ada", "source": {"text": "Ada"}}
    request = {
        "modelId": "m",
        "system": [{"text": "You help Ada."}],
        "messages": [{"role": "user", "content": [{"toolResult": result}, {"document": document}]}],
    }
    recording = recorded(
        (TextDelta(0, "Dear Ada"), 0.1),
        (ToolUseStart(1, "t", "find"), 0.2),
        (ToolInputDelta(1, '{"Ada": {"input": "Ada", "Ada": 5}}'), 0.3),
        (StreamFault(service_fault("validationException", "Ada is not valid.")), 0.4),
        request=request,
    )
    log(recording)
    line = audit.line
    assert "Ada" not in audit.written.getvalue()
    assert line["error_message"] == "*** is not valid."
    told = line["request"]["messages"][0]["content"][0]["toolResult"]["content"]
    assert told == [{"json": {"***": ["***", {"of ***": "***"}]}}, {"text": "***"}]


def test_redaction_is_not_asked_for_what_is_not_logged(audit):
    """Without content it is not called at all."""
    seen = []
    configure(redact=seen.append)
    log(reply())
    assert seen == []
    assert list(audit.line) == MEMBERS


def broken(text: str) -> str:
    raise LookupError(text)


@pytest.mark.parametrize(
    ("redact", "name"),
    [(broken, "LookupError"), (lambda text: None, "TypeError"), (lambda: "", "TypeError")],
    ids=["raises", "no text", "takes nothing"],
)
def test_what_cannot_be_redacted_is_not_logged(audit, redact, name):
    """The line goes out without content and says so, by the name of the failure alone."""
    configure(audit="content", redact=redact)
    log(asked({"text": "private"}))
    line = audit.line
    assert list(line) == [*MEMBERS, "redaction_failed"]
    assert line["redaction_failed"] == name
    assert "private" not in audit.written.getvalue()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ServiceFault("validationException", ARN), ARN.replace("123456789012", "*" * 12)),
        (ThrottlingError("ThrottlingException", "Too many.", 429), "Too many."),
        (IncompleteStreamError("It ended."), "It ended."),
        (ConnectionLost("The connection broke."), "The connection broke."),
        (service_fault("holoException", "token MARKED"), None),
        (refused(http_error("InvalidSignatureException", "x-amz-security-token:MARKED", 403)), None),
        (StreamError("boto3 could not make the call: the program printed MARKED"), None),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("masked", [False, True])
def test_words_of_an_error_are_logged_if_they_hold_no_secret(audit, error, said, masked):
    """The operator reads what the service said, without account numbers, also where users do not; words
    that may quote a signature or a credentials program are left out.
    """
    configure(audit="content")
    if masked:
        error.mask()
    log(failed(error))
    assert audit.line["error_message"] == said
    assert "MARKED" not in audit.written.getvalue()


@pytest.mark.parametrize("masked", [False, True])
def test_words_stay_out_of_lines_without_content(audit, masked):
    """They may quote the prompt."""
    configure(errors="plain" if masked else "full")
    log(failed(ServiceFault("validationException", ARN)))
    assert "authorized" not in audit.written.getvalue()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_null(audit, value):
    """A line can be read by any JSON parser."""
    configure(audit="content")
    log(recorded(labels={"x": value}, request={"messages": [{"x": value, "y": {1, 2}}]}))
    line = audit.line
    assert line["labels"] == {"x": None}
    assert line["request"]["messages"] == [{"x": None, "y": {"type": "set"}}]


# -- nobody is harmed ------------------------------------------------------------------------------


def test_what_goes_wrong_is_said_and_not_raised(audit):
    """A line that cannot be made leaves one that names the type of the failure, and nothing of its words."""
    recording = reply()
    recording.started = 1e30
    log(recording)
    ((level, line),) = audit.lines
    assert level == "WARNING"
    assert line in ({"audit_failed": "ValueError"}, {"audit_failed": "OverflowError"})


@pytest.mark.parametrize("times", [1, 2])
def test_a_handler_that_fails_harms_no_call(audit, times):
    """Once, and the failure is logged; always, and there is nobody left to tell."""
    left = [OSError("disk full")] * times

    class Failing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if left:
                raise left.pop()

    handler = Failing()
    logger = logging.getLogger("bedrock_nb.audit")
    logger.addHandler(handler)
    try:
        log(reply())
    finally:
        logger.removeHandler(handler)
    assert audit.lines[-1] == ("WARNING", {"audit_failed": "OSError"})


def test_an_interrupt_is_not_swallowed(audit):
    """Ctrl-C in a slow redaction is for the user's loop."""

    def slow(text: str) -> str:
        raise KeyboardInterrupt

    configure(audit="content", redact=slow)
    with pytest.raises(KeyboardInterrupt):
        log(asked({"text": "hi"}))


@pytest.mark.parametrize("setting_up", ["", "logging.basicConfig(level='ERROR')"])
def test_nothing_is_printed_unless_somebody_listens(setting_up):
    """A failed call leaves no line on a notebook's stderr."""
    code = (
        f"import logging; {setting_up}\nfrom bedrock_nb.audit import log\n"
        "from bedrock_nb.recording import Recording\nr = Recording(); r.status = 'error'; log(r)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_costs_next_to_nothing_if_nobody_listens():
    """No line is made: below 5 µs a reply (measured 0.3), where a line takes 36."""
    recording = reply()
    assert not logging.getLogger("bedrock_nb.audit").isEnabledFor(logging.INFO)
    assert min(repeat(lambda: log(recording), number=1000, repeat=5)) / 1000 < 5e-6


# -- real calls ------------------------------------------------------------------------------------


def test_send_leaves_a_line(audit, client):
    """A plain call of a real client: tokens, ids and times of this very call."""
    before = datetime.now(UTC).timestamp()
    answer = Request("m", "Count to 3").send(client)
    line = audit.line
    assert isinstance(answer, Message)
    assert (line["operation"], line["model"], line["status"]) == ("Converse", "m", "complete")
    assert (line["http_status"], line["retries"], line["error"]) == (200, 0, None)
    assert line["input_tokens"] > 0
    assert line["output_tokens"] > 0
    assert re.fullmatch("[0-9a-f-]{36}", line["request_id"])
    assert abs(datetime.fromisoformat(line["time"]).timestamp() - before) < 60
    assert 0 < line["duration_s"] < 60


WRONG = Request("m", messages=[{"role": "assistant", "content": [{"text": "me first"}]}])


@pytest.mark.parametrize("plain", [False, True], ids=["full", "plain"])
def test_a_refusal_of_send_is_one_of_ours(audit, client, plain):
    """It has a class of our tree, is caught as boto3's own, and says no more than the settings let it."""
    configure(errors="plain" if plain else "full", audit="content")
    with pytest.raises(ValidationError) as caught:
        WRONG.send(client)
    error = caught.value
    assert isinstance(error, client.exceptions.ValidationException)
    assert isinstance(error.original, ClientError)
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert error.__suppress_context__
    assert (error.message in str(error)) is not plain
    ((level, line),) = audit.lines
    assert (level, line["status"], line["error"]) == ("WARNING", "error", "ValidationError")
    assert (line["error_code"], line["http_status"]) == ("ValidationException", 400)
    assert (line["request_id"], line["error_message"]) == (error.request_id, error.message)


def test_send_that_finds_nobody_leaves_a_line(audit):
    """That there is no server any more is said, and logged."""
    with BedrockServer(latency=Latency.none()) as gone:
        client = gone.client(config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ServerError):
        Request("m", "hi").send(client)
    assert (audit.line["operation"], audit.line["error"]) == ("Converse", "ServerError")
    client.close()


def test_a_stream_leaves_one_line(audit, client):
    """When the reply has ended, with what its recording holds."""
    answer = nb.stream(client, "Count to 3", model="m")
    assert audit.lines == []
    answer.drain()
    line = audit.line
    assert (line["operation"], line["status"], line["events"]) == (
        "ConverseStream",
        "complete",
        len(answer.recording),
    )
    assert line["request_id"] == answer.recording.envelope["request_id"]


@pytest.mark.parametrize("ask", ["send", "stream", "refused", "refused stream"])
def test_no_credential_gets_into_a_line(audit, client, ask):
    """Key, secret, session token and bearer token of client and environment are nowhere in the log."""
    configure(audit="content")
    request = WRONG if ask.startswith("refused") else Request("m", "Count to 3")
    try:
        if "stream" in ask:
            request.stream(client).drain()
        else:
            request.send(client)
    except ValidationError:
        assert ask.startswith("refused")
    (level, line) = audit.lines[-1]
    assert level == ("WARNING" if ask.startswith("refused") else "INFO")
    assert line["request"]["messages"]
    for secret in (*SECRETS.values(), BEARER, "MARKED", "AWS4-HMAC", "Authorization", "Signature"):
        assert secret not in audit.written.getvalue()
