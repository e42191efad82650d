"""Markdown of a stranger made harmless, and still Markdown.

Strategy: markdown-it-py says where raw HTML, images, links, headings and maths stand, and the text is edited
there and nowhere else: what is harmless stays as written, code to the byte. Viewers differ in what they take
for a table or for maths, so the text is read in three dialects, and again after each edit, until none finds
anything. Text that does not come to rest is shown as code, which nobody interprets.

Not here: what `render` does, HTML for a page that we make ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from html import unescape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bedrock_nb import render
from bedrock_nb.conversation.dialects import DIALECTS, NESTING, Edit, in_maths, spaced, tex

__all__ = ["code", "harmless", "words"]

# Where a typesetter may see maths, whatever our own parser makes of it.
_MATHS = re.compile(r"\$.*\$|\\[(\[]|\\begin", re.DOTALL)
_SPECIAL = re.compile(r"[\\`*\[\]<>#|~$!{}]|(?<![^\W_])_|_(?![^\W_])")  # not in snake_case
# A line within a paragraph that would underline a heading.
_UNDERLINE = re.compile(r"\n[ \t]*(?=(?:=+|-+)[ \t]*(?:\n|$))")
_LIVE = re.compile(r"<[A-Za-z/!?]|]\(|!\[")  # what must stay in its code span
_STRIKES = re.compile(r"(?<!\\)~{2,}")
_PASSES = 12


def code(text: str, language: str = "text") -> str:
    """Text as a fenced code block that it cannot end. Invisible characters are spelled out."""
    text = render.visible(text).removesuffix("\n")
    ticks = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def words(text: str) -> str:
    """Text in one line that means in Markdown what it says."""
    line = " ".join(render.visible(text).split())
    line = render.UNSAFE_TEX.sub(spaced, line)
    line = _SPECIAL.sub(
        lambda found: "&lt;" if found[0] == "<" else f"\\{found[0]}", line.replace("&", "&amp;")
    )
    return re.sub(r"^(\d*)([-+=.)])", r"\1\\\2", line)  # which would begin a list or underline a heading


def harmless(text: str, *, quoted: bool = False) -> str:
    """A stranger's Markdown, fit to stand in a document of ours.

    Parameters
    ----------
    text : str
    quoted : bool
        As a block quote.

    Returns
    -------
    str
        Without raw HTML, images (they become links), links elsewhere than to hosts and mail addresses,
        headings of the first four levels, TeX that does more than typeset, and diagrams that viewers would
        draw. It ends every block that it begins: what follows after a blank line stands for itself.
    """
    plain = render.printable(text).strip("\n")
    written = "\n".join(f"> {line}".rstrip() for line in plain.split("\n")) if quoted else plain
    try:
        return _closed(_at_rest(written))
    except LookupError:
        return code(plain)


def _at_rest(text: str) -> str:
    for _ in range(_PASSES):
        before = text
        for dialect in DIALECTS:
            text = _edited(text, _offences(dialect, text))
        if text == before:
            return text
    raise LookupError("each edit brings forth another offence")


def _closed(text: str) -> str:
    """With the end of a code block that has none; nothing else can still be open."""
    if "```" not in text and "~~~" not in text:
        return text
    for tried in (
        text,
        *(f"{text}\n{mark}" for mark in re.findall(r"^ {0,3}(`{3,}|~{3,})", text, re.M)[-1:]),
    ):
        for dialect in DIALECTS:
            tokens = _blocks(dialect, f"{tried}\n\n# x", {})
            if [(token.type, token.level) for token in tokens[-3:-2]] != [("heading_open", 0)]:
                break
        else:
            return tried
    raise LookupError("a block without an end")


def _edited(text: str, edits: Iterable[Edit]) -> str:
    parts: list[str] = []
    end = 0
    for start, stop, new in sorted(set(edits)):
        if start >= end:  # what overlaps is found again
            parts += text[end:start], new
            end = stop
    return "".join((*parts, text[end:]))


# -- what is found ---------------------------------------------------------------------------------


def _offences(dialect: MarkdownIt, text: str) -> list[Edit]:
    maths = _MATHS.search(unescape(text)) is not None
    env: dict[str, Any] = {"edits": []}
    tokens = _blocks(dialect, text, env)
    edits: list[Edit] = env["edits"]
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    reached = dict(enumerate(starts))
    for token in tokens:
        if token.type == "math_block" and token.map:
            stop = starts[token.map[1]] if token.map[1] < len(starts) else len(text)
            edits += in_maths(text, starts[token.map[0]], stop)
        if token.type != "inline" or not token.map:
            continue
        found = _inline(dialect, token.content, env, maths)
        place = _placed(text, token, reached)
        for start, stop, new in found:
            edits.append((place(start), place(stop), new))
    return edits


def _blocks(dialect: MarkdownIt, text: str, env: dict[str, Any]) -> list[Token]:
    env.setdefault("edits", [])
    tokens: list[Token] = []
    dialect.block.parse(text, dialect, env, tokens)
    if max((token.level for token in tokens), default=0) > NESTING - 4:
        raise LookupError("nested so deep that not all of it is read")
    return tokens


def _inline(dialect: MarkdownIt, content: str, env: dict[str, Any], maths: bool) -> list[Edit]:
    inner = {"references": env.get("references", {}), "edits": [], "spans": [], "alt": 0}
    dialect.inline.parse(content, dialect, inner, [])
    edits: list[Edit] = inner["edits"]
    # Some take a line of these for a heading's even where a list or a quote has ended.
    edits += [(found.end(), found.end(), "\\") for found in _UNDERLINE.finditer(content)]
    if any(_LIVE.search(content, *span) for span in inner["spans"]):
        edits += [  # some strike out across code, whose ticks then mean something else
            (found.start(), found.end(), found[0].replace("~", "\\~"))
            for found in _STRIKES.finditer(content)
            if not any(start <= found.start() < stop for start, stop in inner["spans"])
        ]
    if maths:
        money = [at for at, letter in enumerate(content) if letter == "$"]
        shut = [
            (start, stop)
            for start, stop in inner["spans"]
            if not (money and money[0] < start and money[-1] >= stop)  # else maths may reach over it
        ]
        edits += [
            edit
            for edit in tex(content, 0, len(content))
            if not any(start <= edit[0] < stop for start, stop in shut)
        ]
    return edits


def _placed(text: str, token: Token, reached: dict[int, int]) -> Callable[[int], int]:
    """Where a place in a token's content is in the text; LookupError when that is asked and not known."""
    lines: list[tuple[int, int, int]] = []
    at = 0
    for number, line in enumerate(token.content.split("\n"), (token.map or [0])[0]):
        bare = line.lstrip(" ")
        end = text.find("\n", reached[number]) if number in reached else -1
        found = text.find(bare, reached.get(number, 0), len(text) if end < 0 else end)
        lines.append((at, found if found < 0 else found - (len(line) - len(bare)), at + len(line)))
        if found >= 0 and number in reached:
            reached[number] = found + len(bare)
        at += len(line) + 1

    def place(position: int) -> int:
        for begin, found, end in lines:
            if begin <= position <= end and found >= 0:
                return found + position - begin
        raise LookupError("written otherwise than it is read, as with a bar in a table's cell")

    return place
