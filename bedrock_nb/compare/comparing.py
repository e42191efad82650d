"""Conditions compared: the front of the package.

Strategy: replies become samples, samples rows, rows a table and words; each step is a module. What a notebook
shows is a small table for readers and the words; the whole table is for code and plots.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bedrock_nb import render
from bedrock_nb.compare import words
from bedrock_nb.compare.measuring import Row, measured, table_of
from bedrock_nb.compare.notes import notes
from bedrock_nb.compare.samples import Sample, Warmup, column, columns, labels, replies, samples
from bedrock_nb.errors import RequestError, close
from bedrock_nb.stats.intervals import RESAMPLES
from bedrock_nb.stats.values import Statistic, named
from bedrock_nb.table.frame import conditions

__all__ = ["Comparison", "compare"]


class Comparison:
    """What a comparison found. It unpacks: ``table, sentence = compare(…)``.

    Attributes
    ----------
    table : pandas.DataFrame
        A row per condition and metric; the columns are told at `compare`.
    sentence : str
        The result in plain words, a sentence or a few. Names of conditions in it are at most 40 letters long
        and hold no characters that a terminal obeys; whoever sets it into HTML must escape it.
    notes : tuple of str
        What else there is to know, in words of the same kind: replies without the number, warm-up, too few
        values, what the p-values mean.
    order : tuple of int
        The conditions as their rows stand in the table, by their places in the order of appearance.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        said: Sequence[str],
        notes: Sequence[str],
        cells: tuple[list[str], list[list[str]]],
        order: Sequence[int] = (),
    ) -> None:
        self.table, self.sentence, self.notes = table, " ".join(said), tuple(notes)
        self.order = tuple(order)
        self._said, self._cells = said, cells

    def __iter__(self) -> Iterator[Any]:
        return iter((self.table, self.sentence))

    def __len__(self) -> int:
        return 2

    def __repr__(self) -> str:
        head, body = self._cells
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (head, *body)]
        notes = ("", *self.notes) if self.notes else ()
        return "\n".join([*lines, "", *self._said, *notes])

    def _repr_html_(self) -> str:
        head, body = self._cells
        said, notes = map(render.paragraph, self._said), map(render.remark, self.notes)
        return render.together(render.table(head, body), *said, *notes)


