"""What a load test found: its replies, its seconds, its stages, the knee, and what to be careful about.

Strategy: one table, a row per reply; everything else is worked out from it when it is asked for, so that a
result that was saved says the same as the one that ran. Latencies of stages are counted from the moment at
which a request was meant to begin: in the open loop a reply that had to wait for its start waited for the
service.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bedrock_nb import render
from bedrock_nb.errors import RequestError
from bedrock_nb.experiment.load.bends import THROUGHPUT, Bend, bend
from bedrock_nb.experiment.load.caveats import caveats
from bedrock_nb.experiment.load.levels import Window, goodput_rows, level_rows, warming, windows
from bedrock_nb.experiment.load.plan import Plan
from bedrock_nb.experiment.load.rows import Rows
from bedrock_nb.experiment.load.seconds import FAILED, floats, per_second
from bedrock_nb.metrics.goodput import limits as checked_limits

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from bedrock_nb.plot.data.knee import Knee

__all__ = ["LoadResult"]

#: Columns without which a table is none of a load test.
_WANTED = ("status", "stage", "intended_s", "started_s", "ended_s", "ttft_intended_s", "e2e_intended_s")
#: Columns of the stages that are shown, with their heads, and how a number is written.
_SHOWN = {
    "stage": ("stage", "{:.0f}"),
    "level": ("", "{:,.4g}"),
    "offered_rps": ("as drawn", "{:,.2f}"),
    "replies": ("replies", "{:,.0f}"),
    "failed": ("failed", "{:,.0f}"),
    "requests_per_s": ("replies/s", "{:,.2f}"),
    "in_flight": ("in flight", "{:,.1f}"),
    "ttft_p50_s": ("TTFT p50 [s]", "{:,.3f}"),
    "ttft_p90_s": ("p90 [s]", "{:,.3f}"),
    "e2e_p50_s": ("whole p50 [s]", "{:,.2f}"),
    "goodput_rps": ("good/s", "{:,.2f}"),
}


class LoadResult:
    """The result of a load test.

    Parameters
    ----------
    rows : Rows or pandas.DataFrame
        A row per reply.
    plan : Plan
        What was to be done.
    status : {"complete", "interrupted", "broken off"}
        Whether the run came to its end; the last: keys or the embedded server were gone in the middle.
    settle : float
        Seconds at the begin of each stage that do not count, besides the warm-up of the plan.
    why : str
        Why no more load was tried: of `bedrock_nb.saturation`.
    problems : sequence of str
        What went wrong beside the requests, such as a worker that was lost; those of the rows are added.

    Attributes
    ----------
    plan, status, settle, why, problems
        As given.
    """

    def __init__(
        self,
        rows: Rows | pd.DataFrame,
        plan: Plan,
        *,
        status: str = "complete",
        settle: float = 0.0,
        why: str = "",
        problems: Sequence[str] = (),
    ) -> None:
        self.plan, self.status, self.settle, self.why = plan, status, settle, why
        self.problems = [*(rows.problems if isinstance(rows, Rows) else ()), *problems]
        self._table = rows.table() if isinstance(rows, Rows) else rows
        missing = [name for name in _WANTED if name not in self._table.columns]
        if missing:
            raise RequestError(
                f"This table has no column {missing[0]!r}.",
                remedy="It is not that of a load test: nb.load_test makes one, LoadResult.load reads one.",
            )

    # -- tables --------------------------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """A row per reply: the columns of `bedrock_nb.summary`, labels, and those of a load test.

        ``stage`` and ``level`` (users, or starts a second); ``user`` of the closed loop; ``prompt``;
        ``warmup``: whether it does not count; ``intended_s``, ``started_s`` and ``ended_s`` in seconds since
        the run began (of each worker its own); ``start_lag_s`` = started - intended, 0 in the closed loop;
        ``ttft_intended_s`` and ``e2e_intended_s``: latency from the intended start; ``failure``: its kind.
        """
        return self._table

    @cached_property
    def seconds(self) -> pd.DataFrame:
        """A row per second of the run, its warm-up among them; see `bedrock_nb.plot.seconds`.

        ``second``, ``level`` (as planned), ``intended``, ``starts``, ``ends``, ``in_flight`` (at its end),
        ``complete``, ``failed``, ``cancelled``, ``output_tokens_per_s`` (those of a reply shared out evenly
        from its first to its last), ``ttft_p50_s`` (of the complete replies that were meant to begin in it;
        missing for fewer than two), and one for each kind of failure, such as
        ``failed_ThrottlingException``. Of several workers each counts from its own begin.
        """
        return per_second(self._table, self.plan.stages)

    @cached_property
    def stages(self) -> pd.DataFrame:
        """A row per stage. Its replies are those that were meant to begin in it; the warm-up does not count.

        ``stage``, ``level`` (of a ramp its mean), ``seconds`` that count; ``replies``, ``complete``,
        ``failed`` (error or incomplete), ``cancelled``; ``offered_rps`` (of the open loop: starts a second as
        intended). Of what happened in these seconds: ``requests_per_s``, complete replies that ended, with
        a 95 % interval of ``_low`` and ``_high`` from 20 of them on; ``in_flight``, the mean, and
        ``little_in_flight``, what it would be by Little's law, X times R; ``output_tokens_per_s``. Of its
        complete replies, from the intended start: the percentiles ``ttft_p50_s`` and the like, missing where
        there are too few replies (100 for a p99), and the interval ``ttft_p50_low_s``, ``ttft_p50_high_s``.
        ``goodput_rps`` and ``good_share`` by the limits of the test, see `goodput`; of the open loop
        ``start_lag_p90_s`` and ``start_lag_p99_s``; ``late_p90_s``: for how long this process, being busy,
        may have left bytes unread.

        Rates count ends in the stage's own seconds, and nothing of what ends after it. Until the first
        replies come to their end there are none to count: of 20 starts a second for 3 s, each answered in
        2 s, twenty end in time, and ``requests_per_s`` is 6.7. That is no throughput of the service, but a
        stage too short to come into balance, and `warnings` say so. Give it many times the seconds of a
        reply, and a ``warmup``.
        """
        return level_rows(self._table, self._windows, self.plan.limits, offered=self.plan.loop == "open")

    def goodput(self, **limits: float) -> pd.DataFrame:
        """A row per stage: how many replies were good enough.

        Parameters
        ----------
        **limits : float
            A limit for each metric that counts, as for `bedrock_nb.goodput`: ``ttft_s=0.5``. TTFT and whole
            time are those from the intended start. By default the limits of the test.

        Returns
        -------
        pandas.DataFrame
            ``stage``, ``level``, ``replies``, ``complete``, ``good`` (complete and within all limits),
            ``good_share`` of all replies, ``goodput_rps`` (good ones that ended in the stage, a second), and
            the share that met each limit: ``met_ttft_s``. The share is of the replies that were meant to
            begin in the stage, whenever they ended; the rate is of the ends in its seconds, as those of
            `stages`, and as low in a stage that is too short.

        Raises
        ------
        RequestError
            No limit, or one that is none.
        """
        wanted = checked_limits(**limits) if limits or not self.plan.limits else self.plan.limits
        return goodput_rows(self._table, self._windows, wanted)

    @property
    def failures(self) -> dict[str, int]:
        """How many replies failed in which way, the most frequent first; the warm-up counts, too."""
        failed = self._table[self._table["status"].isin(FAILED)]
        kinds = failed["failure"] if "failure" in failed else failed["status"]
        return dict(Counter(map(str, kinds.dropna())).most_common())

    @property
    def worst_start_lag_s(self) -> float | None:
        """How late the latest request began, seconds; None if there is none."""
        lags = floats(self._table, "start_lag_s")
        return float(np.nanmax(lags)) if np.isfinite(lags).any() else None

    # -- what it means -------------------------------------------------------------------------------

    @property
    def knee(self) -> Knee | None:
        """Where the throughput bends over the levels: the capacity. None if there is no clear knee."""
        return self._bend.knee

    @property
    def knee_interval(self) -> tuple[float, float] | None:
        """A 95 % interval for the level of the knee; None if there is none."""
        low, high = self._bend.low, self._bend.high
        return None if low is None or high is None else (low, high)

    def bend(self, of: str = THROUGHPUT) -> Bend:
        """Where a number bends over the levels, with an interval; see `experiment.load.bends`.

        Parameters
        ----------
        of : str
            ``"requests_per_s"``, or a metric such as ``"ttft_s"``, of which medians are looked at. A ramp has
            no level of its own, and does not count.
        """
        return bend(self._table, [window for window in self._windows if window.stage not in self._ramps], of)

    @cached_property
    def warnings(self) -> list[str]:
        """What to be careful about when these numbers are read; empty if nothing."""
        return [*self.problems, *caveats(self.stages, self._table, self.plan, self.status)]

    def plot(self, ax: Axes | None = None, *, of: str = "ttft_intended_s") -> Axes:
        """The run over its seconds, or a number over load where there were several levels and no ramp.

        `bedrock_nb.plot.seconds` draws it, of this result, or `bedrock_nb.plot.load`.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        of : str
            What to draw over load: a column of `table`, such as a latency; or ``"requests_per_s"``, the
            throughput, whose knee is `knee`.
        """
        from bedrock_nb import plot

        if len({window.level for window in self._windows}) < 2 or self._ramps:
            return plot.seconds(self, ax=ax)
        x = {"closed": "users", "open": "starts a second"}[self.plan.loop]
        if of == THROUGHPUT:
            named = {"level": x, THROUGHPUT: "throughput [replies/s]"}
            return plot.load(self.stages.rename(columns=named), x=x, y=named[of], ax=ax)
        counting = self._table[~warming(self._table)].rename(columns={"level": x})
        return plot.load(counting, x=x, y=of, ax=ax)

    # -- files ---------------------------------------------------------------------------------------

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write the result into a folder: ``load.parquet`` with the table, ``load.json`` with the plan.

        Prompts are not in it, only what stands for them in the table. `load_test` does this by itself if it
        has a folder.

        Raises
        ------
        RecordingError
            They cannot be written.
        """
        from bedrock_nb.experiment.load.keeping import save

        return save(self, folder)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> LoadResult:
        """Read what `save` wrote.

        Raises
        ------
        RecordingError
            It is not there, or cannot be read.
        """
        from bedrock_nb.experiment.load.keeping import load

        return cls(**load(folder))

    # -- how it looks --------------------------------------------------------------------------------

    def __repr__(self) -> str:
        # Of a warning its first words: who wants the reason looks at `warnings`.
        doubts = [re.split(r"[:.] ", text)[0] for text in self.warnings]
        doubts = [doubt for doubt in doubts if doubt != f"The run was {self.status}"]
        said = [*self._told(), *([f"beware: {', '.join(doubts)}"] if doubts else ())]
        return f"<LoadResult: {render.visible('; '.join(said))}>"

    def _repr_html_(self) -> str:
        head, rows = self._shown()
        remarks = (render.remark(text) for text in self.warnings)
        return render.together(
            render.paragraph(f"{'; '.join(self._told())}."), render.table(head, rows), *remarks
        )

    def _told(self) -> Sequence[str]:
        loop = {"closed": "users who wait", "open": "starts by the clock"}[self.plan.loop]
        failed = int(self._table["status"].isin(FAILED).sum())
        told = [f"{_count(len(self._windows), 'stage')} of {loop}", _count(len(self._table), "reply")]
        told += [f"{failed:,} failed"] * bool(failed) + [self.status] * (self.status != "complete")
        if len(self._windows) > 1 and self.knee is not None:
            told.append(str(self._bend))
        return [*told, *([self.why] if self.why else ())]

    def _shown(self) -> tuple[list[str], list[list[str]]]:
        """The stages as a table of plain texts, without the columns that say nothing."""
        named = {**_SHOWN, "level": ("users" if self.plan.loop == "closed" else "starts/s", "{:,.4g}")}
        stages = self.stages
        chosen = {name: look for name, look in named.items() if name == "level" or stages[name].notna().any()}
        if len(stages) == 1:
            del chosen["stage"]
        rows = [
            [look.format(row[name]) if np.isfinite(row[name]) else "" for name, (_, look) in chosen.items()]
            for row in stages.astype("float64").to_dict("records")
        ]
        return [head for head, _ in chosen.values()], rows

    @property
    def _ramps(self) -> set[int]:
        return {stage.number for stage in self.plan.stages if stage.first != stage.last}

    @cached_property
    def _windows(self) -> list[Window]:
        cut = self.status != "complete" or self.plan.requests is not None
        return windows(self._table, self.plan.stages, warmup=self.plan.warmup, settle=self.settle, cut=cut)

    @cached_property
    def _bend(self) -> Bend:
        return self.bend()


def _count(n: int, noun: str) -> str:
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"
