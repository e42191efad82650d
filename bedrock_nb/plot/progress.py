"""The picture of how answers grow: cumulated content over time.

Strategy: `growth` says what there is, this module draws it. The scale of tokens at the right is that of
characters times a constant, so no two curves are made to meet by choice of scales. Words stand in lanes above
the data, as everywhere in this package.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from bedrock_nb.plot.canvas import OKABE_ITO, Style, axes, count, ink, several, style, time_axis, tint
from bedrock_nb.plot.captions import captions, moments, write_captions
from bedrock_nb.plot.conditions import distinct
from bedrock_nb.plot.data.growth import Growth, growth
from bedrock_nb.plot.lanes import Lanes, blank, key, prepare
from bedrock_nb.plot.naming import ending, endings, missing, tell_apart, whose
from bedrock_nb.plot.stream import LOOKS
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    from matplotlib.axes._secondary_axes import SecondaryAxis

__all__ = ["timeline"]

#: How a line of each kind of content is dashed.
_DASHES: dict[str, Any] = {
    "text": "-",
    "reasoning": (0, (1, 1)),
    "tool input": (0, (4, 1.5)),
    "tool result": "-.",
    "image": "-",
}
_MOST_NAMED = 10  # recordings in a legend
_UNNAMED = 0.3  # opacity of the others
_FEW_LETTERS = 14  # of their names, where there is little room


def timeline(source: Any, *, ax: Axes | None = None) -> Axes:
    """How answers grow: cumulated characters over time, and tokens on the right for a single answer.

    A curve rises with each content delta and stays level where nothing comes. Of one answer, colours and
    dashes tell the kinds of content, and moments are marked; the scale of tokens is that of characters times
    a constant, for tokens are not seen in a stream: the exact number is shared out by length of text. Of
    several answers, colours and markers tell them apart: hollow at the first content, filled at the last;
    those after the tenth are thin and grey. A cross stands where an answer did not end well.

    Parameters
    ----------
    source : Recording, Reply, path, or a collection of these
        Of any status.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 4 inches. Words are placed for the size that the axes
        have now.

    Returns
    -------
    matplotlib Axes
        x is in seconds since each request (below 1 s its ticks are written in ms), y in characters. Its
        artists have a gid each: ``line:0:text`` (recording 0), ``mark:first content``, ``end:0`` …

    Raises
    ------
    RequestError
        A table, or no recording at all in what was given, or ``ax`` is something else.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> ax = nb.plot.timeline(reply)
    """
    recordings = several(source)
    ax = axes(ax)
    title = f"Content over time: {whose(recordings)}"
    grown = [growth(recording) for recording in recordings]
    if not any(one.times for one in grown):
        return blank(ax, title, missing(recordings, "content"))
    top = max(one.total for one in grown)
    time_axis(ax, max(one.end for one in grown) or 1.0, "the request" if len(grown) == 1 else "each request")
    ax.set_ylabel("characters so far", loc="bottom")
    tokens = _token_scale(ax, grown[0]) if len(grown) == 1 else None
    lanes = prepare(ax, title, top)
    lanes.tell(_said(recordings, grown), *_line_keys(recordings, grown))
    if len(grown) == 1:
        write_captions(lanes, [*captions(lanes, moments(recordings[0]))])
    for number, (recording, one_) in enumerate(zip(recordings, grown, strict=True)):
        _draw_growth(lanes, number, recording, one_, alone=len(grown) == 1)
    lanes.rest(top)
    if tokens is not None:
        tokens.spines["right"].set_bounds(0, grown[0].tokens or 0)
    return ax


def _token_scale(ax: Axes, one: Growth) -> SecondaryAxis | None:
    """The scale at the right: characters as tokens."""
    per_char = one.per_char
    if per_char is None:
        return None
    to_tokens, to_chars = partial(np.multiply, per_char), partial(np.multiply, 1 / per_char)
    scale = ax.secondary_yaxis("right", functions=(to_tokens, to_chars))
    scale.set_gid("axis:tokens")
    scale.set_ylabel("output tokens so far", loc="bottom")
    most = one.tokens or 0
    scale.set_yticks([t for t in MaxNLocator(4, integer=True).tick_values(0, most) if 0 <= t <= most])
    return scale


def _said(recordings: Sequence[Recording], grown: Sequence[Growth]) -> Iterator[str]:
    if len(grown) == 1:
        one = grown[0]
        said = f"{count(one.total, 'character')} in {count(len(one.times), 'content delta')}"
        if one.per_char is not None:
            said += f"; {count(one.tokens or 0, 'output token')}, shared out by length of text"
        yield said
    else:
        yield "Markers: hollow at the first content (TTFT), filled at the last (TTLT)."
    if problems := endings(recordings):
        yield problems
    bare = sum(not one.times for one in grown)
    left_out = [f"Not drawn, no content came: {bare:,} of {len(grown):,} replies."] if bare else []
    if len(grown) > _MOST_NAMED:
        left_out.append(f"Thin and grey, without a name: those after the first {_MOST_NAMED}.")
    if left_out:
        yield " ".join(left_out)


def _line_keys(
    recordings: Sequence[Recording], grown: Sequence[Growth]
) -> tuple[list[Artist], list[list[str]]]:
    """Keys of the legend, and the forms of their words: of one answer its kinds, of several their names."""
    kinds = [kind for kind in LOOKS if any(kind in one.kinds for one in grown)]
    if len(grown) == 1:
        looks = [{"color": LOOKS[kind].colour, "linestyle": _DASHES[kind]} for kind in kinds]
        return [key(linewidth=2, **look) for look in looks], [kinds]
    named = [number for number, one in enumerate(grown[:_MOST_NAMED]) if one.times]
    looks = [{"color": style(number).colour, "marker": style(number).marker} for number in named]
    keys: list[Artist] = [key(markersize=5, **look) for look in looks]
    if kinds == ["text"]:
        kinds = []
    keys += [key(color=ink(), linestyle=_DASHES[kind], linewidth=1.6) for kind in kinds]
    every = tell_apart(recordings)
    names, bad = [every[number] for number in named], [ending(recordings[number]) for number in named]
    ended = [f"{name} ({how})" if how else name for name, how in zip(names, bad, strict=True)]
    return keys, [[*ended, *kinds], [*names, *kinds], [*distinct(names, _FEW_LETTERS), *kinds]]


def _draw_growth(lanes: Lanes, number: int, recording: Recording, one: Growth, *, alone: bool) -> None:
    """The curve of one answer, and where it began and ended."""
    if not one.times:
        return
    ax, total, named = lanes.ax, one.total, number < _MOST_NAMED
    look = style(number) if named else Style(ink(), "", "-")
    for kind, x, y in one.steps():
        colour = LOOKS[kind].colour if alone else look.colour
        ax.plot(
            x,
            y,
            color=colour,
            linestyle=_DASHES[kind],
            linewidth=1.8 if named else 0.8,
            alpha=1 if named else _UNNAMED,
            gid=f"line:{number}:{kind}",
            zorder=3 if named else 2,
        )
        if alone:
            ax.fill_between(x, y, color=colour, alpha=tint(0.15), linewidth=0, gid=f"tint:{kind}", zorder=1)
    colour = ink() if alone else look.colour
    points = [("first", one.times[0], 0, "none"), ("last", one.times[-1], total, colour)]
    for name, t, height, face in points if named and not alone else ():
        ax.plot(
            [t],
            [height],
            look.marker,
            color=colour,
            markerfacecolor=face,
            markeredgewidth=1,
            markersize=6,
            clip_on=False,
            gid=f"{name}:{number}",
            zorder=4,
        )
    if recording.error is not None or recording.status not in ("complete", "streaming"):
        failed = recording.error is not None
        ax.plot(
            [one.times[-1], one.end],
            [total, total],
            ":",
            color=colour,
            linewidth=1.2 if named else 0.8,
            alpha=1 if named else _UNNAMED,
            gid="tail",
        )
        ax.plot(
            [one.end],
            [total],
            "X" if failed else "x",
            color=OKABE_ITO["vermillion"] if failed else ink(),
            markersize=8 if named else 5,
            markeredgewidth=1,
            clip_on=False,
            gid=f"end:{number}",
            zorder=5,
        )
