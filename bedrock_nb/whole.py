"""Answers that come whole: which calls are made without streaming, and what such an answer says as events.

Strategy: a plain answer (Converse) holds what a stream brings, in another shape. So its JSON is cut into the
payloads that would have streamed it, each block in one delta, and the table of the wire reads those: a member
that AWS adds tomorrow is kept here as it is there. A block that no stream can bring, a video for example, is
`Unknown`. So nothing is lost, and whatever reads a stream's events can read these too.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from bedrock_nb import models
from bedrock_nb.errors import PayloadError, RequestError
from bedrock_nb.events import BlockStop, Event, Unknown
from bedrock_nb.shapes import INDEX
from bedrock_nb.wire import from_wire

__all__ = ["BLOCK", "Whole", "events_of", "jsonable", "plain_params", "streams"]

#: The name of an `Unknown` that is a block which no stream can bring.
BLOCK = "contentBlock"
_START, _DELTA = "contentBlockStart", "contentBlockDelta"
#: What a stream can bring of a tool's result (AWS API reference, ToolResultContentBlockDelta).
_RESULTS = ({"text"}, {"json"})
#: Members of the answer that say how the message stopped; all others are those of a stream's metadata.
_STOP = ("stopReason", "additionalModelResponseFields")

#: Wire name and what lies in the payload besides the block's index.
_Payload: TypeAlias = tuple[str, dict[str, Any]]


def streams(asked: Mapping[str, Any], wanted: bool | None = None) -> bool:
    """Whether a call is to be streamed.

    Parameters
    ----------
    asked : mapping
        The keyword arguments of ``converse_stream``.
    wanted : bool, optional
        What somebody says. By default: unless it is known that the model cannot stream, or not with tools.

    Raises
    ------
    RequestError
        ``wanted`` is something else.
    CapabilityError
        It is to be streamed, and the model is known not to.
    """
    if not isinstance(wanted, bool | None):
        raise RequestError(
            f"streaming is {wanted!r:.60}.",
            remedy="True streams, False asks for the whole answer at once, None does what the model can.",
        )
    model = str(asked.get("modelId", ""))
    needed = ("streaming", "streaming_tools") if asked.get("toolConfig") else ("streaming",)
    if wanted:
        models.require(model, *needed)
        return True
    return wanted is None and all(models.supports(model, ability) is not False for ability in needed)


def plain_params(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``converse_stream`` as ``converse`` takes them: how a stream is guarded is left out."""
    guardrail = asked.get("guardrailConfig")
    if not isinstance(guardrail, Mapping) or "streamProcessingMode" not in guardrail:
        return dict(asked)
    kept = {name: value for name, value in guardrail.items() if name != "streamProcessingMode"}
    return {**asked, "guardrailConfig": kept}


class Whole(NamedTuple):
    """A plain answer that is there, in the place of a body: nothing of it is left to wait for.

    Attributes
    ----------
    answer : dict
        Its JSON, blobs as base64.
    t : float
        When it was there, seconds since the call.
    clock : str
        What that is the time of, as in a recording.
    """

    answer: Any
    t: float
    clock: str

    def shutdown(self) -> None:
        """Nobody waits."""

    def close(self) -> None:
        """Its connection is free already."""


def events_of(answer: Any) -> list[Event]:
    """The events that would have streamed a plain answer.

    Parameters
    ----------
    answer : dict
        The JSON of Converse's response (AWS API reference, Converse), blobs as base64.

    Returns
    -------
    list of Event
        Each block in one delta. A block that cannot be streamed is an `Unknown` of the name
        ``contentBlock``; members that are not known make one beside their event, as in a stream.

    Raises
    ------
    PayloadError
        There is no message in it, or a member is of the wrong type.
    """
    match answer:
        case {"output": {"message": {"content": list(content), **start}, **others}}:
            pass
        case _:
            raise PayloadError("The answer of the service holds no message.", remedy="Ask again.")
    events = [*from_wire("messageStart", start)]
    for index, block in enumerate(content):
        events += _block_events(index, block)
    rest = {name: value for name, value in answer.items() if value is not None}
    for name in ("output", "ResponseMetadata"):
        rest.pop(name, None)
    stop = {name: rest.pop(name) for name in _STOP if name in rest}
    if "stopReason" in stop:  # without it the message has not stopped: the reply will count as incomplete
        events += from_wire("messageStop", stop)
    if others:
        rest["output"] = others
    return [*events, *from_wire("metadata", rest)] if rest else events


def _block_events(index: int, block: Any) -> list[Event]:
    try:
        events = [
            event
            for wire, payload in _payloads({name: part for name, part in block.items() if part is not None})
            for event in from_wire(wire, {INDEX: index, **payload})
        ]
    except (AttributeError, LookupError, PayloadError, TypeError):  # a name that is known, and another shape
        events = []
    if events:
        return [*events, BlockStop(index)]
    return [Unknown(BLOCK, {INDEX: index, **(block if isinstance(block, dict) else {"block": block})})]


def _payloads(block: dict[str, Any]) -> Iterator[_Payload]:
    """A block as what would have streamed it; nothing if no stream can bring it.

    ``more`` and ``others`` are members that no version of the service has yet; the wire's table keeps them.
    """
    match block:
        case {"text": _} | {"reasoningContent": {"redactedContent": _}}:
            yield _delta(block)
        case {"reasoningContent": {"reasoningText": dict(said), **others}, **more}:
            signature = said.get("signature")
            unsigned = {name: part for name, part in said.items() if name != "signature"}
            yield _delta({**more, "reasoningContent": {**others, **unsigned}})
            if signature is not None:
                yield _delta({"reasoningContent": {"signature": signature}})
        case {"toolUse": dict(tool), **more}:
            start = {name: part for name, part in tool.items() if name != "input"}
            yield _START, {"start": {**more, "toolUse": start}}
            yield _delta({"toolUse": {"input": json.dumps(tool.get("input", {}), ensure_ascii=False)}})
        case {"toolResult": {"content": list(content), **others}, **more} if _may_stream(content):
            yield _START, {"start": {**more, "toolResult": others}}
            yield from (_delta({"toolResult": [item]}) for item in content)
        case {"image": {"format": format, **image}, **more}:
            yield _START, {"start": {**more, "image": {"format": format}}}
            yield _delta({"image": image})
        case {"citationsContent": dict(cited), **more}:
            content, citations = cited.get("content") or [], cited.get("citations") or []
            if all(part.keys() == {"text"} for part in content):
                unread = {name: part for name, part in cited.items() if name not in ("content", "citations")}
                beside = {**more, **({"citationsContent": unread} if unread else {})}
                yield _delta({"text": "".join(part["text"] for part in content), **beside})
                yield from (_delta({"citation": citation}) for citation in citations)


def _delta(delta: dict[str, Any]) -> _Payload:
    return _DELTA, {"delta": delta}


def _may_stream(results: list[Any]) -> bool:
    return all(isinstance(item, dict) and set(item) in _RESULTS for item in results)


def jsonable(node: Any) -> Any:
    """botocore's dicts hold blobs as bytes; the wire's JSON, which `from_wire` reads, as base64."""
    if isinstance(node, bytes):
        return b64encode(node).decode("ascii")
    if isinstance(node, dict):
        return {k: jsonable(v) for k, v in node.items()}
    return [jsonable(v) for v in node] if isinstance(node, list) else node
