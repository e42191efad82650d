"""How a number spreads over replies: the share of them at or below each value.

Strategy: `conditions` parts the table, `_line` makes of each part what will be drawn; then it is drawn, and
said what is not. A percentile is marked only where `stats.percentile` gives one, and hollow where it is
rough. A reply without the number is never dropped in silence: it is counted in words, or as one that never
came.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from bedrock_nb.errors import RequestError
from bedrock_nb.metrics import facts
from bedrock_nb.plot.canvas import Style, axes, ink, plural, rows, short, style
from bedrock_nb.plot.conditions import MOST_DRAWN, Condition, conditions, distinct, numbers
from bedrock_nb.plot.labels import PAD
from bedrock_nb.plot.lanes import Lanes, blank, key, prepare
from bedrock_nb.plot.naming import lacking, nothing
from bedrock_nb.plot.units import Quantity, quantity
from bedrock_nb.recording import Recording
from bedrock_nb.stats import percentile
from bedrock_nb.table import summary
from bedrock_nb.table.frame import each, whole_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ecdf"]

#: Shares at which percentiles are marked.
_SHARES = (0.5, 0.9, 0.99)
#: Conditions whose percentiles are written into the legend.
_MOST_SAID = 6
#: Largest by smallest value beyond which the axis is logarithmic.
_WIDE = 100.0


class _Line(NamedTuple):
    """One condition: sorted values, how many replies its shares are of, its percentiles with their trust."""

    name: str
    style: Style
    values: NDArray[np.float64]
    total: int
    marks: tuple[tuple[float, float | None, str], ...]


def ecdf(
    source: Any,
    metric: str = "ttft_s",
    *,
    by: str | Sequence[str] | None = None,
    failures: Literal["apart", "count"] = "apart",
    ax: Axes | None = None,
) -> Axes:
    """The share of replies at or below each value: the whole distribution, with nothing smoothed or binned.

    Read it from the left axis: where a line crosses 50 % is the median. A line further to the left has the
    smaller values; lines that cross have no simple order.

    Parameters
    ----------
    source : recordings, DataFrame
        Anything that `bedrock_nb.summary` takes, or its table, or any table with the columns named here.
    metric : str
        A column of numbers; ``"ttft"`` will do for ``"ttft_s"``. ``"gap_s"`` pools the gaps between all
        content deltas (vLLM's ITL), from recordings or from the table of `bedrock_nb.events`.
    by : str or list of str, optional
        Columns, such as a label: one line for each value, or combination of values.
    failures : {"apart", "count"}
        What a reply without the number is. ``"apart"``: not in the shares, and said in words.
        ``"count"``: one that never came, so that its line ends below 100 %, and percentiles are of all
        replies (AIPerf's ``adj_`` percentiles).
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 4 inches. Words are placed for the size that the axes
        have now. They stand inside of the axes, above the data: a line of your own, such as a limit, is
        ``ax.vlines(x, 0, 1)``, for one of ``ax.axvline`` runs through the words.

    Returns
    -------
    matplotlib Axes
        x is in the unit of the column (below 1 s its ticks are written in ms), logarithmic if values span
        over two decades; zeros then stand at its left edge. y is the share, 0 to 1. p50, p90 and p99 are
        marked where there are enough values: hollow for fewer than 5/(1-p), not at all for fewer than
        1/(1 - p). Artists have a gid each: ``line:0`` (the first condition), ``mark:p90``, ``guide:p90``,
        ``label:p90``, ``note``, ``legend``.

    Raises
    ------
    RequestError
        No such column, or one that is not of numbers; ``failures`` or ``ax`` is something else.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> replies = [nb.stream(client, "Count from 1 to 5").drain() for _ in range(3)]
    >>> ax = nb.plot.ecdf(replies, "ttft_s")
    """
    if failures not in ("apart", "count"):
        raise RequestError(
            f"failures is {failures!r}; 'apart' or 'count' is wanted.",
            remedy="'apart' leaves replies without the number out of the shares, 'count' calls them never.",
        )
    pooled = metric == "gap_s"
    if pooled and failures == "count":
        raise RequestError(
            "A gap that never came cannot be counted.", remedy="Use failures='apart' with metric='gap_s'."
        )
    table = _gaps(source) if pooled else rows(source)
    metric = whole_name(table, metric)
    noun = "gap" if pooled else "reply"
    parts = conditions(table, by) if len(table) else []
    values = numbers(table, metric) if len(table) else np.array([])
    lines = [_line(i, part, values, failures) for i, part in enumerate(parts[:MOST_DRAWN])]
    shown = [line for line in lines if len(line.values)]
    unit = quantity(metric, values)
    ax = axes(ax)
    title = f"{unit.title}: share of {plural(noun)} at or below"
    if not shown:
        return blank(ax, title, nothing(table, values, metric, noun))
    notes = [*_notes(table, parts, lines, values, metric, failures, noun)]
    edge = _frame(ax, np.concatenate([line.values for line in shown]), unit, noun)
    if edge is not None:
        zeros = sum(int((line.values == 0).sum()) for line in shown) / sum(len(line.values) for line in shown)
        notes.append(f"{zeros:.0%} of the {plural(noun)} are 0: on this axis they stand at its left edge.")
    lanes = prepare(ax, title)
    alone = len(parts) == 1
    _marks(lanes, shown, unit, edge, alone)
    keys = [] if alone and not parts[0].name else [_key(line) for line in shown]
    heading = "" if by is None else short(by if isinstance(by, str) else ", ".join(by))
    lanes.tell([" ".join(notes)], keys, _legend(shown, unit), heading)
    lanes.rest(pad=0.02)
    _guides(lanes)
    for number, line in enumerate(shown):
        _draw(ax, line, number, edge)
    return ax


# -- data --------------------------------------------------------------------------------------------


def _gaps(source: Any) -> pd.DataFrame:
    """A row per gap, with the columns of its reply; a table must have the column itself."""
    if hasattr(source, "columns"):
        table: pd.DataFrame = rows(source)
        return table[table["gap_s"].notna()] if "gap_s" in table.columns else table
    gaps: list[list[float]] = []

    def noting() -> Iterator[Recording]:
        for recording in each(source):
            gaps.append(facts(recording).gaps)
            yield recording

    table = summary(noting())
    table = table.loc[np.repeat(np.arange(len(gaps)), [len(of_one) for of_one in gaps])]
    return table.assign(gap_s=[gap for of_one in gaps for gap in of_one])


def _line(number: int, part: Condition, values: NDArray[np.float64], failures: str) -> _Line:
    mine = values[part.rows]
    there = np.sort(mine[~np.isnan(mine)])
    never = len(mine) - len(there) if failures == "count" else 0
    total = len(there) + never
    marks = []
    for p in _SHARES:
        # What never came is beyond all: as a copy of the largest it is at its place, but for its value.
        found = percentile([*there, *([there[-1]] * never)] if len(there) else [], p)
        reached = p * (total - 1) <= len(there) - 1
        marks.append((p, found.value if reached else None, found.trust if reached else "never"))
    return _Line(part.name, style(number), there, total, tuple(marks))


# -- words -------------------------------------------------------------------------------------------


def _notes(
    table: pd.DataFrame,
    parts: Sequence[Condition],
    lines: Sequence[_Line],
    values: NDArray[np.float64],
    metric: str,
    failures: str,
    noun: str,
) -> Iterator[str]:
    """What the picture leaves out, and how to read its markers."""
    if lost := lacking(table, values, metric, noun):
        yield f"{lost}: {'they count as never' if failures == 'count' else 'not in the shares'}."
    blank = [line.name for line in lines if not len(line.values)]
    if blank:
        yield f"Without a line, for without any value: {', '.join(blank)}."
    if len(parts) > MOST_DRAWN:
        yield f"The first {MOST_DRAWN} of {len(parts)} conditions are drawn."
    drawn = [line for line in lines if len(line.values)]
    if few := _unmarked(drawn, "no", "p{p:g} (it takes {least})", " in {} lines"):
        yield f"Too few {plural(noun)} for {few}."
    if below := _unmarked(drawn, "never", "p{p:g}", " ({})"):
        yield f"{'The line ends' if len(drawn) == 1 else 'Lines end'} below {below}."
    if any(trust == "weak" for line in drawn for _, _, trust in line.marks):
        yield f"Hollow: a percentile of fewer than 5/(1-p) {plural(noun)}, so a rough one."


def _unmarked(lines: Sequence[_Line], trust: str, form: str, of: str) -> str:
    """The percentiles without a mark for one reason, and in how many of several lines that is so."""
    said = []
    for k, p in enumerate(_SHARES):
        if n := sum(line.marks[k][2] == trust for line in lines):
            where = of.format(f"{n} of {len(lines)}") if len(lines) > 1 else ""
            said.append(form.format(p=100 * p, least=round(1 / (1 - p))) + where)
    return ", ".join(said)


def _legend(lines: Sequence[_Line], unit: Quantity) -> list[list[str]]:
    """The words of the legend, from the longest form to the shortest."""
    counted = [f"{line.name}, n = {line.total:,}" for line in lines]
    said = [
        ", ".join(
            [text, *(f"p{p * 100:g} {unit.say(value)}" for p, value, _ in line.marks if value is not None)]
        )
        for text, line in zip(counted, lines, strict=True)
    ]
    names = [line.name for line in lines]
    forms = [counted, names, distinct(names, 12)]
    return [said, *forms] if len(lines) <= _MOST_SAID else forms


# -- drawing -----------------------------------------------------------------------------------------


def _frame(ax: Axes, values: NDArray[np.float64], unit: Quantity, noun: str) -> float | None:
    """Axes and their words; where zeros stand, if the axis has none."""
    low, high = float(values.min()), float(values.max())
    positive = values[values > 0]
    edge = None
    if low >= 0 and len(positive) and high / float(positive.min()) > _WIDE:
        ax.set_xscale("log")
        least = float(positive.min())
        if low == 0:
            edge = low = least / 2
        ax.set_xlim(low if edge else low / 1.15, high * 1.15)
    else:
        pad = 0.03 * (high - low) or 0.1 * abs(high) or 1.0
        ax.set_xlim(low - pad, high + pad)
    unit.on(ax.xaxis)
    ax.set_ylim(0, 1)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1])
    ax.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:.0%}"))
    ax.set_ylabel(f"share of {plural(noun)}", loc="bottom")
    return edge


def _key(line: _Line) -> Artist:
    return key(color=line.style.colour, linestyle=line.style.dashes, linewidth=1.8)


def _draw(ax: Axes, line: _Line, number: int, edge: float | None) -> None:
    xs = line.values if edge is None else np.where(line.values == 0, edge, line.values)
    shares = np.arange(len(xs) + 1) / line.total
    ax.plot(
        [xs[0], *xs],
        shares,
        drawstyle="steps-post",
        color=line.style.colour,
        linestyle=line.style.dashes,
        linewidth=1.8,
        gid=f"line:{number}",
        label=line.name or "_all",
        zorder=2.5,
    )
    for p, value, trust in line.marks:
        if value is not None:
            ax.plot(
                [edge if edge is not None and value < edge else value],
                [p],
                line.style.marker,
                color=line.style.colour,
                markersize=6,
                markeredgewidth=1,
                markerfacecolor=ax.get_facecolor() if trust == "weak" else line.style.colour,
                clip_on=False,
                gid=f"mark:p{p * 100:g}",
                zorder=3,
            )


def _guides(lanes: Lanes) -> None:
    """Thin lines at the percentiles, named at their right ends as far as the names keep apart."""
    ax = lanes.ax
    height = ax.get_window_extent().height * lanes.floor
    below = 2.0
    for p in reversed(_SHARES):
        ax.axhline(p, color=ink(), alpha=0.25, linewidth=0.7, gid=f"guide:p{p * 100:g}", zorder=1)
        if (below - p) * height >= lanes.size("p")[1]:
            ax.annotate(
                f"p{p * 100:g}",
                (1, p),
                xycoords=ax.get_yaxis_transform(),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                fontsize="small",
                color=ink(),
                annotation_clip=False,
                gid=f"guide:p{p * 100:g}",
            )
            below = p


def _marks(lanes: Lanes, lines: Sequence[_Line], unit: Quantity, edge: float | None, alone: bool) -> None:
    """Beside the markers of a single line their values: to the right of a rising line nothing else is."""
    if not alone:
        return
    texts = [
        (p, max(value, edge or value), unit.say(value)) for p, value, _ in lines[0].marks if value is not None
    ]
    lanes.reach([(x, lanes.size(text)[0] + 3 * PAD) for _, x, text in texts])
    for p, x, text in texts:
        lanes.ax.annotate(
            text,
            (x, p),
            xytext=(6, -3),
            textcoords="offset points",
            va="top",
            fontsize="small",
            color=ink(),
            parse_math=False,
            gid=f"label:p{p * 100:g}",
            zorder=5,
        )
