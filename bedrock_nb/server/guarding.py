"""A guardrail around a responder: prompts that it refuses, and answers that it stops.

Strategy: `guarded` wraps any responder. A prompt with a word of the list never reaches it, and its answer
passes through a `_Watch`, an event at a time, which either holds text back until it is known to be clean
(``sync``) or lets it go and stops the answer a little later (``async``), as the service does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import wraps
from typing import Any

from bedrock_nb.assembly import to_events
from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    Event,
    MessageStop,
    Metadata,
    ReasoningDelta,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUse,
)
from bedrock_nb.message import Message, TextBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.guardrail import (
    DEFAULT,
    REASONS,
    Guardrail,
    Patterns,
    asked_texts,
    assessment,
    named,
)
from bedrock_nb.server.responders import Answer, Responder
from bedrock_nb.server.tokens import count
from bedrock_nb.server.writing import input_tokens

__all__ = ["guarded", "settled"]

#: In sync mode text leaves in pieces of about this many characters. The service does not say how many it
#: takes; this is enough for the pieces to be seen in a plot, and few enough for a short answer to have some.
_PIECE = 200
#: In async mode so many deltas still leave after the one that completes a word: the check takes its time.
_LATE = 3
_INTERVENED = "guardrail_intervened"


# -- around a responder ----------------------------------------------------------------------------


def guarded(respond: Responder, guardrails: Iterable[Guardrail] = (DEFAULT,)) -> Responder:
    """A responder that honours ``guardrailConfig``. A request without one goes straight to the model.

    If the prompt has a word of the guardrail, the model is not asked and no tokens are used. If the answer
    has one, `Guardrail.blocked_output` takes the place of what was not yet sent. In ``sync`` mode, which is
    the default, text leaves in pieces of about 200 characters, each after its check; in ``async`` mode it
    leaves as it comes, and the answer breaks off three deltas after the word. Reasoning and tools pass
    unchecked.

    Parameters
    ----------
    respond : Responder
        The model. Both kinds of answer will do: a recording, of which the times are kept, and events that
        come one by one, which are closed when the guardrail stops them. Of those the usage is an estimate.
    guardrails : iterable of Guardrail
        Those that exist.

    Returns
    -------
    Responder
        It raises a `Refusal` for a guardrail that does not exist. One that asks another service, as `bedrock`
        and `Cassette` do, is returned as it is.
    """
    if getattr(respond, "asks_elsewhere", False):  # there are the guardrails that the request means
        return respond
    known = tuple(guardrails)

    @wraps(respond)
    def answer(request: Request) -> Answer:
        config = request.extra.get("guardrailConfig") or {}
        id, version = config.get("guardrailIdentifier") or "", config.get("guardrailVersion") or ""
        if not id and not version:
            return respond(request)
        watch = _Watch(named(known, id, version), request.to_kwargs(), config)
        if watch.refuses:
            return watch.refusal()
        given = respond(request)
        if isinstance(given, Recording):
            return _screened(given, watch)
        events = _live(given, watch)
        next(events)  # so that close() reaches the inner events also before the first is taken
        return events

    return answer


def _screened(recording: Recording, watch: _Watch) -> Recording:
    """A whole answer as it leaves a guardrail: each piece of text at the time of the delta that ends it."""
    copy = recording.like()
    t = 0.0
    for row in recording.rows():
        t = t if watch.stopped else row.t
        for event in watch.feed(row.event):
            if watch.stopped and isinstance(event, Metadata) and event.latency_ms:
                event = replace(event, latency_ms=round(t * 1000))
            copy.append(event, t)
    for event in watch.finish():
        copy.append(event, t)
    copy.status = "complete" if watch.stopped else recording.status
    return copy


def _live(events: Iterable[Event], watch: _Watch) -> Iterator[Event]:
    """Events as they leave a guardrail. The first thing that comes is none of them, but a start."""
    try:
        yield MessageStop("")
        for event in events:
            yield from watch.feed(event)
            if watch.stopped:
                break
        yield from watch.finish()
    finally:
        close = getattr(events, "close", None)
        if callable(close):
            close()


def settled(recording: Recording, guardrails: Iterable[Guardrail] = (DEFAULT,)) -> Recording:
    """The same answer as a plain call gives it: where a guardrail stopped it, nothing but its last words.

    A stream cannot take back what it has sent before the word came; Converse has sent nothing yet.

    Parameters
    ----------
    recording : Recording
    guardrails : sequence of Guardrail
        Those that may have stopped it.

    Returns
    -------
    Recording
        The very same one, if none of them stopped it.
    """
    if recording.stop_reason != _INTERVENED:
        return recording
    said = [event.text for event in recording if isinstance(event, TextDelta)]
    words = {text for each in guardrails for text in (each.blocked_input, each.blocked_output)}
    if not words.intersection(said[-1:]):  # another service did, and says it as it likes
        return recording
    plain = recording.like()
    end = max(recording.times, default=0.0)
    for event in to_events(Message("assistant", (TextBlock("".join(said[-1:])),)), stop_reason=_INTERVENED):
        plain.append(event, end)
    if recording.metadata is not None:
        plain.append(recording.metadata, end)
    plain.status = recording.status
    return plain


# -- the watch -------------------------------------------------------------------------------------


class _Held:
    """The text of one block that is not yet known to be clean, and the citations that came with it."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.before, self.text = "", ""  # the last character that is through; what is not through
        self.unchecked = 0  # characters that came since the last check
        self.riders: list[tuple[int, Event]] = []  # position in the text, event
        self.began = False

    def clean(self, patterns: Patterns, *, last: bool) -> int | None:
        """How much of the text may leave; None if there is a word in it."""
        self.unchecked = 0
        text, begin = self.before + self.text, len(self.before)
        if (patterns.ended if last else patterns.passed).search(text, begin):
            return None
        begun = None if last else patterns.begun.search(text, begin)
        return (begun.start() if begun else len(text)) - begin

    def release(self, size: int, *, last: bool = False) -> list[Event]:
        """Let the first characters go, and what came among them."""
        out: list[Event] = []
        at = 0
        while self.riders and self.riders[0][0] <= size:
            place, event = self.riders.pop(0)
            if place > at:
                out.append(TextDelta(self.index, self.text[at:place]))
            out.append(event)
            at = place
        if size > at or (last and not self.began and not out):  # a block may be one empty delta
            out.append(TextDelta(self.index, self.text[at:size]))
        self.began = self.began or bool(out)
        self.before = (self.before + self.text[:size])[-1:]
        self.text = self.text[size:]
        self.riders = [(place - size, event) for place, event in self.riders]
        return out


