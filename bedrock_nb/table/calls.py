"""A row per call of a tool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bedrock_nb.metrics import message_end
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import rows
from bedrock_nb.toolruns import busy, in_order, spent

__all__ = ["TOOL_COLUMNS", "tool_calls"]

#: Columns of `tool_calls` and their types.
TOOL_COLUMNS: dict[str, str] = {
    "recording": "int64",
    "name": "str",
    "id": "str",
    "outcome": "str",
    "eager": "bool",
    "asked_s": "float64",
    "began_s": "float64",
    "ended_s": "float64",
    "waited_s": "float64",
    "run_s": "float64",
    "message_s": "float64",
    "overlap_s": "float64",
    "error": "str",
}


def tool_calls(source: Any) -> pd.DataFrame:
    """A row per call of a tool: what came of it, when it ran, and what it gained to begin early.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or a collection of these

    Returns
    -------
    pandas.DataFrame
        ``recording`` (position in ``source``), ``name``, ``id``, ``outcome`` (see `toolruns.Outcome`),
        ``eager`` (let run before the message had ended), the moments ``asked_s``, ``began_s`` and
        ``ended_s`` in seconds since the recording's request, ``waited_s`` (for approval), ``run_s`` (ended -
        began), ``message_s`` (when the message stopped, or its last event), ``overlap_s`` (the part of the
        run before ``message_s``: time that nobody had to wait), ``error`` (what the model was told went
        wrong). A call that never ran has no ``began_s``, ``run_s`` and ``overlap_s``.

    Raises
    ------
    RequestError
        There is something in ``source`` that has no recording.
    RecordingError
        A path that is not a readable recording.
    """
    return rows(source, TOOL_COLUMNS, _runs)


def _runs(recording: Recording) -> Iterator[list[Any]]:
    end = message_end(recording)
    _, *names = TOOL_COLUMNS
    for run in in_order(recording.tools):
        ran = busy([run])
        made = {
            "run_s": spent(ran) if ran else None,
            "message_s": end,
            "overlap_s": spent(ran, end) if ran and end is not None else None,
        }
        yield [made[name] if name in made else getattr(run, name) for name in names]
