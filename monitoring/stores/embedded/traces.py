"""Traces in SQLite: written as they came, put together when read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2

from monitoring.stores.comparing import ComparedSides
from monitoring.stores.contract import (
    SERVICE_NAME,
    LogLine,
    Order,
    RequestStatus,
    Span,
    TracePart,
    TraceSummary,
    Window,
)
from monitoring.stores.embedded import compare, find
from monitoring.stores.embedded.limits import (
    NAME_MAX,
    RESOURCES_MAX,
    RESOURCES_SHARED,
    TRACE_MAX_BYTES,
    TRACE_MAX_SPANS,
)
from monitoring.stores.embedded.lines import read_lines
from monitoring.stores.embedded.otlp import (
    WINDOW_BITS,
    Chunk,
    compress,
    outline,
    service_of,
    span_of,
)
from monitoring.stores.embedded.room import used
from monitoring.stores.embedded.rows import chunks, unpacked
from monitoring.stores.embedded.schema import Readers
from monitoring.stores.embedded.summaries import Summaries
from monitoring.stores.finding import FoundImages, Tally, TraceQuery

#: How often a resource is marked as still in use.
SEEN_EVERY_S = 3600
_GROW = """
    INSERT INTO trace (trace_id, spans, bytes, dropped, chunk) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET spans = spans + excluded.spans, bytes = bytes + excluded.bytes,
        dropped = dropped + excluded.dropped, chunk = max(chunk, excluded.chunk)
"""

DICTIONARY_MAX_BYTES = 2**WINDOW_BITS


def write_chunks(
    connection: sqlite3.Connection, written: Sequence[Chunk], now_s: float, rows: Summaries
) -> int:
    """Store spans, inside the caller's transaction; how many were too many for their trace."""
    resources = {
        body: _resource(connection, body, written, int(now_s))
        for body in {chunk.resource for chunk in written}
    }
    return sum(
        _write_chunk(connection, chunk, *resources[chunk.resource], now_s, rows)
        for chunk in written
    )


def _write_chunk(
    connection: sqlite3.Connection,
    chunk: Chunk,
    resource: int,
    dictionary: bytes,
    now_s: float,
    rows: Summaries,
) -> int:
    count, size = len(chunk.outlines), len(chunk.spans)
    found = connection.execute(
        "SELECT spans, bytes, chunk FROM trace WHERE trace_id = ?", (chunk.trace_id,)
    ).fetchone()
    spans, bytes_, last = found or (0, 0, 0)
    is_full = spans + count > TRACE_MAX_SPANS or bytes_ + size > TRACE_MAX_BYTES
    if is_full:
        connection.execute(_GROW, (chunk.trace_id, 0, 0, count, last))
    else:
        cursor = connection.execute(
            "INSERT INTO chunk (trace_id, resource, received_s, spans) VALUES (?, ?, ?, ?)",
            (chunk.trace_id, resource, int(now_s), compress(chunk.spans, dictionary)),
        )
        last = cursor.lastrowid
        connection.execute(_GROW, (chunk.trace_id, count, size, 0, last))
    # A request is listed even where its spans find no room any more.
    rows.add(
        connection, chunk.trace_id, chunk.outlines, before=TRACE_MAX_SPANS if is_full else spans,
        chunk=last, now_s=now_s,
        load=lambda: map(outline, unpacked(connection, chunk.trace_id, before=last)),
    )  # fmt: skip
    return count if is_full else 0


def _resource(
    connection: sqlite3.Connection, body: bytes, written: Iterable[Chunk], now_s: int
) -> tuple[int, bytes]:
    """Id and dictionary of a resource, which is made from the first export when it is new."""
    longest = max((chunk.spans for chunk in written if chunk.resource == body), key=len)
    taken = used(connection, "resource")
    room = (body, _shared(service_of(Resource.FromString(body))), _shared("others"))
    # Those beyond the limit tell no more than their service, and then not even that.
    full = (taken >= RESOURCES_MAX) + (taken >= RESOURCES_MAX + RESOURCES_SHARED)
    for each in (body, *room[1 : full + 1]):
        found = connection.execute(
            "SELECT id, dictionary, seen_s FROM resource WHERE body = ?", (each,)
        ).fetchone()
        if found is not None:
            id, dictionary, seen_s = found
            if now_s - seen_s > SEEN_EVERY_S:
                connection.execute("UPDATE resource SET seen_s = ? WHERE id = ?", (now_s, id))
            return int(id), dictionary
    dictionary = longest[:DICTIONARY_MAX_BYTES]
    cursor = connection.execute(
        "INSERT INTO resource (body, dictionary, seen_s) VALUES (?, ?, ?)",
        (room[full], dictionary, now_s),
    )
    return int(cursor.lastrowid or 0), dictionary


