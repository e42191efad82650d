"""What a sweep gives back: its finished replies, read one at a time.

Strategy: a sequence that knows keys and loads recordings. So a hundred thousand replies need room for one,
and all that takes recordings takes a sweep.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, overload

from bedrock_nb import render
from bedrock_nb.errors import RequestError, also, without_accounts
from bedrock_nb.experiment.grid import Cell
from bedrock_nb.experiment.store import FAILED
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Sweep"]

#: So many values of a dimension are told.
_TOLD = 8


class Sweep(Sequence[Recording]):
    """The finished replies of a sweep, in the order in which they were to be asked.

    Each is read from the folder when somebody looks at it; those of an executor are walked over in the order
    of their files. `bedrock_nb.summary`, `bedrock_nb.compare` and all plots take a sweep as it is.

    Attributes
    ----------
    status : str
        ``"complete"``, ``"interrupted"``, or ``"stopped: "`` and the limit of the budget that was reached;
        ``"not asked"`` of a dry run.
    cells : tuple of Cell
        All that was to be asked.
    left : tuple of Cell
        What of it was not asked, or not to the end.
    failed : int
        How many of the replies failed; they are among the others.
    warmup : int
        Replies asked for before, which are not here.
    folder : str or None
        Where the replies are; the same sweep with this folder goes on.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        load: Callable[[str], Recording],
        done: Mapping[str, str],
        *,
        status: str,
        warmup: int = 0,
        folder: str | os.PathLike[str] | None = None,
        walk: Callable[[], Iterator[Recording]] | None = None,
        table: Callable[[], pd.DataFrame] | None = None,
    ) -> None:
        self.cells, self.status, self.warmup = tuple(cells), status, warmup
        self.folder = None if folder is None else os.fspath(folder)
        self.left = tuple(cell for cell in cells if cell.key not in done)
        self.failed = sum(done.get(cell.key) in FAILED for cell in cells)
        self._done = [cell for cell in cells if cell.key in done]
        self._load, self._walk, self._table = load, walk, table

    @property
    def counts(self) -> dict[str, Any]:
        """How it stands, in plain values: ``status``, ``finished``, ``failed``, ``left``."""
        return {
            "status": self.status,
            "finished": len(self),
            "failed": self.failed,
            "left": len(self.left),
        }

    @property
    def dimensions(self) -> dict[str, list[Any]]:
        """What varies, and its values in order: labels, ``repeat`` the last; models by given names."""
        found: dict[str, dict[str, Any]] = {"model": {}}
        for cell in self.cells:
            for name, value in {"model": cell.request.model, **cell.labels}.items():
                found.setdefault(name, {})[str(value)] = value
        found["repeat"] = found.pop("repeat", {})
        return {name: sorted(values.values(), key=_place) for name, values in found.items()}

    @overload
    def __getitem__(self, index: int) -> Recording: ...
    @overload
    def __getitem__(self, index: slice) -> list[Recording]: ...
    def __getitem__(self, index: int | slice) -> Recording | list[Recording]:
        if isinstance(index, slice):
            return [self._load(cell.key) for cell in self._done[index]]
        if not -len(self) <= index < len(self):
            raise also(RequestError, IndexError)(
                f"There is no reply {index} in this sweep: {len(self):,} are finished.",
                remedy="The first is 0, the last is -1.",
            )
        return self._load(self._done[index].key)

    def __iter__(self) -> Iterator[Recording]:
        return super().__iter__() if self._walk is None else self._walk()

    def __len__(self) -> int:
        return len(self._done)

    @property
    def table(self) -> pd.DataFrame:
        """A row per reply, see `bedrock_nb.summary`; each dimension of the grid is a column.

        Models to which the grid gave names have them in ``label_model``; ``model`` is the id, as ever.
        """
        if self._table is not None:
            return self._table()
        from bedrock_nb.table import summary  # late: pandas

        return summary(self)

    def __repr__(self) -> str:
        return f"<Sweep of {len(self.cells):,}: {', '.join(self._said())}>"

    def _repr_html_(self) -> str:
        # No times: a saved notebook compares equal when it is run again.
        rows = [(name, f"{len(of):,}", _told(of)) for name, of in self.dimensions.items() if name != "repeat"]
        rows.append(("replies", f"{len(self.cells):,}", ", ".join(self._said())))
        return render.together(render.table(("setting", "number", "values"), rows))

    def _said(self) -> Iterator[str]:
        yield f"{len(self):,} finished"
        if self.failed:
            yield f"{self.failed:,} failed"
        if self.left:
            yield f"{len(self.left):,} left"
        if self.warmup:
            yield f"{self.warmup:,} for warming up besides"
        yield self.status


def _told(values: Sequence[Any]) -> str:
    """Some values in a line."""
    told = (render.visible(without_accounts(str(value))) for value in values[:_TOLD])
    return ", ".join(told) + ", …" * (len(values) > _TOLD)


def _place(value: Any) -> tuple[bool, Any, str]:
    """Numbers in their order, then texts in theirs."""
    number = isinstance(value, int | float)
    return not number, value if number else 0, str(value)
