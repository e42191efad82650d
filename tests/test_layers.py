"""The architecture: who may import whom, and that every module says what it is for."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "bedrock_nb").rglob("*.py"))


def test_every_layer_imports_only_from_the_layers_below():
    """import-linter finds both contracts of pyproject.toml kept, and no module that they do not name."""
    lint = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", lint, "--no-cache", "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_opens_with_its_job(path):
    """A module begins with a docstring that says what it is for."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
