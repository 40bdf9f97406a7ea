"""monitoring.stores.embedded.find: whatever is asked, the answer is what a look at each image
gives, from blocks of both sizes and from what is in none."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest

from monitoring.stores import comparing
from monitoring.stores.contract import Order, TraceSummary, Window
from monitoring.stores.embedded import blocks, compare, parts, retention, schema, summaries
from monitoring.stores.embedded.block_search import bucket
from monitoring.stores.embedded.blocks import LARGE, SMALL
from monitoring.stores.embedded.indexing import SETTLE_S, Indexing
from monitoring.stores.embedded.migrations import MIGRATIONS
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.finding import BUCKETS, TraceQuery
from pipeline.errors import InvalidParameter
from telemetry import catalogue
from tests.monitoring import traffic
from tests.monitoring.conftest import NOW_S, Clock

#: One large block, one small one, and some in neither: each with one request where it could
#: have eight, which is quicker to make.
SPARSE = 8
COUNT = (LARGE + SMALL) // SPARSE + 100
NOW_NS = int(NOW_S * 1e9)


def images(count: int, seed: int = 5) -> list[TraceSummary]:
    """Images of all kinds, ten a second up to now, in the order in which they arrived."""
    rng = random.Random(seed)
    made = []
    for i in range(count):
        kind = rng.random()
        outcome = "failed" if kind < 0.01 else "invalid" if kind < 0.02 else "ok"
        labels = tuple(name for name in ("phone", "person", "book") if rng.random() < 0.3)
        worked = outcome == "ok"
        made.append(
            TraceSummary(
                trace_id=f"{rng.getrandbits(127) + 1:032x}",
                span_id=f"{i + 1:016x}",
                # By clocks that differ, and some at the same moment.
                start_unix_ns=NOW_NS - (count - i + rng.randrange(40)) // 2 * 10**8 * 2,
                duration_ms=round(rng.lognormvariate(4.5, 0.8), 3),
                status="ok" if worked else "error",
                outcome=outcome,
                route=rng.choice(("api", "api", "ui")),
                detections=len(labels) if worked else None,
                job_id=f"{rng.getrandbits(128):032x}",
                error_type=None if worked else rng.choice(("no_worker", "invalid_image")),
                client=rng.choice((None, *(f"camera-{c}" for c in range(20)))),
                worker=f"w{rng.randrange(4)}.{i // 3000}" if worked else None,
                model="phone" if i < count // 2 else "phone-2",
                model_version=f"{i // 2000:012x}",
                labels=labels if worked else (),
                score=round(rng.random(), 4) if labels and worked else None,
            )
        )
    return made


def write(connection: sqlite3.Connection, made: list[TraceSummary]) -> None:
    connection.execute("BEGIN")
    connection.executemany(
        summaries.KEEP, [summaries.row_of(bytes.fromhex(each.trace_id), each, 1) for each in made]
    )
    connection.execute("COMMIT")


def index(connection: sqlite3.Connection, rounds: int = 12) -> None:
    """Put everything into blocks that is enough for one."""
    clock = Clock(1000.0)
    indexing = Indexing(clock)
    indexing.run(connection)
    for _ in range(rounds):
        clock.now_s += SETTLE_S + 1
        indexing.run(connection)


def sizes(connection: sqlite3.Connection) -> list[int]:
    return [size for (size,) in connection.execute("SELECT size FROM block ORDER BY first")]


@pytest.fixture(scope="module")
def every() -> list[TraceSummary]:
    return images(COUNT)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, every: list[TraceSummary]) -> Path:
    path = tmp_path_factory.mktemp("find") / "telemetry.db"
    schema.prepare(path)
    connection = schema.connect(path)
    write(connection, every)
    connection.execute("UPDATE request SET id = id * ? + ?", (SPARSE, 2 * LARGE))
    index(connection)
    assert sizes(connection) == [LARGE, SMALL]
    connection.close()
    return path


@pytest.fixture(scope="module")
def store(filled: Path) -> Iterator[EmbeddedStore]:
    opened = EmbeddedStore(filled, clock=Clock())
    yield opened
    opened.close()


def at(image: TraceSummary, order: Order) -> float:
    return image.start_unix_ns if order == "newest" else int(image.duration_ms * 1e3 + 1e-4)


def expected(
    every: list[TraceSummary], query: TraceQuery, order: Order = "newest"
) -> list[TraceSummary]:
    """The same by looking at each; of equal ones the last to arrive comes first."""
    found = [(at(each, order), i, each) for i, each in enumerate(every) if query.matches(each)]
    return [each for *_, each in sorted(found, key=itemgetter(0, 1), reverse=True)]


QUERIES = {
    "all": TraceQuery(),
    "window": TraceQuery(window=Window(NOW_S - 900, NOW_S - 70.05)),
    "status": TraceQuery(status="error"),
    "outcomes": TraceQuery(outcomes=("failed", "invalid")),
    "code": TraceQuery(code="no_worker"),
    "label": TraceQuery(label="phone"),
    "client": TraceQuery(client="camera-7"),
    "worker": TraceQuery(worker="w2.1"),
    "model": TraceQuery(model="phone-2"),
    "version": TraceQuery(model_version="000000000001"),
    "route": TraceQuery(route="ui"),
    "score": TraceQuery(min_score=0.9, max_score=0.95),
    "nothing found": TraceQuery(max_score=0.0, status="ok"),
    "whole buckets": TraceQuery(min_duration_ms=200, max_duration_ms=500),
    "cut buckets": TraceQuery(min_duration_ms=213.5, max_duration_ms=214.125),
    "several": TraceQuery(client="camera-3", label="book", route="api", min_score=0.5),
    "all at once": TraceQuery(
        window=Window(NOW_S - 800, NOW_S - 10), status="ok", outcomes=("ok",), label="phone",
        client="camera-1", model="phone-2", model_version="000000000001", route="api",
        min_score=0.2, min_duration_ms=50.5,
    ),
    "nobody": TraceQuery(client="nobody"),
    "impossible": TraceQuery(client="camera-3", code="no_worker", status="ok"),
    "no time": TraceQuery(window=Window(NOW_S + 100, NOW_S + 200)),
}  # fmt: skip


@pytest.mark.parametrize("name", QUERIES)
def test_each_filter(store: EmbeddedStore, every: list[TraceSummary], name: str) -> None:
    """Each filter, and several: the same images, in the same order, and as many as there are."""
    query = QUERIES[name]
    for order in ("newest", "slowest"):
        wanted = expected(every, query, order)
        found = store.traces.find(query, limit=60, order=order)
        assert [each.span_id for each in found.images] == [each.span_id for each in wanted[:60]]
        assert (found.cursor is None, found.complete) == (len(wanted) <= 60, True)
    tally = store.traces.tally(query)
    counts = [0] * BUCKETS
    for each in wanted:
        counts[bucket(int(at(each, "slowest"))) - 1] += 1
    assert (list(tally.counts), tally.total, tally.exact) == (counts, len(wanted), True)


@pytest.mark.parametrize("name", [*QUERIES, "slowest"])
def test_both_sides_of_a_comparison(
    store: EmbeddedStore, every: list[TraceSummary], name: str
) -> None:
    """Selected images and others are counted, and what they have, as a look at each counts them;
    the sample is of those, spread over all of them."""
    query = QUERIES.get(name, TraceQuery(route="api"))
    found = store.traces.compare(query, 0.05)
    base = replace(query, min_duration_ms=None, max_duration_ms=None)
    matching = expected(every, base)
    assert found.exact
    if query == base:  # the slowest
        wanted = round(0.05 * len(matching))
        assert wanted <= found.selected.count <= wanted + max(2, wanted // 10)
        query = replace(query, min_duration_ms=found.from_ms)
    told = comparing.of_images(query, 0.05, matching, lambda _: {}, exact=True)
    assert (found.from_ms, found.to_ms) == (told.from_ms, told.to_ms)
    ids = {each.span_id for each in matching}
    for side, other in ((found.selected, told.selected), (found.rest, told.rest)):
        assert (side.count, side.values) == (other.count, other.values)
        assert len(side.sample) == min(side.count, comparing.SAMPLE_MAX)
        assert {each.span_id for each in side.sample} <= ids
        assert side.attributes == []  # none of these has spans
    if name == "all":
        first, last = (found.rest.sample[i].start_unix_ns for i in (0, -1))
        assert last - first > 0.99 * (matching[0].start_unix_ns - matching[-1].start_unix_ns)


@pytest.mark.parametrize("name", ["all", "label", "cut buckets"])
def test_a_comparison_of_very_many(
    store: EmbeddedStore, every: list[TraceSummary], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many there are on both sides is exact; what they have is told of up to a thousand of
    each, drawn by chance, the same ones each time, and is near to what all have."""
    monkeypatch.setattr(compare, "COUNTED_BLOCKS", 0)
    query = QUERIES[name]
    found = store.traces.compare(query, 0.3)
    assert found == store.traces.compare(query, 0.3)
    base = replace(query, min_duration_ms=None, max_duration_ms=None)
    chosen = replace(base, min_duration_ms=found.from_ms, max_duration_ms=found.to_ms)
    told = comparing.of_images(chosen, 0.3, expected(every, base), lambda _: {}, exact=True)
    for side, other in ((found.selected, told.selected), (found.rest, told.rest)):
        assert side.count == other.count
        assert side.counted == len(side.sample) == min(side.count, comparing.SAMPLE_MAX)
        for value in {*side.values, *other.values}:
            share = side.values.get(value, 0) / side.counted
            assert abs(share - other.values.get(value, 0) / other.count) < 0.07, value


