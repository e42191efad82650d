"""A notebook as it is handed out: without outputs, counts and times of whoever ran it.

Strategy: plain JSON and nothing but the standard library, for the wheel is built where nothing else is
installed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

__all__ = ["bare", "course_files"]


def bare(text: str) -> str:
    """The text of a notebook without what running it has left.

    Parameters
    ----------
    text : str
        A notebook of format 4, as JSON.

    Returns
    -------
    str
        The same, written as Jupyter writes it.
    """
    notebook = json.loads(text)
    notebook.get("metadata", {}).pop("widgets", None)
    for cell in notebook["cells"]:
        cell.get("metadata", {}).pop("execution", None)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def course_files(folder: Path) -> Iterator[Path]:
    """Files of a course, relative to its folder: notebooks and what they load, not the scripts."""
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        hidden = any(part.startswith((".", "__")) for part in inner.parts)
        if path.is_file() and path.suffix != ".py" and not hidden:
            yield inner
