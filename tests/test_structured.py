"""structured.py: a schema that Bedrock takes, a value while it grows, and an object in the end."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal
from typing import TypedDict as OldTypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter
from typing_extensions import TypedDict

import bedrock_nb as nb
from bedrock_nb.errors import IncompleteStreamError, RequestError, StructuredOutputError
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer
from bedrock_nb.server.latency import INSTANT
from bedrock_nb.structured import parsed, partial, schema_of
from tests.wire_server import GOOD, GOOD_TEXT, answer

OURS = "embedded.canned-v1:0"


class Address(BaseModel):
    """Where somebody is."""

    city: str
    zip: str | None = None


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int = Field(ge=0, le=150, description="In years")
    addresses: list[Address]


class Cat(BaseModel):
    """Says meow."""

    kind: Literal["cat"]
    lives: Annotated[int, Field(multiple_of=1)]


class Dog(BaseModel):
    """Says woof."""

    kind: Literal["dog"]


class Owner(BaseModel):
    """Has one of two, which their kind tells apart."""

    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


@dataclass
class Point:
    """Two numbers."""

    x: float
    y: float = 0.0


class Movie(TypedDict):
    """A dict with known names."""

    title: str
    year: int


class Old(OldTypedDict):
    """What pydantic does not take before Python 3.12."""

    title: str


class Tree(BaseModel):
    """Holds itself."""

    below: list[Tree]


class Free(BaseModel):
    """Has members of any name."""

    counts: dict[str, int]


class Pair(BaseModel):
    """Has a place for each of two."""

    both: tuple[int, str]


def objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema of an object in a schema."""
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for inner in node.values():
            yield from objects(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from objects(inner)


# -- the schema ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (Person, "Person"),
        (Owner, "Owner"),
        (Point, "Point"),
        (Movie, "Movie"),
        (list[Person], "list"),
        (TypeAdapter(Person), "Person"),
        (int, "int"),
        ({"type": "object", "properties": {"a": {"type": "object", "properties": {}}}}, "answer"),
        ('{"type": "object", "title": "A b!", "properties": {}}', "A_b"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_every_object_is_closed(thing, name):
    """Bedrock wants additionalProperties false; types have a validator, schemas have none."""
    schema, called, validator = schema_of(thing)
    assert all(found["additionalProperties"] is False for found in objects(schema))
    assert called == name
    assert (validator is None) == isinstance(thing, dict | str)
    assert not {"oneOf", "discriminator", "minimum", "multipleOf"} & {*json.dumps(schema).split('"')}


def test_limits_that_the_service_refuses_are_said_in_words():
    """The model reads them, and pydantic checks them in the end; a member may be called like a limit."""
    schema, _, _ = schema_of(Person)
    assert schema["properties"]["age"] == {
        "description": "In years (minimum: 0; maximum: 150)",
        "title": "Age",
        "type": "integer",
    }
    given = {
        "type": "object",
        "properties": {
            "minimum": {"type": "string", "format": "date", "minLength": 3},
            "items": {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": 2},
        },
        "additionalProperties": False,
    }
    before = json.dumps(given)
    fitted = schema_of(given)[0]["properties"]
    assert fitted["minimum"] == {"type": "string", "format": "date", "description": "(minLength: 3)"}
    assert fitted["items"] == {
        "type": "array",
        "items": {"type": "number"},
        "minItems": 1,
        "description": "(maxItems: 2)",
    }
    assert json.dumps(given) == before


def test_a_pattern_without_lookaround_is_kept():
    """That of a Decimal has one."""
    schema, _, _ = schema_of(Decimal)
    assert "pattern" not in json.dumps(schema["anyOf"][1]).replace("(pattern: ", "")
    for pattern in ("^a+$", r"^\d\\b(a|b)\($"):
        assert schema_of({"type": "string", "pattern": pattern})[0]["pattern"] == pattern


@pytest.mark.parametrize("pattern", ["(?=a)b", "(?:a)", r"\bword", r"a\B", r"(a)\1", r"\\\b", "\\"])
def test_a_pattern_that_the_service_has_no_grammar_for_is_said_in_words(pattern):
    """Lookaround, word borders and references to groups would make it refuse the schema."""
    assert schema_of({"type": "string", "pattern": pattern})[0] == {
        "type": "string",
        "description": f"(pattern: {pattern})",
    }


def test_a_lone_reference_in_allof_stands_by_itself():
    """Older pydantic writes one to say more of it; the service refuses references in allOf."""
    cat = {"type": "object", "properties": {"name": {"type": "string"}}}
    member = {"description": "The cat.", "allOf": [{"$ref": "#/$defs/Cat"}]}
    fitted, _, _ = schema_of({"type": "object", "properties": {"cat": member}, "$defs": {"Cat": cat}})
    assert fitted["properties"]["cat"] == {"description": "The cat.", "$ref": "#/$defs/Cat"}


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (Tree, "holds itself"),
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, "holds itself"),
        pytest.param(
            Old,
            "typing_extensions.TypedDict",
            marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes it there"),
        ),
        (Free, "counts has members of any name"),
        (Pair, "both has prefixItems"),
        ({"type": "object"}, "The schema has members of any name"),
        ({"type": "object", "properties": {"a": {"type": "object"}}}, "a has members of any name"),
        ({"type": "object", "properties": {}, "additionalProperties": True}, "members of any name"),
        ({"type": "object", "properties": {"a": {"$ref": "https://x/y.json"}}}, "refers to 'https://x"),
        ({"type": "object", "properties": {"a": {"not": {}}}}, "a has not"),
        ({"type": "object", "properties": {"a": True}}, "a takes anything"),
        ({"type": "object", "properties": {"a": {}}}, "a takes anything"),
        ({"type": "object", "properties": {"a": {"title": "A", "minimum": 3}}}, "a takes anything"),
        ({"type": "array", "items": {}}, "… takes anything"),
        ({"enum": ["a", {"b": 1}]}, "objects or lists in enum"),
        ({"type": "object", "properties": {"a": {"enum": [[1]]}}}, "a has objects or lists in enum"),
        (
            {"allOf": [{"$ref": "#/$defs/A"}, {"type": "string"}], "$defs": {"A": {"type": "string"}}},
            "beside others in allOf",
        ),
        ({"anyOf": 5}, "no JSON schema"),
        ({}, "no JSON schema"),
        ("{", "no JSON schema"),
        ("[1]", "no JSON schema"),
        ("[" * 100_000, "no JSON schema"),
        (5, "no JSON schema"),
        (object, "no JSON schema"),
        (Person(name="a", age=1, addresses=[]), "no JSON schema"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_bedrock_would_refuse_is_refused(thing, said):
    """With the place where it stands, before anything is sent."""
    with pytest.raises(RequestError, match=said):
        Request("m", "hi", schema=thing)


# -- the value -------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def within(part: Any, whole: Any) -> bool:
    """Whether a value can grow into another."""
    if isinstance(part, dict) and isinstance(whole, dict):
        names = list(whole)[: len(part)]
        return list(part) == names and all(within(part[name], whole[name]) for name in names)
    if isinstance(part, list) and isinstance(whole, list):
        return len(part) <= len(whole) and all(within(a, b) for a, b in zip(part, whole, strict=False))
    if isinstance(part, str) and isinstance(whole, str):
        return whole.startswith(part)
    return type(part) is type(whole) and part == whole


@settings(max_examples=150)
@given(VALUES, st.booleans())
def test_every_beginning_is_part_of_the_whole(value, ascii):
    """What is shown never has to be taken back: objects, lists and strings grow, a number comes whole."""
    text = json.dumps(value, ensure_ascii=ascii)
    before: Any = None
    for length in range(len(text) + 1):
        part = partial(text[:length])
        if part is not None:
            assert within(part, value)
            assert before is None or within(before, part)
        before = part
    assert partial(text, whole=True) == value


@given(st.text() | st.text(alphabet='{}[]",:\\u0123456789dDeE+-. \ntrufalsn'))
def test_partial_never_raises(text):
    """Whatever a model says."""
    for whole in (False, True):
        json.dumps(partial(text, whole=whole))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("The answer is", None),
        ("[" * 100_000, None),
        ('{"a": NaN', None),
        ('{"a": 12', {}),
        ('{"a": 12}', {"a": 12}),
        ('{"a": "12', {"a": "12"}),
        ('{"a": "\\"12', {"a": '"12'}),
        ('{"a": true', {"a": True}),
        ('{"a": 1, "b', {"a": 1}),
        ("12", None),
    ],
)
def test_what_has_come(text, value):
    """The number at the end may have more digits to come, unless it stands in a string."""
    assert partial(text) == value


def test_a_long_number_takes_no_long_time():
    """Digits in a string are looked at once, not once for each of them."""
    assert partial('["' + "1" * 1_000_000) == ["1" * 1_000_000]


@pytest.mark.parametrize(
    ("text", "stopped", "said", "errors"),
    [
        ('{"name": "A', "max_tokens", "cut at max_tokens", 1),
        ('{"name": "A', "cancelled", "was cancelled", 1),
        ("I need a tool.", "tool_use", "asks for a tool", 1),
        ("Sure!", "end_turn", "does not fit: all of it: Invalid JSON", 1),
        (
            '{"name": "A", "age": -1}',
            "end_turn",
            "age: Input should be greater than or equal to 0; addresses",
            2,
        ),
        ('{"name": "A", "age": "x", "addresses": 1}', None, "age: .*; addresses: ", 2),
    ],
)
def test_an_answer_that_does_not_fit_says_why(text, stopped, said, errors):
    """In one sentence, with the answer and pydantic's list in attributes."""
    with pytest.raises(StructuredOutputError, match=said) as caught:
        parsed(text, schema_of(Person)[2], stopped=stopped)
    assert isinstance(caught.value, ValueError)
    assert caught.value.text == text
    assert len(caught.value.errors) == errors
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "text", ['{"a": 1} x', '{"a": 1}{"b": 2}', "1 2", r'{"a": "\ud83d"}', r'["\udc00", 1]']
)
def test_what_is_no_whole_answer_is_none_in_part_either(text):
    """Words after the value, or half a character, have no value."""
    assert partial(text, whole=True) is None
    with pytest.raises(StructuredOutputError):
        parsed(text)


