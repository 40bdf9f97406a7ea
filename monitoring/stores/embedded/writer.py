"""The one thread that writes to the SQLite file."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Thread

from monitoring.stores.embedded.points import register_functions
from monitoring.stores.embedded.schema import connect

logger = logging.getLogger(__name__)

#: A piece of writing: runs inside a transaction of the writer's.
Job = Callable[[sqlite3.Connection], None]

#: Bytes of telemetry that may wait to be written; more is refused.
PENDING_MAX_BYTES = 64 * 2**20
#: Pieces written in one transaction at most.
BATCH_MAX = 64
#: How long to wait before a write that the file system or a lock refused is tried again.
RETRY_S = 1.0
#: What SQLite says when the same may succeed later: locked, the disk full or failing.
_LATER = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
    )
)
#: A trouble that lasts is logged this often.
LOG_EVERY_S = 60.0


class Writer:
    """Takes pieces of writing from any thread and commits them in order, in batches.

    `housekeeping` is called outside any transaction every `housekeeping_s` seconds.
    """

    def __init__(
        self,
        path: Path,
        housekeeping: Callable[[sqlite3.Connection], None],
        *,
        housekeeping_s: float = 10.0,
        pending_max_bytes: int = PENDING_MAX_BYTES,
    ) -> None:
        self.refused = 0  # pieces turned away because too many were waiting
        self.failed = 0  # pieces that could not be written at all
        self._connection = connect(path)
        register_functions(self._connection)
        self._housekeeping = housekeeping
        self._housekeeping_s = housekeeping_s
        self._pending_max_bytes = pending_max_bytes
        self._jobs: deque[tuple[Job, int]] = deque()
        self._pending_bytes = 0
        self._submitted = 0
        self._done = 0
        self._changed = Condition()
        self._closing = False
        self._logged_at = float("-inf")
        self._thread = Thread(target=self._run, name="telemetry-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Job, size_bytes: int) -> bool:
        """Queue a piece of writing; False when too much is waiting already. Never blocks."""
        with self._changed:
            if self._closing:
                return False
            full = self._pending_bytes + size_bytes > self._pending_max_bytes
            if not (full and self._jobs):
                self._jobs.append((job, size_bytes))
                self._pending_bytes += size_bytes
                self._submitted += 1
                self._changed.notify_all()
                return True
            self.refused += 1
        self._log("telemetry arrives faster than it can be stored: %d exports refused", None)
        return False

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until everything that was queued before this call is written."""
        with self._changed:
            target = self._submitted
            return self._changed.wait_for(lambda: self._done >= target, timeout_s)

    def close(self, timeout_s: float = 10.0) -> None:
        """Write what is queued, then end. Further pieces are refused."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        due = time.monotonic()
        try:
            while True:
                batch = self._take(due - time.monotonic())
                if batch:
                    self._write(batch)
                elif self._closing:
                    break
                if time.monotonic() >= due:
                    self._keep_house()
                    due = time.monotonic() + self._housekeeping_s
        finally:
            self._connection.close()

    def _take(self, timeout_s: float) -> list[tuple[Job, int]]:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing, max(0.0, timeout_s))
            return [self._jobs.popleft() for _ in range(min(BATCH_MAX, len(self._jobs)))]

    def _write(self, batch: list[tuple[Job, int]]) -> None:
        jobs = [job for job, _ in batch]
        try:
            self._commit(jobs)
        except Exception:
            # One of them cannot be written: the others must not pay for it.
            for job in jobs:
                try:
                    self._commit([job])
                except Exception as error:
                    self.failed += 1
                    self._log("telemetry could not be stored, %d exports lost: %s", error)
        with self._changed:
            self._pending_bytes -= sum(size for _, size in batch)
            self._done += len(batch)
            self._changed.notify_all()

    def _commit(self, jobs: list[Job]) -> None:
        while True:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    job(self._connection)
                self._connection.execute("COMMIT")
                return
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                # Locked, or the disk is full: worth another try, while the queue
                # fills up and senders are told to come back later.
                if not _may_pass(error) or self._closing:
                    raise
                self._log("telemetry waits to be stored (%d exports lost so far): %s", error)
                time.sleep(RETRY_S)

    def _keep_house(self) -> None:
        try:
            self._housekeeping(self._connection)
        except Exception as error:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._log("old telemetry could not be dropped (%d exports lost so far): %s", error)

    def _log(self, message: str, error: BaseException | None) -> None:
        now = time.monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            if error is None:
                logger.warning(message, self.refused)
            else:
                logger.warning(message, self.failed, error)


def _may_pass(error: BaseException) -> bool:
    """Whether a write may succeed later; what the write itself got wrong never does."""
    if not isinstance(error, sqlite3.OperationalError):
        return False
    return error.sqlite_errorcode & 0xFF in _LATER  # without what an extended code adds
