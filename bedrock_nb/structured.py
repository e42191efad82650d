"""Answers as data: a JSON schema for the service, and from its answer a value, whole or as far as it came.

Strategy: what somebody gives (a schema, a pydantic model, any type that pydantic knows) becomes the subset of
JSON schema that Bedrock takes. Objects get ``additionalProperties: false``. A limit that the service refuses,
such as ``minimum``, becomes words in the description: the model reads it there, and pydantic checks it in the
end. What has no such way out is refused, with its place. pydantic is imported when it is needed.

The subset: Amazon Bedrock user guide, "Get validated JSON results from models"; for what that leaves open,
Anthropic's "JSON Schema limitations" of structured outputs.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any

from bedrock_nb.errors import RequestError, StructuredOutputError

__all__ = ["growing", "parsed", "partial", "schema_of", "validator_of"]

# -- the schema ------------------------------------------------------------------------------------

#: Keywords that the service refuses, and that can be said in words.
_LIMITS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "format",
    "pattern",
    "contentEncoding",
    "contentMediaType",
)
#: Keywords that mean something which the service's grammar has not.
_REFUSED = {
    "prefixItems": "Use an object with a name for each place instead of a tuple.",
    "patternProperties": "Name the members, or use a list of objects with a name and a value.",
    "propertyNames": "Name the members, or use a list of objects with a name and a value.",
    "unevaluatedProperties": "Name the members.",
    "dependentRequired": "Use one object for each case, in anyOf.",
    "dependentSchemas": "Use one object for each case, in anyOf.",
    "if": "Use one object for each case, in anyOf.",
    "not": "Say what may be, not what may not.",
    "contains": "Say what each item is.",
}
_FORMATS = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"]
# What says nothing of a value: a schema of only these takes any.
_WORDS = {
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
}
# Where schemas stand in a schema: under these keywords by name, in a list, alone.
_NAMED, _LISTED, _ALONE = ("properties", "$defs", "definitions"), ("anyOf", "allOf"), ("items",)
_FREE = "Name the members, or use a list of objects with a name and a value."
# Patterns that it takes: without lookaround and other marked groups, word borders, references to groups.
_PATTERN = re.compile(r"(?:[^\\(]|\((?!\?)|\\[^bB1-9])*", re.DOTALL)
_NO_NAME = re.compile(r"[^a-zA-Z0-9_-]+")


def schema_of(thing: Any) -> tuple[dict[str, Any], str, Any]:
    """The JSON schema of what an answer should be.

    Parameters
    ----------
    thing : mapping, str or type
        A JSON schema, as a dict or as text; or a pydantic model, a dataclass, a TypedDict, ``list[int]`` …

    Returns
    -------
    schema : dict
        In the subset that Bedrock takes.
    name : str
        What it is called.
    validator : pydantic.TypeAdapter or None
        What checks an answer; None for a plain schema.

    Raises
    ------
    RequestError
        It is no schema, pydantic has none for it, or Bedrock would refuse it.
    """
    try:
        validator = validator_of(thing)
        if validator is not None:
            schema = validator.json_schema()
        else:
            schema = dict(thing) if isinstance(thing, Mapping) else json.loads(thing)
        if not isinstance(schema, dict) or not schema:
            raise ValueError
        fitted: dict[str, Any] = _fitted(schema, "")
        _check_references(fitted)
    except RequestError:
        raise
    except (ValueError, TypeError, RuntimeError, NameError, AttributeError) as err:  # pydantic's, too
        why = (
            f" ({str(err).splitlines()[0][:120]})"
            if str(err) and not isinstance(thing, Mapping | str)
            else ""
        )
        raise RequestError(
            f"schema is {reprlib.repr(thing)}, which is no JSON schema and has none{why}.",
            remedy="Give a JSON schema as dict or text, a pydantic model class, a dataclass or a TypedDict.",
        ) from err
    name = schema.get("title") or getattr(thing, "__name__", None) or "answer"
    return fitted, _NO_NAME.sub("_", str(name)).strip("_")[:64] or "answer", validator


def validator_of(thing: Any) -> Any:
    """pydantic's adapter of a type; None for a plain schema."""
    if thing is None or isinstance(thing, Mapping | str):
        return None
    import pydantic

    return thing if isinstance(thing, pydantic.TypeAdapter) else pydantic.TypeAdapter(thing)


