"""What a function returned, as the content of a ``toolResult``: whatever it is, the service takes it.

Strategy: a row of small functions, each of which knows one kind of value and returns None for all others; the
first that knows a value makes its items. Pictures, tables and numpy's arrays are known by what they can do,
so that no such library is imported here. What has no kind is told as ``str()`` tells it, and what is no value
(a function, a generator) is an error that its author can mend. Nothing is cut without a note that says so.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import re
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Set
from contextlib import suppress
from enum import Enum
from io import BytesIO
from itertools import islice
from typing import Any, TypeAlias

from bedrock_nb.content.attachments import what_is
from bedrock_nb.errors import ToolError
from bedrock_nb.message import IMAGE_FORMATS, Message, image_format

__all__ = ["content_of"]

Items: TypeAlias = tuple[dict[str, Any], ...]

_LONGEST = 100_000  # characters of one item: some 25,000 tokens
_ROWS = 100  # of a table
_DEEPEST = 90  # levels of JSON; `message.parse_input` draws its line at 100
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]{4,}")  # as object's own repr has it
#: More items than any JSON has that is let through whole: what is left out here is cut, with a note, later.
_MOST = _LONGEST // 2
# Limits of an image in Converse: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html
_IMAGE_BYTES, _IMAGE_EDGE = 3_750_000, 8_000


def content_of(value: Any) -> tuple[dict[str, Any], ...]:
    """The content of a ``toolResult`` for what a function returned.

    Parameters
    ----------
    value : object
        Text and messages become text, images and figures images, tables CSV text. A dict becomes JSON, all
        other data ``{"result": …}``, since Converse wants an object. Dicts that are content blocks already
        (``{"text": …}``, ``{"json": …}``, ``{"image": …}``, ``{"document": …}``, ``{"video": …}``,
        ``{"searchResult": …}``) are passed on, several if a list holds nothing else. The rest is ``str()``.

    Returns
    -------
    tuple of dict
        At least one item. Text and JSON have at most 100,000 characters, a table 100 rows, and a note where
        something was cut; NaN and infinity become null, and halves of surrogate pairs U+FFFD. Text never
        holds an address in memory, which says nothing and differs each time.

    Raises
    ------
    ToolError
        It is what would give a value, and no value: a generator or another iterator, a coroutine, a function,
        a class, a module.
    """
    items = next((made for maker in _MAKERS if (made := maker(value)) is not None), None)
    return tuple(map(_fit, ({"text": _said(value)},) if items is None else items))


def _fit(item: dict[str, Any]) -> dict[str, Any]:
    """An item that is not blank and not too long, with text that can be encoded."""
    if "text" in item:
        text = _whole(item["text"])
        return {"text": _cut(text) if text.strip() else f"(blank text: {text[:20]!r})"}
    if "json" in item:
        line = json.dumps(item["json"], ensure_ascii=False)
        return item if len(line) <= _LONGEST else {"text": _cut(line)}
    return {kind: _mended(block) for kind, block in item.items()}


def _cut(text: str) -> str:
    if len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\n(cut here: the result is longer than {_LONGEST:,} characters)"


def _whole(text: str) -> str:
    """Text whose surrogate pairs are whole: pairs joined, halves replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _mended(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {name: _mended(value) for name, value in node.items()}
    if isinstance(node, list | tuple):
        return [_mended(value) for value in node]
    return _whole(node) if isinstance(node, str) else node


def _said(value: Any) -> str:
    try:
        text = str(value)
    except Exception:  # an object of somebody else's, which may do anything
        text = ""
    return f"({what_is(value)}, which has no text)" if not text or _ADDRESS.search(text) else text


def _can(value: Any, *names: str) -> bool:
    """Whether it has all these methods; a class has its instances' methods and cannot do a thing."""
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in names)


# -- text ------------------------------------------------------------------------------------------


def _nothing(value: Any) -> Items | None:
    return ({"text": "(no result)"},) if value is None else None


def _text(value: Any) -> Items | None:
    if isinstance(value, str) and not isinstance(value, Enum):
        return ({"text": str(value)},)
    return None


def _message(value: Any) -> Items | None:
    """A message, or a reply, which has one: a tool may ask a model."""
    if type(value).__module__.partition(".")[0] == "bedrock_nb":
        value = getattr(value, "message", value)
    return ({"text": value.text or "(no text)"},) if isinstance(value, Message) else None


def _table(value: Any) -> Items | None:
    """A DataFrame or a Series of pandas, as CSV: the fewest tokens for the same cells."""
    if not (_can(value, "head", "to_csv") and hasattr(value, "index")):
        return None
    named = type(value.index).__name__ != "RangeIndex"  # 0, 1, 2 … says nothing
    text, rows = value.head(_ROWS).to_csv(index=named), len(value)
    if not isinstance(text, str):
        return None
    note = f"(the first {_ROWS} of {rows:,} rows)" if rows > _ROWS else "" if rows else "(no rows)"
    return ({"text": text + note},)


