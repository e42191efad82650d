"""Recordings of one turn -> rows of a timeline: a row per round, and below it one per call of a tool.

Strategy: as in `parts`, all that the picture says is decided here, and nothing of how it looks. Each
recording has a clock of its own, from its request; its times are moved to one that runs from the turn's
beginning. Where a round stood on it is taken from the label ``at_s``, which whoever ran the turn put there;
without one from the wall clock; without either it follows the round before. Labels and names may come from
a file or a model: what makes no sense is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from bedrock_nb.metrics import message_end
from bedrock_nb.plot.canvas import count, duration, one_line, short
from bedrock_nb.plot.data.parts import Anatomy, Band, dissect
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun, busy, in_order, spent

__all__ = ["MOST_ROWS", "Loop", "Row", "unroll"]

#: Rows of a picture; beyond it they are counted in a note.
MOST_ROWS = 200
#: A name of a tool that is longer is cut: Bedrock lets it have 64 letters.
_MOST_LETTERS = 26


class Row(NamedTuple):
    """One line of the picture.

    ``bands`` are in order of time; besides the kinds of content and ``waiting`` there are, in the row of a
    call, ``queued`` (asked for, not yet begun), ``approval`` (somebody was asked) and ``running``. ``words``
    stand at ``end``. Where something went wrong, ``failed`` is True. ``stop`` is the moment at which the
    message of a round ended; None in the rows of calls and where it did not end.
    """

    name: str
    is_call: bool
    bands: tuple[Band, ...]
    words: str
    end: float
    failed: bool
    stop: float | None


@dataclass(frozen=True, slots=True)
class Loop:
    """All that the picture of one turn says; times in seconds since the turn began."""

    title: str
    summary: str
    notes: tuple[str, ...]
    rows: tuple[Row, ...]
    end: float


def unroll(recordings: Sequence[Recording]) -> Loop:
    """Lay the rounds of one turn and the tools that they called on one time axis.

    Parameters
    ----------
    recordings : sequence of Recording
        A round each, in their order. If they are of several turns, as their labels ``at_s`` tell, those of
        the last turn are taken.

    Returns
    -------
    Loop
        Times in seconds since the turn began.
    """
    turns = _turns(recordings)
    mine = turns[-1] if turns else []
    rows: list[Row] = []
    end = 0.0
    for number, (recording, shift) in enumerate(_placed(mine), 1):
        these = [_stream(number, recording, shift), *(_call(run, shift) for run in in_order(recording.tools))]
        end = max(end, *(row.end for row in these), *(band.end for row in these for band in row.bands))
        rows += these
    notes = []
    if len(turns) > 1:
        notes.append(f"The last of {len(turns)} turns.")
    if len(rows) > MOST_ROWS:
        notes.append(f"{count(len(rows) - MOST_ROWS, 'row')} more: only the first {MOST_ROWS} are drawn.")
    if doubt := _no_turn(mine):
        notes.append(doubt)
    model = next((name for name in map(_model, mine) if name), "")
    return Loop(
        title=f"Rounds of one turn: {model or 'unknown model'}",
        summary=_summary(mine, end),
        notes=tuple(notes),
        rows=tuple(rows[:MOST_ROWS]),
        end=end,
    )


# -- one clock ---------------------------------------------------------------------------------------


def _seconds(value: Any) -> float | None:
    """A time that a label or a head may name; None for anything else."""
    good = type(value) in (int, float) and 0 <= value < 1e15  # False for nan, too
    return float(value) if good else None


def _turns(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Recordings by turn."""
    turns: list[list[Recording]] = []
    for before, recording in zip([None, *recordings], recordings, strict=False):
        if before is None or _begins_anew(before, recording):
            turns.append([])
        turns[-1].append(recording)
    return turns


def _begins_anew(before: Recording, recording: Recording) -> bool:
    """Whether a round is the first of a turn: its ``at_s`` is not above that of the round before, or is much
    less than what passed between both on the wall clock.
    """
    was, at = (_seconds(one.labels.get("at_s")) for one in (before, recording))
    if was is None or at is None:
        return False
    begin, started = _seconds(before.started), _seconds(recording.started)
    passed = 0.0 if begin is None or started is None else started - begin
    return at <= was or at < passed / 2


def _no_turn(recordings: Sequence[Recording]) -> str:
    """A doubt about rounds of which none but the order is known: each but the last must call a tool."""
    odd = [
        number
        for number, recording in enumerate(recordings[:-1], 1)
        if recording.stop_reason != "tool_use"
        and not recording.tools
        and _seconds(recording.labels.get("at_s")) is None  # this one knows its place in a turn
    ]
    if not odd:
        return ""
    if len(odd) == 1:
        which = f"Round {odd[0]}"
    elif odd[-1] - odd[0] == len(odd) - 1:
        which = f"Rounds {odd[0]} to {odd[-1]}"
    else:
        which = f"{len(odd)} rounds before the last"
    return f"{which} did not end with a tool call: not one turn?"


