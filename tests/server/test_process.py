"""The embedded server as a process: shared, by hand, and gone when nobody needs it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from bedrock_nb.errors import RequestError, ServerError
from bedrock_nb.server import BedrockServer, local, loopback_client
from bedrock_nb.server import process as processes
from bedrock_nb.server.process import serve

ROOT = Path(__file__).parents[2]
ASK = [{"role": "user", "content": [{"text": "Count from 1 to 3"}]}]


def python(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """A Python process that finds the package, with its output readable."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, *arguments], env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )


def listens(url: str) -> bool:
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), 5).close()
    except OSError:
        return False
    return True


def closes(url: str, within: float = 30) -> bool:
    """Whether the port closes; the limit only ends a test that has failed."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        if not listens(url):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def no_child():
    """Nothing runs before the test, and nothing after it."""
    processes._close()
    yield
    processes._close()


def answer(url: str) -> str:
    client = loopback_client(url)
    text = client.converse(modelId="m", messages=ASK)["output"]["message"]["content"][0]["text"]
    client.close()
    return text


def test_the_shared_server_starts_once_and_answers(no_child):
    """Who asks again gets the same server."""
    url = local()
    assert local() == url
    assert answer(url) == "1, 2, 3."


def test_the_shared_server_is_started_again_when_it_died(no_child):
    """A server that was killed is replaced."""
    first = local()
    child = processes._shared
    assert child is not None
    child.process.kill()
    child.process.wait()
    second = local()
    assert answer(second) == "1, 2, 3."
    assert not listens(first) or first == second


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_shared_server_does_not_hear_an_interrupt(no_child):
    """Interrupting the kernel reaches the whole process group, and must not end the server."""
    url = local()
    child = processes._shared
    assert child is not None
    child.process.send_signal(signal.SIGINT)
    assert answer(url) == "1, 2, 3."


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_the_shared_server_ends_with_a_parent_that_was_killed():
    """Even kill -9, which lets nobody tidy up, leaves no server behind."""
    parent = python("-c", "from bedrock_nb.server import local; print(local(), flush=True); input()")
    assert parent.stdout is not None
    url = parent.stdout.readline().strip()
    try:
        assert listens(url)
    finally:
        parent.kill()
        parent.communicate()
    assert closes(url)


def test_the_shared_server_ends_with_a_parent_that_ends():
    """A process that comes to its end takes its server along, without a word."""
    parent = python("-W", "error", "-c", "from bedrock_nb.server import local; print(local())")
    out, err = parent.communicate(timeout=60)
    assert parent.returncode == 0
    assert err == ""
    assert closes(out.strip())


def test_modules_of_the_users_folder_do_not_get_in_the_way(tmp_path, no_child, monkeypatch):
    """A student's random.py or asyncio.py beside the notebook is not what the server imports."""
    for name in ("random.py", "asyncio.py", "json.py"):
        (tmp_path / name).write_text("raise RuntimeError('the wrong module')")
    monkeypatch.chdir(tmp_path)
    assert listens(local())


def test_a_server_that_does_not_start_says_what_it_said(no_child, monkeypatch, tmp_path):
    """The error has the child's last words and a command to try."""
    (tmp_path / "aiohttp.py").write_text("raise RuntimeError('no aiohttp today')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    with pytest.raises(
        ServerError, match=r"ended before it listened.*bedrock_nb serve(?s:.*)no aiohttp today"
    ):
        local()


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_by_hand_it_says_where_it_is_and_ends_cleanly(signum):
    """The lines can be pasted into a shell, and Ctrl-C ends it without a traceback."""
    server = python("-m", "bedrock_nb", "serve", "--port", "0", "--ttft", "0", "--per-token", "0")
    assert server.stdout is not None
    first, endpoint, credentials = (server.stdout.readline().strip() for _ in range(3))
    url = endpoint.partition("=")[2]
    try:
        assert url in first
        assert endpoint.startswith("export AWS_ENDPOINT_URL_BEDROCK_RUNTIME=http://127.0.0.1:")
        assert "AWS_ACCESS_KEY_ID=" in credentials
        assert "AWS_SECRET_ACCESS_KEY=" in credentials
        assert answer(url) == "1, 2, 3."
    finally:
        server.send_signal(signum)
        out, err = server.communicate(timeout=30)
    assert (server.returncode, out.strip(), err) == (0, "Stopped.", "")


def test_by_hand_a_port_in_use_is_one_line_on_standard_error():
    """No traceback: which port, why, and what to do."""
    with BedrockServer() as other:
        port = urlsplit(other.endpoint_url).port
        server = python("-m", "bedrock_nb", "serve", "--port", str(port))
        out, err = server.communicate(timeout=60)
    assert server.returncode == 1
    assert out == ""
    assert err.startswith(f"bedrock-nb: Port {port} is in use")
    assert err.count("\n") == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.1", "my-laptop"])
def test_by_hand_it_stays_on_this_machine(host):
    """Listening for others is refused before anything is announced."""
    said: list[str] = []
    with pytest.raises(RequestError, match="this machine only"):
        serve(host, 0, announce=said.append)
    assert said == []


HOSTILE = {
    "AWS_PROFILE": "no-such-profile",
    "AWS_BEARER_TOKEN_BEDROCK": "token",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "http_proxy": "http://127.0.0.1:9",
    "AWS_USE_FIPS_ENDPOINT": "true",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_users_aws_settings_do_not_get_in_the_way(server, monkeypatch, name):
    """Whatever the environment says of profiles, tokens and proxies, the local server is reached."""
    monkeypatch.setenv(name, HOSTILE[name])
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert answer(server.endpoint_url) == "1, 2, 3."


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1:8080",
        "http://example.com",
        "http://127.0.0.1.example.com:80",
        "http://u@127.0.0.1:1",
        "127.0.0.1:8080",
        "http://127.0.0.1:99999",
        "",
        None,
    ],
)
def test_a_url_elsewhere_is_refused(url):
    """Made-up credentials are for this machine only."""
    with pytest.raises(RequestError, match="not the URL of a server on this machine"):
        loopback_client(url)


def test_importing_the_server_loads_neither_aiohttp_nor_boto3():
    """Whoever only talks to a server does not wait for what it takes to be one."""
    heavy = ("aiohttp", "boto3", "pandas", "ipywidgets")
    code = f"import sys, bedrock_nb.server; print([m for m in {heavy} if m in sys.modules])"
    process = python("-c", code)
    out, _ = process.communicate(timeout=60)
    assert out.strip() == "[]"
