"""A row per reply, and a row per run.

Strategy: a reply is measured while it is at hand and dropped; only its row stays. What a run comes to is
worked out from those rows, so that it is the same whether recordings were given or their table. In another
tool's dialect both tables have that tool's numbers by that tool's formulas, see `metrics.dialects`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from bedrock_nb.errors import RequestError
from bedrock_nb.metrics import METRICS, dialects, measure, percentile
from bedrock_nb.metrics.clocks import longest_late
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import (
    FAILED,
    check_table,
    conditions,
    each,
    frame,
    rate,
    run_of,
    sound_text,
    stacked,
)

__all__ = ["SUMMARY_COLUMNS", "SUMMARY_KINDS", "row", "summary", "totals"]

#: Columns of `summary` before the labels.
SUMMARY_COLUMNS: tuple[str, ...] = (
    "model",
    "status",
    "stop_reason",
    *METRICS,
    "request_id",
    "lasted_s",
    "late_s",
    "started",
)

_WHOLE = ("token", "count", "ms")
_UTC = "datetime64[us, UTC]"
#: Their types, as pandas names them.
SUMMARY_KINDS: dict[str, str] = (
    dict.fromkeys(("model", "status", "stop_reason", "request_id"), "str")
    | {name: "Int64" if metric.unit in _WHOLE else "float64" for name, metric in METRICS.items()}
    | {"lasted_s": "float64", "late_s": "float64", "started": _UTC}
)

#: Metrics whose percentiles `totals` gives, and which.
_SPREADS = ("ttft_s", "tpot_s", "e2e_s")
_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_TOTAL_KINDS = (
    dict.fromkeys(("replies", "complete", "failed"), "int64")
    | dict.fromkeys(("failed_share", "duration_s", "requests_per_s"), "float64")
    | {"output_tokens": "Int64", "output_tokens_per_s": "float64"}
    | {f"{metric[:-2]}_{name}_s": "float64" for metric in _SPREADS for name in _QUANTILES}
)


def summary(source: Any, *, dialect: str | None = None) -> pd.DataFrame:
    """A row per reply: how it ended, its times, pace and tokens, its request id, its labels.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or a collection of these
        Recordings that come out of files or of a generator are held one at a time.
    dialect : {"llmeter", "vllm", "guidellm", "aiperf", "otel", "aws"}, optional
        Another tool, whose names, units and formulas to take in place of ours; see `metrics.dialects`.

    Returns
    -------
    pandas.DataFrame
        The columns of `SUMMARY_COLUMNS`, then one per label, after ``label_`` where its name is taken.
        `metrics.explain` gives each formula. ``ttlt_s`` and ``e2e_s`` are missing where the message did not
        come to its end; ``lasted_s`` is the time of the last event of any kind, a failure included;
        ``late_s`` is for how long bytes may have waited because the reader was busy (0 if it never was);
        ``started`` is the wall-clock time of the request, in UTC. In a dialect: ``model`` and ``status``,
        that tool's columns in that tool's order, and the labels.

    Raises
    ------
    RequestError
        There is something in ``source`` that has no recording, or there is no such dialect.
    RecordingError
        A path that is not a readable recording.
    """
    row_of = row if dialect is None else _row_in(dialect)
    columns: dict[str, list[Any]] = {name: [] for name in row_of(Recording())}
    labels: dict[str, list[Any]] = {}
    number = -1
    for number, recording in enumerate(each(source)):
        for name, value in row_of(recording).items():
            columns[name].append(value)
        for label, value in recording.labels.items():
            values = labels.setdefault(str(label), [])
            values += [None] * (number - len(values)) + [value]
    for label, values in labels.items():
        name = sound_text(label)
        while name in columns:
            name = f"label_{name}"
        columns[name] = values + [None] * (number + 1 - len(values))
    return frame(columns, SUMMARY_KINDS if dialect is None else {"model": "str", "status": "str"})


def row(recording: Recording) -> dict[str, Any]:
    """The columns of `SUMMARY_COLUMNS` for one recording."""
    times = recording.times or list(recording.marks.values())
    return {
        "model": recording.model or None,
        "status": recording.status,
        "stop_reason": recording.stop_reason,
        **measure(recording),
        "request_id": recording.envelope.get("request_id") or None,
        "lasted_s": max(times, default=None),
        "late_s": longest_late(recording),
        "started": _moment(recording.started),
    }


def _row_in(dialect: str) -> Callable[[Recording], dict[str, Any]]:
    def row(recording: Recording) -> dict[str, Any]:
        theirs = dialects.columns(recording, dialect)
        ours = {"model": recording.model or None, "status": recording.status}
        return ours | {f"{dialect}_{name}" if name in ours else name: v for name, v in theirs.items()}

    return row


def _moment(started: float | None) -> datetime | None:
    """A wall-clock time; None if it is not known, or is none that a calendar has."""
    try:
        return None if started is None else datetime.fromtimestamp(started, UTC)
    except (OverflowError, OSError, TypeError, ValueError):
        return None


def totals(source: Any, *, dialect: str | None = None, by: str | Sequence[str] | None = None) -> pd.DataFrame:
    """A row per condition: what its replies come to that were one run.

    Rates are by ``duration_s``, whatever happened in it: of conditions that took turns, each has the time of
    the others in its own, and replies of two days have the night between them. Such rates say little; times
    and tokens of replies are not concerned.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, a collection of these, or their summary
    dialect : {"llmeter", "vllm", "guidellm", "aiperf", "otel", "aws"}, optional
        Another tool, whose names, units and formulas to take in place of ours; see `metrics.dialects`. It
        needs recordings.
    by : str or list of str, optional
        Columns of the summary, labels among them, whose values make a condition. By default there is one
        row for all.

    Returns
    -------
    pandas.DataFrame
        The columns of ``by``; ``replies``, ``complete``, ``failed`` (error or incomplete; the rest were
        cancelled, interrupted, or are still streaming) and ``failed_share``; ``duration_s``, from the first
        request to the end of the last reply by the wall clock; of complete replies: ``requests_per_s``,
        ``output_tokens`` (missing if one of them has no count), ``output_tokens_per_s``, and the percentiles
        of ``ttft_s``, ``tpot_s`` and ``e2e_s``. A percentile p of fewer than 1/(1 - p) replies (10 for p90,
        100 for p99) is refused, and missing; above that none is marked as weak, see `metrics.percentile`,
        and `stats.percentile` for one that is. In a dialect: the columns of ``by``, and that tool's.

    Raises
    ------
    RequestError
        There is no such dialect or column, or ``source`` is something else, or the table of something else.
    RecordingError
        A path that is not a readable recording.
    """
    if dialect is None:
        table = source if isinstance(source, pd.DataFrame) else summary(source)
        check_table(table, ("status", "started", "lasted_s", "output_tokens", *_SPREADS))
        return stacked([(values, _totals(rows)) for values, rows in conditions(table, by)], by, _TOTAL_KINDS)
    if isinstance(source, pd.DataFrame):
        raise RequestError(
            "A table of replies does not say what another tool would have measured.",
            remedy="Give the recordings that it was made of.",
        )
    if by is None:
        return stacked([({}, dialects.totals(each(source), dialect))], by)
    known, parts = dialects.known(dialect), list[dialects.Part]()

    def noted() -> Iterator[Recording]:
        for recording in each(source):
            parts.append(dialects.part_of(recording, known))
            yield recording

    apart = conditions(summary(noted()), by)
    runs = ((values, dialects.run_of(parts[i] for i in rows.index)) for values, rows in apart)
    return stacked([(values, known.totals(run)) for values, run in runs], by)


def _totals(rows: pd.DataFrame) -> dict[str, Any]:
    run, complete = run_of(rows), rows[rows["status"] == "complete"]
    failed, counts = int(rows["status"].isin(FAILED).sum()), complete["output_tokens"]
    tokens = None if counts.isna().any() else int(counts.sum())
    return {
        "replies": run["replies"],
        "complete": run["complete"],
        "failed": failed,
        "failed_share": failed / len(rows) if len(rows) else None,
        "duration_s": run["duration_s"],
        "requests_per_s": run["requests_per_s"],
        "output_tokens": tokens,
        "output_tokens_per_s": rate(tokens, run["duration_s"]),
        **_spreads(complete),
    }


def _spreads(rows: pd.DataFrame) -> dict[str, float | None]:
    return {
        f"{metric[:-2]}_{name}_s": percentile(rows[metric].dropna().tolist(), p)
        for metric in _SPREADS
        for name, p in _QUANTILES.items()
    }
