"""What a sweep asks: every combination of prompts, targets and settings, as often as is wanted.

Strategy: a `Cell` is one question. It carries its whole request, so whoever has a cell needs nothing else;
and a key made of all that decides the answer, so that two runs, or two machines, know the same cell by one
name. In each repeat all combinations come once, in a random order of their own (randomised blocks: Fisher,
The Design of Experiments, 1935, section 26): when the service is slower in the afternoon, it is so for all.

Not here: who is asked (`target`), how (`asking`).
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import count, product
from typing import Any, NamedTuple

from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.experiment.questions import in_short
from bedrock_nb.options import split
from bedrock_nb.request import Request, as_request

__all__ = ["ASKING", "Cell", "cells", "check_whole", "dimensions", "refuse_misspelt"]

#: Arguments of `stream` that say how to ask, and not what.
ASKING = (
    "streaming",
    "first_event_timeout",
    "idle_timeout",
    "total_timeout",
    "retries",
    "durability",
    "errors",
)
#: Arguments of `stream` that an experiment settles by itself.
_SETTLED = ("background", "buffer", "when_full", "record", "journal", "made")
#: Labels that are made here.
_MADE = ("prompt", "target", "repeat")
#: How like a name must be to be taken for a misspelt one: ``repeat`` is, ``thinking`` for ``think`` is none.
_ALIKE = 0.8
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Cell:
    """One question of an experiment.

    Attributes
    ----------
    number : int
        Its place in the order in which cells are asked, from 0.
    key : str
        16 hexadecimal digits, of all that decides the answer; the same in every process and every run.
    target : str
        The name of who is asked; empty if there is only one.
    request : Request
    labels : dict
        Its values of the dimensions, by which tables tell it from others, and its ``repeat``, from 1.
    options : dict
        Arguments of `stream` that are none of the request: time limits, ``retries``, ``streaming`` …
    """

    number: int
    key: str
    target: str
    request: Request = field(hash=False)
    labels: Mapping[str, Any] = field(hash=False)
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)


class _Choice(NamedTuple):
    """One value of a dimension, and the label that says so."""

    label: Any
    value: Any


def refuse_misspelt(settings: Iterable[Any], arguments: Iterable[str]) -> None:
    """Refuse a setting that is a misspelt argument of an experiment, or one in the wrong place.

    Raises
    ------
    RequestError
        It names the argument.
    """
    arguments = list(arguments)
    for name in map(str, settings):
        if meant := get_close_matches(name, arguments, n=1, cutoff=_ALIKE):
            raise RequestError(
                f"There is no setting {name!r:.60}.", remedy=f"Is it the argument {meant[0]}=?"
            )


def cells(
    prompts: Any,
    grid: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    *,
    repeats: int = 1,
    seed: int = 0,
    targets: Sequence[str] = ("",),
    labels: Mapping[str, Any] | None = None,
    table: Mapping[str, Sequence[_Choice]] | None = None,
) -> list[Cell]:
    """All questions of an experiment, in the order in which to ask them.

    Parameters
    ----------
    prompts : str, Request, list of these, or mapping
        What to ask: one prompt, several, or a mapping whose keys are to be their labels. A prompt may be all
        that `stream` takes for one; a list of messages or blocks stands in a list of prompts.
    grid : mapping, optional
        Setting -> its values: a list, or a mapping of label -> value for values that are no plain numbers or
        texts. Settings are those of `stream`, and ``prompt``.
    settings : mapping, optional
        Settings of `stream` that are the same for all.
    repeats : int
        How often each combination is asked.
    seed : int
        Of the order.
    targets : list of str
        Names of those who are asked; ``("",)`` if there is one and it has no name.
    labels : mapping, optional
        Further labels, of all cells.
    table : mapping, optional
        What `dimensions` made of prompts, grid and targets, if somebody has it already.

    Returns
    -------
    list of Cell

    Raises
    ------
    RequestError
        An argument cannot work, a setting is in the grid and fixed besides, or two combinations would ask
        the very same.
    """
    fixed, extra_labels = dict(settings or {}), dict(labels or {})
    check_whole("repeats", repeats, 1)
    check_whole("seed", seed, 0)
    table = dimensions(prompts, grid, targets=targets) if table is None else table
    _check_names(table, fixed, extra_labels)
    combinations, seen = [], dict[str, str]()
    for chosen in product(*table.values()):
        choices = dict(zip(table, chosen, strict=True))
        request, options = _asked(choices, fixed)
        own = {name: choice.label for name, choice in choices.items() if _is_label(name, grid, targets)}
        target = choices["target"].value
        digest = _digest(request, target, {**extra_labels, **own}, options)
        said = ", ".join(
            f"{name} {choice.label!r:.60}" for name, choice in choices.items() if choice.label != ""
        )
        if (other := seen.setdefault(digest.hexdigest(), said)) is not said:
            raise RequestError(
                f"Two cells of the grid would ask the very same: {other}; and {said}.",
                remedy="Take one out. To ask more than once: repeats=.",
            )
        combinations.append((target, request, {**extra_labels, **own}, options, digest))
    ordered: list[Cell] = []
    numbers = count()
    for repeat in range(1, repeats + 1):
        block = list(combinations)
        random.Random(f"{seed} {repeat}").shuffle(block)
        for target, request, own, options, digest in block:
            whole = digest.copy()
            whole.update(str(repeat).encode())
            cell_labels = {**own, "repeat": repeat}
            key = whole.hexdigest()[:16]
            ordered.append(Cell(next(numbers), key, target, request, cell_labels, options))
    return ordered


def dimensions(
    prompts: Any, grid: Mapping[str, Any] | None, *, targets: Sequence[str] = ("",)
) -> dict[str, list[_Choice]]:
    """The table of an experiment: each dimension and its values, with their labels.

    Raises
    ------
    RequestError
        Something in it cannot work.
    """
    if not isinstance(grid, Mapping | None):
        raise RequestError(
            f"{kind_of(grid)} is given as the grid.",
            remedy='Give a dict of settings and their values: grid={"temperature": [0, 0.5, 1]}.',
        )
    given = dict(grid or {})
    if ("prompt" in given) is (prompts is not None):
        raise RequestError(
            "There are no prompts."
            if prompts is None
            else "There are prompts, and prompt in the grid besides.",
            remedy='Give them as the argument after the target, or as grid={"prompt": […]}.',
        )
    found = {"target": [_Choice(name, name) for name in targets]}
    for name, values in given.items():
        if name != "prompt":
            found[name] = _values(name, values)
    found["prompt"] = _prompts(prompts if prompts is not None else given["prompt"])
    return found


def _values(name: Any, values: Any) -> list[_Choice]:
    """The values of a setting."""
    if isinstance(values, Mapping):
        choices = _named(values)
    elif isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise RequestError(
            f"The grid has {name}={values!r:.60}; a list of values is wanted.",
            remedy=f"What is the same for all is an argument of its own: {name}={values!r:.60}.",
        )
    else:
        plain = [value.item() if hasattr(value, "item") else value for value in values]  # numpy's
        odd = next((value for value in plain if not isinstance(value, _SCALARS)), None)
        if odd is not None:
            raise RequestError(
                f"{kind_of(odd)} among the values of {name} has no name that a table could show.",
                remedy=f'Give them names: grid={{"{name}": {{"a name": value, "another": None}}}}.',
            )
        twice = [value for n, value in enumerate(plain) if value in plain[:n]]
        if twice:
            raise RequestError(
                f"The grid has {name}={twice[0]!r:.60} twice.", remedy="To ask more than once: repeats=."
            )
        choices = list(map(_Choice, _labelled(plain), plain))
    if not choices:
        raise RequestError(f"{name} has no values in the grid.", remedy="Give some, or leave it out.")
    return choices


def _prompts(prompts: Any) -> list[_Choice]:
    if isinstance(prompts, Mapping) and not {"role", "content"} <= prompts.keys():
        choices = _named(prompts)
    else:
        one = isinstance(prompts, str | Mapping | Request) or not isinstance(prompts, Iterable)
        several = [prompts] if one else list(prompts)
        if several and not one and all(isinstance(each, Mapping) for each in several):
            raise RequestError(
                "This list looks like one prompt: its messages, or its blocks.",
                remedy="A list here is of prompts. Put one that is a list into another: [[…]].",
            )
        texts = [_text_of(prompt) or f"prompt {n}" for n, prompt in enumerate(several, 1)]
        choices = list(map(_Choice, _labelled(texts), several))
    if not choices:
        raise RequestError("There are no prompts.", remedy='Give a list of them, or one: "Hello".')
    for choice in choices:
        if choice.value is None:
            raise RequestError(f"The prompt {choice.label!r:.60} is None.", remedy="Give a text.")
    return choices


def _text_of(prompt: Any) -> str:
    """What a prompt can be called by."""
    text = prompt.prompt if isinstance(prompt, Request) else prompt
    return text if isinstance(text, str) else ""


def _named(values: Mapping[Any, Any]) -> list[_Choice]:
    """Values that somebody named."""
    for label in values:
        if not isinstance(label, _SCALARS):
            raise RequestError(
                f"{kind_of(label)} is no label: {label!r:.60}.", remedy="A label is a text or a number."
            )
    return [_Choice(label, value) for label, value in values.items()]


def _labelled(values: Sequence[Any]) -> list[Any]:
    """A label for each value: itself; texts are cut short, and the later ones of equal labels numbered.

    So a label stays what it is when more values are added behind.
    """
    labels: dict[Any, None] = {}
    numbers: dict[Any, Iterator[int]] = {}  # of each label that came before
    for value in values:
        label = in_short(value) if isinstance(value, str) else value
        if label in labels:
            rest = numbers.setdefault(label, count(2))
            label = next(new for n in rest if (new := f"{label} ({n})") not in labels)
        labels[label] = None
    return list(labels)


def _is_label(name: str, grid: Mapping[str, Any] | None, targets: Sequence[str]) -> bool:
    """Whether a dimension is a column of its own: models have one, and a single target needs none."""
    if name == "target":
        return list(targets) != [""]
    return name != "model" or isinstance((grid or {}).get("model"), Mapping)


def _check_names(table: Mapping[str, Any], fixed: Mapping[str, Any], labels: Mapping[str, Any]) -> None:
    for name in (*table, *fixed):
        if not isinstance(name, str):
            raise RequestError(f"{name!r:.60} is no name of a setting.", remedy='"temperature" is one.')
        if name in _SETTLED:
            raise RequestError(f"An experiment settles {name} by itself.", remedy="Leave it out.")
    for name in ("prompt", *table):
        if name in fixed:
            raise RequestError(
                f"{name} is in the grid, and fixed besides."
                if name != "prompt"
                else "prompt= is no setting.",
                remedy="Give it in one place." if name != "prompt" else "Prompts are the second argument.",
            )
    for name in labels:
        if name in table or name in _MADE:
            raise RequestError(
                f"The label {name!r:.60} is made by the experiment itself.", remedy="Choose another name."
            )
    if "labels" in table:
        raise RequestError("labels are no setting.", remedy="Give labels= for all cells alike.")


def _asked(choices: Mapping[str, _Choice], fixed: Mapping[str, Any]) -> tuple[Request, dict[str, Any]]:
    """The request of one combination, and how to ask it; None in the grid is not given."""
    own = {name: c.value for name, c in choices.items() if name not in ("prompt", "target")}
    both = {**fixed, **own}
    options = {name: both.pop(name) for name in ASKING if name in both}
    given, extra = split({name: value for name, value in both.items() if value is not None})
    request = as_request(choices["prompt"].value, given, extra)
    return request, {name: value for name, value in options.items() if value is not None}


def _digest(request: Request, target: str, labels: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """What a key is made of: all that decides the answer, and what tells it from others."""
    asked = [request.to_kwargs(), target, labels, options.get("streaming")]
    try:
        text = json.dumps(_canonical(asked), sort_keys=True, ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as err:
        raise RequestError(
            f"A request or a label has no form in JSON: {err}.",
            remedy="They may hold text, numbers, lists, dicts and bytes.",
        ) from err
    return hashlib.sha256(text.encode())


def _canonical(node: Any) -> Any:
    """The same for all that is equal: 1 and 1.0, a list and a tuple, whatever the order of a dict."""
    if isinstance(node, Mapping):
        return {str(key): _canonical(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_canonical(value) for value in node]
    if isinstance(node, bytes | bytearray):
        return {"$sha256": hashlib.sha256(node).hexdigest()}
    if hasattr(node, "item"):
        node = node.item()  # numpy's
    if isinstance(node, float) and node.is_integer():
        return int(node)
    return node


def check_whole(name: str, value: Any, least: int) -> None:
    """Refuse what is no whole number from ``least`` on.

    Raises
    ------
    RequestError
        It is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise RequestError(f"{name} is {value!r:.40}; a whole number from {least} on is wanted.")
