"""A sweep: every combination of prompts and settings asked, kept as it ends, gone on with after any end.

Strategy: `grid` says what to ask, `target` whom, `store` keeps, `running` asks; here they are put together.
What is finished is asked of the folder and never remembered, so to begin and to go on are one thing. An
interrupt is no accident of a run of hours but its everyday end: the sweep is returned as far as it is.

With an executor, `scattering` does the same with `workers` and a dataset in place of the store.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.experiment.asking import reply_to
from bedrock_nb.experiment.budget import Budget, Spent
from bedrock_nb.experiment.grid import Cell, cells, check_whole, dimensions, refuse_misspelt
from bedrock_nb.experiment.questions import requests
from bedrock_nb.experiment.store import Memory, Store
from bedrock_nb.experiment.sweeping.looking import looked_at
from bedrock_nb.experiment.sweeping.plan import in_words
from bedrock_nb.experiment.sweeping.result import Sweep
from bedrock_nb.experiment.sweeping.running import Run
from bedrock_nb.experiment.target import opened

if TYPE_CHECKING:
    import concurrent.futures

__all__ = ["Sweep", "sweep"]


def sweep(
    target: Any,
    prompts: Any = None,
    *,
    grid: Mapping[str, Any] | None = None,
    repeats: int = 1,
    seed: int = 0,
    warmup: int = 0,
    concurrency: int = 1,
    rate: float | None = None,
    budget: Budget | None = None,
    folder: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    dry_run: bool = False,
    executor: concurrent.futures.Executor | None = None,
    batch: int | None = None,
    labels: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> Sweep:
    """Ask every combination of prompts and settings, several times, and keep every reply.

    Parameters
    ----------
    target : boto3 bedrock-runtime client, BedrockServer, responder, or mapping of such
        Who is asked. Names of a mapping are the label ``target``. An embedded server keeps its law; one that
        does not run is started, and closed at the end. A responder gets a server with the default law. In
        place of a client there may be a function without arguments that makes it.
    prompts : str, Request, list of these, mapping, or pathlib.Path
        What to ask; the label ``prompt`` says which: the mapping's key, or the text, cut short. A path is
        that of a file, as for `load_test`: ``.txt`` (a prompt a line), ``.jsonl`` or ``.csv``, whose prompts
        may have settings of their own.
    grid : mapping, optional
        Setting -> its values: ``{"model": ["nova_lite", "nova_pro"], "temperature": [0, 1]}``. Values that
        are no plain numbers or texts have names: ``{"tools": {"none": None, "weather": [weather]}}``. None is
        "not given". Each setting is a label, but ``model``, which every table has. Names that are given to
        models are the column ``label_model``: compare ``by="label_model"``.
    repeats : int
        How often each combination is asked.
    seed : int
        Of the order: in each repeat all combinations come once, in random order.
    warmup : int
        So many replies are asked for before, and are not kept.
    concurrency : int
        So many replies at once, in this process or in each of the executor's.
    rate : float, optional
        At most so many starts a second.
    budget : Budget, optional
        When it is used up nothing new is asked; what runs comes to its end. Tokens and cost of what the
        folder has already are counted.
    folder : path, optional
        Where each reply is kept as it comes, a file each. The same sweep with the same folder goes on where
        it was ended: nothing that is finished is asked again. With an executor a URL of fsspec, too.
    retry_failed : bool
        Ask again for replies in the folder that failed. By default a failure is a result.
    dry_run : bool
        Check everything, ask nothing and write nothing: ``left`` of the sweep that comes back is what would
        be asked, without what the folder has already.
    executor : concurrent.futures.Executor, optional
        Processes to ask in, of this machine or, with Dask's ``client.get_executor()``, of many. The folder,
        which is needed then, is a dataset of Parquet files: see `open_dataset`.
    batch : int, optional
        Replies that a process of the executor is given together, and writes as one part of the dataset. By
        default so many that each process gets about four batches, but not more than 50, and not fewer than
        run at once in one. How many processes there are is asked of the executors of Python and of Dask; for
        others it is taken to be one for each core of this machine.
    labels : mapping, optional
        Further columns for the summary table.
    progress : bool, optional
        Show a bar with the median time to first token. By default on a terminal and in a notebook.
    **settings
        Settings of `stream` that are the same for all.

    Returns
    -------
    Sweep
        Also when it was interrupted, by Ctrl-C or the Stop button, or ended by its budget: see ``status``.
        Of an executor, the batches that run are waited for then, and what they bring is in it; a second
        interrupt does not wait.

    Raises
    ------
    RequestError
        An argument that cannot work; nothing was asked.
    CapabilityError
        One of the models is known not to be able to do what is asked of it; nothing was asked.
    RecordingError
        The folder cannot be written to.
    CredentialsError, ServerError
        There are no keys, or the embedded server has gone away. What was finished before is in the folder.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> done = nb.sweep(client, "Count to 3", grid={"temperature": [0, 1]}, repeats=2, progress=False)
    >>> done
    <Sweep of 4: 4 finished, complete>
    >>> list(nb.totals(done, by="temperature")["complete"])
    [2, 2]
    """
    refuse_misspelt([*settings, *(grid if isinstance(grid, Mapping) else ())], sweep.__kwdefaults__ or ())
    check_whole("concurrency", concurrency, 1)
    check_whole("warmup", warmup, 0)
    if rate is not None and not (isinstance(rate, Real) and not isinstance(rate, bool) and rate > 0):
        raise RequestError(f"rate is {rate!r:.40}; a number of starts a second above 0 is wanted.")
    if not isinstance(budget, Budget | None):
        raise RequestError(
            f"{kind_of(budget)} is given as the budget.", remedy="Budget(tokens=100_000) is one."
        )
    if not isinstance(labels, Mapping | None):
        raise RequestError(f"labels are of type {type(labels).__name__}.", remedy="For example {'run': 3}.")
    if executor is None and "://" in str(folder):
        raise RequestError(
            f"The folder is a URL: {folder!s:.60}.",
            remedy="Only the processes of an executor write to one: give executor= besides, or a path.",
        )
    if executor is not None:
        _check_scattered(executor, folder=folder, rate=rate, warmup=warmup, retry_failed=retry_failed)
    if isinstance(prompts, Path):
        prompts = requests(prompts, {*settings, *(grid if isinstance(grid, Mapping) else ())})
    with opened(target) as clients:
        table = dimensions(prompts, grid, targets=list(clients))
        planned = cells(
            prompts,
            grid,
            settings,
            repeats=repeats,
            seed=seed,
            targets=list(clients),
            labels=labels,
            table=table,
        )
        _check(planned, clients, budget)
        plan = in_words(
            table,
            clients,
            settings=settings,
            labels=labels or {},
            repeats=repeats,
            seed=seed,
            warmup=warmup,
            cells=len(planned),
            kept="files" if executor is None else "dataset",
        )
        if executor is not None and folder is not None:
            from bedrock_nb.experiment.sweeping.scattering import Scattered  # late: pyarrow

            scatter = Scattered(clients, planned, Spent(budget), folder)
            if dry_run:
                return scatter.look(plan)
            made = scatter.ask(executor, plan, batch=batch, concurrency=concurrency, progress=progress)
            return _told(made, more=scatter.left)
        if dry_run:
            return looked_at(planned, plan, folder, retry_failed=retry_failed)
        place = Memory() if folder is None else Store(folder)
        with place:
            run = Run(clients, planned, Spent(budget), place)
            left = run.take_up(plan, retry_failed=retry_failed)
            try:
                run.ask(left, warmup=warmup, concurrency=concurrency, rate=rate, progress=progress)
            finally:
                found = run.result(plan)
        return _told(found)


def _told(finished: Sweep, *, more: bool = False) -> Sweep:
    """Say in a line how to go on with one that was interrupted; ``more``: some batches may run still."""
    if finished.status == "interrupted":
        how = (
            "the same call goes on"
            if finished.folder is not None
            else "with folder= the same call would go on where it was interrupted"
        )
        still = ", and what the workers are at may come besides" if more else ""
        print(
            f"Interrupted: {len(finished):,} of {len(finished.cells):,} replies are finished{still}; {how}."
        )
    return finished


def _check(planned: Sequence[Cell], clients: Mapping[str, Any], budget: Budget | None) -> None:
    """Refuse what cannot work before anything is asked."""
    if budget is not None:
        budget.check(cell.request.model for cell in planned)
    seen: set[tuple[str, int]] = set()
    for cell in planned:
        if (cell.target, id(cell.request)) in seen:  # repeats share their request
            continue
        seen.add((cell.target, id(cell.request)))
        reply_to(clients[cell.target], cell)


def _check_scattered(executor: Any, **given: Any) -> None:
    """Refuse what cannot be told to other processes."""
    if not hasattr(executor, "submit"):
        raise RequestError(
            f"{kind_of(executor)} is given as the executor.",
            remedy="Give a concurrent.futures.Executor; of a Dask client that is client.get_executor().",
        )
    if given.pop("folder") is None:
        raise RequestError(
            "With an executor a sweep needs a folder.",
            remedy="Its processes write the replies themselves: folder= is a path or URL that all reach.",
        )
    for name, value in given.items():
        if value:
            raise RequestError(
                f"{name}= has no use with an executor: its processes do not know of each other.",
                remedy="Leave it out; concurrency= is for each process. Or leave the executor out.",
            )
