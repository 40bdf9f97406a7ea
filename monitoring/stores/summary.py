"""From the spans of a trace to a summary of each request in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from monitoring.stores.contract import Span, SpanStatus, TraceSummary
from telemetry import catalogue
from telemetry.outcomes import ERRORS

#: Labels of one image that are kept.
LABELS_MAX = 100


def is_request(span: Span) -> bool:
    """Whether this is the span of one image request, whatever the user calls the service."""
    return span.kind == "SERVER" and catalogue.ATTR_ROUTE in span.attributes


def is_error(status: SpanStatus, attributes: Mapping[str, Any]) -> bool:
    """Whether a request's span tells that it did not end well."""
    return status == "error" or attributes.get(catalogue.ATTR_OUTCOME, "ok") in ERRORS


def summarize(spans: Sequence[Span]) -> list[TraceSummary]:
    """One summary for each request among the spans of a trace, by start."""
    requests = [span for span in spans if is_request(span)]
    children: dict[str, list[Span]] = {}
    for span in spans:
        if span.parent_span_id is not None and not is_request(span):
            children.setdefault(span.parent_span_id, []).append(span)
    return [_summary(span, list(_descendants(span, children))) for span in requests]


def descendants(span_id: str, spans: Sequence[Span]) -> list[Span]:
    """The span of a request, and all below it that belong to no other request."""
    children: dict[str, list[Span]] = {}
    for span in spans:
        if span.parent_span_id is not None and not is_request(span):
            children.setdefault(span.parent_span_id, []).append(span)
    return [
        below
        for span in spans
        if span.span_id == span_id
        for below in (span, *_descendants(span, children))
    ]


def _summary(request: Span, below: Iterable[Span]) -> TraceSummary:
    attributes = request.attributes
    failed = is_error(request.status, attributes)
    stages: dict[str, float] = {}
    detections = attributes.get(catalogue.ATTR_DETECTIONS)
    told: Mapping[str, Any] = {}
    for span in sorted(below, key=lambda span: span.start_unix_ns):
        if span.name in catalogue.STAGES:
            stages[span.name] = span.duration_ms
        if span.name == catalogue.SPAN_PROCESS:
            told = span.attributes
            if detections is None:
                # A request that was answered before its job was done does not know.
                detections = told.get(catalogue.ATTR_DETECTIONS)
    labels, score = told.get(catalogue.ATTR_LABELS), told.get(catalogue.ATTR_SCORE)
    return TraceSummary(
        trace_id=request.trace_id,
        span_id=request.span_id,
        start_unix_ns=request.start_unix_ns,
        duration_ms=request.duration_ms,
        status="error" if failed else "ok",
        outcome=str(attributes.get(catalogue.ATTR_OUTCOME, "failed" if failed else "ok")),
        route=str(attributes[catalogue.ATTR_ROUTE]),
        detections=detections if isinstance(detections, int) else None,
        job_id=_text(attributes.get(catalogue.ATTR_JOB_ID)),
        error_type=_text(
            attributes.get(catalogue.ATTR_PROBLEM_CODE, attributes.get(catalogue.ATTR_ERROR_TYPE))
        ),
        error_message=_text(attributes.get(catalogue.ATTR_PROBLEM_DETAIL))
        or request.status_message
        or _exception_message(request),
        stages_ms={stage: stages[stage] for stage in catalogue.STAGES if stage in stages},
        client=_text(attributes.get(catalogue.ATTR_ENDUSER_ID)),
        worker=_text(told.get(catalogue.ATTR_WORKER)),
        model=_text(told.get(catalogue.ATTR_MODEL)),
        model_version=_text(told.get(catalogue.ATTR_MODEL_VERSION)),
        labels=tuple(map(str, labels[:LABELS_MAX])) if isinstance(labels, (list, tuple)) else (),
        score=float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None,
    )


def _descendants(span: Span, children: Mapping[str, Sequence[Span]]) -> Iterator[Span]:
    seen = {span.span_id}
    left = [span.span_id]
    while left:
        for child in children.get(left.pop(), ()):
            if child.span_id not in seen:  # a loop of parents is somebody else's mistake
                seen.add(child.span_id)
                left.append(child.span_id)
                yield child


def _exception_message(span: Span) -> str | None:
    for event in span.events:
        if event.name == "exception":
            return _text(event.attributes.get("exception.message"))
    return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
