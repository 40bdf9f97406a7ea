"""frontend.arrival: spans begin when their request came."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import SpanKind

from frontend.arrival import Arrival, SinceArrival, begun


def test_spans_begin_with_the_arrival() -> None:
    """Unless their beginning is given; and outside of a request, when they are started."""
    tracer = SinceArrival(TracerProvider()).get_tracer("instrumentation")
    arrival = Arrival(unix_ns=5, monotonic_s=0.0)
    with begun(arrival):
        span = tracer.start_span("a", kind=SpanKind.SERVER, attributes={"b": 1})
        given = tracer.start_span("c", start_time=7)
    after = tracer.start_span("d")
    for each, start in ((span, 5), (given, 7)):
        assert isinstance(each, ReadableSpan)
        assert each.start_time == start
    assert isinstance(span, ReadableSpan)
    assert (span.name, span.kind, dict(span.attributes or {})) == ("a", SpanKind.SERVER, {"b": 1})
    assert isinstance(after, ReadableSpan)
    assert (after.start_time or 0) > 7


def test_an_arrival_is_noted() -> None:
    """Once; where it was not, it is now."""
    scope: dict[str, object] = {}
    first = Arrival.of(scope)
    first.note(scope)
    assert Arrival.of(scope) is first
