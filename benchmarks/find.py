"""How long it takes to find images among those of 30 days, in the embedded store.

Fills a file with images (ten a second), without their spans, and times each question of the Traces
page. What the rows and blocks take is what they take in earnest: 100 clients, 8 workers that
restart each day, 5 labels, 4 versions of the model. Needs about 330 bytes of disk an image.

    python -m benchmarks.find --images 26000000 --folder /tmp
"""

from __future__ import annotations

import argparse
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import numpy as np

from monitoring.stores.contract import Window
from monitoring.stores.embedded import block_file, blocks
from monitoring.stores.embedded.blocks import ID, LARGE, SCORE, START, TOOK
from monitoring.stores.embedded.schema import Readers, connect, prepare
from monitoring.stores.embedded.traces import EmbeddedTraces
from monitoring.stores.finding import TraceQuery

EVERY_NS = 10**8
END_NS = 1_800_000_000 * 10**9
ROUNDS = 20
#: A new version of the model comes after as many, which is every ten days.
NEW_MODEL = 8_640_000
#: Requests that are in no block yet: as many as there are at most at this rate.
TAIL = 700

_FILL = """
    WITH RECURSIVE number(i) AS (SELECT ? UNION ALL SELECT i + 1 FROM number WHERE i < ?)
    INSERT INTO request
        (id, trace_id, span_id, chunk, start_ns, duration_ns, error, job, summary, told)
    SELECT i, CAST(printf('%016d', i) AS BLOB), CAST(printf('%08x', i) AS BLOB), i,
        ? + i * ?, 20000000 + abs(random() % 100000000), 0, abs(random()) >> 8,
        '["ok","api","' || lower(hex(randomblob(16))) || '",null,null,2,3120456,5012345,6123456,'
        || '25123456,2123456]',
        printf('["camera-%d","host-1.%d",["damoyolo_ns_phone","%012x"],0.%04d,"phone"]',
            i % 100, i % 8, i / ?, abs(random() % 10000))
    FROM number
"""


