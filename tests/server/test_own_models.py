"""The embedded server's own models, each by its id, and what is special in their answers."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import pytest

from bedrock_nb.message import ImageBlock, RedactedBlock, TextBlock
from bedrock_nb.models.catalogue import all_models
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import canned, drawing, echo, embedded
from bedrock_nb.server.control import OPERATIONS
from bedrock_nb.server.own_models import OWN
from bedrock_nb.server.refusal import Refusal

THINKING = {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
#: Asks for reasoning that comes encrypted: https://docs.claude.com/en/docs/build-with-claude/extended-thinking
MAGIC = (
    "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_"
    "46C9A13E193C177646C7398A98432ECCCE4C1253D5E2D82641AC0E52CC2876CB"
)


def answer(request: Request) -> Recording:
    """What the embedded models say: for these, always the whole answer."""
    given = embedded(request)
    assert isinstance(given, Recording)
    return given


# -- which model answers ---------------------------------------------------------------------------


def test_each_of_the_ids_has_a_model_of_its_own():
    """No two of them say the same."""
    answers = {str(answer(Request(model=id, prompt="Tell me about rainbows")).message) for id in OWN.values()}
    assert len(answers) == len(OWN) == 4


@pytest.mark.parametrize("model", ["amazon.nova-lite-v1:0", "m", OWN["canned"]])
def test_every_other_id_has_the_prepared_answers(model):
    """Lessons run unchanged with the model ids of the service."""
    request = Request(model=model, prompt="Tell me about rainbows")
    assert answer(request).text == canned(request).text


def test_a_model_may_be_named_by_the_arn_that_the_catalogue_gives():
    """What ListFoundationModels says of a model asks for that very model."""
    listed = OPERATIONS["ListFoundationModels"]({})["modelSummaries"]
    arn = next(each["modelArn"] for each in listed if each["modelId"] == OWN["echo"])
    request = Request(model=arn, prompt="Say this.")
    assert answer(request).text == echo(request).text == "Say this."


def test_every_model_of_this_server_is_in_its_catalogue():
    """Whoever lists the models finds those that only this server has."""
    assert set(OWN.values()) <= {model.id for model in all_models()}


# -- the one that draws ----------------------------------------------------------------------------


def picture() -> bytes:
    text, image = drawing(Request(prompt="Draw a rainbow")).message.content
    assert isinstance(text, TextBlock)
    assert isinstance(image, ImageBlock)
    assert image.format == "png"
    data: bytes = image.source["bytes"]
    return data


def test_the_drawing_is_a_png_with_sound_checksums():
    """Each chunk has the length and the checksum that it says, and there are as many pixels as it says."""
    data = picture()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(name + content),)
        chunks[name] = content
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, colours = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colours) == (8, 2)
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + 3 * width)


def test_another_program_can_read_the_drawing():
    """matplotlib shows six bands of colour on white."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(picture()), format="png")
    assert pixels.shape[2] == 3
    assert len({tuple(pixel) for row in pixels for pixel in row}) == 7
    assert tuple(pixels[0, 0]) == (1.0, 1.0, 1.0)


# -- structured output -----------------------------------------------------------------------------


def with_schema(schema: Any, prompt: str = "The weather in Rome, 3 times", **more: Any) -> Request:
    structure = {"jsonSchema": {"schema": json.dumps(schema)}}
    config = {"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}}
    return Request(prompt=prompt, extra={**config, **more})


CITY = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "sky": {"enum": ["clear", "grey"]},
        "measured": {"type": "array", "items": {"type": "number"}},
        "place": {"$ref": "#/$defs/place"},
    },
    "required": ["city", "days", "sky", "measured", "place"],
    "$defs": {"place": {"type": "object", "properties": {"sure": {"type": "boolean"}}, "required": ["sure"]}},
}


