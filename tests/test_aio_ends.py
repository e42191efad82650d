"""aio: time limits, ways to stop, connections and who closes them, TLS, proxies, notebooks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from botocore.config import Config
from botocore.tokens import FrozenAuthToken

import bedrock_nb as nb
from bedrock_nb.aio import AsyncReply
from bedrock_nb.aio.calling import AsyncCalling
from bedrock_nb.asked import Keeping
from bedrock_nb.errors import (
    ConnectionFailed,
    FirstEventTimeout,
    IdleTimeout,
    RequestError,
    ServerError,
    StreamStalled,
    StreamTimeout,
    TotalTimeout,
    service_fault,
)
from bedrock_nb.events import StreamFault
from bedrock_nb.server import INSTANT, BedrockServer, loopback_client
from bedrock_nb.server.loopback import ACCESS_KEY, REGION, SECRET_KEY
from bedrock_nb.timeouts import Timeouts
from tests.test_live import printed, run, set_up
from tests.test_tls import TLSServer
from tests.wire_server import GOOD, GOOD_TEXT, LIMIT, Answer, answer, ask, dripped, frames_of, refusal

SHORT = 0.2
HEAD = b"".join(step for step in answer([], "close").steps if isinstance(step, bytes))
SILENT = {"before the head": Answer([], "silence"), "in the body": answer(GOOD[:5], ending="silence")}


async def drained(client: Any, **settings: Any) -> AsyncReply:
    """A reply, read to its end."""
    return await nb.astream(client, "hi", **settings).drain()


# -- time limits -----------------------------------------------------------------------------------

LIMITS: dict[str, tuple[list[Answer], dict[str, float], type[StreamTimeout]]] = {
    "no head": ([Answer([], "silence")], {"first_event_timeout": SHORT}, FirstEventTimeout),
    "no head, no other limit": (
        [Answer([], "silence")],
        {"total_timeout": SHORT, "first_event_timeout": float("inf"), "idle_timeout": float("inf")},
        TotalTimeout,
    ),
    "no event": ([Answer([HEAD], "silence")], {"first_event_timeout": SHORT}, FirstEventTimeout),
    "a drip of an event": (
        [Answer([HEAD, *dripped(GOOD[0], 0.02)], "silence")],
        {"first_event_timeout": SHORT},
        FirstEventTimeout,
    ),
    "attempts": (
        [refusal(503, "ServiceUnavailableException", "no")] * 50,
        {"first_event_timeout": SHORT},
        FirstEventTimeout,
    ),
    "silence": ([answer(GOOD[:5], ending="silence")], {"idle_timeout": SHORT}, IdleTimeout),
    "silence after no limit": (
        [answer(GOOD[:5], ending="silence")],
        {"idle_timeout": SHORT, "first_event_timeout": float("inf")},
        IdleTimeout,
    ),
    "a drip": (
        [Answer([HEAD + b"".join(GOOD[:5]), *dripped(GOOD[5], 0.02)], "silence")],
        {"idle_timeout": SHORT},
        IdleTimeout,
    ),
    "no end": (
        [Answer([HEAD, *[step for _ in range(400) for step in (0.01, GOOD[4])]], "silence")],
        {"total_timeout": SHORT},
        TotalTimeout,
    ),
}


@pytest.mark.parametrize(("laid", "limits", "kind"), LIMITS.values(), ids=LIMITS)
def test_limits(wire, wire_clients, laid, limits, kind):
    """Whatever the call waits for, its limit ends it, and the server sees the connection close."""
    client = wire_clients("eager", retries={"total_max_attempts": 50, "mode": "standard"}, read_timeout=60)
    wire.lay(*laid)
    with pytest.raises(kind, match=f"{SHORT:g} s") as caught:
        asyncio.run(drained(client, **limits))
    assert caught.value.limit_s == SHORT
    assert wire.wait_until_open(0)


def test_the_clients_own_read_timeout_holds_where_it_is_shorter(wire, wire_clients):
    """In the body under its own name; before the head it is one more failed attempt."""
    client = wire_clients("hasty aio", read_timeout=SHORT)
    wire.lay(answer(GOOD[:5], ending="silence"), Answer([], "silence"))
    for _ in range(2):
        with pytest.raises(StreamStalled):
            asyncio.run(drained(client))


def test_the_clients_read_timeout_holds_after_a_full_buffer(wire, wire_clients):
    """While nobody takes the events there is no silence; when somebody waits again there is."""
    client = wire_clients("hasty aio", read_timeout=SHORT)
    wire.lay(answer([GOOD[0], *[GOOD[4]] * 3000], "batch", ending="silence"))

    async def main() -> None:
        reply = await nb.astream(client, "hi", record=False, idle_timeout=float("inf"))
        await asyncio.sleep(1.5 * SHORT)
        assert reply.status == "streaming"
        with pytest.raises(StreamStalled):
            async with asyncio.timeout(LIMIT):
                await reply.drain()

    asyncio.run(main())


def test_who_thinks_between_events_is_no_silence(wire, client):
    """The reply is read meanwhile, and its times are true."""
    gates = {i: threading.Event() for i in range(1, len(GOOD))}
    wire.lay(answer(GOOD, gates=gates))

    async def main() -> None:
        reply = nb.astream(client, "hi", idle_timeout=LIMIT)
        number = 0
        async for event in reply:
            number += 1
            if number in gates:
                gates[number].set()
            if number == 2:
                await asyncio.sleep(0.05)
            assert event is not None
        assert reply.text == GOOD_TEXT

    asyncio.run(main())


# -- ways to stop ----------------------------------------------------------------------------------

STOPS = ["cancel", "thread", "task", "timeout", "with", "dropped", "loop"]


@pytest.mark.parametrize("laid", SILENT.values(), ids=SILENT)
@pytest.mark.parametrize("how", STOPS)
def test_stopped_while_it_waits(wire, client, laid, how):
    """By whatever: it counts as cancelled, what came is kept, and the server sees the connection close."""
    wire.lay(laid)
    wanted = 5 if laid.steps else 0

    async def read(reply: AsyncReply, seen: list[Any]) -> None:
        async for event in reply:
            seen.append(event)

    async def main() -> Any:
        reply = nb.astream(client, "hi")
        recording, seen = reply.recording, list[Any]()
        reading = asyncio.create_task(read(reply, seen))
        while not (wire.requests and len(seen) == wanted):
            await asyncio.sleep(0.002)
        match how:
            case "cancel":
                reply.cancel()
                assert recording.status == "cancelled"
                reply.cancel()
            case "thread":
                await asyncio.to_thread(reply.cancel)
            case "task":
                reading.cancel()
            case "timeout":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(reading, 0.01)
            case "with":
                async with contextlib.AsyncExitStack() as stack:
                    stack.push_async_exit(reply)
            case "dropped":
                reading.cancel()
                await asyncio.wait([reading])
                reply = nb.astream(client, "hi")  # the name goes on
            case "loop":
                return recording  # and all tasks with it
        await asyncio.wait([reading])
        if how in ("cancel", "thread", "with"):
            assert reading.exception() is None
            assert len([event async for event in reply]) == wanted
            assert reply.snapshot == reply.message
        return recording

    recording = asyncio.run(main())
    assert (recording.status, len(recording)) == ("cancelled", wanted)
    assert wire.wait_until_open(0)


def test_one_that_nobody_holds_is_closed(wire, client):
    """At once, in its loop, without a collection of cycles."""
    wire.lay(answer(GOOD[:5], ending="silence"))

    async def main() -> None:
        reply = await nb.astream(client, "hi")
        recording = reply.recording
        while len(recording) < 5:
            await asyncio.sleep(0.002)
        del reply
        assert recording.status == "cancelled"
        await asyncio.to_thread(wire.wait_until_open, 0)

    gc.disable()
    try:
        asyncio.run(main())
    finally:
        gc.enable()


def test_a_task_that_leaves_takes_nothing_from_the_others(wire, client):
    """One of two readers is cancelled: the other gets all."""
    gate = threading.Event()
    wire.lay(answer(GOOD, gates={3: gate}))

    async def main() -> None:
        reply = nb.astream(client, "hi")
        leaving, staying = asyncio.create_task(reply.drain()), asyncio.create_task(reply.drain())
        while len(reply.recording) < 3:
            await asyncio.sleep(0.002)
        leaving.cancel()
        await asyncio.wait([leaving])
        gate.set()
        await staying
        assert (leaving.cancelled(), reply.status) == (True, "complete")

    asyncio.run(main())


def test_stopped_before_it_begins(client):
    """Nothing is sent, and reading it gives nothing."""

    async def main() -> None:
        reply = nb.astream(client, "hi")
        reply.cancel()
        assert [event async for event in reply] == []
        assert (await reply.drain()).status == "cancelled"

    asyncio.run(main())


def test_it_is_read_in_its_own_loop(wire, client):
    """Another loop can look at what is there, and is told which one reads it."""
    wire.lay(answer(GOOD[:5], ending="silence"), answer(GOOD))

    async def main() -> None:
        reply = await nb.astream(client, "hi")
        with pytest.raises(RequestError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, _drain(reply))
        reply.cancel()

    asyncio.run(main())
    whole = asyncio.run(drained(client))
    assert asyncio.run(_drain(whole)).text == GOOD_TEXT


async def _drain(reply: AsyncReply) -> AsyncReply:
    return await reply.drain()


def test_a_cut_answer_is_resumed(wire, client):
    """What broke off in a loop is taken up as ever, from the error's reply."""
    wire.lay(answer(GOOD[:4], ending="fin"), answer(GOOD))
    with pytest.raises(nb.errors.StreamError) as caught:
        asyncio.run(drained(client))
    with nb.resume(client, caught.value.reply, how="restart") as whole:
        assert whole.drain().status == "complete"


