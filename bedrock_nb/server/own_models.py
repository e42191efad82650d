"""The embedded server's own models: a model id for each, and prepared answers for all others.

Strategy: a table from model id to responder. `canned` answers for every model of the service, so that lessons
run unchanged on AWS; the ids of `OWN` ask for one of the others.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import cache

from bedrock_nb.message import ImageBlock, TextBlock
from bedrock_nb.models.catalogue import find
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.fields import check_abilities
from bedrock_nb.server.ngrams import ngram
from bedrock_nb.server.prepared import canned
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.responders import Answer, Responder, echo
from bedrock_nb.server.writing import recorded

__all__ = ["OWN", "drawing", "embedded"]

#: The embedded server's own models: what answers -> model id.
OWN = {
    "canned": "embedded.canned-v1:0",
    "drawing": "embedded.drawing-v1:0",
    "echo": "embedded.echo-v1:0",
    "ngram": "embedded.ngram-v1:0",
}

_WIDTH, _HEIGHT = 256, 128
_COLOURS = ((228, 3, 3), (255, 140, 0), (255, 237, 0), (0, 128, 38), (36, 64, 142), (115, 41, 130))


def embedded(request: Request) -> Answer:
    """Answer as the embedded model that the request names, or with `canned` for any other.

    The models are ``embedded.canned-v1:0``, ``embedded.echo-v1:0``, ``embedded.ngram-v1:0`` and
    ``embedded.drawing-v1:0``; an ARN that names one will do.
    """
    known = find(request.model)
    if known is None and request.model.startswith("embedded."):
        text = f"The provided model identifier is invalid. The embedded models are {', '.join(_MODELS)}."
        raise Refusal(400, "ValidationException", text)
    return _MODELS.get(known.id if known else "", lambda: canned)()(request)


def drawing(request: Request) -> Recording:
    """Answer with a picture, a rainbow in PNG, and a line of text: what a model sends that can draw."""
    check_abilities(request.to_kwargs())
    return recorded(request, [TextBlock("Here is a rainbow."), ImageBlock("png", {"bytes": _rainbow()})])


@cache
def _rainbow() -> bytes:
    """Half circles of six colours."""

    def pixel(x: int, y: int) -> tuple[int, int, int]:
        radius = ((x - _WIDTH / 2) ** 2 + (_HEIGHT - y) ** 2) ** 0.5
        band = int((120 - radius) // 10)
        return _COLOURS[band] if 0 <= band < len(_COLOURS) else (255, 255, 255)

    lines = (b"\0" + bytes(v for x in range(_WIDTH) for v in pixel(x, y)) for y in range(_HEIGHT))
    head = struct.pack(">IIBBBBB", _WIDTH, _HEIGHT, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(b"".join(lines), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


@cache
def _ngram() -> Responder:
    return ngram()


#: Model id -> what gives its responder.
_MODELS: dict[str, Callable[[], Responder]] = {
    OWN["canned"]: lambda: canned,
    OWN["echo"]: lambda: echo,
    OWN["ngram"]: _ngram,
    OWN["drawing"]: lambda: drawing,
}
