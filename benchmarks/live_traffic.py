"""What `nb.live` sends to the browser: messages and bytes on a real kernel's iopub channel.

    python benchmarks/live_traffic.py

Two replies: 5,000 deltas that arrive at once, and 100 deltas a second for 10 seconds. Counted are all
messages of the one execution (status and input included) and all their bytes as they leave the kernel.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from jupyter_client.manager import start_new_kernel
from raw_server import text_reply

from bedrock_nb.eventstream import FrameDecoder
from bedrock_nb.recording import Recording
from bedrock_nb.request import Request
from bedrock_nb.server import INSTANT, BedrockServer
from bedrock_nb.wire import from_frame

GOALS = {"at once": (15, 6.0, None), "paced": (150, None, 350_000)}  # messages, bytes per byte, bytes

SET_UP = """
import bedrock_nb as nb
client = nb.connect({url!r}, verbose=False)
import bedrock_nb.live
"""
SHOW = "_ = nb.live(nb.stream(client, 'show', model={model!r}))"


def schedule(deltas: int, per_second: float) -> Recording:
    """A reply of one word per delta, at so many deltas a second; 0: all at once."""
    recording = Recording(clock="schedule")
    frames = FrameDecoder().receive_data(b"".join(text_reply(deltas)))
    for i, frame in enumerate(frames):
        for event in from_frame(frame):
            recording.append(event, 0.05 + (i / per_second if per_second else 0))
    recording.status = "complete"
    return recording


def answer(request: Request) -> Recording:
    return schedule(5_000, 0) if request.model == "burst" else schedule(1_000, 100)


def run(client: Any, code: str) -> tuple[int, int, float]:
    """Execute code; messages and bytes on iopub until the kernel is idle again, and seconds."""
    socket = client.iopub_channel.socket
    begin = time.perf_counter()
    asked = client.execute(code)
    messages = size = 0
    while True:
        parts = socket.recv_multipart()
        message = client.session.deserialize(client.session.feed_identities(parts)[1])
        if message["parent_header"].get("msg_id") != asked:
            continue
        messages += 1
        size += sum(map(len, parts))
        if message["msg_type"] == "error":
            raise SystemExit("\n".join(message["content"]["traceback"]))
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return messages, size, time.perf_counter() - begin


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with BedrockServer(answer, latency=INSTANT) as server:
        manager, client = start_new_kernel()
        try:
            run(client, SET_UP.format(url=server.endpoint_url))
            print(f"{'reply':10}{'messages':>9}{'kB':>9}{'bytes per text byte':>21}{'seconds':>9}   goal")
            for name, model in (("at once", "burst"), ("paced", "paced")):
                text = len(answer(Request(model, "show")).text)
                messages, size, seconds = run(client, SHOW.format(model=model))
                most, ratio, limit = GOALS[name]
                goal = f"at most {most} messages, " + (
                    f"{ratio} bytes per byte" if ratio else f"{limit / 1000:.0f} kB"
                )
                print(f"{name:10}{messages:9}{size / 1000:9.1f}{size / text:21.2f}{seconds:9.2f}   {goal}")
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    main()
