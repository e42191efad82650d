"""Who approves the calls of tools: whoever looks at a panel of the conversation.

Strategy: one `Desk` for a conversation, shared by all panels on it, in the place of whoever was asked before.
A question is a key and an event: the thread that asks waits, a page answers by the key. That thread is the
tool loop's; a page is heard in the main one. So where that asks itself, or a cell waits in it for the turn,
it asks whoever was asked before (the keyboard). They are asked about calls of a fork without a panel, too.
"""

from __future__ import annotations

import threading
import weakref
from itertools import count
from typing import Any

from bedrock_nb.conversation import Conversation
from bedrock_nb.conversation.running import Ask
from bedrock_nb.message import ToolResultBlock, ToolUseBlock

__all__ = ["Desk"]

#: Seconds between two looks whether a question is still one: a call may be given up by code, which tells
#: nobody who waits here.
_LOOK_S = 0.1

_STOPPED = "The user stopped it."
_keys = count(1)


class _Question:
    def __init__(self, call: ToolUseBlock) -> None:
        self.call = call
        self.said: bool | str | None = None
        self.error: Exception | None = None  # of whoever was asked in place of a page
        self.answered = threading.Event()


class Desk:
    """Where the calls of a conversation's tools wait for approval.

    Parameters
    ----------
    conversation : Conversation
        Held weakly: it holds the desk.
    before : function
        Who was asked until now, from a call to True, False or the reason why not.
    """

    def __init__(self, conversation: Conversation, before: Ask) -> None:
        self.before = before
        self._conversation = weakref.ref(conversation)
        self._heard: weakref.WeakSet[Any] = weakref.WeakSet()  # the panels that tell it what pages say
        self._questions: dict[str, _Question] = {}
        self._lock = threading.RLock()

    @classmethod
    def for_(cls, conversation: Conversation) -> Desk:
        """The desk of a conversation; from the first time on it is what the conversation asks."""
        ask = conversation.ask
        if isinstance(ask, Desk):
            if ask._conversation() is conversation:
                return ask
            ask = ask.before  # a fork asks whom its origin asks, until it has a desk of its own
        desk = cls(conversation, ask)
        conversation.ask = desk
        return desk

    # -- the panels --------------------------------------------------------------------------------

    def join(self, panel: Any) -> None:
        """A panel shows what waits here; its ``_touch`` is called when that changes."""
        with self._lock:
            self._heard.add(panel)

    def leave(self, panel: Any) -> None:
        """A panel is gone; with the last of them, what waits is given up."""
        with self._lock:
            self._heard.discard(panel)
        if not self._heard:
            self.release("The panel was closed.")

    @property
    def asking(self) -> dict[str, ToolUseBlock]:
        """Each call that waits, by the key by which it is answered."""
        with self._lock:
            return {key: question.call for key, question in self._questions.items()}

    def answer(self, key: str, yes: bool, reason: str = "") -> bool:
        """Say whether a call may run; False if none waits under this key."""
        with self._lock:
            question = self._questions.pop(key, None)
            if question is None:
                return False
            question.said = True if yes else reason or False
            question.answered.set()
        self._tell()
        return True

    def release(self, reason: str = _STOPPED) -> None:
        """Give up everything that waits: the calls are denied."""
        for key in list(self._questions):
            self.answer(key, False, reason)

    # -- the conversation --------------------------------------------------------------------------

    def __call__(self, call: ToolUseBlock) -> bool | str:
        """Ask, and wait for the answer; what a conversation calls for each of its tools' calls."""
        # In the main thread nobody would hear a page: its messages wait until the cell is done.
        main = threading.current_thread() is threading.main_thread()
        if main or not self._heard or not self._is_ours(call):
            return self.before(call)
        question, key = _Question(call), f"call-{next(_keys)}"
        with self._lock:
            self._questions[key] = question
        self._tell()
        handed = False
        try:
            while not question.answered.wait(_LOOK_S):
                if self._is_over(call):
                    return _STOPPED
                handed = handed or self._hand_over(question)
            if question.error is not None:
                raise question.error
            return question.said if question.said is not None else False
        finally:
            with self._lock:
                self._questions.pop(key, None)
            self._tell()

    def _hand_over(self, question: _Question) -> bool:
        """Let the main thread ask, if a cell waits for the turn there: no page is heard until it is done."""

        def ask() -> None:
            try:
                question.said = self.before(question.call)
            except Exception as err:
                question.error = err
            question.answered.set()

        conversation = self._conversation()
        turn = None if conversation is None else conversation.turn
        return turn is not None and turn.have(threading.main_thread().ident, ask)

    def _is_ours(self, call: ToolUseBlock) -> bool:
        """Whether our conversation made this call, and not a fork of it, which has this desk, too."""
        conversation = self._conversation()
        partial = None if conversation is None else conversation.partial
        return partial is not None and any(each.id == call.id for each in partial.tool_uses)

    def _is_over(self, call: ToolUseBlock) -> bool:
        """Whether the call has a result already: it was stopped, or given up."""
        conversation = self._conversation()
        turn = None if conversation is None else conversation.turn
        if turn is None:
            return True
        over = False
        for block in turn.snapshot.content:  # an id may come again in a later round
            match block:
                case ToolUseBlock(id=call.id):
                    over = False
                case ToolResultBlock(id=call.id):
                    over = True
        return over

    def _tell(self) -> None:
        with self._lock:
            panels = list(self._heard)
        for panel in panels:
            panel._touch()

    def __repr__(self) -> str:
        return f"<Desk: {len(self._questions)} calls wait for approval>"
