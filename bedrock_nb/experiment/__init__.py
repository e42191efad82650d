"""Experiments: several replies asked for so that they can be compared.

Strategy: a module for each kind of experiment, which asks and shows; what it returns is a source for
`bedrock_nb.summary`, the plots and `bedrock_nb.compare`, which do all measuring. All but the race ask
through `aio`, in the event loop of `engine`, in this process or in those of an executor (`workers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_nb.experiment.budget import Budget
    from bedrock_nb.experiment.dataset import Dataset, open_dataset
    from bedrock_nb.experiment.load import Lengths, LoadResult, load_test, saturation
    from bedrock_nb.experiment.racing import Race, race
    from bedrock_nb.experiment.sweeping import Sweep, sweep
    from bedrock_nb.experiment.workers import processes

# Name -> its module: a race needs no pyarrow, a sweep no load test.
_WHERE = {
    "Budget": "budget",
    "Dataset": "dataset",
    "Lengths": "load",
    "LoadResult": "load",
    "Race": "racing",
    "Sweep": "sweeping",
    "load_test": "load",
    "open_dataset": "dataset",
    "processes": "workers",
    "race": "racing",
    "saturation": "load",
    "sweep": "sweeping",
}

__all__ = [
    "Budget",
    "Dataset",
    "Lengths",
    "LoadResult",
    "Race",
    "Sweep",
    "load_test",
    "open_dataset",
    "processes",
    "race",
    "saturation",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
