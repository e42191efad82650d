"""The audit log: one line of JSON for each call, on the standard logger ``bedrock_nb.audit``.

Strategy: a line is made of an allow-list of members, so no header and no credential can get into it, and it
is made only if somebody listens. Prompts and answers are in it only where `settings` say so, and then each of
their texts has gone through the user's own redaction; where that fails, the line goes out without them.
Nothing that goes wrong here reaches the call that is logged: it leaves a line that names its type.

A call that was complete or cancelled is logged at INFO, any other at WARNING: for all of them set the
logger's level to INFO.

The plain call is logged as a recording of its two last events, so that both kinds of call have one form.

A line is made when a call has ended. Who wants to know more, and earlier, is a `Listener`: `tell` calls
them in the thread in which it happens, and what one raises reaches no call either.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Literal

from botocore.exceptions import ClientError

from bedrock_nb import settings
from bedrock_nb.errors import (
    FAULTS,
    REFUSALS,
    ConnectionFailed,
    ConnectionLost,
    FrameError,
    IncompleteStreamError,
    PayloadError,
    ServiceError,
    StreamError,
    StreamTimeout,
    fault_to_wire,
    without_accounts,
)
from bedrock_nb.metrics import measure
from bedrock_nb.recording import Recording, Unrecorded
from bedrock_nb.toolruns import ToolRun

__all__ = ["LOG", "Listener", "cleaned", "listen", "log", "tell", "unlisten"]

LOG = logging.getLogger("bedrock_nb.audit")
LOG.addHandler(logging.NullHandler())  # nothing is printed unless somebody sets logging up

_TOKENS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
_TIMES = ("t_headers_s", "ttft_s", "ttlt_s", "e2e_s")
# Of the request, what content there is; nothing else of it is ever logged.
_ASKED = ("system", "messages")
# Members of content whose own members are named by a model or a tool, so that the names are content, too.
_OPEN = ("input", "json")
# Errors whose words are ours. Those of boto3 may hold what a credentials program printed, and those of the
# service, under names that Bedrock's model does not have, the security token that it was to check.
_OUR_WORDS = (
    ConnectionFailed,
    ConnectionLost,
    FrameError,
    IncompleteStreamError,
    PayloadError,
    StreamTimeout,
)


class Listener:
    """Something that is told of every call of this process; override what you need."""

    def began(self, recording: Recording) -> None:
        """A call is made, or its answer begins to be read: in the thread of whoever asked for it."""

    def ended(self, recording: Recording, error: BaseException | None) -> None:
        """A call has ended, with this error if it did not end well: in the thread that read it."""

    def ran(self, recording: Recording, run: ToolRun) -> None:
        """A tool that the answer asked for has its result; the recording has the run. Maybe after the end."""


_listeners: tuple[Listener, ...] = ()  # replaced, never changed: others may be going through it


def listen(listener: Listener) -> None:
    """Have a listener told from now on; once is enough, more does no harm."""
    global _listeners
    _listeners = (*(known for known in _listeners if known is not listener), listener)


def unlisten(listener: Listener) -> None:
    """Have it told no more."""
    global _listeners
    _listeners = tuple(known for known in _listeners if known is not listener)


def tell(what: Literal["began", "ended", "ran"], *about: Any) -> None:
    """Tell every listener; one that fails leaves a line in the log that names its error's type."""
    for listener in _listeners:
        try:
            getattr(listener, what)(*about)
        except Exception as err:
            with suppress(Exception):
                failed = {"listener_failed": type(err).__name__, "listener": type(listener).__name__}
                LOG.warning(json.dumps(failed))


def log(recording: Recording, *, error: BaseException | None = None) -> None:
    """Log a reply that has ended.

    Parameters
    ----------
    recording : Recording
        With its status and its mark ``closed``.
    error : exception, optional
        What ended it, where the recording does not hold that: a call that was never sent has no events.
    """
    _emit(
        _level(recording.status),
        lambda: _line(
            recording,
            error or recording.error,
            recording.passed if isinstance(recording, Unrecorded) else len(recording),
            lambda: _answer(recording),
        ),
    )
    tell("ended", recording, error or recording.error)


def _level(status: str) -> int:
    return logging.INFO if status in ("complete", "cancelled") else logging.WARNING


