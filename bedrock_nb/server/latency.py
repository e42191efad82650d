"""The latency law: when each event of an answer leaves the server.

Strategy: the law is one frozen object of five numbers, applied to a recording after the answer is known.
Content carries time, everything else goes with its neighbour: the message starts a moment before the first
content, the first content delta leaves at ``ttft``, each later one as many token times after the one before
as it carries tokens, so that the text grows at a steady pace although its deltas are uneven. A recording
that already has times is performed as it is, and never comes here.

The default law is a quick small model, with the first token in the middle of a bin of 0.1 s: lessons print
times rounded to that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from random import Random
from typing import Any

from bedrock_nb.errors import RequestError
from bedrock_nb.events import (
    CONTENT,
    Event,
    ImageStart,
    MessageStart,
    Metadata,
    ReasoningDelta,
    RedactedReasoning,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUseStart,
)
from bedrock_nb.recording import Recording
from bedrock_nb.server.tokens import count

__all__ = ["INSTANT", "METADATA_DELAY", "Latency", "is_timed"]

#: Seconds from ``messageStart`` to the first content, where the law leaves so much: the first event is not
#: the first token, and whoever times it should see the difference.
START_LEAD = 0.05

#: Seconds from ``messageStop`` to ``metadata``.
METADATA_DELAY = 0.005

# field -> smallest value, and whether it must be a whole number
_LIMITS: dict[str, tuple[float, bool]] = {
    "ttft": (0.0, False),
    "per_token": (0.0, False),
    "jitter": (0.0, False),
    "burst": (1, True),
}


@dataclass(frozen=True)
class Latency:
    """When the events of an answer are sent.

    Parameters
    ----------
    ttft : float
        Time to the first content delta, seconds after the request arrived.
    per_token : float
        Seconds for each token after that.
    jitter : float
        Standard deviation of each gap as a fraction of it. The gaps are lognormal and keep their mean, so
        jitter changes when deltas come and not how fast the model is.
    burst : int
        Content deltas that leave together: a server that sends every n-th delta. The burst leaves when
        its last delta is due.
    seed : int
        Seed of the jitter: the same server asked the same things in the same order keeps the same times.

    Raises
    ------
    RequestError
        A number that cannot be.

    Examples
    --------
    >>> Latency(ttft=1.2, per_token=0.01).per_token
    0.01
    """

    ttft: float = 0.3
    per_token: float = 0.02
    jitter: float = 0.0
    burst: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, whole) in _LIMITS.items():
            value = getattr(self, name)
            kind: Any = int if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kind) or not low <= value < math.inf:
                wanted = "whole number" if whole else "number"
                raise RequestError(
                    f"Latency's {name} is {value!r}; a {wanted} of at least {low:g} is wanted."
                )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise RequestError(f"Latency's seed is {self.seed!r}; a whole number is wanted.")

    def __repr__(self) -> str:
        said = (
            f for f in fields(self) if f.name in ("ttft", "per_token") or getattr(self, f.name) != f.default
        )
        return f"Latency({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in said)})"

    @classmethod
    def none(cls) -> Latency:
        """The law of a server that does not wait: everything at once, as fast as it can be sent."""
        return cls(ttft=0.0, per_token=0.0)

    def retime(self, recording: Recording, *, nth: int = 0) -> Recording:
        """A copy of the recording with times by this law.

        Parameters
        ----------
        recording : Recording
            An answer; its own times are ignored.
        nth : int
            Which answer of its server this is. It goes into the seed, so that repetitions differ.

        Returns
        -------
        Recording
            With ``clock="schedule"``, and the end of the answer as the latency in its metadata.
        """
        rng = Random(f"{self.seed}/{nth}")
        timed = Recording(recording.request, labels=recording.labels, clock="schedule")
        timed.status = recording.status
        events = list(recording)
        for event, t in zip(events, self._times(events, rng), strict=True):
            if isinstance(event, Metadata):
                event = replace(event, latency_ms=round(t * 1000))
            timed.append(event, t)
        return timed

    @property
    def paced(self) -> bool:
        """Whether this law makes anything wait."""
        return self.ttft > 0 or self.per_token > 0

    def _times(self, events: list[Event], rng: Random) -> Iterator[float]:
        """One time per event, never decreasing: content by the law, the rest with its neighbour."""
        due = self._content_times(events, rng)
        following: float | None = None
        for i in reversed(range(len(events))):  # what opens a block leaves with the content that follows
            if i in due:
                following = due[i]
            elif not isinstance(events[i], _OPENING):
                following = None
            elif following is not None:
                due[i] = following
        now = max(0.0, self.ttft - START_LEAD)
        for i, event in enumerate(events):
            if i in due:
                now = due[i]
            elif isinstance(event, Metadata) and self.paced:
                now += METADATA_DELAY
            elif not isinstance(event, MessageStart):  # an answer without content ends when it would begin
                now = max(now, self.ttft)
            yield now

    def _content_times(self, events: list[Event], rng: Random) -> dict[int, float]:
        """Position -> time of each content event."""
        spread = math.sqrt(math.log1p(self.jitter**2))  # of the logarithm, for a mean of 1
        gaps: list[float] = []
        bursts: list[list[int]] = []
        counted = 0
        for i, event in enumerate(events):
            if not isinstance(event, CONTENT):
                continue
            tokens = _tokens(event)
            if not bursts or (tokens and counted == self.burst):
                gaps.append(0.0)
                bursts.append([])
                counted = 0
            bursts[-1].append(i)
            if tokens:  # a signature or a citation takes no time: it leaves with what it belongs to
                factor = rng.lognormvariate(-(spread**2) / 2, spread) if spread else 1.0
                gaps[-1] += self.per_token * tokens * factor
                counted += 1
        moments = accumulate([self.ttft, *gaps[1:]])  # the first burst comes at ttft, however much it holds
        return {i: t for burst, t in zip(bursts, moments, strict=False) for i in burst}


#: Events that open something, and so leave with what follows them.
_OPENING = (ToolUseStart, ToolResultStart, ImageStart)


def _tokens(event: Event) -> int:
    match event:
        case TextDelta(_, text) | ReasoningDelta(_, text) | ToolInputDelta(_, text):
            return count(text)
        case RedactedReasoning(_, data):
            return -(-len(data) // 4)  # opaque bytes: as many as their text might have
        case ToolResultDelta(_, content):
            return sum(count(str(item)) for item in content)
        case _:
            return 0


def is_timed(recording: Recording) -> bool:
    """Whether a recording brings its own times."""
    return any(t > 0 for t in recording.times)


#: Everything at once.
INSTANT = Latency.none()
