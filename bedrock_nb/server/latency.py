"""The latency law: when each event of an answer leaves the server, and how many answers it gives at once.

Strategy: the law is one frozen object of numbers, applied to a recording after the answer is known. Content
carries time, everything else goes with its neighbour: the message starts a moment before the first content,
the first content delta leaves when the prompt is read, each later one as many token times after the one
before as it carries tokens, so that the text grows at a steady pace although its deltas are uneven. A
recording that already has times is performed as it is, and never comes here. What the law says about a server
under load (places, queue, rates) is kept by `admission`.

The default law is a quick small model, with the first token in the middle of a bin of 0.1 s: lessons print
times rounded to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

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

__all__ = ["DISTRIBUTIONS", "INSTANT", "METADATA_DELAY", "PACE", "Latency", "is_timed"]

#: Seconds from ``messageStart`` to the first content, where the law leaves so much: the first event is not
#: the first token, and whoever times it should see the difference.
START_LEAD = 0.05

#: Seconds from ``messageStop`` to ``metadata``.
METADATA_DELAY = 0.005

#: What a request may ask for -> the factor on all its times: settings of ConverseStream. The service gives no
#: figures; these are this server's own.
PACE = {"optimized": 0.5, "priority": 0.8, "flex": 2.0}


def _lognormal(rng: Random, spread: float) -> float:
    sigma = math.sqrt(math.log1p(spread**2))
    return rng.lognormvariate(-(sigma**2) / 2, sigma)


def _gamma(rng: Random, spread: float) -> float:
    spread = max(spread, 1e-6)  # a smaller one has a shape that no float holds, and shows in no time
    return rng.gammavariate(spread**-2, spread**2)


def _uniform(rng: Random, spread: float) -> float:
    width = min(1.0, spread * math.sqrt(3))  # wider, and times would run backwards
    return rng.uniform(1 - width, 1 + width)


#: Name of a distribution -> a function that draws a factor with mean 1 and this standard deviation.
DISTRIBUTIONS: dict[str, Callable[[Random, float], float]] = {
    "lognormal": _lognormal,
    "gamma": _gamma,
    "uniform": _uniform,
}


class _Limit(NamedTuple):
    """What a number of the law may be."""

    low: float = 0.0
    high: float = math.inf
    whole: bool = False
    optional: bool = False


#: Beyond this a jitter says nothing: nearly all draws are 0, and what makes up the mean never comes.
_WIDEST = 10.0

_LIMITS = {
    "ttft": _Limit(),
    "per_token": _Limit(),
    "jitter": _Limit(high=_WIDEST),
    "burst": _Limit(1, whole=True),
    "seed": _Limit(-math.inf, whole=True),
    "per_input_token": _Limit(),
    "ttft_jitter": _Limit(high=_WIDEST),
    "stall": _Limit(),
    "stall_chance": _Limit(high=1),
    "slots": _Limit(1, whole=True, optional=True),
    "queue": _Limit(0, whole=True, optional=True),
    "requests_per_minute": _Limit(1, optional=True),
    "tokens_per_minute": _Limit(1, optional=True),
}


@dataclass(frozen=True)
class Latency:
    """When the events of an answer are sent.

    Parameters
    ----------
    ttft : float
        Time to the first content delta of an empty prompt, seconds after the answer's turn came.
    per_token : float
        Seconds for each token after that.
    jitter : float
        Standard deviation of each gap as a fraction of it, at most 10. The gaps keep their mean, so jitter
        changes when deltas come and not how fast the model is.
    burst : int
        Content deltas that leave together: a server that sends every n-th delta. The burst leaves when
        its last delta is due.
    seed : int
        Seed of all chance: the same server asked the same things in the same order keeps the same times.
    per_input_token : float
        Seconds for each token of the prompt that was not in the prompt cache; they come before the first
        content.
    ttft_jitter : float
        Standard deviation of the time to the first content delta, as a fraction of it, at most 10.
    distribution : {"lognormal", "gamma", "uniform"}
        What both jitters are drawn from. A uniform one spreads by 0.577 at most, for no time is negative.
    stall : float
        Seconds that a stall lasts, on average (exponential).
    stall_chance : float
        Chance of a stall before each content delta but the first, 0 to 1.
    slots : int, optional
        Answers given at once; further requests wait for a free place, first come first served.
    queue : int, optional
        Requests that may wait, of each student in a classroom; the next is refused with 503
        ServiceUnavailableException.
    requests_per_minute, tokens_per_minute : float, optional
        Rates beyond which requests are refused with 429 ThrottlingException: each a bucket of one minute's
        worth that refills steadily. A request takes its input tokens and its ``maxTokens`` out of it, and
        puts back what it did not use.

    Raises
    ------
    RequestError
        A number that cannot be.

    Examples
    --------
    >>> Latency(ttft=1.2, per_token=0.01).per_token
    0.01
    >>> Latency(ttft=0.2, per_input_token=0.001).first_token(500)
    0.7
    """

    ttft: float = 0.3
    per_token: float = 0.02
    jitter: float = 0.0
    burst: int = 1
    seed: int = 0
    per_input_token: float = 0.0
    ttft_jitter: float = 0.0
    distribution: str = "lognormal"
    stall: float = 0.0
    stall_chance: float = 0.0
    slots: int | None = None
    queue: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None

    def __post_init__(self) -> None:
        for name, limit in _LIMITS.items():
            value = getattr(self, name)
            kind: Any = int if limit.whole else (int, float)
            fits = isinstance(value, kind) and not isinstance(value, bool) and abs(value) < math.inf
            if not (limit.optional and value is None) and not (fits and limit.low <= value <= limit.high):
                wanted = "whole number" if limit.whole else "number"
                least = f" of at least {limit.low:g}" if limit.low > -math.inf else ""
                most = f" and at most {limit.high:g}" if limit.high < math.inf else ""
                raise RequestError(f"Latency's {name} is {value!r}; a {wanted}{least}{most} is wanted.")
        if self.distribution not in DISTRIBUTIONS:
            known = ", ".join(DISTRIBUTIONS)
            raise RequestError(f"Latency's distribution is {self.distribution!r}; one of {known} is wanted.")

    def __repr__(self) -> str:
        said = (
            f for f in fields(self) if f.name in ("ttft", "per_token") or getattr(self, f.name) != f.default
        )
        return f"Latency({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in said)})"

    @classmethod
    def none(cls) -> Latency:
        """The law of a server that does not wait: everything at once, as fast as it can be sent."""
        return cls(ttft=0.0, per_token=0.0)

    def first_token(self, input_tokens: int) -> float:
        """Seconds to the first content delta of a prompt with so many tokens, without jitter."""
        return self.ttft + self.per_input_token * input_tokens

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
        pace = _pace(recording.request)
        timed = Recording(recording.request, labels=recording.labels, clock="schedule")
        timed.status = recording.status
        events = list(recording)
        for event, t in zip(events, self._times(events, rng), strict=True):
            t *= pace
            if isinstance(event, Metadata):
                event = replace(event, latency_ms=round(t * 1000))
            timed.append(event, t)
        return timed

    @property
    def paced(self) -> bool:
        """Whether this law makes anything wait."""
        return max(self.ttft, self.per_token, self.per_input_token, self.stall * self.stall_chance) > 0

    def _times(self, events: list[Event], rng: Random) -> Iterator[float]:
        """One time per event, never decreasing: content by the law, the rest with its neighbour."""
        ttft = self.first_token(_read(events))
        if self.ttft_jitter:
            ttft *= DISTRIBUTIONS[self.distribution](rng, self.ttft_jitter)
        due = self._content_times(events, ttft, rng)
        following: float | None = None
        for i in reversed(range(len(events))):  # what opens a block leaves with the content that follows
            if i in due:
                following = due[i]
            elif not isinstance(events[i], _OPENING):
                following = None
            elif following is not None:
                due[i] = following
        now = max(0.0, ttft - START_LEAD)
        for i, event in enumerate(events):
            if i in due:
                now = due[i]
            elif isinstance(event, Metadata) and self.paced:
                now += METADATA_DELAY
            elif not isinstance(event, MessageStart):  # an answer without content ends when it would begin
                now = max(now, ttft)
            yield now

    def _content_times(self, events: list[Event], ttft: float, rng: Random) -> dict[int, float]:
        """Position -> time of each content event."""
        draw = DISTRIBUTIONS[self.distribution]
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
                factor = draw(rng, self.jitter) if self.jitter else 1.0
                gaps[-1] += self.per_token * tokens * factor
                if self.stall_chance and rng.random() < self.stall_chance:
                    gaps[-1] += self.stall * rng.expovariate(1.0)
                counted += 1
        moments = accumulate([ttft, *gaps[1:]])  # the first burst comes at ttft, however much it holds
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


def _read(events: list[Event]) -> int:
    """Tokens of the prompt that the model had to read, by the answer's own count."""
    usage = next((event.usage for event in reversed(events) if isinstance(event, Metadata)), {}) or {}
    return sum(usage.get(name) or 0 for name in ("inputTokens", "cacheWriteInputTokens"))


def _pace(request: Mapping[str, Any]) -> float:
    """The factor that the request's own settings ask for."""
    asked = (
        (request.get("performanceConfig") or {}).get("latency"),
        (request.get("serviceTier") or {}).get("type"),
    )
    return math.prod([PACE.get(name or "", 1.0) for name in asked])


def is_timed(recording: Recording) -> bool:
    """Whether a recording brings its own times."""
    return any(t > 0 for t in recording.times)


#: Everything at once.
INSTANT = Latency.none()
