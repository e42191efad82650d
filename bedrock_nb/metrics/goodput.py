"""Which replies were good enough: the numerator of goodput.

Strategy: plain functions of numbers. Limits are in our units, seconds, and checked once; then a reply is a
row of numbers, and each limit is met or not. A number that is missing meets no limit.

Goodput is the rate of requests that meet all limits, of all that were made (vLLM
``vllm/benchmarks/serve.py``, ``request_goodput = good_completed / dur_s``; AIPerf's metrics reference, good
requests by benchmark duration). vLLM takes ``ttft``, ``tpot`` and ``e2el`` in milliseconds, and lets an
answer of one token, which has no TPOT, pass; here it does not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

from bedrock_nb.errors import RequestError, close
from bedrock_nb.metrics.formulas import METRICS, named

__all__ = ["good", "limits"]

#: A bare "ttft=500" is vLLM's 500 ms far more often than anybody's eight minutes.
_SUSPICIOUS_S = 60.0


def limits(**thresholds: float) -> dict[str, float]:
    """Limits by the full names of their metrics, checked.

    Parameters
    ----------
    **thresholds : float
        Name of a metric, with or without its unit of time, and its limit in the metric's unit, which is
        seconds for times: ``ttft_s=0.5``. An upper limit where less is better, a lower one where more is.

    Returns
    -------
    dict of str to float

    Raises
    ------
    RequestError
        A name that is no metric or has no better and worse, a limit that is no number, or the same metric
        twice. Also a name without its unit and so large a number that milliseconds must be meant.
    """
    usable = [name for name, metric in METRICS.items() if metric.better]
    if not thresholds:
        raise RequestError(
            "No limit was given.", remedy="Say what a good reply is, for example ttft_s=0.5, tpot_s=0.05."
        )
    found: dict[str, float] = {}
    for name, limit in thresholds.items():
        metric = named(name)
        if metric is None or not metric.better:
            what = "is no metric" if metric is None else "has no better and worse"
            hint = (
                "vLLM's e2el is e2e_s here, in seconds. "
                if name in ("e2el", "e2el_ms")
                else close(name, usable)
            )
            raise RequestError(f"{name} {what}.", remedy=f"{hint}There are: {', '.join(usable)}.")
        if metric.name in found:
            raise RequestError(f"{metric.name} has two limits.", remedy="Give one.")
        found[metric.name] = _limit(name, limit, metric.name, metric.unit)
    return found


def _limit(name: str, limit: Any, full: str, unit: str) -> float:
    if isinstance(limit, bool) or not isinstance(limit, Real) or not math.isfinite(limit) or limit < 0:
        raise RequestError(
            f"The limit of {name} is {limit!r:.40}.", remedy=f"A number from 0 on is wanted, in {unit}."
        )
    value = float(limit)
    if name != full and unit in ("s", "s/token") and value > _SUSPICIOUS_S:
        raise RequestError(
            f"{name}={value:g} would be {value:g} seconds.",
            remedy=f"Limits are in seconds, not in milliseconds as vLLM's: {full}={value / 1000:g}. "
            f"If you do mean {value:g} seconds, write {full}={value:g}.",
        )
    return value


def good(measured: Mapping[str, Any], limits: Mapping[str, float]) -> dict[str, bool]:
    """Which limits a reply met.

    Parameters
    ----------
    measured : mapping
        Numbers by the names of their metrics: of `measure`, or a row of the summary table.
    limits : mapping of str to float
        Of `limits`.

    Returns
    -------
    dict of str to bool
        An entry for each limit. A reply is good if all are true and it is complete.
    """
    met = {}
    for name, limit in limits.items():
        try:
            value = float(measured[name])  # nan, which compares as False, for a gap of numpy or pandas
        except (KeyError, TypeError, ValueError):
            met[name] = False
            continue
        met[name] = value >= limit if METRICS[name].better == "more" else value <= limit
    return met
