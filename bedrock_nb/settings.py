"""What holds for the whole process: where replies are journalled, what errors say, what the audit log holds.

Strategy: one frozen value that checks itself when it is made, so what is wrong is refused before anything
changes. Whoever needs a setting asks `current` when it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from bedrock_nb.errors import RequestError

__all__ = ["Settings", "check_choice", "configure", "current"]

Durability = Literal["crash", "interval", "each"]
Errors = Literal["full", "plain"]
Audit = Literal["calls", "content"]
_CHOICES = {"durability": get_args(Durability), "errors": get_args(Errors), "audit": get_args(Audit)}


def check_choice(name: str, value: object, choices: tuple[str, ...] = ()) -> None:
    """Refuse what is none of the choices; by default those of the setting of this name.

    Raises
    ------
    RequestError
        It is none of them.
    """
    choices = choices or _CHOICES[name]
    if not isinstance(value, str) or value not in choices:
        raise RequestError(f"{name} is {value!r:.60}; one of {', '.join(choices)} is wanted.")


@dataclass(frozen=True, repr=False)
class Settings:
    """What `configure` sets, and the defaults."""

    journal: str | os.PathLike[str] | None = None
    durability: Durability = "crash"
    errors: Errors = "full"
    audit: Audit = "calls"
    redact: Callable[[str], str] | None = None

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            check_choice(name, getattr(self, name), choices)
        path = os.fspath(self.journal) if isinstance(self.journal, os.PathLike) else self.journal
        if path is not None and (not isinstance(path, str) or not path or _is_a_file(Path(path))):
            raise RequestError(f"journal is {self.journal!r:.60}; a folder, or None, is wanted.")
        if self.redact is not None and not callable(self.redact):
            raise RequestError(f"redact is {self.redact!r:.60}; a function from text to text is wanted.")

    def __repr__(self) -> str:
        shown = {field.name: repr(getattr(self, field.name)) for field in fields(self)}
        if self.redact is not None:  # without its address, which is another one each time
            shown["redact"] = getattr(self.redact, "__qualname__", type(self.redact).__name__)
        return f"Settings({', '.join(f'{name}={value}' for name, value in shown.items())})"


_UNCHANGED: Any = ...  # None is a value
_current = Settings()


def current() -> Settings:
    """What is set now."""
    return _current


def configure(
    *,
    journal: str | os.PathLike[str] | None = _UNCHANGED,
    durability: Durability = _UNCHANGED,
    errors: Errors = _UNCHANGED,
    audit: Audit = _UNCHANGED,
    redact: Callable[[str], str] | None = _UNCHANGED,
) -> Settings:
    """Change settings of this process, and return what is set; what is not given stays as it is.

    Parameters
    ----------
    journal : path, optional
        A folder: each reply is journalled there, in a file of its own.
    durability : {"crash", "interval", "each"}
        How often journals are forced to disk: never, several times a second, or with each event.
    errors : {"full", "plain"}
        ``"plain"``: error texts hold none of the provider's words; attributes keep them.
    audit : {"calls", "content"}
        Whether lines of the audit log (the logger ``bedrock_nb.audit``) hold prompts and answers.
    redact : function, optional
        From text to text; every text of prompts and answers goes through it on its way to the audit log.
    """
    global _current
    given = {name: value for name, value in locals().items() if value is not _UNCHANGED}
    _current = replace(_current, **given)
    return _current


def _is_a_file(path: Path) -> bool:
    """A file, or what would become one: a journal's name with a suffix is that of a file."""
    return not path.is_dir() and (path.is_file() or bool(path.suffix))
