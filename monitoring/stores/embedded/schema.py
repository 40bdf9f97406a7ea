"""The SQLite file: how it is made, brought to this version, and opened."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from monitoring.stores.embedded.migrations import MIGRATIONS
from pipeline.errors import ConfigurationError, Unavailable

#: How long a connection waits for another one's write to end.
BUSY_TIMEOUT_S = 5.0
#: What the write-ahead log, a file beside the database, is cut back to.
WAL_MAX_BYTES = 4 * 2**20


def prepare(path: Path) -> None:
    """Make the file, or bring it to this version's schema.

    Raises ConfigurationError when it cannot be used: no such folder, not a database,
    held by another program, or written by a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(connect(path)) as connection:
            if _version(connection) == 0:
                # Space of dropped rows goes back to the file system: can only be
                # chosen before the first table exists. Both stay with the file.
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
            _migrate(connection, path)
    except (sqlite3.Error, OSError) as error:
        raise ConfigurationError(
            f"telemetry store {path} cannot be used: {error}; "
            "move the file away or point DAMOSCOPE_HOME at another folder"
        ) from error


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

    The file need not be there yet: until then it reads as empty, and is not made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._lock = Lock()
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one state of the file; Unavailable when it cannot be read."""
        if not self._path.exists():
            with contextlib.closing(_empty()) as nothing:
                yield nothing
            return
        try:
            connection = self._borrow()
            try:
                connection.execute("BEGIN")
                yield connection
            finally:
                self._return(connection)
        except sqlite3.Error as error:
            raise Unavailable(f"the telemetry store cannot be read: {error}") from error

    def close(self) -> None:
        """Close every connection; one that is out is closed when it comes back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _borrow(self) -> sqlite3.Connection:
        with self._lock:
            if self._closed:
                raise Unavailable("the telemetry store is closed")
            if self._idle:
                return self._idle.pop()
        connection = connect(self._path, create=False)
        connection.execute("PRAGMA query_only = ON")
        return connection

    def _return(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()
