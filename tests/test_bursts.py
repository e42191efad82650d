"""Deltas that came together, and who made them so: on a scripted socket, by hand, on real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.body import Call, TappedBody
from bedrock_nb.errors import RequestError
from bedrock_nb.events import BlockStop, MessageStart, Seam, TextDelta
from bedrock_nb.eventstream import encode
from bedrock_nb.intake import Intake, wire_arrivals
from bedrock_nb.journal import Journal
from bedrock_nb.metrics.bursts import Burst, bursts, verdict
from bedrock_nb.recording import Recording, Unrecorded
from bedrock_nb.server import BedrockServer, Latency, canned
from bedrock_nb.table.burst_rows import BURST_COLUMNS
from bedrock_nb.table.burst_rows import bursts as table
from bedrock_nb.wire import to_frame
from tests.bodies import Pieces
from tests.recordings import any_recording, recorded

FRAME = encode(to_frame(TextDelta(0, "word "), "abc"))


# -- on a scripted socket --------------------------------------------------------------------------


class Wire:
    """What `http.client` reads from, and the clock on it: packets that arrive at their times.

    A read is given what has arrived, or waits for the next packet. Under TLS it is given one packet.
    """

    def __init__(self, packets: Sequence[tuple[float, bytes]], *, tls: bool, room: int) -> None:
        self.now, self.packets, self.tls, self.room = 0.0, list(packets), tls, room
        self.stalls, self.computed = [0.0], 0.0  # how long other threads keep each read from returning
        self._sock = SimpleNamespace(gettimeout=lambda: None, **({"pending": int} if tls else {}))

    def clock(self) -> float:
        return self.now

    def readinto(self, buffer: Any) -> int:
        if self.packets:
            self.now = max(self.now, self.packets[0][0])
        count = 0
        while self.packets and self.packets[0][0] <= self.now and count < len(buffer):
            t, data = self.packets.pop(0)
            taken = data[: len(buffer) - count]
            buffer[count : count + len(taken)] = taken
            count += len(taken)
            if len(taken) < len(data):
                self.packets.insert(0, (t, data[len(taken) :]))
            if self.tls:
                break
        stall = self.stalls.pop(0) if self.stalls else 0.0
        self.now, self.computed = self.now + stall, self.computed + stall
        return count

    def body(self) -> TappedBody:
        def read1(size: int, decode_content: bool) -> bytes:
            buffer = bytearray(self.room)
            return bytes(buffer[: self.readinto(buffer)])

        fp = SimpleNamespace(fp=SimpleNamespace(raw=self))
        call = Call({}, self.clock)
        call.computed = lambda: self.computed
        return TappedBody(SimpleNamespace(_fp=fp, chunked=False, read1=read1), call)


def consumed(
    times: Sequence[float],
    work: Callable[[], float] = lambda: 0.0,
    *,
    tls: bool = False,
    room: int = 8192,
    stalls: Sequence[float] = (),
) -> Recording:
    """What is recorded of deltas that arrive at these times, by a reader that works after each of them."""
    wire = Wire([(t, FRAME) for t in times], tls=tls, room=room)
    wire.stalls = list(stalls)
    body, recording = wire.body(), Recording()
    body.claim(awaited=True)
    for t, read, arrived in wire_arrivals(body, recording):
        for (event,), nbytes in arrived:
            recording.append(event, t, read, nbytes)
            wire.now += work()
    return recording


STEADY = [0.1 * i for i in range(1, 41)]


def test_a_reader_that_waits_sees_who_sends():
    """One by one is alone; four at a time are a burst of the service."""
    assert bursts(consumed(STEADY, lambda: 0.0)) == []
    found = bursts(consumed([t for t in STEADY[:3] for _ in range(4)], lambda: 0.001))
    assert [(b.chunks, b.late_s, b.made_by) for b in found] == [(4, None, "service")] * 3
    assert [b.gap_before_s for b in found] == [None, *[pytest.approx(0.1)] * 2]


def test_a_reader_that_works_makes_bursts_of_a_steady_stream():
    """They are told from those of the service, with the time that they may have waited."""
    work = iter([1.0, *[0.0] * 39])
    recording = consumed(STEADY, lambda: next(work))
    assert bursts(recording) == [
        Burst(2, pytest.approx(1.1), 10, 10, 50, pytest.approx(1.0), pytest.approx(1.0), "client")
    ]
    assert recording.spent["client_s"] == pytest.approx(1.0)


@pytest.mark.parametrize(("tls", "room"), [(False, 3 * len(FRAME)), (True, 8192)])
def test_reads_in_which_a_late_reader_catches_up_are_late(tls, room):
    """What did not fit into one read, or under TLS was another record, had waited as long."""
    work = iter([1.0, *[0.0] * 39])
    recording = consumed(STEADY, lambda: next(work), tls=tls, room=room)
    late = [recording.reads[i] in recording.late for i in range(40)]
    assert late == [1 <= i <= 10 for i in range(40)]  # nine and the one that came with the end of the work
    assert list(recording.late.values()) == pytest.approx([1.0] * len(recording.late))
    assert {b.made_by for b in bursts(recording)} == (set() if tls else {"client"})


@pytest.mark.parametrize("room", [8192, 3 * len(FRAME)])
def test_a_reader_that_other_threads_keep_from_reading_makes_bursts(room):
    """It never went away, and a read that had its bytes could not return: that is no doing of the service."""
    recording = consumed(STEADY, room=room, stalls=[0.0, 1.0])
    found = bursts(recording)
    assert sum(b.chunks for b in found) >= 9
    assert [(b.late_s, b.made_by) for b in found] == [(pytest.approx(1.0), "client")] * len(found)
    assert recording.problems == []
    assert verdict(recording).startswith("The client batches")


def test_a_burst_is_not_blamed_on_a_short_stall():
    """Eight in a moment are too many for a stream that brings eight a second."""
    recording = consumed([float(t) for t in range(1, 9) for _ in range(8)], stalls=[0.005] * 8)
    assert [(b.chunks, b.made_by) for b in bursts(recording)] == [(8, "service")] * 8
    assert recording.late.keys() == set(range(1, 9))


def test_short_pauses_of_the_reader_make_bursts_of_a_fast_stream():
    """A thousand deltas a second, and 5 ms of other work now and then: not late, and not the service."""
    works = iter([0.005 if i % 10 == 0 else 0.0 for i in range(100)])
    recording = consumed([0.001 * i for i in range(1, 101)], lambda: next(works))
    assert {b.made_by for b in bursts(recording)} == {"client"}
    assert recording.problems == []


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.001, 0.004, 0.05, 0.3]), min_size=1, max_size=25),
    data=st.data(),
    tls=st.booleans(),
    room=st.sampled_from([len(FRAME), 3 * len(FRAME), 8192]),
)
def test_no_delta_waited_longer_than_is_told(gaps, data, tls, room):
    """Whatever the stream and the reader do: at most what `late` says, or 10 ms where it is silent."""
    times = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    works = st.sampled_from([0.0, 0.0, 0.002, 0.008, 0.02, 0.5])
    recording = consumed(times, lambda: data.draw(works), tls=tls, room=room)
    for arrived, read_at, read in zip(times, recording.times, recording.reads, strict=True):
        assert 0 <= read_at - arrived <= recording.late.get(read, 0.01) + 1e-9


def test_a_journal_tells_of_late_reads_as_they_come(tmp_path):
    """A file that never got its end says who made the bursts, too."""
    wire, recording = Wire([(t, FRAME) for t in STEADY], tls=False, room=2 * len(FRAME)), Recording()
    journal = Journal(tmp_path / "a.jsonl", recording)
    arrivals = wire_arrivals(wire.body(), recording)
    intake = Intake(recording, arrivals, lambda: None, wire.clock, journal=journal)
    while len(recording) < 30:
        intake.advance()
        wire.now += 0.25
    loaded = Recording.load(journal.path)
    assert loaded.status == "interrupted"
    assert loaded.late == {read: pytest.approx(seconds) for read, seconds in recording.late.items()}
    assert [b.made_by for b in bursts(loaded)] == [b.made_by for b in bursts(recording)]
    assert len(loaded.late) > 3
    intake.finish("cancelled")


class Together(Pieces):
    """Chunks of HTTP that one network read brought, 5 ms after the first of them may have come."""

    def read(self) -> bytes:
        data = super().read()
        self.number, self.doubt, self.away = 1, 0.005, 0.0
        return data


@pytest.mark.parametrize("chunks", [1, 3])
def test_a_journal_tells_of_a_burst_when_it_is_one(tmp_path, chunks):
    """Only the second event of a read makes it a burst, and only of bursts so short a time is kept."""
    recording = Recording()
    journal = Journal(tmp_path / "a.jsonl", recording)
    body = Together(*[FRAME] * chunks)
    arrivals = wire_arrivals(body, recording)
    intake = Intake(recording, arrivals, lambda: None, lambda: 1.0, journal=journal)
    while not intake.done:
        intake.advance()
    assert recording.late == ({1: 0.005} if chunks > 1 else {})
    assert Recording.load(journal.path).late == recording.late
    assert journal.path.read_text().count('"late"') == (chunks > 1)


def test_what_is_not_kept_does_not_grow():
    """A reply of which nothing is kept has no list of late reads."""
    wire, recording = Wire([(t, FRAME) for t in STEADY], tls=False, room=8192), Unrecorded()
    for _ in wire_arrivals(wire.body(), recording):
        wire.now += 0.5
    assert recording.late == {}
    assert recording.spent["client_s"] == pytest.approx(4.5)  # nine times until all had been read


def test_a_response_that_lay_about_is_late():
    """Who makes a Reply of a response later finds bytes that came since."""
    wire, recording = Wire([(0.0, FRAME * 5)], tls=False, room=8192), Recording()
    body = wire.body()
    wire.now = 3.0
    body.claim()
    assert [read for _, read, _ in wire_arrivals(body, recording)] == [1]
    assert recording.late == {1: 3.0}
    assert "3000 ms" in recording.problems[0]


def test_where_reads_cannot_be_seen_nobody_knows():
    """Bytes of an unusual body: neither own time nor lateness is claimed."""
    recording = Recording()
    for t, read, arrived in wire_arrivals(Pieces(FRAME * 2), recording):
        for (event,), nbytes in arrived:
            recording.append(event, t, read, nbytes)
    assert (recording.late, recording.spent) == ({}, {})
    assert [b.made_by for b in bursts(recording)] == ["unknown"]


# -- by hand ---------------------------------------------------------------------------------------


def deltas(*sizes: int, late: dict[int, float] | None = None, **options: Any) -> Recording:
    """So many deltas in each read, a second apart."""
    rows = [(TextDelta(0, "ab"), float(n), n, 9) for n, size in enumerate(sizes, 1) for _ in range(size)]
    recording = recorded(*rows, **options)
    recording.late |= late or {}
    recording.spent["client_s"] = 0.5
    return recording


def test_a_burst_is_content_of_one_read():
    """Starts, stops and empty deltas are counted as events and make no burst; a seam has no gap."""
    recording = recorded(
        (MessageStart("assistant"), 0.5, 1, 9),
        (TextDelta(0, ""), 0.5, 1, 9),
        (TextDelta(0, "alone"), 0.5, 1, 9),
        (TextDelta(0, "two"), 0.7, 2, 9),
        (TextDelta(0, "more"), 0.7, 2, 9),
        (BlockStop(0), 0.7, 2, 9),
        (Seam("continue", "ConnectionLost"), 0.8),
        (TextDelta(0, "x"), 0.9, 3, 9),
        (TextDelta(0, "y"), 0.9, 3, 9),
    )
    assert bursts(recording) == [
        Burst(2, 0.7, 3, 2, 7, pytest.approx(0.2), None, "unknown"),
        Burst(3, 0.9, 2, 2, 2, None, None, "unknown"),
    ]
    recording.envelope["operation"] = "Converse"
    assert bursts(recording) == []


@pytest.mark.parametrize(("clock", "maker"), [("wire", "client"), ("parsed", "unknown")])
def test_only_a_clock_at_the_socket_knows_the_maker(clock, maker):
    """Of botocore's parsed events and of plans nobody knows."""
    assert [b.made_by for b in bursts(deltas(3, late={1: 0.2}, clock=clock))] == [maker]


