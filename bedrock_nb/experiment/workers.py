"""An experiment on an engine that is there already: processes of this machine, or a cluster.

Strategy: any `concurrent.futures.Executor` takes functions, so that is all that is asked of one. Cells go out
in batches. A worker makes its clients by their recipes, asks its batch in an event loop of its own, writes
the replies as one part of a dataset and answers with counts: recordings never come back through the parent. A
batch is named by what is in it, so one that runs twice, since its worker was lost, is there once. However
many batches there are, few are on their way at a time.

Clocks of workers are never compared: each times its own replies, and those times are durations.

Processes are to be spawned, not forked: a fork copies locks that threads of the parent hold, and nobody
there ever gives them back. `processes` makes such a pool.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from bedrock_nb import __version__
from bedrock_nb.errors import BedrockNbError, RequestError, also
from bedrock_nb.experiment import engine
from bedrock_nb.experiment.asking import ask, ask_all
from bedrock_nb.experiment.dataset import read_part, write_part
from bedrock_nb.experiment.dataset.place import Place
from bedrock_nb.experiment.grid import Cell, check_whole
from bedrock_nb.experiment.target import Recipe
from bedrock_nb.recording import Recording

__all__ = [
    "BATCH",
    "USAGE",
    "Done",
    "Ended",
    "Work",
    "batch_of",
    "do",
    "places",
    "processes",
    "scattered",
    "spread",
]

T = TypeVar("T")

#: Most cells of a batch, and how many batches there are for each worker at least, unless told otherwise.
BATCH, _EACH = 50, 4
# Tasks that are with the executor at a time: enough for hundreds of workers, and a scheduler does not notice.
_MOST = 256
# So many lost tasks are no accident.
_MOST_LOST = 10
# What a worker reads of its part to count it: of whom, how it ended, its time, the parts of its usage.
USAGE = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_COUNTED = ("model", "status", "ttft_s", *USAGE)
# What a process is that was forked; Windows has none.
_FORKED = getattr(multiprocessing.context, "ForkProcess", ())
_GOES_ON = "The same call goes on where this one stopped."


# -- any tasks on any executor ---------------------------------------------------------------------


class Ended(NamedTuple, Generic[T]):
    """What became of a task.

    Attributes
    ----------
    number : int
        Which one, from 0.
    value : object or None
        What the function returned; None if it is lost.
    lost : str
        Why it is lost; empty if it is not.
    """

    number: int
    value: T | None
    lost: str = ""


def spread(
    executor: Executor,
    function: Callable[..., T],
    tasks: Iterable[tuple[Any, ...]],
    *,
    stop: Callable[[], object] | None = None,
    every: float = 0.1,
    kept: str = "",
) -> Generator[Ended[T] | None, None, None]:
    """Have an executor call a function with each of many arguments, few of them on their way at a time.

    Parameters
    ----------
    executor : concurrent.futures.Executor
    function : function
        Importable by its name in the workers.
    tasks : iterable of tuple
        Arguments of each call; taken as they are needed.
    stop : function, optional
        Whether to stop: then nothing more goes out, what has not begun is taken back, and what runs may end.
    every : float
        Seconds after which it yields None if nothing ended, so that the caller can paint.
    kept : str
        What there is although workers died; for the error message.

    Yields
    ------
    Ended or None
        As they end. Who stops to iterate, by an interrupt or otherwise, takes back what has not begun.

    Raises
    ------
    BedrockNbError
        Of a task; or the executor is broken; or ten tasks were lost.
    RequestError
        The executor was shut down, or its workers cannot import this package.
    """
    numbered = enumerate(tasks)
    running: dict[Future[T], int] = {}
    lost = 0
    try:
        while True:
            if stop is not None and stop():
                numbered = enumerate(())
                running = {future: number for future, number in running.items() if not future.cancel()}
            for number, arguments in islice(numbered, _MOST - len(running)):
                running[_sent(executor, function, arguments, kept)] = number
            if not running:
                return
            done, _ = wait(running, timeout=every, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=running.__getitem__):
                ended = _ended(running.pop(future), future, kept)
                lost += bool(ended.lost)
                if lost > _MOST_LOST:
                    raise BedrockNbError(
                        f"More than {_MOST_LOST} tasks were lost; of the last one the executor says: "
                        f"{ended.lost}.",
                        kept=kept,
                        remedy=f"Look at what the workers log. {_GOES_ON}",
                    )
                yield ended
            if not done:
                yield None
    finally:
        for future in running:
            future.cancel()


def _sent(executor: Executor, function: Callable[..., T], arguments: tuple[Any, ...], kept: str) -> Future[T]:
    try:
        return executor.submit(_called, function, *arguments)
    except BrokenExecutor as err:
        raise _broken(err, kept) from err
    except RuntimeError as err:
        raise RequestError(
            f"The executor takes nothing any more: {err}.",
            kept=kept,
            remedy="Call inside of the with block that opens it. It is not shut down here.",
        ) from err


def _called(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a worker, unless that was forked."""
    if isinstance(multiprocessing.current_process(), _FORKED):
        raise RequestError(
            "The processes of this executor are forked, with the locks that threads of the parent held.",
            remedy="Have them spawned: ProcessPoolExecutor(4, multiprocessing.get_context('spawn')), "
            "or bedrock_nb.experiment.workers.processes(4).",
        )
    return function(*arguments)


