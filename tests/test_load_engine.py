"""The engine of load_test: what starts when, what becomes of every request, and how a run ends."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import pickle
import re
import signal
import socket
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import boto3
import pandas as pd
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

import bedrock_nb as nb
from bedrock_nb.calling import gone
from bedrock_nb.errors import BedrockNbError, RequestError, ServerError
from bedrock_nb.experiment import engine
from bedrock_nb.experiment.load.arrivals import starts
from bedrock_nb.experiment.load.plan import plan_of
from bedrock_nb.experiment.load.prompts import prompts_of
from bedrock_nb.experiment.load.rows import LOAD_COLUMNS, Rows, measured
from bedrock_nb.experiment.load.running import Pulse, perform
from bedrock_nb.experiment.load.testing import apart, run_plan, run_share
from bedrock_nb.experiment.target import Recipe
from bedrock_nb.server import INSTANT, BedrockServer, Latency, echo, faults

QUICK = {"progress": False}


@pytest.fixture(scope="module")
def server():
    """A server that answers at once with the request that it got."""
    with BedrockServer(echo, latency=INSTANT) as server:
        yield server


@pytest.fixture(scope="module")
def client(server):
    """A client of it that asks once."""
    client = server.client(config=Config(retries={"total_max_attempts": 1}))
    yield client
    client.close()


def planned(prompts="Hello", **arguments):
    """A plan of these arguments."""
    return plan_of(prompts_of(prompts), **arguments)


# -- the plan ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Neither users nor rate is given"),
        ({"users": 2, "rate": 2, "seconds": 1}, "Both users and rate"),
        ({"users": 2}, "Nothing says when"),
        ({"users": 2, "seconds": 3, "limits": 0.5}, "limits is 0.5"),
        ({"rate": -1, "seconds": 3}, "rate is -1"),
        ({"users": 2.5, "seconds": 1}, "2.5 users cannot be"),
        ({"users": True, "seconds": 1}, "users is True"),
        ({"users": 0, "seconds": 1}, "nothing would ever be asked"),
        ({"rate": [], "requests": 1}, "nothing would ever be asked"),
        ({"rate": [(1, 2), 3]}, "Stage 2 of rate is 3"),
        ({"rate": [(1, "2")]}, "rate is '2'"),
        ({"rate": [(0, 2)]}, "The length of stage 1 is 0"),
        ({"rate": [(1, 2)], "seconds": 3}, "rate has stages"),
        ({"rate": -1, "seconds": 1}, "rate is -1"),
        ({"rate": 1, "seconds": float("nan")}, "seconds is nan"),
        ({"rate": 1, "requests": 0}, "requests is 0"),
        ({"rate": 1, "seconds": 1, "arrivals": "even"}, 'It is "poisson" or "fixed"'),
        ({"rate": 1, "seconds": 1, "think": 1}, "think= has no use"),
        ({"users": 1, "seconds": 1, "think": (1, "gamma")}, "think is"),
        ({"users": 1, "seconds": 1, "max_in_flight": 3}, "max_in_flight has no use"),
        ({"users": 1, "seconds": 1, "warmup": 1}, "The warm-up of 1 s is the whole run"),
        ({"users": 1, "seconds": 1, "limits": {"ttft": 500}}, "seconds, not in milliseconds"),
        ({"users": 1, "seconds": 1, "labels": {"level": 1}}, "The label 'level' cannot be"),
        ({"users": 1, "seconds": 1, "seed": "a"}, "seed is 'a'"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_words(arguments, said):
    """Each argument that cannot work, and each contradiction, is told before anything is sent."""
    with pytest.raises(RequestError, match=re.escape(said)):
        planned(**arguments)


def test_a_plan_travels():
    """A plan comes out of a pickle as it went in, with full names of limits."""
    plan = planned(["a", "b"], rate=[(10, (0, 4)), (5, 4)], limits={"ttft": 0.5}, labels={"x": 1})
    assert pickle.loads(pickle.dumps(plan)) == plan
    assert [plan.seconds, plan.limits] == [15, {"ttft_s": 0.5}]


# -- the open loop -----------------------------------------------------------------------------------


def test_each_start_of_the_schedule_is_asked_once(client):
    """The open loop asks at the times that were drawn, each once, and counts latency from them."""
    plan = planned(["a", "b", "c"], rate=[(0.3, (50, 150)), (0.3, 150)], warmup=0.1, labels={"heat": 1})
    table = run_plan(client, plan, progress=False).table().sort_values("intended_s")
    schedule = list(starts(plan.stages))
    assert len(table) == len(schedule) > 10
    assert table["intended_s"].tolist() == [start.t for start in schedule]
    assert table["stage"].tolist() == [start.stage for start in schedule]
    assert table["level"].tolist() == [start.level for start in schedule]
    assert table["warmup"].tolist() == [start.t < 0.1 for start in schedule]
    assert table["prompt"].tolist() == [plan.prompts.at(start.number).name for start in schedule]
    assert set(table["status"]) == {"complete"}
    assert set(table["heat"]) == {1}
    assert table["user"].isna().all()
    assert (table["start_lag_s"] > -1e-3).all()
    assert table["start_lag_s"].tolist() == (table["started_s"] - table["intended_s"]).tolist()
    for name in ("ttft", "e2e"):
        expected = table[f"{name}_s"] + table["start_lag_s"]
        assert table[f"{name}_intended_s"].tolist() == expected.tolist()
    assert (table["ended_s"] >= table["started_s"] + table["e2e_s"]).all()


def test_the_open_loop_waits_for_no_reply():
    """Starts come while no reply is at its end; those that have none after the grace are cancelled."""
    with BedrockServer(echo, latency=Latency(ttft=30)) as server:
        plan = planned(rate=100, requests=8, arrivals="fixed", grace=0.0)
        rows = run_plan(server.client(), plan, progress=False)
    table = rows.table()
    assert [len(table), rows.status] == [8, "complete"]
    assert set(table["status"]) == {"cancelled"}
    assert table["failure"].isna().all()


def test_who_finds_no_place_in_time_is_told(client):
    """A run is over after its grace; whoever still waits for a place then is a row, and cancelled."""
    with BedrockServer(echo, latency=Latency(ttft=60)) as slow:
        asked = {"rate": 1000, "seconds": 0.01, "arrivals": "fixed", "max_in_flight": 2, "grace": 0.05}
        result = nb.load_test(slow.client(), "Hello", **asked, **QUICK)
    assert set(result.table["status"]) == {"cancelled"}
    assert [len(result.table), result.table["started_s"].notna().sum()] == [10, 2]
    (row,) = result.stages.to_dict("records")
    assert [row["offered_rps"], row["cancelled"]] == [pytest.approx(1000), 10]
    assert result.seconds[["intended", "starts", "ends"]].sum().tolist() == [10, 2, 2]
    assert "The most that may be in flight, 2, was reached" in result.warnings[0]
    assert not any("began late" in warning for warning in result.warnings)


def test_who_waits_for_a_place_starts_late(client):
    """With fewer places than starts no more are in flight, and the wait is in the latency."""
    with BedrockServer(echo, latency=Latency(ttft=0.05, per_token=0)) as slow:
        plan = planned(rate=1000, requests=6, arrivals="fixed", max_in_flight=2)
        table = run_plan(slow.client(), plan, progress=False).table().sort_values("started_s")
    assert most_in_flight(table) <= 2
    assert table["ttft_intended_s"].iloc[-1] > 0.1 > table["intended_s"].max()


def most_in_flight(table: pd.DataFrame) -> int:
    """How many replies were open at once."""
    steps = sorted([(t, 1) for t in table["started_s"]] + [(t, -1) for t in table["ended_s"]])
    open_, most = 0, 0
    for _, step in steps:
        open_ += step
        most = max(most, open_)
    return most


# -- the closed loop ---------------------------------------------------------------------------------


def test_users_ask_one_after_the_other(client):
    """No more are in flight than users; each waits for its answer; all requests are made, and no more."""
    table = run_plan(client, planned(users=3, requests=20), progress=False).table()
    assert len(table) == 20
    assert set(table["user"]) == {0, 1, 2}
    assert (table["start_lag_s"] == 0).all()
    assert most_in_flight(table) <= 3
    for _, own in table.groupby("user"):
        own = own.sort_values("started_s")
        assert (own["started_s"].to_numpy()[1:] >= own["ended_s"].to_numpy()[:-1]).all()


def test_a_user_comes_when_there_is_room_for_it(client):
    """The second user is only there in the second stage; a run is over when all is asked."""
    plan = planned(users=[(0.1, 1), (60, 2)], requests=40, think=(0.01, "exponential"), seed=3)
    table = run_plan(client, plan, progress=False).table()
    second = table[table["user"] == 1]
    assert len(table) == 40 > len(second) > 0
    assert set(second["stage"]) == {2}
    assert set(second["level"]) == {2.0}
    assert second["started_s"].min() >= 0.1
    assert table["ended_s"].max() < 60


def test_nobody_thinks_when_all_is_asked(client):
    """With the last request the run is over as soon as the replies are, however long users think."""
    plan = planned(users=2, requests=2, think=3600)
    rows = asyncio.run(asyncio.wait_for(perform(client, plan), 20))
    assert [len(rows), rows.status] == [2, "complete"]


# -- what goes wrong ---------------------------------------------------------------------------------


def test_failures_are_rows_of_their_own_kinds(server, client):
    """Whatever becomes of a request, it has a row; its kind is the service's word, or our error."""
    wrong = [
        None,
        faults.refuse(429),
        faults.exception("throttlingException", after=2),
        faults.reset(after=2),
        faults.stall(after=2),
    ]
    with server.fault(wrong):
        plan = planned("Say a few words", users=1, requests=6, settings={"idle_timeout": 0.3})
        table = run_plan(client, plan, progress=False).table()
    assert Counter(table["failure"].dropna()) == {
        "ThrottlingException": 2,
        "ConnectionLost": 1,
        "IdleTimeout": 1,
    }
    assert Counter(table["status"]) == {"complete": 2, "error": 2, "incomplete": 2}
    assert table["e2e_s"].notna().tolist() == (table["status"] == "complete").tolist()


