"""Opening JupyterLab on the lessons, with the embedded Bedrock running beside it.

Strategy: JupyterLab is a program of its own; this module finds the lessons, starts the embedded server, tells
every kernel where it is by an environment variable, and runs JupyterLab until it ends.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

from bedrock_nb import server
from bedrock_nb.client import TARGET_VARIABLE
from bedrock_nb.errors import RequestError
from bedrock_nb.lessons.finding import find
from bedrock_nb.server.matching import many

__all__ = ["lab"]


def lab(
    folder: str | os.PathLike[str] | None = None,
    *,
    browser: bool | None = None,
    cassette: str | os.PathLike[str] | None = None,
    options: Sequence[str] = (),
    announce: Callable[[str], None] = print,
) -> int:
    """Open JupyterLab on the first lesson and wait until it ends.

    Parameters
    ----------
    folder : path, optional
        The lessons; see `bedrock_nb.lessons.find`.
    browser : bool, optional
        Open a browser; by default if there is one. Without, JupyterLab prints the address to open.
    cassette : path, optional
        A folder of recordings: a server that replays them answers, in place of the embedded models. What was
        not recorded is refused.
    options : sequence of str
        Passed on to JupyterLab.
    announce : function
        Told, line by line, what happens.

    Returns
    -------
    int
        JupyterLab's exit status.

    Raises
    ------
    RequestError
        JupyterLab is not installed, or there are no lessons.
    ServerError
        The embedded server did not start.
    RecordingError
        The cassette is none.
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise RequestError(
            "JupyterLab is not installed here.",
            remedy='pip install "bedrock-nb[lab]" installs it; your own notebook program will do as well.',
        )
    lessons = find(folder, announce=announce)
    first = min(path.name for path in lessons.glob("*.ipynb"))
    environment = dict(os.environ)
    if cassette is not None:
        tape = server.Cassette(Path(cassette), "none")
        with server.BedrockServer(tape) as replaying:
            environment[TARGET_VARIABLE] = replaying.endpoint_url
            announce(f"Replaying {many(len(tape))} at {replaying.endpoint_url}: nobody else is asked.")
            return _run(lessons, first, environment, browser, options, announce)
    if TARGET_VARIABLE not in environment:
        environment[TARGET_VARIABLE] = server.local()
        announce(
            f"Embedded Bedrock at {environment[TARGET_VARIABLE]}: every lesson runs without an AWS account."
        )
    return _run(lessons, first, environment, browser, options, announce)


def _run(
    lessons: Path,
    first: str,
    environment: dict[str, str],
    browser: bool | None,
    options: Sequence[str],
    announce: Callable[[str], None],
) -> int:
    """Run JupyterLab until it ends; its exit status."""
    if browser is None:
        browser = _has_browser()
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={lessons.resolve()}",
        f"--LabApp.default_url=/lab/tree/{first}",
        "--LabApp.news_url=None",
        "--ServerApp.answer_yes=True",  # Ctrl-C ends it, without a question
        *([] if browser else ["--no-browser"]),
        *(["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []),
        *options,
    ]
    announce(
        f"JupyterLab opens on {first}."
        if browser
        else f"No browser here: open the address that JupyterLab prints below; it leads to {first}."
    )
    process = subprocess.Popen(command, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # JupyterLab got it too, and is closing its kernels
            continue


def _has_browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True
