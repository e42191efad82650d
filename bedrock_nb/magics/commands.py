"""``%%converse``, ``%converse`` and ``%bedrock``.

Strategy: each is a thin call of a public function: `stream` or a conversation's, shown by `live`; `connect`.
The reply is in its variable before its first event is read, so it is there whatever ends the cell. What is
wrong with the line itself is a ``UsageError``, one sentence without a traceback; what fails later fails as it
would in a cell that calls the functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from keyword import iskeyword
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import (
    Magics,
    line_cell_magic,
    line_magic,
    magics_class,
    needs_local_scope,
    no_var_expand,
)

import bedrock_nb
from bedrock_nb.client import connect
from bedrock_nb.conversation import Conversation
from bedrock_nb.conversation.turn import Turn
from bedrock_nb.errors import RequestError, StreamError, close
from bedrock_nb.live import live
from bedrock_nb.magics import cards
from bedrock_nb.magics.completing import streaming_models
from bedrock_nb.magics.filling import fill
from bedrock_nb.magics.scanning import Option, described, scan, unquoted, word
from bedrock_nb.reply import Reply
from bedrock_nb.streaming import stream

__all__ = ["OPTIONS", "Commands"]

_CONVERSE = (
    Option(("--model", "-m"), "MODEL", "short name (Tab completes it), model id, inference profile or ARN"),
    Option(("--system", "-s"), "TEXT", "the system prompt"),
    Option(("--temperature", "-t"), "T", "0 to 1", float),
    Option(("--max-tokens",), "N", "most output tokens", int),
    Option(("--top-p",), "P", "0 to 1", float),
    Option(("--client",), "NAME", "the variable that holds the client; by default client, if that is one"),
    Option(
        ("--chat",),
        "NAME",
        "go on with the Conversation in this variable; one is made if there is none, and this cell's options "
        "then hold for all of it, while later ones hold for one turn",
    ),
    Option(("--var", "-v"), "NAME", "the variable for the reply (default: reply); with --chat for the Turn"),
    Option(("--raw", "-r"), "", "take the prompt as it is: no {python} in it"),
    Option(("--no-timing",), "", "leave out the line of timing"),
    Option(("--table",), "", "show the summary table as well"),
    Option(
        ("--param",),
        "NAME=VALUE",
        "anything else that nb.stream takes, the value in JSON or as text; may be given more than once",
        more={"action": "append", "default": []},
    ),
)
_BEDROCK = (
    Option(("--region",), "NAME", "AWS region, for aws"),
    Option(("--profile",), "NAME", "AWS profile, for aws"),
    Option(("--var", "-v"), "NAME", "the variable for the client (default: client)"),
)
#: Magic -> its options, each by all of its names.
OPTIONS = {
    magic: {name: option for option in options for name in option.names}
    for magic, options in (("converse", _CONVERSE), ("bedrock", _BEDROCK))
}
#: What comes first after %bedrock, if it is no URL.
_TARGETS = ("aws", "local", "auto")
_QUESTIONS = ("models", "last")
#: Options that are settings of `stream`.
_SETTINGS = ("model", "system", "temperature", "max_tokens", "top_p")
#: What --param cannot be -> what to write.
_NOT_PARAMS = {
    "client": "--client",
    "prompt": "the text of the cell",
    "messages": "--chat",
    "made": "a function",
}


@magics_class
class Commands(Magics):
    """The magics; ``client`` is the one that they connected by themselves."""

    shell: Any  # IPython says it may be None; ours never is
    client: Any = None

    @no_var_expand
    @needs_local_scope
    @line_cell_magic
    @described(
        _CONVERSE, "%(prog)s [options] prompt, or %%%%%(prog)s [options] over a cell that is the prompt"
    )
    def converse(self, line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Ask a model on Amazon Bedrock; the answer is shown while it comes.

        Examples::

            %%converse -m nova_lite
            Why is the sky blue? Answer for a child of {age}.

            %converse Count from 1 to 20

            %%converse --chat talk --system "Be brief." --temperature 0
            My name is {name}.

        The reply is in the variable `reply` afterwards, also when it failed or the cell was interrupted:
        `reply.text`, `nb.summary(reply)`, `nb.plot.anatomy(reply)`. For another name write --var answer;
        answer = %converse … would hold nothing, or the table.

        {expression} is Python, evaluated with your variables, like any code in your own cell; what a model
        wrote is never evaluated. Other braces, as in {"a": 1}, stay as they stand; {{x}} is {x}; --raw takes
        all of the text as it is. In the values of options {expression} works as well.
        """
        names = {**self.shell.user_ns, **(local_ns or {})}
        magic = "%converse" if cell is None else "%%converse"
        given = scan(line, OPTIONS["converse"], magic)
        args = self._parsed(magic, given.given, given.waiting, names)
        if cell is not None and given.rest:
            raise UsageError(f"The prompt is written below the line of %%converse: {given.rest:.60}")
        text = (given.rest if cell is None else cell).strip("\r\n")
        if not text.strip():
            raise UsageError(f"There is nothing to ask yet: write the prompt {_WHERE[magic]}.")
        try:
            text = text if args.raw else fill(text, names)
            shown = self._ask(args, text)
        except RequestError as err:
            if err.__cause__ is not None:  # code of the user's failed: its traceback says where
                raise
            raise UsageError(str(err)) from None
        live(shown, timing=not args.no_timing)
        return bedrock_nb.summary(shown) if args.table else None

    def _ask(self, args: Any, text: str) -> Reply | Turn:
        """The reply or the turn, in its variable."""
        keep = partial(self.shell.user_ns.__setitem__, args.var)
        settings = {name: value for name in _SETTINGS if (value := getattr(args, name)) is not None}
        for pair in args.param:
            name, value = _param(pair)
            if name in settings:
                raise UsageError(f"{name} is given twice.")
            settings[name] = value
        if args.chat is None:
            return stream(self._client(args.client), text, made=keep, **settings)
        chat = self.shell.user_ns.get(args.chat)
        if isinstance(chat, Conversation):
            if args.client is not None:
                raise UsageError(f"The conversation in {args.chat} has its own client; leave --client out.")
        elif chat is None:
            chat, settings = Conversation(self._client(args.client), **settings), {}
        else:
            raise UsageError(
                f"{args.chat} holds a {type(chat).__name__} and no Conversation: give another name."
            )
        try:
            turn = chat.stream(text, **settings)
        except StreamError as err:
            if err.reply is not None:  # refused: there is no turn
                keep(err.reply)
            raise
        keep(turn)
        self.shell.user_ns[args.chat] = chat  # not before: one whose settings are refused is made anew
        return turn

    @no_var_expand
    @needs_local_scope
    @line_magic
    @described(_BEDROCK, "%(prog)s [aws | local | URL | models [word] | last] [options]")
    def bedrock(self, line: str, local_ns: Mapping[str, Any] | None = None) -> Any:
        """Where this notebook is connected; connect elsewhere; which models stream; what came last.

        Examples::

            %bedrock                                        where we are
            %bedrock local                                  the embedded Bedrock; no account needed
            %bedrock aws --region us-west-2 --profile work
            %bedrock http://127.0.0.1:8080                  an embedded Bedrock that already runs
            %bedrock models claude                          models that stream, of this name
            %bedrock last                                   the last recording in numbers

        A new connection is in the variable `client`. Keys and account numbers are never shown.
        """
        names = {**self.shell.user_ns, **(local_ns or {})}
        known, words = OPTIONS["bedrock"], list[str]()
        given, waiting, rest = scan(line, known, "%bedrock")
        while rest:
            first, rest = word(rest)
            words.append(fill(unquoted(first), names))
            more, waiting, rest = scan(rest, known, "%bedrock")
            given += more
        args = self._parsed("%bedrock", given, waiting, names)
        first = words[0] if words else ""
        if len(words) > (2 if first == "models" else 1):
            raise UsageError(f"%bedrock does not know what to do with {' '.join(words[1:]):.60}")
        connects = first in _TARGETS or first.startswith(("http://", "https://"))
        if given and not connects:
            raise UsageError(f"{given[0][0]} belongs to a target, as in %bedrock aws {given[0][0]} …")
        if connects:
            self.client = connect(first, region=args.region, profile=args.profile)
            self.shell.user_ns[args.var] = self.client
            return None
        if first == "models":
            try:
                return cards.streaming(*words[1:])
            except RequestError as err:
                raise UsageError(str(err)) from None
        if first == "last":
            return cards.last()
        if first:
            hint = close(first, [*_TARGETS, *_QUESTIONS])
            raise UsageError(f"There is no %bedrock {first:.60}. {hint}%bedrock? tells what there is.")
        return cards.connection(self._found())

    # -- what both need ----------------------------------------------------------------------------

    def _parsed(
        self, magic: str, given: list[tuple[str, str | None]], waiting: str, names: Mapping[str, Any]
    ) -> Any:
        """The options as argparse has them, their values filled in."""
        if waiting:
            raise UsageError(f"{waiting} wants a value behind it.")
        parser = getattr(self, magic.lstrip("%")).parser
        args = parser.parse_args(
            [option if value is None else f"{option}={fill(value, names)}" for option, value in given]
        )
        args.var = args.var or _VARIABLES[magic]
        for option in ("var", "chat", "client"):
            value = getattr(args, option, None)
            if value is not None and (not value.isidentifier() or iskeyword(value)):
                raise UsageError(f"--{option} is {value!r:.60}, and a name of a variable is wanted.")
        return args

    def _client(self, name: str | None) -> Any:
        """The client that is asked: that of a variable, or one that is connected now."""
        if name is not None:
            if name not in self.shell.user_ns:
                hint = close(name, self.clients())
                raise UsageError(f"There is no variable {name}. {hint}client = nb.connect() makes a client.")
            return self.shell.user_ns[name]  # what is wrong with it, `stream` tells
        client = self._found()
        if client is None:
            client = self.client = connect()
        return client

    def _found(self) -> Any:
        client = self.shell.user_ns.get("client")
        return client if hasattr(client, "converse_stream") else self.client

    # -- for the Tab key ---------------------------------------------------------------------------

    def clients(self) -> list[str]:
        """Variables that hold a client."""
        return self._variables(lambda value: hasattr(type(value), "converse_stream"))

    def values(self) -> dict[str, Callable[[], list[str]]]:
        """Long name of an option -> what may be its value."""
        return {
            "--model": streaming_models,
            "--client": self.clients,
            "--chat": lambda: self._variables(lambda value: isinstance(value, Conversation)),
            "--var": lambda: ["reply", *self._variables(lambda value: isinstance(value, Reply | Turn))],
        }

    def words(self, there: Sequence[str]) -> list[str]:
        """What may follow these words of %bedrock."""
        if list(there) == ["models"]:
            return streaming_models()
        return [] if there else [*_TARGETS, *_QUESTIONS]

    def _variables(self, fits: Callable[[Any], bool]) -> list[str]:
        # A copy: a thread of the user's may make a variable meanwhile.
        own = dict(self.shell.user_ns).items()
        return sorted(name for name, value in own if not name.startswith("_") and fits(value))


_WHERE = {"%converse": "behind %converse, on the same line", "%%converse": "below the line of %%converse"}
_VARIABLES = {"%converse": "reply", "%%converse": "reply", "%bedrock": "client"}


def _param(pair: str) -> tuple[str, Any]:
    name, equals, value = pair.partition("=")
    if not equals or not name.isidentifier():
        raise UsageError(f"--param is {pair!r:.60}, and NAME=VALUE is wanted, such as idle_timeout=20.")
    if name in _NOT_PARAMS:
        raise UsageError(f"--param cannot be {name}: that is {_NOT_PARAMS[name]}.")
    if value[:1] == value[-1:] == "'":  # quotes as on a command line
        value = value[1:-1]
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
