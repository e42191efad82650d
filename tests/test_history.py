"""history.py: any past can be gone on from, and comes back from its file as it was."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_nb.conversation import transcript
from bedrock_nb.conversation.history import Exchange, exchanges_of, results_for, total, turns
from bedrock_nb.conversation.saved import dump, load
from bedrock_nb.errors import RequestError
from bedrock_nb.mend import BROKEN, CANCELLED
from bedrock_nb.message import (
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from bedrock_nb.toolruns import ToolRun
from tests.messages import BROKEN_INPUTS, MESSAGES, SOUND_MESSAGES
from tests.test_mend import accepted

# -- pasts of any kind -----------------------------------------------------------------------------

HI = Message("user", (TextBlock("Hi"),))
RUN = ToolRun("1", "f", "success", 0.5, 0.6, 0.75, eager=True)


def call(id: str, raw: str = "{}") -> ToolUseBlock:
    return ToolUseBlock(id, "f", None if raw in BROKEN_INPUTS.values() else json.loads(raw), raw)


def result(id: str, text: str = "sun") -> ToolResultBlock:
    return ToolResultBlock(id, ({"text": text},))


# Few ids, so that results meet their calls, miss them, and come twice.
_ids = st.sampled_from(["a", "b", "c"])
_results = st.lists(st.builds(result, _ids), max_size=3).map(lambda blocks: Message("user", tuple(blocks)))
_blocks = st.builds(
    call, _ids, st.sampled_from(["{}", '{"city": "Paris"}', BROKEN_INPUTS["truncated"]])
) | st.sampled_from(
    [TextBlock("So."), ReasoningBlock("hm"), ReasoningBlock("hm", "sig"), RedactedBlock(b"x")]
)
_calling = st.builds(
    lambda blocks, partial: Message("assistant", tuple(blocks), partial),
    st.lists(_blocks, max_size=4),
    st.booleans(),
)
_statuses = st.sampled_from(["complete", "cancelled", "incomplete", "error", "limited"])
PASTS = st.lists(
    st.builds(Exchange, st.just(HI), st.lists(_calling | _results | SOUND_MESSAGES, max_size=5), _statuses),
    max_size=3,
)
_numbers = st.floats(0, 1e6)
_runs = st.builds(
    ToolRun,
    st.text(max_size=3),
    st.text(max_size=3),
    st.sampled_from(["success", "timeout", "denied"]),
    _numbers,
    st.none() | _numbers,
    _numbers,
    _numbers,
    st.booleans(),
    st.text(max_size=5),
)
SAVED = st.lists(
    st.builds(
        Exchange,
        MESSAGES.filter(lambda message: message.content).map(lambda asked: Message("user", asked.content)),
        st.lists(MESSAGES | _calling, max_size=3),
        _statuses,
        st.none() | st.just("end_turn"),
        st.lists(st.just({"inputTokens": 3, "totalTokens": 5}), max_size=2),
        st.lists(_runs, max_size=2),
    ),
    max_size=2,
)

# -- what is sent ----------------------------------------------------------------------------------


@settings(max_examples=80)
@given(PASTS)
def test_any_past_can_be_gone_on_from(past):
    """Answers whole or not, results present, missing, of other calls or twice: the service takes it."""
    accepted(turns([*past, Exchange(HI)]))


@settings(max_examples=25)
@given(PASTS)
def test_what_is_sent_changes_nothing_in_the_past(past):
    """It is mended in what is sent alone."""
    before = dump({}, past)
    turns(past)
    assert dump({}, past) == before


def test_a_prompt_without_an_answer_is_not_sent_again():
    """It may be what was refused; the last one is what is asked now."""
    unsent = Message("user", (TextBlock("Unsent"),))
    nothing = Message("assistant", (TextBlock(" "), ReasoningBlock("hm")), partial=True)
    answer = Message("assistant", (TextBlock("Yes?"),))
    sent = turns([Exchange(unsent), Exchange(HI, [answer]), Exchange(unsent, [nothing]), Exchange(HI)])
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]
    assert "Unsent" not in str(sent)
    assert turns([Exchange(unsent)]) == [unsent.to_dict()]


def test_documents_have_names_of_their_own():
    """The service takes no two of one name, and each turn is sent again with the next."""
    report = UnknownBlock({"document": {"name": "report", "format": "txt", "source": {"bytes": b"x"}}})
    answer = Message("assistant", (TextBlock("Yes."), call("a")))
    past = Exchange(
        Message("user", (report,)), [answer, Message("user", (ToolResultBlock("a", (report.payload,)),))]
    )
    sent = turns([past, Exchange(Message("user", (report, report)))])
    names = [name for turn in sent for name in re.findall(r"'name': '(report[ 0-9]*)'", str(turn))]
    assert names == ["report", "report 2", "report 3", "report 4"]


def test_results_go_with_their_calls_and_missing_ones_are_said():
    """In the order of the calls; one that nobody asked for is not sent."""
    answer = Message("assistant", (call("a"), call("b"), call("c", BROKEN_INPUTS["truncated"])))
    past = Exchange(HI, [answer, Message("user", (result("x"), result("b", "rain")))])
    results = [block["toolResult"] for block in turns([past])[-1]["content"]]
    assert [(one["toolUseId"], one["content"][0]["text"]) for one in results] == [
        ("a", CANCELLED),
        ("b", "rain"),
        ("c", BROKEN),
    ]
    assert [one.get("status") for one in results] == ["error", None, "error"]


def test_unsigned_reasoning_of_a_broken_answer_stays_here():
    """Of a whole answer all reasoning goes back, of a broken one what is signed."""
    blocks = (ReasoningBlock("hm"), TextBlock("So."))
    sent = [turns([Exchange(HI, [Message("assistant", blocks, partial)])])[1] for partial in (False, True)]
    assert [len(turn["content"]) for turn in sent] == [2, 1]


def test_results_for_an_answer_without_calls_of_ours():
    """There is no turn of results, for calls neither of nobody nor of the service's own tools."""
    assert results_for(Message("assistant", (TextBlock("So."),)), {}) is None
    assert results_for(Message("assistant", (ToolUseBlock("1", "f", {}, "", "server_tool_use"),)), {}) is None


