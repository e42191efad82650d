"""Recording -> content deltas that came together, and who made them come together.

Strategy: what one network read brought carries one time and one read number, so a burst is a run of events
with both the same. Who made it is told by whether the reader was there. If it was waiting, the bytes came
together: the service sent them so, or they were joined on the way, which no client can tell apart. If it was
away, or kept from reading by other threads, they may have come one by one meanwhile: `Recording.late` knows
for how long. Where that time is too short for so many at the pace of this stream, the service made the burst
all the same. A recording without that knowledge (botocore's parsed events, a file of an older version) gives
bursts whose maker is unknown.

Under TLS one read brings at most one TLS record. So a burst was sent as one, however late it is read, and
events that the service wrote one after the other are none; the verdict says where deltas came close together
in reads of their own.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby, pairwise
from statistics import median
from typing import Literal, NamedTuple, TypeAlias

from bedrock_nb.metrics.clocks import LATE_S, longest_late
from bedrock_nb.metrics.moments import the_recording
from bedrock_nb.recording import Recording

__all__ = ["Burst", "Maker", "bursts", "verdict"]

#: What no stream is even enough for: twice as many deltas as the pace says may come in a while.
_UNEVEN = 2
#: Up to this share of the deltas nothing is a habit.
_RARE = 0.05
#: Deltas this close, seconds, follow each other like those of a burst if the usual ones are so many times as
#: far apart.
_CLOSE_S, _SLOW = 0.001, 3

#: Who made a burst.
Maker: TypeAlias = Literal["service", "client", "unknown"]


class Burst(NamedTuple):
    """Content deltas that one network read brought.

    Attributes
    ----------
    read : int
        Number of the network read.
    t_s : float
        When it was; seconds since the request.
    events, chunks : int
        Events of any kind that it brought; content deltas among them, two or more.
    chars : int
        Characters of text, reasoning and tool input in these deltas.
    gap_before_s : float or None
        Seconds since the content delta before; None for the first, and after a seam.
    late_s : float or None
        For how long at most the bytes may have been there; None if the reader was waiting, or nobody knows.
        The service made the burst all the same if that is too short for so many, or they came as one of TLS.
    made_by : {"service", "client", "unknown"}
        Who made it.
    """

    read: int
    t_s: float
    events: int
    chunks: int
    chars: int
    gap_before_s: float | None
    late_s: float | None
    made_by: Maker


def bursts(recording: Recording) -> list[Burst]:
    """Every network read that brought two or more content deltas, in order of time.

    An answer that came whole, from a plain call, has none: nothing in it has a time of its own.

    Parameters
    ----------
    recording : Recording or Reply

    Raises
    ------
    RequestError
        Something else was given.
    """
    recording = the_recording(recording)
    return [] if recording.whole else _bursts(recording, recording.content())


def _bursts(recording: Recording, content: list[int]) -> list[Burst]:
    found: list[Burst] = []
    times, reads, seams = recording.times, recording.reads, recording.seams
    knows = longest_late(recording) is not None
    pace = _pace(recording, content) if recording.late else 0.0
    tls = _tls(recording)
    events = Counter(zip(reads, times, strict=False))  # one more of a column may be there than of the other
    before: int | None = None
    for (read, t), together in groupby(content, key=lambda i: (reads[i], times[i])):
        run = list(together)
        if len(run) > 1:
            late = recording.late.get(read) if knows else None
            gapless = before is None or any(before < seam < run[0] for seam in seams)
            found.append(
                Burst(
                    read=read,
                    t_s=t,
                    events=events[read, t],
                    chunks=len(run),
                    chars=sum(len(recording.text_of(i)) for i in run),
                    gap_before_s=None if gapless or before is None else t - times[before],
                    late_s=late,
                    made_by="unknown" if not knows else _maker(len(run), None if tls else late, pace),
                )
            )
        before = run[-1]
    return found


def verdict(recording: Recording) -> str:
    """Who batches, in a sentence or two for a person: how many deltas came together, and by whom.

    Parameters
    ----------
    recording : Recording or Reply

    Raises
    ------
    RequestError
        Something else was given.

    Examples
    --------
    >>> from bedrock_nb.events import TextDelta
    >>> from bedrock_nb.recording import Recording
    >>> recording = Recording()
    >>> for i in range(8):
    ...     recording.append(TextDelta(0, "word "), 1.0 + i // 4, read=i // 4)
    >>> recording.spent["client_s"] = 0.001
    >>> verdict(recording)
    'The service batches: 100 % of the deltas came in bursts, 4 at a time (median), while the reader waited.'
    """
    recording = the_recording(recording)
    if recording.whole:
        return "The answer came whole: nothing in it has a time of its own."
    content = recording.content()
    if not content:
        return "No content came."
    sizes: dict[Maker, list[int]] = {"service": [], "client": [], "unknown": []}
    found = _bursts(recording, content)
    for burst in found:
        sizes[burst.made_by].append(burst.chunks)
    if sizes["unknown"]:
        return (
            f"{_percent(sum(sizes['unknown']), len(content))} of the deltas came in bursts"
            f"{_typical(sizes['unknown'])}; who made them is not known of this recording."
        )
    waits = _waits(recording, content, found)
    said = []  # with the shares that they tell of: the larger one is told first
    if n := sum(sizes["service"]):
        came = f"{_percent(n, len(content))} of the deltas came in bursts{_typical(sizes['service'])}"
        waited = all((b.late_s or 0) <= LATE_S for b in found if b.made_by == "service")
        how = "while the reader waited" if waited else "which no late reader explains"
        said.append((n, f"The service {_batches(n, content)}: {came}, {how}."))
    if n := len(waits):
        does = _batches(n, content) if sizes["client"] else "was late"
        read = f"{_percent(n, len(content))} of the deltas were read late{_typical(sizes['client'])}"
        why = f"by up to {max(waits) * 1000:.0f} ms, for other code ran; drain() the reply to measure."
        said.append((n, f"The client {does}: {read}, {why}"))
    return " ".join(text for _, text in sorted(said, reverse=True)) or _alone(recording, content)


def _waits(recording: Recording, content: list[int], found: list[Burst]) -> list[float]:
    """For how long each delta that was read late may have been there.

    In a burst of the service it is known under TLS only: elsewhere the time is one of doubt.
    """
    makers = {burst.read: burst.made_by for burst in found}
    if longest_late(recording) is None:
        return []
    waits = []
    for i in content:
        wait, maker = recording.late.get(recording.reads[i], 0.0), makers.get(recording.reads[i])
        if maker == "client" or (wait > LATE_S and (maker is None or _tls(recording))):
            waits.append(wait)
    return waits


def _alone(recording: Recording, content: list[int]) -> str:
    """No two deltas shared a read: but did some follow each other like those of a burst?"""
    at = [recording.times[i] for i in content]
    close = sum(b - a < _CLOSE_S for a, b in pairwise(at))
    if close <= _RARE * len(at) or at[-1] - at[0] < _SLOW * _CLOSE_S * (len(at) - 1):
        return "Every delta came alone."
    return (
        f"Every delta came in a read of its own, but {_percent(close, len(at))} within "
        f"{_CLOSE_S * 1000:.0f} ms of the one before: a burst in pieces, as under TLS, or a reader held up."
    )


def _maker(chunks: int, late: float | None, pace: float) -> Maker:
    """Whose burst it is: so many deltas, which had so long to come one by one at that pace."""
    return "service" if late is None or (chunks - 1) * pace > _UNEVEN * late else "client"


def _pace(recording: Recording, content: list[int]) -> float:
    """Seconds for a delta, as the median delta came; what a read brought shares the wait for it."""
    paces: list[float] = []
    before = None
    for t, together in groupby(recording.times[i] for i in content):
        n = len(list(together))
        if before is not None:
            paces += [(t - before) / n] * n
        before = t
    return median(paces) if paces else 0.0


def _batches(part: int, content: list[int]) -> str:
    return "batches" if part > _RARE * len(content) else "rarely batches"


def _tls(recording: Recording) -> bool:
    return recording.envelope.get("tls") is True


def _percent(part: int, whole: int) -> str:
    """A share that is 0 or 100 only if it is."""
    rounded = round(100 * part / whole)
    return f"{min(max(rounded, 1), 99) if 0 < part < whole else rounded} %"


def _typical(chunks: list[int]) -> str:
    return f", {median(chunks):g} at a time (median)" if chunks else ""
