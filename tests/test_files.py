"""files.py: a recording in a file is the recording, and nothing else passes for one."""

from __future__ import annotations

import json
import os
import re
import threading
from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb import lines
from bedrock_nb.errors import BedrockNbError, RecordingError, StreamError
from bedrock_nb.events import BlockStop, MessageStart, MessageStop, StreamFault, TextDelta
from bedrock_nb.lines import FORMAT
from bedrock_nb.recording import Recording, Status
from bedrock_nb.wire import to_wire
from tests.recordings import (
    JSON,
    STREAM_ERRORS,
    STREAM_FAULTS,
    any_recording,
    recorded,
    reply,
    with_body,
)

#: A number that no column, counter or clock can hold, and one that is none.
ODD = st.sampled_from([10**400, -1, 2**32, 1e400, True, "", [], {}, None])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for the tests that draw examples: each overwrites the file of the one before."""
    return tmp_path_factory.mktemp("recordings")


def lines_of(path):
    """The records of a file."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def write(path, *records, end="\n"):
    """A file of these records, the last line ending as told."""
    path.write_text("\n".join(map(json.dumps, records)) + end)
    return path


HEAD = {"format": FORMAT, "version": 1, "request": {"modelId": "m"}}
DELTA = {"t": 0.5, "read": 1, "bytes": 9, "type": "contentBlockDelta"}
DELTA["payload"] = {"contentBlockIndex": 0, "delta": {"text": "hi"}}


def said(call, *args, within):
    """What the RecordingError says that this call must end in; no path of this machine is in it."""
    with pytest.raises(RecordingError) as caught:
        call(*args)
    err: BaseException | None = caught.value
    while err is not None:
        assert str(within) not in f"{err!r} {err}"
        err = err.__cause__ or (None if err.__suppress_context__ else err.__context__)
    return str(caught.value)


# -- there and back --------------------------------------------------------------------------------


def assert_same(ours: Recording, theirs: Recording) -> None:
    """Two recordings agree in everything that a file keeps."""
    assert list(ours.rows()) == list(theirs.rows())
    assert (ours.request, ours.labels, ours.clock) == (theirs.request, theirs.labels, theirs.clock)
    assert (ours.late, ours.spent) == (theirs.late, theirs.spent)
    assert (ours.marks, ours.envelope, ours.status) == (theirs.marks, theirs.envelope, theirs.status)
    assert ours.message == theirs.message
    assert (ours.started is None) == (theirs.started is None)
    assert abs((ours.started or 0) - (theirs.started or 0)) < 0.001


@settings(deadline=None, max_examples=80)
@given(recording=any_recording())
def test_any_recording_comes_back(folder, recording):
    """Events, times, request, labels, envelope, marks, status, own time: all that was saved is loaded."""
    path = recording.save(folder / "any.jsonl")
    loaded = Recording.load(path)
    assert_same(loaded, recording)
    assert loaded.problems == []
    again = loaded.save(folder / "again.jsonl")
    assert again.read_bytes() == path.read_bytes()


@settings(deadline=None, max_examples=60)
@given(fault=STREAM_FAULTS)
def test_any_fault_comes_back(folder, fault):
    """Each class of error of a stream is loaded as that class, and says the same."""
    loaded = Recording.load(recorded((TextDelta(0, "so far"), 0.5), (fault, 1.0)).save(folder / "f.jsonl"))
    error = loaded.error
    assert type(error) is type(fault.error)
    assert str(error) == str(fault.error)
    assert vars(error).get("code") == vars(fault.error).get("code") or "FrameError" in repr(error)


def test_every_error_of_a_stream_is_tried():
    """The strategy of faults knows the whole tree."""
    assert {kind.__name__ for kind in STREAM_ERRORS} >= {
        "StreamError",
        "FrameError",
        "IncompleteStreamError",
        "PayloadError",
        "ConnectionLost",
        "StreamStalled",
    }


def test_bytes_in_a_request_come_back(tmp_path):
    """Images and documents are bytes in a request; a file keeps them, at any depth."""
    image = {"image": {"format": "png", "source": {"bytes": bytes(range(256))}}}
    asked = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "see"}, image]}]}
    loaded = Recording.load(Recording(asked, labels={"key": b"\0"}).save(tmp_path / "r.jsonl"))
    assert loaded.request == asked
    assert loaded.labels == {"key": b"\0"}


