"""Guardrails: what a list of words keeps from a model, and what it keeps from a client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from botocore.config import Config
from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_nb.assembly import fold
from bedrock_nb.check import check
from bedrock_nb.errors import RequestError, service_fault
from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    Event,
    MessageStart,
    MessageStop,
    Metadata,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.message import ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency, canned, recorded
from bedrock_nb.server.guarding import guarded, settled
from bedrock_nb.server.guardrail import DEFAULT, Guardrail, apply
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.responders import Responder
from bedrock_nb.server.validation import operation
from tests.server.conformance import missing_members, unknown_members

LIST = Guardrail("words1", ["kiwi", "open sesame", "a b c"], version="3", blocked_output="No.")
SORRY = "Sorry, the model cannot answer this question."
USAGE = {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}


def asking(prompt: Any = "hello", *, id: str = "words1", **config: str) -> Request:
    named = {"guardrailIdentifier": id, "guardrailVersion": "DRAFT", **config}
    return Request(prompt=prompt, extra={"guardrailConfig": named})


def saying(content: Any) -> Responder:
    return lambda request: recorded(request, content)


def answered(respond: Responder, request: Request, *guardrails: Guardrail) -> Any:
    return guarded(respond, guardrails or [LIST])(request)


def answer_of(content: Any, guardrail: Guardrail = LIST, **config: str) -> Recording:
    made = guarded(saying(content), [guardrail])(asking(id=guardrail.id, **config))
    assert isinstance(made, Recording)
    assert check(made) == []
    return made


class Live:
    """Events that come one by one, and know whether they were closed."""

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = iter(events)
        self.taken = 0
        self.closed = False

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        event = next(self._events)
        self.taken += 1
        return event

    def close(self) -> None:
        self.closed = True


def deltas(*texts: str, stop: bool = True) -> list[Event]:
    events: list[Event] = [MessageStart("assistant"), *(TextDelta(0, text) for text in texts)]
    return [*events, BlockStop(0), MessageStop("end_turn"), Metadata(USAGE, 7)] if stop else events


def live_answer(events: Iterable[Event], guardrail: Guardrail = LIST, **config: str) -> list[Event]:
    return list(guarded(lambda request: Live(events), [guardrail])(asking(id=guardrail.id, **config)))


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# -- which guardrail -------------------------------------------------------------------------------


def test_a_request_without_a_guardrail_gets_the_models_answer_itself():
    """Nothing is wrapped or copied."""
    answers: list[Recording] = []

    def respond(request: Request) -> Recording:
        answers.append(recorded(request, "swordfish"))
        return answers[-1]

    assert guarded(respond)(Request(prompt="swordfish")) is answers[0]
    assert guarded(respond)(Request(prompt="swordfish", extra={"guardrailConfig": {}})) is answers[1]


@pytest.mark.parametrize("version", ["3", "DRAFT"])
@pytest.mark.parametrize("id", ["words1", "arn:aws:bedrock:us-east-1:123456789012:guardrail/words1"])
def test_a_guardrail_is_named_by_id_or_arn_and_version_or_draft(id, version):
    """All four ways find the same one."""
    request = asking("One kiwi", id=id, guardrailVersion=version)
    assert answered(canned, request, DEFAULT, LIST).text == SORRY


@pytest.mark.parametrize(
    "config",
    [
        {"id": "nosuch"},
        {"guardrailVersion": "4"},
        {"id": ""},
        {"guardrailVersion": ""},
        {"id": "arn:aws:bedrock:us-east-1:123456789012:guardrail/nosuch"},
        {"id": "arn:aws:s3:::guardrail/words1"},
    ],
)
def test_a_guardrail_that_does_not_exist_is_refused(config):
    """In the service's words; a wrong id and a wrong version read the same."""
    with pytest.raises(Refusal) as refused:
        guarded(canned, [LIST])(asking(**config))
    assert (refused.value.status, refused.value.code) == (400, "ValidationException")
    assert "guardrail identifier or version provided in the request does not exist." in str(refused.value)


