"""timeouts.py, and the limits as a reply keeps them: no event, no whole event, no end, on real sockets."""

from __future__ import annotations

import socket
import threading
import time
from math import inf

import pytest
import urllib3.exceptions
from botocore.config import Config

import bedrock_nb as nb
from bedrock_nb.errors import (
    FirstEventTimeout,
    IdleTimeout,
    RequestError,
    StreamStalled,
    StreamTimeout,
    TotalTimeout,
)
from bedrock_nb.server import loopback_client
from bedrock_nb.tap import timeouts_of
from bedrock_nb.timeouts import Deadline, Timeouts
from tests.wire_server import GOOD, Answer, answer, dripped, refusal

SHORT = 0.15  # seconds: what the limits are set to
LONG = 25.0  # above any test that works


class Clock:
    """Seconds, as a test moves them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# -- the arithmetic --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["first_event", "idle", "total"])
@pytest.mark.parametrize("wrong", [0, -1, float("nan"), True, "5", None])
def test_a_limit_is_a_number_above_nothing(name, wrong):
    """The message names the argument and what is wanted."""
    with pytest.raises(RequestError, match=f"{name}_timeout is .*a number of seconds above 0"):
        Timeouts(**{name: wrong})


def test_changing_some_limits_leaves_the_others():
    """None changes nothing; inf takes a limit away."""
    limits = Timeouts(1, 2, 3)
    assert limits.but(None, None, None) == limits
    assert limits.but(None, inf, 9) == Timeouts(1, inf, 9)


def test_what_is_waited_for_decides_the_limit():
    """First an event, then the next whole one, and the end all the time."""
    clock = Clock()
    deadline = Deadline(Timeouts(10, 2, 15), clock)
    assert deadline.left() == 10
    clock.now += 9
    assert (deadline.left(), type(deadline.error())) == (1, FirstEventTimeout)
    deadline.heard = clock.now
    assert (deadline.left(), type(deadline.error())) == (2, IdleTimeout)
    clock.now += 5
    assert deadline.left() == -3
    deadline.heard = clock.now
    assert (deadline.left(), type(deadline.error())) == (1, TotalTimeout)


def test_time_in_which_nobody_waits_does_not_count():
    """A reader who thinks does not make the service late; the whole reply's limit runs on."""
    clock = Clock()
    deadline = Deadline(Timeouts(10, 2, 50), clock)
    deadline.heard = clock.now
    clock.now += 30
    deadline.away(30)
    assert deadline.left() == 2
    deadline.heard = clock.now
    assert deadline.left() == 2
    clock.now += 30
    deadline.away(30)
    assert (deadline.left(), deadline.error().limit_s) == (-10, 50)


def test_events_that_are_read_late_are_no_silence():
    """Who comes back finds what came long ago; how long nothing came counts from then on."""
    clock = Clock()
    deadline = Deadline(Timeouts(10, 2, 50), clock)
    clock.now += 30
    deadline.back = clock.now
    deadline.heard = clock.now - 29
    assert deadline.left() == 2
    deadline.heard = clock.now + 1
    assert deadline.left() == 3


# -- on the wire -----------------------------------------------------------------------------------


def raw(laid: Answer) -> bytes:
    """All the bytes of an answer that waits for nothing."""
    return b"".join(step for step in laid.steps if isinstance(step, bytes))


def the_limit_was(caught, kind, status="incomplete"):
    """The error is the one, says so in whole sentences, and has the reply with it."""
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, urllib3.exceptions.ReadTimeoutError | TimeoutError)
    assert error.limit_s == SHORT
    assert f"{SHORT:g} s" in str(error)
    assert error.reply.status == status
    assert type(error.reply.recording.error) is kind
    return error.reply


HEAD = raw(answer([], "close"))

NOTHING = {
    "no head": [Answer([], "silence")],
    "head in drips": [Answer(dripped(b"HTTP/1.1 200 OK\r\n" + b"x-filler: y\r\n" * 50, 0.02))],
    "no event": [Answer([HEAD], "silence")],
    "a drip of an event": [Answer([HEAD, *dripped(GOOD[0], 0.02)], "silence")],
    "boto3 tries again": [refusal(503, "ServiceUnavailableException", "no")] * 50,
}


@pytest.mark.parametrize("laid", NOTHING.values(), ids=NOTHING)
def test_no_event_in_time(wire, wire_clients, laid):
    """Whatever keeps the first event away, the call ends, and the server sees the connection close."""
    client = wire_clients("eager", retries={"total_max_attempts": 50, "mode": "standard"}, read_timeout=60)
    wire.lay(*laid)
    with pytest.raises(StreamTimeout) as caught:
        nb.stream(client, "hi", first_event_timeout=SHORT).drain()
    reply = the_limit_was(caught, FirstEventTimeout)
    assert len(reply.recording) == 1
    client.close()
    assert wire.wait_until_open(0)


