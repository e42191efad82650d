"""An answer as a stream in Anthropic's format: events, frames, and what HTTP says beside them.

Strategy: `Translator` is a fold that puts out events. Converse opens no block for text and reasoning, and
says why a message stopped before it says what it used: both are made up for here.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any, assert_never

from bedrock_nb.events import (
    BlockStop,
    CitationDelta,
    Event,
    ImageDelta,
    ImageStart,
    MessageComplete,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolResultDelta,
    ToolResultStart,
    ToolUse,
    ToolUseStart,
    Unknown,
)
from bedrock_nb.eventstream import Frame
from bedrock_nb.server import perform
from bedrock_nb.server.anthropic.answer import begun_by, cited_by, head_of, message_id, stop_of, usage_of
from bedrock_nb.shapes import PADDING

__all__ = ["Translator", "response_headers", "to_chunk"]

#: How a block begins whose first event is a delta.
_STARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "text": lambda: {"type": "text", "text": ""},
    "thinking": lambda: {"type": "thinking", "thinking": "", "signature": ""},
    "tool_use": lambda: begun_by("", "", None),
}


class Translator:
    """Typed events in, Anthropic's stream events out.

    Blocks come one after the other: a delta of another block ends the open one. A signature, and reasoning
    that is encrypted, come whole when their block ends: clients do not put pieces of them together.

    Parameters
    ----------
    model_id : str
    usage : mapping, optional
        Converse's usage as far as it is known before the answer; ``message_start`` repeats its input.
    id : str, optional
        The message's id, as `message_id` makes it; by default a random one.
    first_byte_ms : int, optional
        Milliseconds to the first event, for the closing metrics; may be set later. Without it the latency of
        the whole call stands there.
    """

    def __init__(
        self,
        model_id: str,
        usage: Mapping[str, Any] | None = None,
        *,
        id: str | None = None,
        first_byte_ms: int | None = None,
    ) -> None:
        self.model_id, self.usage = model_id, dict(usage or {})
        self.id = message_id(secrets.token_hex()) if id is None else id
        self.first_byte_ms = first_byte_ms
        self._begun = False
        self._stopped: MessageStop | None = None
        self._ended = False
        self._open: tuple[int, str] | None = None  # Converse's index, kind
        self._blocks = 0  # how many have begun here
        self._signature = ""
        self._redacted = b""

    def feed(self, event: Event) -> list[dict[str, Any]]:
        """Take one event; return what goes on the wire for it: nothing, one event or several.

        After `MessageStop` only `Metadata` counts, and after that nothing.
        """
        if self._ended or (self._stopped is not None and not isinstance(event, Metadata)):
            return []
        out = self._made(event)
        if out and not self._begun:
            self._begun = True
            out.insert(0, self._start())
        return out

    def finish(self) -> list[dict[str, Any]]:
        """The ending of an answer that stopped and has no `Metadata`; nothing in all other cases."""
        if self._ended or self._stopped is None:
            return []
        self._ended = True
        return [self._delta_of_message(self._stopped, self.usage), {"type": "message_stop"}]

    def _made(self, event: Event) -> list[dict[str, Any]]:
        match event:
            case MessageStart():
                self._begun, begun = True, self._begun
                return [] if begun else [self._start()]
            case TextDelta(index, text):
                return self._delta(index, "text", {"type": "text_delta", "text": text})
            case ReasoningDelta(index, text):
                return self._delta(index, "thinking", {"type": "thinking_delta", "thinking": text})
            case ToolInputDelta(index, fragment):
                return self._delta(index, "tool_use", {"type": "input_json_delta", "partial_json": fragment})
            case CitationDelta(index, citation):
                made = cited_by(citation)
                return self._delta(index, "text", made and {"type": "citations_delta", "citation": made})
            case ReasoningSignature(index, signature):
                out = self._delta(index, "thinking", None)
                self._signature += signature
                return out
            case RedactedReasoning(index, data):
                out = [] if self._open == (index, "redacted") else self._close()
                self._open = (index, "redacted")
                self._redacted += data
                return out
            case ToolUseStart(index, id, name, type):
                return self._begin(index, "tool_use", begun_by(id, name, type))
            case BlockStop(index):
                return self._close() if self._open and self._open[0] == index else []
            case MessageStop():
                out, self._stopped = self._close(), event
                return out
            case Metadata():
                return self._ending(event)
            case ToolResultStart() | ToolResultDelta() | ImageStart() | ImageDelta():
                return self._close()  # blocks that this format has no place for
            case ToolUse() | MessageComplete() | Seam() | StreamFault() | Unknown():
                return []
            case _:
                assert_never(event)

    def _start(self) -> dict[str, Any]:
        head = {**head_of(self.model_id, self.id), "content": [], "stop_reason": None, "stop_sequence": None}
        return {
            "type": "message_start",
            "message": {**head, "usage": {**usage_of(self.usage), "output_tokens": 0}},
        }

    def _begin(self, index: int, kind: str, block: Mapping[str, Any]) -> list[dict[str, Any]]:
        out = self._close()
        self._open = (index, kind)
        self._blocks += 1
        start = {"type": "content_block_start", "index": self._blocks - 1, "content_block": block}
        return [*out, start]

    def _delta(self, index: int, kind: str, delta: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """A delta, after the start of its block if that is not open; of None the start only."""
        out = [] if self._open == (index, kind) else self._begin(index, kind, _STARTS[kind]())
        return out if delta is None else [*out, self._piece(delta)]

    def _piece(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": self._blocks - 1, "delta": delta}

    def _close(self) -> list[dict[str, Any]]:
        """What ends the open block, with what was kept back of it."""
        if self._open is None:
            return []
        out = []
        index, kind = self._open
        self._open = None
        if kind == "redacted":
            data = b64encode(self._redacted).decode("ascii")
            out += self._begin(index, kind, {"type": "redacted_thinking", "data": data})
            self._open, self._redacted = None, b""
        if self._signature:
            out.append(self._piece({"type": "signature_delta", "signature": self._signature}))
            self._signature = ""
        return [*out, {"type": "content_block_stop", "index": self._blocks - 1}]

    def _delta_of_message(self, stop: MessageStop, usage: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "message_delta", "delta": stop_of(stop.reason, stop.fields), "usage": usage_of(usage)}

    def _ending(self, metadata: Metadata) -> list[dict[str, Any]]:
        if self._stopped is None:  # without messageStop there is no ending
            return []
        self._ended = True
        usage, latency = metadata.usage, metadata.latency_ms or 0
        metrics = {
            "inputTokenCount": usage.get("inputTokens", 0),
            "outputTokenCount": usage.get("outputTokens", 0),
            "invocationLatency": latency,
            "firstByteLatency": latency if self.first_byte_ms is None else self.first_byte_ms,
        }
        for theirs, ours in (
            ("cacheReadInputTokenCount", "cacheReadInputTokens"),
            ("cacheWriteInputTokenCount", "cacheWriteInputTokens"),
        ):
            if ours in usage:
                metrics[theirs] = usage[ours]
        ending = {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics}
        return [self._delta_of_message(self._stopped, usage), ending]


# -- HTTP ------------------------------------------------------------------------------------------


def to_chunk(event: Mapping[str, Any], padding: str = "") -> Frame:
    """The frame that carries one stream event.

    Parameters
    ----------
    event : mapping
        An event of a `Translator`.
    padding : str
        Value of the meaningless member ``p`` by which Bedrock varies the length of its frames.
    """
    payload = {"bytes": perform.dumps(event)}
    padded = {**payload, PADDING: padding} if padding else payload
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return Frame(headers, perform.dumps(padded))


def response_headers(usage: Mapping[str, Any], latency_ms: int) -> dict[str, str]:
    """The counts that InvokeModel's response has in its head.

    Parameters
    ----------
    usage : mapping
        Converse's usage.
    latency_ms : int
        Milliseconds that the call took.
    """
    counts = {
        "Invocation-Latency": latency_ms,
        "Input-Token-Count": usage.get("inputTokens", 0),
        "Output-Token-Count": usage.get("outputTokens", 0),
        "Cache-Read-Input-Token-Count": usage.get("cacheReadInputTokens", 0),
        "Cache-Write-Input-Token-Count": usage.get("cacheWriteInputTokens", 0),
    }
    return {f"X-Amzn-Bedrock-{name}": str(count) for name, count in counts.items()}
