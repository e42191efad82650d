"""The Tab key on the lines of our magics: options, models, variables of the right kind.

Strategy: a matcher among IPython's ``Completer.custom_matchers``, the hook that sees whole lines, in the
terminal and in a kernel, for ``%`` and ``%%`` alike (the older ``complete_command`` hook is asked by a
line's first word and cannot say where what is to be completed begins). It reads what stands before the
cursor as the magic will read it, and while it has something to offer, file names and Python's own names are
not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.error import UsageError

from bedrock_nb.magics.cards import callable_models
from bedrock_nb.magics.scanning import Option, scan

__all__ = ["IDENTIFIER", "Offer", "matcher", "streaming_models"]

#: By which IPython knows the matcher.
IDENTIFIER = "bedrock_nb"
#: What may stand in a place.
Offer = Callable[[], Iterable[str]]

_LINE = re.compile(r"(?:^|=)\s*(?P<magic>%%?(?P<name>\w+))\s+(?P<line>.*?)(?P<typed>\S*)$", re.DOTALL)


def matcher(
    options: Mapping[str, Mapping[str, Option]],
    values: Mapping[str, Offer],
    words: Mapping[str, Callable[[Sequence[str]], Iterable[str]]],
) -> Any:
    """Make a matcher for IPython.

    Parameters
    ----------
    options : mapping of str to mapping
        The options of each magic.
    values : mapping of str to function
        Long name of an option -> what its value may be.
    words : mapping of str to function
        Magic -> from the words that are there to what the next may be.
    """

    def match(context: CompletionContext) -> SimpleMatcherResult:
        found = _LINE.search(context.text_until_cursor)
        if found is None or found["name"] not in options:
            return _result((), "")
        typed = found["typed"]
        known = options[found["name"]]
        try:
            scanned = scan(found["line"], known, found["magic"])
        except UsageError:
            return _result((), typed)
        if scanned.waiting:
            return _result(values.get(scanned.waiting, tuple)(), typed)
        there = scanned.rest.split()
        if there and found["name"] not in words:  # the prompt has begun
            return _result((), typed)
        name, equals, begun = typed.partition("=")
        if equals and name in known:
            return _result(values.get(known[name].names[0], tuple)(), begun)
        offered = list(words[found["name"]](there)) if found["name"] in words else []
        if typed.startswith("-") or not offered:
            offered += [option.names[0] for option in known.values()]
        return _result(offered, typed)

    return context_matcher(identifier=IDENTIFIER, priority=100)(match)  # asked first


def streaming_models() -> list[str]:
    """What ``--model`` takes: short names and identifiers of models that stream."""
    rows = callable_models()
    return [*(row["alias"] for row in rows if row["alias"]), *(row["call_as"] for row in rows)]


def _result(offered: Iterable[str], typed: str) -> SimpleMatcherResult:
    """Those that begin with what is typed; if none does, those that have it in them."""
    names = list(dict.fromkeys(offered))
    begun = typed.casefold()
    found = [name for name in names if name.casefold().startswith(begun)]
    found = found or [name for name in names if begun in name.casefold()]
    return {
        "completions": [
            SimpleCompletion(name, type="option" if name.startswith("-") else "value") for name in found
        ],
        "matched_fragment": typed,
        "suppress": bool(found),
        "ordered": True,
    }
