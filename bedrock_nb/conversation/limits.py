"""How far one turn of a conversation may go by itself.

Strategy: `Limits` is what somebody wants, `Budget` is where one turn stands with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bedrock_nb.errors import LoopLimitError, RequestError

__all__ = ["Budget", "Limits"]


@dataclass(frozen=True)
class Limits:
    """How far one turn of a conversation may go by itself; None is no limit.

    Parameters
    ----------
    rounds : int, optional
        Calls of the model.
    seconds : float, optional
        From the prompt to the end of the answer, tools included.
    tokens : int, optional
        Input and output tokens of all calls together; a call is not begun once they are used up.

    Raises
    ------
    RequestError
        A limit that cannot be.
    """

    rounds: int | None = 10
    seconds: float | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("rounds", int), ("seconds", int | float), ("tokens", int)):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, kinds) or not value > 0
            ):
                raise RequestError(
                    f"The limit of {name} is {value!r:.60}; a number above 0, or None, is wanted."
                )


class Budget:
    """What a turn has left of its limits.

    Parameters
    ----------
    limits : Limits
    clock : function
        Seconds; the turn begins now.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock, self._began = limits, clock, clock()

    def seconds(self) -> float:
        """How long the turn has taken."""
        return self._clock() - self._began

    def left(self) -> float:
        """Seconds until the limit of the whole turn."""
        limit = self._limits.seconds
        return math.inf if limit is None else limit - self.seconds()

    def last(self, rounds: int) -> bool:
        """Whether the limit of rounds lets no other follow after so many."""
        return self._limits.rounds is not None and rounds >= self._limits.rounds

    def spent(self, rounds: int, tokens: int) -> LoopLimitError | None:
        """What there is to raise before another round; None if it may begin."""
        most = self._limits.tokens
        for name, reached in (
            ("rounds", self.last(rounds)),
            ("seconds", self.left() <= 0),
            ("tokens", most is not None and tokens >= most),
        ):
            if reached:
                return self.reached(name)
        return None

    def reached(self, name: str) -> LoopLimitError:
        """The error of the limit of this name."""
        limit = getattr(self._limits, name)
        much = f"{limit:g} {name if limit != 1 else name[:-1]}"
        error = LoopLimitError(
            f"The turn has reached its limit of {much} and the model was not done.",
            kept="Everything that came is in the conversation.",
            remedy=f"Go on with chat.stream('…'), or allow more: limits=nb.Limits({name}=…).",
        )
        error.limit = name
        error.told = f"The turn reached its limit of {much}: this tool call was cancelled."
        return error
