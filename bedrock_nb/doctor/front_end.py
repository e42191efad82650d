"""Where notebooks are shown, and whether that place can show widgets.

Strategy: a kernel cannot see the page that shows it, but each place leaves a mark: a variable, a module.
Whether widgets appear is decided by the JupyterLab that serves the page; what can be seen from here is if the
environment that this Python belongs to has their front-end halves, in versions that fit.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bedrock_nb.doctor.finding import Finding, note, ok

__all__ = ["PLACES", "program", "widgets"]


def _set(*names: str) -> Callable[[], bool]:
    return lambda: any(os.environ.get(name) for name in names)


#: Where we may be -> how it shows, the most special first.
PLACES: dict[str, Callable[[], bool]] = {
    "Google Colab": lambda: "google.colab" in sys.modules or _set("COLAB_RELEASE_TAG")(),
    "Binder": _set("BINDER_SERVICE_HOST", "BINDER_LAUNCH_HOST"),
    "SageMaker": lambda: Path("/opt/ml/metadata/resource-metadata.json").exists(),
    "VS Code": lambda: _set("VSCODE_PID", "VSCODE_CWD")() and in_kernel(),
    "JupyterHub": _set("JUPYTERHUB_USER"),
    "a Jupyter server": _set("JPY_SESSION_NAME", "JPY_PARENT_PID"),
}
#: These bring the front-end halves of widgets themselves.
_BRING_THEIR_OWN = ("Google Colab", "VS Code")

#: npm package of the front-end half -> the Python package, and which versions go together.
_HALVES: dict[str, tuple[str, Callable[[str, str], bool]]] = {
    "@jupyter-widgets/jupyterlab-manager": (
        "ipywidgets",
        lambda front, back: _major(front) - _major(back) == -3,  # 5.x on the page goes with ipywidgets 8
    ),
    "anywidget": ("anywidget", lambda front, back: front.split(".")[:2] == back.split(".")[:2]),
}


def in_kernel() -> bool:
    """Whether this runs in a notebook's kernel, and not in a terminal or a script."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return getattr(shell, "kernel", None) is not None


def where() -> str:
    """The name of the place; empty if there is no mark of any."""
    return next((name for name, is_here in PLACES.items() if is_here()), "")


def program() -> Finding:
    """Which notebook program this is, or which are installed."""
    there = {name: _version(name) for name in ("jupyterlab", "notebook")}
    installed = ", ".join(f"{name} {version}" for name, version in there.items() if version)
    place = where()
    if in_kernel():
        return ok(f"a kernel in {place or 'a notebook program that leaves no mark'}")
    if place:
        return ok(f"{place}; {installed or 'no JupyterLab in this environment'}")
    if installed:
        return ok(installed)
    return note(
        "neither JupyterLab nor Notebook is installed in this environment",
        'pip install "bedrock-nb[lab]", or use the notebook program that you have.',
    )


def widgets() -> Finding:
    """Whether the chat panel, the slider and the guesses can appear in a notebook."""
    place = where()
    if place in _BRING_THEIR_OWN:
        return ok(f"{place} brings what widgets need to its page")
    front = {name: _front_half(name) for name in _HALVES}
    missing = [name for name, version in front.items() if version is None]
    if missing:
        wanted = " ".join(_HALVES[name][0] for name in missing)
        return note(
            f"no {', no '.join(missing)} where this environment's JupyterLab looks: widgets stay text",
            f"pip install {wanted} into the environment that runs JupyterLab, and start it anew.",
        )
    misfits = [
        f"{name} {front[name]} with {package} {_version(package)}"
        for name, (package, fit) in _HALVES.items()
        if not _fits(fit, front[name], _version(package))
    ]
    if misfits:
        return note(
            f"versions that do not go together: {'; '.join(misfits)}",
            "pip install --upgrade ipywidgets jupyterlab_widgets anywidget, and start JupyterLab anew.",
        )
    return ok("; ".join(f"{name} {version}" for name, version in front.items()))


def _front_half(name: str) -> str | None:
    """The version of a front-end half that JupyterLab would find, or None."""
    from jupyter_core.paths import jupyter_path

    for folder in jupyter_path("labextensions"):
        try:
            told: Any = json.loads((Path(folder) / name / "package.json").read_text("utf-8"))
            return str(told["version"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _major(version: str) -> int:
    return int(version.split(".")[0])


def _fits(fit: Callable[[str, str], bool], front: str | None, back: str | None) -> bool:
    try:
        return front is None or back is None or fit(front, back)
    except ValueError:  # a version that is no number
        return False
