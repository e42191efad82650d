"""What the tests of the way of a byte share: a real server whose every byte is chosen, and real clients."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterator
from typing import Any

import botocore.loaders
import botocore.session
import hypothesis
import pytest
from botocore.config import Config

import bedrock_nb as nb
from bedrock_nb.client import TARGET_VARIABLE
from bedrock_nb.server import loopback_client
from tests.chatting import Service
from tests.wire_server import WireServer

# A busy machine is no failure, so no example has a deadline; in CI every run tries the same examples.
hypothesis.settings.register_profile("busy", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "busy")


@functools.cache
def _loader(data_path: str | None) -> botocore.loaders.Loader:
    """What every botocore session reads its data with, from now on: read once, it is there for all.

    Each would read it anew, a tenth of a second for each client. botocore shares what it has read among the
    clients of a session, and so changes nothing of it.
    """
    return botocore.loaders.create_loader(data_path)


botocore.session.create_loader = _loader


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what lives as long as the run: thousands of tests, and their modules."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """At the end it is garbage as any other."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def _wire_server() -> Iterator[WireServer]:
    server = WireServer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def wire_clients(_wire_server) -> Iterator[Callable[..., Any]]:
    """Clients by name, made once: to make one takes longer than most tests."""
    made: dict[str, Any] = {}

    def get(name: str, **config: Any) -> Any:
        if name not in made:
            settings = {"retries": {"total_max_attempts": 1}, **config}
            made[name] = loopback_client(_wire_server.url, config=Config(**settings))
        return made[name]

    yield get
    for client in made.values():
        client.close()


@pytest.fixture
def wire(_wire_server) -> Iterator[WireServer]:
    """The server, with no connection and no answer from the test before."""
    _wire_server.reset()
    yield _wire_server
    _wire_server.reset()


def _lent(client: Any) -> Iterator[Any]:
    yield client
    client.close()  # its idle connections; the client itself goes on


@pytest.fixture
def client(wire, wire_clients) -> Iterator[Any]:
    """A boto3 client for the server, no attempt repeated. `bedrock_nb.stream` puts its hooks on it."""
    yield from _lent(wire_clients("client"))


@pytest.fixture
def plain(wire, wire_clients) -> Iterator[Any]:
    """A boto3 client for the server that nobody of us ever touches."""
    yield from _lent(wire_clients("plain"))


@pytest.fixture
def watched(wire, wire_clients) -> Iterator[Any]:
    """A client that is watched."""
    yield from _lent(nb.watch(wire_clients("watched")))


@pytest.fixture
def recordings() -> Iterator[Any]:
    """What was recorded, from nothing on."""
    nb.recordings.clear()
    yield nb.recordings
    nb.recordings.clear()


@pytest.fixture
def configured() -> Iterator[Callable[..., Any]]:
    """Settings of the whole process, put back afterwards."""
    yield nb.configure
    nb.configure(journal=None, durability="crash", errors="full", audit="calls", redact=None)


@pytest.fixture(scope="session")
def _service() -> Iterator[Service]:
    service = Service()
    yield service
    service.close()


@pytest.fixture
def service(_service) -> Iterator[Service]:
    """The server that conversations talk to, and its client."""
    _service.lay()
    yield _service
    _service.client.close()  # its idle connections; the client itself goes on


@pytest.fixture(scope="module")
def kernel() -> Iterator[tuple[Any, Any]]:
    """A real kernel and its client."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture
def environment(monkeypatch, tmp_path) -> pytest.MonkeyPatch:
    """An environment with nothing of AWS in it, not even the files of whoever runs the tests."""
    for name in [*os.environ]:
        if name.startswith("AWS_") or name == TARGET_VARIABLE:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    return monkeypatch


@pytest.fixture
def closed_figures() -> Iterator[None]:
    """No figure outlives its test."""
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
