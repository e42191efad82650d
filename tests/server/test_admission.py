"""Load: places and who waits for them, rates and who is refused; by a clock of the test's own."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ReadTimeoutError
from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_nb.server import BedrockServer, Latency, canned
from bedrock_nb.server.accounts import Account
from bedrock_nb.server.admission import Admission, Bucket
from bedrock_nb.server.loopback import Keys
from bedrock_nb.server.refusal import Refusal

HELLO = [{"role": "user", "content": [{"text": "Count to 3"}]}]
ONCE = Config(retries={"total_max_attempts": 1})


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def law(**load: Any) -> Latency:
    return Latency(ttft=0.0, per_token=0.0, **load)


def throttles(admission: Admission, tokens: int) -> bool:
    """Whether a request of so many tokens is refused now."""
    try:
        admission.check_rates(tokens)
        admission.take(tokens)
    except Refusal as refusal:
        return (refusal.status, refusal.code) == (429, "ThrottlingException")
    return False


# -- places ----------------------------------------------------------------------------------------


class House:
    """Guests who come, wait, go and change their mind; notes who got in, and in which order."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.tasks: list[asyncio.Task[None]] = []
        self.doors: list[asyncio.Event] = []
        self.inside: set[int] = set()
        self.entered: list[int] = []
        self.most = 0

    def come(self) -> None:
        self.doors.append(asyncio.Event())
        self.tasks.append(asyncio.create_task(self._visit(len(self.tasks))))

    async def _visit(self, number: int) -> None:
        await self.admission.enter()
        self.entered.append(number)
        self.inside.add(number)
        self.most = max(self.most, len(self.inside))
        try:
            await self.doors[number].wait()
        finally:
            self.inside.discard(number)
            self.admission.leave()

    def go(self, which: int) -> None:
        """One of those inside wants out."""
        if self.inside:
            self.doors[sorted(self.inside)[which % len(self.inside)]].set()

    def cancel(self, which: int) -> None:
        """One of those who are not done yet is cancelled, inside or not."""
        if alive := [task for task in self.tasks if not task.done()]:
            alive[which % len(alive)].cancel()

    async def empty(self) -> None:
        """All go, and all who still wait get in and go."""
        for door in self.doors:
            door.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settle() -> None:
    """Let everybody who can move do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner() as runner:
        runner.run(coroutine)


steps = st.lists(
    st.one_of(
        st.just(("come", 0)),
        st.just(("settle", 0)),
        st.tuples(st.sampled_from(["go", "cancel"]), st.integers(0, 5)),
    ),
    max_size=40,
)
TWO_COME = [("come", 0), ("come", 0), ("settle", 0)]


@given(st.integers(1, 3), steps)
@example(1, [*TWO_COME, ("go", 0), ("cancel", 1)])  # leaves at the moment at which the next gives up
@example(1, [*TWO_COME, ("cancel", 1), ("go", 0)])
@example(1, [*TWO_COME, ("come", 0), ("go", 0), ("settle", 0), ("cancel", 0), ("cancel", 1)])
def test_places_are_never_too_many_and_never_lost(slots, moves):
    """Whoever comes, goes or gives up at whatever moment: first come is first served, no place gets lost."""

    async def play() -> None:
        house = House(Admission(law(slots=slots), Clock()))
        for move, which in moves:
            match move:
                case "come":
                    house.come()
                case "settle":
                    await settle()
                case "go":
                    house.go(which)
                case "cancel":
                    house.cancel(which)
        await house.empty()
        stayed = {i for i, task in enumerate(house.tasks) if not task.cancelled()}
        assert all(house.tasks[i].exception() is None for i in stayed)
        assert stayed <= set(house.entered)  # everybody who did not give up got in
        # In the order in which they came; of several places, one may be taken before who was given
        # another wakes.
        assert slots > 1 or house.entered == sorted(house.entered)
        assert house.most <= slots
        for _ in range(slots):  # afterwards all places are free, and no more than all
            await asyncio.wait_for(house.admission.enter(), 10)
        late = asyncio.ensure_future(house.admission.enter())
        await settle()
        assert not late.done()
        late.cancel()

    run(play())


@given(st.integers(1, 3), st.integers(0, 3), st.lists(st.sampled_from(["come", "go", "cancel"]), max_size=30))
def test_a_queue_is_a_simple_thing(slots, most, moves):
    """Comers take a place, else wait, else are refused with 503; who goes lets the longest waiting in."""

    async def play() -> None:
        house = House(Admission(law(slots=slots, queue=most), Clock()))
        inside: list[int] = []
        waiting: list[int] = []
        refused: set[int] = set()
        for move in moves:
            match move:
                case "come":
                    number = len(house.tasks)
                    house.come()
                    place = inside if len(inside) < slots else waiting
                    refuse = place is waiting and len(waiting) == most
                    refused.add(number) if refuse else place.append(number)
                case "go" if inside:
                    house.doors[inside.pop(0)].set()
                    inside.extend([waiting.pop(0)] if waiting else [])
                case "cancel" if waiting:
                    house.tasks[waiting.pop()].cancel()
            await settle()
            assert house.inside == set(inside)
        await house.empty()
        for i, task in enumerate(house.tasks):
            error = None if task.cancelled() else task.exception()
            assert isinstance(error, Refusal) == (i in refused)
            if isinstance(error, Refusal):
                assert (error.status, error.code) == (503, "ServiceUnavailableException")

    run(play())


def test_each_has_a_queue_of_their_own():
    """Whose queue is full is refused; others still may wait."""

    async def play() -> None:
        admission = Admission(law(slots=1, queue=1), Clock())
        await admission.enter("Ada")
        waiting = asyncio.ensure_future(admission.enter("Ada"))
        await settle()
        with pytest.raises(Refusal):
            await admission.enter("Ada")
        other = asyncio.ensure_future(admission.enter("Bob"))
        await settle()
        assert not other.done()
        admission.leave("Ada")
        await waiting
        admission.leave("Ada")
        await other

    run(play())


def test_without_places_nobody_waits():
    """A law that says nothing of places lets everybody in, and leaving changes nothing."""

    async def play() -> None:
        admission = Admission(law(), Clock())
        for _ in range(100):
            await admission.enter()
        admission.leave()
        await admission.enter()

    run(play())


# -- rates -----------------------------------------------------------------------------------------


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 90), st.integers(-500, 500)), max_size=30),
)
def test_a_bucket_refills_steadily_and_never_runs_over(a_second, moves):
    """Its level is that of the obvious model: add the time's worth up to the brim, then take."""
    clock, brim = Clock(), 60 * a_second
    bucket = Bucket(brim, clock)
    level = brim
    for seconds, amount in moves:
        clock.now += seconds
        level = min(brim, level + a_second * seconds)
        assert bucket.level == level
        bucket.take(amount)
        level = min(brim, level - amount)
        assert bucket.level == level