def fill(path: Path, count: int) -> None:
    """Write as many images, ids from 1 on."""
    prepare(path)
    connection = connect(path)
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("DROP INDEX request_job")
    first_ns = END_NS - count * EVERY_NS
    for begin in range(1, count + 1, 10**6):
        connection.execute(
            _FILL, (begin, min(begin + 10**6 - 1, count), first_ns, EVERY_NS, NEW_MODEL)
        )
    connection.execute("CREATE INDEX request_job ON request(job) WHERE job IS NOT NULL")
    rng = np.random.default_rng(1)
    for first in range(0, (count - TAIL) // LARGE * LARGE, LARGE):
        connection.execute("BEGIN")
        block_file.write(connection, _block(rng, first, first_ns))
        connection.execute("COMMIT")
    rest = (count - TAIL) // LARGE * LARGE
    while rest + blocks.SMALL < count - TAIL:
        connection.execute("BEGIN")
        block_file.write(connection, _block(rng, rest, first_ns, blocks.SMALL))
        connection.execute("COMMIT")
        rest += blocks.SMALL
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def _block(
    rng: np.random.Generator, first: int, first_ns: int, size: int = LARGE
) -> blocks.ImageBlock:
    start = first_ns + np.arange(first, first + size, dtype=np.int64) * EVERY_NS
    took = np.minimum(rng.lognormal(11.2, 0.7, size), blocks.TOOK_MAX).astype(np.uint32)
    ok = rng.random(size) < 0.98
    score = (rng.random(size) * 1e4 * ok).astype(np.uint16)
    ids = np.arange(size).astype(np.uint16)
    block = blocks.ImageBlock(first, size, {START: start, TOOK: took, ID: ids, SCORE: score})
    day = first // 864_000
    flags = {"status=ok": ok, "status=error": ~ok}
    kinds = rng.integers(0, 4, size)
    for i, outcome in enumerate(("invalid", "rejected", "failed", "timeout")):
        flags[f"outcome={outcome}"] = flags[f"code=code-{i}"] = ~ok & (kinds == i)
    flags["outcome=ok"] = ok
    client, worker = rng.integers(0, 100, size), rng.integers(0, 8, size)
    flags |= {f"client=camera-{i}": client == i for i in range(100)}
    flags |= {f"worker=host-1.{day}.{i}": ok & (worker == i) for i in range(8)}
    flags |= {f"route={name}": (client < 90) == (name == "api") for name in ("api", "ui")}
    flags |= {f"label=label-{i}": ok & (rng.random(size) < 0.4 / (i + 1)) for i in range(5)}
    flags["model=damoyolo_ns_phone"] = flags[f"model_version={first // NEW_MODEL:012x}"] = ok
    return blocks.in_order(block, {name: each for name, each in flags.items() if each.any()})


def questions(store: EmbeddedTraces, count: int) -> dict[str, Callable[[], object]]:
    """What the page asks: lists, pages far on, and counts."""
    day = Window((END_NS - 86_400 * 10**9) / 1e9, END_NS / 1e9 + 1)
    part = Window((END_NS - 20 * 86_400 * 10**9) / 1e9 + 0.35, (END_NS - 10**15) / 1e9 + 0.35)
    queries = {
        "everything": TraceQuery(),
        "one day": TraceQuery(window=day),
        "8 days that begin anywhere": TraceQuery(window=part),
        "failed": TraceQuery(status="error"),
        "two outcomes": TraceQuery(outcomes=("failed", "timeout")),
        "a code": TraceQuery(code="code-1"),
        "a client": TraceQuery(client="camera-7"),
        "a worker": TraceQuery(worker="host-1.11.3"),
        "a label": TraceQuery(label="label-0"),
        "a version of the model": TraceQuery(model_version=f"{1:012x}"),
        "score 0.9 or more": TraceQuery(min_score=0.9),
        "at least 200 ms": TraceQuery(min_duration_ms=200),
        "213 to 214 ms": TraceQuery(min_duration_ms=213, max_duration_ms=214),
        "client and label": TraceQuery(client="camera-7", label="label-4"),
        "route, label and score": TraceQuery(route="api", label="label-0", min_score=0.9),
        "nobody": TraceQuery(client="nobody"),
    }
    asked: dict[str, Callable[[], object]] = {}
    for name, query in queries.items():
        for order in ("newest", "slowest"):
            asked[f"{name}: {order}"] = partial(store.find, query, limit=50, order=order)
        asked[f"{name}: counts"] = partial(store.tally, query)
        asked[f"{name}: compared"] = partial(store.compare, query, 0.05)
    far = f"newest.{END_NS - count // 2 * EVERY_NS}.{2**40:x}"
    asked["everything: half way"] = partial(store.find, TraceQuery(), cursor=far)
    asked["a trace's id"] = partial(store.find, TraceQuery(id=b"0000000000012345".hex()))
    (some,) = store.find(TraceQuery(), limit=1).images
    asked["a job's id"] = partial(store.find, TraceQuery(id=some.job_id))
    return asked


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=26_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "telemetry.db"
        began = time.monotonic()
        fill(path, arguments.images)
        size = path.stat().st_size
        print(f"{arguments.images:,} images, {size / 1e9:.2f} GB, {size / arguments.images:.0f} "
              f"bytes each, made in {time.monotonic() - began:.0f} s", flush=True)  # fmt: skip
        _sizes(path)
        readers = Readers(path)
        for name, ask in questions(EmbeddedTraces(readers), arguments.images).items():
            took, used = zip(*(_ms(ask) for _ in range(ROUNDS)), strict=True)
            p95 = quantiles(took, n=20)[-1]
            print(f"{name:40} first {took[0]:6.1f}  p50 {median(took):6.1f}  p95 {p95:6.1f} ms, "
                  f"of the processor {min(used):6.1f} ms", flush=True)  # fmt: skip
        readers.close()


def _sizes(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (blocks_bytes,) = connection.execute(
            "SELECT sum(length(body) + length(counts)) FROM block_column"
        ).fetchone()
    print(f"  of which blocks {blocks_bytes / 1e9:.2f} GB")


def _ms(ask: Callable[[], object]) -> tuple[float, float]:
    """How long the answer takes, and how much of that the processor works for it."""
    began, used = time.perf_counter(), time.thread_time()
    ask()
    return (time.perf_counter() - began) * 1e3, (time.thread_time() - used) * 1e3


if __name__ == "__main__":
    main()
