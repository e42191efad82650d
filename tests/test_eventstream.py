"""eventstream.py: published vectors, round trips, botocore as a second opinion, and damaged streams."""

from __future__ import annotations

import base64
import copy
import json
import pickle
import random
import struct
import tracemalloc
import uuid
import zlib
from pathlib import Path
from types import MappingProxyType

import pytest
from botocore.eventstream import EventStreamBuffer, ParserError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_nb import eventstream
from bedrock_nb.errors import BedrockNbError, FrameError, RequestError
from bedrock_nb.eventstream import Byte, Frame, FrameDecoder, Int, Long, Short, Timestamp, encode

VECTORS = Path(__file__).parent / "vectors"
CASES = json.loads((VECTORS / "vectors.json").read_text("utf-8"))["vectors"]
REPLY = json.loads((VECTORS / "converse_stream_cases.json").read_text("utf-8"))["good"]

SOUND = [case for case in CASES if case["kind"] == "positive"]
BROKEN = [case for case in CASES if case["kind"] == "negative" and case["error"] != "limit_dependent"]
SIXTEEN_MIB = [case for case in CASES if case.get("error") == "limit_dependent"]

MIB = 2**20
EVENT = MappingProxyType(
    {
        ":event-type": "contentBlockDelta",
        ":content-type": "application/json",
        ":message-type": "event",
    }
)

# How the vectors name the ten header types, and what this package makes of each.
PYTHON_TYPE = {
    "true": bool,
    "false": bool,
    "byte": Byte,
    "short": Short,
    "int": Int,
    "long": Long,
    "bytes": bytes,
    "string": str,
    "timestamp": Timestamp,
    "uuid": uuid.UUID,
}


def unpack(blob):
    """The bytes behind the vectors' {b64} and {zb64}."""
    if "zb64" in blob:
        return zlib.decompress(base64.b64decode(blob["zb64"]))
    return base64.b64decode(blob["b64"])


def stream_of(case):
    """The bytes of a vector, with what it says to fill in."""
    data = unpack(case["encoded"])
    if fill := case.get("fill"):
        data += bytes([fill["byte"]]) * fill["count"] + unpack(fill["then"])
    return data


def expected_headers(frame):
    """The headers of a vector as (name, Python type, value), in order."""
    rows = []
    for header in frame["headers"]:
        value = unpack(header["value"]) if isinstance(header["value"], dict) else header["value"]
        value = uuid.UUID(bytes=value) if header["type"] == "uuid" else value
        rows.append((header["name"], PYTHON_TYPE[header["type"]], value))
    return rows


def typed(headers):
    """Headers as (name, type, value): Byte(1), Int(1) and True are equal, but not the same header."""
    return [(name, type(value), value) for name, value in headers.items()]


def pieces(data, sizes):
    """Cut data into pieces of the given sizes, over and over."""
    start = turn = 0
    while start < len(data):
        size = sizes[turn % len(sizes)]
        yield data[start : start + size]
        start, turn = start + size, turn + 1


def outcome(parts, **limits):
    """What a decoder makes of a stream: all its frames, and its error or None."""
    decoder, frames = FrameDecoder(**limits), []
    try:
        for part in parts:
            frames += decoder.receive_data(part)
        decoder.receive_eof()
    except FrameError as error:
        return frames + error.frames, error
    return frames, None


def fingerprint(parts, **limits):
    """An outcome in terms that compare types too, and errors by code and place."""
    frames, error = outcome(parts, **limits)
    return [(typed(f.headers), f.payload) for f in frames], error and (error.code, error.offset)


def reseal(data):
    """Make both checksums of one frame right again, whatever else is wrong with it."""
    prelude = data[:8] + struct.pack(">I", zlib.crc32(data[:8]))
    message = prelude + data[12:-4]
    return message + struct.pack(">I", zlib.crc32(message))


def botocore_frames(data):
    """What botocore's decoder makes of a whole stream."""
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


def as_botocore(frame):
    """A frame in botocore's terms: plain numbers, and UUIDs as bytes."""
    headers = {k: v.bytes if isinstance(v, uuid.UUID) else v for k, v in frame.headers.items()}
    return headers, frame.payload


def sized(kind, bits):
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(kind)


