"""OTLP protobuf to what is stored, and stored spans back to the model.

The forms are those of opentelemetry-proto: trace/v1 and metrics/v1. What is
malformed is rejected piece by piece and counted; only bytes that are no OTLP
message at all raise MalformedTelemetry.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from monitoring.stores.contract import SERVICE_NAME, Event, Link, Span, SpanStatus
from monitoring.stores.embedded.limits import (
    CHUNK_MAX_SPANS,
    EXPORT_MAX_SPANS,
    RESOURCE_MAX_BYTES,
    SPAN_MAX_S,
)
from monitoring.stores.embedded.trim import trimmed
from pipeline.errors import DamoscopeError
from telemetry import catalogue

#: SQLite's integers are signed; a time beyond this is nonsense anyway (year 2262).
MAX_NS = 2**63 - 1

_STATUS: dict[int, SpanStatus] = {
    trace_pb2.Status.STATUS_CODE_UNSET: "unset",
    trace_pb2.Status.STATUS_CODE_OK: "ok",
    trace_pb2.Status.STATUS_CODE_ERROR: "error",
}
_KINDS = {
    number: name.removeprefix("SPAN_KIND_") for name, number in trace_pb2.Span.SpanKind.items()
}
#: Of the window that DEFLATE looks back on, as a power of two: the spans of one trace and of the
#: dictionary fit into 8 KiB.
WINDOW_BITS = 13
#: What summaries are made of: names of spans, and attributes.
_NAMED = frozenset((*catalogue.STAGES, catalogue.SPAN_PROCESS))
_TOLD = frozenset(
    (
        catalogue.ATTR_ROUTE,
        catalogue.ATTR_OUTCOME,
        catalogue.ATTR_DETECTIONS,
        catalogue.ATTR_JOB_ID,
        catalogue.ATTR_ERROR_TYPE,
        catalogue.ATTR_PROBLEM_CODE,
        catalogue.ATTR_PROBLEM_DETAIL,
        catalogue.ATTR_ENDUSER_ID,
        catalogue.ATTR_WORKER,
        catalogue.ATTR_MODEL,
        catalogue.ATTR_MODEL_VERSION,
        catalogue.ATTR_LABELS,
        catalogue.ATTR_SCORE,
    )
)


class MalformedTelemetry(DamoscopeError):
    """The bytes are not the OTLP message that they were sent as."""

    status = 400
    code = "malformed_telemetry"
    title = "Not an OTLP message"
    outcome = "invalid"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Spans of one trace and one process that came in one export, encoded."""

    trace_id: bytes
    resource: bytes
    spans: bytes
    #: The same spans, as far as summaries need them.
    outlines: tuple[Span, ...]


@dataclass(slots=True)
class Rejected:
    """How many spans or data points could not be taken, and why the first could not."""

    count: int = 0
    reason: str = ""

    def add(self, reason: str, count: int = 1) -> None:
        self.count += count
        self.reason = self.reason or reason


@dataclass(frozen=True, slots=True)
class TraceExport:
    """One decoded export of spans."""

    chunks: list[Chunk] = field(default_factory=list)
    rejected: Rejected = field(default_factory=Rejected)


def decode_traces(body: bytes) -> TraceExport:
    """Split an ExportTraceServiceRequest by trace, ready to be stored."""
    try:
        message = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise MalformedTelemetry(f"not an ExportTraceServiceRequest: {error}") from error
    export = TraceExport()
    left = EXPORT_MAX_SPANS
    for group in message.resource_spans:
        count = sum(len(scope.spans) for scope in group.scope_spans)
        resource = group.resource.SerializeToString(deterministic=True)
        if len(resource) > RESOURCE_MAX_BYTES:
            reason = f"a resource of more than {RESOURCE_MAX_BYTES} bytes"
            export.rejected.add(reason, count)
            continue
        if count > left:
            export.rejected.add(f"more than {EXPORT_MAX_SPANS} spans in an export", count - left)
        spans = islice((span for scope in group.scope_spans for span in scope.spans), left)
        left -= min(count, left)
        traces: dict[bytes, list[trace_pb2.Span]] = {}
        for span in spans:
            if fault := _fault(span):
                export.rejected.add(fault)
            else:
                traces.setdefault(span.trace_id, []).append(span)
        for trace_id, found in traces.items():
            for first in range(0, len(found), CHUNK_MAX_SPANS):
                part = found[first : first + CHUNK_MAX_SPANS]
                outlines = tuple(map(outline, part))
                export.chunks.append(Chunk(trace_id, resource, encode_spans(part), outlines))
    return export


