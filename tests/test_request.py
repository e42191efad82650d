"""request.py: what is asked reaches boto3 as it was meant, and stays what it was."""

from __future__ import annotations

import copy
import re
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator
from hypothesis import given, settings
from hypothesis import strategies as st

import bedrock_nb as nb
from bedrock_nb import content as nb_content
from bedrock_nb.content import own
from bedrock_nb.errors import CapabilityError, RequestError
from bedrock_nb.message import Message, TextBlock, ToolUseBlock
from bedrock_nb.request import DEFAULT_MODEL, Request, as_request
from tests.recordings import maybe, reply

MODEL = ServiceModel(Loader().load_service_model("bedrock-runtime", "service-2"))
SHAPE: Any = MODEL.operation_model("ConverseStream").input_shape

TOOL = {"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}
HI = {"role": "user", "content": [{"text": "hi"}]}
HELLO = {"role": "assistant", "content": [{"text": "hello"}]}
IMAGE = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}

CACHE = {"cachePoint": {"type": "default"}}


class Own:
    """A tool that knows how it is offered to a model."""

    spec = TOOL


#: One of everything, as somebody who knows boto3 would write it.
KWARGS: dict[str, Any] = {
    "modelId": "us.amazon.nova-lite-v1:0",
    "messages": [HI, HELLO, {"role": "user", "content": [{"text": "and this?"}, IMAGE]}],
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
    "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "topP": 0.25, "stopSequences": ["a", "b"]},
    "toolConfig": {"tools": [TOOL], "toolChoice": {"auto": {}}},
    "guardrailConfig": {"guardrailIdentifier": "abc", "guardrailVersion": "1"},
    "additionalModelRequestFields": {"top_k": 20},
    "additionalModelResponseFieldPaths": ["/stop_sequence"],
    "requestMetadata": {"course": "1"},
    "performanceConfig": {"latency": "optimized"},
    "serviceTier": {"type": "flex"},
}


def problems(kwargs):
    """What botocore's own parameter validation has against these arguments."""
    return ParamValidator().validate(kwargs, SHAPE).generate_report()


def everything() -> Request:
    """A request that uses every field."""
    return Request(
        "m",
        "and now?",
        messages=[HI, Message("assistant", (TextBlock("hello"),))],
        system="Be brief.",
        max_tokens=7,
        temperature=0.5,
        top_p=1,
        stop=["x", "y"],
        tools=[TOOL],
        extra={"requestMetadata": {"a": "b"}},
    )


# -- to boto3 and back -----------------------------------------------------------------------------


def test_a_prompt_is_all_it_takes():
    """Only what was set is sent."""
    assert Request("m", "hi").to_kwargs() == {"modelId": "m", "messages": [HI]}
    assert Request(prompt="hi").to_kwargs() == {"modelId": DEFAULT_MODEL, "messages": [HI]}
    assert Request("m", messages=[HI]).to_kwargs() == {"modelId": "m", "messages": [HI]}


def test_everything_has_its_place():
    """Short names become the API's own."""
    assert everything().to_kwargs() == {
        "modelId": "m",
        "messages": [HI, HELLO, {"role": "user", "content": [{"text": "and now?"}]}],
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 7, "temperature": 0.5, "topP": 1, "stopSequences": ["x", "y"]},
        "toolConfig": {"tools": [TOOL]},
        "requestMetadata": {"a": "b"},
    }


