"""A row per condition: how many replies a second were good enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bedrock_nb.metrics.goodput import good, limits
from bedrock_nb.table.frame import check_table, conditions, rate, run_of, stacked

__all__ = ["GOODPUT_COLUMNS", "goodput"]

#: Columns of `goodput` and their types, after those of the condition and before those of the limits.
GOODPUT_COLUMNS: dict[str, str] = {
    "replies": "int64",
    "complete": "int64",
    "good": "int64",
    "good_share": "float64",
    "duration_s": "float64",
    "requests_per_s": "float64",
    "goodput_rps": "float64",
}


def goodput(source: Any, *, by: str | Sequence[str] | None = None, **thresholds: float) -> pd.DataFrame:
    """A row per condition: the rate of replies that were complete and met all limits.

    Goodput is the number of good requests by the duration of the run, in vLLM's benchmark
    (``vllm/benchmarks/serve.py``) as in AIPerf; `totals` tells what that duration may hold. vLLM's limits are
    in milliseconds; these are in the metric's own unit, which is seconds for times.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, a collection of these, or their summary
    by : str or list of str, optional
        Columns of the summary, labels among them, whose values make a condition. By default there is one
        row for all.
    **thresholds : float
        A limit of each metric that counts: ``ttft_s=0.5, tpot_s=0.05``. The most that is good; of a pace
        (``output_tps``) the least. A reply without that number does not meet it: one of a single token has no
        ``tpot_s``, and vLLM would let it pass.

    Returns
    -------
    pandas.DataFrame
        The columns of ``by``; ``replies``, ``complete``, ``good``, ``good_share`` (of all replies; one that
        failed is not good), ``duration_s`` (from the first request to the end of the last reply by the wall
        clock; missing if that is not known), ``requests_per_s`` (complete ones), ``goodput_rps``; and for
        each limit ``met_ttft_s`` and the like: the share of all replies that are complete and met it.

    Raises
    ------
    RequestError
        No limit, or one that is none; a column that there is not; something that is no recording.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 3").drain()
    >>> list(nb.goodput([reply], ttft_s=60, tpot_s=60)["good"])
    [1]
    """
    checked = limits(**thresholds)
    if isinstance(source, pd.DataFrame):
        table = source
    else:
        import bedrock_nb

        table = bedrock_nb.summary(source)
    check_table(table, ("status", "started", "lasted_s", *checked))
    kinds = GOODPUT_COLUMNS | {f"met_{name}": "float64" for name in checked}
    return stacked([(values, _row(rows, checked)) for values, rows in conditions(table, by)], by, kinds)


def _row(rows: pd.DataFrame, checked: dict[str, float]) -> dict[str, Any]:
    run = run_of(rows)
    complete = rows.loc[rows["status"] == "complete", list(checked)]
    numbers = (dict(zip(checked, row, strict=True)) for row in complete.itertuples(index=False))
    met = [good(measured, checked) for measured in numbers]
    whole = sum(all(each.values()) for each in met)
    shares = {f"met_{name}": _share(sum(each[name] for each in met), len(rows)) for name in checked}
    return {
        **run,
        "good": whole,
        "good_share": _share(whole, len(rows)),
        "goodput_rps": rate(whole, run["duration_s"]),
        **shares,
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