@pytest.mark.parametrize(
    ("id", "words"), [("my-words", ["a"]), ("", ["a"]), ("w", [""]), ("w", ["  "]), ("w", ["x" * 101])]
)
def test_a_guardrail_that_the_service_would_not_take_cannot_be_made(id, words):
    """The id has the service's pattern, and each word has something in it and is not too long."""
    with pytest.raises(RequestError, match="guardrail"):
        Guardrail(id, words)


def test_the_default_guardrail_has_an_id_that_passes_validation():
    """The service model's own pattern fits it."""
    shape: Any = operation("ApplyGuardrail").input_shape
    assert re.fullmatch(shape.members["guardrailIdentifier"].metadata["pattern"], DEFAULT.id)


# -- what is a word --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("kiwi", "A KiWi!", True),
        ("kiwi", "kiwis", False),
        ("kiwi", "ekiwi", False),
        ("kiwi", "kiwi_", False),
        ("open sesame", "open \n\t sesame", True),
        ("open sesame", "opensesame", False),
        ("open sesame", "open" + " " * 21 + "sesame", False),
        ("c++", "I know C++.", True),
        ("c++", "C++x", False),
        ("straße", "Die STRAßE", True),
        ("ёлка", "ЁЛКА", True),
        ("café", "cafe\u0301", True),
        ("cafe\u0301", "café", True),
        ("cafe", "cafe\u0301", False),
        (".*", "anything", False),
        ("x" * 100, "X" * 100, True),
    ],
)
def test_whole_words_are_found_whatever_their_capitals_and_spaces(word, text, found):
    """Signs in a word are signs, and accents may be written in both ways."""
    body = {"source": "INPUT", "content": [{"text": {"text": text}}]}
    assert (apply("w", "1", body, [Guardrail("w", [word])])["action"] != "NONE") is found


def test_an_empty_list_blocks_nothing():
    """It is a guardrail all the same."""
    assert answer_of("anything", Guardrail("w", [])).text == "anything"


# -- the prompt ------------------------------------------------------------------------------------


