"""Recordings -> a trace that Perfetto's viewer (https://ui.perfetto.dev) and chrome://tracing open.

Strategy: one process for each recording, in it a track for the reply and its phases, one for connections,
one for each content block with its events as instants, as many for tools as ran side by side, and counters of
what had come so far. Times are whole microseconds, for slices of one track must nest exactly, and what cannot
be (a file may say anything) is cut to fit. Texts stay out unless they are asked for: traces are shared.

Members and phases are those of the Trace Event Format, in its JSON Object form: "X" complete slices, "i"
instants, "C" counters, "M" names.
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU/preview
What Perfetto makes of it: https://perfetto.dev/docs/getting-started/other-formats
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bedrock_nb import __version__, files
from bedrock_nb.errors import RequestError
from bedrock_nb.formats import slices
from bedrock_nb.formats.slices import MOST_S, Slice, plain, sane, short, us
from bedrock_nb.metrics import facts, measure
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import each, sound_text

__all__ = ["trace", "write"]

#: Where time 0 is: the epoch, so that recordings lie beside each other as they ran; or each one's request.
Align: TypeAlias = Literal["clock", "request"]
#: One member of ``traceEvents``.
Entry: TypeAlias = dict[str, Any]

_REPLY, _CONNECTION, _FIRST = 1, 2, 3  # ids of tracks; those of tools and blocks follow


def trace(source: Any, *, align: Align = "clock", text: bool = False) -> dict[str, Any]:
    """Recordings as a trace: a dict that is JSON.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, Folder, or a collection of these
    align : {"clock", "request"}
        ``clock``: by the wall clock, so that it shows which replies ran at the same time. ``request``: each
        request at 0, so that replies can be compared.
    text : bool
        Also write what was said: texts of the answer, and errors in their own words. Labels and names of
        tools are written always, up to 80 characters of each.

    Returns
    -------
    dict
        ``traceEvents`` (by recording; in order of time within each), ``displayTimeUnit``, ``otherData``.

    Raises
    ------
    RequestError
        There is something else than recordings in it, or ``align`` is "clock" and a recording does not know
        when it was made.
    RecordingError
        A recording cannot be read.
    """
    return {**_HEAD, "traceEvents": [event for part in _traced(source, align, text) for event in part]}


def write(source: Any, path: str | os.PathLike[str], *, align: Align = "clock", text: bool = False) -> Path:
    """Write a trace as a file, mode 0600, all or nothing; in memory is one recording at a time.

    Parameters
    ----------
    source, align, text : as for `trace`
    path : path
        ``.json``, or ``.json.gz`` to have it compressed; viewers open both. An existing file is replaced.

    Raises
    ------
    RequestError
        As of `trace`.
    RecordingError
        A recording cannot be read, or the file cannot be written.
    """
    chunks = _json(_traced(source, align, text))
    if str(path).endswith(".gz"):
        chunks = _gzipped(chunks)
    return files.write_chunks(path, chunks, "trace")


_HEAD = {"displayTimeUnit": "ms", "otherData": {"made_by": f"bedrock_nb {__version__}"}}


def _json(parts: Iterator[list[Entry]]) -> Iterator[bytes]:
    encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
    yield f'{encode(_HEAD)[:-1]},"traceEvents":['.encode("ascii")
    between = "\n"
    for part in parts:
        for event in part:
            yield (between + encode(event)).encode("ascii")
            between = ",\n"
    yield b"\n]}\n"


def _gzipped(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Compressed, without the time of day: the same trace is the same file."""
    press = zlib.compressobj(6, wbits=31)
    for chunk in chunks:
        yield press.compress(chunk)
    yield press.flush()


# -- one recording ---------------------------------------------------------------------------------


def _traced(source: Any, align: Align, text: bool) -> Iterator[list[Entry]]:
    """The events of each recording."""
    if align not in ("clock", "request"):
        raise RequestError(f"align is {align!r:.40}; 'clock' or 'request' is wanted.")
    return (
        _recording(recording, number, _origin(recording, number, align), text)
        for number, recording in enumerate(each(source), 1)
    )


def _origin(recording: Recording, number: int, align: Align) -> int:
    if align == "request":
        return 0
    started = recording.started
    if started is None or not 0 <= started < 2**53 / 1e6 - MOST_S:
        raise RequestError(
            f"Recording {number} of the trace does not know when it was made.",
            remedy='Give align="request" to have each request at 0.',
        )
    return round(started * 1e6)