IDLE = {
    "silence": answer(GOOD[:5], ending="silence").steps,
    "a drip": [raw(answer(GOOD[:5])).removesuffix(b"0\r\n\r\n"), *dripped(b"999\r\n" + GOOD[5], 0.02)],
}


@pytest.mark.parametrize("steps", IDLE.values(), ids=IDLE)
@pytest.mark.parametrize("read_timeout", [60, 1])
def test_no_whole_event_in_time(wire, wire_clients, steps, read_timeout):
    """Single bytes are no event; what came before is given first and kept; boto3's own limit is no matter."""
    client = wire_clients(f"patient {read_timeout}", read_timeout=read_timeout)
    wire.lay(Answer(steps, "silence"))
    seen: list = []
    with pytest.raises(IdleTimeout) as caught:
        nb.stream(client, "hi", idle_timeout=SHORT).map(seen.append)
    reply = the_limit_was(caught, IdleTimeout)
    assert len(reply.recording) == 6
    assert list(reply.recording)[:-1] == [event for event in seen if event in list(reply.recording)][:-1]
    assert wire.wait_until_open(0)


@pytest.mark.parametrize("framing", ["event", "close"])
def test_no_end_in_time(wire, client, framing):
    """However lively the reply is."""
    start, end = raw(answer([], framing)), b"0\r\n\r\n"
    start = start.removesuffix(end)
    piece = raw(answer([GOOD[4]], framing)).removesuffix(end).removeprefix(start)
    steps = [start, *[step for _ in range(400) for step in (0.01, piece)]]
    wire.lay(Answer(steps, "silence"))
    with pytest.raises(TotalTimeout) as caught:
        nb.stream(client, "hi", total_timeout=SHORT).drain()
    reply = the_limit_was(caught, TotalTimeout)
    assert len(reply.recording) >= 1  # with its fault; on a busy machine nothing else may have come
    assert wire.wait_until_open(0)


def test_the_clients_own_read_timeout_holds_where_it_is_shorter(wire, wire_clients):
    """What somebody configured is what they get, under its own name."""
    client = wire_clients("hasty", read_timeout=SHORT)
    wire.lay(answer(GOOD[:5], ending="silence"))
    with pytest.raises(StreamStalled):
        nb.stream(client, "hi", idle_timeout=LONG).drain()


def test_a_reader_who_thinks_is_no_silence(wire, client):
    """What waits in the socket is read, however long nobody asked for it."""
    gates = {i: threading.Event() for i in range(1, len(GOOD))}
    wire.lay(answer(GOOD, gates=gates))
    reply = nb.stream(client, "hi", first_event_timeout=SHORT, idle_timeout=SHORT)
    time.sleep(1.5 * SHORT)
    for number, _ in enumerate(reply, 1):
        if number in gates:
            gates[number].set()
        if number < 4:
            time.sleep(1.5 * SHORT)
    assert reply.status == "complete"


def test_a_connection_that_had_limits_serves_calls_without(wire, wire_clients):
    """The next call on it waits as long as its client says, and not as the last one did."""
    client = wire_clients("pooled")
    gate = threading.Event()
    wire.lay(answer(GOOD), answer(GOOD, gates={3: gate}))
    nb.stream(client, "hi", idle_timeout=SHORT).drain()
    second = nb.stream(client, "hi")
    threading.Timer(2 * SHORT, gate.set).start()
    assert second.drain().status == "complete"
    assert wire.accepted == 1


def test_a_host_that_does_not_answer_the_connection():
    """Neither name servers nor handshakes are waited for longer than the limit."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        port = deaf.getsockname()[1]
        with socket.socket() as first, socket.socket() as second:  # the queue is full: a third hangs
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            # One attempt: its thread outlives the test, and would draw from the global `random` to try again.
            config = Config(connect_timeout=5, retries={"total_max_attempts": 1})
            client = loopback_client(f"http://127.0.0.1:{port}", config=config)
            with pytest.raises(FirstEventTimeout):
                nb.stream(client, "hi", first_event_timeout=SHORT)


def test_limits_of_a_response_that_somebody_made(wire, client):
    """Reply keeps them from when it is made."""
    nb.watch(client)
    wire.lay(answer(GOOD[:5], ending="silence"))
    response = client.converse_stream(modelId="m", messages=[{"role": "user", "content": [{"text": "hi"}]}])
    with pytest.raises(IdleTimeout):
        nb.Reply(response, timeouts=Timeouts(idle=SHORT)).drain()


def test_connect_sets_the_limits_of_its_client():
    """Every reply has them; boto3's own read timeout stays out of their way."""
    client = nb.connect("local", idle_timeout=700, total_timeout=900, verbose=False)
    assert timeouts_of(client) == Timeouts(600, 700, 900)
    assert client.meta.config.read_timeout == 3600
    with pytest.raises(RequestError, match="idle_timeout"):
        nb.connect("local", idle_timeout=0)
