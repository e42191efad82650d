"""One walk over recordings: what only they tell is counted, and a few are kept for pictures of them.

Strategy: recordings pass by one at a time on their way into the summary table; nothing of them is held but
counts, and the few that the lot falls on. Whatever a request holds becomes short lines of text, and there are
bounds for how many: files may come from anywhere.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bedrock_nb.errors import without_accounts
from bedrock_nb.plot.naming import ending
from bedrock_nb.recording import Recording

__all__ = ["KEPT", "Lot", "Seen", "fields_of", "in_words", "watched"]

#: So many recordings are kept, drawn by lot.
KEPT = 60
#: So many settings are noted, so many different values of each, of so many letters.
_SETTINGS, _VALUES, _LETTERS = 100, 50, 160
#: So deep a nested setting is taken apart.
_DEPTH = 6


@dataclass
class Seen:
    """What only recordings tell, counted over all of them.

    ``asked`` has, for each setting, its values in words and how many replies were asked with them.
    """

    recordings: int = 0
    clocks: Counter[str] = field(default_factory=Counter)
    plain: int = 0  # without TLS, which AWS does not offer
    opened: int = 0
    resumed: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    asked: dict[str, Counter[str]] = field(default_factory=dict)


class Lot:
    """So many of a stream whose length is not known, each with the same chance, in their order."""

    def __init__(self) -> None:
        self._random = random.Random(0)
        self._kept: list[Recording] = []
        self._count = 0

    def offer(self, recording: Recording) -> None:
        """Let the lot decide whether it stays."""
        if self._count < KEPT:
            self._kept.append(recording)
        elif (place := self._random.randrange(self._count + 1)) < KEPT:
            del self._kept[place]
            self._kept.append(recording)
        self._count += 1

    @property
    def taken(self) -> list[Recording]:
        """Those that stayed."""
        return list(self._kept)


def watched(recordings: Iterable[Recording], seen: Seen, kept: Lot) -> Iterator[Recording]:
    """The same recordings, each counted in ``seen`` and offered to the lot as it passes."""
    for recording in recordings:
        seen.recordings += 1
        seen.clocks[recording.clock] += 1
        seen.plain += _is_plain(recording)
        seen.opened += "connecting" in recording.marks
        seen.resumed += bool(recording.seams)
        if said := ending(recording):
            seen.endings[said] += 1
        for name, value in _settings(recording):
            if name not in seen.asked and len(seen.asked) >= _SETTINGS:
                continue
            values = seen.asked.setdefault(name, Counter())
            if value in values or len(values) < _VALUES:
                values[value] += 1
        kept.offer(recording)
        yield recording


def _is_plain(recording: Recording) -> bool:
    """Whether it came without TLS; of a request that was refused nobody noted it."""
    secure = "tls" in recording.envelope or "secured" in recording.marks
    return recording.clock == "wire" and len(recording) > 1 and not secure


def _settings(recording: Recording) -> Iterator[tuple[str, str]]:
    for name, value in recording.request.items():
        if name == "messages":
            yield "prompt", in_words(_prompt(value))
        else:
            yield from ((in_words(path), words) for path, words in _flat(str(name), value, _DEPTH))


def _flat(name: str, value: Any, depth: int) -> Iterator[tuple[str, str]]:
    """A nested setting as plain ones: ``inferenceConfig.temperature``."""
    if isinstance(value, Mapping) and value and depth:
        for inner in value:
            yield from _flat(f"{name}.{inner}", value[inner], depth - 1)
    else:
        yield name, in_words(value)


def _prompt(messages: Any) -> str:
    """The text of the last turn; what is no text is told by its kind."""
    last = messages[-1] if isinstance(messages, list) and messages else {}
    content = last.get("content") if isinstance(last, Mapping) else None
    if not isinstance(content, list):
        return str(content or "")
    blocks = [block for block in content if isinstance(block, Mapping)]
    return " ".join(
        str(block["text"]) if "text" in block else f"[{', '.join(map(str, block))}]" for block in blocks
    )


def in_words(value: Any) -> str:
    """A value of a setting in a line: a text as it is, all else as JSON, bytes by their number."""
    if not isinstance(value, str):
        try:
            value = json.dumps(value, default=_odd, ensure_ascii=False)
        except (TypeError, ValueError, RecursionError):
            value = type(value).__name__
    line = " ".join(without_accounts(value[: 4 * _LETTERS]).split())
    return line if len(line) <= _LETTERS else line[: _LETTERS - 1] + "…"


def _odd(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return f"{len(value):,} bytes"
    if isinstance(value, Mapping):
        return dict(value)
    fields = fields_of(value)
    return fields or type(value).__name__


def fields_of(thing: Any) -> dict[str, Any]:
    """The public fields of a dataclass, or the items of a mapping; nothing of anything else."""
    if isinstance(thing, Mapping):
        return dict(thing)
    names = getattr(thing, "__dataclass_fields__", ())
    return {name: getattr(thing, name) for name in names if not name.startswith("_")}
