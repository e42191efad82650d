"""What a name means: a metric of ours, a name that other tools have for it, or a column of one of them.

Strategy: our own names first; then the names of other tools, from `names`, whatever their case. A name that
means different numbers in different tools is not resolved: the error lists who means what by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap
from typing import Any, overload

from bedrock_nb.errors import RequestError, close
from bedrock_nb.metrics import dialects
from bedrock_nb.metrics.dialects import Column
from bedrock_nb.metrics.formulas import METRICS, Metric, named
from bedrock_nb.metrics.metric import SYMBOLS
from bedrock_nb.metrics.names import NAMES

__all__ = ["Glossary", "explain"]

# Who means by a name a number that no metric of ours is: (name, tool, its formula).
_NONE_OF_OURS = (
    ("TPOT", "GuideLLM", "(cN - t0)/N, with the wait for the first token in it"),
    ("ITL", "llmperf", "the sum of TTFT and all gaps, by output tokens: nearly e2e/N"),
)


class Glossary(tuple[Metric | Column, ...]):
    """All metrics, or all columns of a dialect; printed, a line for each, and what the symbols stand for."""

    __slots__ = ()

    def __repr__(self) -> str:
        cells = [(one.name, one.unit, getattr(one, "label", ""), one.formula) for one in self]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True) if wide).rstrip()
            for row in cells
        ]
        symbols = (f"{symbol} {meaning}" for symbol, meaning in SYMBOLS.items())
        return "\n".join([*lines, "", *wrap(f"Symbols: {'; '.join(symbols)}.", 110)])


@overload
def explain(name: None = None, *, dialect: str | None = None) -> Glossary: ...
@overload
def explain(name: str, *, dialect: None = None) -> Metric: ...
@overload
def explain(name: str, *, dialect: str) -> Column: ...
def explain(name: str | None = None, *, dialect: str | None = None) -> Metric | Column | Glossary:
    """What a metric is: unit, formula, meaning, what it is made of, and its name in other tools.

    Parameters
    ----------
    name : str, optional
        With or without its unit of time: ``"tpot"`` and ``"tpot_s"`` are the same. Or another tool's name
        for it, ``"ICL"``, if all tools mean the same by it. Left out, all are listed.
    dialect : str, optional
        Explain that tool's own number instead: ``explain("ITL", dialect="vllm")``.

    Returns
    -------
    Metric, Column or Glossary
        Printed, a small lesson.

    Raises
    ------
    RequestError
        There is no such metric; the message lists them all. Or the name means different things in different
        tools; the message tells which.
    """
    if dialect is not None:
        return _explain_column(name, dialect)
    if name is None:
        return Glossary(METRICS.values())
    own = named(name)
    if own is not None:
        return own
    meant = list(_meanings(name))
    metrics = {metric for _, metric, _, _ in meant}
    if len(metrics) > 1:
        said = "; ".join(
            f"{tool} means {formula}"
            + (f", {'here' if same else 'nearest here:'} {metric}" if metric else "")
            for tool, metric, formula, same in meant
        )
        ours = ", ".join(sorted(metric for metric in metrics if metric))
        raise RequestError(
            f"{name!r:.40} means different numbers in different tools: {said}.",
            remedy=f"Ask for one by our name ({ours}), or give the tool: explain({name!r:.40}, dialect=…).",
        )
    if metrics:
        return METRICS[metrics.pop()]
    raise RequestError(
        f"There is no metric {name!r}.", remedy=f"{close(name, METRICS)}There are: {', '.join(METRICS)}."
    )


def _meanings(name: Any) -> Iterator[tuple[str, str, str, bool]]:
    """Who has such a name: tool, metric of ours (empty if none is like it), formula, if it is ours."""
    if not isinstance(name, str) or not name:
        return
    folded = name.casefold()
    for metric, called in NAMES.items():
        for tool, entry in called.items():
            if folded in (one.casefold() for one in entry.split(" (")[0].split(", ")):
                _, _, differs = entry.partition(" (")
                theirs, ours = differs.removeprefix("= ").removesuffix(")"), METRICS[metric].formula
                whole = differs.startswith("= ") or not differs
                yield (
                    tool,
                    metric,
                    (theirs or ours) if whole else f"{ours} ({theirs})",
                    not differs.startswith("= "),
                )
    for other, tool, formula in _NONE_OF_OURS:
        if folded == other.casefold():
            yield tool, "", formula, False


def _explain_column(name: str | None, dialect: str) -> Column | Glossary:
    found = dialects.known(dialect)
    if name is None:
        return Glossary(found.columns)
    for column in found.columns:
        if isinstance(name, str) and name.casefold() in (
            column.name.casefold(),
            column.name.removesuffix("_ms").casefold(),
            column.short.casefold() or None,
        ):
            return column
    names = [column.name for column in found.columns]
    raise RequestError(
        f"{found.title} has no number {name!r:.60} here.",
        remedy=f"{close(name, names)}There are: {', '.join(names)}.",
    )
