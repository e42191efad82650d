"""What is released: built once, looked into, and installed in an empty environment of every Python there is.

Strategy: uv builds the sdist, and the wheel from it, as a release does. Then each Python of this machine gets
an environment of its own with that wheel and what it asks for, and one process in it does what a new user
does: the program `NEW_USER`. It is `make release-check` and no part of `make test`. Where there is no network
and no cache of uv's, nothing can be built; then the tests are skipped, but not under CI.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from bedrock_nb.doctor.installation import FILES

ROOT = Path(__file__).parents[2]
MOST = 3_000_000  # bytes of the wheel
#: What a wheel holds: the package and its metadata. Tests, benchmarks and pictures stay at home.
INSIDE = ("bedrock_nb/", "bedrock_nb-")
COURSE = "bedrock_nb/_lessons/"
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")

pytestmark = pytest.mark.timeout(600)  # where uv has nothing in its cache yet

#: What a new user does, in one process: what each step gave, as JSON.
NEW_USER = """
import warnings
with warnings.catch_warnings():
    warnings.simplefilter("error")
    import bedrock_nb as nb

import contextlib, importlib.metadata, io, json, sys
(program,) = importlib.metadata.entry_points(group="console_scripts", name="bedrock-nb")
main = program.load()

def bedrock_nb(*arguments):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            status = main(arguments)
        except SystemExit as ended:
            status = ended.code
    assert status == 0, (arguments, printed.getvalue())
    return printed.getvalue()

told = {
    "version": sys.version,
    "file": nb.__file__,
    "help": bedrock_nb("--help"),
    "doctor": json.loads(bedrock_nb("doctor", "--json")),
    "stream": bedrock_nb("stream", "Hello", "--table"),
    "copy": bedrock_nb("lessons", "copy", "course"),
    "missing": [name for name in nb.__all__ if getattr(nb, name) is None],
}
print(json.dumps(told))
"""


def uv() -> str:
    """Where uv is; it comes with the dev group."""
    beside = Path(sys.executable).parent / "uv"
    return str(beside) if beside.exists() else shutil.which("uv") or pytest.fail("there is no uv")


def ran(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command, run to its end; nothing of this environment's Python reaches it."""
    own = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith(("PYTHON", "VIRTUAL_ENV", "AWS_", "BEDROCK_NB"))
    }
    own |= {"UV_SYSTEM_CERTS": "1", "AWS_EC2_METADATA_DISABLED": "true", **environment}
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=500, cwd=cwd, env=own
    )


def done(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a command printed that had to work, if the package index can be reached or is not needed."""
    result = ran(*command, cwd=cwd, **environment)
    if result.returncode and any(word in result.stderr for word in ("connect", "dns error", "timed out")):
        reason = f"uv reaches no package index: {result.stderr[-300:]}"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def interpreter(version: str) -> Path | None:
    """A Python of this version on this machine: the running one, or where pyenv or uv have it."""
    if version == RUNNING:
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for found in sorted(pyenv.glob(f"{version}.*/bin/python")):
        return found
    managed = ran(uv(), "python", "find", "--no-python-downloads", "--no-project", version)
    return Path(managed.stdout.strip()) if managed.returncode == 0 else None


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done(uv(), "build", "--quiet", "--out-dir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(dist):
    """The one wheel."""
    (made,) = dist.glob("*.whl")
    return made


# -- looked into -----------------------------------------------------------------------------------


def test_the_wheel_is_small_and_holds_the_package_only(wheel):
    """Under 3 MB, without tests, benchmarks and documentation; with every page and script of the package."""
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.stat().st_size < MOST
    assert [name for name in names if not name.startswith(INSIDE)] == []
    assert {f"bedrock_nb/{name}" for name in FILES} <= set(names)
    assert not [name for name in names if "__pycache__" in name or Path(name).name.startswith("test_")]


def test_the_wheel_is_for_every_machine(wheel):
    """Pure Python, for Python 3."""
    assert wheel.name.endswith("-py3-none-any.whl")


def test_the_lessons_are_inside_without_outputs(wheel):
    """Whoever installs the package has the course, and makes the outputs."""
    with zipfile.ZipFile(wheel) as archive:
        lessons = {name for name in archive.namelist() if name.endswith(".ipynb")}
        outputs = [
            cell["outputs"]
            for name in lessons
            for cell in json.loads(archive.read(name))["cells"]
            if cell["cell_type"] == "code"
        ]
    assert lessons == {f"{COURSE}{path.name}" for path in ROOT.glob("notebooks/*.ipynb")}
    assert not any(outputs)


def test_the_metadata_says_what_an_index_shows(wheel):
    """A description in Markdown, the licence, the Pythons, types."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
        assert b"bedrock-nb = bedrock_nb.cli:main" in archive.read(
            name.replace("METADATA", "entry_points.txt")
        )
    assert metadata["Name"] == "bedrock-nb"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# bedrock_nb")
    assert "Typing :: Typed" in (metadata.get_all("Classifier") or [])


def test_the_sdist_lacks_nothing_that_the_wheel_needs(wheel):
    """The wheel that was built from it has the files of the package here, byte by byte, and no more."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.startswith("bedrock_nb/")]
        built = {name: archive.read(name) for name in names if not name.startswith(COURSE)}
    here = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in ROOT.joinpath("bedrock_nb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert built.keys() == here.keys()
    assert [name for name, content in built.items() if here[name] != content] == []


def test_the_sdist_holds_what_a_developer_needs(dist):
    """Tests, lessons with their outputs, documentation; and no environment or cache."""
    (made,) = dist.glob("*.tar.gz")
    with tarfile.open(made) as archive:
        top = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert {"bedrock_nb", "tests", "notebooks", "docs", "pyproject.toml", "Makefile", "LICENSE"} <= top
    assert not [name for name in top if name.startswith((".venv", ".pytest", ".mypy", "dist"))]


# -- installed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_a_new_user_has_all_of_it(wheel, tmp_path, version):
    """No warning at import, no problem for the doctor; an answer, the lessons, all commands and names."""
    python = interpreter(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    here = tmp_path / "venv" / "bin"
    done(uv(), "venv", "--quiet", "--no-project", "--python", python, here.parent)
    done(uv(), "pip", "install", "--quiet", "--python", here / "python", wheel)
    # A home without anything in it, as on a new machine; but matplotlib's list of fonts takes seconds.
    fonts = os.environ.get("MPLCONFIGDIR") or str(Path.home() / ".config" / "matplotlib")
    printed = done(
        here / "python",
        "-c",
        NEW_USER,
        cwd=tmp_path,
        HOME=str(tmp_path),
        MPLCONFIGDIR=fonts,
        PYTHONWARNINGS="error::SyntaxWarning",
    )
    told = json.loads(printed)
    assert told["version"].startswith(version)
    assert told["file"].startswith(str(tmp_path))
    assert (here / "bedrock-nb").exists()
    for command in ("lab", "serve", "stream", "doctor", "lessons", "table", "load"):
        assert f"    {command} " in told["help"]
    found = {row["check"]: row["status"] for row in told["doctor"]}
    assert {*found.values()} <= {"ok", "note"}
    assert found["libraries"] == found["files"] == found["embedded server"] == "ok"
    assert "Hello!" in told["stream"]
    assert "ttft_s" in told["stream"]
    assert [*tmp_path.glob("course/00-*.ipynb")]
    assert told["missing"] == []
