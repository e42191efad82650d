"""tools.py: a Python function as a tool, what a model may send it, and what becomes of what it returns."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import functools
import inspect
import io
import json
import math
import pathlib
import subprocess
import sys
import threading
from collections import deque
from typing import Annotated, Any, Literal

import botocore.validate
import matplotlib.figure
import numpy as np
import pandas as pd
import PIL.Image
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from bedrock_nb.errors import RequestError, ToolError, ToolInputError
from bedrock_nb.message import ImageBlock, Message, TextBlock
from bedrock_nb.tools import Tool, ToolContext, as_tools, tool
from bedrock_nb.tools.results import content_of
from tests.converse_model import SERVICE
from tests.messages import JSON_OBJECT
from tests.test_mend import accepted


class Unit(enum.Enum):
    """Of temperatures."""

    C = "C"
    F = "F"


class Place(BaseModel):
    """Somewhere."""

    city: str
    zip: int = 0


class Loose(BaseModel):
    """One that takes any member."""

    model_config = ConfigDict(extra="allow")
    a: int


@dataclasses.dataclass
class Point:
    """A place in the plane."""

    x: float
    y: float = 0.0


def get_weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """The weather just now.

    Not that of tomorrow.

    Parameters
    ----------
    city : str
        Such as
        Paris.
    unit : str
        Of the temperature.
    """
    return f"{city}: 21 {unit}"


def google_style(city, unit="C"):
    """The weather just now.

    Not that of tomorrow.

    Args:
        city: Such as
            Paris.
        unit: Of the temperature.
    """


def sphinx_style(city, unit="C"):
    """The weather just now.

    Not that of tomorrow.

    :param city: Such as
        Paris.
    :param unit: Of the temperature.
    """


WEATHER = tool(get_weather)
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Such as Paris."},
        "unit": {
            "type": "string",
            "enum": ["C", "F"],
            "default": "C",
            "description": "Of the temperature.",
        },
    },
    "required": ["city"],
    "additionalProperties": False,
}


def properties(function):
    """The members of a function's schema."""
    return tool(function).schema["properties"]


def refused(made, input):
    """The problems that a model is told of."""
    with pytest.raises(ToolInputError) as caught:
        made.arguments(input)
    return list(caught.value.problems)


# -- what the model is told ------------------------------------------------------------------------


def test_a_function_tells_all_that_the_model_reads():
    """Name, description and schema follow from the function alone, and the service takes them."""
    assert WEATHER.spec == {
        "toolSpec": {
            "name": "get_weather",
            "description": "The weather just now.\n\nNot that of tomorrow.",
            "inputSchema": {"json": SCHEMA},
        }
    }
    botocore.validate.validate_parameters(WEATHER.spec, SERVICE.shape_for("Tool"))


@pytest.mark.parametrize("function", [get_weather, google_style, sphinx_style])
def test_every_style_of_docstring_is_read(function):
    """NumPy's, Google's and Sphinx's docstrings describe the tool and its parameters."""
    assert tool(function).description == WEATHER.description
    assert [each["description"] for each in properties(function).values()] == [
        "Such as Paris.",
        "Of the temperature.",
    ]


@settings(max_examples=60)
@given(st.text(st.sampled_from(":param- \nArgs:Parameters`*x"), max_size=60))
def test_any_docstring_will_do(text):
    """A docstring that no style knows is no reason to fail."""

    def function(x):
        pass

    function.__doc__ = text
    assert json.dumps(tool(function).spec)


