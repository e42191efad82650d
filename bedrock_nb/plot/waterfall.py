"""The picture of many replies: one row each, their phases as bands.

Strategy: `phases` says what there is, this module draws it. Rows are one unit high, from the top downwards;
as many of them as there may be, a phase is one artist, and names stand where there is room for them. Phases
differ in height besides colour: waiting is low, content is high.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch, Rectangle

from bedrock_nb.plot.canvas import OKABE_ITO, STYLES, axes, ink, is_dark, several, short, style, time_axis
from bedrock_nb.plot.data.phases import Align, Fall, fall
from bedrock_nb.plot.lanes import Lanes, blank, key, prepare
from bedrock_nb.plot.naming import endings, whose
from bedrock_nb.plot.stream import LOOKS
from bedrock_nb.recording import Recording

__all__ = ["waterfall"]


class _Look(NamedTuple):
    """How a phase is drawn: colour (None: that of text), half its height, and its words in the legend."""

    colour: str | None
    alpha: float
    half: float
    meaning: str


#: Every phase, in the order of the legend.
_PHASES = {
    "set-up": _Look(OKABE_ITO["vermillion"], 0.55, 0.16, "set-up"),
    "retries": _Look(OKABE_ITO["vermillion"], 1.0, 0.28, "retries"),
    "headers": _Look(None, 0.55, 0.16, "wait for headers"),
    "wait": _Look(None, 0.25, 0.16, "wait for content"),
    **{kind: _Look(look.colour, 0.85, 0.4, kind) for kind, look in LOOKS.items()},
    "after": _Look(None, 0.55, 0.04, "after content"),
}
_ROW_INCHES, _AROUND_INCHES, _MOST_INCHES = 0.28, 1.5, 9.0
_MOST_LETTERS = 36
_MOST_GROUPS = 8  # in the legend
_LEAST_POINTS = 6.0  # smaller words are none
_WORDS_SHARE = 0.4  # of the axes' width, at most, behind the last band
_LINE_POINTS = 10.5  # of small letters, and the air between two lines
_AFTER = 10.0  # from the end of a row to its words, pixels


def waterfall(
    source: Any,
    *,
    by: str | Sequence[str] | None = None,
    sort: str | None = None,
    align: Align = "request",
    ax: Axes | None = None,
) -> Axes:
    """Many replies below each other, one row each: where the time of every call went.

    Low bands are waiting, high ones are content; a tick stands at the first content (TTFT), a cross at the
    end of a reply that did not end well.

    Parameters
    ----------
    source : Recording, Reply, conversation, path, or a collection of these
        Up to 200 are drawn; it is said how many are not.
    by : str or list of str, optional
        Columns of the summary table, labels included: rows of one value stand together, and have a colour
        at their left edge.
    sort : str, optional
        A column of the summary table, such as ``"ttft_s"``: small values first, missing ones last. By
        default rows stand in the order given, and by the wall clock in that of their requests.
    align : {"request", "clock"}
        Time 0 is each row's own request, or the first request of all, by the wall clock.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, 10 inches wide and as high as its rows need, up to 9 inches.

    Returns
    -------
    matplotlib Axes
        x is in seconds, y counts rows from 0 downwards. Its artists have a gid each: ``band:text``,
        ``band:wait`` (all rows in one), ``ticks``, ``mark:failed``, ``mark:ended``, ``group:0`` …

    Raises
    ------
    RequestError
        A table, no such column, no such alignment, or ``ax`` is something else.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> replies = [nb.stream(client, f"Count from 1 to {n}").drain() for n in (5, 10)]
    >>> ax = nb.plot.waterfall(replies, sort="ttft_s")
    """
    recordings = several(source)
    data = fall(recordings, by, sort, align)
    title = f"Phases of each reply: {whose(recordings)}"
    ax = _tall(len(data.rows)) if ax is None else axes(ax)
    if not data.rows or not data.end:
        return blank(
            ax,
            title,
            "\n".join([_nothing(recordings), *data.said]),
        )
    time_axis(ax, data.end, "each request" if align == "request" else "the first request")
    n = len(data.rows)
    _name_rows(ax, data, _row_points(ax, n))
    ax.set_ylim(n, 0)
    lanes = prepare(ax, title)
    ax.spines["left"].set_visible(False)
    said = [*data.said, *(line for line in [endings(recordings)] if line)]
    lanes.tell(said, [*_keys(data)])
    lanes.tell((), [*_group_keys(data, by)])
    lanes.rest(thin=False)
    points = lanes.floor * _row_points(ax, n)
    _name_rows(ax, data, points)
    size = lanes.points(0.8 * lanes.floor * lanes.height / n, _LEAST_POINTS)
    if size:
        words = ((row.end, row.words) for row in data.rows if row.words)
        lanes.reach(((end, lanes.size(said, size)[0] + 2 * _AFTER) for end, said in words), _WORDS_SHARE)
    _draw_bands(ax, data, points)
    _draw_groups(ax, data)
    _draw_ends(lanes, data, points, size)
    return ax


def _nothing(recordings: Sequence[Recording]) -> str:
    if not recordings:
        return "No recording was given."
    if any(len(recording) for recording in recordings):
        return "All that came has the time 0: there is nothing to draw."
    return "Nothing has a time yet."


def _tall(rows: int) -> Axes:
    height = min(_MOST_INCHES, max(2.4, _AROUND_INCHES + _ROW_INCHES * rows))
    return plt.subplots(figsize=(10, height), layout="constrained")[1]


def _keys(data: Fall) -> Iterator[Artist]:
    """What the legend explains: only what can be seen."""
    kinds = {band.kind for row in data.rows for band in row.bands}
    for kind, look in _PHASES.items():
        if kind in kinds and look.half < 0.1:
            yield key(color=look.colour or ink(), alpha=look.alpha, linewidth=2, label=look.meaning)
        elif kind in kinds:
            yield Patch(color=look.colour or ink(), alpha=look.alpha, linewidth=0, label=look.meaning)
    if any(row.first is not None for row in data.rows):
        yield key(
            color=ink(),
            marker="|",
            markersize=9,
            markeredgewidth=1.4,
            linestyle="none",
            label="TTFT",
        )
    for failed, words in ((True, "failed"), (False, "ended early")):
        if any(row.words and row.failed is failed and row.words != "still streaming" for row in data.rows):
            yield key(linestyle="none", label=words, **_cross(failed))


def _group_keys(data: Fall, by: str | Sequence[str] | None) -> Iterator[Artist]:
    named = short(by if isinstance(by, str) else " · ".join(by or ()), 24)
    for number, group in enumerate(data.groups[:_MOST_GROUPS]):
        label = f"{named}: {_fit(group)}"
        yield key(color=_shade(number, data), linewidth=4, label=label)


def _shade(number: int, data: Fall) -> Any:
    """The colour of a group: that of the condition in other plots, or of too many a shade that is seen."""
    if len(data.groups) <= len(STYLES):
        return style(number).colour
    begin, end = (0.3, 1.0) if is_dark() else (0.0, 0.85)
    return plt.colormaps["cividis"](begin + (end - begin) * number / (len(data.groups) - 1))


def _fit(name: str) -> str:
    """A name of at most so many letters: from names that are alike, the middle can be missed."""
    name = short(name, 1000)
    if len(name) <= _MOST_LETTERS:
        return name
    return f"{name[: _MOST_LETTERS // 3].rstrip('. ')}…{name[1 - _MOST_LETTERS + _MOST_LETTERS // 3 :]}"


def _cross(failed: bool) -> dict[str, Any]:
    colour = OKABE_ITO["vermillion"] if failed else ink()
    return {"color": colour, "marker": "X" if failed else "x", "markersize": 7, "markeredgewidth": 1}


def _row_points(ax: Axes, rows: int) -> float:
    """Height of a row if rows have all of the axes, points."""
    return float(ax.get_window_extent().height) / rows * 72 / float(ax.figure.dpi)


def _name_rows(ax: Axes, data: Fall, points: float) -> None:
    """Names at the left, at each row or, where rows are lower than letters, at every second, third …"""
    every = max(1, math.ceil(_LINE_POINTS / points))
    rows = range(0, len(data.rows), every)
    ax.set_yticks([i + 0.5 for i in rows], [_fit(data.rows[i].name) for i in rows], fontsize="small")
    for text in ax.get_yticklabels():
        text.set_parse_math(False)
    ax.tick_params(axis="y", length=0, pad=9 if data.groups else 3)


def _draw_bands(ax: Axes, data: Fall, points: float) -> None:
    """A collection for each phase, and the ticks of first content; an edge keeps what is short in sight."""
    for kind, look in _PHASES.items():
        colour = look.colour or ink()
        boxes = [
            [
                (band.begin, y - look.half),
                (band.end, y - look.half),
                (band.end, y + look.half),
                (band.begin, y + look.half),
            ]
            for y, row in enumerate(data.rows, 0)
            for band in row.bands
            if band.kind == kind
        ]
        if boxes:
            boxes = [[(x, y + 0.5) for x, y in box] for box in boxes]
            bands = PolyCollection(
                boxes,
                facecolors=colour,
                edgecolors=colour,
                alpha=look.alpha,
                linewidths=min(0.8, 0.08 * points),
                gid=f"band:{kind}",
                zorder=2,
            )
            ax.add_collection(bands, autolim=False)
    firsts = [(i, row.first) for i, row in enumerate(data.rows) if row.first is not None]
    ax.vlines(
        [t for _, t in firsts],
        [i + 0.02 for i, _ in firsts],
        [i + 0.98 for i, _ in firsts],
        colors=ink(),
        linewidths=1.4,
        gid="ticks",
        zorder=4,
    )


def _draw_groups(ax: Axes, data: Fall) -> None:
    """A strip of colour at the left of each group, and a line between groups."""
    for number, group in enumerate(data.groups):
        places = [i for i, row in enumerate(data.rows) if row.group == group]
        strip = Rectangle(
            (-0.009, places[0] + 0.04),
            0.006,
            len(places) - 0.08,
            transform=ax.get_yaxis_transform(),
            color=_shade(number, data),
            linewidth=0,
            clip_on=False,
            gid=f"group:{number}",
        )
        ax.add_patch(strip)
        if places[0]:
            ax.axhline(places[0], color=ink(), alpha=0.25, linewidth=0.6, gid="line", zorder=0.5)


def _draw_ends(lanes: Lanes, data: Fall, points: float, size: float) -> None:
    """A cross, and as many words as find room, where a reply is not complete."""
    ax = lanes.ax
    for number, row in enumerate(data.rows):
        if not row.words:
            continue
        if row.words != "still streaming":
            cross = _cross(row.failed) | {"markersize": min(8.0, max(3.0, 0.7 * points))}
            gid = "mark:failed" if row.failed else "mark:ended"
            ax.plot([row.end], [number + 0.5], linestyle="none", clip_on=False, gid=gid, zorder=5, **cross)
        room = lanes.width - lanes.x(row.end) - _AFTER
        if size and (words := lanes.cut(row.words, room, size)):
            ax.annotate(
                words,
                (row.end, number + 0.5),
                xytext=(_AFTER * 72 / ax.figure.dpi, 0),
                textcoords="offset points",
                va="center",
                fontsize=size,
                color=ink(),
                parse_math=False,
                annotation_clip=False,
                gid=f"label:{number}",
                zorder=5,
            )
