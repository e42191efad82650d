"""A whole answer in Anthropic's format, from what Converse would say."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from bedrock_nb.recording import Recording
from bedrock_nb.server import perform
from bedrock_nb.server.anthropic.blocks import PLACES, WEB
from bedrock_nb.server.anthropic.members import is_a

__all__ = ["begun_by", "cited_by", "head_of", "message_id", "output", "stop_of", "usage_of"]

#: Converse's reasons to stop that Claude has other words for.
_REASONS = {
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
    "malformed_model_output": "end_turn",
    "malformed_tool_use": "end_turn",
}
_MODEL = re.compile(r"(?:.*[./])?anthropic\.(claude-[\w.-]+?)(?:-v\d+)?(?::[\w:]+)?")
_USAGE = {
    "input_tokens": "inputTokens",
    "cache_creation_input_tokens": "cacheWriteInputTokens",
    "cache_read_input_tokens": "cacheReadInputTokens",
    "output_tokens": "outputTokens",
}


def message_id(*known: Any) -> str:
    """The id of a message, which follows from these: anything that JSON can say, and bytes."""
    digest = hashlib.sha256(perform.dumps(known)).digest()
    alnum = b64encode(digest, b"ab").decode("ascii")
    return f"msg_bdrk_{alnum[:24]}"


def _model(model_id: str) -> str:
    """Anthropic's name of a model: the answer does not say Bedrock's."""
    match = _MODEL.fullmatch(model_id)
    return match[1] if match else model_id


def usage_of(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Converse's usage under Anthropic's names."""
    return {theirs: usage.get(ours, 0) for theirs, ours in _USAGE.items()}


def stop_of(reason: str, fields: Any) -> dict[str, Any]:
    """Why a message stopped, and at which stop sequence."""
    sequence = fields.get("stop_sequence") if isinstance(fields, Mapping) else None
    return {"stop_reason": _REASONS.get(reason, reason), "stop_sequence": sequence}


def head_of(model_id: str, id: str) -> dict[str, Any]:
    """What every message begins with."""
    return {"id": id, "type": "message", "role": "assistant", "model": _model(model_id)}


def output(recording: Recording, model_id: str) -> dict[str, Any]:
    """The body of InvokeModel's response.

    Input of a tool that is not one JSON object stands as ``{"invalid_json": text}``, as in Converse's.

    Parameters
    ----------
    recording : Recording
        The whole answer; the id follows from its request and its content.
    model_id : str

    Returns
    -------
    dict
        Anthropic's message.

    Raises
    ------
    Refusal
        The recording ends in a fault, or before the message does.
    """
    body = perform.output(recording)
    content = [made for block in body["output"]["message"]["content"] if (made := _said(block)) is not None]
    return {
        **head_of(model_id, message_id(recording.request, content)),
        "content": content,
        **stop_of(body["stopReason"], body.get("additionalModelResponseFields")),
        "usage": usage_of(body["usage"]),
    }


def _said(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """A block of Converse's answer in Anthropic's shape; None if it has none."""
    match block:
        case {"text": text}:
            return {"type": "text", "text": text}
        case {"citationsContent": {"content": parts, "citations": sources}}:
            text = "".join(part.get("text", "") for part in parts)
            citations = [made for source in sources if (made := cited_by(source)) is not None]
            return {"type": "text", "text": text, **({"citations": citations} if citations else {})}
        case {"reasoningContent": {"reasoningText": {"text": text, **rest}}}:
            return {"type": "thinking", "thinking": text, "signature": rest.get("signature", "")}
        case {"reasoningContent": {"redactedContent": data}}:
            return {"type": "redacted_thinking", "data": b64encode(data).decode("ascii")}
        case {"toolUse": use}:
            return {**begun_by(use["toolUseId"], use["name"], use.get("type")), "input": use["input"]}
        case _:
            return None


def begun_by(id: str, name: str, type: str | None) -> dict[str, Any]:
    """A tool use block before its input has come."""
    served = type == "server_tool_use"  # another type is no type of a block here
    return {"type": "server_tool_use" if served else "tool_use", "id": id, "name": name, "input": {}}


def cited_by(citation: Mapping[str, Any]) -> dict[str, Any] | None:
    """A citation in Anthropic's shape; None if it does not say a place that Anthropic has a type for."""
    parts = citation.get("sourceContent")
    parts = parts if isinstance(parts, list) else []
    text = "".join(part["text"] for part in parts if isinstance(part, dict) and is_a(part.get("text"), str))
    match citation.get("location"):
        case {"web": {"url": url}}:
            found = {"type": WEB, "url": url, "encrypted_index": "", "title": citation.get("title")}
            return {**found, "cited_text": text}
        case dict(location):
            for place, (type, index, start, end) in PLACES.items():
                at = location.get(place)
                if not isinstance(at, dict):
                    continue
                searched = place == "searchResultLocation"
                title = {"title" if searched else "document_title": citation.get("title")}
                source = {"source": citation.get("source") or ""} if searched else {}
                number = at.get("searchResultIndex" if searched else "documentIndex", 0)
                where = {index: number, start: at.get("start", 0), end: at.get("end", 0)}
                return {"type": type, "cited_text": text, **where, **title, **source}
    return None
