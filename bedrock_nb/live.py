"""A reply painted in an output cell as it comes.

Strategy: `live` reads the reply, a painter shows it: the reader never waits for the screen. In a notebook
the painter is a thread that updates one display at most ten times a second, less often for long texts,
because a Jupyter server silently drops what comes faster than 1,000 messages a second, and because each
update sends the whole text again. At the end the final rendering is shown as an output of its own, and only
then is the live one blanked: nothing flickers, and a saved notebook holds the text once. That happens in
``finally``, so an interrupted cell keeps what came. In a terminal the text is printed as it comes.

HTML is made by `render` and nowhere else: what a model writes is never handed to IPython as Markdown, which
would run the HTML in it.
"""

from __future__ import annotations

import sys
import threading
import time
import uuid
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, TextIO, TypeVar, runtime_checkable

from IPython.core.getipython import get_ipython
from IPython.display import display, update_display

from bedrock_nb import render
from bedrock_nb.errors import RequestError
from bedrock_nb.events import Seam, TextDelta
from bedrock_nb.message import Message
from bedrock_nb.reply import Reply
from bedrock_nb.toolruns import ToolFinished, ToolStarted

__all__ = ["live"]

#: Least seconds between two updates, and most bytes a second on the way to the browser: a class of thirty
#: on one hub is then 1.2 MB/s. A message costs about ENVELOPE bytes besides its text.
INTERVAL_S = 0.1
BYTES_PER_S = 40_000
ENVELOPE = 700
#: Most of a core's time that rendering may take: it shares the interpreter with the reader's clock.
RENDER_SHARE = 0.2

#: Where to find what came of a reply that was interrupted, and of a turn.
_KEPT = "What came is kept: bedrock_nb.recordings[-1], and bedrock_nb.resume(client, …) goes on."
_KEPT_OF_TURN = "What came is in the conversation: rerun() asks again, stream('…') goes on from there."

_BLANK = {"text/html": "", "text/plain": ""}


@runtime_checkable
class Showable(Protocol):
    """A `Reply`, or a conversation's `Turn`."""

    @property
    def snapshot(self) -> Message: ...
    @property
    def status(self) -> str: ...
    def __iter__(self) -> Iterator[Any]: ...
    def drain(self) -> Any: ...


Shown = TypeVar("Shown", bound=Showable)


def live(reply: Shown) -> Shown:
    """Show a reply in the output cell while it arrives; in a terminal, print it.

    Parameters
    ----------
    reply : Reply or Turn
        From `stream`, or from a conversation's. One that is whole already is shown at once.

    Returns
    -------
    Reply or Turn
        The same, read to its end.

    Raises
    ------
    StreamError
        The reply failed; what came stays on the screen, and in ``reply.snapshot``.
    LoopLimitError
        A limit ended the turn; the same holds.
    KeyboardInterrupt
        The cell was interrupted; the same holds. The reply is cancelled, also one in the background.
    """
    if not isinstance(reply, Showable):
        talks = isinstance(reply, Message) or (hasattr(reply, "stream") and hasattr(reply, "messages"))
        wanted = "chat.stream('…')" if talks else "nb.stream(client, prompt)"
        raise RequestError(
            f"live() shows a Reply or a Turn; this is a {type(reply).__name__}.",
            remedy=f"Write nb.live({wanted}).",
        )
    if isinstance(reply, Reply) and not reply.recording.keeps:
        raise RequestError(
            "This reply is not kept (record=False), so there is nothing to show.",
            remedy="Print its text_stream, or leave record=False out.",
        )
    in_notebook = hasattr(get_ipython(), "kernel")
    try:
        with _Cell(reply) if in_notebook else _Terminal(reply, sys.stdout) as painter:
            for event in reply:
                painter.see(event)
    except KeyboardInterrupt as stop:  # `reply = nb.live(…)` has given it no name
        stop.add_note(_KEPT if hasattr(reply, "recording") else _KEPT_OF_TURN)
        raise
    return reply


