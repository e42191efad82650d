"""bedrock_nb: a notebook toolkit for Amazon Bedrock's streaming API.

See every token arrive, keep it, measure it, replay it.

    import bedrock_nb as nb
    client = nb.connect()                                # an embedded Bedrock: no AWS account needed
    reply = nb.live(nb.stream(client, "Tell me about rainbows"))
    nb.summary(reply)                                    # time to first token, pace, tokens …
    nb.plot.anatomy(reply)                               # one stream in one picture

Everything public is one attribute away and loaded when it is first used, so that the import is quick.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_nb import errors, eventstream, formats, metrics, models, otel, plot, render, server, stats
    from bedrock_nb.aio import AsyncReply, astream
    from bedrock_nb.check import check
    from bedrock_nb.client import connect
    from bedrock_nb.compare import Comparison, compare
    from bedrock_nb.content import (
        add_assistant_message,
        add_user_message,
        assistant,
        audio,
        cache_point,
        document,
        guarded,
        image,
        search_result,
        user,
        video,
    )
    from bedrock_nb.conversation import Conversation
    from bedrock_nb.conversation.limits import Limits
    from bedrock_nb.conversation.turn import Turn
    from bedrock_nb.course.grading import grade, progress
    from bedrock_nb.course.guess import Guess
    from bedrock_nb.doctor import doctor
    from bedrock_nb.errors import BedrockNbError
    from bedrock_nb.experiment import (
        Budget,
        Dataset,
        Lengths,
        LoadResult,
        Race,
        Sweep,
        load_test,
        open_dataset,
        race,
        saturation,
        sweep,
    )
    from bedrock_nb.folder import Folder, load_folder
    from bedrock_nb.formats import read_aiperf, read_llmeter, record_batches, to_parquet
    from bedrock_nb.live import live
    from bedrock_nb.mcp_tools import MCPServer
    from bedrock_nb.message import Message
    from bedrock_nb.observers import Observer
    from bedrock_nb.panel import ChatPanel
    from bedrock_nb.recording import Recording, recordings
    from bedrock_nb.reply import Reply
    from bedrock_nb.report import report
    from bedrock_nb.request import Request
    from bedrock_nb.settings import configure
    from bedrock_nb.slider import ReplaySlider
    from bedrock_nb.streaming import chat, resume, stream
    from bedrock_nb.table import breakdown, bursts, events, goodput, summary, tool_calls, totals, usage
    from bedrock_nb.tap import watch
    from bedrock_nb.timeouts import Timeouts
    from bedrock_nb.tools import ToolContext, tool

__version__ = "0.1.0"

# Public name -> the module that has it; None: the name is a module of its own.
_PUBLIC: dict[str, str | None] = {
    "AsyncReply": "aio",
    "BedrockNbError": "errors",
    "Budget": "experiment",
    "ChatPanel": "panel",
    "Comparison": "compare",
    "Conversation": "conversation",
    "Dataset": "experiment",
    "Folder": "folder",
    "Guess": "course.guess",
    "Lengths": "experiment",
    "Limits": "conversation.limits",
    "LoadResult": "experiment",
    "MCPServer": "mcp_tools",
    "Message": "message",
    "Observer": "observers",
    "Race": "experiment",
    "Recording": "recording",
    "ReplaySlider": "slider",
    "Reply": "reply",
    "Request": "request",
    "Sweep": "experiment",
    "Timeouts": "timeouts",
    "ToolContext": "tools",
    "Turn": "conversation.turn",
    "add_assistant_message": "content",
    "add_user_message": "content",
    "assistant": "content",
    "astream": "aio",
    "audio": "content",
    "breakdown": "table",
    "bursts": "table",
    "cache_point": "content",
    "chat": "streaming",
    "check": "check",
    "compare": "compare",
    "configure": "settings",
    "connect": "client",
    "doctor": "doctor",
    "document": "content",
    "errors": None,
    "events": "table",
    "eventstream": None,
    "formats": None,
    "goodput": "table",
    "grade": "course.grading",
    "guarded": "content",
    "image": "content",
    "live": "live",
    "load_folder": "folder",
    "load_test": "experiment",
    "metrics": None,
    "models": None,
    "open_dataset": "experiment",
    "otel": None,
    "plot": None,
    "progress": "course.grading",
    "race": "experiment",
    "read_aiperf": "formats",
    "read_llmeter": "formats",
    "record_batches": "formats",
    "recordings": "recording",
    "render": None,
    "report": "report",
    "resume": "streaming",
    "saturation": "experiment",
    "search_result": "content",
    "server": None,
    "stats": None,
    "stream": "streaming",
    "summary": "table",
    "sweep": "experiment",
    "to_parquet": "formats",
    "tool": "tools",
    "tool_calls": "table",
    "totals": "table",
    "usage": "table",
    "user": "content",
    "video": "content",
    "watch": "tap",
}

__all__ = [
    "AsyncReply",
    "BedrockNbError",
    "Budget",
    "ChatPanel",
    "Comparison",
    "Conversation",
    "Dataset",
    "Folder",
    "Guess",
    "Lengths",
    "Limits",
    "LoadResult",
    "MCPServer",
    "Message",
    "Observer",
    "Race",
    "Recording",
    "ReplaySlider",
    "Reply",
    "Request",
    "Sweep",
    "Timeouts",
    "ToolContext",
    "Turn",
    "add_assistant_message",
    "add_user_message",
    "assistant",
    "astream",
    "audio",
    "breakdown",
    "bursts",
    "cache_point",
    "chat",
    "check",
    "compare",
    "configure",
    "connect",
    "doctor",
    "document",
    "errors",
    "events",
    "eventstream",
    "formats",
    "goodput",
    "grade",
    "guarded",
    "image",
    "live",
    "load_folder",
    "load_test",
    "metrics",
    "models",
    "open_dataset",
    "otel",
    "plot",
    "progress",
    "race",
    "read_aiperf",
    "read_llmeter",
    "record_batches",
    "recordings",
    "render",
    "report",
    "resume",
    "saturation",
    "search_result",
    "server",
    "stats",
    "stream",
    "summary",
    "sweep",
    "to_parquet",
    "tool",
    "tool_calls",
    "totals",
    "usage",
    "user",
    "video",
    "watch",
]


class _Front(ModuleType):
    """The package as users see it: public names are loaded late, and win over modules of the same name.

    ``bedrock_nb.events`` is a function (a table) although there is a module ``bedrock_nb.events`` (the
    typed events): importing that module would put it in the function's place, so that is not let happen.
    ``from bedrock_nb.events import TextDelta`` works as ever.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _PUBLIC:
            raise AttributeError(f"module 'bedrock_nb' has no attribute {name!r}")
        where = _PUBLIC[name]
        module = importlib.import_module(f"bedrock_nb.{where or name}")
        value = getattr(module, name) if where else module
        self.__dict__[name] = value
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _PUBLIC.get(name):
            return
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return [*__all__, *(name for name in self.__dict__ if name.startswith("__"))]


def load_ipython_extension(ip: Any) -> None:
    """Add ``%%converse`` and ``%bedrock`` to IPython: ``%load_ext bedrock_nb``."""
    importlib.import_module("bedrock_nb.magics").load(ip)


def unload_ipython_extension(ip: Any) -> None:
    """Take them away again: ``%unload_ext bedrock_nb``."""
    importlib.import_module("bedrock_nb.magics").unload(ip)


sys.modules[__name__].__class__ = _Front