@settings(max_examples=30)
@given(recording=any_recording(), read=st.integers(0, 3))
def test_any_recording_has_bursts(recording, read):
    """Bursts are disjoint: never more deltas than there are, at least two in each; a sentence for all."""
    recording.late[read] = 0.1
    found = bursts(recording)
    assert sum(b.chunks for b in found) <= len(recording.content())
    assert all(2 <= b.chunks <= b.events for b in found)
    assert verdict(recording).endswith(".")


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        (Recording(), "No content came."),
        (deltas(1, 1, 1), "Every delta came alone."),
        (
            deltas(1, *[4] * 6, 3),
            (
                "The service batches: 96 % of the deltas came in bursts, 4 at a time (median), while the "
                "reader waited."
            ),
        ),
        (
            deltas(1, 9, 1, late={2: 1.0}),
            (
                "The client batches: 82 % of the deltas were read late, 9 at a time (median), by up to 1000 "
                "ms, for other code ran; drain() the reply to measure."
            ),
        ),
        (
            deltas(1, 1, 1, late={2: 0.25}),
            (
                "The client was late: 33 % of the deltas were read late, by up to 250 ms, for other code "
                "ran; drain() the reply to measure."
            ),
        ),
        (
            deltas(1, 5, 2, late={3: 0.5}),
            (
                "The service batches: 62 % of the deltas came in bursts, 5 at a time (median), while the "
                "reader waited. The client batches: 25 % of the deltas were read late, 2 at a time (median), "
                "by up to 500 ms, for other code ran; drain() the reply to measure."
            ),
        ),
        (
            deltas(1, *[8] * 9, late={5: 0.02}),  # far too short for eight at this pace
            (
                "The service batches: 99 % of the deltas came in bursts, 8 at a time (median), which no late "
                "reader explains."
            ),
        ),
        (deltas(1, 1, 1, late={2: 0.002}), "Every delta came alone."),
        (
            deltas(*[1] * 40, 2),
            (
                "The service rarely batches: 5 % of the deltas came in bursts, 2 at a time (median), while "
                "the reader waited."
            ),
        ),
        (
            deltas(1, 2, clock="parsed"),
            (
                "67 % of the deltas came in bursts, 2 at a time (median); who made them is not known of this "
                "recording."
            ),
        ),
    ],
)
def test_the_verdict(recording, said):
    """In words: how many, how large, who, and what to do about it; what is more is said first."""
    assert verdict(recording) == said


