"""The lessons as files: every rule that a lesson has to keep, asked of every lesson of the course.

The rules are those of `bedrock_nb.lessons.rules`, which teachers check their own lessons with; that each rule
finds what it is there for is shown in ``test_lessons_tool.py``. That the lessons still give these outputs is
nbval's to show (`make test`), and that they run in a browser is shown in ``tests/browser``.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from bedrock_nb import plot
from bedrock_nb.lessons.checking import Finding
from bedrock_nb.lessons.lesson import read
from bedrock_nb.lessons.rules import RULES
from bedrock_nb.recording import Recording

FOLDER = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(FOLDER.glob("[0-9][0-9]-*.ipynb"))
GALLERY = FOLDER / "gallery.ipynb"

of_lessons = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
of_all_pages = pytest.mark.parametrize("lesson", [*LESSONS, GALLERY], ids=lambda path: path.stem)


def cells(lesson: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(lesson, as_version=4).cells if cell.cell_type == kind]


def test_there_are_the_lessons_of_the_course():
    """At least thirteen, numbered from 0 without a gap."""
    assert [int(path.name[:2]) for path in LESSONS] == list(range(len(LESSONS)))
    assert len(LESSONS) >= 13


@pytest.mark.parametrize(
    ("lesson", "rule"),
    [(page, rule) for page in [*LESSONS, GALLERY] for rule in RULES if rule.of == "pages" or page != GALLERY],
    ids=lambda value: value.stem if isinstance(value, Path) else value.name.replace(" ", "-"),
)
def test_every_rule_is_kept(lesson, rule):
    """No lesson, and no page beside them, breaks a rule that is asked of it."""
    found = [Finding(lesson, n, rule.name, what, rule.mend) for n, what in rule.broken(read(lesson))]
    assert [str(one) for one in found] == []


@of_all_pages
def test_every_cell_was_executed(lesson):
    """A cell that was never run is never compared by nbval, and so would pass whatever it says."""
    assert [cell for cell in cells(lesson, "code") if cell.execution_count is None] == []


@of_lessons
def test_shipped_recordings_are_whole(lesson):
    """Each recording that a lesson loads is complete and untouched."""
    text = "\n".join(cell.source for cell in cells(lesson, "code"))
    for name in re.findall(r'load\("([^"]+)"\)', text):
        if (FOLDER / name).exists():  # else the lesson saves it itself; the rule about links says so
            assert Recording.load(FOLDER / name).status == "complete"


@pytest.mark.parametrize("name", plot.__all__)
def test_the_gallery_has_every_plot(name):
    """Each plot has a heading of its own, a line in the table of questions, and a cell that draws it."""
    prose = "\n".join(cell.source for cell in cells(GALLERY, "markdown"))
    assert f"\n## {name}\n" in prose
    assert f"| `{name}` |" in prose
    drawn = [cell for cell in cells(GALLERY, "code") if f"nb.plot.{name}(" in cell.source]
    assert any("image/png" in output.get("data", {}) for cell in drawn for output in cell.outputs)


def test_links_of_the_gallery_lead_somewhere():
    """Lessons, recordings and headings that the gallery names are there."""
    prose = "\n".join(cell.source for cell in cells(GALLERY, "markdown"))
    code = "\n".join(cell.source for cell in cells(GALLERY, "code"))
    files = re.findall(r"\]\(([^)#:]+)\)", prose) + re.findall(r'"(recordings/[^"{]+)"', code)
    assert [name for name in files if not (FOLDER / name).exists()] == []
    headings = {title.replace(" ", "-") for title in re.findall(r"^#+ (.+)$", prose, re.MULTILINE)}
    anchors = re.findall(r"\]\(#([^)]+)\)", prose)
    assert len(anchors) > len(plot.__all__)
    assert set(anchors) <= headings