def test_types_in_the_schema():
    """Enums, dates, paths, models and dataclasses are told without titles; unknown members are closed out."""

    def f(
        a: Unit,
        b: datetime.date,
        c: list[Place],
        d: Annotated[int, "How many."],
        e: Annotated[float, Field(ge=0, description="How much.")],
        g,
        schema: Point | None = None,
        _x: str = None,  # type: ignore[assignment]  # noqa: RUF013 - as people write it
        model_config: pathlib.Path = pathlib.Path("/tmp"),
        h: Any = object(),  # noqa: B008
        i: int = Field(5, description="A field."),
    ): ...

    made = tool(f)
    assert "title" not in json.dumps(made.schema)
    assert made.schema["required"] == ["a", "b", "c", "d", "e", "g"]
    assert made.schema["$defs"]["Place"] == {
        "description": "Somewhere.",
        "type": "object",
        "properties": {"city": {"type": "string"}, "zip": {"type": "integer", "default": 0}},
        "required": ["city"],
        "additionalProperties": False,
    }
    assert properties(f) == {
        "a": {"$ref": "#/$defs/Unit"},
        "b": {"type": "string", "format": "date"},
        "c": {"type": "array", "items": {"$ref": "#/$defs/Place"}},
        "d": {"type": "integer", "description": "How many."},
        "e": {"type": "number", "minimum": 0, "description": "How much."},
        "g": {},
        "schema": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}], "default": None},
        "_x": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
        "model_config": {"type": "string", "format": "path", "default": "/tmp"},
        "h": {},
        "i": {"type": "integer", "default": 5, "description": "A field."},
    }


def test_a_member_that_is_called_title_stays():
    """Only pydantic's own titles are left out of the schema."""

    def f(title: str, properties: dict[str, int]): ...

    assert list(properties(f)) == ["title", "properties"]


def test_types_of_the_place_where_the_tool_is_made():
    """An annotation may name a class that the function around it has just defined."""

    class Local(BaseModel):
        a: int

    @tool
    def f(x: Local, y: list[Local]) -> NotImported: ...  # type: ignore[name-defined]  # noqa: F821

    assert f.arguments({"x": {"a": 1}, "y": [{"a": "2"}]}) == {"x": Local(a=1), "y": [Local(a=2)]}


def test_options_win_over_the_function():
    """What is given to the decorator is what the model reads."""

    @tool(name="w", description="Other.", strict=True, side_effects=True, timeout=None)
    def f(): ...

    assert f.spec["toolSpec"] | {"inputSchema": 0} == {
        "name": "w",
        "description": "Other.",
        "inputSchema": 0,
        "strict": True,
    }
    assert (f.approve, f.timeout) == ("ask", None)
    assert tool(lambda: 1, name="one").spec["toolSpec"].keys() == {"name", "inputSchema"}


@pytest.mark.parametrize(
    ("options", "approve"),
    [({}, "always"), ({"side_effects": True}, "ask"), ({"side_effects": True, "approve": bool}, bool)],
)
def test_what_changes_something_asks_first(options, approve):
    """A tool with side effects is asked for, unless its author says otherwise."""
    assert tool(get_weather, **options).approve == approve


class Shop:
    """A shop."""

    name = "corner"

    @tool
    def order(self, number: int) -> str:
        """Order."""
        return f"{number} from {self.name}"

    @tool
    @staticmethod
    def count(number: int):
        """Count."""

    def plain(self, number: int):
        """Plain."""
        return number

    def __call__(self, number: int):
        """Shop."""

    async def wait(self, number: int): ...


@pytest.mark.parametrize(
    ("made", "name", "description"),
    [
        (Shop().order, "order", "Order."),
        (Shop().count, "count", "Count."),
        (Shop.count, "count", "Count."),
        (tool(Shop().plain), "plain", "Plain."),
        (tool(Shop()), "Shop", "Shop."),
        (tool(functools.partial(Shop().plain)), "plain", "Plain."),
    ],
)
def test_methods_and_objects_are_functions_too(made, name, description):
    """Methods in a class, of an object, objects that can be called: without self in the schema."""
    assert (made.name, made.description) == (name, description)
    assert made.schema["properties"] == {"number": {"type": "integer"}}


def test_a_method_of_an_object_runs():
    """A tool that is read from an object is bound to it; read from its class it is refused."""
    order = Shop().order
    assert order(**order.arguments({"number": "3"})) == "3 from corner"
    with pytest.raises(RequestError, match="method without its object"):
        as_tools([Shop.order])


def test_what_a_partial_binds_is_hidden():
    """The model neither sees nor sets it."""
    made = tool(functools.partial(get_weather, unit="F"))
    assert list(made.schema["properties"]) == ["city"]
    assert made(**made.arguments({"city": "Rome"})) == "Rome: 21 F"
    assert refused(made, {"city": "Rome", "unit": "C"}) == ["unit: there is no such argument (known: city)"]


