"""formats/perfetto.py: a trace is one that viewers can draw, and says what the recording says."""

from __future__ import annotations

import gzip
import json
import math
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import RecordingError, RequestError, service_fault
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.formats import perfetto
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun
from tests.recordings import TEXT, any_recording, recorded, reply

#: What each kind of entry must have besides ph, pid, name and ts.
MEMBERS = {
    "X": {"tid", "cat", "dur", "args"},
    "i": {"tid", "cat", "s", "args"},
    "C": {"args"},
    "M": {"tid", "args"},
}

SECONDS = st.floats(-1, 9) | st.sampled_from([math.nan, math.inf, 1e300, -1e300, 0.0])
RUNS = st.builds(
    ToolRun,
    TEXT,
    TEXT,
    st.sampled_from(["success", "error", "denied"]),
    SECONDS,
    st.none() | SECONDS,
    SECONDS,
    SECONDS,
    st.booleans(),
    TEXT,
)
MARKS = st.dictionaries(
    st.sampled_from(
        ["sent", "sent 2", "sent 3", "connecting", "resolved", "connected", "secured", "headers"]
    ),
    SECONDS,
)


def check(trace):
    """The trace keeps the rules of its format; its entries by process, track and kind."""
    text = json.dumps(trace, allow_nan=False)
    text.encode("utf-8")
    assert json.loads(text) == trace
    assert trace["displayTimeUnit"] == "ms"
    named, last = set(), defaultdict(int)
    tracks = defaultdict(list)
    for entry in trace["traceEvents"]:
        assert set(entry) == {"ph", "pid", "name", "ts"} | MEMBERS[entry["ph"]], entry
        assert type(entry["pid"]) is type(entry["ts"]) is int
        assert type(entry["name"]) is str
        assert entry["name"]
        if entry["ph"] == "M":
            named.add((entry["pid"], entry["tid"]))
            continue
        assert entry["ts"] >= last[entry["pid"]], "in order of time"
        last[entry["pid"]] = entry["ts"]
        if entry["ph"] == "C":
            assert all(type(value) in (int, float) for value in entry["args"].values())
            continue
        assert (entry["pid"], entry["tid"]) in named, "every track has a name"
        tracks[entry["pid"], entry["tid"], entry["ph"]].append(entry)
    for (_, _, kind), entries in tracks.items():
        if kind == "X":
            nests(entries)
    return tracks


def nests(slices):
    """No slice of a track ends inside of another that it did not begin in."""
    open_ = []
    for one in slices:
        assert type(one["dur"]) is int
        assert one["dur"] >= 0
        while open_ and open_[-1] <= one["ts"]:
            open_.pop()
        end = one["ts"] + one["dur"]
        assert not open_ or end <= open_[-1], one
        open_.append(end)


