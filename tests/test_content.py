"""content.py, attachments.py: what people have becomes what Converse takes, or is refused with a reason."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import bedrock_nb as nb
from bedrock_nb.content import (
    add_assistant_message,
    add_user_message,
    as_turn,
    assistant,
    audio,
    cache_point,
    document,
    guarded,
    image,
    search_result,
    user,
    video,
)
from bedrock_nb.content.attachments import _AUDIO, _DOCUMENT, _IMAGE, _VIDEO, shown
from bedrock_nb.errors import IncompleteStreamError, RequestError
from bedrock_nb.message import Message, ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer
from bedrock_nb.server.latency import INSTANT
from tests.recordings import reply
from tests.wire_server import GOOD, GOOD_TEXT, answer

MODEL = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
CONTENT: Any = MODEL.shape_for("ContentBlock")

PNG, JPEG = b"\x89PNG\r\n\x1a\n....", b"\xff\xd8\xff...."
BEGINNINGS = [
    (image, PNG, "png"),
    (image, JPEG, "jpeg"),
    (image, b"GIF89a..", "gif"),
    (image, b"RIFF\0\1\2\3WEBP", "webp"),
    (document, b"%PDF-1.7", "pdf"),
    (document, b"PK\3\4....word/document.xml", "docx"),
    (document, b"PK\3\4....xl/workbook.xml", "xlsx"),
    (document, b"\n<!DOCTYPE html><p>", "html"),
    (video, b"\0\0\0\x18ftypisom", "mp4"),
    (video, b"\0\0\0\x18ftypqt  ", "mov"),
    (video, b"\x1aE\xdf\xa3....webm", "webm"),
    (video, b"\x1aE\xdf\xa3....matroska", "mkv"),
    (audio, b"ID3\3", "mp3"),
    (audio, b"RIFF\0\1\2\3WAVE", "wav"),
    (audio, b"OggS....OpusHead", "opus"),
    (audio, b"\0\0\0\x18ftypM4A ", "m4a"),
]


def sound(block: dict[str, Any]) -> dict[str, Any]:
    """The inside of a block that botocore takes."""
    assert ParamValidator().validate(block, CONTENT).generate_report() == ""
    (inner,) = block.values()
    return inner


def picture(mode: str = "RGB") -> Any:
    return Image.new(mode, (4, 4))


# -- files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "data", "format"), BEGINNINGS)
def test_bytes_tell_their_format(make, data, format):
    """By how they begin, whatever kind of bytes they are; the bytes go as they are."""
    for source in (data, bytearray(data), memoryview(data)):
        block = sound(make(source))
        assert (block["format"], block["source"]) == (format, {"bytes": data})


@pytest.mark.parametrize(
    ("make", "name", "data", "format"),
    [
        (image, "cat.PNG", PNG, "png"),
        (image, "cat.png", JPEG, "jpeg"),
        (image, "cat", PNG, "png"),
        (document, "notes.md", b"# Hi", "md"),
        (document, "notes.markdown", b"# Hi", "md"),
        (document, "table.csv", b"a,b", "csv"),
        (document, "old.doc", b"\xd0\xcf\x11\xe0", "doc"),
        (document, "report", b"%PDF-1.7", "pdf"),
        (video, "clip.3gp", b"\0\0\0\x18ftypisom", "three_gp"),
        (audio, "talk.mka", b"\x1aE\xdf\xa3", "mka"),
    ],
)
@pytest.mark.parametrize("kind", [str, Path])
def test_files_tell_their_format(tmp_path, make, name, data, format, kind):
    """By their name; pictures by their bytes, for models refuse a JPEG that calls itself PNG."""
    (tmp_path / name).write_bytes(data)
    block = sound(make(kind(tmp_path / name)))
    assert (block["format"], block["source"]) == (format, {"bytes": data})


@pytest.mark.parametrize(
    ("source", "data", "name"),
    [
        (lambda _: io.BytesIO(b"%PDF-1.7"), b"%PDF-1.7", "document"),
        (lambda folder: (folder / "report.pdf").open("rb"), b"%PDF-1.7", "report"),
        (lambda folder: (folder / "notes.md").open("r"), b"# Hi", "notes"),
    ],
)
def test_an_open_file_is_its_bytes(tmp_path, source, data, name):
    """One in memory is had whole, wherever it stands; one on disk tells its name."""
    (tmp_path / "report.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "notes.md").write_text("# Hi")
    with source(tmp_path) as file:
        if isinstance(file, io.BytesIO):
            file.seek(0, io.SEEK_END)
        block = sound(document(file))
    assert (block["name"], block["source"]) == (name, {"bytes": data})


@pytest.mark.parametrize("make", [image, document, video, audio])
@pytest.mark.parametrize("kind", [str, Path])
def test_a_web_address_is_told_apart_from_a_path(make, kind):
    """Nothing is fetched, and the address, which may hold a password, is not shown."""
    with pytest.raises(RequestError, match=r"is a web address; nothing is fetched\. Download it") as caught:
        make(kind("https://me:secret@example.org/cat.png"))
    assert "secret" not in str(caught.value)


def column(**values: Any) -> Any:
    import pandas

    return pandas.DataFrame(values)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda: column(a=[1]), "a DataFrame"),
        (lambda: column(a=[1])["a"], "a Series"),
        (lambda: 5, "an int"),
        (lambda: len, "a function"),
        (lambda: int, "a class"),
        (lambda: io, "a module"),
        (lambda: b"hi", "bytes"),
        (lambda: Message("user"), "a Message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("give", [user, lambda value: Request("m", value)], ids=["user", "Request"])
def test_what_is_no_prompt_is_named(give, value, what):
    """In one line, alone or in a list; a table is told how to become text."""
    for said, offered in (
        (f"The prompt is {what}.", value()),
        (f"A part of the prompt is {what}.", ["a", value()]),
    ):
        with pytest.raises(RequestError) as caught:
            give(offered)
        assert str(caught.value).startswith(said)
        assert "\n" not in str(caught.value)
        assert ("to_markdown()" in str(caught.value)) == (what in ("a DataFrame", "a Series"))


def test_a_format_may_be_said():
    """For bytes that do not tell; a suffix is as good as a name."""
    assert sound(document(b"plain text", format="txt"))["format"] == "txt"
    assert sound(image(b"anything", format=".JPG"))["format"] == "jpeg"


def test_what_lies_in_s3_is_not_read():
    """Its address is sent, and its name tells the format."""
    block = sound(video("s3://bucket/films/clip.mp4"))
    assert block == {"format": "mp4", "source": {"s3Location": {"uri": "s3://bucket/films/clip.mp4"}}}
    assert sound(image("s3://bucket/cat", format="png"))["format"] == "png"


@pytest.mark.parametrize("kind", [_IMAGE, _DOCUMENT, _VIDEO, _AUDIO], ids=lambda kind: kind.name)
def test_formats_are_those_of_the_api(kind):
    """All that botocore's model has, and no other."""
    shape = CONTENT.members[kind.name].members["format"]
    assert {*kind.formats.values()} | ({"x-aac"} if kind is _AUDIO else set()) == {*shape.enum}


