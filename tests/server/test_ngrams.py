"""The n-gram model: a true distribution, settings that act on it, and a responder that keeps to a request."""

from __future__ import annotations

import math
import string
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from random import Random

import numpy as np
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import assume, given
from hypothesis import strategies as st

from bedrock_nb.errors import RequestError
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency
from bedrock_nb.server.ngrams import END, Ngram, adjusted, ngram, shipped
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.tokens import count, tokenize

CATS = "The cat sat on the mat. The cat ran.\n\nThe dog sat on the cat."
SEA = [" the", " sea"]
TOOL = {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object", "properties": {}}}}}

contexts = st.lists(st.sampled_from(shipped().vocabulary) | st.text(max_size=8), max_size=4)
texts = st.text(st.sampled_from("aabbc  ..12_\n'é²"), max_size=60) | st.text(max_size=60)
masses = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def distribution(values: list[float]) -> np.ndarray:
    p = np.array(values)
    assume(p.sum() > 0.01)
    return p / p.sum()


def entropy(p: np.ndarray) -> float:
    """In nats."""
    kept = p[p > 0]
    return float(-(kept * np.log(kept)).sum())


def ask(prompt: str = "Tell me about the sea", seed: object = None, **settings) -> Request:
    fields = {} if seed is None else {"additionalModelRequestFields": {"seed": seed}}
    return Request(prompt=prompt, extra=fields, **settings)


def prefilled(begun: str, **settings) -> Request:
    turns = [
        {"role": "user", "content": [{"text": "Go on"}]},
        {"role": "assistant", "content": [{"text": begun}]},
    ]
    return Request(messages=turns, **settings)


# -- the model -------------------------------------------------------------------------------------


@given(context=contexts, order=st.integers(1, 5))
def test_every_context_has_a_distribution(context, order):
    """Whatever came before, known or not: no probability is below 0, and they sum to 1."""
    model = shipped(order)
    p = model.probabilities(context)
    assert p.shape == (len(model.vocabulary),)
    assert (p >= 0).all()
    assert p.sum() == pytest.approx(1, abs=1e-12)


@given(text=texts, order=st.integers(1, 4), context=st.lists(st.text(max_size=3), max_size=3))
def test_any_text_makes_a_distribution(text, order, context):
    """It holds for models of any text, and also after each of their own tokens."""
    assume(text.strip())
    model = Ngram(text, order=order)
    for tokens in (context, *([token] for token in model.vocabulary)):
        p = model.probabilities(tokens)
        assert (p >= 0).all()
        assert p.sum() == pytest.approx(1, abs=1e-12)


def test_the_formula_holds_where_it_can_be_done_by_hand():
    """Witten-Bell: (count + kinds * shorter) / (total + kinds), down to equal chances."""
    model = Ngram("a b a c", order=2)  # tokens: a, b, " a", " c" and the end; five events
    assert model.vocabulary == (END, "a", " b", " a", " c")
    p = dict(zip(model.vocabulary, model.probabilities(), strict=True))
    assert p[" a"] == pytest.approx((1 + 5 * (1 / 5)) / (5 + 5))
    allowed = 1 - p["a"]  # after " b" the tokenizer would see "ba" as one token
    after_b = dict(zip(model.vocabulary, model.probabilities([" b"]), strict=True))
    assert after_b[" a"] == pytest.approx((1 + 1 * p[" a"] / allowed) / (1 + 1))
    assert after_b[" c"] == pytest.approx((0 + 1 * p[" c"] / allowed) / (1 + 1))
    assert after_b["a"] == 0


def test_what_followed_more_often_is_likelier():
    """After "cat", "ran" and "sat" were seen and "mat" was not."""
    model = Ngram(CATS)
    p = dict(zip(model.vocabulary, model.probabilities(["The", " cat"]), strict=True))
    assert p[" sat"] > p[" mat"] > 0
    assert p[" ran"] > p[" mat"]


def test_a_context_that_was_never_seen_leaves_it_to_the_shorter_one():
    """Unknown tokens far back change nothing."""
    model = shipped()
    np.testing.assert_array_equal(model.probabilities(["zebra", " sea"]), model.probabilities([" sea"]))
    np.testing.assert_array_equal(model.probabilities(["zebra"]), model.probabilities([]))


def test_only_the_last_tokens_matter():
    """A model of order 3 looks back over two tokens, and one of order 1 over none but for spelling."""
    model = shipped()
    np.testing.assert_array_equal(model.probabilities([" on", *SEA]), model.probabilities(SEA))
    assert (model.probabilities(SEA) != model.probabilities([" sea"])).any()
    one = shipped(1)
    np.testing.assert_array_equal(one.probabilities([" sea"]), one.probabilities([" man"]))


@given(text=texts, order=st.integers(1, 3), seed=st.integers(0, 99))
def test_what_is_drawn_is_cut_into_the_same_tokens(text, order, seed):
    """Tokens put together and counted again are as many, so counts and limits agree."""
    assume(text.strip())
    model, rng = Ngram(text, order=order), Random(seed)
    drawn: list[str] = []
    while len(drawn) < 20 and (token := model.sample([END, *drawn], rng)) != END:
        drawn.append(token)
    assert tokenize("".join(drawn)) == drawn


def test_perplexity_falls_where_the_model_knows_the_text():
    """Its own text surprises it least, new English more, and the same words in disorder most."""
    model = shipped()
    known = "The lighthouse stands at the end of the island, where the road stops and the rocks begin."
    new = "The old man sat by the sea and waited for the boat."
    mixed = "Boat the for waited and sea the by sat man old the."
    assert 1 < model.perplexity(known) < model.perplexity(new) < model.perplexity(mixed)


def test_perplexity_is_one_over_the_mean_chance():
    """The exponential of the mean of -log P, and unknown tokens are left out."""
    model = Ngram(CATS, order=2)
    tokens = ["The", " dog", " ran", END]
    chances = [
        model.probabilities([before])[model.vocabulary.index(token)]
        for before, token in pairwise([END, *tokens])
    ]
    assert model.perplexity("The dog ran") == pytest.approx(math.prod(chances) ** (-1 / 4))
    assert model.perplexity("zebra") == pytest.approx(1 / model.probabilities(["zebra"])[0])


def test_the_shipped_model_is_made_once():
    """Everybody in a process shares it, also those who ask at the same time."""
    with ThreadPoolExecutor(8) as pool:
        models = list(pool.map(lambda _: shipped(4), range(16)))
    assert len({id(model) for model in models}) == 1


def test_numpy_is_not_loaded_before_it_is_needed():
    """A server that never asks the model does not pay for it."""
    code = "import sys; from bedrock_nb.server.ngrams import ngram; ngram(); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("text", ["", " \n\n \n"])
def test_a_text_without_words_is_refused(text):
    """There is nothing to learn from, and nothing to be perplexed at."""
    with pytest.raises(RequestError, match="empty"):
        ngram(text)
    with pytest.raises(RequestError, match="empty"):
        shipped().perplexity(text)


@pytest.mark.parametrize("order", [0, 7, 2.5, True, "3"])
def test_an_order_out_of_range_is_refused_at_once(order):
    """And not at the first request."""
    with pytest.raises(RequestError, match="from 1 to 6"):
        ngram(order=order)


# -- sampling --------------------------------------------------------------------------------------


@given(
    values=masses,
    temperature=st.just(0) | st.floats(1e-320, 5),
    top_p=st.floats(0, 1),
    top_k=st.none() | st.integers(1, 40),
)
def test_what_is_left_is_a_distribution_too(values, temperature, top_p, top_k):
    """For any settings: sums to 1, at most top_k tokens, none that was impossible, the likeliest always."""
    p = distribution(values)
    before = p.copy()
    q = adjusted(p, temperature, top_p, top_k)
    assert q.sum() == pytest.approx(1, abs=1e-9)
    assert (q >= 0).all()
    assert not q[p == 0].any()
    assert q[p.argmax()] == q.max() > 0
    assert np.count_nonzero(q) <= (top_k or len(p))
    np.testing.assert_array_equal(p, before)


@given(values=masses)
def test_greedy_settings_agree(values):
    """Temperature 0, a tiny top_p and top_k=1 each leave the likeliest token, the first of equals."""
    p = distribution(values)
    expected = np.zeros_like(p)
    expected[p.argmax()] = 1
    for settings in ({"temperature": 0}, {"top_p": 0}, {"top_p": 1e-9}, {"top_k": 1}):
        np.testing.assert_array_equal(adjusted(p, **settings), expected)


def test_temperature_raises_to_a_power():
    """At 0.5 probabilities are squared, and made to sum to 1."""
    np.testing.assert_allclose(adjusted(np.array([0.6, 0.3, 0.1]), 0.5), np.array([36, 9, 1]) / 46)


@pytest.mark.parametrize("context", [[], SEA, ["."], [END], [" the"]])
def test_entropy_grows_with_temperature(context):
    """The hotter, the less certain: of the very distribution that is drawn from."""
    p = shipped().probabilities(context)
    spread = [entropy(adjusted(p, temperature)) for temperature in (0, 0.2, 0.5, 0.8, 1, 1.5, 3)]
    assert spread[0] == 0
    assert all(cold < hot for cold, hot in pairwise(spread))
    assert spread[4] == pytest.approx(entropy(p))


@given(values=masses, top_p=st.floats(0.01, 0.99))
def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass(values, top_p):
    """All that stays reaches top_p, and without its least likely token it does not."""
    p = distribution(values)
    kept = np.sort(p[adjusted(p, top_p=top_p) > 0])
    assert kept.sum() >= top_p - 1e-9
    assert kept[1:].sum() < top_p + 1e-9


def test_settings_act_in_their_order():
    """top_p counts the mass of what temperature and top_k have left."""
    p = np.array([0.4, 0.3, 0.2, 0.1])
    np.testing.assert_allclose(adjusted(p, top_p=0.55, top_k=2), [1, 0, 0, 0])  # 0.4 of 0.7 is enough
    np.testing.assert_allclose(adjusted(p, top_p=0.55), [4 / 7, 3 / 7, 0, 0])
    np.testing.assert_allclose(adjusted(p, 0.1, top_p=0.9), [1, 0, 0, 0])


def test_equals_are_ranked_by_the_vocabulary():
    """Nothing about ties depends on chance."""
    p = np.full(4, 0.25)
    np.testing.assert_array_equal(adjusted(p, top_k=2), [0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(adjusted(p, 0), [1, 0, 0, 0])


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -0.1}, {"temperature": math.nan}, {"top_p": 1.1}, {"top_p": -1}, {"top_k": 0}],
)
def test_settings_out_of_range_are_refused(settings):
    """With the range that they should be in."""
    with pytest.raises(RequestError, match="from 0"):
        adjusted(np.array([1.0]), **settings)


