"""check.py: sound replies have no problems, and each rule finds what breaks it and nothing else."""

from __future__ import annotations

import zlib
from base64 import b64decode
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.check import RULES, Problem, check
from bedrock_nb.errors import RequestError, StreamError
from bedrock_nb.events import (
    STOP_REASONS,
    BlockStop,
    CitationDelta,
    Event,
    ImageDelta,
    ImageStart,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.intake import Intake, wire_arrivals
from bedrock_nb.recording import Recording, Unrecorded
from bedrock_nb.server import BedrockServer, Latency, canned
from bedrock_nb.shapes import SHAPES
from tests.converse_model import STREAM
from tests.messages import BROKEN_INPUTS
from tests.recordings import EVENTS, any_recording, recorded, reply
from tests.wire_server import CASES as VECTORS
from tests.wire_server import GOOD

USAGE = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}
SHIPPED = sorted((Path(__file__).parent.parent / "notebooks" / "recordings").glob("*.jsonl"))
WEATHER = {
    "toolSpec": {
        "name": "get_weather",
        "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
}
THINKING = {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}


class Whole:
    """A body that comes in one read."""

    t, number, late, waited, doubt, tls = 0.0, 1, 0.0, 0.0, 0.0, False
    away: float | None = None

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self) -> bytes:
        data, self._data = self._data, b""
        return data


def taken_in(data: bytes) -> Recording:
    """The recording that these bytes of a wire give."""
    recording = Recording()
    intake = Intake(recording, wire_arrivals(Whole(data), recording), lambda: None, lambda: 1.0)
    while not intake.done:
        intake.advance()
    return recording


def of(*events: Event, status: Any = "complete") -> Recording:
    """A recording of these events, an eighth of a second apart."""
    recording = recorded(*((event, i / 8) for i, event in enumerate(events)))
    recording.status = status
    return recording


def within(*events: Event, reason: str = "end_turn") -> Recording:
    """A complete reply that is sound but for what these events do in it."""
    return of(MessageStart("assistant"), *events, MessageStop(reason), Metadata(USAGE, 5))


def broken(recording: Recording) -> list[tuple[str, int | None]]:
    """What `check` finds: rules and events."""
    return [(problem.rule, problem.seq) for problem in check(recording)]


# -- sound replies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_shipped_recordings_are_sound(path):
    """The recordings beside the lessons have no problem."""
    assert check(Recording.load(path)) == []


def test_a_sound_reply_has_no_problems():
    """Reasoning, text, a tool call and metadata in good order; also one made by hand."""
    assert check(taken_in(b"".join(GOOD))) == []
    assert check(reply()) == []


@pytest.mark.parametrize("length", range(len(GOOD)))
@pytest.mark.parametrize("cut", [0, 7], ids=["between events", "in an event"])
def test_a_reply_that_was_cut_has_no_problem_of_order(length, cut):
    """Its end is missing, and its status says so; what came is in order. Without metadata it is whole."""
    recording = taken_in(b"".join(GOOD[:length]) + GOOD[length][:cut])
    whole = recording.status == "complete"
    assert whole == (length == len(GOOD) - 1 and not cut)
    assert broken(recording) == ([("metadata-missing", None)] if whole else [])


@pytest.fixture(scope="module")
def client():
    """A client of an embedded server without delays."""
    with BedrockServer(latency=Latency.none()) as server:
        made = server.client()
        yield made
        made.close()


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"tools": [WEATHER]},
        {"extra": THINKING},
        {"tools": [WEATHER], "extra": THINKING},
        {"tools": [WEATHER], "max_tokens": 12},
        {"max_tokens": 3},
        {"stop": ["the"]},
    ],
    ids=lambda asked: " ".join(asked) or "text",
)
def test_what_the_embedded_server_says_is_sound(client, asked):
    """Text, tools, reasoning and cut answers, over HTTP and straight from the responder."""
    request = nb.Request(prompt="What is the weather in Paris?", model="m", **asked)
    heard, told = nb.stream(client, request).drain().recording, canned(request)
    cut_in_a_tool = "tools" in asked and "max_tokens" in asked
    for recording in (heard, told):
        assert [rule for rule, _ in broken(recording) if not (cut_in_a_tool and rule == "tool-input")] == []


