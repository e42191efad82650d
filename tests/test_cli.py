"""The command line, as a user types it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from bedrock_nb.recording import Recording
from bedrock_nb.server import INSTANT, BedrockServer


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
def test_what_cannot_work_is_said_in_a_sentence(endpoint, arguments, said):
    """No traceback: one sentence on standard error and exit status 1."""
    done = command(*arguments, BEDROCK_NB_TARGET=endpoint)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refusal_of_the_service_is_said_too(endpoint):
    """Bedrock's own validation message reaches the user."""
    done = command("stream", "x", "--model", "m", "--system", " ", "--target", endpoint)
    assert done.returncode == 1
    assert "ValidationException" in done.stderr


def test_no_command_lists_the_commands():
    """argparse's own exit status, and the commands by name."""
    done = command()
    assert done.returncode == 2
    assert command("--help").stdout.count("lab") >= 1


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


def test_serve_spoils_replies_as_it_is_told():
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
        done = command("stream", "hello", "--target", url)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert done.returncode == 1
    assert "ThrottlingException" in done.stderr
    assert "Not now." in done.stderr


@pytest.mark.parametrize("name", ["missing/x.png", "x.xyz"])
def test_a_plot_that_cannot_be_written_is_said(endpoint, tmp_path, name):
    """The text is there, the reason too, and no traceback."""
    done = command("stream", "hello", "--target", endpoint, "--plot", str(tmp_path / name))
    assert done.returncode == 1
    assert "Hello!" in done.stdout
    assert f"plot cannot be written to {Path(name).name!r}" in done.stderr
    assert "Traceback" not in done.stderr


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
