"""The commands that ask more than once: sweeps, load tests, reports; and the files that describe them."""

from __future__ import annotations

import inspect
import pickle
import re
import signal
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.cli import main
from bedrock_nb.cli.asking import target
from bedrock_nb.cli.experimenting import _levels
from bedrock_nb.cli.spec import EXAMPLE, LOAD, SWEEP, read
from bedrock_nb.server import INSTANT, BedrockServer, echo
from tests.chatting import wait_for

PAGE = Path(__file__).parents[1] / "docs" / "experiments.md"
#: Names of a spec that are no arguments: of them a client is made, and prompts.
OWN = {"target", "region", "profile", "targets", "prompts_file", "lengths", "saturate"}
CUT = "us.amazon.nova-lite-v1:0@end:after=2"
GRID = 'prompts = ["Hello", "Bye"]\nrepeats = 2\n[grid]\ntemperature = [0, 1]\n'


class Asked:
    """A responder that answers with the request that it got, and counts; it may be held up."""

    def __init__(self):
        self.requests, self.free, self.until = [], threading.Event(), None

    def __call__(self, request):
        self.requests.append(request)
        if self.until is not None and len(self.requests) > self.until:
            self.free.wait(30)
        return echo(request)


@pytest.fixture(scope="module")
def server():
    """An embedded server that answers at once."""
    with BedrockServer(Asked(), latency=INSTANT) as server:
        yield server


@pytest.fixture
def asked(server):
    """Who answers there; it was asked nothing yet."""
    server.responder.requests.clear()
    return server.responder


@pytest.fixture
def spec(tmp_path, server):
    """Write a spec for that server: its path."""

    def write(text: str) -> Path:
        path = tmp_path / "spec.toml"
        path.write_text(f'target = "{server.endpoint_url}"\n{text}', encoding="utf-8")
        return path

    return write


def run(capsys, *arguments):
    """Exit status, what was printed, and what was complained of."""
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


# -- specs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "functions"), [(SWEEP, [nb.sweep]), (LOAD, [nb.load_test, nb.saturation])])
def test_a_spec_has_the_names_of_the_python_arguments(keys, functions):
    """Every name is an argument of the function, and every argument that a file can hold is a name."""
    arguments = {name for function in functions for name in inspect.signature(function).parameters}
    assert set(keys) - OWN <= arguments
    assert arguments - set(keys) - {"dry_run"} == {"executor", "progress", "settings"}


@pytest.mark.parametrize("keys", [SWEEP, LOAD])
def test_the_examples_in_complaints_are_what_they_ask_for(tmp_path, keys):
    """Each example of a key is TOML of the kind that is wanted."""
    for name, key in keys.items():
        assert isinstance(tomllib.loads(f"x = {key.example}")["x"], key.types), name
        (tmp_path / "one.toml").write_text(f"{name} = {key.example}")
        assert name in read(tmp_path / "one.toml", keys)


def test_values_are_those_of_python(tmp_path):
    """Tables that are objects become these; files and folders are beside the spec, URLs stay as they are."""
    path = tmp_path / "spec.toml"
    path.write_text(
        'folder = "out"\nprompts_file = "p.txt"\nmax_tokens = 5\n'
        "[budget]\ncost = 1\nprices = { nova_lite = [1, 2] }\n"
        '[grid]\ntemperature = [0, 1]\nsystem = { none = {}, brief = "Be brief." }\n'
    )
    assert read(path, SWEEP) == {
        "folder": tmp_path / "out",
        "prompts_file": tmp_path / "p.txt",
        "max_tokens": 5,
        "budget": nb.Budget(cost=1, prices={"nova_lite": [1, 2]}),
        "grid": {"temperature": [0, 1], "system": {"none": None, "brief": "Be brief."}},
    }
    path.write_text('folder = "s3://bucket/x"\nlengths = { input = [40, 0.5], seed = 3 }\n')
    assert read(path, LOAD) == {"folder": "s3://bucket/x", "lengths": nb.Lengths((40, 0.5), seed=3)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('promts = ["x"]', "'promts' is no name of a spec. Did you mean prompts?"),
        ("temperatur = 1", "Did you mean temperature?"),
        ("journal = 'x'", "'journal' is no name of a spec"),
        ('repeats = "five"', "repeats is 'five'; a whole number is wanted. For example: repeats = 5"),
        ("repeats = true", "repeats is True; a whole number is wanted"),
        ("prompts = 3", "prompts is 3; a text, a list, or a table of names is wanted"),
        ("grid = [1]", "grid is [1]; a table is wanted"),
        ("[grid]\ntemprature = [1]", "'temprature' is no name of [grid]. Did you mean temperature?"),
        ("[budget]\ntoken = 3", "'token' is no name of [budget]. Did you mean tokens?"),
        ("[targets]\nhere = 1", "The target 'here' is 1; a table is wanted."),
        ("[targets.here]\nurl = ''", "'url' is no name of [targets.here]"),
        ("[labels]\nday = 2026-01-31", 'labels has a date or a time. Put it into quotes: "2026-01-31"'),
        ("repeats = ", "is no TOML: Invalid value"),
        ("repeats = 1\nrepeats = 2", "is no TOML: Cannot overwrite a value"),
    ],
)
def test_a_mistake_in_a_spec_is_a_lesson(capsys, tmp_path, text, said):
    """One sentence that names the place, exit status 1, and nothing was asked."""
    path = tmp_path / "spec.toml"
    path.write_text(text)
    status, out, err = run(capsys, "sweep", path)
    assert (status, out) == (1, "")
    assert said in err
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_missing_is_said(capsys, tmp_path, spec):
    """No spec, no file, no prompts, two places to ask at."""
    assert "--example" in run(capsys, "sweep")[2]
    assert "No such file" in run(capsys, "sweep", tmp_path / "none.toml")[2]
    assert "There are no prompts." in run(capsys, "sweep", spec(""))[2]
    assert (
        "prompts and prompts_file each say" in run(capsys, "sweep", spec('prompts="x"\nprompts_file="y"'))[2]
    )
    assert "target and targets both say" in run(capsys, "sweep", spec("prompts='x'\n[targets.a]"))[2]


