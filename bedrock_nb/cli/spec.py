"""Specs of experiments: a TOML file, checked, as the arguments of `sweep` and `load_test`.

Strategy: a spec has the names of the Python arguments and nothing else, so a table of names says all that may
stand in it, what each must be, and an example for who got it wrong. Settings of the request are those that
`stream` has. What a value means is checked by who takes it; here only that it is of the right kind.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, NamedTuple

import bedrock_nb as nb
from bedrock_nb.errors import RequestError, close
from bedrock_nb.options import PLACES

__all__ = ["EXAMPLE", "LOAD", "SWEEP", "Key", "place", "read"]

#: A spec that runs as it is, on the embedded Bedrock.
EXAMPLE = """\
# Run me:             bedrock-nb sweep sweep.toml --report report.html
# Interrupted?        The same command goes on where it stopped.
# Before a real run:  target = "aws", and a budget that you can afford.

target = "auto"                 # auto, local, aws, or the URL of an embedded server
repeats = 5                     # of every combination, in seeded random order
concurrency = 4                 # replies at once
max_tokens = 100                # any setting of nb.stream: the same for all

[prompts]                       # name = text; the column "prompt" has the name
rainbow = "Tell me about rainbows"
count = "Count from 1 to 30"

[grid]                          # a setting = a list of its values: every combination is asked
model = ["nova_micro", "nova_lite"]
temperature = [0.0, 1.0]

[budget]                        # nothing new begins beyond it
tokens = 200_000

[labels]                        # columns of your own
experiment = "first"
"""


class Key(NamedTuple):
    """What stands under a name: the types that it may have, these in words, an example."""

    types: tuple[type, ...]
    wanted: str
    example: str


def _text(example: str) -> Key:
    return Key((str,), "a text", f'"{example}"')


def _whole(example: int) -> Key:
    return Key((int,), "a whole number", str(example))


def _number(example: float) -> Key:
    return Key((int, float), "a number", str(example))


def _table(example: str) -> Key:
    return Key((dict,), "a table", f"{{ {example} }}")


_FLAG = Key((bool,), "true or false", "true")
_STAGES = "a number, or a list of stages [seconds, level]"

#: What sweeps and load tests have in common.
_BOTH = {
    "target": _text("aws"),
    "region": _text("eu-central-1"),
    "profile": _text("default"),
    "targets": _table('here = { target = "local" }, there = { target = "aws" }'),
    "prompts": Key((str, list, dict), "a text, a list, or a table of names", '["Tell me about rainbows"]'),
    "prompts_file": _text("prompts.jsonl"),
    "seed": _whole(0),
    "folder": _text("runs/first"),
    "labels": _table('course = "streams"'),
}
#: Name in the spec of a sweep -> what stands there.
SWEEP = {
    **_BOTH,
    "grid": _table('model = ["nova_micro", "nova_lite"]'),
    "repeats": _whole(5),
    "warmup": _whole(1),
    "concurrency": _whole(4),
    "rate": _number(2),
    "budget": _table("tokens = 100_000"),
    "retry_failed": _FLAG,
    "batch": _whole(50),
}
#: Name in the spec of a load test -> what stands there.
LOAD = {
    **_BOTH,
    "lengths": _table("input = [400, 0.5], output = [200, 0.5]"),
    "users": Key((int, float, list), _STAGES, "8"),
    "rate": Key((int, float, list), _STAGES, "[[10, 2], [20, [2, 10]]]"),
    "seconds": _number(30),
    "requests": _whole(100),
    "arrivals": _text("poisson"),
    "think": Key((int, float, list), 'a number of seconds, or [mean, "exponential"]', "1.5"),
    "warmup": _number(5),
    "limits": _table("ttft_s = 0.5"),
    "max_in_flight": _whole(500),
    "grace": _number(30),
    "workers": _whole(2),
    "saturate": _FLAG,
    "first": _number(1),
    "most": _number(256),
    "refine": _whole(3),
}
#: Names of folders and files.
_PLACES = ("folder", "prompts_file")
#: Name of a table -> the class that it has the arguments of.
_OBJECTS = {"budget": "Budget", "lengths": "Lengths"}
#: Arguments of `connect` that are none of a target.
_NOT_OF_TARGETS = ("concurrency", "verbose")
#: Arguments of `stream` that an experiment settles by itself, or that have a name above.
_SETTLED = (
    *("client", "prompt", "labels", "journal", "durability", "record"),
    *("background", "buffer", "when_full", "made"),
)


def read(path: Path, keys: Mapping[str, Key]) -> dict[str, Any]:
    """Read a spec.

    Parameters
    ----------
    path : Path
    keys : mapping
        `SWEEP` or `LOAD`.

    Returns
    -------
    dict
        Arguments by name, in Python's types. Folders and files are relative to where the spec is, so the
        same spec means the same from anywhere.

    Raises
    ------
    RequestError
        There is no such file, it is no TOML, a name is unknown, a value is of a wrong kind.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as err:
        raise RequestError(
            f"{str(path)!r} cannot be read: {err.strerror}.",
            remedy="`bedrock-nb sweep --example > sweep.toml` makes a spec to begin with.",
        ) from err
    except ValueError as err:  # no TOML, or no UTF-8
        raise RequestError(
            f"{str(path)!r} is no TOML: {err}.",
            remedy='A line is name = value; texts stand in "quotes", the names of tables in [brackets].',
        ) from err
    settings = _settings()
    for name, value in found.items():
        if name not in keys and name not in settings:
            raise _unknown(name, "a spec", keys, settings)
        if name in keys and not _fits(value, keys[name].types):
            raise RequestError(
                f"{name} is {_shown(value)}; {keys[name].wanted} is wanted.",
                remedy=f"For example: {name} = {keys[name].example}",
            )
        _check_dates(name, value)
    for name in found.get("grid", {}):
        if name not in settings and name != "prompt":
            raise _unknown(name, "[grid]", ["prompt"], settings)
    return {name: _as_python(name, value, path.parent) for name, value in found.items()}