SOUND = {
    "blocks side by side": [
        TextDelta(0, "a"),
        ReasoningDelta(1, "b"),
        TextDelta(0, "c"),
        BlockStop(1),
        BlockStop(0),
    ],
    "gaps between indices": [TextDelta(0, "a"), BlockStop(0), TextDelta(5, "a"), BlockStop(5)],
    "an empty reply": [],
    "text with sources": [TextDelta(0, "a"), CitationDelta(0, {"title": "t"}), BlockStop(0)],
    "redacted reasoning": [RedactedReasoning(0, b"x"), BlockStop(0)],
    "a signature alone": [ReasoningSignature(0, "s"), BlockStop(0)],
    "an image": [ImageStart(0, "png"), ImageDelta(0, {"bytes": b"x"}), BlockStop(0)],
    "a tool that the service ran": [
        ToolUseStart(0, "i", "nova_grounding", "server_tool_use"),
        ToolInputDelta(0, "{}"),
        BlockStop(0),
        ToolResultStart(1, "i", "success"),
        ToolResultDelta(1, ({"text": "a"}, {"json": {"a": None}})),
        BlockStop(1),
    ],
    "emoji and other scripts": [TextDelta(0, "日本語 \U0001f600"), BlockStop(0)],
}


@pytest.mark.parametrize("events", SOUND.values(), ids=SOUND)
def test_what_is_only_unusual_is_no_problem(events):
    """Everything that the protocol allows is allowed."""
    assert check(within(*events)) == []


@pytest.mark.parametrize("reason", STOP_REASONS)
def test_every_stop_reason_of_the_model_is_known(reason):
    """None is a value that is not listed."""
    assert "value" not in dict(broken(within(reason=reason)))


@pytest.mark.parametrize(
    "usage",
    [
        USAGE,
        {**USAGE, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20},
        {**USAGE, "cacheReadInputTokens": 100, "cacheWriteInputTokens": 20, "totalTokens": 133},
    ],
    ids=["plain", "cached tokens apart", "cached tokens in the total"],
)
def test_token_counts_that_add_up(usage):
    """Cached tokens may be in the total or not: both are seen."""
    assert check(of(MessageStart("assistant"), MessageStop("end_turn"), Metadata(usage, 5))) == []


# -- each rule -------------------------------------------------------------------------------------

START, STOP, END = MessageStart("assistant"), MessageStop("end_turn"), Metadata(USAGE, 5)
TEXT = TextDelta(0, "a")
FAULT = StreamFault(StreamError("It broke."))
TOOL = ToolUseStart(0, "i", "f")

