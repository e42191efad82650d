"""Running a lesson from top to bottom, as a reader does with Run All.

Strategy: nbclient starts a kernel of this very Python; one limit is for the whole lesson, not for each cell.
Outputs, those of a failed cell too, are in the notebook afterwards.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bedrock_nb.errors import LessonError
from bedrock_nb.render import printable

__all__ = ["SECONDS", "Run", "run"]

#: Seconds that a lesson may take.
SECONDS = 60.0
#: A lesson is not waited for any longer than so many times that.
_PATIENCE = 3.0


class Run(NamedTuple):
    """How it went: seconds, and of a cell that failed its number, from 1, and what it said."""

    seconds: float
    cell: int | None = None
    failed: str = ""

    @property
    def why(self) -> str:
        """The first line of that, as part of a sentence."""
        return self.failed.partition("\n")[0].rstrip(".")


def run(
    notebook: Any,
    folder: Path,
    *,
    seconds: float = SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Run:
    """Run all cells of a notebook; its outputs are in it afterwards.

    Parameters
    ----------
    notebook : NotebookNode
        It is changed.
    folder : path
        The kernel's folder.
    seconds : float
        A run is given up after three times as many.
    environment : mapping, optional
        What the kernel has besides this process's environment.

    Raises
    ------
    LessonError
        nbclient is not installed. A cell that fails is no error here: see `Run`.
    """
    try:
        from nbclient import NotebookClient
        from nbclient.exceptions import (
            CellControlSignal,
            CellExecutionError,
            CellTimeoutError,
            DeadKernelError,
        )
    except ImportError:
        raise LessonError(
            "What runs notebooks is not installed here.", remedy='pip install "bedrock-nb[lab]" installs it.'
        ) from None

    begun = time.monotonic()
    last = begun + seconds * _PATIENCE
    client = NotebookClient(
        notebook,
        timeout_func=lambda _: max(1, int(last - time.monotonic())),
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        coalesce_streams=True,
    )
    kept = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}  # the kernel chooses
    failed = ""
    try:
        client.execute(env={**kept, **(environment or {})}, stderr=subprocess.DEVNULL)
    except CellExecutionError as err:
        failed = printable(f"{err.ename}: {err.evalue}")
    except CellTimeoutError:
        failed = f"still runs after {seconds * _PATIENCE:.0f} s"
    except (DeadKernelError, CellControlSignal) as err:
        failed = f"the kernel is gone ({type(err).__name__})"
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    return Run(time.monotonic() - begun, _stopped_at(notebook) if failed else None, failed)


def _stopped_at(notebook: Any) -> int | None:
    """The last cell that was begun: the one that failed."""
    begun = [
        n for n, cell in enumerate(notebook.cells, 1) if cell.get("outputs") or cell.get("execution_count")
    ]
    failed = [
        n
        for n, cell in enumerate(notebook.cells, 1)
        for output in cell.get("outputs", ())
        if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", [])
    ]
    return failed[-1] if failed else begun[-1] if begun else None
