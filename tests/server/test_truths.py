"""The server's own account of what it did, beside what a real client saw of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import example, given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import BedrockNbError, RequestError, ServerError
from bedrock_nb.recording import Recording
from bedrock_nb.server import BedrockServer, Latency, faults, local, loopback_client, truth
from bedrock_nb.server.truths import Log, Truth, fetch
from tests.wire_server import WireServer, answer

HELLO = [{"role": "user", "content": [{"text": "Count to 3"}]}]
ONCE = Config(retries={"total_max_attempts": 1})
GRAIN = 0.001  # by which two readings of the wall clock beside the monotonic one may differ, seconds


@pytest.fixture(scope="module")
def paced() -> Iterator[BedrockServer]:
    with BedrockServer(latency=Latency(ttft=0.06, per_token=0.002)) as running:
        yield running


@pytest.fixture(scope="module")
def asker(paced) -> Iterator[Any]:
    made = paced.client(config=ONCE)
    yield made
    made.close()


def over(server: BedrockServer, request_id: str) -> Truth:
    """The truth about a request, once it is over."""
    end = time.monotonic() + 30
    while (known := server.truth(request_id)).outcome == "open" or known.ended_s is None:
        assert time.monotonic() < end, "the answer did not end"
        time.sleep(0.002)
    return known


# -- a sound answer --------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["Tell me about rainbows", "Count to 3", "List the planets"])
def test_the_truth_adds_up_to_what_the_client_recorded(paced, asker, prompt):
    """Bytes and events are the client's to the last one, and each write was due, begun and done in order."""
    reply = nb.stream(asker, prompt).drain()
    known = over(paced, reply.envelope["request_id"])
    assert sum(known.events) == len(reply.recording)
    assert sum(known.nbytes) == sum(reply.recording.sizes)
    assert (known.outcome, known.http_status, known.code, known.fault) == ("complete", 200, None, None)
    assert (known.operation, known.model, known.queued_s) == ("ConverseStream", reply.recording.model, 0.0)
    assert known.law == repr(paced.latency)
    frame = known.to_frame()
    assert list(frame) == ["write", "due_s", "begun_s", "done_s", "late_s", "bytes", "events"]
    assert (frame["begun_s"] >= frame["due_s"] - 1e-6).all()  # the clock's grain
    assert (frame["done_s"] >= frame["begun_s"]).all()
    assert frame["due_s"].is_monotonic_increasing
    assert (frame["begun_s"].to_numpy()[1:] >= frame["done_s"].to_numpy()[:-1]).all()
    assert known.ended_s is not None
    assert known.ended_s >= known.done[-1]
    assert list(frame["late_s"]) == known.late_s


def test_due_times_are_the_laws(paced, asker):
    """The first write is due when the law says, after the request's arrival and not after the client's."""
    reply = nb.stream(asker, "Tell me about rainbows").drain()
    known = over(paced, reply.envelope["request_id"])
    law, told = paced.latency, reply.recording.metadata
    assert told is not None
    assert told.latency_ms is not None
    assert known.due[1] - known.due[0] == pytest.approx(0.05)  # messageStart, and then the first content
    assert known.due[1] == pytest.approx(law.ttft)
    assert known.due[-1] == pytest.approx(told.latency_ms / 1000, abs=0.001)


def test_the_client_never_reads_before_the_server_writes(paced, asker):
    """Beside the client's recording, event by event: the same events, and every error is a delay."""
    reply = nb.stream(asker, "Tell me about rainbows").drain()
    known = over(paced, reply.envelope["request_id"])
    both = known.against(reply.recording)
    assert list(both) == ["seq", "type", "client_s", "server_s", "error_s", "gap_error_s"]
    assert list(both["seq"]) == list(range(len(reply.recording)))
    assert list(both["type"]) == [type(event).__name__ for event in reply.recording]
    assert list(both["client_s"]) == list(reply.recording.times)
    assert both["error_s"].min() >= -GRAIN
    assert (both["client_s"] - both["server_s"]).tolist() == pytest.approx(both["error_s"].tolist())
    assert both["gap_error_s"][1:].tolist() == pytest.approx(both["error_s"].diff()[1:].tolist())
    assert both["gap_error_s"].isna().tolist() == [True] + [False] * (len(both) - 1)