# -- connections -----------------------------------------------------------------------------------


def test_a_loop_has_one_session(wire, client):
    """Replies that follow each other share a connection; it is closed with its loop, without a warning."""
    wire.lay(*[answer(GOOD)] * 4)

    async def main() -> None:
        first, second = await drained(client), await drained(client)
        assert {"connecting", "resolved", "connected"} <= first.recording.marks.keys()
        assert not {"connecting", "resolved", "connected"} & second.recording.marks.keys()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for loops in (1, 2):
            asyncio.run(main())
            assert wire.wait_until_open(0)
            assert wire.accepted == loops
        gc.collect()
    assert [str(warning.message) for warning in warned] == []


def test_reads_have_numbers_and_times(wire, client):
    """Each network read has its own, from the head on."""
    gates = {n: threading.Event() for n in (3, 4)}
    wire.lay(answer(GOOD, gates=gates))

    async def main() -> None:
        reply = nb.astream(client, "hi")
        reading = asyncio.create_task(reply.drain())
        for n, gate in gates.items():
            while len(reply.recording) < n:
                await asyncio.sleep(0.001)
            gate.set()
        await reading
        recording = reply.recording
        reads, times = list(recording.reads), list(recording.times)
        assert (reads, times) == (sorted(reads), sorted(times))
        assert len(set(reads)) == len(set(times)) == 3
        assert recording.marks["sent"] <= recording.marks["headers"] <= times[0]

    asyncio.run(main())


