"""A guess against the facts: the line that was predicted over the tokens that came, and numbers side by side.

Strategy: time to first token and pace together are a line of tokens over time, so a guess of both is drawn
where the answer's own steps are. Any other quantity is a dumbbell on a scale of its own: hollow is the guess,
filled the fact. Words and ratios are worked out in `data.guesses`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.plot.canvas import OKABE_ITO, axes, ink, is_dark, one, time_axis
from bedrock_nb.plot.data.guesses import (
    CURVE,
    Guessed,
    Stairs,
    extents,
    facts_of,
    guessed,
    is_curve,
    number,
    round_up,
    stairs,
)
from bedrock_nb.plot.lanes import Lanes, key, prepare
from bedrock_nb.plot.naming import endings
from bedrock_nb.recording import Recording

__all__ = ["guess"]

#: Where a dumbbell's scale begins and ends, as fractions of the axes' width: words stand at both sides.
_SCALE = (0.3, 0.68)
#: For a dumbbell above a curve.
_LANES = 2


def guess(guess: Any, source: Any = None, *, ax: Axes | None = None, **facts: float | None) -> Axes:
    """A guess beside the facts: tokens over time, and any other number on a scale of its own.

    The dashed line is the guess: where it starts is the time to first token, how steep it is the pace. The
    steps are the tokens that came, the exact count shared out by length of text.

    Parameters
    ----------
    guess : Guess or mapping of str to float
        What was guessed, by name; names of `bedrock_nb.metrics.METRICS` have words and units.
    source : Recording, Reply or path, optional
        One recording, of any status: the facts are measured on it. Left out, those that a `Guess` was
        checked against.
    ax : matplotlib Axes, optional
        Where to draw; by default a new figure, 10 inches wide and as high as needed.
    **facts : float
        Facts that no recording has, by name; None where there is none.

    Returns
    -------
    matplotlib Axes
        x is in seconds since the request, y in tokens, if ``ttft_s`` and ``output_tps`` were guessed; else
        both are fractions of the axes. Artists have a gid each: ``line:guess``, ``line:fact``,
        ``start:guess``, ``start:fact``, ``scale:name``, ``guess:name``, ``fact:name``.

    Raises
    ------
    RequestError
        Nothing was guessed, more than one recording, or a fact of something that was not guessed.
    RecordingError
        A path that is not a readable recording.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> ax = nb.plot.guess({"ttft_s": 0.4, "output_tps": 60}, reply)
    """
    values = _values(guess)
    recording, known = _truth(guess, list(values), source, facts)
    rows = guessed(values, known)
    others = [row for row in rows if not is_curve(values) or row.name not in CURVE]
    if ax is None:
        high = 4 + 0.35 * len(others) if is_curve(values) else 1 + 0.5 * len(others)
        ax = plt.subplots(figsize=(10, high), layout="constrained")[1]
    ax = axes(ax)
    title = " ".join(row.said for row in rows if row.name in CURVE or not is_curve(values))
    if not known:
        title = f"A guess: {'; '.join(f'{row.short} {number(row.guess, row.unit)}' for row in rows)}"
    if not is_curve(values):
        return _only_rows(ax, title, others, recording)
    ttft, pace = (row for name in CURVE for row in rows if row.name == name)
    steps = stairs(recording) if recording is not None else None
    return _curve(ax, title, (ttft, pace), others, steps, recording)


def _values(guess: Any) -> dict[str, float]:
    """The numbers of a guess."""
    values = guess if isinstance(guess, Mapping) else getattr(guess, "values", None)
    if not isinstance(values, Mapping):
        raise RequestError(
            f"{kind_of(guess)} is no guess.", remedy='Give an nb.Guess, or a dict such as {"ttft_s": 0.4}.'
        )
    made: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise RequestError(f"The guess of {name!r:.40} is {value!r:.40}; a number is wanted.")
        made[str(name)] = float(value)
    if not made:
        raise RequestError("Nothing was guessed.", remedy='Guess a number, such as {"ttft_s": 0.4}.')
    return made


def _truth(
    guess: Any, names: list[str], source: Any, facts: Mapping[str, float | None]
) -> tuple[Recording | None, dict[str, float | None]]:
    """The recording if there is one, and the facts: of what was given, else those the guess has."""
    if source is None and not facts:
        return getattr(guess, "recording", None), dict(getattr(guess, "facts", {}))
    recording = None if source is None else one(source)
    return recording, facts_of(names, recording, facts)


# -- tokens over time --------------------------------------------------------------------------------


def _curve(
    ax: Axes,
    title: str,
    line: tuple[Guessed, Guessed],
    others: Sequence[Guessed],
    steps: Stairs | None,
    recording: Recording | None,
) -> Axes:
    """The guessed line over the steps that came, and dumbbells above them."""
    ttft, pace = line
    came = steps is not None and len(steps.t) > 0
    end = max([steps.end if steps is not None else 0.0, 1.15 * ttft.guess, 1.15 * (ttft.fact or 0)])
    if not came:
        end = max(end, round_up(2.5 * ttft.guess))
    end = end or 1.0
    high = steps.tokens[-1] if came and steps is not None else 1 + pace.guess * max(0.0, end - ttft.guess)
    time_axis(ax, end, "the request")
    ax.set_ylabel("output tokens so far", loc="bottom")
    top = 1.1 * max(1.0, high)
    lanes = prepare(ax, title, top)
    lanes.tell(_notes((ttft, pace), steps, recording), list(_keys(came)))
    ends = extents(others)
    for row in others:
        _dumbbell(lanes, row, lanes.take(_LANES) + 0.5 * lanes.row, ends[row.name])
    if others:
        lanes.take()
    _draw_guess(ax, ttft.guess, pace.guess, end, top)
    if came and steps is not None:
        _draw_fact(ax, steps)
    lanes.rest(top)
    return ax


def _notes(line: tuple[Guessed, Guessed], steps: Stairs | None, recording: Recording | None) -> Iterator[str]:
    verdicts = [f"{row.short}: {row.verdict}" for row in line if row.fact is not None and row.verdict]
    if all(row.is_close for row in line):
        yield "Well guessed: both are within 10 %."
    elif verdicts:
        yield f"{'. '.join(verdicts)}."
    if recording is not None and (bad := endings([recording])):
        yield bad
    if steps is not None and steps.t and not steps.counted:
        yield "The service's count of tokens never came: steps are drawn at 4 characters a token."


def _keys(came: bool) -> Iterator[Artist]:
    yield key(
        color=_guess_colour(), linestyle="--", linewidth=2, marker="o", markerfacecolor="none", label="guess"
    )
    if came:
        yield key(color=_fact_colour(), linewidth=2, marker="o", markersize=5, label="what came")


def _guess_colour() -> str:
    return OKABE_ITO["vermillion"]


def _fact_colour() -> str:
    return OKABE_ITO["sky" if is_dark() else "blue"]


def _draw_guess(ax: Axes, ttft: float, pace: float, end: float, top: float) -> None:
    """From one token at the guessed start on, as far as there is room."""
    last = min(end, ttft + (top - 1) / pace) if pace else end
    last = max(last, ttft)
    ax.plot(
        [ttft, last],
        [1, 1 + pace * (last - ttft)],
        "--",
        color=_guess_colour(),
        linewidth=2,
        gid="line:guess",
        zorder=4,
    )
    ax.plot(
        [ttft],
        [1],
        "o",
        color=_guess_colour(),
        markerfacecolor=ax.get_facecolor(),
        markersize=8,
        markeredgewidth=2,
        clip_on=False,
        gid="start:guess",
        zorder=5,
    )


def _draw_fact(ax: Axes, steps: Stairs) -> None:
    """Level until the next delta comes, from nothing at the first."""
    t, tokens = list(steps.t), list(steps.tokens)
    ax.plot(
        [t[0], *t],
        [0, *tokens],
        drawstyle="steps-post",
        color=_fact_colour(),
        linewidth=2,
        gid="line:fact",
        zorder=3,
    )
    ax.plot(
        [t[0]],
        [min(1.0, tokens[0])],
        "o",
        color=_fact_colour(),
        markersize=6,
        clip_on=False,
        gid="start:fact",
        zorder=4,
    )


# -- dumbbells ---------------------------------------------------------------------------------------


def _only_rows(ax: Axes, title: str, rows: Sequence[Guessed], recording: Recording | None) -> Axes:
    """Dumbbells alone, with all the room there is."""
    ax.set_xlim(0, 1)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    lanes = prepare(ax, title)
    bad = [endings([recording])] if recording is not None else []
    lanes.tell(
        bad,
        [
            key(**_hollow(), label="guess"),
            key(color=_fact_colour(), linestyle="", marker="o", label="fact"),
        ],
    )
    ax.set_ylim(0, 1)
    height = lanes.floor / len(rows)
    ends = extents(rows)
    for place, row in enumerate(rows):
        _dumbbell(lanes, row, lanes.floor - (place + 0.5) * height, ends[row.name])
    return ax


def _dumbbell(lanes: Lanes, row: Guessed, y: float, ends: tuple[float, float]) -> None:
    """One quantity: its words, a scale with guess and fact on it, and both in words."""
    (low, high), (left, right) = ends, _SCALE

    def at(value: float) -> float:
        return left + (right - left) * (value - low) / (high - low)

    def draw(xs: list[float], what: str, **look: Any) -> None:
        place: dict[str, Any] = {"transform": lanes.ax.transAxes, "gid": f"{what}:{row.name}"}
        lanes.ax.plot(xs, [y] * len(xs), clip_on=False, **place, **look)

    draw([left, right], "scale", color=ink(), alpha=0.35, linewidth=1, zorder=2)
    if row.fact is not None:
        draw([at(row.guess), at(row.fact)], "between", color=ink(), linewidth=3, alpha=0.5, zorder=3)
        draw([at(row.fact)], "fact", color=_fact_colour(), marker="o", markersize=9, linestyle="", zorder=4)
    draw([at(row.guess)], "guess", **_hollow(), markersize=11, zorder=5)
    _write(lanes, row, y, (number(low), number(high)))


def _hollow() -> dict[str, Any]:
    """How a guess is drawn that is a point."""
    colour = _guess_colour()
    return {"color": colour, "marker": "o", "markerfacecolor": "none", "markeredgewidth": 2, "linestyle": ""}


def _write(lanes: Lanes, row: Guessed, y: float, ends: tuple[str, str]) -> None:
    """Its name at the left, the ends of its scale, at the right both numbers and how far they are apart."""
    left, right = _SCALE
    small = lanes.points(math.inf)
    name = lanes.cut(row.short, lanes.width * left - lanes.size(f"  {ends[0]}  ")[0], small)
    room = lanes.width * (1 - right) - lanes.size(f"  {ends[1]}  ")[0]
    said = "\n".join(lanes.cut(line, room, small) for line in (row.both, row.verdict) if line)
    bold: dict[str, Any] = {"gid": f"label:{row.name}", "fontweight": "bold"}
    for x, text, side, look in (
        (0.0, name, "left", bold),
        (left - 0.012, ends[0], "right", {}),
        (right + 0.012, ends[1], "left", {}),
        (1.0, said, "right", {"gid": f"said:{row.name}"}),
    ):
        place: dict[str, Any] = {"transform": lanes.ax.transAxes, "ha": side, "va": "center"}
        lanes.ax.text(x, y, text, fontsize="small", color=ink(), parse_math=False, **place, **look)