#: Rule -> recordings that break it once, with the event that breaks it.
BREAKS: dict[str, list[tuple[Recording, int | None]]] = {
    "before-start": [(of(TEXT, START, BlockStop(0), STOP, END), 0), (of(STOP, START, END), 0)],
    "start-missing": [
        (of(TEXT, BlockStop(0), STOP, END), 0),
        (of(TEXT, status="incomplete"), 0),
    ],
    "start-twice": [(within(START), 1), (of(START, STOP, END, START), 3)],
    "block-again": [
        (within(TEXT, ToolUseStart(0, "i", "f", "server_tool_use"), BlockStop(0)), 2),
        (within(TEXT, BlockStop(0), ImageStart(0, "png"), BlockStop(0)), 3),
    ],
    "no-block-start": [
        (within(ToolInputDelta(0, "{"), ToolInputDelta(0, "}"), BlockStop(0)), 1),
        (within(ToolInputDelta(7, "{}"), TEXT, BlockStop(0)), 1),
        (within(ToolResultDelta(0, ({"text": "a"},))), 1),
        (within(ImageDelta(0, {"bytes": b"x"})), 1),
    ],
    "delta-after-stop": [
        (within(TEXT, BlockStop(0), TEXT), 3),
        (within(TEXT, BlockStop(0), CitationDelta(0, {})), 3),
    ],
    "stop-of-nothing": [(within(BlockStop(0)), 1), (within(TEXT, BlockStop(0), BlockStop(0)), 3)],
    "block-left-open": [(within(TEXT), 2), (within(ImageStart(3, "png")), 2)],
    "index-order": [(within(TextDelta(1, "a"), BlockStop(1), TEXT, BlockStop(0)), 3)],
    "mixed-block": [
        (within(TEXT, ReasoningDelta(0, "b"), BlockStop(0)), 2),
        (within(ImageStart(0, "png"), TEXT, BlockStop(0)), 2),
        (within(ReasoningDelta(0, "b"), RedactedReasoning(0, b"x"), BlockStop(0)), 2),
    ],
    "stop-missing": [(of(START, TEXT, BlockStop(0)), None)],
    "stop-twice": [(of(START, STOP, STOP, END), 2), (of(START, STOP, END, STOP), 3)],
    "after-stop": [(of(START, STOP, TEXT, END), 2), (of(START, STOP, BlockStop(0), END), 2)],
    "metadata-early": [(of(START, END, STOP), 1), (of(START, END, TEXT, BlockStop(0), STOP), 1)],
    "metadata-missing": [(of(START, STOP), None)],
    "metadata-twice": [(of(START, STOP, END, END), 3)],
    "after-metadata": [(of(START, STOP, END, TEXT), 3), (of(START, STOP, END, ImageStart(0, "gif")), 3)],
    "after-fault": [
        (of(START, FAULT, late, status="error"), 2) for late in (TEXT, BlockStop(0), START, STOP, END, FAULT)
    ],
    "times": [
        (recorded((START, 1.0), (STOP, 0.5), (END, 2.0)), 1),
        (recorded((START, -0.5), (STOP, 0.5), (END, 2.0)), 0),
    ],
    "tool-stop": [
        (within(TEXT, BlockStop(0), reason="tool_use"), 3),
        (within(TOOL, ToolInputDelta(0, "{}"), BlockStop(0)), 4),
    ],
    "tool-input": [
        (within(TOOL, ToolInputDelta(0, raw), BlockStop(0), reason="tool_use"), 3)
        for raw in BROKEN_INPUTS.values()
    ],
    "value": [
        (within(reason="cosmic_ray"), 1),
        (of(MessageStart("robot"), STOP, END), 0),
        (within(ImageStart(0, "bmp"), BlockStop(0)), 1),
        (within(ToolResultStart(0, "i", "maybe"), BlockStop(0)), 1),
        (within(ToolUseStart(0, "i", "f", "later"), BlockStop(0)), 1),
        (of(START, STOP, Metadata(USAGE, 5, service_tier={"type": "golden"})), 2),
    ],
    "schema": [
        (of(START, STOP, Metadata(USAGE)), 2),
        (of(START, STOP, Metadata({"inputTokens": 1, "outputTokens": 1}, 5)), 2),
        (of(START, STOP, Metadata({"inputTokens": -1, "outputTokens": 2, "totalTokens": 1}, 5)), 2),
        (of(START, STOP, Metadata({**USAGE, "outputTokens": "4"}, 5)), 2),
        (of(START, STOP, Metadata({**USAGE, "moonTokens": 4}, 5)), 2),
        (within(ToolUseStart(0, "", "f", "server_tool_use"), BlockStop(0)), 1),
        (within(ToolResultStart(0, "i"), ToolResultDelta(0, ({"text": 5},)), BlockStop(0)), 2),
        (within(TEXT, CitationDelta(0, {"title": 5}), BlockStop(0)), 2),
        (
            within(
                ImageStart(0, "png"),
                ImageDelta(0, {"bytes": b"x", "s3Location": {"uri": "s3://b/k"}}),
                BlockStop(0),
            ),
            2,
        ),
    ],
    "unknown": [
        (within(Unknown("sparkle", {}), TEXT, Unknown("sparkle", 5), BlockStop(0)), 1),
        (of(Unknown("sparkle", {}), START, STOP, END, Unknown("sparkle", {})), 0),
        (within(TEXT, Unknown("contentBlockDelta+", {"contentBlockIndex": 0}), BlockStop(0)), 2),
    ],
    "half-character": [
        (within(event, BlockStop(0)), 1) for event in (TextDelta(0, "\ud83d"), ReasoningDelta(0, "a\ude00"))
    ],
    "tokens": [(of(START, STOP, Metadata({**USAGE, "totalTokens": 99}, 5)), 2)],
}
EACH = [(rule, i) for rule, cases in BREAKS.items() for i in range(len(cases))]


