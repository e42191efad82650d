"""otel/: what OpenTelemetry is told of replies, past and present, and what it never is."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import bedrock_nb as nb
from bedrock_nb import audit, otel
from bedrock_nb.errors import ConnectionLost, RequestError, StreamError, service_fault
from bedrock_nb.events import (
    BlockStop,
    MessageStart,
    MessageStop,
    Metadata,
    ReasoningDelta,
    Seam,
    StreamFault,
    TextDelta,
    ToolInputDelta,
    ToolUseStart,
)
from bedrock_nb.recording import Recording, Unrecorded
from bedrock_nb.toolruns import ToolRun
from tests.chatting import Service, use
from tests.recordings import any_recording, recorded, reply
from tests.wire_server import GOOD, answer, refusal

START = 1_767_225_600.125
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
SECRET = "MARKED-secret"
ARGUMENTS = "gen_ai.tool.call.arguments"


class Telemetry:
    """An SDK that keeps all in memory."""

    def __init__(self) -> None:
        self._spans, self._reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.providers: Any = {"tracer_provider": self.tracers, "meter_provider": self.meters}

    def export(self, *recordings: Any, **options: Any) -> int:
        return otel.export(list(recordings), **self.providers, **options)

    @property
    def spans(self) -> list[Any]:
        return list(self._spans.get_finished_spans())

    @property
    def span(self) -> Any:
        """The only one."""
        (span,) = self.spans
        return span

    @property
    def metrics(self) -> dict[str, Any]:
        """Each metric by its name."""
        data = self._reader.get_metrics_data()
        scopes = data.resource_metrics[0].scope_metrics if data else []
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name: str) -> list[Any]:
        return list(self.metrics[name].data.data_points)


@pytest.fixture
def sdk():
    made = Telemetry()
    yield made
    otel.uninstrument()
    made.tracers.shutdown()
    made.meters.shutdown()


def ended(*rows: Any, status: Any, closed: float = 3.0, **options: Any) -> Recording:
    """A recording that ended like this."""
    recording = recorded(*rows, request={"modelId": "m", "messages": []}, started=START, **options)
    recording.status = status
    recording.mark("closed", closed)
    return recording


FAULT = service_fault("throttlingException", f"Too many tokens: {SECRET}")


# -- spans -----------------------------------------------------------------------------------------


def test_a_span_says_what_the_metrics_say(sdk):
    """Its times are those of the reply, its numbers those of `measure`, its names the conventions'."""
    recording = reply(labels={"conversation": "c-1", "trial": 3, "odd": object()})
    recording.request |= {
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "topP": 1, "stopSequences": ["END"]},
        "additionalModelRequestFields": {"top_k": 40},
        "outputConfig": {"effort": "low", "textFormat": {"type": "json_schema"}},
        "guardrailConfig": {"guardrailIdentifier": "g1"},
    }
    assert sdk.export(recording) == 1
    span, known = sdk.span, nb.metrics.measure(recording)
    assert (span.name, span.kind, span.parent) == ("chat amazon.nova-lite-v1:0", SpanKind.CLIENT, None)
    assert span.start_time == 1_767_225_600_125_000_000
    assert span.end_time - span.start_time == 2_000_000_000 == round(known["e2e_s"] * 1e9)
    assert span.status.status_code is StatusCode.UNSET
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": "amazon.nova-lite-v1:0",
        "gen_ai.request.max_tokens": 50,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 1.0,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.top_k": 40,
        "gen_ai.request.reasoning.level": "low",
        "gen_ai.output.type": "json",
        "aws.bedrock.guardrail.id": "g1",
        "gen_ai.request.stream": True,
        "gen_ai.conversation.id": "c-1",
        "gen_ai.response.finish_reasons": ("end_turn",),
        "gen_ai.response.time_to_first_chunk": known["ttft_s"],
        "gen_ai.usage.input_tokens": 9,
        "gen_ai.usage.output_tokens": 4,
        "aws.request_id": "abc-1",
        "bedrock_nb.status": "complete",
        "bedrock_nb.label.conversation": "c-1",
        "bedrock_nb.label.trial": 3,
    }


