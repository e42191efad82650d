"""Lanes: the room above the data, where words go.

Strategy: a lane is as high as a text, so lanes are measured in pixels and the data get the rest of the axes,
whatever their size. They are taken from the top downwards. Everything is written at the time it belongs to,
aside by pixels, so that it stays with its line when the limits change.
"""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from bedrock_nb.plot.canvas import ink

__all__ = ["Lanes"]


class Lanes:
    """The room above the data of one Axes, whose layout is done.

    Attributes
    ----------
    width : float
        Of the axes, pixels.
    row : float
        Height of a lane, as a fraction of the axes' height.
    floor : float
        Where the lanes end and the data may begin, as a fraction of the axes' height.
    """

    def __init__(self, ax: Axes) -> None:
        box = ax.get_window_extent()
        self.ax, self.left, self.width = ax, float(box.x0), float(box.width)
        self.row = self.size("Xg")[1] * 1.4 / box.height
        self.floor = 1.0

    def size(self, text: str) -> tuple[float, float]:
        """Width and height of a text as it is drawn here, pixels."""
        artist = self.ax.text(0, 0, text, fontsize="small", parse_math=False)
        box = artist.get_window_extent()
        artist.remove()
        return box.width, box.height

    def x(self, t: float) -> float:
        """Pixels from the left of the axes."""
        return float(self.ax.transData.transform((t, 0))[0]) - self.left

    def take(self, rows: int = 1) -> float:
        """Take rows; return the middle of the lowest, as a fraction of the axes' height."""
        self.floor -= rows * self.row
        return self.floor + 0.5 * self.row

    def entitle(self, text: str) -> None:
        """Put a text into the title, no wider than the axes."""
        title = self.ax.set_title(text, loc="left", fontsize="medium", parse_math=False)
        width = title.get_window_extent().width
        if width > self.width:
            title.set_text(text[: max(1, int(len(text) * self.width / width) - 2)] + "…")

    def lines(self, note: str) -> list[str]:
        """A note in lines that fit the axes' width."""
        return textwrap.wrap(note, max(20, int(0.95 * self.width * len(note) / self.size(note)[0])))

    def say(self, note: str) -> None:
        """Write a line of its own from the left edge, in a lane of its own."""
        self.ax.text(
            0,
            self.take(),
            note,
            transform=self.ax.transAxes,
            va="center",
            fontsize="small",
            color=ink(),
            parse_math=False,
            gid="note",
        )

    def write(self, text: str, t: float, y: float, dx: float, gid: str) -> Text:
        """Write at a time and a height: dx pixels to the right, to the left if below 0, on it if 0.

        The text covers what is behind it, so that a line may pass there.
        """
        return self.ax.annotate(
            text,
            (t, y),
            xycoords=self.ax.get_xaxis_transform(),
            xytext=(dx * 72 / self.ax.figure.dpi, 0),
            textcoords="offset points",
            ha="left" if dx > 0 else "right" if dx < 0 else "center",
            va="center",
            fontsize="small",
            color=ink(),
            parse_math=False,
            annotation_clip=False,
            bbox={"facecolor": self.ax.get_facecolor(), "edgecolor": "none", "pad": 0.8},
            gid=gid,
            zorder=5,
        )

    def halo(self, artist: Text) -> None:
        """Let a text cover only what is close to its letters, and not a whole box of a tint."""
        artist.set_bbox(None)
        artist.set_path_effects([withStroke(linewidth=2.5, foreground=self.ax.get_facecolor())])