def _emit(level: int, line: Callable[[], dict[str, Any]]) -> None:
    try:
        if LOG.isEnabledFor(level):
            LOG.log(level, json.dumps(line(), allow_nan=False))
    except Exception as err:
        with suppress(Exception):  # the handler itself may be what fails
            LOG.warning(json.dumps({"audit_failed": type(err).__name__}))


# -- the line --------------------------------------------------------------------------------------


def _line(
    recording: Recording,
    error: BaseException | None,
    events: int | None,
    answer: Callable[[], Any],
) -> dict[str, Any]:
    known, asked = measure(recording), settings.current()
    refusal: Any = error.response if isinstance(error, ClientError) else {}
    said = _envelope(refusal) | {
        name: value for name, value in recording.envelope.items() if value not in (None, "")
    }
    started = recording.started
    line = {
        "time": None if started is None else _iso(started),
        "operation": recording.operation,
        "model": without_accounts(recording.model) or None,
        "request_id": said["request_id"] or None,
        "status": recording.status,
        "stop_reason": recording.stop_reason or None,
        "http_status": said["http_status"] or getattr(error, "status_code", None),
        "error": None if error is None else type(error).__name__,
        "error_code": refusal.get("Error", {}).get("Code") or None,
        "retries": said["retries"],
        **{name: known[name] for name in _TOKENS},
        **{name: _rounded(known[name]) for name in _TIMES},
        "duration_s": _rounded(recording.marks.get("closed")),
        "events": events,
        "labels": _labels(recording.labels),
    }
    if asked.audit == "content":
        line |= _content(recording, error, answer(), asked.redact)
    return line


def _envelope(response: Mapping[str, Any]) -> dict[str, Any]:
    meta = response.get("ResponseMetadata") or {}
    return {
        "request_id": meta.get("RequestId"),
        "http_status": meta.get("HTTPStatusCode"),
        "retries": meta.get("RetryAttempts"),
    }


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _labels(labels: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are one plain value: anything else may hold anything."""
    plain = {name: value for name, value in labels.items() if isinstance(value, str | int | float)}
    return {str(name): cleaned(value, str) for name, value in plain.items()}


# -- prompts and answers ---------------------------------------------------------------------------


def _content(
    recording: Recording, error: BaseException | None, answer: Any, redact: Callable[[str], str] | None
) -> dict[str, Any]:
    content = {
        "request": {name: recording.request.get(name) for name in _ASKED},
        "answer": answer,
        "error_message": _words(error),
    }
    try:
        return {name: cleaned(value, redact or str) for name, value in content.items()}
    except Exception as err:
        return {"redaction_failed": type(err).__name__}


def _answer(recording: Recording) -> dict[str, Any] | None:
    message = recording.message
    return message.to_dict() if message.content else None


def _words(error: BaseException | None) -> str | None:
    """What the error says, account numbers left out, if its words are known to hold no secret."""
    modelled = isinstance(error, ServiceError) and (error.code in FAULTS or error.code in REFUSALS)
    if isinstance(error, StreamError) and (modelled or isinstance(error, _OUR_WORDS)):
        return str(fault_to_wire(error)[1]["message"])
    return None


def cleaned(node: Any, redact: Callable[[str], str], *, named_by_others: bool = False) -> Any:
    """The same as JSON: texts redacted, bytes as their number, and nothing that JSON does not know.

    Parameters
    ----------
    node : anything
        Content of a request or of an answer.
    redact : function
        Of each text.
    named_by_others : bool
        Whether the names of members are content, too: those of a tool's input are.

    Raises
    ------
    TypeError
        ``redact`` gave something else than text; it may also raise what it likes.
    """
    match node:
        case str():
            text = redact(node)
            if not isinstance(text, str):
                raise TypeError("redact gave something else than text")
            return text
        case None | bool() | int():
            return node
        case float():
            return node if math.isfinite(node) else None
        case bytes() | bytearray() | memoryview():
            return {"bytes": memoryview(node).nbytes}
        case Mapping():
            return {
                redact(str(name)) if named_by_others else str(name): cleaned(
                    value, redact, named_by_others=named_by_others or name in _OPEN
                )
                for name, value in node.items()
            }
        case list() | tuple():
            return [cleaned(value, redact, named_by_others=named_by_others) for value in node]
        case _:
            return {"type": type(node).__name__}
