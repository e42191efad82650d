"""chatlas: ChatBedrockAnthropic, which uses Anthropic's client on InvokeModelWithResponseStream.

Usage: ``python chatlas_chat.py PROMPT QUESTION``; prints one JSON object. The library reads the keys from the
environment, but not the AWS SDKs' variable for the endpoint: it takes ``base_url``.
"""

# mypy: disable-error-code="import-not-found"

import json
import os
import sys
from typing import Any

from chatlas import ChatBedrockAnthropic
from chatlas.types import ContentToolRequest, ContentToolResult
from pydantic import BaseModel

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


class Trip(BaseModel):
    """A planned trip."""

    destination: str
    days: int


def get_weather(city: str) -> str:
    """The weather in a city, now."""
    return f"Sunny in {city}, 21 degrees"


def streamed(chat: Any, prompt: str) -> dict[str, Any]:
    pieces = [str(piece) for piece in chat.stream(prompt, echo="none")]
    turn = chat.get_last_turn()
    return {
        "text": turn.text,
        "pieces": len(pieces),
        "joined": "".join(pieces),
        "stop": turn.finish_reason,
        "usage": {"input_tokens": turn.tokens[0], "output_tokens": turn.tokens[1]},
    }


def with_tool(chat: Any, question: str) -> dict[str, Any]:
    chat.register_tool(get_weather)
    told = streamed(chat, question)
    contents = [content for turn in chat.get_turns() for content in turn.contents]
    use = next(content for content in contents if isinstance(content, ContentToolRequest))
    result = next(content for content in contents if isinstance(content, ContentToolResult))
    return {"name": use.name, "input": use.arguments, "result": result.value, **told}


def main(prompt: str, question: str) -> None:
    def chat() -> Any:
        return ChatBedrockAnthropic(model=MODEL, base_url=os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"])

    trip = chat().chat_structured("Plan a trip of 4 days to Lisbon", data_model=Trip)
    seen = {
        "invoke_stream": streamed(chat(), prompt),
        "tool": with_tool(chat(), question),
        "structured": trip.model_dump(),
    }
    print(json.dumps(seen))


main(*sys.argv[1:])
