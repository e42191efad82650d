"""Cassettes: what is replayed, what is recorded, what a miss says, and that no secret is ever in a file."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from hypothesis import given
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb.errors import (
    IncompleteStreamError,
    RecordingError,
    RequestError,
    ResourceNotFoundError,
    ThrottlingError,
    ThrottlingFault,
)
from bedrock_nb.events import Event, MessageStart, MessageStop, Seam, StreamFault, TextDelta
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency, loopback_client, recorded
from bedrock_nb.server.cassette import MATCHERS, MODES, Cassette
from bedrock_nb.server.latency import is_timed
from bedrock_nb.server.perform import exact_steps
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.upstream import Forwarded, bedrock
from tests.recordings import BY_KIND
from tests.wire_server import GOOD, GOOD_TEXT, LIMIT, answer

RAIN = Request(prompt="Tell me about rain", model="m")
SNOW = Request(prompt="Tell me about snow", model="m")


class Speaker:
    """A responder that says another word each time, as a whole recording or bit by bit."""

    def __init__(self, *, streams: bool = False) -> None:
        self.asked: list[Request] = []
        self._streams = streams

    def __call__(self, request: Request) -> Any:
        self.asked.append(request)
        answer = recorded(request, f"new {len(self.asked)}")
        return iter(list(answer)) if self._streams else answer


def put(folder: Path, request: Request, text: str, name: str = "") -> Path:
    """Save a recording by hand."""
    folder.mkdir(exist_ok=True)
    return recorded(request, text).save(folder / (name or f"{text}.jsonl"))


def said(answer: Any) -> str:
    """The text of an answer, read to its end."""
    return "".join(event.text for event in answer if isinstance(event, TextDelta))


def play(cassette: Cassette) -> Any:
    """What a cassette gives for the request about rain."""
    return cassette(RAIN)


def texts(folder: Path) -> list[str]:
    """What the recordings of a folder say, in the order of their names."""
    return [Recording.load(path).text for path in sorted(folder.glob("*.jsonl"))]


# -- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(
    ("mode", "there", "request_", "answer_", "after"),
    [
        ("none", True, RAIN, "old", ["old"]),
        ("none", True, SNOW, None, ["old"]),
        ("none", False, RAIN, None, []),
        ("once", True, RAIN, "old", ["old"]),
        ("once", True, SNOW, None, ["old"]),
        ("once", False, RAIN, "new 1", ["new 1"]),
        ("new_episodes", True, RAIN, "old", ["old"]),
        ("new_episodes", True, SNOW, "new 1", ["new 1", "old"]),
        ("new_episodes", False, RAIN, "new 1", ["new 1"]),
        ("all", True, RAIN, "new 1", ["new 1"]),
        ("all", True, SNOW, "new 1", ["new 1", "old"]),
        ("all", False, RAIN, "new 1", ["new 1"]),
    ],
)
def test_each_mode_replays_and_records_what_it_should(
    tmp_path, mode, there, request_, answer_, after, streams
):
    """A hit is replayed but in "all"; a miss is recorded where the mode allows, and else refused."""
    if there:
        put(tmp_path, RAIN, "old")
    then = Speaker(streams=streams)
    cassette = Cassette(tmp_path, mode, then=then)
    if answer_ is None:
        with pytest.raises(Refusal) as caught:
            cassette(request_)
        assert (caught.value.status, caught.value.code) == (404, "ResourceNotFoundException")
    else:
        assert said(cassette(request_)) == answer_
    assert len(then.asked) == (1 if answer_ == "new 1" else 0)
    assert texts(tmp_path) == after
    assert len(cassette) == len(after)


@pytest.mark.parametrize("mode", ["once", "new_episodes"])
def test_what_was_recorded_is_replayed_at_once(tmp_path, mode):
    """A cell that is run twice asks the model once, and a cassette that was empty goes on recording."""
    then = Speaker()
    cassette = Cassette(tmp_path, mode, then=then)
    assert [said(cassette(request)) for request in (RAIN, RAIN, SNOW, RAIN)] == [
        "new 1",
        "new 1",
        "new 2",
        "new 1",
    ]
    assert len(then.asked) == 2
    replayed = Cassette(tmp_path, "none")
    assert [said(replayed(request)) for request in (SNOW, RAIN)] == ["new 2", "new 1"]


def test_all_keeps_the_newest_answer_in_its_place(tmp_path):
    """A new answer has the file of the older one to the same request."""
    path = put(tmp_path, RAIN, "old")
    cassette = Cassette(tmp_path, "all", then=Speaker())
    assert [said(cassette(RAIN)) for _ in range(3)] == ["new 1", "new 2", "new 3"]
    assert list(tmp_path.iterdir()) == [path]
    assert texts(tmp_path) == ["new 3"]


def test_all_replaces_equal_requests_in_their_order(tmp_path):
    """Of several recordings of one request each new answer takes the next one's place, then the last's."""
    for text in ("a", "b"):
        put(tmp_path, RAIN, text)
    cassette = Cassette(tmp_path, "all", then=Speaker())
    cassette(RAIN)
    assert texts(tmp_path) == ["new 1", "b"]
    cassette(RAIN)
    cassette(RAIN)
    assert texts(tmp_path) == ["new 1", "new 3"]


def test_equal_requests_are_replayed_in_their_order(tmp_path):
    """After the last recording of a request comes the last again; other requests do not count."""
    put(tmp_path, RAIN, "second", "0002-x.jsonl")
    put(tmp_path, RAIN, "tenth", "10000-x.jsonl")
    put(tmp_path, RAIN, "by hand", "0.jsonl")
    put(tmp_path, SNOW, "snow", "0003-x.jsonl")
    put(tmp_path, RAIN, "first", "0001-x.jsonl")
    cassette = Cassette(tmp_path)
    order = [said(cassette(request)) for request in (RAIN, SNOW, RAIN, RAIN, SNOW, RAIN, RAIN)]
    assert order == ["first", "snow", "second", "tenth", "snow", "by hand", "by hand"]


def test_files_are_numbered_on(tmp_path):
    """A new file follows the highest number there is; its name has a digest of the request."""
    put(tmp_path, RAIN, "old", "0041-00000000.jsonl")
    cassette = Cassette(tmp_path, "all", then=Speaker())
    for request in (SNOW, SNOW.replace(max_tokens=9), RAIN):
        cassette(request)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name[:5] for name in names] == ["0041-", "0042-", "0043-"]
    assert all(re.fullmatch(r"\d{4}-[0-9a-f]{8}\.jsonl", name) for name in names)
    assert len({name[5:] for name in names}) == 3


def test_a_number_that_another_process_took_is_passed_over(tmp_path):
    """A file that came since the cassette was opened is not written over."""
    first = Cassette(tmp_path, then=Speaker())
    second = Cassette(tmp_path, then=Speaker())
    first(RAIN)
    second(RAIN)
    assert len(texts(tmp_path)) == 2


# -- arguments -------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["", "ONCE", None, "record"])
def test_a_wrong_mode_names_the_right_ones(tmp_path, mode):
    """The error lists every mode."""
    with pytest.raises(RequestError, match=", ".join(MODES)):
        Cassette(tmp_path, mode)


@pytest.mark.parametrize(
    ("mode", "there", "works"),
    [
        ("all", True, False),
        ("new_episodes", True, False),
        ("once", False, False),
        ("once", True, True),
        ("none", True, True),
    ],
)
def test_who_records_needs_somebody_to_ask(tmp_path, mode, there, works):
    """Without a responder a cassette that may record is refused when it is opened, not at its first miss."""
    if there:
        put(tmp_path, RAIN, "old")
    if works:
        assert said(Cassette(tmp_path, mode)(RAIN)) == "old"
    else:
        with pytest.raises(RequestError, match=r"then=bedrock\(\)"):
            Cassette(tmp_path, mode)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"speed": 0}, "above 0"),
        ({"speed": -1.0}, "above 0"),
        ({"speed": float("nan")}, "above 0"),
        ({"speed": True}, "above 0"),
        ({"speed": "fast"}, "above 0"),
        ({"then": "bedrock"}, "responder"),
        ({"match": "model"}, "list of model, messages"),
        ({"match": ["modle"]}, "'modle'.*model, messages, system, inference, tools, rest"),
        ({"match": [3]}, "no matcher 3"),
    ],
)
def test_arguments_that_cannot_work_are_refused(tmp_path, settings, words):
    """Each error says what is wanted."""
    with pytest.raises(RequestError, match=words):
        Cassette(tmp_path, **{"then": Speaker(), **settings})


@pytest.mark.parametrize("folder", [None, 3, "a\0b"])
def test_what_is_no_path_is_refused(folder):
    """A folder is named by a path."""
    with pytest.raises(RequestError, match="no folder"):
        Cassette(folder, then=Speaker())


def test_a_file_is_no_cassette(tmp_path):
    """The path of one recording in place of their folder is refused."""
    path = put(tmp_path, RAIN, "old")
    with pytest.raises(RequestError, match="is a file"):
        Cassette(path, then=Speaker())


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    """The error names the folder and not where it is on this machine."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="'below' cannot be made") as caught:
        Cassette(tmp_path / "file" / "below", then=Speaker())
    assert str(tmp_path) not in str(caught.value)


