"""Finds images: by blocks, or by the id of a trace or job."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import numpy as np

from monitoring.stores.contract import Order, TraceSummary
from monitoring.stores.embedded.block_search import BlockSearch, bucket
from monitoring.stores.embedded.damage import BlockDamaged
from monitoring.stores.embedded.limits import TRACE_MAX_SPANS
from monitoring.stores.embedded.rows import COLUMNS, summed_up
from monitoring.stores.embedded.summaries import job_key
from monitoring.stores.finding import BUCKETS, NEVER, Cursor, FoundImages, Tally, TraceQuery

#: Blocks of one search that are read by their requests: 65,536 of these take most of a second.
DAMAGED_MAX: Final = 4

#: Is told of a block that is damaged.
OnDamage = Callable[[BlockDamaged], None]
T = TypeVar("T")


def nobody(_: BlockDamaged) -> None:
    """For who makes no block anew."""


def searched(
    connection: sqlite3.Connection,
    query: TraceQuery,
    look: Callable[[BlockSearch], T],
    on_damage: OnDamage,
) -> tuple[T, bool]:
    """What a search finds, and whether that is all. Of a block that is damaged the requests
    themselves are read, and `on_damage` is told of it. Raises BlockDamaged where too many are."""
    damaged: set[int] = set()
    while True:
        try:
            search = BlockSearch(connection, query, damaged)
            return look(search), search.complete
        except BlockDamaged as error:
            on_damage(error)
            if len(damaged) >= DAMAGED_MAX or error.first in damaged:
                raise
            damaged.add(error.first)


def find(
    connection: sqlite3.Connection,
    query: TraceQuery,
    limit: int,
    order: Order,
    cursor: str | None,
    on_damage: OnDamage = nobody,
) -> FoundImages:
    """See TraceStore.find."""
    after = None
    if cursor is not None:
        seen = Cursor.read(cursor, order)
        after = (seen.key, min(int(seen.tie, 16), NEVER))
    if query.id is not None:
        images, complete = by_id(connection, query)
        keyed = sorted(((_key(image, order), id) for id, image in images), reverse=True)
        keys = [each for each in keyed if after is None or each < after][: limit + 1]
    else:
        keys, complete = searched(
            connection,
            query,
            lambda search: (search.newest if order == "newest" else search.slowest)(
                limit + 1, after
            ),
            on_damage,
        )
    shown = keys[:limit]
    further = len(keys) > limit
    return FoundImages(
        images=images_of(connection, [id for _, id in shown]),
        cursor=str(Cursor(order, shown[-1][0], f"{shown[-1][1]:x}")) if further else None,
        complete=complete,
    )


def tally(connection: sqlite3.Connection, query: TraceQuery, on_damage: OnDamage = nobody) -> Tally:
    """See TraceStore.tally."""
    if query.id is not None:
        images, complete = by_id(connection, query)
        counts = np.zeros(BUCKETS, np.int64)
        for _, image in images:
            counts[bucket(_key(image, "slowest")) - 1] += 1
    else:
        counts, complete = searched(connection, query, BlockSearch.tally, on_damage)
    return Tally(tuple(counts.tolist()), exact=complete)


def _key(image: TraceSummary, order: Order) -> int:
    return image.start_unix_ns if order == "newest" else int(image.duration_ms * 1e3 + 1e-4)


def by_id(
    connection: sqlite3.Connection, query: TraceQuery
) -> tuple[list[tuple[int, TraceSummary]], bool]:
    """The requests of a trace, or of a job, that are asked for, and whether these are all."""
    assert query.id is not None
    try:
        trace_id = bytes.fromhex(query.id)
    except ValueError:
        trace_id = b""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM request WHERE trace_id = ?"
        f" UNION SELECT {COLUMNS} FROM request WHERE job = ? LIMIT ?",
        (trace_id, job_key(query.id), TRACE_MAX_SPANS + 1),
    ).fetchall()
    found = ((id, summed_up(connection, *row)) for id, *row in rows)
    matching = [(id, image) for id, image in found if image is not None and query.matches(image)]
    return matching, len(rows) <= TRACE_MAX_SPANS


def images_of(connection: sqlite3.Connection, ids: Iterable[int]) -> list[TraceSummary]:
    """Requests by their ids, in that order."""
    wanted = list(ids)
    marks = ", ".join("?" * len(wanted))
    rows = connection.execute(f"SELECT {COLUMNS} FROM request WHERE id IN ({marks})", wanted)
    found = {id: summed_up(connection, *row) for id, *row in rows.fetchall()}
    listed = (found.get(id) for id in wanted)
    return [image for image in listed if image is not None]
