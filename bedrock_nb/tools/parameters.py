"""From a function's parameters to a JSON schema, and from a model's input to arguments for the function.

Strategy: each parameter becomes a field of a pydantic model that is made for the function. Its type comes
from the annotation, its description from the annotation's metadata or from the docstring. The model gives the
schema, cleaned of what models do not need, and checks and converts what comes. pydantic is imported late, at
the first function.
"""

from __future__ import annotations

import functools
import inspect
import math
import sys
import threading
import time
import types
import typing
from collections.abc import Callable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated, Any

from bedrock_nb.errors import RequestError
from bedrock_nb.tools.schema import Parameters, misfit, told

__all__ = ["BY_PLACE", "ToolContext", "context_of", "described", "from_function"]

#: Key of the context among a tool's arguments where the function takes it by its place, in front.
BY_PLACE = "(context)"

_EMPTY = inspect.Parameter.empty


class ToolContext:
    """The call that a tool's function serves: a parameter with this annotation is given it.

    A function that takes long looks at ``cancelled`` now and then, and waits with ``wait``: nothing can stop
    a thread from outside.

    Parameters
    ----------
    id : str
        Of the call.
    name : str
        Of the tool.
    deadline_s : float
        When the call will be given up, on ``clock``; ``inf`` is never.
    clock : function
        The time in seconds.
    """

    __slots__ = ("_clock", "_given_up", "deadline_s", "id", "name")

    def __init__(
        self,
        id: str = "",
        name: str = "",
        *,
        deadline_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id, self.name, self.deadline_s = id, name, deadline_s
        self._clock, self._given_up = clock, threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more."""
        return self._given_up.is_set()

    @property
    def left_s(self) -> float:
        """Seconds until the call will be given up, never below 0; ``inf`` without a limit."""
        return max(0.0, self.deadline_s - self._clock())

    def wait(self, seconds: float) -> bool:
        """Sleep that ends early, and returns True, when the call is given up. Blocks its thread."""
        return self._given_up.wait(seconds)

    def cancel(self) -> None:
        """Tell the function that nobody waits any more; for whoever runs it."""
        self._given_up.set()

    def __repr__(self) -> str:
        state = ", cancelled" if self.cancelled else ""
        return f"<ToolContext of {self.name or 'no tool'}, call {self.id or 'unknown'}{state}>"


# -- a function that may be wrapped ----------------------------------------------------------------


def _written(function: Any) -> Any:
    """The function that somebody wrote: inside of partial, decorators and objects that can be called."""
    while isinstance(function, functools.partial):
        function = function.func
    function = inspect.unwrap(function)
    if inspect.isroutine(function):
        return function
    is_class = isinstance(function, type)
    return getattr(function if is_class else type(function), "__init__" if is_class else "__call__")


def described(function: Any) -> tuple[str, dict[str, str]]:
    """What a docstring says of the function and of its parameters; NumPy's, Google's or Sphinx's style."""
    from docstring_parser import ParseError, parse

    while isinstance(function, functools.partial):
        function = function.func
    text = inspect.getdoc(function)
    if not (inspect.isroutine(function) or isinstance(function, type)):  # an object that can be called
        text = inspect.getdoc(type(function).__call__) or text
    try:
        parsed = parse(text or "")
    except ParseError:
        return text or "", {}
    between = "\n\n" if parsed.blank_after_short_description else "\n"
    told = between.join(filter(None, (parsed.short_description, parsed.long_description)))
    parameters = {
        name.strip(" *"): " ".join((each.description or "").split())
        for each in parsed.params
        if each.args[0] != "attribute"  # of a class: no argument
        for name in each.arg_name.split(",")
    }
    return told, parameters


def _signature(function: Any, name: str) -> list[inspect.Parameter]:
    """Its parameters, annotations as types; without those that a partial has bound."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise RequestError(
            f"Python does not know the parameters of {name}.",
            remedy="Write a function of your own that calls it, or give schema=.",
        ) from None
    bound = function.keywords if isinstance(function, functools.partial) else {}
    free = [parameter for parameter in parameters.values() if parameter.name not in bound]
    types = _resolved({each.name: each.annotation for each in free}, _written(function), name)
    return [parameter.replace(annotation=types[parameter.name]) for parameter in free]


def _resolved(annotations: dict[str, Any], function: Any, name: str) -> dict[str, Any]:
    """Annotations that are text, in whole or within, as the types they name."""
    holder: Any = types.SimpleNamespace(__annotations__=annotations)
    scope = getattr(function, "__globals__", {})
    try:
        try:
            return typing.get_type_hints(holder, scope, include_extras=True)
        except NameError:  # defined in a function, which runs just now: where the tool is made
            return typing.get_type_hints(holder, scope, _locals(), include_extras=True)
    except Exception as err:  # an annotation is any expression
        raise RequestError(
            f"An annotation of {name} cannot be read: {err}.",
            remedy="Import the type where the function is, and not under TYPE_CHECKING.",
        ) from err


def _locals() -> dict[str, Any]:
    frame = sys._getframe()
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] == "bedrock_nb":
        frame = frame.f_back
    return dict(frame.f_locals)


def _is_method(function: Any, parameters: list[inspect.Parameter]) -> bool:
    """Whether it was written in a class and lacks its object, as far as can be told while that is made."""
    place = getattr(function, "__qualname__", "").rpartition(".")[0]
    in_class = inspect.isfunction(function) and place and not place.endswith("<locals>")
    first = parameters[0] if parameters else None
    return bool(in_class and first and first.name in ("self", "cls") and first.annotation is _EMPTY)


# -- a function's own schema -----------------------------------------------------------------------


def from_function(function: Any, name: str, descriptions: Mapping[str, str]) -> Parameters:
    """The parameters of a function.

    Parameters
    ----------
    function : callable
    name : str
        Of the tool, for messages.
    descriptions : mapping
        By parameter, where an annotation has none.

    Raises
    ------
    RequestError
        A parameter that no JSON can fill, or a description of one that there is not.
    """
    parameters = _signature(function, name)
    method = _is_method(function, parameters)
    special, taken = None, []
    for parameter in parameters[method:]:
        if _takes_context(parameter):
            special = _context_key(parameter)
        else:
            taken.append(_checked(parameter, function, name))
    _check_described(descriptions, [parameter.name for parameter in taken], function, name)
    fields = {
        f"p{i}": _field(parameter, descriptions.get(parameter.name)) for i, parameter in enumerate(taken)
    }
    names = {field: parameter.name for field, parameter in zip(fields, taken, strict=True)}
    model, schema = _made(fields, names, name)
    return Parameters(schema, _reader(model, schema, names, name), special, method)


def context_of(function: Any, name: str) -> str | None:
    """The parameter that wants the call's context."""
    wanted = (_context_key(each) for each in _signature(function, name) if _takes_context(each))
    return next(wanted, None)


def _context_key(parameter: inspect.Parameter) -> str:
    """Its name among the arguments; one that no argument can have where it is given by its place."""
    return BY_PLACE if parameter.kind is inspect.Parameter.POSITIONAL_ONLY else parameter.name


def _takes_context(parameter: inspect.Parameter) -> bool:
    kinds = (parameter.annotation, *typing.get_args(parameter.annotation))  # also in Optional and Annotated
    return any(kind is ToolContext for kind in kinds)


_KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: ("can be given by its place only", "Take the / out of the signature."),
    inspect.Parameter.VAR_POSITIONAL: ("takes any number of values", "Take one list instead."),
    inspect.Parameter.VAR_KEYWORD: ("takes any name", "Name each parameter, or give schema=."),
}


