"""Which recording answers a request, and what is said when none does.

Strategy: a matcher is a plain function of two requests, the asked and the recorded one; a table has one for
each part of a request. They compare what is sent, with account numbers masked on both sides. When nothing
fits, the closest recording is named with the first difference of each part, so that a misspelt word is seen
at a glance.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import zip_longest
from typing import Any, TypeAlias

from bedrock_nb.errors import (
    RequestError,
    without_accounts,
)
from bedrock_nb.request import Request

__all__ = [
    "MATCHERS",
    "MATCHERS_DEFAULT",
    "Matcher",
    "digest_of",
    "lesson",
    "many",
    "matchers",
    "without_account",
]

#: A test of two requests, the one that is asked and the one that was recorded: is this part the same?
Matcher: TypeAlias = Callable[[Request, Request], bool]
_SHOWN = 60  # characters of a value that the text of a miss shows


# -- what is compared ------------------------------------------------------------------------------


class _Asked(Request):
    """A request without account numbers, whose arguments are made once: it is compared with many."""

    @cached_property
    def _kwargs(self) -> dict[str, Any]:
        return super().to_kwargs()

    def to_kwargs(self) -> dict[str, Any]:
        """The same dict each time: only to be read."""
        return self._kwargs


#: Members whose values name an account, wherever they stand.
_ACCOUNTS = ("modelId", "guardrailIdentifier", "bucketOwner")
#: Part -> the members of a request that make it; those of no part are the rest.
_PARTS = {
    "model": ("modelId",),
    "messages": ("messages",),
    "system": ("system",),
    "inference": ("inferenceConfig",),
    "tools": ("toolConfig",),
}
#: Labels of the caller's own: they say who asked, and change from call to call.
_NOT_COMPARED = ("requestMetadata",)
_NOTHING = object()


def masked(node: Any) -> Any:
    """A copy as JSON would have it, without account numbers where the API has them."""
    if isinstance(node, Mapping):
        return {
            name: without_accounts(value) if name in _ACCOUNTS else masked(value)
            for name, value in node.items()
        }
    return [masked(value) for value in node] if isinstance(node, list | tuple) else node


def without_account(request: Request) -> Request:
    """The request as it is kept and compared: account numbers masked."""
    return request if isinstance(request, _Asked) else _Asked.from_kwargs(masked(request.to_kwargs()))


def _part(name: str, request: Request) -> dict[str, Any]:
    kwargs = without_account(request).to_kwargs()
    if name in _PARTS:
        return {member: kwargs[member] for member in _PARTS[name] if member in kwargs}
    elsewhere = {*sum(_PARTS.values(), ()), *_NOT_COMPARED}
    return {member: value for member, value in kwargs.items() if member not in elsewhere}


def _difference(name: str, asked: Request, recorded: Request) -> tuple[str, Any, Any] | None:
    """Where a part differs first, and both values there; None if it does not. Without recursion."""
    waiting = [("", _part(name, asked), _part(name, recorded))]
    while waiting:
        place, one, other = waiting.pop()
        inner: list[tuple[Any, Any, Any]]
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            names = dict.fromkeys((*one, *other))
            inner = [(key, one.get(key, _NOTHING), other.get(key, _NOTHING)) for key in names]
        elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
            pairs = zip_longest(one, other, fillvalue=_NOTHING)
            inner = [(i, *pair) for i, pair in enumerate(pairs)]
        elif one is other or (one == other and isinstance(one, bool) == isinstance(other, bool)):
            continue
        else:
            return place, one, other
        waiting += reversed([(f"{place}.{key}" if place else str(key), a, b) for key, a, b in inner])
    return None


def _matcher(name: str) -> Matcher:
    def same(asked: Request, recorded: Request) -> bool:
        return _difference(name, asked, recorded) is None

    same.__name__ = same.__qualname__ = name
    same.__doc__ = f"Whether two requests have the same {name}."
    return same


#: The matchers by name: ``model``, ``messages``, ``system``, ``inference``, ``tools``, and ``rest``, which is
#: every other argument but ``requestMetadata``.
MATCHERS: dict[str, Matcher] = {name: _matcher(name) for name in (*_PARTS, "rest")}
MATCHERS_DEFAULT: tuple[Matcher, ...] = tuple(MATCHERS.values())


# -- what is said of a miss ------------------------------------------------------------------------


def lesson(asked: Request, known: Sequence[tuple[str, Request]], matchers: Sequence[Matcher]) -> str:
    """What is said of a miss: what there is instead, how it differs, and what to do.

    The closest recording is the one that most matchers pass; of several, the one most alike as JSON.
    """
    said = [f"The cassette has no recording of this request; it has {many(len(known))}."]
    if known:
        passed = [[test for test in matchers if test(asked, request)] for _, request in known]
        most, text = max(map(len, passed)), _text(asked.to_kwargs())
        rivals = [i for i, same in enumerate(passed) if len(same) == most]
        best = max(rivals, key=lambda i: _alike(text, _text(known[i][1].to_kwargs())))
        name, request = known[best]
        same = ", ".join(map(_called, passed[best])) or "nothing"
        other = "; ".join(_told(test, asked, request) for test in matchers if test not in passed[best])
        said.append(f"The closest is {name}. The same is: {same}. Not the same is: {other}.")
        said.append("To compare less, open it with match=[…], a list of the parts that must be the same.")
    return " ".join(
        [*said, 'To record what is missing, open it with mode="new_episodes" and then=bedrock().']
    )


def _called(test: Matcher) -> str:
    return getattr(test, "__name__", type(test).__name__)


def _told(test: Matcher, asked: Request, recorded: Request) -> str:
    """What a test says against a recording: where the requests differ, if it is one of ours."""
    name = _called(test)
    found = _difference(name, asked, recorded) if MATCHERS.get(name) is test else None
    if found is None:
        return name
    place, one, other = found
    texts = [value if isinstance(value, str) else _text(value) for value in (one, other)]
    at = _shared(*texts)
    shown = [
        "nothing" if value is _NOTHING else _cut(value, text, at)
        for value, text in zip((one, other), texts, strict=True)
    ]
    return f"{name} ({place}: asked {shown[0]}, recorded {shown[1]})"


def _cut(value: Any, text: str, at: int) -> str:
    """A value, or of a long one what stands around the place where it differs."""
    begin = max(0, at - _SHOWN // 3) if len(text) > _SHOWN else 0
    piece = text[begin : begin + _SHOWN]
    before, after = "…" * (begin > 0), "…" * (begin + _SHOWN < len(text))
    return f"{before}{repr(piece) if isinstance(value, str) else piece}{after}"


def _text(value: Any) -> str:
    """Any part of a request as JSON: the same for equal ones."""
    return json.dumps(value, sort_keys=True, default=repr)


def _shared(one: str, other: str) -> int:
    """How many characters two texts begin with in common."""
    return bisect_left(range(min(len(one), len(other))), True, key=lambda i: one[: i + 1] != other[: i + 1])


def _alike(one: str, other: str) -> float:
    """How much two texts share at both ends, 0 to 1: quick, and requests mostly differ in one place."""
    begin = _shared(one, other)
    end = _shared(one[begin:][::-1], other[begin:][::-1])
    return (begin + end) / max(len(one), len(other))


def digest_of(asked: Request) -> str:
    """What tells a request from others, in hexadecimal: of all that is compared."""
    text = _text({name: part for name, part in asked.to_kwargs().items() if name not in _NOT_COMPARED})
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def many(number: int) -> str:
    """So many recordings, in words."""
    return f"{number or 'no'} recording{'' if number == 1 else 's'}"


def matchers(match: Sequence[Matcher | str]) -> tuple[Matcher, ...]:
    """The matchers that somebody means, by name or as functions.

    Raises
    ------
    RequestError
        One of them is neither.
    """
    if isinstance(match, str) or not isinstance(match, Sequence):
        raise RequestError(f"match is {match!r:.60}.", remedy=f"Give a list of {', '.join(MATCHERS)}.")
    wrong = [test for test in match if not callable(test) and test not in MATCHERS]
    if wrong:
        raise RequestError(
            f"There is no matcher {wrong[0]!r:.60}.",
            remedy=f"Matchers are {', '.join(MATCHERS)}, and functions of two requests.",
        )
    return tuple(MATCHERS[test] if isinstance(test, str) else test for test in match)
