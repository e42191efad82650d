"""aio: whatever becomes of a call, `astream` says of it what `stream` says; views, retries, arguments."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import re
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.credentials import DeferredRefreshableCredentials
from botocore.stub import Stubber

import bedrock_nb as nb
from bedrock_nb.aio import AsyncReply
from bedrock_nb.aio.calling import AsyncCalling
from bedrock_nb.asked import Keeping
from bedrock_nb.audit import Listener, listen, unlisten
from bedrock_nb.calling import Calling
from bedrock_nb.connection import SETUP
from bedrock_nb.errors import BedrockNbError, RequestError, ThrottlingError
from bedrock_nb.events import MessageComplete
from bedrock_nb.recording import Unrecorded
from bedrock_nb.reply import Reply
from bedrock_nb.server import INSTANT, BedrockServer, faults
from bedrock_nb.server.loopback import REGION
from tests.wire_server import FRAMINGS, GOOD, GOOD_TEXT, LIMIT, Answer, Ending, answer, ask, refusal

SHORT = 0.2
MODEL = "amazon.nova-lite-v1:0"
COUNT = "Count from 1 to 20"
ENDINGS: tuple[Ending, ...] = ("clean", "fin", "reset")

#: Every fault of the server; time limits where nothing else would end it.
FAULTS: list[tuple[Any, dict[str, Any]]] = [
    (None, {}),
    *((faults.refuse(status), {}) for status in (400, 403, 404, 408, 424, 429, 500, 503)),
    (faults.exception("throttlingException"), {}),
    (faults.exception("modelStreamErrorException", after=3, originalStatusCode=500), {"errors": "plain"}),
    (faults.error("whatever", after=2), {}),
    *((one(after=5), {}) for one in (faults.reset, faults.cut, faults.end)),
    *((one(byte=100), {}) for one in (faults.reset, faults.cut, faults.end)),
    (faults.end(after=0), {}),
    (faults.hang_up(), {}),
    (faults.stall(after=4), {"idle_timeout": SHORT}),
    (faults.stall(after=0), {"first_event_timeout": SHORT}),
    (faults.stall(after=4), {"total_timeout": SHORT}),
    (faults.no_head(), {"first_event_timeout": SHORT}),
    (faults.drip(interval=0.0005, size=100), {}),
    (faults.split(3), {}),
    (faults.slow_head(0.02), {}),
    (faults.flip(byte=100), {}),
    (faults.bad_crc(after=2), {}),
    (faults.huge_prelude(after=2), {}),
    (faults.unknown_event(after=1), {}),
    (faults.unknown_delta(after=2), {}),
    (faults.unknown_header(after=1), {}),
    (faults.bad_json(after=2), {}),
    (faults.bad_utf8(after=2), {}),
    (faults.bad_tool_input(), {}),
    (faults.duplicate(after=2), {}),
    (faults.missing(after=2), {}),
    *((fault, {"streaming": False}) for fault in (None, faults.refuse(429), faults.hang_up())),
    (faults.no_head(), {"streaming": False, "first_event_timeout": SHORT}),
]


class Seen(NamedTuple):
    """What a reply shows, but for times and ids."""

    events: list[str]
    recorded: list[str]
    message: Any
    status: str
    error: Any
    envelope: dict[str, Any]
    marks: list[str]
    problems: list[str]
    clock: str
    labels: dict[str, Any]


def seen(reply: Any, events: list[Any], error: Any) -> Seen:
    """What it shows, to be compared with what another does."""
    recording, what = reply.recording, None
    envelope: dict[str, Any] = {
        name: value for name, value in recording.envelope.items() if name != "request_id"
    }
    envelope["headers"] = sorted(envelope.get("headers", ()))
    envelope["retried"] = [one["code"] for one in envelope.get("retried", ())]
    if error is not None:
        assert error is reply.error
        response = getattr(error, "response", {})
        meta = response.get("ResponseMetadata", {})
        what = [
            [kind.__name__ for kind in type(error).__mro__],
            [str(error), error.remedy, error.kept, error.retryable],
            [getattr(error, name, None) for name in ("limit_s", "status_code", "operation_name")],
            {name: value for name, value in response.items() if name != "ResponseMetadata"},
            {name: meta.get(name) for name in ("HTTPStatusCode", "RetryAttempts")},
            sorted(meta.get("HTTPHeaders", ())),
            [type(error.__cause__), type(error.original)],
        ]
    return Seen(
        [repr(event) for event in events],
        [repr(event) for event in recording],
        reply.snapshot,
        reply.status,
        what,
        envelope,
        [name for name in recording.marks if name not in SETUP],
        [problem for problem in recording.problems if "was late" not in problem],  # a busy machine's
        recording.clock,
        dict(recording.labels),
    )


def streamed(reply: Reply) -> Seen:
    """What is seen of a reply of `stream`."""
    events: list[Any] = []
    try:
        for event in reply:
            events.append(event)
    except BedrockNbError as err:
        return seen(reply, events, err)
    return seen(reply, events, None)


def astreamed(reply: AsyncReply) -> Seen:
    """What is seen of a reply of `astream`."""

    async def main() -> Seen:
        events: list[Any] = []
        try:
            async for event in reply:
                events.append(event)
        except BedrockNbError as err:
            return seen(reply, events, err)
        return seen(reply, events, None)

    return asyncio.run(main())


def both(server: BedrockServer, fault: Any, client: Any, prompt: Any, **settings: Any) -> tuple[Seen, Seen]:
    """What is seen of the same call by `stream` and by `astream`.

    The first is read in the background: then errors come in reading, as they do with the second.
    """
    with server.fault(fault):
        theirs = streamed(nb.stream(client, prompt, background=True, **settings))
    with server.fault(fault):
        return theirs, astreamed(nb.astream(client, prompt, **settings))


@pytest.fixture(scope="module")
def server() -> Iterator[BedrockServer]:
    with BedrockServer(latency=INSTANT) as server:
        yield server


@pytest.fixture(scope="module")
def once(server) -> Iterator[Any]:
    """A client that tries once."""
    client = server.client(config=Config(retries={"total_max_attempts": 1}))
    yield client
    client.close()


@pytest.fixture(scope="module")
def thrice(server) -> Iterator[Any]:
    """A client that tries three times, as standard mode does."""
    client = server.client(config=Config(retries={"total_max_attempts": 3, "mode": "standard"}))
    yield client
    client.close()


@pytest.mark.parametrize(("fault", "settings"), FAULTS, ids=lambda value: repr(value)[:60])
def test_the_same_as_stream(server, once, fault, settings):
    """Events, recording, status, error and its words, envelope, marks: whatever goes wrong."""
    prompt = "What is the weather in Oslo?" if "tool" in repr(fault) else COUNT
    theirs, ours = both(server, [fault], once, prompt, model=MODEL, labels={"run": 1}, **settings)
    assert ours == theirs


def test_no_fault_is_left_out():
    """A new fault of the server wants a row above."""
    named = {repr(fault).partition("(")[0] for fault, _ in FAULTS if fault}
    assert named == set(faults.FAULTS)


WIRE = {
    **{
        f"{framing}, {ending}": answer(GOOD[:6], framing, ending)
        for framing in FRAMINGS
        for ending in ENDINGS
    },
    "cut in a frame": answer(GOOD[:6], "length", "fin", cut=10),
    "half a head": Answer([b"HTTP/1.1 2"], "fin"),
    "half a head, reset": Answer([b"HTTP/1.1 2"], "reset"),
    "no HTTP": Answer([b"Good morning.\r\n\r\n"], "fin"),
    "a page": Answer([b"HTTP/1.1 502 Bad\r\nContent-Length: 9\r\n\r\n<p>no</p>"]),
    "a page, well": Answer([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<p>no</p>"]),
}


@pytest.mark.parametrize("laid", WIRE.values(), ids=WIRE)
def test_the_same_on_any_wire(wire, client, laid):
    """However the bytes are framed, wherever they end, and if they are none of Bedrock's."""
    wire.lay(laid, laid)
    theirs = streamed(nb.stream(client, "hi", background=True))
    assert astreamed(nb.astream(client, "hi")) == theirs


