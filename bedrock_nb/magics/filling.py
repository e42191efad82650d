"""``{python}`` in a prompt: what its braces mean, and what they stand for.

Strategy: prompts are full of braces that are no Python: JSON, CSS, LaTeX, sets. So `fill` takes for a field
only what is an expression of Python on one line and has a name in it, such as ``{city}`` or
``{", ".join(names)}``; ``{"a": 1}``, ``{2}`` and ``{}`` stay as they stand, and a field inside of them is
filled in. What is a field and fails is an error: a prompt with a slip in it costs money and tells nobody.
``{{…}}`` is ``{…}``. The evaluating is done by IPython's own formatter, as for the lines of its magics: this
is the user's own code from the user's own cell. Nothing that a model wrote comes here.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from IPython.utils.text import FullEvalFormatter

from bedrock_nb.errors import RequestError, close

__all__ = ["fill"]

#: Longer than this, or over several lines, it is no expression: what is there to look at stays little.
_LONGEST = 500
_MARK = re.compile(r"\{\{|\}\}|[{}]")
#: After an expression: ``!r``; or ``:.2f``, ``:%H:%M``, but not ``:10``, which is an object of JavaScript.
_CONVERTED = re.compile(r"(?P<code>.+)!(?P<conversion>[rsa])", re.DOTALL)
_FORMATTED = re.compile(
    r"(?P<code>.+?):(?P<spec>(?=.*[a-zA-Z%.,<>^=])([^{}]?[<>=^])?[+-]?#?0?\d*[,_]?(\.\d+)?[a-zA-Z%]?|%[^{}]*)",
    re.DOTALL,
)


def fill(text: str, names: Mapping[str, Any]) -> str:
    """Text with its fields filled in.

    Parameters
    ----------
    text : str
        A field is ``{expression}``, ``{expression!r}`` or ``{expression:.2f}``.
    names : mapping
        The variables that expressions see, beside what is built in.

    Raises
    ------
    RequestError
        A field cannot be evaluated; what its code raised is the ``__cause__``.
    """
    fields = _Fields(names)
    try:
        return fields.vformat(text, (), names)
    except Exception as err:
        near = close(err.name, names) if isinstance(err, NameError) else ""
        raise RequestError(
            f"{{{fields.at}}} in the text cannot be filled in: {type(err).__name__}: {err!s:.200}.",
            remedy=f"{near}{{{{…}}}} stands for {{…}}; --raw sends the prompt as it is, braces and all.",
        ) from (None if isinstance(err, NameError) else err)


class _Fields(FullEvalFormatter):
    """IPython's formatter, with other ideas of what is a field."""

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.names = names
        self.at = ""  # the field that is being evaluated

    def parse(self, text: str) -> Iterator[tuple[str, str | None, str, str | None]]:
        """Pieces of text, each with the expression behind it."""
        literal: list[str] = []
        doubled: list[bool] = []  # of each brace that is open
        place = 0
        while (mark := _MARK.search(text, place)) is not None:
            literal.append(text[place : mark.start()])
            place = mark.end()
            if mark[0] == "{" and (end := _end(text, mark.start())) and (field := _field(text[place:end])):
                code, conversion = field
                self.at = text[place:end].strip()
                if code.isidentifier() and code not in self.names:  # {type} and {input} are no built-ins here
                    raise NameError(f"name {code!r} is not defined", name=code)
                yield "".join(literal), code, "", conversion
                literal.clear()
                place = end + 1
                continue
            if mark[0] in ("{", "{{"):
                doubled.append(mark[0] == "{{")
            elif doubled and doubled[-1] == (mark[0] == "}}"):
                doubled.pop()
            elif doubled and mark[0] == "}}":  # two that close one each
                doubled.pop()
                place -= 1
            literal.append(mark[0][0])
        yield "".join(literal) + text[place:], None, "", None


def _end(text: str, start: int) -> int:
    """Where the brace at ``start`` is closed, on the same line; 0 if it is not."""
    depth = 0
    for place in range(start, min(len(text), start + _LONGEST)):
        if text[place] == "\n":
            break
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if not depth:
            return place
    return 0


def _field(inner: str) -> tuple[str, str | None] | None:
    """The expression between two braces, and its conversion; None if there is none."""
    inner = inner.strip()
    if _names_something(inner):
        return inner, None
    if (found := _CONVERTED.fullmatch(inner)) and _names_something(found["code"]):
        return found["code"].strip(), found["conversion"]
    if (found := _FORMATTED.fullmatch(inner)) and _names_something(found["code"]):
        return f"({found['code'].strip()}).__format__({found['spec']!r})", None
    return None


def _names_something(code: str) -> bool:
    """Whether this is an expression with a name in it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may be no Python at all
            tree = ast.parse(code.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(isinstance(node, ast.Name) for node in ast.walk(tree))
