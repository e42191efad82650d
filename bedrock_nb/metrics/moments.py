"""Recording -> the few moments and counts that every metric is made of.

Strategy: `facts` looks at a recording once. What did not happen is None, never a guess. A delta that is empty
carries no content. A reply that was resumed has a seam, over which no gap and no pace is measured; an answer
that came whole, from a plain call, has no gaps and no pace at all, and all its moments are one.

Most replies have no seam, and their times are taken as one slice; a table of ten thousand of them should not
take longer than a cup of tea.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from operator import sub
from typing import Any, NamedTuple

from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.events import BlockStop, MessageStop, ReasoningDelta, StreamFault, TextDelta
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun

__all__ = ["Facts", "all_input", "count", "facts", "gap_pairs", "message_end", "the_recording"]


class Facts(NamedTuple):
    """What the formulas are made of. Times in seconds since the request; None where it did not happen.

    Attributes
    ----------
    h, e1 : float or None
        Response headers; first event.
    c1, c2, cN : float or None
        First, second and last content delta of any kind. There is no second one over a seam.
    v1, o1 : float or None
        First visible text; first delta that is not reasoning.
    b : float or None
        The last visible text or the last stop of a block, whichever came later.
    m, last : float or None
        The metadata event; the last event of any kind, a failure included.
    gaps, ordered : list of float
        Waits between neighbouring content deltas, as they came, and in ascending order; seconds.
    K, N : int or None
        Content deltas, None for an answer that came whole; output tokens.
    usage : mapping
        Those counts of the metadata event that are counts.
    server_ms : int or None
        The service's own latency, milliseconds.
    retries : int or None
        Attempts after the first.
    retry_s : float or None
        From the first attempt to the last, seconds.
    resumed, whole : bool
        Whether a second call took the reply up; whether it came whole, from a plain call.
    stopped : bool
        Whether the message came to its end; then ``cN`` is its last token, and not the last one that came.
    end : float or None
        When it stopped, or else the last event.
    tools : sequence of ToolRun
        The calls of tools that it asked for.
    """

    h: float | None
    e1: float | None
    c1: float | None
    c2: float | None
    v1: float | None
    o1: float | None
    cN: float | None
    b: float | None
    m: float | None
    last: float | None
    gaps: list[float]
    ordered: list[float]
    K: int | None
    N: int | None
    usage: Mapping[str, Any]
    server_ms: int | None
    retries: int | None
    retry_s: float | None
    resumed: bool
    whole: bool
    stopped: bool
    end: float | None
    tools: Sequence[ToolRun]


def facts(recording: Recording) -> Facts:
    """The moments and counts of one recording.

    Raises
    ------
    RequestError
        Something else than a recording was given.
    """
    recording = the_recording(recording)
    times, content, meta = recording.times, recording.content(), recording.metadata
    kind, whole, seams = recording.kind, recording.whole, recording.seams
    at = [times[i] for i in content]
    visible = (times[i] for i in content if kind(i) is TextDelta)
    output = (times[i] for i in content if kind(i) is not ReasoningDelta)
    ends = (
        times[i]
        for i in reversed(range(len(times)))
        if kind(i) is BlockStop or (kind(i) is TextDelta and recording.text_of(i))
    )
    usage = {name: n for name, n in meta.usage.items() if count(n) is not None} if meta else {}
    if whole or seams:
        pairs = list(gap_pairs(recording, content))
        gaps = [times[b] - times[a] for a, b in pairs]
        second = times[pairs[0][1]] if pairs and pairs[0] == tuple(content[:2]) else None
    else:
        gaps = list(map(sub, at[1:], at))
        second = at[1] if gaps else None
    return Facts(
        h=recording.marks.get("headers"),
        e1=times[0] if times and kind(0) is not StreamFault else None,
        c1=at[0] if at else None,
        c2=second,
        v1=next(visible, None),
        o1=next(output, None),
        cN=at[-1] if at else None,
        b=next(ends, None),
        m=recording.time_of(meta) if meta else None,
        last=times[-1] if times else None,
        gaps=gaps,
        ordered=sorted(gaps),
        K=None if whole else len(at),
        N=usage.get("outputTokens"),
        usage=usage,
        server_ms=count(meta.latency_ms) if meta else None,
        retries=count(recording.envelope.get("retries")),
        retry_s=_retrying(recording.marks),
        resumed=bool(seams),
        whole=whole,
        stopped=recording.stop_reason is not None or meta is not None,
        end=message_end(recording),
        tools=tuple(recording.tools),
    )


def the_recording(one: Any) -> Recording:
    """The recording that this is, or that this, a Reply, has in ``.recording``.

    Raises
    ------
    RequestError
        It is neither: a folder, a path, a conversation, which may hold many.
    """
    found = one if isinstance(one, Recording) else getattr(one, "recording", None)
    if not isinstance(found, Recording):
        raise RequestError(
            f"{kind_of(one)} is no Recording.",
            remedy="Give one Recording, or the Reply that has it; bedrock_nb.summary takes either, or many.",
        )
    return found


def message_end(recording: Recording) -> float | None:
    """When the message stopped, or the last event of one that did not; None if nothing came."""
    times = recording.times
    if recording.stop_reason is None:  # known without a look at every event
        return times[-1] if times else None
    stops = (times[i] for i in reversed(range(len(times))) if recording.kind(i) is MessageStop)
    return next(stops, times[-1] if times else None)


def gap_pairs(recording: Recording, content: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Neighbours among content deltas, by position, between which there is a gap.

    There is none over a seam, and none in an answer that came whole.
    """
    seams = recording.seams
    for a, b in pairwise(content if not recording.whole else ()):
        if not any(a < seam < b for seam in seams):
            yield a, b


def _retrying(marks: Mapping[str, float]) -> float | None:
    sent = [t for name, t in marks.items() if name == "sent" or name.startswith("sent ")]
    return max(sent) - min(sent) if sent else None


def all_input(known: Facts) -> int | None:
    """Input tokens, cached ones included; None without ``inputTokens``, whatever else was counted."""
    given: int | None = known.usage.get("inputTokens")
    cached = (known.usage.get(name, 0) for name in ("cacheReadInputTokens", "cacheWriteInputTokens"))
    return None if given is None else given + sum(cached)


def count(value: Any) -> int | None:
    """A whole number, or nothing: a service or a file may say anything in its place."""
    return value if type(value) is int and 0 <= value < 2**53 else None
