"""monitoring.stores.embedded.block_format_1: a file of the version before answers the same, and its
blocks are stored anew in the background."""

from __future__ import annotations

import sqlite3
import zlib
from pathlib import Path

import numpy as np
import pytest

from monitoring.stores.contract import Order, Window
from monitoring.stores.embedded import block_file, schema
from monitoring.stores.embedded.bits import Array, pack, unpack
from monitoring.stores.embedded.blocks import ALL, BOUNDS_US, ID, LARGE, SMALL, TOOK
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.finding import TraceQuery
from tests.monitoring.conftest import NOW_S, Clock
from tests.monitoring.stores.embedded.test_find import expected, images, index, sizes, write

QUERIES = (
    TraceQuery(),
    TraceQuery(route="ui", window=Window(NOW_S - 900, NOW_S - 10.5)),
    TraceQuery(client="camera-7", label="phone", min_score=0.5),
    TraceQuery(min_duration_ms=90.5, max_duration_ms=120),
)


def as_before(connection: sqlite3.Connection) -> None:
    """Store all blocks as the version before did: by id, with a bucket for each request."""
    for first, size in connection.execute("SELECT first, size FROM block").fetchall():
        block = block_file.read(connection, first, size)
        where = block.figures.pop(ID).astype(np.int64)
        took = block.figures[TOOK]
        block.figures["#bucket"] = 1 + np.searchsorted(BOUNDS_US, took, side="right").astype("u1")

        def by_id(column: Array, where: Array = where, size: int = size) -> Array:
            every = np.zeros(size, column.dtype)
            every[where] = column
            return every

        flags = {name: unpack(bits, block.total) for name, bits in block.bits.items()}
        flags[ALL] = np.ones(block.total, np.bool_)
        columns = {name: pack(by_id(each)).tobytes() for name, each in flags.items()}
        columns = {name: min(zlib.compress(each), each, key=len) for name, each in columns.items()}
        columns |= {name: by_id(each).tobytes() for name, each in block.figures.items()}
        counts = dict(
            connection.execute("SELECT name, counts FROM block_column WHERE block = ?", (first,))
        )
        connection.execute("DELETE FROM block_column WHERE block = ?", (first,))
        connection.executemany(
            "INSERT INTO block_column (block, name, counts, body) VALUES (?, ?, ?, ?)",
            [(first, name, counts.get(name, b""), body) for name, body in columns.items()],
        )
    connection.execute("UPDATE block SET format = 1")


def columns_of(connection: sqlite3.Connection) -> list[tuple[object, ...]]:
    return connection.execute(
        "SELECT block, name, counts, body FROM block_column ORDER BY block, name"
    ).fetchall()


#: What may have become of a block that was never stored anew.
DAMAGE = (
    "UPDATE block_column SET body = x'00' WHERE name = '#bucket'",
    "UPDATE block_column SET body = zeroblob(1024) WHERE name = '#bucket'",
    "UPDATE block_column SET body = x'00' WHERE name = 'route=ui'",
    "DELETE FROM block_column WHERE name = '#took'",
    "DELETE FROM block_column WHERE name = '*'",
)


def test_a_file_of_the_version_before(path: Path, clock: Clock) -> None:
    """All answers are the same before and after; what is stored then is what would have been."""
    made = images(2 * SMALL + 100)
    store = EmbeddedStore(path, clock=clock)
    connection = schema.connect(path)
    write(connection, made)
    connection.execute("UPDATE request SET id = id + ?", (LARGE - 1,))  # a block begins there
    index(connection)
    assert sizes(connection) == [SMALL] * 2
    columns = columns_of(connection)
    as_before(connection)
    for formats in ([(1,)] * 2, [(block_file.FORMAT,)] * 2):
        assert connection.execute("SELECT format FROM block").fetchall() == formats
        for query in QUERIES:
            for order in _ORDERS:
                found = store.traces.find(query, limit=60, order=order)
                wanted = [each.span_id for each in expected(made, query, order)[:60]]
                assert [each.span_id for each in found.images] == wanted
            assert store.traces.tally(query).total == len(expected(made, query))
        sides = store.traces.compare(QUERIES[2], 0.05)
        assert sides.selected.count + sides.rest.count == len(expected(made, QUERIES[2]))
        index(connection, rounds=1)
    assert columns_of(connection) == columns
    connection.close()
    store.close()


_ORDERS: tuple[Order, ...] = ("newest", "slowest")


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("asked", [True, False])
def test_one_that_is_damaged(path: Path, clock: Clock, damage: str, asked: bool) -> None:
    """It is made anew from its requests, whether a search or the round meets it first."""
    made = images(SMALL + 30)
    store = EmbeddedStore(path, clock=clock)
    connection = schema.connect(path)
    write(connection, made)
    connection.execute("UPDATE request SET id = id + ?", (LARGE - 1,))
    index(connection)
    columns = columns_of(connection)
    as_before(connection)
    connection.execute(damage)
    if asked:
        for query in QUERIES[:2]:
            found = store.traces.find(query, limit=1000)
            wanted = [each.span_id for each in expected(made, query)[:1000]]
            assert [each.span_id for each in found.images] == wanted
            assert store.traces.tally(query).total == len(expected(made, query))
        store.indexing.run(connection)
    else:
        index(connection, rounds=1)
    assert columns_of(connection) == columns
    connection.close()
    store.close()


def test_old_and_new_small_ones_become_a_large_one(path: Path, clock: Clock) -> None:
    """The blocks of one stretch may be of both formats."""
    apart = SMALL // 4
    made = images(LARGE // apart + 1)
    store = EmbeddedStore(path, clock=clock)
    connection = schema.connect(path)
    write(connection, made[:-8])
    connection.execute("UPDATE request SET id = (id - 1) * ? + ?", (apart, LARGE))
    index(connection)
    assert set(sizes(connection)) == {SMALL}
    as_before(connection)
    for i, each in enumerate(made[-8:], len(made) - 8):
        write(connection, [each])
        connection.execute(
            "UPDATE request SET id = ? WHERE span_id = ?",
            (i * apart + LARGE, bytes.fromhex(each.span_id)),
        )
    connection.execute("UPDATE block SET stale = 1 WHERE first = ?", (LARGE,))
    index(connection)
    assert sizes(connection) == [LARGE]
    for query in QUERIES:
        assert store.traces.tally(query).total == len(expected(made, query))
    connection.close()
    store.close()
