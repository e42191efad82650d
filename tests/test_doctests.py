"""The examples in docstrings give what they say: each module's are run as a reader would type them.

They run against the embedded server, in an empty folder, and with ``nb`` and the module's own names at
hand. An example that needs another machine says ``# doctest: +SKIP``.
"""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

import bedrock_nb as nb

ROOT = Path(__file__).parent.parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
#: A line that begins an example and is run.
RUN = re.compile(r"^\s*>>> (?!.*# doctest: \+SKIP).*", re.MULTILINE)
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(ROOT.glob("bedrock_nb/**/*.py"))
    if RUN.search(path.read_text(encoding="utf-8"))
]
#: Lines that cannot run here, of all: what another machine, an hour or a reader's own file is needed for.
MOST_SKIPPED = 0.15


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name, tmp_path, monkeypatch, closed_figures):
    """Every example of a module runs and prints what stands below it."""
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testmod(importlib.import_module(name), extraglobs={"nb": nb}, optionflags=FLAGS)
    assert tried > 0
    assert failed == 0


def test_few_examples_are_skipped():
    """An example is there to be run."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in ROOT.glob("bedrock_nb/**/*.py"))
    lines = re.findall(r"^\s*>>> .*", text, re.MULTILINE)
    assert len(lines) - len(RUN.findall(text)) < MOST_SKIPPED * len(lines)
