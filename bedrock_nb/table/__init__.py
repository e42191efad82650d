"""Recordings -> tidy DataFrames: a row per event, reply, run, call of a tool, and more.

Strategy: a module for each table; `frame` has what they share. pandas is imported in this package only.
"""

from __future__ import annotations

from bedrock_nb.table.burst_rows import BURST_COLUMNS, bursts
from bedrock_nb.table.calls import TOOL_COLUMNS, tool_calls
from bedrock_nb.table.clock_rows import BREAKDOWN_COLUMNS, breakdown
from bedrock_nb.table.event_rows import EVENT_COLUMNS, events
from bedrock_nb.table.frame import as_recordings, conditions, each
from bedrock_nb.table.good import GOODPUT_COLUMNS, goodput
from bedrock_nb.table.replies import SUMMARY_COLUMNS, summary, totals
from bedrock_nb.table.tokens import USAGE_COLUMNS, usage

__all__ = [
    "BREAKDOWN_COLUMNS",
    "BURST_COLUMNS",
    "EVENT_COLUMNS",
    "GOODPUT_COLUMNS",
    "SUMMARY_COLUMNS",
    "TOOL_COLUMNS",
    "USAGE_COLUMNS",
    "as_recordings",
    "breakdown",
    "bursts",
    "conditions",
    "each",
    "events",
    "goodput",
    "summary",
    "tool_calls",
    "totals",
    "usage",
]
