"""Captions: the words of moments, on levels above the data, each with a line down to its time.

Strategy: moments that share a few pixels share one caption, and each time in it is written once. `labels`
decides where captions stand, `lanes` how high a level is; here they are made of marks, and drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from bedrock_nb.plot.canvas import OKABE_ITO, duration, ink
from bedrock_nb.plot.data.parts import Mark, dissect
from bedrock_nb.plot.labels import PAD, Label, Slot, place
from bedrock_nb.plot.lanes import Lanes
from bedrock_nb.recording import Recording

__all__ = ["Caption", "caption", "captions", "draw_caption", "moments", "write_captions"]

_TOGETHER = 3.0  # pixels: marks closer than this share one label
_LEAST_DATA = 0.35  # of the axes' height: where captions end at the latest


#: Moments of one stream that its curves are seen against, and what they are called there.
_MOMENTS = {
    "first content": "first content (TTFT)",
    "first visible text": "first visible text",
    "whole answer": "whole answer",
    "seam": "",
    "last content": "last content (TTLT)",
    "fault": "",
    "closed": "",
}


class Caption(NamedTuple):
    """A text for marks that are too close together for one each."""

    text: str
    marks: Sequence[Mark]
    label: Label


def captions(lanes: Lanes, marks: Sequence[Mark]) -> Iterator[Caption]:
    """One caption for the marks that share a few pixels; a time is written once."""
    cluster: list[Mark] = []
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        cluster.append(mark)
        if following is None or lanes.x(following.t) - lanes.x(cluster[0].t) > _TOGETHER:
            said = groupby(cluster, key=lambda mark: duration(mark.t) if mark.t else "")
            text = ", ".join(
                f"{', '.join(mark.text for mark in group)} {when}".strip() for when, group in said
            )
            yield caption(lanes, text, cluster)
            cluster = []


def caption(lanes: Lanes, text: str, marks: Sequence[Mark]) -> Caption:
    """One text for marks, at the last of them."""
    rank = max(mark.rank for mark in marks)
    return Caption(text, marks, Label(lanes.x(marks[-1].t), lanes.size(text)[0], rank))


def draw_caption(lanes: Lanes, caption: Caption, slot: Slot | None, base: float, strip: float) -> None:
    """The lines of the marks, up to their text; a mark whose text found no room keeps its line."""
    y = strip if slot is None else base + slot.level * lanes.row
    for mark in caption.marks:
        fault = mark.name == "fault"
        lanes.ax.plot(
            [mark.t, mark.t],
            [strip if mark.name == "block" else 0, y],
            transform=lanes.ax.get_xaxis_transform(),
            color=OKABE_ITO["vermillion"] if fault else ink(),
            linewidth=1.6 if fault else 0.8,
            linestyle="-" if fault else ":",
            marker="X" if fault else None,
            markevery=[0],
            markersize=9,
            clip_on=False,
            gid=f"mark:{mark.name}",
            zorder=3,
        )
    if slot is not None:
        dx = PAD if slot.left > caption.label.x else -PAD
        lanes.write(caption.text, caption.marks[-1].t, y, dx, f"label:{caption.marks[0].name}")


def write_captions(lanes: Lanes, texts: Sequence[Caption], levels: int = 3) -> None:
    """Draw captions in lanes of their own: the lines of all, and the words of as many as find room."""
    room = max(0, min(levels, int((lanes.floor - _LEAST_DATA) / lanes.row)))
    slots = place([text.label for text in texts], lanes.width, room)
    used = 1 + max((slot.level for slot in slots if slot), default=-1)
    base = lanes.take(used) if used else lanes.floor
    for text, slot in zip(texts, slots, strict=True):
        draw_caption(lanes, text, slot, base, lanes.floor)


def moments(recording: Recording) -> list[Mark]:
    """The moments of one stream against which its curves are seen, in order of time."""
    marks = (mark for mark in dissect(recording).marks if mark.name in _MOMENTS)
    return [mark._replace(text=_MOMENTS[mark.name] or mark.text) for mark in marks]