@pytest.mark.parametrize(
    "settings", [{}, {"temperature": 0.5}, {"top_k": 5}, {"top_p": 0.6}], ids=["plain", "cool", "k", "p"]
)
def test_what_is_drawn_agrees_with_the_distribution(settings):
    """Chi-square over 20,000 draws: within four standard deviations of its mean, with seed 1."""
    model, rng, draws = shipped(), Random(1), 20_000
    expected = adjusted(model.probabilities(SEA), **settings) * draws
    drawn = Counter(model.sample(SEA, rng, **settings) for _ in range(draws))
    seen = np.array([drawn[token] for token in model.vocabulary])
    assert not seen[expected == 0].any()
    often = expected >= 5  # the rest is pooled, as the test demands
    cells = [*zip(seen[often], expected[often], strict=True), (seen[~often].sum(), expected[~often].sum())]
    chi_square = sum((o - e) ** 2 / e for o, e in cells if e > 0)
    freedom = sum(e > 0 for _, e in cells) - 1
    assert freedom >= 1
    assert chi_square < freedom + 4 * math.sqrt(2 * freedom)


# -- the responder ---------------------------------------------------------------------------------


def test_it_has_a_readable_name():
    """Whoever lists responders sees what it is."""
    assert ngram().__name__ == "ngram"


