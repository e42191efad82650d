"""The picture of one turn: its rounds and the tools that they called, as a timeline.

Strategy: `loop` says what there is, this module draws it. Rows are one unit high, from the top downwards; the
room above them is measured in texts, as in `lanes`: a line of numbers, notes, the legend. Words stand inside
a band that is wide enough, or behind the end of a row, where nothing else is: so none can lie on another.
The time axis is made so long that they all fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch

from bedrock_nb.errors import RequestError
from bedrock_nb.plot.canvas import OKABE_ITO, axes, ink, time_axis
from bedrock_nb.plot.data.loop import Loop, Row, unroll
from bedrock_nb.plot.data.parts import Band
from bedrock_nb.plot.labels import PAD
from bedrock_nb.plot.lanes import Lanes, key, prepare
from bedrock_nb.plot.stream import LOOKS
from bedrock_nb.table import as_recordings

__all__ = ["tool_rounds"]


class _Look(NamedTuple):
    """How one kind of band is drawn: colour (None: that of text), hatch, half its height, and its legend."""

    colour: str | None
    alpha: float
    hatch: str
    half: float
    meaning: str


#: Every kind of band, in the order of the legend. What a tool makes while it runs is a tool result.
_BANDS = {
    "waiting": _Look(None, 0.16, "", 0.36, "waiting for the model"),
    **{kind: _Look(look.colour, 0.5, "", 0.36, kind) for kind, look in LOOKS.items()},
    "queued": _Look(None, 0.5, "", 0.04, "asked for, not begun"),
    "approval": _Look(None, 0.45, "////", 0.28, "waiting for approval"),
    "running": _Look(OKABE_ITO["orange"], 0.9, "", 0.28, "tool running"),
}
_STOP = "message ended"
_FAILED = "went wrong"

_ROW_INCHES = 0.3
_AROUND_INCHES = 1.3  # title, numbers, legend, axis
_MOST_INCHES = 62  # a figure of the most rows there are
_WORDS_SHARE = 0.45  # of the axes' width, at most, behind the last band
_AFTER = 2.5 * PAD  # from the end of a row to its words, pixels
_APART = 9.0  # pixels: markers closer than this would hide each other


def tool_rounds(source: Any, *, ax: Axes | None = None) -> Axes:
    """The tool loop of one turn as a timeline: what the model streamed, and what its tools did meanwhile.

    One row for each round shows its stream: waiting for the model, then content blocks, up to the moment at
    which the message ended. Below it each call of a tool has a row: when it was asked for, how long somebody
    was asked for approval (hatched), how long it ran, and what came of it. A tool that was run eagerly begins
    to the left of the dotted line at which the message ended.

    Parameters
    ----------
    source : turn, conversation, list of Recording, Recording, Reply or path
        The rounds of one turn in their order; of several turns the last is drawn. A round is placed by the
        label ``at_s`` of its recording (seconds since the turn began), else by the wall-clock times of the
        requests.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, 10 inches wide and as high as its rows need. Words are placed
        for the size that the axes have now.

    Returns
    -------
    matplotlib Axes
        x is in seconds since the turn began (below 1 s its ticks are written in ms), y counts rows from 0
        downwards. Its artists have a gid each: ``band:text``, ``band:running``, ``mark:stop``,
        ``mark:failed``, ``label:0`` (the words of row 0) …

    Raises
    ------
    RequestError
        No recording at all, or ``ax`` is something else.
    RecordingError
        A path that is not a readable recording.
    """
    recordings = as_recordings(source)
    if not recordings:
        raise RequestError(
            "There is no round to draw: no recording was given.",
            remedy="Run the turn first, or give its recordings.",
        )
    loop = unroll(recordings)
    ax = _tall(len(loop.rows)) if ax is None else axes(ax)
    _frame(ax, loop)
    lanes = prepare(ax, loop.title)
    ax.spines["left"].set_visible(False)
    lanes.tell((loop.summary, *loop.notes), list(_keys(loop)))
    lanes.rest(thin=False)
    size = lanes.points(0.62 * lanes.floor * lanes.height / max(1, len(loop.rows)))
    ax.tick_params(axis="y", labelsize=size or 1, labelleft=bool(size))
    if size:
        lanes.reach(
            ((row.end, lanes.size(row.words, size)[0] + _AFTER + PAD) for row in loop.rows), _WORDS_SHARE
        )
    for number, row in enumerate(loop.rows):
        _draw_row(lanes, row, number, size)
    _draw_stops(ax, loop)
    return ax


# -- around the data ---------------------------------------------------------------------------------


def _tall(rows: int) -> Axes:
    height = min(_MOST_INCHES, _AROUND_INCHES + _ROW_INCHES * rows)
    return plt.subplots(figsize=(10, height), layout="constrained")[1]


def _frame(ax: Axes, loop: Loop) -> None:
    """Limits, ticks and words around the picture."""
    time_axis(ax, loop.end or 1.0, "the turn began")
    ax.set_ylim(len(loop.rows), 0)
    names = [row.name for row in loop.rows]
    ax.set_yticks([i + 0.5 for i in range(len(names))], names, fontsize="small")
    for label, row in zip(ax.get_yticklabels(), loop.rows, strict=True):
        label.set_parse_math(False)
        label.set_fontweight("normal" if row.is_call else "bold")
    ax.tick_params(axis="y", length=0)


def _keys(loop: Loop) -> Iterator[Artist]:
    """What the legend explains: only what can be seen."""
    kinds = {band.kind for row in loop.rows for band in row.bands}
    for kind, look in _BANDS.items():
        if kind == "queued" and kind in kinds:
            yield key(color=ink(), alpha=look.alpha, linewidth=2, label=look.meaning)
        elif kind in kinds and kind in LOOKS:
            yield key(
                color=to_rgba(LOOKS[kind].colour, look.alpha),
                linewidth=8,
                solid_capstyle="butt",
                marker=LOOKS[kind].marker,
                markersize=5,
                markerfacecolor=LOOKS[kind].colour,
                markeredgecolor=ink(),
                markeredgewidth=0.6,
                label=look.meaning,
            )
        elif kind in kinds:
            yield Patch(**_style(look), label=look.meaning)
    if any(row.stop is not None for row in loop.rows):
        yield key(color=ink(), linewidth=1.2, linestyle=":", label=_STOP)
    if any(row.failed for row in loop.rows):
        colour = OKABE_ITO["vermillion"]
        yield key(color=colour, marker="X", markersize=7, linestyle="none", label=_FAILED)


# -- rows --------------------------------------------------------------------------------------------


def _style(look: _Look) -> dict[str, Any]:
    """A band's face and edge; one that is hatched has no face."""
    colour = look.colour or ink()
    if look.hatch:
        return {"facecolor": "none", "edgecolor": colour, "hatch": look.hatch, "alpha": 0.7, "linewidth": 0.8}
    width = 0.8 if look.half > 0.1 else 0.0
    return {"facecolor": colour, "edgecolor": colour, "alpha": look.alpha, "linewidth": width}


