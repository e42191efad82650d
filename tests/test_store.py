"""The folder of a sweep: a finished reply is there once, whatever ended the process."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.events import MessageStart, MessageStop, TextDelta
from bedrock_nb.experiment.store import Store
from bedrock_nb.experiment.sweeping.plan import record, refuse, said
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording

KEY = "00aa11bb22cc33dd"
EVENTS = [(MessageStart("assistant"), 0.1), (TextDelta(0, "Hi"), 0.2), (MessageStop("end_turn"), 0.3)]


def journalled(path, status, events=3):
    """A reply whose journal is in a file; it is closed unless it was killed: then status is None."""
    recording = Recording({"modelId": "m"})
    journal = Journal(path, recording)
    for event, t in EVENTS[:events]:
        recording.append(event, t)
        journal.write(event, t, 0, 0)
    if status is not None:
        recording.status = status
        journal.end(recording)
    return recording


@pytest.mark.parametrize("status", ["complete", "incomplete", "error"])
def test_what_has_its_end_is_finished(tmp_path, status):
    """Also if the process was killed between the end of a reply and its new name."""
    with Store(tmp_path) as store:
        journalled(store.part(KEY), status)
    with Store(tmp_path) as store:
        assert store.keys == {KEY}
        assert (store.status(KEY), len(store.load(KEY))) == (status, 3)
        assert [path.name for path in store.replies.iterdir()] == [f"{KEY}.jsonl"]


@pytest.mark.parametrize("status", [None, "cancelled"])
def test_what_was_cut_short_is_put_aside(tmp_path, status):
    """It is asked again, and what came of it is not lost."""
    for _ in range(2):
        with Store(tmp_path) as store:
            journalled(store.part(KEY), status, events=2)
    with Store(tmp_path) as store:
        assert store.keys == set()
        aside = list((store.replies / ".interrupted").iterdir())
        assert [len(Recording.load(path)) for path in aside] == [2, 2]
        assert list(store.replies.iterdir()) == [store.replies / ".interrupted"]


def test_a_reply_whose_journal_stopped_is_kept(tmp_path):
    """The recording is written in its place."""
    with Store(tmp_path) as store:
        part = store.part(KEY)
        recording = journalled(part, None, events=1)
        recording.append(*EVENTS[1])
        recording.status = "error"
        assert store.settle(KEY, part, recording)
        assert len(store.load(KEY)) == 2


def test_who_was_left_behind_settles_nothing(tmp_path):
    """A run whose replies still close when its store is closed leaves them to the next one."""
    with Store(tmp_path) as store:
        part = store.part(KEY)
        recording = journalled(part, "complete", events=2)
    assert not store.settle(KEY, part, recording)
    with Store(tmp_path) as other:
        assert other.keys == {KEY}
        assert not store.settle(KEY, part, recording)


def test_only_replies_of_sweeps_count(tmp_path):
    """What somebody else put there is left alone."""
    with Store(tmp_path) as store:
        (store.replies / "notes.jsonl").write_text("")
    with Store(tmp_path) as store:
        assert store.keys == set()
        assert (store.replies / "notes.jsonl").exists()


def test_two_runs_do_not_write_to_one_folder(tmp_path):
    """The second is refused; when the first is over it may."""
    with Store(tmp_path), pytest.raises(RequestError, match="Another sweep is writing"), Store(tmp_path):
        pass
    with Store(tmp_path):
        pass


def test_a_folder_that_cannot_be_is_refused(tmp_path):
    """A file is none."""
    (tmp_path / "x").write_text("")
    with pytest.raises(RecordingError, match="'x' cannot be used for a sweep"), Store(tmp_path / "x"):
        pass


PLAN: dict[str, Any] = {
    "grid": {"temperature": [0, 1], "prompt": ["a"]},
    "settings": {"max_tokens": 5},
    "repeats": 2,
}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"grid": {"temperature": [0], "prompt": ["a"]}}, "temperature 1 is missing now"),
        ({"grid": {"prompt": ["a"]}}, "temperature is gone"),
        ({"grid": {**PLAN["grid"], "top_p": [1]}}, "top_p is new"),
        ({"settings": {"max_tokens": 6}}, "max_tokens was 5 and is 6"),
        ({"labels": {"run": 1}}, "run is new"),
        ({"repeats": 1}, "there were more repeats"),
        ({}, "the text of a prompt"),
        ({"kept": "dataset"}, "was begun without an executor"),
    ],
)
def test_another_sweep_is_refused_in_words(change, match):
    """The message says what differs."""
    with pytest.raises(RequestError, match=match):
        refuse("x", said(record({}, PLAN)), {**PLAN, **change}, {KEY})
    if "kept" not in change:
        refuse("x", said(record({}, PLAN)), {**PLAN, **change}, set())


@given(
    st.one_of(st.binary(), st.recursive(st.none() | st.integers(), st.lists).map(json.dumps).map(str.encode))
)
def test_a_file_of_somebody_else_says_nothing(text):
    """Whatever is in it."""
    assert said(text) == {}


def test_a_record_keeps_when_it_was_begun(tmp_path):
    """And says with which versions; how it ended is new each time."""
    with Store(tmp_path) as store:
        assert said(store.told()) == {}
        store.tell(record({}, PLAN, status="running", begun="x"))
        store.tell(record(said(store.told()), PLAN, status="complete"))
        now = said(store.told())
    assert (now["status"], now["begun"]) == ("complete", "x")
    assert {name: now[name] for name in PLAN} == PLAN
    assert {"python", "bedrock_nb", "botocore", "platform"} <= set(now["versions"])
