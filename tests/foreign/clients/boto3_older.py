"""boto3 by itself, of the version that the other clients agree on: older than ours, as a rule.

Usage: ``python boto3_older.py PROMPT QUESTION``; prints one JSON object. boto3 reads the endpoint and the
keys from the environment.
"""

import json
import sys
from typing import Any

import boto3

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def user(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"text": text}]}]


def main(prompt: str, *_: str) -> None:
    client = boto3.client("bedrock-runtime")
    text, pieces, stop, usage = "", 0, None, None
    for event in client.converse_stream(modelId=MODEL, messages=user(prompt))["stream"]:
        delta = event.get("contentBlockDelta", {}).get("delta", {})
        if "text" in delta:
            text += delta["text"]
            pieces += 1
        stop = event.get("messageStop", {}).get("stopReason", stop)
        usage = event.get("metadata", {}).get("usage", usage)
    whole = client.converse(modelId=MODEL, messages=user(prompt))
    refused = None
    try:
        client.converse(modelId=MODEL, messages=[{"role": "user", "content": []}])
    except client.exceptions.ValidationException as err:
        refused = err.response["Error"]["Message"]
    seen = {
        "version": boto3.__version__,
        "stream": {"text": text, "pieces": pieces, "stop": stop, "usage": usage},
        "whole": {
            "text": whole["output"]["message"]["content"][0]["text"],
            "stop": whole["stopReason"],
            "usage": whole["usage"],
        },
        "refused": refused,
    }
    print(json.dumps(seen))


main(*sys.argv[1:])