def test_a_cassette_that_is_not_there_cannot_be_replayed(tmp_path):
    """A misspelt path is heard of when the cassette is opened, and no folder is left behind."""
    with pytest.raises(RequestError, match="There is no cassette 'rainbow'"):
        Cassette(tmp_path / "rainbow", "none")
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_a_folder_below(tmp_path):
    """Cassettes of one folder are kept apart by their names."""
    for name in ("rain_1", "rain-2"):
        Cassette(tmp_path, then=Speaker(), name=name)(RAIN)
    assert sorted(path.parent.name for path in tmp_path.glob("*/0001-*.jsonl")) == ["rain-2", "rain_1"]


@pytest.mark.parametrize(
    "name", ["..", ".", "", "a/b", "/etc", "A", "a" * 65, "a\n", "é", "a.b", "..\\x", "a\0", 3, "~"]
)
def test_a_name_cannot_lead_out(tmp_path, name):
    """Only small letters, digits, _ and - are names, so none is a path."""
    with pytest.raises(RequestError, match="no name of a cassette"):
        Cassette(tmp_path, then=Speaker(), name=name)


@pytest.mark.parametrize("target", ["..", "../elsewhere", "inner/deep", "/"])
def test_a_link_cannot_lead_out(tmp_path, target):
    """A link under a good name is followed only to a folder that is directly below, too."""
    folder = tmp_path / "cassettes"
    for made in (folder / "inner" / "deep", tmp_path / "elsewhere"):
        made.mkdir(parents=True)
    (folder / "link").symlink_to(target)
    with pytest.raises(RequestError, match="leads out"):
        Cassette(folder, then=Speaker(), name="link")


