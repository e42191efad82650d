"""Text made fit to be shown: printed in a terminal, or set into HTML.

Strategy: one function for each reader. A terminal must get no control character; who approves a call must see
what is invisible; a browser must get no markup, and a typesetter of TeX nothing that it takes for maths.
"""

from __future__ import annotations

import re
from html import escape

__all__ = ["escaped", "parted", "printable", "verbatim", "visible"]

# Terminals obey control characters (some sequences even write to the clipboard); HTML has no use for them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# What makes a tool call look like another one: all of Unicode's Default_Ignorable_Code_Point
# (DerivedCoreProperties of Unicode 16: zero-width and direction-changing characters, fillers, "tag" letters,
# selectors), line separators, marks of annotations, braille's blank. A selector after a sign that it makes
# colourful may stay.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0d\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    "|(?<![\u00a9\u00ae\u203c\u2049\u2100-\u27ff\u2900-\u303d\u3297\u3299\U0001f000-\U0001faff])[\ufe0e\ufe0f](?!\u20e3)"
)


def printable(text: str) -> str:
    """Text that is safe to print in a terminal and to encode as UTF-8.

    CR LF and CR become LF; other control characters but tab, and lone surrogates, become U+FFFD.
    """
    if text.isprintable():  # as most words are
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins pairs, too
    return _CONTROL.sub("\ufffd", text)


def parted(text: str) -> tuple[str, str]:
    """Text that goes on later: what can be shown now, and half of a pair whose other half may come next.

    A CR may be that of a CR LF, and a surrogate the first of two.
    """
    half = text[-1:] if text[-1:] == "\r" or "\ud800" <= text[-1:] <= "\udbff" else ""
    return text.removesuffix(half), half


def visible(text: str) -> str:
    r"""The same with invisible characters spelled out, as in ``\u202e``, for what a reader has to approve."""
    return _INVISIBLE.sub(lambda found: f"\\u{ord(found[0]):04x}", printable(text))


def escaped(value: str) -> str:
    """Escaped text that no typesetter will touch: MathJax never looks for maths across an element's edge."""
    return escape(printable(value)).replace("\\", "<span>\\</span>").replace("$", "<span>$</span>")


def verbatim(value: str) -> str:
    """Text as a block of code, invisible characters spelled out."""
    return f"<pre><code>{escape(visible(value))}</code></pre>"
