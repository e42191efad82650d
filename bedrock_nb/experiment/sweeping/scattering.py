"""A sweep in the processes of an executor: what they wrote is what is done.

Strategy: the folder is a dataset, in which the sweep is one run. `workers` asks, batch by batch; here is
counted and painted what comes back. At the end the dataset is looked at: a count may be lost on its way. An
interrupt lets end what runs, for that is paid for; another one does not wait for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any

from bedrock_nb.experiment import engine
from bedrock_nb.experiment.budget import Spent
from bedrock_nb.experiment.dataset import Dataset, begin, label_kinds
from bedrock_nb.experiment.dataset.place import Place
from bedrock_nb.experiment.grid import Cell
from bedrock_nb.experiment.store import FAILED, RECORD
from bedrock_nb.experiment.sweeping.looking import STATUS
from bedrock_nb.experiment.sweeping.plan import record, refuse, said
from bedrock_nb.experiment.sweeping.result import Sweep
from bedrock_nb.experiment.sweeping.running import Shown, bar
from bedrock_nb.experiment.target import Recipe
from bedrock_nb.experiment.workers import USAGE, Work, scattered

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Scattered"]

#: The run of a sweep in its dataset.
RUN = "sweep"


class Scattered:
    """One run with an executor.

    Parameters
    ----------
    clients : mapping of str to client
    planned : list of Cell
    spent : Spent
    folder : path or URL

    Attributes
    ----------
    left : bool
        Whether it was left while batches ran, which write what they bring.
    """

    def __init__(
        self,
        clients: Mapping[str, Any],
        planned: Sequence[Cell],
        spent: Spent,
        folder: str | os.PathLike[str],
    ) -> None:
        self.recipes = {name: Recipe.of(client) for name, client in clients.items()}
        self.planned, self.spent, self.folder = planned, spent, os.fspath(folder)
        self._place, self.left = Place(folder), False

    def ask(
        self,
        executor: Executor,
        plan: Mapping[str, Any],
        *,
        batch: int | None = None,
        concurrency: int = 1,
        progress: bool | None = None,
    ) -> Sweep:
        """Ask what is left; an interrupt takes back what has not begun, and waits for what has.

        Raises
        ------
        RequestError
            In the folder is another sweep, or an argument cannot work.
        BedrockNbError
            The executor is broken.
        """
        known = self._known(plan)
        attempt, found = begin(self.folder, RUN)
        noted = record(known, plan, status="running")
        self._place.write(RECORD, noted)
        there = set(found.keys())
        rest = [cell for cell in self.planned if cell.key not in there]
        kinds = label_kinds(cell.labels for cell in self.planned)
        work = Work(self.recipes, self.folder, RUN, attempt, kinds, concurrency)
        shown = Shown(self.spent, len(there), self._take_up(found) if there else 0)
        status, halt = "interrupted", engine.Halt()

        async def main() -> None:
            run = scattered(executor, work, rest, batch=batch, stop=lambda: halt.asked or self.spent.over())
            for ended in run:
                if ended is not None and ended.value is not None:
                    shown.add(ended.value.asked, ended.value.failed, ended.value.ttft_s)
                    for model, counts in ended.value.usage.items():
                        self.spent.add_counts(model, counts)
                if await halt.look(waiting=ended is None):
                    return

        try:
            with bar(len(self.planned), len(there), progress) as paint:
                engine.run(main, tick=lambda: paint(shown.done, shown.said()))
            if not halt.asked:
                status = f"stopped: {self.spent.over() or 'some batches were lost'}"
        except KeyboardInterrupt:
            self.left = halt.leave = True
        finally:
            made = self._result(status)
            self._place.write(RECORD, record(said(noted), plan, **made.counts))
        return made

    def look(self, plan: Mapping[str, Any]) -> Sweep:
        """How it stands; nothing is asked, and nothing written.

        Raises
        ------
        RequestError
            In the folder is another sweep.
        """
        self._known(plan)
        return self._result(STATUS)

    def _known(self, plan: Mapping[str, Any]) -> dict[str, Any]:
        """What the folder says of itself, if it is of this sweep."""
        known = said(self._place.read(RECORD))
        others = set(Dataset(self._place, RUN).keys()) - {cell.key for cell in self.planned}
        refuse(self._place.name, known, plan, others)
        return known

    def _take_up(self, there: Dataset) -> int:
        """Count what the dataset has already; how many of that failed."""
        table = there.summary(["model", "status", *USAGE])
        for model, rows in table.groupby("model"):
            self.spent.add_counts(str(model), [int(rows[part].sum()) for part in USAGE])
        return int(table["status"].isin(FAILED).sum())

    def _result(self, status: str) -> Sweep:
        there = Dataset(self._place, RUN)
        table = there.summary(["key", "status"])
        done = dict(zip(table["key"], table["status"], strict=True))
        if all(cell.key in done for cell in self.planned):
            status = "complete"
        keys = [cell.key for cell in self.planned if cell.key in done]
        return Sweep(
            self.planned,
            there.recording,
            done,
            status=status,
            folder=self.folder,
            walk=there.recordings,
            table=lambda: _ordered(there.summary(), keys),
        )


def _ordered(table: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """The table of a dataset as one of recordings: in the order of the cells, without columns of its own."""
    return table.set_index("key").loc[list(keys)].drop(columns="run").reset_index(drop=True)