def test_a_blocked_prompt_never_reaches_the_model():
    """The answer is the guardrail's, with no tokens used and the stop reason that says who answered."""

    def never(request: Request) -> Recording:
        raise AssertionError("the model was asked")

    answer = answered(never, asking("One kiwi, please"))
    assert (answer.text, answer.stop_reason, answer.status) == (
        SORRY,
        "guardrail_intervened",
        "complete",
    )
    assert answer.usage == {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    assert answer.metadata.trace is None
    assert check(answer) == []


def test_a_limit_of_tokens_does_not_cut_the_guardrails_answer():
    """It is not the model that speaks."""
    request = asking("kiwi").replace(max_tokens=1, stop=["model"])
    assert answered(canned, request).text == SORRY


def guard(text: str, *qualifiers: str) -> dict[str, Any]:
    marks = {"qualifiers": list(qualifiers)} if qualifiers else {}
    return {"guardContent": {"text": {"text": text, **marks}}}


GUARD, CLEAN = guard("a kiwi"), guard("an apple")


@pytest.mark.parametrize(
    ("content", "system", "blocked"),
    [
        ([{"text": "a kiwi"}], None, True),
        ([{"text": "fine"}, {"text": "a kiwi"}], None, True),
        ([{"text": "open"}, {"text": "sesame"}], None, False),
        ([{"text": "fine"}], [{"text": "a kiwi"}], False),
        ([{"text": "fine"}], [GUARD], True),
        ([{"text": "a kiwi"}, CLEAN], None, False),
        ([{"text": "fine"}, GUARD], None, True),
        ([{"text": "a kiwi"}], [CLEAN], True),
        ([guard("kiwi", "query")], None, False),
        ([guard("kiwi", "query", "guard_content")], None, True),
        ([{"text": "kiwi"}, {"guardContent": {"image": {"format": "png", "source": {}}}}], None, False),
    ],
)
def test_what_of_a_request_is_checked(content, system, blocked):
    """All text of the messages, or what is marked in them; of the system prompt only what is marked."""
    request = asking(content).replace(system=system)
    answer = answered(saying("fine"), request)
    assert (answer.stop_reason == "guardrail_intervened") is blocked


def test_a_blocked_word_in_an_earlier_turn_blocks_the_turns_after_it():
    """The service evaluates the whole conversation; tools' results are no part of that."""
    turns = [
        {"role": "user", "content": [{"text": "a kiwi"}]},
        {"role": "assistant", "content": [{"text": SORRY}]},
    ]
    assert answered(canned, asking("hello").replace(messages=turns)).text == SORRY
    result = {"toolResult": {"toolUseId": "t", "content": [{"text": "a kiwi"}]}}
    assert answered(saying("fine"), asking([result])).text == "fine"


# -- the answer, in sync mode ----------------------------------------------------------------------

WORDS = st.sampled_from(["kiwi", "KIWI", "open", "Sesame", "a", "b", "c", "A B C", "kiwis", "sea", "é", "_"])
GAPS = st.sampled_from([" ", "  ", "\n", ", ", "-", "", ". "])
TEXTS = st.lists(st.tuples(WORDS, GAPS), max_size=120).map(lambda pairs: "".join(w + g for w, g in pairs))
FORBIDDEN = re.compile(r"(?i)(?<!\w)(kiwi|open\s+sesame|a\s+b\s+c)(?!\w)")
CLEANED = TEXTS.map(lambda text: re.sub(r"(?i)kiwi\b|sesame|b", "pear", text)).filter(
    lambda text: not FORBIDDEN.search(text)
)


@st.composite
def split(draw: Any, texts: Any) -> list[str]:
    text = draw(texts)
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=30)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(split(TEXTS))
@example(["open", " ", "sesame"])
@example(["x" * 195 + " open", " sesame"])
@example(["x" * 196 + " a", " b", " c"])
@example(["y " * 99 + "a b", " kiwi"])
@example(["x" * 196 + " kiw", "i"])
@example(["x" * 195 + " kiwi", "s"])
@example(["x" * 200, "kiwi"])
def test_no_word_of_the_list_leaves_in_sync_mode(pieces):
    """However the text is cut: a client sees a clean beginning of it, and the guardrail's words."""
    whole = "".join(pieces)
    events = live_answer(deltas(*pieces))
    seen = text_of(events)
    reason = fold_reason(events)
    if FORBIDDEN.search(whole):
        assert reason == "guardrail_intervened"
        assert seen.endswith("No.")
        begun = seen.removesuffix("No.")
        assert whole.startswith(begun)
        assert not FORBIDDEN.search(begun)
    else:
        assert (seen, reason) == (whole, "end_turn")


def fold_reason(events: list[Event]) -> str | None:
    return next((event.reason for event in events if isinstance(event, MessageStop)), None)


@given(split(CLEANED), st.sampled_from(["sync", "async"]))
@example(["x" * 190 + " open", " se", "same" + "s"], "sync")
@example(["", ""], "sync")
def test_clean_text_passes_to_the_byte(pieces, mode):
    """In both modes, with all that stands around it, and the trace says that there was nothing."""
    events = live_answer(deltas(*pieces), streamProcessingMode=mode, trace="enabled")
    assert text_of(events) == "".join(pieces)
    assert [event for event in events if not isinstance(event, TextDelta | Metadata)] == [
        event for event in deltas() if not isinstance(event, Metadata)
    ]
    closing = events[-1]
    assert isinstance(closing, Metadata)
    assert closing.usage == USAGE
    assert closing.trace is not None
    assert closing.trace["guardrail"]["actionReason"] == "No action."


def test_text_leaves_in_larger_pieces():
    """About 200 characters at a time, so that a client can see that a check stands in between."""
    plain = recorded(asking(), "word " * 400)
    held = answer_of("word " * 400)
    sizes = [len(event.text) for event in held if isinstance(event, TextDelta)]
    assert held.text == plain.text
    assert all(200 <= size < 240 for size in sizes[:-1])
    assert len(plain) > 3 * len(held)