def test_a_cassette_says_what_it_is(tmp_path):
    """Its repr has name, number and mode, and no path of this machine."""
    put(tmp_path / "rain", RAIN, "old")
    assert repr(Cassette(tmp_path, name="rain")) == "<Cassette rain: 1 recording, mode 'once'>"
    assert repr(Cassette(tmp_path, "all", name="x", then=len)) == "<Cassette x: no recordings, mode 'all'>"


# -- matchers --------------------------------------------------------------------------------------

_TOOL = {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object"}}}}
_FULL = Request(
    model="m",
    messages=({"role": "user", "content": [{"text": "hi"}, {"image": {"source": {"bytes": b"1"}}}]},),
    system="Be brief.",
    max_tokens=7,
    temperature=1.0,
    tools=[_TOOL],
    extra={"serviceTier": {"type": "flex"}, "requestMetadata": {"who": "me"}},
)


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("model", {"model": "n"}),
        ("messages", {"prompt": "more"}),
        ("messages", {"messages": ({"role": "user", "content": [{"text": "hi"}]},)}),
        (
            "messages",
            {
                "messages": (
                    {"role": "user", "content": [{"text": "hi"}, {"image": {"source": {"bytes": b"2"}}}]},
                )
            },
        ),
        ("system", {"system": None}),
        ("system", {"system": "Be brief"}),
        ("inference", {"max_tokens": 8}),
        ("inference", {"stop": ["x"]}),
        ("inference", {"temperature": None}),
        ("tools", {"tools": None}),
        ("tools", {"tools": {"tools": [_TOOL], "toolChoice": {"any": {}}}}),
        ("rest", {"extra": {}}),
        ("rest", {"extra": {"serviceTier": {"type": "priority"}}}),
        (None, {}),
        (None, {"extra": {"serviceTier": {"type": "flex"}}}),
        (None, {"extra": {"serviceTier": {"type": "flex"}, "requestMetadata": {"who": "you"}}}),
        (None, {"system": [{"text": "Be brief."}]}),
        (None, {"temperature": 1}),
        (None, {"tools": ({**_TOOL},)}),
    ],
)
def test_a_matcher_sees_its_own_part_alone(part, changes):
    """A changed part fails its own matcher and no other; requestMetadata is of no part."""
    other = _FULL.replace(**changes)
    results = {name: matches(other, _FULL) for name, matches in MATCHERS.items()}
    assert results == {name: name != part for name in MATCHERS}
    assert {name: matches(_FULL, other) for name, matches in MATCHERS.items()} == results


def test_true_is_not_one():
    """JSON's true and 1 are different settings, although Python takes them for equal."""
    one, other = (RAIN.replace(extra={"additionalModelRequestFields": {"k": value}}) for value in (1, True))
    assert not MATCHERS["rest"](one, other)


def test_matchers_are_functions_with_names():
    """The table's names are the functions' own."""
    assert [matches.__name__ for matches in MATCHERS.values()] == list(MATCHERS)
    assert all(matches.__doc__ for matches in MATCHERS.values())


def test_match_may_leave_parts_out(tmp_path):
    """What is not compared may differ."""
    put(tmp_path, RAIN, "old")
    asked = RAIN.replace(model="another", max_tokens=5)
    with pytest.raises(Refusal):
        Cassette(tmp_path)(asked)
    assert said(Cassette(tmp_path, match=["messages", MATCHERS["system"]])(asked)) == "old"
    assert said(Cassette(tmp_path, match=[])(SNOW)) == "old"


def test_match_may_be_a_function_of_ones_own(tmp_path):
    """It is given the request that is asked and the one that was recorded, in that order."""
    put(tmp_path, RAIN, "old")
    seen = []

    def same_topic(asked: Request, was: Request) -> bool:
        seen.append((asked.conversation, was.conversation))
        return asked.conversation[0]["content"][0]["text"].split()[-1] == "rain"

    cassette = Cassette(tmp_path, match=["model", same_topic])
    assert said(cassette(RAIN.replace(prompt="Rhyme on rain"))) == "old"
    assert seen[0][1] == RAIN.conversation
    with pytest.raises(Refusal, match=r"The same is: model\. Not the same is: same_topic\."):
        cassette(SNOW)


# -- a miss ----------------------------------------------------------------------------------------


def missed(cassette: Cassette, request: Request) -> str:
    with pytest.raises(Refusal) as caught:
        cassette(request)
    return caught.value.message


def test_a_miss_is_a_small_lesson(tmp_path):
    """It says what there is, what is closest, where that differs, and what to do."""
    put(tmp_path, Request(prompt="Tell me about rainbows", model="m"), "x", "0001-aaaaaaaa.jsonl")
    put(tmp_path, Request(prompt="Count to 3", model="m"), "x", "0002-bbbbbbbb.jsonl")
    put(tmp_path, RAIN.replace(model="n", max_tokens=3), "x", "0003-cccccccc.jsonl")
    assert missed(Cassette(tmp_path), RAIN) == (
        "The cassette has no recording of this request; it has 3 recordings. "
        "The closest is 0001-aaaaaaaa.jsonl. The same is: model, system, inference, tools, rest. "
        "Not the same is: messages (messages.0.content.0.text: asked 'Tell me about rain', "
        "recorded 'Tell me about rainbows'). "
        "To compare less, open it with match=[…], a list of the parts that must be the same. "
        'To record what is missing, open it with mode="new_episodes" and then=bedrock().'
    )


def test_a_miss_in_an_empty_cassette_says_so(tmp_path):
    """There is nothing to compare with."""
    text = missed(Cassette(tmp_path, "none"), RAIN)
    assert "it has no recordings. To record" in text