# -- views -----------------------------------------------------------------------------------------


def test_every_view_has_all(once):
    """Tasks that iterate one reply at once, pulled events, texts, and a loop that comes later."""

    async def main() -> None:
        reply = nb.astream(once, COUNT, model=MODEL)

        async def listed() -> list[Any]:
            return [event async for event in reply]

        async def pulled() -> list[Any]:
            events = []
            while (event := await reply.next_event()) is not None:
                events.append(event)
            return events

        async def texts() -> str:
            return "".join([text async for text in reply.text_stream])

        first, second, third, said = await asyncio.gather(listed(), listed(), pulled(), texts())
        assert first == second == third == await listed()
        assert said == reply.text

    asyncio.run(main())


def test_what_it_adds_up_to_is_known_at_the_end(wire, client):
    """Before, asking for it says what to await; afterwards it is what a Reply would show."""
    gate = threading.Event()
    wire.lay(answer(GOOD, gates={3: gate}), answer(GOOD))

    async def main() -> AsyncReply:
        reply = nb.astream(client, "hi")
        assert (reply.status, reply.error, reply.journal) == ("streaming", None, None)
        assert repr(reply) == f"<AsyncReply {reply.recording.model}: not begun>"
        for begun in (False, True):
            for name in ("message", "text", "usage", "stop_reason", "metrics", "parsed"):
                with pytest.raises(RequestError, match=r"await reply.drain\(\)"):
                    getattr(reply, name)
            if not begun:
                assert await reply is reply
        gate.set()
        return await reply.drain()

    reply, other = asyncio.run(main()), nb.stream(client, "hi").drain()
    for name in ("message", "text", "usage", "stop_reason", "problems", "status"):
        assert getattr(reply, name) == getattr(other, name)
    assert reply.metrics.keys() == other.metrics.keys()
    assert list(reply.frames()) == list(other.frames())
    assert repr(reply) == repr(other).replace("<Reply", "<AsyncReply")
    assert list(nb.summary([reply])) == list(nb.summary([other]))


