"""Lessons as files: found, handed out, made, checked, solved, graded, recorded.

Strategy: a lesson is a notebook that keeps a convention (`rules` has it as a table), and everything here
works on files that are somebody's. Only what was asked to be run is run, in a kernel of its own.
`bedrock-nb lessons` is this package on the command line.

The modules: `finding` has where lessons are, `lesson` reads one, `rules` and `checking` say what is wrong
with it, `running` runs it, `solving` makes the solutions, `saved` reads what students handed in, `making`
begins a new one, `taping` records what lessons ask of a model, `bare` takes outputs away.
"""

from __future__ import annotations

from bedrock_nb.lessons.checking import Finding, check
from bedrock_nb.lessons.finding import Copied, copy, find
from bedrock_nb.lessons.making import new
from bedrock_nb.lessons.saved import grades
from bedrock_nb.lessons.solving import build, solutions
from bedrock_nb.lessons.taping import Taped, record

__all__ = [
    "Copied",
    "Finding",
    "Taped",
    "build",
    "check",
    "copy",
    "find",
    "grades",
    "new",
    "record",
    "solutions",
]
