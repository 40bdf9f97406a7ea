"""The memory that is reported is that of the container, where it has a limit."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from pipeline import machine
from telemetry import limits


def reported(reader: InMemoryMetricReader) -> dict[str, dict[str, float]]:
    """Values by name and state."""
    data = reader.get_metrics_data()
    found: dict[str, dict[str, float]] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                found[metric.name] = {
                    str((point.attributes or {})["state"]): point.value  # type: ignore[union-attr]
                    for point in metric.data.data_points
                }
    return found


def test_a_container_with_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Used, cached and free add up to its limit, and the shares to one."""
    monkeypatch.setattr(machine, "memory", lambda: machine.MemoryLimit(1000, used=900, cached=60))
    reader = InMemoryMetricReader()
    assert limits.observe(MeterProvider([reader]).get_meter("test"))
    assert reported(reader) == {
        "system.memory.usage": {"used": 900, "cached": 60, "free": 40},
        "system.memory.utilization": {"used": 0.9, "cached": 0.06, "free": 0.04},
    }


def test_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is reported here: the host's is."""
    monkeypatch.setattr(machine, "memory", lambda: None)
    reader = InMemoryMetricReader()
    assert not limits.observe(MeterProvider([reader]).get_meter("test"))
    assert reported(reader) == {}
