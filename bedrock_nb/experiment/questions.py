"""What experiments ask, written down: prompts with settings of their own, one by one or in a file.

Strategy: a file is read at once and checked as a whole: a mistake in its last line is told, with its number,
before the first request is made. `load.prompts` takes them in turn, for a sweep they are requests.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bedrock_nb.errors import RequestError, close, kind_of
from bedrock_nb.options import PLACES, split
from bedrock_nb.request import Request, as_request

__all__ = ["Asked", "asked", "in_short", "read", "requests"]

#: What a line of a file may have besides its prompt: short names of `bedrock_nb.stream`, and Converse's own.
_SETTINGS = frozenset(
    {*PLACES.values(), *(place.partition(".")[0] for place in PLACES), "streaming"} - {"messages", "modelId"}
)
_LARGEST = 256_000_000  # bytes of a file
_LETTERS = 40  # of a text that stands for a prompt in a table
_JSON_LINE = 'Each line must be a JSON text, or an object such as {"prompt": "…", "max_tokens": 100}.'


class Asked(NamedTuple):
    """What one request asks: its prompt, settings of its own, and what stands for it in a table."""

    prompt: Any
    settings: Mapping[str, Any] = {}
    name: str = ""


def asked(one: Any, where: str, name: str = "") -> Asked:
    """One prompt with its settings.

    Raises
    ------
    RequestError
        It is none; ``where`` says which.
    """
    settings: dict[str, Any] = {}
    prompt = one
    if isinstance(one, Mapping) and "prompt" in one:
        settings = {str(key): value for key, value in one.items() if key != "prompt" and value is not None}
        prompt = one["prompt"]
    for setting in settings:
        if setting not in _SETTINGS:
            raise RequestError(
                f"{where} has {setting!r:.60}, which is no setting of a request.",
                remedy=f"{close(setting, sorted(_SETTINGS))}Besides prompt there are: "
                f"{', '.join(sorted(set(PLACES.values()) - {'messages'}))}.",
            )
    if isinstance(prompt, str):
        _no_path(prompt)
    elif not isinstance(prompt, Request | Mapping) and not (isinstance(prompt, Sequence) and prompt):
        raise RequestError(
            f"{where}: {kind_of(prompt)} is no prompt.",
            remedy='Give a text, a list as stream takes it, or {"prompt": "…", "max_tokens": 100}.',
        )
    if isinstance(prompt, str) and not prompt.strip():
        raise RequestError(f"{where} is empty.", remedy="Give it a text.")
    return Asked(prompt, settings, name)


def in_short(text: str) -> str:
    """A text as a label: one line that is not too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LETTERS else f"{line[: _LETTERS - 1]}…"


def _no_path(prompt: str) -> None:
    """Refuse the name of a file that is there: it would be asked as a prompt, and nobody means that."""
    if prompt.endswith(tuple(_READERS)) and len(prompt) < 1000 and Path(prompt).is_file():
        raise RequestError(
            f"{prompt!r:.80} is the name of a file, and would be asked as a prompt.",
            remedy=f"To ask what stands in it, give Path({prompt!r:.80}).",
        )


# -- files -------------------------------------------------------------------------------------------


def read(path: Path) -> Iterator[Asked]:
    """The prompts of a file.

    Raises
    ------
    RequestError
        It cannot be read, or a line is not what it must be.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise RequestError(
            f"Prompts cannot be read from {path.name!r:.80}.",
            remedy="Its name must end in .txt (a prompt in each line), .jsonl, or .csv (a column prompt).",
        )
    try:
        if path.stat().st_size > _LARGEST:
            raise RequestError(
                f"{path.name!r:.80} has more than {_LARGEST // 1_000_000} MB.",
                remedy="All prompts are kept in memory: give a smaller file.",
            )
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as err:
        raise RequestError(
            f"{path.name!r:.80} is not UTF-8: byte {err.start} is no text.", remedy="Save it as UTF-8."
        ) from err
    except OSError as err:
        raise RequestError(
            f"{path.name!r:.80} cannot be read: {err.strerror}.",
            remedy="Give the path of a file with prompts.",
        ) from err
    found = list(reader(text, path.name))
    if not found:
        raise RequestError(f"There is no prompt in {path.name!r:.80}.", remedy="Write one into it at least.")
    yield from found


def requests(path: Path, given: Collection[str]) -> list[Request]:
    """The prompts of a file, each with its settings as one request.

    Parameters
    ----------
    path : Path
    given : collection of str
        Settings that are given elsewhere.

    Raises
    ------
    RequestError
        The file cannot be read, or two say what the setting of a request is.
    """
    found = []
    for one in read(path):
        for name in one.settings:
            if name in given:
                raise RequestError(
                    f"{path.name!r:.80} has {name} for a prompt, and it is given besides.",
                    remedy="Give it in one place.",
                )
            if name == "streaming":  # it is none of a request
                raise RequestError(
                    f"{path.name!r:.80} says how a prompt is asked: streaming.",
                    remedy="In a sweep streaming= is an argument for all, or a name of the grid.",
                )
        found.append(as_request(one.prompt, *split(one.settings)))
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def _from_text(text: str, name: str) -> Iterator[Asked]:
    for _, line in _lines(text):
        yield Asked(line)


def _from_json(text: str, name: str) -> Iterator[Asked]:
    for number, line in _lines(text):
        where = f"Line {number} of {name:.80}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as err:
            told = f"{err.msg}, column {err.colno}" if isinstance(err, json.JSONDecodeError) else ""
            why = told or ("nested too deep" if isinstance(err, RecursionError) else str(err))
            raise RequestError(
                f"{where} is no JSON: {why}.",
                remedy=_JSON_LINE,
            ) from err
        if not isinstance(value, str) and not (isinstance(value, dict) and "prompt" in value):
            raise RequestError(
                f"{where}: {'an object without prompt' if isinstance(value, dict) else kind_of(value)}.",
                remedy=_JSON_LINE,
            )
        yield asked(value, where)


def _from_csv(text: str, name: str) -> Iterator[Asked]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        heads = [head.strip() for head in reader.fieldnames or ()]
        if "prompt" not in heads:
            said = ", ".join(f"{head:.40}" for head in heads) or "none"
            raise RequestError(
                f"{name:.80} has no column prompt; its columns are: {said}.",
                remedy="Name the columns in the first line, and one of them prompt.",
            )
        reader.fieldnames = heads
        for row in reader:
            where = f"Line {reader.line_num} of {name:.80}"
            if None in row:
                raise RequestError(
                    f"{where} has more than {len(heads)} cells.",
                    remedy='Put a text with a comma between double quotes: "so, for example".',
                )
            given = {key: value for key, value in row.items() if value is not None and value.strip()}
            if given:
                yield asked(
                    {"prompt": ""} | {k: v if k == "prompt" else _value(v) for k, v in given.items()}, where
                )
    except csv.Error as err:
        raise RequestError(
            f"Line {reader.reader.line_num} of {name:.80} is no CSV: {err}.",
            remedy="A text with commas, quotes or line ends stands between double quotes.",
        ) from err


def _value(cell: str) -> Any:
    """A number, a truth or a list where the cell is one in JSON; else its text."""
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell.strip()


_READERS = {".txt": _from_text, ".jsonl": _from_json, ".csv": _from_csv}
