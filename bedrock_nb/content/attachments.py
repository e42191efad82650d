"""Files as content blocks: pictures, documents, videos and sounds, from paths, bytes or Amazon S3.

Strategy: one table says for each kind of file which formats there are and how large it may be, another how
files begin. The format is read from the file's name or from its first bytes; pictures are told by their bytes
alone, because models refuse a JPEG that calls itself PNG. What cannot work is refused before it is sent.
"""

from __future__ import annotations

import functools
import io
import os
import re
import types
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bedrock_nb.errors import RequestError

__all__ = ["audio", "document", "image", "is_picture", "shown", "video", "what_is"]


def shown(value: object) -> str:
    """A value in an error: its repr, at most 60 characters of it."""
    if isinstance(value, bytes | bytearray):
        value = bytes(value[:60])  # not all of a picture, only to be cut off
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# What a value is called whose type has a name that says less, or says it in another way.
_KINDS: tuple[tuple[Any, str], ...] = (
    (type(None), "None"),
    (type, "a class"),
    (types.ModuleType, "a module"),
    ((bytes, bytearray), "bytes"),
    ((types.FunctionType, types.MethodType, types.BuiltinFunctionType, functools.partial), "a function"),
)


def what_is(value: object) -> str:
    """What a value is, in an error: ``a DataFrame``, ``an int``, ``a function``, ``None``."""
    for kind, called in _KINDS:
        if isinstance(value, kind):
            return called
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' else 'a'} {name}"


class _Kind(NamedTuple):
    name: str
    formats: Mapping[str, str]  # suffix -> format, as the service model names it
    most: float | None  # MB that one may have; None where no limit is documented
    unlimited: tuple[str, ...] = ()  # formats to which that limit does not apply
    remedy: str = ""


def _same(*formats: str, **others: str) -> dict[str, str]:
    return {**{name: name for name in formats}, **others}


# Limits: Amazon Bedrock API reference, Message (images); user guide, "API restrictions" (documents; there are
# models that take larger PDF and DOCX); Amazon Nova user guide, "Video understanding" (video in the request).
# Formats: the enumerations of botocore's service model.
_IMAGE = _Kind(
    "image",
    _same("png", "jpeg", "gif", "webp", jpg="jpeg", jpe="jpeg"),
    3.75,
    remedy="Make it smaller, or give the block as a dict if your model takes more.",
)
_DOCUMENT = _Kind(
    "document",
    _same("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md", htm="html", markdown="md"),
    4.5,
    ("pdf", "docx"),
    "Split it, or save it as PDF.",
)
_VIDEO = _Kind(
    "video",
    _same("mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", **{"3gp": "three_gp"}),
    25,
    remedy="Put it in Amazon S3 and give its s3:// address.",
)
_AUDIO = _Kind(
    "audio",
    _same(
        "mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "m4a", "mpeg", "mpga", "pcm", "webm"
    ),
    None,
)

# How files begin -> format. Where two formats begin alike the file's name decides; see _format.
_BEGINNINGS: tuple[tuple[str, str, str], ...] = (
    ("image", r"\x89PNG\r\n\x1a\n", "png"),
    ("image", r"\xff\xd8\xff", "jpeg"),
    ("image", r"GIF8[79]a", "gif"),
    ("image", r"RIFF....WEBP", "webp"),
    ("document", r"%PDF-", "pdf"),
    ("document", r"PK\x03\x04.*word/", "docx"),
    ("document", r"PK\x03\x04.*xl/", "xlsx"),
    ("document", r"\s*<(!doctype html|html)", "html"),
    ("video", r"....ftypqt", "mov"),
    ("video", r"....ftyp3g", "three_gp"),
    ("video", r"....ftyp", "mp4"),
    ("video", r"\x1a\x45\xdf\xa3.{0,60}webm", "webm"),
    ("video", r"\x1a\x45\xdf\xa3", "mkv"),
    ("video", r"FLV\x01", "flv"),
    ("video", r"\x00\x00\x01[\xba\xb3]", "mpeg"),
    ("video", r"\x30\x26\xb2\x75", "wmv"),
    ("audio", r"ID3|\xff[\xfb\xf3\xf2]", "mp3"),
    ("audio", r"RIFF....WAVE", "wav"),
    ("audio", r"fLaC", "flac"),
    ("audio", r"OggS.{0,60}OpusHead", "opus"),
    ("audio", r"OggS", "ogg"),
    ("audio", r"\xff[\xf1\xf9]", "aac"),
    ("audio", r"....ftyp", "m4a"),
    ("audio", r"\x1a\x45\xdf\xa3", "webm"),
)
_MAGIC = [
    (kind, re.compile(start.encode(), re.DOTALL | re.IGNORECASE), name) for kind, start, name in _BEGINNINGS
]
_HEAD = 8192  # bytes looked at; the parts of a .docx are named within them
# botocore's model of S3Uri
_S3 = re.compile(r"s3://[a-z0-9][.\-a-z0-9]{1,61}[a-z0-9](/.*)?")
_WEB = re.compile(r"(https?|ftp):/", re.IGNORECASE)  # a Path has but one slash there


