"""What a panel shows, and how its pages are told of changes: the protocol of the panel.

Strategy: one `Document` is the truth, and pages are copies of it. A change is made here and noted as an *op*;
every 50 ms at most the ops since the last time leave as one message with a number. A page that is new, or
that missed a number, says ``hello`` and gets the whole document. Pieces of HTML are told once: a finished
piece is never sent again, and of the piece that grows only what is new at its end. All HTML here was made by
`render`; all other strings are shown as text. No widget state holds any of it.

Kernel to page, each a custom message of the widget (``n`` goes up by one with each message that has ops):

    {"n": 7, "ops": [op, …]}                         to every page
    {"n": 7, "for": view, "snap": State}             to one page: the whole document as it was after message 7
    {"for": view, "copy": text}                      what it asked to copy
    {"for": view, "file": name, "type": mime}        a download; its bytes are the message's first buffer
    {"for": view, "picture": turn, "alt": text}      a PNG, the first buffer
    {"for": view, "told": text, "back": bool}        what was wrong with what it asked, in plain words;
                                                     and whether the prompt was not sent, and comes back

State and its parts (JSON):

    State   {"turns": [Turn, …], "state": {…}}
    Turn    {"id": int, "prompt": {"html": str, "text": str}, "blocks": [Block, …], "status": str,
             "can": [str, …], "strip": Strip or null}
             status: streaming | complete | cancelled | incomplete | error | limited
             can: which buttons stand under it, of: retry, continue (others are always there)
    Block   {"kind": str, "title": str, "pieces": [html, …], "state": str, "ask": str or null}
             kind: text | reasoning | tool | sources | image | error | note; title is plain text
             state: "" | "growing" | of a tool: writing, asking, running, success, error, denied, …
             ask: the key of a call that waits for approval
             what stands where, by kind:
               text       pieces: blocks of Markdown, the last one may be growing
               reasoning  title "Reasoning"; pieces: the same
               tool       title: its name and, when it ran, how long ("look · 310 ms"); pieces: its arguments,
                          then its result. States on the way: writing, waiting (whole, not begun), asking,
                          running; at the end an outcome of `ToolRun`, or "" (nobody answered it here)
               sources    title "Sources"; one piece with a line for each
               image      one piece: the picture, or what it would be; none while it comes
               error      one piece: a card with a heading of its own
               note       one piece: what we say of the turn, or a block of any other kind
    Strip   {"ttft_s", "seconds", "chunks", "tokens", "estimated", "rate", "arrivals", "slice_s", "words"}
             as `timing.Timing` has them; null where not known
    state   {"busy": bool, "waiting": str (what is waited for, or ""), "model": str, "models": [str, …],
             "settings": {"system", "temperature", "top_p", "max_tokens": str}, "tools": [str, …],
             "branches": [str, …], "branch": int, "where": str (which service answers)}

Ops (lists; ``turn`` is an id, ``at`` the position of a block, ``i`` of a piece):

    ["turns", [id, …]]                      the order; a turn that is not named goes, a new one is empty
    ["turn", turn, {…}]                     members of a Turn but its blocks, to be set
    ["block", turn, at, {…}]                members of a Block but its pieces, to be set; at == length adds it
    ["blocks", turn, n]                     only the first n blocks stay
    ["piece", turn, at, i, html]            a piece, whole; i == length adds one
    ["grow", turn, at, i, keep, html]       a piece keeps its first ``keep`` UTF-16 units, then goes on so
    ["pieces", turn, at, n]                 only the first n pieces stay
    ["live", turn, t_s, chunks, tokens]     where the strip of a growing turn stands; t_s since its request
    ["state", {…}]                          members of the state, to be set
    ["say", text]                           for screen readers, once

Page to kernel; ``view`` is a text that the page made up for itself:

    {"do": "hello", "view": …}
    {"do": "ask", "text": str, "files": [{"name", "type"}, …]}   with the files' bytes as buffers
    {"do": "stop"} | {"do": "retry"} | {"do": "continue"} | {"do": "undo"} | {"do": "clear"}
    {"do": "edit", "turn": id, "text": str} | {"do": "rerun", "turn": id} | {"do": "fork", "turn": id}
    {"do": "branch", "branch": int} | {"do": "set", "settings": {…}, "model": str}
    {"do": "approve", "call": key, "yes": bool, "reason": str}
    {"do": "copy", "turn": id} | {"do": "export", "as": "markdown" | "html" | "recordings"}
    {"do": "picture", "turn": id, "dark": bool}
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import count
from typing import Any

__all__ = ["Document"]

_TURN: dict[str, Any] = {"prompt": {"html": "", "text": ""}, "status": "streaming", "can": [], "strip": None}
_BLOCK: dict[str, Any] = {"kind": "text", "title": "", "state": "", "ask": None}


class Document:
    """The turns that a panel shows, and the state around them. Safe to use from any thread."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self.state: dict[str, Any] = dict(state)
        self.turns: dict[int, dict[str, Any]] = {}  # in their order
        self.number = 0  # of the last message
        self.lock = threading.RLock()
        self._ids = count(1)
        self._ops: list[list[Any]] = []

    # -- changes -----------------------------------------------------------------------------------

    def add(self) -> int:
        """Add a turn, still empty; returns its id."""
        with self.lock:
            turn = next(self._ids)
            self.keep([*self.turns, turn])
            return turn

    def keep(self, turns: Iterable[int]) -> None:
        """Keep these turns, in this order; new ids begin empty."""
        with self.lock:
            order = list(turns)
            if order != list(self.turns):
                self.turns = {turn: self.turns.get(turn) or {**_TURN, "blocks": []} for turn in order}
                self._ops.append(["turns", order])

    def set_turn(self, turn: int, **members: Any) -> None:
        """Set members of a turn, where they differ."""
        with self.lock:
            if fresh := _fresh(self.turns[turn], members):
                self._ops.append(["turn", turn, fresh])

    def set_block(self, turn: int, at: int, **members: Any) -> None:
        """Set members of a block, where they differ; one past the last is added."""
        with self.lock:
            blocks = self.turns[turn]["blocks"]
            if at == len(blocks):
                blocks.append({**_BLOCK, **members, "pieces": []})
                self._ops.append(["block", turn, at, {**_BLOCK, **members}])
            elif fresh := _fresh(blocks[at], members):
                self._ops.append(["block", turn, at, fresh])

    def insert_block(self, turn: int, at: int, **members: Any) -> None:
        """Add a block before others, which are told again; at the end `set_block` does it."""
        with self.lock:
            later = self.turns[turn]["blocks"][at:]
            self.cut_blocks(turn, at)
            self.set_block(turn, at, **members)
            for place, block in enumerate(later, at + 1):
                has = block.pop("pieces")
                self.set_block(turn, place, **block)
                self.set_pieces(turn, place, has)

    def cut_blocks(self, turn: int, n: int) -> None:
        """Keep the first n blocks of a turn."""
        with self.lock:
            blocks = self.turns[turn]["blocks"]
            if n < len(blocks):
                del blocks[n:]
                self._ops.append(["blocks", turn, n])

    def set_pieces(self, turn: int, at: int, pieces: Sequence[str], begin: int = 0) -> None:
        """Let the pieces of a block from ``begin`` on be these, telling only what differs."""
        with self.lock:
            has = self.turns[turn]["blocks"][at]["pieces"]
            for i, html in enumerate(pieces, begin):
                if i == len(has):
                    has.append(html)
                    self._ops.append(["piece", turn, at, i, html])
                elif has[i] != html:
                    self._ops.append(_change(turn, at, i, has[i], html))
                    has[i] = html
            if begin + len(pieces) < len(has):
                del has[begin + len(pieces) :]
                self._ops.append(["pieces", turn, at, begin + len(pieces)])

    def live(self, turn: int, t_s: float, chunks: int, tokens: int) -> None:
        """Tell where the strip of a growing turn stands."""
        with self.lock:
            self._ops.append(["live", turn, round(t_s, 3), chunks, tokens])

    def set_state(self, **members: Any) -> None:
        """Set members of the state, where they differ."""
        with self.lock:
            if fresh := _fresh(self.state, members):
                self._ops.append(["state", fresh])

    def say(self, text: str) -> None:
        """Have something read aloud, once."""
        with self.lock:
            self._ops.append(["say", text])

    # -- messages ----------------------------------------------------------------------------------

    def take(self) -> dict[str, Any] | None:
        """The message with all changes since the last one; None if there are none."""
        with self.lock:
            if not self._ops:
                return None
            self.number += 1
            ops, self._ops = self._ops, []
            return {"n": self.number, "ops": ops}

    def snapshot(self, view: str) -> dict[str, Any]:
        """The message with the whole document, for one page; take and send what is left before it."""
        with self.lock:
            turns = [{"id": turn, **members} for turn, members in self.turns.items()]
            # A copy: it is sent when others may have gone on.
            return deepcopy({"n": self.number, "for": view, "snap": {"turns": turns, "state": self.state}})


def _fresh(has: dict[str, Any], members: Mapping[str, Any]) -> dict[str, Any]:
    """Set members where they differ; returns those that did."""
    fresh = {name: value for name, value in members.items() if name not in has or has[name] != value}
    has.update(fresh)
    return fresh


def _change(turn: int, at: int, i: int, old: str, new: str) -> list[Any]:
    """A piece as it has become: only what differs, if that is less."""
    keep = _common(old, new)
    if 2 * keep < len(new):
        return ["piece", turn, at, i, new]
    units = keep if new.isascii() else len(new[:keep].encode("utf-16-le", "surrogatepass")) // 2
    return ["grow", turn, at, i, units, new[keep:]]


def _common(first: str, second: str) -> int:
    """How many characters two texts have in common at their beginning: by halves, for slices compare fast."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
