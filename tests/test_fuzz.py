"""Whatever bytes come: an error of ours or a reply, in bounded memory, and everything that came in it.

Random bytes, damaged streams whose checksums were made right again (so that deep code is reached), damaged
payloads, and sound frames in senseless orders go the whole way: bytes, frames, events, fold, recording,
checker, file. BEDROCK_NB_FUZZ=100000 tries so many examples of each instead of Hypothesis's usual hundred.
"""

from __future__ import annotations

import json
import os
import tracemalloc

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.assembly import Fold, Passing, fold
from bedrock_nb.errors import BedrockNbError, StreamError
from bedrock_nb.events import MessageComplete, StreamFault, ToolUse
from bedrock_nb.eventstream import Frame, FrameDecoder, encode
from bedrock_nb.intake import Intake, wire_arrivals
from bedrock_nb.mend import resendable
from bedrock_nb.recording import Recording
from tests.bodies import Pieces, cut
from tests.recordings import EVENTS, JSON
from tests.wire_server import GOOD, frames_of

many = hypothesis.settings(
    max_examples=int(os.environ.get("BEDROCK_NB_FUZZ", "100")),
    deadline=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)
SOUND = [FrameDecoder().receive_data(frame)[0] for frame in GOOD]


def taken_in(data: bytes, sizes: list[int]) -> tuple[Intake, list]:
    """The whole way of some bytes; whatever comes out of it but errors of ours fails the test."""
    body, recording = Pieces(*cut(data, sizes)), Recording({"modelId": "m", "messages": []})
    intake = Intake(recording, wire_arrivals(body, recording), body.close, lambda: body.t)
    events = []
    while not intake.done:
        events += intake.advance()
        intake.fold.snapshot  # noqa: B018, at any moment
    return intake, events


def holds_together(intake: Intake, events: list) -> None:
    """What must be true of every reply, however it came about."""
    recording = intake.recording
    assert recording.status in ("complete", "incomplete", "error")
    assert (intake.error is None) == (recording.status == "complete")
    assert (type(recording.event(-1)) is StreamFault) == (intake.error is not None)
    assert [e for e in events if not isinstance(e, ToolUse | MessageComplete)] == list(recording)
    if intake.error is not None:
        assert isinstance(intake.error, StreamError)
        assert str(intake.error)
    else:
        assert recording.stop_reason is not None
    if recording.stop_reason == "tool_use" and recording.status == "complete":
        assert all(call.input is not None for call in intake.fold.snapshot.tool_uses)
    assert all(str(problem) for problem in nb.check(recording))
    assert fold(recording) == intake.fold.snapshot
    json.dumps([{**turn, "content": len(turn["content"])} for turn in resendable(intake.fold.snapshot)])


SIZES = st.lists(st.integers(0, 300), max_size=12)


@given(st.binary(max_size=600), SIZES)
@many
def test_random_bytes(data, sizes):
    """Nearly all of them are no frame."""
    holds_together(*taken_in(data, sizes))


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A sound reply with bytes changed, left out or put in, its frames' checksums as they were."""
    data = bytearray(b"".join(GOOD))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        if not data:
            break
        how = draw(st.sampled_from(["change", "cut", "insert", "truncate"]))
        if how == "change":
            data[at] = draw(st.integers(0, 255))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=20))
        else:
            del data[at + 1 :]
    return bytes(data)


@given(spoiled(), SIZES)
@many
def test_spoiled_replies(data, sizes):
    """What was whole before the damage is there, in order."""
    intake, events = taken_in(data, sizes)
    holds_together(intake, events)
    whole = 0
    while whole < len(GOOD) and data.startswith(b"".join(GOOD[: whole + 1])):
        whole += 1
    sound, _ = taken_in(b"".join(GOOD[:whole]), [])
    expected = [e for e in sound.recording if not isinstance(e, StreamFault)]
    assert list(intake.recording)[: len(expected)] == expected


WAYS = ["payload", "bytes", "member", "header", "twice", "away", "swap", "other"]


