"""message.py: blocks against boto3's own validation, dicts and back, and the strict reading of tool input."""

from __future__ import annotations

import json

import pytest
from botocore.validate import ParamValidator
from hypothesis import given

from bedrock_nb.errors import RequestError
from bedrock_nb.message import (
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolUseBlock,
    UnknownBlock,
    parse_input,
)
from tests.converse_model import SERVICE, samples
from tests.messages import BROKEN_INPUTS, JSON_OBJECT, SOUND_MESSAGES

CONVERSE = SERVICE.operation_model("Converse").input_shape
BLOCKS = samples(SERVICE.shape_for("ContentBlock"), blob=b"\x00\xff")


def refused(message):
    """What boto3 has against a message in a request; nothing if it takes it."""
    report = ParamValidator().validate({"modelId": "m", "messages": [message]}, CONVERSE)
    return report.generate_report() if report.has_errors() else ""


# -- dicts -----------------------------------------------------------------------------------------


@given(SOUND_MESSAGES)
def test_boto3_takes_every_message(message):
    """Any message that a model can send, broken tool input too, can go back in the next request."""
    assert refused(message.to_dict()) == ""


@given(SOUND_MESSAGES)
def test_dicts_and_back(message):
    """A message read from its dict makes the same dict, and says, reasons and asks the same."""
    again = Message.from_dict(message.to_dict())
    assert again.to_dict() == message.to_dict()
    assert (again.text, again.reasoning) == (message.text, message.reasoning)
    assert [use.input for use in again.tool_uses] == [use.input for use in message.tool_uses]


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{next(iter(block))}-{i}" for i, block in enumerate(BLOCKS)])
def test_every_block_that_botocore_knows_is_kept(block):
    """A block of the service model, every member filled, comes back whole from a message."""
    message = {"role": "user", "content": [block]}
    again = Message.from_dict(message).to_dict()
    assert again == message, f"Message.from_dict or to_dict loses something of {next(iter(block))}"
    assert refused(again) == ""


def test_the_parts_of_a_message():
    """``text``, ``reasoning`` and ``tool_uses`` pick from the blocks, in order."""
    use = ToolUseBlock("1", "f", {}, "")
    blocks = (
        ReasoningBlock("hm"),
        TextBlock("a"),
        use,
        RedactedBlock(b""),
        ReasoningBlock("m"),
        TextBlock("b"),
    )
    message = Message("assistant", blocks)
    assert (message.text, message.reasoning, message.tool_uses) == ("ab", "hmm", (use,))


@pytest.mark.parametrize(
    "block",
    [
        {},
        {"hologram": {}},
        {"text": None},
        {"reasoningContent": {}},
        {"toolUse": {"toolUseId": "1", "name": "n", "input": [1]}},
        {"toolUse": {"name": "n"}},
        {"image": {"format": "png"}},
    ],
)
def test_what_is_no_known_block_is_kept_as_it_is(block):
    """A block of another form is an `UnknownBlock`, and its dict comes back."""
    message = Message.from_dict({"role": "user", "content": [block]})
    assert message.content == (UnknownBlock(block),)
    assert message.to_dict()["content"] == [block]


@pytest.mark.parametrize(
    "message",
    [
        None,
        "hi",
        [],
        {},
        {"role": "user"},
        {"content": []},
        {"role": None, "content": []},
        {"role": "user", "content": "hi"},
        {"role": "user", "content": ["hi"]},
        {"role": "user", "content": [{"citationsContent": {"content": ["hi"]}}]},
        {"role": "user", "content": [{"toolResult": {"toolUseId": "1", "content": None}}]},
        {"role": "user", "content": [{"toolUse": {"toolUseId": "1", "name": "n", "input": {"a": b""}}}]},
    ],
)
def test_what_is_no_message_is_one_clear_error(message):
    """What was given is shown, and what a message looks like."""
    with pytest.raises(RequestError, match=r"not a message of Converse: .+ A message is a dict such as \{"):
        Message.from_dict(message)


# -- tool input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", BROKEN_INPUTS.values(), ids=BROKEN_INPUTS)
def test_broken_input_is_none_and_stays_so(raw):
    """Nothing is guessed of what is not one whole JSON object, not even after a trip through a dict."""
    assert parse_input(raw) is None
    message = Message("assistant", (ToolUseBlock("1", "f", None, raw),))
    assert message.to_dict()["content"][0]["toolUse"]["input"] == {"invalid_json": raw}
    assert Message.from_dict(message.to_dict()) == message


@given(JSON_OBJECT)
def test_sound_input_is_read(value):
    """Any JSON object is read as what it is, however it is spaced."""
    assert parse_input(json.dumps(value)) == value
    assert parse_input(f"\n{json.dumps(value, indent=2, ensure_ascii=False)}\t") == value


def test_input_has_at_most_100_levels():
    """The same on every Python: what is deeper would break the code that descends into it, boto3's too."""
    levels = '{"a": ' * 50 + "[" * 50 + "]" * 50 + "}" * 50
    assert parse_input(levels) is not None
    assert parse_input(f'{{"a": {levels}}}') is None
    assert parse_input(json.dumps({"a": [{"[": []}] * 1_000})) is not None


@pytest.mark.parametrize("raw", ["", " ", "\n\t "])
def test_no_input_is_no_arguments(raw):
    """Bedrock streams a call of a tool without parameters as no input at all."""
    assert parse_input(raw) == {}
