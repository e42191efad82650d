"""One run of a sweep in this process: what is done, what it used, what the bar shows.

Strategy: the replies run in the loop's thread, the bar is painted in the caller's. What both look at are
counts and a list that only grows. Nobody waits for the bar.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from bedrock_nb.errors import BedrockNbError
from bedrock_nb.experiment import engine
from bedrock_nb.experiment.asking import Pace, ask, ask_all
from bedrock_nb.experiment.budget import Spent
from bedrock_nb.experiment.grid import Cell
from bedrock_nb.experiment.store import ENDS, FAILED, Memory, Store
from bedrock_nb.experiment.sweeping.plan import record, refuse, said
from bedrock_nb.experiment.sweeping.result import Sweep
from bedrock_nb.folder.progress import is_seen
from bedrock_nb.folder.progress import opened as progress_bar
from bedrock_nb.metrics import METRICS, facts
from bedrock_nb.recording import Recording, recordings

__all__ = ["Run", "Shown", "bar"]


class Run:
    """One run.

    Parameters
    ----------
    clients : mapping of str to client
        Target -> who is asked.
    planned : list of Cell
        All of the sweep.
    spent : Spent
        Counts, and says when it is enough.
    place : Store or Memory
        Keeps the replies.

    Attributes
    ----------
    done : dict of str to str
        Key -> how the reply ended.
    warmed : int
        Replies asked for before, to warm up.
    status : str
        As of `Sweep`.
    """

    def __init__(
        self,
        clients: Mapping[str, Any],
        planned: Sequence[Cell],
        spent: Spent,
        place: Memory | Store,
    ) -> None:
        self.clients, self.planned, self.spent, self.place = clients, planned, spent, place
        self.done: dict[str, str] = {}
        self.warmed, self.shown = 0, Shown(spent)
        self.status = "complete"

    def take_up(self, plan: Mapping[str, Any], *, retry_failed: bool = False) -> list[Cell]:
        """Take in what is finished, and say what is left; ``plan`` is in words.

        Raises
        ------
        RequestError
            In the folder is another sweep.
        """
        known, there = said(self.place.told()), self.place.keys
        name = "" if self.place.folder is None else self.place.folder.name
        refuse(name, known, plan, there - {cell.key for cell in self.planned})
        self.place.tell(record(known, plan, status="running"))
        budget = self.spent.budget
        limited = budget.tokens is not None or budget.cost is not None
        for cell in self.planned:
            if cell.key in there and (status := self.place.status(cell.key)) in ENDS:
                if limited:
                    self.spent.add(self.place.load(cell.key))
                if not (retry_failed and status in FAILED):
                    self.done[cell.key] = status
                    self.shown.add(1, status in FAILED, ())
        return [cell for cell in self.planned if cell.key not in self.done]

    def ask(
        self,
        left: Sequence[Cell],
        *,
        warmup: int = 0,
        concurrency: int = 1,
        rate: float | None = None,
        progress: bool | None = None,
    ) -> None:
        """Ask what is left; an interrupt ends it."""
        pace = None if rate is None else Pace(rate)
        warm = [left[n % len(left)] for n in range(warmup)] if left else []

        async def main() -> None:
            await ask_all(warm, self._warm, concurrency=concurrency, pace=pace, over=self.spent.over)
            await ask_all(left, self._one, concurrency=concurrency, pace=pace, over=self.spent.over)

        self.status = "interrupted"
        with bar(len(self.planned), len(self.done), progress) as paint:
            try:
                engine.run(main, tick=lambda: paint(self.shown.done, self.shown.said()))
            except KeyboardInterrupt:
                pass
            else:
                self.status = f"stopped: {self.spent.over() or 'some replies have no end'}"
        if len(self.done) == len(self.planned):
            self.status = "complete"

    def result(self, plan: Mapping[str, Any]) -> Sweep:
        """What came of it; the folder is told how it ended."""
        found = Sweep(
            self.planned,
            self.place.load,
            self.done,
            status=self.status,
            warmup=self.warmed,
            folder=self.place.folder,
        )
        self.place.tell(record(said(self.place.told()), plan, **found.counts))
        return found

    async def _warm(self, cell: Cell) -> None:
        recording = await ask(self.clients[cell.target], cell)
        recordings.discard(recording)
        self.spent.add(recording)
        self.warmed += 1

    async def _one(self, cell: Cell) -> None:
        part, recording = self.place.part(cell.key), None
        try:
            recording = await ask(self.clients[cell.target], cell, journal=part)
        except BedrockNbError:  # nobody was there to fail
            self.place.drop(part)
            raise
        finally:  # cancelled, it may have come to its end all the same
            if self.place.settle(cell.key, part, recording):
                self._note(cell, recording or self.place.load(cell.key))

    def _note(self, cell: Cell, recording: Recording) -> None:
        self.done[cell.key] = recording.status
        self.spent.add(recording)
        ttft = METRICS["ttft_s"].compute(facts(recording))
        self.shown.add(1, recording.status in FAILED, () if ttft is None else (ttft,))


class Shown:
    """What the bar says of a run.

    Parameters
    ----------
    spent : Spent
    done, failed : int
        Replies of earlier runs.
    """

    def __init__(self, spent: Spent, done: int = 0, failed: int = 0) -> None:
        self.done, self.failed, self._spent = done, failed, spent
        self._ttfts: list[float] = []  # in order

    def add(self, done: int, failed: int, ttfts: Iterable[float]) -> None:
        """Count replies, and note their times to first token, in seconds."""
        self.done += done
        self.failed += failed
        for ttft in ttfts:
            bisect.insort(self._ttfts, ttft)

    def said(self) -> str:
        """In words: ``median TTFT 0.31 s, 2 failed, 12,300 tokens``."""
        times, n = self._ttfts, len(self._ttfts)
        parts = [f"median TTFT {(times[(n - 1) // 2] + times[n // 2]) / 2:.2f} s"] if n else []
        parts += [f"{self.failed:,} failed"] if self.failed else []
        return ", ".join([*parts, f"{self._spent.tokens:,} tokens"])


@contextlib.contextmanager
def bar(total: int, done: int, progress: bool | None) -> Iterator[Callable[[int, str], None]]:
    """A bar of tqdm: what the block is given paints how many are done, and a text.

    Parameters
    ----------
    total, done : int
        Replies in all, and those of earlier runs.
    progress : bool, optional
        By default on a terminal and in a notebook.
    """
    if not (is_seen() if progress is None else progress):
        yield lambda n, said: None
        return
    painted = None
    with progress_bar(total=total, initial=done, unit="reply") as shown:

        def paint(n: int, said: str) -> None:
            nonlocal painted
            if painted != (n, said):
                painted = n, said
                shown.set_postfix_str(said, refresh=False)
                shown.update(n - shown.n)
                shown.refresh()

        yield paint
