"""sweep: all combinations asked and kept, gone on with after any end, stopped by budgets and interrupts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import bedrock_nb as nb
from bedrock_nb.errors import (
    AccessDeniedError,
    CredentialsError,
    RecordingError,
    RequestError,
    ServerError,
)
from bedrock_nb.experiment.asking import Pace, ask_all
from bedrock_nb.experiment.budget import Spent
from bedrock_nb.experiment.grid import cells
from bedrock_nb.experiment.store import Store
from bedrock_nb.experiment.sweeping.plan import said
from bedrock_nb.experiment.sweeping.running import Shown
from bedrock_nb.experiment.target import Recipe, opened
from bedrock_nb.server import INSTANT, BedrockServer, Latency, echo
from tests.chatting import in_thread, wait_for

GRID = {"temperature": [0, 1], "max_tokens": [5, 6]}
CUT = "us.amazon.nova-lite-v1:0@end:after=2"
WEATHER = {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}


class Asked:
    """A responder that answers with the request that it got, and counts."""

    def __init__(self):
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        return echo(request)


@pytest.fixture(scope="module")
def served():
    """What a server was asked, and a client of it."""
    asked = Asked()
    with BedrockServer(asked, latency=INSTANT) as server:
        client = server.client()
        yield asked, client
        client.close()


@pytest.fixture
def asked(served):
    """What the server was asked in this test."""
    served[0].requests.clear()
    return served[0].requests


@pytest.fixture
def client(served):
    """A client of it."""
    return served[1]


def keys(folder):
    """The finished replies in a folder, each as often as it is there."""
    return Counter(path.stem for path in (folder / "replies").glob("*.jsonl"))


def reached(folder, many):
    """Whether so many replies are finished."""
    return len(keys(folder)) >= many


def test_a_sweep_is_a_source_for_tables(client, asked):
    """A reply for each cell, in order, with its labels; what takes recordings takes the sweep."""
    labels = {"run": 3, "tags": ["a", "b"]}
    done = nb.sweep(client, ["Hello", "<b>Hi"], grid=GRID, repeats=2, concurrency=4, labels=labels)
    assert (len(done), done.status, done.left, done.failed) == (16, "complete", (), 0)
    assert len(asked) == 16
    assert [reply.labels for reply in done] == [cell.labels for cell in done.cells]
    assert list(done.table["temperature"]) == [cell.request.temperature for cell in done.cells]
    assert set(done.table["run"]) == {3}
    assert nb.compare(done, by="temperature").table["n"].tolist() == [8, 8]
    assert [len(done[:3]), done[-1].status] == [3, "complete"]
    with pytest.raises(RequestError, match="There is no reply 16"):
        done[16]
    assert repr(done) == "<Sweep of 16: 16 finished, complete>"
    assert '<td style="text-align:left">0, 1</td>' in (html := done._repr_html_())
    assert "&lt;b&gt;Hi, Hello" in html


@pytest.mark.parametrize("folder", [False, True])
def test_names_of_models_are_kept(client, tmp_path, folder):
    """They are a label like any other; its column stands beside that of the ids, and is told once."""
    grid = {"model": {"heron": "nova_lite", "swift": "nova_micro"}}
    with ThreadPoolExecutor(2) as pool:
        where = {"folder": tmp_path, "executor": pool} if folder else {}
        done = nb.sweep(client, "Hello", grid=grid, repeats=2, **where)
    found = done.table.groupby("label_model")["model"].unique()
    assert {name: list(ids) for name, ids in found.items()} == {
        "heron": ["us.amazon.nova-lite-v1:0"],
        "swift": ["us.amazon.nova-micro-v1:0"],
    }
    compared = nb.compare(done, by="label_model", baseline="swift").table
    assert list(compared["label_model"]) == ["swift", "heron"]
    assert done.dimensions == {"model": ["heron", "swift"], "prompt": ["Hello"], "repeat": [1, 2]}
    html = done._repr_html_()
    assert (html.count(">model<"), html.count(">heron, swift<"), html.count("nova")) == (1, 1, 0)
    assert "></th>" not in html


@pytest.mark.parametrize("scattered", [False, True])
def test_a_dry_run_asks_and_writes_nothing(client, asked, tmp_path, scattered):
    """It says what is left, checks all that a sweep checks, and knows what the folder has already."""
    folder = tmp_path / "new"
    with ThreadPoolExecutor(1) as pool:
        where = {"folder": folder} | ({"executor": pool} if scattered else {})
        plan = nb.sweep(client, ["Hello", "Hi"], grid=GRID, repeats=2, dry_run=True, **where)
        assert (plan.status, len(plan), len(plan.cells), plan.left) == ("not asked", 0, 16, plan.cells)
        assert repr(plan) == "<Sweep of 16: 0 finished, 16 left, not asked>"
        assert (folder.exists(), asked) == (False, [])
        with pytest.raises(RequestError, match="temperature"):
            nb.sweep(client, "Hello", grid={"temperature": []}, dry_run=True, **where)
        done = nb.sweep(client, ["Hello"], grid=GRID, **where)
        before = (folder / "sweep.json").read_bytes()
        plan = nb.sweep(client, ["Hello", "Hi"], grid=GRID, dry_run=True, **where)
        assert (len(plan), len(plan.left), {cell.labels["prompt"] for cell in plan.left}) == (4, 4, {"Hi"})
        assert sorted(each.started or 0 for each in plan) == sorted(each.started or 0 for each in done)
        with pytest.raises(RequestError, match="of another sweep"):
            nb.sweep(client, ["Hi"], grid=GRID, dry_run=True, **where)
        assert (len(asked), (folder / "sweep.json").read_bytes()) == (4, before)
    assert nb.sweep(client, "Hello", dry_run=True).status == "not asked"


def test_a_dry_run_knows_what_would_be_asked_again(client, tmp_path):
    """Failures are results, unless they are to be asked again; with nothing left the sweep is complete."""
    plan = {"grid": {"model": ["nova_lite", CUT]}, "folder": tmp_path, "dry_run": True}
    nb.sweep(client, "Hello", **plan | {"dry_run": False})
    assert nb.sweep(client, "Hello", **plan).status == "complete"
    again = nb.sweep(client, "Hello", retry_failed=True, **plan)
    assert [cell.request.model for cell in again.left] == [CUT]


def test_cells_are_asked_in_their_order(client, asked):
    """One after another: what the service saw is the plan."""
    done = nb.sweep(client, ["Hello", "Hi"], grid=GRID, repeats=2, seed=5)
    assert [request.to_kwargs() for request in asked] == [cell.request.to_kwargs() for cell in done.cells]


def test_a_folder_keeps_what_is_finished(client, asked, tmp_path):
    """The same sweep asks nothing again; more repeats and more values ask only what is new."""
    first = nb.sweep(client, ["Hello"], grid={"temperature": [0, 1]}, folder=tmp_path)
    again = nb.sweep(client, ["Hello"], grid={"temperature": [0, 1]}, folder=tmp_path)
    assert [len(asked), len(first), len(again)] == [2, 2, 2]
    assert [list(reply) for reply in again] == [list(reply) for reply in first]
    assert first[0].times == again[0].times
    (tmp_path / "replies" / f"{first.cells[0].key}.jsonl").write_text("")  # as a loss of power may leave it
    again = nb.sweep(client, ["Hello"], grid={"temperature": [0, 1]}, folder=tmp_path)
    assert [len(asked), again.status] == [3, "complete"]
    asked.pop()
    more = nb.sweep(client, ["Hello", "Hi"], grid={"temperature": [0, 1, 0.5]}, repeats=2, folder=tmp_path)
    assert [len(asked), len(more)] == [12, 12]
    assert len(nb.summary(tmp_path)) == 12
    assert keys(tmp_path) == Counter(cell.key for cell in more.cells)
    with pytest.raises(RequestError, match=r"temperature 0\.5 is missing now"):
        nb.sweep(client, ["Hello", "Hi"], grid={"temperature": [0, 1]}, repeats=2, folder=tmp_path)
    assert len(asked) == 12


def test_the_folder_tells_what_was_asked(client, tmp_path):
    """In JSON: labels of the grid, settings, versions, who answered, and how it ended."""
    nb.sweep(
        {"a": client, "b": client},
        {"short": "Hello"},
        grid={"tools": {"none": None, "weather": [WEATHER]}},
        folder=tmp_path,
        max_tokens=7,
        warmup=1,
    )
    told = said((tmp_path / "sweep.json").read_bytes())
    assert told["grid"] == {"target": ["a", "b"], "tools": ["none", "weather"], "prompt": ["short"]}
    assert told["settings"] == {"max_tokens": 7}
    assert told["targets"] == {"a": "embedded server", "b": "embedded server"}
    assert (told["status"], told["cells"], told["left"], told["failed"]) == ("complete", 4, 0, 0)


def test_failures_are_kept_as_results(client, tmp_path):
    """They are finished; who wants to, asks for them again."""
    grid = {"model": [CUT, "nova_micro", "nova_pro@throttle"]}
    done = nb.sweep(client, "Hello", grid=grid, folder=tmp_path)
    table = done.table.set_index("model")["status"]
    assert dict(table) == {
        CUT: "incomplete",
        "us.amazon.nova-micro-v1:0": "complete",
        "us.amazon.nova-pro-v1:0@throttle": "error",
    }
    assert (done.failed, done.status, repr(done)) == (
        2,
        "complete",
        "<Sweep of 3: 3 finished, 2 failed, complete>",
    )
    before = {reply.model: reply.started for reply in done}
    kept = nb.sweep(client, "Hello", grid=grid, folder=tmp_path)
    assert {reply.model: reply.started for reply in kept} == before
    tried = nb.sweep(client, "Hello", grid=grid, folder=tmp_path, retry_failed=True)
    assert {m for m, t in before.items() if {r.model: r.started for r in tried}[m] != t} == set(before) - {
        "us.amazon.nova-micro-v1:0"
    }
    assert set(keys(tmp_path).values()) == {1}


def test_warming_up_is_not_kept(client, asked, tmp_path):
    """Those replies are asked for and are nowhere; the sweep says how many they were."""
    done = nb.sweep(client, "Hello", repeats=2, warmup=3, folder=tmp_path)
    assert (len(asked), len(done), done.warmup) == (5, 2, 3)
    assert len(nb.summary(tmp_path)) == 2
    again = nb.sweep(client, "Hello", repeats=2, warmup=3, folder=tmp_path)
    assert (len(asked), again.warmup) == (5, 0)


@pytest.mark.parametrize("folder", [True, False])
def test_a_budget_stops_cleanly(client, asked, tmp_path, folder):
    """What runs comes to its end, nothing new begins; a larger budget goes on from what is there."""
    where = {"folder": tmp_path} if folder else {}
    price = {"prices": {"nova_lite": (1e6, 1e6)}}
    one = nb.sweep(client, "Hello")[0].usage["totalTokens"]
    stopped = nb.sweep(client, "Hello", repeats=9, budget=nb.Budget(tokens=2 * one), **where)
    assert (stopped.status, len(stopped), len(stopped.left)) == (f"stopped: {2 * one:,} tokens", 2, 7)
    poor = nb.Budget(cost=3 * one, **price)
    on = nb.sweep(client, "Hello", repeats=9, budget=poor, **where)
    assert (on.status, len(on)) == (f"stopped: {3 * one} USD", 3)
    assert len(asked) == 1 + (3 if folder else 5)
    if folder:
        assert nb.sweep(client, "Hello", repeats=9, folder=tmp_path).status == "complete"
        assert len(asked) == 10


def test_an_interrupt_returns_what_is_finished(tmp_path, capsys):
    """Running replies are cancelled and not counted; a line says how to go on; nothing is lost."""
    hold = threading.Event()
    counted = Asked()

    def answer(request):
        if len(counted.requests) >= 3:
            hold.wait(20)
        return counted(request)

    def interrupt():
        wait_for(lambda: len(keys(tmp_path)) == 3)
        os.kill(os.getpid(), signal.SIGINT)

    with BedrockServer(answer, latency=INSTANT) as server:
        client = server.client()
        thread = in_thread(interrupt)
        done = nb.sweep(client, "Hello", repeats=5, folder=tmp_path)
        thread.join()
        hold.set()
        assert (done.status, len(done), len(done.left)) == ("interrupted", 3, 2)
        assert capsys.readouterr().out == (
            "Interrupted: 3 of 5 replies are finished; the same call goes on.\n"
        )
        assert [reply.status for reply in done] == ["complete"] * 3
        counted.requests.clear()
        on = nb.sweep(client, "Hello", repeats=5, folder=tmp_path)
        assert (on.status, len(on)) == ("complete", 5)
        assert [list(reply) for reply in on if reply.started in {r.started for r in done}] == list(
            map(list, done)
        )
        client.close()


@pytest.mark.parametrize("twice", [False, True])
def test_an_interrupt_waits_for_what_an_executor_is_at(tmp_path, capsys, twice):
    """What it brings is counted; who interrupts again does not wait, and is told what may come."""
    hold, counted, said = threading.Event(), Asked(), []

    def answer(request):
        answered = counted(request)
        if len(counted.requests) > 1:
            hold.wait(20)
        return answered

    def told():
        said.append(capsys.readouterr().out)
        return "interrupt again not to wait" in "".join(said)

    def interrupt():
        wait_for(lambda: len(counted.requests) == 2)
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(told)
        if twice:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            hold.set()

    with BedrockServer(answer, latency=INSTANT) as server, ThreadPoolExecutor(1) as pool:
        thread = in_thread(interrupt)
        done = nb.sweep(server.client(), "Hello", repeats=5, folder=tmp_path, executor=pool, batch=1)
        thread.join()
        hold.set()
    finished = 1 if twice else 2
    assert (done.status, len(done), len(done.left)) == ("interrupted", finished, 5 - finished)
    still = ", and what the workers are at may come besides" * twice
    assert f"{finished} of 5 replies are finished{still}; the same call" in capsys.readouterr().out
    assert len(nb.summary(tmp_path)) == len(counted.requests) == 2


KILLED = """
import sys
import bedrock_nb as nb