@pytest.mark.parametrize(
    ("setting", "sent"),
    [
        ({"temperature": 0}, {"inferenceConfig": {"temperature": 0}}),
        ({"temperature": 0.0}, {"inferenceConfig": {"temperature": 0}}),
        ({"top_p": 0}, {"inferenceConfig": {"topP": 0}}),
        ({"max_tokens": 1}, {"inferenceConfig": {"maxTokens": 1}}),
        ({"max_tokens": np.int64(5)}, {"inferenceConfig": {"maxTokens": 5}}),
        ({"temperature": np.float32(0.5)}, {"inferenceConfig": {"temperature": 0.5}}),
        ({"top_p": Fraction(1, 4)}, {"inferenceConfig": {"topP": 0.25}}),
        ({"stop": "x"}, {"inferenceConfig": {"stopSequences": ["x"]}}),
        ({"stop": ()}, {}),
        ({"stop": None}, {}),
        ({"tools": []}, {}),
        ({"tools": {"tools": [TOOL], "toolChoice": {"any": {}}}}, None),
        ({"tools": (tool for tool in [TOOL])}, {"toolConfig": {"tools": [TOOL]}}),
        ({"system": [{"text": "s"}, {"cachePoint": {"type": "default"}}]}, None),
        ({"system": ["s", nb_content.cache_point()]}, {"system": [{"text": "s"}, CACHE]}),
        ({"tools": Own()}, {"toolConfig": {"tools": [TOOL]}}),
        ({"tools": [Own(), CACHE]}, {"toolConfig": {"tools": [TOOL, CACHE]}}),
        ({"extra": {"inferenceConfig": {"maxTokens": 3}}}, {"inferenceConfig": {"maxTokens": 3}}),
        (
            {"extra": {"inferenceConfig": {"maxTokens": 3}}, "max_tokens": 4, "top_p": 1},
            {"inferenceConfig": {"maxTokens": 4, "topP": 1}},
        ),
        ({"extra": {"toolConfig": {"tools": [TOOL]}}}, {"toolConfig": {"tools": [TOOL]}}),
    ],
    ids=repr,
)
def test_one_setting_is_sent_alone(setting, sent):
    """Zero is a setting; nothing is none. botocore accepts each."""
    kwargs = Request("m", "hi", **setting).to_kwargs()
    assert problems(kwargs) == ""
    if sent is not None:
        assert kwargs == {"modelId": "m", "messages": [HI], **sent}


def test_arguments_of_boto3_come_back_as_they_were():
    """`from_kwargs` and `to_kwargs` are inverses, for everything that ConverseStream takes."""
    assert problems(KWARGS) == ""
    request = Request.from_kwargs(KWARGS)
    assert request.to_kwargs() == KWARGS
    assert (request.model, request.prompt, request.max_tokens) == (KWARGS["modelId"], None, 5)
    assert (request.temperature, request.top_p, request.stop) == (0.5, 0.25, ("a", "b"))
    untyped = {"guardrailConfig", "requestMetadata", "performanceConfig", "serviceTier"}
    assert request.extra.keys() == untyped | {name for name in KWARGS if name.startswith("additional")}


def test_members_of_inference_config_that_have_no_short_name_are_kept():
    """What AWS adds tomorrow goes through."""
    kwargs = {"modelId": "m", "messages": [HI], "inferenceConfig": {"maxTokens": 5, "topK": 3}}
    assert Request.from_kwargs(kwargs).to_kwargs() == kwargs


@pytest.mark.parametrize("none", [{"system": []}, {"inferenceConfig": {}}, {"inferenceConfig": None}])
def test_nothing_given_is_nothing_sent(none):
    """Course code passes empty lists and dicts where it has nothing to say."""
    kwargs = {"modelId": "m", "messages": [HI]}
    assert Request.from_kwargs({**kwargs, **none}).to_kwargs() == kwargs


PROMPTS = st.text(min_size=1).filter(str.strip)
BLOCKS = st.lists(PROMPTS | st.fixed_dictionaries({"text": PROMPTS}) | st.just(IMAGE), min_size=1, max_size=3)
REQUESTS = st.builds(
    Request,
    st.sampled_from(["m", "us.amazon.nova-lite-v1:0", "arn:aws:bedrock:us-east-1:1:inference-profile/x"]),
    PROMPTS | BLOCKS,
    messages=st.sampled_from([(), [HI, HELLO]]),
    system=maybe(PROMPTS | st.just([{"text": "s"}])),
    max_tokens=maybe(st.integers(1, 2**31 - 1)),
    temperature=maybe(st.floats(0, 1)),
    top_p=maybe(st.floats(0, 1)),
    stop=st.lists(st.text(min_size=1), max_size=3) | st.text(min_size=1),
    tools=st.sampled_from([None, [TOOL], {"tools": [TOOL], "toolChoice": {"auto": {}}}]),
    extra=st.sampled_from([{}, {"serviceTier": {"type": "flex"}}]),
    latency=maybe(st.sampled_from(["standard", "optimized"])),
    guardrail=maybe(st.sampled_from(["abc", "abc:3", {"id": "abc", "trace": "enabled"}])),
    metadata=maybe(st.dictionaries(st.text("ab", min_size=1), st.text("ab"), min_size=1, max_size=3)),
)


@settings(deadline=None, max_examples=60)
@given(REQUESTS)
def test_any_request_is_one_that_boto3_accepts(request):
    """Whatever passes our checks passes botocore's, and survives the way there and back."""
    kwargs = request.to_kwargs()
    assert problems(kwargs) == ""
    assert Request.from_kwargs(kwargs).to_kwargs() == kwargs