def _fitted(schema: Any, place: str) -> Any:
    """The schema without what Bedrock refuses; ``place`` is where it stands."""
    if isinstance(schema, bool):
        raise RequestError(_cannot(place or "The schema", "takes anything"), remedy="Say what it is.")
    if not isinstance(schema, Mapping):
        raise TypeError(place)
    for keyword, remedy in _REFUSED.items():
        if keyword in schema:
            raise RequestError(_cannot(place, f"has {keyword}"), remedy=remedy)
    fitted = {"anyOf" if name == "oneOf" else name: value for name, value in schema.items()}
    fitted.pop("discriminator", None)  # OpenAPI's word beside oneOf: a hint for parsers
    for keyword in _NAMED:
        if keyword in fitted:
            members = dict(fitted[keyword]).items()
            fitted[keyword] = {name: _fitted(member, f"{place}/{name}") for name, member in members}
    for keyword in _LISTED:
        if keyword in fitted:
            fitted[keyword] = [_fitted(part, place) for part in fitted[keyword]]
    for keyword in _ALONE:
        if keyword in fitted:
            fitted[keyword] = _fitted(fitted[keyword], f"{place}/…")
    if any("$ref" in part for part in fitted.get("allOf", ())):
        if len(fitted["allOf"]) > 1 or "$ref" in fitted:
            raise RequestError(
                _cannot(place, "has a $ref beside others in allOf"),
                remedy="Write the members out in one object.",
            )
        fitted |= fitted.pop("allOf")[0]
    if any(isinstance(member, Mapping | list) for member in fitted.get("enum") or ()):
        raise RequestError(
            _cannot(place, "has objects or lists in enum"), remedy="Give texts, numbers, true, false or null."
        )
    kind = fitted.get("type")
    if kind == "object" or "properties" in fitted or (isinstance(kind, list) and "object" in kind):
        more = fitted.get("additionalProperties")
        if more not in (None, False) or (more is None and "properties" not in fitted):
            raise RequestError(_cannot(place, "has members of any name"), remedy=_FREE)
        fitted["additionalProperties"] = False
    said = [
        f"{name}: {fitted.pop(name)}" for name in _LIMITS if name in fitted and not _taken(name, fitted[name])
    ]
    if said:
        described = fitted.get("description", "")
        fitted["description"] = f"{described} ({'; '.join(said)})".strip()
    if fitted.keys() <= _WORDS:
        raise RequestError(_cannot(place or "The schema", "takes anything"), remedy="Say what it is.")
    return fitted


def _taken(name: str, value: Any) -> bool:
    """Whether the service takes a limit as it is."""
    match name:
        case "minItems":
            return value in (0, 1)
        case "format":
            return value in _FORMATS
        case "pattern":
            return _PATTERN.fullmatch(str(value)) is not None
    return False


def _cannot(place: str, what: str) -> str:
    where = place.lstrip("/").replace("/", ".") or "The schema"
    return f"{where} {what}, which Bedrock does not take in a schema for answers."


def _references(node: Any) -> Iterator[str]:
    """Every ``$ref`` where a schema may stand."""
    if isinstance(node.get("$ref"), str):
        yield node["$ref"]
    for keyword in ("properties", *_LISTED, *_ALONE):
        inner = node.get(keyword)
        schemas = inner.values() if keyword == "properties" and inner else inner or ()
        for schema in [inner] if keyword in _ALONE and inner else schemas:
            yield from _references(schema)


def _check_references(root: Mapping[str, Any]) -> None:
    """Refuse references out of the schema, and a schema that holds itself."""
    known = {f"#/{k}/{name}": s for k in ("$defs", "definitions") for name, s in (root.get(k) or {}).items()}
    known["#"] = dict(root)
    leads = {reference: set(_references(schema)) for reference, schema in known.items()}
    for reference in set().union(*leads.values()) - known.keys():
        raise RequestError(
            _cannot("", f"refers to {reprlib.repr(reference)}"),
            remedy="Put what it means under $defs of this schema.",
        )
    for start in leads:
        seen: set[str] = set()
        to_see = leads[start].copy()
        while to_see:
            seen.add(reference := to_see.pop())
            to_see |= leads[reference] - seen
        if start in seen:
            raise RequestError(
                _cannot("", f"holds itself ({reprlib.repr(start)})"),
                remedy="Write out as many levels as you need, or ask for a flat list.",
            )


# -- the value -------------------------------------------------------------------------------------

_ESCAPED = re.compile(r"\\.", re.DOTALL)


