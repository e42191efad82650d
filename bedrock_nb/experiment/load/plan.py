"""What a load test is to do, with its arguments checked: how many users or starts a second, when, how long.

Strategy: one frozen object of plain values. It travels to worker processes, and the result keeps it: whoever
reads the numbers can see what was asked for. Nothing here sends anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Literal, TypeAlias, get_args

from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.load.arrivals import Arrivals, Stage
from bedrock_nb.experiment.load.prompts import Prompts
from bedrock_nb.experiment.load.rows import LOAD_COLUMNS
from bedrock_nb.experiment.noting import versions, where
from bedrock_nb.metrics.goodput import limits as checked_limits

__all__ = ["Loop", "Plan", "Think", "plan_of"]

#: Who decides when a request starts: users who wait for their answers, or a schedule that waits for nothing.
Loop: TypeAlias = Literal["closed", "open"]
#: How long a user thinks: always as long, or by chance.
Draw: TypeAlias = Literal["fixed", "exponential"]

_STAGES = (
    "For example 8; or stages of (seconds, level) such as [(10, 2), (20, 8)]; or with a ramp "
    "from one level to another: [(10, (1, 8)), (20, 8)]."
)
#: More at once in one process is a slip of the keyboard.
_MOST_USERS = 100_000


@dataclass(frozen=True)
class Think:
    """For how long a user thinks between an answer and the next request.

    Parameters
    ----------
    mean : float
        Seconds.
    distribution : {"fixed", "exponential"}
        Always as long, or by chance.
    """

    mean: float = 0.0
    distribution: Draw = "fixed"

    def draw(self, chance: Random) -> float:
        """Seconds to think this time."""
        if self.distribution == "fixed" or not self.mean:
            return self.mean
        return chance.expovariate(1 / self.mean)


@dataclass(frozen=True)
class Plan:
    """A load test before it runs; `plan_of` makes one of arguments, checked.

    Parameters
    ----------
    loop : {"closed", "open"}
    stages : tuple of Stage
        Their levels are users in the closed loop, starts a second in the open one.
    prompts : Prompts
        What the n-th request asks.
    settings : mapping
        Arguments of `bedrock_nb.astream` that all requests share.
    labels : mapping
        Labels of all replies.
    requests : int, optional
        No more requests than so many, of all workers together.
    arrivals : {"poisson", "fixed"}
        How starts follow each other in the open loop.
    think : Think
        Of users in the closed loop.
    warmup : float
        Seconds at the begin of the run whose replies do not count.
    limits : mapping of str to float
        What a good reply is, by full names of metrics.
    max_in_flight : int, optional
        No more requests at once than so many, in each worker; a start that has to wait for a place is late,
        and its lateness counts.
    seed : int
        Of the starts, of thinking, and of the order of prompts.
    grace : float
        Seconds that replies have to end after the last stage; then they are cancelled.
    targets, versions : mapping of str to str
        Who is asked and what asks, in words; known when the run begins.
    begun : str
        When it did: date and time, UTC.
    """

    loop: Loop
    stages: tuple[Stage, ...]
    prompts: Prompts
    settings: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    requests: int | None = None
    arrivals: Arrivals = "poisson"
    think: Think = Think()
    warmup: float = 0.0
    limits: Mapping[str, float] = field(default_factory=dict)
    max_in_flight: int | None = None
    seed: int = 0
    grace: float = 30.0
    targets: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    begun: str = ""

    def against(self, client: Any) -> Plan:
        """The plan as it is carried out now, against this client."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return replace(self, targets={"": where(client)}, versions=versions(), begun=now)

    @property
    def most_users(self) -> int:
        """The users of the closed loop, when it has most."""
        return int(max(max(stage.first, stage.last) for stage in self.stages))

    @property
    def seconds(self) -> float:
        """For how long requests are started; ``inf`` if only their number ends the run."""
        return self.stages[-1].end


