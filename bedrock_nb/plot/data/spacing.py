"""Recordings -> the gaps between their content deltas, sorted into bins, as pure data.

Strategy: a gap of nothing is none of the others: deltas that one network read brought have the same time,
whatever lay between them on their way. These are counted apart, by who put them together, and only the others
have a place on the axis; so a logarithmic one is possible, which gaps from microseconds to seconds need.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bedrock_nb.metrics import gap_pairs, percentile
from bedrock_nb.metrics.bursts import bursts, verdict
from bedrock_nb.plot.canvas import count
from bedrock_nb.recording import Recording

__all__ = ["Spacing", "bins", "spacing"]

#: Beyond this ratio of the longest gap to the shortest the axis is logarithmic.
_WIDE = 20.0
_PER_DECADE = 10  # bins of a logarithmic axis
_BINS = 30  # of a linear axis, about
#: A percentile needs at least 1/(1 - p) values, see `metrics.percentile`.
_NEEDED = 100


class Spacing(NamedTuple):
    """The gaps between content deltas; seconds.

    ``apart`` are those that are longer than nothing; ``together`` counts the others by who put the deltas
    together: ``service``, ``client`` or ``unknown``. A percentile is None where there are too few gaps.
    """

    apart: Sequence[float]
    together: Mapping[str, int]
    median: float | None
    p99: float | None
    said: tuple[str, ...]

    @property
    def total(self) -> int:
        """All gaps."""
        return len(self.apart) + sum(self.together.values())


def spacing(recordings: Sequence[Recording]) -> Spacing:
    """The gaps of all recordings, pooled as in vLLM's ITL."""
    apart: list[float] = []
    together: Counter[str] = Counter()
    for recording in recordings:
        maker = {(burst.read, burst.t_s): str(burst.made_by) for burst in bursts(recording)}
        for before, i in gap_pairs(recording, recording.content()):
            gap = recording.times[i] - recording.times[before]
            if gap > 0:
                apart.append(gap)
            else:
                together[maker.get((recording.reads[i], recording.times[i]), "unknown")] += 1
    pooled = [0.0] * together.total() + apart
    p99 = percentile(pooled, 0.99)
    return Spacing(
        apart,
        together,
        percentile(pooled, 0.5),
        p99,
        tuple(_said(recordings, len(pooled), together, p99)),
    )


def _said(
    recordings: Sequence[Recording], total: int, together: Counter[str], p99: float | None
) -> list[str]:
    said = [count(total, "gap")]
    if len(recordings) > 1:
        said[0] += f" of {count(len(recordings), 'reply')}, pooled"
    if together and total:
        said[0] += f"; {_percent(together.total(), total)} of them are 0: within one network read"
    if p99 is None:
        said[0] += f"; no 99th percentile: it needs {_NEEDED} gaps"
    said[0] += "."
    if len(recordings) == 1:
        said.append(verdict(recordings[0]))
    return said


def _percent(part: int, total: int) -> str:
    """A share that is 100 only if it is all, and 0 only if it is none."""
    rounded = round(100 * part / total)
    return f"{min(max(rounded, 1), 99) if 0 < part < total else rounded} %"


def bins(apart: Sequence[float]) -> tuple[list[float], bool]:
    """Edges of the bins for gaps above 0, seconds, and whether their axis is logarithmic.

    Raises
    ------
    ValueError
        There is no gap.
    """
    low, high = min(apart), max(apart)
    if high - low <= max(1e-7, 0.01 * high):  # but for rounding, all are the same
        return [low * 0.95, high * 1.05], False
    if high / low > _WIDE:
        per = _PER_DECADE
        while True:
            first, last = math.floor(math.log10(low) * per), math.floor(math.log10(high) * per) + 1
            if last - first <= 2 * _BINS or per == 1:
                return [10 ** (k / per) for k in range(first, last + 1)], True
            per -= 1
    width = _round_up((high - low) / min(_BINS, max(5, math.isqrt(len(apart)) * 2)))
    first, last = math.floor(low / width), math.floor(high / width) + 1
    return [k * width for k in range(first, last + 1)], False


def _round_up(width: float) -> float:
    """The next of 1, 2, 5, 10, 20 …"""
    unit: float = 10.0 ** math.floor(math.log10(width))
    return next(unit * step for step in (1, 2, 5, 10) if unit * step >= width * (1 - 1e-9))