def compare(
    source: Any,
    by: str | Sequence[str] = "model",
    metric: str | Sequence[str] = "ttft_s",
    *,
    baseline: Any = None,
    paired_by: str | Sequence[str] | None = None,
    statistic: Statistic = "median",
    test: str = "auto",
    warmup: Warmup = 0,
    confidence: float = 0.95,
    method: str = "BCa",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare conditions: each with its interval, and against a baseline with a difference and a test.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, a collection of these, or a DataFrame
        A DataFrame is one of `bedrock_nb.summary`, or any other with a row per reply.
    by : str or list of str
        Columns whose values make a condition; labels are columns. Conditions stand in order of appearance,
        numbers by size, but a baseline that is named stands first; a missing value is a condition, too.
    metric : str or list of str
        Columns of numbers to compare; ``"ttft"`` is ``"ttft_s"``.
    baseline : optional
        The condition that the others are measured against: its value, or a tuple of values where ``by``
        names several columns. By default the first one. A text may also be the name that the condition has
        in the sentence, or its values, with commas between.
    paired_by : str or list of str, optional
        Columns, such as the number of a prompt, whose equal values make pairs. Replies without a partner are
        left out and counted; several of one condition make one number, by their median (or mean).
    statistic, test, confidence, method, resamples, seed
        As for `bedrock_nb.stats.difference` and `bedrock_nb.stats.interval`.
    warmup : int or "connection"
        How many of the first replies of each condition, by the clock, are left out; or all that opened a
        connection, which only recordings know. By default none is, but a note says where the first
        reply, or one with a new connection, lies above the others.

    Returns
    -------
    Comparison
        ``.table`` has the columns of ``by`` (after ``by_`` if their name is taken) and a row per metric and
        condition: ``metric``, ``unit``, ``statistic``, ``n`` (replies with this number), ``missing``
        (without), ``failed`` (error or incomplete; one that has the number
        is in it), ``dropped`` (warm-up), ``outliers`` (shown, not removed);
        ``estimate``, ``low``, ``high``; ``p90``, ``p99``, each with its ``_trust`` (``no``, ``weak``,
        ``good``); ``baseline``; of the others ``diff``, ``diff_low``, ``diff_high`` (condition minus
        baseline), ``ratio`` (1 + diff by the baseline's statistic), ``p_value`` (corrected by Holm's method
        for all comparisons of the table), ``p_raw``, ``test`` (told in `bedrock_nb.stats.TESTS`), ``effect``
        (the chance that a reply of the condition is above one of the baseline), ``pairs`` and ``left_out``;
        ``note``. Values are in the metric's unit.

    Raises
    ------
    RequestError
        There is no such column, condition or rule; the message says which there are.
    RecordingError
        A path that is not a readable recording.
    """
    names, keys = columns(by, "by"), columns(paired_by, "paired_by") if paired_by is not None else []
    shared = [key for key in keys if key in names]
    if shared:
        raise RequestError(
            f"{shared[0]!r:.80} makes conditions and cannot make pairs as well.",
            remedy="Pair by what is the same in both conditions, such as the prompt.",
        )
    table, opened = replies(source)
    word = named(statistic)
    if table.empty:
        return _found([], names, word, confidence, [])
    metrics = list(dict.fromkeys(column(table, each) for each in columns(metric, "metric")))
    conditions(table.head(0), keys)  # so that a column that is missing is told with one condition, too
    found = samples(table, opened, names, warmup)
    options = {"confidence": confidence, "method": method, "resamples": resamples, "seed": seed}
    base = _base(found, baseline)
    order = [base, *(place for place in range(len(found)) if place != base)]
    found = [found[place] for place in order]
    rows = measured(found, metrics, paired_by=keys, statistic=statistic, test=test, options=options)
    more = notes(
        rows,
        confidence=confidence,
        warmup=warmup,
        keys=keys,
        chosen=baseline is not None,
        labels=[name for name in labels(table) if name not in (*names, *metrics)] if len(found) == 1 else [],
    )
    return _found(rows, names, word, confidence, more, order)


def _found(
    rows: Sequence[Row],
    names: Sequence[str],
    word: str,
    confidence: float,
    more: Sequence[str],
    order: Sequence[int] = (),
) -> Comparison:
    said = words.sentences(rows, statistic=word, confidence=confidence)
    return Comparison(table_of(rows, names, word), said, more, words.cells(rows, word, confidence), order)


def _base(found: Sequence[Sample], baseline: Any) -> int:
    """Which sample is the baseline."""
    if baseline is None:
        return 0
    wanted = tuple(baseline) if isinstance(baseline, tuple | list) else (baseline,)
    for place, sample in enumerate(found):
        values = tuple(sample.values.values())
        if len(values) == len(wanted) and all(map(_equal, values, wanted)):
            return place
    if isinstance(baseline, str):  # as it is read, or typed in a shell, where all values are text
        for place, sample in enumerate(found):
            if baseline in (sample.name, ",".join(map(str, sample.values.values()))):
                return place
    names = [sample.name for sample in found]
    raise RequestError(
        f"There is no condition {baseline!r:.80}.",
        remedy=f"{close(baseline, names)}There are: {'; '.join(names[:20])}.",
    )


def _equal(ours: Any, theirs: Any) -> bool:
    """Whether two values of a label are the same; 1 and True are not."""
    same = ours == theirs
    alike = isinstance(ours, bool) == isinstance(theirs, bool)
    return alike and isinstance(same, bool | np.bool_) and bool(same)