def test_numbers_of_numpy_are_numbers(tmp_path):
    """Labels of a sweep often come out of an array."""
    labels = {"n": np.int64(3), "x": np.float32(0.5), "b": np.bool_(True)}
    loaded = Recording.load(Recording(labels=labels).save(tmp_path / "r.jsonl"))
    assert loaded.labels == {"n": 3, "x": 0.5, "b": True}


def test_an_envelope_without_its_mark_comes_back(tmp_path):
    """Where nobody saw the headers come, the envelope is kept all the same."""
    recording = Recording(clock="parsed")
    recording.envelope = {"request_id": "abc"}
    assert Recording.load(recording.save(tmp_path / "r.jsonl")).envelope == {"request_id": "abc"}


def test_times_are_kept_to_the_microsecond(tmp_path):
    """A longer number would only look exact."""
    loaded = Recording.load(recorded((TextDelta(0, "x"), 1 / 3)).save(tmp_path / "r.jsonl"))
    assert list(loaded.times) == [0.333333]


def test_save_and_load_take_any_path(tmp_path, monkeypatch):
    """Text and Path, absolute and relative; `save` returns where it is."""
    monkeypatch.chdir(tmp_path)
    assert reply().save("a.jsonl") == Path("a.jsonl")
    assert reply().save(tmp_path / "b.jsonl") == tmp_path / "b.jsonl"
    assert_same(Recording.load("b.jsonl"), Recording.load(tmp_path / "a.jsonl"))


# -- the file --------------------------------------------------------------------------------------


def test_a_person_can_read_it(tmp_path):
    """JSON lines in order of time: head, marks and events under the wire's names, end."""
    path = reply(labels={"n": 1}).save(tmp_path / "r.jsonl")
    head, *body, end = lines_of(path)
    assert head == {
        "format": "bedrock-nb-recording",
        "version": 1,
        "request": {"modelId": "amazon.nova-lite-v1:0", "messages": []},
        "labels": {"n": 1},
        "clock": "wire",
        "started": "2026-01-01T00:00:00.125+00:00",
    }
    assert [record["t"] for record in body] == sorted(record["t"] for record in body)
    assert [record.get("mark") or record["type"] for record in body] == [
        "sent",
        "headers",
        "messageStart",
        *["contentBlockDelta"] * 3,
        "contentBlockStop",
        "messageStop",
        "metadata",
        "closed",
    ]
    assert body[1]["envelope"] == {"request_id": "abc-1", "http_status": 200, "retries": 1}
    assert body[3] == {
        "t": 0.5,
        "read": 2,
        "bytes": 140,
        "type": "contentBlockDelta",
        "payload": {"contentBlockIndex": 0, "delta": {"text": "Hello"}},
    }
    assert end["end"]["status"] == "complete"
    assert end["end"]["events"] == 7