@given(
    st.integers(1, 60),
    st.integers(60, 2_000),
    st.lists(st.tuples(st.floats(0, 30), st.integers(0, 3_000)), min_size=1, max_size=60),
)
def test_no_more_is_let_in_than_the_rates_say(requests, tokens, moves):
    """Over any time: a minute's worth and the rate times the time; but one that is larger waits for all."""
    clock = Clock()
    admission = Admission(law(requests_per_minute=requests, tokens_per_minute=tokens), clock)
    let_in = taken = 0.0
    for seconds, wanted in moves:
        clock.now += seconds
        if not throttles(admission, wanted):
            let_in += 1
            before, taken = taken, taken + wanted
            assert let_in <= requests * (1 + clock.now / 60) + 1e-6
            assert before + min(wanted, tokens) <= tokens * (1 + clock.now / 60) + 1e-6


def test_requests_come_back_one_by_one():
    """With 6 a minute, the seventh is refused, and ten seconds later one more passes."""
    clock = Clock()
    admission = Admission(law(requests_per_minute=6), clock)
    assert [throttles(admission, 0) for _ in range(8)] == [False] * 6 + [True] * 2
    clock.now = 9.0
    assert throttles(admission, 0)
    clock.now = 10.5
    assert [throttles(admission, 0) for _ in range(2)] == [False, True]
    clock.now = 10_000.0
    assert [throttles(admission, 0) for _ in range(7)] == [False] * 6 + [True]