@pytest.mark.parametrize(
    ("names", "written"),
    [
        ("current", "gen_ai.usage.cache_write.input_tokens"),
        ("1.41", "gen_ai.usage.cache_creation.input_tokens"),
    ],
)
def test_input_tokens_include_cached_ones(sdk, names, written):
    """Bedrock counts them apart; the conventions want the sum, and the parts beside it."""
    usage = {"inputTokens": 5, "outputTokens": 2, "cacheReadInputTokens": 30, "cacheWriteInputTokens": 7}
    sdk.export(ended((MessageStop("end_turn"), 1.0), (Metadata(usage), 1.5), status="complete"), names=names)
    told = sdk.span.attributes
    assert told["gen_ai.usage.input_tokens"] == 42
    assert told["gen_ai.usage.cache_read.input_tokens"] == 30
    assert {name: told[name] for name in told if "cache_" in name and "read" not in name} == {written: 7}


@pytest.mark.parametrize(
    ("recording", "error_type", "reasons", "seconds"),
    [
        (
            ended((TextDelta(0, "a"), 0.5), (StreamFault(FAULT), 1.0), status="error", closed=1.25),
            "throttlingException",
            ("error",),
            1.25,
        ),
        (ended((StreamFault(FAULT), 1.0), status="error"), "throttlingException", None, 3.0),
        (
            ended(
                (StreamFault(service_fault("MARKED-secretException", "x")), 1.0), status="error", closed=1.0
            ),
            "UnmodelledFault",
            None,
            1.0,
        ),
        (
            ended((TextDelta(0, "a"), 0.5), (StreamFault(ConnectionLost("x")), 2.0), status="incomplete"),
            "ConnectionLost",
            ("error",),
            3.0,
        ),
        (ended((TextDelta(0, "a"), 0.5), status="interrupted", closed=0.0), "interrupted", ("error",), 0.5),
        (ended((TextDelta(0, "a"), 0.5), status="cancelled"), None, ("error",), 3.0),
        (ended(status="cancelled"), None, None, 3.0),
        (ended(status="complete", closed=0.0), None, None, 0.0),
    ],
)
def test_how_a_reply_ended_is_told(sdk, recording, error_type, reasons, seconds):
    """A failure has a type and a status, of few words; to cancel is none; a reason that never came is one."""
    sdk.export(recording)
    span, duration = sdk.span, sdk.points("gen_ai.client.inference.duration")[0]
    assert span.attributes.get("error.type") == duration.attributes.get("error.type") == error_type
    assert span.status.status_code is (StatusCode.ERROR if error_type else StatusCode.UNSET)
    assert span.status.description is None
    assert span.attributes.get("gen_ai.response.finish_reasons") == reasons
    assert (span.end_time - span.start_time) / 1e9 == duration.sum == seconds
    assert SECRET not in span.to_json()


def test_a_plain_call_has_no_chunks(sdk):
    """It is not said to stream, and no chunk of it is measured."""
    recording = reply()
    recording.envelope["operation"] = "Converse"
    sdk.export(recording)
    assert not [name for name in sdk.span.attributes if "stream" in name or "chunk" in name]
    assert sorted(name for name in sdk.metrics if "chunk" in name) == []
    assert sdk.points("gen_ai.client.inference.duration")[0].sum == 2.0


def test_no_gap_is_measured_over_a_seam(sdk):
    """A reply that was resumed is one span; the wait between its parts is no gap between chunks."""
    rows = [
        (TextDelta(0, "a"), 1.0),
        (Seam("continue", "r"), 4.0),
        (TextDelta(0, "b"), 5.0),
        (TextDelta(0, "c"), 5.5),
    ]
    sdk.export(ended(*rows, (MessageStop("end_turn"), 6.0), status="complete"))
    (gaps,) = sdk.points("gen_ai.client.inference.time_per_output_chunk")
    assert (gaps.count, gaps.sum, len(sdk.spans)) == (1, 0.5, 1)


