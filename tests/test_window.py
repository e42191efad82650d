"""How much of a conversation is sent when it does not fit any more."""

from __future__ import annotations

import pytest

from bedrock_nb.conversation import Conversation
from bedrock_nb.server import BedrockServer, Latency

WINDOW = 300
#: Most by which an estimate may be off.
_ABOUT = 1.25


@pytest.fixture(scope="module")
def client():
    with BedrockServer(latency=Latency.none()) as server:
        yield server.client()


@pytest.mark.parametrize("saved", [False, True])
def test_calls_go_on_to_fit_once_exchanges_were_left_out(client, tmp_path, saved):
    """A call that was sent only a part is not taken for one that was sent all, also after loading."""
    chat = Conversation(client)
    for prompt in ["What is a token?", "Why is the sky blue?", "What is latency?"]:
        chat.send(prompt)
    chat.when_long, chat.context_tokens = "drop", WINDOW
    for _ in range(4):
        chat.send("Count from 1 to 5")
        if saved:
            path = chat.save(tmp_path / "chat.json")
            chat = Conversation.load(path, client, when_long="drop", context_tokens=WINDOW)
    asked = chat.exchanges[3:]
    assert all(exchange.left_out for exchange in asked)
    assert max(exchange.usages[0]["inputTokens"] for exchange in asked) <= WINDOW * _ABOUT
    assert len(chat.messages) == 14
