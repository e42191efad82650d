"""The tables of a report without numbers: what was asked, with what it was measured, what the numbers mean.

Strategy: an experiment's own plan is told first, then what the requests have. Formulas are those of
`bedrock_nb.metrics`; only what a load test has besides is told here.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bedrock_nb.metrics import METRICS
from bedrock_nb.metrics.metric import SYMBOLS
from bedrock_nb.report.collecting import Material
from bedrock_nb.report.tables import NONE, Table, shown
from bedrock_nb.report.walking import in_words

__all__ = ["asked", "formulas", "symbols", "versions"]

_LIBRARIES = ("bedrock-nb", "boto3", "botocore", "aiohttp", "numpy", "scipy", "pandas")
#: Values of a setting that are told.
_MOST_VALUES = 6


def asked(material: Material) -> Table | None:
    """What was asked for: the experiment's own plan first, then what the requests have; None if unknown."""
    table, seen = material.table, material.seen.asked
    if not seen:  # there are no requests, but a few columns tell of them
        names = [name for name in ("model", "prompt") if name in table.columns]
        seen = {name: Counter(map(in_words, table[name].dropna().tolist())) for name in names}
    plan = [(str(name), in_words(value)) for name, value in _flat_plan(material.plan)]
    rows = [*plan, *((name, _listed(values)) for name, values in sorted(seen.items()))]
    return Table(("setting", "values"), [(a, b) for a, b in rows if b], 2) if rows else None


#: Parts of a plan that are no settings, those that other tables of the page show, and those of many settings.
_NOTES = ("format", "version", "versions", "begun", "cells", "left", "failed", "status", "kept")
_ELSEWHERE = (*_NOTES, "prompts", "stages")
_NESTED = ("grid", "settings", "labels", "limits")


def _flat_plan(plan: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in plan.items():
        if name in _ELSEWHERE or value is None:
            continue
        if name == "targets" and isinstance(value, Mapping):
            told = (f"{key}: {where}" if key else str(where) for key, where in value.items())
            yield "asked of", "; ".join(told)
        elif name in _NESTED and isinstance(value, Mapping):
            yield from ((f"{name}: {inner}", value[inner]) for inner in value)
        else:
            yield name, value


def _listed(values: Counter[str]) -> str:
    told = [f"{value} ({n:,})" if len(values) > 1 else value for value, n in values.most_common(_MOST_VALUES)]
    more = len(values) - _MOST_VALUES
    return "; ".join(told) + (f"; and {more:,} or more others" if more > 0 else "")


def versions(material: Material) -> Table:
    """Of what the replies were measured with, if the experiment noted it, and of what made this page."""
    here = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in _LIBRARIES:
        try:
            here[name] = version(name)
        except PackageNotFoundError:
            continue
    noted = material.plan.get("versions")
    if not isinstance(noted, Mapping):
        return Table(("this page was made with", "version"), list(here.items()), 2)
    then = {str(name).replace("_", "-"): in_words(noted[name]) for name in noted}
    rows = [(name, then.get(name, NONE), here.get(name, NONE)) for name in dict.fromkeys((*then, *here))]
    return Table(("", "measured with", "this page was made with"), rows, 3)


#: What the stages of a load test have besides the metrics of single replies.
_OF_LOAD = (
    ("ttft_intended_s", "ttft + start lag", "s", "Time to first token from the moment of the planned start."),
    ("e2e_intended_s", "e2e + start lag", "s", "The whole wait from the moment of the planned start."),
    ("start_lag", "start - planned start", "s", "How late this machine was; 0 where users wait for answers."),
    ("offered_rps", "planned starts by seconds", "1/s", "What the service was asked for."),
    ("requests_per_s", "complete replies by seconds", "1/s", "X: what it gave."),
    ("in_flight", "mean over time", "", "Requests under way."),
    ("little_in_flight", "X times mean e2e", "", "The same by Little's law; if they differ, no balance."),
    ("goodput_rps", "good replies by seconds", "1/s", "Complete replies within all limits."),
)


def formulas(material: Material, metric: str, limits: Mapping[str, float]) -> Table:
    """The formula of every metric on the page."""
    load = material.result is not None
    names = dict.fromkeys((*(("ttft_s", "e2e_s") if load else shown(material, metric)), *limits))
    rows = [(one.name, one.formula, one.unit, one.meaning) for one in map(METRICS.get, names) if one]
    if load:
        rows += _OF_LOAD
    return Table(("number", "formula", "unit", "meaning"), rows, 4)


def symbols() -> str:
    """What the letters in formulas stand for."""
    return "; ".join(f"{symbol}: {meaning}" for symbol, meaning in SYMBOLS.items()) + "."
