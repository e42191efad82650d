"""The exercises of every lesson can be solved: each solution is run, and its check says that it is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedrock_nb.lessons.lesson import read
from bedrock_nb.lessons.saved import shown
from bedrock_nb.lessons.solving import solve

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("[0-9][0-9]-*.ipynb"))


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_every_solution_is_graded_right(lesson, tmp_path):
    """In another folder, with the set-up cell and the section of exercises alone."""
    made = read(solve(lesson, tmp_path))
    names = [exercise.name for exercise in read(lesson).exercises]
    assert names
    assert {grade.name: grade.status for grade in shown(made.notebook)} == dict.fromkeys(names, "right")
