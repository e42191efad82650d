"""The prompt cache: what it reads and writes, for how long it remembers, and what the counts say."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from botocore.config import Config
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bedrock_nb.check import check
from bedrock_nb.events import MessageStart, MessageStop, Metadata
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency, canned, recorded
from bedrock_nb.server.caching import PromptCache, cached
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.writing import input_tokens
from tests.server.conformance import service, unknown_members

POINT: dict[str, Any] = {"cachePoint": {"type": "default"}}
HOUR: dict[str, Any] = {"cachePoint": {"type": "default", "ttl": "1h"}}
FIVE: dict[str, Any] = {"cachePoint": {"type": "default", "ttl": "5m"}}
TEN = " ".join(["word"] * 10)
TOOL = {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object"}}}}


def text(words: str) -> dict[str, Any]:
    return {"text": words}


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def counts(cache: PromptCache, request: Request, whole: int = 1000) -> tuple[int, int, int]:
    """Read, written, fresh."""
    usage = cache.usage(request, {"inputTokens": whole, "outputTokens": 5, "totalTokens": whole + 5})
    parts = usage["cacheReadInputTokens"], usage["cacheWriteInputTokens"], usage["inputTokens"]
    assert sum(parts) == whole
    assert usage["totalTokens"] == whole + 5
    assert sum(detail["inputTokens"] for detail in usage["cacheDetails"]) == parts[1]
    shape: Any = service("bedrock-runtime").shape_for("TokenUsage")
    assert unknown_members(shape, usage) == []
    return parts


def small() -> tuple[PromptCache, Clock]:
    clock = Clock()
    return PromptCache(min_tokens=10, clock=clock), clock


# -- reading and writing ---------------------------------------------------------------------------


def test_a_prefix_is_written_once_and_read_from_then_on():
    """What comes after the cache point is fresh both times."""
    cache, _ = small()
    request = Request(prompt=[text(TEN), POINT, text("one two")])
    assert counts(cache, request, 12) == (0, 10, 2)
    assert counts(cache, request, 12) == (10, 0, 2)


def test_a_request_without_cache_points_keeps_its_usage():
    """It gets a copy, with nothing added."""
    usage = {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4}
    got = PromptCache(0).usage(Request(prompt=TEN), usage)
    assert got == usage
    assert got is not usage


def test_the_prefix_goes_from_tools_over_system_to_messages():
    """A cache point in the messages covers the system prompt and the tools before it."""
    cache, _ = small()
    tools, system = [TOOL, POINT], [text(TEN), POINT]
    kwargs = {"tools": tools, "system": system, "prompt": [text(TEN), POINT, text("a")]}
    cache.min_tokens = 1
    counted = input_tokens(Request(tools=[TOOL], prompt="x").to_kwargs()) - 1
    assert counts(cache, Request(**kwargs)) == (0, counted + 20, 980 - counted)
    assert counts(cache, Request(**{**kwargs, "prompt": "b"})) == (counted + 10, 0, 990 - counted)
    assert counts(cache, Request(**{**kwargs, "system": None, "prompt": "b"})) == (
        counted,
        0,
        1000 - counted,
    )


@pytest.mark.parametrize(
    "other",
    [
        {"model": "other"},
        {"prompt": [text(TEN + " "), POINT]},
        {"prompt": [text(TEN[:20]), text(TEN[20:]), POINT]},
        {"system": "x"},
        {"tools": [TOOL]},
        {
            "messages": [
                {"role": "user", "content": [text("a")]},
                {"role": "assistant", "content": [text("b")]},
            ]
        },
    ],
)
def test_another_prefix_or_another_model_is_not_read(other):
    """One character is enough, and so is where a block ends."""
    cache, _ = small()
    first: dict[str, Any] = {"prompt": [text(TEN), POINT]}
    assert counts(cache, Request(**first))[1] == 10
    assert counts(cache, Request(**{**first, **other}))[0] == 0
    assert counts(cache, Request(**first))[0] == 10


def test_images_belong_to_the_prefix():
    """By their bytes."""
    cache, _ = small()

    def seen(data: bytes) -> int:
        image = {"image": {"format": "png", "source": {"bytes": data}}}
        return counts(cache, Request(prompt=[image, text(TEN), POINT]))[0]

    assert seen(b"one") == 0
    assert seen(b"two") == 0
    assert seen(b"one") > 0


def test_a_short_prefix_is_not_cached():
    """Nothing says so but the counts; a longer one that begins with it is."""
    cache, _ = small()
    short = Request(prompt=[text("one two"), POINT, text(TEN)])
    assert counts(cache, short) == counts(cache, short) == (0, 0, 1000)
    assert counts(cache, Request(prompt=[text("one two"), POINT, text(TEN), POINT])) == (0, 12, 988)
    assert counts(cache, short) == (0, 0, 1000)


def test_a_conversation_reads_what_the_turn_before_has_written():
    """Also where its only cache point moves on, but not from more than 20 blocks before."""
    cache, _ = small()
    turns: list[dict[str, Any]] = [{"role": "user", "content": [text(TEN), POINT]}]
    assert counts(cache, Request(messages=turns)) == (0, 10, 990)
    turns[0]["content"].remove(POINT)
    turns += [
        {"role": "assistant", "content": [text("yes")]},
        {"role": "user", "content": [text(TEN), POINT]},
    ]
    assert counts(cache, Request(messages=turns)) == (10, 11, 979)
    turns[2]["content"][1:] = [text("a")] * 20 + [POINT]
    assert counts(cache, Request(messages=turns))[0] == 21
    turns[2]["content"][1:] = [text("b")] * 21 + [POINT]
    assert counts(cache, Request(messages=turns))[0] == 0


def test_writes_are_told_apart_by_their_ttl():
    """An hour first, as the service sorts them; each part belongs to the cache point that ends it."""
    cache, _ = small()
    request = Request(system=[text(TEN), HOUR], prompt=[text(TEN), text(TEN), POINT])
    usage = {"inputTokens": 40, "outputTokens": 1, "totalTokens": 41}
    assert cache.usage(request, usage)["cacheDetails"] == [
        {"ttl": "1h", "inputTokens": 10},
        {"ttl": "5m", "inputTokens": 20},
    ]
    assert cache.usage(request, usage)["cacheDetails"] == []


def test_no_more_is_cached_than_was_counted():
    """A model with other tokens may count fewer than the cache does."""
    cache, _ = small()
    request = Request(system=[text(TEN), HOUR], prompt=[text(TEN), POINT])
    assert counts(cache, request, 15) == (0, 15, 0)
    assert counts(cache, request, 15) == (15, 0, 0)


# -- the rules of cache points ---------------------------------------------------------------------


def test_cache_points_are_found_wherever_a_request_has_them():
    """In tools that came as a whole toolConfig, and in what came under the API's own names."""
    point = [text(TEN), POINT]
    whole = {"tools": [{"toolSpec": {**TOOL["toolSpec"], "description": TEN}}, POINT]}
    for given in ({"tools": whole}, {"extra": {"toolConfig": whole}}, {"extra": {"system": point}}):
        cache, _ = small()
        request = Request(prompt="x", **given)
        assert counts(cache, request)[1] >= 10
        assert counts(cache, request)[0] >= 10