def test_total():
    """Counts of all calls are added up; what is no number is left out."""
    used = [{"inputTokens": 1, "cacheDetails": [{}]}, {"inputTokens": 2, "outputTokens": 4}]
    assert total([Exchange(HI, usages=used), Exchange(HI, usages=used[:1])]) == {
        "inputTokens": 4,
        "outputTokens": 4,
    }


# -- messages as exchanges -------------------------------------------------------------------------


def test_each_question_begins_an_exchange():
    """Results of tools belong to the exchange that asked for them, also where a question came with them."""
    asked = Message("assistant", (call("a"),))
    answered = Message("assistant", (TextBlock("Sun."),))
    more = TextBlock("And now?")
    made = exchanges_of([HI, asked, Message("user", (result("a"),)), answered, HI, asked])
    assert [(e.prompt, e.messages) for e in made] == [
        (HI, [asked, Message("user", (result("a"),)), answered]),
        (HI, [asked]),
    ]
    made = exchanges_of([HI, asked, Message("user", (result("a"), more)), answered])
    assert [(e.prompt, e.messages) for e in made] == [
        (HI, [asked, Message("user", (result("a"),))]),
        (Message("user", (more,)), [answered]),
    ]
    assert {e.status for e in made} == {"complete"}


@settings(max_examples=25)
@given(PASTS)
def test_exchanges_of_what_is_sent_send_the_same(past):
    """Turns of a past, read as exchanges again, give these turns."""
    sent = turns([*past, Exchange(HI)])
    assert turns(exchanges_of(Message.from_dict(turn) for turn in sent)) == sent


@pytest.mark.parametrize("role", ["assistant", "system"])
def test_a_conversation_begins_with_the_user(role):
    """Other beginnings are refused."""
    with pytest.raises(RequestError):
        exchanges_of([Message(role, (TextBlock("Hi"),))])


# -- files -----------------------------------------------------------------------------------------


def parts(exchanges: list[Exchange]) -> list[list[bool]]:
    return [[message.partial for message in exchange.messages] for exchange in exchanges]


