"""A load test over its seconds: throughput, what is in flight, failures and latency, on one axis of time.

Strategy: strips one above the other in the same axes share the x axis, so that an eye can go straight up from
a second with failures to what was in flight in it. Each strip has its own scale from 0, with a tick at its
end. Which strips there are, and how high, `data.strips` says.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bedrock_nb.plot.canvas import OKABE_ITO, axes, ink, tick, tint
from bedrock_nb.plot.data.strips import Strip, Strips, strips
from bedrock_nb.plot.lanes import Lanes, blank, key, prepare

__all__ = ["seconds"]

_TITLE = "Load test over its seconds"
#: Of a strip's place so much is its scale; above it stands what it is.
_SCALE = 0.72
_COLOURS = {
    "throughput": OKABE_ITO["blue"],
    "in flight": OKABE_ITO["green"],
    "failed": OKABE_ITO["vermillion"],
    "ttft": OKABE_ITO["purple"],
}
#: Seconds beyond which a marker for each is a blot.
_MOST_MARKERS = 200


def seconds(source: Any, *, ax: Axes | None = None) -> Axes:
    """A load test second by second: throughput, requests in flight, failures, and time to first token.

    Parameters
    ----------
    source : LoadResult or DataFrame
        What `bedrock_nb.load_test` returns, or its table ``seconds``.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 5 inches.

    Returns
    -------
    matplotlib Axes
        x is in seconds since the run began. The strips stand on the whole numbers of y: the lowest from 0 to
        0.72, the next from 1 to 1.72 …; a strip without any number above 0 is left out. Dotted lines are
        where the level of load changes, with the levels above. Artists have a gid each: ``line:throughput``,
        ``beside:throughput``, ``line:in flight``, ``bars:failed``, ``line:ttft``, ``name:throughput`` …

    Raises
    ------
    RequestError
        ``source`` or ``ax`` is something else.

    Examples
    --------
    >>> result = nb.load_test(client, "hello", users=4, seconds=5)  # doctest: +SKIP
    >>> ax = nb.plot.seconds(result)  # doctest: +SKIP
    """
    seen = strips(source)
    ax = plt.subplots(figsize=(10, 5), layout="constrained")[1] if ax is None else axes(ax)
    if not seen.strips:
        return blank(ax, _TITLE, "No request was made.")
    _frame(ax, seen)
    lanes = prepare(ax, _TITLE)
    ax.spines["left"].set_visible(False)
    lanes.tell(seen.notes, list(_keys(seen)))
    levels = lanes.take() if seen.levels else None
    lanes.rest(thin=False)
    size = lanes.points(0.8 * (1 - _SCALE) * lanes.floor * lanes.height / len(seen.strips))
    ax.tick_params(axis="y", labelsize=size or 1, labelleft=bool(size))
    for place, strip in enumerate(reversed(seen.strips)):
        _draw(lanes, strip, place, seen.seconds, size)
    if levels is not None:
        _write_levels(lanes, seen, levels)
    return ax


def _frame(ax: Axes, seen: Strips) -> None:
    ax.set_xlabel("time since the run began [s]")
    ax.set_xlim(-0.012 * seen.seconds, 1.012 * seen.seconds)
    ax.set_ylim(0, len(seen.strips))
    ticks = [
        (place + share * _SCALE, strip.top * strip.factor * share)
        for place, strip in enumerate(reversed(seen.strips))
        for share in (0, 1)
    ]
    ax.set_yticks([y for y, _ in ticks], [tick(float(f"{value:.6g}")) for _, value in ticks])
    ax.tick_params(axis="y", length=0)


def _keys(seen: Strips) -> list[Artist]:
    """Only the strip with two rows needs a legend."""
    if not any(len(strip.beside) for strip in seen.strips):
        return []
    return [
        Patch(color=_COLOURS["throughput"], alpha=0.5, label="complete replies"),
        key(color=ink(), linestyle="--", linewidth=1, label="requests begun"),
    ]


def _draw(lanes: Lanes, strip: Strip, place: int, seconds: int, size: float) -> None:
    """One strip, standing on ``place``."""
    ax, colour, edges = lanes.ax, _COLOURS[strip.name], np.arange(seconds + 1)
    share = _SCALE / strip.top
    heights = place + strip.values * share
    ax.plot([0, seconds], [place, place], color=ink(), alpha=0.35, linewidth=0.8, gid="line", zorder=1)
    if strip.name == "failed":
        ax.stairs(heights, edges, baseline=place, fill=True, color=colour, gid="bars:failed", zorder=3)
    elif strip.name == "ttft":
        marker = "o" if seconds <= _MOST_MARKERS else ""
        ax.plot(
            edges[:-1] + 0.5, heights, marker=marker, markersize=3.5, color=colour, gid="line:ttft", zorder=3
        )
    else:
        _steps(ax, edges, heights, color=colour, linewidth=1.4, gid=f"line:{strip.name}", zorder=3)
        ax.fill_between(
            edges, place, _whole(heights), step="post", color=colour, alpha=tint(0.2), linewidth=0, gid="tint"
        )
    if len(strip.beside):
        beside = place + strip.beside * share
        _steps(
            ax, edges, beside, color=ink(), linestyle="--", linewidth=1, gid=f"beside:{strip.name}", zorder=4
        )
    if size:
        text = ax.text(
            0,
            place + (1 + _SCALE) / 2,
            lanes.cut(strip.words, lanes.width, size),
            va="center",
            fontsize=size,
            color=ink(),
            parse_math=False,
            gid=f"name:{strip.name}",
            zorder=5,
        )
        lanes.halo(text)


def _whole(heights: NDArray[np.float64]) -> NDArray[np.float64]:
    """With the last height once more, at the end of the last second."""
    return np.append(heights, heights[-1:])


def _steps(ax: Axes, edges: NDArray[Any], heights: NDArray[np.float64], **look: Any) -> None:
    ax.plot(edges, _whole(heights), drawstyle="steps-post", **look)


def _write_levels(lanes: Lanes, seen: Strips, y: float) -> None:
    """The levels in their lane, as far as they find room, and dotted lines where they begin and end."""
    ax = lanes.ax
    for begin, end, level in seen.levels:
        said = tick(float(f"{level:.3g}"))
        room, forms = lanes.x(end) - lanes.x(begin), (f"level {said}", said)
        words = next((form for form in forms if lanes.size(form)[0] <= 0.9 * room), "")
        if words:
            lanes.write(words, (begin + end) / 2, y, 0, "label:level")
    middle = ax.get_xaxis_transform()
    for edge in {edge for begin, end, _ in seen.levels for edge in (begin, end)} - {0, seen.seconds}:
        ax.plot(
            [edge] * 2, [0, lanes.floor], ":", transform=middle, color=ink(), linewidth=1, gid="mark:level"
        )
