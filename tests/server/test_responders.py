"""What the embedded model says, how it is cut into a stream, and responders that are made of others."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from bedrock_nb.content import add_assistant_message, add_user_message, document, image
from bedrock_nb.errors import RequestError
from bedrock_nb.events import Event, MessageStop, ReasoningSignature, TextDelta, ToolInputDelta
from bedrock_nb.message import ReasoningBlock, TextBlock, ToolUseBlock
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import Responder, by_model, call_tool, canned, echo, in_turn, recorded, scripted
from bedrock_nb.server.answers import ANSWERS, find
from bedrock_nb.server.refusal import Refusal
from bedrock_nb.server.samples import sample
from bedrock_nb.server.tokens import count


def tool(name: str, properties: dict | None = None) -> dict:
    schema = {"type": "object", "properties": properties or {"city": {"type": "string"}}}
    return {"toolSpec": {"name": name, "inputSchema": {"json": schema}}}


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Tell me about rainbows", "sunlight sorted by colour"),
        ("What is a rainbow?", "1. **Refraction**"),
        ("Write a haiku about streams", "Small stream over stones"),
        ("Write a haiku about rivers.", "Small stream over stones"),
        ("write a HAIKU about a rainbow", "every drop"),
        ("Explain streaming in one paragraph", "**Streaming** means"),
        ("Count from 1 to 20", "18, 19, 20."),
        ("Please count from 3 down to 1!", "3, 2, 1."),
        ("What is a token?", "unit in which a language model reads"),
        ("What is TTFT?", "**Time to first token**"),
        ("Write a short story about a lighthouse", "hundred and twelve steps"),
        ("List the planets", "| 8 | Neptune |"),
        ("Write a Python function that adds two numbers", "```python"),
        ("Why is the sky blue?", "Rayleigh"),
        ("What is Amazon Bedrock?", "**ConverseStream**"),
        ("hello", "Hello!"),
        ("Hi there!", "Hello!"),
    ],
)
def test_the_prompts_of_the_lessons_have_answers(prompt, words):
    """Each has its own text, whatever the capitals and the signs around the words."""
    recording = canned(Request(prompt=prompt))
    assert words in recording.text
    assert recording.stop_reason == "end_turn"
    assert recording.status == "complete"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("What's streaming?", "**Streaming** means"),
        ("Hi, please tell me about rainbows!", "sunlight sorted by colour"),
        ("Never mind. Tell me about rainbows", "sunlight sorted by colour"),
        ("I have 12 questions. Count from 2 to 4.", "2, 3, 4."),
        ("What is the latency?", "**Time to first token**"),
        ("Explain time to first token (TTFT) briefly", "**Time to first token**"),
        ("How do rainbows form?", "sunlight sorted by colour"),
        ("List the planets of the solar system.", "| 8 | Neptune |"),
        ("Good morning, Ada Lovelace", "Hello!"),
        ("hello", "Hello!"),
        ("hey there", "Hello!"),
        ("Hi!!!", "Hello!"),
    ],
)
def test_a_sentence_about_a_thing_and_nothing_else_is_answered(prompt, words):
    """Words that merely ask may stand around it, and other sentences before and after it."""
    assert words in canned(Request(prompt=prompt)).text


@pytest.mark.parametrize(
    "prompt",
    [
        "latency of light",
        "What is the latency of light in glass?",
        "Hi, what is 2+2?",
        "Hello, can you translate this?",
        "Hey, who won the match?",
        "hi what",
        "Is a bedrock made of granite?",
        "I like the stream behind my house",
        "Write code for a rainbow table attack",
        "Tell me a story about dragons",
        "Which planets have rings?",
        "Count the words in this sentence",
        "How many tokens may I steal from the arcade?",
        "Add a function to my code that sends mail",
        "Paint the sky blue",
        "arn:aws:bedrock:us-east-1::foundation-model/m",
    ],
)
def test_a_word_that_is_only_mentioned_is_no_subject(prompt):
    """A prepared answer that does not fit is worse than none: the model says that it has none."""
    assert find(prompt) is None
    assert "no prepared answer" in canned(Request(prompt=prompt)).text


@pytest.mark.parametrize(
    ("prompt", "least", "most"),
    [("Tell me about rainbows", 120, 180), ("Write a short story about a lighthouse", 220, 290)],
)
def test_answers_are_as_long_as_the_lessons_need(prompt, least, most):
    """Long enough to watch, short enough to wait for."""
    assert least <= len((find(prompt) or "").split()) <= most


@pytest.mark.parametrize(
    ("turns", "words"),
    [
        (["My name is Ada."], "Nice to meet you, Ada."),
        (["Hello, my name is Ada!"], "Nice to meet you, Ada."),
        (["What is my name?"], "I do not know your name"),
        (["My name is Ada.", "What is my name?"], "Your name is Ada."),
        (
            ["My name is Ada.", "Hello", "My name is Grace.", "And what's my name again?"],
            "Your name is Grace.",
        ),
        (["Hi. My name is Ada. Tell me about rainbows"], "sunlight sorted by colour"),
        (["My name is Ada.", "What is the meaning of my name?"], "no prepared answer"),
        (["My name is Ada and 2+2 is what?"], "no prepared answer"),
        (["my name is not important"], "no prepared answer"),
    ],
)
def test_a_name_is_known_to_a_request_that_has_the_turn_with_it(turns, words):
    """A conversation can be told from single questions, as with a model that understands."""
    messages: list[dict] = []
    for turn in turns:
        add_user_message(messages, turn)
        recording = canned(Request(messages=tuple(messages)))
        add_assistant_message(messages, recording.message)
    assert words in recording.text


def test_a_name_in_the_system_prompt_is_known_too():
    """What every request has is never forgotten; a name that the user gives later goes before it."""
    system = "Be brief. The user's name is Ada."
    assert canned(Request(prompt="What is my name?", system=system)).text == "Your name is Ada."
    turns = [{"role": "user", "content": "My name is Grace."}, {"role": "assistant", "content": "Hello."}]
    asked = Request(messages=tuple(turns), prompt="What is my name?", system=system)
    assert canned(asked).text == "Your name is Grace."


def test_what_comes_with_a_prompt_is_named():
    """A model that cannot see says what came to it, so that one sees a picture or a document arrive."""
    picture = Image.new("RGB", (30, 20))
    files = [image(picture), image(picture, "jpeg"), document(b"Tides.", "notes", "txt")]
    text = canned(Request(prompt=["What is this?", *files])).text
    assert "a picture (png, 30 by 20 pixels) and a picture (jpeg) and the document 'notes' (txt)" in text


def test_every_key_finds_its_own_row():
    """No row of the table stands in the shadow of another."""
    for row in ANSWERS:
        for key in row.keys:
            found = find(key)
            assert found == (row.text(key) if callable(row.text) else row.text).strip(), key


def test_any_other_prompt_gets_an_honest_answer():
    """It says what it is, quotes the prompt and tells the way to a real model."""
    text = canned(Request(prompt="Please summarise the history of the Hanseatic League for me")).text
    assert "embedded model of bedrock_nb" in text
    assert '"Please summarise the history of the Hanseatic League…"' in text
    assert 'connect("aws")' in text
    assert 40 <= len(text.split()) <= 90


def test_a_very_long_prompt_is_known_by_its_end():
    """What is asked after a long text is found; that text itself is not searched for questions."""
    text = "This is a line of a log. " * 8_000
    assert find(f"{text}\nPlease count from 3 to 5!") == "3, 4, 5."
    assert find(f"Please count from 3 to 5!\n{text}") is None


def test_the_same_request_has_the_same_answer_to_the_byte():
    """Nothing depends on time or chance, and the cuts differ from prompt to prompt."""
    one, again = (
        canned(Request(prompt="Tell me about rainbows")),
        canned(Request(prompt="Tell me about rainbows")),
    )
    other = canned(Request(prompt="What is a rainbow?"))
    assert list(one) == list(again)
    assert one.text == other.text
    assert list(one) != list(other)


def test_a_chunk_is_not_a_token():
    """Deltas carry one to four tokens, unevenly, and the first one exactly one."""
    recording = canned(Request(prompt="Tell me about rainbows"))
    sizes = [count(event.text) for event in recording if isinstance(event, TextDelta)]
    assert sizes[0] == 1
    assert set(sizes) == {1, 2, 3, 4}
    assert sum(sizes) == recording.usage["outputTokens"]
    assert len(sizes) < sum(sizes)


def test_input_tokens_count_all_that_the_model_reads():
    """System prompt, earlier turns and tools count; ids and signatures do not."""
    turns = [
        {"role": "user", "content": [{"text": "one two"}]},
        {"role": "assistant", "content": [{"text": "three"}]},
        {"role": "user", "content": [{"text": "four"}]},
    ]
    usage = canned(Request(messages=turns, system="five six")).usage
    assert usage["inputTokens"] == 6
    assert usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert canned(Request(messages=turns, tools=[tool("clock")])).usage["inputTokens"] > 6


@pytest.mark.parametrize("limit", [1, 2, 10, 50])
def test_max_tokens_cuts_at_the_token(limit):
    """What is left is the beginning of the whole answer."""
    whole = canned(Request(prompt="Tell me about rainbows"))
    cut = canned(Request(prompt="Tell me about rainbows", max_tokens=limit))
    assert whole.text.startswith(cut.text)
    assert count(cut.text) == cut.usage["outputTokens"] == limit
    assert cut.stop_reason == "max_tokens"


def test_a_limit_that_is_just_enough_does_not_cut():
    """An answer of exactly maxTokens tokens ended by itself."""
    whole = canned(Request(prompt="Count from 1 to 5"))
    exact = canned(Request(prompt="Count from 1 to 5", max_tokens=whole.usage["outputTokens"]))
    assert (exact.text, exact.stop_reason) == (whole.text, "end_turn")


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (["3"], "1, 2, "),
        (["4", "2"], "1, "),
        (["2, 3", "2,"], "1, "),
        (["1"], ""),
        (["zebra"], "1, 2, 3, 4, 5."),
    ],
)
def test_a_stop_sequence_ends_the_text_before_itself(stop, text):
    """The sequence that comes first counts; an answer that begins with it has no content at all."""
    recording = canned(Request(prompt="Count from 1 to 5", stop=stop))
    assert recording.text == text
    assert recording.stop_reason == ("end_turn" if stop == ["zebra"] else "stop_sequence")
    assert bool(recording.message.content) is bool(text)


def test_the_limit_comes_before_a_stop_sequence_that_is_not_reached():
    """What would have stopped the answer later does not count."""
    recording = canned(Request(prompt="Count from 1 to 5", stop=["5"], max_tokens=3))
    assert recording.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, True),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"reasoning_config": {"type": "enabled"}}, True),
        ({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"top_k": 5}, False),
        ({}, False),
    ],
)
def test_reasoning_comes_first_where_it_was_asked_for(fields, reasons):
    """A block of reasoning with a signature stands before the text, and counts as output."""
    request = Request(prompt="Tell me about rainbows", extra={"additionalModelRequestFields": fields})
    message = canned(request).message
    kinds = [type(block) for block in message.content]
    assert kinds == ([ReasoningBlock, TextBlock] if reasons else [TextBlock])
    if reasons:
        assert isinstance(message.content[0], ReasoningBlock)
        assert message.content[0].signature
        assert canned(request).usage["outputTokens"] == count(message.text) + count(message.reasoning)


def test_reasoning_that_is_cut_has_no_signature():
    """A model that was stopped while it was thinking has not signed."""
    fields = {"additionalModelRequestFields": {"thinking": {"type": "enabled"}}}
    recording = canned(Request(prompt="Tell me about rainbows", max_tokens=4, extra=fields))
    assert [type(block) for block in recording.message.content] == [ReasoningBlock]
    assert not any(isinstance(event, ReasoningSignature) for event in recording)
    assert recording.stop_reason == "max_tokens"


@pytest.mark.parametrize(
    ("prompt", "choice", "names"),
    [
        ("Use get_weather for Rome", None, ["get_weather"]),
        ("What is the weather in Rome?", None, ["get_weather"]),
        ("What is the weather, and what does the clock say?", {"auto": {}}, ["get_weather", "readClock"]),
        ("Tell me about rainbows", None, []),
        ("Tell me about rainbows", {"any": {}}, ["get_weather"]),
        ("Read the clock", {"any": {}}, ["readClock"]),
        ("Tell me about rainbows", {"tool": {"name": "readClock"}}, ["readClock"]),
    ],
)
def test_a_tool_is_asked_for_when_the_prompt_speaks_of_it_or_the_choice_forces_it(prompt, choice, names):
    """Its words in the prompt are enough; without them and without force the model answers in text."""
    config = {"tools": [tool("get_weather"), tool("readClock")], **({"toolChoice": choice} if choice else {})}
    recording = canned(Request(prompt=prompt, tools=config))
    assert [use.name for use in recording.message.tool_uses] == names
    assert recording.stop_reason == ("tool_use" if names else "end_turn")


def test_a_tool_request_streams_its_input_in_fragments():
    """The fragments join to the JSON of the input, and the id has Bedrock's form."""
    recording = canned(Request(prompt="What is the weather in New York?", tools=[tool("get_weather")]))
    fragments = [event.fragment for event in recording if isinstance(event, ToolInputDelta)]
    (use,) = recording.message.tool_uses
    assert len(fragments) > 1
    assert json.loads("".join(fragments)) == use.input == {"city": "New York"}
    assert use.id.startswith("tooluse_")
    assert len(use.id) == 30


