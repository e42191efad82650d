"""The tables of a report that have numbers in them: conditions, how replies ended, goodput, stages.

Strategy: each is a `Table` of plain texts; the page escapes them. Numbers, intervals and tests are those of
`bedrock_nb.compare`, shares those of `goodput`; here they only get their units.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, NamedTuple

import pandas as pd

from bedrock_nb.compare import Comparison, compare
from bedrock_nb.compare.measuring import unit_of
from bedrock_nb.compare.samples import name_of, short
from bedrock_nb.compare.scales import Scale, of_numbers, p_words, title_of
from bedrock_nb.metrics import METRICS
from bedrock_nb.plot.units import Quantity, quantity
from bedrock_nb.report.collecting import Material
from bedrock_nb.table import goodput
from bedrock_nb.table.frame import FAILED, conditions

__all__ = [
    "NONE",
    "Table",
    "against",
    "ended",
    "figures",
    "frame",
    "good",
    "measured",
    "per_condition",
    "shown",
]

#: Metrics of the table of conditions, besides the one that was asked for.
_METRICS = ("ttft_s", "tpot_s", "e2e_s", "output_tps")
#: Columns of a comparison whose numbers are told together.
_MEDIAN, _DIFF, _TAILS = ("estimate", "low", "high"), ("diff", "diff_low", "diff_high"), ("p90", "p99")
#: Resamples of their intervals: of many conditions and metrics the usual 4,999 would take minutes.
_RESAMPLES = 999
_MOST_ROWS = 100
#: In place of a number that there is not.
NONE = "–"


class Table(NamedTuple):
    """A table of plain texts; ``left`` is how many columns, from the left, hold words and not numbers."""

    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    left: int = 1
    note: str = ""


def measured(material: Material, metric: str, by: Sequence[str], baseline: Any) -> Comparison:
    """The conditions compared in one metric, with all that is to be said of it.

    Raises
    ------
    RequestError
        ``metric`` is no column of numbers, or ``baseline`` is no condition.
    """
    found: Comparison = compare(material.table, by=list(by), metric=metric, baseline=baseline)
    return found


def shown(material: Material, metric: str) -> list[str]:
    """The metrics of the table of conditions: the one that was asked for, and those that there are."""
    return [metric, *(name for name in _METRICS if name != metric and _has(material, name))]


def _has(material: Material, name: str) -> bool:
    return name in material.table.columns and bool(material.table[name].notna().any())


# -- numbers -----------------------------------------------------------------------------------------


def figures(material: Material) -> list[tuple[str, str]]:
    """A few numbers of the whole, as name and value."""
    table = material.table
    status = Counter(table["status"])
    failed = sum(status[name] for name in FAILED)
    found = [
        ("replies", f"{len(table):,}"),
        ("complete", f"{status['complete']:,}"),
        ("failed", f"{failed:,}"),
    ]
    if _has(material, "output_tokens"):
        found.append(("output tokens", f"{int(table['output_tokens'].sum()):,}"))
    return found


def per_condition(material: Material, made: Comparison, by: Sequence[str]) -> Table:
    """A row per condition: how many replies, and the median of each metric with its interval."""
    main = made.table["metric"].iloc[0]
    metrics = shown(material, main)
    of = {main: made.table}
    if metrics[1:]:
        rest = compare(material.table, by=list(by), metric=metrics[1:], resamples=_RESAMPLES).table
        of |= {name: rest[rest["metric"] == name].iloc[list(made.order)] for name in metrics[1:]}
    scales = {name: of_numbers(unit_of(name), _numbers(of[name], _MEDIAN)) for name in metrics}
    tails = [p for p in _TAILS if of[main][p].notna().any()]
    parts = _parts(material, made, by)
    numbers = zip(parts, of[main]["n"], of[main]["failed"], strict=True)
    lacking = any(n != len(replies) - failed for (_, replies), n, failed in numbers)
    head = ["condition", "replies", "failed", *([f"n with {title_of(main)}"] if lacking else [])]
    head += [f"{_title(name, scales[name])}, median (95 % interval)" for name in metrics]
    head += [f"{p} [{scales[main].unit}]" for p in tails]
    rows, rough = [], False
    for place, (values, replies) in enumerate(parts[:_MOST_ROWS]):
        first = of[main].iloc[place]
        row = [name_of(values), f"{len(replies):,}", f"{first['failed']:,}"]
        row += [f"{first['n']:,}"] if lacking else []
        row += [_with_interval(of[name].iloc[place], scales[name]) for name in metrics]
        for p in tails:
            weak = first[f"{p}_trust"] == "weak"
            rough |= weak
            said = NONE if math.isnan(first[p]) else scales[main].bare(first[p])
            row.append(f"≈ {said}" if weak else said)
        rows.append(tuple(row))
    note = "≈ marks a percentile of fewer than 5/(1-p) replies: a rough one. " if rough else ""
    if len(parts) > _MOST_ROWS:
        note += f"The first {_MOST_ROWS} of {len(parts):,} conditions. "
    return Table(tuple(head), rows, 1, note.strip())


def _parts(
    material: Material, made: Comparison, by: Sequence[str]
) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The conditions and their replies, in the order of a comparison."""
    found = conditions(material.table, list(by))
    return [found[place] for place in made.order]


def _numbers(rows: pd.DataFrame, names: Sequence[str]) -> list[float]:
    return [value for name in names for value in rows[name].dropna().tolist()]


def _title(metric: str, scale: Scale) -> str:
    return f"{title_of(metric)} [{scale.unit}]" if scale.unit else title_of(metric)