def test_a_refused_request_takes_nothing():
    """Whoever is refused for tokens has not used up a request, and the other way round."""
    admission = Admission(law(requests_per_minute=2, tokens_per_minute=100), Clock())
    assert [throttles(admission, tokens) for tokens in (90, 50, 50, 11)] == [False, True, True, True]
    assert not throttles(admission, 10)  # the second request, and the last tokens
    other = Admission(law(requests_per_minute=1, tokens_per_minute=100), Clock())
    assert [throttles(other, tokens) for tokens in (0, 60, 60)] == [False, True, True]
    assert other._tokens is not None
    assert other._tokens.level == 100


def test_who_is_refused_by_the_last_gate_has_lost_nothing_at_the_first():
    """A student whom the whole server's rate refuses keeps their own requests and tokens."""
    own = Admission(law(requests_per_minute=2, tokens_per_minute=100), Clock())
    account = Account("Ada", Keys(), (own, Admission(law(requests_per_minute=1), Clock())), canned)
    account.check_rates(10)
    for _ in range(5):
        with pytest.raises(Refusal):
            account.check_rates(10)
    assert not throttles(own, 90)
    assert throttles(own, 0)


@pytest.mark.parametrize(
    ("reserved", "used", "left"),
    [(80, 30, 70), (80, 80, 20), (80, 0, 100), (30, 90, 10), (30, 150, -50)],
)
def test_what_was_reserved_is_settled_by_what_was_used(reserved, used, left):
    """Unused tokens go back; more than was reserved is taken too, and may become a debt."""
    clock = Clock()
    admission = Admission(law(tokens_per_minute=100), clock)
    assert not throttles(admission, reserved)
    admission.settle(reserved, used)
    if left < 100:
        assert throttles(admission, left + 1)
    if left < 0:  # not even nothing, until the debt is paid
        assert throttles(admission, 0)
        clock.now = -left * 60 / 100 + 0.001
    assert not throttles(admission, max(0, left))


def test_a_request_larger_than_a_minute_passes_with_a_full_bucket():
    """It could never pass otherwise; afterwards everybody waits for the whole of it."""
    clock = Clock()
    admission = Admission(law(tokens_per_minute=60), clock)
    assert not throttles(admission, 1)
    assert throttles(admission, 200)
    clock.now = 2.0
    assert not throttles(admission, 200)  # and now 140 are owed
    clock.now = 2.0 + 139
    assert throttles(admission, 0)
    clock.now = 2.0 + 141
    assert not throttles(admission, 1)


# -- over HTTP -------------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Any]:
    """Start servers with a law, and end them."""
    running: list[BedrockServer] = []

    def start(load: Latency) -> BedrockServer:
        running.append(BedrockServer(latency=load).start())
        return running[-1]

    yield start
    for server in running:
        server.close()


def over(server: BedrockServer, request_id: str) -> Any:
    """The truth about a request, once it is over."""
    end = time.monotonic() + 30
    while (truth := server.truth(request_id)).outcome == "open":
        assert time.monotonic() < end, "the answer did not end"
        time.sleep(0.002)
    return truth


def test_with_one_place_answers_follow_one_another(serve):
    """Of clients at the same time each begins when the one before has ended; the truth says who waited."""
    server = serve(Latency(ttft=0.02, per_token=0.001, slots=1))
    client = server.client(config=ONCE)

    def ask(_: int) -> str:
        response = client.converse_stream(modelId="m", messages=HELLO)
        assert [name for event in response["stream"] for name in event][-1] == "metadata"
        return response["ResponseMetadata"]["RequestId"]

    with ThreadPoolExecutor(5) as pool:
        truths = [over(server, request_id) for request_id in pool.map(ask, range(5))]
    client.close()
    truths.sort(key=lambda truth: truth.begun[0] + truth.arrived)
    spans = [(truth.arrived + truth.begun[0], truth.arrived + truth.done[-1]) for truth in truths]
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert all(truth.queued_s <= truth.begun[0] for truth in truths)
    assert [truth.arrived + truth.queued_s for truth in truths] == sorted(
        truth.arrived + truth.queued_s for truth in truths
    )
    assert max(truth.queued_s for truth in truths) > 0.02  # at least one answer's time
    assert {truth.outcome for truth in truths} == {"complete"}


