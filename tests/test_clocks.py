"""Where the time of a call went: the set-up of connections as it is, and the parts that add up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.connection import SETUP
from bedrock_nb.errors import ConnectionFailed, FirstEventTimeout, service_fault
from bedrock_nb.events import (
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    StreamFault,
    TextDelta,
)
from bedrock_nb.metrics.clocks import SEQUENCE, Part, parts
from bedrock_nb.recording import Recording
from bedrock_nb.server import INSTANT, BedrockServer, loopback_client
from bedrock_nb.server.loopback import ACCESS_KEY, REGION, SECRET_KEY
from bedrock_nb.table.clock_rows import BREAKDOWN_COLUMNS, breakdown
from bedrock_nb.toolruns import ToolRun
from tests.recordings import USAGE, any_recording, recorded
from tests.wire_server import GOOD, GOOD_TEXT, Answer, answer

BESIDE = [
    "e2e",
    "server latency",
    "outside the server",
    "client",
    "late reads",
    "display",
    "reasoning",
    "tools",
]


def by_name(recording: Recording) -> dict[str, Part]:
    """The parts of a recording by their names."""
    return {part.name: part for part in parts(recording)}


def behind(proxy: str) -> Any:
    """A client for a service that only a proxy knows."""
    settings: dict[str, Any] = {"auth_scheme_preference": "sigv4", "retries": {"total_max_attempts": 1}}
    return boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION).client(
        "bedrock-runtime",
        endpoint_url="http://service.invalid",
        config=Config(proxies={"http": proxy}, **settings),
    )


# -- set-up of connections -------------------------------------------------------------------------


def test_only_a_new_connection_is_set_up(wire, client):
    """Name, TCP, in their order between sending and the head; the second call is given an open one."""
    wire.lay(answer(GOOD), answer(GOOD))
    first, second = (nb.stream(client, "hi").drain().recording for _ in range(2))
    moments = ["sent", "connecting", "resolved", "connected", "headers"]
    assert sorted(first.marks, key=first.marks.__getitem__) == [*moments, "closed"]
    assert not second.marks.keys() & set(SETUP)
    assert {by_name(second)[name].note for name in ("pool", "dns", "tcp", "tls")} == {
        "pooled connection: no set-up"
    }
    assert by_name(first)["tls"].note == "plain HTTP"


@pytest.mark.parametrize("streaming", [True, False])
def test_a_plain_call_has_them_too(streaming):
    """Both ways of calling go over the same connections."""
    with BedrockServer(latency=INSTANT) as server:
        client = server.client()
        marks = nb.stream(client, "hi", streaming=streaming).drain().recording.marks
        client.close()
    assert list(marks) == ["sent", "connecting", "resolved", "connected", "headers", "closed"]


def test_a_name_is_looked_up_and_its_addresses_tried_in_their_order(wire):
    """As ever: where nothing listens on the first address, the next one is taken, and the lookup is one."""
    client = loopback_client(wire.url.replace("127.0.0.1", "localhost"))
    wire.lay(answer(GOOD))
    reply = nb.stream(client, "hi").drain()
    client.close()
    assert reply.text == GOOD_TEXT
    assert [name for name in reply.recording.marks if name in SETUP] == list(SETUP[:3])


def test_who_gets_no_connection_is_told_as_ever():
    """boto3's error, and the recording says how far it got."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(ConnectionFailed, match="ProxyConnectionError"):
        nb.stream(behind(closed), "hi").drain()
    recording = nb.recordings[-1]
    assert list(recording.marks) == ["sent", "connecting", "resolved", "closed"]
    assert by_name(recording)["tcp"].note == "the connection did not get so far"


