"""What an experiment may use: tokens, seconds, money; and what it has used.

Strategy: a limit is looked at before each call and never within one: what runs comes to its end, and is paid
for. So a limit is overshot by what was running when it was reached. Counts are the service's own; a reply
that told none, since it failed, counts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

from bedrock_nb import models
from bedrock_nb.errors import RequestError, without_accounts
from bedrock_nb.metrics.moments import count
from bedrock_nb.models.catalogue import key_of
from bedrock_nb.recording import Recording

__all__ = ["Budget", "Spent"]

#: Parts of a reply's usage, in the order of the numbers of a price; they do not overlap.
_PARTS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
_EXAMPLE = 'For example prices={"nova_lite": (0.06, 0.24)}: input and output.'


@dataclass(frozen=True)
class Budget:
    """How much an experiment may use; nothing new is asked once a limit is reached.

    Parameters
    ----------
    tokens : float, optional
        Input, output, and what a prompt cache read and wrote.
    seconds : float, optional
        Of one run, by the clock on the wall; when the same sweep goes on another day, they begin anew.
    cost : float, optional
        US dollars, by ``prices``.
    prices : mapping, optional
        Model id or short name -> US dollars for a million tokens: input, output, and, if they differ from
        input, cache reads and cache writes. What AWS charges is at https://aws.amazon.com/bedrock/pricing;
        no price is known here.

    Raises
    ------
    RequestError
        A limit is no number above 0, or a price is none.

    Examples
    --------
    >>> Budget(tokens=100_000)
    Budget(tokens=100000)
    """

    tokens: float | None = None
    seconds: float | None = None
    cost: float | None = None
    prices: Mapping[str, Sequence[float]] | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "seconds", "cost"):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > 0):
                raise RequestError(f"{name} is {value!r:.40}; a number above 0 is wanted.")
        if not isinstance(self.prices, Mapping | None):
            raise RequestError(f"prices are of type {type(self.prices).__name__}.", remedy=_EXAMPLE)
        for model, price in (self.prices or {}).items():
            numbers = list(price) if isinstance(price, Iterable) and not isinstance(price, str) else []
            if not 2 <= len(numbers) <= 4 or not all(_is_number(each) and each >= 0 for each in numbers):
                raise RequestError(
                    f"The price of {model!r:.60} is {price!r:.60}; two to four numbers are wanted.",
                    remedy=_EXAMPLE,
                )
        if self.cost is not None and not self.prices:
            raise RequestError("There is a limit of cost, and no prices.", remedy=_EXAMPLE)

    def __repr__(self) -> str:
        said = (
            f"{name}={value!r}"
            for name in ("tokens", "seconds", "cost")
            if (value := getattr(self, name)) is not None
        )
        return f"Budget({', '.join(said)})"

    def check(self, asked: Iterable[str]) -> None:
        """See to it that each of these models has a price, if money is limited.

        Raises
        ------
        RequestError
            One has none.
        """
        if self.cost is None:
            return
        for model in dict.fromkeys(asked):
            if self.price(model) is None:
                raise RequestError(
                    f"There is a limit of cost, and no price of {without_accounts(model)!r:.80}.",
                    remedy=f"Add it to prices. {_EXAMPLE}",
                )

    def price(self, model: str) -> tuple[float, float, float, float] | None:
        """US dollars for a million tokens of a model: input, output, cache reads, cache writes.

        The price under its own id comes first, then that of the model that its inference profile stands for,
        then that of another profile of it.
        """
        known = {models.resolve(name): price for name, price in (self.prices or {}).items()}
        kin = [name for name in known if key_of(name) == key_of(model)]
        names = [name for name in (model.partition("@")[0], key_of(model), *kin) if name in known]
        if not names:
            return None
        found = known[names[0]]
        given, output, *cached = map(float, found)
        read, write, *_ = *cached, given, given
        return given, output, read, write


class Spent:
    """What was used so far.

    Parameters
    ----------
    budget : Budget, optional
        By default there is no limit.
    clock : function
        Monotonic seconds.

    Attributes
    ----------
    tokens : int
    cost : float
        US dollars; 0 for models without a price.
    """

    def __init__(self, budget: Budget | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget, self._clock, self._begin = budget or Budget(), clock, clock()
        self.tokens, self.cost = 0, 0.0
        self._prices: dict[str, tuple[float, ...] | None] = {}

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return self._clock() - self._begin

    def add(self, recording: Recording) -> None:
        """Count the tokens of one reply."""
        usage = recording.usage
        counts = [count(usage.get(part)) or 0 for part in _PARTS]
        self.add_counts(recording.model, counts)

    def add_counts(self, model: str, counts: Sequence[int]) -> None:
        """Count tokens of a model: input, output, cache reads, cache writes."""
        self.tokens += sum(counts)
        if model not in self._prices:
            self._prices[model] = self.budget.price(model)
        price = self._prices[model]
        if price is not None:
            self.cost += sum(n * each for n, each in zip(counts, price, strict=True)) / 1e6

    def over(self) -> str | None:
        """Which limit is reached, in words; None while none is."""
        limits = self.budget
        if limits.tokens is not None and self.tokens >= limits.tokens:
            return f"{limits.tokens:,.0f} tokens"
        if limits.seconds is not None and self.seconds >= limits.seconds:
            return f"{limits.seconds:g} s"
        if limits.cost is not None and self.cost >= limits.cost:
            return f"{limits.cost:g} USD"
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