def test_structured_output_fits_its_schema():
    """One text block of JSON: all members that are required, each of its type."""
    recording = canned(with_schema(CITY))
    value = json.loads(recording.text)
    assert set(value) == set(CITY["required"])
    assert (type(value["city"]), type(value["days"]), type(value["place"]["sure"])) == (str, int, bool)
    assert value["sky"] in ("clear", "grey")
    assert value["measured"]
    assert all(isinstance(item, int | float) for item in value["measured"])
    assert [type(block) for block in recording.message.content] == [TextBlock]
    assert recording.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, str),
        ({"type": "integer"}, int),
        ({"type": "boolean"}, bool),
        ({"type": "array", "items": {"type": "string"}}, list),
        ({"type": "null"}, type(None)),
        ({"anyOf": [{"type": "array"}, {"type": "null"}]}, list),
        ({}, str),
    ],
)
def test_structured_output_is_of_the_type_that_is_wanted(schema, kind):
    """Not only objects."""
    assert type(json.loads(canned(with_schema(schema)).text)) is kind


def test_structured_output_keeps_letters_as_they_are():
    """No escapes where JSON needs none: it is text that somebody watches."""
    assert canned(with_schema({"type": "string"}, "The weather in Zürich")).text == '"Zürich"'


def test_structured_output_comes_after_reasoning():
    """The model thinks first; only its text is JSON."""
    recording = canned(with_schema(CITY, **THINKING))
    assert recording.message.reasoning
    assert json.loads(recording.text)["city"] == "Rome"


def test_reasoning_about_a_tools_result_is_about_the_result():
    """What the user said is in another turn by then."""
    result = {"toolResult": {"toolUseId": "a", "content": [{"text": "12 °C"}]}}
    messages = [{"role": "user", "content": [result]}]
    recording = canned(Request(messages=messages, model="claude_sonnet_4", thinking=1024, max_tokens=2000))
    assert "tools have answered" in recording.message.reasoning
    assert "words begin" not in recording.message.reasoning


def test_structured_output_gives_way_to_a_tool():
    """A model that needs a tool asks for it first."""
    spec = {"name": "get_weather", "inputSchema": {"json": {"type": "object"}}}
    recording = canned(with_schema(CITY).replace(tools=[{"toolSpec": spec}]))
    assert recording.stop_reason == "tool_use"


# -- going on --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [[30], [30, 100]], ids=["once", "twice"])
def test_an_answer_that_was_cut_is_gone_on_with_where_it_stopped(cuts):
    """Whoever asks to go on gets the rest, and the parts together are the whole answer."""
    chat = Request(prompt="Tell me about rainbows")
    whole, messages, begin = canned(chat).text, list(chat.conversation), 0
    for end in cuts:
        messages += [
            {"role": "assistant", "content": [{"text": whole[begin:end]}]},
            {"role": "user", "content": [{"text": "Go on exactly where you stopped."}]},
        ]
        begin = end
    assert whole[:begin] + canned(Request(messages=messages)).text == whole


@pytest.mark.parametrize("said", [None, "Something else."], ids=["whole", "another"])
def test_nothing_is_made_up_where_nothing_is_left(said):
    """After a whole answer, or one that the model did not give, it says that it has no answer."""
    chat = Request(prompt="Tell me about rainbows")
    messages = [
        *chat.conversation,
        {"role": "assistant", "content": [{"text": said or canned(chat).text}]},
        {"role": "user", "content": [{"text": "Go on"}]},
    ]
    assert "no prepared answer" in canned(Request(messages=messages)).text


# -- citations -------------------------------------------------------------------------------------

RAIN = "\n  Rain falls on the plain. It stays there.\n"
FIRST = "Rain falls on the plain."


def document(
    source: dict[str, Any], *, enabled: bool = True, format: str = "txt", name: str = "rain"
) -> dict:
    return {"document": {"name": name, "format": format, "source": source, "citations": {"enabled": enabled}}}


