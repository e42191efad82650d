"""Pictures of one stream.

Strategy: `parts` says what there is, this module draws it into one Axes. The data stand at the bottom.
Above them lie lanes, each as high as a text: from the top down words, labels of moments, lengths (TTFT,
TTLT), content blocks, the longest gap. So the lanes take their room in points and the data get the rest,
and texts are placed by their measured widths, after the figure's layout is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes

from bedrock_nb.plot.canvas import OKABE_ITO, axes, ink, one, time_axis
from bedrock_nb.plot.captions import Caption, caption, captions, draw_caption
from bedrock_nb.plot.data.parts import Anatomy, Band, Mark, Span, dissect
from bedrock_nb.plot.labels import PAD, place
from bedrock_nb.plot.lanes import Lanes, prepare

__all__ = ["anatomy"]


class Look(NamedTuple):
    """How one kind of content is drawn: colour, and a marker as the second cue."""

    colour: str
    marker: str


#: Every kind of content block.
LOOKS = {
    "text": Look(OKABE_ITO["blue"], "o"),
    "reasoning": Look(OKABE_ITO["purple"], "^"),
    "tool input": Look(OKABE_ITO["green"], "s"),
    "tool result": Look(OKABE_ITO["orange"], "D"),
    "image": Look(OKABE_ITO["sky"], "P"),
}

_MOST_LANES = 0.66  # of the axes' height: the data keep the rest
_MOST_LEVELS = 5  # of labels
_MOST_MARKERS = 150  # deltas; beyond it markers hide more than they show


def anatomy(source: Any, *, ax: Axes | None = None) -> Axes:
    """One stream in one picture: what happened when, from the request to the metadata.

    Each content delta is a bar as high as its characters; deltas that came at the same time stand on each
    other. White space between bars is waiting. Above them: the longest gap, the content blocks, TTLT and
    TTFT as lengths, and the moments with their times.

    Parameters
    ----------
    source : Recording, Reply or path
        One recording, of any status; what it lacks is said in the picture.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 4 inches. Labels are placed for the size that the
        axes have now.

    Returns
    -------
    matplotlib Axes
        x is in seconds since the request (below 1 s its ticks are written in ms), y in characters. Its
        artists have a gid each: ``mark:headers``, ``span:ttft``, ``band:text``, ``bars:text`` …

    Raises
    ------
    RequestError
        Not exactly one recording, or ``ax`` is something else.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> ax = nb.plot.anatomy(reply)
    """
    stream = dissect(one(source))
    ax = axes(ax)
    top = max((bar.base + bar.chars for bar in stream.bars), default=0)
    time_axis(ax, stream.end or 1.0, "the request")
    ax.set_ylabel("characters per delta", loc="bottom")
    lanes = prepare(ax, stream.title, top)
    _fill(lanes, stream)
    lanes.rest(top)
    _draw_bars(ax, stream, lanes.width)
    return ax


def _draw_bars(ax: Axes, stream: Anatomy, width: float) -> None:
    """Deltas: bars while there is room for them, thin and translucent lines when there are many."""
    room = width / max(1, len({bar.t for bar in stream.bars}))  # pixels
    stacked = any(bar.base and bar.chars for bar in stream.bars)
    for kind, look in LOOKS.items():
        bars = [bar for bar in stream.bars if bar.kind == kind]
        if not bars:
            continue
        ax.vlines(
            [bar.t for bar in bars],
            [bar.base for bar in bars],
            [bar.base + bar.chars for bar in bars],
            colors=look.colour,
            linewidths=min(2.5, max(0.5, 0.4 * room)),
            alpha=1 if room > 2 else 0.5,
            gid=f"bars:{kind}",
            label=kind,
        )
        # A delta without characters (a signature, an image) has nothing but its marker.
        marked = [bar for bar in bars if len(stream.bars) <= _MOST_MARKERS or not bar.chars]
        if marked:  # an empty line that is not clipped would count as something at the figure's corner
            ax.plot(
                [bar.t for bar in marked],
                [bar.base + bar.chars for bar in marked],
                look.marker,
                color=look.colour,
                markersize=5,
                markeredgecolor=ax.get_facecolor() if stacked else look.colour,
                markeredgewidth=0.4,
                clip_on=False,
                gid=f"tops:{kind}",
                zorder=3.5,
            )


# -- lanes -------------------------------------------------------------------------------------------


def _fill(lanes: Lanes, stream: Anatomy) -> None:
    """Share out the lanes and draw what is in them. In low axes words go first, then levels, then spans."""
    budget = int(_MOST_LANES / lanes.row)
    spans = stream.spans[: max(0, budget - 1)]
    left = budget - len(spans) - 1
    notes = [line for note in (stream.summary, *stream.notes) for line in lanes.lines(note)]
    notes = notes[: max(0, left - 2)]
    for note in notes:
        lanes.say(note)
    texts = [*captions(lanes, stream.marks), *_names(lanes, stream.bands)]
    levels = max(0, min(_MOST_LEVELS, left - len(notes)))
    slots = place([text.label for text in texts], lanes.width, levels)
    base = lanes.take(1 + max((slot.level for slot in slots if slot), default=-1))
    above = [(span, lanes.take()) for span in spans if span.name != "gap"]
    strip = lanes.take()
    _draw_bands(lanes, stream.bands, strip)
    for text, slot in zip(texts, slots, strict=True):
        draw_caption(lanes, text, slot, base, strip)
    for span, y in [*above, *((span, lanes.take()) for span in spans if span.name == "gap")]:
        _draw_span(lanes, span, y)


# -- moments -----------------------------------------------------------------------------------------


def _names(lanes: Lanes, bands: Sequence[Band]) -> Iterator[Caption]:
    """Captions for the blocks too short to hold their own; each kind should be named at least once."""
    clear = _clear(bands)
    named = {band.kind for band in clear if _inside(lanes, band)}
    for band in clear:
        if band.kind != "waiting" and not _inside(lanes, band):
            rank = 1 if band.kind in named else 7
            named.add(band.kind)
            yield caption(lanes, band.text, [Mark("block", (band.begin + band.end) / 2, band.text, rank)])


# -- bands and spans ---------------------------------------------------------------------------------


def _clear(bands: Sequence[Band]) -> list[Band]:
    """The bands up to where the next one begins: blocks may overlap, their words must not."""
    ends = [*(band.begin for band in bands), float("inf")][1:]
    return [band._replace(end=min(band.end, end)) for band, end in zip(bands, ends, strict=True)]


def _inside(lanes: Lanes, band: Band) -> str:
    """The text of a band, or a shorter one, or nothing: as much as there is room for."""
    room = lanes.x(band.end) - lanes.x(band.begin) - 2 * PAD
    texts = (band.text, band.text.partition(": ")[2], "waiting" if band.kind == "waiting" else "")
    return next((text for text in texts if text and lanes.size(text)[0] <= room), "")


def _draw_bands(lanes: Lanes, bands: Sequence[Band], y: float) -> None:
    """A strip with the name of each band, and below it a tint (hatched: waiting) behind the data."""
    half = 0.46 * lanes.row
    for band, clear in zip(bands, _clear(bands), strict=True):
        waiting = band.kind == "waiting"
        colour = ink() if waiting else LOOKS[band.kind].colour
        lanes.ax.axvspan(
            band.begin,
            band.end,
            y - half,
            y + half,
            color=colour,
            alpha=0.15 if waiting else 0.45,
            linewidth=0.8,
            gid=f"band:{band.kind}",
            zorder=1.5,
        )
        lanes.ax.axvspan(
            band.begin,
            band.end,
            0,
            y - half,
            facecolor="none" if waiting else colour,
            edgecolor=colour if waiting else "none",
            hatch="///" if waiting else None,
            alpha=0.15,
            linewidth=0,
            gid=f"tint:{band.kind}",
            zorder=0.5,
        )
        if text := _inside(lanes, clear):
            artist = lanes.write(text, (clear.begin + clear.end) / 2, y, 0, f"label:{band.kind}")
            if waiting:  # the mark of the first event may pass here
                lanes.halo(artist)
            else:
                artist.set_bbox(None)


def _draw_span(lanes: Lanes, span: Span, y: float) -> None:
    """A length between two strokes, its words to the right of it, or on it, or to the left of it."""
    lanes.ax.plot(
        [span.begin, span.end],
        [y, y],
        "|-",
        transform=lanes.ax.get_xaxis_transform(),
        color=ink(),
        linewidth=1.2,
        markersize=7,
        markeredgewidth=1,
        gid=f"span:{span.name}",
        zorder=4,
    )
    begin, end = lanes.x(span.begin), lanes.x(span.end)
    for text in (span.text, span.text.partition(":")[0]):
        width = lanes.size(text)[0] + 3 * PAD
        places = (
            (span.end, 2 * PAD, end + width <= lanes.width),
            ((span.begin + span.end) / 2, 0, end - begin >= width),
            (span.begin, -2 * PAD, begin >= width),
        )
        for t, dx, fits in places:
            if fits:
                artist = lanes.write(text, t, y, dx, f"label:{span.name}")
                if span.name == "gap":  # it stands on the tint of its block
                    lanes.halo(artist)
                return