def test_what_was_not_kept_is_not_told(sdk):
    """Of a reply whose events were not kept there is still when, how and how many tokens."""
    recording = Unrecorded({"modelId": "m"}, started=START)
    for event in (MessageStart("assistant"), TextDelta(0, "a"), MessageStop("end_turn"), Metadata({})):
        recording.append(event, 1.0)
    recording.status = "complete"
    recording.mark("closed", 2.5)
    sdk.export(recording, content=True)
    assert sdk.span.attributes["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert sdk.points("gen_ai.client.inference.duration")[0].sum == 2.5


def test_tools_are_children_with_their_own_times(sdk):
    """A span for each that ran, as long as it ran; what never ran, or was named by a model only, has none."""
    recording = reply()
    recording.tools = [
        ToolRun("b", "slow", "timeout", 1.0, 1.25, 4.0, error=SECRET),
        ToolRun("a", "add", "success", 0.5, 0.75, 1.0),
        ToolRun("c", SECRET, "unknown", 1.5, None, 1.5),
        ToolRun("d", "late", "cancelled", 1.75, 1.75, 2.0),
    ]
    sdk.export(recording)
    chat, *tools = sdk.spans
    assert [tool.name for tool in tools] == ["execute_tool add", "execute_tool slow", "execute_tool late"]
    assert {tool.parent.span_id for tool in tools} == {chat.context.span_id}
    assert {tool.kind for tool in tools} == {SpanKind.INTERNAL}
    assert [tool.start_time - chat.start_time for tool in tools] == [
        750_000_000,
        1_250_000_000,
        1_750_000_000,
    ]
    assert [tool.end_time - tool.start_time for tool in tools] == [250_000_000, 2_750_000_000, 250_000_000]
    assert [tool.attributes.get("error.type") for tool in tools] == [None, "timeout", None]
    assert tools[0].attributes["gen_ai.tool.call.id"] == "a"
    assert SECRET not in "".join(span.to_json() for span in sdk.spans)


@pytest.mark.parametrize(
    ("change", "words"),
    [({"status": "streaming"}, "Recording 1 has not ended"), ({"started": None}, "when recording 1 began")],
)
def test_what_has_no_place_in_time_is_refused(sdk, change, words):
    """And nothing is exported then, of the others neither."""
    odd = reply()
    vars(odd).update(change)
    with pytest.raises(RequestError, match=words):
        sdk.export(reply(), odd)
    assert sdk.spans == []


# -- metrics ---------------------------------------------------------------------------------------


def test_metrics_have_the_names_units_and_buckets_of_the_conventions(sdk):
    """Times in seconds, from 0.01 doubling to 81.92; tokens by powers of four; values as `measure` says."""
    recording = reply()
    sdk.export(recording)
    told = {
        name: (metric.unit, metric.data.data_points[0], dict(metric.data.data_points[0].attributes))
        for name, metric in sdk.metrics.items()
    }
    base = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "aws.bedrock",
        "gen_ai.request.model": "amazon.nova-lite-v1:0",
    }
    known = nb.metrics.measure(recording)
    for name, count, total in [
        ("duration", 1, known["e2e_s"]),
        ("time_to_first_chunk", 1, known["ttft_s"]),
        ("time_per_output_chunk", 2, known["ttlt_s"] - known["ttft_s"]),
    ]:
        unit, point, attributes = told.pop(f"gen_ai.client.inference.{name}")
        assert (unit, point.explicit_bounds, attributes) == ("s", SECONDS, base)
        assert (point.count, point.sum) == (count, pytest.approx(total))
    for name, tokens in [("input", 9), ("output", 4)]:
        unit, point, attributes = told.pop(f"gen_ai.client.inference.operation.{name}_tokens")
        assert (unit, point.explicit_bounds[:4], len(point.explicit_bounds)) == (
            "{token}",
            (1, 4, 16, 64),
            14,
        )
        assert (point.sum, attributes) == (tokens, base)
    counters = {"input": 9, "output": 4, "cache_read.input": 0, "cache_write.input": 0}
    assert {name: (unit, point.value, attributes) for name, (unit, point, attributes) in told.items()} == {
        f"gen_ai.client.inference.usage.{name}_tokens": (
            "{token}",
            tokens,
            base | {"gen_ai.token.modality": "unknown"},
        )
        for name, tokens in counters.items()
    }


def test_the_names_of_the_last_release_are_to_be_had(sdk):
    """For who has dashboards of them; nothing is told under two names."""
    sdk.export(reply(), names="1.41")
    assert set(sdk.metrics) == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.client.token.usage",
    }
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum for point in sdk.points("gen_ai.client.token.usage")
    }
    assert tokens == {"input": 9, "output": 4}
    with pytest.raises(RequestError, match=r"names is '1\.0'"):
        sdk.export(reply(), names="1.0")


