"""The operations on a model: how each reads a request and writes an answer.

Strategy: every one of them is ConverseStream in another form, so an `Operation` is a few functions: what came
over HTTP into the arguments of ``converse_stream``, and an answer's events into its own frames, or a whole
answer into its own body. Responders never know which operation they answer. Two operations need no
responder: they only count, or check.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from bedrock_nb.events import Event, StreamFault
from bedrock_nb.eventstream import encode
from bedrock_nb.recording import Recording
from bedrock_nb.server import anthropic
from bedrock_nb.server.guard import json_of
from bedrock_nb.server.guardrail import Guardrail, apply
from bedrock_nb.server.perform import Encode, converse_frames, output, padding
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.rules import check_conversation
from bedrock_nb.server.validation import Walk, operation, validate, validate_params
from bedrock_nb.server.writing import input_tokens
from bedrock_nb.wire import to_frame

__all__ = ["OPERATIONS", "Incoming", "Operation", "Whole", "apply_guardrail", "count_tokens"]


class Incoming(NamedTuple):
    """A request as it came: the model id of its path, its headers by lower-case name, its body."""

    model: str
    headers: Mapping[str, str]
    body: bytes


class Whole(NamedTuple):
    """A whole answer: its body, and headers of its own."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


class Operation(NamedTuple):
    """One way to ask a model.

    Attributes
    ----------
    name : str
    streams : bool
    read : function
        From what came to the arguments of ``converse_stream``.
    frames : function
        From these and, if it is known already, the whole answer, to what encodes its events.
    whole : function
        From a recording and the model id to the whole answer.
    headers : function
        From the arguments to those of a stream's head.
    """

    name: str
    streams: bool
    read: Callable[[Incoming], dict[str, Any]]
    frames: Callable[[Mapping[str, Any], Recording | None], Encode]
    whole: Callable[[Recording, str], Whole]
    headers: Callable[[Mapping[str, Any]], dict[str, str]]

    @property
    def exact(self) -> bool:
        """Whether its frames are those that a recording may hold."""
        return self.name == "ConverseStream"


# -- Converse --------------------------------------------------------------------------------------


def _converse(name: str, streams: bool) -> Operation:
    return Operation(
        name,
        streams,
        lambda incoming: validate(name, incoming.model, json_of(incoming.body)),
        lambda _kwargs, _known: converse_frames(),
        lambda recording, _model: Whole(output(recording), {}),
        lambda _kwargs: {},
    )


# -- InvokeModel, in Anthropic's messages format ---------------------------------------------------


def _invoke(name: str, streams: bool) -> Operation:
    def read(incoming: Incoming) -> dict[str, Any]:
        given = validate_params(
            name, {"modelId": incoming.model, **_sent(name, incoming.headers)}, payload=("body",)
        )
        accept = given.get("accept", "application/json")
        if accept not in ("application/json", "*/*"):
            text = f"The Accept type provided is invalid or not supported for this model: {accept}"
            raise Refusal(400, "ValidationException", text)
        return {**anthropic.to_converse(incoming.model, json_of(incoming.body)), **_settings(given)}

    return Operation(name, streams, read, _chunks, _invoked, _stream_headers)


