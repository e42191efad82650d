"""Whole recordings as files: written all or nothing, read as far as they are sound.

Strategy: a new file is written beside the old one, synced, and put in its place, so whatever happens there
is one whole file. Reading checks the digest of the end. A torn last line is dropped and said; a file
without its end was interrupted, and is never taken for complete. A line that is torn or changed anywhere
else is an error: nobody who only appends leaves one.

How a line looks is told in `lines`; `journal` writes a file while its reply streams.
"""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bedrock_nb import lines
from bedrock_nb.errors import BedrockNbError, RecordingError

if TYPE_CHECKING:
    from bedrock_nb.recording import Recording

__all__ = ["dumped", "load", "loaded", "save", "write_chunks", "write_text"]


# -- writing ---------------------------------------------------------------------------------------


def save(recording: Recording, path: str | os.PathLike[str], *, frames: bool = False) -> Path:
    """Write a recording; see `Recording.save`."""
    target = lines.as_path(path)
    if frames and (recording.body is None or not any(recording.sizes)):
        raise _no_frames()
    return _replaced(target, lambda file: _write(recording, file, frames), "recording")


def dumped(recording: Recording) -> bytes:
    """What `save` writes, for what is no file of its own."""
    out = io.BytesIO()
    _write(recording, out, frames=False)
    return out.getvalue()


def write_text(path: str | os.PathLike[str], text: str, what: str) -> Path:
    """Write a text file, mode 0600, all or nothing; ``what`` it is, for error messages.

    Raises
    ------
    RecordingError
        The file cannot be written.
    """
    return _replaced(lines.as_path(path), lambda file: file.write(text.encode()), what)


def write_chunks(path: str | os.PathLike[str], chunks: Iterable[bytes], what: str) -> Path:
    """Write a file of these bytes, made while it is written, as `write_text` does."""
    return _replaced(lines.as_path(path), lambda file: file.writelines(chunks), what)


def _replaced(target: Path, write: Callable[[BinaryIO], object], what: str) -> Path:
    """Have a file written beside the old one, synced, and put in its place."""
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{what}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except (OSError, UnicodeEncodeError) as err:
        raise RecordingError(
            f"The {what} cannot be written to {target.name!r}: {lines.why(err)}.",
            remedy="Check that the folder exists and may be written to.",
        ) from None  # the cause would show the absolute path
    return target


def _write(recording: Recording, file: BinaryIO, frames: bool) -> None:
    # Another thread may go on recording: the status is from before the events, the events are counted here.
    digest, events, status = hashlib.sha256(), 0, recording.status
    try:
        for line, is_event in _lines(recording, frames):
            digest.update(line)
            file.write(line)
            events += is_event
        end = lines.end_line(status, events, digest.hexdigest(), recording.problems, spent=recording.spent)
        file.write(end)
    except BedrockNbError:
        raise
    except lines.NO_FORM as err:
        raise lines.no_form(err) from err


def _lines(recording: Recording, frames: bool) -> Iterator[tuple[bytes, bool]]:
    """Every line but the last, and whether it is an event's."""
    yield lines.head_line(recording), False
    beside, last = _beside(recording)
    body, begin = recording.body or b"", 0
    late = dict(recording.late)  # each is told once
    for t, read, nbytes, event in recording.rows():
        while beside and beside[0][0] <= t:
            yield beside.pop(0)[1], False
        frame = None
        if frames and nbytes:
            frame = body[begin : begin + nbytes]
            if not len(frame) == nbytes == int.from_bytes(frame[:4], "big"):  # it begins with its length
                raise _no_frames()
            begin += nbytes
        yield lines.event_line(event, t, read, nbytes, frame, late.pop(read, None)), True
    for _, line in sorted([*beside, *last], key=itemgetter(0)):
        yield line, False


def _beside(recording: Recording) -> tuple[list[tuple[float, bytes]], list[tuple[float, bytes]]]:
    """Lines beside those of events, with their times and in order of them; what stands after all events."""
    envelope = recording.envelope or None
    marks = {
        name: (t, lines.mark_line(name, t, envelope if name == "headers" else None))
        for name, t in list(recording.marks.items())  # other threads may mark
    }
    last = [marks.pop(name) for name in ("closed",) if name in marks]
    tools = [(run.ended_s, lines.tool_line(run)) for run in list(recording.tools)]
    return sorted([*marks.values(), *tools], key=itemgetter(0)), last


def _no_frames() -> RecordingError:
    return RecordingError(
        "The exact frames of this recording are not known.",
        remedy="They are kept while a reply is read from the wire, up to 4 MiB: save without frames.",
    )


# -- reading ---------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], kind: type[Recording]) -> Recording:
    """Read a recording; see `Recording.load`."""
    source = lines.as_path(path)
    try:
        with source.open("rb") as file:
            return _read(file, source.name, kind)
    except (OSError, UnicodeEncodeError) as err:
        raise RecordingError(
            f"The recording {source.name!r} cannot be read: {lines.why(err)}.",
            remedy="bedrock_nb.load_folder opens a folder of recordings."
            if source.is_dir()
            else f"Check the name. {lines.WHAT_IT_IS}",
        ) from None  # as above


def loaded(data: bytes, name: str, kind: type[Recording]) -> Recording:
    """The recording that `dumped` wrote; ``name`` is for error messages."""
    return _read(io.BytesIO(data), name, kind)


def _read(file: BinaryIO, name: str, kind: type[Recording]) -> Recording:
    head = file.readline()
    recording = lines.read_head(head, name, kind)
    recording.status = "interrupted"
    digest, events = hashlib.sha256(head), 0
    for number, line in enumerate(file, 2):
        if not line.endswith(b"\n"):
            recording.problems.append(f"Line {number} is torn and was dropped.")
            break
        if lines.read_delta(recording, line):
            digest.update(line)
            events += 1
            continue
        record = lines.parse(line, name, number)
        if "end" in record:
            lines.read_end(recording, record["end"], events, digest.hexdigest(), name)
            if file.readline():
                raise lines.changed(name, "it goes on after its end")
            break
        digest.update(line)
        events += "type" in record
        lines.read_part(recording, record, name, number)
    return recording
