"""Recordings -> rows of a waterfall: the phases of each reply, in order and on one clock, as pure data.

Strategy: what happened before the content is what `metrics.clocks` says of it, blocks are those of `parts`,
and the rest is after the content. Which rows there are, in which order and in which groups is decided here,
on the columns of the summary table; nothing of how they look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

from bedrock_nb.errors import RequestError
from bedrock_nb.metrics.clocks import parts
from bedrock_nb.plot.canvas import rows as table_of
from bedrock_nb.plot.conditions import column, conditions, is_missing
from bedrock_nb.plot.data.parts import Band, dissect
from bedrock_nb.plot.naming import ending, tell_apart
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import whole_name

__all__ = ["MOST_ROWS", "Align", "Fall", "Row", "fall", "phases"]

#: From where times are counted.
Align: TypeAlias = Literal["request", "clock"]

#: Rows of a picture; beyond it they are counted in a note.
MOST_ROWS = 200

#: Part of a call's time before its content -> phase.
_PHASE_OF = {
    "preparing": "set-up",
    "retries": "retries",
    "pool": "set-up",
    "dns": "set-up",
    "tcp": "set-up",
    "tls": "set-up",
    "waiting for headers": "headers",
    "waiting for content": "wait",
}


class Row(NamedTuple):
    """One reply.

    ``bands`` are in order of time; their kinds are ``set-up``, ``retries``, ``headers`` (waiting for them),
    ``wait`` (for content), the kinds of content, and ``after`` (it). ``first`` is the time of the first
    content. ``words`` say how a reply ended that is not complete; ``failed`` if by an error.
    """

    name: str
    group: str
    bands: tuple[Band, ...]
    first: float | None
    end: float
    words: str
    failed: bool


class Fall(NamedTuple):
    """All rows of a picture, from the top down, the groups in their order, and what is left out."""

    rows: tuple[Row, ...]
    groups: tuple[str, ...]
    end: float
    said: tuple[str, ...]


def fall(
    recordings: Sequence[Recording], by: str | Sequence[str] | None, sort: str | None, align: Align
) -> Fall:
    """Lay replies below each other.

    Parameters
    ----------
    recordings : sequence of Recording
    by, sort : str
        Columns of the summary table (``by``: or a list of them): equal ones stand together, in the order of
        `bedrock_nb.table.frame.conditions`; within a group small values first and missing ones last.
    align : {"request", "clock"}
        What time 0 is: each row's own request, or the first of all by the wall clock.

    Raises
    ------
    RequestError
        There is no such column, or no such alignment.
    """
    if align not in get_args(Align):
        raise RequestError(f"align is {align!r}; 'request' or 'clock' is wanted.")
    said: list[str] = []
    chosen = list(range(len(recordings)))
    shifts = [0.0] * len(recordings)
    if align == "clock":
        started = [recording.started for recording in recordings]
        chosen = [i for i, at in enumerate(started) if isinstance(at, int | float) and math.isfinite(at)]
        first = min((at for i in chosen if (at := started[i]) is not None), default=0.0)
        shifts = [0.0 if at is None else at - first for at in started]
        if len(chosen) < len(recordings):
            lost = len(recordings) - len(chosen)
            said.append(f"Not drawn, no wall-clock time: {lost:,} of {len(recordings):,} replies.")
        chosen.sort(key=shifts.__getitem__)
    groups = [""] * len(recordings)
    if by is not None or sort is not None:
        table = table_of(list(recordings))
        if sort is not None:
            values = column(table, whole_name(table, sort)).tolist()
            chosen.sort(key=lambda i: _rank(values[i]))
        if by is not None:
            place: dict[int, int] = {}
            for number, part in enumerate(conditions(table, by)):
                for row in map(int, part.rows):
                    place[row], groups[row] = number, part.name
            chosen.sort(key=place.__getitem__)
    if len(chosen) > MOST_ROWS:
        said.append(f"Drawn: the first {MOST_ROWS} of {len(chosen):,} replies.")
    chosen = chosen[:MOST_ROWS]
    rows: list[Row] = []
    for group, of_group in groupby(chosen, key=groups.__getitem__):
        mine = list(of_group)
        names = tell_apart([recordings[i] for i in mine], mine)  # what a group has in common tells nothing
        rows += [_row(recordings[i], name, group, shifts[i]) for i, name in zip(mine, names, strict=True)]
    return Fall(
        tuple(rows),
        tuple(dict.fromkeys(row.group for row in rows)) if by is not None else (),
        max((row.end for row in rows), default=0.0),
        tuple(said),
    )


def phases(recording: Recording) -> list[Band]:
    """The phases of one reply in order of time, seconds since its request; blocks may overlap."""
    seen = dissect(recording)
    blocks = [band for band in seen.bands if band.kind != "waiting"]
    begun = min([seen.end, *(band.begin for band in blocks)])
    bands = [*_before(recording, begun), *blocks]
    ended = max((band.end for band in bands), default=0.0)
    if seen.end > ended:
        bands.append(Band("after", ended, seen.end, "after the content"))
    return bands


def _before(recording: Recording, begun: float) -> Iterator[Band]:
    """From the request to the first block."""
    at = 0.0
    for part in parts(recording):
        kind = _PHASE_OF.get(part.name)
        if kind is not None and part.end_s is not None and at < min(part.end_s, begun):
            end = min(part.end_s, begun)
            yield Band(kind, at, end, part.name)
            at = end
    if at < begun:
        yield Band("wait", at, begun, "waiting for content")


def _row(recording: Recording, name: str, group: str, shift: float) -> Row:
    bands = phases(recording)
    content = recording.content()
    return Row(
        name=name,
        group=group,
        bands=tuple(band._replace(begin=band.begin + shift, end=band.end + shift) for band in bands),
        first=recording.times[content[0]] + shift if content else None,
        end=max((band.end for band in bands), default=0.0) + shift,
        words=ending(recording),
        failed=recording.error is not None,
    )


def _rank(value: Any) -> tuple[int, float, str]:
    """Numbers by size, then words, then what is missing."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return (2, 0.0, "") if is_missing(value) else (1, 0.0, str(value))
    return (0, number, "") if math.isfinite(number) else (2, 0.0, "")
