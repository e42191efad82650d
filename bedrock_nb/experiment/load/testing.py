"""`load_test`: many requests against one target, by a plan, in this process or in those of an executor.

Strategy: arguments become a plan, the plan is run in the event loop of `engine`, the rows become a result. An
executor gets shares of the plan, one for each worker, whose rows come back as they are: a load test is over
in minutes, and a share that is lost is lost load, which nothing makes up for. So the result says so, and
keeps what the others have.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bedrock_nb import __version__
from bedrock_nb.aio import astream
from bedrock_nb.errors import BedrockNbError, RecordingError, RequestError
from bedrock_nb.experiment import engine
from bedrock_nb.experiment.grid import refuse_misspelt
from bedrock_nb.experiment.load.keeping import Gatherer, Place, place_in
from bedrock_nb.experiment.load.plan import Plan, plan_of
from bedrock_nb.experiment.load.prompts import prompts_of
from bedrock_nb.experiment.load.rows import Rows
from bedrock_nb.experiment.load.running import Pulse, perform
from bedrock_nb.experiment.target import Recipe, opened
from bedrock_nb.experiment.workers import places, spread
from bedrock_nb.folder.progress import PATIENCE_S, is_seen
from bedrock_nb.folder.progress import opened as progress_bar
from bedrock_nb.folder.site import warn

if TYPE_CHECKING:
    from bedrock_nb.experiment.load.result import LoadResult

__all__ = ["apart", "keep", "load_test", "one_client", "run_plan", "run_share"]

#: Arguments of `astream` that are settled: without its events a reply has no numbers.
_SETTLED = {"record": "every reply is measured, and dropped then", "background": "there are no threads"}
#: Shares that began so far apart, seconds, were not at work together as planned.
_APART_S = 1.0
#: Seconds between two looks whether a share is to go on.
_LOOK_S = 0.2


def load_test(
    target: Any,
    prompts: Any,
    *,
    users: float | Sequence[Any] | None = None,
    rate: float | Sequence[Any] | None = None,
    seconds: float | None = None,
    requests: int | None = None,
    arrivals: Literal["poisson", "fixed"] = "poisson",
    think: float | tuple[float, str] = 0.0,
    warmup: float = 0.0,
    limits: Mapping[str, float] | None = None,
    max_in_flight: int | None = None,
    seed: int = 0,
    grace: float = 30.0,
    folder: str | os.PathLike[str] | None = None,
    executor: concurrent.futures.Executor | None = None,
    workers: int | None = None,
    labels: Mapping[str, Any] | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> LoadResult:
    """Put load on a model, and see what becomes of its answers.

    There are two kinds of load. With ``users`` each user asks, waits for the answer to its end, thinks, and
    asks again: a slow service is asked less (a closed loop). With ``rate`` requests start when they are due,
    whatever became of those before (an open loop): as the many users of a service do, who know nothing of
    each other. Then latency is counted from the moment at which a request was due as well
    (``ttft_intended_s``, ``e2e_intended_s``), so that what had to wait on this side is not left out.

    Parameters
    ----------
    target : boto3 bedrock-runtime client, BedrockServer, or function
        A client of `connect` or your own; an embedded server, with the law of its own, which runs meanwhile
        if it did not before; or a responder, round which a server with the default law runs meanwhile.
    prompts : str, list, mapping, pathlib.Path or Lengths
        What is asked: a prompt; several, which are asked in turn, in an order by lot; a file of them
        (``.txt``, ``.jsonl``, ``.csv``); or `Lengths`, which draws them.
    users : int, or list of stages
        Users in a closed loop.
    rate : float, or list of stages
        Starts a second in an open loop. A stage is ``(seconds, level)``, or ``(seconds, (level, level))`` for
        a ramp from one to the other.
    seconds : float, optional
        For how long requests are started. Stages have seconds of their own.
    requests : int, optional
        No more than so many.
    arrivals : {"poisson", "fixed"}
        Whether starts of the open loop come by chance, or evenly.
    think : float or (float, "exponential")
        Seconds that a user thinks between two requests, or the mean of these.
    warmup : float
        Seconds at the begin whose requests do not count; they are in the table, marked.
    limits : mapping, optional
        What a good reply is: ``{"ttft_s": 0.5}``; see `goodput`.
    max_in_flight : int, optional
        In the open loop, no more requests at once than so many. Who has to wait for a place starts late, and
        that counts; who finds none until the run and its grace are over is a cancelled one.
    seed : int
        The same seed gives the same starts, pauses and order of prompts.
    grace : float
        Seconds that replies have to end after the last start; those that have not are cancelled, and counted
        apart.
    folder : path or URL, optional
        Where recordings are kept, as a dataset for `open_dataset`. Otherwise each is dropped when it is
        measured, and memory grows by about 0.8 kB a reply. In a local folder the result is saved as well,
        for `report` and `LoadResult.load`: that of the last test, if there were several.
    executor : concurrent.futures.Executor, optional
        Processes that share the load, as `experiment.workers.processes` makes them; with Dask,
        ``client.get_executor()``. Each makes a client of its own, and has a clock of its own: times of its
        rows are seconds since its share began. An interrupt ends the shares of this machine, and their rows
        are in the result; those on other machines go on to their end, for which a second interrupt does not
        wait.
    workers : int, optional
        How many shares there are, which must run at the same time; by default as many as the executor has
        processes.
    labels : mapping, optional
        Columns for the table.
    progress : bool, optional
        Whether there is a bar; by default on a terminal or in a notebook.
    **settings
        Arguments of `stream` for all requests: ``model``, ``max_tokens``, ``total_timeout`` …

    Returns
    -------
    LoadResult
        Its ``status`` is "interrupted" if you stopped it, and "broken off" if the embedded server or the keys
        were gone in the middle: then it has what came until then.

    Raises
    ------
    RequestError
        An argument that cannot work, found before anything is sent or at the first request.
    CredentialsError, ServerError
        There are no keys, or no embedded server, from the beginning.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> result = nb.load_test(client, "Count from 1 to 5", users=4, requests=8)
    >>> len(result.table)
    8
    """
    for name, why in _SETTLED.items():
        if name in settings:
            raise RequestError(f"A load test has no {name}=: {why}.", remedy="Leave it out.")
    refuse_misspelt(settings, load_test.__kwdefaults__ or ())
    plan = plan_of(
        prompts_of(prompts, seed=seed),
        users=users,
        rate=rate,
        seconds=seconds,
        requests=requests,
        arrivals=arrivals,
        think=think,
        warmup=warmup,
        limits=limits,
        max_in_flight=max_in_flight,
        seed=seed,
        grace=grace,
        labels=labels,
        settings=settings,
    )
    if workers is not None and executor is None:
        raise RequestError(
            "workers= is given without executor=.",
            remedy="Give an executor, such as concurrent.futures.ProcessPoolExecutor(2).",
        )
    from bedrock_nb.experiment.load.result import LoadResult

    with one_client(target) as client:
        plan = plan.against(client)
        rows = run_plan(client, plan, folder=folder, executor=executor, workers=workers, progress=progress)
    result = LoadResult(rows, plan, status=rows.status)
    keep(result, folder)
    return result


@contextmanager
def one_client(target: Any) -> Iterator[Any]:
    """The client of a target, of which there is to be one.

    Raises
    ------
    RequestError
        There are several.
    """
    with opened(target) as clients:
        if len(clients) != 1:
            raise RequestError(
                f"There are {len(clients)} targets; a load test puts load on one.",
                remedy="Call it once for each: each gets all of the load then.",
            )
        yield from clients.values()


def keep(result: LoadResult, folder: str | os.PathLike[str] | None) -> None:
    """Save a result in its folder if that is a local one; what cannot be saved is not lost, but told."""
    if folder is None or "://" in os.fspath(folder):
        return
    try:
        result.save(folder)
    except RecordingError as err:
        result.problems.append(f"The result is not saved. {err.what}")
        warn(result.problems[-1])


def run_plan(
    client: Any,
    plan: Plan,
    *,
    folder: str | os.PathLike[str] | None = None,
    executor: concurrent.futures.Executor | None = None,
    workers: int | None = None,
    progress: bool | None = None,
) -> Rows:
    """Run a plan against a client; arguments as in `load_test`.

    Returns
    -------
    Rows
        Of all workers. What went wrong beside the requests was told in a warning.
    """
    place = None if folder is None else place_in(folder, plan)
    first = plan.prompts.at(0)
    astream(client, first.prompt, **{**plan.settings, **first.settings})  # raises; begins nothing
    pulse = Pulse()
    bar = _Bar(plan, pulse, progress)
    try:
        if executor is None:
            rows = _run(client, plan, place, pulse=pulse, bar=bar)
        else:
            of = _how_many(executor, workers, plan)
            rows = _shared(executor, Recipe.of(client), plan, place, of, bar)
    finally:
        bar.close()
    for problem in rows.problems:
        warn(problem)
    return rows


def run_share(recipe: Recipe, plan: Plan, part: int, of: int, place: Place | None, stop: str = "") -> Rows:
    """Run one share of a plan in a worker process: the entry for executors.

    Once there is a file ``stop``, the share ends and returns what it has; on another machine there is none.

    Raises
    ------
    RequestError
        Another version of this package made the plan.
    """
    planned = plan.versions.get("bedrock_nb", __version__)
    if planned != __version__:
        raise RequestError(
            f"A worker has bedrock_nb {__version__}, and the load is planned by {planned}.",
            remedy="Install the same version where the workers run.",
        )
    return _run(recipe.connect(), plan, place, part=part, of=of, stop=stop)


def _run(
    client: Any,
    plan: Plan,
    place: Place | None,
    *,
    part: int = 0,
    of: int = 1,
    pulse: Pulse | None = None,
    bar: _Bar | None = None,
    stop: str = "",
) -> Rows:
    gatherer = None if place is None else Gatherer(place, part)

    async def main() -> Rows:
        given = None if gatherer is None else gatherer.add
        run = perform(client, plan, part=part, of=of, pulse=pulse, keep=given)
        return await (_until_there(Path(stop), run) if stop else run)

    begin = time.monotonic()
    try:
        rows = engine.run(main, tick=None if bar is None else bar.tick)
    finally:
        if gatherer is not None:
            gatherer.close()
    rows.lasted = time.monotonic() - begin
    if gatherer is not None and gatherer.problem is not None:
        rows.problems.append(gatherer.problem)
    return rows


async def _until_there(stop: Path, run: Coroutine[Any, Any, Rows]) -> Rows:
    """What a run returns, which is cancelled once there is a file of that name."""
    task = asyncio.ensure_future(run)
    with contextlib.suppress(asyncio.CancelledError):  # an interrupt of this process ends it as well
        await asyncio.sleep(0)  # it has begun, and will say itself that it was ended
        while not stop.exists() and not task.done():
            await asyncio.wait({task}, timeout=_LOOK_S)
    task.cancel()
    return await task


# -- several processes -----------------------------------------------------------------------------


def _how_many(executor: concurrent.futures.Executor, workers: int | None, plan: Plan) -> int:
    """So many shares: each has a user at least, and all can run at once.

    Raises
    ------
    RequestError
        More are wanted than the executor has places, as far as that is known.
    """
    if workers is not None and (not isinstance(workers, int) or isinstance(workers, bool) or workers < 1):
        raise RequestError(f"workers is {workers!r:.60}.", remedy="A whole number from 1 is wanted.")
    most = getattr(executor, "_max_workers", None)  # of both executors of Python
    cluster = getattr(executor, "_client", None)  # of Dask's: its client knows the threads of the workers
    if cluster is not None and hasattr(cluster, "nthreads"):
        most = sum(cluster.nthreads().values())
    if workers is not None and isinstance(most, int) and workers > most:
        raise RequestError(
            f"workers is {workers}, and this executor runs {most} at once: the others would come later.",
            remedy=f"Give up to {most}, or an executor with more processes.",
        )
    of = workers or places(executor)
    return min(of, plan.most_users) if plan.loop == "closed" else of


def _shared(
    executor: concurrent.futures.Executor, recipe: Recipe, plan: Plan, place: Place | None, of: int, bar: _Bar
) -> Rows:
    """Rows of all shares; those without are told among its problems. An interrupt ends them early.

    Raises
    ------
    BedrockNbError
        A share failed, or the executor is broken, and there are no rows at all.
    """
    rows, out = Rows(), set(range(of))
    spans: list[tuple[float, float]] = []  # of shares, as this clock has their ends
    folder, halt = Path(tempfile.mkdtemp(prefix="bedrock_nb-")), engine.Halt()
    stop = folder / "stop"
    tasks = ((recipe, plan, part, of, place, str(stop)) for part in range(of))

    async def main() -> None:
        for share in spread(executor, run_share, tasks, stop=lambda: halt.asked):
            if halt.leave:
                return
            if share is not None:
                out.discard(share.number)
                if share.value is None:
                    rows.problems.append(_lost({share.number}, of, share.lost))
                else:
                    now = time.monotonic()
                    spans.append((now - share.value.lasted, now))
                    rows.extend(share.value)
            await halt.look(waiting=share is None)
            if halt.asked:
                stop.touch()

    try:
        engine.run(main, tick=bar.tick)
        shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        halt.asked = halt.leave = True
    except BedrockNbError as err:
        if not rows:
            raise
        rows.problems.append(_lost(out, of, err.what))
    finally:
        if folder.exists():  # some run that nobody waits for, or are about to
            stop.touch()
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if halt.asked:
        if out:
            rows.status = "interrupted"
            why = "nobody waited for it after the interrupt" if halt.leave else "it was not yet begun"
            rows.problems.append(_lost(out, of, why))
        return rows
    if rows.problems and not rows:
        raise BedrockNbError(rows.problems[0], remedy="Look at what the workers log.")
    rows.problems += apart(spans)
    return rows


def apart(spans: Sequence[tuple[float, float]]) -> list[str]:
    """What must be said of shares that did not begin together: nothing, or a sentence.

    Parameters
    ----------
    spans : list of (float, float)
        Begin and end of each. The end is when its rows came here, the begin is so much earlier as the share
        says that it lasted: clocks of workers are not compared.
    """
    begins = [begin for begin, _ in spans]
    late = max(begins) - min(begins)
    said = (
        f"The shares of {len(spans)} workers began up to {late:.1f} s apart, and all tables have them begin "
        "together: there was less load at a time than they say."
    )
    return [said] if late > _APART_S else []


def _lost(shares: set[int], of: int, why: str) -> str:
    """That shares have no rows here, and why."""
    numbers = ", ".join(str(number + 1) for number in sorted(shares))
    many = len(shares) > 1
    return (
        f"Share{'s' * many} {numbers} of {of} {'are' if many else 'is'} lost, so these numbers are of less "
        f"load than planned: {why}"
    ).rstrip(".") + "."


# -- the bar ---------------------------------------------------------------------------------------


class _Bar:
    """tqdm's bar over the seconds of a plan, or over its requests if they end it."""

    def __init__(self, plan: Plan, pulse: Pulse, progress: bool | None) -> None:
        self._pulse, self._by_time = pulse, plan.seconds != float("inf")
        self._total: float = plan.seconds if self._by_time else plan.requests or 0
        if progress is None:
            progress = None if is_seen() else False
        self._wanted, self._begin = progress, time.monotonic()
        self._bar: Any = None

    def tick(self) -> None:
        """Paint what there is to see; called in the thread of the cell."""
        now, pulse = time.monotonic() - self._begin, self._pulse
        if self._bar is None:
            if self._wanted is False or (self._wanted is None and now < PATIENCE_S):
                return
            unit = "s" if self._by_time else "request"
            form = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit}{postfix}"
            self._bar = progress_bar(total=self._total, desc="load", unit=unit, bar_format=form, leave=False)
        self._bar.n = min(self._total, now) if self._by_time else pulse.done
        self._bar.set_postfix_str(self.text())

    def text(self) -> str:
        """What is said behind the bar."""
        pulse = self._pulse
        parts = [f"{pulse.in_flight:,} in flight", f"{pulse.done:,} done", f"{pulse.failed:,} failed"]
        latest = list(pulse.ttft_s)
        if latest:
            parts.append(f"median TTFT {statistics.median(latest):.2f} s")
        return ", ".join(parts) if pulse.began is not None else ""

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
