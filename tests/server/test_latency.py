"""The latency law: which event leaves when."""

from __future__ import annotations

import itertools
import math
from random import Random
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from bedrock_nb.server.latency import DISTRIBUTIONS, METADATA_DELAY, PACE, START_LEAD, is_timed
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
        ("jitter", 10.1),
        ("per_input_token", -1e-9),
        ("per_input_token", "1"),
        ("ttft_jitter", -0.1),
        ("ttft_jitter", 1e200),
        ("ttft_jitter", math.nan),
        ("stall", -1),
        ("stall", math.inf),
        ("stall_chance", 1.01),
        ("stall_chance", -0.01),
        ("stall_chance", True),
        ("slots", 0),
        ("slots", 1.0),
        ("slots", False),
        ("queue", -1),
        ("queue", 2.5),
        ("requests_per_minute", 0),
        ("requests_per_minute", 0.5),
        ("requests_per_minute", math.inf),
        ("tokens_per_minute", -1),
        ("tokens_per_minute", "many"),
    ],
)
def test_a_law_that_cannot_be_is_refused(name, value):
    """The error names the number, what was given and what is wanted."""
    with pytest.raises(RequestError, match=rf"Latency's {name} is .*; a .*number.* is wanted"):
        Latency(**{name: value})


@pytest.mark.parametrize("distribution", ["normal", "", None, 3, "Gamma"])
def test_a_distribution_that_is_none_is_refused(distribution):
    """The error names those that there are."""
    with pytest.raises(RequestError, match=r"distribution is .*; one of lognormal, gamma, uniform is wanted"):
        Latency(distribution=distribution)


@pytest.mark.parametrize(
    ("law", "shown"),
    [
        (Latency(ttft=0.3), ""),
        (Latency(per_input_token=0.001, seed=3), ", seed=3, per_input_token=0.001"),
        (Latency(distribution="gamma", jitter=1), ", jitter=1, distribution='gamma'"),
        (Latency(stall=2.0, stall_chance=0.1), ", stall=2.0, stall_chance=0.1"),
        (Latency(slots=2, queue=0), ", slots=2, queue=0"),
        (
            Latency(requests_per_minute=60, tokens_per_minute=1e5),
            ", requests_per_minute=60, tokens_per_minute=100000.0",
        ),
    ],
)
def test_the_repr_is_a_call_that_makes_the_law(law, shown):
    """What differs from the default is shown as one would write it."""
    assert repr(law) == f"Latency(ttft=0.3, per_token=0.02{shown})"


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


# -- the law under many draws ----------------------------------------------------------------------

DRAWS = 20_000
WIDEST_UNIFORM = 1 / math.sqrt(3)


