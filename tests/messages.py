"""Messages of any content, and ways to cut them into deltas: Hypothesis strategies for several tests."""

from __future__ import annotations

import json
from collections.abc import Callable

from hypothesis import strategies as st

from bedrock_nb.message import (
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    parse_input,
)
from tests.converse_model import SERVICE, samples

#: Inputs that no tool may be run with: not one whole JSON object, or one that readers disagree on.
BROKEN_INPUTS = {
    "truncated": '{"city": "Par',
    "unclosed": '{"city": "Paris"',
    "array": "[1, 2]",
    "number": "42",
    "null": "null",
    "text": '"Paris"',
    "no JSON": '{"city": Paris}',
    "NaN": '{"x": NaN}',
    "Infinity": '{"x": -Infinity}',
    "repeated keys": '{"city": "Rome", "city": "Paris"}',
    "repeated keys inside": '{"a": [{"city": "Rome", "city": "Paris"}]}',
    "trailing text": '{"city": "Paris"} extra',
    "two objects": "{}{}",
    "101 levels": '{"a": ' + "[" * 100 + "]" * 100 + "}",
    "20,000 deep": '{"a": ' + "[" * 20_000 + "]" * 20_000 + "}",
    "20,000 objects deep": '{"a": ' * 20_000 + "1" + "}" * 20_000,
}

TEXT = st.text(max_size=20) | st.sampled_from(["", "\ud83d", "日本語 \U0001f600", "\r\n\x00"])
NAME = st.text("abcXYZ_-012", min_size=1, max_size=10)
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=5,
)
JSON_OBJECT = st.dictionaries(TEXT, _JSON, max_size=3)


def _tool_use(id: str, name: str, raw: str, type: str | None) -> ToolUseBlock:
    return ToolUseBlock(id, name, parse_input(raw), raw, type)


def _not_adjacent(items: list[dict[str, object]]) -> tuple[dict[str, object], ...]:
    """Text after text is the same text going on, so it does not come in items of its own."""
    kept: list[dict[str, object]] = []
    for item in items:
        if not (kept and "text" in item and "text" in kept[-1]):
            kept.append(item)
    return tuple(kept)


_RAW = (
    st.builds(json.dumps, JSON_OBJECT)
    | st.builds(lambda value: json.dumps(value, indent=1, ensure_ascii=False), JSON_OBJECT)
    | st.sampled_from(["", "  ", *BROKEN_INPUTS.values()])
    | TEXT
)
_ITEM = st.builds(lambda text: {"text": text}, TEXT) | st.builds(lambda value: {"json": value}, _JSON)
_CITATION = st.sampled_from(samples(SERVICE.shape_for("CitationsDelta")))
_SOURCE = st.builds(lambda data: {"bytes": data}, st.binary(min_size=1, max_size=9)) | st.just(
    {"s3Location": {"uri": "s3://bucket/key", "bucketOwner": "123456789012"}}
)
_FORMAT = st.sampled_from(["png", "jpeg", "gif", "webp"])

#: Blocks that boto3 takes in a request.
SOUND_BLOCKS = (
    st.builds(TextBlock, TEXT, st.lists(_CITATION, max_size=2).map(tuple))
    | st.builds(ReasoningBlock, TEXT, st.none() | TEXT)
    | st.builds(RedactedBlock, st.binary(max_size=9))
    | st.builds(_tool_use, NAME, NAME, _RAW, st.none() | st.just("server_tool_use"))
    | st.builds(
        ToolResultBlock,
        NAME,
        st.lists(_ITEM, max_size=3).map(_not_adjacent),
        st.none() | st.sampled_from(["success", "error"]),
        st.none() | TEXT,
    )
    | st.builds(ImageBlock, _FORMAT, _SOURCE, st.none() | st.just({"message": "small"}))
)
#: An image that could not be made has no source, which boto3 does not take back.
_NO_IMAGE = st.builds(ImageBlock, _FORMAT, st.just({}), st.none() | st.just({"message": "no"}))

SOUND_MESSAGES = st.builds(Message, st.just("assistant"), st.lists(SOUND_BLOCKS, max_size=5).map(tuple))
MESSAGES = st.builds(
    Message, st.sampled_from(["assistant", "user"]), st.lists(SOUND_BLOCKS | _NO_IMAGE, max_size=5).map(tuple)
)


def _cutter(size: int, empties: bool) -> Callable[[str], list[str]]:
    def cut(text: str) -> list[str]:
        pieces = [text[i : i + size] for i in range(0, len(text), size)]
        return [piece for kept in pieces for piece in (["", kept] if empties else [kept])]

    return cut


#: Functions that cut a text into deltas, of nothing too; None is the default, one delta a block.
SPLITS = st.none() | st.builds(_cutter, st.integers(1, 7), st.booleans())