def test_a_plain_answer_is_one_write(paced, asker):
    """Converse has a body and no events; the body's size is what HTTP says."""
    response = asker.converse(modelId="m", messages=HELLO, requestMetadata={"course": "streams"})
    known = over(paced, response["ResponseMetadata"]["RequestId"])
    assert (known.operation, known.model, known.outcome) == ("Converse", "m", "complete")
    assert list(known.nbytes) == [int(response["ResponseMetadata"]["HTTPHeaders"]["content-length"])]
    assert list(known.events) == [0]
    assert known.metadata == {"course": "streams"}


# -- other endings ---------------------------------------------------------------------------------


def test_a_refused_request_has_its_error(paced, asker):
    """Status and error name are noted, and that nothing was written."""
    with pytest.raises(ClientError) as caught:
        asker.converse(modelId="m", messages=[{"role": "user", "content": []}])
    response = caught.value.response
    known = over(paced, response["ResponseMetadata"]["RequestId"])
    assert known.outcome == "refused"
    assert (known.http_status, known.code) == (400, response["Error"]["Code"])
    assert len(known.due) == 0


def test_a_reset_is_broken(paced, asker):
    """A fault that breaks the connection is named; the events before it were sent."""
    with paced.fault(faults.reset(after=4)):
        reply = nb.stream(asker, "Tell me about rainbows")
        with pytest.raises(BedrockNbError):
            reply.drain()
    known = over(paced, reply.envelope["request_id"])
    assert (known.outcome, known.http_status) == ("broken", 200)
    assert known.fault == "reset(after=4)"
    assert sum(known.events) == 4


def test_a_client_that_closes_is_gone(paced, asker):
    """Whoever leaves in the middle is noted as gone, with what was sent until then."""
    with paced.fault(faults.stall(after=3, seconds=60)):
        response = asker.converse_stream(modelId="m", messages=HELLO)
        events = iter(response["stream"])
        assert [name for _ in range(3) for name in next(events)] == [
            "messageStart",
            *["contentBlockDelta"] * 2,
        ]
        request_id = response["ResponseMetadata"]["RequestId"]
        assert paced.truth(request_id).outcome == "open"
        response["stream"].close()
        known = over(paced, request_id)
    assert known.outcome == "gone"
    assert sum(known.events) == 3
    assert known.ended_s is not None
    assert known.ended_s < 30


def test_an_open_answer_can_be_looked_at(paced, asker):
    """While it is under way all views of it agree on how far it got, from any thread."""
    reply = nb.stream(asker, "Write a short story about a lighthouse")
    looks = 0
    for _ in reply:
        known = paced.truth(reply.envelope["request_id"])
        frame, told = known.to_frame(), known.to_dict()
        assert len({len(told[name]) for name in ("due", "begun", "done", "nbytes", "events")}) == 1
        assert len(frame) <= len(known.late_s) <= len(known.due)
        looks += known.outcome == "open"
    assert looks > 0


class Halfway(Truth):
    """A truth in the middle of noting a write, as another thread may see it."""

    def noting(self) -> Halfway:
        self.due.append(9.0)
        self.begun.append(9.0)
        return self


def test_half_a_write_is_not_shown():
    """Each view of a truth holds whole writes only."""
    known = Halfway("id")
    known.wrote(0.1, 0.2, 0.3, 10, 1)
    known.noting()
    assert len(known.to_frame()) == len(known.late_s) == len(known.event_times()) == 1
    assert known.to_dict()["due"] == [0.1]
    assert known.summary()["late_ms"] == pytest.approx(100)
    assert [known.summary()[name] for name in ("writes", "bytes", "events")] == [1, 10, 1]


# -- asking for it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
def test_it_can_be_fetched_over_http(paced, asker, slash):
    """What another process gets is the truth itself."""
    reply = nb.stream(asker, "Count to 3").drain()
    known = over(paced, reply.envelope["request_id"])
    fetched = fetch(paced.endpoint_url + slash, known.request_id)
    assert fetched.to_dict() == known.to_dict()
    assert repr(fetched) == repr(known)
    assert "complete" in repr(known)


def test_the_local_server_tells_the_truth():
    """It runs in another process, whose clocks are this machine's."""
    client = loopback_client(local(), config=ONCE)
    reply = nb.stream(client, "Count to 3").drain()
    client.close()
    end = time.monotonic() + 30
    while (known := truth(reply.envelope["request_id"])).outcome == "open":
        assert time.monotonic() < end
        time.sleep(0.01)
    assert known.outcome == "complete"
    assert sum(known.nbytes) == sum(reply.recording.sizes)
    assert known.against(reply.recording)["error_s"].min() >= -GRAIN


