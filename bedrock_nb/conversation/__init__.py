"""Conversations: turns that follow each other, with tools, kept and taken up again.

Strategy: a `Conversation` is a client, settings for `stream`, tools, and a list of exchanges (`history`). It
asks through `stream` and nothing else, so whatever a call can be given, a conversation can. What happens
within a turn is told in `loop`, how it is seen in `turn`. Undo, rerun, edit and fork work on whole
exchanges: no half of a tool call is ever left.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

from bedrock_nb import models, render
from bedrock_nb.asked import Keeping
from bedrock_nb.calling import check_members
from bedrock_nb.content import as_turn, user
from bedrock_nb.conversation import history, saved
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.conversation.limits import Limits
from bedrock_nb.conversation.loop import Loop, tell_all
from bedrock_nb.conversation.past import NOT_SAVED, Past, model_of
from bedrock_nb.conversation.running import Ask, Runner, serving
from bedrock_nb.conversation.turn import Turn
from bedrock_nb.conversation.window import first_that_fits
from bedrock_nb.errors import BedrockNbError, LoopLimitError, RequestError, StreamError
from bedrock_nb.lines import as_path, why
from bedrock_nb.message import Message
from bedrock_nb.observers import METHODS
from bedrock_nb.recording import Recording
from bedrock_nb.reply import Reply
from bedrock_nb.request import Request, as_request
from bedrock_nb.settings import Settings
from bedrock_nb.streaming import stream
from bedrock_nb.tap import check_client, timeouts_of
from bedrock_nb.tools import Approve, Tool, as_tools

__all__ = ["Conversation"]

WhenLong: TypeAlias = Literal["error", "drop"]

#: Seconds that a new turn waits for one that was told to stop.
_PATIENCE_S = 2.0
#: Recordings that a conversation keeps, newest last.
_MOST_RECORDINGS = 500
#: What observers of a conversation are told, beside what those of replies are.
_MORE_METHODS = ("on_tool_start", "on_tool_end", "on_change")
#: What `stream` takes and a conversation gives by itself.
_OWN = frozenset({"client", "prompt", "messages", "tools", "toolConfig", "background", "record", "made"})


class Conversation(Past):
    """A conversation with a model.

    Parameters
    ----------
    client : boto3 bedrock-runtime client
        From `connect`, or your own.
    model : str, optional
        Model id, inference profile, ARN or short name.
    system : str or list of blocks, optional
        The system prompt.
    tools : sequence of Tool, function or dict
        What the model may ask for. Functions are made tools of as `tool` does it; calls of tools that are
        given as plain dicts are yours to answer: the turn ends, and your next prompt holds the results.
    messages : sequence of dict or Message
        What was said before.
    eager : bool
        Start a tool as soon as its content block has stopped, while the message goes on; only tools that
        change nothing and ask nobody. False waits for the whole message.
    parallel : int
        Calls of tools that may run at once; 1 is one after another.
    limits : Limits, optional
        How far one turn may go by itself: by default 10 rounds.
    approve : {"always", "ask"} or function, optional
        Whether calls of tools may run, in place of what each tool says.
    ask : function, optional
        Who is asked: from the call to True, False or the reason why not; by default you, at the keyboard.
    when_long : {"error", "drop"}
        What happens before a turn that would not fit into the model's context window: it is refused, or the
        oldest exchanges are left out of what is sent; they stay in the history.
    context_tokens : int, optional
        The size of that window; by default what `models` knows.
    **settings
        Anything else that `stream` takes, for every call: ``max_tokens``, ``temperature``, ``schema``,
        ``journal``, ``idle_timeout`` …

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> chat = nb.Conversation(nb.connect("local", verbose=False), system="Be brief.")
    >>> chat.send("Count from 1 to 3").text
    '1, 2, 3.'
    >>> [message.role for message in chat.messages]
    ['user', 'assistant']
    """

    def __init__(
        self,
        client: Any,
        *,
        model: str | None = None,
        system: str | Sequence[Mapping[str, Any]] | None = None,
        tools: Iterable[Tool | Callable[..., Any] | Mapping[str, Any]] = (),
        messages: Iterable[Mapping[str, Any] | Message] = (),
        eager: bool = True,
        parallel: int = 8,
        limits: Limits | None = None,
        approve: Approve | None = None,
        ask: Ask | None = None,
        when_long: WhenLong = "error",
        context_tokens: int | None = None,
        **settings: Any,
    ) -> None:
        if when_long not in get_args(WhenLong):
            raise RequestError(f"when_long is {when_long!r:.60}.", remedy='"error" or "drop" is wanted.')
        whole = isinstance(context_tokens, int) and not isinstance(context_tokens, bool)
        if context_tokens is not None and not (whole and context_tokens > 0):
            raise RequestError(f"context_tokens is {context_tokens!r:.60}; a whole number from 1 is wanted.")
        given = {"model": model or settings.pop("modelId", None), "system": system}
        settings = {**{name: value for name, value in given.items() if value is not None}, **settings}
        said = history.exchanges_of(_as_message(message) for message in messages)
        super().__init__(said, settings, as_tools(tools))
        _check(client, settings, self.tools)
        if limits is not None and not isinstance(limits, Limits):
            raise RequestError(f"limits is {limits!r:.60}.", remedy="Give nb.Limits(rounds=…).")
        self.client = client
        self.runner = Runner(self.tools, approve=approve, ask=ask, parallel=parallel)
        self.eager, self.when_long, self.context_tokens = eager, when_long, context_tokens
        self.limits = limits or Limits()
        self.recordings: list[Recording] = []
        self._observers: list[Any] = []
        self._loop: weakref.ref[Loop] | None = None
        self._turn: weakref.ref[Turn] | None = None
        self._beginning = threading.RLock()  # held until it is seen that a turn is on its way

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "model" or name in _names() - {"client", "tools"}:  # it would have no effect
            raise RequestError(
                f"{name} is a setting.",
                remedy=f"chat.settings[{name!r}] = … changes it, chat.stream(…, {name}=…) for one turn.",
            )
        super().__setattr__(name, value)

    # -- asking ------------------------------------------------------------------------------------

    def stream(
        self,
        prompt: Any,
        *,
        labels: Mapping[str, Any] | None = None,
        background: bool = False,
        **settings: Any,
    ) -> Turn:
        """Say something and stream the answer, over as many calls as the model's tools need.

        Parameters
        ----------
        prompt : str, or list of content blocks, texts and images
        labels : mapping, optional
            For the recordings of this turn, beside ``conversation``, ``turn``, ``round`` and ``at_s``
            (seconds since the turn began).
        background : bool
            Read on and run tools in a thread.
        **settings
            For this turn alone, in place of the conversation's.

        Returns
        -------
        Turn
            As soon as the head of the first answer is there. A turn before that was not at its end is
            cancelled; what came of it stays.

        Raises
        ------
        RequestError
            An argument that cannot work, or a turn that another thread still reads; nothing was sent.
        ContextWindowError
            The conversation does not fit any more.
        StreamError
            There is no answer. The prompt stays in the history, and is not sent again with the next: `rerun`
            asks it once more.
        """
        return self._ask(_as_prompt(prompt), labels, background, settings, len(self))

    def _ask(
        self,
        prompt: Message,
        labels: Mapping[str, Any] | None,
        background: bool,
        settings: dict[str, Any],
        number: int,
    ) -> Turn:
        """Begin turn ``number``; what stood there and after it goes, unless nothing comes in its place."""
        with self._beginning:
            loop, old = self._begun(prompt, labels, settings, number)
        exchange = loop.exchange
        try:
            self._changed()
            turn = Turn(loop, background=background)
        except BaseException as err:
            if exchange.status == "streaming":  # interrupted before anything could be asked
                exchange.status = "cancelled"
            # What was to be replaced is not given up for nothing. A new prompt stays if it was sent.
            if old or not isinstance(err, StreamError | LoopLimitError | KeyboardInterrupt):
                self.exchanges[number:] = old
            self._changed()
            raise
        if old and loop.stopped and not exchange.messages and loop.partial is None:  # before anything came
            turn.cancel()
            self.exchanges[number:] = old
        self._turn = weakref.ref(turn)
        self._changed()
        return turn

    def _begun(
        self, prompt: Message, labels: Mapping[str, Any] | None, settings: dict[str, Any], number: int
    ) -> tuple[Loop, list[Exchange]]:
        """The loop of a new turn, which stands in the history from now on, and what stood in its place."""
        self._end_last()
        chosen = {**self.settings, **settings}
        if "modelId" in settings:
            chosen["model"] = chosen.pop("modelId")
        _check(self.client, chosen, self.tools)
        Keeping(labels).check()
        exchange, old = Exchange(prompt), self.exchanges[number:]
        common = {**(chosen.pop("labels", None) or {}), **(labels or {})}
        common |= {"conversation": self.id, "turn": number + 1}
        exchange.left_out = self._first_sent([*self.exchanges[:number], exchange], chosen)
        before = self.exchanges[exchange.left_out : number]

        def ask(more: dict[str, Any], left: float, made: Callable[[Reply], None]) -> Reply:
            begun: list[Reply] = []

            def begin(reply: Reply) -> None:
                begun.append(reply)
                made(reply)

            options = dict(chosen)
            if more["round"] > 1:  # who must call a tool each time would never answer
                options.pop("tool_choice", None)
            if left < timeouts_of(self.client).but(None, None, options.get("total_timeout")).total:
                options["total_timeout"] = max(left, 0.001)
            try:
                return stream(
                    self.client,
                    history.turns([*before, exchange]),
                    tools=[tool.spec for tool in self.tools.values()] or None,
                    labels={**common, **more},
                    made=begin,
                    **options,
                )
            except BedrockNbError as err:
                if not isinstance(err, StreamError):  # nothing was sent
                    begun.clear()
                raise
            finally:  # also of a call that was refused, or interrupted, before its head
                for reply in begun:
                    self._keep(reply.recording, exchange)

        loop = Loop(
            exchange,
            ask,
            self.runner,
            self.limits,
            eager=self.eager,
            observers=self._observers,
            changed=self._changed,
        )
        self.exchanges[number:] = [exchange]
        self._loop = weakref.ref(loop)
        return loop, old

    def _keep(self, recording: Recording, exchange: Exchange) -> None:
        """Keep a recording here and in its exchange; the oldest of all make room."""
        exchange.recordings.append(recording)
        self.recordings.append(recording)
        if gone := {id(recording) for recording in self.recordings[:-_MOST_RECORDINGS]}:
            for has in (self.recordings, *(exchange.recordings for exchange in self.exchanges)):
                has[:] = [recording for recording in has if id(recording) not in gone]

    def _changed(self) -> None:
        tell_all(self._observers, "on_change", self)

    def send(self, prompt: Any, **settings: Any) -> Message:
        """The same, at once: goes on to the end and returns the last answer.

        Parameters
        ----------
        prompt, **settings
            As `stream` takes them.

        Raises
        ------
        StreamError, LoopLimitError
            The turn failed; what came is in the history.
        """
        return self.stream(prompt, **settings).message

    def loop(self, *, read: Callable[[str], str] = input, quit: str = "quit") -> None:
        """Talk at the keyboard: read a line, show its answer with `live`, until you say ``quit``.

        An answer that fails, or that a limit ends, is told in its words, and the talk goes on.

        Parameters
        ----------
        read : function
            From a question to a line of text; also the end of input ends the loop.
        quit : str
            The word that ends it.
        """
        from bedrock_nb.live import live  # late: only who talks at a keyboard needs IPython

        while True:
            try:
                said = read("You: ").strip()
            except EOFError:
                return
            if said.lower() == quit.lower():
                return
            if not said:
                continue
            try:
                live(self.stream(said))
            except (StreamError, LoopLimitError) as err:
                print(render.printable(str(err)))

    @property
    def partial(self) -> Message | None:
        """What there is of an answer on its way, or whose tools are running."""
        loop = self._loop() if self._loop is not None else None
        return None if loop is None else loop.partial

    def on(self, observer: Any) -> Conversation:
        """Tell an observer what happens in every turn from now on; see `Observer`, and some methods besides.

        Parameters
        ----------
        observer : object
            With some of the methods of `Observer`, ``on_tool_start(call)``, ``on_tool_end(run)`` and
            ``on_change(conversation)``: that the exchanges are others, that there is a `turn`, or that it
            is over, however it ended. That is told in any thread, at any point of it: note it, and return.
        """
        if not any(hasattr(observer, name) for name in (*METHODS, *_MORE_METHODS)):
            raise RequestError(
                f"A {type(observer).__name__} observes nothing.",
                remedy=f"Give an object with a method of nb.Observer, or one of {', '.join(_MORE_METHODS)}.",
            )
        self._observers.append(observer)
        return self

    def off(self, observer: Any) -> Conversation:
        """Tell an observer nothing more, but of a reply that is on its way; see `on`."""
        self._observers[:] = [other for other in self._observers if other is not observer]
        return self

    @property
    def turn(self) -> Turn | None:
        """The last turn, while somebody holds it; a turn that nobody holds is over."""
        return self._turn() if self._turn is not None else None

    @property
    def ask(self) -> Ask:
        """Who is asked whether a call of a tool may run; another may be set at any time.

        It is for questions that are still to come. None gives them back to you, at the keyboard.
        """
        return self.runner.ask

    @ask.setter
    def ask(self, ask: Ask | None) -> None:
        self.runner.ask = ask

    def cancel(self) -> None:
        """Stop the turn that is on its way, if there is one; what came stays. From any thread."""
        loop = self._loop() if self._loop is not None else None
        if loop is not None:  # there is no turn yet while the head of its first answer is waited for
            loop.stop()
        if (turn := self.turn) is not None:
            turn.cancel()

    # -- changing what was said --------------------------------------------------------------------

    def undo(self, turns: int = 1) -> list[Message]:
        """Take the last turns back, whole; returns their prompts, oldest first."""
        with self._beginning:
            gone = self._taken_back(turns)
        self._changed()
        return [exchange.prompt for exchange in gone]

    def _taken_back(self, turns: int) -> list[Exchange]:
        self._end_last()
        if not isinstance(turns, int) or isinstance(turns, bool) or not 1 <= turns <= len(self):
            raise RequestError(
                f"{turns!r:.60} turns cannot be taken back.", remedy=f"The conversation has {len(self)}."
            )
        gone = self.exchanges[-turns:]
        del self.exchanges[-turns:]
        return gone

    def rerun(self, *, turn: int = -1, background: bool = False, **settings: Any) -> Turn:
        """Ask an earlier prompt once more, perhaps with other settings; its answer and what came after go.

        Where nothing comes in their place (it cannot be sent, is refused, or stopped before its head) they
        stay.

        Parameters
        ----------
        turn : int
            Which prompt, counted from 0, or from the end if below 0.
        background, **settings
            As `stream` takes them.
        """
        number = self.number(turn)
        return self._ask(self.exchanges[number].prompt, None, background, settings, number)

    def edit(self, prompt: Any, *, turn: int = -1, background: bool = False, **settings: Any) -> Turn:
        """Ask something else in place of an earlier prompt; its answer and what came after go.

        Parameters
        ----------
        prompt : str, or list
            As `stream` takes it.
        turn, background, **settings
            As `rerun` takes them.
        """
        return self._ask(_as_prompt(prompt), None, background, settings, self.number(turn))

    def fork(self, turns: int | None = None) -> Conversation:
        """A conversation of its own that begins as this one, or with its first ``turns``.

        Both share the client, the tools and whoever approves calls; nothing that is said in one is in the
        other.
        """
        if turns is not None and (not isinstance(turns, int) or isinstance(turns, bool) or turns < 0):
            raise RequestError(f"turns is {turns!r:.60}; a whole number of turns from 0 is wanted.")
        twin = copy(self)
        exchanges = [exchange.copy() for exchange in self._as_it_stands()[:turns]]
        Past.__init__(twin, exchanges, self.settings, self.tools)
        twin.runner = self.runner.again()
        for exchange in twin.exchanges:
            if exchange.status == "streaming":
                exchange.status = "incomplete"
                # The one that grows will tell of more than there is here.
                exchange.recordings[:] = (each for each in exchange.recordings if each.status != "streaming")
        twin.recordings, twin._observers, twin._loop, twin._turn = [], [], None, None
        twin._beginning = threading.RLock()
        return twin

    def number(self, turn: int) -> int:
        """Which turn is meant, counted from 0; below 0 it is counted from the end.

        Raises
        ------
        RequestError
            There is no such turn.
        """
        try:
            return range(len(self))[turn]
        except (IndexError, TypeError):
            raise RequestError(
                f"There is no turn {turn!r:.60}.", remedy=f"The conversation has {len(self)}."
            ) from None

    @classmethod
    def load(cls, path: str | os.PathLike[str], client: Any, **changes: Any) -> Conversation:
        """Take a saved conversation up again.

        Parameters
        ----------
        path : path
        client : boto3 bedrock-runtime client
        **changes
            As the constructor takes them: the ``tools``, and settings other than the saved ones.

        Raises
        ------
        RequestError
            It is no saved conversation, is damaged, or cannot be read.
        """
        target = as_path(path)
        try:
            text = target.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as err:
            raise RequestError(f"The conversation {target.name!r} cannot be read: {why(err)}.") from None
        head, exchanges = saved.load(text, target.name)
        given = head.get("settings")
        if not isinstance(given, Mapping | None):
            raise RequestError(
                f"The conversation in {target.name!r} is damaged: its settings are {given!r:.60}."
            )
        # A file says what is asked, not what may be done: whether tools may run is for who loads it.
        own = set(inspect.signature(cls.__init__).parameters) - {"model", "system"}
        settings = {name: value for name, value in dict(given or {}).items() if name not in own | NOT_SAVED}
        loaded = cls(client, **{**settings, **changes})
        loaded.exchanges = exchanges
        if isinstance(head.get("id"), str):
            loaded.id = head["id"]
        return loaded

    def __repr__(self) -> str:
        turns, tools = len(self.exchanges), len(self.tools)
        return (
            f"<Conversation with {self.model}: {turns} turn{'s' * (turns != 1)}, "
            f"{tools} tool{'s' * (tools != 1)}>"
        )

    # -- what is sent ------------------------------------------------------------------------------

    def _end_last(self) -> None:
        """A turn that nobody goes on with is over; one that a thread reads is not to be talked into."""
        loop = self._loop() if self._loop is not None else None
        if loop is not None and loop.serves(serving()):
            raise RequestError(
                "A tool cannot talk in the conversation whose call it serves.",
                remedy="Let it talk in one of its own: chat.fork().",
            )
        end = time.monotonic() + (_PATIENCE_S if loop is not None and loop.stopped else 0.0)
        while (waits := self._waits_for_head) and time.monotonic() < end:
            time.sleep(0.01)
        turn = self.turn
        if turn is not None and loop is not None and loop.stopped:
            turn.settle(_PATIENCE_S)
        if waits or (turn is not None and turn.busy):
            raise RequestError(
                "The last turn is still being answered.",
                remedy="Wait for it, or stop it first: chat.cancel().",
            )
        if turn is not None:
            turn.close()

    @property
    def _waits_for_head(self) -> bool:
        """Whether a thread waits for the head of a first answer: until that is there, there is no turn."""
        loop, turn = self._loop() if self._loop is not None else None, self.turn
        if loop is None or loop.exchange.status != "streaming":
            return False
        return turn is None or turn.exchange is not loop.exchange

    def _first_sent(self, exchanges: Sequence[Exchange], chosen: Mapping[str, Any]) -> int:
        """The number of the first exchange that is sent: 0, unless some must be left out."""
        model = models.resolve(model_of(chosen))
        window = self.context_tokens or models.capabilities(model).get("context_tokens")
        if not window:
            return 0
        return first_that_fits(
            exchanges,
            beside=[chosen.get("system"), [tool.spec for tool in self.tools.values()]],
            room=chosen.get("max_tokens") or 0,
            window=window,
            drop=self.when_long == "drop",
            model=model,
        )


def _as_prompt(prompt: Any) -> Message:
    return Message.from_dict(user(*prompt) if isinstance(prompt, list | tuple) else user(prompt))


def _as_message(message: Mapping[str, Any] | Message) -> Message:
    return message if isinstance(message, Message) else Message.from_dict(as_turn(message))


@cache
def _names() -> frozenset[str]:
    """The settings that `stream` takes by name."""
    return frozenset(inspect.signature(stream).parameters)


def _check(client: Any, settings: Mapping[str, Any], tools: Mapping[str, Tool]) -> None:
    """Refuse a client and settings that cannot work, before anything is asked."""
    check_client(client, "Conversation")
    for name in sorted(settings.keys() & _OWN):
        raise RequestError(
            f"{name} is no setting of a conversation.",
            remedy="Give it where it belongs: tools to Conversation, background and labels to chat.stream.",
        )
    fields = {field.name for field in dataclasses.fields(Request)}
    other = {name: value for name, value in settings.items() if name not in _names()}
    check_members(client, other)
    given = {name: value for name, value in settings.items() if name in fields}
    if tools:
        given["tools"] = [tool.spec for tool in tools.values()]
    as_request("?", given, other)
    kept = {name: settings[name] for name in ("labels", "durability", "errors") if name in settings}
    Keeping()._replace(**kept).check()
    Settings(journal=settings.get("journal"))  # a folder: each call has a file of its own
    timeouts_of(client).but(*(settings.get(f"{name}_timeout") for name in ("first_event", "idle", "total")))
