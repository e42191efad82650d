"""Cassettes: answers recorded once, from Bedrock or any other responder, and replayed ever after.

Strategy: a cassette is a folder of recordings in the project's own format, one file for each answer, and a
responder like any other: `Cassette` finds the recording of a request, or asks the responder behind it and
keeps what comes. The modes and their names are those that vcr has made common. Requests are compared part by
part, by plain functions in one table, so that a miss can say which part differs, and where.

What is kept is the request and the answer. No header of the request is seen here, so there is no credential
to keep; account numbers in model ids are masked before anything is compared or written.
"""

from __future__ import annotations

import copy
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from inspect import isgenerator
from itertools import count
from pathlib import Path
from typing import Any

from bedrock_nb.errors import (
    BedrockNbError,
    RecordingError,
    RefusedError,
    RequestError,
    ServiceFault,
)
from bedrock_nb.events import Event, MessageComplete, StreamFault, ToolUse
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.matching import (
    MATCHERS,
    MATCHERS_DEFAULT,
    Matcher,
    digest_of,
    lesson,
    many,
    matchers,
    without_account,
)
from bedrock_nb.server.refusal import Refusal, refused_as
from bedrock_nb.server.responders import Answer, Responder

__all__ = [
    "MATCHERS",
    "MATCHERS_DEFAULT",
    "MODES",
    "Cassette",
    "Matcher",
]

LOG = logging.getLogger("bedrock_nb.server")

#: What a cassette does about a request: only replay; replay, and record if there was nothing when it was
#: opened; replay, and record what is missing; never replay, always record.
MODES = ("none", "once", "new_episodes", "all")


_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_NUMBER = re.compile(r"(\d{4,9})-")
_UNNUMBERED = 10**9  # files of other names come after all that have a number
#: Times of a replay at once: no difference to see, and still times, so that no latency law replaces them.
_AT_ONCE = 1e-9


# -- the cassette ----------------------------------------------------------------------------------


@dataclass(eq=False)
class _Entry:
    """A recording of the cassette, and whether it has been given since the cassette was opened."""

    path: Path
    request: Request
    recording: Recording
    given: bool = False


