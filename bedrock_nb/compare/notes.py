"""What else there is to know about a comparison: what is missing, left out, too little, and what the p means.

Strategy: a note for each thing that could mislead, and none where nothing could. Those of one metric name it
where there are several.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import pandas as pd

from bedrock_nb.compare.measuring import Row
from bedrock_nb.compare.samples import Warmup, short
from bedrock_nb.compare.scales import capital, counted, listed, of_values, title_of
from bedrock_nb.compare.words import TOLD, is_clear, least_p
from bedrock_nb.metrics.clocks import LATE_S
from bedrock_nb.stats import TESTS

__all__ = ["notes"]

#: Where a bootstrap interval of the statistic is known to come out too narrow, its note says this.
_NARROW = "too narrow"
_LABELS = 8


def notes(
    rows: Sequence[Row],
    *,
    confidence: float,
    warmup: Warmup,
    keys: Sequence[str],
    chosen: bool,
    labels: Sequence[str] = (),
) -> list[str]:
    """What a reader has to know besides the result, a sentence or two each.

    Parameters
    ----------
    warmup : int or "connection"
        The rule by which replies were left out.
    keys : sequence of str
        Columns that make pairs.
    chosen : bool
        The baseline was named, and not taken because it is the first.
    labels : sequence of str
        Columns that could make conditions, where there is only one.
    """
    if not rows:
        return []
    said: list[str] = []
    if labels:
        more = f" and {len(labels) - _LABELS} more" if len(labels) > _LABELS else ""
        told = ", ".join(map(short, labels[:_LABELS]))
        said.append(f"One condition only. Labels with several values: {told}{more} (by=…).")
    parts = [list(same) for _, same in groupby(rows, key=lambda row: row.metric)]
    for part in parts:
        before = f"{capital(title_of(part[0].metric))}: " if len(parts) > 1 else ""
        said += [before + note for note in _of_metric(part, confidence, keys)]
    said += _of_all(rows, parts[0], confidence, warmup, chosen=chosen)
    return said


def _of_metric(rows: Sequence[Row], confidence: float, keys: Sequence[str]) -> Iterator[str]:
    lacking = [row for row in rows if row.interval.missing]
    if lacking:
        told = (
            f"{row.sample.name} {row.interval.missing:,} of {len(row.sample.rows):,}"
            + (f" ({listed([f'{n} {status}' for status, n in row.without.items()])})" if row.without else "")
            for row in lacking[:TOLD]
        )
        yield f"Replies without this number, which are not in it: {', '.join(told)}{_more(lacking)}."
    ended = [row for row in rows if row.failed_in]
    if ended:
        whose, several = _of_each([(row, row.failed_in) for row in ended])
        counts = "they are counted in" if several else "it is counted in"
        yield f"{whose} failed after this number was measured; {counts}."
    narrow = [row for row in rows if _NARROW in row.interval.note]
    if narrow:
        told = (f"{row.sample.name} (n = {row.interval.n:,})" for row in narrow[:TOLD])
        yield f"Too few values, so that the interval is too narrow: {', '.join(told)}{_more(narrow)}."
    far = [row for row in rows if row.outliers]
    if far:
        told = (f"{row.sample.name} {row.outliers:,}" for row in far[:TOLD])
        yield f"Values far outside of the others, which are kept: {', '.join(told)}{_more(far)}."
    late = [(row, times) for row in rows if len(times := _late(row.sample.rows))]
    if late:
        told = (f"{row.sample.name} {len(times):,} (by {times.max():.2g} s)" for row, times in late[:TOLD])
        yield f"Read late, so that their times may be too long: {', '.join(told)}{_more(late)}."
    blind = [row for row in rows if least_p(row) > 1 - confidence]
    if blind:
        names = ", ".join(row.sample.name for row in blind[:TOLD])
        yield (
            f"So few values cannot give a p below {1 - confidence:.2g}, however far apart they lie: "
            f"{names}{_more(blind)}."
        )
    yield from _slow_starts(rows)
    yield from _paired(rows, keys)


def _late(rows: pd.DataFrame) -> pd.Series:
    """For how long bytes of replies may have waited for a reader that was busy, where it matters."""
    if "late_s" not in rows.columns:
        return pd.Series(dtype="float64")
    return rows["late_s"][rows["late_s"] > LATE_S]


def _slow_starts(rows: Sequence[Row]) -> Iterator[str]:
    """What looks like warm-up and was not left out."""
    scale = of_values(rows)
    fresh = [row for row in rows if row.fresh]
    if fresh:
        told, several = _of_each([(row, len(row.fresh)) for row in fresh])
        yield (
            f"{told} opened a connection and {'are' if several else 'is'} slower than the others. "
            'warmup="connection" leaves such replies out.'
        )
    first = [(row, row.first) for row in rows if row.first is not None and not row.fresh]
    if first:
        named = (f"{row.sample.name} ({scale(value)})" for row, value in first[:TOLD])
        yield (
            f"The first reply is slower than the others: {', '.join(named)}{_more(first)}. "
            "warmup=1 leaves out the first of each condition."
        )


def _paired(rows: Sequence[Row], keys: Sequence[str]) -> Iterator[str]:
    found = [row.pairs for row in rows if row.pairs]
    if not found:
        return
    out, several = sum(pairs.left_out for pairs in found), sum(pairs.repeated for pairs in found)
    text = f"Compared pair by pair, by {listed([short(key) for key in keys])}"
    text += ", so that the difference may be another one than that of the two numbers"
    text += f"; {out:,} without a partner left out" if out else ""
    text += f"; {counted(several, 'pair')} made of several replies, by their middle" if several else ""
    yield f"{text}."


def _of_all(
    rows: Sequence[Row], part: Sequence[Row], confidence: float, warmup: Warmup, *, chosen: bool
) -> Iterator[str]:
    """What holds for all metrics: ``part`` has the rows of one of them."""
    yield from _left_out(part, warmup)
    compared = [row for row in rows if row.difference and row.difference.estimate is not None]
    if compared and len(part) > 2 and not chosen:
        yield f"All are compared with the first condition, {part[0].sample.name}; baseline=… takes another."
    hidden = [row for row in compared if row.p_value is not None and not is_clear(row, confidence)]
    if any(row.difference and row.difference.low is not None for row in hidden):
        yield "A difference that is not shown may still be there: its interval tells how large it may be."
    tests = [row for row in rows if row.p_value is not None]
    for test in dict.fromkeys(row.difference.test for row in tests if row.difference):
        yield f"The p of {test}: {TESTS[test][0].lower()}{TESTS[test][1:]}"
    if len(tests) > 1:
        yield f"The p-values are corrected for {len(tests)} comparisons (Holm); the intervals are not."


def _left_out(rows: Sequence[Row], warmup: Warmup) -> Iterator[str]:
    """What was left out as warm-up, by which rule."""
    told = [f"{row.sample.name} {row.sample.dropped:,}" for row in rows if row.sample.dropped]
    if warmup == "connection" and not told:
        yield "Warm-up: no reply opened a connection, as far as their recordings tell."
    elif warmup == "connection":
        some = f"{', '.join(told[:TOLD])}{' …' * (len(told) > TOLD)}"
        yield f"Left out as warm-up, for they opened a connection: {some}."
    elif warmup:
        yield f"Left out as warm-up: the first {counted(int(warmup), 'reply')} of each condition."


def _of_each(some: Sequence[tuple[Row, int]]) -> tuple[str, bool]:
    """``2 replies of a and 1 of b``, to begin a sentence, and whether its verb is in the plural."""
    told = [
        f"{counted(n, 'reply') if place == 0 else f'{n:,}'} of {row.sample.name}"
        for place, (row, n) in enumerate(some[:TOLD])
    ]
    if len(some) > TOLD:
        told.append(f"{sum(n for _, n in some[TOLD:]):,} of {counted(len(some) - TOLD, 'more condition')}")
    return listed(told), sum(n for _, n in some) > 1


def _more(some: Sequence[object]) -> str:
    return f" and {len(some) - TOLD} more" if len(some) > TOLD else ""
