"""A row per event.

Strategy: arithmetic on all events at once. The columns of all recordings are put end to end, marks before
events, and one sort by recording and time brings the rows in their order; a recording costs a few copies of
memory, an event no Python object at all. Its text goes from the recording's buffer to Arrow's by offsets.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bedrock_nb.events import Seam
from bedrock_nb.metrics.moments import count
from bedrock_nb.recording import PLAIN, Recording, carries
from bedrock_nb.table.frame import each, sound_text

__all__ = ["EVENT_COLUMNS", "events"]

_NAN = float("nan")
Array: TypeAlias = NDArray[Any]

#: Columns of `events` and their types.
EVENT_COLUMNS: dict[str, str] = {
    "recording": "int64",
    "seq": "Int64",
    "t_s": "float64",
    "gap_s": "float64",
    "type": "str",
    "block": "Int64",
    "text": "str",
    "chars": "int64",
    "bytes": "int64",
    "tokens_est": "float64",
    "read": "Int64",
}


def events(source: Any) -> pd.DataFrame:
    """A row per event, and a row per mark (``request``, ``sent``, ``headers``, ``closed``), in order of time.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or a collection of these

    Returns
    -------
    pandas.DataFrame
        ``recording`` (position in ``source``), ``seq`` (missing for marks), ``t_s`` (seconds since the
        request), ``gap_s`` (seconds since the content delta before; only for content deltas after the
        first, not over a seam and not in an answer that came whole, so that the column pooled is vLLM's
        ITL), ``type``, ``block``, ``text``, ``chars``, ``bytes`` (of the frame), ``tokens_est`` (the exact
        output tokens shared out by length of text), ``read`` (number of the network read: events with the
        same one came in one burst). Half of a surrogate pair, which models do send and Arrow's strings
        refuse, is shown as U+FFFD in ``text``.

    Raises
    ------
    RequestError
        There is something in ``source`` that has no recording.
    RecordingError
        A path that is not a readable recording.
    """
    gathered = _Gathered()
    for recording in each(source):
        gathered.add(recording)
    return gathered.frame()


class _Rows(NamedTuple):
    """Arrays of one length, a row for each mark and then one for each event; ``offsets`` is one longer."""

    recording: Array
    t: Array
    kind: Array
    block: Array
    read: Array
    size: Array
    offsets: Array  # of the texts
    content: Array  # whether it brings something of the answer
    part: Array  # counts the seams before it


class _Gathered:
    """The columns of many recordings, end to end."""

    def __init__(self) -> None:
        self.marks, self.counts, self.text_sizes = array("q"), array("q"), array("q")  # of each recording
        self.tokens, self.whole = array("d"), array("b")
        self.mark_times, self.mark_kinds = array("d"), array("I")
        self.times, self.reads, self.sizes = array("d"), array("I"), array("I")
        self.codes, self.blocks, self.ends = array("B"), array("I"), array("I")
        self.text = bytearray()
        # Events that do not fit the columns: position, kind, block or -1, whether content, whether a seam.
        self.others: list[tuple[int, int, int, bool, bool]] = []
        self.kinds = {kind.__name__: code for code, kind in enumerate(PLAIN)}

    def add(self, recording: Recording) -> None:
        """Take in one recording as it is now."""
        columns, marks, base = recording.columns(), {"request": 0.0, **recording.marks}, len(self.times)
        for i, event in columns.others.items():
            kind, block = self._kind(type(event).__name__), getattr(event, "index", None)
            known = block if type(block) is int and 0 <= block < 2**63 else -1
            self.others.append((base + i, kind, known, carries(event), isinstance(event, Seam)))
        for name in ("times", "reads", "sizes", "codes", "blocks", "ends", "text"):
            getattr(self, name).extend(getattr(columns, name))
        self.mark_times.extend(marks.values())
        self.mark_kinds.extend(map(self._kind, marks))
        self.marks.append(len(marks))
        self.counts.append(len(columns.times))
        self.text_sizes.append(len(columns.text))
        self.whole.append(recording.whole)
        tokens = count(recording.usage.get("outputTokens"))
        self.tokens.append(_NAN if tokens is None else tokens)

    def _kind(self, name: str) -> int:
        return self.kinds.setdefault(name, len(self.kinds))

    def frame(self) -> pd.DataFrame:
        """All of them as one table."""
        rows, m = self._rows(), len(self.mark_times)
        chars = np.asarray(pc.utf8_length(_strings(rows.offsets, self.text)))
        # By recording and time. A mark at the moment of an event stands before it, except the end.
        closed = np.r_[rows.kind[:m] == self.kinds.get("closed", -1), np.zeros(len(self.times), dtype=bool)]
        order = np.lexsort((rows.t, closed, rows.recording))
        firsts = np.repeat(np.cumsum(self.counts) - self.counts, self.counts)
        seq = np.r_[np.zeros(m, dtype=np.int64), np.arange(len(self.times)) - firsts][order]
        block, mark = rows.block[order], order < m
        kinds = pa.array([sound_text(name) for name in self.kinds], pa.large_string())
        texts = _strings(*_repaired(rows.offsets, self.text))
        columns = {
            "recording": rows.recording[order],
            "seq": pd.arrays.IntegerArray(seq, mark),
            "t_s": rows.t[order],
            "gap_s": self._gaps(rows)[order],
            "type": kinds.take(pa.array(rows.kind[order])).to_pandas(),
            "block": pd.arrays.IntegerArray(block, block < 0),
            "text": texts.take(pa.array(order)).to_pandas(),
            "chars": chars[order],
            "bytes": rows.size[order],
            "tokens_est": self._tokens(rows, chars)[order],
            "read": pd.arrays.IntegerArray(rows.read[order], mark.copy()),
        }
        return pd.DataFrame(columns, copy=False)

    def _rows(self) -> _Rows:
        m, n = len(self.mark_times), len(self.times)
        numbers, ends = np.arange(len(self.counts)), np.asarray(self.text_sizes)
        nothing = np.zeros(m, dtype=np.int64)
        rows = _Rows(
            recording=np.r_[np.repeat(numbers, self.marks), np.repeat(numbers, self.counts)],
            t=np.r_[self.mark_times, self.times],
            kind=np.r_[self.mark_kinds, self.codes].astype(np.int64),
            block=np.r_[nothing - 1, self.blocks],
            read=np.r_[nothing, self.reads],
            size=np.r_[nothing, self.sizes],
            offsets=np.r_[0, nothing, np.asarray(self.ends) + np.repeat(np.cumsum(ends) - ends, self.counts)],
            content=np.zeros(m + n, dtype=bool),
            part=np.zeros(m + n, dtype=np.int64),
        )
        rows.content[:] = np.diff(rows.offsets) > 0
        if self.others:
            others = np.array(self.others)
            places = others[:, 0] + m
            for column, values in zip(
                (rows.kind, rows.block, rows.content, rows.part), others.T[1:], strict=True
            ):
                column[places] = values
        np.cumsum(rows.part, out=rows.part)
        return rows

    def _gaps(self, rows: _Rows) -> Array:
        """From content delta to content delta of one recording; not over a seam, none in a plain call."""
        gaps = np.full(len(rows.t), _NAN)
        places = np.flatnonzero(rows.content & (np.asarray(self.whole)[rows.recording] == 0))
        a, b = places[:-1], places[1:]
        joined = (rows.recording[a] == rows.recording[b]) & (rows.part[a] == rows.part[b])
        with np.errstate(invalid="ignore"):  # a file may say that an event came at infinity
            gaps[b] = np.where(joined, rows.t[b] - rows.t[a], _NAN)
        return gaps

    def _tokens(self, rows: _Rows, chars: Array) -> Array:
        """The output tokens of each recording, shared out by length of text."""
        whole = np.bincount(rows.recording, weights=chars, minlength=len(self.counts))[rows.recording]
        with np.errstate(invalid="ignore", divide="ignore"):
            tokens = np.asarray(self.tokens)[rows.recording] * chars / whole
        return np.where(rows.content & (whole > 0), tokens, _NAN)


def _strings(offsets: Array, text: bytearray | bytes) -> pa.LargeStringArray:
    return pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(text))


def _repaired(offsets: Array, text: bytearray) -> tuple[Array, bytearray | bytes]:
    """Offsets and text without halves of surrogate pairs: only they are written as ED and A0 to BF."""
    data = np.frombuffer(text, dtype=np.uint8)
    halves = np.flatnonzero((data[:-1] == 0xED) & (data[1:] >= 0xA0))
    if not halves.size:
        return offsets, text
    rows = np.unique(np.searchsorted(offsets, halves, side="right") - 1)
    pieces: list[bytes | bytearray] = []
    grown, kept = np.zeros(len(offsets), dtype=np.int64), 0
    for row, begin, end in zip(
        rows.tolist(), offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True
    ):
        mended = sound_text(text[begin:end].decode("utf-8", "surrogatepass")).encode()
        pieces += [text[kept:begin], mended]
        grown[row + 1] = len(mended) - (end - begin)
        kept = end
    return offsets + np.cumsum(grown), b"".join([*pieces, text[kept:]])
