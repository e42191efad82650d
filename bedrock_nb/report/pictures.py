"""The pictures of a report, each as two SVG files inside of the page: for light ground and for dark.

Strategy: every picture is one of `bedrock_nb.plot`. It takes the colours of ground and text from the style in
use, and nothing else, so the picture for dark ground is the other one with these two colours changed: to draw
is what takes the time of a report. Only what is more than that, pixels and areas whose opacity goes with the
ground, is drawn twice. What makes a file large or different from run to run is taken out: many dots become
pixels, ids have a fixed salt, and no date is written. The same data give the same bytes.
"""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
import matplotlib.pyplot as plt
from markupsafe import Markup
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bedrock_nb import plot
from bedrock_nb.compare import Comparison
from bedrock_nb.compare.scales import capital
from bedrock_nb.errors import BedrockNbError
from bedrock_nb.folder.progress import shown
from bedrock_nb.plot.units import quantity
from bedrock_nb.recording import Recording
from bedrock_nb.report.collecting import Material
from bedrock_nb.table.frame import conditions

__all__ = ["Picture", "darkened", "drawn", "pictures", "wanted"]

#: Ground and text of the page in both schemes; the template has the same.
_GROUNDS = {"light": ("default", "#ffffff", "#1b2126"), "dark": ("dark_background", "#1a2026", "#e7ecf0")}
#: Colour on light ground -> the same on dark ground, as they stand in a file.
_DARK = dict(
    zip(*([colour.encode() for colour in colours[1:]] for colours in _GROUNDS.values()), strict=True)
)
_COLOURS = re.compile(rb"\b|".join(_DARK) + rb"\b")
#: Markers in one line beyond which they are drawn as pixels, and these per inch.
_MOST_MARKERS, _DPI = 300, 150
#: Rows of the waterfall.
_MOST_ROWS = 24
#: What of a file is told to a millionth of a point, of which a hundredth is seen by nobody.
_COORDINATES, _LONG = re.compile(rb' (?:d|x|y)="[^"]*"'), re.compile(rb"(\.\d\d)\d+")


class Picture(NamedTuple):
    """One picture: its heading, a caption, and a data URI for each ground."""

    title: str
    caption: str
    light: Markup
    dark: Markup


def pictures(
    material: Material,
    metric: str,
    by: Sequence[str],
    comparison: Comparison | None,
    progress: bool | None = False,
) -> list[Picture]:
    """All pictures that the material has the data for, in reading order."""
    made = []
    all_ = list(wanted(material, metric, list(by), comparison))
    for title, caption, draw in shown(all_, progress, "report", "picture"):
        try:
            light, more = drawn(draw, "light")
        except BedrockNbError:  # there is nothing of the kind in these replies
            continue
        dark = drawn(draw, "dark")[0] if more else darkened(light)
        made.append(Picture(title, caption, _uri(light), _uri(dark)))
    return made


Wanted = tuple[str, str, Callable[[], Axes]]