def test_a_decorated_function_still_works():
    """It is called as ever, and help finds its name, words and signature."""
    assert WEATHER("Rome", unit="F") == "Rome: 21 F"
    assert (WEATHER.__name__, inspect.getdoc(WEATHER)) == ("get_weather", inspect.getdoc(get_weather))
    assert inspect.signature(WEATHER) == inspect.signature(get_weather)


@pytest.mark.parametrize(
    ("function", "is_async"),
    [(get_weather, False), (Shop().wait, True), (functools.partial(Shop().wait, 1), True), (Shop(), False)],
)
def test_async_functions_are_known(function, is_async):
    """Whoever runs a tool must know whether to await it."""
    assert tool(function).is_async is is_async


def generator():
    yield 1


def positional(a, /): ...
def several(*many): ...
def any_name(**named): ...
def callback(a: int, then: Shop): ...
def bad_default(a: int, b: int = "x"): ...  # type: ignore[assignment]
def unknown_type(a: Missing): ...  # type: ignore[name-defined]  # noqa: F821
def größe(): ...


def documented(function: Any, text: str) -> Any:
    """The function with this docstring."""
    function.__doc__ = text
    return function


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: tool(generator), "Return a list"),
        (lambda: tool(positional), r"a of positional can be given by its place only.*Take the /"),
        (lambda: tool(several), r"many of several takes any number.*one list"),
        (lambda: tool(any_name), r"named of any_name takes any name"),
        (
            lambda: tool(callback),
            r"no JSON schema for the parameter then of callback: .*Shop.*\. A model sends",
        ),
        (lambda: tool(bad_default), r"A default of bad_default .* b: Input should be a valid integer"),
        (lambda: tool(unknown_type), "annotation of unknown_type cannot be read: name 'Missing'"),
        (lambda: tool(größe), r"A tool's name is 'größe'.*name="),
        (lambda: tool(lambda: 1), "<lambda>"),
        (lambda: tool(get_weather, name="a b"), "'a b'"),
        (lambda: tool(get_weather, name="a" * 65), "1 to 64"),
        (lambda: dataclasses.replace(WEATHER, approve="never"), "'never'"),
        (lambda: tool(get_weather, timeout=0), "above 0"),
        (lambda: tool(get_weather, timeout=True), "above 0"),
        (lambda: tool(get_weather, schema={"type": "array"}), "schema of an object"),
        (lambda: tool(get_weather, schema={"type": "object", "x": {1}}), "schema of an object"),
        (lambda: as_tools(["f"]), r"A tool is 'f'.*itself, f, not what it returned, f\(…\)"),  # type: ignore[list-item]
        (lambda: as_tools([None]), "A tool is None.*the function itself"),  # type: ignore[list-item]
        (lambda: tool(len), "obj of len .* Write a function of your own that calls it"),
        (lambda: tool(math.sqrt), "x of sqrt .* Write a function of your own that calls it"),
        (
            lambda: tool(documented(lambda city: 1, ":param town: Which."), name="look"),
            "describes a parameter town, .* Is it city",
        ),
        (
            lambda: tool(documented(lambda city, day: 1, "Look.\n\nArgs:\n    citty: Which."), name="look"),
            "describes a parameter citty, .* Is it city",
        ),
        (
            lambda: tool(documented(lambda: 1, ":param city: Which."), name="look"),
            "describes a parameter city, .* Its parameters: none",
        ),
        (lambda: tool(WEATHER), r"already.*dataclasses\.replace"),
        (lambda: tool(dict), "does not know the parameters of dict"),
        (lambda: as_tools([get_weather, WEATHER]), "Two tools are called get_weather"),
        (lambda: as_tools("get_weather"), "list of tools"),
        (lambda: as_tools([{"name": "f", "input_schema": {}}]), "toolSpec"),
        (lambda: as_tools([WEATHER.spec])["get_weather"](), "has no function"),
    ],
)
def test_what_cannot_be_a_tool(made, said):
    """The error says what is wrong and what to do."""
    with pytest.raises(RequestError, match=f"(?s){said}"):
        made()


@pytest.mark.parametrize("given", [WEATHER, get_weather, functools.partial(get_weather, unit="F")])
def test_one_tool_is_a_list_of_one(given):
    """A function or a Tool by itself; nobody needs the brackets."""
    assert list(as_tools(given)) == ["get_weather"]


