"""Recordings -> tidy DataFrames: a row per event, a row per reply, a row per call of a tool.

Strategy: columns in, columns out: all recordings fill the same lists, and pandas sees them once. Units are
in the names; times are seconds since the request. What is not known is missing (NaN or <NA>), never 0.
pandas is imported here and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from bedrock_nb.errors import RequestError
from bedrock_nb.metrics import METRICS, facts, gap_pairs, measure, message_end
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import busy, in_order, spent

__all__ = [
    "EVENT_COLUMNS",
    "SUMMARY_COLUMNS",
    "TOOL_COLUMNS",
    "as_recordings",
    "events",
    "summary",
    "tool_calls",
]

_NAN = float("nan")

#: Columns of `events` and their types.
EVENT_COLUMNS: dict[str, str] = {
    "recording": "int64",
    "seq": "Int64",
    "t_s": "float64",
    "gap_s": "float64",
    "type": "str",
    "block": "Int64",
    "text": "str",
    "chars": "int64",
    "bytes": "int64",
    "tokens_est": "float64",
    "read": "Int64",
}

#: Columns of `summary` before the labels.
SUMMARY_COLUMNS: tuple[str, ...] = ("model", "status", "stop_reason", *METRICS, "request_id")

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

_WHOLE = ("token", "count", "ms")
_KIND_OF = dict.fromkeys(SUMMARY_COLUMNS, "str") | {
    name: "Int64" if metric.unit in _WHOLE else "float64" for name, metric in METRICS.items()
}


def as_recordings(source: Any) -> list[Recording]:
    """The recordings in anything that holds some: one, a reply, a turn, a path, or any collection of these.

    Raises
    ------
    RequestError
        There is something else in it.
    RecordingError
        A path that is not a readable recording.
    """
    if isinstance(source, Recording):
        return [source]
    several = getattr(source, "recordings", None)  # of a turn or a conversation: a recording per round
    if isinstance(several, list) and all(isinstance(one, Recording) for one in several):
        return list(several)
    if isinstance(getattr(source, "recording", None), Recording):
        return [source.recording]
    if isinstance(source, str | os.PathLike):
        return [Recording.load(source)]
    if isinstance(source, Iterable) and not isinstance(source, Mapping | bytes):
        return [recording for item in source for recording in as_recordings(item)]
    raise RequestError(
        f"A {type(source).__name__} is no recording.",
        remedy="Give a Recording, a Reply, a turn, the path of a recording, or a list of these.",
    )


def events(source: Any) -> pd.DataFrame:
    """A row per event, and a row per mark (``request``, ``sent``, ``headers``, ``closed``), in order of time.

    Parameters
    ----------
    source : Recording, Reply, path, or a collection of these

    Returns
    -------
    pandas.DataFrame
        ``recording`` (position in ``source``), ``seq`` (missing for marks), ``t_s`` (seconds since the
        request), ``gap_s`` (seconds since the content delta before; only for content deltas after the
        first, not over a seam and not in an answer that came whole, so that the column pooled is vLLM's
        ITL), ``type``, ``block``, ``text``, ``chars``, ``bytes`` (of the frame), ``tokens_est`` (the exact
        output tokens shared out by length of text), ``read`` (number of the network read: events with the
        same one came in one burst). Half of a surrogate pair, which models do send and Arrow's strings
        refuse, is shown as U+FFFD in ``text``.
    """
    columns: dict[str, list[Any]] = {name: [] for name in EVENT_COLUMNS}
    for number, recording in enumerate(as_recordings(source)):
        for name, values in _event_columns(number, recording).items():
            columns[name] += values
    return _frame(columns, EVENT_COLUMNS)


def _event_columns(number: int, recording: Recording) -> dict[str, list[Any]]:
    n = len(recording)  # it may be growing
    times = recording.times[:n].tolist()
    texts = [recording.text_of(i) for i in range(n)]
    content = [i for i in recording.content() if i < n]
    gaps, tokens = [_NAN] * n, [_NAN] * n
    for before, i in gap_pairs(recording, content):
        gaps[i] = times[i] - times[before]
    whole = sum(len(texts[i]) for i in content)
    out_tokens = facts(recording).N
    if out_tokens is not None and whole:
        for i in content:
            tokens[i] = out_tokens * len(texts[i]) / whole
    marks = {"request": 0.0, **recording.marks}
    m = len(marks)
    columns: dict[str, list[Any]] = {
        "recording": [number] * (m + n),
        "seq": [None] * m + list(range(n)),
        "t_s": [*marks.values(), *times],
        "gap_s": [_NAN] * m + gaps,
        "type": [*marks, *(recording.kind(i).__name__ for i in range(n))],
        "block": [None] * m + [recording.block_of(i) for i in range(n)],
        "text": [""] * m + _sound(texts),
        "chars": [0] * m + [len(text) for text in texts],
        "bytes": [0] * m + recording.sizes[:n].tolist(),
        "tokens_est": [_NAN] * m + tokens,
        "read": [None] * m + recording.reads[:n].tolist(),
    }
    # A mark at the moment of an event stands before it, except the end.
    when = [(name == "closed", t) for name, t in zip(columns["type"], columns["t_s"], strict=True)]
    order = sorted(range(m + n), key=when.__getitem__)
    return {name: [values[i] for i in order] for name, values in columns.items()}


def _sound(texts: list[str]) -> list[str]:
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        return [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
    return texts


def _frame(columns: Mapping[str, list[Any]], kinds: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(values, dtype=kinds.get(name)) for name, values in columns.items()})


def summary(source: Any) -> pd.DataFrame:
    """A row per reply: how it ended, its times, pace and tokens, its request id, its labels.

    Parameters
    ----------
    source : Recording, Reply, path, or a collection of these

    Returns
    -------
    pandas.DataFrame
        The columns of `SUMMARY_COLUMNS`, then one per label, after ``label_`` where its name is taken.
        `metrics.explain` gives each formula.
    """
    recordings = as_recordings(source)
    rows = [
        {
            "model": recording.model or None,
            "status": recording.status,
            "stop_reason": recording.stop_reason,
            **measure(recording),
            "request_id": recording.envelope.get("request_id") or None,
        }
        for recording in recordings
    ]
    columns = {name: [row[name] for row in rows] for name in SUMMARY_COLUMNS}
    for label in dict.fromkeys(label for recording in recordings for label in recording.labels):
        name = label
        while name in columns:
            name = f"label_{name}"
        columns[name] = [recording.labels.get(label) for recording in recordings]
    return _frame(columns, _KIND_OF)


def tool_calls(source: Any) -> pd.DataFrame:
    """A row per call of a tool: what came of it, when it ran, and what it gained to begin early.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, or a collection of these

    Returns
    -------
    pandas.DataFrame
        ``recording`` (position in ``source``), ``name``, ``id``, ``outcome`` (see `toolruns.Outcome`),
        ``eager`` (let run before the message had ended), the moments ``asked_s``, ``began_s`` and
        ``ended_s`` in seconds since the recording's request, ``waited_s`` (for approval), ``run_s`` (ended -
        began), ``message_s`` (when the message stopped, or its last event), ``overlap_s`` (the part of the
        run before ``message_s``: time that nobody had to wait), ``error`` (what the model was told went
        wrong). A call that never ran has no ``began_s``, ``run_s`` and ``overlap_s``.
    """
    columns: dict[str, list[Any]] = {name: [] for name in TOOL_COLUMNS}
    for number, recording in enumerate(as_recordings(source)):
        end = message_end(recording)
        for run in in_order(recording.tools):
            ran = busy([run])
            row = {name: getattr(run, name, None) for name in TOOL_COLUMNS} | {
                "recording": number,
                "run_s": spent(ran) if ran else None,
                "message_s": end,
                "overlap_s": spent(ran, end) if ran and end is not None else None,
            }
            for name, values in columns.items():
                values.append(row[name])
    for name in ("name", "id", "error"):  # a model's words
        columns[name] = _sound(columns[name])
    return _frame(columns, TOOL_COLUMNS)
