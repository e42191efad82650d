"""LLMeter: its ConverseStream endpoint, asked once, which says what it measured.

Usage: ``python llmeter_endpoint.py PROMPT QUESTION``; prints one JSON object. The library reads the endpoint
and the keys from the environment.
"""

# mypy: disable-error-code="import-not-found"

import json
import sys

from llmeter.endpoints import BedrockConverse, BedrockConverseStream

MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def main(prompt: str, *_: str) -> None:
    endpoint = BedrockConverseStream(model_id=MODEL)
    met = endpoint.invoke(BedrockConverseStream.create_payload(prompt, max_tokens=2000))
    whole = BedrockConverse(model_id=MODEL).invoke(BedrockConverse.create_payload(prompt, max_tokens=2000))
    seen = {
        "stream": {
            "text": met.response_text,
            "error": met.error,
            "usage": {"inputTokens": met.num_tokens_input, "outputTokens": met.num_tokens_output},
        },
        "times": [met.time_to_first_token, met.time_to_last_token],
        "whole": {
            "text": whole.response_text,
            "error": whole.error,
            "usage": {"inputTokens": whole.num_tokens_input, "outputTokens": whole.num_tokens_output},
        },
    }
    print(json.dumps(seen))


main(*sys.argv[1:])
