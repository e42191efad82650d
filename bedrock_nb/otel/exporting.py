"""Recordings in, OpenTelemetry's spans and metrics out.

Strategy: an `Exporter` holds a tracer and the instruments; it decides nothing about when. All of what is
OpenTelemetry's is imported here, and only the API of it: who runs the program brings an SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from bedrock_nb.errors import RequestError
from bedrock_nb.metrics import Facts, facts, measure
from bedrock_nb.otel import attributes
from bedrock_nb.recording import Recording
from bedrock_nb.settings import check_choice
from bedrock_nb.toolruns import ToolRun

try:
    from opentelemetry import metrics, trace
    from opentelemetry.context import Context, get_current
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError as err:
    raise RequestError(
        "bedrock_nb.otel needs OpenTelemetry, which is not installed.",
        remedy='Run: pip install "bedrock-nb[otel]"',
    ) from err

__all__ = ["Context", "Exporter", "Names", "get_current", "goes_nowhere"]

Names = Literal["current", "1.41"]

_SECONDS = tuple(0.01 * 2**i for i in range(14))  # 0.01 s doubling to 81.92 s
_TOKENS = tuple(float(4**i) for i in range(14))
_LATEST = 2**63 - 1  # nanoseconds: what OTLP can say
_LONGEST_NAME = 200


class _Vocabulary(NamedTuple):
    """What has two names."""

    duration: str
    first_chunk: str
    per_chunk: str
    cache_write: str


_NAMES = {
    "current": _Vocabulary(
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.time_to_first_chunk",
        "gen_ai.client.inference.time_per_output_chunk",
        "gen_ai.usage.cache_write.input_tokens",
    ),
    "1.41": _Vocabulary(
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.usage.cache_creation.input_tokens",
    ),
}
_ONE_HISTOGRAM = "gen_ai.client.token.usage"  # of the tokens, by gen_ai.token.type; in 1.41
_PER_CALL = "gen_ai.client.inference.operation."
_IN_ALL = "gen_ai.client.inference.usage."
#: Our metric -> histogram of each call, and counter; each None if there is none.
_COUNTED = {
    "total_input_tokens": ("input_tokens", "input_tokens"),
    "output_tokens": ("output_tokens", "output_tokens"),
    "cache_read_tokens": (None, "cache_read.input_tokens"),
    "cache_write_tokens": (None, "cache_write.input_tokens"),
}


def goes_nowhere(tracer_provider: Any, meter_provider: Any) -> bool:
    """Whether neither spans nor metrics would be exported: the API's own providers only pass on, or drop."""
    tracers = trace.get_tracer_provider() if tracer_provider is None else tracer_provider
    meters = metrics.get_meter_provider() if meter_provider is None else meter_provider
    api = trace.__name__, metrics.__name__
    return all(type(one).__module__.startswith(api) for one in (tracers, meters))


def _end(recording: Recording, values: Mapping[str, Any]) -> float:
    """When the operation was over, in seconds: of a whole reply its last event, else when it was left."""
    if recording.status == "complete" and values["e2e_s"] is not None:
        return float(values["e2e_s"])
    last: float = recording.times[-1] if len(recording.times) else 0.0
    return max(last, recording.marks.get("closed", 0.0), 0.0)


def _moment(recording: Recording, t: float) -> int:
    """Nanoseconds since the epoch; a file may say any time."""
    begun = round((recording.started or 0.0) * 1e6) * 1000  # a float of today has no more digits
    return max(0, min(begun + round(min(max(t, 0.0), 1e10) * 1e9), _LATEST))