def test_the_arguments_are_those_of_stream():
    """All of them, but for those of its thread."""
    theirs = dict(inspect.signature(nb.stream).parameters)
    for name in ("background", "buffer", "when_full", "made"):
        del theirs[name]
    assert dict(inspect.signature(nb.astream).parameters) == theirs


@pytest.mark.parametrize("how", ["dropped", "cancelled", "awaited"])
def test_a_call_that_never_begins_leaves_nothing(once, recordings, caplog, tmp_path, how):
    """No recording of it is listed, no journal is opened; audit log and listeners do not hear of it."""
    told: list[Any] = []

    class Hearing(Listener):
        def began(self, recording: Any) -> None:
            told.append(recording)

        def ended(self, recording: Any, error: Any) -> None:
            told.append(recording)

    caplog.set_level(logging.INFO, "bedrock_nb.audit")
    listen(hearing := Hearing())
    try:
        reply = nb.astream(once, "hi", model=MODEL, journal=tmp_path)
        assert (reply.snapshot.text, reply.error) == ("", None)
        if how != "dropped":
            reply.cancel()
            assert reply.status == "cancelled"
        if how == "awaited":
            assert asyncio.run(_drain(reply)).status == "cancelled"
        del reply
        gc.collect()
    finally:
        unlisten(hearing)
    assert (list(recordings), told, caplog.records, list(tmp_path.iterdir())) == ([], [], [], [])


async def _drain(reply: AsyncReply) -> AsyncReply:
    return await reply.drain()