def test_a_docstring_may_speak_of_what_the_model_does_not_see():
    """The context, what a partial has bound, attributes of an object."""

    def look(town: str, scale: str, context: ToolContext) -> str:
        """Look.

        Parameters
        ----------
        town : str
            Which.
        scale : str
            Of the map.
        context : ToolContext
            Of the call.

        Attributes
        ----------
        seen : int
            How often.
        """
        return town

    schema = tool(functools.partial(look, scale="C")).schema
    assert schema["properties"] == {"town": {"type": "string", "description": "Which."}}


def test_the_card_says_that_a_parameter_takes_any_type():
    """Beside what the docstring says of it; one that is annotated says nothing of the kind."""

    def look(town, day: int):
        """Look.

        :param town: Which.
        """

    html = tool(look)._repr_html_()
    assert "any type; Which." in html
    assert html.count("any type") == 1


# -- what a model may send -------------------------------------------------------------------------


@tool
def book(
    place: Place,
    when: datetime.date,
    unit: Unit = Unit.C,
    days: Annotated[list[int], Field(max_length=3)] = [1],  # noqa: B006
    point: Point | None = None,
) -> None: ...


def test_arguments_have_the_annotated_types():
    """Numbers may come as text; defaults are there; models, enums, dates and dataclasses are made."""
    input = {"place": {"city": "Rome", "zip": "12"}, "when": "2026-03-01", "days": ["1", 2.0]}
    assert book.arguments(input) == {
        "place": Place(city="Rome", zip=12),
        "when": datetime.date(2026, 3, 1),
        "unit": Unit.C,
        "days": [1, 2],
        "point": None,
    }
    assert book.arguments({**input, "point": {"x": 1}, "unit": "F"})["point"] == Point(1.0)


@pytest.mark.parametrize(
    ("input", "problems"),
    [
        ({"unit": "K"}, ["unit: Input should be 'C' or 'F' (got 'K')"]),
        ({"place": {"zip": 1}}, ["place.city: it is required"]),
        ({"place": {"city": "a", "street": "b"}}, ["place.street: there is no such member"]),
        ({"point": {"x": 1, "z": 2}}, ["point.z: there is no such member"]),
        (
            {"days": [1.5]},
            ["days.0: Input should be a valid integer, got a number with a fractional part (got 1.5)"],
        ),
        ({"when": math.inf}, ["when: "]),
        ({"a b\n": 1}, [r"'a b\n': there is no such argument (known: place, when, unit, days, point)"]),
        ({"p0": 1}, ["p0: there is no such argument"]),
    ],
)
def test_what_does_not_fit_is_told(input, problems):
    """The model reads which argument is wrong, why, and what it sent; nothing is passed over."""
    found = refused(book, {"place": {"city": "Rome"}, "when": "2026-03-01", **input})
    assert len(found) == len(problems)
    for each, begin in zip(found, problems, strict=True):
        assert each.startswith(begin)


def test_the_error_is_a_lesson():
    """It is a ToolError, names the tool, lists at most ten problems and says what to do."""
    with pytest.raises(ToolError) as caught:
        WEATHER.arguments({"city": "Rome", **{f"x{i}": "v" * 999 for i in range(30)}})
    told = str(caught.value)
    assert told.startswith("The arguments do not fit get_weather: x0: there is no such argument")
    assert told.endswith("; and 20 more. Call it again with arguments that fit its schema.")
    assert len(told) < 1000


def test_members_that_a_model_of_the_users_allows():
    """Where a class takes any member, it is given them, and strange arguments are still refused."""

    def f(x: Loose): ...

    assert tool(f).arguments({"x": {"a": 1, "b": 2}})["x"].b == 2
    assert refused(tool(f), {"x": {"a": 1}, "y": 1}) == ["y: there is no such argument (known: x)"]


def _any(
    a: int = 0, b: Place | None = None, c: Unit | datetime.date = Unit.C, d: float = 0, e: bool = True
): ...


_ANY = tool(_any)
_GIVEN = tool(_any, schema={"properties": {"a": {}}, "additionalProperties": False})


