"""Names and sentences about replies: what tells them apart, how they ended, what they lack.

Strategy: what all have in common tells nothing. Models and labels are tried in their order, and one is taken
only where it parts recordings that those before it do not; what is still alike is numbered, and what has no
name at all is called by its place among all. Labels and model ids may come from a file: they are cut to one
line. The sentences say why something is not in a picture.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bedrock_nb.errors import ServiceFault
from bedrock_nb.plot.canvas import count, short
from bedrock_nb.plot.data.parts import dissect
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "compact",
    "ending",
    "endings",
    "lacking",
    "missing",
    "model_name",
    "nothing",
    "reasons",
    "tell_apart",
    "whose",
]

#: Letters of one part of a name.
_MOST_LETTERS = 24

# Of us.anthropic.claude-sonnet-4-20250514-v1:0 what comes before the provider, and after the name.
_REGION = re.compile(r"^[a-z-]+\.(?=[a-z0-9-]+\.[a-z])")
_VERSION = re.compile(r"(-\d{8})?-v\d+(:\d+)?$")
_MOST_ENDINGS = 4
_ENDINGS = {
    "streaming": "still streaming",
    "cancelled": "cancelled",
    "incomplete": "cut off",
    "interrupted": "interrupted",
}


# -- of recordings -----------------------------------------------------------------------------------


def tell_apart(recordings: Sequence[Recording], places: Sequence[int] | None = None) -> list[str]:
    """A name for each recording, all different: of what differs between them only.

    Parameters
    ----------
    recordings : sequence of Recording
        In the order in which they are numbered where nothing else tells them apart.
    places : sequence of int, optional
        Where each stands among all that were given, counted from 0; by default these are all.

    Returns
    -------
    list of str
        Such as ``"nova-lite · run 2"``; ``"reply 3"``, the third of all, where there is nothing to tell.
    """
    columns = [compact([model_name(recording) for recording in recordings])]
    for label in dict.fromkeys(label for recording in recordings for label in recording.labels):
        columns.append([_said(label, recording.labels.get(label)) for recording in recordings])
    names = [""] * len(recordings)
    for column in columns:
        longer = [f"{a} · {b}" if a and b else a or b for a, b in zip(names, column, strict=True)]
        if len(set(longer)) > len(set(names)):
            names = longer
    alike, used = Counter(names), set(names)
    for i, name in enumerate(names):
        if alike[name] > 1 or not name:
            place = f"reply {(places[i] if places else i) + 1}"
            numbered = (f"{name or place} · {n}" for n in itertools.count(1))
            names[i] = next(t for t in itertools.chain([] if name else [place], numbered) if t not in used)
            used.add(names[i])
    return names


def model_name(recording: Recording) -> str:
    """A model id as it may be shown: of an ARN the last part, which is no account number."""
    return short(recording.model.rpartition("/")[2], 48)


def compact(models: Sequence[str]) -> list[str]:
    """Model ids without region and version, where that still tells them apart."""
    shorter = [_REGION.sub("", _VERSION.sub("", model)) for model in models]
    return shorter if len(set(shorter)) == len(set(models)) else list(models)


def whose(recordings: Sequence[Recording]) -> str:
    """What a title says of them: the model of one, or how many there are."""
    if len(recordings) == 1:
        return model_name(recordings[0]) or "unknown model"
    models = {model_name(recording) or "unknown model" for recording in recordings}
    only = f" of {models.pop()}" if len(models) == 1 else ""
    return f"{len(recordings):,} replies{only}"


def ending(recording: Recording) -> str:
    """How a reply ended if not well, in a word or two; empty for one that is complete."""
    error = recording.error
    if error is not None:
        return f"failed: {short(error.code if isinstance(error, ServiceFault) else type(error).__name__)}"
    return _ENDINGS.get(recording.status, "")


def endings(recordings: Sequence[Recording]) -> str:
    """What is to be said of replies that did not end well; empty where all are complete."""
    if len(recordings) == 1:
        return " ".join(dissect(recordings[0]).notes)
    bad = Counter(said for one in recordings if (said := ending(one)))
    if not bad:
        return ""
    named = bad.most_common(_MOST_ENDINGS)
    listed = [f"{n:,} {name}" for name, n in named]
    if more := bad.total() - sum(n for _, n in named):
        listed.append(f"{more:,} in other ways")
    return f"{bad.total():,} of {len(recordings):,} replies not complete: {', '.join(listed)}."


def missing(recordings: Sequence[Recording], what: str) -> str:
    """Why there is nothing to draw."""
    if not recordings:
        return "No recording was given."
    if len(recordings) > 1:
        return f"None of {len(recordings):,} replies has {what}.\n{endings(recordings)}".strip()
    if not recordings[0].keeps:
        return "The events of this reply were not kept."
    return "\n".join([f"No {what} came.", *dissect(recordings[0]).notes])


def _said(label: str, value: Any) -> str:
    """A label's value; a bare number or a truth is nothing without its name."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return short(f"{label} {'yes' if value else 'no'}", _MOST_LETTERS)
    if isinstance(value, Real):
        return short(f"{label} {float(value):.6g}", _MOST_LETTERS)
    return short(value, _MOST_LETTERS)


# -- of rows of a table ------------------------------------------------------------------------------


def lacking(table: pd.DataFrame, values: NDArray[np.float64], column: str, noun: str = "reply") -> str:
    """How many rows are without a number in that column, and how they ended; empty if none is."""
    missing = np.flatnonzero(np.isnan(values))
    if not len(missing):
        return ""
    return (
        f"{len(missing):,} of {count(len(values), noun)} {'has' if len(missing) == 1 else 'have'} no "
        f"{short(column)}{reasons(table, missing)}"
    )


def nothing(table: pd.DataFrame, values: NDArray[np.float64], column: str, noun: str = "reply") -> str:
    """Why there is nothing to draw: no row at all, or none with the number."""
    if not len(table):
        return f"There is no {noun} to draw."
    why = reasons(table, np.arange(len(values)))
    if len(values) == 1:
        return f"The only {noun} has no {short(column)}{why}."
    return f"None of {count(len(values), noun)} has any {short(column)}{why}."


def reasons(table: pd.DataFrame, rows: NDArray[Any]) -> str:
    """How the replies in these rows ended, where the table knows: `` (status: 2 error, 1 cancelled)``."""
    if "status" not in table.columns:
        return ""
    ended = Counter(short(status, 16) for status in table["status"].iloc[rows].dropna())
    said = ", ".join(f"{n:,} {status}" for status, n in ended.most_common(_MOST_ENDINGS))
    return f" (status: {said})" if said else ""
