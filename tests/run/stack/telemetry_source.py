"""What frontend and worker send for a number of images, without frontend and worker.

Built from the names and instruments of `telemetry`, so that a renamed metric or span
shows here. `Source.send` returns what the servers must then have.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind

from pipeline.errors import DamoscopeError, InferenceFailed, InvalidImage
from telemetry import catalogue, spans
from telemetry.instruments import Instruments
from telemetry.setup import SYSTEM_METRICS

STAGES_S = {"upload": 0.004, "queue_wait": 0.010, "preprocess": 0.006, "inference": 0.025,
            "nms": 0.001}  # fmt: skip
OF_MODEL = {"model": "damoyolo-ns-phone", "version": "0a1b2c3d4e5f"}
#: What an image ends with that fails here, and what with one that is no image.
FAILED_IMAGE = InferenceFailed("the model raised an error")
INVALID_IMAGE = InvalidImage("the file ends before the image does")
#: As the service's own. Shorter would lose exemplars: each is offered for one export only.
EXPORT_INTERVAL_MS = 5000


@dataclass
class Sent:
    """What was sent: trace ids by kind, and how many images."""

    traces: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.traces)


class Service:
    """One process of the service: its providers, exporting to `endpoint`."""

    def __init__(self, name: str, endpoint: str) -> None:
        resource = Resource.create(
            {"service.name": name, "service.instance.id": f"{name}-1", "host.id": "test-host"}
        )
        self.traces = TracerProvider(resource=resource)
        self.traces.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=10), schedule_delay_millis=200
            )
        )
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(f"{endpoint}/v1/metrics", timeout=10),
            export_interval_millis=EXPORT_INTERVAL_MS,
        )
        self.metrics = MeterProvider(resource=resource, metric_readers=[reader])
        self.tracer = self.traces.get_tracer("damoscope")
        self.instruments = Instruments(self.metrics.get_meter("damoscope"))

    def flush(self) -> None:
        self.traces.force_flush(5000)
        self.metrics.force_flush(5000)

    def close(self) -> None:
        self.traces.shutdown()
        self.metrics.shutdown()


class Source:
    """Frontend and worker, both in this process; `others` is where the worker sends to, if not to
    the same `endpoint`."""

    def __init__(self, endpoint: str, others: str | None = None) -> None:
        self.frontend = Service(catalogue.SERVICE_FRONTEND, endpoint)
        self.worker = Service(catalogue.SERVICE_WORKER, others or endpoint)
        #: What the gauges say: change it to make alerts fire.
        self.workers = {"busy": 1, "idle": 1}
        #: Images begun and ended so far: what Prometheus must count.
        self.images = 0
        self.active = 0
        self._gauges()
        # One for all: the instrumentor instruments a process once.
        self._system = SystemMetricsInstrumentor(config=SYSTEM_METRICS)
        self._system.instrument(meter_provider=self.worker.metrics)

    def _gauges(self) -> None:
        def workers(_: CallbackOptions) -> list[Observation]:
            return [Observation(n, {"state": state}) for state, n in self.workers.items()]

        def queue(value: float) -> list[Observation]:
            return [Observation(value, {"queue": "detections"})]

        made = self.frontend.instruments
        made.observe(catalogue.REQUESTS_ACTIVE, lambda _: [Observation(self.active)])
        made.observe(catalogue.WORKERS, workers)
        made.observe(catalogue.QUEUE_WORKERS, lambda _: queue(2))
        made.observe(catalogue.WORKERS_FALLBACK, lambda _: [Observation(0)])
        loaded = [Observation(2, {"model": "phone", "version": "bb3acc13cbcb"})]
        made.observe(catalogue.WORKER_MODELS, lambda _: loaded)
        made.observe(catalogue.QUEUE_DEPTH, lambda _: queue(3))
        made.observe(catalogue.QUEUE_OLDEST_AGE, lambda _: queue(0.5))
        made.observe(catalogue.TELEMETRY_LOSSES, lambda _: [Observation(0)])
        gpu = self.worker.instruments
        gpu.observe(catalogue.GPU_UTILIZATION, lambda _: [Observation(0.4, {"gpu": "0"})])
        gpu.observe(catalogue.GPU_MEMORY, lambda _: [Observation(2**30, {"gpu": "0"})])

    def send(
        self, images: int = 1, *, error: DamoscopeError | None = None, slow_s: float = 0.0
    ) -> Sent:
        """Send whole images; each ends with `error`, `slow_s` lengthens inference."""
        sent = Sent()
        for _ in range(images):
            with self.begin(error=error) as (trace_id, finish):
                finish(slow_s)
            sent.traces.append(trace_id)
        self.flush()
        return sent

    @contextmanager
    def begin(self, *, error: DamoscopeError | None = None) -> Iterator[tuple[str, Finish]]:
        """Upload and enqueue one image; the yielded function processes it."""
        made, now = self.frontend.instruments, time.time_ns()
        self.active += 1
        tracer = self.frontend.tracer
        request = tracer.start_span(
            catalogue.SPAN_REQUEST_API, kind=SpanKind.SERVER, start_time=now
        )
        context = trace.set_span_in_context(request)
        upload_end = now + _ns(STAGES_S["upload"])
        upload = tracer.start_span(catalogue.SPAN_UPLOAD, context, start_time=now)
        _record(made, "upload", trace.set_span_in_context(upload))
        upload.end(upload_end)
        enqueue = tracer.start_span(
            catalogue.SPAN_ENQUEUE, context, kind=SpanKind.PRODUCER, start_time=upload_end
        )
        enqueue.end(upload_end + _ns(0.001))
        finish = Finish(self, trace.set_span_in_context(enqueue), upload_end, error)
        yield format(request.get_span_context().trace_id, "032x"), finish
        outcome = error.outcome if error else "ok"
        if error:
            spans.fail(request, error)
        ended = max(finish.ended, upload_end)
        request.end(ended)
        attributes = {"outcome": outcome, "route": "api"}
        self.images += 1
        self.active -= 1
        made.add(catalogue.REQUESTS, 1, attributes, context=context)
        made.add(catalogue.REQUESTS_LIMITED, 0, {"route": attributes["route"]}, context=context)
        made.add(catalogue.QUEUE_REFUSED, 0, {"queue": "detections"}, context=context)
        made.record(catalogue.REQUEST_DURATION, (ended - now) / 1e9, attributes, context=context)
        made.add(catalogue.CLIENT_REQUESTS, 1, {"client": "192.0.2.1"}, context=context)
        made.add(catalogue.REFUSALS, 1, {"reason": "no_key"}, context=context)
        made.add(catalogue.MALFORMED, 1, {"kind": catalogue.MALFORMED_KINDS[0]}, context=context)
        made.record(catalogue.IMAGE_SIZE, 200_000, {"format": "JPEG"}, context=context)

    def flush(self) -> None:
        """Send what is buffered, now."""
        self.frontend.flush()
        self.worker.flush()

    def close(self) -> None:
        """End both services."""
        self._system.uninstrument()
        self.frontend.close()
        self.worker.close()


class Finish:
    """The worker's part of one image, as a call."""

    def __init__(
        self, source: Source, context: Context, enqueued: int, error: DamoscopeError | None
    ) -> None:
        self._source, self._context, self._error = source, context, error
        self._at = self.ended = enqueued

    def __call__(self, slow_s: float = 0.0) -> None:
        """Spans queue_wait, process, preprocess, inference, nms and their metrics."""
        worker = self._source.worker
        taken = self._at + _ns(STAGES_S["queue_wait"])
        self._span(catalogue.SPAN_QUEUE_WAIT, self._context, self._at, taken)
        process = worker.tracer.start_span(
            catalogue.SPAN_PROCESS, self._context, kind=SpanKind.CONSUMER, start_time=taken
        )
        context, at = trace.set_span_in_context(process), taken
        for stage in ("preprocess", "inference", "nms"):
            end = at + _ns(STAGES_S[stage] + (slow_s if stage == "inference" else 0.0))
            self._span(stage, context, at, end)
            at = end
        if self._error:
            spans.fail(process, self._error, record_exception=True)
        process.end(at)
        self.ended = at
        made = worker.instruments
        made.record(catalogue.BATCH_SIZE, 1, context=context)
        label = {"label": "phone", **OF_MODEL}
        made.add(catalogue.DETECTIONS, 1, label, context=context)
        made.record(catalogue.DETECTION_SCORE, 0.9, label, context=context)
        outcome = self._error.outcome if self._error else "ok"
        made.add(catalogue.MODEL_IMAGES, 1, {**OF_MODEL, "outcome": outcome}, context=context)
        made.add(catalogue.INFERENCE_BUSY, STAGES_S["inference"], {"provider": "cpu"}, context)
        made.add(catalogue.WORKER_BUSY, 0.1, {"provider": "cpu", "queue": "detections"}, context)
        other = {"model": "other", "version": "9f8e7d6c5b4a"}
        made.add(catalogue.SHADOW_IMAGES, 1, {**other, "outcome": "agreed"}, context)
        made.add(catalogue.SHADOW_BOXES, 1, {**other, "found_by": "both"}, context)
        made.record(catalogue.SHADOW_SCORE_DIFFERENCE, 0.03, other, context)

    def _span(self, name: str, parent: Context, start: int, end: int) -> None:
        worker = self._source.worker
        span = worker.tracer.start_span(name, parent, start_time=start)
        _record(worker.instruments, name, trace.set_span_in_context(span))
        span.end(end)


def _record(made: Instruments, stage: str, context: Context) -> None:
    labels = {"stage": stage} | ({} if stage == "upload" else OF_MODEL)
    made.record(catalogue.STAGE_DURATION, STAGES_S[stage], labels, context=context)


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