def _sent(name: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The members of an operation that came in headers."""
    asked: Any = operation(name).input_shape
    places = {
        member: shape.serialization["name"].lower()
        for member, shape in asked.members.items()
        if shape.serialization.get("location") == "header"
    }
    return {member: headers[header] for member, header in places.items() if header in headers}


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """What InvokeModel has in headers, where Converse has it."""
    settings: dict[str, Any] = {}
    guardrail = {name: given[name] for name in ("guardrailIdentifier", "guardrailVersion") if name in given}
    if guardrail:
        settings["guardrailConfig"] = {**guardrail, "trace": given.get("trace", "disabled").lower()}
    if "performanceConfigLatency" in given:
        settings["performanceConfig"] = {"latency": given["performanceConfigLatency"]}
    if "serviceTier" in given:
        settings["serviceTier"] = {"type": given["serviceTier"]}
    if "requestMetadata" in given:
        settings["requestMetadata"] = _metadata(given["requestMetadata"])
    return settings


def _metadata(text: str) -> dict[str, str]:
    try:
        metadata = json.loads(text)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Refusal(400, "ValidationException", "requestMetadata is not a JSON object of texts.")
    walk, shape = Walk(), operation("ConverseStream").input_shape
    assert shape is not None
    walk.value("requestMetadata", metadata, shape.members["requestMetadata"])
    walk.refuse()
    return metadata


def _chunks(kwargs: Mapping[str, Any], known: Recording | None) -> Encode:
    """The frames of InvokeModelWithResponseStream."""
    usage = known.usage if known and known.usage else {"inputTokens": input_tokens(kwargs), "outputTokens": 0}
    content = known.content() if known else []
    first = round(known.times[content[0]] * 1000) if known and content else None
    translator, pad = anthropic.Translator(kwargs["modelId"], usage, first_byte_ms=first), padding()

    def frames(event: Event) -> Iterable[bytes]:
        if isinstance(event, StreamFault):
            return [encode(to_frame(event))]
        return [encode(anthropic.to_chunk(each, next(pad))) for each in translator.feed(event)]

    return frames


def _stream_headers(kwargs: Mapping[str, Any]) -> dict[str, str]:
    chosen = _chosen(kwargs.get("performanceConfig"), kwargs.get("serviceTier"))
    return {"X-Amzn-Bedrock-Content-Type": "application/json", **chosen}


def _chosen(performance: Mapping[str, str] | None, tier: Mapping[str, str] | None) -> dict[str, str]:
    """Settings of a request that come back as headers."""
    chosen = {
        "X-Amzn-Bedrock-PerformanceConfig-Latency": (performance or {}).get("latency"),
        "X-Amzn-Bedrock-Service-Tier": (tier or {}).get("type"),
    }
    return {name: value for name, value in chosen.items() if value}


def _invoked(recording: Recording, model: str) -> Whole:
    headers, closing = {}, recording.metadata
    if closing is not None:
        headers = anthropic.response_headers(recording.usage, closing.latency_ms or 0)
        headers |= _chosen(closing.performance_config, closing.service_tier)
    return Whole(anthropic.output(recording, model), headers)


#: The last part of the path -> the operation.
OPERATIONS: dict[str, Operation] = {
    operation(how.name).http["requestUri"].rpartition("/")[2]: how
    for how in (
        _converse("Converse", streams=False),
        _converse("ConverseStream", streams=True),
        _invoke("InvokeModel", streams=False),
        _invoke("InvokeModelWithResponseStream", streams=True),
    )
}


# -- those that ask nobody -------------------------------------------------------------------------


def count_tokens(incoming: Incoming) -> dict[str, Any]:
    """CountTokens: what a request would be charged as input, by the embedded model's own tokens."""
    asked = validate_params("CountTokens", {"modelId": incoming.model}, json_of(incoming.body))["input"]
    if "converse" in asked:
        kwargs = {"modelId": incoming.model, "messages": [], **asked["converse"]}
        check_conversation(incoming.model, kwargs)
    else:
        kwargs = anthropic.to_converse(incoming.model, json_of(asked["invokeModel"]["body"]))
    return {"inputTokens": input_tokens(kwargs)}


def apply_guardrail(
    identifier: str, version: str, incoming: Incoming, guardrails: Iterable[Guardrail]
) -> dict[str, Any]:
    """ApplyGuardrail: what a guardrail finds in texts, without any model."""
    path = {"guardrailIdentifier": identifier, "guardrailVersion": version}
    body = validate_params("ApplyGuardrail", path, json_of(incoming.body))
    return apply(identifier, version, body, guardrails)
