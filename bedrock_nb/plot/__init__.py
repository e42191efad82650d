"""Recordings -> Axes: pictures that teach what streaming is, and show what was measured.

Strategy: what a picture says and how it looks are kept apart. Every plot takes ``ax=``, returns the Axes,
and leaves rcParams, figure sizes and ``plt.show`` to its caller. matplotlib is imported in this package only.
A new plot is a module here, and one in `data` if there is something to work out. The words of a picture stand
inside of its axes, above the data: a line of your own over the data is one of ``ax.vlines``, with both ends,
for one of ``ax.axvline`` runs through the words.

Pictures of streams:

- `stream`: anatomy, one reply from the request to the metadata
- `progress`: timeline, how content grows
- `pace`: throughput, and reading_speed against a reader
- `gaps`: gaps between content deltas, and bursts
- `waterfall`: many replies, a row each
- `rounds`: tool_rounds, one turn with its tools
- `guess`: a guess against what came

Pictures of tables:

- `spread`: ecdf, the whole distribution
- `contrast`: compare, conditions with intervals and the verdict
- `load`: a number against load, and its knee
- `grid`: heatmap, a number over two others
- `seconds`: a load test over time

What all share:

- `canvas`: where to draw, colours, numbers in words
- `lanes`: the room above the data, where words go
- `labels`, `captions`: where the words of moments stand; how they are drawn
- `naming`: names of replies, and sentences on what they lack
- `conditions`: a table's numbers, and its rows by condition
- `units`: numbers of a column with the fitting unit
- `data`: what there is to see, as plain data
"""

from __future__ import annotations

from bedrock_nb.plot.contrast import compare
from bedrock_nb.plot.gaps import gaps
from bedrock_nb.plot.grid import heatmap
from bedrock_nb.plot.guess import guess
from bedrock_nb.plot.load import load
from bedrock_nb.plot.pace import reading_speed, throughput
from bedrock_nb.plot.progress import timeline
from bedrock_nb.plot.rounds import tool_rounds
from bedrock_nb.plot.seconds import seconds
from bedrock_nb.plot.spread import ecdf
from bedrock_nb.plot.stream import anatomy
from bedrock_nb.plot.waterfall import waterfall

__all__ = [
    "anatomy",
    "compare",
    "ecdf",
    "gaps",
    "guess",
    "heatmap",
    "load",
    "reading_speed",
    "seconds",
    "throughput",
    "timeline",
    "tool_rounds",
    "waterfall",
]


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
