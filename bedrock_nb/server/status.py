"""The page that a browser sees at the server's own address: its files, and the headers they go out with.

Strategy: the page is four plain files beside this module, and a table says which names there are. A name is
looked up and never becomes a path, so there is nothing to climb out of. A file is read once: a slow disk
would otherwise hold up the streams of others. What the page shows it asks for itself, as ``status.json``.

The headers are the page's second line of defence. What it shows was chosen by clients; it goes in as text,
and were that ever to fail, the browser would still run no script but ours and load nothing from anywhere.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

__all__ = ["HEADERS", "page"]

_FOLDER = Path(__file__).parent / "page"

#: Name in the URL, after the slash -> file, content type.
_FILES = {
    "": ("index.html", "text/html; charset=utf-8"),
    "status.js": ("status.js", "text/javascript; charset=utf-8"),
    "classroom.js": ("classroom.js", "text/javascript; charset=utf-8"),
    "status.css": ("status.css", "text/css; charset=utf-8"),
}

_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "data:",  # the icon
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
}

#: For the files of the page and for ``status.json``. No other page may read, embed or frame them.
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def page(name: str) -> tuple[bytes, str] | None:
    """A file of the status page.

    Parameters
    ----------
    name : str
        The URL's path after its first slash: ``""``, ``"status.js"``, ``"classroom.js"`` or ``"status.css"``.

    Returns
    -------
    tuple of bytes and str, or None
        Content and Content-Type; None if there is no such file.
    """
    if name not in _FILES:
        return None
    file, content_type = _FILES[name]
    return _read(file), content_type


@cache
def _read(file: str) -> bytes:
    return (_FOLDER / file).read_bytes()
