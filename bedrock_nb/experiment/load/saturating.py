"""`saturation`: more and more load, until more of it is of no use; then a closer look at where that begins.

Strategy: each level is a load test of its own, which begins when the replies of the one before are at their
end. Levels double until a rule says stop; a rule looks at the last two levels and says why in words. Then
some levels are put in between, where the throughput bends. All levels together are one `LoadResult`, a stage
each, in the order in which they were tried; its ``knee`` is the capacity, see `bends` for what theory says of
it.

A throughput that happens to be no higher is no proof: in the closed loop replies must take longer as well,
for by the law of response time, R = N/X - Z, they do if N rises and X does not (Denning and Buzen 1978); in
the open loop less must come than is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.grid import refuse_misspelt
from bedrock_nb.experiment.load.arrivals import Stage
from bedrock_nb.experiment.load.plan import Plan, plan_of
from bedrock_nb.experiment.load.prompts import prompts_of
from bedrock_nb.experiment.load.result import LoadResult
from bedrock_nb.experiment.load.seconds import floats
from bedrock_nb.experiment.load.testing import keep, one_client, run_plan

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["between", "saturation", "stop"]

#: Throughput that rises by less does not rise; good replies that fall by more do fall.
_LEAST_RISE, _FALL = 1.05, 0.95
#: Whole times that rise by less hardly rise; less than this of the asked rate is too little.
_LONGER, _ASKED = 1.25, 0.9
#: Share of failed replies that is too many.
_MOST_FAILED = 0.1
#: Part of each level that is left to come into balance.
_SETTLE = 0.2

#: One row of `LoadResult.stages`.
_Row = Mapping[str, Any]


def saturation(
    target: Any,
    prompts: Any,
    *,
    users: int | bool | None = None,
    rate: float | bool | None = None,
    first: float = 1,
    most: float = 256,
    refine: int = 3,
    seconds: float = 10.0,
    warmup: float | None = None,
    limits: Mapping[str, float] | None = None,
    arrivals: Literal["poisson", "fixed"] = "poisson",
    think: float | tuple[float, str] = 0.0,
    max_in_flight: int | None = None,
    seed: int = 0,
    grace: float = 30.0,
    labels: Mapping[str, Any] | None = None,
    folder: Any = None,
    executor: Any = None,
    workers: int | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> LoadResult:
    """Find out how much a service can take: double the load until more of it is of no use.

    It stops when throughput no longer rises (by less than 5 %, while replies take longer, or less comes than
    is asked for), when good replies become fewer, when more than 10 % of the replies fail, or at ``most``.
    Then it tries some levels in between, where the throughput bends.

    Parameters
    ----------
    target, prompts
        As for `load_test`.
    users : True or int, optional
        That levels are numbers of users, who wait for their answers; a number is the first level. So it is
        if nothing is said.
    rate : True or float, optional
        That levels are requests a second, however fast answers are; a number is the first level.
    first, most : float
        The first level, if it is not given above; no level is higher than ``most``.
    refine : int
        So many levels are put in between, at most; 0 for none.
    seconds : float
        Of each level; it should be long against a reply.
    warmup : float, optional
        Seconds at the begin of each level that do not count; by default a fifth of it.
    limits : mapping, optional
        What a good reply is: ``{"ttft_s": 0.5}``.
    arrivals, think, max_in_flight, seed, grace, labels, folder, executor, workers, progress, **settings
        As for `load_test`.

    Returns
    -------
    LoadResult
        With a stage for each level, in the order in which they were tried. ``why`` says what ended the
        search, ``knee`` and ``knee_interval`` where the throughput bends. Times of its table go on from level
        to level, without the pauses in between.

    Raises
    ------
    RequestError
        An argument that cannot work.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> found = nb.saturation(client, "Count from 1 to 50", users=1, most=32)  # doctest: +SKIP
    >>> found.why, found.knee  # doctest: +SKIP
    """
    if "requests" in settings:
        raise RequestError("Each level ends by its seconds=, not by requests.", remedy="Leave requests= out.")
    refuse_misspelt(settings, saturation.__kwdefaults__ or ())
    level: dict[str, Any] = {
        "users": first if users is True else users,
        "rate": first if rate is True else rate,
    }
    if users is None and rate is None:
        level["users"] = first
    for name, value in level.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            raise RequestError(
                f"{name} is {value!r:.60}: saturation makes its stages by itself.",
                remedy=f"Give the first level, {name}=1, and where to stop, most=64.",
            )
    settle = _SETTLE * seconds if warmup is None else warmup
    shared: dict[str, Any] = {
        "arrivals": arrivals,
        "think": think,
        "warmup": settle,
        "limits": limits,
        "max_in_flight": max_in_flight,
        "grace": grace,
        "labels": labels,
        "settings": settings,
    }
    asked = prompts_of(prompts, seed=seed)
    plan = plan_of(asked, **level, seconds=seconds, seed=seed, **shared)
    name, begin = next((name, value) for name, value in level.items() if value is not None)
    _check(name, begin, most, refine)
    where = {"folder": folder, "executor": executor, "workers": workers, "progress": progress}
    with one_client(target) as client:
        tried = _Tried(plan.against(client), settle)

        def measure(height: float) -> _Row:
            made: dict[str, Any] = {name: height, "seed": seed + len(tried.stages)}
            once = plan_of(asked, seconds=seconds, **made, **shared).against(client)
            return tried.add(run_plan(client, once, **where), height)

        try:
            why = _search(measure, float(begin), float(most), refine, plan)
        except KeyboardInterrupt:  # in a level or between two: what came is kept, and no other begins
            if not tried.stages:
                raise
            why, tried.status = "", "interrupted" if tried.status == "complete" else tried.status
    result = tried.result(why)
    keep(result, folder)
    return result


class _Tried:
    """The levels that were tried, as stages of one run."""

    def __init__(self, plan: Plan, settle: float) -> None:
        self._plan, self._settle = plan, settle
        self._tables: list[pd.DataFrame] = []
        self._problems: list[str] = []
        self._over = 0  # seconds; a whole one, so that none has replies of two levels
        self.status = "complete"
        self.stages: list[Stage] = []

    def add(self, rows: Any, level: float) -> _Row:
        """Take the replies of one more level; return what they come to.

        Raises
        ------
        KeyboardInterrupt
            The run was interrupted, or broke off: no other level is to begin.
        """
        table, number = rows.table(), len(self.stages) + 1
        begin = self._over
        shifted = {name: table[name] + begin for name in ("intended_s", "started_s", "ended_s")}
        table = table.assign(stage=number, level=level, **shifted).astype({"stage": "Int64"})
        stage = Stage(number, begin, begin + self._plan.seconds, level, level)
        self._tables.append(table)
        self.stages.append(stage)
        ends = floats(table, "ended_s")
        self._over = math.ceil(ends[np.isfinite(ends)].max(initial=stage.end))
        self._problems += rows.problems
        if rows.status != "complete":
            self.status = rows.status
            raise KeyboardInterrupt
        alone = LoadResult(table, replace(self._plan, stages=(stage,), warmup=0.0), settle=self._settle)
        (found,) = alone.stages.to_dict("records")
        return {**{str(column): value for column, value in found.items()}, "failures": alone.failures}

    def result(self, why: str) -> LoadResult:
        """All of them as one."""
        import pandas as pd

        return LoadResult(
            pd.concat(self._tables, ignore_index=True),
            replace(self._plan, stages=tuple(self.stages), warmup=0.0),
            status=self.status,
            settle=self._settle,
            why=why,
            problems=self._problems,
        )


# -- the search --------------------------------------------------------------------------------------


def _search(measure: Callable[[float], _Row], first: float, most: float, refine: int, plan: Plan) -> str:
    """Try levels; return why no higher one was."""
    rows: list[_Row] = []
    level = first
    while level <= most:
        rows.append(measure(level))
        why = stop(rows[-2] if len(rows) > 1 else None, rows[-1], plan.loop)
        if why:
            break
        level = 2 * level
    else:  # nothing bends below
        return f"no level above {most:g} was to be tried"
    for extra in between(rows, refine, whole=plan.loop == "closed"):
        measure(extra)
    return why


def stop(before: _Row | None, now: _Row, loop: str) -> str:
    """Why no higher level is tried after these two; empty if one is.

    Parameters
    ----------
    before, now : mapping
        Rows of `LoadResult.stages`, and ``failures`` by kind; before is None for the first level.
    loop : {"closed", "open"}
    """
    at = _said(now["level"], loop)
    if now["replies"] and now["failed"] > _MOST_FAILED * now["replies"]:
        kinds = ", ".join(list(now.get("failures", {}))[:3])
        share = f"{100 * now['failed'] / now['replies']:.0f} % of the replies failed with {at}"
        return f"{share}: {kinds}" if kinds else share
    if not now["requests_per_s"]:
        return f"no reply came to its end in time with {at}: give more seconds"
    if before is None:
        return ""
    was = _said(before["level"], loop)
    good, best = _number(now["goodput_rps"]), _number(before["goodput_rps"])
    if best > 0 and good < _FALL * best:
        return f"good replies became fewer: {good:.3g} a second with {at}, {best:.3g} with {was}"
    if now["requests_per_s"] < _LEAST_RISE * before["requests_per_s"] and _witness(before, now, loop):
        rates = f"{now['requests_per_s']:.3g} a second with {at}, {before['requests_per_s']:.3g} with {was}"
        return f"throughput rises no more: {rates}"
    return ""


def _witness(before: _Row, now: _Row, loop: str) -> bool:
    """Whether something else than throughput says so, too: replies that take longer, or too few of them."""
    if loop == "open":
        return bool(now["requests_per_s"] < _ASKED * _number(now["offered_rps"]))
    return not _number(now["e2e_p50_s"]) < _LONGER * _number(before["e2e_p50_s"])


def between(rows: list[_Row], count: int, *, whole: bool) -> Iterator[float]:
    """Levels to try besides, where the throughput bends.

    That is between the last two levels, unless it had risen clearly less than the level already one step
    before.

    Parameters
    ----------
    rows : list of mapping
        Of the levels that were tried, in rising order.
    count : int
        How many at most.
    whole : bool
        Whether levels are whole numbers.
    """
    if len(rows) < 2:
        return
    low, high = rows[-2], rows[-1]
    if len(rows) > 2:
        rise = low["requests_per_s"] / rows[-3]["requests_per_s"] if rows[-3]["requests_per_s"] else math.inf
        if rise < 0.8 * low["level"] / rows[-3]["level"]:
            low, high = rows[-3], rows[-2]
    step = (high["level"] - low["level"]) / (count + 1)
    found = [low["level"] + step * (i + 1) for i in range(count)]
    levels = [float(round(level)) if whole else float(f"{level:.4g}") for level in found]
    yield from (each for each in dict.fromkeys(levels) if low["level"] < each < high["level"])


def _check(name: str, first: Any, most: Any, refine: Any) -> None:
    for what, value, least in (("most", most, first), ("refine", refine, 0)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < math.inf:
            raise RequestError(f"{what} is {value!r:.60}.", remedy=f"A number from {least:g} on is wanted.")
    if not isinstance(refine, int):
        raise RequestError(f"refine is {refine!r:.60}.", remedy="A whole number of levels is wanted.")


def _said(level: float, loop: str) -> str:
    if loop == "open":
        return f"{level:g} starts a second"
    return f"{level:g} user{'s' * (level != 1)}"


def _number(value: Any) -> float:
    """A number, 0 for a missing one."""
    return 0.0 if value is None or value != value else float(value)
