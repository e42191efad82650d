"""Recording -> where the time of one call went, and on whose account.

Strategy: two kinds of parts. Those in sequence cut the time from the request to the metadata event at the
moments that are known: each begins where the one before ends, so they add up to the whole. A moment that is
not known, or that stands out of order in a file, cuts nothing: its part has no time of its own, says why, and
its seconds are in the next part. The others lie beside: the service's own clock, what this side took, tools.
They overlap the first kind and each other and are never to be added.

Moments: 0 the request; ``sent``, once for each attempt; the four of a new connection's set-up (see
`connection.SETUP`); the response's head; first and last content delta; metadata. A client's own figure for
"network" would be a guess: what can be told is the difference between both clocks, and that it holds the
queue in front of the model, the way there and back, and this client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from bedrock_nb.events import ReasoningDelta, ReasoningSignature, RedactedReasoning
from bedrock_nb.metrics.moments import Facts, facts
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import busy, spent

__all__ = ["LATE_S", "SEQUENCE", "Part", "longest_late", "parts"]

#: The parts in sequence, in their order, and on whose account each is.
SEQUENCE: dict[str, str] = {
    "preparing": "client",
    "retries": "service",
    "pool": "client",
    "dns": "connection",
    "tcp": "connection",
    "tls": "connection",
    "waiting for headers": "service",
    "waiting for content": "service",
    "streaming": "service",
    "closing": "service",
}

#: Bytes that may have waited longer than this, seconds, came late; `Recording.late` has less of bursts.
LATE_S = 0.01
_NOT_SO_FAR = "the connection did not get so far"

# What a part is, where it is not in its name.
_NOTES = {
    "preparing": "arguments checked, request signed",
    "pool": "a connection is taken",
    "tls": "with a proxy its CONNECT too",
    "waiting for headers": "the request goes out, the service decides to answer",
    "waiting for content": "until the first token of any kind",
    "closing": "block stop, messageStop, metadata",
}


class Part(NamedTuple):
    """One part of a call's time.

    Attributes
    ----------
    name : str
        One of `SEQUENCE`, or of those that lie beside: ``e2e``, ``server latency``, ``outside the server``,
        ``client``, ``late reads``, ``display``, ``reasoning``, ``tools``.
    begin_s, end_s : float or None
        Seconds since the request; None where the part is no one interval, or is not known.
    seconds : float or None
        How long it took; None if that is not known.
    whose : {"client", "connection", "service", "tools", "whole"}
        On whose account.
    note : str
        What it means, or why it is missing.
    """

    name: str
    begin_s: float | None
    end_s: float | None
    seconds: float | None
    whose: str
    note: str = ""


def parts(recording: Recording) -> list[Part]:
    """Where the time of one call went.

    Parameters
    ----------
    recording : Recording
        Of any status. Of one that was taken up again, set-up and waiting are those of its first call.

    Returns
    -------
    list of Part
        Those of `SEQUENCE`, which add up to ``e2e`` (without a metadata event: to the time of the last
        event), then those beside; always all of them, in one order.
    """
    known = facts(recording)
    return [*_sequence(recording, known), *_beside(recording, known)]


# -- in sequence -----------------------------------------------------------------------------------


def _sequence(recording: Recording, known: Facts) -> Iterator[Part]:
    ends = _ends(recording, known)
    last = ends["closing"]
    at = 0.0
    for name, whose in SEQUENCE.items():
        end = ends[name]
        if end is None:
            yield Part(name, None, None, None, whose, _missing(name, recording, known))
        elif end < at or (last is not None and end > last):
            # Also the set-up of an attempt that was given up: it is before the last attempt was sent.
            yield Part(name, None, None, None, whose, "its moment is out of order")
        else:
            yield Part(name, at, end, end - at, whose, _note(name, recording, known))
            at = end


def _ends(recording: Recording, known: Facts) -> dict[str, float | None]:
    """When each part in sequence ends; None where that is not known."""
    marks = recording.marks
    sent = [t for name, t in marks.items() if name == "sent" or name.startswith("sent ")]
    moments = (
        min(sent, default=None),
        max(sent, default=None),
        marks.get("connecting"),
        marks.get("resolved"),
        marks.get("connected"),
        marks.get("secured"),
        known.h,
        known.last if _waited_in_vain(known) else known.c1,
        known.cN,
        known.last if known.m is None else known.m,
    )
    return dict(zip(SEQUENCE, moments, strict=True))


def _waited_in_vain(known: Facts) -> bool:
    """Whether something ended the call before any content came: a limit, a fault, Stop."""
    return known.c1 is None and known.m is None


def _note(name: str, recording: Recording, known: Facts) -> str:
    match name:
        case "retries":
            again = max(known.retries or 0, sum(mark.startswith("sent ") for mark in recording.marks))
            return f"asked again {again} time{'s' * (again != 1)}, pauses included" if again else "none"
        case "waiting for headers" if known.whole:
            return "the request goes out, the service makes all of the answer"
        case "waiting for content" if known.whole:
            return "the answer is read"
        case "waiting for content" if _waited_in_vain(known):
            return "none ever came: until the last event"
        case "streaming" if known.whole:
            return "a plain call: the answer came whole"
        case "streaming" if known.resumed:
            return "two calls: the wait for the second is in it, the pause between them is not"
        case "closing" if known.m is None:
            return "no metadata event came: until the last event, which may be a failure after a wait"
    return _NOTES.get(name, "")


def _missing(name: str, recording: Recording, known: Facts) -> str:
    if name in ("pool", "dns", "tcp", "tls"):
        if "connected" in recording.marks and (name != "tls" or known.h is None):
            return _NOT_SO_FAR if name == "tls" else "not told apart from the next part"
        if "connected" in recording.marks:
            return "plain HTTP"
        if "connecting" in recording.marks:
            return _NOT_SO_FAR
        if "sent" in recording.marks and "client_s" in recording.spent:
            return "pooled connection: no set-up"
        return "no set-up was seen: a pooled connection, or a recording that does not have it"
    if name in ("preparing", "retries", "waiting for headers"):
        return "not seen: the bytes of this call were not ours" if recording.clock == "parsed" else "not seen"
    return "no event came" if name == "closing" else "no content came"


# -- beside ----------------------------------------------------------------------------------------


def _beside(recording: Recording, known: Facts) -> Iterator[Part]:
    e2e = known.m
    yield Part("e2e", 0.0 if e2e is not None else None, e2e, e2e, "whole", "" if e2e is not None else _NO_END)
    server = None if known.server_ms is None else known.server_ms / 1000
    said = "metrics.latencyMs, by the service's own clock" + ", of the second call" * known.resumed
    yield Part("server latency", None, None, server, "service", said if server is not None else "not told")
    yield _outside(known, server)
    own = recording.spent
    yield _own("client", own.get("client_s"), _each(recording))
    yield _late(recording)
    yield _own("display", own.get("display_s"), "nb.live: rendered and sent", "not shown by nb.live")
    thought = [recording.times[i] for i in recording.content() if recording.kind(i) in _REASONING]
    yield _span("reasoning", thought, "service", "first to last reasoning delta", "no reasoning came")
    ran = busy(known.tools)
    span = _span("tools", [t for run in ran for t in run], "tools", "at least one was running", "no tool ran")
    yield span._replace(seconds=spent(ran)) if ran else span


def _each(recording: Recording) -> str:
    said = "between network reads: decoding, and code that ran there"
    each = recording.spent.get("client_s", 0.0) / max(1, len(recording)) * 1e6
    return f"{said}; {each:,.0f} us an event" if each >= 1 else said


_NO_END = "no metadata event came"
_REASONING = (ReasoningDelta, ReasoningSignature, RedactedReasoning)


def _outside(known: Facts, server: float | None) -> Part:
    """What the service's clock does not know of: e2e - latencyMs - retries."""
    name, whose = "outside the server", "connection"
    if known.m is None or server is None or known.resumed:
        why = "two calls, and the clock of one" if known.resumed else "one of both clocks is not known"
        return Part(name, None, None, None, whose, why)
    seconds = known.m - server - (known.retry_s or 0.0)
    note = "e2e - server latency - retries: network, queue and client"
    if seconds < 0:
        note += "; below 0: the service counts time that this client did not see"
    return Part(name, None, None, seconds, whose, note)


def _late(recording: Recording) -> Part:
    if not recording.late and "client_s" not in recording.spent:
        return _own("late reads", None, "")
    late = [seconds for seconds in recording.late.values() if seconds > LATE_S]
    n, most = len(late), max(late, default=0.0)
    if not n:
        return _own("late reads", 0.0, "none: the reader was always there")
    return _own("late reads", most, f"the longest that bytes may have waited; {n} read{'s' * (n != 1)} late")


def _own(name: str, seconds: float | None, note: str, why: str = "not known of this recording") -> Part:
    return Part(name, None, None, seconds, "client", why if seconds is None else note)


def _span(name: str, times: list[float], whose: str, note: str, why: str) -> Part:
    if not times:
        return Part(name, None, None, None, whose, why)
    return Part(name, times[0], times[-1], times[-1] - times[0], whose, note)


def longest_late(recording: Recording) -> float | None:
    """For how long bytes may have waited because the reader was busy, seconds; None if that is not known.

    It is known of every read, or of none: botocore's parsed events and files of older versions do not tell.
    """
    known = recording.clock == "wire" and ("client_s" in recording.spent or recording.late)
    return max(recording.late.values(), default=0.0) if known else None
