"""Faults on demand, seen from the other end of a socket: what comes, in which order, and how it ends."""

from __future__ import annotations

import inspect
import json
import logging
import math
import re
import socket
import struct
import threading
from dataclasses import FrozenInstanceError
from functools import reduce
from operator import or_
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zlib import crc32

import pytest
from botocore.config import Config
from botocore.eventstream import ChecksumMismatch, InvalidPayloadLength
from botocore.exceptions import ClientError, ConnectionClosedError, EventStreamError, ReadTimeoutError
from urllib3.exceptions import ProtocolError

from bedrock_nb.errors import FrameError, RequestError
from bedrock_nb.events import MessageStart, TextDelta
from bedrock_nb.eventstream import Frame, FrameDecoder, encode
from bedrock_nb.recording import Recording
from bedrock_nb.server import INSTANT, BedrockServer, Latency, faults
from bedrock_nb.server.fault import FAULTS, Fault
from bedrock_nb.server.strike import later

WEATHER = {"name": "get_weather", "inputSchema": {"json": {"properties": {"city": {"type": "string"}}}}}
#: A request whose reply has every kind of place: text, a tool's input, the marks between.
ASK: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"text": "What is the weather in Rome?"}]}],
    "toolConfig": {"tools": [{"toolSpec": WEATHER}]},
}
SILENCE = 0.2  # seconds after which nothing more is taken to come
ONCE = Config(retries={"total_max_attempts": 1}, read_timeout=1.0)


class Seen(NamedTuple):
    """A response as it came over the socket."""

    head: bytes
    chunks: list[bytes]  # the body, by chunks of HTTP
    ending: str  # end: as HTTP demands; fin, reset: of the connection; silence

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def frames(self) -> list[Frame]:
        decoder = FrameDecoder()
        frames = decoder.receive_data(self.body)
        decoder.receive_eof()
        return frames


def connect(server: BedrockServer, operation: str = "converse-stream", room: int = 0) -> socket.socket:
    """Ask over a socket of our own; ``room`` is the size of its buffer."""
    address = urlsplit(server.endpoint_url)
    connection = socket.socket()
    if room:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    connection.settimeout(10)
    connection.connect((address.hostname, address.port))
    data = json.dumps(ASK).encode()
    head = f"POST /model/m/{operation} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return connection


def read(connection: socket.socket, before: bytes | None = None) -> Seen:
    """Read until the response ends, however it does; ``before`` comes before a silence, whenever it does."""
    data, ending = bytearray(), "end"
    with connection:
        while not complete(data):
            connection.settimeout(10 if before is None or before not in data else SILENCE)
            try:
                piece = connection.recv(2**16)
            except TimeoutError:
                ending = "silence"
                break
            except ConnectionResetError:
                ending = "reset"
                break
            if not piece:
                ending = "fin"
                break
            data += piece
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    return (
        Seen(head, chunks(body) if b"chunked" in head else [body], ending) if head else Seen(b"", [], ending)
    )


def complete(data: bytearray) -> bool:
    """Whether a response has ended as HTTP demands."""
    head, found, _ = data[:500].partition(b"\r\n\r\n")
    if b"Content-Length: " in head:
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        return len(data) == len(head + found) + length
    return data.endswith(b"\r\n0\r\n\r\n")


def chunks(data: bytes) -> list[bytes]:
    """The chunks in what came of a body; each is whole."""
    pieces, at = [], 0
    while at < len(data) and (size := int(data[at : (line := data.index(b"\r\n", at))], 16)):
        pieces.append(data[line + 2 : line + 2 + size])
        at = line + 4 + size
        assert data[at - 2 : at] == b"\r\n", "a chunk was cut"
    return pieces


def get(
    server: BedrockServer, fault: Any, operation: str = "converse-stream", before: bytes | None = None
) -> Seen:
    """A response with a fault."""
    with server.fault(fault):
        return read(connect(server, operation), before)


