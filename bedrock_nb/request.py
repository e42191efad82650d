"""What is asked: one frozen object for the plain and the streamed call.

Strategy: `Request` holds the handful of settings that everybody uses under short names, and everything
else that ConverseStream takes in ``extra`` under the API's own names. Only what was set is sent. Plain
dicts in the API's own shape are welcome wherever a message, a system prompt or a tool is. Lists and dicts
are copied on the way in and on the way out, so that nothing done to them later changes what was asked.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from bedrock_nb import settings
from bedrock_nb.errors import RequestError, StreamError, refused
from bedrock_nb.mend import Keep, resendable
from bedrock_nb.message import Message

if TYPE_CHECKING:
    from bedrock_nb.reply import Reply

__all__ = ["DEFAULT_MODEL", "Request", "as_request", "own"]

#: Small, cheap, and on by default in most accounts; the embedded server answers to any model id.
DEFAULT_MODEL = "us.amazon.nova-lite-v1:0"

# field of Request -> member of inferenceConfig
_INFERENCE = {
    "max_tokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "stop": "stopSequences",
}
# member of the request -> field of Request; what must not come under both names
_OWN_NAMES = {"modelId": "model", "messages": "messages", "system": "system", "toolConfig": "tools"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a model.

    Parameters
    ----------
    model : str
        Model id, inference profile or ARN.
    prompt : str or list of content blocks, optional
        The user's turn; appended to ``messages``.
    messages : sequence of dict or Message
        The conversation so far, in Converse's shape.
    system : str or list of blocks, optional
        The system prompt.
    max_tokens : int, optional
        Most output tokens.
    temperature, top_p : float, optional
        Sampling, 0 to 1.
    stop : sequence of str
        Sequences that end the answer.
    tools : sequence of dict, optional
        Tools in Converse's shape (``{"toolSpec": …}``), or a whole ``toolConfig``.
    extra : mapping
        Any other argument of ``converse_stream``, under its own name.

    Raises
    ------
    RequestError
        An argument that cannot work.
    """

    model: str = DEFAULT_MODEL
    prompt: str | Sequence[Mapping[str, Any]] | None = None
    messages: Sequence[Mapping[str, Any] | Message] = ()
    system: str | Sequence[Mapping[str, Any]] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: Sequence[str] = ()
    tools: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise RequestError(
                f"model is {_shown(self.model)}; a model id is wanted.",
                remedy=f"For example {DEFAULT_MODEL!r}.",
            )
        set_ = object.__setattr__
        for name in ("prompt", "system"):
            set_(self, name, _text_or_blocks(name, getattr(self, name)))
        set_(self, "messages", tuple(_as_dict(m) for m in _items("messages", self.messages)))
        if self.prompt is None and not self.messages:
            raise RequestError("There is no prompt and there are no messages.", remedy="Give one of them.")
        set_(self, "stop", (self.stop,) if isinstance(self.stop, str) else _items("stop", self.stop))
        if not all(isinstance(sequence, str) and sequence for sequence in self.stop):
            raise RequestError(f"stop is {_shown(self.stop)}; texts that are not empty are wanted.")
        for name, low, high in (("temperature", 0, 1), ("top_p", 0, 1), ("max_tokens", 1, None)):
            set_(self, name, _number(name, getattr(self, name), low, high))
        whole = isinstance(self.tools, Mapping)
        set_(self, "tools", None if self.tools is None else own(self.tools if whole else self._tool_list()))
        self._check_extra()
        set_(self, "extra", own(self.extra))

    def _tool_list(self) -> tuple[Any, ...]:
        tools = _items("tools", self.tools)
        for tool in tools:
            if not isinstance(tool, Mapping):
                raise RequestError(
                    f"A tool is {_shown(tool)}.", remedy="Give {'toolSpec': {…}}, or a whole toolConfig."
                )
        return tools

    def _check_extra(self) -> None:
        inner = self.extra.get("inferenceConfig", {}) if isinstance(self.extra, Mapping) else None
        if not isinstance(inner, Mapping):
            raise RequestError(
                f"extra is {_shown(self.extra)}.",
                remedy="Give a dict of arguments of converse_stream; inferenceConfig is a dict too.",
            )
        for member, name in _OWN_NAMES.items():
            if member in self.extra and (name in ("model", "messages") or getattr(self, name) is not None):
                raise RequestError(f"{member} is in extra.", remedy=f"Give it as {name}=… and only there.")

    @property
    def conversation(self) -> tuple[dict[str, Any], ...]:
        """All turns in Converse's shape, the prompt last."""
        turns: tuple[Any, ...] = own(tuple(self.messages))
        if self.prompt is None:
            return turns
        return (*turns, {"role": "user", "content": _blocks(self.prompt)})

    def to_kwargs(self) -> dict[str, Any]:
        """The keyword arguments for ``client.converse`` or ``client.converse_stream``."""
        kwargs: dict[str, Any] = {"modelId": self.model, "messages": list(self.conversation)}
        if self.system is not None:
            kwargs["system"] = _blocks(self.system)
        chosen = {
            member: list(value) if name == "stop" else value
            for name, member in _INFERENCE.items()
            if (value := getattr(self, name)) not in (None, (), [])
        }
        if chosen:
            kwargs["inferenceConfig"] = chosen
        if self.tools:
            tools = own(self.tools)
            kwargs["toolConfig"] = tools if isinstance(tools, dict) else {"tools": list(tools)}
        extra = own(self.extra)
        if "inferenceConfig" in extra:
            kwargs["inferenceConfig"] = {**extra.pop("inferenceConfig"), **chosen}
        return {**kwargs, **extra}

    @classmethod
    def from_kwargs(cls, kwargs: Mapping[str, Any]) -> Request:
        """Read the keyword arguments of ``client.converse_stream``; the inverse of `to_kwargs`."""
        inference = kwargs.get("inferenceConfig") if isinstance(kwargs, Mapping) else ()
        if not isinstance(inference, Mapping | None):
            raise RequestError(
                f"The arguments are {_shown(kwargs)}.",
                remedy="Give a dict of arguments of converse_stream; inferenceConfig is a dict too.",
            )
        rest, inference = dict(kwargs), dict(inference or {})
        rest.pop("inferenceConfig", None)
        known = {name: inference.pop(member) for name, member in _INFERENCE.items() if member in inference}
        if inference:
            rest["inferenceConfig"] = inference
        return cls(
            model=rest.pop("modelId", ""),
            messages=rest.pop("messages", None) or (),
            system=rest.pop("system", None) or None,
            tools=rest.pop("toolConfig", None),
            extra=rest,
            **known,
        )

    def replace(self, **changes: Any) -> Request:
        """A copy with some settings changed."""
        return replace(self, **changes)

    def after(self, reply: Any, prompt: str, *, reasoning: Keep | None = None) -> Request:
        """The next request: settings kept, the assistant's turn appended, a new prompt.

        An answer that broke off is appended as far as it came, in a form that the service takes: see
        `mend.resendable`.

        Parameters
        ----------
        reply : Reply, Recording, Message or dict
            What the model answered to this request.
        prompt : str
            The next user turn.
        reasoning : {"signed", "drop", "keep"}, optional
            What becomes of the model's reasoning. By default all of a whole answer is kept, and of one that
            broke off what is signed.

        Raises
        ------
        RequestError
            The reply has nothing in it to go on from.
        """
        message, broke_off = _answer(reply)
        keep = reasoning or ("signed" if broke_off else "keep")
        turns = resendable(message, reasoning=keep, interrupted=broke_off)
        if not turns:
            raise RequestError(
                "There is no answer to go on from: the reply has no content.", remedy="Ask again instead."
            )
        results = turns[1]["content"] if len(turns) > 1 else []
        next_ = [*results, {"text": prompt}] if results else prompt
        return replace(self, messages=(*self.conversation, turns[0]), prompt=next_)

    def stream(self, client: Any, **options: Any) -> Reply:
        """Send it and stream the answer: ``bedrock_nb.stream(client, request)``."""
        import bedrock_nb

        return bedrock_nb.stream(client, self, **options)

    def send(self, client: Any) -> Message:
        """Send it as a plain call and return the whole answer.

        Parameters
        ----------
        client : boto3 bedrock-runtime client

        Returns
        -------
        Message

        Raises
        ------
        RequestError
            The object is no such client.
        RefusedError
            The service answers with an HTTP error; a class of its own for each, caught as boto3's, too.
        """
        if not hasattr(client, "converse"):
            raise RequestError(
                f"A {type(client).__name__} has no converse.",
                remedy="Give the client of bedrock_nb.connect(), or boto3.client('bedrock-runtime').",
            )
        audit = importlib.import_module("bedrock_nb.audit")  # late: it stands above this module
        asked, started, begin = self.to_kwargs(), time.time(), time.perf_counter()
        try:
            response = client.converse(**asked)
        except ClientError as err:
            error = refused(err)
            error.original = err
            audit.log_call(asked, error, started, time.perf_counter() - begin)
            if settings.current().errors == "plain":
                error.mask()
            raise error from None  # boto3's text has account numbers; ``original`` is its error
        except BaseException as err:  # an interrupt too: a call that was made is in the log
            audit.log_call(asked, err, started, time.perf_counter() - begin)
            raise
        audit.log_call(asked, response, started, time.perf_counter() - begin)
        return Message.from_dict(response["output"]["message"])


