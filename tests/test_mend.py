"""mend.py: whatever came of an answer can be sent again, and the service takes it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_nb.assembly import fold
from bedrock_nb.errors import RequestError
from bedrock_nb.eventstream import FrameDecoder
from bedrock_nb.mend import BROKEN, CANCELLED, resendable
from bedrock_nb.message import (
    Block,
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.validation import validate
from bedrock_nb.wire import from_frame
from tests.messages import BROKEN_INPUTS, MESSAGES
from tests.wire_server import GOOD

WAYS = ["signed", "drop", "keep"]
TOOLS = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]}
EVENTS = [event for frame in FrameDecoder().receive_data(b"".join(GOOD)) for event in from_frame(frame)]


def json_of(node: Any) -> Any:
    """What boto3 sends for its caller's dicts: blobs as base64."""
    if isinstance(node, bytes):
        return b64encode(node).decode("ascii")
    if isinstance(node, dict):
        return {name: json_of(value) for name, value in node.items()}
    return [json_of(value) for value in node] if isinstance(node, list) else node


def conversation(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns with a question before and after them; what the user says in a row is one turn."""
    asked: list[dict[str, Any]] = []
    for turn in [user("Question."), *turns, user("And another.")]:
        if asked and asked[-1]["role"] == turn["role"]:
            asked[-1] = {**turn, "content": [*asked[-1]["content"], *turn["content"]]}
        else:
            asked.append(turn)
    return asked


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": text}]}


def accepted(turns: list[dict[str, Any]]) -> None:
    """Raise what the embedded server says if it refuses these turns."""
    validate("ConverseStream", "m", json_of({"messages": conversation(turns), "toolConfig": TOOLS}))


def answered(turns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The turns with a result for each tool call, as the caller of a whole reply gives it."""
    calls = [block["toolUse"] for turn in turns for block in turn["content"] if "toolUse" in block]
    results = [
        {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "ok"}]}} for call in calls
    ]
    return [*turns, {"role": "user", "content": results}] if results else turns


def mended(*blocks: Block, **options: Any) -> list[dict[str, Any]]:
    """The content of the assistant's turn; nothing if there is none."""
    turns = resendable(Message("assistant", blocks), **options)
    return turns[0]["content"] if turns else []


# -- what the service takes ------------------------------------------------------------------------


@pytest.mark.parametrize("reasoning", WAYS)
@pytest.mark.parametrize("length", range(len(EVENTS) + 1))
def test_every_beginning_of_a_reply_can_be_sent_again(length, reasoning):
    """Wherever a reply broke off, what came goes back between two questions."""
    accepted(resendable(fold(EVENTS[:length]), reasoning=reasoning))


@settings(max_examples=300)
@given(MESSAGES, st.sampled_from(WAYS))
def test_any_broken_answer_can_be_sent_again(message, reasoning):
    """Whatever is in it, the service takes what is made of it."""
    accepted(resendable(message, reasoning=reasoning))


@settings(max_examples=150)
@given(MESSAGES, st.sampled_from(WAYS))
def test_any_whole_answer_can_be_sent_again(message, reasoning):
    """With the caller's own results for its tools."""
    turns = resendable(message, reasoning=reasoning, interrupted=False)
    assert [turn["role"] for turn in turns] in ([], ["assistant"])
    accepted(answered(turns))


@given(MESSAGES, st.sampled_from(WAYS))
def test_mending_twice_is_mending_once(message, reasoning):
    """What can be sent is sent as it is."""
    turns = resendable(message, reasoning=reasoning)
    if turns:
        assert resendable(Message.from_dict(turns[0]), reasoning=reasoning) == turns


def test_the_service_would_refuse_it_otherwise():
    """The judge of these tests does refuse a message as it came."""
    with pytest.raises(Refusal, match="blank"):
        accepted([Message("assistant", (TextBlock(" "),)).to_dict()])
    with pytest.raises(Refusal, match="Expected toolResult blocks"):
        accepted([Message("assistant", (ToolUseBlock("1", "f", {}, ""),)).to_dict()])


# -- block by block --------------------------------------------------------------------------------

TEXT = TextBlock("a")
SAID = {"text": "a"}
SIGNED, UNSIGNED, REDACTED = ReasoningBlock("hm", "sig"), ReasoningBlock("hm"), RedactedBlock(b"x")
SIGNED_DICT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "sig"}}}
UNSIGNED_DICT = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
REDACTED_DICT = {"reasoningContent": {"redactedContent": b"x"}}
THOUGHTS = (SIGNED, UNSIGNED, REDACTED, RedactedBlock(b""))
PNG = {"bytes": b"x"}