@pytest.fixture(scope="module")
def sound(server) -> list[bytes]:
    """The frames of the reply without a fault."""
    frames = get(server, None).frames
    assert [frame.headers[":event-type"] for frame in frames[-2:]] == ["messageStop", "metadata"]
    return [encode(frame) for frame in frames]


@pytest.fixture
def client(server):
    made = server.client(config=ONCE)
    yield made
    made.close()


def stream(client) -> list[dict]:
    events = client.converse_stream(modelId="m", **ASK)["stream"]
    try:
        return list(events)
    finally:
        events.close()


#: A call for every fault, with a place inside of the reply. What comes after its head is for streams only.
CALLS = {
    "refuse": "refuse:429",
    "exception": "exception:throttlingException,after=3",
    "error": "error:Overloaded,after=3",
    "reset": "reset:after=3",
    "cut": "cut:after=3",
    "end": "end:after=3",
    "hang_up": "hang_up",
    "stall": "stall:after=3,seconds=0.01",
    "drip": "drip:interval=0.0001,size=50,after=3",
    "split": "split:7",
    "slow_head": "slow_head:0.01",
    "no_head": "no_head",
    "flip": "flip:byte=300,bit=2",
    "bad_crc": "bad_crc:after=3",
    "huge_prelude": "huge_prelude:after=3",
    "unknown_event": "unknown_event:after=3",
    "unknown_delta": "unknown_delta:after=2",
    "unknown_header": "unknown_header:after=3",
    "bad_json": "bad_json:after=3",
    "bad_utf8": "bad_utf8:after=3",
    "bad_tool_input": "bad_tool_input",
    "duplicate": "duplicate:after=3",
    "missing": "missing:after=3",
}
BEFORE_THE_HEAD = {"refuse", "hang_up", "slow_head", "no_head"}
ENDINGS = {"reset": "reset", "cut": "fin", "end": "end"}


# -- the connection --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("after", [0, 1, 4, -1])
def test_a_reply_ends_after_whole_events(server, sound, name, after):
    """So many events come, every byte of them, and then the ending that was asked for."""
    after %= len(sound) + 1
    seen = get(server, FAULTS[name](after=after))
    assert (seen.ending, seen.frames) == (
        ENDINGS[name],
        [FrameDecoder().receive_data(f)[0] for f in sound[:after]],
    )
    assert seen.head.startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("byte", [0, 1, 250, -2, -1])
def test_a_reply_ends_after_bytes(server, sound, name, byte):
    """So many bytes of the body come, and then the ending that was asked for."""
    body = b"".join(sound)
    byte %= len(body) + 1
    seen = get(server, FAULTS[name](byte=byte))
    assert (seen.ending, seen.body) == (ENDINGS[name], body[:byte])


@pytest.mark.parametrize("name", ENDINGS)
def test_what_was_sent_before_a_long_reply_ends_does_arrive(name):
    """Megabytes that a slow reader has not fetched yet are not lost by the ending."""

    def long(request):
        recording = Recording(request.to_kwargs())
        recording.append(MessageStart("assistant"), 0.0)
        for _ in range(40):
            recording.append(TextDelta(0, "word " * 10_000), 0.0)
        return recording

    with BedrockServer(long, latency=INSTANT, faults=FAULTS[name](after=30)) as server:
        seen = read(connect(server, room=4096))
    assert (seen.ending, len(seen.frames)) == (ENDINGS[name], 30)


def test_a_hung_up_call_has_no_answer(server):
    """The connection is closed, in good order for TCP, and not a byte came before."""
    assert get(server, faults.hang_up()) == Seen(b"", [], "fin")


def test_the_server_says_nothing_of_connections_it_ends(server, sound, caplog):
    """No ending is worth a line in anybody's log, and none troubles the event loop."""
    caplog.set_level(logging.DEBUG)
    for fault in (
        faults.reset(after=2),
        faults.cut(after=2),
        faults.hang_up(),
        faults.slow_head(0) | faults.reset(),
    ):
        get(server, fault)
        get(server, fault, "converse")
    assert get(server, None).body == b"".join(sound)
    ours = ("bedrock_nb", "aiohttp", "asyncio")
    assert [r for r in caplog.records if r.name.split(".")[0] in ours and r.levelno > logging.DEBUG] == []


