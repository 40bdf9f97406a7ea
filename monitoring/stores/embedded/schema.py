"""The SQLite file: how it is made, brought to this version, and opened."""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from google.protobuf.message import DecodeError

from monitoring.stores.embedded import damage
from monitoring.stores.embedded.damage import Identity
from monitoring.stores.embedded.migrations import MIGRATIONS
from pipeline.errors import ConfigurationError, Unavailable

logger = logging.getLogger(__name__)

#: How long a connection waits for another one's write to end.
BUSY_TIMEOUT_S = 5.0
#: What the write-ahead log, a file beside the database, is cut back to.
WAL_MAX_BYTES = 4 * 2**20
#: What reading one row raises whose bytes are not what was written; SQLite checks only the tree.
_UNREADABLE = (zlib.error, DecodeError, json.JSONDecodeError, damage.BlockDamaged)


def prepare(path: Path) -> bool:
    """Make the file, or bring it to this version's schema; whether one that is damaged had to be
    moved aside.

    Raises ConfigurationError when it cannot be used: no such folder, held by another program, or
    written by a newer version.
    """
    try:
        return make(path)
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(
            f"telemetry store {path} cannot be used: {error}; "
            "move the file away or point DAMOSCOPE_HOME at another folder"
        ) from error


def make(path: Path) -> bool:
    """The same; raises what SQLite and the file system raise, and ConfigurationError when the file
    is of a newer version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seen = damage.identity(path)
    try:
        _make(path)
    except sqlite3.Error as error:
        if seen is None or not damage.is_damage(error):
            raise
        damage.set_aside(path, seen, error)
        _make(path)
        return True
    return False


def _make(path: Path) -> None:
    with damage.alone(path.parent):
        damage.drop_leftovers(path)
        with contextlib.closing(connect(path)) as connection:
            if _version(connection) == 0:
                # Space of dropped rows goes back to the file system: can only be
                # chosen before the first table exists. Both stay with the file.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
            _migrate(connection, path)


def is_emptied(connection: sqlite3.Connection) -> bool:
    """Whether a file that had the schema has none any more: somebody has cut it to nothing."""
    return _version(connection) == 0


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) == len(MIGRATIONS):
        return
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection)  # another process may have been quicker
    if version > len(MIGRATIONS):
        raise ConfigurationError(
            f"telemetry store {path} was written by a newer damoscope (schema {version}, this "
            f"one knows {len(MIGRATIONS)}): update damoscope, or point DAMOSCOPE_HOME elsewhere"
        )
    for script in MIGRATIONS[version:]:
        for statement in _statements(script):
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def connect(path: Path, *, create: bool = True) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun in so many words."""
    mode = "rwc" if create else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    # Enough in WAL mode: a power cut may lose the last moments, never the file.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_MAX_BYTES}")
    return connection


def _empty() -> sqlite3.Connection:
    """What a file in which nothing was ever written would answer."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for script in MIGRATIONS:
        connection.executescript(script)
    return connection


class Readers:
    """Connections for reading, lent to one thread at a time.

    The file need not be there yet: until then it reads as empty, and is not made. One that is
    damaged is moved aside; whoever writes makes another.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[tuple[sqlite3.Connection, Identity]] = []
        self._lock = Lock()
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file; Unavailable when it cannot be read."""
        seen = damage.identity(self._path)
        if seen is None:
            with contextlib.closing(_empty()) as nothing:
                yield nothing
            return
        connection = None
        try:
            connection = self._borrow(seen)
            connection.execute("BEGIN")
            yield connection
            connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if damage.is_damage(error):
                self._set_aside(seen, error)
            raise Unavailable(f"the telemetry store cannot be read: {error}") from error
        except _UNREADABLE as error:
            raise Unavailable(f"a part of the telemetry store is damaged: {error}") from error
        finally:
            if connection is not None:
                self._return(connection, seen)

    def close(self) -> None:
        """Close every connection; one that is out is closed when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection, _ in idle:
            connection.close()

    def _borrow(self, seen: Identity) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise Unavailable("the telemetry store is closed")
            stale = [each for each, of in self._idle if of != seen]
            self._idle = [each for each in self._idle if each[1] == seen]
            idle = self._idle.pop()[0] if self._idle else None
        for each in stale:
            each.close()
        if idle is not None:
            return idle
        connection = connect(self._path, create=False)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _return(self, connection: sqlite3.Connection, seen: Identity) -> None:
        if connection.in_transaction:  # something was raised: who knows what state it is in
            connection.close()
            return
        with self._lock:
            if not self._closed:
                self._idle.append((connection, seen))
                return
        connection.close()

    def _set_aside(self, seen: Identity, error: sqlite3.Error) -> None:
        try:
            damage.set_aside(self._path, seen, error)
        except OSError as refused:
            logger.warning("the telemetry store is damaged and cannot be moved aside: %s", refused)
