"""The picture of the gaps between content deltas, and of the deltas that came without one.

Strategy: `spacing` says what there is, this module draws it: a histogram, and to the left of it a bar for the
deltas that came together, in the colours of who put them together. One axis carries both, so that bars may
be compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import Locator, LogLocator, MaxNLocator, NullLocator

from bedrock_nb.plot.canvas import OKABE_ITO, axes, duration, ink, several, tick
from bedrock_nb.plot.captions import Caption, caption, write_captions
from bedrock_nb.plot.data.parts import Mark
from bedrock_nb.plot.data.spacing import Spacing, bins, spacing
from bedrock_nb.plot.lanes import Lanes, blank, prepare
from bedrock_nb.plot.naming import endings, missing, whose
from bedrock_nb.recording import Recording

__all__ = ["gaps"]

#: Who put deltas together: colour (None: that of text), hatch, and words.
_MAKERS: dict[str, tuple[str | None, str, str]] = {
    "service": (OKABE_ITO["orange"], "", "together: by the service"),
    "client": (OKABE_ITO["vermillion"], "////", "together: read late by the client"),
    "unknown": (None, "....", "together: by whom is unknown"),
}
_APART = OKABE_ITO["blue"]


class _Axis(NamedTuple):
    """Where things stand along x: edges of the bins, the bar of no gap, and both ends, seconds."""

    edges: list[float]
    log: bool
    left: float
    right: float
    begin: float
    end: float

    @property
    def middle(self) -> float:
        """Of the bar of no gap."""
        return float((self.left * self.right) ** 0.5) if self.log else (self.left + self.right) / 2


def gaps(source: Any, *, ax: Axes | None = None) -> Axes:
    """How long the waits between content deltas are: a histogram, with those that came together apart.

    Deltas that one network read brought have no gap between them. They are the bar at the left, in the
    colours of who put them together: the service (the reader was waiting when they came) or the client (it
    was away, and found them waiting). The axis is logarithmic where gaps differ by more than a factor of 20.

    Parameters
    ----------
    source : Recording, Reply, path, or a collection of these
        The gaps of several are pooled, as in vLLM's inter-token latency; there is none over the seam of a
        reply that was taken up again, and none in an answer that came whole.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 4 inches.

    Returns
    -------
    matplotlib Axes
        x is in seconds, its ticks are written in ms; y counts gaps. Its artists have a gid each:
        ``bars:apart``, ``bar:service``, ``bar:client``, ``bar:unknown``, ``mark:median``, ``mark:p99`` …

    Raises
    ------
    RequestError
        A table, or ``ax`` is something else.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> ax = nb.plot.gaps(reply)
    """
    recordings = several(source)
    ax = axes(ax)
    title = f"Gaps between content deltas: {whose(recordings)}"
    data = spacing(recordings)
    if not data.total:
        return blank(ax, title, _no_gap(recordings))
    axis = _axis(data)
    heights = np.histogram(data.apart, axis.edges)[0] if data.apart else np.zeros(len(axis.edges) - 1, int)
    top = max(int(heights.max()), sum(data.together.values()))
    _frame(ax, axis, data)
    lanes = prepare(ax, title, top)
    said = [*data.said, *(line for line in [endings(recordings)] if line)]
    lanes.tell(said, [*_keys(data)])
    write_captions(lanes, [*_percentiles(lanes, axis, data)], 2)
    if data.apart:
        ax.stairs(heights, axis.edges, fill=True, color=_APART, gid="bars:apart", zorder=2)
    _draw_together(ax, axis, data)
    lanes.rest(top)
    return ax


def _no_gap(recordings: Sequence[Recording]) -> str:
    if recordings and all(recording.whole for recording in recordings):
        return "Plain calls (Converse) come whole: there are no gaps."
    if any(recording.content() for recording in recordings):
        return "A single content delta came: there is no gap."
    return missing(recordings, "content")


def _axis(data: Spacing) -> _Axis:
    """The bar of no gap stands at 0; on a logarithmic axis, which has none, before its beginning."""
    edges, log = bins(data.apart) if data.apart else ([], False)
    if log:
        low, high = edges[0], edges[-1]
        step = (high / low) ** 0.05
        if data.together:
            return _Axis(edges, log, low / step**2, low / step, low / step**2.5, high)
        return _Axis(edges, log, low, low, low / step**0.25, high)
    if not data.together:
        pad = 0.012 * (edges[-1] - edges[0])
        return _Axis(edges, log, 0.0, 0.0, edges[0] - pad, edges[-1] + pad)
    high = edges[-1] if edges else 1e-3
    edges[:1] = [max(edges[0], 0.03 * high)] if edges else [high / 2, high]  # it must not lie on the bar
    return _Axis(edges, log, -0.02 * high, 0.02 * high, -0.04 * high, 1.012 * high if data.apart else high)


def _frame(ax: Axes, axis: _Axis, data: Spacing) -> None:
    ax.set_xlabel("gap between content deltas [ms]")
    ax.set_ylabel("number of gaps", loc="bottom")
    if axis.log:
        ax.set_xscale("log")
    ax.set_xlim(axis.begin, axis.end)
    ticks = _ticks(axis) if data.apart else []
    names = [tick(t) for t in ticks]
    if data.together:
        ticks, names = [axis.middle * 1000, *ticks], ["0", *names]
    ax.set_xticks([t / 1000 for t in ticks], names)
    ax.xaxis.set_minor_locator(NullLocator())
    if axis.log:
        ax.spines["bottom"].set_bounds(axis.edges[0], axis.end)  # 0 is not on this scale


def _ticks(axis: _Axis) -> list[float]:
    """Round numbers within the bins, ms."""
    low, high = axis.edges[0] * 1000, axis.edges[-1] * 1000
    if not axis.log:
        tried: list[Locator] = [MaxNLocator(6)]
        low = max(low, high / 20) if axis.right > 0 else low  # the bar's own 0 is there
    else:
        tried = [LogLocator(numticks=12), LogLocator(subs=(1, 2, 5), numticks=12)]
    for locator in tried:
        ticks = [float(t) for t in locator.tick_values(low, high) if low <= t <= high]
        if len(ticks) > 3:
            break
    return ticks


def _keys(data: Spacing) -> Iterator[Artist]:
    for maker, (colour, hatch, words) in _MAKERS.items():
        if n := data.together.get(maker):
            label = f"{words}, {n:,}"
            yield Patch(facecolor=colour or "none", edgecolor=ink(), hatch=hatch, linewidth=0.6, label=label)
    if data.apart:
        yield Patch(color=_APART, label=f"apart, {len(data.apart):,}")


def _percentiles(lanes: Lanes, axis: _Axis, data: Spacing) -> Iterator[Caption]:
    """Captions of the median and the 99th percentile; both stand on the bar of no gap if they are none."""
    marks = [
        Mark(name, value or axis.middle, f"{name} {duration(value)}", 1)
        for name, value in (("median", data.median), ("p99", data.p99))
        if value is not None
    ]
    if len(marks) == 2 and abs(lanes.x(marks[0].t) - lanes.x(marks[1].t)) < 3:
        yield caption(lanes, ", ".join(mark.text for mark in marks), marks)
    else:
        for mark in marks:
            yield caption(lanes, mark.text, [mark])


def _draw_together(ax: Axes, axis: _Axis, data: Spacing) -> None:
    base = 0
    for maker, (colour, hatch, _) in _MAKERS.items():
        if n := data.together.get(maker):
            (bar,) = ax.bar(
                axis.left,
                n,
                axis.right - axis.left,
                base,
                align="edge",
                facecolor=colour or "none",
                edgecolor=ink(),
                hatch=hatch,
                linewidth=0.6,
                zorder=2,
            )
            bar.set_gid(f"bar:{maker}")
            base += n
