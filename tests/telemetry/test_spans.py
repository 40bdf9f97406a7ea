"""telemetry.spans and telemetry.context: spans made afterwards, contexts that travel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import (
    Link,
    NoOpTracer,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)

from pipeline.errors import InferenceFailed, InvalidImage
from telemetry import spans
from telemetry.context import extract, inject, trace_id

START = 1_800_000_000_000_000_000


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider.get_tracer("test")
    provider.shutdown()


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    (span,) = exporter.get_finished_spans()
    return span


def test_record(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A recorded span has the times, kind, attributes and links that it was given, to the ns."""
    other = tracer.start_span("other").get_span_context()
    spans.record(
        tracer,
        "stage",
        Context(),
        START,
        START + 1,
        kind=SpanKind.CONSUMER,
        attributes={"a": 1},
        links=[Link(other)],
    )
    span = only(exporter)
    assert (span.name, span.kind) == ("stage", SpanKind.CONSUMER)
    assert (span.start_time, span.end_time) == (START, START + 1)
    assert dict(span.attributes or {}) == {"a": 1}
    assert [link.context for link in span.links] == [other]
    assert span.status.status_code == StatusCode.UNSET


@pytest.mark.parametrize(
    ("error", "kind"),
    [(InferenceFailed("no"), "inference_failed"), (OSError("x"), "OSError")],
)
def test_record_an_error(
    tracer: Tracer, exporter: InMemorySpanExporter, error: Exception, kind: str
) -> None:
    """An error sets status and type, and is one exception event at the span's end."""
    spans.record(tracer, "stage", Context(), START, START + 9, error=error)
    span = only(exporter)
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, str(error))
    assert (span.attributes or {})["error.type"] == kind
    assert [(event.name, event.timestamp) for event in span.events] == [("exception", START + 9)]


def test_what_the_client_got_wrong(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """The status stays unset; what the client is told and the exception are there all the same."""
    spans.record(tracer, "stage", Context(), START, START + 9, error=InvalidImage("cut short"))
    span = only(exporter)
    assert span.status.status_code == StatusCode.UNSET
    assert dict(span.attributes or {}) == {
        "damoscope.problem.code": "invalid_image",
        "damoscope.problem.detail": "cut short",
    }
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize(
    ("sampler", "exported", "sampled"),
    [(ALWAYS_ON, 3, True), (ALWAYS_OFF, 0, False), (ParentBased(ALWAYS_OFF), 0, False)],
    ids=["on", "off", "by the parent"],
)
def test_sampling(sampler: Sampler, exported: int, sampled: bool) -> None:
    """The sampler decides, and whoever goes on with the trace is told."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    live = tracer.start_span("live", Context(), SpanKind.SERVER)
    assert live.is_recording() is sampled
    inside = set_span_in_context(live, Context())
    done = spans.record(tracer, "stage", inside, START, START + 1)
    spans.record(tracer, "broken", inside, START, START + 1, error=OSError("x"))
    live.end()
    for span in (live, done):
        assert span.get_span_context().trace_flags.sampled is sampled
    assert done.get_span_context().trace_id == live.get_span_context().trace_id
    assert len(exporter.get_finished_spans()) == exported


def test_without_the_sdk() -> None:
    """A disabled SDK has no spans, and a caller's trace goes on all the same."""
    caller = extract({"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"})
    tracer = NoOpTracer()
    span = spans.record(tracer, "stage", caller, START, START + 1, error=OSError("x"))
    assert not span.is_recording()
    assert trace_id(span) == "a" * 32
    assert trace_id(spans.record(tracer, "stage", Context(), START, START + 1)) == ""


def test_fail_without_an_exception(tracer: Tracer, exporter: InMemorySpanExporter) -> None:
    """A span outside of the one at fault is marked, without recording the exception again."""
    span = tracer.start_span("outer")
    spans.fail(span, InferenceFailed("no"))
    span.end()
    assert only(exporter).status.status_code == StatusCode.ERROR
    assert only(exporter).events == ()


def test_context_travels(tracer: Tracer) -> None:
    """What a consumer extracts is what the producer injected."""
    producer = tracer.start_span("enqueue")
    meta = inject(set_span_in_context(producer, Context()))
    assert list(meta) == ["traceparent"]
    context = get_current_span(extract(meta)).get_span_context()
    assert context.trace_id == producer.get_span_context().trace_id
    assert context.span_id == producer.get_span_context().span_id
    assert context.is_remote
    assert context.trace_flags.sampled
    assert meta["traceparent"].split("-")[1] == trace_id(producer)


def test_context_of_the_caller_is_not_mixed_in(tracer: Tracer) -> None:
    """Whatever span is current, only what was injected counts."""
    with tracer.start_as_current_span("current"):
        assert not get_current_span(extract({})).get_span_context().is_valid


@pytest.mark.parametrize(
    "meta", [{}, {"traceparent": ""}, {"traceparent": "00-zz-zz-01"}, {"other": "x"}]
)
def test_no_context(meta: dict[str, str]) -> None:
    """Metadata without a context, or with a broken one, gives an empty one."""
    assert not get_current_span(extract(meta)).get_span_context().is_valid
