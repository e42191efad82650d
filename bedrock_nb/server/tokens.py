"""The embedded model's own tokens: how its answers are cut, counted and timed.

Strategy: one regular expression. A token is a piece of a word of at most six letters, up to three digits,
one other sign, or white space; the space before a word belongs to it. So English comes to about 1.4 tokens
a word, which is near what large models do, and the tokens of a text put together are the text. Tokens are
maximal from wherever one begins, so a text cut between two tokens has the same tokens as before.
"""

from __future__ import annotations

import re

__all__ = ["count", "tokenize"]

_TOKEN = re.compile(r" ?[^\W\d_]{1,6}| ?\d{1,3}| ?[^\w\s]|\n+|[ \t]+|.", re.DOTALL)


def tokenize(text: str) -> list[str]:
    """Cut a text into tokens; ``"".join`` of them is the text.

    Examples
    --------
    >>> tokenize("Seven colours, 42 shades")
    ['Seven', ' colour', 's', ',', ' 42', ' shades']
    """
    return _TOKEN.findall(text)


def count(text: str) -> int:
    """Number of tokens in a text."""
    # One after another: a list of them would take 50 times the text, and let no other thread run meanwhile.
    return sum(1 for _ in _TOKEN.finditer(text))
