"""monitoring.stores.embedded.limits: what is beyond is not stored, and nothing else suffers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from monitoring.stores.contract import Window
from monitoring.stores.embedded import limits, points, retention, schema, traces
from monitoring.stores.embedded.migrations import MIGRATIONS
from monitoring.stores.embedded.otlp import decode_traces, encode_spans
from monitoring.stores.embedded.room import used
from monitoring.stores.embedded.store import EmbeddedStore
from telemetry import catalogue
from telemetry.definitions import Counter
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process

START_NS = int(NOW_S * 1e9)
OWN, FOREIGN = catalogue.CLIENT_REQUESTS, Counter("foreign")
HOUR = Window(NOW_S - 3600, NOW_S + 3600)


@pytest.fixture
def connection(store: EmbeddedStore, path: Path) -> Iterator[sqlite3.Connection]:
    opened = schema.connect(path)
    yield opened
    opened.close()


def count(store: EmbeddedStore, *exports: bytes) -> None:
    for export in exports:
        assert store.receive_metrics(export).count == 0
    store.flush()


def clients(store: EmbeddedStore) -> set[str]:
    return {client for (client,) in store.metrics.increase(OWN, HOUR, by=["client"])}


class TestMetrics:
    def test_a_sender_has_its_share(
        self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process reports so many series; its known ones and other processes go on."""
        monkeypatch.setitem(limits.SENDER_MAX, "own", 5)
        broken, other = Process("broken"), Process("other")
        count(store, *(broken.counter(OWN, NOW_S, 1, client=f"c{i}") for i in range(9)))
        assert clients(store) == {f"c{i}" for i in range(5)}
        assert store.beyond.counts == {"readings of series that are too many": 4}
        count(store, other.counter(OWN, NOW_S, 1, client="mine"),
              broken.counter(OWN, NOW_S + 5, 7, client="c0"))  # fmt: skip
        found = store.metrics.increase(OWN, HOUR, by=["client"])
        assert (found[("mine",)], found[("c0",)]) == (1, 7)

    def test_starting_anew_takes_room_too(
        self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One series with ever new start times is no way around the bound."""
        monkeypatch.setitem(limits.SENDER_MAX, "own", 5)
        count(store, *(Process("x", start_s=i).counter(OWN, NOW_S + i, 1, client="c")
                       for i in range(1, 9)))  # fmt: skip
        assert store.metrics.increase(OWN, HOUR) == {(): 5}

    def test_others_metrics_have_a_room_of_their_own(
        self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Names, labels, and values of labels that the catalogue does not have fill one room; the
        service's own metrics are never in it."""
        monkeypatch.setitem(limits.SERIES_MAX, "foreign", 3)
        one = Process()
        forged = [
            *(one.counter(FOREIGN, NOW_S, 1, label=f"{i}") for i in range(3)),
            one.counter(OWN, NOW_S, 1, invented="x"),
            one.counter(catalogue.REQUESTS, NOW_S, 1, outcome="invented", route="api"),
            one.gauge(catalogue.REQUESTS, NOW_S, 1, outcome="ok", route="api"),
        ]
        count(store, *forged, one.counter(catalogue.REQUESTS, NOW_S, 2, outcome="ok", route="api"))
        assert store.metrics.increase(FOREIGN, HOUR) == {(): 3}
        assert store.metrics.increase(catalogue.REQUESTS, HOUR, by=["outcome"]) == {("ok",): 2}
        assert store.metrics.latest(catalogue.REQUESTS) == {}

    def test_what_ended_gives_its_room_back(
        self, store: EmbeddedStore, clock: Clock, connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """After a flood of forged senders the next round makes room for who is there; whoever
        reports all the time never loses its place, nor anything of its history."""
        monkeypatch.setitem(limits.SERIES_MAX, "own", 50)
        steady = Process("steady")
        for i in range(3):
            count(store, steady.counter(OWN, NOW_S - 10 + i, i + 1, client="steady"))
        count(store, *(Process(f"f{i}").counter(OWN, NOW_S, 1, client=f"f{i}") for i in range(80)))
        late = Process("late")
        count(store, late.counter(OWN, NOW_S + 1, 1, client="late"))
        assert "late" not in clients(store)
        clock.now_s = NOW_S + points.HELD_ONCE_S + 10
        store.retention.run(connection)
        count(store, late.counter(OWN, clock.now_s, 5, client="late"),
              steady.counter(OWN, clock.now_s, 9, client="steady"))  # fmt: skip
        found = store.metrics.increase(OWN, HOUR, by=["client"])
        assert (found[("late",)], found[("steady",)]) == (5, 9)
        (streams,) = connection.execute("SELECT count(*) FROM stream").fetchone()
        assert used(connection, "stream") == streams

    def test_a_full_store_of_streams(
        self, store: EmbeddedStore, clock: Clock, connection: sqlite3.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        """Ever new processes that report a known series are bounded in all, and let go again."""
        for module in (points, retention):
            monkeypatch.setattr(module, "STREAMS_MAX", 20)
        count(store, *(Process(f"p{i}").counter(OWN, NOW_S, 1, client="c") for i in range(50)))
        assert used(connection, "stream") == 20
        clock.now_s += points.HELD_ONCE_S + 1
        store.retention.run(connection)
        assert used(connection, "stream") == 0
        assert store.metrics.increase(OWN, HOUR) == {(): 20}

    def test_a_clock_ahead_does_not_live_for_ever(self, store: EmbeddedStore, clock: Clock) -> None:
        """A level from the future is gone when its process is silent, as any other."""
        level = catalogue.QUEUE_DEPTH
        count(store, Process().gauge(level, NOW_S + 10**8, 4, queue="q"))
        assert store.metrics.latest(level) == {(): 4}
        clock.now_s += 61
        assert store.metrics.latest(level) == {}

    def test_counts_that_do_not_fit(self) -> None:
        """Buckets that add up to more than is counted stay full, and the writer goes on."""
        connection = sqlite3.connect(":memory:")
        points.register_functions(connection)
        full = points.pack([limits.COUNT_MAX, 1])
        (found,) = connection.execute("SELECT add_counts(?, ?)", (full, full)).fetchone()
        assert points.unpack(found) == (limits.COUNT_MAX, 2)
        connection.close()


class TestTraces:
    def test_what_is_too_much_is_counted(
        self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Spans beyond a trace's room are counted; its requests are listed all the same."""
        monkeypatch.setattr(traces, "TRACE_MAX_SPANS", 20)
        caller = traffic.context()
        for i in range(5):
            frontend, worker = traffic.image(START_NS + i, parent=caller, job_id=f"job-{i}")
            assert store.receive_traces(traffic.encoded(frontend + worker)).count == 0
        store.flush()
        part = store.traces.part(f"{caller.trace_id:032x}")
        assert (part.total, part.dropped) == (19, 21)
        assert [each.job_id for each in store.traces.search()] == [f"job-{4 - i}" for i in range(5)]
        assert store.beyond.counts == {"spans of traces that are too large": 21}

    def test_bytes_count_too(self, store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
        """A trace of few large spans has the same end."""
        monkeypatch.setattr(traces, "TRACE_MAX_BYTES", 20_000)
        caller = traffic.context()
        for _ in range(10):
            big = traffic.span("x", parent=caller, start_ns=START_NS, duration_ms=1,
                               attributes={"a": "x" * 4000})  # fmt: skip
            store.receive_traces(traffic.encoded([big]))
        store.flush()
        part = store.traces.part(f"{caller.trace_id:032x}")
        assert (part.total, part.dropped) == (4, 6)

    def test_a_list_never_reads_spans(
        self, store: EmbeddedStore, connection: sqlite3.Connection
    ) -> None:
        """Summaries are rows: they are there without any span."""
        frontend, worker = traffic.image(START_NS, detections=3)
        store.receive_traces(traffic.encoded(worker))
        store.receive_traces(traffic.encoded(frontend))
        store.flush()
        (before,) = store.traces.search()
        connection.execute("UPDATE chunk SET spans = x'00'")
        assert store.traces.search() == [before]
        assert list(before.stages_ms) == list(catalogue.STAGES)

    def test_two_processes_write_one_trace(self, path: Path, clock: Clock) -> None:
        """Spans that reach another frontend's receiver are in the summary as well."""
        one, other = (EmbeddedStore(path, clock=clock) for _ in range(2))
        frontend, worker = traffic.image(START_NS)
        for store, spans in ((one, frontend[:2]), (other, worker), (one, frontend[2:])):
            store.receive_traces(traffic.encoded(spans))
            store.flush()
        assert list(other.traces.search()[0].stages_ms) == list(catalogue.STAGES)
        one.close()
        other.close()

    def test_a_large_span_is_cut(self) -> None:
        """Long texts, many attributes and lists are cut, which the span says; a small is as is."""
        many = [KeyValue(key=f"k{i}", value=AnyValue(string_value="v" * 100)) for i in range(300)]
        large = trace_pb2.Span(
            trace_id=b"t" * 16, span_id=b"s" * 8, name="n" * 9000, start_time_unix_nano=1,
            attributes=many, events=[trace_pb2.Span.Event(name="e")] * 300,
        )  # fmt: skip
        export = ExportTraceServiceRequest()
        export.resource_spans.add().scope_spans.add().spans.append(large)
        (chunk,) = decode_traces(export.SerializeToString()).chunks
        (kept,) = trace_pb2.ScopeSpans.FromString(chunk.spans).spans
        assert len(kept.name) == limits.TEXT_MAX
        assert (len(kept.attributes), kept.dropped_attributes_count) == (128, 172)
        assert (len(kept.events), kept.dropped_events_count) == (128, 172)
        assert encode_spans([kept]) == chunk.spans

    def test_resources_are_bounded(
        self, store: EmbeddedStore, connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Beyond the limit processes share a resource by service, then one for all."""
        monkeypatch.setattr(traces, "RESOURCES_MAX", 3)
        monkeypatch.setattr(traces, "RESOURCES_SHARED", 2)
        for i in range(10):
            given = traffic.span("x", service=f"s{i // 3}", instance=f"{i}", start_ns=START_NS,
                                 duration_ms=1, own=traffic.context(77))  # fmt: skip
            store.receive_traces(traffic.encoded([given]))
            store.flush()
        assert used(connection, "resource") == 6
        services = [span.service for span in store.traces.get(f"{77:032x}")]
        assert services == ["s0"] * 3 + ["s1"] * 3 + ["s2"] * 3 + ["others"]

    def test_nothing_of_a_trace_is_left(
        self, store: EmbeddedStore, clock: Clock, connection: sqlite3.Connection
    ) -> None:
        """When its spans are dropped for age, so is the trace's own row."""
        store.receive_traces(traffic.encoded(traffic.image(START_NS)[0]))
        store.flush()
        clock.now_s += 31 * 86400
        store.retention.run(connection)
        for table in ("trace", "chunk", "request"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_lines_take_their_share_only(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Log lines that are too long in all go, the oldest first; traces stay."""
    monkeypatch.setattr(retention, "LINES_SHARE", 0.001)
    store = EmbeddedStore(path, clock=clock)
    connection = schema.connect(path)
    store.receive_traces(traffic.encoded(traffic.image(START_NS)[0]))
    store.flush()
    connection.execute("BEGIN")
    connection.executemany(
        "INSERT INTO line (trace_id, span_id, received_s, time_ns, level, logger, message,"
        " service, stack) VALUES (randomblob(16), x'', ?, 1, '', '', ?, '', '')",
        [(int(NOW_S), "m" * 4000)] * 5000,
    )
    connection.execute("COMMIT")
    assert used(connection, "line_bytes") == 4000 * 5000
    store.retention.run(connection)
    assert 0 < used(connection, "line_bytes") <= 2**30 * 0.001
    assert len(store.traces.search()) == 1
    connection.close()
    store.close()


def test_a_store_of_the_version_before(path: Path, clock: Clock) -> None:
    """Traces and metrics of an older file are all there; one that forged series had filled has
    room again after a round."""
    old = sqlite3.connect(path, isolation_level=None)
    for script in MIGRATIONS[:2]:
        old.executescript(script)
    old.execute("PRAGMA user_version = 2")
    frontend, worker = traffic.image(START_NS, detections=4)
    for number, spans in enumerate((frontend, worker), 1):
        (chunk,) = decode_traces(traffic.encoded(spans)).chunks
        old.execute("INSERT INTO resource VALUES (?, ?, x'', 0)", (number, chunk.resource))
        old.execute(
            "INSERT INTO chunk VALUES (?, ?, ?, ?, ?)",
            (number, chunk.trace_id, number, int(NOW_S), traces.compress(chunk.spans, b"")),
        )
    root = frontend[-1].context
    old.execute(
        "INSERT INTO request VALUES (1, ?, ?, 1, ?, 60000000, 0)",
        (root.trace_id.to_bytes(16), root.span_id.to_bytes(8), START_NS),
    )
    old.execute("BEGIN")
    old.executemany(
        "INSERT INTO series VALUES (?, 'damoscope.client.requests', 'counter', ?, '[]')",
        [(i, f'{{"client":"f{i}"}}') for i in range(1, limits.SERIES_MAX["own"] + 1)],
    )
    old.execute("INSERT INTO stream SELECT id, 'forged', 1, ?, 1, x'' FROM series", (START_NS,))
    old.execute("COMMIT")
    old.close()

    store = EmbeddedStore(path, clock=clock)
    (found,) = store.traces.search()
    assert (found.outcome, found.detections) == ("ok", 4)
    assert list(found.stages_ms) == list(catalogue.STAGES)
    assert len(store.traces.get(found.trace_id)) == 8
    connection = schema.connect(path)
    store.retention.run(connection)
    store.retention.run(connection)
    connection.close()
    count(store, Process("mine").counter(OWN, NOW_S, 3, client="mine"))
    assert store.metrics.increase(OWN, HOUR, where={"client": "mine"}) == {(): 3}
    store.close()
