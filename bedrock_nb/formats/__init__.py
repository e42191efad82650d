"""Recordings as other tools' files, and other tools' files as tables.

Strategy: a module for each format: Parquet and Arrow batches, traces for Perfetto's viewer, what LLMeter and
AIPerf saved of their runs. How a recording itself is stored is told in ``lines``.
"""

from __future__ import annotations

from bedrock_nb.formats import perfetto
from bedrock_nb.formats.aiperf import read_aiperf
from bedrock_nb.formats.llmeter import read_llmeter
from bedrock_nb.formats.parquet import record_batches, to_parquet

__all__ = ["perfetto", "read_aiperf", "read_llmeter", "record_batches", "to_parquet"]


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
