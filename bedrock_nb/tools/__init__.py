"""A Python function as a tool that a model may ask for.

Strategy: `Tool` is a frozen value: what the model is told of a function, and what whoever runs it must know.
`tool` makes one from the function itself, its annotations and its docstring (`parameters`); what the function
returns becomes the content of a result in `toolresults`. Nothing is run here: threads, time limits and
questions to the user are for whoever runs it.
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
import reprlib
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, overload

from bedrock_nb.errors import RequestError
from bedrock_nb.message import ToolUseBlock
from bedrock_nb.tools.parameters import BY_PLACE, ToolContext, context_of, described, from_function
from bedrock_nb.tools.results import content_of
from bedrock_nb.tools.schema import Parameters, from_schema, is_any, misfit, signature_of

__all__ = ["Approve", "Tool", "ToolContext", "as_tools", "content_of", "tool"]

#: Who decides whether a call runs: nobody, the user who is asked, or a function of the call. True lets it
#: run, False does not, and a text does not and is the reason that the model reads.
Approve: TypeAlias = Literal["always", "ask"] | Callable[[ToolUseBlock], bool | str]

# The pattern of a tool's name in botocore's service model.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, eq=False, repr=False)
class Tool:
    """A tool: what the model is told of it, and how it is run.

    `tool` makes one from a function. Called, it is that function.

    Attributes
    ----------
    name : str
        1 to 64 letters, digits, ``_`` and ``-``.
    description : str
        What the model reads to decide whether it needs the tool.
    schema : dict
        JSON schema of the input, an object.
    function : callable or None
        None is a tool that somebody else runs, given as a dict.
    approve : "always", "ask" or function of the call
        See `Approve`.
    side_effects : bool
        Whether a call changes anything outside: such a call is never made twice or on suspicion.
    timeout : float or None
        After how many seconds a call is given up.
    strict : bool
        Whether the service shall keep the model to the schema, where it can.

    Raises
    ------
    RequestError
        One of them cannot work.
    """

    name: str
    description: str
    schema: dict[str, Any]
    function: Callable[..., Any] | None
    approve: Approve = "always"
    side_effects: bool = False
    timeout: float | None = 60.0
    strict: bool = False
    _parameters: Parameters | None = field(default=None, repr=False)
    _as_given: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        if self._as_given is None:
            _check_name(self.name)
        if self.approve not in ("always", "ask") and not callable(self.approve):
            raise RequestError(
                f"approve is {reprlib.repr(self.approve)}.",
                remedy='Give "always", "ask", or a function of the call: True, False or a reason.',
            )
        number = isinstance(self.timeout, int | float) and not isinstance(self.timeout, bool)
        if self.timeout is not None and not (number and self.timeout > 0):
            raise RequestError(
                f"timeout is {self.timeout!r}; a number of seconds above 0 is wanted.",
                remedy="None is no limit.",
            )
        if self._parameters is None or self._parameters.schema is not self.schema:
            context = context_of(self.function, self.name) if self.function is not None else None
            set_(self, "_parameters", from_schema(self.schema, self.name, context, _open(self.function)))
            set_(self, "schema", self._takes.schema)
        set_(self, "__doc__", inspect.getdoc(self.function) or self.description)
        if self.function is not None:
            set_(self, "__wrapped__", self.function)  # inspect.signature, help and ? follow it

    @property
    def __name__(self) -> str:
        return self.name

    @property
    def _takes(self) -> Parameters:
        assert self._parameters is not None  # since __post_init__
        return self._parameters

    @property
    def spec(self) -> dict[str, Any]:
        """The tool as Converse takes it: ``{"toolSpec": {"name": …, "inputSchema": {"json": …}, …}}``."""
        if self._as_given is not None:
            given: dict[str, Any] = copy.deepcopy(dict(self._as_given))
            return given
        told: dict[str, Any] = {"name": self.name}
        if self.description:  # the service refuses an empty one
            told["description"] = self.description
        told["inputSchema"] = {"json": copy.deepcopy(self.schema)}
        return {"toolSpec": told | ({"strict": True} if self.strict else {})}

    @property
    def is_async(self) -> bool:
        """Whether a call gives a coroutine."""
        function: Any = self.function
        while isinstance(function, functools.partial):
            function = function.func
        call = type(function).__call__  # of an object that can be called
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)

    def arguments(self, input: Mapping[str, Any], context: ToolContext | None = None) -> dict[str, Any]:
        """The keyword arguments that a model's input stands for: run the tool with ``tool(**arguments)``.

        Parameters
        ----------
        input : mapping
            A `ToolUseBlock`'s ``input``.
        context : ToolContext, optional
            Of the call, for a function that wants it; without one it gets one that nobody cancels.

        Returns
        -------
        dict
            Values of the annotated types, defaults included. Where the schema was given, the input as it is.

        Raises
        ------
        ToolInputError
            Something does not fit; its text tells the model what.
        """
        if not isinstance(input, Mapping):
            raise misfit(self.name, [f"the input is {reprlib.repr(input)}, and no object"])
        if BY_PLACE in input:  # that is where we put the context
            raise misfit(self.name, [f"{BY_PLACE}: there is no such argument"])
        given = self._takes.read(input)
        if self._takes.context is not None:
            given[self._takes.context] = ToolContext(name=self.name) if context is None else context
        return given

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, as if it had never been made a tool."""
        if self.function is None:
            raise RequestError(
                f"{self.name} has no function: it was given as a dict.",
                remedy="Whoever runs it answers its calls.",
            )
        if BY_PLACE in kwargs:
            args = (kwargs.pop(BY_PLACE), *args)
        return self.function(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Tool:
        """The tool of one object, if the function is a method of its class."""
        if instance is None or self.function is None or not self._takes.method:
            return self
        bound = types.MethodType(self.function, instance)
        return replace(self, function=bound, _parameters=replace(self._takes, method=False))

    def __repr__(self) -> str:
        told = "".join(each if each.isprintable() else "\ufffd" for each in signature_of(self.schema))
        return f"<Tool {self.name}({told if len(told) <= 300 else f'{told[:299]}…'})>"

    def _repr_html_(self) -> str:
        import bedrock_nb  # late: cards are made above this module

        facts = {"what it does": self.description or "no description: the model has the name alone"}
        for member, schema in self._takes.schema.get("properties", {}).items():
            kind = "any type" if is_any(schema) else ""
            text = str(schema.get("description") or "") if isinstance(schema, Mapping) else ""
            if kind or text:
                facts[str(member)] = "; ".join(filter(None, (kind, text)))
        asked = {"always": "no", "ask": "yes"} if isinstance(self.approve, str) else {}
        facts["asks before it runs"] = asked.get(str(self.approve), "a function decides")
        facts["time limit"] = "none" if self.timeout is None else f"{self.timeout:g} s"
        return str(bedrock_nb.render.card(repr(self)[1:-1], facts))


class _Options(TypedDict, total=False):
    name: str | None
    description: str | None
    schema: Mapping[str, Any] | None
    approve: Approve | None
    side_effects: bool
    timeout: float | None
    strict: bool


@overload
def tool(function: Callable[..., Any], **options: Unpack[_Options]) -> Tool: ...
@overload
def tool(function: None = None, **options: Unpack[_Options]) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    description: str | None = None,
    schema: Mapping[str, Any] | None = None,
    approve: Approve | None = None,
    side_effects: bool = False,
    timeout: float | None = 60.0,
    strict: bool = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a function a tool, as ``@nb.tool``, ``@nb.tool(…)`` or ``nb.tool(function, …)``.

    Parameters
    ----------
    function : callable
        A function, plain or async, a method, a ``functools.partial`` (the model does not see what it binds)
        or an object that can be called. A parameter annotated with `ToolContext` is given the call's context;
        as a first parameter before ``/`` it leaves its name to the schema.
    name : str, optional
        Instead of the function's.
    description : str, optional
        Instead of the docstring's text above its sections.
    schema : mapping, optional
        JSON schema of the input. The function is then given the input as it is, as keyword arguments; only
        names are checked. Without it the schema follows from annotations, defaults and the docstring, and
        arguments are checked and converted by pydantic.
    approve : "always", "ask" or function of the call, optional
        See `Approve`; by default ``"ask"`` for a tool with side effects and ``"always"`` for others.
    side_effects : bool
        Whether a call changes anything outside.
    timeout : float or None
        After how many seconds a call is given up.
    strict : bool
        Whether the service shall keep the model to the schema, where it can.

    Returns
    -------
    Tool
        Or, without a function, a decorator that makes one.

    Raises
    ------
    RequestError
        The function, its name or one of its parameters cannot be a tool's.

    Notes
    -----
    Numbers that come as text are taken (``"3"``), as models write them at times, where nothing is lost by it:
    ``3.5`` is no int. Members that the schema does not have are refused, inside of nested objects too.
    """
    if function is None:
        return functools.partial(
            tool,
            name=name,
            description=description,
            schema=schema,
            approve=approve,
            side_effects=side_effects,
            timeout=timeout,
            strict=strict,
        )
    if isinstance(function, Tool):
        raise RequestError(
            f"{function.name} is a tool already.",
            remedy="To change it: dataclasses.replace(tool, approve=…).",
        )
    if not callable(function):
        raise RequestError(
            f"A tool is {reprlib.repr(function)}.",
            remedy="Give a function, or anything that can be called: the function itself, f, not what it "
            "returned, f(…).",
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise RequestError(
            "A tool's function yields, and a call has one result.", remedy="Return a list, or one text."
        )
    name = _named(function) if name is None else name
    _check_name(name)
    text, told = described(function)
    if schema is None:
        parameters = from_function(function, name, told)
    else:
        parameters = from_schema(schema, name, context_of(function, name), _open(function))
    return Tool(
        name,
        text if description is None else description,
        parameters.schema,
        function,
        ("ask" if side_effects else "always") if approve is None else approve,
        side_effects,
        timeout,
        strict,
        parameters,
    )


def as_tools(
    tools: Tool | Callable[..., Any] | Iterable[Tool | Callable[..., Any] | Mapping[str, Any]] | None,
) -> dict[str, Tool]:
    """Tools, functions and Converse's dicts as tools by name, in their order.

    Parameters
    ----------
    tools : iterable, Tool or function
        One tool or function is a list of one.
        A dict ``{"toolSpec": …}`` becomes a tool whose ``function`` is None: it is offered to the model, and
        whoever runs tools cannot run it. Its ``spec`` is the dict as given. So are ``{"systemTool": …}`` and
        ``{"cachePoint": …}``; the latter, which has no name, stands under ``"(cachePoint)"``.

    Raises
    ------
    RequestError
        Two tools have one name, or something in it is no tool.
    """
    if callable(tools) and not isinstance(tools, Iterable):
        tools = (tools,)
    if isinstance(tools, str | bytes | Mapping) or (tools is not None and not isinstance(tools, Iterable)):
        raise RequestError(f"tools is {reprlib.repr(tools)}.", remedy="Give a list of tools.")
    named: dict[str, Tool] = {}
    for each in tools or ():
        made = each if isinstance(each, Tool) else _made(each)
        if made._takes.method:
            raise RequestError(
                f"{made.name} is a method without its object.",
                remedy="Give the method of an object, such as Shop().order in place of Shop.order.",
            )
        if made.name in named:
            raise RequestError(
                f"Two tools are called {made.name}.",
                remedy="Give one of them another name: nb.tool(f, name=…).",
            )
        named[made.name] = made
    return named


def _made(given: Any) -> Tool:
    if isinstance(given, Mapping):
        return _from_dict(given)
    if given is None:  # of which `tool` would make a decorator
        raise RequestError(
            "A tool is None.", remedy="Give the function itself, f, not what it returned, f(…)."
        )
    made: Tool = tool(given)
    return made


def _from_dict(given: Mapping[str, Any]) -> Tool:
    schema: Mapping[str, Any] = {}
    rest: dict[Any, Any] = {}
    match given:
        case {"toolSpec": {"name": str(name), "inputSchema": {"json": Mapping() as schema}, **rest}}:
            _check_name(name)
        case {"systemTool": {"name": str(name)}}:
            pass
        case {"cachePoint": Mapping()}:
            name = "(cachePoint)"
        case _:
            name = ""
    if not name or len(given) != 1:
        raise RequestError(
            f"A tool is {reprlib.repr(given)}.",
            remedy='Give a function, or {"toolSpec": {"name": …, "inputSchema": {"json": …}}}.',
        )
    text, strict = str(rest.get("description") or ""), rest.get("strict") is True
    return Tool(name, text, dict(schema), None, strict=strict, _as_given=copy.deepcopy(dict(given)))


def _open(function: Any) -> bool:
    """Whether a function takes arguments of any name; those of others, its schema may not know."""
    try:
        parameters = inspect.signature(function).parameters.values() if function is not None else ()
    except (TypeError, ValueError):
        return True
    return function is None or any(each.kind is each.VAR_KEYWORD for each in parameters)


def _named(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__name__", type(function).__name__))


def _check_name(name: object) -> None:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise RequestError(
            f"A tool's name is {reprlib.repr(name)}; it may have 1 to 64 letters (a to z), digits, _ and -.",
            remedy='Give such a name: nb.tool(function, name="look_up").',
        )
