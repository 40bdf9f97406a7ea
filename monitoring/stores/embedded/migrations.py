"""The SQLite file's tables, version by version."""

from __future__ import annotations

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
    """
    -- How much there is of everything that is bounded, kept by the triggers below: to look
    -- whether there is room costs the same however full it is, in every process.
    CREATE TABLE room (name TEXT PRIMARY KEY, used INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO room VALUES
        ('own', (SELECT count(*) FROM series)),
        ('foreign', 0),
        ('stream', (SELECT count(*) FROM stream)),
        ('resource', (SELECT count(*) FROM resource)),
        ('line_bytes', (SELECT coalesce(sum(length(message) + length(stack)), 0) FROM line));

    -- `own` are the metrics of the catalogue, as it has them; `foreign` are all others.
    ALTER TABLE series ADD COLUMN room TEXT NOT NULL DEFAULT 'own';
    ALTER TABLE stream ADD COLUMN room TEXT NOT NULL DEFAULT 'own';
    -- When it was last heard of, by this machine's clock; and until when it keeps its place
    -- though others want one, which changes rarely because it is indexed.
    ALTER TABLE stream ADD COLUMN heard_s REAL NOT NULL DEFAULT 0;
    ALTER TABLE stream ADD COLUMN until_s INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX stream_until ON stream(until_s);
    -- Streams that each sender has.
    CREATE TABLE sender (
        instance TEXT NOT NULL,
        room TEXT NOT NULL,
        streams INTEGER NOT NULL,
        PRIMARY KEY (instance, room)
    ) WITHOUT ROWID;
    INSERT INTO sender SELECT instance, 'own', count(*) FROM stream GROUP BY instance;
    CREATE TRIGGER series_in AFTER INSERT ON series BEGIN
        UPDATE room SET used = used + 1 WHERE name = NEW.room;
    END;
    CREATE TRIGGER series_out AFTER DELETE ON series BEGIN
        UPDATE room SET used = used - 1 WHERE name = OLD.room;
    END;
    CREATE TRIGGER stream_in AFTER INSERT ON stream BEGIN
        UPDATE room SET used = used + 1 WHERE name = 'stream';
        INSERT INTO sender VALUES (NEW.instance, NEW.room, 1)
            ON CONFLICT DO UPDATE SET streams = streams + 1;
    END;
    CREATE TRIGGER stream_out AFTER DELETE ON stream BEGIN
        UPDATE room SET used = used - 1 WHERE name = 'stream';
        UPDATE sender SET streams = streams - 1
            WHERE instance = OLD.instance AND room = OLD.room;
        DELETE FROM sender
            WHERE instance = OLD.instance AND room = OLD.room AND streams <= 0;
    END;
    CREATE TRIGGER resource_in AFTER INSERT ON resource BEGIN
        UPDATE room SET used = used + 1 WHERE name = 'resource';
    END;
    CREATE TRIGGER resource_out AFTER DELETE ON resource BEGIN
        UPDATE room SET used = used - 1 WHERE name = 'resource';
    END;
    CREATE TRIGGER line_in AFTER INSERT ON line BEGIN
        UPDATE room SET used = used + length(NEW.message) + length(NEW.stack)
            WHERE name = 'line_bytes';
    END;
    CREATE TRIGGER line_out AFTER DELETE ON line BEGIN
        UPDATE room SET used = used - length(OLD.message) - length(OLD.stack)
            WHERE name = 'line_bytes';
    END;

    -- How large each trace is, and how many of its spans were too many; `chunk` is its last.
    CREATE TABLE trace (
        trace_id BLOB PRIMARY KEY,
        spans INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        dropped INTEGER NOT NULL,
        chunk INTEGER NOT NULL
    ) WITHOUT ROWID;
    -- What a list shows of a request, as JSON; '' in a row of an older version, which is
    -- summed up from its spans whenever it is listed.
    ALTER TABLE request ADD COLUMN summary TEXT NOT NULL DEFAULT '';
    """,
    """
    -- Images are found by blocks of columns, which take a tenth of the room that an index for
    -- each question would. `told` is who sent an image and what its worker told, as JSON, '' in
    -- a row of an older version; `job` is what a job's id is looked up by.
    ALTER TABLE request ADD COLUMN told TEXT NOT NULL DEFAULT '';
    ALTER TABLE request ADD COLUMN job INTEGER;
    CREATE INDEX request_job ON request(job) WHERE job IS NOT NULL;
    DROP INDEX request_chunk;
    DROP INDEX request_start;
    DROP INDEX request_duration;
    DROP INDEX request_error;
    -- Requests with the ids `first` to `first + size - 1`.
    CREATE TABLE block (
        first INTEGER PRIMARY KEY,
        size INTEGER NOT NULL,
        earliest_ns INTEGER NOT NULL,
        latest_ns INTEGER NOT NULL,
        stale INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX block_stale ON block(first) WHERE stale = 1;
    -- A figure of each of them, as an array; or, as bits, which of them have a value, with how
    -- many those are by duration.
    CREATE TABLE block_column (
        id INTEGER PRIMARY KEY,
        block INTEGER NOT NULL,
        name TEXT NOT NULL,
        counts BLOB NOT NULL,
        body BLOB NOT NULL
    );
    CREATE UNIQUE INDEX block_column_name ON block_column(name, block);
    CREATE INDEX block_column_block ON block_column(block);
    -- 1,024 and 65,536 are the sizes of blocks: each begins at a multiple of its own.
    CREATE TRIGGER request_late AFTER UPDATE OF summary, told ON request BEGIN
        UPDATE block SET stale = 1
            WHERE first IN (OLD.id - OLD.id % 1024, OLD.id - OLD.id % 65536)
            AND OLD.id < first + size;
    END;
    """,
    """
    -- How a block's columns are stored: see block_format_1 and block_file. Those of the version
    -- before are stored anew in the background.
    ALTER TABLE block ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
    CREATE INDEX block_format_1 ON block(first) WHERE format = 1;
    """,
    """
    -- In `told` a model comes with its version, which a program of the version before cannot read.
    """,
)
