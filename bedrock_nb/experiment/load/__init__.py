"""Load: many requests at once, by users who wait or at a rate that does not, and what becomes of answers.

Strategy: `plan` says what is to happen and `arrivals` when; `prompts` and `lengths` say what is asked;
`running` does it and fills `rows`. What it comes to is `result`: a row per second (`seconds`) and per stage
(`levels`), the knee (`bends`), what to be careful about (`caveats`). What stays on disk is the matter of
`keeping`. There are two ways in: `testing`, and `saturating`, which looks for the load that is too much.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_nb.experiment.load.lengths import Lengths
    from bedrock_nb.experiment.load.result import LoadResult
    from bedrock_nb.experiment.load.saturating import saturation
    from bedrock_nb.experiment.load.testing import load_test

# Name -> its module: who draws lengths needs no aiohttp, who reads a result sends nothing.
_WHERE = {
    "Lengths": "lengths",
    "LoadResult": "result",
    "load_test": "testing",
    "saturation": "saturating",
}

__all__ = ["Lengths", "LoadResult", "load_test", "saturation"]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
