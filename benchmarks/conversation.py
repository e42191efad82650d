"""CPU time of `Conversation.stream` over `stream`, for one long reply without tools, in the same run.

    python benchmarks/conversation.py [--deltas 20000] [--rounds 15]

Both iterate every event of the same bytes from the same server; rounds alternate; the medians of CPU time
are compared. The turn is taken back after each round, so that the history does not grow.
"""

from __future__ import annotations

import argparse
from typing import Any

from drain import measure
from raw_server import http_response, serving, text_reply

import bedrock_nb as nb
from bedrock_nb.server import loopback_client

GOAL = 1.10


def one_call(client: Any) -> int:
    return sum(1 for _ in nb.stream(client, "hi", model="m"))


def one_turn(chat: nb.Conversation) -> int:
    events = sum(1 for _ in chat.stream("hi"))
    chat.undo()
    return events


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--deltas", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    frames = text_reply(options.deltas)
    with serving(http_response(frames)) as url:
        client = loopback_client(url)
        chat = nb.Conversation(client, model="m")
        ways = {"nb.stream": lambda: one_call(client), "Conversation.stream": lambda: one_turn(chat)}
        assert {way() for way in ways.values()} == {len(frames) + 1}, "both must see every event"
        cpu = measure(ways, options.rounds)
    base = cpu["nb.stream"]
    print(f"{len(frames):,} events, median of {options.rounds} rounds")
    for name, seconds in cpu.items():
        print(f"  {name:20} {seconds * 1e6 / len(frames):7.2f} us/event   {seconds / base:5.3f} of nb.stream")
    print(f"  goal: at most {GOAL:.2f}")


if __name__ == "__main__":
    main()
