"""The same run in another tool's formulas.

Strategy: a dialect is a table of columns, each with the tool's own name, unit and formula, computed from
the moments of a recording and not renamed from ours: where the same name means another number, it is
another number here. Each module tells which files of which version it follows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bedrock_nb.errors import RequestError, close
from bedrock_nb.metrics.dialects.aiperf import AIPERF
from bedrock_nb.metrics.dialects.aws import AWS
from bedrock_nb.metrics.dialects.dialect import Column, Dialect, Part, part_of, run_of
from bedrock_nb.metrics.dialects.guidellm import GUIDELLM
from bedrock_nb.metrics.dialects.llmeter import LLMETER
from bedrock_nb.metrics.dialects.otel import OTEL
from bedrock_nb.metrics.dialects.vllm import VLLM
from bedrock_nb.metrics.moments import facts
from bedrock_nb.recording import Recording

__all__ = ["DIALECTS", "Column", "Dialect", "Part", "columns", "known", "part_of", "run_of", "totals"]

#: Every dialect by its name.
DIALECTS: dict[str, Dialect] = {one.name: one for one in (LLMETER, VLLM, GUIDELLM, AIPERF, OTEL, AWS)}


def known(dialect: str) -> Dialect:
    """The dialect of this name.

    Raises
    ------
    RequestError
        There is none; the message lists them.
    """
    found = DIALECTS.get(dialect) if isinstance(dialect, str) else None
    if found is None:
        raise RequestError(
            f"There is no dialect {dialect!r:.40}.",
            remedy=f"{close(dialect, DIALECTS)}There are: {', '.join(DIALECTS)}.",
        )
    return found


def columns(recording: Recording, dialect: str) -> dict[str, Any]:
    """One reply as another tool describes it: its columns, units and formulas, in its order.

    Parameters
    ----------
    recording : Recording
    dialect : {"llmeter", "vllm", "guidellm", "aiperf", "otel", "aws"}

    Returns
    -------
    dict
        None where the recording has no such number. ``DIALECTS[dialect].columns`` has unit and formula of
        each.

    Raises
    ------
    RequestError
        There is no such dialect, or something else than a recording was given.
    """
    return known(dialect).of(facts(recording))


def totals(recordings: Iterable[Recording], dialect: str) -> dict[str, Any]:
    """A run as another tool sums it up, as far as recordings tell; they are walked once.

    Percentiles are interpolated as the tool does it, and None from fewer than 1/(1-p) values. What needs
    the length of the run is None if a recording does not say when it started.

    Raises
    ------
    RequestError
        There is no such dialect, or something else than recordings was given.
    """
    found = known(dialect)
    return found.totals(run_of(part_of(recording, found) for recording in recordings))
