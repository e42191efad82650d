"""Where labels stand, so that none lies on another: pure geometry, in pixels.

Strategy: each label belongs to a vertical line and stands to its right on one of a few levels above the
data; where lines are close together, levels fall like stairs towards the right, so that no line runs
through a text. At the right edge it is the same in the mirror. Labels are given a place in order of rank,
and one that would not fit with those before it gets none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["AIR", "PAD", "Label", "Slot", "place"]

PAD = 4.0  # between a line and its text
AIR = 8.0  # between two texts


class Label(NamedTuple):
    """A text for the line at ``x``: pixels from the left of the axes, and pixels wide."""

    x: float
    width: float
    rank: int = 0


class Slot(NamedTuple):
    """A place for a label: its level, 0 is next to the data, and the left edge of its text."""

    level: int
    left: float


def place(labels: Sequence[Label], width: float, levels: int) -> list[Slot | None]:
    """Give each label a place, or None where there is no room left.

    Parameters
    ----------
    labels : sequence of Label
        In any order.
    width : float
        Of the axes, pixels.
    levels : int
        How many texts fit above each other.

    Returns
    -------
    list of Slot or None
        In the order of the labels. No two texts overlap, and no line crosses a text.
    """
    slots: list[Slot | None] = [None] * len(labels)
    kept: set[int] = set()
    for i in sorted(range(len(labels)), key=lambda i: -labels[i].rank):
        for lift in range(levels):  # high labels at the right edge leave room for others below them
            tried = _stairs({j: labels[j] for j in (*kept, i)}, width, levels, lift)
            if len(tried) > len(kept):
                kept.add(i)
                slots = [tried.get(j) for j in range(len(labels))]
                break
    return slots


def _stairs(labels: dict[int, Label], width: float, levels: int, lift: int) -> dict[int, Slot]:
    """One try: those at the right edge from the left on, then the others from the right on."""
    order = sorted(labels, key=lambda i: labels[i].x)
    at_edge = [i for i in order if labels[i].x + PAD + labels[i].width > width]
    slots: dict[int, Slot] = {}
    for i in [*at_edge, *(i for i in reversed(order) if i not in at_edge)]:
        label = labels[i]
        edges = (label.x + PAD, label.x - PAD - label.width)
        for slot in (
            Slot(level, left)
            for left in edges
            if 0 <= left <= width - label.width
            for level in range(lift if i in at_edge else 0, levels)
        ):
            if all(_apart(label, slot, labels[j], other) for j, other in slots.items()):
                slots[i] = slot
                break
    return slots


def _apart(a: Label, at: Slot, b: Label, bt: Slot) -> bool:
    """Neither text on the other, nor a line through a text."""
    if at.level == bt.level and at.left < bt.left + b.width + AIR and bt.left < at.left + a.width + AIR:
        return False
    return not (_crosses(b, bt, a, at) or _crosses(a, at, b, bt))


def _crosses(line: Label, line_at: Slot, text: Label, text_at: Slot) -> bool:
    """Whether a label's line, which ends at its own level, runs through another's text."""
    beside = text_at.left - PAD < line.x < text_at.left + text.width + PAD
    return text_at.level <= line_at.level and beside and line.x != text.x
