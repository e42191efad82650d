"""What a panel says of itself: its state, how a turn ended, what went wrong, what stands in its place.

Strategy: plain functions from conversations and desks to words and JSON; none of them changes anything. What
comes from others is made visible, and free of account numbers, here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bedrock_nb import render
from bedrock_nb.conversation import Conversation
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.errors import BedrockNbError, without_accounts
from bedrock_nb.panel import choices
from bedrock_nb.panel.desk import Desk
from bedrock_nb.timing import timing

__all__ = ["STILL", "Branch", "ended", "is_news", "note", "seen", "state", "told", "waiting"]

#: What stands in the panel's place where a notebook is only read; no count of turns, for it would not go on.
STILL = "A chat panel, to be used while its kernel runs."

#: Ops of the document that are no news for the transcript.
_BESIDE = ("state", "live", "say")

#: How a turn ended -> what a screen reader says.
_SAID = {
    "complete": "Reply finished.",
    "cancelled": "Reply stopped.",
    "limited": "The turn reached its limit.",
}


class Branch(NamedTuple):
    """A conversation that a panel has shown, its name there, and where its tools ask."""

    conversation: Conversation
    name: str
    desk: Desk


def state(branches: Sequence[Branch], shown: Branch, models: Mapping[str, str], busy: bool) -> dict[str, Any]:
    """The state around the turns, as the document has it.

    Parameters
    ----------
    branches : sequence of Branch
    shown : Branch
        The one of them that is shown.
    models : mapping of str to str
        Short names to ids of the models that a page may choose.
    busy : bool
        Whether an answer is on its way in the branch that is shown.
    """
    chat = shown.conversation
    model = render.printable(choices.called(chat.model, models))
    return {
        "busy": busy,
        "waiting": waiting(shown) if busy else "",
        "model": model,
        "models": [*([] if model in models else [model]), *models],
        "settings": choices.chosen(chat),
        "tools": list(chat.tools),
        "branches": [each.name + ", waits for your approval" * bool(each.desk.asking) for each in branches],
        "branch": next(i for i, each in enumerate(branches) if each is shown),
        "where": choices.where(chat.client),
    }


def waiting(branch: Branch) -> str:
    """What an answer that is on its way waits for, in words; empty while it comes."""
    if branch.desk.asking:
        return "Waiting for your approval"
    turn = branch.conversation.turn
    recordings = turn.recordings if turn is not None and turn.status == "streaming" else []
    if not recordings or not len(recordings[-1]):
        return "Waiting for the model"
    return "Tools are running" if recordings[-1].status != "streaming" else ""


def note(exchange: Exchange) -> str:
    """A line for the transcript under an exchange: what went wrong, and its times if anything was said."""
    calls = list(exchange.recordings)
    times = timing(calls).line if calls and exchange.messages else ""
    return " · ".join(filter(None, (told(exchange.error), times)))


def is_news(message: Mapping[str, Any]) -> bool:
    """Whether a message of the document has something for the transcript."""
    return any(op[0] not in _BESIDE for op in message["ops"])


def ended(status: str, error: Exception | None) -> str:
    """That a turn is over, and how it ended, for a screen reader."""
    return _SAID.get(status) or f"The reply failed. {told(error)}".strip()


def told(error: Exception | None, *, whole: bool = False) -> str:
    """What happened, if ``whole`` with what to do; of an error that is not ours only its kind.

    Who knows what is in it?
    """
    if error is None:
        return ""
    if not isinstance(error, BedrockNbError):
        return f"It failed: {type(error).__name__}."
    return seen(str(error) if whole else error.what)


def seen(text: str) -> str:
    """A text of others as it may stand on a page, as text."""
    return str(without_accounts(render.visible(text)))
