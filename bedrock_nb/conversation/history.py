"""A conversation's past: exchanges, and the turns that are sent of them.

Strategy: an `Exchange` is what the user asked and all that came of it, kept as it came: broken answers,
unsigned reasoning, calls that never ran. What the service would refuse in it is mended only in what is sent
(`turns`), so nothing is lost and every history can be gone on from. Files are written in `saved`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

from bedrock_nb.content import joined
from bedrock_nb.errors import BedrockNbError, RequestError
from bedrock_nb.mend import BROKEN, CANCELLED, resendable
from bedrock_nb.message import (
    Block,
    Message,
    ToolResultBlock,
    ToolUseBlock,
)
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun

__all__ = ["Exchange", "cost", "exchanges_of", "results_for", "total", "turns"]


@dataclass(repr=False)
class Exchange:
    """What the user asked, and all that came of it.

    Attributes
    ----------
    prompt : Message
        The user's turn.
    messages : list of Message
        The model's answers and, after each that asked for tools, a user's turn with their results.
    status : str
        ``streaming``, ``complete``, ``cancelled``, ``incomplete``, ``error`` or ``limited``.
    stop_reason : str or None
        Of the last answer.
    usages : list of dict
        Token counts of each call of the model, in Bedrock's names; of a call that broke off there are none.
    tools : list of ToolRun
        Each call of a tool. Times are those of the recording whose message asked for it.
    left_out : int
        How many of the conversation's oldest exchanges its calls were not sent, for want of room.
    error : BedrockNbError or None
        What ended it badly, as words: it holds no reply. Not in files.
    recordings : list of Recording
        Of its calls, as long as the conversation has them. Not in files.
    """

    prompt: Message
    messages: list[Message] = field(default_factory=list)
    status: str = "streaming"
    stop_reason: str | None = None
    usages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[ToolRun] = field(default_factory=list)
    left_out: int = 0
    error: BedrockNbError | None = field(default=None, compare=False)
    recordings: list[Recording] = field(default_factory=list, compare=False)

    def copy(self) -> Exchange:
        """One of its own; messages and runs are values and shared."""
        return replace(
            self,
            messages=list(self.messages),
            usages=list(self.usages),
            tools=list(self.tools),
            recordings=list(self.recordings),
        )

    @property
    def answer(self) -> Message | None:
        """The model's last answer; None if there is none."""
        answers = (message for message in reversed(self.messages) if message.role == "assistant")
        return next(answers, None)

    def __repr__(self) -> str:
        asked, said, tools = self.prompt.text, len(self.messages), len(self.tools)
        asked = asked if len(asked) <= 40 else f"{asked[:40]}…"
        counts = f"{said} message{'s' * (said != 1)}, {tools} tool call{'s' * (tools != 1)}"
        return f"Exchange({self.status}: {asked!r}, {counts})"


def total(exchanges: Iterable[Exchange]) -> dict[str, int]:
    """Token counts of all calls, added up by Bedrock's names."""
    added: dict[str, int] = {}
    for exchange in exchanges:
        for usage in exchange.usages:
            for name, number in usage.items():
                if type(number) is int:
                    added[name] = added.get(name, 0) + number
    return added


def cost(usage: Mapping[str, int], prices: Mapping[str, float]) -> float:
    """Token counts at prices for a million tokens each, both by Bedrock's names.

    Raises
    ------
    RequestError
        A price that cannot be.
    """
    for name, price in prices.items():
        if isinstance(price, bool) or not isinstance(price, int | float) or not price >= 0:
            raise RequestError(f"The price of {name} is {price!r:.60}; a number from 0 is wanted.")
    return sum(usage.get(name, 0) * price for name, price in prices.items()) / 1e6


# -- what is sent ----------------------------------------------------------------------------------


def results_for(answer: Message, known: Mapping[str, ToolResultBlock]) -> Message | None:
    """The user's turn that follows an answer: a result for each tool that it asked for.

    Parameters
    ----------
    answer : Message
    known : mapping of str to ToolResultBlock
        Results by the id of their call. A call without one is said to have been cancelled, or broken if its
        input was not one whole JSON object.

    Returns
    -------
    Message or None
        None if it asked for no tool of ours.
    """
    calls = [call for call in answer.tool_uses if call.type is None]
    return Message("user", tuple(known.get(call.id) or _never_ran(call) for call in calls)) if calls else None


