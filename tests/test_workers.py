"""experiment/workers: cells asked by threads, processes and a cluster, each of them there exactly once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from dataclasses import replace

import pytest

from bedrock_nb import server
from bedrock_nb.errors import BedrockNbError, RequestError
from bedrock_nb.experiment.dataset import begin, label_kinds, open_dataset
from bedrock_nb.experiment.grid import cells
from bedrock_nb.experiment.target import Recipe
from bedrock_nb.experiment.workers import Work, batch_of, do, places, processes, scattered, spread


@pytest.fixture(scope="module")
def asked():
    """Prompts that came to the server, in order; of all tests."""
    return []


@pytest.fixture(scope="module")
def bedrock(asked):
    """A server that answers at once and notes what it was asked."""
    said = server.scripted("Yes, I do.")

    def answer(request):
        asked.append(request.conversation[-1]["content"][0]["text"])
        return said(request)

    with server.BedrockServer(answer, latency=server.Latency.none()) as running:
        yield running


@pytest.fixture
def plan(bedrock, asked, tmp_path):
    """Makes a run of some cells: what is left to ask, and what the workers need for it."""
    asked.clear()
    client = bedrock.client()

    def made(count, repeats=1, folder=None):
        planned = cells([f"prompt {n}" for n in range(count)], repeats=repeats)
        place = str(folder or tmp_path / "set")
        attempt, there = begin(place, "run")
        kinds = label_kinds(cell.labels for cell in planned)
        work = Work({"": Recipe.of(client)}, place, "run", attempt, kinds, concurrency=2)
        known = set(there.keys())
        return work, [cell for cell in planned if cell.key not in known], [cell.key for cell in planned]

    yield made
    client.close()


def ended(run):
    """What ended of a run, without the moments at which nothing did."""
    return [each for each in run if each is not None]


# -- tasks -----------------------------------------------------------------------------------------


def test_few_tasks_are_on_their_way(tmp_path):
    """However many there are: they are taken from their source as others end."""
    taken, go = [], threading.Event()

    def tasks():
        for number in range(1000):
            taken.append(number)
            yield (number,)

    def work(number):
        go.wait()
        return -number

    with ThreadPoolExecutor(4) as pool:
        run = spread(pool, work, tasks(), every=0.001)
        assert next(run) is None
        assert len(taken) == 256
        go.set()
        assert sorted(each.value for each in ended(run)) == sorted(-number for number in range(1000))


def test_who_stops_takes_back_what_has_not_begun():
    """A stop lets end what runs, and whoever leaves the loop waits for nothing."""
    for leave in ("stop", "close"):
        begun, begins, go, over = [], threading.Event(), threading.Event(), threading.Event()

        def work(number, begun=begun, begins=begins, go=go):
            begun.append(number)
            begins.set()
            go.wait()
            return number

        with ThreadPoolExecutor(1) as pool:
            run = spread(pool, work, ((n,) for n in range(9)), stop=over.is_set, every=0.001)
            assert next(run) is None
            begins.wait()
            over.set()
            if leave == "close":
                run.close()
                go.set()
            else:
                assert next(run) is None
                go.set()
                assert [each.number for each in ended(run)] == begun
        assert begun == [0]


def test_a_lost_task_is_told_and_ten_are_an_error():
    """What the executor says of one, while the others go on; then it is no accident."""

    def work(number):
        if number % 2:
            raise OSError(f"worker {number} is gone")
        return number

    with ThreadPoolExecutor(1) as pool:
        found = ended(spread(pool, work, ((n,) for n in range(4))))
        assert [(each.number, each.value) for each in found if not each.lost] == [(0, 0), (2, 2)]
        assert next(each.lost for each in found if each.lost) == "OSError: worker 1 is gone"
        with pytest.raises(BedrockNbError, match="More than 10 tasks were lost"):
            ended(spread(pool, work, ((n,) for n in range(100))))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RequestError("No such model."), "No such model"),
        (ModuleNotFoundError("No module"), "Install bedrock_nb"),
    ],
)
def test_what_each_task_would_say_ends_the_run(error, said):
    """An argument that cannot work, or workers without this package, is told once."""

    def work():
        raise error

    with ThreadPoolExecutor(1) as pool, pytest.raises(RequestError, match=said):
        ended(spread(pool, work, [()] * 100))


def test_an_executor_that_was_shut_down_is_told():
    """It is to be open while it is used."""
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RequestError, match="inside of the with block"):
        ended(spread(pool, print, [()]))


def test_a_pool_that_forks_is_refused():
    """With the way to one that does not."""
    code = (
        "import multiprocessing as m\n"
        "from concurrent.futures import ProcessPoolExecutor as Pool\n"
        "from bedrock_nb.experiment.workers import spread\n"
        "with Pool(1, m.get_context('fork')) as pool:\n"
        "    try: list(spread(pool, abs, [(1,)]))\n"
        "    except ValueError as err: print(err)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "are forked" in said.stdout
    assert "get_context('spawn')" in said.stdout


# -- batches ---------------------------------------------------------------------------------------


def test_threads_ask_every_cell_once(plan, asked):
    """Counts come back, replies are in the folder with their labels."""
    work, left, keys = plan(10, repeats=2)
    with ThreadPoolExecutor(2) as pool:
        found = [each.value for each in ended(scattered(pool, work, left, batch=4))]
    assert sum(done.asked for done in found) == 20
    assert sum(done.failed for done in found) == 0
    assert Counter(asked) == {f"prompt {n}": 2 for n in range(10)}
    there = open_dataset(work.folder)
    assert sorted(there.keys()) == sorted(keys)
    assert there.summary("repeat")["repeat"].value_counts().to_dict() == {1: 10, 2: 10}
    assert {one.status for one in there} == {"complete"}
    usage = [counts for done in found for counts in done.usage.values()]
    assert sum(counts[1] for counts in usage) == there.summary("output_tokens")["output_tokens"].sum() > 0
    assert sum(len(done.ttft_s) for done in found) == 20


@pytest.mark.parametrize(
    ("cells", "workers", "concurrency", "size"),
    [
        (40, 2, 1, 5),
        (10_000, 2, 1, 50),
        (3, 8, 1, 1),
        (40, 2, 8, 8),
        (40, 2, 64, 20),
        (10_000, 2, 64, 64),
        (0, 2, 1, 1),
    ],
)
def test_batches_are_for_all_workers(cells, workers, concurrency, size):
    """Four for each, up to 50 cells long; as many as run at once, where there are so many."""
    assert batch_of(cells, workers, concurrency) == size


def test_executors_say_how_many_they_are():
    """Those of Python and Dask's do; of another there is one for each core."""
    import distributed

    with ThreadPoolExecutor(3) as pool:
        assert places(pool) == 3
    assert places(processes(5)) == 5
    assert places(Executor()) == os.cpu_count()
    options = {"n_workers": 3, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        assert places(client.get_executor()) == 3


def test_a_batch_that_is_there_is_counted_and_not_asked(plan, asked):
    """Who lost the answer of a batch, and asks for it again, pays nothing."""
    work, left, _ = plan(3)
    assert do(work, left) == do(work, left)
    assert len(asked) == 3


def test_a_run_that_was_begun_again_ends_the_earlier_one(plan):
    """Its worker hears that the run is another's now."""
    work, left, _ = plan(2)
    begin(work.folder, "run")
    with pytest.raises(RequestError, match="begun again elsewhere"):
        do(work, left)


def test_workers_of_another_version_ask_nothing(plan, asked):
    """A dataset is written by one version."""
    work, left, _ = plan(1)
    with pytest.raises(RequestError, match="planned by another"):
        do(replace(work, version="another"), left)
    assert not asked


def test_a_failure_is_a_reply_as_any_other(plan, tmp_path):
    """It is written, and counted as failed."""
    work, left, _ = plan(2)
    with server.BedrockServer(
        latency=server.Latency.none(), faults=[None, server.faults.cut(after=2)]
    ) as faulty:
        client = faulty.client()
        found = do(replace(work, recipes={"": Recipe.of(client)}, concurrency=1), left)
        client.close()
    assert (found.asked, found.failed) == (2, 1)
    assert [one.status for one in open_dataset(work.folder)] == ["complete", "incomplete"]


# -- processes -------------------------------------------------------------------------------------


def test_a_killed_process_costs_its_batches_and_the_rest_is_asked_later(plan, asked):
    """The pool is broken; what had ended is there, and a new pool asks only for what is not."""
    work, left, keys = plan(30)
    with processes(2) as pool:
        run = scattered(pool, work, left, batch=1)
        next(each for each in run if each is not None)
        os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
        with pytest.raises(BrokenExecutor, match="goes on where this one stopped"):
            ended(run)
    work, rest, _ = plan(30, folder=work.folder)
    assert 0 < len(rest) < 30
    asked.clear()
    with processes(1) as pool:
        assert sum(each.value.asked for each in ended(scattered(pool, work, rest, batch=5))) == len(rest)
    assert len(asked) == len(rest)
    assert sorted(open_dataset(work.folder).keys()) == sorted(keys)


# -- a cluster -------------------------------------------------------------------------------------


def test_a_cluster_completes_although_a_worker_is_killed(plan, asked):
    """Dask gives the batches of a dead worker to another; each key is there once."""
    import distributed

    work, left, keys = plan(40)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        run = scattered(client.get_executor(), work, left, batch=2)
        next(each for each in run if each is not None)
        os.kill(next(iter(client.run(os.getpid).values())), signal.SIGKILL)
        found = ended(run)
    assert [each.lost for each in found] == [""] * 19
    assert sorted(open_dataset(work.folder).keys()) == sorted(keys)
    assert set(asked) == {f"prompt {n}" for n in range(40)}
