"""Lanes: the room above the data, where words go.

Strategy: a lane is as high as a text, so lanes are measured in pixels and the data get the rest of the axes,
whatever their size. They are taken from the top downwards: title, what must be said, the legend; where the
lanes end, the data may begin. All words are inside the axes, so nothing depends on the layout of the caller's
figure and nothing lies on the data.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bedrock_nb.plot.canvas import empty, ink, tick

__all__ = ["Lanes", "blank", "key", "prepare"]

_MOST = 0.62  # of the axes' height, for words; data have the rest
_MOST_NOTES = 0.4  # of the axes' height, where there is a legend as well
_MOST_LONG = 0.5  # of the axes' height, where shorter words might do for the legend
_MOST_COLUMNS = 8
_KEY = 5.0  # room of a key and the white beside it, in letters
_NO_LEGEND = ("No room for the legend: make the figure larger.", "No room for the legend.", "No legend.", "")
_LEAST_POINTS = 4.5  # smaller words are none


def prepare(ax: Axes, title: str, top: float | None = None, *, whole: bool = True) -> Lanes:
    """Run the layout of axes whose ticks and labels are there, write the title, and return their lanes.

    Parameters
    ----------
    top : float, optional
        The greatest of the data's y: the axis has ticks up to there, and in the end `Lanes.rest` gives the
        data what lanes have left.
    whole : bool
        Whether y counts something, so that ticks between whole numbers make no sense.
    """
    if top is not None:
        ax.set_ylim(0, 2 * (top or 1))  # ticks as wide as in the end
        ticks = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10], integer=whole).tick_values(0, top) if top else []
        ax.set_yticks([tick for tick in ticks if 0 <= tick <= top * (1 + 1e-9)])
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: tick(y)))
    ax.grid(False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title[:1], loc="left", fontsize="medium", parse_math=False)  # to be given room
    figure = ax.get_figure(root=True)
    assert figure is not None  # Axes always have one; matplotlib's types do not know
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)  # only now is it known how much room there is
    lanes = Lanes(ax)
    lanes.entitle(title)
    return lanes


def blank(ax: Axes, title: str, why: str) -> Axes:
    """Axes with nothing to draw: the title of the picture, and in its middle why it is missing."""
    prepare(ax, title)
    ax.spines[:].set_visible(False)
    return empty(ax, why)


def key(**look: Any) -> Line2D:
    """A line for a legend that is nowhere else."""
    return Line2D([], [], **look)


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
        self.ax, self.left, self.width, self.height = ax, float(box.x0), float(box.width), float(box.height)
        self.row = self.size("Xg")[1] * 1.4 / box.height
        self.floor = 1.0

    # -- measuring -----------------------------------------------------------------------------------

    def size(self, text: str, points: float | str = "small") -> tuple[float, float]:
        """Width and height of a text as it is drawn here, pixels."""
        artist = self.ax.text(0, 0, text, fontsize=points, parse_math=False)
        box = artist.get_window_extent()
        artist.remove()
        return box.width, box.height

    def x(self, t: float) -> float:
        """Pixels from the left of the axes."""
        return float(self.ax.transData.transform((t, 0))[0]) - self.left

    def points(self, pixels: float, least: float = _LEAST_POINTS) -> float:
        """The size of words in rows of so many pixels: small, or less; 0 where none could be read."""
        probe = self.ax.text(0, 0, "", fontsize="small")
        size = min(float(probe.get_fontsize()), pixels * 72 / float(self.ax.figure.dpi))
        probe.remove()
        return size if size >= least else 0.0

    def cut(self, text: str, room: float, points: float) -> str:
        """As much of a text as so many pixels hold."""
        while text and self.size(text, points)[0] > room:
            text = f"{text[:-2].rstrip()}…" if len(text) > 2 else ""
        return text

    def lines(self, note: str) -> list[str]:
        """A note in lines that fit the axes' width."""
        return textwrap.wrap(note, max(20, int(0.95 * self.width * len(note) / self.size(note)[0])))

    # -- taking lanes --------------------------------------------------------------------------------

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

    def tell(
        self,
        said: Iterable[str],
        keys: Sequence[Artist] = (),
        forms: Sequence[Sequence[str]] = (),
        heading: str = "",
    ) -> None:
        """Write notes, and a legend below them. In low axes the last lines go.

        Parameters
        ----------
        said : iterable of str
            Notes, the most important first; each begins a line.
        keys : sequence of Artist
            What the legend explains. Where it finds no room, that is said.
        forms : sequence of sequence of str
            Words for the keys, from the longest form to the shortest: the first that fits is taken. By
            default the keys' own labels.
        heading : str
            What the keys are values of; written above them.
        """
        lines = [line for note in said if note for line in self.lines(note)]
        share = min(self.floor + _MOST - 1, _MOST_NOTES if keys else _MOST)
        for line in lines[: max(1, int(share / self.row))]:
            self.say(line)
        if keys and not self._explain(keys, forms or [[str(key.get_label()) for key in keys]], heading):
            self.say(next(words for words in _NO_LEGEND if self.size(words)[0] <= self.width or not words))

    def _explain(self, keys: Sequence[Artist], forms: Sequence[Sequence[str]], heading: str) -> bool:
        """Write a legend below one that is there already; whether there is room for it."""
        before, done = self.ax.get_legend(), False
        for words in forms:
            share = _MOST if words is forms[-1] else _MOST_LONG
            letters = sum(map(len, words)) / len(words) + _KEY
            most = int(1.3 * self.width / (letters * self.size("e")[0])) + 1
            for columns in range(min(len(keys), _MOST_COLUMNS, most), 0, -1):
                legend = self._legend(keys, words, columns, heading)
                box = legend.get_window_extent()
                floor = self.floor - box.height / self.height - 0.4 * self.row
                done = box.width <= self.width and floor >= 1 - share
                if done:
                    self.floor = floor
                    break
                legend.remove()
                if floor < 1 - share:
                    break  # with fewer columns it is only higher
            if done:
                break
        if before is not None:
            self.ax.add_artist(before)
        return done

    def _legend(self, keys: Sequence[Artist], words: Sequence[str], columns: int, heading: str) -> Legend:
        order = [i for column in range(columns) for i in range(column, len(keys), columns)]  # read by lines
        legend = self.ax.legend(
            handles=[keys[i] for i in order],
            labels=[words[i] for i in order],
            ncols=columns,
            loc="upper left",
            bbox_to_anchor=(0, self.floor - 0.2 * self.row),
            borderaxespad=0,
            borderpad=0,
            frameon=False,
            fontsize="small",
            labelcolor=ink(),
            columnspacing=1.4,
            handlelength=2.0,
            handletextpad=0.5,
            title=heading or None,
            title_fontsize="small",
            alignment="left",
        )
        legend.set_gid("legend")
        for text in (*legend.get_texts(), legend.get_title()):
            text.set_parse_math(False)
        return legend

    # -- room for the data ---------------------------------------------------------------------------

    def rest(self, top: float | None = None, *, pad: float = 0.0, thin: bool = True) -> None:
        """Give the data the room below the lanes, and no tick beside words.

        Parameters
        ----------
        top : float, optional
            The data's y are from 0 to there; by default they are what the y axis shows now.
        pad : float
            Kept free below the lanes, as a fraction of the axes' height.
        thin : bool
            Whether ticks may be left out where there is no room for all.
        """
        ax = self.ax
        if top is not None:
            ax.set_ylim(0, (top or 1) * 1.04)
        low, high = ax.get_ylim()
        last = high if top is None else top
        scale = ax.yaxis.get_transform()
        begin, end = scale.transform(np.array([low, high]))
        up = begin + (end - begin) / max(0.05, self.floor - pad)
        ticks = [t for t in ax.get_yticks() if min(low, last) <= t <= max(low, last)]
        ax.set_ylim(low, float(scale.inverted().transform(np.array([up]))[0]))
        ax.yaxis.set_major_locator(FixedLocator(ticks))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.spines["left"].set_bounds(low, last)
        room = max(1, int(0.9 * self.floor / self.row))  # for so many ticks
        for axes in (ax, *ax.child_axes) if thin else ():
            shown = axes.get_yticks()
            axes.set_yticks(shown[:: max(1, math.ceil(len(shown) / room))])

    def reach(self, texts: Iterable[tuple[float, float]], most: float = 0.6) -> None:
        """Make the x axis so long to the right that texts fit: each its left edge in data, and pixels wide.

        No text counts for more than this share of the axes' width.
        """
        low, high = self.ax.get_xlim()
        scale = self.ax.xaxis.get_transform()
        begin, end = scale.transform(np.array([low, high]))
        for x, width in texts:
            left = float(scale.transform(np.array([x]))[0])
            end = max(end, begin + (left - begin) / (1 - min(width / self.width, most)))
        self.ax.set_xlim(low, float(scale.inverted().transform(np.array([end]))[0]))

    # -- words beside data ---------------------------------------------------------------------------

    def write(self, text: str, t: float, y: float, dx: float, gid: str) -> Text:
        """Write at a time and a height: dx pixels to the right, to the left if below 0, on it if 0.

        The text stays with its time when the limits change. It covers what is behind it, so that a line may
        pass there.
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
