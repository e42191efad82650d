"""Recordings -> Axes: pictures that teach what streaming is, and show what was measured.

Strategy: what a picture says and how it looks are kept apart. Every plot takes ``ax=``, returns the Axes,
and leaves rcParams, figure sizes and ``plt.show`` to its caller. `canvas` has what all plots share, `parts`
what there is to see in one stream, `lanes` and `labels` where words stand, `stream` the pictures of one
stream; `loop` has what there is to see in a turn of several rounds, `rounds` draws it. matplotlib is imported
in this package only.
"""

from __future__ import annotations

from bedrock_nb.plot.rounds import tool_rounds
from bedrock_nb.plot.stream import anatomy

__all__ = ["anatomy", "tool_rounds"]
