"""folder.py: thousands of files are one collection; what cannot be read is said, and the rest is there."""

from __future__ import annotations

import os
import tracemalloc
import weakref
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

import bedrock_nb as nb
from bedrock_nb import formats  # noqa: F401  what Folder.reader asks the front door for
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.events import TextDelta
from bedrock_nb.folder import Folder, load_folder
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording, Status
from tests.recordings import recorded, reply


@pytest.fixture
def runs(tmp_path):
    """A folder of six recordings: two models, three temperatures, two statuses."""
    for i in range(6):
        one = reply(labels={"temperature": i % 3, "model": f"mine {i}"})
        one.request["modelId"] = f"m{i % 2}"
        one.status = "cancelled" if i == 5 else "complete"
        place = tmp_path / "runs" / ("ab" if i < 4 else "c")
        place.mkdir(parents=True, exist_ok=True)
        one.save(place / f"{i}.jsonl")
    return tmp_path / "runs"


def names(folder):
    """The files of a folder, short."""
    return [head.name for head in folder.heads]


# -- a collection ----------------------------------------------------------------------------------


def test_recordings_come_in_the_order_of_their_paths(runs):
    """Any number of walks gives the same recordings in the same order."""
    folder = load_folder(runs)
    walks = [[one.labels["model"] for one in folder] for _ in range(2)]
    assert walks[0] == walks[1] == [f"mine {i}" for i in range(6)]
    assert [path.relative_to(runs).as_posix() for path in folder.paths] == names(folder)
    assert names(folder) == ["ab/0.jsonl", "ab/1.jsonl", "ab/2.jsonl", "ab/3.jsonl", "c/4.jsonl", "c/5.jsonl"]


def test_one_recording_is_held_at_a_time(runs):
    """Whoever walks over a folder lets each recording go with the next."""
    seen = []
    for one in load_folder(runs):
        assert [known for known in seen if known() is not None] == []
        seen.append(weakref.ref(one))
        del one
    assert len(seen) == 6


def test_nothing_is_read_until_it_is_needed(runs):
    """A file that came after the folder was opened is in it."""
    folder = load_folder(runs)
    later = folder.where(model="late")
    reply(labels={"model": "late"}).save(runs / "late.jsonl")
    assert len(folder) == 7
    with pytest.warns(
        UserWarning, match=r"model='late'\. .*The label of that name is asked for as label_model"
    ):
        assert len(later) == 0


def test_a_folder_is_indexed_and_sliced_like_a_list(runs):
    """Positions give recordings, slices give folders."""
    folder = load_folder(runs)
    assert (folder[0].labels["model"], folder[-1].labels["model"]) == ("mine 0", "mine 5")
    part = folder[1:5][::2]
    assert isinstance(part, Folder)
    assert names(part) == ["ab/1.jsonl", "ab/3.jsonl"]
    with pytest.raises(IndexError, match=r"no recording \S+ in 'runs': there are 6"):
        folder[6]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("c/*.jsonl", [4, 5]),
        ("*/[0-3].jsonl", [0, 1, 2, 3]),
        ("**/?.jsonl", [0, 1, 2, 3, 4, 5]),
        ("**/c/**/5.*", [5]),
        ("*.jsonl", []),
    ],
)
@pytest.mark.filterwarnings("ignore:No file in the folder")
def test_a_pattern_chooses_files(runs, pattern, found):
    """As shells understand it."""
    assert [int(Path(name).stem) for name in names(load_folder(runs, pattern=pattern))] == found


