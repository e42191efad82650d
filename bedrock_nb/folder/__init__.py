"""A folder of recordings: thousands of files as one collection, read one at a time.

Strategy: listing a folder reads the first line of each file, which says whether it is a recording, and of
what; events are read when somebody walks over the folder, and let go with the recording. So a filter on
model, label or status parses no event, and a table over ten thousand files needs room for one. What cannot be
read is left out and never silently: a warning, the repr and ``problems`` say so.

`site` finds the files and reads their heads, `progress` shows a bar. Not here: what a file holds (`files`),
tables of it (``table``; asked for through the front door).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from bedrock_nb import lines
from bedrock_nb.errors import RecordingError, RequestError, also, close
from bedrock_nb.folder.progress import shown
from bedrock_nb.folder.site import Head, Labels, Site, warn
from bedrock_nb.recording import Recording

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Folder", "Head", "load_folder"]

# What of a `Head` is no label.
_PARTS = ("model", "status")
# So many values of a label are told.
_TOLD = 8


def load_folder(
    path: str | os.PathLike[str],
    *,
    pattern: str = "**/*.jsonl",
    on_error: Literal["note", "raise"] = "note",
    labels: Labels | None = None,
    progress: bool | None = None,
) -> Folder:
    """Open a folder of recordings; nothing is read until it is needed.

    Parameters
    ----------
    path : path
        The folder.
    pattern : str
        Which of its files: ``*``, ``?`` and ``[abc]`` in names, ``**`` for any number of folders. By default
        all that end in ``.jsonl``, at any depth. Links to folders are not followed, and names that begin with
        a dot are passed over, unless the pattern has such: JupyterLab keeps copies of files there.
    on_error : {"note", "raise"}
        What becomes of a file that is no recording, or is damaged: it is left out, with a warning and a note
        in `Folder.problems`; or it ends the walk with its error.
    labels : mapping or function, optional
        Labels for all recordings besides their own, which win; or a function that makes them of the file's
        path inside the folder: ``lambda path: {"run": path.parent.name}``.
    progress : bool, optional
        Show a bar while the folder is walked over. By default only in walks of more than a second, on a
        terminal or in a notebook.

    Returns
    -------
    Folder

    Raises
    ------
    RecordingError
        There is no such folder, or it is a file.
    RequestError
        ``pattern``, ``on_error`` or ``labels`` is not what it must be.

    Examples
    --------
    >>> import bedrock_nb as nb
    >>> client = nb.connect("local", verbose=False)
    >>> Path("runs").mkdir()
    >>> for n in range(3):
    ...     _ = nb.stream(client, "Count to 3").drain().recording.save(f"runs/{n}.jsonl")
    >>> runs = nb.load_folder("runs")
    >>> len(nb.summary(runs.where(status="complete")))
    3
    """
    root = lines.as_path(path)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        remedy = (
            "Recording.load reads one file." if root.exists() else "Check the name and the working folder."
        )
        raise RecordingError(f"A folder is wanted; {root.name!r} {what}.", remedy=remedy)
    if on_error not in ("note", "raise"):
        raise RequestError(f"on_error is {on_error!r:.40}; 'note' or 'raise' is wanted.")
    if not (labels is None or callable(labels) or isinstance(labels, Mapping)):
        raise RequestError(f"labels are of type {type(labels).__name__}; a dict or a function is wanted.")
    parts = Path(pattern).parts if isinstance(pattern, str) else ()
    if not parts or Path(*parts).is_absolute() or ".." in parts:
        raise RequestError(
            f"{pattern!r:.60} is no pattern of files.",
            remedy='Give one such as "**/*.jsonl", without the folder itself.',
        )
    site = Site(root, pattern, on_error, labels, progress)
    return Folder(site, site.heads)


class Folder:
    """Recordings in files, in the order of their paths. Iteration loads one at a time.

    Made by `load_folder`. Give it to whatever takes recordings: ``nb.summary(folder)``. Its length and
    positions are those of the files that begin as a recording does; of these, iteration leaves out those that
    turn out to be damaged, and indexing raises.
    """

    def __init__(self, site: Site, choose: Callable[[], list[Head]]) -> None:
        self._site, self._choose = site, choose
        self._chosen: list[Head] | None = None

    @property
    def problems(self) -> dict[str, str]:
        """Files that are left out, by their path inside the folder, and why.

        The first use lists the folder, which finds what is no recording. Damage deeper in a file shows once
        that is read: they are all here after one walk.
        """
        self.heads  # noqa: B018
        return self._site.problems

    @property
    def heads(self) -> list[Head]:
        """What is known of each file without its events; the first use lists the folder."""
        if self._chosen is None:
            self._chosen = self._choose()
        return list(self._chosen)

    @property
    def paths(self) -> list[Path]:
        """The files, as ``load_folder`` was given the folder."""
        return [head.path for head in self.heads]

    def __len__(self) -> int:
        return len(self.heads)

    def __iter__(self) -> Iterator[Recording]:
        return (recording for _, recording in self.items())

    @overload
    def __getitem__(self, index: int) -> Recording: ...
    @overload
    def __getitem__(self, index: slice) -> Folder: ...
    def __getitem__(self, index: int | slice) -> Recording | Folder:
        if isinstance(index, slice):
            return Folder(self._site, lambda: self.heads[index])
        heads, site = self.heads, self._site
        if isinstance(index, int) and not -len(heads) <= index < len(heads):
            raise also(RequestError, IndexError)(
                f"There is no recording {index} in {site.name!r}: there are {len(heads):,}.",
                remedy="The first is 0, the last is -1; where() asks for them by model, status and labels.",
            )
        return site.load(heads[index])

    def items(self) -> Iterator[tuple[Head, Recording]]:
        """Each file's head and its recording, one at a time; damaged ones are left out.

        Raises
        ------
        RecordingError
            A file is damaged, and the folder was opened with ``on_error="raise"``.
        """
        site = self._site
        for head in shown(self.heads, site.progress, f"reading {site.name}"):
            try:
                recording = site.load(head)
            except RecordingError as err:
                site.note(head.name, err, "damaged")
                continue
            yield head, recording

    def where(self, test: Callable[[Head], object] | None = None, /, **wanted: Any) -> Folder:
        """The part of the folder that is so; no event is read for it.

        Parameters
        ----------
        test : function, optional
            Of a `Head`: its ``model``, ``labels``, ``status``, ``started``, ``clock``, ``name``.
        **wanted
            A value, or a list of values, for ``model``, ``status`` or a label. A label whose name is taken
            is asked for as ``label_model``, as in ``nb.summary``.

        Returns
        -------
        Folder
            Chosen when it is first used; then RequestError if no recording has such a label, and a warning if
            none has such a value of it, or such a model.

        Notes
        -----
        What only the events tell (errors, stop reasons, times) is asked in Python:
        ``[r for r in folder if r.error]``, or of the table: ``nb.summary(folder).query("ttft_s > 1")``.
        """
        if test is not None and not callable(test):
            raise RequestError(
                f"where takes a function or names, not a {type(test).__name__}.",
                remedy='For example folder.where(model="…"), or folder.where(lambda head: head.labels).',
            )
        return Folder(self._site, lambda: _chosen(self.heads, test, wanted))

    def summary(self, **options: Any) -> pd.DataFrame:
        """A row per reply, as ``bedrock_nb.summary``, after a column ``path``: its path inside the folder."""
        import bedrock_nb

        names: list[str] = []

        def walk() -> Iterator[Recording]:
            for head, recording in self.items():
                names.append(head.name)
                yield recording

        table: pd.DataFrame = bedrock_nb.summary(walk(), **options)
        name = "path"
        while name in table.columns:  # a label's
            name = f"folder_{name}"
        table.insert(0, name, names)
        return table

    def events(self) -> pd.DataFrame:
        """A row per event of all recordings, as ``bedrock_nb.events``; `batches` needs less memory."""
        import bedrock_nb

        return bedrock_nb.events(self)

    def batches(self, rows: int = 100_000) -> Iterator[pd.DataFrame]:
        """The rows of ``bedrock_nb.events`` in tables of up to ``rows`` rows, one after another.

        Parameters
        ----------
        rows : int
            Most rows of a table. In memory are that many besides those of the longest recording.

        Yields
        ------
        pandas.DataFrame
            ``recording`` counts over all tables, as the rows of `summary` do; ``path`` besides, at the end.
        """
        import bedrock_nb

        for first, heads, recordings in _groups(self.items(), rows):
            table = bedrock_nb.events(recordings)
            names = [head.name for head in heads]
            table["path"] = [names[number] for number in table["recording"]]
            table["recording"] += first
            for begin in range(0, len(table), rows):
                yield table.iloc[begin : begin + rows].reset_index(drop=True)

    def reader(self, rows: int = 100_000) -> pa.RecordBatchReader:
        """The rows of ``bedrock_nb.events`` as a stream of Arrow batches; see ``formats.record_batches``."""
        import bedrock_nb

        reader: pa.RecordBatchReader = bedrock_nb.formats.record_batches(self, rows=rows)
        return reader

    def __repr__(self) -> str:
        site = self._site
        try:
            names = {head.name for head in self.heads}
        except (RecordingError, RequestError) as err:
            return f"<Folder {site.name!r}: {err.what}>"
        damaged = len(names & self.problems.keys())
        other = len(self.problems) - len(site.known & self.problems.keys())
        said = f"{_count(len(names) - damaged, 'recording')} in {site.name!r}"
        said += f", {damaged:,} damaged" if damaged else ""
        said += f", {_count(other, 'other file')} left out" if other and len(names) == len(site.known) else ""
        return f"<Folder: {said}>"


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}" if n else f"no {noun}s"


# -- its parts --------------------------------------------------------------------------------------


def _chosen(
    heads: list[Head], test: Callable[[Head], object] | None, wanted: Mapping[str, Any]
) -> list[Head]:
    """The heads that fit; RequestError for a label that none of them has."""
    allowed = {
        name: list(value) if isinstance(value, list | tuple | set | frozenset) else [value]
        for name, value in wanted.items()
    }
    known = {str(label) for head in heads for label in head.labels}
    labels = {name: _label(name, known) for name in wanted if name not in _PARTS}
    for label in labels.values():
        if heads and label not in known:
            raise RequestError(
                f"No recording here has a label {label!r:.60}.",
                remedy=f"{close(label, known)}Their labels: {', '.join(sorted(known)) or 'none':.300}. "
                "Besides there are model and status.",
            )
    for name, values in allowed.items():
        if name != "status":  # that none failed is no slip of the pen
            there = [head.labels.get(labels[name]) if name in labels else head.model for head in heads]
            _warn_of_none(name, values, there, name not in labels and name in known)

    def fits(head: Head) -> bool:
        for name, values in allowed.items():
            value = head.labels.get(labels[name]) if name in labels else getattr(head, name)
            if value not in values:
                return False
        return test is None or bool(test(head))

    return [head for head in heads if fits(head)]


def _warn_of_none(name: str, values: list[Any], there: list[Any], twin: bool) -> None:
    """Say that no recording has one of these values, and which they have; ``twin``: a label has the name."""
    if not there or any(value in values for value in there):
        return
    known = list({repr(value): value for value in there if value is not None}.values())
    told = ", ".join(f"{value!r:.60}" for value in known[:_TOLD]) + ", …" * (len(known) > _TOLD)
    asked = " or ".join(f"{value!r:.60}" for value in values[:_TOLD])
    hint = close(values[0], known) if len(values) == 1 else ""
    warn(
        f"No recording here has {name}={asked or 'one of nothing'}. {hint}There are: {told or 'none'}."
        + f" The label of that name is asked for as label_{name}." * twin
    )


def _label(name: str, known: Collection[str]) -> str:
    """The label that a column of the summary is; those whose names are taken stand after ``label_`` there."""
    bare = name.removeprefix("label_")
    return bare if name not in known and bare in (*known, *_PARTS) else name


def _groups(
    items: Iterable[tuple[Head, Recording]], rows: int
) -> Iterator[tuple[int, list[Head], list[Recording]]]:
    """Neighbours with about so many rows together, and the number of the first."""
    if type(rows) is not int or rows < 1:
        raise RequestError(f"rows is {rows!r:.40}; a whole number from 1 on is wanted.")
    first, held = 0, 0
    heads: list[Head] = []
    recordings: list[Recording] = []
    for head, recording in items:
        more = len(recording) + len(recording.marks) + 1
        if recordings and held + more > rows:
            yield first, heads, recordings
            first, held, heads, recordings = first + len(recordings), 0, [], []
        heads.append(head)
        recordings.append(recording)
        held += more
    if recordings:
        yield first, heads, recordings
