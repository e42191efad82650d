"""The files with which others run the course: Binder, a container for a class.

Strategy: neither Binder nor Docker runs here, so what is tested is what can go stale: names of files,
versions of Python, the package's extras, and that no password has found its way in.
"""

from __future__ import annotations

import ast
import os
import pwd
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from bedrock_nb.server.classroom import LIMITS, Classroom

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
HUB = ROOT / "docker" / "jupyterhub_config.py"
TRIED = {line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python :: 3." in line}


def test_binder_installs_this_project_with_jupyterlab():
    """What Binder is told: the project itself, an extra that it has, a Python that was tried."""
    lines = (ROOT / "binder" / "requirements.txt").read_text("utf-8").splitlines()
    (wanted,) = [line for line in lines if not line.startswith("#")]
    match = re.fullmatch(r"-e \.\[(\w+)\]", wanted)
    assert match
    assert match[1] in PROJECT["optional-dependencies"]
    assert (ROOT / "binder" / "runtime.txt").read_text("utf-8").strip().removeprefix("python-") in TRIED


def test_binder_can_run_what_comes_after():
    """``postBuild`` is a program, and sound shell."""
    script = ROOT / "binder" / "postBuild"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], timeout=30).returncode == 0


def test_the_image_has_a_python_that_was_tried():
    """Both stages begin with the same one."""
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.M))
    assert len(bases) == 1
    match = re.match(r"python:(\d+\.\d+)-slim", bases.pop())
    assert match
    assert match[1] in TRIED


def test_the_image_is_made_from_what_is_there():
    """Each path that is copied from the checkout is in it, and is let through to Docker."""
    let_through = (ROOT / "docker" / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    for line in let_through:
        assert not line.startswith("!") or (ROOT / line[1:]).exists(), line
    for path in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.M):
        assert (ROOT / path).exists()
    assert {"!bedrock_nb", "!notebooks", "!hatch_build.py", "!pyproject.toml"} <= set(let_through)


@pytest.mark.parametrize("path", ["docker/Dockerfile", "docker/jupyterhub_config.py", "binder/postBuild"])
def test_no_secret_is_in_the_files(path):
    """Passwords come from the environment, and have no default."""
    text = (ROOT / path).read_text("utf-8")
    assert not re.search(r"(?i)(ENV|ARG)\s+\w*(password|secret|key|token)", text)
    assert re.findall(r"""PASSWORD["'], ["']([^"']*)["']""", text) in ([], ["", ""])


def test_the_hub_reads_the_file_of_seats_as_the_server_writes_it(tmp_path):
    """The columns that the hub names are there, and make the variables that a seat has."""
    room = Classroom(2, seats=tmp_path / "seats.csv")
    room.save("http://127.0.0.1:8080")
    heads = (tmp_path / "seats.csv").read_text("utf-8").splitlines()[0].split(",")
    text = HUB.read_text("utf-8")
    compile(text, HUB.name, "exec")
    assert set(re.findall(r"row\[['\"](\w+)['\"]\]", text)) <= set(heads)
    assert set(re.findall(r"\"(BEDROCK_NB_\w+)\"", text)) == set(
        room.seats["student-01"].environment("http://127.0.0.1:8080")
    )


@pytest.mark.parametrize(
    ("name", "fit"),
    [("student-01", True), ("root", False), ("nobody", False), ("Ada", False), ("a b", False), ("..", False)],
)
def test_no_student_becomes_a_user_of_the_system(name, fit):
    """Whoever has the password signs in by any name of the list: root's and a service's cannot be on it."""
    functions = [node for node in ast.parse(HUB.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
    wanted = [node for node in functions if node.name == "is_fit"]
    names: dict[str, Any] = {"re": re, "pwd": pwd}
    exec(compile(ast.Module(wanted, []), HUB.name, "exec"), names)
    assert names["is_fit"](name) is fit


def test_what_the_readme_says_of_limits_is_so():
    """The example of ``CLASSROOM_LIMITS`` names limits that there are."""
    match = re.search(r"`(\w+=\d+(?:,\w+=\d+)*)`", (ROOT / "docker" / "README.md").read_text("utf-8"))
    assert match
    assert {part.partition("=")[0] for part in match[1].split(",")} <= set(LIMITS)
