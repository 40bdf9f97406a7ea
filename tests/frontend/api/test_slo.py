"""frontend.api.slo: how the objectives stand, by the API."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from frontend.api import problems, slo
from monitoring.alerts import objectives
from monitoring.alerts.budgets import RecentBudgets
from monitoring.stores.embedded.store import EmbeddedStore
from monitoring.stores.prometheus import PrometheusMetrics
from telemetry import catalogue
from tests.monitoring.readings import Process
from tests.servers import free_port


def client(budgets: RecentBudgets) -> TestClient:
    app = FastAPI(telemetry={"tracing": False}, exception_handlers=problems.HANDLERS)
    app.state.budgets = budgets
    app.include_router(slo.router)
    return TestClient(app)


@pytest.fixture
def http(tmp_path: Path) -> Iterator[TestClient]:
    """Over a store with 1,000 answered images, 2 that failed, and 7 over their client's rate."""
    store, process, at = EmbeddedStore(tmp_path / "telemetry.db"), Process(), time.time() - 20
    for outcome, count in (("ok", 1000), ("failed", 2), ("rejected", 7), ("invalid", 50)):
        store.receive_metrics(process.counter(catalogue.REQUESTS, at, count, outcome=outcome))
    store.receive_metrics(process.counter(catalogue.REQUESTS_LIMITED, at, 7, route="api"))
    store.flush()
    yield client(RecentBudgets(store.metrics, objectives.read(None)))
    store.close()


def test_objectives(http: TestClient) -> None:
    """What was reached and what is left; what nobody measured is null."""
    body = http.get("/api/v1/slo").json()
    available, latency = body["objectives"]
    assert (available["name"], available["requests"], available["bad"]) == ("Availability", 1002, 2)
    assert available["left"] == pytest.approx(1 - 2 / 1002 / 0.005, abs=1e-5)
    # Fewer than five bad ones within an hour are none.
    assert available["burn_rate"] == 0
    assert (latency["requests"], latency["reached"], latency["left"]) == (0, None, None)
    assert latency["threshold_s"] == 2
    assert body["at"] == pytest.approx(time.time(), abs=60)
    assert available["description"]["zh"]


def test_a_store_that_cannot_be_read() -> None:
    """A 503 problem that says so."""
    away = PrometheusMetrics(f"http://127.0.0.1:{free_port()}")
    answer = client(RecentBudgets(away, objectives.read(None))).get("/api/v1/slo")
    away.close()
    assert answer.status_code == 503
    assert "Prometheus" in answer.json()["detail"]