def test_a_full_queue_is_refused_over_http(serve):
    """With one place and no queue, whoever comes while an answer is under way gets 503."""
    server = serve(Latency(ttft=0.0, per_token=60.0, slots=1, queue=0))
    client = server.client(config=ONCE)
    stream = client.converse_stream(modelId="m", messages=HELLO)["stream"]
    assert "messageStart" in next(iter(stream))
    with pytest.raises(client.exceptions.ServiceUnavailableException) as caught:
        client.converse(modelId="m", messages=HELLO)
    response = caught.value.response["ResponseMetadata"]
    assert response["HTTPStatusCode"] == 503
    assert over(server, response["RequestId"]).outcome == "refused"
    stream.close()
    client.close()


def test_a_client_that_leaves_gives_its_place_back(serve):
    """The place of a broken-off answer is free again, and so is that of one who gave up waiting."""
    server = serve(Latency(ttft=0.0, per_token=0.0, slots=1))
    client = server.client(config=ONCE)
    impatient = server.client(config=Config(retries={"total_max_attempts": 1}, read_timeout=0.3))
    slow = {"modelId": "m@stall:after=1,seconds=60", "messages": HELLO}
    response = client.converse_stream(**slow)
    assert "messageStart" in next(iter(response["stream"]))
    with pytest.raises(ReadTimeoutError):
        impatient.converse(modelId="m", messages=HELLO)  # waits for the place, and gives up
    response["stream"].close()
    assert client.converse(modelId="m", messages=HELLO)["stopReason"] == "end_turn"
    client.close()
    impatient.close()


def test_beyond_the_rate_boto3_sees_a_throttling_exception(serve):
    """429 ThrottlingException, as boto3's own class, and noted in the truth."""
    server = serve(law(requests_per_minute=1))
    client = server.client(config=ONCE)
    assert client.converse(modelId="m", messages=HELLO)["stopReason"] == "end_turn"
    with pytest.raises(client.exceptions.ThrottlingException, match="Too many requests") as caught:
        client.converse_stream(modelId="m", messages=HELLO)
    metadata = caught.value.response["ResponseMetadata"]
    assert metadata["HTTPStatusCode"] == 429
    truth = over(server, metadata["RequestId"])
    assert (truth.outcome, truth.http_status, truth.code) == ("refused", 429, "ThrottlingException")
    client.close()


def test_tokens_are_reserved_by_max_tokens_and_given_back(serve):
    """Asking for far more tokens than are used does not throttle the next; asking for all at once does."""
    server = serve(Latency(ttft=0.0, per_token=0.0, tokens_per_minute=1_000))
    client = server.client(config=ONCE)
    for _ in range(5):  # reserves 900 each time, and uses about 20
        answer = client.converse(modelId="m", messages=HELLO, inferenceConfig={"maxTokens": 900})
        over(server, answer["ResponseMetadata"]["RequestId"])
    client.converse(modelId="m", messages=[{"role": "user", "content": [{"text": "word " * 900}]}])
    with pytest.raises(ClientError, match="Too many tokens"):
        client.converse(modelId="m", messages=HELLO, inferenceConfig={"maxTokens": 900})
    client.close()


def test_standard_retries_get_through_when_the_rate_allows(serve):
    """boto3 asks again by itself after 429, and is answered once the bucket holds a request again."""
    server = serve(law(requests_per_minute=120))  # one in half a second
    client = server.client(config=Config(retries={"total_max_attempts": 10, "mode": "standard"}))
    impatient = server.client(config=ONCE)

    def refused() -> bool:
        try:
            impatient.converse(modelId="m", messages=HELLO)
        except impatient.exceptions.ThrottlingException:
            return True
        return False

    def attempts() -> int:
        while not refused():  # until the minute's worth is used up
            pass
        return int(client.converse(modelId="m", messages=HELLO)["ResponseMetadata"]["RetryAttempts"])

    assert any(attempts() > 0 for _ in range(20))
    client.close()
    impatient.close()
