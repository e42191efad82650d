"""What a load test asks: a prompt, several, a file of them, or prompts of drawn lengths, by number.

Strategy: whatever was given becomes `Prompts`, which says what the n-th request asks. That depends on the
seed and on n alone, so that processes which share a run need not talk about it. Several prompts come in turn,
all of them before one comes again, each time in another order by lot. Files are read by `questions`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.experiment.load.lengths import Lengths
from bedrock_nb.experiment.questions import Asked, asked, in_short, read
from bedrock_nb.request import Request

__all__ = ["Asked", "Prompts", "prompts_of"]


@dataclass(frozen=True)
class Prompts:
    """Prompts by number.

    Parameters
    ----------
    source : tuple of Asked, or Lengths
    seed : int
        Of the order in which they come.

    Examples
    --------
    >>> prompts_of(["a", "b"]).at(0) in (("a", {}, "a"), ("b", {}, "b"))
    True
    """

    source: tuple[Asked, ...] | Lengths
    seed: int = 0
    _orders: dict[int, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, number: int) -> Asked:
        """What the request with this number asks, counted from 0."""
        if isinstance(self.source, Lengths):
            drawn = self.source.draw(number)
            settings = {} if drawn.max_tokens is None else {"max_tokens": drawn.max_tokens}
            return Asked(drawn.text, settings, f"about {drawn.tokens:,} token{'s' * (drawn.tokens != 1)}")
        turn, place = divmod(number, len(self.source))
        return self.source[self._order(turn)[place]]

    def _order(self, turn: int) -> list[int]:
        """The order of all prompts when it is their turn for the so-many-th time."""
        order = self._orders.get(turn)
        if order is None:  # several threads may ask: nothing is looked up twice
            order = list(range(len(self.source)))  # type: ignore[arg-type]  # of Lengths nobody asks it
            Random(f"{self.seed}:{turn}").shuffle(order)
            self._orders.clear()  # one at a time: a run may have many turns
            self._orders[turn] = order
        return order


def prompts_of(given: Any, *, seed: int = 0) -> Prompts:
    """What a load test asks, from what its caller gave.

    Parameters
    ----------
    given : str, Request, list, mapping, Path, Lengths or Prompts
        One prompt; a list of prompts, each a text, a `Request`, a list as `stream` takes it, or
        ``{"prompt": …, "max_tokens": …}`` with settings of its own; a mapping of names to prompts; drawn
        `Lengths`; or a `pathlib.Path` to a file: .txt with a prompt in each line, .jsonl with a JSON text or
        such an object in each line, .csv with a column ``prompt`` and others for settings.
    seed : int
        Of the order in which they come.

    Raises
    ------
    RequestError
        There is no prompt in it, or something else; of a file the message names the line.
    """
    if isinstance(given, Prompts):
        return given
    if isinstance(given, Lengths):
        return Prompts(given, seed)
    if isinstance(given, Path):
        found = list(read(given))
    elif isinstance(given, Mapping) and "prompt" not in given and "role" not in given:
        found = [asked(prompt, f"The prompt {str(name)!r:.40}", str(name)) for name, prompt in given.items()]
    elif _is_one(given):
        found = [asked(given, "The prompt")]
    elif isinstance(given, Sequence):
        found = [asked(one, f"Prompt {number}") for number, one in enumerate(given, 1)]
    else:
        raise RequestError(
            f"{kind_of(given)} is no prompt.",
            remedy='Give a text, a list of texts, Path("prompts.txt") (or .jsonl, .csv), or nb.Lengths(…).',
        )
    if not found:
        raise RequestError("There is no prompt.", remedy="Give one at least.")
    return Prompts(tuple(_named(found)), seed)


def _is_one(given: Any) -> bool:
    """Whether this is a single prompt: a list may be the messages of one."""
    if isinstance(given, str | Request | Mapping):
        return True
    return (
        isinstance(given, Sequence)
        and bool(given)
        and all((isinstance(one, Mapping) and "role" in one) or hasattr(one, "role") for one in given)
    )


def _named(found: Sequence[Asked]) -> Iterator[Asked]:
    """Each with its name: the text in short, or its number where those are not distinct."""
    short = [in_short(one.prompt) if isinstance(one.prompt, str) else "" for one in found]
    if len(set(short)) < len(short) or not all(short):
        width = len(str(len(found)))
        short = [f"prompt {number:0{width}}" for number in range(1, len(found) + 1)]
    for one, name in zip(found, short, strict=True):
        yield one if one.name else one._replace(name=name)
