"""What all plots share: where they draw, their colours, how they write numbers and files.

Strategy: colour-blind-safe colours for data, always with a second cue (a marker, a dash, a word); the
caller's own colours for text and lines, so that dark styles work. Nothing here changes a global setting.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import FuncFormatter

from bedrock_nb.errors import RequestError
from bedrock_nb.recording import Recording
from bedrock_nb.table import as_recordings, summary

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "OKABE_ITO",
    "STYLES",
    "Style",
    "axes",
    "count",
    "duration",
    "empty",
    "ink",
    "is_dark",
    "one",
    "one_line",
    "plural",
    "rows",
    "several",
    "short",
    "style",
    "tick",
    "time_axis",
    "tint",
    "write",
]

#: Colours that stay apart for colour-blind readers (Okabe and Ito 2008).
OKABE_ITO = {
    "blue": "#0072B2",
    "vermillion": "#D55E00",
    "green": "#009E73",
    "purple": "#CC79A7",
    "orange": "#E69F00",
    "sky": "#56B4E9",
}


class Style(NamedTuple):
    """How one of several things that are compared is drawn: a colour, and two cues besides."""

    colour: str
    marker: str
    dashes: str


#: In the order in which `style` gives them out.
STYLES = tuple(
    Style(colour, marker, dashes)
    for colour, marker, dashes in zip(
        (OKABE_ITO[name] for name in ("blue", "vermillion", "green", "purple", "orange", "sky")),
        "os^DvP",
        ("-", "--", "-.", ":", "-", "--"),
        strict=True,
    )
)


def style(number: int) -> Style:
    """How the thing with this number is drawn: 36 pairs of colour and marker before one comes again."""
    colours, again = len(STYLES), number // len(STYLES)
    turned = STYLES[(number + again) % colours]
    return turned._replace(colour=STYLES[number % colours].colour)


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


def several(source: Any) -> list[Recording]:
    """The recordings in a source that may hold any number of them, but is no table.

    Raises
    ------
    RequestError
        It is a DataFrame, or holds something else than recordings.
    RecordingError
        A path that is not a readable recording.
    """
    if hasattr(source, "iloc"):
        raise RequestError(
            "This plot shows single events, and a table of replies has none.",
            remedy="Give the recordings that the table was made of.",
        )
    return as_recordings(source)


def time_axis(ax: Axes, end: float, since: str) -> None:
    """Times from 0 to ``end`` seconds along x, with ticks in ms where all of it is below 1 s."""
    unit, factor = ("s", 1) if end >= 1 else ("ms", 1000)
    ax.set_xlabel(f"time since {since} [{unit}]")
    ax.set_xlim(-0.012 * end, 1.012 * end)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda t, _: tick(t * factor)))


def ink() -> str:
    """The colour of text and lines in the style in use."""
    colour: str = mpl.rcParams["text.color"]
    return colour


def is_dark() -> bool:
    """Whether the style in use has light text, so that what is drawn stands on dark ground."""
    return sum(to_rgb(ink())) > 1.5


def tint(alpha: float) -> float:
    """The opacity of an area that is faint on white: on dark ground it must be more to be seen."""
    return min(1.0, 2.4 * alpha) if is_dark() else alpha


def duration(seconds: float) -> str:
    """A time with its unit and up to four figures: ``4.2 ms``, ``350 ms``, ``3.21 s``."""
    if seconds < 0.00995:
        return f"{seconds * 1000:.2g} ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    decimals = 2 if seconds < 99.995 else 1 if seconds < 9999.95 else 0
    return f"{seconds:,.{decimals}f} s"


def count(n: int, noun: str) -> str:
    """A number and its noun: ``1 event``, ``5,000 replies``."""
    return f"{n:,} {noun if n == 1 else plural(noun)}"


def plural(noun: str) -> str:
    """``replies``, ``gaps``."""
    return f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"


def tick(value: float, thousands: float = 1e4) -> str:
    """A number as it stands on an axis: ``0.05``, ``200``, ``5,000``, ``20k``: k from ``thousands`` on."""
    if not math.isfinite(value):
        return ""
    size = abs(value)
    for least, factor, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (thousands, 1e3, "k")):
        if size >= least:
            return f"{value / factor:.6g}{letter}"
    return f"{value:,.6g}" if size >= 1e-4 or not size else f"{value:.3g}"


def rows(source: Any) -> pd.DataFrame:
    """A row per reply: a table that is one already as it is, anything else by way of `summary`.

    Raises
    ------
    RequestError
        It is no table, and holds something else than recordings.
    """
    table: pd.DataFrame = source if hasattr(source, "iloc") else summary(source)
    return table


def one_line(text: Any) -> str:
    """One line of what a file or a service wrote; what the fonts in use cannot draw is a question mark."""
    known = _drawn(*(tuple(mpl.rcParams[name]) for name in ("font.family", "font.sans-serif", "font.serif")))
    return " ".join(
        "".join(c if c.isspace() or (c.isprintable() and ord(c) in known) else "?" for c in str(text)).split()
    )


@lru_cache(maxsize=8)
def _drawn(families: tuple[str, ...], *_: tuple[str, ...]) -> frozenset[int]:
    """The code points for which the fonts of these families have a glyph."""
    points: set[int] = set()
    for family in families:
        with suppress(ValueError):  # no such font; matplotlib passes over it, too
            path = findfont(FontProperties(family=[family]), fallback_to_default=False)
            points |= get_font(path).get_charmap().keys()
    return frozenset(points or get_font(findfont(FontProperties())).get_charmap())


def short(text: Any, most: int = 32) -> str:
    """The same in at most so many letters."""
    said = one_line(text)
    return said if len(said) <= most else said[: most - 1] + "…"


def empty(ax: Axes, why: str) -> Axes:
    """Say in the middle of axes that would show nothing why they do not."""
    ax.text(
        0.5,
        0.5,
        why,
        transform=ax.transAxes,
        ha="center",
        va="center",
        wrap=True,
        color=ink(),
        parse_math=False,
        gid="empty",
    )
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


def write(ax: Axes, path: Path) -> None:
    """Write the figure of some axes to a file, and close it.

    Raises
    ------
    RequestError
        It cannot be written.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None  # Axes always have one; matplotlib's types do not know
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as err:
        why = err.strerror if isinstance(err, OSError) else err
        raise RequestError(
            f"The plot cannot be written to {path.name!r}: {why}.",
            remedy="Give a file in a folder that exists, as .png, .svg or .pdf.",
        ) from err
    finally:
        plt.close(figure)