def test_a_tool_request_that_is_cut_stays_cut():
    """Broken input is kept as it is, as a model that ran out of tokens would leave it."""
    config = {"tools": [tool("get_weather")], "toolChoice": {"any": {}}}
    recording = canned(Request(prompt="Weather in Rome", tools=config, max_tokens=2))
    (use,) = recording.message.tool_uses
    assert isinstance(use, ToolUseBlock)
    assert use.input is None
    assert recording.stop_reason == "max_tokens"


def test_a_tools_result_is_put_into_words():
    """Text and JSON are quoted, and an error is called one."""
    turns: list[dict] = [
        {"role": "user", "content": [{"text": "What is the weather in Rome?"}]},
        {
            "role": "assistant",
            "content": [
                {"toolUse": {"toolUseId": "a", "name": "get_weather", "input": {}}},
                {"toolUse": {"toolUseId": "b", "name": "get_weather", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "toolResult": {
                        "toolUseId": "a",
                        "content": [{"json": {"sky": "clear"}}, {"text": "20 °C"}],
                    }
                },
                {"toolResult": {"toolUseId": "b", "content": [{"text": "no route"}], "status": "error"}},
            ],
        },
    ]
    recording = canned(Request(messages=turns, tools=[tool("get_weather")]))
    assert recording.text == 'The tool returned: {"sky": "clear"} 20 °C\n\nThe tool failed and said: no route'
    assert recording.stop_reason == "end_turn"


def test_the_same_question_later_in_a_conversation_has_another_tool_id():
    """Ids are unique in a conversation, and still follow from the request."""
    ask = {"role": "user", "content": [{"text": "weather in Rome"}]}
    said = {"role": "assistant", "content": [{"text": "Later."}]}
    first = canned(Request(messages=[ask], tools=[tool("weather")])).message.tool_uses
    later = canned(Request(messages=[ask, said, ask], tools=[tool("weather")])).message.tool_uses
    assert first[0].id != later[0].id


@pytest.mark.parametrize(
    ("schema", "prompt", "value"),
    [
        ({"type": "string"}, "weather in Paris", "Paris"),
        ({"type": "string"}, "Weather please", "example"),
        ({"type": "string"}, "Can I go?", "example"),
        ({"type": "string", "format": "date"}, "in Paris", "2026-01-31"),
        ({"type": "string", "enum": ["C", "fahrenheit"]}, "in fahrenheit", "fahrenheit"),
        ({"enum": [1, 2]}, "x", 1),
        ({"const": "yes"}, "x", "yes"),
        ({"type": "integer"}, "the last 7 days", 7),
        ({"type": "integer", "minimum": 3}, "x", 3),
        ({"type": "number"}, "by 2.5", 2.5),
        ({"type": "number", "default": "odd"}, "x", 1),
        ({"type": "boolean"}, "x", True),
        ({"type": "null"}, "x", None),
        ({"type": ["integer", "null"]}, "x", 1),
        ({"type": "array", "items": {"type": "integer"}}, "take 4", [4]),
        ({"type": "array", "maxItems": 0}, "x", []),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "take 4", 4),
        ({"type": "object"}, "x", {}),
        ({"properties": {"a": {"type": "number"}, "b": {"type": "number"}}}, "add 2 and 3", {"a": 2, "b": 3}),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}, "9", 9),
        ({"type": "string"}, "9" * 4000, "example"),
    ],
)
def test_a_tools_input_fits_its_schema(schema, prompt, value):
    """Values come from the prompt where it has any that fit."""
    assert sample(schema, prompt) == value