# -- time ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 3, -1])
def test_a_stall_is_silence_after_whole_events(server, sound, after):
    """What came before it came at once; then nothing does, not even the end."""
    after %= len(sound) + 1
    seen = get(server, faults.stall(after=after), before=sound[after - 1] if after else b"\r\n\r\n")
    assert (seen.ending, seen.body) == ("silence", b"".join(sound[:after]))


def test_a_stall_may_come_inside_an_event(server, sound):
    """The first bytes of an event are there, the others are not."""
    seen = get(server, faults.stall(byte=len(sound[0]) + 5), before=sound[1][:5])
    assert (seen.ending, seen.body) == ("silence", sound[0] + sound[1][:5])


@pytest.mark.parametrize("fault", [faults.slow_head(60), faults.no_head()])
@pytest.mark.parametrize("operation", ["converse", "converse-stream"])
def test_a_head_may_be_late_or_never_come(server, fault, operation):
    """The connection is open, and nothing is heard, of neither operation."""
    assert get(server, fault, operation, before=b"") == Seen(b"", [], "silence")


@pytest.mark.parametrize(
    "text", ["stall:after=3,seconds=0.01", "slow_head:0.01", "drip:0.0001,9", "split:1", "split:99999"]
)
def test_what_takes_longer_is_whole_in_the_end(server, sound, text):
    """A reply that is late, or comes in pieces, is the same reply."""
    seen = get(server, faults.parse(text))
    assert (seen.ending, seen.body) == ("end", b"".join(sound))


@pytest.mark.parametrize("size", [1, 10, 10_000])
def test_split_makes_each_piece_a_chunk_of_http(server, sound, size):
    """Every frame is cut by itself: no piece has bytes of two."""
    expected = [frame[at : at + size] for frame in sound for at in range(0, len(frame), size)]
    assert get(server, faults.split(size)).chunks == expected


def test_drip_cuts_what_comes_after_some_events(server, sound):
    """The events before it are whole, and every piece after them is at most so large."""
    pieces = get(server, faults.drip(interval=0.0001, size=20, after=2)).chunks
    assert pieces[0] == sound[0] + sound[1]
    assert {len(piece) for piece in pieces[1:-1]} > {20}
    assert max(map(len, pieces[1:])) == 20


def noting(begun: threading.Event, gone: threading.Event) -> Fault:
    """A fault that does nothing, and notes when its reply is begun, and when it is over or given up."""

    def change(steps):
        begun.set()
        try:
            yield from steps
        finally:
            gone.set()

    return Fault("noting", change)


@pytest.mark.parametrize("fault", [faults.stall(after=2), faults.drip(interval=60), faults.no_head()])
def test_a_client_that_goes_away_ends_a_silence(server, fault):
    """Nobody goes on performing for a connection that its client has closed."""
    begun, gone = threading.Event(), threading.Event()
    with server.fault(fault | noting(begun, gone)):
        connection = connect(server)
        assert begun.wait(30)
        read(connection, before=b"")
        assert gone.wait(30)


@pytest.mark.parametrize("fault", [faults.stall(after=2), faults.drip(interval=60), faults.no_head()])
def test_closing_a_server_does_not_wait_for_a_silence(fault):
    """A server closes while a reply of it would go on for ever."""
    begun = threading.Event()
    with BedrockServer(latency=INSTANT, faults=fault | noting(begun, threading.Event())) as server:
        seen = connect(server)
        assert begun.wait(30)
        seen.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            list(iter(lambda: seen.recv(65536), b""))
    seen.close()