@pytest.mark.parametrize(
    ("was", "asked", "words"),
    [
        (
            RAIN,
            RAIN.replace(max_tokens=5),
            'inference (inferenceConfig: asked {"maxTokens": 5}, recorded nothing)',
        ),
        (
            RAIN.replace(max_tokens=5),
            RAIN.replace(max_tokens=6),
            "inference (inferenceConfig.maxTokens: asked 6, recorded 5)",
        ),
        (
            RAIN.replace(system="Be brief."),
            RAIN,
            'system (system: asked nothing, recorded [{"text": "Be brief."}])',
        ),
        (
            RAIN.replace(prompt="a" * 500 + "b" + "c" * 500),
            RAIN.replace(prompt="a" * 500 + "d" + "c" * 500),
            f"asked …'{'a' * 20}d{'c' * 39}'…, recorded …'{'a' * 20}b{'c' * 39}'…)",
        ),
        (
            RAIN.replace(model="n", max_tokens=5),
            RAIN,
            "Not the same is: model (modelId: asked 'm', recorded 'n'); inf",
        ),
    ],
)
def test_a_miss_says_where_requests_differ(tmp_path, was, asked, words):
    """The place is named as in the request; long values are shown around their first difference."""
    put(tmp_path, was, "x")
    assert words in missed(Cassette(tmp_path), asked)


