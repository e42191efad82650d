"""A reader of a stream, simulated: where the reader waits for text, and where text waits for the reader.

Strategy: words come at their times, the reader takes them at a steady pace, as a player takes a buffer of
sound: reading begins with the first visible word, goes on while there are unread words, and stands still
where there are none. Waiting and reading are continuous, so every number is exact for this reader. Pure data,
no matplotlib.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bedrock_nb.events import TextDelta
from bedrock_nb.plot.canvas import count, duration
from bedrock_nb.recording import Recording

__all__ = ["ADULT_WPM", "Reading", "read", "words_over_time"]

#: Words per minute that adults read silently, English non-fiction; most are between 175 and 300 (Brysbaert
#: 2019, "How many words do we read per minute? A review and meta-analysis of reading rate", Journal of
#: Memory and Language 109, 104047: 190 studies, 18,573 readers). Fiction: 260.
ADULT_WPM = 238.0

#: Seconds of waiting, all together, that nobody notices: the limit for what seems to be at once (Card,
#: Robertson and Mackinlay 1991).
_UNNOTICED_S = 0.1
#: Seconds of waiting that are written as 0 ms: all that rounding leaves of none.
_NONE_S = 0.0005


class Reading(NamedTuple):
    """How a reader got through a stream.

    ``path`` are the corners of the reader's line: (seconds since the request, words read). ``waits`` are the
    stretches in which the reader stood still for want of text, after the first word. ``ahead`` is the
    greatest number of unread words, and ``ahead_s`` when that was.
    """

    wpm: float
    path: tuple[tuple[float, float], ...]
    waits: tuple[tuple[float, float], ...]
    ahead: float
    ahead_s: float

    @property
    def waited_s(self) -> float:
        """Seconds of all waits after the first word."""
        return sum(end - begin for begin, end in self.waits)

    @property
    def noticed(self) -> bool:
        """Whether these waits are long enough, all together, for a reader to notice."""
        return self.waited_s >= _UNNOTICED_S

    def verdict(self, *, so_far: bool = False) -> str:
        """One sentence: does this reader wait? Of a stream that has no end it speaks of what came."""
        head = f"{'So far, a' if so_far else 'A'} reader at {self.wpm:.4g} words a minute"
        if not self.path:
            return f"{head} gets nothing to read."
        first = f"{head} waits {duration(self.path[0][0])} for the first word"
        if self.waited_s < _NONE_S:
            return f"{first} and never again: a faster pace would not be noticed."
        more = f"{count(len(self.waits), 'more time')}, {duration(self.waited_s)} together"
        if not self.noticed:
            return f"{first} and then never long enough to notice: {more}."
        return f"{first}, then {more}."


def words_over_time(recording: Recording) -> list[tuple[float, int]]:
    """The visible words of an answer: (seconds since the request, words until then) for each text delta.

    A word is what stands between white space. It counts from its first letter on, and a new content block
    begins a new word.
    """
    grown: list[tuple[float, int]] = []
    words = 0
    inside: dict[int | None, bool] = {}  # whether a block's text ends within a word
    for i in recording.content():
        if recording.kind(i) is not TextDelta:
            continue
        text, block = recording.text_of(i), recording.block_of(i)
        words += len(re.findall(r"\S+", text))
        if inside.get(block) and not text[0].isspace():
            words -= 1
        inside[block] = not text[-1].isspace()
        grown.append((recording.times[i], words))
    return grown


def read(words: Sequence[tuple[float, int]], wpm: float) -> Reading:
    """Let a reader follow words as they come.

    Parameters
    ----------
    words : sequence of (float, int)
        When, in seconds, and how many words there are from then on; both never fall.
    wpm : float
        Words a minute, above 0.

    Examples
    --------
    >>> read([(1.0, 2), (5.0, 3)], 60).waits
    ((3.0, 5.0),)
    """
    pace = wpm / 60
    path: list[tuple[float, float]] = []
    waits: list[tuple[float, float]] = []
    now, done, there, ahead, ahead_s = 0.0, 0.0, 0.0, 0.0, 0.0
    for t, total in words:
        if total <= there:
            continue
        if not path:
            path.append((t, 0.0))
        elif done + pace * (t - now) < there:  # still reading when more comes
            done += pace * (t - now)
        else:
            stop = now + (there - done) / pace
            path.append((stop, there))
            done = there
            if t > stop:
                waits.append((stop, t))
                path.append((t, there))
        now, there = t, float(total)
        if there - done > ahead:
            ahead, ahead_s = there - done, t
    if path:
        path.append((now + (there - done) / pace, there))
    return Reading(wpm, tuple(path), tuple(waits), ahead, ahead_s)
