"""Spans as Jaeger's JSON has them. Times there are microseconds, so they are rounded to these."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from monitoring.stores.contract import Event, Link, Span, SpanStatus

#: Tags that Jaeger makes of a span's own fields.
_KIND, _STATUS, _MESSAGE, _ERROR = (
    "span.kind",
    "otel.status_code",
    "otel.status_description",
    "error",
)


def spans_of(trace: Mapping[str, Any]) -> list[Span]:
    """The spans of a trace in Jaeger's JSON, by start."""
    services = {key: each["serviceName"] for key, each in trace["processes"].items()}
    spans = [_span(span, services) for span in trace["spans"]]
    return sorted(spans, key=lambda span: (span.start_unix_ns, -span.duration_ms))


def _span(span: Mapping[str, Any], services: Mapping[str, str]) -> Span:
    tags = {tag["key"]: _value(tag) for tag in span.get("tags") or ()}
    references = span.get("references") or []
    parent = next(
        (
            each["spanID"]
            for each in references
            if each["refType"] == "CHILD_OF" and each["traceID"] == span["traceID"]
        ),
        None,
    )
    own = {_KIND, _STATUS, _MESSAGE, _ERROR}
    return Span(
        trace_id=span["traceID"],
        span_id=span["spanID"],
        parent_span_id=parent,
        name=span["operationName"],
        kind=str(tags.get(_KIND, "internal")).upper(),
        service=services[span["processID"]],
        start_unix_ns=int(span["startTime"]) * 1000,
        duration_ms=int(span["duration"]) / 1000,
        status=_status(tags),
        status_message=str(tags.get(_MESSAGE, "")),
        attributes={name: value for name, value in tags.items() if name not in own},
        events=tuple(_event(log) for log in span.get("logs") or ()),
        links=tuple(
            Link(each["traceID"], each["spanID"])
            for each in references
            if each["refType"] == "FOLLOWS_FROM"
        ),
    )


def _status(tags: Mapping[str, Any]) -> SpanStatus:
    if tags.get(_ERROR) in (True, "true") or tags.get(_STATUS) == "ERROR":
        return "error"
    return "ok" if tags.get(_STATUS) == "OK" else "unset"


def _event(log: Mapping[str, Any]) -> Event:
    fields = {field["key"]: _value(field) for field in log["fields"]}
    name = str(fields.pop("event", "log"))
    return Event(name, int(log["timestamp"]) * 1000, fields)


def _value(tag: Mapping[str, Any]) -> Any:
    """A tag's value; lists come as JSON text, whole numbers beyond 2**53 as text."""
    value = tag["value"]
    match tag.get("type"):
        case "int64":
            return int(value)
        case "float64":
            return float(value)
        case "string" if isinstance(value, str) and value.startswith("["):
            try:
                return json.loads(value)
            except json.JSONDecodeError:
                return value
    return value