def _checked(parameter: inspect.Parameter, function: Any, name: str) -> inspect.Parameter:
    if parameter.kind in _KINDS:
        what, remedy = _KINDS[parameter.kind]
        if not hasattr(_written(function), "__code__"):  # built in: nobody can change its signature
            remedy = "Write a function of your own that calls it."
        raise RequestError(
            f"The parameter {parameter.name} of {name} {what}; a model gives arguments by name.",
            remedy=remedy,
        )
    return parameter


def _check_described(descriptions: Mapping[str, str], has: list[str], function: Any, name: str) -> None:
    """Refuse a docstring that speaks of parameters by other names: the model would read nothing of it."""
    known = {*has, *getattr(_written(function), "__annotations__", ())}
    with suppress(AttributeError):  # all that was written, also what a partial has bound, and self
        code = _written(function).__code__
        known |= {*code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]}
    for strange in descriptions:
        if strange not in known and strange.isidentifier():
            free = [each for each in has if each not in descriptions]
            near = get_close_matches(strange, free, n=1, cutoff=0.5) or (free if len(free) == 1 else [])
            raise RequestError(
                f"The docstring of {name} describes a parameter {strange}, and the function has none.",
                remedy=f"Is it {near[0]}?" if near else f"Its parameters: {', '.join(has) or 'none'}.",
            )


