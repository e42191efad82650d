"""A message as safe HTML, and as plain text.

Strategy: whatever a model, a tool or a cited source wrote is hostile. Prose is Markdown, which `markup` makes
harmless; all other text is escaped and set into constant markup of ours. `growing` does the same for Markdown
that is still coming. Everything that shows a model's words goes through here.

Not here: when to paint (`live`, `panel`), and any script of a page.
"""

from __future__ import annotations

from bedrock_nb.render.blocks import html
from bedrock_nb.render.cards import card, chapter, columns, error, page, paragraph, remark, table, together
from bedrock_nb.render.characters import parted, printable, verbatim, visible
from bedrock_nb.render.growing import Growing, pieces
from bedrock_nb.render.markup import host_of, markdown
from bedrock_nb.render.tex import UNSAFE_TEX
from bedrock_nb.render.words import cited, described, text, with_tools

__all__ = [
    "UNSAFE_TEX",
    "Growing",
    "card",
    "chapter",
    "cited",
    "columns",
    "described",
    "error",
    "host_of",
    "html",
    "markdown",
    "page",
    "paragraph",
    "parted",
    "pieces",
    "printable",
    "remark",
    "table",
    "text",
    "together",
    "verbatim",
    "visible",
    "with_tools",
]