# -- the service says no ---------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
        (429, "ThrottlingException"),
        (500, "InternalServerException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_a_refused_call_is_the_services_error(server, client, operation, status, code):
    """boto3 raises its own exception for each status, with a message, for both operations."""
    with server.fault(faults.refuse(status)), pytest.raises(getattr(client.exceptions, code)) as caught:
        getattr(client, operation)(modelId="m", **ASK)
    error = caught.value.response
    assert (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)
    assert error["Error"]["Message"].endswith(".")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "ServiceQuotaExceededException", None),
        (429, "ModelNotReadyException", "Loading."),
        (502, "BadGateway", "No “route”."),
        (404, "ResourceNotFoundException", ""),
    ],
)
def test_a_refusal_may_have_a_code_and_words_of_its_own(server, status, code, message):
    """Any status goes with any code; the form is the service's."""
    seen = get(server, faults.refuse(status, code, message))
    assert seen.head.startswith(f"HTTP/1.1 {status} ".encode())
    assert f"x-amzn-ErrorType: {code}:".encode() in seen.head
    body = json.loads(seen.body)
    assert set(body) == {"message"}
    assert message is None or body["message"] == message


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("throttlingException", {}),
        ("modelStreamErrorException", {"originalStatusCode": 503, "originalMessage": "gone"}),
        ("internalServerException", {}),
        ("validationException", {}),
        ("serviceUnavailableException", {}),
        ("teapotException", {"teapot": "short"}),
    ],
)
@pytest.mark.parametrize("after", [0, 3])
def test_an_exception_frame_ends_the_reply(server, sound, name, fields, after):
    """The events before it are whole, it has its name and its words, and HTTP ends in good order."""
    seen = get(server, faults.exception(name, after=after, message="Because.", **fields))
    *before, last = seen.frames
    assert [encode(frame) for frame in before] == sound[:after]
    assert last.headers == {
        ":exception-type": name,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    assert json.loads(last.payload) == {"message": "Because.", **fields}
    assert seen.ending == "end"


def test_boto3_raises_what_an_exception_frame_says(server, client):
    """Without words of ours there are such as the service has, and all the members of its shape."""
    for name in ("throttlingException", "modelStreamErrorException", "validationException"):
        with (
            server.fault(faults.exception(name, after=2)),
            pytest.raises(EventStreamError, match=name) as caught,
        ):
            stream(client)
        assert caught.value.response["Error"]["Message"]
    seen = get(server, faults.exception("modelStreamErrorException"))
    assert set(json.loads(seen.frames[0].payload)) == {"message", "originalStatusCode", "originalMessage"}


def test_an_error_frame_ends_the_reply(server, sound):
    """It has a code and a message in its headers, and no payload."""
    *before, last = get(server, faults.error("Overloaded", after=2, message="Later.")).frames
    assert [encode(frame) for frame in before] == sound[:2]
    assert last == Frame({":message-type": "error", ":error-code": "Overloaded", ":error-message": "Later."})


# -- bytes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("byte", "bit"), [(0, 0), (1, 7), (300, 3), (-1, 0)])
def test_one_bit_is_turned_over(server, sound, byte, bit):
    """All other bytes are what they were, and the body ends in good order."""
    body = b"".join(sound)
    byte %= len(body)
    seen = get(server, faults.flip(byte, bit))
    assert [i for i, (a, b) in enumerate(zip(seen.body, body, strict=True)) if a != b] == [byte]
    assert seen.body[byte] ^ body[byte] == 1 << bit
    assert seen.ending == "end"


def test_a_checksum_is_wrong(server, sound):
    """A decoder finds it in that event, and everything else is as it was."""
    seen = get(server, faults.bad_crc(after=3))
    with pytest.raises(FrameError, match="checksum") as caught:
        FrameDecoder().receive_data(seen.body)
    assert (caught.value.code, caught.value.offset) == ("message_checksum", len(b"".join(sound[:3])))
    assert len(seen.body) == len(b"".join(sound))


@pytest.mark.parametrize("declared", [24 * 2**20 + 1, 2**32 - 1, 15, 0])
def test_a_prelude_declares_a_length(server, sound, declared):
    """Its own checksum is right, so that the length is what a decoder has to refuse."""
    seen = get(server, faults.huge_prelude(after=3, declared=declared))
    at = len(b"".join(sound[:3]))
    length, _, crc = struct.unpack_from(">III", seen.body, at)
    assert (length, crc) == (declared, crc32(seen.body[at : at + 8]))
    with pytest.raises(FrameError, match=f"{declared:,} bytes") as caught:
        FrameDecoder().receive_data(seen.body)
    assert caught.value.offset == at


# -- events ----------------------------------------------------------------------------------------


def test_an_unknown_event_comes_among_the_others(server, sound):
    """It is a sound frame between sound frames."""
    frames = get(server, faults.unknown_event(after=3)).frames
    assert frames[3].headers[":event-type"] == "futureEvent"
    assert json.loads(frames[3].payload)
    assert [encode(frame) for frame in frames[:3] + frames[4:]] == sound


def test_an_unknown_delta_belongs_to_an_open_block(server, sound):
    """It comes right before a delta that is known, and for the same block."""
    frames = get(server, faults.unknown_delta(after=1)).frames
    deltas = [i for i, frame in enumerate(frames) if frame.headers[":event-type"] == "contentBlockDelta"]
    unknown, known = (json.loads(frames[i].payload) for i in deltas[:2])
    assert list(unknown["delta"]) == ["futureContent"]
    assert unknown["contentBlockIndex"] == known["contentBlockIndex"]
    del frames[deltas[0]]
    assert [encode(frame) for frame in frames] == sound


def test_an_unknown_header_comes_with_a_known_event(server, sound):
    """Its frame is sound, and without that header what it was."""
    frames = get(server, faults.unknown_header(after=3)).frames
    headers = dict(frames[3].headers)
    assert headers.pop(":future-header") == "yes"
    frames[3] = Frame(headers, frames[3].payload)
    assert [encode(frame) for frame in frames] == sound


@pytest.mark.parametrize(
    ("fault", "error"), [(faults.bad_json(3), ValueError), (faults.bad_utf8(3), UnicodeDecodeError)]
)
def test_a_payload_is_not_what_it_must_be(server, sound, fault, error):
    """The frame's checksums are right, its payload cannot be read, and all other events are sound."""
    frames = get(server, fault).frames
    with pytest.raises(error):
        json.loads(frames[3].payload.decode())
    assert [encode(frame) for frame in frames[:3] + frames[4:]] == sound[:3] + sound[4:]


def test_a_tools_input_is_cut(server, sound):
    """The pieces put together are the sound ones without their last character, and are not JSON."""

    def tool_input(frames):
        deltas = (json.loads(frame.payload).get("delta", {}) for frame in frames)
        return "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta)

    given = tool_input(FrameDecoder().receive_data(b"".join(sound)))
    found = get(server, faults.bad_tool_input()).frames
    assert json.loads(given)
    assert tool_input(found) == given[:-1]
    assert sum(encode(frame) != good for frame, good in zip(found, sound, strict=True)) == 1


def test_a_reply_without_a_tool_has_no_tool_input_to_cut(server):
    """It is left alone."""
    client = server.client()
    request = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": "Count from 1 to 3"}]}]}
    with server.fault(faults.bad_tool_input()):
        events = list(client.converse_stream(**request)["stream"])
    client.close()
    assert (
        "".join(e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e)
        == "1, 2, 3."
    )


def test_an_event_comes_twice_or_not_at_all(server, sound):
    """The others come once each, in their order."""
    assert get(server, faults.duplicate(after=3)).body == b"".join([*sound[:4], *sound[3:]])
    assert get(server, faults.missing(after=3)).body == b"".join([*sound[:3], *sound[4:]])


@pytest.mark.parametrize(
    "name", [name for name, maker in FAULTS.items() if "after" in inspect.signature(maker).parameters]
)
def test_a_place_beyond_the_end_is_never_reached(server, sound, name):
    """The reply is sound."""
    seen = get(server, faults.parse(re.sub(r"after=\d+", f"after={len(sound) + 1}", CALLS[name])))
    assert (seen.ending, seen.body) == ("end", b"".join(sound))


@pytest.mark.parametrize("name", ["reset", "cut", "end", "stall", "flip"])
def test_a_byte_beyond_the_end_is_never_reached(server, sound, name):
    """The reply is sound."""
    body = b"".join(sound)
    seen = get(server, FAULTS[name](byte=len(body) + 1))
    assert (seen.ending, seen.body) == ("end", body)


@pytest.mark.parametrize("name", sorted(set(FAULTS) - BEFORE_THE_HEAD))
def test_the_plain_call_knows_nothing_of_what_happens_in_streams(server, name):
    """Converse is answered as ever, whatever a stream would suffer after its head."""
    plain = get(server, None, "converse").body
    assert get(server, faults.parse(CALLS[name]), "converse").body == plain


# -- more than one ---------------------------------------------------------------------------------


def joined(text: str) -> Fault:
    return reduce(or_, map(faults.parse, text.split("|")))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("duplicate:3|missing:3", "slow_head:0"),
        ("missing:3|cut:3", "cut:3"),
        ("cut:3|exception:late,after=5", "cut:3"),
        ("cut:3|stall:after=3,seconds=0", "cut:3"),
        ("flip:40|flip:40", "slow_head:0"),
        ("flip:0|bad_json:0", "flip:0"),
        ("huge_prelude:0|bad_json:0", "huge_prelude:0"),
        ("hang_up|exception:never", "hang_up"),
        ("slow_head:0.01|refuse:429", "refuse:429|slow_head:0.01"),
        ("refuse:429|hang_up", "hang_up"),
        ("cut:3|refuse:503", "refuse:503|cut:3"),
        ("cut:byte=300|bad_json:99", "cut:byte=300"),
        ("cut:byte=3|bad_json:0", "cut:byte=3"),
        ("cut:3|drip:0.0001,50", "cut:3"),
        ("reset:3|split:5|flip:2", "flip:2|reset:3"),
    ],
)
def test_faults_are_applied_from_left_to_right(server, text, same):
    """Each sees what the one before it left; some orders come to the same."""
    one, other = get(server, joined(text)), get(server, joined(same))
    assert (one.ending, one.body) == (other.ending, other.body)


