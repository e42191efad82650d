"""A recording's parts <-> JSON lines that a person can read, and that a crash cannot spoil.

Strategy: one line for each thing that happened, in its order. A head names format and version and holds the
request; marks, events and runs of tools follow, payloads as the wire has them; an ``end`` closes with the
status, the count of events and a SHA-256 of all lines before it. Only JSON in ASCII: nothing in a file is
ever run, and every text comes back as it was, halves of surrogate pairs included. The deltas that make up
nearly all of a reply take a short cut past the encoder of dicts.

    {"format": "bedrock-nb-recording", "version": 1, "request": {…}, "clock": "wire", "started": "2026-…"}
    {"t": 0.011, "mark": "headers", "envelope": {"request_id": …}}
    {"t": 0.301, "read": 2, "bytes": 176, "type": "contentBlockDelta", "payload": {…}}
    {"t": 0.812, "tool": {"id": …, "name": …, "outcome": "success", …}}
    {"end": {"status": "complete", "events": 42, "sha256": …, "spent": {"client_s": 0.004}}}

Not here: files. `files` writes and reads whole recordings, `journal` a line at a time.
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from bedrock_nb.errors import BedrockNbError, RecordingError
from bedrock_nb.events import Event, ReasoningDelta, TextDelta, ToolInputDelta
from bedrock_nb.toolruns import ToolRun, from_json, to_json
from bedrock_nb.wire import delta, from_wire, to_wire

if TYPE_CHECKING:
    from bedrock_nb.recording import Recording

__all__ = [
    "FORMAT",
    "NO_FORM",
    "VERSION",
    "WHAT_IT_IS",
    "as_path",
    "changed",
    "end_line",
    "event_line",
    "head_line",
    "mark_line",
    "no_form",
    "parse",
    "read_delta",
    "read_end",
    "read_head",
    "read_part",
    "tool_line",
    "why",
]

FORMAT = "bedrock-nb-recording"
VERSION = 1
#: What the functions that write raise of something that JSON has no form for; `no_form` says it.
NO_FORM = (TypeError, ValueError, OverflowError, RecursionError)
WHAT_IT_IS = "Recordings are .jsonl files written by Recording.save."

#: How a saved reply may have ended; "streaming" besides, when it was saved before it had.
_ENDS = ("complete", "cancelled", "incomplete", "error", "interrupted")


# -- writing ---------------------------------------------------------------------------------------


def head_line(recording: Recording) -> bytes:
    """The first line: what was asked, and what the times are times of."""
    started = None if recording.started is None else datetime.fromtimestamp(recording.started, UTC)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "request": recording.request,
        "labels": recording.labels,
        "clock": recording.clock,
        "started": started and started.isoformat(timespec="milliseconds"),
    }
    if "headers" not in recording.marks:  # it came with them; where nobody saw that, no line has it
        head["envelope"] = recording.envelope
    line = _dump(head)
    return _dump(_escaped(head)) if b'$bytes"' in line else line


def mark_line(name: str, t: float, envelope: Mapping[str, Any] | None = None) -> bytes:
    """A moment that is no event; with it, the envelope that came then."""
    return _dump({"t": round(t, 6), "mark": name, **({} if envelope is None else {"envelope": envelope})})


def event_line(
    event: Event,
    t: float,
    read: int,
    nbytes: int,
    frame: bytes | None = None,
    late: float | None = None,
) -> bytes:
    """One event; with the exact bytes of its frame, if they are given, and how late its read was."""
    around = _AROUND.get(type(event))
    if around is not None and frame is None and late is None and type(t) is float and math.isfinite(t):
        before, between, after, field = around
        return (
            f'{{"t":{round(t, 6)!r},"read":{read:d},"bytes":{nbytes:d},"type":"contentBlockDelta",'
            f'"payload":{before}{event.index:d}{between}{_quote(getattr(event, field))}{after}}}\n'  # type: ignore[union-attr]
        ).encode("ascii")
    wire, payload = to_wire(event)
    line: dict[str, Any] = {"t": round(t, 6), "read": read, "bytes": nbytes}
    if late is not None:
        line["late"] = round(late, 6)
    line |= {"type": wire, "payload": payload}
    return _dump(line if frame is None else {**line, "frame": b64encode(frame).decode("ascii")})


def tool_line(run: ToolRun) -> bytes:
    """One call of a tool, at the time at which its result was there."""
    return _dump({"t": round(run.ended_s, 6), "tool": to_json(run)})


def end_line(
    status: str,
    events: int,
    digest: str,
    problems: Sequence[str] = (),
    envelope: Mapping[str, Any] | None = None,
    spent: Mapping[str, float] | None = None,
) -> bytes:
    """The last line: how the reply ended, and proof of the lines before it.

    Parameters
    ----------
    status : str
        The recording's.
    events : int
        Lines of events before this one.
    digest : str
        SHA-256 of all bytes before this line, in hexadecimal.
    problems : list of str
        The recording's.
    envelope : mapping, optional
        If no line before has it.
    spent : mapping, optional
        The recording's.
    """
    end: dict[str, Any] = {"status": status, "events": events, "sha256": digest}
    if problems:
        end["problems"] = list(problems)
    if envelope is not None:
        end["envelope"] = envelope
    if spent:
        end["spent"] = {name: round(seconds, 6) for name, seconds in dict(spent).items()}
    return _dump({"end": end})


def no_form(err: Exception) -> RecordingError:
    """The error for a part that cannot be written: ``err`` is one of `NO_FORM`."""
    return RecordingError(
        f"The recording cannot be written: {err}.",
        remedy="Requests and labels may hold text, numbers, lists, dicts and bytes.",
    )


def _plain(value: Any) -> Any:
    """Requests may hold images and documents as bytes, labels numbers of numpy's: JSON has neither."""
    if isinstance(value, bytes | bytearray):
        return {"$bytes": b64encode(value).decode("ascii")}
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no form in JSON")


