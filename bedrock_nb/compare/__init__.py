"""Conditions compared: a table with intervals and tests, and what it says in plain words.

Strategy: `samples` sorts replies into conditions, leaves out warm-up and finds pairs; `measuring` makes a row
of statistics for each condition; `words` says what they found and `notes` what else there is to know, with
numbers by `scales`; `comparing` puts them together. The statistics themselves are in `bedrock_nb.stats` and
know nothing of replies.
"""

from __future__ import annotations

from bedrock_nb.compare.comparing import Comparison, compare
from bedrock_nb.compare.measuring import COLUMNS

__all__ = ["COLUMNS", "Comparison", "compare"]
