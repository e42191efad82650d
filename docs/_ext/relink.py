"""Links that are right in the repository, made right in the site; the lessons and the root's pages,
brought in.

A page says ``../notebooks/05-conversation.ipynb``, which a code host follows as it stands. In the site that
lesson is ``lessons/05-conversation``, so the link is rewritten as the page is read; the file stays as it
is.

Strategy: every relative link is resolved to a path from the root of the repository, and `place` says what
stands for that path in the site: a page, or the file itself, which readers then download. Pages from
outside of ``docs`` are copied, with their links rewritten, into folders that git ignores. A copy is written
only if it would differ, so that a second build reads only what has changed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"

#: A folder that is linked -> the page that tells about it.
FOLDERS = {"notebooks": "docs/course.md", "benchmarks": "docs/performance.md", "docs": "docs/index.md"}
#: Files of the repository that are pages of the site, or sections of one.
PAGES = {
    "README.md": "docs/index.md",
    "README.md#figures": "docs/performance.md",
    "CHANGELOG.md": "docs/project/changelog.md",
    "CONTRIBUTING.md": "docs/project/contributing.md",
}

_LINK = re.compile(r"(\]\()(?![a-z]+:)([^)\s]+)(\))")
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def place(path: str, anchor: str = "") -> str:
    """Where in the repository the site has what a link means, with its anchor.

    Parameters
    ----------
    path : str
        From the root of the repository.
    anchor : str
        Without ``#``; may be empty.
    """
    end = f"#{anchor}" if anchor else ""
    if path + end in PAGES:
        return PAGES[path + end]
    if path in FOLDERS:
        return FOLDERS[path]
    if path.startswith("notebooks/") and path.endswith(".ipynb"):
        return f"docs/lessons/{Path(path).name}{f'#{slug(anchor)}' if anchor else ''}"
    return PAGES.get(path, path) + end


def slug(heading: str) -> str:
    """The anchor that the site gives a heading: as on a code host; JupyterLab's has capitals and marks."""
    return re.sub(r"[^\w\- ]", "", heading.lower().replace("`", "")).strip().replace(" ", "-")


def relink(text: str, came_from: str, stands_in: str) -> str:
    """The Markdown of a page with its relative links as they must be in the site.

    Parameters
    ----------
    text : str
        Markdown. What is in fences is left alone.
    came_from, stands_in : str
        The page's folder in the repository, and in the site; both from the root.
    """

    def other(match: re.Match[str]) -> str:
        path, _, anchor = match[2].partition("#")
        if not path:
            return f"{match[1]}#{slug(anchor)}{match[3]}"
        meant = place(os.path.normpath(Path(came_from) / path), anchor)
        page = meant.partition("#")[0].endswith(".md")
        # Sphinx takes any other Markdown for a page that is missing; this way it is a file to download.
        scheme = "path:" if page and not meant.startswith("docs/") else ""
        return f"{match[1]}{scheme}{os.path.relpath(meant, stands_in)}{match[3]}"

    return _outside(text, lambda prose: _LINK.sub(other, prose))


def _outside(text: str, change: Callable[[str], str]) -> str:
    """A text with all of it changed but what is in fences."""
    done, at = [], 0
    for fence in _FENCE.finditer(text):
        done += [change(text[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*done, change(text[at:])])


def bring_in() -> None:
    """Copy the lessons to ``docs/lessons``, the root's pages to ``docs/project``; forget those that went."""
    made = {DOCS / "lessons" / path.name: _lesson(path) for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
    for name, target in PAGES.items():
        if target.startswith("docs/project/") and (ROOT / name).is_file():
            made[ROOT / target] = relink((ROOT / name).read_text("utf-8"), ".", "docs/project")
    for folder in {path.parent for path in made}:
        folder.mkdir(exist_ok=True)
        for old in set(folder.iterdir()) - set(made):
            old.unlink()
    for path, text in made.items():
        if not path.is_file() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")


def _lesson(path: Path) -> str:
    """A lesson for the site: links mended, sources of checks folded away, no widget that needs a kernel."""
    notebook = json.loads(path.read_text("utf-8"))
    titles = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            source = cell["source"]
            text = relink(source if isinstance(source, str) else "".join(source), "notebooks", "docs/lessons")
            titles += len(re.findall(r"^# ", _FENCE.sub("", text), re.MULTILINE))
            cell["source"] = _outside(text, _lower) if titles > 1 else text
        if cell["metadata"].get("jupyter", {}).get("source_hidden"):
            cell["metadata"].setdefault("tags", []).append("hide-input")
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
    notebook["metadata"].pop("widgets", None)
    return json.dumps(notebook, ensure_ascii=False, indent=1)


def _lower(prose: str) -> str:
    """Headings one down: a page of the site has one title, and a notebook may have more."""
    return re.sub(r"^#", "##", prose, flags=re.MULTILINE)


def _read(app: Any, docname: str, source: list[str]) -> None:
    if not docname.startswith(("lessons/", "project/")):
        folder = f"docs/{docname}".rpartition("/")[0]
        source[0] = relink(source[0], folder, folder)


def setup(app: Any) -> dict[str, Any]:
    """Copy first, for Sphinx looks for its pages right after; then mend each page as it is read."""
    bring_in()
    app.connect("source-read", _read, priority=600)  # after what the code writes was put in
    return {"parallel_read_safe": True}