def plan_of(
    prompts: Prompts,
    *,
    users: Any = None,
    rate: Any = None,
    seconds: float | None = None,
    requests: int | None = None,
    arrivals: str = "poisson",
    think: Any = 0.0,
    warmup: float = 0.0,
    limits: Mapping[str, float] | None = None,
    max_in_flight: int | None = None,
    seed: int = 0,
    grace: float = 30.0,
    labels: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan that these arguments of `load_test` describe.

    Raises
    ------
    RequestError
        One of them cannot work, or two contradict each other.
    """
    if (users is None) == (rate is None):
        raise RequestError(
            f"{'Neither' if users is None else 'Both'} users {'nor' if users is None else 'and'} rate "
            f"{'is' if users is None else 'are'} given.",
            remedy="users=8 is eight users, each of whom waits for an answer and asks again; rate=2 is two "
            "requests a second, however fast answers are. Give one of them.",
        )
    if arrivals not in get_args(Arrivals):
        raise RequestError(f"arrivals is {arrivals!r:.80}.", remedy='It is "poisson" or "fixed".')
    loop: Loop = "closed" if rate is None else "open"
    _check_whole("requests", requests, 1)
    _check_whole("max_in_flight", max_in_flight, 1)
    _check_whole("seed", seed, None)
    if loop == "closed" and max_in_flight is not None:
        raise RequestError(
            "max_in_flight has no use with users=.", remedy="No more are in flight than users."
        )
    if not isinstance(limits, Mapping | None):
        raise RequestError(
            f"limits is {limits!r:.60}.", remedy='A dict is wanted: {"ttft_s": 0.5}, in seconds.'
        )
    if loop == "open" and think not in (0, 0.0):
        raise RequestError("think= has no use with rate=.", remedy="Nobody thinks: starts follow the rate.")
    for name in labels or {}:
        if not isinstance(name, str) or name in LOAD_COLUMNS:
            raise RequestError(
                f"The label {name!r:.80} cannot be.",
                remedy=f"A text is wanted, and none of a load test's own columns: {', '.join(LOAD_COLUMNS)}.",
            )
    stages = _stages(loop, users if rate is None else rate, seconds, requests)
    warmup = _seconds("warmup", warmup)
    if warmup >= stages[-1].end:
        raise RequestError(
            f"The warm-up of {warmup:g} s is the whole run of {stages[-1].end:g} s.",
            remedy="What comes in it does not count: give fewer seconds.",
        )
    return Plan(
        loop,
        stages,
        prompts,
        settings=dict(settings or {}),
        labels=dict(labels or {}),
        requests=requests,
        arrivals=arrivals,  # type: ignore[arg-type]  # one of these, see above
        think=_think(think),
        warmup=warmup,
        limits=checked_limits(**limits) if limits else {},
        max_in_flight=max_in_flight,
        seed=seed,
        grace=_seconds("grace", grace),
    )


def _stages(loop: Loop, level: Any, seconds: Any, requests: int | None) -> tuple[Stage, ...]:
    name = "users" if loop == "closed" else "rate"
    several = isinstance(level, Sequence) and not isinstance(level, str)
    if several and seconds is not None:
        raise RequestError(
            f"seconds={seconds!r:.40} is given, and {name} has stages.",
            remedy="Each stage says its own seconds: leave seconds= out.",
        )
    if not several and seconds is None and requests is None:
        raise RequestError(
            "Nothing says when this load test ends.", remedy="Give seconds=30, or requests=100, or both."
        )
    stages: list[Stage] = []
    for number, stage in enumerate(level if several else [(seconds, level)], 1):
        if not isinstance(stage, Sequence) or isinstance(stage, str) or len(stage) != 2:
            raise RequestError(f"Stage {number} of {name} is {stage!r:.80}.", remedy=_STAGES)
        if stage[0] is None and not several:
            lasts = math.inf
        else:
            what = f"The length of stage {number}" if several else "seconds"
            lasts = _seconds(what, stage[0], above=True)
        height = stage[1]
        ramp = several and isinstance(height, Sequence) and not isinstance(height, str) and len(height) == 2
        first, last = height if ramp else (height, height)
        begin = stages[-1].end if stages else 0.0
        stages.append(Stage(number, begin, begin + lasts, _level(name, first), _level(name, last)))
    if not any(stage.first or stage.last for stage in stages):
        raise RequestError(f"{name} is {level!r:.80}: nothing would ever be asked.", remedy=_STAGES)
    return tuple(stages)


def _level(name: str, value: Any) -> float:
    whole = name == "users"
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise RequestError(f"{name} is {value!r:.60}.", remedy=f"A number from 0 is wanted. {_STAGES}")
    if whole and (value != int(value) or value > _MOST_USERS):
        raise RequestError(
            f"{value!r} users cannot be.", remedy=f"A whole number up to {_MOST_USERS:,} is wanted. {_STAGES}"
        )
    return float(value)


def _seconds(name: str, value: Any, *, above: bool = False) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if not good or (above and not value):
        raise RequestError(
            f"{name} is {value!r:.60}.",
            remedy=f"Seconds are wanted, a number {'above' if above else 'from'} 0.",
        )
    return float(value)


def _check_whole(name: str, value: Any, least: int | None) -> None:
    if value is None and least is not None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
        raise RequestError(
            f"{name} is {value!r:.60}.",
            remedy=f"A whole number{'' if least is None else f' from {least}'} is wanted.",
        )


def _think(given: Any) -> Think:
    mean, how = given if isinstance(given, Sequence) and len(given) == 2 else (given, "fixed")
    if how not in get_args(Draw):
        raise RequestError(
            f"think is {given!r:.80}.",
            remedy='Give seconds, or (seconds, "exponential") for a mean of these.',
        )
    return Think(_seconds("think", mean), how)  # type: ignore[arg-type]  # one of these, see above
