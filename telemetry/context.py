"""Trace context on its way through the queue, as W3C `traceparent` in the job's metadata."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

_PROPAGATOR = TraceContextTextMapPropagator()


def inject(span: Span) -> dict[str, str]:
    """The context in which `span` is current, as job metadata."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, context=set_span_in_context(span, Context()))
    return carrier


def extract(carrier: Mapping[str, str]) -> Context:
    """The context that `inject` put into job metadata or a header; empty where there is none."""
    return _PROPAGATOR.extract(dict(carrier), context=Context())


def trace_id(span: Span) -> str:
    """A span's trace id as 32 hexadecimal digits."""
    return format_trace_id(span.get_span_context().trace_id)
