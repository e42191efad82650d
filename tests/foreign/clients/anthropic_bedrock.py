"""The anthropic package: AnthropicBedrock, which calls InvokeModel and InvokeModelWithResponseStream.

Usage: ``python anthropic_bedrock.py PROMPT QUESTION``; prints one JSON object. The library reads the keys
from the environment, but not the AWS SDKs' variable for the endpoint: it takes ``base_url``.
"""

# mypy: disable-error-code="import-not-found"

import json
import os
import sys
from typing import Any

from anthropic import AnthropicBedrock

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city, now.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


def numbers(usage: Any) -> dict[str, int]:
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def streamed(client: Any, messages: list[Any], **arguments: Any) -> tuple[Any, dict[str, Any]]:
    settings = {"model": MODEL, "max_tokens": 2000, "messages": messages, **arguments}
    with client.messages.stream(**settings) as stream:
        pieces = list(stream.text_stream)
        message = stream.get_final_message()
    return message, {
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "pieces": len(pieces),
        "joined": "".join(pieces),
        "stop": message.stop_reason,
        "usage": numbers(message.usage),
    }


def with_tool(client: Any, question: str) -> dict[str, Any]:
    turns: list[Any] = [{"role": "user", "content": question}]
    message, _ = streamed(client, turns, tools=[WEATHER])
    use = next(block for block in message.content if block.type == "tool_use")
    result = f"Sunny in {use.input['city']}, 21 degrees"
    turns += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": result}]},
    ]
    _, told = streamed(client, turns, tools=[WEATHER])
    return {"name": use.name, "input": use.input, "result": result, **told}


def main(prompt: str, question: str) -> None:
    client = AnthropicBedrock(base_url=os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"], max_retries=0)
    turn = [{"role": "user", "content": prompt}]
    whole = client.messages.create(model=MODEL, max_tokens=2000, messages=turn)
    seen = {
        "invoke": {"text": whole.content[0].text, "stop": whole.stop_reason, "usage": numbers(whole.usage)},
        "invoke_stream": streamed(client, turn)[1],
        "tool": with_tool(client, question),
    }
    print(json.dumps(seen))


main(*sys.argv[1:])
