"""The latency law: which event leaves when."""

from __future__ import annotations

import itertools
import math

import pytest

from bedrock_nb.errors import RequestError
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import INSTANT, Latency, canned
from bedrock_nb.server.latency import METADATA_DELAY, START_LEAD, is_timed
from bedrock_nb.server.tokens import count, tokenize

USAGE = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}


def recording_of(*events) -> Recording:
    recording = Recording({"modelId": "m"}, labels={"run": 1})
    for event in events:
        recording.append(event, 0.0)
    return recording


def test_content_takes_as_long_as_it_has_tokens():
    """The first delta comes at ttft; each later one takes a token time for each token that it carries."""
    timed = Latency(ttft=1.0, per_token=0.5).retime(
        recording_of(
            MessageStart("assistant"),
            ReasoningDelta(0, "so"),
            ReasoningDelta(0, " on and"),
            ReasoningSignature(0, "c2ln"),
            BlockStop(0),
            TextDelta(1, "one two three"),
            BlockStop(1),
            ToolUseStart(2, "a", "clock"),
            ToolInputDelta(2, "{}"),
            BlockStop(2),
            MessageStop("tool_use"),
            Metadata(USAGE),
        )
    )
    assert list(timed.times) == pytest.approx(
        [1.0 - START_LEAD, 1.0, 2.0, 2.0, 2.0, 3.5, 3.5, 4.5, 4.5, 4.5, 4.5, 4.5 + METADATA_DELAY]
    )
    assert timed.metadata == Metadata(USAGE, round((4.5 + METADATA_DELAY) * 1000))
    assert timed.clock == "schedule"
    assert timed.labels == {"run": 1}


def test_the_law_can_be_measured_back():
    """Time from first to last content, over the tokens after the first, is per_token exactly."""
    law = Latency(ttft=0.3, per_token=0.02)
    timed = law.retime(canned(Request(prompt="Tell me about rainbows")))
    content = [t for t, event in zip(timed.times, timed, strict=True) if isinstance(event, TextDelta)]
    assert content[0] == pytest.approx(0.3)
    assert (content[-1] - content[0]) / (timed.usage["outputTokens"] - 1) == pytest.approx(0.02)


@pytest.mark.parametrize(
    "law", [Latency(), Latency(burst=4), Latency(jitter=1.0), Latency(burst=3, jitter=0.5)]
)
def test_times_never_go_back_and_the_events_stay_the_same(law):
    """A law changes times and latencyMs, nothing else."""
    answer = canned(
        Request(prompt="List the planets", extra={"additionalModelRequestFields": {"thinking": {}}})
    )
    timed = law.retime(answer)
    assert list(timed.times) == sorted(timed.times)
    assert [e for e in timed if not isinstance(e, Metadata)] == [
        e for e in answer if not isinstance(e, Metadata)
    ]


def test_a_burst_leaves_together_when_its_last_delta_is_due():
    """With burst=3 deltas come in threes, and the last burst comes when the message ends."""
    deltas = [TextDelta(0, " a") for _ in range(7)]
    times = Latency(ttft=1.0, per_token=0.1, burst=3).retime(recording_of(*deltas, BlockStop(0))).times
    assert list(times) == pytest.approx([1.0, 1.0, 1.0, 1.3, 1.3, 1.3, 1.4, 1.4])


def test_jitter_changes_when_deltas_come_and_not_how_fast_the_model_is():
    """The gaps have the asked spread around the same mean."""
    deltas = [TextDelta(0, " a") for _ in range(20_001)]
    times = list(Latency(ttft=0.0, per_token=0.01, jitter=0.5).retime(recording_of(*deltas)).times)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) / mean
    assert mean == pytest.approx(0.01, rel=0.02)
    assert spread == pytest.approx(0.5, rel=0.1)


def test_jitter_is_seeded():
    """The same seed and the same number of the answer give the same times, others do not."""
    answer = canned(Request(prompt="Tell me about rainbows"))
    law = Latency(jitter=0.3, seed=5)
    assert law.retime(answer, nth=2).times == law.retime(answer, nth=2).times
    assert law.retime(answer, nth=2).times != law.retime(answer, nth=3).times
    assert law.retime(answer).times != Latency(jitter=0.3, seed=6).retime(answer).times


def test_no_law_at_all():
    """Without pace everything is at 0, and the recording counts as untimed."""
    timed = Latency.none().retime(canned(Request(prompt="hello")))
    assert Latency.none() == INSTANT
    assert set(timed.times) == {0.0}
    assert timed.metadata is not None
    assert timed.metadata.latency_ms == 0
    assert not is_timed(timed)
    assert is_timed(Latency().retime(timed))


def test_a_message_without_content_comes_at_ttft():
    """A model that says nothing still takes its time to say so."""
    events = (MessageStart("assistant"), MessageStop("end_turn"), Metadata(USAGE))
    assert list(Latency(ttft=0.7).retime(recording_of(*events)).times) == pytest.approx(
        [0.7 - START_LEAD, 0.7, 0.705]
    )
    assert len(Latency().retime(recording_of())) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ttft", -0.1),
        ("ttft", math.inf),
        ("ttft", math.nan),
        ("ttft", "0.3"),
        ("ttft", True),
        ("per_token", -1),
        ("per_token", None),
        ("jitter", -0.5),
        ("burst", 0),
        ("burst", 1.5),
        ("seed", 0.5),
    ],
)
def test_a_law_that_cannot_be_is_refused(name, value):
    """The error names the number, what was given and what is wanted."""
    with pytest.raises(RequestError, match=rf"Latency's {name} is .*; a .*number.* is wanted"):
        Latency(**{name: value})


def test_a_law_shows_what_differs_from_the_default():
    """The repr is short and says the two numbers that everybody asks about."""
    assert repr(Latency()) == "Latency(ttft=0.3, per_token=0.02)"
    assert repr(Latency(ttft=1.0, burst=4)) == "Latency(ttft=1.0, per_token=0.02, burst=4)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello, world!",
        "Ein Straßenbahnhaltestellenschild",
        "1234567 89",
        "a\n\n  b\tc_d",
        "日本語 and 🌈",
        "½ ²",
    ],
)
def test_tokens_put_together_are_the_text(text):
    """Cutting into tokens loses nothing, and counting counts them."""
    assert "".join(tokenize(text)) == text
    assert count(text) == len(tokenize(text))


def test_a_text_cut_between_tokens_keeps_its_tokens():
    """So a delta has the same number of tokens alone as in its text."""
    tokens = tokenize("Refraction: the light bends, by 42 degrees or so,\n\nas it enters the drop.")
    for cut in range(len(tokens) + 1):
        assert tokenize("".join(tokens[:cut])) + tokenize("".join(tokens[cut:])) == tokens
