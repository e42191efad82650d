"""Pictures of pace: how fast answers come, and whether that is fast enough for a reader.

Strategy: `growth` and `reader` say what there is, this module draws it. Each picture shows one quantity over
time, beside one that it is to be compared with: a mean, a reader.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from bedrock_nb.errors import RequestError
from bedrock_nb.metrics import METRICS
from bedrock_nb.plot.canvas import OKABE_ITO, axes, count, duration, ink, one, several, tick, time_axis, tint
from bedrock_nb.plot.captions import captions, moments, write_captions
from bedrock_nb.plot.data.growth import Growth, growth, moving_rate
from bedrock_nb.plot.data.reader import ADULT_WPM, Reading, read, words_over_time
from bedrock_nb.plot.lanes import blank, key, prepare
from bedrock_nb.plot.naming import endings, missing, whose
from bedrock_nb.recording import Recording

__all__ = ["reading_speed", "throughput"]

_WINDOWS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds
_FILLING = "window not full yet"
_STREAM, _READER = OKABE_ITO["blue"], OKABE_ITO["vermillion"]


def throughput(source: Any, *, window_s: float | None = None, ax: Axes | None = None) -> Axes:
    """Tokens per second over time: of one answer since its request, of several together by the wall clock.

    At each moment the picture shows what came in the last ``window_s`` seconds, divided by that time; it is
    exact, not sampled. So the pace of one answer seems to rise within one window after its first content:
    this stretch is hatched. The mean is that of the tables: ``output_tps`` of one answer, and of several all
    their tokens by the time from the first request to the last answer's end.

    Parameters
    ----------
    source : Recording, Reply, path, or a collection of these
        Several are laid beside each other by the wall-clock times of their requests. Tokens are the exact
        numbers, shared out by length of text; where no answer has one, characters are drawn.
    window_s : float, optional
        Length of the window, seconds; by default one that fits the whole and the gaps.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 4 inches.

    Returns
    -------
    matplotlib Axes
        x is in seconds, y in tokens (or characters) per second. Its artists have a gid each: ``rate``,
        ``mean``, ``filling`` …

    Raises
    ------
    RequestError
        A table, a window that is no time, or ``ax`` is something else.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> ax = nb.plot.throughput(reply, window_s=0.2)
    """
    if window_s is not None and not (_is_number(window_s) and window_s > 0):
        raise RequestError(
            f"window_s is {window_s!r}; seconds above 0 are wanted.",
            remedy="Leave it out, and a fitting one is taken.",
        )
    recordings = several(source)
    ax = axes(ax)
    title = f"Throughput over time: {whose(recordings)}"
    grown = [growth(recording) for recording in recordings]
    alone, in_tokens = len(grown) == 1, any(one.per_char for one in grown)
    placed = _placed(recordings, grown)
    came = sorted(
        (at + t, n * (one.per_char or 0.0 if in_tokens else 1.0))
        for at, one in placed
        for t, n in zip(one.times, one.amounts, strict=True)
    )
    times, amounts = [t for t, _ in came], [n for _, n in came]
    if not times or times[-1] <= times[0]:
        return blank(ax, title, _no_pace(recordings, grown, bool(placed)))
    end = max(at + one.end for at, one in placed)
    mean = _own_mean(grown[0], in_tokens) if alone else sum(amounts) / end
    window = window_s or _fitting(grown, end)
    rate = moving_rate(times, amounts, window)
    top = max([*rate.values, mean or 0.0])
    what = "tokens" if in_tokens else "characters"
    blue, red = OKABE_ITO["blue"], OKABE_ITO["vermillion"]
    time_axis(ax, end, "the request" if alone else "the first request")
    ax.set_ylabel(f"{what} per second", loc="bottom")
    lanes = prepare(ax, title, top, whole=False)
    keys: list[Artist] = [
        Patch(color=blue, alpha=0.5, label=f"{what} of the last {duration(window)}, per second")
    ]
    if mean is not None:
        name = f"{'mean' if alone else 'total'} {tick(float(f'{mean:.4g}'))} {what} per second"
        keys.append(key(color=red, linestyle="--", label=name))
    filled = min(times[0] + window, times[-1])
    if alone:  # in the first window there is time before the first content: no pace of the model
        keys.append(Patch(facecolor="none", edgecolor=ink(), alpha=0.4, hatch="///", label=_FILLING))
    lanes.tell([*_said(recordings, placed, in_tokens)], keys)
    if alone:
        write_captions(lanes, [*captions(lanes, moments(recordings[0]))], 2)
    x, y = [times[0], *rate.edges], [0.0, *rate.values]
    ax.plot(x, y, drawstyle="steps-post", color=blue, linewidth=1.4, gid="rate", zorder=3)
    ax.fill_between(x, y, step="post", color=blue, alpha=tint(0.2), linewidth=0, gid="tint")
    if alone:
        ax.axvspan(
            times[0],
            filled,
            0,
            lanes.floor,
            facecolor="none",
            edgecolor=ink(),
            hatch="///",
            alpha=0.25,
            linewidth=0,
            gid="filling",
        )
    if mean is not None:
        span = (times[0], times[-1]) if alone else (0.0, end)
        ax.plot(span, [mean, mean], "--", color=red, linewidth=1.6, gid="mean", zorder=4)
    lanes.rest(top)
    return ax


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _placed(recordings: Sequence[Recording], grown: Sequence[Growth]) -> list[tuple[float, Growth]]:
    """Those that can stand on one time axis, and when each was asked, seconds since the first request."""
    if len(grown) == 1:
        return [(0.0, grown[0])]
    anchored = [
        (recording.started, one)
        for recording, one in zip(recordings, grown, strict=True)
        if recording.started is not None and _is_number(recording.started)
    ]
    first = min((started for started, _ in anchored), default=0.0)
    return [(started - first, one) for started, one in anchored]


def _fitting(grown: Sequence[Growth], end: float) -> float:
    """A window in which something comes nearly always, and which is still short against the whole."""
    longest = max((gap for one in grown for gap in one.facts.gaps), default=0.0)
    wanted = max(end / 25, min(2 * longest, end / 10))
    return next((window for window in _WINDOWS if window >= wanted), _WINDOWS[-1])


def _own_mean(one: Growth, in_tokens: bool) -> float | None:
    """Pace of one answer after its first content: that of the tables, or of characters in the same way."""
    if in_tokens:
        pace = METRICS["output_tps"].compute(one.facts)
        return None if pace is None else float(pace)
    return None if one.facts.resumed else sum(one.amounts[1:]) / (one.times[-1] - one.times[0])


def _no_pace(recordings: Sequence[Recording], grown: Sequence[Growth], placed: bool) -> str:
    if not any(one.times for one in grown):
        return missing(recordings, "content")
    if not placed:
        return "No reply has a wall-clock time: what came at the same time is not known."
    return "All content came at one moment: there is no pace to draw."


def _said(
    recordings: Sequence[Recording], placed: Sequence[tuple[float, Growth]], in_tokens: bool
) -> Iterator[str]:
    of = f"of {len(recordings):,} replies"
    if in_tokens:
        said = "Tokens: the exact number of each reply, shared out by length of text."
        unknown = sum(one.per_char is None for _, one in placed)
        yield f"{said} Not counted, number unknown: {unknown:,} {of}." if unknown else said
    else:
        yield "Missing: the number of tokens; characters are drawn in their place."
    if len(placed) < len(recordings):
        yield f"Not drawn, no wall-clock time: {len(recordings) - len(placed):,} {of}."
    if problems := endings(recordings):
        yield problems


# -- a reader ----------------------------------------------------------------------------------------


def reading_speed(source: Any, *, wpm: float = ADULT_WPM, ax: Axes | None = None) -> Axes:
    """Is the stream fast enough to read along? The words that came, against a reader at a steady pace.

    The reader begins with the first visible text and stands still where the text has not come yet: these
    waits are shaded, unless all of them together are too short to notice (below 0.1 s). Where the stream runs
    ahead, more speed is lost on this reader. Reasoning and the input of tools are not read.

    Parameters
    ----------
    source : Recording, Reply or path
        One recording, of any status.
    wpm : float
        The reader's words per minute. By default 238, what adults read silently in English non-fiction
        (Brysbaert 2019, a review of 190 studies; most readers are between 175 and 300, fiction is read at
        260, aloud it is 183).
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure of 10 by 4 inches.

    Returns
    -------
    matplotlib Axes
        x is in seconds since the request, y in words. Its artists have a gid each: ``stream``, ``reader``,
        ``wait`` …

    Raises
    ------
    RequestError
        Not exactly one recording, a pace that is none, or ``ax`` is something else.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> ax = nb.plot.reading_speed(reply, wpm=300)
    """
    if not (_is_number(wpm) and wpm > 0):
        raise RequestError(
            f"wpm is {wpm!r}; words per minute above 0 are wanted.",
            remedy="Adults read about 238 words of English a minute.",
        )
    recording = one(source)
    ax = axes(ax)
    title = f"Fast enough to read along? {whose([recording])}"
    words = words_over_time(recording)
    if not words or not words[-1][1]:
        return blank(ax, title, missing([recording], "visible text"))
    reading = read(words, wpm)
    top, done = words[-1][1], reading.path[-1][0]
    end = max(done, words[-1][0])
    time_axis(ax, end, "the request")
    ax.set_ylabel("words so far", loc="bottom")
    lanes = prepare(ax, title, top)
    lanes.tell([*_said_of_reading(recording, reading, words)], _reading_keys(reading))
    waits = [(0.0, words[0][0]), *(reading.waits if reading.noticed else ())]
    ax.broken_barh(
        [(begin, stop - begin) for begin, stop in waits],
        (0, lanes.floor),
        transform=ax.get_xaxis_transform(),
        color=_READER,
        alpha=tint(0.18),
        linewidth=0,
        gid="wait",
        zorder=0.5,
    )
    x, y = [words[0][0], *(t for t, _ in words), end], [0, *(n for _, n in words), top]
    ax.plot(x, y, drawstyle="steps-post", color=_STREAM, linewidth=2, gid="stream", zorder=3)
    ax.plot(*zip(*reading.path, strict=True), "--", color=_READER, linewidth=2, gid="reader", zorder=4)
    lanes.rest(top)
    return ax


def _reading_keys(reading: Reading) -> list[Artist]:
    reader = f"reader at {reading.wpm:.4g} words a minute"
    return [
        key(color=_STREAM, linewidth=2, label="words that came"),
        key(color=_READER, linewidth=2, linestyle="--", label=reader),
        Patch(color=_READER, alpha=tint(0.18), label="reader waits"),
    ]


def _said_of_reading(
    recording: Recording, reading: Reading, words: Sequence[tuple[float, int]]
) -> Iterator[str]:
    yield reading.verdict(so_far=recording.status != "complete" or recording.error is not None)
    total = words[-1][1]
    last = next(t for t, n in words if n == total)  # a word counts from its first letter on
    if reading.ahead >= 1:
        yield (
            f"At {duration(reading.ahead_s)} the stream was {count(round(reading.ahead), 'word')} ahead; "
            f"the reader is done {duration(reading.path[-1][0] - last)} after the last of them."
        )
    if _hardly_parted(recording, total):
        yield "Hardly any spaces: in this script words cannot be counted, and the reader is too fast."
    if problems := endings([recording]):
        yield problems


def _hardly_parted(recording: Recording, words: int) -> bool:
    """Whether words are so long that they can be none."""
    return len("".join(recording.text.split())) > 20 * words
