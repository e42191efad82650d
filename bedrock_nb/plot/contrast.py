"""Conditions beside each other: every reply as a dot, and what may be said of all of them.

Strategy: `bedrock_nb.compare` does the statistics and finds the words; this module draws its table. A row per
condition holds the interval of the estimate above the single values, and at its right end the numbers. Rows
are one unit high, from the top downwards; outliers are hollow, and what was left out as warm-up is a cross.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator
from numpy.typing import NDArray

from bedrock_nb.compare import Comparison
from bedrock_nb.compare import compare as compared
from bedrock_nb.compare.samples import Sample, columns, replies, samples
from bedrock_nb.compare.scales import unbroken
from bedrock_nb.errors import RequestError
from bedrock_nb.plot.canvas import OKABE_ITO, axes, ink, one_line, short
from bedrock_nb.plot.conditions import conditions, is_number, numbers
from bedrock_nb.plot.labels import PAD
from bedrock_nb.plot.lanes import Lanes, blank, prepare
from bedrock_nb.plot.naming import lacking, nothing
from bedrock_nb.plot.units import Quantity, quantity
from bedrock_nb.stats import outliers
from bedrock_nb.table.frame import whole_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["compare"]

#: Rows that are drawn.
_MOST = 60
_ROW_INCHES, _AROUND_INCHES, _LINE_INCHES = 0.5, 1.0, 0.17
_MOST_LINES = 7  # of words above the data
_MOST_HEAD = 0.42  # of the axes' height for these
_MORE = "More: bedrock_nb.compare."
_WIDE = 100.0  # largest by smallest value beyond which the axis is logarithmic
_MOST_WORDS = 0.42  # of the axes' width, for the numbers at the right
_COLOUR = OKABE_ITO["blue"]


class _Row(NamedTuple):
    """One condition: its values, those of its warm-up, its estimate, and its numbers in words."""

    name: str
    values: NDArray[np.float64]
    hollow: NDArray[np.bool_]
    before: NDArray[np.float64]
    estimate: float | None
    low: float | None
    high: float | None
    said: tuple[tuple[str, str], ...]
    is_baseline: bool


def compare(
    source: Any,
    by: str | Sequence[str] = "model",
    metric: str = "ttft_s",
    *,
    ax: Axes | None = None,
    comparison: Comparison | None = None,
    **options: Any,
) -> Axes:
    """Conditions compared: every value as a dot, the estimate with its interval, and the verdict in words.

    The sentence above the data is that of `bedrock_nb.compare`, and so are all numbers.

    Parameters
    ----------
    source : recordings, DataFrame
        Anything that `bedrock_nb.compare` takes.
    by : str or list of str
        Columns, such as a label: one row for each value, or combination of values.
    metric : str
        A column of numbers; ``"ttft"`` will do for ``"ttft_s"``.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, 10 inches wide and as high as its rows need. Words are placed
        for the size that the axes have now.
    comparison : Comparison, optional
        What `bedrock_nb.compare` found in the same source, by the same ``by`` and ``metric`` and with the
        same options: then it is drawn, and not worked out again.
    **options
        Handed on to `bedrock_nb.compare`: ``baseline``, ``paired_by``, ``statistic``, ``confidence``,
        ``warmup``, ``seed``.

    Returns
    -------
    matplotlib Axes
        x is in the unit of the column (below 1 s its ticks are written in ms), logarithmic if values span
        over two decades; y counts rows from 0 downwards. Dots are moved up and down by lot, the same each
        time, so that they hide each other less; hollow ones are outliers, crosses are of the warm-up. At the
        right of each row: the estimate and how many values it is of; below, the difference to the baseline.
        Artists have a gid each: ``dots:0`` (of the first row), ``outliers:0``, ``warm-up:0``,
        ``interval:0``, ``estimate:0``, ``baseline``, ``label:0``, ``note``.

    Raises
    ------
    RequestError
        What `bedrock_nb.compare` refuses; more than one metric; ``ax`` is something else; the comparison is
        one of something else.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> replies = [nb.stream(client, "Count to 5", labels={"run": n % 2}).drain() for n in range(4)]
    >>> ax = nb.plot.compare(replies, by="run")
    """
    if not isinstance(metric, str):
        raise RequestError(
            f"metric is {metric!r:.80}; a picture compares one column.",
            remedy="Draw one plot for each metric, for example into the axes of plt.subplots(2).",
        )
    if isinstance(source, Iterator):
        source = list(source)  # it is read twice
    table, opened = replies(source)
    metric = whole_name(table, metric)
    values = numbers(table, metric) if len(table) else np.array([])
    unit = quantity(metric, values)
    names = columns(by, "by")
    title = f"{_statistic(options)}{unit.words} by {', '.join(map(short, names))}"
    if not np.isfinite(values).any():
        return blank(axes(ax), title, nothing(table, values, metric))
    made = comparison if comparison is not None else compared(source, by=by, metric=metric, **options)
    found = samples(table, opened, names, options.get("warmup", 0))
    if len(made.table) != len(found) or set(made.table["metric"]) != {metric}:
        raise RequestError(
            f"The comparison is not one of these replies in {metric}.",
            remedy="Give the one that bedrock_nb.compare made of them, or leave comparison= out.",
        )
    lines = _lines(made, found, table, values, names, unit)
    lost = lacking(table, values, metric)
    notes = [f"{lost}." if lost else "", *_keys(lines, options.get("confidence", 0.95))]
    if len(lines) > _MOST:
        notes.append(f"The first {_MOST} of {len(lines)} conditions are drawn.")
        lines = lines[:_MOST]
    ax = _tall(len(lines), made.sentence) if ax is None else axes(ax)
    _frame(ax, lines, unit)
    lanes = prepare(ax, title)
    said = unbroken(" ".join(note for note in notes if note))
    most = max(2, min(_MOST_LINES, int(_MOST_HEAD / lanes.row)) - len(lanes.lines(said)))
    lanes.tell([_shortened(lanes, unbroken(one_line(made.sentence)), most), said])
    low, high = ax.get_xlim()  # of the data: beyond are words only
    lanes.rest(pad=0.02, thin=False)
    ax.spines["left"].set_visible(False)
    pixels = lanes.floor * lanes.height / len(lines)
    size = lanes.points(0.7 * pixels)
    ax.tick_params(axis="y", labelsize=size or 1, labelleft=bool(size))
    _numbers(lanes, lines, pixels, size)
    ax.xaxis.set_major_locator(FixedLocator([t for t in ax.get_xticks() if low <= t <= high]))
    ax.xaxis.set_minor_locator(FixedLocator([t for t in ax.get_xticks(minor=True) if low <= t <= high]))
    ax.spines["bottom"].set_bounds(low, high)
    for number, line in enumerate(lines):
        _draw(ax, line, number, min(1.0, 0.7 * pixels / lanes.size("Xg")[1]), len(lines))
    return ax


# -- data --------------------------------------------------------------------------------------------


def _statistic(options: dict[str, Any]) -> str:
    """The beginning of the title."""
    statistic = options.get("statistic", "median")
    known = {"median": "Median ", "mean": "Mean "}
    return known.get(statistic, f"{statistic} of ") if isinstance(statistic, str) else "Compared: "


def _lines(
    made: Comparison,
    found: Sequence[Sample],
    table: pd.DataFrame,
    values: NDArray[np.float64],
    names: Sequence[str],
    unit: Quantity,
) -> list[_Row]:
    """A row for each condition, in the order of the comparison."""
    lines, parts = [], conditions(table, names)
    for place, (_, record) in zip(made.order, made.table.iterrows(), strict=True):
        part, sample = parts[place], found[place]
        mine = values[sample.rows.index]
        before = values[np.setdiff1d(part.rows, sample.rows.index)]
        mine = mine[~np.isnan(mine)]
        lines.append(
            _Row(
                part.name,
                mine,
                outliers(mine),
                before[~np.isnan(before)],
                _number(record, "estimate"),
                _number(record, "low"),
                _number(record, "high"),
                _said(record, unit),
                bool(record["baseline"]),
            )
        )
    return lines


def _number(record: pd.Series[Any], name: str) -> float | None:
    """A number of the comparison; None where it has none."""
    value = record[name]
    return float(value) if is_number(value) and np.isfinite(value) else None


def _said(record: pd.Series[Any], unit: Quantity) -> tuple[tuple[str, str], ...]:
    """The numbers of a row in two lines, in four forms from the longest to the shortest."""
    n = f"n = {int(record['n']):,}"
    estimate, diff = _number(record, "estimate"), _number(record, "diff")
    first = n if estimate is None else f"{unit.say(estimate)}, {n}"
    if diff is None:
        second = "baseline" if record["baseline"] else ""
        return ((first, second), (first, second), (n, second), (n, ""))
    apart, p = unit.say(diff, signed=True), _number(record, "p_value")
    low, high = _number(record, "diff_low"), _number(record, "diff_high")
    between = ""
    if low is not None and high is not None:
        between = f" ({unit.say(low, signed=True)} to {unit.say(high, signed=True)})"
    chance = "" if p is None else ", p < 0.001" if p < 0.001 else f", p = {p:.2g}"
    return ((first, f"{apart}{between}{chance}"), (first, f"{apart}{chance}"), (n, apart), (n, ""))


def _shortened(lanes: Lanes, text: str, most: int) -> str:
    """As many sentences of a text as so many lines hold; where some are left out, it is said."""
    sentences = text.split(". ")
    for kept in range(len(sentences), 0, -1):
        said = text if kept == len(sentences) else f"{'. '.join(sentences[:kept])}. {_MORE}"
        if len(lanes.lines(said)) <= most:
            return said
    lines = lanes.lines(text)  # not even the first one
    return f"{' '.join(lines[: max(1, most - 1)])} … {_MORE}"


def _keys(lines: Sequence[_Row], confidence: float) -> Iterator[str]:
    """What the signs mean."""
    bar = any(line.low is not None and line.high is not None for line in lines)
    yield f"Dots: replies{f'; bar: {100 * confidence:.4g} % interval' if bar else ''}."
    far = sum(int(line.hollow.sum()) for line in lines)
    if far:
        yield f"Hollow: {far:,} outlier{'' if far == 1 else 's'}."
    before = sum(len(line.before) for line in lines)
    if before:
        yield f"Crosses: {before:,} of the warm-up, not counted."


# -- drawing -----------------------------------------------------------------------------------------


def _tall(lines: int, sentence: str) -> Axes:
    head_ = _LINE_INCHES * min(_MOST_LINES, 1 + len(sentence) // 120)
    height = max(3.0, _AROUND_INCHES + head_ + _ROW_INCHES * lines)
    return plt.subplots(figsize=(10, height), layout="constrained")[1]


def _frame(ax: Axes, lines: Sequence[_Row], unit: Quantity) -> None:
    bounds = [bound for line in lines for bound in (line.low, line.high, line.estimate) if bound is not None]
    values = np.concatenate([*(line.values for line in lines), *(line.before for line in lines), bounds])
    low, high = float(values.min()), float(values.max())
    if low > 0 and high / low > _WIDE:
        ax.set_xscale("log")
        ax.set_xlim(low / 1.15, high * 1.15)
    else:
        pad = 0.03 * (high - low) or 0.1 * abs(high) or 1.0
        ax.set_xlim(low - pad, high + pad)
    unit.on(ax.xaxis)
    ax.set_ylim(len(lines), 0)
    ax.set_yticks(np.arange(len(lines)) + 0.5, [line.name for line in lines])
    ax.tick_params(axis="y", length=0, labelsize="small")
    for label, line in zip(ax.get_yticklabels(), lines, strict=True):
        label.set_parse_math(False)
        label.set_fontweight("bold" if line.is_baseline else "normal")


def _numbers(lanes: Lanes, lines: Sequence[_Row], pixels: float, size: float) -> None:
    """At the right of each row its numbers, in the longest form that all rows have room for."""
    if not size:
        return
    ax = lanes.ax
    line_pixels = 1.25 * lanes.size("Xg")[1]
    for form in range(4):
        pairs = [line.said[form] for line in lines]
        if pixels < 2 * line_pixels:
            pairs = [(first, "") for first, _ in pairs]
        width = max(lanes.size(text)[0] for pair in pairs for text in pair)
        if width <= _MOST_WORDS * lanes.width:
            break
    right = [max([*line.values, *line.before]) for line in lines if len(line.values) + len(line.before)]
    lanes.reach([(max(right), width + 4 * PAD)])
    for number, pair in enumerate(pairs):
        ax.text(
            1 - width / lanes.width,
            number + 0.5,
            "\n".join(text for text in pair if text),
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize=size,
            linespacing=1.2,
            color=ink(),
            parse_math=False,
            gid=f"label:{number}",
            zorder=5,
        )


def _draw(ax: Axes, line: _Row, number: int, scale: float, rows: int) -> None:
    """One row, its signs smaller where rows are low: below the single values, above them their estimate."""
    lot = np.random.default_rng(number)
    for gid, values, marker, face in (
        ("dots", line.values[~line.hollow], "o", _COLOUR),
        ("outliers", line.values[line.hollow], "o", "none"),
        ("warm-up", line.before, "x", _COLOUR),
    ):
        if len(values):
            ax.plot(
                values,
                number + 0.64 + lot.uniform(-0.17, 0.17, len(values)),
                marker,
                color=_COLOUR,
                markerfacecolor=face,
                markeredgewidth=0 if gid == "dots" else 1,
                markersize=max(2, 4.5 * scale),
                alpha=0.7 if gid == "dots" else 0.9,
                gid=f"{gid}:{number}",
                zorder=2,
            )
    middle = number + 0.27
    if line.low is not None and line.high is not None:
        ax.plot(
            [line.low, line.high],
            [middle, middle],
            color=OKABE_ITO["vermillion"],
            linewidth=5 * scale,
            solid_capstyle="butt",
            gid=f"interval:{number}",
            zorder=3,
        )
    if line.estimate is not None:
        ax.plot(
            [line.estimate],
            [middle],
            "D" if line.is_baseline else "o",
            color=ink(),
            markeredgecolor=ax.get_facecolor(),
            markersize=5.5 * scale,
            gid=f"estimate:{number}",
            zorder=4,
        )
        if line.is_baseline:
            at = [line.estimate, line.estimate]
            ax.plot(at, [0, rows], ":", color=ink(), linewidth=1, gid="baseline", zorder=1.5)
    if number:
        ax.axhline(number, color=ink(), alpha=0.15, linewidth=0.6, gid="line", zorder=0.5)