# -- turns -----------------------------------------------------------------------------------------


def test_the_conversation_ends_in_the_prompt():
    """All turns in Converse's shape, whatever they were given as."""
    message = Message("assistant", (TextBlock("hello"),))
    turns = [{"role": "user", "content": "hi"}, message]
    assert Request("m", "more", messages=turns).conversation == (
        HI,
        HELLO,
        {"role": "user", "content": [{"text": "more"}]},
    )
    assert Request("m", messages=turns).conversation == (HI, HELLO)
    assert Request("m", [{"text": "see"}, IMAGE]).conversation == (
        {"role": "user", "content": [{"text": "see"}, IMAGE]},
    )


def test_a_prompt_joins_a_last_turn_of_the_user():
    """Roles must alternate, so results of tools and words are one turn."""
    request = Request("m", "more", messages=[HI])
    assert request.conversation == ({"role": "user", "content": [{"text": "hi"}, {"text": "more"}]},)
    assert request.messages == (HI,)


def test_an_answer_joins_the_beginning_that_was_given():
    """After a prefill the assistant's turn is one."""
    begun = {"role": "assistant", "content": [{"text": "hel"}]}
    after = Request("m", messages=[HI, begun]).after({"role": "assistant", "content": "lo"}, "go on")
    assert [turn["role"] for turn in after.conversation] == ["user", "assistant", "user"]
    assert after.conversation[1]["content"] == [{"text": "hel"}, {"text": "lo"}]


@pytest.mark.parametrize(
    "answer", [HELLO, Message("assistant", (TextBlock("hello"),)), MappingProxyType(HELLO)], ids=repr
)
def test_the_next_request_goes_on(answer):
    """`after` keeps the settings, appends the answer and asks anew; the first request stays as it was."""
    first = everything()
    before = first.to_kwargs()
    second = first.after(answer, "go on")
    assert second.conversation == (
        *first.conversation,
        HELLO,
        {"role": "user", "content": [{"text": "go on"}]},
    )
    assert {k: v for k, v in second.to_kwargs().items() if k != "messages"} == {
        k: v for k, v in before.items() if k != "messages"
    }
    assert first.to_kwargs() == before
    assert problems(second.to_kwargs()) == ""


def test_the_next_question_may_have_a_picture():
    """`after` takes what a prompt may be, also behind the results of an answer that broke off."""
    first = Request("m", "hi")
    assert first.after(HELLO, ["and this?", IMAGE]).conversation[-1]["content"] == [
        {"text": "and this?"},
        IMAGE,
    ]
    broken = Message("assistant", (ToolUseBlock("1", "f", {}, "{}"),), partial=True)
    results = first.after(broken, ["and this?", IMAGE]).conversation[-1]["content"]
    assert [next(iter(block)) for block in results] == ["toolResult", "text", "image"]


def test_the_next_request_takes_anything_that_has_a_message():
    """A Reply has one, and so has a Recording."""
    turns = Request("m", "hi").after(reply(), "go on").conversation
    assert turns[1] == {"role": "assistant", "content": [{"text": "Hello world!"}]}


def test_a_setting_is_changed_in_a_copy():
    """`replace` changes what it is told, checks it, and leaves the rest."""
    first = everything()
    second = first.replace(temperature=0, model="n")
    assert second.to_kwargs() == {
        **first.to_kwargs(),
        "modelId": "n",
        "inferenceConfig": {**first.to_kwargs()["inferenceConfig"], "temperature": 0},
    }
    assert first == everything()
    assert first.replace(temperature=None, max_tokens=None, top_p=None, stop=()).to_kwargs().keys() == (
        first.to_kwargs().keys() - {"inferenceConfig"}
    )
    with pytest.raises(RequestError, match="temperature is 2"):
        first.replace(temperature=2)


@pytest.mark.parametrize(
    ("prompt", "conversation"),
    [
        ([HI, HELLO], (HI, HELLO)),
        ([Message.from_dict(HI)], (HI,)),
        (HI, (HI,)),
        (nb_content.user("hi"), (HI,)),
        (Message.from_dict(HI), (HI,)),
        ("hi", ({"role": "user", "content": [{"text": "hi"}]},)),
        ([{"text": "hi"}], ({"role": "user", "content": [{"text": "hi"}]},)),
        (["hi", IMAGE], ({"role": "user", "content": [{"text": "hi"}, IMAGE]},)),
        (IMAGE, ({"role": "user", "content": [IMAGE]},)),
    ],
    ids=repr,
)
def test_a_list_of_messages_is_told_from_a_list_of_blocks(prompt, conversation):
    """So that `stream` takes either in the prompt's place."""
    assert as_request(prompt, {}, {}).conversation == conversation


