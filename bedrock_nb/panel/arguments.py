"""What code gives to a panel, checked: a conversation, a prompt, a turn, a height.

Strategy: each function takes what was given and returns what is meant, or raises a `RequestError` that says
what is wanted. Nothing is sent, and no panel is changed, before these have agreed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedrock_nb.client import connect
from bedrock_nb.content import user
from bedrock_nb.conversation import Conversation
from bedrock_nb.errors import RequestError
from bedrock_nb.tap import check_client

__all__ = ["another", "conversation_of", "css", "number_of", "said"]


def conversation_of(given: Any, settings: Mapping[str, Any]) -> Conversation:
    """The conversation to show: the one that is given, or a new one."""
    if isinstance(given, Conversation):
        if settings:
            raise RequestError(
                f"A conversation is given, and settings for a new one, too: {', '.join(settings)}.",
                remedy="Give one of both; chat.settings changes those of a conversation.",
            )
        return given
    if given is None:
        given = connect(verbose=False)
    check_client(given, "ChatPanel")
    return Conversation(given, **settings)


def another(given: Any) -> Conversation:
    """A conversation to show from now on."""
    if not isinstance(given, Conversation):
        raise RequestError(
            f"A panel shows a Conversation; this is a {type(given).__name__}.",
            remedy="Write panel.conversation = nb.Conversation(client).",
        )
    return given


def said(prompt: Any) -> Any:
    """The content of a prompt: a text, or a list of texts, images and content blocks."""
    return user(*prompt if isinstance(prompt, list | tuple) else (prompt,))["content"]


def number_of(turn: int, conversation: Conversation) -> int:
    """Which turn is meant, from 0; below 0 it is counted from the end."""
    if not len(conversation):
        raise RequestError("Nothing has been said yet.", remedy="Ask something first.")
    return conversation.number(turn)


def css(height: str | int) -> str:
    """A height as CSS; a number is pixels."""
    if isinstance(height, bool) or not isinstance(height, str | int):
        raise RequestError(f"height is {height!r:.40}.", remedy='Give CSS, "36rem", or pixels, 500.')
    return f"{height}px" if isinstance(height, int) else height