def test_an_answer_ends_by_itself():
    """Of forty answers most end before the limit, none is empty, and none has the end in it."""
    respond = ngram()
    answers = [respond(ask()) for _ in range(40)]
    assert all(answer.status == "complete" for answer in answers)
    assert all(12 <= count(answer.text) <= 400 for answer in answers)
    assert min(count(answer.text) for answer in answers) < 20
    assert not any("\n" in answer.text for answer in answers)
    assert sum(answer.stop_reason == "end_turn" for answer in answers) > 30


def test_usage_counts_what_was_drawn():
    """Output tokens are the tokens of the text, input tokens those of the request."""
    answer = ngram()(ask("Tell me about the sea", seed=3))
    assert answer.usage["outputTokens"] == count(answer.text)
    assert answer.usage["inputTokens"] == count("Tell me about the sea")


def test_without_a_seed_each_call_draws_anew():
    """Answers differ, and a responder made the same way gives the same row of them."""
    one, same, other = ngram(seed=5), ngram(seed=5), ngram(seed=6)
    row = [one(ask()).text for _ in range(5)]
    assert len(set(row)) == 5
    assert [same(ask()).text for _ in range(5)] == row
    assert [other(ask()).text for _ in range(5)] != row


@pytest.mark.parametrize("seed", [0, 42, -42, 2**70, "name"])
def test_a_seed_gives_the_same_answer_to_the_byte(seed):
    """Events and all, from any responder, whatever was asked before."""
    first = ngram(seed=1)
    first(ask())
    assert list(first(ask(seed=seed))) == list(ngram(seed=2)(ask(seed=seed)))


