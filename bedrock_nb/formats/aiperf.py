"""AIPerf's exported records -> a table like that of ``bedrock_nb.summary``.

Strategy: `read_aiperf` takes over what AIPerf 0.13 measures in the way in which the column is meant, by the
source of its version 0.13.0 (``aiperf/common/models/record_models.py``, ``aiperf/metrics/types/``): one table
from its metrics to our columns, each value with the unit that stands beside it. What it does not know is
missing; all else that is one number stays under its own name, times in seconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import without_accounts
from bedrock_nb.formats.foreign import Reading, runs
from bedrock_nb.metrics import percentile

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_aiperf"]

_KNOWN_VERSION = (0, 13)
#: AIPerf's metric -> our column, where both mean the same.
_TIMES = {
    "time_to_first_token": "ttft_s",
    "time_to_first_output_token": "ttfvt_s",
    "time_to_second_token": "ttst_s",
    "request_latency": "ttlt_s",
    "inter_token_latency": "tpot_s",
}
_GAPS = "inter_chunk_latency"
_PER_SECOND = {"ns": 1e9, "us": 1e6, "ms": 1e3, "sec": 1.0, "s": 1.0}
#: The reply broke off, by aiohttp's name for how; anything else is an error.
_CUT = (
    *("ClientPayloadError", "ServerDisconnectedError", "ClientOSError", "ClientConnectionResetError"),
    *("TimeoutError", "ServerTimeoutError", "SocketTimeoutError", "ConnectionResetError"),
)
_KINDS = {
    "run": "str",
    "phase": "str",
    "conversation": "str",
    "turn": "Int64",
    "concurrency": "Int64",
    "error": "str",
}


def read_aiperf(path: str | os.PathLike[str]) -> pd.DataFrame:
    """What AIPerf exported of a run, or of all runs in and under a folder, a row per request.

    Parameters
    ----------
    path : path
        The folder of artifacts, or a ``profile_export.jsonl`` (``--export-level records``, the default).
        ``profile_export_aiperf.json`` is read if it is beside it: the model's name is only there.

    Returns
    -------
    pandas.DataFrame
        The columns of ``bedrock_nb.summary``, so that comparisons and plots take it as it is; then ``run``
        (the folder's name), ``phase`` (``warmup`` or ``profiling``: AIPerf's own numbers leave out the
        first), ``conversation``, ``turn``, ``concurrency`` (as it was set), ``error``, and ``aiperf_…`` for
        what AIPerf has besides. ``attrs`` has ``tool``, ``notes`` and ``totals``: AIPerf's own aggregates.

        - ``ttft_s``: first content of any kind; ``ttfvt_s``: ``time_to_first_output_token``, the first that
          is no reasoning, also if it is a tool's input; ``ttlt_s``: ``request_latency``, the last content.
        - ``tpot_s``: ``inter_token_latency``; where the server counts tokens by chunk, AIPerf leaves out all
          of the first chunk's and not one.
        - ``gap_p50_s``, ``gap_p99_s``: of ``inter_chunk_latency``, not given where the gaps are too few;
          ``content_chunks``: one more than these.
        - ``t_headers_s``: ``request_ack_ns`` since the start.
        - ``output_tokens``: the sequence length by AIPerf's tokenizer, or as the server said, if the run was
          made with ``--use-server-token-count``. So is the input, which is ``total_input_tokens``: OpenAI's
          API counts cached tokens in. Anthropic's does not: what a server of its form said is
          ``input_tokens``.
        - ``status``: ``cancelled``, ``incomplete`` (the connection broke or timed out), ``error``, or
          ``complete``.
        - ``e2e_s``: missing. AIPerf's end of a request is its last content.

    Raises
    ------
    RecordingError
        There are no such results, or a line of them is no JSON object; the message names the line.
    """
    reading = Reading("AIPerf")
    totals: dict[str, Any] = {}
    for file in runs(path, "profile_export.jsonl", "AIPerf"):
        run = _Run(reading, file)
        totals[run.name] = run.totals
        for record in reading.records(file):
            reading.add(run.row(record))
    return reading.table(_KINDS, totals=totals)


class _Run:
    """What holds for all requests of a run."""

    def __init__(self, reading: Reading, file: Path) -> None:
        self._reading, self.name = reading, file.resolve().parent.name
        stem = f"{file.stem}_aiperf" if file.stem == "profile_export" else file.stem
        told = reading.settings(file.with_name(f"{stem}.json"))
        config = _object(told.get("input_config"))
        endpoint = _object(config.get("endpoint"))
        models = _objects(_object(config.get("models")).get("items"))
        self._model = reading.text(models[0].get("name")) if len(models) == 1 else None
        phases = [phase for phase in _objects(config.get("phases")) if phase.get("kind") == "profiling"]
        self._concurrency = reading.count(phases[0].get("concurrency")) if phases else None
        self._by_server = endpoint.get("use_server_token_count") is True
        self._kind = endpoint.get("type")
        self.totals = {
            name: {
                key: number
                for key, number in value.items()
                if isinstance(number, str | int | float) and len(str(number)) < 100
            }
            for name, value in told.items()
            if isinstance(value, dict) and "unit" in value
        }
        self._say_version(told.get("aiperf_version"))
        if told and not self._by_server:
            reading.notes.append("Tokens were counted by AIPerf's tokenizer, not by the service.")

    def _say_version(self, version: Any) -> None:
        parts = str(version or "").split(".")[:2]
        known = all(part.isdecimal() and len(part) < 6 for part in parts)
        if known and tuple(map(int, parts)) > _KNOWN_VERSION:
            self._reading.notes.append(f"These are results of AIPerf {'.'.join(parts)}; this reads 0.13.")

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """One record as a row."""
        reading, meta = self._reading, _object(record.get("metadata"))
        found = {name: _object(value) for name, value in _object(record.get("metrics")).items()}
        error = _object(record.get("error"))
        started = reading.seconds(meta.get("request_start_ns"), 1e9)
        headers = reading.seconds(meta.get("request_ack_ns"), 1e9)
        row = {
            "model": without_accounts(self._model),
            "status": _status(meta, error),
            **{ours: self._time(found.pop(theirs, None)) for theirs, ours in _TIMES.items()},
            **self._gaps(found.pop(_GAPS, {})),
            **self._tokens(found),
            "t_headers_s": None if started is None or headers is None else max(0.0, headers - started),
            "started": reading.moment(started),
            "run": self.name,
            "phase": reading.text(meta.get("benchmark_phase")),
            "conversation": reading.text(meta.get("conversation_id")),
            "turn": reading.count(meta.get("turn_index")),
            "concurrency": self._concurrency,
            "error": without_accounts(_said(error)),
        }
        row["output_tps"] = 1 / row["tpot_s"] if row["tpot_s"] else None
        others = {"x_request_id": meta.get("x_request_id")}
        for name, metric in found.items():
            if isinstance(metric.get("value"), int | float) and str(metric.get("unit")) in _PER_SECOND:
                others[f"{name}_s"] = self._time(metric)
            elif not isinstance(metric.get("value"), list):
                others[name] = metric.get("value")
        return row | reading.own(others)

    def _time(self, metric: Mapping[str, Any] | None) -> float | None:
        """A metric in seconds, by the unit that stands beside it; None without one that we know."""
        per_second = _PER_SECOND.get(str(metric.get("unit"))) if metric else None
        return self._reading.seconds(metric.get("value"), per_second) if metric and per_second else None

    def _gaps(self, metric: Mapping[str, Any]) -> dict[str, float | int | None]:
        values = metric.get("value")
        values = values if isinstance(values, list) else []
        each = [self._time({**metric, "value": value}) for value in values]
        gaps = [gap for gap in each if gap is not None]
        chunks = len(each) + 1 if each else None
        return {
            "gap_p50_s": percentile(gaps, 0.5),
            "gap_p99_s": percentile(gaps, 0.99),
            "content_chunks": chunks,
        }

    def _tokens(self, found: dict[str, dict[str, Any]]) -> dict[str, int | None]:
        def count(name: str) -> int | None:
            return self._reading.count(found.pop(name, {}).get("value"))

        asked = count("input_sequence_length")
        tokens = {
            "output_tokens": count("output_sequence_length"),
            "cache_read_tokens": count("usage_prompt_cache_read_tokens"),
            "cache_write_tokens": count("usage_prompt_cache_write_tokens"),
            "total_tokens": count("usage_total_tokens"),
        }
        if self._by_server and self._kind == "messages":
            return tokens | {"input_tokens": asked}
        cached = tokens["cache_read_tokens"]
        fresh = self._by_server and asked is not None and cached is not None
        return tokens | {
            "total_input_tokens": asked,
            "input_tokens": max(0, asked - cached) if fresh else None,  # type: ignore[operator]
        }


def _status(meta: Mapping[str, Any], error: Mapping[str, Any]) -> str:
    if meta.get("was_cancelled") is True:
        return "cancelled"
    if not error:
        return "complete"
    return "incomplete" if error.get("type") in _CUT else "error"


def _said(error: Mapping[str, Any]) -> str | None:
    """The kind of an error and its code: its message may hold what was asked."""
    parts = [str(error[name])[:200] for name in ("code", "type") if error.get(name) is not None]
    return " ".join(parts) or None


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