@settings(max_examples=60)
@given(JSON_OBJECT | st.fixed_dictionaries({}, optional=dict.fromkeys("abcde", JSON_OBJECT | st.text())))
def test_any_input_fits_or_is_refused(input):
    """Whatever a model sends, there are arguments or problems in print, for tools of both kinds."""
    for made in (_ANY, _GIVEN):
        try:
            assert isinstance(made.arguments(input), dict)
        except ToolInputError as caught:
            refusal = caught
        else:
            continue
        assert refusal.problems
        assert str(refusal).isprintable()


def test_a_validator_that_fails_is_a_misfit():
    """Whatever code of the user's raises while arguments are read, the model is told of its arguments."""

    def fail(value):
        raise KeyError(value)

    def f(a: Annotated[str, pydantic.AfterValidator(fail)]): ...

    assert refused(tool(f), {"a": "x"}) == ["they could not be read: KeyError: 'x'"]


@pytest.mark.parametrize("input", [None, [], "x", 3])
def test_an_input_is_an_object(input):
    """Anything else is refused as arguments that do not fit."""
    assert refused(WEATHER, input) == [f"the input is {input!r}, and no object"]


def test_a_given_schema_checks_names_alone():
    """The function gets the input as it is; members that are missing or closed out are told."""
    made = tool(lambda **given: given, name="f", schema=SCHEMA)
    assert made.arguments({"city": 3, "unit": "K"}) == {"city": 3, "unit": "K"}
    assert refused(made, {"town": "Rome"}) == [
        "city: it is required",
        "town: there is no such argument (known: city, unit)",
    ]
    open_ = tool(lambda **given: given, name="f", schema={"properties": 3, "required": [[], "a"]})
    assert open_.arguments({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    assert open_.schema["type"] == "object"


def test_dicts_of_converse_are_tools_that_others_run():
    """They are offered as they were given, without a function; a cache point is kept at its place."""
    spec = WEATHER.spec
    spec["toolSpec"]["new"] = 1
    point = {"cachePoint": {"type": "default"}}
    system = {"systemTool": {"name": "nova_grounding"}}
    tools = as_tools([spec, point, system, book])
    assert list(tools) == ["get_weather", "(cachePoint)", "nova_grounding", "book"]
    assert [each.spec for each in tools.values()][:3] == [spec, point, system]
    assert tools["get_weather"].function is None
    assert refused(tools["get_weather"], {}) == ["city: it is required"]
    assert as_tools(None) == {}


def test_nothing_done_to_a_spec_changes_the_tool():
    """Specs are copies."""
    for made in (WEATHER, *as_tools([WEATHER.spec]).values()):
        made.spec["toolSpec"]["inputSchema"]["json"]["properties"].clear()
        assert made.spec["toolSpec"]["inputSchema"]["json"] == SCHEMA


# -- the call's context ----------------------------------------------------------------------------


def wants(a: int, call: ToolContext): ...
def may_want(a: int, call: ToolContext | None = None): ...


@pytest.mark.parametrize("function", [wants, may_want])
@pytest.mark.parametrize("schema", [None, {"properties": {"a": {}}}])
def test_the_context_is_given_and_not_in_the_schema(function, schema):
    """A parameter annotated ToolContext is the call's, and no model can set it."""
    made, context = tool(function, schema=schema), ToolContext("t1", "wants")
    assert list(made.schema["properties"]) == ["a"]
    assert made.arguments({"a": 1}, context) == {"a": 1, "call": context}
    assert made.arguments({"a": 1})["call"].cancelled is False
    assert refused(made, {"a": 1, "call": {}})[0].startswith("call: there is no such argument")


def test_a_context_that_is_given_by_its_place():
    """Its name is free for members of the schema."""

    def f(call: ToolContext, /, **given):
        return call, given

    made, context = tool(f, schema={"properties": {"call": {}}}), ToolContext()
    assert made(**made.arguments({"call": 1}, context)) == (context, {"call": 1})
    assert refused(made, {"(context)": 1})


def test_a_schema_may_not_have_the_contexts_name():
    """It would be the model's or the call's."""
    with pytest.raises(RequestError, match="call is in the schema of wants"):
        tool(wants, schema={"properties": {"call": {}}})


def test_a_context_tells_when_it_is_given_up():
    """wait ends early, cancelled turns true, and the time that is left never is below 0."""
    now = [10.0]
    context = ToolContext("t1", "f", deadline_s=12.0, clock=lambda: now[0])
    assert (context.left_s, context.wait(0), repr(context)) == (2.0, False, "<ToolContext of f, call t1>")
    now[0] = 99.0
    threading.Timer(0, context.cancel).start()
    assert context.wait(60)
    assert (context.cancelled, context.left_s, ToolContext().left_s) == (True, 0.0, math.inf)
    assert repr(context) == "<ToolContext of f, call t1, cancelled>"


# -- how it shows ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (WEATHER, "<Tool get_weather(city: str, unit: 'C' | 'F' = 'C')>"),
        (
            book,
            (
                "<Tool book(place: Place, when: str, unit: 'C' | 'F' = 'C', days: list[int] = [1], "
                "point: Point | None = None)>"
            ),
        ),
        (tool(lambda: 1, name="f"), "<Tool f()>"),
        (
            tool(lambda **_: 1, name="f", schema={"properties": {"a\u202e": {"type": ["null", 3]}, "b": 3}}),
            r"<Tool f('a\u202e': None | Any = …, b: Any = …)>",
        ),
    ],
)
def test_a_tool_shows_its_signature(made, shown):
    """The repr is Python's way to write it, whatever the schema."""
    assert repr(made) == shown