class Cassette:
    """A responder that replays recorded answers, and records those that it does not have.

    Only whole answers are kept: none that broke off, failed, or was left by its client. What is recorded can
    be replayed at once. Equal requests that were recorded several times are replayed in
    their order, and after the last the last again.

    Parameters
    ----------
    folder : path
        Of the recordings: ``NNNN-<digest of the request>.jsonl``. Any other recording that was saved there
        as ``.jsonl`` is replayed, too.
    mode : {"once", "none", "new_episodes", "all"}
        "none" only replays. "once" records if there was no recording when the cassette was opened, and only
        replays otherwise. "new_episodes" replays what is there and records the rest. "all" never replays; a
        new answer takes the place of the older one to the same request.
    then : Responder, optional
        Who is asked for what is to be recorded, such as `upstream.bedrock()`.
    match : sequence of functions or names
        What must be the same: functions of two requests, asked and recorded, or names of `MATCHERS`. By
        default everything but ``requestMetadata``, which is only a label.
    speed : float
        Pace of a replay: 1 is as recorded, 10 ten times as fast, ``float("inf")`` at once. Recorded times
        count from when the request was sent, so they have the network of that day in them.
    exact : bool
        Replay the very frames of the wire where the recording has them, in place of new frames for the same
        events.
    name : str, optional
        The cassette is the folder of this name in ``folder``: small letters, digits, ``_`` and ``-``.
    clock : function
        Monotonic seconds: the arrival times of answers that bring no recording of their own.

    Raises
    ------
    RequestError
        An argument that cannot work.
    RecordingError
        A file of the cassette is no recording, is damaged, or does not say what was asked.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> from bedrock_nb.server import BedrockServer, Cassette, scripted
    >>> cassette = Cassette("cassettes/greetings", then=scripted("Hello."))  # or then=bedrock(), which is AWS
    >>> with BedrockServer(cassette) as server:
    ...     nb.chat(server.client(), "Good morning")
    'Hello.'
    >>> with BedrockServer(Cassette("cassettes/greetings", mode="none")) as server:
    ...     nb.chat(server.client(), "Good morning")
    'Hello.'
    """

    #: A request means the guardrails of whoever was recorded.
    asks_elsewhere = True

    def __init__(
        self,
        folder: str | Path,
        mode: str = "once",
        *,
        then: Responder | None = None,
        match: Sequence[Matcher | str] = MATCHERS_DEFAULT,
        speed: float = 1.0,
        exact: bool = False,
        name: str | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if mode not in MODES:
            raise RequestError(f"There is no mode {mode!r}.", remedy=f"Modes are {', '.join(MODES)}.")
        if isinstance(speed, bool) or not isinstance(speed, int | float) or not speed > 0:
            raise RequestError(
                f"speed is {speed!r}; a number above 0 is wanted.", remedy="1.0 is the recorded pace."
            )
        if then is not None and not callable(then):
            raise RequestError(
                f"then is of type {type(then).__name__}.", remedy="Give a responder, such as bedrock()."
            )
        self.mode, self.speed, self.exact = mode, float(speed), exact
        self.folder = _folder(folder, name)
        self._then, self._clock = then, clock
        self._matchers = matchers(match)
        self._lock = threading.Lock()
        self._entries = [_load(path, frames=exact) for path in _paths(self.folder)]
        self._records = mode in ("new_episodes", "all") or (mode == "once" and not self._entries)
        if self._records and then is None:
            raise RequestError(
                f"In mode {mode!r} this cassette records, and nobody is named who could be asked.",
                remedy='Give a responder, then=bedrock(), or replay only: mode="none".',
            )
        _settle(self.folder, make=self._records)
        numbers = [_number(entry.path.name) for entry in self._entries]
        self._numbers = count(max((n for n in numbers if n < _UNNUMBERED), default=0) + 1)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<Cassette {self.folder.name}: {many(len(self))}, mode {self.mode!r}>"

    def __call__(self, request: Request) -> Answer:
        """Answer a request.

        Raises
        ------
        Refusal
            404 if there is no recording and none may be made; what was recorded, if that is a refusal.
        """
        asked = without_account(request)
        found = self._find(asked)
        if found is not None and self.mode != "all":
            return self._replayed(found.recording)
        if not self._records or self._then is None:
            known = [(entry.path.name, entry.request) for entry in self._entries.copy()]
            raise Refusal(404, "ResourceNotFoundException", lesson(asked, known, self._matchers))
        begun = self._clock()
        answer = self._then(request)

        def keep(recording: Recording) -> None:
            self._keep(asked, recording, found)

        if isinstance(answer, Recording):
            keep(answer)
        elif isinstance(answer, Iterable):  # else it is none, and the server says so
            return _Taping(answer, keep, lambda: self._clock() - begun)
        return answer

    def _find(self, asked: Request) -> _Entry | None:
        """The first recording of this request that was not given yet; else the last; else None."""
        entries = self._entries.copy()
        same = [entry for entry in entries if all(test(asked, entry.request) for test in self._matchers)]
        with self._lock:  # not around the matchers: they may be anybody's
            found = next((entry for entry in same if not entry.given), same[-1] if same else None)
            if found is not None:
                found.given = True
        return found

    def _replayed(self, recording: Recording) -> Recording:
        """The recording as it is performed: its own copy, at the pace that was asked for."""
        if isinstance(error := recording.error, RefusedError):
            raise refused_as(error)
        again = recording.like()
        again.envelope, again.problems = dict(recording.envelope), list(recording.problems)
        again.status = recording.status
        for t, read, nbytes, event in recording.rows():
            # Other faults than the service's were of the client, or of its network: nothing came then.
            if not isinstance(event, StreamFault) or isinstance(event.error, ServiceFault):
                again.append(event, self._due(t), read, nbytes)
        for mark, t in recording.marks.items():
            again.mark(mark, self._due(t))
        if self.exact and recording.body is not None:
            again.keep(recording.body)
        return again

    def _due(self, t: float) -> float:
        return _AT_ONCE if math.isinf(self.speed) else t / self.speed

    # -- recording ---------------------------------------------------------------------------------

    def _keep(self, asked: Request, recording: Recording, place: _Entry | None) -> None:
        """Save an answer, in the place of an older one or with a number of its own. Raises nothing."""
        whole = recording.stop_reason is not None and recording.error is None
        if not whole or recording.status not in ("complete", "streaming"):  # who makes one may forget it
            _not_kept(f"it is {recording.status}")
            return
        kept = copy.copy(recording)  # the columns are shared: nothing is added to them any more
        kept.request, kept.status = asked.to_kwargs(), "complete"
        frames = kept.body is not None and len(kept.body) == sum(kept.sizes)
        try:
            path = kept.save(self._new_path(asked) if place is None else place.path, frames=frames)
        except (BedrockNbError, OSError, TypeError, ValueError, RecursionError) as err:
            LOG.warning("an answer could not be kept in a cassette: %s", err)
            return
        if not self.exact:
            kept.forget()
        with self._lock:
            if place is None:
                self._entries.append(_Entry(path, asked, kept, given=True))
            else:
                place.request, place.recording = asked, kept

    def _new_path(self, asked: Request) -> Path:
        digest = digest_of(asked)[:8]
        while True:
            path = self.folder / f"{next(self._numbers):04}-{digest}.jsonl"  # next() is atomic
            if not path.exists():  # another process may record in the same folder
                return path


class _Taping(Iterator[Event]):
    """An answer on its way to the client: each event is passed on as it comes, and the whole is kept."""

    def __init__(self, answer: Any, keep: Callable[[Recording], None], since: Callable[[], float]) -> None:
        self._answer, self._events = answer, iter(answer)
        self._keep, self._since = keep, since
        theirs = getattr(answer, "recording", None)
        kept = theirs if isinstance(theirs, Recording) and theirs.keeps else None
        self._own = kept is None
        self._recording = Recording(clock="parsed") if kept is None else kept
        self._ended = False
        self._busy = threading.Lock()

    def __next__(self) -> Event:
        try:
            with self._busy:
                event: Event = next(self._events)
        except StopIteration:
            if not self._ended:
                self._ended = True
                self._keep(self._recording)
            raise
        except Exception as err:
            self._ended = True
            _not_kept(f"it failed with {type(err).__name__}")
            raise
        if isinstance(event, StreamFault) and not self._ended:
            self._ended = True
            _not_kept("it ended in a fault")
        if self._own and not isinstance(event, ToolUse | MessageComplete):  # these follow from the others
            try:
                self._recording.append(event, self._since())
            except RequestError:  # no event at all: the server says so to the client
                self._recording.status = "error"
        return event

    def close(self) -> None:
        """The client has gone: so do we, and keep nothing that is not whole. From any thread."""
        if not self._ended:
            self._ended = True
            if self._recording.stop_reason is not None and self._recording.metadata is not None:
                self._keep(self._recording)  # all came; many a client does not wait for the end of HTTP
            else:
                _not_kept("the client has gone")
        for holder in dict.fromkeys((self._answer, self._events)):
            close = getattr(holder, "close", None)
            if isgenerator(holder):
                with self._busy:  # a generator may not be closed while it runs
                    holder.close()
            elif callable(close):
                close()


def _not_kept(why: str) -> None:
    LOG.info("an answer is not kept in its cassette: %s", why)


# -- files -----------------------------------------------------------------------------------------


def _folder(folder: str | Path, name: str | None) -> Path:
    try:
        parent = Path(folder)
        if "\0" in str(parent):
            raise ValueError
    except (TypeError, ValueError):
        raise RequestError(f"{folder!r:.60} is no folder.", remedy="Give a path.") from None
    if name is None:
        return parent
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RequestError(
            f"{name!r:.80} is no name of a cassette.",
            remedy="Names are 1 to 64 small letters, digits, _ and -.",
        )
    path = parent / name
    if path.resolve().parent != parent.resolve():
        raise RequestError(f"The cassette {name!r} leads out of its folder.", remedy="Remove the link.")
    return path


def _paths(folder: Path) -> list[Path]:
    """The files of a cassette: those with numbers in their order, then the others by name."""
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder.name!r} is a file.", remedy="A cassette is a folder of recordings.")
    found = [path for path in folder.glob("*.jsonl") if path.is_file() and not path.name.startswith(".")]
    return sorted(found, key=lambda path: (_number(path.name), path.name))


