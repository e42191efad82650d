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

__all__ = ["find_lessons", "lab"]


def find_lessons(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the lessons: the one given, ``notebooks`` here, or that of the source checkout.

    Raises
    ------
    RequestError
        There is no such folder, or no notebook in it.
    """
    beside_package = Path(__file__).parent.parent / "notebooks"
    choices = [Path(folder)] if folder is not None else [Path("notebooks"), beside_package]
    for choice in choices:
        if any(choice.glob("*.ipynb")):
            return choice
    raise RequestError(
        f"There are no lessons in {str(folder or 'notebooks')!r}.",
        remedy="Run this in a checkout of bedrock-nb, or name a folder of notebooks.",
    )


def lab(
    folder: str | os.PathLike[str] | None = None,
    *,
    browser: bool | None = None,
    options: Sequence[str] = (),
    announce: Callable[[str], None] = print,
) -> int:
    """Open JupyterLab on the first lesson and wait until it ends.

    Parameters
    ----------
    folder : path, optional
        The lessons.
    browser : bool, optional
        Open a browser; by default if there is one. Without, JupyterLab prints the address to open.
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
    """
    if importlib.util.find_spec("jupyterlab") is None:
        raise RequestError(
            "JupyterLab is not installed here.",
            remedy='pip install "bedrock-nb[lab]" installs it; your own notebook program will do as well.',
        )
    lessons = find_lessons(folder)
    first = min(path.name for path in lessons.glob("*.ipynb"))
    environment = dict(os.environ)
    if TARGET_VARIABLE not in environment:
        environment[TARGET_VARIABLE] = server.local()
        announce(
            f"Embedded Bedrock at {environment[TARGET_VARIABLE]}: every lesson runs without an AWS account."
        )
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
