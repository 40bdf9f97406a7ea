"""Spans at a third of the CPU time that the SDK takes for one; it exports them as its own."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
)
from opentelemetry.util.types import Attributes, AttributeValue

from telemetry import names

#: The name under which all of our spans and metrics are made.
SCOPE = "damoscope"
_SCOPE = InstrumentationScope(SCOPE)
_NONE: Mapping[str, AttributeValue] = {}
_UNSET = Status(StatusCode.UNSET)


class _Place(NamedTuple):
    """What is known of a span when it begins."""

    context: SpanContext
    #: Its parent's context.
    source: SpanContext | None
    recorded: bool
    attributes: Mapping[str, AttributeValue]


class Finished(ReadableSpan):
    """A span without events, errors, or anything that was dropped.

    `given_attributes` and `given_links` are the objects themselves, which spans of one batch share,
    where the SDK's properties make a copy each time.
    """

    def __init__(self, resource: Resource, name: str, place: _Place, kind: SpanKind,
                 links: Sequence[Link], start_ns: int, end_ns: int) -> None:  # fmt: skip
        context, source, _, attributes = place
        super().__init__(
            name, context, source, resource, attributes, (), links, kind,
            start_time=start_ns, end_time=end_ns, instrumentation_scope=_SCOPE,
        )  # fmt: skip
        self.given_attributes = attributes
        self.given_links = links


class Live(Span):
    """A span under way: one task has it, so that it needs none of the SDK's locks.

    Its limits are left out as well; ids, sampling and processors are the SDK's.
    """

    def __init__(self, tracer: SdkTracer, name: str, parent: Context, kind: SpanKind,
                 attributes: Mapping[str, AttributeValue], start_ns: int,
                 links: Sequence[Link] = ()) -> None:  # fmt: skip
        self._tracer, self._name, self._kind, self._links = tracer, name, kind, links
        self._start_ns, self._end_ns = start_ns, 0
        place = _place(tracer, name, parent, kind, attributes, links)
        self._attributes = dict(place.attributes)
        self._place = place._replace(attributes=self._attributes)
        self._events: list[Event] = []
        self._status = _UNSET

    def get_span_context(self) -> SpanContext:
        return self._place.context

    def is_recording(self) -> bool:
        return self._place.recorded and not self._end_ns

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        if self.is_recording():  # what has ended is on its way
            self._attributes.update(attributes)

    def update_name(self, name: str) -> None:
        self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._status = status if isinstance(status, Status) else Status(status, description)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        self._events.append(Event(name, attributes, timestamp))

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        kind = type(exception)
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        facts = {
            "exception.type": f"{module}{kind.__qualname__}",
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", facts | dict(attributes or {}), timestamp)

    def end(self, end_time: int | None = None) -> None:
        if not self.is_recording():
            return
        self._end_ns = end_time or time.time_ns()
        place, resource = self._place, self._tracer.resource
        made: ReadableSpan
        if self._events or self._status is not _UNSET:
            made = ReadableSpan(
                self._name, place.context, place.source, resource, self._attributes, self._events,
                self._links, self._kind, status=self._status, start_time=self._start_ns,
                end_time=self._end_ns, instrumentation_scope=_SCOPE,
            )  # fmt: skip
        else:
            made = Finished(resource, self._name, place, self._kind, self._links,
                            self._start_ns, self._end_ns)  # fmt: skip
        self._tracer.span_processor.on_end(made)


def start(
    tracer: Tracer,
    name: str,
    parent: Context,
    kind: SpanKind,
    attributes: Mapping[str, AttributeValue] = _NONE,
    *,
    start_ns: int | None = None,
) -> Span:
    """Begin a span, now or at a Unix time in nanoseconds; call its `end`."""
    if isinstance(tracer, SdkTracer):
        return Live(tracer, name, parent, kind, attributes, start_ns or time.time_ns())
    return tracer.start_span(name, parent)


def record(
    tracer: Tracer,
    name: str,
    parent: Context,
    start_ns: int,
    end_ns: int,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    attributes: Mapping[str, AttributeValue] = _NONE,
    links: Sequence[Link] = (),
    error: BaseException | None = None,
    record_exception: bool = True,
) -> Span:
    """Make a finished span from Unix times in nanoseconds.

    `error` sets the span's status and is recorded as its exception, at its end.
    """
    if not isinstance(tracer, SdkTracer):
        return tracer.start_span(name, parent)
    if error is not None:
        span = Live(tracer, name, parent, kind, attributes, start_ns, links)
        fail(span, error, record_exception=record_exception, at_ns=end_ns)
        span.end(end_ns)
        return span
    place = _place(tracer, name, parent, kind, attributes, links)
    if place.recorded:
        tracer.span_processor.on_end(
            Finished(tracer.resource, name, place, kind, links, start_ns, end_ns)
        )
    return NonRecordingSpan(place.context)


def _place(
    tracer: SdkTracer,
    name: str,
    parent: Context,
    kind: SpanKind,
    attributes: Mapping[str, AttributeValue],
    links: Sequence[Link],
) -> _Place:
    """Place a new span in its trace, and ask the sampler, as the SDK does."""
    source: SpanContext | None = get_current_span(parent).get_span_context()
    if source is None or not source.is_valid:
        source, trace_id = None, tracer.id_generator.generate_trace_id()
        is_random = tracer.id_generator.is_trace_id_random()
    else:
        trace_id, is_random = source.trace_id, source.trace_flags.random_trace_id
    sampling = tracer.sampler.should_sample(parent, trace_id, name, kind, attributes, links)
    sampled = sampling.decision is Decision.RECORD_AND_SAMPLE
    flags = TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT
    context = SpanContext(
        trace_id,
        tracer.id_generator.generate_span_id(),
        is_remote=False,
        trace_flags=TraceFlags(flags | TraceFlags.RANDOM_TRACE_ID if is_random else flags),
        trace_state=sampling.trace_state,
    )
    # Most samplers add nothing, and the attributes of a batch's spans are one object.
    given = attributes if sampling.attributes == attributes else sampling.attributes or _NONE
    return _Place(context, source, sampling.decision is not Decision.DROP, given)


def fail(
    span: Span, error: BaseException, *, record_exception: bool = False, at_ns: int | None = None
) -> None:
    """Mark a span as failed. An error is recorded as an exception once, where it happened."""
    code = getattr(error, "code", type(error).__name__)
    span.set_attribute(names.ERROR_TYPE, code)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    if record_exception:
        span.record_exception(error, timestamp=at_ns)