def test_a_folder_that_may_not_be_read_is_said(runs):
    """A pattern that does not reach it has no need to."""
    closed = runs / "closed"
    closed.mkdir(mode=0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("this user may read everything")
        assert len(load_folder(runs, pattern="c/*.jsonl")) == 2
        with pytest.warns(UserWarning, match="'closed' cannot be read: Permission denied"):
            assert len(load_folder(runs)) == 6
    finally:
        closed.chmod(0o700)


def test_hidden_copies_are_not_counted_twice(runs):
    """JupyterLab keeps checkpoints of files that were opened there; who names them gets them."""
    copies = runs / "ab" / ".ipynb_checkpoints"
    copies.mkdir()
    reply().save(copies / "0-checkpoint.jsonl")
    assert len(load_folder(runs)) == 6
    assert names(load_folder(runs, pattern="**/.*/*.jsonl")) == ["ab/.ipynb_checkpoints/0-checkpoint.jsonl"]


def test_a_folder_is_a_source_of_tables(runs):
    """nb.summary takes it like a list of its recordings."""
    folder = load_folder(runs)
    pd.testing.assert_frame_equal(nb.summary(folder), nb.summary(list(folder)))
    pd.testing.assert_frame_equal(folder.events(), nb.events(list(folder)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda runs: None, "<Folder: 6 recordings in 'runs'>"),
        (
            lambda runs: [path.unlink() for path in runs.glob("*/[1-5].jsonl")],
            "<Folder: 1 recording in 'runs'>",
        ),
        (
            lambda runs: (runs / "ab/1.jsonl").write_text("?"),
            "<Folder: 5 recordings in 'runs', 1 other file left out>",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:.*left out")
def test_the_repr_counts(runs, change, said):
    """How many recordings there are, and how many files are none; no path of this machine."""
    change(runs)
    assert repr(load_folder(runs)) == said


# -- what is left out ------------------------------------------------------------------------------


def changed(path):
    """A recording that somebody edited."""
    text = reply().save(path).read_text()
    path.write_text(text.replace("Hello", "Jello"))


def newer(path):
    """A recording of a version to come."""
    path.write_text(reply().save(path).read_text().replace('"version":1', '"version":99', 1))


def torn_inside(path):
    """A recording with a line that is no JSON."""
    path.write_text(reply().save(path).read_text().replace('"mark"', "mark", 1))


BAD = {
    "empty": lambda path: path.write_text(""),
    "a conversation": lambda path: path.write_text(
        '{\n "format": "bedrock-nb-conversation",\n "version": 1\n}'
    ),
    "an audit log": lambda path: path.write_text('{"operation": "ConverseStream", "status": "complete"}\n'),
    "bytes": lambda path: path.write_bytes(bytes(range(256))),
    "a list": lambda path: path.write_text("[1, 2]\n"),
    "newer": newer,
    "changed": changed,
    "torn inside": torn_inside,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_recording_is_left_out_and_said(runs, name):
    """One warning, a note under the file's name, and all other recordings."""
    BAD[name](runs / "ab" / "bad.jsonl")
    folder = load_folder(runs)
    with pytest.warns(UserWarning, match=r"'ab/bad.jsonl' in the folder 'runs' is left out") as warned:
        assert len(list(folder)) == 6
    assert len(warned) == 1
    assert list(folder.problems) == ["ab/bad.jsonl"]
    assert str(runs) not in f"{folder.problems} {warned[0].message} {folder!r}"
    assert repr(folder).startswith("<Folder: 6 recordings in 'runs', 1 ")
    assert len(list(folder)) == 6  # and no second warning


def test_a_file_of_one_endless_line_costs_little(tmp_path):
    """Its first and last line are read up to a bound; the file is left out, or is interrupted."""
    head = reply().save(tmp_path / "b.jsonl").read_bytes().partition(b"\n")[0]
    for name, begin in (("a", b""), ("b", head + b"\n")):
        with (tmp_path / f"{name}.jsonl").open("wb") as file:
            file.write(begin)
            file.truncate(2**30)  # nothing is stored for what was not written
    folder = load_folder(tmp_path)
    tracemalloc.start()
    with pytest.warns(UserWarning, match=r"'a\.jsonl' .* is left out"):
        assert [head.status for head in folder.heads] == ["interrupted"]
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_a_long_request_is_no_reason_to_leave_a_file_out(tmp_path):
    """A head may hold documents, longer than what is looked at first."""
    asked = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "x" * 200_000}]}]}
    recorded((TextDelta(0, "a"), 0.5), request=asked).save(tmp_path / "a.jsonl")
    assert [head.model for head in load_folder(tmp_path).heads] == ["m"]


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_sound_recording_ends_the_walk_if_that_is_wanted(runs, name):
    """on_error="raise" is for those who must have all."""
    BAD[name](runs / "ab" / "bad.jsonl")
    with pytest.raises(RecordingError, match=r"bad\.jsonl"):
        list(load_folder(runs, on_error="raise"))


def test_problems_are_known_before_a_walk(runs):
    """To ask for them lists the folder; the warning points at the line that asked."""
    (runs / "ab" / "no.jsonl").write_text("something else")
    folder = load_folder(runs)
    with pytest.warns(UserWarning, match="left out") as warned:
        assert list(folder.problems) == ["ab/no.jsonl"]
    assert warned[0].filename == __file__


def test_a_folder_is_no_single_recording(runs):
    """Who loads a folder as one recording is told what opens it."""
    with pytest.raises(RecordingError, match="load_folder opens a folder"):
        Recording.load(runs)


def test_positions_do_not_move_when_a_file_turns_out_to_be_damaged(runs):
    """Asked for by its position it raises; its neighbours keep theirs."""
    changed(runs / "ab" / "1.jsonl")
    folder = load_folder(runs)
    with pytest.warns(UserWarning, match="left out"):
        assert [one.labels.get("model") for one in folder] == ["mine 0", *(f"mine {i}" for i in range(2, 6))]
    assert (len(folder), folder[2].labels["model"]) == (6, "mine 2")
    with pytest.raises(RecordingError, match="changed"):
        folder[1]


