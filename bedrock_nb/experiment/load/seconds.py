"""A load test over time: a row per second of what began, what ended, and what was on its way.

Strategy: pure arithmetic on the columns of the table, an array at a time. Moments are counted in the second
in which they fall; what takes time, such as tokens, is shared out evenly over the time that it took. So every
column of counts, and that of tokens, sums up to what the whole run had, and ``in_flight`` is what had begun
by the end of a second less what had ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedrock_nb.metrics import percentile

if TYPE_CHECKING:
    import pandas as pd

    from bedrock_nb.experiment.load.arrivals import Stage

__all__ = ["FAILED", "floats", "overlap", "per_second", "shared", "speaking"]

_Array = NDArray[np.float64]

#: How a reply ends that its user did not end.
FAILED = ("error", "incomplete")
#: What the columns of one kind of failure begin with.
_PREFIX = "failed_"
#: A run may be told over so many seconds; a day has 86,400.
_MOST = 1_000_000


def floats(table: pd.DataFrame, name: str) -> _Array:
    """A column as floats, NaN for what is missing or is no column of this table."""
    if name not in table.columns:
        return np.full(len(table), np.nan)
    values: _Array = table[name].to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def overlap(begin: _Array, end: _Array, low: float, high: float) -> _Array:
    """How much of each span of time lies between two moments, seconds; NaN where a span is not known."""
    return np.asarray(np.maximum(0.0, np.minimum(end, high) - np.maximum(begin, low)))


def shared(begin: _Array, end: _Array, amount: _Array, seconds: int) -> _Array:
    """Amounts by second, each shared out evenly over its span of time.

    Parameters
    ----------
    begin, end : array of float
        Spans, seconds since the run began; what is outside of the seconds counts in the nearest.
    amount : array of float
        What is shared out; NaN is nothing, and so is an amount whose span is not known.
    seconds : int
        How many rows there are.

    Returns
    -------
    array of float
        The sum of it is that of the amounts.
    """
    known = np.isfinite(begin) & np.isfinite(end) & np.isfinite(amount)
    begin = np.clip(begin[known], 0, seconds)
    end, amount = np.maximum(begin, np.clip(end[known], 0, seconds)), amount[known]
    first = np.minimum(begin.astype(np.intp), seconds - 1)
    rows = np.maximum(np.ceil(end).astype(np.intp) - first, 1)
    which = np.repeat(np.arange(len(first)), rows)
    second = np.arange(len(which)) - np.repeat(np.cumsum(rows) - rows, rows) + first[which]
    length = (end - begin)[which]
    inside = np.minimum(end[which], second + 1) - np.maximum(begin[which], second)
    share = np.divide(inside, length, out=1.0 / rows[which], where=length > 0)
    return np.bincount(second, weights=amount[which] * share, minlength=seconds).astype(np.float64)


def per_second(table: pd.DataFrame, stages: Sequence[Stage] = ()) -> pd.DataFrame:
    """A row per second of a run, the seconds of the warm-up among them.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per reply, as `LoadResult.table` has it.
    stages : sequence of Stage
        What was planned.

    Returns
    -------
    pandas.DataFrame
        ``second``, from 0; ``level``, what was planned for its middle, where that is known; ``intended``,
        ``starts`` and ``ends`` of requests in it; ``in_flight`` at its end; ``complete``, ``failed`` and
        ``cancelled`` of those that ended; ``output_tokens_per_s``, with the tokens of a reply shared out
        evenly from its first to its last; ``ttft_p50_s``, the median of the complete replies that were meant
        to begin in this second, from that moment on (missing for fewer than two); and a column for each kind
        of failure: ``failed_ThrottlingException``.
    """
    import pandas as pd

    started, ended = floats(table, "started_s"), floats(table, "ended_s")
    intended = floats(table, "intended_s")
    moments = np.concatenate([started, ended, intended])
    moments = moments[np.isfinite(moments)]
    seconds = min(_MOST, int(max(0.0, float(moments.max()))) + 1) if len(moments) else 0
    status = table["status"].to_numpy(dtype=object) if len(table) else np.array([], dtype=object)
    failed = np.isin(status, FAILED)

    def counted(times: _Array, which: Any = True) -> NDArray[np.intp]:
        kept = times[np.isfinite(times) & which]
        return np.bincount(_second(kept, seconds), minlength=seconds)

    starts, ends = counted(started), counted(ended, np.isfinite(started))
    columns: dict[str, Any] = {"second": np.arange(seconds)}
    if stages:
        columns["level"] = [_level(stages, second + 0.5) for second in range(seconds)]
    columns |= {
        "intended": counted(intended),
        "starts": starts,
        "ends": ends,
        "in_flight": np.cumsum(starts) - np.cumsum(ends),
        "complete": counted(ended, status == "complete"),
        "failed": counted(ended, failed),
        "cancelled": counted(ended, status == "cancelled"),
        "output_tokens_per_s": _tokens(table, seconds),
        "ttft_p50_s": _medians(intended, floats(table, "ttft_intended_s"), status == "complete", seconds),
    }
    kinds = (
        table["failure"].to_numpy(dtype=object)
        if "failure" in table.columns
        else np.array([None] * len(table))
    )
    for kind in sorted({str(kind) for kind in kinds[failed]}):
        columns[f"{_PREFIX}{kind}"] = counted(ended, failed & (kinds == kind))
    return pd.DataFrame(columns)


def _second(times: _Array, seconds: int) -> NDArray[np.intp]:
    return np.clip(times, 0, seconds - 1).astype(np.intp)


def _level(stages: Sequence[Stage], t: float) -> float:
    return next((stage.at(t) for stage in stages if stage.begin <= t < stage.end), np.nan)


def speaking(table: pd.DataFrame) -> tuple[_Array, _Array]:
    """From when to when each reply brought tokens; where that is not known, from its begin to its end."""
    started = floats(table, "started_s")
    first, last = started + floats(table, "ttft_s"), started + floats(table, "e2e_s")
    begin = np.where(np.isfinite(first), first, started)
    return begin, np.where(np.isfinite(last), last, floats(table, "ended_s"))


def _tokens(table: pd.DataFrame, seconds: int) -> _Array:
    """Output tokens by second."""
    begin, end = speaking(table)
    return shared(begin, np.maximum(begin, end), floats(table, "output_tokens"), seconds)


def _medians(times: _Array, values: _Array, which: Any, seconds: int) -> list[float]:
    """The median of the values of each second; NaN for fewer than two."""
    found = [np.nan] * seconds
    kept = np.flatnonzero(np.isfinite(times) & np.isfinite(values) & which)
    if len(kept):
        second = _second(times[kept], seconds)
        order = np.argsort(second, kind="stable")
        at, begin = np.unique(second[order], return_index=True)
        for place, part in zip(at, np.split(values[kept][order], begin[1:]), strict=True):
            middle = percentile(part.tolist(), 0.5)
            found[place] = np.nan if middle is None else middle
    return found
