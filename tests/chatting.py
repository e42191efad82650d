"""What tests of conversations share: a real server that says what a test lays, and what was sent to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from botocore.config import Config

import bedrock_nb as nb
from bedrock_nb.assembly import to_events
from bedrock_nb.events import Event
from bedrock_nb.message import Block, Message, TextBlock, ToolResultBlock, ToolUseBlock
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency, scripted
from bedrock_nb.server.responders import Answer, Responder, Said
from tests.wire_server import LIMIT

USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}


class Service:
    """A server, a client of it, and every request that came, oldest first."""

    def __init__(self) -> None:
        self.server = BedrockServer(self._respond, latency=Latency.none()).start()
        self.client = self.server.client(config=Config(retries={"total_max_attempts": 1}))
        self.asked: list[list[dict[str, Any]]] = []
        self.requests: list[Request] = []
        self._said: Responder = scripted("Fine.")

    def _respond(self, request: Request) -> Answer:
        self.requests.append(request)
        self.asked.append(list(request.conversation))
        return self._said(request)

    def lay(self, *said: Said) -> None:
        """Say these things from now on, the last for ever."""
        self._said = scripted(*(said or ("Fine.",)))
        self.asked.clear()
        self.requests.clear()

    def chat(self, *said: Said, **settings: Any) -> nb.Conversation:
        """A conversation in which these things are said."""
        self.lay(*said)
        return nb.Conversation(self.client, **settings)

    def close(self) -> None:
        self.client.close()
        self.server.close()


def use(name: str, input: Mapping[str, Any] | str | None = None, id: str = "a") -> ToolUseBlock:
    """A call of a tool; input that is text is not whole JSON."""
    if isinstance(input, str):
        return ToolUseBlock(id, name, None, input)
    return ToolUseBlock(id, name, dict(input or {}), json.dumps(input or {}))


def events_of(*blocks: Block | str, stop: str | None = None) -> list[Event]:
    """An answer as events, one delta a block."""
    made = tuple(TextBlock(block) if isinstance(block, str) else block for block in blocks)
    asks = any(isinstance(block, ToolUseBlock) and block.type is None for block in made)
    reason = stop or ("tool_use" if asks else "end_turn")
    return list(to_events(Message("assistant", made), stop_reason=reason, usage=USAGE))


def said(*blocks: Block | str, stop: str | None = None) -> Responder:
    """Say these blocks, whatever the request's limits are."""
    return lambda _request: iter(events_of(*blocks, stop=stop))


def held(
    gates: Mapping[type[Event] | int, threading.Event], *blocks: Block | str, stop: str | None = None
) -> Responder:
    """Say these blocks, and before events of these kinds, or of these numbers, wait for their gates."""

    def respond(_request: Request) -> Iterator[Event]:
        for number, event in enumerate(events_of(*blocks, stop=stop)):
            for key in (number, type(event)):
                if key in gates:
                    gates[key].wait(LIMIT)
            yield event

    return respond


def legal(turns: Iterable[Mapping[str, Any]]) -> None:
    """Roles alternate, from the user to the user, and each call of a tool has its one result next."""
    turns = list(turns)
    roles = [turn["role"] for turn in turns]
    assert roles == ["user", *["assistant", "user"] * (len(turns) // 2)]
    for turn, after in pairwise(turns):
        if turn["role"] == "assistant":
            calls = [block["toolUse"]["toolUseId"] for block in turn["content"] if "toolUse" in block]
            assert calls == results_in(after)


def results_in(turn: Mapping[str, Any]) -> list[str]:
    """The ids of the results in a turn, in order."""
    return [block["toolResult"]["toolUseId"] for block in turn["content"] if "toolResult" in block]


def outcomes(turn: nb.Turn) -> dict[str, str]:
    """How each call ended, by its id."""
    return {run.id: run.outcome for run in turn.tools}


def told(chat: nb.Conversation) -> dict[str, str]:
    """What the model is told of each call, by its id."""
    return {
        block.id: json.dumps(block.content[0], ensure_ascii=False)
        for message in chat.messages
        for block in message.content
        if isinstance(block, ToolResultBlock)
    }


def in_thread(function: Callable[[], Any]) -> threading.Thread:
    """Call it in a thread of its own."""
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def wait_for(condition: Callable[[], Any]) -> None:
    """Wait until something that another thread does has happened."""
    pause = threading.Event()
    for _ in range(int(LIMIT / 0.005)):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not happen")
