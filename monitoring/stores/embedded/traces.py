"""Traces in SQLite: written as they came, put together when read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from monitoring.stores.contract import LogLine, Order, RequestStatus, Span, TraceSummary, Window
from monitoring.stores.embedded.lines import read_lines
from monitoring.stores.embedded.otlp import (
    WINDOW_BITS,
    Chunk,
    compress,
    decode_spans,
    service_of,
    span_of,
)
from monitoring.stores.embedded.schema import Readers
from monitoring.stores.summary import summarize

#: How often a resource is marked as still in use.
SEEN_EVERY_S = 3600

_SEARCH = """
    SELECT trace_id, span_id FROM request INDEXED BY {index}
    WHERE start_ns >= ? AND start_ns < ? AND duration_ns >= ? {status}
    ORDER BY {order} DESC LIMIT ?
"""
_ORDERS = {
    "newest": ("request_start", "start_ns"),
    "slowest": ("request_duration", "duration_ns"),
}
_STATUSES = {None: "", "ok": "AND error = 0", "error": "AND error = 1"}


DICTIONARY_MAX_BYTES = 2**WINDOW_BITS


def write_chunks(connection: sqlite3.Connection, chunks: Sequence[Chunk], now_s: float) -> None:
    """Store spans, inside the caller's transaction. A request that came before is left as is."""
    resources = {
        body: _resource(connection, body, chunks, int(now_s))
        for body in {chunk.resource for chunk in chunks}
    }
    for chunk in chunks:
        resource, dictionary = resources[chunk.resource]
        row = (chunk.trace_id, resource, int(now_s), compress(chunk.spans, dictionary))
        cursor = connection.execute(
            "INSERT INTO chunk (trace_id, resource, received_s, spans) VALUES (?, ?, ?, ?)", row
        )
        for request in chunk.requests:
            connection.execute(
                "INSERT INTO request (trace_id, span_id, chunk, start_ns, duration_ns, error)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    request.trace_id,
                    request.span_id,
                    cursor.lastrowid,
                    request.start_ns,
                    request.duration_ns,
                    request.error,
                ),
            )


def _resource(
    connection: sqlite3.Connection, body: bytes, chunks: Iterable[Chunk], now_s: int
) -> tuple[int, bytes]:
    """Id and dictionary of a resource, which is made from the first export when it is new."""
    found = connection.execute(
        "SELECT id, dictionary, seen_s FROM resource WHERE body = ?", (body,)
    ).fetchone()
    if found is None:
        longest = max((chunk.spans for chunk in chunks if chunk.resource == body), key=len)
        dictionary = longest[:DICTIONARY_MAX_BYTES]
        cursor = connection.execute(
            "INSERT INTO resource (body, dictionary, seen_s) VALUES (?, ?, ?)",
            (body, dictionary, now_s),
        )
        return int(cursor.lastrowid or 0), dictionary
    id, dictionary, seen_s = found
    if now_s - seen_s > SEEN_EVERY_S:
        connection.execute("UPDATE resource SET seen_s = ? WHERE id = ?", (now_s, id))
    return int(id), dictionary


class EmbeddedTraces:
    """TraceStore over the SQLite file."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    def search(
        self,
        *,
        limit: int = 50,
        min_duration_ms: float | None = None,
        status: RequestStatus | None = None,
        window: Window | None = None,
        order: Order = "newest",
    ) -> list[TraceSummary]:
        index, column = _ORDERS[order]
        if status == "error" and order == "newest":
            index = "request_error"
        query = _SEARCH.format(index=index, order=column, status=_STATUSES[status])
        first, last = (window.start_s, window.end_s) if window else (0.0, 2.0**33)
        bounds = (int(first * 1e9), int(last * 1e9), int((min_duration_ms or 0) * 1e6))
        with self._readers.connection() as connection:
            rows = connection.execute(query, (*bounds, limit)).fetchall()
            traces: dict[bytes, Mapping[str, TraceSummary]] = {}
            for trace_id, _ in rows:
                if trace_id not in traces:
                    spans = _spans(connection, trace_id)
                    traces[trace_id] = {each.span_id: each for each in summarize(spans)}
        found = (traces[trace_id].get(span_id.hex()) for trace_id, span_id in rows)
        return [summary for summary in found if summary is not None]

    def get(self, trace_id: str) -> list[Span]:
        try:
            key = bytes.fromhex(trace_id)
        except ValueError:
            return []
        with self._readers.connection() as connection:
            return _spans(connection, key)

    def lines(self, trace_id: str) -> list[LogLine]:
        try:
            key = bytes.fromhex(trace_id)
        except ValueError:
            return []
        with self._readers.connection() as connection:
            return read_lines(connection, key)


def _spans(connection: sqlite3.Connection, trace_id: bytes) -> list[Span]:
    """The spans of one trace by start, each once even if it was exported twice."""
    rows = connection.execute(
        "SELECT chunk.spans, resource.dictionary, resource.body FROM chunk JOIN resource"
        " ON resource.id = chunk.resource WHERE chunk.trace_id = ?",
        (trace_id,),
    ).fetchall()
    services = {body: service_of(Resource.FromString(body)) for _, _, body in rows}
    spans: dict[bytes, Span] = {}
    for encoded, dictionary, body in rows:
        for span in decode_spans(encoded, dictionary).spans:
            spans.setdefault(span.span_id, span_of(span, services[body]))
    return sorted(spans.values(), key=lambda span: (span.start_unix_ns, -span.duration_ms))