def test_the_digest_is_that_of_the_lines_before_the_end(tmp_path):
    """Anybody can check it with sha256sum."""
    path = reply().save(tmp_path / "r.jsonl")
    *lines, end = path.read_bytes().splitlines(keepends=True)
    assert json.loads(end)["end"]["sha256"] == sha256(b"".join(lines)).hexdigest()


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_only_its_owner_may_read_it(tmp_path, umask):
    """What somebody asked a model is nobody else's business: mode 0600, also over an open file."""
    path = tmp_path / "r.jsonl"
    path.touch(0o666)
    before = os.umask(umask)
    try:
        reply().save(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_recording_that_grows_is_saved_as_far_as_it_is(tmp_path):
    """While another thread records, each file is sound, and interrupted."""
    recording = Recording()
    recording.append(MessageStart("assistant"), 0.0)

    def grow() -> None:
        for i in range(20_000):
            recording.append(TextDelta(0, "x"), i / 1000)

    thread = threading.Thread(target=grow)
    thread.start()
    lengths = []
    while thread.is_alive() and len(lengths) < 20:
        loaded = Recording.load(recording.save(tmp_path / "r.jsonl"))
        assert loaded.status == "interrupted"
        assert loaded.text == "x" * (len(loaded) - 1)
        lengths.append(len(loaded))
    thread.join()
    assert lengths == sorted(lengths)


# -- exact frames ----------------------------------------------------------------------------------


def test_exact_frames_are_kept_on_request(tmp_path):
    """With ``frames=True`` each line has the bytes of its frame, and the body is known again."""
    events = [MessageStart("assistant"), TextDelta(0, "é"), BlockStop(0), MessageStop("end_turn")]
    recording = with_body(events)
    path = recording.save(tmp_path / "r.jsonl", frames=True)
    frames = [b64decode(record["frame"]) for record in lines_of(path)[1:-1]]
    assert b"".join(frames) == recording.body
    assert [len(frame) for frame in frames] == list(recording.sizes)
    loaded = Recording.load(path)
    assert loaded.body == recording.body
    assert list(loaded) == events
    assert loaded.save(tmp_path / "again.jsonl", frames=True).read_bytes() == path.read_bytes()


def test_frames_are_not_kept_unless_asked_for(tmp_path):
    """They would triple the file."""
    path = with_body([TextDelta(0, "x")]).save(tmp_path / "r.jsonl")
    assert all("frame" not in record for record in lines_of(path))
    assert Recording.load(path).body is None


def cut_short(recording: Recording) -> Recording:
    """The same events; of the body, only the first bytes."""
    other = recorded(*((event, t, read, nbytes) for t, read, nbytes, event in recording.rows()))
    other.keep((recording.body or b"")[:-5])
    return other


@pytest.mark.parametrize(
    "recording",
    [
        reply(),
        Recording(),
        cut_short(with_body([TextDelta(0, "x"), TextDelta(0, "y")])),
        recorded((TextDelta(0, "x"), 0.0)),
    ],
    ids=["no body", "nothing", "body cut", "no sizes"],
)
def test_frames_that_are_not_known_are_not_made_up(tmp_path, recording):
    """Without the wire's bytes, ``frames=True`` is an error, and leaves no file."""
    text = said(lambda: recording.save(tmp_path / "r.jsonl", frames=True), within=tmp_path)
    assert "exact frames" in text
    assert "without frames" in text
    assert list(tmp_path.iterdir()) == []


# -- writing that fails ----------------------------------------------------------------------------


class Strange:
    """Something that JSON has no form for."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: Recording(labels={"x": Strange()}),
        lambda: Recording({"x": {1, 2}}),
        lambda: Recording(labels={"x": {(1, 2): "y"}}),
        lambda: Recording(started=1e300),
        lambda: Recording(labels={"x": np.arange(3)}),
    ],
    ids=["object", "set", "tuple as key", "no such year", "array"],
)
def test_a_file_is_written_whole_or_not_at_all(tmp_path, make):
    """When something has no form in JSON, the file that was there stays, and no part of a new one."""
    path = reply().save(tmp_path / "r.jsonl")
    before = path.read_bytes()
    text = said(make().save, path, within=tmp_path)
    assert "cannot be written" in text
    assert "text, numbers, lists, dicts and bytes" in text
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


def test_where_nothing_can_be_written_is_said(tmp_path):
    """A folder that is missing, a folder in the file's place, a file in the folder's place."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    for place in ("missing/r.jsonl", "folder", "file/r.jsonl"):
        text = said(reply().save, tmp_path / place, within=tmp_path)
        assert repr(Path(place).name) in text
        assert "folder" in text
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("path", [None, 5, b"r.jsonl", "a\0b"], ids=repr)
def test_what_is_no_path_is_refused(tmp_path, path):
    """Both ways, with what was given."""
    for call in (reply().save, Recording.load):
        assert f"{path!r} is no path" in said(call, path, within=tmp_path)


# -- reading what is not whole ---------------------------------------------------------------------


def test_every_cut_is_seen(tmp_path):
    """Wherever the file is cut, the whole lines are kept and the status is interrupted."""
    path, cut = reply().save(tmp_path / "r.jsonl"), tmp_path / "cut.jsonl"
    data, whole = path.read_bytes(), list(reply())
    head = data.index(b"\n") + 1
    for size in range(head, len(data), 7):
        cut.write_bytes(data[:size])
        loaded = Recording.load(cut)
        assert loaded.status == "interrupted"
        assert list(loaded) == whole[: len(loaded)]
        number = data[:size].count(b"\n") + 1
        torn = not data[:size].endswith(b"\n")
        assert loaded.problems == ([f"Line {number} is torn and was dropped."] if torn else [])


def test_without_its_end_a_file_is_interrupted(tmp_path):
    """All events are there, and still nobody may take it for complete."""
    path = reply().save(tmp_path / "r.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    loaded = Recording.load(path)
    assert (loaded.status, len(loaded), loaded.problems) == ("interrupted", 7, [])


@pytest.mark.parametrize("status", get_args(Status))
def test_every_status_comes_back(tmp_path, status):
    """Each that a recording can have, but for one: nothing more comes into a file."""
    recording = reply()
    recording.status = status
    loaded = Recording.load(recording.save(tmp_path / "r.jsonl"))
    assert loaded.status == (status if status != "streaming" else "interrupted")


@pytest.mark.parametrize("number", range(11))
def test_a_changed_line_is_seen(tmp_path, number):
    """One digit, anywhere before the end, and the digest does not fit."""
    path = reply().save(tmp_path / "r.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    digit = next(c for c in reversed(lines[number]) if chr(c) in "123456789")
    place = lines[number].rindex(digit)
    lines[number] = lines[number][:place] + b"%d" % (int(chr(digit)) % 9 + 1) + lines[number][place + 1 :]
    path.write_bytes(b"".join(lines))
    assert "changed" in said(Recording.load, path, within=tmp_path) or number == 0


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda lines: [*lines[:4], *lines[5:]], "changed after it was recorded"),
        (lambda lines: [*lines[:5], lines[4], *lines[5:]], "changed after it was recorded"),
        (lambda lines: [*lines, lines[4]], "goes on after its end"),
        (lambda lines: [*lines, *lines], "goes on after its end"),
        (lambda lines: [*lines[:-1], b'{"end":5}\n'], "changed after it was recorded"),
        (lambda lines: [*lines[:-1], b'{"end":{}}\n'], "changed after it was recorded"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b'"complete"', b"0")], "how the reply ended"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b"complete", b"done")], "how the reply ended"),
        (lambda lines: [*lines[:2], b"\n", *lines[2:]], "Line 3 of 'r.jsonl' is not JSON"),
        (lambda lines: [*lines[:2], b"{oops\n", *lines[2:]], "Line 3 of 'r.jsonl' is not JSON"),
        (lambda lines: [*lines[:2], b"[" * 10**5 + b"\n"], "Line 3 of 'r.jsonl' is not JSON"),
        (lambda lines: [*lines[:2], b"[]\n"], "Line 3 of 'r.jsonl' is not a JSON object"),
        (lambda lines: [*lines[:2], b"{}\n"], "Line 3 of 'r.jsonl' is not an event"),
    ],
)
def test_other_changes_are_seen(tmp_path, change, text):
    """A line taken out, put in or doubled, something after the end, an end that is none."""
    path = reply().save(tmp_path / "r.jsonl")
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    assert text in said(Recording.load, path, within=tmp_path)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({**DELTA, "t": "0.5"}, "t is no number"),
        ({**DELTA, "t": 10**400}, "float"),
        ({**DELTA, "read": -1}, "read -1"),
        ({**DELTA, "bytes": 2**40}, str(2**40)),
        ({**DELTA, "type": ["x"]}, "type is no text"),
        ({**DELTA, "payload": []}, "object is wanted"),
        ({**DELTA, "payload": {"contentBlockIndex": 0, "delta": {"text": 5}}}, "str expected"),
        ({**DELTA, "frame": "not base64!"}, "Error"),
        ({"t": 0.5, "mark": "sent", "envelope": 5}, "TypeError"),
        ({"mark": "sent"}, "KeyError"),
        ({"t": 0.5, "type": "messageStart"}, "KeyError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_line_that_is_no_event_is_named(tmp_path, record, why):
    """The error gives the number of the line and what is wrong with it."""
    text = said(Recording.load, write(tmp_path / "r.jsonl", HEAD, DELTA, record), within=tmp_path)
    assert "Line 3 of 'r.jsonl' is not an event" in text
    assert why in text


@pytest.mark.parametrize("version", [2, 99, 10**30])
def test_a_newer_version_says_what_to_do(tmp_path, version):
    """Whatever else a newer format has in its first line."""
    path = write(tmp_path / "r.jsonl", {"format": FORMAT, "version": version, "request": [1]})
    text = said(Recording.load, path, within=tmp_path)
    assert f"version {version!s:.20}" in text
    assert "reads up to 1" in text
    assert "Install a newer bedrock-nb" in text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"hello\n",
        b"{}\n",
        b"[]\n",
        b"\x89PNG\r\n\x1a\n\0\0",
        b"[" * 10**5,
        json.dumps({"format": "har", "version": 1}).encode(),
        *(json.dumps({**HEAD, "version": v}).encode() for v in (0, -1, None, "1", 1.5, True, float("inf"))),
    ],
    ids=lambda content: repr(content[:60]),
)
def test_what_is_not_a_recording_is_said(tmp_path, content):
    """Empty, binary, other JSON, no sensible version: what was given, and what is wanted."""
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    text = said(Recording.load, path, within=tmp_path)
    assert "'r.jsonl' is not a recording" in text
    assert "Recording.save" in text