def test_a_tool_shows_as_a_card():
    """With what the model is told, escaped, and when it asks."""
    made = tool(get_weather, description="<b>now</b>", side_effects=True)
    html = made._repr_html_()
    for each in ("get_weather(city: str", "&lt;b&gt;now&lt;/b&gt;", "Such as Paris.", "yes", "60 s"):
        assert each in html


def test_changing_a_tool():
    """dataclasses.replace gives another tool; a new schema is gone by."""
    assert dataclasses.replace(WEATHER, approve="ask").arguments({"city": "x"})["unit"] == "C"
    other = dataclasses.replace(WEATHER, schema={"properties": {"town": {}}, "required": ["town"]})
    assert refused(other, {}) == ["town: it is required"]
    assert Tool("f", "", {}, None).arguments({"a": 1}) == {"a": 1}


def test_no_heavy_library_comes_with_the_module():
    """pydantic, pandas and Pillow wait for the first function."""
    code = "import bedrock_nb.tools, sys; print({'pydantic', 'pandas', 'PIL', 'numpy'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


# -- what a function returned ----------------------------------------------------------------------


def png(mode="RGB", size=(4, 3)):
    """An image of Pillow's, and its bytes."""
    image, file = PIL.Image.new(mode, size), io.BytesIO()
    image.convert("RGB").save(file, "PNG")
    return image, file.getvalue()


PNG = png()[1]
BLOCK = {"image": {"format": "png", "source": {"bytes": PNG}}}
DOCUMENT = {"document": {"format": "pdf", "name": "report", "source": {"bytes": b"%PDF-"}}}
ME: list[Any] = []
ME.append(ME)


class Nameless:
    """Something that cannot be told."""

    def __str__(self):
        raise KeyError("x")