def _field(parameter: inspect.Parameter, described: str | None) -> tuple[Any, Any]:
    """A field for pydantic: its type with metadata, and its default."""
    from pydantic import Field

    kind: Any = Any if parameter.annotation is _EMPTY else parameter.annotation
    metadata: tuple[Any, ...] = getattr(kind, "__metadata__", ())
    if metadata:
        kind = kind.__origin__
    default = ... if parameter.default is _EMPTY else parameter.default
    if default is None and kind is not Any:  # ``x: int = None``: everybody knows what is meant
        kind = typing.Optional[kind]  # noqa: UP045, the bar does not join every kind of annotation
    # The field's own name is p0, p1 …: pydantic keeps some names, such as schema and _x, for itself. Metadata
    # that comes later wins, so the annotation's does.
    text = next((each for each in metadata if isinstance(each, str)), described) or None
    ours = Field(alias=parameter.name, description=text)
    return Annotated[(kind, ours, *metadata)], default


def _made(fields: Mapping[str, Any], names: Mapping[str, str], name: str) -> tuple[Any, dict[str, Any]]:
    """The pydantic model and its schema."""
    from pydantic import ValidationError
    from pydantic.errors import PydanticUserError

    impossible = (PydanticUserError, NameError, TypeError, ValueError)
    try:
        model, schema = _model(name, fields)
    except impossible as err:
        where = ""
        for field, parameter in names.items():
            try:
                _model(name, {field: fields[field]})
            except impossible:
                where = f"the parameter {parameter} of "
                break
        raise RequestError(
            f"There is no JSON schema for {where}{name}: {_first_sentence(err)}.",
            remedy="A model sends JSON: use a type that JSON can fill, bind a value with functools.partial, "
            "or give schema=.",
        ) from err
    try:
        model.model_validate({})
    except ValidationError as err:
        wrong = [error for error in err.errors(include_url=False) if error["type"] != "missing"]
        if wrong:
            raise RequestError(
                f"A default of {name} does not fit its annotation: {told(wrong[0], (), names)}.",
                remedy="Change one of them; the annotation may be a union, such as int | None.",
            ) from None
    return model, schema


def _first_sentence(err: Exception) -> str:
    """Of pydantic's words; those that follow are advice for people who write models."""
    return str(err).splitlines()[0].split(". ")[0].removesuffix(".")


def _model(name: str, fields: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    from pydantic import ConfigDict, create_model
    from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

    class Quiet(GenerateJsonSchema):
        """A default that JSON cannot express is left out of the schema; that is no reason for a warning."""

        def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
            """Pass over it."""

    config = ConfigDict(extra="forbid", validate_default=True)
    model: Any = create_model(name, __config__=config, **fields)
    return model, _clean(model.model_json_schema(schema_generator=Quiet))


def _clean(schema: dict[str, Any]) -> dict[str, Any]:
    """Without titles, which repeat names; objects with named members take no others, unless they say so."""
    clean: dict[str, Any] = {}
    for word, value in schema.items():
        if word in ("properties", "$defs"):
            clean[word] = {name: _clean(inner) for name, inner in value.items()}
        elif word in ("default", "const", "enum", "examples"):
            clean[word] = value
        elif isinstance(value, dict):
            clean[word] = _clean(value)
        elif isinstance(value, list):
            clean[word] = [_clean(inner) if isinstance(inner, dict) else inner for inner in value]
        elif word != "title":
            clean[word] = value
    if "properties" in clean:
        clean.setdefault("additionalProperties", False)
    return clean


def _reader(
    model: Any, schema: Mapping[str, Any], names: Mapping[str, str], name: str
) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The function from an input to arguments, checked by pydantic."""
    from pydantic import ValidationError

    objects = (schema, *schema.get("$defs", {}).values())
    # Members that nobody knows are refused, inside too; unless a model of the user's takes any of them: then
    # each goes by its own rule.
    extra: Any = "forbid" if not any(_open(each) for each in objects) else None

    def read(input: Mapping[str, Any]) -> dict[str, Any]:
        try:
            made = model.model_validate(dict(input), extra=extra)
        except ValidationError as err:
            found = err.errors(include_url=False)
            raise misfit(name, [told(each, schema["properties"]) for each in found]) from None
        except Exception as err:  # of a validator of the user's
            raise misfit(name, [f"they could not be read: {type(err).__name__}: {err}"]) from err
        return {parameter: getattr(made, field) for field, parameter in names.items()}

    return read


def _open(schema: Mapping[str, Any]) -> bool:
    return "properties" in schema and bool(schema.get("additionalProperties"))
