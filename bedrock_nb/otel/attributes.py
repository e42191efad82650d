"""What a recording says, as attributes of OpenTelemetry's conventions for generative AI.

Strategy: one table from places in a request to attributes; the rest is taken from the metrics, so that both
say the same. Every text is made fit for a protocol buffer, and loses the numbers of AWS accounts. What an
error says is in no attribute: it may quote a prompt. `content` is made apart, for who asks for it.

Not here: OpenTelemetry itself; see `exporting`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bedrock_nb import settings
from bedrock_nb.audit import cleaned
from bedrock_nb.errors import FAULTS, REFUSALS, ServiceError, without_accounts
from bedrock_nb.message import (
    ImageBlock,
    Message,
    ReasoningBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)
from bedrock_nb.metrics import Facts
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun

__all__ = ["common", "content", "error_type", "of_reply", "of_tool", "wants_content"]

_FLAG = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_YES = ("true", "1", "span_only", "span_and_event")  # the later ones are of opentelemetry-util-genai
_LARGEST = 2**63 - 1  # whole number that OTLP can say


def _number(value: Any) -> float | None:
    return float(value) if type(value) is float or _whole(value) is not None else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int and abs(value) <= _LARGEST else None


def _text(value: Any) -> str | None:
    """Text that a protocol buffer takes, with no account in it: half of a surrogate pair becomes U+FFFD."""
    if not isinstance(value, str) or not value:
        return None
    sound = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str(without_accounts(sound))


def _texts(value: Any) -> tuple[str, ...] | None:
    found = [_text(text) for text in value] if isinstance(value, list | tuple) else []
    return tuple(text for text in found if text) or None


#: Attribute -> where it stands in a request, and as what.
_ASKED: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("gen_ai.request.max_tokens", "inferenceConfig.maxTokens", _whole),
    ("gen_ai.request.temperature", "inferenceConfig.temperature", _number),
    ("gen_ai.request.top_p", "inferenceConfig.topP", _number),
    ("gen_ai.request.stop_sequences", "inferenceConfig.stopSequences", _texts),
    ("gen_ai.request.top_k", "additionalModelRequestFields.top_k", _whole),
    ("gen_ai.request.reasoning.level", "outputConfig.effort", _text),
    ("gen_ai.output.type", "outputConfig.textFormat", lambda asked: "json" if asked else None),
    ("aws.bedrock.guardrail.id", "guardrailConfig.guardrailIdentifier", _text),
)


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if value is not None}


def _asked(request: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for attribute, place, kind in _ASKED:
        outer, _, inner = place.partition(".")
        found = request.get(outer)
        yield attribute, kind(found.get(inner)) if isinstance(found, Mapping) else None


def _labels(labels: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Those that are one plain value, as in the audit log: anything else may hold anything."""
    for name, value in labels.items():
        plain = value if isinstance(value, bool | float) else _text(value) or _whole(value)
        if plain is not None:
            yield f"bedrock_nb.label.{_text(str(name)) or ''}", plain


def _finish_reasons(recording: Recording, known: Facts) -> tuple[str, ...] | None:
    """Bedrock's own word; ``error`` for an answer that had begun and never came to say one."""
    said = _text(recording.stop_reason)
    return (said,) if said else ("error",) if known.e1 is not None else None


# -- of spans --------------------------------------------------------------------------------------


def common(recording: Recording) -> dict[str, Any]:
    """The attributes that every span and metric of a reply has."""
    always = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "aws.bedrock"}
    return _given({**always, "gen_ai.request.model": _text(recording.model)})


def error_type(recording: Recording, error: BaseException | None) -> str | None:
    """A word for what went wrong, of which there are few; None if nothing did, or it was cancelled."""
    if recording.status in ("complete", "cancelled"):
        return None
    if isinstance(error, ServiceError) and (error.code in FAULTS or error.code in REFUSALS):
        return error.code
    return type(error).__name__ if error is not None else recording.status


