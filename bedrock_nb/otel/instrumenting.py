"""Every reply of this process that ends -> OpenTelemetry.

Strategy: `audit` tells when a call begins, when it has ended, and when a tool that it asked for has; the span
is made at the end, with the true times, under the span that was current at the beginning.
"""

from __future__ import annotations

import threading
import weakref
from types import TracebackType

from bedrock_nb import audit
from bedrock_nb.otel.exporting import Context, Exporter, get_current
from bedrock_nb.recording import Recording
from bedrock_nb.toolruns import ToolRun, in_order

__all__ = ["Instrumented", "install", "uninstall"]


class _Live:
    """What is known of a reply on its way: the context it was asked for in, later that of its span."""

    def __init__(self, context: Context) -> None:
        self.context, self.ended, self.over = context, False, False
        self.told: set[int] = set()  # runs of tools; the recording keeps them, so an id stays its own


class Instrumented(audit.Listener):
    """Exports every reply of this process that ends, until `uninstall`, or the end of its ``with``."""

    def __init__(self, exporter: Exporter) -> None:
        # Reentrant: a reply that nobody holds ends wherever the collector finds it. Never held while
        # something is exported, which may take long, and may make replies of its own.
        self._exporter, self._lock = exporter, threading.RLock()
        self._replies: weakref.WeakKeyDictionary[Recording, _Live] = weakref.WeakKeyDictionary()

    def began(self, recording: Recording) -> None:
        """Note the span that is current for who asks: it becomes the parent."""
        with self._lock:
            self._replies[recording] = _Live(get_current())

    def ended(self, recording: Recording, error: BaseException | None) -> None:
        """Export it, and what is known of its tools."""
        with self._lock:
            live = self._replies.setdefault(recording, _Live(Context()))
            if live.ended:
                return
            live.ended = True
        context = self._exporter.reply(recording, error, live.context)
        with self._lock:
            live.context, live.over = context, True
        for run in in_order(list(recording.tools)):
            self.ran(recording, run)

    def ran(self, recording: Recording, run: ToolRun) -> None:
        """Export the run of a tool, once there is a span to be its parent."""
        with self._lock:
            live = self._replies.get(recording)
            if live is None or not live.over or id(run) in live.told:
                return
            live.told.add(id(run))
        self._exporter.tool(recording, run, live.context)

    def __enter__(self) -> Instrumented:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _installed is self:
            uninstall()

    def __repr__(self) -> str:
        return f"<Instrumented{'' if _installed is self else ', ended'}>"


_installed: Instrumented | None = None


def install(exporter: Exporter) -> Instrumented:
    """Export with this one from now on, in place of any before."""
    global _installed
    new = Instrumented(exporter)
    uninstall()
    _installed = new
    audit.listen(new)
    return new


def uninstall() -> None:
    """Export no more. Nothing happens if nobody did."""
    global _installed
    if _installed is not None:
        audit.unlisten(_installed)
        _installed = None
