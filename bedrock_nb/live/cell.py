"""Replies painted in an output cell: one, or several side by side.

Strategy: a thread updates one display at most ten times a second, less often for long texts, because a
Jupyter server silently drops what comes faster than 1,000 messages a second, and because each update sends
the whole text again; several replies share that one display and its limit. At the end the final rendering is
shown as an output of its own, and only then is the live one blanked: nothing flickers, and a saved notebook
holds the text once. That happens also in a cell that is interrupted, so it keeps what came.

HTML is made by `render` and nowhere else: what a model writes is never handed to IPython as Markdown, which
would run the HTML in it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

from IPython.display import display, update_display

from bedrock_nb import render
from bedrock_nb.live.lane import Lane

__all__ = ["Cell"]

#: Least seconds between two updates, and most bytes a second on the way to the browser: a class of thirty
#: on one hub is then 1.2 MB/s. A message costs about ENVELOPE bytes besides its text.
INTERVAL_S = 0.1
BYTES_PER_S = 40_000
ENVELOPE = 700
#: Most of a core's time that rendering may take: it shares the interpreter with the reader's clock.
RENDER_SHARE = 0.2

_BLANK = {"text/html": "", "text/plain": ""}


class Cell:
    """One display in the output cell, repainted by a thread until all lanes are read; open it, close it."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self.lanes = lanes
        self.display_id = uuid.uuid4().hex
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._repaint, name="bedrock_nb.live", daemon=True)

    def open(self) -> None:
        """Show it, still empty, and begin to paint."""
        display(_BLANK, raw=True, display_id=self.display_id)
        self.thread.start()

    def _repaint(self) -> None:
        alone, wait = len(self.lanes) == 1, INTERVAL_S
        shown = [(0, False)] if alone else []  # heads are painted before anything has come
        # A second interrupt may come before `close` has said so: all lanes are over then.
        while not (self.over.wait(wait) or all(lane.over for lane in self.lanes)):
            state = [lane.state for lane in self.lanes]
            if state == shown:
                continue
            shown = state
            begin = time.perf_counter()
            html = self._html()
            took = time.perf_counter() - begin
            # No text/plain: it would double the traffic, and only the final rendering is kept.
            update_display({"text/html": html, "text/plain": ""}, raw=True, display_id=self.display_id)
            self._took(begin)
            wait = max(INTERVAL_S, (len(html.encode()) + ENVELOPE) / BYTES_PER_S, took / RENDER_SHARE)

    def close(self) -> None:
        """Show what stays, and then take the live display away."""
        self.over.set()
        if self.thread.is_alive():  # else an interrupt came before it began
            self.thread.join()
        begin = time.perf_counter()
        display(self._final(), metadata={"bedrock_nb": self._facts()}, raw=True)
        update_display(_BLANK, raw=True, display_id=self.display_id)
        self._took(begin)

    def _html(self) -> str:
        if len(self.lanes) == 1:
            return self.lanes[0].html()
        return render.columns((lane.head, lane.html()) for lane in self.lanes)

    def _final(self) -> dict[str, str]:
        """What stays, in both forms."""
        if len(self.lanes) == 1:
            return {"text/html": self._html(), "text/plain": self.lanes[0].text()}
        texts = (f"--- {render.visible(lane.head)} ---\n{lane.text()}" for lane in self.lanes)
        return {"text/html": self._html(), "text/plain": "\n\n".join(texts)}

    def _facts(self) -> dict[str, Any]:
        """For programs that read the notebook: strict JSON."""
        if len(self.lanes) == 1:
            return self.lanes[0].facts()
        return {"replies": [{"head": lane.head, **lane.facts()} for lane in self.lanes]}

    def _took(self, begin: float) -> None:
        """Share among the lanes what painting them took."""
        for lane in self.lanes:
            lane.took((time.perf_counter() - begin) / len(self.lanes))
