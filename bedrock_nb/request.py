"""What is asked: one frozen object for the plain and the streamed call.

Strategy: `Request` has a short name for each thing that ConverseStream takes; a table in `options` says where
the rarer ones go. ``extra`` takes anything under the API's own name. Only what was set is sent. Plain dicts
in the API's own shape are welcome wherever a message, a system prompt or a tool is. Lists and dicts are
copied on the way in and out, so that nothing done to them later changes what was asked.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from bedrock_nb import models
from bedrock_nb.content import as_turn, blocks_of, joined, own, text_or_blocks, turns_of
from bedrock_nb.content.attachments import shown
from bedrock_nb.errors import RequestError
from bedrock_nb.message import Message
from bedrock_nb.options import INFERENCE, OPTIONS, arguments, brief, items, number, without

if TYPE_CHECKING:
    from bedrock_nb.mend import Keep
    from bedrock_nb.reply import Reply

__all__ = ["DEFAULT_MODEL", "Request", "as_request"]

#: Small, cheap, and on by default in most accounts; the embedded server answers to any model id.
DEFAULT_MODEL = "us.amazon.nova-lite-v1:0"

# member of the request -> field of Request; what must not come under both names
_OWN_NAMES = {"modelId": "model", "messages": "messages", "system": "system", "toolConfig": "tools"}


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """A request to a model.

    Parameters
    ----------
    model : str
        Model id, inference profile, ARN, or an alias of `bedrock_nb.models`.
    prompt : str, content block, or list of them, optional
        The user's turn; appended to ``messages``, or joined to their last one if that is the user's. What a
        list may mix: see `content.blocks_of`.
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
    tools : sequence of dict, Tool or function, optional
        Tools of `bedrock_nb.tool`, functions that become one, Converse's dicts; or a whole ``toolConfig``.
    extra : mapping
        Any argument of ``converse_stream``, under its own name. ``max_tokens``, ``temperature``, ``top_p``
        and ``stop`` win over the same member of ``inferenceConfig``; any other place may be filled once.
    tool_choice : {"auto", "any"}, name of a tool, or dict, optional
        Whether the model must call a tool.
    guardrail : str or mapping, optional
        Its id or ARN, ``"id:version"``, or ``{"id": …, "version": …}``; without a version its draft.
    guardrail_mode : {"sync", "async"}, optional
        Whether a stream waits for the guardrail. A plain call always does.
    guardrail_trace : {"enabled", "disabled", "enabled_full"}, optional
        Whether the answer says what the guardrail did.
    schema : dict, str or type, optional
        What the answer must be in JSON: see `structured.schema_of`. ``reply.parsed`` is the value.
    effort : str, optional
        How much a model does that knows about effort, such as ``"low"``.
    service_tier : {"priority", "default", "flex", "reserved"}, optional
    latency : {"standard", "optimized"}, optional
    prompt_variables : dict of str to str, optional
        For a prompt of Prompt management.
    metadata : dict of str to str, optional
        Up to 16 pairs by which invocation logs tell requests.
    thinking : int, str or dict, optional
        That the model is to think first: a budget of tokens (Claude up to 4.6), ``"adaptive"`` (Claude from
        4.6), ``"low"``, ``"medium"`` or ``"high"`` (Nova 2), or the model's own fields.
    additional : dict, optional
        Fields of the model's own, such as ``{"top_k": 20}``.
    response_fields : sequence of str, optional
        JSON pointers to what comes back of the model's own response.

    Raises
    ------
    RequestError
        An argument that cannot work, or two names for one place.
    """

    model: str = DEFAULT_MODEL
    prompt: str | Mapping[str, Any] | Sequence[Any] | None = None
    messages: Sequence[Mapping[str, Any] | Message] = ()
    system: str | Mapping[str, Any] | Sequence[Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: Sequence[str] = ()
    tools: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    tool_choice: str | Mapping[str, Any] | None = None
    guardrail: str | Mapping[str, Any] | None = None
    guardrail_mode: str | None = None
    guardrail_trace: str | None = None
    schema: Any = None
    effort: str | None = None
    service_tier: str | None = None
    latency: str | None = None
    prompt_variables: Mapping[str, Any] | None = None
    metadata: Mapping[str, str] | None = None
    thinking: int | str | Mapping[str, Any] | None = None
    additional: Mapping[str, Any] | None = None
    response_fields: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.model, str) or not self.model.strip():
            raise RequestError(
                f"model is {shown(self.model)}; a model id is wanted.",
                remedy=f"For example {DEFAULT_MODEL!r}.",
            )
        set_ = object.__setattr__
        if self.model.partition("@")[0].isidentifier():  # an alias has none of the signs that ids have
            set_(self, "model", models.resolve(self.model))
        for name in ("prompt", "system"):
            set_(self, name, text_or_blocks(name, getattr(self, name)))
        if isinstance(self.prompt, tuple) and any(map(_blank, self.prompt)):
            raise RequestError(
                "A text in the prompt is empty.",
                remedy="Leave it out: the service refuses texts without a word.",
            )
        set_(self, "messages", tuple(as_turn(m) for m in items("messages", self.messages)))
        if self.prompt is None and not self.messages:
            raise RequestError("There is no prompt and there are no messages.", remedy="Give one of them.")
        set_(self, "stop", (self.stop,) if isinstance(self.stop, str) else items("stop", self.stop))
        if not all(isinstance(sequence, str) and sequence for sequence in self.stop):
            raise RequestError(f"stop is {shown(self.stop)}; texts that are not empty are wanted.")
        for name, low, high in (("temperature", 0, 1), ("top_p", 0, 1), ("max_tokens", 1, None)):
            set_(self, name, number(name, getattr(self, name), low, high))
        if self.tools is not None:
            one = hasattr(self.tools, "spec") or inspect.isroutine(self.tools)
            tools = (self.tools,) if one else self.tools
            whole = isinstance(tools, Mapping)
            set_(self, "tools", own(tools if whole else tuple(map(_tool, items("tools", tools)))))
        self._check_extra()
        set_(self, "extra", own(self.extra))
        for name in self._options():
            set_(self, name, own(getattr(self, name)))
        if self._options():
            self._settings()  # for its errors

    def _check_extra(self) -> None:
        inner = self.extra.get("inferenceConfig", {}) if isinstance(self.extra, Mapping) else None
        if not isinstance(inner, Mapping):
            raise RequestError(
                f"extra is {shown(self.extra)}.",
                remedy="Give a dict of arguments of converse_stream; inferenceConfig is a dict too.",
            )
        for member, name in _OWN_NAMES.items():
            if member in self.extra and (name in ("model", "messages") or getattr(self, name) is not None):
                raise RequestError(f"{member} is in extra.", remedy=f"Give it as {name}=… and only there.")

    def _options(self) -> dict[str, Any]:
        """What is set of the names in the table of options."""
        return {name: value for name in OPTIONS if (value := getattr(self, name)) is not None}

    @property
    def conversation(self) -> tuple[dict[str, Any], ...]:
        """All turns in Converse's shape, the prompt last."""
        turns: tuple[Any, ...] = own(tuple(self.messages))
        if self.prompt is None:
            return turns
        return _with(turns, {"role": "user", "content": blocks_of(self.prompt)})

    def to_kwargs(self) -> dict[str, Any]:
        """The keyword arguments for ``client.converse`` or ``client.converse_stream``."""
        kwargs: dict[str, Any] = {"modelId": self.model, "messages": list(self.conversation)}
        if self.system is not None:
            kwargs["system"] = blocks_of(self.system)
        return {**kwargs, **self._settings()}

    def _settings(self) -> dict[str, Any]:
        """All arguments but the model, the conversation and the system prompt."""
        given: dict[str, Any] = {}
        chosen = {
            member: list(value) if name == "stop" else value
            for name, member in INFERENCE.items()
            if (value := getattr(self, name)) not in (None, (), [])
        }
        if chosen or "inferenceConfig" in self.extra:
            given["inferenceConfig"] = {**self.extra.get("inferenceConfig", {}), **chosen}
        if self.tools:
            given["toolConfig"] = self.tools if isinstance(self.tools, dict) else {"tools": list(self.tools)}
        return arguments(self._options(), self.model, {**self.extra, **given})

    @classmethod
    def from_kwargs(cls, kwargs: Mapping[str, Any]) -> Request:
        """Read the keyword arguments of ``client.converse_stream``; the inverse of `to_kwargs`."""
        inference = kwargs.get("inferenceConfig") if isinstance(kwargs, Mapping) else ()
        if not isinstance(inference, Mapping | None):
            raise RequestError(
                f"The arguments are {shown(kwargs)}.",
                remedy="Give a dict of arguments of converse_stream; inferenceConfig is a dict too.",
            )
        rest, inference = dict(kwargs), dict(inference or {})
        rest.pop("inferenceConfig", None)
        known = {name: inference.pop(member) for name, member in INFERENCE.items() if member in inference}
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
        """A copy with some settings changed; None takes one away.

        A setting that came as an argument of the API, in ``extra`` or by `from_kwargs`, is changed too.
        """
        if "extra" not in changes:
            changes["extra"] = without(self.extra, changes)
        if "tools" not in changes and isinstance(self.tools, dict):
            changes["tools"] = without({"toolConfig": self.tools}, changes).get("toolConfig")
        return replace(self, **changes)

    def after(self, reply: Any, prompt: Any, *, reasoning: Keep | None = None) -> Request:
        """The next request: settings kept, the assistant's turn appended, a new prompt.

        An answer that broke off is appended as far as it came, in a form that the service takes: see
        `mend.resendable`. If this request ends with the beginning of the answer (a prefill), it joins that.

        Parameters
        ----------
        reply : Reply, Recording, Message or dict
            What the model answered to this request.
        prompt : str, content block, or list of them
            The next user turn.
        reasoning : {"signed", "drop", "keep"}, optional
            What becomes of the model's reasoning. By default all of a whole answer is kept, and of one that
            broke off what is signed.

        Raises
        ------
        RequestError
            The reply has nothing in it to go on from.
        """
        turns = turns_of(reply, reasoning)
        if not turns:
            raise RequestError(
                "There is no answer to go on from: the reply has no content.", remedy="Ask again instead."
            )
        results = turns[1]["content"] if len(turns) > 1 else []
        next_ = [*results, *blocks_of(prompt)] if results else prompt
        return replace(self, messages=_with(self.conversation, turns[0]), prompt=next_)

    def __repr__(self) -> str:
        said = (
            f"{each.name}={brief(each.name, value)}"
            for each in fields(self)
            if (value := getattr(self, each.name)) not in (None, (), {})
        )
        return f"Request({', '.join(said)})"

    def stream(self, client: Any, **options: Any) -> Reply:
        """Send it and stream the answer: ``bedrock_nb.stream(client, request)``."""
        import bedrock_nb

        return bedrock_nb.stream(client, self, **options)

    def send(self, client: Any, **options: Any) -> Message:
        """Send it as a plain call and return the whole answer.

        Parameters
        ----------
        client : boto3 bedrock-runtime client
        **options
            As `bedrock_nb.stream` takes them.

        Returns
        -------
        Message

        Raises
        ------
        RequestError
            The object is no such client, or something in the request cannot work.
        StreamError
            There is no answer; a `RefusedError` if the service answered with an HTTP error.
        """
        return self.stream(client, streaming=False, **options).message