UNKNOWN = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("request_id", [UNKNOWN, "", "../status.json", "a b?c#d", "Ü"])
def test_an_unknown_id_is_a_lesson(paced, request_id):
    """Whatever is asked for, the error says where ids come from."""
    with pytest.raises(RequestError, match="request_id"):
        paced.truth(request_id)
    with pytest.raises(RequestError, match="request_id"):
        fetch(paced.endpoint_url, request_id)
    with pytest.raises(RequestError, match="request_id"):
        truth(request_id, paced.endpoint_url)


def test_a_server_that_is_gone_is_an_error_of_ours():
    """Nobody has to know which HTTP library asks."""
    with BedrockServer() as server:
        url = server.endpoint_url
    with pytest.raises(ServerError, match="No embedded server answers"):
        fetch(url, UNKNOWN)


def test_something_else_that_answers_is_an_error_of_ours(wire: WireServer):
    """200 with something that is no truth comes from another kind of server."""
    wire.lay(answer([b"{}"], "length"))
    with pytest.raises(ServerError, match="No embedded server answers"):
        fetch(wire.url, UNKNOWN)


def test_a_recording_of_another_answer_is_refused(paced, asker):
    """Comparing with the wrong recording, or one without a wall clock, says what to do."""
    first, second = (nb.stream(asker, "Count to 3").drain() for _ in range(2))
    known = over(paced, first.envelope["request_id"])
    with pytest.raises(RequestError, match=r"request_id"):
        known.against(second.recording)
    with pytest.raises(RequestError, match="when it began"):
        known.against(Recording())


# -- as JSON ---------------------------------------------------------------------------------------

seconds = st.floats(0, 1e6)
whole = st.integers(0, 2**32 - 1)


@st.composite
def truths(draw: st.DrawFn) -> Truth:
    made = Truth(draw(st.text()), draw(st.text()), arrived=draw(seconds), started=draw(seconds))
    made.model, made.queued_s = draw(st.text()), draw(seconds)
    made.law, made.fault, made.code = (draw(st.none() | st.text()) for _ in range(3))
    made.metadata = draw(st.dictionaries(st.text(), st.text(), max_size=3))
    made.http_status = draw(st.none() | st.integers(100, 599))
    made.outcome = draw(st.sampled_from(["open", "complete", "refused", "broken", "gone"]))
    made.ended_s = draw(st.none() | seconds)
    for write in draw(st.lists(st.tuples(seconds, seconds, seconds, whole, st.integers(0, 50)), max_size=20)):
        made.wrote(*write)
    return made


@given(truths())
def test_a_truth_goes_through_json_unchanged(made):
    """to_dict and from_dict are inverse, with JSON between them."""
    again = Truth.from_dict(json.loads(json.dumps(made.to_dict())))
    assert vars(again) == vars(made)
    assert again.late_s == made.late_s
    assert again.event_times() == made.event_times()


@given(truths())
def test_a_summary_adds_up(made):
    """The timeline of the page has all events and bytes, in at most 120 groups."""
    shown = json.loads(json.dumps(made.summary()))
    assert sum(events for _, events, _ in shown["timeline"]) == shown["events"] == len(made.event_times())
    assert sum(size for _, _, size in shown["timeline"]) == shown["bytes"]
    assert shown["writes"] == len(made.due)
    assert (shown["late_ms"] is None) == (not made.late_s)


@pytest.mark.parametrize("writes", [0, 1, 119, 120, 121, 1_000, 12_345])
def test_a_timeline_stays_short(writes):
    """However long the answer, the page gets 120 points or less, in order, the first write the first."""
    made = Truth("id")
    for i in range(writes):
        made.wrote(i, i, i, 10, 1)
    timeline = made.summary()["timeline"]
    assert len(timeline) <= 120
    assert len(timeline) >= min(writes, 60)
    assert [t for t, _, _ in timeline] == sorted({t for t, _, _ in timeline})
    assert sum(events for _, events, _ in timeline) == writes


def test_a_summary_has_what_the_page_reads():
    """The members of a request in status.json are exactly those that the page's script looks at."""
    script = Path(str(files("bedrock_nb.server") / "page" / "status.js")).read_text(encoding="utf-8")
    read = set(re.findall(r"\brequest\.(\w+)", script))
    assert read == set(Truth("id").summary())
    outcomes = set(re.findall(r"^    (\w+): \{ mark:", script, re.MULTILINE))
    assert outcomes == {"open", "complete", "refused", "broken", "gone"}


# -- the log ---------------------------------------------------------------------------------------


