"""worker.trace: the spans and metrics of what a worker has done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, set_span_in_context

from pipeline.errors import DamoscopeError, InferenceFailed, InvalidImage, JobExpired
from pipeline.job import Box, Detection, Detections
from telemetry import catalogue
from telemetry.context import inject
from telemetry.instruments import Instruments
from telemetry.setup import Telemetry
from tests.worker.batch_items import item
from worker.batch import BatchItem, Call
from worker.trace import WorkerTrace

MS = 1_000_000
START = 1_800_000_000_000 * MS
PHONE = Detection(label="phone", score=0.83, box=Box(x1=1, y1=2, x2=3, y2=4))


class Recorded:
    """What was exported so far."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        tracers = TracerProvider(shutdown_on_exit=False)
        tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        meters = MeterProvider([self._reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(
            tracer=tracers.get_tracer("test"),
            instruments=Instruments(meters.get_meter("test")),
            tracer_provider=tracers,
            meter_provider=meters,
        )

    def close(self) -> None:
        self.telemetry.tracer_provider.shutdown()
        self.telemetry.meter_provider.shutdown()

    def enqueue(self) -> tuple[dict[str, str], SpanContext]:
        """The metadata of a job that a frontend enqueued, and its `enqueue` span."""
        span = self.telemetry.tracer.start_span(catalogue.SPAN_ENQUEUE, kind=SpanKind.PRODUCER)
        span.end()
        self._exporter.clear()
        return inject(set_span_in_context(span, Context())), span.get_span_context()

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def trace(self, context: SpanContext) -> dict[str, ReadableSpan]:
        """Spans of one trace by name; no name may occur twice."""
        found = [span for span in self.spans if span.context.trace_id == context.trace_id]
        assert len({span.name for span in found}) == len(found)
        return {span.name: span for span in found}

    def points(self) -> dict[str, list[Any]]:
        """Data points of every metric by its name."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    made = Recorded()
    yield made
    made.close()


@pytest.fixture
def emit(recorded: Recorded) -> Callable[..., None]:
    """Emit a batch as a worker named worker-1 would."""
    trace = WorkerTrace(
        recorded.telemetry,
        worker="worker-1",
        queue="detections",
        model="ns",
        version="1a2b",
        provider="cpu",
    )

    def batch(*items: BatchItem) -> None:
        trace.batch(items)

    return batch


def done(
    meta: dict[str, str], call: Call, detections: list[Detection], **changes: Any
) -> BatchItem:
    """An image that went through every stage, with a millisecond between any two."""
    one = item(None, meta=meta, enqueued_ns=START, taken_ns=START + 40 * MS, **changes)
    one.call, one.candidates = call, 9
    one.detections = Detections(
        [found.label for found in detections],
        [found.score for found in detections],
        [list(astuple(found.box)) for found in detections],
    )
    one.stages = {
        "preprocess": (START + 41 * MS, START + 45 * MS),
        "inference": call.interval,
        "nms": (START + 71 * MS, START + 72 * MS),
    }
    one.stored_ns = START + 75 * MS
    return one


def failed(meta: dict[str, str], error: DamoscopeError, *stages: str) -> BatchItem:
    """An image that failed in the last of its stages, or before the first."""
    one = item(None, meta=meta, enqueued_ns=START, taken_ns=START + 40 * MS)
    one.stages = dict.fromkeys(stages, (START + 41 * MS, START + 43 * MS))
    one.fail(error, stages[-1] if stages else None)
    one.stored_ns = START + 75 * MS
    return one


def call(size: int = 1) -> Call:
    return Call((START + 50 * MS, START + 70 * MS), size)


def test_one_image(recorded: Recorded, emit: Callable[..., None]) -> None:
    """An image's trace has exactly its five spans, with their parents, kinds and times."""
    meta, enqueue = recorded.enqueue()
    emit(done(meta, call(), [PHONE]))
    spans = recorded.trace(enqueue)
    assert set(spans) == {"queue_wait", "process detections", "preprocess", "inference", "nms"}
    process = spans["process detections"]
    for name, span in spans.items():
        consumer = name == "process detections"
        parent = enqueue if consumer or name == "queue_wait" else process.context
        assert span.parent is not None
        assert span.parent.span_id == parent.span_id
        assert span.kind == (SpanKind.CONSUMER if consumer else SpanKind.INTERNAL)
        assert span.status.status_code == StatusCode.UNSET
        assert span.events == ()
    times = {
        name: ((span.start_time or 0) - START, (span.end_time or 0) - START)
        for name, span in spans.items()
    }
    assert times == {
        "queue_wait": (0, 40 * MS),
        "process detections": (40 * MS, 75 * MS),
        "preprocess": (41 * MS, 45 * MS),
        "inference": (50 * MS, 70 * MS),
        "nms": (71 * MS, 72 * MS),
    }


def test_attributes(recorded: Recorded, emit: Callable[..., None]) -> None:
    """Spans carry the messaging conventions and what is worth asking of each stage."""
    meta, enqueue = recorded.enqueue()
    emit(done(meta, call(), [PHONE, PHONE], job_id="job-5", queue="detections-low", attempt=2))
    spans = recorded.trace(enqueue)
    assert dict(spans["process detections"].attributes or {}) == {
        "messaging.system": "rq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "detections-low",
        "messaging.message.id": "job-5",
        "damoscope.attempt": 2,
        "damoscope.worker": "worker-1",
        "damoscope.model": "ns",
        "damoscope.model.version": "1a2b",
        "damoscope.detections": 2,
        "damoscope.labels": ("phone",),
        "damoscope.score": 0.83,
    }
    assert dict(spans["inference"].attributes or {}) == {
        "damoscope.batch.size": 1,
        "damoscope.provider": "cpu",
        "damoscope.model": "ns",
        "damoscope.model.version": "1a2b",
    }
    assert dict(spans["nms"].attributes or {}) == {
        "damoscope.nms.candidates": 9,
        "damoscope.detections": 2,
        "damoscope.boxes.labels": ("phone", "phone"),
        "damoscope.boxes.scores": (0.83, 0.83),
        "damoscope.boxes.corners": (1, 2, 3, 4, 1, 2, 3, 4),
    }
    for name in ("queue_wait", "preprocess"):
        assert not spans[name].attributes


def test_so_many_boxes_and_no_more(recorded: Recorded, emit: Callable[..., None]) -> None:
    """A span names the best of them; how many were found is said all the same. Without boxes it
    has none of these attributes."""
    meta, enqueue = recorded.enqueue()
    emit(done(meta, call(), [PHONE] * (catalogue.BOXES_MAX + 30)))
    attributes = recorded.trace(enqueue)["nms"].attributes or {}
    assert attributes["damoscope.detections"] == catalogue.BOXES_MAX + 30
    assert len(attributes["damoscope.boxes.labels"]) == catalogue.BOXES_MAX  # type: ignore[arg-type]
    assert len(attributes["damoscope.boxes.corners"]) == 4 * catalogue.BOXES_MAX  # type: ignore[arg-type]
    none, enqueue = recorded.enqueue()
    emit(done(none, call(), []))
    assert "damoscope.boxes.labels" not in (recorded.trace(enqueue)["nms"].attributes or {})


def test_batch(recorded: Recorded, emit: Callable[..., None]) -> None:
    """A batch is one span in a trace of its own; each image's inference links to it."""
    shared = call(3)
    jobs = [recorded.enqueue() for _ in range(3)]
    emit(*(done(meta, shared, []) for meta, _ in jobs))
    batches = [span for span in recorded.spans if span.name == "batch"]
    assert len(batches) == 1
    batch = batches[0]
    assert batch.parent is None
    assert batch.context.trace_id not in {enqueue.trace_id for _, enqueue in jobs}
    assert (batch.attributes or {})["damoscope.batch.size"] == 3
    assert [link.context.span_id for link in batch.links] == [own.span_id for _, own in jobs]
    for _, enqueue in jobs:
        spans = recorded.trace(enqueue)
        assert len(spans) == 5
        assert [link.context for link in spans["inference"].links] == [batch.context]
        for name in set(spans) - {"inference"}:
            assert not spans[name].links


def test_two_calls(recorded: Recorded, emit: Callable[..., None]) -> None:
    """Images that were run one by one after a failed call link to a span each."""
    jobs = [recorded.enqueue() for _ in range(2)]
    emit(*(done(meta, call(), []) for meta, _ in jobs))
    batches = {span.context.span_id for span in recorded.spans if span.name == "batch"}
    linked = {recorded.trace(own)["inference"].links[0].context.span_id for _, own in jobs}
    assert len(batches) == 2
    assert linked == batches


@pytest.mark.parametrize(
    ("error", "stages"),
    [
        (InvalidImage("the PNG is damaged"), ("preprocess",)),
        (InferenceFailed("a batch of 1 failed"), ("preprocess", "inference")),
        (InferenceFailed("ValueError: no"), ("preprocess", "inference", "nms")),
        (JobExpired("it waited for too long"), ()),
    ],
)
def test_error(
    recorded: Recorded,
    emit: Callable[..., None],
    error: DamoscopeError,
    stages: tuple[str, ...],
) -> None:
    """An error marks the stage and the image's `process`, and is recorded once, where it was.

    What is wrong with the image itself is no error of the worker's: the status stays unset.
    """
    meta, enqueue = recorded.enqueue()
    emit(failed(meta, error, *stages))
    spans = recorded.trace(enqueue)
    assert set(spans) == {"queue_wait", "process detections", *stages}
    at_fault = stages[-1] if stages else "process detections"
    for name, span in spans.items():
        wrong = name in (at_fault, "process detections")
        ours = wrong and error.status >= 500
        assert span.status.status_code == (StatusCode.ERROR if ours else StatusCode.UNSET)
        attributes = span.attributes or {}
        assert attributes.get("damoscope.problem.code") == (error.code if wrong else None)
        assert attributes.get("damoscope.problem.detail") == (str(error) if wrong else None)
        assert attributes.get("error.type") == (error.code if ours else None)
    exceptions = {name: [event.name for event in span.events] for name, span in spans.items()}
    assert {name: events for name, events in exceptions.items() if events} == {
        at_fault: ["exception"]
    }
    event = spans[at_fault].events[0]
    assert event.timestamp == spans[at_fault].end_time
    assert (event.attributes or {})["exception.message"] == str(error)


def test_failed_image_leaves_its_neighbours_alone(
    recorded: Recorded, emit: Callable[..., None]
) -> None:
    """An error in one image of a batch marks no span of the others."""
    good, bad = recorded.enqueue(), recorded.enqueue()
    emit(done(good[0], call(), [PHONE]), failed(bad[0], InvalidImage("no"), "preprocess"))
    for span in recorded.trace(good[1]).values():
        assert span.status.status_code == StatusCode.UNSET


def test_clock_skew(recorded: Recorded, emit: Callable[..., None]) -> None:
    """How far the clocks of two hosts differ is noted from 50 ms; the spans stay where they are."""
    for skew_ms, noted in ((49, {}), (-250, {"damoscope.clock.skew_ms": -250.0})):
        meta, enqueue = recorded.enqueue()
        one = done(meta, call(), [], skew_ns=skew_ms * MS)
        emit(one)
        wait = recorded.trace(enqueue)["queue_wait"]
        assert (wait.start_time, wait.end_time) == (START, START + 40 * MS)
        assert dict(wait.attributes or {}) == noted


def test_metrics(recorded: Recorded, emit: Callable[..., None]) -> None:
    """Every stage, the batch, the busy time and the detections are counted, in SI units."""
    shared = call(2)
    jobs = [recorded.enqueue() for _ in range(2)]
    book = replace(PHONE, label="book", score=0.5)
    emit(done(jobs[0][0], shared, [PHONE, book]), done(jobs[1][0], shared, [PHONE]))
    points = recorded.points()
    stages = {point.attributes["stage"]: point for point in points["damoscope.stage.duration"]}
    assert {stage: point.count for stage, point in stages.items()} == {
        "queue_wait": 2,
        "preprocess": 2,
        "inference": 2,
        "nms": 2,
    }
    assert stages["queue_wait"].sum == pytest.approx(0.08)
    assert stages["inference"].sum == pytest.approx(0.04)
    (size,) = points["damoscope.batch.size"]
    assert (size.count, size.sum) == (1, 2)
    (busy,) = points["damoscope.inference.busy"]
    assert busy.value == pytest.approx(0.02)
    assert busy.attributes == {"provider": "cpu"}
    found = {point.attributes["label"]: point.value for point in points["damoscope.detections"]}
    assert found == {"phone": 2, "book": 1}
    scores = {p.attributes["label"]: p.sum for p in points["damoscope.detection.score"]}
    assert scores == pytest.approx({"phone": 1.66, "book": 0.5})


def test_time_of_the_worker(
    recorded: Recorded, emit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker is busy from taking a batch to its telemetry; what two batches share counts once."""
    ends = iter([START + 100 * MS, START + 150 * MS, START + 500 * MS])
    monkeypatch.setattr("worker.trace.time", SimpleNamespace(perf_counter_ns=lambda: next(ends)))
    for taken_ns in (START + 40 * MS, START + 90 * MS, START + 490 * MS):
        meta, _ = recorded.enqueue()
        one = item(None, meta=meta, enqueued_ns=START, taken_ns=taken_ns, origin_ns=0)
        one.fail(InferenceFailed("no"))
        one.stored_ns = taken_ns + MS
        emit(one)
    (busy,) = recorded.points()["damoscope.worker.busy"]
    assert busy.value == pytest.approx(0.060 + 0.050 + 0.010)
    assert busy.attributes == {"provider": "cpu", "queue": "detections"}


def test_exemplars(recorded: Recorded, emit: Callable[..., None]) -> None:
    """Durations and detections carry the trace id of their image, the batch's size its own."""
    meta, enqueue = recorded.enqueue()
    emit(done(meta, call(), [PHONE]))
    spans = recorded.trace(enqueue)
    batch = next(span for span in recorded.spans if span.name == "batch")
    points = recorded.points()
    for metric in ("stage.duration", "detection.score", "detections"):
        for point in points[f"damoscope.{metric}"]:
            exemplars = point.exemplars
            assert [exemplar.trace_id for exemplar in exemplars] == [enqueue.trace_id]
            home = "process detections"
            if point.attributes.get("stage") == "queue_wait":
                home = "queue_wait"
            assert exemplars[0].span_id == spans[home].context.span_id
    for metric in ("batch.size", "inference.busy"):
        (point,) = points[f"damoscope.{metric}"]
        assert [exemplar.trace_id for exemplar in point.exemplars] == [batch.context.trace_id]


def test_unsampled_trace(recorded: Recorded, emit: Callable[..., None]) -> None:
    """A caller that does not sample gets no spans at all; its image is counted all the same."""
    unsampled = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    emit(done(unsampled, call(), [PHONE]))
    assert recorded.spans == []
    points = recorded.points()
    assert sum(point.count for point in points["damoscope.stage.duration"]) == 4
    assert not [point for found in points.values() for point in found if point.exemplars]


def test_partly_sampled_batch(recorded: Recorded, emit: Callable[..., None]) -> None:
    """One sampled image among others is enough for the batch's span."""
    meta, enqueue = recorded.enqueue()
    shared = call(2)
    unsampled = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    emit(done(unsampled, shared, []), done(meta, shared, []))
    assert len(recorded.trace(enqueue)) == 5
    assert sorted(span.name for span in recorded.spans if span.name == "batch") == ["batch"]
    assert len(recorded.spans) == 6


@pytest.mark.parametrize("meta", [{}, {"traceparent": "nonsense"}, {"other": "key"}])
def test_job_without_a_trace(
    recorded: Recorded, emit: Callable[..., None], meta: dict[str, str]
) -> None:
    """A job that carries no trace gets one of its own."""
    emit(done(meta, call(), []))
    spans = {span.name: span for span in recorded.spans}
    assert set(spans) == {
        "batch", "queue_wait", "process detections", "preprocess", "inference", "nms"
    }  # fmt: skip
    assert spans["process detections"].parent is None
    assert spans["nms"].context.trace_id == spans["process detections"].context.trace_id


def test_empty_batch(recorded: Recorded, emit: Callable[..., None]) -> None:
    """A batch whose results all came too late leaves nothing."""
    emit()
    assert recorded.spans == []
