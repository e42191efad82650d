"""A real server on a free port of this machine, and a real boto3 client for it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from botocore.config import Config

from bedrock_nb.server import BedrockServer, Latency

PROMPT = [{"role": "user", "content": [{"text": "Tell me about rainbows"}]}]


@pytest.fixture(scope="session")
def server() -> Iterator[BedrockServer]:
    with BedrockServer(latency=Latency.none()) as running:
        yield running


@pytest.fixture(scope="session")
def client(server):
    """Sends what it is given, without checking it first, and does not try again."""
    made = server.client(config=Config(parameter_validation=False, retries={"total_max_attempts": 1}))
    yield made
    made.close()


@pytest.fixture
def post(server):
    """Send bytes to the server with nothing between: path, body, headers -> status, headers, body."""

    def send(path: str, body: object = None, method: str = "POST", **headers: str):
        connection = http.client.HTTPConnection(urlsplit(server.endpoint_url).netloc, timeout=30)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {"Content-Type": "application/json", **names})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        return response.status, response.headers, answer

    return send
