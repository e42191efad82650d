"""journal.py: an event that was shown is in the file, whatever ends the process that showed it."""

from __future__ import annotations

import gc
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_nb import journal as module
from bedrock_nb.errors import RecordingError, RequestError
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    ReasoningDelta,
    TextDelta,
    ToolInputDelta,
    ToolUse,
    Unknown,
)
from bedrock_nb.journal import Journal
from bedrock_nb.lines import FORMAT, event_line
from bedrock_nb.recording import Recording
from bedrock_nb.wire import to_wire
from tests.recordings import COUNTS, INDEX, OBJECTS, ROWS, TEXT, TIMES, reply

ROOT = Path(__file__).parent.parent
DURABILITIES = ["crash", "interval", "each"]

MARKS = st.dictionaries(st.sampled_from(["sent", "headers", "closed", "sent 1"]), TIMES, max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for the tests that draw examples."""
    return tmp_path_factory.mktemp("journals")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory, where there is such a thing: who ends a thousand files waits for no disk."""
    with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        yield Path(made)


def lines_of(path):
    """The records of a file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def said(call, *args, within, **options):
    """What the RecordingError says that this call must end in; no path of this machine is in it."""
    with pytest.raises(RecordingError) as caught:
        call(*args, **options)
    assert str(within) not in f"{caught.value!r} {caught.value}"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def journalled(recording: Recording, target: Path, **options: Any) -> Journal:
    """A journal of this recording, written to its end."""
    journal = Journal(target, Recording(recording.request, labels=recording.labels), **options)
    journal.follow(recording)
    for t, read, nbytes, event in recording.rows():
        journal.write(event, t, read, nbytes)
    journal.end(recording)
    return journal


def open_files() -> int:
    """How many descriptors this process has."""
    return len(list(Path("/dev/fd").iterdir()))


# -- there and back --------------------------------------------------------------------------------


@settings(max_examples=80)
@given(rows=ROWS, marks=MARKS, envelope=OBJECTS, at=st.integers(0, 12))
def test_any_events_come_back(folder, rows, marks, envelope, at):
    """Events, times to the microsecond, marks and envelope, whenever the headers came."""
    recording = Recording({"modelId": "m"}, labels={"n": 1}, clock="parsed", started=1_767_225_600.125)
    journal = Journal(folder, recording)
    for i, row in enumerate(rows):
        if i == at:
            recording.marks |= marks
            recording.envelope = envelope
        journal.follow(recording)
        journal.write(*row)
        recording.append(*row)
    recording.marks |= marks
    recording.envelope = envelope
    recording.status = "complete"
    journal.end(recording)
    loaded = Recording.load(journal.path)
    kept = [(round(t, 6), read, nbytes, event) for t, read, nbytes, event in recording.rows()]
    assert list(loaded.rows()) == kept
    assert loaded.marks == {name: round(t, 6) for name, t in marks.items()}
    assert (loaded.envelope, loaded.request, loaded.labels) == (envelope, recording.request, {"n": 1})
    assert (loaded.clock, loaded.started, loaded.status) == ("parsed", recording.started, "complete")
    assert (loaded.problems, journal.events, journal.stopped) == ([], len(rows), None)
    journal.path.unlink()


@given(
    kind=st.sampled_from([TextDelta, ReasoningDelta, ToolInputDelta]),
    index=INDEX,
    text=st.text() | TEXT,
    t=TIMES | st.integers(0, 9),
    counts=st.tuples(COUNTS, COUNTS),
)
def test_the_short_cut_writes_what_the_long_way_does(kind, index, text, t, counts):
    """A delta's line is the same bytes, whichever way it was made."""
    event = kind(index, text)
    wire, payload = to_wire(event)
    record = {"t": round(t, 6), "read": counts[0], "bytes": counts[1], "type": wire, "payload": payload}
    assert event_line(event, t, *counts) == json.dumps(record, separators=(",", ":")).encode() + b"\n"


def test_a_journal_is_the_file_that_save_writes(tmp_path):
    """Once ended, it differs in nothing but the place of what the head could not know yet."""
    recording = reply(labels={"n": 1})
    journal = journalled(recording, tmp_path / "a.jsonl")
    saved = lines_of(recording.save(tmp_path / "b.jsonl"))
    head, *body, end = lines_of(journal.path)
    assert head == {**saved[0], "clock": "wire", "started": None, "envelope": {}}
    events = [record for record in body if "type" in record]
    assert events == [record for record in saved if "type" in record]
    assert {record["mark"]: record["t"] for record in body if "mark" in record} == recording.marks
    assert (end["end"]["status"], end["end"]["events"]) == ("complete", 7)
    before = b"".join(journal.path.read_bytes().splitlines(keepends=True)[:-1])
    assert end["end"]["sha256"] == sha256(before).hexdigest()


def test_each_event_is_in_the_file_when_write_returns(tmp_path):
    """Nothing is held back: whoever reads the file meanwhile sees all that was shown."""
    journal = Journal(tmp_path, Recording())
    for i in range(20):
        journal.write(TextDelta(0, str(i)), i / 10, i, 100)
        loaded = Recording.load(journal.path)
        assert (len(loaded), loaded.status, loaded.problems) == (i + 1, "interrupted", [])
    assert journal.events == 20
    journal.end(Recording())


def test_marks_are_written_once_and_again_if_they_change(tmp_path):
    """Each call of `follow` writes what is new; a retry's envelope comes with its headers mark."""
    recording = Recording()
    journal = Journal(tmp_path, recording)
    recording.mark("sent", 0.1)
    journal.follow(recording)
    journal.follow(recording)
    recording.mark("headers", 0.2)
    recording.envelope = {"request_id": "first", "http_status": 200}
    journal.follow(recording)
    recording.mark("headers", 0.4)
    recording.envelope = {"request_id": "second"}
    journal.follow(recording)
    recording.mark("closed", 0.3)
    recording.mark("late", 0.9)
    recording.status = "error"
    journal.end(recording)
    assert lines_of(journal.path)[1:-1] == [
        {"t": 0.1, "mark": "sent"},
        {"t": 0.2, "mark": "headers", "envelope": {"request_id": "first", "http_status": 200}},
        {"t": 0.4, "mark": "headers", "envelope": {"request_id": "second"}},
        {"t": 0.9, "mark": "late"},
        {"t": 0.3, "mark": "closed"},
    ]
    loaded = Recording.load(journal.path)
    assert (loaded.marks, loaded.envelope) == (recording.marks, {"request_id": "second"})


def test_an_envelope_that_changes_alone_is_written(tmp_path):
    """With its headers mark again; with the next mark or the end, where nobody saw headers come."""
    for names, at in (({"headers"}, 0), ({"sent"}, 0), (set(), -1)):
        recording = Recording()
        recording.marks |= dict.fromkeys(names & {"headers"}, 0.1)
        journal = Journal(tmp_path, recording)
        recording.envelope = {"request_id": "x"}
        recording.marks |= dict.fromkeys(names, 0.1)
        journal.follow(recording)
        if names:
            assert lines_of(journal.path)[1 + at]["envelope"] == {"request_id": "x"}
        journal.end(recording)
        assert Recording.load(journal.path).envelope == {"request_id": "x"}


def test_what_is_wrong_with_a_reply_is_kept(tmp_path):
    """The end holds the problems that the recording has then."""
    recording = Recording()
    journal = Journal(tmp_path, recording)
    recording.problems.append("The reader was late.")
    recording.status = "incomplete"
    journal.end(recording)
    loaded = Recording.load(journal.path)
    assert (loaded.status, loaded.problems) == ("incomplete", ["The reader was late."])


def test_it_is_brief_when_printed(tmp_path):
    """What a notebook shows: how many events, and how it stands; no path and no address."""
    recording = Recording()
    journal = Journal(tmp_path, recording)
    assert repr(journal) == "<Journal: 0 events, open>"
    journal.write(BlockStop(0), 0.0, 1, 1)
    assert repr(journal) == "<Journal: 1 event, open>"
    journal.end(recording)
    assert repr(journal) == "<Journal: 1 event, ended>"


# -- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_its_owner_may_read_it(tmp_path, umask):
    """Mode 0600 from its first byte, and 0700 for each folder that was made."""
    before = os.umask(umask)
    try:
        journal = Journal(tmp_path / "new" / "deep", Recording())
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (journal.path, *journal.path.parents[:2])]
    assert modes == [0o600, 0o700, 0o700]
    journal.end(Recording())


