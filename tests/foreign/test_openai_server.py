"""A real model server behind the embedded Bedrock: llama.cpp's own, on a tiny model of random weights.

What the model says is nonsense. That it is handed on whole, obeys the request's settings, and stops when
nobody wants it any more, is what is tested: boto3 > the embedded Bedrock > OpenAI's API > llama.cpp.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

import bedrock_nb as nb
from bedrock_nb import errors
from bedrock_nb.check import check
from bedrock_nb.events import TextDelta
from bedrock_nb.server import BedrockServer, Latency
from bedrock_nb.server.openai_chat import openai

HERE = Path(__file__).parent
PYTHON = Path(os.environ.get("BEDROCK_NB_FOREIGN_PYTHON") or HERE.parents[1] / ".venv-foreign/bin/python")
#: The model's answers end now and then by themselves; with this they do not.
ENDLESS = {"ignore_eos": True}
#: What it is called: nobody knows what such a model can do, so all is tried.
MODEL = "local.random"
#: Numbers of two of its tokens: the end of an answer, the beginning of a tool call.
END, CALL = 2, 7
TOOL: dict = {
    "toolSpec": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "inputSchema": {
            "json": {
                "type": "object",
                "properties": {"city": {"enum": ["Rome", "Oslo"]}},
                "required": ["city"],
            }
        },
    }
}


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """The URL of llama.cpp's server."""
    if not PYTHON.exists():
        missing = f"there is no {PYTHON} with what llama/requirements.txt lists"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    command = [str(PYTHON), str(HERE / "llama" / "serve.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        line = process.stdout.readline()
        assert line, f"{command} ended before it was ready; run it by hand to see why"
        yield json.loads(line)["url"]
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.fixture(scope="module")
def client(llama) -> Iterator:
    with BedrockServer(openai(llama, model="tiny"), latency=Latency.none()) as server:
        made = server.client()
        yield made
        made.close()


def ask(client, prompt="Tell me about rainbows", fields=None, **settings):
    """Stream an answer."""
    return nb.stream(
        client, prompt, **settings, **({"additionalModelRequestFields": fields} if fields else {})
    )


def slots(llama: str) -> list[dict]:
    """What the server is doing: one for each answer that it can give at a time."""
    with urlopen(llama.removesuffix("/v1") + "/slots", timeout=20) as response:
        return json.load(response)


@pytest.mark.parametrize(
    "prompt",
    ["Hi", "Tell me about rainbows", "Größe? 🌈 {}", "many words " * 100, [{"text": "a"}, {"text": "b"}]],
)
def test_an_answer_is_streamed_and_sound(client, prompt):
    """Text comes token by token, with the counts of a real tokenizer and no broken rule."""
    reply = ask(client, prompt, ENDLESS, max_tokens=40)
    assert len(reply.text) >= 40
    assert sum(isinstance(event, TextDelta) for event in reply.recording) > 10
    assert reply.stop_reason == "max_tokens"
    assert not check(reply)


@pytest.mark.parametrize("limit", [1, 2, 17])
def test_the_limit_of_tokens_is_kept(client, limit):
    """To the token, by the server's own count."""
    reply = ask(client, fields=ENDLESS, max_tokens=limit)
    assert (reply.usage["outputTokens"], reply.stop_reason) == (limit, "max_tokens")


@pytest.mark.parametrize("fields", [{"seed": 7}, {"seed": 8}])
def test_a_seed_repeats_an_answer(client, fields):
    """Model fields reach the server: the same seed has the same answer, and another has another."""
    texts = [ask(client, fields={**ENDLESS, **fields}, max_tokens=40).text for _ in range(3)]
    other = ask(client, fields={**ENDLESS, "seed": 9}, max_tokens=40).text
    assert len(set(texts)) == 1
    assert other not in texts


def test_temperature_0_repeats_an_answer(client):
    """Whatever the seed."""
    texts = {
        ask(client, fields={**ENDLESS, "seed": seed}, max_tokens=40, temperature=0).text for seed in range(4)
    }
    assert len(texts) == 1


def test_tokens_are_those_that_the_server_counts(llama, client):
    """Read from its own count of the same prompt, what came from its cache included."""
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Count me."}], "max_tokens": 3}
    with urlopen(f"{llama}/chat/completions", json.dumps(body).encode(), timeout=20) as response:
        counted = json.load(response)["usage"]
    usage = ask(client, "Count me.", ENDLESS, max_tokens=3).usage
    asked = usage["inputTokens"] + usage.get("cacheReadInputTokens", 0)
    assert asked == counted["prompt_tokens"] == len("Count me.") + 4  # a token a character, and four marks
    assert usage["totalTokens"] == asked + 3


def test_a_stop_sequence_ends_the_answer_before_itself(client):
    """Taken from an answer that is known, as temperature 0 repeats it."""
    whole = ask(client, fields=ENDLESS, max_tokens=40, temperature=0).text
    reply = ask(client, fields=ENDLESS, max_tokens=40, temperature=0, stop=[whole[20:23]])
    assert whole.startswith(reply.text)
    assert len(reply.text) == whole.index(whole[20:23])
    assert reply.stop_reason in ("end_turn", "stop_sequence")  # llama.cpp does not say which it was


def test_an_answer_that_ends_by_itself_says_so(client):
    """The end token, made likely."""
    reply = ask(client, fields={"logit_bias": [[END, 100]]}, max_tokens=40)
    assert (reply.text, reply.stop_reason) == ("", "end_turn")


def test_a_system_prompt_and_earlier_turns_are_read(client):
    """Each adds its tokens, and the conversation goes on from an answer of the model itself."""
    first = ask(client, "Hello", ENDLESS, max_tokens=10)
    alone = first.usage["totalTokens"] - 10
    with_system = ask(client, "Hello", ENDLESS, max_tokens=10, system="Be brief.").usage["totalTokens"] - 10
    assert with_system == alone + len("Be brief.") + 2
    fields = {"additionalModelRequestFields": ENDLESS}
    request = nb.Request(prompt="Hello", max_tokens=10, extra=fields).after(first, "And then?")
    second = nb.stream(client, request)
    assert second.usage["totalTokens"] - 10 == alone + len(first.text) + len("And then?") + 4


def test_a_forced_tool_call_fits_its_schema(client):
    """llama.cpp's grammar lets even random weights write it; it arrives in fragments, and may come twice."""
    likely = {"logit_bias": [[CALL, 100], [END, 200]]}  # a call, and then most likely the end
    tools = {"tools": [TOOL], "toolChoice": {"any": {}}}
    reply = ask(client, "Weather?", likely, tools=tools, max_tokens=200)
    uses = reply.message.tool_uses
    assert {use.name for use in uses} == {"get_weather"}
    assert all(use.input in ({"city": "Rome"}, {"city": "Oslo"}) for use in uses)
    assert reply.stop_reason == "tool_use"
    assert not check(reply)
    results = [{"toolResult": {"toolUseId": use.id, "content": [{"text": "Sunny."}]}} for use in uses]
    turns = [
        {"role": "user", "content": [{"text": "Weather?"}]},
        reply.message.to_dict(),
        {"role": "user", "content": results},
    ]
    answer = nb.stream(client, turns, tools=[TOOL], max_tokens=10, additionalModelRequestFields=ENDLESS)
    assert answer.usage["outputTokens"] == 10


def test_an_answer_in_json_fits_its_schema(client):
    """outputConfig reaches the grammar too."""
    schema = json.dumps(TOOL["toolSpec"]["inputSchema"]["json"])
    format = {"type": "json_schema", "structure": {"jsonSchema": {"schema": schema, "name": "place"}}}
    reply = nb.stream(client, "Where?", model=MODEL, max_tokens=100, outputConfig={"textFormat": format})
    assert json.loads(reply.text)["city"] in ("Rome", "Oslo")
    assert reply.stop_reason == "end_turn"


def test_a_reply_that_is_closed_frees_the_server(llama, client):
    """It stops writing, long before the answer's end."""
    reply = ask(client, fields=ENDLESS, model=MODEL, max_tokens=30_000)
    events = iter(reply)
    next(events), next(events)
    reply.close()
    while any(slot["is_processing"] for slot in slots(llama)):  # the time limit of tests is the limit
        pass
    last = max(slots(llama), key=lambda slot: slot.get("id_task", -1))
    assert last["params"]["max_tokens"] == 30_000
    assert last["n_prompt_tokens"] < 30_000  # the prompt, and what was written after it
    assert ask(client, fields=ENDLESS, max_tokens=1).usage["outputTokens"] == 1


def test_what_the_server_refuses_boto3_raises(client):
    """With the server's own words."""
    with pytest.raises(errors.ValidationError, match="temperature"):
        ask(client, fields={"temperature": "hot"}).text  # noqa: B018
    with pytest.raises(errors.ValidationError, match="context"):
        ask(client, "too much " * 5000).text  # noqa: B018