def test_a_connection_that_is_refused_is_a_row():
    """Nobody listens: the requests are made all the same, and failed."""
    with socket.socket() as nobody:
        nobody.bind(("0.0.0.0", 0))  # and does not listen; 127.0.0.1 would be an embedded server
        client = boto3.client(
            "bedrock-runtime",
            endpoint_url=f"http://0.0.0.0:{nobody.getsockname()[1]}",
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}),
        )
        table = run_plan(client, planned(rate=100, requests=3), progress=False).table()
    assert table["failure"].tolist() == ["ConnectionFailed"] * 3
    assert table["ttft_s"].isna().all()


def test_what_is_wrong_with_every_request_is_raised(client):
    """An argument that boto3 refuses, and a client that is none, end the run before it begins to count."""
    with pytest.raises(RequestError):
        nb.load_test(client, "Hello", users=1, requests=3, max_tokens="many", **QUICK)
    with pytest.raises(RequestError, match="cannot be asked"):
        nb.load_test(object(), "Hello", users=1, requests=3, **QUICK)
    for ask in (nb.load_test, nb.saturation):
        with pytest.raises(RequestError, match="Is it the argument seconds="):
            ask(client, "Hello", users=1, second=3)
    with pytest.raises(RequestError, match="record"):
        nb.load_test(client, "Hello", users=1, requests=3, record=False)
    with pytest.raises(RequestError, match="puts load on one"):
        nb.load_test({"a": client, "b": client}, "Hello", users=1, requests=3)
    with pytest.raises(RequestError, match="executor"):
        nb.load_test(client, "Hello", users=1, requests=3, workers=2)