_encode = json.JSONEncoder(separators=(",", ":"), default=_plain).encode
_quote = json.JSONEncoder().encode  # of a text


def _dump(record: dict[str, Any]) -> bytes:
    return _encode(record).encode("ascii") + b"\n"


def _around(kind: type[Any]) -> tuple[str, str, str]:
    """The payload of such a delta before its index, between index and text, and after its text."""
    before, _, rest = _encode(to_wire(kind(0, ""))[1]).partition("0")
    between, _, after = rest.partition('""')
    return before, between, after


#: The short cut: what stands around index and text of such a delta, made by the long way; the text's name.
_AROUND: dict[type, tuple[str, str, str, str]] = {
    TextDelta: (*_around(TextDelta), "text"),
    ReasoningDelta: (*_around(ReasoningDelta), "text"),
    ToolInputDelta: (*_around(ToolInputDelta), "fragment"),
}


# -- reading ---------------------------------------------------------------------------------------


def read_head(line: bytes, name: str, kind: type[Recording]) -> Recording:
    """A recording without its events, from the first line of the file called ``name``.

    Raises
    ------
    RecordingError
        The line is none of a recording, is damaged, or is of a newer version.
    """
    try:
        head = json.loads(line, object_hook=_unmark_bytes)
        version = head["version"] if head["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError, RecursionError):
        version = None
    if type(version) is not int or version < 1:
        raise RecordingError(
            f"{name!r} is not a recording: its first line does not name the format {FORMAT}.",
            remedy=WHAT_IT_IS,
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


def parse(line: bytes, name: str, number: int) -> dict[str, Any]:
    """The JSON object of a line; `read_part` or, if it has the member ``end``, `read_end` takes it in."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise RecordingError(f"Line {number} of {name!r} is not JSON: {err}.") from err
    if not isinstance(record, dict):
        raise RecordingError(f"Line {number} of {name!r} is not a JSON object.")
    return record


def read_delta(recording: Recording, line: bytes) -> bool:
    """Take a delta in its usual form in; False if anything about the line is unusual: then nothing was done.

    Nearly all lines are such. What orjson reads otherwise than json does (halves of surrogate pairs, whole
    numbers beyond 64 bits, numbers that are none) is unusual.
    """
    try:
        record = orjson.loads(line)
        t, event = record["t"], delta(record["payload"])
        usual = len(record) == 5 and record["type"] == "contentBlockDelta" and type(t) is float
        if event is None or not usual or not math.isfinite(t):
            return False
        recording.append(event, t, record["read"], record["bytes"])
    except (ValueError, KeyError, TypeError):  # RequestError is a ValueError: `read_part` says it
        return False
    return True


def read_part(recording: Recording, record: dict[str, Any], name: str, number: int) -> None:
    """Take a mark, an event or a tool's run in, from line ``number`` of the file called ``name``."""
    try:
        _take(recording, record)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError, BedrockNbError) as err:
        raise RecordingError(f"Line {number} of {name!r} is not an event: {err!r}.") from err


def read_end(recording: Recording, end: Any, events: int, digest: str, name: str) -> None:
    """Take the last line in, if it fits the lines before it: so many events, this digest."""
    whole = {"events": events, "sha256": digest}
    if not isinstance(end, dict) or {k: end.get(k) for k in whole} != whole:
        raise changed(name, "its digest does not fit its lines")
    status = end.get("status")
    if status == "streaming":
        status = "interrupted"  # nothing more will come
    if status not in _ENDS:
        raise RecordingError(f"The end of {name!r} does not say how the reply ended: {', '.join(_ENDS)}.")
    recording.status = status
    problems, envelope = end.get("problems"), end.get("envelope")
    recording.problems += [str(problem) for problem in problems] if isinstance(problems, list) else []
    recording.envelope |= envelope if isinstance(envelope, dict) else {}
    spent = end.get("spent")
    recording.spent |= {k: float(v) for k, v in spent.items() if _lasts(v)} if isinstance(spent, dict) else {}


def changed(name: str, how: str) -> RecordingError:
    """The error for a file that is not as it was written."""
    return RecordingError(
        f"{name!r} was changed after it was recorded: {how}.",
        remedy="Take an untouched copy, or delete its last line: it then counts as interrupted.",
    )


def _take(recording: Recording, record: dict[str, Any]) -> None:
    t, wire = record["t"], record.get("type")
    if type(t) not in (int, float) or not math.isfinite(t):
        raise TypeError("t is no number of seconds")
    if "mark" in record:
        recording.mark(str(record["mark"]), float(t))
        if "envelope" in record:  # the newest holds: a journal has one for each attempt
            recording.envelope = {} | record["envelope"]
        return
    if "tool" in record:
        recording.tools.append(from_json(record["tool"], float(t)))
        return
    if type(wire) is not str:
        raise TypeError("type is no text")
    nbytes = record.get("bytes", 0)
    for event in from_wire(wire, record["payload"]):
        recording.append(event, t, record.get("read", 0), nbytes)
        nbytes = 0
    if _lasts(record.get("late")) and recording.reads:
        recording.late[recording.reads[-1]] = float(record["late"])
    if "frame" in record:
        recording.keep(b64decode(record["frame"]))


def _lasts(value: Any) -> bool:
    """Whether that can be a number of seconds that something took."""
    return type(value) in (int, float) and 0 <= value < 2**53


#: The only key of an object that stands for bytes, or that would be taken for it: then with a "$" more.
_MARK = re.compile(r"\$+bytes")


def _escaped(node: Any) -> Any:
    if isinstance(node, Mapping):
        alone = len(node) == 1
        return {
            f"${key}" if alone and _MARK.fullmatch(str(key)) else key: _escaped(value)
            for key, value in node.items()
        }
    return [_escaped(item) for item in node] if isinstance(node, list | tuple) else node


def _unmark_bytes(node: dict[str, Any]) -> Any:
    if node.keys() == {"$bytes"}:
        return b64decode(node["$bytes"])
    key = next(iter(node), "")
    return {key[1:]: node[key]} if len(node) == 1 and _MARK.fullmatch(key) else node


# -- what those who touch files share --------------------------------------------------------------


def as_path(path: Any) -> Path:
    """The path that was given; RecordingError for what is none."""
    try:
        found = Path(path)
    except TypeError:
        found = None
    if found is None or "\0" in str(found):
        raise RecordingError(f"{path!r:.60} is no path.", remedy=f"Give a file name. {WHAT_IT_IS}")
    return found


def why(err: Exception) -> str:
    """What the system says went wrong, without the path of this machine that comes with it."""
    return getattr(err, "strerror", None) or type(err).__name__