level = st.integers(0, 999) | st.decimals(0, 99, places=2).map(float)


@given(st.lists(st.tuples(st.integers(1, 99), level, st.none() | level), min_size=1, max_size=4))
def test_stages_on_the_command_line_are_those_of_python(stages):
    """Seconds and a level, or a ramp from one level to another; a number by itself is one."""
    text = ",".join(f"{s}:{a}" if b is None else f"{s}:{a}-{b}" for s, a, b in stages)
    assert _levels(text) == [(s, a if b is None else (a, b)) for s, a, b in stages]
    assert [_levels("8"), _levels("0.5")] == [8, 0.5]


@pytest.mark.parametrize(
    "arguments",
    [
        ["load", "--users", "many", "'many' is no level: 8 is one"],
        ["load", "--rate", "10:2,x", "'10:2,x' is no level"],
        ["load", "--users", "1", "--rate", "1", "not allowed with"],
        ["load", "--limit", "ttft_s", "'ttft_s' is no limit: ttft_s=0.5 is one"],
        ["sweep", "x.toml", "--processes", "0", "whole number from 1"],
        ["sweep", "x.toml", "--processes", "2", "--dask", "tcp://127.0.0.1:1", "not allowed with"],
    ],
)
def test_what_is_no_option_is_argparses_to_say(capsys, arguments):
    """Its own exit status, 2; the message says what is one."""
    *arguments, said = arguments
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    told = capsys.readouterr().err
    assert "error: argument" in told
    assert said in told


# -- sweeps ----------------------------------------------------------------------------------------


def test_a_sweep_goes_on_by_the_same_command(capsys, spec, asked, tmp_path):
    """All is asked once, into the folder of the spec's name; what is new in the spec is asked besides."""
    path = spec(GRID)
    status, out, err = run(capsys, "sweep", path)
    assert (status, err) == (0, "")
    folder = tmp_path / "spec-replies"
    assert out.splitlines()[1:] == [
        "<Sweep of 8: 8 finished, complete>",
        f"Folder: {folder}",
    ]
    assert len(asked.requests) == len(nb.load_folder(folder)) == 8
    assert run(capsys, "sweep", path)[0] == 0
    assert len(asked.requests) == 8
    assert run(capsys, "sweep", spec(GRID.replace("repeats = 2", "repeats = 3")))[0] == 0
    assert len(asked.requests) == len(nb.load_folder(folder)) == 12


def test_a_dry_run_says_what_would_be_sent(capsys, spec, asked, tmp_path):
    """How many requests, and the values of each setting; nothing is asked, and there is no folder."""
    path = spec(f"warmup = 2\n{GRID}")
    status, out, err = run(capsys, "sweep", path, "--dry-run")
    assert (status, err, asked.requests) == (0, "", [])
    assert out.splitlines()[1] == "8 requests to send, and 2 to warm up."
    assert re.search(r"^temperature +2  0, 1$", out, re.MULTILINE)
    assert re.search(r"^prompt +2  Bye, Hello$", out, re.MULTILINE)
    assert not (tmp_path / "spec-replies").exists()
    run(capsys, "sweep", path)
    more = spec(GRID.replace("repeats = 2", "repeats = 3"))
    assert (
        "\n4 requests to send; of 12 replies 8 are finished.\n" in run(capsys, "sweep", more, "--dry-run")[1]
    )


