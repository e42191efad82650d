"""What a comparison found, in plain words that claim no more than is so; the result comes first.

Strategy: a sentence for each condition against the baseline. A difference is called one only where its
interval leaves out 0 and the test finds chance unlikely; where only one of both does, or where there are too
few values for either, that is said. More conditions than a reader keeps in mind are counted. What else there
is to know is in `notes`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from bedrock_nb.compare.measuring import Row, unit_of
from bedrock_nb.compare.scales import (
    Scale,
    capital,
    counted,
    listed,
    of_differences,
    of_values,
    p_words,
    percent,
    title_of,
)
from bedrock_nb.metrics import METRICS
from bedrock_nb.stats import Difference, smallest_p

__all__ = ["TOLD", "cells", "is_clear", "least_p", "sentences"]

#: Conditions and comparisons that are told; the table has the others.
TOLD = 4
#: Units of waiting and of pace, in which less or more of it is quicker.
_WAITS, _PACES = ("s", "ms", "s/token"), ("token/s", "1/s")


def sentences(rows: Sequence[Row], *, statistic: str, confidence: float) -> list[str]:
    """What the rows of a table found, sentence by sentence.

    Parameters
    ----------
    statistic : str
        In words.
    """
    if not rows:
        return ["There are no replies to compare."]
    said: list[str] = []
    for _, same in groupby(rows, key=lambda row: row.metric):
        said += _of_metric(list(same), statistic, confidence)
    return said


def _of_metric(rows: Sequence[Row], statistic: str, confidence: float) -> Iterator[str]:
    base = next(row for row in rows if row.baseline)
    others = [row for row in rows if not row.baseline]
    title = title_of(base.metric)
    what = f"{statistic} {title}"
    if not any(row.interval.n for row in rows):
        yield f"No reply has this number: {title}."
        return
    able = [row for row in others if row.difference and row.difference.estimate is not None]
    if not able:
        yield f"{capital(what)}: {_estimates(rows, confidence)}."
    elif len(others) > TOLD:
        yield _count_of(others, base, what, confidence)
        return
    for row in others[:TOLD]:
        found = row.difference
        if found is None or found.estimate is None:
            yield f"{row.sample.name} cannot be compared with {base.sample.name}: {_why_not(row, base)}."
        else:
            yield _compared(row, base, found, confidence, what if row is able[0] else "", rows)


# -- conditions by themselves ----------------------------------------------------------------------


def _estimates(rows: Sequence[Row], confidence: float) -> str:
    scale, parts, named = of_values(rows), [], False
    for row in rows[:TOLD]:
        found, n = row.interval, f"n = {row.interval.n:,}"
        if found.estimate is None:
            parts.append(f"{row.sample.name} none ({found.note}{f', {n}' if found.n else ''})")
        elif found.low is None or found.high is None:
            parts.append(f"{row.sample.name} {scale(found.estimate)} ({n}, no interval)")
        else:
            word = "" if named else f"{percent(confidence)} interval "
            named = True
            bounds = scale.range(found.low, found.high)
            parts.append(f"{row.sample.name} {scale(found.estimate)} ({word}{bounds}, {n})")
    more = len(rows) - TOLD
    return ", ".join(parts) + (f", and {counted(more, 'more condition')} in the table" if more > 0 else "")


def _count_of(rows: Sequence[Row], base: Row, what: str, confidence: float) -> str:
    """How many conditions differ from the baseline, and which are the lowest and the highest of all."""
    ways: dict[str, int] = {}
    for row in rows:
        if row.difference and row.difference.estimate is not None and is_clear(row, confidence):
            way = f"{_direction(row.metric, row.difference.estimate)} than {base.sample.name}"
            ways[way] = ways.get(way, 0) + 1
    told = [f"{n} {'is' if n == 1 else 'are'} {way}" for way, n in ways.items()]
    where = "" if told else f" from {base.sample.name}"
    unclear = len(rows) - sum(ways.values())
    if unclear:
        told.append(f"{unclear} {'shows' if unclear == 1 else 'show'} no clear difference{where}")
    scale = of_values((base, *rows))
    known = [
        (row.interval.estimate, row.sample.name) for row in (base, *rows) if row.interval.estimate is not None
    ]
    (low, lowest), (high, highest) = min(known), max(known)
    ends = f"goes from {scale(low)} ({lowest}) to {scale(high)} ({highest})"
    ends = f"is {scale(low)} for all" if scale(low) == scale(high) else ends
    return f"Of {counted(len(rows), 'condition')}, {listed(told)}; {what} {ends}."


# -- a condition against the baseline --------------------------------------------------------------


def _direction(metric: str, amount: float) -> str:
    """The word for a difference: which of both a reader would rather have is in the metric."""
    unit = unit_of(metric)
    known = METRICS.get(metric)
    better = known.better if known else ""
    if unit in _PACES and better != "less":
        return "faster" if amount > 0 else "slower"
    if unit in _WAITS and better != "more":
        return "faster" if amount < 0 else "slower"
    return "more" if amount > 0 else "less"


def _ratio(ratio: float | None, amount: float) -> tuple[str, str]:
    """By how much a difference is one, in percent to stand beside it, or in times to follow it."""
    if ratio is None or ratio <= 0 or (ratio > 1) != (amount > 0):
        return "", ""
    if ratio >= 3:
        return "", f", {ratio:.1f} times as much"
    share = 100 * abs(ratio - 1)
    return (f" ({share:.0f} %)" if share >= 0.5 else " (less than 1 %)"), ""


def _seen(found: Difference, p: float | None, alpha: float) -> tuple[bool | None, bool | None]:
    """Whether the interval, and whether the test, finds a difference; None where there is none of the two."""
    by_interval = None if found.low is None or found.high is None else found.low > 0 or found.high < 0
    return by_interval, None if p is None else p < alpha


def is_clear(row: Row, confidence: float) -> bool:
    """Whether interval and test find a difference, as far as there are any, and one of them does."""
    found = row.difference
    seen = _seen(found, row.p_value, 1 - confidence) if found and found.estimate else (False, False)
    return False not in seen and True in seen


def least_p(row: Row) -> float:
    """The smallest p that a comparison could have; 0 where there is none."""
    found = row.difference
    tested = found is not None and found.p_value is not None
    return smallest_p(found.n_a, found.n_b, paired=row.pairs is not None) if found and tested else 0.0


def _compared(
    row: Row, base: Row, found: Difference, confidence: float, what: str, rows: Sequence[Row]
) -> str:
    """One comparison; ``what`` names the number where it was not named before, ``rows`` are the metric's."""
    scale = of_differences(rows, row)
    lead, why = _verdict(row, base, found, confidence, scale)
    tested = f"{found.test} {p_words(row.p_value)}" if row.p_value is not None else ""
    alone = found.n_a == found.n_b == 1
    sizes = "" if alone else _sizes(found, paired=row.pairs is not None)
    evidence = (
        _both(row, base, what, of_values(rows)),
        _bounds(row, found, confidence, scale, named=bool(what)),
        ", ".join(part for part in (tested, sizes) if part),
        why,
    )
    return f"{lead}: {'; '.join(part for part in evidence if part)}."


