"""The trace that an image must leave, and how Jaeger's JSON is compared with it."""

from __future__ import annotations

from typing import Any

from telemetry import catalogue

Span = dict[str, Any]
#: Span -> (service, kind, name of its parent).
Shape = dict[str, tuple[str, str, str | None]]


def expected(request: str) -> Shape:
    """The spans of one image whose request's span has this name."""
    return {
        request: (catalogue.SERVICE_FRONTEND, "server", None),
        catalogue.SPAN_UPLOAD: (catalogue.SERVICE_FRONTEND, "internal", request),
        catalogue.SPAN_ENQUEUE: (catalogue.SERVICE_FRONTEND, "producer", request),
        catalogue.SPAN_QUEUE_WAIT: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_ENQUEUE),
        catalogue.SPAN_PROCESS: (catalogue.SERVICE_WORKER, "consumer", catalogue.SPAN_ENQUEUE),
        catalogue.SPAN_PREPROCESS: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_PROCESS),
        catalogue.SPAN_INFERENCE: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_PROCESS),
        catalogue.SPAN_NMS: (catalogue.SERVICE_WORKER, "internal", catalogue.SPAN_PROCESS),
    }


#: By the API, and from the page.
IMAGE = expected(catalogue.SPAN_REQUEST_API)
PAGE = expected(catalogue.SPAN_REQUEST_UI)
#: What is no image never reaches the queue.
REFUSED: Shape = {
    name: IMAGE[name] for name in (catalogue.SPAN_REQUEST_API, catalogue.SPAN_UPLOAD)
}  # fmt: skip


def complete(spans: list[Span], shape: Shape) -> list[Span]:
    """The spans, when there are as many as the shape has; else none yet."""
    return spans if len(spans) >= len(shape) else []


def shape_of(spans: list[Span]) -> Shape:
    """What the spans of one trace look like. Fails when a name appears twice."""
    by_id = {span["spanID"]: span["operationName"] for span in spans}
    assert len(set(by_id.values())) == len(spans), sorted(by_id.values())
    found: Shape = {}
    for span in spans:
        parent = parent_of(span)
        name = by_id.get(parent, "not in this trace") if parent else None
        found[span["operationName"]] = (span["service"], tag(span, "span.kind"), name)
    return found


def by_name(spans: list[Span]) -> dict[str, Span]:
    return {span["operationName"]: span for span in spans}


def parent_of(span: Span) -> str | None:
    """Id of the parent span."""
    return next(iter(references(span, "CHILD_OF")), (None, None))[1]


def references(span: Span, kind: str) -> list[tuple[str, str]]:
    """Trace and span ids: a parent is CHILD_OF, a link FOLLOWS_FROM."""
    return [
        (reference["traceID"], reference["spanID"])
        for reference in span["references"]
        if reference["refType"] == kind
    ]


def tag(span: Span, name: str) -> Any:
    """An attribute's value; None where there is none."""
    return next((each["value"] for each in span["tags"] if each["key"] == name), None)
