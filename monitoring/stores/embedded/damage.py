"""What is done about a telemetry file that is damaged, or that is gone while it is in use.

One policy, whoever finds out and at whatever statement: the file is moved aside, with its
write-ahead log, under a name that says when; a few of those are kept, for who wants to bring back
what is in them. The process that writes makes a new file. Detection never waits for any of it.

Nothing here opens the database's own files: closing one would drop the locks that SQLite holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

logger = logging.getLogger(__name__)

#: Damaged files that are kept; the oldest goes.
KEPT = 2
#: What SQLite has beside a file in WAL mode. A log that outlives its file would be applied to the
#: next one of that name.
LOG, INDEX = "-wal", "-shm"
#: How long another process may take to move a file or to make one.
LOCK_WAIT_S = 10.0
_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_TIME = "%Y%m%dT%H%M%SZ"
_ASIDE = re.compile(r"\.damaged-(\d{8}T\d{6}Z)(?:-\d+)?")

#: Device and inode: a file that was moved keeps them, one that was made anew has others.
Identity = tuple[int, int]


class BlockDamaged(Exception):
    """The bytes of a block that images are found by are not what was written: `first` names it."""

    def __init__(self, first: int, what: str) -> None:
        super().__init__(f"the block of requests from {first} on: {what}")
        self.first = first


def identity(path: Path) -> Identity | None:
    """Which file stands at `path`; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says that the file is none of its own, or not as it wrote it."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.Error) and code is not None and code & 0xFF in _DAMAGE


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process moves or makes a telemetry file in `folder` meanwhile. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        ends = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise
                time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def set_aside(path: Path, seen: Identity, error: BaseException) -> Path | None:
    """Move the damaged file `seen` aside and say so; None when another process has done it.

    Raises OSError.
    """
    with alone(path.parent):
        if identity(path) != seen:
            return None
        aside = _free_name(path)
        # The file last: should this be cut short, it is found damaged again.
        for suffix in (INDEX, LOG, ""):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
        for old in found_aside(path)[:-KEPT]:
            for suffix in ("", LOG, INDEX):
                Path(f"{old}{suffix}").unlink(missing_ok=True)
    logger.error(
        "the telemetry store %s is damaged (%s): it is moved to %s, and a new one begins; traces, "
        "figures and log lines from before are no longer shown (docs/reliability.md)",
        path, error, aside.name,
    )  # fmt: skip
    return aside


def drop_leftovers(path: Path) -> None:
    """Where a file is gone, its log must go before the next one is made. Called `alone`."""
    if identity(path) is None:
        for suffix in (LOG, INDEX):
            Path(f"{path}{suffix}").unlink(missing_ok=True)


def found_aside(path: Path) -> list[Path]:
    """The damaged files beside `path`, the oldest first."""
    names = path.parent.glob(f"{path.name}.damaged-*") if path.parent.is_dir() else ()
    return sorted(each for each in names if _ASIDE.fullmatch(each.name[len(path.name) :]))


def moved_since(path: Path, since_s: float) -> int:
    """How many files were moved aside after a time, in seconds since the epoch."""
    times = (_ASIDE.fullmatch(each.name[len(path.name) :]) for each in found_aside(path))
    moved = (datetime.strptime(found[1], _TIME).replace(tzinfo=UTC) for found in times if found)
    return sum(each.timestamp() >= since_s for each in moved)


def _free_name(path: Path) -> Path:
    first = path.with_name(f"{path.name}.damaged-{datetime.now(UTC):{_TIME}}")
    aside, number = first, 1
    while aside.exists():
        number += 1
        aside = first.with_name(f"{first.name}-{number}")
    return aside