@st.composite
def resealed(draw: st.DrawFn) -> list[bytes]:
    """Sound frames with other payloads, headers or orders, and checksums that are right again."""
    frames = list(SOUND)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(frames) - 1))
        frame = frames[at]
        how = draw(st.sampled_from(WAYS))
        if how == "payload":
            frames[at] = Frame(frame.headers, json.dumps(draw(JSON)).encode())
        elif how == "bytes":
            cut = draw(st.integers(0, len(frame.payload)))
            frames[at] = Frame(frame.headers, frame.payload[:cut] + draw(st.binary(max_size=5)))
        elif how == "member":
            try:
                payload = json.loads(frame.payload)
            except ValueError:
                continue
            if not isinstance(payload, dict):
                continue
            place = payload
            while draw(st.booleans()):
                inner = [v for v in place.values() if isinstance(v, dict)]
                if not inner:
                    break
                place = draw(st.sampled_from(inner))
            place[draw(st.sampled_from([*place, "novelty"]))] = draw(JSON)
            frames[at] = Frame(frame.headers, json.dumps(payload).encode())
        elif how == "header":
            name = draw(st.sampled_from([*frame.headers, ":novelty"]))
            value = draw(st.text(max_size=20) | st.integers(-(2**31), 2**31 - 1) | st.binary(max_size=9))
            kept = {k: v for k, v in frame.headers.items() if k != name}
            frames[at] = Frame(kept if draw(st.booleans()) else {**kept, name: value}, frame.payload)
        elif how == "twice":
            frames.insert(draw(st.integers(0, len(frames))), frame)
        elif how == "away" and len(frames) > 1:
            del frames[at]
        elif how == "swap":
            other = draw(st.integers(0, len(frames) - 1))
            frames[at], frames[other] = frames[other], frames[at]
        else:
            frames[at] = Frame(draw(st.sampled_from(SOUND)).headers, frame.payload)
    return [encode(frame) for frame in frames]


@given(resealed(), SIZES)
@many
def test_replies_with_right_checksums_and_wrong_content(frames, sizes):
    """Payloads, headers and orders that no service sends."""
    holds_together(*taken_in(b"".join(frames), sizes))


@given(st.lists(EVENTS, max_size=30), SIZES)
@many
def test_events_in_any_order(events, sizes):
    """Every event there is, in any order, over the wire and into the fold."""
    travelling = [event for event in events if not isinstance(event, StreamFault)]
    try:
        data = b"".join(frames_of(travelling))
    except BedrockNbError:
        return  # a seam and the like have no frame
    holds_together(*taken_in(data, sizes))
    state, passing = Fold(), Passing()
    for event in travelling:
        made = state.feed(event)
        kept = [e for e in made if isinstance(e, ToolUse)]
        assert [e for e in passing.feed(event) if isinstance(e, ToolUse)] == kept


@given(resealed())
@hypothesis.settings(many, max_examples=max(30, many.max_examples // 20))
def test_what_was_recorded_reads_back(tmp_path_factory, frames):
    """A strange reply in a file is the same strange reply."""
    intake, _ = taken_in(b"".join(frames), [])
    path = intake.recording.save(tmp_path_factory.mktemp("fuzz") / "r.jsonl")
    loaded = Recording.load(path)
    assert list(loaded) == list(intake.recording)
    assert loaded.status == intake.recording.status


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff\xff\xff" * 100_000,
        b"\x01\x80\x00\x00\x00\x00\x00\x00" + b"\x00" * 400_000,
        b"".join(GOOD[:3]) * 300,
        b"".join(frames_of([])) + b"\x00" * 400_000,
    ],
)
def test_memory_stays_a_small_multiple_of_the_input(data):
    """Lengths that are announced are not allocated."""
    tracemalloc.start()
    intake, _ = taken_in(data, [1000] * (len(data) // 1000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert intake.recording.status in ("incomplete", "error")
    assert peak < 12 * len(data) + 2**20
