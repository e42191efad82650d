"""Pictures of one stream.

Strategy: `parts` says what there is, this module draws it into one Axes. The data stand at the bottom.
Above them lie lanes, each as high as a text: from the top down words, labels of moments, lengths (TTFT,
TTLT), content blocks, the longest gap. So the lanes take their room in points and the data get the rest,
and texts are placed by their measured widths, after the figure's layout is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bedrock_nb.plot.canvas import OKABE_ITO, axes, duration, ink, one
from bedrock_nb.plot.labels import PAD, Label, Slot, place
from bedrock_nb.plot.lanes import Lanes
from bedrock_nb.plot.parts import Anatomy, Band, Mark, Span, dissect

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
_TOGETHER = 3.0  # pixels: marks closer than this share one label


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
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count from 1 to 20").drain()
    >>> ax = nb.plot.anatomy(reply)
    """
    stream = dissect(one(source))
    ax = axes(ax)
    top = max((bar.base + bar.chars for bar in stream.bars), default=0)
    _frame(ax, stream, top)
    figure = ax.get_figure(root=True)
    assert figure is not None  # Axes always have one; matplotlib's types do not know
    figure.draw_without_rendering()  # runs the layout: only now is it known how much room there is
    lanes = Lanes(ax)
    lanes.entitle(stream.title)
    _fill(lanes, stream)
    ax.set_ylim(0, (top or 1) * 1.04 / lanes.floor)
    ax.spines["left"].set_bounds(0, top)
    _draw_bars(ax, stream, lanes.width)
    return ax


def _frame(ax: Axes, stream: Anatomy, top: int) -> None:
    """Limits, ticks and words around the picture; the title is only there to be given room."""
    end = stream.end or 1.0
    unit, factor = ("s", 1) if end >= 1 else ("ms", 1000)
    ax.set_xlabel(f"time since the request [{unit}]")
    ax.set_ylabel("characters per delta", loc="bottom")
    ax.set_xlim(-0.012 * end, 1.012 * end)
    ax.set_ylim(0, 2 * (top or 1))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{t * factor:.10g}"))
    ticks = MaxNLocator(4, integer=True).tick_values(0, top) if top else []
    ax.set_yticks([tick for tick in ticks if 0 <= tick <= top])
    ax.grid(False)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title("Anatomy", loc="left", fontsize="medium", parse_math=False)


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
    captions = [*_captions(lanes, stream.marks), *_names(lanes, stream.bands)]
    levels = max(0, min(_MOST_LEVELS, left - len(notes)))
    slots = place([caption.label for caption in captions], lanes.width, levels)
    base = lanes.take(1 + max((slot.level for slot in slots if slot), default=-1))
    above = [(span, lanes.take()) for span in spans if span.name != "gap"]
    strip = lanes.take()
    _draw_bands(lanes, stream.bands, strip)
    for caption, slot in zip(captions, slots, strict=True):
        _draw_caption(lanes, caption, slot, base, strip)
    for span, y in [*above, *((span, lanes.take()) for span in spans if span.name == "gap")]:
        _draw_span(lanes, span, y)


# -- moments -----------------------------------------------------------------------------------------


class _Caption(NamedTuple):
    """A text for marks that are too close together for one each."""

    text: str
    marks: Sequence[Mark]
    label: Label


def _captions(lanes: Lanes, marks: Sequence[Mark]) -> Iterator[_Caption]:
    """One caption for the marks that share a few pixels; a time is written once."""
    cluster: list[Mark] = []
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        cluster.append(mark)
        if following is None or lanes.x(following.t) - lanes.x(cluster[0].t) > _TOGETHER:
            said = groupby(cluster, key=lambda mark: duration(mark.t) if mark.t else "")
            text = ", ".join(
                f"{', '.join(mark.text for mark in group)} {when}".strip() for when, group in said
            )
            yield _caption(lanes, text, cluster)
            cluster = []


def _names(lanes: Lanes, bands: Sequence[Band]) -> Iterator[_Caption]:
    """Captions for the blocks too short to hold their own; each kind should be named at least once."""
    clear = _clear(bands)
    named = {band.kind for band in clear if _inside(lanes, band)}
    for band in clear:
        if band.kind != "waiting" and not _inside(lanes, band):
            rank = 1 if band.kind in named else 7
            named.add(band.kind)
            yield _caption(lanes, band.text, [Mark("block", (band.begin + band.end) / 2, band.text, rank)])


def _caption(lanes: Lanes, text: str, marks: Sequence[Mark]) -> _Caption:
    rank = max(mark.rank for mark in marks)
    return _Caption(text, marks, Label(lanes.x(marks[-1].t), lanes.size(text)[0], rank))


def _draw_caption(lanes: Lanes, caption: _Caption, slot: Slot | None, base: float, strip: float) -> None:
    """The lines of the marks, up to their text; a mark whose text found no room keeps its line."""
    y = strip if slot is None else base + slot.level * lanes.row
    for mark in caption.marks:
        fault = mark.name == "fault"
        lanes.ax.plot(
            [mark.t, mark.t],
            [strip if mark.name == "block" else 0, y],
            transform=lanes.ax.get_xaxis_transform(),
            color=OKABE_ITO["vermillion"] if fault else ink(),
            linewidth=1.6 if fault else 0.8,
            linestyle="-" if fault else ":",
            marker="X" if fault else None,
            markevery=[0],
            markersize=9,
            clip_on=False,
            gid=f"mark:{mark.name}",
            zorder=3,
        )
    if slot is not None:
        dx = PAD if slot.left > caption.label.x else -PAD
        lanes.write(caption.text, caption.marks[-1].t, y, dx, f"label:{caption.marks[0].name}")


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
