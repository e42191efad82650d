"""How an answer is written: words in, the recording of a model that writes them token by token out.

Strategy: `recorded` turns saying into streaming. It cuts at the token limit and at stop sequences, counts
tokens, and chops the text into uneven deltas, one to four tokens each, so that nobody mistakes a chunk for a
token. All of it follows from the request: the same request has the same answer to the byte. Times are not
made here; a latency law adds them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

from bedrock_nb.assembly import to_events
from bedrock_nb.events import MessageStop, Metadata
from bedrock_nb.message import Block, Message, ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.fields import check_fields
from bedrock_nb.server.samples import sample
from bedrock_nb.server.tokens import count, tokenize

__all__ = ["dice", "input_tokens", "last_turn", "recorded", "text_of", "texts", "tool_use"]

_LONGEST_DELTA = 4  # tokens
_ID = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def recorded(request: Request, content: str | Sequence[Block]) -> Recording:
    """Make the recording of an answer, as a model that has to write it token by token.

    ``maxTokens`` and ``stopSequences`` of the request are kept, ``usage`` is counted, and
    ``performanceConfig``, ``serviceTier`` and ``additionalModelResponseFieldPaths`` come back as the service
    sends them back. What no embedded model can do is refused: see `fields`.

    Parameters
    ----------
    request : Request
    content : str or sequence of Block
        What the model says: text, or blocks of text, reasoning and tool use in order.

    Returns
    -------
    Recording
        Without times: every event at 0.

    Raises
    ------
    Refusal
        400 ValidationException: the request has a field that cannot be honoured.
    """
    kwargs = request.to_kwargs()
    check_fields(kwargs)
    blocks: Sequence[Block] = [TextBlock(content)] if isinstance(content, str) else content
    blocks, reason, sequence = _until_stopped(blocks, request)
    used = sum(count(_written(block)) for block in blocks)
    asked = input_tokens(kwargs)
    usage = {"inputTokens": asked, "outputTokens": used, "totalTokens": asked + used}
    raw = {"stop_sequence": sequence, "stop_reason": reason, "model": request.model}
    raw |= {"role": "assistant", "type": "message"}
    paths = kwargs.get("additionalModelResponseFieldPaths") or ()
    recording = Recording(kwargs, clock="schedule")
    split = _splitter(dice(text_of(last_turn(request))))
    for event in to_events(Message("assistant", tuple(blocks)), stop_reason=reason, usage=usage, split=split):
        if isinstance(event, MessageStop) and paths:
            event = MessageStop(reason, {path[1:]: raw[path[1:]] for path in paths})
        if isinstance(event, Metadata):
            event = Metadata(
                usage,
                0,
                performance_config=kwargs.get("performanceConfig"),
                service_tier=kwargs.get("serviceTier"),
            )
        recording.append(event, 0.0)
    recording.status = "complete"
    return recording


# -- what is asked ---------------------------------------------------------------------------------


def last_turn(request: Request) -> list[dict[str, Any]]:
    """Content blocks of the last user turn."""
    turns = [turn["content"] for turn in request.conversation if turn["role"] == "user"]
    return list(turns[-1]) if turns else []


def text_of(content: Sequence[Mapping[str, Any]]) -> str:
    """The text in content blocks."""
    return "\n".join(block["text"] for block in content if "text" in block)


def input_tokens(kwargs: Mapping[str, Any]) -> int:
    """Tokens of the system prompt, the messages and the tools: all text that the model gets to read."""
    read = [
        kwargs.get("system") or (),
        kwargs["messages"],
        (kwargs.get("toolConfig") or {}).get("tools") or (),
    ]
    return sum(count(text) for text in texts(read))


def texts(node: Any) -> Iterator[str]:
    """Every string in a request, without recursion: a document may be nested deeper than Python's stack."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(
                value
                for name, value in item.items()
                if name not in ("role", "toolUseId", "signature", "cachePoint")
            )
        elif isinstance(item, list | tuple):
            waiting.extend(item)


def tool_use(
    spec: Mapping[str, Any], prompt: str, rng: Random, value: Mapping[str, Any] | None = None
) -> ToolUseBlock:
    """A request for a tool.

    Parameters
    ----------
    spec : mapping
        Its ``toolSpec``.
    prompt : str
        Words from which input is made up that fits the tool's schema.
    rng : Random
        For the id of the call.
    value : mapping, optional
        The input, if it is not to be made up.
    """
    if value is None:
        schema = (spec.get("inputSchema") or {}).get("json") or {}
        made = sample({"type": "object", **schema}, prompt)
        value = made if isinstance(made, dict) else {}
    name = "tooluse_" + "".join(rng.choices(_ID, k=22))
    return ToolUseBlock(
        name, spec["name"], dict(value), json.dumps(value, ensure_ascii=False) if value else ""
    )


# -- how it is written -----------------------------------------------------------------------------


def _written(block: Block) -> str:
    """What of a block the model has to write, token by token."""
    match block:
        case TextBlock(text) | ReasoningBlock(text):
            return text
        case ToolUseBlock(_, _, _, raw):
            return raw
        case _:
            return ""


def _cut(block: Block, text: str) -> Block:
    """The same block, ended early: without a signature, or with broken input."""
    match block:
        case ReasoningBlock():
            return ReasoningBlock(text)
        case ToolUseBlock(id, name):
            return ToolUseBlock(id, name, None, text)
        case _:
            return TextBlock(text)


def _until_stopped(blocks: Sequence[Block], request: Request) -> tuple[list[Block], str, str | None]:
    """The blocks as far as they get, the stop reason, and the stop sequence that was met."""
    left = request.max_tokens
    kept: list[Block] = []
    for block in blocks:
        text = _written(block)
        sequence = None
        if isinstance(block, TextBlock):
            text, sequence = _before_stop(text, request.stop)
        tokens = tokenize(text)
        if left is not None and len(tokens) > left:
            return [*kept, _cut(block, "".join(tokens[:left]))] if left else kept, "max_tokens", None
        left = None if left is None else left - len(tokens)
        if sequence is not None:
            return [*kept, TextBlock(text)] if text else kept, "stop_sequence", sequence
        kept.append(block)
    asks = any(isinstance(block, ToolUseBlock) for block in kept)
    return kept, "tool_use" if asks else "end_turn", None


def _before_stop(text: str, sequences: Sequence[str]) -> tuple[str, str | None]:
    """The text before the stop sequence that comes first, and that sequence."""
    found = [(at, sequence) for sequence in sequences if (at := text.find(sequence)) >= 0]
    if not found:
        return text, None
    at, sequence = min(found, key=lambda hit: (hit[0], -len(hit[1])))
    return text[:at], sequence


def dice(text: str) -> Random:
    """Random numbers that follow from a text."""
    return Random(text.encode("utf-8", "surrogatepass"))


def _splitter(rng: Random) -> Callable[[str], Iterator[str]]:
    """A function that cuts texts into deltas of one to four tokens; the very first is one token.

    So the time to the first delta is the time to the first token, and the law can be measured back.
    """
    begun = False

    def split(text: str) -> Iterator[str]:
        nonlocal begun
        tokens = tokenize(text)
        at = 0
        while at < len(tokens):
            size = rng.choices(range(1, _LONGEST_DELTA + 1), weights=(5, 4, 2, 1))[0] if begun else 1
            begun = True
            yield "".join(tokens[at : at + size])
            at += size

    return split