@pytest.mark.parametrize(
    ("block", "content"),
    [
        (TextBlock(""), []),
        (TextBlock(" \n\t"), []),
        (TextBlock("", ({"title": "t"},)), []),
        (
            TextBlock("b", ({"title": "t"},)),
            [{"citationsContent": {"content": [{"text": "b"}], "citations": [{"title": "t"}]}}],
        ),
        (TextBlock(" b \n"), [{"text": " b \n"}]),
        (TextBlock("\ud83d\ude00 \ud83d"), [{"text": "\U0001f600 \ufffd"}]),
        (ImageBlock("png", PNG), [{"image": {"format": "png", "source": PNG}}]),
        (ImageBlock("png", {}, {"message": "no"}), []),
        (ImageBlock("png", {"bytes": b""}), []),
        (ImageBlock("", PNG), []),
        (ToolUseBlock("", "", None, "{}"), []),
        (ToolUseBlock("1", "", {}, ""), []),
        (ToolUseBlock("", "f", {}, ""), []),
        (ToolUseBlock("1", "look it up", {}, ""), []),
        (ToolUseBlock("1", "f" * 65, {}, ""), []),
        (
            ToolUseBlock("1", "f", {"a": 1}, ""),
            [{"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}}],
        ),
        (ToolUseBlock("1", "f", {}, "", "server_tool_use"), []),
        (ToolResultBlock("1", ({"text": "found"},), "success"), []),
        (UnknownBlock({"cachePoint": {"type": "default"}}), [{"cachePoint": {"type": "default"}}]),
    ],
    ids=repr,
)
def test_what_becomes_of_a_block(block, content):
    """What the service refuses is left out, all else goes back as it came."""
    assert mended(block, TEXT) == [*content, SAID]
    assert mended(TEXT, block, interrupted=False) == [SAID, *content]


@pytest.mark.parametrize(
    ("reasoning", "content"),
    [
        ("signed", [SIGNED_DICT, REDACTED_DICT]),
        ("drop", []),
        ("keep", [SIGNED_DICT, UNSIGNED_DICT, REDACTED_DICT]),
    ],
)
def test_what_becomes_of_reasoning(reasoning, content):
    """Signed, none or all; redacted reasoning goes back unless none does."""
    assert mended(*THOUGHTS, TEXT, reasoning=reasoning) == [*content, SAID]


@pytest.mark.parametrize(
    ("reasoning", "content"),
    [("signed", [SAID]), ("drop", [SAID]), ("keep", [SAID, SIGNED_DICT, REDACTED_DICT])],
)
def test_reasoning_that_led_to_nothing(reasoning, content):
    """A turn may not end in reasoning, so what was thought and not said is left out unless all is kept."""
    assert mended(TEXT, SIGNED, REDACTED, reasoning=reasoning) == content


@pytest.mark.parametrize(
    "blocks", [(), (TextBlock(" "),), (SIGNED,), (UNSIGNED, REDACTED), (ToolUseBlock("", "", None, "{"),)]
)
def test_nothing_left_is_no_turn(blocks):
    """An answer of which nothing can go back has no turns at all."""
    assert resendable(Message("assistant", blocks)) == []


@pytest.mark.parametrize("role", ["assistant", "user", "robot"])
def test_an_answer_is_the_assistants(role):
    """Whatever role was streamed."""
    assert [turn["role"] for turn in resendable(Message(role, (TEXT,)))] == ["assistant"]


# -- tool calls ------------------------------------------------------------------------------------

CALLS = (ToolUseBlock("1", "f", {"a": 1}, '{"a": 1}'), TEXT, ToolUseBlock("2", "g", None, '{"city": "Par'))


def test_calls_that_never_ran_are_answered():
    """Whole or not, each call of a broken answer has a result that says so in one sentence."""
    assistant, results = resendable(Message("assistant", CALLS))
    assert assistant["content"][2]["toolUse"]["input"] == {"invalid_json": '{"city": "Par'}
    assert results["role"] == "user"
    assert results["content"] == [
        {"toolResult": {"toolUseId": id, "content": [{"text": said}], "status": "error"}}
        for id, said in (("1", CANCELLED), ("2", BROKEN))
    ]
    assert CANCELLED.endswith("cancelled: it has no result.")
    assert BROKEN.endswith("cancelled and not run.")


def test_calls_of_a_whole_answer_are_the_callers():
    """No result is invented."""
    assert resendable(Message("assistant", CALLS), interrupted=False) == [
        {"role": "assistant", "content": mended(*CALLS)}
    ]


@pytest.mark.parametrize("raw", BROKEN_INPUTS.values(), ids=BROKEN_INPUTS)
def test_broken_input_goes_back_as_it_came(raw):
    """As text in an object, since the service demands an object."""
    assert mended(ToolUseBlock("1", "f", None, raw))[0]["toolUse"]["input"] == {"invalid_json": raw}


def test_one_id_is_one_call():
    """A call that came twice goes back once, and has one result."""
    call = ToolUseBlock("1", "f", {}, "")
    assistant, results = resendable(Message("assistant", (call, TEXT, call)))
    assert [list(block) for block in assistant["content"]] == [["toolUse"], ["text"]]
    assert len(results["content"]) == 1


# -- how it is asked -------------------------------------------------------------------------------


@pytest.mark.parametrize("reasoning", ["", "all", None, True, []], ids=repr)
def test_other_ways_with_reasoning_are_refused(reasoning):
    """The error names the ways that there are."""
    with pytest.raises(RequestError, match="It may be signed, drop, keep"):
        resendable(Message("assistant", (TEXT,)), reasoning=reasoning)


@pytest.mark.parametrize("given", [None, "text", {"role": "assistant", "content": []}], ids=repr)
def test_only_messages_can_be_sent(given):
    """Anything else is refused, with the way to a message."""
    with pytest.raises(RequestError, match=r"A Reply has one in \.message and \.snapshot"):
        resendable(given)


def test_the_message_stays_as_it_was():
    """Whoever shows it goes on showing all of it."""
    message = Message("assistant", (TextBlock(" "), *CALLS))
    before = repr(message)
    resendable(message, reasoning="drop")
    assert repr(message) == before
