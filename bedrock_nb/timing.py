"""The timing strip of a reply or a turn: when it began, how it came, how fast, in numbers and in one line.

Strategy: all calls of one turn on one clock, which begins with the first request. What `metrics` has a
formula for is taken from there; here numbers of several calls are put together. Tokens are Bedrock's own
count where it came; before that, and of an answer that was cut, they are an estimate and say so. `timing`
looks at recordings once, `Meter` goes on where it stopped, so that a strip that is painted again twenty
times a second costs no more than the reply is long.

Not here: how a strip looks on a page.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bedrock_nb.errors import RequestError, kind_of
from bedrock_nb.events import Metadata, Seam
from bedrock_nb.metrics import METRICS, Facts, facts
from bedrock_nb.metrics.moments import count
from bedrock_nb.recording import Recording, carries

__all__ = ["BYTES_PER_TOKEN", "SLICES", "Meter", "Timing", "timing"]

#: Bytes of UTF-8 in a token that nobody has counted: English has about four letters in one, and writing with
#: three bytes a sign about one sign.
BYTES_PER_TOKEN = 4
#: Slices of time in which arrivals are counted; the sparkline joins them two by two, to fit into a terminal.
SLICES = 32
_BARS = "▁▂▃▄▅▆▇█"
_TTFT, _TPOT = METRICS["ttft_s"], METRICS["tpot_s"]


@dataclass(frozen=True)
class Timing:
    """When the answer to one prompt came.

    Attributes
    ----------
    ttft_s : float or None
        Seconds from the first request to the first content delta of any kind; None if none came.
    seconds : float
        From the first request to the last event so far; 0 if there is none.
    chunks : int
        Content deltas. An answer that came whole, from a plain call, has none.
    tokens : int
        Output tokens of all calls.
    estimated : bool
        Whether ``tokens`` is, in part at least, an estimate from the length of what came.
    rate : float or None
        Output tokens a second after the first of each call: the sum of all N - 1 by the sum of all
        ttlt - ttft. None where no call has both, as in a whole answer, one delta, or a cut stream.
    arrivals : tuple of int
        Content deltas in equal slices of the time from the first request to the last of them; empty if
        there are none.
    slice_s : float
        How long a slice is, seconds.
    """

    ttft_s: float | None
    seconds: float
    chunks: int
    tokens: int
    estimated: bool
    rate: float | None
    arrivals: tuple[int, ...]
    slice_s: float

    @property
    def words(self) -> str:
        """``TTFT 210 ms · 38 chunks · 42 tokens · 35.2 tokens/s · 1.31 s``, without what is not known."""
        parts = ["no content" if self.ttft_s is None else f"TTFT {_time(self.ttft_s)}"]
        if self.chunks:
            parts.append(_count(self.chunks, "chunk"))
        if self.tokens or not self.estimated:
            parts.append(_tokens(self.tokens, self.estimated))
        if self.rate is not None:
            parts.append(f"{self.rate:,.1f} tokens/s")
        if self.seconds:
            parts.append(_time(self.seconds))
        return " · ".join(parts)

    @property
    def line(self) -> str:
        """The words, and how chunks came as a sparkline: time goes to the right, from the request on.

        Heights are linear, with the fullest slice of time as the highest bar, so that twice as high is twice
        as many; the lowest bar is a slice in which nothing came, and whatever came is higher than that.
        """
        return f"{self.words} {self._sparkline}".rstrip()

    @property
    def _sparkline(self) -> str:
        pairs = [sum(self.arrivals[i : i + 2]) for i in range(0, len(self.arrivals), 2)]
        most = max(pairs, default=0)
        return "".join(_BARS[math.ceil(n / most * (len(_BARS) - 1))] for n in pairs)

    def to_json(self) -> dict[str, Any]:
        """The numbers and the words as strict JSON, times to the microsecond."""
        numbers = {name: round(n, 6) if isinstance(n, float) else n for name, n in asdict(self).items()}
        return {**numbers, "arrivals": list(self.arrivals), "words": self.words}

    def __str__(self) -> str:
        return self.line


def timing(source: Any) -> Timing:
    """When the answer to one prompt came.

    Parameters
    ----------
    source : Recording, Reply, Turn, or a list of recordings or replies
        A list has the calls of one turn: those of a conversation stand on its clock by their label ``at_s``,
        others by the wall-clock times of their requests. One that is still growing is taken as it is now;
        to look again and again, use a `Meter`.

    Raises
    ------
    RequestError
        It is something else.
    """
    recordings = _recordings(source)
    begins = [_begin(recording, recordings[0]) for recording in recordings]
    known = [facts(recording) for recording in recordings]
    meter = Meter(lambda: recordings)
    seconds, chunks, tokens = meter.read()
    firsts = [
        begin + c1 for begin, f in zip(begins, known, strict=True) if (c1 := _TTFT.compute(f)) is not None
    ]
    arrivals, slice_s = _arrivals(recordings, begins)
    return Timing(
        ttft_s=min(firsts, default=None),
        seconds=seconds,
        chunks=chunks,
        tokens=tokens,
        estimated=meter.estimated,
        rate=_rate(known),
        arrivals=arrivals,
        slice_s=slice_s,
    )


class Meter:
    """Where the strip of a growing reply stands; each look reads what is new since the last one.

    Another thread may be recording meanwhile. That is safe because a recording only grows, and writes the
    time of an event last: so many events as it has times are whole and never change.

    Parameters
    ----------
    recordings : function
        The recordings of the turn so far, oldest first: one more in a later look, never fewer.
    """

    def __init__(self, recordings: Callable[[], Sequence[Recording]]) -> None:
        self._recordings = recordings
        self._calls: list[_Call] = []

    def read(self) -> tuple[float, int, int]:
        """Take in what is new.

        Returns
        -------
        seconds : float
            From the first request to the last event.
        chunks, tokens : int
            Content deltas, and output tokens, estimated until the service has counted them.
        """
        recordings = self._recordings()
        for recording in recordings[len(self._calls) :]:
            self._calls.append(_Call(recording, _begin(recording, recordings[0])))
        for call in self._calls:
            call.read_on()
        return (
            max((call.end for call in self._calls), default=0.0),
            sum(call.chunks for call in self._calls),
            sum(call.tokens for call in self._calls),
        )

    @property
    def words(self) -> str:
        """What is new taken in, as words: ``38 chunks · ≈ 42 tokens · 1.31 s``; empty if nothing came."""
        seconds, chunks, tokens = self.read()
        parts = [_count(chunks, "chunk")] * bool(chunks) + [_tokens(tokens, self.estimated)] * bool(tokens)
        return " · ".join(parts + [_time(seconds)] * bool(seconds))

    @property
    def estimated(self) -> bool:
        """Whether there is an estimate among the tokens of the last look."""
        return any(call.estimated for call in self._calls)


class _Call:
    """One recording of a turn, as far as it has been read."""

    def __init__(self, recording: Recording, begin: float) -> None:
        self.recording, self.begin = recording, begin
        self.place = 0  # of the first event that has not been read
        self.end = begin
        self.chunks = 0
        self.before, self.size = 0, 0  # bytes of content up to the seam, if there is one, and since
        self.counted: int | None = None

    def read_on(self) -> None:
        recording, n = self.recording, len(self.recording)
        whole = recording.whole
        for i in range(self.place, n):
            if text := recording.text_of(i):
                self.size += len(text.encode("utf-8", "surrogatepass"))
                self.chunks += not whole
            else:
                self._other(recording.event(i), whole=whole)
        if n > self.place:
            self.place, self.end = n, self.begin + recording.times[n - 1]

    def _other(self, event: Any, *, whole: bool) -> None:
        """What has no text of its own."""
        if isinstance(event, Metadata):
            self.counted = count(event.usage.get("outputTokens"))
        elif isinstance(event, Seam):  # usage will be that of the second call alone
            self.before = self.before + self.size if event.mode == "continue" else 0
            self.size, self.counted = 0, None
        elif carries(event):
            self.chunks += not whole

    @property
    def estimated(self) -> bool:
        return self.counted is None or self.before > 0

    @property
    def tokens(self) -> int:
        return _estimate(self.before) + (_estimate(self.size) if self.counted is None else self.counted)


def _estimate(size: int) -> int:
    return math.ceil(size / BYTES_PER_TOKEN)


def _recordings(source: Any) -> list[Recording]:
    """The recordings of one turn."""
    alone = isinstance(source, Recording) or hasattr(source, "recording")
    several = [source] if alone else getattr(source, "recordings", source)
    found: list[Any] = (
        [getattr(one, "recording", one) for one in several] if isinstance(several, Iterable) else []
    )
    if not found or not all(isinstance(one, Recording) for one in found):
        raise RequestError(
            f"{kind_of(source)} has no timing.",
            remedy="Give a Recording, a Reply, a Turn, or a list of the recordings of one turn.",
        )
    return found


def _begin(recording: Recording, first: Recording) -> float:
    """When the request was made, seconds since the first one of its turn; 0 if nothing tells."""
    for at, zero in (
        (recording.labels.get("at_s"), first.labels.get("at_s")),
        (recording.started, first.started),
    ):
        if all(isinstance(t, int | float) and abs(t) < 2**53 for t in (at, zero)):  # labels may hold anything
            return max(0.0, float(at) - float(zero))  # type: ignore[arg-type]
    return 0.0


def _rate(known: Sequence[Facts]) -> float | None:
    """Sum of all N - 1 by sum of all ttlt - ttft, of those calls that have a time per output token."""
    after = [(f.N - 1, (f.N - 1) * tpot) for f in known if f.N is not None and (tpot := _TPOT.compute(f))]
    seconds = sum(spent for _, spent in after)
    return sum(n for n, _ in after) / seconds if seconds else None


def _arrivals(recordings: Sequence[Recording], begins: Sequence[float]) -> tuple[tuple[int, ...], float]:
    """Content deltas in each slice of time, and how long a slice is."""
    times = [
        begin + recording.times[i]
        for recording, begin in zip(recordings, begins, strict=True)
        if not recording.whole
        for i in recording.content()
    ]
    last = max(times, default=0.0)
    if last <= 0.0:  # none, or all at once: a plan may say so
        return ((len(times),) if times else ()), 0.0
    slots = [0] * SLICES
    ends = [last * (i + 1) / SLICES for i in range(SLICES - 1)]
    for t in times:
        slots[bisect_right(ends, t)] += 1
    return tuple(slots), last / SLICES


def _time(seconds: float) -> str:
    """A time with its unit: ``4 ms``, ``350 ms``, ``3.21 s``, ``75.4 s``."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:,.{2 if seconds < 9.995 else 1}f} s"


def _tokens(n: int, estimated: bool) -> str:
    return f"{'≈ ' * estimated}{_count(n, 'token')}"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