@pytest.mark.parametrize("record", [True, False])
def test_tasks_that_pull_share_the_events(once, record):
    """Each event goes to one of them, and each of them hears of the end."""

    async def main() -> None:
        reply = nb.astream(once, COUNT, model=MODEL, record=record)
        pulled: list[Any] = []

        async def pull() -> None:
            while (event := await reply.next_event()) is not None:
                pulled.append(event)
                await asyncio.sleep(0)

        await asyncio.gather(pull(), pull(), pull())
        assert pulled == [event async for event in nb.astream(once, COUNT, model=MODEL, record=record)]

    asyncio.run(main())


def test_many_at_once(once):
    """A hundred replies in one loop, each its own."""

    async def main() -> list[Any]:
        replies = [nb.astream(once, f"Count from 1 to {n}", model=MODEL) for n in range(10, 110)]
        return await asyncio.gather(*(reply.drain() for reply in replies))

    for n, reply in enumerate(asyncio.run(main()), 10):
        assert re.findall(r"\d+", reply.text) == [str(i) for i in range(1, n + 1)]


@pytest.mark.parametrize("record", [True, False])
@pytest.mark.parametrize(("fault", "last"), [(None, "complete"), (faults.end(after=5), "error")])
def test_an_observer_is_told(server, once, record, fault, last):
    """Of the start, of every event, and of the end."""

    class Told(list[str]):
        def on_start(self, reply: Any) -> None:
            self.append("start")

        def on_event(self, event: Any) -> None:
            self.append("event")

        def on_complete(self, message: Any, usage: Any, metrics: Any) -> None:
            self.append("complete")

        def on_error(self, error: Any) -> None:
            self.append("error")

    async def main() -> None:
        told, seen = Told(), 0
        reply = nb.astream(once, COUNT, model=MODEL, record=record).on(told)
        try:
            async for _ in reply:
                seen += 1
        except BedrockNbError:
            assert last == "error"
        assert told == ["start", *["event"] * seen, last]

    with server.fault([fault]):
        asyncio.run(main())


def test_a_reply_that_is_not_kept(once):
    """It can be read once; its usage is known, its text is not."""

    async def main() -> None:
        reply = nb.astream(once, COUNT, model=MODEL, record=False)
        assert "".join([text async for text in reply.text_stream]).startswith("1, 2, 3")
        assert reply.usage["outputTokens"] > 10
        with pytest.raises(RequestError, match="not kept"):
            assert reply.text
        with pytest.raises(RequestError, match="read once"):
            [event async for event in reply]
        drained = nb.astream(once, COUNT, model=MODEL, record=False)
        assert (await drained.drain()).status == "complete"

    asyncio.run(main())


def test_who_does_not_take_what_is_not_kept_makes_the_network_wait(wire, client):
    """Memory does not grow with the reply, and the time limits do not count that time."""
    wire.lay(answer([GOOD[0], *[GOOD[4]] * 3000, *GOOD[5:]], "batch"))

    async def main() -> None:
        reply = await nb.astream(client, "hi", record=False, idle_timeout=SHORT)
        await asyncio.sleep(1.5 * SHORT)
        assert isinstance(reply.recording, Unrecorded)
        assert 1000 <= reply.recording.passed < 3000
        assert len([event async for event in reply]) > 3000

    asyncio.run(main())


def test_a_journal(once, tmp_path):
    """Each event is in the file before anybody is handed it; at the end it is the recording."""

    async def main() -> None:
        reply = nb.astream(once, COUNT, model=MODEL, journal=tmp_path / "one.jsonl", labels={"run": 1})
        assert not (tmp_path / "one.jsonl").exists()
        seen = 0
        async for event in reply:
            seen += not isinstance(event, MessageComplete)
            assert len((tmp_path / "one.jsonl").read_text("utf-8").splitlines()) > seen
        assert reply.journal == tmp_path / "one.jsonl"
        loaded = nb.Recording.load(reply.journal)
        assert (list(loaded), loaded.status) == (list(reply.recording), "complete")
        assert (list(loaded.marks), loaded.envelope) == (list(reply.recording.marks), reply.envelope)
        with pytest.raises(nb.errors.RecordingError, match="cannot be opened"):
            await nb.astream(once, COUNT, model=MODEL, journal=tmp_path / "one.jsonl")

    asyncio.run(main())