def test_in_a_folder_it_has_a_name_of_its_own(tmp_path, monkeypatch):
    """The time of the request in UTC, to the millisecond, and something random; the folder may be new."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "is.there").mkdir()
    targets = [tmp_path, "made", Path("made"), "made.with/", "is.there", str(tmp_path / "a" / "b")]
    journals = [Journal(target, Recording(started=1_767_225_600.125)) for target in targets]
    folders = [str(path.path.parent) for path in journals]
    assert folders == [str(tmp_path), "made", "made", "made.with", "is.there", str(tmp_path / "a" / "b")]
    for journal in journals:
        assert re.fullmatch(r"20260101T000000\.125Z-[0-9a-f]{8}\.jsonl", journal.path.name)
        journal.end(Recording())
        assert len(Recording.load(journal.path)) == 0
    assert len({journal.path.name for journal in journals}) == len(journals)


def test_without_a_known_start_the_name_is_the_time_now(tmp_path):
    """A recording that was begun by hand knows no time of its request."""
    journal = Journal(tmp_path, Recording())
    assert re.fullmatch(r"20\d{6}T\d{6}\.\d{3}Z-[0-9a-f]{8}\.jsonl", journal.path.name)
    journal.end(Recording())


def test_a_file_is_never_overwritten(tmp_path):
    """A file, a link and one that leads nowhere: each stays as it is, and the lesson names the way."""
    there, link, nowhere = (tmp_path / name for name in ("r.jsonl", "link.jsonl", "nowhere.jsonl"))
    there.write_text("mine")
    link.symlink_to(there)
    nowhere.symlink_to(tmp_path / "missing.jsonl")
    for path in (there, link, nowhere):
        text = said(Journal, path, Recording(), within=tmp_path)
        assert f"journal {path.name!r} cannot be opened: File exists" in text
        assert "never overwrites: give a folder" in text
    assert there.read_text() == "mine"
    assert sorted(tmp_path.iterdir()) == sorted([there, link, nowhere])


def test_where_nothing_can_be_written_is_said_before_anything_is_sent(tmp_path):
    """A folder that is missing, a file in the folder's place; nothing is left open or behind."""
    (tmp_path / "file").touch()
    files = open_files()
    for place in ("missing/r.jsonl", "file/r.jsonl", "file/folder/", "file"):
        text = said(Journal, tmp_path / place, Recording(), within=tmp_path)
        assert repr(Path(place).name) in text
        assert "folder" in text
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert open_files() <= files  # of other tests, some may be collected