VALUES = st.one_of(
    st.booleans(),
    sized(Byte, 8),
    sized(Short, 16),
    sized(Int, 32),
    sized(Long, 64),
    sized(Timestamp, 64),
    st.binary(max_size=300),
    st.text(max_size=100),
    st.uuids(),
)
NAMES = st.text(min_size=1, max_size=60)
FRAMES = st.builds(Frame, st.dictionaries(NAMES, VALUES, max_size=12), st.binary(max_size=2000))
STREAMS = st.lists(FRAMES, max_size=5)
SIZES = st.lists(st.integers(1, 400), min_size=1, max_size=10)

moderate = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# -- the published vectors


def test_all_vectors_are_there():
    """The vector file holds the 30 sound and 51 broken streams that its README counts."""
    assert (len(CASES), len(SOUND), len(BROKEN) + len(SIXTEEN_MIB)) == (81, 30, 51)


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize("case", SOUND, ids=lambda case: case["name"])
def test_sound_vectors(case, size):
    """A sound vector gives its headers with their wire types, its payload, and its own bytes when encoded."""
    data = stream_of(case)
    frames, error = outcome(pieces(data, [size or len(data)]))
    assert error is None
    assert [typed(frame.headers) for frame in frames] == [expected_headers(f) for f in case["frames"]]
    assert [frame.payload for frame in frames] == [unpack(f["payload"]) for f in case["frames"]]
    assert b"".join(encode(frame) for frame in frames) == data


@pytest.mark.parametrize("size", [None, 1, 7], ids=["whole", "bytes", "sevens"])
@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case["name"])
def test_broken_vectors(case, size):
    """A broken vector is refused under the name that it gives, however it is cut."""
    data = stream_of(case)
    _, error = outcome(pieces(data, [size or len(data)]))
    assert error is not None
    # Where any error is right, the vector says which one an independent strict decoder gave.
    assert error.code == (case["strict_oracle"] if case["error"] == "any" else case["error"])
    assert f"byte {error.offset};" in str(error)
    assert error.code in str(error)


@pytest.mark.parametrize("size", [None, 8192, 700_001])
@pytest.mark.parametrize("case", SIXTEEN_MIB, ids=lambda case: case["name"])
def test_size_between_two_limits(case, size):
    """A payload of 16 MiB and a byte passes the default limit, and is too long for a limit of 16 MiB."""
    data = stream_of(case)
    frames, error = outcome(pieces(data, [size or len(data)]))
    assert error is None
    assert [len(frame.payload) for frame in frames] == [16 * MIB + 1]
    assert encode(frames[0]) == data
    refused, error = outcome(pieces(data, [size or len(data)]), max_frame=16 * MIB)
    assert (refused, error.code) == ([], "payload_too_long")


def test_converse_stream_reply():
    """The 30 frames of a ConverseStream reply decode to their events and encode to their own bytes."""
    data = b"".join(unpack(event["frame"]) for event in REPLY)
    frames, error = outcome([data])
    assert error is None
    assert [frame.headers[":event-type"] for frame in frames] == [event["type"] for event in REPLY]
    bodies = [{k: v for k, v in json.loads(frame.payload).items() if k != "p"} for frame in frames]
    assert bodies == [event["payload"] for event in REPLY]
    assert b"".join(encode(frame) for frame in frames) == data


# -- round trips, and botocore's opinion


@moderate
@given(STREAMS, SIZES)
def test_round_trip(frames, sizes):
    """Frames of all header types survive encoding, any cutting and decoding, with types and order."""
    data = b"".join(encode(frame) for frame in frames)
    assert fingerprint(pieces(data, sizes)) == ([(typed(f.headers), f.payload) for f in frames], None)


@moderate
@given(STREAMS)
def test_botocore_reads_the_same(frames):
    """From our bytes botocore's own decoder reads the headers and payloads that we meant."""
    data = b"".join(encode(frame) for frame in frames)
    assert botocore_frames(data) == [as_botocore(frame) for frame in frames]


@pytest.mark.parametrize(
    ("number", "kind"),
    [(0, Int), (2**31 - 1, Int), (-(2**31), Int), (2**31, Long), (-(2**31) - 1, Long), (2**63 - 1, Long)],
)
def test_plain_int_takes_the_width_it_needs(number, kind):
    """A plain int is written in 32 bits where they hold it, else in 64."""
    [frame] = FrameDecoder().receive_data(encode(Frame({"n": number}, b"")))
    assert typed(frame.headers) == [("n", kind, number)]