@given(st.text(alphabet='{}[]",:\\ud8c0123456789eE+-. \ntrufalsn') | st.builds(json.dumps, VALUES))
def test_whole_and_part_agree(text):
    """What `parsed` takes is what `partial` shows of the whole."""
    try:
        value = parsed(text)
    except StructuredOutputError:
        return
    assert partial(text, whole=True) == value


@pytest.mark.parametrize("text", ["", "Sure!", '{"a": 1', '{"a": NaN}', "[" * 100_000, '{"a": 1} x'])
def test_without_a_type_it_must_be_whole_json(text):
    """Nothing more is known of it."""
    with pytest.raises(StructuredOutputError, match="does not fit"):
        parsed(text)
    assert parsed('{"a": [1, null]}') == {"a": [1, None]}


# -- as it streams ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def embedded() -> Iterator[Any]:
    """A client of an embedded server that answers at once."""
    with BedrockServer(latency=INSTANT) as server:
        yield server.client()


@pytest.mark.parametrize("thing", [Person, Point, Movie, list[Address], TypeAdapter(Owner)], ids=repr)
def test_an_answer_is_an_object_of_the_class(embedded, thing):
    """It grows while it streams, and in the end it is what the class makes of it."""
    reply = nb.stream(embedded, "Describe Ada, 36, in London.", model=OURS, schema=thing)
    assert reply.partial_json is None
    partials = list(reply.partials)
    assert len(partials) > 1
    assert partials[-1] == reply.partial_json == json.loads(reply.text)
    assert all(within(a, b) and a != b for a, b in pairwise(partials))
    adapter = thing if isinstance(thing, TypeAdapter) else TypeAdapter(thing)
    assert reply.parsed == adapter.validate_json(reply.text)


