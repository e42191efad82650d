"""Recordings as files: JSON lines that a person can read, and that a crash cannot spoil.

Strategy: one line for each thing that happened, in its order. A head names format and version and holds the
request; marks and events follow, payloads as the wire has them; an ``end`` closes with the status, the
count and a SHA-256 of all lines before it. A torn last line is dropped and said; a file without its end was
interrupted, and is never taken for complete. Only JSON: nothing in a file is ever run.

    {"format": "bedrock-nb-recording", "version": 1, "request": {…}, "clock": "wire", "started": "2026-…"}
    {"t": 0.011, "mark": "headers", "envelope": {"request_id": …}}
    {"t": 0.301, "read": 2, "bytes": 176, "type": "contentBlockDelta", "payload": {…}}
    {"end": {"status": "complete", "events": 42, "sha256": …}}
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from base64 import b64decode, b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bedrock_nb.errors import BedrockNbError, RecordingError
from bedrock_nb.wire import from_wire, to_wire

if TYPE_CHECKING:
    from bedrock_nb.recording import Recording

__all__ = ["FORMAT", "VERSION", "load", "save"]

FORMAT = "bedrock-nb-recording"
VERSION = 1

#: How a saved reply may have ended; "streaming" besides, when it was saved before it had.
_ENDS = ("complete", "cancelled", "incomplete", "error", "interrupted")
_WHAT_IT_IS = "Recordings are .jsonl files written by Recording.save."


# -- writing ---------------------------------------------------------------------------------------


def save(recording: Recording, path: str | os.PathLike[str], *, frames: bool = False) -> Path:
    """Write a recording; see `Recording.save`."""
    target = _path(path)
    if frames and (recording.body is None or not any(recording.sizes)):
        raise _no_frames()
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=".recording.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                _write(recording, file, frames)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except (OSError, UnicodeEncodeError) as err:
        raise RecordingError(
            f"The recording cannot be written to {target.name!r}: {_why(err)}.",
            remedy="Check that the folder exists and may be written to.",
        ) from None  # the cause would show the absolute path
    return target


def _write(recording: Recording, file: BinaryIO, frames: bool) -> None:
    # Another thread may go on recording: the status is from before the events, the events are counted here.
    digest, events, status = hashlib.sha256(), 0, recording.status
    try:
        for record in _lines(recording, frames):
            line = _dump(record)
            digest.update(line)
            file.write(line)
            events += "type" in record
        end: dict[str, Any] = {"status": status, "events": events, "sha256": digest.hexdigest()}
        if recording.problems:
            end["problems"] = recording.problems
        file.write(_dump({"end": end}))
    except BedrockNbError:
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as err:
        raise RecordingError(
            f"The recording cannot be written: {err}.",
            remedy="Requests and labels may hold text, numbers, lists, dicts and bytes.",
        ) from err


def _lines(recording: Recording, frames: bool) -> Iterator[dict[str, Any]]:
    yield _head(recording)
    marks = sorted(recording.marks.items(), key=lambda mark: mark[1])
    body, begin = recording.body or b"", 0
    for t, read, nbytes, event in recording.rows():
        while marks and marks[0][1] <= t and marks[0][0] != "closed":
            yield _mark(recording, *marks.pop(0))
        wire, payload = to_wire(event)
        line = {"t": round(t, 6), "read": read, "bytes": nbytes, "type": wire, "payload": payload}
        if frames and nbytes:
            frame = body[begin : begin + nbytes]
            if not len(frame) == nbytes == int.from_bytes(frame[:4], "big"):  # it begins with its length
                raise _no_frames()
            line["frame"] = b64encode(frame).decode("ascii")
            begin += nbytes
        yield line
    for name, t in marks:
        yield _mark(recording, name, t)


def _head(recording: Recording) -> dict[str, Any]:
    started = None if recording.started is None else datetime.fromtimestamp(recording.started, UTC)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "request": recording.request,
        "labels": recording.labels,
        "clock": recording.clock,
        "started": started and started.isoformat(timespec="milliseconds"),
    }
    # It came with the headers; where nobody saw them come, there is no line of theirs.
    return head if "headers" in recording.marks else {**head, "envelope": recording.envelope}


def _mark(recording: Recording, name: str, t: float) -> dict[str, Any]:
    envelope = {"envelope": recording.envelope} if name == "headers" and recording.envelope else {}
    return {"t": round(t, 6), "mark": name, **envelope}


def _dump(record: dict[str, Any]) -> bytes:
    return json.dumps(record, separators=(",", ":"), default=_plain).encode("ascii") + b"\n"


def _plain(value: Any) -> Any:
    """Requests may hold images and documents as bytes, labels numbers of numpy's: JSON has neither."""
    if isinstance(value, bytes | bytearray):
        return {"$bytes": b64encode(value).decode("ascii")}
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


