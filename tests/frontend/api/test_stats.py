"""frontend.api.stats and the `window` of frontend.api.traces: what the routes take and refuse."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from frontend.api import problems, stats, traces
from monitoring.stores.selection import Stores, open_readers, open_stores
from pipeline.settings import Settings
from telemetry import catalogue
from tests.monitoring import traffic
from tests.monitoring.readings import Process


def client(stores: Stores) -> TestClient:
    app = FastAPI(telemetry={"tracing": False}, exception_handlers=problems.HANDLERS)
    app.state.stores = stores
    app.include_router(stats.router)
    app.include_router(traces.router)
    return TestClient(app)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


@pytest.fixture
def http(settings: Settings) -> Iterator[TestClient]:
    """Over a store with ten requests of a moment ago, and a trace of now and one of an hour ago."""
    stores = open_stores(settings)
    assert stores.receiver is not None
    now_s = time.time()
    process = Process(start_s=now_s - 60)
    stores.receiver.receive_metrics(
        process.counter(catalogue.REQUESTS, now_s - 20, 10, outcome="ok")
    )
    for age_s in (5, 3600):
        spans, _ = traffic.image(int((now_s - age_s) * 1e9), job_id=f"job-{age_s}")
        stores.receiver.receive_traces(traffic.encoded(spans))
    stores.receiver.flush()  # type: ignore[attr-defined]
    yield client(stores)
    stores.close()


def test_stats(http: TestClient) -> None:
    """The figures of the window, with cards and capacity."""
    body = http.get("/api/v1/stats", params={"window": 300}).json()
    assert body["requests"] == {"ok": 10}
    cards = {card["name"]: card for card in body["cards"]}
    assert cards["qps"]["value"] == round(10 / 60, 4)
    assert body["qps_mean"] == round(10 / 300, 4)
    assert cards["qps"]["before"] is None
    assert cards["latency_p95_ms"]["value"] is None
    assert body["capacity"]["verdict"] == "unknown"


def test_series(http: TestClient) -> None:
    """The figures step by step; the default is about 180 steps."""
    body = http.get("/api/v1/stats/series", params={"window": 300, "step": 60}).json()
    assert (body["count"], body["step_s"]) == (5, 60)
    rates = body["requests_per_s"]["ok"]
    assert len(rates) == 5
    default = http.get("/api/v1/stats/series", params={"window": 1800}).json()
    assert (default["count"], default["step_s"]) == (180, 10)


@pytest.mark.parametrize(
    "query",
    ["stats?window=1", "stats?window=2592001", "stats/series?window=20000&step=5",
     "stats/series?step=0", "traces?window=0"],
)  # fmt: skip
def test_out_of_range(http: TestClient, query: str) -> None:
    """What cannot be asked is a problem document with status 422."""
    answer = http.get(f"/api/v1/{query}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_traces_of_a_window(http: TestClient) -> None:
    """`window` leaves out what began before it."""
    assert len(http.get("/api/v1/traces").json()) == 2
    recent = http.get("/api/v1/traces", params={"window": 60, "order": "slowest"}).json()
    assert [each["job_id"] for each in recent] == ["job-5"]


def test_a_reader_of_nothing(settings: Settings) -> None:
    """Where no store was made yet, a reader answers that nothing was measured, and makes none."""
    stores = open_readers(settings)
    http = client(stores)
    body = http.get("/api/v1/stats").json()
    assert body["requests"] == {}
    assert {card["value"] for card in body["cards"]} == {None}
    assert http.get("/api/v1/stats/series").json()["requests_per_s"] == {}
    assert http.get("/api/v1/traces").json() == []
    assert list(settings.home.iterdir()) == []
    stores.close()
