"""How much of a conversation fits into a model's context window.

Strategy: the service counts tokens, nobody else can. What the last call was counted at is taken as it is;
what is new since is estimated by its characters, at the end of the range that does no harm: where exchanges
may be left out, 3 characters a token, so that rather one too many is; where a request would be refused, 6,
so that none is that fits. Images and documents count nothing here: their tokens are in the count of the call
that sent them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bedrock_nb.conversation.history import Exchange, turns
from bedrock_nb.errors import ContextWindowError
from bedrock_nb.message import ToolResultBlock

__all__ = ["first_that_fits"]

#: Characters of a token of text that nobody has counted, to leave exchanges out by, and to refuse by.
_TO_DROP, _TO_REFUSE = 3, 6
#: Token counts that make up what the next call has to read again.
_COUNTED = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def first_that_fits(
    exchanges: Sequence[Exchange], *, beside: Any, room: int, window: int, drop: bool, model: str
) -> int:
    """The number of the first exchange to send, so that a request fits: 0 unless some must be left out.

    Parameters
    ----------
    exchanges : sequence of Exchange
        The last of them is the new one.
    beside : JSON-like
        What is sent with each call: system prompt, tools.
    room : int
        Tokens to keep free for the answer.
    window : int
        Tokens that the model reads.
    drop : bool
        Whether exchanges may be left out.
    model : str
        For the error message.

    Raises
    ------
    ContextWindowError
        It does not fit, and nothing may be left out, or the new exchange alone is too long.
    """
    counted, upto = _last_count(exchanges)
    sizes = [_size(turns([exchange])) for exchange in exchanges]
    begin, around = exchanges[upto - 1].left_out if upto else 0, _size(beside)
    then = around + sum(sizes[begin:upto])
    last = len(exchanges) - 1 if drop else 0
    for first in range(last + 1):
        if first and all(isinstance(block, ToolResultBlock) for block in exchanges[first].prompt.content):
            continue  # without the calls that it answers nothing would be left of this prompt
        kept, new = around + sum(sizes[first:upto]), sum(sizes[max(first, upto) :])
        tokens = round(counted * kept / then + new / (_TO_DROP if drop else _TO_REFUSE)) + room
        if tokens <= window:
            return first
    error = ContextWindowError(
        f"The conversation has about {tokens:,} tokens with room for the answer; {model} reads {window:,}.",
        remedy='Take turns back with chat.undo(), let the oldest be left out with when_long="drop", or say '
        "better what the model reads: context_tokens=….",
    )
    error.tokens, error.window = tokens, window
    raise error


def _last_count(exchanges: Sequence[Exchange]) -> tuple[int, int]:
    """Tokens that the last counted call read and wrote, and how many exchanges they were; zeros if none."""
    for number in range(len(exchanges), 0, -1):
        usages = exchanges[number - 1].usages
        counted: int = sum(usages[-1].get(name) or 0 for name in _COUNTED) if usages else 0
        if counted:
            return counted, number
    return 0, 0


def _size(node: Any) -> int:
    """Characters of it as JSON, without bytes."""
    return len(json.dumps(node, ensure_ascii=False, default=lambda _: ""))
