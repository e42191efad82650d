"""How wrong are recorded times? Against a server's own log, beside plain boto3 and LLMeter in the same run.

    python benchmarks/accuracy.py [--rounds 5] [--rates 50 200 1000] [--no-framings]

A server in a process of its own sends events at a rate, and logs when each one left (`paced_server`); the
embedded Bedrock does the same by its latency law, with the log that `BedrockServer.truth` gives. Each client
has a process of its own, too, that does nothing else, and they take turns, reply by reply. On Linux all read
one monotonic clock, so the error of an event is when the client says that it came, less when it left; of a
gap, the difference of two. LLMeter knows the first and the last token only, and is asked about them.

Plain boto3 reads its clock when it hands an event on; nb.stream's times are those of its recording.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).parent.parent
FOREIGN = ROOT / ".venv-foreign" / "bin" / "python"
GOAL_MEDIAN, GOAL_GAP_P99 = 0.7, 0.001
ASKED = [{"role": "user", "content": [{"text": "hi"}]}]


# -- clients, each in a process of its own ------------------------------------------------------------


def _client(url: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(auth_scheme_preference="sigv4", retries={"total_max_attempts": 1}, read_timeout=60)
    return boto3.client("bedrock-runtime", endpoint_url=url, region_name="us-east-1", config=config)


def boto3_client(url: str) -> Callable[[str], dict[str, Any]]:
    client = _client(url)

    def ask(model: str) -> dict[str, Any]:
        begin = time.monotonic()
        stream = client.converse_stream(modelId=model, messages=ASKED)
        events = iter(stream["stream"])
        times = [time.monotonic() for _ in events]
        return {"id": stream["ResponseMetadata"]["RequestId"], "begin": begin, "events": times}

    return ask


def nb_client(url: str) -> Callable[[str], dict[str, Any]]:
    import bedrock_nb as nb
    from bedrock_nb.tap import install

    first: list[float] = []

    def clock() -> float:
        t = time.monotonic()
        if not first:
            first.append(t)  # the call's own zero
        return t

    client = _client(url)
    install(client, clock=clock)

    def ask(model: str) -> dict[str, Any]:
        first.clear()
        reply = nb.stream(client, "hi", model=model).drain()
        times = [first[0] + t for t in reply.recording.times]
        return {"id": reply.envelope["request_id"], "begin": first[0], "events": times}

    return ask


def llmeter_client(url: str) -> Callable[[str], dict[str, Any]]:
    os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] = url
    from llmeter.endpoints import BedrockConverseStream  # type: ignore[import-not-found]

    known: dict[str, Any] = {}

    def ask(model: str) -> dict[str, Any]:
        if model not in known:
            known[model] = BedrockConverseStream(model_id=model, region="us-east-1")
        payload = BedrockConverseStream.create_payload("hi", max_tokens=2000)
        begin = time.monotonic()
        met = known[model].invoke(payload)
        assert met.error is None, met.error
        # It takes the text's end to be its block's stop, one event after the last token.
        ends = [begin + met.time_to_first_token, begin + met.time_to_last_token]
        return {"id": met.id or "", "begin": begin, "ends": ends}

    return ask


CLIENTS = {"plain boto3": boto3_client, "nb.stream": nb_client, "LLMeter": llmeter_client}


def serve_questions(name: str, url: str) -> None:
    """What a client's process does: a model id a line in, a line of JSON out."""
    ask = CLIENTS[name](url)
    for line in sys.stdin:
        print(json.dumps(ask(line.strip())), flush=True)


