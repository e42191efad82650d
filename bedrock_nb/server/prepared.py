"""The embedded server's own model: prepared answers, tool requests, words about a tool's result.

Strategy: `canned` decides what to say, and `writing.recorded` writes it. Sampling settings have no effect on
prepared text: it is all that this model knows to say. An answer's text depends on the last user turn alone,
but for the user's name, which the system prompt or an earlier turn may have said, and for the rest of an
answer that was cut.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from bedrock_nb.message import Block, ReasoningBlock, RedactedBlock, TextBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server.answers import READ, find
from bedrock_nb.server.fields import THINKING, schema_text, thinks
from bedrock_nb.server.samples import sample
from bedrock_nb.server.writing import dice, last_turn, recorded, text_of, tool_use

__all__ = ["canned"]

#: In a prompt, this makes Claude's reasoning come encrypted, and ours:
#: https://docs.claude.com/en/docs/build-with-claude/extended-thinking
_REDACT = (
    "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_"
    "46C9A13E193C177646C7398A98432ECCCE4C1253D5E2D82641AC0E52CC2876CB"
)
_SENTENCE = re.compile(r"[^.!?]{0,400}[.!?]?")
#: A prompt for the rest of an answer, such as that of the chat panel's Continue.
_GO_ON = re.compile(r"\s*(?:please )?(?:go on|continue)\b.*", re.IGNORECASE | re.DOTALL)
#: Formats of documents that are text as they stand.
_TEXTS = ("txt", "md", "csv", "html")
_WORD = re.compile(r"[^\W_]+")
#: Words of tool names that say nothing about what the tool is for.
_VAGUE = frozenset(
    {"a", "an", "the", "to", "of", "by", "for", "in", "my", "get", "set", "fetch", "find", "look", "lookup"}
    | {"search", "do", "run", "make", "create", "calculate", "compute", "call", "use", "tool", "current"}
    | {"read", "show", "list", "check", "query"}
)


def canned(request: Request) -> Recording:
    """Answer from the table of prepared answers; the embedded server's default responder.

    A request for a JSON schema (``outputConfig``) gets a value that fits it. Documents with citations enabled
    are quoted. A request that offers tools gets a tool request if its last turn speaks of one, or if
    ``toolChoice`` asks for one; a turn with tool results gets words about them. A conversation that ends with
    the beginning of the assistant's own turn (a prefill) gets the rest of the answer, and so does one that
    asks to go on with an answer that was cut. Reasoning comes first if ``additionalModelRequestFields`` ask
    for it, as ``thinking``, ``reasoning_config`` or ``reasoningConfig``.

    Parameters
    ----------
    request : Request

    Returns
    -------
    Recording
        Without times.
    """
    kwargs = request.to_kwargs()
    content = last_turn(request)
    prompt = text_of(content)
    results = [block["toolResult"] for block in content if "toolResult" in block]
    tools = () if results else _wanted_tools(kwargs.get("toolConfig") or {}, prompt)
    known = _remaining(kwargs) or find(prompt, _before(kwargs))
    said = _about(results) if results else known or _plain_answer(prompt, content)
    blocks: list[Block] = []
    if _reasons(kwargs.get("additionalModelRequestFields") or {}):
        blocks.append(
            _redacted(prompt) if _REDACT in prompt else _reasoning(prompt, bool(tools), bool(results))
        )
    if (schema := _schema(kwargs)) is not None and not tools:
        blocks.append(TextBlock(json.dumps(sample(schema, prompt), ensure_ascii=False)))
    elif not tools and not results and (cited := _cited(request)):
        blocks += cited
    elif tools:
        forced = "auto" not in (kwargs["toolConfig"].get("toolChoice") or {"auto": {}})
        if not forced:  # a model that is free to choose mostly says what it is up to
            names = " and ".join(f"`{spec['name']}`" for spec in tools)
            blocks.append(TextBlock(f"I need {names} for that."))
        rng = dice(f"{len(request.conversation)}/{prompt}")
        blocks += [tool_use(spec, prompt, rng) for spec in tools]
    else:
        blocks.append(TextBlock(_rest(said, _begun(request))))
    return recorded(request, blocks)


# -- what is asked ---------------------------------------------------------------------------------


def _before(kwargs: Mapping[str, Any]) -> list[str]:
    """What the model was told before the last turn: the system prompt, and what the user said."""
    told = [turn["content"] for turn in kwargs["messages"] if turn["role"] == "user"][:-1]
    return [text_of(content) for content in (kwargs.get("system") or (), *told)]


def _remaining(kwargs: Mapping[str, Any]) -> str | None:
    """The rest of an answer that was cut, if the last turn asks to go on with it, be it once more."""
    turns, said = list(kwargs["messages"]), ""
    while len(turns) > 2 and turns[-1]["role"] == "user" and _GO_ON.fullmatch(text_of(turns[-1]["content"])):
        said = text_of(turns[-2]["content"]) + said
        turns = turns[:-2]
    whole = find(text_of(turns[-1]["content"]), _before({**kwargs, "messages": turns})) if said else None
    return whole.removeprefix(said) if whole is not None and whole.startswith(said) else None


def _begun(request: Request) -> str:
    """What the request says that the answer begins with."""
    last = request.conversation[-1]
    return text_of(last["content"]) if last["role"] == "assistant" else ""


def _rest(said: str, begun: str) -> str:
    """The answer after its given beginning; of another beginning, all of it in a paragraph of its own."""
    return said.removeprefix(begun) if said.startswith(begun) else f"\n\n{said}"


def _reasons(fields: Any) -> bool:
    return isinstance(fields, Mapping) and any(thinks(fields.get(name)) for name in THINKING)


def _wanted_tools(config: Mapping[str, Any], prompt: str) -> tuple[Mapping[str, Any], ...]:
    """Specifications of the tools to ask for: those that the prompt speaks of, or the one that is forced."""
    specs = [tool["toolSpec"] for tool in config.get("tools") or () if "toolSpec" in tool]
    choice = config.get("toolChoice") or {}
    if "tool" in choice:
        return tuple(spec for spec in specs if spec["name"] == choice["tool"]["name"])
    prompt = prompt[-READ:]
    words = set(_WORD.findall(prompt.lower()))
    named = tuple(spec for spec in specs if _speaks_of(spec["name"], prompt, words))
    return named or tuple(specs[:1] if "any" in choice else ())


def _speaks_of(name: str, prompt: str, words: set[str]) -> bool:
    if name.lower() in prompt.lower():
        return True
    parts = _WORD.findall(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    telling = set(parts) - _VAGUE
    return bool(telling) and telling <= words


def _schema(kwargs: Mapping[str, Any]) -> dict[str, Any] | None:
    """The JSON schema that the answer must fit, if there is one."""
    text = schema_text(kwargs)
    try:
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None  # refused when the answer is written


# -- what is said ----------------------------------------------------------------------------------


def _plain_answer(prompt: str, content: Sequence[Mapping[str, Any]]) -> str:
    if came := [described for block in content if (described := _attached(block))]:
        return (
            "I am the embedded model of bedrock_nb, a small program and no neural network. With your words "
            f"came {' and '.join(came)}, and I cannot look inside. A real model can: connect with "
            '`connect("aws")` and send the same prompt again.'
        )
    words = prompt.split()
    start = " ".join(words[:8])[:80] + ("…" if len(words) > 8 or len(prompt) > 80 else "")
    asked = f'Your prompt begins "{start}". ' if start else ""
    return (
        "I am the embedded model of bedrock_nb: a small program on this machine, no neural network. "
        f"{asked}I have no prepared answer to it, and I do not make answers up. Everything around these "
        "words is real all the same: the request, the events, the tokens counted, the times. "
        'For an answer from a real model, connect with `connect("aws")` and send the same prompt again.'
    )


def _attached(block: Mapping[str, Any]) -> str:
    """A picture or a document in words: what can be said without understanding it."""
    match block:
        case {"image": {"format": "png", "source": {"bytes": bytes(data)}}} if data[12:16] == b"IHDR":
            width, height = (int.from_bytes(data[place : place + 4]) for place in (16, 20))
            return f"a picture (png, {width} by {height} pixels)"
        case {"image": {"format": kind}}:
            return f"a picture ({kind})"
        case {"document": {"name": name, **rest}}:
            return f"the document {name!r} ({rest.get('format', 'txt')})"
    return ""


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


def _cited(request: Request) -> list[Block]:
    """The first sentence of each document that may be cited, with its citation; nothing if there is none."""
    blocks: list[Block] = []
    documents = [block["document"] for block in last_turn(request) if "document" in block]
    for index, document in enumerate(documents):
        if not (document.get("citations") or {}).get("enabled"):
            continue
        quoted, kind, place = _first_sentence(document)
        if not quoted:
            continue
        location = {kind: {"documentIndex": index, **place}}
        citation = {"title": document["name"], "sourceContent": [{"text": quoted}], "location": location}
        blocks.append(TextBlock(f'{document["name"]} says: "{quoted}" ', (citation,)))
    return blocks


def _first_sentence(document: Mapping[str, Any]) -> tuple[str, str, dict[str, int]]:
    """The sentence, the kind of its place, and the place: characters of a text, chunks of a list."""
    source = document["source"]
    for number, item in enumerate(source.get("content") or ()):
        if quoted := _sentence(item.get("text", "")):
            return quoted, "documentChunk", {"start": number, "end": number + 1}
    text = source.get("text") or ""
    if not text and document.get("format", "txt") in _TEXTS:
        text = _decoded(source.get("bytes", b""))
    quoted = _sentence(text)
    begin = len(text) - len(text.lstrip())
    return quoted, "documentChar", {"start": begin, "end": begin + len(quoted)}


def _sentence(text: str) -> str:
    found = _SENTENCE.match(text.lstrip())
    return found[0].rstrip() if found else ""


def _decoded(data: bytes) -> str:
    """A document's bytes, if they are text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _redacted(prompt: str) -> RedactedBlock:
    return RedactedBlock(hashlib.sha512(prompt.encode("utf-8", "surrogatepass")).digest() * 3)


def _reasoning(prompt: str, calls_tool: bool, has_results: bool) -> ReasoningBlock:
    seen = f'The user\'s words begin "{" ".join(prompt.split()[:8])}".'
    plan = (
        "A tool can find that out; I will ask for it." if calls_tool else "I will look for a prepared answer."
    )
    if has_results:
        seen, plan = "My tools have answered.", "I will say what they returned."
    text = f"{seen} {plan} I should keep to facts and be brief."
    digest = hashlib.sha384(text.encode("utf-8", "surrogatepass")).digest()
    return ReasoningBlock(text, b64encode(digest * 4).decode("ascii"))