@pytest.mark.parametrize("counts", [[3], [700, 0, 1, 5000, 299], [0, 40, 60], [65_536] * 300])
def test_which_images_are_looked_at(counts: list[int]) -> None:
    """Each once, of each part as many as its share, wherever in it; where there are few, all."""
    numbers = np.array(counts, np.int64)
    of_part, ranks = compare.drawn(numbers, 1000)
    total = sum(counts)
    assert len(set(zip(of_part.tolist(), ranks.tolist(), strict=True))) == min(total, 1000)
    assert ((ranks >= 0) & (ranks < numbers[of_part])).all()
    shares = np.bincount(of_part, minlength=len(counts))
    assert (np.abs(shares - numbers * (min(total, 1000) / total)) <= 1).all()
    if total >= 1000:  # also those that took longest, and those that took shortest
        where = np.histogram(ranks / numbers[of_part], 10, (0, 1))[0]
        assert where.min() > 50, where


def test_an_image_is_listed_as_it_was(store: EmbeddedStore, every: list[TraceSummary]) -> None:
    """Everything that was known of it, with what it is found by."""
    image = every[100]
    assert store.traces.find(TraceQuery(id=image.trace_id)).images == [image]


@pytest.mark.parametrize("order", ["newest", "slowest"])
@pytest.mark.parametrize("name", ["all", "outcomes", "several", "cut buckets"])
def test_pages(store: EmbeddedStore, every: list[TraceSummary], order: Order, name: str) -> None:
    """Page by page to the end: each image once, in order, equal ones too."""
    query = QUERIES[name]
    wanted = [each.span_id for each in expected(every, query, order)]
    found: list[str] = []
    cursor = None
    while True:
        page = store.traces.find(query, limit=1000 if name == "all" else 37, order=order,
                                 cursor=cursor)  # fmt: skip
        found += [each.span_id for each in page.images]
        cursor = page.cursor
        if cursor is None:
            break
    assert found == wanted


