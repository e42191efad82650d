"""The command line, as a user types it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from bedrock_nb.cli import main
from bedrock_nb.recording import Recording
from bedrock_nb.server import INSTANT, BedrockServer, echo, loopback_client
from tests.server import openai_stub


@pytest.fixture(scope="module")
def endpoint():
    """An embedded server whose answers come at once."""
    with BedrockServer(latency=INSTANT) as server:
        yield server.endpoint_url


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bedrock_nb", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )


def test_stream_prints_text_table_plot_and_recording(endpoint, tmp_path):
    """One command gives the answer, every metric with its formula, a picture and a file."""
    plot, saved = tmp_path / "demo.png", tmp_path / "demo.jsonl"
    done = command(
        "stream", "hello", "--target", endpoint, "--table", "--plot", str(plot), "--save", str(saved)
    )
    assert done.returncode == 0, done.stderr
    assert "Hello!" in done.stdout
    assert "tpot_s" in done.stdout
    assert "(ttlt - ttft)/(N - 1)" in done.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert Recording.load(saved).status == "complete"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stream", " "], "prompt is empty"),
        (["stream", "x", "--target", "nowhere"], "no target 'nowhere'"),
        (["stream", "x", "--temperature", "3"], "from 0 to 1"),
        (["serve", "--host", "0.0.0.0"], "on this machine only"),
        (["serve", "--fault", "nonsense"], "no fault 'nonsense'"),
        (["serve", "--fault", "cut:after=-1"], "after of the fault cut is -1"),
        (["lab", "no-such-folder"], "no lessons in 'no-such-folder'"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(endpoint, monkeypatch, capsys, arguments, said):
    """No traceback: one sentence on standard error and exit status 1."""
    monkeypatch.setenv("BEDROCK_NB_TARGET", endpoint)
    assert main(arguments) == 1
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told


def test_a_refusal_of_the_service_is_said_too(endpoint):
    """Bedrock's own validation message reaches the user, and in a process of its own nothing else does."""
    done = command("stream", "x", "--model", "m", "--system", " ", "--target", endpoint)
    assert done.returncode == 1
    assert "ValidationException" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_command_lists_the_commands(capsys):
    """argparse's own exit status, and the commands by name."""
    done = command()
    assert done.returncode == 2
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.count("lab") >= 1


def test_serve_says_where_it_is_and_ends_on_ctrl_c():
    """The server runs by hand, prints what points an SDK at it, and stops cleanly."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "bedrock_nb", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        url = lines[1].strip().partition("=")[2]
        assert lines[1].startswith("export AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://127.0.0.1:")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(url + "/nothing", timeout=10)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert out.endswith("Stopped.\n")


def test_serve_spoils_replies_as_it_is_told(capsys):
    """Faults that are given one after the other are applied in that order."""
    words = "refuse:status=429,message=Not now."
    process = subprocess.Popen(
        [sys.executable, "-m", "bedrock_nb", "serve", "--port=0", "--fault=slow_head:0", "--fault", words],
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        url = [process.stdout.readline() for _ in range(2)][1].strip().partition("=")[2]
        status = main(["stream", "hello", "--target", url])
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert status == 1
    told = capsys.readouterr().err
    assert "ThrottlingException" in told
    assert "Not now." in told


@pytest.mark.parametrize("name", ["missing/x.png", "x.xyz"])
def test_a_plot_that_cannot_be_written_is_said(endpoint, tmp_path, capsys, closed_figures, name):
    """The text is there, the reason too, and no traceback."""
    assert main(["stream", "hello", "--target", endpoint, "--plot", str(tmp_path / name)]) == 1
    told = capsys.readouterr()
    assert "Hello!" in told.out
    assert f"plot cannot be written to {Path(name).name!r}" in told.err
    assert "Traceback" not in told.err


def test_a_terminal_without_the_letters_gets_what_it_has(endpoint):
    """An encoding that lacks a letter is no reason to stop."""
    done = command("stream", "\u8679 say something", "--target", endpoint, PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_closed_pipe_is_no_traceback(endpoint):
    """``bedrock-nb stream … | head -1`` ends quietly."""
    shell = f"{sys.executable} -m bedrock_nb stream hello --target {endpoint} --table | head -1"
    done = subprocess.run(shell, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


# -- what serve serves -----------------------------------------------------------------------------

AT_ONCE = ("--ttft=0", "--per-token=0")


@contextmanager
def served(*options: str) -> Iterator[tuple[str, Any]]:
    """The URL of ``bedrock-nb serve`` with these options, and a client for it that asks once."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bedrock_nb", "serve", *AT_ONCE, *options], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        url = [process.stdout.readline() for _ in range(2)][1].strip().partition("=")[2]
        client = loopback_client(url, config=Config(retries={"total_max_attempts": 1}))
        try:
            yield url, client
        finally:
            client.close()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    assert process.returncode == 0


def answer(client: Any, prompt: str = "Say this.", **fields: Any) -> str:
    turn = {"role": "user", "content": [{"text": prompt}]}
    response = client.converse(**{"modelId": "m", "messages": [turn], **fields})
    text: str = response["output"]["message"]["content"][0]["text"]
    return text