def _never_ran(call: ToolUseBlock) -> ToolResultBlock:
    said = BROKEN if call.input is None else CANCELLED
    return ToolResultBlock(call.id, ({"text": said},), status="error")


def turns(exchanges: Iterable[Exchange]) -> list[dict[str, Any]]:
    """The messages of the next request, as the service takes them.

    Roles alternate: what the user said in a row is one turn, results of tools first. Answers are mended (see
    `mend.resendable`), and each call of a tool has exactly one result. A prompt that got no answer is left
    out, but for the last: it may be what was refused.
    """
    exchanges = list(exchanges)
    sent: list[dict[str, Any]] = []
    asked, said = Message("assistant"), list[Block]()  # the answer sent last, and what the user says to it
    for exchange in exchanges:
        mended = [_mended(message) for message in exchange.messages]
        results = any(isinstance(block, ToolResultBlock) for block in exchange.prompt.content)
        if not (any(mended) or results or exchange is exchanges[-1]):
            continue
        said += exchange.prompt.content
        for message, turn in zip(exchange.messages, mended, strict=True):
            if message.role == "user":
                said += message.content
            elif turn:
                _add(sent, _reply_to(asked, said))
                _add(sent, turn[0])
                asked, said = Message.from_dict(turn[0]), []
    _add(sent, _reply_to(asked, said))
    return _named_apart(sent)


def _named_apart(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Turns in which no two documents have one name: the service refuses that, and turns are sent again."""
    known: set[str] = set()

    def apart(block: dict[str, Any]) -> dict[str, Any]:
        if isinstance(document := block.get("document"), dict):
            name = str(document.get("name", ""))
            names = chain([name], (f"{name[:190]} {number}" for number in count(2)))
            name = next(each for each in names if each not in known)
            known.add(name)
            return {**block, "document": {**document, "name": name}}
        if isinstance(result := block.get("toolResult"), dict):
            content = [apart(item) for item in result.get("content") or ()]
            return {**block, "toolResult": {**result, "content": content}}
        return block

    return [{**turn, "content": [apart(block) for block in turn["content"]]} for turn in sent]


def _mended(message: Message) -> list[dict[str, Any]]:
    """An answer as a turn that the service takes; nothing of what the user said, or if nothing is left."""
    if message.role == "user":
        return []
    return resendable(message, reasoning="signed" if message.partial else "keep", interrupted=False)


def _reply_to(asked: Message, said: Sequence[Block]) -> dict[str, Any]:
    """The user's turn after an answer: a result for each of its calls, then everything else."""
    known = {block.id: block for block in said if isinstance(block, ToolResultBlock)}
    results = results_for(asked, known)
    rest = tuple(block for block in said if not isinstance(block, ToolResultBlock))
    return Message("user", (results.content if results else ()) + rest).to_dict()


def _add(sent: list[dict[str, Any]], turn: dict[str, Any]) -> None:
    if not turn["content"]:
        return
    both = joined(sent[-1], turn) if sent else None
    if both is None:
        sent.append(turn)
    else:
        sent[-1] = both


def exchanges_of(messages: Iterable[Message]) -> list[Exchange]:
    """Messages as exchanges: each user's turn that is more than results of tools begins one.

    Raises
    ------
    RequestError
        They begin with an answer, or there is another role in them.
    """
    made: list[Exchange] = []
    for message in messages:
        if message.role not in ("user", "assistant"):
            raise RequestError(
                f"There is a turn of the {message.role!r:.60} among the messages.",
                remedy="They are of the user and the assistant; a system prompt is given as system=….",
            )
        if message.role != "user":
            if not made:
                raise RequestError(
                    f"The conversation begins with a turn of the {message.role}.",
                    remedy="Begin with what the user said: nb.user('…').",
                )
            made[-1].messages.append(message)
            continue
        results = tuple(block for block in message.content if isinstance(block, ToolResultBlock) and made)
        rest = tuple(block for block in message.content if block not in results)
        if results:  # they belong to the answer before, whatever else is said in their turn
            made[-1].messages.append(replace(message, content=results))
        if rest:
            made.append(Exchange(replace(message, content=rest), status="complete"))
    return made
