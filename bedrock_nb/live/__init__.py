"""Replies shown while they come: painted in an output cell, printed in a terminal.

Strategy: `live` reads, a painter shows, and the reader never waits for the screen. One reply is read by the
caller's own thread; of several each has a thread that reads it, so that all are on one clock. `cell` paints
in a notebook, one reply or columns side by side; `terminal` prints, one after the other. Both paint what a
`lane.Lane` says is to be seen of a reply. What fails is shown as a card beside what came of it, and raised
when everything is on the screen.
"""

from __future__ import annotations

import contextlib
import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar, overload

from IPython.core.getipython import get_ipython

from bedrock_nb.errors import RequestError
from bedrock_nb.live.cell import Cell
from bedrock_nb.live.lane import Lane, Showable, heads
from bedrock_nb.live.terminal import Terminal
from bedrock_nb.message import Message
from bedrock_nb.render import printable
from bedrock_nb.reply import Reply

__all__ = ["MOST", "cancel", "live"]

#: So many replies are shown side by side at most: more columns nobody can read.
MOST = 6

#: Where to find what came of a reply that was interrupted, and of a turn.
_KEPT = "What came is kept: bedrock_nb.recordings[-1], and bedrock_nb.resume(client, …) goes on."
_KEPT_OF_TURN = "What came is in the conversation: rerun() asks again, stream('…') goes on from there."
_KEPT_OF_SEVERAL = "All were cancelled; what came of them is in bedrock_nb.recordings."

#: So long an interrupt waits for threads whose connection was closed.
_GRACE_S = 2.0

Shown = TypeVar("Shown", bound=Showable)


@overload
def live(reply: Shown, *, timing: bool = True) -> Shown: ...
@overload
def live(reply: Shown, other: Shown, /, *others: Shown, timing: bool = True) -> tuple[Shown, ...]: ...
def live(reply: Any, *others: Any, timing: bool = True) -> Any:
    """Show a reply in the output cell while it arrives; in a terminal, print it.

    Several replies stand side by side, each under its model or label, and are read at the same time from now
    on. Replies that were asked for earlier, one after the other, have waited by then: for true times ask
    with ``background=True``, as `bedrock_nb.race` does.

    Parameters
    ----------
    reply : Reply or Turn
        From `stream`, or from a conversation's. One that is whole already is shown at once.
    *others : Reply or Turn
        More of them, six in all at most. In a terminal one is printed after the other.
    timing : bool
        Whether a line under each tells its times (see `timing.Timing`). In a notebook the output's metadata
        has them too, under ``bedrock_nb``; there model and status always are.

    Returns
    -------
    Reply or Turn, or tuple of them
        The same, read to their ends.

    Raises
    ------
    StreamError
        A reply failed; what came stays on the screen with a card that says what to do, and in
        ``reply.snapshot``. Of several the others go on; then the first of them to stand on the left that
        failed is raised, and its notes tell of others.
    LoopLimitError
        A limit ended the turn; the same holds.
    KeyboardInterrupt
        The cell was interrupted; the same holds. All are cancelled, also those in the background.
    """
    replies = (reply, *others)
    _check(replies)
    lanes = [Lane(reply, timed=timing)]
    if others:
        lanes = [Lane(one, head, timed=timing) for one, head in zip(replies, heads(replies), strict=True)]
    show = _paint if hasattr(get_ipython(), "kernel") else _print
    try:
        show(lanes)
    except KeyboardInterrupt as stop:  # `reply = nb.live(…)` has given it no name
        one = _KEPT if hasattr(reply, "recording") else _KEPT_OF_TURN
        stop.add_note(_KEPT_OF_SEVERAL if others else one)
        raise
    _raise_first(lanes)
    return replies if others else reply


def _check(replies: Sequence[Any]) -> None:
    """Refuse what cannot be shown."""
    if len(replies) > MOST:
        raise RequestError(
            f"live() shows up to {MOST} replies side by side; these are {len(replies)}.",
            remedy="bedrock_nb.summary compares any number of them.",
        )
    for reply in replies:
        if isinstance(reply, Showable):
            continue
        talks = isinstance(reply, Message) or (hasattr(reply, "stream") and hasattr(reply, "messages"))
        wanted = "chat.stream('…')" if talks else "nb.stream(client, prompt)"
        if isinstance(reply, Sequence) and reply and all(isinstance(one, Showable) for one in reply):
            wanted = "*replies"
        raise RequestError(
            f"live() shows a Reply or a Turn; this is a {type(reply).__name__}.",
            remedy=f"Write nb.live({wanted}).",
        )
    if any(isinstance(reply, Reply) and not reply.recording.keeps for reply in replies):
        raise RequestError(
            "This reply is not kept (record=False), so there is nothing to show.",
            remedy="Print its text_stream, or leave record=False out.",
        )


def _paint(lanes: Sequence[Lane]) -> None:
    """In a notebook."""
    readers = [lane.read for lane in lanes] if len(lanes) > 1 else []
    # Closed last: it shows what came of replies that were cancelled.
    with contextlib.closing(Cell(lanes)) as cell, _reading(lanes, *readers) as threads:
        cell.open()
        if not threads:
            lanes[0].read()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)  # on Windows nothing interrupts a wait without an end


def _print(lanes: Sequence[Lane]) -> None:
    """In a terminal: while one is printed the next are read, to be printed from memory."""
    out = sys.stdout or io.StringIO()  # there may be none, as in a program without a console
    with _reading(lanes, *(partial(_drain, lane.reply) for lane in lanes[1:])):
        for number, lane in enumerate(lanes):
            out.write("\n" * (number > 0))
            with Terminal(lane, out) as painter:
                for event in lane.events():
                    painter.see(event)


def cancel(replies: Iterable[Showable]) -> None:
    """Stop them all; a second interrupt, of someone impatient, spares none of them."""
    with contextlib.ExitStack() as ends:
        for reply in replies:
            ends.callback(reply.cancel)


def _drain(reply: Showable) -> None:
    with contextlib.suppress(Exception):  # the view that is printed tells of it
        reply.drain()


@contextlib.contextmanager
def _reading(lanes: Sequence[Lane], *readers: Callable[[], None]) -> Iterator[list[threading.Thread]]:
    """Have these called in threads; an interrupt cancels all replies, and the threads end by themselves."""
    threads = [threading.Thread(target=read, name="bedrock_nb.live", daemon=True) for read in readers]
    try:
        for thread in threads:
            thread.start()
        yield threads
    except KeyboardInterrupt:
        try:
            cancel(lane.reply for lane in lanes)
            for thread in threads:
                if thread.is_alive():  # the interrupt may have come before it began
                    thread.join(_GRACE_S)
        finally:
            for lane in lanes:
                lane.over = True
        raise


def _raise_first(lanes: Sequence[Lane]) -> None:
    """Raise what ended one of them badly; a note says what ended others."""
    failed = [(lane.head, lane.error) for lane in lanes if lane.error is not None]
    for head, error in failed[1:]:
        note = printable(f"{head} failed, too: {error}")
        if note not in getattr(failed[0][1], "__notes__", ()):  # shown again, it fails again
            failed[0][1].add_note(note)
    for _, error in failed[:1]:
        raise error
