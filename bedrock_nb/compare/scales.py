"""Numbers for readers: those of one metric share a unit, and those that are compared their decimals.

Strategy: the unit is chosen once, of all values and differences of a metric; decimals are chosen for values
and for differences. Times below a second are in milliseconds, as in pictures. Texts have plain
spaces, so that they can be searched and compared; a picture, which breaks lines, asks for `unbroken` ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bedrock_nb.compare.measuring import Row, unit_of
from bedrock_nb.compare.samples import short
from bedrock_nb.metrics import METRICS

__all__ = [
    "Scale",
    "capital",
    "counted",
    "listed",
    "of_differences",
    "of_numbers",
    "of_values",
    "p_words",
    "percent",
    "title_of",
    "unbroken",
]

_PLURAL = {"token": "tokens", "token/s": "tokens/s", "count": "", "share": ""}
#: The space between a number and its unit or noun, those of ``97 to 198 ms``, and those around the sign of
#: ``n = 20`` and ``p < 0.001``.
_INNER = re.compile(
    r"(?<=\d) (?=(?:%|ms|s|tokens?|1/s|repl(?:y|ies)|pairs?)(?![\w-]))"
    r"|(?<=\d) (?=to \d)|(?<=\d to) (?=\d)"
    r"|(?<=\b[np]) (?=[=<] \d)|(?<=\b[np] [=<]) (?=\d)"
)


class Scale(NamedTuple):
    """How the numbers of one comparison are written."""

    factor: float
    decimals: int
    unit: str

    def bare(self, value: float) -> str:
        """The number without its unit."""
        if abs(value) >= 1e15:
            return f"{value:.3g}"
        text = f"{value * self.factor:,.{self.decimals}f}"
        return text.removeprefix("-") if not any(digit in text for digit in "123456789") else text

    def __call__(self, value: float) -> str:
        """The number with its unit."""
        return f"{self.bare(value)} {self.unit}".strip()

    def range(self, low: float, high: float) -> str:
        """From one number to another."""
        return f"{self.bare(low)} to {self(high)}"


def _largest(values: Sequence[float]) -> float:
    return max(map(abs, values), default=0.0)


def _scale(rows: Sequence[Row], known: Sequence[float]) -> Scale:
    """Three figures for the largest of the known numbers; milliseconds if all of the metric are below 1 s."""
    return of_numbers(unit_of(rows[0].metric), known, _largest([*_values(rows), *_differences(rows)]))


def of_numbers(unit: str, known: Sequence[float], of_all: float | None = None) -> Scale:
    """For any numbers in that unit; ``of_all`` is the largest of all that are told with them."""
    largest, factor, word = _largest(known), 1.0, _PLURAL.get(unit, unit)
    if unit in ("s", "s/token") and 0 < (largest if of_all is None else of_all) < 0.9995:
        factor, word = 1000.0, f"m{unit}"
    if not largest or (factor == 1 and all(value == int(value) for value in known)):
        return Scale(factor, 0, word)
    figures = math.floor(math.log10(float(f"{largest * factor:.3g}"))) if largest > 0 else 0
    return Scale(factor, min(6, max(0, 2 - figures)), word)


def _values(rows: Iterable[Row]) -> list[float]:
    return [number for row in rows for number in row.interval[:3] if number is not None]


def _differences(rows: Iterable[Row]) -> list[float]:
    found = (row.difference for row in rows if row.difference)
    return [number for one in found for number in one[:3] if number is not None]


def of_values(rows: Sequence[Row]) -> Scale:
    """For the estimates and their intervals in these rows, which are all of one metric."""
    return _scale(rows, _values(rows))


def of_differences(rows: Sequence[Row], told: Row | None = None) -> Scale:
    """For the differences and their intervals; only one row's if the others' are not told beside them."""
    return _scale(rows, _differences(rows if told is None else [told]))


def title_of(metric: str) -> str:
    """A metric in words."""
    return METRICS[metric].label if metric in METRICS else short(metric)


def capital(text: str) -> str:
    """With a capital at its beginning; the rest as it is."""
    return text[:1].upper() + text[1:]


def percent(confidence: float) -> str:
    """``95 %``."""
    return f"{100 * confidence:.6g} %"


def counted(n: int, noun: str) -> str:
    """``1 pair``, ``2 replies``."""
    plural = "replies" if noun == "reply" else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def unbroken(text: str) -> str:
    """The same with no-break spaces where a line must not end: between a number and its unit."""
    return _INNER.sub("\u00a0", text)


def listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def p_words(p: float) -> str:
    """``p = 0.03``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}" if p < 0.1 else f"p = {p:.2f}"
