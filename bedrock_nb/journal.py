"""A recording's file, written while its reply streams: *an event that you were shown is in the file*.

Strategy: append only, one line and one ``write`` for each event, before anybody is handed it. What the
kernel of the system was given outlives the Python process, however that ends; ``durability`` says what
outlives the machine. The file is new and its owner's alone, its lines are those of `lines`, and `files`
loads it as it loads any: without its end it counts as interrupted.

KeyboardInterrupt may strike between any two bytecodes, so what the file holds is one value, `_State`, and
changes in one assignment. The state that a line leads to is noted before the line is written; whether it
was is then asked of the file's size. A disk that is full stops the journal and not the reply: it says at
which event, and the file gets no end.

Not here: what is in a line (`lines`), reading (`files`), who calls and when (`intake`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bedrock_nb import lines, settings
from bedrock_nb.errors import BedrockNbError, RecordingError

if TYPE_CHECKING:
    from bedrock_nb.events import Event
    from bedrock_nb.recording import Recording

__all__ = ["Journal"]

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
#: ``durability="interval"`` syncs so often: what a loss of power may cost.
_INTERVAL_S = 0.1
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter

_CHECK = "Check that the folder exists and may be written to."
_NEVER_OVER = "A journal never overwrites: give a folder, and each reply gets a file of its own there."


class _State(NamedTuple):
    """What the file holds, up to the end of one line."""

    size: int
    events: int
    tools: int
    digest: Any
    ended: bool


class Journal:
    """One reply's file, which only grows.

    Parameters
    ----------
    target : path
        A folder: the file gets a name of its own there. A path is one if there is a folder, if it ends with
        a separator or if it has no suffix; it is made if need be, mode 0700, its parents too. Or a file,
        which must not exist.
    recording : Recording
        Whose request opens the file. What stops the journal is added to its ``problems``.
    durability : {"crash", "interval", "each"}
        What survives besides the end of the process (``crash``): loss of power, but for the last 100 ms;
        loss of power, at the price of waiting for the disk at each event.

    Attributes
    ----------
    path : Path
        The file.
    stopped : str or None
        Why nothing more is written, in a sentence that names the first event (counted from 0) that is not
        in the file; None while all is well.

    Raises
    ------
    RequestError
        ``durability`` is none of the three.
    RecordingError
        The file cannot be opened, or the request has no form in JSON. No file is left.
    """

    path: Path
    stopped: str | None = None
    _fd = -1  # closed

    def __init__(
        self, target: str | os.PathLike[str], recording: Recording, *, durability: str = "crash"
    ) -> None:
        settings.check_choice("durability", durability)
        self.durability, self._recording = durability, recording
        self._state = _State(0, 0, 0, hashlib.sha256(), False)
        self._pending: _State | None = None
        self._marks: dict[str, float] = {}
        # Reentrant: a signal's handler may end the journal that it interrupts.
        self._lock, self._process = threading.RLock(), os.getpid()
        self._over = threading.Event()
        place = lines.as_path(target)
        try:
            head = lines.head_line(recording)
            self._envelope = {} if "headers" in recording.marks else dict(recording.envelope)
        except lines.NO_FORM as err:
            raise lines.no_form(err) from err
        try:
            self.path = _choose(target, place, recording.started)
            self._fd = os.open(self.path, _FLAGS, 0o600)
            try:
                self._begin(head)
            except BaseException:
                self.path.unlink(missing_ok=True)
                self._close()
                raise
        except (OSError, UnicodeEncodeError, RuntimeError) as err:  # RuntimeError: no thread can be started
            raise RecordingError(
                f"The journal {place.name!r} cannot be opened: {lines.why(err)}.",
                remedy=_NEVER_OVER if isinstance(err, FileExistsError) else _CHECK,
            ) from None  # the cause would show the absolute path

    def _begin(self, head: bytes) -> None:
        self._append(head)
        self._state = _State(len(head), 0, 0, hashlib.sha256(head), False)
        if self.durability != "crash":
            _sync(self._fd)
            _sync_folder(self.path.parent)
        if self.durability == "interval":
            # Its descriptor is its own: the journal can be closed without waiting for it.
            copy = os.dup(self._fd)
            try:
                threading.Thread(
                    target=_keep_synced,
                    args=(weakref.ref(self), self._over, copy),
                    name="bedrock-nb journal",
                    daemon=True,
                ).start()
            except RuntimeError:  # it never ran; otherwise it closes its copy
                os.close(copy)
                raise

    @property
    def events(self) -> int:
        """How many events are in the file."""
        return self._state.events

    def __repr__(self) -> str:
        how = "stopped" if self.stopped else "ended" if self._state.ended else "open"
        return f"<Journal: {self.events} event{'' if self.events == 1 else 's'}, {how}>"

    # -- writing -----------------------------------------------------------------------------------

    def write(self, event: Event, t: float, read: int, nbytes: int, late: float | None = None) -> None:
        """Write one event; the arguments are those of `Recording.append`, and what `Recording.late` has.

        When this returns, the event is in the file or ``stopped`` says why not. I/O errors raise nothing.

        Raises
        ------
        RequestError
            The event is one that the fold makes.
        """
        if not self._is_ours():
            return
        try:
            line = lines.event_line(event, t, read, nbytes, late=late)
        except BedrockNbError:
            raise
        except lines.NO_FORM as err:
            self._stop(f"it cannot be written as JSON ({err})")
            return
        self._put(line, events=1)

    def follow(self, recording: Recording) -> None:
        """Write what is new since the last call: runs of tools, marks, and the envelope with them."""
        known = len(recording.tools) == self._state.tools
        if known and recording.marks == self._marks and recording.envelope == self._envelope:
            return
        if not self._is_ours():
            return
        with self._lock:
            if self._pending is not None:
                self._settle()
            for run in recording.tools[self._state.tools :]:
                try:
                    line = lines.tool_line(run)
                except lines.NO_FORM as err:
                    self._stop(f"the run of a tool cannot be written as JSON ({err})")
                    return
                self._put(line, tools=1)
            marks, envelope = dict(recording.marks), dict(recording.envelope)  # other threads may mark
            due = {name: t for name, t in marks.items() if self._marks.get(name) != t}
            carrier = None
            if envelope != self._envelope:
                # It came with the headers; where nobody saw them come, the next mark takes it along.
                carrier = "headers" if "headers" in marks else next(iter(due), None)
                if carrier is not None:
                    due[carrier] = marks[carrier]
            for name, t in sorted(due.items(), key=lambda mark: (mark[0] == "closed", mark[1])):
                try:
                    line = lines.mark_line(name, t, envelope if name == carrier else None)
                except lines.NO_FORM as err:
                    self._stop(f"a mark cannot be written as JSON ({err})")
                    return
                self._put(line)
                # Only now: a mark that is written twice does no harm, one that is not written does.
                self._marks[name] = t
                if name == carrier:
                    self._envelope = envelope

    def end(self, recording: Recording) -> None:
        """Write what is left and the last line, and close the file; nothing, if that was done.

        After an interrupt it may be called again. A journal that was stopped gets no last line.
        """
        if self._fd >= 0 and self._is_ours():
            with self._lock:
                self._settle()
                self.follow(recording)
                self._finish(recording)
                if self.durability != "crash":
                    self._wait_for_disk()
                if self.stopped is not None:
                    self._report()  # an interrupt may have kept it from being said
        self._close()

    def _finish(self, recording: Recording) -> None:
        state = self._state
        envelope = recording.envelope if recording.envelope != self._envelope else None
        try:
            line = lines.end_line(
                recording.status,
                state.events,
                state.digest.hexdigest(),
                recording.problems,
                envelope,
                recording.spent,
            )
        except lines.NO_FORM as err:
            self._stop(f"its end cannot be written as JSON ({err})")
            return
        self._put(line, ended=True)

    def _put(self, line: bytes, events: int = 0, tools: int = 0, ended: bool = False) -> None:
        """Write a line, whole; or stop."""
        with self._lock:
            if self._pending is not None:
                self._settle()
            was = self._state
            if self.stopped is not None or self._fd < 0 or was.ended:
                return
            digest = was.digest.copy()
            digest.update(line)
            counts = was.events + events, was.tools + tools
            now = self._pending = _State(was.size + len(line), *counts, digest, ended)
            try:
                self._append(line)
                if self.durability == "each":
                    _sync(self._fd)
            except OSError as err:
                self._stop(lines.why(err))
            else:
                # In this order: an interrupt between the two leaves a pending state that is reached.
                self._state = now
                self._pending = None

    def _append(self, line: bytes) -> None:
        done = os.write(self._fd, line)
        while done < len(line):  # a short write does not say why; to ask for the rest does
            done += os.write(self._fd, line[done:])

    def _is_ours(self) -> bool:
        """Whether this is the process that opened the file; two that write would spoil it."""
        if os.getpid() == self._process:
            return True
        self._stop("this process was forked from the one that writes it")
        return False

    def _settle(self) -> None:
        """Ask the file whether the line that was pending when an interrupt came is in it."""
        if self.stopped is not None:
            return
        pending = self._pending
        try:
            size = os.fstat(self._fd).st_size
        except OSError as err:
            self._stop(lines.why(err))
            return
        if pending is not None and size == pending.size:
            self._state = pending
        elif size != self._state.size:
            self._stop("its last line is torn" if pending else "somebody else wrote into the file")
        self._pending = None

    def _wait_for_disk(self) -> None:
        try:
            _sync(self._fd)
        except OSError as err:
            self._stop(lines.why(err))

    # -- ending ------------------------------------------------------------------------------------

    def _stop(self, reason: str) -> None:
        """Write nothing more, and say so. The first reason counts."""
        if self.stopped is None and self._fd >= 0:
            self.stopped = f"The journal stopped at event {self.events}: {reason}."
            self._report()

    def _report(self) -> None:
        if self.stopped is not None and self.stopped not in self._recording.problems:
            self._recording.problems.append(self.stopped)

    def _close(self) -> None:
        self._over.set()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            # What matters was written by system calls that said so; a close that fails tells nothing new.
            with contextlib.suppress(OSError):
                os.close(fd)

    def __del__(self) -> None:
        if self._fd >= 0:
            self._close()


def configured(recording: Recording) -> Journal | None:
    """The journal that `configure` asks for.

    For what is being read already: where there can be none, the recording says so and goes on all the same.
    """
    asked = settings.current()
    if asked.journal is None:
        return None
    try:
        return Journal(asked.journal, recording, durability=asked.durability)
    except RecordingError as err:
        recording.problems.append(str(err))
        return None


def _choose(target: str | os.PathLike[str], place: Path, started: float | None) -> Path:
    """The file to be made; makes the folder it is in, if a folder was given."""
    if not (os.fspath(target).endswith(os.sep) or not place.suffix or place.is_dir()):
        return place
    for folder in (*reversed(place.parents), place):
        if not folder.is_dir():
            folder.mkdir(0o700, exist_ok=True)  # another thread may be making it
    moment = datetime.fromtimestamp(time.time() if started is None else started, UTC)
    stamp = moment.strftime("%Y%m%dT%H%M%S.") + f"{moment.microsecond // 1000:03d}Z"
    return place / f"{stamp}-{os.urandom(4).hex()}.jsonl"


def _sync_folder(folder: Path) -> None:
    """The name of a new file outlives a loss of power only if its folder was synced."""
    with contextlib.suppress(OSError):  # some file systems cannot, and some folders may not be read
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _keep_synced(found: weakref.ref[Journal], over: threading.Event, fd: int) -> None:
    """Sync what was written since the last time; ends with the journal, which it does not keep alive."""
    synced = 0
    try:
        while not over.wait(_INTERVAL_S):
            journal = found()
            if journal is None:
                return
            size = journal._state.size
            if size != synced:
                try:
                    _sync(fd)
                except OSError as err:
                    journal._stop(lines.why(err))
                synced = size
            del journal  # or it would never be collected
    finally:
        os.close(fd)
