"""A row per part of a call's time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bedrock_nb.metrics.clocks import SEQUENCE, parts
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import rows

__all__ = ["BREAKDOWN_COLUMNS", "breakdown"]

#: Columns of `breakdown` and their types.
BREAKDOWN_COLUMNS: dict[str, str] = {
    "recording": "int64",
    "part": "str",
    "whose": "str",
    "begin_s": "float64",
    "end_s": "float64",
    "seconds": "float64",
    "share": "float64",
    "note": "str",
}


def breakdown(source: Any) -> pd.DataFrame:
    """Where the time of a call went: a row per part, the clocks of client and service side by side.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or a collection of these

    Returns
    -------
    pandas.DataFrame
        ``recording`` (position in ``source``), ``part``, ``whose`` account it is on (``client``,
        ``connection``, ``service``, ``tools``, ``whole``), ``begin_s`` and ``end_s`` in seconds since the
        request, ``seconds``, ``share`` (of ``e2e``; of the time of the last event where no metadata came),
        ``note`` (what it means, or why it is missing). The parts of `metrics.clocks.SEQUENCE` come first and
        add up to ``e2e``; the others lie beside them, overlap, and are not to be added. A new connection has
        ``dns``, ``tcp`` and ``tls``; one from the pool has none.
    """
    return rows(source, BREAKDOWN_COLUMNS, _parts)


def _parts(recording: Recording) -> Iterator[tuple[Any, ...]]:
    found = parts(recording)
    ends = (part.end_s for part in found if part.name in SEQUENCE and part.end_s is not None)
    whole = max(ends, default=None)
    for part in found:
        share = part.seconds / whole if part.seconds is not None and whole else None
        yield part.name, part.whose, part.begin_s, part.end_s, part.seconds, share, part.note
