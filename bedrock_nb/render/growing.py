"""Markdown that is still coming, as finished pieces of HTML and a live tail.

Strategy: a text is a row of top-level blocks, and a block is finished when what comes later cannot change it.
Finished blocks are rendered once and never parsed again; the rest, the tail, is parsed once for each look.
A block is finished when another has begun after it, with four exceptions, each of which waits a little:

- The last line, until its end is there: ``#`` is a heading and ``#tag`` is not, and then goes on with the
  paragraph before it. So nothing is cut before a block that such a line began, unless it may not go on.
- ``$$`` that is open: maths may swallow all lines up to the next blank one.
- A link's definition with a paragraph right below it, which may turn out to be its title.

So pieces do not depend on how the text was cut in deltas. They are those of the whole text but for one
thing: a link whose address is defined in a later block (``[a]`` … ``[a]: https://…``) stays text.
"""

from __future__ import annotations

import re
import sys
from collections import ChainMap
from collections.abc import Collection, MutableMapping, Sequence
from typing import Any, NamedTuple

from markdown_it.rules_core import StateCore, inline, text_join
from markdown_it.token import Token

from bedrock_nb.render.characters import parted, printable
from bedrock_nb.render.markup import PARSER, Manner, Maths, cleaner, manner

__all__ = ["Growing", "pieces"]


def pieces(text: str, *, math: Maths = "tex", images: Collection[str] = ()) -> list[str]:
    """The HTML of each top-level block of a whole text: what `markdown` gives, in pieces.

    Parameters
    ----------
    text, math, images
        As of `markdown`.

    Returns
    -------
    list of str
        Fragments of HTML, none of them empty.
    """
    asked = manner(math, images)
    known: dict[str, Any] = {}
    shown = [_html(block, known, asked) for block in _blocks(printable(text), known)]
    return [html for html in shown if html]


class Growing:
    r"""Markdown that is still coming.

    Parameters
    ----------
    math : {"tex", "mathml"}
    images : collection of str
        As of `markdown`.

    Raises
    ------
    RequestError
        As `markdown` does.

    Examples
    --------
    >>> text = Growing()
    >>> text.feed("# One\n\ntw")
    >>> text.take()
    (['<h1>One</h1>\n'], '<p>tw</p>\n')
    >>> text.feed("o")
    >>> text.end()
    ['<p>two</p>\n']
    """

    def __init__(self, *, math: Maths = "tex", images: Collection[str] = ()) -> None:
        self._asked, self._cheap = manner(math, images), manner(math, images, colours=False)
        self._held = ""  # half of a pair whose other half may come next
        self._fresh: list[str] = []  # came since the last look
        self._tail, self._shown = "", ""  # what is not finished: its source and its HTML
        self._known: dict[str, Any] = {}  # addresses defined in finished blocks

    def __repr__(self) -> str:
        return f"<Growing, {len(self._tail) + sum(map(len, self._fresh))} characters not finished>"

    def feed(self, text: str) -> None:
        """Add text as it came; it may end anywhere, within a character too."""
        whole, self._held = parted(self._held + text)
        if whole:
            self._fresh.append(printable(whole))

    def take(self) -> tuple[list[str], str]:
        """What can be shown now.

        Returns
        -------
        pieces : list of str
            HTML of the blocks that were finished since the last time.
        tail : str
            HTML of all that comes after them. It replaces the last tail, and its code has no colours.
        """
        if not self._fresh:
            return [], self._shown
        found, known = self._parsed()
        finished = _finished(found, self._tail)
        taken = self._final(found[:finished], known)
        if finished:
            self._tail = "\n".join(self._tail.split("\n")[found[finished].start :])
        self._shown = "".join(_html(block, known, self._cheap) for block in found[finished:])
        return taken, self._shown

    def end(self) -> list[str]:
        """HTML of the blocks that no `take` gave. Text that is fed after this begins a new one."""
        if self._held:
            self._fresh.append(printable(self._held))
        taken = self._final(*self._parsed())
        self._held, self._tail, self._shown, self._known = "", "", "", {}
        return taken

    def _parsed(self) -> tuple[list[_Block], ChainMap[str, Any]]:
        """The blocks of the tail, and all addresses that are known so far."""
        self._tail += "".join(self._fresh)
        self._fresh.clear()
        known = ChainMap[str, Any]({}, self._known)
        return _blocks(self._tail, known), known

    def _final(self, found: Sequence[_Block], known: ChainMap[str, Any]) -> list[str]:
        """Finished blocks as HTML, each with the addresses known at its end, however much has come."""
        taken = []
        later = iter(known.maps[0].items())
        label, target = next(later, ("", None))
        for block in found:
            while target is not None and target["map"][0] < block.stop:
                self._known[label] = target
                label, target = next(later, ("", None))
            taken.append(_html(block, self._known, self._asked))
        return [html for html in taken if html]