def test_an_interrupt_keeps_what_came(client):
    """The task of a run is cancelled: replies are closed, and its rows are returned."""

    async def interrupted() -> Rows:
        pulse = Pulse()
        task = asyncio.ensure_future(perform(slow.client(), planned(rate=50, seconds=60), pulse=pulse))
        while pulse.in_flight < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        rows = await task
        assert pulse.in_flight == 0
        return rows

    with BedrockServer(echo, latency=Latency(ttft=30)) as slow:
        rows = asyncio.run(interrupted())
    assert rows.status == "interrupted"
    assert set(rows.table()["status"]) == {"cancelled"}


def test_an_interrupt_while_replies_are_closed_keeps_what_came():
    """A second cancellation, or one after the grace, costs no rows."""

    async def interrupted() -> Rows:
        pulse = Pulse()
        task = asyncio.ensure_future(perform(slow.client(), planned(rate=50, seconds=60), pulse=pulse))
        while pulse.in_flight < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        return await task

    with BedrockServer(echo, latency=Latency(ttft=30)) as slow:
        rows = asyncio.run(interrupted())
    assert [len(rows) >= 3, rows.status] == [True, "interrupted"]


def test_who_interrupts_the_cell_gets_what_came():
    """An interrupt in the middle of a run returns the result so far, and says so."""
    asked, over = [], threading.Event()

    def interrupting(request):
        asked.append(request)
        if len(asked) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            over.wait(20)
        return echo(request)

    with BedrockServer(interrupting, latency=INSTANT) as server:
        result = nb.load_test(server.client(), "Hello", users=1, seconds=60, **QUICK)
        over.set()
    assert result.status == "interrupted"
    assert result.table["status"].tolist() == ["complete"] * 3 + ["cancelled"]
    assert "interrupted" in repr(result)


