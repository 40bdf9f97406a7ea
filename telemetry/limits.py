"""Memory of the container that this process runs in, where that has a limit: its host's says
nothing about when it is ended."""

from __future__ import annotations

from collections.abc import Iterable

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from pipeline import machine
from telemetry import catalogue


def observe(meter: Meter) -> bool:
    """Have the container's memory reported, by the names of the host's. Returns whether it has a
    limit; the host's is not to be reported then."""
    if machine.memory() is None:
        return False

    def usage(_: CallbackOptions) -> Iterable[Observation]:
        return _by_state(1)

    def share(_: CallbackOptions) -> Iterable[Observation]:
        found = machine.memory()
        return _by_state(found.limit) if found else ()

    for metric, callback in (
        (catalogue.SYSTEM_MEMORY_USAGE, usage),
        (catalogue.SYSTEM_MEMORY, share),
    ):
        meter.create_observable_gauge(metric.name, [callback], metric.unit, metric.description)
    return True


def _by_state(whole: int) -> list[Observation]:
    found = machine.memory()
    if found is None:
        return []
    states = {
        "used": found.used,
        "cached": found.cached,
        "free": max(0, found.limit - found.used - found.cached),
    }
    return [Observation(number / whole, {"state": state}) for state, number in states.items()]
