"""Replies as OpenTelemetry spans and metrics, by the conventions for generative AI.

Strategy: `export` takes recordings that exist, `instrument` all replies of this process as they end; both
make one span for a reply, with its true times, a child for each tool that ran, and the metrics. `attributes`
says what is said of a reply, `exporting` says it, `instrumenting` when. OpenTelemetry is imported only when
one of the functions is called.

Names, units and bucket boundaries are those of open-telemetry/semantic-conventions-genai, documents
``docs/gen-ai/client-inference.md`` at commit 024a4f94 and ``docs/gen-ai/gen-ai-token-metrics.md`` at 066d4a7f
(October 2026). They are in Development, and most were renamed in that year: ``names="1.41"`` gives those of
open-telemetry/semantic-conventions v1.41.0, before that move, which more dashboards know. Times are seconds.

``error.type`` is Bedrock's code where that is one that its API documents (``throttlingException``), else the
name of a class in `errors`, or ``interrupted``. What was cancelled is no error. What an error says is never
exported: it may quote a prompt. Bedrock gives an answer no id of its own, so there is no
``gen_ai.response.id``; the request's is ``aws.request_id``.

Prompts, answers and arguments of tools are exported only if that is asked for, by ``content=True`` or, as
instrumentations have it, by ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT=true``; each text then goes
through ``configure(redact=…)`` first. Labels are exported always: keep secrets out of them.

Not here: where it all goes. That is the business of the SDK's providers and exporters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bedrock_nb.errors import RequestError
from bedrock_nb.toolruns import in_order

if TYPE_CHECKING:
    from bedrock_nb.otel.exporting import Names
    from bedrock_nb.otel.instrumenting import Instrumented

__all__ = ["export", "instrument", "uninstrument"]

_PROVIDERS = (
    "Set those of an SDK, opentelemetry.trace.set_tracer_provider(…) and metrics.set_meter_provider(…), "
    "or give tracer_provider=… or meter_provider=…."
)


def export(
    source: Any,
    *,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    content: bool | None = None,
    names: Names = "current",
) -> int:
    """Export recordings that exist: each becomes a trace of its own, with the times at which it happened.

    Files are read twice, one at a time: first all are checked.

    Metrics are stamped by the SDK when it collects them, which no one can change: a histogram of old
    recordings says how long calls took, not when they were made.

    Parameters
    ----------
    source : Recording, Reply, turn, conversation, path, folder, or a collection of these
    tracer_provider, meter_provider : providers of OpenTelemetry, optional
        By default those that are set for the process.
    content : bool, optional
        Whether prompts, answers and arguments of tools go with the spans; by default what the environment
        variable of the conventions says, which is no if it is not set.
    names : {"current", "1.41"}
        Which names the conventions' metrics have: see above.

    Returns
    -------
    int
        How many replies were exported.

    Raises
    ------
    RequestError
        OpenTelemetry is not installed, or has no provider; a recording has not ended, or nobody knows when it
        began. Nothing was exported then.
    """
    from bedrock_nb.otel.exporting import Context, Exporter, goes_nowhere
    from bedrock_nb.table.frame import each

    exporter = Exporter(tracer_provider, meter_provider, content, names)
    if goes_nowhere(tracer_provider, meter_provider):
        raise RequestError(
            "No OpenTelemetry provider is set, so nothing would be exported.", remedy=_PROVIDERS
        )
    source = list(source) if isinstance(source, Iterator) else source
    number = -1
    for number, recording in enumerate(each(source)):
        if recording.status == "streaming":
            raise RequestError(
                f"Recording {number} has not ended yet.",
                remedy="Read its reply to the end, or let instrument() export it when it ends.",
            )
        if recording.started is None:
            raise RequestError(
                f"Nobody knows when recording {number} began: it has no wall-clock time, which a span needs.",
                remedy="Set its .started, in seconds since the epoch; 0.0 puts it at the start of 1970.",
            )
    for recording in each(source):
        within = exporter.reply(recording, recording.error, Context())
        for run in in_order(recording.tools):
            exporter.tool(recording, run, within)
    return number + 1


def instrument(
    *,
    tracer_provider: Any = None,
    meter_provider: Any = None,
    content: bool | None = None,
    names: Names = "current",
) -> Instrumented:
    """Export each reply of this process when it ends: of ``stream``, watched clients and plain calls.

    A span is made when its reply has ended, with the time at which it began. Its parent is the span that was
    current where the reply was asked for, also if another thread reads it; spans that are made meanwhile, as
    those of an HTTP client, become its siblings. To call it again replaces what was said before. Where
    ``opentelemetry-instrumentation-botocore`` is in use, it makes spans of the same calls.

    Providers may be set later; if none is yet, a warning says so.

    Parameters
    ----------
    tracer_provider, meter_provider, content, names
        As for `export`.

    Returns
    -------
    Instrumented
        In a ``with`` statement it ends with that.
    """
    from bedrock_nb.otel.exporting import Exporter, goes_nowhere
    from bedrock_nb.otel.instrumenting import install

    exporter = Exporter(tracer_provider, meter_provider, content, names)
    if goes_nowhere(tracer_provider, meter_provider):
        warnings.warn(
            f"No OpenTelemetry provider is set: nothing is exported before one is. {_PROVIDERS}", stacklevel=2
        )
    return install(exporter)


def uninstrument() -> None:
    """Export no more replies. Nothing happens if none were."""
    from bedrock_nb.otel.instrumenting import uninstall

    uninstall()


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
