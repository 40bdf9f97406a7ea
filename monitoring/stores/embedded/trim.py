"""Spans that are too large, cut to a size at which they can still be read."""

from __future__ import annotations

from collections.abc import MutableSequence
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from monitoring.stores.embedded.limits import (
    SPAN_MAX_BYTES,
    SPAN_MAX_ITEMS,
    SPAN_WHOLE_BYTES,
    STACK_MAX,
    TEXT_MAX,
)

#: What may be longer than other texts, and whose end says most.
_STACK = "exception.stacktrace"
CUT = "…"


def trimmed(span: trace_pb2.Span) -> bool:
    """Cut a span down in place, as the SDKs' own limits do; False where it stays too large.

    What is left out is counted in the span's own `dropped_*` fields.
    """
    if span.ByteSize() <= SPAN_WHOLE_BYTES:
        return True
    span.name = _cut(span.name)
    span.status.message = _cut(span.status.message)
    span.trace_state = ""
    span.dropped_attributes_count += _shorten(span.attributes)
    span.dropped_events_count += _keep_first(span.events)
    span.dropped_links_count += _keep_first(span.links)
    for event in span.events:
        event.name = _cut(event.name)
        event.dropped_attributes_count += _shorten(event.attributes)
    for link in span.links:
        link.trace_state = ""
        link.dropped_attributes_count += _shorten(link.attributes)
    return bool(span.ByteSize() <= SPAN_MAX_BYTES)


def _shorten(attributes: MutableSequence[KeyValue]) -> int:
    dropped = _keep_first(attributes)
    for item in attributes:
        item.key = _cut(item.key)
        if item.key == _STACK and item.value.HasField("string_value"):
            item.value.string_value = item.value.string_value[-STACK_MAX:]
        else:
            _shorten_value(item.value)
    return dropped


def _shorten_value(value: AnyValue) -> None:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        value.string_value = _cut(value.string_value)
    elif kind == "bytes_value":
        value.bytes_value = value.bytes_value[: TEXT_MAX // 2]  # shown in hexadecimal
    elif kind in ("array_value", "kvlist_value") and value.ByteSize() > TEXT_MAX:
        value.string_value = CUT


def _keep_first(items: MutableSequence[Any]) -> int:
    dropped = max(0, len(items) - SPAN_MAX_ITEMS)
    if dropped:
        del items[SPAN_MAX_ITEMS:]
    return dropped


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + CUT