def _answer(reply: Any) -> tuple[Message, bool]:
    """The message in anything that has one, and whether it broke off."""
    if isinstance(reply, Message):
        return reply, reply.partial
    if isinstance(reply, Mapping):
        return Message.from_dict(_as_dict(reply)), False
    try:
        message = reply.message
    except StreamError:  # what came of it
        message = reply.snapshot
    return message, message.partial or getattr(reply, "status", "complete") != "complete"


def own(node: Any) -> Any:
    """A copy of nested lists and dicts; what else is in them (text, bytes, numbers) is shared."""
    if isinstance(node, Mapping):
        return {key: own(value) for key, value in node.items()}
    if isinstance(node, list):
        return [own(value) for value in node]
    return tuple(own(value) for value in node) if type(node) is tuple else node


def _number(name: str, value: Any, low: float, high: float | None) -> float | int | None:
    """Check a setting; numpy's numbers are numbers too, but boto3 does not know them."""
    if value is None:
        return None
    kind: Any = Integral if high is None else Real
    if isinstance(value, bool) or not isinstance(value, kind) or not low <= value <= (high or value):
        wanted = f"a whole number from {low}" if high is None else f"a number from {low} to {high}"
        raise RequestError(f"{name} is {_shown(value)}; {wanted} is wanted.")
    return value if type(value) is int else int(value) if high is None else float(value)


