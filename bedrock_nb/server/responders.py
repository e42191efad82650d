"""Responders: functions from a `Request` to the `Recording` of its answer.

Strategy: `canned` decides what to say (prepared text, a tool request, words about a tool's result), and
`recorded` turns saying into streaming: it cuts at the token limit and at stop sequences, counts tokens, and
chops the text into uneven deltas, one to four tokens each, so that nobody mistakes a chunk for a token. All
of it follows from the request: the same request has the same answer to the byte. Times are not made here;
a latency law adds them, unless a responder's recording has its own.

Sampling settings have no effect on prepared text; an answer's text depends on the last user turn alone.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, TypeAlias

from bedrock_nb.assembly import to_events
from bedrock_nb.events import MessageStop, Metadata
from bedrock_nb.message import Block, Message, ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.answers import find
from bedrock_nb.server.samples import sample
from bedrock_nb.server.tokens import count, tokenize

__all__ = ["Responder", "canned", "recorded"]

#: What the embedded server performs: anything that answers a request with a recording.
Responder: TypeAlias = Callable[[Request], Recording]

_LONGEST_DELTA = 4  # tokens
_ID = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_WORD = re.compile(r"[^\W_]+")
#: Words of tool names that say nothing about what the tool is for.
_VAGUE = frozenset(
    {"a", "an", "the", "to", "of", "by", "for", "in", "my", "get", "set", "fetch", "find", "look", "lookup"}
    | {"search", "do", "run", "make", "create", "calculate", "compute", "call", "use", "tool", "current"}
    | {"read", "show", "list", "check", "query"}
)


def canned(request: Request) -> Recording:
    """Answer from the table of prepared answers; the embedded server's default responder.

    A request that offers tools gets a tool request if its last turn speaks of one, or if ``toolChoice``
    asks for one; a turn with tool results gets words about them. A conversation that ends with the beginning
    of the assistant's own turn (a prefill) gets the rest of the answer. Reasoning comes first if
    ``additionalModelRequestFields`` ask for it (``thinking``, ``reasoning_config`` or ``reasoningConfig``).

    Parameters
    ----------
    request : Request

    Returns
    -------
    Recording
        Without times.
    """
    kwargs = request.to_kwargs()
    content = _last_turn(request)
    prompt = _text_of(content)
    results = [block["toolResult"] for block in content if "toolResult" in block]
    tools = () if results else _wanted_tools(kwargs.get("toolConfig") or {}, prompt)
    said = _about(results) if results else find(prompt) or _plain_answer(prompt)
    blocks: list[Block] = []
    if _reasons(kwargs.get("additionalModelRequestFields") or {}):
        blocks.append(_reasoning(prompt, bool(tools)))
    if tools:
        forced = "auto" not in (kwargs["toolConfig"].get("toolChoice") or {"auto": {}})
        if not forced:  # a model that is free to choose mostly says what it is up to
            names = " and ".join(f"`{spec['name']}`" for spec in tools)
            blocks.append(TextBlock(f"I need {names} for that."))
        rng = _dice(f"{len(request.conversation)}/{prompt}")
        blocks += [_tool_use(spec, prompt, rng) for spec in tools]
    else:
        blocks.append(TextBlock(_rest(said, _begun(request))))
    return recorded(request, blocks)


def recorded(request: Request, content: str | Sequence[Block]) -> Recording:
    """Make the recording of an answer, as a model that has to write it token by token.

    ``maxTokens`` and ``stopSequences`` of the request are kept, ``usage`` is counted, and
    ``performanceConfig``, ``serviceTier`` and ``/stop_sequence`` in ``additionalModelResponseFieldPaths``
    come back as the service sends them back.

    Parameters
    ----------
    request : Request
    content : str or sequence of Block
        What the model says: text, or blocks of text, reasoning and tool use in order.

    Returns
    -------
    Recording
        Without times: every event at 0.
    """
    kwargs = request.to_kwargs()
    blocks: Sequence[Block] = [TextBlock(content)] if isinstance(content, str) else content
    blocks, reason, sequence = _until_stopped(blocks, request)
    used = sum(count(_written(block)) for block in blocks)
    asked = _input_tokens(kwargs)
    usage = {"inputTokens": asked, "outputTokens": used, "totalTokens": asked + used}
    wants_sequence = "/stop_sequence" in (kwargs.get("additionalModelResponseFieldPaths") or ())
    recording = Recording(kwargs, clock="schedule")
    split = _splitter(_dice(_text_of(_last_turn(request))))
    for event in to_events(Message("assistant", tuple(blocks)), stop_reason=reason, usage=usage, split=split):
        if isinstance(event, MessageStop) and wants_sequence:
            event = MessageStop(reason, {"stop_sequence": sequence})
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


def _last_turn(request: Request) -> list[dict[str, Any]]:
    """Content blocks of the last user turn."""
    turns = [turn["content"] for turn in request.conversation if turn["role"] == "user"]
    return list(turns[-1]) if turns else []


def _begun(request: Request) -> str:
    """What the request says that the answer begins with."""
    last = request.conversation[-1]
    return _text_of(last["content"]) if last["role"] == "assistant" else ""


def _rest(said: str, begun: str) -> str:
    """The answer after its given beginning; of another beginning, all of it in a paragraph of its own."""
    return said.removeprefix(begun) if said.startswith(begun) else f"\n\n{said}"


def _text_of(content: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join(block["text"] for block in content if "text" in block)


def _input_tokens(kwargs: Mapping[str, Any]) -> int:
    """Tokens of the system prompt, the messages and the tools: all text that the model gets to read."""
    read = [
        kwargs.get("system") or (),
        kwargs["messages"],
        (kwargs.get("toolConfig") or {}).get("tools") or (),
    ]
    return sum(count(text) for text in _texts(read))


def _texts(node: Any) -> Iterator[str]:
    """Every string in a request, without recursion: a document may be nested deeper than Python's stack."""
    waiting = [node]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, Mapping):
            waiting.extend(
                value for name, value in item.items() if name not in ("role", "toolUseId", "signature")
            )
        elif isinstance(item, list | tuple):
            waiting.extend(item)


