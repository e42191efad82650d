"""What a request needs a model to be able to do, read from the arguments of ConverseStream.

Strategy: a table of abilities, each with a small function that sees whether the arguments ask for it. Nothing
is judged: arguments of a wrong shape ask for nothing here, and boto3 says what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

__all__ = ["NEEDS", "THINKING", "needs", "thinks"]

#: Fields of ``additionalModelRequestFields`` that ask for reasoning; each family of models has its own.
THINKING = ("thinking", "reasoning_config", "reasoningConfig")


def needs(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Abilities that a request needs.

    Parameters
    ----------
    kwargs : mapping
        Arguments of ``converse_stream``.

    Returns
    -------
    tuple of str
        Names of abilities, in the order of the table.

    Examples
    --------
    >>> turn = {"role": "user", "content": [{"image": {}}]}
    >>> needs({"messages": [turn], "system": [{"text": "Be brief."}]})
    ('text', 'vision', 'system')
    """
    return tuple(ability for ability, asked in NEEDS if asked(kwargs))


def thinks(config: Any) -> bool:
    """Whether a field of `THINKING` asks for reasoning."""
    return isinstance(config, Mapping) and config.get("type") != "disabled"


def _member(value: Any, *path: str) -> Any:
    """What stands at a path in nested mappings; None where there is nothing."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _each(value: Any) -> Iterator[Mapping[str, Any]]:
    """The mappings in a list."""
    if isinstance(value, list | tuple):
        yield from (item for item in value if isinstance(item, Mapping))


def _turns(kwargs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(_each(_member(kwargs, "messages")))


def _blocks(kwargs: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every content block of every turn, those inside of tool results and guarded content too."""
    for turn in _turns(kwargs):
        for block in _each(turn.get("content")):
            yield block
            yield from _each(_member(block, "toolResult", "content"))
            if isinstance(guarded := block.get("guardContent"), Mapping):
                yield guarded


def _holds(kind: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether there is a block of this kind in a turn."""
    return lambda kwargs: any(kind in block for block in _blocks(kwargs))


def _prefilled(kwargs: Mapping[str, Any]) -> bool:
    turns = _turns(kwargs)
    return bool(turns) and turns[-1].get("role") == "assistant"


def _cached(kwargs: Mapping[str, Any]) -> bool:
    places = (
        _blocks(kwargs),
        _each(_member(kwargs, "system")),
        _each(_member(kwargs, "toolConfig", "tools")),
    )
    return any("cachePoint" in block for place in places for block in place)


def _thinking(kwargs: Mapping[str, Any]) -> bool:
    return any(thinks(_member(kwargs, "additionalModelRequestFields", name)) for name in THINKING)


#: Ability -> whether arguments ask for it.
NEEDS: tuple[tuple[str, Callable[[Mapping[str, Any]], bool]], ...] = (
    ("text", lambda kwargs: True),  # every answer of this API is one
    ("tools", lambda kwargs: bool(_member(kwargs, "toolConfig", "tools"))),
    ("vision", _holds("image")),
    ("documents", _holds("document")),
    ("video", _holds("video")),
    ("system", lambda kwargs: bool(_member(kwargs, "system"))),
    ("prefill", _prefilled),
    ("caching", _cached),
    ("structured_output", lambda kwargs: bool(_member(kwargs, "outputConfig", "textFormat"))),
    ("effort", lambda kwargs: _member(kwargs, "outputConfig", "effort") is not None),
    ("latency_optimized", lambda kwargs: _member(kwargs, "performanceConfig", "latency") == "optimized"),
    ("reasoning", _thinking),
)
