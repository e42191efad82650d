"""Markdown that was made to keep a parser busy, parsed with bounded effort.

Strategy: markdown-it looks ahead from every ``[`` for where a link's text, address and title end, so a text
of many brackets has it read the rest again and again: seconds for 10,000 characters, and four times that for
twice as many. And it fills up the rows of a table, so one character may make a hundred cells. `bound` gives
a parser helpers that count. What is too much is no link and no table, or whatever ``give_up`` makes
of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from markdown_it import MarkdownIt, helpers
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_inline import StateInline

__all__ = ["LONGEST", "bound"]

#: Most characters of a link's address, and of its title.
LONGEST = 4_000
# Tokens that are looked at in a paragraph for the ends of texts of links: so many, and so many a character.
_STEPS, _STEPS_EACH = 2_000, 10
# Cells of a table: so many, and so many a character; who writes them out needs two characters for each.
_CELLS, _CELLS_EACH = 2_000, 2
# What ends an address for sure: one without angle brackets, one within.
_ENDS = (re.compile(r"(?<!\\)[\x00-\x20\x7f]"), re.compile(r"(?<!\\)[\n<>]"))
_COUNT = -1  # where a cache of places in a text keeps the count


def _no_link() -> None:
    """What looks like a link is text."""


def bound(parser: MarkdownIt, give_up: Callable[[], None] = _no_link) -> None:
    """Bound the effort of a parser.

    Parameters
    ----------
    parser : MarkdownIt
    give_up : function
        Called where the effort is at its end; may raise.
    """
    counting: Any = _Helpers(give_up)
    parser.helpers = counting
    parser.block.ruler.at("table", counting.table, {"alt": ["paragraph", "reference"]})


class _Helpers:
    """What a parser asks for the ends of the parts of a link, by the names that it calls; and its tables."""

    def __init__(self, give_up: Callable[[], None]) -> None:
        self._give_up = give_up

    def parseLinkLabel(self, state: StateInline, start: int, disableNested: bool = False) -> int:
        """Where the bracket at ``start`` is closed; -1 where it is not."""
        before, opened, end = state.pos, 1, -1
        most = _STEPS + _STEPS_EACH * len(state.src)
        state.pos = start + 1
        while state.pos < state.posMax:
            steps = state.cache[_COUNT] = state.cache.get(_COUNT, 0) + 1
            if steps > most:
                self._give_up()
                break
            here, letter = state.pos, state.src[state.pos]
            opened -= letter == "]"
            if not opened:
                end = here
                break
            state.md.inline.skipToken(state)
            if letter == "[":
                plain = state.pos == here + 1
                opened += plain
                if disableNested and not plain:  # a link within
                    break
        state.pos = before
        return end

    def parseLinkDestination(self, string: str, pos: int, maximum: int) -> Any:
        """The address that begins at a place."""
        end = min(maximum, pos + LONGEST)
        found = helpers.parseLinkDestination(string, pos, end)
        if end < maximum and (
            found.pos >= end if found.ok else not _ENDS[string[pos] == "<"].search(string, pos + 1, end)
        ):
            self._give_up()
            found.ok = False
        return found

    def parseLinkTitle(self, string: str, start: int, maximum: int, prev_state: Any = None) -> Any:
        """The title that begins at a place, or goes on there."""
        end = min(maximum, start + LONGEST)
        found = helpers.parseLinkTitle(string, start, end, prev_state)
        if found.can_continue and (end < maximum or len(found.str) > LONGEST):
            self._give_up()
            found.can_continue = False
        return found

    def table(self, state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
        """The parser's rule for tables, for those that are not much larger than their source."""
        if not table(state, startLine, min(endLine, startLine + 2), True):
            return False
        begin = state.bMarks[startLine]
        columns = state.src.count("|", begin, state.eMarks[startLine]) + 1
        end = state.src.find("\n\n", begin)
        end = len(state.src) if end < 0 else end
        if columns * state.src.count("\n", begin, end) <= _CELLS + _CELLS_EACH * (end - begin):
            return table(state, startLine, endLine, silent)
        self._give_up()
        return False
