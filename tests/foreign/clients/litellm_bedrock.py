"""LiteLLM: completion with the ``bedrock/converse`` route, streamed, with a tool; and ``bedrock/invoke``.

Usage: ``python litellm_bedrock.py PROMPT QUESTION``; prints one JSON object. The library reads the keys from
the environment, but not the AWS SDKs' variable for the endpoint: it takes ``aws_bedrock_runtime_endpoint``.
"""

# mypy: disable-error-code="import-not-found"

import json
import os
import sys
from typing import Any

import litellm

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ENDPOINT = os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city, now.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def ask(route: str, messages: list[Any], **arguments: Any) -> tuple[Any, dict[str, Any]]:
    chunks = list(
        litellm.completion(
            model=f"bedrock/{route}/{MODEL}",
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            aws_bedrock_runtime_endpoint=ENDPOINT,
            **arguments,
        )
    )
    answer = litellm.stream_chunk_builder(chunks, messages=messages)
    message = answer.choices[0].message
    return message, {
        "text": message.content,
        "pieces": sum(bool(each.choices and each.choices[0].delta.content) for each in chunks),
        "stop": answer.choices[0].finish_reason,
        "usage": {
            "inputTokens": answer.usage.prompt_tokens,
            "outputTokens": answer.usage.completion_tokens,
            "totalTokens": answer.usage.total_tokens,
        },
    }


def with_tool(question: str) -> dict[str, Any]:
    turns: list[Any] = [{"role": "user", "content": question}]
    message, _ = ask("converse", turns, tools=[WEATHER])
    call = message.tool_calls[0]
    given = json.loads(call.function.arguments)
    result = f"Sunny in {given['city']}, 21 degrees"
    turns += [message.model_dump(), {"role": "tool", "tool_call_id": call.id, "content": result}]
    _, told = ask("converse", turns, tools=[WEATHER])
    return {"name": call.function.name, "input": given, "result": result, **told}


def tried(job: Any, *arguments: Any) -> Any:
    try:
        return job(*arguments)
    except Exception as err:
        return {"error": f"{type(err).__name__}: {err}"}


def main(prompt: str, question: str) -> None:
    turn = [{"role": "user", "content": prompt}]
    seen = {
        "stream": tried(lambda: ask("converse", turn)[1]),
        "tool": tried(with_tool, question),
        "invoke_stream": tried(lambda: ask("invoke", turn)[1]),
    }
    print(json.dumps(seen))


main(*sys.argv[1:])