def test_an_interrupt_ends_the_shares_and_keeps_their_rows():
    """The workers of this machine stop; what they have measured is in the result."""
    asked, over = [], threading.Event()

    def interrupting(request):
        asked.append(request)
        if len(asked) == 8:
            os.kill(os.getpid(), signal.SIGINT)
        if len(asked) >= 8:
            over.wait(20)
        return echo(request)

    with BedrockServer(interrupting, latency=INSTANT) as server, ThreadPoolExecutor(2) as executor:
        result = nb.load_test(server.client(), "Hello", users=4, seconds=60, executor=executor, **QUICK)
        over.set()
    assert (result.status, result.problems) == ("interrupted", [])
    assert (result.table["status"] == "complete").sum() >= 4
    assert len(result.table) >= len(asked)  # one may have been cancelled on its way


def test_a_server_that_is_gone_ends_the_run():
    """What came until then stays; requests that would go nowhere are not made."""
    asked = []

    def leaving(request):
        asked.append(request)
        if len(asked) == 5:
            threading.Thread(target=embedded.close).start()
        return echo(request)

    with BedrockServer(leaving, latency=INSTANT) as embedded:
        client = embedded.client(config=Config(retries={"total_max_attempts": 1}))
        with pytest.warns(UserWarning, match="broke off"):
            result = nb.load_test(client, "Hello", users=1, requests=100_000, **QUICK)
        assert result.status == "broken off"
        assert (result.table["status"] == "complete").sum() >= 4
        assert "gone away" in result.warnings[0]
        with pytest.raises(ServerError, match="gone away"):
            nb.load_test(client, "Hello", users=1, requests=100_000, **QUICK)


def test_a_process_without_room_for_sockets_blames_nobody_else(client):
    """That it cannot open one more says nothing of the embedded server."""
    full = EndpointConnectionError(endpoint_url="", error=OSError(errno.EMFILE, "Too many open files"))
    assert gone(client, full) is full
    refused = EndpointConnectionError(endpoint_url="", error=OSError(errno.ECONNREFUSED, "refused"))
    assert isinstance(gone(client, refused), ServerError)


