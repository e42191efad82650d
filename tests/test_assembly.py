"""assembly.py: messages to events and back, unusual orders, tools that are run or not, and 53 odd replies."""

from __future__ import annotations

import base64
import json
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given

from bedrock_nb.assembly import Fold, fold, to_events
from bedrock_nb.errors import FrameError, PayloadError, RequestError, StreamError
from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    Event,
    ImageDelta,
    ImageStart,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUse,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.eventstream import FrameDecoder, encode
from bedrock_nb.message import (
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from bedrock_nb.wire import from_frame, to_frame
from tests.messages import BROKEN_INPUTS, MESSAGES, SPLITS

USAGE = {"inputTokens": 1, "outputTokens": 2, "totalTokens": 3}


def derived(events):
    """What the fold makes of each event, as (position, event)."""
    state = Fold()
    return [(position, made) for position, event in enumerate(events) for made in state.feed(event)]


# -- message -> events -> message ------------------------------------------------------------------


@given(MESSAGES, SPLITS)
def test_messages_stream_and_come_back(message, split):
    """A message's events add up to it, however its text is cut, and also after a trip over the wire."""
    events = list(to_events(message, usage=USAGE, latency_ms=5, split=split))
    assert fold(events) == message
    data = b"".join(encode(to_frame(event, "p" * 9)) for event in events)
    received = [event for frame in FrameDecoder().receive_data(data) for event in from_frame(frame)]
    assert received == events
    assert fold(received) == message


def test_the_order_of_events():
    """A stream starts, brings its blocks one after another, stops, and closes with the usage."""
    message = Message(
        "assistant", (ReasoningBlock("hm", "sig"), TextBlock("ab", ({"title": "t"},)), TextBlock(""))
    )
    assert list(to_events(message, stop_reason="max_tokens", usage=USAGE, latency_ms=5, split=list)) == [
        MessageStart("assistant"),
        ReasoningDelta(0, "h"),
        ReasoningDelta(0, "m"),
        ReasoningSignature(0, "sig"),
        BlockStop(0),
        TextDelta(1, "a"),
        TextDelta(1, "b"),
        CitationDelta(1, {"title": "t"}),
        BlockStop(1),
        TextDelta(2, ""),
        BlockStop(2),
        MessageStop("max_tokens"),
        Metadata(USAGE, 5),
    ]


def test_input_without_its_text_is_streamed_too():
    """A block made by hand, with input and no raw text, streams that input."""
    message = Message("assistant", (ToolUseBlock("1", "f", {"city": "Zürich"}, ""),))
    assert fold(to_events(message)).tool_uses[0].input == {"city": "Zürich"}


def test_what_no_model_streams_is_refused():
    """Blocks that only a request can hold have no events, and the error names them."""
    with pytest.raises(RequestError, match="A block with document cannot be streamed"):
        list(to_events(Message("user", (UnknownBlock({"document": {}}),))))


# -- events -> message -----------------------------------------------------------------------------

START = ToolUseStart(0, "1", "f")


@pytest.mark.parametrize(
    ("events", "blocks"),
    [
        pytest.param(
            [
                TextDelta(0, "a"),
                ReasoningDelta(1, "x"),
                TextDelta(0, "b"),
                ReasoningDelta(1, "y"),
                BlockStop(1),
            ],
            [TextBlock("ab"), ReasoningBlock("xy")],
            id="interleaved",
        ),
        pytest.param(
            [TextDelta(5, "a"), BlockStop(5), TextDelta(0, "b")],
            [TextBlock("a"), TextBlock("b")],
            id="in the order in which they came, whatever their index",
        ),
        pytest.param(
            [TextDelta(0, "a"), BlockStop(0), TextDelta(0, "b")],
            [TextBlock("a"), TextBlock("b")],
            id="after its stop",
        ),
        pytest.param(
            [TextDelta(0, "a"), MessageStop("end_turn"), Metadata(USAGE), TextDelta(0, "b")],
            [TextBlock("ab")],
            id="after the end",
        ),
        pytest.param(
            [ToolInputDelta(7, "{}"), BlockStop(7)], [ToolUseBlock("", "", None, "{}")], id="input of no tool"
        ),
        pytest.param(
            [START, ToolInputDelta(0, "{"), TextDelta(0, "a"), ToolInputDelta(0, "}"), BlockStop(0)],
            [ToolUseBlock("1", "f", None, "{"), TextBlock("a"), ToolUseBlock("", "", None, "}")],
            id="another kind at the same index",
        ),
        pytest.param(
            [START, START, ToolInputDelta(0, "{}"), BlockStop(0)],
            [ToolUseBlock("1", "f", None, ""), ToolUseBlock("1", "f", {}, "{}")],
            id="begun twice",
        ),
        pytest.param([BlockStop(3), BlockStop(3)], [], id="stops of nothing"),
        pytest.param(
            [
                ReasoningSignature(0, "a"),
                ReasoningSignature(0, "b"),
                RedactedReasoning(1, b"c"),
                RedactedReasoning(1, b"d"),
            ],
            [ReasoningBlock("", "ab"), RedactedBlock(b"cd")],
            id="signatures and blobs in pieces",
        ),
        pytest.param(
            [
                ToolResultStart(0, "1", "success", "t"),
                ToolResultDelta(0, ({"text": "a"}, {"text": "b"})),
                ToolResultDelta(0, ({"text": "c"}, {"json": 1}, {"json": 2})),
                ToolResultDelta(1, ({"text": "d"},)),
            ],
            [
                ToolResultBlock("1", ({"text": "abc"}, {"json": 1}, {"json": 2}), "success", "t"),
                ToolResultBlock("", ({"text": "d"},)),
            ],
            id="tool results",
        ),
        pytest.param(
            [
                ImageStart(0, "png"),
                ImageDelta(0, {"bytes": b"a"}),
                ImageDelta(0, {"bytes": b"b"}),
                ImageDelta(0, None, {"message": "m"}),
                ImageDelta(1, {"s3Location": {"uri": "s3://b"}}),
            ],
            [
                ImageBlock("png", {"bytes": b"ab"}, {"message": "m"}),
                ImageBlock("", {"s3Location": {"uri": "s3://b"}}),
            ],
            id="images",
        ),
        pytest.param(
            [
                CitationDelta(0, {"title": "t"}),
                TextDelta(0, "a"),
                Unknown("sparkle", {}),
                CitationDelta(0, {}),
            ],
            [TextBlock("a", ({"title": "t"}, {}))],
            id="citations",
        ),
    ],
)
def test_unusual_orders_lose_nothing(events, blocks):
    """Whatever the order, all that came is in the message, and a tool that never began cannot be run."""
    assert fold(events) == Message("assistant", tuple(blocks))


def test_a_tool_is_asked_for_when_its_block_stops():
    """`ToolUse` follows the stop of its block, `MessageComplete` the stop of the message."""
    events = [
        MessageStart("assistant"),
        ToolUseStart(0, "1", "f", "server_tool_use"),
        ToolInputDelta(0, '{"a"'),
        ToolUseStart(1, "2", "g"),
        ToolInputDelta(0, ": 1}"),
        BlockStop(1),
        BlockStop(0),
        MessageStop("tool_use"),
        Metadata(USAGE),
    ]
    f = ToolUseBlock("1", "f", {"a": 1}, '{"a": 1}', "server_tool_use")
    g = ToolUseBlock("2", "g", {}, "")
    assert derived(events) == [
        (5, ToolUse(1, "2", "g", {})),
        (6, ToolUse(0, "1", "f", {"a": 1}, "server_tool_use")),
        (7, MessageComplete(Message("assistant", (f, g)))),
    ]


def test_what_the_fold_knows_besides():
    """Role, open blocks, stop reason, usage and metadata can be asked for at any time."""
    state = Fold()
    for event in (MessageStart("user"), TextDelta(0, "a"), BlockStop(0), TextDelta(2, "b"), START):
        state.feed(event)
    assert (state.snapshot.role, state.open_blocks, state.stop_reason) == ("user", (2, 0), None)
    closing = Metadata(USAGE, 5)
    state.feed(MessageStop("end_turn"))
    state.feed(closing)
    assert (state.stop_reason, state.usage, state.metadata) == ("end_turn", USAGE, closing)


@pytest.mark.parametrize("raw", BROKEN_INPUTS.values(), ids=BROKEN_INPUTS)
def test_broken_input_is_never_run_and_stays_visible(raw):
    """No `ToolUse`, no `MessageComplete`, no parsed input: the text as it came, the block is broken."""
    pieces = (raw[i : i + 999] for i in range(0, len(raw), 999))
    deltas = (ToolInputDelta(0, piece) for piece in pieces)
    events: list[Event] = [START, *deltas, BlockStop(0), MessageStop("tool_use")]
    assert derived(events) == []
    state = Fold()
    for event in events:
        state.feed(event)
    assert state.snapshot.tool_uses == state.broken_tools == (ToolUseBlock("1", "f", None, raw),)


@pytest.mark.parametrize(
    "raw", ["", '{"a": 1}', *BROKEN_INPUTS.values()], ids=["nothing", "sound", *BROKEN_INPUTS]
)
def test_input_of_an_open_block_is_not_whole(raw):
    """Until its block stops nobody knows that a tool's input is whole, not even if it looks so."""
    state = Fold()
    for event in (START, ToolInputDelta(0, raw), MessageStop("max_tokens")):
        assert state.feed(event) == ()
    assert state.broken_tools == (ToolUseBlock("1", "f", None, raw),)


def test_snapshots_from_another_thread():
    """A display may read the message at any time while events are fed; each is a beginning of the next."""
    events: list[Event] = []
    for i in range(0, 4_000, 10):
        events += TextDelta(i, "ab"), CitationDelta(i, {}), ReasoningSignature(i + 1, "s")
        events += RedactedReasoning(i + 2, b"r"), ToolUseStart(i + 3, "1", "f"), ToolInputDelta(i + 3, "{}")
        events += (ToolResultDelta(i + 4, ({"text": "t"}, {"json": 1}, {"text": "t"})),)
        events += [ImageDelta(5_000, {f"member {i + k}": "x"}) for k in range(10)]
        events += (BlockStop(i + 3),)
    state, fed = Fold(), threading.Event()
    seen: list[tuple[int, int]] = []
    failed: list[Exception] = []

    def read():
        try:
            while not fed.is_set() and len(seen) < 2_000:
                message = state.snapshot
                seen.append((len(message.content), len(message.text)))
                assert len(set(state.open_blocks)) <= len(events)
        except Exception as error:
            failed.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    reader = threading.Thread(target=read)
    try:
        reader.start()
        for event in events:
            state.feed(event)
    finally:
        fed.set()
        reader.join(30)
        sys.setswitchinterval(interval)
    assert not failed
    assert seen == sorted(seen)
    assert state.snapshot == fold(events)


# -- one sound reply, and 53 with one thing wrong or unusual ---------------------------------------

_FILE = json.loads((Path(__file__).parent / "vectors" / "converse_stream_cases.json").read_text("utf-8"))
CASES = {case["name"]: case for case in _FILE["cases"]}

#: Cases that need an error which is not to be seen before the end of the stream: frame by frame they are
#: sound. What the fold shows of them, and the reply decides by, is the tool that must not be run.
AT_THE_END = {
    "missing_tool_stop": "the block of the tool never stopped",
    "tool_truncated": "its input ends in the middle",
    "tool_malformed": "its input is not JSON",
    "tool_array": "its input is a list",
    "tool_number": "its input is a number",
    "tool_nan": "its input holds NaN",
    "tool_trailing": "something follows its input",
    "tool_deep": "its input is nested beyond reason",
}
#: Cases that may go either way, and the way that they go here: what is said beside the text of the case.
EITHER = {
    "exception_after_message_stop": "internalServerException ends a message that was whole",
    "unknown_message_type": "kept as Unknown: nobody knows what it means, and nothing is missing without it",
    "dup_message_start": "the role is said twice",
    "delta_unopened_tool": "kept as a tool without a name, which is not run",
    "delta_after_stop": "kept as a block of its own",
    "missing_text_stop": "the text is there all the same",
    "missing_message_start": "the role is known without it",
    "event_after_metadata": "kept as a block of its own",
    "two_metadata": "the later one counts",
    "tool_empty": "no input is no arguments",
    "tool_empty_string": "no input is no arguments",
    "tool_whitespace": "no input is no arguments",
    "tool_dup_keys": "not run: readers disagree on which of the two counts",
    "max_tokens_in_tool": "cut by the limit: not run, and the stop reason says why",
}
#: Where that way is not the one for which the case says what is kept.
OTHERWISE = {
    "unknown_message_type": {"text": _FILE["full_text"], "stop": "tool_use"},
    "delta_after_stop": {"text": _FILE["full_text"] + "LATE"},
    "event_after_metadata": {"text": _FILE["full_text"] + "LATE"},
}


def read(case):
    """What frames, wire and fold make of a case: events, what was made of them, the fold, and the error."""
    body = case["body"]
    data = (
        zlib.decompress(base64.b64decode(body["zb64"])) if "zb64" in body else base64.b64decode(body["b64"])
    )
    decoder, state = FrameDecoder(), Fold()
    events: list[Event] = []
    made: list[Event] = []
    error: StreamError | None = None
    try:
        try:
            frames = decoder.receive_data(data)
        except FrameError as broken:
            frames, error = broken.frames, broken
        for frame in frames:
            for event in from_frame(frame):
                events.append(event)
                made.extend(state.feed(event))
                if isinstance(event, StreamFault):
                    raise event.error
        if case["ends"] == "clean" and error is None:
            decoder.receive_eof()
    except StreamError as raised:
        error = raised
    return events, made, state, error


@pytest.mark.parametrize("name", CASES)
def test_no_case_runs_a_tool_with_anything_else(name):
    """A tool is asked for with the input that the case expects, or not at all."""
    _, made, state, _ = read(CASES[name])
    expected = CASES[name]["expect"]["tool_expected"]
    assert all(event.input == expected for event in made if isinstance(event, ToolUse))
    assert all(use.input in (None, expected) for use in state.snapshot.tool_uses)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["expect"]["need"] == "ok"])
