"""The course inside the wheel: lessons without outputs, and the recordings that they load.

Strategy: a notebook with its pictures is too large for a wheel, and whoever installs one runs the lessons
anyway. So the wheel gets bare copies under ``bedrock_nb/_lessons``; `bedrock_nb.lessons.find` looks there. An
editable install needs none, and an sdist has the notebooks as they are.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

#: Where the wheel has them.
_INSIDE = "bedrock_nb/_lessons"


class CourseHook(BuildHookInterface):
    """Adds the course to a wheel."""

    PLUGIN_NAME = "custom"
    _made: Path | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make the bare copies, before the wheel is packed."""
        notebooks = Path(self.root) / "notebooks"
        if version == "editable" or not notebooks.is_dir():
            return
        bare = _bare_module(Path(self.root))
        self._made = Path(tempfile.mkdtemp())
        for inner in bare.course_files(notebooks):
            source, target = notebooks / inner, self._made / inner
            target.parent.mkdir(parents=True, exist_ok=True)
            if inner.suffix == ".ipynb":
                target.write_text(bare.bare(source.read_text(encoding="utf-8")), encoding="utf-8")
            else:
                shutil.copyfile(source, target)
            build_data["force_include"][str(target)] = f"{_INSIDE}/{inner.as_posix()}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Throw the copies away."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)


def _bare_module(root: Path) -> Any:
    """`bedrock_nb.lessons.bare` by itself: the libraries of the package are not here when it is built."""
    path = root / "bedrock_nb" / "lessons" / "bare.py"
    spec = importlib.util.spec_from_file_location("bare", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
