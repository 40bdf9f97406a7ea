"""Spans as OTLP, at a quarter of the CPU time of the SDK's encoder.

That one makes a protobuf message of every attribute, from Python, which takes more time than all
else that is done for a span. Here the plain spans that an image leaves are written as bytes; what
is rarer (events, errors, limits that were reached) is left to the SDK, and so are resource and
scope. Both ways give the same bytes:
https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct, error
from types import ModuleType
from typing import Any

from opentelemetry.exporter.otlp.proto.common import trace_encoder
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

from telemetry import names
from telemetry.spans import Finished

#: Start and end time, each after the tag of its field.
_TIMES = Struct("<BQBQ").pack
_IDS, _PARENT_ID = Struct(">BBQQBBQ").pack, Struct(">BBQ").pack
#: Flags after the tag of their field, which has two bytes in a span and one in a link.
_FLAGS, _LINK_FLAGS = Struct("<BBI").pack, Struct("<BI").pack
_DOUBLE = Struct("<Bd").pack
#: “Whether the parent is of another process is known”, and “it is”.
_KNOWN, _REMOTE = 0x100, 0x200
#: Attributes whose values are no use to keep.
_UNIQUE = frozenset((names.JOB_ID, names.MESSAGING_MESSAGE_ID, names.IMAGE_BYTES))
#: A status that nobody set.
_NO_STATUS = b"\x7a\x00"


#: Encoded content by name, kind, and the identities of attributes and links, which are alive
#: while their spans are encoded.
Known = dict[tuple[str, SpanKind, int, int], bytes]


class _Rare(Exception):
    """Something of a span that is left to the SDK."""


def install(exporter: ModuleType) -> None:
    """Have an exporter of the SDK encode spans in this way: the name that its module calls."""
    vars(exporter)["encode_spans"] = encode_spans


def encode_spans(spans: Sequence[ReadableSpan]) -> ExportTraceServiceRequest:
    """The same message as the SDK's function of this name."""
    sources: dict[int, defaultdict[Any, list[ReadableSpan]]] = {}
    for span in spans:
        scopes = sources.setdefault(id(span.resource), defaultdict(list))
        scopes[span.instrumentation_scope].append(span)
    known: Known = {}
    request = ExportTraceServiceRequest()
    request.ParseFromString(
        b"".join(_field(0x0A, _source(each, known)) for each in sources.values())
    )
    return request


def _source(scopes: Mapping[Any, Sequence[ReadableSpan]], known: Known) -> bytes:
    """ResourceSpans: what one resource has made, by the scopes that did."""
    first = [spans[0] for spans in scopes.values()]
    source = trace_encoder.encode_spans(first).resource_spans[0]
    encoded = []
    for scope, spans in zip(source.scope_spans, scopes.values(), strict=True):
        del scope.spans[:]
        # Fields may come in any order, and the parts of a repeated one anywhere among others.
        each = b"".join(_field(0x12, _encoded(span, known)) for span in spans)
        encoded.append(_field(0x12, scope.SerializeToString() + each))
    del source.scope_spans[:]
    alone: bytes = source.SerializeToString()
    return alone + b"".join(encoded)


def _encoded(span: ReadableSpan, known: Known) -> bytes:
    try:
        return _of_ours(span, known) if type(span) is Finished else _plain(span)
    except (_Rare, error, AttributeError, TypeError, ValueError):
        request = trace_encoder.encode_spans([span])
        by_sdk: bytes = request.resource_spans[0].scope_spans[0].spans[0].SerializeToString()
        return by_sdk


def _of_ours(span: Finished, known: Known) -> bytes:
    """A span that may share its attributes and links with others of the export."""
    key = (span.name, span.kind, id(span.given_attributes), id(span.given_links))
    content = known.get(key)
    if content is None:
        content = known[key] = _content(*key[:2], span.given_attributes, span.given_links)
    return _place(span) + content


def _plain(span: ReadableSpan) -> bytes:
    """A span without any rarity. Raises _Rare, or what its odd values do."""
    if (
        span.status.status_code is not StatusCode.UNSET
        or span.events
        or span.dropped_attributes
        or span.dropped_links
    ):
        raise _Rare
    return _place(span) + _content(span.name, span.kind, span.attributes or {}, span.links)


def _place(span: ReadableSpan) -> bytes:
    """Where in its trace a span is, and when."""
    context, parent = span.context, span.parent
    if context.trace_state:
        raise _Rare
    return b"".join(
        (
            _ids(context),
            _PARENT_ID(0x22, 8, parent.span_id) if parent else b"",
            _TIMES(0x39, span.start_time, 0x41, span.end_time),
            _FLAGS(0x85, 0x01, _flags(parent)),
        )
    )


def _content(
    name: str, kind: SpanKind, attributes: Mapping[str, Any], links: Sequence[Link]
) -> bytes:
    """What a span says."""
    return b"".join(
        (
            _name_and_kind(name, kind),
            *(_attribute(key, value) for key, value in attributes.items()),
            *(_link(link) for link in links),
            _NO_STATUS,
        )
    )


def _ids(context: SpanContext) -> bytes:
    high, low = divmod(context.trace_id, 2**64)
    return _IDS(0x0A, 16, high, low, 0x12, 8, context.span_id)


def _flags(context: SpanContext | None) -> int:
    return _KNOWN | _REMOTE if context and context.is_remote else _KNOWN


def _link(link: Link) -> bytes:
    if link.attributes or link.dropped_attributes:
        raise _Rare
    return _field(0x6A, _ids(link.context) + _LINK_FLAGS(0x35, _flags(link.context)))


def _attribute(key: str, value: Any) -> bytes:
    kind = type(value)
    if key in _UNIQUE:
        return _key_and_value(key, _value(value))
    if kind is str or kind is int or (kind is tuple and all(type(each) is str for each in value)):
        return _frequent(key, value)
    return _key_and_value(key, _value(value))


@lru_cache(maxsize=4096)
def _frequent(key: str, value: str | int | tuple[str, ...]) -> bytes:
    """Most texts and numbers are the same in every span of their name.

    No value may come here that equals one of another type, as 1, 1.0 and True do.
    """
    return _key_and_value(key, _value(value))


@lru_cache(maxsize=1024)
def _key(key: str) -> bytes:
    return _field(0x0A, key.encode())


@lru_cache(maxsize=1024)
def _name_and_kind(name: str, kind: SpanKind) -> bytes:
    # OTLP's kinds begin with “unspecified”.
    return _field(0x2A, name.encode()) + bytes((0x30, kind.value + 1))


def _key_and_value(key: str, value: bytes) -> bytes:
    return _field(0x4A, _key(key) + _field(0x12, value))


def _value(value: object) -> bytes:
    """An AnyValue."""
    if isinstance(value, str):
        return _field(0x0A, value.encode())
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise _Rare
        return b"\x18" + _varint(value & (2**64 - 1))
    if isinstance(value, float):
        return _DOUBLE(0x21, value)
    if isinstance(value, (tuple, list)):
        return _field(0x2A, b"".join(_field(0x0A, _value(each)) for each in value))
    raise _Rare


def _field(tag: int, content: bytes) -> bytes:
    """A field of bytes: its tag, their number, and they."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    return bytes((tag,)) + _varint(length) + content


def _varint(value: int) -> bytes:
    """Seven bits to a byte, the lowest first."""
    found = bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)