def test_a_schema_that_refers_to_itself_ends():
    """A recursive schema gives a value of limited depth."""
    schema = {"type": "object", "properties": {"child": {"$ref": "#"}}}
    assert "child" in sample(schema, "x")


def test_a_responder_of_ones_own_needs_only_a_text():
    """`recorded` does the streaming: deltas, limits, usage, and the settings that come back."""
    request = Request(prompt="?", max_tokens=3, extra={"serviceTier": {"type": "flex"}})
    recording = recorded(request, "one two three four")
    assert recording.text == "one two three"
    assert recording.metadata is not None
    assert recording.metadata.service_tier == {"type": "flex"}
    assert [event.reason for event in recording if isinstance(event, MessageStop)] == ["max_tokens"]


@pytest.mark.parametrize("prompt", ["\ud800 alone", "🌈" * 100, "x" * 100_000, '"quotes" \\ and \n lines'])
def test_odd_prompts_are_answered_too(prompt):
    """No prompt is too strange for an answer."""
    assert "embedded model" in canned(Request(prompt=prompt)).text


# -- responders ------------------------------------------------------------------------------------


def ask(prompt: str = "?", model: str = "m") -> Request:
    return Request(prompt=prompt, model=model)


def asking(respond: Responder, request: Request | None = None) -> Recording:
    """The whole answer of a responder that has it at once."""
    given = respond(request or ask())
    assert isinstance(given, Recording)
    return given