@pytest.mark.parametrize(
    "head",
    [{"request": 5}, {"labels": "x"}, {"started": 5}, {"started": "yesterday"}, {"envelope": 5}],
    ids=repr,
)
def test_a_damaged_head_is_said(tmp_path, head):
    """The format is right and something else in the first line is not."""
    path = write(tmp_path / "r.jsonl", {**HEAD, **head})
    assert "first line of 'r.jsonl' is damaged" in said(Recording.load, path, within=tmp_path)


def test_what_cannot_be_read_is_said(tmp_path):
    """A file that is not there, and a folder."""
    assert "'no.jsonl' cannot be read: No such file" in said(
        Recording.load, tmp_path / "no.jsonl", within=tmp_path
    )
    assert "cannot be read: Is a directory" in said(Recording.load, tmp_path, within=tmp_path.parent)


# -- any bytes -------------------------------------------------------------------------------------


def load_or_refuse(path: Path) -> Recording | None:
    """Load; a RecordingError is an answer too, any other exception is none."""
    try:
        return Recording.load(path)
    except RecordingError:
        return None


def use(recording: Recording, folder: Path) -> None:
    """What a notebook does with a recording: it must stand that, whatever the file held."""
    assert repr(recording)
    assert recording.message.text == recording.text
    assert nb.metrics.measure(recording)
    assert len(nb.events(recording)) == len(recording) + len({"request", *recording.marks})
    assert len(nb.summary(recording)) == 1
    loaded = Recording.load(recording.save(folder / "used.jsonl"))
    assert list(loaded) == list(recording)
    assert_same(Recording.load(loaded.save(folder / "used.jsonl")), loaded)


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_recording_or_a_recording_error(folder, data):
    """Junk never ends in another exception."""
    path = folder / "junk.jsonl"
    path.write_bytes(data)
    load_or_refuse(path)


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_a_damaged_file_is_a_recording_or_a_recording_error(folder, data):
    """Bytes changed, dropped or put in, with and without the end that would give it away."""
    path = reply(labels={"a": 1}).save(folder / "damaged.jsonl")
    content = bytearray(path.read_bytes())
    ended = data.draw(st.booleans())
    if not ended:
        del content[content.index(b'{"end"') :]
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 3))
        content[begin : begin + length] = data.draw(st.binary(max_size=3) | st.just(b"1"))
    path.write_bytes(content)
    loaded = load_or_refuse(path)
    if loaded is not None:
        assert loaded.status in ("interrupted", "complete" if ended else "interrupted")


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_any_json_in_the_place_of_any_member(folder, data):
    """A file that is JSON throughout and means anything at all: refused, or of use to the end."""
    records = lines_of(reply(labels={"a": 1}).save(folder / "any.jsonl"))[:-1]
    for _ in range(data.draw(st.integers(1, 3))):
        node = data.draw(st.sampled_from(records[1:]))
        while True:
            key = data.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
            if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
                break
            node = node[key]
        node[key] = data.draw(ODD | JSON)
    loaded = load_or_refuse(write(folder / "any.jsonl", *records))
    if loaded is not None:
        use(loaded, folder)