def test_a_long_answer_is_not_read_anew_for_each_delta():
    """Values are few beside the deltas, each grows out of the one before, and the last one is whole."""
    value = [{"name": f"n{i}", "text": "lorem ipsum"} for i in range(400)]
    text = json.dumps(value)
    deltas = [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": text[i : i + 3]}}}
        for i in range(0, len(text), 3)
    ]
    ends = [{"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "end_turn"}}]
    reply = nb.Reply({"stream": iter([{"messageStart": {"role": "assistant"}}, *deltas, *ends])})
    seen = list(reply.partials)
    assert 500 < len(seen) < len(deltas) / 2
    assert seen[-1] == value
    assert all(within(a, b) for a, b in pairwise(seen[::50]))


def test_without_a_class_the_value_is_plain(embedded):
    """A schema as a dict or under the API's own name; a request made before is one too."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    for reply in (
        nb.stream(embedded, "Where is the Eiffel Tower? In Paris.", model=OURS, schema=schema),
        Request(OURS, "In Paris?", schema=json.dumps(schema)).stream(embedded),
    ):
        assert reply.parsed == {"city": "Paris"}
    assert Request("m", "hi", schema=Person).stream(embedded).parsed.name
    assert json.loads(nb.chat(embedded, "In Paris?", model=OURS, schema=schema)) == {"city": "Paris"}


def test_an_answer_that_was_cut_says_so(embedded):
    """By max_tokens; what came is there all the same."""
    reply = nb.stream(embedded, "Describe Ada.", model=OURS, schema=Person, max_tokens=5)
    with pytest.raises(StructuredOutputError, match="larger max_tokens") as caught:
        reply.parsed  # noqa: B018
    assert caught.value.reply is reply
    assert caught.value.text == reply.text
    assert isinstance(reply.partial_json, dict)
    assert pickle.loads(pickle.dumps(caught.value)).text == reply.text


def test_an_answer_without_json_has_no_value(wire, client):
    """Its text is there; asking for the value raises, looking at what came does not."""
    wire.lay(answer(GOOD))
    reply = nb.stream(client, "hi")
    with pytest.raises(StructuredOutputError, match="asks for a tool") as caught:
        reply.parsed  # noqa: B018
    assert (caught.value.text, caught.value.errors) == (GOOD_TEXT, [])
    assert reply.partial_json is None
    assert list(reply.partials) == []


def test_a_reply_that_failed_raises_its_own_error(wire, client):
    """As every view of it does."""
    wire.lay(answer(GOOD[:9]))
    reply = nb.stream(client, "hi", model=OURS, schema=Person)
    with pytest.raises(IncompleteStreamError):
        reply.parsed  # noqa: B018
    with pytest.raises(IncompleteStreamError):
        list(reply.partials)
    assert reply.partial_json is None
    wire.lay(answer(GOOD))
    assert nb.resume(client, reply, how="restart").schema is reply.schema is Person
