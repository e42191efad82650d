"""A race: one prompt, several models or settings, at the same moment, side by side.

Strategy: every racer is an ordinary reply with the label ``racer``. It is read in the background, so that
its times are true whatever the screen does; `live` paints them all in one cell. A racer that fails stays in
the race with its status: nothing is raised for it, for the others are what one came to see.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, overload

from bedrock_nb import render
from bedrock_nb.errors import BedrockNbError, RequestError, close, kind_of, without_accounts
from bedrock_nb.live import MOST, cancel, live
from bedrock_nb.live.lane import numbered
from bedrock_nb.metrics import METRICS
from bedrock_nb.metrics.formulas import named
from bedrock_nb.reply import Reply
from bedrock_nb.streaming import stream

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["Race", "race"]

#: Arguments of `stream` that are settled: replies are read in the background, and all is kept.
_SETTLED = ("background", "record")
#: Letters of a value in a racer's name.
_LETTERS = 24


class Race(Sequence[Reply]):
    """The replies of a race, in the order of the racers; `bedrock_nb.summary` and all plots take it.

    Attributes
    ----------
    names : tuple of str
        What each racer is called; its recording has it as the label ``racer``.
    """

    def __init__(self, replies: Sequence[Reply]) -> None:
        self._replies = tuple(replies)
        self.names = tuple(str(reply.recording.labels["racer"]) for reply in replies)

    @overload
    def __getitem__(self, index: int) -> Reply: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Reply, ...]: ...
    def __getitem__(self, index: int | slice) -> Reply | tuple[Reply, ...]:
        return self._replies[index]

    def __len__(self) -> int:
        return len(self._replies)

    @property
    def table(self) -> pd.DataFrame:
        """A row per racer, see `bedrock_nb.summary`; the column ``racer`` names it."""
        from bedrock_nb.table import summary  # late: pandas

        return summary(self)

    def winner(self, metric: str = "ttft_s") -> Reply:
        """The reply that is best in one number, of those that are complete.

        Parameters
        ----------
        metric : str
            One of `metrics.METRICS` that says which way is better.

        Raises
        ------
        RequestError
            There is no such metric, it has no better, or no complete reply has it.
        """
        known = named(metric)
        if known is None or not known.better:
            able = [name for name, each in METRICS.items() if each.better]
            raise RequestError(
                f"Nobody wins by {metric!r:.80}.",
                remedy=f"{close(metric, able)}There are: {', '.join(able)}.",
            )
        values = [
            (value, reply)
            for reply in self
            if reply.status == "complete" and (value := reply.metrics[known.name]) is not None
        ]
        if not values:
            raise RequestError(
                f"No complete reply of this race has {known.name}.", remedy="race.table shows what there is."
            )
        pick = min if known.better == "less" else max
        return pick(values, key=lambda each: each[0])[1]

    def plot(self, kind: str = "timeline", **options: Any) -> Axes:
        """Draw the race: by default how the answers grew, each from its own request on.

        Parameters
        ----------
        kind : str
            A plot of `bedrock_nb.plot`: ``"waterfall"`` with ``align="clock"`` has all racers on one clock,
            ``"compare"`` and ``"ecdf"`` have them as conditions.
        **options
            Its arguments besides the replies. ``by`` is the racer, where the plot has conditions.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        RequestError
            There is no such plot, or it shows something else than several replies.

        Examples
        --------
        >>> ax = nb.race(client, "hello", ["nova_micro", "nova_pro"]).plot()  # doctest: +SKIP
        """
        from bedrock_nb import plot  # late: matplotlib

        if kind not in plot.__all__:
            raise RequestError(
                f"There is no plot {kind!r:.80}.",
                remedy=f"{close(kind, plot.__all__)}There are: {', '.join(plot.__all__)}.",
            )
        draw: Callable[..., Axes] = getattr(plot, kind)
        if "by" in inspect.signature(draw).parameters:
            options = {"by": "racer", **options}
        return draw(self, **options)

    def __repr__(self) -> str:
        lines = (f"\n  {name}: {', '.join(filter(None, row))}" for name, *row in self._rows())
        return f"<Race of {len(self)}>{''.join(lines)}"

    def _repr_html_(self) -> str:
        # No times: a saved notebook compares equal when it is run again.
        return render.together(render.table(("racer", "status", "output"), self._rows()))

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for name, reply in zip(self.names, self, strict=True):
            tokens = reply.recording.usage.get("outputTokens")
            yield render.visible(name), reply.status, "" if tokens is None else f"{tokens} tokens"


def race(
    client: Any,
    prompt: Any,
    models: str | Sequence[str] | None = None,
    *,
    settings: Sequence[Mapping[str, Any]] | None = None,
    labels: Mapping[str, Any] | None = None,
    show: bool = True,
    **shared: Any,
) -> Race:
    """Ask several models the same at the same moment, and watch them answer side by side.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
    prompt : str, list or Request
        As for `stream`.
    models : str or list of str
        Model ids or short names, one racer each; one may come twice.
    settings : list of dict, optional
        Variants: arguments of `stream` by name, such as ``[{"temperature": 0}, {"temperature": 1}]``. With
        several models, every model runs with every variant. Up to six racers in all.
    labels : mapping, optional
        Columns for the summary table, of all racers; besides, each has ``racer``.
    show : bool
        Whether `live` shows them. Otherwise they are read to their ends in silence.
    **shared
        Arguments of `stream` for all racers.

    Returns
    -------
    Race
        When all have come to their ends. One that fails does not stop the others, and is not raised: its
        ``status`` says so, and its column on the screen.

    Raises
    ------
    RequestError
        An argument that cannot work, for one racer at least: those that had begun are cancelled.
    KeyboardInterrupt
        All are cancelled; what came is in `bedrock_nb.recordings`.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> finished = nb.race(client, "Count from 1 to 5", ["nova_micro", "nova_pro"], show=False)
    >>> finished.winner("output_tps").status
    'complete'
    """
    racers = _racers(models, settings, shared)
    replies: list[Reply] = []
    try:
        for name, asked in racers:
            own = {**(labels or {}), "racer": name, **asked.pop("labels", {})}
            replies.append(stream(client, prompt, **{**shared, **asked}, labels=own, background=True))
        if show:
            with contextlib.suppress(BedrockNbError):  # a card says so in its column
                live(replies[0], *replies[1:])
        for reply in replies:
            with contextlib.suppress(BedrockNbError):
                reply.drain()
    except BaseException:
        cancel(replies)
        raise
    return Race(replies)


def _racers(models: Any, settings: Any, shared: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Each racer's name, and what it is asked with besides what all are.

    Raises
    ------
    RequestError
        There are none, or too many, or they would be asked with what is settled.
    """
    chosen, variants = _several(models, str), _several(settings, Mapping)
    for what, given, kind in (("models", chosen, str), ("settings", variants, Mapping)):
        for one in given:
            if not isinstance(one, kind):
                raise RequestError(
                    f"{kind_of(one)} is among {what}.",
                    remedy='For example models=["nova_micro", "nova_pro"], settings=[{"temperature": 0}].',
                )
    settled = [name for asked in (shared, *variants) for name in asked if name in _SETTLED]
    if settled:
        raise RequestError(f"A race settles {settled[0]} by itself.", remedy="Leave it out.")
    racers = [
        (_name(model, variant), {**({} if model is None else {"model": model}), **variant})
        for model, variant in product(chosen or [None], variants or [{}])
    ]
    if not 0 < len(racers) <= MOST or not (chosen or variants):
        raise RequestError(
            f"A race is between 1 and {MOST} racers; these are {len(racers) * bool(chosen or variants)}.",
            remedy='Name models=["nova_micro", "nova_pro"], or settings=[{…}, {…}], or both.',
        )
    names = numbered([name for name, _ in racers])
    return [(name, asked) for name, (_, asked) in zip(names, racers, strict=True)]


def _several(given: Any, kind: type) -> list[Any]:
    """All that is given, which may be one, or none; what is no list is checked as one."""
    if given is None:
        return []
    return list(given) if isinstance(given, Iterable) and not isinstance(given, kind) else [given]


def _name(model: str | None, variant: Mapping[str, Any]) -> str:
    """What a racer is called: its model, and what is its own."""
    own = (f"{name} {_plain(value):.{_LETTERS}}" for name, value in variant.items() if name != "labels")
    name: str = without_accounts(", ".join([*([] if model is None else [model]), *own]))
    return name or "default"


def _plain(value: Any) -> str:
    """A value of a setting as text; of a nested one the innermost values."""
    return " ".join(map(_plain, value.values())) if isinstance(value, Mapping) else str(value)
