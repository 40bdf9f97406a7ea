"""monitoring.stores.embedded.retention: what is forgotten, and the file's bounds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.stores.contract import Window
from monitoring.stores.embedded import schema
from monitoring.stores.embedded.resolutions import LEVELS
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.finding import TraceQuery
from telemetry import catalogue
from telemetry.definitions import Gauge
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.readings import Process

C = catalogue.REQUESTS

DAY = 86400


@pytest.fixture
def connection(store: EmbeddedStore, path: Path) -> Iterator[sqlite3.Connection]:
    opened = schema.connect(path)
    yield opened
    opened.close()


def images(store: EmbeddedStore, count: int, start_s: float, each: int = 100) -> None:
    """Receive traces of `count` images."""
    for first in range(0, count, each):
        spans = [
            span
            for i in range(first, min(first + each, count))
            for part in traffic.image(int((start_s + i * 0.01) * 1e9), job_id=f"job-{start_s}-{i}")
            for span in part
        ]
        store.receive_traces(traffic.encoded(spans))
    store.flush()


def points(connection: sqlite3.Connection, level: int) -> int:
    query = "SELECT count(*) FROM counter_point WHERE level = ?"
    return int(connection.execute(query, (level,)).fetchone()[0])


def test_traces_by_age(store: EmbeddedStore, clock: Clock, connection: sqlite3.Connection) -> None:
    """Traces go when they are older than the settings say, their summaries with them."""
    images(store, 20, NOW_S)
    clock.now_s += 29 * DAY
    images(store, 10, clock.now_s)
    store.retention.run(connection)
    assert len(store.traces.search(limit=100)) == 30
    clock.now_s += 2 * DAY
    store.retention.run(connection)
    left = store.traces.search(limit=100)
    assert len(left) == 10
    assert all(each.start_unix_ns > (NOW_S + DAY) * 1e9 for each in left)
    assert len(store.traces.get(left[0].trace_id)) == 8


def test_resources_that_are_not_used_go(
    store: EmbeddedStore, clock: Clock, connection: sqlite3.Connection
) -> None:
    """The processes of long ago are forgotten; one that still sends is not."""
    for i in range(5):
        span = traffic.span("x", start_ns=int(NOW_S * 1e9), duration_ms=1, instance=str(i))
        store.receive_traces(traffic.encoded([span]))
    for _ in range(40):
        clock.now_s += DAY
        images(store, 1, clock.now_s)
        store.retention.run(connection)
    (left,) = connection.execute("SELECT count(*) FROM resource").fetchone()
    assert left == 2
    assert len(store.traces.search(limit=100)) == 31


def test_each_resolution_has_its_age(
    store: EmbeddedStore, clock: Clock, connection: sqlite3.Connection
) -> None:
    """Fine buckets go first, then coarser ones; totals of the long window stay exact."""
    one = Process()
    clock.now_s = NOW_S + 500
    for i in range(100):
        store.receive_metrics(one.counter(C, NOW_S + i * 5, i + 1))
    store.flush()
    for age_s, left in (
        (0.2 * DAY, [100, 9, 1]),
        (1 * DAY, [0, 9, 1]),
        (4 * DAY, [0, 0, 1]),
        (31 * DAY, [0, 0, 0]),
    ):
        clock.now_s = NOW_S + age_s
        store.retention.run(connection)
        assert [points(connection, level) for level, _ in LEVELS] == left
        found = store.metrics.increase(C, Window(NOW_S - 10, clock.now_s + 1))
        assert found == ({(): 100} if any(left) else {})


def test_series_that_are_not_sent_go(
    store: EmbeddedStore, clock: Clock, connection: sqlite3.Connection
) -> None:
    """Of a process that is gone nothing is left in the end; of a live one, all that counts."""
    store.receive_metrics(Process("dead").gauge(Gauge("g"), NOW_S, 1))
    live = Process("live")
    for i in range(35):
        store.receive_metrics(live.counter(C, NOW_S + i * DAY, i + 1))
    store.flush()
    clock.now_s = NOW_S + 35 * DAY
    store.retention.run(connection)
    assert connection.execute("SELECT metric FROM series").fetchall() == [(C.name,)]
    store.receive_metrics(live.counter(C, clock.now_s, 40))
    store.flush()
    assert store.metrics.increase(C, Window(clock.now_s - 60, clock.now_s + 60)) == {(): 5}


def test_size_is_bounded(path: Path, clock: Clock) -> None:
    """Over its limit the store drops the oldest spans; the file stops growing; their images are
    still found; metrics stay."""
    max_bytes = 8 * 2**20
    store = EmbeddedStore(path, clock=clock, max_bytes=max_bytes)
    connection = schema.connect(path)
    store.receive_metrics(Process().counter(C, NOW_S, 7))
    images(store, 300, NOW_S)
    first = store.traces.search(limit=1)[0]
    one_round = 300
    for i in range(1, 16):
        clock.now_s = NOW_S + i * 100
        # The same spans' bytes many times over, under new ids, would be a waste of
        # the test's time: ballast of the size of real chunks does as well.
        _ballast(connection, 1000, clock.now_s)
        images(store, 20, clock.now_s)
        store.retention.run(connection)
        size = sum(each.stat().st_size for each in path.parent.iterdir() if "shm" not in each.name)
        assert size <= max_bytes
        one_round += 20
    left = store.traces.search(limit=1000)
    assert len(left) == one_round  # of what images are found by there is room for far more
    assert left[0].start_unix_ns > (NOW_S + 1500) * 1e9
    assert store.traces.get(first.trace_id) == []
    assert store.traces.find(TraceQuery(id=first.trace_id)).images == [first]
    assert store.metrics.increase(C, Window(NOW_S - 10, NOW_S + 10)) == {(): 7}
    connection.close()
    store.close()


def _ballast(connection: sqlite3.Connection, rows: int, now_s: float) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO chunk (trace_id, resource, received_s, spans)"
        " VALUES (randomblob(16), 1, ?, randomblob(600))",
        [(int(now_s),)] * rows,
    )
    connection.execute("COMMIT")


def test_a_lower_limit_shrinks_the_file(path: Path, clock: Clock) -> None:
    """A store that was larger than it now may be gives the space back."""
    store = EmbeddedStore(path, clock=clock)
    images(store, 1, NOW_S)
    connection = schema.connect(path)
    _ballast(connection, 20_000, NOW_S)
    store.close()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert path.stat().st_size > 12 * 2**20
    smaller = EmbeddedStore(path, clock=clock, max_bytes=8 * 2**20)
    smaller.retention.run(connection)
    smaller.close()
    connection.close()
    assert path.stat().st_size < 4 * 2**20


def test_the_writer_keeps_house(path: Path, clock: Clock) -> None:
    """Nobody has to ask: the writer drops what is too old by itself."""
    store = EmbeddedStore(path, clock=clock)
    images(store, 3, NOW_S)
    store.close()
    clock.now_s += 31 * DAY
    again = EmbeddedStore(path, clock=clock)
    again.close()
    last = EmbeddedStore(path, clock=clock)
    assert last.traces.search() == []
    last.close()