# -- attempts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [[503, None], [500, 503, None], [503, 503, 503], [400], [503, 400]])
def test_attempts_are_those_of_boto3(server, thrice, plan):
    """As many, marked and counted, with the same end."""
    refused = [None if status is None else faults.refuse(status) for status in plan]
    theirs, ours = both(server, refused, thrice, COUNT, model=MODEL)
    assert ours == theirs
    assert ours.marks[: len(plan)] == [*(f"sent {n}" for n in range(1, len(plan))), "sent"]


@pytest.mark.parametrize("mode", ["legacy", "standard"])
def test_each_attempt_is_signed_anew_and_numbered(wire, wire_clients, mode):
    """They share an id, as boto3's do, in every mode; the pauses are those of the client's policy."""
    client = wire_clients(f"five {mode}", retries={"total_max_attempts": 5, "mode": mode})
    wire.lay(*[refusal(429, "ThrottlingException", "no")] * 4, answer(GOOD))
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def main() -> AsyncReply:
        return await AsyncReply(AsyncCalling(client, ask(), sleep=sleep), Keeping()).drain()

    reply = asyncio.run(main())
    assert (reply.text, reply.envelope["retries"], len(pauses)) == (GOOD_TEXT, 4, 4)
    assert all(0 <= pause <= 8 for pause in pauses)
    heads = [request.decode() for request in wire.requests]
    assert len({re.search("amz-sdk-invocation-id: (.*)\r", head)[1] for head in heads}) == 1  # type: ignore[index]
    numbers = [re.search("amz-sdk-request: .*attempt=([0-9])", head)[1] for head in heads]  # type: ignore[index]
    assert numbers == ["1", "2", "3", "4", "5"]
    assert wire.accepted == 1


def test_the_quota_is_that_of_the_client(wire, wire_clients):
    """Where boto3 would stop trying again, so does astream."""
    client = wire_clients("quota", retries={"total_max_attempts": 1000, "mode": "standard"})
    wire.lay(*[refusal(429, "ThrottlingException", "no")] * 200)

    async def sleep(_seconds: float) -> None:
        """At once."""

    async def main() -> None:
        await AsyncReply(AsyncCalling(client, ask(), sleep=sleep), Keeping()).drain()

    with pytest.raises(ThrottlingError):
        asyncio.run(main())
    assert len(wire.requests) == 101  # a quota of 500, of which throttling takes 5 (botocore.retries.quota)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_stream_that_begins_with_throttling_is_asked_again(server, once, times):
    """As often as said, and it is in the recording; the last fault is raised: all as with stream."""

    def at_once(kind: Any) -> Any:
        return kind(once, ask(COUNT, modelId=MODEL), retries=2, pause=lambda attempt: 0.0)

    throttled = [faults.exception("throttlingException")] * times
    with server.fault(throttled):
        theirs = streamed(Reply.from_source(at_once(Calling), Keeping(background=True)))
    with server.fault(throttled):
        ours = astreamed(AsyncReply(at_once(AsyncCalling), Keeping()))
    assert ours == theirs
    assert ours.envelope["retried"] == ["throttlingException"] * min(times, 2)
    assert ours.status == ("complete" if times < 3 else "error")


@pytest.mark.parametrize("ending", ["a delta", "damage"])
def test_what_was_held_back_is_shown_at_once(wire, client, ending):
    """What may still be asked for again is held; what shows something, or is damaged, waits for nothing."""
    gate, last = threading.Event(), threading.Event()
    broken = bytes([*GOOD[1][:-1], GOOD[1][-1] ^ 1])
    frames = [GOOD[0], GOOD[1] if ending == "a delta" else broken, *GOOD[2:]]
    wire.lay(answer(frames, gates={1: gate, 2: last}, ending="silence"))

    async def main() -> None:
        reply = await nb.astream(client, "hi", retries=1)
        gate.set()
        async with asyncio.timeout(LIMIT):
            while len(reply.recording) < 2:
                await asyncio.sleep(0.001)
        reply.cancel()
        last.set()

    asyncio.run(main())
    assert len(wire.requests) == 1


