"""A reply printed as it comes: in a terminal, in a script, into a file.

Strategy: what was printed cannot be taken back, so each event is printed when it comes, and what is no
visible text stands apart under a title in brackets. Control characters of a model are made harmless; those
of ours, which dim reasoning and the timing line, are for terminals only and never in a file.
"""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import Any, TextIO

from bedrock_nb import render
from bedrock_nb.events import ReasoningDelta, Seam, TextDelta
from bedrock_nb.live.lane import Lane
from bedrock_nb.message import Message
from bedrock_nb.toolruns import ToolFinished, ToolStarted

__all__ = ["Terminal"]

#: SGR 2 is faint, 22 is neither faint nor bold (ECMA-48, 8.3.117).
_FAINT, _NORMAL = "\x1b[2m", "\x1b[22m"


class Terminal:
    """Prints a reply that somebody reads, and what became of it."""

    def __init__(self, lane: Lane, out: TextIO) -> None:
        self.lane, self.out = lane, out
        self.faint, self.normal = (_FAINT, _NORMAL) if _takes_colour(out) else ("", "")
        self.thinks = False  # reasoning was printed last
        self.begun = False  # something was printed
        self.held = ""  # half of a pair whose other half may come in the next delta

    def __enter__(self) -> Terminal:
        if self.lane.head:
            self._print(f"--- {render.visible(self.lane.head)} ---\n")
            self.begun = False
        return self

    def see(self, event: Any) -> None:
        """Print what an event brings to be seen."""
        begin = time.perf_counter()
        match event:
            case TextDelta(_, text) if text:
                self._answer()
                self._piece(text)
            case ReasoningDelta(_, text) if text:
                self._think()
                self._piece(text)
            case Seam(mode="restart"):  # what was printed is no part of it
                self._answer()
                self._print("\n\n[asked again from the start]\n\n")
            case ToolStarted():
                self._apart(render.text(Message("assistant", (event.call,))))
            case ToolFinished():
                call = Message("assistant", (event.call,))
                self._apart(render.text(Message("user", (event.result,)), before=(call,)))
            case _:
                return
        self.lane.took(time.perf_counter() - begin)

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        begin = time.perf_counter()
        self._release()
        self._print(f"{self.normal if self.thinks else ''}\n")
        if kind is None and (ending := self.lane.ending):  # an interrupt speaks for itself
            self._print(f"{ending}\n")
        if (timed := self.lane.timing) is not None:
            plain = timed.words.replace(" · ", ", ").replace("≈", "about")
            self._print(
                f"{self.faint}{timed.line if _writes(self.out, timed.line) else plain}{self.normal}\n"
            )
        self.lane.took(time.perf_counter() - begin)

    def _think(self) -> None:
        """From now on it is reasoning that is printed."""
        if not self.thinks:
            self._release()
            self._print(f"{chr(10) * 2 * self.begun}{self.faint}[Reasoning]\n")
            self.thinks = True

    def _answer(self) -> None:
        """From now on it is not."""
        if self.thinks:
            self._release()
            self._print(f"{self.normal}\n\n")
            self.thinks = False

    def _piece(self, text: str) -> None:
        text, self.held = render.parted(self.held + text)
        self._print(render.printable(text))

    def _release(self) -> None:
        """Print what was held back: its other half will not come."""
        if self.held:
            self._print(render.printable(self.held))
            self.held = ""

    def _apart(self, text: str) -> None:
        self._answer()
        self._print(f"\n{text}\n\n")

    def _print(self, text: str) -> None:
        if not _writes(self.out, text):
            text = text.encode(self.out.encoding, "replace").decode(self.out.encoding)
        self.out.write(text)
        self.out.flush()
        self.begun = True


def _takes_colour(out: TextIO) -> bool:
    """Whether a terminal is there that is to be sent more than text; see no-color.org."""
    asked_not = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return bool(out.isatty()) and not asked_not


def _writes(out: TextIO, text: str) -> bool:
    """Whether the stream has all these characters: a Windows console, or LANG=C, may not."""
    try:
        text.encode(getattr(out, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