def test_every_rule_is_tried():
    """The table above breaks each rule, and each rule has one sentence that names its source."""
    assert list(BREAKS) == list(RULES)
    assert [rule for rule, said in RULES.items() if not said.endswith(").")] == []


@pytest.mark.parametrize(("rule", "i"), EACH, ids=[f"{rule}-{i}" for rule, i in EACH])
def test_a_broken_rule_is_named_once(rule, i):
    """The rule and the event, and no other problem beside it."""
    recording, seq = BREAKS[rule][i]
    assert broken(recording) == [(rule, seq)]


@pytest.mark.parametrize(
    ("recording", "text"),
    [
        (
            within(TextDelta(2, "a"), BlockStop(2), TextDelta(2, "b")),
            "Event 3: a delta of text for block 2, which had stopped.",
        ),
        (
            within(TOOL, ToolInputDelta(0, "[1]"), BlockStop(0), reason="tool_use"),
            "Event 3: the input of 'f' (block 0) is not one whole JSON object: '[1]'.",
        ),
        (of(START, STOP), "The reply counts as complete, but its metadata never came."),
        (
            within(*[Unknown("sparkle", {})] * 3),
            "3 events of a type that this version does not know: 'sparkle'; they are kept.",
        ),
        (
            within(Unknown("messageStop+", {})),
            "1 event of type messageStop with members that this version does not know; it is kept.",
        ),
        (
            of(START, STOP, Metadata({"inputTokens": 1, "outputTokens": 1}, 5)),
            "Event 2: it does not fit botocore's model: Missing required parameter in metadata.usage:",
        ),
        (
            within(reason="cosmic_ray"),
            "Event 1: messageStop.stopReason is 'cosmic_ray'; botocore's model lists end_turn, tool_use, ",
        ),
        (of(TEXT, START, status="error"), "Event 0: it came before messageStart, which is event 1."),
        (within(TextDelta(0, "\ud83d"), BlockStop(0)), "Event 1: half of a surrogate pair came for block 0."),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_problem_is_a_sentence(recording, text):
    """It names the event and what happened, and is what `str` gives."""
    (problem,) = check(recording)
    assert str(problem).startswith(text)
    assert str(problem) == problem.text


def test_a_problem_is_a_value():
    """Problems compare by what they say and cannot be changed."""
    (problem,) = check(of(START, STOP))
    assert problem == Problem("metadata-missing", None, problem.text)
    with pytest.raises(FrozenInstanceError):
        problem.rule = "x"  # type: ignore[misc]


def test_problems_come_in_the_order_of_events():
    """Those of the whole reply come last."""
    recording = of(TEXT, START, TextDelta(1, "\ud83d"), ReasoningDelta(1, "a"), BlockStop(5), BlockStop(0))
    assert broken(recording) == [
        ("before-start", 0),
        ("half-character", 2),
        ("mixed-block", 3),
        ("stop-of-nothing", 4),
        ("stop-missing", None),
    ]


def test_unknown_types_are_told_apart():
    """One problem for each type, at its first event."""
    recording = within(*[Unknown(name, {}) for name in ("a", "b", "a")])
    assert broken(recording) == [("unknown", 1), ("unknown", 2)]


def test_unknown_blocks_are_blocks_all_the_same():
    """A block of a kind that nobody knows begins, goes on and stops like any other, at any index."""
    index = {"contentBlockIndex": 9}
    recording = within(
        Unknown("contentBlockStart", {**index, "start": {"holo": {}}}),
        Unknown("contentBlockDelta", {**index, "delta": {"holo": {}}}),
        TextDelta(9, "a"),
        BlockStop(9),
        TextDelta(0, "a"),
        BlockStop(0),
        Unknown("contentBlockDelta", {**index, "delta": {"holo": {}}}),
    )
    assert broken(recording) == [("unknown", 1), ("unknown", 2), ("delta-after-stop", 7)]


def test_long_lists_are_cut():
    """Of one rule 20 problems are listed, and the others counted."""
    problems = check(within(*[TextDelta(0, "\ud83d")] * 1_520, BlockStop(0)))
    assert [problem.seq for problem in problems] == [*range(1, 21), None]
    assert str(problems[-1]) == "Not listed: 1,500 more of the rule half-character."


def test_problems_can_be_printed():
    """Whatever the peer put in, a problem is text that any terminal and file takes, and of bounded length."""
    name = "\ud83d\n" * 10_000
    recording = of(
        MessageStart(name),
        ToolUseStart(0, name, name, name),
        ToolInputDelta(0, name),
        BlockStop(0),
        MessageStop(name),
        Metadata({name: name}, 5),
        Unknown(name, {}),
    )
    problems = check(recording)
    assert {"value", "schema", "unknown", "tool-input"} <= {problem.rule for problem in problems}
    for problem in problems:
        problem.text.encode()
        assert len(problem.text) < 600


# -- two calls in one recording --------------------------------------------------------------------

PART = [START, TEXT, TextDelta(0, "b")]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([*PART, Seam("continue"), TextDelta(0, "c"), BlockStop(0), STOP, END], []),
        ([*PART, Seam("restart"), START, TEXT, BlockStop(0), STOP, END], []),
        ([Seam("restart"), START, STOP, END], []),
        ([*PART, Seam("continue"), START, BlockStop(0), STOP, END], [("start-twice", 4)]),
        ([*PART, Seam("restart"), TEXT, BlockStop(0), STOP, END], [("start-missing", 4)]),
        ([TEXT, Seam("restart"), START, STOP, END], [("start-missing", 0)]),
        ([*PART, BlockStop(0), Seam("restart"), START, BlockStop(0), STOP, END], [("stop-of-nothing", 6)]),
        ([*PART, Seam("restart"), START], [("stop-missing", None)]),
    ],
)
def test_a_seam_goes_on_or_begins_anew(events, expected):
    """After ``continue`` the first messageStart is the only one; after ``restart`` nothing before counts."""
    assert broken(of(*events)) == expected