def image(source: Any, format: str | None = None) -> dict[str, Any]:
    """A picture for the model.

    Parameters
    ----------
    source : path, bytes, open file, ``s3://…`` address or PIL image
        At most 3.75 MB (Amazon Bedrock API reference, Message).
    format : {"png", "jpeg", "gif", "webp"}, optional
        By default what the first bytes say; of a PIL image its own, else ``png``.

    Returns
    -------
    dict
        ``{"image": {"format": …, "source": {"bytes": …}}}``

    Raises
    ------
    RequestError
        It cannot be read, is empty or too large, or no such format.
    """
    if is_picture(source):
        source, format = _encoded(source, format)
    return {"image": _file(_IMAGE, source, format)}


def document(
    source: Any,
    name: str | None = None,
    format: str | None = None,
    citations: bool = False,
    context: str | None = None,
) -> dict[str, Any]:
    """A document for the model. The service wants some text beside it.

    Parameters
    ----------
    source : path, bytes, open file or ``s3://…`` address
        At most 4.5 MB; PDF and DOCX may have more (Amazon Bedrock user guide, "API restrictions").
    name : str, optional
        What the model calls it; by default the file's name. The model reads it, so a neutral one is best.
        Letters, digits, single spaces, hyphens, parentheses and brackets are kept, all else becomes a space.
    format : {"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"}, optional
        By default what the file's name says, or its first bytes.
    citations : bool
        Whether the answer is to quote it.
    context : str, optional
        What the model should know about it.

    Returns
    -------
    dict
        ``{"document": {…}}``

    Raises
    ------
    RequestError
        It cannot be read, is empty or too large, or no such format.
    """
    block = _file(_DOCUMENT, source, format)
    named = Path(_name_of(source)).stem if name is None else name
    block = {"format": block["format"], "name": _cleaned(named), "source": block["source"]}
    if context is not None:
        block["context"] = context
    if citations:
        block["citations"] = {"enabled": True}
    return {"document": block}


def video(source: Any, format: str | None = None) -> dict[str, Any]:
    """A video for the model: path, bytes, open file or ``s3://…`` address.

    In the request itself it may have 25 MB (Amazon Nova user guide, "Video understanding"); more from S3.
    Raises what `image` raises.
    """
    return {"video": _file(_VIDEO, source, format)}


def audio(source: Any, format: str | None = None) -> dict[str, Any]:
    """A sound for the model: path, bytes, open file or ``s3://…`` address. Raises what `image` raises."""
    return {"audio": _file(_AUDIO, source, format)}


def _file(kind: _Kind, source: Any, format: str | None) -> dict[str, Any]:
    if isinstance(source, str) and source.startswith("s3://"):
        if not _S3.fullmatch(source):
            raise RequestError(
                f"{shown(source)} is no address in S3.", remedy="It has the form s3://bucket/key."
            )
        return {"format": _format(kind, format, source, None), "source": {"s3Location": {"uri": source}}}
    name = _name_of(source)
    if isinstance(source, str | os.PathLike):
        if _WEB.match(name):  # not shown: it may hold a password or a signature
            raise RequestError(
                f"The {kind.name} is a web address; nothing is fetched.",
                remedy="Download it and give its path or its bytes, or give an s3:// address.",
            )
        data = _read(kind, Path(name).expanduser())
    elif (read := _reader(source)) is not None:
        data = _drained(kind, read)
    elif isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        raise RequestError(
            f"The {kind.name} is of type {type(source).__name__}.",
            remedy="Give a path, bytes, an open file, or an s3:// address.",
        )
    if not data:
        raise RequestError(f"The {kind.name} {shown(name) if name else ''}".rstrip() + " is empty.")
    found = _format(kind, format, name, data)
    if kind.most is not None and found not in kind.unlimited and len(data) > kind.most * 2**20:
        raise RequestError(
            f"The {kind.name} has {len(data) / 2**20:.1f} MB; Bedrock takes up to {kind.most:g} MB.",
            remedy=kind.remedy,
        )
    return {"format": found, "source": {"bytes": data}}


