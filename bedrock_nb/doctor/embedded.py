"""Whether the embedded Bedrock works here, and how well this machine can measure.

Strategy: nothing is asked that can be tried. A server is started as `connect` does it, a stream is read, and
the client's times are laid beside the server's own.
"""

from __future__ import annotations

import math
import statistics
import time
from contextlib import closing

import bedrock_nb as nb
from bedrock_nb import client, server
from bedrock_nb.doctor.finding import Finding, note, ok, problem
from bedrock_nb.errors import BedrockNbError

__all__ = ["clock", "gaps", "stream"]

_COARSE = 0.001  # seconds: a clock with larger steps cannot tell events of a quick model apart
_LATE = 0.010  # seconds: gaps that are wrong by so much can be seen in a plot
_NAP = 0.002
_NAPS = 10


def stream() -> Finding:
    """Start the server and have it answer once."""
    begun = time.perf_counter()
    try:
        url = server.local()
        started = time.perf_counter() - begun
    except BedrockNbError as err:
        return problem(err.what, err.remedy)
    try:
        with closing(client.connect(url, verbose=False)) as made:
            reply = nb.stream(made, "Count from 1 to 3").drain()
    except BedrockNbError as err:
        return problem(
            f"it started, and then: {err.what}",
            "Let programs here reach 127.0.0.1: look at firewall, VPN and the network of the container.",
        )
    took = time.perf_counter() - begun - started
    if reply.text != "1, 2, 3.":
        return problem(f"it answered {reply.text!r} in place of '1, 2, 3.'", "Reinstall bedrock-nb.")
    return ok(f"started in {started:.1f} s, answered in {took:.1f} s")


def clock() -> Finding:
    """How fine the clock is, and how exactly a pause ends."""
    step = min(_step() for _ in range(5))
    over = []
    for _ in range(_NAPS):
        begun = time.perf_counter()
        time.sleep(_NAP)
        over.append(time.perf_counter() - begun - _NAP)
    coarse = max(step, time.get_clock_info("monotonic").resolution)
    told = f"steps of {_span(coarse)}; a pause ends {_span(statistics.median(over))} late"
    if coarse > _COARSE:
        return note(told, "Times here are only so exact: say so beside every number.")
    return ok(told)


def _step() -> float:
    """The smallest step of the clock that can be seen, seconds."""
    begun = time.perf_counter()
    while (now := time.perf_counter()) == begun:
        pass
    return now - begun


def gaps() -> Finding:
    """How well gaps between events are measured here: by the client, against the server's truth."""
    try:
        url = server.local()
        with closing(client.connect(url, verbose=False)) as made:
            reply = nb.stream(made, "Tell me about rainbows", max_tokens=20).drain()
        truth = server.truth(reply.envelope["request_id"], url)
    except BedrockNbError as err:
        return note(f"not measured: {err.what}", err.remedy)
    errors = [abs(error) for error in truth.against(reply.recording)["gap_error_s"] if not math.isnan(error)]
    worst = max(errors, default=math.nan)
    told = (
        f"{_span(statistics.median(errors))} wrong in the middle, {_span(worst)} at worst, of {len(errors)}"
    )
    if worst > _LATE:
        return note(told, "Something keeps this machine busy; measure when it is idle.")
    return ok(told)


def _span(seconds: float) -> str:
    """A short time with a unit that fits."""
    for unit, size in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if seconds < size * 1000:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"