def _verdict(row: Row, base: Row, found: Difference, confidence: float, scale: Scale) -> tuple[str, str]:
    """What may be claimed, and why it is no more than that."""
    amount, who, other = found.estimate or 0.0, row.sample.name, base.sample.name
    share, times = _ratio(found.ratio, amount)
    way = f"{_direction(row.metric, amount)} than {other}"
    claim = f"{who} is {scale(abs(amount))}{share} {way}{times}"
    by_interval, by_test = _seen(found, row.p_value, 1 - confidence)
    if is_clear(row, confidence):
        return claim, ""
    if min(found.n_a, found.n_b) < 2:
        one = "one pair" if row.pairs else "one reply each" if found.n_a == found.n_b else "a single reply"
        claim = claim if amount else f"{who} and {other} are equal"
        return f"{claim}, but {one} says next to nothing about chance", ""
    still_open = f"Whether {who} and {other} differ stays open"
    if by_interval is None:
        return still_open if amount else f"{who} and {other} do not differ", found.note
    if by_interval and least_p(row) > 1 - confidence:
        sizes = _sizes(found, paired=row.pairs is not None)
        why = f"{sizes} cannot give a p below {1 - confidence:.2g}, so the test cannot decide"
        return still_open, why  # of so few the interval, too, says little
    if by_interval:
        return f"By the interval {who} is {way}, but that stays open", "the test does not agree"
    if by_test:
        return f"By the test {who} is {way}, but that stays open", "the interval does not agree"
    return f"No difference is shown between {who} and {other}", ""