# -- content ---------------------------------------------------------------------------------------


def talk() -> Recording:
    """A reply in which every kind of content is the secret."""
    recording = ended(
        (MessageStart("assistant"), 0.1),
        (ReasoningDelta(0, f"think {SECRET}"), 0.2),
        (BlockStop(0), 0.2),
        (TextDelta(1, f"say {SECRET}"), 0.3),
        (BlockStop(1), 0.3),
        (ToolUseStart(2, "t-1", "add", None), 0.4),
        (ToolInputDelta(2, json.dumps({"a": SECRET})), 0.4),
        (BlockStop(2), 0.5),
        (MessageStop("tool_use"), 0.6),
        status="complete",
    )
    picture = {"image": {"format": "png", "source": {"bytes": SECRET.encode()}}}
    result = {"toolResult": {"toolUseId": "t-0", "content": [{"json": {"b": SECRET}}]}}
    recording.request |= {
        "system": [{"text": f"be {SECRET}"}, {"cachePoint": {"type": "default"}}],
        "messages": [{"role": "user", "content": [{"text": f"ask {SECRET}"}, picture, result]}],
    }
    recording.tools = [ToolRun("t-1", "add", "error", 0.5, 0.5, 0.7, error=SECRET)]
    return recording


@pytest.mark.parametrize("said", [None, "no_content", "event_only", "false"])
def test_no_content_is_told_unless_it_is_asked_for(sdk, monkeypatch, said):
    """Neither prompts nor answers, arguments or results of tools, nor what an error says."""
    name = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    monkeypatch.delenv(name, raising=False) if said is None else monkeypatch.setenv(name, said)
    sdk.export(talk())
    assert SECRET not in "".join(span.to_json() for span in sdk.spans)
    assert "MARKED" not in str(sdk.metrics)


@pytest.mark.parametrize("by_variable", [False, True])
def test_content_that_is_asked_for_has_the_form_of_the_conventions(sdk, monkeypatch, by_variable):
    """Messages of parts, as JSON; of bytes their number."""
    if by_variable:
        monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "True")
    sdk.export(talk(), content=None if by_variable else True)
    chat, tool = sdk.spans
    told = {
        name.removeprefix("gen_ai."): json.loads(value)
        for name, value in chat.attributes.items()
        if name.endswith(("messages", "instructions"))
    }
    assert told["system_instructions"] == [{"type": "text", "content": f"be {SECRET}"}]
    (asked,) = told["input.messages"]
    assert asked["role"] == "user"
    assert asked["parts"][:2] == [
        {"type": "text", "content": f"ask {SECRET}"},
        {"type": "image", "format": "png", "bytes": len(SECRET)},
    ]
    response = [{"json": {"b": SECRET}}]
    assert asked["parts"][2] == {"type": "tool_call_response", "id": "t-0", "response": response}
    assert told["output.messages"] == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": f"think {SECRET}"},
                {"type": "text", "content": f"say {SECRET}"},
                {"type": "tool_call", "id": "t-1", "name": "add", "arguments": {"a": SECRET}},
            ],
            "finish_reason": "tool_use",
        }
    ]
    assert json.loads(tool.attributes["gen_ai.tool.call.arguments"]) == {"a": SECRET}


@pytest.mark.parametrize(
    ("redact", "failed"), [(lambda text: text.replace(SECRET, "***"), None), (lambda _: 1 / 0, True)]
)
def test_content_is_redacted_first(sdk, configured, redact, failed):
    """What cannot be redacted is not told; the span is."""
    configured(redact=redact)
    sdk.export(talk(), content=True)
    text = "".join(span.to_json() for span in sdk.spans)
    assert SECRET not in text
    assert ("***" in text) is not failed
    assert ("ZeroDivisionError" in text) is bool(failed)