@pytest.mark.parametrize("name", sorted(set(FAULTS) - {"no_head", "drip", "split"}))
@pytest.mark.parametrize("before", [faults.split(3), faults.drip(interval=0, size=11)])
def test_events_are_counted_whole_however_they_come(server, name, before):
    """A fault strikes at the same place of a reply that comes in pieces."""
    fault = faults.parse(CALLS[name])
    one, other = get(server, fault), get(server, before | fault)
    assert (one.ending, one.body) == (other.ending, other.body)


# -- faults= ---------------------------------------------------------------------------------------


def statuses(server, times: int, operation: str = "converse") -> list[int]:
    """Status of each of so many calls."""
    return [int(read(connect(server, operation)).head.split()[1]) for _ in range(times)]


def test_one_fault_is_for_every_request():
    """Whichever operation, however often."""
    with BedrockServer(latency=INSTANT, faults=faults.refuse(503)) as server:
        assert statuses(server, 2) + statuses(server, 1, "converse-stream") == [503, 503, 503]


def test_a_sequence_has_one_fault_for_each_request():
    """None is a sound reply, and so are all after the last; a request that is invalid takes no turn."""
    with BedrockServer(latency=INSTANT, faults=[faults.refuse(429), None, faults.refuse(500)]) as server:
        client = server.client(config=Config(parameter_validation=False))
        with pytest.raises(ClientError, match="ValidationException"):
            client.converse(modelId="m")
        client.close()
        assert statuses(server, 5) == [429, 200, 500, 200, 200]