def test_four_cache_points_are_taken_and_five_are_refused():
    """In the words of the models that count them."""
    cache, _ = small()
    four = [text(TEN), POINT] * 4
    assert counts(cache, Request(prompt=four))[1] == 40
    with pytest.raises(Refusal, match=r"of 4 blocks with cache_control may be provided\. Found 5\."):
        counts(cache, Request(system=[text(TEN), POINT], prompt=four))
    assert len(cache) == 4


@pytest.mark.parametrize(
    ("system", "user", "path"),
    [
        (POINT, HOUR, "messages.0.content.0.cache_control.ttl"),
        (FIVE, HOUR, "messages.0.content.0.cache_control.ttl"),
        (HOUR, POINT, None),
        (HOUR, HOUR, None),
    ],
)
def test_a_longer_ttl_must_come_first(system, user, path):
    """The path names the block that the cache point stands after."""
    cache, _ = small()
    request = Request(system=[text(TEN), system], prompt=[text(TEN), user])
    if path is None:
        assert counts(cache, request)[1] == 20
    else:
        with pytest.raises(Refusal, match=f"errors: {path}: a ttl='1h'") as refused:
            counts(cache, request)
        assert (refused.value.status, refused.value.code) == (400, "ValidationException")


# -- how long it remembers -------------------------------------------------------------------------


