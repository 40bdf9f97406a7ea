"""Makes the blocks that images are found by, in the writer's rounds."""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from functools import partial

from monitoring.stores.embedded import block_file, block_format_1, blocks, summaries
from monitoring.stores.embedded.blocks import LARGE, SMALL, ImageBlock
from monitoring.stores.embedded.damage import BlockDamaged
from monitoring.stores.embedded.rows import FACTS, from_spans

log = logging.getLogger(__name__)

#: How long after a request its last spans come, usually: what comes later is put right in a
#: later round.
SETTLE_S = 60.0
#: How long one round may take: what arrives waits.
ROUND_S = 1.0
#: Blocks that wait to be made anew because they are damaged.
DAMAGED_MAX = 100


class Indexing:
    """Puts requests into blocks once their spans have come; `clock` gives seconds that only grow.

    Several processes may do so on one file.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: When a request was the newest.
        self._newest: deque[tuple[float, int]] = deque()
        #: Blocks that are to be made anew: appended to by any thread.
        self._damaged: deque[int] = deque(maxlen=DAMAGED_MAX)

    def renew(self, error: BlockDamaged) -> None:
        """Have a block that is damaged made anew, in the next round."""
        if error.first not in self._damaged:
            self._damaged.append(error.first)
            log.warning("the telemetry store: %s; it is made anew", error)

    def run(self, connection: sqlite3.Connection) -> None:
        """One round; called outside any transaction, in the writer's thread."""
        until = self._clock() + ROUND_S
        while self._damaged:
            _committed(connection, partial(_condemn, first=self._damaged.popleft()))
        settled = self._settled(connection)
        for step in (_renew, _merge, lambda each: _seal(each, settled), _convert):
            while self._clock() < until and _committed(connection, step):
                pass

    def _settled(self, connection: sqlite3.Connection) -> int:
        """The newest request that has been there for long enough."""
        now = self._clock()
        (newest,) = connection.execute("SELECT coalesce(max(id), 0) FROM request").fetchone()
        self._newest.append((now, newest))
        settled = 0
        while self._newest and self._newest[0][0] <= now - SETTLE_S:
            settled = self._newest.popleft()[1]
        if settled:  # also the next time
            self._newest.appendleft((now - SETTLE_S, settled))
        return settled


def _committed(connection: sqlite3.Connection, step: Callable[[sqlite3.Connection], bool]) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    try:
        done = step(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
    return done


def _seal(connection: sqlite3.Connection, settled: int) -> bool:
    """Make a block of the next requests; False when they are too few yet."""
    (end,) = connection.execute("SELECT max(first + size) FROM block").fetchone()
    if end is None:
        (least,) = connection.execute("SELECT min(id) FROM request").fetchone()
        end = (least or 0) // SMALL * SMALL
    if end + SMALL - 1 > settled:
        return False
    _make(connection, end, SMALL)
    return True


def _renew(connection: sqlite3.Connection) -> bool:
    """Make a block anew of which a request has changed."""
    found = connection.execute("SELECT first, size FROM block WHERE stale = 1 LIMIT 1").fetchone()
    if found is not None:
        _make(connection, *found)
    return found is not None


def _condemn(connection: sqlite3.Connection, first: int) -> bool:
    """Have a block made anew."""
    connection.execute("UPDATE block SET stale = 1 WHERE first = ?", (first,))
    return True


def _merge(connection: sqlite3.Connection) -> bool:
    """Make one block of several, where the last of them is there."""
    found = connection.execute(
        "SELECT first FROM block WHERE size = ? AND stale = 0 AND first % ? = ? LIMIT 1",
        (SMALL, LARGE, LARGE - SMALL),
    ).fetchone()
    if found is None:
        return False
    first = found[0] + SMALL - LARGE
    parts = connection.execute(
        "SELECT first, size, format FROM block WHERE first >= ? AND first <= ?", (first, found[0])
    ).fetchall()
    try:
        read = [_read(connection, *part) for part in parts]
    except BlockDamaged as error:
        _condemn(connection, error.first)
        return False
    block_file.write(connection, blocks.merge(read, first, LARGE))
    return True


def _convert(connection: sqlite3.Connection) -> bool:
    """Store a block anew that the version before has stored, the newest first."""
    found = connection.execute(
        "SELECT first, size FROM block WHERE format = 1 AND stale = 0 ORDER BY first DESC LIMIT 1"
    ).fetchone()
    if found is None:
        return False
    try:
        block_file.write(connection, block_format_1.read(connection, *found))
    except BlockDamaged as error:
        _condemn(connection, error.first)
    return True


def _read(connection: sqlite3.Connection, first: int, size: int, format: int) -> ImageBlock:
    if format == 1:
        return block_format_1.read(connection, first, size)
    return block_file.read(connection, first, size)


def _make(connection: sqlite3.Connection, first: int, size: int) -> None:
    stretch = (first, first + size)
    old = connection.execute(
        "SELECT id, trace_id, span_id, summary FROM request WHERE id >= ? AND id < ? AND told = ''",
        stretch,
    ).fetchall()
    for row in old:
        _tell(connection, *row)
    rows = connection.execute(f"SELECT {FACTS} FROM request WHERE id >= ? AND id < ?", stretch)
    block_file.write(connection, blocks.build(first, size, [summaries.facts(*row) for row in rows]))


def _tell(
    connection: sqlite3.Connection, id: int, trace_id: bytes, span_id: bytes, summary: str
) -> None:
    """Write into a row of an older version what a row of this version has."""
    image = from_spans(connection, trace_id, span_id)
    if image is not None:
        told, job_id = summaries.encode_told(image), image.job_id
        summary = summary or summaries.encode(image)
    else:  # its spans are gone
        told = summaries.NOT_TOLD
        job_id = json.loads(summary)[2] if summary else None
    connection.execute(
        "UPDATE request SET job = ?, told = ?, summary = ? WHERE id = ?",
        (summaries.job_key(job_id), told, summary, id),
    )