def _with_interval(row: Any, scale: Scale) -> str:
    if math.isnan(row["estimate"]):
        return NONE
    if math.isnan(row["low"]) or math.isnan(row["high"]):
        return f"{scale.bare(row['estimate'])} (no interval)"
    return f"{scale.bare(row['estimate'])} ({scale.bare(row['low'])} to {scale.bare(row['high'])})"


def against(material: Material, made: Comparison, by: Sequence[str]) -> Table | None:
    """The difference of each condition to the baseline; None where there is a single condition."""
    rows = made.table
    if len(rows) < 2:
        return None
    metric = rows["metric"].iloc[0]
    names = [name_of(values) for values, _ in _parts(material, made, by)]
    scale = of_numbers(unit_of(metric), _numbers(rows, _DIFF), max(_numbers(rows, _MEDIAN), default=None))
    lines = [
        (
            name,
            _signed(row["diff"], scale),
            _bounds(row, scale),
            NONE if math.isnan(row["ratio"]) else f"{row['ratio']:.2f}",
            NONE if math.isnan(row["p_value"]) else p_words(row["p_value"])[2:].removeprefix("= "),
        )
        for name, (_, row) in zip(names, rows.iterrows(), strict=True)
        if not row["baseline"]
    ]
    base = names[int(rows["baseline"].argmax())]
    head = (f"against {base}", f"{_title(metric, scale)}, difference", "95 % interval", "ratio", "p")
    note = "p is corrected for all comparisons of this table (Holm)." if len(lines) > 1 else ""
    return Table(head, lines[:_MOST_ROWS], 1, note)


def _bounds(row: Any, scale: Scale) -> str:
    if math.isnan(row["diff_low"]) or math.isnan(row["diff_high"]):
        return NONE
    return f"{_signed(row['diff_low'], scale)} to {_signed(row['diff_high'], scale)}"


def _signed(value: float, scale: Scale) -> str:
    return NONE if math.isnan(value) else f"{'+' if value > 0 else ''}{scale.bare(value)}"


def ended(material: Material) -> Table:
    """How replies ended, and how many of them."""
    status = Counter(str(one) for one in material.table["status"])
    rows = [(name, f"{n:,}") for name, n in status.most_common()]
    note = ""
    if material.seen.endings:
        named = [(f"– {name}", f"{n:,}") for name, n in material.seen.endings.most_common(20)]
        rows += named
        note = "Below the dashes: what was not complete, by its kind."
    return Table(("ended", "replies"), rows, 1, note)


def good(material: Material, by: Sequence[str], limits: Mapping[str, float]) -> Table:
    """Goodput by condition, or by the stages of a load test.

    Raises
    ------
    RequestError
        A limit that is none.
    """
    said = ", ".join(f"{name} {_bound(name)} {value:g}" for name, value in limits.items())
    note = f"A good reply is complete, and has {said}."
    if material.result is not None:
        return frame(material.result.goodput(**limits))._replace(note=note)
    found = goodput(material.table, by=list(by), **limits)
    names = [name_of(values) for values, _ in conditions(material.table, list(by))]
    met = [str(name) for name in found.columns if str(name).startswith("met_")]
    rows = [
        (name, f"{row['replies']:,}", f"{row['good']:,}", *(_share(row[one]) for one in ("good_share", *met)))
        for name, (_, row) in zip(names, found.iterrows(), strict=True)
    ]
    head = ("condition", "replies", "good", "share of good", *(f"met {name[4:]}" for name in met))
    return Table(head, rows[:_MOST_ROWS], 1, note)


def _bound(name: str) -> str:
    known = METRICS.get(name)
    return "at least" if known is not None and known.better == "more" else "at most"


def _share(value: Any) -> str:
    return NONE if pd.isna(value) else f"{100 * value:.3g} %"


def frame(table: pd.DataFrame) -> Table:
    """A table of an experiment, such as the stages of a load test: columns with numbers, each with its unit.

    The bounds of an interval, in ``x_low`` and ``x_high``, stand behind their number.
    """
    bounds = {name: _ends_of(name) for name in table.columns}
    inner = {one for low, high in bounds.values() if low in table.columns for one in (low, high)}
    filled = [name for name in table.columns if name not in inner and table[name].notna().any()]
    rows = []
    for _, row in table.head(_MOST_ROWS).iterrows():
        cells = []
        for name in filled:
            unit, (low, high) = quantity(str(name)), bounds[name]
            around = low in table.columns and pd.notna(row[low]) and pd.notna(row[high])
            ends = f" ({_cell(row[low], unit)} to {_cell(row[high], unit)})" if around else ""
            share = str(name).startswith("met_") or str(name).endswith("_share")
            cells.append(_share(row[name]) if share else _cell(row[name], unit) + ends)
        rows.append(tuple(cells))
    return Table(tuple(str(name) for name in filled), rows, 1)


def _ends_of(name: Any) -> tuple[str, str]:
    """The columns that the interval of a number would be in: ``ttft_p50_low_s``, ``requests_per_s_low``."""
    stem = str(name)
    unit = "_s" if stem.endswith("_s") and not stem.endswith("_per_s") else ""
    stem = stem.removesuffix(unit)
    return f"{stem}_low{unit}", f"{stem}_high{unit}"


def _cell(value: Any, unit: Quantity) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return NONE
    if isinstance(value, bool) or not isinstance(value, Real):
        return short(value)
    number = float(value)
    if unit.seconds:
        return unit.say(number)
    return f"{number:,.0f}" if number.is_integer() else f"{number:,.3g}"
