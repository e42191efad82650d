"""Recording -> parts of a picture: marks, bands, bars, spans and words, as pure data.

Strategy: all that a picture of one stream says is decided here, with the times of `metrics`, and nothing of
how it looks: no pixels, no colours, no matplotlib. Times are seconds since the request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bedrock_nb.errors import ServiceFault
from bedrock_nb.events import (
    KIND_OF,
    BlockStop,
    MessageStop,
    Seam,
    StreamFault,
    ToolUseStart,
)
from bedrock_nb.metrics import Facts, facts, gap_pairs, percentile
from bedrock_nb.plot.canvas import count, duration, one_line
from bedrock_nb.recording import Recording

__all__ = ["Anatomy", "Band", "Bar", "Mark", "Span", "dissect"]


class Mark(NamedTuple):
    """A moment. Where there is no room for all labels, those of higher rank stay."""

    name: str
    t: float
    text: str
    rank: int = 0


class Band(NamedTuple):
    """A stretch of time: waiting, or a content block. ``kind`` is ``waiting`` or a value of `KIND_OF`."""

    kind: str
    begin: float
    end: float
    text: str


class Bar(NamedTuple):
    """A content delta: its characters, standing on the ``base`` of those that came at the same time."""

    kind: str
    t: float
    chars: int
    base: int


class Span(NamedTuple):
    """A duration with a name of its own: ``ttft``, ``ttfvt``, ``ttlt``, or ``gap``, the longest."""

    name: str
    begin: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Anatomy:
    """All that the picture of one stream says; marks, bands and bars in order of time."""

    title: str
    summary: str
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]
    bands: tuple[Band, ...]
    bars: tuple[Bar, ...]
    spans: tuple[Span, ...]
    end: float


def dissect(recording: Recording) -> Anatomy:
    """Take one stream apart into what a picture of it shows.

    Parameters
    ----------
    recording : Recording
        Of any status; what it lacks is said in ``notes``.

    Returns
    -------
    Anatomy
        Times in seconds since the request, equal to those of `metrics.measure`.
    """
    known = facts(recording)
    marks = sorted(_marks(recording, known), key=lambda mark: mark.t)
    end = max([*recording.times, *(mark.t for mark in marks)])
    bars = tuple(_bars(recording))
    blocks = _blocks(recording, end)
    begun = min((t for t in (known.c1, *(band.begin for band in blocks)) if t is not None), default=end)
    model = one_line(recording.model.rpartition("/")[2])  # of an ARN the last part: no account number
    return Anatomy(
        title=f"Anatomy of one {'plain call' if known.whole else 'stream'}: {model or 'unknown model'}",
        summary=_summary(known, bars, len(blocks)),
        notes=tuple(_notes(recording, known)),
        marks=tuple(marks),
        bands=(*_waits(known.h, begun), *blocks),
        bars=bars,
        spans=tuple(_spans(recording, known)),
        end=end,
    )


_SEAMS = {"continue": "taken up again", "restart": "asked again from the start"}


def _marks(recording: Recording, known: Facts) -> list[Mark]:
    """The moments that happened, in the order in which a sound reply has them."""
    latest = {recording.kind(i): t for i, t in enumerate(recording.times)}
    closed = None
    if recording.error is None and recording.status in ("cancelled", "incomplete"):
        closed = recording.marks.get("closed")  # otherwise the connection's end says nothing new
    seam = recording.event(recording.seams[-1]) if recording.seams else None
    mode = seam.mode if isinstance(seam, Seam) else ""
    error = recording.error
    fault = error.code if isinstance(error, ServiceFault) else type(error).__name__
    came = known.e1 if known.whole else None  # of an answer that came whole, that is all there is to say
    reason = one_line(recording.stop_reason or "")
    moments: tuple[tuple[str, float | None, str, int], ...] = (
        ("request", 0.0, "request", 5),
        ("sent", recording.marks.get("sent"), "sent", 2),
        ("headers", known.h, "headers", 7),
        ("whole answer", came, f"whole answer ({reason})", 9),
        ("first event", known.e1, "first event", 3),
        ("first content", known.c1, "first content", 8),
        ("seam", latest.get(Seam), _SEAMS.get(mode, mode), 7),
        ("first visible text", known.v1 if known.v1 != known.c1 else None, "first visible text", 4),
        ("last content", known.cN, "last content", 8),
        ("stop", latest.get(MessageStop), f"stop ({reason})", 6),
        ("metadata", known.m, "metadata", 6),
        ("fault", latest.get(StreamFault), f"failed: {one_line(fault)}", 9),
        ("closed", closed, "cancelled" if recording.status == "cancelled" else "cut off", 9),
    )
    return [
        Mark(name, t, text, rank)
        for name, t, text, rank in moments
        if t is not None and not (came is not None and name in _OF_STREAMS)
    ]


#: Moments that an answer which came whole does not have.
_OF_STREAMS = ("first event", "first content", "first visible text", "last content", "stop", "metadata")


def _waits(headers: float | None, begun: float) -> Iterator[Band]:
    """Until the headers, and from there until the first block has begun."""
    begin = 0.0
    if headers is not None and 0 < headers < begun:
        yield Band("waiting", 0.0, headers, "waiting for headers")
        begin = headers
    if begin < begun:
        yield Band("waiting", begin, begun, "waiting for content")


def _blocks(recording: Recording, end: float) -> list[Band]:
    """One band per content block, from its first event to its stop, or to the end if it never stopped."""
    done: list[Band] = []
    open_: dict[int, Band] = {}
    for i, t in enumerate(recording.times):
        index, cls = recording.block_of(i), recording.kind(i)
        if index is None:
            continue
        kind = KIND_OF.get(cls)
        band = open_.get(index)
        if cls is BlockStop and band is not None:
            done.append(open_.pop(index)._replace(end=t))
        elif kind and (band is None or band.kind != kind):
            if band is not None:  # the fold begins a new block there too
                done.append(band._replace(end=t))
            head = recording.event(i) if cls is ToolUseStart else None
            name = f"tool {one_line(head.name)}" if isinstance(head, ToolUseStart) else kind
            open_[index] = Band(kind, t, end, f"block {index}: {name}")
    return sorted([*done, *open_.values()], key=lambda band: band.begin)


def _bars(recording: Recording) -> Iterator[Bar]:
    """Content deltas; those of one moment stand on each other, or only the longest would be seen."""
    before, base = -1.0, 0
    for i in recording.content():
        t, chars = recording.times[i], len(recording.text_of(i))
        base = base if t == before else 0
        yield Bar(KIND_OF[recording.kind(i)], t, chars, base)
        before, base = t, base + chars


def _spans(recording: Recording, known: Facts) -> Iterator[Span]:
    """TTFT, TTFVT where it is another, TTLT, and the longest gap between two deltas."""
    if known.whole:
        if known.cN is not None:
            text = f"TTFT = TTLT {duration(known.cN)}: first and last token came together"
            yield Span("ttlt", 0.0, known.cN, text)
        return
    if known.c1 is not None:
        yield Span("ttft", 0.0, known.c1, f"TTFT {duration(known.c1)}: time to first token")
    if known.v1 is not None and known.v1 != known.c1:
        yield Span("ttfvt", 0.0, known.v1, f"TTFVT {duration(known.v1)}: time to first visible text")
    if known.cN is not None:
        last = "to last token" if recording.stop_reason is not None else "until the last token that came"
        yield Span("ttlt", 0.0, known.cN, f"TTLT {duration(known.cN)}: time {last}")
    pairs = gap_pairs(recording, recording.content())
    waits = ((recording.times[a], recording.times[b]) for a, b in pairs)
    begin, end = max(waits, key=lambda pair: pair[1] - pair[0], default=(0.0, 0.0))
    if end > begin:
        yield Span("gap", begin, end, f"longest gap {duration(end - begin)}")


def _summary(known: Facts, bars: Sequence[Bar], blocks: int) -> str:
    pieces = count(blocks, "block") if known.whole else count(len(bars), "content delta")
    parts = [pieces, count(sum(bar.chars for bar in bars), "character")]
    if known.N is not None:
        parts.append(count(known.N, "output token"))
    median = percentile(known.gaps, 0.5)
    if median is not None:
        parts.append(f"median gap {duration(median)}")
    if any(bar.base and bar.chars for bar in bars):
        parts.append("stacked where several came at once")
    return ", ".join(parts)


_ENDINGS = {
    "streaming": "Still streaming: this is what came so far.",
    "cancelled": "Cancelled before the end.",
    "incomplete": "The body ended before the message did.",
    "interrupted": "The recording was interrupted: its file has no end.",
}


def _notes(recording: Recording, known: Facts) -> Iterator[str]:
    """What went wrong, and what the picture lacks, for that reason or another."""
    if recording.error is not None:
        yield f"Failed: {one_line(recording.error.what).rstrip('.')}."
    elif recording.status in _ENDINGS:
        yield _ENDINGS[recording.status]
    if known.whole and known.e1 is not None:
        yield "A plain call (Converse): all came at once, so nothing in the answer has a time of its own."
    lacking = [] if known.h is not None or recording.clock == "schedule" else ["headers"]
    if len(recording):
        seen = {"content": known.c1, "stop": recording.stop_reason, "metadata": known.m}
        lacking += [name for name, value in seen.items() if value is None]
    else:
        lacking.append("events")
    if lacking:
        yield f"Missing: {', '.join(lacking)}."