def test_a_loop_that_is_held_is_told(wire, client):
    """What came meanwhile may have waited: for that read it is noted, and the recording says so."""
    held, gates = 0.1, {n: threading.Event() for n in (3, 4)}
    wire.lay(answer(GOOD, gates=gates))

    async def main() -> AsyncReply:
        reply = nb.astream(client, "hi")
        async for _ in reply:
            if len(reply.recording) == 3 and not gates[3].is_set():
                await asyncio.sleep(0.02)  # the loop is in time until then
                gates[3].set()
                time.sleep(held)
            elif len(reply.recording) == 4:
                gates[4].set()
        return reply

    recording = asyncio.run(main()).recording
    late = recording.late[recording.reads[3]]
    assert held / 2 < late
    assert any("The event loop was late" in problem for problem in recording.problems)
    assert recording.reads[0] not in recording.late


def test_limits_hold_after_a_retry(wire, client):
    """The second stream's silence is as long as the first's may be."""
    throttled = frames_of([StreamFault(service_fault("throttlingException", "Too many tokens."))])
    wire.lay(answer(throttled), answer(GOOD[:5], ending="silence"))
    source = AsyncCalling(client, ask(), Timeouts(idle=SHORT), retries=1, pause=lambda attempt: 0.0)
    reply = AsyncReply(source, Keeping())
    with pytest.raises(IdleTimeout):
        asyncio.run(_drain(reply))
    assert len(reply.recording) == 6
    assert len(wire.requests) == 2