def of_reply(
    recording: Recording, known: Facts, values: Mapping[str, Any], cache_write: str
) -> dict[str, Any]:
    """The attributes of a reply's span, but for its error and its content.

    Parameters
    ----------
    recording : Recording
    known : Facts
    values : mapping
        Its metrics.
    cache_write : str
        The name of the attribute for input tokens that were written to a cache.
    """
    cached = {"cacheReadInputTokens": "cache_read_tokens", "cacheWriteInputTokens": "cache_write_tokens"}
    read, written = (values[ours] if theirs in known.usage else None for theirs, ours in cached.items())
    return _given(
        {
            **common(recording),
            **dict(_asked(recording.request)),
            "gen_ai.request.stream": None if recording.whole else True,
            "gen_ai.conversation.id": _text(recording.labels.get("conversation")),
            "gen_ai.response.finish_reasons": _finish_reasons(recording, known),
            "gen_ai.response.time_to_first_chunk": None if recording.whole else values["ttft_s"],
            "gen_ai.usage.input_tokens": values["total_input_tokens"],
            "gen_ai.usage.output_tokens": values["output_tokens"],
            "gen_ai.usage.cache_read.input_tokens": read,
            cache_write: written,
            "aws.request_id": _text(recording.envelope.get("request_id")),
            "bedrock_nb.status": recording.status,
            **dict(_labels(recording.labels)),
        }
    )


def of_tool(run: ToolRun) -> dict[str, Any]:
    """The attributes of a tool's span, but for its arguments."""
    return _given(
        {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": _text(run.name) or "unknown",
            "gen_ai.tool.call.id": _text(run.id),
            "gen_ai.tool.type": "function",
            "error.type": run.outcome if run.outcome in ("error", "timeout") else None,
        }
    )


# -- content, if that is asked for -----------------------------------------------------------------


def wants_content(content: bool | None) -> bool:
    """Whether content is exported: as it was said, else as the environment variable says."""
    return os.environ.get(_FLAG, "").strip().lower() in _YES if content is None else content


def content(recording: Recording, run: ToolRun | None = None) -> dict[str, Any]:
    """The attributes that hold content: of a reply, or of one of its tools; JSON, each text redacted.

    Where a request cannot be read, or the redaction fails, there is none, and an attribute that says so.
    """
    if not recording.keeps:
        return {}
    try:
        return _arguments_of(recording, run) if run is not None else _messages(recording)
    except Exception as err:
        return {"bedrock_nb.content_failed": type(err).__name__}


def _messages(recording: Recording) -> dict[str, Any]:
    redact = settings.current().redact or str
    asked = [_turn(Message.from_dict(turn), redact) for turn in recording.request.get("messages") or ()]
    said = recording.request.get("system") or ()
    system = [{"type": "text", "content": redact(block["text"])} for block in said if "text" in block]
    answer = _turn(recording.message, redact)
    found = {
        "gen_ai.system_instructions": system,
        "gen_ai.input.messages": asked,
        "gen_ai.output.messages": [{**answer, "finish_reason": recording.stop_reason or "error"}]
        if answer["parts"]
        else [],
    }
    return {name: json.dumps(value) for name, value in found.items() if value}


def _arguments_of(recording: Recording, run: ToolRun) -> dict[str, Any]:
    redact = settings.current().redact or str
    call = next((call for call in recording.message.tool_uses if call.id == run.id), None)
    return {} if call is None else {"gen_ai.tool.call.arguments": json.dumps(_arguments(call, redact))}


def _turn(message: Message, redact: Callable[[str], str]) -> dict[str, Any]:
    return {"role": message.role, "parts": [_part(block, redact) for block in message.content]}


def _part(block: Any, redact: Callable[[str], str]) -> dict[str, Any]:
    """A content block as a part of the conventions' messages; bytes as their number."""
    match block:
        case TextBlock(text):
            return {"type": "text", "content": redact(text)}
        case ReasoningBlock(text):
            return {"type": "reasoning", "content": redact(text)}
        case ToolUseBlock(id, name):
            return {"type": "tool_call", "id": id, "name": name, "arguments": _arguments(block, redact)}
        case ToolResultBlock(id, content):
            return {"type": "tool_call_response", "id": id, "response": cleaned(content, redact)}
        case ImageBlock(format, source):
            return {"type": "image", "format": format, "bytes": len(source.get("bytes") or b"")}
        case UnknownBlock(payload):
            return {"type": next(iter(payload), "unknown")}
        case _:
            return {"type": "redacted_reasoning"}


def _arguments(call: ToolUseBlock, redact: Callable[[str], str]) -> Any:
    """The arguments of a call; the text of what is no JSON."""
    if call.input is None:
        return redact(call.raw)
    return cleaned(call.input, redact, named_by_others=True)