@pytest.mark.parametrize("name", ["Müller", 'a"b', "two\nlines"])
def test_texts_are_redacted_as_they_are(sdk, configured, name):
    """Not as JSON writes them: what a tool is given, or gave back, may hold any letter, also as a name."""
    words = {"who": name, name: 1}
    result = {"toolResult": {"toolUseId": "t-0", "content": [{"json": words}, {"text": name}]}}
    recording = ended(
        (ToolUseStart(0, "t-1", "add", None), 0.4),
        (ToolInputDelta(0, json.dumps(words)), 0.4),
        (BlockStop(0), 0.5),
        (MessageStop("tool_use"), 0.6),
        status="complete",
    )
    recording.request["messages"] = [{"role": "user", "content": [result]}]
    recording.tools = [ToolRun("t-1", "add", "success", 0.5, 0.5, 0.7)]
    configured(redact=lambda text: text.replace(name, "***"))
    sdk.export(recording, content=True)
    told = [value for span in sdk.spans for key, value in span.attributes.items() if "messages" in key]
    text = "".join(str(json.loads(value)) for value in [*told, sdk.spans[1].attributes[ARGUMENTS]])
    assert text.count("***") == 2 + 1 + 2 + 2
    assert repr(name)[1:-1] not in text


def test_a_walk_over_files_holds_one_at_a_time(sdk, tmp_path):
    """However many there are; and what comes once is taken once."""
    for number in range(4):
        reply(labels={"n": number}).save(tmp_path / f"{number}.jsonl")
    known, most = weakref.WeakSet(), []

    class Watched:
        def __iter__(self):
            for recording in nb.load_folder(tmp_path):
                known.add(recording)
                most.append(len(known))
                yield recording

    assert otel.export(Watched(), **sdk.providers) == 4
    assert max(most) <= 2
    assert otel.export(iter([reply()]), **sdk.providers) == 1
    assert len(sdk.spans) == 5


@given(recording=any_recording())
@settings(max_examples=25)
def test_any_recording_is_exported(recording):
    """Whatever a file holds becomes attributes that a protocol buffer can say."""
    sdk = Telemetry()
    recording.started = 253_402_300_799.0  # the last second that a file can name
    sdk.export(recording, content=True)
    for span in sdk.spans:
        assert 0 < span.start_time <= span.end_time < 2**63
        for name, value in {**span.attributes, "": span.name}.items():
            for one in value if isinstance(value, tuple) else [value]:
                assert f"{name}{one}".encode()
                assert not isinstance(one, int) or abs(one) < 2**63
    sdk.tracers.shutdown()
    sdk.meters.shutdown()


def test_account_numbers_stay_at_home(sdk):
    """The name of a model may be an ARN."""
    recording = reply()
    recording.request["modelId"] = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/p"
    sdk.export(recording)
    assert "123456789012" not in sdk.span.to_json()
    assert "123456789012" not in str(sdk.metrics)


# -- replies of this process -----------------------------------------------------------------------


def converse(service: Service) -> None:
    nb.Request("m", "hi").send(service.client)


def stream(service: Service) -> None:
    nb.stream(service.client, "hi", model="m").drain()


def in_background(service: Service) -> None:
    assert nb.stream(service.client, "hi", model="m", background=True).message.text


def watched(service: Service) -> None:
    turn = {"role": "user", "content": [{"text": "hi"}]}
    client = nb.watch(service.server.client())
    assert list(client.converse_stream(modelId="m", messages=[turn])["stream"])
    client.close()


@pytest.mark.parametrize("ask", [stream, in_background, converse, watched])
def test_each_reply_is_exported_when_it_ends(sdk, service, ask):
    """Under the span that was current for who asked, whichever thread read it; and no more afterwards."""
    service.lay("Fine.")
    with otel.instrument(**sdk.providers), sdk.tracers.get_tracer("mine").start_as_current_span("mine"):
        ask(service)
    ask(service)
    chat, mine = sdk.spans
    assert chat.name == "chat m"
    assert chat.parent.span_id == mine.context.span_id
    assert mine.start_time <= chat.end_time
    assert chat.attributes["gen_ai.usage.output_tokens"] > 0


@pytest.mark.parametrize(
    ("laid", "error_type"),
    [(refusal(429, "ThrottlingException", "Slow."), "ThrottlingException"), (answer(GOOD[:9]), None)],
)
def test_failures_are_exported_too(sdk, wire, client, laid, error_type):
    """A refusal has Bedrock's code, an answer that broke off the name of our error."""
    wire.lay(laid)
    with otel.instrument(**sdk.providers), pytest.raises(StreamError) as caught:
        nb.stream(client, "hi", model="m").drain()
    assert sdk.span.attributes["error.type"] == (error_type or type(caught.value).__name__)
    assert sdk.span.status.status_code is StatusCode.ERROR


