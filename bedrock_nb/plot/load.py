"""What load does to a number: its median and its tail at each level, and the knee beyond which it suffers.

Strategy: `levels` says what may be said of each level of load, `knee` whether the medians bend. Here it is
drawn: replies as dots, medians with their intervals as a line, the tail as thinner
lines where there are enough replies for it, the knee as two straight lines and words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from bedrock_nb.plot.canvas import axes, count, ink, rows, short, tick
from bedrock_nb.plot.conditions import MOST_DRAWN, conditions, distinct, numbers
from bedrock_nb.plot.data.knee import Knee
from bedrock_nb.plot.data.levels import MOST_DOTS, TAIL, Curve, curve_of, heights, level_notes, told
from bedrock_nb.plot.labels import PAD
from bedrock_nb.plot.lanes import Lanes, blank, key, prepare
from bedrock_nb.plot.naming import nothing
from bedrock_nb.plot.units import Quantity, quantity
from bedrock_nb.table.frame import whole_name

__all__ = ["load"]

#: How the lines of the tail are drawn.
_DASHES = dict(zip(TAIL, ("--", ":"), strict=True))
#: Largest by smallest level, or median, beyond which an axis is logarithmic.
_WIDE_X, _WIDE_Y = 64.0, 100.0
#: Largest value of a reply by the largest number of a level beyond which it is said and not shown.
_FAR = 3.0


def load(
    source: Any,
    x: str = "concurrency",
    y: str = "ttft_s",
    *,
    by: str | Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A number against load: latency over concurrent requests or their rate, and where it begins to suffer.

    The knee is where a level and a sloping line meet that clearly fit the medians better than one straight
    line; see `bedrock_nb.plot.data.knee` for the laws behind it. It is a description of what was measured,
    not a proof: a service that is asked at a fixed rate beyond its capacity has no steady latency at all.

    Parameters
    ----------
    source : recordings, DataFrame
        Anything that `bedrock_nb.summary` takes, or its table, or any table with the columns named here.
    x : str
        The load of each reply: a column of numbers, mostly a label of the recordings.
    y : str
        What it does: a column of numbers, such as a latency, a pace or a throughput.
    by : str or list of str, optional
        Columns: one curve for each value, or combination of values. Tails are drawn of a single curve only.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 4 inches. Words are placed for the size that the axes
        have now.

    Returns
    -------
    matplotlib Axes
        x in its own unit (logarithmic if levels span more than a factor of 64), y in that of its column
        (below 1 s its ticks are written in ms; logarithmic if medians span over two decades). The bars at the
        medians are 95 % intervals; p90 and p99 are drawn where there are enough replies, with hollow markers
        where these are few. Artists have a gid each: ``dots:0`` (of the first condition), ``median:0``,
        ``interval:0``, ``tail:p90``, ``knee:0``, ``fit:0``, ``label:knee``, ``note``, ``legend``.

    Raises
    ------
    RequestError
        No such column, or one that is not of numbers; ``ax`` is something else.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> asked = {"prompt": "Count to 5", "labels": {"concurrency": 1}}
    >>> replies = [nb.stream(client, **asked).drain() for _ in range(3)]
    >>> ax = nb.plot.load(replies)
    """
    table = rows(source)
    x, y = whole_name(table, x), whole_name(table, y)
    known = len(table) > 0
    xs, ys = (numbers(table, name) if known else np.array([]) for name in (x, y))
    parts = conditions(table, by) if known else []
    curves = [curve_of(i, part, xs, ys) for i, part in enumerate(parts[:MOST_DRAWN])]
    curves = [curve for curve in curves if curve.levels]
    unit = quantity(y, np.array([value for curve in curves for value in heights(curve)]))
    of = quantity(x)
    title = f"{unit.title} against {of.words}"
    ax = axes(ax)
    if not curves:
        return blank(ax, title, nothing(table, ys, y) if np.isnan(ys).all() else nothing(table, xs, x))
    beyond = _frame(ax, curves, of, unit)
    lanes = prepare(ax, title)
    _ticks(lanes, curves)
    keys, labels = _legend(curves, unit, of)
    heading = "" if by is None else short(by if isinstance(by, str) else ", ".join(by))
    if heading and len(curves) == 1:
        heading = f"{heading}: {curves[0].name}"
    notes = list(level_notes(table, parts, curves, xs, ys, x, y))
    if len(beyond):
        one = len(beyond) == 1
        most = f"at {unit.say(beyond.max())}" if one else f"up to {unit.say(beyond.max())}"
        notes.append(f"Not shown: {count(len(beyond), 'reply')} above the axis, {most}.")
    lanes.tell([" ".join(notes)], keys, labels, heading)
    alone = len(curves) == 1
    words = lanes.take() if alone and curves[0].knee else None
    lanes.rest(pad=0.01)
    for number, curve in enumerate(curves):
        _draw(ax, curve, number, alone)
        _draw_knee(lanes, curve, number, of, unit, words)
    return ax


