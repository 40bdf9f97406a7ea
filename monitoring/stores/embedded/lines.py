"""Log lines that belong to a trace: decoded from OTLP, kept beside its spans, and dropped again.

Lines without a trace are not kept: they are on the process's stderr. The form is that of
opentelemetry-proto: logs/v1.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.logs.v1 import logs_pb2

from monitoring.stores.contract import TRACE_MAX_LINES, LogLine
from monitoring.stores.embedded.limits import EXPORT_MAX_LINES, STACK_MAX, TEXT_MAX
from monitoring.stores.embedded.otlp import (
    MAX_NS,
    MalformedTelemetry,
    Rejected,
    attributes_of,
    service_of,
    text_of,
    value_of,
)
from monitoring.stores.embedded.room import used

#: Lines of all traces: more are not kept, the oldest go.
MAX_LINES = 100_000
#: Lines dropped at once where they take too much.
STEP_LINES = 100
_STACK = "exception.stacktrace"


@dataclass(frozen=True, slots=True)
class LogExport:
    """One decoded export of log lines."""

    lines: list[LogLine] = field(default_factory=list)
    rejected: Rejected = field(default_factory=Rejected)


def decode_logs(body: bytes) -> LogExport:
    """The lines of an ExportLogsServiceRequest that belong to a trace."""
    try:
        message = ExportLogsServiceRequest.FromString(body)
    except DecodeError as error:
        raise MalformedTelemetry(f"not an ExportLogsServiceRequest: {error}") from error
    export = LogExport()
    left = EXPORT_MAX_LINES
    for group in message.resource_logs:
        service = service_of(group.resource)
        for scope in group.scope_logs:
            count = len(scope.log_records)
            if count > left:
                reason = f"more than {EXPORT_MAX_LINES} log records in an export"
                export.rejected.add(reason, count - left)
            records = scope.log_records[:left]
            left -= len(records)
            for record in records:
                if not record.trace_id:
                    continue
                if len(record.trace_id) != 16 or len(record.span_id) not in (0, 8):
                    export.rejected.add("a log record with a trace or span id that is none")
                    continue
                export.lines.append(_line(record, service, scope.scope.name))
    return export


def _line(record: logs_pb2.LogRecord, service: str, logger: str) -> LogLine:
    attributes = attributes_of(each for each in record.attributes if each.key == _STACK)
    stack = attributes.get(_STACK)
    return LogLine(
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        time_unix_ns=min(record.time_unix_nano or record.observed_time_unix_nano, MAX_NS),
        level=record.severity_text[:20],
        logger=logger[:200],
        message=text_of(value_of(record.body))[:TEXT_MAX],
        service=service[:200],
        stack=text_of(stack)[-STACK_MAX:] if stack else "",
    )


def write_lines(connection: sqlite3.Connection, lines: Sequence[LogLine], now_s: float) -> None:
    """Store lines, inside the caller's transaction."""
    for line in lines:
        connection.execute(
            "INSERT INTO line (trace_id, span_id, received_s, time_ns, level, logger, message,"
            " service, stack) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?"
            " WHERE (SELECT count(*) FROM line WHERE trace_id = ?) < ?",
            (
                bytes.fromhex(line.trace_id), bytes.fromhex(line.span_id), int(now_s),
                line.time_unix_ns, line.level, line.logger, line.message, line.service, line.stack,
                bytes.fromhex(line.trace_id), TRACE_MAX_LINES,
            ),
        )  # fmt: skip


def read_lines(connection: sqlite3.Connection, trace_id: bytes) -> list[LogLine]:
    """The lines of one trace, by time."""
    return list(_read(connection, trace_id))


def _read(connection: sqlite3.Connection, trace_id: bytes) -> Iterator[LogLine]:
    rows = connection.execute(
        "SELECT span_id, time_ns, level, logger, message, service, stack FROM line"
        " WHERE trace_id = ? ORDER BY time_ns, id",
        (trace_id,),
    )
    for span_id, *rest in rows:
        yield LogLine(trace_id.hex(), span_id.hex(), *rest)


def drop_lines(connection: sqlite3.Connection, received_before_s: float, max_chars: int) -> None:
    """Drop lines that came before a time, and the oldest that are too many or too long in all."""
    (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM line").fetchone()
    connection.execute("DELETE FROM line WHERE id <= ?", (newest - MAX_LINES,))
    connection.execute("DELETE FROM line WHERE received_s < ?", (received_before_s,))
    while used(connection, "line_bytes") > max_chars:
        connection.execute(
            "DELETE FROM line WHERE id IN (SELECT id FROM line ORDER BY id LIMIT ?)", (STEP_LINES,)
        )