def test_unusual_replies_are_read(name):
    """What is only unusual gives text, reasoning, tool, stop reason and usage, and no error."""
    expect = CASES[name]["expect"]
    events, made, state, error = read(CASES[name])
    assert error is None
    message = state.snapshot
    assert (message.text, message.reasoning, state.stop_reason) == (
        expect["text"],
        expect["reasoning"],
        expect["stop"],
    )
    assert [use.input for use in message.tool_uses] == [expect["tool"]]
    assert [type(event) for event in made] == [ToolUse, MessageComplete]
    assert bool(state.usage) == expect["usage"]
    unknown = [event for event in events if isinstance(event, Unknown)]
    assert bool(unknown) == (
        name.startswith(("unknown_event", "unknown_delta", "unknown_block", "extra_field"))
    )


SEEN_AT_ONCE = [name for name in CASES if CASES[name]["expect"]["need"] == "error" and name not in AT_THE_END]


@pytest.mark.parametrize("name", SEEN_AT_ONCE)
def test_broken_replies_end_in_an_error(name):
    """What is broken is an error with its code, without waiting for the end; what had arrived is kept."""
    expect = CASES[name]["expect"]
    events, made, state, error = read(CASES[name])
    assert isinstance(error, StreamError)
    assert expect["code"] in str(error)
    assert isinstance(error, FrameError | PayloadError) == (expect["code"] == "")
    assert (state.snapshot.text, state.snapshot.reasoning) == (expect["text"], expect["reasoning"])
    assert (state.stop_reason, made) == (None, [])
    assert len([event for event in events if not isinstance(event, StreamFault)]) == expect["events"]


