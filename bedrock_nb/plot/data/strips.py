"""A load test over its seconds: which strips there are to see, how high each is, and what must be said.

Strategy: a strip is one or two rows of numbers of one kind, with the round number that its scale ends with.
Strips that would show nothing are left out. Nothing here draws.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.plot.canvas import count, short
from bedrock_nb.plot.units import quantity

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Strip", "Strips", "strips"]

_WANTED = ("second", "starts", "ends", "in_flight", "complete", "failed", "ttft_p50_s")
#: What the columns of one kind of failure begin with.
_FAILED = "failed_"
_MOST_KINDS = 3
#: Levels that are named above the strips.
_MOST_LEVELS = 12


class Strip(NamedTuple):
    """One kind of number over the seconds.

    Attributes
    ----------
    name : str
        ``"throughput"``, ``"in flight"``, ``"failed"`` or ``"ttft"``.
    words : str
        What it is, with its unit.
    values, beside : array of float
        A number for each second, NaN where there is none; the second row may be empty.
    top : float
        Where the scale ends: a round number.
    factor : float
        From the numbers to those of the scale's ticks.
    """

    name: str
    words: str
    values: NDArray[np.float64]
    beside: NDArray[np.float64]
    top: float
    factor: float = 1.0


class Strips(NamedTuple):
    """All strips from the top down, stretches of one level (begin, end, level), sentences, and seconds."""

    strips: list[Strip]
    levels: list[tuple[int, int, float]]
    notes: list[str]
    seconds: int


def strips(source: Any) -> Strips:
    """What there is to see of a load test.

    Parameters
    ----------
    source : LoadResult or DataFrame
        Or its table ``seconds``.

    Raises
    ------
    RequestError
        It is something else.
    """
    table: Any = source if hasattr(source, "iloc") else getattr(source, "seconds", None)
    if not hasattr(table, "iloc") or not set(_WANTED) <= set(table.columns):
        raise RequestError(
            f"{kind_of(source)} is not the seconds of a load test.",
            remedy="Give what nb.load_test returns, or the table .seconds of it.",
        )
    column = {name: table[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in _WANTED}
    latency = quantity("ttft_s", column["ttft_p50_s"])
    none = np.array([])
    offered = [
        ("throughput", "complete replies each second, and requests begun", "complete", "starts", 1.0),
        ("in flight", "in flight at the end of each second", "in_flight", None, 1.0),
        ("failed", "failed replies each second", "failed", None, 1.0),
        ("ttft", f"median TTFT from the intended start [{latency.unit}]", "ttft_p50_s", None, latency.factor),
    ]
    found = []
    for name, words, first, second, factor in offered:
        rows = [column[first], none if second is None else column[second]]
        shown = np.concatenate(rows)
        shown = shown[np.isfinite(shown)]
        if len(shown) and shown.max() > 0:
            found.append(Strip(name, words, rows[0], rows[1], _round(float(shown.max()), factor), factor))
    return Strips(found, _levels(table), list(_notes(table, column)), len(table))


def _round(most: float, factor: float) -> float:
    """The first round number from there on."""
    ticks = np.asarray(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]).tick_values(0, most * factor))
    return float(ticks[ticks >= most * factor * (1 - 1e-9)][0]) / factor


def _levels(table: pd.DataFrame) -> list[tuple[int, int, float]]:
    """Stretches of one level, if there are a few of several; in a ramp no level lasts."""
    if "level" not in table.columns or not len(table):
        return []
    level = table["level"].to_numpy(dtype=np.float64, na_value=np.nan)
    changes = np.flatnonzero(~((level[1:] == level[:-1]) | (np.isnan(level[1:]) & np.isnan(level[:-1])))) + 1
    edges = [0, *changes.tolist(), len(level)]
    stretches = [(a, b, float(level[a])) for a, b in pairwise(edges) if np.isfinite(level[a]) and b - a > 1]
    several = len(np.unique(level[np.isfinite(level)])) > 1
    return stretches if several and len(stretches) <= _MOST_LEVELS else []


def _notes(table: pd.DataFrame, column: dict[str, NDArray[np.float64]]) -> Iterator[str]:
    ended, failed = int(column["ends"].sum()), int(column["failed"].sum())
    if not ended:
        return
    said = f"{count(ended, 'reply')} in {len(table):,} s, {int(column['complete'].sum()):,} of them complete"
    kinds = [
        (int(table[name].sum()), short(name.removeprefix(_FAILED)))
        for name in table.columns
        if name.startswith(_FAILED)
    ]
    told = [f"{n:,} {kind}" for n, kind in sorted(kinds, reverse=True)[:_MOST_KINDS]]
    if len(kinds) > _MOST_KINDS:
        told.append(f"{count(len(kinds) - _MOST_KINDS, 'other kind')}")
    why = f": {', '.join(told)}" if told else ""
    yield f"{said}; {failed:,} failed{why}." if failed else f"{said}."
