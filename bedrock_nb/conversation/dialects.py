"""How Markdown is read to find what in it is not harmless: the parsers of `inert`.

Strategy: markdown-it-py's own rules, each wrapped by one that notes an edit where the rule found raw HTML, an
image, a link, a heading, a fence or maths. What a rule finds it also takes, so one reading notes many edits.
Where a rule knows better than others do (a link that this parser refuses), it notes what others may see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, fence, heading, html_block, lheading, reference
from markdown_it.rules_inline import StateInline, autolink, backtick, image, link
from markdown_it.token import Token
from mdit_py_plugins.dollarmath.index import math_block_dollar, math_inline_dollar

from bedrock_nb import render
from bedrock_nb.render.effort import bound

__all__ = ["DIALECTS", "NESTING", "Edit", "in_maths", "spaced", "tex"]

#: From, to and what comes there instead.
Edit = tuple[int, int, str]

# What may begin a tag, a comment or a declaration; "a < b" does not.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LANGUAGE = re.compile(r"[\w+#.-]{0,30}", re.ASCII)
# Languages that viewers do not show but run or draw.
_DRAWN = {"mermaid", "math", "geojson", "topojson", "stl"}
_ENTITY = re.compile(r"&#?\w+;")
# A bare address as GitHub's Markdown takes it, and text up to one or to markup.
_BARE = re.compile(r"(?:(?:https?|ftp)://|www\.)[^\s<]*", re.IGNORECASE)
_PLAIN = re.compile(r"(?:(?!https?://|ftp://|www\.)[^\n!#$%&*+\-:<=>@\[\\\]^_`{}~])+", re.IGNORECASE)
#: Levels of lists and quotes. What is nested deeper, markdown-it drops.
NESTING = 40


# -- maths ----------------------------------------------------------------------------------------


def tex(text: str, start: int, stop: int) -> list[Edit]:
    r"""A space after the backslash: ``\ href`` is a space and four letters to every typesetter."""
    found = [
        (match.start(), match.end(), spaced(match)) for match in render.UNSAFE_TEX.finditer(text, start, stop)
    ]
    slashes = (match for match in _ENTITY.finditer(text, start, stop) if unescape(match[0]) == "\\")
    return [*found, *((match.start(), match.end(), "\\\\") for match in slashes)]


def spaced(found: re.Match[str]) -> str:
    """A command of TeX with that space."""
    return f"\\ {found[0][1:]}"


def in_maths(text: str, start: int, stop: int) -> list[Edit]:
    """What is wrong with maths. A space after "<" is nothing to TeX, and to HTML no tag begins so."""
    tags = ((match.end(), match.end(), " ") for match in _TAG.finditer(text, start, stop))
    return [*tex(text, start, stop), *tags]


# -- rules of the parser, which note what they find ------------------------------------------------


def _begins(state: StateBlock, line: int) -> int:
    return state.bMarks[line] + state.tShift[line]


def _fence(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    done = fence(state, start, end, silent)
    if done and not silent:
        token = state.tokens[-1]
        language = next(iter(token.info.split()), "")
        if not _LANGUAGE.fullmatch(language) or language.lower() in _DRAWN:
            language = "text"
        if language != token.info.strip():
            begin = _begins(state, start) + len(token.markup)
            state.env["edits"].append((begin, begin + len(token.info), language))
    return done


def _html_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    done = html_block(state, start, end, True)
    if done and not silent:
        state.env["edits"].append((_begins(state, start), _begins(state, start) + 1, "&lt;"))
    return done and silent  # what is in it is read on, as the Markdown that it then is


def _heading(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    done = heading(state, start, end, silent)
    if done and not silent:
        level = len(state.tokens[-3].markup)
        if level < 5:
            begin = _begins(state, start)
            state.env["edits"].append((begin, begin + level, "#" * (5 if level == 1 else 6)))
    return done


def _lheading(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    done = lheading(state, start, end, silent)
    if done:
        under = _begins(state, state.line - 1)
        state.env["edits"].append((under, under, "\\"))
    return done


def _reference(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    env, state.env = state.env, {}
    try:
        done = reference(state, start, end, silent)
        made = state.env.get("references", {})
    finally:
        state.env = env
    if done and not silent:
        begin = _begins(state, start)
        source = state.src[begin : state.eMarks[state.line - 1]]
        tags = [tag for tag in _TAG.finditer(source) if not re.search(r"\]:\s*$", source[: tag.start()])]
        if tags or any(render.host_of(target["href"]) is None for target in made.values()):
            env["edits"].append((begin, begin, "\\"))
        else:
            env["references"] = {**made, **env.get("references", {})}
    return done


def _address(tokens: Sequence[Token]) -> str:
    return next(str(token.attrs["href"]) for token in tokens if token.type == "link_open")


def _link(state: StateInline, silent: bool) -> bool:
    start, made = state.pos, len(state.tokens)
    done = link(state, silent)
    if done and not silent and not state.env["alt"]:
        if render.host_of(_address(state.tokens[made:])) is None:
            state.env["edits"].append((start, start, "\\"))
        else:  # no tag in its title either, where another parser may not see a title
            behind = state.md.helpers.parseLinkLabel(state, start, True) + 1
            state.env["edits"] += [
                (tag.start(), tag.end(), "&lt;")
                for tag in _TAG.finditer(state.src, behind, state.pos)
                if state.src[behind : tag.start()].strip("( \n")
            ]
    return done


def _bracket(state: StateInline, silent: bool) -> bool:
    """An end of a link, or of a definition's name, that is none here: others may pair it with a beginning."""
    if silent or state.env["alt"] or state.src[state.pos] != "]":
        return False
    opened = state.src.rfind("[", 0, state.pos)
    ends = state.src.startswith("](", state.pos)
    if state.src.startswith("]:", state.pos) and opened >= 0:
        ends = not state.src[state.src.rfind("\n", 0, opened) + 1 : opened].strip()
    if ends:
        state.env["edits"].append((state.pos, state.pos, "\\"))
    return False