# -- requests --------------------------------------------------------------------------------------


def _said(request: bytes) -> Any:
    """A request but for what differs from call to call."""
    head, _, body = request.decode().partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    varying = re.compile(r"(?i)(amz-sdk-invocation-id|x-amz-date|authorization): ")
    return line, sorted(header for header in headers if not varying.match(header)), len(headers), body


@pytest.mark.parametrize(
    "model", [MODEL, "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.x-1:0"]
)
def test_the_request_is_boto3s(wire, client, model):
    """To the letter: path, headers, body; with what the user's own hooks add."""
    wire.lay(answer(GOOD), answer(GOOD))
    client.meta.events.register(
        "before-sign.bedrock-runtime.ConverseStream",
        lambda request, **_: request.headers.add_header("X-Mine", "yes"),
        unique_id="tests.mine",  # once, however often this runs
    )
    nb.stream(client, "Grüße", model=model, temperature=0.5).drain()
    asyncio.run(_drained(client, "Grüße", model=model, temperature=0.5))
    first, second = map(_said, wire.requests)
    assert first == second
    assert "X-Mine: yes" in second[1]


async def _drained(client: Any, prompt: Any, **settings: Any) -> AsyncReply:
    return await nb.astream(client, prompt, **settings).drain()


def test_credentials_that_must_be_fetched_do_not_hold_the_loop(wire):
    """They are fetched in a thread, once; the loop goes on meanwhile."""
    wire.lay(answer(GOOD), answer(GOOD))
    fetched: list[bool] = []
    fetching, loop_went_on = threading.Event(), threading.Event()

    def fetch() -> dict[str, str]:
        fetching.set()
        fetched.append(loop_went_on.wait(LIMIT))
        return {"access_key": "a", "secret_key": "b", "token": "c", "expiry_time": "2999-01-01T00:00:00Z"}

    session = botocore.session.Session()
    vars(session)["_credentials"] = DeferredRefreshableCredentials(fetch, "test")
    settings: dict = {"auth_scheme_preference": "sigv4"}
    client = session.create_client(
        "bedrock-runtime", REGION, endpoint_url=wire.url, config=Config(**settings)
    )

    async def main() -> None:
        first = asyncio.create_task(_drained(client, "hi"))
        while not fetching.is_set():
            await asyncio.sleep(0.001)
        loop_went_on.set()
        await first
        await _drained(client, "hi")

    asyncio.run(main())
    client.close()
    assert fetched == [True]
    assert all(b"X-Amz-Security-Token: c" in request for request in wire.requests)


@pytest.mark.parametrize(
    "wrong", [{"retries": -1}, {"durability": "x"}, {"temprature": 1}, {"idle_timeout": 0}]
)
def test_arguments_that_cannot_work_are_refused_at_once(once, wrong):
    """Before anything is awaited, in the words of stream."""
    with pytest.raises(RequestError) as theirs:
        nb.stream(once, "hi", **wrong)
    with pytest.raises(RequestError, match=re.escape(str(theirs.value))):
        nb.astream(once, "hi", **wrong)


@pytest.mark.parametrize("thing", ["a prompt", object(), type("Fake", (), {"converse_stream": print})()])
def test_what_is_no_boto3_client_is_refused(thing):
    """With a way that may work."""
    with pytest.raises(RequestError, match=r"client|background=True"):
        nb.astream(thing, "hi")


def test_a_stub_is_noticed(recordings):
    """Its answers are on no wire; nothing is sent, and the error names the way."""
    client = boto3.client("bedrock-runtime", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    with Stubber(client) as stub:
        stub.add_response("converse_stream", {"stream": {}})
        with pytest.raises(RequestError, match="background=True"):
            asyncio.run(_drained(client, "hi"))
    assert list(recordings) == []