def test_errors_are_of_one_tree():
    """Who catches BedrockNbError or ValueError catches what is wrong with a file."""
    assert issubclass(RecordingError, BedrockNbError)
    assert issubclass(RecordingError, ValueError)


def test_a_fault_is_written_under_the_wires_name(tmp_path):
    """An exception frame as Bedrock names it; what only a client can see, as a fault of its class."""
    recording = recorded((StreamFault(StreamError("Cut.", remedy="Ask again.")), 0.0))
    record = lines_of(recording.save(tmp_path / "r.jsonl"))[1]
    assert (record["type"], record["payload"]) == to_wire(recording.event(0))
    assert record["payload"] == {"error": "StreamError", "message": "Cut.", "remedy": "Ask again."}


def test_problems_are_kept(tmp_path):
    """What is wrong with a measurement must not be lost with the session."""
    recording = Recording()
    recording.status, recording.problems = "complete", ["The reader was late."]
    assert Recording.load(recording.save(tmp_path / "a.jsonl")).problems == ["The reader was late."]


def test_how_late_a_read_was_is_told_once(tmp_path):
    """In the line of its first event; what came in time looks as it always did."""
    rows = [(TextDelta(0, "a"), 0.5, 1, 9), (TextDelta(0, "b"), 0.5, 1, 9), (TextDelta(0, "c"), 0.7, 2, 9)]
    recording = recorded(*rows)
    recording.late[1] = 0.0123456789
    lines = lines_of(recording.save(tmp_path / "a.jsonl"))
    assert [line.get("late") for line in lines[1:-1]] == [0.012346, None, None]
    assert list(lines[2]) == ["t", "read", "bytes", "type", "payload"]