class Exporter:
    """Spans and metrics of replies, for one pair of providers.

    Parameters
    ----------
    tracer_provider, meter_provider : providers of OpenTelemetry or None
        None are those that are set for the process.
    content : bool or None
        See `attributes.wants_content`.
    names : {"current", "1.41"}

    Raises
    ------
    RequestError
        There are no such names.
    """

    def __init__(self, tracer_provider: Any, meter_provider: Any, content: bool | None, names: str) -> None:
        import bedrock_nb

        check_choice("names", names, get_args(Names))
        scope = "bedrock_nb", bedrock_nb.__version__
        self._tracer = trace.get_tracer(*scope, tracer_provider=tracer_provider)
        meter = metrics.get_meter(*scope, meter_provider=meter_provider)
        self._content, self._names = content, _NAMES[names]

        def histogram(name: str, unit: str, bounds: tuple[float, ...], what: str) -> metrics.Histogram:
            return meter.create_histogram(
                name, unit=unit, description=what, explicit_bucket_boundaries_advisory=bounds
            )

        self._duration = histogram(self._names.duration, "s", _SECONDS, "How long the call took.")
        self._first = histogram(self._names.first_chunk, "s", _SECONDS, "Until the first content delta.")
        self._gaps = histogram(self._names.per_chunk, "s", _SECONDS, "From content delta to content delta.")
        self._usage: metrics.Histogram | None = None
        self._per_call: dict[str, metrics.Histogram] = {}
        self._in_all: dict[str, metrics.Counter] = {}
        if names == "1.41":
            self._usage = histogram(_ONE_HISTOGRAM, "{token}", _TOKENS, "Tokens of a call.")
            return
        for ours, (each, total) in _COUNTED.items():
            if each is not None:
                self._per_call[ours] = histogram(_PER_CALL + each, "{token}", _TOKENS, "Tokens of a call.")
            self._in_all[ours] = meter.create_counter(
                _IN_ALL + total, unit="{token}", description="Tokens of all calls."
            )

    def reply(self, recording: Recording, error: BaseException | None, parent: Context) -> Context:
        """Export a reply; returns the context in which its span is the current one."""
        known, values = facts(recording), measure(recording)
        failed, end = attributes.error_type(recording, error), _end(recording, values)
        said = attributes.of_reply(recording, known, values, self._names.cache_write)
        if failed:
            said["error.type"] = failed
        if attributes.wants_content(self._content):
            said |= attributes.content(recording)
        name = f"chat {said.get('gen_ai.request.model', '')}".strip()
        start = _moment(recording, 0.0)
        span = self._tracer.start_span(name[:_LONGEST_NAME], parent, SpanKind.CLIENT, said, start_time=start)
        if failed:
            span.set_status(Status(StatusCode.ERROR))  # without a description: see `attributes`
        span.end(_moment(recording, end))
        within = trace.set_span_in_context(span, parent)
        self._measure(recording, known, values, end, failed, within)
        return within

    def _measure(
        self,
        recording: Recording,
        known: Facts,
        values: Mapping[str, Any],
        end: float,
        failed: str | None,
        within: Context,
    ) -> None:
        common = attributes.common(recording)
        with_error = common | ({"error.type": failed} if failed else {})
        self._duration.record(end, with_error, within)
        if not recording.whole and values["ttft_s"] is not None:
            self._first.record(values["ttft_s"], common, within)
            for gap in known.gaps:
                self._gaps.record(max(0.0, gap), common, within)
        for ours, (each, _) in _COUNTED.items():
            tokens = values[ours]
            if self._usage is not None:
                if each is not None and tokens is not None:
                    kind = {"gen_ai.token.type": each.removesuffix("_tokens")}
                    self._usage.record(tokens, common | kind, within)
                continue
            # The conventions want a 0 where no usage came; a failed call can be told by its error.type.
            if each is not None:
                self._per_call[ours].record(tokens or 0, with_error, within)
            self._in_all[ours].add(tokens or 0, common | {"gen_ai.token.modality": "unknown"}, within)

    def tool(self, recording: Recording, run: ToolRun, within: Context) -> None:
        """Export a tool's run as a child of its reply; one that never ran has no span."""
        if run.began_s is None:
            return
        said = attributes.of_tool(run)
        if attributes.wants_content(self._content):
            said |= attributes.content(recording, run)
        name = f"execute_tool {said['gen_ai.tool.name']}"[:_LONGEST_NAME]
        start = _moment(recording, run.began_s)
        span = self._tracer.start_span(name, within, SpanKind.INTERNAL, said, start_time=start)
        if "error.type" in said:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_moment(recording, run.ended_s))
