"""A bar for those who wait: tqdm's, on the error stream.

Strategy: nothing is imported, and nothing shown, until a walk has taken so long that somebody may wonder.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ["shown"]

T = TypeVar("T")

# A bar appears when a walk has taken so long.
_PATIENCE_S = 1.0


def shown(items: Sequence[T], progress: bool | None, what: str) -> Iterator[T]:
    """The items, one after another; by default a bar only on a terminal or in a notebook."""
    if progress is None:
        progress = None if sys.stderr.isatty() or "ipykernel" in sys.modules else False
    begin, bar = time.monotonic(), None
    try:
        for done, item in enumerate(items):
            if bar is not None:
                bar.update()
            elif progress or (progress is None and time.monotonic() - begin > _PATIENCE_S):
                from tqdm.auto import tqdm

                bar = tqdm(total=len(items), initial=done, desc=what, unit="file", leave=False)
            yield item
    finally:
        if bar is not None:
            bar.close()
