"""Replies of many processes as one dataset of Parquet files: written in parts, read without loading all.

Strategy: whoever asked writes. A part holds some replies and is there whole or not at all; its name is given
by who planned the work, so work that is done twice is there once. A run belongs to the attempt that began
last: a worker that was given up, and comes back from the dead, finds that its attempt is over and leaves no
part. So a restart need only read which keys are there, and nothing is locked, which stores of objects could
not.

    <folder>/replies/run=<run>/part-<name>.parquet    key, columns of nb.summary, labels, recording
    <folder>/events/run=<run>/part-<name>.parquet     key, columns of nb.events but for the recording's number

``recording`` is what `Recording.save` would write, byte for byte. A folder is a path, or a URL that fsspec
knows. `place` knows where that is, `parts` writes, `joined` makes one table of many files, `reading` reads.
"""

from __future__ import annotations

from bedrock_nb.experiment.dataset.parts import begin, label_kinds, read_part, write_part
from bedrock_nb.experiment.dataset.reading import Dataset, open_dataset

__all__ = ["Dataset", "begin", "label_kinds", "open_dataset", "read_part", "write_part"]
