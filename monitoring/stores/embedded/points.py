"""Readings into the SQLite file: what each adds, at every resolution."""

from __future__ import annotations

import json
import logging
import sqlite3
import struct
from collections.abc import Iterable

from monitoring.stores.embedded.cumulative import Total, added
from monitoring.stores.embedded.otlp_metrics import Reading
from monitoring.stores.embedded.resolutions import LEVELS

logger = logging.getLogger(__name__)

#: More series than any honest sender makes; past it new ones are dropped.
MAX_SERIES = 50_000
#: A reading from further in the future is filed under now: its sender's clock is off.
FUTURE_S = 60.0

_ADD_COUNTER = """
    INSERT INTO counter_point (level, series, time_s, value) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET value = value + excluded.value
"""
_ADD_HISTOGRAM = """
    INSERT INTO histogram_point (level, series, time_s, sum, counts) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE
    SET sum = sum + excluded.sum, counts = add_counts(counts, excluded.counts)
"""
_ADD_GAUGE = """
    INSERT INTO gauge_point (level, series, time_s, total, readings, highest)
    VALUES (?, ?, ?, ?, 1, ?)
    ON CONFLICT DO UPDATE SET total = total + excluded.total, readings = readings + 1,
        highest = max(highest, excluded.highest)
"""
_SET_STREAM = """
    INSERT INTO stream (series, instance, start_ns, time_ns, value, counts)
    VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET time_ns = excluded.time_ns, value = excluded.value,
        counts = excluded.counts
"""


def pack(counts: Iterable[int]) -> bytes:
    """Bucket counts as int64, little-endian."""
    counts = tuple(counts)
    return struct.pack(f"<{len(counts)}q", *counts)


def unpack(counts: bytes) -> tuple[int, ...]:
    """The reverse of `pack`."""
    return struct.unpack(f"<{len(counts) // 8}q", counts)


def register_functions(connection: sqlite3.Connection) -> None:
    """Give SQL what the writing statements call."""

    def add_counts(one: bytes, other: bytes) -> bytes:
        return pack(a + b for a, b in zip(unpack(one), unpack(other), strict=True))

    connection.create_function("add_counts", 2, add_counts, deterministic=True)


def write_readings(
    connection: sqlite3.Connection, readings: Iterable[Reading], now_s: float
) -> int:
    """Store readings, inside the caller's transaction; how many were dropped as too many series."""
    dropped = 0
    for reading in readings:
        series = _series_id(connection, reading)
        if series is None:
            dropped += 1
            continue
        time_s = int(min(reading.time_ns / 1e9, now_s + FUTURE_S))
        if reading.kind == "gauge":
            _write_level(connection, series, reading, time_s)
        else:
            _write_growth(connection, series, reading, time_s)
    return dropped


def _series_id(connection: sqlite3.Connection, reading: Reading) -> int | None:
    key = (reading.metric, reading.kind, reading.attributes, json.dumps(reading.bounds))
    found = connection.execute(
        "SELECT id FROM series WHERE metric = ? AND kind = ? AND attributes = ? AND bounds = ?",
        key,
    ).fetchone()
    if found is not None:
        return int(found[0])
    (known,) = connection.execute("SELECT count(*) FROM series").fetchone()
    if known >= MAX_SERIES:
        return None
    cursor = connection.execute(
        "INSERT INTO series (metric, kind, attributes, bounds) VALUES (?, ?, ?, ?)", key
    )
    return cursor.lastrowid


def _last(connection: sqlite3.Connection, series: int, reading: Reading) -> Total | None:
    found = connection.execute(
        "SELECT time_ns, value, counts FROM stream"
        " WHERE series = ? AND instance = ? AND start_ns = ?",
        (series, reading.instance, reading.start_ns),
    ).fetchone()
    return Total(found[0], found[1], unpack(found[2])) if found else None


def _set_stream(
    connection: sqlite3.Connection, series: int, reading: Reading, value: float
) -> None:
    key = (series, reading.instance, reading.start_ns)
    connection.execute(_SET_STREAM, (*key, reading.time_ns, value, pack(reading.counts)))


def _write_growth(
    connection: sqlite3.Connection, series: int, reading: Reading, time_s: int
) -> None:
    new = Total(reading.time_ns, reading.value, reading.counts)
    last = _last(connection, series, reading)
    growth: Total | None
    if reading.is_delta:
        # All that can be told of a delta is that the very same export came twice.
        growth = None if last is not None and last.time_ns == new.time_ns else new
    else:
        growth = added(last, new)
    if growth is None:
        return
    _set_stream(connection, series, reading, reading.value)
    if not growth.value and not any(growth.counts):
        return
    for seconds, _ in LEVELS:
        bucket = (seconds, series, time_s - time_s % seconds)
        if growth.counts:
            connection.execute(_ADD_HISTOGRAM, (*bucket, growth.value, pack(growth.counts)))
        else:
            connection.execute(_ADD_COUNTER, (*bucket, growth.value))


def _write_level(
    connection: sqlite3.Connection, series: int, reading: Reading, time_s: int
) -> None:
    last = _last(connection, series, reading)
    if last is not None and last.time_ns == reading.time_ns:
        return  # the same export again
    value = reading.value
    if reading.is_delta and last is not None:
        value += last.value
    if last is None or reading.is_delta or reading.time_ns > last.time_ns:
        _set_stream(connection, series, reading, value)
    for seconds, _ in LEVELS:
        bucket = (seconds, series, time_s - time_s % seconds)
        connection.execute(_ADD_GAUGE, (*bucket, value, value))
