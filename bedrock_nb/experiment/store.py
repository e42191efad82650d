"""The folder of a sweep, in which a finished reply is exactly once, whatever ends the process.

    sweep.json               what was asked, in words; with what; how it ended
    replies/<key>.jsonl      a finished reply: a recording under its cell's key
    replies/.<key>.….part    one that runs: its journal
    replies/.interrupted/    what came of replies that were cut short

Strategy: each reply is journalled, so all of it that was seen is in a file even if the process is killed; one
``rename`` makes it a finished one. Whoever comes next takes the journals that have their end in, and puts the
others aside. The folder is locked while somebody writes to it. What ``sweep.json`` says is told in
`sweeping.plan`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from bedrock_nb import files, lines
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.folder.site import status_of
from bedrock_nb.recording import Recording

__all__ = ["ENDS", "FAILED", "RECORD", "Memory", "Store"]

#: The file that says what was asked.
RECORD = "sweep.json"
#: How a reply ends that failed, and how one ends that counts as asked.
FAILED = ("error", "incomplete")
ENDS = ("complete", *FAILED)
_FINISHED = re.compile(r"[0-9a-f]{16}\.jsonl")
_FOLDER = "Check that the folder may be written to."


class Memory:
    """Finished replies of a sweep without a folder: what a `Store` has, kept in this process."""

    folder: Path | None = None

    def __init__(self) -> None:
        self._kept: dict[str, Recording] = {}

    @property
    def keys(self) -> set[str]:
        """Of the finished replies."""
        return set(self._kept)

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def told(self) -> bytes | None:
        """Nobody was told anything."""
        return None

    def tell(self, text: bytes) -> None:
        """Nobody is told."""

    def status(self, key: str) -> str:
        """How a finished reply ended."""
        return self._kept[key].status

    def load(self, key: str) -> Recording:
        """A finished reply."""
        return self._kept[key]

    def part(self, key: str) -> Path | None:
        """There is no journal but the one that is configured."""
        return None

    def settle(self, key: str, part: Path | None, recording: Recording | None) -> bool:
        """Keep a reply if it is finished, and say whether it is; None was cancelled."""
        if recording is None or recording.status not in ENDS:
            return False
        self._kept[key] = recording
        return True

    def drop(self, part: Path | None) -> None:
        """There is no journal."""


class Store:
    """The folder of one sweep, open for writing: use it in a ``with`` block.

    Parameters
    ----------
    folder : path
        It is made if need be.

    Attributes
    ----------
    keys : set of str
        Of the finished replies.

    Raises
    ------
    RequestError
        Another sweep is writing to it.
    RecordingError
        It cannot be made or read.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = lines.as_path(folder)
        # Absolute: it is read from when the working folder is another.
        self.replies = self.folder.absolute() / "replies"
        self.keys: set[str] = set()
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Store:
        try:
            self.replies.mkdir(0o700, parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("wb")
        except OSError as err:
            raise self._bad(err) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise RequestError(
                f"Another sweep is writing to the folder {self.folder.name!r}.",
                remedy="Wait for its end, or give this one a folder of its own.",
            ) from None
        self._lock = lock
        try:
            self._take_up()
        except OSError as err:
            self.close()
            raise self._bad(err) from None
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others write to it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _bad(self, err: OSError) -> RecordingError:
        return RecordingError(
            f"The folder {self.folder.name!r} cannot be used for a sweep: {lines.why(err)}.", remedy=_FOLDER
        )

    def _take_up(self) -> None:
        """Find what is finished, and settle what a process left that was killed."""
        self.keys = set(finished(self.folder))
        with os.scandir(self.replies) as entries:
            parts = [Path(entry.path) for entry in entries if entry.name.endswith(".part")]
        for part in parts:
            with contextlib.suppress(FileNotFoundError):  # a run that was left just now settled it
                self._settled(part.name.split(".")[1], part, None)

    # -- replies -----------------------------------------------------------------------------------

    def part(self, key: str) -> Path:
        """Where the journal of a reply is to be that is about to be asked for."""
        return self.replies / f".{key}.{os.urandom(4).hex()}.part"

    def path(self, key: str) -> Path:
        """The file of a finished reply."""
        return self.replies / f"{key}.jsonl"

    def status(self, key: str) -> str:
        """How a finished reply ended."""
        return status_of(self.path(key))

    def load(self, key: str) -> Recording:
        """A finished reply; also when the store is closed."""
        return Recording.load(self.path(key))

    def settle(self, key: str, part: Path | None, recording: Recording | None = None) -> bool:
        """Make a reply a finished one if it is; put what came of it aside if it is not.

        Parameters
        ----------
        key : str
        part : path
            Its journal.
        recording : Recording, optional
            The reply, whose journal may have stopped before it did.

        Returns
        -------
        bool
            Whether it is finished. Once the store is closed nothing is: the folder may be another run's.

        Raises
        ------
        RecordingError
            It is finished, and cannot be written.
        """
        assert part is not None
        if self._lock is None:
            return False
        try:
            return self._settled(key, part, recording)
        except OSError as err:
            raise RecordingError(
                f"The reply {key} cannot be written to {self.folder.name!r}: {lines.why(err)}.",
                remedy=_FOLDER,
            ) from None

    def _settled(self, key: str, part: Path, recording: Recording | None) -> bool:
        status = status_of(part)
        if recording is not None and recording.status in ENDS and status == "interrupted":
            recording.save(part)  # raises if the disk is still full
            status = recording.status
        if status in ENDS:
            part.replace(self.path(key))
            self.keys.add(key)
            return True
        if part.exists():  # else it was cancelled before it began
            aside = self.replies / ".interrupted"
            aside.mkdir(0o700, exist_ok=True)
            part.replace(aside / f"{part.name.strip('.').removesuffix('.part')}.jsonl")
        return False

    def drop(self, part: Path | None) -> None:
        """Take away the journal of what was no reply."""
        assert part is not None
        with contextlib.suppress(OSError):
            part.unlink()

    # -- what was asked ----------------------------------------------------------------------------

    def told(self) -> bytes | None:
        """What is in ``sweep.json``, if there is one."""
        try:
            return (self.folder / RECORD).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            raise self._bad(err) from None

    def tell(self, text: bytes) -> None:
        """Write ``sweep.json``."""
        files.write_chunks(self.folder / RECORD, [text], "sweep")


def finished(folder: Path) -> Iterator[str]:
    """Keys of the finished replies in the folder of a sweep."""
    with os.scandir(folder / "replies") as entries:
        for entry in entries:
            if _FINISHED.fullmatch(entry.name):
                yield entry.name.removesuffix(".jsonl")
