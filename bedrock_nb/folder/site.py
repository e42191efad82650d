"""The files of a folder, and what can be known of each without its events.

Strategy: a file's first line says what was asked, its last line how that ended; both are read up to a bound,
for a file may be anything. A file that is no recording is noted once, under its path inside the folder.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeAlias

from bedrock_nb import lines
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.folder.progress import shown
from bedrock_nb.recording import Recording

__all__ = ["Head", "Labels", "Site", "is_dataset", "warn"]

_PACKAGE = Path(__file__).parents[1]

#: Labels for all, or a function from a file's path inside the folder to its labels.
Labels: TypeAlias = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]

# So much of a file's beginning must name the format; then the first line is read, up to many times the
# largest request that Bedrock takes. Bytes.
_BEGIN, _LONGEST_HEAD = 2**16, 2**28
# So much of a file's end is looked at for its last line, first and at most.
_TAIL, _LONGEST_TAIL = 2**12, 2**24


@dataclass(frozen=True)
class Head:
    """What the first line of a file says; its events were not read.

    Attributes
    ----------
    path : Path
        Of the file.
    name : str
        The path inside the folder, with ``/``.
    model : str
        The model id that was asked; empty if the request is not known.
    labels : dict
        The recording's, and those given to `load_folder`.
    clock : str
    started : float or None
        Wall-clock time of the request, seconds since the epoch.
    """

    path: Path = field(repr=False)
    name: str
    model: str
    labels: dict[str, Any]
    clock: str
    started: float | None

    @property
    def status(self) -> str:
        """How the reply ended, from the file's last line: ``interrupted`` without an end."""
        return status_of(self.path)


class Site:
    """The folder itself, which all `Folder` objects that were made of one share."""

    def __init__(
        self, root: Path, pattern: str, on_error: str, labels: Labels | None, progress: bool | None
    ) -> None:
        self.root, self.pattern, self.on_error = root, Path(pattern).parts, on_error
        self.labels, self.progress = labels, progress
        self.name = root.name or root.resolve().name or "/"
        self.problems: dict[str, str] = {}
        self.known: set[str] = set()  # names of the files that begin as recordings do
        self._warned: set[str] = set()

    def heads(self) -> list[Head]:
        """The head of each file that has one, in order of their paths; what has none is noted."""
        found = sorted((path.relative_to(self.root).parts, path) for path in self._found())
        heads = []
        for parts, path in shown(found, self.progress, f"listing {self.name}"):
            name = os.fsencode("/".join(parts)).decode("utf-8", "replace")  # any bytes may be a name
            try:
                heads.append(self._head(path, name))
            except RecordingError as err:
                self.note(name, err, "no recording")
        if not found:
            wanted = "/".join(self.pattern)
            hint = " It is a dataset: nb.open_dataset opens it." if is_dataset(self.root) else ""
            self._warn("empty", f"No file in the folder {self.name!r} fits the pattern {wanted!r:.60}.{hint}")
        self.known.update(head.name for head in heads)
        return heads

    def _found(self) -> Iterator[Path]:
        """The files that fit the pattern; `Path.glob` says nothing of folders that it may not read."""
        dotted = any(part.startswith(".") for part in self.pattern)
        for place, folders, files in os.walk(self.root, onerror=self._closed):
            parts = Path(place).relative_to(self.root).parts
            if not dotted:
                folders[:] = [name for name in folders if not name.startswith(".")]
                files = [name for name in files if not name.startswith(".")]
            through = self.pattern[: len(parts) + 1]
            if "**" not in through:  # nothing beside the pattern's way is looked at
                deeper = len(through) < len(self.pattern)
                folders[:] = [name for name in folders if deeper and fnmatchcase(name, through[-1])]
            yield from (Path(place, name) for name in files if _fits((*parts, name), self.pattern))

    def _closed(self, err: OSError) -> None:
        if isinstance(err, FileNotFoundError):  # it went while we looked
            return
        place = Path(err.filename).relative_to(self.root)
        name = place.as_posix() if place.parts else self.name
        self.note(
            name, RecordingError(f"The folder {name!r} cannot be read: {lines.why(err)}."), "no recording"
        )

    def _head(self, path: Path, name: str) -> Head:
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe might wait for ever
                raise RecordingError(f"{name!r} is not a regular file.")
            with path.open("rb") as file:
                line = file.readline(_BEGIN)
                if lines.FORMAT.encode() in line and not line.endswith(b"\n"):
                    line += file.readline(_LONGEST_HEAD)
                head = lines.read_head(line, name, Recording)
        except OSError as err:
            raise RecordingError(f"The file {name!r} cannot be read: {lines.why(err)}.") from None
        labels = {**self._given(name), **head.labels}
        return Head(path, name, head.model, labels, head.clock, head.started)

    def _given(self, name: str) -> Mapping[str, Any]:
        given = self.labels(Path(name)) if callable(self.labels) else self.labels or {}
        if not isinstance(given, Mapping):
            raise RequestError(f"labels made a {type(given).__name__} of {name!r:.60}; a dict is wanted.")
        return given

    def load(self, head: Head) -> Recording:
        """The recording of one file, with the labels of its head."""
        recording = Recording.load(head.path)
        recording.labels = {**head.labels, **recording.labels}
        return recording

    def note(self, name: str, err: RecordingError, kind: str) -> None:
        """Leave a file out: say so once of each kind; or raise, if that is wanted."""
        if self.on_error == "raise":
            raise err
        self.problems[name] = str(err)
        self._warn(
            kind, f"{name!r} in the folder {self.name!r} is left out. {err} folder.problems has all such."
        )

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            warn(text)


def is_dataset(folder: Path) -> bool:
    """Whether a folder has the replies of an experiment in Parquet files: see `experiment.dataset`."""
    return any(folder.glob("replies/run=*/part-*.parquet"))


def warn(text: str) -> None:
    """Warn, and point at the line outside this package that led here, however many calls are between."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and Path(frame.f_code.co_filename).is_relative_to(_PACKAGE):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, stacklevel=level)


def _fits(parts: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a path fits a pattern, part by part; ``**`` are any number of folders."""
    if not pattern or not parts:
        return not pattern and not parts
    if pattern[0] == "**":
        return _fits(parts, pattern[1:]) or _fits(parts[1:], pattern)
    return fnmatchcase(parts[0], pattern[0]) and _fits(parts[1:], pattern[1:])


def status_of(path: Path) -> str:
    """The status that the last line of a file says; nobody checks here that its lines are untouched."""
    try:
        with path.open("rb") as file:
            line = _last_line(file)
    except OSError:
        return "interrupted"
    if not line.endswith(b"\n"):
        return "interrupted"  # torn, as `files` sees it
    try:
        end = lines.parse(line, path.name, 0).get("end")
    except RecordingError:
        return "interrupted"
    status = end.get("status") if isinstance(end, dict) else None
    return "interrupted" if status in (None, "streaming") else str(status)


def _last_line(file: io.BufferedReader) -> bytes:
    """The last line; nothing if it is longer than any that we write."""
    size = file.seek(0, os.SEEK_END)
    tail = _TAIL
    while True:
        file.seek(max(0, size - tail))
        end = file.read(tail)
        begin = end.rfind(b"\n", 0, len(end) - 1) + 1
        if begin or tail >= size:
            return end[begin:]
        if tail >= _LONGEST_TAIL:
            return b""
        tail *= 8