# -- words -------------------------------------------------------------------------------------------


def _knee_words(found: Knee, of: Quantity, unit: Quantity) -> list[str]:
    """What the knee means, from the longest form to the shortest."""
    at = f"knee at about {tick(float(f'{found.x:.2g}'))}"
    if found.level == "after":
        return [f"{at}: beyond it {unit.words} hardly rises", at]
    if found.proportional:
        how = "falls in inverse proportion" if found.inverse else "grows in proportion"
    elif found.inverse:
        how = "falls"
    else:
        way = "grows" if found.slope > 0 else "falls"
        how = f"{way} by {unit.say(abs(found.slope))} with each one more"
    return [f"{at}: beyond it {unit.words} {how}", f"{at}: beyond it {how}", at]


def _legend(curves: Sequence[Curve], unit: Quantity, of: Quantity) -> tuple[list[Artist], list[list[str]]]:
    """Keys and the forms of their words: of one curve its parts, of several their names."""
    if len(curves) == 1:
        curve = curves[0]
        colour = curve.style.colour
        keys: dict[str, Artist] = {}
        for k, (p, dashes) in enumerate(reversed(_DASHES.items())):
            if any(level.tail[-1 - k][1] is not None for level in curve.levels):
                keys[f"p{p * 100:g}"] = key(color=colour, linestyle=dashes, marker="^", markersize=5)
        known = any(level.low is not None for level in curve.levels)
        several = any(level.n > 1 for level in curve.levels)
        name = "median, 95 % interval" if known else "median" if several else "each level"
        keys[name] = key(color=colour, linewidth=2, marker="o", markersize=6)
        if several:
            keys["a reply"] = key(color=colour, linestyle="none", marker="o", markersize=3.5, alpha=0.6)
        if curve.knee:
            keys["level and sloping line"] = key(color=ink(), alpha=0.18, linewidth=7)
        return list(keys.values()), [list(keys), [name.partition(",")[0] for name in keys]]
    artists: list[Artist] = [
        key(
            color=curve.style.colour,
            linestyle=curve.style.dashes,
            marker=curve.style.marker,
            markersize=6,
            linewidth=2,
        )
        for curve in curves
    ]
    names = [curve.name for curve in curves]
    knees = [
        f"{curve.name}: {_knee_words(curve.knee, of, unit)[-1] if curve.knee else 'no clear knee'}"
        for curve in curves
    ]
    some = [knees] if any(curve.knee for curve in curves) else []
    return artists, [*some, names, distinct(names, 12)]


# -- drawing -----------------------------------------------------------------------------------------


def _frame(ax: Axes, curves: Sequence[Curve], of: Quantity, unit: Quantity) -> NDArray[np.float64]:
    """Limits and words of the axes; returned is what lies so far above the rest that it is not shown."""
    xs = np.array([level.x for curve in curves for level in curve.levels])
    ys = np.array([value for curve in curves for value in heights(curve)])
    needed = max(value for curve in curves for value in told(curve))
    medians = np.array([level.median for curve in curves for level in curve.levels])
    if xs.min() > 0 and float(xs.max()) / float(xs.min()) > _WIDE_X:
        ax.set_xscale("log")
        ax.set_xlim(xs.min() / 1.15, xs.max() * 1.15)
    else:
        pad = 0.05 * (xs.max() - min(0, xs.min())) or 1.0
        ax.set_xlim(min(0, xs.min() - pad), xs.max() + pad)
    if ys.min() > 0 and float(medians.max()) / float(medians.min()) > _WIDE_Y:
        ax.set_yscale("log")
        ax.set_ylim(ys.min() / 1.15, ys.max() * 1.15)
    else:
        low, high = min(0.0, float(ys.min())), max(0.0, float(ys.max()))
        if high > _FAR * needed > 0:  # a single reply must not press all others flat
            high = 1.5 * needed
        pad = 0.05 * (high - low) or 1.0
        ax.set_ylim(low - pad if low else 0, high + pad if high else pad)
    of.on(ax.xaxis)
    unit.on(ax.yaxis)
    ax.yaxis.label.set(y=0, ha="left")
    return ys[ys > ax.get_ylim()[1]]