def _reasons(fields: Any) -> bool:
    if not isinstance(fields, Mapping):
        return False
    asked = [fields.get(name) for name in ("thinking", "reasoning_config", "reasoningConfig")]
    return any(isinstance(config, Mapping) and config.get("type") != "disabled" for config in asked)


def _wanted_tools(config: Mapping[str, Any], prompt: str) -> tuple[Mapping[str, Any], ...]:
    """Specifications of the tools to ask for: those that the prompt speaks of, or the one that is forced."""
    specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    choice = config.get("toolChoice") or {}
    if "tool" in choice:
        return tuple(spec for spec in specs if spec["name"] == choice["tool"]["name"])
    words = set(_WORD.findall(prompt.lower()))
    named = tuple(spec for spec in specs if _speaks_of(spec["name"], prompt, words))
    return named or tuple(specs[:1] if "any" in choice else ())


def _speaks_of(name: str, prompt: str, words: set[str]) -> bool:
    if name.lower() in prompt.lower():
        return True
    parts = _WORD.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    telling = set(parts) - _VAGUE
    return bool(telling) and telling <= words


# -- what is said ----------------------------------------------------------------------------------


def _plain_answer(prompt: str) -> str:
    words = prompt.split()
    start = " ".join(words[:8])[:80] + ("…" if len(words) > 8 or len(prompt) > 80 else "")
    asked = f'Your prompt begins "{start}". ' if start else ""
    return (
        "I am the embedded model of bedrock_nb: a small program on this machine, no neural network. "
        f"{asked}I have no prepared answer to it, and I do not make answers up. Everything around these "
        "words is real all the same: the request, the events, the tokens counted, the times. "
        'For an answer from a real model, connect with `connect("aws")` and send the same prompt again.'
    )


def _about(results: Sequence[Mapping[str, Any]]) -> str:
    quoted = []
    for result in results:
        parts = (
            item["text"] if "text" in item else json.dumps(item["json"], ensure_ascii=False)
            for item in result["content"]
            if "text" in item or "json" in item
        )
        text = " ".join(parts)
        shown = text if len(text) <= 300 else text[:299] + "…"
        verb = "failed and said" if result.get("status") == "error" else "returned"
        quoted.append(f"The tool {verb}: {shown}" if shown else "The tool returned nothing that I can read.")
    return "\n\n".join(quoted)


def _reasoning(prompt: str, calls_tool: bool) -> ReasoningBlock:
    start = " ".join(prompt.split()[:8])
    plan = (
        "A tool can find that out; I will ask for it." if calls_tool else "I will look for a prepared answer."
    )
    text = f'The user\'s words begin "{start}". {plan} I should keep to facts and be brief.'
    digest = hashlib.sha384(text.encode("utf-8", "surrogatepass")).digest()
    return ReasoningBlock(text, b64encode(digest * 4).decode("ascii"))


def _tool_use(spec: Mapping[str, Any], prompt: str, rng: Random) -> ToolUseBlock:
    schema = (spec.get("inputSchema") or {}).get("json") or {}
    value = sample({"type": "object", **schema}, prompt)
    value = value if isinstance(value, dict) else {}
    name = "tooluse_" + "".join(rng.choices(_ID, k=22))
    return ToolUseBlock(name, spec["name"], value, json.dumps(value, ensure_ascii=False) if value else "")


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


def _dice(text: str) -> Random:
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
