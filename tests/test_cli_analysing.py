"""The commands that analyse recordings: tables, comparisons, pictures, other formats."""

from __future__ import annotations

import json
import subprocess
import sys

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import bedrock_nb as nb
from bedrock_nb.cli import main
from bedrock_nb.cli.analysing import _PLOTS, _TABLES
from tests.recordings import reply


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Eight replies of two kinds, in a folder."""
    path = tmp_path_factory.mktemp("runs")
    for number in range(8):
        reply(labels={"kind": "odd" if number % 2 else "even", "concurrency": number}).save(
            path / f"{number}.jsonl"
        )
    return path


def run(capsys, *arguments):
    """Exit status, what was printed, and what was complained of."""
    status = main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("of", _TABLES)
def test_every_table_is_printed_whole(capsys, folder, of):
    """A header, and a row for each row, in the columns of the function of that name."""
    status, out, _ = run(capsys, "table", folder / "0.jsonl", folder / "1.jsonl", "--of", of)
    assert status == 0
    assert "Traceback" not in out
    wanted = {
        "replies": "ttft_s",
        "totals": "requests_per_s",
        "events": "tokens_est",
        "usage": "fresh_tokens",
    }
    assert wanted.get(of, "") in out


def test_a_table_may_speak_as_another_tool_does(capsys, folder):
    """Its names, its units."""
    _, out, _ = run(capsys, "table", folder, "--of", "totals", "--dialect", "vllm")
    assert "Mean TTFT (ms)" in out


@pytest.mark.parametrize(("name", "read"), [("t.csv", pd.read_csv), ("t.parquet", pd.read_parquet)])
def test_a_table_is_written_to_a_file(capsys, folder, tmp_path, name, read):
    """As the suffix says; and it is the table of `summary`."""
    status, out, _ = run(capsys, "table", folder, "--out", tmp_path / name)
    assert (status, out) == (0, f"8 rows: {tmp_path / name}\n")
    assert list(read(tmp_path / name)["ttft_s"]) == list(nb.summary(str(folder))["ttft_s"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_labels_of_any_kind_is_written(capsys, tmp_path, suffix):
    """Labels of several types are text in Parquet; a file that was there is replaced whole."""
    for number, value in enumerate([1, "a", [2]]):
        reply(labels={"odd": value}).save(tmp_path / f"{number}.jsonl")
    (tmp_path / f"t{suffix}").write_text("old")
    assert run(capsys, "table", tmp_path, "--out", tmp_path / f"t{suffix}")[0] == 0
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    assert list(read(tmp_path / f"t{suffix}")["odd"]) == ["1", "a", "[2]"]


def test_a_file_that_is_left_out_is_said_in_a_sentence(capsys, tmp_path):
    """On standard error, without a line of code."""
    reply().save(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("?")
    status, out, err = run(capsys, "table", tmp_path)
    assert (status, "ttft_s" in out) == (0, True)
    assert err.startswith("bedrock-nb: 'b.jsonl' in the folder ")
    assert err.count("\n") == 1


def test_conditions_are_compared_in_words(capsys, folder):
    """What a notebook shows as text; names with commas between, or one after the other."""
    status, out, _ = run(capsys, "compare", folder, "--by", "kind", "--metric", "tpot_s,ttft_s")
    assert status == 0
    assert out == f"{nb.compare(str(folder), by='kind', metric=['tpot_s', 'ttft_s'])!r}\n"
    again = run(capsys, "compare", folder, "--by", "kind", "--metric", "tpot_s", "--metric", "ttft_s")
    assert again[1] == out


def test_a_comparison_takes_a_baseline_and_warm_up(capsys, folder):
    """The baseline as text, whatever it is; warm-up as a number, or by new connections."""
    chosen = ("--by", "concurrency", "--baseline", "3", "--warmup", "connection")
    _, out, _ = run(capsys, "compare", folder, *chosen)
    assert out == f"{nb.compare(str(folder), by='concurrency', baseline=3, warmup='connection')!r}\n"
    _, out, _ = run(capsys, "compare", folder, "--by", "kind", "--baseline", "odd", "--warmup", "1")
    assert "the first 1 reply of each condition" in out


@pytest.mark.parametrize(
    "arguments", [["table"], ["table", "--of", "totals"], ["compare"], ["compare", "--by", "law"]]
)
def test_no_recordings_are_no_result(capsys, tmp_path, arguments):
    """A sentence, and a status that a script sees."""
    status, out, err = run(capsys, arguments[0], tmp_path, *arguments[1:])
    assert (status, out) == (1, "")
    assert "There are no recordings in" in err


def test_every_plot_of_files_can_be_named():
    """All that `nb.plot` has but one: a guess is made by a person and is in no file."""
    assert {*_PLOTS} == {*nb.plot.__all__} - {"guess"}


@pytest.mark.parametrize("command", [["--version"], ["plot", "--help"], ["lessons", "list"]], ids=" ".join)
def test_no_command_waits_for_libraries_that_it_does_not_need(command):
    """The parser names all plots and tables without the libraries that make them, which take seconds."""
    code = (
        "import sys\nfrom bedrock_nb.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print(*{'matplotlib', 'pandas'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, timeout=60)
    assert done.stdout
    assert done.stderr.split() == []


@pytest.mark.parametrize("kind", sorted({*_PLOTS} - {"anatomy", "reading_speed", "gaps", "seconds"}))
def test_every_plot_of_many_is_drawn_to_a_file(capsys, folder, tmp_path, kind):
    """All plots are there by name; no figure is left open by them."""
    before = plt.get_fignums()
    status, out, err = run(capsys, "plot", kind, folder, "--out", tmp_path / "p.png")
    assert (status, err) == (0, "")
    assert out == f"{kind}: {tmp_path / 'p.png'}\n"
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert plt.get_fignums() == before


def test_a_saved_load_test_is_drawn_by_the_second(capsys, client, tmp_path):
    """The folder of a result holds no recordings of its own."""
    nb.load_test(client, "Hello", users=1, requests=2, progress=False).save(tmp_path)
    assert run(capsys, "plot", "seconds", tmp_path, "--out", tmp_path / "p.png")[::2] == (0, "")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_recordings_are_written_in_other_formats(capsys, folder, tmp_path):
    """A dataset for SQL, a trace for a viewer."""
    assert run(capsys, "export", folder, "--parquet", tmp_path / "set")[0] == 0
    assert list(pd.read_parquet(tmp_path / "set" / "replies")["path"]) == [f"{n}.jsonl" for n in range(8)]
    assert run(capsys, "export", folder / "0.jsonl", "--perfetto", tmp_path / "t.json")[0] == 0
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert run(capsys, "export", folder, "--parquet", tmp_path / "set")[0] == 1
    assert run(capsys, "export", folder, "--parquet", tmp_path / "set", "--overwrite")[0] == 0
    whole = json.loads((tmp_path / "t.json").read_text())
    run(capsys, "export", folder / "0.jsonl", "--perfetto", tmp_path / "t.json", "--align", "request")
    begins = [
        min(entry["ts"] for entry in trace["traceEvents"] if entry["ph"] == "X")
        for trace in (whole, json.loads((tmp_path / "t.json").read_text()))
    ]
    assert begins[0] > begins[1] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table", "nowhere.jsonl"], "nowhere.jsonl"),
        (["table", ".", "--out", "x.txt"], "no kind of table"),
        (["plot", "anatomy", ".", "--out", "x.png"], "one recording"),
        (["plot", "gaps", "0.jsonl", "--by", "kind", "--out", "x.png"], "has no --by"),
        (["plot", "ecdf", ".", "--out", "missing/x.png"], "cannot be written"),
        (["compare", ".", "--by", "colour"], "colour"),
        (["compare", ".", "--metric", "speed"], "speed"),
        (["compare", ".", "--warmup", "first"], "no rule"),
        (["table", ".", "--dialect", "klingon"], "klingon"),
        (["table", ".", "--by", "kind"], "replies has no --by. Give --of totals"),
        (["table", ".", "--of", "events", "--dialect", "vllm"], "events has no --dialect"),
        (["table", ".", "--out", "missing/x.csv"], "cannot be written"),
    ],
)
def test_what_cannot_work_is_said(capsys, folder, monkeypatch, arguments, said):
    """One sentence, exit status 1."""
    monkeypatch.chdir(folder)
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert said in err
