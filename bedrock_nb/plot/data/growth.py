"""Recordings -> how their content grows: cumulated characters and tokens, and their rate, as pure data.

Strategy: a content delta adds its characters at its time. Tokens are not seen in a stream; the exact number
that the service counts comes at its end and is shared out by length of text, as in the events table, so that
tokens are characters on another scale. Nothing here knows of matplotlib.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from bedrock_nb.events import KIND_OF
from bedrock_nb.metrics import Facts, facts
from bedrock_nb.recording import Recording

__all__ = ["Growth", "Rate", "growth", "moving_rate"]


class Growth(NamedTuple):
    """The content of one reply as it grows.

    ``times`` (seconds since the request), ``kinds`` (see `parts.KIND_OF`) and ``amounts`` (characters) have
    an entry per content delta. ``end`` is when the recording ends: its last event, or that it was closed if
    it did not end well. ``tokens`` is the exact number of output tokens, if it came.
    """

    times: Sequence[float]
    kinds: Sequence[str]
    amounts: Sequence[int]
    tokens: int | None
    end: float
    facts: Facts

    @property
    def total(self) -> int:
        """All characters."""
        return sum(self.amounts)

    @property
    def per_char(self) -> float | None:
        """Output tokens for each character; None where either is not known."""
        return self.tokens / self.total if self.tokens and self.total else None

    def steps(self) -> list[tuple[str, list[float], list[float]]]:
        """The curve of cumulated characters as one line for each kind of content: x, and y after it.

        Lines are steps whose level lasts until the next delta; where another kind goes on, there is a
        break (not a number).
        """
        lines: dict[str, tuple[list[float], list[float]]] = {}
        height = list(accumulate(self.amounts, initial=0))
        for i, (t, kind) in enumerate(zip(self.times, self.kinds, strict=True)):
            x, y = lines.setdefault(kind, ([], []))
            if not i or self.kinds[i - 1] != kind:
                x += [float("nan"), t]
                y += [float("nan"), height[i]]
            following = self.times[i + 1] if i + 1 < len(self.times) else t
            x += [t, following]
            y += [height[i + 1], height[i + 1]]
        return [(kind, x[1:], y[1:]) for kind, (x, y) in lines.items()]


def growth(recording: Recording) -> Growth:
    """How the content of one reply grows."""
    known = facts(recording)
    content = recording.content()
    closed = recording.marks.get("closed") if recording.status in ("cancelled", "incomplete") else None
    times = [recording.times[i] for i in content]
    return Growth(
        times=times,
        kinds=[KIND_OF[recording.kind(i)] for i in content],
        amounts=[len(recording.text_of(i)) for i in content],
        tokens=known.N,
        end=max([*recording.times[-1:], *times[-1:], 0.0, *([] if closed is None else [closed])]),
        facts=known,
    )


class Rate(NamedTuple):
    """A rate that is constant between its ``edges``: ``values[i]`` from ``edges[i]`` on."""

    edges: list[float]
    values: list[float]


def moving_rate(times: Sequence[float], amounts: Sequence[float], window_s: float) -> Rate:
    """What came in the last ``window_s`` seconds, per second, at every moment from the first to the last.

    Exact, not sampled: the rate changes only where something enters the window or leaves it. What comes is
    never counted before it has come, so a rate rises within one window after the first.

    Parameters
    ----------
    times : sequence of float
        Seconds, ascending.
    amounts : sequence of float
        What came at each time.
    window_s : float
        Length of the window, seconds, above 0.

    Examples
    --------
    >>> moving_rate([0.0, 1.0, 2.0], [3, 3, 3], 1.0)
    Rate(edges=[0.0, 1.0, 2.0], values=[3.0, 3.0, 3.0])
    """
    if not times:
        return Rate([], [])
    enter = np.asarray(times, dtype=float)
    leave = enter + window_s
    edges = np.unique(np.concatenate([enter, leave]))
    edges = edges[edges <= enter[-1]]
    sums = np.concatenate([[0.0], np.cumsum(np.asarray(amounts, dtype=float))])
    inside = sums[np.searchsorted(enter, edges, "right")] - sums[np.searchsorted(leave, edges, "right")]
    return Rate(edges.tolist(), (inside / window_s).tolist())
