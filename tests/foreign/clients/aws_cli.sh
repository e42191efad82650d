#!/usr/bin/env bash
# The AWS command line, version 1: converse, invoke-model and count-tokens. (It has no streamed commands.)
#
#     aws_cli.sh PROMPT QUESTION
#
# Prints one JSON object. The tool reads the endpoint and the keys from the environment.
set -euo pipefail
prompt=$1

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
model=anthropic.claude-sonnet-4-5-20250929-v1:0
export AWS_PAGER=''

# JSON in, JSON out, by the Python that the tool itself runs on.
turns=$(python -c 'import json, sys
print(json.dumps([{"role": "user", "content": [{"text": sys.argv[1]}]}]))' "$prompt")
native=$(python -c 'import json, sys
print(json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 2000,
    "messages": [{"role": "user", "content": sys.argv[1]}]}))' "$prompt")

failed() { printf '{"error": "exit status %s"}' "$?"; }

aws bedrock-runtime converse --model-id "$model" --messages "$turns" >"$folder/whole"
aws bedrock-runtime invoke-model --model-id "$model" --content-type application/json \
    --body "$native" "$folder/invoke" >/dev/null || failed >"$folder/invoke"
aws bedrock-runtime count-tokens --model-id "$model" --input "{\"converse\": {\"messages\": $turns}}" \
    >"$folder/count" || failed >"$folder/count"

python - "$folder" <<'PYTHON'
import json
import sys
from pathlib import Path

folder = Path(sys.argv[1])
whole, invoke, count = (json.loads((folder / name).read_text()) for name in ("whole", "invoke", "count"))
seen = {
    "whole": {
        "text": whole["output"]["message"]["content"][0]["text"],
        "stop": whole["stopReason"],
        "usage": whole["usage"],
    },
    "invoke": invoke
    if "error" in invoke
    else {"text": invoke["content"][0]["text"], "stop": invoke["stop_reason"], "usage": invoke["usage"]},
    "count": count,
}
print(json.dumps(seen))
PYTHON
