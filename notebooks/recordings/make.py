"""Make the recordings that lessons 7 and 8 and the gallery ship: real streams, of models that are not.

    python notebooks/recordings/make.py

Each was streamed by boto3 from an embedded Bedrock and timed on the wire; only the models are made up, each
played by a latency law that is written here, so that nobody quotes these numbers as a real model's. Run it
on a machine that does nothing else. `rainbows.jsonl` and `rainbows-in-bursts.jsonl`, whose numbers lesson 2
prints, are not made again.
"""

from __future__ import annotations

import random
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import bedrock_nb as nb
from bedrock_nb.errors import StreamError
from bedrock_nb.message import TextBlock, ToolUseBlock
from bedrock_nb.server import BedrockServer, Latency, faults, scripted

HERE = Path(__file__).parent
TOPICS = [
    "rainbows",
    "streaming",
    "tides",
    "bread",
    "bees",
    "glass",
    "bridges",
    "snow",
    "maps",
    "clocks",
]
#: Three models, each played by a law: a quick starter, a quick writer, and one that sends in bursts.
MODELS = {
    "local.swift": Latency(
        0.15,
        0.012,
        jitter=0.4,
        ttft_jitter=0.25,
        per_input_token=0.0004,
        stall=0.3,
        stall_chance=0.002,
        seed=1,
    ),
    "local.heron": Latency(0.30, 0.006, jitter=0.3, ttft_jitter=0.3, per_input_token=0.0002, seed=2),
    "local.tortoise": Latency(
        0.28, 0.012, jitter=0.3, ttft_jitter=0.2, per_input_token=0.0005, burst=6, seed=3
    ),
}
REPEATS = 4
LEVELS = (1, 2, 4, 6, 8, 12, 16, 24)
SLOTS = 6


def folder(name: str) -> Path:
    """A folder beside this file, empty."""
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    return path


def models() -> None:
    """Three models, ten prompts of three lengths, four times each, in an order drawn by lot."""
    here = folder("models")
    servers = {model: BedrockServer(latency=law).start() for model, law in MODELS.items()}
    clients = {model: server.client() for model, server in servers.items()}
    plan = [
        (model, number, repeat)
        for repeat in range(1, REPEATS + 1)
        for number in range(len(TOPICS))
        for model in MODELS
    ]
    random.Random(7).shuffle(plan)
    for model, number, repeat in plan:
        background = "Light bends where it enters glass. " * (0, 12, 60)[number % 3]
        prompt = f"{background}Explain {TOPICS[number]} to a class"
        # Two of swift's replies break off, as replies do.
        broken = model == "local.swift" and (number, repeat) in ((4, 2), (7, 3))
        with servers[model].fault([faults.cut(after=4)]) if broken else nullcontext():
            reply = nb.stream(
                clients[model],
                prompt,
                model=model,
                max_tokens=(16, 40, 80)[(number // 3) % 3],
                labels={"prompt": f"p{number:02}", "repeat": repeat},
            )
            try:
                reply.drain()
            except StreamError as err:
                print(f"{model} p{number:02}-{repeat}: {type(err).__name__}")
        reply.recording.save(here / f"{model.removeprefix('local.')}-p{number:02}-{repeat}.jsonl")
    for server in servers.values():
        server.close()


def load() -> None:
    """One server with six places, asked by 1 to 24 at once: two answers each, after one to warm up."""
    here = folder("load")
    law = Latency(0.12, 0.01, jitter=0.2, ttft_jitter=0.15, slots=SLOTS, seed=4)
    for level in LEVELS:
        with BedrockServer(latency=law) as server, ThreadPoolExecutor(level) as users:
            clients = [server.client() for _ in range(level)]

            def ask(number: int, level: int = level, clients: list = clients) -> nb.Reply:
                return nb.stream(
                    clients[number], "Count from 1 to 20", max_tokens=12, labels={"concurrency": level}
                ).drain()

            def user(number: int) -> list[nb.Recording]:
                return [ask(number).recording for _ in range(2)]

            list(users.map(ask, range(level)))
            for number, pair in enumerate(users.map(user, range(level))):
                for turn, recording in enumerate(pair):
                    recording.save(here / f"{level:02}-{number:02}-{turn}.jsonl")


def singles() -> None:
    """One of each kind: with reasoning, cut, failed, cancelled, read late, sent in bursts."""
    law = Latency(0.3, 0.015, jitter=0.5, seed=5)
    with BedrockServer(latency=law) as server:
        client = server.client()

        def ask(prompt: str = "Explain rainbows to a class", **options) -> nb.Reply:
            return nb.stream(client, prompt, **{"max_tokens": 90, **options})

        thinking = ask(
            model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 1024}},
            max_tokens=2000,
        )
        thinking.drain().recording.save(HERE / "thinking.jsonl")
        for name, fault in {
            "failed": faults.exception("throttlingException", after=20),
            "cut": faults.cut(after=30),
        }.items():
            with server.fault([fault]):
                reply = ask()
                try:
                    reply.drain()
                except StreamError as err:
                    print(f"{name}: {type(err).__name__}")
                reply.recording.save(HERE / f"{name}.jsonl")
        reply = ask()
        for number, _ in enumerate(reply):
            if number == 25:
                reply.cancel()
        reply.recording.save(HERE / "cancelled.jsonl")
        reply = ask()
        for number, _ in enumerate(reply):
            if number % 9 == 8:
                time.sleep(0.15)  # work between two events: the reader is late
        reply.recording.save(HERE / "late-reader.jsonl")
    with BedrockServer(latency=Latency(0.3, 0.015, jitter=0.3, burst=5, seed=5)) as server:
        reply = nb.stream(server.client(), "Explain rainbows to a class", max_tokens=90)
        reply.drain().recording.save(HERE / "in-bursts.jsonl")


@nb.tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    time.sleep(0.35)
    return f"21 degrees in {city}"


@nb.tool
def get_tides(place: str) -> str:
    """When the water is high."""
    time.sleep(0.6)
    return f"high water in {place} at 14:20"


def turn() -> None:
    """One turn with tools: two rounds, so two recordings."""
    calls = [
        ToolUseBlock("call-1", "get_weather", {"city": "Brest"}, '{"city": "Brest"}'),
        ToolUseBlock("call-2", "get_tides", {"place": "Brest"}, '{"place": "Brest"}'),
    ]
    said = scripted(
        [TextBlock("I look it up. "), *calls], "Mild, 21 degrees; high water is at 14:20, so go before lunch."
    )
    with BedrockServer(said, latency=Latency(0.25, 0.02, jitter=0.4, seed=6)) as server:
        chat = nb.Conversation(server.client(), tools=[get_weather, get_tides])
        for recording in chat.stream("May I swim in Brest today?").drain().recordings:
            recording.save(HERE / f"tools-{recording.labels['round']}.jsonl")


if __name__ == "__main__":
    models()
    load()
    singles()
    turn()