@pytest.mark.parametrize(("point", "life"), [(POINT, 300), (FIVE, 300), (HOUR, 3600)])
def test_a_prefix_lives_for_its_ttl_and_each_read_begins_it_anew(point, life):
    """Read just in time, twice; then forgotten."""
    cache, clock = small()
    request = Request(prompt=[text(TEN), point])
    assert counts(cache, request)[1] == 10
    for _ in range(2):
        clock.now += life - 1
        assert counts(cache, request)[0] == 10
    clock.now += life
    assert counts(cache, request)[:2] == (0, 10)


def test_a_full_cache_forgets_what_is_past_and_then_what_was_not_used_for_longest():
    """An hour's prefix stays while there are others that are past their time."""
    clock = Clock()
    cache = PromptCache(1, clock, most=3)

    def seen(word: str, point: dict[str, Any] = POINT) -> bool:
        return counts(cache, Request(prompt=[text(word), point]))[0] > 0

    assert not any([seen("hour", HOUR), seen("a"), seen("b")])
    clock.now += 300
    assert not seen("c")
    assert len(cache) == 2
    assert not seen("d")
    assert seen("hour", HOUR)
    assert not seen("e")
    assert len(cache) == 3
    assert seen("hour", HOUR)
    assert seen("d")
    assert not seen("c")