@pytest.mark.parametrize(
    "headers",
    [
        {f"h{n:04}": True for n in range(1024)},
        {"n" * 255: "x"},
        {"é" * 127: "x"},
        {"s": "x" * 32_767},
        {"b": b"x" * 32_767, "c": b"y" * 32_767, "d": b"z" * 32_767, "e": b"w" * (32_767 - 16)},
    ],
    ids=["1024 headers", "name of 255", "name of 254 bytes", "string of 32767", "128 KiB of headers"],
)
def test_the_most_that_fits(headers):
    """A frame at a limit of the specification is written and read."""
    frame = Frame(headers, b"payload")
    assert outcome([encode(frame)]) == ([frame], None)


@pytest.mark.parametrize("excess", [0, 1])
def test_longest_frame(excess):
    """24 MiB is the longest frame, headers and checksums included, for writer and reader alike."""
    payload = bytes(24 * MIB - 16 + excess)
    lengths = struct.pack(">II", len(payload) + 16, 0)
    data = reseal(lengths + bytes(4) + payload + bytes(4))
    if excess:
        with pytest.raises(RequestError, match=r"25,165,825 bytes"):
            encode(Frame({}, payload))
        with pytest.raises(FrameError, match="payload_too_long"):
            FrameDecoder().receive_data(data)
    else:
        assert encode(Frame({}, payload)) == data
        assert FrameDecoder().receive_data(data) == [Frame({}, payload)]


# -- what cannot be written


@pytest.mark.parametrize(
    "frame",
    [
        Frame({f"h{n}": True for n in range(1025)}, b""),
        Frame({"": "x"}, b""),
        Frame({"n" * 256: "x"}, b""),
        Frame({"é" * 128: "x"}, b""),
        Frame({"s": "x" * 32_768}, b""),
        Frame({"s": "é" * 16_384}, b""),
        Frame({"b": bytes(32_768)}, b""),
        Frame({str(n): bytes(32_767) for n in range(5)}, b""),
        Frame({"b": Byte(128)}, b""),
        Frame({"s": Short(-32_769)}, b""),
        Frame({"i": Int(2**31)}, b""),
        Frame({"l": Long(2**63)}, b""),
        Frame({"t": Timestamp(2**63)}, b""),
        Frame({"n": 2**63}, b""),
        Frame({"lone surrogate": "\ud800"}, b""),
        Frame({"\ud800": "x"}, b""),
        Frame({"f": 1.5}, b""),  # type: ignore[dict-item]
        Frame({"none": None}, b""),  # type: ignore[dict-item]
        Frame({"array": bytearray(b"x")}, b""),  # type: ignore[dict-item]
        Frame({1: "x"}, b""),  # type: ignore[dict-item]
        Frame([("a", "b")], b""),  # type: ignore[arg-type]
        Frame({}, "text"),  # type: ignore[arg-type]
        ({}, b""),
        None,
    ],
)
def test_encode_refuses(frame):
    """What a decoder would refuse, or what has no wire type, is an error before any byte is written."""
    with pytest.raises(RequestError) as caught:
        encode(frame)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("max_frame", [15, 0, -1, 1e6, "16", None, True])
def test_unusable_limit(max_frame):
    """A limit that is no number of bytes, or less than an empty frame, is an error."""
    with pytest.raises(RequestError, match="max_frame"):
        FrameDecoder(max_frame)


@pytest.mark.parametrize("data", ["text", None, 5, [1, 2]])
def test_not_bytes(data):
    """Anything but bytes is an error that leaves the decoder as it was."""
    decoder, whole = FrameDecoder(), encode(Frame(EVENT, b"{}"))
    decoder.receive_data(whole[:20])
    with pytest.raises(RequestError, match="takes bytes"):
        decoder.receive_data(data)
    assert decoder.receive_data(whole[20:]) == [Frame(EVENT, b"{}")]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_all_kinds(kind):
    """A bytearray or a memoryview is taken too, and payloads are bytes that the caller cannot change."""
    whole = bytearray(encode(Frame(EVENT, b"{}")))
    frames = FrameDecoder().receive_data(kind(whole))
    whole[:] = bytes(len(whole))
    assert frames == [Frame(EVENT, b"{}")]
    assert type(frames[0].payload) is bytes


# -- errors, and what is kept


