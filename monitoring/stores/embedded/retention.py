"""What the store forgets, and when: traces, log lines and metrics by age, traces by size too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from monitoring.stores.embedded import block_file
from monitoring.stores.embedded.limits import (
    LINES_SHARE,
    SENDER_MAX,
    SERIES_MAX,
    STREAMS_MAX,
    Room,
)
from monitoring.stores.embedded.lines import drop_lines
from monitoring.stores.embedded.resolutions import DAY_S, LEVELS, SLACK_S
from monitoring.stores.embedded.room import used
from monitoring.stores.embedded.schema import WAL_MAX_BYTES

#: Rows dropped in one transaction, so that other writers never wait long.
STEP_ROWS = 2000
#: Series, and streams, dropped at once.
STEP_SERIES = 100
STEP_STREAMS = 10_000
#: Share of the size limit at which the oldest traces go: room for what arrives until
#: the next look. The rooms of metrics as well.
FULL = 0.9
#: Bytes of one image's row with what it is found by, about; and the share of the size limit that
#: those of all images may take. The rest is for their spans, which go first.
IMAGE_BYTES = 330
IMAGES_SHARE = 0.5
#: How far back traces go at least while there are metrics that are not the service's own.
TRACES_LEAST_S = 3600.0
#: Share of free pages in the file from which they are given back to the file system.
FREE = 0.25
#: How often metrics are gone through.
METRICS_EVERY_S = 60.0
#: How long before its spans a line may come.
LINES_BEFORE_S = 60.0
#: Every kind of series has a table of its own.
_POINTS = ("counter_point", "histogram_point", "gauge_point")


@dataclass(slots=True)
class Retention:
    """Drops what is older than `days`, and the oldest traces when over `max_bytes`."""

    days: float
    max_bytes: int
    clock: Callable[[], float]
    _metrics_at: float = float("-inf")

    def run(self, connection: sqlite3.Connection) -> None:
        """One round; called outside any transaction, in the writer's thread."""
        now = self.clock()
        horizon = now - self.days * DAY_S
        while drop_oldest_chunks(connection, STEP_ROWS, received_before_s=horizon):
            pass
        while drop_oldest_images(connection, STEP_ROWS, started_before_s=horizon):
            pass
        oldest = horizon
        # The sender's clock is not ours: a bucket may wait a little longer.
        if not 0 <= now - self._metrics_at < METRICS_EVERY_S:
            self._metrics_at = now
            drop_metrics(connection, now, self.days)
        with _transaction(connection):
            make_room(connection, now)
        while size_used(connection) > (self.max_bytes - WAL_MAX_BYTES) * FULL:
            # Before less than this is left of traces, metrics that are not ours make way.
            is_short = _oldest_chunk_s(connection) > now - TRACES_LEAST_S
            if is_short and drop_series(connection, "foreign", STEP_SERIES):
                continue
            if _images_bytes(connection) > self.max_bytes * IMAGES_SHARE:
                drop_oldest_images(connection, STEP_ROWS)
                continue
            if not drop_oldest_chunks(connection, STEP_ROWS):
                if not drop_oldest_images(connection, STEP_ROWS):
                    break
                continue
            oldest = _oldest_chunk_s(connection)
        with _transaction(connection):
            drop_lines(connection, oldest, int(self.max_bytes * LINES_SHARE))
        give_back_space(connection, self.max_bytes - WAL_MAX_BYTES)


def drop_oldest_chunks(
    connection: sqlite3.Connection, rows: int, received_before_s: float = float("inf")
) -> int:
    """Drop up to `rows` of the oldest chunks; how many went. Their requests stay."""
    found = connection.execute(
        "SELECT id, received_s FROM chunk ORDER BY id LIMIT ?", (rows,)
    ).fetchall()
    # Rows lie in the order of arrival, so the first that is young enough ends it.
    old = []
    for chunk, received_s in found:
        if received_s >= received_before_s:
            break
        old.append(chunk)
    if not old:
        return 0
    with _transaction(connection):
        connection.execute(
            "DELETE FROM trace WHERE chunk <= ?1"
            " AND trace_id IN (SELECT trace_id FROM chunk WHERE id <= ?1)",
            (old[-1],),
        )
        connection.execute("DELETE FROM chunk WHERE id <= ?", (old[-1],))
        connection.execute(
            "DELETE FROM resource WHERE seen_s < ("
            " SELECT received_s - 2 * 3600 FROM chunk ORDER BY id LIMIT 1)"
        )
    return len(old)


def drop_oldest_images(
    connection: sqlite3.Connection, rows: int, started_before_s: float = float("inf")
) -> int:
    """Drop up to `rows` of the oldest requests, and the blocks that have none any more; how many
    went."""
    old = []
    for id, start_ns in connection.execute(
        "SELECT id, start_ns FROM request ORDER BY id LIMIT ?", (rows,)
    ):
        if start_ns >= started_before_s * 1e9:
            break
        old.append(id)
    if not old:
        return 0
    with _transaction(connection):
        connection.execute("DELETE FROM request WHERE id <= ?", (old[-1],))
        (left,) = connection.execute("SELECT min(id) FROM request").fetchone()
        for (first,) in connection.execute(
            "SELECT first FROM block WHERE first + size <= ?", (2**62 if left is None else left,)
        ).fetchall():
            block_file.drop(connection, first, first + 1)
    return len(old)


