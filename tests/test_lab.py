"""Opening JupyterLab on the lessons: a real JupyterLab, without a browser."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import bedrock_nb as nb
from bedrock_nb.errors import RequestError
from bedrock_nb.lab import lab
from bedrock_nb.lessons import find

pytest.importorskip("jupyterlab", reason="JupyterLab is in the extra 'lab'")


def test_lab_opens_lesson_1_with_the_embedded_server_running(tmp_path):
    """JupyterLab answers, its start page is the first lesson, and the embedded server runs."""
    (tmp_path / "02-second.ipynb").write_text("{}")
    (tmp_path / "01-first.ipynb").write_text("{}")
    runtime = tmp_path / "runtime"
    # What `bedrock-nb lab` does, with options that keep it away from the user's own configuration.
    code = (
        "from bedrock_nb.lab import lab; import sys;"
        f"sys.exit(lab({str(tmp_path)!r}, options=['--ServerApp.port=0', '--IdentityProvider.token=secret']))"
    )
    environment = {
        **{name: value for name, value in os.environ.items() if name not in ("BROWSER", "DISPLAY")},
        "JUPYTER_RUNTIME_DIR": str(runtime),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "PATH": str(Path(sys.executable).parent),
    }
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
        start_new_session=True,
    )
    with process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        embedded = re.search(r"http://127\.0\.0\.1:\d+", said[0])
        assert embedded, said
        assert "01-first.ipynb" in said[1]
        url = address(runtime)
        start = urllib.request.urlopen(f"{url}/?token=secret", timeout=20)
        assert start.url.startswith(f"{url}/lab/tree/01-first.ipynb")
        page = urllib.request.urlopen(embedded[0], timeout=10).read()
        assert b"<title>Embedded Bedrock</title>" in page
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(embedded[0], timeout=10)


def test_lab_replays_what_was_recorded(tmp_path, capfd):
    """With a cassette, its server answers for the time of JupyterLab, and nobody else is asked."""
    lessons = Path(nb.__file__).parents[1] / "notebooks"
    told: list[str] = []
    status = lab(
        lessons, cassette=lessons / "recordings" / "models", options=["--version"], announce=told.append
    )
    assert status == 0
    assert re.match(r"Replaying \d+ recordings at http://127\.0\.0\.1:\d+: nobody else is asked", told[0])
    assert re.match(r"\d+\.", capfd.readouterr().out)  # what JupyterLab was asked for, in place of a session
    with pytest.raises(RequestError, match="no cassette 'none'"):
        lab(lessons, cassette=tmp_path / "none")


def address(runtime: Path) -> str:
    """Where the Jupyter server listens, from the file that it leaves."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for file in runtime.glob("jpserver-*.json"):
            info = json.loads(file.read_text() or "{}")
            if info.get("port"):
                return f"http://127.0.0.1:{info['port']}"
        time.sleep(0.05)
    raise AssertionError("JupyterLab did not start")


def test_the_lessons_of_the_checkout_are_found():
    """Without an argument, the lessons beside the package."""
    assert any(find().glob("01-*.ipynb"))


def test_a_folder_without_lessons_is_refused(tmp_path):
    """The error says where lessons are to be had."""
    with pytest.raises(RequestError, match="checkout of bedrock-nb"):
        find(tmp_path)
