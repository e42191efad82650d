"""Responders: functions from a `Request` to its answer. The simple ones, and those that join others.

Strategy: a responder that knows its whole answer returns a `Recording`: `writing.recorded` makes one from
text or content blocks, a cassette loads one. A responder that gets its answer bit by bit is a generator of
events, or returns anything else that yields them, such as a `Reply`: each is performed as it comes. To refuse
a request, a responder raises a `RefusedError`, such as
``errors.ThrottlingError("ThrottlingException", "Slow down.", 429)``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from inspect import isgenerator
from itertools import chain, cycle, islice
from typing import Any, TypeAlias, get_args

from bedrock_nb.errors import FAULTS, RefusedError, RequestError, ServiceFault, StreamError, service_fault
from bedrock_nb.events import Event, MessageComplete, Metadata, StreamFault, ToolUse
from bedrock_nb.message import Block, TextBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.fields import check_abilities
from bedrock_nb.server.perform import Row
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.writing import dice, last_turn, recorded, text_of, tool_use

__all__ = ["Answer", "Coming", "Responder", "by_model", "call_tool", "echo", "in_turn", "scripted"]

#: What a responder gives: a recording, or events that are performed as they come.
Answer: TypeAlias = Recording | Iterable[Event]
#: What the embedded server asks: anything that answers a request.
Responder: TypeAlias = Callable[[Request], Answer]
#: What a model says: text, or content blocks; or whatever a responder gives.
Said: TypeAlias = str | Sequence[Block] | Recording | Responder


# -- simple ones -----------------------------------------------------------------------------------


def echo(request: Request) -> Recording:
    """Say the last user turn's text again: a model of known length and content."""
    check_abilities(request.to_kwargs())
    return recorded(request, text_of(last_turn(request)) or "(no text)")


def scripted(*answers: Said) -> Responder:
    """Say these things, one a request, in this order; after the last, the last again.

    Parameters
    ----------
    *answers : str, sequence of Block, Recording, or responder
        Text or blocks are written as a model writes; a recording is performed as it is; a responder is asked.

    Examples
    --------
    >>> respond = scripted("First.", "Second.")
    >>> [respond(Request(prompt="Go on.")).text for _ in range(3)]
    ['First.', 'Second.', 'Second.']
    """
    if not answers:
        raise RequestError("There is nothing to say.", remedy='Give texts or blocks: scripted("Hello.").')
    lock, turns = threading.Lock(), iter(answers)

    def respond(request: Request) -> Answer:
        with lock:
            said = next(turns, answers[-1])
        return _answered(request, said)

    return _named(respond, "scripted")


def in_turn(*responders: Responder) -> Responder:
    """Ask these responders one after another, and then again from the first: round and round."""
    if not responders:
        raise RequestError("There is no responder.", remedy="Give some: in_turn(canned, echo).")
    lock, turns = threading.Lock(), cycle(responders)

    def respond(request: Request) -> Answer:
        with lock:
            chosen = next(turns)
        return chosen(request)

    return _named(respond, "in_turn")


def call_tool(name: str, input: Mapping[str, Any] | None = None, *, then: Said = "Done.") -> Responder:
    """Ask for a tool, and say something when its result has come.

    Parameters
    ----------
    name : str
        The tool; it must be among those that the request offers.
    input : mapping, optional
        What it is called with; by default something that fits its schema.
    then : str, sequence of Block, Recording, or responder
        The answer to a turn with tool results.
    """

    def respond(request: Request) -> Answer:
        content = last_turn(request)
        if any("toolResult" in block for block in content):
            return _answered(request, then)
        tools = (request.to_kwargs().get("toolConfig") or {}).get("tools") or ()
        spec = next(
            (tool["toolSpec"] for tool in tools if tool.get("toolSpec", {}).get("name") == name), None
        )
        if spec is None:
            text = f"The responder calls the tool {name!r}, and the request offers none of that name."
            raise Refusal(400, "ValidationException", text)
        rng = dice(f"{len(request.conversation)}/{text_of(content)}")
        return recorded(request, [tool_use(spec, text_of(content), rng, input)])

    return _named(respond, "call_tool")


