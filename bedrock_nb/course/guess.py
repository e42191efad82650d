"""A guess that a student makes before the stream runs: sliders, a line to drag, and then the facts.

Strategy: numbers only go to the browser and back. Where the handles stand is one trait, ``_now``, which both
sides write and Python checks; what was said when the first fact came is kept, for a guess after the fact is
none. The page is built from text nodes; words and ratios are made in Python, once, for page and plot.
"""

from __future__ import annotations

import math
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets
from matplotlib.axes import Axes

from bedrock_nb.course.scales import scale
from bedrock_nb.errors import RequestError, close
from bedrock_nb.plot import guess as draw
from bedrock_nb.plot.canvas import one
from bedrock_nb.plot.data.guesses import facts_of, guessed, is_curve, stairs
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Guess"]

_HERE = Path(__file__).parent

#: What is asked for if nothing is said: seconds, and tokens per second.
_DEFAULT = {"ttft_s": 1.0, "output_tps": 20.0}
#: Arguments of `Guess.check` and of the plot.
_TAKEN = ("ax", "guess", "source", "recording")
#: Steps of a staircase that a page is sent at most.
_MOST_STEPS = 400


class Guess(anywidget.AnyWidget):
    """A prediction: the student drags it, the stream runs, `check` shows how near it was.

    Each quantity has a slider; time to first token and pace together are also a line of tokens over time that
    can be dragged. What was guessed when the first fact came is kept: afterwards the handles move, and the
    guess does not. Without a browser a guess stays at its start.

    Parameters
    ----------
    **quantities : float or tuple
        Names of `bedrock_nb.metrics.METRICS` with the number at which the handle starts; the scale is chosen
        about it. Any other name with its range, ``(low, high)`` or ``(low, high, start)``; an end such as
        ``_s``, ``_tps`` or ``_per_s`` is its unit. Left out, ``ttft_s=1`` [s], ``output_tps=20`` [tokens/s].

    Attributes
    ----------
    values : dict of str to float
        What is guessed: where the handles stand, and after `check` where they stood then. Each is an
        attribute of its own, too: ``guess.ttft_s``. Setting one moves its handle.
    facts : dict of str to (float or None)
        What `check` found by now; None where there is no such number.
    recording : Recording or None
        What it was checked against.
    table : DataFrame
        A row for each quantity: ``quantity``, ``guess``, ``fact``, ``unit``, ``ratio`` (guess by fact).

    Raises
    ------
    RequestError
        A name that is no metric without a range, a range without room, a start outside of it.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> guess = nb.Guess(ttft_s=0.4, output_tps=60)
    >>> guess
    <Guess: ttft_s 0.4 s, output_tps 60 tokens/s>
    >>> reply = nb.stream(nb.connect("local", verbose=False), "Count to 5").drain()
    >>> ax = guess.check(reply)
    >>> guess.table.quantity.tolist()
    ['ttft_s', 'output_tps']
    """

    _esm = _HERE / "guess.js"
    _css = _HERE / "guess.css"

    _scales: traitlets.List[Any] = traitlets.List().tag(sync=True)
    _now = traitlets.Dict().tag(sync=True, echo_update=False)  # an echo would come late, amid the next drag
    # After the first fact: what was guessed then, what it was, a sentence on each, and the steps that came.
    _kept = traitlets.Dict().tag(sync=True)
    _facts = traitlets.Dict().tag(sync=True)
    _said = traitlets.Dict().tag(sync=True)
    _stairs = traitlets.Dict().tag(sync=True)

    def __init__(self, **quantities: Any) -> None:
        for name in quantities:
            if not name.isidentifier() or hasattr(type(self), name) or name.startswith("_") or name in _TAKEN:
                raise RequestError(
                    f"{name!r:.40} cannot be the name of a guess.",
                    remedy="Take a name of nb.metrics.METRICS, or one such as answers_per_s.",
                )
        scales = [scale(name, given) for name, given in (quantities or _DEFAULT).items()]
        self.recording: Recording | None = None
        self._by_name = {one["name"]: one for one in scales}
        # The last numbers that were sound: while a page's message is taken in, `_now` already holds its own.
        self._stood = {one["name"]: one["start"] for one in scales}
        super().__init__(_scales=scales, _now=dict(self._stood))
        self.on_msg(self._hear)

    def _hear(self, _: Any, content: Any, buffers: Any) -> None:
        """Take in what a page says, and do not say it back."""
        if isinstance(content, dict) and isinstance(content.get("now"), dict):
            self.set_state({"_now": content["now"]})

    @traitlets.validate("_now")
    def _within(self, proposal: dict[str, Any]) -> dict[str, float]:
        """Of what a page says, or a cell, the numbers of our own quantities, inside of their scales."""
        now = dict(self._stood)
        for name, value in proposal["value"].items():
            known = self._by_name.get(name)
            if known and _is_real(value) and math.isfinite(value):
                now[name] = min(max(float(value), known["low"]), known["high"])
        self._stood = now
        return dict(now)

    @property
    def values(self) -> dict[str, float]:
        """What is guessed, by name."""
        return dict(self._kept or self._now)

    @property
    def facts(self) -> dict[str, float | None]:
        """What is true, by name, as far as it is known."""
        return dict(self._facts)

    def check(self, source: Any = None, /, *, ax: Axes | None = None, **facts: float | None) -> Axes:
        """Show what came beside what was guessed, here and in a plot.

        Parameters
        ----------
        source : Recording, Reply or path, optional
            One recording, of any status: quantities that are metrics are measured on it.
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        **facts : float
            What no recording knows, by name: ``guess.check(answers_per_s=13)``.

        Returns
        -------
        matplotlib Axes
            Of `bedrock_nb.plot.guess`.

        Raises
        ------
        RequestError
            Nothing to check against, more than one recording, or a fact of something that was not guessed.
        RecordingError
            A path that is not a readable recording.
        """
        names = list(self._by_name)
        if source is None and not facts:
            raise RequestError(
                "There is nothing to check the guess against.",
                remedy=f"Give the reply, guess.check(reply), or a fact: guess.check({names[0]}=…).",
            )
        recording = self.recording if source is None else one(source)
        known = facts_of(names, None if source is None else recording, facts)
        self.recording = recording
        merged = {**self._facts, **known}
        with self.hold_sync():  # the page hears all of it at once
            self._kept = self.values
            self._facts = merged
            rows = guessed(self.values, merged)
            self._said = {row.name: row.told for row in rows if row.name in merged}
            if recording is not None and is_curve(names):
                steps = stairs(recording, _MOST_STEPS)
                self._stairs = {"t": list(steps.t), "tokens": list(steps.tokens), "end": steps.end}
        return draw(self, ax=ax)

    def reset(self) -> None:
        """Forget the facts: what the handles say from now on is a new guess."""
        self.recording = None
        with self.hold_sync():
            self._kept, self._facts, self._said, self._stairs = {}, {}, {}, {}

    @property
    def table(self) -> pd.DataFrame:
        """Guess and fact of each quantity, a row each."""
        import pandas as pd

        rows = [
            (row.name, row.guess, row.fact, row.unit, row.ratio) for row in guessed(self.values, self._facts)
        ]
        table = pd.DataFrame(rows, columns=["quantity", "guess", "fact", "unit", "ratio"])
        return table.astype(
            {"quantity": "str", "guess": "float64", "fact": "float64", "unit": "str", "ratio": "float64"}
        )

    def __getattr__(self, name: str) -> Any:
        known = self.__dict__.get("_by_name", {})
        if name in known:
            return self.values[name]
        raise AttributeError(
            f"'Guess' has no attribute {name!r}. {close(name, known)}Guessed: {', '.join(known)}."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        known = self.__dict__.get("_by_name", {})
        if name not in known:
            super().__setattr__(name, value)
            return
        row = known[name]
        if not _is_real(value) or not row["low"] <= value <= row["high"]:
            raise RequestError(
                f"{name} is {value!r:.40}; its scale goes from {row['low']:g} to {row['high']:g}.",
                remedy=f"For a wider one make a new guess: nb.Guess({name}=(0, …)).",
            )
        self._now = {**self._now, name: float(value)}

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._by_name]

    def __repr__(self) -> str:
        said = (
            f"{name} {value:g} {self._by_name[name]['unit']}".rstrip() for name, value in self.values.items()
        )
        return f"<Guess: {', '.join(said)}>"


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
