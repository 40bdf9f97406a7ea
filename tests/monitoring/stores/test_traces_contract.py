"""monitoring.stores.contract.TraceStore: one suite for every store that implements it.

The same spans go by OTLP to the embedded store and to a real Jaeger with the storage
that the full stack uses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from opentelemetry.trace import Link

from monitoring.stores import jaeger_search
from monitoring.stores.contract import Span, TraceStore, Window
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.finding import TraceQuery
from monitoring.stores.jaeger import JaegerTraces
from pipeline.errors import Unavailable
from telemetry import catalogue
from tests.monitoring import traffic
from tests.monitoring.conftest import program, running
from tests.servers import free_port

COUNT = 40
#: A minute ago, in whole microseconds: Jaeger knows no finer ones.
START_NS = (time.time_ns() - 120 * 10**9) // 1000 * 1000
CALLER = traffic.context()


def duration_ms(i: int) -> float:
    return 50.0 + (i * 37) % 200


def outcome(i: int) -> str:
    return {7: "failed", 20: "timeout", 21: "invalid"}.get(i, "ok")


IMAGES = [
    traffic.image(
        START_NS + i * 10**9,
        duration_ms=duration_ms(i),
        outcome=outcome(i),
        error="model said no" if i == 7 else None,
        job_id=f"job-{i}",
        route="ui" if i % 2 else "api",
        parent=CALLER if i in (30, 31) else None,
    )
    for i in range(COUNT)
]
BATCH = [traffic.span(catalogue.SPAN_BATCH, start_ns=START_NS, duration_ms=9, links=[Link(CALLER)])]
EXPORTS = [traffic.encoded(part) for pair in IMAGES for part in pair] + [traffic.encoded(BATCH)]

JAEGER = """
service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines:
    traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  jaeger_storage:
    backends: {{spans: {{badger: {{ephemeral: true}}}}}}
  jaeger_query:
    storage: {{traces: spans}}
    http: {{endpoint: "127.0.0.1:{query}"}}
    grpc: {{endpoint: "127.0.0.1:{grpc}"}}
receivers:
  otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{otlp}"}}}}}}
exporters:
  jaeger_storage_exporter: {{trace_storage: spans}}
"""


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    store = EmbeddedStore(tmp_path_factory.mktemp("store") / "telemetry.db")
    for export in EXPORTS:
        store.receive_traces(export)
    store.flush()
    yield store.traces
    store.close()


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    server, folder = program("jaeger"), tmp_path_factory.mktemp("jaeger")
    query, grpc, otlp = free_port(), free_port(), free_port()
    config = folder / "config.yaml"
    config.write_text(JAEGER.format(query=query, grpc=grpc, otlp=otlp))
    url = f"http://127.0.0.1:{query}"
    with running([server, "--config", str(config)], folder, f"{url}/api/services"):
        for export in EXPORTS:
            headers = {"content-type": "application/x-protobuf"}
            httpx.post(
                f"http://127.0.0.1:{otlp}/v1/traces", content=export, headers=headers
            ).raise_for_status()
        store = JaegerTraces(url)
        yield store
        store.close()


@pytest.fixture(params=["embedded", pytest.param("jaeger", marks=pytest.mark.stack)])
def traces(request: pytest.FixtureRequest) -> TraceStore:
    store: TraceStore = request.getfixturevalue(request.param)
    return store


def jobs(summaries: list) -> list[int]:
    return [int(each.job_id.removeprefix("job-")) for each in summaries]


def test_newest_first(traces: TraceStore) -> None:
    """Every request once, the newest first, as many as asked for."""
    assert jobs(traces.search(limit=100)) == list(reversed(range(COUNT)))
    assert jobs(traces.search(limit=3)) == [39, 38, 37]


def test_slowest_first(traces: TraceStore) -> None:
    """The slowest of all, however long ago."""
    slowest = sorted(range(COUNT), key=duration_ms, reverse=True)
    found = traces.search(order="slowest", limit=5)
    assert [each.duration_ms for each in found] == [duration_ms(i) for i in slowest[:5]]


def test_by_status(traces: TraceStore) -> None:
    """Errors are the requests with another outcome than ok, whatever their span's status says."""
    assert jobs(traces.search(status="error")) == [21, 20, 7]
    good = traces.search(status="ok", limit=100)
    assert jobs(good) == [i for i in reversed(range(COUNT)) if outcome(i) == "ok"]
    assert jobs(traces.search(status="error", order="slowest", limit=1)) == [
        max((7, 20, 21), key=duration_ms)
    ]


