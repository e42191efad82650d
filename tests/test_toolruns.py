"""toolruns.py: calls of tools in recordings, in files and journals, in the tables and the metrics."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from types import SimpleNamespace
from typing import get_args

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.events import MessageStart, MessageStop, TextDelta
from bedrock_nb.journal import Journal
from bedrock_nb.metrics import measure
from bedrock_nb.recording import Recording
from bedrock_nb.table import TOOL_COLUMNS, as_recordings, summary, tool_calls
from bedrock_nb.toolruns import Outcome, ToolRun, busy, spent
from tests.recordings import TEXT, TIMES, any_recording, recorded, reply

OUTCOMES = get_args(Outcome)
MICROSECONDS = TIMES.map(lambda t: round(t, 6))  # as a file keeps them
RUNS = st.builds(
    ToolRun,
    TEXT,
    TEXT,
    st.sampled_from(OUTCOMES),
    MICROSECONDS,
    st.none() | MICROSECONDS,
    MICROSECONDS,
    waited_s=MICROSECONDS,
    eager=st.booleans(),
    error=TEXT,
)

#: The message ended at 1.75 s: `reply`.
EARLY = ToolRun("t1", "get_weather", "success", 0.75, 1.0, 2.0, eager=True)
BESIDE = ToolRun("t2", "search", "error", 1.25, 1.5, 2.5, eager=True, error="no such page")
LATE = ToolRun("t3", "send_mail", "success", 1.5, 4.0, 4.5, waited_s=2.25)
DENIED = ToolRun("t4", "delete_files", "denied", 1.5, None, 3.0, waited_s=1.25, error="The user said no.")


@pytest.mark.parametrize(
    ("run", "shown"),
    [
        (EARLY, "ToolRun(get_weather: success in 1.000 s, eager)"),
        (BESIDE, "ToolRun(search: error in 1.000 s, eager: no such page)"),
        (DENIED, "ToolRun(delete_files: denied, not run: The user said no.)"),
        (ToolRun("t", "f", "cancelled", 0.0, None, 1.0), "ToolRun(f: cancelled, not run)"),
        (
            ToolRun("t", "\x1b[2J\u202e\n", "unknown", 0.0, None, 1.0, error="e" * 500),
            f"ToolRun(\\x1b[2J\\u202e\\n: unknown, not run: {'e' * 79}…)",
        ),
    ],
    ids=lambda value: value.outcome if isinstance(value, ToolRun) else "",
)
def test_a_run_in_a_line(run, shown):
    """What it was and how it went, and nothing that a terminal obeys."""
    assert repr(run) == shown


def with_runs(*runs):
    """The small reply, whose message ended at 1.75 s, and what its tools did."""
    recording = reply()
    recording.tools.extend(runs)
    return recording


# -- files -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for the tests that draw examples: each overwrites the file of the one before."""
    return tmp_path_factory.mktemp("runs")


@settings(deadline=None, max_examples=25)
@given(recording=any_recording(), runs=st.lists(RUNS, max_size=4))
def test_any_runs_come_back(folder, recording, runs):
    """Saved and loaded they are equal, in the order in which they ended; events are counted without them."""
    recording.tools.extend(runs)
    path = recording.save(folder / "any.jsonl")
    loaded = Recording.load(path)
    assert loaded.tools == sorted(runs, key=lambda run: run.ended_s)
    assert list(loaded.rows()) == list(recording.rows())
    assert loaded.marks == recording.marks
    assert json.loads(path.read_bytes().splitlines()[-1])["end"]["events"] == len(recording)
    assert loaded.save(folder / "again.jsonl").read_bytes() == path.read_bytes()


def test_a_run_is_a_line_at_its_time(tmp_path):
    """Among the events, when its result was there; those that ended later stand before the end."""
    path = with_runs(LATE, ToolRun("t0", "now", "success", 0.5, 0.5, 0.625)).save(tmp_path / "r.jsonl")
    *lines, end = map(json.loads, path.read_text("ascii").splitlines())
    assert [line["t"] for line in lines[1:]] == sorted(line["t"] for line in lines[1:])
    assert lines[-1] == {
        "t": 4.5,
        "tool": {
            "id": "t3",
            "name": "send_mail",
            "outcome": "success",
            "asked_s": 1.5,
            "began_s": 4.0,
            "waited_s": 2.25,
            "eager": False,
            "error": "",
        },
    }
    assert end["end"]["events"] == 7


