"""A slider through a recording: the text so far, and a cursor over the anatomy plot.

Strategy: a recording is sent to the browser once, as a `film` and a `picture`, and from then on the browser
does everything: it scrubs and plays without the kernel. Only where the slider stands goes back, a few times a
second at most, so that Python can ask what was there at that moment, or move it. The page is built from text
nodes; nothing that a model wrote is ever read as markup.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import Any

import anywidget
import traitlets

from bedrock_nb.assembly import fold
from bedrock_nb.errors import RequestError
from bedrock_nb.message import Message
from bedrock_nb.plot.canvas import one
from bedrock_nb.slider.film import film, moments_of
from bedrock_nb.slider.picture import picture

__all__ = ["ReplaySlider"]

_HERE = Path(__file__).parent


class ReplaySlider(anywidget.AnyWidget):
    """Scrub through a recording, or play it, beside its anatomy plot.

    Drag the slider, or play at ×0.1, ×1 or ×10; the arrow buttons go from event to event. It works without
    the kernel, too. In a copy without widgets (nbconvert, GitHub) the picture alone is shown.

    Parameters
    ----------
    source : Recording, Reply or path
        One recording, of any status, as it is now.
    t : float
        Where to begin, seconds since the request; by default at the end, so that all is there.

    Attributes
    ----------
    t : float
        Where the slider stands, seconds since the request. May be set, and observed.
    recording : Recording
        What it shows.

    Raises
    ------
    RequestError
        Not exactly one recording, or ``t`` is no time.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> slider = nb.ReplaySlider(reply)
    >>> slider.t = 0.0
    >>> slider.message.text
    ''
    """

    _esm = _HERE / "slider.js"
    _css = _HERE / "slider.css"

    t = traitlets.Float(0.0).tag(sync=True)
    _film = traitlets.Dict().tag(sync=True)
    _picture = traitlets.Dict().tag(sync=True)
    _light = traitlets.Bytes().tag(sync=True)
    _dark = traitlets.Bytes().tag(sync=True)

    def __init__(self, source: Any, *, t: float | None = None) -> None:
        self.recording = one(source)
        shown = film(self.recording)
        place, drawn = picture(self.recording)
        self._end = max(shown["t"])
        super().__init__(
            t=self._end if t is None else t,
            _film=shown,
            _picture=place,
            _light=drawn["light"],
            _dark=drawn["dark"],
        )

    @traitlets.validate("t")
    def _within(self, proposal: dict[str, Any]) -> float:
        t = float(proposal["value"])
        if t != t:
            raise RequestError("t is not a number; seconds since the request are wanted.")
        return min(max(t, 0.0), self._end)

    @property
    def message(self) -> Message:
        """The message as it was at ``t``, open blocks included."""
        there = bisect_right(moments_of(self.recording), self.t + 5e-7)  # the browser knows microseconds
        return fold(self.recording.event(i) for i in range(there))

    def __repr__(self) -> str:
        return f"<ReplaySlider of {self.recording!r}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """The widget, and for those who cannot show it the picture."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "image/png": self._light}, metadata