@pytest.mark.parametrize(("name", "why"), AT_THE_END.items())
def test_broken_tools_are_left_to_the_end_of_the_stream(name, why):
    """No error yet, but a broken tool, no `ToolUse` and no `MessageComplete`: enough to decide by."""
    expect = CASES[name]["expect"]
    assert expect["need"] == "error"
    _, made, state, error = read(CASES[name])
    assert (error, made, state.stop_reason) == (None, [], "tool_use"), why
    assert state.snapshot.text == expect["text"]
    assert [use.name for use in state.broken_tools] == ["get_weather"]


@pytest.mark.parametrize(("name", "why"), EITHER.items())
def test_cases_that_may_go_either_way(name, why):
    """What a case leaves open is decided once, and its text is kept in any case."""
    expect = CASES[name]["expect"] | OTHERWISE.get(name, {})
    assert expect["need"] == "either"
    _, made, state, error = read(CASES[name])
    assert (state.snapshot.text, state.stop_reason) == (expect["text"], expect["stop"]), why
    assert (error is not None) == (name == "exception_after_message_stop")
    assert expect["code"] in str(error)
    complete = [event for event in made if isinstance(event, MessageComplete)]
    assert bool(complete) == (name not in ("delta_unopened_tool", "tool_dup_keys", "max_tokens_in_tool"))


def test_every_case_is_tested():
    """The three tables above and the needs of the cases leave none out."""
    sure = [name for name in CASES if CASES[name]["expect"]["need"] == "ok"]
    assert sorted([*sure, *SEEN_AT_ONCE, *AT_THE_END, *EITHER]) == sorted(CASES)
    assert len(CASES) == 53


def test_tool_results_of_a_wrong_type_are_kept_as_they_are():
    """A text that is no text joins nothing, and raises nothing."""
    events = (ToolResultStart(0, "t"), ToolResultDelta(0, ({"text": "a"}, {"text": 5})))  # type: ignore[dict-item]
    assert fold(events).content == (ToolResultBlock("t", ({"text": "a"}, {"text": 5})),)