def _both(row: Row, base: Row, what: str, own: Scale) -> str:
    ours, theirs = row.interval.estimate, base.interval.estimate
    if row.pairs:
        return f"{what}, pair by pair" if what else ""
    if ours is None or theirs is None:
        return what
    return f"{what} {own(ours)} against {own(theirs)}".strip()


def _bounds(row: Row, found: Difference, confidence: float, scale: Scale, *, named: bool) -> str:
    """The interval of the difference; which way its ends point is said where they point two ways."""
    low, high = found.low, found.high
    if low is None or high is None:
        return ""
    word = f"{percent(confidence)} interval of the difference" if named else "interval"
    if low * high > 0:
        way = "" if is_clear(row, confidence) else f" {_direction(row.metric, low)}"
        return f"{word} {scale.range(*sorted((abs(low), abs(high))))}{way}"
    ends = (f"{scale(abs(end))} {_direction(row.metric, end)}" if end else "none" for end in (low, high))
    return f"{word} {' to '.join(ends)}"


def _sizes(found: Difference, *, paired: bool) -> str:
    if paired:
        return counted(found.n_a, "pair")
    if found.n_a == found.n_b:
        return f"{counted(found.n_a, 'reply')} each"
    return f"{found.n_b:,} and {counted(found.n_a, 'reply')}"


def _why_not(row: Row, base: Row) -> str:
    without = [one.sample.name for one in (row, base) if not one.interval.n]
    if without:
        return f"no reply of {' and none of '.join(without)} has this number"
    return row.difference.note if row.difference and row.difference.note else "there are no pairs"


# -- a small table -----------------------------------------------------------------------------------


def cells(rows: Sequence[Row], statistic: str, confidence: float) -> tuple[list[str], list[list[str]]]:
    """Head and cells of a small table for readers: the numbers of `sentences`, all conditions."""
    head = ["metric", "condition", "n", statistic, f"{percent(confidence)} interval", "difference", "p"]
    body = []
    for _, same in groupby(rows, key=lambda row: row.metric):
        of_one = list(same)
        own, apart = of_values(of_one), of_differences(of_one)
        for row in of_one:
            found = row.interval
            cell = [row.metric, row.sample.name, f"{found.n:,}"]
            cell.append("–" if found.estimate is None else own(found.estimate))
            cell.append("–" if found.low is None or found.high is None else own.range(found.low, found.high))
            p = "" if row.p_value is None else p_words(row.p_value)[2:].lstrip("= ")
            body.append([*cell, _apart(row, row.difference, apart), p])
    several = len({row.metric for row in rows}) > 1
    return (head, body) if several else (head[1:], [cell[1:] for cell in body])


def _apart(row: Row, found: Difference | None, scale: Scale) -> str:
    if row.baseline or found is None or found.estimate is None:
        return "baseline" if row.baseline else "–"
    bounds = "" if found.low is None or found.high is None else f" ({scale.range(found.low, found.high)})"
    return f"{'+' if found.estimate > 0 else ''}{scale(found.estimate)}{bounds}"