@pytest.mark.parametrize(
    ("mode", "made", "format", "written"),
    [
        ("RGB", None, None, "png"),
        ("RGBA", None, None, "png"),
        ("RGB", "JPEG", None, "jpeg"),
        ("RGB", "BMP", None, "png"),
        ("RGB", None, "webp", "webp"),
    ],
)
def test_a_picture_of_pil_is_written(mode, made, format, written):
    """In the format it was read in, if models take that; else without loss."""
    given = picture(mode)
    given.format = made
    block = sound(image(given, format))
    assert block["format"] == written
    assert Image.open(io.BytesIO(block["source"]["bytes"])).size == (4, 4)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: image("no such.png"), "there is no such file"),
        (lambda: image(Path("/dev/zero")), "there is no such file"),
        (lambda: image("a\0b"), "cannot be read"),
        (lambda: image(b""), "The image is empty"),
        (lambda: image(b"\x89PN"), "png, jpeg, gif, webp"),
        (lambda: image(PNG, format="bmp"), "format is 'bmp'"),
        (lambda: image(5), "The image is of type int"),
        (lambda: image("s3://B"), "s3://bucket/key"),
        (lambda: image("s3://bucket/cat"), 'format="…"'),
        (lambda: image(picture("CMYK"), "png"), 'picture.convert("RGB")'),
        (lambda: document(b"plain text"), 'format="…"'),
        (lambda: image(PNG + bytes(4 * 2**20)), "up to 3.75 MB"),
        (lambda: document(bytes(5 * 2**20), format="txt"), "up to 4.5 MB"),
        (lambda: cache_point("2h"), '"5m" or "1h"'),
        (lambda: guarded("x", ["question"]), "grounding_source, query, guard_content"),
        (lambda: guarded(b"GIF89a.."), "PNG or JPEG"),
        (lambda: guarded(PNG, ["query"]), "no qualifiers"),
        (lambda: search_result("a", "b", []), "not empty"),
        (lambda: user(), "no text"),
        (lambda: user("hi", " "), "no text"),
        (lambda: user(None), "The prompt is None. Give text"),
        (lambda: image(io.StringIO("cat")), 'open(path, "rb")'),
        (lambda: image(io.BytesIO()), "The image is empty"),
        (lambda: as_turn({"role": "user", "content": [5]}), "A part of the content is an int"),
        (lambda: assistant(Message("assistant")), "no content"),
        (lambda: add_user_message((), "hi"), "messages = []"),
        (lambda: add_assistant_message([], 5), "The answer is an int"),
        (lambda: add_user_message(["hi"], "ho"), "A message is 'hi'"),
    ],
)
def test_what_cannot_work_is_refused(make, said):
    """Before anything is sent, with what is wanted."""
    with pytest.raises(RequestError, match=re.escape(said)):
        make()