# -- no values -------------------------------------------------------------------------------------

# What a function may return in place of a value, and how its author gets the value out of it.
_NO_VALUES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (inspect.isclass, "return an object of it"),
    (inspect.ismodule, "return what is wanted of it"),
    (inspect.isawaitable, "await it"),
    (inspect.isroutine, "call it"),
    (lambda value: isinstance(value, functools.partial), "call it"),
    (lambda value: isinstance(value, AsyncIterator), "collect its items in a list"),
    (lambda value: isinstance(value, Iterator) and not hasattr(value, "__len__"), "return list(…) of it"),
)


def _no_value(value: Any) -> None:
    for is_one, remedy in _NO_VALUES:
        if is_one(value):
            if inspect.iscoroutine(value):
                value.close()  # or Python warns that nobody awaited it
            raise ToolError(
                f"The tool returned {what_is(value)}, and not a value.",
                remedy=f"Its author can {remedy}; another call would give the same.",
            )


# -- images ----------------------------------------------------------------------------------------


def _bytes(value: Any) -> Items | None:
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    data = bytes(value)
    format = image_format(data)
    if format and len(data) <= _IMAGE_BYTES:
        return ({"image": {"format": format, "source": {"bytes": data}}},)
    if format:
        return ({"text": f"({format} image of {len(data):,} bytes; at most {_IMAGE_BYTES:,} can be shown)"},)
    return ({"text": _decoded(data)},)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"({len(data):,} bytes that are neither text nor an image)"