def by_model(responders: Mapping[str, Responder], otherwise: Responder) -> Responder:
    """Ask the responder whose pattern fits the request's model id; the first that does.

    Parameters
    ----------
    responders : mapping of str to responder
        Patterns in the manner of file names, such as ``"*claude*"``.
    otherwise : responder
        For all other models.
    """

    def respond(request: Request) -> Answer:
        fits = (chosen for pattern, chosen in responders.items() if fnmatchcase(request.model, pattern))
        return next(fits, otherwise)(request)

    return _named(respond, "by_model")


def _answered(request: Request, said: Said) -> Answer:
    if isinstance(said, Recording):
        return said
    if callable(said):
        return said(request)
    return recorded(request, [TextBlock(said)] if isinstance(said, str) else said)


def _named(respond: Responder, name: str) -> Responder:
    respond.__name__ = respond.__qualname__ = name
    return respond


# -- answers that are still being made -------------------------------------------------------------


class Coming:
    """The events of an answer that is still being made, with the times at which they come.

    The first event is waited for at once: until then, a refusal can be an HTTP error. A fault is none: it is
    the first event, and the last.

    Parameters
    ----------
    events : iterable of Event
    since : float
        When the answer began, on the clock.
    clock : function
        Seconds.
    """

    def __init__(
        self, events: Iterable[Event], since: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._since, self._clock = events, since, clock
        self._events = iter(events)
        self._busy = threading.Lock()
        #: Token counts, once the answer has said them.
        self.usage: dict[str, Any] = {}
        try:
            self._first: list[Any] = list(islice(self._events, 1))
        except ServiceFault as err:
            self._first = [StreamFault(err)]

    def rows(self) -> Iterator[Row]:
        """Each event that goes on a wire, with its time; an error of the source becomes the last event."""
        events = chain(self._first, self._events)
        while True:
            with self._busy:
                try:
                    event = next(events)
                except StopIteration:
                    return
                except Exception as err:
                    event = StreamFault(_fault(err))
            if not isinstance(event, _EVENTS):
                wrong = f"The responder gave a {type(event).__name__} where an event is wanted."
                event = StreamFault(service_fault(_INTERNAL, wrong))
            if isinstance(event, Metadata):
                self.usage = event.usage
            if not isinstance(event, ToolUse | MessageComplete):  # the client makes these itself
                yield self._clock() - self._since, event
            if isinstance(event, StreamFault):
                return

    def collect(self, kwargs: Mapping[str, Any]) -> Recording:
        """All of them, as a recording of what was asked."""
        recording = Recording(kwargs, clock="schedule")
        for t, event in self.rows():
            recording.append(event, t)
        return recording

    def close(self) -> None:
        """Nobody wants the rest."""
        close = getattr(self._source, "close", None)
        if close is None:
            return
        if isgenerator(self._source):  # may not be closed while it runs
            with self._busy:
                close()
        else:
            close()


_EVENTS = get_args(Event)
_INTERNAL = "internalServerException"
#: Name of a refusal -> of the fault in a stream, where it is not the same but for its first letter.
_AS_FAULT = {
    "ModelErrorException": "modelStreamErrorException",
    "ModelTimeoutException": "modelStreamErrorException",
    "ModelNotReadyException": "serviceUnavailableException",
    "AccessDeniedException": "validationException",
    "ResourceNotFoundException": "validationException",
    "ServiceQuotaExceededException": "throttlingException",
}


def _fault(err: Exception) -> StreamError:
    """What a stream that has begun says of an error: of a refusal, the fault that is as much."""
    if isinstance(err, RefusedError):
        name = err.code[:1].lower() + err.code[1:]
        return service_fault(_AS_FAULT.get(err.code, name if name in FAULTS else _INTERNAL), err.message)
    if isinstance(err, StreamError):
        return err
    return service_fault(_INTERNAL, f"The responder raised {type(err).__name__}: {err}")