def test_a_failed_reply_is_told_and_asked_again_on_request(capsys, spec):
    """A failure is a result, but the status says so; --retry-failed asks it again."""
    path = spec(f'prompts = ["Hello"]\n[grid]\nmodel = ["nova_lite", "{CUT}"]\n')
    for again in ([], ["--retry-failed"]):
        status, out, err = run(capsys, "sweep", path, *again)
        assert status == 1
        assert "<Sweep of 2: 2 finished, 1 failed, complete>" in out
        assert err.startswith("bedrock-nb: 1 reply failed. With --retry-failed ")


def test_a_budget_stops_a_sweep_and_a_larger_one_goes_on(capsys, spec, asked):
    """The status of the command is 1 until all is asked."""
    path = spec(f"budget = {{ tokens = 1 }}\n{GRID}")
    status, out, err = run(capsys, "sweep", path)
    assert (status, len(asked.requests)) == (1, 1)
    assert "1 finished, 7 left, stopped: 1 tokens" in out
    assert err.startswith("bedrock-nb: stopped: 1 tokens. The same command goes on")
    assert run(capsys, "sweep", spec(f"budget = {{ tokens = 1e6 }}\n{GRID}"))[0] == 0
    assert len(asked.requests) == 8


def test_a_sweep_asks_several_targets_and_the_prompts_of_a_file(capsys, tmp_path, server, asked):
    """Names of targets are labels; prompts of a file may have settings of their own."""
    (tmp_path / "prompts.jsonl").write_text('"Hello"\n{"prompt": "Bye", "max_tokens": 3}\n')
    path = tmp_path / "two.toml"
    url = f'{{ target = "{server.endpoint_url}" }}'
    path.write_text(f'prompts_file = "prompts.jsonl"\nfolder = "out"\ntargets = {{ a = {url}, b = {url} }}\n')
    assert run(capsys, "sweep", path)[0] == 0
    table = nb.summary(str(tmp_path / "out"))
    assert sorted(zip(table["target"], table["prompt"], strict=True)) == [
        *(("a", "Bye"), ("a", "Hello"), ("b", "Bye"), ("b", "Hello"))
    ]
    assert sorted(request.max_tokens or 0 for request in asked.requests) == [0, 0, 3, 3]
    path.write_text(f"max_tokens = 5\n{path.read_text()}")
    status, _, err = run(capsys, "sweep", path)
    assert (status, len(asked.requests)) == (1, 4)
    assert "'prompts.jsonl' has max_tokens for a prompt, and it is given besides." in err


def test_an_interrupted_sweep_says_how_to_go_on(spec, asked, tmp_path):
    """Ctrl-C ends it in good order with status 130; the same command asks what is left, and nothing twice."""
    path = spec(GRID)
    asked.until = 3
    command = [sys.executable, "-m", "bedrock_nb", "sweep", str(path), "--folder", str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(asked.requests) == 4)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    asked.free.set()
    asked.until = None
    assert (process.returncode, "3 finished, 5 left, interrupted" in out) == (130, True)
    assert err == f"bedrock-nb: To go on: bedrock-nb {' '.join(command[3:])}\n"
    assert main(command[3:]) == 0
    assert len(asked.requests) == 9
    assert len(nb.load_folder(tmp_path / "out")) == 8


def test_workers_look_up_the_keys_of_a_profile_themselves():
    """What travels to them is how to connect, with no key in it; nothing is connected here for that."""
    with ThreadPoolExecutor(1) as pool:
        made = target({"target": "aws", "profile": "study", "region": "eu-west-1"}, pool)
    again = pickle.loads(pickle.dumps(made))
    assert (again.func, again.keywords) == (
        nb.connect,
        {"target": "aws", "profile": "study", "region": "eu-west-1", "verbose": False},
    )


@pytest.mark.parametrize("who", ["processes", "dask"])
def test_a_sweep_is_shared_out(capsys, spec, asked, tmp_path, who):
    """By processes of this machine, or by the workers of a Dask scheduler, into a dataset."""
    path = spec(f"batch = 4\n{GRID}")
    if who == "processes":
        status, out, _ = run(capsys, "sweep", path, "--processes", 1)
    else:
        import distributed

        options = {"n_workers": 1, "processes": False, "dashboard_address": None, "protocol": "tcp"}
        with distributed.LocalCluster(**options) as cluster:
            status, out, _ = run(capsys, "sweep", path, "--dask", cluster.scheduler_address)
    assert (status, "8 finished, complete" in out, len(asked.requests)) == (0, True, 8)
    folder = tmp_path / "spec-replies"
    assert len(nb.open_dataset(folder).keys()) == 8
    status, out, _ = run(capsys, "table", folder, "--of", "totals")
    assert (status, re.search(r"^complete +8$", out, re.M) is not None) == (0, True)
    with pytest.warns(UserWarning, match=r"It is a dataset: nb\.open_dataset opens it"):
        assert len(nb.load_folder(folder)) == 0