def _name_of(source: Any) -> str:
    """The name of a file: a path, or what an open file calls itself; empty where there is none."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", "")
    return os.fsdecode(name) if isinstance(name, str | os.PathLike) else ""


def _reader(source: Any) -> Callable[[], Any] | None:
    """How all of a file in memory is had, wherever it stands, or the rest of an open one."""
    if isinstance(source, type):
        return None
    ways = (getattr(source, name, None) for name in ("getvalue", "read"))
    return next((way for way in ways if callable(way)), None)


def _drained(kind: _Kind, read: Callable[[], Any]) -> bytes:
    try:
        data = read()
    except (OSError, ValueError) as err:  # ValueError: it is closed, or bytes that are no text
        raise RequestError(
            f"The {kind.name} cannot be read: {type(err).__name__}.",
            remedy='Open it anew, as open(path, "rb"), or give its path.',
        ) from err
    if isinstance(data, str) and kind is _DOCUMENT:
        data = data.encode("utf-8", "replace")
    if not isinstance(data, bytes | bytearray | memoryview):
        raise RequestError(
            f"What is read from the {kind.name} is {what_is(data)}; bytes are wanted.",
            remedy='Open it as open(path, "rb"), or give its path.',
        )
    return bytes(data)


def _read(kind: _Kind, path: Path) -> bytes:
    try:
        if not path.is_file():  # a device or a pipe would never end
            raise FileNotFoundError
        return path.read_bytes()
    except (OSError, ValueError) as err:  # ValueError: a name with a null byte
        why = "there is no such file" if isinstance(err, FileNotFoundError) else type(err).__name__
        raise RequestError(
            f"The {kind.name} {shown(str(path))} cannot be read: {why}.",
            remedy=f"The folder of this notebook is {shown(str(Path.cwd()))}.",
        ) from err


def _format(kind: _Kind, given: str | None, name: str, data: bytes | None) -> str:
    """What was said; else what the bytes of a picture say; else what the name says; else what bytes say."""
    wanted = "One of " + ", ".join(dict.fromkeys(kind.formats.values()))
    if given is not None:
        known = kind.formats.get(str(given).lower().lstrip("."), given)
        if known not in kind.formats.values():
            raise RequestError(f"The {kind.name}'s format is {shown(given)}.", remedy=f"{wanted} is wanted.")
        return known
    head = (data or b"")[:_HEAD]
    begun = next((f for of, start, f in _MAGIC if of == kind.name and start.match(head)), None)
    suffixed = kind.formats.get(Path(name).suffix.lower().lstrip("."))
    found = (begun or (suffixed if data is None else None)) if kind is _IMAGE else (suffixed or begun)
    if found is None:
        what = shown(name) if name else f"that begins with {shown(head[:12])}"
        raise RequestError(
            f"The {kind.name} {what} is of no format that Bedrock takes, as far as can be seen.",
            remedy=f'{wanted} is wanted; say format="…" if it is one.',
        )
    return found


def is_picture(value: Any) -> bool:
    """Whether it is a PIL image, without importing PIL for it."""
    return callable(getattr(value, "save", None)) and isinstance(getattr(value, "mode", None), str)


def _encoded(picture: Any, format: str | None) -> tuple[bytes, str]:
    made = str(getattr(picture, "format", None) or "").lower()
    format = _format(_IMAGE, format or (made if made in _IMAGE.formats else "png"), "", None)
    buffer = io.BytesIO()
    try:
        picture.save(buffer, format=format.upper())
    except (OSError, ValueError, KeyError) as err:  # how PIL says that a mode does not fit a format
        raise RequestError(
            f"The picture (mode {shown(picture.mode)}) cannot be written as {format}.",
            remedy='Convert it before: picture.convert("RGB").',
        ) from err
    return buffer.getvalue(), format


def _cleaned(name: str) -> str:
    """A name as DocumentBlock takes it (Amazon Bedrock API reference); at most 200 characters."""
    plain = unicodedata.normalize("NFKD", str(name)).encode("ascii", "ignore").decode()
    return " ".join(re.sub(r"[^A-Za-z0-9()\[\]-]", " ", plain).split())[:200].strip() or "document"
