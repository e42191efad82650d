"""Code as a user writes it, which type checkers accept and understand; nothing here is ever run.

Strategy: ``assert_type`` says what a checker must know of each value, so that a return type that becomes
vague, ``Any`` say, fails the check as loudly as a wrong one. `wrong_code` has the counterparts that must be
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, assert_type

import pandas as pd
from matplotlib.axes import Axes

import bedrock_nb as nb
from bedrock_nb.course.grading import Grade
from bedrock_nb.doctor import Checkup
from bedrock_nb.errors import IncompleteStreamError, StreamError, ThrottlingError
from bedrock_nb.events import Event, MessageStop, Metadata, TextDelta, ToolUse
from bedrock_nb.folder import Folder
from bedrock_nb.order import Problem
from bedrock_nb.server import BedrockServer, Cassette, Latency, Truth, echo, faults, ngram


def first_stream() -> str:
    """What lesson 0 does."""
    client = nb.connect(region="us-east-2", idle_timeout=60)
    reply = assert_type(
        nb.stream(client, "Tell me about rainbows", model="nova_lite", max_tokens=50), nb.Reply
    )
    assert_type(nb.live(reply), nb.Reply)
    assert_type(reply.message, nb.Message)
    assert_type(reply.stop_reason, str | None)
    assert_type(reply.usage, dict[str, Any])
    assert_type(reply.problems, list[str])
    assert_type(nb.chat(client, "Once more"), str)
    return assert_type(reply.text, str)


def every_event(reply: nb.Reply) -> list[str]:
    """Each event has its class, and a match knows its fields."""
    said = []
    for event in reply:
        assert_type(event, Event)
        match event:
            case TextDelta(text=text):
                said.append(assert_type(text, str))
            case ToolUse(name=name):
                said.append(assert_type(name, str))
            case MessageStop() | Metadata():
                break
            case _:
                continue
    return said


def numbers(reply: nb.Reply, folder: Path) -> nb.Comparison:
    """Tables, plots, files and comparisons take replies, recordings, and folders of them."""
    assert_type(reply.recording, nb.Recording)
    assert_type(reply.recording.to_frame(), pd.DataFrame)
    assert_type(reply.recording.save(folder / "rainbows.jsonl"), Path)
    assert_type(nb.metrics.measure(reply.recording), dict[str, Any])
    for source in (reply, [reply, reply.recording], nb.Recording.load("rainbows.jsonl"), folder):
        assert_type(nb.summary(source), pd.DataFrame)
        assert_type(nb.events(source), pd.DataFrame)
        assert_type(nb.usage(source), pd.DataFrame)
    assert_type(nb.breakdown(reply), pd.DataFrame)
    assert_type(nb.plot.anatomy(reply), Axes)
    assert_type(nb.check(reply.recording), list[Problem])
    assert_type(nb.to_parquet(folder, "dataset"), Path)
    return nb.compare(assert_type(nb.load_folder(folder), Folder), by="model", metric="ttft_s")


def when_it_breaks(client: Any) -> str:
    """Errors carry the reply, and are a tree."""
    reply = nb.stream(client, "…", journal="journals", background=True, total_timeout=30)
    try:
        return reply.text
    except ThrottlingError as error:
        return f"{error.code}: {error.message}"
    except IncompleteStreamError as error:
        return assert_type(error.remedy, str)
    except StreamError:
        assert_type(reply.resume(), nb.Reply)
        return assert_type(reply.snapshot, nb.Message).text
    finally:
        reply.cancel()


@nb.tool
def weather(city: str, unit: Literal["C", "F"] = "C") -> str:
    """The weather in a city just now."""
    return f"21 {unit} in {city}"


def conversations(client: Any) -> nb.Turn:
    """Turns, tools, going back, costs, pictures."""
    chat = nb.Conversation(client, tools=[weather], system="Be short.", limits=nb.Limits(rounds=3))
    turn = assert_type(chat.stream("What is the weather in Paris?"), nb.Turn)
    assert_type(turn.replies, list[nb.Reply])
    assert_type(nb.tool_calls(turn), pd.DataFrame)
    assert_type(chat.fork(), nb.Conversation)
    assert_type(chat.messages, tuple[nb.Message, ...])
    nb.ChatPanel(chat)
    return nb.live(chat.stream([nb.image("map.png"), "What is this?"]))


def experiments(client: Any, prompts: list[str]) -> float | None:
    """Sweeps, load tests, races and their reports."""
    done = nb.sweep(client, prompts, grid={"temperature": [0, 1]}, repeats=3, budget=nb.Budget(tokens=5_000))
    result = nb.load_test(client, prompts, rate=[(30, 5), (30, (10, 40))], limits={"ttft_s": 1})
    assert_type(done, nb.Sweep)
    assert_type(result, nb.LoadResult)
    assert_type(result.stages, pd.DataFrame)
    assert_type(nb.race(client, "Explain rainbows", ["nova_lite", "nova_micro"]), nb.Race)
    assert_type(nb.report(done), Path)
    assert_type(nb.stats.interval([1.0, 2.0, 4.0]), nb.stats.Interval)
    return None


async def many_at_once(client: Any) -> nb.AsyncReply:
    """The same reply, for asyncio."""
    reply = nb.astream(client, "Tell me about rainbows")
    async for event in reply:
        assert_type(event, Event)
    return await reply.drain()


def servers() -> Truth:
    """Embedded servers: responders, laws, faults, cassettes, truth."""
    with BedrockServer(ngram(), latency=Latency(ttft=0.4, per_token=0.02, jitter=0.5)) as server:
        with server.fault([faults.cut(after=3), None]):
            nb.stream(server.client(), "Once upon a time").drain()
        truth = assert_type(server.truth("…"), Truth)
    with BedrockServer(Cassette("tapes", "new_episodes", then=echo)) as server:
        assert_type(server.endpoint_url, str)
    assert_type(truth.late_s, list[float])
    return truth


def lessons(reply: nb.Reply) -> Grade:
    """Guesses, grades, and what works here."""
    guess = nb.Guess(ttft_s=0.4, output_tps=60)
    assert_type(guess.check(reply), Axes)
    assert_type(guess.values, dict[str, float])
    checkup = assert_type(nb.doctor(aws=True), Checkup)
    assert_type(checkup["widgets"].status, Literal["ok", "note", "problem"])
    assert_type(checkup.ok, bool)
    return nb.grade("1.1", 3, 3, hints=("Count them.",))


def models(name: str) -> Mapping[str, Any]:
    """What a model can do; one that nobody knows may be able or not."""
    assert_type(nb.models.supports(name, "tools"), bool | None)
    return nb.models.capabilities(assert_type(nb.models.resolve(name), str))