@pytest.mark.parametrize(
    "wrong", ["-1", "1e999", "NaN", "true", "null", '"1"', "[]", str(10**400)], ids=lambda text: text[:6]
)
def test_own_time_that_is_no_time_is_passed_over(tmp_path, wrong):
    """A file may say anything: only numbers of seconds are taken."""
    recording = recorded((TextDelta(0, "a"), 0.5, 1, 9))
    recording.late[1], recording.spent["client_s"], recording.spent["display_s"] = 0.25, 0.125, 0.75
    path = recording.save(tmp_path / "a.jsonl")
    head, event, end = path.read_text().splitlines()
    event = event.replace("0.25", wrong)
    digest = sha256(f"{head}\n{event}\n".encode()).hexdigest()
    end = re.sub('"sha256":"[^"]*"', f'"sha256":"{digest}"', end.replace("0.125", wrong))
    path.write_text(f"{head}\n{event}\n{end}\n")
    loaded = Recording.load(path)
    assert (loaded.late, loaded.spent) == ({}, {"display_s": 0.75})
    path.write_text(f"{head}\n{event}\n" + re.sub('"spent":.*', f'"spent":{wrong}}}}}\n', end))
    assert Recording.load(path).spent == {}


# -- the short cut ---------------------------------------------------------------------------------

_MEMBERS = st.fixed_dictionaries(
    {"t": st.floats(0, 9) | ODD, "payload": st.just(DELTA["payload"]) | JSON},
    optional={
        "read": st.integers(0, 9) | ODD,
        "bytes": st.integers(0, 9) | ODD,
        "type": st.sampled_from(["contentBlockDelta", "contentBlockStop", 3]),
        "late": st.floats(0, 1),
        "frame": st.just("AAAA"),
        "mark": st.just("sent"),
    },
)
_PAYLOADS = st.builds(
    lambda index, kind: {"contentBlockIndex": index, "delta": kind},
    st.integers(0, 2**31) | ODD,
    st.sampled_from([{"text": "a"}, {"toolUse": {"input": "{"}}, {"text": "\ud83d"}, {"text": 1}, {}]),
)


@settings(max_examples=150)
@given(record=_MEMBERS, payload=st.none() | _PAYLOADS)
def test_the_short_cut_reads_what_the_long_way_reads(record, payload):
    """A line that is taken in quickly is the same event; of any other, nothing is taken in."""
    line = json.dumps(record if payload is None else {**DELTA, **record, "payload": payload}).encode() + b"\n"
    quick, slow = Recording(), Recording()
    if lines.read_delta(quick, line):
        lines.read_part(slow, lines.parse(line, "f", 2), "f", 2)
    assert list(quick.rows()) == list(slow.rows())


@pytest.mark.parametrize(
    "change", [{}, {"t": 1e22}, {"payload": {"contentBlockIndex": 0, "delta": {"text": "hi"}, "p": "abc"}}]
)
def test_usual_deltas_take_the_short_cut(change):
    """They are nearly all of a file; a padding is usual, too."""
    recording = Recording()
    assert lines.read_delta(recording, json.dumps({**DELTA, **change}).encode())
    assert list(recording) == [TextDelta(0, "hi")]


@pytest.mark.parametrize("node", [{"$bytes": "aGk="}, {"$$bytes": b"hi"}, {"a": [{"$bytes": {"$bytes": 1}}]}])
def test_what_only_looks_like_bytes_comes_back_as_it_was(tmp_path, node):
    """A tool's input may have the very key that stands for bytes in a file."""
    recording = Recording({"modelId": "m", "input": node, "image": b"hi"}, labels={"n": node})
    loaded = Recording.load(recording.save(tmp_path / "a.jsonl"))
    assert (loaded.request, loaded.labels) == (recording.request, recording.labels)