def test_threads_share_a_cache():
    """Of many at once exactly one writes."""
    cache, _ = small()
    request = Request(prompt=[text(TEN), POINT])
    got: list[tuple[int, int, int]] = []
    threads = [threading.Thread(target=lambda: got.append(counts(cache, request))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [(0, 10, 990), *[(10, 0, 990)] * 15]


BLOCKS = st.sampled_from(["a", "b", "c d"])


class Model(RuleBasedStateMachine):
    """The cache beside a dict from prefix to expiry and life, over short conversations of few words."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.cache = PromptCache(2, self.clock)
        self.known: dict[tuple[Any, ...], tuple[float, float]] = {}

    @rule(seconds=st.sampled_from([1, 150, 299, 300, 3599]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(
        model=st.sampled_from(["m", "n"]),
        words=st.lists(BLOCKS, min_size=1, max_size=5),
        places=st.sets(st.integers(1, 5), max_size=4),
        hours=st.integers(0, 4),
    )
    def ask(self, model: str, words: list[str], places: set[int], hours: int) -> None:
        marks = sorted(place for place in places if place <= len(words))
        content: list[dict[str, Any]] = []
        for i, word in enumerate(words, 1):
            content.append(text(word))
            if i in marks:
                content.append(HOUR if marks.index(i) < hours else POINT)
        request = Request(model=model, prompt=content)
        if not marks:
            assert self.cache.usage(request, {"inputTokens": 9}) == {"inputTokens": 9}
            return
        sizes = [sum(len(word.split()) for word in words[:i]) for i in range(len(words) + 1)]
        prefixes = [(model, *words[:i]) for i in range(len(words) + 1)]
        now = self.clock.now
        marks = [i for i in marks if sizes[i] >= 2]
        alive = [
            i
            for i in range(max(marks, default=0), -1, -1)
            if self.known.get(prefixes[i], (0.0, 0.0))[0] > now
        ]
        found = alive[:1] if marks else []
        read = sizes[found[0]] if found else 0
        written = max([sizes[i] for i in marks], default=0) - read
        for i in {*found, *marks}:
            old = self.known.get(prefixes[i], (0.0, 0.0))
            hour = i in marks and sorted(p for p in places if p <= len(words)).index(i) < hours
            life = old[1] if old[0] > now else 3600.0 if hour else 300.0
            self.known[prefixes[i]] = (now + life, life)
        assert counts(self.cache, request) == (read, written, 1000 - read - written)

    @precondition(lambda self: self.known)
    @invariant()
    def nothing_else_is_kept(self) -> None:
        assert len(self.cache) == len(self.known)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)


# -- around a responder ----------------------------------------------------------------------------


def test_answers_say_what_was_cached():
    """Only their usage changes, and it is what the whole request counts."""
    respond = cached(canned, PromptCache(10))
    request = Request(system=[text(TEN), POINT], prompt="Count from 1 to 5")
    plain = canned(request)
    for name in ("cacheWriteInputTokens", "cacheReadInputTokens"):
        answer = respond(request)
        assert isinstance(answer, Recording)
        assert check(answer) == []
        assert answer.usage[name] == 10
        assert answer.usage["totalTokens"] == plain.usage["totalTokens"]
        assert list(answer)[:-1] == list(plain)[:-1]
        assert answer.status == "complete"


COUNTED = {"inputTokens": 20, "outputTokens": 1, "totalTokens": 21}


def ending(usage: dict[str, Any], t: float = 0.0) -> Recording:
    recording = Recording({})
    for event in (MessageStart("assistant"), MessageStop("end_turn"), Metadata(usage, 1)):
        recording.append(event, t)
    return recording


@pytest.mark.parametrize(
    "answer",
    [
        ending(COUNTED, t=0.5),
        ending({**COUNTED, "cacheReadInputTokens": 0}),
        ending({"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}),
        Recording({}),
        iter([MessageStart("assistant")]),
    ],
    ids=["timed", "has caches", "no input", "no metadata", "live"],
)
def test_what_was_counted_elsewhere_is_left_alone(answer):
    """Nothing is changed, and nothing goes into the cache."""
    cache = PromptCache(1)
    assert cached(lambda request: answer, cache)(Request(prompt=[text(TEN), POINT])) is answer
    assert len(cache) == 0


def test_a_request_without_cache_points_gets_the_answer_itself():
    """Nothing is copied."""
    answer = ending(COUNTED)
    assert cached(lambda request: answer, PromptCache(1))(Request(prompt=TEN)) is answer


def test_a_request_that_is_refused_is_not_answered():
    """The model is not asked."""

    def never(request: Request) -> Recording:
        raise AssertionError("the model was asked")

    with pytest.raises(Refusal):
        cached(never, PromptCache(1))(Request(prompt=[text("a"), POINT] * 5))


def test_boto3_reads_the_counts_of_a_real_server():
    """In the metadata of a stream and in a plain answer: written first, then read."""

    def respond(request: Request) -> Recording:
        return recorded(request, "Yes.")

    with BedrockServer(cached(respond, PromptCache(10)), latency=Latency.none()) as server:
        client = server.client(config=Config(retries={"total_max_attempts": 1}))
        asked: Any = {
            "modelId": "m",
            "system": [text(TEN), HOUR],
            "messages": [{"role": "user", "content": [text("one two")]}],
        }
        events = list(client.converse_stream(**asked)["stream"])
        written = next(event["metadata"]["usage"] for event in events if "metadata" in event)
        read = client.converse(**asked)["usage"]
        client.close()
    assert written["cacheDetails"] == [{"ttl": "1h", "inputTokens": 10}]
    assert (written["cacheWriteInputTokens"], read["cacheReadInputTokens"]) == (10, 10)
    assert written["inputTokens"] == read["inputTokens"]
    for usage in (written, read):
        parts = ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "outputTokens")
        assert usage["totalTokens"] == sum(usage[name] for name in parts)