def test_folders_that_link_to_themselves_end(runs):
    """A loop of links is not followed, nor is a folder that is called like a recording a problem."""
    (runs / "ab" / "again").symlink_to(runs, target_is_directory=True)
    (runs / "ab" / "folder.jsonl").mkdir()
    assert len(load_folder(runs)) == 6


def test_a_reply_that_was_cut_off_is_there(runs):
    """The journal of a process that was killed is a recording with its status."""
    cut = recorded((TextDelta(0, "so f"), 0.5), request={"modelId": "m"})
    journal = Journal(runs / "cut.jsonl", cut)
    journal.write(cut.event(0), 0.5, 1, 10)
    (found,) = load_folder(runs, pattern="cut.jsonl")
    assert (found.status, found.text) == ("interrupted", "so f")
    assert names(load_folder(runs).where(status="interrupted")) == ["cut.jsonl"]
    journal.end(cut)


def test_a_folder_without_recordings_says_so(tmp_path):
    """A pattern that fits nothing is a warning and an empty collection."""
    folder = load_folder(tmp_path)
    with pytest.warns(UserWarning, match=r"No file in the folder .* fits the pattern '\*\*/\*\.jsonl'"):
        assert list(folder) == []
    assert repr(folder).startswith("<Folder: no recordings in")


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"path": "nowhere"}, RecordingError, "'nowhere' does not exist"),
        ({"path": "runs/c/4.jsonl"}, RecordingError, "is a file. Recording.load"),
        ({"path": 3}, RecordingError, "is no path"),
        ({"on_error": "skip"}, RequestError, "'note' or 'raise'"),
        ({"labels": [1]}, RequestError, "a dict or a function"),
        ({"pattern": "/etc/*"}, RequestError, "is no pattern"),
        ({"pattern": ""}, RequestError, "is no pattern"),
        ({"pattern": "."}, RequestError, "is no pattern"),
        ({"pattern": "../*.jsonl"}, RequestError, "is no pattern"),
    ],
)
def test_what_cannot_be_opened_is_said_at_once(runs, monkeypatch, options, error, said):
    """The error says what is wanted, and no path of this machine."""
    monkeypatch.chdir(runs.parent)
    with pytest.raises(error, match=said) as caught:
        load_folder(**{"path": "runs", **options})
    assert str(runs.parent) not in str(caught.value)


# -- filters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({"model": "m1"}, [1, 3, 5]),
        ({"status": "cancelled"}, [5]),
        ({"model": "m1", "status": "complete"}, [1, 3]),
        ({"temperature": 2}, [2, 5]),
        ({"temperature": [0, 1], "model": "m0"}, [0, 4]),
        ({"label_model": "mine 3"}, [3]),
        ({"label_temperature": 1, "model": "m0"}, [4]),
        ({"status": "error"}, []),
    ],
)
def test_a_folder_is_filtered_by_model_status_and_labels(runs, wanted, found):
    """A value or a list of values for each name; names as in the summary."""
    assert [one.labels["model"] for one in load_folder(runs).where(**wanted)] == [f"mine {i}" for i in found]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"temperature": 99}, r"temperature=99\. There are: 0, 1, 2\.$"),
        ({"label_model": "mine3"}, r"label_model='mine3'\. Did you mean mine 3\? There are: 'mine 0', "),
        ({"model": ["m7", "m8"]}, r"model='m7' or 'm8'\. There are: 'm0', 'm1'\."),
    ],
)
def test_a_value_that_nobody_has_is_said(runs, wanted, said):
    """The folder is empty then; a warning at the caller's line tells which values there are."""
    with pytest.warns(UserWarning, match=said) as warned:
        assert len(load_folder(runs).where(**wanted)) == 0
    assert warned[0].filename == __file__


def test_a_function_filters_by_what_the_heads_say(runs):
    """It is given each file's head, and filters can follow each other."""
    late = (
        load_folder(runs)
        .where(lambda head: head.name > "ab/3" and head.started is not None)
        .where(model="m0")
    )
    assert names(late) == ["c/4.jsonl"]


def test_filters_read_no_event(runs):
    """Files whose events are damaged are still told apart."""
    for path in runs.glob("*/*.jsonl"):
        path.write_text(path.read_text().replace('"payload"', "broken"))
    assert len(load_folder(runs).where(model="m1", status="complete")) == 2


def test_a_label_that_nobody_has_is_an_error(runs):
    """A name that is misspelt does not give an empty table."""
    with pytest.raises(RequestError, match=r"label 'temprature'.*Their labels: model, temperature"):
        len(load_folder(runs).where(temprature=1))
    with pytest.raises(RequestError, match="where takes a function"):
        load_folder(runs).where("m1")
    assert "has a label 'temprature'" in repr(load_folder(runs).where(temprature=1))