# -- 53 odd replies --------------------------------------------------------------------------------

CASES = {case["name"]: case for case in VECTORS["cases"]}
#: What is found in a case; nothing in the others: sound, or what came of them before an error is sound.
FOUND = {
    "unknown_event": "unknown",
    "unknown_delta_member": "unknown",
    "unknown_block_start": "unknown",
    "unknown_message_type": "unknown",
    "extra_field": "unknown",
    "unknown_stop_reason": "value",
    "lone_surrogate": "half-character",
    "dup_message_start": "start-twice",
    "delta_unopened_tool": "no-block-start",
    "delta_after_stop": "delta-after-stop",
    "missing_text_stop": "block-left-open",
    "missing_tool_stop": "block-left-open",
    "missing_message_start": "start-missing",
    "event_after_metadata": "after-metadata",
    "metadata_before_stop": "metadata-early",
    "two_metadata": "metadata-twice",
    "tool_truncated": "tool-input",
    "tool_malformed": "tool-input",
    "tool_array": "tool-input",
    "tool_number": "tool-input",
    "tool_dup_keys": "tool-input",
    "tool_nan": "tool-input",
    "tool_trailing": "tool-input",
    "tool_deep": "tool-input",
    "max_tokens_in_tool": "tool-input",
}


@pytest.mark.parametrize("name", CASES)
def test_odd_replies(name):
    """One thing is wrong or unusual in each of them, and it is the one thing that is found."""
    body = CASES[name]["body"]
    data = zlib.decompress(b64decode(body["zb64"])) if "zb64" in body else b64decode(body["b64"])
    assert [rule for rule, _ in broken(taken_in(data))] == ([FOUND[name]] if name in FOUND else [])