class _Watch:
    """A guardrail at work on one request: events of the model in, events for the client out."""

    def __init__(self, guardrail: Guardrail, kwargs: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self.stopped = False
        self._guardrail, self._kwargs = guardrail, kwargs
        self._trace = config.get("trace") or "disabled"
        self._late = config.get("streamProcessingMode") == "async"
        self._left: int | None = None  # deltas that still leave, in async mode, after a word was seen
        self._held: dict[int, _Held] = {}
        self._open: dict[int, None] = {}
        self._said: dict[int, list[str]] = {}
        self._tokens = 0
        self._closed = False
        self._texts, self._total = asked_texts(kwargs)

    @property
    def refuses(self) -> bool:
        """Whether the prompt is blocked."""
        return any(self._guardrail.patterns.ended.search(text) for text in self._texts)

    def refusal(self) -> Recording:
        """The answer to a prompt that is blocked."""
        recording = Recording(self._kwargs, clock="schedule")
        message = Message("assistant", (TextBlock(self._guardrail.blocked_input),))
        for event in to_events(message, stop_reason=_INTERVENED):
            recording.append(event, 0.0)
        recording.append(
            Metadata(
                {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0},
                0,
                trace=self._traced(None, blocked=True, answered=False),
                performance_config=self._kwargs.get("performanceConfig"),
                service_tier=self._kwargs.get("serviceTier"),
            ),
            0.0,
        )
        recording.status = "complete"
        return recording

    def feed(self, event: Event) -> list[Event]:
        """Take one event of the model; return what may leave now."""
        if self.stopped:
            return [self._last(event)] if isinstance(event, Metadata) and not self._closed else []
        out = self._step(event)
        for left in out:
            if isinstance(left, BlockStop):
                self._open.pop(left.index, None)
            elif hasattr(left, "index") and not isinstance(left, ToolUse):
                self._open[left.index] = None
        return out

    def finish(self) -> list[Event]:
        """There are no more events: what is left, and metadata if the guardrail ended the answer."""
        out = [] if self.stopped else self._flush()
        if self.stopped and not self._closed:
            asked = input_tokens(self._kwargs)
            usage = {
                "inputTokens": asked,
                "outputTokens": self._tokens,
                "totalTokens": asked + self._tokens,
            }
            out.append(self._last(Metadata(usage, 0)))
        return out

    def _step(self, event: Event) -> list[Event]:
        match event:
            case TextDelta(index, text):
                self._tokens += count(text)
                if self._trace != "disabled":
                    self._said.setdefault(index, []).append(text)
                held = self._held.setdefault(index, _Held(index))
                held.text += text
                held.unchecked += len(text)
                return self._seen(held, event) if self._late else self._kept(held)
            case CitationDelta(index) if index in self._held and not self._late:
                held = self._held[index]
                held.riders.append((len(held.text), event))
                return held.release(0) if not held.text else []
            case BlockStop(index):
                out = self._flush([index])
                return out if self.stopped else [*out, event]
            case Metadata():
                out = self._flush()
                return [*out, self._last(event)]
            case MessageStop() | StreamFault() | Seam("restart"):
                out = self._flush()
                return out if self.stopped else [*out, event]
            case ReasoningDelta(_, text) | ToolInputDelta(_, text):
                self._tokens += count(text)
        return [event]

    def _kept(self, held: _Held) -> list[Event]:
        """In sync mode: nothing leaves before there is a piece to check."""
        if held.unchecked < _PIECE:
            return []
        size = held.clean(self._guardrail.patterns, last=False)
        return self._stop(held.index) if size is None else held.release(size)

    def _seen(self, held: _Held, event: Event) -> list[Event]:
        """In async mode: it leaves, and is checked."""
        if self._left is not None:
            self._left -= 1
            return [event] if self._left else [event, *self._stop(held.index)]
        size = held.clean(self._guardrail.patterns, last=False)
        if size is None:
            self._left = _LATE
        else:
            held.release(size)
        return [event]

    def _flush(self, indices: Iterable[int] | None = None) -> list[Event]:
        """Blocks end, or all of the message does: what is held leaves or does not."""
        if self._left is not None:
            return self._stop(None)
        out: list[Event] = []
        for index in list(self._held) if indices is None else indices:
            held = self._held.pop(index, None)
            if held is None:
                continue
            size = held.clean(self._guardrail.patterns, last=True)
            if size is None:
                return [*out, *self._stop(index)]
            if not self._late:
                out += held.release(size, last=True)
        return out

    def _stop(self, index: int | None) -> list[Event]:
        """The end of an answer with a word in it."""
        self.stopped = True
        out: list[Event] = []
        if index is not None and not self._late:
            out.append(TextDelta(index, self._guardrail.blocked_output))
        ends = dict.fromkeys((*self._open, *(() if index is None else (index,))))
        return [*out, *(BlockStop(i) for i in ends), MessageStop(_INTERVENED)]

    def _last(self, event: Metadata) -> Metadata:
        self._closed = True
        return replace(event, trace=self._traced(event.trace, blocked=self.stopped, answered=True))

    def _traced(
        self, trace: dict[str, Any] | None, *, blocked: bool, answered: bool
    ) -> dict[str, Any] | None:
        """The trace, with what the guardrail found if that is wanted."""
        if self._trace == "disabled":
            return trace
        full, id = self._trace == "enabled_full", self._guardrail.id
        said: dict[str, Any] = {
            "inputAssessment": {id: assessment(self._guardrail, self._texts, self._total, full=full)},
            "actionReason": REASONS[blocked],
        }
        if answered:
            texts = ["".join(parts) for parts in self._said.values()]
            checked = assessment(self._guardrail, texts, sum(map(len, texts)), full=full)
            said["outputAssessments"] = {id: [checked]}
            if blocked:
                said["modelOutput"] = texts
        return {**(trace or {}), "guardrail": said}