# -- blocks ----------------------------------------------------------------------------------------


class _Block(NamedTuple):
    """A top-level block: its tokens, and its lines with the blank ones after it."""

    tokens: list[Token]
    start: int
    stop: int


def _blocks(source: str, known: MutableMapping[str, Any]) -> list[_Block]:
    """Cut printable text into its top-level blocks; addresses that it defines are added to ``known``."""
    tokens: list[Token] = []
    PARSER.block.parse(source, PARSER, {"references": known}, tokens)
    opened = [at for at, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
    starts = [tokens[at].map[0] for at in opened]  # type: ignore[index]  # blocks do have a place
    ends, stops = [*opened, len(tokens)][1:], [*starts, sys.maxsize][1:]
    return [
        _Block(tokens[at:end], start, stop)
        for at, end, start, stop in zip(opened, ends, starts, stops, strict=True)
    ]


def _finished(found: Sequence[_Block], source: str) -> int:
    """How many blocks nothing can change that comes later."""
    lines = source.split("\n")
    *whole, unended = lines
    place = len(found) - 1
    # The line that is not over may be another thing when it is, and what it began or made may be none.
    if unended and place > 0:
        place -= not _settled(found[place - 1], found[place], whole, unended)
    # Maths goes on to its next dollars, whatever there is between, but not over a blank line.
    run = next((at for at in range(len(whole), 0, -1) if not whole[at - 1].strip()), 0)
    dollars = next((at for at in range(run, len(lines)) if "$$" in lines[at]), len(lines))
    while place > 0 and found[place].start > dollars:
        place -= 1
    # What stands right below a definition may become its title.
    if place > 0 and (above := found[place - 1].tokens[0]).type == "definition":
        place -= above.map is not None and above.map[1] == found[place].start
    return max(place, 0)


# Their own last line ended them, or, of code by indentation, the first character of the next line.
_ENDED = {"fence", "heading_open", "hr", "code_block", "math_block"}
_LISTS = {"bullet_list_open", "ordered_list_open"}
_NUMBER = re.compile(r"\s*\d{1,9}[.)]?")


def _settled(before: _Block, last: _Block, whole: Sequence[str], unended: str) -> bool:
    """Whether a block stays ended, however the line that is not over goes on."""
    kind, made = before.tokens[0].type, last.tokens[0].type
    if last.start < len(whole):  # whole lines began it; only of a table the second line decides
        return not (made == "table_open" and last.start == len(whole) - 1)
    if before.start == len(whole) - 1 and "|" in whole[-1]:  # whatever it looks like, it may head a table
        return False
    if kind in _ENDED:
        return True
    if whole[-1].strip():
        return False
    # Below a blank line a paragraph does not go on, but a list does.
    return kind not in _LISTS or (made == "paragraph_open" and not _NUMBER.fullmatch(unended))


def _html(block: _Block, known: MutableMapping[str, Any], asked: Manner) -> str:
    """A block as HTML; "" for one that shows nothing."""
    env = {"references": known, "manner": asked}
    state = StateCore("", PARSER, env)
    state.tokens = block.tokens
    inline(state)
    text_join(state)
    return cleaner(asked.math, asked.images).clean(PARSER.renderer.render(block.tokens, PARSER.options, env))
