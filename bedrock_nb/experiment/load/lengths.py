"""Prompts of drawn lengths: what a service is asked when it is the length that counts, not the words.

Strategy: a prompt is so many everyday words from a list of ours, drawn by lot, and a last sentence that asks
for a long text, so that an answer goes on to its ``max_tokens``. The lot of the n-th prompt depends on the
seed and on n alone: every process of a run draws the same ones, in any order. Hardly two begin alike, so no
prompt cache of a service helps.

Lengths are counted by a rule of thumb, that of the embedded server: a word of at most six letters is a token.
What a model made of it is in its ``usage``, and in the columns ``input_tokens`` and ``output_tokens``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from random import Random
from typing import Any, NamedTuple, TypeAlias

from bedrock_nb.errors import RequestError, close
from bedrock_nb.server import latency

__all__ = ["DISTRIBUTIONS", "Drawn", "Lengths"]

#: A mean, or a mean and a coefficient of variation.
Length: TypeAlias = "float | tuple[float, float]"

#: Words of at most six letters: one token each, by the rule of thumb.
_TEXT = (
    "anchor april arrow beacon birch bridge bright canal candle carpet chalk cherry circle clay cloud "
    "clover coast cotton crane cream delta desert diary dune eagle early earth east echo ember engine "
    "fabric farm fern fig flame flint flute forest garden glass globe goose grain gravel green harbor "
    "hazel heron honey ice iron island ivory jasmin jewel jungle kite ladder lamp larch lemon letter "
    "linen lotus marble melon metal mirror moon music north oak ocean opal orchid otter paint palm parrot "
    "piano pillow pine planet plum pond poplar quiet quill raven reed ridge river robin rocket sail salt "
    "sand seed shadow silver sky slate snow south spruce star stone storm stove swan table temple thyme "
    "tiger timber tower train tulip valley velvet violet wave west window winter wool yellow"
)
WORDS = tuple(_TEXT.split())
#: What ends a prompt that is long enough to hold it, and how many tokens it is.
_TASK, _TASK_TOKENS = ". Tell a long story with all of these words.", 11
#: A longer one is no prompt any more, and its words would fill the memory.
_LONGEST = 1_000_000
_WIDEST = 5.0


#: Name -> how the factor on a mean is drawn with this coefficient of variation, and the largest of these.
DISTRIBUTIONS: dict[str, tuple[Callable[[Random, float], float], float]] = {
    "lognormal": (latency.DISTRIBUTIONS["lognormal"], _WIDEST),
    "uniform": (latency.DISTRIBUTIONS["uniform"], 1 / math.sqrt(3)),  # wider, and lengths would be below 0
    "fixed": (lambda rng, cv: 1.0, 0.0),
}


class Drawn(NamedTuple):
    """A prompt by lot: its text, how many tokens it is about, and the most that its answer may have."""

    text: str
    tokens: int
    max_tokens: int | None


@dataclass(frozen=True)
class Lengths:
    """Prompts and answers of drawn lengths, for `bedrock_nb.load_test`.

    Parameters
    ----------
    input : float or (mean, cv)
        Tokens of a prompt: their mean, and their coefficient of variation (standard deviation by mean; 0 if
        it is left out). They are counted by a rule of thumb, about as English is by most models; ``usage``
        tells the truth. What a chat template adds is not in it.
    output : float or (mean, cv), optional
        Tokens of an answer, in the same way: drawn as ``max_tokens``, which ends it. The prompt asks for
        more; still a model may stop earlier. None sets no limit.
    distribution : {"lognormal", "uniform", "fixed"}
        What lengths are drawn from. Real prompts have a long tail to the right, as log-normal numbers have.
        A uniform one has a ``cv`` of 0.577 at most, a fixed one none.
    seed : int
        The same seed draws the same prompts.

    Raises
    ------
    RequestError
        A number that cannot be.

    Examples
    --------
    >>> Lengths(input=(200, 0.5), output=64).draw(0).max_tokens
    64
    """

    input: Length
    output: Length | None = None
    distribution: str = "lognormal"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.distribution not in DISTRIBUTIONS:
            near = close(str(self.distribution), DISTRIBUTIONS)
            raise RequestError(
                f"There is no distribution {self.distribution!r:.40} of lengths.",
                remedy=f"{near}There are: {', '.join(DISTRIBUTIONS)}.",
            )
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise RequestError(f"seed is {self.seed!r:.40}; a whole number is wanted.")
        most = DISTRIBUTIONS[self.distribution][1]
        for name in ("input", "output"):
            given = getattr(self, name)
            if given is not None or name == "input":
                object.__setattr__(self, name, _checked(name, given, most, self.distribution))

    def draw(self, number: int) -> Drawn:
        """The prompt with this number, counted from 0; the same each time."""
        rng = Random(f"{self.seed}:{number}")
        tokens = self._length(rng, self.input)
        most = None if self.output is None else self._length(rng, self.output)
        words = rng.choices(WORDS, k=tokens if tokens <= _TASK_TOKENS else tokens - _TASK_TOKENS)
        task = _TASK if tokens > _TASK_TOKENS else ""
        return Drawn(" ".join(words).capitalize() + task, tokens, most)

    def _length(self, rng: Random, of: Any) -> int:
        draw, _ = DISTRIBUTIONS[self.distribution]
        mean, cv = map(float, of)
        return min(_LONGEST, max(1, round(mean * draw(rng, cv))))


def _checked(name: str, given: Any, most: float, distribution: str) -> tuple[float, float]:
    """Mean and coefficient of variation.

    Raises
    ------
    RequestError
        They are none, or not of this distribution.
    """
    pair = tuple(given) if isinstance(given, tuple | list) else (given, 0.0)
    if len(pair) != 2 or not all(map(_number, pair)) or not 1 <= pair[0] <= _LONGEST or pair[1] < 0:
        raise RequestError(
            f"{name} is {given!r:.60}.",
            remedy=f"Give the mean of its tokens, from 1 to {_LONGEST:,}, or the mean and its coefficient of "
            f"variation: {name}=(200, 0.5).",
        )
    if pair[1] > most + 1e-9:
        raise RequestError(
            f"{name} is to vary by {pair[1]:g} of its mean; a {distribution} one can by {most:.3g} at most.",
            remedy='Take less, or distribution="lognormal".',
        )
    return float(pair[0]), float(pair[1])


def _number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