@pytest.mark.parametrize("spread", [0.05, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_factors_have_mean_one_and_the_asked_spread(name, spread):
    """Every distribution keeps the mean; a uniform one spreads as far as no time is negative."""
    rng = Random(1)
    drawn = [DISTRIBUTIONS[name](rng, spread) for _ in range(DRAWS)]
    wanted = min(spread, WIDEST_UNIFORM) if name == "uniform" else spread
    assert min(drawn) >= 0
    assert fmean(drawn) == pytest.approx(1, abs=6 * wanted / math.sqrt(DRAWS))
    assert pstdev(drawn) == pytest.approx(wanted, rel=0.1)


def test_the_distributions_are_those_that_they_are_called():
    """The share of draws beneath half the mean is what each distribution's own formula says."""
    spread = 1.0
    sigma = math.sqrt(math.log(1 + spread**2))
    beneath = {
        "lognormal": 0.5 * (1 + math.erf((math.log(0.5) + sigma**2 / 2) / (sigma * math.sqrt(2)))),
        "gamma": 1 - math.exp(-0.5),  # at this spread it is the exponential distribution
        "uniform": 0.25,  # from 0 to 2
    }
    for name, draw in DISTRIBUTIONS.items():
        rng = Random(2)
        share = fmean(draw(rng, spread) < 0.5 for _ in range(DRAWS))
        assert share == pytest.approx(beneath[name], abs=0.02), name


@pytest.mark.parametrize("spread", [1e-300, 1e-9, 10.0])
@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_any_spread_that_a_law_takes_can_be_drawn(name, spread):
    """Neither the smallest nor the largest jitter overflows, and a tiny one changes next to nothing."""
    law = Latency(jitter=spread, ttft_jitter=spread, distribution=name)
    drawn = DISTRIBUTIONS[law.distribution](Random(3), law.jitter)
    assert drawn >= 0
    assert spread > 1 or drawn == pytest.approx(1, abs=1e-4)


def words(number: int) -> Recording:
    """An answer of so many deltas of one token each."""
    return recording_of(*[TextDelta(0, " a") for _ in range(number)])


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_gaps_keep_their_mean_under_any_distribution(name):
    """However the gaps spread, the text is as long under way as without jitter."""
    law = Latency(ttft=0.0, per_token=0.01, jitter=0.5, distribution=name)
    gaps = [b - a for a, b in itertools.pairwise(law.retime(words(DRAWS + 1)).times)]
    assert min(gaps) >= 0
    assert fmean(gaps) == pytest.approx(0.01, rel=0.02)
    assert pstdev(gaps) == pytest.approx(0.005, rel=0.1)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_first_token_is_jittered_by_the_law(name):
    """Over many answers the time to the first content has the law's mean and spread."""
    law = Latency(ttft=2.0, per_token=0.0, ttft_jitter=0.4, distribution=name)
    answer = recording_of(MessageStart("assistant"), TextDelta(0, "a"))
    firsts = [law.retime(answer, nth=nth).times[1] for nth in range(4_000)]
    assert fmean(firsts) == pytest.approx(2.0, rel=0.03)
    assert pstdev(firsts) == pytest.approx(0.8, rel=0.1)


def test_jitter_of_the_first_token_leaves_the_gaps_alone():
    """Only the first content moves; the steady pace behind it stays."""
    times = Latency(ttft=1.0, per_token=0.5, ttft_jitter=0.5).retime(words(4)).times
    assert times[0] != 1.0
    assert [b - a for a, b in itertools.pairwise(times)] == pytest.approx([0.5] * 3)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        ({"inputTokens": 500}, 500),
        ({"inputTokens": 100, "cacheWriteInputTokens": 400}, 500),
        ({"inputTokens": 100, "cacheReadInputTokens": 400}, 100),
        ({"inputTokens": 10, "cacheReadInputTokens": 400, "cacheWriteInputTokens": 90}, 100),
        ({"inputTokens": 100, "cacheWriteInputTokens": None}, 100),
        ({}, 0),
    ],
)
def test_the_prompt_takes_time_but_for_what_the_cache_holds(usage, read):
    """Time to the first token is ttft and the time of each token that was read anew."""
    law = Latency(ttft=0.2, per_input_token=0.001, per_token=0.0)
    events = (MessageStart("assistant"), TextDelta(0, "a"), Metadata({"outputTokens": 1, **usage}))
    timed = law.retime(recording_of(*events))
    assert timed.times[1] == pytest.approx(0.2 + 0.001 * read)
    assert law.first_token(read) == pytest.approx(timed.times[1])


def test_an_answer_without_usage_read_nothing():
    """What does not know its tokens comes at ttft."""
    assert list(Latency(ttft=0.2, per_input_token=1.0).retime(words(1)).times) == [0.2]


TIERS = {"serviceTier": "type", "performanceConfig": "latency"}


