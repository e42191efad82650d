"""What a fault is: a value that changes the steps of a reply; and which reply of a server has which.

Strategy: a fault is made by a function of `faults` under the decorator `fault`, which does for all of them
what would otherwise stand in each: it checks arguments, by their names and the table `_WANTED`, gives the
fault the repr of the call that makes it, and puts the function into the table `FAULTS`. So a new fault is one
function, and the command line knows it.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce, wraps
from operator import or_
from typing import Any, NamedTuple, ParamSpec, TypeAlias

from bedrock_nb.errors import RequestError
from bedrock_nb.request import Request
from bedrock_nb.server.perform import Change, Step
from bedrock_nb.server.refusal import internal

__all__ = ["FAULTS", "Fault", "Faults", "Plan", "fault", "parse", "parse_all", "plan", "sound"]


@dataclass(frozen=True, repr=False)
class Fault:
    """What goes wrong with a reply. Made by the functions of this module; ``one | another`` is both.

    Attributes
    ----------
    said : str
        The call that makes it; faults are equal if that is.
    change : function
        From the steps of a reply to those that are performed in their place.
    """

    said: str
    change: Change = field(compare=False)

    def __call__(self, steps: Iterator[Step]) -> Iterator[Step]:
        """What is performed in place of these steps."""
        return self.change(steps)

    def __or__(self, other: Fault) -> Fault:
        if not isinstance(other, Fault):
            return NotImplemented
        return Fault(f"{self.said} | {other.said}", lambda steps: other.change(self.change(steps)))

    def __repr__(self) -> str:
        return self.said


#: Every fault by its name: the function that makes it.
FAULTS: dict[str, Callable[..., Fault]] = {}


# -- arguments -------------------------------------------------------------------------------------


class _Wanted(NamedTuple):
    """What an argument of a certain name must be."""

    kind: type[int] | type[float] | type[str]
    words: str
    low: float = 0
    high: float = math.inf


_WANTED = {
    "after": _Wanted(int, "the number of whole events before it, from 0"),
    "byte": _Wanted(int, "the number of bytes of the body before it, from 0"),
    "bit": _Wanted(int, "a whole number from 0 to 7", high=7),
    "size": _Wanted(int, "a whole number of bytes, from 1", low=1),
    "declared": _Wanted(int, "a whole number that 32 bits hold", high=2**32 - 1),
    "status": _Wanted(int, "an HTTP status from 400 to 599", low=400, high=599),
    "seconds": _Wanted(float, "a number of seconds, from 0"),
    "interval": _Wanted(float, "a number of seconds, from 0"),
    "name": _Wanted(str, "a text"),
    "code": _Wanted(str, "a text"),
    "message": _Wanted(str, "a text"),
}

P = ParamSpec("P")


def fault(make: Callable[P, Change]) -> Callable[P, Fault]:
    """Make a function that gives a change one that gives a `Fault`, and put it into `FAULTS`."""
    signature = inspect.signature(make)
    name = make.__name__

    @wraps(make)
    def maker(*args: P.args, **kwargs: P.kwargs) -> Fault:
        given = signature.bind(*args, **kwargs).arguments
        for argument, value in given.items():
            _check(name, argument, value, signature.parameters[argument].default)
        given.update(given.pop("fields", {}))
        said = ", ".join(f"{argument}={value!r}" for argument, value in given.items())
        return Fault(f"{name}({said})", make(*args, **kwargs))

    maker.__signature__ = signature.replace(return_annotation="Fault")  # type: ignore[attr-defined]
    FAULTS[name] = maker
    return maker


def _check(name: str, argument: str, value: Any, default: Any) -> None:
    """Refuse an argument that is not what the table says; what it need not be given, may also be None."""
    if argument == "fields":
        return _check_fields(name, value)
    wanted = _WANTED[argument]
    kind = (int, float) if wanted.kind is float else wanted.kind
    fits = isinstance(value, kind) and not isinstance(value, bool)
    if fits and wanted.kind is not str:
        fits = wanted.low <= value <= wanted.high
    if not fits and not (value is None and default is None):
        raise RequestError(f"{argument} of the fault {name} is {value!r}; {wanted.words} is wanted.")
    return None


def _check_fields(name: str, fields: dict[str, Any]) -> None:
    try:
        json.dumps(fields, allow_nan=False)
    except (TypeError, ValueError) as err:
        raise RequestError(f"The fields of the fault {name} cannot be written as JSON: {err}.") from None


def parse(text: str) -> Fault:
    """Make a fault from text, as the command line has it.

    Parameters
    ----------
    text : str
        ``NAME`` or ``NAME:ARG=VALUE,ARG=VALUE``; the first arguments may be given without their names. A
        value has no comma.

    Returns
    -------
    Fault

    Raises
    ------
    RequestError
        There is no such fault, or it does not take these arguments.

    Examples
    --------
    >>> parse("cut:after=10"), parse("refuse:429"), parse("stall:after=3,seconds=0.5")
    (cut(after=10), refuse(status=429), stall(after=3, seconds=0.5))
    """
    name, _, rest = text.strip().partition(":")
    if name not in FAULTS:
        raise RequestError(f"There is no fault {name!r}.", remedy=f"There are {', '.join(FAULTS)}.")
    items = [item.strip().partition("=") for item in rest.split(",") if item.strip()]
    signature = inspect.signature(FAULTS[name])
    try:
        unnamed = [text for text, equals, _ in items if not equals]
        named = {key: text for key, equals, text in items if equals}
        given = signature.bind(*unnamed, **named).arguments
    except TypeError as err:
        raise RequestError(
            f"The fault {name} cannot be made from {rest!r}: {err}.",
            remedy=f"It is {name}({_arguments(signature)}).",
        ) from None
    given.update(given.pop("fields", {}))
    return FAULTS[name](**{key: _read(key, value) for key, value in given.items()})


def _arguments(signature: inspect.Signature) -> str:
    """The arguments of a fault, without their types."""
    return ", ".join(
        name if each.default is each.empty else f"{name}={each.default!r}"
        for name, each in signature.parameters.items()
    )


def parse_all(texts: Iterable[str]) -> Fault | None:
    """The faults of several texts, joined; None if there is none.

    Parameters
    ----------
    texts : iterable of str
        Each with one fault for `parse`, or several with ``@`` or ``|`` between them.

    Raises
    ------
    RequestError
        One of them cannot be made.
    """
    each = [parse(part) for text in texts for part in re.split(r"[@|]", text)]
    return reduce(or_, each) if each else None


def _read(argument: str, text: str) -> Any:
    """An argument from text, as the kind that is wanted; text that cannot be that is refused later."""
    kinds = (_WANTED[argument].kind,) if argument in _WANTED else (int, float)
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            pass
    return text


# -- which reply has which fault -------------------------------------------------------------------

#: From a request to the fault of its reply.
Plan: TypeAlias = Callable[[Request], Fault | None]
#: What a server takes: one for all, one for each request in turn, or a function.
Faults: TypeAlias = Fault | Sequence[Fault | None] | Plan | None


def plan(faults: Faults) -> Plan:
    """Which request gets which fault.

    Parameters
    ----------
    faults : Fault, sequence, or function, optional
        One for every request; one for each request in turn (None for a sound reply) and no more after the
        last; or a function from a `Request` to one or None.

    Returns
    -------
    function
        From a `Request` to a fault or None.

    Raises
    ------
    RequestError
        ``faults`` is none of these.
    """
    if faults is None:
        return sound
    if isinstance(faults, Fault):
        return _Always(faults)
    if isinstance(faults, Sequence) and all(isinstance(fault, Fault | None) for fault in faults):
        turns = iter(tuple(faults))
        return lambda _request: next(turns, None)
    if any(faults is maker for maker in FAULTS.values()) or not callable(faults):
        name = getattr(faults, "__name__", None)
        raise RequestError(
            f"faults is {f'the function {name}' if name in FAULTS else repr(faults)}.",
            remedy="Give a fault such as faults.cut(after=10), a list of them, or a function from a Request.",
        )
    return _asking(faults)


@dataclass(frozen=True)
class _Always:
    """The plan that one fault is for every reply."""

    fault: Fault

    @property
    def said(self) -> str:
        """What it does, for the status page."""
        return self.fault.said

    def __call__(self, _request: Request) -> Fault:
        return self.fault


def sound(_request: Request) -> None:
    """The plan of a server without faults."""


def _asking(choose: Plan) -> Plan:
    """Ask somebody's function; what it does wrong is answered as an internal error."""
    name = getattr(choose, "__name__", type(choose).__name__)

    def ask(request: Request) -> Fault | None:
        try:
            fault = choose(request)
        except Exception as err:
            raise internal(f"The function {name} for faults raised {type(err).__name__}: {err}") from err
        if not isinstance(fault, Fault | None):
            raise internal(f"The function {name} gave a {type(fault).__name__}; a fault or None is wanted.")
        return fault

    return ask