def test_seeds_differ():
    """Each has its own answer."""
    respond = ngram()
    assert len({respond(ask(seed=seed)).text for seed in (0, 1, -1, 2, 3)}) == 5


def test_seeded_requests_do_not_disturb_the_others():
    """The responder's own sequence goes on as if they had not been."""
    plain, mixed = ngram(), ngram()
    row = [plain(ask()).text for _ in range(3)]
    drawn = []
    for _ in range(3):
        mixed(ask(seed=9))
        drawn.append(mixed(ask()).text)
    assert drawn == row


def test_threads_share_one_sequence():
    """Called at the same time, it gives the answers that it gives one after another."""
    one, other = ngram(), ngram()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: one(ask()).text, range(24)))
    assert sorted(together) == sorted(other(ask()).text for _ in range(24))


def test_temperature_zero_is_greedy():
    """Every token is the likeliest after those before it, and no seed changes that."""
    respond, model = ngram(), shipped()
    answer = respond(ask("Where is the sea", temperature=0, max_tokens=40))
    assert answer.text == respond(ask("Where is the sea", seed=1, temperature=0, max_tokens=40)).text
    said = [" the", " sea"]
    for i, token in enumerate(tokenize(answer.text)):
        p = model.probabilities(said[-2:])
        if i < 12:
            p[0] = 0  # no end before the twelfth token
        assert token == model.vocabulary[p.argmax()]
        said.append(token)


@pytest.mark.parametrize(
    "fields",
    [{"top_k": 1}, {"topK": 1}, {"inferenceConfig": {"topK": 1}}],
    ids=["top_k", "topK", "inferenceConfig"],
)
def test_top_k_is_heard_under_every_name(fields):
    """One token to choose from is greedy."""
    respond = ngram()
    greedy = respond(ask(temperature=0, max_tokens=60)).text
    request = Request(
        prompt="Tell me about the sea", max_tokens=60, extra={"additionalModelRequestFields": fields}
    )
    assert respond(request).text == greedy