def test_by_duration_and_window(traces: TraceStore) -> None:
    """Least duration and window leave out the others; a window's end is not in it."""
    slow = traces.search(min_duration_ms=200, limit=100)
    assert jobs(slow) == [i for i in reversed(range(COUNT)) if duration_ms(i) >= 200]
    window = Window(START_NS / 1e9 + 9.5, START_NS / 1e9 + 13.5)
    assert jobs(traces.search(window=window)) == [13, 12, 11, 10]
    assert traces.search(window=Window(START_NS / 1e9 - 100, START_NS / 1e9 - 1)) == []


QUERIES = {
    "outcomes": TraceQuery(outcomes=("timeout", "invalid")),
    "code": TraceQuery(code="inference_failed"),
    "route": TraceQuery(route="ui"),
    "worker": TraceQuery(worker="worker-1", route="api"),
    "model": TraceQuery(model="damoyolo_ns_phone", model_version="0a1b2c3d4e5f"),
    "another version": TraceQuery(model_version="000000000000"),
    "no such client": TraceQuery(client="nobody"),
    "label": TraceQuery(label="phone"),
    "score": TraceQuery(min_score=0.5),
    "duration": TraceQuery(min_duration_ms=87, max_duration_ms=161),
    "job": TraceQuery(id="job-5"),
    "trace": TraceQuery(id=traffic.trace_id(IMAGES[9][0])),
    "both images of a trace": TraceQuery(id=f"{CALLER.trace_id:032x}"),
    "window": TraceQuery(window=Window(START_NS / 1e9 + 4.5, START_NS / 1e9 + 14.5), status="ok"),
}


def answers(query: TraceQuery, i: int) -> bool:
    """Whether image i is one of those."""
    window = query.window
    return (
        (not query.outcomes or outcome(i) in query.outcomes)
        and (query.code is None or outcome(i) != "ok")
        and (query.route is None or (query.route == "ui") == bool(i % 2))
        and query.client is None
        and query.model_version in (None, "0a1b2c3d4e5f")
        # The worker of `traffic` tells neither labels nor scores unless it is asked to.
        and (query.label, query.min_score) == (None, None)
        and (query.min_duration_ms is None or 87 <= duration_ms(i) < 161)
        and (query.id is None or query.id in (f"job-{i}", traffic.trace_id(IMAGES[i][0])))
        and (window is None or 5 <= i < 15)
        and query.status in (None, "ok" if outcome(i) == "ok" else "error")
    )


@pytest.mark.parametrize("name", QUERIES)
def test_find(traces: TraceStore, name: str) -> None:
    """Each filter finds the same images in every store, and counts them, page by page too."""
    query = QUERIES[name]
    wanted = [i for i in reversed(range(COUNT)) if answers(query, i)]
    found = traces.find(query, limit=100)
    assert (jobs(list(found.images)), found.cursor, found.complete) == (wanted, None, True)
    tally = traces.tally(query)
    assert (tally.total, tally.exact) == (len(wanted), True)
    slowest = sorted(wanted, key=lambda i: -duration_ms(i))
    paged: list[float] = []
    cursor = None
    while True:
        page = traces.find(query, limit=3, order="slowest", cursor=cursor)
        paged += [each.duration_ms for each in page.images]
        cursor = page.cursor
        if cursor is None:
            break
    assert paged == [duration_ms(i) for i in slowest]


def test_pages(traces: TraceStore) -> None:
    """The newest page by page: each once, and no more after the last."""
    found: list[int] = []
    cursor = None
    while True:
        page = traces.find(TraceQuery(route="api"), limit=7, cursor=cursor)
        found += jobs(list(page.images))
        cursor = page.cursor
        if cursor is None:
            break
    assert found == [i for i in reversed(range(COUNT)) if i % 2 == 0]


