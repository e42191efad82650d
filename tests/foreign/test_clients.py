"""Clients of Bedrock that nobody here wrote meet the embedded server, each in a process of its own.

Strategy: each script of ``clients/`` runs once, in an environment where bedrock_nb cannot be imported, and
prints what it saw as JSON. The server's responder is the usual one, but keeps what it answered; so each test
compares what arrived with what was sent. The keys in the environment are the server's own, which it checks
signatures against: a client that signs otherwise is refused.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bedrock_nb.events import TextDelta
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import BedrockServer, Latency, canned, faults
from bedrock_nb.server.loopback import REGION, keys_of

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
PYTHON = Path(os.environ.get("BEDROCK_NB_FOREIGN_PYTHON") or ROOT / ".venv-foreign/bin/python")
TIMEOUT = 110  # seconds: before pytest's own, so that what the client printed is shown

PROMPT = "Tell me about rainbows"
QUESTION = "What is the weather in Lisbon?"
EXPECTED = canned(Request("any", PROMPT)).text
INVOKED = ("invoke", "invoke_stream")

#: What each client does; behind its name may stand the handler that it is told to use. "stream" and "whole"
#: are ConverseStream and Converse, "invoke_stream" and "invoke" the two InvokeModel operations; "tool" is a
#: whole round with a tool, "structured" a typed answer.
JOBS: dict[str, tuple[str, ...]] = {
    "aws_sdk.mjs": ("stream", "whole", "invoke_stream", "invoke", "tool"),
    "aws_sdk.mjs http1": ("stream", "whole", "invoke_stream", "invoke", "tool"),
    "aiobotocore_client.py": ("stream", "whole", "tool"),
    "langchain_bedrock.py": ("stream", "tool", "structured"),
    "strands_agent.py": ("stream", "tool", "structured"),
    "aws_cli.sh": ("whole", "invoke"),
    "litellm_bedrock.py": ("stream", "invoke_stream", "tool"),
    "anthropic_bedrock.py": ("invoke_stream", "invoke", "tool"),
    "chatlas_chat.py": ("invoke_stream", "tool", "structured"),
    "llmeter_endpoint.py": ("stream", "whole"),
    "boto3_older.py": ("stream", "whole"),
}
#: How a client says that a model was done, where it has its own word for it.
DONE = {"litellm_bedrock.py": "stop", "chatlas_chat.py": "success"}
#: Clients that do not hand on a stop reason, or not the pieces.
SILENT = {"llmeter_endpoint.py"}
#: What the clients ask for as a typed answer, made of the numbers and names in their prompts.
TRIPS = {
    "langchain_bedrock.py": {"destination": "Lisbon", "days": 4, "transport": "train"},
    "strands_agent.py": {"destination": "Lisbon", "days": 4},
    "chatlas_chat.py": {"destination": "Lisbon", "days": 4},
}


def each(*wanted: str) -> list[tuple[str, str]]:
    """Pairs of client and job, for those of the jobs that a client does."""
    return [(client, job) for client, jobs in JOBS.items() for job in jobs if job in wanted]


class Ran(NamedTuple):
    """What a client printed, and what it was sent: answers with their requests."""

    seen: dict[str, Any]
    answers: list[tuple[Request, Recording]]


def absent(what: str) -> None:
    """Skip for want of a program; where everything is to be tested, fail."""
    message = f"there is no {what}: `make foreign` installs the foreign clients"
    if os.environ.get("CI"):
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def environment(home: Path, named: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the user's: no AWS set-up, no proxy; and nobody calls home."""
    node = shutil.which("node")
    folders = [PYTHON.parent, *([Path(node).parent] if node else []), "/usr/local/bin", "/usr/bin", "/bin"]
    return {
        "PATH": os.pathsep.join(map(str, folders)),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NODE_MODULES": str(PYTHON.parents[1] / "node"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        "LANGSMITH_TRACING": "false",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "OTEL_SDK_DISABLED": "true",
        **named,
    }


