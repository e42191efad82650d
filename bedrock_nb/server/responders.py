"""Responders: functions from a `Request` to its answer. The simple ones, and those that join others.

Strategy: a responder that knows its whole answer returns a `Recording`: `writing.recorded` makes one from
text or content blocks, a cassette loads one. A responder that gets its answer bit by bit is a generator of
events, or returns anything else that yields them, such as a `Reply`: each is performed as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from bedrock_nb.events import Event
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request

__all__ = ["Answer", "Responder"]

#: What a responder gives: a recording, or events that are performed as they come.
Answer: TypeAlias = Recording | Iterable[Event]
#: What the embedded server asks: anything that answers a request.
Responder: TypeAlias = Callable[[Request], Answer]
