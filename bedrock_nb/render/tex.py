r"""TeX as MathML, which browsers draw without a script.

Strategy: latex2mathml makes a tree, and from that tree we take what a finite table names: elements of
presentation MathML, a few attributes with values of fixed form, and text, which is escaped here. Its own
markup is not used, for it lets ``\text{<img …>}`` through. What is unsafe, too long, too deep, or has a
command that it does not know, has no MathML, and its source is shown instead.

Not here: TeX for JupyterLab to typeset, which stays as it is; see `markup`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from html import escape
from typing import Any

from bedrock_nb.render.characters import printable

__all__ = ["ATTRIBUTES", "ELEMENTS", "STYLES", "UNSAFE_TEX", "heavy", "mathml"]

#: TeX that links, styles, names an element, loads code, or defines something that outlives the reply: MathJax
#: 2 to 4 and KaTeX. JupyterLab's MathJax filters links and styles; the one in a page by nbconvert does not.
UNSAFE_TEX = re.compile(
    r"""\\(?: href | url | html | style | class | cssId | data | bbox | fcolorbox | enclose | mmlToken
      | unicode | require | includegraphics | setOptions | mathtoolsset | csname | [egx]?def | let | futurelet
      | global | (?:re)?new(?!line) | provide | define | Declare | Newextarrow | usetagform
      | texttip | mathtip | toggle | [mh]?kern | hskip | hspace | raise | lower | (?:math)?[lrc]lap | rule
      | colou?rbox | smash )""",
    re.VERBOSE,
)

LONGEST = 2_000  # characters of source
_DEEPEST = 60  # elements within elements; browsers flatten what is deeper than 512

#: Presentation MathML. Not: ``annotation-xml``, ``mglyph``, ``maction``, ``semantics``, ``ms``, all of which
#: link, switch, or let a browser's parser change its mind about what is HTML.
ELEMENTS = {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mfrac", "msqrt", "mroot", "msub", "msup"}
ELEMENTS |= {"msubsup", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "mstyle", "mpadded"}
ELEMENTS |= {"mphantom", "menclose", "mmultiscripts", "mprescripts", "none"}

# Of a length two digits are enough, and no sign that would lay maths over what stands beside it.
_LENGTH = re.compile(r"\+?\d{0,2}(?:\.\d{1,3})?(?:em|ex|px|pt)?|-0?\.\d{1,3}em")
_TRUTH = re.compile("true|false")
#: Attributes, and the form of their values.
ATTRIBUTES = {
    "display": re.compile("block|inline"),
    **dict.fromkeys(("stretchy", "fence", "separator", "accent", "displaystyle", "largeop"), _TRUTH),
    "movablelimits": _TRUTH,
    "form": re.compile("prefix|infix|postfix"),
    "scriptlevel": re.compile("[0-3]"),
    "mathvariant": re.compile("normal|bold|italic|bold-italic|monospace|sans-serif|sans-serif-italic"),
    "mathcolor": re.compile("#(?:[0-9a-fA-F]{3}){1,2}|[a-zA-Z]{3,20}"),
    "notation": re.compile("box|horizontalstrike|(?:updiagonalstrike|downdiagonalstrike| ){1,3}"),
    **dict.fromkeys(("width", "height", "depth", "lspace", "rspace", "voffset"), _LENGTH),
    **dict.fromkeys(("linethickness", "minsize", "maxsize", "mathsize"), _LENGTH),
    **dict.fromkeys(("rowspacing", "columnspacing"), re.compile(r"(?:\d?\.?\d{1,3}(?:em|pt) ?){1,20}")),
    **dict.fromkeys(("rowlines", "columnlines"), re.compile("(?:(?:none|solid|dashed) ?){1,20}")),
    "columnalign": re.compile("left|center|right"),
}

# Chromium knows neither alignment nor letters by attribute, but styles.
_LOOKS = {
    "left": "text-align:left",
    "right": "text-align:right",
    "bold": "font-weight:bold",
    "italic": "font-style:italic",
    "bold-italic": "font-weight:bold;font-style:italic",
    "monospace": "font-family:monospace",
    "sans-serif": "font-family:sans-serif",
}
#: Every style that maths may have.
STYLES = frozenset(_LOOKS.values())

# Spaces by name are no longer part of MathML; these are the widths they had.
_SPACES = {"thin": "0.167em", "medium": "0.222em", "thick": "0.278em"}
_WIDTHS = {f"{name}mathspace": width for name, width in _SPACES.items()}
_WIDTHS |= {f"negative{name}mathspace": f"-{width}" for name, width in _SPACES.items()}

# Commands that take a fixed number of parts; with others a browser draws something else.
_PARTS = {
    "mfrac": 2,
    "mroot": 2,
    "msub": 2,
    "msup": 2,
    "munder": 2,
    "mover": 2,
    "msubsup": 3,
    "munderover": 3,
}

# What models write and latex2mathml does not know, by what it draws alike.
_ALIKE = (
    (re.compile(r"\\(begin|end)\{aligned\}"), r"\\\1{split}"),
    (re.compile(r"\\(begin|end)\{gather(?:ed|\*)?\}"), r"\\\1{matrix}"),
    (re.compile(r"\\operatorname\*?\{([a-zA-Z]*)(?:\\,|\\;|~)([a-zA-Z]*)\}"), r"\\operatorname{\1 \2}"),
    (re.compile(r"\\operatorname\*"), r"\\operatorname"),
    (re.compile(r"\\arg(?![a-zA-Z])"), r"\\operatorname{arg}"),
    (re.compile(r"\\label\{[^{}\\]*\}"), ""),
)
# Of others it would drop the frame and show the rest in one line.
_ENVIRONMENT = re.compile(
    r"\\begin\{(?!(?:[pbBvV]?matrix|smallmatrix|array|cases|split|align|equation|substack)\*?\})"
)
_REFERENCE = re.compile("&#x([0-9A-Fa-f]{1,6});")


def heavy(source: str) -> bool:
    """Whether maths is too long or too deep: 900 braces within each other hold MathJax up for 15 seconds."""
    depth = deepest = 0
    for char in source:
        depth += (char == "{") - (char == "}")
        deepest = max(deepest, depth)
    return len(source) > LONGEST or deepest > _DEEPEST


@lru_cache(maxsize=512)
def mathml(source: str, *, block: bool = False) -> str | None:
    r"""Maths as MathML, or None where there is none that is safe and right.

    Parameters
    ----------
    source : str
        TeX without its dollars.
    block : bool
        Maths that stands by itself.

    Returns
    -------
    str or None
        A ``<math>`` element, text in it escaped. None for commands that link, style or define (`UNSAFE_TEX`),
        for commands that are not known, and for what is too long or too deep.
    """
    from latex2mathml.converter import Converter  # late: most replies have no maths

    if heavy(source) or UNSAFE_TEX.search(source):
        return None
    for theirs, ours in _ALIKE:
        source = theirs.sub(ours, source)
    if _ENVIRONMENT.search(source):
        return None
    try:
        tree = Converter(display="block" if block else "inline").convert_to_element(source)
        return _written(tree, 0)
    except Exception:  # a library that reads hostile text; whatever it raises, the source is shown
        return None


def _written(element: Any, depth: int) -> str:
    """An element of the tree as markup; raises ValueError for what our tables do not have."""
    tag = element.tag
    text = printable(_REFERENCE.sub(lambda found: chr(int(found[1], 16)), element.text or ""))
    if tag not in ELEMENTS or depth > _DEEPEST or _PARTS.get(tag, len(element)) != len(element):
        raise ValueError(tag)
    # A command that is not known comes back as text. And one backslash or one dollar is no maths to a
    # typesetter that reads the page after us.
    if text.count("$") > 1 or ("\\" in text and text != "\\"):
        raise ValueError(text)
    given = {name: _WIDTHS.get(value, value) for name, value in element.attrib.items()}
    attributes = "".join(
        f' {name}="{value}"'
        for name, value in given.items()
        if name in ATTRIBUTES and ATTRIBUTES[name].fullmatch(value)
    )
    if look := _LOOKS.get(given.get("columnalign", "") or given.get("mathvariant", "")):
        attributes += f' style="{look}"'
    inner = "".join(_written(child, depth + 1) + _tail(child) for child in element)
    return f"<{tag}{attributes}>{escape(text)}{inner}</{tag}>"


def _tail(element: Any) -> str:
    if element.tail:
        raise ValueError(element.tail)  # presentation MathML has no text between elements
    return ""
