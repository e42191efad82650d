"""The line of a magic: its options, and the text behind them.

Strategy: IPython's own splitting keeps quotes and stumbles over the apostrophe of ``What's up?``. So options
are read one by one from the left, and what comes behind them is text, whatever is in it. The same reading
serves the Tab key, on a line that is half there. Which options there are is told by a table, from which
IPython's help is made as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument, kwds, magic_arguments

from bedrock_nb.errors import close

__all__ = ["Option", "Scanned", "described", "scan", "unquoted", "word"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Option(NamedTuple):
    """An option: its names, the long one first, what its value is called ("" if it has none), help."""

    names: tuple[str, ...]
    value: str
    help: str
    kind: Callable[[str], Any] = str
    more: Mapping[str, Any] = {}  # for ``add_argument``


class Scanned(NamedTuple):
    """The options of a line: long name and value (None if it takes none), one that still waits, the rest."""

    given: list[tuple[str, str | None]]
    waiting: str
    rest: str


#: A word: quoted parts, parts in braces and anything else without space; one quote alone is none.
_WORD = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'[^']*'|\{(?:[^{}]|\{[^{}]*\})*\}|[^\s"'])+(?!\S)""")
_BEGINS = re.compile(r"-[a-zA-Z]|--(?!-)")
_QUOTED = re.compile(r""""((?:[^"\\]|\\.)*)"|'([^']*)'""", re.DOTALL)


def word(line: str) -> tuple[str, str]:
    """The first word of a line as it stands, and what comes behind it.

    Raises
    ------
    UsageError
        It has a quote that is not closed.
    """
    found = _WORD.match(line)
    if found is None:
        raise UsageError(f"A quote is not closed in {line:.60}")
    return found[0], line[found.end() :].strip()


def scan(line: str, options: Mapping[str, Option], magic: str) -> Scanned:
    """Read the options at the beginning of a line; ``--`` ends them.

    Raises
    ------
    UsageError
        There is no such option, it takes no value, or a quote is not closed.
    """
    given: list[tuple[str, str | None]] = []
    rest = line.strip()
    while _BEGINS.match(rest):
        first, rest = word(rest)
        if first == "--":
            break
        if first.startswith("--"):
            name, _, value = first.partition("=")
            valued = "=" in first
        else:
            name, value = first[:2], first[2:].removeprefix("=")
            valued = len(first) > 2
        option = options.get(name)
        if option is None:
            begun = [known for known in options if known.startswith(name)]
            near = f"Did you mean {begun[0]}? " if begun else close(name, options)
            raise UsageError(f"{magic} has no option {name}. {near}{magic}? tells of all of them.")
        long = option.names[0]
        if not option.value:
            if valued:
                raise UsageError(f"{long} takes no value.")
            given.append((long, None))
        elif valued or rest:
            if not valued:
                value, rest = word(rest)
            given.append((long, unquoted(value)))
        else:
            return Scanned(given, long, "")
    return Scanned(given, "", rest)


def unquoted(value: str) -> str:
    """A value without the quotes round all of it."""
    found = _QUOTED.fullmatch(value)
    if found is None:
        return value
    return re.sub(r"\\([\"\\])", r"\1", found[1]) if found[1] is not None else found[2]


def described(options: Sequence[Option], usage: str) -> Callable[[Function], Function]:
    """A decorator like IPython's ``magic_arguments`` with an ``argument`` for each option, in their order."""

    def describe(magic: Function) -> Function:
        known: Any = kwds(usage=usage)(magic)
        for names, value, told, kind, more in reversed(options):
            valued = {"metavar": value, "type": kind} if value else {"action": "store_true"}
            known = argument(*sorted(names, key=len), help=told, **valued, **more)(known)
        made: Function = magic_arguments()(known)
        return made

    return describe