def frames(url: str, prompt: str) -> bytes:
    """The very bytes of a stream."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    body = json.dumps({"messages": [{"role": "user", "content": [{"text": prompt}]}]})
    connection.request("POST", "/model/m/converse-stream", body, {"Content-Type": "application/json"})
    data = connection.getresponse().read()
    connection.close()
    return data


def test_serve_has_the_responder_law_and_guardrails_that_it_is_given():
    """Each option is heard: who answers, by which law, and which words are stopped."""
    law = ("--law=jitter=0.5", "--law", "slots=2", "--law=distribution=gamma", "--law=per-input-token=0.0")
    words = ("--guardrail", "fruit=kiwi, banana split", "--guardrail=metal=tin")
    with served("--responder=echo", *law, *words) as (url, client):
        assert answer(client) == "Say this."
        with urllib.request.urlopen(f"{url}/status.json", timeout=10) as response:
            about = json.load(response)["server"]
        for id, prompt in (("fruit", "One banana split."), ("metal", "Tin?")):
            guard = {"guardrailIdentifier": id, "guardrailVersion": "1"}
            assert answer(client, guardrailConfig=guard) == "Say this."
            assert answer(client, prompt, guardrailConfig=guard) != prompt
        with pytest.raises(ClientError, match="does not exist"):
            answer(client, guardrailConfig={"guardrailIdentifier": "embeddedwords", "guardrailVersion": "1"})
    assert about["responder"] == "echo"
    assert "jitter=0.5" in about["latency"]
    assert "slots=2" in about["latency"]
    assert "distribution='gamma'" in about["latency"]


def test_serve_forwards_to_a_server_with_openais_interface():
    """The answer is that server's, and the model is the one that was named."""
    stub = openai_stub.Stub()
    words = (openai_stub.said("From "), openai_stub.said("elsewhere."))
    stub.plays(*words, openai_stub.stop(), openai_stub.usage(3, 2), b"data: [DONE]\n\n")
    try:
        with served(f"--openai={stub.url}", "--openai-model=tiny") as (_, client):
            assert answer(client) == "From elsewhere."
        assert stub.requests[0]["model"] == "tiny"
    finally:
        stub.close()


def test_serve_records_from_another_server_and_replays_without_it(tmp_path):
    """What was asked once is answered from the folder ever after; with --exact by the very bytes."""
    folder = str(tmp_path / "tape")
    with BedrockServer(echo, latency=INSTANT) as behind:
        with served("--upstream", behind.endpoint_url) as (_, client):
            assert answer(client, "Not recorded.") == "Not recorded."
        with served("--upstream", behind.endpoint_url, "--record", folder) as (url, client):
            assert answer(client, "Recorded.") == "Recorded."
            first = frames(url, "Streamed.")
    assert len(list(Path(folder).iterdir())) == 2
    for more in ((), ("--exact", "--speed=100"), ("--mode=none",)):
        with served("--cassette", folder, *more) as (url, client):
            assert answer(client, "Recorded.") == "Recorded."
            again = frames(url, "Streamed.")
            with pytest.raises(ClientError, match="no recording of this request"):
                answer(client, "Not recorded.")
        assert again.count(b":event-type") == first.count(b":event-type")
        assert "--exact" not in more or again == first


def test_serve_asks_a_responder_for_what_is_not_recorded(tmp_path):
    """--responder stands behind the cassette; what is there already is not recorded again."""
    with served("--responder=echo", "--record", str(tmp_path)) as (_, client):
        assert [answer(client), answer(client), answer(client, "And that.")] == ["Say this."] * 2 + [
            "And that."
        ]
    assert [Recording.load(path).text for path in sorted(tmp_path.iterdir())] == ["Say this.", "And that."]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--law", "nonsense=1"], "'nonsense=1' names no number of the law"),
        (["--law", "jitter"], "jitter is ''"),
        (["--law", "jitter=much"], "jitter is 'much'"),
        (["--law", "slots=0.5"], "slots is 0.5"),
        (["--law", "distribution=odd"], "distribution is 'odd'"),
        (["--ttft", "-1"], "ttft is -1.0"),
        (["--responder", "echo", "--openai", "http://127.0.0.1:1/v1"], "--responder and --openai each say"),
        (["--responder", "echo", "--upstream", "http://127.0.0.1:1"], "--responder and --upstream each say"),
        (["--upstream", "aws", "--openai", "http://127.0.0.1:1/v1"], "--openai and --upstream each say"),
        (["--openai", "nonsense"], "no URL of a server"),
        (["--upstream", "nowhere"], "no target 'nowhere'"),
        (["--cassette", "no-such-folder"], "no cassette 'no-such-folder'"),
        (["--cassette", "{folder}", "--mode", "new_episodes"], "nobody is named who could be asked"),
        (["--cassette", "{folder}", "--speed", "0"], "speed is 0.0"),
        (["--guardrail", "No Id=word"], "guardrail's id is 'No Id'"),
        (["--guardrail", f"ok={'x' * 101}"], "word of guardrail 'ok'"),
        (["--port", "70000"], "0 .* to 65535|70000"),
    ],
)
def test_what_serve_cannot_do_is_said_in_a_sentence(capsys, tmp_path, options, said):
    """Exit status 1 and one sentence that names the option or its value; nothing is served."""
    assert main(["serve", *(option.format(folder=tmp_path) for option in options)]) == 1
    printed = capsys.readouterr()
    assert re.search(said, printed.err)
    assert printed.err.startswith("bedrock-nb: ")
    assert printed.out == ""


@pytest.mark.parametrize(
    "options", [["--responder", "nobody"], ["--mode", "sometimes"], ["--speed", "fast"], ["--colour", "red"]]
)
def test_what_is_no_option_is_argparses_to_say(capsys, options):
    """Its own exit status, 2, and what there is instead."""
    with pytest.raises(SystemExit) as caught:
        main(["serve", *options])
    assert caught.value.code == 2
    assert "usage: bedrock-nb" in capsys.readouterr().err
