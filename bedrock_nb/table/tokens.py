"""A row per reply of what it says about its tokens, and whether that can be true."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pandas as pd

from bedrock_nb.metrics.tokens import audit
from bedrock_nb.recording import Recording
from bedrock_nb.table.frame import rows

__all__ = ["USAGE_COLUMNS", "usage"]

#: Columns of `usage` and their types.
USAGE_COLUMNS: dict[str, str] = {
    "recording": "int64",
    "model": "str",
    "status": "str",
    "fresh_tokens": "Int64",
    "cache_read_tokens": "Int64",
    "cache_write_tokens": "Int64",
    "output_tokens": "Int64",
    "total_said_tokens": "Int64",
    "input_bedrock_tokens": "Int64",
    "input_otel_tokens": "Int64",
    "total_plain_tokens": "Int64",
    "total_bedrock_tokens": "Int64",
    "total_otel_tokens": "Int64",
    "raw": "str",
    "mismatch": "str",
}


def usage(source: Any) -> pd.DataFrame:
    """A row per reply: its tokens by two conventions, what Bedrock itself said, and what does not fit.

    Bedrock's input tokens leave out those that a prompt cache read or wrote, OpenTelemetry's hold them.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or a collection of these

    Returns
    -------
    pandas.DataFrame
        ``recording`` (position in ``source``), ``model``, ``status``; the parts, which do not overlap:
        ``fresh_tokens``, ``cache_read_tokens``, ``cache_write_tokens``, ``output_tokens``;
        ``total_said_tokens`` (Bedrock's ``totalTokens``); input and total by Bedrock's and by
        OpenTelemetry's convention: ``input_bedrock_tokens``, ``input_otel_tokens``, ``total_plain_tokens``
        (without the cache), ``total_bedrock_tokens``, ``total_otel_tokens``; ``raw`` (Bedrock's own usage,
        as JSON without spaces, its members in the order in which they came; missing if none came);
        ``mismatch`` (sentences on what does not fit, see `metrics.tokens.audit`; missing if all does).

    Raises
    ------
    RequestError
        There is something in ``source`` that has no recording.
    RecordingError
        A path that is not a readable recording.
    """
    return rows(source, USAGE_COLUMNS, _reply)


def _reply(recording: Recording) -> Iterator[list[Any]]:
    tokens = audit(recording)
    row = {f"{name}_tokens": value for name, value in tokens._asdict().items()} | {
        "model": recording.model or None,
        "status": recording.status,
        "raw": _json(tokens.raw) if tokens.raw else None,
        "mismatch": "; ".join(tokens.mismatches) or None,
    }
    _, *names = USAGE_COLUMNS
    yield [row[name] for name in names]


def _json(raw: dict[str, Any]) -> str:
    return json.dumps(raw, separators=(",", ":"), default=repr)