def test_boto3_gets_through_by_trying_again():
    """Two refusals in turn are what its default of more attempts is for."""
    with BedrockServer(latency=INSTANT, faults=(faults.refuse(500), faults.hang_up())) as server:
        client = server.client(config=Config(retries={"total_max_attempts": 3}))
        answer = client.converse(modelId="m", **ASK)
        client.close()
    assert answer["ResponseMetadata"]["RetryAttempts"] == 2


def test_a_function_chooses_the_fault_by_the_request():
    """It gets the request as the responder does."""

    def choose(request):
        return faults.refuse(404) if request.model == "m" else None

    with BedrockServer(latency=INSTANT, faults=choose) as server:
        client = server.client(config=ONCE)
        assert statuses(server, 1) == [404]
        assert client.converse(modelId="other", **ASK)["stopReason"] == "tool_use"
        client.close()


@pytest.mark.parametrize(
    ("choose", "words"),
    [(lambda request: "cut", "gave a str"), (lambda request: 1 / 0, "raised ZeroDivisionError")],
)
def test_a_function_that_gives_no_fault_is_an_internal_error(server, choose, words):
    """The caller is told which mistake somebody made."""
    body = json.loads(get(server, choose, "converse").body)
    assert words in body["message"]


def test_a_with_block_sets_a_fault_for_its_time():
    """What was set before is back afterwards, also if the block failed, and blocks may be nested."""
    with BedrockServer(latency=INSTANT, faults=faults.refuse(500)) as server:
        with server.fault(faults.refuse(403)):
            with server.fault(None) as same:
                assert same is server
                assert statuses(server, 1) == [200]
            assert statuses(server, 1) == [403]
        assert statuses(server, 1) == [500]
        with pytest.raises(LookupError), server.fault(None):
            raise LookupError
        assert statuses(server, 1) == [500]