def encode_spans(spans: Iterable[trace_pb2.Span]) -> bytes:
    """A ScopeSpans; the instrumentation scope is not kept."""
    body: bytes = trace_pb2.ScopeSpans(spans=spans).SerializeToString()
    return body


def compress(body: bytes, dictionary: bytes) -> bytes:
    """Encoded spans as they are stored: deflated against others of the same process."""
    # Preparing DEFLATE's usual window of 32 KiB takes longer than packing a trace.
    stream = zlib.compressobj(level=1, wbits=WINDOW_BITS, zdict=dictionary)
    return stream.compress(body) + stream.flush()


def decode_spans(body: bytes, dictionary: bytes) -> trace_pb2.ScopeSpans:
    """Stored spans as a message."""
    unpacked = zlib.decompressobj(zdict=dictionary).decompress(body)
    spans: trace_pb2.ScopeSpans = trace_pb2.ScopeSpans.FromString(unpacked)
    return spans


def _fault(span: trace_pb2.Span) -> str | None:
    if len(span.trace_id) != 16 or not any(span.trace_id):
        return "a span without a valid trace id"
    if len(span.span_id) != 8 or not any(span.span_id):
        return "a span without a valid span id"
    if len(span.parent_span_id) not in (0, 8):
        return "a span without a valid parent id"
    start_ns, end_ns = span.start_time_unix_nano, span.end_time_unix_nano
    if not 0 < start_ns <= MAX_NS or end_ns > MAX_NS or end_ns - start_ns > SPAN_MAX_S * 10**9:
        return "a span without a valid time"
    if not trimmed(span):
        return "a span that is too large"
    return None


def outline(span: trace_pb2.Span) -> Span:
    """A span without what no summary needs, which is most of it."""
    is_told = span.kind == trace_pb2.Span.SPAN_KIND_SERVER or span.name == catalogue.SPAN_PROCESS
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() or None,
        name=span.name if span.name in _NAMED else "",
        kind=_KINDS.get(span.kind, "UNSPECIFIED"),
        service="",
        start_unix_ns=span.start_time_unix_nano,
        duration_ms=max(0, span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        status=_STATUS.get(span.status.code, "unset"),
        status_message=span.status.message if is_told else "",
        attributes=attributes_of(each for each in span.attributes if each.key in _TOLD)
        if is_told
        else {},
        events=tuple(
            Event(event.name, event.time_unix_nano, attributes_of(event.attributes))
            for event in span.events
            if event.name == "exception"
        )
        if is_told
        else (),
    )


def span_of(span: trace_pb2.Span, service: str) -> Span:
    """The model's form of one span."""
    duration_ns = max(0, span.end_time_unix_nano - span.start_time_unix_nano)
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_span_id=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_KINDS.get(span.kind, "UNSPECIFIED"),
        service=service,
        start_unix_ns=span.start_time_unix_nano,
        duration_ms=duration_ns / 1e6,
        status=_STATUS.get(span.status.code, "unset"),
        status_message=span.status.message,
        attributes=attributes_of(span.attributes),
        events=tuple(
            Event(event.name, event.time_unix_nano, attributes_of(event.attributes))
            for event in span.events
        ),
        links=tuple(
            Link(link.trace_id.hex(), link.span_id.hex(), attributes_of(link.attributes))
            for link in span.links
        ),
    )


def service_of(resource: Resource) -> str:
    """The resource's service.name; "unknown_service" when it has none, as the SDKs say."""
    return resource_attribute(resource, SERVICE_NAME) or "unknown_service"


def resource_attribute(resource: Resource, name: str) -> str:
    """One attribute of a resource as text; "" when it is not there."""
    for item in resource.attributes:
        if item.key == name:
            return text_of(value_of(item.value))
    return ""


def attributes_of(items: Iterable[KeyValue]) -> dict[str, Any]:
    """OTLP attributes as a dictionary of JSON values."""
    return {item.key: value_of(item.value) for item in items}


def value_of(value: AnyValue) -> Any:
    """One OTLP value as a JSON value; bytes as hexadecimal."""
    match value.WhichOneof("value"):
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
        case "int_value":
            return value.int_value
        case "double_value":
            number = value.double_value
            return number if math.isfinite(number) else str(number)  # JSON knows no NaN
        case "array_value":
            return [value_of(item) for item in value.array_value.values]
        case "kvlist_value":
            return attributes_of(value.kvlist_value.values)
        case "bytes_value":
            return value.bytes_value.hex()
    return None


def text_of(value: Any) -> str:
    """An attribute value as the label it becomes: what Prometheus would show."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