@pytest.mark.parametrize("path", [None, 5, b"r.jsonl", "a\0b"], ids=repr)
def test_what_is_no_path_is_refused(tmp_path, path):
    """With what was given."""
    assert f"{path!r} is no path" in said(Journal, path, Recording(), within=tmp_path)


def test_a_path_that_no_file_system_has_is_refused(tmp_path):
    """Half of a surrogate pair cannot be a name."""
    assert "cannot be opened" in said(Journal, tmp_path / "\ud83d.jsonl", Recording(), within=tmp_path)


@pytest.mark.parametrize("durability", ["", "always", None, 5, ["crash"]], ids=repr)
def test_another_durability_is_refused(tmp_path, durability):
    """With those that there are; no file and no folder is made."""
    with pytest.raises(RequestError, match="one of crash, interval, each is wanted"):
        Journal(tmp_path / "new", Recording(), durability=durability)
    assert list(tmp_path.iterdir()) == []


def test_a_request_that_has_no_form_is_refused_before_anything_is_sent(tmp_path):
    """As `save` refuses it, and no file is left."""
    with pytest.raises(RecordingError, match="text, numbers, lists, dicts and bytes"):
        Journal(tmp_path, Recording({"x": {1, 2}}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("durability", DURABILITIES)
def test_every_durability_writes_the_same(tmp_path, durability):
    """They differ in what the disk has at which time, not in the file; threads end with their journal."""
    before = set(threading.enumerate())
    journal = journalled(reply(), tmp_path / f"{durability}.jsonl", durability=durability)
    plain = journalled(reply(), tmp_path / "plain.jsonl")
    assert journal.path.read_bytes() == plain.path.read_bytes()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
        assert not thread.is_alive()


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_journal_that_nobody_ends_leaves_nothing_open(tmp_path, monkeypatch, durability):
    """Dropped, it closes its file, its thread ends, and what it wrote counts as interrupted."""
    before, files, synced = set(threading.enumerate()), open_files(), threading.Event()
    journal = Journal(tmp_path, Recording(), durability=durability)
    monkeypatch.setattr(module, "_sync", lambda fd: synced.set())
    journal.write(TextDelta(0, "x"), 0.5, 1, 10)
    assert durability == "crash" or synced.wait(timeout=60)  # the thread has had it in its hands
    path = journal.path
    del journal
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert open_files() <= files  # of other tests, some may be collected
    loaded = Recording.load(path)
    assert (loaded.text, loaded.status) == ("x", "interrupted")


def test_the_tail_is_synced_without_another_write(tmp_path, monkeypatch):
    """With "interval" the disk has the last event although no other follows."""
    synced = threading.Event()
    journal = Journal(tmp_path, Recording(), durability="interval")
    monkeypatch.setattr(module, "_sync", lambda fd: synced.set())
    journal.write(TextDelta(0, "x"), 0.5, 1, 10)
    assert synced.wait(timeout=60)
    journal.end(Recording())


def test_two_journals_in_one_folder(tmp_path):
    """Replies that stream at once in one process each have a file of their own, and none mixes lines."""
    made = []

    def run(name: str) -> None:
        recording = Recording(labels={"name": name}, started=1_767_225_600.125)
        journal = Journal(tmp_path / "replies", recording, durability="interval")
        for i in range(500):
            journal.follow(recording)
            journal.write(TextDelta(0, f"{name}{i} "), i / 100, i, 100)
            recording.append(TextDelta(0, f"{name}{i} "), i / 100, i, 100)
        recording.status = "complete"
        journal.end(recording)
        made.append(journal.path)

    threads = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((tmp_path / "replies").iterdir()) == sorted(made)
    for path in made:
        loaded = Recording.load(path)
        name = loaded.labels["name"]
        assert loaded.text == "".join(f"{name}{i} " for i in range(500))
        assert loaded.status == "complete"


def test_ending_twice_is_ending_once(tmp_path):
    """The second call changes nothing, and nothing is written after the end."""
    recording = reply()
    journal = journalled(recording, tmp_path / "r.jsonl")
    before = journal.path.read_bytes()
    recording.mark("late", 9.0)
    journal.end(recording)
    journal.follow(recording)
    journal.write(TextDelta(0, "late"), 9.0, 9, 9)
    assert journal.path.read_bytes() == before
    assert (journal.events, journal.stopped) == (7, None)


# -- what is not whole -----------------------------------------------------------------------------


@pytest.mark.parametrize("ended", [True, False])
def test_a_file_cut_anywhere_gives_its_whole_lines(tmp_path, ended):
    """At every byte: the events of the whole lines, or an error if not even the head is one."""
    recording = Recording({"modelId": "m"})
    journal = Journal(tmp_path / "r.jsonl", recording)
    recording.mark("headers", 0.125)
    recording.envelope = {"request_id": "é"}
    events = [MessageStart("assistant"), TextDelta(0, 'é\n"\ud83d'), TextDelta(0, "\u2028"), BlockStop(0)]
    for i, event in enumerate(events):
        journal.follow(recording)
        journal.write(event, i / 8, i, 99)
    recording.status = "complete"
    if ended:
        journal.end(recording)
    data, cut = journal.path.read_bytes(), tmp_path / "cut.jsonl"
    for size in range(len(data)):
        part = data[:size]
        cut.write_bytes(part)
        whole = part.splitlines(keepends=True)
        torn = bool(whole) and not whole[-1].endswith(b"\n")
        if size < data.index(b"\n"):
            assert "not a recording" in said(Recording.load, cut, within=tmp_path)
            continue
        loaded = Recording.load(cut)
        count = sum(b'"type"' in line and line.endswith(b"\n") for line in whole)
        assert list(loaded) == events[:count]
        assert loaded.status == "interrupted"
        torn &= len(whole) > 1
        assert loaded.problems == ([f"Line {len(whole)} is torn and was dropped."] if torn else [])


def test_a_line_torn_anywhere_else_is_an_error(tmp_path):
    """Nobody who only appends leaves one: such a file was changed."""
    path = journalled(reply(), tmp_path / "r.jsonl").path
    lines = path.read_bytes().splitlines(keepends=True)[:-1]
    for number in range(1, len(lines) - 1):
        path.write_bytes(b"".join([*lines[:number], lines[number][:-9], *lines[number + 1 :]]))
        assert f"Line {number + 1} of 'r.jsonl' is not JSON" in said(Recording.load, path, within=tmp_path)


# -- kill -9 ---------------------------------------------------------------------------------------

#: Forks a writer for each moment, reads the numbers that it shows, and kills it after so many of them.
KILLED = """
import json, os, random, signal, sys
from bedrock_nb.events import TextDelta
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording

folder, durability, moments, most = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
draw = random.Random(8)
for moment in range(moments):
    wanted, length = draw.randint(1, most), draw.choice([1, 30, 3000])
    path = os.path.join(folder, f"{moment}.jsonl")
    out, into = os.pipe()
    child = os.fork()
    if not child:
        os.close(out)
        recording = Recording({"modelId": "m"})
        journal = Journal(path, recording, durability=durability)
        number = 0
        while True:
            journal.follow(recording)
            journal.write(TextDelta(0, f"{number} " + "x" * length), number / 1000, number, 100)
            os.write(into, b"%d\\n" % number)
            number += 1
    os.close(into)
    with os.fdopen(out, "rb") as shown:
        for _ in range(wanted):
            last = int(shown.readline())
        os.kill(child, signal.SIGKILL)
        for line in shown:
            last = int(line) if line.endswith(b"\\n") else last
    os.waitpid(child, 0)
    print(json.dumps([path, last]))
"""


@pytest.mark.parametrize(
    ("durability", "moments", "most"), [("crash", 50, 3000), ("interval", 20, 3000), ("each", 10, 100)]
)
def test_an_event_that_was_shown_survives_kill_9(memory, durability, moments, most):
    """A process that writes as fast as it can, killed at random moments: no shown event is missing."""
    command = [sys.executable, "-c", KILLED, str(memory), durability, str(moments), str(most)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rounds) == moments
    for path, last in rounds:
        loaded = Recording.load(path)
        assert loaded.status == "interrupted"
        assert len(loaded) > last
        numbers = [int(loaded.text_of(i).split(" ")[0]) for i in range(len(loaded))]
        assert numbers == list(range(len(loaded)))


# -- a disk that is full ---------------------------------------------------------------------------

#: Writes ten events into files that may have so many bytes more than the head; tells what came of it.
FULL = """
import json, resource, sys
from bedrock_nb.events import TextDelta
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording

folder, durability, spaces = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for space in spaces:
    recording = Recording({"modelId": "m"})
    journal = Journal(f"{folder}/{space}.jsonl", recording, durability=durability)
    head = journal.path.stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (head + space, hard))
    for number in range(10):
        journal.write(TextDelta(0, "x"), 0.5, 1, 100)
        recording.append(TextDelta(0, "x"), 0.5, 1, 100)
    resource.setrlimit(resource.RLIMIT_FSIZE, (head + space if space % 2 else hard, hard))
    journal.write(TextDelta(0, "after"), 0.5, 1, 100)
    recording.status = "complete"
    recording.mark("closed", 1.0)
    journal.end(recording)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(json.dumps([space, journal.events, journal.stopped, recording.problems, len(recording)]))
"""
LINE = len(event_line(TextDelta(0, "x"), 0.5, 1, 100))


@pytest.mark.parametrize("durability", DURABILITIES)
def test_a_full_disk_stops_the_journal_and_not_the_reply(tmp_path, durability):
    """Wherever the room ends, whole lines stay, no end follows, and what happened is said where it counts."""
    spaces = [0, 1, LINE - 1, LINE, LINE + 1, 5 * LINE + 7, 5 * LINE, 9 * LINE + 2, 10 * LINE - 1]
    command = [sys.executable, "-c", FULL, str(tmp_path), durability, json.dumps(spaces)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [space for space, *_ in told] == spaces
    for space, events, stopped, problems, recorded in told:
        assert events == space // LINE
        assert stopped == f"The journal stopped at event {events}: File too large."
        assert (problems, recorded) == ([stopped], 10)
        loaded = Recording.load(tmp_path / f"{space}.jsonl")
        assert (len(loaded), loaded.status, loaded.marks) == (events, "interrupted", {})
        torn = space % LINE != 0
        assert loaded.problems == ([f"Line {events + 2} is torn and was dropped."] if torn else [])


NO_ROOM = """
import resource, sys
from bedrock_nb.errors import RecordingError
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording

hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
recording = Recording()
try:
    Journal(sys.argv[1], recording)
except RecordingError as err:
    print(err, recording.problems)
"""


def test_no_room_for_the_head_is_said_before_anything_is_sent(tmp_path):
    """A file that nothing can be written into is not left behind."""
    command = [sys.executable, "-c", NO_ROOM, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "cannot be opened: File too large" in done.stdout
    assert done.stdout.endswith("[]\n")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fails_stops_the_journal(tmp_path, monkeypatch):
    """An error of fdatasync, at an event, in the thread or at the end: said once, raised never."""

    def fail(fd: int) -> None:
        failed.set()
        raise OSError(5, "Input/output error")

    for durability in ("each", "interval"):
        failed = threading.Event()
        recording = Recording()
        journal = Journal(tmp_path, recording, durability=durability)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_sync", fail)
            journal.write(TextDelta(0, "x"), 0.5, 1, 10)
            assert failed.wait(timeout=60)
            journal.write(TextDelta(0, "y"), 0.5, 1, 10)
            journal.end(recording)
        assert re.fullmatch(
            r"The journal stopped at event [012]: Input/output error\.", journal.stopped or ""
        )
        assert recording.problems == [journal.stopped]
        assert repr(journal).endswith("stopped>")


def test_what_has_no_form_in_json_stops_the_journal(tmp_path):
    """The reply goes on; an event that only the fold makes is the caller's mistake, and not written."""
    recording = Recording()
    journal = Journal(tmp_path, recording)
    with pytest.raises(RequestError, match="made by the fold"):
        journal.write(ToolUse(0, "id", "name", {}), 0.5, 1, 10)
    journal.write(TextDelta(0, "x"), 0.5, 1, 10)
    journal.write(Unknown("x", {"y": {1, 2}}), 0.5, 1, 10)
    journal.write(TextDelta(0, "x"), 0.5, 1, 10)
    journal.end(recording)
    assert journal.stopped == (
        "The journal stopped at event 1: it cannot be written as JSON (a set has no form in JSON)."
    )
    assert recording.problems == [journal.stopped]
    assert len(Recording.load(journal.path)) == 1
    for name, what in (("sent", "a mark"), ("", "its end")):
        other = Recording()
        journal = Journal(tmp_path, other)
        other.marks = {name: 0.5} if name else {}
        other.envelope = {"x": {1, 2}}
        journal.end(other)
        assert f"event 0: {what} cannot be written" in (journal.stopped or "")
        assert Recording.load(journal.path).status == "interrupted"


def test_a_file_that_somebody_else_wrote_into_gets_no_end(tmp_path):
    """The digest could not be that of its lines, and it would pass for changed."""
    recording = Recording()
    journal = Journal(tmp_path, recording)
    journal.write(TextDelta(0, "x"), 0.5, 1, 10)
    with journal.path.open("ab") as file:
        file.write(event_line(TextDelta(0, "y"), 0.5, 1, 10))
    journal.end(recording)
    assert journal.stopped == "The journal stopped at event 1: somebody else wrote into the file."
    assert Recording.load(journal.path).status == "interrupted"


FORKED = """
import os, sys
from bedrock_nb.events import TextDelta
from bedrock_nb.journal import Journal
from bedrock_nb.recording import Recording

recording = Recording()
journal = Journal(sys.argv[1], recording)
journal.write(TextDelta(0, "parent"), 0.5, 1, 10)
child = os.fork()
if not child:
    recording.mark("closed", 1.0)
    journal.follow(recording)
    journal.write(TextDelta(0, "child"), 0.5, 1, 10)
    journal.end(recording)
    print(journal.stopped, flush=True)
    os._exit(0)
os.waitpid(child, 0)
journal.write(TextDelta(0, "parent"), 0.5, 1, 10)
recording.status = "complete"
journal.end(recording)
"""


def test_a_forked_process_leaves_the_file_to_its_parent(tmp_path):
    """What it would write, its end above all, would spoil a file that is still being written."""
    command = [sys.executable, "-c", FORKED, str(tmp_path / "r.jsonl")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "stopped at event 1: this process was forked" in done.stdout
    loaded = Recording.load(tmp_path / "r.jsonl")
    assert (loaded.text, loaded.status, loaded.problems) == ("parentparent", "complete", [])


# -- interrupts ------------------------------------------------------------------------------------

_OURS = {module.__file__, event_line.__code__.co_filename}


class Striking:
    """While it is entered: at bytecode number ``n`` of the journal's code, call ``strike`` once.

    Unlike a signal, it strikes at truly every bytecode. ``struck`` tells whether there was such a one.
    """

    def __init__(self, n: int, strike: Any) -> None:
        self.left, self.strike, self.struck = n, strike, False

    def __call__(self, frame: FrameType, what: str, arg: Any) -> Any:
        if frame.f_code.co_filename not in _OURS:
            return None
        frame.f_trace = self  # Python 3.13 traces bytecodes only of a frame that is traced already
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if what == "opcode" and not self.struck:
            self.left -= 1
            if self.left < 0:
                self.struck = True
                self.strike()
        return self

    def __enter__(self) -> Striking:
        self.before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 asks at `settrace` whether any frame wants them
        sys.settrace(self)
        return self

    def __exit__(self, *exc_info: object) -> None:
        sys.settrace(self.before)


def interrupt() -> None:
    """What Stop does in a notebook."""
    raise KeyboardInterrupt


EACH = [MessageStart("assistant"), TextDelta(0, "é"), TextDelta(0, "\ud83d"), MessageStop("end_turn")]


def begun(path: Path, durability: str = "crash") -> tuple[Journal, Recording]:
    """A journal with its first event, and a recording with marks to come."""
    path.unlink(missing_ok=True)
    recording = Recording({"modelId": "m"})
    journal = Journal(path, recording, durability=durability)
    journal.write(EACH[0], 0.25, 1, 100)
    recording.mark("headers", 0.125)
    recording.envelope = {"request_id": "abc"}
    return journal, recording


@pytest.mark.parametrize("goes_on", [False, True], ids=["ends then", "goes on"])
def test_an_interrupt_anywhere_in_writing_loses_nothing(memory, goes_on):
    """At every bytecode: what was shown is in the file, at most the struck event besides; the end fits."""
    path, n, struck = memory / "r.jsonl", 0, True
    while struck:
        journal, recording = begun(path)
        shown = [EACH[0]]
        with Striking(n, interrupt) as strike:
            for event in EACH[1:]:
                try:
                    journal.follow(recording)
                    journal.write(event, 0.5, 2, 100)
                    shown.append(event)
                except KeyboardInterrupt:
                    if not goes_on:
                        break
        struck, n = strike.struck, n + 1
        recording.status = "cancelled"
        recording.mark("closed", 1.0)
        journal.end(recording)
        loaded = Recording.load(path)
        assert (loaded.status, loaded.problems, journal.stopped) == ("cancelled", [], None)
        assert (loaded.marks, loaded.envelope) == (recording.marks, recording.envelope)
        there = list(loaded)
        assert there in (EACH[: len(there)], shown)
        assert len(shown) <= len(there) <= len(shown) + struck
        assert all(event in there for event in shown)
    assert n > 200


@pytest.mark.parametrize("durability", ["crash", "each"])
@pytest.mark.parametrize("again", [True, False], ids=["ended again", "left"])
def test_an_interrupt_anywhere_in_ending_leaves_a_sound_file(memory, durability, again):
    """At every bytecode: ended again it is whole, once and only once; left alone whole or interrupted."""
    path, n, struck = memory / "r.jsonl", 0, True
    while struck:
        journal, recording = begun(path, durability)
        recording.status = "complete"
        recording.mark("closed", 1.0)
        with Striking(n, interrupt) as strike:
            try:
                journal.end(recording)
            except KeyboardInterrupt:
                if again:
                    journal.end(recording)
        struck, n = strike.struck, n + 1
        del journal
        loaded = Recording.load(path)
        assert (list(loaded), loaded.problems, recording.problems) == (EACH[:1], [], [])
        if again or not struck:
            assert loaded.status == "complete"
            assert (loaded.marks, loaded.envelope) == (recording.marks, recording.envelope)
        else:
            assert loaded.status in ("complete", "interrupted")
    assert n > 200


def test_a_handler_may_end_the_journal_that_it_interrupts(memory):
    """At every bytecode of a write, and of the end itself: one end, and nothing after it."""
    path, n, struck = memory / "r.jsonl", 0, True
    while struck:
        journal, recording = begun(path)
        recording.status = "cancelled"
        with Striking(n, lambda journal=journal, recording=recording: journal.end(recording)) as strike:
            for event in EACH[1:]:
                journal.follow(recording)
                journal.write(event, 0.5, 2, 100)
            journal.end(recording)
        struck, n = strike.struck, n + 1
        loaded = Recording.load(path)
        assert (loaded.status, loaded.problems, recording.problems) == ("cancelled", [], [])
        assert list(loaded) == EACH[: len(loaded)]
        assert [number for number, line in enumerate(lines_of(path), 1) if "end" in line] == [
            len(lines_of(path))
        ]
    assert n > 200


def test_a_torn_line_that_an_interrupt_left_gets_no_end(tmp_path):
    """Where a write was cut short and nobody could say so, the file's size does."""
    for n in range(1000):
        journal, recording = begun(tmp_path / "r.jsonl")
        with Striking(n, interrupt), pytest.raises(KeyboardInterrupt):
            journal.write(EACH[1], 0.5, 2, 100)
        if journal._pending is not None:  # the first bytecode at which it may be in the file, and is not
            break
    with journal.path.open("ab") as file:
        file.write(b'{"t":0.5,')
    journal.end(recording)
    assert journal.stopped == "The journal stopped at event 1: its last line is torn."
    loaded = Recording.load(journal.path)
    assert (list(loaded), loaded.status) == (EACH[:1], "interrupted")


def test_the_head_names_the_format(tmp_path):
    """Whoever finds such a file, also an interrupted one, can tell what it is."""
    journal = Journal(tmp_path, Recording())
    assert lines_of(journal.path)[0]["format"] == FORMAT
    journal.end(Recording())