def test_no_server():
    """The embedded server that has gone away is an error of its own; another is a failed connection."""
    client = loopback_client("http://127.0.0.1:9", config=Config(retries={"total_max_attempts": 1}))
    with pytest.raises(ServerError, match="gone away"):
        asyncio.run(drained(client))
    client.close()
    config = Config(retries={"total_max_attempts": 1}, proxies={"http": "127.0.0.1:9"})
    client = loopback_client("http://127.0.0.1:8", config=config)
    with pytest.raises(ConnectionFailed, match="ProxyConnectionError"):
        asyncio.run(drained(client))
    client.close()


def test_a_proxy_is_asked(wire):
    """That of the client's configuration, with the whole URL."""
    wire.lay(answer(GOOD))
    client = loopback_client("http://localhost:9", config=Config(proxies={"http": wire.url}))
    assert asyncio.run(drained(client)).text == GOOD_TEXT
    client.close()
    assert wire.requests[0].startswith(b"POST http://localhost:9/model/")


# -- TLS -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority) -> Iterator[TLSServer]:
    server = TLSServer(authority)
    yield server
    server.stop()


def _client(server: TLSServer, verify: Any) -> Any:
    settings: dict = {"auth_scheme_preference": "sigv4", "retries": {"total_max_attempts": 1}, "proxies": {}}
    session = boto3.Session(ACCESS_KEY, SECRET_KEY, region_name=REGION)
    return session.client(
        "bedrock-runtime", endpoint_url=server.url, verify=verify, config=Config(**settings)
    )


@pytest.fixture
def trusted(authority, tmp_path) -> str:
    path = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.mark.parametrize("checked", [True, False])
def test_a_reply_under_tls(tls, trusted, checked):
    """With the client's own certificates, or none checked; its set-up is marked, and a token may be sent."""
    tls.answers.append(answer(GOOD))
    client = _client(tls, trusted if checked else False)
    reply = asyncio.run(drained(client))
    client.close()
    assert reply.text == GOOD_TEXT
    setup = ["sent", "connecting", "resolved", "connected", "secured", "headers"]
    assert list(reply.recording.marks) == [*setup, "closed"]
    assert sorted(setup, key=reply.recording.marks.__getitem__) == setup


def test_a_bearer_token_signs_as_well(tls, trusted):
    """Whatever signs a client's requests signs these: a request without a signature is answered."""
    tls.answers.append(answer(GOOD))
    client = _client(tls, trusted)
    client.meta.config.auth_scheme_preference = "httpBearerAuth"
    client._request_signer._auth_token = FrozenAuthToken("abc")
    assert asyncio.run(drained(client)).text == GOOD_TEXT
    client.close()


def test_a_certificate_that_is_not_trusted(tls, tmp_path):
    """Of another authority: no connection comes about, as with boto3."""
    tls.answers.append(Answer([]))
    other = Path(tmp_path / "other.pem")
    trustme.CA().cert_pem.write_to_path(str(other))
    client = _client(tls, str(other))
    with pytest.raises(ConnectionFailed, match="SSLError"):
        asyncio.run(drained(client))
    client.close()


@pytest.mark.parametrize("how", ["limit", "stop"])
def test_ends_under_tls(tls, trusted, how):
    """In the middle of a reply, and the server sees the connection close."""
    tls.answers.append(answer(GOOD[:5], ending="silence"))
    client = _client(tls, trusted)

    async def main() -> None:
        reply = nb.astream(client, "hi", idle_timeout=SHORT if how == "limit" else LIMIT)
        if how == "stop":
            async for _ in reply:
                reply.cancel()
        else:
            with pytest.raises(IdleTimeout):
                await reply.drain()
        assert reply.status == ("cancelled" if how == "stop" else "incomplete")
        assert await asyncio.to_thread(tls.closed.wait, LIMIT)

    asyncio.run(main())
    client.close()


# -- notebooks -------------------------------------------------------------------------------------


def test_in_a_notebook(kernel):
    """A cell awaits at its top level, in the kernel's own loop; so does the next."""
    _, client = kernel
    ask = "reply = nb.astream(client, 'Count from 1 to 20')\nasync for event in reply: pass\n"
    show = "print(reply.status, reply.text[:7])"
    with BedrockServer(latency=INSTANT) as server:
        for opening in (set_up(server.endpoint_url), "pass"):
            assert printed(run(client, f"{opening}\n{ask}{show}")) == "complete 1, 2, 3\n"
