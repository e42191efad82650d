"""The public names: what there is, where each is defined, and how the API reference shows it.

A page of ``docs/api`` lists names in a fence, ``{public}``, one a line, without ``bedrock_nb.`` in front.
On a code host that is a list; in the site each becomes its signature and its docstring.

Strategy: Sphinx's autodoc does the work; here is decided which of its directives takes a name, and which
members of a class are shown: the documented ones, of the class and of our classes below it, none of a
library's.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from functools import cache
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer

import bedrock_nb

#: Public modules of which every public name is part of the reference, besides ``bedrock_nb`` itself.
MODULES = (
    "errors",
    "eventstream",
    "formats",
    "metrics",
    "models",
    "otel",
    "plot",
    "render",
    "server",
    "server.faults",
    "stats",
)


@cache
def names() -> tuple[str, ...]:
    """Every public name, without ``bedrock_nb.``: those of the package, then what only its modules have."""
    found: dict[Any, str] = {}
    for module in ("", *MODULES):
        there = importlib.import_module(f"bedrock_nb.{module}".rstrip("."))
        for name in there.__all__:
            thing = getattr(there, name)
            if not isinstance(thing, ModuleType):
                one = thing if inspect.isclass(thing) or inspect.isroutine(thing) else (module, name)
                found.setdefault(one, f"{module}.{name}".lstrip("."))
    return tuple(found.values())


def value(name: str) -> Any:
    """What a public name stands for."""
    module, _, last = name.rpartition(".")
    there = importlib.import_module(f"bedrock_nb.{module}") if module else bedrock_nb
    return getattr(there, last)


@cache
def homes() -> dict[str, str]:
    """Where Python says that something is defined -> its public name, in full."""
    found: dict[str, str] = {}
    for name in names():
        thing = value(name)
        if inspect.isclass(thing) or inspect.isroutine(thing):
            found.setdefault(f"{thing.__module__}.{thing.__qualname__}", f"bedrock_nb.{name}")
    return found


def members(kind: type) -> list[str]:
    """The members of a class that its reference shows, in the order of the code, its own first."""
    shown: dict[str, None] = {}
    for owner in kind.__mro__:
        if owner.__module__.startswith("bedrock_nb"):
            for name, member in vars(owner).items():
                if not name.startswith("_") and name not in shown and _told(member):
                    shown[name] = None
    return list(shown)


def _told(member: Any) -> bool:
    """Whether it is a method or a property that says what it is for; attributes stand at the class."""
    if isinstance(member, classmethod | staticmethod):
        member = member.__func__
    asked = inspect.isroutine(member) or isinstance(member, property) or hasattr(member, "func")
    return bool(asked and getattr(member, "__doc__", None))


def reference(listed: str) -> str:
    """The Markdown for a fence of names."""
    lines = ["````{eval-rst}"]
    for name in listed.split():
        lines += _directive(name)
    return "\n".join([*lines, "````"])


def _directive(name: str) -> list[str]:
    thing, full = value(name), f"bedrock_nb.{name}"
    if inspect.isclass(thing):
        kind = "autoexception" if issubclass(thing, BaseException) else "autoclass"
        shown = members(thing)
        return [
            f".. {kind}:: {full}",
            *([f"   :members: {', '.join(shown)}", "   :member-order: bysource"] if shown else []),
            "",
        ]
    if inspect.isroutine(thing):
        return [f".. autofunction:: {full}", ""]
    return [f".. py:data:: {full}", "", *(f"   {line}" for line in comment(name)), ""]


def comment(name: str) -> list[str]:
    """What the comment ``#:`` above a value says, in the module that makes it."""
    module, _, last = name.rpartition(".")
    home = f"bedrock_nb.{module}".rstrip(".")
    while True:
        analyzer = ModuleAnalyzer.for_module(home)
        analyzer.analyze()
        if ("", last) in analyzer.attr_docs:
            return analyzer.attr_docs["", last]
        came_from = [
            node.module
            for node in ast.walk(ast.parse(analyzer.code))
            if isinstance(node, ast.ImportFrom)
            and node.module
            and last in (alias.name for alias in node.names)
        ]
        if not came_from:
            raise ValueError(f"{name} has no comment #: that says what it is.")
        home = came_from[0]
