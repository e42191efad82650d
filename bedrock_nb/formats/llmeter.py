"""LLMeter's saved results -> a table like that of ``bedrock_nb.summary``.

Strategy: `read_llmeter` takes over only what LLMeter 0.2 measures in the way in which the column is meant, by
the source of its version 0.2.0 (``llmeter/endpoints/base.py``, ``endpoints/bedrock.py``, ``results.py``).
What it does not know is missing; what it measures in another way stays under its own name. LLMeter's own
loader imports classes that ``run_config.json`` names; here that file is JSON and nothing else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import without_accounts
from bedrock_nb.formats.foreign import Reading, runs

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_llmeter"]

#: Members of a response that have a column of ours, or none because they hold content.
_TAKEN = (
    *("response_text", "input_payload", "input_prompt", "annotations"),
    *("id", "error", "retries", "request_time", "time_to_first_token", "time_to_last_token"),
    *("num_tokens_output",),
)
_INPUT = ("num_tokens_input", "num_tokens_input_cached")
#: Whether ``num_tokens_input`` has the tokens that came from a cache in it, by the module of the endpoint:
#: what Bedrock and Anthropic call input does not, what OpenAI's API calls input does.
_WITH_CACHED = {
    "bedrock": False,
    "anthropic_messages": False,
    "openai": True,
    "openai_response": True,
    "litellm": True,
}
#: Where no answer had an id, LLMeter makes one up: a UUID without its hyphens.
_MADE_UP = re.compile(r"[0-9a-f]{32}")
_KINDS = {"run": "str", "clients": "Int64", "error": "str"}


def read_llmeter(path: str | os.PathLike[str], *, content: bool = False) -> pd.DataFrame:
    """What LLMeter saved of a run, or of all runs in and under a folder, a row per request.

    Parameters
    ----------
    path : path
        The folder that LLMeter wrote to, or a ``responses.jsonl``. ``summary.json`` and ``run_config.json``
        are read if they are beside it.
    content : bool
        Also the prompts and answers, as columns ``prompt`` and ``text``.

    Returns
    -------
    pandas.DataFrame
        The columns of ``bedrock_nb.summary``, so that comparisons and plots take it as it is; then ``run``
        (its name), ``clients``, ``error``, and ``llmeter_…`` for what LLMeter has besides, its callbacks'
        annotations included. ``attrs`` has ``tool`` and ``notes``.

        - ``ttft_s`` or ``ttfvt_s``: LLMeter's ``time_to_first_token`` is one or the other. By default it
          waits for visible text, which is ``ttfvt_s``; with ``ttft_visible_tokens_only=False`` in the run's
          settings it is ``ttft_s``, but for deltas of tool input, which LLMeter never counts.
        - ``ttlt_s``: ``time_to_last_token``; it also counts the stop of a block, so it is a little longer.
        - ``tpot_s``, ``output_tps``: only where both ends are those of our formula, that is with ``ttft_s``;
          else LLMeter's own number is ``llmeter_time_per_output_token``.
        - ``input_tokens``, ``total_input_tokens``: ``num_tokens_input`` is the first on Bedrock and with
          Anthropic, the second with OpenAI; with an endpoint that we do not know it is neither.
        - ``status``: ``error`` where LLMeter noted one, else ``complete``; that a stream was cut before its
          end, it does not see.
        - ``started``: to the second, as it is saved.

    Raises
    ------
    RecordingError
        There are no such results, or a line of them is no JSON object; the message names the line.
    """
    reading = Reading("LLMeter")
    for file in runs(path, "responses.jsonl", "LLMeter"):
        run = _Run(reading, file.parent)
        for record in reading.records(file):
            reading.add(run.row(record, content))
    return reading.table(_KINDS)


class _Run:
    """What holds for all requests of a run."""

    def __init__(self, reading: Reading, folder: Path) -> None:
        self._reading = reading
        summary = reading.settings(folder / "summary.json")
        config = reading.settings(folder / "run_config.json")
        endpoint = _object(config.get("endpoint"))
        state = _object(endpoint.get("__llmeter_state__", endpoint))
        kind = str(endpoint.get("__llmeter_class__") or "").split(".")
        self._with_cached = _WITH_CACHED.get(kind[-2] if len(kind) > 1 else "bedrock")
        self._first = "ttft_s" if state.get("ttft_visible_tokens_only") is False else "ttfvt_s"
        self._model = reading.text(summary.get("model_id")) or reading.text(state.get("model_id"))
        self._labels = {
            "run": reading.text(summary.get("run_name"))
            or reading.text(config.get("run_name"))
            or folder.name,
            "clients": reading.count(summary.get("clients", config.get("clients"))),
        }
        if not state:
            reading.notes.append(
                "The settings of a run are not known: its first token is taken for the first visible one."
            )

    def row(self, record: Mapping[str, Any], content: bool) -> dict[str, Any]:
        """One response as a row."""
        reading = self._reading
        first = reading.seconds(record.get("time_to_first_token"))
        last = reading.seconds(record.get("time_to_last_token"))
        tokens = reading.count(record.get("num_tokens_output"))
        asked = _object(record.get("input_payload")).get("modelId")
        made_up = _MADE_UP.fullmatch(str(record.get("id")))
        error = record.get("error")
        row = {
            "model": without_accounts(self._model or reading.text(asked)),
            "status": "complete" if error is None else "error",
            self._first: first,
            "ttlt_s": last,
            "retries": reading.count(record.get("retries")),
            **self._input(record),
            "output_tokens": tokens,
            "request_id": None if made_up else reading.text(record.get("id")),
            "started": _moment(record.get("request_time")),
            **self._labels,
            "error": without_accounts(reading.text(error)),
        }
        pace = _pace(first, last, tokens) if self._first == "ttft_s" and error is None else None
        row |= {"tpot_s": pace, "output_tps": 1 / pace if pace else None}
        if content:
            row |= {
                "prompt": reading.text(record.get("input_prompt"), 2**31),
                "text": reading.text(record.get("response_text"), 2**31),
            }
        taken = _TAKEN if self._with_cached is None else (*_TAKEN, *_INPUT)
        others = {name: value for name, value in record.items() if name not in taken}
        return row | reading.own(others) | reading.own(_object(record.get("annotations")))

    def _input(self, record: Mapping[str, Any]) -> dict[str, int | None]:
        count = self._reading.count
        asked, cached = count(record.get("num_tokens_input")), count(record.get("num_tokens_input_cached"))
        if self._with_cached is None:
            return {}
        if self._with_cached:
            fresh = None if asked is None or cached is None else max(0, asked - cached)
            return {"total_input_tokens": asked, "input_tokens": fresh, "cache_read_tokens": cached}
        return {"input_tokens": asked, "cache_read_tokens": cached}


def _pace(first: float | None, last: float | None, tokens: int | None) -> float | None:
    """Time per output token, as `metrics` has it."""
    if first is None or last is None or tokens is None or tokens < 2 or last < first:
        return None
    return (last - first) / (tokens - 1)


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _moment(value: Any) -> float | None:
    """ISO 8601 as seconds since the epoch; without a zone it is UTC, as LLMeter means it."""
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