def _items(name: str, value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise RequestError(f"{name} is {_shown(value)}; a list is wanted.")
    return tuple(value)


def _text_or_blocks(name: str, value: Any) -> Any:
    if value is None:
        return None
    if not isinstance(value, str):
        if isinstance(value, Sequence) and all(isinstance(block, Mapping) for block in value):
            value = own(tuple(value))
        else:
            raise RequestError(
                f"The {name} is {_shown(value)}.",
                remedy="Give text, or a list of content blocks such as [{'text': '…'}].",
            )
    blank = name == "prompt" and isinstance(value, str) and not value.strip()
    if not value or blank:
        raise RequestError(f"The {name} is empty.", remedy="It needs at least one word; None leaves it out.")
    return value


def _blank(block: Any) -> bool:
    return isinstance(block, Mapping) and block.keys() == {"text"} and not str(block["text"]).strip()


def _blocks(text_or_blocks: Any) -> list[Any]:
    return [{"text": text_or_blocks}] if isinstance(text_or_blocks, str) else own(list(text_or_blocks))


def _as_dict(message: Any) -> dict[str, Any]:
    if isinstance(message, Message):
        message = message.to_dict()
    if isinstance(message, Mapping) and {"role", "content"} <= message.keys():
        copy: dict[str, Any] = own(message)
        if isinstance(copy["content"], str):
            copy["content"] = _blocks(copy["content"])
        return copy
    raise RequestError(
        f"A message is {_shown(message)}.",
        remedy="Give {'role': 'user', 'content': [{'text': '…'}]} or a Message.",
    )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def as_request(prompt: Any, given: dict[str, Any], extra: dict[str, Any]) -> Request:
    """The request that somebody means who gives a prompt, settings, and arguments of the API by name."""
    if "modelId" in extra:
        if "model" in given:
            raise RequestError("Both model and modelId are given.", remedy="Give one of them.")
        given["model"] = extra.pop("modelId")
    if "messages" in extra and (isinstance(prompt, Request) or _are_messages(prompt)):
        raise RequestError(
            "There are turns in the prompt and in messages= besides.",
            remedy="Give all in one of them.",
        )
    if isinstance(prompt, Request):
        return prompt.replace(**given, extra={**prompt.extra, **extra})
    if _are_messages(prompt):
        return Request(messages=tuple(prompt), extra=extra, **given)
    return Request(prompt=prompt, messages=extra.pop("messages", ()), extra=extra, **given)


def _are_messages(prompt: object) -> bool:
    if not isinstance(prompt, Sequence) or isinstance(prompt, str | bytes) or not prompt:
        return False
    first = prompt[0]
    return isinstance(first, Message) or (isinstance(first, Mapping) and "role" in first)