def _number(name: str) -> int:
    found = _NUMBER.match(name)
    return int(found[1]) if found else _UNNUMBERED


def _load(path: Path, *, frames: bool) -> _Entry:
    recording = Recording.load(path)  # its errors name the file
    if not frames:
        recording.forget()
    if recording.status == "interrupted":
        raise RecordingError(
            f"{path.name!r} breaks off: it has no end, or was saved while its reply streamed.",
            remedy="Delete it, or record it again.",
        )
    try:
        request = without_account(Request.from_kwargs(recording.request))
        request.to_kwargs()
    except (BedrockNbError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as err:
        raise RecordingError(
            f"{path.name!r} does not say what was asked, so no request is like it: {err}",
            remedy="A cassette needs recordings with their requests, as stream makes them.",
        ) from err
    return _Entry(path, request, recording)


def _settle(folder: Path, *, make: bool) -> None:
    """See that there is a folder."""
    if not make and not folder.is_dir():
        raise RequestError(
            f"There is no cassette {folder.name!r}, and without one there is nothing to replay.",
            remedy='Look at the path, or record one: mode="once", then=bedrock().',
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise RequestError(
            f"The folder {folder.name!r} cannot be made: {err.strerror or type(err).__name__}.",
            remedy="A cassette needs a folder that may be written to.",
        ) from None  # the cause would show the absolute path