def _images_bytes(connection: sqlite3.Connection) -> int:
    """About how much of the file the requests take."""
    first, last = connection.execute(
        "SELECT coalesce(min(id), 1), coalesce(max(id), 0) FROM request"
    ).fetchone()
    return int(last - first + 1) * IMAGE_BYTES


def _oldest_chunk_s(connection: sqlite3.Connection) -> float:
    """When the oldest spans came that are left; a trace's lines may come a little before them."""
    found = connection.execute("SELECT received_s FROM chunk ORDER BY id LIMIT 1").fetchone()
    return float(found[0]) - LINES_BEFORE_S if found else float("inf")


def drop_metrics(connection: sqlite3.Connection, now_s: float, days: float) -> None:
    """Drop each resolution's points past its age, and the series that nothing is left of."""
    series = connection.execute("SELECT id, kind FROM series").fetchall()
    horizon = now_s - days * DAY_S
    with _transaction(connection):
        for level, kept_s in LEVELS:
            before = max(horizon, now_s - kept_s - SLACK_S) if kept_s else horizon
            for each, kind in series:
                # By series, so that each deletion is one stretch of the primary key.
                connection.execute(
                    f"DELETE FROM {kind}_point WHERE level = ? AND series = ? AND time_s < ?",
                    (level, each, int(before)),
                )
        connection.execute("DELETE FROM stream WHERE time_ns < ?", (int(horizon * 1e9),))
        coarsest = LEVELS[-1][0]
        left = " AND ".join(
            f"NOT EXISTS (SELECT 1 FROM {table} WHERE level = {coarsest} AND series = series.id)"
            for table in _POINTS
        )
        connection.execute(
            f"DELETE FROM series WHERE id NOT IN (SELECT series FROM stream) AND {left}"
        )


def make_room(connection: sqlite3.Connection, now_s: float) -> None:
    """Where a room is nearly full, let go of what has ended: what was silent longest first.

    In the writer's rounds and not when room is wanted, so that a new series costs the same
    whether there is room or not.
    """
    streams = used(connection, "stream")
    is_sender_full = connection.execute(
        "SELECT 1 FROM sender WHERE streams >= CASE room WHEN 'own' THEN ? ELSE ? END LIMIT 1",
        (SENDER_MAX["own"], SENDER_MAX["foreign"]),
    ).fetchone()
    full = [room for room in SERIES_MAX if used(connection, room) > SERIES_MAX[room] * FULL]
    if streams > STREAMS_MAX * FULL or is_sender_full or full:
        connection.execute(
            "DELETE FROM stream WHERE (series, instance, start_ns) IN ("
            " SELECT series, instance, start_ns FROM stream WHERE until_s < ?"
            " ORDER BY until_s LIMIT ?)",
            (int(now_s), STEP_STREAMS),
        )
    for room in full:
        _drop_ended(connection, room, STEP_STREAMS)


def _drop_ended(connection: sqlite3.Connection, room: Room, count: int) -> None:
    """Drop series of a room that no process reports any more.

    Levels first, the oldest first: each process has its own. Of the others, which all processes
    share and which may be reported again, those with the shortest history.
    """
    ended = connection.execute(
        "SELECT id, kind FROM series WHERE room = ?"
        " AND NOT EXISTS (SELECT 1 FROM stream WHERE stream.series = series.id)"
        " ORDER BY kind <> 'gauge', CASE kind WHEN 'gauge' THEN id ELSE -id END LIMIT ?",
        (room, count),
    ).fetchall()
    _delete_series(connection, ended)


def drop_series(connection: sqlite3.Connection, room: Room, count: int) -> int:
    """Drop the oldest series of a room, with all that is known of them; how many went."""
    oldest = connection.execute(
        "SELECT id, kind FROM series WHERE room = ? ORDER BY id LIMIT ?", (room, count)
    ).fetchall()
    with _transaction(connection):
        _delete_series(connection, oldest)
    return len(oldest)


def _delete_series(connection: sqlite3.Connection, series: Iterable[tuple[int, str]]) -> None:
    for id, kind in series:
        for level, _ in LEVELS:
            connection.execute(
                f"DELETE FROM {kind}_point WHERE level = ? AND series = ?", (level, id)
            )
        connection.execute("DELETE FROM stream WHERE series = ?", (id,))
        connection.execute("DELETE FROM series WHERE id = ?", (id,))


def size_used(connection: sqlite3.Connection) -> int:
    """Bytes of the file that hold something."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int((pages - free) * page_bytes)


def give_back_space(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Shrink the file when much of it is free, or when it is over its limit."""
    (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    over = pages - max_bytes // page_bytes
    surplus = max(over, int(free - pages * FREE))
    if free and surplus > 0:
        # Not `execute`: that takes one step of the pragma, which frees one page.
        connection.executescript(f"PRAGMA incremental_vacuum({min(free, surplus)})")
        # Only a checkpoint makes the file itself shorter. A passive one waits for
        # nobody: when readers are in its way, a later round does it.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
