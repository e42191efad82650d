"""What was said in a conversation: to look at, to add up, to hand on.

Strategy: `Past` holds exchanges and asks nobody anything; `conversation.Conversation` adds the asking. What
is shown and exported is what came; what is sent of it is made in `history`.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bedrock_nb import files
from bedrock_nb.conversation import history, saved
from bedrock_nb.conversation.history import Exchange
from bedrock_nb.message import Message
from bedrock_nb.request import DEFAULT_MODEL
from bedrock_nb.toolruns import ToolRun
from bedrock_nb.tools import Tool

__all__ = ["NOT_SAVED", "Past", "model_of"]

#: Settings that are of a machine or a session, and so not of a saved conversation.
NOT_SAVED = frozenset({"journal", "durability", "labels"})


def model_of(settings: Mapping[str, Any]) -> str:
    """The model that settings name: its id, or its short name."""
    return str(settings.get("model") or settings.get("modelId") or DEFAULT_MODEL)


class Past:
    """The exchanges of a conversation, its settings and its tools.

    Attributes
    ----------
    id : str
        Tells it from others; a label of its recordings.
    exchanges : list of Exchange
    settings : dict
        What each call is given.
    tools : mapping of str to Tool
        By name.
    """

    def __init__(
        self, exchanges: Sequence[Exchange], settings: Mapping[str, Any], tools: Mapping[str, Tool]
    ) -> None:
        self.exchanges, self.settings = list(exchanges), dict(settings)
        self.tools = MappingProxyType(dict(tools))
        self.id = uuid.uuid4().hex[:12]

    @property
    def model(self) -> str:
        """What is asked: the model's id, or its short name."""
        return model_of(self.settings)

    @property
    def partial(self) -> Message | None:
        """What there is of an answer on its way."""
        return None

    @property
    def messages(self) -> tuple[Message, ...]:
        """Everything that was said, as it came, with what there is of an answer on its way (``partial``)."""
        said = [m for exchange in self.exchanges for m in (exchange.prompt, *exchange.messages)]
        partial = self.partial
        return tuple(said if partial is None else [*said, partial])

    def _as_it_stands(self) -> list[Exchange]:
        """The exchanges, the last with what there is of an answer on its way."""
        partial = self.partial
        if partial is None:
            return list(self.exchanges)
        last = self.exchanges[-1].copy()
        last.messages.append(partial)
        return [*self.exchanges[:-1], last]

    @property
    def tool_runs(self) -> list[ToolRun]:
        """What became of each call of a tool, in all turns."""
        return [run for exchange in self.exchanges for run in exchange.tools]

    @property
    def usage(self) -> dict[str, int]:
        """Token counts of all calls, added up, in Bedrock's own names."""
        return history.total(self.exchanges)

    def cost(
        self,
        *,
        input: float,
        output: float,
        cache_read: float | None = None,
        cache_write: float | None = None,
    ) -> float:
        """What all calls cost, at your prices; in the currency of the prices.

        Parameters
        ----------
        input, output : float
            Prices of a million tokens.
        cache_read, cache_write : float, optional
            Of a million input tokens read from, and written to, the prompt cache; by default that of input.

        Notes
        -----
        ``(inputTokens * input + outputTokens * output + cacheReadInputTokens * cache_read +
        cacheWriteInputTokens * cache_write) / 1e6``: Bedrock's ``inputTokens`` has no cached ones in it.
        """
        prices = {
            "inputTokens": input,
            "outputTokens": output,
            "cacheReadInputTokens": input if cache_read is None else cache_read,
            "cacheWriteInputTokens": input if cache_write is None else cache_write,
        }
        return history.cost(self.usage, prices)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the conversation as JSON, mode 0600: settings, everything said, outcomes of tools, tokens.

        Not in it: the client, the functions of the tools (their names are), the recordings (each has its own
        ``save``).

        Raises
        ------
        RequestError
            There is something in it that JSON has no form for.
        RecordingError
            The file cannot be written.
        """
        return files.write_text(path, self.to_json(), "conversation")

    def to_json(self) -> str:
        """What `save` writes: JSON in ASCII.

        Raises
        ------
        RequestError
            There is something in it that JSON has no form for.
        """
        settings = {name: value for name, value in self.settings.items() if name not in NOT_SAVED}
        if not isinstance(settings.get("schema"), Mapping):  # a class has no form in JSON
            settings.pop("schema", None)
        head = {"id": self.id, "settings": settings, "tools": list(self.tools)}
        return saved.dump(head, self._as_it_stands())

    def to_markdown(self) -> str:
        """The conversation as Markdown that is safe to show: raw HTML and images of the model are inert."""
        from bedrock_nb.conversation import (
            transcript,  # late: only who exports needs Markdown and the sanitiser
        )

        return transcript.markdown(self._as_it_stands(), facts=self._facts())

    def to_html(self) -> str:
        """The conversation as an HTML page of its own that runs and fetches nothing."""
        from bedrock_nb.conversation import transcript  # late, as above

        return transcript.html(self._as_it_stands(), facts=self._facts(), page=True)

    def _repr_html_(self) -> str:
        from bedrock_nb.conversation import transcript  # late, as above

        return transcript.html(self._as_it_stands())

    def _facts(self) -> dict[str, str]:
        return {"model": self.model, "turns": str(len(self.exchanges))}

    def __len__(self) -> int:
        return len(self.exchanges)
