"""monitoring.stores.embedded.lines: log lines beside the spans of their trace."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from monitoring.stores.contract import LogLine, Span, by_span
from monitoring.stores.embedded import limits, lines, schema
from monitoring.stores.embedded.otlp import MalformedTelemetry
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.selection import open_readers
from pipeline.settings import load
from tests.monitoring import traffic

TRACE, SPAN = b"t" * 16, b"s" * 8


class Clock:
    now_s = time.time()

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(tmp_path / "telemetry.db", days=1, clock=clock)
    yield opened
    opened.close()


def export(*messages: str, trace: bytes = TRACE, span: bytes = SPAN, stack: str = "") -> bytes:
    """An export of lines, a nanosecond apart."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    service = group.resource.attributes.add(key="service.name")
    service.value.string_value = "damoscope-worker"
    scope = group.scope_logs.add()
    scope.scope.name = "damoscope.worker"
    for number, message in enumerate(messages):
        record = scope.log_records.add(
            trace_id=trace, span_id=span, time_unix_nano=1000 + number, severity_text="WARN"
        )
        record.body.string_value = message
        if stack:
            attribute = record.attributes.add(key="exception.stacktrace")
            attribute.value.string_value = stack
    return request.SerializeToString()


def test_lines_of_a_trace(store: EmbeddedStore) -> None:
    """What was logged within a trace can be read, by time; the rest is not kept."""
    assert not store.receive_logs(export("one", "two", stack="Traceback ...")).count
    store.receive_logs(export("of no trace", trace=b""))
    store.receive_logs(export("of another", trace=b"u" * 16))
    store.flush()
    first, second = store.traces.lines(TRACE.hex())
    assert first == LogLine(
        TRACE.hex(), SPAN.hex(), 1000, "WARN", "damoscope.worker", "one", "damoscope-worker",
        "Traceback ...",
    )  # fmt: skip
    assert second.message == "two"
    assert store.traces.lines("no id") == store.traces.lines("ab" * 16) == []


def test_bounds(store: EmbeddedStore) -> None:
    """A trace keeps so many lines, and a line so much text."""
    store.receive_logs(export(*"ab" * lines.TRACE_MAX_LINES))
    store.receive_logs(export("x" * 10**5, trace=b"u" * 16, stack="y" * 10**5))
    store.flush()
    assert len(store.traces.lines(TRACE.hex())) == lines.TRACE_MAX_LINES
    (long,) = store.traces.lines((b"u" * 16).hex())
    assert (len(long.message), len(long.stack)) == (limits.TEXT_MAX, limits.STACK_MAX)


def test_what_is_malformed(store: EmbeddedStore) -> None:
    """Records with broken ids are rejected one by one, other bytes as a whole."""
    assert store.receive_logs(export("a", trace=b"short")).count == 1
    with pytest.raises(MalformedTelemetry):
        store.receive_logs(b"\xff\xff")


def test_retention(
    store: EmbeddedStore, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines go when they are too old, and the oldest when there are too many."""
    store.receive_logs(export("old"))
    store.flush()
    clock.now_s += 2 * 86400
    store.receive_logs(export("a", "b", "c", trace=b"u" * 16))
    store.flush()
    with contextlib.closing(schema.connect(tmp_path / "telemetry.db")) as connection:
        store.retention.run(connection)
        assert store.traces.lines(TRACE.hex()) == []
        monkeypatch.setattr(lines, "MAX_LINES", 2)
        store.retention.run(connection)
    assert [line.message for line in store.traces.lines((b"u" * 16).hex())] == ["b", "c"]


def test_size(tmp_path: Path) -> None:
    """Lines of traces that were dropped for their size go with them."""
    now = Clock()
    store = EmbeddedStore(tmp_path / "small.db", max_bytes=10**6, clock=now)
    with contextlib.closing(store):
        store.receive_logs(export("of the oldest"))
        now.now_s += 3600
        frontend, worker = traffic.image(time.time_ns())
        store.receive_traces(traffic.encoded(frontend + worker))
        store.flush()
        with contextlib.closing(schema.connect(tmp_path / "small.db")) as connection:
            store.retention.run(connection)
        assert store.traces.lines(TRACE.hex()) == []  # it was over its limit from the beginning


def test_a_file_of_an_older_version(tmp_path: Path) -> None:
    """A file from before lines were kept gets their table, and keeps what is in it."""
    path = tmp_path / "telemetry.db"
    connection = sqlite3.connect(path)
    connection.executescript(schema.MIGRATIONS[0])
    connection.execute("PRAGMA user_version = 1")
    connection.execute("INSERT INTO resource VALUES (1, x'01', x'02', 9)")
    connection.commit()
    connection.close()
    with contextlib.closing(EmbeddedStore(path)) as store:
        store.receive_logs(export("new"))
        store.flush()
        assert [line.message for line in store.traces.lines(TRACE.hex())] == ["new"]
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT seen_s FROM resource").fetchall() == [(9,)]


def test_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file there are no lines."""
    monkeypatch.setenv("DAMOSCOPE_HOME", str(tmp_path))
    stores = open_readers(load())
    assert stores.traces.lines(TRACE.hex()) == []
    stores.close()


def test_by_span() -> None:
    """Each span has its lines; those of a span that is not here are the first's."""
    first, second = (Span("t", id, None, id, "SERVER", "s", 0, 1.0) for id in "ab")
    given = [LogLine("t", span, 0, "INFO", "l", f"of {span}", "s") for span in ("b", "gone", "a")]
    found = by_span([first, second], given)
    assert {span: [line.message for line in of] for span, of in found.items()} == {
        "a": ["of gone", "of a"], "b": ["of b"],
    }  # fmt: skip