def test_an_argument_of_the_api_keeps_the_members_that_are_not_given_anew():
    """Settings of a request and those given besides are merged, not dropped."""
    first = Request(
        "m", "hi", extra={"inferenceConfig": {"maxTokens": 5, "topP": 0.5}, "serviceTier": {"type": "flex"}}
    )
    request = as_request(
        first, {"latency": "standard"}, {"inferenceConfig": {"temperature": 1, "topP": 0.25}}
    )
    assert request.to_kwargs()["inferenceConfig"] == {"maxTokens": 5, "topP": 0.25, "temperature": 1}
    assert request.extra["serviceTier"] == {"type": "flex"}
    both = as_request(first, {"service_tier": "default"}, {"requestMetadata": {"a": "b"}}).to_kwargs()
    assert (both["serviceTier"], both["requestMetadata"]) == ({"type": "default"}, {"a": "b"})


@pytest.mark.parametrize("prompt", [[], b"hi", 5, None, [""], ["hi", " "], [{"text": "\n"}, IMAGE]], ids=repr)
def test_what_is_no_prompt_is_refused(prompt):
    """Nothing is sent."""
    with pytest.raises(RequestError):
        as_request(prompt, {}, {})


# -- what is asked does not change -----------------------------------------------------------------


def scramble(node: Any) -> None:
    """Change every list and dict in here."""
    for value in list(node.values() if isinstance(node, dict) else node):
        if isinstance(value, dict | list | tuple):
            scramble(value)
    if isinstance(node, dict):
        node["scrambled"] = True
    elif isinstance(node, list):
        node.append("scrambled")


@pytest.mark.parametrize(
    "make",
    [
        lambda given: Request.from_kwargs(given),
        lambda given: Request(
            "m",
            given["messages"][2]["content"],
            messages=given["messages"],
            system=given["system"],
            stop=given["inferenceConfig"]["stopSequences"],
            tools=given["toolConfig"]["tools"],
            extra={"requestMetadata": given["requestMetadata"]},
        ),
        lambda given: Request("m", "x").after(given["messages"][1], "y"),
        lambda given: Request("m", "x").replace(messages=given["messages"], tools=given["toolConfig"]),
    ],
    ids=["from_kwargs", "init", "after", "replace"],
)
def test_what_was_given_may_change_afterwards(make):
    """A caller's lists and dicts go on their own way: messages that grow, settings that are reused."""
    given = copy.deepcopy(KWARGS)
    request = make(given)
    before = copy.deepcopy(request.to_kwargs())
    scramble(given)
    assert request.to_kwargs() == before


def test_what_was_handed_out_may_change_afterwards():
    """Arguments and turns are the caller's own: nothing done to them reaches the request."""
    request = Request.from_kwargs(KWARGS).replace(prompt=[{"text": "x"}])
    before = copy.deepcopy(request.to_kwargs())
    scramble(request.to_kwargs())
    scramble(request.conversation)
    assert request.to_kwargs() == before


def test_a_message_keeps_its_own_dicts():
    """A Message that went into a request shares nothing with it."""
    message = Message("assistant", (ToolUseBlock("1", "f", {"x": [1]}, '{"x": [1]}'),))
    request = Request("m", "hi", messages=[message])
    scramble(request.messages)
    assert message.content[0].input == {"x": [1]}  # type: ignore[union-attr]


def test_own_shares_what_cannot_change():
    """Images are not copied."""
    data = bytes(1000)
    copied = own({"a": [data, ("b", data)]})
    assert copied == {"a": [data, ("b", data)]}
    assert copied["a"][0] is copied["a"][1][1] is data


def test_a_plain_function_becomes_a_tool():
    """As `bedrock_nb.tool` makes it, alone or among others."""

    def area(width: float) -> float:
        """How large it is."""
        return width

    spec = nb.tool(area).spec
    assert Request("m", "hi", tools=area).to_kwargs()["toolConfig"] == {"tools": [spec]}
    request = Request("m", "hi", tools=[TOOL, area], tool_choice="area")
    assert request.to_kwargs()["toolConfig"]["tools"] == [TOOL, spec]