class Told:
    """Something that is no data and can be told."""

    def __str__(self):
        return "told"


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (None, [{"text": "(no result)"}]),
        ("sunny", [{"text": "sunny"}]),
        ("", [{"text": "(blank text: '')"}]),
        ("\ud83d\ude00\ud83d", [{"text": "\U0001f600\ufffd"}]),
        ({"a": 1, 2: math.nan}, [{"json": {"a": 1, "2": None}}]),
        ({}, [{"json": {}}]),
        ([], [{"json": {"result": []}}]),
        ([1, (2.5, -math.inf)], [{"json": {"result": [1, [2.5, None]]}}]),
        (["a", "b"], [{"json": {"result": ["a", "b"]}}]),
        (True, [{"json": {"result": True}}]),
        (2**70, [{"json": {"result": str(2**70)}}]),
        ({"b", "a"}, [{"json": {"result": ["a", "b"]}}]),
        (deque([1]), [{"json": {"result": [1]}}]),
        (Unit.C, [{"json": {"result": "C"}}]),
        (datetime.date(2026, 3, 1), [{"json": {"result": "2026-03-01"}}]),
        (decimal.Decimal("1.50"), [{"json": {"result": "1.50"}}]),
        (Point(1, math.nan), [{"json": {"result": {"x": 1, "y": None}}}]),
        (Place(city="\ud83d"), [{"json": {"result": {"city": "\ufffd", "zip": 0}}}]),
        (np.array([[1, 2]]), [{"json": {"result": [[1, 2]]}}]),
        (np.int64(3), [{"json": {"result": 3}}]),
        ({"a": np.float64("nan"), "b": Told(), "c": PNG}, None),
        (Message("assistant", (TextBlock("so"),)), [{"text": "so"}]),
        (PNG, [BLOCK]),
        (b"text", [{"text": "text"}]),
        (b"\xff\xfe", [{"text": "(2 bytes that are neither text nor an image)"}]),
        (
            PNG + bytes(3_750_000),
            [{"text": f"(png image of {len(PNG) + 3_750_000:,} bytes; at most 3,750,000 can be shown)"}],
        ),
        (BLOCK, [BLOCK]),
        (DOCUMENT, [DOCUMENT]),
        ({"text": "a"}, [{"text": "a"}]),
        ({"json": {"a": math.nan}}, [{"json": {"a": None}}]),
        ({"json": [1]}, [{"json": {"json": [1]}}]),
        ({"image": {"format": "bmp", "source": {"bytes": b"x"}}}, None),
        ({"image": {"format": "png", "source": {"bytes": b""}}}, None),
        (
            ["see", BLOCK, 3, None],
            [{"text": "see"}, BLOCK, {"json": {"result": 3}}, {"json": {"result": None}}],
        ),
        ([{"text": "a"}, {"json": {}}], [{"text": "a"}, {"json": {}}]),
        ([{"text": "a"}, {"text": "b", "id": 1}], None),
        (pd.DataFrame({"a": [1, 2]}), [{"text": "a\n1\n2\n"}]),
        (pd.DataFrame({"a": [1]}, index=["x"]), [{"text": ",a\nx,1\n"}]),
        (pd.DataFrame({"a": []}), [{"text": "a\n(no rows)"}]),
        (ME, [{"text": "[[...]]"}]),
        (Told(), [{"text": "told"}]),
        (Nameless(), [{"text": "(a Nameless, which has no text)"}]),
        (object(), [{"text": "(an object, which has no text)"}]),
        ([object(), len], None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_becomes_of_a_result(value, content):
    """Each kind of value has its own form; None in this table is one item of JSON."""
    made = content_of(value)
    taken(made)
    if content is None:
        assert [list(item) for item in made] == [["json"]]
    else:
        assert list(made) == content


async def later(): ...


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda: generator(), "a generator"),
        (lambda: map(str, [1, 2]), "a map"),
        (lambda: later(), "a coroutine"),
        (lambda: later, "a function"),
        (lambda: [].append, "a function"),
        (lambda: functools.partial(later), "a function"),
        (lambda: pd.DataFrame, "a class"),
        (lambda: math, "a module"),
    ],
)
def test_what_is_no_value_is_an_error_for_model_and_author(value, what):
    """It says what came and what to do about it, and leaves no coroutine behind."""
    with pytest.raises(ToolError, match=f"The tool returned {what}, and not a value. Its author can"):
        content_of(value())


@pytest.mark.parametrize(
    "value",
    [object(), [object()], {"a": object()}, {object(): 1}, {"f": len, "g": lambda: 1}, (object, object())],
)
def test_no_address_is_told(value):
    """It says nothing to the model, and would make every recording differ."""
    assert " at 0x" not in str(content_of(value))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "F", "I;16", "HSV"])
def test_images_of_any_mode_are_shown(mode):
    """Whatever PNG does not know is converted."""
    [item] = content_of(png(mode)[0])
    assert PIL.Image.open(io.BytesIO(item["image"]["source"]["bytes"])).size == (4, 3)


def test_large_images_are_made_smaller():
    """No edge is longer than the service takes, and what PNG makes too large becomes a JPEG."""
    [item] = content_of(png("L", (16_000, 2))[0])
    assert PIL.Image.open(io.BytesIO(item["image"]["source"]["bytes"])).size == (8000, 1)
    noise = np.random.default_rng(0).integers(0, 256, (1150, 1150, 3), dtype=np.uint8)
    [item] = content_of(PIL.Image.fromarray(noise))
    assert item["image"]["format"] == "jpeg"