def test_a_record_of_tls_was_sent_as_one():
    """However late it is read: the reader was late, and the burst is not its work."""
    recording = consumed([0.1, *[0.5] * 4, *[0.6] * 4, 0.7], tls=True)
    assert recording.envelope == {"tls": True}
    recording = deltas(1, 4, 4, late={2: 2.0})
    recording.envelope["tls"] = True
    assert [(b.late_s, b.made_by) for b in bursts(recording)] == [(2.0, "service"), (None, "service")]
    assert verdict(recording) == (
        "The service batches: 89 % of the deltas came in bursts, 4 at a time (median), which no late reader "
        "explains. The client was late: 44 % of the deltas were read late, by up to 2000 ms, for other code "
        "ran; drain() the reply to measure."
    )


def test_a_burst_in_pieces_is_not_called_even():
    """Under TLS each event may be a read of its own, and all come within a millisecond."""
    rows = [(TextDelta(0, "ab"), i // 4 + i % 4 * 1e-4, i, 9) for i in range(40)]
    assert verdict(recorded(*rows)) == (
        "Every delta came in a read of its own, but 75 % within 1 ms of the one before: a burst in pieces, "
        "as under TLS, or a reader held up."
    )


def test_no_share_is_rounded_to_all_or_nothing():
    """99 % is not all."""
    assert "99 %" in verdict(deltas(*[2] * 500, 1))


def test_the_table_stacks_recordings():
    """A row per burst, of steady types also where there is none."""
    frame = table([deltas(2), deltas(1), deltas(1, 3, late={2: 0.5})])
    assert frame[["recording", "read", "chunks", "chars", "made_by"]].values.tolist() == [
        [0, 1, 2, 4, "service"],
        [2, 2, 3, 6, "client"],
    ]
    assert frame.late_s.isna().tolist() == [True, False]
    empty = table(deltas(1))
    assert dict(empty.dtypes) == dict(frame.dtypes)
    assert list(empty) == list(BURST_COLUMNS)


def test_a_reply_is_taken_for_its_recording():
    """What holds one recording is as good as it; what may hold many is refused in words."""
    recording = deltas(4, 4)
    assert verdict(SimpleNamespace(recording=recording)) == verdict(recording)
    assert bursts(SimpleNamespace(recording=recording)) == bursts(recording)
    for ask in (bursts, verdict):
        with pytest.raises(RequestError, match=r"An? \w+ is no Recording\. Give one Recording, or the Reply"):
            ask("runs")


# -- on real servers -------------------------------------------------------------------------------


def test_batches_of_the_service_are_found():
    """The embedded server sends eight tokens at once; a reply in the background waits for them all."""
    with BedrockServer(latency=Latency(ttft=0.01, per_token=0.003, burst=8)) as server:
        recording = nb.stream(server.client(), "Count from 1 to 30", background=True).drain().recording
    assert max(b.chunks for b in bursts(recording) if b.made_by == "service") == 8
    assert verdict(recording).startswith("The service batches")


def test_batches_of_the_client_are_found():
    """The same of a reader who is away until all has been sent: what is joined is on the client's account."""
    away = threading.Event()

    def answer(request):
        for event in canned(request):
            yield event
            if isinstance(event, TextDelta):
                assert away.wait(30)

    with BedrockServer(answer) as server:
        reply = nb.stream(server.client(), "Count from 1 to 30")
        events = iter(reply)
        while not isinstance(next(events), TextDelta):
            pass
        away.set()
        time.sleep(0.05)
        while server.truth(reply.envelope["request_id"]).outcome == "open":
            time.sleep(0.01)
        reply.drain()
    assert verdict(reply.recording).startswith("The client batches")
    assert "client" in {b.made_by for b in bursts(reply.recording)}