def test_the_status_of_a_head_is_that_of_the_recording(tmp_path):
    """However a file ends, and wherever it is cut off."""
    path = tmp_path / "one.jsonl"
    for status in get_args(Status):
        one = reply()
        one.status, one.problems = status, ["x" * 9000]  # a last line longer than one look
        one.save(path)
        assert load_folder(tmp_path).heads[0].status == Recording.load(path).status, status
    whole = reply().save(path).read_bytes()
    head = whole.index(b"\n") + 1
    for end in range(head, len(whole) + 1, 7):
        path.write_bytes(whole[:end])
        assert load_folder(tmp_path).heads[0].status == Recording.load(path).status, end


# -- labels, tables, progress ----------------------------------------------------------------------


def test_labels_can_be_given_to_all(runs):
    """By a dict or by a function of the path; a recording's own labels win."""
    folder = load_folder(runs, labels=lambda path: {"run": path.parent.name, "temperature": 99})
    assert [one.labels["run"] for one in folder.where(run="c")] == ["c", "c"]
    assert folder[1].labels["temperature"] == 1
    assert load_folder(runs, labels={"day": 1})[0].labels["day"] == 1
    with pytest.raises(RequestError, match="labels made a str"):
        len(load_folder(runs, labels=lambda path: "c"))


@pytest.mark.filterwarnings("ignore:.*left out")
def test_a_summary_names_the_files(runs):
    """A row per recording that could be read, with its own path."""
    changed(runs / "ab" / "1.jsonl")
    folder = load_folder(runs, labels={"path": "taken"})
    table = folder.summary()
    assert list(table["folder_path"]) == ["ab/0.jsonl", "ab/2.jsonl", "ab/3.jsonl", "c/4.jsonl", "c/5.jsonl"]
    assert list(table["label_model"]) == ["mine 0", *(f"mine {i}" for i in range(2, 6))]


def test_any_name_of_a_file_fits_a_table(tmp_path):
    """Also one that is no text: names are bytes on Linux."""
    try:
        reply().save(tmp_path / os.fsdecode(b"\xff.jsonl"))
    except RecordingError:
        pytest.skip("names are text on this file system")
    assert list(load_folder(tmp_path).summary()["path"]) == ["\ufffd.jsonl"]


@pytest.mark.filterwarnings("ignore:.*left out")
@pytest.mark.parametrize("rows", [1, 11, 25, 1000])
def test_batches_are_the_events_in_parts(runs, rows):
    """Put together they are nb.events, and no part is longer than was asked for."""
    changed(runs / "ab" / "1.jsonl")
    folder = load_folder(runs)
    parts = list(folder.batches(rows))
    whole = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(whole.drop(columns="path"), folder.events())
    assert max(map(len, parts)) <= rows
    table = folder.summary()
    assert [table["path"][number] for number in whole["recording"]] == list(whole["path"])


@pytest.mark.parametrize("rows", [0, 1.5, None])
def test_a_batch_has_at_least_one_row(runs, rows):
    """Anything else is refused."""
    with pytest.raises(RequestError, match="whole number"):
        next(load_folder(runs).batches(rows))
    with pytest.raises(RequestError, match="whole number"):
        load_folder(runs).reader(rows)


def test_a_folder_is_a_stream_of_arrow_batches(runs):
    """The same rows as nb.events."""
    folder = load_folder(runs)
    pd.testing.assert_frame_equal(folder.reader(10).read_pandas(), folder.events())


@pytest.mark.parametrize(("progress", "shown"), [(True, True), (None, False), (False, False)])
def test_a_bar_is_shown_to_those_who_wait(runs, capsys, progress, shown):
    """On the error stream; never where nobody sees it, unless it is asked for."""
    assert len(list(load_folder(Path(runs), progress=progress))) == 6
    captured = capsys.readouterr()
    assert ("reading runs" in captured.err, captured.out) == (shown, "")


# -- of real replies -------------------------------------------------------------------------------


def test_what_was_journalled_is_found(service, tmp_path):
    """Replies of a real client with their labels; a conversation that was saved there is left out."""
    place = tmp_path / "runs"
    place.mkdir()
    service.lay("Rain and light.")
    for n in range(3):
        nb.stream(service.client, "Rainbows?", journal=place / f"{n}.jsonl", labels={"n": n}).drain()
    chat = service.chat("Fine.")
    chat.send("How are you?")
    chat.save(place / "chat.jsonl")
    folder = load_folder(place)
    with pytest.warns(UserWarning, match=r"'chat\.jsonl' in the folder 'runs' is left out"):
        assert [one.text for one in folder.where(n=[1, 2])] == ["Rain and light."] * 2
    assert list(folder.summary()["n"]) == [0, 1, 2]
