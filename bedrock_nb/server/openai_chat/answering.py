"""Chunks of a chat completion -> Bedrock's events.

Strategy: `Writer` takes one chunk after another and says which events follow. It allows for what servers do
differently: how they number tool calls, whether they give ids, what they call reasoning, whether they count.

Names there: https://platform.openai.com/docs/api-reference/chat/streaming
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bedrock_nb.events import (
    BlockStop,
    Event,
    MessageStop,
    Metadata,
    ReasoningDelta,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.message import parse_input
from bedrock_nb.server.tokens import count
from bedrock_nb.server.writing import input_tokens

__all__ = ["Writer"]


@dataclass
class _Call:
    """A request for a tool that is coming. ``index`` is its block's, None until its name has come.

    ``key`` and ``sent_id`` are the server's; an id that it does not send, or that Bedrock would refuse to
    take back, is made.
    """

    key: int
    sent_id: str
    name: str = ""
    index: int | None = None
    input: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = f"tooluse_{secrets.token_urlsafe(16)}"
        self.id = self.sent_id if _ID.fullmatch(self.sent_id) else made

    @property
    def whole(self) -> bool:
        text = "".join(self.input)
        return bool(text.strip()) and parse_input(text) is not None


#: Why a message stopped, in Bedrock's words. Another reason is passed on as it is.
_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "content_filtered",
}
_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")


class Writer:
    """From chunks to events, those between messageStart and the end.

    Text and reasoning are one open block that ends when something else begins. Of tool calls several may be
    open at once, as servers may send them interleaved: one ends when its input is whole and another block
    begins, or with the message.

    Parameters
    ----------
    asked : mapping
        The request, as arguments of ``converse_stream``.
    elapsed_ms : function
        Milliseconds since it was sent on.
    """

    def __init__(self, asked: Mapping[str, Any], elapsed_ms: Callable[[], int]) -> None:
        self._asked, self._elapsed_ms = asked, elapsed_ms
        self._blocks = 0
        self._prose: tuple[type[TextDelta | ReasoningDelta], int] | None = None
        self._calls: list[_Call] = []
        self._open: set[int] = set()
        self._written: list[str] = []
        self._reason: str | None = None
        self._sequence: str | None = None
        self._usage: Mapping[str, Any] = {}

    def take(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Take a chunk; the events that follow from it."""
        self._usage = chunk.get("usage") or self._usage
        for choice in (chunk.get("choices") or ())[:1]:
            delta = choice.get("delta") or {}
            thought = _string(delta.get("reasoning_content") or delta.get("reasoning"))
            yield from self._say(ReasoningDelta, thought)
            yield from self._say(TextDelta, _string(delta.get("content") or delta.get("refusal")))
            for part in delta.get("tool_calls") or ():
                yield from self._call(part)
            if delta.get("function_call"):  # as it was before there could be several
                yield from self._call({"index": 0, "function": delta["function_call"]})
            self._reason = choice.get("finish_reason") or self._reason
            if isinstance(choice.get("stop_reason"), str):  # vLLM's; a number there is a token
                self._sequence = choice["stop_reason"]

    def end(self) -> Iterator[Event]:
        """The events at the end; none if the server did not say why it stopped: then it did not finish."""
        if self._reason is None:
            return
        if any(call.index is None for call in self._calls):
            raise ValueError("a tool call has no name")
        yield from map(BlockStop, sorted(self._open))
        reason = _REASONS.get(self._reason, self._reason)
        if reason == "end_turn":
            reason = "tool_use" if self._calls else "stop_sequence" if self._sequence else "end_turn"
        wanted = "/stop_sequence" in (self._asked.get("additionalModelResponseFieldPaths") or ())
        yield MessageStop(reason, {"stop_sequence": self._sequence} if wanted else None)
        yield Metadata(
            self._counted(),
            self._elapsed_ms(),
            performance_config=self._asked.get("performanceConfig"),
            service_tier=self._asked.get("serviceTier"),
        )

    def _say(self, kind: type[TextDelta | ReasoningDelta], text: str) -> Iterator[Event]:
        if not text:
            return
        if self._prose is None or self._prose[0] is not kind:
            yield from self._make_room()
            self._prose = (kind, self._begin())
        self._written.append(text)
        yield kind(self._prose[1], text)

    def _call(self, part: Mapping[str, Any]) -> Iterator[Event]:
        function = part.get("function") or {}
        call = self._which(part, function)
        call.name = call.name or _string(function.get("name"))
        given = function.get("arguments")
        piece = json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else _string(given)
        if call.index in self._open or call.index is None:
            if piece:
                call.input.append(piece)
                self._written.append(piece)
        elif piece.strip():
            raise ValueError(f"more input came for the tool call {call.id}, whose input was whole")
        else:
            return
        if call.index is None and call.name:
            yield from self._make_room()
            call.index = self._begin()
            yield ToolUseStart(call.index, call.id, call.name)
            piece = "".join(call.input)
        if call.index is not None and piece:
            yield ToolInputDelta(call.index, piece)

    def _which(self, part: Mapping[str, Any], function: Mapping[str, Any]) -> _Call:
        """The call that a part belongs to. Some servers number all calls 0, some none, some give no ids."""
        id, key = _string(part.get("id")), part.get("index")
        same = [call for call in self._calls if key is None or call.key == key]
        if same:
            last = same[-1]
            known, named = id and id == last.sent_id, bool(function.get("name"))
            other = id and last.sent_id and not known
            if not other and (known or not named or not last.whole):
                return last
        self._calls.append(_Call(len(self._calls) if key is None else key, id))
        return self._calls[-1]

    def _begin(self) -> int:
        self._blocks += 1
        self._open.add(self._blocks - 1)
        return self._blocks - 1

    def _make_room(self) -> Iterator[Event]:
        """Stop what is whole, before another block begins."""
        whole = [call.index for call in self._calls if call.index in self._open and call.whole]
        if self._prose is not None:
            whole.append(self._prose[1])
            self._prose = None
        for index in sorted(index for index in whole if index is not None):
            self._open.discard(index)
            yield BlockStop(index)

    def _counted(self) -> dict[str, Any]:
        """Usage in Bedrock's terms: what came from a cache is no part of ``inputTokens``."""
        asked, used = self._usage.get("prompt_tokens"), self._usage.get("completion_tokens")
        cached = (self._usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        if not isinstance(asked, int) or not isinstance(used, int):
            asked, used, cached = input_tokens(self._asked), count("".join(self._written)), 0
        usage = {"inputTokens": asked - cached, "outputTokens": used, "totalTokens": asked + used}
        return usage | ({"cacheReadInputTokens": cached} if cached else {})


def _string(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{type(value).__name__} came where text is wanted")
    return value