def test_what_nobody_foresaw_ends_the_run(client):
    """An error of ours that is no failure of a request ends the run, and is raised."""

    def full(recording):
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        asyncio.run(perform(client, planned(users=2, seconds=60), keep=full))


# -- shared ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "load", [{"rate": 200, "requests": 12}, {"users": 3, "requests": 12}, {"users": 1, "requests": 12}]
)
def test_shares_are_the_whole_plan(client, load):
    """Two workers make all requests of a plan between them, each once."""
    plan = planned([f"Word {n}" for n in range(12)], **load)
    with ThreadPoolExecutor(2) as executor:
        table = run_plan(client, plan, executor=executor, workers=2, progress=False).table()
    assert sorted(table["prompt"]) == sorted(f"Word {n}" for n in range(12))
    assert set(table["worker"]) <= {0, 1}


def test_each_user_of_several_workers_has_the_same_share_of_the_requests(client):
    """Whoever has two of three users makes two of three requests."""
    with ThreadPoolExecutor(2) as executor:
        rows = run_plan(client, planned(users=3, requests=12), executor=executor, workers=2, progress=False)
    assert rows.table()["worker"].value_counts().to_dict() == {0: 8, 1: 4}


def test_more_shares_than_can_run_at_once_are_refused(client):
    """They would come one after the other, and be counted as if they had run together."""
    with ThreadPoolExecutor(2) as executor, pytest.raises(RequestError, match="runs 2 at once"):
        nb.load_test(client, "Hello", rate=9, requests=9, executor=executor, workers=3, **QUICK)


def test_shares_that_begin_apart_are_told():
    """Also where they did not run at the same time at all; a moment does not matter."""
    assert apart([(10.0, 20.0), (10.4, 20.1)]) == []
    (said,) = apart([(10.0, 20.0), (21.5, 31.0), (12.0, 22.0)])
    assert "The shares of 3 workers began up to 11.5 s apart" in said


def test_a_share_that_is_lost_is_a_warning_of_the_result(server):
    """The other's rows are kept; so is the reason."""
    made, lock = [], threading.Lock()

    def connected():
        with lock:
            made.append(1)
            if len(made) == 3:  # the first is the parent's
                raise OSError("no route")
        return server.client()

    with ThreadPoolExecutor(2) as executor, pytest.warns(UserWarning, match="is lost"):
        result = nb.load_test(connected, "Hello", users=2, requests=4, executor=executor, **QUICK)
    assert len(result.table) == 2
    assert re.fullmatch(
        r"Share [12] of 2 is lost, so these numbers are of less load than planned: OSError: no route\.",
        result.warnings[0],
    )


def test_a_share_of_another_version_is_refused(client):
    """Its rows might mean something else."""
    plan = replace(planned(users=1, requests=1), versions={"bedrock_nb": "0.0.1"})
    with pytest.raises(RequestError, match=r"planned by 0\.0\.1"):
        run_share(Recipe.of(client), plan, 0, 1, None)


def test_if_no_share_can_run_its_reason_is_raised(client):
    """There is no result then."""
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    with pytest.raises(BedrockNbError):
        nb.load_test(client, "Hello", users=1, requests=1, executor=executor, **QUICK)


def test_recordings_are_kept_as_a_dataset(client, tmp_path):
    """With a folder every reply is in it, with its place in the plan as labels."""
    result = nb.load_test(client, "Hello", rate=100, requests=5, folder=tmp_path, labels={"heat": 2}, **QUICK)
    kept = nb.open_dataset(tmp_path)
    assert len(kept) == 5
    assert sorted(kept.summary("request_id")["request_id"]) == sorted(result.table["request_id"])
    one = next(iter(kept))
    assert one.labels["heat"] == 2
    assert one.labels["start_lag_s"] == pytest.approx(one.labels["started_s"] - one.labels["intended_s"])


