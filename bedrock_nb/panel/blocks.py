"""A conversation as the blocks of a document: while it streams step by step, when it is over once more.

Strategy: an exchange on its way is folded from the events of its turn, each looked at once (`arriving`). When
it is over its blocks are made from the history, which is the truth, and the document tells what differs: as
both are made of `parts`, that is nearly nothing. An exchange that was loaded, or is of a fork, begins there.

Not here: when to look, and who is told (`painter`).
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from bedrock_nb import render
from bedrock_nb.conversation import Conversation
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.conversation.turn import Place, Turn
from bedrock_nb.errors import RequestError
from bedrock_nb.message import Block, Message, ToolResultBlock, ToolUseBlock
from bedrock_nb.panel import parts
from bedrock_nb.panel.arriving import Arriving
from bedrock_nb.panel.document import Document
from bedrock_nb.panel.parts import MATH, Call, View
from bedrock_nb.recording import Recording
from bedrock_nb.timing import Meter, timing
from bedrock_nb.toolruns import ToolRun

__all__ = ["Follower", "settled"]


class Follower:
    """Keeps a document in line with a conversation. One thread at a time looks.

    Parameters
    ----------
    document : Document
    images : collection of str
        Hosts that images of the answers may be fetched from; see `render.markdown`.
    clock : function
        Seconds.
    """

    def __init__(
        self,
        document: Document,
        *,
        images: Collection[str] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._document, self._images, self._clock = document, frozenset(images), clock
        self._shown: list[_Shown] = []
        document.keep(())  # what somebody else showed in it goes

    def look(self, conversation: Conversation, asking: Mapping[str, ToolUseBlock] | None = None) -> bool:
        """Bring the document in line with the conversation; waits for nothing, and drives nothing.

        Parameters
        ----------
        conversation : Conversation
            Another one than the last time is shown in its place.
        asking : mapping of str to ToolUseBlock
            Each call that waits for approval, by the key by which it is answered.

        Returns
        -------
        bool
            Whether a turn is growing.
        """
        begin, turn = self._clock(), conversation.turn
        exchanges = list(conversation.exchanges)
        self._keep(exchanges)
        growing = False
        for number, shown in enumerate(self._shown):
            last = number == len(exchanges) - 1
            if shown.over:
                shown.is_last(last)
            elif shown.exchange.status != "streaming":  # it is set last: all of it is in the history
                shown.settle()
                shown.is_last(last)
            else:
                growing = True
                if turn is not None and turn.exchange is shown.exchange and turn.recordings:
                    shown.grow(turn, asking or {})
                    turn.recordings[-1].spend("display_s", self._clock() - begin)
        return growing

    def number(self, turn: int, conversation: Conversation) -> int:
        """Which exchange of the conversation a turn of the document is, from 0; from any thread.

        Raises
        ------
        RequestError
            There is no such turn, or not any more, whether or not that was already seen.
        """
        shown = (each for each in self._shown if each.id == turn and type(turn) is int)
        meant = next((each.exchange for each in shown), None)
        for number, exchange in enumerate(tuple(conversation.exchanges)):
            if exchange is meant:
                return number
        raise RequestError(
            f"There is no turn {turn!r:.60} in this panel.", remedy="It may have been taken back: look again."
        )

    def _keep(self, exchanges: Sequence[Exchange]) -> None:
        """A turn of the document for each exchange, matched by identity, in their order."""
        known = {id(shown.exchange): shown for shown in self._shown}
        kept = [known[id(exchange)].id for exchange in exchanges if id(exchange) in known]
        if len(kept) == len(exchanges) == len(self._shown):
            return
        self._document.keep(kept)
        before: Sequence[Message] = ()
        now: list[_Shown] = []
        for exchange in exchanges:
            shown = known.get(id(exchange)) or _Shown(self._document, exchange, before, self._images)
            now.append(shown)
            before = exchange.messages
        self._shown = now  # at once: others look up numbers in it
        self._document.keep(shown.id for shown in now)


class _Shown:
    """An exchange as a turn of the document."""

    def __init__(
        self, document: Document, exchange: Exchange, before: Sequence[Message], images: frozenset[str]
    ) -> None:
        self.exchange, self.over, self._last = exchange, False, False
        self._document, self._images = document, images
        self.id = document.add()
        prompt = exchange.prompt
        html = render.html(prompt, before=tuple(before), math=MATH, images=images)
        document.set_turn(self.id, prompt={"html": html, "text": render.printable(prompt.text)})
        for at, view in enumerate(parts.left_out(exchange)):
            parts.put(document, self.id, at, view)
        self._arriving: Arriving | None = None
        self._place: Place = (0, 0, 0)
        # Not the turn, which ends when nobody else holds it.
        self._recordings: list[Recording] = []
        self._meter = Meter(lambda: self._recordings)

    def grow(self, turn: Turn, asking: Mapping[str, ToolUseBlock]) -> None:
        """Take in what came of its turn."""
        if self._arriving is None:
            self._arriving = Arriving(self._document, self.id, self._images)
        self._recordings = turn.recordings
        events, self._place = turn.since(self._place)
        self._arriving.take(events, asking)
        if events:
            self._document.live(self.id, *self._meter.read())

    def settle(self) -> None:
        """It is over: what stands in the history is what is shown."""
        recordings = list(self.exchange.recordings)
        self._arriving, self._recordings = None, []
        document, at = self._document, 0
        for at, view in enumerate(settled(self.exchange, self._images), 1):
            parts.put(document, self.id, at - 1, view)
        document.cut_blocks(self.id, at)
        strip = timing(recordings).to_json() if recordings and self.exchange.messages else None
        document.set_turn(self.id, status=self.exchange.status, strip=strip)
        self.over = True

    def is_last(self, last: bool) -> None:
        """What can be done about an exchange that is over can only be done about the last."""
        if last != self._last:
            self._last = last
            self._document.set_turn(self.id, can=parts.can(self.exchange) if last else [])


# -- an exchange that is over ----------------------------------------------------------------------


def settled(exchange: Exchange, images: Collection[str] = ()) -> Iterator[View]:
    """The blocks of an exchange that is over, as the history tells it."""
    yield from parts.left_out(exchange)
    runs: dict[str, deque[ToolRun]] = defaultdict(deque)  # a later round may use an id again
    for run in exchange.tools:
        runs[run.id].append(run)
    rows: list[tuple[Block, Call]] = []
    first = 0  # of the newest answer
    for message in exchange.messages:
        if message.role != "user":
            first = len(rows)
        for block in message.content:
            place = _call_of(block, rows, first)
            if place is None or not isinstance(block, ToolResultBlock):
                rows.append((block, Call()))
                continue
            run_of = runs[block.id] if message.role == "user" else None
            rows[place] = rows[place][0], Call(run=run_of.popleft() if run_of else None, result=block)
    for block, call in rows:
        yield from parts.views(block, call, images=images)
    yield from parts.ended(exchange)


def _call_of(block: Block, rows: Sequence[tuple[Block, Call]], first: int) -> int | None:
    """The place of the call whose result a block is: the first of that id without one."""
    if isinstance(block, ToolResultBlock):
        for place in range(first, len(rows)):
            asked, call = rows[place]
            if isinstance(asked, ToolUseBlock) and asked.id == block.id and call.result is None:
                return place
    return None