def at_once(respond: Responder, number: int) -> list[str]:
    """The answers to so many requests that are asked by eight threads together."""
    together = threading.Barrier(8)

    def answer(i: int) -> str:
        if i < 8:
            together.wait(30)
        return asking(respond).text

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(answer, range(number)))


@pytest.mark.parametrize("prompt", ["One two.", " spaces  inside ", "\n\nlines\n", "\ud800", "🌈"])
def test_echo_says_the_prompt_again(prompt):
    """To the letter: its content and its length are known beforehand."""
    assert echo(ask(prompt)).text == prompt


def test_echo_has_words_for_a_prompt_without_text():
    """A picture alone cannot be said again."""
    image = {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}}
    assert echo(Request(prompt=[image])).text == "(no text)"


def test_scripted_says_one_thing_after_another():
    """Text, blocks, a recording, another responder; after the last, the last again."""
    ready = recorded(ask("other"), "A recording.")
    blocks = [ReasoningBlock("Hm.", "s"), TextBlock("Blocks.")]
    respond = scripted("Text.", blocks, ready, echo)
    answers = [asking(respond, ask("Say this.")) for _ in range(5)]
    assert [answer.text for answer in answers] == [
        "Text.",
        "Blocks.",
        "A recording.",
        "Say this.",
        "Say this.",
    ]
    assert answers[1].message.reasoning == "Hm."
    assert answers[2] is ready


