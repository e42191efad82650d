"""Content blocks and turns as Converse takes them, from what people have: words, pictures, replies.

Strategy: each constructor returns the plain dict of the API, so nothing must be learned to read or change it.
`blocks_of` is the one place that says what may stand for a content block; prompts and turns go through it.
Files become blocks in `attachments`. Whatever cannot work is refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bedrock_nb.content.attachments import audio, document, image, is_picture, shown, video, what_is
from bedrock_nb.errors import RequestError, StreamError
from bedrock_nb.mend import Keep, resendable
from bedrock_nb.message import Message

__all__ = [
    "add_assistant_message",
    "add_user_message",
    "as_turn",
    "assistant",
    "audio",
    "blocks_of",
    "cache_point",
    "document",
    "guarded",
    "image",
    "joined",
    "own",
    "search_result",
    "text_or_blocks",
    "turns_of",
    "user",
    "video",
]


def own(node: Any) -> Any:
    """A copy of nested lists and dicts; what else is in them (text, bytes, numbers) is shared."""
    if isinstance(node, Mapping):
        return {key: own(value) for key, value in node.items()}
    if isinstance(node, list):
        return [own(value) for value in node]
    return tuple(own(value) for value in node) if type(node) is tuple else node


# -- blocks ----------------------------------------------------------------------------------------


def cache_point(ttl: str | None = None) -> dict[str, Any]:
    """A mark up to which the request is cached; for messages, the system prompt and tools.

    Parameters
    ----------
    ttl : {"5m", "1h"}, optional
        How long; by default what the model has.
    """
    if ttl not in (None, "5m", "1h"):
        raise RequestError(f"ttl is {shown(ttl)}.", remedy='It may be "5m" or "1h".')
    return {"cachePoint": {"type": "default", **({"ttl": ttl} if ttl else {})}}


_QUALIFIERS = ("grounding_source", "query", "guard_content")


def guarded(content: Any, qualifiers: Sequence[str] = ()) -> dict[str, Any]:
    """Text or a picture that a guardrail checks; of a turn with such parts it checks only these.

    Parameters
    ----------
    content : str, or what `image` takes or returns
        A str is text, never a path.
    qualifiers : sequence of {"grounding_source", "query", "guard_content"}
        What a text is to the guardrail.
    """
    said = (qualifiers,) if isinstance(qualifiers, str) else tuple(qualifiers)
    if wrong := [name for name in said if name not in _QUALIFIERS]:
        raise RequestError(
            f"A qualifier is {shown(wrong[0])}.", remedy=f"There are {', '.join(_QUALIFIERS)}."
        )
    if isinstance(content, str):
        text = {"text": content, **({"qualifiers": list(said)} if said else {})}
        return {"guardContent": {"text": text}}
    picture = own(content) if isinstance(content, Mapping) else image(content)
    block = picture.get("image", {})
    if said or block.get("format") not in ("png", "jpeg") or "bytes" not in block.get("source", {}):
        raise RequestError(
            "A guardrail checks text, and pictures in PNG or JPEG that have no qualifiers.",
            remedy='For example nb.guarded("Who is the CEO?", ["query"]) or nb.guarded(nb.image("cat.png")).',
        )
    return {"guardContent": picture}


def search_result(
    source: str, title: str, content: str | Sequence[str], *, citations: bool = True
) -> dict[str, Any]:
    """A result of your own search, which the model may cite.

    Parameters
    ----------
    source, title : str
        Where it is from, and what it is called.
    content : str or sequence of str
        What it says.
    citations : bool
        Whether the answer is to cite it.
    """
    texts = [content] if isinstance(content, str) else list(content)
    if not texts or not all(isinstance(text, str) and text.strip() for text in texts):
        raise RequestError(f"The search result says {shown(content)}; text that is not empty is wanted.")
    result = {"source": source, "title": title, "content": [{"text": text} for text in texts]}
    return {"searchResult": {**result, "citations": {"enabled": citations}}}


# -- turns -----------------------------------------------------------------------------------------


_BYTES = bytes | bytearray | memoryview


def blocks_of(value: Any, name: str = "prompt") -> list[dict[str, Any]]:
    """Content blocks from text, a block, a picture, or a list that mixes them.

    Parameters
    ----------
    value : object
    name : str
        What it is called in an error.

    Raises
    ------
    RequestError
        Something else is in it.
    """
    # Much else can be iterated (a table gives its columns, a reply its events) and is no list of parts.
    several = isinstance(value, Sequence | Generator | map) and not isinstance(value, str | _BYTES)
    if not several:
        return [_block(value, f"The {name}")]
    return [_block(part, f"A part of the {name}") for part in value]


def _block(part: Any, called: str) -> dict[str, Any]:
    if isinstance(part, str):
        return {"text": part}
    if isinstance(part, Mapping):
        block: dict[str, Any] = own(part)
        return block
    if isinstance(part, Path) or is_picture(part):
        return image(part)
    remedy = (
        "Give text, a content block such as {'text': '…'} or nb.image(…), the Path of a picture, "
        "a picture of PIL, or a list of these."
    )
    if callable(getattr(type(part), "to_markdown", None)):
        remedy = "Give it as text: df.to_markdown(), or df.to_csv()."
    raise RequestError(f"{called} is {what_is(part)}.", remedy=remedy)


def text_or_blocks(name: str, value: Any) -> Any:
    """A prompt or a system prompt as a request keeps it: None, text, or a tuple of blocks."""
    if value is None:
        return None
    if not isinstance(value, str):
        value = tuple(blocks_of(value, name))
    blank = name == "prompt" and isinstance(value, str) and not value.strip()
    if not value or blank:
        raise RequestError(f"The {name} is empty.", remedy="It needs at least one word; None leaves it out.")
    return value


def user(*parts: Any) -> dict[str, Any]:
    """The user's turn from texts, content blocks, Paths of pictures and pictures of PIL.

    Examples
    --------
    >>> user("What is this?", {"cachePoint": {"type": "default"}})["content"][0]
    {'text': 'What is this?'}
    """
    return {"role": "user", "content": _content(parts, "prompt")}


def assistant(*parts: Any) -> dict[str, Any]:
    """The assistant's turn: from texts and blocks, or from the Reply or Message that it was."""
    if len(parts) == 1 and _has_message(parts[0]):
        turns = turns_of(parts[0])
        if not turns:
            raise RequestError("The reply has no content, so it is no turn.", remedy="Ask again instead.")
        return turns[0]
    return {"role": "assistant", "content": _content(parts, "answer")}


