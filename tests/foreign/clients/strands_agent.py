"""strands-agents: an agent that streams, and one with a tool, which it calls by itself.

Usage: ``python strands_agent.py PROMPT QUESTION``; prints one JSON object. The library reads the endpoint and
the keys from the environment.
"""

# mypy: disable-error-code="import-not-found"

import asyncio
import json
import sys
from typing import Any

from pydantic import BaseModel
from strands import Agent, tool
from strands.models import BedrockModel

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
RESULTS: list[str] = []


@tool
def get_weather(city: str) -> str:
    """The weather in a city, now.

    Args:
        city: Name of the city.
    """
    RESULTS.append(f"Sunny in {city}, 21 degrees")
    return RESULTS[-1]


class Trip(BaseModel):
    """A planned trip."""

    destination: str
    days: int


async def ask(agent: Agent, prompt: str) -> dict[str, Any]:
    pieces: list[str] = []
    result = None
    async for event in agent.stream_async(prompt):
        if "data" in event:
            pieces.append(event["data"])
        result = event.get("result", result)
    said = result.message["content"]
    return {
        "text": "".join(block.get("text", "") for block in said),
        "pieces": len(pieces),
        "joined": "".join(pieces),
        "stop": result.stop_reason,
        "usage": dict(result.metrics.accumulated_usage),
    }


async def main(prompt: str, question: str) -> None:
    model = BedrockModel(model_id=MODEL)
    plain = Agent(model=model, callback_handler=None)
    able = Agent(model=model, tools=[get_weather], callback_handler=None, system_prompt="You help.")
    stream = await ask(plain, prompt)
    told = await ask(able, question)
    uses = [block["toolUse"] for turn in able.messages for block in turn["content"] if "toolUse" in block]
    trip = await Agent(model=model, callback_handler=None).invoke_async(
        "Plan a trip of 4 days to Lisbon", structured_output_model=Trip
    )
    seen = {
        "stream": stream,
        "tool": {"name": uses[0]["name"], "input": uses[0]["input"], "result": RESULTS[0], **told},
        "structured": trip.structured_output.model_dump(),
    }
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