def _ticks(lanes: Lanes, curves: Sequence[Curve]) -> None:
    """A tick at each level, as far as their numbers keep apart."""
    ticks: list[float] = []
    digit = lanes.size("0")[0]
    end = -np.inf
    for x in sorted({level.x for curve in curves for level in curve.levels}):
        half = 0.5 * digit * (len(tick(x)) + 1)
        if lanes.x(x) - half > end:
            ticks.append(x)
            end = lanes.x(x) + half
    lanes.ax.set_xticks(ticks)
    lanes.ax.xaxis.set_minor_locator(NullLocator())


def _draw(ax: Axes, curve: Curve, number: int, alone: bool) -> None:
    colour, marker, dashes = curve.style
    x = [level.x for level in curve.levels]
    lot = np.random.default_rng(0)
    some = np.arange(len(curve.y))
    if len(some) > MOST_DOTS:
        some = np.sort(lot.choice(some, MOST_DOTS, replace=False))
    ax.plot(
        _aside(ax, curve.x[some], lot),
        curve.y[some],
        "o",
        color=colour,
        markersize=3.5,
        markeredgewidth=0,
        alpha=0.6 if len(some) < 500 else 0.3,
        gid=f"dots:{number}",
        zorder=1.5,
    )
    bars = [
        (level.x, level.low, level.high)
        for level in curve.levels
        if level.low is not None and level.high is not None
    ]
    ax.vlines(
        [at for at, _, _ in bars],
        [low for _, low, _ in bars],
        [high for _, _, high in bars],
        colors=colour,
        linewidth=4,
        alpha=0.55,
        gid=f"interval:{number}",
        zorder=2,
    )
    ax.plot(
        x,
        [level.median for level in curve.levels],
        color=colour,
        marker=marker,
        linestyle=dashes,
        markersize=6,
        linewidth=2,
        gid=f"median:{number}",
        label=curve.name or "_all",
        zorder=3,
    )
    for k, (p, dash) in enumerate(_DASHES.items() if alone else ()):
        tail = [level.tail[k] for level in curve.levels]
        heights = [np.nan if value is None else value for _, value, _ in tail]
        gid = f"tail:p{p * 100:g}"
        if not np.isfinite(heights).any():
            continue
        ax.plot(x, heights, color=colour, linestyle=dash, linewidth=1.2, gid=gid, zorder=2.4)
        for at, height, (_, _, trust) in zip(x, heights, tail, strict=True):
            face = ax.get_facecolor() if trust == "weak" else colour
            if np.isfinite(height):
                ax.plot(
                    [at],
                    [height],
                    "^",
                    color=colour,
                    markerfacecolor=face,
                    markeredgewidth=1,
                    markersize=5,
                    gid=gid,
                    zorder=2.5,
                )


def _aside(ax: Axes, x: NDArray[np.float64], lot: np.random.Generator) -> NDArray[np.float64]:
    """Dots of one level a little beside each other, by lot; the same each time."""
    scale = ax.xaxis.get_transform()
    begin, end = scale.transform(np.array(ax.get_xlim()))
    moved = scale.transform(x) + lot.uniform(-0.006, 0.006, len(x)) * (end - begin)
    return np.asarray(scale.inverted().transform(moved))


def _draw_knee(
    lanes: Lanes, curve: Curve, number: int, of: Quantity, unit: Quantity, y: float | None
) -> None:
    """Both straight lines, and a vertical one at the knee up to its words, if these have a lane."""
    if curve.knee is None:
        return
    ax = lanes.ax
    grid = np.linspace(curve.levels[0].x, curve.levels[-1].x, 200)
    ax.plot(grid, curve.knee.at(grid), color=ink(), alpha=0.18, linewidth=7, gid=f"fit:{number}", zorder=1.2)
    ax.plot(
        [curve.knee.x] * 2,
        [0, lanes.floor if y is None else y - 0.5 * lanes.row],
        ":",
        transform=ax.get_xaxis_transform(),
        color=ink() if y is not None else curve.style.colour,
        linewidth=1.2,
        gid=f"knee:{number}",
        zorder=1.8,
    )
    if y is None:
        return
    text = next(
        (words for words in _knee_words(curve.knee, of, unit) if lanes.size(words)[0] <= lanes.width), ""
    )
    width = lanes.size(text)[0]
    left = min(max(lanes.x(curve.knee.x) - width / 2, PAD), max(PAD, lanes.width - width))
    ax.text(
        left / lanes.width,
        y,
        text,
        transform=ax.transAxes,
        va="center",
        fontsize="small",
        color=ink(),
        parse_math=False,
        gid="label:knee",
    )