def test_a_word_late_in_an_answer_leaves_its_beginning_to_be_seen():
    """What was checked and sent is sent; the guardrail's words take the place of the rest."""
    text = "pear " * 100 + "kiwi " + "pear " * 100
    answer = answer_of(text)
    begun = answer.text.removesuffix("No.")
    assert 200 <= len(begun) <= 500
    assert text.startswith(begun)
    assert answer.stop_reason == "guardrail_intervened"
    assert answer.usage == recorded(asking(), text).usage


def test_a_plain_call_gets_nothing_but_the_guardrails_words():
    """Converse has sent nothing yet when the word comes; other answers are left as they are."""
    blocked = answer_of("pear " * 100 + "kiwi", trace="enabled")
    plain = settled(blocked, [LIST])
    assert check(plain) == []
    assert (plain.text, plain.stop_reason, plain.metadata) == ("No.", blocked.stop_reason, blocked.metadata)
    clean = answer_of("pear")
    assert settled(clean, [LIST]) is clean
    assert settled(blocked, []) is blocked  # another service did it, in words of its own


def test_a_phrase_over_a_citation_is_a_phrase():
    """Citations keep their place in the text, and do not break a phrase in two."""
    source = CitationDelta(0, {"title": "t"})

    def cited(*around: str) -> list[Event]:
        return [
            MessageStart("assistant"),
            TextDelta(0, around[0]),
            source,
            TextDelta(0, around[1]),
            *deltas()[1:],
        ]

    assert text_of(live_answer(cited("open ", "sesame"))) == "No."
    assert live_answer(cited("open ", "door")) == cited("open ", "door")
    first = [MessageStart("assistant"), source, *deltas("text")[1:]]
    assert live_answer(first) == first
    halves = live_answer(cited("x " * 98 + "op", "en"))
    assert text_of(halves[: halves.index(source)]) == "x " * 98 + "op"
    assert text_of(halves) == "x " * 98 + "open"


def test_tools_and_reasoning_pass_unchecked():
    """A word list applies to text, as on the service."""
    blocks = [
        ReasoningBlock("a kiwi", "sig"),
        TextBlock("fine"),
        ToolUseBlock("t", "kiwi", {"q": "kiwi"}, '{"q": "kiwi"}'),
    ]
    answer = answer_of(blocks)
    assert answer.message.content == recorded(asking(), blocks).message.content
    assert answer.stop_reason == "tool_use"


def test_blocks_that_are_open_when_a_word_comes_are_closed():
    """Also of an answer that writes two blocks at once."""
    events: list[Event] = [
        MessageStart("assistant"),
        ToolUseStart(1, "t", "f"),
        ToolInputDelta(1, "{}"),
        *deltas("kiwi")[1:],
    ]
    got = live_answer(events)
    assert [event.index for event in got if isinstance(event, BlockStop)] == [1, 0]
    assert fold_reason(got) == "guardrail_intervened"


# -- the answer, in async mode ---------------------------------------------------------------------


def test_async_mode_lets_a_word_through_and_stops_three_deltas_later():
    """Text leaves as it comes, and what was seen was seen."""
    pieces = ["One ", "ki", "wi", " is", " a", " fruit", " and", " more"]
    got = live_answer(deltas(*pieces), streamProcessingMode="async")
    assert [event.text for event in got if isinstance(event, TextDelta)] == pieces[:7]
    assert [type(event) for event in got[-3:]] == [BlockStop, MessageStop, Metadata]
    assert fold_reason(got) == "guardrail_intervened"


@pytest.mark.parametrize("pieces", [["a kiwi"], ["kiwi", "."], ["kiwi ", "a"]])
def test_an_answer_that_ends_before_its_check_is_stopped_all_the_same(pieces):
    """All of its text was seen; the stop reason says that it should not have been."""
    got = live_answer(deltas(*pieces), streamProcessingMode="async")
    assert text_of(got) == "".join(pieces)
    assert fold_reason(got) == "guardrail_intervened"