def test_scripted_text_is_written_as_a_model_writes():
    """Limits of the request hold for it, and what cannot be honoured is refused."""
    assert asking(scripted("one two three four"), Request(prompt="?", max_tokens=2)).text == "one two"


def test_scripted_says_each_thing_once_to_threads_that_ask_together():
    """No two of them are given the same, and none is left out."""
    texts = [str(i) for i in range(100)]
    assert sorted(at_once(scripted(*texts), 100), key=int) == texts


def test_in_turn_goes_round():
    """After the last responder comes the first again."""
    respond = in_turn(scripted("a"), scripted("b"), scripted("c"))
    assert "".join(asking(respond).text for _ in range(7)) == "abcabca"


def test_in_turn_is_fair_to_threads_that_ask_together():
    """Each responder is asked as often as the others."""
    assert Counter(at_once(in_turn(scripted("a"), scripted("b")), 100)) == {"a": 50, "b": 50}


@pytest.mark.parametrize("make", [scripted, in_turn])
def test_responders_without_anything_to_say_are_not_made(make):
    """The mistake is told where it is made, and not at the first request."""
    with pytest.raises(RequestError, match="Give"):
        make()


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "claude"),
        ("amazon.nova-lite-v1:0", "nova lite"),
        ("amazon.nova-pro-v1:0", "nova"),
        ("AMAZON.NOVA-PRO-V1:0", "other"),
        ("amazon.nova", "other"),
        ("arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.anthropic.claude-x", "claude"),
        ("m", "other"),
    ],
)
def test_by_model_asks_the_first_pattern_that_fits(model, answer):
    """Patterns are those of file names, capitals count, and what fits none has a responder too."""
    patterns = {
        "*claude*": scripted("claude"),
        "amazon.nova-lite*": scripted("nova lite"),
        "amazon.nova-*": scripted("nova"),
    }
    assert asking(by_model(patterns, scripted("other")), ask(model=model)).text == answer


