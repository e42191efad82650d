"""The project's own files agree with each other: requirements, version, changelog, licence, tests."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import bedrock_nb

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]

#: Names that conda-forge spells otherwise; matplotlib there brings a GUI toolkit, matplotlib-base does not.
CONDA_FORGE = {
    "docstring-parser": "docstring_parser",
    "duckdb": "python-duckdb",
    "matplotlib": "matplotlib-base",
}

REQUIREMENTS = {
    "dependencies": PROJECT["dependencies"],
    **PROJECT["optional-dependencies"],
    **PYPROJECT["dependency-groups"],
}
EACH = [(group, line) for group, lines in REQUIREMENTS.items() for line in lines if isinstance(line, str)]


def split(requirement: str) -> tuple[str, str]:
    """Take a requirement apart into its name and its version bounds."""
    match = re.fullmatch(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(.*)", requirement)
    assert match, requirement
    return match[1].lower(), match[2]


def environment() -> tuple[dict[str, str], list[str]]:
    """Read environment.yml: conda's requirements with their bounds, and the lines under ``pip:``."""
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    text = text.split("\ndependencies:\n")[1]
    conda, _, pip = text.partition("  - pip:\n")
    return dict(map(split, re.findall(r"^  - (.+)$", conda, re.M))), re.findall(r"^      - (.+)$", pip, re.M)


def test_environment_yml_asks_for_what_pyproject_asks_for():
    """The conda environment has the same libraries with the same bounds, and then this project itself."""
    conda, pip = environment()
    wanted = dict(map(split, PROJECT["dependencies"] + PROJECT["optional-dependencies"]["lab"]))
    assert pip == ["-e .[lab]"]
    assert conda.pop("python").startswith(PROJECT["requires-python"] + ",")
    assert conda.pop("pip") == ""
    assert conda == {CONDA_FORGE.get(name, name): bounds for name, bounds in wanted.items()}


@pytest.mark.parametrize(("group", "requirement"), EACH, ids=[f"{group}-{line}" for group, line in EACH])
def test_every_requirement_says_why(group, requirement):
    """A requirement has a lower bound, and a comment on its line with the reason for the library."""
    assert re.search(r"[>~]=\d", requirement)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf'^\s*"{re.escape(requirement)}",\s*#( \S+){{3,}}', text, re.M)


def test_the_version_is_the_same_everywhere():
    """pyproject.toml, the package and the changelog name one version."""
    version = PROJECT["version"]
    assert bedrock_nb.__version__ == version
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(version)}\] - (Unreleased|\d{{4}}-\d\d-\d\d)$", changelog, re.M)


def test_the_licence_is_the_one_pyproject_names():
    """LICENSE is the full text of the Apache License 2.0."""
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_package_is_typed():
    """Type checkers of users read our annotations only where there is a py.typed."""
    assert (ROOT / "bedrock_nb" / "py.typed").is_file()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_test_states_a_behaviour(path):
    """Every test function has a docstring that says what must hold."""
    tests = [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert [test.name for test in tests if not ast.get_docstring(test)] == []
