"""What all plots share: where they draw, their colours, and how they write numbers.

Strategy: colour-blind-safe colours for data, always with a second cue (a marker, a dash, a word); the
caller's own colours for text and lines, so that dark styles work. Nothing here changes a global setting.
"""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bedrock_nb.errors import RequestError
from bedrock_nb.recording import Recording
from bedrock_nb.table import as_recordings

__all__ = ["OKABE_ITO", "axes", "count", "duration", "ink", "one"]

#: Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
}


def axes(ax: Axes | None) -> Axes:
    """The caller's axes, or those of a new figure; never the current ones, which belong to another plot.

    Raises
    ------
    RequestError
        ``ax`` is something else.
    """
    if ax is None:
        return plt.subplots(figsize=(10, 4), layout="constrained")[1]
    if not isinstance(ax, Axes):
        raise RequestError(
            f"ax is a {type(ax).__name__}; matplotlib Axes are wanted.",
            remedy="Make some with fig, ax = plt.subplots(), or leave ax out.",
        )
    return ax


def one(source: Any) -> Recording:
    """The recording in a source that must hold exactly one.

    Raises
    ------
    RequestError
        There are more, or none.
    RecordingError
        A path that is not a readable recording.
    """
    recordings = as_recordings(source)
    if len(recordings) != 1:
        raise RequestError(
            f"This plot shows one recording; {len(recordings)} were given.",
            remedy="Pick one, for example recordings[-1].",
        )
    return recordings[0]


def ink() -> str:
    """The colour of text and lines in the style in use."""
    colour: str = mpl.rcParams["text.color"]
    return colour


def duration(seconds: float) -> str:
    """A time with its unit and up to four figures: ``4.2 ms``, ``350 ms``, ``3.21 s``."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 99.995 else f"{seconds:.1f} s"


def count(n: int, noun: str) -> str:
    """A number and its noun: ``1 event``, ``5,000 events``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