def partial(text: str, *, whole: bool = False) -> Any:
    """The value of JSON text that is still coming; None while there is none.

    Parameters
    ----------
    text : str
        The beginning of a JSON text.
    whole : bool
        That it is all of it: a number at its very end counts, and text after the value makes it no value, as
        for `parsed`. While it is coming a number at the end does not count, for more digits may follow.

    Returns
    -------
    Any
        Objects and lists grow, and so does the string at the end; names that are not whole are left out.
        Never raises.
    """
    import pydantic_core

    number = text[len(text.rstrip("0123456789.eE+-")) :].lstrip(".eE+")  # "true" ends in an e, too
    if number and not whole and _ESCAPED.sub("", text).count('"') % 2 == 0:  # not in a string
        text = text[: -len(number)]
    if whole and _goes_on(text):
        return None
    try:
        return pydantic_core.from_json(text, allow_partial="trailing-strings", allow_inf_nan=False)
    except (ValueError, RecursionError):
        return None


def _goes_on(text: str) -> bool:
    """Whether more stands behind a whole value."""
    text = text.strip(" \t\r\n")
    try:
        return json.JSONDecoder().raw_decode(text)[1] < len(text)
    except (ValueError, RecursionError):
        return False


# How much of an answer in JSON must be new before all of it is read again: less where a value may have ended.
_GROWTH, _LEAST_GROWTH = 0.01, 0.001
_STRUCTURE = frozenset('{}[]",:')


def growing(texts: Iterable[str | None]) -> Iterator[Any]:
    """The value of JSON text each time that it has changed, as the text comes.

    Neighbouring changes of a long text may be joined, so that the work grows as its length does; the last
    value always comes.

    Parameters
    ----------
    texts : iterable of str or None
        Pieces in their order; None where another text begins.
    """
    said, before = StringIO(), None
    length = seen = 0  # characters, and those at the last look
    structure = False  # whether a value may have ended since
    for text in texts:
        if text is None:
            said, before, length, seen, structure = StringIO(), None, 0, 0, False
            continue
        said.write(text)
        length += len(text)
        structure = structure or not _STRUCTURE.isdisjoint(text)
        if length - seen < length * (_LEAST_GROWTH if structure else _GROWTH):
            continue
        seen, structure = length, False
        value = partial(said.getvalue())
        if value is not None and value != before:
            yield (before := value)
    value = partial(said.getvalue(), whole=True)
    if value is not None and value != before:
        yield value


_CUT = "before its JSON was whole."
#: Why an answer is not the JSON that was asked for, by its stop reason.
_STOPS = {
    "max_tokens": (f"The answer was cut at max_tokens {_CUT}", "Ask again with a larger max_tokens."),
    "model_context_window_exceeded": (f"The model's context was full {_CUT}", "Ask with a shorter prompt."),
    "tool_use": ("The model asks for a tool before it answers.", "Run the tool and send its result."),
    "guardrail_intervened": ("A guardrail stepped in, so the answer is not JSON.", "Look at reply.text."),
    "content_filtered": ("The answer was filtered, so it is not JSON.", "Look at reply.text."),
    "cancelled": (f"The answer was cancelled {_CUT}", "reply.partial_json has what came."),
}


def parsed(text: str, validator: Any = None, *, stopped: str | None = None) -> Any:
    """The value of a whole answer, checked.

    Parameters
    ----------
    text : str
        The answer.
    validator : pydantic.TypeAdapter, optional
        Of `schema_of`. Without one the plain value is returned.
    stopped : str, optional
        Why the answer stopped; told where it explains the failure.

    Raises
    ------
    StructuredOutputError
        It is not whole JSON, or does not fit.
    """
    problems: list[dict[str, Any]] = []
    try:
        if validator is None:
            value = json.loads(text, parse_constant=_refuse)
            json.dumps(
                value, ensure_ascii=False
            ).encode()  # half a surrogate pair is no text: it could not be sent
            return value
        return validator.validate_json(text)
    except ValueError as err:  # json's error and pydantic's are both
        listed = getattr(err, "errors", None)
        problems = listed(include_url=False, include_context=False, include_input=False) if listed else []
        first = str(err)
    except RecursionError:
        first = "it is nested too deeply"
    if problems:
        first = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'all of it'}: {problem['msg']}"
            for problem in problems[:3]
        )
    what, remedy = _STOPS.get(
        stopped or "",
        (f"The answer does not fit: {first[:200]}.", "err.text is the answer, err.errors what is wrong."),
    )
    error = StructuredOutputError(what, remedy=remedy)
    error.text, error.errors = text, problems
    raise error


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
