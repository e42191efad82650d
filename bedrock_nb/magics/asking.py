"""``%converse Why is the sky blue?``: a question, and no wish for help.

Strategy: IPython takes a line that ends in a question mark for a question about its last word. A transformer
of tokens, as IPython has them for its own syntax, comes before that one and makes the call of the magic; in
strings and in the cells of other magics it finds nothing. ``%converse?`` is left to IPython.
"""

from __future__ import annotations

from typing import Any

from IPython.core.inputtransformer2 import EscapedCommand

__all__ = ["Asking"]


class Asking(EscapedCommand):
    """IPython's transformer of ``%magic …``, for ``%converse`` with a prompt behind it."""

    priority = 1  # of those that match in one place the lowest is taken

    @classmethod
    def find(cls, tokens_by_line: list[list[Any]]) -> Asking | None:
        """The first such line."""
        for line in tokens_by_line:
            begin = [token for token in line[:9] if token.string.strip()][:3]  # without INDENT and DEDENT
            words = [token.string for token in begin]
            if words[:2] == ["%", "converse"] and words[2:] and not words[2].startswith("?"):
                return cls(begin[0].start)
        return None