def test_a_request_is_frozen():
    """Settings change in copies only."""
    with pytest.raises(AttributeError):
        everything().model = "n"  # type: ignore[misc]


# -- bad input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "given", "wanted"),
    [
        ({"model": ""}, "model is ''", "model id"),
        ({"model": "  "}, "model is '  '", DEFAULT_MODEL),
        ({"model": None}, "model is None", "model id"),
        ({"model": 5}, "model is 5", "model id"),
        ({"prompt": ""}, "prompt is empty", "at least one word"),
        ({"prompt": " \n"}, "prompt is empty", "at least one word"),
        ({"prompt": []}, "prompt is empty", "at least one word"),
        ({"prompt": 5}, "prompt is an int", "text"),
        ({"prompt": b"hi"}, "prompt is bytes", "text"),
        ({"prompt": [5]}, "A part of the prompt is an int", "nb.image"),
        ({"prompt": ["hi", b"hi"]}, "A part of the prompt is bytes", "nb.image"),
        ({"prompt": None}, "no prompt", "one of them"),
        ({"prompt": None, "messages": []}, "no messages", "one of them"),
        ({"prompt": None, "messages": iter(())}, "no messages", "one of them"),
        ({"messages": "hi"}, "messages is 'hi'", "a list"),
        ({"messages": HI}, "messages is {'role': 'user'", "a list"),
        ({"messages": 5}, "messages is 5", "a list"),
        ({"messages": ["hi"]}, "A message is 'hi'", "'role': 'user'"),
        ({"messages": [{"role": "user"}]}, "A message is {'role': 'user'}", "'content'"),
        ({"messages": [None]}, "A message is None", "'content'"),
        ({"system": ""}, "system is empty", "None leaves it out"),
        ({"system": 5}, "system is an int", "text"),
        ({"system": [None]}, "A part of the system is None", "Give text"),
        ({"messages": [{"role": "user", "content": [5]}]}, "A part of the content is an int", "Give text"),
        ({"max_tokens": 0}, "max_tokens is 0", "whole number from 1"),
        ({"max_tokens": 1.5}, "max_tokens is 1.5", "whole number from 1"),
        ({"max_tokens": "5"}, "max_tokens is '5'", "whole number from 1"),
        ({"max_tokens": True}, "max_tokens is True", "whole number from 1"),
        ({"temperature": -0.1}, "temperature is -0.1", "from 0 to 1"),
        ({"temperature": 1.1}, "temperature is 1.1", "from 0 to 1"),
        ({"temperature": float("nan")}, "temperature is nan", "from 0 to 1"),
        ({"temperature": "hot"}, "temperature is 'hot'", "from 0 to 1"),
        ({"temperature": 1j}, "temperature is 1j", "from 0 to 1"),
        ({"top_p": 2}, "top_p is 2", "from 0 to 1"),
        ({"top_p": float("inf")}, "top_p is inf", "from 0 to 1"),
        ({"stop": ["a", 5]}, "stop is ('a', 5)", "texts"),
        ({"stop": [""]}, "stop is ('',)", "not empty"),
        ({"stop": ""}, "stop is ('',)", "not empty"),
        ({"stop": 5}, "stop is 5", "a list"),
        ({"tools": 5}, "tools is 5", "a list"),
        ({"tools": "f"}, "tools is 'f'", "a list"),
        ({"tools": [print]}, "A tool is <built-in function print>", "toolSpec"),
        ({"extra": 5}, "extra is 5", "dict"),
        ({"extra": {"inferenceConfig": 5}}, "extra is {'inferenceConfig': 5}", "inferenceConfig is a dict"),
        ({"extra": {"modelId": "m"}}, "modelId is in extra", "model=…"),
        ({"extra": {"messages": [HI]}}, "messages is in extra", "messages=…"),
        ({"extra": {"system": []}, "system": "s"}, "system is in extra", "system=…"),
        ({"extra": {"toolConfig": {}}, "tools": [TOOL]}, "toolConfig is in extra", "tools=…"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_bad_argument_is_named(arguments, given, wanted):
    """The error says what was given and what is wanted."""
    with pytest.raises(RequestError, match=re.escape(given)) as caught:
        Request(**{"model": "m", "prompt": "hi", **arguments})
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("kwargs", "given"),
    [
        (5, "The arguments are 5"),
        (None, "The arguments are None"),
        ([("modelId", "m")], "The arguments are [('modelId', 'm')]"),
        ({"modelId": "m", "messages": [HI], "inferenceConfig": 5}, "The arguments are"),
        ({"messages": [HI]}, "model is ''"),
        ({"modelId": "m"}, "no prompt"),
        ({"modelId": "m", "messages": [HI], "inferenceConfig": {"topP": 3}}, "top_p is 3"),
    ],
    ids=repr,
)
def test_bad_arguments_of_boto3_are_named(kwargs, given):
    """Also where they come as one dict."""
    with pytest.raises(RequestError, match=re.escape(given)):
        Request.from_kwargs(kwargs)


def test_an_alias_is_a_model():
    """What `models` has a short name for may be called by it."""
    assert Request("nova_lite", "hi").model == nb.models.resolve("nova_lite") != "nova_lite"
    assert Request("no_such_alias", "hi").model == "no_such_alias"


def test_what_a_model_cannot_do_is_not_sent():
    """Neither by the plain call nor by the streamed one; the client is never used."""
    asked = Request("us.amazon.nova-micro-v1:0", ["What is this?", IMAGE])

    class Client:
        """Has the methods of a client, and no server behind them."""

        def converse(self, **kwargs):
            raise AssertionError

        converse_stream = converse

    for ask in (asked.send, asked.stream):
        with pytest.raises(CapabilityError, match="nova-micro"):
            ask(Client())


def test_a_repr_is_short_and_tells_no_secrets():
    """Texts are cut, bytes are counted, account numbers and what botocore calls sensitive are left out."""
    request = Request(
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0",
        ["word " * 1000, {"image": {"format": "png", "source": {"bytes": bytes(5000)}}}],
        messages=[HI, HELLO] * 100,
        metadata={"who": "somebody"},
        prompt_variables={"city": "hidden"},
        extra={"additionalModelRequestFields": {"top_k": 20}},
        latency="optimized",
    )
    shown = repr(request)
    assert len(shown) < 1000
    assert shown.startswith("Request(model='arn:aws:bedrock:us-east-1:************:inference-profile/")
    assert all(word in shown for word in ("<5000 bytes>", "latency='optimized'", "'top_k': 20", "200 in all"))
    assert not any(word in shown for word in ("somebody", "hidden", "123456789012", "temperature"))
    assert "somebody" not in repr(Request("m", "hi", extra={"requestMetadata": {"who": "somebody"}}))


def test_a_long_argument_is_not_shown_whole():
    """An error is a sentence, not a page."""
    with pytest.raises(RequestError) as caught:
        Request("m", messages=["x" * 10_000])  # type: ignore[list-item]
    assert len(str(caught.value)) < 200


def test_a_request_is_one_attribute_away():
    """`bedrock_nb.Request` is this class."""
    assert nb.Request is Request


def test_empty_text_blocks_are_not_sent_back():
    """Models stream them now and then; Converse refuses them."""
    answer = {"role": "assistant", "content": [{"text": ""}, {"text": "hello"}]}
    turns = Request("m", "a").after(answer, "b").conversation
    assert turns[1] == {"role": "assistant", "content": [{"text": "hello"}]}


@pytest.mark.parametrize(
    ("prompt", "given", "extra", "said"),
    [
        (Request("m", "x"), {}, {"messages": [HI]}, "in one of them"),
        ([HI], {}, {"messages": [HI]}, "in one of them"),
        (HI, {}, {"messages": [HI]}, "in one of them"),
        ("x", {"model": "a"}, {"modelId": "b"}, "model and modelId"),
        ("x", {}, {"extra": {"serviceTier": {"type": "flex"}}}, "given by its own name"),
        ("x", {}, {"prompt": "y"}, "the argument after the client"),
    ],
    ids=["request", "messages", "message", "model", "extra", "prompt"],
)
def test_what_is_said_twice_is_refused(prompt, given, extra, said):
    """Neither of the two is dropped in silence."""
    with pytest.raises(RequestError, match=said):
        as_request(prompt, given, extra)


@pytest.mark.parametrize("client", [None, 5, "local"])
def test_send_wants_a_client(client):
    """As stream does."""
    with pytest.raises(RequestError, match="has no converse"):
        Request("m", "x").send(client)


def test_nothing_comes_after_no_answer():
    """A turn without content would be refused by the service."""
    with pytest.raises(RequestError, match="no content"):
        Request("m", "a").after(Message("assistant"), "b")
