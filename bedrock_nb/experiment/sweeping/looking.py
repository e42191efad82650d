"""A dry run: what a sweep would ask, by what its folder has already. Nothing is asked, and nothing written.

Strategy: the folder is read as a run would read it, but not opened as one: no lock, no folder made, nothing
settled. So one may look at a sweep that runs, and a reply that was cut short counts as not asked, even if its
journal turns out to be whole. Of a dataset `scattering` does the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from bedrock_nb import lines
from bedrock_nb.errors import RecordingError
from bedrock_nb.experiment.grid import Cell
from bedrock_nb.experiment.store import ENDS, FAILED, Memory, Store, finished
from bedrock_nb.experiment.sweeping.plan import refuse, said
from bedrock_nb.experiment.sweeping.result import Sweep

__all__ = ["STATUS", "looked_at"]

#: Of a sweep of which something is left, in a dry run.
STATUS = "not asked"


def looked_at(
    planned: Sequence[Cell],
    plan: Mapping[str, Any],
    folder: str | os.PathLike[str] | None,
    *,
    retry_failed: bool = False,
) -> Sweep:
    """The sweep as it stands before it is asked.

    Parameters
    ----------
    planned : list of Cell
    plan : mapping
        In words.
    folder : path, optional
    retry_failed : bool
        Whether what failed would be asked again.

    Raises
    ------
    RequestError
        In the folder is another sweep.
    RecordingError
        It cannot be read.
    """
    if folder is None:
        return Sweep(planned, Memory().load, {}, status=STATUS)
    store = Store(folder)  # not opened
    try:
        there = set(finished(store.folder)) if store.replies.is_dir() else set()
    except OSError as err:
        raise RecordingError(
            f"The folder {store.folder.name!r} cannot be read: {lines.why(err)}.",
            remedy="Check that it may be.",
        ) from None
    refuse(store.folder.name, said(store.told()), plan, there - {cell.key for cell in planned})
    done = {cell.key: store.status(cell.key) for cell in planned if cell.key in there}
    kept = {
        key: status
        for key, status in done.items()
        if status in ENDS and not (retry_failed and status in FAILED)
    }
    status = STATUS if len(kept) < len(planned) else "complete"
    return Sweep(planned, store.load, kept, status=status, folder=store.folder)
