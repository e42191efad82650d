"""A recording as a film: what there was to see at each of its moments, as columns that a browser can read.

Strategy: every text is sent once, as the whole text of its block; a moment says how much of it had come. So a
film is as long as its recording, whatever is done with it later. Lengths are in UTF-16 units, which is what
JavaScript counts in. Times are seconds since the request.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TypedDict

from bedrock_nb.events import KIND_OF, ToolUseStart
from bedrock_nb.recording import Recording

__all__ = ["Block", "Film", "film", "moments_of"]


class Block(TypedDict):
    """A content block: its kind, a title, and all the text that it ever had."""

    kind: str
    title: str
    text: str


class Film(TypedDict):
    """The moments of a recording, in columns of one length, in order of time.

    ``names`` are the words of the moments, ``name`` the number of each one's; ``block`` is the block that a
    moment adds to, -1 for none, and ``length`` how much of that block's text is there from then on.
    """

    names: list[str]
    t: list[float]
    name: list[int]
    block: list[int]
    length: list[int]
    blocks: list[Block]
    status: str


def film(recording: Recording) -> Film:
    """Take a recording apart into its moments: every mark, every event.

    Parameters
    ----------
    recording : Recording
        Of any status.

    Returns
    -------
    Film
        Half of a surrogate pair, which no browser shows, is U+FFFD.
    """
    moments: list[tuple[float, int, str, int, int]] = [
        (t, -1, name, -1, 0) for name, t in {"request": 0.0, **recording.marks}.items()
    ]
    blocks: list[Block] = []
    places: dict[tuple[int, str], int] = {}
    pieces: list[list[str]] = []
    lengths: list[int] = []
    for i, (t, (_, _, _, event)) in enumerate(zip(moments_of(recording), recording.rows(), strict=False)):
        kind, index = KIND_OF.get(type(event)), recording.block_of(i)
        place = -1
        if kind is not None and index is not None:
            place = places.setdefault((index, kind), len(blocks))
            if place == len(blocks):
                blocks.append({"kind": kind, "title": f"{kind}, block {index}", "text": ""})
                pieces.append([])
                lengths.append(0)
            if isinstance(event, ToolUseStart):
                blocks[place]["title"] = f"tool {event.name}, block {index}"
            text = recording.text_of(i)
            pieces[place].append(text)
            lengths[place] += len(_utf16(text)) // 2
        moments.append((t, i, type(event).__name__, place, lengths[place] if place >= 0 else 0))
    for block, texts in zip(blocks, pieces, strict=True):
        block["title"] = _sound(block["title"])
        block["text"] = _sound("".join(texts))
    # A mark at the moment of an event stands before it, except the end, which nothing comes after.
    moments.sort(key=lambda moment: (moment[2] == "closed" and moment[1] < 0, moment[0], moment[1]))
    names = list(dict.fromkeys(name for _, _, name, _, _ in moments))
    numbers = {name: number for number, name in enumerate(names)}
    return {
        "names": [_sound(name) for name in names],
        "t": [round(t, 6) for t in accumulate((t for t, *_ in moments), max)],
        "name": [numbers[name] for _, _, name, _, _ in moments],
        "block": [block for _, _, _, block, _ in moments],
        "length": [length for *_, length in moments],
        "blocks": blocks,
        "status": recording.status,
    }


def moments_of(recording: Recording) -> list[float]:
    """When each event was there, in order: a file may say that one came before the one before it."""
    return [*accumulate(recording.times, max)]


def _utf16(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass")


def _sound(text: str) -> str:
    """The same number of UTF-16 units; two halves that came in two deltas are one letter again."""
    return _utf16(text).decode("utf-16-le", "replace")
