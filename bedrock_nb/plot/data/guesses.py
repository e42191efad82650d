"""A guess and the facts -> quantities side by side, and what is to be said of each, as pure data.

Strategy: a quantity that is a metric brings its words and its unit; of any other the end of its name tells
the unit. Guess and fact are always written in the same unit, so that an eye can compare them. Ratios are told
in words. Nothing here knows of matplotlib, nor of the widget.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from bedrock_nb.errors import RequestError, close
from bedrock_nb.metrics import METRICS, measure
from bedrock_nb.plot.data.growth import growth
from bedrock_nb.recording import Recording

__all__ = [
    "CURVE",
    "Guessed",
    "Stairs",
    "extents",
    "facts_of",
    "guessed",
    "is_curve",
    "number",
    "round_up",
    "stairs",
    "words",
]

#: The two quantities that make a line of tokens over time.
CURVE = ("ttft_s", "output_tps")

#: What is short enough for the head of a sentence.
_SHORT = {"ttft_s": "TTFT", "output_tps": "Rate", "tpot_s": "TPOT", "ttlt_s": "TTLT", "e2e_s": "End to end"}
#: Units of metrics as they stand behind a number.
_UNITS = {"token/s": "tokens/s", "token": "tokens", "count": "", "share": ""}
#: Ends of names that are units, the longest first.
_ENDS = {
    "_per_s": "per s",
    "_tokens": "tokens",
    "_bytes": "bytes",
    "_tps": "tokens/s",
    "_usd": "USD",
    "_ms": "ms",
    "_s": "s",
}
#: Characters of a token where the service has not counted: a rule of thumb for English.
_CHARS_PER_TOKEN = 4
_ROUND = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
#: Scales that many times as long do not go together.
_FAR = 10
#: Ratios that count as the same.
_CLOSE = 0.1


class Guessed(NamedTuple):
    """One quantity: its words, and guess and fact in the same unit; None where there is no fact."""

    name: str
    label: str
    unit: str
    guess: float
    fact: float | None

    @property
    def short(self) -> str:
        """Its name at the head of a sentence."""
        return _SHORT.get(self.name, self.label[:1].upper() + self.label[1:])

    @property
    def ratio(self) -> float | None:
        """Guess by fact; None where that says nothing."""
        return self.guess / self.fact if self.fact else None

    @property
    def said(self) -> str:
        """A sentence of both: ``TTFT: guessed 0.40 s, was 0.93 s.``"""
        return f"{self.short}: {self.both}."

    @property
    def both(self) -> str:
        """Guess and fact, the longer units said once: ``guessed 60, was 41 tokens/s``."""
        if self.fact is None:
            return f"guessed {number(self.guess, self.unit)}, no fact"
        unit = self.unit if len(self.unit) <= 2 else ""
        return f"guessed {number(self.guess, unit)}, was {number(self.fact, self.unit)}"

    @property
    def told(self) -> str:
        """The same, said to the student: ``You said 0.40 s; it was 0.93 s: 57 % too low.``"""
        said = f"You said {number(self.guess, self.unit)}"
        if self.fact is None:
            return f"{said}; the answer has no such number."
        verdict = f": {self.verdict}" if self.verdict else ""
        return f"{said}; it was {number(self.fact, self.unit)}{verdict}."

    @property
    def is_close(self) -> bool:
        """Whether the guess is as good as right."""
        if self.fact is None:
            return False
        return self.guess == self.fact or (self.ratio is not None and abs(self.ratio - 1) <= _CLOSE)

    @property
    def verdict(self) -> str:
        """How far off the guess is, in words; empty where there is nothing to compare."""
        if self.fact is None or self.ratio is None or self.ratio < 0:
            return "exactly right" if self.guess == self.fact else ""
        if self.is_close:
            return "close, within 10 %"
        way = "high" if self.ratio > 1 else "low"
        if 0.5 <= self.ratio <= 2 or not self.ratio:
            return f"{100 * abs(self.ratio - 1):.0f} % too {way}"
        return f"{number(max(self.ratio, 1 / self.ratio), '', 2)} times too {way}"


class Stairs(NamedTuple):
    """Tokens so far over time: a step at each content delta.

    ``t`` is in seconds since the request, ``tokens`` after each. ``counted`` says whether the service counted
    them; if not they are guessed from the length of the text. ``end`` is when the recording ends.
    """

    t: Sequence[float]
    tokens: Sequence[float]
    counted: bool
    end: float


def words(name: str) -> tuple[str, str]:
    """What a quantity is called, and its unit: ``("time to first token", "s")``."""
    metric = METRICS.get(name)
    if metric is not None:
        return metric.label, _UNITS.get(metric.unit, metric.unit)
    end = next((end for end in _ENDS if name.endswith(end) and name != end), "")
    return name.removesuffix(end).strip("_").replace("_", " ") or name, _ENDS.get(end, "")


def number(value: float, unit: str = "", digits: int = 3) -> str:
    """A number in its unit, the way it is spoken of: ``0.40 s``, ``41.2 tokens/s``, ``12,000``."""
    if not math.isfinite(value):
        said = str(value)
    elif unit == "s" and 0.0995 <= abs(value) < 99.95:
        said = f"{value:.2f}"
    elif abs(value) >= 10 ** (digits - 1):
        said = f"{value:,.0f}"
    else:
        said = f"{value:.{digits}g}" if abs(value) >= 1e-3 or not value else f"{value:.2g}"
    return f"{said} {unit}".rstrip()


def round_up(value: float) -> float:
    """The next round number, for the end of a scale: ``0.43 -> 0.5``, ``150 -> 150``."""
    if not 0 < value < 1e300:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(f"{next(step for step in _ROUND if step * power >= value * (1 - 1e-9)) * power:.6g}")


def guessed(guess: Mapping[str, float], facts: Mapping[str, float | None]) -> list[Guessed]:
    """All quantities of a guess, in its order, with their facts as far as there are any."""
    return [Guessed(name, *words(name), float(value), facts.get(name)) for name, value in guess.items()]


def extents(rows: Sequence[Guessed]) -> dict[str, tuple[float, float]]:
    """Where the scale of each quantity begins and ends: 0 is on it, and the ends are round.

    Quantities of one unit share a scale, so that an eye may compare them, unless they are so far apart that
    the small ones could not be seen.
    """
    shared: dict[str, tuple[float, float]] = {}
    for row in rows:
        values = [0.0, row.guess, *([] if row.fact is None else [row.fact])]
        low, high = min(values), max(values)
        ends = (-round_up(-low) if low < 0 else 0.0, round_up(high) if high > 0 or low == 0 else 0.0)
        shared[row.name] = ends
    for unit in {row.unit for row in rows if row.unit}:
        names = [row.name for row in rows if row.unit == unit]
        sizes = [shared[name][1] - shared[name][0] for name in names]
        if max(sizes) <= _FAR * min(sizes):
            both = (min(shared[name][0] for name in names), max(shared[name][1] for name in names))
            shared.update(dict.fromkeys(names, both))
    return shared


def is_curve(names: Mapping[str, Any] | Sequence[str]) -> bool:
    """Whether there is a line of tokens over time to be drawn."""
    return all(name in names for name in CURVE)


def facts_of(
    names: Sequence[str], recording: Recording | None, given: Mapping[str, Any]
) -> dict[str, float | None]:
    """What is true: what was given, and of a recording those quantities that are metrics.

    Raises
    ------
    RequestError
        A fact of something that was not guessed, or one that is no number.
    """
    for name, value in given.items():
        if name not in names:
            raise RequestError(
                f"{name!r:.40} was not guessed.", remedy=f"{close(name, names)}Guessed: {', '.join(names)}."
            )
        if value is not None and not _is_real(value):
            raise RequestError(f"{name} is {value!r:.40}; a fact is a number, or None if there is none.")
    measured = measure(recording) if recording is not None else {}
    facts = {name: measured[name] for name in names if name in measured}
    facts.update(given)
    return {name: None if value is None else float(value) for name, value in facts.items()}


def _is_real(value: Any) -> bool:
    try:
        return not isinstance(value, bool | str) and math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def stairs(recording: Recording, most: int | None = None) -> Stairs:
    """How the tokens of one reply came.

    Parameters
    ----------
    most : int, optional
        Steps; where there are more, some are taken together, the last is kept.
    """
    grown = growth(recording)
    per_char = grown.per_char
    counted = per_char is not None
    tokens = [chars * (per_char or 1 / _CHARS_PER_TOKEN) for chars in accumulate(grown.amounts)]
    every = max(1, math.ceil(len(tokens) / most)) if most else 1
    kept = [i for i in range(len(tokens)) if i % every == 0 or i == len(tokens) - 1]
    return Stairs([grown.times[i] for i in kept], [tokens[i] for i in kept], counted, grown.end)
