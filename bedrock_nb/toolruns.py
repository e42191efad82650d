"""What became of the tools that an answer asked for, and when: a row for each call.

Strategy: one frozen value, on the clock of the recording whose message asked for the tool (seconds since its
request), so that a tool and the stream that it ran beside can be laid on one time axis. What a tool was
given and what it gave are in the messages; here are the times and the outcome alone. Below it: how a run
looks in a file, where nothing is believed, and sums of intervals, for runs may be side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, TypeAlias, get_args

from bedrock_nb.message import ToolResultBlock, ToolUseBlock

__all__ = [
    "Outcome",
    "ToolFinished",
    "ToolRun",
    "ToolStarted",
    "busy",
    "from_json",
    "in_order",
    "spent",
    "to_json",
]

#: How a call ended. ``success`` and ``error`` (it raised) ran to their end; ``timeout`` and ``cancelled``
#: were given up; the others never ran: ``denied`` by who was asked, ``invalid`` arguments, an ``unknown``
#: tool, ``broken`` input that was not one whole JSON object.
Outcome: TypeAlias = Literal[
    "success", "error", "timeout", "cancelled", "denied", "invalid", "unknown", "broken"
]


@dataclass(frozen=True, slots=True, repr=False)
class ToolRun:
    """One call of a tool.

    Attributes
    ----------
    id, name : str
        Of the call, as the model made them.
    outcome : str
        See `Outcome`.
    asked_s : float
        When the call was whole: its content block stopped. Seconds since the recording's request.
    began_s : float or None
        When the tool began to run; None if it never did.
    ended_s : float
        When its result was there.
    waited_s : float
        How long somebody was asked for approval, before ``began_s``; seconds.
    eager : bool
        Whether it was let run before the message had ended.
    error : str
        What the model was told went wrong; empty after success.
    """

    id: str
    name: str
    outcome: Outcome
    asked_s: float
    began_s: float | None
    ended_s: float
    waited_s: float = 0.0
    eager: bool = False
    error: str = ""

    def __repr__(self) -> str:
        ran = ", not run" if self.began_s is None else f" in {self.ended_s - self.began_s:.3f} s"
        eager, error = ", eager" * self.eager, f": {_brief(self.error)}" if self.error else ""
        return f"ToolRun({_brief(self.name)}: {self.outcome}{ran}{eager}{error})"


def _brief(text: str) -> str:
    """Text in one line of at most 80 characters, with nothing in it that a terminal obeys."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")[1:-1]


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A call is let run; one of the events of a turn, not of the wire."""

    call: ToolUseBlock
    eager: bool


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A call has its result, also one that never ran: ``run.outcome`` says how it went."""

    call: ToolUseBlock
    run: ToolRun
    result: ToolResultBlock


def in_order(runs: Iterable[ToolRun]) -> list[ToolRun]:
    """Runs in the order in which the model asked for them; they are recorded as they end."""
    return sorted(runs, key=attrgetter("asked_s"))


# -- in files --------------------------------------------------------------------------------------

# Member of the JSON object -> the types that it may be of; ``ended_s`` is the time of its line.
_MEMBERS: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "name": (str,),
    "outcome": (str,),
    "asked_s": (int, float),
    "began_s": (int, float, type(None)),
    "waited_s": (int, float),
    "eager": (bool,),
    "error": (str,),
}


def to_json(run: ToolRun) -> dict[str, Any]:
    """A run as a JSON object, times to the microsecond; without ``ended_s``, which is its line's time."""
    members = ((name, getattr(run, name)) for name in _MEMBERS)
    return {name: round(value, 6) if name.endswith("_s") and value else value for name, value in members}


def from_json(members: Mapping[str, Any], ended_s: float) -> ToolRun:
    """The run that a JSON object tells of; members that are not known are passed over.

    Raises
    ------
    KeyError, TypeError, ValueError
        A member is missing, or is not what it must be.
    """
    found = {name: members[name] for name in _MEMBERS}
    for name, kinds in _MEMBERS.items():
        if type(found[name]) not in kinds:
            raise TypeError(f"{name} of a tool run cannot be {found[name]!r:.40}")
        if name.endswith("_s") and found[name] is not None:
            found[name] = float(found[name])
            if not math.isfinite(found[name]):
                raise ValueError(f"{name} of a tool run is no number of seconds")
    if found["outcome"] not in get_args(Outcome):
        raise ValueError(f"no tool run ends with {found['outcome']!r:.40}")
    return ToolRun(ended_s=ended_s, **found)


# -- how long --------------------------------------------------------------------------------------


def busy(runs: Iterable[ToolRun]) -> list[tuple[float, float]]:
    """When at least one tool ran: intervals in seconds, in their order, that do not touch each other."""
    merged: list[tuple[float, float]] = []
    for begin, end in sorted((run.began_s, run.ended_s) for run in runs if run.began_s is not None):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def spent(intervals: Iterable[tuple[float, float]], until: float = math.inf) -> float:
    """Length of all intervals together, seconds; of the parts before ``until`` if that is given."""
    return sum(max(0.0, min(end, until) - begin) for begin, end in intervals)