@given(split(TEXTS))
def test_async_mode_passes_a_beginning_of_the_text(pieces):
    """Delta by delta, up to a word if there is one, and not much further."""
    got = live_answer(deltas(*pieces), streamProcessingMode="async")
    texts = [event.text for event in got if isinstance(event, TextDelta)]
    assert texts == pieces[: len(texts)]
    found = FORBIDDEN.search("".join(pieces))
    assert fold_reason(got) == ("guardrail_intervened" if found else "end_turn")
    assert len(texts) == len(pieces) or (found and FORBIDDEN.search("".join(texts)))


# -- both kinds of answer --------------------------------------------------------------------------


def test_a_timed_recording_keeps_its_times():
    """A piece leaves with the delta that fills it, and the end of a blocked answer with the word."""
    timed = Latency(ttft=0.5, per_token=0.1).retime(
        recorded(asking(), "pear " * 100 + "kiwi " + "pear " * 50)
    )
    answer = guarded(lambda request: timed, [LIST])(asking(trace="enabled"))
    assert isinstance(answer, Recording)
    assert set(answer.times) <= set(timed.times)
    assert list(answer.times) == sorted(answer.times)
    assert 0.5 < answer.times[1] < answer.times[-1] < timed.times[-1]
    assert answer.metadata.latency_ms == round(answer.times[-1] * 1000)


def test_a_live_answer_that_is_stopped_closes_the_model_and_estimates_its_usage():
    """Nothing more is taken from it, and the tokens are those of the deltas that came."""
    inner = Live(deltas("pear ", "kiwi ", *["pear " * 20] * 10, *["more "] * 50))
    got = list(guarded(lambda request: inner, [LIST])(asking("one two", trace="enabled")))
    assert inner.closed
    assert inner.taken < 15
    closing = got[-1]
    assert isinstance(closing, Metadata)
    assert closing.usage["inputTokens"] == 2
    assert closing.usage["outputTokens"] > 20
    assert closing.trace is not None
    assert closing.trace["guardrail"]["actionReason"] == "Guardrail blocked."


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_closing_a_guarded_answer_closes_the_model(taken):
    """Also one of which nothing was taken yet."""
    inner = Live(deltas(*["pear " * 50] * 10))
    events: Any = guarded(lambda request: inner, [LIST])(asking())
    for _ in range(taken):
        next(events)
    assert not inner.closed
    events.close()
    assert inner.closed


def test_a_live_answer_is_not_held_longer_than_it_must():
    """After each piece has come, all of it but the beginning of a word is out."""
    inner = Live(deltas("pear " * 50 + "ope", *["."] * 300))
    events: Any = guarded(lambda request: inner, [LIST])(asking())
    assert next(events) == MessageStart("assistant")
    assert next(events) == TextDelta(0, "pear " * 50)
    assert inner.taken == 2


def test_an_answer_that_breaks_off_gives_what_is_clean():
    """A fault follows the text before it; an answer without an end gets none."""
    fault = StreamFault(service_fault("throttlingException", "Slow down."))
    cut = deltas("pear ", stop=False)
    assert live_answer([*cut, fault]) == [*cut, fault]
    assert live_answer(cut) == cut
    assert text_of(live_answer(deltas("a ", "kiwi", stop=False))) == "No."


def test_a_resumed_answer_is_checked_over_its_seam():
    """A phrase may have broken off in the middle; what a restart drops is another text."""
    before, after = deltas("open ", stop=False), deltas("sesame")[1:]
    assert text_of(live_answer([*before, Seam("continue"), *after])) == "No."
    restarted = live_answer([*before, Seam("restart"), *deltas("sesame")])
    assert fold(restarted).text == "sesame"


# -- the trace -------------------------------------------------------------------------------------