def test_figures_are_shown():
    """A figure of matplotlib, or Axes in it, are images; within data there is a note in their place."""
    axes = matplotlib.figure.Figure(figsize=(1, 1)).add_subplot()
    for value in (axes, axes.get_figure()):
        [item] = content_of(value)
        assert item["image"]["format"] == "png"
    [item] = content_of({"plot": axes, "n": 1})
    assert item["json"]["plot"].startswith("(an image: a tool returns it alone")


@pytest.mark.parametrize(
    "value", ["x" * 200_000, ["x" * 200_000], b"x" * 200_000, {"text": "x" * 200_000}, range(10**9)]
)
def test_too_much_is_cut_with_a_note(value):
    """No item is much longer than 100,000 characters, and the model is told."""
    [item] = content_of(value)
    assert len(item["text"]) < 100_100
    assert item["text"].endswith("\n(cut here: the result is longer than 100,000 characters)")


def test_a_long_table_is_cut_with_a_note():
    """A hundred rows, and how many there are."""
    [item] = content_of(pd.DataFrame({"a": range(5000)}))
    assert item["text"].splitlines()[-2:] == ["99", "(the first 100 of 5,000 rows)"]


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["\ud83d", "png", " ", PNG, Unit.F, Point(1, 2), Told(), Nameless(), ME, object, 1j])
    | st.binary(max_size=5)
    | st.dates()
    | st.decimals()
    | st.timedeltas()
    | st.builds(Message, st.just("user"), st.just((TextBlock(""), ImageBlock("png", {}))))
)
_NAMES = st.sampled_from(
    [
        "text",
        "json",
        "image",
        "document",
        "video",
        "searchResult",
        "format",
        "source",
        "bytes",
        "name",
        "uri",
        "s3Location",
        "title",
        "content",
        "x",
    ]
)
_VALUES = st.recursive(
    _LEAVES | st.sampled_from([BLOCK, DOCUMENT]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(_NAMES | st.integers() | st.none(), inner, max_size=2)
        | st.builds(lambda kind, block: {kind: block}, _NAMES, inner)
        | st.builds(lambda f, s: {"image": {"format": f, "source": s}}, inner, inner)
        | st.builds(lambda n, s: {"document": {"name": n, "source": s}}, inner, inner)
        | st.builds(
            lambda source, *rest: {"searchResult": {"source": source, "title": rest[0], "content": rest[1]}},
            inner,
            inner,
            inner,
        )
    ),
    max_leaves=8,
)


def taken(content):
    """Raise if boto3 or the service refuses this content."""
    result = {"toolUseId": "1", "content": list(content)}
    botocore.validate.validate_parameters(result, SERVICE.shape_for("ToolResultBlock"))
    call = {"role": "assistant", "content": [{"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}]}
    turns = [call, {"role": "user", "content": [{"toolResult": result}]}]
    json.dumps([item for item in content if "json" in item], allow_nan=False, ensure_ascii=False).encode()
    accepted(turns)


@settings(max_examples=120)
@given(_VALUES)
def test_whatever_is_returned_the_service_takes_it(value):
    """Of any value something is made that boto3 sends and the service accepts, and never nothing."""
    try:
        content = content_of(value)
    except ToolError:
        assert value is object  # the only value above that is none
        return
    assert content
    taken(content)


def test_a_given_schema_keeps_the_other_parameters_from_the_model():
    """A name that it does not have is refused, unless it says otherwise or the function takes any."""
    schema = {"type": "object", "properties": {"path": {"type": "string"}}}

    def read(path: str, root: str = "/safe") -> str:
        """Read a file."""
        return root + path

    def anything(**given: str) -> str:
        """Take anything."""
        return str(given)

    told = {"path": "x", "root": "/etc"}
    with pytest.raises(ToolInputError, match="root: there is no such argument"):
        tool(read, schema=schema).arguments(told)
    assert tool(read, schema={**schema, "additionalProperties": True}).arguments(told) == told
    assert tool(anything, schema=schema).arguments(told) == told
    with pytest.raises(ToolInputError, match="no such argument"):
        tool(anything, schema=schema).arguments({"(context)": "x"})


def test_an_argument_may_be_called_self():
    """A server of tools may have any names."""
    named = tool(lambda **given: given, name="f", schema={"type": "object"})
    assert named(**named.arguments({"self": 1})) == {"self": 1}