@pytest.mark.parametrize(
    "damage",
    [
        {"id": 5},
        {"name": None},
        {"outcome": "great"},
        {"outcome": ["success"]},
        {"asked_s": None},
        {"asked_s": True},
        {"asked_s": 10**400},
        {"began_s": "soon"},
        {"began_s": math.nan},
        {"waited_s": math.inf},
        {"eager": 1},
        {"error": {}},
        {"id": ...},
        {"waited_s": ...},
        None,
    ],
    ids=str,
)
def test_a_damaged_run_is_an_error_of_its_line(tmp_path, damage):
    """Whatever somebody wrote in the place of a member, or left out (...): the line is named."""
    path = Recording().save(tmp_path / "r.jsonl")
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])  # the head alone
    with_runs(LATE).save(tmp_path / "whole.jsonl")
    line = json.loads((tmp_path / "whole.jsonl").read_text().splitlines()[-2])
    tool = None if damage is None else {k: v for k, v in (line["tool"] | damage).items() if v is not ...}
    with path.open("a") as file:
        file.write(json.dumps(line | {"tool": tool}) + "\n")
    with pytest.raises(RecordingError, match=r"Line 2 of 'r\.jsonl'"):
        Recording.load(path)


def test_members_of_a_newer_version_are_passed_over(tmp_path):
    """A run may come to have more members: what is known of it is read."""
    path = with_runs(LATE).save(tmp_path / "r.jsonl")
    *lines, _ = path.read_text().splitlines()
    lines[-1] = lines[-1].replace('"eager":', '"thread":7,"eager":')
    path.write_text("\n".join(lines) + "\n")
    assert Recording.load(path).tools == [LATE]


def test_the_digest_covers_runs(tmp_path):
    """Who changes what came of a tool has changed the recording."""
    path = with_runs(DENIED).save(tmp_path / "r.jsonl")
    path.write_text(path.read_text().replace('"denied"', '"success"'))
    with pytest.raises(RecordingError, match="was changed"):
        Recording.load(path)


def test_a_run_that_json_has_no_form_for_is_told(tmp_path):
    """The error says that the recording cannot be written, and no file is left."""
    with pytest.raises(RecordingError, match="cannot be written"):
        with_runs(ToolRun("t", "f", "success", 0.0, 0.0, 1.0, error=object())).save(tmp_path / "r.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_a_copy_of_the_request_has_no_runs():
    """`like` is for other events: the tools of these are not theirs."""
    assert with_runs(LATE).like().tools == []


# -- journals --------------------------------------------------------------------------------------


def test_a_journal_has_each_run_that_was_known_at_its_end_once(tmp_path):
    """Written as they end, and what is left at the end; a later one is in the recording alone."""
    recording = Recording({"modelId": "m"})
    journal = Journal(tmp_path / "j.jsonl", recording)
    journal.write(MessageStart("assistant"), 0.25, 1, 10)
    recording.tools.append(EARLY)
    journal.follow(recording)
    recording.mark("headers", 0.125)
    journal.follow(recording)
    recording.tools.append(BESIDE)
    recording.status = "complete"
    journal.end(recording)
    recording.tools.append(LATE)
    journal.end(recording)
    loaded = Recording.load(journal.path)
    assert loaded.tools == [EARLY, BESIDE]
    assert (loaded.status, len(loaded), journal.stopped) == ("complete", 1, None)


def test_a_run_that_json_has_no_form_for_stops_the_journal(tmp_path):
    """As anything does that cannot be written: it is said, and nothing is raised."""
    recording = with_runs(ToolRun("t", object(), "success", 0.0, 0.0, 1.0))  # type: ignore[arg-type]
    journal = Journal(tmp_path / "j.jsonl", recording)
    journal.end(recording)
    assert "the run of a tool cannot be written as JSON" in (journal.stopped or "")
    assert Recording.load(journal.path).status == "interrupted"


# -- how long --------------------------------------------------------------------------------------

_INTERVALS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 12)), max_size=8)