def _no_frames() -> RecordingError:
    return RecordingError(
        "The exact frames of this recording are not known.",
        remedy="They are kept while a reply is read from the wire, up to 4 MiB: save without frames.",
    )


def _path(path: Any) -> Path:
    try:
        found = Path(path)
    except TypeError:
        found = None
    if found is None or "\0" in str(found):
        raise RecordingError(f"{path!r:.60} is no path.", remedy=f"Give a file name. {_WHAT_IT_IS}")
    return found


def _why(err: Exception) -> str:
    return getattr(err, "strerror", None) or type(err).__name__


# -- reading ---------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], kind: type[Recording]) -> Recording:
    """Read a recording; see `Recording.load`."""
    source = _path(path)
    try:
        with source.open("rb") as file:
            return _read(file, source.name, kind)
    except (OSError, UnicodeEncodeError) as err:
        raise RecordingError(
            f"The recording {source.name!r} cannot be read: {_why(err)}.",
            remedy=f"Check the name. {_WHAT_IT_IS}",
        ) from None  # as above


def _read(file: BinaryIO, name: str, kind: type[Recording]) -> Recording:
    head = file.readline()
    recording = _begin(head, name, kind)
    recording.status = "interrupted"
    digest, events = hashlib.sha256(head), 0
    for number, line in enumerate(file, 2):
        if not line.endswith(b"\n"):
            recording.problems.append(f"Line {number} is torn and was dropped.")
            break
        record = _parse(line, name, number)
        if "end" in record:
            whole = {"events": events, "sha256": digest.hexdigest()}
            _finish(recording, record["end"], whole, name)
            if file.readline():
                raise _changed(name, "it goes on after its end")
            break
        digest.update(line)
        events += "type" in record
        try:
            _take(recording, record)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError, BedrockNbError) as err:
            raise RecordingError(f"Line {number} of {name!r} is not an event: {err!r}.") from err
    return recording


def _begin(line: bytes, name: str, kind: type[Recording]) -> Recording:
    try:
        head = json.loads(line, object_hook=_unmark_bytes)
        version = head["version"] if head["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError):
        version = None
    if type(version) is not int or version < 1:
        raise RecordingError(
            f"{name!r} is not a recording: its first line does not name the format {FORMAT}.",
            remedy=_WHAT_IT_IS,
        )
    if version > VERSION:
        raise RecordingError(
            f"{name!r} is of format version {version!s:.20}; this bedrock_nb reads up to {VERSION}.",
            remedy="Install a newer bedrock-nb.",
        )
    started, clock = head.get("started"), head.get("clock", "wire")
    try:
        recording = kind(
            head.get("request"),
            labels=head.get("labels"),
            clock=str(clock),
            started=None if started is None else datetime.fromisoformat(started).timestamp(),
        )
        recording.envelope |= head.get("envelope", {})
    except (TypeError, ValueError, OverflowError, RecursionError) as err:  # RequestError is a ValueError
        raise RecordingError(f"The first line of {name!r} is damaged: {err}.") from err
    return recording


def _take(recording: Recording, record: dict[str, Any]) -> None:
    t, wire = record["t"], record.get("type")
    if type(t) not in (int, float) or not math.isfinite(t):
        raise TypeError("t is no number of seconds")
    if "mark" in record:
        recording.mark(str(record["mark"]), float(t))
        recording.envelope |= record.get("envelope", {})
        return
    if type(wire) is not str:
        raise TypeError("type is no text")
    nbytes = record.get("bytes", 0)
    for event in from_wire(wire, record["payload"]):
        recording.append(event, t, record.get("read", 0), nbytes)
        nbytes = 0
    if "frame" in record:
        recording.keep(b64decode(record["frame"]))


def _finish(recording: Recording, end: Any, whole: dict[str, Any], name: str) -> None:
    if not isinstance(end, dict) or {k: end.get(k) for k in whole} != whole:
        raise _changed(name, "its digest does not fit its lines")
    status = end.get("status")
    if status == "streaming":
        status = "interrupted"  # nothing more will come
    if status not in _ENDS:
        raise RecordingError(f"The end of {name!r} does not say how the reply ended: {', '.join(_ENDS)}.")
    recording.status = status
    problems = end.get("problems")
    recording.problems += [str(problem) for problem in problems] if isinstance(problems, list) else []


def _changed(name: str, how: str) -> RecordingError:
    return RecordingError(
        f"{name!r} was changed after it was recorded: {how}.",
        remedy="Take an untouched copy, or delete its last line: it then counts as interrupted.",
    )


def _parse(line: bytes, name: str, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise RecordingError(f"Line {number} of {name!r} is not JSON: {err}.") from err
    if not isinstance(record, dict):
        raise RecordingError(f"Line {number} of {name!r} is not a JSON object.")
    return record


def _unmark_bytes(node: dict[str, Any]) -> Any:
    return b64decode(node["$bytes"]) if node.keys() == {"$bytes"} else node
