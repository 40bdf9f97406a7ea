"""Spans of times that were measured before, and spans that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from pipeline.errors import DamoscopeError
from telemetry import catalogue


def record(
    tracer: Tracer,
    name: str,
    parent: Context,
    start_ns: int,
    end_ns: int,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] | None = None,
    links: Sequence[Link] = (),
    error: BaseException | None = None,
    record_exception: bool = True,
) -> Span:
    """Make a finished span from Unix times in nanoseconds.

    `error` sets the span's status and is recorded as its exception, at its end.
    """
    span = tracer.start_span(name, parent, kind, attributes, links, start_ns)
    if error is not None:
        fail(span, error, record_exception=record_exception, at_ns=end_ns)
    span.end(end_ns)
    return span


def fail(
    span: Span, error: BaseException, *, record_exception: bool = False, at_ns: int | None = None
) -> None:
    """Say on a span what went wrong. An error is recorded as an exception once, where it happened.

    What the client got wrong (4xx) leaves the status unset: one bad client is no outage.
    """
    if isinstance(error, DamoscopeError):
        span.set_attributes(
            {catalogue.ATTR_PROBLEM_CODE: error.code, catalogue.ATTR_PROBLEM_DETAIL: str(error)}
        )
    if getattr(error, "status", 500) >= 500:
        code = getattr(error, "code", type(error).__name__)
        span.set_attribute(catalogue.ATTR_ERROR_TYPE, code)
        span.set_status(Status(StatusCode.ERROR, str(error)))
    if record_exception:
        span.record_exception(error, timestamp=at_ns)