def place(text: str, within: Path = Path()) -> str | Path:
    """A path, or the URL of a store such as ``s3://…`` as it is."""
    return text if "://" in text else within / text


def _settings() -> list[str]:
    """Names of what a request may be asked with: those of `stream`, and the API's own."""
    named = [
        name
        for name, parameter in inspect.signature(nb.stream).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD and name not in _SETTLED
    ]
    members = {member.partition(".")[0] for member in PLACES} - {"modelId", "messages", "system"}
    return [*named, *sorted(members)]


def _unknown(name: str, where: str, known: Iterable[str], settings: Iterable[str] = ()) -> RequestError:
    near = close(name, [*known, *settings])
    more = " and the settings of nb.stream" if settings else ""
    return RequestError(
        f"{name!r:.80} is no name of {where}.", remedy=f"{near}There are: {', '.join(known)}{more}."
    )


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))  # a bool is an int


def _shown(value: Any) -> str:
    return f"{value!r:.60}"


def _check_dates(name: str, value: Any) -> None:
    """Refuse what TOML has and JSON has not."""
    if isinstance(value, date | time):
        raise RequestError(f"{name} has a date or a time.", remedy=f'Put it into quotes: "{value}".')
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        _check_dates(name, one)


def _as_python(name: str, value: Any, within: Path) -> Any:
    """A value of TOML as Python's functions take it."""
    if name in _OBJECTS:
        return _object(name, value)
    if name in _PLACES:
        return place(value, within)
    if name == "grid":
        return {setting: _values(of) for setting, of in value.items()}
    if name == "targets":
        _check_targets(value)
    return value


def _values(of: Any) -> Any:
    """Values of a setting; an empty table is None, which TOML has not."""
    if isinstance(of, dict):
        return {label: None if value == {} else value for label, value in of.items()}
    return of


def _object(name: str, value: dict[str, Any]) -> Any:
    """What a class makes of a table."""
    kind = getattr(nb, _OBJECTS[name])
    known = list(inspect.signature(kind).parameters)
    for one in value:
        if one not in known:
            raise _unknown(one, f"[{name}]", known)
    return kind(**value)


def _check_targets(targets: dict[str, Any]) -> None:
    """Each target has arguments of `connect`."""
    known = [name for name in inspect.signature(nb.connect).parameters if name not in _NOT_OF_TARGETS]
    for label, given in targets.items():
        if not isinstance(given, dict):
            raise RequestError(
                f"The target {label!r:.80} is {_shown(given)}; a table is wanted.",
                remedy=f'For example: {label} = {{ target = "aws" }}',
            )
        for name in given:
            if name not in known:
                raise _unknown(name, f"[targets.{label:.80}]", known)
