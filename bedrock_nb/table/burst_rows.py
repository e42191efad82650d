"""A row per burst: content deltas that one network read brought."""

from __future__ import annotations

from typing import Any

import pandas as pd

from bedrock_nb.metrics.bursts import bursts as of_recording
from bedrock_nb.table.frame import rows

__all__ = ["BURST_COLUMNS", "bursts"]

#: Columns of `bursts` and their types.
BURST_COLUMNS: dict[str, str] = {
    "recording": "int64",
    "read": "int64",
    "t_s": "float64",
    "events": "int64",
    "chunks": "int64",
    "chars": "int64",
    "gap_before_s": "float64",
    "late_s": "float64",
    "made_by": "str",
}


def bursts(source: Any) -> pd.DataFrame:
    """A row per network read that brought two or more content deltas, and who made them come together.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or a collection of these

    Returns
    -------
    pandas.DataFrame
        ``recording`` (position in ``source``), ``read`` (number of the network read), ``t_s`` (seconds since
        the request), ``events`` (of any kind), ``chunks`` (content deltas), ``chars`` in them,
        ``gap_before_s`` (since the content delta before), ``late_s`` (for how long at most the bytes may have
        been there; missing if the reader was waiting), ``made_by``: ``service`` (they came together: the
        reader was waiting, was away too short for so many, or it was one record of TLS; sent as one, or
        joined on the way), ``client`` (they may have come one by one while other code ran, in this thread or
        another), ``unknown`` (the recording cannot tell). `metrics.verdict` says it in words.
    """
    return rows(source, BURST_COLUMNS, of_recording)