@settings(deadline=None, max_examples=50)
@given(_INTERVALS, st.integers(0, 60))
def test_busy_is_when_at_least_one_tool_ran(spans, until):
    """Counted second by second: no matter how runs lie on each other."""
    runs = [ToolRun("", "", "success", 0.0, b, b + n) for b, n in spans] + [DENIED]
    seconds = {s for b, n in spans for s in range(b, b + n)}
    intervals = busy(runs)
    assert spent(intervals) == len(seconds)
    assert spent(intervals, until) == len([s for s in seconds if s < until])
    assert all(end < begin for (_, end), (begin, _) in pairwise(intervals))


def test_metrics_of_tools_by_hand():
    """Runs from 1 to 2 and 1.5 to 2.5 s are 1.5 s, of which 0.75 s before the message ended at 1.75 s."""
    found = measure(with_runs(EARLY, BESIDE, LATE, DENIED))
    assert (found["tool_calls"], found["tool_s"], found["tool_overlap_s"]) == (4, 2.0, 0.75)
    never = measure(with_runs(DENIED))
    assert (never["tool_calls"], never["tool_s"], never["tool_overlap_s"]) == (1, 0.0, 0.0)
    assert list(summary(with_runs(EARLY, BESIDE))["tool_s"]) == [1.5]


def test_without_an_event_there_is_no_overlap():
    """When the message ended is not known: missing, not 0."""
    recording = Recording()
    recording.tools.append(EARLY)
    assert (measure(recording)["tool_s"], measure(recording)["tool_overlap_s"]) == (1.0, None)


# -- the table -------------------------------------------------------------------------------------


def test_a_row_per_call_by_hand():
    """Every column of a small table; what never ran has no times of running."""
    cut = recorded((TextDelta(0, "x"), 1.25))
    cut.tools.append(EARLY)
    frame = tool_calls([with_runs(EARLY, LATE, DENIED), Recording(), cut])
    missing = pd.NA
    wanted = {
        "recording": [0, 0, 0, 2],
        "name": ["get_weather", "send_mail", "delete_files", "get_weather"],
        "id": ["t1", "t3", "t4", "t1"],
        "outcome": ["success", "success", "denied", "success"],
        "eager": [True, False, False, True],
        "asked_s": [0.75, 1.5, 1.5, 0.75],
        "began_s": [1.0, 4.0, missing, 1.0],
        "ended_s": [2.0, 4.5, 3.0, 2.0],
        "waited_s": [0.0, 2.25, 1.25, 0.0],
        "run_s": [1.0, 0.5, missing, 1.0],
        "message_s": [1.75, 1.75, 1.75, 1.25],  # the last event of a message that was cut
        "overlap_s": [0.75, 0.0, missing, 0.25],
        "error": ["", "", "The user said no.", ""],
    }
    columns = {name: [missing if pd.isna(v) else v for v in frame[name]] for name in frame}
    assert columns == wanted
    assert list(frame.columns) == list(TOOL_COLUMNS)


@pytest.mark.parametrize("source", [[], Recording(), with_runs(EARLY)], ids=["none", "empty", "one"])
def test_the_table_has_its_columns(source):
    """In their order and types, whatever is in them."""
    kinds = {name: pd.Series(dtype=kind).dtype for name, kind in TOOL_COLUMNS.items()}
    assert tool_calls(source).dtypes.to_dict() == kinds


@settings(deadline=None, max_examples=25)
@given(st.lists(RUNS, max_size=4))
def test_any_runs_fit_the_table(runs):
    """A row each, whatever a model took for a name; the overlap is a part of the run."""
    recording = recorded((MessageStop("tool_use"), 10.0))
    recording.tools.extend(runs)
    frame = tool_calls(recording)
    assert len(frame) == len(runs)
    assert (frame["overlap_s"].dropna() <= frame["run_s"].dropna()).all()
    assert measure(recording)["tool_calls"] == len(runs)


def test_a_turn_is_a_source():
    """An object with a list `recordings` holds these, even if it could be iterated or has a reply."""
    rounds = [reply(), Recording()]
    turn = SimpleNamespace(recordings=rounds, recording=rounds[0])
    assert as_recordings(turn) == rounds
    assert as_recordings([turn, rounds[1]]) == [*rounds, rounds[1]]
    assert as_recordings(SimpleNamespace(recordings=[])) == []
    with pytest.raises(RequestError, match="is no recording"):
        as_recordings(SimpleNamespace(recordings=["a"]))