def wanted(material: Material, metric: str, by: list[str], comparison: Comparison | None) -> Iterator[Wanted]:
    """Heading and caption of each picture, and how to draw it."""
    table, sample, words = material.table, material.sample, quantity(metric).words
    if material.kind == "race" and sample:
        yield (
            "How the answers grew",
            "All racers over one axis, each from its own request on; a step is a part of an answer.",
            lambda: plot.timeline(sample),
        )
    if metric in table.columns and table[metric].notna().any():
        if comparison is not None:
            yield (
                f"{capital(words)} by condition",
                "Every reply is a dot; the bar is the 95 % interval of the median.",
                lambda: plot.compare(table, by=by, metric=metric, comparison=comparison),
            )
        if len(table) > len(conditions(table, by)):
            yield (
                f"Distribution of the {words}",
                "The share of replies at or below each value: a step for each reply, nothing is smoothed.",
                lambda: plot.ecdf(table, metric, by=by),
            )
    yield from _of_load(material, metric)
    if not sample:
        return
    some = _some(len(sample), material.seen.recordings)
    yield (
        "Gaps between parts of the answers",
        f"How long a reader waits between two parts of an answer.{some}",
        lambda: plot.gaps(sample),
    )
    rows = sample[:: -(-len(sample) // _MOST_ROWS)]
    yield (
        "Where the time of each reply went",
        f"A row per reply: waiting is low, content is high.{_some(len(rows), material.seen.recordings)}",
        lambda: plot.waterfall(rows),
    )
    typical = _typical(sample, metric)
    if typical is not None:
        yield (
            "A typical reply",
            f"Of {'those' if some else 'all'}, the complete one nearest to their median of the {words}.",
            lambda: plot.anatomy(typical),
        )


def _of_load(material: Material, metric: str) -> Iterator[Wanted]:
    result, table = material.result, material.table
    if result is None:
        return
    x = "users" if result.plan.loop == "closed" else "starts a second"
    if "level" in table.columns and table["level"].nunique() > 1:
        if hasattr(result, "plot") and not any(stage.first != stage.last for stage in result.plan.stages):
            yield (
                "What more load brings",
                "Complete replies a second by the load that was asked for; the knee is the capacity.",
                lambda: result.plot(of="requests_per_s"),
            )
        yield (
            "What load does",
            "Replies by the load that was asked for, and the knee of their latency, if there is one.",
            lambda: plot.load(table.rename(columns={"level": x}), x=x, y=metric),
        )
    yield (
        "Second by second",
        "What was begun, what was under way and what came, over the time of the run.",
        lambda: plot.seconds(result),
    )


def _some(shown: int, of: int) -> str:
    return f" {shown:,} of {of:,} replies, by lot." if shown < of else ""


def _typical(sample: Sequence[Recording], metric: str) -> Recording | None:
    """The complete reply of the sample that is nearest to the middle of it."""
    from bedrock_nb.metrics import measure

    known = [(measure(one).get(metric), one) for one in sample if one.status == "complete"]
    values = sorted((value, place) for place, (value, _) in enumerate(known) if value is not None)
    return known[values[(len(values) - 1) // 2][1]][1] if values else None


# -- as SVG ------------------------------------------------------------------------------------------


def drawn(draw: Callable[[], Axes], ground: str) -> tuple[bytes, bool]:
    """The SVG of a picture for this ground, and whether there is more to it than two colours."""
    style, face, ink = _GROUNDS[ground]
    colours: dict[str, Any] = dict.fromkeys(
        ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor"), face
    )
    colours |= dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink
    )
    fixed = {"svg.hashsalt": "bedrock_nb", "svg.fonttype": "path", "font.family": ["DejaVu Sans"]}
    settings: Any = {**colours, **fixed}
    with plt.style.context(["default", style]), mpl.rc_context(settings):
        before = set(plt.get_fignums())
        try:
            figure = draw().get_figure(root=True)
            assert figure is not None  # Axes always have one; matplotlib's types do not know
            lines: list[Any] = figure.findobj(Line2D)
            for line in lines:
                if str(line.get_marker()).strip() not in ("", "None", "none"):
                    line.set_rasterized(len(line.get_xdata()) > _MOST_MARKERS)
            more = bool(figure.findobj(_is_more))
            out = io.BytesIO()
            figure.savefig(out, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": None})
        finally:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
    return _COORDINATES.sub(lambda found: _LONG.sub(rb"\1", found[0]), out.getvalue()), more


def _is_more(artist: Artist) -> bool:
    return bool(artist.get_rasterized()) or str(artist.get_gid()).startswith("tint")


def darkened(light: bytes) -> bytes:
    """The same picture for dark ground."""
    return _COLOURS.sub(lambda found: _DARK[found[0]], light)


def _uri(svg: bytes) -> Markup:
    return Markup(f"data:image/svg+xml;base64,{b64encode(svg).decode('ascii')}")