def _shared(service: str) -> bytes:
    name = KeyValue(key=SERVICE_NAME, value=AnyValue(string_value=service[:NAME_MAX]))
    body: bytes = Resource(attributes=[name]).SerializeToString(deterministic=True)
    return body


class EmbeddedTraces:
    """TraceStore over the SQLite file."""

    def __init__(self, readers: Readers, on_damage: find.OnDamage = find.nobody) -> None:
        self._readers = readers
        self._on_damage = on_damage

    def search(
        self,
        *,
        limit: int = 50,
        min_duration_ms: float | None = None,
        status: RequestStatus | None = None,
        window: Window | None = None,
        order: Order = "newest",
    ) -> list[TraceSummary]:
        query = TraceQuery(window=window, status=status, min_duration_ms=min_duration_ms)
        return list(self.find(query, limit=limit, order=order).images)

    def find(
        self,
        query: TraceQuery,
        *,
        limit: int = 50,
        order: Order = "newest",
        cursor: str | None = None,
    ) -> FoundImages:
        with self._readers.connection() as connection:
            return find.find(connection, query, limit, order, cursor, self._on_damage)

    def tally(self, query: TraceQuery) -> Tally:
        with self._readers.connection() as connection:
            return find.tally(connection, query, self._on_damage)

    def compare(self, query: TraceQuery, slowest: float) -> ComparedSides:
        with self._readers.connection() as connection:
            return compare.compare(connection, query, slowest, self._on_damage)

    def not_searched(self, query: TraceQuery) -> tuple[str, ...]:
        return ()

    def get(self, trace_id: str) -> list[Span]:
        return list(self.part(trace_id).spans)

    def part(self, trace_id: str, offset: int = 0, limit: int | None = None) -> TracePart:
        try:
            key = bytes.fromhex(trace_id)
        except ValueError:
            return TracePart()
        with self._readers.connection() as connection:
            return _part(connection, key, offset, limit)

    def lines(self, trace_id: str) -> list[LogLine]:
        try:
            key = bytes.fromhex(trace_id)
        except ValueError:
            return []
        with self._readers.connection() as connection:
            return read_lines(connection, key)


def _part(
    connection: sqlite3.Connection, trace_id: bytes, offset: int, limit: int | None
) -> TracePart:
    """Spans of one trace by start, each once even if it was exported twice."""
    services: dict[bytes, str] = {}
    spans: dict[bytes, tuple[trace_pb2.Span, str]] = {}
    for body, chunk in chunks(connection, trace_id):
        if body not in services:
            services[body] = service_of(Resource.FromString(body))
        for span in chunk:
            spans.setdefault(span.span_id, (span, services[body]))
    ordered = sorted(
        spans.values(), key=lambda each: (each[0].start_time_unix_nano, -_end_ns(each[0]))
    )
    shown = ordered[offset : None if limit is None else offset + limit]
    found = connection.execute(
        "SELECT dropped FROM trace WHERE trace_id = ?", (trace_id,)
    ).fetchone()
    return TracePart(
        spans=tuple(span_of(*each) for each in shown),
        total=len(ordered),
        dropped=found[0] if found else 0,
        start_unix_ns=ordered[0][0].start_time_unix_nano if ordered else 0,
        end_unix_ns=max((_end_ns(span) for span, _ in ordered), default=0),
    )


def _end_ns(span: trace_pb2.Span) -> int:
    return max(span.start_time_unix_nano, span.end_time_unix_nano)