def test_some_documents_have_no_limit():
    """There are models that take larger PDFs, so that is theirs to say."""
    assert len(sound(document(b"%PDF-" + bytes(5 * 2**20)))["source"]["bytes"]) > 5 * 2**20


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("Q3_report (final).v2", "Q3 report (final) v2"),
        ("  two   spaces\t[1] ", "two spaces [1]"),
        ("Übersicht-é", "Ubersicht-e"),
        ("日本", "document"),
        ("", "document"),
        ("x" * 300, "x" * 200),
    ],
)
def test_a_documents_name_is_cleaned(name, cleaned):
    """To what the service takes."""
    assert sound(document(b"%PDF-", name))["name"] == cleaned


def test_a_document_is_named_after_its_file(tmp_path):
    """Whatever else is said of it is there; what is not, is not."""
    (tmp_path / "my_notes.txt").write_text("Hi.")
    source = {"bytes": b"Hi."}
    path = tmp_path / "my_notes.txt"
    assert sound(document(path)) == {"format": "txt", "name": "my notes", "source": source}
    assert sound(document(path, citations=True, context="Mine.")) == {
        "format": "txt",
        "name": "my notes",
        "source": source,
        "context": "Mine.",
        "citations": {"enabled": True},
    }
    assert document("s3://bucket/a/b_c.pdf")["document"]["name"] == "b c"


@given(st.text())
def test_any_name_becomes_one_that_is_taken(name):
    """Letters, digits, single spaces, hyphens, parentheses and brackets; 1 to 200 of them."""
    assert re.fullmatch(r"(?!.*  )[A-Za-z0-9 ()\[\]-]{1,200}", document(b"%PDF-", name)["document"]["name"])


def test_an_error_does_not_show_a_whole_picture():
    """A value in an error is short."""
    assert shown(bytes(10**6)) == shown(bytes(60))
    assert len(shown("x" * 1000)) == 60