def test_a_fault_may_be_set_before_the_server_runs():
    """The order of starting and setting does not matter."""
    server = BedrockServer(latency=INSTANT)
    with server.fault(faults.refuse(403)), server:
        assert statuses(server, 1) == [403]


def test_a_latency_law_and_a_fault_go_together():
    """The events that come before a fault keep their times."""
    with BedrockServer(latency=Latency(ttft=0.02, per_token=0.001), faults=faults.cut(after=4)) as server:
        seen = read(connect(server))
    assert (len(seen.frames), seen.ending) == (4, "fin")
    assert len(seen.chunks) > 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("cut", "faults is 'cut'"),
        (3, "faults is 3"),
        (["cut"], r"faults is \['cut'\]"),
        (faults.cut, "the function cut.*such as faults.cut"),
    ],
)
def test_what_is_no_fault_is_refused(server, given, words):
    """By the server and by the block, before anything is asked."""
    with pytest.raises(RequestError, match=words):
        BedrockServer(faults=given)
    with pytest.raises(RequestError, match=words), server.fault(given):
        pass


# -- the values ------------------------------------------------------------------------------------


def test_every_fault_is_in_the_table_and_documented():
    """The table, the public names and these tests agree, and each says what its arguments are."""
    assert set(FAULTS) == set(CALLS) == set(faults.__all__) - {"FAULTS", "Fault", "parse"}
    for name, maker in FAULTS.items():
        assert getattr(faults, name) is maker
        signature = inspect.signature(maker)
        assert signature.return_annotation == "Fault"
        for argument in signature.parameters:
            assert f"{argument} :" in maker.__doc__ or f"**{argument}" in maker.__doc__