CLOCK = tool("clock", {"zone": {"type": "string"}})


def answered(*names: str) -> list[dict]:
    """A conversation in which these tools were asked for and have answered."""
    uses = [{"toolUse": {"toolUseId": name, "name": name, "input": {}}} for name in names]
    results = [{"toolResult": {"toolUseId": name, "content": [{"text": "noon"}]}} for name in names]
    return [
        {"role": "user", "content": [{"text": "What time is it?"}]},
        {"role": "assistant", "content": uses},
        {"role": "user", "content": results},
    ]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [(None, {"zone": "Paris"}), ({"zone": "UTC"}, {"zone": "UTC"}), ({}, {}), ({"odd": [1]}, {"odd": [1]})],
)
def test_call_tool_asks_for_the_tool(given, wanted):
    """With the input that it was given, whatever the schema says, or with one made up to fit."""
    request = Request(prompt="What time is it in Paris?", tools=[tool("other"), CLOCK])
    recording = asking(call_tool("clock", given), request)
    (use,) = recording.message.tool_uses
    assert (use.name, use.input) == ("clock", wanted)
    assert recording.stop_reason == "tool_use"


@pytest.mark.parametrize(
    ("then", "text"), [("It is noon.", "It is noon."), ([TextBlock("Blocks.")], "Blocks."), (None, "Done.")]
)
def test_call_tool_speaks_when_the_result_has_come(then, text):
    """The turn with the result is the last: the tool is not asked for again."""
    respond = call_tool("clock") if then is None else call_tool("clock", then=then)
    recording = asking(respond, Request(messages=answered("clock"), tools=[CLOCK]))
    assert (recording.text, recording.stop_reason) == (text, "end_turn")