def test_the_table_of_odd_replies_is_of_replies():
    """No case is named that is not there."""
    assert set(FOUND) <= set(CASES)
    assert len(CASES) == 53


# -- anything at all -------------------------------------------------------------------------------


@settings(max_examples=60)
@given(any_recording())
def test_any_recording_can_be_checked(recording):
    """Nothing raises, and every problem is of a rule and of an event that is there."""
    for problem in check(recording):
        assert problem.rule in RULES
        assert problem.seq is None or 0 <= problem.seq < len(recording)


def _near(event: Event, index: int) -> Event:
    """The event for another block, if it is one of a block."""
    return replace(event, index=index) if hasattr(event, "index") else event  # type: ignore[call-arg]


CLOSE = st.lists(st.builds(_near, EVENTS, st.integers(0, 2)), max_size=30)


@settings(max_examples=200)
@given(CLOSE, st.sampled_from(["complete", "incomplete", "error", "streaming"]))
def test_any_order_can_be_checked(events, status):
    """Blocks that begin, stop and come back in any order raise nothing, and checking changes nothing."""
    recording = of(*events, status=status)
    problems = check(recording)
    assert check(recording) == problems
    assert list(recording) == events


@given(CLOSE, st.data())
def test_the_beginning_of_a_reply_has_the_problems_of_the_beginning(events, data):
    """What is wrong with an event is known when it comes, but for what depends on its reply's end."""
    at_the_end = {"start-missing", "before-start", "unknown"}
    length = data.draw(st.integers(0, len(events)))
    part = broken(of(*events[:length], status="streaming"))
    whole = broken(of(*events, status="streaming"))
    # No seq: so many of one rule that the rest was only counted.
    assert [(rule, seq) for rule, seq in part if rule not in at_the_end and seq is not None] == [
        (rule, seq) for rule, seq in whole if rule not in at_the_end and seq is not None and seq < length
    ]


DEEP: Any = {}
for _ in range(5_000):
    DEEP = {"a": DEEP}


@pytest.mark.parametrize(
    "event",
    [
        MessageStart(None),
        MessageStart(DEEP),
        ToolUseStart([], "i", "f"),
        ToolUseStart("0", None, 5),
        ToolUseStart(0, "i", DEEP),
        ToolResultDelta(0, 5),
        ToolResultDelta(0, (5, None, {"json": DEEP})),
        ImageDelta(0, 5, 5),
        ImageDelta(0, {"bytes": "text"}),
        CitationDelta(None, None),
        CitationDelta(0, {5: 5}),  # type: ignore[dict-item]
        MessageStop([], DEEP),
        Metadata(None),
        Metadata(DEEP, "soon"),
        Metadata({"totalTokens": None, 5: 5}, 5),  # type: ignore[dict-item]
        Unknown(5, None),
        Unknown(DEEP, None),
        Unknown([], DEEP),
        Unknown("contentBlockDelta", {"contentBlockIndex": []}),
        Unknown("contentBlockStart", {"contentBlockIndex": -1}),
        Seam(5),
        StreamFault(None),
    ],
    ids=lambda event: type(event).__name__,
)
def test_what_was_put_in_by_hand_is_a_problem_and_no_error(event):
    """Values of wrong types and without a bottom raise nothing."""
    check(of(event, event, status="error"))
    found = {rule for rule, _ in broken(of(START, event, status="error"))}
    assert found or isinstance(event, Seam | StreamFault)


@pytest.mark.parametrize("given", [None, "text", [], reply], ids=repr)
def test_only_recordings_can_be_checked(given):
    """Anything else is refused, with the way to a recording."""
    with pytest.raises(RequestError, match=r"is no Recording\. A Reply has one in \.recording"):
        check(given)


def test_nothing_is_said_of_events_that_were_not_kept():
    """A reply without its events is neither sound nor not."""
    recording = Unrecorded()
    for event in (TEXT, STOP, STOP):
        recording.append(event, 0.0)
    recording.status = "complete"
    assert check(recording) == []


def test_the_events_of_the_table_are_those_of_the_model():
    """Every typed event is looked at by a shape that botocore has."""
    assert {shape.wire for shape in SHAPES} <= set(STREAM.members)
