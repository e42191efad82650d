"""What of a recording has a beginning and an end, as slices of a trace's tracks.

Strategy: each function makes the slices of one kind of track; `nested` puts those of one track into the order
and the limits that viewers need. A file may say any time at all: what cannot be one is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple, TypeGuard

from bedrock_nb.events import (
    KIND_OF,
    BlockStop,
)
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import sound_text
from bedrock_nb.toolruns import in_order

__all__ = [
    "MOST_S",
    "Slice",
    "blocks",
    "connection",
    "nested",
    "phases",
    "plain",
    "sane",
    "short",
    "tools",
    "us",
]

#: A time beyond this is no time of a reply (some thirty years), and would not be exact as a JSON number.
MOST_S = 1e9
# More than so many tools side by side are no picture; a file may say anything.
_MOST_LANES = 64
_LONGEST = 80


class Slice(NamedTuple):
    """A stretch of time on a track, whole microseconds."""

    name: str
    begin: int
    end: int
    args: Mapping[str, Any] = MappingProxyType({})


def phases(*moments: float | None) -> Iterator[Slice]:
    """What was waited for, one after the other."""
    names = ("waiting for headers", "waiting for content", "streaming", "closing")
    begin = 0
    for name, t in zip(names, moments, strict=True):
        if sane(t):
            yield Slice(name, begin, us(t))
            begin = max(begin, us(t))


def connection(marks: Mapping[str, float]) -> Iterator[Slice]:
    """Attempts that were given up, each with the pause after it; setting up the connection of the last."""
    attempts = (t for name, t in marks.items() if name == "sent" or name.startswith("sent "))
    for number, (begin, end) in enumerate(pairwise(sorted(us(t) for t in attempts if sane(t))), 1):
        yield Slice(f"attempt {number} and pause", begin, end)
    steps = (("connecting", ""), ("resolved", "name lookup"), ("connected", "TCP"), ("secured", "TLS"))
    known = [(us(t), name) for mark, name in steps if sane(t := marks.get(mark))]
    for (begin, _), (end, name) in pairwise(known):
        if name:
            yield Slice(name, begin, end)


def blocks(recording: Recording, end: int) -> Iterator[tuple[int, Slice]]:
    """Content blocks, each from its first event to its stop, or to the end if it never stopped."""
    begun: dict[int, tuple[int, str, int]] = {}

    def done(block: int, stop: int) -> tuple[int, Slice]:
        begin, kind, chars = begun.pop(block)
        return block, Slice(kind, begin, stop, {"block": block, "chars": chars})

    for i, t in enumerate(recording.times):
        block, cls = recording.block_of(i), recording.kind(i)
        if block is None or not sane(t):
            continue
        kind = KIND_OF.get(cls)
        if cls is BlockStop and block in begun:
            yield done(block, us(t))
        elif kind is not None:
            if block in begun and begun[block][1] != kind:  # the fold begins a new block there too
                yield done(block, us(t))
            begin, _, chars = begun.get(block, (us(t), kind, 0))
            begun[block] = begin, kind, chars + len(recording.text_of(i))
    for block in list(begun):
        yield done(block, end)


def tools(recording: Recording, text: bool) -> list[list[Slice]]:
    """Tools, each on the first track that is free: those that ran side by side are on several."""
    lanes: list[list[Slice]] = []
    free: list[int] = []
    for run in in_order(recording.tools):
        if not (sane(run.asked_s) and sane(run.ended_s) and run.asked_s <= run.ended_s):
            continue
        begin, end = us(run.asked_s), us(run.ended_s)
        lane = next((i for i, until in enumerate(free) if until <= begin), len(lanes))
        if lane == _MOST_LANES:
            continue
        if lane == len(lanes):
            lanes.append([])
            free.append(0)
        args = {"outcome": run.outcome, "eager": run.eager, "id": short(run.id)}
        if text and run.error:
            args["error"] = sound_text(run.error)
        lanes[lane].append(Slice(f"tool {short(run.name)}", begin, end, args))
        free[lane] = end
        began = end if run.began_s is None or not sane(run.began_s) else max(begin, us(run.began_s))
        if run.waited_s > 0:
            waited = began - us(min(run.waited_s, MOST_S))
            lanes[lane].append(Slice("waiting for approval", max(begin, waited), began))
        if run.began_s is not None:
            lanes[lane].append(Slice("running", began, end))
    return lanes


def nested(slices: Sequence[Slice]) -> Iterator[Slice]:
    """Slices of one track in order, each cut to be inside of those that are open, or beside them."""
    open_: list[int] = []  # where those end, the innermost last
    for one in sorted(slices, key=lambda s: (s.begin, -s.end)):
        while open_ and open_[-1] <= one.begin:
            open_.pop()
        end = min(one.end, open_[-1]) if open_ else one.end
        if end >= one.begin:
            open_.append(end)
            yield one._replace(end=end)


# -- values ----------------------------------------------------------------------------------------


def sane(t: float | None) -> TypeGuard[float]:
    """Whether that can be a time of a reply, seconds."""
    return t is not None and math.isfinite(t) and 0 <= t <= MOST_S


def us(t: float) -> int:
    """Seconds as whole microseconds."""
    return round(t * 1e6)


def short(text: str) -> str:
    """A text as a name: one line that is not too long."""
    line = " ".join(sound_text(str(text)).split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def plain(value: Any) -> Any:
    """A value as an argument of a slice: numbers and truth as they are, all else as text."""
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return short(value if isinstance(value, str) else repr(value))
