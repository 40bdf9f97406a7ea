"""Rows of requests, and their spans where a row of an older version does not tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from opentelemetry.proto.trace.v1 import trace_pb2

from monitoring.stores.contract import TraceSummary
from monitoring.stores.embedded import summaries
from monitoring.stores.embedded.otlp import decode_spans, outline
from monitoring.stores.summary import summarize

#: Chunks that are read to sum up a request of an older version's row.
OLD_CHUNKS = 16
#: What `summaries.facts` takes, and `summed_up` with the id before it.
FACTS: Final = "id, start_ns, duration_ns, error, summary, told"
COLUMNS: Final = "id, trace_id, span_id, start_ns, duration_ns, error, summary, told"
_CHUNKS = """
    SELECT chunk.spans, resource.dictionary, resource.body FROM chunk JOIN resource
    ON resource.id = chunk.resource WHERE chunk.trace_id = ? AND chunk.id < ?
    ORDER BY chunk.id LIMIT ?
"""


def summed_up(
    connection: sqlite3.Connection,
    trace_id: bytes,
    span_id: bytes,
    start_ns: int,
    duration_ns: int,
    error: int,
    summary: str,
    told: str,
) -> TraceSummary | None:
    """A row, but for its id, as a summary. None where nothing tells any more."""
    if not summary:
        return from_spans(connection, trace_id, span_id)
    return summaries.decode(trace_id, span_id, start_ns, duration_ns, error, summary, told)


def from_spans(
    connection: sqlite3.Connection, trace_id: bytes, span_id: bytes
) -> TraceSummary | None:
    """What a row of an older version lacks: from the first of its spans, as many as cost little."""
    spans = map(outline, unpacked(connection, trace_id, limit=OLD_CHUNKS))
    known = {span.span_id: span for span in spans}
    for found in summarize(list(known.values())):
        if found.span_id == span_id.hex():
            return found
    return None


def chunks(
    connection: sqlite3.Connection,
    trace_id: bytes,
    *,
    before: int = 2**63 - 1,
    limit: int = -1,
) -> Iterator[tuple[bytes, Sequence[trace_pb2.Span]]]:
    """Resource and spans of each piece of a trace, in order of arrival."""
    for packed, dictionary, body in connection.execute(_CHUNKS, (trace_id, before, limit)):
        yield body, decode_spans(packed, dictionary).spans


def unpacked(
    connection: sqlite3.Connection, trace_id: bytes, *, before: int = 2**63 - 1, limit: int = -1
) -> Iterator[trace_pb2.Span]:
    """The spans of a trace, in order of arrival."""
    for _, spans in chunks(connection, trace_id, before=before, limit=limit):
        yield from spans
