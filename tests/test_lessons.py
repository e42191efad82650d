"""The lessons as files: executed in order, free of secrets, linked to each other, one way to begin.

That they still give these outputs is nbval's to show (`make test`), and that they run in a browser is shown
in ``tests/browser``.
"""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

from bedrock_nb import plot
from bedrock_nb.recording import Recording

FOLDER = Path(__file__).parent.parent / "notebooks"
LESSONS = sorted(FOLDER.glob("[0-9][0-9]-*.ipynb"))
GALLERY = FOLDER / "gallery.ipynb"
SET_UP = "import bedrock_nb as nb\n\nclient = nb.connect()"

#: What must not be in a saved lesson, by what it would give away.
SECRETS = {
    "an access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "an account id in an ARN": r"arn:aws[^\"\s]*:\d{12}:",
    "a bearer token": r"(?i)bearer\s+[a-z0-9._-]{20,}",
    "a home directory": r"(/home/|/root/|/Users/|C:\\\\Users)",
    "an address in memory": r"at 0x[0-9a-f]{6,}",
}

of_lessons = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
of_all_pages = pytest.mark.parametrize("lesson", [*LESSONS, GALLERY], ids=lambda path: path.stem)


def cells(lesson: Path, kind: str) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(lesson, as_version=4).cells if cell.cell_type == kind]


@of_all_pages
def test_every_cell_was_executed_in_order(lesson):
    """A cell that was never run is never compared by nbval, and so would pass whatever it says."""
    counts = [cell.execution_count for cell in cells(lesson, "code")]
    assert counts == list(range(1, len(counts) + 1))


@of_all_pages
def test_no_cell_failed(lesson):
    """A lesson that shows a traceback teaches the wrong thing."""
    assert [o for cell in cells(lesson, "code") for o in cell.outputs if o.output_type == "error"] == []


@of_all_pages
@pytest.mark.parametrize("what", SECRETS)
def test_nothing_is_given_away(lesson, what):
    """No credential, account, folder or address of the machine that ran it."""
    text = re.sub(r'"image/png": "[^"]*"', "", lesson.read_text())
    assert re.search(SECRETS[what], text) is None


@of_lessons
def test_a_lesson_opens_with_the_same_two_lines(lesson):
    """Whoever knows one lesson knows how each begins."""
    assert cells(lesson, "code")[0].source == SET_UP


@of_lessons
def test_goals_come_first_and_come_back(lesson):
    """A title and goals on top, what was learned and the way to the other lessons at the end."""
    first, *_, last = (cell.source for cell in cells(lesson, "markdown"))
    assert first.startswith(f"# {int(lesson.name[:2])} · ")
    assert "**In this lesson you will**" in first
    assert "## What you have learned" in last
    assert first.count("\n* ") == last.count("\n* ")


@of_lessons
def test_links_lead_somewhere(lesson):
    """Files that a lesson names are there, and its neighbours are linked."""
    text = "\n".join(cell.source for cell in cells(lesson, "markdown") + cells(lesson, "code"))
    linked = re.findall(r"\]\(([^)#:]+)\)", text)
    loaded = re.findall(r'load\("([^"]+)"\)', text)
    assert [name for name in linked + loaded if not (FOLDER / name).exists()] == []
    place = LESSONS.index(lesson)
    neighbours = LESSONS[max(0, place - 1) : place] + LESSONS[place + 1 : place + 2]
    assert {path.name for path in neighbours} <= set(linked)


@of_all_pages
def test_one_cell_at_most_is_not_compared(lesson):
    """Lessons tabulate recordings that are shipped; only a live measurement may differ each time."""
    ignored = [c for c in cells(lesson, "code") if "nbval-ignore-output" in c.metadata.get("tags", [])]
    assert len(ignored) <= 1


@of_lessons
def test_shipped_recordings_are_whole(lesson):
    """Each recording that a lesson loads is complete and untouched."""
    text = "\n".join(cell.source for cell in cells(lesson, "code"))
    for name in re.findall(r'load\("([^"]+)"\)', text):
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
