"""The one thread that writes to the SQLite file."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Thread
from typing import Literal

from monitoring.stores.embedded import damage
from monitoring.stores.embedded.points import register_functions
from monitoring.stores.embedded.schema import connect, is_emptied, make
from pipeline.errors import ConfigurationError

logger = logging.getLogger(__name__)

#: A piece of writing: runs inside a transaction of the writer's.
Job = Callable[[sqlite3.Connection], None]
#: Why a new file was begun.
Why = Literal["damaged", "gone"]

#: Bytes of telemetry that may wait to be written; more is refused.
PENDING_MAX_BYTES = 64 * 2**20
#: Pieces written in one transaction at most.
BATCH_MAX = 64
#: How long to wait before a write that the file system or a lock refused is tried again.
RETRY_S = 1.0
#: How long such a write is tried. Then it is given up, and counted: what came last is worth more.
GIVE_UP_S = 60.0
#: Least time between two files that are moved aside: where each is damaged at once, it is the disk.
ANEW_EVERY_S = 60.0
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

    `housekeeping` is called outside any transaction every `housekeeping_s` seconds. A file that is
    damaged is moved aside, one that is gone is missed: a new one is made, `on_anew` is called with
    `damaged` or `gone`, and what waits is written there.
    """

    def __init__(
        self,
        path: Path,
        housekeeping: Callable[[sqlite3.Connection], None],
        *,
        housekeeping_s: float = 10.0,
        pending_max_bytes: int = PENDING_MAX_BYTES,
        on_anew: Callable[[Why], object] = lambda why: None,
    ) -> None:
        self.refused = 0  # pieces turned away because too many were waiting
        self.failed = 0  # pieces that could not be written at all
        self._path, self._on_anew = path, on_anew
        self._anew_at = float("-inf")
        self._open()
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
        began = time.monotonic()
        while True:
            try:
                self._miss()
                self._connection.execute("BEGIN IMMEDIATE")
                for job in jobs:
                    job(self._connection)
                self._connection.execute("COMMIT")
                return
            except BaseException as error:
                if self._begun_anew(error):
                    continue
                # Locked, or the disk is full: worth another try, while the queue
                # fills up and senders are told to come back later.
                late = time.monotonic() - began > GIVE_UP_S
                if not _may_pass(error) or self._closing or late:
                    raise
                self._log("telemetry waits to be stored (%d exports lost so far): %s", error)
                time.sleep(RETRY_S)

    def _keep_house(self) -> None:
        try:
            self._miss()
            self._housekeeping(self._connection)
        except Exception as error:
            if not self._begun_anew(error):
                self._log("old telemetry could not be dropped (%d exports lost so far): %s", error)

    # -- a file that is damaged, or gone -------------------------------------------------------

    def _open(self) -> None:
        self._connection = connect(self._path)
        register_functions(self._connection)
        self._seen = damage.identity(self._path)

    def _miss(self) -> None:
        """Make a new file where ours is no longer in its place: deleted, or its folder moved."""
        if damage.identity(self._path) == self._seen:
            return
        # A reader, here or in another process, may have found it damaged, and moved it.
        moved = {damage.identity(each) for each in damage.found_aside(self._path)}
        why: Why = "damaged" if self._seen in moved else "gone"
        self._begin_anew()
        logger.error(
            "the telemetry store %s is %s; a new one begins",
            self._path, "moved aside, for it is damaged" if why == "damaged" else "gone",
        )  # fmt: skip
        self._on_anew(why)

    def _begun_anew(self, error: BaseException) -> bool:
        """Undo what was begun; whether there is a new file now, instead of one that is damaged."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            damaged = damage.is_damage(error) or (
                isinstance(error, sqlite3.OperationalError)
                and error.sqlite_errorcode == sqlite3.SQLITE_ERROR
                and is_emptied(self._connection)
            )
        except sqlite3.Error as another:
            damaged = damage.is_damage(another)
        if not damaged or time.monotonic() - self._anew_at < ANEW_EVERY_S:
            return False
        try:
            if self._seen is not None:
                damage.set_aside(self._path, self._seen, error)
            self._begin_anew()
        except (sqlite3.Error, OSError, ConfigurationError) as refused:
            self._log("the damaged telemetry store cannot be replaced (%d exports lost so far): %s",
                      refused)  # fmt: skip
            return False
        self._anew_at = time.monotonic()
        self._on_anew("damaged")
        return True

    def _begin_anew(self) -> None:
        make(self._path)
        old = self._connection
        self._open()
        old.close()

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
    if isinstance(error, OSError | ConfigurationError) or damage.is_damage(error):
        return True  # of the file that is to be made anew
    if not isinstance(error, sqlite3.OperationalError):
        return False
    return error.sqlite_errorcode & 0xFF in _LATER  # without what an extended code adds
