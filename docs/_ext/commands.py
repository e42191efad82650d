"""The reference of the command line, from the parser itself: each command, its arguments, its options.

Strategy: argparse knows all of it. The tree of its subparsers is walked, a section for each command that runs
and a list for each that only holds others, and what ``--help`` prints is shown as it is, at a fixed width.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator

from bedrock_nb import cli

#: What makes the parser of the whole command line.
parser = cli._parser

_WIDTH = "90"  # columns of a terminal


def reference(_: str = "") -> str:
    """Markdown with a section for each command."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = _WIDTH  # argparse asks for it, and a site must not depend on who builds it
    try:
        return "\n".join(_sections(parser(), 2))
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def commands(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """The commands below a parser, by name: their parsers and their one line of help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            told = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return {name: (inner, told.get(name, "")) for name, inner in action.choices.items()}
    return {}


def _sections(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    for inner, line in commands(parser).values():
        yield f"{'#' * level} {inner.prog}\n"
        said = inner.description or line
        yield f"{said[:1].upper()}{said[1:].rstrip('.')}.\n"
        below = commands(inner)
        if below:
            yield from (f"- `{inner.prog} {one}`: {told}" for one, (_, told) in below.items())
            yield ""
            yield from _sections(inner, level + 1)
        else:
            text = inner.format_help().replace(f"\n\n{inner.description}\n", "\n", 1)
            yield f"```text\n{text.strip()}\n```\n"
