"""The embedded store as a whole: one file, one writer, any number of readers."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from monitoring.stores.embedded import damage
from monitoring.stores.embedded.beyond import Beyond
from monitoring.stores.embedded.exposition import Exposition
from monitoring.stores.embedded.indexing import Indexing
from monitoring.stores.embedded.lines import decode_logs, write_lines
from monitoring.stores.embedded.metrics import EmbeddedMetrics
from monitoring.stores.embedded.otlp import Rejected, decode_traces
from monitoring.stores.embedded.otlp_metrics import decode_metrics
from monitoring.stores.embedded.points import write_readings
from monitoring.stores.embedded.retention import Retention
from monitoring.stores.embedded.schema import Readers, prepare
from monitoring.stores.embedded.summaries import Summaries
from monitoring.stores.embedded.traces import EmbeddedTraces, write_chunks
from monitoring.stores.embedded.writer import PENDING_MAX_BYTES, Writer
from pipeline.errors import Unavailable


class EmbeddedStore:
    """Receives OTLP and answers questions about it. Every method may be called from any thread.

    Several processes may have the same file open. `clock` gives seconds since the
    epoch. Raises ConfigurationError when the file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        days: float = 30.0,
        max_bytes: int = 2**30,
        clock: Callable[[], float] = time.time,
        pending_max_bytes: int = PENDING_MAX_BYTES,
    ) -> None:
        self._path, self._clock = path, clock
        #: When a new file was begun instead of one that was damaged or gone.
        self._anew_s: deque[float] = deque(maxlen=damage.KEPT)
        if prepare(path):
            self._anew_s.append(time.time())
        self._readers = Readers(path)
        self.retention = Retention(days, max_bytes, clock)
        self.indexing = Indexing()
        self.writer = Writer(
            path,
            self._keep_house,
            pending_max_bytes=pending_max_bytes,
            on_anew=lambda _: self._anew_s.append(time.time()),
        )
        self._summaries = Summaries()
        self.beyond = Beyond()
        self.traces = EmbeddedTraces(self._readers, self.indexing.renew)
        self.metrics = EmbeddedMetrics(self._readers, clock)
        self.exposition = Exposition(self._readers, clock)

    def receive_traces(self, body: bytes) -> Rejected:
        """Take an encoded ExportTraceServiceRequest; returns what of it could not be taken.

        It is stored moments later. Raises MalformedTelemetry, or Unavailable when
        too much is waiting to be stored: the sender should try again.
        """
        export = decode_traces(body)
        if export.chunks:

            def write(connection: sqlite3.Connection) -> None:
                dropped = write_chunks(connection, export.chunks, self._clock(), self._summaries)
                self.beyond.add("spans of traces that are too large", dropped)

            self._submit(write, len(body))
        return export.rejected

    def receive_metrics(self, body: bytes) -> Rejected:
        """The same for an ExportMetricsServiceRequest."""
        export = decode_metrics(body)
        if export.readings:

            def write(connection: sqlite3.Connection) -> None:
                begun_s = max(self._anew_s, default=float("-inf"))
                dropped = write_readings(connection, export.readings, self._clock(), begun_s)
                self.beyond.add("readings of series that are too many", dropped)

            self._submit(write, len(body))
        return export.rejected

    def receive_logs(self, body: bytes) -> Rejected:
        """The same for an ExportLogsServiceRequest; lines that belong to no trace are not kept."""
        export = decode_logs(body)
        if export.lines:

            def write(connection: sqlite3.Connection) -> None:
                write_lines(connection, export.lines, self._clock())

            self._submit(write, len(body))
        return export.rejected

    def begun_anew(self, within_s: float) -> int:
        """How often a new file had to be begun lately; those moved aside by any process count."""
        since_s = time.time() - within_s
        here = sum(at_s >= since_s for at_s in list(self._anew_s))
        return max(here, damage.moved_since(self._path, since_s))

    def flush(self) -> None:
        """Wait until everything received before this call can be read."""
        self.writer.flush()

    def close(self) -> None:
        """Store what was received, then close the file."""
        self.writer.close()
        self._readers.close()

    def _keep_house(self, connection: sqlite3.Connection) -> None:
        self.retention.run(connection)
        self.indexing.run(connection)

    def _submit(self, write: Callable[[sqlite3.Connection], None], size_bytes: int) -> None:
        if not self.writer.submit(write, size_bytes):
            raise Unavailable("too much telemetry is waiting to be stored")