def test_tools_of_a_conversation_are_exported_under_their_reply(sdk, service):
    """Also those that end after it; each once."""

    @nb.tool
    def add(a: int, b: int) -> int:
        """Add.

        Parameters
        ----------
        a, b : int
            What to add.
        """
        return a + b

    with otel.instrument(**sdk.providers):
        chat = service.chat(
            [use("add", {"a": 1, "b": 2}, "x"), use("add", {"a": 3, "b": 4}, "y")], "7.", tools=[add]
        )
        chat.send("Add them.")
    spans = {span.context.span_id: span for span in sdk.spans}
    tools = [span for span in spans.values() if span.name == "execute_tool add"]
    assert sorted(tool.attributes["gen_ai.tool.call.id"] for tool in tools) == ["x", "y"]
    (asking,) = {spans[tool.parent.span_id] for tool in tools}
    assert asking.attributes["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert asking.attributes["gen_ai.conversation.id"] == chat.id
    assert len(spans) == 4


def test_to_instrument_again_replaces_the_first(sdk, service):
    """No reply is told of twice; a ``with`` ends its own only."""
    first = otel.instrument(**sdk.providers)
    second = otel.instrument(**sdk.providers)
    with first:
        pass
    stream(service)
    assert len(sdk.spans) == 1
    assert (repr(first), repr(second)) == ("<Instrumented, ended>", "<Instrumented>")
    otel.uninstrument()
    otel.uninstrument()
    stream(service)
    assert len(sdk.spans) == 1


def test_no_credential_is_told(sdk, service):
    """Not even with content."""
    client = service.server.client(aws_access_key_id="AKIAMARKEDACCESSKEY1", aws_secret_access_key=SECRET)
    service.lay("Fine.")
    with otel.instrument(**sdk.providers, content=True):
        nb.stream(client, "hi", model="m").drain()
    client.close()
    assert "Fine." in sdk.span.attributes["gen_ai.output.messages"]
    assert "MARKED" not in sdk.span.to_json()


def test_a_listener_that_fails_harms_no_call(service, caplog):
    """It leaves a line that names its error's type, and the next one is told all the same."""
    told = []

    class Failing(audit.Listener):
        def ended(self, recording: Recording, error: BaseException | None) -> None:
            raise LookupError(SECRET)

    class Telling(audit.Listener):
        def ended(self, recording: Recording, error: BaseException | None) -> None:
            told.append(recording.status)

    failing, telling = Failing(), Telling()
    for listener in (failing, telling, telling):
        audit.listen(listener)
    try:
        with caplog.at_level(logging.WARNING, "bedrock_nb.audit"):
            stream(service)
    finally:
        audit.unlisten(failing)
        audit.unlisten(telling)
    assert told == ["complete"]
    assert [json.loads(line) for line in caplog.messages] == [
        {"listener_failed": "LookupError", "listener": "Failing"}
    ]


def test_without_the_library_the_remedy_is_named():
    """The import says what to install."""
    code = """
import sys
sys.modules["opentelemetry"] = None
try:
    import bedrock_nb.otel
    bedrock_nb.otel.uninstrument()
except ValueError as err:
    print(err)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "bedrock-nb[otel]"' in done.stdout


def test_an_export_to_nowhere_is_said():
    """Without providers nothing would come of it: an error, and a warning where they may be set later."""
    with pytest.raises(RequestError, match=r"nothing would be exported\. Set those of an SDK"):
        otel.export(reply())
    with pytest.warns(UserWarning, match="nothing is exported before one is") as warned:
        otel.instrument()
    otel.uninstrument()
    assert warned[0].filename == __file__
    assert otel.export(reply(), meter_provider=MeterProvider(shutdown_on_exit=False)) == 1


def test_the_current_span_stays_what_it_was(sdk):
    """To export changes nothing for who calls."""
    before = trace.get_current_span()
    sdk.export(reply())
    assert trace.get_current_span() is before
