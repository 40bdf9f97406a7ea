"""Any question to any store: the embedded one answers what a look at each image gives."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.stores import comparing
from monitoring.stores.contract import TraceSummary, Window
from monitoring.stores.embedded import schema
from monitoring.stores.embedded.block_search import bucket
from monitoring.stores.embedded.blocks import LARGE
from monitoring.stores.embedded.schema import Readers
from monitoring.stores.embedded.traces import EmbeddedTraces
from monitoring.stores.finding import BUCKETS, TraceQuery
from tests.monitoring.stores.embedded.test_block_format_1 import as_before
from tests.monitoring.stores.embedded.test_find import at, expected, index, write

T0_NS = 1_700_000_000 * 10**9
#: Few of each, so that there are ties, and on both sides of a bucket's edge.
MS = (0.0, 0.999, 1.0, 12.5, 150.0, 199.999, 200.0, 213.4, 4_294_967.295, 5_000_000.0)
SCORES = (None, 0.0, 0.5, 0.8999, 0.9, 1.0)
CODES = (None, "no_worker", "invalid_image")
CLIENTS = (None, "a", "b")

an_image = st.builds(
    TraceSummary,
    trace_id=st.just(""),
    span_id=st.just(""),
    start_unix_ns=st.integers(0, 20).map(lambda second: T0_NS + second * 10**9),
    duration_ms=st.sampled_from(MS),
    status=st.sampled_from(("ok", "error")),
    outcome=st.sampled_from(("ok", "invalid", "failed")),
    route=st.sampled_from(("api", "ui")),
    error_type=st.sampled_from(CODES),
    client=st.sampled_from(CLIENTS),
    worker=st.sampled_from((None, "w1", "w2")),
    model=st.sampled_from((None, "m")),
    model_version=st.sampled_from((None, "1a", "2b")),
    labels=st.lists(st.sampled_from(("phone", "book")), max_size=2, unique=True).map(tuple),
    score=st.sampled_from(SCORES),
)
a_window = st.tuples(st.integers(-1, 21), st.integers(-1, 21)).map(
    lambda ends: Window(T0_NS / 1e9 + min(ends), T0_NS / 1e9 + max(ends) + 0.5)
)


def maybe(*values: object) -> st.SearchStrategy[object]:
    """One of them, or more often that it is not asked."""
    return st.one_of(st.none(), st.none(), st.sampled_from(values))


a_question = st.builds(
    TraceQuery,
    window=st.one_of(st.none(), a_window),
    status=maybe("ok", "error"),
    outcomes=st.lists(st.sampled_from(("ok", "invalid", "failed")), max_size=2).map(tuple),
    code=maybe(*CODES[1:]),
    label=maybe("phone", "book"),
    client=maybe("a", "nobody"),
    worker=maybe("w1"),
    model=maybe("m"),
    model_version=maybe("1a"),
    route=maybe("api", "ui"),
    min_score=maybe(*SCORES[1:]),
    max_score=maybe(*SCORES[1:]),
    min_duration_ms=maybe(*MS),
    max_duration_ms=maybe(*MS),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    drawn=st.lists(st.tuples(an_image, st.integers(1, 300)), max_size=60),
    questions=st.lists(a_question, min_size=1, max_size=5),
    indexed=st.integers(0, 60),
    old=st.booleans(),
    limit=st.integers(1, 9),
)
def test_any_question(
    drawn: list[tuple[TraceSummary, int]],
    questions: list[TraceQuery],
    indexed: int,
    old: bool,
    limit: int,
) -> None:
    """Every filter, alone and with others, in both orders, page by page; counts, and both sides of
    a comparison: from blocks of this format or the one before, and from what is in none."""
    every = [
        replace(image, trace_id=f"{i:032x}", span_id=f"{i:016x}")
        for i, (image, _) in enumerate(drawn, 1)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "telemetry.db"
        schema.prepare(path)
        with contextlib.closing(schema.connect(path)) as connection:
            for i, (image, (_, gap)) in enumerate(zip(every, drawn, strict=True)):
                write(connection, [image])
                connection.execute(
                    "UPDATE request SET id = coalesce((SELECT max(id) FROM request"
                    " WHERE span_id <> ?1), ?2) + ?3 WHERE span_id = ?1",
                    (bytes.fromhex(image.span_id), LARGE - 5000, gap),
                )
                if i == indexed:
                    index(connection, rounds=2)
                    if old:
                        as_before(connection)
        with contextlib.closing(Readers(path)) as readers:
            traces = EmbeddedTraces(readers)
            for question in questions:
                same_as_looking(traces, every, question, limit)


def same_as_looking(
    traces: EmbeddedTraces, every: list[TraceSummary], query: TraceQuery, limit: int
) -> None:
    for order in ("newest", "slowest"):
        wanted = [each.span_id for each in expected(every, query, order)]
        found: list[str] = []
        cursor = None
        while True:
            page = traces.find(query, limit=limit, order=order, cursor=cursor)
            assert page.complete
            found += [each.span_id for each in page.images]
            cursor = page.cursor
            if cursor is None:
                break
        assert found == wanted
    counts = [0] * BUCKETS
    for image in expected(every, query):
        counts[bucket(int(at(image, "slowest"))) - 1] += 1
    assert list(traces.tally(query).counts) == counts
    if comparing.by_duration(query):
        base = replace(query, min_duration_ms=None, max_duration_ms=None)
        told = comparing.of_images(query, 0.1, expected(every, base), lambda _: {}, exact=True)
        sides = traces.compare(query, 0.1)
        for side, other in ((sides.selected, told.selected), (sides.rest, told.rest)):
            assert (side.count, side.values) == (other.count, other.values)
            assert len(side.sample) == side.count