def test_a_tiny_top_p_is_greedy():
    """A nucleus of one token leaves no choice."""
    respond = ngram()
    assert respond(ask(top_p=0, max_tokens=60)).text == respond(ask(temperature=0, max_tokens=60)).text


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": True},
        {"topK": "1"},
        {"inferenceConfig": "x"},
        {"inferenceConfig": {"bogus": 3}},
        {"thinking": {"type": "enabled"}},
    ],
)
def test_fields_that_it_cannot_keep_are_refused(fields):
    """A value of the wrong type, a field that nobody knows, a demand for reasoning: 400, by name."""
    request = ask(seed=4).replace(extra={"additionalModelRequestFields": {"seed": 4, **fields}})
    with pytest.raises(Refusal, match=next(iter(fields))) as caught:
        ngram()(request)
    assert (caught.value.status, caught.value.code) == (400, "ValidationException")


def test_no_least_number_of_tokens_is_no_limit():
    """top_k of 0 changes nothing: the answer is that of a request without it."""
    request = ask(seed=4).replace(extra={"additionalModelRequestFields": {"seed": 4, "top_k": 0}})
    assert ngram()(request).text == ngram()(ask(seed=4)).text


@pytest.mark.parametrize("limit", [1, 5, 11, 12, 50])
def test_max_tokens_cuts_and_says_so(limit):
    """The text is the beginning of the longer answer with the same seed."""
    respond = ngram()
    request = ask(seed=0)
    assert count(respond(request).text) > 50
    cut = respond(request.replace(max_tokens=limit))
    assert cut.stop_reason == "max_tokens"
    assert count(cut.text) == cut.usage["outputTokens"] == limit
    assert respond(request).text.startswith(cut.text)


def test_a_limit_of_just_enough_does_not_cut():
    """The end of the turn is seen behind the last token."""
    respond = ngram()
    whole = respond(ask(seed=0))
    exact = respond(ask(seed=0, max_tokens=whole.usage["outputTokens"]))
    assert (exact.text, exact.stop_reason) == (whole.text, "end_turn")


@pytest.mark.parametrize(("asked", "written"), [(None, 400), (1000, 1000), (2**31 - 1, 4096)])
def test_an_answer_that_goes_round_in_a_circle_ends_at_a_limit(asked, written):
    """At temperature 0 the model may never come to an end; the request is recorded as it was asked."""
    request = ask(temperature=0, max_tokens=asked)
    answer = ngram()(request)
    assert (count(answer.text), answer.stop_reason) == (written, "max_tokens")
    assert answer.request == request.to_kwargs()


def test_a_stop_sequence_ends_the_answer_before_itself():
    """Also one that goes over several tokens; what was drawn before is the same."""
    respond = ngram()
    whole = respond(ask(seed=0)).text
    stop = "".join(tokenize(whole)[20:23])[1:]
    answer = respond(ask(seed=0, stop=["zebra", stop]))
    assert answer.stop_reason == "stop_sequence"
    assert answer.text == whole[: whole.index(stop)]


def test_the_end_of_the_prompt_is_where_the_answer_goes_on():
    """With the same seed, other last words give another answer; words before them do not matter."""
    respond = ngram()
    sea = respond(ask("Tell me about the sea", seed=1)).text
    assert sea != respond(ask("Tell me about the lighthouse", seed=1)).text
    assert sea == respond(ask("Yesterday I saw the sea.\n", seed=1)).text


@pytest.mark.parametrize(
    "prompt", ["the sea?!", "the sea zqx xqz", "  the sea  ", "the sea\n\n...", "the sea zqx?"]
)
def test_what_the_model_does_not_know_is_passed_over(prompt):
    """Signs, white space and unknown words at the end leave the last words it knows."""
    respond = ngram()
    assert respond(ask(prompt, seed=1)).text == respond(ask("the sea", seed=1)).text


@pytest.mark.parametrize(
    "content", [[{"text": "zqx xqz!"}], [{"image": {"format": "png", "source": {"bytes": b""}}}]]
)
def test_with_nothing_to_go_on_from_it_begins_a_paragraph(content):
    """A capital or a quotation mark stands at the beginning."""
    respond = ngram()
    begun = [respond(Request(prompt=content, temperature=0.3)).text[0] for _ in range(20)]
    assert set(begun) <= set(string.ascii_uppercase + '"')


