"""The SQLite file: its tables, their versions, and how it is opened."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from threading import Lock

from pipeline.errors import ConfigurationError, Unavailable

#: How long a connection waits for another one's write to end.
BUSY_TIMEOUT_S = 5.0
#: What the write-ahead log, a file beside the database, is cut back to.
WAL_MAX_BYTES = 4 * 2**20

#: One script for each version; `PRAGMA user_version` says how many have run. A
#: script that has been released is never edited: a change is a further script. A
#: statement ends with its line.
MIGRATIONS = (
    """
    -- The resource (service, host, process) of spans, encoded: one per process, so it
    -- is kept once rather than with every trace. Its spans are alike: compressing them
    -- against the first that came makes them a third as large.
    CREATE TABLE resource (
        id INTEGER PRIMARY KEY,
        body BLOB NOT NULL UNIQUE,
        dictionary BLOB NOT NULL,
        seen_s INTEGER NOT NULL
    );
    -- The spans of one trace that came in one export: a compressed ScopeSpans.
    CREATE TABLE chunk (
        id INTEGER PRIMARY KEY,
        trace_id BLOB NOT NULL,
        resource INTEGER NOT NULL REFERENCES resource(id),
        received_s INTEGER NOT NULL,
        spans BLOB NOT NULL
    );
    CREATE INDEX chunk_trace ON chunk(trace_id);
    -- What a search filters by, one row for each image request. The rest of a
    -- summary is read from the chunks of the rows found.
    CREATE TABLE request (
        id INTEGER PRIMARY KEY,
        trace_id BLOB NOT NULL,
        span_id BLOB NOT NULL,
        chunk INTEGER NOT NULL,
        start_ns INTEGER NOT NULL,
        duration_ns INTEGER NOT NULL,
        error INTEGER NOT NULL,
        UNIQUE (trace_id, span_id)
    );
    CREATE INDEX request_chunk ON request(chunk);
    -- These hold every column that is filtered by, so a scan never visits the table.
    CREATE INDEX request_start ON request(start_ns, duration_ns, error);
    CREATE INDEX request_duration ON request(duration_ns, start_ns, error);
    CREATE INDEX request_error ON request(start_ns, duration_ns) WHERE error = 1;

    -- A metric with one set of attributes, as sorted JSON with service.name among
    -- them; gauges keep service.instance.id too, the others are merged over processes.
    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        metric TEXT NOT NULL,
        kind TEXT NOT NULL,        -- counter | histogram | gauge
        attributes TEXT NOT NULL,
        bounds TEXT NOT NULL,      -- JSON; [] unless a histogram
        UNIQUE (metric, kind, attributes, bounds)
    );
    -- The last reading of a series from one process: what the next one is compared with.
    CREATE TABLE stream (
        series INTEGER NOT NULL REFERENCES series(id),
        instance TEXT NOT NULL,
        start_ns INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        value REAL NOT NULL,
        counts BLOB NOT NULL,
        PRIMARY KEY (series, instance, start_ns)
    ) WITHOUT ROWID;
    -- What was added in the bucket of `level` seconds that starts at time_s.
    CREATE TABLE counter_point (
        level INTEGER NOT NULL,
        series INTEGER NOT NULL,
        time_s INTEGER NOT NULL,
        value REAL NOT NULL,
        PRIMARY KEY (level, series, time_s)
    ) WITHOUT ROWID;
    CREATE TABLE histogram_point (
        level INTEGER NOT NULL,
        series INTEGER NOT NULL,
        time_s INTEGER NOT NULL,
        sum REAL NOT NULL,
        counts BLOB NOT NULL,      -- int64 little-endian, one per bucket
        PRIMARY KEY (level, series, time_s)
    ) WITHOUT ROWID;
    CREATE TABLE gauge_point (
        level INTEGER NOT NULL,
        series INTEGER NOT NULL,
        time_s INTEGER NOT NULL,
        total REAL NOT NULL,
        readings INTEGER NOT NULL,
        highest REAL NOT NULL,
        PRIMARY KEY (level, series, time_s)
    ) WITHOUT ROWID;
    """,
    """
    -- What was logged within a trace.
    CREATE TABLE line (
        id INTEGER PRIMARY KEY,
        trace_id BLOB NOT NULL,
        span_id BLOB NOT NULL,
        received_s INTEGER NOT NULL,
        time_ns INTEGER NOT NULL,
        level TEXT NOT NULL,
        logger TEXT NOT NULL,
        message TEXT NOT NULL,
        service TEXT NOT NULL,
        stack TEXT NOT NULL
    );
    CREATE INDEX line_trace ON line(trace_id);
    CREATE INDEX line_received ON line(received_s);
    """,
)


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