def _draw_row(lanes: Lanes, row: Row, number: int, size: float) -> None:
    ax, y = lanes.ax, number + 0.5
    if number and not row.is_call:
        ax.axhline(number, color=ink(), alpha=0.25, linewidth=0.6, gid="line", zorder=0.5)
    marked = -_APART
    for band, following in zip_longest(row.bands, row.bands[1:]):
        look = _BANDS[band.kind]
        (bar,) = ax.barh(y, band.end - band.begin, 2 * look.half, band.begin, zorder=2, **_style(look))
        bar.set(gid=f"band:{band.kind}", snap=band.kind != "queued")  # a thin one is of one thickness
        end = band.end if following is None else min(band.end, following.begin)
        middle = (band.begin + max(end, band.begin)) / 2
        if text := _inside(lanes, band, end, size):
            _write(lanes, text, middle, y, 0, size, bool(look.hatch), f"name:{band.kind}")
        elif band.kind in LOOKS and lanes.x(middle) - marked >= _APART:
            marked = lanes.x(middle)
            colour, marker = LOOKS[band.kind]
            _mark(ax, middle, y, marker, colour, ink(), f"mark:{band.kind}")
    if row.failed:
        _mark(ax, row.end, y, "X", OKABE_ITO["vermillion"], ax.get_facecolor(), "mark:failed")
    room = lanes.width - lanes.x(row.end) - _AFTER
    if size and (words := lanes.cut(row.words, room, size)):
        _write(lanes, words, row.end, y, _AFTER, size, True, f"label:{number}")


def _mark(ax: Axes, x: float, y: float, marker: str, colour: str, edge: Any, gid: str) -> None:
    ax.plot(
        [x],
        [y],
        marker,
        color=colour,
        markersize=9 if marker == "X" else 5,
        markeredgecolor=edge,
        markeredgewidth=0.6,
        clip_on=False,
        gid=gid,
        zorder=4,
    )


def _inside(lanes: Lanes, band: Band, end: float, size: float) -> str:
    """The text of a band, or its kind, or nothing: as much as there is room for."""
    room = lanes.x(end) - lanes.x(band.begin) - 2 * PAD
    texts = (band.text, band.text.removeprefix("tool "), band.kind) if size and band.text else ()
    return next((text for text in texts if lanes.size(text, size)[0] <= room), "")


def _write(
    lanes: Lanes, text: str, x: float, y: float, dx: float, size: float, covers: bool, gid: str
) -> None:
    """Write on a place, or dx pixels to the right of it; it may cover a line or a hatch that is there."""
    behind = None
    if covers:
        behind = {"facecolor": lanes.ax.get_facecolor(), "edgecolor": "none", "pad": 0.8}
    lanes.ax.annotate(
        text,
        (x, y),
        xytext=(dx * 72 / lanes.ax.figure.dpi, 0),
        textcoords="offset points",
        ha="left" if dx else "center",
        va="center",
        fontsize=size,
        color=ink(),
        parse_math=False,
        annotation_clip=False,
        bbox=behind,
        gid=gid,
        zorder=5,
    )


def _draw_stops(ax: Axes, loop: Loop) -> None:
    """Where a message ended: a dotted line through the row of its stream and those of its calls."""
    streams = [i for i, row in enumerate(loop.rows) if not row.is_call]
    for first, after in zip(streams, [*streams[1:], len(loop.rows)], strict=True):
        stop = loop.rows[first].stop
        if stop is not None:
            span = [first + 0.06, after - 0.06]
            ax.plot([stop, stop], span, ":", color=ink(), linewidth=1.2, gid="mark:stop", zorder=3)