def test_frames_before_the_broken_one():
    """Whole frames that came in the same call as a broken one are on the error, with its place."""
    good = [Frame(EVENT, b'{"n": %d}' % n) for n in range(3)]
    data = b"".join(map(encode, good))
    decoder = FrameDecoder()
    assert decoder.receive_data(data) == good
    with pytest.raises(FrameError) as caught:
        decoder.receive_data(data + b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    error = caught.value
    assert (error.code, error.offset, error.frames) == ("prelude_checksum", 2 * len(data), good)
    assert isinstance(error, BedrockNbError)
    assert isinstance(error, ParserError)


def test_an_error_is_final():
    """After an error each further call raises it again, without the frames that were handed over."""
    decoder, good = FrameDecoder(), encode(Frame(EVENT, b"{}"))
    with pytest.raises(FrameError) as caught:
        decoder.receive_data(good + bytes(16))
    for call in (lambda: decoder.receive_data(good), lambda: decoder.receive_data(b""), decoder.receive_eof):
        with pytest.raises(FrameError) as again:
            call()
        assert str(again.value) == str(caught.value)
        assert (again.value.code, again.value.offset) == (caught.value.code, len(good))
        assert again.value.frames == []


@pytest.mark.parametrize("held", [1, 11, 12, 40])
def test_end_inside_a_frame(held):
    """A stream that ends inside a frame is an error that says where, and how much was there."""
    decoder, good = FrameDecoder(), encode(Frame(EVENT, b"{}"))
    assert len(decoder.receive_data(good + good[:held])) == 1
    with pytest.raises(FrameError, match=rf"{held} bytes into it \(frame at byte {len(good)};") as caught:
        decoder.receive_eof()
    assert caught.value.code == "truncated"
    with pytest.raises(FrameError, match="truncated"):
        decoder.receive_data(good[held:])


def test_end_between_frames():
    """An empty stream, and one that ends with a frame, end in good order."""
    decoder = FrameDecoder()
    decoder.receive_eof()
    assert decoder.receive_data(b"") == []
    assert decoder.receive_data(encode(Frame(EVENT, b"{}"))) == [Frame(EVENT, b"{}")]
    decoder.receive_eof()


def test_long_frame_is_refused_at_its_prelude():
    """A frame over the limit is refused at its twelfth byte, not after 4 GiB of waiting."""
    prelude = encode(Frame({}, bytes(100)))[:12]
    decoder = FrameDecoder(max_frame=115)
    assert decoder.receive_data(prelude[:11]) == []
    with pytest.raises(FrameError, match=r"116 bytes; the limit is 115 .*payload_too_long"):
        decoder.receive_data(prelude[11:])
    assert FrameDecoder(max_frame=116).receive_data(prelude) == []


@pytest.mark.parametrize("length", range(16))
def test_no_frame_has_fewer_than_16_bytes(length):
    """A length that leaves no room for prelude and checksum is refused, and never an endless loop."""
    prelude = struct.pack(">II", length, 0)
    data = prelude + struct.pack(">I", zlib.crc32(prelude)) + bytes(8)
    assert fingerprint([data]) == ([], ("message_too_short", 0))


# -- any bytes at all


@moderate
@given(st.binary(max_size=200), SIZES)
def test_any_bytes_give_frames_or_frame_error(data, sizes):
    """Any bytes at all give frames or a FrameError, and the same ones however they are cut."""
    assert fingerprint(pieces(data, sizes)) == fingerprint([data])


@st.composite
def damaged_streams(draw):
    """A valid stream with bytes of one frame changed, put in or taken out, checksums right again."""
    frames = [encode(frame) for frame in draw(st.lists(FRAMES, min_size=1, max_size=4))]
    turn = draw(st.integers(0, len(frames) - 1))
    frame = bytearray(frames[turn])
    header_end = 12 + int.from_bytes(frame[4:8], "big")
    for _ in range(draw(st.integers(1, 4))):
        # Into the lengths, the headers, seldom beyond: a payload has no rules to break.
        place = draw(st.integers(0, 7) | st.integers(12, header_end) | st.integers(12, len(frame) - 4))
        frame[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        frame.extend(bytes(max(0, 16 - len(frame))))
    if draw(st.booleans()):
        frame[:4] = struct.pack(">I", len(frame))
    frames[turn] = reseal(bytes(frame))
    return b"".join(frames)


@settings(moderate, max_examples=400)
@given(damaged_streams(), SIZES)
def test_damaged_streams_with_right_checksums(data, sizes):
    """Damage behind right checksums gives frames or a FrameError, the same ones however they are cut."""
    frames, error = outcome([data])
    assert fingerprint(pieces(data, sizes)) == fingerprint([data])
    # There is one way to write a frame: what was accepted is exactly what we would have sent.
    accepted = b"".join(encode(frame) for frame in frames)
    assert data.startswith(accepted)
    assert botocore_frames(accepted) == [as_botocore(frame) for frame in frames]
    assert error.offset == len(accepted) if error else accepted == data


HEADER = {
    "header_name_empty": b"\x00\x00",
    "header_truncated": b"\x01a",
    "header_type": b"\x01a\x0a",
    "header_utf8": b"\x01\xff\x00",
    "header_value_too_long": b"\x01a\x06\x80\x00",
    "duplicate_header": b"\x01a\x00\x01a\x01",
}


@pytest.mark.parametrize("known", [0, 1])
@pytest.mark.parametrize(("code", "block"), HEADER.items(), ids=HEADER)
def test_rules_of_headers(code, block, known):
    """A header that breaks a rule is refused under its name, after good frames as at the start."""
    good = encode(Frame(EVENT, b"{}")) * known
    frame = reseal(struct.pack(">III", 16 + len(block), len(block), 0) + block + bytes(4))
    frames, error = outcome([good + frame])
    assert (len(frames), error.code, error.offset) == (known, code, len(good))


# -- buffers and values


def test_a_big_frame_in_small_pieces():
    """A frame of some MiB can come in single bytes: waiting for it copies nothing again and again."""
    frame = Frame(EVENT, random.Random(1).randbytes(MIB))
    decoder, data = FrameDecoder(), encode(frame)
    assert not any(decoder.receive_data(data[at : at + 1]) for at in range(len(data) - 1))
    assert decoder.receive_data(data[-1:]) == [frame]


def test_header_blocks_that_never_repeat():
    """A peer that never sends the same headers twice is read correctly, and fills no memory."""
    decoder = FrameDecoder()
    frames = [Frame({"n": Int(n), "filler": "x" * 1000}, b"") for n in range(2000)]
    stream = [encode(frame) for frame in frames]
    tracemalloc.start()
    try:
        assert all(decoder.receive_data(data) == [frame] for data, frame in zip(stream, frames, strict=True))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000, "of 2,000,000 bytes that came"


def test_headers_cannot_be_changed():
    """Frames of one decoder share the mapping of equal headers, so nobody can write to it."""
    first, second = FrameDecoder().receive_data(encode(Frame(EVENT, b"1")) + encode(Frame(EVENT, b"2")))
    assert first.headers is second.headers
    with pytest.raises(TypeError):
        first.headers["x"] = "y"  # type: ignore[index]
    with pytest.raises(AttributeError):
        first.payload = b""  # type: ignore[misc]


def test_frames_are_values():
    """Decoded frames equal those that were sent, and can be copied and pickled."""
    [frame] = FrameDecoder().receive_data(encode(Frame(dict(EVENT), b"{}")))
    assert frame == Frame(EVENT, b"{}") != Frame(EVENT, b"[]")
    for twin in (copy.copy(frame), copy.deepcopy(frame), pickle.loads(pickle.dumps(frame))):
        assert twin == frame
        assert type(twin) is Frame


def test_repr_is_short():
    """A repr shows headers and the beginning of the payload, however long they are."""
    assert (
        repr(Frame({"a": Byte(1), "b": "x"}, b"{}"))
        == "Frame(headers={'a': Byte(1), 'b': 'x'}, payload=b'{}')"
    )
    shown = repr(Frame({f"h{n}": "v" * 30_000 for n in range(1000)}, bytes(MIB)))
    assert len(shown) < 1500
    assert "1,048,576 bytes" in shown


@pytest.mark.parametrize("kind", [Byte, Short, Int, Long, Timestamp])
def test_sized_numbers(kind):
    """A number with a wire type is an int in all but its repr."""
    assert (kind(5) + 1, str(kind(5)), f"{kind(5):03}", json.dumps(kind(5))) == (6, "5", "005", "5")
    assert repr(kind(5)) == f"{kind.__name__}(5)"


def test_exports():
    """What the module offers is listed in order."""
    assert eventstream.__all__ == sorted(eventstream.__all__)
    assert all(hasattr(eventstream, name) for name in eventstream.__all__)