def _with(turns: tuple[dict[str, Any], ...], turn: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Turns and one more; it becomes part of the last one if that has its role."""
    both = joined(turns[-1], turn) if turns else None
    return (*turns, turn) if both is None else (*turns[:-1], both)


def _blank(block: Mapping[str, Any]) -> bool:
    return block.keys() == {"text"} and not str(block["text"]).strip()


def _tool(tool: Any) -> Any:
    """A tool in Converse's shape."""
    if inspect.isfunction(tool) or inspect.ismethod(tool):
        import bedrock_nb

        tool = bedrock_nb.tool(tool)
    spec = getattr(tool, "spec", tool)
    if not isinstance(spec, Mapping):
        raise RequestError(
            f"A tool is {shown(tool)}.",
            remedy="Give a function with @nb.tool, {'toolSpec': {…}}, or a whole toolConfig.",
        )
    return spec


def as_request(prompt: Any, given: dict[str, Any], extra: dict[str, Any]) -> Request:
    """The request that somebody means who gives a prompt, settings, and arguments of the API by name.

    A request in the prompt's place keeps what is not given anew; of an argument that is a dict, its members.
    """
    if "prompt" in extra:
        raise RequestError("prompt= is only for Request.", remedy="Here it is the argument after the client.")
    if "extra" in extra:
        raise RequestError(
            "extra= is only for Request.",
            remedy="Here an argument of the API is given by its own name, such as requestMetadata={…}.",
        )
    if "modelId" in extra:
        if "model" in given:
            raise RequestError("Both model and modelId are given.", remedy="Give one of them.")
        given["model"] = extra.pop("modelId")
    if isinstance(prompt, Message) or (isinstance(prompt, Mapping) and {"role", "content"} <= prompt.keys()):
        prompt = [prompt]
    if "messages" in extra and (isinstance(prompt, Request) or _are_messages(prompt)):
        raise RequestError(
            "There are turns in the prompt and in messages= besides.",
            remedy="Give all in one of them.",
        )
    if isinstance(prompt, Request):
        changed = prompt.replace(**given)
        both = {
            name: {**changed.extra[name], **value}
            for name, value in extra.items()
            if _are_dicts(changed.extra.get(name), value)
        }
        return replace(changed, extra={**changed.extra, **extra, **both})
    if _are_messages(prompt):
        return Request(messages=tuple(prompt), extra=extra, **given)
    return Request(prompt=prompt, messages=extra.pop("messages", ()), extra=extra, **given)


def _are_dicts(*values: object) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def _are_messages(prompt: object) -> bool:
    if not isinstance(prompt, Sequence) or isinstance(prompt, str | bytes) or not prompt:
        return False
    first = prompt[0]
    return isinstance(first, Message) or (isinstance(first, Mapping) and "role" in first)
