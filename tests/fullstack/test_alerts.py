"""An alert's whole way: the workers stop, Prometheus fires, Alertmanager posts, the frontend
tells; and back again when they are there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from run.stack.native import Stack
from run.stack.ports import Ports
from tests.fullstack.service import Service
from tests.integration import pictures
from tests.run.stack.servers_api import eventually, get

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

#: Seconds until an alert is there: exports, scrapes, evaluations, `for` and Alertmanager's waits.
FIRES_S, RESOLVES_S = 150.0, 150.0


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A stack of its own: its worker comes and goes, which other tests would notice."""
    with Stack(tmp_path_factory.mktemp("alerts"), Ports.free()) as running:
        running.start_app(workers=1)
        with Service(running) as opened:
            yield opened


def alert(service: Service, name: str) -> dict[str, Any]:
    found: dict[str, Any] = service.get("/api/v1/alerts")
    assert found["source"] == "prometheus"
    assert found["problem"] == ""
    return next(each for each in found["alerts"] if each["name"] == name)


def episodes(service: Service, name: str, *, over: bool) -> list[dict[str, Any]]:
    """Those that are over, or that is not."""
    found = service.get("/api/v1/alerts")["history"]
    of_it = [each for each in found if each["name"] == name]
    return [each for each in of_it if (each["resolved_at"] is not None) == over]


def test_no_workers(alone: Service) -> None:
    """Firing in Prometheus, in the API, and as an episode that names a failed image; resolved
    after the repair."""
    eventually(lambda: alone.servers.value("sum(damoscope_workers)") == 1, 60)
    rules = {rule["name"]: rule for rule in alone.servers.rules("alert")}
    assert {"NoWorkers", "TelemetryServerDown"} <= set(rules)
    assert {rule["health"] for rule in rules.values()} <= {"ok", "unknown"}
    # While the first worker started there was none, for longer on a slow machine.
    eventually(lambda: alert(alone, "NoWorkers")["state"] == "inactive", RESOLVES_S)
    eventually(lambda: not episodes(alone, "NoWorkers", over=False), RESOLVES_S)
    before = episodes(alone, "NoWorkers", over=True)

    alone.stack.scale(0)
    eventually(lambda: alone.client.get("/readyz").status_code == 503)
    refused = [alone.post(pictures.phone()) for _ in range(3)]
    assert {answer.status_code for answer in refused} == {503}
    eventually(lambda: alert(alone, "NoWorkers")["state"] == "firing", FIRES_S)
    shown = alert(alone, "NoWorkers")
    assert (shown["value"], shown["card"], shown["severity"]) == (0, "workers_ready", "critical")
    assert "No worker takes images" in shown["message"]["en"]
    assert "没有工作进程" in shown["message"]["zh"]
    (episode,) = eventually(lambda: episodes(alone, "NoWorkers", over=False), FIRES_S)
    assert (episode["value"], episode["silenced"]) == (0, False)
    assert episode["message"] == shown["message"]
    assert episode["example_trace_id"] in {answer.headers["x-trace-id"] for answer in refused}
    active = get(alone.stack.ports.prometheus, "/api/v1/alerts")["data"]["alerts"]
    assert "NoWorkers" in {each["labels"]["alertname"] for each in active}

    alone.stack.scale(1)
    eventually(lambda: alert(alone, "NoWorkers")["state"] == "inactive", RESOLVES_S)
    eventually(lambda: not episodes(alone, "NoWorkers", over=False), RESOLVES_S)
    (ended,) = (each for each in episodes(alone, "NoWorkers", over=True) if each not in before)
    assert ended["resolved_at"] > ended["fired_at"] > ended["pending_at"]
    assert ended == episode | {"resolved_at": ended["resolved_at"], "worst": 0}


def test_all_rules_can_be_evaluated(alone: Service) -> None:
    """Prometheus has no complaint about any of them, over what the service really sends."""

    def healthy() -> bool:
        found = alone.servers.rules("alert")
        assert not [rule["lastError"] for rule in found if rule.get("lastError")]
        return {rule["health"] for rule in found} == {"ok"}

    eventually(healthy, 60)
    # What the figures are made of is there under the names that the rules ask for.
    for series in ("system_memory_utilization_ratio", "system_cpu_utilization_ratio",
                   "damoscope_workers_fallback", "damoscope_queue_oldest_age_seconds"):  # fmt: skip
        assert alone.servers.value(f"count({series})"), series
    assert alert(alone, "NoTelemetry")["state"] == "inactive"
    assert alert(alone, "WorkerOnCpu")["state"] == "inactive"