def _text(state: StateInline, silent: bool) -> bool:
    """Plain text as GitHub's Markdown has it, where a bare address takes in what would be markup."""
    found = _BARE.match(state.src, state.pos, state.posMax) or _PLAIN.match(
        state.src, state.pos, state.posMax
    )
    if found is None:
        return False
    if not silent:
        state.pending += found[0]
    state.pos = found.end()
    return True


def _image(state: StateInline, silent: bool) -> bool:
    start, env = state.pos, state.env
    if not state.src.startswith("![", start):
        return False
    env["alt"] += 1
    try:
        done = image(state, silent)
    finally:
        env["alt"] -= 1
    if silent or env["alt"]:
        return done
    source = state.tokens[-1].attrs["src"] if done else ""
    host = render.host_of(str(source)) if done else None
    if host is None:  # no image to us; escaped, for it may be one to others, or with a definition elsewhere
        at = start + 1 if done else start
        env["edits"].append((at, at, "\\"))
        return done
    ends = state.md.helpers.parseLinkLabel(state, start + 1, False)
    label, rest = state.src[start + 2 : ends], state.src[ends + 1 : state.pos]
    if rest in ("", "[]"):
        rest = f"[{label}]"
    shown = f"image: {label or 'untitled'} ({host or 'mail'})"
    env["edits"].append((start, state.pos, shown if state.linkLevel else f"[{shown}]{rest}"))
    return done


def _autolink(state: StateInline, silent: bool) -> bool:
    start, made = state.pos, len(state.tokens)
    done = autolink(state, silent)
    if done and not silent and not state.env["alt"] and render.host_of(_address(state.tokens[made:])) is None:
        state.env["edits"].append((start, start + 1, "&lt;"))
    return done


def _html_inline(state: StateInline, silent: bool) -> bool:
    if not silent and not state.env["alt"] and _TAG.match(state.src, state.pos):
        state.env["edits"].append((state.pos, state.pos + 1, "&lt;"))
    return False


def _backtick(state: StateInline, silent: bool) -> bool:
    start = state.pos
    done = backtick(state, silent)
    if (
        done
        and not silent
        and not state.env["alt"]
        and state.tokens
        and state.tokens[-1].type == "code_inline"
    ):
        state.env["spans"].append((start, state.pos))
    return done


_dollars = math_inline_dollar(False, False, True)


def _math_inline(state: StateInline, silent: bool) -> bool:
    start = state.pos
    done = _dollars(state, silent)
    if done and not silent and not state.env["alt"]:
        state.env["edits"] += in_maths(state.src, start, state.pos)
    return done


def _give_up() -> None:
    raise LookupError("made to keep a parser busy: what is a link in it would be a guess")


class _Finder(MarkdownIt):
    """A parser with the rules above: CommonMark, with tables and maths, or with tables and bare addresses."""

    def __init__(self, *, notebooks: bool = False, addresses: bool = False) -> None:
        super().__init__("commonmark", {"maxNesting": NESTING})
        bound(self, _give_up)
        blocks = ["paragraph", "reference", "blockquote"]
        self.block.ruler.at("fence", _fence, {"alt": [*blocks, "list"]})
        self.block.ruler.at("html_block", _html_block, {"alt": blocks})
        self.block.ruler.at("heading", _heading, {"alt": blocks})
        self.block.ruler.at("lheading", _lheading)
        self.block.ruler.at("reference", _reference)
        self.inline.ruler.at("link", _link)
        self.inline.ruler.at("image", _image)
        self.inline.ruler.after("image", "bracket", _bracket)
        self.inline.ruler.at("autolink", _autolink)
        self.inline.ruler.at("html_inline", _html_inline)
        self.inline.ruler.at("backticks", _backtick)
        if addresses:
            self.enable(["table", "strikethrough"])
            self.inline.ruler.at("text", _text)
        if notebooks:
            self.enable(["table", "strikethrough"])
            self.inline.ruler.before("escape", "math_inline", _math_inline)
            spelled = math_block_dollar(False, None, False)
            self.block.ruler.before("fence", "math_block", spelled, {"alt": [*blocks, "list"]})

    def validateLink(self, url: str) -> bool:
        return True  # the rules above judge; what this parser refuses, another would take


DIALECTS = (_Finder(notebooks=True), _Finder(addresses=True), _Finder())