def variables(server: BedrockServer) -> dict[str, str]:
    """What ``bedrock-nb serve`` prints, with the keys of this server."""
    keys = keys_of[server.endpoint_url]
    return {
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": server.endpoint_url,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
    }


def start(script: str, home: Path, named: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a client's script to its end; what stands behind its name is the ``HANDLER`` it is to use."""
    script, _, handler = script.partition(" ")
    named = {**named, "HANDLER": handler}
    # -P: no module of the folder of scripts in place of a library.
    by = {".py": [str(PYTHON), "-P"], ".mjs": ["node"], ".sh": ["bash"]}[Path(script).suffix]
    if not PYTHON.exists():
        absent(str(PYTHON))
    if shutil.which(by[0]) is None:
        absent(by[0])
    return subprocess.run(
        [*by, str(CLIENTS / script), PROMPT, QUESTION],
        cwd=home,
        env=environment(home, named),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def read(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The JSON that a client printed last; libraries may print before it."""
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Callable[[str], Ran]:
    """Run a client, the first time that its name is given."""
    ran: dict[str, Ran] = {}

    def get(script: str) -> Ran:
        if script not in ran:
            answers: list[tuple[Request, Recording]] = []

            def remembered(request: Request) -> Recording:
                recording = canned(request)
                answers.append((request, recording))
                return recording

            with BedrockServer(remembered, latency=Latency.none()) as server:
                done = start(script, tmp_path_factory.mktemp("home"), variables(server))
            ran[script] = Ran(read(done), answers)
        return ran[script]

    return get


def sent(ran: Ran, text: str) -> list[Recording]:
    """What of the answers has this text."""
    return [recording for _, recording in ran.answers if recording.text == text]


def counted(usage: Mapping[str, int]) -> tuple[int, int]:
    """Tokens in and out, by Converse's names or by Anthropic's."""
    names = ("inputTokens", "outputTokens") if "inputTokens" in usage else ("input_tokens", "output_tokens")
    return usage[names[0]], usage[names[1]]


# -- what arrived ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "job"), each("stream", "whole", *INVOKED))
def test_a_client_gets_the_text(run, client, job):
    """Text, streamed or whole, arrives as it was said; so does why it ended."""
    got = run(client).seen[job]
    assert got["text"] == got.get("joined", got["text"]) == EXPECTED
    if client not in SILENT:
        assert got["stop"] == DONE.get(client, "end_turn")


@pytest.mark.parametrize(
    ("client", "job"), [pair for pair in each("stream", "invoke_stream") if pair[0] not in SILENT]
)
def test_a_client_gets_a_stream_in_its_pieces(run, client, job):
    """A client hands on as many pieces of text as were sent."""
    ran = run(client)
    got = ran.seen[job]
    answers = sent(ran, got["text"])
    (pieces,) = {sum(isinstance(event, TextDelta) for event in answer) for answer in answers}
    assert got["pieces"] == pieces > 50


@pytest.mark.parametrize(("client", "job"), each("stream", "whole", *INVOKED))
def test_a_client_gets_the_usage(run, client, job):
    """The tokens that a client reports are those that the server counted."""
    ran = run(client)
    got = ran.seen[job]
    assert counted(got["usage"]) in [counted(recording.usage) for recording in sent(ran, got["text"])]


@pytest.mark.parametrize("client", [client for client, _ in each("tool")])
def test_a_client_calls_its_tool_and_hands_back_the_result(run, client):
    """The tool is asked for with input that fits its schema, and the last answer speaks of its result."""
    got = run(client).seen["tool"]
    assert (got["name"], got["input"]) == ("get_weather", {"city": "Lisbon"})
    assert got["result"] == "Sunny in Lisbon, 21 degrees"
    assert got["text"] == f"The tool returned: {got['result']}"
    assert got["stop"] == DONE.get(client, "end_turn")


@pytest.mark.parametrize("client", [client for client, _ in each("structured")])
def test_a_client_gets_a_typed_answer(run, client):
    """Structured output passes the client's own checks, and is what the prompt was about."""
    assert run(client).seen["structured"] == TRIPS[client]


def test_the_command_line_counts_tokens(run):
    """CountTokens says what Converse then reports as input."""
    seen = run("aws_cli.sh").seen
    assert seen["count"] == {"inputTokens": seen["whole"]["usage"]["inputTokens"]}


def test_a_refusal_is_the_exception_of_the_operation(run):
    """boto3 raises the class that the service's model names, with the service's words."""
    assert re.search(r"content field .* messages\.0 is empty", run("boto3_older.py").seen["refused"])


def test_llmeter_measures_a_stream_that_takes_time(run):
    """LLMeter sees the first token before the last."""
    first, last = run("llmeter_endpoint.py").seen["times"]
    assert 0 < first < last


@pytest.mark.parametrize("client", sorted({client for client, _ in each("stream", "invoke_stream")}))
def test_an_exception_in_a_stream_reaches_a_client_by_its_name(tmp_path, client):
    """A stream that ends in an exception frame is that error to whoever decodes frames."""
    fault = faults.exception("modelStreamErrorException", after=20)
    with BedrockServer(canned, latency=Latency.none(), faults=fault) as server:
        done = start(client, tmp_path, variables(server))
    assert "modelStreamErrorException".lower() in (done.stdout + done.stderr).lower()


LINES = dict(
    re.findall(
        r"^### (\w+)\n\n```python\n(.*?)^```",
        (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)


@pytest.mark.parametrize("library", ["LangChain", "LLMeter"])
def test_what_the_documentation_shows_of_another_library_runs(library, tmp_path):
    """The lines that stand beside ours print the answer, and how many tokens it has."""
    script = tmp_path / "lines.py"
    script.write_text(LINES[library], encoding="utf-8")
    with BedrockServer(latency=Latency.none()) as server:
        done = start(str(script), tmp_path, variables(server))
    assert done.returncode == 0, done.stderr[-4000:]
    assert EXPECTED in done.stdout
    assert f"{canned(Request('any', PROMPT)).usage['outputTokens']} tokens" in done.stdout


# -- how it was reached ----------------------------------------------------------------------------


def test_the_foreign_environment_does_not_have_this_package(tmp_path):
    """What runs there owes nothing to bedrock_nb."""
    if not PYTHON.exists():
        absent(str(PYTHON))
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('bedrock_nb') is not None)"
    assert subprocess.run([PYTHON, "-P", "-c", code], cwd=tmp_path, env={}).returncode == 0


@pytest.mark.parametrize(
    "script", ["aws_sdk.mjs", "aws_sdk.mjs http1", "boto3_older.py", "anthropic_bedrock.py"]
)
def test_a_client_with_another_secret_is_refused(tmp_path, script):
    """The server checks what clients sign: the right key with the wrong secret gets no answer."""
    answered: list[Request] = []

    def remembered(request: Request) -> Recording:
        answered.append(request)
        return canned(request)

    with BedrockServer(remembered, latency=Latency.none()) as server:
        done = start(script, tmp_path, {**variables(server), "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert "signature" in (done.stdout + done.stderr).lower()
    assert answered == []


@pytest.fixture
def printed(tmp_path) -> Iterator[dict[str, str]]:
    """The variables in the lines that ``bedrock-nb serve`` prints, while it runs."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "bedrock_nb", "serve", "--port=0", "--ttft=0", "--per-token=0"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    found: dict[str, str] = {}
    for line in process.stdout:
        if line.startswith("export "):
            found |= dict(re.findall(r"(\w+)=(\S+)", line))
        if "AWS_DEFAULT_REGION" in found:
            break
    yield found
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TIMEOUT)


@pytest.mark.parametrize("script", ["aws_sdk.mjs", "boto3_older.py"])
def test_the_lines_that_serve_prints_are_all_that_a_client_needs(printed, tmp_path, script):
    """Whoever pastes these lines into a shell can use any SDK there."""
    assert read(start(script, tmp_path, printed))["stream"]["text"] == EXPECTED