def _ended(number: int, future: Future[T], kept: str) -> Ended[T]:
    try:
        return Ended(number, future.result())
    except BedrockNbError:
        raise  # the next task would say the same
    except BrokenExecutor as err:
        raise _broken(err, kept) from err
    except ImportError as err:
        raise RequestError(
            f"The workers cannot import what they need: {err}.",
            remedy=f"Install bedrock_nb {__version__} where they run, with the same Python.",
        ) from err
    except (Exception, CancelledError) as err:  # of the executor, which has its own words
        return Ended(number, None, f"{type(err).__name__}: {err}"[:300])


def _broken(err: BrokenExecutor, kept: str) -> BedrockNbError:
    return also(BedrockNbError, BrokenExecutor)(
        f"A worker process died, and its pool with it: {err}".rstrip("."),
        kept=kept,
        remedy=f"Make a new executor. {_GOES_ON} Processes are mostly killed for want of memory: take fewer. "
        'In a script, what makes processes stands under if __name__ == "__main__".',
    )


def places(executor: Executor) -> int:
    """How many processes or threads an executor has; where it does not say, one for each core is assumed."""
    found: Any = getattr(executor, "_max_workers", None)  # of both executors of Python
    cluster: Any = getattr(executor, "_client", None)  # of Dask's: it knows the workers
    if hasattr(cluster, "nthreads"):
        found = len(cluster.nthreads())
    return found if isinstance(found, int) and found > 0 else os.cpu_count() or 1


def processes(number: int | None = None) -> ProcessPoolExecutor:
    """Make a pool of processes of this machine, for ``executor=``; use it in a ``with`` block.

    They are spawned, leave an interrupt to this process, and end with it, even if it is killed.

    Parameters
    ----------
    number : int, optional
        By default one for each core.
    """
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(number or os.cpu_count(), spawn, initializer=_settle)


