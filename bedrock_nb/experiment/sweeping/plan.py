"""The plan of a sweep in words: what ``sweep.json`` says, for people, reports, and the next run.

Strategy: cells are known by their keys, and what is in a folder by the keys that are there. So nothing is
decided by what stands here; but when another sweep is refused, it says what differs. Two experiments in one
folder, and so in one table, are a mistake mostly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.noting import plain, settings_in_words, versions, where

__all__ = ["in_words", "record", "refuse", "said"]

FORMAT = "bedrock-nb-sweep"
VERSION = 1


def in_words(
    table: Mapping[str, Sequence[Any]],
    clients: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    labels: Mapping[str, Any],
    **more: Any,
) -> dict[str, Any]:
    """The plan in words, all of it JSON.

    Parameters
    ----------
    table : mapping
        Dimension -> its choices, as `grid.dimensions` makes them.
    clients : mapping
        Target -> client.
    settings, labels : mapping
        What is the same for all.
    **more
        Plain values.
    """
    grid = {name: [plain(choice.label) for choice in choices] for name, choices in table.items()}
    if list(clients) == [""]:
        del grid["target"]
    targets = {name: where(client) for name, client in clients.items()}
    return {
        "grid": grid,
        "settings": settings_in_words(settings),
        "labels": plain(labels),
        "targets": targets,
        **more,
    }


def record(known: Mapping[str, Any], plan: Mapping[str, Any], **more: Any) -> bytes:
    """What ``sweep.json`` is to say: when it was begun first, with what, the plan, and ``more``."""
    begun = known.get("begun") or datetime.now(UTC).isoformat(timespec="seconds")
    whole = {"format": FORMAT, "version": VERSION, "begun": begun, "versions": versions(), **plan, **more}
    return json.dumps(whole, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def said(text: bytes | None) -> dict[str, Any]:
    """What a ``sweep.json`` says; nothing if it is none of ours."""
    try:
        found = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == FORMAT else {}


def refuse(name: str, known: Mapping[str, Any], plan: Mapping[str, Any], others: set[str]) -> None:
    """Refuse to write two sweeps to one folder.

    Parameters
    ----------
    name : str
        Of the folder.
    known, plan : mapping
        What its ``sweep.json`` says, and what is to be asked now.
    others : set of str
        Keys of replies that are there and are not asked now.

    Raises
    ------
    RequestError
        There are such replies, or they are kept in another form than now.
    """
    if known and known.get("kept") != plan.get("kept"):
        which = "without" if plan.get("kept") == "dataset" else "with"
        raise RequestError(
            f"The sweep in the folder {name!r} was begun {which} an executor.",
            remedy=f"Go on {which} one, or give this sweep a folder of its own.",
        )
    if others:
        raise RequestError(
            f"The folder {name!r} has {len(others):,} replies of another sweep: {_differences(known, plan)}.",
            remedy="Give this sweep a folder of its own. The same sweep may grow: by more values, and by "
            "more repeats.",
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """In what the plan of a sweep differs from an earlier one, in words."""
    found = []
    for part in ("grid", "settings", "labels"):
        old, new = (plan.get(part) or {} for plan in (before, now))
        for name in dict.fromkeys((*old, *new)):
            if part == "grid" and name in old and name in new:
                lost = [value for value in old[name] if value not in new[name]]
                if lost:
                    found.append(f"{name} {lost[0]!r:.60} is missing now")
            elif old.get(name) != new.get(name):
                how = "is new" if name not in old else "is gone" if name not in new else ""
                found.append(f"{name} {how or f'was {old[name]!r:.60} and is {new[name]!r:.60}'}")
    if (before.get("repeats") or 0) > (now.get("repeats") or 0):
        found.append("there were more repeats")
    return "; ".join(found[:4]) or "what is behind the same names has changed, such as the text of a prompt"
