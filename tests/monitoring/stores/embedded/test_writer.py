"""monitoring.stores.embedded.writer: one thread that writes in batches and holds up nobody."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitoring.stores.embedded import schema, writer
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.embedded.writer import Writer
from pipeline.errors import Unavailable
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock


def insert(body: bytes = b"x") -> writer.Job:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute(
            "INSERT INTO resource (body, dictionary, seen_s) VALUES (?, '', 0)", (body,)
        )

    return write


def rows(path: Path) -> list[bytes]:
    with sqlite3.connect(path) as connection:
        return [body for (body,) in connection.execute("SELECT body FROM resource ORDER BY id")]


@pytest.fixture
def opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    monkeypatch.setattr(writer, "RETRY_S", 0.01)
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.01)
    schema.prepare(path)
    made = Writer(path, lambda connection: None, pending_max_bytes=1000)
    yield made
    made.close()


def hold(made: Writer) -> tuple[threading.Event, threading.Event]:
    """Keep the writer busy: (set once it is, to be set to let it go)."""
    busy, go = threading.Event(), threading.Event()

    def wait(_: sqlite3.Connection) -> None:
        busy.set()
        go.wait(60)

    made.submit(wait, 1)
    assert busy.wait(60)
    return busy, go


def test_in_order(opened: Writer, path: Path) -> None:
    """What is queued is written in its order, and can be read once flushed."""
    bodies = [str(i).encode() for i in range(200)]
    for body in bodies:
        assert opened.submit(insert(body), 1)
    assert opened.flush()
    assert rows(path) == bodies


def test_closing_writes_what_is_queued(opened: Writer, path: Path) -> None:
    """Nothing that was taken is lost when the process ends properly."""
    _, go = hold(opened)
    for i in range(100):
        opened.submit(insert(str(i).encode()), 1)
    go.set()
    opened.close()
    assert len(rows(path)) == 100
    assert not opened.submit(insert(), 1)


def test_too_much_is_refused(opened: Writer, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Over the limit pieces are refused at once, counted, and logged once a minute at most."""
    _, go = hold(opened)
    taken = [opened.submit(insert(str(i).encode()), 100) for i in range(30)]
    go.set()
    opened.flush()
    assert taken == [True] * 9 + [False] * 21
    assert opened.refused == 21
    assert len(rows(path)) == 9
    assert len(caplog.records) == 1
    assert opened.submit(insert(b"again"), 100)


def test_one_piece_may_be_larger_than_the_limit(opened: Writer) -> None:
    """The limit is on what waits: a large export is taken while nothing does."""
    opened.flush()
    assert opened.submit(insert(), 5000)


def test_a_piece_that_fails_fails_alone(
    opened: Writer, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A piece that cannot be written is counted and logged; its neighbours are written."""
    _, go = hold(opened)
    for i in range(5):
        opened.submit(insert(str(i).encode()), 1)
        opened.submit(insert(b"0"), 1)  # breaks the unique constraint
    go.set()
    opened.flush()
    assert rows(path) == [b"0", b"1", b"2", b"3", b"4"]
    assert opened.failed == 5
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_what_can_never_be_written_is_not_tried_for_ever(opened: Writer, path: Path) -> None:
    """A piece whose SQL fails, or what it calls, is given up: what comes after it is written."""

    def wrong(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    def raises(connection: sqlite3.Connection) -> None:
        connection.create_function("raises", 0, lambda: 1 // 0)
        connection.execute("SELECT raises()").fetchone()

    for job in (wrong, insert(b"a"), raises, insert(b"b")):
        opened.submit(job, 1)
    assert opened.flush()
    assert rows(path) == [b"a", b"b"]
    assert opened.failed == 2


def test_a_lock_is_waited_out(opened: Writer, path: Path) -> None:
    """While another program holds the file, what came waits for it."""
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    opened.submit(insert(), 1)
    assert not opened.flush(timeout_s=0.2)
    other.execute("COMMIT")
    assert opened.flush()
    assert rows(path) == [b"x"]
    other.close()


def test_a_full_disk(opened: Writer, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What finds no room is tried for a while, then given up and counted; what comes once there is
    room is stored, and nothing is taken for damage."""
    monkeypatch.setattr(writer, "GIVE_UP_S", 0.3)

    def limit(pages: int) -> writer.Job:
        return lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    opened.submit(limit(1), 1)  # SQLite takes what there is as the least
    assert opened.flush()
    opened.submit(insert(b"x" * 10**6), 1)
    opened.submit(insert(b"a"), 1)
    assert opened.flush()
    assert opened.failed == 1
    opened.submit(limit(10**6), 1)
    opened.submit(insert(b"b"), 1)
    assert opened.flush()
    assert rows(path) == [b"a", b"b"]
    assert not list(path.parent.glob("*.damaged-*"))


def test_a_full_store_says_so(path: Path, clock: Clock) -> None:
    """The receiver's caller hears that it should come back later."""
    store = EmbeddedStore(path, clock=clock, pending_max_bytes=10)
    _, go = hold(store.writer)
    body = traffic.encoded(traffic.image(int(NOW_S * 1e9))[0])
    store.receive_traces(body)  # one may wait, whatever its size
    with pytest.raises(Unavailable, match="waiting"):
        store.receive_traces(body)
    go.set()
    store.flush()
    store.receive_traces(body)
    store.close()