def test_a_miss_about_large_requests_is_short(tmp_path):
    """Megabytes of documents do not end up in an error."""
    content = [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": b"x" * 10**6}}}]
    other = [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": b"x" * 10**6 + b"y"}}}]
    put(tmp_path, Request(prompt=content), "x")
    text = missed(Cassette(tmp_path), Request(prompt=other))
    assert "messages.0.content.1.image.source.bytes" in text
    assert len(text) < 1000


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_miss_has_a_text(one, other):
    """Whatever two prompts are, the miss of one tells of the other, as JSON can carry it."""
    with tempfile.TemporaryDirectory() as folder:
        put(Path(folder), Request(prompt=f"x{one}"), "x")
        cassette = Cassette(folder)
        if one == other:
            assert said(cassette(Request(prompt=f"x{other}"))) == "x"
        else:
            assert "messages.0.content.0.text" in missed(cassette, Request(prompt=f"x{other}"))


# -- replay ----------------------------------------------------------------------------------------


@pytest.fixture
def timed(tmp_path) -> Recording:
    """A recording with times, saved in a cassette."""
    recording = Latency(ttft=0.25, per_token=0.5).retime(recorded(RAIN, "one two three four five"))
    recording.mark("sent", 0.125)
    recording.save(tmp_path / "timed.jsonl")
    return recording


@pytest.mark.parametrize("speed", [1, 10, 0.5])
def test_a_replay_has_the_recorded_times(tmp_path, timed, speed):
    """At another speed each is divided by it."""
    replayed = play(Cassette(tmp_path, speed=speed))
    assert isinstance(replayed, Recording)
    assert list(replayed) == list(timed)
    assert list(replayed.times) == pytest.approx([t / speed for t in timed.times], abs=1e-6)
    assert replayed.marks == {"sent": 0.125 / speed}


def test_a_replay_at_once_has_no_pace(tmp_path, timed):
    """All events are due at one moment, and the server's own latency law leaves them there."""
    replayed = play(Cassette(tmp_path, speed=float("inf")))
    assert list(replayed) == list(timed)
    assert len(set(replayed.times)) == 1
    assert max(replayed.times) < 1e-6
    assert is_timed(replayed)


def test_an_answer_without_times_stays_without(tmp_path):
    """The server's latency law then gives it some, as if it had not been on a cassette."""
    put(tmp_path, RAIN, "old")
    assert not is_timed(Cassette(tmp_path, speed=3)(RAIN))


def test_a_replay_is_a_copy(tmp_path, timed):
    """What is done to one replay is not seen in the next."""
    cassette = Cassette(tmp_path)
    first = play(cassette)
    first.append(TextDelta(0, "more"), 9.0)
    first.request["modelId"] = "changed"
    assert list(cassette(RAIN)) == list(timed)
    assert said(cassette(RAIN)) == timed.text


def test_a_fault_of_the_service_is_replayed(tmp_path):
    """It was in the stream, so it is in the replay."""
    fault = StreamFault(ThrottlingFault("throttlingException", "Slow down"))
    recording = _ended(fault)
    recording.save(tmp_path / "x.jsonl")
    assert list(Cassette(tmp_path)(RAIN)) == [MessageStart("assistant"), TextDelta(0, "It"), fault]


def test_an_answer_that_broke_off_breaks_off_again(tmp_path):
    """What the client noted about the end was never on the wire: the replay ends where the answer ended."""
    recording = _ended(StreamFault(IncompleteStreamError("The reply ended.")))
    recording.status = "incomplete"
    recording.save(tmp_path / "x.jsonl")
    replayed = play(Cassette(tmp_path))
    assert list(replayed) == [MessageStart("assistant"), TextDelta(0, "It")]
    assert replayed.status == "incomplete"


def test_a_refusal_that_was_recorded_is_given_again(tmp_path):
    """Status, name and words are the service's."""
    recording = Recording(RAIN.to_kwargs())
    recording.append(StreamFault(ThrottlingError("ThrottlingException", "Too many", 429)), 0.5)
    recording.status = "error"
    recording.save(tmp_path / "x.jsonl")
    with pytest.raises(Refusal) as caught:
        Cassette(tmp_path)(RAIN)
    assert (caught.value.status, caught.value.code) == (429, "ThrottlingException")
    assert caught.value.message == "Too many"


def _ended(last: Event) -> Recording:
    recording = Recording(RAIN.to_kwargs())
    for t, event in enumerate([MessageStart("assistant"), TextDelta(0, "It"), last]):
        recording.append(event, t / 8)
    recording.status = "error"
    return recording


# -- files that are not as they should be ----------------------------------------------------------

_SOUND = recorded(RAIN, "some words that are sound")


def _bytes(change: Callable[[bytes], bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return change(_SOUND.save(Path(folder) / "x.jsonl").read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"\x00" * 100,
        b"not JSON",
        b"[]\n",
        b"null\n",
        b'{"format": "another"}\n',
        b"[" * 100_000,
        _bytes(lambda data: data[: len(data) // 2]),
        _bytes(lambda data: data[: data.rindex(b'{"end"')]),
        _bytes(lambda data: data[:-2]),
        _bytes(lambda data: data.replace(b"sound", b"found")),
        _bytes(lambda data: data + b"{}\n"),
        _bytes(lambda data: data.replace(b'"modelId":"m",', b"").rpartition(b'{"end"')[0]),
    ],
)
def test_a_file_that_is_no_sound_recording_is_named(tmp_path, content):
    """A cassette with a damaged file is not opened, and the error says which file it is."""
    put(tmp_path, SNOW, "fine")
    (tmp_path / "odd one.jsonl").write_bytes(content)
    with pytest.raises(RecordingError, match=r"'odd one\.jsonl'") as caught:
        Cassette(tmp_path)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    "request_",
    [
        None,
        {},
        {"modelId": "m"},
        {"modelId": "m", "messages": 3},
        {"modelId": "m", "messages": [3]},
        {"modelId": 3, "messages": []},
        {"modelId": "m", "messages": [{"role": "user", "content": []}], "inferenceConfig": 3},
        {"modelId": "m", "messages": [{"role": "user", "content": []}], "system": 3},
        {"modelId": "m", "messages": [{"role": "user", "content": []}], "toolConfig": 3},
    ],
)
def test_a_recording_without_its_request_is_named(tmp_path, request_):
    """Nothing could ever be like it, so it is an error when the cassette is opened."""
    recording = Recording(request_)
    recording.append(MessageStop("end_turn"), 0.0)
    recording.status = "complete"
    recording.save(tmp_path / "odd.jsonl")
    with pytest.raises(RecordingError, match=r"'odd\.jsonl' does not say what was asked"):
        Cassette(tmp_path)


def test_other_files_are_left_alone(tmp_path):
    """Only files with the ending of recordings are read: no folders, pipes, notes or half-written files."""
    put(tmp_path, RAIN, "old")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".recording.jsonl").write_text("x")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    assert len(Cassette(tmp_path)) == 1


# -- recording -------------------------------------------------------------------------------------


def test_events_are_passed_on_as_they_come(tmp_path):
    """An event is the client's before the next one is made, and the file is there with the last."""
    made: list[str] = []

    def slowly(request: Request) -> Iterator[Event]:
        for event in recorded(request, "a b c d e f g h"):
            made.append(type(event).__name__)
            yield event

    answer = iter(Cassette(tmp_path, then=slowly)(RAIN))
    for number, _ in enumerate(answer, 1):
        assert len(made) == number
        assert texts(tmp_path) == []
    assert texts(tmp_path) == ["a b c d e f g h"]


def test_times_are_those_of_arrival(tmp_path):
    """Where the answer brings no recording, the cassette's clock says when each event came."""
    ticks = iter([100.0, 100.5, 101.0, 101.25])
    events: list[Event] = [MessageStart("assistant"), TextDelta(0, "x"), MessageStop("end_turn")]
    cassette = Cassette(tmp_path, then=lambda _: iter(events), clock=lambda: next(ticks))
    assert list(cassette(RAIN)) == events
    replayed = play(Cassette(tmp_path, "none"))
    assert list(replayed.times) == [0.5, 1.0, 1.25]
    assert list(replayed) == events


class Source:
    """An answer that notices whether it was closed, also before its first event."""

    def __init__(self, events: list[Any]) -> None:
        self._events = iter(events)
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        event = next(self._events)
        if isinstance(event, Exception):
            raise event
        return event

    def close(self) -> None:
        self.closed += 1


WHOLE = list(recorded(RAIN, "a b c"))


@pytest.mark.parametrize("taken", [0, 1, len(WHOLE) - 1])
def test_an_answer_that_the_client_leaves_is_not_kept(tmp_path, taken, caplog):
    """The source is closed, and there is no file."""
    caplog.set_level(logging.INFO, "bedrock_nb.server")
    source = Source(WHOLE)
    answer = play(Cassette(tmp_path, then=lambda _: source))
    for _ in range(taken):
        next(answer)
    answer.close()
    assert source.closed == 1
    assert list(tmp_path.iterdir()) == []
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "the client has gone" in caplog.text


def test_an_answer_that_came_whole_is_kept_if_the_client_leaves_then(tmp_path):
    """Many a client goes after the metadata, and does not wait for the end of the stream."""
    source = Source(WHOLE)
    answer = play(Cassette(tmp_path, then=lambda _: source))
    assert [next(answer) for _ in WHOLE] == WHOLE
    answer.close()
    assert source.closed == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_generator_is_closed_when_it_has_come_to_a_stop(tmp_path):
    """Closing from another thread waits for the event that is being made, and then ends the generator."""
    reached, go_on, closed = threading.Event(), threading.Event(), threading.Event()

    def slowly(_: Request) -> Iterator[Event]:
        try:
            yield WHOLE[0]
            reached.set()
            go_on.wait(LIMIT)
            yield WHOLE[1]
        finally:
            closed.set()

    answer = play(Cassette(tmp_path, then=slowly))
    next(answer)
    with ThreadPoolExecutor(2) as threads:
        second = threads.submit(next, answer)
        assert reached.wait(LIMIT)
        closing = threads.submit(answer.close)
        assert not closed.is_set()
        go_on.set()
        assert second.result(LIMIT) == WHOLE[1]
        closing.result(LIMIT)
    assert closed.is_set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "events",
    [
        [],
        WHOLE[:2],
        [*WHOLE[:2], StreamFault(ThrottlingFault("throttlingException", "Slow down"))],
        [*WHOLE[:2], "no event", *WHOLE[2:]],
    ],
    ids=["empty", "cut", "fault", "no event"],
)
def test_an_answer_that_is_not_whole_is_not_kept(tmp_path, events, caplog):
    """It goes to the client as it is, the log says that it is not kept, and the next request asks again."""
    caplog.set_level(logging.INFO, "bedrock_nb.server")
    cassette = Cassette(tmp_path, then=lambda _: Source(events))
    assert list(cassette(RAIN)) == events
    assert list(cassette(RAIN)) == events
    assert list(tmp_path.iterdir()) == []
    assert len(caplog.records) == 2
    assert len(cassette) == 0


def test_an_answer_that_fails_is_not_kept(tmp_path, caplog):
    """What the responder raises goes on to the server."""
    caplog.set_level(logging.INFO, "bedrock_nb.server")
    answer = play(Cassette(tmp_path, then=lambda _: Source([*WHOLE, KeyError("secret")])))
    with pytest.raises(KeyError):
        list(answer)
    assert list(tmp_path.iterdir()) == []
    assert "KeyError" in caplog.text
    assert "secret" not in caplog.text


def test_a_refusal_of_the_responder_is_passed_on(tmp_path):
    """Nothing is recorded, and the same request asks again."""

    def refuse(_: Request) -> Recording:
        raise Refusal(429, "ThrottlingException", "Too many")

    cassette = Cassette(tmp_path, then=refuse)
    for _ in range(2):
        with pytest.raises(Refusal, match="Too many"):
            cassette(RAIN)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_answer_is_passed_on(tmp_path):
    """The server says what it thinks of it."""
    nothing: Any = 3
    assert play(Cassette(tmp_path, then=lambda _: nothing)) == 3


def test_a_whole_recording_is_saved_as_it_is(tmp_path):
    """Its times, labels and marks are kept; it is itself given to the server, unchanged."""
    made = Latency(ttft=0.25, per_token=0.5).retime(recorded(RAIN, "one two three"))
    made.labels["run"] = 3
    made.request, made.status = {"modelId": "elsewhere"}, "streaming"
    assert Cassette(tmp_path, then=lambda _: made)(RAIN) is made
    assert (made.request, made.status) == ({"modelId": "elsewhere"}, "streaming")
    again = play(Cassette(tmp_path, "none"))
    assert list(again) == list(made)
    assert list(again.times) == pytest.approx(list(made.times), abs=1e-6)
    assert (again.labels, again.status, again.request) == ({"run": 3}, "complete", RAIN.to_kwargs())


@pytest.mark.parametrize("streams", [False, True])
def test_a_disk_that_fails_costs_the_file_and_not_the_answer(tmp_path, caplog, streams):
    """The client gets its answer, and the log a warning that does not say where the folder is."""
    folder = tmp_path / "gone"
    cassette = Cassette(folder, then=Speaker(streams=streams))
    folder.rmdir()
    assert said(cassette(RAIN)) == "new 1"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert str(tmp_path) not in caplog.text
    assert len(cassette) == 0


_RECORDABLE = st.one_of(*(kind for name, kind in BY_KIND.items() if name not in (Seam, StreamFault)))


@given(
    st.lists(st.tuples(_RECORDABLE, st.integers(0, 10**6)), max_size=12),
    st.sampled_from([1.0, 4.0]),
)
def test_what_was_recorded_is_what_is_replayed(rows, speed):
    """Any events that end in a messageStop come again, at the times at which they came, from the file."""
    rows = [*rows, (MessageStop("end_turn"), 1000)]
    now = [0]

    def told(_: Request) -> Iterator[Event]:
        for event, pause in rows:
            now[0] += pause
            yield event

    with tempfile.TemporaryDirectory() as folder:
        cassette = Cassette(folder, then=told, clock=lambda: now[0] / 10**6)
        events = list(cassette(RAIN))
        assert events == [event for event, _ in rows]
        for replays in (cassette, Cassette(folder, "none", speed=speed)):
            replayed = play(replays)
            assert list(replayed) == events
            due, begun = [], 0
            for _, pause in rows:
                begun += pause
                due.append(begun / 10**6 / replays.speed)
            assert list(replayed.times) == pytest.approx(due, abs=1e-9)


# -- several at once -------------------------------------------------------------------------------


def test_equal_requests_that_miss_at_once_are_all_asked_and_kept(tmp_path):
    """Nobody waits for another's answer, and no file is written over another."""
    several = 8
    together = threading.Barrier(several, timeout=LIMIT)

    def then(request: Request) -> Iterator[Event]:
        number = together.wait()  # all have missed before any answers
        events = list(recorded(request, f"answer {number}"))
        together.wait()  # and all are written at once
        return iter(events)

    cassette = Cassette(tmp_path, "new_episodes", then=then)
    with ThreadPoolExecutor(several) as threads:
        got = list(threads.map(lambda _: said(cassette(RAIN)), range(several)))
    assert sorted(got) == sorted(texts(tmp_path)) == [f"answer {i}" for i in range(several)]
    assert len(cassette) == several
    reopened = Cassette(tmp_path, "none")
    assert [said(reopened(RAIN)) for _ in range(several)] == texts(tmp_path)


def test_different_requests_at_once_do_not_mix(tmp_path):
    """Each gets its own answer and its own file, while others are replayed."""
    put(tmp_path, SNOW, "snow")
    several = 8
    together = threading.Barrier(2 * several, timeout=LIMIT)

    def then(request: Request) -> Recording:
        return recorded(request, f"limit {request.max_tokens}")

    cassette = Cassette(tmp_path, "new_episodes", then=then)

    def ask(number: int) -> str:
        together.wait()
        return said(cassette(RAIN.replace(max_tokens=100 + number // 2) if number % 2 else SNOW))

    with ThreadPoolExecutor(2 * several) as threads:
        got = list(threads.map(ask, range(2 * several)))
    assert got == [f"limit {100 + i // 2}" if i % 2 else "snow" for i in range(2 * several)]
    assert len(texts(tmp_path)) == several + 1


def test_equal_requests_at_once_share_the_recordings_out(tmp_path):
    """Each of several recordings is given once before the last is given again."""
    for text in "abcdefgh":
        put(tmp_path, RAIN, text)
    cassette = Cassette(tmp_path)
    together = threading.Barrier(8, timeout=LIMIT)

    def ask(_: int) -> str:
        together.wait()
        return said(cassette(RAIN))

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(ask, range(8))) == list("abcdefgh")


# -- from the wire to a cassette and back ----------------------------------------------------------

KEY, SECRET, TOKEN = "AKIAMARKEDKEY0000001", "marked-secret-5f1c", "marked-session-token-9d2e"


@pytest.fixture
def upstream(wire) -> Iterator[Any]:
    """A client for the scripted upstream, with credentials that can be recognised."""
    made = loopback_client(
        wire.url,
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        aws_session_token=TOKEN,
        config=Config(retries={"total_max_attempts": 1}),
    )
    yield made
    made.close()


@pytest.fixture
def taped(tmp_path, wire, upstream) -> Path:
    """A cassette on which an answer of the scripted upstream is recorded."""
    wire.lay(answer(GOOD))
    got = play(Cassette(tmp_path, then=bedrock(upstream)))
    assert said(got) == GOOD_TEXT
    return tmp_path


def test_no_credential_is_ever_in_a_file(taped, wire):
    """The request carried key, token and signature; nothing of them, and no header, is on the cassette."""
    (sent,) = wire.requests
    signature = re.search(rb"Signature=([0-9a-f]{64})", sent)
    assert signature is not None
    secrets = [KEY, SECRET, TOKEN, signature[1].decode(), "authorization", "x-amz-", "aws4", "credential"]
    assert KEY.encode() in sent
    assert TOKEN.encode() in sent
    (path,) = taped.iterdir()
    text = (path.name + path.read_bytes().decode()).lower()
    assert [secret for secret in secrets if secret.lower() in text] == []
    assert path.stat().st_mode & 0o077 == 0


def test_account_numbers_are_in_no_file_and_do_not_count(tmp_path):
    """A profile's ARN is masked in name and content, and another account replays what one has recorded."""
    arn = "arn:aws:bedrock:us-east-1:{}:application-inference-profile/abc"
    guardrail = "arn:aws:bedrock:us-east-1:{}:guardrail/g"
    requests = [
        Request(
            model=arn.format(account),
            prompt=[
                {"text": "My number is 555555555555"},
                {
                    "image": {
                        "format": "png",
                        "source": {"s3Location": {"uri": "s3://b/k", "bucketOwner": account}},
                    }
                },
            ],
            extra={"guardrailConfig": {"guardrailIdentifier": guardrail.format(account)}},
        )
        for account in ("111122223333", "444455556666")
    ]
    asked = []

    def then(request: Request) -> Recording:
        asked.append(request)
        return recorded(RAIN, "new 1")

    cassette = Cassette(tmp_path, then=then)
    assert said(cassette(requests[0])) == "new 1"
    assert asked == [requests[0]]  # whoever is asked is asked for the real one
    (path,) = tmp_path.iterdir()
    content = path.read_text()
    assert "111122223333" not in path.name + content
    assert "555555555555" in content  # what a user writes is not touched
    assert said(Cassette(tmp_path, "none")(requests[1])) == "new 1"


def test_the_recording_of_the_wire_is_kept(taped):
    """Times and envelope are those that the client of the upstream measured."""
    replayed = play(Cassette(taped, "none"))
    assert replayed.clock == "wire"
    assert is_timed(replayed)
    assert replayed.envelope["http_status"] == 200
    assert replayed.envelope["request_id"] == "7d0f5a90-0000-4000-8000-000000000000"


@pytest.mark.parametrize("reopened", [False, True])
def test_an_exact_replay_has_the_frames_of_the_wire(tmp_path, wire, upstream, reopened):
    """Byte for byte what the upstream sent, from memory and from the file."""
    wire.lay(answer(GOOD))
    cassette = Cassette(tmp_path, then=bedrock(upstream), exact=True)
    said(cassette(RAIN))
    replayed = play(Cassette(tmp_path, "none", exact=True) if reopened else cassette)
    assert replayed.body == b"".join(GOOD)
    steps = exact_steps(replayed)
    assert steps is not None
    assert [step.data for step in steps] == [b"", *GOOD]


def test_a_replay_that_is_not_exact_has_events_alone(taped):
    """Frames are made anew from equal events."""
    replayed = play(Cassette(taped, "none"))
    assert replayed.body is None
    assert said(replayed) == GOOD_TEXT


def test_exact_does_without_frames_where_there_are_none(tmp_path):
    """A recording that never was on a wire is replayed by its events."""
    put(tmp_path, RAIN, "old")
    replayed = play(Cassette(tmp_path, exact=True))
    assert replayed.body is None
    assert said(replayed) == "old"


@pytest.mark.parametrize("ending", ["clean", "reset", "fin"])
def test_an_answer_of_the_service_that_breaks_off_is_not_kept(tmp_path, wire, upstream, ending):
    """The client sees it break off; the cassette forgets it and asks again."""
    wire.lay(answer(GOOD[:7], ending=ending), answer(GOOD))
    cassette = Cassette(tmp_path, then=bedrock(upstream))
    assert len(list(cassette(RAIN))) == 7
    assert list(tmp_path.iterdir()) == []
    assert said(cassette(RAIN)) == GOOD_TEXT
    assert len(texts(tmp_path)) == 1


def test_the_upstream_is_left_when_the_client_goes(tmp_path, wire, upstream):
    """Closing the answer closes the connection behind it."""
    never = threading.Event()
    wire.lay(answer(GOOD, gates={2: never}))
    got = play(Cassette(tmp_path, then=bedrock(upstream)))
    next(got)
    got.close()
    never.set()
    assert wire.wait_until_open(0)
    assert list(tmp_path.iterdir()) == []


def test_a_cassette_may_be_the_upstream_of_another(tmp_path, taped):
    """A recording that is replayed exactly can be recorded exactly: copies are no worse."""
    copy = Cassette(tmp_path / "copy", then=Cassette(taped, "none", exact=True), exact=True)
    copy(RAIN)
    again = play(Cassette(tmp_path / "copy", "none", exact=True))
    assert again.body == b"".join(GOOD)


# -- through a server ------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[[Cassette], BedrockServer]]:
    """Servers that answer from a cassette."""
    with contextlib.ExitStack() as running:
        yield lambda tape: running.enter_context(BedrockServer(tape, latency=Latency.none()))


@contextlib.contextmanager
def posted(server: BedrockServer) -> Iterator[http.client.HTTPResponse]:
    """Ask about rain, with nothing between: the response, whose head has come; hang up afterwards."""
    connection = http.client.HTTPConnection(urlsplit(server.endpoint_url).netloc, timeout=LIMIT)
    kwargs = RAIN.to_kwargs()
    path = f"/model/{kwargs.pop('modelId')}/converse-stream"
    connection.request("POST", path, json.dumps(kwargs), {"Content-Type": "application/json"})
    yield connection.getresponse()
    connection.close()


def test_a_server_replays_the_bytes_of_the_wire(tmp_path, wire, upstream, serve):
    """What a client reads from an exact replay is, to the byte, what the upstream sent."""
    wire.lay(answer(GOOD))
    server = serve(Cassette(tmp_path, then=bedrock(upstream), exact=True, speed=float("inf")))
    with posted(server) as response:
        response.read()
    with posted(server) as response:
        assert response.read() == b"".join(GOOD)
    assert len(wire.requests) == 1


def test_a_server_keeps_no_credential(tmp_path, wire, upstream, serve):
    """Neither what a client signs with nor what the upstream's client signs with gets onto the cassette."""
    wire.lay(answer(GOOD))
    server = serve(Cassette(tmp_path, then=bedrock(upstream)))
    theirs = ("AKIAOFTHECLIENT00001", "secret-of-the-client-77", "token-of-the-client-78")
    client = server.client(
        aws_access_key_id=theirs[0], aws_secret_access_key=theirs[1], aws_session_token=theirs[2]
    )
    assert nb.stream(client, RAIN).text == GOOD_TEXT
    client.close()
    (path,) = tmp_path.iterdir()
    found = [text for text in (*theirs, KEY, SECRET, TOKEN, "uthorization") if text in path.read_text()]
    assert found == []


def test_a_client_that_leaves_a_server_leaves_the_upstream(tmp_path, wire, upstream, serve):
    """The connection to the upstream is closed when that of the client is, in the middle of an answer."""
    rest, closed = threading.Event(), threading.Event()

    class Watched(Forwarded):
        def close(self) -> None:
            super().close()
            closed.set()

    wire.lay(answer(GOOD, gates={2: rest}))
    server = serve(Cassette(tmp_path, then=lambda request: Watched(nb.stream(upstream, request))))
    with posted(server) as response:
        response.read(1)
    assert closed.wait(LIMIT)
    rest.set()
    assert wire.wait_until_open(0)
    assert list(tmp_path.iterdir()) == []


def test_a_client_of_a_server_reads_the_lesson_of_a_miss(tmp_path, serve):
    """boto3 raises its own class for it, with the text in it; it is not asked again."""
    put(tmp_path, SNOW, "snow")
    server = serve(Cassette(tmp_path))
    client = server.client()
    with pytest.raises(ResourceNotFoundError, match=r"snow\.jsonl.*asked 'Tell me about rain'"):
        nb.stream(client, RAIN)
    client.close()
