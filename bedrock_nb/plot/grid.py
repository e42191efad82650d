"""How a number depends on two others: a table of medians, as colours and in figures.

Strategy: `bins` gives rows and columns, `_cells` a median and a count for each cell; then it is drawn. A cell
says how many replies it is of, and one of few is hatched. A cell without a reply has no colour, for that
would be a number. Colours are cividis, which rises evenly in lightness for readers with and without colour
vision (Nuñez, Anderton and Renslow, PLOS ONE 13, 2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize, to_rgb
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from bedrock_nb.errors import RequestError
from bedrock_nb.plot.canvas import axes, count, ink, rows, short, tick
from bedrock_nb.plot.conditions import column, is_number, numbers
from bedrock_nb.plot.data.bins import Bins, binned
from bedrock_nb.plot.lanes import Lanes, blank, prepare
from bedrock_nb.plot.naming import lacking, nothing, reasons
from bedrock_nb.plot.units import Quantity, quantity
from bedrock_nb.table.frame import whole_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["heatmap"]

#: Replies below which the median of a cell is hardly one.
FEW = 3
#: Bins of an axis if nothing else is said, and the most that can be asked for.
_BINS, _MOST_BINS = 8, 40
#: Largest by smallest median beyond which colours stand for powers.
_WIDE = 100.0
_COLOURS = "cividis"


class _Cells(NamedTuple):
    """Of each cell, rows upwards: the median (NaN if there is none), replies with a value, replies at all."""

    median: NDArray[np.float64]
    n: NDArray[np.intp]
    replies: NDArray[np.intp]


def heatmap(
    source: Any,
    x: str = "output_tokens",
    y: str = "total_input_tokens",
    value: str = "e2e_s",
    *,
    bins: int | tuple[Any, Any] = _BINS,
    ax: Axes | None = None,
) -> Axes:
    """The median of one number over two others, such as a reply's time over lengths of prompt and output.

    Parameters
    ----------
    source : recordings, DataFrame
        Anything that `bedrock_nb.summary` takes, or its table, or any table with the columns named here.
    x, y : str
        Columns for the two axes, of numbers or of text. A column of few different values that are well apart
        shows them as they are. Other numbers get bins. Where they lie in a few narrow groups, each group is
        a bin, named by its lowest and its highest number (``6–7``). Otherwise edges are round, and grow if
        the values span widely; such a bin has its lower edge and not its upper one, but for the last, which
        has both.
    value : str
        The column of numbers whose median is shown.
    bins : int or pair, default 8
        The most bins of both axes, or for each axis a number or the edges themselves (rising). Replies
        outside of given edges are left out, and counted in words.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 5 inches. The colour bar takes a part of it.

    Returns
    -------
    matplotlib Axes
        Cell (i, j) is the unit square from (i, j). Each says its median and how many replies it is of
        (``n``); cells of fewer than 3 are hatched, cells without any reply have no colour and a dash. Artists
        have a gid each: ``cells``, ``few``, ``label:i,j``, ``note``; the colour bar is
        ``ax.collections[0].colorbar``.

    Raises
    ------
    RequestError
        No such column, a ``value`` that is not of numbers, bins that cannot be; ``ax`` is something else.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> replies = [nb.stream(client, "sun " * n, max_tokens=5).drain() for n in (1, 50)]
    >>> ax = nb.plot.heatmap(replies)
    """
    table = rows(source)
    x, y, value = (whole_name(table, name) for name in (x, y, value))
    wanted = [
        _wanted(each) for each in (bins if isinstance(bins, tuple) and len(bins) == 2 else (bins, bins))
    ]
    known = len(table) > 0
    values = numbers(table, value) if known else np.array([])
    across, up = (
        binned(column(table, name).tolist() if known else [], *want)
        for name, want in zip((x, y), wanted, strict=True)
    )
    if up.edges is None and not up.numeric:
        up = up.reversed()  # the first one on top, as one reads
    cells = _cells(across, up, values)
    unit = quantity(value, cells.median)
    title = f"Median {unit.words} in each cell"
    ax = plt.subplots(figsize=(10, 5), layout="constrained")[1] if ax is None else axes(ax)
    if not cells.n.any():
        if known and not cells.replies.any():
            return blank(ax, title, f"No reply has both {short(x)} and {short(y)} inside of the bins.")
        return blank(ax, title, nothing(table, values, value))
    mesh = _draw_cells(ax, cells, unit)
    _frame(ax, across, up, x, y)
    lanes = prepare(ax, title)
    if _turned(lanes, across.names):
        lanes = prepare(ax, title)  # they take room of the axes
    outside = (across.of < 0) | (up.of < 0)
    where = f"without {short(x)} or {short(y)}{', or outside of the bins' if _given(wanted) else ''}"
    lanes.tell([" ".join(_notes(table, values, cells, value, outside, where))])
    form = _form(lanes, cells, unit)
    if form is None:
        lanes.say("The cells are too small for their figures: make the figure larger, or take fewer bins.")
    lanes.rest(thin=False)
    ax.spines["left"].set_visible(False)
    if form is not None:
        _write(ax, cells, mesh, unit, form)
    return ax


# -- data --------------------------------------------------------------------------------------------


def _wanted(bins: Any) -> tuple[int, list[float] | None]:
    """How many bins at most, or the edges themselves."""
    if isinstance(bins, int) and not isinstance(bins, bool) and 1 <= bins <= _MOST_BINS:
        return bins, None
    if isinstance(bins, Iterable) and not isinstance(bins, str):
        edges = list(bins)
        rising = all(is_number(edge) and np.isfinite(edge) for edge in edges) and all(
            a < b for a, b in pairwise(edges)
        )
        if rising and 2 <= len(edges) <= _MOST_BINS + 1:
            return len(edges) - 1, [float(edge) for edge in edges]
    raise RequestError(
        f"bins is {short(repr(bins))}; a whole number from 1 to {_MOST_BINS}, or rising edges are wanted.",
        remedy="Give one number for both axes, or a pair: bins=(8, [0, 100, 1000]).",
    )


def _given(wanted: Sequence[tuple[int, list[float] | None]]) -> bool:
    """Whether an axis has edges that may leave something out."""
    return any(edges is not None for _, edges in wanted)


def _cells(across: Bins, up: Bins, values: NDArray[np.float64]) -> _Cells:
    shape = (len(up.names), len(across.names))
    median = np.full(shape, np.nan)
    n, replies = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.intp)
    placed = np.flatnonzero((across.of >= 0) & (up.of >= 0))
    placed = placed[np.lexsort((across.of[placed], up.of[placed]))]
    cell = np.column_stack((up.of[placed], across.of[placed]))
    changes = np.flatnonzero((np.diff(cell, axis=0) != 0).any(axis=1)) + 1
    for inside in np.split(placed, changes) if len(placed) else ():
        j, i = up.of[inside[0]], across.of[inside[0]]
        there = values[inside][~np.isnan(values[inside])]
        n[j, i], replies[j, i] = len(there), len(inside)
        if len(there):
            median[j, i] = np.median(there)
    return _Cells(median, n, replies)


# -- words -------------------------------------------------------------------------------------------


def _notes(
    table: pd.DataFrame,
    values: NDArray[np.float64],
    cells: _Cells,
    value: str,
    outside: NDArray[np.bool_],
    where: str,
) -> Iterator[str]:
    """How to read the cells, and what is in none of them; no reply is counted twice."""
    keys = ["n: replies in a cell"]
    if ((cells.n > 0) & (cells.n < FEW)).any():
        keys.append(f"hatched: fewer than {FEW}")
    if (cells.replies == 0).any():
        keys.append("–: no reply")
    if ((cells.replies > 0) & (cells.n == 0)).any():
        keys.append(f"none of 1: a reply without {short(value)}")
    yield f"{'; '.join(keys)}."
    if n := int(outside.sum()):
        ended = reasons(table, np.flatnonzero(outside & np.isnan(values)))
        yield f"{n:,} of {count(len(table), 'reply')} {'is' if n == 1 else 'are'} in no cell: {where}{ended}."
    if lost := lacking(table, np.where(outside, 0.0, values), value):
        yield f"{lost}."


# -- drawing -----------------------------------------------------------------------------------------


def _draw_cells(ax: Axes, cells: _Cells, unit: Quantity) -> QuadMesh:
    """The colours and their bar."""
    low, high = float(np.nanmin(cells.median)), float(np.nanmax(cells.median))
    wide = low > 0 and high / low > _WIDE
    pad = 0.0 if high > low else 0.1 * abs(high) or 1.0
    mesh = ax.pcolormesh(
        np.ma.masked_invalid(cells.median),
        cmap=_COLOURS,
        norm=LogNorm(low, high) if wide else Normalize(low - pad, high + pad),
        gid="cells",
    )
    for j, i in np.argwhere((cells.n > 0) & (cells.n < FEW)):
        ax.add_patch(
            Rectangle(
                (i, j),
                1,
                1,
                facecolor="none",
                edgecolor=(*to_rgb(_readable(mesh, cells.median[j, i])), 0.45),
                hatch="///",
                linewidth=0,
                gid="few",
            )
        )
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02, fraction=0.06)
    bar.minorticks_off()
    unit.on(bar.ax.yaxis)
    bar.set_label(unit.label, parse_math=False)
    bar.outline.set_visible(False)
    return mesh


def _frame(ax: Axes, across: Bins, up: Bins, x: str, y: str) -> None:
    for axis, bins, name in ((ax.xaxis, across, x), (ax.yaxis, up, y)):
        axis.set_ticks(np.arange(len(bins.names)) + 0.5, bins.names, fontsize="small")
        axis.set_label_text(quantity(name).label, parse_math=False)
        axis.set_tick_params(length=0)
        for text in axis.get_ticklabels():
            text.set_parse_math(False)
    ax.set_xlim(0, len(across.names))
    ax.set_ylim(0, len(up.names))
    ax.spines[["left", "bottom"]].set_visible(False)


def _turned(lanes: Lanes, names: Sequence[str]) -> bool:
    """Turn the names below the columns if they are wider than these; say whether they were."""
    if max(lanes.size(name)[0] for name in names) <= lanes.width / len(names) - 6:
        return False
    lanes.ax.tick_params(axis="x", labelrotation=30)
    for text in lanes.ax.get_xticklabels():
        text.set(ha="right", rotation_mode="anchor")
    return True


class _Form(NamedTuple):
    """How much a cell can hold: the median or not, and how the count is written."""

    median: bool
    counted: str


def _form(lanes: Lanes, cells: _Cells, unit: Quantity) -> _Form | None:
    """The fullest form that fits into every cell."""
    rows_, columns = cells.n.shape
    width = lanes.width / columns - 5
    height = lanes.floor * lanes.ax.get_window_extent().height / rows_ - 4
    line = lanes.size("Xg")[1]
    medians = [_number(median, unit) for median in cells.median.flat if np.isfinite(median)]
    widest = max(lanes.size(text)[0] for text in medians)
    for count_form in ("n = {}", "{}"):
        counted = lanes.size(count_form.format(cells.replies.max()))[0]
        if height >= 2.2 * line and width >= max(widest, counted):
            return _Form(True, count_form)
    fits = height >= line and width >= lanes.size(str(cells.replies.max()))[0]
    return _Form(False, "{}") if fits else None


def _write(ax: Axes, cells: _Cells, mesh: QuadMesh, unit: Quantity, form: _Form) -> None:
    """The figures of each cell."""
    for j, i in product(*map(range, cells.n.shape)):
        n, all_ = cells.n[j, i], cells.replies[j, i]
        counted = form.counted.format(f"{n:,}")
        if n:
            text = f"{_number(cells.median[j, i], unit)}\n{counted}" if form.median else counted
            colour: Any = _readable(mesh, cells.median[j, i])
        else:
            text, colour = ("–" if not all_ else f"none\nof {all_:,}" if form.median else "none"), ink()
        few = 0 < n < FEW
        ax.text(
            i + 0.5,
            j + 0.5,
            text,
            ha="center",
            va="center",
            fontsize="small",
            linespacing=1.1,
            color=colour,
            parse_math=False,
            bbox={"facecolor": _colour(mesh, cells.median[j, i]), "edgecolor": "none", "pad": 1}
            if few
            else None,
            gid=f"label:{i},{j}",
        )


def _number(value: float, unit: Quantity) -> str:
    return tick(float(f"{value * unit.factor:.3g}"))


def _colour(mesh: QuadMesh, value: float) -> NDArray[np.float64]:
    colour: NDArray[np.float64] = np.asarray(mesh.to_rgba(np.array([value])))[0]
    return colour


def _readable(mesh: QuadMesh, value: float) -> str:
    """Black or white, whichever has more contrast on the colour of a value (WCAG's relative luminance)."""
    rgb = _colour(mesh, value)[:3]
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return "black" if linear @ (0.2126, 0.7152, 0.0722) > 0.179 else "white"
