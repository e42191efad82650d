"""What a reader of a load test's numbers must know: sentences, each with its reason.

Strategy: one generator for each doubt, in the order of their weight; each looks at the stages and says
nothing where all is well. A doubt names the stages that it is about.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bedrock_nb.experiment.load.plan import Plan
from bedrock_nb.experiment.load.seconds import floats
from bedrock_nb.metrics.clocks import LATE_S

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["caveats"]

#: Seconds of start lag that are no accuracy to speak of any more.
LAG_S = 0.005
#: Share of failed replies from which on those that are left are a choice.
_FAILING = 0.01
#: A stage that is shorter than so many whole replies is mostly begin and end.
_REPLIES_LONG = 5
#: Complete replies below which a stage says little.
_FEW = 10
#: By so much of the mean may Little's law be off in a stage that is in balance, and from how many replies on.
_OFF, _ENOUGH = 0.25, 30


def caveats(stages: pd.DataFrame, table: pd.DataFrame, plan: Plan, status: str) -> Iterator[str]:
    """Everything that a reader must know.

    Parameters
    ----------
    stages, table : pandas.DataFrame
        Of a `LoadResult`.
    plan : Plan
    status : str
        How the run ended.
    """
    if not len(table):
        yield "No request was made." if status == "complete" else f"The run was {status}: no reply is known."
        return
    if status != "complete":
        yield f"The run was {status}: what came until then is here."
    capped = plan.max_in_flight is not None and _most(table) >= plan.max_in_flight
    if capped:
        yield (
            f"The most that may be in flight, {plan.max_in_flight:,}, was reached: some starts had to wait, "
            "and the service was asked less than the plan says."
        )
    else:
        yield from _late(stages)
    yield from _busy(stages)
    yield from _failing(stages)
    yield from _short(stages)
    yield from _unsteady(stages)
    yield from _few(stages)
    cancelled = int((table["status"] == "cancelled").sum())
    if cancelled and status == "complete":
        yield (
            f"{cancelled:,} of {len(table):,} replies were not at their end {plan.grace:g} s after the last "
            "start, or had not begun: they were cancelled, and their latencies, which would be the longest, "
            "are missing."
        )


def _late(stages: pd.DataFrame) -> Iterator[str]:
    p99, p90 = floats(stages, "start_lag_p99_s"), floats(stages, "start_lag_p90_s")
    few = np.isnan(p99)  # replies for a p99
    lag = np.where(few, p90, p99)
    if (lag > LAG_S).any():
        worst, late = int(np.nanargmax(lag)), stages[lag > LAG_S]
        yield (
            f"Requests began late on this machine{_where(stages, late)}: the "
            f"{'p90' if few[worst] else 'p99'} of the start lag is {1000 * lag[worst]:.0f} ms. Latencies "
            "from the intended start have that wait in them, and there was less load at a time than planned."
        )


def _busy(stages: pd.DataFrame) -> Iterator[str]:
    busy = stages[floats(stages, "late_p90_s") > LATE_S]
    if len(busy):
        yield (
            f"This machine was busy{_where(stages, busy)}: a tenth of the replies were read late, by "
            f"{1000 * busy['late_p90_s'].max():.0f} ms and more. Their latencies may be too long by as much, "
            "and if it had no more to give, the throughput is its own. Processes can share a load: executor=."
        )


def _failing(stages: pd.DataFrame) -> Iterator[str]:
    failed, replies = floats(stages, "failed"), floats(stages, "replies")
    failing = stages[failed > _FAILING * replies]
    if len(failing):
        yield (
            f"Of {int(failing['replies'].sum()):,} replies{_where(stages, failing)}, "
            f"{int(failing['failed'].sum()):,} failed: latencies are of complete replies only, and who fails "
            "early makes room for others."
        )


def _most(table: pd.DataFrame) -> float:
    """The most that one worker had in flight."""
    return max(map(_most_at_once, _workers(table)))


def _workers(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each worker, whose clocks have nothing to do with each other."""
    number = floats(table, "worker")
    alone = [table[np.isnan(number)]]
    return alone + [table[number == each] for each in np.unique(number[np.isfinite(number)])]


def _most_at_once(rows: pd.DataFrame) -> float:
    began, ended = floats(rows, "started_s"), floats(rows, "ended_s")
    known = np.isfinite(began) & np.isfinite(ended)
    times = np.concatenate([began[known], ended[known]])
    steps = np.concatenate([np.ones(known.sum()), -np.ones(known.sum())])
    order = np.lexsort((steps, times))  # who ends at the moment of a start makes room for it
    return float(np.cumsum(steps[order]).max(initial=0.0))


def _short(stages: pd.DataFrame) -> Iterator[str]:
    whole, seconds = floats(stages, "e2e_p50_s"), floats(stages, "seconds")
    short = stages[seconds < _REPLIES_LONG * whole]
    if len(short):
        yield (
            f"{_subject(stages, short)} shorter than {_REPLIES_LONG} replies one after the other: too short "
            "to come into balance."
        )


def _unsteady(stages: pd.DataFrame) -> Iterator[str]:
    seen, law = floats(stages, "in_flight"), floats(stages, "little_in_flight")
    enough = floats(stages, "complete") >= _ENOUGH
    off = stages[enough & (np.abs(seen - law) > _OFF * np.maximum(seen, law))]
    if len(off):
        first = off.iloc[0]
        yield (
            f"{_subject(stages, off)} not in balance: {first['in_flight']:.1f} in flight on average, and "
            f"{first['little_in_flight']:.1f} by Little's law. Throughput and latency there depend on how "
            "long one measures."
        )


def _few(stages: pd.DataFrame) -> Iterator[str]:
    few = stages[floats(stages, "complete") < _FEW]
    if len(few):
        least = int(few["complete"].min())
        where = _where(stages, few)
        yield f"Few complete replies{where}: {least:,}. Percentiles that they cannot bear are missing."


def _where(stages: pd.DataFrame, some: pd.DataFrame) -> str:
    """`` in stage 2``; nothing where there is one stage only, or all are meant."""
    if len(some) == len(stages):
        return "" if len(stages) == 1 else " in all stages"
    numbers = [str(number) for number in some["stage"]]
    if len(numbers) > 6:
        return f" in {len(numbers)} of {len(stages)} stages"
    return f" in stage{'s' * (len(numbers) > 1)} {', '.join(numbers)}"


def _subject(stages: pd.DataFrame, some: pd.DataFrame) -> str:
    """``Stage 2 is``, ``Stages 2, 3 are``."""
    if len(stages) == 1:
        return "The run is"
    if len(some) == len(stages):
        return "All stages are"
    where = _where(stages, some).removeprefix(" in ")
    return f"{where[:1].upper()}{where[1:]} {'is' if len(some) == 1 else 'are'}"