def _picture(value: Any) -> Items | None:
    """An image of Pillow."""
    if not (_can(value, "save", "convert", "resize") and isinstance(getattr(value, "mode", None), str)):
        return None
    longest = max(value.size)
    if longest > _IMAGE_EDGE:
        value = value.resize([max(1, edge * _IMAGE_EDGE // longest) for edge in value.size])
    if value.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):  # PNG knows no CMYK, and models no 16 bits
        value = value.convert("RGB")
    png = _written(value.save, "PNG")
    return _bytes(png if len(png) <= _IMAGE_BYTES else _written(value.convert("RGB").save, "JPEG"))


def _figure(value: Any) -> Items | None:
    """A figure of matplotlib, or Axes, which are in one."""
    figure = value.get_figure() if _can(value, "get_figure") else value
    return _bytes(_written(figure.savefig, "png")) if _can(figure, "savefig") else None


def _written(save: Callable[..., Any], format: str) -> bytes:
    file = BytesIO()
    save(file, format=format)
    return file.getvalue()


# -- content blocks --------------------------------------------------------------------------------

# Kind of block -> members it needs, members it may have, its formats, where its source may be.
_BLOCKS: dict[str, tuple[set[str], set[str], set[str], set[str]]] = {
    "image": ({"format", "source"}, set(), set(IMAGE_FORMATS), {"bytes", "s3Location"}),
    "document": (
        {"name", "source"},
        {"format", "context", "citations"},
        {"pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"},
        {"bytes", "s3Location", "text", "content"},
    ),
    "video": (
        {"format", "source"},
        set(),
        {"mkv", "mov", "mp4", "webm", "flv", "mpeg", "mpg", "wmv", "three_gp"},
        {"bytes", "s3Location"},
    ),
}


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(part, Mapping) and part.keys() == {"text"} and isinstance(part["text"], str)
        for part in value
    )


def _s3(value: Any) -> bool:
    if not (isinstance(value, Mapping) and "uri" in value and value.keys() <= {"uri", "bucketOwner"}):
        return False
    uri, owner = value["uri"], value.get("bucketOwner", "0" * 12)
    bucket = r"s3://[a-z0-9][\.\-a-z0-9]{1,61}[a-z0-9](/.*)?"
    good = isinstance(uri, str) and len(uri) <= 1024 and re.fullmatch(bucket, uri)
    return bool(good and isinstance(owner, str) and re.fullmatch("[0-9]{12}", owner))


def _cites(value: Any) -> bool:
    return isinstance(value, Mapping) and value.keys() == {"enabled"} and isinstance(value["enabled"], bool)


# Member of a block, or of its source -> whether a value can stand there.
_SOUND: dict[str, Callable[[Any], bool]] = {
    "bytes": lambda value: isinstance(value, bytes | bytearray) and len(value) > 0,
    "s3Location": _s3,
    "text": lambda value: isinstance(value, str),
    "context": lambda value: isinstance(value, str),
    "name": lambda value: isinstance(value, str) and 0 < len(value) <= 200,
    "content": _texts,
    "citations": _cites,
    "title": lambda value: isinstance(value, str),
}


def _sound(kind: Any, block: Any) -> bool:
    """Whether the service takes it as a block of this kind: a dict of the user's may look like one."""
    if kind in ("text", "json"):
        return isinstance(block, str if kind == "text" else Mapping)
    if not isinstance(block, Mapping):
        return False
    if kind == "searchResult":
        rest = {name: value for name, value in block.items() if name != "source"}
        whole = {"title", "content"} <= rest.keys() <= {"title", "content", "citations"}
        return whole and isinstance(block.get("source"), str) and all(map(_member_sound, rest.items()))
    if kind not in _BLOCKS:
        return False
    needed, optional, formats, places = _BLOCKS[kind]
    if not needed <= block.keys() <= needed | optional:
        return False
    source, format = block["source"], block.get("format", next(iter(formats)))
    one = isinstance(source, Mapping) and len(source) == 1 and source.keys() <= places
    rest = {name: value for name, value in block.items() if name not in ("source", "format")}
    return (
        one
        and isinstance(format, str)
        and format in formats
        and all(map(_member_sound, (*source.items(), *rest.items())))
    )


def _member_sound(member: tuple[Any, Any]) -> bool:
    name, value = member
    return _SOUND[name](value)


def _block(value: Any) -> Items | None:
    if not (isinstance(value, Mapping) and len(value) == 1):
        return None
    [(kind, block)] = value.items()
    if not (isinstance(kind, str) and _sound(kind, block)):
        return None
    return _data(block) if kind == "json" else ({kind: block},)


def _several(value: Any) -> Items | None:
    """A list of blocks, images and tables, with texts between them; a list of texts alone is data.

    Where nothing but texts and tables would come of it, everything in the list must be one of these.
    """
    if not isinstance(value, list | tuple):
        return None
    made = [_shown(part) for part in value]
    pictures = any(not item.keys() <= {"text", "json"} for items in made for item in items or ())
    alike = any(made) and all(items or isinstance(part, str) for part, items in zip(value, made, strict=True))
    if not (pictures or alike):
        return None
    rest = (_text(part) or _data(part) or ({"text": _said(part)},) for part in value)
    return tuple(item for items, other in zip(made, rest, strict=True) for item in items or other)


def _shown(value: Any) -> Items | None:
    made = (maker(value) for maker in (_block, _bytes, _picture, _figure, _table))
    return next((items for items in made if items is not None), None)


# -- data ------------------------------------------------------------------------------------------


def _data(value: Any) -> Items | None:
    """All that pydantic can tell in JSON."""
    try:
        plain = _plain(value)
    except (TypeError, ValueError, RecursionError):  # no data, a circle, absurdly deep
        return None
    return ({"json": plain if isinstance(value, Mapping) else {"result": plain}},)


def _plain(value: Any, above: tuple[int, ...] = ()) -> Any:
    """JSON for it, as Python's lists, dicts, texts and numbers. ``above`` are the ids of what it is in."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return _plain(value.value, above)
    if isinstance(value, str):
        return _whole(str(value))
    if isinstance(value, int):  # beyond 64 bits readers of JSON disagree, and Python itself may refuse
        small = value.bit_length() < 64
        return int(value) if small else str(value) if value.bit_length() < 9000 else "(a huge number)"
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if id(value) in above or len(above) > _DEEPEST:
        raise ValueError("a circle, or too deep")
    within = (*above, id(value))
    if isinstance(value, Mapping):
        return {_key(key): _plain(item, within) for key, item in islice(value.items(), _MOST)}
    if _can(value, "tolist") and not isinstance(value, memoryview):  # numpy's arrays and numbers
        return _plain(value.tolist(), within)
    for maker in (_bytes, _picture, _figure, _table):
        if items := maker(value):
            return _whole(
                items[0].get("text", "(an image: a tool returns it alone, or as an item of a list)")
            )
    if isinstance(value, Set):
        with suppress(TypeError):
            value = sorted(value)
    if isinstance(value, Collection | Iterator):
        return [_plain(item, within) for item in islice(value, _MOST)]
    # Late: those who give texts and dicts need not wait for the import.
    from pydantic_core import to_jsonable_python

    try:
        plain = to_jsonable_python(value, bytes_mode="base64", fallback=lambda inner: _plain(inner, within))
    except ValueError:  # it knows no JSON for this
        if not above:
            raise
        plain = _said(value)
    return _plain(plain, within)


def _key(key: Any) -> str:
    if isinstance(key, Enum):
        key = key.value
    return _whole(key if isinstance(key, str) else "null" if key is None else _said(key))


_MAKERS = (_nothing, _text, _message, _no_value, _block, _bytes, _picture, _figure, _table, _several, _data)