def cited(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    """The citations of an answer."""
    message = canned(Request(prompt=[*blocks, {"text": "What falls?"}])).message
    return [each for block in message.content if isinstance(block, TextBlock) for each in block.citations]


@pytest.mark.parametrize("source", [{"bytes": RAIN.encode()}, {"text": RAIN}], ids=["bytes", "text"])
def test_a_citation_says_where_its_words_are(source):
    """Its place cuts the quoted words out of the document's text."""
    (citation,) = cited(document(source))
    place = citation["location"]["documentChar"]
    assert citation["sourceContent"] == [{"text": FIRST}]
    assert RAIN[place["start"] : place["end"]] == FIRST
    assert (citation["title"], place["documentIndex"]) == ("rain", 0)


@pytest.mark.parametrize(
    ("chunks", "number"), [([RAIN, "More."], 0), (["No end", RAIN], 0), ([" ", RAIN], 1), ([" ", "\n"], None)]
)
def test_a_citation_of_chunks_says_which_one(chunks, number):
    """Its words stand in that chunk, and in that alone; a blank one has none."""
    found = cited(document({"content": [{"text": text} for text in chunks]}))
    assert len(found) == (number is not None)
    for citation in found:
        place = citation["location"]["documentChunk"]
        assert place == {"documentIndex": 0, "start": number, "end": number + 1}
        assert citation["sourceContent"][0]["text"] in chunks[number]


def test_each_document_that_may_be_cited_is_and_no_other():
    """Places count all documents, as the service counts them."""
    found = cited(
        document({"text": "One. Two."}, enabled=False, name="a"),
        document({"text": "Three. Four."}, name="b"),
        document({"text": "Five?"}, name="c"),
    )
    assert [each["location"]["documentChar"]["documentIndex"] for each in found] == [1, 2]
    assert [each["sourceContent"][0]["text"] for each in found] == ["Three.", "Five?"]


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b"%PDF-1.4 plain letters. And more.", "pdf"),
        (b"\xff\xfe\x00", "txt"),
        (b" \n ", "txt"),
        (b"a.", "docx"),
    ],
)
def test_what_has_no_text_to_quote_is_not_cited(data, format):
    """A PDF's bytes are no text, even if they are letters; the prompt is answered all the same."""
    request = Request(prompt=[document({"bytes": data}, format=format), {"text": "Tell me about rainbows"}])
    recording = canned(request)
    assert "sunlight" in recording.text
    assert not any(getattr(block, "citations", ()) for block in recording.message.content)


def test_a_sentence_without_an_end_is_quoted_in_part():
    """What is quoted is never longer than a few lines."""
    (citation,) = cited(document({"text": "word " * 1000}))
    place = citation["location"]["documentChar"]
    assert 100 < place["end"] - place["start"] <= 401


# -- redacted reasoning ----------------------------------------------------------------------------


def test_the_magic_string_makes_reasoning_come_encrypted():
    """Opaque bytes in place of reasoning, before the text, the same for the same prompt."""
    request = Request(prompt=f"{MAGIC} Tell me about rainbows", extra=THINKING)
    first, text = canned(request).message.content
    assert isinstance(first, RedactedBlock)
    assert len(first.data) > 100
    assert isinstance(text, TextBlock)
    assert canned(request).message.content[0] == first


@pytest.mark.parametrize(("prompt", "extra"), [(MAGIC, {}), ("Tell me about rainbows", THINKING)])
def test_reasoning_is_encrypted_only_where_there_is_some_and_it_is_asked_for(prompt, extra):
    """Neither the string without reasoning nor reasoning without the string gives any."""
    message = canned(Request(prompt=prompt, extra=extra)).message
    assert not any(isinstance(block, RedactedBlock) for block in message.content)


def test_a_misspelt_embedded_model_is_refused():
    """An id that begins with embedded. and is none names those that there are."""
    with pytest.raises(Refusal, match=OWN["ngram"]):
        embedded(Request(model="embedded.ngarm-v1:0", prompt="hello"))