def test_the_trace_of_a_blocked_prompt_names_the_word():
    """As it stands in the list, with what was checked and what that would be billed."""
    answer = answered(canned, asking([{"text": "KIWI " * 300}], trace="enabled"))
    said = answer.metadata.trace["guardrail"]
    assert said["actionReason"] == "Guardrail blocked."
    assert "outputAssessments" not in said
    assessed = said["inputAssessment"]["words1"]
    assert assessed["wordPolicy"]["customWords"] == [{"match": "kiwi", "action": "BLOCKED", "detected": True}]
    metrics = assessed["invocationMetrics"]
    assert metrics["guardrailCoverage"]["textCharacters"] == {"guarded": 1500, "total": 1500}
    assert {name for name, units in metrics["usage"].items() if units} == {"wordPolicyUnits"}
    assert metrics["usage"]["wordPolicyUnits"] == 2


def test_the_trace_of_a_blocked_answer_has_what_the_model_said():
    """Beside what was found in it; a full trace lists the other words too."""
    answer: Any = answer_of("A kiwi.", trace="enabled_full")
    said = answer.metadata.trace["guardrail"]
    assert said["modelOutput"] == ["A kiwi."]
    (assessed,) = said["outputAssessments"]["words1"]
    assert [(word["match"], word["detected"]) for word in assessed["wordPolicy"]["customWords"]] == [
        ("kiwi", True),
        ("open sesame", False),
        ("a b c", False),
    ]


@pytest.mark.parametrize("trace", ["enabled", "disabled", "enabled_full"])
@pytest.mark.parametrize(("prompt", "said"), [("kiwi", "pear"), ("pear", "kiwi"), ("pear", "pear")])
def test_the_trace_is_what_the_service_model_knows(prompt, said, trace):
    """No member is unknown and none is missing; without a trace there is none."""
    answer = answered(saying(said), asking(prompt, trace=trace))
    assert check(answer) == []
    given = answer.metadata.trace
    if trace == "disabled":
        assert given is None
    else:
        shape: Any = operation("Converse").output_shape
        shape = shape.members["trace"].members["guardrail"]
        assert unknown_members(shape, given["guardrail"]) == []
        assert missing_members(shape, given["guardrail"]) == []


def test_the_trace_of_the_model_stays():
    """A prompt router's trace stands beside the guardrail's."""
    routed = [*deltas("pear")[:-1], Metadata(USAGE, 1, trace={"promptRouter": {"invokedModelId": "m"}})]
    closing = live_answer(routed, trace="enabled")[-1]
    assert isinstance(closing, Metadata)
    assert closing.trace is not None
    assert closing.trace.keys() == {"promptRouter", "guardrail"}


# -- ApplyGuardrail --------------------------------------------------------------------------------