def _settle() -> None:
    """Begin a process of the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all
    parent = multiprocessing.parent_process()

    def end() -> None:
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=end, name="bedrock_nb.parent", daemon=True).start()


# -- batches of cells ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """What all batches of a run have in common.

    Attributes
    ----------
    recipes : mapping of str to Recipe
        How to make the client of each target.
    folder : str
        Of the dataset: a path or URL that means the same place to all workers.
    run, attempt : str
        The run, and what `dataset.begin` said it belongs to.
    kinds : mapping of str to str
        Types of the label columns, see `dataset.label_kinds`.
    concurrency : int
        Replies at a time in each batch.
    version : str
        Of this package.
    """

    recipes: Mapping[str, Recipe]
    folder: str
    run: str
    attempt: str
    kinds: Mapping[str, str]
    concurrency: int = 1
    version: str = __version__


class Done(NamedTuple):
    """Counts of a batch that was asked and written.

    Attributes
    ----------
    asked, failed : int
        Replies; those that did not come to be complete.
    ttft_s : tuple of float
        Seconds, of those that have it.
    usage : mapping
        Model id -> tokens: input, output, read from the cache, written to it.
    """

    asked: int
    failed: int
    ttft_s: tuple[float, ...]
    usage: Mapping[str, tuple[int, ...]]


def scattered(
    executor: Executor,
    work: Work,
    cells: Sequence[Cell],
    *,
    batch: int | None = None,
    stop: Callable[[], object] | None = None,
) -> Generator[Ended[Done] | None, None, None]:
    """Have workers ask cells and write the replies; see `spread`, and `batch_of` for ``batch``.

    What the dataset has at the end is the truth: a batch that was taken back may have begun all the same.
    """
    if batch is not None:
        check_whole("batch", batch, 1)
    size = batch_of(len(cells), places(executor), work.concurrency) if batch is None else batch
    rest = iter(cells)
    batches = iter(lambda: list(islice(rest, size)), [])
    kept = "The batches that had ended are in the folder."
    work = replace(work, folder=Place(work.folder).url)  # workers have other working folders
    return spread(executor, do, ((work, each) for each in batches), stop=stop, kept=kept)


def batch_of(cells: int, workers: int, concurrency: int = 1) -> int:
    """How many cells make a batch: some batches for each worker, so that none is idle while others work.

    But not so few that a worker cannot ask as many at once as it is to, where there are so many.
    """
    fair, share = (math.ceil(cells / (workers * each)) for each in (_EACH, 1))
    return max(1, min(BATCH, fair), min(concurrency, share))


def do(work: Work, cells: Sequence[Cell]) -> Done:
    """Ask a batch and write its part, unless the part is there; a worker calls it.

    Raises
    ------
    RequestError
        Another version of this package planned the work, or another attempt has taken the run over.
    RecordingError
        The part cannot be written.
    """
    if work.version != __version__:
        raise RequestError(
            f"A worker has bedrock_nb {__version__}, and the work is planned by {work.version}.",
            remedy="Install the same version where the workers run.",
        )
    keys = [cell.key for cell in cells]
    name = hashlib.sha256(" ".join(keys).encode()).hexdigest()[:16]
    columns = list(_COUNTED)
    rows = read_part(work.folder, run=work.run, name=name, columns=columns)
    if rows is None:
        clients = {target: _client(work, target) for target in {cell.target for cell in cells}}
        recordings = engine.run(lambda: _asked(clients, cells, work))
        where = {"run": work.run, "name": name, "attempt": work.attempt}
        write_part(work.folder, recordings, keys=keys, kinds=work.kinds, **where)
        rows = read_part(work.folder, run=work.run, name=name, columns=columns)
    if rows is None:
        raise RequestError(
            f"The run {work.run!r} was begun again elsewhere, and belongs to who began it last.",
            remedy="Let one of them run to its end, or give each a folder of its own.",
        )
    usage: dict[str, tuple[int, ...]] = {}
    for row in rows:
        counts = usage.get(model := row["model"] or "", (0,) * len(USAGE))
        usage[model] = tuple(n + (row[part] or 0) for n, part in zip(counts, USAGE, strict=True))
    failed = sum(row["status"] != "complete" for row in rows)
    times = tuple(row["ttft_s"] for row in rows if row["ttft_s"] is not None)
    return Done(len(rows), failed, times, usage)


async def _asked(clients: Mapping[str, Any], cells: Sequence[Cell], work: Work) -> list[Recording]:
    """The recordings of a batch, in the order of its cells."""
    made: dict[str, Recording] = {}

    async def one(cell: Cell) -> None:
        made[cell.key] = await ask(clients[cell.target], cell)

    await ask_all(cells, one, concurrency=work.concurrency)
    return [made[cell.key] for cell in cells]


# Clients of the attempt that this process worked for last: to make one takes longer than most replies.
_clients: dict[tuple[str, str], Any] = {}
_making = threading.Lock()


def _client(work: Work, target: str) -> Any:
    with _making:
        for known in [known for known in _clients if known[0] != work.attempt]:
            del _clients[known]
        if (work.attempt, target) not in _clients:
            _clients[work.attempt, target] = work.recipes[target].connect()
        return _clients[work.attempt, target]
