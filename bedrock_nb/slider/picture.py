"""The picture that a slider's cursor runs over: the anatomy plot, as PNG, for light and for dark pages.

Strategy: drawn once, off the screen, with a figure that pyplot does not know, so that no cell shows it twice.
Where time 0 and the end are is handed on as fractions of the picture, and the browser moves a line.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypedDict

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bedrock_nb.plot import anatomy
from bedrock_nb.recording import Recording

__all__ = ["Picture", "drawn", "picture"]

_SIZE = (9.6, 3.6)  # inches
_DPI = 144  # sharp on screens with two pixels for one, at notebook width

#: JupyterLab's own colours of a page, over the style of that name.
_STYLES = {
    "light": ("default", "#ffffff"),
    "dark": ("dark_background", "#111111"),
}


class Picture(TypedDict):
    """Where the data are: fractions of the picture's width and height from its top left; times in seconds."""

    left: float
    right: float
    top: float
    bottom: float
    begin: float
    end: float


def drawn(
    theme: str, draw: Callable[[Axes], object], size: tuple[float, float] = _SIZE
) -> tuple[bytes, Axes]:
    """What a function draws on an Axes, as PNG for a page of this theme; and the Axes, to be asked.

    Parameters
    ----------
    theme : {"light", "dark"}
    draw : function
    size : tuple of float
        Width and height, inches.
    """
    style, colour = _STYLES[theme]
    with mpl.style.context([style, {"figure.facecolor": colour, "axes.facecolor": colour}]):
        figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
        FigureCanvasAgg(figure)
        ax = figure.subplots()
        draw(ax)
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=_DPI)
    return out.getvalue(), ax


def picture(recording: Recording) -> tuple[Picture, dict[str, bytes]]:
    """Draw the anatomy of a recording; return where its data are, and the PNGs ``light`` and ``dark``."""
    made: dict[str, bytes] = {}
    for theme in _STYLES:
        made[theme], ax = drawn(theme, lambda ax: anatomy(recording, ax=ax))
    box, (begin, end) = ax.get_position(), ax.get_xlim()
    place: Picture = {
        "left": float(box.x0),
        "right": float(box.x1),
        "top": 1 - float(box.y1),
        "bottom": 1 - float(box.y0),
        "begin": float(begin),
        "end": float(end),
    }
    return place, made
