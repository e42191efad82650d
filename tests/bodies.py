"""A body in memory, for what needs no server: the pieces of a response, one a second."""

from __future__ import annotations

from collections.abc import Iterator


class Pieces:
    """A body whose pieces come a second apart, each in a read of its own; it may break at its end."""

    def __init__(self, *pieces: bytes, then: BaseException | None = None) -> None:
        self.pieces, self.then = list(pieces), then
        self.t, self.number, self.late = 0.0, 0, 0.0
        self.waited, self.doubt = 0.0, 0.0
        self.away: float | None = None
        self.tls = False
        self.closed = 0

    def read(self) -> bytes:
        self.t += 1.0
        self.number += 1
        if self.pieces:
            return self.pieces.pop(0)
        if self.then is not None:
            raise self.then
        return b""

    def close(self) -> None:
        self.closed += 1


def cut(data: bytes, sizes: list[int]) -> Iterator[bytes]:
    """Pieces of these sizes, and the rest; none is empty, for that would be the end."""
    begin = 0
    for size in filter(None, sizes):
        yield from filter(None, [data[begin : begin + size]])
        begin += size
    yield from filter(None, [data[begin:]])
