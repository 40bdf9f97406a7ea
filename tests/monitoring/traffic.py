"""Telemetry as our processes send it: made by the SDK, encoded by its exporters."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from telemetry import catalogue

MS = 1_000_000
_serial = itertools.count(1)


def resource(service: str, instance: str = "one") -> Resource:
    """A process's resource, with what the SDK puts into it."""
    return Resource(
        {
            "telemetry.sdk.language": "python",
            "telemetry.sdk.name": "opentelemetry",
            "telemetry.sdk.version": "1.45.2",
            "service.name": service,
            "service.version": "0.1.0",
            "service.instance.id": instance,
            "host.id": "f3c9d1e2a4b5",
        }
    )


def context(trace_id: int | None = None) -> SpanContext:
    """A new span's identity, in the trace given or in a new one."""
    rng = random.Random(next(_serial))
    return SpanContext(
        trace_id or rng.getrandbits(127) + 1,
        rng.getrandbits(63) + 1,
        is_remote=False,
        trace_flags=TraceFlags(1),
    )


def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    *,
    parent: ReadableSpan | SpanContext | None = None,
    service: str = catalogue.SERVICE_WORKER,
    instance: str = "one",
    start_ns: int,
    duration_ms: float,
    attributes: dict[str, object] | None = None,
    error: str | None = None,
    links: Sequence[Link] = (),
    own: SpanContext | None = None,
) -> ReadableSpan:
    """One finished span."""
    above = parent.context if isinstance(parent, ReadableSpan) else parent
    events = ()
    if error is not None:
        fields = {"exception.type": "ValueError", "exception.message": error}
        events = (Event("exception", fields, start_ns + MS),)
    return ReadableSpan(
        name,
        own or context(above.trace_id if above else None),
        above,
        resource(service, instance),
        attributes,
        events,
        links,
        kind,
        None,
        Status(StatusCode.ERROR, error) if error else Status(StatusCode.UNSET),
        start_ns,
        start_ns + int(duration_ms * MS),
    )


def image(
    start_ns: int,
    *,
    duration_ms: float = 60.0,
    outcome: str = "ok",
    route: str = "api",
    detections: int = 2,
    parent: SpanContext | None = None,
    job_id: str = "5f0c1b9e-6d3c-4a51-9b8e-2f5b6f1d7a10",
    error: str | None = None,
) -> tuple[list[ReadableSpan], list[ReadableSpan]]:
    """The spans of one image: those of the frontend and those of the worker."""
    front = {"service": catalogue.SERVICE_FRONTEND}
    attributes: dict[str, object] = {
        "http.request.method": "POST",
        "url.path": "/api/v1/detect",
        "http.response.status_code": 200 if outcome == "ok" else 500,
        catalogue.ATTR_ROUTE: route,
        catalogue.ATTR_OUTCOME: outcome,
        catalogue.ATTR_JOB_ID: job_id,
    }
    if outcome == "ok":
        attributes[catalogue.ATTR_DETECTIONS] = detections
    else:
        attributes[catalogue.ATTR_ERROR_TYPE] = "inference_failed"
    server = span(
        catalogue.SPAN_REQUEST_API, SpanKind.SERVER, parent=parent, start_ns=start_ns,
        duration_ms=duration_ms, attributes=attributes, error=error, **front,
    )  # fmt: skip
    upload = span(
        catalogue.SPAN_UPLOAD, parent=server, start_ns=start_ns, duration_ms=3, **front,
        attributes={catalogue.ATTR_IMAGE_FORMAT: "JPEG", catalogue.ATTR_IMAGE_BYTES: 183_221,
                    catalogue.ATTR_IMAGE_WIDTH: 1280, catalogue.ATTR_IMAGE_HEIGHT: 720},
    )  # fmt: skip
    messaging: dict[str, object] = {
        catalogue.ATTR_MESSAGING_SYSTEM: "rq",
        catalogue.ATTR_MESSAGING_DESTINATION: "detections",
        catalogue.ATTR_MESSAGING_MESSAGE_ID: job_id,
    }
    enqueue = span(
        catalogue.SPAN_ENQUEUE, SpanKind.PRODUCER, parent=server, start_ns=start_ns + 3 * MS,
        duration_ms=1, **front,
        attributes={**messaging, catalogue.ATTR_MESSAGING_OPERATION_NAME: "enqueue"},
    )  # fmt: skip
    wait = span(
        catalogue.SPAN_QUEUE_WAIT, parent=enqueue, start_ns=start_ns + 4 * MS, duration_ms=5,
    )  # fmt: skip
    process = span(
        catalogue.SPAN_PROCESS, SpanKind.CONSUMER, parent=enqueue, start_ns=start_ns + 9 * MS,
        duration_ms=40, attributes={
            **messaging,
            catalogue.ATTR_MESSAGING_OPERATION_NAME: "process",
            catalogue.ATTR_WORKER: "worker-1",
            catalogue.ATTR_MODEL: "damoyolo_ns_phone",
            catalogue.ATTR_MODEL_VERSION: "0a1b2c3d4e5f",
            catalogue.ATTR_DETECTIONS: detections,
        },
    )  # fmt: skip
    stages = [
        span(catalogue.SPAN_PREPROCESS, parent=process, start_ns=start_ns + 10 * MS, duration_ms=6),
        span(
            catalogue.SPAN_INFERENCE, parent=process, start_ns=start_ns + 16 * MS, duration_ms=25,
            attributes={
                catalogue.ATTR_PROVIDER: "CPUExecutionProvider",
                catalogue.ATTR_BATCH_SIZE: 4,
            },
            links=[Link(context())],
        ),
        span(catalogue.SPAN_NMS, parent=process, start_ns=start_ns + 42 * MS, duration_ms=2),
    ]  # fmt: skip
    return [upload, enqueue, server], [wait, *stages, process]


def trace_id(spans: Iterable[ReadableSpan]) -> str:
    """Hexadecimal id of the trace that the spans are of."""
    return trace.format_trace_id(next(iter(spans)).context.trace_id)


def encoded(spans: Sequence[ReadableSpan]) -> bytes:
    """What the exporter would send for them."""
    return encode_spans(spans).SerializeToString()
