"""Tabs out of headings: what stands side by side in the site stands one below the other on a code host.

Between two comments, ``<!-- tabs -->`` and ``<!-- end of tabs -->``, each heading of the third level begins
a tab.

Strategy: the page is changed as it is read, before Markdown is; the file is plain Markdown, so readers of it
see headings and no marks of ours.
"""

from __future__ import annotations

import re
from typing import Any

_TABS = re.compile(r"^<!-- tabs -->\n(.*?)^<!-- end of tabs -->$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^### (.+)\n", re.MULTILINE)


def tabs(page: str) -> str:
    """The Markdown of a page with its tabs as the site wants them."""
    return _TABS.sub(_set, page)


def _set(found: re.Match[str]) -> str:
    _, *parts = _HEADING.split(found[1])  # before the first heading there is nothing
    items = [
        f":::{{tab-item}} {title}\n{text.strip()}\n:::"
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    return "\n\n".join(["::::{tab-set}", *items, "::::"])


def _read(app: Any, docname: str, source: list[str]) -> None:
    source[0] = tabs(source[0])


def setup(app: Any) -> dict[str, Any]:
    """Set tabs as a page is read."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}