def _recording(recording: Recording, pid: int, origin: int, text: bool) -> list[Entry]:
    known, end = facts(recording), _end(recording)
    model = short(recording.model.rpartition("/")[2]) or "unknown model"  # of an ARN no account number
    tracks: dict[int, tuple[str, list[Slice]]] = {
        _REPLY: (
            "reply",
            [
                Slice(f"reply {model}", 0, end, _about(recording, text)),
                *slices.phases(known.h, known.c1, known.cN, known.m),
            ],
        )
    }
    connection = [*slices.connection(recording.marks)]
    if connection:
        tracks[_CONNECTION] = "connection", connection
    for lane, runs in enumerate(slices.tools(recording, text)):
        tracks[_FIRST + lane] = f"tools {lane + 1}" if lane else "tools", runs
    tids: dict[int, int] = {}
    for i in range(len(recording)):
        block = recording.block_of(i)
        if block is not None and block not in tids:
            tids[block] = max(_FIRST - 1, *tracks) + 1
            tracks[tids[block]] = f"block {block}", []
    for block, one in slices.blocks(recording, end):
        tracks[tids[block]][1].append(one)
    events: list[tuple[int, Entry]] = []
    for tid, (_, given) in tracks.items():
        events += ((s.begin, _slice(s, pid, tid, origin)) for s in slices.nested(given))
    events += _instants(recording, pid, tids, origin, text)
    events += _counters(recording, pid, origin, known.N)
    events.sort(key=lambda pair: (pair[0], -pair[1].get("dur", 0)))
    names = {tid: name for tid, (name, _) in tracks.items()}
    return [*_named(pid, f"{pid}: {model}", names), *(event for _, event in events)]


def _named(pid: int, name: str, tracks: Mapping[int, str]) -> Iterator[Entry]:
    """What viewers call the process and its tracks, and in which order they show them."""

    def about(what: str, tid: int, **args: Any) -> Entry:
        return {"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": args}

    yield about("process_name", 0, name=name)
    yield about("process_sort_index", 0, sort_index=pid)
    for tid, track in sorted(tracks.items()):
        yield about("thread_name", tid, name=track)
        yield about("thread_sort_index", tid, sort_index=tid)


def _slice(one: Slice, pid: int, tid: int, origin: int) -> Entry:
    event = {"ph": "X", "cat": "bedrock", "name": one.name, "pid": pid, "tid": tid}
    return {**event, "ts": origin + one.begin, "dur": one.end - one.begin, "args": dict(one.args)}


def _about(recording: Recording, text: bool) -> dict[str, Any]:
    """What the slice of the whole reply says of it."""
    said: dict[str, Any] = {
        "status": recording.status,
        "stop_reason": recording.stop_reason,
        "clock": recording.clock,
        "request_id": recording.envelope.get("request_id"),
        **measure(recording),
        **{f"label {name}": value for name, value in recording.labels.items()},
    }
    about = {short(name): plain(value) for name, value in said.items() if value is not None}
    error = recording.error
    if error is not None:
        about["error"] = sound_text(f"{type(error).__name__}: {error.what}") if text else type(error).__name__
    return about


def _end(recording: Recording) -> int:
    """The last moment of the reply itself; tools may end later."""
    moments = (*recording.times, *recording.marks.values())
    return max((us(t) for t in moments if sane(t)), default=0)


# -- instants and counters -------------------------------------------------------------------------


def _instants(
    recording: Recording, pid: int, tids: Mapping[int, int], origin: int, text: bool
) -> Iterator[tuple[int, Entry]]:
    """Every event and every mark."""

    def instant(name: str, t: float, tid: int, **args: Any) -> tuple[int, Entry]:
        at = {"pid": pid, "tid": tid, "ts": origin + us(t)}
        return us(t), {"ph": "i", "s": "t", "cat": "bedrock", "name": name, **at, "args": args}

    for name, t in list(recording.marks.items()):
        if sane(t):
            yield instant(short(name), t, _REPLY, mark=True)
    for seq, t in enumerate(recording.times):
        if not sane(t):
            continue
        said, block = recording.text_of(seq), recording.block_of(seq)
        args: dict[str, Any] = {"seq": seq, "bytes": recording.sizes[seq], "read": recording.reads[seq]}
        if block is not None:
            args |= {"block": block, "chars": len(said)}
        if text and said:
            args["text"] = sound_text(said)
        tid = _REPLY if block is None else tids.get(block, _REPLY)  # it may be growing
        yield instant(recording.kind(seq).__name__, t, tid, **args)


def _counters(recording: Recording, pid: int, origin: int, tokens: int | None) -> Iterator[tuple[int, Entry]]:
    """What had come so far, each time at which something came: characters, and tokens shared out by them."""
    chars, latest = 0, {}
    for i in recording.content():
        chars += len(recording.text_of(i))
        if sane(recording.times[i]):
            latest[us(recording.times[i])] = chars
    for moment, n in {**({0: 0} if latest else {}), **latest}.items():
        at = {"ph": "C", "pid": pid, "ts": origin + moment}
        yield moment, {**at, "name": "characters so far", "args": {"characters": n}}
        if tokens is not None and chars:
            share = round(tokens * n / chars, 3)
            yield moment, {**at, "name": "tokens so far (estimated)", "args": {"tokens": share}}
