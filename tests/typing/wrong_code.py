"""Mistakes that a type checker has to find in a user's code; nothing here is ever run.

Strategy: each line is wrong in one way and says by which code it must be refused. An ignore that ignores
nothing is an error itself, so a line that the types let pass fails the check.
"""

from __future__ import annotations

from typing import Any

import bedrock_nb as nb
from bedrock_nb.server import BedrockServer, Latency, faults


def wrong(client: Any, reply: nb.Reply) -> None:
    """One mistake a line."""
    nb.stream()  # type: ignore[call-arg]
    nb.stream(client, "Hi", max_tokens="many")  # type: ignore[arg-type]
    nb.connect(concurrency="50")  # type: ignore[arg-type]
    nb.connect(regoin="us-east-2")  # type: ignore[call-arg]
    print(nb.chat(client, "Hi").message)  # type: ignore[attr-defined]
    nb.starem(client, "Hi")  # type: ignore[attr-defined]
    print(reply.txt)  # type: ignore[attr-defined]
    reply.text = "other words"  # type: ignore[misc]
    reply.text + 1  # type: ignore[operator]
    reply.stop_reason.upper()  # type: ignore[union-attr]
    reply.replay(speed="fast")  # type: ignore[arg-type]
    nb.live(42)  # type: ignore[call-overload]
    nb.Recording.load(5)  # type: ignore[arg-type]
    nb.compare([reply], by="model", metrics="ttft_s")  # type: ignore[call-arg]
    Latency("slow")  # type: ignore[arg-type]
    BedrockServer(latency=0.5)  # type: ignore[arg-type]
    BedrockServer("echo")  # type: ignore[arg-type]
    faults.cut(after="the first")  # type: ignore[arg-type]
    nb.Budget(tokens="all")  # type: ignore[arg-type]
    nb.models.supports("nova_lite", 5)  # type: ignore[arg-type]
    nb.doctor(aws="yes")  # type: ignore[arg-type]
    nb.doctor().findings[0].status = "ok"  # type: ignore[misc]
    for event in nb.astream(client, "Hi"):  # type: ignore[attr-defined]
        print(event)
