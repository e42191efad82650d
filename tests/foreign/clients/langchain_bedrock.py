"""langchain-aws: ChatBedrockConverse streams, binds a tool, and gives structured output.

Usage: ``python langchain_bedrock.py PROMPT QUESTION``; prints one JSON object. The library reads the endpoint
and the keys from the environment.
"""

# mypy: disable-error-code="import-not-found"

import json
import sys
from functools import reduce
from operator import add
from typing import Any

from langchain_aws import ChatBedrockConverse
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


@tool
def get_weather(city: str) -> str:
    """The weather in a city, now."""
    return f"Sunny in {city}, 21 degrees"


class Trip(BaseModel):
    """A planned trip."""

    destination: str = Field(description="Where it goes")
    days: int = Field(ge=1, description="How long it takes")
    transport: str = Field(pattern="^[a-z]+$", json_schema_extra={"enum": ["train", "plane"]})


def streamed(model: Any, messages: Any) -> tuple[Any, dict[str, Any]]:
    chunks = list(model.stream(messages))
    message = reduce(add, chunks)
    used = message.usage_metadata
    return message, {
        "text": message.text if isinstance(message.text, str) else message.text(),
        "pieces": sum(bool(chunk.content) for chunk in chunks),
        "stop": message.response_metadata.get("stopReason"),
        "usage": {
            "inputTokens": used["input_tokens"],
            "outputTokens": used["output_tokens"],
            "totalTokens": used["total_tokens"],
        },
    }


def with_tool(model: Any, question: str) -> dict[str, Any]:
    bound = model.bind_tools([get_weather])
    message, _ = streamed(bound, question)
    call = message.tool_calls[0]
    answer = get_weather.invoke(call)
    _, told = streamed(bound, [HumanMessage(question), message, answer])
    return {"name": call["name"], "input": call["args"], "result": answer.content, **told}


def main(prompt: str, question: str) -> None:
    model = ChatBedrockConverse(model=MODEL)
    trip = model.with_structured_output(Trip).invoke("Plan a trip of 4 days to Lisbon by train")
    seen = {
        "stream": streamed(model, prompt)[1],
        "tool": with_tool(model, question),
        "structured": trip.model_dump(),
    }
    print(json.dumps(seen))


main(*sys.argv[1:])