@pytest.mark.parametrize("name", ["part", "slowest", "trace"])
def test_compare(traces: TraceStore, name: str) -> None:
    """Every store selects the same images, counts what both sides have, and hands over what
    their spans say."""
    id = traffic.trace_id(IMAGES[9][0])
    query = {
        "part": TraceQuery(route="ui", min_duration_ms=150),
        "slowest": TraceQuery(route="ui"),
        "trace": TraceQuery(id=id),
    }[name]
    found = traces.compare(query, 0.25)
    matching = [i for i in range(COUNT) if i % 2 and (name != "trace" or i == 9)]
    least = (
        150.0 if name == "part" else sorted(map(duration_ms, matching))[-len(matching) // 4 :][0]
    )
    assert (found.to_ms, found.exact) == (None, True)
    assert found.from_ms == pytest.approx(least, abs=0.05)
    for side, is_selected in ((found.selected, True), (found.rest, False)):
        wanted = [i for i in matching if (duration_ms(i) >= least) == is_selected]
        assert (side.count, sorted(jobs(list(side.sample)))) == (len(wanted), wanted)
        good = sum(outcome(i) == "ok" for i in wanted)
        assert side.values.get(("outcome", "ok"), 0) == good
        assert side.values.get(("worker", "worker-1"), 0) == len(wanted)
        assert [each[catalogue.ATTR_BATCH_SIZE] for each in side.attributes] == [4] * len(wanted)


@pytest.mark.stack
def test_what_jaeger_compares(jaeger: TraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest that it hands over, of each operation as many, and of the selected ones those
    that it finds by duration."""
    monkeypatch.setattr(jaeger_search, "FETCH_MAX", 10)
    found = jaeger.compare(TraceQuery(min_duration_ms=200), 0.05)
    slow = [i for i in reversed(range(COUNT)) if duration_ms(i) >= 200]
    assert not found.exact
    assert sorted(jobs(list(found.selected.sample)), reverse=True) == slow[:10]
    quick = {i for i in range(COUNT) if duration_ms(i) < 200}
    rest = jobs(list(found.rest.sample))
    assert found.rest.count == len(rest)
    assert quick & set(range(COUNT - 10, COUNT)) <= set(rest) <= quick


@pytest.mark.stack
def test_what_jaeger_looks_through(jaeger: TraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Jaeger cannot search by is said; it is found by going on, and counts say "at least"."""
    monkeypatch.setattr(jaeger_search, "FETCH_MAX", 10)
    query = TraceQuery(worker="worker-1", max_duration_ms=100)
    assert jaeger.not_searched(query) == ("worker",)
    assert jaeger.not_searched(TraceQuery(route="ui", min_duration_ms=3)) == ()
    wanted = [i for i in reversed(range(COUNT)) if duration_ms(i) < 100]
    assert not jaeger.tally(query).exact
    found: list[int] = []
    cursor, pages = None, 0
    while True:
        page = jaeger.find(query, limit=4, cursor=cursor)
        found += jobs(list(page.images))
        cursor, pages = page.cursor, pages + 1
        if cursor is None:
            break
    assert (found, page.complete) == (wanted, True)
    assert pages > 1


def test_summary(traces: TraceStore) -> None:
    """A summary tells the same whichever store it comes from."""
    failed = traces.search(status="error")[-1]
    assert failed.trace_id == traffic.trace_id(IMAGES[7][0])
    assert (failed.outcome, failed.status, failed.route) == ("failed", "error", "ui")
    assert (failed.error_type, failed.error_message) == ("inference_failed", "model said no")
    assert failed.start_unix_ns == START_NS + 7 * 10**9
    newest = traces.search(limit=1)[0]
    assert (newest.outcome, newest.detections, newest.error_type) == ("ok", 2, None)
    assert newest.stages_ms == {
        "upload": 3, "queue_wait": 5, "preprocess": 6, "inference": 25, "nms": 2,
    }  # fmt: skip


def test_two_images_of_one_caller(traces: TraceStore) -> None:
    """Requests under one traceparent are summed up apart and share a trace."""
    window = Window(START_NS / 1e9 + 29.5, START_NS / 1e9 + 31.5)
    found = traces.search(window=window)
    assert jobs(found) == [31, 30]
    assert {each.trace_id for each in found} == {f"{CALLER.trace_id:032x}"}
    assert all(len(each.stages_ms) == 5 for each in found)
    assert len(traces.get(found[0].trace_id)) == 16


def test_every_span(embedded: TraceStore, traces: TraceStore) -> None:
    """A trace has the same spans in every store: names, kinds, parents, times, attributes."""

    def comparable(span: Span) -> Span:
        return replace(span, attributes=dict(sorted(span.attributes.items())))

    for spans in (IMAGES[7][0], IMAGES[0][0], BATCH):
        trace_id = traffic.trace_id(spans)
        expected = [comparable(span) for span in embedded.get(trace_id)]
        assert [comparable(span) for span in traces.get(trace_id)] == expected


def test_unknown(traces: TraceStore) -> None:
    """A trace that is not there, or an id that is none, is an empty list."""
    assert traces.get("1" * 32) == []
    assert traces.get("../services") == []


def test_jaeger_away() -> None:
    """A Jaeger that does not answer is an error that says so."""
    store = JaegerTraces("http://127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"Jaeger on 127\.0\.0\.1"):
        store.search()
    store.close()
