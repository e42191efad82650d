"""What the server really did: when each write of each answer left, for checking any client's measurement.

Strategy: the endpoint opens a `Truth` for each request and notes every write in typed columns, 32 bytes a
write: when it was due, when it was begun and done, its bytes and its events. Times are seconds after the
request arrived, on the monotonic clock, which on Linux all processes of a machine share; `arrived` is that
clock's reading, `started` the wall clock's at the same moment. A `Log` keeps the latest, up to a number of
requests and of writes, so that a server that runs for a month does not grow. Of those without a write, which
are refusals above all, it keeps few: who asks again and again in vain drives out nobody's answers.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias
from urllib.parse import quote

from bedrock_nb.errors import RequestError, ServerError

if TYPE_CHECKING:
    import pandas as pd

    from bedrock_nb.recording import Recording

__all__ = ["Log", "Outcome", "Truth", "fetch"]

#: How an answer ended: sent whole, an HTTP error, broken off by a fault, the client went away.
Outcome: TypeAlias = Literal["open", "complete", "refused", "broken", "gone"]

_MOST_REQUESTS = 2_000
_MOST_WRITES = 400_000  # 13 MB
_EMPTY = 0.25  # of the requests: no more than these may be ones without a write
_POINTS = 120  # of a timeline
_PATIENCE = 10.0  # seconds that `fetch` waits for an answer
_COLUMNS = {"due": "d", "begun": "d", "done": "d", "nbytes": "I", "events": "I"}
_FIELDS = ("request_id", "operation", "model", "arrived", "started", "queued_s", "law", "fault", "metadata")
_ENDING = ("http_status", "code", "outcome", "ended_s")


class Truth:
    """One request, as the server knows it.

    Attributes
    ----------
    request_id : str
        ``x-amzn-RequestId`` of the answer; `Reply.envelope` and the summary table have it.
    operation, model : str
        What was asked of whom.
    arrived, started : float
        When: on the monotonic clock, and on the wall clock; seconds.
    queued_s : float
        Seconds that it waited for a free place.
    law, fault : str or None
        The latency law that the answer follows, and what went wrong with it.
    due, begun, done : array of float
        For each write, seconds after `arrived`: when it was to be made, when it was given to the operating
        system, and when that had taken it.
    nbytes, events : array of int
        Bytes of each write, and events that end in it.
    http_status : int or None
        None until something was sent.
    outcome : {"open", "complete", "refused", "broken", "gone"}
    ended_s : float or None
        When the answer was over, seconds after `arrived`.
    student : str
        In a classroom, who asked.
    tokens : int
        Input and output, by the answer's own count; once it is over.
    """

    def __init__(
        self, request_id: str, operation: str = "", *, arrived: float = 0.0, started: float = 0.0
    ) -> None:
        self.request_id, self.operation, self.arrived, self.started = request_id, operation, arrived, started
        self.model, self.queued_s = "", 0.0
        self.law: str | None = None
        self.fault: str | None = None
        self.metadata: dict[str, Any] = {}
        self.http_status: int | None = None
        self.code: str | None = None
        self.outcome: Outcome = "open"
        self.ended_s: float | None = None
        self.student, self.tokens = "", 0
        self.counted = 0  # writes that its log has counted
        self._shown: dict[str, Any] | None = None
        self.due, self.begun, self.done = array("d"), array("d"), array("d")
        self.nbytes, self.events = array("I"), array("I")

    def _columns(self) -> list[list[Any]]:
        """The columns, all of one length: another thread may be in the middle of `wrote`."""
        whole = len(self.events)  # the column that `wrote` fills last
        return [list(getattr(self, name)[:whole]) for name in _COLUMNS]

    def wrote(self, due: float, begun: float, done: float, nbytes: int, events: int) -> None:
        """Note one write; times are seconds after the request arrived."""
        self.due.append(due)
        self.begun.append(begun)
        self.done.append(done)
        self.nbytes.append(nbytes)
        self.events.append(events)

    def end(self, outcome: Outcome) -> None:
        """Note that it is over, and how; the first who knows is right."""
        if self.outcome == "open":
            self.ended_s = time.monotonic() - self.arrived
            self.outcome = outcome

    @property
    def late_s(self) -> list[float]:
        """How late each write was begun, seconds; never negative but for the clock's grain."""
        due, begun, *_ = self._columns()
        return [b - d for b, d in zip(begun, due, strict=True)]

    def event_times(self) -> list[float]:
        """When each event was given to the operating system, seconds after the request arrived."""
        _, begun, _, _, events = self._columns()
        return [t for t, number in zip(begun, events, strict=True) for _ in range(number)]

    def to_frame(self) -> pd.DataFrame:
        """A row for each write: ``write, due_s, begun_s, done_s, late_s, bytes, events``.

        Times are seconds after the request arrived; ``late_s`` is ``begun_s - due_s``.
        """
        import pandas as pd

        due, begun, done, nbytes, events = self._columns()
        late = [b - d for b, d in zip(begun, due, strict=True)]
        return pd.DataFrame(
            {
                "write": range(len(due)),
                "due_s": due,
                "begun_s": begun,
                "done_s": done,
                "late_s": late,
                "bytes": nbytes,
                "events": events,
            }
        )

    def against(self, recording: Recording) -> pd.DataFrame:
        """A client's times beside the server's: a row for each event that both know.

        Parameters
        ----------
        recording : Recording
            What a client on this machine recorded of this very answer.

        Returns
        -------
        DataFrame
            ``seq, type, client_s, server_s, error_s, gap_error_s``: the event's time by the client and by
            the server, both in seconds after the client's start; their difference, which holds the way
            through the operating system; and the difference of the gaps to the event before.

        Raises
        ------
        RequestError
            The recording is of another answer, or has no wall-clock time.
        """
        import pandas as pd

        if recording.envelope.get("request_id") not in (None, self.request_id):
            raise RequestError(
                f"The recording is of request {recording.envelope['request_id']}, this truth of "
                f"{self.request_id}.",
                remedy="Fetch the truth with the recording's own id: recording.envelope['request_id'].",
            )
        if recording.started is None:
            raise RequestError("The recording does not know when it began.", remedy="Take one from a client.")
        # Both wall clocks are this machine's, read beside the monotonic one: they join the two axes.
        shift = self.started - recording.started
        server = [t + shift for t in self.event_times()]
        count = min(len(server), len(recording))
        client = list(recording.times[:count])
        server = server[:count]
        error = [c - s for c, s in zip(client, server, strict=True)]
        gaps = [math.nan, *(b - a for a, b in pairwise(error))][:count]
        kinds = [recording.kind(i).__name__ for i in range(count)]
        return pd.DataFrame(
            {
                "seq": range(count),
                "type": kinds,
                "client_s": client,
                "server_s": server,
                "error_s": error,
                "gap_error_s": gaps,
            }
        )

    def summary(self) -> dict[str, Any]:
        """What the status page shows of it, as JSON; of what is over, made once."""
        if self._shown is not None:
            return self._shown
        over = self.outcome != "open"  # before all else: it may end meanwhile, in another thread
        due, begun, _, nbytes, events = self._columns()
        late = max((b - d for b, d in zip(begun, due, strict=True)), default=None)
        shown = {
            "id": self.request_id,
            "student": self.student,
            "operation": self.operation,
            "model": self.model,
            "arrived": self.started,
            "queued_s": self.queued_s,
            "http_status": self.http_status,
            "outcome": self.outcome,
            "code": self.code,
            "fault": self.fault,
            "ended_s": self.ended_s,
            "writes": len(due),
            "bytes": sum(nbytes),
            "events": sum(events),
            "late_ms": None if late is None else late * 1000,
            "metadata": self.metadata,
            "timeline": list(_timeline(begun, events, nbytes)),
        }
        if over:
            self._shown = shown
        return shown

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON."""
        columns = zip(_COLUMNS, self._columns(), strict=True)
        return {name: getattr(self, name) for name in _FIELDS + _ENDING} | dict(columns)

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> Truth:
        """The inverse of `to_dict`."""
        truth = cls(known["request_id"])
        for name in _FIELDS + _ENDING:
            setattr(truth, name, known[name])
        for name, code in _COLUMNS.items():
            setattr(truth, name, array(code, known[name]))
        return truth

    def __repr__(self) -> str:
        return (
            f"<Truth of {self.operation} {self.request_id}: {self.outcome}, {len(self.due)} writes, "
            f"{sum(self.events)} events>"
        )


def _timeline(begun: list[float], events: list[int], nbytes: list[int]) -> Iterator[tuple[float, int, int]]:
    """Time, events and bytes of at most `_POINTS` groups of neighbouring writes; the first two stay alone.

    They are the start of the message and the first content, which are to be told apart.
    """
    size = max(1, math.ceil((len(begun) - 2) / (_POINTS - 2)))
    for i in (*range(min(2, len(begun))), *range(2, len(begun), size)):
        group = slice(i, i + (1 if i < 2 else size))
        yield round(begun[i], 6), sum(events[group]), sum(nbytes[group])


class Log:
    """The truths of the latest requests, by their id. Read from any thread."""

    def __init__(self, most: int = _MOST_REQUESTS, most_writes: int = _MOST_WRITES) -> None:
        self._most, self._most_writes = most, most_writes
        self._known: dict[str, Truth] = {}
        self._lock = threading.Lock()
        self.answered = 0
        self._writes = 0  # of answers that are over
        self._empty: deque[str] = deque()  # ids of those that are over without a write

    def open(self, request_id: str) -> Truth:
        """Begin with a request that arrives now."""
        truth = Truth(request_id, arrived=time.monotonic(), started=time.time())
        with self._lock:
            self._known[request_id] = truth
            while len(self._known) > self._most:
                self._forget()
        return truth

    def close(self, truth: Truth, outcome: Outcome) -> None:
        """Count it as over; how it ended, unless that is known already."""
        truth.end(outcome)
        with self._lock:
            self.answered += 1
            if truth.request_id in self._known:
                truth.counted = len(truth.due)
                self._writes += truth.counted
                if truth.counted == 0:
                    self._empty.append(truth.request_id)
                    if len(self._empty) > self._most * _EMPTY:
                        self._known.pop(self._empty.popleft(), None)
            while self._writes > self._most_writes and len(self._known) > 1:
                self._forget()

    def _forget(self) -> None:
        """Drop the oldest; an open one goes on without being known."""
        oldest = self._known.pop(next(iter(self._known)))
        self._writes -= oldest.counted

    def get(self, request_id: str) -> Truth | None:
        """What is known of a request."""
        return self._known.get(request_id)

    def latest(self, number: int, student: str = "") -> list[Truth]:
        """The latest requests, newest first; of one student, if one is named."""
        with self._lock:
            newest = reversed(self._known.values())
            return list(islice((each for each in newest if student in ("", each.student)), number))

    def counts(self) -> dict[str, int]:
        """How many requests are open, and how many were answered."""
        with self._lock:
            return {
                "open": sum(truth.outcome == "open" for truth in self._known.values()),
                "answered": self.answered,
            }


def fetch(url: str, request_id: str) -> Truth:
    """Ask a running server for the truth about a request.

    Parameters
    ----------
    url : str
        Where the server is, ``http://127.0.0.1:…``.
    request_id : str
        The ``x-amzn-RequestId`` of an answer.

    Raises
    ------
    RequestError
        The server does not know that request: it is of another server, or was long ago.
    ServerError
        No embedded server answers there.
    """
    import urllib3

    place = f"{url.rstrip('/')}/truth/{quote(request_id, safe='')}"
    try:
        with urllib3.PoolManager() as pool:
            response = pool.request("GET", place, retries=False, timeout=_PATIENCE)
        if response.status == 200:
            return Truth.from_dict(response.json())
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, TypeError) as err:
        raise ServerError(
            f"No embedded server answers at {url}: {type(err).__name__}.",
            remedy="Is it still running? Its address is server.endpoint_url, or what local() returns.",
        ) from err
    raise RequestError(
        f"The server at {url} does not know the request {request_id[:60]}.",
        remedy=f"It keeps the latest {_MOST_REQUESTS}; take the id from reply.envelope['request_id'].",
    )