def filled(log: Log, request_id: str, writes: int, *, close: bool = True) -> Truth:
    made = log.open(request_id)
    for i in range(writes):
        made.wrote(i, i, i, 1, 1)
    if close:
        log.close(made, "complete")
    return made


def test_a_log_keeps_the_latest_requests():
    """Beyond its number the oldest are forgotten, also open ones, which go on all the same."""
    log = Log(most=3)
    first = filled(log, "0", 1, close=False)
    for i in range(1, 5):
        filled(log, str(i), 1)
    assert [known.request_id for known in log.latest(10)] == ["4", "3", "2"]
    assert [known.request_id for known in log.latest(2)] == ["4", "3"]
    assert log.get("0") is None
    log.close(first, "gone")
    assert first.outcome == "gone"
    assert log.get("0") is None
    assert log.counts() == {"open": 0, "answered": 5}


def test_a_log_keeps_so_many_writes():
    """Long answers push the old ones out; the latest stays however long it is."""
    log = Log(most_writes=100)
    for i in range(5):
        filled(log, str(i), 40)
    assert [known.request_id for known in log.latest(10)] == ["4", "3"]
    filled(log, "long", 1_000)
    assert [known.request_id for known in log.latest(10)] == ["long"]


def test_who_asks_in_vain_drives_out_nobodys_answers():
    """Of requests without a write, only the latest quarter of what the log keeps is known."""
    log = Log(most=8)
    filled(log, "answered", 1)
    waiting = filled(log, "open", 0, close=False)
    for i in range(100):
        log.close(log.open(str(i)), "refused")
    assert [known.request_id for known in log.latest(10)] == ["99", "98", "open", "answered"]
    log.close(waiting, "complete")
    assert [known.request_id for known in log.latest(10)] == ["99", "open", "answered"]
    for i in range(8):
        filled(log, f"new {i}", 1)
    assert [known.request_id for known in log.latest(2)] == ["new 7", "new 6"]
    assert len(log.latest(10)) == 8


def test_a_summary_of_what_ends_meanwhile_is_not_kept():
    """The page asks in another thread: what is half true then is made anew, what is over is made once."""

    class Ending(Truth):
        def _columns(self) -> list[list[Any]]:
            columns = super()._columns()
            if self.outcome == "open":
                self.wrote(0.1, 0.1, 0.1, 10, 1)
                self.end("complete")
            return columns

    made = Ending("a")
    assert made.summary()["writes"] == 0
    kept = made.summary()
    assert (kept["writes"], kept["outcome"]) == (1, "complete")
    assert made.summary() is kept


def test_how_it_ended_is_said_once():
    """What the sender knows of the ending counts, and not what the closing would have guessed."""
    log = Log()
    made = log.open("a")
    made.outcome = "broken"
    log.close(made, "complete")
    assert made.outcome == "broken"


actions = st.lists(
    st.tuples(st.sampled_from(["open", "write", "mark", "close"]), st.integers(0, 9), st.integers(1, 30)),
    max_size=80,
)


FORGOTTEN_HALFWAY = [("open", 0, 1), ("write", 0, 30), ("mark", 0, 1), ("open", 0, 1), ("open", 0, 1)]
TWO_MORE = [("write", 1, 5), ("write", 2, 5), ("close", 2, 1), ("close", 1, 1)]


@given(actions, st.integers(1, 5), st.integers(1, 100))
@example([*FORGOTTEN_HALFWAY, *TWO_MORE], 2, 1)
def test_a_log_is_bounded_whatever_happens(moves, most, most_writes):
    """Of answers that are over it keeps no more than it may, in the order in which they came."""
    log = Log(most, most_writes)
    alive: list[Truth] = []
    opened = 0
    for action, which, size in moves:
        if action == "open":
            alive.append(log.open(str(opened)))
            opened += 1
        elif alive:
            one = alive[which % len(alive)]
            if action == "write":
                for _ in range(size):
                    one.wrote(0, 0, 0, 1, 1)
            elif action == "mark":
                one.outcome = "broken"  # the sender knows before the answer is over
            else:
                alive.remove(one)
                log.close(one, "complete")
        kept = log.latest(1_000)
        assert len(kept) <= most
        assert [int(known.request_id) for known in kept] == sorted(
            (int(known.request_id) for known in kept), reverse=True
        )
        writes = sum(len(known.due) for known in kept if known.ended_s is not None)
        assert action != "close" or len(kept) == 1 or writes <= most_writes
    assert log.counts()["answered"] == opened - len(alive)
