"""A recording: one request, its response's envelope, every event with its arrival time, and labels.

It is the only exchange format: the client makes one, files store it, the embedded server performs one,
tables and plots read it. Strategy: columns. A million events are a few typed arrays and one buffer of
UTF-8 text, 25 bytes an event besides its text; events are made again when somebody looks at them. The few
events that do not fit the columns (starts, stops, metadata, faults) are kept as they are, by position.

Times are seconds on the monotonic clock since the request was made; ``started`` is the one wall-clock
anchor. How a recording looks in a file is told in `lines`.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, get_args, overload

from bedrock_nb import files
from bedrock_nb.assembly import fold
from bedrock_nb.content import own
from bedrock_nb.errors import BedrockNbError, RequestError
from bedrock_nb.events import (
    CONTENT,
    BlockStop,
    Event,
    MessageComplete,
    MessageStop,
    Metadata,
    ReasoningDelta,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUse,
)
from bedrock_nb.message import Message
from bedrock_nb.toolruns import ToolRun

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["PLAIN", "Columns", "Recent", "Recording", "Row", "Status", "Unrecorded", "carries", "recordings"]

#: How a recording stands: ``interrupted`` is a file that ends before its reply did.
Status: TypeAlias = Literal["streaming", "complete", "cancelled", "incomplete", "error", "interrupted"]

#: The events that fit the columns, by their code; all others are kept whole, and those of the fold never.
PLAIN: tuple[type, ...] = (TextDelta, ReasoningDelta, ToolInputDelta, BlockStop)
_OTHER = 255
_CODE = dict.fromkeys(get_args(Event), _OTHER) | {kind: code for code, kind in enumerate(PLAIN)}
del _CODE[ToolUse], _CODE[MessageComplete]
_TEXT_OF: dict[type, str] = {TextDelta: "text", ReasoningDelta: "text", ToolInputDelta: "fragment"}
#: Wire bytes are kept beside the events up to this many; beyond it `Recording.body` is None.
KEEP_BODY = 4 * 2**20
#: So many of the latest recordings keep them: nobody asks for the frames of a reply of an hour ago.
_BODIES = 50


def carries(event: Event) -> bool:
    """Whether an event brings something of the answer: a delta that is not empty."""
    return isinstance(event, CONTENT) and any(getattr(event, f.name) for f in fields(event)[1:])


class Row(NamedTuple):
    """One event as it arrived: seconds, number of the network read, bytes of its frame, the event."""

    t: float
    read: int
    nbytes: int
    event: Event


class Columns(NamedTuple):
    """The events of a recording as columns of one length, for arithmetic on all of them at once.

    They are copies: the recording may grow meanwhile. Each array can be read by numpy as it is.

    Attributes
    ----------
    times : array of float
        Seconds since the request.
    reads, sizes : array of int
        Number of the network read that brought the event; bytes of its frame.
    codes : array of int
        The event's class as its place in `PLAIN`; beyond those, it stands in ``others``.
    blocks : array of int
        Its content block; 0 for those in ``others``.
    ends : array of int
        Where its text ends in ``text``; it begins where that of the event before ends.
    text : bytearray
        All texts in UTF-8, halves of surrogate pairs as "surrogatepass" writes them.
    others : dict of int to Event
        The events that do not fit the columns, by their position.
    """

    times: array[float]
    reads: array[int]
    sizes: array[int]
    codes: array[int]
    blocks: array[int]
    ends: array[int]
    text: bytearray
    others: dict[int, Event]


class Recording:
    """One reply, kept. Iteration gives its events, but for those that the fold makes: they follow.

    Parameters
    ----------
    request : mapping, optional
        What was asked: the keyword arguments of ``client.converse_stream``.
    labels : mapping, optional
        Anything to tell this recording from others by; columns of the summary table.
    clock : {"wire", "parsed", "schedule"}
        What the times are times of: bytes leaving the socket, dicts handed on by botocore, or a plan.
    started : float, optional
        Wall-clock time of the request, seconds since the epoch.

    Attributes
    ----------
    tools : list of ToolRun
        The calls of tools that the message asked for, as they ended: some of them after the reply, so that
        its journal has only those that were known at its end. `save` writes all that there are.
    late : dict of int to float
        By the number of a network read: for how many seconds at most its bytes may have been there while
        other code ran. It has those after which the reader came more than 10 ms late and, of reads that
        brought several events, all of 1 ms and more, time in which other threads computed included.
    spent : dict of str to float
        What this side took, seconds: ``client_s`` in all between its network reads, ``display_s`` to paint
        the reply. What is not known is not in it.
    """

    #: Whether events are kept.
    keeps = True

    def __init__(
        self,
        request: Mapping[str, Any] | None = None,
        *,
        labels: Mapping[str, Any] | None = None,
        clock: str = "wire",
        started: float | None = None,
    ) -> None:
        for name, given in (("request", request), ("labels", labels)):
            if not isinstance(given, Mapping | None):
                raise RequestError(f"{name} is of type {type(given).__name__}; a dict is wanted.")
        self.request: dict[str, Any] = own(request or {})  # the caller's list of messages may go on growing
        self.labels: dict[str, Any] = dict(labels or {})
        self.clock, self.started = clock, started
        self.envelope: dict[str, Any] = {}
        self.marks: dict[str, float] = {}
        self.status: Status = "streaming"
        self.problems: list[str] = []
        self.tools: list[ToolRun] = []
        self.late: dict[int, float] = {}
        self.spent: dict[str, float] = {}
        self.times, self.reads, self.sizes = array("d"), array("I"), array("I")
        self._codes, self._blocks = array("B"), array("I")
        self._ends = array("I")  # where each event's text ends in _text
        self._text = bytearray()
        self._others: dict[int, Event] = {}
        self._body: bytearray | None = bytearray()

    # -- writing -----------------------------------------------------------------------------------

    def append(self, event: Event, t: float, read: int = 0, nbytes: int = 0) -> None:
        """Add one event.

        Parameters
        ----------
        event : Event
            Anything from the wire; not an event that the fold makes.
        t : float
            Seconds since the request was made.
        read, nbytes : int
            Number of the network read that brought it; size of its frame, bytes.

        Raises
        ------
        RequestError
            One of these cannot be recorded; nothing was.
        """
        kind = type(event)
        try:
            if kind is TextDelta:
                self._text += event.text.encode("utf-8", "surrogatepass")  # type: ignore[union-attr]
                self._codes.append(0)
                self._blocks.append(event.index)  # type: ignore[union-attr]
            else:
                self._append_other(event, kind)
            self._ends.append(len(self._text))
            self.reads.append(read)
            self.sizes.append(nbytes)
            self.times.append(t)  # last: its length is the number of events a reader may look at
        except BaseException as err:  # KeyboardInterrupt too: the columns stay of one length
            self._take_back()
            if not isinstance(err, AttributeError | OverflowError | TypeError):
                raise
            raise RequestError(
                f"{event!r:.200} at {t!r} (read {read!r}, {nbytes!r} bytes) cannot be recorded: {err}.",
                remedy="Give an event of the wire, seconds, and whole numbers from 0 to 2**32 - 1.",
            ) from err

    def _append_other(self, event: Any, kind: Any) -> None:
        code = _CODE.get(kind)
        if code is None:
            raise TypeError(f"a {kind.__name__} does not come from the wire")
        if code == _OTHER:
            self._others[len(self._codes)] = event
        elif kind is not BlockStop:
            self._text += getattr(event, _TEXT_OF[kind]).encode("utf-8", "surrogatepass")
        self._codes.append(code)
        self._blocks.append(0 if code == _OTHER else event.index)

    def _take_back(self) -> None:
        n = len(self.times)
        for column in (self._codes, self._blocks, self._ends, self.reads, self.sizes):
            del column[n:]
        del self._text[self._ends[-1] if n else 0 :]
        self._others.pop(n, None)

    def mark(self, name: str, t: float) -> None:
        """Note a moment that is no event: ``sent``, ``headers``, ``closed``; seconds since the request."""
        self.marks[name] = t

    def spend(self, name: str, seconds: float) -> None:
        """Add to what this side took, under a name of ``spent``."""
        self.spent[name] = self.spent.get(name, 0.0) + seconds

    def forget(self) -> None:
        """Drop the wire's bytes, and how late they were read: their attempt was given up."""
        self._body = bytearray()
        self.late.clear()

    def keep(self, data: bytes) -> None:
        """Keep wire bytes for `body`, up to 4 MiB in all."""
        if self._body is not None and len(self._body) + len(data) <= KEEP_BODY:
            self._body += data
        else:
            self._body = None

    # -- reading -----------------------------------------------------------------------------------

    def like(self) -> Recording:
        """An empty recording of the same request: for a copy that differs in its events."""
        return Recording(self.request, labels=self.labels, clock=self.clock, started=self.started)

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[Event]:
        return (self.event(i) for i in range(len(self)))

    def event(self, seq: int) -> Event:
        """Event number ``seq``, counted from 0, or from the end if below 0."""
        seq = range(len(self.times))[seq]
        code = self._codes[seq]
        if code == _OTHER:
            return self._others[seq]
        if PLAIN[code] is BlockStop:
            return BlockStop(self._blocks[seq])
        event: Event = PLAIN[code](self._blocks[seq], self.text_of(seq))
        return event

    def kind(self, seq: int) -> type:
        """The class of event ``seq``, without making the event."""
        code = self._codes[seq]
        return type(self._others[seq]) if code == _OTHER else PLAIN[code]

    def block_of(self, seq: int) -> int | None:
        """The content block that event ``seq`` belongs to; None if to the whole message."""
        if self._codes[seq] == _OTHER:
            return getattr(self._others[seq], "index", None)
        return self._blocks[seq]

    def time_of(self, event: Event) -> float | None:
        """When this very event came; None for one that is only equal to it."""
        n = len(self.times)  # another thread may be recording: its newest event has no time yet
        known = list(self._others.items())
        return next((self.times[i] for i, other in known if other is event and i < n), None)

    def text_of(self, seq: int) -> str:
        """The text that event ``seq`` carries: visible text, reasoning or tool input."""
        begin = self._ends[seq - 1] if seq else 0
        return self._text[begin : self._ends[seq]].decode("utf-8", "surrogatepass")

    def content(self) -> list[int]:
        """Positions of the events that carry something of the answer: deltas that are not empty."""
        ends = self._ends[: len(self)]
        columns = zip(self._codes, (0, *ends), ends, strict=False)  # the first may be growing
        return [
            i
            for i, (code, begin, end) in enumerate(columns)
            if end > begin or (code == _OTHER and carries(self._others[i]))
        ]

    def columns(self) -> Columns:
        """All events that there are now, in columns: copies of 25 bytes an event and its text."""
        n = len(self.times)  # first: another thread may be recording
        ends = self._ends[:n]
        return Columns(
            times=self.times[:n],
            reads=self.reads[:n],
            sizes=self.sizes[:n],
            codes=self._codes[:n],
            blocks=self._blocks[:n],
            ends=ends,
            text=self._text[: ends[-1] if n else 0],
            others={i: event for i, event in list(self._others.items()) if i < n},
        )

    def rows(self) -> Iterator[Row]:
        """Every event with its time, read number and size."""
        for i, t in enumerate(self.times):
            yield Row(t, self.reads[i], self.sizes[i], self.event(i))

    @property
    def body(self) -> bytes | None:
        """The bytes of the wire, if they were kept (they are for replies up to 4 MiB; not in files)."""
        return bytes(self._body) if self._body else None

    @property
    def message(self) -> Message:
        """The message that the events add up to, open blocks included."""
        return fold(self)

    @property
    def text(self) -> str:
        """All visible text."""
        return self.message.text

    @property
    def model(self) -> str:
        """The model id that was asked; empty if the request is not known."""
        return str(self.request.get("modelId", ""))

    @property
    def operation(self) -> str:
        """The API's name of the call: ``ConverseStream``, or ``Converse`` for a plain one."""
        return str(self.envelope.get("operation") or "ConverseStream")

    @property
    def whole(self) -> bool:
        """Whether the answer came whole, from a plain call: then nothing in it has a time of its own."""
        return self.operation == "Converse"

    @property
    def stop_reason(self) -> str | None:
        """Why the message stopped; None if it did not."""
        stop = self._last(MessageStop)
        return stop.reason if isinstance(stop, MessageStop) else None

    @property
    def metadata(self) -> Metadata | None:
        """The closing metadata event, if it came."""
        event = self._last(Metadata)
        return event if isinstance(event, Metadata) else None

    @property
    def usage(self) -> dict[str, Any]:
        """Token counts in Bedrock's own names; empty if none came."""
        return self.metadata.usage if self.metadata else {}

    @property
    def error(self) -> BedrockNbError | None:
        """What made the reply fail, if it did."""
        fault = self._last(StreamFault)
        return fault.error if isinstance(fault, StreamFault) else None

    @property
    def seams(self) -> list[int]:
        """Positions at which a second call took the reply up again; mostly none."""
        return [i for i, event in list(self._others.items()) if isinstance(event, Seam)]

    def _last(self, kind: type) -> Event | None:
        return next((e for e in reversed(list(self._others.values())) if isinstance(e, kind)), None)

    def to_frame(self) -> pd.DataFrame:
        """A tidy DataFrame, a row per event and mark; the same as ``bedrock_nb.events(recording)``."""
        import bedrock_nb

        return bedrock_nb.events(self)

    def to_perfetto(
        self,
        path: str | os.PathLike[str],
        *,
        align: Literal["request", "clock"] = "request",
        text: bool = False,
    ) -> Path:
        """Write a trace that https://ui.perfetto.dev shows; ``bedrock_nb.formats.perfetto`` takes several.

        Parameters
        ----------
        path : path
            ``.json``, or ``.json.gz`` to have it compressed.
        align : {"request", "clock"}
            Whether time 0 is the request, or times are those of the wall clock.
        text : bool
            Also write what was said. Without it the trace holds times, sizes, tokens, names and labels.

        Raises
        ------
        RecordingError
            The file cannot be written.
        """
        import bedrock_nb

        return bedrock_nb.formats.perfetto.write(self, path, align=align, text=text)

    def __repr__(self) -> str:
        asked = f" {self.model}" if self.model else ""
        stop = f", {self.stop_reason}" if self.stop_reason else ""
        said = f"<Recording{asked}: {len(self)} events, {self.status}{stop}>"
        return "".join(c if c.isprintable() else "\ufffd" for c in said)  # a file may say anything

    def save(self, path: str | os.PathLike[str], *, frames: bool = False) -> Path:
        """Write the recording as JSON lines, mode 0600, all or nothing; times to the microsecond.

        Parameters
        ----------
        path : path
            Where to; ``.jsonl`` is customary. An existing file is replaced.
        frames : bool
            Also keep the exact bytes of each frame, base64, if they are still known (see `body`).

        Raises
        ------
        RecordingError
            The file cannot be written, or exact frames were asked for and are not known.
        """
        return files.save(self, path, frames=frames)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a recording from a file; if it was saved while it streamed, its status is ``interrupted``.

        So it is without the ``end`` line. A torn last line is dropped and noted in ``problems``.

        Raises
        ------
        RecordingError
            The file cannot be read, is not a recording, was changed, or is of a newer version.
        """
        return files.load(path, cls)


#: Events that say how a reply ended, in their order.
_ENDINGS = (MessageStop, Metadata, StreamFault)


class Unrecorded(Recording):
    """What is known of a reply whose events are not kept: how many passed, and how it ended."""

    keeps = False

    def __init__(self, request: Mapping[str, Any] | None = None, **details: Any) -> None:
        super().__init__(request, **details)
        self._body = None
        self.passed = 0

    def forget(self) -> None:
        """There is nothing to forget."""

    def append(self, event: Event, t: float, read: int = 0, nbytes: int = 0) -> None:
        """Count one event; remember it if it says how the reply ended."""
        self.passed += 1
        kind = type(event)
        if kind in _ENDINGS:
            self._others[_ENDINGS.index(kind)] = event


class Recent(Sequence[Recording]):
    """The last ``most`` recordings of this process, newest last; older ones make room."""

    def __init__(self, most: int = 500) -> None:
        self.most = most
        self._items: list[Recording] = []

    def append(self, recording: Recording) -> None:
        """Add the newest; drop the oldest if there are too many."""
        self._items.append(recording)
        for older in self._items[-_BODIES - 1 : -_BODIES]:
            older._body = None
        del self._items[: max(0, len(self._items) - self.most)]

    def discard(self, recording: Recording) -> None:
        """Take one out, if it is there."""
        self._items[:] = [other for other in self._items if other is not recording]

    def clear(self) -> None:
        """Forget all."""
        self._items.clear()

    @overload
    def __getitem__(self, index: int) -> Recording: ...
    @overload
    def __getitem__(self, index: slice) -> list[Recording]: ...
    def __getitem__(self, index: int | slice) -> Recording | list[Recording]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        count = f"{len(self)} recording{'' if len(self) == 1 else 's'}"
        return f"<{count}>" + "".join(f"\n{i:>4} {r!r}" for i, r in enumerate(self))


#: What `watch` and the replies of this process recorded.
recordings = Recent()
