"""A bar for those who wait: tqdm's, on the error stream or in a line below a notebook's cell.

Strategy: nothing is imported, and nothing shown, until a walk has taken so long that somebody may wonder.
In a notebook the bar is text and no widget: a saved notebook that is opened again has no model of a widget,
and says so in the place of the bar.
"""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

__all__ = ["PATIENCE_S", "is_seen", "opened", "shown"]

T = TypeVar("T")

#: A bar that nobody asked for appears when something has taken so long, seconds.
PATIENCE_S = 1.0
# Letters of a line in a notebook.
_WIDE = 100


def is_seen() -> bool:
    """Whether somebody would see a bar: on a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def opened(**options: Any) -> Any:
    """A bar of tqdm, whose options these are; below a notebook's cell it is gone when it is closed."""
    from tqdm import tqdm

    ipython = sys.modules.get("IPython")
    if ipython is not None and hasattr(ipython.get_ipython(), "kernel"):
        options |= {"file": _Line(), "ncols": _WIDE, "leave": False}
    return tqdm(**options)


class _Line(io.TextIOBase):
    """One line of a cell's output, which takes what a terminal's last line does; empty, it takes no room."""

    encoding = "utf-8"  # so that tqdm draws blocks

    def __init__(self) -> None:
        from IPython.display import display

        self._handle, self._text = display({"text/plain": ""}, raw=True, display_id=True), ""

    def write(self, text: str) -> int:
        last = text.rpartition("\r")[2].strip()
        if last != self._text:
            self._text = last
            self._handle.update({"text/plain": last}, raw=True)
        return len(text)


def shown(items: Sequence[T], progress: bool | None, what: str, unit: str = "file") -> Iterator[T]:
    """The items, one after another; by default a bar only on a terminal or in a notebook."""
    if progress is None:
        progress = None if is_seen() else False
    begin, bar = time.monotonic(), None
    try:
        for done, item in enumerate(items):
            if bar is not None:
                bar.update()
            elif progress or (progress is None and time.monotonic() - begin > PATIENCE_S):
                bar = opened(total=len(items), initial=done, desc=what, unit=unit, leave=False)
            yield item
    finally:
        if bar is not None:
            bar.close()
