"""The way of a byte as a picture: down through the server, over a socket, up through the client.

Strategy: a table of steps. Each step names what does it by its place in the code, which is looked up while
the site is built: whoever renames it is told here. Steps of both sides that stand level handle the same
thing, one for the other.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from _ext.svg import arrow, box, drawing, text


class Step(NamedTuple):
    """One step: what does it, by its place below ``bedrock_nb``; what it makes of what it gets."""

    name: str
    does: str


#: What passes between one row and the next -> the step of the server above it, and that of the client.
ROWS: tuple[tuple[str, Step, Step], ...] = (
    (
        "",
        Step("request.Request", "what is asked"),
        Step("reply.Reply", "events, text, message, as they come"),
    ),
    (
        "Recording",
        Step("server.responders.scripted", "a responder: Request → Recording"),
        Step("recording.Recording", "each event with its time"),
    ),
    (
        "",
        Step("server.latency.Latency", "when each event is due"),
        Step("intake.Intake", "the loop: one pass, nothing kept twice"),
    ),
    (
        "Event",
        Step("wire.to_frame", "Event → Frame"),
        Step("wire.from_frame", "Frame → Event"),
    ),
    (
        "Frame",
        Step("eventstream.encode", "Frame → bytes, with checksums"),
        Step("eventstream.FrameDecoder", "bytes → Frame, checked"),
    ),
    (
        "bytes",
        Step("server.sending.Sending", "writes, each when it is due"),
        Step("body.TappedBody", "bytes, stamped as they leave the socket"),
    ),
)

#: Where the client's loop hands each event on to, besides.
BESIDES = (
    Step("journal.Journal", "a line on disk"),
    Step("assembly.Fold", "events → Message"),
)

_W, _X, _H, _PITCH = 330, (10, 660), 54, 92


def found(name: str) -> Any:
    """What a step's name stands for in the code.

    Raises
    ------
    ModuleNotFoundError, AttributeError
        It was renamed, or has gone.
    """
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(f"bedrock_nb.{module}"), last)


def picture(_: str = "") -> str:
    """The drawing, as HTML."""
    parts = [
        text(_X[0] + _W / 2, 18, "the embedded server", 15, "dim"),
        text(_X[1] + _W / 2, 18, "the client", 15, "dim"),
    ]
    top = 32
    for number, (carried, down, up) in enumerate(ROWS):
        y: float = top + number * _PITCH
        for x, step in ((_X[0], down), (_X[1], up)):
            parts += _step(x, y, _W, step, strong=step.name == "recording.Recording")
        if carried:
            parts.append(text(500, y + 33, carried, 15))
            parts.append(
                f'<path class="line" stroke-dasharray="3 5" d="M{_X[0] + _W + 12:g} {y + 28:g}H{440:g}"/>'
            )
            parts.append(
                f'<path class="line" stroke-dasharray="3 5" d="M{560:g} {y + 28:g}H{_X[1] - 12:g}"/>'
            )
        if number:
            parts.append(arrow(_X[0] + _W / 2, y - _PITCH + _H + 3, _X[0] + _W / 2, y - 3))
            parts.append(arrow(_X[1] + _W / 2, y - 3, _X[1] + _W / 2, y - _PITCH + _H + 3))
    loop = top + next(i for i, row in enumerate(ROWS) if row[2].name == "intake.Intake") * _PITCH
    for number, step in enumerate(BESIDES):
        y = loop + _H / 2 - 46 + number * 48
        parts += _step(410, y, 180, step, h=44)
        parts.append(arrow(_X[1] - 3, loop + _H / 2, 594, y + 22))
    end = top + len(ROWS) * _PITCH - _PITCH + _H
    parts.append(box(_X[0], end + 38, _X[1] + _W - _X[0], 34, "box strong"))
    parts.append(
        text(500, end + 60, "a TCP socket on loopback; or the service itself in place of the left side", 14)
    )
    parts.append(arrow(_X[0] + _W / 2, end + 3, _X[0] + _W / 2, end + 35))
    parts.append(arrow(_X[1] + _W / 2, end + 35, _X[1] + _W / 2, end + 3))
    title = "An answer goes down through the embedded server, over a socket, and up through the client"
    return drawing(1000, end + 76, title, parts) + "\n"


def _step(x: float, y: float, w: float, step: Step, *, h: float = _H, strong: bool = False) -> list[str]:
    found(step.name)
    return [
        box(x, y, w, h, "box strong" if strong else "box"),
        text(x + w / 2, y + h / 2 - 4, step.name, 15, "mono"),
        text(x + w / 2, y + h / 2 + 16, step.does, 13, "dim"),
    ]
