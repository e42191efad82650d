"""An answer, whole or broken off, as turns that Converse takes back.

Strategy: one ``match`` decides what becomes of each block, and a few rules what becomes of the whole. Nothing
is invented but the results of tool calls that never ran: Converse demands one for each. What is left out is
what the service refuses or nobody can use; the message itself is not changed and still has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, TypeAlias, assert_never, get_args

from bedrock_nb.errors import RequestError
from bedrock_nb.message import (
    Block,
    ImageBlock,
    Message,
    ReasoningBlock,
    RedactedBlock,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UnknownBlock,
)

__all__ = ["BROKEN", "CANCELLED", "Keep", "resendable", "takes_back"]

#: What the model reads in place of the result of a tool call that never ran.
CANCELLED = "The answer was interrupted, so this tool call was cancelled: it has no result."
#: The same where the call itself is at fault, and the model can mend it.
BROKEN = "The input was not one whole JSON object, so this tool call was cancelled and not run."

#: What may become of the model's reasoning.
Keep: TypeAlias = Literal["signed", "drop", "keep"]

# The patterns of botocore's model for toolUseId and name. Models do write other names at times.
_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def takes_back(id: str, name: str) -> bool:
    """Whether Converse takes a call of this id and name back, so that it can be given a result."""
    return bool(_ID.fullmatch(id) and _NAME.fullmatch(name))


def resendable(
    message: Message, *, reasoning: Keep = "signed", interrupted: bool = True
) -> list[dict[str, Any]]:
    """The turns that stand for this answer in the history of the next request.

    Parameters
    ----------
    message : Message
        A reply's message or snapshot.
    reasoning : {"signed", "drop", "keep"}
        What becomes of the model's reasoning. ``signed`` sends back what models take back: blocks with a
        signature and redacted ones, if something follows them. ``drop`` sends none, ``keep`` all.
    interrupted : bool
        Whether the answer broke off. If so, none of its tool calls was run, and each gets a result that says
        so; if not, the results are the caller's to give.

    Returns
    -------
    list of dict
        The assistant's turn and, where results were made, a user's turn with them; nothing if nothing is
        left of the answer. Turns must alternate: what the user says next goes into that user's turn, and
        where nothing is left, into the one before.

    Raises
    ------
    RequestError
        Something else than a message was given, or there is no such way with reasoning.
    """
    if not isinstance(message, Message):
        raise RequestError(
            f"A {type(message).__name__} is no Message.", remedy="A Reply has one in .message and .snapshot."
        )
    if reasoning not in get_args(Keep):
        raise RequestError(f"reasoning is {reasoning!r}.", remedy=f"It may be {', '.join(get_args(Keep))}.")
    legal = (_legal(block, reasoning) for block in message.content)
    blocks = _one_call_an_id(block for block in legal if block is not None)
    if reasoning == "signed":
        # Claude refuses a turn that ends in thinking: the answer broke off before anything was said.
        while blocks and isinstance(blocks[-1], ReasoningBlock | RedactedBlock):
            blocks.pop()
    if not blocks:
        return []
    turn = Message("assistant", tuple(blocks))  # an answer's role, whatever its messageStart said
    results = tuple(_cancelled(call) for call in turn.tool_uses) if interrupted else ()
    return [turn.to_dict(), *([Message("user", results).to_dict()] if results else [])]


def _legal(block: Block, reasoning: str) -> Block | None:
    """The block as Converse takes it back; None where it does not."""
    match block:
        case TextBlock(text):
            return replace(block, text=_whole(text)) if text.strip() else None
        case ReasoningBlock(text, signature):
            kept = reasoning == "keep" or (reasoning == "signed" and signature)
            return block if kept else None
        case RedactedBlock(data):
            return block if data and reasoning != "drop" else None
        case ToolUseBlock(type=str()):  # run by the service, with its result in the same answer: done with
            return None
        case ToolUseBlock(id, name, _, raw):
            return replace(block, raw=_whole(raw)) if takes_back(id, name) else None
        case ToolResultBlock():  # in an answer, of such a tool
            return None
        case ImageBlock(format, source):
            return block if format and any(source.values()) else None
        case UnknownBlock():
            return block
        case _:
            assert_never(block)


def _whole(text: str) -> str:
    """Text whose surrogate pairs are whole: what was torn between two deltas is joined, halves replaced."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _one_call_an_id(blocks: Iterable[Block]) -> list[Block]:
    """Without calls that repeat an id: there can be only one result for it."""
    kept: list[Block] = []
    ids: set[str] = set()
    for block in blocks:
        if isinstance(block, ToolUseBlock):
            if block.id in ids:
                continue
            ids.add(block.id)
        kept.append(block)
    return kept


def _cancelled(call: ToolUseBlock) -> ToolResultBlock:
    said = BROKEN if call.input is None else CANCELLED
    return ToolResultBlock(call.id, ({"text": said},), status="error")
