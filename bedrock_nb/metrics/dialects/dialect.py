"""What a dialect is: a tool's columns for one reply, and its numbers for a run.

Strategy: a column is a row of a table, like a metric of ours: the tool's own name, its unit, its formula in
our symbols, a function. A run is walked once, and of each reply only its numbers are kept. What a formula
needs and a recording lacks makes None. Percentiles are interpolated as the tool does it, and refused from
fewer than 1/(1-p) values, as everywhere here, though most tools would give some number.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bedrock_nb.metrics.moments import Facts, facts
from bedrock_nb.metrics.quantiles import of_ordered
from bedrock_nb.recording import Recording

__all__ = ["Column", "Dialect", "Part", "Run", "mean", "ms", "part_of", "per", "ratio", "run_of", "spread"]


@dataclass(frozen=True)
class Column:
    """One number of another tool.

    Attributes
    ----------
    name, unit : str
        As the tool has them.
    formula : str
        The tool's, in the symbols of `bedrock_nb.metrics.metric.SYMBOLS`, without a factor for the unit.
    note : str
        What else is to be known; may be empty.
    ours : str
        The metric of ours that is this number, but for the unit; empty if there is none.
    short : str
        What the tool calls it for short; may be empty.
    """

    name: str
    unit: str
    formula: str
    compute: Callable[[Facts], float | int | None] = field(repr=False)
    note: str = ""
    ours: str = ""
    short: str = ""

    def __repr__(self) -> str:
        short = f", {self.short}" if self.short else ""
        lines = [f"{self.name}{short} [{self.unit}] = {self.formula}"]
        if self.note:
            lines.append(self.note)
        same = f"here: {self.ours}" if self.ours else "here: no metric has this formula"
        return "\n    ".join([*lines, same])


@dataclass(frozen=True)
class Run:
    """What a dialect's numbers for a run are made of.

    Attributes
    ----------
    rows : list of dict
        The dialect's columns of each reply that it takes for a success.
    statuses : list of str
        How each reply ended, those that failed among them.
    gaps : array of float
        Waits between content deltas of all successes, seconds.
    duration : float or None
        From the first request to the last response, seconds; None if a wall-clock time is missing.
    spans : list of (float, float)
        Wall-clock begin and end of each success, if known.
    """

    rows: list[dict[str, Any]]
    statuses: list[str]
    gaps: array[float]
    duration: float | None
    spans: list[tuple[float, float]]

    @property
    def failed(self) -> int:
        """How many replies were no success."""
        return len(self.statuses) - len(self.rows)

    def values(self, name: str) -> list[Any]:
        """A column, without what is missing."""
        return [row[name] for row in self.rows if row[name] is not None]

    def total(self, name: str) -> int:
        """Sum of a column."""
        return sum(self.values(name))


@dataclass(frozen=True)
class Dialect:
    """How another tool would describe a recording.

    Attributes
    ----------
    name, title : str
        As an argument; as its makers write it.
    source : str
        Which files of which version its formulas follow.
    columns : tuple of Column
        In the tool's own order.
    success : callable
        Whether a reply counts as one that succeeded, by its moments and its status.
    end : callable
        When a reply ends for the duration of a run, in seconds since its request.
    """

    name: str
    title: str
    source: str
    columns: tuple[Column, ...]
    totals: Callable[[Run], dict[str, Any]] = field(repr=False)
    success: Callable[[Facts, str], bool] = field(repr=False, default=lambda f, status: status == "complete")
    end: Callable[[Facts], float | None] = field(repr=False, default=lambda f: f.last)

    def __repr__(self) -> str:
        return f"<Dialect {self.name}: {len(self.columns)} columns, by {self.source}>"

    def of(self, known: Facts) -> dict[str, Any]:
        """All columns of one reply."""
        return {column.name: column.compute(known) for column in self.columns}


class Part(NamedTuple):
    """One reply of a run, as numbers: its columns and gaps if it is a success, and its begin and end."""

    row: dict[str, Any] | None
    status: str
    gaps: array[float]
    span: tuple[float, float] | None


def part_of(recording: Recording, dialect: Dialect) -> Part:
    """What a run keeps of one reply: its recording may go."""
    known, begin = facts(recording), recording.started
    good = dialect.success(known, recording.status)
    dated = begin is not None and math.isfinite(begin)
    return Part(
        row=dialect.of(known) if good else None,
        status=recording.status,
        gaps=array("d", known.gaps if good else ()),
        span=(begin, begin + (dialect.end(known) or 0.0)) if begin is not None and dated else None,
    )


def run_of(parts: Iterable[Part]) -> Run:
    """The replies of a run put together; they are walked once."""
    rows: list[dict[str, Any]] = []
    statuses: list[str] = []
    gaps = array("d")
    spans: list[tuple[float, float]] = []
    of_all: list[tuple[float, float]] = []
    for part in parts:
        statuses.append(part.status)
        gaps.extend(part.gaps)
        of_all += [part.span] if part.span else []
        if part.row is not None:
            rows.append(part.row)
            spans += [part.span] if part.span else []
    known = of_all and len(of_all) == len(statuses)
    duration = max(end for _, end in of_all) - min(begin for begin, _ in of_all) if known else None
    return Run(rows, statuses, gaps, duration, spans)


# -- arithmetic that keeps None ----------------------------------------------------------------------


def ms(seconds: float | None) -> float | None:
    """Milliseconds."""
    return None if seconds is None else 1000 * seconds


def ratio(above: float | None, below: float | None) -> float | None:
    """A quotient; None if a part is missing or it would be divided by 0."""
    return above / below if above is not None and below else None


def per(begin: float | None, end: float | None, n: int | None, f: Facts) -> float | None:
    """Seconds for each of n, over a stretch that must not have a seam and must have streamed."""
    if begin is None or end is None or n is None or n < 1 or f.resumed or f.whole:
        return None
    return (end - begin) / n


def mean(values: Sequence[float]) -> float | None:
    """The arithmetic mean, or None of nothing."""
    return sum(values) / len(values) if values else None


def spread(
    values: Iterable[float],
    names: Mapping[str, float | None],
    *,
    factor: float = 1.0,
    exclusive: bool = False,
) -> dict[str, float | None]:
    """Mean and percentiles by the names that a tool has for them: ``{"avg": None, "p99": 0.99}``.

    None stands for the mean; ``factor`` changes the unit; `of_ordered` tells about ``exclusive``.
    """
    ordered = sorted(values)
    found = {
        name: mean(ordered) if p is None else of_ordered(ordered, p, exclusive=exclusive)
        for name, p in names.items()
    }
    return {name: None if value is None else factor * value for name, value in found.items()}