nb.sweep(nb.connect(sys.argv[1], verbose=False), ["Hello", "Hi"], grid={"temperature": [0, 0.5, 1]},
         repeats=4, concurrency=3, folder=sys.argv[2], progress=False)
"""


def test_killed_three_times_every_reply_is_there_once(tmp_path):
    """``kill -9`` at any moment: what was finished is not asked again, what was not is."""
    counted = Asked()
    slow = Latency(ttft=0.005, per_token=0.002)
    with BedrockServer(counted, latency=slow) as server:
        command = [sys.executable, "-c", KILLED, server.endpoint_url, str(tmp_path)]
        finished = set()
        for many in (1, 7, 14):
            process = subprocess.Popen(command)
            wait_for(partial(reached, tmp_path, many))
            process.kill()
            process.wait()
            assert finished <= set(keys(tmp_path))
            finished = set(keys(tmp_path))
        subprocess.run(command, check=True)
    assert len(keys(tmp_path)) == 24
    assert set(keys(tmp_path).values()) == {1}
    done = nb.load_folder(tmp_path, on_error="raise")
    assert Counter(reply.status for reply in done) == {"complete": 24}
    assert not list((tmp_path / "replies").glob(".*.part"))
    # Nothing that was finished was asked twice: at most the three that ran at each kill were.
    assert 24 <= len(counted.requests) <= 24 + 3 * 3


def test_two_sweeps_do_not_share_a_folder_at_one_time(client, asked, tmp_path):
    """The second is refused before it asks."""
    with Store(tmp_path), pytest.raises(RequestError, match="Another sweep is writing"):
        nb.sweep(client, "Hello", folder=tmp_path)
    assert asked == []


def test_responders_and_several_targets_are_swept():
    """A server runs round each responder; ``target`` says who answered."""
    done = nb.sweep({"echo": echo, "fixed": nb.server.scripted("Fine.")}, "Hello", repeats=2)
    assert Counter((r.labels["target"], r.text == "Fine.") for r in done) == {
        ("echo", False): 2,
        ("fixed", True): 2,
    }
    (one,) = nb.sweep(nb.server.scripted("Fine."), "Hello")
    assert (one.text, "target" in one.labels) == ("Fine.", False)


def test_a_server_is_asked_with_its_own_law():
    """One that does not run is started and closed; one that runs is used as it is, and runs on."""
    server = BedrockServer(nb.server.scripted("Fine."), latency=INSTANT)
    (one,) = nb.sweep(server, "Hello")
    assert (one.text, server.running) == ("Fine.", False)
    with server:
        url = server.endpoint_url
        done = nb.sweep({"a": server, "b": server}, "Hello")
        assert Counter(reply.labels["target"] for reply in done) == {"a": 1, "b": 1}
        assert nb.load_test(server, "Hello", users=1, requests=1).table["status"].tolist() == ["complete"]
        assert (server.running, server.endpoint_url) == (True, url)
        assert [server.truth(reply.envelope["request_id"]).outcome for reply in done] == [
            "complete",
            "complete",
        ]


def test_a_function_makes_the_client(served):
    """Of several processes each makes its own by it; the recipe of the client knows."""
    url = served[1].meta.endpoint_url

    def make():
        return nb.connect(url, verbose=False)

    with opened(make) as clients:
        assert Recipe.of(clients[""]).maker is make
    assert nb.sweep(make, "Hello").status == "complete"


def test_a_recipe_makes_such_a_client_and_holds_no_keys(served):
    """Endpoint, region, limits and retries are those of the client; its keys are not in it."""
    client = nb.connect(served[1].meta.endpoint_url, idle_timeout=7, concurrency=9, verbose=False)
    recipe = Recipe.of(client)
    other = recipe.connect()
    assert (other.meta.endpoint_url, other.meta.region_name) == (
        client.meta.endpoint_url,
        client.meta.region_name,
    )
    assert other.meta.config.max_pool_connections == 9
    assert Recipe.of(other) == recipe
    assert recipe.timeouts.idle == 7
    assert client._request_signer._credentials.secret_key not in repr(recipe)
    assert nb.sweep(other, "Hello").status == "complete"


@pytest.mark.parametrize("named", [None, "study"])
def test_keys_are_found_again_in_a_profile(tmp_path, monkeypatch, named):
    """Of a client on AWS the recipe knows the profile; keys that are in none are refused."""
    import boto3

    (tmp_path / "credentials").write_text(
        "[study]\naws_access_key_id = AKIASTUDY\naws_secret_access_key = hidden\n"
        "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = hidden\n"
    )
    for name in ("AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    session = boto3.Session(profile_name=named, region_name="us-east-2")
    recipe = Recipe.of(session.client("bedrock-runtime"))
    assert (recipe.profile, recipe.region, recipe.embedded) == (named, "us-east-2", False)
    assert "hidden" not in repr(recipe)
    assert Recipe.of(recipe.connect()) == recipe
    own = boto3.Session("AKIAOWN", "secret", region_name="us-east-2").client("bedrock-runtime")
    with pytest.raises(RequestError, match="keys are not sent"):
        Recipe.of(own)


def test_prompts_may_come_from_a_generator(client):
    """They are walked over once, and so may the values of the grid be."""
    done = nb.sweep(
        client, (text for text in ["Hello", "Hi"]), grid={"max_tokens": iter([5])}, progress=False
    )
    assert sorted(done.table["prompt"]) == ["Hello", "Hi"]


def test_a_dataset_says_when_its_sweep_was_begun(tmp_path):
    """Not when it ended: what is written at the end keeps what was written at the begin."""
    moments = []

    def noting(request):
        moments.append(said((tmp_path / "sweep.json").read_bytes())["begun"])
        return echo(request)

    with (
        BedrockServer(noting, latency=Latency(ttft=1.1, per_token=0)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        nb.sweep(server.client(), "Hello", executor=pool, folder=tmp_path, progress=False)
    assert said((tmp_path / "sweep.json").read_bytes())["begun"] == moments[0]


def test_an_executor_asks_in_other_places(client, asked, tmp_path):
    """Replies are in a dataset; the sweep is one in order, goes on, and stays within its budget."""
    grid = {"model": ["nova_lite", "nova_micro"], "temperature": [0, 1]}
    with ThreadPoolExecutor(2) as pool:
        where = {"folder": tmp_path, "executor": pool, "batch": 3}
        first = nb.sweep(client, "Hello", grid=grid, concurrency=2, **where)
        assert (first.status, len(first), len(asked)) == ("complete", 4, 4)
        done = nb.sweep(client, ["Hello", "Hi"], grid=grid, repeats=2, **where)
        assert (len(done), len(asked)) == (16, 16)
        assert [reply.labels for reply in done[:]] == [cell.labels for cell in done.cells]
        assert list(done.table["temperature"]) == [cell.request.temperature for cell in done.cells]
        assert nb.compare(done, by="temperature").table["n"].tolist() == [8, 8]
        assert {reply.started for reply in first} < {reply.started for reply in done}
        with pytest.raises(RequestError, match="replies of another sweep"):
            nb.sweep(client, "Hello", grid=grid, **where)
        poor = nb.Budget(tokens=int(done.table[["input_tokens", "output_tokens"]].sum().sum()))
        more = nb.sweep(client, ["Hello", "Hi"], grid=grid, repeats=3, budget=poor, **where)
        assert (more.status, len(more.left)) == (f"stopped: {poor.tokens:,} tokens", 8)
        with pytest.raises(RequestError, match="was begun with an executor"):
            nb.sweep(client, ["Hello", "Hi"], grid=grid, repeats=2, folder=tmp_path)
        for wrong in ({"rate": 5}, {"warmup": 1}, {"retry_failed": True}):
            with pytest.raises(RequestError, match="has no use with an executor"):
                nb.sweep(client, "Hello", **where, **wrong)
        with pytest.raises(RequestError, match="needs a folder"):
            nb.sweep(client, "Hello", executor=pool)
    assert said((tmp_path / "sweep.json").read_bytes())["left"] == 8


def test_who_cannot_be_asked_ends_the_sweep(tmp_path, monkeypatch):
    """A server that is gone, missing keys: the error is raised, and no failed replies are made of it."""
    import boto3

    with BedrockServer(echo, latency=INSTANT) as server:
        client = server.client()
        nb.sweep(client, "Hello", folder=tmp_path / "files")
    for name in ("AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    poor = boto3.Session().client("bedrock-runtime", region_name="us-east-2")
    with ThreadPoolExecutor(1) as pool:
        for one, error in ((client, ServerError), (poor, CredentialsError)):
            for where in ({"folder": tmp_path / "files"}, {"folder": tmp_path / "set", "executor": pool}):
                with pytest.raises(error):
                    nb.sweep(one, "Hello", repeats=9, **where)
    assert sum(keys(tmp_path / "files").values()) == 1
    assert not list((tmp_path / "set").glob("replies/*/*.parquet"))


def test_prompts_are_read_from_a_file(client, asked, tmp_path):
    """Each with its own settings, which are given in no other place; labels are as those of a list."""
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,max_tokens\nHello,3\nBye,\n")
    done = nb.sweep(client, path, grid={"temperature": [0, 1]})
    assert Counter(
        (one.labels["prompt"], one.request.get("inferenceConfig", {}).get("maxTokens")) for one in done
    ) == {
        ("Hello", 3): 2,
        ("Bye", None): 2,
    }
    for given in ({"max_tokens": 5}, {"grid": {"max_tokens": [5]}}):
        with pytest.raises(RequestError, match="has max_tokens for a prompt, and it is given besides"):
            nb.sweep(client, path, **given)
    assert len(asked) == 4


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"target": "Hello"}, "which cannot be asked"),
        ({"target": {}}, "There are no targets"),
        ({"target": lambda: 3}, "The function without arguments returned"),
        ({"grid": {"temprature": [0]}}, "There is no setting 'temprature'"),
        ({"repeat": 3}, "Is it the argument repeats="),
        ({"grid": {"concurrency": [1, 2]}}, "Is it the argument concurrency="),
        ({"temperature": 0, "grid": {"temperature": [0]}}, "in the grid, and fixed besides"),
        ({"background": True}, "settles background by itself"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"warmup": -1}, "warmup is -1"),
        ({"rate": 0}, "rate is 0"),
        ({"budget": 5}, "An int is given as the budget"),
        ({"budget": nb.Budget(cost=1, prices={"nova_pro": (1, 1)})}, "no price of"),
        ({"folder": "s3://bucket/runs"}, "The folder is a URL"),
        ({"total_timeout": -1}, "total_timeout is -1"),
        ({"retries": -1}, "retries is -1"),
        ({"durability": "none"}, "durability is 'none'"),
        ({"errors": "none"}, "errors is 'none'"),
        ({"grid": 5}, "An int is given as the grid"),
        ({"labels": 5}, "labels are of type int"),
        ({"executor": 5}, "An int is given as the executor"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_asked(client, asked, given, match):
    """The message says what is wanted."""
    target = given.pop("target", client) if "target" in given else client
    with pytest.raises(RequestError, match=match):
        nb.sweep(target, "Hello", **given)
    assert asked == []


def test_the_bar_says_how_it_goes(client, capsys):
    """The median of the times to first token, failures, tokens; and nothing if nobody wants it."""
    nb.sweep(client, "Hello", grid={"model": ["nova_micro", CUT]}, progress=True)
    assert "median TTFT 0." in (out := capsys.readouterr().err)
    assert "1 failed" in out
    assert "2/2" in out
    nb.sweep(client, "Hello", progress=False)
    assert capsys.readouterr().err == ""
    spent = Spent()
    shown = Shown(spent, done=2, failed=1)
    assert shown.said() == "1 failed, 0 tokens"
    shown.add(3, 1, [0.5, 0.1, 0.2])
    spent.add_counts("m", [12_000, 300])
    assert (shown.done, shown.said()) == (5, "median TTFT 0.20 s, 2 failed, 12,300 tokens")


def test_a_rate_spreads_starts_evenly():
    """At most so many a second by the clock; who comes late does not catch up."""
    now, slept = 0.0, []

    async def sleep(seconds):
        nonlocal now
        slept.append(seconds)
        now += seconds

    async def starts():
        nonlocal now
        pace = Pace(4, lambda: now, sleep)
        found = []
        for late in (0, 0, 0.1, 2, 0):
            now += late
            await pace.wait()
            found.append(now)
        return found

    assert asyncio.run(starts()) == pytest.approx([0, 0.25, 0.5, 2.5, 2.75])
    assert slept == pytest.approx([0.25, 0.15, 0.25])


def test_an_error_of_our_own_ends_all():
    """No more is asked, what ran is cancelled, and the error is the one that it was."""
    planned = cells("Hello", repeats=9)
    ended = []

    async def one(cell):
        try:
            if cell.number == 2:
                raise AccessDeniedError("AccessDeniedException", "no", 403)
            await asyncio.sleep(20)
        finally:
            ended.append(cell.number)

    with pytest.raises(AccessDeniedError):
        asyncio.run(ask_all(planned, one, concurrency=3))
    assert sorted(ended) == [0, 1, 2]


def test_a_folder_that_goes_away_ends_the_sweep(tmp_path):
    """There is an error in plain words, and the folder does not say that it is complete."""

    def answer(request):
        (tmp_path / "replies").rename(tmp_path / "elsewhere")
        return echo(request)

    with pytest.raises(RecordingError, match="cannot be written"):
        nb.sweep(answer, "Hello", repeats=3, folder=tmp_path)
    assert said((tmp_path / "sweep.json").read_bytes())["status"] == "interrupted"
