"""Recording -> numbers.

Strategy: `moments` finds in a recording what every number is made of, `formulas` is one table of numbers,
`names` tells what others call them, `quantiles` refuses percentiles of too few values. On these stand
`dialects`, the same run in another tool's formulas, `goodput`, `tokens` and `glossary`; they are imported
when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bedrock_nb.metrics.formulas import METRICS, Metric, measure
from bedrock_nb.metrics.moments import Facts, facts, gap_pairs, message_end
from bedrock_nb.metrics.quantiles import percentile

if TYPE_CHECKING:
    from bedrock_nb.metrics.bursts import verdict
    from bedrock_nb.metrics.glossary import explain

__all__ = [
    "METRICS",
    "Facts",
    "Metric",
    "explain",
    "facts",
    "gap_pairs",
    "measure",
    "message_end",
    "percentile",
    "verdict",
]


def __getattr__(name: str) -> Any:
    """Fetch at its first use what measuring a reply does not need: `explain` would bring every dialect."""
    if name == "explain":
        from bedrock_nb.metrics.glossary import explain

        return explain
    if name == "verdict":
        from bedrock_nb.metrics.bursts import verdict

        return verdict
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