def test_a_folder_has_the_result_and_who_was_asked(client, tmp_path):
    """So a report of the folder knows the stages, the target, and the versions."""
    result = nb.load_test(client, "Hello", users=1, requests=3, folder=tmp_path, **QUICK)
    again = nb.LoadResult.load(tmp_path)
    assert again.plan == replace(result.plan, prompts=again.plan.prompts)
    assert again.plan.targets == {"": "embedded server"}
    assert again.plan.versions["bedrock_nb"] == nb.__version__
    pd.testing.assert_frame_equal(again.table, result.table)
    page = nb.report(tmp_path).read_text()
    assert "Asked of the embedded server" in page
    assert "measured with" in page


def test_a_folder_that_cannot_be_written_costs_no_rows(client, tmp_path):
    """The run goes on without keeping anything, and says so."""
    (tmp_path / "file").touch()
    with pytest.warns(UserWarning, match="keeps no recordings|is not saved") as warned:
        result = nb.load_test(client, "Hello", users=1, requests=2, folder=tmp_path / "file", **QUICK)
    assert len(result.table) == 2
    for number, said in enumerate(("Worker 0 keeps no recordings", "The result is not saved.")):
        assert result.warnings[number].startswith(said)
        assert any(said in str(one.message) for one in warned)


# -- the loop beside ---------------------------------------------------------------------------------


def test_the_last_tick_sees_the_end():
    """What is painted last is how it ended, even if it ended during the tick before."""
    seen, go = [], threading.Event()

    async def main():
        await asyncio.to_thread(go.wait, 20)
        seen.append("end")

    def tick():
        seen.append("tick")
        go.set()
        for thread in threading.enumerate():
            if thread.name == "bedrock_nb.experiment":
                thread.join(20)

    engine.run(main, tick=tick, every=0.001)
    assert seen == ["tick", "end", "tick"]


def test_what_a_tick_raises_is_raised():
    """After the coroutine was cancelled, and also if that was of no use."""

    async def main():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return "at its end all the same"

    def tick():
        raise ValueError("no room for a bar")

    with pytest.raises(ValueError, match="no room for a bar"):
        engine.run(main, tick=tick)


# -- rows --------------------------------------------------------------------------------------------


def test_rows_are_the_summary_and_more(client):
    """Columns have the values and the types of the summary, whatever came first; rows of two runs join."""
    replies = [nb.stream(client, "Hello", labels={"heat": n, "model": "mine"}).drain() for n in range(2)]
    rows, more = Rows(), Rows()
    for reply in replies:
        row = measured(reply.recording, intended=1.0, started=1.25, ended=2.0)
        rows.add({**row, "level": 2.0})
    more.add({"status": "error", "ended_s": 3.0})
    summary = nb.summary(replies)
    pd.testing.assert_frame_equal(rows.table()[list(summary.columns)], summary)
    twice = pickle.loads(pickle.dumps(rows))
    twice.extend(more)
    table = twice.table()
    assert table.dtypes[list(LOAD_COLUMNS)].map(str).to_dict() == LOAD_COLUMNS
    assert table["status"].tolist() == ["complete", "complete", "error"]
    assert table["start_lag_s"].tolist()[:2] == [0.25, 0.25]
    assert table["ttft_s"].isna().tolist() == [False, False, True]
    assert len(Rows().table().columns) == len(rows.table().columns) - 2


def test_the_bar_tells_how_it_goes(client, capsys):
    """The bar of a run says what is in flight, done and failed, and the median TTFT."""
    nb.load_test(client, "Hello", users=2, requests=5, progress=True)
    assert "0 in flight, 5 done, 0 failed, median TTFT" in capsys.readouterr().err


def test_a_run_leaves_the_process_as_it_was(client):
    """When a run is over, so are its threads; the collector of garbage and the turns are as they were."""

    def state():
        return gc.isenabled(), gc.get_freeze_count(), sys.getswitchinterval()

    threads, before = threading.active_count(), state()
    nb.load_test(client, "Hello", users=2, requests=2, **QUICK)
    assert threading.active_count() <= threads
    assert state() == before
