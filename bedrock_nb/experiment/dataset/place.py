"""Where a dataset is: a folder here, or what fsspec reaches.

Strategy: pyarrow lists and reads both alike. They differ in how a file is written whole: beside its place and
put there, or as one put, which a store of objects shows whole or not at all.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from bedrock_nb import files, lines
from bedrock_nb.errors import RecordingError, RequestError

__all__ = ["Place", "check", "extra"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# What goes wrong with files, here and in the stores that botocore reaches.
_ERRORS = (OSError, BotoCoreError, ClientError)
_PART = re.compile(r"/run=[^/]+/part-[^/]+\.parquet$")


class Place:
    """Where a dataset is: a folder here, or what fsspec reaches.

    Attributes
    ----------
    url : str
        What another process finds it by.
    name : str
        What to call it; neither the path of this machine nor a password is in it.
    root : str
        Its path on ``files``.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        url = folder if isinstance(folder, str) else ""
        self.url = url
        self._remote: Any = None
        if "://" in url and not url.startswith("file://"):
            self._remote, root = _filesystem(url)
            self.files = pafs.PyFileSystem(pafs.FSSpecHandler(self._remote))
            self.name = re.sub(r"//[^/@]*@", "//", url)  # a password may stand there
        else:
            path = lines.as_path(url.removeprefix("file://") or folder).absolute()  # it may travel
            self.files, root = pafs.LocalFileSystem(), str(path)
            self.name = path.name or str(path)
            self.url = str(path)
        self.root = root.rstrip("/")

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole: put in its place here, one put to a store of objects."""
        path = f"{self.root}/{name}"
        try:
            if self._remote is None:
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                files.write_chunks(path, [data], "dataset")
            else:
                self._remote.pipe_file(path, data)
        except _ERRORS as err:
            raise self._error("written", err) from None

    def read(self, name: str) -> bytes | None:
        """A small file, or None if it is not there."""
        try:
            with self.files.open_input_file(f"{self.root}/{name}") as file:
                return bytes(file.read())
        except FileNotFoundError:
            return None
        except _ERRORS as err:
            raise self._error("read", err) from None

    def damage(self, path: str) -> str | None:
        """What keeps a Parquet file from being read, in a word; None: nothing."""
        try:
            pq.read_schema(path, filesystem=self.files)
        except (*_ERRORS, ValueError) as err:  # pyarrow's own errors are of these
            return type(err).__name__
        return None

    def has_part(self, name: str) -> bool:
        """Whether there is such a file, and it is whole."""
        self._look_again()
        path = f"{self.root}/{name}"
        there = self.files.get_file_info(path).type == pafs.FileType.File
        return there and self.damage(path) is None

    def parts(self, table: str, runs: Sequence[str] | None) -> list[str]:
        """The files of a table, in the order of their names."""
        self._look_again()
        places = [table] if runs is None else [f"{table}/run={run}" for run in runs]
        found: list[str] = []
        try:
            for place in places:
                select = pafs.FileSelector(f"{self.root}/{place}", allow_not_found=True, recursive=True)
                found += [info.path for info in self.files.get_file_info(select)]
        except _ERRORS as err:
            raise self._error("read", err) from None
        return sorted(path for path in found if _PART.search(path))

    def _look_again(self) -> None:
        if self._remote is not None:
            self._remote.invalidate_cache()

    def _error(self, what: str, err: Exception) -> RecordingError:
        return RecordingError(
            f"The dataset {self.name!r} cannot be {what}: {lines.why(err)}.",
            remedy="Check the name, and whether this account may.",
        )


def _filesystem(url: str) -> tuple[Any, str]:
    core = extra("fsspec.core", f"{url.partition('://')[0]}:// datasets")
    try:
        filesystem, root = core.url_to_fs(url)
    except (ImportError, ValueError) as err:  # another package is wanted; nobody knows such URLs
        raise RequestError(
            f"There is no way to {url.partition('://')[0]}:// here: {err}",
            remedy='fsspec has packages for each: "s3fs" for s3://, "gcsfs" for gs://, "adlfs" for az://.',
        ) from None
    return filesystem, root


def extra(module: str, what: str, package: str = "bedrock-nb[dask]") -> Any:
    """Import a library that not everybody has."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise RequestError(
            f"{what} need {module.partition('.')[0]}, which is not installed.",
            remedy=f'Install it: pip install "{package}".',
        ) from None


def check(**names: str) -> None:
    """Refuse what cannot be a part of a path everywhere: ``check(run=run)``."""
    for what, name in names.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise RequestError(
                f"The {what} is called {name!r:.60}.",
                remedy="Take letters, digits, dots, dashes and underscores, 100 at most, a letter first.",
            )