# -- load tests and reports ------------------------------------------------------------------------


def test_a_load_test_needs_no_spec(capsys, server, asked, tmp_path):
    """Options are enough; the result is in the folder, and a report can be made of it later."""
    page = tmp_path / "page.html"
    where = ("--target", server.endpoint_url, "--folder", tmp_path / "out", "--report", page)
    status, out, _ = run(
        capsys, "load", "--prompt", "Hi", "--users", 2, "--requests", 6, "--limit", "ttft_s=9", *where
    )
    assert (status, len(asked.requests)) == (0, 6)
    assert out.endswith(f"Result: {tmp_path / 'out'}\nReport: {page}\n")
    assert page.is_file()
    assert re.search(r"^ *level +replies .* goodput_rps\n +2 +6 +0 ", out, re.M)
    result = nb.LoadResult.load(tmp_path / "out")
    assert (len(result.table), dict(result.plan.limits)) == (6, {"ttft_s": 9})
    assert len(list(nb.open_dataset(tmp_path / "out"))) == 6
    status, out, _ = run(capsys, "report", tmp_path / "out", "--title", "Six", "--limit", "e2e_s=9")
    assert (status, out) == (0, f"Report: {tmp_path / 'out' / 'report.html'}\n")
    assert "<title>Six</title>" in (tmp_path / "out" / "report.html").read_text()


def test_options_win_over_the_spec_of_a_load_test(capsys, spec, asked):
    """What both say the option decides; --users replaces a rate, --prompt the prompts of the spec."""
    path = spec('prompts = "Hello"\nrate = [[10, 5]]\nmax_tokens = 7\nlabels = { a = 1 }\n')
    chosen = ("--users", 1, "--requests", 2, "--prompt", "Bye", "--max-tokens", 3)
    assert run(capsys, "load", path, *chosen)[0] == 0
    assert {
        (request.conversation[-1]["content"][0]["text"], request.max_tokens) for request in asked.requests
    } == {("Bye", 3)}


def test_a_load_test_without_a_complete_reply_is_a_failure(capsys, spec):
    """Kinds of failures are told; some are what a load test is for, all are not."""
    path = spec(f'prompts = "Hello"\nusers = 1\nrequests = 2\nmodel = "{CUT}"\n')
    status, out, err = run(capsys, "load", path)
    assert (status, "No reply is complete." in err) == (1, True)
    assert re.search(r"^2 failed: \w+$", out, re.M)


def test_saturation_is_searched_for(capsys, spec):
    """Levels double up to the highest; what belongs to the other kind of test is refused."""
    path = spec('prompts = "Hello"\nseconds = 0.2\nrefine = 0\nmost = 2\n')
    status, out, _ = run(capsys, "load", path, "--saturate")
    assert status == 0
    assert re.search(r"^ *1 .*\n *2 ", out, re.M)
    assert "most means nothing without saturate" in run(capsys, "load", spec('prompts = "x"\nmost = 2'))[2]
    both = spec('prompts = "x"\nsaturate = true\nrequests = 2')
    assert "requests means nothing with saturate" in run(capsys, "load", both)[2]


# -- documentation ---------------------------------------------------------------------------------


def test_the_example_is_a_sweep(capsys, tmp_path, asked, spec):
    """What --example prints runs, on any target."""
    status, out, _ = run(capsys, "sweep", "--example")
    assert (status, out) == (0, EXAMPLE)
    path = spec("")
    path.write_text(EXAMPLE.replace('target = "auto"', path.read_text().strip()))
    assert run(capsys, "sweep", path)[0] == 0
    assert len(asked.requests) == 40


def test_the_page_shows_specs_that_are_read(tmp_path):
    """Each TOML block is a spec of a sweep or of a load test; each command on the page is one."""
    page = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", page, re.S)
    for block, keys in zip(blocks, [SWEEP, LOAD], strict=True):
        (tmp_path / "spec.toml").write_text(block)
        assert read(tmp_path / "spec.toml", keys)
    commands = re.findall(r"^\$ bedrock-nb (\w+)", page, re.M)
    assert set(commands) == {"sweep", "load", "report"}
