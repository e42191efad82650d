"""Experiments: several replies asked for so that they can be compared.

Strategy: a module for each kind of experiment, which asks and shows; what it returns is a source for
`bedrock_nb.summary`, the plots and `bedrock_nb.compare`, which do all measuring.
"""

from __future__ import annotations

from bedrock_nb.experiment.racing import Race, race

__all__ = ["Race", "race"]