def checked(*texts: tuple[str, list[str]], images: int = 0, **body: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [
        {"text": {"text": text, **({"qualifiers": marks} if marks else {})}} for text, marks in texts
    ]
    content += [{"image": {"format": "png", "source": {"bytes": b"x"}}}] * images
    response = apply("words1", "3", {"source": "INPUT", "content": content, **body}, [LIST])
    shape: Any = operation("ApplyGuardrail").output_shape
    assert unknown_members(shape, response) == []
    assert missing_members(shape, response) == []
    return response


@pytest.mark.parametrize(("source", "words"), [("INPUT", SORRY), ("OUTPUT", "No.")])
def test_apply_blocks_a_text(source, words):
    """The guardrail's words for that side, the word, what was checked, and all members of the usage."""
    response = checked(("a kiwi", []), ("b", []), source=source)
    assert response["action"] == "GUARDRAIL_INTERVENED"
    assert response["actionReason"] == "Guardrail blocked."
    assert response["outputs"] == [{"text": words}]
    assert response["assessments"][0]["wordPolicy"] == {
        "customWords": [{"match": "kiwi", "action": "BLOCKED", "detected": True}],
        "managedWordLists": [],
    }
    assert response["guardrailCoverage"] == {"textCharacters": {"guarded": 7, "total": 7}}
    shape: Any = operation("ApplyGuardrail").output_shape
    assert response["usage"].keys() == shape.members["usage"].members.keys()


def test_apply_passes_a_clean_text():
    """No action, no output, and nothing of a word; images are counted and not looked at."""
    response = checked(("a pear", []), images=2)
    assert (response["action"], response["outputs"]) == ("NONE", [])
    assert response["assessments"][0].keys() == {"invocationMetrics"}
    assert response["guardrailCoverage"]["images"] == {"guarded": 0, "total": 2}


@pytest.mark.parametrize(("length", "units"), [(0, 0), (1, 1), (1000, 1), (1001, 2), (2500, 3)])
def test_apply_bills_a_unit_for_each_thousand_characters_begun(length, units):
    """Of word policy, the only one there is."""
    assert checked(("x" * length, []))["usage"]["wordPolicyUnits"] == units


def test_apply_shows_in_full_what_was_not_found():
    """Every word of the list, detected or not."""
    words = checked(("kiwi", []), outputScope="FULL")["assessments"][0]["wordPolicy"]["customWords"]
    assert [(word["match"], word["action"], word["detected"]) for word in words] == [
        ("kiwi", "BLOCKED", True),
        ("open sesame", "NONE", False),
        ("a b c", "NONE", False),
    ]


@pytest.mark.parametrize(
    ("texts", "guarded_", "blocked"),
    [
        ([("kiwi", ["grounding_source"]), ("pear", ["query"])], 0, False),
        ([("kiwi", ["query"]), ("pear", [])], 4, False),
        ([("kiwi", []), ("pear!", ["guard_content"])], 5, False),
        ([("kiwi", ["query", "guard_content"]), ("pear!", [])], 4, True),
    ],
)
def test_apply_checks_what_its_qualifiers_say(texts, guarded_, blocked):
    """Only what is to be guarded if anything is; sources and queries are for other policies."""
    response = checked(*texts)
    assert (response["action"] != "NONE") is blocked
    coverage = response["guardrailCoverage"]["textCharacters"]
    assert coverage == {"guarded": guarded_, "total": sum(len(text) for text, _ in texts)}


# -- through a real server -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded_client():
    def respond(request: Request) -> Recording:
        prompt = request.conversation[-1]["content"][0]["text"]
        return recorded(request, "Say swordfish now. " * 20 if prompt == "leak" else "pear " * 100)

    with BedrockServer(guarded(respond), latency=Latency.none()) as server:
        client = server.client(config=Config(retries={"total_max_attempts": 1}))
        yield client
        client.close()


def stream(client: Any, prompt: str, **config: str) -> dict[str, Any]:
    response = client.converse_stream(
        modelId="m",
        messages=[{"role": "user", "content": [{"text": prompt}]}],
        guardrailConfig={"guardrailIdentifier": DEFAULT.id, "guardrailVersion": "1", **config},
    )
    got: dict[str, Any] = {"text": ""}
    for event in response["stream"]:
        for name, payload in event.items():
            got[name] = payload
        got["text"] += event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")
    return got


@pytest.mark.parametrize(
    ("prompt", "mode", "text", "reason"),
    [
        ("Open, sesame", "sync", "pear " * 100, "end_turn"),
        ("Open sesame", "sync", SORRY, "guardrail_intervened"),
        ("Open sesame", "async", SORRY, "guardrail_intervened"),
        ("leak", "sync", SORRY, "guardrail_intervened"),
    ],
)
def test_boto3_streams_through_a_guardrail(guarded_client, prompt, mode, text, reason):
    """The text, the stop reason and the trace come as boto3's users know them."""
    got = stream(guarded_client, prompt, streamProcessingMode=mode, trace="enabled")
    assert (got["text"], got["messageStop"]["stopReason"]) == (text, reason)
    assert DEFAULT.id in got["metadata"]["trace"]["guardrail"]["inputAssessment"]


def test_boto3_sees_the_word_in_async_mode(guarded_client):
    """And no stop reason that could be taken for a good end."""
    got = stream(guarded_client, "leak", streamProcessingMode="async")
    assert got["text"].startswith("Say swordfish now")
    assert len(got["text"]) < 60
    assert got["messageStop"]["stopReason"] == "guardrail_intervened"
    assert "trace" not in got["metadata"]