@settings(max_examples=60)
@given(SAVED)
def test_a_file_holds_all_of_it(exchanges):
    """Bytes, broken input, the text of inputs as written, and which answers are not whole."""
    head, loaded = load(dump({"id": "x"}, exchanges), "f")
    assert head == {"id": "x"}
    assert loaded == exchanges
    assert parts(loaded) == parts(exchanges)


@pytest.mark.parametrize("key", ["$bytes", "$$bytes", "$bytes$", "bytes", "$"])
def test_a_model_cannot_pass_text_off_as_bytes(key):
    """An input that looks like the file's own form of bytes comes back as it was."""
    raw = json.dumps({key: "AAAA", "a": {key: "AAAA"}, "b": [{key: {key: 1}}]})
    exchange = Exchange(HI, [Message("assistant", (call("1", raw),))], "complete")
    assert load(dump({}, [exchange]), "f")[1] == [exchange]


def test_an_input_that_looks_broken_is_told_from_one_that_is():
    """The model may write what we send for broken input."""
    raw = '{"invalid_json": "{"}'
    exchange = Exchange(HI, [Message("assistant", (call("1", raw),))], "complete")
    assert load(dump({}, [exchange]), "f")[1][0].messages[0].tool_uses[0].input == {"invalid_json": "{"}


def test_one_that_streams_is_incomplete_in_the_file():
    """As far as the file goes, it ended there."""
    written = dump({}, [Exchange(HI)])
    assert load(written, "f")[1][0].status == "incomplete"
    with pytest.raises(RequestError, match="damaged"):  # or nothing could be said in it any more
        load(written.replace('"incomplete"', '"streaming"'), "f")


def test_what_json_cannot_hold_is_refused():
    """The error says what it was."""
    with pytest.raises(RequestError, match="object"):
        dump({"id": object()}, [])


WHOLE = dump(
    {"id": "x"},
    [
        Exchange(
            HI,
            [
                Message("assistant", (ReasoningBlock("hm", "s"), RedactedBlock(b"x"), call("1", '{"a":1}'))),
                Message("user", (result("1"),)),
                Message("assistant", (TextBlock("So.", ({"title": "T"},)),), True),
            ],
            "cancelled",
            "tool_use",
            [{"inputTokens": 1}],
            [RUN],
        )
    ],
)


def places(node, path=()):
    yield path
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield from places(value, (*path, key))


@pytest.mark.parametrize(
    "other",
    [None, 7, "x", [], {}, [[]], {"$bytes": "AA=="}, "gone", True, 10**400],
    ids=lambda value: f"{value!r:.20}",
)
def test_a_damaged_file_is_refused_or_read(other):
    """Whatever stands at any one place, the error is ours, and what was read can be sent and shown."""
    refused = 0
    for path in list(places(json.loads(WHOLE)))[1:]:
        node = whole = json.loads(WHOLE)
        for key in path[:-1]:
            node = node[key]
        if other == "gone":
            del node[path[-1]]
        else:
            node[path[-1]] = other
        try:
            _, exchanges = load(json.dumps(whole), "f")
        except RequestError:
            refused += 1
            continue
        turns(exchanges)
        total(exchanges)
        transcript.markdown(exchanges)
        transcript.html(exchanges)
        dump({}, exchanges)
    assert refused > 10


@settings(max_examples=25)
@given(st.integers(0, len(WHOLE) - 2))
def test_a_torn_file_is_refused(length):
    """Wherever it ends."""
    with pytest.raises(RequestError, match="is not a saved conversation"):
        load(WHOLE[:length], "f")


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "7", "{}", '{"format": "x"}', "[" * 100_000, '{"$bytes": 1}']
)
def test_other_files_are_refused(text):
    """The error names the file."""
    with pytest.raises(RequestError, match="'f' is not a saved conversation"):
        load(text, "f")


def test_a_newer_file_is_refused():
    """The error says which version is wanted."""
    with pytest.raises(RequestError, match="version 2"):
        load(WHOLE.replace('"version": 1', '"version": 2'), "f")