# -- other blocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "inside"),
    [
        (cache_point(), {"type": "default"}),
        (cache_point("1h"), {"type": "default", "ttl": "1h"}),
        (guarded("Who?"), {"text": {"text": "Who?"}}),
        (guarded("Who?", "query"), {"text": {"text": "Who?", "qualifiers": ["query"]}}),
        (guarded(PNG), {"image": {"format": "png", "source": {"bytes": PNG}}}),
        (guarded(image(JPEG)), {"image": {"format": "jpeg", "source": {"bytes": JPEG}}}),
        (
            search_result("https://a", "A", "text"),
            {
                "source": "https://a",
                "title": "A",
                "content": [{"text": "text"}],
                "citations": {"enabled": True},
            },
        ),
        (
            search_result("a", "A", ["b", "c"], citations=False),
            {
                "source": "a",
                "title": "A",
                "content": [{"text": "b"}, {"text": "c"}],
                "citations": {"enabled": False},
            },
        ),
    ],
)
def test_a_block_is_the_apis_own_dict(block, inside):
    """botocore takes it."""
    assert sound(block) == inside


# -- turns -----------------------------------------------------------------------------------------


def test_a_turn_mixes_what_people_have(tmp_path):
    """Text, blocks, the path of a picture, a picture of PIL; also all of them in one list."""
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    parts = ["What is this?", cache_point(), path, picture()]
    turn = user(*parts)
    assert turn == user(parts)
    assert turn["role"] == "user"
    assert [next(iter(block)) for block in turn["content"]] == ["text", "cachePoint", "image", "image"]
    assert turn["content"][2] == image(path)
    assert assistant("a", "b") == {"role": "assistant", "content": [{"text": "a"}, {"text": "b"}]}
    request = Request("embedded.canned-v1:0", parts)
    assert list(request.conversation) == [turn]


def test_an_answer_is_a_turn():
    """A Reply, a Recording or a Message: with everything that was in it."""
    assert assistant(reply()) == {"role": "assistant", "content": [{"text": "Hello world!"}]}
    message = Message("assistant", (ReasoningBlock("hm", "sig"), ToolUseBlock("1", "f", {}, "{}")))
    assert assistant(message) == message.to_dict()


def test_a_conversation_grows_in_place():
    """The course's own loop: the same list comes back, and the service's answer is appended whole."""
    with BedrockServer(latency=INSTANT) as server:
        client = server.client()
        messages: list[Any] = []
        assert add_user_message(messages, "Tell me about rainbows") is messages
        streamed = nb.stream(client, messages)
        assert add_assistant_message(messages, streamed) is messages
        assert messages[1] == streamed.message.to_dict()
        add_user_message(messages, ["And now?", cache_point()])
        assert [turn["role"] for turn in messages] == ["user", "assistant", "user"]
        assert nb.stream(client, messages).text


def test_an_answer_that_broke_off_is_appended_as_far_as_it_came(wire, client):
    """What can be sent again is; the error is the reply's own and was raised where it was read."""
    wire.lay(answer(GOOD[:9]))
    broken = nb.stream(client, "hi")
    with pytest.raises(IncompleteStreamError):
        broken.drain()
    messages = add_assistant_message([user("hi")], broken)
    text = Message.from_dict(messages[1]).text
    assert text == broken.snapshot.text
    assert 0 < len(text) < len(GOOD_TEXT)
    assert GOOD_TEXT.startswith(text)


def test_turns_alternate():
    """What follows results of cancelled calls joins their turn; the rest of a prefill joins its beginning."""
    broken = Message("assistant", (TextBlock("So."), ToolUseBlock("1", "f", {}, "{}")), partial=True)
    messages = add_assistant_message([user("hi")], broken)
    results = messages[2]
    add_user_message(messages, "Go on.")
    assert [turn["role"] for turn in messages] == ["user", "assistant", "user"]
    assert messages[2]["content"] == [*results["content"], {"text": "Go on."}]
    assert len(results["content"]) == 1
    begun = [user("Give me JSON."), assistant("```json")]
    assert add_assistant_message(begun, Message("assistant", (TextBlock("{}"),)))[1:] == [
        assistant("```json", "{}")
    ]
    add_assistant_message(begun, {"role": "assistant", "content": "!"})
    assert begun[1]["content"][-1] == {"text": "!"}


def test_nothing_came_and_nothing_is_appended():
    """The next question joins the one that was not answered."""
    messages = add_assistant_message([user("hi")], Message("assistant", partial=True))
    assert add_user_message(messages, "Still there?") == [user("hi", "Still there?")]