def test_tools_can_be_called_one_after_the_other():
    """Responders go into one another: a script of tools, and of what is said about their results."""
    respond = scripted(call_tool("clock"), call_tool("other", then=canned))
    first = asking(respond, Request(prompt="Now?", tools=[CLOCK, tool("other")]))
    second = asking(respond, Request(messages=answered("clock"), tools=[CLOCK]))
    assert [use.name for use in first.message.tool_uses] == ["clock"]
    assert second.text == "The tool returned: noon"


@pytest.mark.parametrize("tools", [None, [tool("other")]])
def test_call_tool_names_a_tool_that_is_not_offered(tools):
    """A mistake of the test that uses it, told as such, and as nothing that boto3 would try again."""
    with pytest.raises(Refusal, match="'clock', and the request offers none") as caught:
        call_tool("clock")(Request(prompt="?", tools=tools))
    assert caught.value.status == 400


def test_the_id_of_a_tool_call_is_another_later_in_the_conversation():
    """Ids follow from the request, so that a test may repeat, and are unique in a conversation."""
    first = Request(prompt="?", tools=[CLOCK])
    later = first.replace(
        messages=[*answered("clock")[:1], {"role": "assistant", "content": [{"text": "No."}]}]
    )
    ids = [asking(call_tool("clock"), request).message.tool_uses[0].id for request in (first, first, later)]
    assert ids[0] == ids[1] != ids[2]


def test_responders_are_called_what_they_are():
    """The status page and the errors name them."""
    made = (scripted("x"), in_turn(echo), call_tool("x"), by_model({}, echo))
    assert [respond.__name__ for respond in made] == ["scripted", "in_turn", "call_tool", "by_model"]


def test_joined_responders_pass_generators_on():
    """What is asked may be a generator: nobody takes an event of it before it is performed."""
    taken = []

    def live(request: Request) -> Iterator[Event]:
        taken.append(request)
        yield TextDelta(0, "x")

    for respond in (scripted(live), in_turn(live), by_model({"*": live}, echo)):
        given = respond(ask())
        assert not isinstance(given, Recording)
        assert not taken
        assert list(given) == [TextDelta(0, "x")]
        taken.clear()


@pytest.mark.parametrize(
    ("schema", "prompt", "value"),
    [
        ({"type": "integer", "minimum": 5, "maximum": 7}, "take 100", 7),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "9", 1),
        ({"type": "number", "exclusiveMinimum": 2}, "0", 2.5),
        ({"type": "integer", "multipleOf": 5}, "12", 15),
        ({"type": "integer", "multipleOf": 5, "maximum": 14}, "12", 10),
        ({"type": "string", "minLength": 12}, "", "examplexxxxx"),
        ({"type": "string", "maxLength": 3}, "", "exa"),
        ({"type": "array", "minItems": 3, "items": {"type": "integer"}}, "1 2 3", [1, 2, 3]),
        (
            {"allOf": [{"required": ["a"]}, {"properties": {"b": {"type": "null"}}}]},
            "",
            {"b": None, "a": "example"},
        ),
        ({"type": "object", "required": ["z"]}, "", {"z": "example"}),
        ({"type": "boolean", "default": "x"}, "", True),
    ],
)
def test_a_sample_keeps_the_limits_of_its_schema(schema, prompt, value):
    """Numbers, lengths, counts and what is required."""
    assert sample(schema, prompt) == value