def slices(trace, pid=1):
    """Slices of one recording: name -> (track, begin, end)."""
    names = {e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    return {
        e["name"]: (names[e["tid"]], e["ts"], e["ts"] + e["dur"])
        for e in trace["traceEvents"]
        if e["ph"] == "X" and e["pid"] == pid
    }


def long_one():
    """Reasoning, text and a tool's input; two attempts, a new connection; two tools side by side."""
    one = recorded(
        (MessageStart("assistant"), 2.0, 1, 90),
        (ReasoningDelta(0, "secret thought"), 2.1, 2, 90),
        (BlockStop(0), 2.2, 2, 90),
        (TextDelta(1, "secret answer"), 2.3, 3, 90),
        (BlockStop(1), 2.4, 3, 90),
        (ToolUseStart(2, "t1", "add"), 2.5, 4, 90),
        (ToolInputDelta(2, '{"secret": 1}'), 2.6, 4, 90),
        (BlockStop(2), 2.7, 4, 90),
        (MessageStop("tool_use"), 2.8, 5, 90),
        (Metadata({"outputTokens": 20}, 700), 3.0, 5, 90),
        request={"modelId": "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.m-1"},
        started=1_767_225_600.125,
    )
    one.marks |= {"sent": 0.1, "sent 2": 1.5, "connecting": 1.2, "resolved": 1.25, "connected": 1.3}
    one.marks |= {"secured": 1.4, "headers": 1.9, "closed": 3.0}
    one.tools += [
        ToolRun("t1", "add", "success", 2.7, 2.9, 3.5, waited_s=0.15),
        ToolRun("t2", "find", "denied", 2.75, None, 3.1, waited_s=0.2, error="a secret reason"),
        ToolRun("t3", "late", "success", 3.2, 3.3, 3.4),
    ]
    return one


# -- what it says ----------------------------------------------------------------------------------


def test_a_reply_is_its_phases():
    """They follow each other, and end where the metrics say."""
    one = long_one()
    trace = perfetto.trace(one, align="request")
    check(trace)
    found = slices(trace)
    metrics = nb.metrics.measure(one)
    ends = [metrics[name] for name in ("t_headers_s", "ttft_s", "ttlt_s", "e2e_s")]
    phases = [found[n] for n in ("waiting for headers", "waiting for content", "streaming", "closing")]
    assert [end for _, _, end in phases] == [round(end * 1e6) for end in ends]
    assert all(a[2] == b[1] for a, b in pairwise(phases))
    assert found["reply eu.m-1"] == ("reply", 0, 3_000_000)


def test_each_part_has_a_track():
    """Connection, blocks, and tools on as many tracks as ran side by side."""
    found = slices(perfetto.trace(long_one(), align="request"))
    assert {name: at for name, at in found.items() if at[0] == "connection"} == {
        "attempt 1 and pause": ("connection", 100_000, 1_500_000),
        "name lookup": ("connection", 1_200_000, 1_250_000),
        "TCP": ("connection", 1_250_000, 1_300_000),
        "TLS": ("connection", 1_300_000, 1_400_000),
    }
    assert found["reasoning"] == ("block 0", 2_100_000, 2_200_000)
    assert found["text"] == ("block 1", 2_300_000, 2_400_000)
    assert found["tool input"] == ("block 2", 2_500_000, 2_700_000)
    assert found["tool add"] == ("tools", 2_700_000, 3_500_000)
    assert found["tool find"] == ("tools 2", 2_750_000, 3_100_000)
    assert found["tool late"] == ("tools 2", 3_200_000, 3_400_000)
    assert found["running"] == ("tools 2", 3_300_000, 3_400_000)


@pytest.mark.parametrize("connected", [True, False])
def test_a_block_is_not_taken_for_the_connection(connected):
    """Without tools, too, each has a track of its own, and one that has nothing is not there."""
    one = long_one()
    del one.tools[:]
    if not connected:
        one.marks = {"sent": 0.1, "headers": 1.9}
    found = slices(perfetto.trace(one, align="request"))
    assert found["reasoning"] == ("block 0", 2_100_000, 2_200_000)
    assert [at[0] for name, at in found.items() if name == "TCP"] == ["connection"] * connected
    assert {at[0] for at in found.values()} - {"connection"} == {"reply", "block 0", "block 1", "block 2"}


def test_waiting_for_approval_is_not_running():
    """Of each tool both are shown, inside of its slice."""
    one = long_one()
    del one.tools[1:]
    found = slices(perfetto.trace(one, align="request"))
    assert found["waiting for approval"] == ("tools", 2_750_000, 2_900_000)
    assert found["running"] == ("tools", 2_900_000, 3_500_000)


def test_every_event_and_mark_is_an_instant():
    """With its position, size, read and length."""
    one = long_one()
    instants = [e for e in perfetto.trace(one)["traceEvents"] if e["ph"] == "i"]
    assert len(instants) == len(one) + len(one.marks)
    (delta,) = (e for e in instants if e["name"] == "TextDelta")
    assert delta["args"] == {"seq": 3, "bytes": 90, "read": 3, "block": 1, "chars": 13}


def test_counters_end_at_the_whole():
    """Characters of all content, and the output tokens of the usage."""
    counters = [e for e in perfetto.trace(long_one())["traceEvents"] if e["ph"] == "C"]
    assert counters[-2]["args"] == {"characters": 14 + 13 + 13}
    assert counters[-1]["args"] == {"tokens": 20.0}


def test_the_reply_has_its_metrics():
    """And its labels; an account's number is nowhere."""
    one = reply(labels={"temperature": 0.5, "odd": b"\0"})
    one.request["modelId"] = long_one().model
    trace = perfetto.trace(one)
    (whole,) = (e for e in trace["traceEvents"] if e["name"].startswith("reply "))
    measured = {name: value for name, value in nb.metrics.measure(one).items() if value is not None}
    assert whole["args"].items() >= {**measured, "label temperature": 0.5, "status": "complete"}.items()
    assert whole["args"]["label odd"] == "b'\\x00'"
    assert "123456789012" not in json.dumps(trace)


def test_no_text_is_in_a_trace_unless_it_is_asked_for():
    """Answers, reasoning, tool input and words of errors; with text=True all of them are."""
    one = long_one()
    one.append(StreamFault(service_fault("modelStreamErrorException", "a secret failure")), 3.0)
    said = json.dumps(perfetto.trace(one))
    assert "secret" not in said
    assert "ModelStreamFault" in said
    said = json.dumps(perfetto.trace(one, text=True))
    for words in ("secret thought", "secret answer", "secret reason", "secret failure", '{\\"secret'):
        assert words in said


def test_recordings_are_processes_on_one_clock():
    """By default as they ran; or each from its own request."""
    second = reply()
    second.started = (second.started or 0) + 1.5
    begins = [
        [
            e["ts"]
            for e in perfetto.trace([reply(), second], align=align)["traceEvents"]
            if e["name"].startswith("reply ")
        ]
        for align in ("clock", "request")
    ]
    assert begins == [[1_767_225_600_125_000, 1_767_225_601_625_000], [0, 0]]
    tracks = check(perfetto.trace([reply(), second]))
    assert {pid for pid, _, _ in tracks} == {1, 2}


def test_a_recording_without_a_clock_is_not_put_anywhere():
    """The error says which it is and how to show it all the same."""
    lost = reply()
    lost.started = None
    with pytest.raises(RequestError, match=r'Recording 2 .* align="request"'):
        perfetto.trace([reply(), lost])
    check(perfetto.trace([reply(), lost], align="request"))


@settings(max_examples=40)
@given(
    one=any_recording(),
    runs=st.lists(RUNS, max_size=4),
    marks=MARKS,
    times=st.lists(SECONDS, max_size=3),
    text=st.booleans(),
)
def test_any_recording_is_a_sound_trace(one, runs, marks, times, text):
    """Whatever a file says: members, order, names, nesting and strict JSON hold."""
    one.tools += runs
    one.marks |= marks
    for i, t in enumerate(times[: len(one)]):
        one.times[i] = t
    check(perfetto.trace(one, align="request", text=text))


def test_nothing_is_a_sound_trace():
    """Neither no recordings nor one without events is an error."""
    assert perfetto.trace([])["traceEvents"] == []
    check(perfetto.trace(Recording(), align="request"))


# -- files -----------------------------------------------------------------------------------------


def test_a_file_is_the_trace(tmp_path):
    """As JSON, and the same compressed; a recording writes its own, from its request."""
    source = [reply(), long_one()]
    plain, pressed = (perfetto.write(source, tmp_path / name) for name in ("t.json", "t.json.gz"))
    assert json.loads(plain.read_text("ascii")) == perfetto.trace(source)
    assert gzip.decompress(pressed.read_bytes()) == plain.read_bytes()
    own = reply().to_perfetto(tmp_path / "own.json")
    assert json.loads(own.read_text()) == perfetto.trace(reply(), align="request")
    spoken = reply().to_perfetto(own, text=True, align="clock")
    assert json.loads(spoken.read_text()) == perfetto.trace(reply(), align="clock", text=True)
    assert own.stat().st_mode & 0o777 == 0o600


def test_a_file_is_whole_or_not_there(tmp_path):
    """A source that fails on the way leaves what was there before."""
    kept = reply().to_perfetto(tmp_path / "t.json").read_bytes()
    with pytest.raises(RequestError, match="An int is no recording"):
        perfetto.write([reply(), 3], tmp_path / "t.json")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("t.json", kept)]


def test_what_cannot_be_written_is_said(tmp_path):
    """The error says what is wanted, and no path of this machine."""
    with pytest.raises(RequestError, match="'clock' or 'request'"):
        perfetto.trace(reply(), align="left")
    with pytest.raises(RecordingError, match=r"trace cannot be written to 't\.json'") as caught:
        reply().to_perfetto(tmp_path / "no" / "t.json")
    assert str(tmp_path) not in str(caught.value)
