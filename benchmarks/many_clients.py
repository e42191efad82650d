"""The clients of many_streams: each opens so many streams at once and writes down when each event came.

Strategy: one function a client, run by `be` in a process of its own, with the Python that has its library:
this module imports nothing of the project's, but for its own two. The times of a stream are on the monotonic
clock, or from any zero of its own: only gaps are looked at.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["BOTO3", "CONTENDERS", "OURS", "Contender", "Seen", "be"]

ASKED = [{"role": "user", "content": [{"text": "hi"}]}]

#: Request id and arrival times of each stream.
Seen = list[tuple[str, "array[float]"]]


def _client(url: str, streams: int) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(  # type: ignore[call-arg]  # the stubs do not know the first
        auth_scheme_preference="sigv4",
        retries={"total_max_attempts": 1},
        read_timeout=120,
        max_pool_connections=streams,
    )
    return boto3.client("bedrock-runtime", endpoint_url=url, region_name="us-east-1", config=config)


def boto3_threads(url: str, model: str, streams: int) -> Seen:
    client, seen = _client(url, streams), Seen()

    def read() -> None:
        answer = client.converse_stream(modelId=model, messages=ASKED)
        times, clock = array("d"), time.monotonic
        for _ in answer["stream"]:
            times.append(clock())
        seen.append((answer["ResponseMetadata"]["RequestId"], times))

    threads = [threading.Thread(target=read) for _ in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def aiobotocore(url: str, model: str, streams: int) -> Seen:
    from aiobotocore.config import AioConfig  # type: ignore[import-not-found]
    from aiobotocore.session import get_session  # type: ignore[import-not-found]

    seen = Seen()

    async def read(client: Any) -> None:
        answer = await client.converse_stream(modelId=model, messages=ASKED)
        times, clock = array("d"), time.monotonic
        async for _ in answer["stream"]:
            times.append(clock())
        seen.append((answer["ResponseMetadata"]["RequestId"], times))

    async def main() -> None:
        config = AioConfig(
            auth_scheme_preference="sigv4",
            retries={"total_max_attempts": 1},
            read_timeout=120,
            max_pool_connections=streams,
        )
        made = get_session().create_client(
            "bedrock-runtime", endpoint_url=url, region_name="us-east-1", config=config
        )
        async with made as client:
            await asyncio.gather(*(read(client) for _ in range(streams)))

    asyncio.run(main())
    return seen


def llmeter(url: str, model: str, streams: int) -> Seen:
    from llmeter.endpoints import BedrockConverseStream  # type: ignore[import-not-found]
    from llmeter.runner import Runner  # type: ignore[import-not-found]

    endpoint = BedrockConverseStream(model_id=model, bedrock_boto3_client=_client(url, streams))
    runner = Runner(
        endpoint=endpoint,
        timeout=300,
        progress_bar_stats={},
        disable_per_client_progress_bar=True,
        disable_clients_progress_bar=True,
    )
    payload = BedrockConverseStream.create_payload("hi", max_tokens=2000)
    result = asyncio.run(runner.run(payload=payload, n_requests=1, clients=streams))
    spans = [(met.time_to_first_token, met.time_to_last_token) for met in result.responses]
    return [
        (met.id, array("d", [span[0] or 0.0, span[1] or 0.0]))
        for met, span in zip(result.responses, spans, strict=True)
    ]


def nb_stream(url: str, model: str, streams: int) -> Seen:
    import bedrock_nb as nb

    client = _client(url, streams)
    replies = [nb.stream(client, "hi", model=model, background=True) for _ in range(streams)]
    for reply in replies:
        reply.drain()
    return [(reply.envelope["request_id"], array("d", reply.recording.times)) for reply in replies]


def nb_astream(url: str, model: str, streams: int) -> Seen:
    import bedrock_nb as nb

    client, seen = _client(url, streams), Seen()

    async def read() -> None:
        reply = nb.astream(client, "hi", model=model)
        await reply.drain()
        seen.append((reply.envelope["request_id"], array("d", reply.recording.times)))

    async def main() -> None:
        await asyncio.gather(*(read() for _ in range(streams)))

    asyncio.run(main())
    return seen


class Contender(NamedTuple):
    """A client: the function that its process runs, what that imports, and whether `--others` has it."""

    run: Callable[[str, str, int], Seen]
    imports: str
    other: bool = False


BOTO3, OURS = "boto3, threads", "nb.astream"
CONTENDERS = {
    BOTO3: Contender(boto3_threads, "boto3"),
    "LLMeter's runner": Contender(llmeter, "llmeter", other=True),
    "aiobotocore": Contender(aiobotocore, "aiobotocore", other=True),
    "nb.stream, background": Contender(nb_stream, "bedrock_nb"),
    OURS: Contender(nb_astream, "bedrock_nb"),
}


def be(name: str, url: str, model: str, streams: int) -> None:
    """What a client's process does: all streams at once; then a line of JSON and the times behind it."""
    import resource

    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    out, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no figure
    seen = CONTENDERS[name].run(url, model, streams)
    done, used = time.monotonic(), time.process_time()
    head = json.dumps([done, used, [(request_id, len(times)) for request_id, times in seen]])
    out.buffer.write(head.encode() + b"\n" + b"".join(times.tobytes() for _, times in seen))
    out.buffer.flush()