class _Painter(Protocol):
    def __enter__(self) -> _Painter: ...
    def see(self, event: Any) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None: ...


class _Terminal:
    """Visible text as it comes; control characters made harmless."""

    def __init__(self, reply: Showable, out: TextIO) -> None:
        self.reply, self.out = reply, out
        self.held = ""  # half of a pair (a CR, a surrogate) whose other half may come in the next delta

    def __enter__(self) -> _Terminal:
        return self

    def see(self, event: Any) -> None:
        begin = time.perf_counter()
        if isinstance(event, TextDelta):
            text = self.held + event.text
            self.held = text[-1:] if text[-1:] == "\r" or "\ud800" <= text[-1:] <= "\udbff" else ""
            self.out.write(render.printable(text.removesuffix(self.held)))
            self.out.flush()
        elif isinstance(event, Seam) and event.mode == "restart":  # what was printed is no part of it
            self.out.write("\n\n[asked again from the start]\n\n")
        elif isinstance(event, ToolStarted | ToolFinished):
            call = Message("assistant", (event.call,))
            if isinstance(event, ToolStarted):
                said = render.text(call)
            else:
                said = render.text(Message("user", (event.result,)), before=(call,))
            self.out.write(f"\n{said}\n\n")
            self.out.flush()
        else:
            return
        _took(self.reply, time.perf_counter() - begin)

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        begin = time.perf_counter()
        self.out.write(render.printable(self.held) + "\n")
        self.out.flush()
        _took(self.reply, time.perf_counter() - begin)


class _Cell:
    """One display in the output cell, repainted by a thread until the reply is read."""

    def __init__(self, reply: Showable) -> None:
        self.reply = reply
        self.display_id = uuid.uuid4().hex
        self.over = threading.Event()
        self.seen = 0  # events that the reader has passed on
        self.thread = threading.Thread(target=self._repaint, name="bedrock_nb.live", daemon=True)

    def __enter__(self) -> _Cell:
        display(_BLANK, raw=True, display_id=self.display_id)
        self.thread.start()
        return self

    def see(self, event: Any) -> None:
        self.seen += 1

    def _repaint(self) -> None:
        shown, wait = 0, INTERVAL_S
        while not self.over.wait(wait):
            if self.seen == shown:
                continue
            shown = self.seen
            begin = time.perf_counter()
            html = render.html(self.reply.snapshot, live=True)
            took = time.perf_counter() - begin
            # No text/plain: it would double the traffic, and only the final rendering is kept.
            update_display({"text/html": html, "text/plain": ""}, raw=True, display_id=self.display_id)
            _took(self.reply, time.perf_counter() - begin)
            wait = max(INTERVAL_S, (len(html.encode()) + ENVELOPE) / BYTES_PER_S, took / RENDER_SHARE)

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.over.set()
        self.thread.join()
        begin = time.perf_counter()
        message = self.reply.snapshot
        display(_final(message, self.reply.status), raw=True)
        update_display(_BLANK, raw=True, display_id=self.display_id)
        _took(self.reply, time.perf_counter() - begin)


def _took(shown: Any, seconds: float) -> None:
    """Add to what its painting took, in the recording that is growing: of a turn that of its latest round."""
    recording = getattr(shown, "recording", None) or next(reversed(getattr(shown, "recordings", [])), None)
    if recording is not None:
        recording.spent["display_s"] = recording.spent.get("display_s", 0.0) + seconds


def _final(message: Message, status: str) -> dict[str, str]:
    """The whole message in both forms; a note says so where it is not whole."""
    html, text = render.html(message), render.text(message)
    if status != "complete":
        note = f"This reply is not whole: {status}."
        html, text = html + render.card("Not whole", {"status": status}), f"{text}\n{note}"
    return {"text/html": html, "text/plain": text}
