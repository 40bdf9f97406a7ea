"""Trace context on its way through the queue, in the job's metadata.

Which fields carry it is the global propagator's business: `OTEL_PROPAGATORS` chooses.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import Span, format_trace_id


def inject(context: Context) -> dict[str, str]:
    """A context's span and baggage as job metadata."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, context)
    return carrier


def extract(carrier: Mapping[str, str]) -> Context:
    """The context that is in job metadata or in headers (their names in lower case).

    Empty where there is none: the current context is not mixed in.
    """
    return propagate.extract(dict(carrier), Context())


def trace_id(span: Span) -> str:
    """A span's trace id as 32 hexadecimal digits; empty when it belongs to no trace."""
    context = span.get_span_context()
    return format_trace_id(context.trace_id) if context.is_valid else ""