class Worker:
    """A client in a process of its own."""

    def __init__(self, name: str, url: str) -> None:
        python = FOREIGN if name == "LLMeter" else Path(sys.executable)
        environment = {**os.environ, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}
        environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "true"  # LLMeter imports LiteLLM, which would fetch one
        environment.pop("AWS_BEARER_TOKEN_BEDROCK", None)
        self.name = name
        self.process = subprocess.Popen(
            [str(python), __file__, "--client", name, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, model: str) -> dict[str, Any]:
        """Let it make one call; what it saw."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(model, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.name} ended")
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


# -- the two servers ----------------------------------------------------------------------------------


@contextmanager
def workers(url: str, *, llmeter: bool) -> Iterator[list[Worker]]:
    names = [name for name in CLIENTS if name != "LLMeter" or llmeter]
    made = [Worker(name, url) for name in names]
    try:
        yield made
    finally:
        for worker in made:
            worker.close()


def truth_of_paced(url: str, _: str) -> list[float]:
    with urlopen(f"{url}/truth") as response:
        left: list[float] = json.load(response)
    return left


def truth_of_embedded(url: str, request_id: str) -> list[float]:
    from bedrock_nb.server.truths import fetch

    truth = fetch(url, request_id)
    return [truth.arrived + t for t in truth.event_times()]


@contextmanager
def embedded(rate: int) -> Iterator[str]:
    """``bedrock-nb serve`` with a steady law of so many events a second, or nearly: a delta is no token."""
    law = ["--ttft", "0.2", "--per-token", str(1 / rate / 2)]
    process = subprocess.Popen(
        [sys.executable, "-m", "bedrock_nb", "serve", *law], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
    finally:
        process.terminate()
        process.wait(10)


# -- measuring ----------------------------------------------------------------------------------------


class Errors:
    """Errors of one client, seconds."""

    def __init__(self) -> None:
        self.event: list[float] = []
        self.gap: list[float] = []
        self.ttft: list[float] = []
        self.ttlt: list[float] = []

    def take(self, said: dict[str, Any], truth: list[float]) -> None:
        """Lay what a client saw beside what was sent."""
        # messageStart, the deltas, block stop, message stop, metadata: content is what is between.
        if "ends" in said:
            self.ttft.append(said["ends"][0] - truth[1])
            self.ttlt.append(said["ends"][1] - truth[-3])
            return
        times = said["events"]
        assert len(times) == len(truth), (len(times), len(truth))
        errors = [t - sent for t, sent in zip(times, truth, strict=True)]
        self.event += errors
        self.gap += [abs(b - a) for a, b in pairwise(errors)]
        self.ttft.append(errors[1])
        self.ttlt.append(errors[-4])


def quantile(values: list[float], p: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p * len(ordered)))]


def run(
    made: list[Worker], model: str, rounds: int, truth: Callable[[str], list[float]]
) -> dict[str, Errors]:
    found = {worker.name: Errors() for worker in made}
    for number in range(rounds + 1):
        for worker in made:
            said = worker.ask(model)
            if number:  # the first is warm-up
                found[worker.name].take(said, truth(said["id"]))
    return found


def us(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}"


COLUMNS = ("error p50", "p99", "max", "gap error p50", "p99", "TTFT error p50", "TTLT error p50")


def report(title: str, found: dict[str, Errors]) -> tuple[float, float]:
    print(f"\n{title}, microseconds")
    print(f"  {'':14}" + "".join(f"{name:>16}" for name in COLUMNS))
    for name, errors in found.items():
        events = (
            [quantile(errors.event, 0.5), quantile(errors.event, 0.99), max(errors.event)]
            if errors.event
            else []
        )
        gaps = [quantile(errors.gap, 0.5), quantile(errors.gap, 0.99)] if errors.gap else []
        row = [us(value) for value in [*events, *gaps]] or [""] * 5
        row += [us(quantile(errors.ttft, 0.5)), us(quantile(errors.ttlt, 0.5))]
        print(f"  {name:14}" + "".join(f"{cell:>16}" for cell in row))
    ours, plain = found["nb.stream"], found["plain boto3"]
    ratio = quantile(ours.event, 0.5) / quantile(plain.event, 0.5)
    gap = quantile(ours.gap, 0.99)
    print(
        f"  median error {ratio:.2f} of plain boto3 (goal: {GOAL_MEDIAN}); "
        f"p99 of the gap error {gap * 1000:.2f} ms (goal: {GOAL_GAP_P99 * 1000:.0f})"
    )
    return ratio, gap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rates", type=int, nargs="+", default=[50, 200, 1000])
    parser.add_argument("--no-framings", action="store_true")
    parser.add_argument("--client", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        serve_questions(*options.client)
        return
    from paced_server import FRAMINGS, events_of, paced_server

    llmeter = FOREIGN.exists()
    if not llmeter:
        print("LLMeter is left out: `make foreign` installs it.")
    results = []
    with paced_server() as url, workers(url, llmeter=llmeter) as made:
        for rate in options.rates:
            found = run(made, f"r{rate}-event", options.rounds, lambda name: truth_of_paced(url, name))
            title = f"{rate} events a second, {events_of(rate):,} a reply"
            results.append((title, *report(title, found)))
        if not options.no_framings:
            pair = [worker for worker in made if worker.name != "LLMeter"]
            for framing, words in FRAMINGS.items():
                found = run(pair, f"r200-{framing}", options.rounds, lambda name: truth_of_paced(url, name))
                title = f"200 events a second, {words}"
                results.append((title, *report(title, found)))
    for rate in options.rates:
        with embedded(rate) as url, workers(url, llmeter=llmeter) as made:
            found = run(
                made,
                "embedded.canned-v1:0",
                options.rounds,
                lambda name, url=url: truth_of_embedded(url, name),  # type: ignore[misc]
            )
            title = f"the embedded Bedrock, about {rate} events a second"
            results.append((title, *report(title, found)))
    print(f"\n{'':72}{'median / boto3':>16}{'gap p99, ms':>14}")
    for title, ratio, gap in results:
        print(f"{title:72}{ratio:>16.2f}{gap * 1000:>14.2f}")


if __name__ == "__main__":
    main()
