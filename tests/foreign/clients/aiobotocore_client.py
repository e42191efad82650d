"""aiobotocore: ConverseStream with and without a tool, and Converse, with ``async for`` over the events.

Usage: ``python aiobotocore_client.py PROMPT QUESTION``; prints one JSON object. The library reads the
endpoint and the keys from the environment.
"""

# mypy: disable-error-code="import-not-found"

import asyncio
import json
import sys
from typing import Any

from aiobotocore.session import get_session

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
WEATHER = {
    "toolSpec": {
        "name": "get_weather",
        "description": "The weather in a city, now.",
        "inputSchema": {
            "json": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        },
    }
}


def user(*content: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


async def streamed(client: Any, **arguments: Any) -> dict[str, Any]:
    response = await client.converse_stream(modelId=MODEL, **arguments)
    seen: dict[str, Any] = {"text": "", "pieces": 0, "stop": None, "usage": None, "uses": []}
    async for event in response["stream"]:
        match event:
            case {"contentBlockStart": {"start": {"toolUse": use}}}:
                seen["uses"].append({"id": use["toolUseId"], "name": use["name"], "raw": ""})
            case {"contentBlockDelta": {"delta": {"text": text}}}:
                seen["text"] += text
                seen["pieces"] += 1
            case {"contentBlockDelta": {"delta": {"toolUse": {"input": raw}}}}:
                seen["uses"][-1]["raw"] += raw
            case {"messageStop": {"stopReason": reason}}:
                seen["stop"] = reason
            case {"metadata": {"usage": usage}}:
                seen["usage"] = usage
    return seen


async def with_tool(client: Any, question: str) -> dict[str, Any]:
    config = {"tools": [WEATHER]}
    asked = await streamed(client, messages=[user({"text": question})], toolConfig=config)
    use = asked["uses"][0]
    given = json.loads(use["raw"])
    result = f"Sunny in {given['city']}, 21 degrees"
    turn = [{"text": asked["text"]}] if asked["text"] else []
    turn += [{"toolUse": {"toolUseId": use["id"], "name": use["name"], "input": given}}]
    told = await streamed(
        client,
        messages=[
            user({"text": question}),
            {"role": "assistant", "content": turn},
            user({"toolResult": {"toolUseId": use["id"], "content": [{"text": result}]}}),
        ],
        toolConfig=config,
    )
    return {"name": use["name"], "input": given, "result": result, **told}


async def main(prompt: str, question: str) -> None:
    async with get_session().create_client("bedrock-runtime") as client:
        ask = [user({"text": prompt})]
        stream = await streamed(client, messages=ask)
        whole = await client.converse(modelId=MODEL, messages=ask)
        seen = {
            "stream": stream,
            "tool": await with_tool(client, question),
            "whole": {
                "text": whole["output"]["message"]["content"][0]["text"],
                "stop": whole["stopReason"],
                "usage": whole["usage"],
            },
        }
    print(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
