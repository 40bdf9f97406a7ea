"""Readings into the SQLite file: what each adds, at every resolution."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Iterable

from monitoring.stores.embedded.cumulative import Total, added
from monitoring.stores.embedded.limits import (
    COUNT_MAX,
    SENDER_MAX,
    SERIES_MAX,
    STREAMS_MAX,
    Room,
)
from monitoring.stores.embedded.otlp_metrics import Reading
from monitoring.stores.embedded.resolutions import LEVELS
from monitoring.stores.embedded.room import used

#: How long a stream that was heard of once, or more often, keeps its place though others want
#: one. The SDKs report every minute if nobody says otherwise.
HELD_ONCE_S = 180
HELD_S = 3600
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
    INSERT INTO stream (series, instance, start_ns, time_ns, value, counts, room, heard_s, until_s)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET time_ns = excluded.time_ns, value = excluded.value,
        counts = excluded.counts, heard_s = excluded.heard_s, until_s = excluded.until_s
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
        pairs = zip(unpack(one), unpack(other), strict=True)
        return pack(min(a + b, COUNT_MAX) for a, b in pairs)

    connection.create_function("add_counts", 2, add_counts, deterministic=True)


def write_readings(
    connection: sqlite3.Connection,
    readings: Iterable[Reading],
    now_s: float,
    begun_s: float = float("-inf"),
) -> int:
    """Store readings, inside the caller's transaction; how many found no room.

    `begun_s` is when the file took the place of one that was lost: what processes had counted by
    then was in that one, and did not happen now.
    """
    taken = _Taken(connection)
    return sum(not _write(connection, reading, now_s, taken, begun_s) for reading in readings)


class _Taken:
    """What is taken of each room, read once in a transaction and counted on."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.series: dict[Room, int] = {
            "own": used(connection, "own"),
            "foreign": used(connection, "foreign"),
        }
        self.streams = used(connection, "stream")
        self._senders: dict[tuple[str, Room], int] = {}

    def new_stream(self, reading: Reading) -> bool:
        """Whether a process may report one more series; counts it if so."""
        key = (reading.instance, reading.room)
        if key not in self._senders:
            found = self._connection.execute(
                "SELECT streams FROM sender WHERE instance = ? AND room = ?", key
            ).fetchone()
            self._senders[key] = found[0] if found else 0
        if self._senders[key] >= SENDER_MAX[reading.room] or self.streams >= STREAMS_MAX:
            return False
        self._senders[key] += 1
        self.streams += 1
        return True


def _write(
    connection: sqlite3.Connection,
    reading: Reading,
    now_s: float,
    taken: _Taken,
    begun_s: float,
) -> bool:
    series = _series_id(connection, reading)
    last = _last(connection, series, reading) if series is not None else None
    if last is None:
        # A new one: there has to be room for it first.
        if series is None and taken.series[reading.room] >= SERIES_MAX[reading.room]:
            return False
        if not taken.new_stream(reading):
            return False
    if series is None:
        series = _new_series(connection, reading)
        taken.series[reading.room] += 1
    time_s = int(min(reading.time_ns / 1e9, now_s + FUTURE_S))
    if reading.kind == "gauge":
        _write_level(connection, series, reading, last, time_s, now_s)
    elif last is None and not reading.is_delta and reading.start_ns / 1e9 < begun_s:
        _set_stream(connection, series, reading, reading.value, last, now_s)
    else:
        _write_growth(connection, series, reading, last, time_s, now_s)
    return True


def _series_id(connection: sqlite3.Connection, reading: Reading) -> int | None:
    found = connection.execute(
        "SELECT id FROM series WHERE metric = ? AND kind = ? AND attributes = ? AND bounds = ?",
        (reading.metric, reading.kind, reading.attributes, json.dumps(reading.bounds)),
    ).fetchone()
    return int(found[0]) if found else None


def _new_series(connection: sqlite3.Connection, reading: Reading) -> int:
    cursor = connection.execute(
        "INSERT INTO series (metric, kind, attributes, bounds, room) VALUES (?, ?, ?, ?, ?)",
        (
            reading.metric,
            reading.kind,
            reading.attributes,
            json.dumps(reading.bounds),
            reading.room,
        ),
    )
    return int(cursor.lastrowid or 0)


def _last(connection: sqlite3.Connection, series: int, reading: Reading) -> Total | None:
    found = connection.execute(
        "SELECT time_ns, value, counts FROM stream"
        " WHERE series = ? AND instance = ? AND start_ns = ?",
        (series, reading.instance, reading.start_ns),
    ).fetchone()
    return Total(found[0], found[1], unpack(found[2])) if found else None


def _set_stream(
    connection: sqlite3.Connection,
    series: int,
    reading: Reading,
    value: float,
    last: Total | None,
    now_s: float,
) -> None:
    # To the half hour: what is indexed is written anew twice an hour, not with every reading.
    half = HELD_S // 2
    until_s = int(now_s) + HELD_ONCE_S if last is None else (int(now_s) // half + 3) * half
    connection.execute(
        _SET_STREAM,
        (
            series, reading.instance, reading.start_ns, reading.time_ns, value,
            pack(reading.counts), reading.room, now_s, until_s,
        ),
    )  # fmt: skip


def _write_growth(
    connection: sqlite3.Connection,
    series: int,
    reading: Reading,
    last: Total | None,
    time_s: int,
    now_s: float,
) -> None:
    new = Total(reading.time_ns, reading.value, reading.counts)
    growth: Total | None
    if reading.is_delta:
        # All that can be told of a delta is that the very same export came twice.
        growth = None if last is not None and last.time_ns == new.time_ns else new
    else:
        growth = added(last, new)
    if growth is None:
        return
    _set_stream(connection, series, reading, reading.value, last, now_s)
    if not growth.value and not any(growth.counts):
        return
    for seconds, _ in LEVELS:
        bucket = (seconds, series, time_s - time_s % seconds)
        if growth.counts:
            connection.execute(_ADD_HISTOGRAM, (*bucket, growth.value, pack(growth.counts)))
        else:
            connection.execute(_ADD_COUNTER, (*bucket, growth.value))


def _write_level(
    connection: sqlite3.Connection,
    series: int,
    reading: Reading,
    last: Total | None,
    time_s: int,
    now_s: float,
) -> None:
    if last is not None and last.time_ns == reading.time_ns:
        return  # the same export again
    value = reading.value
    if reading.is_delta and last is not None:
        value += last.value
    if last is None or reading.is_delta or reading.time_ns > last.time_ns:
        _set_stream(connection, series, reading, value, last, now_s)
    for seconds, _ in LEVELS:
        bucket = (seconds, series, time_s - time_s % seconds)
        connection.execute(_ADD_GAUGE, (*bucket, value, value))