def test_ids(store: EmbeddedStore, every: list[TraceSummary]) -> None:
    """A trace's id or a job's finds the image; other filters hold as well."""
    image = every[4000]
    assert image.job_id is not None
    for id in (image.trace_id, image.job_id):
        (found,) = store.traces.find(TraceQuery(id=id)).images
        assert found.span_id == image.span_id
        assert store.traces.tally(TraceQuery(id=id)).total == 1
    assert store.traces.find(TraceQuery(id=image.trace_id, client="nobody")).images == []
    for id in ("no id", "0" * 32, ""):
        assert store.traces.find(TraceQuery(id=id)).images == []


@pytest.mark.parametrize(
    "cursor", ["", "newest", "newest.x.1", "slowest.1.1", "newest.9999999999999999999.1", "a" * 99]
)
def test_a_cursor_that_is_none(store: EmbeddedStore, cursor: str) -> None:
    """One that no answer has given, or that belongs to another order, says so."""
    with pytest.raises(InvalidParameter, match="cursor"):
        store.traces.find(TraceQuery(), cursor=cursor)


def test_bucket_edges(path: Path, clock: Clock) -> None:
    """A duration at a bucket's edge is in the one that begins there, in counts and in lists."""
    store = EmbeddedStore(path, clock=clock)
    took = (0.0, 0.999, 1.0, 1.499, 1.5, 99_999.999, 100_000.0, 5_000_000.0)
    made = [replace(image, duration_ms=ms) for image, ms in zip(images(8), took, strict=True)]
    store.writer.submit(lambda connection: _insert(connection, made), 1)
    store.flush()
    counts = store.traces.tally(TraceQuery()).counts
    assert (counts[:3], counts[-2:]) == ((2, 2, 1), (1, 2))
    least = TraceQuery(min_duration_ms=1.0, max_duration_ms=1.5)
    assert {each.duration_ms for each in store.traces.find(least).images} == {1.0, 1.499}
    longest = store.traces.find(TraceQuery(min_duration_ms=4_000_000), order="slowest")
    assert [each.duration_ms for each in longest.images] == [5_000_000.0]
    store.close()