def _placed(recordings: Sequence[Recording]) -> Iterator[tuple[Recording, float]]:
    """Each round with the moment of its request, seconds since the turn began."""
    anchor: float | None = None  # of the wall clock: where the turn began
    end = 0.0
    for recording in recordings:
        at, started = _seconds(recording.labels.get("at_s")), _seconds(recording.started)
        if at is None:
            by_wall = None if started is None or anchor is None else started - anchor
            at = end if by_wall is None or by_wall < 0 else by_wall
        if anchor is None and started is not None:
            anchor = started - at
        yield recording, at
        known = [*recording.times[-1:], *(run.ended_s for run in list(recording.tools))]
        end = at + max(known, default=0.0)


# -- rows --------------------------------------------------------------------------------------------


def _stream(number: int, recording: Recording, shift: float) -> Row:
    """The row of a round: waiting, blocks, and how it ended."""
    seen = dissect(recording)
    wait = [band for band in seen.bands if band.kind == "waiting"]
    blocks = [band for band in seen.bands if band.kind != "waiting"]
    if wait:
        blocks.insert(0, Band("waiting", wait[0].begin, wait[-1].end, "waiting"))
    stopped = recording.stop_reason is not None
    stop = message_end(recording) if stopped else None
    failed, words = _ending(recording, seen)
    end = seen.end if failed or stop is None else stop
    return Row(
        name=f"round {number}",
        is_call=False,
        bands=tuple(_moved(band, shift) for band in blocks),
        words=words,
        end=shift + max([end, *(band.end for band in blocks)]),
        failed=failed,
        stop=None if stop is None else shift + stop,
    )


def _moved(band: Band, shift: float) -> Band:
    """A band on the turn's clock; its words without the number of its block."""
    text = band.text.partition(": ")[2] or band.text
    return Band(band.kind, band.begin + shift, band.end + shift, text)


def _ending(recording: Recording, seen: Anatomy) -> tuple[bool, str]:
    """Whether a round did not end well, and what to say at its end."""
    bad = [mark.text for mark in seen.marks if mark.name in ("fault", "closed")]
    if bad:
        return True, bad[-1]
    reason = one_line(recording.stop_reason or "")
    good = recording.status in ("complete", "streaming")
    return not good, reason or ("still streaming" if recording.status == "streaming" else recording.status)


def _call(run: ToolRun, shift: float) -> Row:
    """The row of a call: in the queue, asked about, running; and what came of it."""
    began = run.ended_s if run.began_s is None else run.began_s
    asked = max(run.asked_s, began - max(0.0, run.waited_s)) if run.waited_s > 0 else began
    spans = [("queued", run.asked_s, asked, "")]
    if run.waited_s > 0:
        spans.append(("approval", asked, began, "approval"))
    if run.began_s is not None:
        spans.append(("running", began, run.ended_s, ""))
    bands = [
        Band(kind, begin + shift, end + shift, text)
        for kind, begin, end, text in spans
        if end > begin or (kind == "running" and end == begin)
    ]
    took = "" if run.began_s is None else duration(max(0.0, run.ended_s - run.began_s))
    words = took if run.outcome == "success" else f"{run.outcome} after {took}" if took else run.outcome
    return Row(
        name=short(run.name, _MOST_LETTERS),
        is_call=True,
        bands=tuple(bands),
        words=f"{words}, eager" if run.eager and took else words,
        end=max([run.ended_s, *(end for _, _, end, _ in spans)]) + shift,
        failed=run.outcome != "success",
        stop=None,
    )


# -- words -------------------------------------------------------------------------------------------


def _model(recording: Recording) -> str:
    return one_line(recording.model.rpartition("/")[2])  # of an ARN the last part: no account number


def _summary(recordings: Sequence[Recording], end: float) -> str:
    """How many rounds and calls, how long tools ran, and how much of it beside their message."""
    runs = [run for recording in recordings for run in in_order(recording.tools)]
    parts = [count(len(recordings), "round"), count(len(runs), "tool call")]
    ran = overlap = 0.0
    for recording in recordings:
        intervals, until = busy(recording.tools), message_end(recording)
        ran += spent(intervals)
        overlap += 0.0 if until is None else spent(intervals, until)
    if ran:
        beside = f", {duration(overlap)} of it while a message streamed" if overlap >= 1e-4 else ""
        parts.append(f"tools ran {duration(ran)}{beside}")
    return f"{', '.join(parts)}; {duration(end)} in all"