def _content(parts: Sequence[Any], name: str) -> list[dict[str, Any]]:
    content = blocks_of(parts[0] if len(parts) == 1 else parts, name)
    if not content or any(block.keys() == {"text"} and not str(block["text"]).strip() for block in content):
        raise RequestError("A turn has no text.", remedy="Converse refuses turns and texts that are empty.")
    return content


def _has_message(value: Any) -> bool:
    # Of its class: a reply that failed raises when its message is looked at.
    return isinstance(value, Message) or (not isinstance(value, Mapping) and hasattr(type(value), "message"))


def as_turn(message: Any) -> dict[str, Any]:
    """A message of a conversation in Converse's shape; its content may be text.

    Raises
    ------
    RequestError
        It is no message.
    """
    if isinstance(message, Message):
        message = message.to_dict()
    if isinstance(message, Mapping) and {"role", "content"} <= message.keys():
        turn: dict[str, Any] = {name: own(value) for name, value in message.items() if name != "content"}
        content = message["content"]
        whole = content if not isinstance(content, str | list | tuple) else blocks_of(content, "content")
        return {name: whole if name == "content" else turn[name] for name in message}
    raise RequestError(
        f"A message is {shown(message)}.",
        remedy="Give {'role': 'user', 'content': [{'text': '…'}]} or a Message.",
    )


def turns_of(reply: Any, reasoning: Keep | None = None) -> list[dict[str, Any]]:
    """The turns that stand for an answer in the next request; nothing if it has no content.

    Parameters
    ----------
    reply : Reply, Recording, Message or dict
        A Reply is read to its end. One that broke off counts as far as it came, and its tool calls get
        results that say so; see `mend.resendable`.
    reasoning : {"signed", "drop", "keep"}, optional
        What becomes of the model's reasoning. By default all of a whole answer is kept, and of one that broke
        off what is signed.
    """
    message, broke_off = _answer(reply)
    keep = reasoning or ("signed" if broke_off else "keep")
    return resendable(message, reasoning=keep, interrupted=broke_off)


def _answer(reply: Any) -> tuple[Message, bool]:
    """The message in anything that has one, and whether it broke off."""
    if isinstance(reply, Message):
        return reply, reply.partial
    if isinstance(reply, Mapping):
        return Message.from_dict(as_turn(reply)), False
    try:
        message = reply.message
    except StreamError:  # what came of it
        message = reply.snapshot
    return message, message.partial or getattr(reply, "status", "complete") != "complete"


def add_user_message(messages: list[Any], content: Any) -> list[Any]:
    """Append the user's turn to a list of messages, in place.

    Turns must alternate: if the last one is the user's, what is added becomes part of it.

    Parameters
    ----------
    messages : list
        Of dicts, in Converse's shape.
    content : str, block, or list of them
        As in `user`.

    Returns
    -------
    list
        The same one.
    """
    return _add(messages, [user(content)])


def add_assistant_message(messages: list[Any], answer: Any) -> list[Any]:
    """Append an answer to a list of messages, in place.

    Parameters
    ----------
    messages : list
        Of dicts, in Converse's shape.
    answer : Reply, Message, str or blocks
        Of a Reply its whole message, reasoning and tool calls included. Of one that broke off what can be
        sent again, with results for tool calls that never ran. If the list ends with the beginning of this
        answer (a prefill), the rest joins it.

    Returns
    -------
    list
        The same one.
    """
    if _has_message(answer):
        return _add(messages, turns_of(answer))
    whole_turn = isinstance(answer, Mapping) and "role" in answer
    return _add(messages, [as_turn(answer) if whole_turn else assistant(answer)])


def _add(messages: list[Any], turns: Iterable[dict[str, Any]]) -> list[Any]:
    if not isinstance(messages, list):
        raise RequestError(
            f"messages is of type {type(messages).__name__}; a list is wanted.",
            remedy="Begin with messages = [].",
        )
    for turn in turns:
        both = joined(as_turn(messages[-1]), turn) if messages else None
        if both is None:
            messages.append(turn)
        else:
            messages[-1] = both
    return messages


def joined(last: Mapping[str, Any], turn: Mapping[str, Any]) -> dict[str, Any] | None:
    """One turn of two that follow each other, for roles must alternate; None if they are of two roles."""
    if last.get("role") != turn["role"] or not isinstance(last.get("content"), list):
        return None
    return {**last, "content": [*last["content"], *turn["content"]]}