@pytest.fixture
def proxy(wire) -> Iterator[str]:
    """A proxy for one connection, whatever host it asks for."""
    listener, port = socket.create_server(("127.0.0.1", 0)), urlsplit(wire.url).port

    def serve() -> None:
        with listener.accept()[0] as near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=pour, args=(far, near))
            back.start()
            pour(near, far)
            back.join()

    def pour(source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def test_proxies_work_as_ever(wire, proxy):
    """What is set up is the connection to the proxy: the service's name is not looked up here."""
    wire.lay(answer(GOOD))
    client = behind(proxy)
    reply = nb.stream(client, "hi").drain()
    client.close()
    assert reply.text == GOOD_TEXT
    assert [name for name in reply.recording.marks if name in SETUP] == list(SETUP[:3])


# -- own time --------------------------------------------------------------------------------------


def test_own_time_is_kept(tmp_path, wire, client):
    """In the recording, in its journal, and in what is loaded from that."""
    wire.lay(answer(GOOD))
    reply = nb.stream(client, "hi", journal=tmp_path / "a.jsonl").drain()
    spent = reply.recording.spent
    assert list(spent) == ["client_s"]
    assert 0 <= spent["client_s"] < reply.recording.marks["closed"]
    assert nb.Recording.load(reply.journal).spent == pytest.approx(spent, abs=1e-6)


def test_painting_is_measured(wire, client, capsys):
    """`live` adds what it took to show the reply."""
    wire.lay(answer(GOOD))
    recording = nb.live(nb.stream(client, "hi")).recording
    assert recording.spent["display_s"] > 0
    assert by_name(recording)["display"].seconds == recording.spent["display_s"]
    assert GOOD_TEXT.split()[0] in capsys.readouterr().out


# -- parts -----------------------------------------------------------------------------------------


def full() -> Recording:
    """Everything that a recording can tell, at times that are sums of halves."""
    recording = recorded(
        (MessageStart("assistant"), 4.5, 1, 9),
        (ReasoningDelta(0, "Hm."), 5.0, 2, 9),
        (ReasoningDelta(0, "So:"), 6.0, 3, 9),
        (TextDelta(1, "Hello"), 7.0, 4, 9),
        (MessageStop("end_turn"), 7.5, 5, 9),
        (Metadata(USAGE, 6500), 8.0, 5, 9),
        request={"modelId": "m"},
    )
    moments = {
        "sent 1": 0.125,
        "sent": 1.125,
        "connecting": 1.25,
        "resolved": 1.5,
        "connected": 2.0,
        "secured": 3.0,
        "headers": 4.0,
        "closed": 8.5,
    }
    for name, t in moments.items():
        recording.mark(name, t)
    recording.envelope = {"retries": 1}
    recording.spent |= {"client_s": 0.25, "display_s": 0.5}
    recording.late |= {3: 0.0625, 4: 0.125}
    recording.tools.append(ToolRun("t1", "look", "success", 6.0, 6.5, 9.5))
    recording.tools.append(ToolRun("t2", "look", "success", 6.0, 6.5, 7.5))
    return recording


def test_every_part_is_told():
    """Begin, end and seconds of each, those beside without a place of their own where they have none."""
    assert [(p.name, p.begin_s, p.end_s, p.seconds, p.whose) for p in parts(full())] == [
        ("preparing", 0.0, 0.125, 0.125, "client"),
        ("retries", 0.125, 1.125, 1.0, "service"),
        ("pool", 1.125, 1.25, 0.125, "client"),
        ("dns", 1.25, 1.5, 0.25, "connection"),
        ("tcp", 1.5, 2.0, 0.5, "connection"),
        ("tls", 2.0, 3.0, 1.0, "connection"),
        ("waiting for headers", 3.0, 4.0, 1.0, "service"),
        ("waiting for content", 4.0, 5.0, 1.0, "service"),
        ("streaming", 5.0, 7.0, 2.0, "service"),
        ("closing", 7.0, 8.0, 1.0, "service"),
        ("e2e", 0.0, 8.0, 8.0, "whole"),
        ("server latency", None, None, 6.5, "service"),
        ("outside the server", None, None, 0.5, "connection"),
        ("client", None, None, 0.25, "client"),
        ("late reads", None, None, 0.125, "client"),
        ("display", None, None, 0.5, "client"),
        ("reasoning", 5.0, 6.0, 1.0, "service"),
        ("tools", 6.5, 9.5, 3.0, "tools"),
    ]


@settings(max_examples=50)
@given(recording=any_recording(), setup=st.dictionaries(st.sampled_from(SETUP), st.floats(0, 100)))
def test_parts_in_sequence_add_up(recording, setup):
    """Each begins where the one before ends, from the request to the end, whatever a file says."""
    recording.marks |= setup
    found = by_name(recording)
    assert list(found) == [*SEQUENCE, *BESIDE]
    at = 0.0
    for name in SEQUENCE:
        part = found[name]
        if part.end_s is None:
            assert (part.begin_s, part.seconds, part.note != "") == (None, None, True)
        else:
            assert (part.begin_s, part.seconds) == (at, part.end_s - at)
            at = part.end_s
    if found["e2e"].seconds is not None:
        assert at == found["e2e"].seconds


@pytest.mark.parametrize(
    ("change", "name", "note"),
    [
        (lambda r: r.marks.pop("connecting"), "pool", "not told apart from the next part"),
        (lambda r: r.marks.update(secured=1.0), "tls", "its moment is out of order"),
        (lambda r: r.marks.pop("headers"), "waiting for headers", "not seen"),
        (lambda r: r.spent.clear(), "client", "not known of this recording"),
        (lambda r: r.spent.clear(), "display", "not shown by nb.live"),
        (lambda r: r.tools.clear(), "tools", "no tool ran"),
        (lambda r: r.late.clear(), "late reads", "none: the reader was always there"),
        (
            lambda r: r.envelope.update(operation="Converse"),
            "streaming",
            "a plain call: the answer came whole",
        ),
        (lambda r: r.envelope.update(retries=2), "retries", "asked again 2 times, pauses included"),
    ],
)
def test_what_is_missing_says_why(change, name, note):
    """A part without time, or with none to speak of, is never left without a word."""
    recording = full()
    change(recording)
    assert by_name(recording)[name].note == note


def test_clocks_that_differ_are_not_hidden():
    """A server that counts more than the client saw gives a difference below 0, and that is said."""
    recording = recorded((TextDelta(0, "a"), 0.5), (Metadata(USAGE, 2000), 1.0))
    outside = by_name(recording)["outside the server"]
    assert outside.seconds == -1.0
    assert "below 0" in outside.note


def test_waiting_that_brought_nothing_is_waiting(wire, client):
    """A limit ended a call before its head: the recording says how far it got, and what was waited for."""
    wire.lay(Answer([], "silence"))
    with pytest.raises(FirstEventTimeout):
        nb.stream(client, "hi", first_event_timeout=0.2)
    recording = nb.recordings[-1]
    assert list(recording.marks) == ["sent", "connecting", "resolved", "connected", "closed"]
    found = by_name(recording)
    waited = found["waiting for content"]
    assert (waited.seconds or 0.0) > 0.05
    assert waited.note == "none ever came: until the last event"
    assert found["closing"].seconds == 0


def test_own_time_is_told_for_each_event():
    """Beside the latency of the service: 0.25 s for six events."""
    assert by_name(full())["client"].note.endswith("; 41,667 us an event")


def test_a_handshake_that_fails_is_not_called_plain_http():
    """TCP was there, no head ever came."""
    recording = recorded((StreamFault(service_fault("throttlingException", "Slow down.")), 2.0))
    recording.marks |= {"sent": 0.5, "connecting": 0.75, "resolved": 1.0, "connected": 1.25}
    assert by_name(recording)["tls"].note == "the connection did not get so far"


def test_a_reply_that_failed_ends_with_its_last_event(tmp_path):
    """No metadata: the parts end there, and there is no e2e. A recording of nothing has all parts, too."""
    fault = StreamFault(service_fault("throttlingException", "Slow down."))
    recording = recorded((TextDelta(0, "a"), 0.5), (fault, 2.0))
    found = by_name(recording)
    assert (found["closing"].end_s, found["e2e"].seconds) == (2.0, None)
    frame = breakdown(recording).set_index("part")
    assert frame.share[list(SEQUENCE)].sum() == 1.0
    assert breakdown(Recording()).seconds.isna().all()


def test_the_table_stacks_recordings(tmp_path):
    """A row per part and recording; shares of e2e, also of a part that lasts longer."""
    frame = breakdown([full(), full().save(tmp_path / "a.jsonl")])
    assert list(frame) == list(BREAKDOWN_COLUMNS)
    assert frame.recording.tolist() == [0] * 18 + [1] * 18
    assert (
        frame[frame.recording == 0]
        .drop(columns="recording")
        .equals(frame[frame.recording == 1].drop(columns="recording").reset_index(drop=True))
    )
    share = frame[frame.recording == 0].set_index("part").share
    assert share[list(SEQUENCE)].sum() == share["e2e"] == 1.0
    assert (share["tls"], share["tools"]) == (0.125, 0.375)