#: What may have become of a column, and of which. (That it is gone is seen of those that every
#: block has, and counts are read of those that have some.)
DAMAGE = {
    "UPDATE block_column SET body = x'00' WHERE name = ?": ("route=ui", "#took", "#start"),
    "UPDATE block_column SET body = zeroblob(100) WHERE name = ?": ("route=ui", "#start"),
    "UPDATE block_column SET body = CAST(body || body AS BLOB) WHERE name = ?": ("#start",),
    "UPDATE block_column SET body = CAST(zeroblob(1023) || x'ff' AS BLOB) WHERE name = ?": (
        "#bucket",
    ),
    "UPDATE block_column SET counts = x'0102' WHERE name = ?": ("*",),
    "DELETE FROM block_column WHERE name = ?": ("#took", "#start", "*"),
}


def _insert(connection: sqlite3.Connection, made: list[TraceSummary]) -> None:
    connection.executemany(
        summaries.KEEP, [summaries.row_of(bytes.fromhex(each.trace_id), each, 1) for each in made]
    )


class TestChanges:
    """What happens to blocks later."""

    def test_while_images_arrive(self, path: Path, clock: Clock) -> None:
        """A page after a cursor is the same whatever came since; so it is from blocks."""
        made = images(SMALL + 300)
        old, new = made[: SMALL + 100], made[SMALL + 100 :]
        store = EmbeddedStore(path, clock=clock)
        connection = schema.connect(path)
        write(connection, old)
        first = store.traces.find(TraceQuery(), limit=50)
        before = store.traces.find(TraceQuery(), limit=50, cursor=first.cursor)
        later = [replace(each, start_unix_ns=each.start_unix_ns + 10**12) for each in new]
        write(connection, later)
        index(connection)
        assert sizes(connection) == [SMALL]
        after = store.traces.find(TraceQuery(), limit=50, cursor=first.cursor)
        assert after == before
        assert store.traces.tally(TraceQuery()).total == len(made)
        connection.close()
        store.close()

    def test_spans_that_come_late(self, path: Path, clock: Clock) -> None:
        """What a worker tells after the image is in a block is found after the next round."""
        store = EmbeddedStore(path, clock=clock)
        connection = schema.connect(path)
        frontend, worker = traffic.image(NOW_NS)
        store.receive_traces(traffic.encoded(frontend))
        store.flush()
        write(connection, images(SMALL))
        index(connection)
        query = TraceQuery(worker="worker-1")
        assert store.traces.find(query).images == []
        store.receive_traces(traffic.encoded(worker))
        store.flush()
        index(connection, rounds=1)
        (found,) = store.traces.find(query).images
        assert found.trace_id == traffic.trace_id(frontend)
        assert store.traces.tally(query).total == 1
        connection.close()
        store.close()

    def test_what_is_dropped_is_not_found(self, path: Path, clock: Clock) -> None:
        """Requests that are too old go one by one, their block with the last."""
        made = images(2 * SMALL)
        store = EmbeddedStore(path, clock=clock)
        connection = schema.connect(path)
        write(connection, made)
        index(connection)
        assert sizes(connection) == [SMALL] * 2  # ids begin at 1: the first has one less
        for dropped in (100, SMALL):
            retention.drop_oldest_images(connection, dropped)
            left = expected(made[-_count(connection) :], TraceQuery(route="ui"))
            assert store.traces.tally(TraceQuery(route="ui")).total == len(left)
            found = store.traces.find(TraceQuery(route="ui"), limit=1000)
            assert [each.span_id for each in found.images] == [e.span_id for e in left[:1000]]
        assert sizes(connection) == [SMALL]
        while retention.drop_oldest_images(connection, 2000):
            pass
        for table in ("block", "block_column"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        write(connection, made[:10])  # ids begin anew
        assert store.traces.tally(TraceQuery()).total == 10
        connection.close()
        store.close()

    def test_a_block_that_is_damaged(self, path: Path, clock: Clock) -> None:
        """What it should have is read from the requests themselves, and it is made anew."""
        made = images(SMALL + 300)
        store = EmbeddedStore(path, clock=clock)
        connection = schema.connect(path)
        write(connection, made)
        connection.execute("UPDATE request SET id = id + ?", (LARGE - 1,))  # a block begins there
        index(connection)
        query = TraceQuery(route="ui", window=Window(NOW_S - 900, NOW_S - 10.5))
        wanted = [each.span_id for each in expected(made, query)]
        high = TraceQuery(min_score=0.5)
        columns = connection.execute("SELECT * FROM block_column ORDER BY name").fetchall()
        for damage, names in DAMAGE.items():
            for name in names:
                connection.execute(damage, [name])
                for _ in range(2):
                    found = store.traces.find(query, limit=1000)
                    assert [each.span_id for each in found.images] == wanted, (damage, name)
                    assert store.traces.tally(query).total == len(wanted), (damage, name)
                    assert store.traces.tally(TraceQuery()).total == len(made), (damage, name)
                    assert store.traces.tally(high).total == len(expected(made, high))
                    sides = store.traces.compare(query, 0.05)
                    assert sides.selected.count + sides.rest.count == len(wanted)
                    store.indexing.run(connection)
                anew = connection.execute("SELECT * FROM block_column ORDER BY name").fetchall()
                assert [each[1:] for each in anew] == [each[1:] for each in columns]
        connection.close()
        store.close()

    def test_too_many_values(
        self, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a flood of names a block has the most frequent; an answer that may lack some says
        so, any other is exact."""
        monkeypatch.setattr(blocks, "VALUES_MAX", 10)
        store = EmbeddedStore(path, clock=clock)
        connection = schema.connect(path)
        write(connection, images(SMALL))
        index(connection)
        shown = store.traces.tally(TraceQuery(client="camera-7"))
        assert not shown.exact
        assert not store.traces.find(TraceQuery(client="camera-7")).complete
        assert store.traces.tally(TraceQuery(route="ui")).exact
        assert store.traces.tally(TraceQuery()).exact
        connection.close()
        store.close()

    def test_more_than_a_search_looks_through(
        self, path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """While too many are in no block, the newest are found, and the answer says that there
        may be others."""
        monkeypatch.setattr(parts, "TAIL_MAX", 100)
        store = EmbeddedStore(path, clock=clock)
        connection = schema.connect(path)
        made = images(300)
        write(connection, made)
        found = store.traces.find(TraceQuery(), limit=10)
        assert [each.span_id for each in found.images] == [
            each.span_id for each in expected(made, TraceQuery())[:10]
        ]
        tally = store.traces.tally(TraceQuery())
        assert (found.complete, tally.exact, tally.total) == (False, False, 101)
        connection.close()
        store.close()


def _count(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM request").fetchone()
    return int(count)


def test_a_row_without_a_version(path: Path, clock: Clock) -> None:
    """A row of the version that kept none has its model still."""
    (made,) = images(1)
    store = EmbeddedStore(path, clock=clock)
    connection = schema.connect(path)
    row = summaries.row_of(bytes.fromhex(made.trace_id), made, 1)
    connection.execute(summaries.KEEP, (*row[:-1], '["camera-1","w1","phone",0.5,"book"]'))
    (found,) = store.traces.find(TraceQuery(model="phone", label="book")).images
    assert (found.model, found.model_version, found.score) == ("phone", None, 0.5)
    assert store.traces.tally(TraceQuery(model_version="0" * 12)).total == 0
    connection.close()
    store.close()


def test_a_file_of_the_version_before(path: Path, clock: Clock) -> None:
    """Images of an older file are found at once by what its rows have, and by all that their
    spans tell once they are in blocks."""
    old = sqlite3.connect(path, isolation_level=None)
    for script in MIGRATIONS[:3]:
        old.executescript(script)
    old.execute("PRAGMA user_version = 3")
    frontend, worker = traffic.image(NOW_NS)
    made = images(SMALL)
    old.execute("BEGIN")
    for each in made:
        old.execute(
            "INSERT INTO request (trace_id, span_id, chunk, start_ns, duration_ns, error, summary)"
            " VALUES (?, ?, 1, ?, ?, ?, ?)",
            (bytes.fromhex(each.trace_id), bytes.fromhex(each.span_id), each.start_unix_ns,
             round(each.duration_ms * 1e6), each.status == "error", summaries.encode(each)),
        )  # fmt: skip
    old.execute("COMMIT")
    old.close()
    store = EmbeddedStore(path, clock=clock)
    store.receive_traces(traffic.encoded(frontend + worker))
    store.flush()
    connection = schema.connect(path)
    # As the version before has written it.
    connection.execute("UPDATE request SET told = '', job = NULL")
    route = TraceQuery(route="ui")
    assert store.traces.tally(route).total == len(expected(made, route))
    assert store.traces.find(TraceQuery(worker="worker-1")).images == []
    index(connection)
    write(connection, images(SMALL, seed=6))
    index(connection)
    assert sizes(connection) == [SMALL] * 2
    assert store.traces.find(TraceQuery(id=made[7].job_id)).images[0].span_id == made[7].span_id
    (found,) = store.traces.find(TraceQuery(worker="worker-1")).images
    assert found.model == "damoyolo_ns_phone"
    assert list(found.stages_ms) == list(catalogue.STAGES)
    connection.close()
    store.close()
