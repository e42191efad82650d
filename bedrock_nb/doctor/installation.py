"""What is installed: Python, the libraries within their bounds, this package's own files, disk, fonts.

Strategy: the bounds are read from the metadata of the installed package, which pyproject.toml wrote; nothing
is stated twice. No library is imported to learn its version.
"""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from bedrock_nb.doctor.finding import Finding, note, ok, problem

__all__ = ["FILES", "assets", "disk", "extras", "fonts", "libraries", "python"]

_PACKAGE = "bedrock-nb"
_MISSING = "is not installed"
_ROOM = 500_000_000  # bytes: a night of journals

#: Files of this package that are no Python: where they are, and what does not work without them.
FILES: dict[str, str] = {
    "py.typed": "type checkers",
    "course/guess.css": "the guesses of lessons",
    "course/guess.js": "the guesses of lessons",
    "models/models.json": "the catalogue of models",
    "panel/panel.css": "the chat panel",
    "panel/panel.js": "the chat panel",
    "report/page.html.jinja": "reports",
    "server/corpus.txt": "the small language model",
    "server/page/classroom.js": "the dashboard of a classroom",
    "server/page/index.html": "the status page",
    "server/page/status.css": "the status page",
    "server/page/status.js": "the status page",
    "slider/slider.css": "the slider",
    "slider/slider.js": "the slider",
}


def python() -> Finding:
    """Python's own version, by the bounds of the package."""
    here = ".".join(map(str, sys.version_info[:3]))
    try:
        bounds = str(importlib.metadata.metadata(_PACKAGE)["Requires-Python"])
    except importlib.metadata.PackageNotFoundError:
        return note(
            f"{here}; bedrock-nb is not installed, only found on the path.", "pip install . in its folder."
        )
    if SpecifierSet(bounds).contains(here, prereleases=True):
        return ok(f"{here} (wanted: {bounds})")
    return problem(f"{here} (wanted: {bounds})", "Install a newer Python and make a new environment with it.")


def libraries() -> Finding:
    """The libraries that are always needed."""
    wanted = [requirement for requirement in _requirements() if requirement.marker is None]
    wrong = _wrong(wanted)
    if wrong:
        return problem(
            "; ".join(f"{name} {why}" for name, why in wrong.items()), f"{_pip()} --upgrade {_quoted(wrong)}"
        )
    return ok(f"{len(wanted)} of {len(wanted)} within their bounds") if wanted else note("not known")


def extras() -> Finding:
    """Which of the package's extras are complete."""
    by_extra: dict[str, list[Requirement]] = {}
    for requirement in _requirements():
        for extra in _extras():
            marker = requirement.marker
            if marker is not None and marker.evaluate({"extra": extra}):
                by_extra.setdefault(extra, []).append(requirement)
    wrong = {extra: _wrong(each) for extra, each in by_extra.items()}
    # What is missing is not wanted; some of it may be there for other reasons. What is too old is wrong.
    old = {extra: each for extra, each in wrong.items() if any(why != _MISSING for why in each.values())}
    if old:
        told = "; ".join(f"{name} {why}" for each in old.values() for name, why in each.items())
        return note(told, f'If you need them: {_pip()} --upgrade "{_PACKAGE}[{",".join(old)}]"')
    here = ", ".join(extra for extra, each in wrong.items() if not each)
    missing = ", ".join(extra for extra, each in wrong.items() if each)
    return ok(f"here: {here or 'none'}" + (f"; not here: {missing}" if missing else ""))


def _requirements() -> list[Requirement]:
    try:
        return [Requirement(line) for line in importlib.metadata.requires(_PACKAGE) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []


def _extras() -> list[str]:
    return importlib.metadata.metadata(_PACKAGE).get_all("Provides-Extra") or []


def _wrong(wanted: list[Requirement]) -> dict[Requirement, str]:
    """What is missing or out of bounds, and why."""
    wrong = {}
    for requirement in wanted:
        try:
            here = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            wrong[requirement] = _MISSING
            continue
        if not requirement.specifier.contains(here, prereleases=True):
            wrong[requirement] = f"is {here}"
    return wrong


def _pip() -> str:
    return f"{Path(sys.executable).name} -m pip install"


def _quoted(wanted: dict[Requirement, str]) -> str:
    return " ".join(f'"{requirement}"' for requirement in wanted)


def assets() -> Finding:
    """The files of this package that are no Python: pages, scripts, data."""
    package = files("bedrock_nb")
    missing = {name: use for name, use in FILES.items() if not package.joinpath(*name.split("/")).is_file()}
    if missing:
        return problem(
            f"missing: {', '.join(missing)}; without them no {', '.join(dict.fromkeys(missing.values()))}",
            f"{_pip()} --force-reinstall --no-deps {_PACKAGE}",
        )
    return ok(f"{len(FILES)} of {len(FILES)} in the package")


def disk() -> Finding:
    """Room, and the right to write: journals and recordings are files."""
    for name, folder in {"this folder": Path.cwd(), "the folder of temporary files": _temporary()}.items():
        if folder is None or not os.access(folder, os.W_OK):
            return note(
                f"{name} cannot be written to",
                "Recordings and journals need a folder of yours: change to one, or give paths there.",
            )
    room = shutil.disk_usage(Path.cwd()).free
    if room < _ROOM:
        return note(f"{room / 1e6:.0f} MB free here", "Make room before you record or run a sweep.")
    return ok(f"{room / 1e9:.0f} GB free here, and it can be written to")


def _temporary() -> Path | None:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None


def fonts() -> Finding:
    """Whether plots find their font, and matplotlib a place to remember where."""
    import matplotlib as mpl

    listed = [*Path(mpl.get_cachedir()).glob("fontlist-*.json")]
    # Where it may write nowhere, it makes a folder of this name and sets the variable itself.
    if (
        Path(mpl.get_cachedir()).name.startswith("matplotlib-")
        and Path(mpl.get_cachedir()).parent == _temporary()
    ):
        return note(
            "matplotlib has no folder to keep its list of fonts in, and makes it anew each time",
            "Set MPLCONFIGDIR to a folder that you may write to.",
        )
    if not listed:
        return ok("the first plot makes matplotlib's list of fonts, once, in some seconds")
    from matplotlib.font_manager import FontProperties, findfont

    family = mpl.rcParams["font.family"]
    try:
        findfont(FontProperties(family=family), fallback_to_default=False)
    except ValueError:
        return note(f"no font {', '.join(family)} for plots", "Delete matplotlib's style settings.")
    return ok(f"matplotlib draws {', '.join(family)}")