@pytest.mark.parametrize("text", CALLS.values(), ids=CALLS)
def test_a_fault_is_a_value(text):
    """Equal faults are equal, print as the call that makes them, and cannot be changed."""
    fault = faults.parse(text)
    assert fault == faults.parse(text) == eval(repr(fault), vars(faults))
    assert hash(fault) == hash(faults.parse(text))
    assert fault != fault | fault
    with pytest.raises(FrozenInstanceError):
        fault.said = ""  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("cut", faults.cut()),
        ("cut:after=10", faults.cut(after=10)),
        ("stall:byte=5,seconds=inf", faults.stall(byte=5, seconds=math.inf)),
        (
            "refuse:429,ThrottlingException,message=a=b",
            faults.refuse(429, "ThrottlingException", message="a=b"),
        ),
        ("exception:x,after=2,number=5,word=six", faults.exception("x", after=2, number=5, word="six")),
    ],
)
def test_a_fault_is_made_from_text(text, fault):
    """As in Python, without the quotes."""
    assert faults.parse(text) == fault


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "no fault 'nonsense'.*cut, end"),
        ("", "no fault ''"),
        ("cut:5,6,7,8", "cannot be made from.*It is cut"),
        ("cut:afterwards=5", "cannot be made from.*afterwards.*It is cut"),
        ("refuse", "cannot be made from.*status"),
        ("cut:after=ten", "after of the fault cut is 'ten'; the number of whole events"),
        ("cut:after=5,byte=6", "at one place"),
    ],
)
def test_text_that_makes_no_fault_is_explained(text, words):
    """The error has the names there are, or the arguments that the fault takes."""
    with pytest.raises(RequestError, match=words):
        faults.parse(text)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: faults.cut(after=-1), "after of the fault cut is -1; the number of whole events before it"),
        (lambda: faults.cut(after=1.5), "after of the fault cut is 1.5"),
        (lambda: faults.cut(after=True), "after of the fault cut is True"),
        (lambda: faults.reset(after=1, byte=2), "strikes at one place. Give one"),
        (lambda: faults.flip(byte=None), "byte of the fault flip is None"),
        (lambda: faults.flip(byte=0, bit=8), "bit of the fault flip is 8; a whole number from 0 to 7"),
        (lambda: faults.stall(seconds=-1), "seconds of the fault stall is -1; a number of seconds"),
        (lambda: faults.stall(seconds=math.nan), "seconds of the fault stall is nan"),
        (lambda: faults.drip(interval="1"), "interval of the fault drip is '1'"),
        (lambda: faults.drip(size=0), "size of the fault drip is 0; a whole number of bytes, from 1"),
        (lambda: faults.huge_prelude(declared=2**32), "32 bits"),
        (lambda: faults.refuse(200), "status of the fault refuse is 200; an HTTP status from 400 to 599"),
        (lambda: faults.refuse(418), "418.*not an error of the service.*400, 403, 404"),
        (lambda: faults.refuse(400, "two words"), "two words.*not an error of the service"),
        (lambda: faults.exception(5), "name of the fault exception is 5; a text"),
        (lambda: faults.exception("x", odd=object()), "cannot be written as JSON"),
        (lambda: faults.exception("x" * 40_000), "40,000 bytes"),
        (lambda: faults.error("x", message="\ud800"), "cannot be written"),
    ],
)
def test_arguments_that_cannot_work_are_refused_at_once(make, words):
    """The error says what was given and what is wanted."""
    with pytest.raises(RequestError, match=words):
        make()


def test_only_faults_are_joined():
    """Something else is Python's own error."""
    with pytest.raises(TypeError):
        _ = faults.cut() | 3  # type: ignore[operator]


def test_a_fault_of_ones_own_is_a_function_of_steps(server, sound):
    """Whoever needs another writes one, with the parts that ours are made of."""
    assert get(server, Fault("mine", lambda steps: later(steps, 0.01))).body == b"".join(sound)


# -- what boto3 makes of it ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("reset:after=3", ProtocolError),
        ("cut:after=3", ProtocolError),
        ("hang_up", ConnectionClosedError),
        ("no_head", ReadTimeoutError),
        ("error:Overloaded,after=1", EventStreamError),
        ("bad_crc:after=3", ChecksumMismatch),
        ("flip:byte=300", ChecksumMismatch),
        ("huge_prelude:after=3,declared=30000000", InvalidPayloadLength),
    ],
)
def test_boto3_raises_what_it_does_for_such_a_fault(server, client, text, error):
    """A real client meets a real fault."""
    with server.fault(faults.parse(text)), pytest.raises(error):
        stream(client)


def test_boto3_does_not_notice_an_early_end(server, client):
    """That is the fault this toolkit is most careful about: a reply that stops early looks whole."""
    with server.fault(faults.end(after=3)):
        assert len(stream(client)) == 3
