"""What the code can say by itself: fences in a page that are replaced by what is generated from the code.

A fence ``{layers}`` holds the picture in letters, which a code host shows as it stands; in the site, the
drawing that is made from the code stands in its place. Others are empty in the page, or hold what is to be
shown.

Strategy: one table from a fence's name to a function from its text to Markdown, called as the page is read,
before Markdown is. So headings that come out of it are headings like any other: in the table of contents,
with an anchor. To add one, write a function and a row.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from _ext import cards, commands, layers, public, tables, way

FENCES: dict[str, Callable[[str], str]] = {
    "cli": commands.reference,
    "error-cards": cards.every,
    "error-table": cards.table,
    "fault-table": tables.faults,
    "latency-table": tables.latency,
    "layers": layers.picture,
    "metric-table": tables.metrics,
    "public": public.reference,
    "symbol-table": tables.symbols,
    "way-of-a-byte": way.picture,
}

_FENCE = re.compile(r"^```\{([a-z-]+)\}\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = _FENCE.sub(lambda m: FENCES[m[1]](m[2]) if m[1] in FENCES else m[0], source[0])


def _from_code(app: Any, env: Any, *_: Any) -> list[str]:
    """Pages with such fences are read in every build: the code may have changed where they have not.

    Of those with names to refer to, autodoc keeps account by itself.
    """
    watched = set(FENCES) - {"public"}
    texts = {name: env.doc2path(name).read_text("utf-8") for name in env.found_docs if name[:8] != "lessons/"}
    return [name for name in texts if any(m[1] in watched for m in _FENCE.finditer(texts[name]))]


def setup(app: Any) -> dict[str, Any]:
    """Put them in as a page is read, before its links are mended."""
    app.connect("source-read", _read, priority=500)
    app.connect("env-get-outdated", _from_code)
    return {"parallel_read_safe": True}