def test_a_prefill_is_gone_on_with():
    """What comes next is what the model expects after exactly these words, sign and all."""
    text = ngram()(prefilled("The lighthouse stands at the end of the", temperature=0, max_tokens=1)).text
    model = shipped()
    assert text == model.vocabulary[model.probabilities([" of", " the"])[1:].argmax() + 1]
    after = ngram()(prefilled("This was the sea.", temperature=0, max_tokens=1)).text
    assert after == model.vocabulary[model.probabilities([" sea", "."])[1:].argmax() + 1]


def test_a_prefill_that_ends_with_a_space_gets_no_second_one():
    """The same words come, and the space is there once."""
    respond = ngram()
    plain = respond(prefilled("It stands at the end of the", temperature=0, max_tokens=20)).text
    spaced = respond(prefilled("It stands at the end of the ", temperature=0, max_tokens=20)).text
    assert f" {spaced}" == plain
    assert count(spaced) == 20


def test_another_text_makes_another_model():
    """All that it says is from the text that it was given."""
    answer = ngram(CATS, order=2)(ask(seed=1))
    assert set(tokenize(answer.text)) <= set(Ngram(CATS).vocabulary)


def test_a_model_with_nothing_more_to_say_ends_at_once():
    """After the only word of its text comes nothing, so the answer has no content."""
    answer = ngram("Hello")(prefilled("Hello"))
    assert (answer.text, answer.message.content, answer.stop_reason) == ("", (), "end_turn")


@pytest.mark.parametrize(("choice", "name"), [({"any": {}}, "any"), ({"tool": {"name": "clock"}}, "tool")])
def test_a_demand_for_a_tool_is_refused(choice, name):
    """With the field that has to go."""
    with pytest.raises(Refusal, match=rf"toolChoice\.{name} field") as caught:
        ngram()(ask().replace(tools={"tools": [TOOL], "toolChoice": choice}))
    assert (caught.value.status, caught.value.code) == (400, "ValidationException")


@pytest.mark.parametrize("config", [{"tools": [TOOL]}, {"tools": [TOOL], "toolChoice": {"auto": {}}}])
def test_a_tool_that_is_only_offered_is_not_used(config):
    """It answers in words, the same as without."""
    answer = ngram()(ask(seed=1).replace(tools=config))
    assert (answer.text, answer.stop_reason) == (ngram()(ask(seed=1)).text, ngram()(ask(seed=1)).stop_reason)


# -- over the wire ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def writer():
    """A boto3 client of a server that writes with the model."""
    with BedrockServer(ngram(), latency=Latency.none()) as server:
        client = server.client(config=Config(retries={"total_max_attempts": 1}))
        yield client
        client.close()


def test_boto3_streams_what_the_model_says(writer):
    """The streamed text is that of the plain call, and of the responder asked directly."""
    call = {
        "modelId": "any",
        "messages": [{"role": "user", "content": [{"text": "Tell me about the sea"}]}],
        "inferenceConfig": {"temperature": 0.7, "topP": 0.9, "maxTokens": 30},
        "additionalModelRequestFields": {"seed": 7, "top_k": 50},
    }
    events = list(writer.converse_stream(**call)["stream"])
    deltas = [event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event]
    plain = writer.converse(**call)
    direct = ngram()(Request.from_kwargs(call))
    assert "".join(deltas) == plain["output"]["message"]["content"][0]["text"] == direct.text
    assert len(deltas) > 5
    assert events[-1]["metadata"]["usage"] == plain["usage"]
    assert plain["usage"]["outputTokens"] == 30
    assert plain["stopReason"] == "max_tokens"


def test_boto3_is_told_that_there_are_no_tools(writer):
    """A demand for one comes back as a ValidationException."""
    with pytest.raises(ClientError, match="toolChoice") as caught:
        writer.converse_stream(
            modelId="any",
            messages=[{"role": "user", "content": [{"text": "What time is it?"}]}],
            toolConfig={"tools": [TOOL], "toolChoice": {"any": {}}},
        )
    assert caught.value.response["Error"]["Code"] == "ValidationException"
