"""What a person sees in Grafana and in Jaeger's Monitor tab, while images come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeter

from telemetry import catalogue, gpu
from telemetry.instruments import Instruments
from tests.fullstack.service import ARRIVAL_S, Load, Service
from tests.run.stack.board import panels
from tests.run.stack.servers_api import eventually

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def busy(load: Load, service: Service) -> Iterator[Service]:
    """The service with images coming in all the time."""
    with service.traffic():
        yield service


def test_every_panel_has_data(busy: Service) -> None:
    """Each expression of the dashboard returns data; the GPU's only where there is one."""
    asked = panels()
    assert len(asked) > 30
    without = (
        set() if gpu.observe(Instruments(NoOpMeter("test"))) else {"GPU utilisation", "GPU memory"}
    )
    assert without <= {title for title, _ in asked}

    def empty() -> set[str]:
        return {title for title, query in asked if not busy.servers.instant(query)}

    assert eventually(lambda: empty() == without, timeout_s=ARRIVAL_S), empty()


def test_every_recording_rule_has_data(busy: Service) -> None:
    """Each recorded series has a value, and none of the rules fails."""
    rules = busy.servers.rules("record")
    assert len(rules) > 10

    def empty() -> set[str]:
        return {rule["name"] for rule in rules if not busy.servers.instant(rule["name"])}

    eventually(lambda: not empty(), timeout_s=ARRIVAL_S)
    assert {rule["health"] for rule in busy.servers.rules("record")} == {"ok"}


def test_every_slow_recording_rule_can_be_evaluated(busy: Service) -> None:
    """What is recorded every minute or less often may not be there yet, but Prometheus can tell
    what it will be: of every counter and level that this service has, which is all but a GPU's,
    what counts strangers, who is over a rate and shadow runs, and what is said of an embedded
    store."""
    rules = busy.servers.rules("record", slow=True)
    assert len(rules) > 10
    without = (
        "_gpu_",
        "_refusals_",
        "_malformed_",
        "_limited_",
        "_losses:",
        "_burn_rate:",
        "_shadow_",
    )
    asked = {
        rule["name"]: rule["query"]
        for rule in rules
        if rule["name"].endswith("5m") and not any(part in rule["name"] for part in without)
    }

    def empty() -> set[str]:
        return {name for name, query in asked.items() if not busy.servers.instant(query)}

    eventually(lambda: not empty(), timeout_s=ARRIVAL_S)


def test_no_alert_fires(busy: Service) -> None:
    """A service that works gives nobody a reason to look at it, nor does it burn its budget."""

    def evaluated(*, slow: bool) -> list[dict[str, Any]]:
        found = busy.servers.rules("alert", slow=slow)
        return found if all(alert["health"] == "ok" for alert in found) else []

    # Those that burn a budget are looked at once a minute.
    burning = eventually(lambda: evaluated(slow=True), timeout_s=150)
    others = eventually(lambda: evaluated(slow=False))
    assert len(others) > 5
    assert len(burning) >= 2, "of each objective at least one"
    alerts = [*others, *burning]
    assert [alert["name"] for alert in alerts if alert["state"] == "firing"] == []


@pytest.mark.parametrize(("kind", "query"), [("calls", {}), ("latencies", {"quantile": 0.95})])
def test_the_monitor_tab_shows_both_services(
    busy: Service, kind: str, query: dict[str, Any]
) -> None:
    """Jaeger's metrics API answers with calls and latencies of frontend and worker, above zero."""

    def latest() -> dict[str, float]:
        return {
            label["value"]: row["metricPoints"][-1]["gaugeValue"]["doubleValue"]
            for row in busy.servers.monitor(kind, **query)
            for label in row["labels"]
            if row["metricPoints"]
        }

    def both_above_zero() -> bool:
        found = latest()
        return all(
            found.get(name, 0) > 0
            for name in (catalogue.SERVICE_FRONTEND, catalogue.SERVICE_WORKER)
        )

    eventually(both_above_zero, timeout_s=ARRIVAL_S)