@pytest.mark.parametrize(
    ("settings", "factor"),
    [
        ({}, 1.0),
        ({"performanceConfig": "standard", "serviceTier": "default"}, 1.0),
        ({"serviceTier": "reserved"}, 1.0),
        ({"performanceConfig": "optimized"}, PACE["optimized"]),
        ({"serviceTier": "priority"}, PACE["priority"]),
        ({"serviceTier": "flex"}, PACE["flex"]),
        ({"performanceConfig": "optimized", "serviceTier": "flex"}, PACE["optimized"] * PACE["flex"]),
    ],
)
def test_settings_of_the_request_change_all_times(settings, factor):
    """An optimized or priority answer is quicker, a flex one slower, from first event to last."""
    request = {name: {TIERS[name]: value} for name, value in settings.items()}
    answer = canned(Request(prompt="Tell me about rainbows", extra=request))
    law = Latency(ttft=0.4, per_token=0.02, jitter=0.3)
    plain = law.retime(canned(Request(prompt="Tell me about rainbows")))
    timed = law.retime(answer)
    assert list(timed.times) == pytest.approx([factor * t for t in plain.times])
    assert timed.metadata.latency_ms == round(timed.times[-1] * 1000)


def test_paces_are_what_their_names_say():
    """Optimized and priority are quicker than the default, flex is slower."""
    assert PACE["optimized"] < PACE["priority"] < 1 < PACE["flex"]


@pytest.mark.parametrize(("chance", "stall"), [(0.1, 2.0), (0.5, 0.5), (1.0, 1.0)])
def test_stalls_come_by_chance_and_last_as_long_as_said(chance, stall):
    """Share and mean length of the long gaps are the law's; lengths spread as an exponential's do."""
    law = Latency(ttft=1.0, per_token=0.0, stall=stall, stall_chance=chance)
    times = law.retime(words(DRAWS + 1)).times
    stalls = [gap for gap in (b - a for a, b in itertools.pairwise(times)) if gap > 0]
    assert times[0] == 1.0
    assert len(stalls) / DRAWS == pytest.approx(chance, rel=0.1)
    assert fmean(stalls) == pytest.approx(stall, rel=0.1)
    assert pstdev(stalls) == pytest.approx(stall, rel=0.15)


@pytest.mark.parametrize("law", [{"stall": 5.0}, {"stall_chance": 1.0}])
def test_half_a_stall_is_none(law):
    """A length without a chance, or a chance without a length, changes no time."""
    answer = canned(Request(prompt="Tell me about rainbows"))
    assert list(Latency(**law).retime(answer).times) == list(Latency().retime(answer).times)


@pytest.mark.parametrize(
    ("law", "paced"),
    [
        ({}, False),
        ({"slots": 1, "queue": 2, "requests_per_minute": 5}, False),
        ({"jitter": 1.0, "stall": 5.0}, False),
        ({"per_input_token": 0.001}, True),
        ({"stall": 0.1, "stall_chance": 0.1}, True),
        ({"ttft": 0.1}, True),
    ],
)
def test_a_law_knows_whether_it_makes_anything_wait(law, paced):
    """Load is no pace, and neither is spread around nothing."""
    assert Latency(**{"ttft": 0.0, "per_token": 0.0, **law}).paced == paced


laws = st.builds(
    Latency,
    ttft=st.floats(0, 5),
    per_token=st.floats(0, 1),
    jitter=st.floats(0, 10),
    burst=st.integers(1, 5),
    seed=st.integers(),
    per_input_token=st.floats(0, 0.1),
    ttft_jitter=st.floats(0, 10),
    distribution=st.sampled_from(sorted(DISTRIBUTIONS)),
    stall=st.floats(0, 3),
    stall_chance=st.floats(0, 1),
)


@given(laws, st.sampled_from(["hello", "List the planets", "Tell me about rainbows"]), st.integers(0, 99))
def test_any_law_gives_times_that_never_decrease(law, prompt, nth):
    """Same law, same answer, same number: same times, in order, from 0 on, up to the latency it tells."""
    answer = canned(Request(prompt=prompt))
    timed = law.retime(answer, nth=nth)
    times = list(timed.times)
    assert times == sorted(times)
    assert times[0] >= 0
    assert all(map(math.isfinite, times))
    assert times == list(law.retime(answer, nth=nth).times)
    assert timed.metadata.latency_ms == round(times[-1] * 1000)
