"""A page in Python: it does with a panel's messages what `panel.js` does, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ["Page", "applied"]

_TURN = {"prompt": {"html": "", "text": ""}, "status": "streaming", "can": [], "strip": None}


def applied(shown: dict[str, Any], ops: list[list[Any]]) -> None:
    """Apply ops, as the protocol in `bedrock_nb.panel.document` says, to a State."""
    turns = {turn["id"]: turn for turn in shown["turns"]}
    for name, *rest in ops:
        match name, rest:
            case "turns", [ids]:
                turns = {id: turns.get(id) or {"id": id, **_TURN, "blocks": []} for id in ids}
            case "turn", [id, members]:
                turns[id].update(members)
            case "block", [id, at, members]:
                blocks = turns[id]["blocks"]
                assert 0 <= at <= len(blocks)
                if at == len(blocks):
                    blocks.append({"pieces": []})
                blocks[at].update(members)
            case "blocks", [id, n]:
                assert n <= len(turns[id]["blocks"])
                del turns[id]["blocks"][n:]
            case "piece", [id, at, i, html]:
                pieces = turns[id]["blocks"][at]["pieces"]
                assert 0 <= i <= len(pieces)
                pieces[i:] = [html, *pieces[i + 1 :]]
            case "grow", [id, at, i, keep, html]:
                pieces = turns[id]["blocks"][at]["pieces"]
                units = pieces[i].encode("utf-16-le")
                assert 0 <= 2 * keep <= len(units)
                pieces[i] = units[: 2 * keep].decode("utf-16-le") + html
            case "pieces", [id, at, n]:
                assert n <= len(turns[id]["blocks"][at]["pieces"])
                del turns[id]["blocks"][at]["pieces"][n:]
            case "live", [id, t_s, chunks, tokens]:
                assert id in turns
                assert min(t_s, chunks, tokens) >= 0
            case "state", [members]:
                shown["state"].update(members)
            case "say", [text]:
                assert isinstance(text, str)
            case _:
                raise AssertionError(f"no page knows the op {name!r}")
    shown["turns"] = list(turns.values())


class Page:
    """What one view of a panel shows, and what else it was sent.

    Attributes
    ----------
    shown : dict
        The State of the document, once a snapshot came.
    said, told, copied : list of str
    files : list of (str, str, bytes)
    pictures : list of (int, str, bytes)
    """

    def __init__(self, view: str = "view") -> None:
        self.view = view
        self.shown: dict[str, Any] = {}
        self.number: int | None = None
        self.missed = 0  # messages with ops that did not follow on the last
        self.said: list[str] = []
        self.told: list[str] = []
        self.back = False  # whether the prompt that the last of these is about was not sent
        self.copied: list[str] = []
        self.files: list[tuple[str, str, bytes]] = []
        self.pictures: list[tuple[int, str, bytes]] = []

    def receive(self, content: Mapping[str, Any], buffers: Any = None) -> None:
        """Take a message in, as it comes out of JSON."""
        content = json.loads(json.dumps(content, allow_nan=False))
        if content.get("for", self.view) != self.view:
            return
        match content:
            case {"n": n, "snap": state}:
                self.shown, self.number = state, n
            case {"n": n, "ops": ops}:
                if self.number is None:
                    return
                self.missed += n != self.number + 1
                self.number = n
                self.said += [op[1] for op in ops if op[0] == "say"]
                applied(self.shown, ops)
            case {"copy": text}:
                self.copied.append(text)
            case {"file": name, "type": kind}:
                self.files.append((name, kind, bytes(buffers[0])))
            case {"picture": turn, "alt": words}:
                self.pictures.append((turn, words, bytes(buffers[0])))
            case {"told": text, "back": back}:
                self.told.append(text)
                self.back = back
            case _:
                raise AssertionError(f"no page knows the message {content!r:.200}")

    # -- what stands there -------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Any]:
        """The members of the state."""
        state: dict[str, Any] = self.shown["state"]
        return state

    @property
    def turns(self) -> list[dict[str, Any]]:
        """The turns, oldest first."""
        turns: list[dict[str, Any]] = self.shown["turns"]
        return turns

    @property
    def prompts(self) -> list[str]:
        """What was asked."""
        return [turn["prompt"]["text"] for turn in self.turns]

    def html(self, turn: int = -1) -> str:
        """All HTML of a turn's blocks."""
        return "".join(piece for block in self.turns[turn]["blocks"] for piece in block["pieces"])

    def kinds(self, turn: int = -1) -> list[str]:
        """The kinds of its blocks."""
        return [block["kind"] for block in self.turns[turn]["blocks"]]

    def asks(self) -> list[str]:
        """The keys of the calls that wait for approval."""
        return [block["ask"] for turn in self.turns for block in turn["blocks"] if block["ask"]]
